//! The sessions in which we are the server, played in chunks of every size and cut off at every
//! octet.
//!
//! `O:` options, `F:` a fault, `M:` a message in the mailbox; `C:` the caller's line, given only
//! when we have said exactly what stands above it, `P:` one that goes together with the next, `Q:`
//! raw bytes of the caller's; `S:` a line of ours, `R:` raw bytes of ours; `T:` TLS begins, `X:` the
//! caller ends its side, `W:` nothing comes for too long, `D:` somebody else delivers a message;
//! `E:` how it ends, what is told (`told`, `untold`), and the UIDs that are left (`kept`).

use crate::proto::fault::Faults;
use crate::proto::sasl::{Mechanism, Secret};
use crate::proto::serving::{Accounts, Event, Protection, Server, Serving};
use crate::proto::{Input, Machine, Output, Ports, Step, imap, pop3};
use std::sync::Arc;

/// A server, and what has been said.
struct Player {
    machine: Box<dyn Server>,
    chunk: usize,
    peer: Vec<u8>,
    seen: usize,
    eof: bool,
    said: Vec<u8>,
    told: String,
    tls: bool,
    over: bool,
}

impl Player {
    fn new(machine: Box<dyn Server>, chunk: usize) -> Self {
        Self {
            machine,
            chunk,
            peer: Vec::new(),
            seen: 0,
            eof: false,
            said: Vec::new(),
            told: String::new(),
            tls: false,
            over: false,
        }
    }

    /// Until nothing moves any more; what comes is seen a chunk more at a time. Nothing is read
    /// behind the go-ahead for TLS.
    fn settle(&mut self) {
        let mut steps = 0;
        while !self.over {
            let (said, mut ended, mut nothing, mut never) = (self.said.len(), false, vec![], false);
            let mut ports = Ports {
                peer: Input::new(&self.peer[..self.seen], self.eof && self.seen == self.peer.len()),
                to_peer: Output::new(&mut self.said, self.chunk, &mut ended),
                user: Input::new(b"", true),
                to_user: Output::new(&mut nothing, 1, &mut never),
            };
            let step = self.machine.step(&mut ports).unwrap();
            let eaten = ports.peer.eaten();
            self.peer.drain(..eaten);
            self.seen -= eaten;
            assert!(nothing.is_empty() && !never, "nobody is at this end");
            steps += 1;
            assert!(steps < 1_000_000, "it spins");
            match step {
                Step::Event(event) => {
                    self.told += &match &event {
                        Event::Story(text) => format!("story {text}\n"),
                        Event::Lint(text) => format!("lint {text}\n"),
                        Event::Message(_) | Event::Fault(_) | Event::Changed => {
                            format!("{event:?}\n")
                        }
                    };
                }
                Step::StartTls => {
                    assert!(!std::mem::replace(&mut self.tls, true), "TLS began twice");
                    return;
                }
                Step::Done => self.over = true,
                Step::Wait if eaten > 0 || self.said.len() > said => {}
                Step::Wait if self.seen < self.peer.len() => {
                    self.seen = (self.seen + self.chunk).min(self.peer.len());
                }
                Step::Wait => return,
            }
        }
    }
}

/// Lines of a transcript, by their keys.
struct Transcript<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Transcript<'a> {
    fn of(text: &'a str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(
            lines
                .map(|line| {
                    let (key, rest) = line.split_at(2);
                    (key, rest.strip_prefix(' ').unwrap_or(rest))
                })
                .collect(),
        )
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| *other == key).map(|(_, text)| *text)
    }

    /// Everything that the caller says, up to TLS.
    fn caller(&self) -> Vec<u8> {
        let before = self.0.iter().take_while(|(key, _)| *key != "T:");
        let lines = before.filter_map(|(key, text)| match *key {
            "C:" | "P:" => Some(format!("{text}\r\n").into_bytes()),
            "Q:" => Some(raw(text)),
            _ => None,
        });
        lines.flatten().collect()
    }
}

/// `\n`, `\r`, `\0` and `\xNN` as what they stand for.
fn raw(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, used) = match (first, after) {
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'0', ..]) => (0, 1),
            (b'\\', [b'x', a, b, ..]) => {
                let digits = [*a, *b];
                (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), 3)
            }
            _ => (first, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    bytes
}

fn serving(transcript: &Transcript<'_>) -> Serving {
    let mut accounts = Accounts::default();
    let mut without = Vec::new();
    let mut serving = Serving {
        host: "mail.test".into(),
        protection: Protection::Offered,
        accounts: Arc::default(),
        loopback: true,
        without: Arc::default(),
        most_octets: 50_000_000,
        faults: Arc::new(Faults::parse(transcript.all("F:"), false).unwrap()),
        nonce: "1896.697170952".into(),
        number: 1,
        client: None,
    };
    for option in transcript.all("O:").flat_map(str::split_whitespace) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("auth", pair) => {
                let (user, password) = pair.split_once(':').unwrap();
                accounts.users.push((user.into(), Secret::new(password)));
            }
            ("only", names) => {
                let only = names.split(',').map(|name| Mechanism::named(name).unwrap());
                accounts.only = Some(only.collect());
            }
            ("without", name) => without.push(name.to_owned()),
            ("secure", _) => serving.protection = Protection::On,
            ("required", _) => serving.protection = Protection::Required,
            ("never", _) => serving.protection = Protection::Never,
            ("afar", _) => serving.loopback = false,
            ("host", name) => serving.host = name.into(),
            ("most", octets) => serving.most_octets = octets.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    (serving.accounts, serving.without) = (Arc::new(accounts), Arc::new(without));
    serving
}

/// The mailbox behind a server.
enum Practice {
    Pop3(pop3::server::practice::Practice),
    Imap(imap::server::practice::Practice),
}

impl Practice {
    fn uids(&self) -> Vec<u32> {
        match self {
            Self::Pop3(practice) => practice.uids(),
            Self::Imap(practice) => practice.uids(),
        }
    }

    fn deliver(&self, message: &[u8]) {
        match self {
            Self::Pop3(_) => panic!("a maildrop does not change while somebody has it"),
            Self::Imap(practice) => practice.deliver(message),
        }
    }
}

fn server(name: &str, transcript: &Transcript<'_>) -> (Box<dyn Server>, Practice) {
    let messages = transcript.all("M:").map(raw).collect::<Vec<_>>();
    let serving = serving(transcript);
    match name.split_once('-').unwrap().0 {
        "pop3" => {
            let practice = pop3::server::practice::Practice::of(&messages);
            let machine = Box::new(pop3::server::new(serving, Box::new(practice.clone())));
            (machine, Practice::Pop3(practice))
        }
        "imap" => {
            let practice = imap::server::practice::Practice::of(&messages);
            let machine = Box::new(imap::server::new(serving, Box::new(practice.clone())));
            (machine, Practice::Imap(practice))
        }
        other => panic!("{other}"),
    }
}

fn play(name: &str, text: &str, chunk: usize) {
    let transcript = Transcript::of(text);
    let (machine, practice) = server(name, &transcript);
    let mut player = Player::new(machine, chunk);
    player.settle();
    let mut expected = Vec::new();
    for (key, rest) in &transcript.0 {
        let at = format!("{name}, chunk {chunk}: {key} {rest}");
        match *key {
            "S:" => expected.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "R:" => expected.extend(raw(rest)),
            "P:" => player.peer.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "C:" | "Q:" | "T:" | "X:" | "W:" | "D:" | "E:" => {
                assert_eq!(
                    player.said.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "before {at}"
                );
                match *key {
                    "C:" => player.peer.extend_from_slice(format!("{rest}\r\n").as_bytes()),
                    "Q:" => player.peer.extend(raw(rest)),
                    "T:" => assert!(std::mem::take(&mut player.tls), "no TLS at {at}"),
                    "X:" => player.eof = true,
                    "W:" => player.machine.time_out(),
                    "D:" => {
                        practice.deliver(&raw(rest));
                        // Who does not wait for news hears of it when it asks.
                        if player.machine.waits_for_news() {
                            player.machine.nudge();
                        }
                    }
                    _ => {}
                }
                if *key != "E:" {
                    assert!(!player.over, "it is over before {at}");
                    player.settle();
                }
            }
            "O:" | "F:" | "M:" => {}
            other => panic!("{other} in {name}"),
        }
    }
    let told = player.told;
    for end in transcript.all("E:") {
        let (what, detail) = end.split_once(' ').unwrap_or((end, ""));
        match what {
            "done" => assert!(player.over, "{name}, chunk {chunk}: it goes on"),
            "open" => assert!(!player.over, "{name}, chunk {chunk}: it is over"),
            "told" => assert!(told.contains(detail), "{name}, chunk {chunk}: {detail}: {told}"),
            "untold" => assert!(!told.contains(detail), "{name}, chunk {chunk}: {told}"),
            "kept" => {
                let kept: Vec<_> = practice.uids().iter().map(u32::to_string).collect();
                assert_eq!(kept.join(" "), detail, "{name}, chunk {chunk}");
            }
            other => panic!("{other}"),
        }
    }
}

/// The caller leaves after so many octets of what it says: all at once, or in pieces.
fn cut(name: &str, text: &str, at: usize, chunk: usize) -> (String, String, Vec<u32>) {
    let transcript = Transcript::of(text);
    let (machine, practice) = server(name, &transcript);
    let mut player = Player::new(machine, chunk);
    player.settle();
    player.peer = transcript.caller()[..at].to_vec();
    player.eof = true;
    player.settle();
    let hangs = text.contains("=hang");
    assert!(player.over || player.tls || hangs, "{name}, {at}: its caller has left, and it waits");
    (player.said.escape_ascii().to_string(), player.told, practice.uids())
}

macro_rules! transcripts {
    ($($name:ident => $file:literal,)*) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("../../../tests/transcripts/", $file, ".txt"));
                for chunk in (1..=40).chain([100, 10_000]) {
                    play($file, text, chunk);
                }
                let whole = Transcript::of(text).caller();
                let quit = memchr::memmem::find(&whole.to_ascii_lowercase(), b"quit\r\n");
                let (_, practice) = server($file, &Transcript::of(text));
                // Every prefix of a long one is too much work.
                for at in (0..=whole.len()).step_by(1 + whole.len() / 1000 * 37) {
                    let at_once = cut($file, text, at, 100_000);
                    for chunk in [1, 3] {
                        assert_eq!(cut($file, text, at, chunk), at_once, "{}", $file);
                    }
                    let is_maildrop = matches!(practice, Practice::Pop3(_));
                    if is_maildrop && quit.is_none_or(|quit| at < quit + 6) {
                        assert_eq!(at_once.2, practice.uids(), "without QUIT nothing is deleted");
                    }
                }
            }
        )*
    };
}

transcripts! {
    a_mailbox_is_served => "pop3-server-lesson",
    nothing_is_deleted_but_at_quit => "pop3-server-rset",
    a_caller_that_leaves_deletes_nothing => "pop3-server-cut",
    commands_may_come_in_one_go => "pop3-server-pipelined",
    what_cannot_be_done_is_refused => "pop3-server-refused",
    only_accounts_get_in => "pop3-server-accounts",
    logins_by_auth => "pop3-server-auth",
    apop_is_as_the_rfc_has_it => "pop3-server-apop",
    stls_forgets_what_was_said => "pop3-server-stls",
    tls_may_have_to_come_first => "pop3-server-required",
    tls_that_is_on_is_not_offered => "pop3-server-secure",
    there_may_be_no_tls => "pop3-server-never",
    no_password_is_taken_where_it_can_be_read => "pop3-server-afar",
    what_is_hidden_is_not_granted => "pop3-server-hidden",
    lines_may_be_odd => "pop3-server-odd",
    a_line_that_is_too_long_is_skipped => "pop3-server-long",
    who_errs_too_often_is_left => "pop3-server-errors",
    who_guesses_too_often_is_left => "pop3-server-guesses",
    who_is_silent_for_too_long_is_told => "pop3-server-idle",
    refusals_on_demand => "pop3-server-fault-replies",
    the_connections_faults_are_told => "pop3-server-fault-acts",
    a_reply_is_cut_on_demand => "pop3-server-fault-truncate",
    a_message_is_cut_on_demand => "pop3-server-fault-message",
    what_is_wrong_with_lists_on_demand => "pop3-server-fault-lists",
    a_handshake_fails_on_demand => "pop3-server-fault-tls",
    octets_are_smuggled_on_demand => "pop3-server-fault-inject",
    a_greeting_fails_on_demand => "pop3-server-fault-greeting",
    messages_are_fetched_marked_and_expunged => "imap-server-lesson",
    folders_are_made_listed_and_deleted => "imap-server-mailboxes",
    literals_are_refused_before_they_come => "imap-server-literals",
    messages_are_found => "imap-server-search",
    messages_are_copied_and_moved => "imap-server-moves",
    news_come_at_once_while_it_idles => "imap-server-idle",
    what_imap_does_not_know_is_refused => "imap-server-refused",
    imap_logins_by_authenticate => "imap-server-auth",
    who_guesses_too_often_at_imap_is_left => "imap-server-guesses",
    imap_takes_no_password_where_it_can_be_read => "imap-server-afar",
    imap_may_want_tls_first => "imap-server-required",
    imap_commands_may_come_in_one_go => "imap-server-pipelined",
    half_an_imap_command_is_none => "imap-server-cut",
    imap_answers_on_demand => "imap-server-fault-replies",
    imap_faults_of_the_connection => "imap-server-fault-acts",
    an_imap_message_is_cut_on_demand => "imap-server-fault-byte",
    an_imap_handshake_fails_on_demand => "imap-server-fault-tls",
    octets_are_smuggled_to_an_imap_client_on_demand => "imap-server-fault-inject",
    an_imap_greeting_fails_on_demand => "imap-server-fault-greeting",
}
