//! DTLS as a layer on a connected UDP socket, driven like TLS on a stream.

use super::{Arrival, Dtls, LIMIT};
use crate::net::buf::Buf;
use crate::net::endpoint::{Io, Moved, Ready};
use crate::net::tls::{Agreed, Failure};
use std::io::{self, Read, Write};
use std::time::Instant;

/// What a datagram from the socket holds at most.
const LARGEST: usize = 65_536;

/// A DTLS connection, with what its socket has last said.
pub struct Layer {
    dtls: Dtls,
    /// The last `write` was taken.
    room: bool,
    /// What went wrong behind the datagrams that are still to be read: first those, then this.
    broken: Option<io::Error>,
    /// The peer's machine has refused something. What the peer sent before may still be in the
    /// socket: all of it first, then this.
    refused: Option<io::Error>,
    /// The socket had nothing more when it was last asked.
    dry: bool,
    now: Instant,
    scratch: Vec<u8>,
}

impl Layer {
    /// Around one side of a connection.
    pub fn new(dtls: Dtls, now: Instant) -> Self {
        Self {
            dtls,
            room: true,
            broken: None,
            refused: None,
            dry: true,
            now,
            scratch: vec![0; LARGEST],
        }
    }

    /// What was agreed on; `None` until the handshake is over.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.dtls.agreed()
    }

    /// Is the handshake still under way?
    pub fn is_handshaking(&self) -> bool {
        self.dtls.agreed().is_none() && self.broken.is_none()
    }

    /// Has the caller still to show that it is where it says?
    pub fn is_unproven(&self) -> bool {
        self.dtls.is_unproven()
    }

    /// When [`Layer::tick`] has to be called although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.dtls.deadline()
    }

    /// It is so late: sends again what was not answered.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        if self.dtls.deadline().is_some_and(|deadline| deadline <= now) {
            let result = self.dtls.timeout(now);
            self.note(result);
        }
    }

    /// A datagram that did not come through the socket.
    pub fn feed(&mut self, datagram: &[u8]) {
        let result = self.dtls.arrived(datagram, self.now);
        self.note(result);
    }

    fn note(&mut self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.broken.get_or_insert(io::Error::other(failure));
        }
    }

    /// Notes an error of the socket that says something of the peer, and nothing of the socket.
    fn soften(&mut self, e: io::Error, ready: &Ready) -> io::Result<()> {
        use io::ErrorKind as K;
        if !matches!(e.kind(), K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable) {
            return Err(e);
        }
        self.refused.get_or_insert(e);
        self.dry = !ready.rx;
        Ok(())
    }

    pub(in crate::net) fn can_read(&self) -> bool {
        !self.is_handshaking() && (self.dtls.has_arrival() || self.has_failed())
    }

    pub(in crate::net) fn can_write(&self) -> bool {
        // Whoever writes has to hear what is wrong, and not to wait.
        !self.is_handshaking() && (self.room || self.has_failed())
    }

    /// Moves datagrams both ways until the socket blocks or DTLS wants nothing.
    pub(in crate::net) fn exchange(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        let mut any = false;
        loop {
            let moved = self.send(io, ready)? | self.receive(io, ready)?;
            any |= moved;
            if !moved {
                break;
            }
        }
        // In a handshake nobody reads, so nobody else would say what is wrong.
        if self.dtls.agreed().is_some() {
            return Ok(any);
        }
        self.failure().map_or(Ok(any), Err)
    }

    fn has_failed(&self) -> bool {
        self.broken.is_some() || (self.dry && self.refused.is_some())
    }

    fn failure(&mut self) -> Option<io::Error> {
        self.broken.take().or_else(|| self.refused.take_if(|_| self.dry))
    }

    fn send(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        let mut moved = false;
        while let (Some(datagram), true) = (self.dtls.next_out(), ready.tx) {
            match io.write(datagram) {
                Ok(_) => {
                    self.dtls.sent();
                    self.room = true;
                    moved = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.tx = false,
                Err(e) => {
                    // It says so of one before, mostly; this one is lost as datagrams are.
                    self.soften(e, ready)?;
                    self.dtls.sent();
                    moved = true;
                }
            }
        }
        Ok(moved)
    }

    fn receive(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        if !ready.rx || !self.dtls.has_room() {
            return Ok(false);
        }
        match io.read(&mut self.scratch) {
            Ok(n) => {
                let result = self.dtls.arrived(&self.scratch[..n], self.now);
                self.note(result);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                ready.rx = false;
                self.dry = true;
                Ok(false)
            }
            // Said once: the next call has what waits behind.
            Err(e) => self.soften(e, ready).map(|()| true),
        }
    }

    pub(in crate::net) fn read(&mut self, buf: &mut Buf) -> io::Result<Moved> {
        match self.dtls.next_in(buf) {
            Some(Arrival::Datagram(n)) => Ok(Moved::Bytes(n)),
            Some(Arrival::Closed) => Ok(Moved::Eof),
            None => self.failure().map_or(Ok(Moved::Blocked), Err),
        }
    }

    pub(in crate::net) fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        if !self.dtls.has_arrival()
            && let Some(e) = self.failure()
        {
            return Err(e);
        }
        if self.dtls.write(bytes).map_err(io::Error::other)? {
            return Ok(Moved::Bytes(bytes.len()));
        }
        self.room = false;
        Ok(Moved::Blocked)
    }

    pub(in crate::net) fn close(&mut self, io: &mut Io, ready: &mut Ready) -> io::Result<bool> {
        let closed = self.dtls.close();
        self.send(io, ready)?;
        Ok(closed && self.dtls.next_out().is_none())
    }

    /// The longest datagram.
    pub(in crate::net) fn limit(&self) -> usize {
        LIMIT
    }
}
