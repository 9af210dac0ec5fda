use super::answer::{Answer, File};
use super::*;
use crate::proto::{Input, Output};

/// A machine with a mode behind it that knows three files; what it says for `peer`, cut to pieces,
/// and the events.
fn serve(kind: Kind, peer: &[u8], chunk: usize) -> (String, Vec<Event>) {
    let mut server = Server::new(kind);
    server.set_now(784_111_777);
    let (mut said, mut ended, mut waiting) = (Vec::new(), false, Vec::new());
    let (mut events, mut pieces) = (Vec::new(), peer.chunks(chunk));
    let mut eof = false;
    let mut octets: &[u8] = b"";
    let mut before = 0;
    loop {
        let mut nothing = (Vec::new(), false);
        let mut ports = Ports {
            peer: Input::new(&waiting, eof),
            to_peer: Output::new(&mut said, chunk, &mut ended),
            user: Input::new(b"", false),
            to_user: Output::new(&mut nothing.0, 0, &mut nothing.1),
        };
        let step = server.step(&mut ports).unwrap();
        let eaten = ports.peer.eaten();
        waiting.drain(..eaten);
        let moved = eaten > 0 || said.len() > before;
        before = said.len();
        match step {
            Step::Event(Event::Wanted(request)) => {
                let path = request.path.join("/");
                octets = if path == "ten" { b"0123456789" } else { b"" };
                let file = |length| File { length, media: "text/plain", changed: 784_111_777 };
                server.answer(match (path.as_str(), request.is_directory) {
                    ("ten", false) => Answer::File(file(10)),
                    ("none", false) => Answer::File(file(0)),
                    ("shrunk", false) => Answer::File(file(3)),
                    ("dir", false) => Answer::Slash,
                    ("", true) => Answer::Page(b"<p>".to_vec()),
                    ("secret", _) => Answer::Forbidden,
                    _ => Answer::Missing,
                });
            }
            Step::Event(Event::More { offset, most }) => {
                let from = usize::try_from(offset).unwrap().min(octets.len());
                server.feed(octets[from..(from + most).min(octets.len())].to_vec());
            }
            Step::Event(event) => events.push(event),
            Step::Wait if moved => {}
            Step::Wait => match pieces.next() {
                Some(piece) => waiting.extend_from_slice(piece),
                None if eof => break,
                None => eof = true,
            },
            Step::Done => break,
            Step::StartTls => unreachable!("there is no TLS here"),
        }
    }
    (String::from_utf8(said).unwrap(), events)
}

/// The code of each reply, and the octets behind each head.
fn replies(said: &str) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    let mut rest = said;
    while let Some((head, behind)) = rest.split_once("\r\n\r\n") {
        let code: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = if code == 100 { 0 } else { length.map_or(0, |n| n.parse().unwrap()) };
        let length = length.min(behind.len());
        all.push((code, behind[..length].to_owned()));
        rest = &behind[length..];
    }
    all
}

fn files(request: &str) -> Vec<(u16, String)> {
    let whole = serve(Kind::Files, request.as_bytes(), request.len());
    for chunk in 1..request.len() {
        assert_eq!(serve(Kind::Files, request.as_bytes(), chunk), whole, "{chunk} {request:?}");
    }
    replies(&whole.0)
}

fn one(request: &str) -> (u16, String) {
    let replies = files(request);
    assert_eq!(replies.len(), 1, "{request:?}: {replies:?}");
    replies[0].clone()
}

const HOST: &str = "HTTP/1.1\r\nHost: h\r\n";

#[test]
fn a_file_comes_whole_however_the_request_is_cut() {
    assert_eq!(one(&format!("GET /ten {HOST}\r\n")), (200, "0123456789".into()));
    assert_eq!(one("GET /ten HTTP/1.0\r\n\r\n"), (200, "0123456789".into()));
    assert_eq!(one(&format!("GET /none {HOST}\r\n")), (200, String::new()));
    assert_eq!(one(&format!("GET / {HOST}\r\n")), (200, "<p>".into()));
    let (said, events) = serve(Kind::Files, b"GET /ten HTTP/1.0\r\n\r\n", 9);
    let expected = "HTTP/1.1 200 OK\r\nServer: ncat\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Type: text/plain\r\nContent-Length: 10\r\n\
        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\n\
        Connection: close\r\n\r\n0123456789";
    assert_eq!(said, expected);
    assert_eq!(events, [Event::Story("GET /ten HTTP/1.0: 200".into())]);
}

#[test]
fn requests_may_follow_each_other() {
    let request = format!("GET /ten {HOST}\r\nHEAD /ten {HOST}\r\nGET /no {HOST}\r\n");
    let (said, _) = serve(Kind::Files, request.as_bytes(), 1);
    assert_eq!(said.matches("HTTP/1.1 ").count(), 3);
    assert!(said.contains("0123456789HTTP/1.1 200 OK"), "{said}");
    assert!(said.contains("keep-alive\r\n\r\nHTTP/1.1 404"), "{said}");
    let last = format!("GET / {HOST}Connection: close\r\n\r\nGET /ten {HOST}\r\n");
    assert_eq!(files(&last).len(), 1);
    // A body of a GET is no request.
    let body = format!("GET / {HOST}Content-Length: 5\r\n\r\nGET /GET /ten {HOST}\r\n");
    assert_eq!(files(&body).iter().map(|r| r.0).collect::<Vec<_>>(), [200, 200]);
}

#[test]
fn a_range_and_a_date_are_heeded() {
    for (fields, expected) in [
        ("Range: bytes=2-4\r\n", (206, "234")),
        ("Range: bytes=7-\r\n", (206, "789")),
        ("Range: bytes=-3\r\n", (206, "789")),
        ("Range: bytes=5-99\r\n", (206, "56789")),
        ("Range: bytes=0-1,3-4\r\n", (200, "0123456789")),
        ("Range: bytes=2-4\r\nIf-Range: \"x\"\r\n", (200, "0123456789")),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", (200, "0123456789")),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", (304, "")),
    ] {
        let reply = one(&format!("GET /ten {HOST}{fields}\r\n"));
        assert_eq!((reply.0, reply.1.as_str()), expected, "{fields}");
    }
    assert_eq!(one(&format!("GET /ten {HOST}Range: bytes=10-\r\n\r\n")).0, 416);
    let (said, _) = serve(Kind::Files, b"GET /ten HTTP/1.0\r\nRange: bytes=2-4\r\n\r\n", 99);
    assert!(said.contains("Content-Range: bytes 2-4/10\r\n"), "{said}");
}

#[test]
fn what_cannot_be_done_is_said_and_ends_it() {
    for (request, code) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /../x {HOST}\r\n"), 400),
        (format!("POST / {HOST}\r\n"), 405),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
        ("hello\r\n\r\n".to_owned(), 400),
        (format!("GET / {HOST}a : b\r\n\r\n"), 400),
        (format!("GET / {HOST}Transfer-Encoding: gzip\r\n\r\n"), 501),
        (format!("GET / {HOST}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        (format!("GET / {HOST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), 400),
        (format!("GET / {HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400),
        (format!("GET /{} {HOST}\r\n", "x".repeat(9000)), 414),
        (format!("GET / {HOST}{}\r\n", "a: b\r\n".repeat(20_000)), 431),
    ] {
        let (said, _) =
            serve(Kind::Files, format!("{request}GET / {HOST}\r\n").as_bytes(), 1 << 20);
        let replies = replies(&said);
        assert_eq!(replies.iter().map(|r| r.0).collect::<Vec<_>>(), [code], "{request:.80}");
        assert!(said.contains("Connection: close\r\n"), "{said}");
    }
    assert_eq!(one(&format!("GET /dir {HOST}\r\n")).0, 301);
    assert_eq!(one(&format!("GET /secret {HOST}\r\n")).0, 403);
    // Less than was promised: no other reply may look like the rest of it.
    let (said, _) =
        serve(Kind::Files, format!("GET /shrunk {HOST}\r\nGET / {HOST}\r\n").as_bytes(), 999);
    assert!(said.ends_with("\r\n\r\n") && said.matches("HTTP/1.1").count() == 1, "{said}");
}

#[test]
fn a_request_is_told_and_said_back() {
    let head = "POST /hook HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}4\r\nabcd\r\n2;x\r\nef\r\n0\r\nT: 1\r\n\r\nGET / {HOST}\r\n");
    for chunk in 1..request.len() {
        let (said, events) = serve(Kind::Dump, request.as_bytes(), chunk);
        assert_eq!(events[0], Event::Dumped(format!("{head}abcdef").into_bytes()), "{chunk}");
        assert!(said.contains(&format!("\r\n\r\n{head}abcdef")), "{said}");
        assert_eq!(events.len(), 4);
    }
    let (said, _) = serve(
        Kind::Dump,
        b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        7,
    );
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{said}");
    let long = format!("PUT /x {HOST}Content-Length: 99999999\r\n\r\n");
    let mut long = long.into_bytes();
    long.resize(LONGEST_DUMP + 99, b'x');
    assert_eq!(replies(&serve(Kind::Dump, &long, 1 << 16).0)[0].0, 413);
    for bad in ["zz\r\n", "5\r\nabc\r\n0\r\n\r\n", "2\r\nabc\r\n"] {
        let (said, events) = serve(Kind::Dump, format!("{head}{bad}").as_bytes(), 999);
        let dumped = events.iter().any(|e| matches!(e, Event::Dumped(_)));
        assert!(!dumped && !said.contains(" 200 "), "{bad:?}: {said}");
    }
}
