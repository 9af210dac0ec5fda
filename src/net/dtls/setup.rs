//! What DTLS is set up with, once for all connections.

use super::super::trust::{self, Findings, Judge, Own, Parameters, Trust, Unusable};
use dimpl::DtlsCertificate;
use dimpl::crypto::{CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite, rust_crypto};
use std::sync::Arc;
use std::time::Duration;

/// No datagram of the handshake is larger: it passes wherever IPv6 does (RFC 8200 §5).
const HANDSHAKE_MTU: usize = 1200;

/// The last resort against a peer that never finishes its handshake; modes have shorter ones.
/// The eight transmissions of a flight, 1 s apart at first (RFC 6347 §4.2.4.1), take longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const RETRIES: usize = 7;

/// What a caller has to answer the question for its cookie, from each hello of its: until then
/// anybody may have called in its name. Three datagrams may be lost (after 1, 2 and 4 s, and a quarter more at times).
pub(super) const UNPROVEN: Duration = Duration::from_secs(10);

/// Datagrams of a handshake that wait for one before them; `dimpl` gives up beyond.
const REORDERED: usize = 30;

/// `dimpl` panics if it cannot hand over a certificate at once, and one may fill so many datagrams.
/// The pages of it that are never used are never there.
pub(super) const CERTIFICATE_LIMIT: usize = REORDERED * 65_536;

/// Everything the calling side needs.
pub struct ClientConfig {
    pub(super) engine: Arc<dimpl::Config>,
    pub(super) certificate: DtlsCertificate,
    pub(super) versions: Versions,
    pub(super) judge: Judge,
}

/// Everything the called side needs.
pub struct ServerConfig {
    pub(super) engine: Arc<dimpl::Config>,
    pub(super) certificate: DtlsCertificate,
    pub(super) versions: Versions,
}

/// Sets up the calling side, once for all its connections.
///
/// # Errors
/// Files that cannot be read or hold nothing of use; keys and options that DTLS cannot use.
pub fn client(
    trust: &Trust,
    parameters: &Parameters,
) -> Result<(Arc<ClientConfig>, Findings), Unusable> {
    let versions = match Versions::of(parameters) {
        Versions::Only13 => Versions::Only13,
        Versions::Only12 | Versions::Both => Versions::Only12,
    };
    let (judge, findings) = trust::judge(trust, parameters)?;
    // A caller without a certificate is something that dimpl does not know. The made one is seen
    // only by servers that ask for one.
    let (_, certificate) = own(parameters, None)?;
    let engine = engine(parameters, versions)?;
    Ok((Arc::new(ClientConfig { engine, certificate, versions, judge }), findings))
}

/// Sets up the called side, once for all callers: with our certificate, or one made on the spot
/// (see [`trust::server`]).
///
/// # Errors
/// As for [`client`].
pub fn server(
    parameters: &Parameters,
    host: Option<&str>,
) -> Result<(Arc<ServerConfig>, Own), Unusable> {
    let versions = Versions::of(parameters);
    let (own, certificate) = own(parameters, host)?;
    let engine = engine(parameters, versions)?;
    Ok((Arc::new(ServerConfig { engine, certificate, versions }), own))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Only12,
    Only13,
    Both,
}

impl Versions {
    fn of(parameters: &Parameters) -> Self {
        match (parameters.only_tls12, parameters.only_tls13) {
            (true, _) => Versions::Only12,
            (_, true) => Versions::Only13,
            (false, false) => Versions::Both,
        }
    }
}

fn own(parameters: &Parameters, host: Option<&str>) -> Result<(Own, DtlsCertificate), Unusable> {
    let keys = rust_crypto::default_provider().key_provider;
    let (own, private_key) = trust::own_in_der(parameters, host, |key| {
        let file = parameters.key.as_ref().or(parameters.certificate.as_ref());
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        keys.load_private_key(key).map(drop).map_err(|_| {
            Unusable(format!(
                "the key in {file} cannot be used for DTLS, which needs an EC key on P-256 or \
                 P-384 here: make one with openssl ecparam -name prime256v1 -genkey -noout, or \
                 leave --ssl-cert and --ssl-key out and a certificate is made"
            ))
        })
    })?;
    let certificate = DtlsCertificate { certificate: own.leaf().to_vec(), private_key };
    Ok((own, certificate))
}

fn engine(parameters: &Parameters, versions: Versions) -> Result<Arc<dimpl::Config>, Unusable> {
    if !parameters.alpn.is_empty() {
        return Err(Unusable("--ssl-alpn cannot be used with DTLS here".to_owned()));
    }
    let mut provider = rust_crypto::default_provider();
    let wanted = match parameters.ciphers {
        Some(_) => trust::suites(parameters)?,
        // For AES-GCM under 1.2 dimpl draws 64 bits of each nonce at random, and one that comes
        // twice gives the plaintext away (after 2^24 datagrams that is a chance of 2^-17).
        // ChaCha20-Poly1305 counts, so it comes first.
        None => vec![0x1301, 0x1302, 0x1303, 0xCCA9, 0xC02B, 0xC02C],
    };
    let suites12 = choose12(&mut provider, &wanted);
    let suites13: Vec<_> = wanted.iter().map(|&suite| Dtls13CipherSuite::from_u16(suite)).collect();
    let left13 = provider.dtls13_cipher_suites.iter().any(|s| suites13.contains(&s.suite()));
    let missing = match versions {
        Versions::Only12 => suites12.is_empty(),
        Versions::Only13 => !left13,
        Versions::Both => suites12.is_empty() && !left13,
    };
    if missing {
        return Err(Unusable(
            "--ssl-ciphers leaves no cipher suite for DTLS; there are: \
             ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-ECDSA-AES128-GCM-SHA256 \
             ECDHE-ECDSA-AES256-GCM-SHA384 for DTLS 1.2, and those of TLS 1.3 for DTLS 1.3"
                .to_owned(),
        ));
    }
    let config = dimpl::Config::builder()
        .with_crypto_provider(provider)
        .dtls12_cipher_suites(&suites12)
        .dtls13_cipher_suites(&suites13)
        .mtu(HANDSHAKE_MTU)
        .max_queue_rx(REORDERED)
        .flight_retries(RETRIES)
        .handshake_timeout(PATIENCE)
        .require_client_certificate(false)
        .use_server_cookie(true)
        .build()
        .map_err(|e| Unusable(format!("DTLS cannot be set up: {e}")))?;
    Ok(Arc::new(config))
}

/// Brings the provider's suites for 1.2 into our order, which is the order of the offer.
fn choose12(provider: &mut CryptoProvider, wanted: &[u16]) -> Vec<Dtls12CipherSuite> {
    let known = provider.cipher_suites;
    let chosen: Vec<_> = wanted
        .iter()
        .filter_map(|&suite| known.iter().copied().find(|known| known.suite().as_u16() == suite))
        .collect();
    let names = chosen.iter().map(|suite| suite.suite()).collect();
    // A provider is made of what lives for ever. Once per run, and some 50 bytes.
    provider.cipher_suites = Box::leak(chosen.into_boxed_slice());
    names
}
