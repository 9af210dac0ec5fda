//! A helped IMAP session: somebody types commands, the machine keeps the order of things.
//!
//! In scope: tags, literals both ways and continuations (RFC 9051 §2.2, §4.3, §7.6), lock-step,
//! STARTTLS by hand or before the hand-over, a login for the person (AUTHENTICATE, LOGIN), LOGOUT
//! at the end of the input. Out: everything that a mailbox holds.
//!
//! ```text
//!  greeting ──► setup (CAPABILITY, STARTTLS, CAPABILITY, login: ours) ──► open ◄──► literal
//!                 only if TLS or a login was asked for                     │  └──► tls ──► open
//!                                                                          └─► leaving (LOGOUT)
//! ```

use super::reader::{Literal, Reader, Response, announced};
use super::{Offers, Reply, Status, Verb, quoted};
use crate::proto::sasl::{Exchange, encode};
use crate::proto::session::{
    self, Answer, Config, Event, Pace, Worst, accept, command, no_mechanism, respond, words,
};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We speak: until TLS and the login are through.
    Setup,
    /// The person's lines are commands, or what a command was told to go on with.
    Open,
    /// The server has to let a literal of the command come.
    Asking(Literal),
    /// So many octets are a literal.
    Octets(u64),
    /// What follows a literal belongs to the same command.
    Rest,
    /// The command was refused before its literal: so many octets, and the rest of its line, are
    /// dropped.
    Dropping(u64),
    /// A go-ahead for TLS has come; the handshake is next.
    Tls,
    /// LOGOUT has been sent.
    Leaving,
    /// Nothing is left to say.
    Over,
}

/// A command that waits for its reply.
#[derive(Debug, Clone)]
struct Asked {
    tag: Vec<u8>,
    verb: Verb,
    ours: bool,
    /// A line of one word is none, and some servers say so without a tag.
    odd: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    reader: Reader,
    asked: VecDeque<Asked>,
    offers: Offers,
    secure: bool,
    /// The server has said "go on" to a command: the next line is no command.
    told_to_go_on: bool,
    /// Tags that we have used.
    tags: u32,
    login: Option<Exchange>,
    tls_is_ours: bool,
    bye: bool,
    worst: Option<Worst>,
    events: VecDeque<Event>,
}

impl Session {
    /// Before the greeting.
    pub fn new(config: Config) -> Self {
        let at_once = config.pace == Pace::AtOnce && !config.has_setup();
        let greeting = Asked { tag: b"*".to_vec(), verb: Verb::Greeting, ours: false, odd: false };
        Self {
            state: if at_once { State::Open } else { State::Setup },
            reader: Reader::default(),
            asked: VecDeque::from([greeting]),
            offers: Offers::default(),
            secure: config.secure,
            told_to_go_on: false,
            tags: 0,
            login: None,
            tls_is_ours: false,
            bye: false,
            worst: None,
            events: VecDeque::new(),
            config,
        }
    }

    /// Sends a command of ours; `shown` is what may be told of it.
    fn ask(&mut self, ports: &mut Ports<'_>, verb: Verb, line: &[u8], shown: &str) {
        self.tags += 1;
        let tag = format!("ncat{}", self.tags);
        ports.to_peer.push(tag.as_bytes());
        ports.to_peer.push(b" ");
        ports.to_peer.push(line);
        ports.to_peer.push(b"\r\n");
        self.events.push_back(Event::Said(format!("{tag} {shown}")));
        let ours = verb != Verb::Logout;
        self.asked.push_back(Asked { tag: tag.into_bytes(), verb, ours, odd: false });
    }

    /// Something from the peer. False if there is nothing.
    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let shown = self.asked.front().is_none_or(|asked| !asked.ours);
        let room = ports.to_user.room();
        let before = ports.peer.rest();
        match self.reader.read(&mut ports.peer, room) {
            Ok(None) => Ok(false),
            Ok(Some((piece, response))) => {
                if shown {
                    ports.to_user.push(piece);
                }
                if let Some(response) = response {
                    self.heard(ports, response)?;
                }
                Ok(true)
            }
            Err(error) => {
                // The person sees what it was that we do not understand.
                let n = before.len() - ports.peer.rest().len();
                ports.to_user.push(&before[..n]);
                Err(error)
            }
        }
    }

    fn heard(&mut self, ports: &mut Ports<'_>, response: Response) -> Result<(), ProtocolError> {
        match response {
            Response::GoOn(text) => self.go_on(ports, &text),
            Response::Data(line) => {
                let text = String::from_utf8_lossy(&line);
                let list =
                    text.get(..13).filter(|start| start.eq_ignore_ascii_case("* CAPABILITY "));
                if list.is_some() {
                    self.offers = Offers::read(&text[13..]);
                }
                Ok(())
            }
            Response::Status(status, line) => self.stands(ports, Reply { status, line }),
            Response::Tagged(tag, status, line) => {
                self.answered(ports, &tag, Reply { status, line })
            }
        }
    }

    /// `+`: a literal may come, or the next line of a login or of IDLE.
    fn go_on(&mut self, ports: &mut Ports<'_>, text: &[u8]) -> Result<(), ProtocolError> {
        if let State::Asking(literal) = self.state {
            self.state = after_go_ahead(literal);
            return Ok(());
        }
        let Some(asked) = self.asked.back() else {
            self.events.push_back(Event::Unasked([b"+ ", text].concat()));
            return Ok(());
        };
        if !asked.ours {
            self.told_to_go_on = true;
            return Ok(());
        }
        let Some(exchange) = self.login.as_mut().filter(|_| asked.verb == Verb::Authenticate)
        else {
            return Ok(());
        };
        match respond(exchange, text) {
            Ok((answer, note)) => {
                self.events.extend(note);
                ports.to_peer.push(answer.as_bytes());
                ports.to_peer.push(b"\r\n");
                self.events.push_back(Event::Said("****".to_owned()));
                Ok(())
            }
            Err(error) => {
                ports.to_peer.push(b"*\r\n");
                Err(error)
            }
        }
    }

    /// `* OK`, `* BYE`: the greeting, a farewell, or a remark.
    fn stands(&mut self, ports: &mut Ports<'_>, reply: Reply) -> Result<(), ProtocolError> {
        self.learn(&reply);
        let front = self.asked.front().cloned();
        match (front, reply.status) {
            (Some(Asked { verb: Verb::Greeting, .. }), status) => {
                self.asked.pop_front();
                self.judge(Verb::Greeting, &reply);
                let answer = Answer::Imap(Verb::Greeting, reply.clone());
                self.events.push_back(Event::Reply { ours: false, answer });
                self.greeted(ports, status, &reply)
            }
            (Some(asked), Status::Bad) if asked.odd => {
                let tag = asked.tag;
                self.answered(ports, &tag, reply)
            }
            (_, Status::Bye) => {
                let leaving = self.asked.iter().any(|asked| asked.verb == Verb::Logout);
                self.bye = true;
                if !leaving {
                    // Nobody has asked it to go: it is the end, now.
                    let ours = self.asked.front().is_some_and(|asked| asked.ours);
                    if ours {
                        return Err(refused("to go on", &reply));
                    }
                    self.worst = self.worst.max(Some(Worst::Later));
                    let answer = Answer::Imap(Verb::Greeting, reply);
                    self.events.push_back(Event::Reply { ours: false, answer });
                    self.state = State::Over;
                }
                Ok(())
            }
            (_, Status::Ok | Status::No | Status::Bad | Status::Preauth) => Ok(()),
        }
    }

    /// A list of what is offered may come in a code.
    fn learn(&mut self, reply: &Reply) {
        if let Some(list) = reply.code().as_deref().and_then(|c| c.strip_prefix("CAPABILITY ")) {
            self.offers = Offers::read(list);
        }
    }

    fn greeted(
        &mut self,
        ports: &mut Ports<'_>,
        status: Status,
        reply: &Reply,
    ) -> Result<(), ProtocolError> {
        match (status, self.config.has_setup()) {
            // Somebody in between may have spoken to keep us from TLS (RFC 8314 §4.2).
            (Status::Preauth, true) if self.config.starttls && !self.secure => {
                Err(ProtocolError::Missing { what: "STARTTLS, for it says that we are logged in" })
            }
            (Status::Preauth, true) => {
                self.hand_over();
                Ok(())
            }
            (Status::Ok, true) => {
                self.ask_for_offers(ports);
                Ok(())
            }
            (_, true) => Err(refused("the connection", reply)),
            (Status::Ok | Status::Preauth, false) => {
                if self.state == State::Setup {
                    self.hand_over();
                }
                Ok(())
            }
            (_, false) => {
                self.state = State::Over;
                Ok(())
            }
        }
    }

    fn ask_for_offers(&mut self, ports: &mut Ports<'_>) {
        self.offers = Offers::default();
        self.ask(ports, Verb::Capability, b"CAPABILITY", "CAPABILITY");
    }

    fn answered(
        &mut self,
        ports: &mut Ports<'_>,
        tag: &[u8],
        reply: Reply,
    ) -> Result<(), ProtocolError> {
        self.learn(&reply);
        let Some(at) = self.asked.iter().position(|asked| asked.tag == tag) else {
            self.events.push_back(Event::Unasked(reply.line));
            return Ok(());
        };
        let is_last = at + 1 == self.asked.len();
        let Some(Asked { verb, ours, .. }) = self.asked.remove(at) else { return Ok(()) };
        if !ours {
            self.judge(verb, &reply);
        }
        let status = reply.status;
        self.events.push_back(Event::Reply { ours, answer: Answer::Imap(verb, reply.clone()) });
        if is_last {
            self.told_to_go_on = false;
            // The command is over, whatever of it was still to come.
            match self.state {
                State::Asking(literal) if self.config.pace == Pace::LockStep => {
                    self.state = State::Dropping(literal.octets);
                }
                State::Asking(_) | State::Rest => self.state = State::Open,
                State::Setup
                | State::Open
                | State::Octets(_)
                | State::Dropping(_)
                | State::Tls
                | State::Leaving
                | State::Over => {}
            }
        }
        match (verb, status) {
            (Verb::Capability, _) if ours => self.set_up(ports)?,
            (Verb::StartTls, Status::Ok) if self.secure => {
                return Err(ProtocolError::malformed(
                    "a refusal, since TLS is on already",
                    &reply.line,
                ));
            }
            (Verb::StartTls, Status::Ok) => (self.state, self.tls_is_ours) = (State::Tls, ours),
            (Verb::StartTls, _) if ours => return Err(refused("STARTTLS", &reply)),
            (Verb::Login | Verb::Authenticate, Status::Ok) if ours => {
                self.login.as_ref().map_or(Ok(()), accept)?;
                self.hand_over();
            }
            (Verb::Login | Verb::Authenticate, _) if ours => {
                return Err(refused("the login", &reply));
            }
            (Verb::Logout, _) => self.state = State::Over,
            _ => {}
        }
        Ok(())
    }

    fn judge(&mut self, verb: Verb, reply: &Reply) {
        let worst = match (reply.status, verb) {
            (Status::Ok | Status::Preauth, _) => return,
            _ if is_for_now(reply) => Worst::Later,
            (Status::No, Verb::Login | Verb::Authenticate) => Worst::Login,
            (Status::No | Status::Bad | Status::Bye, _) => Worst::Refused,
        };
        self.worst = self.worst.max(Some(worst));
    }

    /// What is offered is known: what comes next of what was asked for?
    fn set_up(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        if self.config.starttls && !self.secure {
            if !self.offers.has("STARTTLS") {
                return Err(ProtocolError::Missing { what: "STARTTLS" });
            }
            self.ask(ports, Verb::StartTls, b"STARTTLS", "STARTTLS");
            return Ok(());
        }
        let Some(login) = &self.config.login else {
            self.hand_over();
            return Ok(());
        };
        if let Some(mechanism) = login.choose(self.offers.mechanisms()) {
            let mut exchange = login.start(mechanism);
            let line = format!("AUTHENTICATE {}", exchange.name());
            let initial = exchange.initial().filter(|_| self.offers.has("SASL-IR"));
            self.login = Some(exchange);
            // Nothing is something here (RFC 4959 §3).
            let initial = initial.map(|initial| match initial.as_slice() {
                [] => " =".to_owned(),
                initial => format!(" {}", encode(initial)),
            });
            let shown = format!("{line}{}", initial.as_ref().map_or("", |_| " ****"));
            let whole = format!("{line}{}", initial.unwrap_or_default());
            self.ask(ports, Verb::Authenticate, whole.as_bytes(), &shown);
            return Ok(());
        }
        if login.only.is_some() {
            return Err(no_mechanism(login));
        }
        if self.offers.has("LOGINDISABLED") {
            return Err(ProtocolError::Missing { what: "a login over this connection" });
        }
        let (user, password) = (&login.credentials.user, login.credentials.password.bytes());
        let (Some(user), Some(password)) = (quoted(user.as_bytes()), quoted(password)) else {
            let why = "LOGIN cannot carry this user and password, for they are not plain ASCII";
            return Err(ProtocolError::Distrusted { why: why.to_owned() });
        };
        let line = [b"LOGIN ", user.as_slice(), b" ", &password].concat();
        self.ask(ports, Verb::Login, &line, "LOGIN **** ****");
        Ok(())
    }

    fn hand_over(&mut self) {
        self.state = if self.config.setup_only { State::Over } else { State::Open };
        self.events.push_back(Event::Ready);
    }

    /// May a line go out now?
    fn may_send(&self) -> bool {
        if self.told_to_go_on || self.asked.is_empty() {
            return true;
        }
        // Behind these, the reply decides what the next byte is; for TLS even with --no-wait.
        let waits = |asked: &Asked| {
            let dialogue = matches!(asked.verb, Verb::Greeting | Verb::Authenticate | Verb::Idle);
            asked.verb == Verb::StartTls || dialogue && self.config.pace != Pace::AtOnce
        };
        match self.config.pace {
            Pace::LockStep | Pace::Grouped => false,
            Pace::Typed | Pace::AtOnce => !self.asked.iter().any(waits),
        }
    }

    /// What the person says next. False if nothing can be sent now.
    fn speak(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        match self.state {
            State::Octets(left) => self.send_octets(ports, left),
            State::Rest => self.send_line(ports),
            State::Dropping(left) => self.drop_octets(ports, left),
            State::Open if self.may_send() => self.send_line(ports),
            State::Setup
            | State::Open
            | State::Asking(_)
            | State::Tls
            | State::Leaving
            | State::Over => Ok(false),
        }
    }

    fn send_line(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if ports.to_peer.room() == 0 {
            return Ok(false);
        }
        let raw = self.config.content.raw;
        let Some((line, eaten)) = command(ports.user.rest(), ports.user.eof, raw)? else {
            if !ports.user.is_over() {
                return Ok(false);
            }
            if self.state == State::Rest {
                return Err(ProtocolError::Unfinished { what: "a command behind its literal" });
            }
            // A command that is told to go on has no reply yet, and will have none.
            if self.asked.is_empty() || self.told_to_go_on {
                self.take_leave(ports);
                return Ok(true);
            }
            return Ok(false);
        };
        ports.to_peer.push(line);
        ports.to_peer.push(b"\r\n");
        ports.user.eat(eaten);
        let goes_on = std::mem::take(&mut self.told_to_go_on);
        let is_command = self.state == State::Open && !goes_on;
        self.state = State::Open;
        if is_command {
            let verb = Verb::of(line);
            let mut words = words(line);
            let tag = words.next().unwrap_or_default().to_vec();
            let odd = words.next().is_none();
            self.asked.push_back(Asked { tag, verb, ours: false, odd });
            if verb == Verb::Logout {
                self.state = State::Leaving;
            }
        }
        // An answer to a challenge holds no literal.
        if let Some(Some(literal)) = announced(line).filter(|_| !goes_on) {
            let at_once = literal.at_once || self.config.pace == Pace::AtOnce;
            self.state = if at_once { after_go_ahead(literal) } else { State::Asking(literal) };
        }
        Ok(true)
    }

    fn send_octets(&mut self, ports: &mut Ports<'_>, left: u64) -> Result<bool, ProtocolError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let n = ports.user.rest().len().min(ports.to_peer.room()).min(most);
        ports.to_peer.push(ports.user.eat(n));
        let left = left - n as u64;
        self.state = if left == 0 { State::Rest } else { State::Octets(left) };
        if left > 0 && ports.user.is_over() {
            return Err(ProtocolError::Unfinished {
                what: "a literal: it has fewer octets than its command says",
            });
        }
        Ok(n > 0)
    }

    fn drop_octets(&mut self, ports: &mut Ports<'_>, left: u64) -> Result<bool, ProtocolError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let n = ports.user.rest().len().min(most);
        ports.user.eat(n);
        let left = left - n as u64;
        if left > 0 {
            self.state = if ports.user.is_over() { State::Open } else { State::Dropping(left) };
            return Ok(n > 0);
        }
        let raw = self.config.content.raw;
        let Some((line, eaten)) = command(ports.user.rest(), ports.user.eof, raw)? else {
            self.state = if ports.user.is_over() { State::Open } else { State::Dropping(0) };
            return Ok(self.state == State::Open);
        };
        let next = announced(line).flatten();
        ports.user.eat(eaten);
        self.state = next.map_or(State::Open, |literal| State::Dropping(literal.octets));
        Ok(true)
    }

    /// The input has ended, and every command has its reply.
    fn take_leave(&mut self, ports: &mut Ports<'_>) {
        if std::mem::take(&mut self.told_to_go_on) {
            let idles = self.asked.back().is_some_and(|asked| asked.verb == Verb::Idle);
            // A login that is open is called off by a star (RFC 9051 §6.2.2).
            ports.to_peer.push(if idles { b"DONE\r\n" } else { b"*\r\n" });
            return;
        }
        self.ask(ports, Verb::Logout, b"LOGOUT", "LOGOUT");
        self.state = State::Leaving;
    }

    /// The server has hung up, and all that it said has been read.
    fn hung_up(&self) -> Result<Step<Event>, ProtocolError> {
        let leaving = self.asked.iter().any(|asked| asked.verb == Verb::Logout);
        let waiting_for = match self.asked.front() {
            _ if self.reader.is_inside() => "the end of its response: this is not all",
            Some(_) if leaving && self.bye => return Ok(Step::Done),
            Some(asked) => asked.verb.awaited(),
            None if self.state == State::Over => return Ok(Step::Done),
            None => "LOGOUT",
        };
        Err(ProtocolError::Cut { waiting_for })
    }
}

fn after_go_ahead(literal: Literal) -> State {
    match literal.octets {
        0 => State::Rest,
        octets => State::Octets(octets),
    }
}

/// Is it only for now that the server says no?
/// May it be granted later?
pub(super) fn is_for_now(reply: &Reply) -> bool {
    matches!(reply.code_name().as_deref(), Some("UNAVAILABLE" | "INUSE" | "SERVERBUG" | "LIMIT"))
}

fn refused(what: &'static str, reply: &Reply) -> ProtocolError {
    ProtocolError::Declined { what, later: is_for_now(reply), text: reply.line.clone() }
}

impl session::Session for Session {
    fn worst(&self) -> Option<Worst> {
        self.worst
    }

    fn bind(&mut self, binding: &[u8]) {
        if let Some(login) = &mut self.config.login {
            login.binding = Some(binding.to_vec());
        }
    }

    fn is_setting_up(&self) -> bool {
        match self.state {
            State::Setup => self.config.has_setup(),
            State::Tls => true,
            State::Open
            | State::Asking(_)
            | State::Octets(_)
            | State::Rest
            | State::Dropping(_)
            | State::Leaving
            | State::Over => false,
        }
    }
}

impl Machine for Session {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            match self.state {
                State::Over => return Ok(Step::Done),
                State::Tls if !self.secure => {
                    self.secure = true;
                    return Ok(Step::StartTls);
                }
                State::Tls => {
                    // What was said before TLS does not count any more (RFC 9051 §6.2.1).
                    self.offers = Offers::default();
                    if self.tls_is_ours && self.config.login.is_some() {
                        self.state = State::Setup;
                        self.ask_for_offers(ports);
                    } else {
                        self.hand_over();
                    }
                    continue;
                }
                State::Setup
                | State::Open
                | State::Asking(_)
                | State::Octets(_)
                | State::Rest
                | State::Dropping(_)
                | State::Leaving => {}
            }
            if self.hear(ports)? || self.speak(ports)? {
                continue;
            }
            if ports.peer.is_over() {
                return self.hung_up();
            }
            return Ok(Step::Wait);
        }
    }
}
