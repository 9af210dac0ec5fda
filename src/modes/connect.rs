//! Connect mode: a call, then a conversation, or just the answer (`-z`).

use super::call::{Call, Called, How, STEP, TOKEN};
use super::door::SIGNALS;
use super::secure::{TlsClient, show_info};
use super::talk::{self, Peer, Role, Session};
use super::tlsinfo::Format;
use super::via::{self, Proxy};
use super::{mail, serve};
use crate::engine::HOUSE;
use crate::engine::reactor::{Address, Reactor};
use crate::error::{Error, Exit, words};
use crate::net::bind::Protocol;
use crate::net::buf::Buf;
use crate::net::child::Program;
use crate::net::endpoint::{Endpoint, Moved};
use crate::report::Report;
use crate::sys::signal::{Signals, die_by};
use std::io::{self, Write};
use std::time::Duration;

/// How long nobody has to object to a datagram of `-z` when `-i` says nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// What connect mode is told.
#[derive(Debug)]
pub struct Config {
    /// How somebody is called.
    pub how: How,
    /// What talks with the peer, instead of standard input and output.
    pub program: Option<Program>,
    /// The way there, the nearest first.
    pub proxies: Vec<Proxy>,
    /// Who finds the target's address, if there are proxies.
    pub proxy_dns: via::Dns,
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
    let tap = config.session.log.open(Role::Client)?;
    let mail = config.mail.clone().map(mail::Config::prepare).transpose()?;
    let tls = config.tls.as_ref().map(TlsClient::prepare).transpose()?;
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let mut reactor = Reactor::new().map_err(cannot)?;
    let mut call = Call::new(&config.how, &mut reactor, report);
    let first = tls.as_ref().filter(|_| !config.tls_later);
    let called = match config.proxies.as_slice() {
        [] => call.run(first),
        proxies => via::call(&mut call, proxies, config.proxy_dns)
            .and_then(|called| call.dress(called, first)),
    };
    let (until, patience) = (call.until(), call.patience());
    let file = call.into_file();
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
    let name = config.how.target.name();
    let peer = Peer { name: &name, role: Role::Client };
    if config.probe && config.how.protocol == Protocol::Datagram {
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
