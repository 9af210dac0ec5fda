//! A TLS handshake that nothing else waits for.

use super::relay::peer_trouble;
use super::{Conversation, REMOTE, Status, Trouble};
use crate::net::endpoint::Endpoint;
use std::time::{Duration, Instant};

/// Shakes hands with one peer, in bounded time.
pub struct Handshake {
    peer: Endpoint,
    until: Instant,
    patience: Duration,
}

impl Handshake {
    /// `peer` has started TLS; it has time until then, which is the end of a `patience` that may
    /// have begun before.
    pub fn new(peer: Endpoint, until: Instant, patience: Duration) -> Self {
        Self { peer, until, patience }
    }

    /// The endpoint, when it is over.
    pub fn into_peer(self) -> Endpoint {
        self.peer
    }
}

impl Conversation for Handshake {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        (side == REMOTE).then_some(&mut self.peer)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        self.peer.tick(now);
        self.peer.turn().map_err(peer_trouble)?;
        if !self.peer.is_handshaking() {
            return Ok(Status::Finished);
        }
        if self.until <= now {
            return Err(Trouble::Late("the TLS handshake", self.patience));
        }
        Ok(Status::Waiting)
    }

    fn deadline(&self) -> Option<Instant> {
        self.peer.deadline().into_iter().chain([self.until]).min()
    }
}
