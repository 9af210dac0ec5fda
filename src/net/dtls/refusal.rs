//! Why a connection does not go on, in words, and in the one byte that the peer is told.

#![expect(clippy::wildcard_enum_match_arm, reason = "dimpl's enums are open sets")]

use super::super::tls::{self, Failure};
use super::super::trust;
use dimpl::{CertificateError, CryptoError, Error, SecurityError};

pub(super) const ONLY_EC: &str = "DTLS works here only with certificates for EC keys (P-256 or P-384), \
     not with RSA ones: perhaps the server has one of those";

/// Who the other side is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Server,
    Caller,
}

/// Why a connection ends, and the alert that tells the peer.
pub(super) struct Refusal {
    pub(super) failure: Failure,
    pub(super) alert: Option<u8>,
}

// Alert descriptions (RFC 5246 §7.2).
const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const DECRYPT_ERROR: u8 = 51;

impl Refusal {
    /// A server whose certificate is not accepted.
    pub(super) fn not_trusted(why: String) -> Self {
        let failure = Failure { why, hint: Some(trust::REMEDY) };
        Self { failure, alert: Some(BAD_CERTIFICATE) }
    }

    /// What dimpl says, in words. `heard` says that the peer has answered before.
    pub(super) fn of(error: Error, who: Peer, heard: bool) -> Self {
        use SecurityError as S;
        let peer = match who {
            Peer::Server => "the server",
            Peer::Caller => "the caller",
        };
        let (why, hint, alert) = match error {
            Error::SecurityError(S::FatalAlert { description }) => {
                let failure = tls::alert_words(description, "DTLS", peer);
                let hint = match (description, who) {
                    (HANDSHAKE_FAILURE, Peer::Server) => Some(ONLY_EC),
                    _ => failure.hint,
                };
                (failure.why, hint, None)
            }
            Error::Timeout(_) if heard => (format!("{peer} does not answer any more"), None, None),
            Error::Timeout(_) => {
                let hint = "perhaps it does not speak DTLS on this port";
                (format!("{peer} does not answer"), Some(hint), None)
            }
            Error::CryptoError(
                CryptoError::UnsupportedPublicKeyAlgorithm
                | CryptoError::UnsupportedEcCurve
                | CryptoError::MissingEcCurveParameter
                | CryptoError::InvalidEcCurveParameter,
            )
            | Error::CertificateError(
                CertificateError::UnsupportedEcCurve
                | CertificateError::MissingEcCurveParameter
                | CertificateError::InvalidEcCurveParameter,
            ) => (
                format!(
                    "{peer}'s certificate is not for an EC key on P-256 or P-384 (is it RSA?), \
                     and DTLS can use no other here"
                ),
                None,
                Some(UNSUPPORTED_CERTIFICATE),
            ),
            Error::CryptoError(CryptoError::SignatureVerificationFailed { .. }) => (
                format!("{peer} could not prove that its certificate is its own"),
                None,
                Some(DECRYPT_ERROR),
            ),
            Error::SecurityError(
                error @ (S::NoMutuallyAcceptableCipherSuite
                | S::NoCommonCipherSuite
                | S::NoCommonKeyExchangeGroup
                | S::UnsupportedServerVersion(_)
                | S::UnsupportedClientVersion(_)
                | S::ServerDidNotNegotiateDtls13
                | S::ClientHelloMissingDtls13SupportedVersions
                | S::ExtendedMasterSecretNotNegotiated),
            ) => (
                format!("{peer} and we have no way of DTLS in common: {error}"),
                None,
                Some(HANDSHAKE_FAILURE),
            ),
            Error::RenegotiationAttempt => {
                (format!("{peer} wants to renegotiate, which is not supported"), None, None)
            }
            Error::ConnectionClosed => (closed().why, None, None),
            other => {
                (format!("{peer} broke the rules of DTLS: {other}"), None, Some(HANDSHAKE_FAILURE))
            }
        };
        Refusal { failure: Failure { why, hint }, alert }
    }
}

impl Refusal {
    /// Perhaps somebody else called in its name: it hears nothing.
    pub(super) fn unproven() -> Self {
        let why = "the caller did not show that it is where it says".to_owned();
        Refusal { failure: Failure { why, hint: None }, alert: None }
    }
}

/// What a caller hears who writes all the same.
pub(super) fn closed() -> Failure {
    Failure { why: "the DTLS connection is closed".to_owned(), hint: None }
}
