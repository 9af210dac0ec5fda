//! DTLS as a value (RFC 6347, RFC 9147): datagrams in, datagrams out, no socket and no clock.
//!
//! The engine is `dimpl`. In scope: both sides, 1.2 and 1.3, the cookie exchange, retransmission,
//! close_notify. Out of scope, because dimpl lacks them: RSA keys (ours must be on P-256 or P-384,
//! and so must the peer's), session resumption, ALPN, SNI, key logging, certificates of callers,
//! and certificates of ours beyond the first of the chain.
//!
//! ```text
//! Handshaking ------> Open ---------close()----------> Closed
//!                      |                                 | close_notify
//!                      +-close_notify (1.2)-----------> Over
//!                      +-close_notify (1.3)-> Answering -^ close()
//! any of them: alert, refusal, timeout ---------------> Broken
//! ```
//!
//! The calling side speaks 1.2 unless it is told to speak nothing but 1.3: under 1.3 only the
//! server's own certificate comes to light, and most of those do not verify without the
//! certificates between them and their authority.

#![expect(clippy::wildcard_enum_match_arm, reason = "dimpl's enums are open sets")]

pub mod layer;
mod queue;
mod records;
mod refusal;
mod setup;

use self::queue::Queue;
use self::records::Overheard;
use self::refusal::{Peer, Refusal, closed};
use self::setup::{CERTIFICATE_LIMIT, UNPROVEN, Versions};
use super::buf::Buf;
use super::tls::{self, Agreed, Failure};
use dimpl::{Error, Output, ProtocolVersion};
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::records::is_client_hello;
pub use self::setup::{ClientConfig, ServerConfig, client, server};

/// The longest datagram that can be written: what a record holds (RFC 6347 §4.1.1).
pub const LIMIT: usize = 16 * 1024;

/// Bytes that may wait for the socket before `write` refuses more.
const SEND_LIMIT: usize = 64 * 1024;

/// Bytes that may wait for the reader before `has_room` says no.
const RECEIVE_LIMIT: usize = 256 * 1024;

/// A deadline beyond this is `dimpl`'s way to say that it waits for nothing.
const FOREVER: Duration = Duration::from_secs(86_400);

/// What came out of a connection for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A whole datagram of so many bytes; 0 is a datagram too.
    Datagram(usize),
    /// The peer has said that it sends no more (close_notify), and all before that is read.
    Closed,
}

/// Where a connection stands; the module's picture has the ways between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Open,
    /// We have closed; the peer may still send.
    Closed,
    /// The peer has closed; we may still send (RFC 8446 §6.1).
    Answering,
    /// Both have closed. Under 1.2 neither goes on without the other (RFC 5246 §7.2.1).
    Over,
    Broken,
}

enum Side {
    Client { config: Arc<ClientConfig>, name: ServerName<'static> },
    Server,
}

/// One side of a DTLS connection with one peer.
///
/// Whoever owns the socket feeds it with [`Dtls::arrived`] and [`Dtls::timeout`], and after any
/// call sends what [`Dtls::next_out`] gives and looks at [`Dtls::deadline`] again.
pub struct Dtls {
    conn: dimpl::Dtls,
    side: Side,
    stage: Stage,
    /// Datagrams for the socket.
    out: Queue,
    /// Datagrams for the reader.
    inbox: Queue,
    /// `None` when there is nothing to wait for.
    deadline: Option<Instant>,
    overheard: Overheard,
    /// The server's certificates, from when they are judged until they are agreed on.
    chain: Vec<Vec<u8>>,
    agreed: Option<Agreed>,
    /// When the first datagram came from the peer that was DTLS; of an unproven one the last.
    heard: Option<Instant>,
    /// The time of the last call that told it.
    now: Instant,
    /// Where dimpl puts what it has for us.
    scratch: Vec<u8>,
}

impl Dtls {
    /// The calling side; its first datagram is ready at once. `name` is what the certificate must
    /// be for.
    ///
    /// # Errors
    /// A name that is neither a host name nor an address.
    pub fn client(config: &Arc<ClientConfig>, name: &str, now: Instant) -> Result<Self, Failure> {
        let name = tls::server_name(name)?;
        let (engine, certificate) = (Arc::clone(&config.engine), config.certificate.clone());
        let mut conn = match config.versions {
            Versions::Only13 => dimpl::Dtls::new_13(engine, certificate, now),
            Versions::Only12 | Versions::Both => dimpl::Dtls::new_12(engine, certificate, now),
        };
        conn.set_active(true);
        let side = Side::Client { config: Arc::clone(config), name };
        Self::start(conn, side, CERTIFICATE_LIMIT, now)
    }

    /// The called side, for one caller. Nothing is sent before a datagram of the caller's arrives,
    /// nothing but a cookie before it has proved by that where it is.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn server(config: &ServerConfig, now: Instant) -> Result<Self, Failure> {
        let (engine, certificate) = (Arc::clone(&config.engine), config.certificate.clone());
        let conn = match config.versions {
            Versions::Only12 => dimpl::Dtls::new_12(engine, certificate, now),
            Versions::Only13 => dimpl::Dtls::new_13(engine, certificate, now),
            Versions::Both => dimpl::Dtls::new_auto(engine, certificate, now),
        };
        Self::start(conn, Side::Server, 2 * LIMIT, now)
    }

    fn start(conn: dimpl::Dtls, side: Side, scratch: usize, now: Instant) -> Result<Self, Failure> {
        let mut dtls = Self {
            conn,
            side,
            stage: Stage::Handshaking,
            out: Queue::default(),
            inbox: Queue::default(),
            deadline: None,
            overheard: Overheard::default(),
            chain: Vec::new(),
            agreed: None,
            heard: None,
            now,
            scratch: vec![0; scratch],
        };
        dtls.tick(now)?;
        Ok(dtls)
    }

    /// Is the handshake still under way?
    pub fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshaking
    }

    /// When [`Dtls::timeout`] has to be called, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// May another datagram be taken from the socket? No, while the reader is behind.
    pub fn has_room(&self) -> bool {
        self.inbox.weight() < RECEIVE_LIMIT
    }

    /// Is there anything for [`Dtls::next_in`] to give?
    pub fn has_arrival(&self) -> bool {
        self.inbox.first().is_some() || matches!(self.stage, Stage::Answering | Stage::Over)
    }

    /// Takes a datagram from the socket. What is not DTLS, forged or repeated is ignored.
    ///
    /// # Errors
    /// The connection is over: the peer or we refuse. What arrived before can still be read, and
    /// a last datagram may be there to be sent.
    pub fn arrived(&mut self, datagram: &[u8], now: Instant) -> Result<(), Failure> {
        if self.stage == Stage::Broken || !records::looks_like_dtls(datagram) {
            return Ok(());
        }
        // dimpl keeps everything until it has a ClientHello, and gives up after a few.
        if self.is_unproven() && !is_client_hello(datagram) {
            return Ok(());
        }
        if self.stage == Stage::Handshaking && matches!(self.side, Side::Client { .. }) {
            self.overheard.listen(datagram);
        }
        if self.is_unproven() || self.heard.is_none() {
            self.heard = Some(now);
        }
        // Its clock has to be right before anything else.
        self.tick(now)?;
        let result = self.conn.handle_packet(datagram);
        self.settle(result)
    }

    /// Time has passed: sends again what was not answered.
    ///
    /// # Errors
    /// The peer does not answer at all.
    pub fn timeout(&mut self, now: Instant) -> Result<(), Failure> {
        if !self.is_unproven() || self.stage == Stage::Broken {
            return self.tick(now);
        }
        // Whoever is asked for a cookie has perhaps never called: one answer for each hello, and
        // none because time goes by (RFC 6347 §4.2.1). dimpl would send some.
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        Err(self.break_off(Refusal::unproven()))
    }

    /// Has the caller still to show that it is where it says?
    pub fn is_unproven(&self) -> bool {
        matches!(self.side, Side::Server) && self.overheard.suite.is_none()
    }

    fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        if self.stage == Stage::Broken {
            return Ok(());
        }
        self.now = now;
        let result = self.conn.handle_timeout(now);
        self.settle(result)
    }

    /// The next datagram for the socket; it stays the next until [`Dtls::sent`].
    pub fn next_out(&self) -> Option<&[u8]> {
        self.out.first()
    }

    /// The datagram of [`Dtls::next_out`] is on its way, or lost: that is for DTLS to handle.
    pub fn sent(&mut self) {
        self.out.pop();
    }

    /// Appends the next datagram of the peer's to `buf`, whole.
    ///
    /// One that does not fit stays where it is; an empty `buf` of [`LIMIT`] bytes takes any.
    pub fn next_in(&mut self, buf: &mut Buf) -> Option<Arrival> {
        let Some(datagram) = self.inbox.first() else {
            let closed = matches!(self.stage, Stage::Answering | Stage::Over);
            return closed.then_some(Arrival::Closed);
        };
        let n = datagram.len();
        buf.whole_space().get_mut(..n)?.copy_from_slice(datagram);
        buf.filled(n);
        self.inbox.pop();
        Some(Arrival::Datagram(n))
    }

    /// Sends a datagram. False if it cannot be taken yet: in the handshake, or as long as too much
    /// waits for the socket. An empty one goes out as it is, but OpenSSL takes it for the end.
    ///
    /// # Errors
    /// It is longer than [`LIMIT`], after which the connection is as before; or it is closed.
    pub fn write(&mut self, payload: &[u8]) -> Result<bool, Failure> {
        match self.stage {
            Stage::Handshaking => return Ok(false),
            Stage::Open | Stage::Answering => {}
            Stage::Closed | Stage::Over | Stage::Broken => return Err(closed()),
        }
        if payload.len() > LIMIT {
            return Err(Failure {
                why: format!(
                    "a datagram of {} bytes is too long: DTLS carries at most {LIMIT} bytes",
                    payload.len()
                ),
                hint: None,
            });
        }
        if self.out.weight() >= SEND_LIMIT {
            return Ok(false);
        }
        let result = self.conn.send_application_data(payload).map(drop);
        self.settle(result)?;
        Ok(true)
    }

    /// Says that we send no more (close_notify). False while the handshake is under way, which it
    /// would break: call again.
    pub fn close(&mut self) -> bool {
        self.stage = match self.stage {
            Stage::Handshaking => return false,
            Stage::Open => Stage::Closed,
            Stage::Answering => Stage::Over,
            Stage::Closed | Stage::Over | Stage::Broken => return true,
        };
        let result = self.conn.close();
        // It can fail only if there is nobody to tell any more.
        let _ = self.settle(result);
        true
    }

    /// What was agreed on; `None` until the handshake is over.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// Takes over what a call into dimpl has led to.
    fn settle(&mut self, result: Result<(), Error>) -> Result<(), Failure> {
        let refusal = match result {
            Ok(()) => match self.collect() {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            },
            Err(error) => Refusal::of(error, self.peer(), self.heard.is_some()),
        };
        Err(self.break_off(refusal))
    }

    fn break_off(&mut self, refusal: Refusal) -> Failure {
        // A peer that has keys would not believe an alert in the clear.
        let tell = self.is_handshaking() && !self.is_13();
        self.out.clear();
        if let (true, Some(alert)) = (tell, refusal.alert) {
            self.out.push(&records::alert(alert));
        }
        self.stage = Stage::Broken;
        self.deadline = None;
        refusal.failure
    }

    /// Takes what dimpl has for us, until it has nothing more.
    fn collect(&mut self) -> Result<(), Refusal> {
        loop {
            match self.conn.poll_output(&mut self.scratch) {
                Output::Packet(datagram) => {
                    if self.stage == Stage::Handshaking && matches!(self.side, Side::Server) {
                        self.overheard.listen(datagram);
                    }
                    self.out.push(datagram);
                }
                Output::ApplicationData(payload) if payload.len() <= LIMIT => {
                    self.inbox.push(payload);
                }
                // Against the rules, and nobody has room for it (RFC 6347 §4.1.2.7).
                Output::ApplicationData(_) => {}
                Output::PeerCert(leaf) => {
                    let Side::Client { config, name } = &self.side else { continue };
                    self.chain = self.overheard.take_chain();
                    // What was overheard is of use only if it goes with what dimpl believes.
                    if self.chain.first().is_none_or(|first| first != leaf) {
                        self.chain = vec![leaf.to_vec()];
                    }
                    config.judge.accept(&self.chain, name).map_err(Refusal::not_trusted)?;
                }
                Output::Connected => {
                    self.stage = Stage::Open;
                    self.agreed = Some(self.agreement());
                    self.scratch.truncate(2 * LIMIT);
                    self.scratch.shrink_to_fit();
                }
                Output::CloseNotify => {
                    let answering = self.is_13() && self.stage == Stage::Open;
                    self.stage = if answering { Stage::Answering } else { Stage::Over };
                }
                Output::BufferTooSmall { needed } => self.scratch.resize(needed, 0),
                Output::Timeout(at) => {
                    let soon = at.saturating_duration_since(self.now) < FOREVER;
                    self.deadline = match self.heard {
                        Some(heard) if self.is_unproven() => Some(heard + UNPROVEN),
                        _ => soon.then_some(at),
                    };
                    return Ok(());
                }
                // Keys for SRTP, which we do not speak.
                _ => {}
            }
        }
    }

    fn agreement(&mut self) -> Agreed {
        let version = if self.is_13() { "DTLS 1.3" } else { "DTLS 1.2" };
        let unknown = || "unknown".to_owned();
        Agreed {
            version,
            suite: self.overheard.suite.map_or_else(unknown, tls::suite_name),
            group: self.overheard.group.map_or_else(unknown, tls::group_name),
            alpn: None,
            chain: std::mem::take(&mut self.chain),
        }
    }

    fn is_13(&self) -> bool {
        self.conn.protocol_version() == Some(ProtocolVersion::DTLS1_3)
    }

    fn peer(&self) -> Peer {
        match self.side {
            Side::Client { .. } => Peer::Server,
            Side::Server => Peer::Caller,
        }
    }
}

#[cfg(test)]
mod tests;
