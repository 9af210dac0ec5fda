//! Many callers around one standard input and output (`-l -k`).
//!
//! What this machine says goes to every caller; what any caller says goes to standard output, in
//! the order in which it comes. Nobody waits for a caller that does not read: standard input is
//! held back only while somebody's queue is full and still moving.

use super::manners::{Manners, Receive, UserEnd};
use super::relay::peer_trouble;
use super::tap::Tap;
use super::{Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use crate::proto::text::Crlf;
use crate::term::safe::Safe;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// What one caller may leave unread before standard input is held back for it.
const QUEUE: usize = 1024 * 1024;

/// How long standard input is held back for a caller that takes nothing; then it is dropped.
const STALL: Duration = Duration::from_secs(2);

/// The longest a caller that has ended its stream may leave the rest of ours unread.
const PARTING: Duration = Duration::from_secs(10);

/// How often a parting caller's kernel is asked whether it has everything.
const GLANCE: Duration = Duration::from_millis(5);

/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// Chunks that are moved before the loop looks for news.
const ROUNDS: usize = 64;

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS is being set up.
    Handshaking { until: Instant },
    /// It hears and is heard.
    Talking,
    /// It is over, but for what it has not read yet.
    Parting { until: Instant },
}

struct Member {
    endpoint: Endpoint,
    stage: Stage,
    queue: Vec<u8>,
    sent: usize,
    /// When it last took something, or had nothing to take.
    took: Instant,
    /// It has said that it is done; it gets the end of ours, too.
    told: bool,
    queued: bool,
}

/// What happened in the room.
#[derive(Debug)]
pub enum Event {
    /// A caller is in, its TLS handshake included.
    Joined(usize),
    /// A caller has left, well or not.
    Left(usize, Result<(), Trouble>),
    /// A caller was dropped, since it read nothing while the others waited.
    Dropped(usize),
}

/// The room.
pub struct Room {
    members: Slab<Member>,
    talking: usize,
    local: Endpoint,
    /// Bytes for standard output.
    heard: Buf,
    shown: Vec<u8>,
    shown_sent: usize,
    /// Bytes of standard input, and the same with CR LF.
    said: Buf,
    crlf: Option<Crlf>,
    encoded: Vec<u8>,
    veil: Option<Safe>,
    tap: Tap,
    manners: Manners,
    /// What a TLS handshake may take.
    handshake: Duration,
    /// Members that may have something for us.
    awake: VecDeque<usize>,
    user_ended: Option<Instant>,
    touched: Option<Instant>,
    events: Vec<Event>,
    sent_total: u64,
    received_total: u64,
}

impl Room {
    /// An empty room around `local`; a caller's TLS handshake may take `handshake`.
    pub fn new(
        local: Endpoint,
        manners: Manners,
        handshake: Duration,
        crlf: bool,
        veil: Option<Safe>,
        tap: Tap,
    ) -> Self {
        Self {
            members: Slab::new(),
            talking: 0,
            local,
            heard: Buf::new(CHUNK),
            shown: Vec::new(),
            shown_sent: 0,
            said: Buf::new(CHUNK),
            crlf: crlf.then(Crlf::default),
            encoded: Vec::new(),
            veil,
            tap,
            manners,
            handshake,
            awake: VecDeque::new(),
            user_ended: None,
            touched: None,
            events: Vec::new(),
            sent_total: 0,
            received_total: 0,
        }
    }

    /// Lets a caller in, under the key that is returned; register its endpoint.
    pub fn join(&mut self, endpoint: Endpoint, now: Instant) -> usize {
        let stage = match endpoint.is_handshaking() {
            true => Stage::Handshaking { until: now + self.handshake },
            false => Stage::Talking,
        };
        let key = self.members.insert(Member {
            endpoint,
            stage,
            queue: Vec::new(),
            sent: 0,
            took: now,
            told: false,
            queued: false,
        });
        if stage == Stage::Talking {
            self.welcome(key, now);
        }
        self.wake(key);
        key
    }

    /// Members, those at the door included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Is nobody here?
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A member's endpoint.
    pub fn endpoint(&mut self, key: usize) -> Option<&mut Endpoint> {
        self.members.get_mut(key).map(|member| &mut member.endpoint)
    }

    /// Standard input and output.
    pub fn local(&mut self) -> &mut Endpoint {
        &mut self.local
    }

    /// This member may have something for us.
    pub fn wake(&mut self, key: usize) {
        if let Some(member) = self.members.get_mut(key)
            && !std::mem::replace(&mut member.queued, true)
        {
            self.awake.push_back(key);
        }
    }

    /// Bytes sent (to each caller) and received.
    pub fn totals(&self) -> (u64, u64) {
        (self.sent_total, self.received_total)
    }

    /// The log, for whether it could be written.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// What happened since the last time.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Moves what can be moved.
    ///
    /// # Errors
    /// Those that end the room: standard input or output failed, `-i` or `-q` ran out.
    pub fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        let before = self.sent_total + self.received_total;
        let mut busy = false;
        for _ in 0..ROUNDS {
            busy = self.speak(now)?;
            busy |= self.listen(now)?;
            if !busy {
                break;
            }
        }
        let moved = self.sent_total + self.received_total != before;
        if moved || self.talking == 0 || self.touched.is_none() {
            self.touched = Some(now);
        }
        self.sweep(now);
        self.judge(now)?;
        if self.user_ended.is_some() && self.manners.user_end == UserEnd::Leave && self.is_empty() {
            return Ok(Status::Finished);
        }
        Ok(if busy { Status::Runnable } else { Status::Waiting })
    }

    /// When to drive although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        let idle = match (self.manners.idle, self.touched) {
            (Some(idle), Some(touched)) if self.talking > 0 => Some(touched + idle),
            _ => None,
        };
        let quit = match (self.manners.user_end, self.user_ended) {
            (UserEnd::After(time), Some(ended)) => Some(ended + time),
            _ => None,
        };
        idle.into_iter().chain(quit).min()
    }

    fn judge(&self, now: Instant) -> Result<(), Trouble> {
        if let (UserEnd::After(time), Some(ended)) = (self.manners.user_end, self.user_ended)
            && ended + time <= now
        {
            return Err(Trouble::Quit(time));
        }
        if let (Some(idle), Some(touched)) = (self.manners.idle, self.touched)
            && self.talking > 0
            && touched + idle <= now
        {
            return Err(Trouble::Idle(idle));
        }
        Ok(())
    }

    /// A member may talk from now on.
    fn welcome(&mut self, key: usize, now: Instant) {
        self.talking += 1;
        self.touched = Some(now);
        self.events.push(Event::Joined(key));
    }

    /// Standard input to everybody. True if something moved.
    fn speak(&mut self, now: Instant) -> Result<bool, Trouble> {
        if !self.manners.send || self.user_ended.is_some() || self.talking == 0 {
            return Ok(false);
        }
        if self.is_held_back() || !self.local.can_read() {
            return Ok(false);
        }
        match self.local.read(&mut self.said).map_err(Trouble::Input)? {
            Moved::Blocked => return Ok(false),
            Moved::Bytes(_) => self.spread(now),
            Moved::Eof => {
                self.user_ended = Some(now);
                self.tell_the_end(now);
            }
        }
        Ok(true)
    }

    /// Is somebody's queue full? Whoever is stuck for good is dropped in [`Room::sweep`].
    fn is_held_back(&self) -> bool {
        self.members.iter().any(|(_, member)| member.pending() >= QUEUE)
    }

    fn spread(&mut self, now: Instant) {
        self.encoded.clear();
        match &mut self.crlf {
            Some(crlf) => crlf.encode(self.said.bytes(), &mut self.encoded),
            None => self.encoded.extend_from_slice(self.said.bytes()),
        }
        let n = self.said.bytes().len();
        self.said.consume(n);
        self.tap.record(&self.encoded);
        self.sent_total += self.encoded.len() as u64;
        for key in self.talkers() {
            let Some(member) = self.members.get_mut(key) else { continue };
            if member.pending() == 0 {
                member.took = now;
            }
            member.queue.extend_from_slice(&self.encoded);
            if let Err(e) = member.flush(now) {
                self.leave(key, Err(peer_trouble(e)));
            }
        }
    }

    fn talkers(&self) -> Vec<usize> {
        let talks =
            |(key, member): (usize, &Member)| (member.stage == Stage::Talking).then_some(key);
        self.members.iter().filter_map(talks).collect()
    }

    fn tell_the_end(&mut self, now: Instant) {
        for key in self.talkers() {
            if self.manners.user_end == UserEnd::Leave {
                self.part(key, now);
            } else if self.manners.half_close
                && let Some(member) = self.members.get_mut(key)
            {
                member.told = true;
                self.wake(key);
            }
        }
    }

    /// Everybody to standard output. True if something moved.
    fn listen(&mut self, now: Instant) -> Result<bool, Trouble> {
        let mut moved = self.flush_output()?;
        for _ in 0..self.awake.len() {
            // Standard output holds everybody back, so that no byte waits here without bound.
            if !self.heard.is_empty() || self.shown_sent < self.shown.len() {
                break;
            }
            let Some(key) = self.awake.pop_front() else { break };
            if let Some(member) = self.members.get_mut(key) {
                member.queued = false;
                match self.hear(key, now) {
                    Ok(true) => {
                        moved = true;
                        self.wake(key);
                    }
                    Ok(false) => {}
                    Err(e) => self.leave(key, Err(peer_trouble(e))),
                }
            }
            moved |= self.flush_output()?;
        }
        Ok(moved)
    }

    /// One round with one member. True if there may be more.
    fn hear(&mut self, key: usize, now: Instant) -> io::Result<bool> {
        let Some(member) = self.members.get_mut(key) else { return Ok(false) };
        member.endpoint.turn()?;
        if let Stage::Handshaking { .. } = member.stage {
            if member.endpoint.is_handshaking() {
                return Ok(false);
            }
            member.stage = Stage::Talking;
            self.welcome(key, now);
            return Ok(true);
        }
        let mut more = member.flush(now)?;
        if member.told && member.pending() == 0 && member.endpoint.close_write()? {
            member.told = false;
        }
        if !member.endpoint.can_read() {
            return Ok(more);
        }
        let moved = member.endpoint.read(&mut self.heard)?;
        match moved {
            Moved::Bytes(n) => {
                more = true;
                self.received_total += n as u64;
                self.tap.record(self.heard.bytes());
                let parting = matches!(member.stage, Stage::Parting { .. });
                if parting || self.manners.receive == Receive::Discard {
                    let n = self.heard.bytes().len();
                    self.heard.consume(n);
                }
            }
            Moved::Blocked => {}
            Moved::Eof
                if member.pending() > 0 && !matches!(member.stage, Stage::Parting { .. }) =>
            {
                self.part(key, now);
            }
            Moved::Eof => {
                // A caller may wait for the end of ours before it goes (close_notify, FIN).
                let _ = member.endpoint.close_write();
                self.leave(key, Ok(()));
            }
        }
        Ok(more)
    }

    fn flush_output(&mut self) -> Result<bool, Trouble> {
        if let Some(veil) = &mut self.veil
            && !self.heard.is_empty()
            && self.shown_sent == self.shown.len()
        {
            self.shown.clear();
            self.shown_sent = 0;
            veil.pass(self.heard.bytes(), &mut self.shown);
            let n = self.heard.bytes().len();
            self.heard.consume(n);
        }
        let mut any = false;
        loop {
            let words = if self.veil.is_some() {
                &self.shown[self.shown_sent..]
            } else {
                self.heard.bytes()
            };
            if words.is_empty() || !self.local.can_write() {
                return Ok(any);
            }
            match self.local.write(words) {
                Ok(Moved::Bytes(n)) if self.veil.is_some() => self.shown_sent += n,
                Ok(Moved::Bytes(n)) => self.heard.consume(n),
                Ok(Moved::Blocked | Moved::Eof) => return Ok(any),
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(Trouble::OutputGone),
                Err(e) => return Err(Trouble::Output(e)),
            }
            any = true;
        }
    }

    /// A member gets the rest of its queue and the end, and nothing else.
    fn part(&mut self, key: usize, now: Instant) {
        let Some(member) = self.members.get_mut(key) else { return };
        if member.stage == Stage::Talking {
            self.talking -= 1;
        }
        member.stage = Stage::Parting { until: now + PARTING };
        member.told = true;
        self.wake(key);
    }

    fn leave(&mut self, key: usize, how: Result<(), Trouble>) {
        let Some(member) = self.members.try_remove(key) else { return };
        if member.stage == Stage::Talking {
            self.talking -= 1;
        }
        self.events.push(Event::Left(key, how));
    }

    /// Those whose time is over.
    fn sweep(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (key, member) in &self.members {
            match member.stage {
                Stage::Handshaking { until } if until <= now => {
                    over.push(Event::Left(
                        key,
                        Err(Trouble::Late("the TLS handshake", self.handshake)),
                    ));
                }
                Stage::Parting { until } => {
                    let told = !member.told && member.pending() == 0;
                    let confirmed = member.endpoint.unacknowledged().is_none_or(|n| n == 0);
                    if told && confirmed || until <= now {
                        over.push(Event::Left(key, Ok(())));
                    }
                }
                Stage::Talking if member.pending() >= QUEUE && member.took + STALL <= now => {
                    over.push(Event::Dropped(key));
                }
                Stage::Handshaking { .. } | Stage::Talking => {}
            }
        }
        for event in over {
            match event {
                Event::Left(key, how) => self.leave(key, how),
                Event::Dropped(key) | Event::Joined(key) => {
                    if self.members.try_remove(key).is_some() {
                        self.talking -= 1;
                        self.events.push(Event::Dropped(key));
                    }
                }
            }
        }
    }

    /// When [`Room::drive`] has to look at somebody whose time is running.
    pub fn next_sweep(&self, now: Instant) -> Option<Instant> {
        self.members
            .iter()
            .filter_map(|(_, member)| match member.stage {
                Stage::Handshaking { until } => Some(until),
                Stage::Parting { until } => Some(until.min(now + GLANCE)),
                Stage::Talking if member.pending() >= QUEUE => Some(member.took + STALL),
                Stage::Talking => None,
            })
            .min()
    }
}

impl Member {
    fn pending(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Sends what it takes. True if it took something.
    fn flush(&mut self, now: Instant) -> io::Result<bool> {
        let mut any = false;
        while self.pending() > 0 && self.endpoint.can_write() {
            match self.endpoint.write(&self.queue[self.sent..])? {
                Moved::Bytes(n) => {
                    self.sent += n;
                    self.took = now;
                    any = true;
                }
                Moved::Blocked | Moved::Eof => {}
            }
            self.endpoint.turn()?;
        }
        if self.pending() == 0 {
            self.queue.clear();
            self.queue.shrink_to(CHUNK);
            self.sent = 0;
        } else if self.sent >= QUEUE {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        Ok(any)
    }
}
