//! Waiting for callers: one, or with `-k` many at once.

use super::builtin::{House, Serve};
use super::call::Target;
use super::door::{
    AccessLists, Armour, Door, Hall, PAUSE, SIGNALS, complain, deny, dress, not_allowed,
};
use super::forward::{self, Line};
use super::guests::{Guests, wait_while};
use super::mock::{self, Mock};
use super::open;
use super::printer::Reading;
use super::proxy::{self, Proxying, Shop};
use super::script::{self, Upgrade};
use super::secure::TlsClient;
use super::serve::{self, Serving};
use super::talk::{self, Peer, Role, SafeOutput, Session};
use super::visit::Business;
use crate::engine::handshake::Handshake;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::room::{Event, Purpose, Room};
use crate::engine::service::Translation;
use crate::engine::tap::Tap;
use crate::engine::{HOUSE, LOCAL, REMOTE, SOLO, Status, Trouble};
use crate::error::{Error, Exit, words};
use crate::net::access::Access;
use crate::net::bind::{Arrival, Caller, Listener, Protocol};
use crate::net::child::Program;
use crate::net::dial::seconds;
use crate::net::endpoint::Endpoint;
use crate::net::names::Family;
use crate::net::trust::Parameters;
use crate::proto::script::Script;
use crate::proto::serving::Protection;
use crate::report::Report;
use crate::sys::signal::Signals;
use mio::Registry;
use std::io::{self};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a TLS handshake may take when `-w` says nothing: a slow caller costs a descriptor.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Descriptors that are opened after the ready line: two for standard input and output, and one
/// while they are moved.
const RESERVE: usize = 3;

/// Where we wait.
#[derive(Debug, Clone)]
pub enum Place {
    /// On every address.
    Everywhere(u16),
    /// On the addresses that only this machine can reach.
    Loopback(u16),
    /// On the first address of a host.
    Host {
        /// Name or address.
        host: String,
        /// 0 for a free one.
        port: u16,
    },
    /// On a Unix stream socket.
    Unix(PathBuf),
    /// For other virtual machines.
    Vsock {
        /// On one CID of ours, or on all.
        cid: Option<u32>,
        /// On this port.
        port: u32,
    },
}

/// TLS as the called side.
#[derive(Debug, Clone)]
pub struct TlsServer {
    /// Versions, ciphers, our certificate.
    pub parameters: Parameters,
    /// The host that was given: a name in a certificate made on the spot.
    pub host: Option<String>,
    /// Callers must show a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
    /// Where our certificate is written for callers to trust.
    pub certificate_out: Option<PathBuf>,
}

/// Where callers are connected to.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Whom.
    pub target: Target,
    /// With TLS on that side.
    pub tls: Option<TlsClient>,
}

/// What listen mode is told.
#[derive(Debug)]
pub struct Config {
    /// Where we wait.
    pub place: Place,
    /// For streams or for datagrams.
    pub protocol: Protocol,
    /// What serves each caller, instead of standard input and output.
    pub program: Option<Program>,
    /// What is said to each caller, instead of what standard input has.
    pub script: Option<Script>,
    /// TLS is for a step of the script, not from the first byte.
    pub tls_later: bool,
    /// Which families.
    pub family: Family,
    /// Nobody is asked for names (`-n`).
    pub numeric: bool,
    /// Callers are connected to whom they ask for, instead of to us.
    pub proxying: Option<Proxying>,
    /// Callers are connected to this target.
    pub forward: Option<Forward>,
    /// Callers talk to a mock mail server.
    pub mock: Option<mock::Config>,
    /// Callers are served by what is built in.
    pub serve: Option<Serve>,
    /// So many callers are enough (`--accept`).
    pub accept: Option<u64>,
    /// So long nobody may be here (`--accept-timeout`).
    pub accept_timeout: Option<Duration>,
    /// One caller after the other, and many at once (`-k`).
    pub keep_open: bool,
    /// What many callers are there for.
    pub purpose: Purpose,
    /// Who may call.
    pub access: AccessLists,
    /// Callers at once (`-m`).
    pub most: usize,
    /// What a TLS handshake may take (`-w`).
    pub wait: Option<Duration>,
    /// TLS from the first byte.
    pub tls: Option<TlsServer>,
    /// How conversations go.
    pub session: Session,
    /// Say on standard output where we wait (`--announce`).
    pub announce: bool,
    /// Write our port there (`--port-file`).
    pub port_file: Option<PathBuf>,
    /// Say `NCAT TEST: LISTEN` for each socket (`--test`).
    pub test: bool,
}

impl Config {
    /// Does TLS begin with the first byte? If not, it is for STARTTLS.
    pub(super) fn is_tls_at_once(&self) -> bool {
        let later = |mock: &mock::Config| mock.protection != Protection::On;
        self.tls.is_some() && !self.mock.as_ref().is_some_and(later)
    }
}

/// Waits, and talks.
///
/// # Errors
/// What kept us from listening, or what ended it.
pub fn run(config: Config, report: &Report) -> Result<Exit, Error> {
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let tap = config.session.log.open(Role::Server)?;
    let mut signals = Signals::catch_fatal().map_err(cannot)?;
    let reactor = Reactor::new().map_err(cannot)?;
    let signal_token = Address { key: HOUSE, side: SIGNALS }.into();
    signals.register(reactor.registry(), signal_token).map_err(cannot)?;
    let access = config.access.load(config.family, config.numeric)?;
    let tls =
        config.tls.as_ref().map(|tls| open::armour(tls, config.protocol, report)).transpose()?;
    let mut listeners = open::bind(&config)?;
    for (side, listener) in listeners.iter_mut().enumerate() {
        let token = Address { key: HOUSE, side }.into();
        listener.register(reactor.registry(), token).map_err(cannot)?;
    }
    // What is opened later must not fail once somebody has been told that we are ready.
    let reserve: io::Result<Vec<_>> =
        (0..RESERVE).map(|_| std::fs::File::open("/dev/null")).collect();
    let reserve = reserve.map_err(cannot)?;
    open::tell(&config, &listeners, report)?;
    drop(reserve);
    let (tls, later) = if config.tls_later { (None, tls) } else { (tls, None) };
    let server = Server { config: &config, tls, later, access, reactor, signals, report };
    if let Some(forward) = &config.forward {
        return server.forward(forward, listeners, tap);
    }
    if let Some(mock) = &config.mock {
        return server.mail(mock, listeners, tap);
    }
    if let Some(serve) = &config.serve {
        return server.serve(serve, listeners, tap);
    }
    if let Some(proxying) = &config.proxying {
        return server.proxy(proxying, listeners);
    }
    // Over Unix datagrams everybody sends to one socket, so there is one conversation.
    let together = config.protocol == Protocol::Datagram && matches!(config.place, Place::Unix(_));
    if let (Some(script), true) = (&config.script, config.keep_open && !together) {
        return server.play_many(script, listeners, tap);
    }
    match (&config.program, config.keep_open && !together) {
        (Some(program), true) => server.serve_many(program, listeners, tap),
        (None, true) => server.gather(listeners, tap),
        (_, false) => server.one(listeners, tap),
    }
}

struct Server<'a> {
    config: &'a Config,
    tls: Option<Armour>,
    /// For the step `starttls` of a script.
    later: Option<Armour>,
    access: Access,
    reactor: Reactor,
    signals: Signals,
    report: &'a Report,
}

/// Whom the wait for one caller has brought.
enum First {
    /// A caller, and the listener whose socket is its own now.
    Called(Endpoint, Caller, Option<usize>),
    /// A signal instead.
    Nobody(Exit),
}

/// How long those who are here have, when nothing more can be kept.
const GRACE: Duration = Duration::from_secs(2);

/// How long whoever reads standard output may take nothing of what is left at the end.
const LAST: Duration = Duration::from_secs(5);

/// How long nobody has been here (`--accept-timeout`).
struct Alone {
    patience: Option<Duration>,
    /// So many callers were wanted.
    wanted: Option<u64>,
    since: Option<Instant>,
}

impl Alone {
    fn since(now: Instant, config: &Config) -> Self {
        Self { patience: config.accept_timeout, wanted: config.accept, since: Some(now) }
    }

    /// With so many here now, and so many who have come: is that the end of it?
    fn judge(&mut self, here: usize, served: u64, now: Instant) -> Option<Result<Exit, Error>> {
        let patience = self.patience?;
        if here > 0 {
            self.since = None;
            return None;
        }
        if *self.since.get_or_insert(now) + patience > now {
            return None;
        }
        let time = seconds(patience);
        Some(match (served, self.wanted) {
            (0, _) => Err(Error::network(format!("nobody has called within {time}"))),
            (_, None) => Ok(Exit::DONE),
            (served, Some(wanted)) => Err(Error::network(format!(
                "{served} of {wanted} callers have come, and for {time} nobody else"
            ))),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.since.and_then(|since| Some(since + self.patience?))
    }
}

/// Guest or member `n` has this key and `n` more.
const FIRST: usize = SOLO + 1;

impl<'a> Server<'a> {
    fn handshake(&self) -> Duration {
        self.config.wait.unwrap_or(HANDSHAKE)
    }

    /// One caller; the others are refused by the kernel.
    fn one(mut self, mut listeners: Vec<Listener>, tap: Tap) -> Result<Exit, Error> {
        loop {
            let (endpoint, caller, used) = match self.first_caller(&mut listeners)? {
                First::Called(endpoint, caller, used) => (endpoint, caller, used),
                First::Nobody(exit) => return Ok(exit),
            };
            if !self.access.admits(caller.ip()) {
                not_allowed(self.report, &caller);
                return Ok(Exit::DONE);
            }
            if self.config.most == 0 {
                deny(self.report, 0, &caller);
                return Ok(Exit::DONE);
            }
            let mut endpoint = dress(endpoint, self.tls.as_ref(), self.reactor.now())?;
            if matches!(self.tls, Some(Armour::Dtls(_))) {
                let mut handshake = self.shake(endpoint);
                let signals = Some(&mut self.signals);
                let shaken = crate::engine::run(&mut self.reactor, &mut handshake, signals);
                endpoint = handshake.into_peer();
                if let Err(trouble) = shaken {
                    let is_signal = matches!(trouble, Trouble::Signal(_));
                    if is_signal || !endpoint.is_unproven() {
                        let name = caller.to_string();
                        return talk::explain(trouble, Peer { name: &name, role: Role::Server });
                    }
                    // Anybody may have called in its name, so nobody has.
                    self.release(endpoint, &mut listeners, used)?;
                    complain(trouble, &caller.to_string(), self.report);
                    continue;
                }
            }
            // The file of a Unix datagram socket stays as long as its caller; all others go.
            let _listener = used.map(|i| listeners.swap_remove(i));
            listeners.clear();
            if let Some(script) = &self.config.script {
                return self.play_one(script, endpoint, &caller, tap);
            }
            return match &self.config.program {
                Some(program) => self.serve_one(program, endpoint, &caller, tap),
                None => self.talk(endpoint, &caller, tap),
            };
        }
    }

    /// Listens again to everybody, where `endpoint` was made of a listener.
    fn release(
        &mut self,
        mut endpoint: Endpoint,
        listeners: &mut [Listener],
        used: Option<usize>,
    ) -> Result<(), Error> {
        let cannot = |e: io::Error| Error::machine(format!("cannot listen again: {}", words(&e)));
        let registry = self.reactor.registry();
        // Its descriptor shares the listener's socket, so closing it would not do.
        endpoint.deregister(registry).map_err(cannot)?;
        match used {
            Some(side) => {
                let token = Address { key: HOUSE, side }.into();
                listeners[side].release(registry, token).map_err(cannot)
            }
            None => Ok(()),
        }
    }

    fn shake(&self, endpoint: Endpoint) -> Handshake {
        let patience = self.handshake();
        Handshake::new(endpoint, self.reactor.now() + patience, patience)
    }

    fn talk(mut self, mut endpoint: Endpoint, caller: &Caller, tap: Tap) -> Result<Exit, Error> {
        let name = caller.to_string();
        let peer = Peer { name: &name, role: Role::Server };
        if endpoint.is_handshaking() {
            let mut handshake = self.shake(endpoint);
            let signals = Some(&mut self.signals);
            if let Err(trouble) = crate::engine::run(&mut self.reactor, &mut handshake, signals) {
                return talk::explain(trouble, peer);
            }
            endpoint = handshake.into_peer();
        }
        self.report.story(format_args!("Connection from {caller}."));
        let mut session = self.config.session.clone();
        if endpoint.datagrams().is_some() && *caller == Caller::Unix(None) && session.manners.send {
            session.manners.send = false;
            self.report.story(format_args!("it cannot be answered: it has no name, or is gone"));
        }
        let scene = talk::Scene {
            reactor: &mut self.reactor,
            signals: Some(&mut self.signals),
            session: &session,
            peer,
            report: self.report,
        };
        talk::run(scene, endpoint, None, tap)
    }

    fn serve_one(
        mut self,
        program: &Program,
        endpoint: Endpoint,
        caller: &Caller,
        tap: Tap,
    ) -> Result<Exit, Error> {
        let (name, handshake) = (caller.to_string(), self.handshake());
        let scene = talk::Scene {
            reactor: &mut self.reactor,
            signals: Some(&mut self.signals),
            session: &self.config.session,
            peer: Peer { name: &name, role: Role::Server },
            report: self.report,
        };
        serve::one(scene, program, handshake, endpoint, None, tap)
    }

    fn plan(&self, script: &Script) -> script::Plan {
        let upgrade = self.later.clone().map_or(Upgrade::None, Upgrade::Server);
        let (session, patience) = (&self.config.session, self.handshake());
        script::Plan::of(script, session, upgrade, patience, Role::Server)
    }

    fn play_one(
        mut self,
        script: &Script,
        endpoint: Endpoint,
        caller: &Caller,
        tap: Tap,
    ) -> Result<Exit, Error> {
        let (name, plan) = (caller.to_string(), self.plan(script));
        let scene = talk::Scene {
            reactor: &mut self.reactor,
            signals: Some(&mut self.signals),
            session: &self.config.session,
            peer: Peer { name: &name, role: Role::Server },
            report: self.report,
        };
        script::one(scene, &plan, endpoint, None, tap, true)
    }

    /// Many callers, each of whom meets the script from its beginning.
    fn play_many(self, script: &Script, listeners: Vec<Listener>, tap: Tap) -> Result<Exit, Error> {
        let (plan, report) = (self.plan(script), self.report);
        let guests = Guests::new(script::callers(&plan, tap, report), report, FIRST);
        self.serve_each(guests, listeners, |_| Reading::default())
    }

    fn first_caller(&mut self, listeners: &mut Vec<Listener>) -> Result<First, Error> {
        let cannot =
            |e: io::Error| Error::machine(format!("cannot accept a caller: {}", words(&e)));
        let (mut pause, mut warned) = (None, false);
        let mut alone = Alone::since(self.reactor.now(), self.config);
        loop {
            for i in 0..listeners.len() {
                if listeners[i].is_datagram() {
                    let claimed = listeners[i].claim(self.reactor.registry()).map_err(cannot)?;
                    if let Some((endpoint, caller)) = claimed {
                        return Ok(First::Called(endpoint, caller, Some(i)));
                    }
                    continue;
                }
                match listeners[i].accept() {
                    // The others are refused from here on: the listeners are closed.
                    Ok(Some(Arrival::Caller(endpoint, caller))) => {
                        listeners.clear();
                        return Ok(First::Called(endpoint, caller, None));
                    }
                    Ok(Some(Arrival::Datagram(..)) | None) => {}
                    // Out of descriptors: somebody else may give some back.
                    Err(e) => {
                        pause = Some(self.reactor.now() + PAUSE);
                        if !std::mem::replace(&mut warned, true) {
                            let why = words(&e);
                            self.report
                                .warning(format_args!("cannot accept more callers for now: {why}"));
                        }
                    }
                }
            }
            if let Some(result) = alone.judge(0, 0, self.reactor.now()) {
                return result.map(First::Nobody);
            }
            self.sleep([pause.take(), alone.deadline()].into_iter().flatten().min())?;
            match self.signals.arrived() {
                None => {}
                Some(libc::SIGHUP) if self.config.access.have_files() => {
                    if let Some(access) = self.read_access_again() {
                        self.access = access;
                    }
                }
                Some(signal) => return Ok(First::Nobody(Exit::signal(signal))),
            }
        }
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Error> {
        self.wait(false, until, |_, _| {})
    }

    fn wait(
        &mut self,
        busy: bool,
        until: Option<Instant>,
        happened: impl FnMut(Address, &mio::event::Event),
    ) -> Result<(), Error> {
        self.reactor
            .wait(busy, until, happened)
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))
    }

    /// Many callers, a command for each.
    fn serve_many(
        self,
        program: &Program,
        listeners: Vec<Listener>,
        tap: Tap,
    ) -> Result<Exit, Error> {
        let serving = Serving::of(program, &self.config.session, self.handshake());
        let welcome = serve::commands(&serving, tap, self.report);
        let guests = Guests::new(welcome, self.report, FIRST);
        self.serve_each(guests, listeners, |_| Reading::default())
    }

    /// Callers who are connected to somebody else: one, or many at once.
    fn forward(self, forward: &Forward, listeners: Vec<Listener>, tap: Tap) -> Result<Exit, Error> {
        let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
        let registry = self.reactor.registry().try_clone().map_err(cannot)?;
        let line = Line {
            target: forward.target.clone(),
            tls: forward.tls.as_ref().map(TlsClient::prepare).transpose()?,
            family: self.config.family,
            handshake: self.handshake(),
            idle: self.config.session.manners.idle,
        };
        let report = self.report;
        let welcome = forward::callers(&line, &registry, tap, report);
        let mut guests = Guests::new(welcome, report, FIRST);
        if !self.config.keep_open {
            guests = guests.remembering();
        }
        self.serve_each(guests, listeners, |_| Reading::default())
    }

    /// Callers of a mock mail server: one, or many at once.
    fn mail(
        mut self,
        mock: &mock::Config,
        listeners: Vec<Listener>,
        tap: Tap,
    ) -> Result<Exit, Error> {
        // Where TLS does not come first, it is not the door's.
        let upgrade = match self.config.is_tls_at_once() && !mock.behind_proxy {
            true => None,
            false => self.tls.take(),
        };
        let (handshake, start, report) = (self.handshake(), self.reactor.now(), self.report);
        let safe_output = self.config.session.safe_output;
        let mock = Mock::new(mock, upgrade, safe_output, handshake, start, report);
        let mut guests = Guests::new(mock.welcome(tap), report, FIRST);
        if !self.config.keep_open {
            guests = guests.remembering();
        }
        self.serve_each(guests, listeners, |now| mock.judge(now))
    }

    /// Callers of what is built in: one, or many at once.
    fn serve(self, serve: &Serve, listeners: Vec<Listener>, tap: Tap) -> Result<Exit, Error> {
        let house = House::new(serve, &self.config.session, self.handshake(), self.report)?;
        let mut guests = Guests::new(house.welcome(tap), self.report, FIRST);
        if !self.config.keep_open {
            guests = guests.remembering();
        }
        self.serve_each(guests, listeners, |now| house.judge(now))
    }

    /// Many callers, who ask us to connect them to somebody else.
    fn proxy(self, proxying: &Proxying, listeners: Vec<Listener>) -> Result<Exit, Error> {
        let registry = self
            .reactor
            .registry()
            .try_clone()
            .map_err(|e| Error::machine(format!("cannot start: {}", words(&e))))?;
        let ports: Vec<_> = listeners.iter().filter_map(Listener::port).collect();
        let idle = self.config.session.manners.idle;
        let shop = Shop::new(proxying.clone(), self.config.family, ports, self.handshake(), idle);
        let report = self.report;
        let guests = Guests::new(proxy::callers(&shop, &registry, report), report, FIRST);
        self.serve_each(guests, listeners, |_| Reading::default())
    }

    fn serve_each<B: Business>(
        mut self,
        mut guests: Guests<'_, B>,
        listeners: Vec<Listener>,
        mut judge: impl FnMut(Instant) -> Reading,
    ) -> Result<Exit, Error> {
        let mut door = self.door(listeners);
        let mut alone = Alone::since(self.reactor.now(), self.config);
        let mut leaving: Option<(Instant, Result<Exit, Error>)> = None;
        let result = loop {
            let now = self.reactor.now();
            door.admit(&mut guests, self.reactor.registry(), now)?;
            let (gone, busy) = guests.drive(now, self.reactor.registry());
            for key in gone {
                door.goodbye(key);
            }
            let reading = judge(now);
            if leaving.is_none()
                && let Some(result) = reading.end
            {
                // Who is here is told why; nobody else comes.
                door.close();
                leaving = Some((now + GRACE, result));
            }
            if let Some((until, result)) = leaving.take() {
                if Hall::len(&guests) == 0 || until <= now {
                    break result;
                }
                leaving = Some((until, result));
            } else if door.is_closed() && Hall::len(&guests) == 0 {
                break guests.verdict();
            } else if let Some(result) = alone.judge(Hall::len(&guests), door.served(), now) {
                break result;
            }
            let grace = leaving.as_ref().map(|(until, _)| *until);
            let until =
                [guests.deadline(), door.deadline(now), grace, alone.deadline(), reading.again];
            let until = until.into_iter().flatten().min();
            self.wait(busy, until, |at, event| match at.key {
                HOUSE => door.knock(at),
                _ => guests.mark(at, event),
            })?;
            if let Some(signal) = self.signal(&mut door) {
                if guests.dismiss() {
                    wait_while(&mut self.reactor, || guests.any_runs())?;
                }
                return Ok(Exit::signal(signal));
            }
        };
        // Whoever reads what was printed gets all of it.
        let mut until = self.reactor.now() + LAST;
        loop {
            let now = self.reactor.now();
            let reading = judge(now);
            let Some(again) = reading.again.filter(|_| reading.end.is_none()) else {
                return reading.end.unwrap_or(result);
            };
            if reading.moved {
                until = now + LAST;
            } else if until <= now {
                return Err(Error::machine(format!(
                    "the last of what callers sent is not printed: nobody has read standard \
                     output for {} seconds",
                    LAST.as_secs()
                )));
            }
            self.wait(false, Some(again), |_, _| ())?;
            if let Some(signal) = self.signal(&mut door) {
                return Ok(Exit::signal(signal));
            }
        }
    }

    /// Many callers around one standard input and output.
    fn gather(mut self, listeners: Vec<Listener>, tap: Tap) -> Result<Exit, Error> {
        let session = &self.config.session;
        let mut local = talk::stdio(&session.manners)?;
        let token = Address { key: SOLO, side: LOCAL }.into();
        local.register(self.reactor.registry(), token).map_err(|e| {
            Error::machine(format!("cannot use standard input and output: {}", words(&e)))
        })?;
        // The talk of a chat is shown in a form that every terminal survives.
        let veil = match self.config.purpose {
            Purpose::Chat => SafeOutput::Auto.veil(&local),
            Purpose::Gather | Purpose::Broker => session.safe_output.veil(&local),
        };
        let manners = session.manners.clone();
        let purpose = self.config.purpose;
        let translation = Translation { crlf: session.crlf, telnet: session.telnet };
        let mut room = Room::new(purpose, local, manners, self.handshake(), translation, veil, tap);
        let mut door = self.door(listeners);
        let start = self.reactor.now();
        let mut alone = Alone::since(start, self.config);
        loop {
            let now = self.reactor.now();
            door.admit(&mut room, self.reactor.registry(), now)?;
            let driven = room.drive(now);
            for event in room.events() {
                self.tell(event, &mut door);
            }
            let status = match driven {
                Ok(_) if door.is_closed() && Hall::len(&room) == 0 => Status::Finished,
                Ok(status) => status,
                Err(trouble) => {
                    let nobody = Peer { name: "the callers", role: Role::Server };
                    return talk::with_log(talk::explain(trouble, nobody), room.tap(), self.report);
                }
            };
            if status == Status::Finished {
                talk::report_totals(self.report, room.totals(), start, now);
                return talk::with_log(Ok(Exit::DONE), room.tap(), self.report);
            }
            if let Some(result) = alone.judge(Hall::len(&room), door.served(), now) {
                return talk::with_log(result, room.tap(), self.report);
            }
            let until =
                [room.deadline(), room.next_sweep(now), door.deadline(now), alone.deadline()];
            let until = until.into_iter().flatten().min();
            self.wait(status == Status::Runnable, until, |at, event| match at.key {
                HOUSE => door.knock(at),
                SOLO => room.local().mark(event),
                key => {
                    // An event may outlive its member by one round: then nobody is there.
                    if let Some(endpoint) = room.endpoint(key - FIRST) {
                        endpoint.mark(event);
                        room.wake(key - FIRST);
                    }
                }
            })?;
            if let Some(signal) = self.signal(&mut door) {
                let exit = Ok(Exit::signal(signal));
                return talk::with_log(exit, room.tap(), self.report);
            }
        }
    }

    fn door(&mut self, listeners: Vec<Listener>) -> Door<'a> {
        let (access, tls) = (std::mem::take(&mut self.access), self.tls.clone());
        let door = Door::new(listeners, self.config.most, access, tls, self.report);
        // A proxy is there for many, however it was asked for.
        let many = self.config.keep_open || self.config.proxying.is_some();
        match (self.config.accept, many) {
            (Some(most), _) => door.closing_after(most),
            (None, false) => door.closing_after(1),
            (None, true) => door,
        }
    }

    /// The signal that ends us, if one has arrived. SIGHUP reads the access lists again, where
    /// they come from files; lists that cannot be read leave the old ones in force.
    fn signal(&mut self, door: &mut Door<'_>) -> Option<i32> {
        let signal = self.signals.arrived()?;
        if signal != libc::SIGHUP || !self.config.access.have_files() {
            return Some(signal);
        }
        if let Some(access) = self.read_access_again() {
            door.change_access(access);
        }
        None
    }

    fn read_access_again(&self) -> Option<Access> {
        match self.config.access.load(self.config.family, self.config.numeric) {
            Ok(access) => {
                self.report.story(format_args!("the access lists have been read again"));
                Some(access)
            }
            Err(error) => {
                self.report.error(&error);
                None
            }
        }
    }

    fn tell(&self, event: Event, door: &mut Door<'_>) {
        match event {
            Event::Joined(key) => {
                if let Some(caller) = door.name(key) {
                    self.report.story(format_args!("Connection from {caller}."));
                }
            }
            Event::Left(key, how) => {
                let Some(caller) = door.goodbye(key) else { return };
                match how {
                    Ok(()) => self.report.story(format_args!("{caller} has left.")),
                    Err(trouble) => complain(trouble, &caller.to_string(), self.report),
                }
            }
            Event::Dropped(key) => {
                if let Some(caller) = door.goodbye(key) {
                    self.report.warning(format_args!(
                        "{caller} was dropped: it reads too slowly, and too much waited for it"
                    ));
                }
            }
        }
    }
}

impl Hall for Room {
    fn len(&self) -> usize {
        Room::len(self)
    }

    fn join(
        &mut self,
        endpoint: Endpoint,
        caller: &Caller,
        first: Option<Vec<u8>>,
        now: Instant,
    ) -> usize {
        let key = Room::join(self, endpoint, caller.to_string(), now);
        if let Some(datagram) = first {
            self.push(key, datagram);
        }
        key
    }

    fn more(&mut self, key: usize, datagram: Vec<u8>) {
        self.push(key, datagram);
    }

    fn register(&mut self, key: usize, registry: &Registry) -> io::Result<()> {
        let token = Address { key: key + FIRST, side: REMOTE }.into();
        self.endpoint(key).map_or(Ok(()), |endpoint| endpoint.register(registry, token))
    }
}
