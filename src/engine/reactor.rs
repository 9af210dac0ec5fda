//! The one place that waits, and the one place that reads the clock.

use mio::event::Event;
use mio::{Events, Poll, Registry, Token};
use std::io;
use std::time::{Duration, Instant};

/// Who a wake-up is for: a conversation, and an endpoint inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The conversation; 0 is the house itself (listeners, signals).
    pub key: usize,
    /// The endpoint inside it.
    pub side: usize,
}

const SIDE_BITS: u32 = usize::BITS / 2;

impl From<Address> for Token {
    fn from(a: Address) -> Token {
        debug_assert!(a.key < 1 << SIDE_BITS && a.side < 1 << SIDE_BITS);
        Token(a.key << SIDE_BITS | a.side)
    }
}

impl From<Token> for Address {
    fn from(t: Token) -> Address {
        Address { key: t.0 >> SIDE_BITS, side: t.0 & ((1 << SIDE_BITS) - 1) }
    }
}

/// epoll_wait counts milliseconds in an int: past 24 days it would overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The event loop as a library: who uses it decides what an event means.
pub struct Reactor {
    poll: Poll,
    events: Events,
    now: Instant,
}

impl Reactor {
    /// A loop with nothing in it.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    #[allow(clippy::disallowed_methods)] // the clock is read here and in `wait`, and nowhere else
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(256), now: Instant::now() })
    }

    /// Where sources are registered.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// The time of the last wake-up.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sleeps until something can move, `until` at the longest (not at all if `busy`), then hands
    /// out what happened.
    ///
    /// # Errors
    /// Those of epoll_wait(2); a signal is none.
    #[allow(clippy::disallowed_methods)]
    pub fn wait(
        &mut self,
        busy: bool,
        until: Option<Instant>,
        mut happened: impl FnMut(Address, &Event),
    ) -> io::Result<()> {
        let wait = match until {
            _ if busy => Some(Duration::ZERO),
            // mio rounds up to a millisecond, so a wake-up is never early.
            Some(when) => Some(when.saturating_duration_since(self.now).min(LONGEST_WAIT)),
            None => None,
        };
        match self.poll.poll(&mut self.events, wait) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        self.now = Instant::now();
        for event in &self.events {
            happened(event.token().into(), event);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_being_a_token() {
        for address in [Address { key: 0, side: 0 }, Address { key: 70_000, side: 3 }] {
            assert_eq!(Address::from(Token::from(address)), address);
        }
    }
}
