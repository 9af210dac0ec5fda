//! `--accept-proxy`: mock mail servers behind a proxy that says who calls (HAProxy's PROXY).

mod tool;

use std::io::{Read, Write};
use std::net::TcpStream;
use tool::{arg, certified, dir, have, run, run_other, serving};

const MAIL: &str = "Subject: hi\r\n\r\nhello\r\n";

fn caller(port: u16) -> TcpStream {
    let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(tool::DEADLINE)).unwrap();
    caller
}

#[test]
fn a_message_is_received_from_whom_the_proxy_names() {
    let header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x12\x34\x00\x19";
    for introduction in [&b"PROXY TCP4 192.0.2.1 127.0.0.1 4660 25\r\n"[..], header] {
        let (server, port) = serving(&["--smtp", "--accept-proxy"]);
        let mut caller = caller(port);
        // Byte by byte, and the first command behind it in one piece with its end.
        for byte in &introduction[..introduction.len() - 1] {
            caller.write_all(&[*byte]).unwrap();
        }
        let end = &introduction[introduction.len() - 1..];
        let talk = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
        caller.write_all(&[end, talk.as_bytes()].concat()).unwrap();
        caller.write_all(format!("{MAIL}.\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        caller.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("220 ") && said.contains("\r\n250 2.0.0 Ok"), "{said}");
        let output = server.finish().expect_code(0);
        assert!(output.text().contains("Received: from x ([192.0.2.1])"), "{}", output.text());
        assert!(output.stderr.contains("speaks for 192.0.2.1:4660"), "{}", output.stderr);
    }
}

#[test]
fn a_proxy_that_knows_nobody_counts_as_the_caller() {
    let (server, port) = serving(&["--smtp", "--accept-proxy"]);
    let mut caller = caller(port);
    let talk =
        "PROXY UNKNOWN\r\nEHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nQUIT\r\n";
    caller.write_all(talk.as_bytes()).unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).unwrap();
    let output = server.finish().expect_code(0);
    assert!(output.text().contains("Received: from x ([127.0.0.1])"), "{}", output.text());
}

#[test]
fn the_header_comes_before_tls_and_for_every_protocol() {
    let dir = dir();
    certified(&dir);
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let tls = ["--ssl", "--ssl-cert", arg(&cert), "--ssl-key", arg(&key)];
    let box_dir = dir.path().join("box");
    for protocol in ["--smtp", "--pop3", "--imap"] {
        for version in ["v1", "v2"] {
            let mut options = vec![protocol, "--accept-proxy"];
            if protocol != "--smtp" {
                options.extend(["--mailbox", arg(&box_dir)]);
            }
            options.extend(tls);
            let (server, port) = serving(&options);
            let (quit, greeting) = match protocol {
                "--smtp" => ("QUIT\r\n", "220 "),
                "--pop3" => ("QUIT\r\n", "+OK "),
                _ => ("a LOGOUT\r\n", "* OK "),
            };
            let port = port.to_string();
            let call = ["--ssl", "--ssl-trustfile", arg(&cert), "--proxy-protocol", version];
            let output = run(&[&call[..], &["localhost", &port]].concat(), quit).expect_code(0);
            assert!(output.text().starts_with(greeting), "{protocol} {}", output.text());
            server.finish().expect_code(0).expect_stderr("speaks for 127.0.0.1:");
        }
    }
}

#[test]
fn without_a_header_nothing_is_said() {
    for said in [&b"EHLO x\r\n"[..], b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01", b""] {
        let (server, port) = serving(&["--smtp", "--accept-proxy"]);
        let mut caller = caller(port);
        caller.write_all(said).unwrap();
        caller.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"", "{}", said.escape_ascii());
        server.finish().expect_code(0).expect_stderr("no PROXY header");
    }
    run(&["-l", "--accept-proxy", "0"], "")
        .expect_code(2)
        .expect_stderr("--accept-proxy goes with");
}

#[test]
fn curl_and_swaks_introduce_themselves() {
    if have("curl") {
        let (server, port) = serving(&["--smtp", "--accept-proxy"]);
        let url = format!("smtp://127.0.0.1:{port}");
        let options =
            ["-sS", "--haproxy-protocol", "--mail-from", "a@b", "--mail-rcpt", "c@d", "-T", "-"];
        assert_eq!(run_other("curl", &[&options[..], &[&url]].concat(), MAIL).code(), 0);
        server.finish().expect_code(0).expect_stderr("speaks for 127.0.0.1:");
    }
    if have("swaks") {
        for (version, family) in [("1", "TCP4"), ("2", "AF_INET")] {
            let (server, port) = serving(&["--smtp", "--accept-proxy"]);
            let (server_at, port) = (format!("127.0.0.1:{port}"), port.to_string());
            let proxy = [
                "--proxy-version",
                version,
                "--proxy-family",
                family,
                "--proxy-source",
                "192.0.2.7",
                "--proxy-source-port",
                "1025",
                "--proxy-dest",
                "127.0.0.1",
                "--proxy-dest-port",
                &port,
                "--proxy-protocol",
                "STREAM",
            ];
            let mail = ["--server", &server_at, "--from", "a@b", "--to", "c@d"];
            let sent = run_other("swaks", &[&mail[..], &proxy].concat(), "");
            assert_eq!(sent.code(), 0, "{} {}", sent.text(), sent.stderr);
            let output = server.finish().expect_code(0);
            assert!(output.text().contains("([192.0.2.7])"), "{}", output.text());
        }
    }
}
