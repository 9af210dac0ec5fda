//! `-l --serve`: services that are built in, for each caller one of its own.

use super::files::{self, Found};
use super::guests::Welcome;
use super::printer::{Printer, Reading};
use super::talk::Session;
use super::visit::{Business, Turn, Visit};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::manners::{Manners, PeerEnd};
use crate::engine::tap::Tap;
use crate::engine::{REMOTE, Trouble};
use crate::error::{Error, words};
use crate::net::endpoint::Endpoint;
use crate::proto::http::origin::{self, Event};
use crate::proto::mbox::asctime;
use crate::proto::services::{self, Service};
use crate::report::Report;
use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a connection to the HTTP server may be kept without a word, when `-i` says nothing.
const KEPT: Duration = Duration::from_secs(60);

/// Datagrams that are kept until there is somebody to answer them.
const MOST_EARLY: usize = 64;

/// What is served.
#[derive(Debug, Clone)]
pub enum Serve {
    /// One of the oldest services.
    Service(services::Kind),
    /// The files below a directory, by HTTP.
    Files(PathBuf),
    /// HTTP requests are shown on standard output, and said back.
    Dump,
}

/// What all callers share.
pub(super) struct House<'a> {
    serve: &'a Serve,
    idle: Option<Duration>,
    handshake: Duration,
    report: &'a Report,
    /// Nobody reads standard output any more, or it cannot be written: why.
    printer: RefCell<Printer>,
}

impl<'a> House<'a> {
    /// # Errors
    /// A directory that is none, or cannot be read.
    pub(super) fn new(
        serve: &'a Serve,
        session: &Session,
        handshake: Duration,
        report: &'a Report,
    ) -> Result<Self, Error> {
        if let Serve::Files(root) = serve {
            std::fs::read_dir(root).map_err(|e| {
                Error::machine(format!("cannot serve {}: {}", root.display(), words(&e)))
            })?;
        }
        let printer = RefCell::new(Printer::new(session.safe_output));
        Ok(Self { serve, idle: session.manners.idle, handshake, report, printer })
    }

    /// Makes a conversation of each caller.
    pub(super) fn welcome(&'a self, tap: Tap) -> Welcome<'a, Caller<'a>> {
        Box::new(move |endpoint, caller, first, _| {
            let business = Caller {
                house: self,
                name: caller.to_string(),
                // A log that cannot be shared is none: the conversation goes on.
                tap: Some(tap.share().unwrap_or_default()),
                early: first.into_iter().collect(),
                talk: None,
                totals: (0, 0),
                failed: None,
            };
            Visit::new(endpoint, self.handshake, business)
        })
    }

    /// How it goes with whoever reads standard output.
    pub(super) fn judge(&self, now: Instant) -> Reading {
        self.printer.borrow_mut().judge(now)
    }
}

enum Talk {
    Service(Box<Dialogue<Service>>),
    Http(Box<Dialogue<origin::Server>>, Option<std::fs::File>),
}

/// One caller.
pub(super) struct Caller<'a> {
    house: &'a House<'a>,
    name: String,
    tap: Option<Tap>,
    /// Datagrams that came before there was somebody to answer them.
    early: Vec<Vec<u8>>,
    talk: Option<Talk>,
    totals: (u64, u64),
    failed: Option<Error>,
}

fn is_endless(serve: &Serve) -> bool {
    matches!(serve, Serve::Service(services::Kind::Chargen))
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Caller<'_> {
    fn part(&mut self, talk: Talk, how: Result<(), Trouble>) -> Turn {
        let (totals, (endpoint, _, tap)) = match talk {
            Talk::Service(dialogue) => (dialogue.totals(), dialogue.into_parts()),
            Talk::Http(dialogue, _) => (dialogue.totals(), dialogue.into_parts()),
        };
        self.totals = totals;
        self.tap = Some(tap);
        let how = match how {
            // A connection that was kept for nothing is closed, and that is all.
            Err(Trouble::Idle(_)) if self.house.idle.is_none() => Ok(()),
            // Somebody has heard enough: there is no other end to it.
            Err(Trouble::Peer(_)) if is_endless(self.house.serve) => Ok(()),
            how => how,
        };
        Turn::Part(endpoint, how)
    }

    /// Does what the HTTP machine cannot do.
    fn help(
        &mut self,
        event: Event,
        dialogue: &mut Dialogue<origin::Server>,
        open: &mut Option<std::fs::File>,
    ) {
        match event {
            Event::Wanted(request) => {
                let Serve::Files(root) = self.house.serve else { return };
                let Found { answer, file } = files::find(root, &request);
                *open = file;
                dialogue.machine_mut().answer(answer);
            }
            Event::More { offset, most } => {
                let mut octets = vec![0; most];
                let read = open.as_ref().map_or(Ok(0), |file| file.read_at(&mut octets, offset));
                octets.truncate(read.unwrap_or_else(|e| {
                    self.house.report.warning(format_args!("cannot read a file: {}", words(&e)));
                    0
                }));
                dialogue.machine_mut().feed(octets);
            }
            Event::Dumped(request) => {
                // Requests are told from each other, whatever their bodies end with.
                let end: &[u8] = if request.ends_with(b"\n") { b"" } else { b"\n" };
                let printed = self.house.printer.borrow_mut().queue(&[&request, end].concat());
                // An error ends the server, which says it.
                if matches!(printed, Ok(false)) {
                    self.house.report.warning(format_args!(
                        "a request from {} is not printed: nobody reads standard output",
                        self.name
                    ));
                }
            }
            Event::Story(what) => {
                self.house.report.story(format_args!("{}: {what}", self.name));
            }
        }
    }
}

impl Business for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, peer: Endpoint, _: Instant) -> Turn {
        self.house.report.story(format_args!("Connection from {}.", self.name));
        let tap = self.tap.take().unwrap_or_default();
        // A file may be long, and who asks for it may have said everything.
        let manners = |idle| Manners { idle, peer_end: PeerEnd::KeepSending, ..Manners::default() };
        self.talk = Some(match self.house.serve {
            Serve::Service(kind) => {
                let day = asctime(since_1970());
                let machine = Service::new(*kind, peer.datagrams().is_some(), since_1970(), &day);
                let manners = manners(self.house.idle);
                Talk::Service(Box::new(Dialogue::unattended(peer, machine, manners, tap)))
            }
            Serve::Files(_) | Serve::Dump => {
                let kind = match self.house.serve {
                    Serve::Dump => origin::Kind::Dump,
                    Serve::Files(_) | Serve::Service(_) => origin::Kind::Files,
                };
                let manners = manners(Some(self.house.idle.unwrap_or(KEPT)));
                let machine = origin::Server::new(kind);
                Talk::Http(Box::new(Dialogue::unattended(peer, machine, manners, tap)), None)
            }
        });
        for datagram in std::mem::take(&mut self.early) {
            self.push(datagram);
        }
        Turn::Runnable
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        if side != REMOTE {
            return None;
        }
        match self.talk.as_mut()? {
            Talk::Service(dialogue) => dialogue.side(side),
            Talk::Http(dialogue, _) => dialogue.side(side),
        }
    }

    fn drive(&mut self, now: Instant) -> Turn {
        let Some(mut talk) = self.talk.take() else { return Turn::Gone };
        loop {
            let outcome = match &mut talk {
                Talk::Service(dialogue) => match dialogue.next(now) {
                    Ok(Outcome::Event(never)) => match never {},
                    Ok(Outcome::Waiting) => Ok(Some(Turn::Waiting)),
                    Ok(Outcome::Runnable) => Ok(Some(Turn::Runnable)),
                    Ok(Outcome::Done | Outcome::StartTls) => Ok(None),
                    Err(trouble) => Err(trouble),
                },
                Talk::Http(dialogue, open) => {
                    dialogue.machine_mut().set_now(since_1970());
                    match dialogue.next(now) {
                        Ok(Outcome::Event(event)) => {
                            self.help(event, dialogue, open);
                            continue;
                        }
                        Ok(Outcome::Waiting) => Ok(Some(Turn::Waiting)),
                        Ok(Outcome::Runnable) => Ok(Some(Turn::Runnable)),
                        Ok(Outcome::Done | Outcome::StartTls) => Ok(None),
                        Err(trouble) => Err(trouble),
                    }
                }
            };
            return match outcome {
                Ok(Some(turn)) => {
                    self.talk = Some(talk);
                    turn
                }
                Ok(None) => self.part(talk, Ok(())),
                Err(trouble) => self.part(talk, Err(trouble)),
            };
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.talk.as_ref()? {
            Talk::Service(dialogue) => dialogue.deadline(),
            Talk::Http(dialogue, _) => dialogue.deadline(),
        }
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    fn push(&mut self, datagram: Vec<u8>) {
        match &mut self.talk {
            Some(Talk::Service(dialogue)) if datagram.is_empty() => dialogue.machine_mut().knock(),
            Some(Talk::Service(dialogue)) => dialogue.hear(&datagram),
            Some(Talk::Http(..)) => {}
            None if self.early.len() < MOST_EARLY => self.early.push(datagram),
            None => {}
        }
    }
}
