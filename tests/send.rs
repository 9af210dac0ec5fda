//! Sending a message without typing: with a real Postfix, beside swaks and curl, and to servers
//! that misbehave.

mod tool;

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread::JoinHandle;
use tool::dnsmasq::Dnsmasq;
use tool::exim::Exim;
use tool::postfix::Postfix;
use tool::{NCAT, Output, arg, dir, file_in, have, noise, run, run_other, same, spawn};

const TO_ANN: [&str; 4] = ["--from", "me@example.net", "--to", "ann@example.test"];

/// Fields that a server would add.
const FIELDS: &str = "From: me@example.net\nTo: ann@example.test\nMessage-ID: <1@example.net>\n\
    Date: Tue, 24 Nov 2026 12:00:00 +0000\n";

/// What a mailbox holds behind the fields that the way there has put before it.
fn sent(message: &[u8]) -> &[u8] {
    let at = memchr::memmem::find(message, b"\nSubject: ").expect("a subject");
    &message[at + 1..]
}

#[test]
fn a_text_and_a_whole_message_arrive_over_every_kind_of_connection() {
    let Some(postfix) = Postfix::start() else { return };
    let trust = postfix.certificate();
    let trusted = ["--smtp", "--ssl-trustfile", arg(&trust)];
    for (service, tls) in [("plain", &[][..]), ("starttls", &["--starttls"]), ("smtps", &["--ssl"])]
    {
        let place = postfix.at(service);
        let common = [&trusted[..], tls, &TO_ANN, &[&place]].concat();
        // A text: dots, a line without end, and what is beyond ASCII.
        let mark = format!("text by {service}");
        let text = format!("Grüezi {mark}\n.\n..\nFrom me\n\nno end");
        let args = [&common[..], &["--subject", "Ä subject"]].concat();
        run(&args, text.clone()).expect_code(0).expect_stdout("").expect_stderr("");
        let got = postfix.delivered(&mark);
        assert!(got.contains("To: <ann@example.test>") && got.contains("Date: "), "{got}");
        assert!(got.contains("Subject: =?utf-8?"), "{got}");
        // A whole message goes as it is.
        let mark = format!("whole by {service}");
        let whole = format!("Subject: {mark}\n{FIELDS}X-Odd:  two\n\n.dot\n..\n\n.\nlast");
        run(&common, whole.clone()).expect_code(0).expect_stdout("").expect_stderr("");
        let got = postfix.delivered_to("ann", &mark);
        same(sent(&got), format!("{whole}\n").as_bytes());
    }
}

#[test]
fn submission_wants_a_login_and_gets_one() {
    let Some(postfix) = Postfix::start() else { return };
    let trust = postfix.certificate();
    let place = format!("submission://{}", postfix.at("submission"));
    let args = ["--ssl-trustfile", arg(&trust), "--from", "ann@example.test", "--to"];
    let args = [&args[..], &["bob@example.test", "--body", "by submission", &place]].concat();
    let dir = dir();
    let password = |text: &str| {
        let file = file_in(&dir, text, text);
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let file = arg(&file).to_owned();
        move |args: &[&str]| run(&[args, &["--auth", "ann", "--auth-file", &file]].concat(), "")
    };
    password("secret")(&args).expect_code(0).expect_stdout("").expect_stderr("");
    postfix.delivered_to("bob", "by submission");
    // Without the login, and with a wrong one.
    run(&args, "").expect_code(69).expect_stderr("refused the sender: 530 5.7.0");
    password("wrong")(&args).expect_code(77).expect_stderr("refused the login: 535 5.7.8");
}

#[test]
fn exim_takes_what_is_sent_in_pieces_octet_for_octet() {
    let Some(exim) = Exim::start() else { return };
    let (trust, place) = (exim.certificate(), format!("localhost:{}", exim.port));
    let secret = dir();
    let password = file_in(&secret, "password", "secret");
    std::fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let login = ["--auth", "ann", "--auth-file", arg(&password)];
    let tls = ["--smtp", "--starttls", "--ssl-trustfile", arg(&trust), &place];
    let body = b"Gr\xc3\xbcezi\n.\n..\n.dot\nFrom me\n\n.\nlast\n";
    // Exim announces CHUNKING.
    let message = [format!("Subject: in-pieces\n{FIELDS}\n").as_bytes(), body].concat();
    let args = [&tls[..], &login, &TO_ANN].concat();
    run(&args, message).expect_code(0).expect_stdout("").expect_stderr("");
    let (queued, header) = exim.queued("in-pieces");
    same(&queued, body);
    assert!(header.contains("with esmtpsa") && header.contains("TLS1.3"), "{header}");
    let plain = ["--smtp", "--from", "", "--body", "to some", "--subject", "to-some", &place];
    let to = ["--to", "ann@example.test,nobody@example.test"];
    let refused = "refused the recipient nobody@example.test: 550 no such user";
    run(&[&plain[..], &to].concat(), "").expect_code(69).expect_stderr(refused);
    let (_, header) = exim.queued("to-some");
    let (envelope, _) = header.split_once("\n\n").unwrap();
    assert!(envelope.contains("ann@example.test") && !envelope.contains("nobody@"), "{header}");
    std::fs::write(&password, "wrong").unwrap();
    let args = [&tls[..], &login, &TO_ANN].concat();
    run(&args, "Subject: x\n\n").expect_code(77).expect_stderr("refused the login: 535");
}

#[test]
fn each_recipient_has_a_result_of_its_own() {
    let Some(postfix) = Postfix::start() else { return };
    let place = postfix.at("plain");
    let from = ["--smtp", "--from", "", "--body", "to some", &place];
    let to = ["--to", "ann@example.test,nobody@example.test", "--bcc", "bob@example.test"];
    let output = run(&[&from[..], &to].concat(), "").expect_code(69);
    let output = output.expect_stderr("refused the recipient nobody@example.test: 550 5.1.1");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    let got = postfix.delivered("to some");
    assert!(got.contains("Return-Path: <>") || got.contains("From MAILER-DAEMON"), "{got}");
    assert!(got.contains("nobody@example.test") && !got.contains("bob@"), "{got}");
    postfix.delivered_to("bob", "to some");
    let to = ["--to", "x@example.org", "--to", "y@example.org"];
    let output = run(&[&from[..], &to].concat(), "").expect_code(69);
    assert_eq!(output.stderr.matches("refused the recipient").count(), 2, "{}", output.stderr);
}

#[test]
fn parts_arrive_octet_for_octet_and_python_reads_them() {
    let Some(postfix) = Postfix::start() else { return };
    let (dir, octets) = (dir(), noise(100_000));
    let file = file_in(&dir, "übung 1.bin", &octets);
    let html = file_in(&dir, "x.html", "<p>Grüezi</p>\n");
    let attach = format!("{};type=application/x-test", arg(&file));
    let place = postfix.at("plain");
    let args = ["--smtp", &place, "--subject", "with parts", "--html", arg(&html)];
    let more = ["--attach", &attach, "--cc", "Bob B. <bob@example.test>"];
    run(&[&args[..], &TO_ANN, &more].concat(), "Grüezi\n").expect_code(0).expect_stderr("");
    let message = file_in(&dir, "message", postfix.delivered_to("bob", "with parts"));
    let script = "import email, sys\nfrom email import policy\n\
        m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=policy.default)\n\
        print(m['cc'], [p.get_content_type() for p in m.walk()])\n\
        a, = m.iter_attachments()\n\
        print(a.get_filename(), m.get_body(('plain',)).get_content().strip(), m.get_body(('html',)).get_content().strip())\n\
        open(sys.argv[2], 'wb').write(a.get_content())\n";
    let out = dir.path().join("out");
    let output = run_other("python3", &["-c", script, arg(&message), arg(&out)], "");
    output.expect_code(0).expect_stdout(
        "\"Bob B.\" <bob@example.test> ['multipart/mixed', 'multipart/alternative', \
         'text/plain', 'text/html', 'application/x-test']\nübung 1.bin Grüezi <p>Grüezi</p>\n",
    );
    same(&std::fs::read(out).unwrap(), &octets);
}

#[test]
fn the_same_message_arrives_from_swaks_and_from_curl() {
    let Some(postfix) = Postfix::start() else { return };
    if !have("swaks") || !have("curl") {
        return;
    }
    let dir = dir();
    let whole = format!("Subject: the same MARK\n{FIELDS}X-A: b\n\n.\n..x\n\nGrüezi, tab\there\n");
    let whole = whole.replace('\n', "\r\n");
    let place = postfix.at("plain");
    let port = place.rsplit(':').next().unwrap();
    for (name, program) in [("ncat", NCAT), ("swaks", "swaks"), ("curl", "curl")] {
        let text = whole.replace("MARK", name);
        let file = file_in(&dir, name, &text);
        let url = format!("smtp://{place}");
        let data = format!("@{}", arg(&file));
        let args = match name {
            "ncat" => [&["--smtp", &place][..], &TO_ANN].concat(),
            "swaks" => {
                [&["--server", "127.0.0.1", "--port", port, "--data", &data][..], &TO_ANN].concat()
            }
            _ => {
                let from = ["-sS", &url, "--mail-from", "me@example.net", "--mail-rcpt"];
                [&from[..], &["ann@example.test", "-T", arg(&file)]].concat()
            }
        };
        let input = if name == "ncat" { text } else { String::new() };
        run_other(program, &args, input).expect_code(0);
    }
    let of = |name: &str| {
        let got = postfix.delivered_to("ann", &format!("the same {name}"));
        String::from_utf8(sent(&got).to_vec()).unwrap().replace(name, "MARK")
    };
    let ours = of("ncat");
    assert_eq!(ours, whole.replace("\r\n", "\n"));
    // swaks ends with an empty line of its own.
    assert_eq!(of("swaks"), format!("{ours}\n"));
}

#[test]
fn fifty_megabytes_are_streamed_and_little_is_held() {
    // Beside the message: a server that counts, for Postfix has a limit of its own.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let dir = dir();
    let mut whole = b"Subject: long\n\n".to_vec();
    while whole.len() < 50_000_000 {
        whole.extend_from_slice(b"Lorem ipsum dolor sit amet, consetetur sadipscing elitr\n");
    }
    let lines = whole.iter().filter(|b| **b == b'\n').count();
    let file = file_in(&dir, "whole", &whole);
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut reader = BufReader::with_capacity(1 << 16, peer.try_clone().unwrap());
        let mut mail = String::new();
        for reply in ["220 hi\r\n", "250-hi\r\n250-SIZE\r\n250 X\r\n", "250 a\r\n", "250 b\r\n"] {
            peer.write_all(reply.as_bytes()).unwrap();
            reader.read_line(&mut mail).unwrap();
        }
        peer.write_all(b"354 go\r\n").unwrap();
        let (mut octets, mut line) = (0_usize, Vec::new());
        while line != b".\r\n" {
            octets += line.len();
            line.clear();
            reader.read_until(b'\n', &mut line).unwrap();
        }
        peer.write_all(b"250 queued\r\n").unwrap();
        hang_up(&peer);
        (mail, octets)
    });
    let mut command = Command::new("/usr/bin/env");
    // A process that is not allowed much cannot hold it.
    command.args(["sh", "-c", "ulimit -v 400000; exec \"$@\"", "sh", NCAT, "--smtp", &place]);
    command.args(TO_ANN).stdin(File::open(file).unwrap()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let running = spawn(command);
    let (mail, octets) = server.join().unwrap();
    running.wait().expect_code(0).expect_stderr("");
    assert!(mail.contains(&format!("SIZE={}", whole.len())), "{mail}");
    assert_eq!(octets, whole.len() + lines);
}

/// A server that says one thing after the other, each but the first when it has heard a line, and
/// then hangs up; what it has heard.
fn scripted(says: &[&'static str]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let says = says.to_vec();
    let heard = std::thread::spawn(move || {
        let (peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(tool::DEADLINE)).unwrap();
        let heard = converse(&peer, &peer, &says);
        hang_up(&peer);
        heard
    });
    (place, heard)
}

/// Ends so that everything that was said arrives: what is left unread would reset the connection.
fn hang_up(mut peer: &TcpStream) {
    // Whoever is called may be gone.
    let _ = peer.shutdown(Shutdown::Write);
    let _ = peer.read_to_end(&mut Vec::new());
}

fn converse(mut to: impl Write, from: impl Read, says: &[&str]) -> String {
    let mut from = BufReader::new(from);
    let mut heard = Vec::new();
    for (n, words) in says.iter().enumerate() {
        // Whoever has left says nothing, and hears nothing.
        if n > 0 {
            let _ = from.read_until(b'\n', &mut heard);
        }
        let _ = to.write_all(words.as_bytes());
    }
    String::from_utf8(heard).unwrap()
}

/// Sends a short message there.
fn send(place: &str, options: &[&str]) -> Output {
    let args = [&["--smtp", place, "--body", "x", "-w", "5"][..], &TO_ANN, options].concat();
    run(&args, "")
}

#[test]
fn what_goes_wrong_is_said_in_one_line_with_its_status() {
    const HI: &str = "220 hi\r\n";
    const OK: &str = "250 ok\r\n";
    for (says, options, code, words) in [
        (&["554 no\r\n"][..], &[][..], 69, "refused the connection: 554"),
        (&["421 busy\r\n"], &[], 75, "421 busy"),
        (&["hello\r\n"], &[], 1, "expected an SMTP reply"),
        (&[""], &[], 1, "hung up before its greeting"),
        (&[HI, "550 no\r\n", "550 no\r\n"], &[], 69, "refused EHLO"),
        (&[HI, "250-x\r\n251 y\r\n"], &[], 1, "the same code"),
        (&[HI, "250 hi\r\n", "450 4.7.1 greylisted\r\n"], &[], 75, "refused the sender: 450"),
        (&[HI, "250 hi\r\n", OK, "550 5.1.1 no\r\n"], &[], 69, "refused the recipient"),
        (&[HI, "250 hi\r\n", OK, OK, "451 disk\r\n"], &[], 75, "refused the message: 451 disk"),
        (&[HI, "250 hi\r\n", OK, OK], &[], 1, "hung up before its reply to DATA"),
        (&[HI, "250 hi\r\n"], &["--starttls"], 1, "does not offer STARTTLS"),
        (&[HI, "250-hi\r\n250 SIZE 10\r\n"], &[], 69, "it takes 10 octets at most"),
        (&[HI, "250 hi\r\n"], &["--dsn-ret", "hdrs"], 1, "does not offer DSN"),
        (
            &[HI, "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n250 evil\r\n"],
            &["--starttls"],
            1,
            "before the handshake",
        ),
        (&[HI, "250 hi\r\n"], &["--auth", "ann:tanstaaf"], 1, "does not offer a login"),
    ] {
        let (place, heard) = scripted(says);
        let output = send(&place, options).expect_code(code).expect_stderr(words);
        assert_eq!(output.stdout, b"");
        assert!(!heard.join().unwrap().contains("tanstaaf"));
    }
}

#[test]
fn a_hang_up_behind_the_message_is_in_doubt() {
    // The whole message has gone out: the lines of the header, of the text, and the dot.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (peer, _) = listener.accept().unwrap();
        let says = ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
        converse(&peer, &peer, &says);
        let lines = BufReader::new(&peer).lines().map(Result::unwrap);
        assert!(lines.take_while(|line| line != ".").count() > 3);
    });
    send(&place, &[]).expect_code(75).expect_stderr("it is unknown whether it took it");
    server.join().unwrap();
}

#[test]
fn one_may_stop_half_way() {
    for (stage, says) in [("connect", 1), ("ehlo", 2), ("mail", 3), ("rcpt", 4)] {
        let all = ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n"];
        let says = [&all[..says], &["221 bye\r\n"]].concat();
        let (place, heard) = scripted(&says);
        let output = send(&place, &["--quit-after", stage]).expect_code(0).expect_stderr("");
        assert_eq!(output.stdout, b"");
        assert!(heard.join().unwrap().ends_with("QUIT\r\n"), "{stage}");
    }
}

#[test]
fn lmtp_answers_for_each_recipient_over_a_unix_socket_too() {
    let dir = dir();
    let path = dir.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let reading = peer.try_clone().unwrap();
        let says = ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n"];
        let mut heard = converse(&mut peer, &reading, &says);
        let mut lines = BufReader::new(&reading).lines().map(Result::unwrap);
        heard += &lines.next().unwrap();
        peer.write_all(b"354 go\r\n").unwrap();
        assert!(lines.by_ref().any(|line| line == "."));
        peer.write_all(b"250 for ann\r\n452 4.2.2 bob is full\r\n").unwrap();
        assert_eq!(lines.next().unwrap(), "QUIT");
        heard
    });
    let args = ["--smtp", "--lmtp", "-U", arg(&path), "--to", "bob@example.test", "--body", "x"];
    let output = run(&[&args[..], &TO_ANN].concat(), "").expect_code(75);
    output.expect_stderr("refused the recipient ann@example.test: 452 4.2.2 bob is full");
    assert!(server.join().unwrap().starts_with("LHLO "));
}

#[test]
fn a_credential_or_a_message_goes_to_nobody_who_is_not_verified() {
    // The address of a machine that is not this one, which is one of ours all the same.
    let Some(postfix) = Postfix::start() else { return };
    let place = postfix.at("starttls");
    let output = send(&place, &["--starttls", "--ssl-verify"]).expect_code(1);
    output.expect_stderr("certificate is not accepted");
    send(&place, &["--starttls", "--ssl-insecure"]).expect_code(0).expect_stderr("");
}

#[test]
fn the_exchangers_of_a_domain_are_called_in_order() {
    let records = [
        "--mx-host=two.test,127.0.0.1,20",
        "--mx-host=two.test,127.0.0.2,10",
        "--mx-host=null.test,.,0",
        "--mx-host=dead.test,127.0.0.2,10",
        "--mx-host=dead.test,127.0.0.3,10",
        "--txt-record=other.test,x",
    ];
    let Some(dns) = Dnsmasq::start(&records) else { return };
    let place = dns.place();
    let send = |domain: &str, port: &str| {
        let args = ["--smtp", "--mx", domain, "--dns-server", &place, port, "-v", "-w", "5"];
        run(&[&args[..], &["--body", "x"], &TO_ANN].concat(), "")
    };
    let port = |at: &str| at.rsplit(':').next().unwrap().to_owned();
    // The best does not answer, so the next has it.
    let ok = ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "451 4.3.0 later\r\n"];
    let (at, heard) = scripted(&ok);
    let output = send("two.test", &port(&at)).expect_code(75);
    let told = &output.stderr;
    let first = told.find("cannot connect to 127.0.0.2").expect(told);
    assert!(first < told.find("Connected to 127.0.0.1").expect(told), "{told}");
    assert!(told.contains("has the mail exchangers 127.0.0.2 (10), 127.0.0.1 (20)."), "{told}");
    assert!(heard.join().unwrap().contains("MAIL FROM:<me@example.net>"));
    // What refuses for now hands on to the next; what refuses for good does not.
    for (reply, code, calls) in [("450 4.7.1 grey\r\n", 0, 2), ("550 5.7.1 no\r\n", 69, 1)] {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let first = std::thread::spawn(move || {
            let (peer, _) = listener.accept().unwrap();
            let heard = converse(&peer, &peer, &["220 hi\r\n", "250 hi\r\n", reply]);
            hang_up(&peer);
            heard
        });
        let second = std::thread::spawn(move || {
            let (mut peer, _) = other.accept().unwrap();
            let reading = peer.try_clone().unwrap();
            let says = ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
            converse(&mut peer, &reading, &says);
            let mut lines = BufReader::new(&reading).lines().map_while(Result::ok);
            if lines.any(|line| line == ".") {
                peer.write_all(b"250 queued\r\n").unwrap();
            }
            hang_up(&peer);
        });
        let output = send("two.test", &port.to_string()).expect_code(code);
        let connects = output.stderr.matches("Connected to ").count();
        assert_eq!(connects, calls, "{}", output.stderr);
        assert!(first.join().unwrap().contains("MAIL FROM"));
        if calls == 1 {
            // Nobody has called it, so it would wait for ever.
            TcpStream::connect(("127.0.0.1", port)).unwrap();
        }
        second.join().unwrap();
    }
    send("null.test", "25").expect_code(69).expect_stderr("takes no mail");
    send("nowhere.test", "25").expect_code(69).expect_stderr("there is no domain nowhere.test");
    // Without an MX record the domain is its own host.
    send("other.test", "25").expect_code(2).expect_stderr("cannot find the address of other.test");
    send("dead.test", "9").expect_code(1).expect_stderr("Trying the next mail exchanger.");
    let nobody = tool::free_port();
    let args = ["--smtp", "--mx", "two.test", "--dns-server", &format!("127.0.0.1:{nobody}")];
    run(&[&args[..], &["-w", "2", "--body", "x"], &TO_ANN].concat(), "")
        .expect_code(75)
        .expect_stderr("cannot find who takes mail for two.test");
}

#[test]
fn a_dialogue_in_one_direction_is_refused_however_it_is_asked_for() {
    // By a URL it went on: nothing was sent, and the exit status was 0.
    for option in ["--send-only", "--recv-only"] {
        for place in [&["--smtp", "localhost"][..], &["smtp://localhost"]] {
            let args = [place, &[option, "--body", "x"], &TO_ANN].concat();
            run(&args, "").expect_code(2).expect_stderr("a dialogue needs both");
        }
    }
}

#[test]
fn a_server_that_refuses_in_the_middle_of_a_message_is_heard() {
    // It was taken for words that nobody had asked for, and then for a broken network.
    for (reply, code) in [("552 5.3.4 too big\r\n", 69), ("451 4.3.0 disk\r\n", 75)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let reading = peer.try_clone().unwrap();
            let mut lines = BufReader::new(&reading).lines().map(Result::unwrap);
            for says in ["220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
                peer.write_all(says.as_bytes()).unwrap();
                lines.next();
            }
            peer.write_all(reply.as_bytes()).unwrap();
            // Until it hangs up, which it does before the end.
            lines.any(|line| line == ".")
        });
        let text = format!("Subject: x\n\n{}", "some text\n".repeat(3_000_000));
        let output = run(&[&["--smtp", &place], &TO_ANN[..]].concat(), text).expect_code(code);
        output.expect_stderr(&format!("refused the message: {}", reply.trim_end()));
        assert!(!server.join().unwrap());
    }
}

#[test]
fn a_field_that_cannot_be_added_is_not_forgotten() {
    // It went out without the subject, and the first line of the text was its header.
    for option in [["--subject", "Hi"], ["--header", "X-A: b"]] {
        let args = [&["--smtp", "localhost:1"], &option[..], &TO_ANN].concat();
        let output = run(&args, "To: do\nbread\n").expect_code(2);
        output.expect_stderr(&format!("{} cannot be added", option[0]));
        let output = run(&args, "\nTo: do\nbread\n").expect_code(1);
        output.expect_stderr("cannot connect to localhost");
    }
}

#[test]
fn a_server_is_told_whom_we_speak_for() {
    let Some(postfix) = Postfix::start() else { return };
    let place = postfix.at("proxied");
    for version in ["v1", "v2"] {
        let mark = format!("proxied by {version}");
        let args = [
            "--smtp",
            "-4",
            &place,
            "--proxy-protocol",
            version,
            "--subject",
            &mark,
            "--body",
            "x",
        ];
        run(&[&args[..], &TO_ANN].concat(), "").expect_code(0).expect_stderr("");
        let got = postfix.delivered(&mark);
        assert!(got.contains("[127.0.0.1]") && got.contains("with ESMTP"), "{got}");
    }
    let mark = "for somebody else";
    let args = [
        "--smtp",
        "-4",
        &place,
        "--proxy-protocol",
        "v1",
        "--subject",
        mark,
        "--body",
        "x",
        "--xclient",
        "NAME=mail.example ADDR=192.0.2.77",
    ];
    run(&[&args[..], &TO_ANN].concat(), "").expect_code(0).expect_stderr("");
    let got = postfix.delivered(mark);
    assert!(got.contains("mail.example [192.0.2.77]"), "{got}");
    // Who does not offer it is not told.
    let place = postfix.at("plain");
    let args = ["--smtp", "-4", &place, "--body", "x", "--xclient", "ADDR=2001:db8::1"];
    run(&[&args[..], &TO_ANN].concat(), "").expect_code(1).expect_stderr("does not offer XCLIENT");
    for wrong in [["--xclient", "frob"], ["--proxy-protocol", "v3"]] {
        run(&[&["--smtp", "x.test", "--body", "x"], &TO_ANN[..], &wrong].concat(), "")
            .expect_code(2);
    }
}

#[test]
fn who_is_refused_for_now_is_tried_again_and_nobody_else() {
    // Bob is greylisted twice, eve is refused for good, and the first message goes to dave alone.
    let (server, port) = tool::serving(&[
        "--smtp",
        "-k",
        "--no-trace",
        "--output-format",
        "jsonl",
        "--fault",
        "rcpt~^bob@=450 4.7.1 Later x2",
        "--fault",
        "rcpt~^eve@=550 5.1.1 Nobody",
    ]);
    let place = format!("127.0.0.1:{port}");
    let args = [
        "--smtp",
        "-v",
        &place,
        "--from",
        "a@b",
        "--to",
        "bob@x,dave@x,eve@x",
        "--retry",
        "3:10ms",
        "--subject",
        "again",
    ];
    let output = run(&args, "the text\n").expect_code(69);
    assert_eq!(output.stderr.matches("trying again in").count(), 2, "{}", output.stderr);
    assert_eq!(output.stderr.matches("refused the recipient eve@x").count(), 1);
    server.wait_stdout("bob@x");
    let text = String::from_utf8(server.stdout()).unwrap();
    let to: Vec<_> = text
        .lines()
        .map(|line| (line.contains("\"dave@x\""), line.contains("{\"address\":\"bob@x\"")))
        .collect();
    assert_eq!(to, [(true, false), (false, true)], "{text}");
    assert!(text.lines().all(|line| line.contains("the text")));
}

#[test]
fn a_connection_that_is_lost_before_the_message_is_tried_again_and_after_it_not() {
    for (fault, code, tries) in [
        ("mail=drop", 0, 1),
        ("greeting=421 4.3.2 Not now x1", 0, 1),
        ("data=451 4.3.0 Not now x1", 0, 1),
        ("dot=drop", 75, 0),
        ("mail=550 5.7.1 No", 69, 0),
    ] {
        let fault = if fault == "mail=drop" { "mail=dropx1" } else { fault };
        let (server, port) = tool::serving(&["--smtp", "-k", "--fault", fault]);
        let place = format!("127.0.0.1:{port}");
        let args = [
            "--smtp", "-v", &place, "--from", "a@b", "--to", "c@d", "--body", "x", "--retry",
            "3:10ms",
        ];
        let output = run(&args, "");
        let tried = output.stderr.matches("trying again in").count();
        assert_eq!((output.code(), tried), (code, tries), "{fault}: {}", output.stderr);
        drop(server);
    }
}

#[test]
fn a_port_is_waited_for() {
    let port = tool::free_port();
    let place = port.to_string();
    let waiting = tool::ncat(&["-v", "-z", "--retry", "200:20ms", "127.0.0.1", &place]);
    waiting.wait_stderr("trying again in");
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    waiting.finish().expect_code(0);
    drop(listener);
    run(&["-z", "--retry", "2:10ms", "127.0.0.1", &place], "").expect_code(1);
    run(&["--retry", "x", "127.0.0.1", &place], "").expect_code(2).expect_stderr("--retry takes");
}
