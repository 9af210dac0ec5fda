//! Judging the certificates of servers, in words.

#![expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums are open sets")]

use super::super::certificate::{Certificate, fingerprint, sha256};
use super::identity::certificates;
use super::{Findings, Trust, Unusable, Verdict, Verify, roots_of};
use crate::net::date::date;
use crate::term::safe::quote;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Judges a server's certificate by the [`Trust`] it was given.
#[derive(Debug)]
pub(in crate::net) struct Judge {
    trust: Trust,
    file: Option<Vec<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
    findings: Findings,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.verdict(leaf, chain, name, ocsp, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(why) => Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(Because(why))),
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
            .or_else(|e| self.by_key_alone(message, certificate, signature, e))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
            .or_else(|e| self.by_key_alone(message, certificate, signature, e))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Judge {
    /// Verifies a handshake signature with nothing but the certificate's key.
    ///
    /// webpki does not read certificates of X.509 version 1, or with critical extensions that it
    /// does not know. Whoever does not insist on verification talks to their owners all the same:
    /// the owner of the key it is, whatever else the certificate says.
    fn by_key_alone(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        refusal: rustls::Error,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if rustls::server::ParsedCertificate::try_from(certificate).is_ok() {
            return Err(refusal); // it was read, so the signature is wrong
        }
        let Some((algorithm, key)) = super::super::certificate::key_of(certificate) else {
            return Err(refusal);
        };
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let known = mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
        known
            .into_iter()
            .flat_map(|(_, verifiers)| verifiers.iter())
            .filter(|verifier| verifier.public_key_alg_id().as_ref() == algorithm)
            .any(|verifier| verifier.verify_signature(&key, message, signature.signature()).is_ok())
            .then(HandshakeSignatureValid::assertion)
            .ok_or(refusal)
    }

    pub(super) fn new(
        trust: &Trust,
        provider: Arc<CryptoProvider>,
    ) -> Result<(Self, Findings), Unusable> {
        let file = trust.file.as_deref();
        let file = file.map(|file| certificates("--ssl-trustfile", file)).transpose()?;
        let findings = Findings::default();
        let judge = Self { trust: trust.clone(), file, provider, findings: findings.clone() };
        Ok((judge, findings))
    }

    /// Judges a chain that came without rustls: the server's own certificate, then the others.
    ///
    /// # Errors
    /// Why the connection must not be used, in words.
    pub(in crate::net) fn accept(
        &self,
        chain: &[Vec<u8>],
        name: &ServerName<'_>,
    ) -> Result<(), String> {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let Some((leaf, rest)) = chain.split_first() else {
            return Err("the server showed no certificate".to_owned());
        };
        self.verdict(leaf, rest, name, &[], UnixTime::now()).map_err(not_accepted)
    }

    /// Notes what is found; an error only if the handshake has to fail for it.
    fn verdict(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), String> {
        let mut verdict = Verdict { verified: false, why: None, ocsp: !ocsp.is_empty() };
        let judged = if !self.trust.pins.is_empty() {
            self.pinned(leaf)
        } else if self.trust.verify == Verify::Skip {
            self.findings.note(verdict);
            return Ok(());
        } else {
            self.judge(leaf, chain, name, ocsp, now)
        };
        let must = self.trust.verify == Verify::Must || !self.trust.pins.is_empty();
        verdict.verified = judged.is_ok();
        verdict.why = judged.as_ref().err().cloned();
        self.findings.note(verdict);
        if must { judged } else { Ok(()) }
    }

    fn pinned(&self, leaf: &CertificateDer<'_>) -> Result<(), String> {
        let whole = sha256(leaf);
        let key = Certificate::read(leaf).map(|c| c.key_sha256);
        if self.trust.pins.iter().any(|pin| *pin == whole || Some(*pin) == key) {
            return Ok(());
        }
        Err(format!("neither it (SHA-256 {}) nor its key matches --ssl-pin", fingerprint(&whole)))
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), String> {
        let seen = Certificate::read(leaf);
        let host = name.to_str();
        let mut why = Vec::new();
        let mut by_chain = None;
        // The very certificate in the trust file is trusted for what it says, CA or not.
        let named = self.file.iter().flatten().any(|trusted| trusted == leaf);
        if !named {
            match self.chain(leaf, chain, name, ocsp, now) {
                Ok(()) => return Ok(()),
                Err(error) => by_chain = Some(error),
            }
        }
        let Some(seen) = seen else {
            return by_chain.map_or(Ok(()), |error| Err(words(&error)));
        };
        if let Some(error) = &by_chain {
            match error {
                // What is looked at below, for all reasons at once.
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {}
                CertificateError::UnknownIssuer if !seen.is_self_signed() => why.push(format!(
                    "its issuer {} is not an authority that is trusted here",
                    quote(seen.issuer.as_bytes(), 80)
                )),
                other => {
                    if seen.is_self_signed() {
                        why.push("it is self-signed".to_owned());
                    }
                    // Self-made certificates often say that they are an authority's, too.
                    if !(is_about_issuer(other) && seen.is_self_signed()) {
                        why.push(words(other));
                    }
                }
            }
        }
        let today = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        if today > seen.not_after {
            why.push(format!("it expired on {}", date(seen.not_after)));
        }
        if today < seen.not_before {
            why.push(format!("it is not valid before {}", date(seen.not_before)));
        }
        if !seen.is_for(&host) {
            let owners = quote(seen.owners().as_bytes(), 120);
            why.push(format!("it is for {owners}, not {host}"));
        } else if seen.names.is_empty() && !named {
            why.push("it names nobody but in its common name".to_owned());
        }
        if why.is_empty() {
            // Ours found nothing wrong: then webpki's objection is all there is.
            return by_chain.map_or(Ok(()), |error| Err(words(&error)));
        }
        Err(why.join(", and "))
    }

    /// The chain to a trusted root, by webpki.
    fn chain(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let by = |roots: RootCertStore| {
            let provider = Arc::clone(&self.provider);
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                // No usable root: then nobody is known.
                .map_err(|_| CertificateError::UnknownIssuer)?;
            match verifier.verify_server_cert(leaf, chain, name, ocsp, now) {
                Ok(_) => Ok(()),
                Err(rustls::Error::InvalidCertificate(e)) => Err(e),
                Err(_) => Err(CertificateError::BadEncoding),
            }
        };
        if let Some(file) = &self.file {
            return by(roots_of(file));
        }
        let built_in = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        match by(built_in) {
            // Milliseconds to load, so only when ours do not know the issuer.
            Err(CertificateError::UnknownIssuer) => by(roots_of(&system())),
            other => other,
        }
    }
}

/// Where systems have their roots in one file. The directories beside them have the same, in
/// hundreds of files: reading those cost 7 ms where the file costs one (2026-11, Debian 12).
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The roots that this system trusts; somebody may have named others by `SSL_CERT_FILE` or
/// `SSL_CERT_DIR`.
fn system() -> Vec<CertificateDer<'static>> {
    use rustls_native_certs::load_native_certs;
    let is_told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|v| std::env::var_os(v).is_some());
    let bundle = BUNDLES.iter().map(Path::new).find(|bundle| !is_told && bundle.is_file());
    let found = bundle.and_then(|file| bundled(&std::fs::read_to_string(file).ok()?));
    found.filter(|certs| !certs.is_empty()).unwrap_or_else(|| load_native_certs().certs)
}

/// The certificates in a file of them (RFC 7468); `None` if it is not understood.
///
/// rustls reads PEM in constant time, as keys want it: for a system's hundred and forty roots that
/// is three quarters of all that a session has to compute (2026-11).
fn bundled(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let mut all = Vec::new();
    for block in text.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let (inside, _) = block.split_once("-----END CERTIFICATE-----")?;
        let letters: Vec<u8> = inside.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        all.push(BASE64_STANDARD.decode(letters).ok()?.into());
    }
    Some(all)
}

/// A reason of our own inside rustls's error.
#[derive(Debug)]
struct Because(String);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Because {}

/// Does it say who signed, or that nobody else did? Of a self-signed certificate that is said.
fn is_about_issuer(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        // An authority's certificate where a server's should be.
        CertificateError::Other(other) => format!("{:?}", other.0) == "CaUsedAsEndEntity",
        other => is_about_algorithm(other),
    }
}

/// Does the signature not go with the issuer's key, or is it of a kind that is unknown here?
fn is_about_algorithm(error: &CertificateError) -> bool {
    format!("{error:?}").starts_with("UnsupportedSignatureAlgorithm")
}

fn not_accepted(why: String) -> String {
    format!("the server's certificate is not accepted: {why}")
}

/// Why a certificate is not accepted, as the end of "the certificate is not accepted: …".
pub(in crate::net) fn words(error: &CertificateError) -> String {
    use CertificateError as C;
    match error {
        C::Other(other) if other.0.is::<Because>() => not_accepted(other.to_string()),
        C::Other(other) => {
            // webpki's name for it, such as CaUsedAsEndEntity.
            let name = format!("{:?}", other.0);
            match name.as_str() {
                "CaUsedAsEndEntity" => "it is the certificate of an authority".to_owned(),
                "UnsupportedCertVersion" => "it is of an X.509 version before 3".to_owned(),
                "UnsupportedCriticalExtension" => {
                    "it has a critical extension that is not understood here".to_owned()
                }
                name => split_words(name),
            }
        }
        C::Expired => "it has expired".to_owned(),
        C::ExpiredContext { not_after, .. } => {
            let end = UNIX_EPOCH + Duration::from_secs(not_after.as_secs());
            format!("it expired on {}", date(end))
        }
        C::BadEncoding => "it cannot be read".to_owned(),
        C::Revoked => "it has been revoked".to_owned(),
        C::UnknownIssuer => "its issuer is not an authority that is trusted here".to_owned(),
        C::BadSignature => "the signature on it is wrong".to_owned(),
        C::UnhandledCriticalExtension => {
            "it has a critical extension that is not understood here".to_owned()
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "it was not issued for TLS servers".to_owned()
        }
        other if is_about_algorithm(other) => {
            "the signature on it does not go with its issuer's key".to_owned()
        }
        // The rest is rare, and rustls's names are better than none.
        other => {
            let name = format!("{other:?}");
            split_words(name.split([' ', '(', '{']).next().unwrap_or_default())
        }
    }
}

/// `NoCipherSuitesInCommon` becomes `no cipher suites in common`.
pub(in crate::net) fn split_words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        let after = words.chars().last();
        if c.is_ascii_uppercase() && after.is_some_and(|l| !l.is_whitespace()) {
            words.push(' ');
        }
        words.push(if c == '_' { ' ' } else { c.to_ascii_lowercase() });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_reads_as_rustls_reads_it() {
        use rustls::pki_types::pem::PemObject;
        let text = "# One\n-----BEGIN CERTIFICATE-----\r\nAAEC\r\nAw==\r\n-----END CERTIFICATE-----\n\
                    # Other\n-----BEGIN CERTIFICATE-----\n/+8=\n-----END CERTIFICATE-----\n";
        let by_rustls: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        assert_eq!(bundled(text).unwrap(), by_rustls.unwrap());
        for system in BUNDLES.iter().filter(|bundle| Path::new(bundle).is_file()) {
            let text = std::fs::read_to_string(system).unwrap();
            let by_rustls: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            assert_eq!(bundled(&text).unwrap(), by_rustls.unwrap(), "{system}");
        }
        assert_eq!(bundled(""), Some(Vec::new()));
        for broken in ["MII", "!\n-----END CERTIFICATE-----"] {
            assert_eq!(bundled(&format!("-----BEGIN CERTIFICATE-----\n{broken}")), None);
        }
    }

    #[test]
    fn rustls_names_become_words() {
        assert_eq!(split_words("NoCipherSuitesInCommon"), "no cipher suites in common");
        assert_eq!(split_words("decode_error"), "decode error");
    }
}
