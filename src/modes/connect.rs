//! Calling somebody: name, address, TLS, then a conversation or just the answer (`-z`).

use super::mail;
use super::talk::{self, Peer, Role, Session};
use super::tlsinfo::{self, Format};
use crate::engine::handshake::Handshake;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::{REMOTE, SOLO};
use crate::error::{Error, Exit, words};
use crate::net::dial::{self, Dial, Source, seconds};
use crate::net::endpoint::Endpoint;
use crate::net::names::{self, Family, Lookup};
use crate::net::target::with_port;
use crate::net::tls::Tls;
use crate::net::trust::{self, Findings, Parameters, Trust, Unusable};
use crate::report::Report;
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
}

impl Target {
    /// As a person would write it.
    fn name(&self) -> String {
        match self {
            Target::Tcp { host, port } => with_port(host, *port),
            Target::Unix(path) => path.display().to_string(),
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
    /// Which addresses are wanted.
    pub family: Family,
    /// Nobody is asked for names (`-n`).
    pub numeric: bool,
    /// Source address, as it was typed (`-s`).
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
    let mut call = Call { config: &config, reactor: &mut reactor, limit, report };
    let first = tls.as_ref().filter(|_| !config.tls_later);
    let called = call.run(first);
    let (endpoint, address) = match called {
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
    if config.probe && !config.mail.as_ref().is_some_and(|mail| mail.upgrade_only) {
        return talk::finish(&mut reactor, Ok(()), endpoint, peer);
    }
    let secure = first.is_some();
    let session = &config.session;
    let scene = talk::Scene { reactor: &mut reactor, signals: None, session, peer, report };
    match mail {
        Some(mail) => {
            let loopback = address.is_none_or(|address| address.ip().is_loopback());
            let patience = config.wait.unwrap_or(STEP);
            let until = limit.unwrap_or(scene.reactor.now() + STEP);
            let (info, probe) = (config.tls_info, config.probe);
            let quiet = probe && !report.is_telling();
            let link = mail::Link { endpoint, tls, secure, loopback, until, patience, info, probe };
            match mail::run(scene, link, mail, tap) {
                Err(error) if quiet && error.exit() != Exit::MACHINE => Ok(error.exit()),
                other => other,
            }
        }
        None => talk::run(scene, endpoint, None, tap),
    }
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

/// A call under way.
struct Call<'a> {
    config: &'a Config,
    reactor: &'a mut Reactor,
    limit: Option<Instant>,
    report: &'a Report,
}

const TOKEN: Address = Address { key: SOLO, side: REMOTE };

impl Call<'_> {
    fn run(&mut self, tls: Option<&ReadyTls>) -> Result<(Endpoint, Option<SocketAddr>), Error> {
        match &self.config.target {
            Target::Unix(path) => {
                let endpoint = self.call_unix(path)?;
                self.report.story(format_args!("Connected to {}.", path.display()));
                Ok((endpoint, None))
            }
            Target::Tcp { host, port } => {
                let addresses = self.resolve(host, *port)?;
                self.call_tcp(&addresses, tls).map(|(endpoint, address)| (endpoint, Some(address)))
            }
        }
    }

    /// When a step that starts now has to be done.
    fn until(&self) -> Instant {
        self.limit.unwrap_or(self.reactor.now() + STEP)
    }

    fn patience(&self) -> Duration {
        self.config.wait.unwrap_or(STEP)
    }

    fn sleep(&mut self, until: Instant) -> Result<(), Error> {
        self.reactor
            .wait(false, Some(until), |_, _| {})
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))
    }

    fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
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
        let source = Source {
            address: self.source_address()?,
            port: self.config.source_port,
            patience: self.config.wait.unwrap_or(PATIENCE),
        };
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
