//! One direction of a conversation: source, carry, sink.

use super::tap::{Tap, Way};
use crate::net::buf::Buf;
use crate::net::endpoint::{DATAGRAM, Endpoint, Moved};
use crate::net::udp::Sizes;
use crate::sys::splice::{self, KernelPipe};
use std::io;
use std::time::{Duration, Instant};

/// Bytes that wait between source and sink at most. Measured on loopback: 16 KiB cost 1.6 times
/// the CPU of 64 KiB; 256 KiB gain nothing over those between sockets, and a half under TLS, where
/// more records go to the socket at once.
pub const CARRY: usize = 256 * 1024;

/// So much has gone through before a kernel pipe is made: a short session is not worth it.
const LONG: u64 = 64 * 1024;

/// The first bytes of a stream that are kept, to recognise a protocol by.
pub(super) const FIRST: usize = 5;

/// Where the bytes wait.
enum Carry {
    User(Buf),
    /// The bytes never enter this process.
    Kernel(KernelPipe),
    /// The same, and they wait nowhere: one end is a pipe already. How often in a row both ends
    /// seemed ready and nothing moved.
    Through(u32),
}

/// That often nothing may move through between ends that seem ready, before a buffer is taken.
const STUBBORN: u32 = 16;

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Both ends live.
    Open,
    /// The source ended; the carry may still hold bytes for the sink.
    Draining,
    /// The sink has been told; nothing more will move.
    Done,
}

/// Why pumping stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing can move until the kernel says so.
    Idle,
    /// The budget ran out first: call again without waiting.
    More,
}

/// Which end failed.
#[derive(Debug)]
pub enum Broken {
    /// Reading.
    Source(io::Error),
    /// Writing.
    Sink(io::Error),
}

/// What the sink is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// It gets every byte, and is told of the end.
    Told,
    /// It gets every byte, and is left open (`--no-shutdown`).
    LeftOpen,
    /// It gets nothing: the bytes are read and dropped.
    Nothing,
}

/// One direction.
pub struct Pipe {
    carry: Carry,
    flow: Flow,
    sink: Sink,
    /// A kernel pipe may still be tried.
    may_splice: bool,
    /// So many reads are still wanted, if there is a limit.
    packets: Option<u64>,
    /// What came is held back so long (`-d`), and until then.
    delay: Option<Duration>,
    held_until: Option<Instant>,
    /// The datagrams that wait, for a sink that sends such.
    sizes: Sizes,
    first: [u8; FIRST],
    taken: u64,
    given: u64,
}

impl Pipe {
    /// `early` is what an earlier stage read and did not eat; it goes first. `blind` says that
    /// nobody needs to see the bytes.
    pub fn new(early: Buf, sink: Sink, blind: bool) -> Self {
        let may_splice = blind && sink != Sink::Nothing;
        let taken = early.bytes().len() as u64;
        let mut pipe = Self {
            carry: Carry::User(early),
            flow: Flow::Open,
            sink,
            may_splice,
            packets: None,
            delay: None,
            held_until: None,
            sizes: Sizes::default(),
            first: [0; FIRST],
            taken: 0,
            given: 0,
        };
        pipe.remember(0);
        pipe.taken = taken;
        pipe
    }

    /// Holds each chunk back for a while.
    #[must_use]
    pub fn delayed(mut self, delay: Option<Duration>) -> Self {
        self.may_splice &= delay.is_none();
        self.delay = delay;
        self
    }

    /// Ends after so many reads.
    #[must_use]
    pub fn limited(mut self, packets: Option<u64>) -> Self {
        self.may_splice &= packets.is_none();
        self.packets = packets;
        self
    }

    /// When a chunk that is held back may go on.
    pub fn deadline(&self) -> Option<Instant> {
        self.held_until
    }

    /// A direction in which nothing flows.
    pub fn closed() -> Self {
        let mut pipe = Self::new(Buf::new(0), Sink::LeftOpen, false);
        pipe.flow = Flow::Done;
        pipe
    }

    /// Appends bytes that did not come through the source.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Carry::User(buf) = &mut self.carry {
            let before = buf.bytes().len();
            let n = buf.append(bytes);
            self.remember(before);
            self.taken += n as u64;
        }
    }

    /// How far it has come.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Bytes that came from the source.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes that went to the sink.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The first bytes that flowed, at most five.
    pub fn first(&self) -> &[u8] {
        &self.first[..FIRST.min(usize::try_from(self.taken).unwrap_or(FIRST))]
    }

    /// Does it hold nothing for the sink?
    pub fn is_empty(&self) -> bool {
        match &self.carry {
            Carry::User(buf) => buf.is_empty() && self.sizes.is_empty(),
            Carry::Kernel(pipe) => pipe.held() == 0,
            Carry::Through(_) => true,
        }
    }

    /// Does nothing wait, here or ready at the source? After a round that moved nothing.
    pub fn is_silent(&self, from: &Endpoint) -> bool {
        let asked = match &self.carry {
            // A buffer that is empty has asked the source.
            Carry::User(_) | Carry::Kernel(_) => true,
            // Here a sink that takes nothing leaves everything where it is.
            Carry::Through(_) => self.flow != Flow::Open || !from.can_read(),
        };
        self.is_empty() && asked
    }

    /// Do the bytes pass outside this process?
    pub fn is_spliced(&self) -> bool {
        matches!(self.carry, Carry::Kernel(_) | Carry::Through(_))
    }

    /// The source has failed: what is held still goes to the sink.
    pub fn end_source(&mut self) {
        if self.flow == Flow::Open {
            self.flow = Flow::Draining;
        }
    }

    /// The sink has failed: nothing more is read for it.
    pub fn abandon(&mut self) {
        self.flow = Flow::Done;
        self.carry = Carry::User(Buf::new(0));
        self.sizes = Sizes::default();
    }

    /// Moves what can be moved, about `budget` bytes at most.
    ///
    /// # Errors
    /// Which end failed; after a [`Broken::Source`] what is held can still be pumped.
    pub fn pump(
        &mut self,
        from: &mut Endpoint,
        to: &mut Endpoint,
        (tap, way): (&mut Tap, Way),
        budget: usize,
        now: Instant,
    ) -> Result<Turn, Broken> {
        let mut spent = 0;
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        loop {
            let mut progress = false;
            self.go_blind(from, to);
            let held = self.held_until.is_some();
            if self.flow == Flow::Open && !held && from.can_read() && self.has_room(from, to) {
                let moved = match self.carry {
                    Carry::Through(_) => self.pass(from, to)?,
                    Carry::User(_) | Carry::Kernel(_) => {
                        self.fill(from, to, tap, way).map_err(Broken::Source)?
                    }
                };
                let is_datagram = from.datagrams().is_some() || to.datagrams().is_some();
                match moved {
                    Moved::Bytes(n) => {
                        spent += n;
                        self.taken += n as u64;
                        self.held_until = self.delay.map(|delay| now + delay);
                        if let Some(left) = &mut self.packets {
                            *left = left.saturating_sub(1);
                            if *left == 0 {
                                self.flow = Flow::Draining;
                            }
                        }
                        progress = true;
                        // One write for as many as have come.
                        if is_datagram && n > 0 && self.held_until.is_none() && spent < budget {
                            continue;
                        }
                    }
                    Moved::Eof => {
                        self.flow = Flow::Draining;
                        progress = true;
                    }
                    Moved::Blocked => {}
                }
            }
            if self.flow != Flow::Done
                && !self.is_empty()
                && self.held_until.is_none()
                && (self.sink == Sink::Nothing || to.can_write())
                && let Moved::Bytes(n) = self.drain(to).map_err(Broken::Sink)?
            {
                self.given += n as u64;
                progress = true;
            }
            // Emptying one layer may have made room in the next; no event will say so.
            progress |= from.turn().map_err(Broken::Source)?;
            progress |= to.turn().map_err(Broken::Sink)?;
            if self.flow == Flow::Draining && self.is_empty() {
                let told = self.sink != Sink::Told || to.close_write().map_err(Broken::Sink)?;
                if told {
                    self.flow = Flow::Done;
                }
            }
            if !progress {
                return Ok(Turn::Idle);
            }
            if spent >= budget {
                return Ok(Turn::More);
            }
        }
    }

    /// Swaps the empty buffer for a kernel pipe once a buffer's worth has gone through: a short
    /// session is not worth the pipe.
    fn go_blind(&mut self, from: &mut Endpoint, to: &Endpoint) {
        if !self.is_due() || !self.is_empty() {
            return;
        }
        self.may_splice = false; // one try, successful or not
        // Pipes are made wide: between those of 64 KiB nothing is gained, and where bytes have to
        // be seen, more of them come at once.
        let is_piped = from.widen_rx() | to.widen_tx();
        from.gather();
        if from.raw_rx().is_none() || to.raw_tx().is_none() {
            return;
        }
        if is_piped {
            self.carry = Carry::Through(0);
        } else if let Ok(pipe) = KernelPipe::new() {
            self.carry = Carry::Kernel(pipe);
        }
    }

    /// Is it time for a kernel pipe?
    fn is_due(&self) -> bool {
        self.may_splice && self.given >= LONG
    }

    fn has_room(&self, from: &Endpoint, to: &Endpoint) -> bool {
        match &self.carry {
            // A sink that is slower than its source would never see the buffer empty.
            Carry::User(_) if self.is_due() => self.is_empty(),
            // One read is one datagram, whole, whichever side has them; as many as go at once wait.
            Carry::User(buf) if to.datagrams().is_some() => {
                // Each is held back for itself.
                let may_gather = self.delay.is_none() && !self.sizes.is_full();
                self.is_empty() || may_gather && buf.free() >= DATAGRAM
            }
            // In a stream datagrams are bytes like any other, as long as each comes whole.
            Carry::User(buf) if from.datagrams().is_some() => buf.free() >= DATAGRAM,
            Carry::User(buf) => !buf.is_full(),
            Carry::Kernel(pipe) => pipe.held() == 0,
            Carry::Through(_) => to.can_write(),
        }
    }

    /// Straight from one end to the other.
    fn pass(&mut self, from: &mut Endpoint, to: &mut Endpoint) -> Result<Moved, Broken> {
        let (Some(source), Some(sink)) = (from.raw_rx(), to.raw_tx()) else {
            return Ok(self.go_seeing());
        };
        match splice::through(source, sink) {
            Ok(0) => Ok(Moved::Eof),
            Ok(n) => {
                self.given += n as u64;
                self.carry = Carry::Through(0);
                Ok(Moved::Bytes(n))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                match splice::ready(source, sink).map_err(Broken::Source)? {
                    // Something has come, or gone, in between; or it only seems so.
                    (true, true) => {
                        let Carry::Through(times) = &mut self.carry else {
                            return Ok(Moved::Blocked);
                        };
                        *times += 1;
                        if *times == STUBBORN { Ok(self.go_seeing()) } else { Ok(Moved::Bytes(0)) }
                    }
                    (has, takes) => {
                        if !has {
                            from.rx_blocked();
                        }
                        if !takes {
                            to.tx_blocked();
                        }
                        Ok(Moved::Blocked)
                    }
                }
            }
            // These two cannot be spliced; nothing has moved, so nothing is lost.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(self.go_seeing()),
            // A pipe is read without fail, and says that nobody reads it in its own words.
            Err(e) if to.widen_tx() && e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Broken::Source(e))
            }
            Err(e) => Err(Broken::Sink(e)),
        }
    }

    fn fill(
        &mut self,
        from: &mut Endpoint,
        to: &Endpoint,
        tap: &mut Tap,
        way: Way,
    ) -> io::Result<Moved> {
        let pipe = match &mut self.carry {
            // Nothing is filled: it passes.
            Carry::Through(_) => return Ok(Moved::Blocked),
            Carry::User(buf) => {
                let before = buf.bytes().len();
                let moved = match to.datagrams() {
                    Some(most) if self.sink != Sink::Nothing => {
                        // What came before the source was one is one.
                        self.sizes.cover(before);
                        from.read_datagrams(buf, &mut self.sizes, most)?
                    }
                    Some(_) | None => from.read(buf)?,
                };
                tap.record(way, &buf.bytes()[before..]);
                self.remember(before);
                return Ok(moved);
            }
            Carry::Kernel(pipe) => pipe,
        };
        let Some(source) = from.raw_rx() else { return Ok(self.go_seeing()) };
        match pipe.fill(source) {
            Ok(0) => Ok(Moved::Eof),
            Ok(n) => Ok(Moved::Bytes(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                from.rx_blocked();
                Ok(Moved::Blocked)
            }
            // This source cannot be spliced. Nothing has moved yet, so nothing is lost.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(self.go_seeing()),
            Err(e) => Err(e),
        }
    }

    fn go_seeing(&mut self) -> Moved {
        self.carry = Carry::User(Buf::new(CARRY));
        Moved::Bytes(0)
    }

    fn drain(&mut self, to: &mut Endpoint) -> io::Result<Moved> {
        let pipe = match &mut self.carry {
            Carry::User(buf) if self.sink == Sink::Nothing => {
                let n = buf.bytes().len();
                buf.consume(n);
                return Ok(Moved::Bytes(n));
            }
            Carry::User(buf) if to.datagrams().is_some() => {
                self.sizes.cover(buf.bytes().len());
                let Some(count) = to.write_datagrams(buf.bytes(), &self.sizes)? else {
                    return Ok(Moved::Blocked);
                };
                let n = self.sizes.pop(count);
                buf.consume(n);
                return Ok(Moved::Bytes(n));
            }
            Carry::User(buf) => {
                let moved = to.write(buf.bytes())?;
                if let Moved::Bytes(n) = moved {
                    buf.consume(n);
                }
                return Ok(moved);
            }
            Carry::Kernel(pipe) => pipe,
            Carry::Through(_) => return Ok(Moved::Bytes(0)),
        };
        let drained = match to.raw_tx() {
            Some(sink) => pipe.drain(sink),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        match drained {
            Ok(n) => Ok(Moved::Bytes(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                to.tx_blocked();
                Ok(Moved::Blocked)
            }
            // This sink cannot be spliced into. The bytes are ours already, so take them back.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                let mut buf = Buf::new(pipe.held().max(CARRY));
                while pipe.held() > 0 {
                    let n = pipe.rescue(buf.space())?;
                    buf.filled(n);
                }
                self.carry = Carry::User(buf);
                Ok(Moved::Bytes(0))
            }
            Err(e) => Err(e),
        }
    }

    /// Keeps the first bytes: those of the buffer from `before` on are new.
    fn remember(&mut self, before: usize) {
        let Carry::User(buf) = &self.carry else { return };
        let known = usize::try_from(self.taken).unwrap_or(FIRST);
        if known < FIRST {
            let new = &buf.bytes()[before..];
            let n = new.len().min(FIRST - known);
            self.first[known..known + n].copy_from_slice(&new[..n]);
        }
    }
}
