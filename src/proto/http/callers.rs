//! Callers of our proxy, good and bad.

use super::gate::Gate;
use super::server::{Answer, Event, Server};
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use std::rc::Rc;

/// How it came to an end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed(ProtocolError),
    /// It still waits for somebody.
    Waiting,
}

/// Everything that happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) events: Vec<Event>,
    pub(super) to_peer: String,
    pub(super) to_user: String,
    pub(super) peer_left: String,
    /// Which of the two were told that nothing follows: peer, user.
    pub(super) ended: (bool, bool),
    pub(super) end: End,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The caller says `peer`, and hangs up if it is told to; the origin server says `user`, and does
/// hang up. In chunks of `chunk` bytes.
pub(super) fn call(answer: Answer, peer: &[u8], hangs_up: bool, user: &[u8], chunk: usize) -> Call {
    let mut server = Server::new(Rc::new(Gate::new(None, [0; 16])));
    server.set_now(1);
    let (mut peer, mut user) = (peer.chunks(chunk), user.chunks(chunk));
    let (mut from_peer, mut from_user) = (Vec::new(), Vec::new());
    let (mut to_peer, mut to_user) = (Vec::new(), Vec::new());
    let (mut peer_eof, mut user_eof, mut ended) = (false, false, (false, false));
    let mut events = Vec::new();
    let end = loop {
        let mut ports = Ports {
            peer: Input::new(&from_peer, peer_eof),
            to_peer: Output::new(&mut to_peer, chunk, &mut ended.0),
            user: Input::new(&from_user, user_eof),
            to_user: Output::new(&mut to_user, chunk, &mut ended.1),
        };
        let step = server.step(&mut ports);
        let (eaten, from_origin) = (ports.peer.eaten(), ports.user.eaten());
        from_peer.drain(..eaten);
        from_user.drain(..from_origin);
        match step {
            Ok(Step::Event(event)) => {
                events.push(event);
                server.answer(answer);
            }
            Ok(Step::Done) => break End::Done,
            Ok(Step::StartTls) => panic!("nobody asked for TLS"),
            Ok(Step::Wait) if eaten + from_origin > 0 => {}
            Ok(Step::Wait) => {
                if let Some(bytes) = peer.next() {
                    from_peer.extend_from_slice(bytes);
                } else if hangs_up && !peer_eof {
                    peer_eof = true;
                } else if let Some(bytes) = user.next() {
                    from_user.extend_from_slice(bytes);
                } else if !user_eof {
                    user_eof = true;
                } else {
                    break End::Waiting;
                }
            }
            // The reply must be out before the error, or the mode would close on it.
            Err(error) => break End::Failed(error),
        }
    };
    from_peer.extend(peer.flatten());
    Call {
        events,
        to_peer: text(&to_peer),
        to_user: text(&to_user),
        peer_left: text(&from_peer),
        ended,
        end,
    }
}

/// A call in chunks of every size, which come to the same, except that more or less of what is no
/// HTTP has come when that is noticed.
pub(super) fn call_in_chunks(answer: Answer, peer: &str, hangs_up: bool, user: &str) -> Call {
    let (peer, user) = (peer.as_bytes(), user.as_bytes());
    let longest = peer.len().max(user.len()).max(1);
    let call = |chunk| {
        let mut call = call(answer, peer, hangs_up, user, chunk);
        let got = match &mut call.end {
            End::Failed(ProtocolError::Malformed { got, .. }) => {
                call.peer_left.clear();
                std::mem::take(got)
            }
            End::Failed(_) | End::Done | End::Waiting => Vec::new(),
        };
        (call, got)
    };
    let (whole, got) = call(longest);
    for chunk in 1..longest {
        let (cut, cut_got) = call(chunk);
        assert_eq!(cut, whole, "{chunk}");
        assert!(got.starts_with(&cut_got), "{} {}", got.escape_ascii(), cut_got.escape_ascii());
    }
    whole
}

fn connect(host: &str, port: u16) -> Event {
    Event::Connect { host: host.into(), port }
}

pub(super) fn fetch(host: &str, port: u16) -> Event {
    Event::Fetch { host: host.into(), port }
}

const OK: &str = "HTTP/1.0 200 OK\r\n\r\n";

#[test]
fn connect_is_answered_and_the_rest_is_left_for_the_relay() {
    for (request, event) in [
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", connect("a.example", 443)),
        ("CONNECT a.example:1 HTTP/1.0\r\n\r\n", connect("a.example", 1)),
        ("\r\n\nCONNECT [::1]:65535 HTTP/1.0\nA: b\n\n", connect("::1", 65535)),
        ("CONNECT %61:80 HTTP/1.1\r\nContent-Length: 3\r\n\r\n", connect("a", 80)),
    ] {
        for left in ["", "\x16\x03\x01 early\r\n\r\n"] {
            let heard = call_in_chunks(Answer::Connected, &format!("{request}{left}"), false, "x");
            let expected = Call {
                events: vec![event.clone()],
                to_peer: OK.into(),
                to_user: String::new(),
                peer_left: left.into(),
                ended: (false, false),
                end: End::Done,
            };
            assert_eq!(heard, expected, "{request}");
        }
    }
}

#[test]
fn what_cannot_be_dialled_is_a_reply_and_then_an_error() {
    for (answer, code, reason) in [
        (Answer::Failed, 504, "Gateway Timeout"),
        (Answer::Forbidden, 403, "Forbidden"),
        (Answer::Internal, 500, "Internal Server Error"),
    ] {
        for (request, event) in [
            ("CONNECT a:1 HTTP/1.0\r\n\r\n", connect("a", 1)),
            ("POST http://b/ HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", fetch("b", 80)),
        ] {
            let heard = call_in_chunks(answer, request, false, "x");
            assert_eq!(heard.events, [event]);
            let reply = format!("HTTP/1.0 {code} {reason}\r\nConnection: close\r\n\r\n");
            assert_eq!((heard.to_peer, heard.to_user), (reply, String::new()));
            assert_eq!(heard.ended, (true, false));
            let (what, text) = ("the request", reason.into());
            assert_eq!(heard.end, End::Failed(ProtocolError::Refused { what, code, text }));
        }
    }
}

/// A request that is refused before anybody is dialled.
fn refused(request: &str) -> (String, ProtocolError) {
    let heard = call_in_chunks(Answer::Connected, request, false, "x");
    let End::Failed(error) = heard.end else { panic!("{request:?}: {heard:?}") };
    assert_eq!((heard.events, heard.to_user), (vec![], String::new()), "{request:?}");
    let (line, fields) = heard.to_peer.split_once("\r\n").unwrap();
    assert!(fields.ends_with("Connection: close\r\n\r\n"), "{fields}");
    (line.strip_prefix("HTTP/1.0 ").unwrap().to_owned(), error)
}

#[test]
fn bad_requests_are_refused_before_anything_is_dialled() {
    for request in [
        // First lines; with garbage nothing more is waited for.
        "\x16\x03\x01\x02",
        "\x05\x01\0",
        "EHLO a\r\n",
        "GET http://a/\r\n",
        "GET http://a/ HTTP/1.\r\n",
        "GET http://a/ HTTP/3.0\r\n",
        "GET  http://a/ HTTP/1.0\r\n",
        "CONNECT a:1\0 HTTP/1.0\r\n",
        "CONNECT a:1\r HTTP/1.0\r\n",
        // Targets.
        "CONNECT a HTTP/1.0\r\n\r\n",
        "CONNECT a: HTTP/1.0\r\n\r\n",
        "CONNECT a:0 HTTP/1.0\r\n\r\n",
        "CONNECT a:65536 HTTP/1.0\r\n\r\n",
        "CONNECT u:p@a:1 HTTP/1.0\r\n\r\n",
        "CONNECT http://a:1 HTTP/1.0\r\n\r\n",
        "CONNECT a%0d%0aX:1 HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET https://a/ HTTP/1.0\r\n\r\n",
        "GET ftp://a/ HTTP/1.0\r\n\r\n",
        "GET http: HTTP/1.0\r\n\r\n",
        "GET http://u@a/ HTTP/1.0\r\n\r\n",
        "GET http://a%0d%0aX:%20y/ HTTP/1.0\r\n\r\n",
        "GET http://a%00/ HTTP/1.0\r\n\r\n",
        "PUT a HTTP/1.0\r\n\r\n",
        // Fields.
        "GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n A: b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nConnection: a b\r\n\r\n",
        "POST http://a/ HTTP/1.1\r\n\r\n",
    ] {
        let (reply, error) = refused(request);
        assert_eq!(reply, "400 Bad Request", "{request:?}");
        assert!(matches!(error, ProtocolError::Malformed { .. }), "{request:?}: {error}");
    }
    let request = b"GET http://ann:s3cret@a/ HTTP/1.0\r\n\r\n";
    let heard = call(Answer::Connected, request, false, b"", 9);
    assert!(!format!("{heard:?}").contains("s3cret"), "{heard:?}");
}

/// What one reader takes for a body and another for the next request.
#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let inner = "GET http://evil/ HTTP/1.0\r\n\r\n";
    for (fields, reply) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "400 Bad Request"),
        ("Content-Length: 5, 5\r\n", "400 Bad Request"),
        ("Content-Length: +5\r\n", "400 Bad Request"),
        ("Content-Length: -5\r\n", "400 Bad Request"),
        ("Content-Length: 0x5\r\n", "400 Bad Request"),
        ("Content-Length: 99999999999999999999\r\n", "400 Bad Request"),
        ("Content-Length:\r\n", "400 Bad Request"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400 Bad Request"),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "400 Bad Request"),
        ("Transfer-Encoding: chunked\r\n", "501 Not Implemented"),
        ("transfer-encoding: xchunked\r\n", "501 Not Implemented"),
        ("Transfer-Encoding:\r\n", "501 Not Implemented"),
        ("Transfer-Encoding : chunked\r\n", "400 Bad Request"),
        ("Content-Length : 5\r\n", "400 Bad Request"),
        ("Content-Length: 5\rX: y\r\n", "400 Bad Request"),
        ("X: y\rContent-Length: 5\r\n", "400 Bad Request"),
        ("X: y\0\r\nContent-Length: 5\r\n", "400 Bad Request"),
        ("X: y\r\n Content-Length: 5\r\n", "400 Bad Request"),
        ("Content-Length: 5\r\n 6\r\n", "400 Bad Request"),
        ("Content-Length: 5\r\nConnection: Content-Length\r\n", "400 Bad Request"),
        ("Content-Length: 5\r\n\r\r\n", "400 Bad Request"),
    ] {
        for line in ["POST http://a/", "GET http://a/", "CONNECT a:1"] {
            // A tunnel has no next hop to which its fields would matter.
            if line.starts_with("CONNECT") && fields.contains("Connection:") {
                continue;
            }
            let request = format!("{line} HTTP/1.1\r\n{fields}\r\n{inner}");
            assert_eq!(refused(&request).0, reply, "{request:?}");
        }
    }
}

/// Whatever one byte of a request is, the origin server gets one head, and it is well-formed.
#[test]
fn no_byte_gets_a_request_past_its_end() {
    let request = b"GET http://ann.example:80/path%41?q HTTP/1.1\r\nHost: a\r\n\
                    Connection: x\r\nContent-Length: 2\r\nX: y\r\n\r\nhi";
    for at in 0..request.len() {
        for byte in *b"\0\t\r\n \"%:,@[0\\\x7f\x80\xff" {
            let mut request = request.to_vec();
            request[at] = byte;
            let heard = call(Answer::Connected, &request, true, b"", 64);
            let shown = format!("{} {heard:?}", request.escape_ascii());
            assert_eq!(heard.to_peer.is_empty(), !heard.events.is_empty(), "{shown}");
            for event in &heard.events {
                let (Event::Connect { host, .. } | Event::Fetch { host, .. }) = event;
                assert!(host.bytes().all(|b| b.is_ascii_graphic()), "{shown}");
                let (head, body) = heard.to_user.split_once("\r\n\r\n").expect(&shown);
                let lines = head.replace("\r\n", "");
                assert!(!lines.contains(['\r', '\n', '\0', '\u{7f}']), "{shown}");
                assert!(
                    body.chars().count() <= 2 && head.ends_with("\r\nConnection: close"),
                    "{shown}"
                );
            }
        }
    }
}

#[test]
fn unknown_methods_are_told_what_there_is() {
    for method in ["PUT", "get", "OPTIONS", "TRACE", "X-Y"] {
        // The method comes before the fields.
        let request = format!("{method} http://a/ HTTP/1.1\r\nno field\r\n\r\n");
        let heard = call_in_chunks(Answer::Connected, &request, false, "");
        let reply = "HTTP/1.0 405 Method Not Allowed\r\nAllow: CONNECT, GET, HEAD, POST\r\n\
                     Connection: close\r\n\r\n";
        assert_eq!(heard.to_peer, reply);
        assert!(matches!(heard.end, End::Failed(ProtocolError::Refused { code: 405, .. })));
    }
}

/// An endless header ends at its limit.
#[test]
fn a_request_without_end_is_refused_at_the_limit() {
    let begin = b"GET http://a/ HTTP/1.0\r\n".to_vec();
    let lines = [begin.clone(), b"A: b\r\n".repeat(100_000)].concat();
    let line = [begin.clone(), b"A: ".to_vec(), b"b".repeat(1_000_000)].concat();
    let target = [b"GET http://a/".to_vec(), b"x".repeat(1_000_000)].concat();
    let nothing = b"\r\n".repeat(100_000);
    for request in [lines, line, target, nothing] {
        for chunk in [13, 1000, 65_536] {
            let heard = call(Answer::Connected, &request, false, b"", chunk);
            assert!(heard.to_peer.starts_with("HTTP/1.0 413 Request Entity Too Large\r\n"));
            let eaten = request.len() - heard.peer_left.len();
            assert!(eaten <= (64 + 8) * 1024 && heard.events.is_empty(), "{eaten}");
            assert!(matches!(heard.end, End::Failed(ProtocolError::Malformed { .. })));
        }
    }
}

#[test]
fn a_caller_that_hangs_up_early_is_told_so() {
    let request = "GET http://a/ HTTP/1.0\r\nA: b\r\n\r\n";
    for n in 1..request.len() {
        let heard = call_in_chunks(Answer::Connected, &request[..n], true, "");
        let is_refused = heard.to_peer.starts_with("HTTP/1.0 400 ");
        assert!(is_refused && heard.events.is_empty(), "{n}: {heard:?}");
    }
    let heard = call_in_chunks(Answer::Connected, "", true, "");
    let cut = ProtocolError::Cut { waiting_for: "its request" };
    assert_eq!((heard.to_peer.as_str(), heard.end), ("", End::Failed(cut)));
}

#[test]
fn a_login_is_asked_for_after_the_syntax_and_before_the_dialling() {
    let login = Credentials { user: "ann".into(), password: Secret::new("pw") };
    let gate = Rc::new(Gate::new(Some(login), [3; 16]));
    for (request, code) in [
        ("GET /\r\n", "400"),
        ("PUT http://a/ HTTP/1.0\r\n\r\n", "405"),
        ("POST http://a/ HTTP/1.0\r\n\r\n", "400"),
        ("GET http://a/ HTTP/1.0\r\n\r\n", "407"),
        ("CONNECT a:1 HTTP/1.0\r\nProxy-Authorization: Basic YW5uOnB4\r\n\r\n", "407"),
        ("CONNECT a:1 HTTP/1.0\r\nProxy-Authorization: Basic YW5uOnB3\r\n\r\n", "200"),
    ] {
        let mut server = Server::new(Rc::clone(&gate));
        let (mut to_peer, mut to_user, mut ended) = (Vec::new(), Vec::new(), (false, false));
        let mut eaten = 0;
        loop {
            let mut ports = Ports {
                peer: Input::new(&request.as_bytes()[eaten..], false),
                to_peer: Output::new(&mut to_peer, 1000, &mut ended.0),
                user: Input::new(b"", false),
                to_user: Output::new(&mut to_user, 1000, &mut ended.1),
            };
            let step = server.step(&mut ports);
            eaten += ports.peer.eaten();
            match step {
                Ok(Step::Event(_)) => server.answer(Answer::Connected),
                Ok(Step::Wait) => {}
                Ok(Step::Done | Step::StartTls) | Err(_) => break,
            }
        }
        let reply = text(&to_peer);
        assert!(reply.starts_with(&format!("HTTP/1.0 {code} ")), "{request:?}: {reply}");
        assert_eq!(
            reply.matches("Proxy-Authenticate: ").count(),
            if code == "407" { 3 } else { 0 }
        );
    }
}
