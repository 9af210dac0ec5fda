//! A helped POP3 session: somebody types commands, the machine keeps the order of things.
//!
//! In scope: status lines and the lines behind them (RFC 1939 §3), lock-step, STLS by hand or
//! before the hand-over (RFC 2595), a login for the person (AUTH of RFC 5034, USER and PASS), QUIT
//! at the end of the input. Out: fetching without typing.
//!
//! ```text
//!  greeting ──► setup (CAPA, STLS, CAPA, login: ours) ──► open ──► leaving (QUIT) ──► done
//!                 only if TLS or a login was asked for     └──► tls ──► open
//! ```

use super::{Reply, Verb};
use crate::proto::sasl::{self, Exchange, Mechanism};
use crate::proto::session::{
    self, Answer, Config, Event, Pace, Worst, accept, auth_line, bare, command, no_mechanism,
    respond,
};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::collections::VecDeque;

/// Octets in a status line. RFC 2449 §4 says 512; real servers exceed it.
const LONGEST_LINE: usize = 4096;

/// Octets that a server may list for a command of ours.
const LONGEST_LIST: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We speak: until TLS and the login are through.
    Setup,
    /// The person's lines are commands, or answers to AUTH challenges.
    Open,
    /// A go-ahead for TLS has come; the handshake is next.
    Tls,
    /// QUIT has been sent.
    Leaving,
    /// Nothing is left to say.
    Over,
}

/// A command that waits for its reply.
#[derive(Debug, Clone, Copy)]
struct Asked {
    verb: Verb,
    ours: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    asked: VecDeque<Asked>,
    /// The status line of a reply whose lines are still coming.
    inside: Option<Reply>,
    /// The next byte of these lines begins one.
    at_start: bool,
    /// What has come of the line that is not whole, where it is kept.
    partial: Vec<u8>,
    kept: usize,
    secure: bool,
    /// An AUTH dialogue of the person's is open: the next line is an answer, not a command.
    challenged: bool,
    /// Our own login by AUTH.
    login: Option<Exchange>,
    /// What APOP is keyed with, if the greeting has it.
    timestamp: Option<Vec<u8>>,
    tls_is_ours: bool,
    worst: Option<Worst>,
    events: VecDeque<Event>,
}

impl Session {
    /// Before the greeting.
    pub fn new(config: Config) -> Self {
        let at_once = config.pace == Pace::AtOnce && !config.has_setup();
        Self {
            state: if at_once { State::Open } else { State::Setup },
            asked: VecDeque::from([Asked { verb: Verb::Greeting, ours: false }]),
            inside: None,
            at_start: true,
            partial: Vec::new(),
            kept: 0,
            secure: config.secure,
            challenged: false,
            login: None,
            timestamp: None,
            tls_is_ours: false,
            worst: None,
            events: VecDeque::new(),
            config,
        }
    }

    fn ask(&mut self, ports: &mut Ports<'_>, verb: Verb, line: &str, shown: Option<&str>) {
        ports.to_peer.push(line.as_bytes());
        ports.to_peer.push(b"\r\n");
        self.asked.push_back(Asked { verb, ours: true });
        self.events.push_back(Event::Said(shown.unwrap_or(line).to_owned()));
    }

    fn is_shown(&self) -> bool {
        self.asked.front().is_none_or(|asked| !asked.ours)
    }

    /// Something from the peer. False if there is nothing that can be dealt with yet.
    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if ports.to_user.room() == 0 || ports.peer.rest().is_empty() {
            return Ok(false);
        }
        if self.inside.is_some() { self.hear_lines(ports) } else { self.hear_status(ports) }
    }

    /// A status line, or a challenge.
    fn hear_status(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        let shown = self.is_shown();
        let Some(line) = ports.peer.line() else {
            if rest.len() <= LONGEST_LINE && !ports.peer.eof {
                return Ok(false);
            }
            ports.to_user.push(ports.peer.eat(rest.len()));
            return Err(match rest.len() <= LONGEST_LINE {
                true => ProtocolError::Cut { waiting_for: "the end of its line" },
                false => ProtocolError::malformed("a status line with an end", rest),
            });
        };
        if shown {
            ports.to_user.push(line);
        }
        let line = bare(line);
        let verb = self.asked.front().map(|asked| asked.verb);
        let challenge = line.strip_prefix(b"+").filter(|rest| matches!(rest, [] | [b' ', ..]));
        if let (Some(challenge), Some(Verb::Auth)) = (challenge, verb) {
            self.challenged(ports, challenge.trim_ascii_start(), !shown)?;
            return Ok(true);
        }
        let Some(ok) = status(line) else {
            // The person sees what it was that we do not understand.
            if !shown {
                ports.to_user.push(line);
                ports.to_user.push(b"\n");
            }
            return Err(ProtocolError::malformed("a POP3 status line (+OK or -ERR)", line));
        };
        let reply = Reply { ok, line: line.to_vec(), lines: Vec::new() };
        if ok && verb.is_some_and(Verb::has_lines) {
            (self.inside, self.at_start, self.kept) = (Some(reply), true, 0);
        } else {
            self.answered(ports, reply)?;
        }
        Ok(true)
    }

    /// Lines up to the lone dot, of any length: a message is one of them.
    fn hear_lines(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        if self.at_start {
            for end in [&b".\r\n"[..], b".\n"] {
                if rest.starts_with(end) {
                    let dot = ports.peer.eat(end.len());
                    if self.is_shown() {
                        ports.to_user.push(dot);
                    }
                    if let Some(reply) = self.inside.take() {
                        self.answered(ports, reply)?;
                    }
                    return Ok(true);
                }
                // It may still become one.
                if end.starts_with(rest) && !ports.peer.eof {
                    return Ok(false);
                }
            }
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let piece = ports.peer.eat(end.min(ports.to_user.room()));
        self.at_start = piece.ends_with(b"\n");
        if self.is_shown() {
            ports.to_user.push(piece);
            return Ok(true);
        }
        self.kept += piece.len();
        if self.kept > LONGEST_LIST {
            return Err(ProtocolError::malformed(
                "a list with an end",
                &piece[..piece.len().min(80)],
            ));
        }
        self.partial.extend_from_slice(piece);
        if self.at_start
            && let Some(reply) = &mut self.inside
        {
            reply.lines.push(bare(&std::mem::take(&mut self.partial)).to_vec());
        }
        Ok(true)
    }

    /// `+ ...`, in the middle of a login.
    fn challenged(
        &mut self,
        ports: &mut Ports<'_>,
        challenge: &[u8],
        ours: bool,
    ) -> Result<(), ProtocolError> {
        self.asked.pop_front();
        if !ours {
            self.challenged = true;
            return Ok(());
        }
        let Some(exchange) = &mut self.login else { return Ok(()) };
        match respond(exchange, challenge) {
            Ok((answer, note)) => {
                self.events.extend(note);
                self.ask(ports, Verb::Auth, &answer, Some("****"));
                Ok(())
            }
            Err(error) => {
                ports.to_peer.push(b"*\r\n");
                Err(error)
            }
        }
    }

    fn answered(&mut self, ports: &mut Ports<'_>, reply: Reply) -> Result<(), ProtocolError> {
        let Some(Asked { verb, ours }) = self.asked.pop_front() else {
            self.events.push_back(Event::Unasked(reply.line));
            return Ok(());
        };
        if !ours {
            self.judge(verb, &reply);
        }
        let ok = reply.ok;
        if verb == Verb::Greeting {
            self.timestamp = timestamp(&reply.line).map(<[u8]>::to_vec);
        }
        self.events.push_back(Event::Reply { ours, answer: Answer::Pop3(verb, reply.clone()) });
        match (verb, ok) {
            (Verb::Greeting, false) if self.config.has_setup() => {
                return Err(refused("the connection", &reply));
            }
            (Verb::Greeting, true) if self.config.has_setup() => {
                self.ask(ports, Verb::Capa, "CAPA", None);
            }
            (Verb::Greeting, false) => self.state = State::Over,
            (Verb::Greeting, true) if self.state == State::Setup => self.hand_over(),
            (Verb::Capa, _) if ours => self.set_up(ports, &reply)?,
            (Verb::Stls, true) if self.secure => {
                return Err(ProtocolError::malformed(
                    "a refusal, since TLS is on already",
                    &reply.line,
                ));
            }
            (Verb::Stls, true) => (self.state, self.tls_is_ours) = (State::Tls, ours),
            (Verb::Stls, false) if ours => return Err(refused("STLS", &reply)),
            (Verb::User, true) if ours => self.say_password(ports)?,
            (Verb::User | Verb::Pass | Verb::Auth, false) if ours => {
                return Err(refused("the login", &reply));
            }
            (Verb::Pass | Verb::Auth, true) if ours => {
                self.login.as_ref().map_or(Ok(()), accept)?;
                self.hand_over();
            }
            (Verb::Auth, _) => self.challenged = false,
            (Verb::Quit, _) => self.state = State::Over,
            _ => {}
        }
        Ok(())
    }

    fn judge(&mut self, verb: Verb, reply: &Reply) {
        // The reply to QUIT says whether what was marked has been deleted.
        if reply.ok || verb == Verb::AuthList || verb == Verb::Capa {
            return;
        }
        let worst = match (verb, reply.code().as_deref()) {
            (_, Some("IN-USE" | "LOGIN-DELAY" | "SYS/TEMP")) => Worst::Later,
            (Verb::Pass | Verb::Auth | Verb::User, _) => Worst::Login,
            _ => Worst::Refused,
        };
        self.worst = self.worst.max(Some(worst));
    }

    /// CAPA has been answered: what comes next of what was asked for? A server that does not know
    /// CAPA may still know the rest.
    fn set_up(&mut self, ports: &mut Ports<'_>, reply: &Reply) -> Result<(), ProtocolError> {
        let mut stls = !reply.ok;
        let mut mechanisms = Vec::new();
        for line in &reply.lines {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("STLS") => stls = true,
                Some("SASL") => mechanisms.extend(words),
                _ => {}
            }
        }
        if self.config.starttls && !self.secure {
            if !stls {
                return Err(ProtocolError::Missing { what: "STLS" });
            }
            self.ask(ports, Verb::Stls, "STLS", None);
            return Ok(());
        }
        let Some(login) = &self.config.login else {
            self.hand_over();
            return Ok(());
        };
        let chosen = login.choose(mechanisms.iter().map(String::as_str));
        let mechanism = chosen.map(|choice| choice.mechanism);
        let in_clear = matches!(mechanism, None | Some(Mechanism::Plain | Mechanism::Login));
        if let Some(timestamp) = self.timestamp.as_ref().filter(|_| login.only.is_none())
            && in_clear
            && !self.secure
        {
            // Weak as it is, it does not show the password.
            let user = login.credentials.user.clone();
            let digest = sasl::apop(timestamp, &login.credentials.password);
            let (line, shown) = (format!("APOP {user} {digest}"), format!("APOP {user} ****"));
            self.ask(ports, Verb::Pass, &line, Some(&shown));
            return Ok(());
        }
        let Some(mechanism) = chosen else {
            if login.only.is_some() {
                return Err(no_mechanism(login));
            }
            // What every server has (RFC 1939 §7).
            let user = login.credentials.user.clone();
            self.ask(ports, Verb::User, &format!("USER {user}"), None);
            return Ok(());
        };
        let mut exchange = login.start(mechanism);
        let (line, shown) = auth_line(&mut exchange, LONGEST_AUTH);
        self.login = Some(exchange);
        self.ask(ports, Verb::Auth, &line, Some(&shown));
        Ok(())
    }

    fn say_password(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        let Some(login) = &self.config.login else { return Ok(()) };
        // The password is the rest of the line, spaces and all.
        let password = login.credentials.password.bytes();
        if password.iter().any(|b| b"\r\n\0".contains(b)) {
            let why = "the password has a line end in it, and PASS cannot carry that".to_owned();
            return Err(ProtocolError::Distrusted { why });
        }
        ports.to_peer.push(b"PASS ");
        ports.to_peer.push(password);
        ports.to_peer.push(b"\r\n");
        self.asked.push_back(Asked { verb: Verb::Pass, ours: true });
        self.events.push_back(Event::Said("PASS ****".to_owned()));
        Ok(())
    }

    fn hand_over(&mut self) {
        self.state = if self.config.setup_only { State::Over } else { State::Open };
        self.events.push_back(Event::Ready);
    }

    /// May a line go out now?
    fn may_send(&self) -> bool {
        // Behind these, the reply decides what the next byte is; for TLS even with --no-wait.
        let waits = |asked: &Asked| {
            let dialogue = matches!(asked.verb, Verb::Greeting | Verb::Auth);
            asked.verb == Verb::Stls || dialogue && self.config.pace != Pace::AtOnce
        };
        match self.config.pace {
            Pace::LockStep | Pace::Grouped => self.asked.is_empty(),
            Pace::Typed | Pace::AtOnce => !self.asked.iter().any(waits),
        }
    }

    /// The person's next line. False if nothing can be sent now.
    fn speak(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if self.state != State::Open || ports.to_peer.room() == 0 || !self.may_send() {
            return Ok(false);
        }
        let raw = self.config.content.raw;
        let Some((line, eaten)) = command(ports.user.rest(), ports.user.eof, raw)? else {
            if ports.user.is_over() && self.asked.is_empty() {
                self.take_leave(ports);
                return Ok(true);
            }
            return Ok(false);
        };
        let verb = if self.challenged { Verb::Auth } else { Verb::of(line) };
        ports.to_peer.push(line);
        ports.to_peer.push(b"\r\n");
        ports.user.eat(eaten);
        self.challenged = false;
        if verb == Verb::Quit {
            self.state = State::Leaving;
        }
        self.asked.push_back(Asked { verb, ours: false });
        Ok(true)
    }

    /// The input has ended, and every command has its reply.
    fn take_leave(&mut self, ports: &mut Ports<'_>) {
        if std::mem::take(&mut self.challenged) {
            // An open login is called off by a line with a star (RFC 5034 §4).
            ports.to_peer.push(b"*\r\n");
            self.asked.push_back(Asked { verb: Verb::Auth, ours: false });
            return;
        }
        ports.to_peer.push(b"QUIT\r\n");
        self.asked.push_back(Asked { verb: Verb::Quit, ours: false });
        self.events.push_back(Event::Said("QUIT".to_owned()));
        self.state = State::Leaving;
    }

    /// The server has hung up, and all that it said has been read.
    fn hung_up(&self) -> Result<Step<Event>, ProtocolError> {
        let waiting_for = match (self.asked.front(), self.state) {
            (Some(_), _) if self.inside.is_some() => "the line with a single dot: this is not all",
            (Some(asked), _) => asked.verb.awaited(),
            (None, State::Over) => return Ok(Step::Done),
            (None, State::Setup | State::Open | State::Tls | State::Leaving) => "QUIT",
        };
        Err(ProtocolError::Cut { waiting_for })
    }
}

/// A command line has 255 octets (RFC 2449 §4), and what is longer goes as an answer to a
/// challenge.
const LONGEST_AUTH: usize = 250;

fn status(line: &[u8]) -> Option<bool> {
    let ends = |rest: &[u8]| matches!(rest, [] | [b' ' | b'\t', ..]);
    match (line.strip_prefix(b"+OK"), line.strip_prefix(b"-ERR")) {
        (Some(rest), _) if ends(rest) => Some(true),
        (_, Some(rest)) if ends(rest) => Some(false),
        _ => None,
    }
}

/// The timestamp of a greeting (RFC 1939 §7). It must look like a Message-ID: whoever may choose
/// any octets for it learns the password by and by (CVE-2007-1558).
fn timestamp(greeting: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'<', greeting)?;
    let end = start + memchr::memchr(b'>', &greeting[start..])?;
    let inside = &greeting[start + 1..end];
    let plain = inside.iter().all(|b| b.is_ascii_graphic() && *b != b'<');
    let one_at = inside.iter().filter(|b| **b == b'@').count() == 1;
    (plain && one_at && inside.len() < 256).then_some(&greeting[start..=end])
}

fn refused(what: &'static str, reply: &Reply) -> ProtocolError {
    let later = matches!(reply.code().as_deref(), Some("IN-USE" | "LOGIN-DELAY" | "SYS/TEMP"));
    ProtocolError::Declined { what, later, text: reply.line.clone() }
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
            State::Open | State::Leaving | State::Over => false,
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
                State::Tls if self.tls_is_ours && self.config.login.is_some() => {
                    // What was said before TLS does not count any more (RFC 2595 §4).
                    self.state = State::Setup;
                    self.ask(ports, Verb::Capa, "CAPA", None);
                    continue;
                }
                State::Tls => {
                    self.hand_over();
                    continue;
                }
                State::Setup | State::Open | State::Leaving => {}
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
