//! The sessions of `tests/transcripts/smtp-*.txt`, played in chunks of every size.
//!
//! `O:` options, `U:` a line of the person's (all of them are there from the start, so that
//! nothing but the machine keeps the order), `S:` the server's line, given only when we have said
//! exactly what stands above it; `C:` a line of ours, `R:` raw bytes of ours, `T:` TLS begins,
//! `X:` the server hangs up, `E:` how it ends.

use super::session::{Config, Pace, Session, Worst};
use crate::proto::content::Style;
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};

struct Player {
    machine: Session,
    chunk: usize,
    peer: Vec<u8>,
    peer_eof: bool,
    user: Vec<u8>,
    user_seen: usize,
    said: Vec<u8>,
    shown: Vec<u8>,
    tls: bool,
    end: Option<Result<(), ProtocolError>>,
}

impl Player {
    fn step(&mut self, peer_seen: usize) -> (Step<()>, usize, usize) {
        let user_eof = self.user_seen == self.user.len();
        let peer_eof = self.peer_eof && peer_seen == self.peer.len();
        let (mut ended, mut shown_ended) = (false, false);
        let mut ports = Ports {
            peer: Input::new(&self.peer[..peer_seen], peer_eof),
            to_peer: Output::new(&mut self.said, self.chunk, &mut ended),
            user: Input::new(&self.user[..self.user_seen], user_eof),
            to_user: Output::new(&mut self.shown, self.chunk, &mut shown_ended),
        };
        let step = self.machine.step(&mut ports);
        let (from_peer, from_user) = (ports.peer.eaten(), ports.user.eaten());
        self.peer.drain(..from_peer);
        self.user.drain(..from_user);
        self.user_seen -= from_user;
        let step = match step {
            Ok(Step::Wait) => Step::Wait,
            Ok(Step::Event(_)) => Step::Event(()),
            Ok(Step::StartTls) => {
                assert!(!std::mem::replace(&mut self.tls, true), "TLS began twice");
                Step::StartTls
            }
            Ok(Step::Done) => {
                self.end = Some(Ok(()));
                Step::Done
            }
            Err(e) => {
                self.end = Some(Err(e));
                Step::Done
            }
        };
        (step, from_peer, from_user)
    }

    /// Runs until nothing moves any more, showing the inputs a chunk more at a time.
    fn settle(&mut self) {
        let mut peer_seen = 0;
        while self.end.is_none() {
            let tls_before = self.tls;
            let (step, from_peer, from_user) = self.step(peer_seen);
            peer_seen -= from_peer;
            if self.tls != tls_before || step != Step::Wait || from_peer + from_user > 0 {
                if self.tls && !tls_before {
                    return;
                }
                continue;
            }
            if peer_seen < self.peer.len() {
                peer_seen = (peer_seen + self.chunk).min(self.peer.len());
            } else if self.user_seen < self.user.len() {
                self.user_seen = (self.user_seen + self.chunk).min(self.user.len());
            } else {
                return;
            }
        }
    }
}

fn config(options: &str) -> Config {
    let mut config = Config {
        helo: "client.test".into(),
        starttls: false,
        secure: false,
        auth: None,
        pace: Pace::LockStep,
        content: Style::default(),
        setup_only: false,
    };
    for option in options.split_whitespace() {
        match option {
            "starttls" => config.starttls = true,
            "secure" => config.secure = true,
            "typed" => config.pace = Pace::Typed,
            "grouped" => config.pace = Pace::Grouped,
            "at-once" => config.pace = Pace::AtOnce,
            "dot-stuff" => config.content.dot_stuff = true,
            "setup-only" => config.setup_only = true,
            other => {
                let (user, password) =
                    other.strip_prefix("auth=").and_then(|auth| auth.split_once(':')).unwrap();
                let password = Secret::new(password);
                config.auth = Some(Credentials { user: user.into(), password });
            }
        }
    }
    config
}

fn play(name: &str, transcript: &str, chunk: usize) {
    let lines: Vec<_> = transcript.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |key: &'static str| {
        let lines = lines.iter().filter_map(move |line| line.strip_prefix(key));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line))
    };
    let user: String = of("U:").map(|line| format!("{line}\n")).collect();
    let mut player = Player {
        machine: Session::new(config(&of("O:").collect::<String>())),
        chunk,
        peer: Vec::new(),
        peer_eof: false,
        user: user.into_bytes(),
        user_seen: 0,
        said: Vec::new(),
        shown: Vec::new(),
        tls: false,
        end: None,
    };
    let at =
        |number: usize| format!("{name}, chunk {chunk}, line {}: {}", number + 1, lines[number]);
    let mut expected: Vec<u8> = Vec::new();
    player.settle();
    for (number, line) in lines.iter().enumerate() {
        let (key, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match key {
            "C:" => expected.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "R:" => expected.extend_from_slice(rest.replace("\\n", "\n").as_bytes()),
            "S:" | "X:" | "T:" | "E:" => {
                assert_eq!(
                    player.said.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "before {}",
                    at(number)
                );
                if key == "S:" {
                    assert!(player.end.is_none(), "it ended before {}", at(number));
                    player.peer.extend_from_slice(format!("{rest}\r\n").as_bytes());
                } else if key == "X:" {
                    player.peer_eof = true;
                } else if key == "T:" {
                    assert!(player.tls, "no TLS at {}", at(number));
                }
                player.settle();
            }
            _ => {}
        }
    }
    for end in of("E:") {
        let (what, detail) = end.split_once(' ').unwrap_or((end, ""));
        match (what, &player.end) {
            ("done", Some(Ok(()))) => {}
            ("error", Some(Err(e))) => {
                assert!(e.to_string().contains(detail), "{name}, chunk {chunk}: {e}");
            }
            ("worst", _) => {
                let worst = match detail {
                    "none" => None,
                    "later" => Some(Worst::Later),
                    "refused" => Some(Worst::Refused),
                    "login" => Some(Worst::Login),
                    other => panic!("{name}: {other}"),
                };
                assert_eq!(player.machine.worst(), worst, "{name}, chunk {chunk}");
            }
            (_, got) => panic!("{name}, chunk {chunk}: {end}, got {got:?}"),
        }
    }
}

macro_rules! transcripts {
    ($($name:ident => $file:literal,)*) => {
        $(
            #[test]
            fn $name() {
                let transcript = include_str!(concat!("../../../tests/transcripts/smtp-", $file, ".txt"));
                for chunk in (1..=40).chain([100, 10_000]) {
                    play($file, transcript, chunk);
                }
            }
        )*
    };
}

transcripts! {
    the_lesson_goes_line_by_line => "lesson",
    quit_is_sent_at_the_end_of_the_input => "quit-at-the-end-of-input",
    no_input_is_a_call_and_a_quit => "no-input",
    starttls_comes_before_the_first_line => "starttls-first",
    a_typed_starttls_holds_the_next_line_back => "starttls-typed",
    a_typed_starttls_may_be_refused => "starttls-refused-by-hand",
    a_refused_starttls_ends_it => "starttls-refused",
    a_stripped_starttls_ends_it => "starttls-not-offered",
    a_second_starttls_ends_it => "starttls-twice",
    a_login_comes_after_the_second_ehlo => "login",
    plain_is_preferred_and_goes_in_one_line => "login-plain",
    a_refused_login_ends_it => "login-refused",
    endless_challenges_end_it => "login-endless",
    a_login_that_nobody_offers_ends_it => "login-not-offered",
    an_answer_to_a_challenge_is_no_command => "login-by-hand",
    an_open_login_is_called_off => "login-left-open",
    a_message_without_its_dot_is_not_sent => "data-without-dot",
    without_a_go_ahead_there_is_no_content => "data-refused",
    dots_are_doubled_on_request => "dot-stuff",
    octets_of_bdat_pass_as_they_are => "bdat",
    groups_go_where_they_are_offered => "grouped",
    groups_do_not_go_where_they_are_not => "grouped-not-offered",
    nothing_waits_on_request => "at-once",
    a_person_is_not_held_up_but_behind_data => "typed",
    a_greeting_may_refuse => "greeting-refuses",
    a_greeting_that_refuses_ends_the_setup => "greeting-refuses-setup",
    a_421_is_an_end_with_notice => "421-anywhere",
    a_hang_up_names_the_command => "hangs-up-on-a-command",
    a_hang_up_after_the_dot_leaves_it_open => "hangs-up-after-the-dot",
    a_hang_up_before_the_greeting_is_named => "hangs-up-at-once",
    what_is_no_smtp_is_shown => "no-smtp",
    a_code_that_changes_ends_it => "code-changes",
    an_upgrade_alone_ends_with_tls => "upgrade-only",
}

#[test]
fn a_line_without_end_is_cut_off() {
    for length in [5000, 70_000] {
        let mut machine = Session::new(config(""));
        let flood = vec![b'2'; length];
        let (mut said, mut shown) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (false, false);
        let mut ports = Ports {
            peer: Input::new(&flood, false),
            to_peer: Output::new(&mut said, 100, &mut a),
            user: Input::new(b"", false),
            to_user: Output::new(&mut shown, 100, &mut b),
        };
        let error = machine.step(&mut ports).unwrap_err();
        assert!(matches!(error, ProtocolError::Malformed { got, .. } if got.len() <= 80));
    }
}

#[test]
fn a_reply_too_many_is_told() {
    use super::session::Event;
    let mut machine = Session::new(config(""));
    let (mut said, mut shown, mut a, mut b) = (Vec::new(), Vec::new(), false, false);
    let mut peer = &b"220 hi\r\n250 nobody asked\r\n"[..];
    let mut unasked = 0;
    loop {
        let mut ports = Ports {
            peer: Input::new(peer, false),
            to_peer: Output::new(&mut said, 100, &mut a),
            user: Input::new(b"", false),
            to_user: Output::new(&mut shown, 100, &mut b),
        };
        let step = machine.step(&mut ports).unwrap();
        peer = &peer[ports.peer.eaten()..];
        match step {
            Step::Event(Event::Unasked(reply)) => {
                assert_eq!(reply.code, 250);
                unasked += 1;
            }
            Step::Event(_) => {}
            Step::Wait => break,
            Step::StartTls | Step::Done => panic!("it must go on"),
        }
    }
    assert_eq!((unasked, shown.len(), said.len()), (1, 26, 0));
}

#[test]
fn a_command_without_end_is_refused() {
    let mut machine = Session::new(config(""));
    let (mut said, mut shown) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (false, false);
    let flood = vec![b'x'; 40_000];
    let mut peer = &b"220 hi\r\n"[..];
    loop {
        let mut ports = Ports {
            peer: Input::new(peer, false),
            to_peer: Output::new(&mut said, 100, &mut a),
            user: Input::new(&flood, false),
            to_user: Output::new(&mut shown, 100, &mut b),
        };
        match machine.step(&mut ports) {
            Ok(Step::Event(_)) => peer = &peer[ports.peer.eaten()..],
            Ok(other) => panic!("{other:?}"),
            Err(e) => return assert!(matches!(e, ProtocolError::Unfinished { .. })),
        }
    }
}

#[test]
fn a_password_is_never_told() {
    let mut player = Player {
        machine: Session::new(config("secure auth=ann:secret")),
        chunk: 100,
        peer: b"220 hi\r\n250-hi\r\n250 AUTH PLAIN\r\n".to_vec(),
        peer_eof: false,
        user: Vec::new(),
        user_seen: 0,
        said: Vec::new(),
        shown: Vec::new(),
        tls: false,
        end: None,
    };
    player.settle();
    assert!(player.said.windows(16).any(|w| w == b"AGFubgBzZWNyZXQ="));
    // The events, which -v prints, and the machine itself hold it masked.
    let debug = format!("{:?}", player.machine);
    assert!(!debug.contains("secret"), "{debug}");
}
