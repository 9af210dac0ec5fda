//! The way to TLS in protocols that are not spoken here otherwise: one upgrade, and then bytes.
//!
//! LMTP (RFC 2033, 3207), FTP (RFC 4217), NNTP (RFC 4642), ManageSieve (RFC 5804), IRC (the 670
//! reply of servers in use), XMPP (RFC 6120), LDAP (RFC 4511 §4.14), PostgreSQL's SSLRequest and
//! MySQL's. Out of scope: whatever these protocols are about.
//!
//! ```text
//! (greeting) ──► asked ──► go-ahead ──► TLS ──► done
//!                   └────► refused, or something else
//! ```

mod binary;

use super::reply::{LONGEST_LINE, Reader};
use super::session::{Event, Session, Worst, bare, words};
use super::{Machine, Ports, ProtocolError, Step};
use binary::Verdict;
use std::collections::VecDeque;

/// What an XMPP or a Sieve server may say before it agrees, and the longest packet of a database.
const MOST: usize = 64 * 1024;

/// Whose way to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Mail to its last stop.
    Lmtp,
    /// Files.
    Ftp,
    /// News.
    Nntp,
    /// Filters of mail.
    Sieve,
    /// Chat.
    Irc,
    /// Messages and presence.
    Xmpp,
    /// Directories.
    Ldap,
    /// A database.
    Postgres,
    /// Another.
    Mysql,
}

impl Protocol {
    /// All of them, with their names on the command line.
    pub const ALL: [(&str, Protocol); 9] = [
        ("lmtp", Self::Lmtp),
        ("ftp", Self::Ftp),
        ("nntp", Self::Nntp),
        ("sieve", Self::Sieve),
        ("irc", Self::Irc),
        ("xmpp", Self::Xmpp),
        ("ldap", Self::Ldap),
        ("postgres", Self::Postgres),
        ("mysql", Self::Mysql),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server speaks first, or we do.
    Greeting,
    /// What the server offers is awaited.
    Offers,
    /// TLS has been asked for.
    Asked,
    /// The handshake is next.
    Tls,
    Over,
}

/// The machine of one upgrade.
#[derive(Debug)]
pub struct Upgrade {
    protocol: Protocol,
    /// Our own name, where one has to be said; for XMPP the server's.
    name: String,
    state: State,
    reader: Reader,
    /// What the server offers has TLS in it.
    offered: bool,
    heard: usize,
    events: VecDeque<Event>,
}

impl Upgrade {
    /// `host` is the server, `helo` are we.
    pub fn new(protocol: Protocol, host: &str, helo: &str) -> Self {
        let name = if protocol == Protocol::Xmpp { host } else { helo };
        Self {
            protocol,
            name: name.to_owned(),
            state: State::Greeting,
            reader: Reader::default(),
            offered: false,
            heard: 0,
            events: VecDeque::new(),
        }
    }

    fn say(&mut self, ports: &mut Ports<'_>, line: &str) {
        ports.to_peer.push(line.as_bytes());
        ports.to_peer.push(b"\r\n");
        self.events.push_back(Event::Said(line.to_owned()));
    }

    /// Goes on with what the server has said. False if that is not enough.
    fn go_on(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        match self.protocol {
            Protocol::Lmtp | Protocol::Ftp | Protocol::Nntp => self.numbers(ports),
            Protocol::Sieve => self.sieve(ports),
            Protocol::Irc => self.irc(ports),
            Protocol::Xmpp => self.xmpp(ports),
            Protocol::Ldap => {
                let shown = "StartTLS (1.3.6.1.4.1.1466.20037)";
                self.packet(ports, Some((binary::LDAP, shown)), binary::ldap)
            }
            Protocol::Postgres => {
                self.packet(ports, Some((binary::POSTGRES, "SSLRequest")), binary::postgres)
            }
            // A MySQL server speaks first.
            Protocol::Mysql => self.packet(ports, None, binary::mysql),
        }
    }

    /// A line without its end, if one is there.
    fn line<'a>(&mut self, ports: &mut Ports<'a>) -> Result<Option<&'a [u8]>, ProtocolError> {
        let rest = ports.peer.rest();
        match ports.peer.line() {
            Some(line) => {
                self.heard += line.len();
                if self.heard > MOST {
                    return Err(ProtocolError::malformed("an end of what it offers", line));
                }
                Ok(Some(bare(line)))
            }
            None if rest.len() > LONGEST_LINE => {
                Err(ProtocolError::malformed("a line with an end", rest))
            }
            None => Ok(None),
        }
    }

    /// Protocols with three digits before each reply.
    fn numbers(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(ports)? else { return Ok(false) };
        let Some(reply) = self.reader.line(line)? else { return Ok(true) };
        let refused = |what| {
            let text = reply.last().to_vec();
            Err(ProtocolError::Refused { what, code: reply.code, text })
        };
        match (self.state, self.protocol, reply.code) {
            (State::Greeting, Protocol::Lmtp, 220) => {
                self.say(ports, &format!("LHLO {}", self.name));
                self.state = State::Offers;
            }
            (State::Greeting, Protocol::Ftp, 220) => {
                self.say(ports, "AUTH TLS");
                self.state = State::Asked;
            }
            (State::Greeting, Protocol::Nntp, 200 | 201) => {
                self.say(ports, "STARTTLS");
                self.state = State::Asked;
            }
            (State::Greeting, ..) => return refused("the connection"),
            (State::Offers, _, 250) => {
                let offers = |line: &Vec<u8>| line.eq_ignore_ascii_case(b"STARTTLS");
                if !reply.lines.iter().skip(1).any(offers) {
                    return Err(ProtocolError::Missing { what: "STARTTLS" });
                }
                self.say(ports, "STARTTLS");
                self.state = State::Asked;
            }
            (State::Offers, ..) => return refused("LHLO"),
            (_, Protocol::Lmtp, 220) | (_, Protocol::Ftp, 234) | (_, Protocol::Nntp, 382) => {
                self.state = State::Tls;
            }
            _ => return refused("TLS"),
        }
        Ok(true)
    }

    /// What is offered, a line each, then OK; the same after TLS, which is the person's.
    fn sieve(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(ports)? else { return Ok(false) };
        let first = words(line).next().unwrap_or_default().to_ascii_uppercase();
        match (first.as_slice(), self.state) {
            (b"\"STARTTLS\"", _) => self.offered = true,
            (word, _) if word.starts_with(b"\"") => {}
            (b"OK", State::Greeting) if !self.offered => {
                return Err(ProtocolError::Missing { what: "STARTTLS" });
            }
            (b"OK", State::Greeting) => {
                self.say(ports, "STARTTLS");
                self.state = State::Asked;
            }
            (b"OK", _) => self.state = State::Tls,
            (b"NO" | b"BYE", _) => {
                let later = memchr::memmem::find(line, b"TRYLATER").is_some();
                return Err(ProtocolError::Declined { what: "TLS", later, text: line.to_vec() });
            }
            _ => return Err(ProtocolError::malformed("a capability, OK, NO or BYE", line)),
        }
        Ok(true)
    }

    /// The second word of a reply is its number; notices may come before it.
    fn irc(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if self.state == State::Greeting {
            self.say(ports, "STARTTLS");
            self.state = State::Asked;
            return Ok(true);
        }
        let Some(line) = self.line(ports)? else { return Ok(false) };
        let mut words = words(line);
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        match (first, second) {
            (b"PING", token) => self.say(ports, &format!("PONG {}", token.escape_ascii())),
            (b"ERROR", _) | (_, b"691" | b"421" | b"451" | b"465") => {
                let (what, later) = ("TLS", false);
                return Err(ProtocolError::Declined { what, later, text: line.to_vec() });
            }
            (_, b"670") => self.state = State::Tls,
            _ => {}
        }
        Ok(true)
    }

    /// XML that is only looked through for the few elements that count here.
    fn xmpp(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        let find = |text: &str| memchr::memmem::find(rest, text.as_bytes());
        let tag_end = |at: usize| memchr::memchr(b'>', &rest[at..]).map(|end| at + end + 1);
        match self.state {
            State::Greeting => {
                let to = self.name.replace('&', "&amp;").replace('\'', "&apos;");
                let stream = format!(
                    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                     xmlns:stream='http://etherx.jabber.org/streams' to='{to}' version='1.0'>"
                );
                ports.to_peer.push(stream.as_bytes());
                self.events.push_back(Event::Said(stream));
                self.state = State::Offers;
                return Ok(true);
            }
            State::Offers => {
                if let Some(end) = find("</stream:features>").or(find("<stream:features/>")) {
                    let offered =
                        find("urn:ietf:params:xml:ns:xmpp-tls").is_some_and(|at| at < end);
                    if !offered {
                        return Err(ProtocolError::Missing { what: "STARTTLS" });
                    }
                    ports.peer.eat(tag_end(end).unwrap_or(rest.len()));
                    let ask = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
                    ports.to_peer.push(ask.as_bytes());
                    self.events.push_back(Event::Said(ask.to_owned()));
                    self.state = State::Asked;
                    return Ok(true);
                }
            }
            State::Asked | State::Tls | State::Over => {
                if let Some(end) = find("<proceed").and_then(tag_end) {
                    ports.peer.eat(end);
                    self.state = State::Tls;
                    return Ok(true);
                }
            }
        }
        if let Some(at) = find("<failure").or(find("<stream:error")) {
            let text = rest[at..].to_vec();
            return Err(ProtocolError::Declined { what: "TLS", later: false, text });
        }
        match rest.len() > MOST {
            true => Err(ProtocolError::malformed("an end of what it offers", rest)),
            false => Ok(false),
        }
    }

    /// Protocols that speak in octets: what we ask if we speak first, and what an answer means.
    fn packet(
        &mut self,
        ports: &mut Ports<'_>,
        ask: Option<(&[u8], &str)>,
        judge: fn(&[u8]) -> Verdict,
    ) -> Result<bool, ProtocolError> {
        if let (State::Greeting, Some((ask, shown))) = (self.state, ask) {
            ports.to_peer.push(ask);
            self.events.push_back(Event::Said(shown.to_owned()));
            self.state = State::Asked;
            return Ok(true);
        }
        let rest = ports.peer.rest();
        let verdict = judge(rest);
        match verdict {
            Verdict::Partial if rest.len() > MOST => {
                Err(ProtocolError::malformed("an end of its packet", rest))
            }
            Verdict::Partial => Ok(false),
            Verdict::GoAhead(n) => {
                ports.peer.eat(n);
                if self.protocol == Protocol::Mysql {
                    ports.to_peer.push(binary::MYSQL);
                    self.events.push_back(Event::Said("SSLRequest".to_owned()));
                }
                self.state = State::Tls;
                Ok(true)
            }
            Verdict::NotOffered => Err(ProtocolError::Missing { what: "TLS" }),
            Verdict::Refused(text) => {
                Err(ProtocolError::Declined { what: "TLS", later: false, text })
            }
            Verdict::Other(expected) => Err(ProtocolError::malformed(expected, rest)),
        }
    }
}

impl Session for Upgrade {
    fn worst(&self) -> Option<Worst> {
        None
    }

    fn is_setting_up(&self) -> bool {
        self.state != State::Over
    }
}

impl Machine for Upgrade {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            match self.state {
                State::Over => return Ok(Step::Done),
                State::Tls => {
                    self.state = State::Over;
                    return Ok(Step::StartTls);
                }
                State::Greeting | State::Offers | State::Asked => {}
            }
            if self.go_on(ports)? {
                continue;
            }
            if ports.peer.eof {
                return Err(ProtocolError::Cut { waiting_for: "its answer about TLS" });
            }
            return Ok(Step::Wait);
        }
    }
}
