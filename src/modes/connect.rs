//! Connect mode: a call, then a conversation, or just the answer (`-z`).

use super::call::{Call, Called, How, STEP, TOKEN, Target};
use super::dns::mx::{Domain, exchangers};
use super::door::SIGNALS;
use super::mail::trip::Expectation;
use super::mock::{self, practice};
use super::script::{self, Upgrade};
use super::secure::{TlsClient, show_info};
use super::talk::{self, Peer, Role, Session};
use super::tlsinfo::Format;
use super::via::{self, Proxy};
use super::{mail, serve};
use crate::engine::HOUSE;
use crate::engine::reactor::{Address, Reactor};
use crate::engine::tap::Tap;
use crate::error::{Error, Exit, words};
use crate::net::bind::Protocol;
use crate::net::buf::Buf;
use crate::net::child::Program;
use crate::net::dial::seconds;
use crate::net::endpoint::{Endpoint, Moved};
use crate::proto::script::Script;
use crate::report::Report;
use crate::sys::signal::{Signals, die_by};
use crate::sys::stdio::Spare;
use std::io::{self, Write};
use std::time::Duration;

/// How long nobody has to object to a datagram of `-z` when `-i` says nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// What connect mode is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// How somebody is called.
    pub how: How,
    /// What talks with the peer, instead of standard input and output.
    pub program: Option<Program>,
    /// What is said to the peer, instead of what standard input has.
    pub script: Option<Script>,
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
    /// The target's host is a mail domain, of which the exchangers are called.
    pub mx: Option<Domain>,
    /// Nobody is called: a server of our own answers, for practice.
    pub practice: Option<mock::Config>,
    /// What fails for now is tried again.
    pub retry: Option<Retry>,
    /// What is sent has to turn up there (`--expect-in`).
    pub expect: Option<Expectation>,
}

/// How often something is tried again, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// So many times after the first.
    pub times: u32,
    /// The pause before each; if nobody says, a second and then twice as long each time.
    pub pause: Option<Duration>,
}

/// The longest pause when nobody says how long.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Retry {
    /// The pause before try `n`, which is 1 after the first.
    fn pause(self, n: u32) -> Duration {
        let doubled = Duration::from_secs(1 << (n - 1).min(6)).min(LONGEST_PAUSE);
        self.pause.unwrap_or(doubled)
    }
}

/// How far a call has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Somebody has answered.
    is_through: bool,
    /// The recipients for whom it may be tried again.
    later: Vec<String>,
}

/// Calls, and talks.
///
/// # Errors
/// What kept us from calling, or what ended the conversation.
pub fn run(mut config: Config, report: &Report) -> Result<Exit, Error> {
    let tap = config.session.log.open(Role::Client)?;
    let mut mail = config.mail.take().map(mail::Config::prepare).transpose()?;
    let Some(expectation) = config.expect.take() else {
        return persist(config, mail, tap, report);
    };
    let prepared = expectation.call.mail.clone().map(mail::Config::prepare).transpose()?;
    let call = Config { mail: prepared, ..*expectation.call };
    let expectation = Expectation { call: Box::new(call), ..expectation };
    let parcel = mail.as_mut().map(mail::Config::parcel).transpose()?.flatten();
    match (persist(config, mail, tap, report)?, parcel) {
        (Exit::DONE, Some(parcel)) => expectation.meet(&parcel, report),
        (other, _) => Ok(other),
    }
}

/// Tries again what may be otherwise in a while: calls that nobody has answered, and messages for
/// those recipients of whom nothing is decided.
fn persist(
    config: Config,
    mut mail: Option<mail::Config>,
    tap: Tap,
    report: &Report,
) -> Result<Exit, Error> {
    let Some(retry) = config.retry else {
        return deliver(config, mail, tap, &mut Progress::default(), report);
    };
    let cannot = |e: io::Error| Error::machine(format!("cannot share the log: {}", words(&e)));
    mail.as_mut().map_or(Ok(()), mail::Config::complete)?;
    // Who answered, and not as was wanted, has had standard input and output.
    let talks = config.script.is_some() || config.session.quit_on.is_some();
    let spare = talks.then(Spare::keep).transpose();
    let spare = spare.map_err(|e| {
        Error::machine(format!("cannot keep standard input and output: {}", words(&e)))
    })?;
    // What was refused for good stays so, whatever comes later.
    let mut refused = false;
    for n in 1.. {
        let mut progress = Progress::default();
        let tap = tap.share().map_err(cannot)?;
        spare.as_ref().map_or(Ok(()), Spare::put_back).map_err(cannot)?;
        let result = deliver(config.clone(), mail.clone(), tap, &mut progress, report);
        let sending = mail.as_mut().and_then(|mail| mail.sending.as_mut());
        let unmet = matches!(&result, Err(error) if error.exit() == Exit::UNMET);
        let again = match (&result, sending) {
            // Somebody answers, but says something else yet.
            _ if unmet => true,
            // What is only asked about may be there, and not ready.
            (Err(error), None) if config.probe => error.may_pass(),
            (Err(error), _) if !progress.is_through => error.may_pass(),
            (Ok(exit), None) => !progress.is_through && *exit == Exit::NETWORK,
            (_, Some(sending)) => {
                let again = progress.is_through && !progress.later.is_empty();
                sending.left = Some(progress.later);
                refused |= again && matches!(result, Ok(Exit::REFUSED));
                again
            }
            (Err(_), None) => false,
        };
        if !again || n > retry.times {
            return match result {
                Ok(Exit::DONE | Exit::LATER) if refused => Ok(Exit::REFUSED),
                other => other,
            };
        }
        let pause = retry.pause(n);
        if let Err(error) = &result {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            report.story(format_args!("{}", text.strip_prefix("ncat: ").unwrap_or(text)));
        }
        report.story(format_args!("trying again in {} ({n} of {})", seconds(pause), retry.times));
        // Nothing can happen meanwhile.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(pause);
    }
    Ok(Exit::DONE)
}

/// Calls one host, or the exchangers of a domain until one has answered.
fn deliver(
    mut config: Config,
    mail: Option<mail::Config>,
    tap: Tap,
    progress: &mut Progress,
    report: &Report,
) -> Result<Exit, Error> {
    let Some(domain) = config.mx.take() else {
        return call(&config, mail, tap, progress, report);
    };
    let cannot = |e: io::Error| Error::machine(format!("cannot share the log: {}", words(&e)));
    let mut hosts = exchangers(&domain, config.how.wait, report)?;
    let last = hosts.pop().unwrap_or_else(|| domain.name.to_string());
    // What has been read of standard input cannot be said to another host.
    let replayable = mail.as_ref().is_some_and(mail::Config::is_replayable);
    for host in hosts {
        let mail = mail.clone();
        *progress = Progress::default();
        config.retarget(&host);
        let tap = tap.share().map_err(cannot)?;
        match call(&config, mail, tap, progress, report) {
            Err(error) if error.is_for_another() && (replayable || !progress.is_through) => {
                report.story(format_args!("{error}"));
                report.story(format_args!("Trying the next mail exchanger."));
            }
            done => return done,
        }
    }
    config.retarget(&last);
    *progress = Progress::default();
    call(&config, mail, tap, progress, report)
}

impl Config {
    /// Calls this host instead, and expects its name under TLS, unless another was asked for.
    fn retarget(&mut self, host: &str) {
        if let Target::Tcp { host: old, .. } = &mut self.how.target {
            if let Some(tls) = self.tls.as_mut().filter(|tls| tls.name == *old) {
                host.clone_into(&mut tls.name);
            }
            host.clone_into(old);
        }
    }
}

/// One call to one target; `progress` notes how far it comes.
pub(super) fn call(
    config: &Config,
    mail: Option<mail::Config>,
    tap: Tap,
    progress: &mut Progress,
    report: &Report,
) -> Result<Exit, Error> {
    let tls = config.tls.as_ref().map(TlsClient::prepare).transpose()?;
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let mut reactor = Reactor::new().map_err(cannot)?;
    let mut call = Call::new(&config.how, &mut reactor, report);
    let first = tls.as_ref().filter(|_| !config.tls_later);
    let called = match (&config.practice, config.proxies.as_slice()) {
        (Some(server), _) => practice::call(server.clone())
            .map(|endpoint| Called { endpoint, address: None, early: None })
            .and_then(|called| call.dress(called, first)),
        (None, []) => call.run(first),
        (None, proxies) => via::call(&mut call, proxies, config.proxy_dns)
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
    progress.is_through = true;
    if let Some(tls) = first {
        tls.announce(&endpoint, report);
        if let Some(format) = config.tls_info {
            show_info(&tls.describe(&endpoint, format), config.probe, report);
        }
    }
    let name = config.how.target.name();
    let peer = Peer { name: &name, role: Role::Client };
    if config.probe && config.how.protocol == Protocol::Datagram && config.script.is_none() {
        return probe_udp(&mut reactor, endpoint, config, &name, report);
    }
    let asks = config.script.is_some() || mail.as_ref().is_some_and(|mail| mail.upgrade_only);
    if config.probe && !asks {
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
    if let Some(script) = &config.script {
        let later = tls.filter(|_| config.tls_later);
        let upgrade = later.map_or(Upgrade::None, |tls| Upgrade::Client(Box::new(tls)));
        let plan = script::Plan::of(script, &config.session, upgrade, patience, Role::Client);
        return script::one(scene, &plan, endpoint, early, tap, !config.probe);
    }
    let result = match (&config.program, mail) {
        (Some(program), _) => serve::one(scene, program, STEP, endpoint, early, tap),
        (None, Some(mail)) => {
            let loopback = address.is_none_or(|address| address.ip().is_loopback());
            let (info, probe) = (config.tls_info, config.probe);
            let quiet = probe && !report.is_telling();
            let link =
                mail::Link { endpoint, early, tls, secure, loopback, until, patience, info, probe };
            match mail::run(scene, link, mail, tap, &mut progress.later) {
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
