//! What helped mail sessions have in common: somebody types the protocol, the machine keeps the
//! order of things, whatever the protocol.

use super::content::Style;
use super::reply::Reply;
use super::sasl::{Exchange, Login, decode, encode};
use super::{Machine, Ports, ProtocolError, Step, imap, pop3, smtp};
// A length of time is no clock.
use core::time::Duration;

/// A command that the person types is a line; this much without a line end is none.
const LONGEST_COMMAND: usize = 32 * 1024;

/// When the next line may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// When the reply to the one before is complete: for scripts.
    LockStep,
    /// In groups, where the server offers PIPELINING.
    Grouped,
    /// As it is typed; held back only where the reply decides what the next line is.
    Typed,
    /// At once, whatever the server says (`--no-wait`).
    AtOnce,
}

/// What a session is asked to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name for our own EHLO (SMTP).
    pub helo: String,
    /// Upgrade with STARTTLS or STLS before the person's first line.
    pub starttls: bool,
    /// TLS is on from the first byte.
    pub secure: bool,
    /// Log in before the person's first line.
    pub login: Option<Login>,
    /// When lines are sent.
    pub pace: Pace,
    /// How content is sent.
    pub content: Style,
    /// Nobody types: the session is over when TLS is on (and the login done).
    pub setup_only: bool,
    /// A person types, and may be asked for what a login of his own needs.
    pub asks: bool,
}

impl Config {
    /// Has the machine something to do before the person's first line?
    pub(super) fn has_setup(&self) -> bool {
        self.starttls || self.login.is_some()
    }
}

/// A whole reply, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of SMTP.
    Smtp(smtp::Verb, Reply),
    /// Of POP3.
    Pop3(pop3::Verb, pop3::Reply),
    /// Of IMAP: the line that ends a command, or one that came by itself.
    Imap(imap::Verb, imap::Reply),
}

impl Answer {
    /// Its lines as the server wrote them, without line ends: raw bytes.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Smtp(_, reply) => {
                let line = |text: &Vec<u8>| [format!("{} ", reply.code).as_bytes(), text].concat();
                reply.lines.iter().map(line).collect()
            }
            Self::Pop3(_, reply) => {
                [vec![reply.line.clone()], reply.lines.clone()].into_iter().flatten().collect()
            }
            Self::Imap(_, reply) => vec![reply.line.clone()],
        }
    }
}

/// What the mode is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A reply is complete.
    Reply {
        /// It answers a command of ours, and the person has not seen it.
        ours: bool,
        /// The reply.
        answer: Answer,
    },
    /// We said this line (credentials masked).
    Said(String),
    /// From here on the person's lines are sent.
    Ready,
    /// The server said something that nobody had asked for: its line, raw.
    Unasked(Vec<u8>),
    /// This recipient is refused: the reply's line, raw.
    NotFor(String, Vec<u8>),
    /// This was refused: what, and the reply's line, raw.
    No(String, Vec<u8>),
    /// It is unknown whether the message was taken for this recipient.
    InDoubt(String),
    /// The message has been taken.
    Taken(Reply),
    /// Something that a person should know.
    Remark(&'static str),
    /// Why the server is about to refuse the login, in its own words: raw.
    LoginNote(Vec<u8>),
    /// A message that was fetched, whole: it is to be kept before anything else happens.
    Fetched(Vec<u8>),
    /// A login that the person began by this command wants an answer to this challenge (decoded):
    /// he may be asked for it, and [`Session::answer`] takes what he says.
    Challenge(String, Vec<u8>),
}

/// How bad a reply was, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worst {
    /// Refused for now.
    Later,
    /// Refused for good.
    Refused,
    /// The login was refused.
    Login,
}

/// A helped session of any protocol.
pub trait Session: Machine<Event = Event> {
    /// The worst reply to what the person typed, and to the call itself.
    fn worst(&self) -> Option<Worst>;

    /// Are we still speaking ourselves? That part has a time limit.
    fn is_setting_up(&self) -> bool;

    /// What the person has said to [`Event::Challenge`], to be encoded; nothing, if he types it
    /// himself.
    fn answer(&mut self, _answer: Option<Vec<u8>>) {}

    /// TLS is on, and this names the connection: a login can be bound to it.
    fn bind(&mut self, _binding: &[u8]) {}

    /// The recipients of a message who were refused for now, or of whom nothing was decided.
    fn for_later(&self) -> Vec<String> {
        Vec::new()
    }

    /// Does it want a [`Session::renew`] after so much time of waiting?
    fn renew_after(&self) -> Option<Duration> {
        None
    }

    /// That time has gone by.
    fn renew(&mut self) {}
}

impl Machine for Box<dyn Session> {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        (**self).step(ports)
    }
}

/// The person's next line without its line end, and its length with it; `None` until it is whole.
///
/// # Errors
/// A line that does not end.
pub(super) fn command(
    bytes: &[u8],
    eof: bool,
    raw: bool,
) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    match line_of(bytes, eof, raw) {
        None if bytes.len() >= LONGEST_COMMAND => {
            Err(ProtocolError::Unfinished { what: "a command: there is no line end in 32 KiB" })
        }
        other => Ok(other),
    }
}

/// The first line of `bytes`, without its line end, and its length with it.
fn line_of(bytes: &[u8], eof: bool, raw: bool) -> Option<(&[u8], usize)> {
    let end = match raw {
        true => memchr::memchr(b'\n', bytes),
        false => memchr::memchr2(b'\r', b'\n', bytes),
    };
    match end {
        None if eof && !bytes.is_empty() => Some((bytes, bytes.len())),
        None => None,
        Some(at) if bytes[at] == b'\n' => {
            let line = &bytes[..at];
            Some((if raw { line.strip_suffix(b"\r").unwrap_or(line) } else { line }, at + 1))
        }
        Some(at) => match bytes.get(at + 1) {
            Some(b'\n') => Some((&bytes[..at], at + 2)),
            Some(_) => Some((&bytes[..at], at + 1)),
            // An LF may still follow.
            None if eof => Some((&bytes[..at], at + 1)),
            None => None,
        },
    }
}

/// The words of a line, whatever stands between them.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty())
}

/// A line without its line end.
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A login of ours is possible, but by none of the mechanisms that may be used.
pub(super) fn no_mechanism(login: &Login) -> ProtocolError {
    ProtocolError::Missing {
        what: match login.only {
            Some(_) => "a login by one of the mechanisms of --auth-mech",
            None => "a login by SCRAM, CRAM-MD5, PLAIN or LOGIN",
        },
    }
}

/// The line that begins a login by AUTH, and what may be told of it. The first answer goes with it
/// if there is one, and the line has at most `longest` octets then (RFC 4954 §4, RFC 5034 §4).
pub(super) fn auth_line(exchange: &mut Exchange, longest: usize) -> (String, String) {
    let bare = format!("AUTH {}", exchange.name());
    let full = exchange.initial().map(|initial| match initial.as_slice() {
        // Nothing is something here.
        [] => format!("{bare} ="),
        initial => format!("{bare} {}", encode(initial)),
    });
    match full.filter(|line| line.len() <= longest) {
        Some(line) => (line, format!("{bare} ****")),
        None => (bare.clone(), bare),
    }
}

/// The line that answers a challenge of our own login, and what the challenge says of a refusal.
///
/// # Errors
/// The challenge is none that makes sense: the login is to be called off by a line with a star.
pub(super) fn respond(
    exchange: &mut Exchange,
    challenge: &[u8],
) -> Result<(String, Option<Event>), ProtocolError> {
    let decoded = match (decode(challenge), exchange.name()) {
        (Some(decoded), _) => decoded,
        // It asks for user and password, and some ask in clear words.
        (None, "LOGIN") => Vec::new(),
        (None, _) => {
            let got = challenge[..challenge.len().min(80)].to_vec();
            return Err(ProtocolError::Malformed { expected: "a challenge in base64", got });
        }
    };
    let note = exchange.explained(&decoded).map(|text| Event::LoginNote(text.into_bytes()));
    match exchange.answer(&decoded) {
        Ok(answer) => Ok((encode(&answer), note)),
        Err(why) => Err(ProtocolError::Distrusted { why }),
    }
}

/// The server says that our login is done.
///
/// # Errors
/// It has not proven what it had to.
pub(super) fn accept(exchange: &Exchange) -> Result<(), ProtocolError> {
    exchange.finish().map_err(|why| ProtocolError::Distrusted { why })
}
