//! Calling somebody: name, address, and TLS from the first byte.

use super::secure::ReadyTls;
use super::talk::{self, Peer, Role};
use crate::engine::handshake::Handshake;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::{REMOTE, SOLO, Trouble};
use crate::error::{Error, words};
use crate::net::bind::{Protocol, SocketFile, is_other_file};
use crate::net::buf::Buf;
use crate::net::dial::{self, Dial, Source, seconds};
use crate::net::endpoint::{Endpoint, Moved};
use crate::net::names::{self, Family, Lookup};
use crate::net::target::with_port;
use crate::proto::proxied;
use crate::report::Report;
use mio::Token;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What one address may take when `-w` says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each other step may take when `-w` says nothing.
pub(super) const STEP: Duration = Duration::from_secs(30);

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
    pub(super) fn name(&self) -> String {
        match self {
            Target::Tcp { host, port } => with_port(host, *port),
            Target::Unix(path) => path.display().to_string(),
            Target::Vsock { cid, port } => format!("{cid}:{port}"),
        }
    }
}

/// How somebody is called.
#[derive(Debug, Clone)]
pub struct How {
    /// Who is called.
    pub target: Target,
    /// A stream or datagrams.
    pub protocol: Protocol,
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
    /// Source address, as it was typed (`-s`); a path for Unix datagrams.
    pub source: Option<String>,
    /// Source port (`-p`).
    pub source_port: u16,
    /// The first thing said is who calls whom (`--proxy-protocol`).
    pub introduction: Option<proxied::Version>,
    /// Bounds everything until the conversation can start (`-w`).
    pub wait: Option<Duration>,
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
    pub(super) how: &'a How,
    pub(super) reactor: &'a mut Reactor,
    limit: Option<Instant>,
    pub(super) report: &'a Report,
    /// Our own end of a Unix datagram conversation; it goes when we go.
    file: Option<SocketFile>,
}

pub(super) const TOKEN: Address = Address { key: SOLO, side: REMOTE };

impl<'a> Call<'a> {
    /// Nobody has been called yet; from now on `-w` counts.
    pub(super) fn new(how: &'a How, reactor: &'a mut Reactor, report: &'a Report) -> Self {
        let limit = how.wait.map(|wait| reactor.now() + wait);
        Self { how, reactor, limit, report, file: None }
    }

    /// The socket file that has to stay as long as the conversation.
    pub(super) fn into_file(self) -> Option<SocketFile> {
        self.file
    }

    /// Calls the target, and shakes hands if TLS is wanted from the first byte.
    pub(super) fn run(&mut self, tls: Option<&ReadyTls>) -> Result<Called, Error> {
        match &self.how.target {
            Target::Unix(path) => {
                let mut endpoint = match self.how.protocol {
                    Protocol::Stream | Protocol::Sctp => self.call_unix(path)?,
                    Protocol::Datagram => self.take_unix(path)?,
                };
                self.introduce(&mut endpoint)?;
                self.report.story(format_args!("Connected to {}.", path.display()));
                Ok(Called { endpoint, address: None, early: None })
            }
            Target::Vsock { cid, port } => {
                let endpoint = self.call_vsock(*cid, *port)?;
                self.report.story(format_args!("Connected to {cid}:{port}."));
                Ok(Called { endpoint, address: None, early: None })
            }
            Target::Tcp { host, port } => {
                let addresses = self.resolve(host, *port)?;
                if self.how.protocol == Protocol::Datagram {
                    let (endpoint, address) = self.take_udp(&addresses)?;
                    let called = Called { endpoint, address: Some(address), early: None };
                    return self.dress(called, tls);
                }
                let (endpoint, address) = self.call_tcp(&addresses, tls)?;
                Ok(Called { endpoint, address: Some(address), early: None })
            }
        }
    }

    /// TLS with the target inside the tunnel.
    pub(super) fn dress(
        &mut self,
        mut called: Called,
        tls: Option<&ReadyTls>,
    ) -> Result<Called, Error> {
        let Some(tls) = tls else { return Ok(called) };
        let name = self.how.target.name();
        // A TLS server does not speak first, so these bytes are nobody's.
        if called.early.is_some() {
            return talk::explain(Trouble::Smuggled, Peer { name: &name, role: Role::Client })
                .and(Err(Error::network(format!("{name} spoke before TLS"))));
        }
        tls.start(&mut called.endpoint, self.reactor.now())
            .map_err(|failure| Error::network(format!("TLS with {name}: {failure}")))?;
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
        self.how.wait.unwrap_or(STEP)
    }

    fn sleep(&mut self, until: Instant) -> Result<(), Error> {
        self.reactor
            .wait(false, Some(until), |_, _| {})
            .map_err(|e| Error::machine(format!("cannot wait: {}", words(&e))))
    }

    pub(super) fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let family = self.how.family;
        let unknown = |why: String| {
            if names::literal(host, port).is_some() {
                return Error::machine(format!("cannot call {host}: {why}"));
            }
            let error = Error::unknown(format!("cannot find the address of {host}: {why}"));
            match self.how.numeric {
                true => error.hint("-n forbids to look names up: leave it out"),
                false => error,
            }
        };
        if self.how.numeric || names::literal(host, port).is_some() {
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
        let name = self.how.target.name();
        let mut dial = Dial::new(addresses, source, Token::from(TOKEN));
        loop {
            let (mut endpoint, address) = self.answered(&mut dial, &name)?;
            self.report.story(format_args!("Connected to {address}."));
            self.introduce(&mut endpoint)?;
            let Some(tls) = tls else { return Ok((endpoint, address)) };
            let failure = |failure| Error::network(format!("TLS with {name}: {failure}"));
            tls.start(&mut endpoint, self.reactor.now()).map_err(failure)?;
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

    /// Says who calls whom, before anything else.
    fn introduce(&self, endpoint: &mut Endpoint) -> Result<(), Error> {
        let Some(version) = self.how.introduction else { return Ok(()) };
        let header = proxied::encode(version, endpoint.addresses());
        let name = self.how.target.name();
        let failed = |why: &str| Error::network(format!("cannot talk to {name}: {why}"));
        // Nothing waits to be sent yet, so it fits.
        match endpoint.write(&header) {
            Ok(Moved::Bytes(n)) if n == header.len() => Ok(()),
            Ok(_) => Err(failed("it takes nothing")),
            Err(e) => Err(failed(&words(&e))),
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
        let name = self.how.target.name();
        Err(Error::network(format!("cannot send to {name}: {}", failed.join(", "))))
    }

    fn source(&self) -> Result<Source, Error> {
        Ok(Source {
            address: self.source_address()?,
            port: self.how.source_port,
            patience: self.how.wait.unwrap_or(PATIENCE),
            sctp: self.how.protocol == Protocol::Sctp,
            route: self.route()?,
        })
    }

    /// The way by the hops of `-g` to the target.
    fn route(&self) -> Result<Option<Vec<u8>>, Error> {
        let (hops, Target::Tcp { host, .. }) = (&self.how.hops, &self.how.target) else {
            return Ok(None);
        };
        if hops.is_empty() {
            return Ok(None);
        }
        let address = |host: &str| match names::resolve(host, 0, Family::V4, self.how.numeric) {
            Ok(found) => match found.first().map(SocketAddr::ip) {
                Some(IpAddr::V4(ip)) => Ok(ip),
                Some(IpAddr::V6(_)) | None => {
                    Err(Error::usage(format!("{host} has no IPv4 address")))
                }
            },
            Err(why) => Err(Error::usage(format!("-g: cannot find the hop {host}: {why}"))),
        };
        let route = hops.iter().map(|hop| address(hop)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(dial::source_route(&route, address(host)?, self.how.hop_pointer)))
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
        let name = self.how.target.name();
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
        let Some(source) = &self.how.source else { return Ok(None) };
        let found = names::resolve(source, 0, self.how.family, self.how.numeric);
        let cannot = |why| Error::usage(format!("-s {source}: cannot find this address: {why}"));
        Ok(found.map_err(cannot)?.first().map(SocketAddr::ip))
    }

    fn call_vsock(&mut self, cid: u32, port: u32) -> Result<Endpoint, Error> {
        let name = self.how.target.name();
        let failed =
            |e: io::Error| Error::network(format!("cannot connect to {name}: {}", words(&e)));
        let from = self.how.source.as_ref().and_then(|source| source.parse().ok());
        let source = (from, u32::from(self.how.source_port));
        let mut endpoint = dial::vsock(cid, port, source).map_err(failed)?;
        endpoint.register(self.reactor.registry(), TOKEN.into()).map_err(failed)?;
        let until = self.limit.unwrap_or(self.reactor.now() + PATIENCE);
        while !endpoint.is_through().map_err(failed)? {
            if until <= self.reactor.now() {
                let time = seconds(self.how.wait.unwrap_or(PATIENCE));
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
        let source = match &self.how.source {
            Some(source) => PathBuf::from(source),
            None => self.how.scratch.join(format!("ncat.{}", std::process::id())),
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
                        Some(libc::ECONNREFUSED) if is_other_file(path) => {
                            error.hint("this is no socket, but a file of another kind")
                        }
                        Some(libc::ECONNREFUSED) => error.hint("nobody listens on this socket now"),
                        Some(libc::EPROTOTYPE) => {
                            error.hint("this is a datagram socket: -u calls it")
                        }
                        _ => error,
                    });
                }
            }
        }
    }
}
