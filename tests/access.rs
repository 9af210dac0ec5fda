//! Who may call: `--allow`, `--deny` and their files, at the door of every kind of server.

mod tool;

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use tool::{DEADLINE, Running, arg, dir, file_in, ncat, run, wait_until};

/// Calls from one address to another; neither end of it waits for ever.
#[track_caller]
fn call(from: &str, to: &str, port: u16) -> TcpStream {
    let address = |host: &str, port| SocketAddr::new(host.parse().unwrap(), port);
    let to = address(to, port);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&address(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let caller = TcpStream::from(socket);
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller
}

/// Everything until the connection is closed; a reset is no close.
#[track_caller]
fn rest(mut caller: impl Read) -> String {
    let mut got = String::new();
    caller.read_to_string(&mut got).unwrap_or_else(|e| panic!("after {got:?}: {e}"));
    got
}

fn server(options: &[&str]) -> Running {
    ncat(&[&["-v", "-l"], options].concat())
}

fn descriptors(running: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count()
}

const DENIED: &str = "New connection denied: not allowed; it was 127.0.0.2:";
const READ_AGAIN: &str = "the access lists have been read again";

#[test]
fn the_lists_decide_who_is_served() {
    let dir = dir();
    let file = |name, text| arg(&file_in(&dir, name, text)).to_owned();
    let three = file("three", "127.0.0.3\n");
    let ranges = file("ranges", "127.0.0.2,4-5\t192.0.2.0/24\n\n ::1 localhost\n");
    let nobody = file("nobody", "\n");
    // Options, who is served, who is not: the last part of an IPv4 address, or IPv6.
    let table: &[(&[&str], &str, &str)] = &[
        (&["--allow", "127.0.0.1"], "1", "2 ::1"),
        (&["--deny", "127.0.0.2"], "1 ::1", "2"),
        // Deny wins, whichever comes first and however many allow.
        (&["--allow", "127.0.0.0/8", "--deny", "127.0.0.2"], "1", "2 ::1"),
        (&["--deny", "127.0.0.2", "--allow", "127.0.0.2", "--allow", "127.0.0.1"], "1", "2"),
        (&["--allowfile", &three, "--denyfile", &three], "", "1 3"),
        // Several in one option, several options, options and files.
        (&["--allow", "127.0.0.1,127.0.0.3"], "1 3", "2"),
        (&["--allow", "127.0.0.1", "--allow", "::1"], "1 ::1", "2"),
        (&["--allow", "127.0.0.1", "--allowfile", &three], "1 3", "2"),
        (&["--allowfile", &three, "--allowfile", &ranges], "1 2 3 4 5 ::1", "6"),
        (&["--denyfile", &three, "--denyfile", &ranges], "6", "1 2 3 4 5 ::1"),
        (&["--allowfile", &nobody], "", "1 ::1"),
        // Ranges, prefixes, names.
        (&["--allow", "127.0.0.2-3"], "2 3", "1 4"),
        (&["--allow", "127.0.0.4/31"], "4 5", "3 6"),
        (&["--allow", "localhost"], "1", "2"),
        (&["--deny", "localhost"], "2", "1"),
        // A family says nothing about the other.
        (&["--allow", "::1"], "::1", "1"),
        (&["--allow", "::/0"], "::1", "1"),
        (&["--deny", "::/0"], "1", "::1"),
        (&["--deny", "0.0.0.0/0"], "::1", "1"),
        (&["--allow", "::2"], "", "::1"),
    ];
    for (options, served, denied) in table {
        let server = server(&[&["-k", "-c", "echo served", "0"], *options].concat());
        let port = server.port();
        for (callers, expected) in [(served, "served\n"), (denied, "")] {
            for caller in callers.split(' ').filter(|caller| !caller.is_empty()) {
                let from =
                    if caller == "::1" { "::1".to_owned() } else { format!("127.0.0.{caller}") };
                let to = if caller == "::1" { "::1" } else { "127.0.0.1" };
                assert_eq!(rest(call(&from, to, port)), expected, "{options:?}: {from}");
            }
        }
    }
}

#[test]
fn a_mapped_address_is_no_way_around_a_list() {
    for (options, heard) in [
        (["--deny", "127.0.0.1"], ""),
        (["--allow", "127.0.0.1"], "served\n"),
        (["--deny", "::/0"], "served\n"),
    ] {
        let server = server(&["-k", "-c", "echo served", "0", options[0], options[1]]);
        let caller = call("::ffff:127.0.0.1", "::ffff:127.0.0.1", server.port());
        assert_eq!(rest(caller), heard, "{options:?}");
    }
}

#[test]
fn one_caller_who_may_not_is_let_go_and_that_is_all() {
    for more in [&[][..], &["-c", "echo served"], &["--ssl"]] {
        for verbose in [&[][..], &["-v"]] {
            let dir = dir();
            let file = dir.path().join("port");
            let place = ["-l", "--port-file", arg(&file), "127.0.0.1", "0"];
            let server = ncat(&[&place[..], &["--deny", "127.0.0.2"], more, verbose].concat());
            wait_until("the port", || file.exists());
            let port = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
            assert_eq!(rest(call("127.0.0.2", "127.0.0.1", port)), "");
            let output = server.wait().expect_code(0).expect_stdout("");
            match verbose {
                [] => assert_eq!(output.stderr, ""),
                _ => drop(output.expect_stderr(DENIED)),
            }
        }
    }
}

#[test]
fn every_kind_of_server_turns_one_away_and_serves_the_next() {
    let kinds: &[&[&str]] = &[
        &["-k"],
        &["-k", "-c", "cat"],
        &["-k", "--ssl"],
        &["--broker"],
        &["--chat"],
        &["--proxy-type", "http"],
        &["--proxy-type", "socks5"],
    ];
    for kind in kinds {
        let server = server(&[kind, &["--deny", "127.0.0.2", "127.0.0.1", "0"][..]].concat());
        let port = server.port();
        assert_eq!(rest(call("127.0.0.2", "127.0.0.1", port)), "", "{kind:?}");
        server.wait_stderr(DENIED);
        let before = descriptors(&server);
        // CVE-2013-3571: the descriptors of those who were turned away stayed open.
        for _ in 0..20 {
            assert_eq!(rest(call("127.0.0.2", "127.0.0.1", port)), "", "{kind:?}");
        }
        wait_until("all to be told", || server.stderr().matches(DENIED).count() == 21);
        assert!(descriptors(&server) <= before, "{kind:?}");
        let _next = call("127.0.0.1", "127.0.0.1", port);
        wait_until("the next to be in", || descriptors(&server) > before);
    }
}

#[test]
fn a_caller_by_a_unix_socket_is_on_no_list() {
    for (options, heard) in [
        (["--allow", "127.0.0.1"], ""),
        (["--allow", "0.0.0.0/0,::/0"], ""),
        (["--deny", "0.0.0.0/0,::/0"], "served\n"),
    ] {
        let dir = dir();
        let path = dir.path().join("socket");
        let server = server(&["-U", arg(&path), "-c", "echo served", options[0], options[1]]);
        server.wait_stderr("Listening on ");
        let caller = UnixStream::connect(&path).unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(rest(caller), heard, "{options:?}");
        server.wait().expect_code(0);

        let output = dir.path().join("datagrams");
        let server = ncat(&["-v", "-l", "-u", "-U", arg(&output), options[0], options[1]]);
        server.wait_stderr("Listening on ");
        run(&["-u", "-U", arg(&output)], "datagram").expect_code(0);
        if heard.is_empty() {
            server.wait().expect_code(0).expect_stdout("").expect_stderr("not allowed");
        } else {
            server.wait_stdout("datagram");
        }
    }
}

#[test]
fn datagrams_of_those_who_may_not_are_not_heard() {
    let caller = |from: &str, port: u16| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    };
    let one = server(&["-u", "--deny", "127.0.0.2", "127.0.0.1", "0"]);
    caller("127.0.0.2", one.port()).send(b"denied").unwrap();
    one.wait().expect_code(0).expect_stdout("").expect_stderr(DENIED);

    for command in [&[][..], &["-c", "cat"]] {
        let words = ["-u", "-k", "--allow", "127.0.0.1", "127.0.0.1", "0"];
        let mut many = server(&[&words[..], command].concat());
        let port = many.port();
        let denied = caller("127.0.0.2", port);
        denied.send(b"denied").unwrap();
        many.wait_stderr(DENIED);
        let before = descriptors(&many);
        wait_until("twenty to be told", || {
            let _ = denied.send(b"denied");
            many.stderr().matches(DENIED).count() >= 20
        });
        wait_until("their descriptors to be closed", || descriptors(&many) <= before);
        let allowed = caller("127.0.0.1", port);
        allowed.send(b"allowed").unwrap();
        let mut answer = [0; 16];
        if command.is_empty() {
            many.wait_stdout("allowed");
            many.send("allowed");
        }
        let n = allowed.recv(&mut answer).unwrap();
        assert_eq!(&answer[..n], b"allowed");
        let heard = String::from_utf8(many.stdout()).unwrap();
        assert!(!heard.contains("denied"), "{heard}");
    }
}

#[test]
fn sighup_reads_the_files_again_and_who_is_in_stays() {
    let dir = dir();
    for kind in [&["-k"][..], &["-k", "-c", "cat"], &["--broker"]] {
        let allow = file_in(&dir, "allow", "127.0.0.1");
        let deny = file_in(&dir, "deny", "127.0.0.3");
        let lists = ["--allowfile", arg(&allow), "--denyfile", arg(&deny), "127.0.0.1", "0"];
        let mut server = server(&[kind, &lists[..]].concat());
        let port = server.port();
        assert_eq!(rest(call("127.0.0.2", "127.0.0.1", port)), "");
        let mut first = call("127.0.0.1", "127.0.0.1", port);
        first.write_all(b"one").unwrap();
        server.wait_stderr("Connection from 127.0.0.1:");

        file_in(&dir, "allow", "127.0.0.2 127.0.0.3");
        server.signal("HUP");
        server.wait_stderr(READ_AGAIN);
        for stranger in ["127.0.0.1", "127.0.0.3"] {
            assert_eq!(rest(call(stranger, "127.0.0.1", port)), "", "{kind:?}");
        }
        let second = call("127.0.0.2", "127.0.0.1", port);
        server.wait_stderr("Connection from 127.0.0.2:");

        // Neither what cannot be read nor what cannot be understood changes anything.
        file_in(&dir, "deny", "127.0.0.1\n127.0.0.2 10-5.0.0.1\n");
        server.signal("HUP");
        server.wait_stderr(&format!("--denyfile {}: line 2: ", deny.display()));
        std::fs::remove_file(&allow).unwrap();
        server.signal("HUP");
        server.wait_stderr(&format!("cannot read --allowfile {}: no such file", allow.display()));
        let third = call("127.0.0.2", "127.0.0.1", port);
        wait_until("the third", || server.stderr().matches("from 127.0.0.2:").count() == 2);
        assert_eq!(rest(call("127.0.0.1", "127.0.0.1", port)), "");
        assert_eq!(server.stderr().matches(READ_AGAIN).count(), 1);

        // Whoever was in before is in still.
        if kind.contains(&"-c") {
            first.write_all(b" two").unwrap();
        } else {
            server.send("one two");
        }
        let mut got = [0; 7];
        first.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"one two");
        drop((second, third));
    }
}

#[test]
fn sighup_before_the_one_caller_reads_the_files_and_afterwards_ends() {
    let dir = dir();
    let allow = file_in(&dir, "allow", "127.0.0.1");
    let server = server(&["--allowfile", arg(&allow), "127.0.0.1", "0"]);
    let port = server.port();
    file_in(&dir, "allow", "127.0.0.2");
    server.signal("HUP");
    server.wait_stderr(READ_AGAIN);
    let _caller = call("127.0.0.2", "127.0.0.1", port);
    server.wait_stderr("Connection from 127.0.0.2:");
    server.signal("HUP");
    server.wait().expect_code(129);
}

#[test]
fn without_files_sighup_ends_as_ever() {
    for keep in [&[][..], &["-k"]] {
        let server = server(&[keep, &["--allow", "127.0.0.1", "127.0.0.1", "0"][..]].concat());
        server.port();
        server.signal("HUP");
        server.wait().expect_code(129);
    }
}

#[test]
fn a_list_that_cannot_be_understood_is_said_before_anybody_can_call() {
    let dir = dir();
    let bad = file_in(&dir, "bad", "127.0.0.1\n\n 127.0.0.2 1.2.3.4/33\n");
    let long = file_in(&dir, "long", "1".repeat(1024));
    let missing = dir.path().join("missing");
    for (option, value, why) in [
        ("--allow", "127.0.0.1,1.2.3.4/33", "/33 is too much"),
        ("--deny", "127.0.0.01", "is no part of an IPv4 address"),
        ("--allowfile", arg(&bad), "bad: line 3: "),
        ("--denyfile", arg(&bad), "bad: line 3: "),
        ("--denyfile", arg(&long), "has 1024 bytes"),
        ("--allowfile", arg(&missing), "missing: no such file or directory"),
    ] {
        let output = server(&[option, value, "127.0.0.1", "0"]).wait().expect_code(2);
        let output = output.expect_stderr(why).expect_stderr(option);
        assert!(!output.stderr.contains("Listening on"), "{}", output.stderr);
    }
}
