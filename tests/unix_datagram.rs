//! `-U -u`: datagrams through socket files, and what becomes of the files.

mod tool;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use tool::{DEADLINE, NCAT, Running, arg, dir, have, ncat, noise, same, start_command, wait_until};

/// A server of ours at `s` in this directory, and the path.
fn server(dir: &tempfile::TempDir, more: &[&str]) -> (Running, PathBuf) {
    let path = dir.path().join("s");
    let server = ncat(&[&["-v", "-l", "-U", "-u"], more, &[arg(&path)]].concat());
    server.wait_stderr("Listening on");
    (server, path)
}

/// A caller of ours whose own socket files go into this directory.
fn call(dir: &tempfile::TempDir, path: &Path, more: &[&str]) -> Running {
    let mut command = Command::new(NCAT);
    command.args(["-U", "-u"]).args(more).arg(path).env("TMPDIR", dir.path());
    start_command(command)
}

/// The names in a directory, in order.
fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A socket of the test's own.
fn bound(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

#[test]
fn both_sides_hear_each_other_and_leave_no_file() {
    for source in [None, Some("mine")] {
        let dir = dir();
        let (mut server, path) = server(&dir, &[]);
        let own = dir.path().join("mine");
        let more = source.map(|_| ["-s", arg(&own)]);
        let mut caller = call(&dir, &path, more.as_ref().map_or(&[], |more| more));
        let own = format!("ncat.{}", caller.id());
        let mut heard = 0;
        for len in [1, 8193, 65_507] {
            let words = noise(len);
            heard += len;
            caller.send(&words);
            server.wait_stdout_bytes(heard);
            same(&server.stdout()[heard - len..], &words);
            server.send(&words);
            caller.wait_stdout_bytes(heard);
            same(&caller.stdout()[heard - len..], &words);
        }
        assert_eq!(names(&dir), [source.unwrap_or(&own), "s"]);
        caller.finish().expect_code(0);
        assert_eq!(names(&dir), ["s"]);
        server.signal("TERM");
        server.wait().expect_code(143);
        assert_eq!(names(&dir), [""; 0]);
    }
}

#[test]
fn a_callers_file_goes_with_it_however_it_ends() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let dir = dir();
        let (server, path) = server(&dir, &[]);
        let mut caller = call(&dir, &path, &[]);
        caller.send("here");
        server.wait_stdout("here");
        caller.signal(signal);
        caller.wait().expect_code(code);
        assert_eq!(names(&dir), ["s"]);
    }
    // Silence, nobody there, nobody there any more.
    // A peer that is a process: a socket of the test's own lives on in what other tests start.
    let (dir, own) = (dir(), tool::dir());
    let (peer, path) = server(&dir, &[]);
    call(&own, &path, &["-i", "50ms"]).wait().expect_code(1).expect_stderr("idle timeout");
    assert_eq!(names(&own), [""; 0]);
    let mut caller = call(&own, &path, &[]);
    caller.send("here");
    peer.wait_stdout("here");
    peer.signal("KILL");
    peer.wait().expect_code(137);
    caller.send("still there?");
    caller.wait().expect_code(1).expect_stderr("lost the connection");
    assert_eq!(names(&own), [""; 0]);
    call(&own, &path, &[]).wait().expect_code(1).expect_stderr("connection refused");
    std::fs::remove_file(&path).unwrap();
    call(&own, &path, &[]).wait().expect_code(1).expect_stderr("no such file");
    assert_eq!(names(&own), [""; 0]);
}

#[test]
fn a_file_that_is_there_is_not_taken_for_our_own() {
    let dir = dir();
    let (mut server, path) = server(&dir, &[]);
    let other = tool::file_in(&dir, "mine", "precious");
    let caller = call(&dir, &path, &["-s", arg(&other)]);
    caller.wait().expect_code(1).expect_stderr("address already in use");
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
    assert!(!server.has_ended());
}

#[test]
fn a_stale_file_is_replaced_and_a_busy_one_is_not() {
    let dir = dir();
    let (killed, path) = server(&dir, &[]);
    killed.signal("KILL");
    killed.wait().expect_code(137);
    assert!(path.exists());
    let (server, _) = server(&dir, &[]);
    let own = dir.path().join("mine");
    bound(&own).send_to(b"here", &path).unwrap();
    server.wait_stdout("here");
    server.signal("TERM");
    server.wait().expect_code(143);
    assert!(!path.exists());
    let refused = || {
        let output = ncat(&["-l", "-U", "-u", arg(&path)]).finish().expect_code(2);
        output.expect_stderr("address already in use");
        assert!(path.exists());
    };
    let busy = bound(&path);
    refused();
    drop(busy);
    std::fs::remove_file(&path).unwrap();
    let stream = UnixListener::bind(&path).unwrap();
    refused();
    drop(stream);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    refused();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn peers_without_a_name_are_heard() {
    // ncat wants a name of its peer, and dies if that is gone already.
    for more in [&[][..], &["-k"]] {
        let dir = dir();
        let (mut server, path) = server(&dir, more);
        let peer = UnixDatagram::unbound().unwrap();
        server.send("nobody gets this");
        for words in ["", "one", "", "two"] {
            peer.send_to(words.as_bytes(), &path).unwrap();
        }
        server.wait_stdout("onetwo");
        UnixDatagram::unbound().unwrap().send_to(b"three", &path).unwrap();
        server.wait_stdout("onetwothree");
        assert!(!server.has_ended());
    }
}

#[test]
fn a_peer_that_has_gone_is_heard() {
    let dir = dir();
    let (mut server, path) = server(&dir, &[]);
    server.signal("STOP");
    let stopped = format!("/proc/{}/stat", server.id());
    wait_until("it stands still", || std::fs::read_to_string(&stopped).unwrap().contains(") T "));
    let own = dir.path().join("mine");
    let peer = bound(&own);
    peer.send_to(b"last words", &path).unwrap();
    drop(peer);
    std::fs::remove_file(&own).unwrap();
    server.signal("CONT");
    server.wait_stdout("last words");
    UnixDatagram::unbound().unwrap().send_to(b", and more", &path).unwrap();
    server.wait_stdout("last words, and more");
    assert!(!server.has_ended());
}

#[test]
fn a_command_answers_a_peer_with_a_name() {
    let dir = dir();
    let (server, path) = server(&dir, &["-c", "tr a-z A-Z"]);
    let mut caller = call(&dir, &path, &["-q", "20"]);
    // tr(1) answers when its input ends or its buffer is full.
    caller.send("x".repeat(1 << 15));
    caller.wait_stdout("XXXX");
    drop(server);
}

#[test]
fn other_programs_are_called_and_served() {
    for (program, listen, connect) in [
        ("socat", "-u UNIX-RECV:PATH -", "- UNIX-SENDTO:PATH,bind=PATH.socat"),
        ("socat", "- UNIX-RECV:PATH", "-u - UNIX-SENDTO:PATH"),
        ("ncat", "-l -U -u PATH", "-U -u -s PATH.ncat PATH"),
        ("nc", "-l -U -u PATH", "-U -u -s PATH.nc PATH"),
    ] {
        if !have(program) {
            continue;
        }
        let theirs = |line: &str, path: &Path| {
            let line = line.replace("PATH", arg(path));
            tool::start(program, &line.split(' ').collect::<Vec<_>>())
        };
        let dir = dir();
        let (ours, path) = server(&dir, &[]);
        talk(theirs(connect, &path), ours, !connect.starts_with("-u"));
        let path = dir.path().join("theirs");
        let server = theirs(listen, &path);
        wait_until("their socket", || path.exists());
        talk(call(&dir, &path, &[]), server, program != "socat");
    }
}

/// The server hears the caller, and is heard if it can answer.
fn talk(mut caller: Running, mut server: Running, answers: bool) {
    for n in 0..3 {
        caller.send(format!("question {n}\n"));
        server.wait_stdout(&format!("question {n}\n"));
        if answers {
            server.send(format!("answer {n}\n"));
            caller.wait_stdout(&format!("answer {n}\n"));
        }
    }
}

#[test]
fn a_datagram_that_is_too_long_is_an_error_and_is_not_cut() {
    let dir = tool::dir();
    let (server, path) = server(&dir, &[]);
    let caller = UnixDatagram::unbound().unwrap();
    caller.send_to(&vec![b'x'; 65_536], &path).unwrap();
    server.wait_stdout_bytes(65_536);
    caller.send_to(&vec![b'y'; 65_537], &path).unwrap();
    let output = server.wait().expect_code(1).expect_stderr("a datagram of 65537 bytes came");
    assert_eq!(output.stdout.len(), 65_536);
}
