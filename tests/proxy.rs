//! Proxies, from both ends.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use tool::{DEADLINE, Output, Running, accept, run, same, serving};

#[track_caller]
fn asked(port: u16, request: &str) -> String {
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.write_all(request.as_bytes()).unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    caller.read_to_end(&mut reply).unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn a_smuggled_request_is_refused_and_the_origin_hears_nothing() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    origin.set_nonblocking(true).unwrap();
    let at = origin.local_addr().unwrap();
    let (_proxy, port) = serving(&["--proxy-type", "http"]);
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 1\r\n",
    ] {
        let reply = asked(port, &format!("POST http://{at}/ HTTP/1.1\r\n{fields}\r\na"));
        let refused = reply.starts_with("HTTP/1.0 400") || reply.starts_with("HTTP/1.0 501");
        assert!(refused, "{fields:?}: {reply:?}");
        assert!(origin.accept().is_err(), "{fields:?} reached the origin");
    }
}

#[test]
fn a_request_that_is_none_is_refused_and_the_origin_hears_nothing() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    origin.set_nonblocking(true).unwrap();
    let at = origin.local_addr().unwrap();
    let (_proxy, port) = serving(&["--proxy-type", "http"]);
    let field = |len| format!("A: {}\r\n", "x".repeat(len));
    for (request, code) in [
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 400),
        (format!("GET ftp://{at}/ HTTP/1.0\r\n\r\n"), 400),
        (format!("GET http://ann:secret@{at}/ HTTP/1.0\r\n\r\n"), 400),
        (format!("CONNECT ann@{at} HTTP/1.0\r\n\r\n"), 400),
        ("CONNECT 127.0.0.1 HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("CONNECT 127.0.0.1:0 HTTP/1.0\r\n\r\n".to_owned(), 400),
        (format!("BREW http://{at}/ HTTP/1.0\r\n\r\n"), 405),
        (format!("connect {at} HTTP/1.0\r\n\r\n"), 400),
        (format!("CONNECT {at} HTTP/2.0\r\n\r\n"), 400),
        (format!("CONNECT {at} HTTP/1.0\r\nA: b\r\n c\r\n\r\n"), 400),
        (format!("CONNECT {at} HTTP/1.0\r\nA : b\r\n\r\n"), 400),
        (format!("CONNECT {at} HTTP/1.0\r\nA: \0\r\n\r\n"), 400),
        (format!("GET http://{at}/ HTTP/1.0\r\nConnection: \"\r\n\r\n"), 400),
        (format!("CONNECT {at} HTTP/1.0\r\n{}\r\n", field(9000)), 413),
        (format!("CONNECT {at} HTTP/1.0\r\n{}\r\n", field(100).repeat(1000)), 413),
        // What others speak gets an answer before its end.
        ("\x16\x03\x01\x02\0".to_owned(), 400),
        ("\x05\x01\0".to_owned(), 400),
    ] {
        let (_caller, reply) = stays(port, &request);
        let shown = request.get(..80).unwrap_or(&request);
        assert!(reply.starts_with(&format!("HTTP/1.0 {code} ")), "{shown:?}: {reply:?}");
        assert!(reply.ends_with("\r\n\r\n"), "{reply:?}");
        assert!(origin.accept().is_err(), "{shown:?} reached the origin");
    }
}

#[test]
fn the_own_port_and_dead_targets_are_refused() {
    let (_proxy, port) = serving(&["--proxy-type", "http"]);
    let own = asked(port, &format!("GET http://127.0.0.1:{port}/ HTTP/1.0\r\n\r\n"));
    assert!(own.starts_with("HTTP/1.0 403"), "{own:?}");
    for host in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost"] {
        let own = asked(port, &format!("CONNECT {host}:{port} HTTP/1.0\r\n\r\n"));
        assert!(own.starts_with("HTTP/1.0 403"), "{host}: {own:?}");
    }
    let dead = asked(port, &format!("CONNECT 127.0.0.1:{} HTTP/1.0\r\n\r\n", tool::free_port()));
    assert!(dead.starts_with("HTTP/1.0 504"), "{dead:?}");
}

#[test]
fn socks_callers_are_refused_in_the_words_of_their_version() {
    let (_open, open) = serving(&["--proxy-type", "socks5"]);
    let (_locked, locked) = serving(&["--proxy-type", "socks4", "--proxy-auth", "ann:secret"]);
    let none = TcpListener::bind("127.0.0.1:0").unwrap();
    none.set_nonblocking(true).unwrap();
    let [high, low] = none.local_addr().unwrap().port().to_be_bytes();
    let [own_high, own_low] = open.to_be_bytes();
    let five = |code| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let four = |code| vec![0, code, 0, 0, 0, 0, 0, 0];
    let to = [127, 0, 0, 1, high, low];
    let cases: &[(&str, u16, Vec<u8>, Vec<u8>)] = &[
        ("BIND", open, [&[5, 1, 0, 5, 2, 0, 1][..], &to].concat(), five(7)),
        ("UDP", open, [&[5, 1, 0, 5, 3, 0, 1][..], &to].concat(), five(7)),
        ("a strange address", open, [&[5, 1, 0, 5, 1, 0, 2][..], &to].concat(), five(8)),
        ("a name of nothing", open, vec![5, 1, 0, 5, 1, 0, 3, 0, high, low], five(1)),
        ("a line in a name", open, b"\x05\x01\0\x05\x01\0\x03\x03a\nb\0\x50".to_vec(), five(1)),
        ("ourselves", open, vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, own_high, own_low], five(2)),
        ("SOCKS4 in 5", open, [&[5, 1, 0, 4, 1, 0, 1][..], &to].concat(), five(1)),
        ("GSSAPI alone", open, vec![5, 1, 1], vec![5, 0xff]),
        ("no method", open, vec![5, 0], vec![5, 0xff]),
        ("BIND of 4", open, vec![4, 2, high, low, 127, 0, 0, 1, 0], four(91)),
        ("ourselves in 4", open, vec![4, 1, own_high, own_low, 127, 0, 0, 1, 0], four(91)),
        ("no login", locked, vec![5, 1, 0], vec![5, 0xff]),
        ("a wrong login", locked, b"\x05\x01\x02\x01\x03ann\x03bad".to_vec(), vec![5, 2, 1, 1]),
        ("only a user", locked, vec![4, 1, high, low, 127, 0, 0, 1, b'a', b'n', b'n', 0], four(93)),
    ];
    for (name, port, request, expected) in cases {
        let mut caller = TcpStream::connect(("127.0.0.1", *port)).unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        caller.write_all(request).unwrap();
        let mut reply = Vec::new();
        caller.read_to_end(&mut reply).unwrap();
        assert_eq!(&reply, expected, "{name}");
        assert!(none.accept().is_err(), "{name} reached a target");
    }
}

/// A proxy of ours, and what asks it for this target in each way that there is.
fn ways(at: SocketAddr) -> [(Running, u16, Vec<u8>, usize); 4] {
    let [high, low] = at.port().to_be_bytes();
    let name = [&b"\x04\x01"[..], &[high, low], b"\0\0\0\x01user\0localhost\0"].concat();
    [
        // A request, and how long the whole reply is.
        ("http", format!("CONNECT {at} HTTP/1.0\r\nVia: x\r\n\r\n").into_bytes(), 19),
        ("socks4", vec![4, 1, high, low, 127, 0, 0, 1, 0], 8),
        ("socks4", name, 8),
        ("socks5", vec![5, 2, 0, 2, 5, 1, 0, 1, 127, 0, 0, 1, high, low], 12),
    ]
    .map(|(kind, request, length)| {
        let (proxy, port) = serving(&["-k", "--proxy-type", kind]);
        (proxy, port, request, length)
    })
}

#[test]
fn callers_who_never_finish_keep_nobody_waiting_and_reach_nobody() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    for (_proxy, port, request, length) in &ways(target.local_addr().unwrap()) {
        let call = |says: &[u8]| {
            let mut caller = TcpStream::connect(("127.0.0.1", *port)).unwrap();
            caller.set_read_timeout(Some(DEADLINE)).unwrap();
            caller.write_all(says).unwrap();
            caller
        };
        // Those who stay, and those who leave: they get an end, and no answer but a refusal.
        let stay: Vec<_> = (0..request.len()).map(|end| call(&request[..end])).collect();
        for end in 0..request.len() {
            let mut caller = call(&request[..end]);
            caller.shutdown(Shutdown::Write).unwrap();
            let mut reply = Vec::new();
            caller.read_to_end(&mut reply).unwrap();
            let refused =
                reply.is_empty() || reply.starts_with(b"HTTP/1.0 400 ") || reply == [5, 0];
            assert!(refused, "{end}: {}", reply.escape_ascii());
        }
        target.set_nonblocking(true).unwrap();
        assert!(target.accept().is_err());
        let mut caller = call(b"");
        caller.set_nodelay(true).unwrap();
        for byte in request.iter().chain(b"early") {
            caller.write_all(&[*byte]).unwrap();
        }
        let mut end = accept(&target);
        caller.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        end.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "early");
        end.write_all(b"answer").unwrap();
        drop(end);
        let mut reply = Vec::new();
        caller.read_to_end(&mut reply).unwrap();
        assert_eq!(reply[*length..].escape_ascii().to_string(), "answer");
        drop(stay);
    }
}

#[test]
fn what_is_between_two_hops_stays_there() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = origin.local_addr().unwrap();
    let (_proxy, port) = serving(&["--proxy-type", "http", "--proxy-auth", "ann:secret"]);
    let thread = std::thread::spawn(move || {
        let mut stream = accept(&origin);
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\nbody") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.extend(byte);
        }
        let reply = "HTTP/1.1 203 Fine\r\nProxy-Authenticate: Basic\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
            Connection: X-Hop, keep-alive\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok and too much";
        stream.write_all(reply.as_bytes()).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let request = format!(
        "POST http://{at}/p?q HTTP/1.1\r\nHost: other.example\r\nX-End: 1\r\nX-Hop: 1\r\n\
         Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\nProxy-Connection: keep-alive\r\n\
         Connection: close, X-Hop, TE\r\nTE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n\
         Content-Length: 4\r\n\r\nbodyGET / HTTP/1.0\r\n\r\n"
    );
    let (_caller, reply) = stays(port, &request);
    let expected = format!(
        "POST /p?q HTTP/1.0\r\nHost: {at}\r\nX-End: 1\r\nContent-Length: 4\r\n\
         Connection: close\r\n\r\nbody"
    );
    assert_eq!(thread.join().unwrap(), expected);
    let expected =
        "HTTP/1.0 203 Fine\r\nX-End: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    assert_eq!(reply, expected);
}

#[test]
fn a_proxy_is_only_where_it_was_put_and_only_for_whom_it_is() {
    for kind in ["http", "socks5"] {
        let (proxy, port) = serving(&["-k", "--proxy-type", kind, "--deny", "127.0.0.2"]);
        // ncat's listens on every address (compatibility, 3.2).
        let refused = TcpStream::connect(("127.0.0.2", port)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        let mut denied = TcpStream::from(socket);
        denied.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(denied.read(&mut [0]).unwrap(), 0);
        drop(proxy);
    }
}

#[test]
fn a_line_ending_in_a_host_is_refused() {
    run(&["--proxy", "127.0.0.1:9", "a\r\nX: y", "80"], "").expect_code(2);
}

#[test]
fn our_client_goes_through_our_server_only_with_the_right_login() {
    for kind in ["http", "socks5"] {
        let (_proxy, port) = serving(&["--proxy-type", kind, "--proxy-auth", "ann:secret"]);
        let (target, to) = serving(&[]);
        let (proxy, to) = (format!("127.0.0.1:{port}"), to.to_string());
        let how = ["--proxy", &proxy, "--proxy-type", kind, "127.0.0.1", &to, "--proxy-auth"];
        run(&[&how[..], &["ann:wrong"]].concat(), "no").expect_code(1);
        run(&[&how[..], &["ann:secret"]].concat(), "yes").expect_code(0);
        target.finish().expect_code(0).expect_stdout("yes");
    }
}

#[test]
fn every_proxy_of_a_chain_may_want_a_login() {
    // The first was said to have refused its login once the second had wanted one.
    let proxies = [(); 3].map(|()| serving(&["--proxy-type", "http", "--proxy-auth", "ann:s"]));
    let (target, to) = serving(&[]);
    let chain: Vec<_> = proxies.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let (chain, to) = (chain.join(","), to.to_string());
    run(&["--proxy", &chain, "--proxy-auth", "ann:s", "127.0.0.1", &to], "yes").expect_code(0);
    target.finish().expect_code(0).expect_stdout("yes");
}

/// A caller who keeps its connection open, and what it hears until the proxy ends it.
fn stays(port: u16, request: &str) -> (TcpStream, String) {
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    caller.read_to_end(&mut reply).unwrap();
    (caller, String::from_utf8_lossy(&reply).into_owned())
}

#[test]
fn an_origin_that_gives_no_answer_is_said_to_be_at_fault() {
    let (proxy, port) = serving(&["-k", "--proxy-type", "http"]);
    for (says, wrong) in [
        ("SSH-2.0-x\r\n", "expected a status line"),
        ("", "the origin server's answer"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "the origin server's answer"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "from the origin server",
        ),
    ] {
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = origin.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = origin.accept().unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
            stream.write_all(says.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // A reset would overtake what was said.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (caller, reply) = stays(port, &format!("GET http://{at}/ HTTP/1.0\r\n\r\n"));
        // As ncat does it: no reply of ours is made out to be the origin's.
        assert_eq!(reply, "", "{says:?}");
        proxy.wait_stderr(wrong);
        thread.join().unwrap();
        drop(caller);
    }
}

#[test]
fn what_does_not_move_for_the_idle_time_is_ended_tunnel_and_fetch() {
    let (proxy, port) = serving(&["-k", "-i", "300ms", "--proxy-type", "http"]);
    let (socks, socks_port) = serving(&["-k", "-i", "300ms", "--proxy-type", "socks5"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let (_caller, reply) = stays(port, &format!("CONNECT {at} HTTP/1.0\r\n\r\n"));
    assert!(reply.starts_with("HTTP/1.0 200 "), "{reply}");
    proxy.wait_stderr("nothing moved for 0.3 s");
    // Nobody answers, and the proxy says nothing either: it just ends.
    let (_caller, reply) = stays(port, &format!("GET http://{at}/ HTTP/1.0\r\n\r\n"));
    assert_eq!(reply, "");
    let [high, low] = at.port().to_be_bytes();
    let mut caller = TcpStream::connect(("127.0.0.1", socks_port)).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
    let mut reply = Vec::new();
    caller.read_to_end(&mut reply).unwrap();
    assert_eq!(reply[..4], [5, 0, 5, 0]);
    socks.wait_stderr("nothing moved for 0.3 s");
}

#[test]
fn a_target_that_resets_is_not_taken_for_our_standard_input() {
    let (proxy, port) = serving(&["-k", "--proxy-type", "http"]);
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = target.local_addr().unwrap();
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let name = caller.local_addr().unwrap();
    caller.write_all(format!("CONNECT {at} HTTP/1.0\r\n\r\nhello").as_bytes()).unwrap();
    let (mut end, _) = target.accept().unwrap();
    end.read_exact(&mut [0; 5]).unwrap();
    socket2::SockRef::from(&end).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(end);
    proxy.wait_stderr(&format!("lost the connection of {name} to its target: connection reset"));
}

/// A proxy that says what is written, one reply for each connection, whole or byte by byte, and
/// ends; and what it heard on each.
fn scripted(replies: &[&[u8]], piece: usize) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let replies: Vec<_> = replies.iter().map(|reply| reply.to_vec()).collect();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for reply in replies {
            let mut stream = accept(&listener);
            stream.set_nodelay(true).unwrap();
            // Who has heard enough hangs up.
            let _ = reply.chunks(piece).try_for_each(|part| stream.write_all(part));
            let _ = stream.shutdown(Shutdown::Write);
            let mut request = Vec::new();
            let _ = stream.read_to_end(&mut request);
            tell.send(String::from_utf8_lossy(&request).into_owned()).unwrap();
        }
    });
    (port, heard)
}

/// What our client makes of such a proxy, and the proxy of it.
#[track_caller]
fn meets(kind: &str, login: bool, replies: &[&[u8]], piece: usize) -> (Output, Vec<String>) {
    let (port, heard) = scripted(replies, piece);
    let proxy = format!("{kind}://127.0.0.1:{port}");
    let mut args = vec!["-w", "2", "--proxy", &proxy, "target.example", "80"];
    if login {
        args.extend(["--proxy-auth", "ann:secret"]);
    }
    let output = run(&args, "");
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    let requests = replies.iter().map(|_| heard.recv_timeout(DEADLINE).unwrap()).collect();
    (output, requests)
}

const BASIC: &[u8] = b"HTTP/1.0 407 Who\r\nProxy-Authenticate: Basic realm=\"r\"\r\n\r\n";
const DIGEST: &[u8] = b"HTTP/1.0 407 Who\r\n\
    Proxy-Authenticate: Basic realm=\"r\"\r\n\
    Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n\r\n";
const STALE: &[u8] = b"HTTP/1.0 407 Who\r\n\
    Proxy-Authenticate: Digest realm=\"r\", nonce=\"n2\", qop=\"auth\", stale=true\r\n\r\n";
const OK: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n";
const REPLY5: &[u8] = b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50";

#[test]
fn what_a_proxy_sends_behind_its_reply_is_the_targets() {
    let domain = [b"\x05\0\x05\0\0\x03\xff".as_slice(), &[b'n'; 257]].concat();
    let replies: &[(&str, &[u8])] = &[
        ("http", OK),
        ("http", b"HTTP/1.1 200\r\n\r\n"),
        ("http", b"HTTP/1.0 200 OK\nVia: x\n\n"),
        (
            "http",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        ("socks4", b"\0\x5a\0\x50\x7f\0\0\x01"),
        ("socks5", REPLY5),
        ("socks5", b"\x05\0\x05\0\0\x03\0\0\x50"),
        ("socks5", b"\x05\0\x05\0\0\x040123456789abcdef\0\x50"),
        ("socks5", b"\x05\0\x05\0\xff\x01\0\0\0\0\0\0"),
        ("socks5", &domain),
    ];
    // It looks like more of the same, and is not.
    let payload = b"\r\nHTTP/1.0 403 x\r\n\r\n\x05\0\0\x5a";
    for (kind, reply) in replies {
        for piece in [1, usize::MAX] {
            let (output, _) = meets(kind, false, &[&[reply, &payload[..]].concat()], piece);
            same(&output.expect_code(0).stdout, payload);
        }
        for end in 0..reply.len() {
            // Each byte of a long name would take its time, and teach nothing.
            if end > 60 && end + 5 < reply.len() {
                continue;
            }
            let (output, _) = meets(kind, false, &[&reply[..end]], usize::MAX);
            let output = output.expect_code(1).expect_stdout("");
            assert!(output.stderr.contains("hung up before"), "{}", output.stderr);
        }
    }
}

#[test]
fn a_proxy_that_refuses_or_babbles_is_told_of_in_words() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("http", b"HTTP/1.0 403 Forbidden\r\n\r\n", "403 Forbidden"),
        ("http", BASIC, "refused the connection: 407 Who\nhint: --proxy-auth"),
        ("http", b"HTTP/1.1 101 Switching\r\n\r\n", "101 Switching"),
        ("http", b"<html>It works!</html>", "HTTP/1"),
        ("http", b"SSH-2.0-x\r\n", "HTTP/1"),
        ("http", b"HTTP/1.\r\n\r\n", "HTTP/1"),
        ("http", b"HTTP/1.999999999999 200 OK\r\n\r\n", "HTTP/1"),
        ("http", b"HTTP/1.0 200 OK\r\nA: \0\r\n\r\n", "header fields"),
        ("http", b"HTTP/1.0 200 OK\r\nA: b\r\n c\r\n\r\n", "header fields"),
        ("http", b"HTTP/1.0 200 OK\r\nno colon\r\n\r\n", "header fields"),
        ("http", b"HTTP/1.0 403 \x1b[31mred\r\n\r\n", "\\x1b"),
        ("socks4", b"\0\x5b\0\0\0\0\0\0", "rejected"),
        ("socks4", b"\0\x5d\0\0\0\0\0\0", "user id"),
        ("socks4", b"HTTP/1.0 400 x\r\n\r\n", "SOCKS4"),
        ("socks5", b"\x05\xff", "method proposed\nhint: --proxy-auth"),
        ("socks5", b"\x05\x01", "ways offered"),
        ("socks5", b"\x05\x02", "ways offered"),
        ("socks5", b"\x04\0", "SOCKS5"),
        ("socks5", b"HTTP/1.0 400 x\r\n\r\n", "SOCKS5"),
        ("socks5", b"\x05\0\x04\0\0\x01", "SOCKS5"),
        ("socks5", b"\x05\0\x05\x05\0\x01\0\0\0\0\0\0", "refused"),
        ("socks5", b"\x05\0\x05\x99", "unassigned"),
        ("socks5", b"\x05\0\x05\0\0\x02\0\0\0\0\0\0", "type 1, 3 or 4"),
    ];
    for (kind, reply, words) in cases {
        for piece in [1, usize::MAX] {
            let (output, _) = meets(kind, false, &[reply], piece);
            let output = output.expect_code(1).expect_stdout("");
            assert!(output.stderr.contains(words), "no {words:?} in {}", output.stderr);
        }
    }
    let (output, _) = meets("socks5", true, &[b"\x05\x02\x01\x01"], 1);
    output.expect_code(1).expect_stderr("refused the login: 1 authentication failed\n");
    let (output, _) = meets("socks5", true, &[b"\x05\x02\x05\0"], 1);
    output.expect_code(1).expect_stderr("expected an answer to a login (RFC 1929)");
}

/// What the proxy says on each connection, how it ends, and the scheme of each login.
type Login<'a> = (&'a [&'a [u8]], &'a str, &'a [&'a str]);

#[test]
fn a_login_goes_to_who_asks_for_it_and_is_as_strong_as_it_may_be() {
    let refused = "refused the login: 407 Who\n";
    let none = b"HTTP/1.0 407 Who\r\n\r\n".as_slice();
    let unknown = b"HTTP/1.0 407 Who\r\nProxy-Authenticate: NTLM, Digest x\r\n\r\n".as_slice();
    let cases: &[Login] = &[
        (&[OK], "", &[""]),
        (&[BASIC, OK], "", &["", "Basic"]),
        (&[DIGEST, OK], "", &["", "Digest n1"]),
        // Only the nonce was too old, which was once taken for a refusal.
        (&[DIGEST, STALE, OK], "", &["", "Digest n1", "Digest n2"]),
        (&[DIGEST, STALE, STALE], refused, &["", "Digest n1", "Digest n2"]),
        (&[DIGEST, DIGEST], refused, &["", "Digest n1"]),
        (&[BASIC, BASIC], refused, &["", "Basic"]),
        (&[none], "does not offer a login by Digest or Basic", &[""]),
        (&[unknown], "does not offer a login by Digest or Basic", &[""]),
    ];
    for (replies, words, logins) in cases {
        let (output, requests) = meets("http", true, replies, 1);
        let output = output.expect_code(i32::from(!words.is_empty())).expect_stderr(words);
        let schemes: Vec<_> = requests
            .iter()
            .map(|request| match request.split_once("Proxy-Authorization: ") {
                Some((_, login)) if login.starts_with("Basic YW5uOnNlY3JldA==\r\n") => "Basic",
                Some((_, login)) if login.contains("nonce=\"n1\"") => "Digest n1",
                Some((_, login)) if login.contains("nonce=\"n2\"") => "Digest n2",
                Some((_, login)) => login,
                None => "",
            })
            .collect();
        assert_eq!(&schemes, logins, "{}", output.stderr);
    }
}

#[test]
fn a_proxy_that_never_ends_or_never_answers_is_given_up() {
    let endless = [
        [b"HTTP/1.0 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(1 << 20)].concat(),
        [b"HTTP/1.0 200 ".as_slice(), &b"x".repeat(1 << 20)].concat(),
        b"HTTP/1.0 100 Go\r\n\r\n".repeat(1 << 20),
    ];
    for reply in endless {
        let (output, _) = meets("http", false, &[&reply], usize::MAX);
        output.expect_code(1).expect_stdout("").expect_stderr("KiB");
    }
    for kind in ["http", "socks4", "socks5"] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("{kind}://{}", silent.local_addr().unwrap());
        let output = run(&["-w", "300ms", "--proxy", &proxy, "target.example", "80"], "");
        output.expect_code(1).expect_stderr("is not done after 0.3 s");
    }
}
