//! Proxies, from both ends.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use tool::{DEADLINE, run, serving};

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
fn the_own_port_and_dead_targets_are_refused() {
    let (_proxy, port) = serving(&["--proxy-type", "http"]);
    let own = asked(port, &format!("GET http://127.0.0.1:{port}/ HTTP/1.0\r\n\r\n"));
    assert!(own.starts_with("HTTP/1.0 403"), "{own:?}");
    let dead = asked(port, &format!("CONNECT 127.0.0.1:{} HTTP/1.0\r\n\r\n", tool::free_port()));
    assert!(dead.starts_with("HTTP/1.0 504"), "{dead:?}");
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
