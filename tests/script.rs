//! Scripts: `--script`, `--expect` and `--send`, called and calling.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use tool::postfix::Postfix;
use tool::{DEADLINE, accept, arg, dir, file_in, have, ncat, run, run_other, same, serving, shell};

const FAKE: &str = "# a fake\nsend \"220 fake\\r\\n\"\nexpect /^EHLO (\\S+)\\r\\n/\n\
                    send \"250 hi $1\\r\\n\"\nexpect /^QUIT$/\nsend \"221 bye\\r\\n\"\n";

fn fake(dir: &tempfile::TempDir) -> PathBuf {
    file_in(dir, "fake", FAKE)
}

fn caller(port: u16) -> TcpStream {
    let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller
}

#[test]
fn netcat_talks_with_a_fake_server() {
    if !have("nc") {
        return;
    }
    let dir = dir();
    let (server, port) = serving(&["--script", arg(&fake(&dir))]);
    let port = port.to_string();
    let heard = run_other("nc", &["-N", "127.0.0.1", &port], "EHLO me\x1b\r\nQUIT\r\n");
    same(&heard.expect_code(0).stdout, b"220 fake\r\n250 hi me\r\n221 bye\r\n");
    same(&server.finish().expect_code(0).stdout, b"EHLO me\x1b\r\nQUIT\r\n");
}

#[test]
fn each_caller_meets_the_script_from_its_beginning() {
    let dir = dir();
    let (server, port) = serving(&["-k", "--script", arg(&fake(&dir))]);
    let (mut first, mut second) = (caller(port), caller(port));
    for (who, name) in [(&mut first, "ann"), (&mut second, "bob")] {
        who.write_all(format!("EHLO {name}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut heard = Vec::new();
        who.read_to_end(&mut heard).unwrap();
        same(&heard, format!("220 fake\r\n250 hi {name}\r\n221 bye\r\n").as_bytes());
    }
    // What was not expected is told without -v too, and the others are still served.
    let mut third = caller(port);
    third.write_all(b"HELO x\r\n").unwrap();
    third.shutdown(Shutdown::Write).unwrap();
    server.wait_stderr("line 3: expect /^EHLO (\\S+)\\r\\n/: the peer's input ended");
    server.signal("TERM");
    assert!(server.wait().expect_code(143).stdout.is_empty());
}

#[test]
fn options_are_a_script_in_the_order_in_which_they_are_written() {
    let dir = dir();
    let (server, port) = serving(&["--script", arg(&fake(&dir))]);
    let port = port.to_string();
    let options = ["--expect", "^220 ", "--send", "EHLO me\\r\\n", "--expect", "^250 hi me\\r\\n"];
    let more = ["--send", "QUIT\\r\\n", "--expect", "^221", "127.0.0.1", &port];
    let client = run(&[&options[..], &more].concat(), "never sent\n");
    same(&client.expect_code(0).stdout, b"220 fake\r\n250 hi me\r\n221 bye\r\n");
    server.finish().expect_code(0);
}

#[test]
fn what_does_not_come_is_exit_7_with_the_step_and_what_came() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let client = ncat(&["--expect", "^220", "127.0.0.1", &port]);
    let mut server = accept(&listener);
    server.write_all(b"554 \x1b[31mno\r\n").unwrap();
    drop(server);
    client
        .wait()
        .expect_code(7)
        .expect_stdout("554 \x1b[31mno\r\n")
        .expect_stderr("--expect '^220': the peer's input ended; what came is \"554 \\x1b[31mno");

    let dir = dir();
    let script = file_in(&dir, "s", "timeout 10ms\nexpect /x/\n");
    let client = ncat(&["--script", arg(&script), "127.0.0.1", &port]);
    let server = accept(&listener);
    client.wait().expect_code(7).expect_stderr("it did not come in time; nothing came");
    drop(server);
}

#[test]
fn a_sleep_outlasts_the_peers_end_and_a_reset_is_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dir = dir();
    let script = file_in(&dir, "s", "expect /bye\\n/\nsleep 50ms\nsend \"late\"\nclose\n");
    let client = ncat(&["--script", arg(&script), "127.0.0.1", &port]);
    let mut server = accept(&listener);
    server.write_all(b"bye\n").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "late");
    client.wait().expect_code(0);

    let script = file_in(&dir, "r", "expect /x\\n/\nrst\n");
    let client = ncat(&["--script", arg(&script), "127.0.0.1", &port]);
    let mut server = accept(&listener);
    server.write_all(b"x\n").unwrap();
    client.wait().expect_code(0);
    let error = server.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn starttls_is_started_by_both_sides() {
    let dir = dir();
    let asked = "expect /^STARTTLS\\r\\n/\nsend \"220 go\\r\\n\"\nstarttls\n";
    let server = file_in(&dir, "s", format!("{asked}expect /^in secret\\n/\nsend \"yes\\n\"\n"));
    let calls = "send \"STARTTLS\\r\\n\"\nexpect /^220 go\\r\\n/\nstarttls\n";
    let client = file_in(&dir, "c", format!("{calls}send \"in secret\\n\"\nexpect /^yes\\n/\n"));
    let (server, port) = serving(&["--script", arg(&server)]);
    let port = port.to_string();
    let client = run(&["--ssl-insecure", "--script", arg(&client), "127.0.0.1", &port], "");
    same(&client.expect_code(0).stdout, b"220 go\r\nyes\n");
    same(&server.finish().expect_code(0).stdout, b"STARTTLS\r\nin secret\n");
}

#[test]
fn openssl_upgrades_with_a_fake_server() {
    if !have("openssl") {
        return;
    }
    let dir = dir();
    let script = "send \"220 fake\\r\\n\"\nexpect /^EHLO \\S+\\r\\n/\n\
                  send \"250-fake\\r\\n250 STARTTLS\\r\\n\"\nexpect /^STARTTLS\\r\\n/\n\
                  send \"220 go\\r\\n\"\nstarttls\nexpect /^hello\\n/\nsend \"under TLS\\n\"\n";
    let script = file_in(&dir, "s", script);
    let (server, port) = serving(&["--script", arg(&script)]);
    let mut client =
        shell(&format!("exec openssl s_client -quiet -starttls smtp -connect 127.0.0.1:{port}"));
    client.send("hello\n");
    client.wait_stdout("under TLS");
    client.end_input();
    server.finish().expect_code(0);
    client.wait();
}

#[test]
fn a_record_of_postfix_is_played_as_a_fake() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = dir();
    let record = dir.path().join("record");
    let at = postfix.at("plain");
    let (host, port) = at.rsplit_once(':').unwrap();
    let talk = ["--expect", "^220 .*\\r\\n", "--send", "NOOP\\r\\n", "--expect", "^250 .*\\r\\n"];
    let bye = ["--send", "QUIT\\r\\n", "--expect", "^221 .*\\r\\n"];
    let log = ["-o", arg(&record), "--output-format", "dialog", host, port];
    let real = run(&[&talk[..], &bye, &log].concat(), "").expect_code(0);
    assert!(real.text().contains("ESMTP Postfix"), "{}", real.text());

    let (server, port) = serving(&["--script", arg(&record)]);
    let port = port.to_string();
    let fake = run(&["--script", arg(&record), "127.0.0.1", &port], "").expect_code(0);
    same(&fake.stdout, &real.stdout);
    same(&server.finish().expect_code(0).stdout, b"NOOP\r\nQUIT\r\n");
}

#[test]
fn what_cannot_be_understood_is_said_before_anybody_is_called() {
    let dir = dir();
    let script = file_in(&dir, "s", "send \"a\"\nsay\n");
    let path = arg(&script);
    for (options, wanted) in [
        (vec!["--script", path], "line 2: \"say\": say is no step: there is send, expect, sleep"),
        (vec!["--expect", "("], "--expect \"(\": no regular expression"),
        (vec!["--send", "\\q"], "--send \"\\q\": \\q is no escape"),
        (vec!["--script", path, "--send", "x"], "write the steps into the script"),
        (vec!["--expect", "x", "--smtp"], "a mail helper do not go together"),
        (vec!["--expect", "x", "-t"], "-t do not go together"),
        (vec!["--script", "/nonexistent"], "cannot read --script /nonexistent"),
    ] {
        let options = [&options[..], &["127.0.0.1", "1"]].concat();
        run(&options, "").expect_code(2).expect_stderr(wanted);
    }
}
