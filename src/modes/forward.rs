//! `-l --forward TARGET`: each caller is connected to the same target, whatever the transports.

use super::call::Target;
use super::guests::Welcome;
use super::secure::ReadyTls;
use super::talk::{self, Peer, Role};
use super::visit::{self, Business, Turn, Visit};
use crate::engine::handshake::Handshake;
use crate::engine::manners::{Manners, PeerEnd};
use crate::engine::reactor::Address;
use crate::engine::relay::Relay;
use crate::engine::tap::Tap;
use crate::engine::{Conversation, LOCAL, REMOTE, Status};
use crate::error::{Error, words};
use crate::net::dial::{self, Dial, Source};
use crate::net::endpoint::Endpoint;
use crate::net::names::{Family, Lookup, literal};
use crate::report::Report;
use mio::Registry;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What one address of the target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sides beside the two of the conversation.
const LOOKUP: usize = 2;
const CALL: usize = 3;

/// What all callers share.
pub(super) struct Line {
    /// Whom they are connected to.
    pub(super) target: Target,
    /// TLS on that side.
    pub(super) tls: Option<ReadyTls>,
    pub(super) family: Family,
    /// What a TLS handshake may take.
    pub(super) handshake: Duration,
    pub(super) idle: Option<Duration>,
}

enum Phase {
    Looking(Endpoint, Lookup),
    Calling(Endpoint, Box<Dial>),
    /// TLS with the target.
    Securing(Endpoint, Handshake),
    Talking(Box<Relay>),
    /// The caller is told by an end that the target cannot be had.
    Failed(Endpoint),
    Nowhere,
}

/// One caller.
pub(super) struct Caller<'a> {
    line: &'a Line,
    registry: &'a Registry,
    report: &'a Report,
    name: String,
    key: usize,
    tap: Option<Tap>,
    phase: Phase,
    totals: (u64, u64),
    failed: Option<Error>,
}

/// Makes a conversation of each caller.
pub(super) fn callers<'a>(
    line: &'a Line,
    registry: &'a Registry,
    tap: Tap,
    report: &'a Report,
) -> Welcome<'a, Caller<'a>> {
    Box::new(move |endpoint, caller, _, _| {
        let business = Caller {
            line,
            registry,
            report,
            name: caller.to_string(),
            key: 0,
            // A log that cannot be shared is none: the conversation goes on.
            tap: Some(tap.share().unwrap_or_default()),
            phase: Phase::Nowhere,
            totals: (0, 0),
            failed: None,
        };
        Visit::new(endpoint, line.handshake, business)
    })
}

impl Caller<'_> {
    fn token(&self, side: usize) -> mio::Token {
        Address { key: self.key, side }.into()
    }

    /// The target cannot be had: the caller is told by an end, and the person by a line.
    fn fail(&mut self, caller: Endpoint, why: &str) -> Phase {
        let target = self.line.target.name();
        let what = format!("cannot connect {} to {target}: {why}", self.name);
        self.failed = Some(Error::network(what));
        Phase::Failed(caller)
    }

    fn call_on(&mut self, caller: Endpoint, now: Instant) -> Phase {
        self.report.story(format_args!("Connection from {}.", self.name));
        match &self.line.target {
            Target::Unix(path) => match dial::unix(path) {
                Ok(target) => self.connected(caller, target, now),
                Err(e) => self.fail(caller, &words(&e)),
            },
            Target::Vsock { cid, port } => match dial::vsock(*cid, *port, (None, 0)) {
                Ok(target) => self.connected(caller, target, now),
                Err(e) => self.fail(caller, &words(&e)),
            },
            Target::Tcp { host, port } => {
                if let Some(address) = literal(host, *port) {
                    return self.call(caller, &[address], now);
                }
                let lookup = Lookup::start(host, *port, self.line.family);
                let lookup = lookup.and_then(|mut lookup| {
                    lookup.register(self.registry, self.token(LOOKUP))?;
                    Ok(lookup)
                });
                match lookup {
                    Ok(lookup) => Phase::Looking(caller, lookup),
                    Err(e) => self.fail(caller, &words(&e)),
                }
            }
        }
    }

    fn call(&mut self, caller: Endpoint, addresses: &[SocketAddr], now: Instant) -> Phase {
        let source = Source { patience: PATIENCE, ..Source::default() };
        let dial = Box::new(Dial::new(addresses, source, self.token(CALL)));
        self.calling(caller, dial, now)
    }

    fn calling(&mut self, caller: Endpoint, mut dial: Box<Dial>, now: Instant) -> Phase {
        match dial.drive(self.registry, now) {
            None => Phase::Calling(caller, dial),
            Some(Ok((target, _))) => self.connected(caller, target, now),
            Some(Err(())) => {
                let why = dial.failures();
                self.fail(caller, &why)
            }
        }
    }

    fn connected(&mut self, caller: Endpoint, mut target: Endpoint, now: Instant) -> Phase {
        let Some(tls) = &self.line.tls else { return self.talk(caller, target) };
        match tls.start(&mut target, now) {
            Ok(()) => {
                let patience = self.line.handshake;
                Phase::Securing(caller, Handshake::new(target, now + patience, patience))
            }
            Err(failure) => self.fail(caller, &failure.to_string()),
        }
    }

    fn talk(&mut self, caller: Endpoint, target: Endpoint) -> Phase {
        let manners =
            Manners { peer_end: PeerEnd::KeepSending, idle: self.line.idle, ..Manners::default() };
        let tap = self.tap.take().unwrap_or_default();
        Phase::Talking(Box::new(Relay::new(target, caller, manners, tap).forgiving()))
    }
}

impl Business for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, peer: Endpoint, now: Instant) -> Turn {
        self.phase = self.call_on(peer, now);
        Turn::Runnable
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Looking(caller, _) | Phase::Calling(caller, _) | Phase::Failed(caller) => {
                (side == REMOTE).then_some(caller)
            }
            Phase::Securing(caller, handshake) => match side {
                REMOTE => Some(caller),
                LOCAL => handshake.endpoint(REMOTE),
                _ => None,
            },
            Phase::Talking(relay) => relay.endpoint(side),
            Phase::Nowhere => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        self.key = key;
        visit::register_both(self, registry, key)
    }

    fn drive(&mut self, now: Instant) -> Turn {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Looking(caller, mut lookup) => match lookup.answer() {
                    Some(Ok(addresses)) => self.phase = self.call(caller, &addresses, now),
                    Some(Err(why)) => self.phase = self.fail(caller, &why),
                    None => {
                        self.phase = Phase::Looking(caller, lookup);
                        return Turn::Waiting;
                    }
                },
                Phase::Calling(caller, dial) => {
                    self.phase = self.calling(caller, dial, now);
                    if let Phase::Calling(..) = self.phase {
                        return Turn::Waiting;
                    }
                }
                Phase::Securing(caller, mut handshake) => match handshake.drive(now) {
                    Ok(Status::Finished) => {
                        let target = handshake.into_peer();
                        if let Some(tls) = &self.line.tls {
                            tls.announce(&target, self.report);
                        }
                        self.phase = self.talk(caller, target);
                    }
                    Ok(status @ (Status::Waiting | Status::Runnable)) => {
                        self.phase = Phase::Securing(caller, handshake);
                        return Turn::rest(status);
                    }
                    Err(trouble) => {
                        let target = self.line.target.name();
                        let peer = Peer { name: &target, role: Role::Client };
                        self.failed = talk::explain(trouble, peer).err();
                        return Turn::Part(caller, Ok(()));
                    }
                },
                Phase::Talking(mut relay) => match relay.drive(now) {
                    Ok(status @ (Status::Waiting | Status::Runnable)) => {
                        self.phase = Phase::Talking(relay);
                        return Turn::rest(status);
                    }
                    ended => {
                        self.totals = relay.totals();
                        let (caller, _) = relay.into_parts();
                        return Turn::Part(caller, ended.map(|_| ()));
                    }
                },
                Phase::Failed(caller) => return Turn::Part(caller, Ok(())),
                Phase::Nowhere => return Turn::Gone,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Securing(_, handshake) => handshake.deadline(),
            Phase::Calling(_, dial) => dial.deadline(),
            Phase::Talking(relay) => relay.deadline(),
            Phase::Looking(..) | Phase::Failed(_) | Phase::Nowhere => None,
        }
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }
}
