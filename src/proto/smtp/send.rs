//! Handing a message to a server, with nobody typing (RFC 5321 §3.3).
//!
//! In scope: EHLO and HELO, STARTTLS, a login, SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC
//! 6531), DSN (RFC 3461), PIPELINING (RFC 2920), CHUNKING (RFC 3030), several recipients with a
//! reply each, LMTP (RFC 2033), stopping half-way. The message comes from outside, as it is to be,
//! but for line ends and dots. Out: to whom, and what a message looks like.
//!
//! ```text
//! greeting ─► EHLO (HELO) ─► STARTTLS ─► TLS ─► EHLO ─► AUTH ─► MAIL, RCPT ... ─► DATA or BDAT
//!      │          │                                      │           │              │
//!      └──────────┴───────────── whatever refuses ───────┴───────────┴─► QUIT ◄─────┘
//! ```

use super::stuff::Stuffer;
use super::{Offers, Verb};
use crate::proto::reply::{LONGEST_LINE, Reader, Reply};
use crate::proto::sasl::{Exchange, Login};
use crate::proto::session::{
    Answer, Event, Session, Worst, accept, auth_line, no_mechanism, respond,
};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::collections::VecDeque;

/// What is sent as one piece with BDAT.
const PIECE: usize = 32 * 1024;

/// A command line has 512 octets, and what is longer goes as an answer to a challenge.
const LONGEST_AUTH: usize = 510;

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// After the greeting.
    Connect,
    /// After EHLO.
    Hello,
    /// After the second EHLO, under TLS.
    StartTls,
    /// After the login.
    Auth,
    /// After MAIL.
    Mail,
    /// After RCPT.
    Rcpt,
    /// When the message has been taken.
    Data,
}

/// What is asked for in reports about the message (RFC 3461).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    /// `NEVER`, or of `SUCCESS`, `FAILURE` and `DELAY`, separated by commas.
    pub notify: Option<String>,
    /// `FULL` or `HDRS`.
    pub ret: Option<String>,
    /// What the reports are to be known by.
    pub envid: Option<String>,
}

impl Reports {
    fn is_wanted(&self) -> bool {
        *self != Self::default()
    }
}

/// Who sends what to whom, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// The name for EHLO.
    pub helo: String,
    /// The sender, empty for none, without angle brackets.
    pub from: String,
    /// The recipients, the same way.
    pub to: Vec<String>,
    /// The beginning of the message, or all of it; the rest is what the user's side says.
    pub head: Vec<u8>,
    /// How long it all is, if that is known.
    pub size: Option<u64>,
    /// Nothing in it is beyond ASCII, as far as that is known.
    pub is_ascii: bool,
    /// Line ends go out as they are.
    pub raw: bool,
    /// TLS has to be; else it is used where it is offered.
    pub must_upgrade: bool,
    /// TLS is never asked for.
    pub stay_plain: bool,
    /// TLS is on from the first byte.
    pub secure: bool,
    /// Who logs in.
    pub login: Option<Login>,
    /// LMTP instead of SMTP.
    pub lmtp: bool,
    /// Stop there.
    pub stop: Stage,
    /// Reports about what becomes of it.
    pub reports: Reports,
    /// Whom we speak for, as XCLIENT says it: attribute in upper case, and value.
    pub xclient: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A reply decides what comes next.
    Waiting,
    /// A go-ahead for TLS has come; the handshake is next.
    Tls,
    /// The message goes out.
    Content,
    /// Nothing is left to say.
    Over,
}

/// A command that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    verb: Verb,
    /// Which recipient it is about.
    recipient: usize,
}

/// What is known of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing yet.
    Open,
    /// It may be tried again.
    Later,
    /// It has the message, is refused for good, or may have it.
    Settled,
}

/// The machine.
#[derive(Debug)]
pub struct Sender {
    order: Order,
    state: State,
    reader: Reader,
    asked: VecDeque<Asked>,
    offers: Offers,
    secure: bool,
    exchange: Option<Exchange>,
    /// HELO was said, since EHLO was not understood.
    helo: bool,
    /// XCLIENT was said.
    introduced: bool,
    /// So many recipients have been named.
    named: usize,
    accepted: Vec<usize>,
    fates: Vec<Fate>,
    content: Stuffer,
    /// So much of `order.head` has gone out.
    at: usize,
    /// Encoded, and not sent as a piece yet (BDAT).
    piece: Vec<u8>,
    /// The last piece has been said.
    is_whole: bool,
    /// Why it is all in vain, once the replies that are under way have come.
    failed: Option<ProtocolError>,
    worst: Option<Worst>,
    events: VecDeque<Event>,
}

impl Sender {
    /// Before the greeting.
    pub fn new(order: Order) -> Self {
        Self {
            state: State::Waiting,
            reader: Reader::default(),
            asked: VecDeque::from([Asked { verb: Verb::Greeting, recipient: 0 }]),
            offers: Offers::default(),
            secure: order.secure,
            exchange: None,
            helo: false,
            introduced: false,
            named: 0,
            accepted: Vec::new(),
            fates: vec![Fate::Open; order.to.len()],
            content: Stuffer::new(true, order.raw),
            at: 0,
            piece: Vec::new(),
            is_whole: false,
            failed: None,
            worst: None,
            events: VecDeque::new(),
            order,
        }
    }

    fn ask(&mut self, ports: &mut Ports<'_>, verb: Verb, line: &str, shown: Option<&str>) {
        self.ask_about(ports, verb, 0, line, shown);
    }

    fn ask_about(
        &mut self,
        ports: &mut Ports<'_>,
        verb: Verb,
        recipient: usize,
        line: &str,
        shown: Option<&str>,
    ) {
        ports.to_peer.push(line.as_bytes());
        ports.to_peer.push(b"\r\n");
        self.asked.push_back(Asked { verb, recipient });
        self.events.push_back(Event::Said(shown.unwrap_or(line).to_owned()));
    }

    fn hello(&mut self, ports: &mut Ports<'_>) {
        let word = if self.order.lmtp { "LHLO" } else { "EHLO" };
        let line = format!("{word} {}", self.order.helo);
        self.ask(ports, Verb::Hello, &line, None);
    }

    /// One reply line from the peer. False if there is none yet.
    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        let Some(line) = ports.peer.line() else {
            if rest.len() > LONGEST_LINE {
                let got = rest[..80].to_vec();
                return Err(ProtocolError::Malformed { expected: "a reply line with an end", got });
            }
            if ports.peer.eof && !rest.is_empty() {
                return Err(ProtocolError::Cut { waiting_for: "the end of its line" });
            }
            return Ok(false);
        };
        if let Some(reply) = self.reader.line(line)? {
            self.answered(ports, reply)?;
        }
        Ok(true)
    }

    fn answered(&mut self, ports: &mut Ports<'_>, reply: Reply) -> Result<(), ProtocolError> {
        let Some(asked) = self.asked.pop_front() else {
            if self.state == State::Content && reply.code >= 400 {
                // It does not want to hear the rest. Without its end nothing is delivered.
                return Err(refused("the message", &reply));
            }
            let line = format!("{} ", reply.code).into_bytes();
            self.events.push_back(Event::Unasked([&line, reply.last()].concat()));
            return Ok(());
        };
        let (verb, code) = (asked.verb, reply.code);
        let answer = Answer::Smtp(verb, reply.clone());
        self.events.push_back(Event::Reply { ours: true, answer });
        match (verb, code) {
            (Verb::Greeting, 220) if self.order.stop == Stage::Connect => self.leave(ports),
            (Verb::Greeting, 220) => self.hello(ports),
            (Verb::Greeting, _) => self.fail(refused("the connection", &reply)),
            (Verb::Hello, 250) => {
                self.offers = if self.helo { Offers::default() } else { Offers::read(&reply) };
                self.greeted(ports)?;
            }
            (Verb::Hello, 500 | 502 | 504 | 550) if self.may_say_helo() => {
                self.helo = true;
                let line = format!("HELO {}", self.order.helo);
                self.ask(ports, Verb::Hello, &line, None);
            }
            (Verb::Hello, _) => self.fail(refused("EHLO", &reply)),
            // It begins anew, for somebody else.
            (Verb::Other, 220) if self.introduced => self.hello(ports),
            (Verb::Other, _) if self.introduced => self.fail(refused("XCLIENT", &reply)),
            (Verb::StartTls, 220) => self.state = State::Tls,
            (Verb::StartTls, _) => self.fail(refused("STARTTLS", &reply)),
            (Verb::Auth, 334) => self.answer_challenge(ports, reply.last())?,
            (Verb::Auth, 235) => {
                self.exchange.as_ref().map_or(Ok(()), accept)?;
                self.logged_in(ports)?;
            }
            (Verb::Auth, _) => self.fail(refused("the login", &reply)),
            (Verb::Mail, 250) if self.order.stop > Stage::Mail => self.name_next(ports),
            (Verb::Mail, 250) => {}
            (Verb::Mail, _) => self.fail(refused("the sender", &reply)),
            (Verb::Rcpt, 250..=252) => {
                self.accepted.push(asked.recipient);
                self.name_next(ports);
            }
            (Verb::Rcpt, _) if self.failed.is_some() => {}
            (Verb::Rcpt, _) => {
                self.lost(asked.recipient, &reply);
                self.name_next(ports);
            }
            (Verb::Data, 354) => self.state = State::Content,
            (Verb::Data, _) => self.fail(refused("the message", &reply)),
            (Verb::Bdat(_), 250) => {}
            (Verb::Bdat(_), _) => {
                self.fail(refused("the message", &reply));
                self.state = State::Waiting;
            }
            (Verb::EndOfData, 200..=299) => {
                match self.order.lmtp {
                    true => self.settle(asked.recipient, Fate::Settled),
                    false => self.settle_accepted(Fate::Settled),
                }
                self.events.push_back(Event::Taken(reply.clone()));
            }
            (Verb::EndOfData, _) if self.order.lmtp => self.lost(asked.recipient, &reply),
            (Verb::EndOfData, _) => self.fail(refused("the message", &reply)),
            (Verb::Quit, _) => self.state = State::Over,
            _ => {}
        }
        // With 421 the server hangs up, whatever else was under way.
        if code == 421 {
            // In LMTP that is the answer for all that were to be answered.
            for asked in std::mem::take(&mut self.asked) {
                if self.order.lmtp && asked.verb == Verb::EndOfData {
                    self.lost(asked.recipient, &reply);
                }
            }
            if !(self.order.lmtp && verb == Verb::EndOfData) {
                self.failed.get_or_insert(refused("to go on", &reply));
            }
        }
        self.go_on(ports)
    }

    /// Every reply is there: what is next?
    fn go_on(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        if !self.asked.is_empty() || self.state != State::Waiting {
            return Ok(());
        }
        if let Some(error) = self.failed.take() {
            self.leave(ports);
            return Err(error);
        }
        if self.is_whole {
            self.leave(ports);
        } else if !self.accepted.is_empty() {
            if self.order.stop <= Stage::Rcpt {
                self.leave(ports);
            } else if self.offers.chunking && !self.order.lmtp {
                self.content = Stuffer::new(false, self.order.raw);
                self.state = State::Content;
            } else {
                self.ask(ports, Verb::Data, "DATA", None);
            }
        } else if self.worst.is_some() {
            // Nobody is left whom it could go to; each has been told of.
            self.leave(ports);
        } else if self.order.stop == Stage::Mail {
            self.leave(ports);
        }
        Ok(())
    }

    fn settle(&mut self, recipient: usize, fate: Fate) {
        if let Some(known) = self.fates.get_mut(recipient) {
            *known = fate;
        }
    }

    fn settle_accepted(&mut self, fate: Fate) {
        for recipient in self.accepted.clone() {
            self.settle(recipient, fate);
        }
    }

    fn fail(&mut self, error: ProtocolError) {
        if let ProtocolError::Refused { code: 500.., .. } = error {
            // It is the whole that was refused.
            self.fates.fill(Fate::Settled);
        }
        self.failed.get_or_insert(error);
    }

    /// This recipient will not get it.
    fn lost(&mut self, recipient: usize, reply: &Reply) {
        let worst = if reply.code < 500 { Worst::Later } else { Worst::Refused };
        self.worst = self.worst.max(Some(worst));
        self.settle(recipient, if reply.code < 500 { Fate::Later } else { Fate::Settled });
        if let Some(address) = self.order.to.get(recipient) {
            let line = [format!("{} ", reply.code).as_bytes(), reply.last()].concat();
            self.events.push_back(Event::NotFor(address.clone(), line));
        }
    }

    fn leave(&mut self, ports: &mut Ports<'_>) {
        self.state = State::Waiting;
        self.ask(ports, Verb::Quit, "QUIT", None);
    }

    fn may_say_helo(&self) -> bool {
        !self.helo && !self.order.lmtp && self.order.login.is_none() && !self.must_upgrade()
    }

    fn must_upgrade(&self) -> bool {
        self.order.must_upgrade && !self.secure
    }

    /// EHLO has been answered: what comes next of what was asked for?
    fn greeted(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        let stop = self.order.stop;
        if stop == Stage::Hello || stop == Stage::StartTls && self.secure {
            self.leave(ports);
            return Ok(());
        }
        if self.must_upgrade() && !self.offers.starttls {
            return Err(ProtocolError::Missing { what: "STARTTLS" });
        }
        if !self.secure && self.offers.starttls && !self.order.stay_plain {
            self.ask(ports, Verb::StartTls, "STARTTLS", None);
            return Ok(());
        }
        if stop == Stage::StartTls {
            return Err(ProtocolError::Missing { what: "STARTTLS" });
        }
        if !self.order.xclient.is_empty() && !self.introduced {
            return self.introduce(ports);
        }
        let Some(login) = &self.order.login else { return self.logged_in(ports) };
        let offered = self.offers.auth.iter().map(String::as_str);
        let Some(mechanism) = login.choose(offered) else { return Err(no_mechanism(login)) };
        let mut exchange = login.start(mechanism);
        let (line, shown) = auth_line(&mut exchange, LONGEST_AUTH);
        self.exchange = Some(exchange);
        self.ask(ports, Verb::Auth, &line, Some(&shown));
        Ok(())
    }

    /// Says whom we speak for.
    fn introduce(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        let known = |name: &String| self.offers.xclient.contains(name);
        if !self.order.xclient.iter().all(|(name, _)| known(name)) {
            let what = match self.offers.xclient.is_empty() {
                true => "XCLIENT to us, which --xclient needs",
                false => "all the attributes of --xclient",
            };
            return Err(ProtocolError::Missing { what });
        }
        let words = self.order.xclient.iter();
        let words: Vec<_> = words.map(|(name, value)| format!("{name}={}", xtext(value))).collect();
        self.introduced = true;
        self.ask(ports, Verb::Other, &format!("XCLIENT {}", words.join(" ")), None);
        Ok(())
    }

    fn answer_challenge(
        &mut self,
        ports: &mut Ports<'_>,
        challenge: &[u8],
    ) -> Result<(), ProtocolError> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
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

    /// Nothing is between us and the envelope.
    fn logged_in(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        if self.order.stop == Stage::Auth {
            self.leave(ports);
            return Ok(());
        }
        let mail = self.mail()?;
        self.ask(ports, Verb::Mail, &mail, None);
        if self.offers.pipelining && self.order.stop > Stage::Mail {
            while self.named < self.order.to.len() {
                self.name_next(ports);
            }
        }
        Ok(())
    }

    /// The MAIL command.
    fn mail(&self) -> Result<String, ProtocolError> {
        let Order { from, to, reports, size, .. } = &self.order;
        let mut line = format!("MAIL FROM:<{from}>");
        if let (Some(most), Some(size)) = (self.offers.size, size) {
            if (1..*size).contains(&most) {
                let text = format!("it takes {most} octets at most, and there are {size}");
                let (what, later) = ("so long a message", false);
                return Err(ProtocolError::Declined { what, later, text: text.into_bytes() });
            }
            line += &format!(" SIZE={size}");
        }
        if !to.iter().chain([from]).all(|address| address.is_ascii()) {
            if !self.offers.smtputf8 {
                return Err(ProtocolError::Missing {
                    what: "SMTPUTF8, which an address beyond ASCII needs",
                });
            }
            line += " SMTPUTF8";
        }
        if self.offers.eight_bit && !self.order.is_ascii {
            line += " BODY=8BITMIME";
        }
        if self.may_not_send(&self.order.head) {
            return Err(NO_EIGHT_BIT);
        }
        if reports.is_wanted() && !self.offers.dsn {
            return Err(ProtocolError::Missing {
                what: "DSN, which --dsn-notify and its kin need",
            });
        }
        if let Some(ret) = &reports.ret {
            line += &format!(" RET={ret}");
        }
        if let Some(envid) = &reports.envid {
            line += &format!(" ENVID={}", xtext(envid));
        }
        Ok(line)
    }

    /// Names the next recipient, if one is left.
    fn name_next(&mut self, ports: &mut Ports<'_>) {
        let recipient = self.named;
        let Some(address) = self.order.to.get(recipient) else { return };
        self.named += 1;
        let notify = self.order.reports.notify.as_ref();
        let notify = notify.map(|notify| format!(" NOTIFY={notify}")).unwrap_or_default();
        let line = format!("RCPT TO:<{address}>{notify}");
        self.ask_about(ports, Verb::Rcpt, recipient, &line, None);
    }

    /// The next piece of the message. False if nothing can be sent now.
    fn speak(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if self.state != State::Content || ports.to_peer.room() == 0 {
            return Ok(false);
        }
        if self.offers.chunking && !self.order.lmtp {
            return self.speak_in_pieces(ports);
        }
        let (piece, over) = self.next(ports, usize::MAX);
        if self.may_not_send(&piece) {
            return Err(NO_EIGHT_BIT);
        }
        ports.to_peer.with(|out| self.content.encode(&piece, out));
        if over {
            ports.to_peer.with(|out| self.content.finish(out));
            ports.to_peer.push(b".\r\n");
            self.message_is_out();
            // LMTP answers for each recipient that was taken.
            let about = if self.order.lmtp { self.accepted.clone() } else { vec![0] };
            let asked = about.into_iter();
            self.asked.extend(asked.map(|recipient| Asked { verb: Verb::EndOfData, recipient }));
        }
        Ok(over || !piece.is_empty())
    }

    /// Are there octets in it that this server has not said it can carry (RFC 6152)? To make
    /// others of them would break what is signed.
    fn may_not_send(&self, piece: &[u8]) -> bool {
        !self.offers.eight_bit && !self.order.raw && !piece.is_ascii()
    }

    /// BDAT: octets are counted, and nothing in them is an end.
    fn speak_in_pieces(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if !self.asked.is_empty() && !self.offers.pipelining {
            return Ok(false);
        }
        let (piece, over) = self.next(ports, PIECE);
        if self.may_not_send(&piece) {
            return Err(NO_EIGHT_BIT);
        }
        self.content.encode(&piece, &mut self.piece);
        if over {
            self.content.finish(&mut self.piece);
        }
        if over || self.piece.len() >= PIECE {
            let n = self.piece.len();
            let last = if over { " LAST" } else { "" };
            // The reply to the last piece is the reply to the message.
            let verb = if over { Verb::EndOfData } else { Verb::Bdat(n as u64) };
            self.ask(ports, verb, &format!("BDAT {n}{last}"), None);
            ports.to_peer.push(&self.piece);
            self.piece.clear();
        }
        if over {
            self.message_is_out();
        }
        Ok(over || !piece.is_empty())
    }

    fn message_is_out(&mut self) {
        self.state = State::Waiting;
        self.is_whole = true;
        if self.content.has_bent() {
            self.events.push_back(Event::Remark(
                "the message had a CR without LF, which was made a line end (--raw keeps it)",
            ));
        }
    }

    /// The next octets of the message, and whether they are its last.
    fn next(&mut self, ports: &mut Ports<'_>, most: usize) -> (Vec<u8>, bool) {
        let room = ports.to_peer.room().min(most);
        let head = &self.order.head[self.at..];
        let mut piece = head[..head.len().min(room)].to_vec();
        self.at += piece.len();
        let head_is_out = self.at == self.order.head.len();
        if head_is_out {
            let n = ports.user.rest().len().min(room - piece.len());
            piece.extend_from_slice(ports.user.eat(n));
        }
        (piece, head_is_out && ports.user.is_over())
    }

    /// The server has hung up, and all that it said has been read.
    fn hung_up(&mut self) -> Result<Step<Event>, ProtocolError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.asked.front().map(|asked| asked.verb) {
            // All is done but the courtesies.
            Some(Verb::Quit) => Ok(Step::Done),
            // Those who are not named have it.
            Some(Verb::EndOfData) if self.order.lmtp => {
                let asked = std::mem::take(&mut self.asked);
                for one in &asked {
                    self.settle(one.recipient, Fate::Settled);
                }
                let waiting = asked.iter().filter_map(|asked| self.order.to.get(asked.recipient));
                self.events.extend(waiting.cloned().map(Event::InDoubt));
                self.worst = self.worst.max(Some(Worst::Later));
                self.state = State::Over;
                self.events.pop_front().map_or(Ok(Step::Done), |event| Ok(Step::Event(event)))
            }
            Some(Verb::EndOfData) => {
                self.settle_accepted(Fate::Settled);
                Err(ProtocolError::InDoubt)
            }
            Some(verb) => Err(ProtocolError::Cut { waiting_for: verb.awaited() }),
            None if self.state == State::Over => Ok(Step::Done),
            None => Err(ProtocolError::Cut { waiting_for: "the end of the message" }),
        }
    }
}

/// A message that this server cannot carry.
const NO_EIGHT_BIT: ProtocolError = ProtocolError::Missing {
    what: "8BITMIME, which octets beyond ASCII in the message need (--raw sends them all the same)",
};

/// Octets that a parameter cannot carry, as RFC 3461 §4 writes them.
fn xtext(text: &str) -> String {
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'+' && byte != b'=';
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("+{byte:02X}"),
        })
        .collect()
}

fn refused(what: &'static str, reply: &Reply) -> ProtocolError {
    ProtocolError::Refused { what, code: reply.code, text: reply.last().to_vec() }
}

impl Session for Sender {
    fn worst(&self) -> Option<Worst> {
        self.worst
    }

    fn for_later(&self) -> Vec<String> {
        // Once the message is out, silence does not mean no.
        let may_have_it =
            self.is_whole && self.asked.iter().any(|asked| asked.verb == Verb::EndOfData);
        let fates = self.fates.iter().enumerate();
        let later = fates.filter(|(recipient, fate)| match fate {
            Fate::Later => true,
            Fate::Open => !(may_have_it && self.accepted.contains(recipient)),
            Fate::Settled => false,
        });
        later.filter_map(|(recipient, _)| self.order.to.get(recipient).cloned()).collect()
    }

    fn bind(&mut self, binding: &[u8]) {
        if let Some(login) = &mut self.order.login {
            login.binding = Some(binding.to_vec());
        }
    }

    fn is_setting_up(&self) -> bool {
        !self.is_whole && self.state != State::Content && self.accepted.is_empty()
    }
}

impl Machine for Sender {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        self.go(ports).inspect_err(|error| match error {
            // Another time it may be otherwise, or it was noted when it came.
            ProtocolError::Cut { .. } | ProtocolError::Refused { .. } | ProtocolError::InDoubt => {}
            // Such a server, or such a message, stays as it is.
            ProtocolError::Malformed { .. }
            | ProtocolError::Declined { .. }
            | ProtocolError::Distrusted { .. }
            | ProtocolError::Missing { .. }
            | ProtocolError::Unmet { .. }
            | ProtocolError::Unfinished { .. } => self.fates.fill(Fate::Settled),
        })
    }
}

impl Sender {
    fn go(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
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
                    // What was said before TLS does not count any more (RFC 3207 §4.2).
                    self.offers = Offers::default();
                    self.state = State::Waiting;
                    self.hello(ports);
                    continue;
                }
                State::Waiting | State::Content => {}
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
