//! The same scenes with Debian's `ncat` and with ours: the bytes and the exit status are the
//! same, except where [`INTENDED`] says why they are not.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tool::{NCAT, Running, arg, dir, file_in, free_port, have, start_command, wait_for_port};

type Bytes = &'static [u8];

const PROGRAMS: [&str; 2] = [NCAT, "ncat"];

/// A scene's name, and why it ends otherwise with ours. Every line has to be true: a scene that
/// stands here and ends alike is an error.
const INTENDED: &[(&str, &str)] = &[
    ("refused: empty port", "a port is a number: an empty one is a mistake, not 0"),
    ("refused: -U with a port", "as 7.991 does it; 7.93 ignores the port"),
];

fn start(program: &str, args: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(args).env_remove("NCAT_PROXY_AUTH");
    start_command(command)
}

/// Compares what the two programs did, both of them told of in one failure. A machine that has
/// other work may make one of them late, once; three times is no accident.
#[track_caller]
fn alike<T: PartialEq + std::fmt::Debug>(scene: &str, did: impl Fn(&str) -> T) {
    let mut both = PROGRAMS.map(&did);
    for _ in 0..2 {
        if both[0] == both[1] {
            break;
        }
        both = PROGRAMS.map(&did);
    }
    let [ours, theirs] = both;
    match INTENDED.iter().find(|(name, _)| *name == scene) {
        None => assert_eq!(ours, theirs, "{scene}: ours is left, theirs right"),
        Some((_, why)) => assert_ne!(ours, theirs, "{scene}: no difference any more ({why})"),
    }
}

#[test]
fn the_same_command_lines_are_refused() {
    if !have("ncat") {
        return;
    }
    let refused: &[(&str, &[&str])] = &[
        ("no host", &[]),
        ("port abc", &["127.0.0.1", "abc"]),
        ("port in hexadecimal", &["127.0.0.1", "0x50"]),
        ("port 65536", &["127.0.0.1", "65536"]),
        ("empty port", &["127.0.0.1", ""]),
        ("two ports", &["127.0.0.1", "1", "2"]),
        ("source port 70000", &["-p", "70000", "127.0.0.1", "1"]),
        ("-l and two ports", &["-l", "-p", "1", "127.0.0.1", "2"]),
        ("-w 0", &["-w", "0", "127.0.0.1", "1"]),
        ("-w 100 without a unit", &["-w", "100", "127.0.0.1", "1"]),
        ("-w 1x", &["-w", "1x", "127.0.0.1", "1"]),
        ("-i 0.5ms", &["-i", "0.5ms", "127.0.0.1", "1"]),
        ("-d -1", &["-d", "-1", "127.0.0.1", "1"]),
        ("-m abc", &["-m", "abc", "127.0.0.1", "1"]),
        ("-e and -c", &["-e", "/bin/cat", "-c", "cat", "127.0.0.1", "1"]),
        ("-e twice", &["-e", "/bin/cat", "-e", "/bin/cat", "127.0.0.1", "1"]),
        ("--proxy twice", &["--proxy", "a", "--proxy", "b", "127.0.0.1", "1"]),
        ("--proxy-type nonsense", &["--proxy", "127.0.0.1", "--proxy-type", "x", "h", "1"]),
        ("--proxy-dns nonsense", &["--proxy-dns", "x", "127.0.0.1", "1"]),
        ("-U without a path", &["-U"]),
        ("-lU without a path", &["-lU"]),
        ("-U with a port", &["-U", "/nowhere/s", "1"]),
        ("-U and --ssl", &["-U", "--ssl", "/nowhere/s"]),
        ("-U and -p", &["-U", "-p", "1", "/nowhere/s"]),
        ("-U and -g", &["-U", "-g", "127.0.0.1", "/nowhere/s"]),
        ("-G 3", &["-G", "3", "127.0.0.1", "1"]),
        ("-z and -l", &["-z", "-l", "127.0.0.1", "0"]),
        ("-z and -e", &["-z", "-e", "/bin/cat", "127.0.0.1", "1"]),
        ("-4 and an IPv6 address", &["-4", "::1", "1"]),
        ("-6 and an IPv4 address", &["-6", "127.0.0.1", "1"]),
        ("-n and a name", &["-n", "localhost", "1"]),
        ("--allow when calling", &["--allow", "127.0.0.1", "127.0.0.1", "1"]),
        ("--broker and -e", &["--broker", "-e", "/bin/cat", "127.0.0.1", "0"]),
        ("--ssl-trustfile twice", &["--ssl-trustfile", "a", "--ssl-trustfile", "b", "h", "1"]),
        ("an unknown option", &["--nonesuch", "127.0.0.1", "1"]),
        ("an unknown letter", &["-Z", "127.0.0.1", "1"]),
        ("an option without its value", &["127.0.0.1", "1", "-p"]),
        ("a file that cannot be opened", &["-o", "/nowhere/log", "127.0.0.1", "1"]),
        ("an allow file that is not there", &["-l", "--allowfile", "/nowhere", "127.0.0.1", "0"]),
    ];
    for (name, args) in refused {
        alike(&format!("refused: {name}"), |program| {
            let mut running = start(program, args);
            running.end_input();
            let output = running.wait();
            assert!(!output.stderr.is_empty(), "{program} {args:?} says nothing");
            (output.code(), output.stdout)
        });
    }
}

/// Calls a server that says `greeting`, hears everything, says `answer`, and ends.
fn call(
    program: &str,
    args: &[&str],
    input: &[u8],
    [greeting, answer]: [&[u8]; 2],
) -> (i32, Vec<u8>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut running = start(program, &[args, &["127.0.0.1", &port]].concat());
    running.send_all(input);
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(greeting).unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    // With --send-only it may be gone already.
    let _ = peer.write_all(answer);
    drop(peer);
    let output = running.wait();
    (output.code(), output.stdout, heard)
}

/// Says something, hears so many bytes, says that it ends, and hears the rest.
fn converse(peer: &mut TcpStream, says: &[u8], hears: usize) -> Vec<u8> {
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Whoever has ended already resets what comes now; what was heard is what counts.
    let _ = peer.write_all(says);
    let mut heard = Vec::new();
    let _ = (&*peer).take(hears as u64).read_to_end(&mut heard);
    let _ = peer.shutdown(Shutdown::Write);
    let _ = peer.read_to_end(&mut heard);
    heard
}

#[test]
fn the_same_calls_carry_the_same_bytes() {
    if !have("ncat") {
        return;
    }
    let noise: Bytes = tool::noise(300_000).leak();
    let scenes: &[(&str, &[&str], Bytes, [Bytes; 2])] = &[
        ("no input", &[], b"", [b"hello\r\n", b"bye"]),
        ("text", &[], b"one\ntwo\n", [b"", b"three"]),
        ("binary", &[], noise, [noise, noise]),
        ("-C", &["-C"], b"a\nb\r\nc\rd\n", [b"x\n", b"y\n"]),
        ("-C and a lone LF at the end", &["-C"], b"\n\n", [b"", b""]),
        ("--send-only", &["--send-only"], b"data", [b"", b""]),
        ("-d", &["-d", "10ms"], b"slow", [b"x", b"y"]),
        ("-w and -n", &["-w", "5", "-n"], b"data", [b"x", b"y"]),
        ("-4", &["-4"], b"data", [b"x", b"y"]),
        ("-s", &["-s", "127.0.0.1"], b"data", [b"x", b"y"]),
        ("-e", &["-e", "/bin/echo a\\ b c"], b"", [b"", b""]),
    ];
    for (name, args, input, says) in scenes {
        alike(&format!("call: {name}"), |program| call(program, args, input, *says));
    }
    // Commands: the server hears them before it ends, since theirs loses what comes later.
    let commands: &[(&[&str], &[u8])] = &[
        (&["-c", "dd bs=5 count=1 status=none | tr a-z A-Z"], b"SHOUT"),
        (&["-c", "cat; exit 3"], b"shout"),
        (&["-e", "/bin/cat"], b"shout"),
        (&["-e", "/bin/echo a\\ b c\\\\d"], b"a b c\\d\n"),
    ];
    for (args, expected) in commands {
        alike(&format!("call: {args:?}"), |program| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let running = start(program, &[*args, &["127.0.0.1", &port]].concat());
            let (mut peer, _) = listener.accept().unwrap();
            let heard = converse(&mut peer, b"shout", expected.len());
            let output = running.wait();
            (output.code(), output.stdout, heard)
        });
    }
    alike("call: nobody there", |program| {
        let port = free_port().to_string();
        let output = start(program, &["127.0.0.1", &port]).wait();
        (output.code(), output.stdout)
    });
    for z in [&["-z"][..], &["-z", "-v"]] {
        alike(&format!("call: {z:?}, somebody there"), |program| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let output = start(program, &[z, &["127.0.0.1", &port]].concat()).wait();
            (output.code(), output.stdout)
        });
        alike(&format!("call: {z:?}, nobody there"), |program| {
            let port = free_port().to_string();
            let output = start(program, &[z, &["127.0.0.1", &port]].concat()).wait();
            (output.code(), output.stdout)
        });
    }
}

#[test]
fn the_same_recordings_are_written() {
    if !have("ncat") {
        return;
    }
    for (option, append) in [("-o", false), ("-x", false), ("-o", true), ("-x", true)] {
        alike(&format!("recording: {option}, append {append}"), |program| {
            let dir = dir();
            let log = file_in(&dir, "log", "before\n");
            let mut args = vec![option, arg(&log)];
            args.extend(append.then_some("--append-output"));
            // One way only: in which order two ways are recorded is chance.
            call(program, &args, b"0123456789abcdef\x00\x7f\xffrest\n", [b"", b""]);
            std::fs::read(&log).unwrap()
        });
    }
}

#[test]
fn the_same_servers_serve_alike() {
    if !have("ncat") {
        return;
    }
    let scenes: &[(&str, &[&str], [Bytes; 3])] = &[
        ("text", &[], [b"from the server\n", b"from the caller\n", b"from the server\n"]),
        ("-C", &["-C"], [b"a\nb\n", b"c\n", b"a\r\nb\r\n"]),
        ("--recv-only", &["--recv-only"], [b"", b"data", b""]),
        ("-c", &["-c", "cat"], [b"", b"shout\n", b"shout\n"]),
        ("-c that fails", &["-c", "cat; exit 3"], [b"", b"data", b"data"]),
        ("-c that ends at once", &["-c", "echo done"], [b"", b"", b"done\n"]),
        ("-e", &["-e", "/bin/echo a\\ b  c\\\\d"], [b"", b"", b"a b c\\d\n"]),
        ("--allow", &["--allow", "127.0.0.0/8"], [b"x", b"y", b"x"]),
        // Who is denied is not here: 7.93 then never ends.
    ];
    for (name, args, [input, says, hears]) in scenes {
        alike(&format!("serve: {name}"), |program| {
            let port = free_port();
            let given = ["-l", "127.0.0.1", &port.to_string()].map(str::to_owned);
            let given: Vec<&str> = given.iter().map(String::as_str).collect();
            let mut server = start(program, &[args, &given[..]].concat());
            wait_for_port(port);
            server.send(input);
            let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let heard = converse(&mut caller, says, hears.len());
            let output = server.wait();
            (output.code(), output.stdout, heard)
        });
    }
}

/// Each with each: what goes in at one end comes out at the other, both ways.
#[test]
fn each_talks_with_each() {
    if !have("ncat") {
        return;
    }
    let pairs = PROGRAMS.map(|server| PROGRAMS.map(|client| (server, client)));
    for (server, client) in pairs.into_iter().flatten() {
        for options in [&[][..], &["--ssl"], &["-6"], &["--sctp"]] {
            if options == ["--sctp"] && !std::path::Path::new("/proc/net/sctp").exists() {
                continue;
            }
            let host = if options == ["-6"] { "::1" } else { "127.0.0.1" };
            let port = free_port();
            let place = [host.to_owned(), port.to_string()];
            let place = [place[0].as_str(), &place[1]];
            let mut left = start(server, &[options, &["-l"], &place[..]].concat());
            if options != ["--sctp"] {
                wait_for_port(port);
            }
            // Both are heard before one ends: its end is the end of a conversation.
            let mut right = start(client, &[options, &place[..]].concat());
            right.send("from the client");
            left.wait_stdout("from the client");
            left.send("from the server");
            right.wait_stdout("from the server");
            right.end_input();
            let right = right.wait();
            let left = left.wait();
            let told = format!("{server} with {client}, {options:?}");
            assert_eq!(left.text(), "from the client", "{told}");
            assert_eq!(right.text(), "from the server", "{told}");
            // A stream that ends without close_notify, as 7.93's does, may lack its end.
            let is_cut = options == ["--ssl"] && (server, client) == (NCAT, "ncat");
            assert_eq!((left.code(), right.code()), (i32::from(is_cut), 0), "{told}");
        }
        // A proxy, with somebody behind it; a client who logs in.
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = behind.local_addr().unwrap().port().to_string();
        let port = free_port();
        let here = port.to_string();
        let proxy = ["-l", "-k", "--proxy-type", "http", "--proxy-auth", "tim:secret"];
        let proxy = start(server, &[&proxy[..], &["127.0.0.1", &here]].concat());
        wait_for_port(port);
        let through = format!("127.0.0.1:{port}");
        let args =
            ["--proxy", &through, "--proxy-auth", "tim:secret", "127.0.0.1", target.as_str()];
        let mut caller = start(client, &args);
        // Its end comes last: theirs takes one for both.
        caller.send("through");
        let (mut end, _) = behind.accept().unwrap();
        end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut heard = [0; 7];
        end.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"through");
        end.write_all(b"and back").unwrap();
        caller.wait_stdout("and back");
        caller.end_input();
        drop(end);
        let output = caller.wait();
        assert_eq!((output.code(), output.text().as_str()), (0, "and back"), "{server}, {client}");
        drop(proxy);
    }
}

/// How long something took, as far as a script would notice.
#[derive(Debug, PartialEq)]
enum Took {
    NoTime,
    AMoment,
    TooLong,
}

/// Runs it and puts its time into a class: well below `about`, around it, or far beyond.
fn timed<T>(about: Duration, did: impl FnOnce() -> T) -> (Took, T) {
    let start = tool::now();
    let done = did();
    let took = start.elapsed();
    let class = if took < about * 3 / 4 {
        Took::NoTime
    } else if took < about * 8 {
        Took::AMoment
    } else {
        Took::TooLong
    };
    (class, done)
}

#[test]
fn silence_and_dead_ends_take_the_same_time_and_end_alike() {
    if !have("ncat") {
        return;
    }
    let silence = Duration::from_millis(400);
    for input in [&b""[..], b"hello"] {
        alike(&format!("silence: a call, {} bytes said", input.len()), |program| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let mut running = start(program, &["-i", "400ms", "127.0.0.1", &port]);
            let (mut peer, _) = listener.accept().unwrap();
            running.send(input);
            let mut heard = vec![0; input.len()];
            peer.read_exact(&mut heard).unwrap();
            let (took, output) = timed(silence, || running.wait());
            (took, output.code(), output.stdout, heard)
        });
    }
    alike("silence: a server with a caller", |program| {
        let port = free_port();
        let server = start(program, &["-l", "-i", "400ms", "127.0.0.1", &port.to_string()]);
        wait_for_listener(port);
        let _caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (took, output) = timed(silence, || server.wait());
        (took, output.code(), output.stdout)
    });
    // An address of TEST-NET-1 (RFC 5737) would go over the network, so a full backlog has to do.
    alike("-w: nobody answers", |program| {
        let full = socket_with_a_full_backlog();
        let port = full.0.to_string();
        let (took, output) =
            timed(silence, || start(program, &["-w", "400ms", "127.0.0.1", &port]).wait());
        (took, output.code(), output.stdout)
    });
    for (name, options) in [("-z -u, nobody", &["-z", "-u"][..]), ("-z", &["-z"])] {
        alike(&format!("dead end: {name}"), |program| {
            let port = free_port().to_string();
            let run = || start(program, &[options, &["127.0.0.1", &port]].concat()).wait();
            let (took, output) = timed(silence, run);
            (took, output.code(), output.stdout)
        });
    }
}

/// A port whose queue of callers is full, so that a call to it hangs; with those who fill it.
fn socket_with_a_full_backlog() -> (u16, socket2::Socket, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let callers = (0..4).map(|_| {
        let caller = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        caller.set_nonblocking(true).unwrap();
        // It is under way, or it hangs.
        let _ = caller.connect(&address);
        caller
    });
    let callers = callers.collect();
    (address.as_socket().unwrap().port(), listener, callers)
}

/// Waits until somebody listens, and does not call: a server for one would take that for its one.
fn wait_for_listener(port: u16) {
    let line = format!("0100007F:{port:04X} 00000000:0000 0A");
    tool::wait_until("a listener", || {
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&line)
    });
}

#[test]
fn datagrams_go_alike() {
    if !have("ncat") {
        return;
    }
    for input in [&b"one line\n"[..], b"\x00\xff binary \r\n\r\n", b"no end of line"] {
        alike(&format!("datagrams: {} bytes", input.len()), |program| {
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let port = peer.local_addr().unwrap().port().to_string();
            let mut running = start(program, &["-u", "127.0.0.1", &port]);
            running.send(input);
            let mut heard = [0; 1000];
            let (n, from) = peer.recv_from(&mut heard).unwrap();
            peer.send_to(b"an answer", from).unwrap();
            running.wait_stdout("an answer");
            let output = running.finish();
            (output.code(), output.stdout, heard[..n].to_vec())
        });
    }
    alike("datagrams: a server for one", |program| {
        let port = free_port();
        let mut server = start(program, &["-l", "-u", "127.0.0.1", &port.to_string()]);
        let line = format!("0100007F:{port:04X} 00000000:0000 07");
        tool::wait_until("a bound socket", || {
            std::fs::read_to_string("/proc/net/udp").unwrap().contains(&line)
        });
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.connect(("127.0.0.1", port)).unwrap();
        peer.send(b"a question").unwrap();
        server.wait_stdout("a question");
        server.send("an answer\n");
        let mut heard = [0; 1000];
        let n = peer.recv(&mut heard).unwrap();
        // Its input may end: a peer without a connection may still have something to say.
        server.end_input();
        peer.send(b", and more").unwrap();
        server.wait_stdout(", and more");
        server.signal("KILL");
        (server.wait().stdout, heard[..n].to_vec())
    });
}

#[test]
fn unix_sockets_serve_and_call_alike() {
    if !have("ncat") {
        return;
    }
    use std::os::unix::net::{UnixListener, UnixStream};
    alike("unix: a call", |program| {
        let dir = dir();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut running = start(program, &["-U", arg(&path)]);
        running.send_all("from the caller");
        let (mut peer, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        peer.write_all(b"from the server").unwrap();
        drop(peer);
        let output = running.wait();
        (output.code(), output.stdout, heard)
    });
    alike("unix: a server", |program| {
        let dir = dir();
        let path = dir.path().join("s");
        let mut server = start(program, &["-l", "-U", arg(&path)]);
        let mut caller = None;
        tool::wait_until("somebody who answers", || {
            caller = UnixStream::connect(&path).ok();
            caller.is_some()
        });
        let mut caller = caller.unwrap();
        server.send_all("from the server");
        let mut heard = Vec::new();
        caller.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        caller.read_to_end(&mut heard).unwrap();
        caller.write_all(b"from the caller").unwrap();
        drop(caller);
        let output = server.wait();
        (output.code(), output.stdout, heard)
    });
}

#[test]
fn many_callers_are_treated_alike() {
    if !have("ncat") {
        return;
    }
    let patient = |port: u16| {
        let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        caller.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        caller
    };
    let hears = |caller: &mut TcpStream, n: usize| {
        let mut heard = vec![0; n];
        caller.read_exact(&mut heard).unwrap();
        String::from_utf8(heard).unwrap()
    };
    alike("many: -k around one input", |program| {
        let port = free_port();
        let mut server = start(program, &["-l", "-k", "127.0.0.1", &port.to_string()]);
        wait_for_listener(port);
        let mut callers = [patient(port), patient(port)];
        for (caller, word) in callers.iter_mut().zip(["one", "two"]) {
            caller.write_all(word.as_bytes()).unwrap();
            server.wait_stdout(word);
        }
        server.send("for all");
        let heard = callers.each_mut().map(|caller| hears(caller, 7));
        drop(callers);
        let mut third = patient(port);
        third.write_all(b"three").unwrap();
        server.wait_stdout("three");
        server.signal("KILL");
        (server.wait().stdout, heard)
    });
    alike("many: --broker", |program| {
        let port = free_port();
        let mut server = start(program, &["-v", "--broker", "127.0.0.1", &port.to_string()]);
        wait_for_listener(port);
        let mut callers = [patient(port), patient(port), patient(port)];
        for caller in &callers {
            server.wait_stderr(&format!(":{}.", caller.local_addr().unwrap().port()));
        }
        server.send("all");
        let greeted = callers.each_mut().map(|caller| hears(caller, 3));
        callers[0].write_all(b"zero").unwrap();
        let first = [hears(&mut callers[1], 4), hears(&mut callers[2], 4)];
        callers[2].write_all(b"two").unwrap();
        let second = [hears(&mut callers[0], 3), hears(&mut callers[1], 3)];
        server.signal("KILL");
        (server.wait().stdout, greeted, first, second)
    });
    alike("many: -k -c", |program| {
        let port = free_port();
        let here = port.to_string();
        let server = start(program, &["-l", "-k", "-c", "cat", "127.0.0.1", &here]);
        wait_for_listener(port);
        let mut callers = [patient(port), patient(port), patient(port)];
        let heard = callers.each_mut().map(|caller| {
            // It is heard before it ends: theirs may lose what a command says later.
            caller.write_all(b"shout").unwrap();
            let heard = hears(caller, 5);
            caller.shutdown(Shutdown::Write).unwrap();
            heard
        });
        server.signal("KILL");
        (server.wait().stdout, heard)
    });
}
