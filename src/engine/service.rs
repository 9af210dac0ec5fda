//! A peer and a command that serves it: a relay, with an eye on the process.

use super::dialogue::Dialogue;
use super::manners::{Manners, PeerEnd};
use super::relay::Relay;
use super::tap::Tap;
use super::{Conversation, LOCAL, REMOTE, Status, Trouble};
use crate::net::child::Child;
use crate::net::endpoint::Endpoint;
use crate::proto::Machine;
use crate::proto::telnet::Telnet;
use crate::proto::text::Text;
use mio::Registry;
use mio::event::Event;
use std::convert::Infallible;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The side on which a child's end is told.
const CHILD: usize = 2;

/// What a command gets to take what a lost peer has said, and between being asked to end and
/// being made to.
const GRACE: Duration = Duration::from_secs(2);

/// What carries the bytes between a child and its peer.
trait Carrier: Conversation {
    /// Had the child nothing to say, and nothing of it waited, at the last drive?
    fn is_up_silent(&self) -> bool;

    /// Has the peer's connection failed, though what it said may still wait for the child?
    fn has_lost_peer(&self) -> bool;

    /// Bytes of the peer's that did not come through its endpoint.
    fn hear(&mut self, bytes: &[u8]);

    /// Bytes sent to the peer and received from it.
    fn totals(&self) -> (u64, u64);

    /// The peer to part from, and the log.
    fn into_parts(self: Box<Self>) -> (Endpoint, Tap);
}

impl Carrier for Relay {
    fn is_up_silent(&self) -> bool {
        Relay::is_up_silent(self)
    }

    fn has_lost_peer(&self) -> bool {
        Relay::has_lost_peer(self)
    }

    fn hear(&mut self, bytes: &[u8]) {
        Relay::hear(self, bytes);
    }

    fn totals(&self) -> (u64, u64) {
        Relay::totals(self)
    }

    fn into_parts(self: Box<Self>) -> (Endpoint, Tap) {
        Relay::into_parts(*self)
    }
}

impl<M: Machine<Event = Infallible>> Carrier for Dialogue<M> {
    fn is_up_silent(&self) -> bool {
        Dialogue::is_up_silent(self)
    }

    fn has_lost_peer(&self) -> bool {
        Dialogue::has_lost_peer(self)
    }

    fn hear(&mut self, bytes: &[u8]) {
        Dialogue::hear(self, bytes);
    }

    fn totals(&self) -> (u64, u64) {
        Dialogue::totals(self)
    }

    fn into_parts(self: Box<Self>) -> (Endpoint, Tap) {
        let (endpoint, _, tap) = Dialogue::into_parts(*self);
        (endpoint, tap)
    }
}

/// How the child's words are changed on their way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Translation {
    /// LF becomes CR LF (`-C`).
    pub crlf: bool,
    /// Telnet options are refused (`-t`).
    pub telnet: bool,
}

/// Relays between a child and a peer until everything is said.
pub struct Service {
    relay: Box<dyn Carrier>,
    /// The relay wants another turn at once.
    busy: bool,
    child: Child,
    /// When it was last driven.
    last_drive: Option<Instant>,
    /// An event has told that the peer's connection has failed.
    alarmed: bool,
    /// So long a child may take what a peer said that is gone.
    delivered_by: Option<Instant>,
    /// The conversation is over, and how; a child that is not wanted any more has time until then.
    leaving: Option<(Result<(), Trouble>, Option<Instant>)>,
}

impl Service {
    /// `pipes` are the child's standard input and output.
    pub fn new(
        child: Child,
        pipes: Endpoint,
        peer: Endpoint,
        translation: Translation,
        manners: Manners,
        tap: Tap,
    ) -> Self {
        // The child may answer long after the peer has ended its own stream.
        let manners = Manners { peer_end: PeerEnd::KeepSending, ..manners };
        let relay: Box<dyn Carrier> = match translation {
            Translation { telnet: true, crlf } => {
                let machine = Telnet::new(crlf);
                Box::new(Dialogue::new(pipes, peer, machine, manners, tap).forgiving())
            }
            Translation { crlf: true, .. } => {
                Box::new(Dialogue::new(pipes, peer, Text::new(true), manners, tap).forgiving())
            }
            Translation { .. } => Box::new(Relay::new(pipes, peer, manners, tap).forgiving()),
        };
        Self {
            relay,
            busy: false,
            child,
            last_drive: None,
            alarmed: false,
            delivered_by: None,
            leaving: None,
        }
    }

    /// Bytes sent to the peer and received from it.
    pub fn totals(&self) -> (u64, u64) {
        self.relay.totals()
    }

    /// The child hears this first: a datagram that came before there was a relay.
    pub fn hear(&mut self, datagram: &[u8]) {
        self.relay.hear(datagram);
    }

    /// Asks the child to end.
    pub fn dismiss(&mut self) {
        self.child.end(false);
    }

    /// Has the child ended, and with it all that was asked to?
    pub fn has_gone(&mut self) -> bool {
        self.child.has_gone()
    }

    /// How the child ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// What is left: the peer to part from, and the log.
    pub fn into_parts(self) -> (Endpoint, Tap) {
        self.relay.into_parts()
    }

    fn relayed(&mut self, now: Instant) -> Option<Result<(), Trouble>> {
        // Asked before the pipe is emptied: what it wrote before its end is then in the pipe.
        let dead = self.child.status().is_some();
        if dead && let Some(pipes) = self.relay.endpoint(LOCAL) {
            // Its last words may be there although no event has told of them yet.
            pipes.assume_ready();
        }
        let driven = self.relay.drive(now);
        self.busy = matches!(driven, Ok(Status::Runnable));
        match driven {
            // A background process may hold the pipe open for ever; the command itself is done.
            Ok(Status::Waiting) if dead && self.relay.is_up_silent() => Some(Ok(())),
            Ok(Status::Waiting | Status::Runnable) => None,
            Ok(Status::Finished) => Some(Ok(())),
            Err(trouble) => Some(Err(trouble)),
        }
    }

    /// A child that does not read would keep the last words of a lost peer waiting, and itself
    /// alive, for ever.
    fn given_up(&mut self, now: Instant) -> Option<Result<(), Trouble>> {
        if !self.alarmed && !self.relay.has_lost_peer() {
            return None;
        }
        let until = *self.delivered_by.get_or_insert(now + GRACE);
        (until <= now).then(|| Err(Trouble::Peer(io::ErrorKind::ConnectionReset.into())))
    }
}

impl Conversation for Service {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        self.relay.endpoint(side)
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        super::register_sides(self, &[LOCAL, REMOTE], registry, key)?;
        self.child.register(registry, super::reactor::Address { key, side: CHILD }.into())
    }

    fn mark(&mut self, side: usize, event: &Event) {
        // Nobody else would look: while nothing can move, the peer is not read from.
        self.alarmed |= side == REMOTE && event.is_error();
        // The child's bell only wakes us: its status is asked for anyway.
        if let Some(endpoint) = self.endpoint(side) {
            endpoint.mark(event);
        }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        self.last_drive = Some(now);
        if self.leaving.is_none() {
            let Some(how) = self.relayed(now).or_else(|| self.given_up(now)) else {
                return Ok(if self.busy { Status::Runnable } else { Status::Waiting });
            };
            // When all is said a command may still have work to do; when its peer is gone it is
            // not wanted any more.
            let until = how.is_err().then(|| now + GRACE);
            if how.is_err() {
                self.child.end(false);
            }
            self.leaving = Some((how, until));
        }
        let ended = self.child.has_gone();
        match self.leaving.take() {
            Some((how, _)) if ended => how.map(|()| Status::Finished),
            Some((how, Some(until))) if until <= now => {
                self.child.end(true);
                how.map(|()| Status::Finished)
            }
            leaving => {
                self.leaving = leaving;
                Ok(Status::Waiting)
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().and_then(|(_, until)| *until);
        let glance = self.child.glance().and_then(|glance| Some(self.last_drive? + glance));
        let given_up = self.delivered_by.filter(|_| self.leaving.is_none());
        self.relay.deadline().into_iter().chain(leaving).chain(glance).chain(given_up).min()
    }
}
