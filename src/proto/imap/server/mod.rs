//! An IMAP server, for one caller (RFC 9051, 3501; 2177 2971 3516 3691 4315 4731 4959 5161 5182 5258
//! 5819 6154 6851 6855 7888 8438).
//!
//! ```text
//! greeting ──► open ◄──► login (AUTHENTICATE's challenges)
//!               │ ▲───── idle
//!               └─► tls
//! ```
//!
//! Whether somebody is logged in, and what is selected, is in the session: before the login
//! there is none. All that is said goes through an outbox, as the caller takes it; of messages there
//! is one at a time in memory.

mod address;
mod faults;
mod fetch;
mod listing;
mod login;
mod marks;
mod mime;
mod names;
mod out;
#[cfg(test)]
pub(in crate::proto) mod practice;
mod reader;
mod search;
mod session;
mod sets;
mod structure;
#[cfg(test)]
mod tests;
mod update;
mod words;

use crate::proto::sasl::server::Acceptance;
use crate::proto::serving::{Event, Protection, Server, Serving};
use crate::proto::store::Stores;
use crate::proto::{Machine, Ports, ProtocolError, Step};
// A length of time is no clock.
use core::time::Duration;
use faults::Spoil;
use fetch::Fetching;
use out::Out;
use reader::{Heard, Reader};
use session::{Answer, Done, Session, no, ok, refused};
use std::collections::VecDeque;
use words::{Parsed, Words};

/// Errors in a session.
const MOST_ERRORS: u32 = 20;

/// Logins that may fail in a session.
const MOST_FAILURES: u32 = 5;

/// Octets of a tag.
const LONGEST_TAG: usize = 200;

/// Pairs of an ID (RFC 2971 §3.3).
const MOST_PAIRS: usize = 30;

enum State {
    /// Nobody has said anything.
    Greeting,
    /// Commands are read.
    Open,
    /// A challenge of this AUTHENTICATE is out.
    Login(String, Acceptance),
    /// This IDLE goes on until DONE (RFC 2177).
    Idle(String),
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
    session: Option<Session>,
    secure: bool,
    now: Duration,
    timed_out: bool,
    /// Somebody else may have changed the mailbox.
    nudged: bool,
    reader: Reader,
    out: Out,
    fetching: Option<Fetching>,
    /// A command whose fault has been told, and that is done now.
    held: Option<Vec<u8>>,
    spoil: Spoil,
    /// The greeting's fault has been told.
    is_greeting_due: bool,
    /// When what is said is out, it is over.
    closing: bool,
    errors: u32,
    failures: u32,
    /// Logins by AUTHENTICATE, each with a nonce of its own.
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
            session: None,
            now: Duration::ZERO,
            timed_out: false,
            nudged: false,
            reader: Reader::default(),
            out: Out::default(),
            fetching: None,
            held: None,
            spoil: Spoil::default(),
            is_greeting_due: false,
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

    /// The tagged answer.
    fn answer(&mut self, tag: &str, done: Done) {
        let line = match done {
            Ok(Answer::Later) => return,
            Ok(Answer::Ok(text)) => format!("OK {text}"),
            Ok(Answer::No(text)) => format!("NO {text}"),
            Err(why) => {
                self.errors += 1;
                if self.errors >= MOST_ERRORS {
                    self.story(format!("it has made {MOST_ERRORS} errors, and is left"));
                    self.out.text("* BYE too many errors\r\n");
                    self.closing = true;
                }
                format!("BAD {why}")
            }
        };
        if !self.spoil.endless {
            let other = if self.spoil.wrong_tag { "x" } else { "" };
            self.out.text(&format!("{tag}{other} {line}\r\n"));
        }
    }

    /// The next command or line. False if there is nothing whole.
    fn hear(&mut self, ports: &mut Ports<'_>) -> bool {
        let heard = match &self.state {
            State::Login(..) | State::Idle(_) => match self.reader.alone(&mut ports.peer) {
                None => return false,
                Some(line) => {
                    let line = line.ok();
                    match &self.state {
                        State::Idle(_) => self.end_idle(line.as_deref()),
                        State::Login(..)
                        | State::Greeting
                        | State::Open
                        | State::Tls
                        | State::NoTls
                        | State::Hung
                        | State::Over => self.respond(line.as_deref()),
                    }
                    return true;
                }
            },
            State::Greeting
            | State::Open
            | State::Tls
            | State::NoTls
            | State::Hung
            | State::Over => {
                let most = self.session.as_ref().map(|_| self.serving.most_octets);
                self.reader.command(&mut ports.peer, most)
            }
        };
        if self.reader.bare_lf && !std::mem::replace(&mut self.bare_lf, true) {
            self.lint("its lines end in LF alone, and not in CR LF");
        }
        match heard {
            Heard::Nothing => return false,
            Heard::Waiting => self.out.text("+ go ahead\r\n"),
            Heard::Command(command) => {
                if self.strike(&command) {
                    self.execute(&command);
                }
                self.cut();
            }
            Heard::TooLong(command) => {
                self.lint("a command line of more than 64 KiB");
                self.answer(&tag_of(&command), Err("a line has 65536 octets at most"));
            }
            Heard::TooBig(command) => {
                let most = self.serving.most_octets;
                let done = match named(&command).0.as_str() {
                    "append" if self.session.is_some() => {
                        no(format!("[TOOBIG] a message has {most} octets at most"))
                    }
                    _ => Err("[TOOBIG] a literal is too big"),
                };
                self.answer(&tag_of(&command), done);
            }
            Heard::Endless(command) => {
                self.out.text("* BYE a literal has a size that is none\r\n");
                self.answer(&tag_of(&command), Err("a number is too big"));
                self.closing = true;
            }
        }
        true
    }

    fn execute(&mut self, command: &[u8]) {
        let tag = tag_of(command);
        if tag == "*" {
            return self.answer("*", Err("a command begins with a tag"));
        }
        let mut words = Words::new(&command[tag.len()..]);
        let done = self.dispatch(&tag, &mut words);
        self.answer(&tag, done);
        if let Some(session) = &mut self.session
            && std::mem::take(&mut session.changed)
        {
            self.events.push_back(Event::Changed);
        }
    }

    fn dispatch(&mut self, tag: &str, words: &mut Words<'_>) -> Done {
        words.space().map_err(|_| "there is no command behind the tag")?;
        let mut name = words.atom().map_err(|_| UNKNOWN)?.to_ascii_uppercase();
        let by_uid = name == "UID";
        if by_uid {
            words.space()?;
            name = words.atom()?.to_ascii_uppercase();
            if !matches!(name.as_str(), "FETCH" | "STORE" | "SEARCH" | "COPY" | "MOVE" | "EXPUNGE")
            {
                return Err("UID takes another command");
            }
        }
        let brought_by = match name.as_str() {
            "EXPUNGE" if by_uid => "UIDPLUS",
            "AUTHENTICATE" => "AUTH",
            other => other,
        };
        let is_extension = matches!(
            brought_by,
            "UIDPLUS"
                | "AUTH"
                | "STARTTLS"
                | "ID"
                | "ENABLE"
                | "NAMESPACE"
                | "UNSELECT"
                | "IDLE"
                | "MOVE"
        );
        if is_extension && self.serving.hides(brought_by) {
            return Err(UNKNOWN);
        }
        match name.as_str() {
            "CAPABILITY" => {
                words.end()?;
                let capabilities = self.capabilities();
                self.out.text(&format!("* CAPABILITY {capabilities}\r\n"));
                return ok("that is all");
            }
            "LOGOUT" => {
                words.end()?;
                self.out.text("* BYE good-bye\r\n");
                self.closing = true;
                return ok("good-bye");
            }
            "ID" => return self.id(words),
            "NOOP" => {
                words.end()?;
                if let Some(session) = &mut self.session {
                    session.look(true, &mut self.out);
                }
                return ok("still here");
            }
            _ => {}
        }
        let Some(session) = &mut self.session else {
            return match name.as_str() {
                "STARTTLS" => self.starttls(words),
                "LOGIN" => self.login(words),
                "AUTHENTICATE" => self.authenticate(tag, words),
                name if is_command(name) => Err("it is for after the login"),
                _ => Err(UNKNOWN),
            };
        };
        let out = &mut self.out;
        let needs_mailbox = matches!(
            name.as_str(),
            "CHECK"
                | "CLOSE"
                | "UNSELECT"
                | "EXPUNGE"
                | "SEARCH"
                | "FETCH"
                | "STORE"
                | "COPY"
                | "MOVE"
        );
        if needs_mailbox && session.selected.is_none() {
            return Err("no mailbox is selected");
        }
        let done = match name.as_str() {
            "STARTTLS" | "LOGIN" | "AUTHENTICATE" => Err("it is for before the login"),
            "ENABLE" => session.enable(words, |name| self.serving.hides(name), out),
            "SELECT" | "EXAMINE" => return session.select(words, name == "EXAMINE", out),
            "CREATE" => session.create(words),
            "DELETE" => session.delete(words),
            "RENAME" => session.rename(words),
            "SUBSCRIBE" | "UNSUBSCRIBE" => session.subscribe(words, name == "SUBSCRIBE"),
            "LIST" | "LSUB" => session.list(words, name == "LSUB", out),
            "NAMESPACE" => {
                words.end()?;
                out.text("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                ok("that is all")
            }
            "STATUS" => session.status(words, out),
            "APPEND" => session.append(words),
            "IDLE" => {
                words.end()?;
                out.text("+ idling\r\n");
                session.look(true, out);
                self.state = State::Idle(tag.to_owned());
                return Ok(Answer::Later);
            }
            "CHECK" => words.end().and_then(|()| ok("checked")),
            "CLOSE" | "UNSELECT" => return session.close(words, name == "CLOSE"),
            "EXPUNGE" => return session.expunge(words, by_uid, out),
            // While these are under way no number may move (RFC 9051 §7.5.1).
            "SEARCH" => return session.search(tag, words, by_uid, out),
            "STORE" => return session.store(words, by_uid, out),
            "FETCH" => {
                let mut fetching = session.fetch(tag, words, by_uid)?;
                fetching.lies = self.spoil.lies;
                self.fetching = Some(fetching);
                return Ok(Answer::Later);
            }
            "COPY" | "MOVE" => session.copy(words, by_uid, name == "MOVE", out),
            _ => return Err(UNKNOWN),
        };
        if done.is_ok() {
            session.look(true, out);
        }
        done
    }

    /// ID (RFC 2971).
    fn id(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let mut told = Vec::new();
        if !words.eat_word("NIL") {
            let pairs = words.list(Words::nstring)?;
            if pairs.len() > 2 * MOST_PAIRS || !pairs.len().is_multiple_of(2) {
                return Err("ID takes pairs of strings, 30 at most");
            }
            for pair in pairs.chunks(2) {
                if let [Some(name), Some(value)] = pair {
                    let text =
                        |s: &[u8]| String::from_utf8_lossy(s).chars().take(80).collect::<String>();
                    told.push(format!("{:?}: {:?}", text(name), text(value)));
                }
            }
        }
        words.end()?;
        if !told.is_empty() {
            self.story(format!("it says what it is: {}", told.join(", ")));
        }
        self.out.text("* ID (\"name\" \"ncat\")\r\n");
        ok("and you?")
    }

    /// DONE, or what should be.
    fn end_idle(&mut self, line: Option<&[u8]>) {
        let before = std::mem::replace(&mut self.state, State::Open);
        let State::Idle(tag) = before else { return };
        let done = match line {
            Some(line) if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") => ok("idled"),
            Some(_) | None => Err("IDLE ends with DONE"),
        };
        self.answer(&tag, done);
    }

    /// The answer for the next message of a FETCH, or that for all.
    fn fetch(&mut self) {
        let Some(mut fetching) = self.fetching.take() else { return };
        let Some(session) = &mut self.session else { return };
        let rev2 = session.rev2;
        let Some(selected) = &mut session.selected else { return };
        let done = match fetching.next(selected, rev2, &mut self.out) {
            Ok(true) => {
                self.fetching = Some(fetching);
                return;
            }
            Ok(false) => match fetching.outcome() {
                (true, text) => ok(text),
                (false, text) => no(text),
            },
            Err(refusal) => refused(&refusal),
        };
        if fetching.changed {
            self.events.push_back(Event::Changed);
        }
        self.answer(&fetching.tag, done);
    }

    /// CAPABILITY, in this state.
    fn capabilities(&self) -> String {
        let mut all = vec!["IMAP4rev1".to_owned(), "IMAP4rev2".to_owned()];
        let names = "LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS MOVE ESEARCH \
                     SEARCHRES LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE CHILDREN \
                     BINARY UTF8=ACCEPT STATUS=SIZE";
        all.extend(names.split_whitespace().map(str::to_owned));
        all.push(format!("APPENDLIMIT={}", self.serving.most_octets));
        if self.session.is_none() {
            if self.can_upgrade() {
                all.push("STARTTLS".to_owned());
            }
            if !self.may_say_password() {
                all.push("LOGINDISABLED".to_owned());
            }
            let mechanisms = self.mechanisms();
            all.extend(mechanisms.iter().map(|mechanism| format!("AUTH={}", mechanism.name())));
        }
        let is_hidden = |word: &str| {
            let name = word.split('=').next().unwrap_or(word);
            self.serving.hides(word) || self.serving.hides(name)
        };
        all.retain(|word| !is_hidden(word));
        all.join(" ")
    }

    fn can_upgrade(&self) -> bool {
        match self.serving.protection {
            Protection::Offered | Protection::Required => !self.secure,
            Protection::On | Protection::Never => false,
        }
    }

    /// The caller has ended its side, and all that it said has been read.
    fn hung_up(&mut self) {
        if self.reader.is_midway() {
            self.lint("it left in the middle of a command, which is not done");
            self.reader.clear();
        }
        self.state = State::Over;
    }
}

/// What is asked for when no command of ours names it.
const UNKNOWN: &str = "there is no such command";

/// The commands that take a login.
fn is_command(name: &str) -> bool {
    const COMMANDS: &str = "ENABLE SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB \
                            NAMESPACE STATUS APPEND IDLE CHECK CLOSE UNSELECT EXPUNGE SEARCH STORE \
                            FETCH COPY MOVE";
    COMMANDS.split_whitespace().any(|command| command == name)
}

/// The tag of a command, or `*` if it has none.
fn tag_of(command: &[u8]) -> String {
    let end = command.iter().position(|&b| b == b' ').unwrap_or(command.len());
    let is_part = |b: &u8| b.is_ascii_graphic() && !b"(){%*\"\\+".contains(b);
    let tag = &command[..end];
    match (1..=LONGEST_TAG).contains(&tag.len()) && tag.iter().all(is_part) {
        true => String::from_utf8_lossy(tag).into_owned(),
        false => "*".to_owned(),
    }
}

/// What a command asks for, in lower case and without UID, and what follows.
fn named(command: &[u8]) -> (String, &[u8]) {
    let mut words = Words::new(&command[tag_of(command).len().min(command.len())..]);
    let mut name = || -> Parsed<String> {
        words.space()?;
        Ok(words.atom()?.to_ascii_lowercase())
    };
    let mut first = name().unwrap_or_default();
    if first == "uid" {
        first = name().unwrap_or_default();
    }
    (first, words.rest().trim_ascii_start())
}

impl Machine for Service {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            match self.state {
                State::Over => return Ok(Step::Done),
                State::Hung if self.timed_out || ports.peer.eof => {
                    self.state = State::Over;
                    continue;
                }
                State::Hung => return Ok(Step::Wait),
                State::Greeting
                | State::Open
                | State::Login(..)
                | State::Idle(_)
                | State::Tls
                | State::NoTls => {}
            }
            if self.timed_out {
                self.story("nothing has come for too long: it is left".to_owned());
                // In the middle of an answer there is no place for words.
                if self.out.is_empty() && self.fetching.is_none() {
                    ports.to_peer.push(b"* BYE nothing has come for too long\r\n");
                }
                self.state = State::Over;
                continue;
            }
            if !self.out.is_empty() {
                if ports.to_peer.room() == 0 {
                    return Ok(Step::Wait);
                }
                self.send(ports);
                continue;
            }
            if self.closing {
                self.state = State::Over;
                continue;
            }
            match self.state {
                State::Tls if !self.secure => {
                    self.secure = true;
                    return Ok(Step::StartTls);
                }
                State::Tls => {
                    self.state = State::Open;
                    continue;
                }
                State::Greeting
                | State::Open
                | State::Login(..)
                | State::Idle(_)
                | State::NoTls
                | State::Hung
                | State::Over => {}
            }
            if ports.to_peer.room() == 0 {
                return Ok(Step::Wait);
            }
            if self.fetching.is_some() {
                self.fetch();
                self.cut();
            } else if let Some(command) = self.held.take() {
                self.execute(&command);
                self.cut();
            } else if matches!(self.state, State::Greeting) {
                self.greet(ports);
            } else if matches!(self.state, State::NoTls) {
                if ports.peer.rest().is_empty() && !ports.peer.eof {
                    return Ok(Step::Wait);
                }
                self.spoil_handshake(ports);
            } else if self.nudged && matches!(self.state, State::Idle(_)) {
                self.nudged = false;
                if let Some(session) = &mut self.session {
                    session.look(true, &mut self.out);
                }
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

    fn waits_for_news(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    fn nudge(&mut self) {
        self.nudged = true;
    }

    fn time_out(&mut self) {
        self.timed_out = true;
    }
}
