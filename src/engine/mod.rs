//! Conversations: who may move bytes when, and how it ends.
//!
//! There are two kinds, and no third: a [`relay::Relay`] when nobody needs to look at the bytes,
//! a [`dialogue::Dialogue`] when a machine of `proto` must. A [`room::Room`] is where many callers
//! share one standard input and output.
//!
//! The invariant of this layer: *a conversation may report [`Status::Waiting`] only if each of
//! its endpoints was last refused by the kernel (`WouldBlock`) or is held back by the other
//! direction.* Everything that looks like a hang in a relay is a breach of this sentence.

pub mod dialogue;
pub mod errand;
pub mod farewell;
pub mod handshake;
pub mod manners;
pub mod pipe;
pub mod pool;
pub mod reactor;
pub mod relay;
pub mod room;
pub mod service;
pub mod tap;

use crate::net::endpoint::Endpoint;
use crate::proto::ProtocolError;
use crate::sys::signal::Signals;
use mio::Registry;
use mio::event::Event;
use reactor::{Address, Reactor};
use std::io;
use std::time::{Duration, Instant};

/// The side of a conversation that is this machine: standard input and output.
pub const LOCAL: usize = 0;
/// The side of a conversation that is the peer.
pub const REMOTE: usize = 1;
/// Signals and listeners have this key; conversations have the others.
pub const HOUSE: usize = 0;
/// The key of a conversation that has the loop for itself.
pub const SOLO: usize = 1;

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing can move until the kernel says so, or until the deadline.
    Waiting,
    /// The budget ran out first: drive again without waiting.
    Runnable,
    /// Over, and well.
    Finished,
}

/// Why a conversation could not go on.
#[derive(Debug)]
pub enum Trouble {
    /// The network: reading from the peer, or writing to it.
    Peer(io::Error),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
    /// Nobody reads standard output any more.
    OutputGone,
    /// The connection on to the target, of a proxy of ours.
    Beyond(io::Error),
    /// The peer's TLS stream ended without close_notify.
    Cut,
    /// Nothing moved for so long (`-i`).
    Idle(Duration),
    /// So long after the end of standard input (`-q`).
    Quit(Duration),
    /// A step that has to come first took too long: which, and how long it was given.
    Late(&'static str, Duration),
    /// The peer broke its protocol, refused, or hung up in the middle.
    Protocol(ProtocolError),
    /// Bytes came before a TLS handshake that they should have come after.
    Smuggled,
    /// A fatal signal arrived.
    Signal(i32),
}

/// A conversation owns its endpoints and moves its own bytes.
pub trait Conversation {
    /// The endpoint on a side ([`LOCAL`], [`REMOTE`]), if it has one.
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint>;

    /// Registers the descriptors that are not registered yet; called after every drive, since a
    /// conversation may get new ones on its way.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()>
    where
        Self: Sized,
    {
        register_sides(self, &[LOCAL, REMOTE], registry, key)
    }

    /// Notes what has happened to a descriptor.
    fn mark(&mut self, side: usize, event: &Event) {
        if let Some(endpoint) = self.endpoint(side) {
            endpoint.mark(event);
        }
    }

    /// Moves what can be moved.
    ///
    /// # Errors
    /// Why it cannot go on; what had been received has been delivered by then.
    fn drive(&mut self, now: Instant) -> Result<Status, Trouble>;

    /// When it wants to be driven although nothing has happened.
    fn deadline(&self) -> Option<Instant>;
}

/// Registers the endpoints on these sides.
///
/// # Errors
/// Those of epoll_ctl(2).
pub fn register_sides(
    talk: &mut impl Conversation,
    sides: &[usize],
    registry: &Registry,
    key: usize,
) -> io::Result<()> {
    for &side in sides {
        if let Some(endpoint) = talk.endpoint(side) {
            endpoint.register(registry, Address { key, side }.into())?;
        }
    }
    Ok(())
}

/// Runs one conversation to its end, alone on the loop.
///
/// # Errors
/// The conversation's, a signal if `signals` are given, or [`Trouble::Peer`] if the loop itself
/// fails.
pub fn run(
    reactor: &mut Reactor,
    talk: &mut impl Conversation,
    mut signals: Option<&mut Signals>,
) -> Result<(), Trouble> {
    loop {
        let status = talk.drive(reactor.now())?;
        talk.register(reactor.registry(), SOLO).map_err(Trouble::Peer)?;
        if status == Status::Finished {
            return Ok(());
        }
        let (busy, until) = (status == Status::Runnable, talk.deadline());
        reactor
            .wait(busy, until, |at, event| {
                if at.key == SOLO {
                    talk.mark(at.side, event);
                }
            })
            .map_err(Trouble::Peer)?;
        if let Some(signal) = signals.as_mut().and_then(|signals| signals.arrived()) {
            return Err(Trouble::Signal(signal));
        }
    }
}
