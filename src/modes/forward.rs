//! `-l --forward TARGET`: each caller is connected to the same target, whatever the transports.

use super::call::Target;
use super::secure::ReadyTls;
use super::serve::{Visitor, Welcome};
use super::talk::{self, Peer, Role};
use crate::engine::farewell::Farewell;
use crate::engine::handshake::Handshake;
use crate::engine::manners::{Manners, PeerEnd};
use crate::engine::reactor::Address;
use crate::engine::relay::Relay;
use crate::engine::tap::Tap;
use crate::engine::{Conversation, LOCAL, REMOTE, Status, Trouble, register_sides};
use crate::error::{Error, words};
use crate::net::dial::{self, Dial, Source};
use crate::net::endpoint::Endpoint;
use crate::net::names::{Family, Lookup, literal};
use crate::report::Report;
use mio::Registry;
use mio::event::Event;
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
    Handshake(Handshake),
    Looking(Endpoint, Lookup),
    Calling(Endpoint, Box<Dial>),
    /// TLS with the target.
    Securing(Endpoint, Handshake),
    Talking(Box<Relay>),
    Parting(Farewell),
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
    how: Result<(), Trouble>,
    failed: Option<Error>,
}

/// Makes a conversation of each caller.
pub(super) fn callers<'a>(
    line: &'a Line,
    registry: &'a Registry,
    tap: Tap,
    report: &'a Report,
) -> Welcome<'a, Caller<'a>> {
    Box::new(move |endpoint, caller, _, now| {
        let patience = line.handshake;
        Caller {
            line,
            registry,
            report,
            name: caller.to_string(),
            key: 0,
            // A log that cannot be shared is none: the conversation goes on.
            tap: Some(tap.share().unwrap_or_default()),
            phase: Phase::Handshake(Handshake::new(endpoint, now + patience, patience)),
            totals: (0, 0),
            how: Ok(()),
            failed: None,
        }
    })
}

impl Caller<'_> {
    fn token(&self, side: usize) -> mio::Token {
        Address { key: self.key, side }.into()
    }

    /// The target cannot be had: the caller is told by an end, and the person by a line.
    fn fail(&mut self, caller: Endpoint, why: &str, now: Instant) -> Phase {
        let target = self.line.target.name();
        let what = format!("cannot connect {} to {target}: {why}", self.name);
        self.failed = Some(Error::network(what));
        Phase::Parting(Farewell::new(caller, now))
    }

    fn begin(&mut self, caller: Endpoint, now: Instant) -> Phase {
        self.report.story(format_args!("Connection from {}.", self.name));
        match &self.line.target {
            Target::Unix(path) => match dial::unix(path) {
                Ok(target) => self.connected(caller, target, now),
                Err(e) => self.fail(caller, &words(&e), now),
            },
            Target::Vsock { cid, port } => match dial::vsock(*cid, *port, (None, 0)) {
                Ok(target) => self.connected(caller, target, now),
                Err(e) => self.fail(caller, &words(&e), now),
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
                    Err(e) => self.fail(caller, &words(&e), now),
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
                self.fail(caller, &why, now)
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
            Err(failure) => self.fail(caller, &failure.to_string(), now),
        }
    }

    fn talk(&mut self, caller: Endpoint, target: Endpoint) -> Phase {
        let manners =
            Manners { peer_end: PeerEnd::KeepSending, idle: self.line.idle, ..Manners::default() };
        let tap = self.tap.take().unwrap_or_default();
        Phase::Talking(Box::new(Relay::new(target, caller, manners, tap).forgiving()))
    }
}

impl Conversation for Caller<'_> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.endpoint(side),
            Phase::Looking(caller, _) | Phase::Calling(caller, _) => {
                (side == REMOTE).then_some(caller)
            }
            Phase::Securing(caller, handshake) => match side {
                REMOTE => Some(caller),
                LOCAL => handshake.endpoint(REMOTE),
                _ => None,
            },
            Phase::Talking(relay) => relay.endpoint(side),
            Phase::Parting(farewell) => farewell.endpoint(side),
            Phase::Nowhere => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        self.key = key;
        register_sides(self, &[LOCAL, REMOTE], registry, key)
    }

    fn mark(&mut self, side: usize, event: &Event) {
        // A look-up or a call only wakes us; they know for themselves.
        if let Some(endpoint) = self.endpoint(side) {
            endpoint.mark(event);
        }
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Handshake(mut handshake) => {
                    let status = handshake.drive(now)?;
                    if status != Status::Finished {
                        self.phase = Phase::Handshake(handshake);
                        return Ok(status);
                    }
                    self.phase = self.begin(handshake.into_peer(), now);
                }
                Phase::Looking(caller, mut lookup) => match lookup.answer() {
                    Some(Ok(addresses)) => self.phase = self.call(caller, &addresses, now),
                    Some(Err(why)) => self.phase = self.fail(caller, &why, now),
                    None => {
                        self.phase = Phase::Looking(caller, lookup);
                        return Ok(Status::Waiting);
                    }
                },
                Phase::Calling(caller, dial) => {
                    self.phase = self.calling(caller, dial, now);
                    if let Phase::Calling(..) = self.phase {
                        return Ok(Status::Waiting);
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
                        return Ok(status);
                    }
                    Err(trouble) => {
                        let target = self.line.target.name();
                        let peer = Peer { name: &target, role: Role::Client };
                        self.failed = talk::explain(trouble, peer).err();
                        self.phase = Phase::Parting(Farewell::new(caller, now));
                    }
                },
                Phase::Talking(mut relay) => match relay.drive(now) {
                    Ok(status @ (Status::Waiting | Status::Runnable)) => {
                        self.phase = Phase::Talking(relay);
                        return Ok(status);
                    }
                    ended => {
                        self.totals = relay.totals();
                        self.how = ended.map(|_| ());
                        let (caller, _) = relay.into_parts();
                        self.phase = Phase::Parting(Farewell::new(caller, now));
                    }
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
            Phase::Handshake(handshake) | Phase::Securing(_, handshake) => handshake.deadline(),
            Phase::Calling(_, dial) => dial.deadline(),
            Phase::Talking(relay) => relay.deadline(),
            Phase::Parting(farewell) => farewell.deadline(),
            Phase::Looking(..) | Phase::Nowhere => None,
        }
    }
}

impl Visitor for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn sent_and_received(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }
}
