//! Our mbox beside other programs: served by us, written and locked by Python's mailbox.

mod tool;

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use tool::{DEADLINE, Running, arg, dir, file_in, have, ncat, run, run_other, serving, start};

/// Sends a message to a server of ours.
fn send(port: u16, subject: &str, body: &str) -> Running {
    let place = format!("127.0.0.1:{port}");
    let from_to = ["--from", "ann@example.org", "--to", "bob@example.net"];
    let text = ["--subject", subject, "--body", body];
    ncat(&[&["--smtp", &place][..], &from_to, &text].concat())
}

/// What Python's mailbox says of a file: sender, subject and text of each message.
fn python_reads(path: &Path) -> String {
    let script = "
import mailbox, sys
for m in mailbox.mbox(sys.argv[1], create=False):
    print(m.get_from().split()[0], m['subject'], m.get_payload().strip().split('\\n'))
";
    run_other("python3", &["-c", script, arg(path)], "").expect_code(0).text()
}

#[test]
fn what_is_delivered_python_reads_and_what_python_adds_is_served() {
    if !have("python3") {
        return;
    }
    let dir = dir();
    let path = dir.path().join("box.mbox");
    let (_smtp, port) = serving(&["--smtp", "-k", "--mailbox", arg(&path)]);
    send(port, "one", "From me\n>From you").finish().expect_code(0);
    send(port, "two", "end").finish().expect_code(0);
    assert_eq!(
        python_reads(&path),
        "ann@example.org one ['>From me', '>>From you']\nann@example.org two ['end']\n"
    );
    let (_imap, imap) = serving(&["--imap", "-k", "--mailbox", arg(&path)]);
    let (_pop3, pop3) = serving(&["--pop3", "-k", "--mailbox", arg(&path)]);
    let (imap, pop3) = (format!("127.0.0.1:{imap}"), format!("127.0.0.1:{pop3}"));
    let by_imap = |options: &[&str]| {
        run(&[&["--imap", &imap, "--auth", "ann:any"][..], options].concat(), "").expect_code(0)
    };
    let by_pop3 = |options: &[&str]| {
        run(&[&["--pop3", &pop3, "--auth", "ann:any"][..], options].concat(), "").expect_code(0)
    };
    let script = "
import mailbox, sys
box = mailbox.mbox(sys.argv[1], create=False)
box.lock()
message = mailbox.mboxMessage('Subject: three\\n\\ntheirs\\n')
message.set_from('eve@x.test', True)
message.set_flags('RF')
box.add(message)
box.flush()
box.unlock()
";
    run_other("python3", &["-c", script, arg(&path)], "").expect_code(0);
    let text = by_imap(&["--fetch", "3"]).text();
    assert!(text.contains("Subject: three\r\n") && text.ends_with("\r\n\r\ntheirs\r\n"), "{text}");
    let text = by_pop3(&["--fetch", "1"]).text();
    assert!(text.ends_with("\r\nFrom me\r\n>From you\r\n"), "{text}");
    let script = "a LOGIN ann any\nb SELECT INBOX\nc FETCH 1:* (UID FLAGS)\nd STORE 1 +FLAGS \
        \\Flagged\ne CREATE Work\nf LOGOUT\n";
    let said = run(&["--imap", &imap], script).text();
    for part in [
        "* 3 FETCH (UID 3 FLAGS (\\Flagged \\Seen",
        "* 1 FETCH (FLAGS (\\Flagged",
        "e NO [CANNOT] no mailbox can have this name: an mbox is one folder, INBOX",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    // What is taken out by POP3 is gone for all, and the others keep their names.
    let names = by_pop3(&["--list"]).text();
    by_pop3(&["--delete", "2"]);
    let left = by_pop3(&["--list"]).text();
    assert_eq!((names.lines().count(), left.lines().count()), (3, 2));
    let id = |list: &str, n: usize| {
        list.lines().nth(n).and_then(|line| line.split('\t').nth(2)).map(str::to_owned)
    };
    assert_eq!((id(&left, 0), id(&left, 1)), (id(&names, 0), id(&names, 2)));
    assert_eq!(
        python_reads(&path),
        "ann@example.org one ['>From me', '>>From you']\neve@x.test three ['theirs']\n"
    );
    send(port, "four", "end").finish().expect_code(0);
    let list = by_imap(&["--list", "--folder", "INBOX"]).text();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.lines().all(|line| !line.contains("two")), "{list}");
}

/// A Python program that has the file locked until it is told otherwise.
fn python_locks(path: &Path) -> Running {
    let script = "
import mailbox, sys
box = mailbox.mbox(sys.argv[1], create=False)
box.lock()
print('locked', flush=True)
sys.stdin.readline()
box.add('Subject: theirs\\n\\ntext\\n')
box.flush()
box.unlock()
";
    let locker = start("python3", &["-c", script, arg(path)]);
    locker.wait_stdout("locked");
    locker
}

#[test]
fn a_delivery_waits_for_who_has_it_locked_and_nobody_else_waits() {
    if !have("python3") {
        return;
    }
    let dir = dir();
    let path = file_in(&dir, "inbox", "");
    let (server, port) = serving(&["--smtp", "-k", "--mailbox", arg(&path)]);
    let mut locker = python_locks(&path);
    let waiting = send(port, "ours", "text");
    server.wait_stderr("another program has the mailbox locked");
    // Somebody else is served meanwhile.
    let mut other = TcpStream::connect(("127.0.0.1", port)).unwrap();
    other.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut greeting = [0; 4];
    other.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
    locker.send("go\n");
    locker.finish().expect_code(0);
    waiting.finish().expect_code(0);
    assert_eq!(
        python_reads(&path),
        "MAILER-DAEMON theirs ['text']\nann@example.org ours ['text']\n"
    );
    // And who has it for good is told of.
    let mut locker = python_locks(&path);
    let output = send(port, "late", "text").finish().expect_code(75);
    assert!(
        output.stderr.contains("451 4.2.0 Another program has locked the mailbox"),
        "{}",
        output.stderr
    );
    server.wait_stderr("could not be kept: the mailbox is in use");
    locker.send("go\n");
    locker.finish().expect_code(0);
    assert_eq!(python_reads(&path).lines().count(), 3);
}

#[test]
fn what_is_fetched_goes_into_an_mbox_and_json_tells_where_mail_is() {
    let dir = dir();
    let (source, target) = (dir.path().join("source.mbox"), dir.path().join("target.mbox"));
    let options = ["--smtp", "--mailbox", arg(&source), "--output-format", "jsonl", "--no-trace"];
    let (server, port) = serving(&options);
    send(port, "one", "text").finish().expect_code(0);
    let told = server.finish().expect_code(0).text();
    assert!(told.contains(&format!("\"paths\":[\"{}\"]", source.display())), "{told}");
    let (_server, port) = serving(&["--imap", "-k", "--mailbox", arg(&source)]);
    let place = format!("127.0.0.1:{port}");
    let fetch = ["--imap", &place, "--auth", "ann:any", "--fetch", "1", "--mailbox", arg(&target)];
    run(&fetch, "").expect_code(0).expect_stdout("");
    let content = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(content(&target), content(&source));
}

#[test]
fn an_mbox_is_for_all_and_what_is_neither_is_refused() {
    let dir = dir();
    let path = file_in(&dir, "inbox", "");
    let mailbox = ["-l", "--smtp", "--mailbox", arg(&path)];
    for (options, why) in [
        (&["--mailbox-per", "user", "0"][..], "one file for all"),
        (&["--auth", "ann:1", "--auth", "bob:2", "0"], "--mailbox-per all"),
    ] {
        run(&[&mailbox, options].concat(), "").expect_code(2).expect_stderr(why);
    }
    run(&["-l", "--smtp", "--mailbox", "/dev/null", "0"], "")
        .expect_code(2)
        .expect_stderr("neither a file nor a directory");
    // What is no mailbox stays as it is.
    let text = file_in(&dir, "notes", "not a mailbox\n");
    let (_server, port) = serving(&["--smtp", "--mailbox", arg(&text)]);
    let output = send(port, "one", "text").finish().expect_code(75);
    assert!(output.stderr.contains("451 "), "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "not a mailbox\n");
}
