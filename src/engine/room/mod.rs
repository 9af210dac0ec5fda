//! Many callers in one room: around one standard input and output (`-l -k`), or among themselves
//! (`--broker`, `--chat`).
//!
//! What this machine says goes to every caller. What a caller says goes to standard output, or in
//! a broker's room to all the others, in the order in which it comes. Nobody waits for a caller
//! that does not read: around standard input it is held back only while somebody's queue is full
//! and still moving; among themselves a member whose queue is full is dropped.

mod member;
mod round;

use super::manners::{Manners, Receive, UserEnd};
use super::relay::peer_trouble;
use super::service::Translation;
use super::tap::{Tap, Way};
use super::{Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use crate::proto::chat::{self, Lines};
use crate::proto::telnet::Telnet;
use crate::proto::text::Crlf;
use crate::term::safe::Safe;
use member::{Member, Stage};
use round::Round;
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

/// Datagrams that are kept for a member at most.
const MOST_EARLY: usize = 64;

/// After so long without a datagram a caller without a connection makes room for others.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Chunks that are moved before the loop looks for news.
const ROUNDS: usize = 64;

/// What is read at once of a chat member: its words may grow on their way.
const WORDS: usize = 8 * 1024;

/// What the room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Callers around this machine's standard input and output.
    Gather,
    /// Callers among themselves, every byte as it is.
    Broker,
    /// Callers among themselves, each line with its speaker.
    Chat,
}

/// What happened in the room.
#[derive(Debug)]
pub enum Event {
    /// A caller is in, its TLS handshake included.
    Joined(usize),
    /// A caller has left, well or not.
    Left(usize, Result<(), Trouble>),
    /// A caller was dropped: it read too slowly, or nothing.
    Dropped(usize),
}

/// The room.
pub struct Room {
    purpose: Purpose,
    /// Users that have been numbered so far.
    users: u32,
    /// What this machine's person says in a chat: user 0.
    host: Lines,
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
    /// Callers may speak telnet (`-t`).
    telnet: bool,
    encoded: Vec<u8>,
    veil: Option<Safe>,
    tap: Tap,
    manners: Manners,
    /// What a TLS handshake may take.
    handshake: Duration,
    /// Members that may have something for us.
    awake: VecDeque<usize>,
    /// Members whose queue is full, in a room where nobody waits.
    stuck: Vec<usize>,
    /// What the others of a chat are still to be told.
    farewells: Vec<u8>,
    user_ended: Option<Instant>,
    touched: Option<Instant>,
    /// The next chunk goes on then (`-d`).
    held_until: Option<Instant>,
    /// What has been said in this round.
    round: Round,
    /// Somebody has been told something that has not been sent.
    unsent: bool,
    events: Vec<Event>,
    sent_total: u64,
    received_total: u64,
}

impl Room {
    /// An empty room around `local`; a caller's TLS handshake may take `handshake`.
    pub fn new(
        purpose: Purpose,
        local: Endpoint,
        manners: Manners,
        handshake: Duration,
        translation: Translation,
        veil: Option<Safe>,
        tap: Tap,
    ) -> Self {
        Self {
            purpose,
            users: 0,
            host: Lines::new(0),
            members: Slab::new(),
            talking: 0,
            local,
            heard: Buf::new(CHUNK),
            shown: Vec::new(),
            shown_sent: 0,
            said: Buf::new(CHUNK),
            crlf: translation.crlf.then(Crlf::default),
            telnet: translation.telnet,
            encoded: Vec::new(),
            veil,
            tap,
            manners,
            handshake,
            awake: VecDeque::new(),
            stuck: Vec::new(),
            farewells: Vec::new(),
            user_ended: None,
            touched: None,
            held_until: None,
            round: Round::default(),
            unsent: false,
            events: Vec::new(),
            sent_total: 0,
            received_total: 0,
        }
    }

    /// Lets a caller in, under the key that is returned; register its endpoint.
    pub fn join(&mut self, endpoint: Endpoint, address: String, now: Instant) -> usize {
        let stage = match endpoint.is_handshaking() {
            true => Stage::Handshaking { until: now + self.handshake },
            false => Stage::Talking,
        };
        let key = self.members.insert(Member::new(endpoint, stage, address, self.telnet, now));
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

    /// One more datagram of a member's, past its own socket. Past a bound they are lost, as
    /// datagrams are.
    pub fn push(&mut self, key: usize, datagram: Vec<u8>) {
        if let Some(member) = self.members.get_mut(key)
            && !member.endpoint.feed(&datagram)
            && member.early.len() < MOST_EARLY
        {
            member.early.push_back(datagram);
        }
        self.wake(key);
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
        if self.held_until.is_none_or(|until| until <= now) {
            self.held_until = None;
            for _ in 0..ROUNDS {
                busy = self.speak(now)?;
                busy |= self.listen(now)?;
                self.send_all(now);
                if !busy || self.held_until.is_some() {
                    break;
                }
            }
        }
        let moved = self.sent_total + self.received_total != before;
        if moved || self.talking == 0 || self.touched.is_none() {
            self.touched = Some(now);
        }
        // Whoever is gone may have held the others back.
        busy |= self.sweep(now);
        self.say_farewells(now);
        self.send_all(now);
        self.flush_output()?;
        self.judge(now)?;
        if self.user_ended.is_some() && self.manners.user_end == UserEnd::Leave && self.is_empty() {
            return Ok(Status::Finished);
        }
        let busy = busy && self.held_until.is_none();
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
        idle.into_iter().chain(quit).chain(self.held_until).min()
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
        // What was said before is not for who comes now.
        if let Some(member) = self.members.get_mut(key) {
            member.stage = Stage::Handshaking { until: now };
        }
        self.hand_out(now);
        if let Some(member) = self.members.get_mut(key) {
            member.stage = Stage::Talking;
        }
        self.talking += 1;
        self.touched = Some(now);
        self.events.push(Event::Joined(key));
        if self.purpose == Purpose::Chat {
            self.introduce(key, now);
        }
    }

    /// Everybody in a chat learns who came, and the newcomer who is there.
    fn introduce(&mut self, key: usize, now: Instant) {
        self.users += 1;
        let user = self.users;
        let talks = |member: &&Member| member.stage == Stage::Talking && member.user != 0;
        let others: Vec<_> = self.members.iter().map(|(_, member)| member).filter(talks).collect();
        let mut others: Vec<_> = others.iter().map(|m| (m.user, m.address.clone())).collect();
        others.sort_unstable_by_key(|(user, _)| *user);
        let Some(member) = self.members.get_mut(key) else { return };
        member.user = user;
        member.lines = Lines::new(user);
        let words = chat::joined(user, &member.address, &others);
        self.announce(words.as_bytes(), now);
    }

    /// Says something to everybody, the person at this machine included.
    fn announce(&mut self, words: &[u8], now: Instant) {
        self.share(words, None, now);
        self.show(words);
    }

    /// The person who runs a chat sees it, if a person looks.
    fn show(&mut self, words: &[u8]) {
        if let Some(veil) = &mut self.veil {
            // Whoever does not scroll on gets no more than this.
            if self.shown.len() - self.shown_sent < QUEUE {
                veil.pass(words, &mut self.shown);
            }
        }
    }

    /// Standard input to everybody. True if something moved.
    fn speak(&mut self, now: Instant) -> Result<bool, Trouble> {
        if !self.manners.send || self.user_ended.is_some() || self.talking == 0 {
            return Ok(false);
        }
        if self.is_held_back() || !self.local.can_read() {
            return Ok(false);
        }
        match self.local.read_piece(&mut self.said, CHUNK).map_err(Trouble::Input)? {
            Moved::Blocked => return Ok(false),
            Moved::Bytes(_) => {
                self.held_until = self.manners.delay.map(|delay| now + delay);
                self.spread(now);
            }
            Moved::Eof => {
                self.user_ended = Some(now);
                self.tell_the_end(now);
            }
        }
        Ok(true)
    }

    /// Is somebody's queue full? Whoever is stuck for good is dropped in [`Room::sweep`].
    fn is_held_back(&self) -> bool {
        let full = |member: &Member| member.stage == Stage::Talking && member.pending() >= QUEUE;
        self.purpose == Purpose::Gather && self.members.iter().any(|(_, member)| full(member))
    }

    fn spread(&mut self, now: Instant) {
        let mut words = std::mem::take(&mut self.encoded);
        words.clear();
        match (&mut self.crlf, self.purpose) {
            (_, Purpose::Chat) => self.host.say(self.said.bytes(), &mut words),
            (Some(crlf), _) => crlf.encode(self.said.bytes(), &mut words),
            (None, _) => words.extend_from_slice(self.said.bytes()),
        }
        if self.telnet {
            Telnet::quote(&mut words);
        }
        let n = self.said.bytes().len();
        self.said.consume(n);
        self.share(&words, None, now);
        self.encoded = words;
    }

    /// Words for everybody but one. They go out at the end of this round, with all that is said in it.
    fn share(&mut self, words: &[u8], but: Option<usize>, now: Instant) {
        if words.is_empty() || !self.manners.send {
            return;
        }
        self.tap.record(Way::Sent, words);
        self.sent_total += words.len() as u64;
        self.round.say(words, but);
        if self.round.words.len() >= CHUNK {
            self.send_all(now);
        }
    }

    /// What has been said in this round is put down for everybody who is to hear it.
    fn hand_out(&mut self, now: Instant) {
        if self.round.words.is_empty() {
            return;
        }
        let mut round = std::mem::take(&mut self.round);
        for (key, member) in &mut self.members {
            if member.stage != Stage::Talking || member.deaf.is_some() {
                continue;
            }
            if member.pending() == 0 {
                member.took = now;
            }
            if member.endpoint.datagrams().is_some() {
                // Each is a datagram of its own.
                for words in round.for_each(key) {
                    member.queue.extend_from_slice(words);
                    member.flush(now);
                }
            } else {
                round.for_one(key, &mut member.queue);
            }
            if member.deaf.is_some() && !std::mem::replace(&mut member.queued, true) {
                self.awake.push_back(key);
            }
        }
        round.clear();
        self.round = round;
        self.unsent = true;
    }

    /// What everybody has been told goes out: one call for each, not for each word.
    fn send_all(&mut self, now: Instant) {
        loop {
            self.hand_out(now);
            if !std::mem::take(&mut self.unsent) {
                return;
            }
            for (key, member) in &mut self.members {
                if member.stage != Stage::Talking || member.pending() == 0 {
                    continue;
                }
                member.flush(now);
                if member.deaf.is_some() {
                    if !std::mem::replace(&mut member.queued, true) {
                        self.awake.push_back(key);
                    }
                } else if self.purpose != Purpose::Gather && member.pending() > QUEUE {
                    self.stuck.push(key);
                }
            }
            // Of those who are dropped here the others are told.
            self.drop_stuck(now);
        }
    }

    /// What a member has said goes to the others.
    fn pass_on(&mut self, key: usize, now: Instant) {
        let mut words = std::mem::take(&mut self.encoded);
        words.clear();
        match (self.members.get_mut(key), self.purpose) {
            (Some(member), Purpose::Chat) => member.lines.say(self.heard.bytes(), &mut words),
            _ => words.extend_from_slice(self.heard.bytes()),
        }
        if self.telnet {
            Telnet::quote(&mut words);
        }
        let n = self.heard.bytes().len();
        self.heard.consume(n);
        self.share(&words, Some(key), now);
        if self.purpose == Purpose::Chat {
            self.show(&words);
        }
        self.encoded = words;
    }

    /// Drops those who left a whole queue unread, and says so.
    fn drop_stuck(&mut self, now: Instant) {
        while let Some(key) = self.stuck.pop() {
            let Some(member) = self.members.try_remove(key) else { continue };
            self.talking -= 1;
            self.events.push(Event::Dropped(key));
            if self.purpose == Purpose::Chat {
                let user = member.user;
                let words =
                    format!("<announce> <user{user}> is disconnected: it reads too slowly.\n");
                self.announce(words.as_bytes(), now);
            }
        }
    }

    fn talkers(&self) -> Vec<usize> {
        let talks =
            |(key, member): (usize, &Member)| (member.stage == Stage::Talking).then_some(key);
        self.members.iter().filter_map(talks).collect()
    }

    fn tell_the_end(&mut self, now: Instant) {
        // Callers among themselves go on without us.
        if self.purpose != Purpose::Gather {
            return;
        }
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
            if self.held_until.is_some() {
                break;
            }
            // Standard output holds everybody back, so that no byte waits here without bound.
            if !self.heard.is_empty() || self.shown_sent < self.shown.len() {
                break;
            }
            let Some(key) = self.awake.pop_front() else { break };
            if let Some(member) = self.members.get_mut(key) {
                member.queued = false;
                let heard = self.hear(key, now);
                if !self.heard.is_empty() && self.purpose != Purpose::Gather {
                    self.pass_on(key, now);
                }
                self.drop_stuck(now);
                match heard {
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
        member.endpoint.tick(now);
        member.endpoint.turn()?;
        if let Stage::Handshaking { .. } = member.stage {
            if member.endpoint.is_handshaking() {
                return Ok(false);
            }
            member.stage = Stage::Talking;
            self.welcome(key, now);
            return Ok(true);
        }
        let mut more = member.flush(now);
        if member.told && member.pending() == 0 && member.endpoint.close_write().unwrap_or(true) {
            member.told = false;
            member.closed = true;
        }
        if member.ended {
            // All that is left is to get rid of our words.
            if member.pending() == 0 && !member.told {
                let how = member.deaf.take().map_or(Ok(()), |e| Err(peer_trouble(e)));
                self.leave(key, how);
            }
            return Ok(false);
        }
        // The rest of a datagram would be lost.
        let in_pieces = member.endpoint.datagrams().is_none();
        let most = if self.purpose == Purpose::Chat { WORDS } else { CHUNK };
        let moved = if let Some(datagram) = member.early.pop_front() {
            Moved::Bytes(self.heard.append(&datagram))
        } else if member.endpoint.can_read() && in_pieces {
            member.endpoint.read_piece(&mut self.heard, most)?
        } else if member.endpoint.can_read() {
            member.endpoint.read(&mut self.heard)?
        } else {
            return Ok(more);
        };
        member.heard = now;
        match moved {
            Moved::Bytes(n) => {
                more = true;
                self.held_until = self.manners.delay.map(|delay| now + delay);
                self.received_total += n as u64;
                member.take_out_telnet(&mut self.heard, now);
                self.tap.record(Way::Heard, self.heard.bytes());
                let parting = matches!(member.stage, Stage::Parting { .. });
                if parting || self.manners.receive == Receive::Discard {
                    let n = self.heard.bytes().len();
                    self.heard.consume(n);
                }
            }
            Moved::Blocked => {}
            Moved::Eof => {
                // It may still read what is queued for it, and wait for the end of ours.
                member.ended = true;
                member.told = true;
                if member.stage == Stage::Talking {
                    self.part(key, now);
                }
                return Ok(true);
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
        self.hand_out(now);
        let Some(member) = self.members.get_mut(key) else { return };
        if member.stage == Stage::Talking {
            self.talking -= 1;
        }
        member.stage = Stage::Parting { until: now + PARTING };
        member.told = true;
        self.wake(key);
    }

    fn leave(&mut self, key: usize, how: Result<(), Trouble>) {
        let Some(mut member) = self.members.try_remove(key) else { return };
        if member.stage == Stage::Talking {
            self.talking -= 1;
        }
        self.events.push(Event::Left(key, how));
        if self.purpose == Purpose::Chat && member.user != 0 {
            let mut words = Vec::new();
            member.lines.finish(&mut words);
            words.extend_from_slice(chat::left(member.user).as_bytes());
            self.farewells.extend_from_slice(&words);
        }
    }

    /// What is said about those who have left: later, since it may make others leave.
    fn say_farewells(&mut self, now: Instant) {
        while !self.farewells.is_empty() {
            let words = std::mem::take(&mut self.farewells);
            self.announce(&words, now);
            self.drop_stuck(now);
        }
    }

    /// Those whose time is over. True if anybody's was.
    fn sweep(&mut self, now: Instant) -> bool {
        // Somebody who takes nothing is only in the way if somebody else waits.
        let waits = |member: &Member| member.stage == Stage::Talking && member.pending() < QUEUE;
        let somebody_waits = self.members.iter().any(|(_, member)| waits(member));
        let late = |member: &Member| member.endpoint.deadline().is_some_and(|at| at <= now);
        let late: Vec<_> =
            self.members.iter().filter(|(_, m)| late(m)).map(|(key, _)| key).collect();
        let any_late = !late.is_empty();
        for key in late {
            self.wake(key);
        }
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
                Stage::Talking
                    if self.purpose == Purpose::Gather
                        && somebody_waits
                        && member.pending() >= QUEUE
                        && member.took + STALL <= now =>
                {
                    over.push(Event::Dropped(key));
                }
                Stage::Talking
                    if member.endpoint.datagrams().is_some() && member.heard + FORGOTTEN <= now =>
                {
                    over.push(Event::Left(key, Ok(())));
                }
                Stage::Handshaking { .. } | Stage::Talking => {}
            }
        }
        let any = !over.is_empty() || any_late;
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
        any
    }

    /// When [`Room::drive`] has to look at somebody whose time is running.
    pub fn next_sweep(&self, now: Instant) -> Option<Instant> {
        let layers = self.members.iter().filter_map(|(_, member)| member.endpoint.deadline());
        self.members
            .iter()
            .filter_map(|(_, member)| match member.stage {
                Stage::Handshaking { until } => Some(until),
                Stage::Parting { until } => Some(until.min(now + GLANCE)),
                Stage::Talking if member.pending() >= QUEUE => Some(member.took + STALL),
                Stage::Talking if member.endpoint.datagrams().is_some() => {
                    Some(member.heard + FORGOTTEN)
                }
                Stage::Talking => None,
            })
            .chain(layers)
            .min()
    }
}
