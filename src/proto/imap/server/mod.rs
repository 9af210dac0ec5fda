//! The server's side of IMAP (RFC 9051, RFC 3501), for a mock server that real clients can use.
//!
//! States: not authenticated, authenticated, selected, and good-bye; IDLE and a FETCH under way
//! hold up the next command. Everything goes through `out`, of which only so much leaves as there
//! is room for; nothing new is read or made before it is empty, so that one message is in memory
//! at a time.

mod auth;
mod envelope;
mod fetch;
mod folders;
mod listing;
mod messages;
mod search;
mod sets;
mod structure;
mod update;
mod words;

#[cfg(test)]
mod tests;

use super::super::fault::{Act, What, Words as Told};
use super::super::serving::{Event, Protection, Server, Serving};
use super::super::store::{Refusal, Store, Stores};
use super::super::{Machine, Ports, ProtocolError, Step};
use crate::proto::sasl::server::Acceptance;
use core::time::Duration;
use messages::Fetching;
use std::collections::VecDeque;
use update::View;
use words::{Came, Command, Parsed, Reader, Words};

/// Commands that are none, before we hang up (hardening: errors a session).
const MOST_ERRORS: u32 = 20;

/// A server for one caller.
pub fn new(serving: Serving, stores: Box<dyn Stores>) -> impl Server {
    Imap {
        tls: serving.protection == Protection::On,
        serving,
        stores,
        store: None,
        view: None,
        reader: Reader::default(),
        state: State::Accepted,
        out: Vec::new(),
        sent: 0,
        events: VecDeque::new(),
        now: Duration::ZERO,
        errors: 0,
        utf8: false,
        rev2: false,
        nudged: false,
        timed_out: false,
    }
}

/// What the next step does.
enum State {
    /// Nothing has been said.
    Accepted,
    Greeting,
    /// The greeting, whatever it was that held it up.
    Welcome,
    /// The next command is read.
    Ready,
    /// A command that a fault holds up.
    Held(Command, Option<What>),
    Fetching(Fetching),
    /// The rest of a message that a fault holds up.
    Rest(Vec<u8>, Fetching),
    /// The tag of IDLE.
    Idle(Vec<u8>),
    /// The tag of AUTHENTICATE, whose next line is a response.
    Authenticating(Vec<u8>, Box<Acceptance>),
    /// What has been said goes out, then TLS begins.
    Tls,
    /// What has been said goes out, then it is over.
    Leaving,
}

struct Imap {
    serving: Serving,
    stores: Box<dyn Stores>,
    /// Somebody has logged in.
    store: Option<Box<dyn Store>>,
    view: Option<View>,
    reader: Reader,
    state: State,
    out: Vec<u8>,
    /// How much of `out` has left.
    sent: usize,
    events: VecDeque<Event>,
    now: Duration,
    errors: u32,
    tls: bool,
    /// UTF8=ACCEPT or IMAP4rev2 is enabled.
    utf8: bool,
    rev2: bool,
    nudged: bool,
    timed_out: bool,
}

/// How a command ends.
enum End {
    /// `OK`, with this text, a response code first if there is one.
    Ok(String),
    /// It goes on, or its answer is there already.
    Open,
}

/// Why a command was not done.
enum Failure {
    Bad(&'static str),
    No(String),
}

impl From<&'static str> for Failure {
    fn from(why: &'static str) -> Self {
        Failure::Bad(why)
    }
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        let code = match &why {
            Refusal::NoSuchFolder => "[NONEXISTENT] ",
            Refusal::Exists => "[ALREADYEXISTS] ",
            Refusal::BadName(_) => "[CANNOT] ",
            Refusal::Full => "[OVERQUOTA] ",
            Refusal::ReadOnly => "[READ-ONLY] ",
            Refusal::InUse => "[INUSE] ",
            Refusal::Gone => "[EXPUNGEISSUED] ",
            Refusal::Broken(_) => "[SERVERBUG] ",
        };
        Failure::No(format!("{code}{}", one_line(&why.to_string())))
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || !c.is_ascii() { '?' } else { c }).collect()
}

type Done = Result<End, Failure>;

impl Server for Imap {
    fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    fn waits_for_news(&self) -> bool {
        matches!(self.state, State::Idle(_)) && self.view.is_some()
    }

    fn nudge(&mut self) {
        self.nudged = true;
    }

    fn time_out(&mut self) {
        self.timed_out = true;
    }
}

impl Machine for Imap {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            let n = ports.to_peer.room().min(self.out.len() - self.sent);
            ports.to_peer.push(&self.out[self.sent..self.sent + n]);
            self.sent += n;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
            }
            // What goes wrong with the connection comes behind what has been said.
            if matches!(self.events.front(), Some(Event::Fault(_))) && !self.out.is_empty() {
                return Ok(Step::Wait);
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            if self.timed_out && !matches!(self.state, State::Leaving) {
                self.say("* BYE nothing has come for too long");
                self.state = State::Leaving;
                continue;
            }
            if !self.out.is_empty() {
                return Ok(Step::Wait);
            }
            match std::mem::replace(&mut self.state, State::Ready) {
                State::Accepted => {
                    self.state = State::Greeting;
                    if let Some(what) = self.serving.faults.at_accept(self.now) {
                        self.fault_at_start(what);
                    }
                }
                State::Greeting => {
                    if !ports.peer.rest().is_empty() {
                        self.lint("it talks before it is greeted");
                    }
                    match self.serving.faults.at_greeting(self.now) {
                        None => self.greet(),
                        Some(What::Act(act)) => {
                            self.act(act);
                            self.state = State::Welcome;
                        }
                        Some(What::Inject(octets)) => {
                            self.out.extend_from_slice(&octets);
                            self.greet();
                        }
                        Some(what) => self.fault_at_start(what),
                    }
                }
                State::Welcome => self.greet(),
                State::Ready => {
                    let known = self.store.is_some();
                    let most = self.serving.most_octets;
                    let came = self.reader.read(&mut ports.peer, known, most);
                    if !self.came(came) {
                        if ports.peer.eof {
                            self.state = State::Leaving;
                            continue;
                        }
                        return Ok(Step::Wait);
                    }
                }
                State::Held(command, what) => self.run(&command, what),
                State::Fetching(fetching) => self.go_on(fetching),
                State::Rest(rest, fetching) => {
                    self.out = rest;
                    self.state = State::Fetching(fetching);
                }
                State::Idle(tag) => {
                    if std::mem::take(&mut self.nudged) {
                        self.refresh(true);
                        self.state = State::Idle(tag);
                        continue;
                    }
                    match self.reader.read(&mut ports.peer, true, 0) {
                        Came::Part => {
                            self.state =
                                if ports.peer.eof { State::Leaving } else { State::Idle(tag) };
                            if !ports.peer.eof {
                                return Ok(Step::Wait);
                            }
                        }
                        Came::Command(line)
                            if Words::new(&line).keyword().as_deref() == Ok("DONE") =>
                        {
                            self.refresh(true);
                            self.tagged(&tag, "OK IDLE is over");
                        }
                        Came::Command(_) | Came::Announced | Came::TooBig(_) | Came::Bad(..) => {
                            self.bad(&tag, "IDLE ends with DONE");
                        }
                        Came::Absurd => self.leave("no literal is so large"),
                    }
                }
                State::Authenticating(tag, acceptance) => {
                    match self.reader.read(&mut ports.peer, false, 0) {
                        Came::Part if ports.peer.eof => self.state = State::Leaving,
                        Came::Part => {
                            self.state = State::Authenticating(tag, acceptance);
                            return Ok(Step::Wait);
                        }
                        Came::Command(line) => {
                            let done = self.response(&tag, acceptance, Words::new(&line).text());
                            self.finish(&tag, done);
                        }
                        Came::Announced | Came::TooBig(_) | Came::Bad(..) => {
                            self.bad(&tag, "this is no response of a login");
                        }
                        Came::Absurd => self.leave("no literal is so large"),
                    }
                }
                State::Tls => {
                    if ports.peer.eat(ports.peer.rest().len()).is_empty() {
                        self.tls = true;
                    } else {
                        self.tls = true;
                        self.lint("it goes on in the clear after STARTTLS: that is thrown away");
                        self.reader = Reader::default();
                    }
                    return Ok(Step::StartTls);
                }
                State::Leaving => {
                    self.state = State::Leaving;
                    ports.to_peer.end();
                    return Ok(Step::Done);
                }
            }
        }
    }
}

impl Imap {
    fn greet(&mut self) {
        let (host, capabilities) = (self.serving.host.clone(), self.capabilities());
        self.say(&format!("* OK [CAPABILITY {capabilities}] {host} is ready"));
    }

    /// A line without its end.
    fn say(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn tagged(&mut self, tag: &[u8], text: &str) {
        self.out.extend_from_slice(tag);
        self.out.push(b' ');
        self.say(text);
    }

    fn leave(&mut self, why: &str) {
        self.say(&format!("* BYE {why}"));
        self.state = State::Leaving;
    }

    fn bad(&mut self, tag: &[u8], why: &str) {
        let tag = if tag.is_empty() { b"*" } else { tag };
        self.tagged(tag, &format!("BAD {why}"));
        self.errors += 1;
        if self.errors > MOST_ERRORS {
            self.leave("too many errors");
        }
    }

    fn lint(&mut self, what: &str) {
        self.events.push_back(Event::Lint(what.to_owned()));
    }

    fn story(&mut self, what: String) {
        self.events.push_back(Event::Story(what));
    }

    /// Takes what has come; says whether there was anything.
    fn came(&mut self, came: Came) -> bool {
        match came {
            Came::Part => return false,
            Came::Announced => self.say("+ go on"),
            Came::TooBig(tag) => {
                let tag = if tag.is_empty() { b"*".to_vec() } else { tag };
                self.tagged(&tag, "NO [TOOBIG] that is more than is taken here");
            }
            Came::Bad(tag, why) => self.bad(&tag, why),
            Came::Absurd => self.leave("[TOOBIG] no literal is so large"),
            Came::Command(command) => self.begin(command),
        }
        true
    }

    /// A command has come: is anything to go wrong?
    fn begin(&mut self, command: Command) {
        if command.bare_lf {
            self.lint("a line ends in LF alone, not in CR LF");
        }
        let mut words = Words::new(&command);
        let tag = words.tag();
        let (Some(_), Ok(()), Ok(mut name)) = (tag, words.space(), words.keyword()) else {
            return self.bad(tag.unwrap_or_default(), "a command is a tag, a blank and a word");
        };
        if name == "UID" && words.space().is_ok() {
            name = words.keyword().unwrap_or_default();
        }
        let argument = words.text().trim_ascii();
        match self.serving.faults.at(self.now, &name.to_ascii_lowercase(), argument) {
            Some(What::Act(act)) => {
                self.state = State::Held(command, None);
                self.act(act);
            }
            what => self.run(&command, what),
        }
    }

    fn act(&mut self, act: Act) {
        self.events.push_back(Event::Fault(act));
    }

    /// A fault before any command.
    fn fault_at_start(&mut self, what: What) {
        match what {
            What::Act(act) => self.act(act),
            What::Inject(octets) => self.out.extend_from_slice(&octets),
            What::Reply(told) => {
                let why = one_line(&told.text);
                self.leave(&why);
            }
            What::Truncate | What::NoFinalDot => {
                self.out.extend_from_slice(b"* OK [CAPAB");
                self.state = State::Leaving;
            }
            What::Garbage | What::StartTlsFail | What::WrongTag | What::LieSize => {
                self.out.extend_from_slice(GARBAGE);
                self.state = State::Ready;
            }
        }
    }

    /// Does a command, and what is to go wrong with it.
    fn run(&mut self, command: &Command, what: Option<What>) {
        let mut words = Words::new(command);
        let mut tag = words.tag().unwrap_or_default().to_vec();
        let mut lie = false;
        let mut cut = false;
        let mut tls_fails = false;
        let mut injected = None;
        match what {
            None => {}
            Some(What::Act(act)) => self.act(act),
            Some(What::Reply(told)) => return self.refuse(&tag, &told),
            Some(What::Garbage) => return self.out.extend_from_slice(GARBAGE),
            Some(What::Truncate | What::NoFinalDot) => cut = true,
            Some(What::StartTlsFail) => tls_fails = true,
            Some(What::Inject(octets)) => injected = Some(octets),
            Some(What::WrongTag) => tag.insert(0, b'x'),
            Some(What::LieSize) => lie = true,
        }
        let _ = words.space();
        let name = words.keyword().unwrap_or_default();
        // Before the handshake comes behind the go-ahead, everything else before the answer.
        let is_tls = name == "STARTTLS";
        if !is_tls && let Some(octets) = injected.take() {
            self.out.extend_from_slice(&octets);
        }
        let done = self.command(&tag, &name, &mut words, lie);
        self.finish(&tag, done);
        if let Some(octets) = injected {
            self.out.extend_from_slice(&octets);
        }
        if tls_fails && matches!(self.state, State::Tls) {
            self.out.extend_from_slice(GARBAGE);
            self.state = State::Leaving;
        }
        if cut {
            if let State::Fetching(fetching) = std::mem::replace(&mut self.state, State::Ready) {
                self.go_on(fetching);
            }
            self.out.truncate(self.out.len() / 2);
            self.state = State::Leaving;
        }
    }

    /// The answer to a command.
    fn finish(&mut self, tag: &[u8], done: Done) {
        match done {
            Ok(End::Ok(text)) => self.tagged(tag, &format!("OK {text}")),
            Err(Failure::No(text)) => self.tagged(tag, &format!("NO {text}")),
            Ok(End::Open) => {}
            Err(Failure::Bad(why)) => self.bad(tag, why),
        }
        if self.errors > MOST_ERRORS && !matches!(self.state, State::Leaving) {
            self.leave("too many errors");
        }
    }

    /// A reply that was asked for as a fault.
    fn refuse(&mut self, tag: &[u8], told: &Told) {
        let text = one_line(&told.text);
        match told.code {
            421 => self.leave(&text),
            200..=399 => self.tagged(tag, &format!("OK {text}")),
            _ if told.is_temporary() => self.tagged(tag, &format!("NO [UNAVAILABLE] {text}")),
            _ => self.tagged(tag, &format!("NO {text}")),
        }
    }

    /// What is offered now.
    fn capabilities(&self) -> String {
        let serving = &self.serving;
        let mechanisms = self.mechanisms();
        let names: Vec<_> = mechanisms.iter().map(|one| format!("AUTH={}", one.name())).collect();
        let mut all = vec!["IMAP4rev1", "IMAP4rev2", "LITERAL+", "ID", "ENABLE"];
        if self.store.is_some() {
            all.extend([
                "IDLE",
                "NAMESPACE",
                "UIDPLUS",
                "UNSELECT",
                "CHILDREN",
                "ESEARCH",
                "SEARCHRES",
                "MOVE",
                "LIST-EXTENDED",
                "LIST-STATUS",
                "SPECIAL-USE",
                "STATUS=SIZE",
                "BINARY",
                "UTF8=ACCEPT",
            ]);
        } else {
            if !self.tls && self.offers_tls() {
                all.push("STARTTLS");
            }
            if !self.may_log_in() {
                all.push("LOGINDISABLED");
            }
            if !names.is_empty() {
                all.push("SASL-IR");
                all.extend(names.iter().map(String::as_str));
            }
        }
        all.retain(|word| *word == "LOGINDISABLED" || !serving.hides(word));
        all.join(" ")
    }

    fn offers_tls(&self) -> bool {
        let hidden = self.serving.hides("STARTTLS");
        match self.serving.protection {
            Protection::Offered | Protection::Required => !hidden,
            Protection::On | Protection::Never => false,
        }
    }

    /// May a password be sent as things are?
    fn may_log_in(&self) -> bool {
        let required = self.serving.protection == Protection::Required;
        self.tls || (self.serving.loopback && !required)
    }

    fn command(&mut self, tag: &[u8], name: &str, words: &mut Words<'_>, lie: bool) -> Done {
        let required = self.serving.protection == Protection::Required && !self.tls;
        if required && !["CAPABILITY", "NOOP", "LOGOUT", "ID", "STARTTLS"].contains(&name) {
            return Err(Failure::No("[PRIVACYREQUIRED] STARTTLS comes first".into()));
        }
        match name {
            "CAPABILITY" => {
                words.end()?;
                let all = self.capabilities();
                self.say(&format!("* CAPABILITY {all}"));
                done("CAPABILITY")
            }
            "NOOP" | "CHECK" => {
                words.end()?;
                if name == "CHECK" {
                    self.selected()?;
                }
                self.refresh(true);
                done(name)
            }
            "LOGOUT" => {
                words.end()?;
                self.say("* BYE until next time");
                self.state = State::Leaving;
                done("LOGOUT")
            }
            "ID" => {
                self.say("* ID (\"name\" \"ncat\")");
                done("ID")
            }
            "STARTTLS" => {
                words.end()?;
                if self.tls || !self.offers_tls() || self.store.is_some() {
                    return Err("STARTTLS is not offered".into());
                }
                self.state = State::Tls;
                Ok(End::Ok("TLS begins".into()))
            }
            "LOGIN" => self.login(words),
            "AUTHENTICATE" => self.authenticate(tag, words),
            _ => self.as_somebody(tag, name, words, lie),
        }
    }

    /// What only somebody may do who has logged in.
    fn as_somebody(&mut self, tag: &[u8], name: &str, words: &mut Words<'_>, lie: bool) -> Done {
        const KNOWN: &[&str] = &[
            "ENABLE",
            "NAMESPACE",
            "IDLE",
            "SELECT",
            "EXAMINE",
            "CREATE",
            "DELETE",
            "RENAME",
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "LIST",
            "LSUB",
            "STATUS",
            "APPEND",
            "CLOSE",
            "UNSELECT",
            "EXPUNGE",
            "SEARCH",
            "FETCH",
            "STORE",
            "COPY",
            "MOVE",
            "UID",
        ];
        if !KNOWN.contains(&name) || self.serving.hides(name) {
            return Err("there is no such command".into());
        }
        if self.store.is_none() {
            return Err("nobody has logged in".into());
        }
        match name {
            "ENABLE" => self.enable(words),
            "NAMESPACE" => {
                words.end()?;
                self.say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                done(name)
            }
            "IDLE" => {
                words.end()?;
                self.refresh(true);
                self.say("+ idling");
                self.state = State::Idle(tag.to_vec());
                Ok(End::Open)
            }
            "CLOSE" | "UNSELECT" => {
                words.end()?;
                self.selected()?;
                if name == "CLOSE" {
                    self.expunge(None, false)?;
                }
                self.view = None;
                done(name)
            }
            "UID" => {
                words.space()?;
                let name = words.keyword()?;
                self.about_messages(tag, &name, words, true, lie)
            }
            "EXPUNGE" | "SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE" => {
                self.about_messages(tag, name, words, false, lie)
            }
            _ => self.about_folders(name, words, lie),
        }
    }

    fn enable(&mut self, words: &mut Words<'_>) -> Done {
        let mut enabled = Vec::new();
        while !words.is_over() {
            words.space()?;
            let name = words.keyword()?;
            match name.as_str() {
                "IMAP4REV2" if !self.serving.hides(&name) => {
                    (self.rev2, self.utf8) = (true, true);
                    enabled.push("IMAP4rev2");
                }
                "UTF8=ACCEPT" if !self.serving.hides(&name) => {
                    self.utf8 = true;
                    enabled.push("UTF8=ACCEPT");
                }
                _ => {}
            }
        }
        let all: String = enabled.iter().map(|name| format!(" {name}")).collect();
        self.say(&format!("* ENABLED{all}"));
        done("ENABLE")
    }

    fn selected(&mut self) -> Parsed<&mut View> {
        self.view.as_mut().ok_or("no mailbox is selected")
    }

    fn store(&mut self) -> Parsed<&mut Box<dyn Store>> {
        self.store.as_mut().ok_or("nobody has logged in")
    }

    /// Tells what has changed in the selected folder.
    fn refresh(&mut self, may_remove: bool) {
        let recent = !self.rev2;
        let Some(view) = &mut self.view else { return };
        if let Err(why) = view.refresh(may_remove, recent, &mut self.out) {
            self.say(&format!("* NO {}", one_line(&why.to_string())));
        }
    }
}

/// What is no IMAP.
const GARBAGE: &[u8] = b"\x00\xff\x13garbage on demand\x80\r\n";

fn done(name: &str) -> Done {
    Ok(End::Ok(format!("{name} done")))
}
