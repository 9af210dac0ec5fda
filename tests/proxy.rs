//! Proxies, from both ends.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use tool::{DEADLINE, Running, ncat, run};

fn serving(options: &[&str]) -> (Running, u16) {
    let running = ncat(&[&["-v", "-l"], options, &["127.0.0.1", "0"]].concat());
    let port = running.port();
    (running, port)
}

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
