//! A short dialogue with nobody at this end: a machine speaks with the peer until it has what it
//! wants, in bounded time.

use super::dialogue::{Dialogue, Outcome};
use super::manners::{Manners, Receive};
use super::tap::Tap;
use super::{Conversation, REMOTE, Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Io};
use crate::proto::Machine;
use std::time::{Duration, Instant};

/// The dialogue, its time, and what the machine had to say.
pub struct Errand<M: Machine> {
    dialogue: Dialogue<M>,
    step: &'static str,
    until: Instant,
    patience: Duration,
    event: Option<M::Event>,
}

impl<M: Machine> Errand<M> {
    /// `step` names it in "... is not done after 30 s"; its time ends `until`, and began
    /// `patience` before. `early` is what the peer had sent behind an earlier one.
    pub fn new(
        peer: Endpoint,
        early: Option<Buf>,
        machine: M,
        step: &'static str,
        until: Instant,
        patience: Duration,
    ) -> Self {
        let nobody = Endpoint::new(Io::Pair { rx: None, tx: None });
        let manners = Manners { send: false, receive: Receive::Discard, ..Manners::default() };
        let dialogue = Dialogue::new(nobody, peer, machine, manners, Tap::default());
        let dialogue = match early {
            Some(early) => dialogue.starting_with(early),
            None => dialogue,
        };
        Self { dialogue, step, until, patience, event: None }
    }

    /// What the machine said last, if it ended with something to say.
    pub fn event(&mut self) -> Option<M::Event> {
        self.event.take()
    }

    /// The peer, what it sent behind the machine's last words, and the machine.
    pub fn into_parts(self) -> (Endpoint, Buf, M) {
        self.dialogue.into_machine()
    }
}

impl<M: Machine> Conversation for Errand<M> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        if side == REMOTE { self.dialogue.side(REMOTE) } else { None }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        match self.dialogue.next(now)? {
            Outcome::Event(event) => {
                self.event = Some(event);
                Ok(Status::Finished)
            }
            Outcome::Done | Outcome::StartTls => Ok(Status::Finished),
            Outcome::Runnable => Ok(Status::Runnable),
            Outcome::Waiting if self.until <= now => Err(Trouble::Late(self.step, self.patience)),
            Outcome::Waiting => Ok(Status::Waiting),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.until)
    }
}
