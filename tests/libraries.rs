//! Libraries with which programs send and read mail, against our mock servers. The programs are in
//! `clients/`; each sends, reads, marks, and removes, and says by its status whether it found what
//! it had sent.

mod tool;

use tool::office::{Office, holds, subject};
use tool::{have, have_file};

const JAKARTA: [&str; 2] =
    ["/usr/share/java/jakarta-mail.jar", "/usr/share/java/jakarta-activation.jar"];

/// Three servers: SMTP, IMAP and POP3, the last with these options.
fn office(pop3: &[&str]) -> (Office, [String; 3]) {
    let mut office = Office::open();
    let imap = office.serve(&["--imap"]);
    let pop3 = office.serve(&[&["--pop3"], pop3].concat());
    let ports = [office.smtp, imap, pop3].map(|port| port.to_string());
    (office, ports)
}

/// The one text part of a message, octet for octet, whatever is around it.
#[track_caller]
fn expect_text(message: &[u8], text: &str) {
    let shown = String::from_utf8_lossy(message);
    assert!(holds(message, text.as_bytes()), "{text:?} is not in\n{shown}");
}

#[test]
fn jakarta_mail_sends_reads_marks_idles_and_deletes() {
    if !have("javac") || !have_file(JAKARTA[0]) {
        return;
    }
    let (office, [smtp, imap, pop3]) = office(&["--ssl"]);
    let program = office.file("Mail.java", include_str!("clients/Mail.java"));
    let path = JAKARTA.join(":");
    let args = ["-Dfile.encoding=UTF-8", "-cp", &path, &program, &smtp, &imap, &pop3];
    office.run("java", &args, "").expect_code(0).expect_stdout("news\n");
    office.expect("", &[]);
    office.expect(".Gesch&AOQ-ft.Gesendet", &[("=?UTF-8?Q?=C3=BCber?=", "FSa")]);
    let message = office.only(".Gesch&AOQ-ft.Gesendet");
    expect_text(&message, "\r\n\r\n.\r\n..\r\nFrom me\r\nGr=C3=BCezi\r\n");
    expect_text(&message, "\r\n\r\nAP8NCi4K\r\n");
}

#[test]
fn a_socket_that_reads_one_line_for_each_it_sends_harms_nobody() {
    if !have("javac") {
        return;
    }
    let mut office = Office::open();
    // One without accounts: such a program does not log in to send.
    let mailbox = office.path("box");
    let (smtp, port) = tool::serving(&["--smtp", "-k", "--no-trace", "--mailbox", &mailbox]);
    let (imap, pop3) = (office.serve(&["--imap"]), office.serve(&["--pop3"]));
    let program = office.file("OneLine.java", include_str!("clients/OneLine.java"));
    let ports = [port, pop3, imap].map(|port| port.to_string());
    let args = [&[program.as_str()][..], &ports.each_ref().map(String::as_str)].concat();
    office.run("java", &args, "").expect_code(0);
    // The last may still be on its way: nobody has waited for its answer.
    tool::wait_until("25 messages", || office.kept("").len() == 25);
    let mut subjects: Vec<_> = office.kept("").iter().map(|message| subject(message)).collect();
    subjects.sort_by_key(|subject| subject.parse::<u32>().unwrap());
    assert_eq!(subjects, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(office.kept("").iter().all(|message| message.ends_with(b"\r\n\r\n-- text\r\n")));
    // And each server is still there for others.
    let list = |option: &str, port: u16| {
        let place = format!("localhost:{port}");
        let args = [option, &place, "--auth", "ann:s3cret", "--list"];
        office.run(tool::NCAT, &args, "").expect_code(0).text()
    };
    assert_eq!(list("--imap", imap), "INBOX\t25\t25\n");
    assert_eq!(list("--pop3", pop3).lines().count(), 25);
    let place = format!("localhost:{port}");
    let args =
        ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--subject", "last", "--body", "x"];
    office.run(tool::NCAT, &args, "").expect_code(0);
    drop(smtp);
    assert_eq!(office.kept("").len(), 26);
}

#[test]
fn nodemailer_sends_several_messages_over_one_connection() {
    if !have("node") || !have_file("/usr/share/nodejs/nodemailer/package.json") {
        return;
    }
    let office = Office::open();
    let program = office.file("send.js", include_str!("clients/send.js"));
    let mut node = office.command("node");
    node.env("NODE_PATH", "/usr/share/nodejs").args([&program, &office.smtp.to_string()]);
    let output = tool::start_command(node).finish().expect_code(0);
    output.expect_stdout(&"2 250 2.0.0\n".repeat(3));
    // Two recipients share one mailbox, and so the message.
    office.expect("", &[("one", ""), ("two", ""), ("three", "")]);
    for message in office.kept("") {
        expect_text(&message, "\r\n\r\n.\r\n..\r\nFrom me\r\nGr=C3=BCezi\r\n");
        expect_text(&message, "\r\n\r\nAP8NCi4K\r\n");
    }
}

#[test]
fn aiosmtplib_sends_many_messages_at_the_same_time() {
    if !have_file("/usr/lib/python3/dist-packages/aiosmtplib/__init__.py") {
        return;
    }
    let office = Office::open();
    let program = office.file("send.py", include_str!("clients/send.py"));
    let args = [program.as_str(), &office.smtp.to_string()];
    // Another Python, in front of it in PATH, has not got the system's libraries.
    office.run("/usr/bin/python3", &args, "").expect_code(0);
    let subjects: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    office.expect("", &subjects.iter().map(|subject| (subject.as_str(), "")).collect::<Vec<_>>());
    for message in office.kept("") {
        expect_text(&message, "\r\n\r\n.\r\n..\r\nFrom me\r\nGrüezi\r\n");
    }
}

#[test]
fn perl_sends_reads_marks_moves_idles_and_deletes() {
    if !have("perl") || !have_file("/usr/share/perl5/Mail/IMAPClient.pm") {
        return;
    }
    let (office, [smtp, imap, pop3]) = office(&[]);
    let program = office.file("mail.pl", include_str!("clients/mail.pl"));
    office.run("perl", &[&program, &smtp, &imap, &pop3], "").expect_code(0);
    office.expect("", &[("two", "Fa"), ("news", "")]);
    office.expect(".P&AOQ-rl", &[("one", ""), ("mine", "DS")]);
    let text = ".\r\n..\r\nFrom me\r\nend\r\n";
    let mut both = office.kept(".P&AOQ-rl");
    both.sort();
    let whole = ["mine", "one"].map(|subject| format!("Subject: {subject}\r\n\r\n{text}"));
    assert_eq!(both, whole.map(String::into_bytes));
}

#[test]
fn ruby_sends_reads_marks_moves_idles_and_deletes() {
    if !have("ruby") {
        return;
    }
    let (office, [smtp, imap, pop3]) = office(&["--ssl"]);
    let program = office.file("mail.rb", include_str!("clients/mail.rb"));
    office.run("ruby", &[&program, &smtp, &imap, &pop3], "").expect_code(0);
    office.expect("", &[("two", "Fa")]);
    office.expect(".R&APw-be", &[("one", ""), ("mine", "S")]);
}
