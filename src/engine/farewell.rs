//! Leaving a peer that has not ended yet, so that it gets everything we sent.
//!
//! A close with unread bytes in our receive queue sends a reset, and a reset makes the peer drop
//! what it has not read yet. So: say that we are done, read and drop what still comes, and go when
//! the peer has ended or its kernel has confirmed all of ours.

use super::{Conversation, REMOTE, Status, Trouble};
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use std::time::{Duration, Instant};

/// The longest a farewell may take.
const LONGEST: Duration = Duration::from_secs(5);

/// How often the kernel is asked whether the peer's kernel has everything: no event says so.
const GLANCE: Duration = Duration::from_millis(5);

/// What is dropped in one piece.
const SCRAP: usize = 16 * 1024;

/// A peer that is being left.
pub struct Farewell {
    peer: Endpoint,
    until: Instant,
    next_glance: Instant,
    scrap: Buf,
    told: bool,
}

impl Farewell {
    /// From `now` on it goes quickly.
    pub fn new(peer: Endpoint, now: Instant) -> Self {
        Self { peer, until: now + LONGEST, next_glance: now, scrap: Buf::new(SCRAP), told: false }
    }

    /// One round: true when there is nothing to wait for any more.
    fn is_over(&mut self) -> bool {
        // Whatever fails now, nobody is left to be told.
        if self.peer.turn().is_err() {
            return true;
        }
        if !self.told {
            match self.peer.close_write() {
                Ok(told) => {
                    self.told = told;
                    self.peer.close_read();
                }
                Err(_) => return true,
            }
        }
        while self.peer.can_read() {
            match self.peer.read(&mut self.scrap) {
                Ok(Moved::Bytes(n)) => self.scrap.consume(n),
                Ok(Moved::Blocked) => break,
                Ok(Moved::Eof) | Err(_) => return self.told,
            }
            if self.peer.turn().is_err() {
                return true;
            }
        }
        self.told && self.peer.unacknowledged().is_none_or(|bytes| bytes == 0)
    }
}

impl Conversation for Farewell {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        (side == REMOTE).then_some(&mut self.peer)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        self.peer.tick(now);
        if self.is_over() || self.until <= now {
            return Ok(Status::Finished);
        }
        self.next_glance = now + GLANCE;
        Ok(Status::Waiting)
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.until.min(self.next_glance))
    }
}
