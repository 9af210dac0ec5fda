//! One caller of a mock server, from the handshake to the farewell.

use super::Mock;
use super::keep::{Around, is_in_use};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::manners::Manners;
use crate::engine::tap::Tap;
use crate::engine::{REMOTE, Trouble};
use crate::error::{Error, words};
use crate::modes::door::{Armour, put_on};
use crate::modes::visit::{Business, Meeting, Turn, Visit};
use crate::net::bind;
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use crate::net::tls::Tls;
use crate::proto::fault::{Act, What};
use crate::proto::proxied;
use crate::proto::serving::{Delivery, Event, Protection, Server};
use crate::proto::store::Refusal;
use crate::term::safe::quote;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often a mailbox is looked at for somebody who waits for news.
const GLANCE: Duration = Duration::from_millis(100);

/// How long another program may have a mailbox locked, and how often we try.
const LOCKED: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How often a message is looked at that is being printed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is dropped in one piece.
const SCRAP: usize = 16 * 1024;

/// How long a PROXY header may take (its specification asks for 3 seconds at least).
const INTRODUCTION: Duration = Duration::from_secs(10);

type Talk = Box<Dialogue<Box<dyn Server>>>;

/// Before the handshake.
enum Prelude {
    /// Nothing has happened yet.
    Arrived,
    /// A fault has it wait until then.
    Delayed(Instant),
    /// A PROXY header has to come by then.
    Introduced(Instant),
    /// Nothing is said any more.
    Hung(Buf),
}

enum Phase {
    Prelude(Prelude),
    Talking(Talk),
    /// It goes on then.
    Held(Talk, Instant),
    /// A message waits for a mailbox that another program has locked: until when, and when it is
    /// tried again.
    Waiting(Talk, Box<Delivery>, Instant, Instant),
    /// Nothing is said any more.
    Hung(Endpoint, Buf),
    Nowhere,
}

/// The conversation.
pub(in crate::modes) struct Caller<'a> {
    mock: &'a Mock<'a>,
    name: String,
    number: u64,
    tap: Option<Tap>,
    phase: Phase,
    /// Who calls, if a proxy in front of us says so.
    client: Option<SocketAddr>,
    /// STARTTLS must be through by then.
    hurry: Option<Instant>,
    /// Bytes heard so far, and when the last came.
    heard: (u64, Instant),
    /// It has been told that it was silent for too long.
    warned: bool,
    /// When to look for news.
    glance: Option<Instant>,
    totals: (u64, u64),
    failed: Option<Error>,
}

impl<'a> Caller<'a> {
    pub(super) fn visit(
        mock: &'a Mock<'a>,
        endpoint: Endpoint,
        caller: &bind::Caller,
        number: u64,
        tap: Tap,
        now: Instant,
    ) -> Visit<Self> {
        let caller = Self {
            mock,
            name: caller.to_string(),
            number,
            tap: Some(tap),
            phase: Phase::Prelude(Prelude::Arrived),
            client: None,
            hurry: None,
            heard: (0, now),
            warned: false,
            glance: None,
            totals: (0, 0),
            failed: None,
        };
        Visit::new(endpoint, mock.handshake, caller)
    }

    fn story(&self, what: &str) {
        self.mock.report.story(format_args!("{}: {what}", self.name));
    }

    /// The caller is here: perhaps the first thing that it meets is a fault.
    fn arrived(&mut self, peer: &mut Endpoint, now: Instant) -> Option<Meeting> {
        let act = match self.mock.config.faults.at_accept(now - self.mock.start) {
            Some(What::Act(act)) => act,
            // Nothing else can happen here: the rules say so when they are read.
            Some(_) | None => return None,
        };
        match act {
            Act::Delay(time) => {
                self.phase = Phase::Prelude(Prelude::Delayed(now + time));
                return Some(Meeting::Wait(Some(now + time)));
            }
            // There is nothing yet that could be slow.
            Act::Slow(_) => return None,
            Act::Hang | Act::Drop | Act::Reset => {}
        }
        self.story("a fault, on demand, as soon as it called");
        Some(match act {
            Act::Hang => {
                self.phase = Phase::Prelude(Prelude::Hung(Buf::new(SCRAP)));
                Meeting::Wait(None)
            }
            Act::Reset => {
                peer.reset_when_closed();
                Meeting::Gone
            }
            Act::Drop | Act::Delay(_) | Act::Slow(_) => Meeting::Part,
        })
    }

    /// A proxy in front of us says who calls, before anything else and before TLS.
    fn introduced(&mut self, peer: &mut Endpoint, until: Instant, now: Instant) -> Meeting {
        if peer.is_plain() {
            match self.introduction(peer) {
                Ok(true) => {}
                Ok(false) if until <= now => {
                    self.story("no PROXY header has come, so nothing is said");
                    return Meeting::Part;
                }
                Ok(false) => return Meeting::Wait(Some(until)),
                Err(why) => {
                    self.story(&format!("no PROXY header, so nothing is said: {why}"));
                    return Meeting::Part;
                }
            }
        }
        let at_once = self.mock.config.protection == Protection::On;
        match put_on(peer, self.mock.armour.as_ref().filter(|_| at_once), now) {
            Ok(()) => Meeting::Welcome,
            Err(error) => {
                self.failed = Some(error);
                Meeting::Part
            }
        }
    }

    /// Takes the header, and nothing behind it: is it there?
    fn introduction(&mut self, peer: &mut Endpoint) -> Result<bool, String> {
        let mut ahead = [0; proxied::LONGEST];
        let seen = match peer.peek(&mut ahead).map_err(|e| words(&e))? {
            Some(0) => return Err("it hung up".to_owned()),
            Some(n) => &ahead[..n],
            None => {
                peer.rx_blocked();
                return Ok(false);
            }
        };
        let (addresses, length) = match proxied::decode(seen) {
            proxied::Decoded::Header { addresses, length } => (addresses, length),
            proxied::Decoded::Incomplete => {
                peer.rx_blocked();
                return Ok(false);
            }
            proxied::Decoded::Bad => {
                return Err(format!("it begins with \"{}\"", quote(seen, 40)));
            }
        };
        let mut header = Buf::new(length);
        while header.bytes().len() < length {
            match peer.read_piece(&mut header, length).map_err(|e| words(&e))? {
                Moved::Bytes(_) => {}
                Moved::Blocked | Moved::Eof => return Err("it hung up".to_owned()),
            }
        }
        if let Some((client, _)) = addresses {
            self.story(&format!("speaks for {client}"));
            self.name = format!("{client} by way of {}", self.name);
            self.client = Some(client);
        }
        Ok(true)
    }

    fn part(&mut self, talk: Talk, how: Result<(), Trouble>) -> Turn {
        self.totals = talk.totals();
        let (endpoint, _, tap) = talk.into_parts();
        self.tap = Some(tap);
        Turn::Part(endpoint, how)
    }

    /// One round of the dialogue; `None` where there is more to do at once.
    fn converse(&mut self, mut talk: Talk, now: Instant) -> Option<Turn> {
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
                return Some(self.part(talk, Err(late)));
            }
        }
        let turn = match talk.next(now) {
            Ok(Outcome::Event(event)) => return self.happen(event, talk, now),
            Ok(Outcome::Runnable) => Some(Turn::Runnable),
            Ok(Outcome::Waiting) => {
                let (_, received) = talk.totals();
                if received != self.heard.0 {
                    self.heard = (received, now);
                } else if !self.warned && self.heard.1 + self.mock.config.idle <= now {
                    self.warned = true;
                    talk.machine_mut().time_out();
                    self.phase = Phase::Talking(talk);
                    return None;
                }
                if talk.machine().waits_for_news() && self.glance.is_none() {
                    self.glance = Some(now + GLANCE);
                }
                Some(Turn::Waiting)
            }
            Ok(Outcome::StartTls) => match self.tls() {
                Ok(tls) => {
                    talk.peer().start_tls(tls);
                    self.hurry = Some(now + self.mock.handshake);
                    None
                }
                Err(error) => {
                    self.failed = Some(error);
                    return Some(self.part(talk, Ok(())));
                }
            },
            Ok(Outcome::Done) => return Some(self.part(talk, Ok(()))),
            Err(trouble) => return Some(self.part(talk, Err(trouble))),
        };
        self.phase = Phase::Talking(talk);
        turn
    }

    fn tls(&self) -> Result<Tls, Error> {
        let none = || Error::machine("cannot start TLS: there is no certificate");
        let Some(Armour::Tls(config)) = &self.mock.armour else { return Err(none()) };
        Tls::server(Arc::clone(config)).map_err(|failure| Error::machine(failure.to_string()))
    }

    /// Keeps a message, or waits for a mailbox that another program has locked, or for whoever reads
    /// what we print.
    fn keep(
        &mut self,
        mut talk: Talk,
        delivery: Box<Delivery>,
        until: Instant,
        now: Instant,
    ) -> Phase {
        let around = Around::of(&self.name, talk.peer());
        let mut keeper = self.mock.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = keeper.keep(&delivery, &around, self.number);
        drop(keeper);
        if is_in_use(&kept) {
            let is_printed = self.mock.config.keep.place.is_none();
            let why = match is_printed {
                true => "whoever reads standard output is behind",
                false => "another program has the mailbox locked",
            };
            // What has begun to be printed is answered when it is out, like any other.
            let begun = kept.iter().any(|one| one.begun);
            if now < until || begun {
                if now + LOCKED == until {
                    self.story(&format!("{why}: its message waits"));
                }
                let next = now + if begun { LOOK_AGAIN } else { TRY_AGAIN };
                return Phase::Waiting(talk, delivery, until, next);
            }
            if is_printed {
                kept.iter_mut().for_each(|one| one.outcome = Err(Refusal::Broken(why.to_owned())));
            }
        }
        for (at, one) in kept.iter().enumerate() {
            match &one.outcome {
                // Who shares a mailbox shares the message.
                Ok(_) if kept[..at].iter().any(|other| other.mailbox == one.mailbox) => {}
                Ok(id) => {
                    let place = one.mailbox.as_ref();
                    let place = place.map_or(String::new(), |name| format!(" in {name}"));
                    let done = if one.is_back { "sent back" } else { "kept" };
                    self.story(&format!(
                        "a message of {} octets is {done} as {id}{place}",
                        delivery.content.len()
                    ));
                }
                Err(refusal) => self.mock.report.warning(format_args!(
                    "a message from {} could not be kept: {refusal}",
                    self.name
                )),
            }
        }
        talk.machine_mut().answer(kept.into_iter().map(|one| one.outcome).collect());
        Phase::Talking(talk)
    }

    fn happen(&mut self, event: Event, mut talk: Talk, now: Instant) -> Option<Turn> {
        match event {
            Event::Story(what) => self.story(&what),
            Event::Lint(what) => {
                if self.mock.config.lint {
                    self.mock.report.answer(format_args!("ncat: {}: lint: {what}", self.name));
                } else {
                    self.story(&format!("lint: {what}"));
                }
            }
            Event::Message(delivery) => {
                self.phase = self.keep(talk, delivery, now + LOCKED, now);
                return None;
            }
            Event::Changed => {}
            Event::Fault(act) => {
                self.story(&format!("a fault, on demand: {act:?}"));
                match act {
                    Act::Delay(time) => {
                        self.phase = Phase::Held(talk, now + time);
                        return None;
                    }
                    Act::Slow(rate) => talk.slow_down(rate, now),
                    // What has been said goes out first: the machine is at its end.
                    Act::Drop => {}
                    Act::Hang | Act::Reset => {
                        self.totals = talk.totals();
                        let (endpoint, _, tap) = talk.into_parts();
                        self.tap = Some(tap);
                        if act == Act::Reset {
                            endpoint.reset_when_closed();
                            return Some(Turn::Gone);
                        }
                        self.phase = Phase::Hung(endpoint, Buf::new(SCRAP));
                        return None;
                    }
                }
            }
        }
        self.phase = Phase::Talking(talk);
        None
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

impl Business for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn meet(&mut self, peer: &mut Endpoint, now: Instant) -> Meeting {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Prelude(Prelude::Arrived) => {
                    if let Some(meeting) = self.arrived(peer, now) {
                        return meeting;
                    }
                    self.phase = Phase::Prelude(Prelude::Delayed(now));
                }
                Phase::Prelude(Prelude::Delayed(until)) if until > now => {
                    self.phase = Phase::Prelude(Prelude::Delayed(until));
                    return Meeting::Wait(Some(until));
                }
                Phase::Prelude(Prelude::Delayed(_)) if self.mock.config.behind_proxy => {
                    self.phase = Phase::Prelude(Prelude::Introduced(now + INTRODUCTION));
                }
                Phase::Prelude(Prelude::Introduced(until)) => {
                    let meeting = self.introduced(peer, until, now);
                    if let Meeting::Wait(_) = meeting {
                        self.phase = Phase::Prelude(Prelude::Introduced(until));
                    }
                    return meeting;
                }
                Phase::Prelude(Prelude::Hung(mut scrap)) => {
                    if is_gone(peer, &mut scrap) {
                        return Meeting::Gone;
                    }
                    self.phase = Phase::Prelude(Prelude::Hung(scrap));
                    return Meeting::Wait(None);
                }
                Phase::Prelude(Prelude::Delayed(_))
                | Phase::Talking(_)
                | Phase::Held(..)
                | Phase::Waiting(..)
                | Phase::Hung(..)
                | Phase::Nowhere => return Meeting::Welcome,
            }
        }
    }

    fn begin(&mut self, peer: Endpoint, now: Instant) -> Turn {
        self.mock.report.story(format_args!("Connection from {}.", self.name));
        self.heard = (0, now);
        let machine = self.mock.machine(&peer, self.client, self.number);
        let tap = self.tap.take().unwrap_or_default();
        let dialogue = Dialogue::unattended(peer, machine, Manners::default(), tap);
        self.phase = Phase::Talking(Box::new(dialogue));
        Turn::Runnable
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Talking(talk) | Phase::Held(talk, _) | Phase::Waiting(talk, ..) => {
                talk.side(side)
            }
            Phase::Hung(endpoint, _) => (side == REMOTE).then_some(endpoint),
            Phase::Prelude(_) | Phase::Nowhere => None,
        }
    }

    fn drive(&mut self, now: Instant) -> Turn {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Talking(talk) => {
                    if let Some(turn) = self.converse(talk, now) {
                        return turn;
                    }
                }
                Phase::Held(talk, until) if until > now => {
                    self.phase = Phase::Held(talk, until);
                    return Turn::Waiting;
                }
                Phase::Held(talk, _) => self.phase = Phase::Talking(talk),
                Phase::Waiting(talk, delivery, until, next) if next > now => {
                    self.phase = Phase::Waiting(talk, delivery, until, next);
                    return Turn::Waiting;
                }
                Phase::Waiting(talk, delivery, until, _) => {
                    self.phase = self.keep(talk, delivery, until, now);
                }
                Phase::Hung(mut endpoint, mut scrap) => {
                    if is_gone(&mut endpoint, &mut scrap) {
                        return Turn::Gone;
                    }
                    self.phase = Phase::Hung(endpoint, scrap);
                    return Turn::Waiting;
                }
                Phase::Prelude(_) | Phase::Nowhere => return Turn::Gone,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Held(_, until) | Phase::Waiting(.., until) => Some(*until),
            Phase::Talking(talk) => {
                let idle = (!self.warned).then(|| self.heard.1 + self.mock.config.idle);
                [talk.deadline(), self.hurry, self.glance, idle].into_iter().flatten().min()
            }
            Phase::Prelude(_) | Phase::Hung(..) | Phase::Nowhere => None,
        }
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }
}
