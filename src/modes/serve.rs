//! Callers who are served one by one, each by a command of its own (`-e`, `-c`).

use super::door::{Hall, complain};
use super::talk::{self, Scene, Session};
use crate::engine::farewell::Farewell;
use crate::engine::handshake::Handshake;
use crate::engine::manners::{Manners, Receive, UserEnd};
use crate::engine::pool::{Ended, Pool};
use crate::engine::reactor::Reactor;
use crate::engine::service::{Service, Translation};
use crate::engine::tap::Tap;
use crate::engine::{Conversation, REMOTE, Status, Trouble, register_sides};
use crate::error::{Error, Exit, words};
use crate::net::bind::Caller;
use crate::net::buf::Buf;
use crate::net::child::{Program, Surroundings, ending};
use crate::net::endpoint::Endpoint;
use crate::report::Report;
use mio::Registry;
use mio::event::Event;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Datagrams that are kept for a command that is not there yet.
const MOST_EARLY: usize = 64;

/// How long commands get to end when we are told to.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const GLANCE: Duration = Duration::from_millis(5);

/// How each caller is served.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) program: Program,
    pub(super) manners: Manners,
    pub(super) translation: Translation,
    /// What a TLS handshake may take.
    pub(super) handshake: Duration,
}

impl Serving {
    pub(super) fn of(program: &Program, session: &Session, handshake: Duration) -> Self {
        Self {
            program: program.clone(),
            // A command hears its peer, and is not cut off by the end of an input that it has not.
            manners: Manners {
                receive: Receive::Deliver,
                user_end: UserEnd::Wait,
                ..session.manners.clone()
            },
            translation: Translation { crlf: session.crlf, telnet: session.telnet },
            handshake,
        }
    }
}

enum Phase {
    Handshake(Handshake),
    Talk(Box<Service>),
    /// The rest of what was said is on its way.
    Parting(Farewell),
    /// Between two phases.
    Nowhere,
}

/// One peer, from its handshake to its farewell.
pub(super) struct Guest<'a> {
    phase: Phase,
    serving: &'a Serving,
    tap: Option<Tap>,
    name: String,
    report: &'a Report,
    /// How the service ended, while the farewell lasts.
    how: Result<(), Trouble>,
    /// The command could not be started, and why.
    failed: Option<Error>,
    totals: (u64, u64),
    /// Datagrams that came before there was a command to hear them.
    early: VecDeque<Vec<u8>>,
}

impl<'a> Guest<'a> {
    pub(super) fn new(
        endpoint: Endpoint,
        name: String,
        serving: &'a Serving,
        tap: Tap,
        report: &'a Report,
        now: Instant,
    ) -> Self {
        let handshake = Handshake::new(endpoint, now + serving.handshake, serving.handshake);
        Self {
            phase: Phase::Handshake(handshake),
            serving,
            tap: Some(tap),
            name,
            report,
            how: Ok(()),
            failed: None,
            totals: (0, 0),
            early: VecDeque::new(),
        }
    }

    /// The datagram it came with.
    fn starting_with(mut self, first: Option<Vec<u8>>) -> Self {
        self.early.extend(first);
        self
    }

    /// Does its command run?
    fn runs(&mut self) -> bool {
        match &mut self.phase {
            Phase::Talk(service) => !service.has_gone(),
            Phase::Handshake(_) | Phase::Parting(_) | Phase::Nowhere => false,
        }
    }

    /// Bytes sent to the peer and received from it.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// Why the command could not be started.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    /// Asks the command to end; true if there is one.
    pub(super) fn dismiss(&mut self) -> bool {
        let runs = self.runs();
        if let Phase::Talk(service) = &mut self.phase {
            service.dismiss();
        }
        runs
    }

    fn serve(&mut self, endpoint: Endpoint, now: Instant) {
        let around = Surroundings { parts: endpoint.parts(), protocol: endpoint.protocol() };
        let Serving { program, manners, translation, .. } = self.serving;
        let tap = self.tap.take().unwrap_or_default();
        self.phase = match program.start(&around, !manners.send) {
            Ok((child, pipes)) => {
                let manners = manners.clone();
                let mut service = Service::new(child, pipes, endpoint, *translation, manners, tap);
                for datagram in self.early.drain(..) {
                    service.hear(&datagram);
                }
                Phase::Talk(Box::new(service))
            }
            Err(e) => {
                let error = Error::machine(format!("cannot run {program}: {}", words(&e)));
                self.failed = Some(match (e.kind(), program) {
                    (io::ErrorKind::NotFound, Program::Direct(_)) => {
                        error.hint("-e wants the whole path of a program; -c asks the shell")
                    }
                    _ => error,
                });
                Phase::Parting(Farewell::new(endpoint, now))
            }
        };
    }

    fn part(&mut self, service: Service, how: Result<(), Trouble>, now: Instant) {
        self.totals = service.totals();
        let mut service = service;
        if let Some(status) = service.status() {
            self.report.story(format_args!(
                "the command for {} has ended: {}",
                self.name,
                ending(status)
            ));
        }
        let (endpoint, tap) = service.into_parts();
        self.tap = Some(tap);
        self.how = how;
        self.phase = Phase::Parting(Farewell::new(endpoint, now));
    }
}

impl Conversation for Guest<'_> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.endpoint(side),
            Phase::Talk(service) => service.endpoint(side),
            Phase::Parting(farewell) => farewell.endpoint(side),
            Phase::Nowhere => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        match &mut self.phase {
            Phase::Talk(service) => service.register(registry, key),
            Phase::Handshake(_) | Phase::Parting(_) | Phase::Nowhere => {
                register_sides(self, &[REMOTE], registry, key)
            }
        }
    }

    fn mark(&mut self, side: usize, event: &Event) {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.mark(side, event),
            Phase::Talk(service) => service.mark(side, event),
            Phase::Parting(farewell) => farewell.mark(side, event),
            Phase::Nowhere => {}
        }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Handshake(mut handshake) => match handshake.drive(now)? {
                    Status::Finished => {
                        self.report.story(format_args!("Connection from {}.", self.name));
                        self.serve(handshake.into_peer(), now);
                    }
                    status @ (Status::Waiting | Status::Runnable) => {
                        self.phase = Phase::Handshake(handshake);
                        return Ok(status);
                    }
                },
                Phase::Talk(mut service) => match service.drive(now) {
                    Ok(status @ (Status::Waiting | Status::Runnable)) => {
                        self.phase = Phase::Talk(service);
                        return Ok(status);
                    }
                    Ok(Status::Finished) => self.part(*service, Ok(()), now),
                    Err(trouble) => self.part(*service, Err(trouble), now),
                },
                Phase::Parting(mut farewell) => {
                    let status = farewell.drive(now)?;
                    self.phase = Phase::Parting(farewell);
                    if status == Status::Finished {
                        std::mem::replace(&mut self.how, Ok(()))?;
                    }
                    return Ok(status);
                }
                Phase::Nowhere => return Ok(Status::Finished),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.deadline(),
            Phase::Talk(service) => service.deadline(),
            Phase::Parting(farewell) => farewell.deadline(),
            Phase::Nowhere => None,
        }
    }
}

/// Serves one peer with a command, to the end of both.
///
/// # Errors
/// A command that cannot be started, or what ended the conversation.
pub(super) fn one(
    scene: Scene<'_>,
    program: &Program,
    handshake: Duration,
    endpoint: Endpoint,
    early: Option<Buf>,
    tap: Tap,
) -> Result<Exit, Error> {
    let Scene { reactor, signals, session, peer, report } = scene;
    let serving = Serving::of(program, session, handshake);
    let start = reactor.now();
    let guest = Guest::new(endpoint, peer.name.to_owned(), &serving, tap, report, start);
    let mut guest = guest.starting_with(early.map(|early| early.bytes().to_vec()));
    let result = crate::engine::run(reactor, &mut guest, signals);
    if let Some(error) = guest.failure() {
        return Err(error);
    }
    if guest.dismiss() {
        wait_while(reactor, || guest.runs())?;
    }
    let result = match result {
        Ok(()) => {
            talk::report_totals(report, guest.totals(), start, reactor.now());
            Ok(Exit::DONE)
        }
        Err(trouble) => talk::explain(trouble, peer),
    };
    talk::with_log(result, guest.tap.as_ref().unwrap_or(&Tap::default()), report)
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

impl Visitor for Guest<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn sent_and_received(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    fn push(&mut self, datagram: Vec<u8>) {
        if self.endpoint(REMOTE).is_some_and(|endpoint| endpoint.feed(&datagram)) {
            return;
        }
        if let Phase::Talk(service) = &mut self.phase {
            service.hear(&datagram);
        } else if self.early.len() < MOST_EARLY {
            self.early.push_back(datagram);
        }
    }

    fn dismiss(&mut self) -> bool {
        Guest::dismiss(self)
    }

    fn runs(&mut self) -> bool {
        Guest::runs(self)
    }
}

/// Somebody who is served on its own.
pub(super) trait Visitor: Conversation {
    /// Where it calls from.
    fn name(&self) -> &str;

    /// Bytes, for the story.
    fn sent_and_received(&self) -> (u64, u64);

    /// What was our fault, for everybody to see.
    fn failure(&mut self) -> Option<Error> {
        None
    }

    /// One more datagram that went past its own socket.
    fn push(&mut self, _: Vec<u8>) {}

    /// Asks what runs for it to end; true if there is something.
    fn dismiss(&mut self) -> bool {
        false
    }

    /// Does it still run?
    fn runs(&mut self) -> bool {
        false
    }
}

/// Makes a visitor of a caller.
pub(super) type Welcome<'a, V> =
    Box<dyn FnMut(Endpoint, &Caller, Option<Vec<u8>>, Instant) -> V + 'a>;

/// All visitors of a server, each on its own.
pub(super) struct Guests<'a, V> {
    pool: Pool<V>,
    welcome: Welcome<'a, V>,
    report: &'a Report,
    first_key: usize,
    /// Is there one caller only, whose fate is ours?
    remembers: bool,
    last: Option<Error>,
}

/// Those who are served by a command.
pub(super) fn commands<'a>(
    serving: &'a Serving,
    tap: Tap,
    report: &'a Report,
) -> Welcome<'a, Guest<'a>> {
    Box::new(move |endpoint, caller, first, now| {
        // A log that cannot be shared is none: the conversation goes on.
        let tap = tap.share().unwrap_or_default();
        let guest = Guest::new(endpoint, caller.to_string(), serving, tap, report, now);
        guest.starting_with(first)
    })
}

impl<'a, V: Visitor> Guests<'a, V> {
    pub(super) fn new(welcome: Welcome<'a, V>, report: &'a Report, first_key: usize) -> Self {
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
            if let Some(error) = talk.failure() {
                match self.remembers {
                    true => self.last = Some(error),
                    false => self.report.error(&error),
                }
            }
            let (sent, received) = talk.sent_and_received();
            let name = talk.name();
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
        self.pool.each().fold(false, |any, visitor| visitor.dismiss() | any)
    }

    /// Does something still run?
    pub(super) fn any_runs(&mut self) -> bool {
        self.pool.each().any(Visitor::runs)
    }
}

impl<V: Visitor> Hall for Guests<'_, V> {
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
