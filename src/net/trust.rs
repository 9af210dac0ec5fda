//! Whom we believe under TLS, and what we show of ourselves.

#![expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums are open sets")]

use super::certificate::{Certificate, date, fingerprint, sha256};
use super::ciphers;
use crate::term::safe::quote;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
pub use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// What a person can do about a certificate that does not verify.
pub(super) const REMEDY: &str = "trust its issuer with --ssl-trustfile FILE, accept just this one with --ssl-pin, \
     or do not verify with --ssl-insecure";

/// How a server's certificate is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// It must verify, or the handshake fails.
    Must,
    /// It is verified, and whoever asks learns the verdict.
    Tell,
    /// It is not looked at.
    Skip,
}

/// Whom to believe.
#[derive(Debug, Clone)]
pub struct Trust {
    /// How strictly.
    pub verify: Verify,
    /// Certificates to trust instead of the built-in and the system's authorities.
    pub file: Option<PathBuf>,
    /// SHA-256 of a certificate or a public key that is accepted, and nothing else.
    pub pins: Vec<[u8; 32]>,
}

/// What both sides of TLS can be told.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// An OpenSSL cipher string.
    pub ciphers: Option<String>,
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
    /// Refuse TLS 1.3.
    pub only_tls12: bool,
    /// Application protocols (RFC 7301), most wanted first.
    pub alpn: Vec<String>,
    /// PEM file with our certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key; the certificate's file if absent.
    pub key: Option<PathBuf>,
    /// Write the session's secrets to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
}

/// What was found out about a server's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It verified (or its pin matched).
    pub verified: bool,
    /// Why not, in words.
    pub why: Option<String>,
    /// The server stapled an OCSP response (RFC 6066 §8).
    pub ocsp: bool,
}

/// Where the verdict of a handshake can be read once it is over.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<Verdict>>);

impl Findings {
    /// The latest verdict.
    pub fn verdict(&self) -> Verdict {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, verdict: Verdict) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }
}

/// A file or a setting that cannot be used: always this machine's or the person's fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything the calling side of TLS needs.
///
/// # Errors
/// Files that cannot be read or hold nothing of use; ciphers that leave nothing.
pub fn client(
    trust: &Trust,
    parameters: &Parameters,
) -> Result<(Arc<ClientConfig>, Findings), Unusable> {
    let provider = Arc::new(provider(parameters)?);
    let (judge, findings) = Judge::new(trust, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(parameters))
        .map_err(|e| Unusable(format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge));
    let mut config = match identity(parameters)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| Unusable(format!("our certificate and key cannot be used: {e}")))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = parameters.alpn.iter().map(|p| p.clone().into_bytes()).collect();
    if parameters.key_log {
        config.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok((Arc::new(config), findings))
}

/// Everything the called side of TLS needs: our certificate, or one made on the spot.
///
/// `host` becomes a name in the made one, beside localhost, 127.0.0.1 and ::1. With `client_ca`
/// callers must show a certificate of one of these authorities. Returns the certificate in PEM
/// too, for `--ssl-cert-out`.
///
/// # Errors
/// As for [`client`].
pub fn server(
    parameters: &Parameters,
    host: Option<&str>,
    client_ca: Option<&Path>,
) -> Result<(Arc<ServerConfig>, Own), Unusable> {
    let provider = Arc::new(provider(parameters)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(parameters))
        .map_err(|e| Unusable(format!("TLS cannot be set up: {e}")))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots_of(&certificates(file)?));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|e| Unusable(format!("{}: {e}", file.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (own, key) = own(parameters, host)?;
    let mut config = builder
        .with_single_cert(own.chain.clone(), key)
        .map_err(|e| Unusable(format!("our certificate and key cannot be used: {e}")))?;
    config.alpn_protocols = parameters.alpn.iter().map(|p| p.clone().into_bytes()).collect();
    // A ticket that a one-way client never reads turns its close into a reset, and the reset
    // eats the end of what it sent.
    config.send_tls13_tickets = 0;
    if parameters.key_log {
        config.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok((Arc::new(config), own))
}

/// The judge of servers that are met without rustls, and where its verdict can be read.
///
/// # Errors
/// As for [`client`].
pub(super) fn judge(trust: &Trust, parameters: &Parameters) -> Result<(Judge, Findings), Unusable> {
    Judge::new(trust, Arc::new(provider(parameters)?))
}

/// Our certificate and its key in DER, for use without rustls: one made on the spot, if no file
/// is given. `check` says what is wrong with a key; that they belong together is seen to here.
///
/// # Errors
/// As for [`server`], and what `check` says.
pub(super) fn own_in_der(
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

/// The IANA numbers of the cipher suites that `--ssl-ciphers` leaves.
///
/// # Errors
/// As for [`client`].
pub(super) fn suites(parameters: &Parameters) -> Result<Vec<u16>, Unusable> {
    let suites = provider(parameters)?.cipher_suites;
    Ok(suites.iter().map(|suite| suite.suite().into()).collect())
}

/// The certificate that we show as a server.
#[derive(Debug)]
pub struct Own {
    chain: Vec<CertificateDer<'static>>,
    /// It was made for this run.
    pub ephemeral: bool,
}

impl Own {
    /// SHA-256 of the certificate, printed.
    pub fn fingerprint(&self) -> String {
        fingerprint(&sha256(self.leaf()))
    }

    /// The certificate itself, in DER.
    pub(super) fn leaf(&self) -> &[u8] {
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

fn provider(parameters: &Parameters) -> Result<CryptoProvider, Unusable> {
    let mut provider = rustls::crypto::ring::default_provider();
    if let Some(string) = &parameters.ciphers {
        ciphers::restrict(&mut provider, string).map_err(Unusable)?;
    }
    let has = |version| provider.cipher_suites.iter().any(|s| s.version().version == version);
    for (only, version, name) in [
        (parameters.only_tls12, rustls::ProtocolVersion::TLSv1_2, "TLS 1.2"),
        (parameters.only_tls13, rustls::ProtocolVersion::TLSv1_3, "TLS 1.3"),
    ] {
        if only && !has(version) {
            return Err(Unusable(format!("--ssl-ciphers leaves no cipher suite for {name}")));
        }
    }
    Ok(provider)
}

fn versions(parameters: &Parameters) -> &'static [&'static SupportedProtocolVersion] {
    const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    match (parameters.only_tls12, parameters.only_tls13) {
        (true, _) => TLS12,
        (_, true) => TLS13,
        (false, false) => rustls::ALL_VERSIONS,
    }
}

fn own(
    parameters: &Parameters,
    host: Option<&str>,
) -> Result<(Own, PrivateKeyDer<'static>), Unusable> {
    match identity(parameters)? {
        Some((chain, key)) => Ok((Own { chain, ephemeral: false }, key)),
        None => ephemeral(host),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our certificate and key from one PEM file or two.
fn identity(parameters: &Parameters) -> Result<Option<Identity>, Unusable> {
    let (certificate, key) = match (&parameters.certificate, &parameters.key) {
        (None, None) => return Ok(None),
        (Some(one), None) | (None, Some(one)) => (one, one),
        (Some(certificate), Some(key)) => (certificate, key),
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| {
        Unusable(match e {
            rustls::pki_types::pem::Error::Io(e) => cannot_read(key, &e),
            _ if key == certificate => format!(
                "there is no private key in {}: put it there, or name its file with --ssl-key",
                key.display()
            ),
            _ => format!(
                "there is no private key in {} (PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted)",
                key.display()
            ),
        })
    })?;
    Ok(Some((chain, key)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let io = |e: rustls::pki_types::pem::Error| match e {
        rustls::pki_types::pem::Error::Io(e) => Unusable(cannot_read(file, &e)),
        other => Unusable(format!("{} is not a PEM file: {other}", file.display())),
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(io)?.collect();
    let found = found.map_err(io)?;
    if found.is_empty() {
        return Err(Unusable(format!("there is no certificate in {} (PEM)", file.display())));
    }
    if found.iter().any(|der| Certificate::read(der).is_none()) {
        return Err(Unusable(format!("a certificate in {} cannot be read", file.display())));
    }
    Ok(found)
}

fn cannot_read(file: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {}", file.display(), crate::error::words(error))
}

fn roots_of(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
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

/// Judges a server's certificate by the [`Trust`] it was given.
#[derive(Debug)]
pub(super) struct Judge {
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
        let Some((algorithm, key)) = super::certificate::key_of(certificate) else {
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

    fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<(Self, Findings), Unusable> {
        let file = trust.file.as_deref().map(certificates).transpose()?;
        let findings = Findings::default();
        let judge = Self { trust: trust.clone(), file, provider, findings: findings.clone() };
        Ok((judge, findings))
    }

    /// Judges a chain that came without rustls: the server's own certificate, then the others.
    ///
    /// # Errors
    /// Why the connection must not be used, in words.
    pub(super) fn accept(&self, chain: &[Vec<u8>], name: &ServerName<'_>) -> Result<(), String> {
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
            // Tens of milliseconds to load, so only when ours do not know the issuer.
            Err(CertificateError::UnknownIssuer) => {
                by(roots_of(&rustls_native_certs::load_native_certs().certs))
            }
            other => other,
        }
    }
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
pub(super) fn words(error: &CertificateError) -> String {
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
pub(super) fn split_words(name: &str) -> String {
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
    fn rustls_names_become_words() {
        assert_eq!(split_words("NoCipherSuitesInCommon"), "no cipher suites in common");
        assert_eq!(split_words("decode_error"), "decode error");
    }

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
        assert_eq!(certificates(file.path()).unwrap(), own.chain);
    }

    #[test]
    fn files_without_use_are_refused_in_words() {
        let missing = certificates(Path::new("/no/such/file")).unwrap_err().0;
        assert_eq!(missing, "cannot read /no/such/file: no such file or directory");
        let empty = file_with("hello");
        let error = certificates(empty.path()).unwrap_err().0;
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
