//! Our mock SMTP server, called by real clients: what they send arrives octet for octet.

mod tool;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::{
    NCAT, Running, arg, dir, file_in, have, ncat, noise, run, run_other, same, serving, spawn,
    wait_until,
};

/// A message that is hard on whoever carries it: dots, long lines, octets over 127.
fn hard_message() -> Vec<u8> {
    let mut message = b"From: ann@example.org\r\nTo: bob@example.net\r\nDate: Tue, 24 Nov 2026 \
        12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nSubject: hard\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        .to_vec();
    message.extend_from_slice(b".\r\n..\r\n.leading\r\nFrom me\r\n>From you\r\nGr\xc3\xbcezi\r\n");
    message.extend_from_slice(&b"x".repeat(990));
    message.extend_from_slice(b"\r\n\r\n\r\nend\r\n");
    message
}

/// The messages of an mboxrd, without the line before each.
fn messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for line in mbox.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"From ") {
            all.push(Vec::new());
            continue;
        }
        let quoted = line.strip_prefix(b">").filter(|rest| {
            let bare = rest.iter().position(|&b| b != b'>').unwrap_or(0);
            rest[bare..].starts_with(b"From ")
        });
        all.last_mut().expect("a line From first").extend_from_slice(quoted.unwrap_or(line));
    }
    for message in &mut all {
        assert_eq!(message.pop(), Some(b'\n'), "an empty line ends each");
    }
    all
}

/// What a caller sent, without what we put before it.
fn sent(message: &[u8]) -> &[u8] {
    let at = memchr::memmem::find(message, b"\nFrom: ").expect("a From field");
    &message[at + 1..]
}

fn with_lf(message: &[u8]) -> Vec<u8> {
    String::from_utf8(message.to_vec()).unwrap().replace("\r\n", "\n").into_bytes()
}

/// A client, its arguments for a place, and what it is called.
fn python(script: &str, port: u16) -> Running {
    let mut command = Command::new("python3");
    command.args(["-c", script, &port.to_string()]);
    tool::start_command(command)
}

#[test]
fn a_message_arrives_as_it_was_sent_whoever_sends_it() {
    let dir = dir();
    let message = hard_message();
    let file = file_in(&dir, "message", &message);
    let from_to = ["--from", "ann@example.org", "--to", "bob@example.net"];
    let (server, port) = serving(&["--smtp", "--accept", "6", "--no-trace"]);
    let place = format!("127.0.0.1:{port}");
    let mut expected = 0;
    run(&[&["--smtp", &place][..], &from_to].concat(), message.clone()).expect_code(0);
    expected += 1;
    if have("curl") {
        let url = format!("smtp://{place}/client.test");
        let args = [
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "30",
            &url,
            "--mail-from",
            "ann@example.org",
            "--mail-rcpt",
            "bob@example.net",
            "-T",
            arg(&file),
        ];
        run_other("curl", &args, "").expect_code(0);
        expected += 1;
    }
    if have("swaks") {
        let data = format!("@{}", file.display());
        let args =
            [&["--server", &place, "--data", &data, "--suppress-data"][..], &from_to].concat();
        run_other("swaks", &args, "").expect_code(0);
        expected += 1;
    }
    if have("msmtp") {
        let args = [
            "--host=127.0.0.1",
            &format!("--port={port}"),
            "--from=ann@example.org",
            "--auth=off",
            "--tls=off",
            "--timeout=30",
            "bob@example.net",
        ];
        run_other("msmtp", &args, with_lf(&message)).expect_code(0);
        expected += 1;
    }
    if have("python3") {
        let script = "import smtplib,sys\n\
            m=open(sys.argv[2],'rb').read()\n\
            s=smtplib.SMTP('127.0.0.1',int(sys.argv[1]),timeout=30)\n\
            s.starttls(); s.login('ann','any'); s.sendmail('ann@example.org',['bob@example.net'],m)\n\
            s.quit()\n";
        run_other("python3", &["-c", script, &port.to_string(), arg(&file)], "").expect_code(0);
        expected += 1;
    }
    // What is left of the callers that are waited for.
    for _ in expected..6 {
        run(&[&["--smtp", &place][..], &from_to].concat(), message.clone()).expect_code(0);
    }
    let output = server.finish().expect_code(0);
    let got = messages(&output.stdout);
    assert_eq!(got.len(), 6);
    for one in got {
        // A client may end the message with an empty line of its own.
        let one = one.strip_suffix(b"\n\n").map_or(one.clone(), |one| [one, b"\n"].concat());
        same(&one, &with_lf(&message));
    }
}

#[test]
fn tls_begins_with_the_first_byte_or_by_starttls_and_the_message_tells() {
    let dir = dir();
    let certificate = dir.path().join("cert.pem");
    for (options, tls) in [(&["--ssl"][..], "--ssl"), (&["--require-tls"], "--starttls")] {
        let options = [
            &[
                "--smtp",
                "--output-format",
                "jsonl",
                "--auth",
                "ann:pw",
                "--ssl-cert-out",
                arg(&certificate),
            ][..],
            options,
        ]
        .concat();
        let (server, port) = serving(&options);
        let mut client = Command::new(NCAT);
        client.env("NCAT_AUTH", "pw");
        client.args(["--smtp", tls, "--ssl-trustfile", arg(&certificate), "--auth", "ann"]);
        client.args([&format!("localhost:{port}"), "--from", "a@b", "--to", "c@d", "--body", "hi"]);
        client.stdin(std::process::Stdio::null());
        spawn(client).finish().expect_code(0).expect_stderr("");
        let object = server.finish().expect_code(0).text();
        for part in [
            "\"with\":\"ESMTPSA\"",
            "\"auth\":{\"user\":\"ann\",\"mechanism\":\"SCRAM-SHA-256\"}",
            "\"tls\":{\"version\":\"TLS 1.3\"",
            "\"from\":\"a@b\"",
        ] {
            assert!(object.contains(part), "{part} is not in {object}");
        }
    }
}

#[test]
fn a_login_that_is_not_known_sends_nothing() {
    let (server, port) = serving(&["--smtp", "--auth", "ann:pw", "--accept", "2"]);
    let place = format!("127.0.0.1:{port}");
    let mut client = Command::new(NCAT);
    client.env("NCAT_AUTH", "wrong").stdin(std::process::Stdio::null());
    client.args(["--smtp", &place, "--auth", "ann", "--from", "a@b", "--to", "c@d", "--body", "x"]);
    spawn(client).finish().expect_code(77);
    let args = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "x"];
    run(&args, "").expect_code(69).expect_stderr("530");
    server.finish().expect_code(0).expect_stdout("");
}

#[test]
fn greylisting_is_told_and_the_second_call_is_served() {
    let (server, port) =
        serving(&["--smtp", "--accept", "2", "--fault", "rcpt=450 4.7.1 Come back later x1"]);
    let place = format!("127.0.0.1:{port}");
    let args = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "hello"];
    run(&args, "").expect_code(75).expect_stderr("Come back later");
    run(&args, "").expect_code(0);
    let output = server.finish().expect_code(0);
    assert_eq!(messages(&output.stdout).len(), 1);
}

#[test]
fn faults_of_the_connection_are_what_they_say() {
    for (fault, code, says) in [
        ("greeting=drop", 1, "hung up"),
        ("mail=rst", 1, "reset"),
        ("accept=drop", 1, "hung up"),
        ("data=421 4.3.2 Good night", 75, "Good night"),
        ("starttls=starttls-fail", 1, "TLS"),
        ("starttls=inject:250 hello\\r\\n", 1, "behind its go-ahead"),
        ("dot=drop", 75, "unknown whether"),
    ] {
        let (server, port) = serving(&["--smtp", "--fault", fault]);
        let place = format!("127.0.0.1:{port}");
        let tls = if fault.starts_with("starttls") { &["--starttls"][..] } else { &[] };
        let args =
            ["--smtp", "--ssl-insecure", &place, "--from", "a@b", "--to", "c@d", "--body", "x"];
        let output = run(&[&args[..], tls].concat(), "");
        assert_eq!(
            (output.code(), output.stderr.contains(says)),
            (code, true),
            "{fault}: {}",
            output.stderr
        );
        drop(server);
    }
    let began = tool::now();
    let (server, port) = serving(&["--smtp", "--fault", "rcpt=delay:300ms"]);
    let place = format!("127.0.0.1:{port}");
    run(&["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "x"], "").expect_code(0);
    assert!(began.elapsed() >= Duration::from_millis(300));
    server.finish().expect_code(0);
}

#[test]
fn what_is_said_slowly_arrives_whole() {
    let (server, port) = serving(&["--smtp", "--fault", "greeting=slow:400B/s"]);
    let began = tool::now();
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.write_all(b"EHLO x\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("good-bye\r\n"), "{said}");
    // 300 octets and more, at 400 a second.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.finish().expect_code(0);
}

#[test]
fn a_caller_that_reads_one_line_where_there_are_many_loses_nothing() {
    // What a program with java.net.Socket does: one line is read for each command, EHLO has
    // many, and it closes with replies unread.
    let (server, port) = serving(&["--smtp", "--accept", "20"]);
    for n in 0..20 {
        let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // What its own kernel holds back when it closes (Nagle) never comes to us.
        caller.set_nodelay(true).unwrap();
        let mut replies = BufReader::new(caller.try_clone().unwrap());
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        for command in ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"] {
            caller.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            replies.read_line(&mut line).unwrap();
        }
        caller.write_all(format!("Subject: {n}\r\n\r\nbody\r\n.\r\nQUIT\r\n").as_bytes()).unwrap();
        replies.read_line(&mut line).unwrap();
    }
    let output = server.finish().expect_code(0);
    assert_eq!(messages(&output.stdout).len(), 20);
}

#[test]
fn a_slow_caller_holds_nobody_up_and_half_a_message_is_none() {
    let (server, port) = serving(&["--smtp", "-k"]);
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.write_all(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf").unwrap();
    let place = format!("127.0.0.1:{port}");
    run(&["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "whole"], "").expect_code(0);
    server.wait_stdout("whole");
    slow.shutdown(Shutdown::Both).unwrap();
    server.wait_stderr("hung up before the end of its message");
    assert!(!String::from_utf8(server.stdout()).unwrap().contains("half"));
}

#[test]
fn one_caller_whose_message_is_cut_is_a_failure() {
    let (server, port) = serving(&["--smtp"]);
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.write_all(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    server.wait().expect_code(1).expect_stdout("").expect_stderr("before the end of its message");
}

#[test]
fn nobody_is_waited_for_longer_than_asked() {
    let output = ncat(&["-l", "--smtp", "--accept-timeout", "200ms", "127.0.0.1", "0"]).wait();
    output.expect_code(1).expect_stderr("nobody has called within 0.2 s");
    let (server, port) = serving(&["--smtp", "--accept", "2", "--accept-timeout", "300ms"]);
    let place = format!("127.0.0.1:{port}");
    run(&["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "x"], "").expect_code(0);
    server.wait().expect_code(1).expect_stderr("1 of 2 callers");
    let (server, port) = serving(&["-k", "--accept-timeout", "300ms", "-c", "echo hi"]);
    run(&["127.0.0.1", &port.to_string()], "").expect_code(0).expect_stdout("hi\n");
    server.wait().expect_code(0);
}

#[test]
fn callers_are_counted_whatever_serves_them() {
    let (server, port) = serving(&["--accept", "2", "-c", "echo hi"]);
    for _ in 0..2 {
        run(&["127.0.0.1", &port.to_string()], "").expect_code(0).expect_stdout("hi\n");
    }
    server.finish().expect_code(0);
    let (server, port) = serving(&["--accept", "2"]);
    for word in ["one\n", "two\n"] {
        run(&["127.0.0.1", &port.to_string(), "--send-only"], word).expect_code(0);
    }
    let text = server.wait().expect_code(0).text();
    assert!(text.contains("one\n") && text.contains("two\n"), "{text}");
}

#[test]
fn a_message_that_cannot_be_written_is_refused_and_said() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-l", "-v", "--smtp", "127.0.0.1", "0"]);
    command.stdin(std::process::Stdio::null()).stdout(full).stderr(std::process::Stdio::piped());
    let server = spawn(command);
    let place = format!("127.0.0.1:{}", server.port());
    let args = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "x"];
    run(&args, "").expect_code(75).expect_stderr("452");
    server.wait().expect_code(2).expect_stderr("no space left");
}

#[test]
fn lmtp_is_spoken_over_a_unix_socket() {
    let dir = dir();
    let socket = dir.path().join("lmtp");
    let server = ncat(&["-l", "-v", "--lmtp", "-U", arg(&socket)]);
    server.wait_stderr("Listening on");
    let args =
        ["--smtp", "--lmtp", "-U", arg(&socket), "--from", "a@b", "--to", "c@d,e@f", "--body", "x"];
    run(&args, "").expect_code(0).expect_stderr("");
    let output = server.finish().expect_code(0);
    assert!(output.text().contains("with LMTP id"), "{}", output.text());
}

#[test]
fn fifty_megabytes_are_taken_and_one_more_octet_is_not() {
    let (server, port) = serving(&["--smtp", "--max-size", "1M", "--accept", "2", "--no-trace"]);
    let place = format!("127.0.0.1:{port}");
    let args = ["--smtp", &place, "--from", "a@b", "--to", "c@d"];
    let body: Vec<u8> =
        noise(700_000).iter().map(|b| b"abcdefghijklmnop"[usize::from(b % 16)]).collect();
    let lines: Vec<u8> = body.chunks(70).flat_map(|line| [line, b"\n"].concat()).collect();
    let message = [b"From: a@b\nSubject: big\n\n", &lines[..]].concat();
    run(&args, message.clone()).expect_code(0);
    run(&args, [&message[..], &lines].concat()).expect_code(69).expect_stderr("552");
    let output = server.finish().expect_code(0);
    let got = messages(&output.stdout);
    same(sent(&[b"\n", &got[0][..]].concat()), &message);
    assert_eq!(got.len(), 1);
}

#[test]
fn lint_says_what_a_real_server_would_punish() {
    let (server, port) = serving(&["--smtp", "--lint"]);
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let script = b"HELO x\r\nMAIL FROM: <a@b>\r\nRCPT TO:c@d\r\nDATA\r\nSubject: x\r\n\r\na\nb\xe9\r\n.\r\nQUIT\r\n";
    caller.write_all(script).unwrap();
    caller.read_to_end(&mut Vec::new()).unwrap();
    let output = server.finish().expect_code(0);
    for lint in [
        "a space before the address",
        "without angle brackets",
        "a bare LF",
        "octets over 127",
        "no Date field",
        "without waiting for a reply",
    ] {
        assert!(
            output.stderr.contains(&format!("lint: {lint}")) || output.stderr.contains(lint),
            "{lint} is not in {}",
            output.stderr
        );
    }
}

#[test]
fn options_that_do_not_fit_are_refused_with_a_reason() {
    for (args, says) in [
        (&["-l", "--smtp", "--to", "a@b", "0"][..], "--to and -l"),
        (&["-l", "--smtp", "--fault", "frob=450", "0"], "no place for a fault"),
        (&["-l", "--smtp", "--fault", "accept=421", "0"], "accept takes delay"),
        (&["-l", "--pop3", "--mailbox", "x/", "--fault", "rcpt=450", "0"], "no command of POP3"),
        (&["--smtp", "--practice", "--fault", "fetch=drop"], "no command of SMTP"),
        (&["-l", "--smtp", "--auth", "ann", "0"], "USER:PASS"),
        (&["-l", "--smtp", "--no-ext", "FROB", "0"], "--no-ext does not know"),
        (&["-l", "--smtp", "--max-size", "big", "0"], "--max-size takes octets"),
        (&["-l", "--smtp", "-e", "/bin/cat", "0"], "a command and -l --smtp"),
        (&["-l", "--lint", "0"], "--lint goes with a mock mail server"),
        (&["-l", "--smtp", "--ssl", "--no-starttls", "0"], "--no-starttls"),
        (&["-l", "--smtp", "--accept", "0", "0"], "--accept takes a number"),
    ] {
        run(args, "").expect_code(2).expect_stderr(says);
    }
}

#[test]
fn a_python_library_sends_to_it_as_to_any_server() {
    if !have("python3") {
        return;
    }
    let (server, port) = serving(&["--smtp", "--auth", "ann:pässword"]);
    let script = "import smtplib,ssl,sys\nfrom email.message import EmailMessage\n\
        m=EmailMessage(); m['From']='ann@example.org'; m['To']='bob@example.net'; m['Subject']='x'\n\
        m.set_content('Grüezi'); m.add_attachment(b'\\x00\\xff', maintype='application', subtype='x')\n\
        s=smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30); s.ehlo()\n\
        s.starttls(context=ssl._create_unverified_context()); s.ehlo()\n\
        s.user, s.password = 'ann', 'p\\u00e4ssword'\n\
        code, _ = s.auth('PLAIN', s.auth_plain) if False else (0, 0)\n\
        s.docmd('AUTH', 'PLAIN ' + __import__('base64').b64encode('\\0ann\\0p\\u00e4ssword'.encode()).decode())\n\
        s.send_message(m); s.quit()\n";
    python(script, port).finish().expect_code(0);
    let text = server.finish().expect_code(0).text();
    assert!(text.contains("with ESMTPSA id") && text.contains("multipart/mixed"), "{text}");
}

/// The files of a Maildir, sorted.
fn kept(maildir: &std::path::Path) -> Vec<Vec<u8>> {
    let files = |part: &str| std::fs::read_dir(maildir.join(part)).into_iter().flatten().flatten();
    let mut all: Vec<_> = files("new")
        .chain(files("cur"))
        .map(|entry| std::fs::read(entry.path()).unwrap())
        .collect();
    all.sort();
    all
}

#[test]
fn what_is_sent_to_one_server_is_read_from_the_other() {
    let dir = dir();
    let mailbox = dir.path().join("box");
    let (smtp, port) = serving(&[
        "--smtp",
        "-k",
        "--no-trace",
        "--mailbox",
        arg(&mailbox),
        "--output-format",
        "jsonl",
    ]);
    let place = format!("127.0.0.1:{port}");
    let message = hard_message();
    let args = ["--smtp", &place, "--from", "ann@example.org", "--to", "bob@example.net,eve@x"];
    run(&args, message.clone()).expect_code(0);
    assert_eq!(kept(&mailbox).len(), 1, "who shares a mailbox shares the message");
    same(&kept(&mailbox)[0], &message);
    smtp.wait_stdout("\"paths\":[\"");
    run(&args, "Subject: second\n\nshort\n").expect_code(0);
    let (_pop3, port) = serving(&["--pop3", "-k", "--mailbox", arg(&mailbox), "--auth", "ann:s p"]);
    let place = format!("127.0.0.1:{port}");
    let pop3 = |more: &[&str]| {
        let mut client = Command::new(NCAT);
        client.env("NCAT_AUTH", "s p").stdin(std::process::Stdio::null());
        client.args(["--pop3", &place, "--auth", "ann"]).args(more);
        client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        spawn(client).finish()
    };
    let list = pop3(&["--list"]).expect_code(0).text();
    let size = format!("1\t{}\t", message.len());
    assert!(list.starts_with(&size) && list.contains("\tsecond\n"), "{list}");
    same(&pop3(&["--fetch", "1"]).expect_code(0).stdout, &message);
    assert_eq!(pop3(&["--list"]).text(), list, "UIDLs stay");
    if have("curl") {
        let url = format!("pop3://{place}/1");
        let args = ["-sS", "--noproxy", "*", "--max-time", "30", "-u", "ann:s p", &url];
        same(&run_other("curl", &args, "").expect_code(0).stdout, &message);
    }
    if have("python3") {
        let script = "import poplib,ssl,sys\n\
            p=poplib.POP3('127.0.0.1',int(sys.argv[1]),timeout=30)\n\
            p.stls(ssl._create_unverified_context()); p.user('ann'); p.pass_('s p')\n\
            n,size=p.stat(); assert n==2, n\n\
            assert sum(int(l.split()[1]) for l in p.list()[1])==size\n\
            lines=p.retr(1)[1]; sys.stdout.buffer.write(b'\\r\\n'.join(lines)+b'\\r\\n')\n\
            p.dele(2); p.quit()\n";
        let output = run_other("python3", &["-c", script, &port.to_string()], "").expect_code(0);
        same(&output.stdout, &message);
        assert_eq!(kept(&mailbox).len(), 1);
    }
    // One at a time, and a wrong password is refused.
    let mut first = TcpStream::connect(("127.0.0.1", port)).unwrap();
    first.write_all(b"USER ann\r\nPASS s p\r\nNOOP\r\n").unwrap();
    let mut said = BufReader::new(first.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("+OK") || said.buffer().is_empty() && !line.to_lowercase().contains("noop")
    {
        said.read_line(&mut line).unwrap();
        if line.matches("+OK").count() >= 4 {
            break;
        }
    }
    let output = pop3(&["--list"]);
    assert_eq!(output.code(), 75, "{}", output.stderr);
    assert!(output.stderr.contains("IN-USE"), "{}", output.stderr);
}

#[test]
fn a_limit_of_the_size_of_files_is_a_full_disk_and_ends_nobody() {
    // The kernel's signal ended the server, and the caller heard nothing.
    let dir = dir();
    for name in ["box/", "box.mbox"] {
        let mailbox = dir.path().join(name);
        let line = format!(
            "ulimit -f 16; exec $NCAT -v -l --smtp -k --mailbox {} 127.0.0.1 0",
            mailbox.display()
        );
        let server = tool::shell(&line);
        let place = format!("127.0.0.1:{}", server.port());
        let from_to = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--subject", "x"];
        let send = |body: &str| run(&[&from_to[..], &["--body", body]].concat(), "");
        send("small").expect_code(0);
        let output = send(&"long enough\n".repeat(3000)).expect_code(75);
        assert!(output.stderr.contains("452 4.3.1 The disk is full"), "{}", output.stderr);
        send("small").expect_code(0);
        let kept = match name {
            "box/" => kept(&mailbox),
            _ => messages(&std::fs::read(&mailbox).unwrap()),
        };
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|message| message.len() < 1000), "no half is left");
    }
}

#[test]
fn each_user_has_a_mailbox_of_his_own() {
    let dir = dir();
    let base = dir.path().join("boxes");
    let users = ["--auth", "ann:1", "--auth", "bob:2", "--mailbox", arg(&base)];
    let (smtp, port) = serving(
        &[&["--smtp", "-k", "--mailbox", arg(&base), "--mailbox-per", "user"][..]].concat(),
    );
    let place = format!("127.0.0.1:{port}");
    for to in ["ann@x.test", "Bob+tag@y.test,bob@z.test"] {
        let args = ["--smtp", &place, "--from", "a@b", "--to", to, "--subject", to, "--body", "x"];
        run(&args, "").expect_code(0);
    }
    // Where a message went is what a person wants to know, once for each mailbox.
    wait_until("both to leave", || smtp.stderr().matches(" has left: ").count() == 2);
    let story = smtp.stderr();
    let kept = story.lines().filter(|line| line.contains(" octets is kept as "));
    let places: Vec<_> = kept.map(|line| line.rsplit_once(" in ").map(|(_, name)| name)).collect();
    assert_eq!(places, [Some("ann"), Some("bob")], "{story}");
    let (_pop3, port) = serving(&[&["--pop3", "-k"][..], &users].concat());
    let place = format!("127.0.0.1:{port}");
    for (auth, subject) in [("ann:1", "ann@x.test"), ("bob:2", "Bob+tag@y.test")] {
        let list = run(&["--pop3", &place, "--auth", auth, "--list"], "").expect_code(0).text();
        assert!(list.lines().count() == 1 && list.contains(subject), "{list}");
    }
    run(&["--pop3", &place, "--auth", "ann:2", "--list"], "").expect_code(77);
    run(&["-l", "--pop3", "0"], "").expect_code(2).expect_stderr("needs a mailbox");
    let args = ["-l", "--smtp", "--mailbox", arg(&base), "--mailbox-per", "house", "0"];
    run(&args, "").expect_code(2).expect_stderr("--mailbox-per is rcpt");
}

#[test]
fn a_reader_meets_the_faults_that_were_asked_for() {
    let dir = dir();
    let mailbox = dir.path().join("box");
    let (smtp, port) = serving(&["--smtp", "--mailbox", arg(&mailbox)]);
    let place = format!("127.0.0.1:{port}");
    run(&["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "text"], "").expect_code(0);
    smtp.finish().expect_code(0).expect_stdout("");
    for (fault, code, says) in [
        ("retr=no-final-dot", 1, "idle timeout"),
        ("retr=-", 2, ""),
        ("pass=450 [IN-USE] later", 75, "later"),
        ("retr=drop", 1, "hung up"),
    ] {
        if fault == "retr=-" {
            run(&["-l", "--pop3", "--mailbox", arg(&mailbox), "--fault", fault, "0"], "")
                .expect_code(code);
            continue;
        }
        let (server, port) =
            serving(&["--pop3", "--no-ext", "AUTH", "--mailbox", arg(&mailbox), "--fault", fault]);
        let place = format!("127.0.0.1:{port}");
        let args = ["--pop3", &place, "--auth", "ann:x", "--fetch", "1", "-i", "1"];
        let output = run(&args, "");
        assert_eq!(output.code(), code, "{fault}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{fault}: {}", output.stderr);
        drop(server);
    }
}

/// A Maildir with one message, and an IMAP server over it.
fn imap_server(dir: &tempfile::TempDir, options: &[&str]) -> (Running, u16, std::path::PathBuf) {
    let mailbox = dir.path().join("box");
    let (smtp, port) = serving(&["--smtp", "--no-trace", "--mailbox", arg(&mailbox)]);
    let place = format!("127.0.0.1:{port}");
    let args = ["--smtp", &place, "--from", "ann@example.org", "--to", "bob@example.net"];
    run(&args, hard_message()).expect_code(0);
    smtp.finish().expect_code(0);
    let (server, port) = serving(
        &[&["--imap", "-k", "--auth", "ann:s p", "--mailbox", arg(&mailbox)][..], options].concat(),
    );
    (server, port, mailbox)
}

#[test]
fn an_imap_library_finds_marks_copies_and_stores() {
    if !have("python3") {
        return;
    }
    let dir = dir();
    let (_server, port, mailbox) = imap_server(&dir, &[]);
    let script = "import imaplib,ssl,sys\n\
        m=imaplib.IMAP4('127.0.0.1',int(sys.argv[1]))\n\
        m.starttls(ssl._create_unverified_context()); m.login('ann','s p')\n\
        def ok(r): assert r[0]=='OK', r; return r[1]\n\
        assert ok(m.select('INBOX'))==[b'1']\n\
        head=ok(m.fetch('1','(UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)'))[0]\n\
        assert b'\"hard\"' in head and b'bob' in head and b'TEXT' in head.upper(), head\n\
        body=ok(m.fetch('1','(BODY.PEEK[])'))[0][1]\n\
        sys.stdout.buffer.write(body)\n\
        assert ok(m.search(None,'UNSEEN'))==[b'1'] and ok(m.search(None,'SUBJECT','\"hard\"'))==[b'1']\n\
        ok(m.store('1','+FLAGS','(\\\\Flagged)')); ok(m.create('Archive/2026'))\n\
        ok(m.copy('1','Archive/2026'))\n\
        ok(m.append('Archive/2026','(\\\\Seen)',None,b'Subject: stored\\r\\n\\r\\nx\\r\\n'))\n\
        names=b' '.join(ok(m.list())); assert b'Archive/2026' in names, names\n\
        assert b'MESSAGES 2' in ok(m.status('Archive/2026','(MESSAGES UNSEEN)'))[0]\n\
        ok(m.uid('STORE','1','+FLAGS','(\\\\Deleted)')); ok(m.expunge())\n\
        assert ok(m.select('INBOX'))==[b'0']; m.close(); m.logout()\n";
    let output = run_other("python3", &["-c", script, &port.to_string()], "").expect_code(0);
    same(&output.stdout, &hard_message());
    assert_eq!(kept(&mailbox).len(), 0);
    assert_eq!(kept(&mailbox.join(".Archive.2026")).len(), 2);
}

#[test]
fn idle_hears_at_once_of_what_another_process_delivers() {
    let dir = dir();
    let (_server, port, mailbox) = imap_server(&dir, &[]);
    let place = format!("127.0.0.1:{port}");
    let mut client = Command::new(NCAT);
    client
        .env("NCAT_AUTH", "s p")
        .args(["-v", "--imap", &place, "--auth", "ann", "--idle", "--accept", "1"]);
    client.stdin(std::process::Stdio::null());
    client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let idler = spawn(client);
    idler.wait_stderr("C: f2 IDLE");
    let (smtp, port) = serving(&["--smtp", "--mailbox", arg(&mailbox)]);
    let place = format!("127.0.0.1:{port}");
    let args =
        ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--subject", "news", "--body", "x"];
    run(&args, "").expect_code(0);
    smtp.finish().expect_code(0);
    let line = idler.wait().expect_code(0).text();
    assert!(line.starts_with("2\t") && line.ends_with("\tnews\n"), "{line}");
}

#[test]
fn curl_and_our_client_read_by_imap_over_tls() {
    let dir = dir();
    let (_server, port, _) = imap_server(&dir, &["--ssl"]);
    let place = format!("127.0.0.1:{port}");
    if have("curl") {
        let url = format!("imaps://{place}/INBOX;MAILINDEX=1");
        let args = ["-sS", "-k", "--noproxy", "*", "--max-time", "30", "-u", "ann:s p", &url];
        same(&run_other("curl", &args, "").expect_code(0).stdout, &hard_message());
    }
    let mut client = Command::new(NCAT);
    client.env("NCAT_AUTH", "s p").stdin(std::process::Stdio::null());
    client.args(["--imap", "--ssl", "--ssl-insecure", &place, "--auth", "ann", "--fetch", "1"]);
    client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    same(&spawn(client).finish().expect_code(0).stdout, &hard_message());
}

#[test]
fn mbsync_copies_a_mailbox_both_ways() {
    if !have("mbsync") {
        return;
    }
    let dir = dir();
    let (_server, port, mailbox) = imap_server(&dir, &[]);
    let local = dir.path().join("local");
    std::fs::create_dir(&local).unwrap();
    let config = file_in(
        &dir,
        "mbsyncrc",
        format!(
            "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser ann\nPass \"s p\"\nSSLType None\nAuthMechs LOGIN\n\
         \nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {0}/\nInbox {0}/inbox\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
            local.display()
        ),
    );
    let sync = || {
        let mut command = Command::new("mbsync");
        command.args(["-c", arg(&config), "-a"]).env("HOME", dir.path());
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        spawn(command).finish()
    };
    sync().expect_code(0);
    assert_eq!(kept(&local.join("inbox")).len(), 1);
    std::fs::write(local.join("inbox/new/1.mine"), "Subject: mine\n\nup\n").unwrap();
    sync().expect_code(0);
    let far = kept(&mailbox);
    assert_eq!(far.len(), 2);
    assert!(far.iter().any(|message| message.ends_with(b"up\r\n") || message.ends_with(b"up\n")));
    sync().expect_code(0);
}

#[test]
fn practice_needs_no_server_and_forgets_nothing_of_the_lesson() {
    let lesson = "EHLO me\nSTARTTLS\nEHLO me\nAUTH PLAIN AGFubgB4\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\n\
        DATA\nSubject: x\n\nhi\n.\nQUIT\n";
    let output = run(&["--smtp", "--practice"], lesson).expect_code(0);
    let text = output.text();
    assert!(text.contains("235 2.7.0") && text.contains("250 2.0.0 Ok: queued as"), "{text}");
    for part in [
        "the server is ready; next: EHLO",
        "logged in as ann by PLAIN",
        "lint: no Date field",
        "TLS 1.3",
    ] {
        assert!(output.stderr.contains(part), "{part} is not in {}", output.stderr);
    }
    let pop3 = "USER me\nPASS x\nLIST\nRETR 2\nDELE 2\nQUIT\n";
    let text = run(&["--pop3", "--practice"], pop3).expect_code(0).text();
    assert!(text.contains("\r\n..\r\n") && text.contains("Dots and quotes"), "{text}");
    let imap = "a LOGIN me x\nb SELECT INBOX\nc SEARCH UNSEEN\nd FETCH 3 BODYSTRUCTURE\ne LOGOUT\n";
    let text = run(&["--imap", "--practice"], imap).expect_code(0).text();
    assert!(text.contains("* SEARCH 2 3\r\n") && text.contains("numbers.csv"), "{text}");
    let faulty = ["--smtp", "--practice", "--fault", "mail=451 4.3.0 Not today"];
    run(&faulty, "EHLO me\nMAIL FROM:<a@b>\nQUIT\n").expect_code(75);
    run(&["--practice"], "").expect_code(2).expect_stderr("goes with --smtp");
    run(&["--smtp", "--practice", "mail.test"], "").expect_code(2).expect_stderr("calls nobody");
    run(&["-l", "--smtp", "--practice"], "").expect_code(2).expect_stderr("a server of its own");
}

#[test]
fn a_bounce_goes_to_the_mailbox_of_its_sender() {
    let dir = dir();
    let base = dir.path().join("box");
    let (server, port) =
        serving(&["--smtp", "--bounce", "--mailbox", arg(&base), "--mailbox-per", "rcpt"]);
    let script = r#"
import smtplib, sys
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as s:
    s.sendmail('ann@a.test', ['bob@b.test'], b'Subject: lost\r\n\r\nGr\xc3\xbcezi\r\n',
               mail_options=['BODY=8BITMIME', 'ENVID=x1'], rcpt_options=['ORCPT=rfc822;Bob@b.test'])
"#;
    python(script, port).finish().expect_code(0);
    server.finish().expect_code(0);
    assert!(!base.join("bob@b.test").exists());
    let new: Vec<_> = std::fs::read_dir(base.join("ann@a.test/new")).unwrap().collect();
    assert_eq!(new.len(), 1);
    // What others make of it: Python's parser takes reports apart.
    let check = r#"
import email, email.policy, sys
m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)
assert m.get_content_type() == 'multipart/report', m.get_content_type()
assert m.get_param('report-type') == 'delivery-status' and m['Return-Path'] == '<>', m.items()
text, status, back = m.iter_parts()
who = list(status.get_payload())
assert who[0]['Original-Envelope-Id'] == 'x1' and who[1]['Action'] == 'failed', who
assert who[1]['Final-Recipient'] == 'rfc822; bob@b.test' and who[1]['Status'] == '5.1.1'
assert who[1]['Original-Recipient'] == 'rfc822;Bob@b.test'
print(back.get_payload()[0]['Subject'])
"#;
    let file = new[0].as_ref().unwrap().path();
    let told = run_other("python3", &["-c", check, arg(&file)], "").expect_code(0);
    assert_eq!(told.text(), "lost\n");
    let bytes = std::fs::read(&file).unwrap();
    assert!(memchr::memmem::find(&bytes, "Gr\u{fc}ezi\r\n".as_bytes()).is_some());
    // A message that nobody sent does not come back: it stays.
    let (server, port) = serving(&["--smtp", "--bounce"]);
    let script = "import smtplib, sys\nsmtplib.SMTP('127.0.0.1', int(sys.argv[1])).sendmail('', ['a@b'], b'Subject: x\\n\\n')";
    python(script, port).finish().expect_code(0);
    let kept = server.finish().expect_code(0);
    assert!(kept.text().contains("Return-Path: <>\nReceived: from"), "{}", kept.text());
}

/// A server whose standard output nobody reads until the test does.
fn unread(options: &[&str]) -> (Running, u16, std::io::PipeReader) {
    let (rx, tx) = std::io::pipe().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-l"]).args(options).args(["127.0.0.1", "0"]);
    command.stdin(Stdio::null()).stdout(tx).stderr(Stdio::piped());
    let server = spawn(command);
    let port = server.port();
    (server, port, rx)
}

/// A client that sends this.
fn sends(port: u16, body: &[u8]) -> Running {
    let place = format!("127.0.0.1:{port}");
    let mut client = ncat(&["--smtp", &place, "--from", "a@b", "--to", "c@d"]);
    client.send_all(body);
    client
}

/// Somebody else is greeted soon.
fn greets(port: u16) {
    let other = TcpStream::connect(("127.0.0.1", port)).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut greeting = String::new();
    BufReader::new(&other).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("220 "), "{greeting}");
}

/// More than a pipe takes, however wide.
fn big() -> Vec<u8> {
    b"line after line\n".repeat(100_000)
}

#[test]
fn a_reader_who_stops_stops_no_caller_and_gets_all_when_it_reads_on() {
    let (server, port, mut rx) = unread(&["-k", "--smtp"]);
    let mut first = sends(port, &big());
    server.wait_stderr("whoever reads standard output is behind: its message waits");
    let mut second = sends(port, b"second\n");
    greets(port);
    assert!(!first.has_ended() && !second.has_ended());
    // It reads slowly at first, which holds up nobody else either.
    let mut all = vec![0; 4096];
    rx.read_exact(&mut all).unwrap();
    greets(port);
    let reader = std::thread::spawn(move || {
        rx.read_to_end(&mut all).unwrap();
        all
    });
    // What has been answered is printed, whole.
    first.wait().expect_code(0);
    second.wait().expect_code(0);
    server.signal("TERM");
    server.wait().expect_code(143);
    let all = messages(&reader.join().unwrap());
    assert_eq!(all.len(), 2);
    assert!(all[0].ends_with(&big()) && all[1].ends_with(b"second\n"));
}

#[test]
fn a_reader_who_never_reads_on_costs_messages_and_nothing_else() {
    let (server, port, rx) = unread(&["-k", "--smtp"]);
    let mut first = sends(port, &big());
    server.wait_stderr("its message waits");
    sends(port, b"second\n").wait().expect_code(75).expect_stderr("451");
    server.wait_stderr("could not be kept: whoever reads standard output is behind");
    // Of the first nobody has said that it is kept.
    assert!(!first.has_ended());
    server.signal("TERM");
    server.wait().expect_code(143);
    assert_ne!(first.wait().code(), 0);
    drop(rx);
    // A server for one, whose reader comes late.
    let (mut server, port, mut rx) = unread(&["--smtp"]);
    let client = sends(port, &big());
    server.wait_stderr("its message waits");
    assert!(!server.has_ended());
    let mut all = Vec::new();
    rx.read_to_end(&mut all).unwrap();
    assert!(messages(&all)[0].ends_with(&big()));
    client.wait().expect_code(0);
    server.wait().expect_code(0);
}

#[test]
fn a_terminal_that_nobody_reads_stops_no_caller() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let mut command = Command::new(NCAT);
    command.args(["-v", "-l", "-k", "--smtp", "127.0.0.1", "0"]);
    // The other end is held and not read.
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let name = ptsname(&main, Vec::new()).unwrap();
    let far = std::fs::File::options().write(true).open(name.to_str().unwrap()).unwrap();
    command.stdin(Stdio::null()).stdout(far).stderr(Stdio::piped());
    let server = spawn(command);
    let port = server.port();
    let _first = sends(port, &big());
    server.wait_stderr("its message waits");
    greets(port);
    server.signal("TERM");
    server.wait().expect_code(143);
}

#[test]
fn standard_output_that_was_closed_is_told_with_the_first_message() {
    let server = tool::shell("\"$NCAT\" -v -l -k --smtp 127.0.0.1 0 >&-");
    let port = server.port();
    sends(port, b"hello\n").wait().expect_code(75);
    server.wait().expect_code(2).expect_stderr("cannot write standard output: bad file descriptor");
}
