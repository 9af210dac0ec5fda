//! An HTTP proxy's side of a conversation: CONNECT, and GET, HEAD and POST for `http:` URIs.
//!
//! The peer is the caller. The mode dials what [`Event`] names and says how that went; for a
//! [`Event::Fetch`] the origin server then is the user side. Which targets are forbidden is the
//! mode's to know: the addresses of this machine are, and the machine has none.
//!
//! ```text
//!  request ──► dialling ──► tunnel (CONNECT) ──► over: the rest is a relay's
//!     │           ├───────► fetching ──────────► over
//!     └───────────┴───────► refusing ──► refused: the error, once the reply is on its way
//! ```

use super::fetch::Fetch;
use super::forward;
use super::gate::{Gate, Verdict};
use super::head::{self, Reader, clipped, without_login};
use super::uri::{Authority, BadUri, Uri};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::rc::Rc;

/// What the mode has to do; then it calls [`Server::answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Dial this. When the machine is done, relay between the two, what is left on the ports
    /// first.
    Connect {
        /// A name or an address, without brackets; checked, not resolved.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// Dial this, and go on with the machine between it, as the user side, and the caller.
    Fetch {
        /// A name or an address, without brackets; checked, not resolved.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

/// How the dialling went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is connected.
    Connected,
    /// It cannot be reached, or has no address: 504.
    Failed,
    /// It may not be dialled: 403.
    Forbidden,
    /// This machine is out of something: 500.
    Internal,
}

/// Why a request is not carried out, in order of their replies.
#[derive(Debug)]
enum Refusal {
    Bad(ProtocolError),
    Forbidden,
    Method,
    Login(Verdict),
    TooLarge(ProtocolError),
    Internal,
    Coding,
    Unreachable,
}

impl Refusal {
    fn reply(&self) -> (u16, &'static str) {
        match self {
            Refusal::Bad(_) => (400, "Bad Request"),
            Refusal::Forbidden => (403, "Forbidden"),
            Refusal::Method => (405, "Method Not Allowed"),
            Refusal::Login(_) => (407, "Proxy Authentication Required"),
            Refusal::TooLarge(_) => (413, "Request Entity Too Large"),
            Refusal::Internal => (500, "Internal Server Error"),
            Refusal::Coding => (501, "Not Implemented"),
            Refusal::Unreachable => (504, "Gateway Timeout"),
        }
    }

    /// What the mode is told: for what the caller got wrong, what it is; else what we replied.
    fn error(&self) -> ProtocolError {
        let (code, reason) = self.reply();
        match self {
            Refusal::Bad(error) | Refusal::TooLarge(error) => error.clone(),
            Refusal::Forbidden
            | Refusal::Method
            | Refusal::Login(_)
            | Refusal::Internal
            | Refusal::Coding
            | Refusal::Unreachable => {
                ProtocolError::Refused { what: "the request", code, text: reason.into() }
            }
        }
    }
}

/// What is done once the target is connected.
#[derive(Debug)]
enum Plan {
    Tunnel,
    Fetch(Fetch),
}

#[derive(Debug)]
enum State {
    Request(Reader),
    Dialling(Plan),
    Tunnel,
    Fetching(Fetch),
    Refusing(Refusal),
    Refused(ProtocolError),
    Over,
}

/// The machine, for one connection and one request.
#[derive(Debug)]
pub struct Server {
    gate: Rc<Gate>,
    now_s: u64,
    state: State,
}

impl Server {
    /// Before the request; `gate` is that of all connections.
    pub fn new(gate: Rc<Gate>) -> Self {
        Self { gate, now_s: 0, state: State::Request(Reader::default()) }
    }

    /// Says what time it is, before a step: seconds since any moment that stays the same as long
    /// as the gate does.
    pub fn set_now(&mut self, seconds: u64) {
        self.now_s = seconds;
    }

    /// Says how the dialling went. Nothing happens unless an [`Event`] waits for it.
    pub fn answer(&mut self, answer: Answer) {
        let State::Dialling(plan) = &mut self.state else { return };
        let plan = std::mem::replace(plan, Plan::Tunnel);
        self.state = match answer {
            Answer::Connected => match plan {
                Plan::Tunnel => State::Tunnel,
                Plan::Fetch(fetch) => State::Fetching(fetch),
            },
            Answer::Failed => State::Refusing(Refusal::Unreachable),
            Answer::Forbidden => State::Refusing(Refusal::Forbidden),
            Answer::Internal => State::Refusing(Refusal::Internal),
        };
    }

    /// The order of the checks is ncat's: first line, method, fields, login.
    fn judge(&self, head: &[u8]) -> Result<(Plan, Event), Refusal> {
        let (line, lines) = head::split_first_line(head);
        let bad = |expected, got| Refusal::Bad(ProtocolError::Malformed { expected, got });
        let request = head::request_line(line).map_err(Refusal::Bad)?;
        let Some((method, target)) = request else {
            return Err(bad("a request line of HTTP/1.0 or 1.1", without_login(line)));
        };
        let bad_uri = |wrong: BadUri| bad(wrong.expected(), without_login(target.as_bytes()));
        if method == "CONNECT" {
            let authority = Authority::parse(target).map_err(bad_uri)?;
            let port = authority.port.ok_or_else(|| bad_uri(BadUri::Port))?;
            let fields = head::fields(lines).map_err(Refusal::Bad)?;
            check_coding(&fields)?;
            self.check_login(&fields, method)?;
            return Ok((Plan::Tunnel, Event::Connect { host: authority.host, port }));
        }
        let uri = Uri::parse(target).map_err(bad_uri)?;
        let is_http = uri.scheme == "http";
        let authority = uri.authority.as_ref().filter(|_| is_http);
        let Some((authority, port)) = authority.and_then(|a| Some((a, a.port?))) else {
            return Err(bad("a URI that begins with http://", without_login(target.as_bytes())));
        };
        if !matches!(method, "GET" | "HEAD" | "POST") {
            return Err(Refusal::Method);
        }
        let fields = head::fields(lines).map_err(Refusal::Bad)?;
        let body = check_coding(&fields)?;
        if method == "POST" && body.is_none() {
            return Err(bad("a Content-Length for POST", without_login(line)));
        }
        let request = forward::request(method, &uri, authority, &fields).map_err(Refusal::Bad)?;
        self.check_login(&fields, method)?;
        let fetch = Fetch::new(method, request, body.unwrap_or(0));
        Ok((Plan::Fetch(fetch), Event::Fetch { host: authority.host.clone(), port }))
    }

    fn check_login(&self, fields: &[httparse::Header<'_>], method: &str) -> Result<(), Refusal> {
        match self.gate.judge(fields, method, self.now_s) {
            Verdict::Admitted => Ok(()),
            verdict @ (Verdict::LoginWanted | Verdict::Stale) => Err(Refusal::Login(verdict)),
        }
    }
}

/// The reply, with an empty body; the connection is closed behind it.
fn refuse(ports: &mut Ports<'_>, refusal: &Refusal, gate: &Gate, now_s: u64) {
    let (code, reason) = refusal.reply();
    let fields = match refusal {
        Refusal::Method => "Allow: CONNECT, GET, HEAD, POST\r\n".to_owned(),
        Refusal::Login(verdict) => gate.challenges(*verdict == Verdict::Stale, now_s),
        Refusal::Bad(_)
        | Refusal::Forbidden
        | Refusal::TooLarge(_)
        | Refusal::Internal
        | Refusal::Coding
        | Refusal::Unreachable => String::new(),
    };
    let reply = format!("HTTP/1.0 {code} {reason}\r\n{fields}Connection: close\r\n\r\n");
    ports.to_peer.push(reply.as_bytes());
    ports.to_peer.end();
}

/// The length of the body. Two readers that disagree on it see different requests (RFC 9112
/// §11.2), so there must be one way to read it: no coding, and not two lengths.
fn check_coding(fields: &[httparse::Header<'_>]) -> Result<Option<u64>, Refusal> {
    let length = head::content_length(fields).map_err(Refusal::Bad)?;
    match (head::values(fields, "Transfer-Encoding").next(), length) {
        (None, length) => Ok(length),
        (Some(_), None) => Err(Refusal::Coding),
        (Some(coding), Some(_)) => Err(Refusal::Bad(ProtocolError::Malformed {
            expected: "Content-Length or Transfer-Encoding, not both",
            got: clipped(coding),
        })),
    }
}

/// What becomes of a request that is not complete.
fn unfinished(reader: &Reader, ports: &Ports<'_>) -> Result<Option<State>, ProtocolError> {
    let line = reader.first_line(&ports.peer);
    // A caller that speaks TLS or SOCKS will not send a line end, and waits for an answer.
    if let Err(error) = head::request_line(line) {
        return Ok(Some(State::Refusing(Refusal::Bad(error))));
    }
    match ports.peer.eof {
        false => Ok(None),
        true if line.is_empty() => Err(ProtocolError::Cut { waiting_for: "its request" }),
        true => Ok(Some(State::Refusing(Refusal::Bad(ProtocolError::Malformed {
            expected: "an empty line at the end of a request",
            got: without_login(line),
        })))),
    }
}

impl Machine for Server {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            match &mut self.state {
                State::Request(reader) => match reader.read(&mut ports.peer) {
                    Ok(Some(head)) => match self.judge(&head) {
                        Ok((plan, event)) => {
                            self.state = State::Dialling(plan);
                            return Ok(Step::Event(event));
                        }
                        Err(refusal) => self.state = State::Refusing(refusal),
                    },
                    Ok(None) => match unfinished(reader, ports)? {
                        Some(state) => self.state = state,
                        None => return Ok(Step::Wait),
                    },
                    Err(limit) => {
                        let error = limit.error(reader.first_line(&ports.peer));
                        self.state = State::Refusing(Refusal::TooLarge(error));
                    }
                },
                State::Dialling(_) => return Ok(Step::Wait),
                State::Tunnel => {
                    ports.to_peer.push(b"HTTP/1.0 200 OK\r\n\r\n");
                    self.state = State::Over;
                }
                State::Fetching(fetch) => {
                    if !fetch.carry(ports)? {
                        return Ok(Step::Wait);
                    }
                    ports.to_peer.end();
                    self.state = State::Over;
                }
                State::Refusing(refusal) => {
                    refuse(ports, refusal, &self.gate, self.now_s);
                    let error = refusal.error();
                    self.state = State::Refused(error);
                    // The error is the next step's, so that the reply is on its way before.
                    return Ok(Step::Wait);
                }
                State::Refused(error) => return Err(error.clone()),
                State::Over => return Ok(Step::Done),
            }
        }
    }
}
