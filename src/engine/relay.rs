//! Two pipes, back to back.

use super::manners::{Facts, Manners, Patience, PeerEnd, Receive};
use super::pipe::{Broken, CARRY, Flow, Pipe, Sink, Turn};
use super::tap::{Tap, Way};
use super::{Conversation, LOCAL, REMOTE, Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::Endpoint;
use std::io;
use std::time::Instant;

/// What one direction may move before the other gets its turn.
const BUDGET: usize = 1024 * 1024;

/// A conversation in which nobody needs to look at the bytes.
pub struct Relay {
    local: Endpoint,
    remote: Endpoint,
    up: Pipe,
    down: Pipe,
    tap: Tap,
    patience: Patience,
    /// What went wrong with the peer; told once what it had sent is delivered.
    trouble: Option<Trouble>,
    seen: u64,
    /// The local end may stop reading without ending the conversation: a command does.
    forgiving: bool,
    /// The peer takes no more; that is not an end of standard input.
    up_lost: bool,
    up_silent: bool,
    busy: bool,
}

impl Relay {
    /// Between this machine and a peer.
    pub fn new(local: Endpoint, remote: Endpoint, manners: Manners, tap: Tap) -> Self {
        Self::resume(local, remote, Buf::new(CARRY), manners, tap)
    }

    /// Carries on after a dialogue: `early` is what the peer sent behind it.
    pub fn resume(
        local: Endpoint,
        remote: Endpoint,
        early: Buf,
        manners: Manners,
        tap: Tap,
    ) -> Self {
        let blind = !tap.is_on();
        let up = match manners.send {
            true if manners.half_close => Pipe::new(Buf::new(CARRY), Sink::Told, blind),
            true => Pipe::new(Buf::new(CARRY), Sink::LeftOpen, blind),
            false => Pipe::closed(),
        };
        let sink = match manners.receive {
            Receive::Deliver => Sink::Told,
            Receive::Discard => Sink::Nothing,
        };
        let (up, down) =
            (up.delayed(manners.delay), Pipe::new(early, sink, blind).delayed(manners.delay));
        let down = down.limited(manners.packets);
        let patience = Patience::new(manners);
        Self {
            local,
            remote,
            up,
            down,
            tap,
            patience,
            trouble: None,
            seen: 0,
            forgiving: false,
            up_lost: false,
            up_silent: false,
            busy: false,
        }
    }

    /// Something of the peer's that did not come through its endpoint goes first. What does not
    /// fit is lost, as datagrams are.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.down.push(bytes);
    }

    /// Goes on when the local end stops reading: a command is free not to.
    #[must_use]
    pub fn forgiving(mut self) -> Self {
        self.forgiving = true;
        self
    }

    /// Bytes sent to the peer and received from it.
    pub fn totals(&self) -> (u64, u64) {
        (self.up.given(), self.down.taken())
    }

    /// The first bytes that the peer said, at most five.
    pub fn first_words(&self) -> &[u8] {
        self.down.first()
    }

    /// Had the local end nothing to say, and nothing of it waited, when it was last driven?
    pub fn is_up_silent(&self) -> bool {
        self.up_silent
    }

    /// Has the peer's connection failed, though what it said is not delivered yet?
    pub fn has_lost_peer(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Peer(_)))
    }

    /// Did the last drive end because the budget ran out?
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Is each direction (up, down) spliced?
    pub fn is_spliced(&self) -> (bool, bool) {
        (self.up.is_spliced(), self.down.is_spliced())
    }

    /// What is left when it is over: the peer, to part from, and the log.
    pub fn into_parts(self) -> (Endpoint, Tap) {
        (self.remote, self.tap)
    }

    fn pump_up(&mut self, now: Instant) -> Result<Turn, Trouble> {
        match self.up.pump(
            &mut self.local,
            &mut self.remote,
            (&mut self.tap, Way::Sent),
            BUDGET,
            now,
        ) {
            Ok(turn) => Ok(turn),
            Err(Broken::Source(e)) => Err(Trouble::Input(e)),
            // Nothing more goes there, but what came from there is still to be delivered.
            Err(Broken::Sink(e)) => {
                self.up.abandon();
                self.up_lost = true;
                // A peer of datagrams has no end to wait for.
                if self.remote.datagrams().is_some() {
                    self.trouble.get_or_insert(peer_trouble(e));
                    self.down.end_source();
                    return Ok(Turn::More);
                }
                // A peer that has ended its stream may have gone altogether: no trouble, unless
                // we were to go on sending.
                let goes_on = self.patience.manners().peer_end == PeerEnd::KeepSending;
                if self.down.flow() == Flow::Open || goes_on && !self.forgiving {
                    self.trouble.get_or_insert(peer_trouble(e));
                }
                Ok(Turn::More)
            }
        }
    }

    fn pump_down(&mut self, now: Instant) -> Result<Turn, Trouble> {
        match self.down.pump(
            &mut self.remote,
            &mut self.local,
            (&mut self.tap, Way::Heard),
            BUDGET,
            now,
        ) {
            Ok(turn) => Ok(turn),
            Err(Broken::Source(e)) => {
                self.down.end_source();
                self.trouble.get_or_insert(peer_trouble(e));
                Ok(Turn::More)
            }
            Err(Broken::Sink(e)) if e.kind() == io::ErrorKind::BrokenPipe && self.forgiving => {
                self.down.abandon();
                Ok(Turn::More)
            }
            Err(Broken::Sink(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
                Err(Trouble::OutputGone)
            }
            Err(Broken::Sink(e)) => Err(Trouble::Output(e)),
        }
    }
}

/// What an error of the peer's endpoint means.
pub(super) fn peer_trouble(error: io::Error) -> Trouble {
    let by_tls = error.get_ref().is_some_and(|inner| inner.is::<crate::net::tls::Failure>());
    if error.kind() == io::ErrorKind::UnexpectedEof && !by_tls {
        Trouble::Cut
    } else {
        Trouble::Peer(error)
    }
}

impl Conversation for Relay {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match side {
            LOCAL => Some(&mut self.local),
            REMOTE => Some(&mut self.remote),
            _ => None,
        }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        self.remote.tick(now);
        let up = self.pump_up(now)?;
        let down = self.pump_down(now)?;
        let seen = self.up.taken() + self.up.given() + self.down.taken();
        let facts = Facts {
            moved: seen != self.seen,
            user_ended: self.patience.manners().send
                && self.up.flow() != Flow::Open
                && !self.up_lost,
            up_done: self.up.flow() == Flow::Done,
            up_silent: up == Turn::Idle && self.up.is_silent(&self.local),
            down_done: self.down.flow() == Flow::Done,
        };
        self.seen = seen;
        self.up_silent = facts.up_silent;
        self.busy = up == Turn::More || down == Turn::More;
        // A stream that was cut is no reason not to send the rest of ours, if that was wanted.
        let goes_on = self.patience.manners().peer_end == PeerEnd::KeepSending;
        let waits = goes_on && !facts.up_done && matches!(self.trouble, Some(Trouble::Cut));
        if facts.down_done
            && !waits
            && let Some(trouble) = self.trouble.take()
        {
            return Err(trouble);
        }
        match self.patience.judge(now, facts)? {
            Status::Waiting if self.busy => Ok(Status::Runnable),
            status @ (Status::Waiting | Status::Runnable | Status::Finished) => Ok(status),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let held = [self.up.deadline(), self.down.deadline(), self.patience.deadline()];
        held.into_iter().chain([self.remote.deadline()]).flatten().min()
    }
}
