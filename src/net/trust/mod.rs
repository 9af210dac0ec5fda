//! Whom we believe under TLS, and what we show of ourselves.

mod identity;
mod judge;

use super::ciphers;
pub use identity::Own;
pub(super) use identity::own_in_der;
use identity::{certificates, identity, own};
pub(super) use judge::{Judge, split_words, words};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
pub use rustls::{ClientConfig, ServerConfig};
use rustls::{RootCertStore, SupportedProtocolVersion};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
            let roots = Arc::new(roots_of(&certificates("--ssl-client-ca", file)?));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|e| Unusable(format!("--ssl-client-ca {}: {e}", file.display())))?;
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

/// The IANA numbers of the cipher suites that `--ssl-ciphers` leaves.
///
/// # Errors
/// As for [`client`].
pub(super) fn suites(parameters: &Parameters) -> Result<Vec<u16>, Unusable> {
    let suites = provider(parameters)?.cipher_suites;
    Ok(suites.iter().map(|suite| suite.suite().into()).collect())
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

fn roots_of(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}
