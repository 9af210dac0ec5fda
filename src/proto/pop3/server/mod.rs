//! A POP3 server, for one caller (RFC 1939, 2449, 2595, 3206, 5034, 6856).
//!
//! ```text
//! greeting ──► authorization ◄──► login (AUTH's challenges) ──► transaction ──► QUIT: update
//!                   └──► tls ──► authorization
//! ```
//!
//! Nothing is removed but at QUIT: who is cut off, or silent for too long, loses nothing.

mod command;
mod faults;
mod login;
mod maildrop;
mod outgoing;
#[cfg(test)]
pub(in crate::proto) mod practice;
#[cfg(test)]
mod tests;
mod transaction;

use crate::proto::sasl::server::Acceptance;
use crate::proto::serving::{Event, Protection, Server, Serving};
use crate::proto::session::{bare, words};
use crate::proto::store::{Refusal, Stores};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use command::{Command, UNKNOWN};
// A length of time is no clock.
use core::time::Duration;
use faults::Spoil;
use maildrop::{Maildrop, code};
use outgoing::Outgoing;
use std::collections::VecDeque;

/// Octets in a command, its line end among them (RFC 2449 §4).
const LONGEST_COMMAND: usize = 255;

/// Octets in an answer to a challenge, and in the AUTH command, whose clients do not all keep to
/// the 255: tokens are long (RFC 4954 §4 has this number).
const LONGEST_RESPONSE: usize = 12_288;

/// Errors in a session.
const MOST_ERRORS: u32 = 20;

/// Logins that may fail in a session.
const MOST_FAILURES: u32 = 5;

enum State {
    /// Nobody has said anything.
    Greeting,
    /// Before the login; USER has said a name, perhaps.
    Authorization {
        user: Option<String>,
    },
    /// A challenge of AUTH's is out.
    Login(Acceptance),
    Transaction(Maildrop),
    /// The go-ahead for TLS is said.
    Tls,
    /// The go-ahead is said, and no TLS will follow.
    NoTls,
    /// A fault: neither is anything said nor heard.
    Hung,
    Over,
}

/// The machine.
struct Service {
    serving: Serving,
    stores: Box<dyn Stores>,
    state: State,
    secure: bool,
    /// The caller has announced UTF-8 (RFC 6856).
    utf8: bool,
    now: Duration,
    timed_out: bool,
    /// The lines of a reply that are still to go.
    outgoing: Option<Outgoing>,
    /// A command whose fault has been told, and that is done now.
    held: Option<Vec<u8>>,
    spoil: Spoil,
    /// The greeting's fault has been told.
    is_greeting_due: bool,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    /// When what is said is out, it is over.
    closing: bool,
    errors: u32,
    failures: u32,
    /// Logins by AUTH, each with a nonce of its own.
    logins: u32,
    bare_lf: bool,
    events: VecDeque<Event>,
}

/// A server for one caller.
pub fn new(serving: Serving, stores: Box<dyn Stores>) -> impl Server {
    Service::new(serving, stores)
}

impl Service {
    fn new(serving: Serving, stores: Box<dyn Stores>) -> Self {
        Self {
            secure: serving.protection == Protection::On,
            serving,
            stores,
            state: State::Greeting,
            utf8: false,
            now: Duration::ZERO,
            timed_out: false,
            outgoing: None,
            held: None,
            spoil: Spoil::default(),
            is_greeting_due: false,
            skipping: false,
            closing: false,
            errors: 0,
            failures: 0,
            logins: 0,
            bare_lf: false,
            events: VecDeque::new(),
        }
    }

    fn story(&mut self, text: String) {
        self.events.push_back(Event::Story(text));
    }

    fn lint(&mut self, text: impl Into<String>) {
        self.events.push_back(Event::Lint(text.into()));
    }

    fn ok(&mut self, ports: &mut Ports<'_>, text: &str) {
        self.say(ports, format!("+OK {text}\r\n").as_bytes());
    }

    /// `-ERR`, with a response code if there is one that says more (RFC 2449 §8).
    fn err(&mut self, ports: &mut Ports<'_>, code: Option<&str>, text: &str) {
        let code = code.filter(|code| {
            let capability = if *code == "AUTH" { "AUTH-RESP-CODE" } else { "RESP-CODES" };
            !self.serving.hides(capability)
        });
        let code = code.map(|code| format!("[{code}] ")).unwrap_or_default();
        // A line has 512 octets at most, and the system's words may be any.
        let text: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        self.say(ports, format!("-ERR {code}{text}\r\n").as_bytes());
    }

    /// What a store said.
    fn refused(&mut self, ports: &mut Ports<'_>, refusal: &Refusal) {
        self.err(ports, Some(code(refusal)), &refusal.to_string());
    }

    /// What the caller said is wrong, and that is counted.
    fn wrong(&mut self, ports: &mut Ports<'_>, text: &str) {
        self.errors += 1;
        if self.errors >= MOST_ERRORS {
            self.story(format!("it has made {MOST_ERRORS} errors, and is left"));
            self.closing = true;
            return self.err(ports, None, "too many errors, good-bye");
        }
        self.err(ports, None, text);
    }

    /// Lines follow.
    fn list(&mut self, ports: &mut Ports<'_>, text: &str, mut lines: Outgoing) {
        if std::mem::take(&mut self.spoil.cut) {
            lines.cut();
            self.closing = true;
        }
        lines.endless |= self.spoil.endless;
        self.ok(ports, text);
        self.outgoing = Some(lines);
    }

    /// The next line, or what can be passed over. False if there is nothing whole.
    fn hear(&mut self, ports: &mut Ports<'_>) -> bool {
        let rest = ports.peer.rest();
        let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
        let length = end.unwrap_or(rest.len());
        if rest.is_empty() {
            return false;
        }
        if self.skipping {
            ports.peer.eat(length);
            self.skipping = end.is_none();
            return true;
        }
        let is_auth = rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"auth "));
        let is_login = matches!(self.state, State::Login(_));
        let most = if is_auth || is_login { LONGEST_RESPONSE } else { LONGEST_COMMAND };
        if length > most {
            ports.peer.eat(length);
            self.skipping = end.is_none();
            self.lint(format!("a line of more than {most} octets"));
            if is_login {
                self.state = State::Authorization { user: None };
            }
            self.wrong(ports, &format!("a line has {most} octets at most"));
            return true;
        }
        if end.is_none() {
            if ports.peer.eof {
                // Half a "DELE 12" is a "DELE 1".
                ports.peer.eat(length);
                self.lint("it left in the middle of a line, which is not done");
            }
            return ports.peer.eof;
        }
        let line = ports.peer.eat(length);
        if !line.ends_with(b"\r\n") && !std::mem::replace(&mut self.bare_lf, true) {
            self.lint("its lines end in LF alone, and not in CR LF");
        }
        if is_auth && length > LONGEST_COMMAND {
            self.lint(format!(
                "an AUTH command of more than {LONGEST_COMMAND} octets: the response may wait for \
                 the challenge"
            ));
        }
        let line = bare(line).to_vec();
        if is_login {
            self.respond(ports, &line);
        } else if self.strike(ports, &line) {
            self.execute(ports, &line);
        }
        true
    }

    fn execute(&mut self, ports: &mut Ports<'_>, line: &[u8]) {
        let command = command::parse(line);
        let hidden = |command: &Command<'_>| {
            command.capability().is_some_and(|capability| self.hides(capability))
        };
        match command {
            Ok(command) if hidden(&command) => self.wrong(ports, UNKNOWN),
            Ok(command) => match std::mem::replace(&mut self.state, State::Over) {
                State::Authorization { user } => self.authorize(ports, user, command),
                State::Transaction(maildrop) => self.transact(ports, maildrop, command),
                // No line is read in these.
                other @ (State::Greeting
                | State::Login(_)
                | State::Tls
                | State::NoTls
                | State::Hung
                | State::Over) => self.state = other,
            },
            Err(why) => self.wrong(ports, why),
        }
    }

    /// CAPA (RFC 2449).
    fn capabilities(&mut self, ports: &mut Ports<'_>, logged_in: bool) {
        let mut all: Vec<(&str, String)> = vec![("TOP", String::new()), ("UIDL", String::new())];
        let mechanisms = self.mechanisms();
        if self.may_say_password(&mechanisms) {
            all.push(("USER", String::new()));
        }
        if !mechanisms.is_empty() {
            let names = mechanisms.iter().map(|mechanism| mechanism.name());
            all.push(("SASL", names.collect::<Vec<_>>().join(" ")));
        }
        if self.can_upgrade() && !logged_in {
            all.push(("STLS", String::new()));
        }
        all.push(("RESP-CODES", String::new()));
        all.push(("AUTH-RESP-CODE", String::new()));
        all.push(("PIPELINING", String::new()));
        all.push(("EXPIRE", "NEVER".to_owned()));
        all.push(("UTF8", "USER".to_owned()));
        all.push(("IMPLEMENTATION", "ncat".to_owned()));
        let shown = all.into_iter().filter(|(name, _)| !self.hides(name));
        let lines =
            shown.map(|(name, arguments)| format!("{name} {arguments}").trim_end().to_owned());
        let lines = Outgoing::lines(lines.collect());
        self.list(ports, "capability list follows", lines);
    }

    /// Is this capability hidden? SASL is what the other protocols call AUTH.
    fn hides(&self, capability: &str) -> bool {
        let hides = |name| self.serving.hides(name);
        hides(capability) || capability == "SASL" && hides("AUTH")
    }

    fn can_upgrade(&self) -> bool {
        match self.serving.protection {
            Protection::Offered | Protection::Required => !self.secure,
            Protection::On | Protection::Never => false,
        }
    }

    /// The caller has ended its side, and all that it said has been read.
    fn hung_up(&mut self) {
        if let State::Transaction(maildrop) = &self.state {
            let (user, marked) = (maildrop.user().to_owned(), maildrop.marked());
            if marked > 0 {
                self.story(format!("{user:?} left without QUIT: {marked} marked, none deleted"));
            }
        }
        self.state = State::Over;
    }
}

impl Machine for Service {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            if self.closing && self.outgoing.is_none() {
                self.state = State::Over;
            }
            match self.state {
                State::Over => return Ok(Step::Done),
                State::Tls if !self.secure => {
                    self.secure = true;
                    return Ok(Step::StartTls);
                }
                State::Tls => {
                    // What was said before does not count any more (RFC 2595 §4).
                    self.utf8 = false;
                    self.state = State::Authorization { user: None };
                    continue;
                }
                State::Hung if self.timed_out || ports.peer.eof => {
                    self.state = State::Over;
                    continue;
                }
                State::Hung => return Ok(Step::Wait),
                State::Greeting
                | State::Authorization { .. }
                | State::Login(_)
                | State::Transaction(_)
                | State::NoTls => {}
            }
            if self.timed_out {
                self.story("nothing has come for too long: it is left".to_owned());
                // In the middle of a message there is no place for words.
                if self.outgoing.take().is_none() {
                    self.err(ports, None, "nothing has come for too long, good-bye");
                }
                self.hung_up();
                continue;
            }
            if ports.to_peer.room() == 0 {
                return Ok(Step::Wait);
            }
            if self.outgoing.is_some() {
                self.send(ports);
            } else if let Some(line) = self.held.take() {
                self.execute(ports, &line);
            } else if matches!(self.state, State::Greeting) {
                self.greet(ports);
            } else if matches!(self.state, State::NoTls) {
                if ports.peer.rest().is_empty() && !ports.peer.eof {
                    return Ok(Step::Wait);
                }
                self.spoil_handshake(ports);
            } else if !self.hear(ports) {
                if !ports.peer.is_over() {
                    return Ok(Step::Wait);
                }
                self.hung_up();
            }
        }
    }
}

impl Server for Service {
    fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    fn time_out(&mut self) {
        self.timed_out = true;
    }
}
