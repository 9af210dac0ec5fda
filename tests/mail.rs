//! Helped SMTP sessions with a real Postfix, and with servers that misbehave.

mod tool;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use std::process::Command;
use std::thread::JoinHandle;
use tool::postfix::Postfix;
use tool::{Output, arg, dir, file_in, ncat, run, start_command};

/// The lesson of the course, with a mark to find it by. A space behind the colon, as people type.
fn lesson(mark: &str) -> String {
    format!(
        "EHLO me\nMAIL FROM: <a@b.example>\nRCPT TO: <ann@example.test>\nDATA\n\
         From: a@b.example\nTo: ann@example.test\nSubject: {mark}\n\n\
         Hello,\n..a line with two dots\nthat was {mark}\n.\nQUIT\n"
    )
}

fn with_password(args: &[&str], password: &str, input: &str) -> Output {
    // Through env(1): the tool clears what the environment of the tests may hold.
    let mut command = Command::new("env");
    command.arg(format!("NCAT_AUTH={password}")).arg(tool::NCAT).args(args);
    let mut running = start_command(command);
    running.send_all(input);
    running.wait()
}

#[test]
fn the_lesson_is_delivered_over_plain_starttls_and_tls_ports() {
    let Some(postfix) = Postfix::start() else { return };
    let certificate = postfix.certificate();
    let trust = ["--ssl-trustfile", arg(&certificate)];
    let plain = postfix.at("plain");
    let starttls = postfix.at("starttls");
    let smtps = postfix.at("smtps");
    for (mark, args) in [
        ("plain", vec!["--smtp", plain.as_str()]),
        ("upgraded", vec!["--smtp", "--starttls", starttls.as_str()]),
        ("implicit", vec!["--smtp", "--ssl", smtps.as_str()]),
    ] {
        let args: Vec<_> = trust.iter().copied().chain(args).collect();
        let output = run(&args, lesson(mark)).expect_code(0);
        assert!(output.text().contains("queued as"), "{}", output.text());
        assert_eq!(output.stderr, "", "silence is success");
        let message = postfix.delivered(&format!("that was {mark}"));
        assert!(message.contains(&format!("\nSubject: {mark}\n")), "{message}");
        // The person did not double the dots: one is the protocol's.
        assert!(message.contains("\n.a line with two dots\n"), "{message}");
    }
}

#[test]
fn a_typed_starttls_upgrades_in_place_for_a_script_too() {
    let Some(postfix) = Postfix::start() else { return };
    let certificate = postfix.certificate();
    let input = format!("EHLO me\nSTARTTLS\n{}", lesson("typed"));
    let args = ["-v", "--smtp", "--ssl-trustfile", arg(&certificate), &postfix.at("starttls")];
    let output = run(&args, input).expect_code(0).expect_stderr("TLS 1.3, localhost, verified");
    assert!(output.text().contains("Ready to start TLS"), "{}", output.text());
    postfix.delivered("that was typed");
}

#[test]
fn all_at_once_is_what_postfix_refuses_and_lock_step_is_not() {
    let Some(postfix) = Postfix::start() else { return };
    let plain = postfix.at("plain");
    // The proof that this server would notice.
    let output = run(&["--smtp", "--no-wait", "--exit-zero", &plain], lesson("burst"));
    assert!(output.text().contains("synchronization"), "{}", output.text());
    // Groups where they are offered are welcome.
    let output = run(&["--smtp", "--pipelining", &plain], lesson("grouped")).expect_code(0);
    assert!(output.text().contains("queued as"), "{}", output.text());
    postfix.delivered("that was grouped");
}

#[test]
fn a_login_goes_over_verified_tls_and_its_refusal_has_a_status() {
    let Some(postfix) = Postfix::start() else { return };
    let certificate = postfix.certificate();
    let place = postfix.at("submission");
    let rest = lesson("login").replace("EHLO me\n", "");
    let args =
        ["--smtp", "--starttls", "--auth", "ann", "--ssl-trustfile", arg(&certificate), &place];
    let output = with_password(&args, "secret", &rest).expect_code(0);
    assert!(output.text().contains("queued as"), "{}", output.text());
    postfix.delivered("that was login");
    let output = with_password(&args, "wrong", &rest).expect_code(77);
    assert!(output.stderr.contains("refused the login: 535"), "{}", output.stderr);
    assert!(!output.stderr.contains("wrong"), "{}", output.stderr);
    // By file, with a password that has a blank in it.
    let files = dir();
    let file = file_in(&files, "password", "pass word\n");
    Command::new("chmod").args(["600", arg(&file)]).status().unwrap();
    let mut args = args.to_vec();
    args[3] = "bob";
    args.splice(4..4, ["--auth-file", arg(&file)]);
    run(&args, "NOOP\n").expect_code(0);
    Command::new("chmod").args(["644", arg(&file)]).status().unwrap();
    run(&args, "").expect_code(2).expect_stderr("can be read by others");
}

#[test]
fn the_worst_reply_decides_the_exit_status() {
    let Some(postfix) = Postfix::start() else { return };
    let plain = postfix.at("plain");
    let unknown = "EHLO me\nMAIL FROM:<a@b.example>\nRCPT TO:<nobody@example.test>\nQUIT\n";
    run(&["--smtp", &plain], unknown).expect_code(69);
    run(&["--smtp", "--exit-zero", &plain], unknown).expect_code(0);
    run(&["--smtp", &plain], "EHLO me\nNOSUCH\nNOOP\n").expect_code(69);
    run(&["--smtp", &plain], "NOOP\n").expect_code(0);
}

#[test]
fn raw_bytes_follow_an_upgrade_without_the_helper() {
    let Some(postfix) = Postfix::start() else { return };
    let certificate = postfix.certificate();
    let place = postfix.at("starttls");
    let args = ["-C", "--starttls=smtp", "--ssl-trustfile", arg(&certificate), &place];
    let mut talk = ncat(&args);
    talk.send("EHLO me\n");
    talk.wait_stdout("250 CHUNKING");
    talk.send("QUIT\n");
    talk.wait_stdout("221 ");
    let output = talk.wait().expect_code(0);
    assert!(output.text().starts_with("250-"), "{}", output.text());
}

/// A server that says what a test tells it to, a line for a line.
struct Scripted {
    port: u16,
    heard: JoinHandle<String>,
}

impl Scripted {
    /// `steps` are `S:` to send as it stands, `C` to read a line, `H` to hold the line until the
    /// other side hangs up; then it closes.
    fn start(steps: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut stream, mut heard): (TcpStream, _) = (stream, String::new());
            for step in steps {
                match step.strip_prefix("S:") {
                    // It may have hung up: then the rest is not heard, and that is looked at.
                    Some(text) => drop(stream.write_all(text.as_bytes())),
                    None if *step == "H" => drop(reader.read_to_end(&mut Vec::new())),
                    None => drop(reader.read_line(&mut heard)),
                }
            }
            heard
        });
        Self { port, heard }
    }

    fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[test]
fn bytes_before_the_handshake_close_the_connection() {
    for typed in [false, true] {
        let server = Scripted::start(&[
            "S:220 hi\r\n",
            "C",
            "S:250-hi\r\n250 STARTTLS\r\n",
            "C",
            "S:220 go\r\n250 injected\r\n",
            "C",
        ]);
        let place = server.at();
        let (args, input) = match typed {
            false => (vec!["--smtp", "--starttls", &place], "MAIL FROM:<a@b>\n"),
            true => (vec!["--smtp", &place], "EHLO x\nSTARTTLS\nMAIL FROM:<a@b>\n"),
        };
        run(&args, input).expect_code(1).expect_stderr("before the handshake");
        let heard = server.heard.join().unwrap();
        assert!(!heard.contains("MAIL"), "{heard}");
    }
}

#[test]
fn a_login_never_crosses_an_open_line() {
    let server = Scripted::start(&["S:220 hi\r\n", "C", "S:250-hi\r\n250 AUTH PLAIN\r\n", "C"]);
    let place = server.at();
    let args = ["--smtp", "--starttls", "--auth", "ann", &place];
    let output = with_password(&args, "topsecret", "").expect_code(1);
    assert!(output.stderr.contains("does not offer STARTTLS"), "{}", output.stderr);
    let heard = server.heard.join().unwrap();
    assert!(!heard.contains("AUTH"), "{heard}");
}

#[test]
fn an_upgrade_that_is_not_done_in_time_is_given_up() {
    for steps in [
        &["S:220 hi\r\n", "C", "H"][..],
        &["S:220 hi\r\n", "C", "S:250-hi\r\n250 STARTTLS\r\n", "C", "S:220 go\r\n", "H"],
        &["H"],
    ] {
        let server = Scripted::start(steps);
        let place = server.at();
        let output = run(&["-w", "1", "--smtp", "--starttls", &place], "").expect_code(1);
        assert!(output.stderr.contains("is not done after 1 s"), "{}", output.stderr);
        drop(server);
    }
}

#[test]
fn a_server_that_hangs_up_is_named_with_what_was_awaited() {
    for (steps, input, words, code) in [
        (&[][..], "", "hung up before its greeting", 1),
        (&["S:220 hi\r\n", "C"], "NOOP\n", "before its reply to the last command", 1),
        (&["S:220 hi\r\n", "C", "S:250"], "NOOP\n", "before the end of its line", 1),
        (
            &["S:220 hi\r\n", "C", "S:354 go\r\n", "C", "C"],
            "DATA\nx\n.\n",
            "it is unknown whether it took it",
            1,
        ),
        (&["S:SSH-2.0-x\r\n"], "", "expected an SMTP reply", 1),
        (&["S:421 4.3.2 later\r\n"], "NOOP\n", "", 75),
        (&["S:554 no\r\n", "C"], "", "hung up before its reply to QUIT", 1),
    ] {
        let server = Scripted::start(steps);
        let output = run(&["--smtp", &server.at()], input).expect_code(code);
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
}

#[test]
fn what_was_said_before_a_failure_is_shown() {
    let server = Scripted::start(&["S:220 welcome\r\n250-strange\r\ngarbage\r\n"]);
    let output = run(&["--smtp", &server.at()], "").expect_code(1);
    assert_eq!(output.text(), "220 welcome\r\n250-strange\r\ngarbage\r\n");
}

#[test]
fn input_that_ends_inside_a_message_sends_no_dot() {
    let server = Scripted::start(&["S:220 hi\r\n", "C", "S:354 go\r\n", "C", "C"]);
    run(&["--smtp", &server.at()], "DATA\nhalf\n")
        .expect_code(2)
        .expect_stderr("the line with a single dot is missing");
    assert_eq!(server.heard.join().unwrap(), "DATA\r\nhalf\r\n");
}

#[test]
fn a_server_that_talks_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = 0;
        let line = [b'2'; 65536];
        while let Ok(n) = stream.write(&line) {
            sent += n;
            assert!(sent < 64 << 20, "nobody stops it");
        }
    });
    run(&["--smtp", &format!("127.0.0.1:{port}")], "")
        .expect_code(1)
        .expect_stderr("a reply line with an end");
    flood.join().unwrap();
}

#[test]
fn replies_are_explained_on_request_and_only_on_standard_error() {
    let server = Scripted::start(&["S:220 hi\r\n", "C", "S:250 hi\r\n", "C", "S:221 bye\r\n"]);
    let output = run(&["--smtp", "--explain", &server.at()], "EHLO me\n").expect_code(0);
    assert_eq!(output.text(), "220 hi\r\n250 hi\r\n221 bye\r\n");
    assert!(output.stderr.contains("MAIL FROM"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 3, "{}", output.stderr);
}

#[test]
fn a_large_message_streams_through_a_server_that_dawdles() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        stream.write_all(b"220 hi\r\n").unwrap();
        reader.read_line(&mut line).unwrap();
        stream.write_all(b"354 go\r\n").unwrap();
        let (mut total, mut buf) = (0, vec![0; 4096]);
        let mut tail = Vec::new();
        while !tail.ends_with(b"\r\n.\r\n") {
            let n = reader.read(&mut buf).unwrap();
            assert!(n > 0, "cut after {total}");
            total += n;
            tail.extend_from_slice(&buf[..n]);
            let keep = tail.len().saturating_sub(5);
            tail.drain(..keep);
        }
        stream.write_all(b"250 ok\r\n").unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        stream.write_all(b"221 bye\r\n").unwrap();
        total
    });
    let mut input = b"DATA\n".to_vec();
    for _ in 0..200_000 {
        input.extend_from_slice(b"a line of a long message, not the last one\n");
    }
    let content = input.len() - 5 + 200_000;
    input.extend_from_slice(b".\n");
    run(&["--smtp", &format!("127.0.0.1:{port}")], input).expect_code(0);
    assert_eq!(server.join().unwrap(), content + 3);
}

#[test]
fn a_flood_of_replies_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        // It goes on until nobody hears it.
        while peer.write_all(b"220 hi\r\n").is_ok() {}
    });
    // Its input stays open: nothing but the flood can end it.
    let output = ncat(&["--smtp", &place]).wait();
    let output = output.expect_code(1).expect_stderr("expected as many replies as");
    assert!(output.stderr.lines().count() < 30, "{}", output.stderr);
    server.join().unwrap();
}

#[test]
fn users_and_passwords_are_kept_in_a_netrc_file() {
    let dir = tool::dir();
    let text = "machine 127.0.0.1 login ann password \"s p\"\nmachine 127.0.0.1 login bob\n";
    let file = tool::file_in(&dir, "netrc", text);
    let option = format!("--netrc={}", file.display());
    let (server, port) = tool::serving(&["--smtp", "--auth", "ann:s p"]);
    let place = format!("127.0.0.1:{port}");
    let send = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "x"];
    let output = run(&[&send[..], &[&option]].concat(), "").expect_code(0);
    assert!(output.stderr.contains("can be read by others"), "{}", output.stderr);
    server.finish().expect_code(0);
    let other = ["--smtp", "mail.test", "--to", "c@d", &option];
    run(&other, "").expect_code(2).expect_stderr("no user for this host");
    let missing = ["--smtp", "mail.test", "--netrc=/no/such"];
    run(&missing, "").expect_code(2).expect_stderr("cannot read --netrc /no/such");
}

#[test]
fn a_login_that_is_typed_is_encoded_for_who_types() {
    let (server, port) = tool::serving(&["--smtp", "-k", "--auth", "ann:s p"]);
    let port = port.to_string();
    let (person, mut terminal) = tool::on_terminal(&["--smtp", "127.0.0.1", &port]);
    person.wait_stdout("220 ");
    terminal.type_text("EHLO me\n");
    person.wait_stdout("250 ");
    terminal.type_text("AUTH LOGIN\n");
    person.wait_stdout("Username (base64 by ncat");
    terminal.type_text("ann\n");
    person.wait_stdout("Password (base64 by ncat");
    tool::wait_until("no echo", || !terminal.echoes());
    terminal.type_text("s p\n");
    person.wait_stdout("235 2.7.0");
    assert_eq!(terminal.modes(), terminal.before);
    terminal.type_text("QUIT\n");
    person.wait_stdout("221 ");
    let shown = String::from_utf8(person.stdout()).unwrap();
    assert!(!shown.contains("s p"), "{shown}");
    // Whoever answers nothing types the line himself.
    let (person, mut terminal) = tool::on_terminal(&["--smtp", "127.0.0.1", &port]);
    person.wait_stdout("220 ");
    terminal.type_text("EHLO me\n");
    person.wait_stdout("250 ");
    terminal.type_text("AUTH PLAIN\n");
    person.wait_stdout("user (PLAIN by ncat");
    terminal.type_text("\n");
    terminal.type_text("AGFubgBzIHA=\n");
    person.wait_stdout("235 2.7.0");
    drop(server);
}
