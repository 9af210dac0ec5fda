//! Callers who are served one by one, each by a command of its own (`-e`, `-c`).

use super::guests::{Welcome, wait_while};
use super::talk::{self, Scene, Session};
use super::visit::{Business, Turn, Visit};
use crate::engine::manners::{Manners, Receive, UserEnd};
use crate::engine::service::{Service, Translation};
use crate::engine::tap::Tap;
use crate::engine::{Conversation, Status, Trouble};
use crate::error::{Error, Exit, words};
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

/// One peer who is served by a command.
pub(super) struct Guest<'a> {
    service: Option<Box<Service>>,
    serving: &'a Serving,
    tap: Option<Tap>,
    name: String,
    report: &'a Report,
    /// The command could not be started, and why.
    failed: Option<Error>,
    totals: (u64, u64),
    /// Datagrams that came before there was a command to hear them.
    early: VecDeque<Vec<u8>>,
}

impl<'a> Guest<'a> {
    /// `first` is the datagram it came with.
    fn visit(
        endpoint: Endpoint,
        name: String,
        first: Option<Vec<u8>>,
        serving: &'a Serving,
        tap: Tap,
        report: &'a Report,
    ) -> Visit<Self> {
        let guest = Self {
            service: None,
            serving,
            tap: Some(tap),
            name,
            report,
            failed: None,
            totals: (0, 0),
            early: first.into_iter().collect(),
        };
        Visit::new(endpoint, serving.handshake, guest)
    }

    fn part(&mut self, mut service: Service, how: Result<(), Trouble>) -> Turn {
        self.totals = service.totals();
        if let Some(status) = service.status() {
            self.report.story(format_args!(
                "the command for {} has ended: {}",
                self.name,
                ending(status)
            ));
        }
        let (endpoint, tap) = service.into_parts();
        self.tap = Some(tap);
        Turn::Part(endpoint, how)
    }
}

impl Business for Guest<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, peer: Endpoint, _: Instant) -> Turn {
        self.report.story(format_args!("Connection from {}.", self.name));
        let around = Surroundings { parts: peer.parts(), protocol: peer.protocol() };
        let Serving { program, manners, translation, .. } = self.serving;
        match program.start(&around, !manners.send) {
            Ok((child, pipes)) => {
                let (tap, manners) = (self.tap.take().unwrap_or_default(), manners.clone());
                let mut service = Service::new(child, pipes, peer, *translation, manners, tap);
                for datagram in self.early.drain(..) {
                    service.hear(&datagram);
                }
                self.service = Some(Box::new(service));
                Turn::Runnable
            }
            Err(e) => {
                let error = Error::machine(format!("cannot run {program}: {}", words(&e)));
                self.failed = Some(match (e.kind(), program) {
                    (io::ErrorKind::NotFound, Program::Direct(_)) => {
                        error.hint("-e wants the whole path of a program; -c asks the shell")
                    }
                    _ => error,
                });
                Turn::Part(peer, Ok(()))
            }
        }
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        self.service.as_mut()?.endpoint(side)
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        self.service.as_mut().map_or(Ok(()), |service| service.register(registry, key))
    }

    fn mark(&mut self, side: usize, event: &Event) {
        if let Some(service) = &mut self.service {
            service.mark(side, event);
        }
    }

    fn drive(&mut self, now: Instant) -> Turn {
        let Some(mut service) = self.service.take() else { return Turn::Gone };
        match service.drive(now) {
            Ok(status @ (Status::Waiting | Status::Runnable)) => {
                self.service = Some(service);
                Turn::rest(status)
            }
            Ok(Status::Finished) => self.part(*service, Ok(())),
            Err(trouble) => self.part(*service, Err(trouble)),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.service.as_ref().and_then(|service| service.deadline())
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    fn push(&mut self, datagram: Vec<u8>) {
        if let Some(service) = &mut self.service {
            service.hear(&datagram);
        } else if self.early.len() < MOST_EARLY {
            self.early.push_back(datagram);
        }
    }

    fn dismiss(&mut self) -> bool {
        let runs = self.runs();
        if let Some(service) = &mut self.service {
            service.dismiss();
        }
        runs
    }

    fn runs(&mut self) -> bool {
        self.service.as_mut().is_some_and(|service| !service.has_gone())
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
    let first = early.map(|early| early.bytes().to_vec());
    let mut visit = Guest::visit(endpoint, peer.name.to_owned(), first, &serving, tap, report);
    let result = crate::engine::run(reactor, &mut visit, signals);
    let guest = visit.business();
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

/// Those who are served by a command.
pub(super) fn commands<'a>(
    serving: &'a Serving,
    tap: Tap,
    report: &'a Report,
) -> Welcome<'a, Guest<'a>> {
    Box::new(move |endpoint, caller, first, _| {
        // A log that cannot be shared is none: the conversation goes on.
        let tap = tap.share().unwrap_or_default();
        Guest::visit(endpoint, caller.to_string(), first, serving, tap, report)
    })
}
