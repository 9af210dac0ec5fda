//! A helped SMTP session: somebody types commands, the machine keeps the order of things.
//!
//! In scope: replies and their order (RFC 5321 §4.2), lock-step or PIPELINING (RFC 2920),
//! STARTTLS by hand or before the hand-over (RFC 3207), AUTH by hand or for the person (RFC 4954),
//! DATA and BDAT (RFC 3030) content, QUIT at the end of the input. Out: composing messages.
//!
//! ```text
//!  greeting ──► setup (EHLO, STARTTLS, EHLO, AUTH: ours) ──► open ◄──► data, bdat
//!                 only if TLS or a login was asked for         │  └──► tls ──► open
//!                                                              └─► leaving (QUIT) ──► done
//! ```

use super::{Offers, Verb};
use crate::proto::content::Content;
use crate::proto::reply::{LONGEST_LINE, Reader, Reply};
use crate::proto::sasl::{self, Exchange};
use crate::proto::session::{
    self, Answer, Config, Event, Pace, Worst, accept, auth_line, no_mechanism, respond,
};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::collections::VecDeque;

/// A command line has 512 octets (RFC 5321 §4.5.3.1.4), and what is longer goes as an answer to a
/// challenge (RFC 4954 §4).
const LONGEST_AUTH: usize = 510;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We speak: until TLS and the login are through.
    Setup,
    /// The person's lines are commands, or answers to AUTH challenges.
    Open,
    /// The person's lines are content.
    Data,
    /// DATA was refused, and the script goes on with the content all the same: it is dropped up
    /// to its end, so that nothing in it is taken for a command.
    Dropping,
    /// So many octets are content.
    Bdat(u64),
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
    reader: Reader,
    asked: VecDeque<Asked>,
    offers: Offers,
    secure: bool,
    content: Content,
    /// An AUTH dialogue of the person's is open: the next line is an answer, not a command.
    challenged: bool,
    /// The mechanism of that dialogue, as it was typed.
    typed_login: String,
    /// What the person has said to a challenge, and we are to encode.
    answer: Option<Vec<u8>>,
    /// Our own login.
    login: Option<Exchange>,
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
            reader: Reader::default(),
            asked: VecDeque::from([Asked { verb: Verb::Greeting, ours: false }]),
            offers: Offers::default(),
            secure: config.secure,
            content: Content::new(config.content),
            challenged: false,
            typed_login: String::new(),
            answer: None,
            login: None,
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

    fn hello(&mut self, ports: &mut Ports<'_>) {
        let line = format!("EHLO {}", self.config.helo);
        self.ask(ports, Verb::Hello, &line, None);
    }

    /// One reply line from the peer. False if there is none yet.
    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if ports.to_user.room() == 0 {
            return Ok(false);
        }
        let rest = ports.peer.rest();
        let shown = self.asked.front().is_none_or(|asked| !asked.ours);
        let Some(line) = ports.peer.line() else {
            if rest.len() > LONGEST_LINE || ports.peer.eof && !rest.is_empty() {
                ports.to_user.push(ports.peer.eat(rest.len()));
                return Err(match ports.peer.eof {
                    true if rest.len() <= LONGEST_LINE => {
                        ProtocolError::Cut { waiting_for: "the end of its line" }
                    }
                    _ => ProtocolError::Malformed {
                        expected: "a reply line with an end",
                        got: rest[..80.min(rest.len())].to_vec(),
                    },
                });
            }
            return Ok(false);
        };
        if shown {
            ports.to_user.push(line);
        }
        match self.reader.line(line) {
            Ok(None) => {}
            Ok(Some(reply)) => self.answered(ports, reply)?,
            Err(error) => {
                // The person sees what it was that we do not understand.
                if !shown {
                    ports.to_user.push(line);
                }
                return Err(error);
            }
        }
        Ok(true)
    }

    fn answered(&mut self, ports: &mut Ports<'_>, reply: Reply) -> Result<(), ProtocolError> {
        // The server closes the connection, whatever was asked (RFC 5321 §3.8).
        let closing = reply.code == 421;
        let asked = match self.asked.pop_front() {
            Some(asked) => asked,
            None if closing => Asked { verb: Verb::Other, ours: false },
            // It does not want to hear the rest, and no second reply comes behind the end. What has
            // no end is not delivered.
            None if self.state == State::Data && reply.code >= 400 => {
                self.events.push_back(Event::Remark(
                    "the server has answered before the end of the message: the session is over",
                ));
                self.state = State::Over;
                Asked { verb: Verb::EndOfData, ours: false }
            }
            None => {
                let line = format!("{} ", reply.code).into_bytes();
                self.events.push_back(Event::Unasked([&line, reply.last()].concat()));
                return Ok(());
            }
        };
        let Asked { verb, ours } = asked;
        if !ours {
            self.judge(verb, reply.code);
        }
        let answer = Answer::Smtp(verb, reply.clone());
        self.events.push_back(Event::Reply { ours, answer });
        match (verb, reply.code) {
            (Verb::Greeting, code) => self.greeted(ports, code, &reply)?,
            (Verb::Hello, code) => {
                self.offers = if code == 250 { Offers::read(&reply) } else { Offers::default() };
                if ours {
                    self.set_up(ports)?;
                }
            }
            (Verb::StartTls, 220) if self.secure => {
                let got = reply.last().to_vec();
                return Err(ProtocolError::Malformed {
                    expected: "a refusal, since TLS is on already",
                    got,
                });
            }
            (Verb::StartTls, 220) => {
                self.state = State::Tls;
                self.tls_is_ours = ours;
            }
            (Verb::StartTls, _) if ours => return Err(refused("STARTTLS", &reply)),
            (Verb::Auth, 334) if ours => self.answer_challenge(ports, reply.last())?,
            (Verb::Auth, 235) if ours => {
                self.login.as_ref().map_or(Ok(()), accept)?;
                self.hand_over();
            }
            (Verb::Auth, _) if ours => return Err(refused("the login", &reply)),
            (Verb::Auth, code) => {
                self.challenged = code == 334;
                let challenge = sasl::decode(reply.last());
                if let (true, Some(challenge)) = (self.challenged && self.config.asks, challenge) {
                    self.events.push_back(Event::Challenge(self.typed_login.clone(), challenge));
                }
            }
            // With --no-wait the content is on its way already.
            (Verb::Data, 354) if self.config.pace != Pace::AtOnce => {
                self.state = State::Data;
                self.content = Content::new(self.config.content);
            }
            (Verb::Data, 354) => {}
            (Verb::Data, _) if self.state == State::Data => self.state = State::Open,
            (Verb::Data, 400..) if self.config.pace == Pace::LockStep && !closing => {
                self.state = State::Dropping;
                self.events.push_back(Event::Remark(
                    "DATA was refused: what follows is not sent, up to the line with a single dot",
                ));
                self.content = Content::new(self.config.content);
            }
            (Verb::Quit, _) => self.state = State::Over,
            _ => {}
        }
        if closing {
            self.state = State::Over;
        }
        Ok(())
    }

    fn judge(&mut self, verb: Verb, code: u16) {
        let worst = match (verb, code) {
            (Verb::Auth, 500..) => Worst::Login,
            (_, 500..) => Worst::Refused,
            (_, 400..) => Worst::Later,
            // The reply to QUIT comes when all is done.
            _ => return,
        };
        self.worst = self.worst.max(Some(worst));
    }

    fn greeted(
        &mut self,
        ports: &mut Ports<'_>,
        code: u16,
        reply: &Reply,
    ) -> Result<(), ProtocolError> {
        match (code, self.config.has_setup()) {
            (220, true) => self.hello(ports),
            (_, true) => return Err(refused("the connection", reply)),
            (_, false) if self.state == State::Setup => self.hand_over(),
            (_, false) => {}
        }
        Ok(())
    }

    /// EHLO has been answered: what comes next of what was asked for?
    fn set_up(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        if self.config.starttls && !self.secure {
            if !self.offers.starttls {
                return Err(ProtocolError::Missing { what: "STARTTLS" });
            }
            self.ask(ports, Verb::StartTls, "STARTTLS", None);
            return Ok(());
        }
        let Some(login) = &self.config.login else {
            self.hand_over();
            return Ok(());
        };
        let offered = self.offers.auth.iter().map(String::as_str);
        let Some(mechanism) = login.choose(offered) else { return Err(no_mechanism(login)) };
        let mut exchange = login.start(mechanism);
        let (line, shown) = auth_line(&mut exchange, LONGEST_AUTH);
        self.login = Some(exchange);
        self.ask(ports, Verb::Auth, &line, Some(&shown));
        Ok(())
    }

    fn answer_challenge(
        &mut self,
        ports: &mut Ports<'_>,
        challenge: &[u8],
    ) -> Result<(), ProtocolError> {
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

    fn hand_over(&mut self) {
        self.state = if self.config.setup_only { State::Over } else { State::Open };
        self.events.push_back(Event::Ready);
    }

    /// May a line go out now?
    fn may_send(&self) -> bool {
        if self.asked.is_empty() {
            return true;
        }
        // Behind these, the reply decides what the next byte is; for TLS even with --no-wait.
        let waits = |asked: &Asked| match asked.verb {
            Verb::StartTls => true,
            Verb::Greeting | Verb::Data | Verb::Auth | Verb::EndOfData => {
                self.config.pace != Pace::AtOnce
            }
            Verb::Hello
            | Verb::Mail
            | Verb::Rcpt
            | Verb::Bdat(_)
            | Verb::Rset
            | Verb::Noop
            | Verb::Vrfy
            | Verb::Help
            | Verb::Quit
            | Verb::Other => false,
        };
        match self.config.pace {
            Pace::LockStep => false,
            Pace::Grouped => {
                self.offers.pipelining && self.asked.iter().all(|a| a.verb.may_be_followed())
            }
            Pace::Typed | Pace::AtOnce => !self.asked.iter().any(waits),
        }
    }

    /// The person's next line, or part of the content. False if nothing can be sent now.
    fn speak(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        match self.state {
            State::Data => self.send_content(ports),
            State::Dropping => Ok(self.drop_content(ports)),
            State::Bdat(left) => self.send_octets(ports, left),
            State::Open if ports.to_peer.room() > 0 && self.may_send() => self.send_line(ports),
            State::Setup | State::Open | State::Tls | State::Leaving | State::Over => Ok(false),
        }
    }

    fn send_line(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if let Some(answer) = self.answer.take() {
            ports.to_peer.push(sasl::encode(&answer).as_bytes());
            ports.to_peer.push(b"\r\n");
            self.challenged = false;
            self.asked.push_back(Asked { verb: Verb::Auth, ours: false });
            return Ok(true);
        }
        let rest = ports.user.rest();
        let raw = self.config.content.raw;
        let Some((line, eaten)) = session::command(rest, ports.user.eof, raw)? else {
            if ports.user.is_over() && self.asked.is_empty() {
                self.take_leave(ports);
                return Ok(true);
            }
            return Ok(false);
        };
        let verb = if self.challenged { Verb::Auth } else { Verb::of(line) };
        if verb == Verb::Auth && !self.challenged {
            let mechanism = session::words(line).nth(1).unwrap_or_default();
            self.typed_login = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
        }
        ports.to_peer.push(line);
        ports.to_peer.push(b"\r\n");
        ports.user.eat(eaten);
        self.challenged = false;
        if let Verb::Bdat(size @ 1..) = verb {
            self.state = State::Bdat(size);
        } else if verb == Verb::Data && self.config.pace == Pace::AtOnce {
            self.state = State::Data;
            self.content = Content::new(self.config.content);
        } else if verb == Verb::Quit {
            self.state = State::Leaving;
        }
        self.asked.push_back(Asked { verb, ours: false });
        Ok(true)
    }

    fn send_content(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.user.rest();
        let piece = &rest[..rest.len().min(ports.to_peer.room())];
        let (mut eaten, mut done) = (0, false);
        ports.to_peer.with(|out| {
            (eaten, done) = self.content.encode(piece, out);
            if !done && ports.user.eof && eaten == rest.len() {
                done = self.content.finish(out);
            }
        });
        ports.user.eat(eaten);
        if done {
            self.state = State::Open;
            self.asked.push_back(Asked { verb: Verb::EndOfData, ours: false });
        } else if ports.user.is_over() {
            return Err(ProtocolError::Unfinished {
                what: "the message: the line with a single dot is missing, so it was not sent",
            });
        }
        Ok(eaten > 0 || done)
    }

    /// The content that nobody wants. What follows its lone dot are commands again.
    fn drop_content(&mut self, ports: &mut Ports<'_>) -> bool {
        let (eaten, done) = self.content.encode(ports.user.rest(), &mut Vec::new());
        ports.user.eat(eaten);
        let over = done || ports.user.is_over();
        if over {
            self.state = State::Open;
        }
        eaten > 0 || over
    }

    fn send_octets(&mut self, ports: &mut Ports<'_>, left: u64) -> Result<bool, ProtocolError> {
        let rest = ports.user.rest();
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let n = rest.len().min(ports.to_peer.room()).min(most);
        ports.to_peer.push(ports.user.eat(n));
        let left = left - n as u64;
        self.state = if left == 0 { State::Open } else { State::Bdat(left) };
        if left > 0 && ports.user.is_over() {
            return Err(ProtocolError::Unfinished { what: "the octets that BDAT announced" });
        }
        Ok(n > 0)
    }

    /// The input has ended, and every command has its reply.
    fn take_leave(&mut self, ports: &mut Ports<'_>) {
        if self.challenged {
            // An open AUTH dialogue is called off by a line with a star (RFC 4954 §4).
            self.challenged = false;
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
    fn hung_up(&mut self) -> Result<Step<Event>, ProtocolError> {
        let waiting_for = match (self.asked.front(), self.state) {
            (Some(asked), _) => asked.verb.awaited(),
            (None, State::Data | State::Dropping | State::Bdat(_)) => "the end of the message",
            (None, State::Over) => return Ok(Step::Done),
            (None, State::Setup | State::Open | State::Tls | State::Leaving) => "QUIT",
        };
        Err(ProtocolError::Cut { waiting_for })
    }
}

fn refused(what: &'static str, reply: &Reply) -> ProtocolError {
    ProtocolError::Refused { what, code: reply.code, text: reply.last().to_vec() }
}

impl session::Session for Session {
    fn worst(&self) -> Option<Worst> {
        self.worst
    }

    fn answer(&mut self, answer: Option<Vec<u8>>) {
        self.answer = answer.filter(|_| self.challenged);
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
            | State::Data
            | State::Dropping
            | State::Bdat(_)
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
                State::Tls if self.tls_is_ours && self.config.login.is_some() => {
                    // What was said before TLS does not count any more (RFC 3207 §4.2).
                    self.offers = Offers::default();
                    self.state = State::Setup;
                    self.hello(ports);
                    continue;
                }
                State::Tls => {
                    self.offers = Offers::default();
                    self.hand_over();
                    continue;
                }
                State::Setup
                | State::Open
                | State::Data
                | State::Dropping
                | State::Bdat(_)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::content::Style;
    use crate::proto::{Input, Output};

    #[test]
    fn a_reply_in_the_middle_of_a_message_ends_the_session() {
        // A second reply, behind the end of the message, was waited for, and it never comes.
        let mut session = Session::new(Config {
            helo: "client.test".into(),
            starttls: false,
            secure: false,
            login: None,
            pace: Pace::LockStep,
            content: Style::default(),
            setup_only: false,
            asks: false,
        });
        let (mut said, mut shown, mut ended) = (Vec::new(), Vec::new(), [false; 2]);
        let mut heard = Vec::new();
        for (peer, user) in [
            (&b"220 hi\r\n"[..], &b"DATA\n"[..]),
            (b"354 go\r\n", b"Subject: x\n"),
            (b"452 4.3.1 full\r\n", b"more\n"),
        ] {
            let [ended_peer, ended_user] = &mut ended;
            let mut ports = Ports {
                peer: Input::new(peer, false),
                to_peer: Output::new(&mut said, 1000, ended_peer),
                user: Input::new(user, false),
                to_user: Output::new(&mut shown, 1000, ended_user),
            };
            while let Step::Event(event) = session.step(&mut ports).unwrap() {
                heard.push(event);
            }
        }
        assert_eq!(said, b"DATA\r\nSubject: x\r\n");
        assert_eq!((session.state, session.worst), (State::Over, Some(Worst::Later)));
        assert!(heard.iter().any(|event| matches!(event, Event::Remark(_))), "{heard:?}");
    }
}
