//! Calling somebody: name, address, TLS, then a conversation or just the answer (`-z`).

use super::door::SIGNALS;
use super::talk::{self, Peer, Role, Session};
use super::tlsinfo::{self, Format};
use super::via::{self, Proxy};
use super::{mail, serve};
use crate::engine::handshake::Handshake;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::{HOUSE, REMOTE, SOLO, Trouble};
use crate::error::{Error, Exit, words};
use crate::net::bind::{Protocol, SocketFile};
use crate::net::buf::Buf;
use crate::net::child::Program;
use crate::net::dial::{self, Dial, Source, seconds};
use crate::net::endpoint::{Endpoint, Moved};
use crate::net::names::{self, Family, Lookup};
use crate::net::target::with_port;
use crate::net::tls::Tls;
use crate::net::trust::{self, Findings, Parameters, Trust, Unusable};
use crate::report::Report;
use crate::sys::signal::{Signals, die_by};
use mio::Token;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What one address may take when `-w` says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each other step may take when `-w` says nothing.
const STEP: Duration = Duration::from_secs(30);

/// How long nobody has to object to a datagram of `-z` when `-i` says nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a full backlog of a Unix socket is left alone before the next try.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// Who is called.
#[derive(Debug, Clone)]
pub enum Target {
    /// A host's port over TCP.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
    /// Another virtual machine.
    Vsock {
        /// Which.
        cid: u32,
        /// Its port.
        port: u32,
    },
}

impl Target {
    /// As a person would write it.
    fn name(&self) -> String {
        match self {
            Target::Tcp { host, port } => with_port(host, *port),
            Target::Unix(path) => path.display().to_string(),
            Target::Vsock { cid, port } => format!("{cid}:{port}"),
        }
    }
}

/// TLS as the calling side.
#[derive(Debug, Clone)]
pub struct TlsClient {
    /// Whom to believe.
    pub trust: Trust,
    /// Versions, ciphers, our certificate.
    pub parameters: Parameters,
    /// What the certificate must be for.
    pub name: String,
}

impl TlsClient {
    /// Makes the layer for one connection.
    ///
    /// # Errors
    /// Files and settings that cannot be used.
    pub fn prepare(&self) -> Result<ReadyTls, Error> {
        let unusable = |Unusable(why)| Error::machine(why);
        let (config, findings) = trust::client(&self.trust, &self.parameters).map_err(unusable)?;
        Ok(ReadyTls { config, findings, tls: self.clone() })
    }
}

/// TLS that is ready to be started.
#[derive(Debug, Clone)]
pub struct ReadyTls {
    config: Arc<trust::ClientConfig>,
    findings: Findings,
    tls: TlsClient,
}

impl ReadyTls {
    /// A layer for one connection.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn layer(&self) -> Result<Tls, crate::net::tls::Failure> {
        Tls::client(Arc::clone(&self.config), &self.tls.name)
    }

    /// Says what the handshake came to.
    pub fn announce(&self, endpoint: &Endpoint, report: &Report) {
        if let Some(agreed) = endpoint.tls().and_then(Tls::agreed) {
            let verdict = self.findings.verdict();
            tlsinfo::announce(&agreed, &self.tls.name, &verdict, self.tls.trust.verify, report);
        }
    }

    /// One line for a person: `TLS 1.3, mail.example, verified`.
    pub fn summary(&self, endpoint: &Endpoint) -> String {
        let agreed = endpoint.tls().and_then(Tls::agreed);
        let verdict = self.findings.verdict();
        agreed.map_or_else(String::new, |a| tlsinfo::summary(&a, &self.tls.name, &verdict))
    }

    /// All that `--ssl-info` tells.
    pub fn describe(&self, endpoint: &Endpoint, format: Format) -> String {
        let agreed = endpoint.tls().and_then(Tls::agreed);
        let verdict = self.findings.verdict();
        agreed.map_or_else(String::new, |agreed| {
            tlsinfo::describe(format, &agreed, &self.tls.name, &verdict, SystemTime::now())
        })
    }
}

/// What connect mode is told.
#[derive(Debug)]
pub struct Config {
    /// Who is called.
    pub target: Target,
    /// A stream or datagrams.
    pub protocol: Protocol,
    /// What talks with the peer, instead of standard input and output.
    pub program: Option<Program>,
    /// Which addresses are wanted.
    pub family: Family,
    /// Nobody is asked for names (`-n`).
    pub numeric: bool,
    /// Where our end of a Unix datagram conversation is put.
    pub scratch: PathBuf,
    /// Hosts that the packets go by (`-g`).
    pub hops: Vec<String>,
    /// The pointer of that route (`-G`).
    pub hop_pointer: u8,
    /// The way there, the nearest first.
    pub proxies: Vec<Proxy>,
    /// Who finds the target's address, if there are proxies.
    pub proxy_dns: via::Dns,
    /// Source address, as it was typed (`-s`); a path for Unix datagrams.
    pub source: Option<String>,
    /// Source port (`-p`).
    pub source_port: u16,
    /// Bounds everything until the conversation can start (`-w`).
    pub wait: Option<Duration>,
    /// TLS from the first byte, or ready for an upgrade.
    pub tls: Option<TlsClient>,
    /// TLS starts later, by STARTTLS.
    pub tls_later: bool,
    /// `--ssl-info`
    pub tls_info: Option<Format>,
    /// Only find out whether somebody answers (`-z`).
    pub probe: bool,
    /// How the conversation goes.
    pub session: Session,
    /// A helped mail session instead of plain bytes.
    pub mail: Option<mail::Config>,
}

/// Calls, and talks.
///
/// # Errors
/// What kept us from calling, or what ended the conversation.
pub fn run(config: Config, report: &Report) -> Result<Exit, Error> {
    let tap = config.session.log.open()?;
    let mail = config.mail.clone().map(mail::Config::prepare).transpose()?;
    let tls = config.tls.as_ref().map(TlsClient::prepare).transpose()?;
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let mut reactor = Reactor::new().map_err(cannot)?;
    let limit = config.wait.map(|wait| reactor.now() + wait);
    let mut call = Call { config: &config, reactor: &mut reactor, limit, report, file: None };
    let first = tls.as_ref().filter(|_| !config.tls_later);
    let called = call.run(first);
    let file = call.file.take();
    let Called { endpoint, address, early } = match called {
        Err(error) if config.probe && !report.is_telling() && error.exit() == Exit::NETWORK => {
            return Ok(Exit::NETWORK);
        }
        other => other?,
    };
    if let Some(tls) = first {
        tls.announce(&endpoint, report);
        if let Some(format) = config.tls_info {
            show_info(&tls.describe(&endpoint, format), config.probe, report);
        }
    }
    let name = config.target.name();
    let peer = Peer { name: &name, role: Role::Client };
    if config.probe && config.protocol == Protocol::Datagram {
        return probe_udp(&mut reactor, endpoint, &config, &name, report);
    }
    if config.probe && !config.mail.as_ref().is_some_and(|mail| mail.upgrade_only) {
        return talk::finish(&mut reactor, None, Ok(()), endpoint, peer);
    }
    let secure = first.is_some();
    // Where something of ours would outlive us signals are caught; else they do what they do.
    let mut signals = None;
    if file.is_some() || config.program.is_some() {
        let mut caught = Signals::catch_fatal().map_err(cannot)?;
        let token = Address { key: HOUSE, side: SIGNALS }.into();
        caught.register(reactor.registry(), token).map_err(cannot)?;
        signals = Some(caught);
    }
    let until = limit.unwrap_or(reactor.now() + STEP);
    let scene = talk::Scene {
        reactor: &mut reactor,
        signals: signals.as_mut(),
        session: &config.session,
        peer,
        report,
    };
    let result = match (&config.program, mail) {
        (Some(program), _) => serve::one(scene, program, STEP, endpoint, early, tap),
        (None, Some(mail)) => {
            let loopback = address.is_none_or(|address| address.ip().is_loopback());
            let patience = config.wait.unwrap_or(STEP);
            let (info, probe) = (config.tls_info, config.probe);
            let quiet = probe && !report.is_telling();
            let link =
                mail::Link { endpoint, early, tls, secure, loopback, until, patience, info, probe };
            match mail::run(scene, link, mail, tap) {
                Err(error) if quiet && error.exit() != Exit::MACHINE => Ok(error.exit()),
                other => other,
            }
        }
        (None, None) => talk::run(scene, endpoint, early, tap),
    };
    drop(file);
    if let (Some(_), Ok(Exit(status @ 129..))) = (&signals, &result) {
        die_by(i32::from(*status) - 128);
    }
    result
}

/// Asks over UDP whether somebody is there: a datagram of one NUL, and then silence is consent.
///
/// A reply is shown, and the wait begins again.
fn probe_udp(
    reactor: &mut Reactor,
    mut endpoint: Endpoint,
    config: &Config,
    name: &str,
    report: &Report,
) -> Result<Exit, Error> {
    let silence = config.session.manners.idle.unwrap_or(SILENCE);
    let closed = |e: io::Error| match report.is_telling() {
        true => Err(Error::network(format!("{name}: {}", words(&e)))),
        false => Ok(Exit::NETWORK),
    };
    endpoint
        .register(reactor.registry(), TOKEN.into())
        .map_err(|e| Error::machine(format!("cannot wait for {name}: {}", words(&e))))?;
    endpoint.assume_ready();
    if let Err(e) = endpoint.write(&[0]) {
        return closed(e);
    }
    let mut answer = Buf::new(64 * 1024);
    let mut until = reactor.now() + silence;
    while reactor.now() < until {
        match endpoint.read(&mut answer) {
            Ok(Moved::Bytes(n)) => {
                // A reader who has seen enough is no failure.
                let _ = io::stdout().write_all(answer.bytes());
                answer.consume(n);
                until = reactor.now() + silence;
            }
            Ok(Moved::Blocked | Moved::Eof) => reactor
                .wait(false, Some(until), |_, event| endpoint.mark(event))
                .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))?,
            Err(e) => return closed(e),
        }
    }
    report.story(format_args!("UDP packet sent successfully; nobody objected"));
    Ok(Exit::DONE)
}

/// With `-z` there is no data on standard output, so a script finds the facts there.
pub(super) fn show_info(info: &str, probe: bool, report: &Report) {
    if probe {
        // A reader who has seen enough is no failure.
        let _ = io::stdout().write_all(info.as_bytes());
    } else {
        report.answer(format_args!("{}", info.trim_end_matches('\n')));
    }
}

/// Somebody has answered.
pub(super) struct Called {
    pub(super) endpoint: Endpoint,
    /// Where: the proxy, if there is one.
    pub(super) address: Option<SocketAddr>,
    /// What the target has sent behind a proxy's answer.
    pub(super) early: Option<Buf>,
}

/// A call under way.
pub(super) struct Call<'a> {
    pub(super) config: &'a Config,
    pub(super) reactor: &'a mut Reactor,
    limit: Option<Instant>,
    pub(super) report: &'a Report,
    /// Our own end of a Unix datagram conversation; it goes when we go.
    file: Option<SocketFile>,
}

const TOKEN: Address = Address { key: SOLO, side: REMOTE };

impl Call<'_> {
    fn run(&mut self, tls: Option<&ReadyTls>) -> Result<Called, Error> {
        match &self.config.target {
            Target::Unix(path) => {
                let endpoint = match self.config.protocol {
                    Protocol::Stream | Protocol::Sctp => self.call_unix(path)?,
                    Protocol::Datagram => self.take_unix(path)?,
                };
                self.report.story(format_args!("Connected to {}.", path.display()));
                Ok(Called { endpoint, address: None, early: None })
            }
            Target::Vsock { cid, port } => {
                let endpoint = self.call_vsock(*cid, *port)?;
                self.report.story(format_args!("Connected to {cid}:{port}."));
                Ok(Called { endpoint, address: None, early: None })
            }
            Target::Tcp { host, port } if !self.config.proxies.is_empty() => {
                let called = via::call(self, host, *port)?;
                self.dress(called, tls)
            }
            Target::Tcp { host, port } => {
                let addresses = self.resolve(host, *port)?;
                let (endpoint, address) = match self.config.protocol {
                    Protocol::Datagram => self.take_udp(&addresses)?,
                    Protocol::Stream | Protocol::Sctp => self.call_tcp(&addresses, tls)?,
                };
                Ok(Called { endpoint, address: Some(address), early: None })
            }
        }
    }

    /// TLS with the target inside the tunnel.
    fn dress(&mut self, mut called: Called, tls: Option<&ReadyTls>) -> Result<Called, Error> {
        let Some(tls) = tls else { return Ok(called) };
        let name = self.config.target.name();
        // A TLS server does not speak first, so these bytes are nobody's.
        if called.early.is_some() {
            return talk::explain(Trouble::Smuggled, Peer { name: &name, role: Role::Client })
                .and(Err(Error::network(format!("{name} spoke before TLS"))));
        }
        called.endpoint.start_tls(
            tls.layer().map_err(|failure| Error::network(format!("TLS with {name}: {failure}")))?,
        );
        let endpoint = self.shake_hands(called.endpoint)?;
        Ok(Called { endpoint, ..called })
    }

    /// A plain connection to the first that answers.
    pub(super) fn dial(
        &mut self,
        addresses: &[SocketAddr],
        name: &str,
    ) -> Result<(Endpoint, SocketAddr), Error> {
        let source = self.source()?;
        let mut dial = Dial::new(addresses, source, Token::from(TOKEN));
        self.answered(&mut dial, name)
    }

    /// When a step that starts now has to be done.
    pub(super) fn until(&self) -> Instant {
        self.limit.unwrap_or(self.reactor.now() + STEP)
    }

    pub(super) fn patience(&self) -> Duration {
        self.config.wait.unwrap_or(STEP)
    }

    fn sleep(&mut self, until: Instant) -> Result<(), Error> {
        self.reactor
            .wait(false, Some(until), |_, _| {})
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))
    }

    pub(super) fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let family = self.config.family;
        let unknown = |why: String| {
            let error = Error::machine(format!("cannot find the address of {host}: {why}"));
            match self.config.numeric {
                true => error.hint("-n forbids to look names up: leave it out"),
                false => error,
            }
        };
        if self.config.numeric || names::literal(host, port).is_some() {
            return names::resolve(host, port, family, true).map_err(unknown);
        }
        let cannot = |e: io::Error| Error::machine(format!("cannot look up {host}: {}", words(&e)));
        let mut lookup = Lookup::start(host, port, family).map_err(cannot)?;
        lookup.register(self.reactor.registry(), TOKEN.into()).map_err(cannot)?;
        let until = self.until();
        loop {
            if let Some(answer) = lookup.answer() {
                let addresses = answer.map_err(unknown)?;
                if self.report.is_telling() {
                    let all: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
                    self.report.story(format_args!("{host} has the address {}.", all.join(", ")));
                }
                return Ok(addresses);
            }
            if until <= self.reactor.now() {
                let time = seconds(self.patience());
                return Err(Error::network(format!(
                    "cannot find the address of {host}: no answer from DNS in {time}"
                )));
            }
            self.sleep(until)?;
        }
    }

    /// Calls until somebody answers, and TLS with it if it is wanted from the first byte.
    fn call_tcp(
        &mut self,
        addresses: &[SocketAddr],
        tls: Option<&ReadyTls>,
    ) -> Result<(Endpoint, SocketAddr), Error> {
        let source = self.source()?;
        let name = self.config.target.name();
        let mut dial = Dial::new(addresses, source, Token::from(TOKEN));
        loop {
            let (mut endpoint, address) = self.answered(&mut dial, &name)?;
            self.report.story(format_args!("Connected to {address}."));
            let Some(tls) = tls else { return Ok((endpoint, address)) };
            let failure = |failure| Error::network(format!("TLS with {name}: {failure}"));
            endpoint.start_tls(tls.layer().map_err(failure)?);
            match self.shake_hands(endpoint) {
                Ok(endpoint) => return Ok((endpoint, address)),
                Err(error) if !dial.has_more() => return Err(error),
                // The next address may be another machine.
                Err(error) => {
                    self.report.story(format_args!("{error}"));
                    dial.reject(address, "TLS failed".to_owned());
                }
            }
        }
    }

    /// The first address that can be one: over UDP nobody answers a call.
    fn take_udp(&mut self, addresses: &[SocketAddr]) -> Result<(Endpoint, SocketAddr), Error> {
        let source = self.source()?;
        let mut failed = Vec::new();
        for &address in addresses {
            match dial::udp(address, &source) {
                Ok(endpoint) => {
                    self.report.story(format_args!("Connected to {address}."));
                    return Ok((endpoint, address));
                }
                Err(e) => failed.push(format!("{} ({address})", words(&e))),
            }
        }
        let name = self.config.target.name();
        Err(Error::network(format!("cannot send to {name}: {}", failed.join(", "))))
    }

    fn source(&self) -> Result<Source, Error> {
        Ok(Source {
            address: self.source_address()?,
            port: self.config.source_port,
            patience: self.config.wait.unwrap_or(PATIENCE),
            sctp: self.config.protocol == Protocol::Sctp,
            route: self.route()?,
        })
    }

    /// The way by the hops of `-g` to the target.
    fn route(&self) -> Result<Option<Vec<u8>>, Error> {
        let (hops, Target::Tcp { host, .. }) = (&self.config.hops, &self.config.target) else {
            return Ok(None);
        };
        if hops.is_empty() {
            return Ok(None);
        }
        let address = |host: &str| match names::resolve(host, 0, Family::V4, self.config.numeric) {
            Ok(found) => match found.first().map(SocketAddr::ip) {
                Some(IpAddr::V4(ip)) => Ok(ip),
                Some(IpAddr::V6(_)) | None => {
                    Err(Error::usage(format!("{host} has no IPv4 address")))
                }
            },
            Err(why) => Err(Error::usage(format!("-g: cannot find the hop {host}: {why}"))),
        };
        let route = hops.iter().map(|hop| address(hop)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(dial::source_route(&route, address(host)?, self.config.hop_pointer)))
    }

    fn answered(&mut self, dial: &mut Dial, name: &str) -> Result<(Endpoint, SocketAddr), Error> {
        loop {
            match dial.drive(self.reactor.registry(), self.reactor.now()) {
                Some(Ok(through)) => return Ok(through),
                Some(Err(())) => {
                    let why = dial.failures();
                    return Err(Error::network(format!("cannot connect to {name}: {why}")));
                }
                None => {}
            }
            let until = [dial.deadline(), self.limit].into_iter().flatten().min();
            let until = until.unwrap_or(self.reactor.now() + STEP);
            if self.limit.is_some_and(|limit| limit <= self.reactor.now()) {
                let time = seconds(self.patience());
                return Err(Error::network(format!(
                    "cannot connect to {name}: no answer in {time}"
                )));
            }
            self.sleep(until)?;
        }
    }

    fn shake_hands(&mut self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        let mut handshake = Handshake::new(endpoint, self.until(), self.patience());
        let name = self.config.target.name();
        match crate::engine::run(self.reactor, &mut handshake, None) {
            Ok(()) => Ok(handshake.into_peer()),
            Err(trouble) => {
                let peer = Peer { name: &name, role: Role::Client };
                match talk::explain(trouble, peer) {
                    Err(error) => Err(error),
                    // No output, no signals: every trouble of a handshake is an error.
                    Ok(_) => Err(Error::network(format!("TLS with {name} came to nothing"))),
                }
            }
        }
    }

    fn source_address(&self) -> Result<Option<IpAddr>, Error> {
        let Some(source) = &self.config.source else { return Ok(None) };
        let found = names::resolve(source, 0, self.config.family, self.config.numeric);
        let cannot = |why| Error::usage(format!("-s {source}: cannot find this address: {why}"));
        Ok(found.map_err(cannot)?.first().map(SocketAddr::ip))
    }

    fn call_vsock(&mut self, cid: u32, port: u32) -> Result<Endpoint, Error> {
        let name = self.config.target.name();
        let failed =
            |e: io::Error| Error::network(format!("cannot connect to {name}: {}", words(&e)));
        let from = self.config.source.as_ref().and_then(|source| source.parse().ok());
        let source = (from, u32::from(self.config.source_port));
        let mut endpoint = dial::vsock(cid, port, source).map_err(failed)?;
        endpoint.register(self.reactor.registry(), TOKEN.into()).map_err(failed)?;
        let until = self.limit.unwrap_or(self.reactor.now() + PATIENCE);
        while !endpoint.is_through().map_err(failed)? {
            if until <= self.reactor.now() {
                let time = seconds(self.config.wait.unwrap_or(PATIENCE));
                return Err(Error::network(format!(
                    "cannot connect to {name}: no answer in {time}"
                )));
            }
            self.sleep(until)?;
        }
        Ok(endpoint)
    }

    /// A Unix datagram socket: answers come to a socket file of ours.
    fn take_unix(&mut self, path: &std::path::Path) -> Result<Endpoint, Error> {
        let source = match &self.config.source {
            Some(source) => PathBuf::from(source),
            None => self.config.scratch.join(format!("ncat.{}", std::process::id())),
        };
        match dial::unix_datagram(path, &source) {
            Ok((endpoint, file)) => {
                self.report.story(format_args!("answers come to {}", source.display()));
                self.file = Some(file);
                Ok(endpoint)
            }
            Err(e) => Err(Error::network(format!(
                "cannot send to {} from {}: {}",
                path.display(),
                source.display(),
                words(&e)
            ))),
        }
    }

    fn call_unix(&mut self, path: &std::path::Path) -> Result<Endpoint, Error> {
        let until = self.limit.unwrap_or(self.reactor.now() + PATIENCE);
        loop {
            match dial::unix(path) {
                Ok(endpoint) => return Ok(endpoint),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if until <= self.reactor.now() {
                        return Err(Error::network(format!(
                            "cannot connect to {}: it is there, but takes nobody",
                            path.display()
                        )));
                    }
                    let pause = self.reactor.now() + BACKLOG_PAUSE;
                    self.sleep(pause)?;
                }
                Err(e) => {
                    let error = Error::network(format!(
                        "cannot connect to {}: {}",
                        path.display(),
                        words(&e)
                    ));
                    return Err(match e.raw_os_error() {
                        Some(libc::ECONNREFUSED) => error.hint("nobody listens on this socket now"),
                        Some(libc::EPROTOTYPE) => {
                            error.hint("this is a datagram socket, and only streams are there yet")
                        }
                        _ => error,
                    });
                }
            }
        }
    }
}
