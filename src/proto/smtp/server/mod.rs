//! A mock SMTP server (RFC 5321), for one caller: it takes every message and relays none.
//!
//! In scope: PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), CHUNKING and
//! BINARYMIME (3030), ENHANCEDSTATUSCODES (2034), DSN's parameters (3461), STARTTLS (3207), AUTH
//! (4954), LIMITS (9422), LMTP (2033), XCLIENT (Postfix's). Out of scope: everything that happens
//! to a message after it was taken.
//!
//! greeting ──► command ◄──► login, data, chunk
//!                 │            └─► finished ──► storing ──► command
//!                 └─► ending

mod address;
mod commands;
mod content;
mod login;

use crate::proto::fault::{Act, What, Words};
use crate::proto::sasl::server::Acceptance;
use crate::proto::serving::{self, Event, Protection, Serving};
use crate::proto::session::bare;
use crate::proto::store::Refusal;
use crate::proto::{Machine, Ports, ProtocolError, Step};
use commands::Letter;
use content::Content;
use core::time::Duration;
use std::collections::VecDeque;

/// A command line, with its line end (RFC 5321 §4.5.3.1.4).
const LONGEST_COMMAND: usize = 512;
/// MAIL and RCPT with all that SIZE, BODY, DSN, AUTH and SMTPUTF8 add to them.
const LONGEST_PATH: usize = 2048;
/// AUTH and its answers (RFC 4954 §4).
const LONGEST_LOGIN: usize = 12_288;
/// So many errors are enough.
const MOST_ERRORS: u32 = 20;

/// What becomes of CR and LF that are no line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// It is kept, and said.
    Keep,
    /// It becomes CR LF.
    Normalize,
    /// The message is refused, and the caller left.
    Reject,
}

/// What the server goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What all servers go by.
    pub serving: Serving,
    /// LMTP instead (RFC 2033).
    pub lmtp: bool,
    /// See there.
    pub bare: BareNewline,
    /// Recipients of one message.
    pub most_recipients: usize,
    /// Callers may say who their client is (`--xclient`).
    pub xclient: bool,
}

/// How a caller has introduced itself.
#[derive(Debug)]
struct Hello {
    name: String,
    extended: bool,
}

enum State {
    /// Has it had its fault?
    Greeting(bool),
    Command,
    /// This line has had its fault, and is done next.
    Struck(String),
    /// A line is too long: it is dropped up to its end.
    Skip,
    Login(Box<Acceptance>),
    Data(Content),
    Chunk {
        left: u64,
        last: bool,
        /// Where it goes; nowhere if it was refused.
        content: Option<Content>,
    },
    /// A message is there whole; has it had its fault?
    Finished(Content, bool),
    /// The mode keeps it.
    Storing,
    Ending,
}

/// The machine.
pub struct Server {
    settings: Settings,
    state: State,
    protected: bool,
    hello: Option<Hello>,
    login: Option<(String, &'static str)>,
    letter: Option<Letter>,
    client: Option<(String, Option<String>)>,
    errors: u32,
    now: Duration,
    news: VecDeque<Event>,
    outcome: Option<Vec<Result<String, Refusal>>>,
    /// Nothing has come for too long.
    late: bool,
    /// What happens to the next reply.
    twist: Option<What>,
    /// What was wrong since the last message.
    lint: Vec<String>,
    /// TLS has just begun, and nobody has introduced himself since.
    unnamed_since_tls: bool,
    /// The go-ahead for TLS has been given.
    upgrades: bool,
    /// The greeting was a refusal.
    refuses_all: bool,
}

impl Server {
    /// For one caller.
    pub fn new(settings: Settings) -> Self {
        let protected = settings.serving.protection == Protection::On;
        let client = settings.serving.client.map(|a| (a.ip().to_canonical().to_string(), None));
        Self {
            settings,
            state: State::Greeting(false),
            protected,
            hello: None,
            login: None,
            letter: None,
            client,
            errors: 0,
            now: Duration::ZERO,
            news: VecDeque::new(),
            outcome: None,
            late: false,
            twist: None,
            lint: Vec::new(),
            unnamed_since_tls: false,
            upgrades: false,
            refuses_all: false,
        }
    }

    fn serving(&self) -> &Serving {
        &self.settings.serving
    }

    fn story(&mut self, what: String) {
        self.news.push_back(Event::Story(what));
    }

    fn blame(&mut self, what: &str) {
        self.lint.push(what.to_owned());
        self.news.push_back(Event::Lint(what.to_owned()));
    }

    /// Says a reply; `text` may have several lines. A fault that waits for a reply meets this one.
    fn reply(&mut self, ports: &mut Ports<'_>, code: u16, text: &str) {
        let is_error = (500..=504).contains(&code) || code == 555;
        self.errors += u32::from(is_error);
        let (code, text) = if self.errors > MOST_ERRORS {
            self.state = State::Ending;
            (421, "4.7.0 Too many errors, good-bye")
        } else {
            (code, text)
        };
        let mut lines = text.split('\n').peekable();
        let mut whole = Vec::new();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            whole.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
        }
        match self.twist.take() {
            None => {}
            Some(What::Truncate) => {
                whole.truncate(whole.len() / 2);
                self.strike(Act::Drop);
            }
            Some(What::Garbage | What::StartTlsFail) => {
                whole = b"\x00\xff\xfe\x16\x03 this is no reply\r\n".to_vec();
            }
            Some(What::Inject(octets)) => whole.splice(0..0, octets).for_each(drop),
            // These belong to other places, or other protocols.
            Some(
                What::Reply(_) | What::Act(_) | What::NoFinalDot | What::WrongTag | What::LieSize,
            ) => {}
        }
        ports.to_peer.push(&whole);
        if code == 421 {
            self.state = State::Ending;
        }
    }

    fn words(&mut self, ports: &mut Ports<'_>, words: &Words) {
        self.reply(ports, words.code, &words.text);
    }

    /// A fault that the mode does. Returns whether it goes on afterwards.
    fn strike(&mut self, act: Act) -> bool {
        self.news.push_back(Event::Fault(act));
        match act {
            Act::Delay(_) | Act::Slow(_) => true,
            Act::Hang | Act::Drop | Act::Reset => {
                self.state = State::Ending;
                false
            }
        }
    }

    fn greet(&mut self, struck: bool, ports: &mut Ports<'_>) {
        let kind = if self.settings.lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("{} {kind} ncat, a mock server", self.serving().host);
        if struck {
            return self.reply(ports, 220, &greeting);
        }
        if !ports.peer.rest().is_empty() {
            self.blame("it talked before the greeting");
        }
        match self.serving().faults.at_greeting(self.now) {
            Some(What::Reply(words)) => {
                // A greeting has no enhanced code.
                let text = words.text.split_once(' ').map_or("", |(_, text)| text);
                let text = format!("{} {text}", self.serving().host);
                self.reply(ports, words.code, &text);
                // Behind a 554 the caller may still say QUIT (RFC 5321 §3.1).
                self.refuses_all = words.code >= 400;
            }
            Some(What::Act(act)) => {
                if self.strike(act) {
                    self.state = State::Greeting(true);
                }
            }
            twist @ (Some(_) | None) => {
                self.twist = twist;
                self.reply(ports, 220, &greeting);
            }
        }
    }

    /// The next line without its end, if it is whole.
    fn line(&mut self, ports: &mut Ports<'_>) -> Option<Vec<u8>> {
        let rest = ports.peer.rest();
        let in_login = matches!(self.state, State::Login(_));
        let verb = rest.get(..4).unwrap_or_default().to_ascii_uppercase();
        let longest = match verb.as_slice() {
            _ if in_login => LONGEST_LOGIN,
            b"AUTH" => LONGEST_LOGIN,
            b"MAIL" | b"RCPT" | b"XCLI" => LONGEST_PATH,
            _ => LONGEST_COMMAND,
        };
        let end = memchr::memchr(b'\n', &rest[..rest.len().min(longest)]);
        match end {
            Some(at) => {
                let line = ports.peer.eat(at + 1);
                if !line.ends_with(b"\r\n") {
                    self.blame("a command that ends in a bare LF");
                }
                Some(bare(line).to_vec())
            }
            None if rest.len() >= longest => {
                self.state = State::Skip;
                None
            }
            // What has no line end at the end of it all is no command.
            None => None,
        }
    }

    /// A command line comes in.
    fn command(&mut self, line: &[u8], ports: &mut Ports<'_>) {
        let Ok(line) = std::str::from_utf8(line) else {
            return self.reply(ports, 500, "5.5.2 Octets that are neither ASCII nor UTF-8");
        };
        let (verb, argument) = commands::split(line);
        let address = commands::address_of(argument);
        let fault = self.fault(&verb.to_ascii_lowercase(), address);
        match fault {
            None => self.execute(line, ports),
            Some(What::Reply(words)) => {
                // The octets of a chunk come whatever is said.
                if verb.eq_ignore_ascii_case("BDAT")
                    && let Some((left, last)) = commands::chunk(argument)
                {
                    self.state = State::Chunk { left, last, content: None };
                }
                self.words(ports, &words);
            }
            Some(What::Act(act)) => {
                if self.strike(act) {
                    self.state = State::Struck(line.to_owned());
                }
            }
            Some(twist) => {
                self.twist = Some(twist);
                self.execute(line, ports);
            }
        }
    }

    /// What goes wrong here, by a rule or because a recipient's address asks for it.
    fn fault(&self, at: &str, address: &str) -> Option<What> {
        let faults = &self.settings.serving.faults;
        let recipients = self.letter.as_ref().map_or(&[][..], |letter| &letter.to);
        let begins = at == "data" || (at == "bdat" && self.has_no_chunk());
        let by_address = recipients
            .iter()
            .filter(|_| begins)
            .find_map(|(to, _)| faults.asked("data", to.as_bytes()));
        // Whoever asks for a fault at DATA means the message, however it is sent.
        let is_chunk = begins && at == "bdat";
        let as_data = || is_chunk.then(|| faults.at(self.now, "data", b"")).flatten();
        by_address.or_else(|| faults.at(self.now, at, address.as_bytes())).or_else(as_data)
    }

    fn has_no_chunk(&self) -> bool {
        self.letter.as_ref().is_some_and(|letter| letter.chunks.is_none())
    }

    fn skip(&mut self, ports: &mut Ports<'_>) -> Option<Step<Event>> {
        match ports.peer.line() {
            Some(_) => {
                self.state = State::Command;
                self.reply(ports, 500, "5.5.6 Line too long");
                None
            }
            None => {
                let n = ports.peer.rest().len();
                ports.peer.eat(n);
                match ports.peer.eof {
                    true => Some(self.hung_up()),
                    false => Some(Step::Wait),
                }
            }
        }
    }

    /// The caller has ended without QUIT.
    fn hung_up(&mut self) -> Step<Event> {
        self.state = State::Ending;
        Step::Event(Event::Lint("it hung up without QUIT".into()))
    }

    fn data(
        &mut self,
        mut content: Content,
        ports: &mut Ports<'_>,
    ) -> Result<Option<Step<Event>>, ProtocolError> {
        let before = content.total();
        let (n, end) = content.take(ports.peer.rest());
        ports.peer.eat(n);
        let after = content.total();
        if !end && ports.peer.eof {
            return Err(ProtocolError::Cut { waiting_for: "the end of its message" });
        }
        self.state = match end {
            true => State::Finished(content, false),
            false => State::Data(content),
        };
        self.strike_octets(before, after, ports);
        Ok((!end && self.news.is_empty()).then_some(Step::Wait))
    }

    /// A fault after so many octets of a message.
    fn strike_octets(&mut self, before: u64, after: u64, ports: &mut Ports<'_>) {
        let hit = self.settings.serving.faults.at_octets(self.now, before, after);
        match hit.map(|(_, what)| what) {
            None => {}
            Some(What::Act(act)) => {
                self.strike(act);
            }
            Some(What::Reply(words)) => {
                self.words(ports, &words);
                self.strike(Act::Drop);
            }
            Some(twist) => self.twist = Some(twist),
        }
    }

    fn chunk(&mut self, ports: &mut Ports<'_>) -> Option<Step<Event>> {
        let State::Chunk { left, content, .. } = &mut self.state else { return None };
        let before = content.as_ref().map_or(0, Content::total);
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(ports.peer.rest().len());
        let piece = ports.peer.eat(here);
        *left -= here as u64;
        if let Some(content) = content {
            content.add(piece);
        }
        let waits = *left > 0;
        let after = content.as_ref().map_or(0, Content::total);
        self.strike_octets(before, after, ports);
        if waits || matches!(self.state, State::Ending) {
            return self.news.is_empty().then_some(Step::Wait);
        }
        let State::Chunk { last, content, .. } = std::mem::replace(&mut self.state, State::Command)
        else {
            return None;
        };
        match (content, last) {
            // It has been refused when it was announced.
            (None, _) => {}
            (Some(content), true) => self.state = State::Finished(content, false),
            (Some(content), false) => {
                let so_far = content.total();
                if let Some(letter) = &mut self.letter {
                    letter.chunks = Some(content);
                }
                self.reply(ports, 250, &format!("2.0.0 Ok: {so_far} octets so far"));
            }
        }
        None
    }
}

impl Machine for Server {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.news.pop_front() {
                return Ok(Step::Event(event));
            }
            if std::mem::take(&mut self.late) && !matches!(self.state, State::Ending) {
                self.reply(ports, 421, "4.4.2 Nothing has come for too long, good-bye");
                continue;
            }
            match std::mem::replace(&mut self.state, State::Command) {
                State::Greeting(struck) => self.greet(struck, ports),
                State::Ending => {
                    self.state = State::Ending;
                    return Ok(Step::Done);
                }
                State::Struck(line) => self.execute(&line, ports),
                State::Skip => {
                    self.state = State::Skip;
                    if let Some(step) = self.skip(ports) {
                        return Ok(step);
                    }
                }
                // Nobody reads our replies: what comes waits, in the end with the caller.
                state @ (State::Command | State::Login(_)) if ports.to_peer.room() == 0 => {
                    self.state = state;
                    return Ok(Step::Wait);
                }
                State::Command => match self.line(ports) {
                    Some(line) => self.command(&line, ports),
                    None if matches!(self.state, State::Skip) => {}
                    None if ports.peer.eof => return Ok(self.hung_up()),
                    None => return Ok(Step::Wait),
                },
                State::Login(acceptance) => {
                    self.state = State::Login(acceptance);
                    match self.line(ports) {
                        Some(line) => self.answer_login(&line, ports),
                        None if matches!(self.state, State::Skip) => {}
                        None if ports.peer.eof => return Ok(self.hung_up()),
                        None => return Ok(Step::Wait),
                    }
                }
                State::Data(content) => {
                    if let Some(step) = self.data(content, ports)? {
                        return Ok(step);
                    }
                }
                State::Chunk { left, last, content } => {
                    if ports.peer.is_over() && left > 0 {
                        return Err(ProtocolError::Cut { waiting_for: "the rest of its message" });
                    }
                    self.state = State::Chunk { left, last, content };
                    if let Some(step) = self.chunk(ports) {
                        return Ok(step);
                    }
                }
                State::Finished(content, struck) => self.finish(content, struck, ports),
                State::Storing => match self.outcome.take() {
                    Some(outcome) => self.stored(outcome, ports),
                    None => {
                        self.state = State::Storing;
                        return Ok(Step::Wait);
                    }
                },
            }
            if std::mem::take(&mut self.upgrades) {
                // What was said in the clear counts for nothing (RFC 3207 §4.2).
                (self.hello, self.login, self.letter) = (None, None, None);
                (self.protected, self.unnamed_since_tls) = (true, true);
                return Ok(Step::StartTls);
            }
        }
    }
}

impl serving::Server for Server {
    fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    fn answer(&mut self, outcome: Vec<Result<String, Refusal>>) {
        self.outcome = Some(outcome);
    }

    fn time_out(&mut self) {
        self.late = true;
    }
}

#[cfg(test)]
mod tests;
