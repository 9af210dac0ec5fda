//! `-l --serve`: what is built in, with the clients that there are.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use tool::{NCAT, arg, dir, have, noise, run, run_other, same, serving, spawn};

fn udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(tool::DEADLINE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 65_536];
    socket.send(question).unwrap();
    let n = socket.recv(&mut answer).unwrap();
    answer.truncate(n);
    answer
}

#[test]
fn echo_and_discard_take_everything_and_lose_nothing() {
    let much = noise(3_000_000);
    let (server, port) = serving(&["-4", "-k", "--serve", "echo"]);
    for options in [&[][..], &["-C"]] {
        let port = port.to_string();
        let sent = if options.is_empty() { much.clone() } else { b"a\nb\n".to_vec() };
        let output = run(&[options, &["127.0.0.1", &port]].concat(), sent.as_slice());
        let expected = if options.is_empty() { much.clone() } else { b"a\r\nb\r\n".to_vec() };
        same(&output.expect_code(0).stdout, &expected);
    }
    drop(server);
    let (server, port) = serving(&["-4", "--serve", "discard"]);
    let output = run(&["127.0.0.1", &port.to_string()], much.as_slice());
    assert_eq!((output.code(), output.stdout.len()), (0, 0));
    server.finish().expect_code(0);
}

#[test]
fn chargen_and_the_time_are_those_of_the_rfcs() {
    let (server, port) = serving(&["-4", "-k", "--serve", "chargen"]);
    for _ in 0..2 {
        let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut lines = vec![0; 74 * 100_000];
        caller.read_exact(&mut lines).unwrap();
        let lines: Vec<_> = lines.chunks(74).collect();
        assert!(lines.iter().all(|line| line.ends_with(b"\r\n")));
        assert!(lines[0].starts_with(b" !\"#$%") && lines[99_999] == lines[99_999 % 95]);
    }
    drop(server);
    // Nobody reads on: that is how it ends, and well.
    let (server, port) = serving(&["-4", "--serve", "chargen"]);
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    server.finish().expect_code(0);
    let (server, port) = serving(&["-4", "-k", "--serve", "time"]);
    let output = run(&["127.0.0.1", &port.to_string()], b"");
    let since_1900 = u32::from_be_bytes(output.stdout.try_into().unwrap());
    let now = run_other("date", &["+%s"], b"");
    let now: u64 = String::from_utf8(now.stdout).unwrap().trim().parse().unwrap();
    assert!((now + 2_208_988_800).abs_diff(u64::from(since_1900)) < 60);
    drop(server);
    let (server, port) = serving(&["-4", "--serve", "daytime"]);
    let output = run(&["127.0.0.1", &port.to_string()], b"");
    let day = run_other("date", &["-u", "+%a %b %e %H:"], b"");
    let (day, said) = (String::from_utf8(day.stdout).unwrap(), output.text());
    // An hour may have begun in between, once in a while.
    assert!(said.starts_with(&day.trim()[..7]) && said.ends_with("\r\n"), "{said} {day}");
    server.finish().expect_code(0);
}

#[test]
fn a_datagram_is_answered_by_one_as_long_as_it_was() {
    let (server, port) = serving(&["-4", "-k", "-u", "--serve", "echo"]);
    let (one, other) = (udp(port), udp(port));
    for size in [1, 1400, 9000, 60_000] {
        for socket in [&one, &other] {
            let question = noise(size);
            same(&ask(socket, &question), &question);
        }
    }
    // Several that come at once stay several.
    for n in 0..20_u8 {
        one.send(&vec![n; 100 + usize::from(n)]).unwrap();
    }
    for n in 0..20_u8 {
        let mut answer = [0; 1000];
        let length = one.recv(&mut answer).unwrap();
        same(&answer[..length], &vec![n; 100 + usize::from(n)]);
    }
    // They stay several, too, before the server knows who sends them.
    for _ in 0..10 {
        let new = udp(port);
        for n in 0..6_u8 {
            new.send(&[n; 20_000]).unwrap();
        }
        for n in 0..6_u8 {
            let mut answer = vec![0; 65_536];
            let length = new.recv(&mut answer).unwrap();
            same(&answer[..length], &[n; 20_000]);
        }
    }
    drop(server);
    let (_server, port) = serving(&["-4", "-u", "--serve", "daytime"]);
    for question in [&b""[..], b"\n"] {
        let answer = ask(&udp(port), question);
        assert!(answer.ends_with(b"\r\n") && answer.len() == 26, "{}", answer.escape_ascii());
        if question.is_empty() {
            break;
        }
    }
}

#[test]
fn files_are_served_to_curl() {
    if !have("curl") {
        return;
    }
    let dir = dir();
    let much = noise(5_000_000);
    std::fs::create_dir(dir.path().join("sub dir")).unwrap();
    std::fs::write(dir.path().join("sub dir/ä&.bin"), &much).unwrap();
    std::fs::write(dir.path().join("page.html"), "<p>hello").unwrap();
    std::fs::write(dir.path().join("outside"), "x").unwrap();
    let root = format!("http={}", arg(dir.path()));
    let (server, port) = serving(&["-4", "-k", "-v", "--serve", &root]);
    let base = format!("http://127.0.0.1:{port}");
    let curl = |options: &[&str], path: &str| {
        let url = format!("{base}{path}");
        run_other("curl", &[&["-sS", "--path-as-is"], options, &[url.as_str()]].concat(), b"")
    };
    same(&curl(&[], "/sub%20dir/%C3%A4%26.bin").stdout, &much);
    same(
        &curl(&["-r", "1000000-1999999"], "/sub%20dir/%C3%A4%26.bin").stdout,
        &much[1_000_000..2_000_000],
    );
    let listed = String::from_utf8(curl(&["-L"], "/sub%20dir").stdout).unwrap();
    assert!(listed.contains("href=\"./%C3%A4%26.bin\">ä&amp;.bin</a> (5000000 bytes)"), "{listed}");
    let code = |options: &[&str], path: &str| {
        let options =
            [&["-o", "/dev/null", "-w", "%{http_code} %{content_type}"], options].concat();
        String::from_utf8(curl(&options, path).stdout).unwrap()
    };
    assert_eq!(code(&[], "/page.html"), "200 text/html; charset=utf-8");
    assert_eq!(code(&["-I"], "/page.html"), "200 text/html; charset=utf-8");
    assert_eq!(code(&["-I"], "/none"), "404 text/plain; charset=utf-8");
    assert_eq!(code(&["-d", "x"], "/page.html"), "405 text/plain; charset=utf-8");
    assert_eq!(code(&[], "/../outside"), "400 text/plain; charset=utf-8");
    assert_eq!(code(&[], "/%2e%2e/outside"), "400 text/plain; charset=utf-8");
    let saved = arg(&dir.path().join("saved")).to_owned();
    assert_eq!(curl(&["-R", "-o", &saved], "/page.html").code(), 0);
    assert!(code(&["-z", &saved], "/page.html").starts_with("304 "));
    // One connection for several requests.
    let (a, b) = (format!("{base}/page.html"), format!("{base}/page.html"));
    let twice = run_other("curl", &["-sS", "-w", "%{num_connects}\n", &a, &b], b"");
    assert_eq!(String::from_utf8(twice.stdout).unwrap(), "<p>hello1\n<p>hello0\n");
    // Somebody who has said everything still gets everything.
    let request = b"GET /sub%20dir/%C3%A4%26.bin HTTP/1.0\r\n\r\n";
    let output = run(&["127.0.0.1", &port.to_string()], request.as_slice());
    assert!(output.stdout.ends_with(&much) && output.stdout.starts_with(b"HTTP/1.1 200 OK\r\n"));
    server.wait_stderr("GET /page.html HTTP/1.1: 200");
}

#[test]
fn requests_are_shown_and_said_back() {
    if !have("curl") {
        return;
    }
    let (server, port) = serving(&["-4", "--accept", "2", "--serve", "http-dump"]);
    let url = format!("http://127.0.0.1:{port}/hook?x=1");
    let first = run_other("curl", &["-sS", "-H", "X-A: b", "-d", "hello", &url], b"");
    let head = format!("POST /hook?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
    let first = String::from_utf8(first.stdout).unwrap();
    assert!(first.starts_with(&head) && first.ends_with("\r\n\r\nhello"), "{first}");
    // From standard input: in chunks, and asked for first.
    let options = ["-sS", "-T", "-", "-H", "Expect: 100-continue", &url];
    let second = run_other("curl", &options, b"x".repeat(100_000));
    assert!(second.stdout.ends_with(&b"x".repeat(100_000)));
    let shown = server.finish().expect_code(0);
    let said = [first.as_bytes(), b"\n", &second.stdout, b"\n"].concat();
    same(&shown.stdout, &said);
}

#[test]
fn requests_that_nobody_reads_stop_nobody() {
    let (mut rx, tx) = std::io::pipe().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-lk", "--serve", "http-dump", "127.0.0.1", "0"]);
    command.stdin(Stdio::null()).stdout(tx).stderr(Stdio::piped());
    let server = spawn(command);
    let port = server.port();
    let body = noise(100_000);
    for _ in 0..3 {
        let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        caller.set_read_timeout(Some(tool::DEADLINE)).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        caller.write_all(head.as_bytes()).unwrap();
        caller.write_all(&body).unwrap();
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(&body));
    }
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut part = [0; 65536];
        while memchr::memmem::find_iter(&all, &body).count() < 3 {
            let n = rx.read(&mut part).unwrap();
            assert!(n > 0, "the end came after {} bytes", all.len());
            all.extend_from_slice(&part[..n]);
        }
    });
    reader.join().unwrap();
    server.signal("TERM");
    server.wait().expect_code(143);
}

#[test]
fn the_end_waits_for_its_reader_and_neither_for_ever_nor_against_a_signal() {
    for signal in [false, true] {
        let (_rx, tx) = std::io::pipe().unwrap();
        let mut command = Command::new(NCAT);
        command.args(["-v", "-l", "--serve", "http-dump", "127.0.0.1", "0"]);
        command.stdin(Stdio::null()).stdout(tx).stderr(Stdio::piped());
        let server = spawn(command);
        let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        caller.set_read_timeout(Some(tool::DEADLINE)).unwrap();
        let body = noise(2_000_000);
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        caller.write_all(head.as_bytes()).unwrap();
        caller.write_all(&body).unwrap();
        caller.read_to_end(&mut Vec::new()).unwrap();
        drop(caller);
        server.wait_stderr("has left");
        if signal {
            server.signal("TERM");
            server.wait().expect_code(143);
        } else {
            server.wait().expect_code(2).expect_stderr("nobody has read standard output");
        }
    }
}

#[test]
fn who_has_nothing_to_say_is_left_and_what_cannot_be_is_refused() {
    let (server, port) = serving(&["-4", "-i", "200ms", "--serve", "echo"]);
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(tool::DEADLINE)).unwrap();
    caller.write_all(b"hi").unwrap();
    let mut said = Vec::new();
    caller.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"hi");
    server.finish().expect_code(2);
    for (arguments, why) in [
        (&["-l", "--serve", "ekho"][..], "--serve does not know \"ekho\""),
        (&["-l", "--serve", "http"], "--serve http needs a directory"),
        (&["-l", "--serve", "http=/nowhere/at/all"], "cannot serve /nowhere/at/all"),
        (&["-l", "-u", "--serve", "http=."], "--serve http=. and -u do not go together"),
        (&["-l", "--serve", "echo", "-e", "/bin/cat"], "--serve echo and a command"),
        (&["--serve", "echo", "127.0.0.1", "1"], "--serve goes with -l"),
    ] {
        run(arguments, b"").expect_code(2).expect_stderr(why);
    }
}
