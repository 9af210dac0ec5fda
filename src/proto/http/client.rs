//! Asking an HTTP proxy for a connection: CONNECT (RFC 9110 §9.3.6), with a login if it wants one.
//!
//! ```text
//!  ask ──► listen ──► open (2xx)
//!   ▲        └──────► challenged (407) ──► refused, unless the mode reconnects
//!   └────────────────────┘ retry, over a new connection
//! ```

use super::auth::{BadLogin, Scheme, basic};
use super::digest;
use super::head::{self, Reader, clipped};
use crate::proto::sasl::Credentials;
use crate::proto::{Machine, Ports, ProtocolError, Step};

/// What the mode is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectEvent {
    /// The proxy wants a login, and we have one: connect again and go on with
    /// [`Connect::retry`]. A mode that does not is told of the refusal with the next step.
    AuthenticateAndReconnect,
}

/// A challenge that will be answered, the weaker first.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    Basic,
    Digest(digest::Challenge),
}

impl Challenge {
    /// The strongest of all that the proxy offers; the first of equals.
    fn strongest<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut best = None;
        for scheme in values.flat_map(Scheme::list) {
            let challenge = match digest::Challenge::read(&scheme) {
                Some(challenge) => Challenge::Digest(challenge),
                None if scheme.name == "basic" => Challenge::Basic,
                None => continue,
            };
            if best.as_ref().is_none_or(|best: &Self| challenge.strength() > best.strength()) {
                best = Some(challenge);
            }
        }
        best
    }

    fn strength(&self) -> Option<digest::Hash> {
        match self {
            Challenge::Basic => None,
            Challenge::Digest(challenge) => Some(challenge.strength()),
        }
    }

    fn is_stale(&self) -> bool {
        match self {
            Challenge::Basic => false,
            Challenge::Digest(challenge) => challenge.stale,
        }
    }
}

#[derive(Debug)]
enum State {
    /// The request is next.
    Ask(Option<Challenge>),
    /// It has been sent.
    Listen(Reader),
    /// The mode has been told; `reason` is what it has to be told if it does not reconnect.
    Challenged { challenge: Challenge, reason: Vec<u8> },
    /// The proxy has connected us.
    Open,
}

/// How far we have got with our login, over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// Not sent yet.
    Unsent,
    /// Sent once.
    Sent,
    /// Sent a second time, because the nonce had become too old in between.
    SentAgain,
}

/// The machine. Whatever the proxy sends behind its reply stays on the port.
#[derive(Debug)]
pub struct Connect {
    authority: String,
    credentials: Option<Credentials>,
    cnonce: String,
    login: Login,
    state: State,
}

impl Connect {
    /// For a connection to a proxy that nothing has been said on.
    ///
    /// `authority` is `host:port`, with brackets around an IPv6 address, and checked. `cnonce` is
    /// 16 or more random hexadecimal digits.
    ///
    /// # Errors
    /// The user name cannot be sent in a header.
    pub fn new(
        authority: &str,
        login: Option<&Credentials>,
        cnonce: &str,
    ) -> Result<Self, BadLogin> {
        login.map_or(Ok(()), BadLogin::check)?;
        Ok(Self {
            authority: authority.to_owned(),
            credentials: login.cloned(),
            cnonce: cnonce.to_owned(),
            login: Login::Unsent,
            state: State::Ask(None),
        })
    }

    /// The machine for the next connection, after [`ConnectEvent::AuthenticateAndReconnect`].
    ///
    /// A login is tried once, and once more if the proxy says that only the nonce was too old.
    pub fn retry(self) -> Option<Self> {
        let State::Challenged { challenge, .. } = self.state else { return None };
        let login = match self.login {
            Login::Unsent => Login::Sent,
            Login::Sent | Login::SentAgain => Login::SentAgain,
        };
        Some(Self { login, state: State::Ask(Some(challenge)), ..self })
    }

    /// HTTP/1.0, as ncat says: its replies are never chunked, and the proxy hangs up after a
    /// refusal. The Host field, which ncat leaves out, is for proxies that refuse any request
    /// without one, as RFC 9112 §3.2 has it for HTTP/1.1.
    fn request(&self, challenge: Option<&Challenge>) -> Vec<u8> {
        let authority = &self.authority;
        let mut out = format!("CONNECT {authority} HTTP/1.0\r\nHost: {authority}\r\n").into_bytes();
        if let Some((challenge, login)) = challenge.zip(self.credentials.as_ref()) {
            out.extend_from_slice(b"Proxy-Authorization: ");
            out.extend_from_slice(&match challenge {
                Challenge::Basic => basic(login).into_bytes(),
                Challenge::Digest(digest) => {
                    digest.answer(login, "CONNECT", authority, &self.cnonce)
                }
            });
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The reply with this head has come. The state if it was the last one.
    fn answered(&self, head: &[u8]) -> Result<Option<State>, ProtocolError> {
        let (line, lines) = head::split_first_line(head);
        let fields = head::fields(lines)?;
        let Some((code, reason)) = head::status_line(line)? else {
            // A line with an end is never the beginning of one.
            return Err(not_http(line));
        };
        let refused =
            |what| ProtocolError::Refused { what, code, text: clipped(reason.as_bytes()) };
        match code {
            200..=299 => Ok(Some(State::Open)),
            // 101 is no interim reply, and we have asked for no other protocol.
            100 | 102..=199 => Ok(None),
            407 if self.credentials.is_some() => {
                let challenges = head::values(&fields, "Proxy-Authenticate");
                let Some(challenge) = Challenge::strongest(challenges) else {
                    return Err(ProtocolError::Missing { what: "a login by Digest or Basic" });
                };
                match self.login {
                    Login::Unsent => {}
                    Login::Sent if challenge.is_stale() => {}
                    Login::Sent | Login::SentAgain => return Err(refused("the login")),
                }
                Ok(Some(State::Challenged { challenge, reason: clipped(reason.as_bytes()) }))
            }
            _ => Err(refused("the connection")),
        }
    }
}

fn not_http(line: &[u8]) -> ProtocolError {
    ProtocolError::Malformed { expected: "a reply in HTTP/1", got: clipped(line) }
}

impl Machine for Connect {
    type Event = ConnectEvent;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<ConnectEvent>, ProtocolError> {
        loop {
            let next = match &mut self.state {
                State::Ask(challenge) => {
                    let challenge = challenge.take();
                    ports.to_peer.push(&self.request(challenge.as_ref()));
                    State::Listen(Reader::default())
                }
                State::Listen(reader) => match reader.read(&mut ports.peer) {
                    Ok(Some(head)) => match self.answered(&head)? {
                        Some(state) => state,
                        None => continue,
                    },
                    Ok(None) => {
                        let line = reader.first_line(&ports.peer);
                        head::status_line(line)?;
                        if ports.peer.eof {
                            return Err(ProtocolError::Cut { waiting_for: "the end of its reply" });
                        }
                        return Ok(Step::Wait);
                    }
                    Err(limit) => return Err(limit.error(reader.first_line(&ports.peer))),
                },
                State::Challenged { reason, .. } => {
                    let text = reason.clone();
                    return Err(ProtocolError::Refused { what: "the connection", code: 407, text });
                }
                State::Open => return Ok(Step::Done),
            };
            self.state = next;
            if let State::Challenged { .. } = self.state {
                return Ok(Step::Event(ConnectEvent::AuthenticateAndReconnect));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::{Played, play};
    use crate::proto::sasl::Secret;

    const REQUEST: &str = "CONNECT a.example:443 HTTP/1.0\r\nHost: a.example:443\r\n\r\n";

    fn ann() -> Credentials {
        Credentials { user: "ann".into(), password: Secret::new("s3cret") }
    }

    fn connect(login: Option<&Credentials>) -> Connect {
        Connect::new("a.example:443", login, "0123456789abcdef").unwrap()
    }

    type Result = std::result::Result<Played<ConnectEvent>, ProtocolError>;

    /// What a reply comes to, which is the same however it is cut.
    fn hear(reply: &[u8], machine: impl Fn() -> Connect) -> Result {
        let hear = |chunk| play(&mut machine(), reply, b"", chunk).map_err(|(error, _)| error);
        let whole = hear(reply.len().max(1));
        for chunk in 1..reply.len().min(300) {
            assert_eq!(hear(chunk), whole, "{chunk}: {}", reply.escape_ascii());
        }
        whole
    }

    #[test]
    fn any_2xx_opens_and_what_follows_is_left_alone() {
        for head in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 \n\n",
            "\r\nHTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 299 x\r\nTransfer-Encoding: chunked\r\nA: \u{fc}\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
        ] {
            for left in [&b""[..], b"\r\n\r\nHTTP/1.0 403 x\r\n\r\n\0"] {
                let reply = [head.as_bytes(), left].concat();
                let played = hear(&reply, || connect(Some(&ann()))).unwrap();
                assert_eq!(played.to_peer, REQUEST.as_bytes());
                assert_eq!(
                    played.peer_left.escape_ascii().to_string(),
                    left.escape_ascii().to_string()
                );
                assert_eq!((played.events, played.to_peer_ended), (vec![], false));
            }
        }
    }

    #[test]
    fn every_other_code_is_a_refusal_in_the_words_of_the_proxy() {
        for (head, code, text) in [
            ("HTTP/1.0 403 Forbidden", 403, "Forbidden"),
            ("HTTP/1.1 407 Login", 407, "Login"),
            ("HTTP/1.1 101 Switching", 101, "Switching"),
            ("HTTP/1.1 302 Found", 302, "Found"),
            ("HTTP/1.1 503", 503, ""),
            ("HTTP/1.1 099 Low", 99, "Low"),
        ] {
            let reply = format!("{head}\r\nProxy-Authenticate: Basic\r\n\r\nbody");
            let what = "the connection";
            let text = text.as_bytes().to_vec();
            let expected = ProtocolError::Refused { what, code, text };
            assert_eq!(hear(reply.as_bytes(), || connect(None)), Err(expected), "{head}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error_at_once() {
        let field = [b"HTTP/1.0 200 OK\r\nA: ".as_slice(), &b"x".repeat(9000)].concat();
        let cases = [
            b"220 mail.example ESMTP\r\n".to_vec(),
            b"\x15\x03\x01\x00\x02\x02\x0a".to_vec(),
            b"<html>".to_vec(),
            b"HTTP/1.\r\n\r\n".to_vec(),
            b"HTTP/1.999999999999 200 OK\r\n\r\n".to_vec(),
            b"HTTP/1.0 200 OK\r\nno colon\r\n\r\n".to_vec(),
            b"HTTP/1.0 200 OK\r\nA: b\r\n folded\r\n\r\n".to_vec(),
            b"HTTP/1.0 200 OK\r\nA: \0\r\n\r\n".to_vec(),
            b"HTTP/1.0 100 Go\r\n\r\njunk".to_vec(),
            [b"HTTP/1.0 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(20_000)].concat(),
            b"HTTP/1.0 100 Go\r\n\r\n".repeat(10_000),
            field,
        ];
        for reply in cases {
            for chunk in [1, 5, 1000, reply.len()] {
                // Not at its end: there may be none.
                let reply = [reply.as_slice(), &b"x".repeat(1000)].concat();
                let error = play(&mut connect(None), &reply, b"", chunk).unwrap_err().0;
                let is_malformed =
                    matches!(&error, ProtocolError::Malformed { got, .. } if got.len() <= 80);
                assert!(is_malformed, "{chunk}: {error}");
            }
        }
    }

    #[test]
    fn a_proxy_that_hangs_up_early_is_cut_at_every_byte() {
        let reply = b"HTTP/1.0 100 Go\r\n\r\nHTTP/1.0 200 OK\r\nA: b\r\n\r\n";
        for n in 0..reply.len() {
            let error = hear(&reply[..n], || connect(None)).unwrap_err();
            assert_eq!(error, ProtocolError::Cut { waiting_for: "the end of its reply" }, "{n}");
        }
    }

    /// The proxy asks, we reconnect, and this is what we say then.
    fn login(headers: &str) -> Option<String> {
        let reply = format!("HTTP/1.1 407 x\r\n{headers}\r\n");
        let heard = hear(reply.as_bytes(), || connect(Some(&ann())));
        if heard == Err(ProtocolError::Missing { what: "a login by Digest or Basic" }) {
            return None;
        }
        // Nobody reconnects in `play`.
        let text = b"x".to_vec();
        assert_eq!(heard, Err(ProtocolError::Refused { what: "the connection", code: 407, text }));
        let mut machine = connect(Some(&ann()));
        play(&mut machine, reply.as_bytes(), b"", 9).unwrap_err();
        let mut machine = machine.retry().expect("there is a challenge");
        let played = play(&mut machine, b"HTTP/1.0 200 OK\r\n\r\n", b"", 9).unwrap();
        let said = String::from_utf8(played.to_peer).unwrap();
        let said = said.strip_prefix(REQUEST.trim_end()).unwrap().strip_suffix("\r\n\r\n").unwrap();
        Some(said.trim_start().to_owned())
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let digest = |algorithm: &str| {
            format!(
                "Digest realm=\"r\", nonce=\"{algorithm}\", algorithm={algorithm}, qop=\"auth\""
            )
        };
        let (md5, sha) = (digest("MD5"), digest("SHA-256"));
        let basic = "Basic realm=\"r\"";
        for (headers, expected) in [
            (vec![basic], "Basic YW5uOnMzY3JldA=="),
            (vec!["Basic"], "Basic YW5uOnMzY3JldA=="),
            (vec![basic, &md5], "nonce=\"MD5\""),
            (vec![&md5, basic], "nonce=\"MD5\""),
            (vec![&md5, &sha, basic], "nonce=\"SHA-256\""),
            (vec![&sha, &md5], "nonce=\"SHA-256\""),
            (vec![&format!("{basic}, {md5}, {sha}")], "nonce=\"SHA-256\""),
            (vec!["NTLM", "Negotiate abc==", &md5], "nonce=\"MD5\""),
            (vec!["Digest realm=r, nonce=n, qop=auth-int", basic], "Basic YW5uOnMzY3JldA=="),
            (vec!["Digest realm=r, nonce=n, algorithm=SHA-512-256", &md5], "nonce=\"MD5\""),
        ] {
            let lines: String =
                headers.iter().map(|h| format!("proxy-authenticate: {h}\r\n")).collect();
            let said = login(&lines).unwrap();
            assert!(said.starts_with("Proxy-Authorization: "), "{said}");
            assert!(said.contains(expected), "{lines}\n{said}");
        }
        for headers in ["", "Proxy-Authenticate:\r\n", "Proxy-Authenticate: NTLM\r\n"] {
            assert_eq!(login(headers), None, "{headers:?}");
        }
    }

    #[test]
    fn a_login_is_tried_once_and_once_more_if_it_was_stale() {
        let ask = |stale: &str| {
            format!("HTTP/1.0 407 No\r\nProxy-Authenticate: Digest realm=r, nonce=n{stale}\r\n\r\n")
        };
        let (fresh, stale) = (ask(""), ask(", stale=true"));
        let play = |machine: &mut Connect, reply: &str| {
            play(machine, reply.as_bytes(), b"", 9).unwrap_err().0
        };
        let text = b"No".to_vec();
        let final_no = ProtocolError::Refused { what: "the login", code: 407, text };

        let mut machine = connect(Some(&ann()));
        play(&mut machine, &fresh);
        let mut machine = machine.retry().unwrap();
        assert_eq!(play(&mut machine, &fresh), final_no);
        assert!(machine.retry().is_none());

        let mut machine = connect(Some(&ann()));
        play(&mut machine, &fresh);
        let mut machine = machine.retry().unwrap();
        play(&mut machine, &stale);
        let mut machine = machine.retry().unwrap();
        assert_eq!(play(&mut machine, &stale), final_no);
        assert!(machine.retry().is_none());
        assert!(connect(Some(&ann())).retry().is_none());
    }

    #[test]
    fn a_login_is_neither_sent_unasked_nor_printed_nor_let_into_the_header() {
        let machine = connect(Some(&ann()));
        assert!(!format!("{machine:?}").contains("s3cret"));
        let evil = Credentials { user: "ann\r\nX: y".into(), password: Secret::new("") };
        assert_eq!(Connect::new("a:1", Some(&evil), "").unwrap_err(), BadLogin::Control);
        // The challenge comes back in our header; it cannot have a line end in it.
        for sign in ["\r", "\n", "\\\r", "\\\n", "\0"] {
            let header = format!("Proxy-Authenticate: Digest realm=\"a{sign}b\", nonce=n\r\n");
            let reply = format!("HTTP/1.0 407 x\r\n{header}\r\n");
            let error = hear(reply.as_bytes(), || connect(Some(&ann()))).unwrap_err();
            assert!(matches!(error, ProtocolError::Malformed { .. }), "{sign:?}: {error}");
        }
    }
}
