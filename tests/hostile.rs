//! Hostile mail servers (the list of what they may do, item by item): each ends with one clear
//! line, in bounded time and memory, and without a credential having crossed the line.

mod tool;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tool::{DEADLINE, NCAT, Output, now, spawn};

/// The password, as it must never be heard: by itself, and as PLAIN and LOGIN would send it.
const SECRETS: [&str; 3] = ["s3cr3t-word", "AGFubgBzM2NyM3Qtd29yZA==", "czNjcjN0LXdvcmQ="];

/// A server that says these things in turn, each after it has heard something (the first at once),
/// and then `end`. What it has heard is what comes back.
fn server(says: Vec<Vec<u8>>, end: End) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let thread = std::thread::spawn(move || {
        let mut peer = tool::accept(&listener);
        peer.set_read_timeout(Some(DEADLINE)).unwrap();
        let (mut heard, mut buf) = (Vec::new(), [0; 4096]);
        let mut says = says.into_iter();
        let mut alive = says.next().is_none_or(|first| peer.write_all(&first).is_ok());
        for one in says {
            match peer.read(&mut buf) {
                Ok(0) | Err(_) => return heard,
                Ok(n) => heard.extend_from_slice(&buf[..n]),
            }
            alive &= peer.write_all(&one).is_ok();
        }
        match end {
            End::Close => {}
            End::Endless(word) => while alive && peer.write_all(word.as_bytes()).is_ok() {},
            End::Slow => {
                peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                loop {
                    match peer.read(&mut buf) {
                        Ok(0) => break,
                        Err(e) if e.kind() != ErrorKind::WouldBlock => break,
                        Ok(_) | Err(_) => {}
                    }
                    if peer.write_all(b"2").is_err() {
                        break;
                    }
                }
            }
            End::Silent => {
                while let Ok(n @ 1..) = peer.read(&mut buf) {
                    heard.extend_from_slice(&buf[..n]);
                }
            }
        }
        heard
    });
    (place, thread)
}

/// What a server does when it has said everything.
#[derive(Clone, Copy)]
enum End {
    Close,
    /// This again and again.
    Endless(&'static str),
    /// An octet now and then.
    Slow,
    Silent,
}

/// Runs a client with a login against such a server, and checks what must never happen.
#[track_caller]
fn meet(args: &[&str], says: &[&str], end: End) -> (Output, String) {
    let (place, thread) = server(says.iter().map(|one| one.as_bytes().to_vec()).collect(), end);
    let began = now();
    let mut client = Command::new(NCAT);
    client.env("NCAT_AUTH", "s3cr3t-word").args(["-w", "2s"]).args(args).arg(&place);
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(client).wait();
    assert!(began.elapsed() < Duration::from_secs(20), "it takes too long: {says:?}");
    let heard = String::from_utf8_lossy(&thread.join().unwrap()).into_owned();
    let all = format!("{heard}{}{}", output.stderr, String::from_utf8_lossy(&output.stdout));
    for secret in SECRETS {
        assert!(!all.contains(secret), "the password has been told: {all}");
    }
    let lines = output.stderr.lines().filter(|line| line.starts_with("ncat: ")).count();
    assert!(lines == 1 || output.code() == 0, "one clear line, not {lines}: {}", output.stderr);
    (output, heard)
}

const SMTP: &[&str] = &["--smtp", "--starttls", "--ssl-insecure", "--auth", "ann"];
const SEND: &[&str] = &[
    "--smtp",
    "--starttls",
    "--ssl-insecure",
    "--auth",
    "ann",
    "--from",
    "a@b",
    "--to",
    "c@d",
    "--body",
    "x",
];
const POP3: &[&str] = &["--pop3", "--starttls", "--ssl-insecure", "--auth", "ann", "--list"];
const IMAP: &[&str] = &["--imap", "--starttls", "--ssl-insecure", "--auth", "ann", "--list"];

#[test]
fn starttls_is_not_offered_refused_or_answered_454() {
    for (args, says) in [
        (SMTP, &["220 hi\r\n", "250 me\r\n"][..]),
        (SEND, &["220 hi\r\n", "250 me\r\n"]),
        (POP3, &["+OK hi\r\n", "+OK\r\nUSER\r\n.\r\n"]),
        (IMAP, &["* OK hi\r\n", "* CAPABILITY IMAP4rev1\r\nncat1 OK\r\n"]),
    ] {
        let (output, _) = meet(args, says, End::Close);
        assert!(
            output.code() == 1 && output.stderr.contains("does not offer"),
            "{}",
            output.stderr
        );
    }
    for (args, says, code) in [
        (SMTP, &["220 hi\r\n", "250-me\r\n250 STARTTLS\r\n", "454 4.7.0 not now\r\n"][..], 75),
        (
            SEND,
            &["220 hi\r\n", "250-me\r\n250 STARTTLS\r\n", "454 4.7.0 not now\r\n", "221 bye\r\n"],
            75,
        ),
        (
            SEND,
            &["220 hi\r\n", "250-me\r\n250 STARTTLS\r\n", "502 5.5.1 no\r\n", "221 bye\r\n"],
            69,
        ),
        (POP3, &["+OK hi\r\n", "+OK\r\nSTLS\r\n.\r\n", "-ERR not now\r\n"], 69),
        (
            IMAP,
            &["* OK hi\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\nncat1 OK\r\n", "ncat2 NO no\r\n"],
            69,
        ),
    ] {
        let (output, _) = meet(args, says, End::Close);
        assert_eq!(output.code(), code, "{says:?}: {}", output.stderr);
    }
}

#[test]
fn replies_are_injected_before_the_handshake() {
    for (args, says) in [
        (SMTP, &["220 hi\r\n", "250-me\r\n250 STARTTLS\r\n", "220 go\r\n250 AUTH PLAIN\r\n"][..]),
        (SEND, &["220 hi\r\n", "250-me\r\n250 STARTTLS\r\n", "220 go\r\n250 AUTH PLAIN\r\n"]),
        (POP3, &["+OK hi\r\n", "+OK\r\nSTLS\r\n.\r\n", "+OK go\r\n+OK\r\nSASL PLAIN\r\n.\r\n"]),
        (
            IMAP,
            &[
                "* OK hi\r\n",
                "* CAPABILITY IMAP4rev1 STARTTLS\r\nncat1 OK\r\n",
                "ncat2 OK go\r\n* PREAUTH\r\n",
            ],
        ),
    ] {
        let (output, _) = meet(args, says, End::Silent);
        assert!(
            output.code() == 1 && output.stderr.contains("behind its go-ahead"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn preauth_keeps_nobody_from_tls() {
    let (output, heard) = meet(IMAP, &["* PREAUTH welcome\r\n"], End::Close);
    assert!(output.code() == 1 && !heard.contains("LIST"), "{heard}");
}

#[test]
fn a_line_or_a_reply_has_no_end_or_comes_an_octet_at_a_time() {
    for args in [SMTP, SEND, POP3, IMAP] {
        let (output, _) =
            meet(args, &[""], End::Endless("2xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
        assert_eq!(output.code(), 1, "{}", output.stderr);
        let (output, _) = meet(args, &[""], End::Slow);
        assert!(output.code() == 1 && output.stderr.contains("2 s"), "{}", output.stderr);
    }
    for (args, says, again) in [
        (SMTP, &["220 hi\r\n", "250-me\r\n"][..], "250-more\r\n"),
        (SEND, &["220 hi\r\n", "250-me\r\n"], "250-more\r\n"),
        (POP3, &["+OK hi\r\n", "+OK\r\n"], "MORE\r\n"),
        (IMAP, &["* OK hi\r\n", "* OK x\r\n"], "* OK more\r\n"),
    ] {
        let (output, _) = meet(args, says, End::Endless(again));
        assert_eq!(output.code(), 1, "{says:?}: {}", output.stderr);
    }
}

#[test]
fn codes_change_in_one_reply_texts_are_missing_and_lines_end_in_lf() {
    let (output, _) = meet(SEND, &["220 hi\r\n", "250-me\r\n251 STARTTLS\r\n"], End::Silent);
    assert_eq!(output.code(), 1, "{}", output.stderr);
    let (output, _) = meet(SEND, &["220\n", "250\n"], End::Close);
    assert!(output.stderr.contains("does not offer STARTTLS"), "{}", output.stderr);
    let (output, _) = meet(POP3, &["+OK\n", "-ERR\n"], End::Close);
    assert_eq!(output.code(), 1, "-ERR to CAPA: {}", output.stderr);
}

#[test]
fn escapes_and_nul_do_nothing() {
    for (args, greeting) in [
        (SEND, "554 \x1b]52;c;AAAA\x07\0\u{202e}no\r\n"),
        (POP3, "-ERR \x1b]52;c;AAAA\x07\0\u{202e}no\r\n"),
        (IMAP, "* BYE \x1b]52;c;AAAA\x07\0\u{202e}no\r\n"),
    ] {
        let (output, _) = meet(args, &[greeting], End::Close);
        let shown = output.stderr.chars().all(|c| !c.is_control() || c == '\n');
        assert!(
            output.code() != 0 && shown && !output.stderr.contains('\u{202e}'),
            "{:?}",
            output.stderr
        );
    }
}

#[test]
fn a_421_or_an_end_comes_at_every_stage() {
    let send = &["--smtp", "--from", "a@b", "--to", "c@d", "--body", "x"][..];
    let good = ["220 hi\r\n", "250 me\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"];
    for stage in 0..good.len() {
        let mut says = good[..stage].to_vec();
        let (output, _) = meet(send, &says, End::Close);
        // Behind the message nobody knows.
        let code = if stage == 5 { 75 } else { 1 };
        assert_eq!(output.code(), code, "closed at {stage}: {}", output.stderr);
        says.push("421 4.3.2 going down\r\n");
        let (output, _) = meet(send, &says, End::Close);
        assert!(
            output.code() == 75 && output.stderr.contains("going down"),
            "{stage}: {}",
            output.stderr
        );
    }
    let login = "* CAPABILITY IMAP4rev1 AUTH=CRAM-MD5\r\nncat1 OK\r\n";
    let imap = &["--imap", "--auth", "ann", "--list"][..];
    for says in [&["* OK hi\r\n"][..], &["* OK hi\r\n", login]] {
        let (output, _) = meet(imap, says, End::Close);
        assert_eq!(output.code(), 1, "{}", output.stderr);
        let says = [says, &["* BYE going down\r\n"]].concat();
        let (output, _) = meet(imap, &says, End::Close);
        assert!(output.code() != 0 && output.stderr.contains("going down"), "{}", output.stderr);
    }
}

#[test]
fn a_greeting_refuses_and_a_go_ahead_comes_without_a_recipient() {
    let send = &["--smtp", "--from", "a@b", "--to", "c@d", "--body", "x"][..];
    let (output, _) = meet(send, &["554 no service\r\n", "221 bye\r\n"], End::Close);
    assert!(output.code() == 69 && output.stderr.contains("no service"), "{}", output.stderr);
    // All recipients are refused, and nothing is sent whatever the server would say.
    let says = ["220 hi\r\n", "250-me\r\n250 PIPELINING\r\n", "250 ok\r\n550 no\r\n", "354 go\r\n"];
    let (place, thread) = server(says.iter().map(|s| s.as_bytes().to_vec()).collect(), End::Close);
    let output = tool::run(&[send, &[&place]].concat(), "");
    let heard = String::from_utf8(thread.join().unwrap()).unwrap();
    assert!(output.code() == 69 && !heard.contains("DATA"), "{heard}");
}

#[test]
fn more_replies_come_than_commands() {
    let (output, _) = meet(SEND, &["220 hi\r\n", "250 me\r\n"], End::Endless("250 and more\r\n"));
    assert_eq!(output.code(), 1, "{}", output.stderr);
}

#[test]
fn challenges_are_no_base64_or_have_no_end() {
    let login = ["--auth", "ann"];
    for (helper, first, again) in [
        ("--smtp", &["220 hi\r\n", "250-me\r\n250 AUTH LOGIN\r\n"][..], "334 VXNlcm5hbWU6\r\n"),
        ("--pop3", &["+OK hi\r\n", "+OK\r\nSASL LOGIN\r\n.\r\n"], "+ VXNlcm5hbWU6\r\n"),
    ] {
        let mut says = first.to_vec();
        says.extend([again; 8]);
        // LOGIN shows the password to who asks for it: it is this machine, and a base64 word.
        let (place, thread) =
            server(says.iter().map(|s| s.as_bytes().to_vec()).collect(), End::Close);
        let mut client = Command::new(NCAT);
        client.env("NCAT_AUTH", "x").args([helper, &place]).args(login).stdin(Stdio::null());
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(client).wait();
        assert!(output.code() == 1 && output.stderr.contains("asks for more"), "{}", output.stderr);
        let heard = String::from_utf8(thread.join().unwrap()).unwrap();
        assert!(heard.contains("\r\n*\r\n"), "{heard}");
    }
    for (args, says) in [
        (
            &["--smtp", "--auth", "ann"][..],
            &["220 hi\r\n", "250-me\r\n250 AUTH CRAM-MD5\r\n", "334 !!\r\n"][..],
        ),
        (
            &["--pop3", "--auth", "ann"],
            &["+OK hi\r\n", "+OK\r\nSASL CRAM-MD5\r\n.\r\n", "+ !!\r\n"],
        ),
        (
            &["--imap", "--auth", "ann"],
            &["* OK hi\r\n", "* CAPABILITY IMAP4rev1 AUTH=CRAM-MD5\r\nncat1 OK\r\n", "+ !!\r\n"],
        ),
    ] {
        let (output, heard) = meet(args, says, End::Silent);
        assert!(output.code() == 1 && heard.ends_with("*\r\n"), "{}: {heard}", output.stderr);
    }
}

#[test]
fn scram_has_a_huge_count_or_a_nonce_of_its_own() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    for challenge in [
        "r=mine,s=QSXCR+Q6sek8bf92,i=4096",
        "r=,s=QSXCR+Q6sek8bf92,i=4096",
        "e=other-error",
        "r=rXX,s=QSXCR+Q6sek8bf92,i=4095",
        "r=rXX,s=QSXCR+Q6sek8bf92,i=100000000",
    ] {
        let first = "+OK\r\nSASL SCRAM-SHA-256\r\n.\r\n";
        let reply = format!("+ {}\r\n", encode(challenge));
        let (output, heard) =
            meet(&["--pop3", "--auth", "ann"], &["+OK hi\r\n", first, &reply], End::Silent);
        assert!(output.code() == 1 && heard.ends_with("*\r\n"), "{challenge}: {}", output.stderr);
    }
}

#[test]
fn pop3_sizes_lie_and_a_final_dot_is_missing() {
    let login = ["--pop3", "--auth", "ann", "--fetch", "1"];
    let begin = ["+OK hi\r\n", "-ERR\r\n", "+OK\r\n", "+OK\r\n"];
    let capa_refused =
        [&begin[..], &["+OK 1 5\r\n", "+OK 5 octets\r\nmuch longer than that\r\n.\r\n", "+OK\r\n"]]
            .concat();
    let with = |says: &[&str]| {
        let (place, thread) =
            server(says.iter().map(|s| s.as_bytes().to_vec()).collect(), End::Close);
        let mut client = Command::new(NCAT);
        client.env("NCAT_AUTH", "x").args(login).arg(&place).stdin(Stdio::null());
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(client).wait();
        thread.join().unwrap();
        output
    };
    let output = with(&capa_refused);
    assert_eq!(
        (output.code(), output.text().as_str()),
        (0, "much longer than that\r\n"),
        "{}",
        output.stderr
    );
    let output = with(&[&begin[..], &["+OK 1 5\r\n", "+OK\r\nhalf a mess"]].concat());
    assert!(output.code() == 1 && output.stderr.contains("single dot"), "{}", output.stderr);
}

#[test]
fn imap_literals_lie_tags_do_not_match_and_numbers_are_too_large() {
    let login = ["--imap", "--auth", "ann", "--fetch", "1"];
    let begin = ["* OK hi\r\n", "* CAPABILITY IMAP4rev1\r\nncat1 OK\r\n", "ncat2 OK\r\n"];
    for (more, says) in [
        (
            &["* 1 EXISTS\r\nf1 OK\r\n", "* 1 FETCH (BODY[] {99999999999999999999}\r\nx"][..],
            "not all",
        ),
        (&["* 1 EXISTS\r\nf1 OK\r\n", "* 1 FETCH (BODY[] {100}\r\nshort)\r\nf2 OK\r\n"], "not all"),
        (&["* 4294967296 EXISTS\r\nzz OK\r\n"], "reply"),
        (
            &[
                "* 1 EXISTS\r\nf1 OK\r\n",
                "* 1 FETCH ((((((((((((((((((((((((((((((((((((((((((\r\n",
            ],
            "",
        ),
    ] {
        let says_all: Vec<_> =
            [&begin[..], more].concat().iter().map(|s| s.as_bytes().to_vec()).collect();
        let (place, thread) = server(says_all, End::Close);
        let mut client = Command::new(NCAT);
        client.env("NCAT_AUTH", "x").args(login).arg(&place).stdin(Stdio::null());
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(client).wait();
        thread.join().unwrap();
        assert!(output.code() == 1 && output.stderr.contains(says), "{more:?}: {}", output.stderr);
    }
}
