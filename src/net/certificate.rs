//! What an X.509 certificate says (RFC 5280), for people.

use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::OctetString;
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

/// The parts of a certificate that a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The subject's common name, if it has one.
    pub common_name: Option<String>,
    /// The names it is for: dNSName and iPAddress entries of the subjectAltName.
    pub names: Vec<String>,
    /// First second of validity.
    pub not_before: SystemTime,
    /// Last second of validity.
    pub not_after: SystemTime,
    /// Serial number, in hex.
    pub serial: String,
    /// Name of the signature algorithm, or its OID.
    pub signature: String,
    /// SHA-256 of the whole certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its public key (SubjectPublicKeyInfo), as RFC 7469 pins it.
    pub key_sha256: [u8; 32],
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        let key = tbs.subject_public_key_info().to_der().ok()?;
        let names = match tbs.get_extension::<SubjectAltName>() {
            Ok(Some((_, san))) => san.0.iter().filter_map(name_of).collect(),
            Ok(None) | Err(_) => Vec::new(),
        };
        let common_name = tbs.subject().common_name().ok().flatten();
        Some(Self {
            subject: distinguished_name(tbs.subject()),
            issuer: distinguished_name(tbs.issuer()),
            common_name: common_name.map(|name| name.value().into_owned()),
            names,
            not_before: point_in_time(tbs.validity().not_before),
            not_after: point_in_time(tbs.validity().not_after),
            serial: hex(tbs.serial_number().as_bytes(), ""),
            signature: signature_name(&certificate.signature_algorithm().oid.to_string()),
            sha256: Sha256::digest(der).into(),
            key_sha256: Sha256::digest(&key).into(),
        })
    }

    /// Is it its own issuer?
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// May a server that calls itself `host` show it (RFC 9525 §6.3)?
    ///
    /// A wildcard stands for exactly one label, the leftmost, and has two labels behind it. The
    /// common name counts only where there is no subjectAltName at all.
    pub fn is_for(&self, host: &str) -> bool {
        if self.names.is_empty() {
            return self.common_name.as_deref().is_some_and(|name| matches(name, host));
        }
        self.names.iter().any(|name| matches(name, host))
    }

    /// The names it is for, in one phrase.
    pub fn owners(&self) -> String {
        match (self.names.as_slice(), &self.common_name) {
            ([], Some(name)) => name.clone(),
            ([], None) => "nobody".to_owned(),
            ([one], _) => one.clone(),
            ([first, second], _) => format!("{first} and {second}"),
            ([first, second, rest @ ..], _) => {
                format!("{first}, {second} and {} more", rest.len())
            }
        }
    }
}

/// The key of a certificate: its algorithm (the inside of the AlgorithmIdentifier, in DER, as
/// rustls compares it) and its bits.
pub(super) fn key_of(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    let mut algorithm = key.algorithm.oid.to_der().ok()?;
    if let Some(parameters) = &key.algorithm.parameters {
        algorithm.extend(parameters.to_der().ok()?);
    }
    Some((algorithm, key.subject_public_key.raw_bytes().to_vec()))
}

/// A distinguished name as RFC 4514 writes it, the last part first.
///
/// The one of x509-cert has every name that there is an OID for, which is 36 KiB of pointers that
/// the loader has to set at each start.
fn distinguished_name(name: &Name) -> String {
    let relative = name.iter_rdn().collect::<Vec<_>>().into_iter().rev();
    let written = relative.map(|one| one.iter().map(attribute).collect::<Vec<_>>().join("+"));
    written.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let oid = attribute.oid.to_string();
    let value = &attribute.value;
    let is_text = matches!(
        value.tag(),
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String | Tag::TeletexString
    );
    let text = std::str::from_utf8(value.value()).ok().filter(|_| is_text);
    match (short_name(&oid), text) {
        (Some(name), Some(text)) => format!("{name}={}", escaped(text)),
        (Some(_) | None, _) => {
            format!("{oid}=#{}", hex(&value.to_der().unwrap_or_default(), "").to_ascii_lowercase())
        }
    }
}

/// RFC 4514 §3, and what else is seen in certificates (RFC 4519, RFC 2985).
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "TITLE",
        "2.5.4.15" => "BUSINESSCATEGORY",
        "2.5.4.17" => "POSTALCODE",
        "2.5.4.42" => "GN",
        "2.5.4.97" => "ORGANIZATIONIDENTIFIER",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "EMAILADDRESS",
        _ => return None,
    })
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let last = text.len().saturating_sub(1);
    for (at, c) in text.char_indices() {
        match c {
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn name_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn address(bytes: &OctetString) -> Option<IpAddr> {
    let bytes = bytes.as_bytes();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    if let (Ok(a), Ok(b)) = (pattern.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return a == b;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        Some(rest) => {
            let two_labels = rest.split('.').filter(|label| !label.is_empty()).count() >= 2;
            let parent = host.split_once('.').map(|(_, parent)| parent);
            two_labels && parent.is_some_and(|parent| parent.eq_ignore_ascii_case(rest))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn point_in_time(time: Time) -> SystemTime {
    UNIX_EPOCH + time.to_unix_duration()
}

fn signature_name(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.5" => "RSA-SHA1",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        other => other,
    }
    .to_owned()
}

/// Upper-case hex with something between the octets.
pub fn hex(bytes: &[u8], between: &str) -> String {
    let octets: Vec<_> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    octets.join(between)
}

/// A fingerprint as OpenSSL and browsers print it.
pub fn fingerprint(digest: &[u8]) -> String {
    hex(digest, ":")
}

/// SHA-256 of anything.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ncat's table, with names compared without regard to case.
    #[test]
    fn names_match_as_the_table_says() {
        let candidates =
            ["a.com", "www.a.com", "sub.www.a.com", "www.example.com", "example.co.uk", "*.*.com"];
        for (pattern, accepted) in [
            ("a.com", &["a.com"][..]),
            ("A.Com", &["a.com"]),
            ("www.a.com", &["www.a.com"]),
            ("*.a.com", &["www.a.com"]),
            ("w*.a.com", &[]),
            ("*w.a.com", &[]),
            ("www.*.com", &[]),
            ("*.com", &[]),
            ("*.com.", &[]),
            ("a.com\0evil.com", &[]),
        ] {
            let got: Vec<_> = candidates.iter().filter(|host| matches(pattern, host)).collect();
            assert_eq!(got, accepted.iter().collect::<Vec<_>>(), "{pattern:?}");
        }
    }

    #[test]
    fn addresses_match_by_value_not_by_spelling() {
        assert!(matches("::1", "0:0::1"));
        assert!(!matches("127.0.0.1", "127.0.0.2"));
    }

    /// As x509-cert writes them, where it knows the same names.
    #[test]
    fn distinguished_names_are_written_as_the_rfc_has_it() {
        use rcgen::DnType;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in [
            (DnType::CountryName, "CH"),
            (DnType::OrganizationName, "#1 + 2\\ <\"x\">; y"),
            (DnType::OrganizationalUnitName, " a\rb "),
            (DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 1466, 0]), "Hi"),
            (DnType::CommonName, "Lücke, Zoë"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let parsed = x509_cert::Certificate::from_der(certificate.der()).unwrap();
        let name = parsed.tbs_certificate().subject();
        let written = distinguished_name(name);
        assert_eq!(
            written,
            "CN=Lücke\\, Zoë,1.3.6.1.4.1.1466.0=#0c024869,OU=\\ a\\0db\\ ,\
             O=\\#1 \\+ 2\\\\ \\<\\\"x\\\"\\>\\; y,C=CH"
        );
        assert_eq!(written, name.to_string());
        assert_eq!(distinguished_name(&Name::default()), "");
    }

    #[test]
    fn our_own_certificate_reads_as_it_was_made() {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        let read = Certificate::read(key.cert.der()).unwrap();
        assert_eq!(read.names, names);
        assert!(read.is_self_signed());
        assert!(read.is_for("LOCALHOST") && read.is_for("127.0.0.1") && !read.is_for("other"));
        assert_eq!(read.signature, "ECDSA-SHA256");
        assert_eq!(Certificate::read(b"not a certificate"), None);
    }
}
