//! The way to a target through proxies: who they are, and how each is asked.

use super::call::{Call, Called, Target};
use super::talk::{self, Peer, Role};
use crate::engine::Trouble;
use crate::engine::errand::Errand;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::endpoint::Endpoint;
use crate::net::names;
use crate::net::target::with_port;
use crate::proto::http::client::{Connect, ConnectEvent};
use crate::proto::sasl::Credentials;
use crate::proto::socks::{self, Destination};
use crate::proto::{Machine, ProtocolError};
use std::net::IpAddr;

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP CONNECT.
    Http,
    /// SOCKS4, and 4a for names.
    Socks4,
    /// SOCKS5.
    Socks5,
}

/// A proxy on the way.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// What it speaks.
    pub kind: Kind,
    /// Its host, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it.
    pub login: Option<Credentials>,
}

impl Proxy {
    fn name(&self) -> String {
        with_port(&self.host, self.port)
    }
}

/// Who finds the address of the target (`--proxy-dns`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dns {
    /// Nobody: it has to be an address.
    None,
    /// We do.
    Local,
    /// The proxy does.
    #[default]
    Remote,
    /// We try, and leave it to the proxy if we fail.
    Both,
}

/// What to do about a proxy that wants to know who we are.
const LOGIN: &str = "--proxy-auth USER:PASS, or NCAT_PROXY_AUTH";

/// What came of asking one proxy.
enum Asked {
    Through(Endpoint, Option<Buf>),
    /// It wants a login over a new connection, and this is who will give it.
    Again(Connect),
}

/// Calls the first proxy and asks each for the next, the last for the target.
///
/// # Errors
/// The proxy that failed, and how.
pub(super) fn call(call: &mut Call<'_>, proxies: &[Proxy], dns: Dns) -> Result<Called, Error> {
    let Target::Tcp { host, port } = &call.how.target else {
        return Err(Error::usage("a proxy calls hosts"));
    };
    let mut answers: Vec<Option<Connect>> = proxies.iter().map(|_| None).collect();
    'from_the_start: loop {
        let Some(first) = proxies.first() else {
            return Err(Error::usage("there is no proxy to go through"));
        };
        let addresses = call
            .resolve(&first.host, first.port)
            .map_err(|error| error.about("--proxy").on_the_way())?;
        let (mut endpoint, address) = call.dial(&addresses, &first.name())?;
        call.report.story(format_args!("Connected to proxy {address}."));
        let mut early = None;
        for (i, proxy) in proxies.iter().enumerate() {
            let (host, port) = match proxies.get(i + 1) {
                Some(next) => (next.host.as_str(), next.port),
                None => (host.as_str(), *port),
            };
            let destination = destination(call, dns, host)?;
            match ask(call, proxy, &destination, port, endpoint, early, answers[i].take())? {
                Asked::Through(through, rest) => (endpoint, early) = (through, rest),
                // The proxies before it are asked anew, since an answer may be good once only.
                // That ends: a machine takes two challenges for an answer at most.
                Asked::Again(machine) => {
                    answers[i] = Some(machine);
                    continue 'from_the_start;
                }
            }
            call.report.story(format_args!("{} connected us to {host}:{port}.", proxy.name()));
        }
        return Ok(Called { endpoint, address: Some(address), early });
    }
}

fn ask(
    call: &mut Call<'_>,
    proxy: &Proxy,
    destination: &Destination,
    port: u16,
    endpoint: Endpoint,
    early: Option<Buf>,
    answer: Option<Connect>,
) -> Result<Asked, Error> {
    let name = proxy.name();
    let version = match proxy.kind {
        Kind::Http => {
            let machine = match answer {
                Some(machine) => machine,
                None => {
                    let authority = match destination {
                        Destination::Name(name) => with_port(name, port),
                        Destination::Address(ip) => with_port(&ip.to_string(), port),
                    };
                    let cnonce = crate::sys::random_hex();
                    Connect::new(&authority, proxy.login.as_ref(), &cnonce)
                        .map_err(|why| Error::usage(format!("{name} cannot be asked: {why}")))?
                }
            };
            let mut errand = errand(call, endpoint, early, machine);
            run(call, &mut errand, proxy)?;
            let event = errand.event();
            let (endpoint, rest, machine) = errand.into_parts();
            return match (event, machine.retry()) {
                (None, _) => Ok(Asked::Through(endpoint, some(rest))),
                (Some(ConnectEvent::AuthenticateAndReconnect), Some(again)) => {
                    Ok(Asked::Again(again))
                }
                (Some(ConnectEvent::AuthenticateAndReconnect), None) => {
                    Err(Error::network(format!("{name} refused the login")))
                }
            };
        }
        Kind::Socks4 => socks::Version::V4,
        Kind::Socks5 => socks::Version::V5,
    };
    let machine = socks::Client::new(version, destination, port, proxy.login.as_ref())
        .map_err(|why| Error::network(format!("{name} cannot be asked: {why}")))?;
    let mut errand = errand(call, endpoint, early, machine);
    run(call, &mut errand, proxy)?;
    let (endpoint, rest, _) = errand.into_parts();
    Ok(Asked::Through(endpoint, some(rest)))
}

fn errand<M: Machine>(
    call: &Call<'_>,
    endpoint: Endpoint,
    early: Option<Buf>,
    machine: M,
) -> Errand<M> {
    Errand::new(endpoint, early, machine, "the dialogue", call.until(), call.patience())
}

fn run<M: Machine>(
    call: &mut Call<'_>,
    errand: &mut Errand<M>,
    proxy: &Proxy,
) -> Result<(), Error> {
    let Err(trouble) = crate::engine::run(call.reactor, errand, None) else { return Ok(()) };
    let name = proxy.name();
    let lacks_login = proxy.login.is_none() && wants_login(&trouble);
    let peer = Peer { name: &name, role: Role::Client };
    // Nothing of an errand ends quietly.
    let error = talk::explain(trouble, peer)
        .err()
        .unwrap_or_else(|| Error::network(format!("the dialogue with {name} came to nothing")))
        .on_the_way();
    Err(if lacks_login { error.hint(LOGIN) } else { error })
}

/// Was it refused for want of a login (RFC 9110 §15.5.8; X'FF' of RFC 1928 §3)?
fn wants_login(trouble: &Trouble) -> bool {
    let Trouble::Protocol(ProtocolError::Refused { what, code, .. }) = trouble else {
        return false;
    };
    matches!((*what, *code), (_, 407) | ("the login", 255))
}

fn some(rest: Buf) -> Option<Buf> {
    (!rest.is_empty()).then_some(rest)
}

/// What the proxy is told: an address, or the name.
fn destination(call: &mut Call<'_>, dns: Dns, host: &str) -> Result<Destination, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Destination::Address(address));
    }
    let by_name = || Destination::Name(host.to_owned());
    match dns {
        Dns::Remote => Ok(by_name()),
        Dns::None => Err(Error::network(format!(
            "{host} is a name, and --proxy-dns none lets nobody look it up"
        ))),
        Dns::Local => {
            let addresses = call.resolve(host, 0)?;
            addresses
                .first()
                .map(|address| Destination::Address(address.ip()))
                .ok_or_else(|| Error::network(format!("cannot find the address of {host}")))
        }
        Dns::Both => Ok(match names::resolve(host, 0, call.how.family, false) {
            Ok(addresses) if !addresses.is_empty() => Destination::Address(addresses[0].ip()),
            Ok(_) | Err(_) => by_name(),
        }),
    }
}
