//! One conversation with one peer, whoever called whom.

use crate::engine::Trouble;
use crate::engine::dialogue::Dialogue;
use crate::engine::farewell::Farewell;
use crate::engine::manners::{Manners, Receive};
use crate::engine::pipe::CARRY;
use crate::engine::reactor::Reactor;
use crate::engine::relay::Relay;
use crate::engine::tap::{Format, Tap};
use crate::error::{Error, Exit, words};
use crate::net::buf::Buf;
use crate::net::dial::seconds;
use crate::net::endpoint::Endpoint;
use crate::net::tls::{Failure, looks_like_tls};
use crate::proto::telnet::Telnet;
use crate::proto::text::Text;
use crate::proto::until::Until;
use crate::proto::{Machine, ProtocolError};
use crate::report::Report;
use crate::sys::signal::Signals;
use crate::term::safe::{Safe, Trust, quote};
use regex::bytes::Regex;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a person's terminal is protected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SafeOutput {
    /// Escape sequences are made visible, colours pass.
    #[default]
    Auto,
    /// Nothing but text passes.
    Strict,
    /// Nothing.
    Off,
}

impl SafeOutput {
    /// The veil for this end; none where no person looks at it.
    pub fn veil(self, local: &Endpoint) -> Option<Safe> {
        if local.is_shown() { self.safe() } else { None }
    }

    /// The same for an end where a person looks.
    pub(super) fn safe(self) -> Option<Safe> {
        match self {
            SafeOutput::Auto => Some(Safe::new(Trust::Colours)),
            SafeOutput::Strict => Some(Safe::new(Trust::Text)),
            SafeOutput::Off => None,
        }
    }
}

/// Where the bytes are recorded.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// `-o`
    pub raw: Option<PathBuf>,
    /// `-x`
    pub hex: Option<PathBuf>,
    /// Keep what is in the files.
    pub append: bool,
    /// How `-o` writes.
    pub format: Format,
    /// Logins are masked where there are lines.
    pub redact: bool,
}

impl Log {
    /// Opens the files.
    ///
    /// # Errors
    /// The one that cannot be opened, and why.
    pub fn open(&self, role: Role) -> Result<Tap, Error> {
        let open = |path: &PathBuf| self.open_one(path);
        let raw = self.raw.as_ref().map(open).transpose()?;
        let hex = self.hex.as_ref().map(open).transpose()?;
        let names = [&self.raw, &self.hex].map(|path| path.clone().unwrap_or_default());
        let client = role == Role::Client;
        Ok(Tap::new(raw, hex).named(names).formatted(self.format, client, self.redact))
    }

    fn open_one(&self, path: &Path) -> Result<File, Error> {
        // Without O_NONBLOCK a FIFO that nobody reads would hold us here for ever.
        let file = File::options()
            .write(true)
            .create(true)
            .append(self.append)
            .truncate(!self.append)
            .mode(0o664)
            .custom_flags(libc::O_NONBLOCK)
            .open(path);
        let cannot = |e: io::Error| {
            let why = match e.raw_os_error() {
                Some(libc::ENXIO) => "nobody reads this FIFO".to_owned(),
                _ => words(&e),
            };
            Error::machine(format!("cannot write the log {}: {why}", path.display()))
        };
        let file = file.map_err(cannot)?;
        // A slow reader of a FIFO slows us down; it does not lose us bytes.
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| cannot(e.into()))?;
        let flags = flags & !rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&file, flags).map_err(|e| cannot(e.into()))?;
        Ok(file)
    }
}

/// What a plain conversation is told.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// How it behaves at its ends.
    pub manners: Manners,
    /// LF becomes CR LF on its way out.
    pub crlf: bool,
    /// Telnet options are refused (`-t`).
    pub telnet: bool,
    /// It is over when the peer has said this (`--quit-on`).
    pub quit_on: Option<Regex>,
    /// How far the peer is trusted with the terminal.
    pub safe_output: SafeOutput,
    /// What is recorded.
    pub log: Log,
}

/// Which of the two we are: it decides some words and exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We called.
    Client,
    /// We were called.
    Server,
}

/// Whom we talk with.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// As the person knows it: `mail.example:25`.
    pub name: &'a str,
    /// What we are to it.
    pub role: Role,
}

/// Our own standard input and output, as an end of a conversation.
///
/// # Errors
/// This machine is out of something.
pub fn stdio(manners: &Manners) -> Result<Endpoint, Error> {
    Endpoint::stdio(!manners.send)
        .map_err(|e| Error::machine(format!("cannot use standard input and output: {}", words(&e))))
}

/// Everything around a conversation.
pub struct Scene<'a> {
    /// The loop.
    pub reactor: &'a mut Reactor,
    /// Caught signals, if they are.
    pub signals: Option<&'a mut Signals>,
    /// What was asked for.
    pub session: &'a Session,
    /// Whom we talk with.
    pub peer: Peer<'a>,
    /// Where the story is told.
    pub report: &'a Report,
}

/// Carries bytes between standard input and output and the peer, until it is over. `early` is
/// what the peer sent behind an earlier dialogue, if there was one.
///
/// # Errors
/// Why it ended otherwise than well; what had been received has been delivered.
pub fn run(
    scene: Scene<'_>,
    endpoint: Endpoint,
    early: Option<Buf>,
    tap: Tap,
) -> Result<Exit, Error> {
    let Scene { reactor, mut signals, session, peer, report } = scene;
    let local = stdio(&session.manners)?;
    let start = reactor.now();
    let veil = session.safe_output.veil(&local);
    let veil = veil.filter(|_| session.manners.receive == Receive::Deliver);
    let plain = endpoint.is_plain();
    let mut is_met = true;
    let (result, totals, first, endpoint, tap) = if let Some(wanted) = &session.quit_on {
        let machine: Box<dyn Machine<Event = Infallible>> = match session.telnet {
            true => Box::new(Telnet::new(session.crlf)),
            false => Box::new(Text::new(session.crlf)),
        };
        let machine = Until::new(machine, wanted.clone());
        let talk = Dialogue::new(local, endpoint, machine, session.manners.clone(), tap);
        let met = |machine: &Until<_>| is_met = machine.is_met();
        converse(reactor, talk.veiled(veil), early, signals.as_deref_mut(), met)
    } else if session.telnet {
        let machine = Telnet::new(session.crlf);
        let talk = Dialogue::new(local, endpoint, machine, session.manners.clone(), tap);
        converse(reactor, talk.veiled(veil), early, signals.as_deref_mut(), |_| ())
    } else if veil.is_some() || session.crlf {
        let machine = Text::new(session.crlf);
        let talk = Dialogue::new(local, endpoint, machine, session.manners.clone(), tap);
        converse(reactor, talk.veiled(veil), early, signals.as_deref_mut(), |_| ())
    } else {
        let early = early.unwrap_or_else(|| Buf::new(CARRY));
        let mut talk = Relay::resume(local, endpoint, early, session.manners.clone(), tap);
        let result = crate::engine::run(reactor, &mut talk, signals.as_deref_mut());
        let (totals, first) = (talk.totals(), talk.first_words().to_vec());
        let (endpoint, tap) = talk.into_parts();
        (result, totals, first, endpoint, tap)
    };
    if plain && looks_like_tls(&first) {
        hint_at_tls(peer.role, report);
    }
    let result = finish(reactor, signals, result, endpoint, peer);
    if let Ok(Exit::DONE) = result {
        report_totals(report, totals, start, reactor.now());
    }
    let result = match result {
        Ok(Exit::DONE) if !is_met => Err(Error::refused(
            Exit::UNMET,
            format!(
                "{}: the conversation ended, and what --quit-on waits for was not said",
                peer.name
            ),
        )),
        other => other,
    };
    with_log(result, &tap, report)
}

/// How a conversation ended, what it moved, the peer's first bytes, and what is left of it.
type Ended = (Result<(), Trouble>, (u64, u64), Vec<u8>, Endpoint, Tap);

fn converse<M: Machine<Event = Infallible>>(
    reactor: &mut Reactor,
    talk: Dialogue<M>,
    early: Option<Buf>,
    signals: Option<&mut Signals>,
    over: impl FnOnce(&M),
) -> Ended {
    let mut talk = match early {
        Some(early) => talk.starting_with(early),
        None => talk,
    };
    let result = crate::engine::run(reactor, &mut talk, signals);
    let (totals, first) = (talk.totals(), talk.first_words().to_vec());
    over(talk.machine());
    let (endpoint, _, tap) = talk.into_parts();
    (result, totals, first, endpoint, tap)
}

/// Parts from the peer, unless it is gone, and says what the end means.
///
/// # Errors
/// What went wrong, for the person.
pub fn finish(
    reactor: &mut Reactor,
    signals: Option<&mut Signals>,
    result: Result<(), Trouble>,
    mut endpoint: Endpoint,
    peer: Peer<'_>,
) -> Result<Exit, Error> {
    match result {
        Ok(()) => {
            let mut farewell = Farewell::new(endpoint, reactor.now());
            match crate::engine::run(reactor, &mut farewell, signals) {
                Err(Trouble::Signal(number)) => Ok(Exit::signal(number)),
                // Nobody is left to be told of its failures.
                Ok(()) | Err(_) => Ok(Exit::DONE),
            }
        }
        Err(trouble) => {
            // A stream ends with us. Of datagrams the peer would never learn that none comes.
            if endpoint.datagrams().is_some() && !matches!(trouble, Trouble::Peer(_)) {
                let _ = endpoint.close_write();
            }
            explain(trouble, peer)
        }
    }
}

/// Says how much went over, as ncat does.
pub fn report_totals(report: &Report, (sent, received): (u64, u64), start: Instant, now: Instant) {
    let time = (now - start).as_secs_f64();
    report
        .story(format_args!("{sent} bytes sent, {received} bytes received in {time:.2} seconds."));
}

/// A log that is not whole is a failure, told when everything else is done; where there is another
/// one that decides the exit status, it is told beside it.
///
/// # Errors
/// The other failure, or the log's.
pub fn with_log(result: Result<Exit, Error>, tap: &Tap, report: &Report) -> Result<Exit, Error> {
    let Some((file, e)) = tap.failure() else { return result };
    let file = file.display();
    let error = Error::machine(format!("the log {file} is not complete: {}", words(e)));
    match result {
        Ok(Exit::DONE) => Err(error),
        other => {
            report.error(&error);
            other
        }
    }
}

fn hint_at_tls(role: Role, report: &Report) {
    match role {
        Role::Client => {
            report.warning(format_args!("the other side seems to speak TLS here: try --ssl"))
        }
        Role::Server => {
            report.warning(format_args!("the caller seems to speak TLS: listen with --ssl"))
        }
    }
}

/// What the end of a conversation means for the person, and the exit status.
///
/// # Errors
/// Everything but an end that needs no words.
pub fn explain(trouble: Trouble, peer: Peer<'_>) -> Result<Exit, Error> {
    let name = peer.name;
    // A server that nobody talks to has not been failed by the network (spec 1.3).
    let late = |what: String| match peer.role {
        Role::Client => Error::network(what),
        Role::Server => Error::machine(what),
    };
    Err(match trouble {
        Trouble::OutputGone => return Ok(Exit::DONE),
        Trouble::Signal(number) => return Ok(Exit::signal(number)),
        Trouble::Peer(e) => return Err(peer_error(&e, name)),
        Trouble::Input(e) => Error::machine(format!("cannot read standard input: {}", words(&e))),
        Trouble::Beyond(e) => {
            Error::network(format!("lost the connection of {name} to its target: {}", words(&e)))
        }
        Trouble::Output(e) if e.raw_os_error() == Some(libc::EBADF) => {
            Error::machine("cannot write standard output: it is closed")
        }
        Trouble::Output(e) => {
            Error::machine(format!("cannot write standard output: {}", words(&e)))
        }
        Trouble::Cut => Error::network(format!(
            "the TLS stream from {name} was cut: it ended without close_notify, so data may be \
             missing at its end"
        )),
        Trouble::Idle(time) => {
            late(format!("idle timeout expired: nothing moved for {} (-i)", seconds(time)))
        }
        Trouble::Quit(time) => {
            late(format!("{} have passed since the end of the input (-q)", seconds(time)))
        }
        Trouble::Late(step, time) => {
            Error::network(format!("{step} with {name} is not done after {}", seconds(time)))
                .hint("-w TIME gives it more, or less")
        }
        Trouble::Protocol(ProtocolError::Refused { code, text, .. })
            if peer.role == Role::Server =>
        {
            Error::network(format!("{name} was answered {code} {}", quote(&text, 80)))
        }
        Trouble::Protocol(e) => protocol_error(&e, name),
        Trouble::Smuggled => Error::network(format!(
            "{name} sent more behind its go-ahead for TLS: what comes before the handshake may be \
             anybody's, so the connection was closed"
        )),
    })
}

/// The network or TLS failed under a conversation.
pub fn peer_error(e: &io::Error, name: &str) -> Error {
    match Failure::of(e) {
        Some(failure) => {
            let error = Error::network(format!("TLS with {name}: {}", failure.why));
            match failure.hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        None => Error::network(format!("lost the connection to {name}: {}", words(e))),
    }
}

fn protocol_error(e: &ProtocolError, name: &str) -> Error {
    let said = |bytes: &[u8]| quote(bytes, 80);
    match e {
        ProtocolError::Malformed { expected, got } => {
            Error::network(format!("expected {expected} from {name}, got \"{}\"", said(got)))
        }
        ProtocolError::Refused { what, code, text } => {
            let exit = match (*what, *code) {
                ("the login", 500..) => Exit::LOGIN,
                (_, 500..) => Exit::REFUSED,
                _ => Exit::LATER,
            };
            Error::refused(exit, format!("{name} refused {what}: {code} {}", said(text)))
        }
        ProtocolError::Declined { what, later, text } => {
            let exit = match (*what, *later) {
                (_, true) => Exit::LATER,
                ("the login", false) => Exit::LOGIN,
                (_, false) => Exit::REFUSED,
            };
            Error::refused(exit, format!("{name} refused {what}: {}", said(text)))
        }
        ProtocolError::Distrusted { why } => Error::network(format!(
            "the login with {name} was called off: {}",
            quote(why.as_bytes(), 160)
        )),
        ProtocolError::Missing { what } => {
            Error::network(format!("{name} does not offer {what}, so nothing was sent"))
        }
        ProtocolError::Cut { waiting_for } => {
            Error::network(format!("{name} hung up before {waiting_for}"))
        }
        ProtocolError::InDoubt => Error::in_doubt(format!(
            "{name} hung up after the message: it is unknown whether it took it"
        )),
        ProtocolError::Unfinished { what } => {
            Error::machine(format!("the input ended in the middle of {what}"))
        }
        ProtocolError::Unmet { step, came, why } => {
            let came = match came.as_slice() {
                [] => "nothing came".to_owned(),
                came => format!("what came is \"{}\"", quote(came, 200)),
            };
            Error::refused(Exit::UNMET, format!("{name}, {step}: {why}; {came}"))
        }
    }
}
