//! What we show of ourselves: a certificate and its key, from files or made on the spot.

#![expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums are open sets")]

use super::super::certificate::{Certificate, fingerprint, sha256};
use super::{Parameters, Unusable};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Our certificate and its key in DER, for use without rustls: one made on the spot, if no file
/// is given. `check` says what is wrong with a key; that they belong together is seen to here.
///
/// # Errors
/// As for [`super::server`], and what `check` says.
pub(in crate::net) fn own_in_der(
    parameters: &Parameters,
    host: Option<&str>,
    check: impl FnOnce(&[u8]) -> Result<(), Unusable>,
) -> Result<(Own, Vec<u8>), Unusable> {
    let (own, key) = own(parameters, host)?;
    let der = key.secret_der().to_vec();
    check(&der)?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(own.chain.clone(), key, &provider)
        .map_err(|e| Unusable(format!("our certificate and key cannot be used: {e}")))?;
    Ok((own, der))
}

/// The certificate that we show as a server.
#[derive(Debug)]
pub struct Own {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// It was made for this run.
    pub ephemeral: bool,
}

impl Own {
    /// SHA-256 of the certificate, printed.
    pub fn fingerprint(&self) -> String {
        fingerprint(&sha256(self.leaf()))
    }

    /// The certificate itself, in DER.
    pub(in crate::net) fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |certificate| certificate.as_ref())
    }

    /// How many certificates lead from it to an authority, as far as we were given them.
    pub fn intermediates(&self) -> usize {
        self.chain.len().saturating_sub(1)
    }

    /// The chain in PEM.
    pub fn pem(&self) -> String {
        use base64::Engine as _;
        let mut pem = String::new();
        for certificate in &self.chain {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = base64::engine::general_purpose::STANDARD.encode(certificate);
            for line in text.as_bytes().chunks(64) {
                pem.push_str(&String::from_utf8_lossy(line));
                pem.push('\n');
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }
}

pub(super) fn own(
    parameters: &Parameters,
    host: Option<&str>,
) -> Result<(Own, PrivateKeyDer<'static>), Unusable> {
    match identity(parameters)? {
        Some((chain, key)) => Ok((Own { chain, ephemeral: false }, key)),
        None => ephemeral(host),
    }
}

pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our certificate and key from one PEM file or two.
pub(super) fn identity(parameters: &Parameters) -> Result<Option<Identity>, Unusable> {
    let (option, certificate, key) = match (&parameters.certificate, &parameters.key) {
        (None, None) => return Ok(None),
        (Some(one), None) => ("--ssl-cert", one, one),
        (None, Some(one)) => ("--ssl-key", one, one),
        (Some(certificate), Some(key)) => ("--ssl-cert", certificate, key),
    };
    let chain = certificates(option, certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| {
        Unusable(match e {
            rustls::pki_types::pem::Error::Io(e) => cannot_read("--ssl-key", key, &e),
            _ if key == certificate => format!(
                "there is no private key in --ssl-cert {}: put it there, or name its file with \
                 --ssl-key",
                key.display()
            ),
            _ => format!(
                "there is no private key in --ssl-key {} (PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted)",
                key.display()
            ),
        })
    })?;
    Ok(Some((chain, key)))
}

/// The certificates in a PEM file, at least one; `option` is the one that named the file.
///
/// # Errors
/// A file that cannot be read, or is of no use.
pub(super) fn certificates(
    option: &str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let io = |e: rustls::pki_types::pem::Error| match e {
        rustls::pki_types::pem::Error::Io(e) => Unusable(cannot_read(option, file, &e)),
        other => Unusable(format!("{option} {} is not a PEM file: {other}", file.display())),
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(io)?.collect();
    let found = found.map_err(io)?;
    if found.is_empty() {
        let file = file.display();
        return Err(Unusable(match option {
            "--ssl-key" => format!(
                "there is no certificate in --ssl-key {file}: put it there, or name its file \
                 with --ssl-cert"
            ),
            _ => format!("there is no certificate in {option} {file} (PEM)"),
        }));
    }
    if found.iter().any(|der| Certificate::read(der).is_none()) {
        return Err(Unusable(format!(
            "a certificate in {option} {} cannot be read",
            file.display()
        )));
    }
    Ok(found)
}

fn cannot_read(option: &str, file: &Path, error: &std::io::Error) -> String {
    format!("cannot read {option} {}: {}", file.display(), crate::error::words(error))
}

fn ephemeral(host: Option<&str>) -> Result<(Own, PrivateKeyDer<'static>), Unusable> {
    let cannot = |e: rcgen::Error| Unusable(format!("cannot make a certificate: {e}"));
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    if let Some(host) = host.filter(|host| !names.iter().any(|name| name == host)) {
        // Wildcard addresses are nobody's name.
        if host.parse::<IpAddr>().map_or(true, |ip| !ip.is_unspecified()) {
            names.push(host.to_owned());
        }
    }
    let mut parameters = rcgen::CertificateParams::new(names).map_err(cannot)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, host.unwrap_or("localhost"));
    // Valid from yesterday, for clocks that are behind, to a year from now.
    let now = UNIX_EPOCH + Duration::from_secs(UnixTime::now().as_secs());
    let day = Duration::from_secs(86_400);
    parameters.not_before = (now - day).into();
    parameters.not_after = (now + 365 * day).into();
    let key = rcgen::KeyPair::generate().map_err(cannot)?;
    let certificate = parameters.self_signed(&key).map_err(cannot)?;
    let own = Own { chain: vec![certificate.der().clone()], ephemeral: true };
    Ok((own, PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_made_certificate_is_for_this_machine_and_the_host_given() {
        let (own, _) = ephemeral(Some("mail.example")).unwrap();
        let read = Certificate::read(&own.chain[0]).unwrap();
        assert_eq!(read.names, ["localhost", "127.0.0.1", "::1", "mail.example"]);
        assert_eq!(read.common_name.as_deref(), Some("mail.example"));
        let (own, _) = ephemeral(Some("0.0.0.0")).unwrap();
        assert_eq!(Certificate::read(&own.chain[0]).unwrap().names.len(), 3);
    }

    #[test]
    fn pem_of_our_certificate_reads_back() {
        let (own, _) = ephemeral(None).unwrap();
        let file = file_with(&own.pem());
        assert_eq!(certificates("--ssl-cert", file.path()).unwrap(), own.chain);
    }

    #[test]
    fn files_without_use_are_refused_in_words() {
        let missing = certificates("--ssl-trustfile", Path::new("/no/such/file")).unwrap_err().0;
        assert_eq!(missing, "cannot read --ssl-trustfile /no/such/file: no such file or directory");
        let empty = file_with("hello");
        let error = certificates("--ssl-cert", empty.path()).unwrap_err().0;
        assert!(error.starts_with("there is no certificate in "), "{error}");
        let (own, _) = ephemeral(None).unwrap();
        let only_certificate = file_with(&own.pem());
        let parameters = Parameters {
            certificate: Some(only_certificate.path().to_owned()),
            ..Parameters::default()
        };
        let error = identity(&parameters).unwrap_err().0;
        assert!(error.contains("--ssl-key"), "{error}");
    }
}
