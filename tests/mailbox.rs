//! Helped POP3 and IMAP sessions with a real Dovecot, and with servers that misbehave.

mod tool;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread::JoinHandle;
use tool::dovecot::{Dovecot, FIRST, IMAP, IMAPS, POP3, POP3S, SECOND};
use tool::{Output, arg, file_in, on_terminal, run, run_other, same};

/// Runs our program to the end of a script; `port` is a place in the ports of the server.
fn call(dovecot: &Dovecot, helper: &str, port: usize, options: &[&str], script: &str) -> Output {
    let place = format!("localhost:{}", dovecot.ports[port]);
    run(&[&["-4", helper, place.as_str()], options].concat(), script)
}

#[test]
fn a_mailbox_is_read_by_a_script_over_every_kind_of_tls() {
    let Some(dovecot) = Dovecot::start() else { return };
    let trust = dovecot.certificate();
    let trusted = ["--ssl-trustfile", trust.as_str()];
    let imap = "a1 LOGIN ann secret\na2 EXAMINE INBOX\na3 FETCH 1:2 BODY[]\na4 LOGOUT\n";
    let pop3 = "USER ann\nPASS secret\nLIST\nRETR 1\nRETR 2\nQUIT\n";
    for (helper, port, options, script) in [
        ("--imap", IMAP, &["--starttls"][..], imap),
        ("--imap", IMAPS, &["--ssl"], imap),
        ("--pop3", POP3, &["--starttls"], pop3),
        ("--pop3", POP3S, &["--ssl"], pop3),
    ] {
        let options = [options, &trusted].concat();
        let output = call(&dovecot, helper, port, &options, script).expect_code(0);
        let text = output.text();
        let first =
            if helper == "--pop3" { FIRST.replace("\n.", "\n..") } else { FIRST.to_owned() };
        assert!(text.contains(&first) && text.contains(SECOND), "{helper} {options:?}: {text}");
        assert_eq!(output.stderr, "", "{helper} {options:?}");
    }
    // Typed upgrades, without a certificate that is trusted: one warning, and it goes on.
    let script = "a STARTTLS\nb LOGIN ann secret\nc NOOP\n";
    let output = call(&dovecot, "--imap", IMAP, &[], script).expect_code(0);
    assert!(output.text().contains("b OK") && output.text().contains("ncat1 OK"), "{output:?}");
    let output = output.expect_stderr("warning: ");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    let script = "STLS\nUSER ann\nPASS secret\nSTAT\n";
    let output = call(&dovecot, "--pop3", POP3, &["--ssl-insecure"], script).expect_code(0);
    assert!(output.text().contains("+OK 2 "), "{output:?}");
}

#[test]
fn a_login_is_made_by_every_mechanism() {
    let Some(dovecot) = Dovecot::start() else { return };
    let file = file_in(&dovecot.dir, "password", "secret\n");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let trust = dovecot.certificate();
    let login = ["--ssl-trustfile", &trust, "--auth", "ann", "--auth-file", arg(&file)];
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"] {
        for (helper, port, script, sign) in [
            ("--imap", IMAPS, "a STATUS INBOX (MESSAGES)\n", "MESSAGES 2"),
            ("--imap", IMAP, "a STATUS INBOX (MESSAGES)\n", "MESSAGES 2"),
            ("--pop3", POP3S, "STAT\n", "+OK 2 "),
            ("--pop3", POP3, "STAT\n", "+OK 2 "),
        ] {
            let tls = if [IMAPS, POP3S].contains(&port) { "--ssl" } else { "--starttls" };
            let options = [&login[..], &[tls, "--auth-mech", mechanism, "-v"]].concat();
            let output = call(&dovecot, helper, port, &options, script).expect_code(0);
            let (text, told) = (output.text(), &output.stderr);
            assert!(text.contains(sign), "{mechanism} {helper}: {output:?}");
            assert!(told.contains(&format!("{mechanism} ****")) || told.contains("C: ****"));
            assert!(!told.contains("secret") && !told.contains("c2VjcmV0"), "{told}");
        }
    }
    // Without a word the strongest is taken.
    let options = [&login[..], &["--ssl", "-v"]].concat();
    call(&dovecot, "--imap", IMAPS, &options, "")
        .expect_code(0)
        .expect_stderr("SCRAM-SHA-256 ****");
}

#[test]
fn a_wrong_password_is_status_77_typed_or_not() {
    let Some(dovecot) = Dovecot::start() else { return };
    let trust = dovecot.certificate();
    let trusted = ["--ssl", "--ssl-trustfile", trust.as_str()];
    for (helper, port, script) in
        [("--imap", IMAPS, "a LOGIN ann wrong\n"), ("--pop3", POP3S, "USER ann\nPASS wrong\n")]
    {
        call(&dovecot, helper, port, &trusted, script).expect_code(77);
        let options = [&trusted[..], &["--auth", "ann:wrong"]].concat();
        let output = call(&dovecot, helper, port, &options, "").expect_code(77);
        let output = output.expect_stderr("refused the login");
        assert!(!output.stderr.contains("ann:wrong"), "{}", output.stderr);
    }
    call(&dovecot, "--imap", IMAPS, &trusted, "a SELECT INBOX\n").expect_code(69);
    let options = [&trusted[..], &["--exit-zero"]].concat();
    call(&dovecot, "--imap", IMAPS, &options, "a SELECT INBOX\n").expect_code(0);
}

#[test]
fn a_message_is_appended_by_its_octets_and_idle_hears_of_it() {
    let Some(dovecot) = Dovecot::start() else { return };
    let place = format!("localhost:{}", dovecot.ports[IMAPS]);
    let args = ["-4", "--imap", "--ssl", "--ssl-insecure", "--auth", "ann:secret", &place];
    let mut idler = tool::ncat(&args);
    idler.send("a EXAMINE INBOX\nb IDLE\n");
    idler.wait_stdout("+ idling");
    // A literal passes octet for octet, so that its line ends are those of the script.
    let message = "Subject: third\r\n\r\n.\r\nb NOOP\r\n";
    let script =
        format!("a APPEND INBOX {{{}}}\n{message}\nc STATUS INBOX (MESSAGES)\n", message.len());
    let output = run(&args, script).expect_code(0);
    assert!(output.text().contains("MESSAGES 3"), "{output:?}");
    idler.wait_stdout("3 EXISTS");
    let output = idler.finish().expect_code(0);
    assert!(output.text().contains("b OK"), "the end of the input ends IDLE: {output:?}");
    let output = run(&args, "a EXAMINE INBOX\nb FETCH 3 BODY[]\n").expect_code(0);
    assert!(output.text().contains(&format!("{{{}}}\r\n{message}", message.len())), "{output:?}");
}

#[test]
fn a_starttls_alone_carries_bytes_afterwards() {
    let Some(dovecot) = Dovecot::start() else { return };
    for (protocol, port, script, sign) in [
        ("--starttls=imap", IMAP, "a LOGOUT\r\n", "a OK"),
        ("--starttls=pop3", POP3, "QUIT\r\n", "+OK"),
    ] {
        let place = format!("localhost:{}", dovecot.ports[port]);
        let output = run(&["-4", protocol, "--ssl-insecure", &place], script).expect_code(0);
        assert!(output.text().contains(sign), "{output:?}");
        run(&["-4", protocol, "--ssl-insecure", "-z", &place], "").expect_code(0);
    }
}

#[test]
fn a_person_is_told_what_replies_mean() {
    let Some(dovecot) = Dovecot::start() else { return };
    let place = format!("localhost:{}", dovecot.ports[POP3]);
    let (client, mut terminal) =
        on_terminal(&["-4", "--pop3", "--explain", "--ssl-insecure", &place]);
    let modes = terminal.modes();
    client.wait_stdout("the server is ready; next: CAPA");
    terminal.type_text("STLS\r");
    client.wait_stdout("say CAPA again");
    terminal.type_text("USER ann\r");
    client.wait_stdout("next: PASS");
    terminal.type_text("PASS wrong\r");
    client.wait_stdout("user or password is wrong");
    terminal.type_text("\x04");
    client.wait_stdout("goodbye");
    client.wait().expect_code(77);
    assert_eq!(terminal.modes(), modes);
}

/// A server that says one thing after the other, each but the first when it has heard a line, and
/// then hangs up; what it has heard.
fn scripted(says: &[&'static str]) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let says = says.to_vec();
    let heard = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(tool::DEADLINE)).unwrap();
        let mut reader = BufReader::new(peer.try_clone().unwrap());
        let mut heard = Vec::new();
        for (n, words) in says.into_iter().enumerate() {
            // Whoever has left says nothing, and hears nothing.
            if n > 0 {
                let _ = reader.read_until(b'\n', &mut heard);
            }
            let _ = peer.write_all(words.as_bytes());
        }
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let _ = reader.read_to_end(&mut heard);
        heard
    });
    (place, heard)
}

#[test]
fn a_hostile_server_gets_no_credential_and_one_clear_line() {
    let auth = ["--auth", "ann:tanstaaf", "--ssl-insecure"];
    for (helper, options, says, code, words) in [
        // Words that came before the handshake.
        (
            "--imap",
            &["--starttls"][..],
            &["* OK hi\r\n", "* CAPABILITY STARTTLS\r\nncat1 OK\r\n", "ncat2 OK\r\n* BYE x\r\n"][..],
            1,
            "before the handshake",
        ),
        (
            "--pop3",
            &["--starttls"],
            &["+OK hi\r\n", "+OK\r\nSTLS\r\n.\r\n", "+OK\r\n+OK evil\r\n"],
            1,
            "before the handshake",
        ),
        ("--imap", &["--starttls"], &["* PREAUTH hi\r\n"], 1, "does not offer STARTTLS"),
        ("--imap", &["--starttls"], &["* OK\r\n", "* CAPABILITY X\r\nncat1 OK\r\n"], 1, "STARTTLS"),
        ("--pop3", &["--starttls"], &["+OK\r\n", "+OK\r\nSASL PLAIN\r\n.\r\n"], 1, "STLS"),
        ("--imap", &["--starttls"], &["* BYE full\r\n"], 69, "refused the connection"),
        ("--pop3", &["--starttls"], &["-ERR [SYS/TEMP] full\r\n"], 75, "refused the connection"),
        ("--imap", &[], &["hello\r\n"], 1, "expected an IMAP response"),
        ("--pop3", &[], &["hello\r\n"], 1, "expected a POP3 status line"),
        ("--imap", &[], &["* OK {5}\r\n", "* 1 FETCH {99999999999}\r\n"], 1, "at most 32 bits"),
        ("--imap", &[], &["* OK hi\r\n", "* 1 FETCH (X {10}\r\nabc"], 1, "this is not all"),
        ("--pop3", &[], &["+OK hi\r\n", "+OK\r\nhalf"], 1, "single dot"),
        ("--imap", &[], &["* OK hi\r\n", ""], 1, "hung up before"),
        ("--pop3", &[], &[""], 1, "hung up before its greeting"),
        ("--imap", &[], &["* BYE go away\r\n"], 69, ""),
        ("--imap", &[], &["* OK hi\r\n", "* BYE later\r\n"], 75, ""),
    ] {
        let (place, heard) = scripted(says);
        let script = if helper == "--imap" { "a FETCH 1 BODY[]\n" } else { "RETR 1\n" };
        let login = if options.is_empty() { &[][..] } else { &auth[..] };
        let place = place.as_str();
        let output = run(&[&[helper, "-w", "5", place], options, login].concat(), script);
        let output = output.expect_code(code).expect_stderr(words);
        assert!(output.stderr.matches("ncat: ").count() <= 2, "{}", output.stderr);
        let heard = String::from_utf8(heard.join().unwrap()).unwrap();
        assert!(!heard.contains("tanstaaf") && !heard.contains("dGFuc3RhYWY"), "{heard}");
    }
}

#[test]
fn a_megabyte_of_one_message_passes_as_it_is() {
    let body = "x".repeat(1_000_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let text = format!("+OK\r\n{body}\r\n.\r\n");
    let answer = text.clone();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(peer.try_clone().unwrap()).lines();
        peer.write_all(b"+OK hi\r\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "RETR 1");
        peer.write_all(answer.as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "QUIT");
        peer.write_all(b"+OK bye\r\n").unwrap();
    });
    let output = run(&["--pop3", &place], "RETR 1\n").expect_code(0);
    server.join().unwrap();
    same(&output.stdout, format!("+OK hi\r\n{text}+OK bye\r\n").as_bytes());
}

/// Runs our program without an input; `port` is a place in the ports of the server.
fn read(dovecot: &Dovecot, helper: &str, port: usize, options: &[&str]) -> Output {
    let trust = dovecot.certificate();
    let login = ["--auth", "ann:secret", "--ssl-trustfile", &trust];
    let tls = if [IMAPS, POP3S].contains(&port) { "--ssl" } else { "--starttls" };
    let output = call(dovecot, helper, port, &[&login[..], &[tls], options].concat(), "");
    // The password on the command line is warned about, and nothing else.
    let told = output.stderr.lines().filter(|line| !line.contains("on the command line"));
    let stderr = told.map(|line| format!("{line}\n")).collect();
    Output { stderr, ..output }
}

#[test]
fn a_mailbox_is_listed_and_read_without_typing() {
    let Some(dovecot) = Dovecot::start() else { return };
    for port in [POP3, POP3S] {
        let output = read(&dovecot, "--pop3", port, &["--list"]).expect_code(0);
        let output = output.expect_stderr("");
        let text = output.text();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((lines[0][0], lines[0][5]), ("1", "first"), "{text}");
        assert_eq!((lines[1][0], lines[1][5]), ("2", "second"), "{text}");
        assert_eq!(lines[1][1], SECOND.len().to_string(), "{text}");
        assert!(!lines[0][2].is_empty() && lines[0][2] != lines[1][2], "{text}");
    }
    for port in [IMAP, IMAPS] {
        let output = read(&dovecot, "--imap", port, &["--list"]).expect_code(0);
        output.expect_stderr("").expect_stdout("INBOX\t2\t2\n");
        let output = read(&dovecot, "--imap", port, &["--list", "--folder", "INBOX"]);
        let text = output.expect_code(0).expect_stderr("").text();
        assert!(text.starts_with(&format!("1\t{}\t", FIRST.len())), "{text}");
        assert!(text.lines().nth(1).unwrap().ends_with("\tsecond"), "{text}");
    }
    for (helper, port) in [("--pop3", POP3S), ("--imap", IMAPS)] {
        // One message is what the server has, octet for octet.
        let output = read(&dovecot, helper, port, &["--fetch", "1"]).expect_code(0);
        same(&output.expect_stderr("").stdout, FIRST.as_bytes());
        // Several are an mbox, which Python reads.
        let output = read(&dovecot, helper, port, &["--fetch", "all"]).expect_code(0);
        let mbox = file_in(&dovecot.dir, "mbox", &output.stdout);
        let script = "import mailbox, sys\n\
            for m in mailbox.mbox(sys.argv[1]): print(m['subject'], repr(m.get_payload()))\n";
        let output = run_other("python3", &["-c", script, arg(&mbox)], "").expect_code(0);
        output.expect_stdout("first 'Hello,\\n.a dot\\na1 OK {3}\\n'\nsecond 'Bye.\\n'\n");
        // What is not there is said to be so; the rest arrives.
        let output = read(&dovecot, helper, port, &["--fetch", "2,9"]).expect_code(69);
        assert!(output.text().contains("Bye."), "{output:?}");
        output.expect_stderr("refused message 9");
    }
    let output = read(&dovecot, "--pop3", POP3S, &["--fetch", "1", "--top", "1"]).expect_code(0);
    output.expect_stdout("Subject: first\r\n\r\nHello,\r\n");
    let output = read(&dovecot, "--imap", IMAPS, &["--search", "SUBJECT second"]).expect_code(0);
    output.expect_stdout("2\n");
    let options = ["--search", "SUBJECT second", "--fetch", "all"];
    let output = read(&dovecot, "--imap", IMAPS, &options).expect_code(0);
    assert!(output.text().contains("Bye.") && !output.text().contains("Hello"), "{output:?}");
    let output = read(&dovecot, "--imap", IMAPS, &["--fetch", "1", "--folder", "Entwürfe"]);
    output.expect_code(69).expect_stderr("refused the mailbox Entw");
}

#[test]
fn what_was_read_may_be_deleted_and_only_that() {
    let Some(dovecot) = Dovecot::start() else { return };
    let output = read(&dovecot, "--pop3", POP3S, &["--fetch", "2", "--delete", "2"]);
    same(&output.expect_code(0).expect_stderr("").stdout, SECOND.as_bytes());
    let left = || read(&dovecot, "--imap", IMAPS, &["--list"]).expect_code(0).text();
    assert!(left().starts_with("INBOX\t1\t"), "{}", left());
    // Output that cannot be written: nothing is deleted.
    let place = format!("localhost:{}", dovecot.ports[POP3S]);
    let words = "$NCAT -4 --pop3 --ssl-insecure --ssl --auth ann:secret --fetch 1 --delete 1";
    let output = tool::shell(&format!("{words} {place} >/dev/full")).finish();
    output.expect_code(2).expect_stderr("cannot write standard output");
    assert!(left().starts_with("INBOX\t1\t"), "{}", left());
    read(&dovecot, "--pop3", POP3S, &["--delete", "9"]).expect_code(69);
    read(&dovecot, "--pop3", POP3S, &["--delete", "all"]).expect_code(0).expect_stdout("");
    assert!(left().starts_with("INBOX\t0\t"), "{}", left());
}

#[test]
fn a_message_that_is_not_whole_is_an_error() {
    for (helper, says, words) in [
        (
            "--pop3",
            &["+OK hi\r\n", "+OK\r\n.\r\n", "+OK\r\n", "+OK\r\n", "+OK 1 9\r\n", "+OK\r\nhalf"][..],
            "single dot",
        ),
        (
            "--imap",
            &[
                "* OK hi\r\n",
                "* CAPABILITY X\r\nncat1 OK\r\n",
                "ncat2 OK\r\n",
                "* 1 EXISTS\r\nf1 OK\r\n",
                "* 1 FETCH (BODY[] {100}\r\nhalf",
            ],
            "this is not all",
        ),
    ] {
        let (place, heard) = scripted(says);
        let args = [helper, &place, "--auth", "ann:x", "--fetch", "1", "-w", "5"];
        let output = run(&args, "").expect_code(1).expect_stderr(words);
        assert_eq!(output.text(), "half");
        heard.join().unwrap();
    }
}

#[test]
fn imap_stores_tells_of_it_and_deletes_without_typing() {
    let Some(dovecot) = Dovecot::start() else { return };
    let place = format!("localhost:{}", dovecot.ports[IMAPS]);
    let login = ["-4", "--imap", "--ssl", "--ssl-insecure", "--auth", "ann:secret", &place];
    let idler = tool::ncat(&[&login[..], &["-v", "--idle", "--accept", "1"]].concat());
    idler.wait_stderr("C: f2 IDLE");
    let file = file_in(&dovecot.dir, "new.eml", "Subject: third\n\nGrüezi\n.\n");
    let output = read(&dovecot, "--imap", IMAP, &["--append", arg(&file)]).expect_code(0);
    output.expect_stdout("").expect_stderr("");
    // It ends by itself, with a line for what has arrived.
    let output = idler.wait().expect_code(0);
    let line = output.text();
    assert!(line.starts_with("3\t") && line.ends_with("\tthird\n"), "{line}");
    let output = read(&dovecot, "--imap", IMAPS, &["--fetch", "3"]).expect_code(0);
    same(&output.stdout, "Subject: third\r\n\r\nGrüezi\r\n.\r\n".as_bytes());
    let options = ["--fetch", "2", "--delete", "2-3"];
    let output = read(&dovecot, "--imap", IMAPS, &options).expect_code(0).expect_stderr("");
    same(&output.stdout, SECOND.as_bytes());
    let output = read(&dovecot, "--imap", IMAPS, &["--list"]).expect_code(0);
    output.expect_stdout("INBOX\t1\t1\n");
    let output = read(&dovecot, "--imap", IMAPS, &["--append", arg(&file), "--folder", "No/such"]);
    output.expect_code(69).expect_stderr("refused to store the message");
    let output = read(&dovecot, "--imap", IMAPS, &["--append", "/no/such"]).expect_code(2);
    output.expect_stderr("cannot read --append /no/such");
}

#[test]
fn a_session_is_recorded_with_its_speakers_and_without_its_secrets() {
    let Some(dovecot) = Dovecot::start() else { return };
    let log = dovecot.dir.path().join("record");
    for (helper, port, script, typed) in [
        ("--imap", IMAPS, "a1 LOGIN ann secret\n", "C: a1 LOGIN ****\n"),
        ("--pop3", POP3S, "USER ann\nPASS secret\n", "C: PASS ****\n"),
        ("--pop3", POP3S, "AUTH PLAIN\nAGFubgBzZWNyZXQ=\n", "C: ****\n"),
    ] {
        let options = ["--ssl", "--ssl-insecure", "-o", arg(&log), "--output-format", "dialog"];
        call(&dovecot, helper, port, &[&options[..], &["--redact"]].concat(), script)
            .expect_code(0);
        let record = std::fs::read_to_string(&log).unwrap();
        assert!(record.contains(typed), "{record}");
        assert!(!record.contains("secret") && !record.contains("AGFubgBz"), "{record}");
        // Every line has a time and a speaker, and the greeting is the first.
        for line in record.lines() {
            let (time, words) = line.split_once(' ').unwrap();
            assert!(time.parse::<f64>().is_ok_and(|time| (0.0..60.0).contains(&time)), "{line}");
            assert!(words.starts_with("C: ") || words.starts_with("S: "), "{line}");
        }
        assert!(record.lines().next().unwrap().contains(" S: "), "{record}");
        call(&dovecot, helper, port, &options, script).expect_code(0);
        let record = std::fs::read_to_string(&log).unwrap();
        assert!(record.contains("secret") || record.contains("AGFubgBz"), "{record}");
    }
}

#[test]
fn apop_logs_in_without_showing_the_password() {
    let Some(dovecot) = Dovecot::start_with("plain apop") else { return };
    let place = format!("localhost:{}", dovecot.ports[POP3]);
    let with = |auth: &str| run(&["-4", "-v", "--pop3", "--auth", auth, &place, "--list"], "");
    let output = with("ann:secret").expect_code(0).expect_stderr("C: APOP ann ****");
    assert!(!output.stderr.contains("secret") && output.text().contains("first"), "{output:?}");
    with("ann:wrong").expect_code(77);
}

#[test]
fn flags_are_given_and_taken() {
    let Some(dovecot) = Dovecot::start() else { return };
    let flags = ["--search", "ALL", "--flag", "+\\seen,$Work,\\Flagged"];
    read(&dovecot, "--imap", IMAPS, &flags).expect_code(0).expect_stdout("1\n2\n");
    let list =
        read(&dovecot, "--imap", IMAPS, &["--list", "--folder", "INBOX"]).expect_code(0).text();
    assert!(
        list.lines().all(|line| line.contains("\\Flagged \\Seen") && line.contains("$Work")),
        "{list}"
    );
    let flags = ["--fetch", "2", "--flag", "-\\Flagged"];
    let output = read(&dovecot, "--imap", IMAPS, &flags).expect_code(0);
    same(&output.stdout, SECOND.as_bytes());
    read(&dovecot, "--imap", IMAPS, &["--search", "FLAGGED"]).expect_code(0).expect_stdout("1\n");
    let wrong = ["--search", "ALL", "--flag", "\\Sean"];
    read(&dovecot, "--imap", IMAPS, &wrong).expect_code(2).expect_stderr("is no flag");
    read(&dovecot, "--imap", IMAPS, &["--list", "--flag", "x"])
        .expect_code(2)
        .expect_stderr("which messages");
}

/// Sends to a mock server of ours, and lets `hand_on` bring what it has taken to the mailbox.
fn round_trip(url: &str, hand_on: impl FnOnce(&str)) -> Output {
    let (server, port) = tool::serving(&["--smtp", "--no-trace"]);
    let place = format!("127.0.0.1:{port}");
    let expected = ["--expect-in", url, "--auth", "ann:secret", "--ssl-insecure"];
    let args =
        ["--smtp", &place, "--from", "me@a.test", "--to", "ann@b.test", "--body", "Hello\n."];
    let sender = tool::ncat(&[&args[..], &expected].concat());
    let taken = server.finish().expect_code(0).text();
    let (_, message) = taken.split_once('\n').unwrap();
    hand_on(message);
    sender.finish()
}

#[test]
fn a_message_is_followed_into_the_mailbox() {
    let Some(dovecot) = Dovecot::start() else { return };
    let deliver = |name: &str, message: &str| {
        let file = file_in(&dovecot.dir, &format!("ann/tmp/{name}"), message);
        let chown = std::process::Command::new("chown").args(["nobody", arg(&file)]).status();
        assert!(chown.unwrap().success());
        std::fs::rename(&file, dovecot.dir.path().join(format!("ann/new/{name}"))).unwrap();
    };
    let imap = format!("imap://127.0.0.1:{}/INBOX", dovecot.ports[IMAP]);
    let pop3 = format!("pop3s://ann@127.0.0.1:{}", dovecot.ports[POP3S]);
    for (n, url) in [&imap, &pop3].into_iter().enumerate() {
        let received = "Received: by somebody\n";
        let output = round_trip(url, |m| deliver(&format!("{n}.m"), &format!("{received}{m}")));
        let output = output.expect_code(0).expect_stdout("").expect_stderr("ncat: taken after 0.");
        assert!(output.stderr.contains(&format!("and in {url} after ")), "{}", output.stderr);
    }
    let output = round_trip(&imap, |m| deliver("8.m", &m.replace("Hello", "hello")));
    output.expect_code(1).expect_stderr("its text is not what was sent");
    let output = round_trip(&format!("{imap},timeout=300ms"), |_| ());
    output.expect_code(1).expect_stderr("but it is not in imap://");
    let wrong = [
        "--smtp",
        "x.test",
        "--from",
        "c@d",
        "--to",
        "a@b",
        "--body",
        "x",
        "--expect-in",
        "http://x/",
    ];
    run(&wrong, "").expect_code(2).expect_stderr("--expect-in takes a URL");
}

#[test]
fn a_login_is_bound_to_the_very_connection_that_openssl_sees() {
    if !tool::have("openssl") {
        return;
    }
    let dir = tool::dir();
    tool::certified(&dir);
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let port = tool::free_port();
    let label = "EXPORTER-Channel-Binding";
    let mut server = tool::start(
        "openssl",
        &[
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            arg(&cert),
            "-key",
            arg(&key),
            "-tls1_3",
            "-crlf",
            "-keymatexport",
            label,
            "-keymatexportlen",
            "32",
            "-naccept",
            "1",
        ],
    );
    server.wait_stdout("ACCEPT");
    let place = format!("127.0.0.1:{port}");
    let args = ["--pop3", "--ssl", "--ssl-insecure", "--auth", "ann:secret", "--list", &place];
    let client = tool::ncat(&args);
    server.wait_stdout("Keying material: ");
    server.send("+OK hi\n");
    server.wait_stdout("CAPA");
    server.send("+OK\nSASL PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\n.\n");
    let line_with = |server: &tool::Running, start: &str| {
        server.wait_stdout(start);
        let mut line = String::new();
        tool::wait_until("a whole line", || {
            let text = String::from_utf8_lossy(&server.stdout()).into_owned();
            let (_, rest) = text.split_once(start).unwrap_or_default();
            line = rest.split_once('\n').map_or(String::new(), |(line, _)| line.trim().to_owned());
            !line.is_empty()
        });
        line
    };
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let first = base64.decode(line_with(&server, "AUTH SCRAM-SHA-256-PLUS ")).unwrap();
    let first = String::from_utf8(first).unwrap();
    let (header, bare) = first.split_once("n=ann,").unwrap();
    assert_eq!(header, "p=tls-exporter,,");
    let nonce = bare.strip_prefix("r=").unwrap();
    let challenge = base64.encode(format!("r={nonce}X,s=QSXCR+Q6sek8bf92,i=4096"));
    server.send(format!("+ {challenge}\n"));
    // What comes next in the server's output is the client's last message.
    let begins = base64.encode("c=cD10");
    let last = line_with(&server, &begins);
    let last = base64.decode(format!("{begins}{last}")).unwrap();
    let last = String::from_utf8(last).unwrap();
    let bound = last.strip_prefix("c=").unwrap().split(',').next().unwrap();
    let bound = base64.decode(bound).unwrap();
    let material = line_with(&server, "Keying material: ");
    let hex: String =
        bound["p=tls-exporter,,".len()..].iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(hex, material);
    server.send("-ERR [AUTH] no\n");
    client.finish().expect_code(77);
}

#[test]
fn what_is_fetched_can_be_put_into_a_maildir() {
    let Some(dovecot) = Dovecot::start() else { return };
    let dir = tool::dir();
    for (helper, port) in [("--pop3", POP3S), ("--imap", IMAPS)] {
        let maildir = dir.path().join(helper);
        let options = ["--fetch", "all", "--mailbox", arg(&maildir)];
        read(&dovecot, helper, port, &options).expect_code(0).expect_stdout("");
        let mut kept: Vec<_> = std::fs::read_dir(maildir.join("new"))
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        kept.sort();
        assert_eq!(kept, [FIRST, SECOND], "{helper}");
    }
    // What cannot be kept is not deleted.
    let file = file_in(&dir, "file", "no mailbox\n");
    let options = ["--fetch", "1", "--delete", "1", "--mailbox", arg(&file)];
    let output = read(&dovecot, "--pop3", POP3S, &options).expect_code(2);
    assert!(output.stderr.contains("cannot keep a message"), "{}", output.stderr);
    read(&dovecot, "--imap", IMAPS, &["--list"]).expect_code(0).expect_stdout("INBOX\t2\t0\n");
    read(&dovecot, "--imap", IMAPS, &["--list", "--mailbox", "x"])
        .expect_code(2)
        .expect_stderr("--fetch");
}
