//! The sessions of `tests/transcripts/`, played in chunks of every size.
//!
//! `O:` options, `U:` a line of the person's (all of them are there from the start, so that
//! nothing but the machine keeps the order), `S:` the server's line, given only when we have said
//! exactly what stands above it; `C:` a line of ours, `R:` raw bytes of ours, `T:` TLS begins,
//! `X:` the server hangs up, `N:` so many seconds go by, `Q:` raw bytes of the server's, `E:` how it
//! ends. Those in which we are the server have a player of their own, in `servers`.

mod servers;

use super::content::Style;
use super::numbers::Numbers;
use super::sasl::{Credentials, Login, Mechanism, Secret};
use super::session::{Config, Event, Pace, Session, Worst};
use super::smtp::send::{Order, Reports, Sender, Stage};
use super::{Input, Machine, Output, Ports, ProtocolError, Step, imap, pop3, smtp, starttls};

struct Player {
    machine: Box<dyn Session>,
    chunk: usize,
    peer: Vec<u8>,
    peer_eof: bool,
    user: Vec<u8>,
    user_seen: usize,
    said: Vec<u8>,
    shown: Vec<u8>,
    printed: Vec<u8>,
    told: String,
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
        self.printed.append(&mut self.shown);
        let step = match step {
            Ok(Step::Wait) => Step::Wait,
            Ok(Step::Event(event)) => {
                self.told += &format!("{event:?}");
                Step::Event(())
            }
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

    /// One step, with a server that may have sent anything.
    fn damaged_step(&mut self, peer_seen: usize) -> (Step<()>, usize, usize) {
        let tls = self.tls;
        let result = self.step(peer_seen);
        if self.tls != tls && peer_seen > result.1 {
            // The dialogue lets nobody speak behind the go-ahead.
            self.end = Some(Ok(()));
        }
        result
    }

    /// Runs until nothing moves any more, showing the inputs a chunk more at a time.
    fn settle(&mut self) {
        let mut peer_seen = 0;
        while self.end.is_none() {
            let (tls_before, said_before) = (self.tls, self.said.len());
            let (step, from_peer, from_user) = self.step(peer_seen);
            peer_seen -= from_peer;
            let moved = from_peer + from_user > 0 || self.said.len() > said_before;
            if self.tls != tls_before || step != Step::Wait || moved {
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
        login: None,
        pace: Pace::LockStep,
        content: Style::default(),
        setup_only: false,
        asks: false,
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
                if let Some(only) = other.strip_prefix("mech=") {
                    config.login.as_mut().unwrap().only = Mechanism::named(only).map(|m| vec![m]);
                    continue;
                }
                let (user, password) =
                    other.strip_prefix("auth=").and_then(|auth| auth.split_once(':')).unwrap();
                let password = Secret::new(password);
                let credentials = Credentials { user: user.into(), password };
                config.login = Some(Login {
                    credentials,
                    only: None,
                    nonce: "rOprNGfwEbeRWgbNEkqO".into(),
                    host: "server.test".into(),
                    port: 143,
                    binding: None,
                });
            }
        }
    }
    config
}

/// A message from `a@x`, of which the person's side says everything.
fn order(options: &str) -> Order {
    let mut order = Order {
        helo: "client.test".into(),
        from: "a@x".into(),
        to: Vec::new(),
        head: Vec::new(),
        size: None,
        is_ascii: true,
        raw: false,
        must_upgrade: false,
        stay_plain: false,
        secure: false,
        login: None,
        lmtp: false,
        stop: Stage::Data,
        reports: Reports::default(),
        xclient: Vec::new(),
    };
    for option in options.split_whitespace() {
        match option.split_once('=').unwrap_or((option, "")) {
            ("to", address) => order.to.push(address.into()),
            ("from", address) => order.from = address.into(),
            ("head", text) => order.head = text.replace("\\n", "\n").into_bytes(),
            ("size", n) => order.size = n.parse().ok(),
            ("xclient", _) => {
                let (name, value) =
                    option.split_once('=').and_then(|(_, v)| v.split_once('=')).unwrap();
                order.xclient.push((name.into(), value.into()));
            }
            ("notify", when) => order.reports.notify = Some(when.into()),
            ("envid", id) => order.reports.envid = Some(id.into()),
            ("starttls", _) => order.must_upgrade = true,
            ("plain", _) => order.stay_plain = true,
            ("secure", _) => order.secure = true,
            ("8bit", _) => order.is_ascii = false,
            ("lmtp", _) => order.lmtp = true,
            ("stop", "mail") => order.stop = Stage::Mail,
            ("stop", "rcpt") => order.stop = Stage::Rcpt,
            ("stop", "connect") => order.stop = Stage::Connect,
            ("stop", "ehlo") => order.stop = Stage::Hello,
            ("auth", _) => order.login = config(option).login,
            other => panic!("{other:?}"),
        }
    }
    order
}

fn session(protocol: &str, options: &str) -> Box<dyn Session> {
    if protocol == "send" {
        return Box::new(Sender::new(order(options)));
    }
    if let Some((_, other)) = starttls::Protocol::ALL.iter().find(|(name, _)| *name == protocol) {
        return Box::new(starttls::Upgrade::new(*other, "chat&more.test", "client.test"));
    }
    let value = |key: &str| {
        options.split_whitespace().find_map(|option| option.strip_prefix(key)).map(str::to_owned)
    };
    let numbers = |key: &str| value(key).map(|typed| Numbers::parse(&typed).unwrap());
    let (list, date) = (options.contains("list"), "DATE".to_owned());
    if protocol == "popfetch" {
        let (fetch, delete) = (numbers("fetch="), numbers("delete="));
        let lines = value("lines=").map(|n| n.parse().unwrap());
        let wish = pop3::fetch::Wish { list, fetch, lines, delete, keep: false, date };
        return Box::new(pop3::fetch::Fetch::new(wish));
    }
    if protocol == "imapfetch" {
        let (folder, search) = (value("folder="), value("search="));
        let wish = imap::fetch::Wish {
            list,
            folder,
            search,
            fetch: numbers("fetch="),
            append: value("append=").map(|text| text.replace("\\n", "\r\n").into_bytes()),
            flag: value("flag=").map(|typed| imap::fetch::Flagging::parse(&typed).unwrap()),
            delete: numbers("delete="),
            idle: value("idle=").map(|n| n.parse().unwrap()),
            keep: options.contains("keep"),
            date,
        };
        return Box::new(imap::fetch::Fetch::new(wish));
    }
    let config = config(options);
    match protocol {
        "smtp" => Box::new(smtp::session::Session::new(config)),
        "pop3" => Box::new(pop3::session::Session::new(config)),
        "imap" => Box::new(imap::session::Session::new(config)),
        other => panic!("{other}"),
    }
}

fn play(name: &str, transcript: &str, chunk: usize) {
    let lines: Vec<_> = transcript.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |key: &'static str| {
        let lines = lines.iter().filter_map(move |line| line.strip_prefix(key));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line))
    };
    let user: String = of("U:").map(|line| format!("{line}\n")).collect();
    let (protocol, _) = name.split_once('-').unwrap();
    let mut player = Player {
        machine: session(protocol, &of("O:").collect::<Vec<_>>().join(" ")),
        chunk,
        peer: Vec::new(),
        peer_eof: false,
        user: user.into_bytes(),
        user_seen: 0,
        said: Vec::new(),
        shown: Vec::new(),
        printed: Vec::new(),
        told: String::new(),
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
            "S:" | "Q:" | "X:" | "T:" | "N:" | "E:" => {
                assert_eq!(
                    player.said.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "before {}",
                    at(number)
                );
                if key == "S:" {
                    assert!(player.end.is_none(), "it ended before {}", at(number));
                    player.peer.extend_from_slice(format!("{rest}\r\n").as_bytes());
                } else if key == "Q:" {
                    player.peer.extend_from_slice(rest.replace("\\n", "\n").as_bytes());
                } else if key == "X:" {
                    player.peer_eof = true;
                } else if key == "N:" {
                    let after =
                        player.machine.renew_after().map(|after| after.as_secs().to_string());
                    assert_eq!(after.as_deref(), Some(rest), "{}", at(number));
                    player.machine.renew();
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
            ("printed", _) => {
                let printed = player.printed.escape_ascii().to_string();
                assert_eq!(printed, detail, "{name}, chunk {chunk}");
            }
            ("told", _) => {
                assert!(player.told.contains(detail), "{name}, chunk {chunk}: {}", player.told);
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
        /// All of them, by name.
        const ALL: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../tests/transcripts/", $file, ".txt"))),)*
        ];

        $(
            #[test]
            fn $name() {
                let transcript = include_str!(concat!("../../tests/transcripts/", $file, ".txt"));
                for chunk in (1..=40).chain([100, 10_000]) {
                    play($file, transcript, chunk);
                }
            }
        )*
    };
}

transcripts! {
    the_lesson_goes_line_by_line => "smtp-lesson",
    quit_is_sent_at_the_end_of_the_input => "smtp-quit-at-the-end-of-input",
    no_input_is_a_call_and_a_quit => "smtp-no-input",
    starttls_comes_before_the_first_line => "smtp-starttls-first",
    a_typed_starttls_holds_the_next_line_back => "smtp-starttls-typed",
    a_typed_starttls_may_be_refused => "smtp-starttls-refused-by-hand",
    a_refused_starttls_ends_it => "smtp-starttls-refused",
    a_stripped_starttls_ends_it => "smtp-starttls-not-offered",
    a_second_starttls_ends_it => "smtp-starttls-twice",
    a_login_comes_after_the_second_ehlo => "smtp-login",
    plain_is_preferred_and_goes_in_one_line => "smtp-login-plain",
    a_refused_login_ends_it => "smtp-login-refused",
    endless_challenges_end_it => "smtp-login-endless",
    a_login_that_nobody_offers_ends_it => "smtp-login-not-offered",
    an_answer_to_a_challenge_is_no_command => "smtp-login-by-hand",
    an_open_login_is_called_off => "smtp-login-left-open",
    a_message_without_its_dot_is_not_sent => "smtp-data-without-dot",
    without_a_go_ahead_there_is_no_content => "smtp-data-refused",
    who_types_knows_that_it_was_refused => "smtp-data-refused-typed",
    dots_are_doubled_on_request => "smtp-dot-stuff",
    octets_of_bdat_pass_as_they_are => "smtp-bdat",
    groups_go_where_they_are_offered => "smtp-grouped",
    groups_do_not_go_where_they_are_not => "smtp-grouped-not-offered",
    nothing_waits_on_request => "smtp-at-once",
    a_person_is_not_held_up_but_behind_data => "smtp-typed",
    a_greeting_may_refuse => "smtp-greeting-refuses",
    a_greeting_that_refuses_ends_the_setup => "smtp-greeting-refuses-setup",
    a_421_is_an_end_with_notice => "smtp-421-anywhere",
    a_hang_up_names_the_command => "smtp-hangs-up-on-a-command",
    a_hang_up_after_the_dot_leaves_it_open => "smtp-hangs-up-after-the-dot",
    a_hang_up_before_the_greeting_is_named => "smtp-hangs-up-at-once",
    what_is_no_smtp_is_shown => "smtp-no-smtp",
    a_code_that_changes_ends_it => "smtp-code-changes",
    an_upgrade_alone_ends_with_tls => "smtp-upgrade-only",
    a_mailbox_is_read_line_by_line => "pop3-lesson",
    stls_comes_before_the_first_line => "pop3-starttls-first",
    a_typed_stls_holds_the_next_line_back => "pop3-starttls-typed",
    a_stripped_stls_ends_it => "pop3-starttls-not-offered",
    a_refused_stls_ends_it => "pop3-starttls-refused",
    stls_of_a_server_without_capa_is_tried => "pop3-without-capa",
    apop_is_taken_where_a_password_would_show => "pop3-login-apop",
    a_timestamp_that_is_none_is_no_trap => "pop3-login-apop-better",
    user_and_pass_are_what_is_left => "pop3-login-user",
    a_refused_pass_is_a_refused_login => "pop3-login-refused",
    a_busy_mailbox_is_no_wrong_password => "pop3-login-in-use",
    scram_proves_both_sides => "pop3-login-scram",
    a_server_that_cannot_prove_itself_is_left => "pop3-login-scram-forged",
    a_typed_answer_is_no_command => "pop3-login-by-hand",
    an_open_pop3_login_is_called_off => "pop3-login-left-open",
    a_message_without_its_end_is_an_error => "pop3-cut-in-message",
    an_error_has_no_lines => "pop3-error-has-no-lines",
    a_greeting_of_pop3_may_refuse => "pop3-greeting-refuses",
    what_is_no_pop3_is_shown => "pop3-no-pop3",
    the_lesson_with_tags => "imap-lesson",
    literals_pass_both_ways => "imap-literals",
    a_literal_that_follows_at_once => "imap-literal-at-once",
    a_refused_literal_is_not_read_as_commands => "imap-literal-refused",
    a_literal_cut_short_is_an_error => "imap-literal-unfinished",
    done_ends_idle => "imap-idle",
    idle_ends_with_the_input => "imap-idle-left-open",
    starttls_of_imap_comes_first => "imap-starttls-first",
    a_typed_starttls_of_imap_holds_the_next_line_back => "imap-starttls-typed",
    a_stripped_starttls_of_imap_ends_it => "imap-starttls-not-offered",
    preauth_keeps_nobody_from_tls => "imap-preauth",
    login_is_what_is_left => "imap-login",
    login_may_be_disabled => "imap-login-disabled",
    a_refused_imap_login_says_so => "imap-login-refused",
    an_initial_answer_goes_where_it_may => "imap-login-initial",
    cram_answers_a_challenge => "imap-login-cram",
    a_token_is_refused_in_words => "imap-login-token",
    a_challenge_that_is_none_ends_it => "imap-challenge-garbage",
    challenges_without_end_end_it => "imap-login-endless",
    a_tag_of_nobody_is_told => "imap-wrong-tag",
    a_word_alone_has_its_answer => "imap-odd",
    bye_is_an_end_with_notice => "imap-bye",
    bye_in_the_greeting_refuses => "imap-greeting-bye",
    a_literal_of_the_servers_that_lies => "imap-cut-in-literal",
    what_is_no_imap_is_shown => "imap-no-imap",
    a_pop3_mailbox_is_listed => "popfetch-list",
    messages_are_fetched_and_deleted => "popfetch-fetch",
    one_message_is_as_it_is => "popfetch-one",
    what_is_refused_is_not_deleted => "popfetch-refused",
    a_message_cut_short_is_an_error => "popfetch-cut",
    mailboxes_are_listed => "imapfetch-mailboxes",
    a_mailbox_without_measure_is_not_listed => "popfetch-too-many",
    an_lf_alone_ends_no_line_of_a_message => "popfetch-bare-lf",
    a_server_that_ends_its_lines_in_lf_is_read => "popfetch-lf",
    spaces_are_no_number => "popfetch-stat",
    a_mailbox_without_a_number_is_an_error => "popfetch-no-number",
    a_mailbox_without_measure_has_a_seventh_message => "imapfetch-too-many",
    a_mailbox_is_named_by_a_literal => "imapfetch-mailboxes-literal",
    what_others_mark_is_no_answer => "imapfetch-unasked",
    an_empty_message_is_a_message => "imapfetch-empty",
    a_mailbox_has_one_line => "imapfetch-mailboxes-line",
    what_cannot_be_marked_is_not_expunged => "imapfetch-delete-refused",
    a_mailbox_may_be_refused_for_now => "imapfetch-later",
    a_search_chooses_what_is_fetched => "imapfetch-search",
    a_search_chooses_what_is_deleted => "imapfetch-search-delete",
    an_imap_mailbox_is_listed => "imapfetch-list",
    a_message_in_a_string => "imapfetch-string",
    a_message_that_is_not_there => "imapfetch-missing",
    bye_in_the_middle_is_a_refusal => "imapfetch-bye",
    a_message_is_stored_once => "imapfetch-append-once",
    a_message_is_stored => "imapfetch-append",
    only_ours_are_expunged => "imapfetch-delete",
    without_uidplus_all_are_expunged => "imapfetch-delete-plain",
    what_arrives_is_told => "imapfetch-idle",
    idle_is_renewed_before_the_server_forgets => "imapfetch-idle-renewed",
    a_server_without_idle_is_asked_instead => "imapfetch-idle-polled",
    flags_are_given_to_what_was_printed => "imapfetch-flag",
    flags_are_given_to_what_was_found => "imapfetch-flag-found",
    lmtp_is_upgraded => "lmtp-upgrade",
    lmtp_without_tls_is_left => "lmtp-not-offered",
    ftp_is_upgraded => "ftp-upgrade",
    ftp_may_refuse => "ftp-refused",
    nntp_is_upgraded => "nntp-upgrade",
    nntp_may_refuse => "nntp-refused",
    sieve_is_upgraded => "sieve-upgrade",
    sieve_without_tls_is_left => "sieve-not-offered",
    irc_is_upgraded => "irc-upgrade",
    irc_may_refuse => "irc-refused",
    xmpp_is_upgraded => "xmpp-upgrade",
    xmpp_without_tls_is_left => "xmpp-not-offered",
    xmpp_may_refuse => "xmpp-refused",
    a_message_goes_line_by_line => "send-plain",
    a_message_goes_in_groups => "send-grouped",
    a_message_goes_in_pieces => "send-pieces",
    pieces_wait_where_nothing_else_is_offered => "send-pieces-lock-step",
    helo_is_said_where_ehlo_is_not_known => "send-helo",
    tls_is_used_where_it_is_offered => "send-opportunistic",
    tls_that_has_to_be_has_to_be_offered => "send-starttls-missing",
    a_login_comes_before_the_message => "send-login",
    some_recipients_are_refused => "send-some-refused",
    all_recipients_are_refused => "send-all-refused",
    a_refused_sender_ends_it => "send-sender-refused",
    a_refused_sender_ends_a_group => "send-sender-refused-grouped",
    a_refused_message_says_so => "send-refused",
    a_refused_piece_ends_it => "send-piece-refused",
    a_hang_up_behind_the_message_leaves_it_open => "send-in-doubt",
    a_message_that_is_too_long_is_not_begun => "send-too-long",
    an_address_beyond_ascii_needs_smtputf8 => "send-utf8",
    what_a_server_offers_is_used => "send-parameters",
    dots_and_line_ends_are_made_right => "send-dots",
    lmtp_answers_for_each => "send-lmtp",
    lmtp_may_leave_some_in_doubt => "send-lmtp-in-doubt",
    one_may_stop_half_way => "send-stop",
    a_421_ends_a_message_too => "send-421",
    a_greeting_may_refuse_a_message => "send-greeting-refuses",
    what_a_server_cannot_carry_is_not_sent => "send-8bit-not-offered",
    a_421_is_the_answer_for_all_that_are_left => "send-lmtp-421",
    whom_we_speak_for_is_said_and_all_begins_anew => "send-xclient",
    xclient_is_for_who_offers_it => "send-xclient-not-offered",
}

#[test]
fn a_line_without_end_is_cut_off() {
    for length in [5000, 70_000] {
        let mut machine = session("smtp", "");
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
    let mut machine = session("smtp", "");
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
            Step::Event(Event::Unasked(line)) => {
                assert_eq!(line, b"250 nobody asked");
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
    let mut machine = session("smtp", "");
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
        machine: session("smtp", "secure auth=ann:secret"),
        chunk: 100,
        peer: b"220 hi\r\n250-hi\r\n250 AUTH PLAIN\r\n".to_vec(),
        peer_eof: false,
        user: Vec::new(),
        user_seen: 0,
        said: Vec::new(),
        shown: Vec::new(),
        printed: Vec::new(),
        told: String::new(),
        tls: false,
        end: None,
    };
    player.settle();
    assert!(player.said.windows(16).any(|w| w == b"AGFubgBzZWNyZXQ="));
    // The events, which -v prints, hold it masked.
    assert!(!player.told.contains("secret") && player.told.contains("AUTH PLAIN ****"));
    assert!(!player.told.contains("AGFubgBz"), "{}", player.told);
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }
}

/// What the server of a transcript says, with some damage.
fn damaged(says: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut says = says.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(says.len());
        match dice.roll(7) {
            0 => says.truncate(at),
            1 => says[at..].reverse(),
            2 => {
                let piece = says[at..(at + dice.roll(40)).min(says.len())].to_vec();
                says.splice(at..at, piece);
            }
            3 => says.splice(at..at, vec![b'9'; dice.roll(30)]).for_each(drop),
            4 => says.splice(at..at, *b"{4294967295}\r\n").for_each(drop),
            5 => says.splice(at..at, vec![u8::try_from(dice.roll(256)).unwrap(); 3]).for_each(drop),
            _ => {
                if let Some(byte) = says.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
        }
    }
    says
}

/// No server, however odd, makes a machine panic, spin, or say without end.
#[test]
fn damage_ends_in_an_error_or_an_end_but_never_in_a_loop() {
    let mut played = 0;
    // A damaged number just below the limit is honest work, and much of it.
    for (name, transcript) in ALL.iter().filter(|(name, _)| *name != "popfetch-too-many") {
        let lines = |key: &'static str| {
            let lines = transcript.lines().filter_map(move |line| line.strip_prefix(key));
            lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>()
        };
        let says = transcript.lines().filter_map(|line| match line.split_at_checked(3) {
            Some(("S: ", text)) => Some(format!("{text}\r\n")),
            Some(("Q: ", text)) => Some(text.replace("\\n", "\n")),
            _ => None,
        });
        let says: String = says.collect();
        let user: String = lines("U:").iter().map(|line| format!("{line}\n")).collect();
        let (protocol, _) = name.split_once('-').unwrap();
        for seed in 1..=150 {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            let peer = damaged(says.as_bytes(), &mut dice);
            let mut player = Player {
                machine: session(protocol, &lines("O:").join(" ")),
                chunk: 1 + dice.roll(64),
                peer,
                peer_eof: true,
                user: user.clone().into_bytes(),
                user_seen: 0,
                said: Vec::new(),
                shown: Vec::new(),
                printed: Vec::new(),
                told: String::new(),
                tls: false,
                end: None,
            };
            let (mut seen, mut idle, mut steps) = (0, 0, 0);
            // A machine that has nothing to do for two turns, with everything there, waits.
            while player.end.is_none() && idle < 2 {
                let said = player.said.len();
                let (step, from_peer, from_user) = player.damaged_step(seen);
                seen -= from_peer;
                let more = seen < player.peer.len() || player.user_seen < player.user.len();
                let moved = step != Step::Wait || from_peer + from_user > 0;
                if moved || player.said.len() > said {
                    idle = 0;
                } else if more {
                    seen = (seen + player.chunk).min(player.peer.len());
                    player.user_seen = (player.user_seen + 100).min(player.user.len());
                } else {
                    idle += 1;
                }
                steps += 1;
                assert!(steps < 100_000, "{name}, seed {seed}: it spins");
                assert!(player.said.len() < 1_000_000, "{name}, seed {seed}: it goes on and on");
            }
            assert!(player.end.is_some(), "{name}, seed {seed}: the server has left, and it waits");
            played += 1;
        }
    }
    assert!(played > 10_000, "{played}");
}
