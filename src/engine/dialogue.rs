//! A conversation with a protocol machine in the middle.

use super::manners::{Facts, Manners, Patience, PeerEnd, Receive};
use super::pipe::{Broken, FIRST};
use super::relay::peer_trouble;
use super::tap::{Tap, Way};
use super::{Conversation, LOCAL, REMOTE, Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Io, Moved};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use crate::term::safe::Safe;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

/// Bytes that wait for the machine at most, from each side.
const INBOX: usize = 64 * 1024;

/// While this much waits to be sent to a side, the machine is told that there is no room.
const HIGH_WATER: usize = 64 * 1024;

/// A slow peer is served this often, not for each byte.
const TICK: Duration = Duration::from_millis(20);

/// Datagrams that are kept for a conversation that has not begun.
const MOST_EARLY: usize = 64;

/// Rounds before others get their turn.
const ROUNDS: usize = 64;

/// One end: what came in and was not eaten, what was said and is not sent.
struct Side {
    endpoint: Endpoint,
    inbox: Buf,
    /// Nothing more will come from it.
    source_ended: bool,
    outbox: Vec<u8>,
    sent: usize,
    /// The machine has said that nothing more will go to it.
    ending: bool,
    /// It has been told.
    told: bool,
    /// Writing to it has failed: what is said to it is dropped.
    gone: bool,
    /// It is not read for now: what comes next is TLS.
    deaf: bool,
    received_total: u64,
    reads: u64,
    sent_total: u64,
    /// The first bytes that came, to recognise a protocol by.
    first: Vec<u8>,
    /// What goes to it goes slowly.
    pace: Option<Pace>,
}

/// So many bytes a second go out, and no more.
struct Pace {
    /// Bytes a second; not 0.
    rate: u64,
    /// What may go out now.
    allowance: u64,
    /// From here on more may.
    since: Instant,
}

impl Pace {
    fn refill(&mut self, now: Instant) {
        let earned = (now - self.since).as_micros() * u128::from(self.rate) / 1_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        if earned > 0 {
            // What was not used is not saved up beyond a second's worth.
            self.allowance = self.allowance.saturating_add(earned).min(self.rate.max(1));
            self.since = now;
        }
    }

    /// When the next byte may go.
    fn next(&self) -> Instant {
        let wait = Duration::from_micros(1_000_000_u64.div_ceil(self.rate)).max(TICK);
        self.since + wait
    }
}

/// What the machine said last, while its last words are on their way out.
enum Parting {
    Tls,
    Done,
    Failed(Trouble),
}

/// What [`Dialogue::next`] came to.
#[derive(Debug)]
pub enum Outcome<E> {
    /// Nothing can move until the kernel says so, or until the deadline.
    Waiting,
    /// Call again without waiting.
    Runnable,
    /// The machine has something to say.
    Event(E),
    /// Everything plain is sent: start TLS on [`Dialogue::peer`], then go on.
    StartTls,
    /// Over, and well.
    Done,
}

/// A peer, a person or program at this end, and a machine between them.
pub struct Dialogue<M> {
    peer: Side,
    user: Side,
    machine: M,
    parting: Option<Parting>,
    /// Makes what the peer says harmless, where a person looks at it.
    veil: Option<Safe>,
    tap: Tap,
    patience: Patience,
    /// This end may stop reading without ending the conversation: a command does.
    forgiving: bool,
    up_silent: bool,
    /// What has come is held back until then (`-d`).
    held_until: Option<Instant>,
    /// What went wrong with the peer; told once what it had sent is dealt with.
    trouble: Option<Trouble>,
    /// Datagrams that came before the peer had a socket of its own.
    early: VecDeque<Vec<u8>>,
}

impl<M: Machine> Dialogue<M> {
    /// Between `user` and `peer`.
    pub fn new(user: Endpoint, peer: Endpoint, machine: M, manners: Manners, tap: Tap) -> Self {
        let mut user = Side::new(user);
        user.source_ended = !manners.send;
        Self {
            peer: Side::new(peer),
            user,
            machine,
            parting: None,
            veil: None,
            tap,
            patience: Patience::new(manners),
            forgiving: false,
            up_silent: false,
            held_until: None,
            trouble: None,
            early: VecDeque::new(),
        }
    }

    /// Goes on when this end stops reading: a command is free not to.
    #[must_use]
    pub fn forgiving(mut self) -> Self {
        self.forgiving = true;
        self
    }

    /// Had this end nothing to say, and nothing of it waited, when it was last driven?
    pub fn is_up_silent(&self) -> bool {
        self.up_silent
    }

    /// Has the peer's connection failed, though what it said is not delivered yet?
    pub fn has_lost_peer(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Peer(_)))
    }

    /// Something of the peer's that did not come through its endpoint goes first. What does not
    /// fit is lost, as datagrams are.
    pub fn hear(&mut self, bytes: &[u8]) {
        if self.peer.endpoint.datagrams().is_none() {
            self.peer.received_total += self.peer.inbox.append(bytes) as u64;
        } else if self.early.len() < MOST_EARLY {
            self.early.push_back(bytes.to_vec());
        }
    }

    /// Shows what the peer says only in a form that a terminal survives.
    #[must_use]
    pub fn veiled(mut self, veil: Option<Safe>) -> Self {
        self.veil = veil;
        self
    }

    /// The machine, for what it knows.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to be told something.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// With nobody at this end, until somebody is [attached](Dialogue::attach).
    pub fn unattended(peer: Endpoint, machine: M, manners: Manners, tap: Tap) -> Self {
        let nobody = Endpoint::new(Io::Pair { rx: None, tx: None });
        let mut dialogue = Self::new(nobody, peer, machine, manners, tap);
        dialogue.user.source_ended = true;
        dialogue.user.gone = true;
        dialogue
    }

    /// From here on `user` is this end.
    pub fn attach(&mut self, user: Endpoint) {
        self.user = Side::new(user);
    }

    /// From here on what is said to the peer goes out at `rate` bytes a second, which is not 0.
    pub fn slow_down(&mut self, rate: u64, now: Instant) {
        self.peer.pace = Some(Pace { rate, allowance: 0, since: now });
    }

    /// The peer's endpoint.
    pub fn peer(&mut self) -> &mut Endpoint {
        &mut self.peer.endpoint
    }

    /// Bytes sent to the peer and received from it.
    pub fn totals(&self) -> (u64, u64) {
        (self.peer.sent_total, self.peer.received_total)
    }

    /// The first bytes that the peer said, at most five.
    pub fn first_words(&self) -> &[u8] {
        &self.peer.first
    }

    /// Carries on after another dialogue: `early` is what the peer sent behind it.
    #[must_use]
    pub fn starting_with(mut self, early: Buf) -> Self {
        self.peer.received_total = early.bytes().len() as u64;
        self.peer.inbox = early;
        self
    }

    /// What is left when it is over: the peer, to part from or to talk on with, what it sent that
    /// the machine did not eat, and the log.
    pub fn into_parts(self) -> (Endpoint, Buf, Tap) {
        (self.peer.endpoint, self.peer.inbox, self.tap)
    }

    /// What is left, with the machine instead of the log.
    pub fn into_machine(self) -> (Endpoint, Buf, M) {
        (self.peer.endpoint, self.peer.inbox, self.machine)
    }

    /// Goes on until something has to be waited for or told.
    ///
    /// # Errors
    /// Why it cannot go on; what had been received has been shown by then.
    pub fn next(&mut self, now: Instant) -> Result<Outcome<M::Event>, Trouble> {
        self.peer.endpoint.tick(now);
        if let Some(pace) = &mut self.peer.pace {
            pace.refill(now);
        }
        let before = self.peer.received_total + self.peer.sent_total;
        for _ in 0..ROUNDS {
            let handshaking = self.peer.endpoint.is_handshaking();
            let moved = self.exchange()?;
            if handshaking && !self.peer.endpoint.is_handshaking() {
                // Whoever drives us may have something to tell the machine of it.
                return self.wait(now, before, Outcome::Runnable);
            }
            if let Some(parting) = self.parting.take() {
                let held_up = match &parting {
                    Parting::Tls => self.peer.has_words(),
                    Parting::Done => self.peer.has_words() || self.user.has_words(),
                    // A refusal is written before the machine fails: the peer is to have it.
                    Parting::Failed(_) => self.user.has_words() || self.peer.has_words(),
                };
                if held_up {
                    self.parting = Some(parting);
                    return self.wait(now, before, Outcome::Waiting);
                }
                self.peer.deaf = false;
                return match parting {
                    Parting::Failed(trouble) => Err(trouble),
                    Parting::Done => self.trouble.take().map_or(Ok(Outcome::Done), Err),
                    // Bytes that came before the handshake were not protected by it. Believing
                    // them is CVE-2011-0411 (servers) and CVE-2021-22947 (clients).
                    Parting::Tls if !self.peer.inbox.is_empty() => Err(Trouble::Smuggled),
                    Parting::Tls => Ok(Outcome::StartTls),
                };
            }
            if self.is_held(now) {
                return self.wait(now, before, Outcome::Waiting);
            }
            match self.step() {
                Ok((Step::Event(event), _)) => {
                    // The person sees what it is about before what we say about it.
                    self.exchange()?;
                    return Ok(Outcome::Event(event));
                }
                // A caller answers the go-ahead with its handshake: that belongs to TLS.
                Ok((Step::StartTls, _)) => {
                    self.parting = Some(Parting::Tls);
                    self.peer.deaf = true;
                }
                Ok((Step::Done, _)) => self.part(Parting::Done),
                Err(error) => {
                    // A broken connection explains more than what the machine makes of its end.
                    let trouble = self.trouble.take().unwrap_or(Trouble::Protocol(error));
                    self.part(Parting::Failed(trouble));
                }
                Ok((Step::Wait, eaten)) => {
                    let moved = moved | self.exchange()?;
                    if !moved && !eaten {
                        return self.wait(now, before, Outcome::Waiting);
                    }
                }
            }
        }
        self.wait(now, before, Outcome::Runnable)
    }

    fn step(&mut self) -> Result<(Step<M::Event>, bool), ProtocolError> {
        // During a handshake nothing is eaten and nothing said.
        if self.peer.endpoint.is_handshaking() {
            return Ok((Step::Wait, false));
        }
        let shown = self.user.outbox.len();
        let (to_peer, to_user) = (self.peer.room(), self.user.room());
        let mut ports = Ports {
            peer: Input::new(self.peer.inbox.bytes(), self.peer.source_ended),
            to_peer: Output::new(&mut self.peer.outbox, to_peer, &mut self.peer.ending),
            user: Input::new(self.user.inbox.bytes(), self.user.source_ended),
            to_user: Output::new(&mut self.user.outbox, to_user, &mut self.user.ending),
        };
        let step = self.machine.step(&mut ports);
        let (from_peer, from_user) = (ports.peer.eaten(), ports.user.eaten());
        self.peer.inbox.consume(from_peer);
        self.user.inbox.consume(from_user);
        self.show(shown);
        step.map(|step| (step, from_peer + from_user > 0))
    }

    /// Is what has come held back (`-d`)? Its time begins when it comes.
    fn is_held(&mut self, now: Instant) -> bool {
        let Some(delay) = self.patience.manners().delay else { return false };
        if self.peer.inbox.is_empty() && self.user.inbox.is_empty() {
            self.held_until = None;
            return false;
        }
        *self.held_until.get_or_insert(now + delay) > now
    }

    /// The machine is through: its last words are all that is left.
    fn part(&mut self, parting: Parting) {
        if let Some(veil) = &mut self.veil {
            veil.finish(&mut self.user.outbox);
        }
        self.parting = Some(parting);
    }

    /// Draws the veil over what the machine appended behind `from`, or drops it.
    fn show(&mut self, from: usize) {
        if self.patience.manners().receive == Receive::Discard {
            self.user.outbox.clear();
            self.user.sent = 0;
        } else if let Some(veil) = &mut self.veil {
            let said = self.user.outbox.split_off(from);
            veil.pass(&said, &mut self.user.outbox);
            if self.user.ending {
                veil.finish(&mut self.user.outbox);
            }
        }
    }

    /// Moves bytes until all four directions block. True if any moved, or one ended.
    fn exchange(&mut self) -> Result<bool, Trouble> {
        let mut any = self.exchange_with_peer();
        match self.user.exchange(true, None) {
            Ok(moved) => any |= moved,
            Err(Broken::Source(e)) => return Err(Trouble::Input(e)),
            Err(Broken::Sink(e)) if e.kind() == io::ErrorKind::BrokenPipe && self.forgiving => {
                self.user.lose();
                any = true;
            }
            Err(Broken::Sink(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
                return Err(Trouble::OutputGone);
            }
            Err(Broken::Sink(e)) => return Err(Trouble::Output(e)),
        }
        Ok(any)
    }

    fn half_closes(&self) -> bool {
        self.patience.manners().half_close && self.patience.manners().send
    }

    fn exchange_with_peer(&mut self) -> bool {
        let half_close = self.half_closes();
        if self.patience.manners().packets.is_some_and(|most| self.peer.reads >= most) {
            self.peer.source_ended = true;
        }
        // One at a time, as from a socket: two of them are not one.
        let mut early = false;
        if self.peer.has_room()
            && let Some(datagram) = self.early.pop_front()
        {
            self.peer.received_total += self.peer.inbox.append(&datagram) as u64;
            self.tap.record(Way::Heard, &datagram);
            early = true;
        }
        match self.peer.exchange(half_close, Some(&mut self.tap)) {
            Ok(moved) => moved | early,
            Err(Broken::Source(e)) => {
                self.peer.source_ended = true;
                self.trouble.get_or_insert(peer_trouble(e));
                true
            }
            Err(Broken::Sink(e)) => {
                self.peer.lose();
                // As in a relay: an end of the peer's excuses us, unless we were to go on.
                let goes_on = self.patience.manners().peer_end == PeerEnd::KeepSending;
                if !self.peer.source_ended || goes_on {
                    self.trouble.get_or_insert(peer_trouble(e));
                }
                true
            }
        }
    }

    /// Nothing moves for now: is it over, or has it lasted too long?
    fn wait(
        &mut self,
        now: Instant,
        before: u64,
        otherwise: Outcome<M::Event>,
    ) -> Result<Outcome<M::Event>, Trouble> {
        let up_empty = self.user.inbox.is_empty() && !self.peer.has_words();
        let up_over = self.user.source_ended && up_empty;
        let half_close = self.half_closes();
        let down_done =
            self.peer.source_ended && self.peer.inbox.is_empty() && !self.user.has_words();
        let facts = Facts {
            moved: self.peer.received_total + self.peer.sent_total != before,
            user_ended: self.patience.manners().send && self.user.source_ended,
            up_done: up_over && (self.peer.told || !half_close || !self.peer.ending),
            up_silent: up_empty,
            // In the middle of a turn the machine may have more to say than has been sent.
            down_done: down_done && !matches!(otherwise, Outcome::Runnable),
        };
        self.up_silent = up_empty && matches!(otherwise, Outcome::Waiting);
        // As in a relay: a cut stream is no reason not to send the rest of ours.
        let goes_on = self.patience.manners().peer_end == PeerEnd::KeepSending;
        let waits = goes_on && !facts.up_done && matches!(self.trouble, Some(Trouble::Cut));
        if down_done
            && !waits
            && let Some(trouble) = self.trouble.take()
        {
            return Err(trouble);
        }
        match self.patience.judge(now, facts)? {
            Status::Finished => Ok(Outcome::Done),
            Status::Waiting | Status::Runnable => Ok(otherwise),
        }
    }

    /// When to call [`Dialogue::next`] although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        let layer = self.peer.endpoint.deadline();
        let paced = self.peer.pace.as_ref().filter(|_| self.peer.has_words()).map(Pace::next);
        [self.held_until, layer, paced, self.patience.deadline()].into_iter().flatten().min()
    }

    /// The endpoint on a side.
    pub fn side(&mut self, side: usize) -> Option<&mut Endpoint> {
        match side {
            LOCAL => Some(&mut self.user.endpoint),
            REMOTE => Some(&mut self.peer.endpoint),
            _ => None,
        }
    }
}

impl<M: Machine<Event = Infallible>> Conversation for Dialogue<M> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        self.side(side)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        match self.next(now)? {
            Outcome::Waiting => Ok(Status::Waiting),
            Outcome::Runnable => Ok(Status::Runnable),
            // Such a machine has no events, and TLS is nothing that it could ask for.
            Outcome::Event(never) => match never {},
            Outcome::StartTls | Outcome::Done => Ok(Status::Finished),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Dialogue::deadline(self)
    }
}

impl Side {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            inbox: Buf::new(INBOX),
            source_ended: false,
            outbox: Vec::new(),
            sent: 0,
            ending: false,
            told: false,
            gone: false,
            deaf: false,
            received_total: 0,
            reads: 0,
            sent_total: 0,
            first: Vec::new(),
            pace: None,
        }
    }

    fn has_words(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// May something be read? A datagram is a whole: it is heard and answered before the next.
    fn has_room(&self) -> bool {
        match self.endpoint.datagrams() {
            Some(_) => self.inbox.is_empty() && !self.has_words(),
            None => !self.inbox.is_full(),
        }
    }

    fn room(&self) -> usize {
        HIGH_WATER.saturating_sub(self.outbox.len() - self.sent)
    }

    /// Writing to it has failed.
    fn lose(&mut self) {
        self.gone = true;
        self.told = true;
        self.outbox.clear();
        self.sent = 0;
    }

    /// Moves bytes until both directions block. True if any moved, or one ended.
    fn exchange(&mut self, tell: bool, mut tap: Option<&mut Tap>) -> Result<bool, Broken> {
        let mut any = false;
        loop {
            let mut moved = self.endpoint.turn().map_err(Broken::Source)?;
            if self.gone {
                self.outbox.clear();
                self.sent = 0;
            }
            let most = self.pace.as_ref().map_or(u64::MAX, |pace| pace.allowance);
            if self.has_words() && self.endpoint.can_write() && most > 0 {
                let words = &self.outbox[self.sent..];
                let words = &words[..words.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
                if let Moved::Bytes(n) = self.endpoint.write(words).map_err(Broken::Sink)? {
                    if let Some(tap) = &mut tap {
                        tap.record(Way::Sent, &words[..n]);
                    }
                    self.sent += n;
                    if self.sent >= HIGH_WATER {
                        // A slow reader may never have all of it at once.
                        self.outbox.drain(..self.sent);
                        self.sent = 0;
                    }
                    self.sent_total += n as u64;
                    if let Some(pace) = &mut self.pace {
                        pace.allowance = pace.allowance.saturating_sub(n as u64);
                    }
                    moved = true;
                }
                if !self.has_words() {
                    self.outbox.clear();
                    self.sent = 0;
                }
            }
            if self.ending && tell && !self.told && !self.has_words() {
                self.told = self.endpoint.close_write().map_err(Broken::Sink)?;
                moved |= self.told;
            }
            if !self.source_ended && !self.deaf && self.has_room() && self.endpoint.can_read() {
                let before = self.inbox.bytes().len();
                match self.endpoint.read(&mut self.inbox).map_err(Broken::Source)? {
                    Moved::Bytes(n) => {
                        let new = &self.inbox.bytes()[before..];
                        if let Some(tap) = &mut tap {
                            tap.record(Way::Heard, new);
                        }
                        let wanted = FIRST - self.first.len().min(FIRST);
                        self.first.extend_from_slice(&new[..wanted.min(new.len())]);
                        self.received_total += n as u64;
                        self.reads += 1;
                        moved = true;
                    }
                    Moved::Eof => (self.source_ended, moved) = (true, true),
                    Moved::Blocked => {}
                }
            }
            any |= moved;
            if !moved {
                return Ok(any);
            }
        }
    }
}
