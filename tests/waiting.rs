//! Waiting for a port, and for what is said there: `--quit-on`, `-z --expect`, `--retry`.

mod tool;

use std::io::{Read, Write};
use std::net::TcpListener;
use tool::{free_port, have, ncat, run, shell};

/// Somebody who says this to each who calls, and then listens until the caller has gone.
fn saying(texts: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for text in texts {
            let mut caller = tool::accept(&listener);
            let _ = caller.write_all(text.as_bytes());
            if !text.is_empty() {
                let _ = caller.read_to_end(&mut Vec::new());
            }
        }
    });
    port
}

#[test]
fn it_is_over_when_it_has_been_said() {
    let port = saying(&["220-hello\r\n220 ready\r\n"; 3]).to_string();
    for options in [&[][..], &["-C"], &["-t"]] {
        let call = [options, &["--quit-on", "^220 ", "127.0.0.1", &port]].concat();
        // Input that does not end: it is not waited for.
        let running = ncat(&call);
        let output = running.wait().expect_code(0);
        assert_eq!(output.text(), "220-hello\r\n220 ready\r\n");
    }
}

#[test]
fn a_dialogue_ends_with_the_farewell_that_is_waited_for() {
    let (server, port) = tool::serving(&["--smtp"]);
    let call = ["-C", "--quit-on", "^221 ", "127.0.0.1", &port.to_string()];
    let output = run(&call, "EHLO x\nQUIT\n").expect_code(0);
    assert!(
        output.text().starts_with("220 ") && output.text().contains("\r\n221 "),
        "{}",
        output.text()
    );
    server.finish().expect_code(0);
}

#[test]
fn what_is_never_said_is_exit_status_7() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let running = ncat(&["--quit-on", "welcome", "127.0.0.1", &port]);
    tool::accept(&listener).write_all(b"go away\n").unwrap();
    let output = running.finish().expect_code(7).expect_stdout("go away\n");
    assert!(output.stderr.contains("what --quit-on waits for was not said"), "{}", output.stderr);
    for (options, why) in [
        (&["--quit-on", "(", "h", "1"][..], "no regular expression"),
        (&["--quit-on", "x", "-z", "h", "1"], "--quit-on and -z"),
        (&["--quit-on", "x", "-lk", "1"], "--quit-on and -k"),
        (&["--quit-on", "x", "--smtp", "h"], "--quit-on and a mail helper"),
    ] {
        run(options, "").expect_code(2).expect_stderr(why);
    }
}

#[test]
fn a_listener_waits_for_its_caller_to_say_it() {
    let (server, port) = tool::serving(&["--quit-on", "^bye"]);
    let mut caller = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.write_all(b"hello\nbye now\n").unwrap();
    server.wait().expect_code(0).expect_stdout("hello\nbye now\n");
}

#[test]
fn a_probe_looks_at_the_banner_and_shows_nothing() {
    let port = saying(&["220 ready\r\n", "421 busy\r\n"]).to_string();
    let ask = ["-z", "--expect", "^220 ", "127.0.0.1", &port];
    run(&ask, "").expect_code(0).expect_stdout("");
    let output = run(&[&["-i", "300ms"], &ask[..]].concat(), "");
    assert_ne!(output.code(), 0);
    assert_eq!(output.text(), "");
}

#[test]
fn a_probe_goes_on_until_the_banner_is_right() {
    // Nobody speaks, then somebody who is busy, then it is there.
    let port = saying(&["", "421 busy\r\n", "220 ready\r\n"]).to_string();
    let ask =
        ["-v", "-i", "300ms", "-z", "--retry", "5:10ms", "--expect", "^220 ", "127.0.0.1", &port];
    let output = run(&ask, "").expect_code(0);
    assert!(output.stderr.contains("(2 of 5)"), "{}", output.stderr);
    let port = saying(&["", "hello\r\n220 ready\r\n"]).to_string();
    let call = ["--retry", "5:10ms", "--quit-on", "^220", "127.0.0.1", &port];
    run(&call, "").expect_code(0).expect_stdout("hello\r\n220 ready\r\n");
}

#[test]
fn a_port_is_waited_for() {
    if !have("ncat") {
        return;
    }
    let port = free_port().to_string();
    let waiting = ncat(&["-v", "-z", "--retry", "500:20ms", "127.0.0.1", &port]);
    waiting.wait_stderr("trying again");
    let _server = shell(&format!("/usr/bin/ncat -l 127.0.0.1 {port}"));
    waiting.wait().expect_code(0);
}
