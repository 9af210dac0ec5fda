//! The TLS record layer as a value: no socket inside.

#![expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums are open sets")]

use super::buf::Buf;
use super::endpoint::{Io, Moved, Ready};
use super::trust::{self, split_words};
use crate::term::safe::quote;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

/// Plaintext that rustls may hold before `write` refuses more: this is the back-pressure. Sixteen
/// records go to the socket with one call.
const SEND_LIMIT: usize = 256 * 1024;

/// Ciphertext that is read with one call: by itself rustls reads 4 KiB.
const RECEIVED: usize = 256 * 1024;

/// How much of what a peer said instead of TLS is kept, to show it.
const FIRST_WORDS: usize = 80;

/// TLS went wrong, in words; found inside the `io::Error` of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub why: String,
    /// What may help.
    pub hint: Option<&'static str>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// The failure inside an endpoint's error, if TLS was to blame.
    pub fn of(error: &io::Error) -> Option<&Failure> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub suite: String,
    /// The key exchange group, `X25519` for instance.
    pub group: String,
    /// The application protocol (RFC 7301), if one was chosen.
    pub alpn: Option<String>,
    /// The peer's certificates in DER, its own first; empty if it showed none.
    pub chain: Vec<Vec<u8>>,
}

/// One side of a TLS connection, client or server.
pub struct Tls {
    conn: Connection,
    /// The start of what the peer sent, until the handshake is over.
    first_words: Vec<u8>,
    /// What came and rustls has not taken yet.
    received: Buf,
    close_sent: bool,
    /// Nothing more comes from the socket: it ended (with close_notify or without), or `broken`.
    socket_ended: bool,
    /// Nothing more goes to the socket; the error has been reported.
    deaf: bool,
    /// What went wrong behind the plaintext that is still to be read: first that, then this.
    broken: Option<io::Error>,
    /// rustls has room for more plaintext.
    room: bool,
}

impl Tls {
    /// The calling side. `name` is what the certificate must be for, and what SNI says.
    ///
    /// # Errors
    /// A name that is neither a host name nor an address.
    pub fn client(config: Arc<rustls::ClientConfig>, name: &str) -> Result<Self, Failure> {
        let conn = ClientConnection::new(config, server_name(name)?)
            .map_err(|e| failure(&e, false, &[]))?;
        Ok(Self::new(conn.into()))
    }

    /// The called side.
    ///
    /// # Errors
    /// A configuration that rustls refuses.
    pub fn server(config: Arc<rustls::ServerConfig>) -> Result<Self, Failure> {
        let conn = ServerConnection::new(config).map_err(|e| failure(&e, true, &[]))?;
        Ok(Self::new(conn.into()))
    }

    fn new(mut conn: Connection) -> Self {
        conn.set_buffer_limit(Some(SEND_LIMIT));
        crate::sys::memory::keep_freed();
        Self {
            conn,
            first_words: Vec::new(),
            received: Buf::new(RECEIVED),
            close_sent: false,
            socket_ended: false,
            deaf: false,
            broken: None,
            room: true,
        }
    }

    /// Is the handshake still under way?
    pub fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// What was agreed on; `None` until the handshake is over.
    pub fn agreed(&self) -> Option<Agreed> {
        let version = match self.conn.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2",
            // rustls speaks no other.
            _ => "TLS",
        };
        let suite = suite_name(self.conn.negotiated_cipher_suite()?.suite().into());
        let group = group_name(self.conn.negotiated_key_exchange_group()?.name().into());
        let alpn = self.conn.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned());
        let chain = self.conn.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|c| c.as_ref().to_vec()).collect();
        Some(Agreed { version, suite, group, alpn, chain })
    }

    /// What names this very connection and no other, for logins that are bound to it
    /// (`tls-exporter`, RFC 9266). Only of TLS 1.3: before it, it takes an extension of which
    /// rustls does not tell whether it was used.
    pub fn binding(&self) -> Option<[u8; 32]> {
        if self.conn.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let label = b"EXPORTER-Channel-Binding";
        self.conn.export_keying_material([0; 32], label, Some(b"")).ok()
    }

    pub(super) fn can_read(&self) -> bool {
        !self.conn.is_handshaking() && (!self.conn.wants_read() || self.socket_ended)
    }

    pub(super) fn can_write(&self) -> bool {
        !self.conn.is_handshaking() && self.room && !self.close_sent && self.broken.is_none()
    }

    /// Moves ciphertext both ways until the socket blocks or rustls wants nothing.
    pub(super) fn exchange(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        let mut any = false;
        loop {
            let moved = self.send(io, ready)? | self.receive(io, ready)?;
            any |= moved;
            if !moved {
                return Ok(any);
            }
        }
    }

    fn send(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        let mut moved = false;
        while self.conn.wants_write() && ready.tx && !self.deaf {
            match self.conn.write_tls(io) {
                Ok(_) => {
                    moved = true;
                    self.room = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.tx = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Said once: what the peer sent before is still to be read.
                Err(e) => {
                    self.deaf = true;
                    return Err(self.cut_short(e));
                }
            }
        }
        Ok(moved)
    }

    fn receive(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        if !self.conn.wants_read() || self.socket_ended {
            return Ok(false);
        }
        if !self.received.is_empty() {
            return self.take_in(io);
        }
        if !ready.rx {
            return Ok(false);
        }
        let space = self.received.space();
        let room = space.len();
        match io.read(space) {
            Ok(0) => {
                self.socket_ended = true;
                // rustls is to know, too: without close_notify it is a cut.
                let _ = self.conn.read_tls(&mut io::empty());
                if self.conn.is_handshaking() {
                    return Err(self.cut_short(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(true)
            }
            Ok(n) => {
                self.received.filled(n);
                let is_short = n < room;
                if self.conn.is_handshaking() && self.first_words.len() < FIRST_WORDS {
                    let keep = n.min(FIRST_WORDS - self.first_words.len());
                    self.first_words.extend_from_slice(&self.received.bytes()[..keep]);
                }
                let taken = self.take_in(io);
                if is_short {
                    self.received.rest();
                }
                taken
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                ready.rx = false;
                self.received.rest();
                Ok(false)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => self.break_off(e),
        }
    }

    /// Gives rustls what has come, until it has plaintext that is to be read first.
    fn take_in(&mut self, io: &mut Io) -> io::Result<bool> {
        let handshaking = self.conn.is_handshaking();
        while !self.received.is_empty() && self.conn.wants_read() {
            let mut bytes = self.received.bytes();
            let n = match self.conn.read_tls(&mut bytes) {
                Ok(n) => n,
                Err(e) => return self.break_off(e),
            };
            self.received.consume(n);
            if n == 0 {
                // Behind its close_notify nothing of the peer's counts.
                self.socket_ended = true;
                break;
            }
            if let Err(e) = self.conn.process_new_packets() {
                // The last words are an alert that tells the peer why.
                let _ = self.conn.write_tls(io);
                let is_server = matches!(self.conn, Connection::Server(_));
                let failure = failure(&e, is_server, &self.first_words);
                return self.break_off(io::Error::other(failure));
            }
        }
        if handshaking && !self.conn.is_handshaking() {
            self.first_words = Vec::new();
        }
        Ok(true)
    }

    /// Receiving is over. Inside a handshake that is an error at once; later the plaintext that
    /// has arrived goes first.
    fn break_off(&mut self, error: io::Error) -> io::Result<bool> {
        self.socket_ended = true;
        if self.conn.is_handshaking() {
            return Err(self.cut_short(error));
        }
        self.broken = Some(error);
        Ok(true)
    }

    /// The socket ended or failed; inside a handshake that deserves its own words.
    fn cut_short(&self, error: io::Error) -> io::Error {
        if !self.conn.is_handshaking() {
            return error;
        }
        let did = if error.kind() == io::ErrorKind::UnexpectedEof {
            "closed"
        } else if is_reset(&error) {
            "reset"
        } else {
            return error;
        };
        let why = format!("the other side {did} the connection during the handshake");
        let is_client = matches!(self.conn, Connection::Client(_));
        let silent = is_client && self.first_words.is_empty();
        let hint = silent.then_some("perhaps it does not speak TLS on this port");
        io::Error::new(error.kind(), Failure { why, hint })
    }

    /// Plaintext, of as many records as have come and fit.
    pub(super) fn read(&mut self, io: &mut Io, buf: &mut Buf) -> io::Result<Moved> {
        let mut total = 0;
        let result = loop {
            let space = buf.space();
            if space.is_empty() {
                break Ok(0);
            }
            match self.conn.reader().read(space) {
                Ok(n @ 1..) => {
                    buf.filled(n);
                    total += n;
                    // What is wrong with the next record is told when this one is delivered.
                    if !self.received.is_empty() && self.conn.wants_read() && !self.socket_ended {
                        self.take_in(io)?;
                    }
                }
                other => break other,
            }
        };
        if total > 0 {
            return Ok(Moved::Bytes(total));
        }
        match (self.broken.take(), result) {
            (Some(error), _) => Err(error),
            (None, Ok(_)) => Ok(Moved::Eof),
            (None, Err(e)) if e.kind() == io::ErrorKind::WouldBlock => Ok(Moved::Blocked),
            (None, Err(e)) => Err(e), // UnexpectedEof: cut without close_notify
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        // rustls would take it, and the peer would have to refuse it (rustls#3047).
        if self.close_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = self.conn.writer().write(bytes)?;
        if n == 0 {
            self.room = false;
            return Ok(Moved::Blocked);
        }
        Ok(Moved::Bytes(n))
    }

    pub(super) fn close(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        // `ncat --ssl host 443 </dev/null` reaches the end of its input before the handshake
        // ends; closing now would break the handshake instead of the conversation.
        if self.conn.is_handshaking() {
            self.exchange(io, ready)?;
            return Ok(false);
        }
        if !self.close_sent {
            self.conn.send_close_notify();
            self.close_sent = true;
        }
        self.send(io, ready)?;
        Ok(self.deaf || !self.conn.wants_write())
    }
}

/// What can be done about versions.
const VERSIONS: &str = "see --ssl-min and --ssl-max; versions before TLS 1.2 are not supported";

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What a server is called, in the form that its certificate is compared with.
///
/// # Errors
/// A name that is neither a host name nor an address.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(name.to_owned()).map_err(|_| Failure {
        why: format!("{name:?} cannot be the name of a TLS server"),
        hint: Some("give the name in the certificate with --ssl-servername"),
    })
}

/// The IANA name of a cipher suite.
pub(super) fn suite_name(number: u16) -> String {
    let suite = rustls::CipherSuite::from(number);
    suite.as_str().unwrap_or("unknown").replace("TLS13_", "TLS_")
}

/// What people call a key exchange group.
pub(super) fn group_name(number: u16) -> String {
    match rustls::NamedGroup::from(number) {
        rustls::NamedGroup::secp256r1 => "P-256".to_owned(),
        rustls::NamedGroup::secp384r1 => "P-384".to_owned(),
        other => other.as_str().unwrap_or("unknown").to_owned(),
    }
}

/// Does this look like the start of a TLS record (RFC 8446 §5.1): a type, then version 3.x?
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 3, 0..=4, ..])
}

fn failure(error: &rustls::Error, is_server: bool, first_words: &[u8]) -> Failure {
    use rustls::Error as E;
    let peer = if is_server { "the caller" } else { "the server" };
    if let E::InvalidMessage(_) = error
        && !first_words.is_empty()
        && !looks_like_tls(first_words)
    {
        let line = first_words.split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default();
        let hint = if is_server {
            "the caller has to use TLS too; or listen without --ssl"
        } else {
            "leave --ssl out, or upgrade with --starttls if the service offers it"
        };
        let said = quote(line, 60);
        return Failure {
            why: format!("{peer} does not speak TLS here: it said \"{said}\""),
            hint: Some(hint),
        };
    }
    let (why, hint) = match error {
        E::AlertReceived(alert) => return alert_words((*alert).into(), "TLS", peer),
        E::InvalidCertificate(e) if is_server => {
            (format!("the caller's certificate is not accepted: {}", trust::words(e)), None)
        }
        E::InvalidCertificate(e) => (trust::words(e), Some(trust::REMEDY)),
        E::PeerIncompatible(e)
            if ["Tls1", "SupportedVersions"].iter().any(|s| format!("{e:?}").contains(s)) =>
        {
            (format!("{peer} offers no TLS version that we accept"), Some(VERSIONS))
        }
        E::PeerIncompatible(e) => (
            format!(
                "{peer} and we have no way of TLS in common: {}",
                split_words(&format!("{e:?}"))
            ),
            None,
        ),
        E::NoApplicationProtocol => {
            (format!("{peer} offers none of the protocols of --ssl-alpn"), None)
        }
        E::NoCertificatesPresented => (format!("{peer} showed no certificate"), None),
        E::DecryptError => (format!("{peer} sent a record that cannot be decrypted"), None),
        E::PeerSentOversizedRecord => (format!("{peer} sent a record over 16 KiB"), None),
        E::InvalidMessage(e) => (
            format!("{peer} sent something that is not TLS: {}", split_words(&format!("{e:?}"))),
            None,
        ),
        E::PeerMisbehaved(e) => {
            (format!("{peer} broke the rules of TLS: {}", split_words(&format!("{e:?}"))), None)
        }
        // The rest cannot come from a peer; rustls's own words are the best there are.
        other => (other.to_string(), None),
    };
    Failure { why, hint }
}

/// A fatal alert (RFC 8446 §6.2), in words.
pub(super) fn alert_words(number: u8, protocol: &str, peer: &str) -> Failure {
    use rustls::AlertDescription as A;
    let (what, hint) = match A::from(number) {
        A::HandshakeFailure => ("it accepts no cipher suite or group that we offer", None),
        A::ProtocolVersion => ("it accepts no TLS version that we offer", Some(VERSIONS)),
        A::UnrecognisedName => {
            ("it does not know the name we asked for", Some("try --ssl-servername NAME"))
        }
        A::NoApplicationProtocol => ("it speaks none of the protocols of --ssl-alpn", None),
        A::CertificateRequired => {
            ("it wants a certificate from us", Some("give one with --ssl-cert and --ssl-key"))
        }
        A::UnknownCA => ("it does not know who signed our certificate", None),
        A::BadCertificate => ("it does not like our certificate", None),
        A::CertificateExpired => ("our certificate has expired", None),
        A::InternalError => ("it had an internal error", None),
        other => {
            return Failure {
                why: format!(
                    "{peer} ended {protocol} with the alert {}",
                    split_words(other.as_str().unwrap_or("unknown"))
                ),
                hint: None,
            };
        }
    };
    Failure { why: format!("{peer} refused {protocol}: {what}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_greeting_is_not_tls_and_an_alert_is() {
        assert!(!looks_like_tls(b"220 mail"));
        assert!(looks_like_tls(&[0x15, 3, 3, 0, 2, 2, 40]));
        assert!(looks_like_tls(&[0x16, 3, 1, 2, 0]));
        assert!(!looks_like_tls(&[0x16]));
    }
}
