//! UDP: whose datagrams are whose, and what becomes of each.

mod tool;

use std::io::{ErrorKind, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use tool::{DEADLINE, NCAT, Running, dir, file_in, have, ncat, noise, same, wait_until};

/// What IPv4 lets one datagram carry.
const LARGEST: usize = 65_507;

/// The states of a process, as proc(5) has them.
fn is_stopped(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

fn peer(port: u16) -> UdpSocket {
    let socket = place().0;
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
}

/// A socket that hears everybody, and its port.
fn place() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A port at which this machine refuses everybody but one who does not exist.
fn closed() -> (UdpSocket, u16) {
    let (socket, port) = place();
    socket.connect(("127.0.0.1", 9)).unwrap();
    (socket, port)
}

/// The next datagram.
#[track_caller]
fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut buf = vec![0; 1 << 16];
    let n = socket.recv(&mut buf).unwrap();
    buf.truncate(n);
    buf
}

/// Our server, and its port.
fn server(more: &[&str]) -> (Running, u16) {
    let server = ncat(&[&["-v", "-u", "-l"], more, &["127.0.0.1", "0"]].concat());
    let port = server.port();
    (server, port)
}

fn call(port: u16, more: &[&str]) -> Running {
    ncat(&[&["-u"], more, &["127.0.0.1", &port.to_string()]].concat())
}

#[test]
fn what_another_sent_meanwhile_is_not_taken_for_the_first_peers() {
    let mut server = ncat(&["-v", "-u", "-l", "127.0.0.1", "0"]);
    let port = server.port();
    server.signal("STOP");
    wait_until("it stands still", || is_stopped(server.id()));
    // All three wait in its queue before it can look at the first.
    let (first, other) = (peer(port), peer(port));
    first.send(b"one ").unwrap();
    other.send(b"of another ").unwrap();
    first.send(b"two").unwrap();
    server.signal("CONT");
    server.wait_stdout("two");
    assert_eq!(server.stdout(), b"one two");
    // The first is who is answered.
    server.send("answer");
    assert_eq!(hear(&first), b"answer");
}

#[test]
fn a_url_says_udp_at_both_ends() {
    let mut server = ncat(&["-v", "-l", "udp://127.0.0.1:0"]);
    let target = format!("udp://127.0.0.1:{}", server.port());
    let mut caller = ncat(&["-q", "10", &target]);
    caller.send("question");
    server.wait_stdout("question");
    server.send("answer");
    caller.wait_stdout("answer");
    caller.signal("TERM");
    caller.wait();
    server.signal("TERM");
    server.wait().expect_code(143);
}

#[test]
fn a_burst_from_many_new_peers_goes_back_to_each_of_them_alone() {
    let server = ncat(&["-v", "-u", "-l", "-k", "127.0.0.1", "0", "-c", "cat"]);
    let port = server.port();
    server.signal("STOP");
    wait_until("it stands still", || is_stopped(server.id()));
    let peers: Vec<_> = (0..8).map(|_| peer(port)).collect();
    for round in ["a", "b", "c"] {
        for (i, peer) in peers.iter().enumerate() {
            peer.send(format!("{i}{round};").as_bytes()).unwrap();
        }
    }
    server.signal("CONT");
    for (i, peer) in peers.iter().enumerate() {
        let mut all = String::new();
        // A command's output has no borders of its own: several may come as one.
        while all.len() < 9 {
            all.push_str(std::str::from_utf8(&hear(peer)).unwrap());
        }
        assert_eq!(all, format!("{i}a;{i}b;{i}c;"));
    }
}

#[test]
fn a_datagram_of_any_size_goes_over_whole_both_ways() {
    // ncat cuts them at 8192 bytes and says nothing (D16).
    for more in [&[][..], &["-k"], &["-k", "-c", "cat"]] {
        let (mut server, port) = server(more);
        let peer = peer(port);
        let mut heard = 0;
        for len in [1, 8192, 8193, 20_000, LARGEST] {
            let words = noise(len);
            peer.send(&words).unwrap();
            if !more.contains(&"-c") {
                heard += len;
                server.wait_stdout_bytes(heard);
                same(&server.stdout()[heard - len..], &words);
                server.send(&words);
            }
            let mut answer = hear(&peer);
            // A command may say it in several pieces.
            while more.contains(&"-c") && answer.len() < len {
                answer.extend(hear(&peer));
            }
            same(&answer, &words);
        }
    }
    let (socket, port) = place();
    let mut caller = call(port, &[]);
    let mut heard = 0;
    for len in [1, 8192, 8193, 20_000, LARGEST] {
        let (words, mut buf) = (noise(len), vec![0; 1 << 16]);
        caller.send(&words);
        let (n, from) = socket.recv_from(&mut buf).unwrap();
        same(&buf[..n], &words);
        socket.send_to(&words, from).unwrap();
        heard += len;
        caller.wait_stdout_bytes(heard);
        same(&caller.stdout()[heard - len..], &words);
    }
    caller.finish().expect_code(0);
}

#[test]
fn what_is_too_long_for_one_datagram_goes_over_in_two() {
    let (dir, words) = (dir(), noise(LARGEST + 1));
    let input = file_in(&dir, "input", &words);
    let (socket, port) = place();
    let mut command = Command::new(NCAT);
    command.args(["-u", "127.0.0.1", &port.to_string()]);
    command.stdin(std::fs::File::open(input).unwrap());
    tool::spawn(command).wait().expect_code(0);
    same(&hear(&socket), &words[..LARGEST]);
    same(&hear(&socket), &words[LARGEST..]);
    // Once a server for many lost all of it, and its peers too.
    let words = noise(1 << 16);
    for more in [&[][..], &["-k"], &["--broker"]] {
        let (mut server, port) = server(more);
        let peer = peer(port);
        peer.send(b"here").unwrap();
        server.wait_stderr("Connection from");
        server.send(&words);
        let mut heard = hear(&peer);
        while heard.len() < words.len() {
            heard.extend(hear(&peer));
        }
        same(&heard, &words);
    }
}

/// A pipe in which each write is a packet of its own, for whoever reads it.
fn packets() -> (OwnedFd, OwnedFd) {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
    let (rx, tx) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&tx, 1 << 20).unwrap();
    (rx, tx)
}

/// More than go to the kernel at once, of sizes that can and that cannot go together. Each has its
/// number in front.
fn burst() -> Vec<Vec<u8>> {
    let sizes = [[1400; 50].as_slice(), &[700, 1400, 1400, 900, 900, 900, 1, 1, 3000, 2999]];
    let numbered = |(at, size): (usize, usize)| {
        let mut datagram = noise(size);
        datagram[0] = u8::try_from(at).unwrap();
        datagram
    };
    sizes.concat().into_iter().enumerate().map(numbered).collect()
}

fn put(pipe: &OwnedFd, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        assert_eq!(rustix::io::write(pipe, datagram).unwrap(), datagram.len());
    }
}

#[test]
fn many_datagrams_at_once_are_still_one_for_each_read() {
    let (socket, port) = place();
    let (rx, tx) = packets();
    put(&tx, &burst());
    drop(tx);
    let mut command = Command::new(NCAT);
    command.args(["-u", "127.0.0.1", &port.to_string()]).stdin(rx);
    tool::spawn(command).wait().expect_code(0);
    for datagram in burst() {
        same(&hear(&socket), &datagram);
    }
    // A server, whose input waits until it has somebody.
    let (rx, tx) = packets();
    put(&tx, &burst());
    let mut command = Command::new(NCAT);
    command.args(["-v", "-u", "-l", "127.0.0.1", "0"]).stdin(rx).stderr(Stdio::piped());
    let server = tool::spawn(command);
    let peer = peer(server.port());
    peer.send(b"here").unwrap();
    for datagram in burst() {
        same(&hear(&peer), &datagram);
    }
}

#[test]
fn a_stream_of_datagrams_is_printed_whole() {
    let (server, port) = server(&["--recv-only"]);
    let (rx, tx) = std::io::pipe().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-u", "127.0.0.1", &port.to_string()]).stdin(rx);
    let caller = tool::spawn(command);
    let mut said = Vec::new();
    for size in [1400, 60_000, 512, 9000] {
        for _ in 0..10 {
            // What was sent has come before the next is, so that no queue overflows.
            let words = noise(size);
            (&tx).write_all(&words).unwrap();
            said.extend(words);
            server.wait_stdout_bytes(said.len());
        }
    }
    drop(tx);
    caller.wait().expect_code(0);
    same(&server.stdout(), &said);
}

#[test]
fn an_empty_datagram_is_not_the_end() {
    for more in [&[][..], &["-k"], &["-c", "cat"], &["-k", "-c", "cat"], &["--recv-only"]] {
        let (server, port) = server(more);
        let peer = peer(port);
        for words in ["", "one", "", "", "two"] {
            peer.send(words.as_bytes()).unwrap();
        }
        if !more.contains(&"-c") {
            server.wait_stdout("onetwo");
        } else {
            let mut heard = Vec::new();
            while heard.len() < 6 {
                heard.extend(hear(&peer));
            }
            assert_eq!(heard, b"onetwo", "{more:?}");
        }
    }
    for more in [&[][..], &["-v"]] {
        let (socket, port) = place();
        let mut caller = call(port, more);
        caller.send("?");
        let (_, from) = socket.recv_from(&mut [0; 1]).unwrap();
        for words in ["", "one", "", "two"] {
            socket.send_to(words.as_bytes(), from).unwrap();
        }
        caller.wait_stdout("onetwo");
        caller.finish().expect_code(0);
    }
}

#[test]
fn a_refusal_ends_a_caller_and_a_server_for_one() {
    let (_socket, port) = closed();
    let mut caller = call(port, &[]);
    caller.send("anybody?");
    caller.wait().expect_code(1).expect_stderr("connection refused");
    let (mut server, port) = server(&[]);
    let mut caller = call(port, &[]);
    caller.send("bye");
    server.wait_stdout("bye");
    caller.finish().expect_code(0);
    server.send("are you there?");
    server.wait().expect_code(1).expect_stderr("connection refused");
}

#[test]
fn a_server_for_many_outlives_peers_that_vanish() {
    for more in [&["-k"][..], &["-k", "-c", "cat"]] {
        let (mut server, port) = server(more);
        for n in 0..50 {
            peer(port).send(format!("{n};").as_bytes()).unwrap();
            if !more.contains(&"-c") {
                server.wait_stdout(&format!("{n};"));
                server.send("answer");
            }
        }
        let last = peer(port);
        last.send(b"last").unwrap();
        if !more.contains(&"-c") {
            server.wait_stdout("last");
            server.send("last");
        }
        // What is said to all may be late for one who has gone, and in time for the next.
        let mut heard = Vec::new();
        while !heard.ends_with(b"last") {
            heard.extend(hear(&last));
        }
        server.signal("TERM");
        let output = server.wait().expect_code(143);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    }
}

#[test]
fn a_probe_tells_closed_from_silent_and_shows_a_reply() {
    let (_closed, port) = closed();
    let output = call(port, &["-z"]).finish().expect_code(1).expect_stdout("");
    assert_eq!(output.stderr, "");
    call(port, &["-z", "-v"]).finish().expect_code(1).expect_stderr("connection refused");
    let (socket, port) = place();
    let probe = call(port, &["-z", "-i", "200ms"]);
    assert_eq!(hear(&socket), [0]);
    assert_eq!(probe.finish().expect_code(0).expect_stdout("").stderr, "");
    let probe = call(port, &["-z", "-i", "200ms"]);
    let (_, from) = socket.recv_from(&mut [0; 2]).unwrap();
    for words in ["re", "", "ply"] {
        socket.send_to(words.as_bytes(), from).unwrap();
    }
    probe.finish().expect_code(0).expect_stdout("reply");
}

#[test]
fn a_server_for_one_refuses_a_second_peer() {
    let (server, port) = server(&[]);
    let (first, second) = (peer(port), peer(port));
    first.send(b"one").unwrap();
    server.wait_stdout("one");
    second.send(b"two").unwrap();
    assert_eq!(second.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    first.send(b"three").unwrap();
    server.wait_stdout("onethree");
}

#[test]
fn what_a_server_says_goes_to_each_of_its_peers() {
    let (mut server, port) = server(&["-k"]);
    let peers: Vec<_> = (0..20).map(|_| peer(port)).collect();
    for (i, peer) in peers.iter().enumerate() {
        peer.send(format!("<{i}>").as_bytes()).unwrap();
        server.wait_stdout(&format!("<{i}>"));
    }
    for words in ["to all", "and again"] {
        server.send(words);
        for peer in &peers {
            assert_eq!(hear(peer), words.as_bytes());
        }
    }
    // The end of the input is no end of theirs.
    server.end_input();
    peers[7].send(b"still here").unwrap();
    server.wait_stdout("still here");
}

/// Waits until somebody has this UDP port of 127.0.0.1.
fn wait_for_place(port: u16) {
    wait_until(&format!("a socket at port {port}"), || {
        let text = std::fs::read_to_string("/proc/net/udp").unwrap();
        text.contains(&format!("0100007F:{port:04X}"))
    });
}

#[test]
fn other_programs_are_called_and_served() {
    for (program, listen, connect) in [
        ("ncat", "-u -l 127.0.0.1 PORT", "-u 127.0.0.1 PORT"),
        ("nc", "-u -l 127.0.0.1 PORT", "-u 127.0.0.1 PORT"),
        ("socat", "- UDP4-LISTEN:PORT,bind=127.0.0.1", "- UDP4:127.0.0.1:PORT"),
    ] {
        if !have(program) {
            continue;
        }
        let theirs = |line: &str, port: u16| {
            let line = line.replace("PORT", &port.to_string());
            tool::start(program, &line.split(' ').collect::<Vec<_>>())
        };
        for more in [&[][..], &["-k"]] {
            let (server, port) = server(more);
            talk(theirs(connect, port), server);
        }
        let port = place().1;
        let server = theirs(listen, port);
        wait_for_place(port);
        talk(call(port, &[]), server);
    }
}

/// Both hear each other, more than once.
fn talk(mut caller: Running, mut server: Running) {
    for n in 0..3 {
        caller.send(format!("question {n}\n"));
        server.wait_stdout(&format!("question {n}\n"));
        server.send(format!("answer {n}\n"));
        caller.wait_stdout(&format!("answer {n}\n"));
    }
}
