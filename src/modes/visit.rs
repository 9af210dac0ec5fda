//! A caller's visit: the handshake, what it came for, and the farewell.

use crate::engine::farewell::Farewell;
use crate::engine::handshake::Handshake;
use crate::engine::reactor::Address;
use crate::engine::{Conversation, LOCAL, REMOTE, Status, Trouble};
use crate::error::Error;
use crate::net::endpoint::Endpoint;
use mio::Registry;
use mio::event::Event;
use std::io;
use std::time::{Duration, Instant};

/// How a caller is met, before anything is said and before TLS.
pub(super) enum Meeting {
    /// The handshake may begin.
    Welcome,
    /// Not yet: something has to come first, or it is not before then.
    Wait(Option<Instant>),
    /// It is left at once, in a friendly way.
    Part,
    /// It is gone already.
    Gone,
}

/// How far what a caller came for has come.
pub(super) enum Turn {
    /// Nothing can move for now.
    Waiting,
    /// Drive again without waiting.
    Runnable,
    /// What is left is to part, and to tell how it went.
    Part(Endpoint, Result<(), Trouble>),
    /// Nobody is left to part from.
    Gone,
}

impl Turn {
    /// Nothing more for now.
    pub(super) fn rest(status: Status) -> Self {
        match status {
            Status::Runnable => Self::Runnable,
            Status::Waiting | Status::Finished => Self::Waiting,
        }
    }
}

/// What a caller came for: everything between the handshake and the farewell.
pub(super) trait Business {
    /// Where the caller calls from.
    fn name(&self) -> &str;

    /// It is here.
    fn meet(&mut self, _peer: &mut Endpoint, _now: Instant) -> Meeting {
        Meeting::Welcome
    }

    /// The handshake is over.
    fn begin(&mut self, peer: Endpoint, now: Instant) -> Turn;

    /// The endpoint on a side, while it lasts.
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint>;

    /// Registers what has to be, under this key; called after every turn.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        register_both(self, registry, key)
    }

    /// Notes what has happened to a descriptor.
    fn mark(&mut self, side: usize, event: &Event) {
        // A look-up or a call only wakes us; they know for themselves.
        if let Some(endpoint) = self.endpoint(side) {
            endpoint.mark(event);
        }
    }

    /// Moves what can be moved.
    fn drive(&mut self, now: Instant) -> Turn;

    /// When it wants to be driven although nothing has happened.
    fn deadline(&self) -> Option<Instant>;

    /// Bytes sent to the caller and received from it, for the story.
    fn totals(&self) -> (u64, u64);

    /// What was our fault, for everybody to see.
    fn failure(&mut self) -> Option<Error> {
        None
    }

    /// One more datagram that went past its own socket.
    fn push(&mut self, _: Vec<u8>) {}

    /// Asks what runs for it to end; true if there is something.
    fn dismiss(&mut self) -> bool {
        false
    }

    /// Does it still run?
    fn runs(&mut self) -> bool {
        false
    }
}

/// Registers the endpoints on both sides.
///
/// # Errors
/// Those of epoll_ctl(2).
pub(super) fn register_both(
    business: &mut (impl Business + ?Sized),
    registry: &Registry,
    key: usize,
) -> io::Result<()> {
    for side in [LOCAL, REMOTE] {
        if let Some(endpoint) = business.endpoint(side) {
            endpoint.register(registry, Address { key, side }.into())?;
        }
    }
    Ok(())
}

enum Phase {
    Meeting(Endpoint, Option<Instant>),
    Handshake(Handshake),
    Business,
    /// The rest of what was said is on its way.
    Parting(Farewell),
    Over,
}

/// One caller, from its handshake to its farewell.
pub(super) struct Visit<B> {
    phase: Phase,
    /// What a TLS handshake may take.
    patience: Duration,
    business: B,
    /// How it went, while the farewell lasts.
    how: Result<(), Trouble>,
}

impl<B: Business> Visit<B> {
    pub(super) fn new(endpoint: Endpoint, patience: Duration, business: B) -> Self {
        Self { phase: Phase::Meeting(endpoint, None), patience, business, how: Ok(()) }
    }

    pub(super) fn business(&mut self) -> &mut B {
        &mut self.business
    }

    /// After a turn: a status where there is nothing more to do in this one.
    fn go_on(&mut self, turn: Turn, now: Instant) -> Option<Status> {
        let status = match turn {
            Turn::Waiting => Status::Waiting,
            Turn::Runnable => Status::Runnable,
            Turn::Part(peer, how) => {
                self.how = how;
                self.phase = Phase::Parting(Farewell::new(peer, now));
                return None;
            }
            Turn::Gone => Status::Finished,
        };
        self.phase = if status == Status::Finished { Phase::Over } else { Phase::Business };
        Some(status)
    }

    /// One more datagram that went past its own socket.
    pub(super) fn push(&mut self, datagram: Vec<u8>) {
        if !self.endpoint(REMOTE).is_some_and(|endpoint| endpoint.feed(&datagram)) {
            self.business.push(datagram);
        }
    }
}

impl<B: Business> Conversation for Visit<B> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Meeting(endpoint, _) => (side == REMOTE).then_some(endpoint),
            Phase::Handshake(handshake) => handshake.endpoint(side),
            Phase::Business => self.business.endpoint(side),
            Phase::Parting(farewell) => farewell.endpoint(side),
            Phase::Over => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        if let Phase::Meeting(..) | Phase::Handshake(_) | Phase::Parting(_) = self.phase {
            crate::engine::register_sides(self, &[REMOTE], registry, key)?;
        }
        self.business.register(registry, key)
    }

    fn mark(&mut self, side: usize, event: &Event) {
        match &mut self.phase {
            Phase::Meeting(endpoint, _) if side == REMOTE => endpoint.mark(event),
            Phase::Handshake(handshake) => handshake.mark(side, event),
            Phase::Business => self.business.mark(side, event),
            Phase::Parting(farewell) => farewell.mark(side, event),
            Phase::Meeting(..) | Phase::Over => {}
        }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Meeting(mut peer, _) => match self.business.meet(&mut peer, now) {
                    Meeting::Welcome => {
                        let handshake = Handshake::new(peer, now + self.patience, self.patience);
                        self.phase = Phase::Handshake(handshake);
                    }
                    Meeting::Wait(until) => {
                        self.phase = Phase::Meeting(peer, until);
                        return Ok(Status::Waiting);
                    }
                    Meeting::Part => self.phase = Phase::Parting(Farewell::new(peer, now)),
                    Meeting::Gone => return Ok(Status::Finished),
                },
                Phase::Handshake(mut handshake) => {
                    let status = handshake.drive(now)?;
                    if status != Status::Finished {
                        self.phase = Phase::Handshake(handshake);
                        return Ok(status);
                    }
                    let turn = self.business.begin(handshake.into_peer(), now);
                    // Whatever it is, the first turn comes at once.
                    let _ = self.go_on(turn, now);
                }
                Phase::Business => {
                    let turn = self.business.drive(now);
                    if let Some(status) = self.go_on(turn, now) {
                        return Ok(status);
                    }
                }
                Phase::Parting(mut farewell) => {
                    let status = farewell.drive(now)?;
                    self.phase = Phase::Parting(farewell);
                    if status == Status::Finished {
                        std::mem::replace(&mut self.how, Ok(()))?;
                    }
                    return Ok(status);
                }
                Phase::Over => return Ok(Status::Finished),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Meeting(_, until) => *until,
            Phase::Handshake(handshake) => handshake.deadline(),
            Phase::Business => self.business.deadline(),
            Phase::Parting(farewell) => farewell.deadline(),
            Phase::Over => None,
        }
    }
}
