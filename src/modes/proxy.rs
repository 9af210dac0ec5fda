//! `-l --proxy-type`: callers ask for somebody else, and are connected to them.

use super::guests::Welcome;
use super::via::Kind;
use super::visit::{self, Business, Turn, Visit};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::manners::{Manners, PeerEnd};
use crate::engine::reactor::Address;
use crate::engine::relay::Relay;
use crate::engine::tap::Tap;
use crate::engine::{Conversation, LOCAL, REMOTE, Status, Trouble};
use crate::net::buf::Buf;
use crate::net::dial::{Dial, Source};
use crate::net::endpoint::Endpoint;
use crate::net::names::{Answer, Family, Lookup};
use crate::net::target::with_port;
use crate::proto::http::gate::Gate;
use crate::proto::http::server as http;
use crate::proto::sasl::Credentials;
use crate::proto::socks::{self, Destination};
use crate::report::Report;
use crate::term::safe::quote;
use mio::Registry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a caller's request may take to come.
const REQUEST: Duration = Duration::from_secs(30);

/// What one address of a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sides beside the two of the conversation.
const LOOKUP: usize = 2;
const CALL: usize = 3;

/// What a proxy of ours is told.
#[derive(Debug, Clone)]
pub struct Proxying {
    /// What it speaks; SOCKS of all versions counts as one.
    pub kind: Kind,
    /// Who may use it, if not everybody.
    pub login: Option<Credentials>,
}

/// What all callers of a proxy share.
pub(super) struct Shop {
    proxying: Proxying,
    gate: Rc<Gate>,
    family: Family,
    /// Our own ports: nobody is connected to ourselves.
    ports: Vec<u16>,
    handshake: Duration,
    idle: Option<Duration>,
}

impl Shop {
    pub(super) fn new(
        proxying: Proxying,
        family: Family,
        ports: Vec<u16>,
        handshake: Duration,
        idle: Option<Duration>,
    ) -> Self {
        let gate = Rc::new(Gate::new(proxying.login.clone(), crate::sys::random()));
        Self { proxying, gate, family, ports, handshake, idle }
    }

    fn manners(&self) -> Manners {
        Manners { peer_end: PeerEnd::KeepSending, idle: self.idle, ..Manners::default() }
    }

    fn ask(&self, endpoint: Endpoint) -> Asking {
        let manners = self.manners();
        let tap = Tap::default();
        match self.proxying.kind {
            Kind::Http => {
                let machine = http::Server::new(Rc::clone(&self.gate));
                Asking::Http(Box::new(Dialogue::unattended(endpoint, machine, manners, tap)))
            }
            Kind::Socks4 | Kind::Socks5 => {
                let machine = socks::Server::new(self.proxying.login.clone());
                Asking::Socks(Box::new(Dialogue::unattended(endpoint, machine, manners, tap)))
            }
        }
    }
}

/// Makes visitors of callers.
pub(super) fn callers<'a>(
    shop: &'a Shop,
    registry: &'a Registry,
    report: &'a Report,
) -> Welcome<'a, Caller<'a>> {
    let mut start = None;
    Box::new(move |endpoint, caller, _, now| {
        let business = Caller {
            shop,
            registry,
            report,
            name: caller.to_string(),
            start: *start.get_or_insert(now),
            key: 0,
            phase: Phase::Nowhere,
            totals: (0, 0),
        };
        Visit::new(endpoint, shop.handshake, business)
    })
}

/// To a relay the target is where standard input and output are elsewhere.
fn beyond(trouble: Trouble) -> Trouble {
    let (Trouble::Input(e) | Trouble::Output(e)) = trouble else { return trouble };
    Trouble::Beyond(e)
}

/// The dialogue in which a caller says what it wants.
enum Asking {
    Http(Box<Dialogue<http::Server>>),
    Socks(Box<Dialogue<socks::Server>>),
}

/// Whom a caller wants.
#[derive(Debug, Clone)]
struct Wanted {
    host: String,
    port: u16,
    /// The machine stays between the two (GET, HEAD, POST).
    fetch: bool,
}

enum Said {
    Nothing(Status),
    Wants(Wanted),
    Done,
}

/// How the search for a target ends.
enum Found {
    Connected(Endpoint, SocketAddr),
    Failed(Option<io::ErrorKind>),
    /// It is ourselves.
    Forbidden,
}

enum Phase {
    /// It has until then.
    Asking(Asking, Instant),
    Looking(Asking, Wanted, Lookup),
    Calling(Asking, Wanted, Box<Dial>),
    /// It has been answered; the target waits to be connected, or it was refused.
    Answered(Asking, Option<Endpoint>),
    Talking(Box<Relay>),
    /// Nothing is left to do with it.
    Done(Endpoint, Result<(), Trouble>),
    Nowhere,
}

/// One caller of a proxy.
pub(super) struct Caller<'a> {
    shop: &'a Shop,
    registry: &'a Registry,
    report: &'a Report,
    name: String,
    /// The gate counts seconds from here.
    start: Instant,
    key: usize,
    phase: Phase,
    totals: (u64, u64),
}

impl Asking {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match self {
            Asking::Http(dialogue) => dialogue.side(side),
            Asking::Socks(dialogue) => dialogue.side(side),
        }
    }

    fn drive(&mut self, now: Instant, seconds: u64) -> Result<Said, Trouble> {
        let outcome = match self {
            Asking::Http(dialogue) => {
                dialogue.machine_mut().set_now(seconds);
                match dialogue.next(now)? {
                    Outcome::Event(http::Event::Connect { host, port }) => {
                        return Ok(Said::Wants(Wanted { host, port, fetch: false }));
                    }
                    Outcome::Event(http::Event::Fetch { host, port }) => {
                        return Ok(Said::Wants(Wanted { host, port, fetch: true }));
                    }
                    Outcome::Waiting => Some(Status::Waiting),
                    Outcome::Runnable => Some(Status::Runnable),
                    Outcome::StartTls | Outcome::Done => None,
                }
            }
            Asking::Socks(dialogue) => match dialogue.next(now)? {
                Outcome::Event(socks::Event::Connect { destination, port }) => {
                    let host = match destination {
                        Destination::Name(name) => name,
                        Destination::Address(ip) => ip.to_string(),
                    };
                    return Ok(Said::Wants(Wanted { host, port, fetch: false }));
                }
                Outcome::Waiting => Some(Status::Waiting),
                Outcome::Runnable => Some(Status::Runnable),
                Outcome::StartTls | Outcome::Done => None,
            },
        };
        Ok(outcome.map_or(Said::Done, Said::Nothing))
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Asking::Http(dialogue) => dialogue.deadline(),
            Asking::Socks(dialogue) => dialogue.deadline(),
        }
    }

    fn answer(&mut self, found: &Found) {
        match self {
            Asking::Http(dialogue) => dialogue.machine_mut().answer(match found {
                Found::Connected(..) => http::Answer::Connected,
                Found::Failed(_) => http::Answer::Failed,
                Found::Forbidden => http::Answer::Forbidden,
            }),
            Asking::Socks(dialogue) => dialogue.machine_mut().answer(match found {
                Found::Connected(_, ours) => socks::Answer::Connected(*ours),
                Found::Forbidden => socks::Answer::NotAllowed,
                Found::Failed(Some(io::ErrorKind::ConnectionRefused)) => socks::Answer::Refused,
                Found::Failed(Some(io::ErrorKind::TimedOut)) => socks::Answer::TimedOut,
                Found::Failed(Some(io::ErrorKind::NetworkUnreachable)) => {
                    socks::Answer::NetworkUnreachable
                }
                Found::Failed(Some(io::ErrorKind::HostUnreachable) | None) => {
                    socks::Answer::HostUnreachable
                }
                Found::Failed(Some(_)) => socks::Answer::General,
            }),
        }
    }

    fn attach(&mut self, target: Endpoint) {
        match self {
            Asking::Http(dialogue) => dialogue.attach(target),
            Asking::Socks(dialogue) => dialogue.attach(target),
        }
    }

    fn totals(&self) -> (u64, u64) {
        match self {
            Asking::Http(dialogue) => dialogue.totals(),
            Asking::Socks(dialogue) => dialogue.totals(),
        }
    }

    fn into_parts(self) -> (Endpoint, Buf) {
        let (endpoint, early, _) = match self {
            Asking::Http(dialogue) => dialogue.into_parts(),
            Asking::Socks(dialogue) => dialogue.into_parts(),
        };
        (endpoint, early)
    }
}

impl Caller<'_> {
    fn token(&self, side: usize) -> mio::Token {
        Address { key: self.key, side }.into()
    }

    /// Finds the target's address, or already knows it.
    fn look(&mut self, asking: Asking, wanted: Wanted, now: Instant) -> Phase {
        self.report.story(format_args!(
            "{} asks for {}",
            self.name,
            with_port(&quote(wanted.host.as_bytes(), 80), wanted.port)
        ));
        if let Ok(ip) = wanted.host.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, wanted.port);
            let known = match self.shop.family.has(ip) {
                true => Ok(vec![address]),
                false => Err("it is of the other family".to_owned()),
            };
            return self.call(asking, wanted, known, now);
        }
        let lookup = Lookup::start(&wanted.host, wanted.port, self.shop.family);
        let lookup = lookup.and_then(|mut lookup| {
            lookup.register(self.registry, self.token(LOOKUP))?;
            Ok(lookup)
        });
        match lookup {
            Ok(lookup) => Phase::Looking(asking, wanted, lookup),
            Err(e) => Self::answer(asking, &wanted, Found::Failed(Some(e.kind()))),
        }
    }

    fn call(&mut self, asking: Asking, wanted: Wanted, answer: Answer, now: Instant) -> Phase {
        let Ok(addresses) = answer else {
            return Self::answer(asking, &wanted, Found::Failed(None));
        };
        let mut asking = asking;
        let ours = asking.endpoint(REMOTE).and_then(|endpoint| endpoint.addresses());
        if addresses.iter().any(|address| self.is_ourselves(address, ours)) {
            return Self::answer(asking, &wanted, Found::Forbidden);
        }
        let source = Source { patience: PATIENCE, ..Source::default() };
        let dial = Box::new(Dial::new(&addresses, source, self.token(CALL)));
        self.calling(asking, wanted, dial, now)
    }

    /// A proxy that calls itself goes round in circles.
    fn is_ourselves(&self, target: &SocketAddr, ours: Option<(SocketAddr, SocketAddr)>) -> bool {
        let ip = target.ip().to_canonical();
        let here = ip.is_loopback()
            || ip.is_unspecified()
            || ours.is_some_and(|(local, _)| local.ip().to_canonical() == ip);
        here && self.shop.ports.contains(&target.port())
    }

    fn calling(&self, asking: Asking, wanted: Wanted, mut dial: Box<Dial>, now: Instant) -> Phase {
        match dial.drive(self.registry, now) {
            None => Phase::Calling(asking, wanted, dial),
            Some(Ok((endpoint, address))) => {
                let ours = endpoint.addresses().map_or(address, |(local, _)| local);
                Self::answer(asking, &wanted, Found::Connected(endpoint, ours))
            }
            Some(Err(())) => Self::answer(asking, &wanted, Found::Failed(dial.kind())),
        }
    }

    /// Tells the caller what came of it.
    fn answer(mut asking: Asking, wanted: &Wanted, found: Found) -> Phase {
        asking.answer(&found);
        match found {
            Found::Connected(target, _) if wanted.fetch => {
                asking.attach(target);
                Phase::Answered(asking, None)
            }
            Found::Connected(target, _) => Phase::Answered(asking, Some(target)),
            Found::Failed(_) | Found::Forbidden => Phase::Answered(asking, None),
        }
    }

    /// Everything is said in the dialogue: the rest is a relay's, or nobody's.
    fn connect(&mut self, asking: Asking, target: Option<Endpoint>) -> Phase {
        self.totals = asking.totals();
        let (caller, early) = asking.into_parts();
        match target {
            Some(target) => {
                let manners = self.shop.manners();
                let relay = Relay::resume(target, caller, early, manners, Tap::default());
                Phase::Talking(Box::new(relay.forgiving()))
            }
            None => Phase::Done(caller, Ok(())),
        }
    }

    /// Something went wrong with the caller or the target: what is left is to part.
    fn give_up(&mut self, asking: Asking, trouble: Trouble) -> Phase {
        self.totals = asking.totals();
        Phase::Done(asking.into_parts().0, Err(beyond(trouble)))
    }

    fn asking(
        &mut self,
        mut asking: Asking,
        until: Option<Instant>,
        target: Option<Endpoint>,
        now: Instant,
    ) -> (Phase, Option<Turn>) {
        let seconds = (now - self.start).as_secs();
        match asking.drive(now, seconds) {
            Ok(Said::Nothing(Status::Waiting)) if until.is_some_and(|until| until <= now) => {
                (self.give_up(asking, Trouble::Late("the request", REQUEST)), None)
            }
            Ok(Said::Nothing(status)) => match until {
                Some(until) => (Phase::Asking(asking, until), Some(Turn::rest(status))),
                None => (Phase::Answered(asking, target), Some(Turn::rest(status))),
            },
            Ok(Said::Wants(wanted)) => (self.look(asking, wanted, now), None),
            Ok(Said::Done) => (self.connect(asking, target), None),
            Err(trouble) => (self.give_up(asking, trouble), None),
        }
    }
}

impl Business for Caller<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, peer: Endpoint, now: Instant) -> Turn {
        self.report.story(format_args!("Connection from {}.", self.name));
        self.phase = Phase::Asking(self.shop.ask(peer), now + REQUEST);
        Turn::Runnable
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Asking(asking, _)
            | Phase::Looking(asking, ..)
            | Phase::Calling(asking, ..)
            | Phase::Answered(asking, None) => asking.endpoint(side),
            Phase::Answered(asking, Some(target)) => {
                if side == LOCAL {
                    Some(target)
                } else {
                    asking.endpoint(side)
                }
            }
            Phase::Talking(relay) => relay.endpoint(side),
            Phase::Done(caller, _) => (side == REMOTE).then_some(caller),
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
                Phase::Asking(asking, until) => {
                    let (phase, turn) = self.asking(asking, Some(until), None, now);
                    self.phase = phase;
                    if let Some(turn) = turn {
                        return turn;
                    }
                }
                Phase::Looking(asking, wanted, mut lookup) => match lookup.answer() {
                    Some(answer) => self.phase = self.call(asking, wanted, answer, now),
                    None => {
                        self.phase = Phase::Looking(asking, wanted, lookup);
                        return Turn::Waiting;
                    }
                },
                Phase::Calling(asking, wanted, dial) => {
                    self.phase = self.calling(asking, wanted, dial, now);
                    if let Phase::Calling(..) = self.phase {
                        return Turn::Waiting;
                    }
                }
                Phase::Answered(asking, target) => {
                    let (phase, turn) = self.asking(asking, None, target, now);
                    self.phase = phase;
                    if let Some(turn) = turn {
                        return turn;
                    }
                }
                Phase::Talking(mut relay) => match relay.drive(now) {
                    Ok(status @ (Status::Waiting | Status::Runnable)) => {
                        self.phase = Phase::Talking(relay);
                        return Turn::rest(status);
                    }
                    ended => {
                        let (sent, received) = relay.totals();
                        self.totals = (self.totals.0 + sent, self.totals.1 + received);
                        let (caller, _) = relay.into_parts();
                        return Turn::Part(caller, ended.map(|_| ()).map_err(beyond));
                    }
                },
                Phase::Done(caller, how) => return Turn::Part(caller, how),
                Phase::Nowhere => return Turn::Gone,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Asking(asking, until) => asking.deadline().into_iter().chain([*until]).min(),
            Phase::Answered(asking, _) => asking.deadline(),
            Phase::Calling(_, _, dial) => dial.deadline(),
            Phase::Talking(relay) => relay.deadline(),
            Phase::Looking(..) | Phase::Done(..) | Phase::Nowhere => None,
        }
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }
}
