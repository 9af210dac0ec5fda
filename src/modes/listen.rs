//! Waiting for callers: one, or with `-k` many at once.

use super::talk::{self, Peer, Role, Session};
use crate::engine::handshake::Handshake;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::room::{Event, Room};
use crate::engine::{HOUSE, LOCAL, REMOTE, SOLO, Status, Trouble};
use crate::error::{Error, Exit, words};
use crate::net::bind::{Caller, Listener};
use crate::net::endpoint::Endpoint;
use crate::net::names::{self, Family};
use crate::net::tls::Tls;
use crate::net::trust::{self, Parameters, ServerConfig};
use crate::report::Report;
use crate::sys::signal::Signals;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The side of [`HOUSE`] on which signals arrive; listeners have the numbers from 0.
const SIGNALS: usize = 1 << 16;

/// What a TLS handshake may take when `-w` says nothing: a slow caller costs a descriptor.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How long accepting pauses when we are out of descriptors, if nobody leaves before.
const PAUSE: Duration = Duration::from_millis(250);

/// Where we wait.
#[derive(Debug, Clone)]
pub enum Place {
    /// On every address.
    Everywhere(u16),
    /// On the first address of a host.
    Host {
        /// Name or address.
        host: String,
        /// 0 for a free one.
        port: u16,
    },
    /// On a Unix stream socket.
    Unix(PathBuf),
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

/// What listen mode is told.
#[derive(Debug)]
pub struct Config {
    /// Where we wait.
    pub place: Place,
    /// Which families.
    pub family: Family,
    /// Nobody is asked for names (`-n`).
    pub numeric: bool,
    /// One caller after the other, and many at once (`-k`).
    pub keep_open: bool,
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

/// Waits, and talks.
///
/// # Errors
/// What kept us from listening, or what ended it.
pub fn run(config: Config, report: &Report) -> Result<Exit, Error> {
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let tap = config.session.log.open()?;
    let mut signals = Signals::catch_fatal().map_err(cannot)?;
    let reactor = Reactor::new().map_err(cannot)?;
    let signal_token = Address { key: HOUSE, side: SIGNALS }.into();
    signals.register(reactor.registry(), signal_token).map_err(cannot)?;
    let tls = config.tls.as_ref().map(|tls| prepare(tls, report)).transpose()?;
    let mut listeners = bind(&config)?;
    for (side, listener) in listeners.iter_mut().enumerate() {
        let token = Address { key: HOUSE, side }.into();
        listener.register(reactor.registry(), token).map_err(cannot)?;
    }
    tell(&config, &listeners, report)?;
    let server = Server { config: &config, tls, reactor, signals, report };
    if config.keep_open { server.many(listeners, tap) } else { server.one(listeners, tap) }
}

fn prepare(tls: &TlsServer, report: &Report) -> Result<Arc<ServerConfig>, Error> {
    let host = tls.host.as_deref();
    let made = trust::server(&tls.parameters, host, tls.client_ca.as_deref());
    let (config, own) = made.map_err(|unusable| Error::machine(unusable.0))?;
    if own.ephemeral {
        report.story(format_args!("made a certificate for this run (ECDSA P-256)"));
    }
    report.story(format_args!("our certificate: SHA-256 {}", own.fingerprint()));
    if let Some(file) = &tls.certificate_out {
        std::fs::write(file, own.pem()).map_err(|e| {
            Error::machine(format!("cannot write {}: {}", file.display(), words(&e)))
        })?;
    }
    Ok(config)
}

fn bind(config: &Config) -> Result<Vec<Listener>, Error> {
    let busy = |place: String, e: io::Error| {
        let error = Error::machine(format!("cannot listen on {place}: {}", words(&e)));
        let hint = match e.raw_os_error() {
            Some(libc::EACCES) => "ports below 1024 need privileges: try one above, -l 8080",
            Some(libc::EADDRINUSE) => "somebody listens there already",
            Some(libc::EADDRNOTAVAIL) => "this is no address of this machine",
            _ => return error,
        };
        error.hint(hint)
    };
    match &config.place {
        Place::Unix(path) => {
            let listener = Listener::unix(path).map_err(|e| busy(path.display().to_string(), e))?;
            Ok(vec![listener])
        }
        Place::Host { host, port } => {
            let addresses =
                names::resolve(host, *port, config.family, config.numeric).map_err(|why| {
                    Error::machine(format!("cannot find the address of {host}: {why}"))
                })?;
            let address = addresses[0];
            Ok(vec![Listener::tcp(address).map_err(|e| busy(address.to_string(), e))?])
        }
        Place::Everywhere(port) => match config.family {
            Family::Any => {
                Listener::everywhere(*port).map_err(|(address, e)| busy(address.to_string(), e))
            }
            Family::V4 | Family::V6 => {
                let all = if config.family == Family::V4 { "0.0.0.0" } else { "::" };
                let address =
                    names::literal(all, *port).unwrap_or(SocketAddr::from(([0; 4], *port)));
                Ok(vec![Listener::tcp(address).map_err(|e| busy(address.to_string(), e))?])
            }
        },
    }
}

/// Everybody who wants to know that we are ready is told, now that it is true.
fn tell(config: &Config, listeners: &[Listener], report: &Report) -> Result<(), Error> {
    for listener in listeners {
        report.story(format_args!("Listening on {listener}"));
    }
    if config.test {
        for _ in listeners {
            report.answer(format_args!("NCAT TEST: LISTEN"));
        }
    }
    if config.announce {
        let kind = match (&config.place, &config.tls) {
            (Place::Unix(_), _) => "unix",
            (_, Some(_)) => "tls",
            (_, None) => "tcp",
        };
        let lines: String = listeners.iter().map(|l| format!("listening {kind} {l}\n")).collect();
        let mut out = io::stdout();
        out.write_all(lines.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| Error::machine(format!("cannot write standard output: {}", words(&e))))?;
    }
    if let (Some(file), Some(port)) = (&config.port_file, listeners[0].port()) {
        write_whole(file, &format!("{port}\n")).map_err(|e| {
            Error::machine(format!("cannot write {}: {}", file.display(), words(&e)))
        })?;
    }
    Ok(())
}

/// Whoever waits for the file never sees half of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

struct Server<'a> {
    config: &'a Config,
    tls: Option<Arc<ServerConfig>>,
    reactor: Reactor,
    signals: Signals,
    report: &'a Report,
}

impl Server<'_> {
    /// TLS for a caller, if it is wanted.
    fn dress(&self, endpoint: &mut Endpoint) -> Result<(), Error> {
        if let Some(config) = &self.tls {
            let tls = Tls::server(Arc::clone(config));
            endpoint.start_tls(tls.map_err(|failure| Error::machine(failure.to_string()))?);
        }
        Ok(())
    }

    /// One caller; the others are refused by the kernel.
    fn one(
        mut self,
        listeners: Vec<Listener>,
        tap: crate::engine::tap::Tap,
    ) -> Result<Exit, Error> {
        let (mut endpoint, caller) = match self.first_caller(listeners)? {
            Ok(called) => called,
            Err(exit) => return Ok(exit),
        };
        if self.config.most == 0 {
            self.deny(&caller);
            return Ok(Exit::DONE);
        }
        self.dress(&mut endpoint)?;
        let name = caller.to_string();
        let peer = Peer { name: &name, role: Role::Server };
        if endpoint.is_handshaking() {
            let patience = self.config.wait.unwrap_or(HANDSHAKE);
            let until = self.reactor.now() + patience;
            let mut handshake = Handshake::new(endpoint, until, patience);
            let signals = Some(&mut self.signals);
            if let Err(trouble) = crate::engine::run(&mut self.reactor, &mut handshake, signals) {
                return talk::explain(trouble, peer);
            }
            endpoint = handshake.into_peer();
        }
        self.report.story(format_args!("Connection from {caller}."));
        let scene = talk::Scene {
            reactor: &mut self.reactor,
            signals: Some(&mut self.signals),
            session: &self.config.session,
            peer,
            report: self.report,
        };
        talk::run(scene, endpoint, None, tap)
    }

    fn first_caller(
        &mut self,
        mut listeners: Vec<Listener>,
    ) -> Result<Result<(Endpoint, Caller), Exit>, Error> {
        loop {
            for listener in &mut listeners {
                match listener.accept() {
                    // The others are refused from here on: the listeners are closed.
                    Ok(Some(called)) => return Ok(Ok(called)),
                    Ok(None) => {}
                    Err(e) => {
                        return Err(Error::machine(format!(
                            "cannot accept a caller: {}",
                            words(&e)
                        )));
                    }
                }
            }
            self.sleep(None)?;
            if let Some(signal) = self.signals.arrived() {
                return Ok(Err(Exit::signal(signal)));
            }
        }
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Error> {
        self.reactor
            .wait(false, until, |_, _| {})
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))
    }

    fn deny(&self, caller: &Caller) {
        self.report.story(format_args!(
            "New connection denied: connection limit reached ({}); it was {caller}",
            self.config.most
        ));
    }

    /// Many callers around one standard input and output.
    fn many(
        mut self,
        listeners: Vec<Listener>,
        tap: crate::engine::tap::Tap,
    ) -> Result<Exit, Error> {
        let session = &self.config.session;
        let mut local = talk::stdio(&session.manners)?;
        let cannot = |e: io::Error| {
            Error::machine(format!("cannot use standard input and output: {}", words(&e)))
        };
        let token = Address { key: SOLO, side: LOCAL }.into();
        local.register(self.reactor.registry(), token).map_err(cannot)?;
        let veil = session.safe_output.veil(&local);
        let handshake = self.config.wait.unwrap_or(HANDSHAKE);
        let manners = session.manners.clone();
        let room = Room::new(local, manners, handshake, session.crlf, veil, tap);
        let mut door =
            Door { listeners, callers: true, paused: None, names: HashMap::new(), warned: false };
        self.serve(room, &mut door)
    }

    fn serve(&mut self, mut room: Room, door: &mut Door) -> Result<Exit, Error> {
        let start = self.reactor.now();
        loop {
            let now = self.reactor.now();
            if door.is_due(now) {
                self.admit(&mut room, door)?;
            }
            let driven = room.drive(now);
            for event in room.events() {
                self.tell(event, door);
            }
            let status = match driven {
                Ok(status) => status,
                Err(trouble) => {
                    let nobody = Peer { name: "the callers", role: Role::Server };
                    return talk::explain(trouble, nobody);
                }
            };
            if status == Status::Finished {
                talk::log_is_whole(room.tap())?;
                talk::report_totals(self.report, room.totals(), start, now);
                return Ok(Exit::DONE);
            }
            let until = [room.deadline(), room.next_sweep(now), door.paused];
            let until = until.into_iter().flatten().min();
            let busy = status == Status::Runnable;
            let happened = |at: Address, event: &mio::event::Event| match at.key {
                HOUSE if at.side == SIGNALS => {}
                HOUSE => door.callers = true,
                SOLO => room.local().mark(event),
                key => {
                    let key = key - FIRST_MEMBER;
                    // An event may outlive its member by one round: then nobody is there.
                    if let Some(endpoint) = room.endpoint(key) {
                        endpoint.mark(event);
                        room.wake(key);
                    }
                }
            };
            self.reactor
                .wait(busy, until, happened)
                .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))?;
            if let Some(signal) = self.signals.arrived() {
                return Ok(Exit::signal(signal));
            }
        }
    }

    fn admit(&mut self, room: &mut Room, door: &mut Door) -> Result<(), Error> {
        door.callers = false;
        door.paused = None;
        for i in 0..door.listeners.len() {
            loop {
                match door.listeners[i].accept() {
                    Ok(None) => break,
                    Ok(Some((_, caller))) if room.len() >= self.config.most => self.deny(&caller),
                    Ok(Some((mut endpoint, caller))) => {
                        self.dress(&mut endpoint)?;
                        let key = room.join(endpoint, self.reactor.now());
                        door.names.insert(key, caller);
                        let token = Address { key: key + FIRST_MEMBER, side: REMOTE }.into();
                        let registry = self.reactor.registry();
                        if let Some(endpoint) = room.endpoint(key) {
                            endpoint.register(registry, token).map_err(|e| {
                                Error::machine(format!("cannot wait for a caller: {}", words(&e)))
                            })?;
                        }
                    }
                    // Those who are here stay; the rest waits in the kernel's queue.
                    Err(e) => {
                        door.paused = Some(self.reactor.now() + PAUSE);
                        if !std::mem::replace(&mut door.warned, true) {
                            self.report.warning(format_args!(
                                "cannot accept more callers for now: {}",
                                words(&e)
                            ));
                        }
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&self, event: Event, door: &mut Door) {
        match event {
            Event::Joined(key) => {
                if let Some(caller) = door.names.get(&key) {
                    self.report.story(format_args!("Connection from {caller}."));
                }
            }
            Event::Left(key, how) => {
                let Some(caller) = door.goodbye(key) else { return };
                match how {
                    Ok(()) => self.report.story(format_args!("{caller} has left.")),
                    Err(trouble) => self.complain(trouble, &caller),
                }
            }
            Event::Dropped(key) => {
                if let Some(caller) = door.goodbye(key) {
                    self.report.warning(format_args!(
                        "{caller} was dropped: it reads nothing, and the others waited for it"
                    ));
                }
            }
        }
    }

    /// One caller's trouble is not ours: it is said with -v.
    fn complain(&self, trouble: Trouble, caller: &Caller) {
        let name = caller.to_string();
        let peer = Peer { name: &name, role: Role::Server };
        if let Err(error) = talk::explain(trouble, peer) {
            let text = error.to_string();
            self.report.story(format_args!("{}", text.strip_prefix("ncat: ").unwrap_or(&text)));
        }
    }
}

/// Member `n` of the room has this key and `n` more.
const FIRST_MEMBER: usize = SOLO + 1;

/// Where callers come in.
struct Door {
    listeners: Vec<Listener>,
    /// Somebody may wait.
    callers: bool,
    /// Out of descriptors: not before then, unless somebody leaves.
    paused: Option<Instant>,
    names: HashMap<usize, Caller>,
    warned: bool,
}

impl Door {
    fn is_due(&self, now: Instant) -> bool {
        match self.paused {
            Some(until) => until <= now,
            None => self.callers,
        }
    }

    fn goodbye(&mut self, key: usize) -> Option<Caller> {
        if self.paused.is_some() {
            // A descriptor is free again.
            self.paused = None;
            self.callers = true;
        }
        self.names.remove(&key)
    }
}
