//! What origin servers answer to the callers of our proxy.

use super::callers::{Call, End, call, call_in_chunks, fetch};
use super::gate::Gate;
use super::server::{Answer, Server};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use std::rc::Rc;

#[test]
fn a_request_goes_to_the_origin_and_its_answer_comes_back() {
    let request = "POST HTTP://b%61r.example:8080/p?q HTTP/1.1\r\nHost: other\r\n\
                   Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nAccept: */*\r\n\
                   Proxy-Authorization: Basic x\r\nContent-Length: 5\r\n\r\nhello";
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made It\r\nServer: s\r\n\
                  Connection: keep-alive, X-Too\r\nKeep-Alive: 9\r\nX-Too: 1\r\n\
                  Content-Length: 3\r\n\r\nyes";
    let sent = "POST /p?q HTTP/1.0\r\nHost: bar.example:8080\r\nAccept: */*\r\n\
                Content-Length: 5\r\nConnection: close\r\n\r\nhello";
    let back = "HTTP/1.0 201 Made It\r\nServer: s\r\nContent-Length: 3\r\n\
                Connection: close\r\n\r\nyes";
    for (after_request, hangs_up) in
        [("", false), ("", true), ("GET http://c/ HTTP/1.0\r\n\r\n", false)]
    {
        // What the origin sends behind its answer goes nowhere.
        for after_answer in ["", "HTTP/1.1 200 OK\r\n\r\n"] {
            let peer = format!("{request}{after_request}");
            let user = format!("{answer}{after_answer}");
            let heard = call_in_chunks(Answer::Connected, &peer, hangs_up, &user);
            let expected = Call {
                events: vec![fetch("bar.example", 8080)],
                to_peer: back.into(),
                to_user: sent.into(),
                peer_left: after_request.into(),
                ended: (true, false),
                end: End::Done,
            };
            assert_eq!(heard, expected);
        }
    }
}

/// The answer that comes back, and how it ends.
fn answered(method: &str, answer: &str) -> (String, End) {
    let request = format!("{method} http://a/ HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    let heard = call_in_chunks(Answer::Connected, &request, false, answer);
    (heard.to_peer, heard.end)
}

#[test]
fn an_answer_ends_where_its_head_says() {
    let close = "Connection: close\r\n\r\n";
    for (method, answer, back) in [
        ("GET", "HTTP/1.0 200 OK\r\n\r\na\nb", format!("HTTP/1.0 200 OK\r\n{close}a\nb")),
        ("GET", "HTTP/1.0 200\n\n", format!("HTTP/1.0 200 \r\n{close}")),
        ("GET", "HTTP/1.1 204 N\r\n\r\nx", format!("HTTP/1.0 204 N\r\n{close}")),
        ("GET", "HTTP/1.1 304 N\r\nContent-Length: 4\r\n\r\nx", {
            format!("HTTP/1.0 304 N\r\nContent-Length: 4\r\n{close}")
        }),
        ("GET", "HTTP/1.1 200 K\r\nContent-Length: 0\r\n\r\nx", {
            format!("HTTP/1.0 200 K\r\nContent-Length: 0\r\n{close}")
        }),
        ("HEAD", "HTTP/1.1 200 K\r\nContent-Length: 4\r\n\r\n", {
            format!("HTTP/1.0 200 K\r\nContent-Length: 4\r\n{close}")
        }),
        ("HEAD", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n", {
            format!("HTTP/1.0 200 K\r\n{close}")
        }),
        ("POST", "HTTP/1.1 200 K\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nabc", {
            format!("HTTP/1.0 200 K\r\nContent-Length: 2\r\n{close}ab")
        }),
    ] {
        assert_eq!(answered(method, answer), (back, End::Done), "{answer:?}");
    }
}

#[test]
fn a_bad_answer_gets_the_caller_no_reply() {
    let endless = format!("HTTP/1.0 200 OK\r\n{}", "A: b\r\n".repeat(12_000));
    for answer in [
        "SSH-2.0-x\r\n",
        "<html>",
        "HTTP/1.0 2000 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nContent-Length: x\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let (back, end) = answered("GET", answer);
        assert_eq!(back, "", "{answer:?}");
        assert!(matches!(&end, End::Failed(ProtocolError::Malformed { .. })), "{answer:?} {end:?}");
    }
    let request = b"GET http://a/ HTTP/1.0\r\n\r\n";
    for chunk in [7, 4096] {
        let heard = call(Answer::Connected, request, false, endless.as_bytes(), chunk);
        assert_eq!(heard.to_peer, "");
        assert!(matches!(heard.end, End::Failed(ProtocolError::Malformed { .. })));
    }
    for answer in ["", "HTTP/1.0 200 OK\r\nA: b\r\n", "HTTP/1.0 100 Go\r\n\r\n"] {
        let (back, end) = answered("GET", answer);
        assert_eq!(back, "");
        let cut = ProtocolError::Cut { waiting_for: "the end of the origin server's answer" };
        assert_eq!(end, End::Failed(cut), "{answer:?}");
    }
}

#[test]
fn a_short_answer_is_delivered_and_called_short() {
    let (back, end) = answered("GET", "HTTP/1.0 200 K\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(back, "HTTP/1.0 200 K\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc");
    assert_eq!(
        end,
        End::Failed(ProtocolError::Cut { waiting_for: "the end of the origin server's answer" })
    );
}

#[test]
fn a_body_that_breaks_off_ends_for_the_origin_too() {
    let head = "POST http://a/ HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc";
    let heard = call_in_chunks(Answer::Connected, head, true, "HTTP/1.0 400 Short\r\n\r\n");
    assert!(heard.to_user.ends_with("\r\n\r\nabc"), "{}", heard.to_user);
    assert_eq!((heard.ended, heard.end), ((true, true), End::Done));
    assert_eq!(heard.to_peer, "HTTP/1.0 400 Short\r\nConnection: close\r\n\r\n");
    // An answer before the end of the body is an answer.
    let heard = call_in_chunks(Answer::Connected, head, false, "HTTP/1.0 413 Long\r\n\r\n");
    assert_eq!((heard.ended, heard.end), ((true, false), End::Done));
}

#[test]
fn bodies_keep_to_the_room_there_is() {
    let body = vec![b'x'; 100_000];
    let request = format!("POST http://a/ HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let peer = [request.as_bytes(), &body].concat();
    let mut server = Server::new(Rc::new(Gate::new(None, [0; 16])));
    let (mut eaten, mut to_user) = (0, Vec::new());
    loop {
        let (mut ended, mut to_peer, before) = ((false, false), Vec::new(), to_user.len());
        let mut ports = Ports {
            peer: Input::new(&peer[eaten..], false),
            to_peer: Output::new(&mut to_peer, 1000, &mut ended.0),
            user: Input::new(b"", false),
            to_user: Output::new(&mut to_user, 1000, &mut ended.1),
        };
        let step = server.step(&mut ports).unwrap();
        let n = ports.peer.eaten();
        eaten += n;
        match step {
            Step::Event(_) => server.answer(Answer::Connected),
            Step::Wait if n == 0 => break,
            Step::Wait => assert!(to_user.len() - before <= 1000),
            Step::Done | Step::StartTls => panic!("{step:?}"),
        }
    }
    assert!(eaten == peer.len() && to_user.ends_with(&body));
}

#[test]
fn an_answer_that_breaks_off_anywhere_is_called_short() {
    let answer = b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 K\r\nContent-Length: 2\r\n\r\nab";
    for n in 0..answer.len() {
        let heard =
            call(Answer::Connected, b"GET http://a/ HTTP/1.0\r\n\r\n", false, &answer[..n], 3);
        let cut = ProtocolError::Cut { waiting_for: "the end of the origin server's answer" };
        assert_eq!(heard.end, End::Failed(cut), "{n}");
    }
}
