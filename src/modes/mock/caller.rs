//! One caller of a mock server, from the handshake to the farewell.

use super::Mock;
use super::keep::{Around, is_in_use};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::farewell::Farewell;
use crate::engine::handshake::Handshake;
use crate::engine::manners::Manners;
use crate::engine::tap::Tap;
use crate::engine::{Conversation, REMOTE, Status, Trouble, register_sides};
use crate::error::Error;
use crate::modes::serve::Visitor;
use crate::net::bind;
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use crate::net::tls::Tls;
use crate::proto::fault::{Act, What};
use crate::proto::serving::{Delivery, Event, Server};
use mio::Registry;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often a mailbox is looked at for somebody who waits for news.
const GLANCE: Duration = Duration::from_millis(100);

/// How long another program may have a mailbox locked, and how often we try.
const LOCKED: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What is dropped in one piece.
const SCRAP: usize = 16 * 1024;

type Talk = Box<Dialogue<Box<dyn Server>>>;

enum Phase {
    /// Nothing has happened yet; with a time, it waits until then.
    Accepted(Endpoint, Option<Instant>),
    Handshake(Handshake),
    Talking(Talk),
    /// It goes on then.
    Held(Talk, Instant),
    /// A message waits for a mailbox that another program has locked: until when, and when it is
    /// tried again.
    Waiting(Talk, Box<Delivery>, Instant, Instant),
    /// Nothing is said any more.
    Hung(Endpoint, Buf),
    Parting(Farewell),
    Nowhere,
}

/// The conversation.
pub(in crate::modes) struct Caller<'a> {
    mock: &'a Mock<'a>,
    name: String,
    number: u64,
    tap: Option<Tap>,
    phase: Phase,
    /// STARTTLS must be through by then.
    hurry: Option<Instant>,
    /// Bytes heard so far, and when the last came.
    heard: (u64, Instant),
    /// It has been told that it was silent for too long.
    warned: bool,
    /// When to look for news.
    glance: Option<Instant>,
    totals: (u64, u64),
    how: Result<(), Trouble>,
    failed: Option<Error>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        mock: &'a Mock<'a>,
        endpoint: Endpoint,
        caller: &bind::Caller,
        number: u64,
        tap: Tap,
        now: Instant,
    ) -> Self {
        Self {
            mock,
            name: caller.to_string(),
            number,
            tap: Some(tap),
            phase: Phase::Accepted(endpoint, None),
            hurry: None,
            heard: (0, now),
            warned: false,
            glance: None,
            totals: (0, 0),
            how: Ok(()),
            failed: None,
        }
    }

    fn story(&self, what: &str) {
        self.mock.report.story(format_args!("{}: {what}", self.name));
    }

    /// The caller is here: perhaps the first thing that it meets is a fault.
    fn meet(&mut self, endpoint: Endpoint, until: Option<Instant>, now: Instant) -> Phase {
        if until.is_none() {
            match self.mock.config.faults.at_accept(now - self.mock.start) {
                Some(What::Act(Act::Delay(time))) => {
                    return Phase::Accepted(endpoint, Some(now + time));
                }
                Some(What::Act(act @ (Act::Hang | Act::Drop | Act::Reset))) => {
                    self.story("a fault, on demand, as soon as it called");
                    return leave(endpoint, act, now);
                }
                // Nothing else can happen here: the rules say so when they are read.
                Some(_) | None => {}
            }
        }
        let patience = self.mock.handshake;
        Phase::Handshake(Handshake::new(endpoint, now + patience, patience))
    }

    fn talk(&mut self, endpoint: Endpoint, now: Instant) -> Phase {
        self.mock.report.story(format_args!("Connection from {}.", self.name));
        self.heard = (0, now);
        let machine = self.mock.machine(&endpoint, self.number);
        let tap = self.tap.take().unwrap_or_default();
        let dialogue = Dialogue::unattended(endpoint, machine, Manners::default(), tap);
        Phase::Talking(Box::new(dialogue))
    }

    fn part(&mut self, talk: Talk, how: Result<(), Trouble>, now: Instant) -> Phase {
        self.totals = talk.totals();
        self.how = how;
        let (endpoint, _, tap) = talk.into_parts();
        self.tap = Some(tap);
        Phase::Parting(Farewell::new(endpoint, now))
    }

    /// One round of the dialogue; with a status, that is all for now.
    fn converse(&mut self, mut talk: Talk, now: Instant) -> (Phase, Option<Status>) {
        talk.machine_mut().set_now(now - self.mock.start);
        if self.glance.is_some_and(|at| at <= now) {
            self.glance = None;
            talk.machine_mut().nudge();
        }
        if let Some(until) = self.hurry {
            if !talk.peer().is_handshaking() {
                self.hurry = None;
            } else if until <= now {
                let late = Trouble::Late("the TLS handshake", self.mock.handshake);
                return (self.part(talk, Err(late), now), None);
            }
        }
        match talk.next(now) {
            Ok(Outcome::Event(event)) => (self.happen(event, talk, now), None),
            Ok(Outcome::Runnable) => (Phase::Talking(talk), Some(Status::Runnable)),
            Ok(Outcome::Waiting) => {
                let (_, received) = talk.totals();
                if received != self.heard.0 {
                    self.heard = (received, now);
                } else if !self.warned && self.heard.1 + self.mock.config.idle <= now {
                    self.warned = true;
                    talk.machine_mut().time_out();
                    return (Phase::Talking(talk), None);
                }
                if talk.machine().waits_for_news() && self.glance.is_none() {
                    self.glance = Some(now + GLANCE);
                }
                (Phase::Talking(talk), Some(Status::Waiting))
            }
            Ok(Outcome::StartTls) => match self.tls() {
                Ok(tls) => {
                    talk.peer().start_tls(tls);
                    self.hurry = Some(now + self.mock.handshake);
                    (Phase::Talking(talk), None)
                }
                Err(error) => {
                    self.failed = Some(error);
                    (self.part(talk, Ok(()), now), None)
                }
            },
            Ok(Outcome::Done) => (self.part(talk, Ok(()), now), None),
            Err(trouble) => (self.part(talk, Err(trouble), now), None),
        }
    }

    fn tls(&self) -> Result<Tls, Error> {
        let none = || Error::machine("cannot start TLS: there is no certificate");
        let config = self.mock.tls.as_ref().ok_or_else(none)?;
        Tls::server(Arc::clone(config)).map_err(|failure| Error::machine(failure.to_string()))
    }

    /// Keeps a message, or waits for a mailbox that another program has locked.
    fn keep(
        &mut self,
        mut talk: Talk,
        delivery: Box<Delivery>,
        until: Instant,
        now: Instant,
    ) -> Phase {
        let around = Around::of(&self.name, talk.peer());
        let mut keeper = self.mock.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = keeper.keep(&delivery, &around);
        drop(keeper);
        if is_in_use(&outcome) && now < until {
            if now + LOCKED == until {
                self.story("another program has the mailbox locked: its message waits");
            }
            return Phase::Waiting(talk, delivery, until, now + TRY_AGAIN);
        }
        for one in &outcome {
            match one {
                Ok(id) => self.story(&format!(
                    "a message of {} octets is kept as {id}",
                    delivery.content.len()
                )),
                Err(refusal) => self.mock.report.warning(format_args!(
                    "a message from {} could not be kept: {refusal}",
                    self.name
                )),
            }
        }
        talk.machine_mut().answer(outcome);
        Phase::Talking(talk)
    }

    fn happen(&mut self, event: Event, mut talk: Talk, now: Instant) -> Phase {
        match event {
            Event::Story(what) => self.story(&what),
            Event::Lint(what) => {
                if self.mock.config.lint {
                    self.mock.report.answer(format_args!("ncat: {}: lint: {what}", self.name));
                } else {
                    self.story(&format!("lint: {what}"));
                }
            }
            Event::Message(delivery) => return self.keep(talk, delivery, now + LOCKED, now),
            Event::Changed => {}
            Event::Fault(act) => {
                self.story(&format!("a fault, on demand: {act:?}"));
                match act {
                    Act::Delay(time) => return Phase::Held(talk, now + time),
                    Act::Slow(rate) => talk.slow_down(rate, now),
                    // What has been said goes out first: the machine is at its end.
                    Act::Drop => {}
                    Act::Hang | Act::Reset => {
                        self.totals = talk.totals();
                        let (endpoint, _, tap) = talk.into_parts();
                        self.tap = Some(tap);
                        return leave(endpoint, act, now);
                    }
                }
            }
        }
        Phase::Talking(talk)
    }
}

/// Leaves a caller as a fault says.
fn leave(endpoint: Endpoint, act: Act, now: Instant) -> Phase {
    match act {
        Act::Hang => Phase::Hung(endpoint, Buf::new(SCRAP)),
        Act::Reset => {
            endpoint.reset_when_closed();
            Phase::Nowhere
        }
        Act::Drop | Act::Delay(_) | Act::Slow(_) => Phase::Parting(Farewell::new(endpoint, now)),
    }
}

/// Hears out somebody who gets no answer: true when there is nobody any more.
fn is_gone(endpoint: &mut Endpoint, scrap: &mut Buf) -> bool {
    while endpoint.can_read() {
        match endpoint.read(scrap) {
            Ok(Moved::Bytes(n)) => scrap.consume(n),
            Ok(Moved::Blocked) => break,
            Ok(Moved::Eof) | Err(_) => return true,
        }
    }
    false
}

impl Conversation for Caller<'_> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Accepted(endpoint, _) | Phase::Hung(endpoint, _) => {
                (side == REMOTE).then_some(endpoint)
            }
            Phase::Handshake(handshake) => handshake.endpoint(side),
            Phase::Talking(talk) | Phase::Held(talk, _) | Phase::Waiting(talk, ..) => {
                talk.side(side)
            }
            Phase::Parting(farewell) => farewell.endpoint(side),
            Phase::Nowhere => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        register_sides(self, &[REMOTE], registry, key)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Accepted(endpoint, Some(until)) if until > now => {
                    self.phase = Phase::Accepted(endpoint, Some(until));
                    return Ok(Status::Waiting);
                }
                Phase::Accepted(endpoint, until) => {
                    self.phase = self.meet(endpoint, until, now);
                }
                Phase::Handshake(mut handshake) => {
                    let status = handshake.drive(now)?;
                    if status != Status::Finished {
                        self.phase = Phase::Handshake(handshake);
                        return Ok(status);
                    }
                    self.phase = self.talk(handshake.into_peer(), now);
                }
                Phase::Talking(talk) => {
                    let (phase, status) = self.converse(talk, now);
                    self.phase = phase;
                    if let Some(status) = status {
                        return Ok(status);
                    }
                }
                Phase::Held(talk, until) if until > now => {
                    self.phase = Phase::Held(talk, until);
                    return Ok(Status::Waiting);
                }
                Phase::Held(talk, _) => self.phase = Phase::Talking(talk),
                Phase::Waiting(talk, delivery, until, next) if next > now => {
                    self.phase = Phase::Waiting(talk, delivery, until, next);
                    return Ok(Status::Waiting);
                }
                Phase::Waiting(talk, delivery, until, _) => {
                    self.phase = self.keep(talk, delivery, until, now);
                }
                Phase::Hung(mut endpoint, mut scrap) => {
                    if !is_gone(&mut endpoint, &mut scrap) {
                        self.phase = Phase::Hung(endpoint, scrap);
                        return Ok(Status::Waiting);
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
                Phase::Nowhere => return Ok(Status::Finished),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Accepted(_, until) => *until,
            Phase::Handshake(handshake) => handshake.deadline(),
            Phase::Held(_, until) | Phase::Waiting(.., until) => Some(*until),
            Phase::Talking(talk) => {
                let idle = (!self.warned).then(|| self.heard.1 + self.mock.config.idle);
                [talk.deadline(), self.hurry, self.glance, idle].into_iter().flatten().min()
            }
            Phase::Parting(farewell) => farewell.deadline(),
            Phase::Hung(..) | Phase::Nowhere => None,
        }
    }
}

impl Visitor for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn sent_and_received(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }
}
