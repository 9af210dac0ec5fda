//! All callers of a server, each on its own.

use super::door::{Hall, complain};
use super::talk;
use super::visit::{Business, Visit};
use crate::engine::Conversation;
use crate::engine::pool::{Ended, Pool};
use crate::engine::reactor::Reactor;
use crate::error::{Error, Exit, words};
use crate::net::bind::Caller;
use crate::net::endpoint::Endpoint;
use crate::report::Report;
use mio::Registry;
use mio::event::Event;
use std::io;
use std::time::{Duration, Instant};

/// How long commands get to end when we are told to.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const GLANCE: Duration = Duration::from_millis(5);

/// Makes a visit of a caller.
pub(super) type Welcome<'a, B> =
    Box<dyn FnMut(Endpoint, &Caller, Option<Vec<u8>>, Instant) -> Visit<B> + 'a>;

/// The callers.
pub(super) struct Guests<'a, B> {
    pool: Pool<Visit<B>>,
    welcome: Welcome<'a, B>,
    report: &'a Report,
    first_key: usize,
    /// Is there one caller only, whose fate is ours?
    remembers: bool,
    last: Option<Error>,
}

impl<'a, B: Business> Guests<'a, B> {
    pub(super) fn new(welcome: Welcome<'a, B>, report: &'a Report, first_key: usize) -> Self {
        let pool = Pool::new(first_key);
        Self { pool, welcome, report, first_key, remembers: false, last: None }
    }

    /// There is one caller only: what goes wrong with it is what goes wrong.
    pub(super) fn remembering(self) -> Self {
        Self { remembers: true, ..self }
    }

    /// How it went with the one caller.
    ///
    /// # Errors
    /// Not well.
    pub(super) fn verdict(self) -> Result<Exit, Error> {
        self.last.map_or(Ok(Exit::DONE), Err)
    }

    /// Gives everybody a turn; true if some want another at once. Those who are gone are named.
    pub(super) fn drive(&mut self, now: Instant, registry: &Registry) -> (Vec<usize>, bool) {
        let (over, busy) = self.pool.drive(now, registry);
        let mut gone = Vec::new();
        for Ended { key, mut talk, how } in over {
            let visitor = talk.business();
            if let Some(error) = visitor.failure() {
                match self.remembers {
                    true => self.last = Some(error),
                    false => self.report.error(&error),
                }
            }
            let (sent, received) = visitor.totals();
            let name = visitor.name();
            match how {
                Ok(()) => self.report.story(format_args!(
                    "{name} has left: {sent} bytes sent, {received} bytes received"
                )),
                Err(trouble) if self.remembers => {
                    let peer = talk::Peer { name, role: talk::Role::Server };
                    self.last = talk::explain(trouble, peer).err();
                }
                Err(trouble) => complain(trouble, name, self.report),
            }
            gone.push(key);
        }
        (gone, busy)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pool.deadline()
    }

    pub(super) fn mark(&mut self, at: crate::engine::reactor::Address, event: &Event) {
        self.pool.mark(at, event);
    }

    /// Asks everything that runs to end; true if there was something.
    pub(super) fn dismiss(&mut self) -> bool {
        self.pool.each().fold(false, |any, visit| visit.business().dismiss() | any)
    }

    /// Does something still run?
    pub(super) fn any_runs(&mut self) -> bool {
        self.pool.each().any(|visit| visit.business().runs())
    }
}

impl<B: Business> Hall for Guests<'_, B> {
    fn len(&self) -> usize {
        self.pool.len()
    }

    fn join(
        &mut self,
        endpoint: Endpoint,
        caller: &Caller,
        first: Option<Vec<u8>>,
        now: Instant,
    ) -> usize {
        self.pool.join((self.welcome)(endpoint, caller, first, now))
    }

    fn more(&mut self, key: usize, datagram: Vec<u8>) {
        if let Some(visitor) = self.pool.get(key) {
            visitor.push(datagram);
            self.pool.wake(key);
        }
    }

    fn register(&mut self, key: usize, registry: &Registry) -> io::Result<()> {
        let token_key = self.first_key + key;
        self.pool.get(key).map_or(Ok(()), |visitor| visitor.register(registry, token_key))
    }
}

/// Commands have been asked to end: gives them a moment. What is left is made to end by its drop.
pub(super) fn wait_while(
    reactor: &mut Reactor,
    mut runs: impl FnMut() -> bool,
) -> Result<(), Error> {
    let until = reactor.now() + GRACE;
    while runs() && reactor.now() < until {
        let glance = reactor.now() + GLANCE;
        reactor
            .wait(false, Some(glance), |_, _| {})
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))?;
    }
    Ok(())
}
