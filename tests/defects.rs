//! The defects of other netcats that ours must not have: one test for each row of the table in
//! the hardening specification, named after it. D10 and D11 are about TLS: see `tls.rs`.

mod tool;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::{
    DEADLINE, NCAT, Running, arg, dir, file_in, have, ncat, now, on_terminal, run, shell, spawn,
    start, wait_until,
};

/// A listener, and its port as an argument.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

/// The next caller; neither its reads nor its writes wait for ever.
#[track_caller]
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut caller = None;
    wait_until("a call", || {
        caller = listener.accept().ok();
        caller.is_some()
    });
    patient(caller.unwrap().0)
}

#[track_caller]
fn call(running: &Running) -> TcpStream {
    patient(TcpStream::connect(("127.0.0.1", running.port())).unwrap())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[track_caller]
fn rest(mut from: impl Read) -> String {
    let mut got = Vec::new();
    from.read_to_end(&mut got).unwrap_or_else(|e| panic!("after {} bytes: {e}", got.len()));
    String::from_utf8(got).unwrap()
}

/// Ours behind these redirections, called and calling, and the other end of each.
fn both_roles(options: &str, redirections: &str) -> [(Running, TcpStream); 2] {
    let (listener, port) = listener();
    let line = |place: &str| format!("exec \"$NCAT\" {options} {place} {redirections}");
    let calling = shell(&line(&format!("127.0.0.1 {port}")));
    let peer = accept(&listener);
    // With standard error closed a file has to tell the port.
    let dir = dir();
    let file = dir.path().join("port");
    let place = format!("-l --port-file {} 127.0.0.1 0", arg(&file));
    let called = shell(&line(&place));
    wait_until("the port file", || file.exists());
    let port: u16 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let caller = patient(TcpStream::connect(("127.0.0.1", port)).unwrap());
    [(calling, peer), (called, caller)]
}

#[test]
fn d1_with_standard_output_closed_nothing_comes_back_to_the_peer_and_it_is_an_error() {
    for (mut running, mut peer) in both_roles("", ">&-") {
        running.send("from stdin");
        let mut got = [0; 10];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"from stdin");
        peer.write_all(b"from peer").unwrap();
        assert_eq!(rest(&peer), "");
        let output = running.wait().expect_code(2).expect_stdout("");
        output.expect_stderr("cannot write standard output: it is closed");
    }
    for (running, mut peer) in both_roles("--recv-only", ">&-") {
        peer.write_all(b"from peer").unwrap();
        assert_eq!(rest(&peer), "");
        running.wait().expect_code(2);
    }
}

#[test]
fn d2_with_standard_input_closed_the_peer_sees_an_end_and_nothing_of_its_own() {
    for (running, mut peer) in both_roles("", "<&-") {
        peer.write_all(b"from peer").unwrap();
        running.wait_stdout("from peer");
        assert_eq!(rest(&peer), "");
        drop(peer);
        let output = running.wait().expect_code(0).expect_stdout("from peer");
        assert_eq!(output.stderr, "");
    }
}

#[test]
fn d3_with_standard_error_closed_no_word_of_the_story_gets_into_a_stream() {
    for redirections in ["2>&-", "<&- 2>&-", ">&- 2>&-"] {
        for (running, mut peer) in both_roles("-vv", redirections) {
            peer.write_all(b"from peer").unwrap();
            if !redirections.contains(">&- 2") {
                running.wait_stdout("from peer");
            }
            let closed = redirections.starts_with("<&-");
            let mut running = running;
            running.end_input();
            let got = rest(&peer);
            assert_eq!(got, "", "{redirections} {closed}");
            drop(peer);
            let output = running.wait();
            let expected = if redirections.contains(">&- 2") { "" } else { "from peer" };
            assert_eq!(output.text(), expected, "{redirections}");
            assert_eq!(output.stderr, "");
        }
    }
}

#[test]
fn d4_a_full_disk_is_an_error_that_says_where() {
    for (running, mut peer) in both_roles("", ">/dev/full") {
        peer.write_all(b"from peer").unwrap();
        let output = running.wait().expect_code(2);
        assert_eq!(output.stderr, "ncat: cannot write standard output: no space left on device\n");
    }
}

#[test]
fn d5_a_reader_who_has_seen_enough_is_a_quiet_end() {
    let (listener, port) = listener();
    let line = format!("\"$NCAT\" 127.0.0.1 {port} | head -c1; echo \" ${{PIPESTATUS[0]}}\"");
    let calling = shell(&line);
    let mut peer = accept(&listener);
    while peer.write_all(&[b'x'; 100_000]).is_ok() {}
    let output = calling.wait().expect_code(0).expect_stdout("x 0\n");
    assert_eq!(output.stderr, "");
    let line = "\"$NCAT\" -v -l 127.0.0.1 0 | head -c1; echo \" ${PIPESTATUS[0]}\"";
    let called = shell(line);
    let mut caller = call(&called);
    while caller.write_all(&[b'x'; 100_000]).is_ok() {}
    called.wait().expect_code(0).expect_stdout("x 0\n");
}

#[test]
fn d6_with_twelve_descriptors_and_twenty_callers_it_waits_instead_of_spinning() {
    let mut running = shell("ulimit -n 12; exec \"$NCAT\" -v -lk 127.0.0.1 0");
    let mut callers: Vec<_> = (0..20).map(|_| call(&running)).collect();
    running.wait_stderr("cannot accept more callers");
    // Whoever is in is served as ever.
    running.send("hello");
    let mut got = [0; 5];
    callers[0].read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
        let words: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
    };
    let (before, start) = (ticks(), now());
    wait_until("a second", || start.elapsed() > Duration::from_secs(1));
    let spent = ticks() - before;
    assert!(spent < 20, "{spent}0 ms of processor time in a second of waiting");
    // Everybody gets a turn as somebody leaves.
    for (i, mut caller) in callers.into_iter().enumerate() {
        write!(caller, "from {i}.").unwrap();
        running.wait_stdout(&format!("from {i}."));
    }
    running.signal("TERM");
    running.wait().expect_code(143);
}

#[test]
fn d12_a_terminal_sees_no_escape_sequence_of_the_peer_and_a_pipe_sees_them_all() {
    // OSC 52 (clipboard), a title, a cleared screen, a question that the terminal would answer,
    // the same in C1, and a colour.
    let hostile =
        "a\x1b]52;c;eA==\x07b\x1b]0;root#\x07c\x1b[2Jd\x1b[ce\u{9b}2Jf\x1b[31mred\x1b[0m.";
    let (listener, port) = listener();
    let (running, _terminal) = on_terminal(&["127.0.0.1", &port]);
    let mut peer = accept(&listener);
    peer.write_all(hostile.as_bytes()).unwrap();
    peer.write_all(b"THE END").unwrap();
    running.wait_stdout("THE END");
    let seen = String::from_utf8(running.stdout()).unwrap();
    for wrong in ["\x1b]", "\x1b[2J", "\x1b[c", "\u{9b}", "\x07"] {
        assert!(!seen.contains(wrong), "{wrong:?} in {seen:?}");
    }
    assert!(seen.contains("52;c;eA=="), "the text of a sequence is shown: {seen:?}");
    drop(peer);
    running.wait().expect_code(0);

    let mut running = ncat(&["127.0.0.1", &port]);
    running.end_input();
    let mut peer = accept(&listener);
    peer.write_all(hostile.as_bytes()).unwrap();
    drop(peer);
    running.wait().expect_code(0).expect_stdout(hostile);
}

#[test]
fn d13_a_reply_survives_a_request_that_nobody_reads() {
    const REPLY: &str = "HTTP/1.0 200 OK\r\n\r\nthe reply\n";
    let body = vec![b'x'; 200_000];
    for options in [&["--send-only"][..], &["-k", "--send-only"]] {
        for round in 0..20 {
            for body in [&body[..], b""] {
                let mut running = ncat(&[options, &["-v", "-l", "127.0.0.1", "0"]].concat());
                running.send_all(REPLY);
                let mut caller = call(&running);
                let mut twin = caller.try_clone().unwrap();
                let sent = body.to_vec();
                // It need not take the whole request.
                let sender = std::thread::spawn(move || {
                    let _ = twin.write_all(b"POST / HTTP/1.0\r\n\r\n");
                    let _ = twin.write_all(&sent);
                });
                let mut got = String::new();
                let end = caller.read_to_string(&mut got);
                assert!(end.is_ok(), "round {round}, {} bytes: {end:?}", body.len());
                assert_eq!(got, REPLY, "round {round}, {} bytes", body.len());
                drop(caller);
                sender.join().unwrap();
                running.wait().expect_code(0).expect_stdout("");
            }
        }
    }
}

#[test]
fn d13_curl_gets_the_reply_to_a_request_that_nobody_reads() {
    if !have("curl") {
        return;
    }
    let dir = dir();
    let body = file_in(&dir, "body", vec![b'x'; 200_000]);
    let data = format!("@{}", arg(&body));
    for words in [&["--data-binary", &data][..], &[]] {
        for _ in 0..10 {
            let mut running = ncat(&["-v", "--send-only", "-l", "127.0.0.1", "0"]);
            running.send_all("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe reply\n");
            let url = format!("http://127.0.0.1:{}/", running.port());
            let quiet = ["-sS", "--noproxy", "*", "-m", "20", &url];
            let curl = start("curl", &[&quiet, words].concat());
            curl.wait().expect_code(0).expect_stdout("the reply\n");
            running.wait().expect_code(0).expect_stdout("");
        }
    }
}

#[test]
fn d15_a_number_is_an_address_like_any_other() {
    let (listener, port) = listener();
    // 2130706433 is 127.0.0.1, as every other program that resolves names has it.
    let output = run(&["-z", "2130706433", &port], "").expect_code(0).expect_stdout("");
    assert_eq!(output.stderr, "");
    assert_eq!(rest(accept(&listener)), "");
    drop(listener);
    run(&["-v", "-z", "2130706433", &port], "").expect_code(1).expect_stderr("connection refused");
}

#[test]
fn d1_to_d5_hold_for_a_room_of_callers_too() {
    let room = |redirections: &str| {
        let dir = dir();
        let file = dir.path().join("port");
        let words = format!("-vlk --port-file {} 127.0.0.1 0", arg(&file));
        let running = shell(&format!("exec \"$NCAT\" {words} {redirections}"));
        wait_until("the port file", || file.exists());
        let port: u16 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        (running, patient(TcpStream::connect(("127.0.0.1", port)).unwrap()))
    };
    let (running, mut caller) = room(">&-");
    caller.write_all(b"from peer").unwrap();
    assert_eq!(rest(&caller), "");
    running.wait().expect_code(2);

    let (running, mut caller) = room("<&- 2>&-");
    caller.write_all(b"from peer").unwrap();
    assert_eq!(rest(&caller), "");
    running.wait_stdout("from peer");
    running.signal("TERM");
    let output = running.wait().expect_code(143).expect_stdout("from peer");
    assert_eq!(output.stderr, "");

    let (running, mut caller) = room(">/dev/full");
    caller.write_all(b"from peer").unwrap();
    running.wait().expect_code(2).expect_stderr("no space left on device");

    let (running, mut caller) = room("| head -c1");
    while caller.write_all(&[b'x'; 100_000]).is_ok() {}
    running.wait().expect_code(0).expect_stdout("x");
}

#[test]
fn the_streams_of_a_script_are_left_as_they_were() {
    // What comes behind ncat in a script reads and writes on as if it had not been there.
    let dir = dir();
    let (listener, port) = listener();
    let input = file_in(&dir, "input", "for ncat\n");
    let output = dir.path().join("output");
    let line = format!(
        "{{ echo before; \"$NCAT\" 127.0.0.1 {port}; echo \"behind: $?\"; cat; }} <{} >{}",
        arg(&input),
        arg(&output)
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]).env("NCAT", NCAT);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = spawn(command);
    let mut peer = accept(&listener);
    assert_eq!(rest(&peer), "for ncat\n");
    peer.write_all(b"from peer\n").unwrap();
    drop(peer);
    running.wait().expect_code(0);
    assert_eq!(rest(File::open(output).unwrap()), "before\nfrom peer\nbehind: 0\n");
}
