//! A person at a terminal: typed sessions, what the peer may do to the screen, and modes that are
//! as they were afterwards.

mod tool;

use rustix::fs::OFlags;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use tool::{Running, Terminal, on_terminal, on_terminal_by, wait_until};

/// A peer that says something and then hears everything to the end.
fn peer(says: &'static [u8]) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(says).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    (port, heard)
}

/// A server that answers each line of an SMTP client with `250 ok`, or as it must.
fn smtp() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut all = String::new();
        stream.write_all(b"220 mail.test\r\n").unwrap();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return all;
            }
            all.push_str(&line);
            let reply: &[u8] = match line.trim_end() {
                "QUIT" => b"221 bye\r\n",
                line if line.starts_with("EHLO") => b"250-mail.test\r\n250 AUTH PLAIN\r\n",
                line if line.starts_with("AUTH") => b"235 welcome\r\n",
                _ => b"250 ok\r\n",
            };
            stream.write_all(reply).unwrap();
        }
    });
    (port, heard)
}

fn session(args: &[&str]) -> (Running, Terminal, String) {
    let (running, terminal) = on_terminal(args);
    let modes = terminal.before.clone();
    (running, terminal, modes)
}

#[test]
fn a_typed_session_works_and_leaves_the_terminal_as_it_was() {
    let (port, heard) = peer(b"welcome\r\n");
    let (running, mut terminal, modes) = session(&["127.0.0.1", &port.to_string()]);
    running.wait_stdout("welcome");
    assert!(!terminal.flags().contains(OFlags::NONBLOCK), "the shell shares this description");
    terminal.type_text("hello\n");
    terminal.type_text("\x04"); // ^D: the end of the input
    assert_eq!(heard.join().unwrap(), b"hello\n");
    running.wait().expect_code(0);
    assert_eq!(terminal.modes(), modes);
    assert!(!terminal.flags().contains(OFlags::NONBLOCK));
}

#[test]
fn an_interrupt_ends_it_and_leaves_the_terminal_as_it_was() {
    let (port, heard) = peer(b"welcome\r\n");
    let (running, mut terminal, modes) = session(&["127.0.0.1", &port.to_string()]);
    running.wait_stdout("welcome");
    terminal.type_text("\x03");
    running.wait().expect_code(130);
    assert_eq!(terminal.modes(), modes);
    heard.join().unwrap();
}

/// D12: escape sequences could read the clipboard, retitle the window or repaint what was said.
#[test]
fn the_peer_cannot_steer_the_terminal() {
    const NASTY: &[u8] =
        b"\x1b]52;c;AAAA\x07 \x1b[31mred\x1b[0m \x1b[2J \x9b31m over\rwrite end\r\n";
    for (option, shown, not_shown) in [
        (
            "auto",
            &["\\x1b]52;c;AAAA\\x07", "\x1b[31mred\x1b[0m", "\\x1b[2J", "\\x9b31m"][..],
            "\x1b]52",
        ),
        ("strict", &["\\x1b[31mred"], "\x1b[31m"),
        ("off", &["\x1b]52;c;AAAA\x07", "\x1b[2J"], "\\x1b"),
    ] {
        let (port, heard) = peer(NASTY);
        let option = format!("--safe-output={option}");
        let (mut running, mut terminal, _) = session(&[&option, "127.0.0.1", &port.to_string()]);
        running.wait_stdout("end");
        let screen = String::from_utf8_lossy(&running.stdout()).into_owned();
        for text in shown {
            assert!(screen.contains(text), "{option} {text:?}: {screen:?}");
        }
        assert!(!screen.contains(not_shown), "{option}: {screen:?}");
        terminal.type_text("\x04");
        heard.join().unwrap();
        wait_until("its end", || running.has_ended());
    }
}

#[test]
fn a_mail_session_goes_as_it_is_typed() {
    let (port, heard) = smtp();
    let place = format!("127.0.0.1:{port}");
    let (running, mut terminal, modes) = session(&["-v", "--smtp", &place]);
    running.wait_stdout("220 mail.test");
    // With -v on a terminal each reply is explained.
    running.wait_stdout("next: EHLO");
    terminal.type_text("EHLO me\n");
    running.wait_stdout("250 AUTH PLAIN");
    terminal.type_text("MAIL FROM:<a@b>\n");
    running.wait_stdout("next: RCPT TO");
    terminal.type_text("\x04");
    running.wait_stdout("221 bye");
    running.wait().expect_code(0);
    assert_eq!(heard.join().unwrap(), "EHLO me\r\nMAIL FROM:<a@b>\r\nQUIT\r\n");
    assert_eq!(terminal.modes(), modes);
}

#[test]
fn a_password_is_asked_for_without_echo() {
    let (port, heard) = smtp();
    let place = format!("127.0.0.1:{port}");
    let (running, mut terminal, modes) = session(&["--smtp", "--auth", "tim", &place]);
    running.wait_stdout("password for tim: ");
    assert!(!terminal.echoes());
    terminal.type_text("tanstaaftanstaaf\n");
    running.wait_stdout("220 mail.test");
    assert!(terminal.echoes());
    terminal.type_text("\x04");
    running.wait_stdout("221 bye");
    let screen = String::from_utf8_lossy(&running.stdout()).into_owned();
    running.wait().expect_code(0);
    assert!(!screen.contains("tanstaaf"), "{screen:?}");
    // The example of RFC 4616 §4.
    let heard = heard.join().unwrap();
    assert!(heard.contains("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"), "{heard}");
    assert_eq!(terminal.modes(), modes);
}

#[test]
fn a_signal_at_the_prompt_puts_the_modes_back_first() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (running, mut terminal, modes) = session(&["--smtp", "--auth", "tim", "127.0.0.1:1"]);
        running.wait_stdout("password for tim: ");
        if signal == "INT" {
            terminal.type_text("\x03");
        } else {
            running.signal(signal);
        }
        running.wait().expect_code(code);
        assert_eq!(terminal.modes(), modes, "{signal}");
    }
}

#[test]
fn a_signal_that_is_ignored_disturbs_no_prompt() {
    let (port, heard) = smtp();
    let place = format!("127.0.0.1:{port}");
    let args = ["--smtp", "--auth", "tim", &place];
    let (running, mut terminal) = on_terminal_by(&["env", "--ignore-signal=HUP"], &args);
    running.wait_stdout("password for tim: ");
    running.signal("HUP");
    terminal.type_text("tanstaaftanstaaf\n");
    running.wait_stdout("220 mail.test");
    terminal.type_text("\x04");
    running.wait().expect_code(0);
    assert!(heard.join().unwrap().contains("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"));
}

#[test]
fn an_end_of_input_at_the_prompt_is_an_error() {
    let (running, mut terminal, modes) = session(&["--smtp", "--auth", "tim", "127.0.0.1:1"]);
    running.wait_stdout("password for tim: ");
    terminal.type_text("\x04");
    running.wait_stdout("cannot ask for the password");
    running.wait().expect_code(2);
    assert_eq!(terminal.modes(), modes);
}
