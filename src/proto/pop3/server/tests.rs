//! Our client against this server, in memory; and callers that no client would be.

use super::*;
use crate::proto::content::Style;
use crate::proto::fault::Faults;
use crate::proto::numbers::Numbers;
use crate::proto::pop3::{fetch, session};
use crate::proto::sasl::{Credentials, Login, Mechanism, Secret};
use crate::proto::serving::Accounts;
use crate::proto::session::{Config, Pace, Session};
use crate::proto::{Input, Output};
use practice::Practice;
use std::sync::Arc;

fn serving(users: &[(&str, &str)]) -> Serving {
    let users = users.iter().map(|(user, secret)| ((*user).to_owned(), Secret::new(*secret)));
    Serving {
        host: "mail.test".into(),
        protection: Protection::Offered,
        accounts: Arc::new(Accounts { users: users.collect(), only: None }),
        loopback: true,
        without: Arc::default(),
        most_octets: 50_000_000,
        faults: Arc::<Faults>::default(),
        nonce: "nonce".into(),
        number: 1,
        client: None,
    }
}

/// The server, with what has come for it.
struct Side {
    service: Service,
    inbox: Vec<u8>,
    told: Vec<Event>,
    over: bool,
    tls: bool,
}

impl Side {
    fn new(serving: Serving, practice: &Practice) -> Self {
        let service = Service::new(serving, Box::new(practice.clone()));
        Self { service, inbox: Vec::new(), told: Vec::new(), over: false, tls: false }
    }

    /// One step, with so much room. True if it waits.
    fn step(&mut self, eof: bool, room: usize, out: &mut Vec<u8>) -> bool {
        let (before, mut ended, mut nothing, mut never) = (out.len(), false, vec![], false);
        let mut ports = Ports {
            peer: Input::new(&self.inbox, eof),
            to_peer: Output::new(out, room, &mut ended),
            user: Input::new(b"", true),
            to_user: Output::new(&mut nothing, 1, &mut never),
        };
        let step = self.service.step(&mut ports).unwrap();
        let eaten = ports.peer.eaten();
        self.inbox.drain(..eaten);
        let said = out.len() - before;
        assert!(said <= 2 * room + 600, "{said} octets for {room}");
        match step {
            Step::Wait => return eaten == 0 && said == 0,
            Step::Event(event) => self.told.push(event),
            Step::StartTls => self.tls = true,
            Step::Done => self.over = true,
        }
        self.over
    }

    /// A caller who says all this at once, and leaves.
    fn hear(&mut self, says: &[u8]) -> String {
        let mut out = Vec::new();
        self.inbox.extend_from_slice(says);
        while !self.step(true, 100, &mut out) {}
        assert!(self.over, "the caller has left");
        out.escape_ascii().to_string()
    }
}

fn config(login: Option<(&str, &str, Option<Mechanism>)>, starttls: bool) -> Config {
    Config {
        helo: String::new(),
        starttls,
        secure: false,
        login: login.map(|(user, password, only)| Login {
            credentials: Credentials { user: user.into(), password: Secret::new(password) },
            only: only.map(|mechanism| vec![mechanism]),
            nonce: "rOprNGfwEbeRWgbNEkqO".into(),
            host: "mail.test".into(),
            port: 110,
            binding: None,
        }),
        pace: Pace::LockStep,
        content: Style::default(),
        setup_only: true,
        asks: false,
    }
}

/// One client after the other on one connection, `chunk` octets at a time. What the last one
/// shows, or why it has left.
fn talk(
    server: &mut Side,
    clients: Vec<Box<dyn Session>>,
    user: &[u8],
    chunk: usize,
) -> Result<String, ProtocolError> {
    let mut clients = clients.into_iter();
    let mut client = clients.next();
    let (mut up, mut down, mut heard, mut shown) = (vec![], vec![], vec![], vec![]);
    let (mut all, mut user, mut tls, mut failed) = (vec![], user, false, None);
    for _ in 0..1_000_000 {
        if let Some(machine) = client.as_mut().filter(|_| tls == server.tls || !tls) {
            let (mut a, mut b) = (false, false);
            let mut ports = Ports {
                peer: Input::new(&heard, server.over && down.is_empty()),
                to_peer: Output::new(&mut up, chunk, &mut a),
                user: Input::new(user, true),
                to_user: Output::new(&mut shown, chunk, &mut b),
            };
            let step = machine.step(&mut ports);
            let (from_peer, from_user) = (ports.peer.eaten(), ports.user.eaten());
            heard.drain(..from_peer);
            user = &user[from_user..];
            all.append(&mut shown);
            match step {
                Ok(Step::Wait | Step::Event(_)) => {}
                Ok(Step::StartTls) => {
                    assert!(heard.is_empty() && down.is_empty(), "smuggled to the client");
                    tls = true;
                }
                Ok(Step::Done) => client = clients.next(),
                Err(error) => (client, failed) = (None, Some(error)),
            }
        } else if client.is_none() && server.over {
            let all = String::from_utf8(all).unwrap();
            // The greeting is everybody's.
            let all = all.strip_prefix("+OK mail.test POP3 ready").unwrap();
            return failed.map_or(Ok(all.split_once('\n').unwrap().1.to_owned()), Err);
        }
        server.inbox.extend(up.drain(..up.len().min(chunk)));
        if !server.over {
            server.step(client.is_none() && up.is_empty(), chunk, &mut down);
        }
        heard.extend(down.drain(..down.len().min(chunk)));
    }
    panic!("they talk and talk: {:?}", server.told);
}

fn wish(list: bool, fetch: Option<&str>, delete: Option<&str>) -> Box<dyn Session> {
    let numbers = |typed: Option<&str>| typed.map(|typed| Numbers::parse(typed).unwrap());
    let (fetch, delete) = (numbers(fetch), numbers(delete));
    let wish = fetch::Wish { list, fetch, lines: None, delete, keep: false, date: "DATE".into() };
    Box::new(fetch::Fetch::new(wish))
}

const MESSAGES: [&str; 3] = [
    "Subject: one\r\n\r\n.\r\n..\r\n.hidden\r\n",
    "From: b@x\r\nSubject: two\r\n\r\nbody\r\n",
    "Subject: three\r\n\r\n\r\n\r\n",
];

#[test]
fn our_client_logs_in_by_every_mechanism_and_reads_and_deletes() {
    let named = Mechanism::ALL.into_iter().filter(|m| *m != Mechanism::External).map(Some);
    for mechanism in named.chain([None]) {
        for starttls in [false, true] {
            // SCRAM costs much, however it is cut.
            for chunk in [1, 7, 1000] {
                let practice = Practice::of(&MESSAGES);
                let anybody = mechanism == Some(Mechanism::Anonymous);
                let users = if anybody { &[][..] } else { &[("ann", "p w=,")][..] };
                let mut serving = serving(users);
                if mechanism.is_none() {
                    // APOP and USER and PASS are what is left: in the clear, and under TLS.
                    serving.without = Arc::new(vec!["SASL".into()]);
                }
                let mut server = Side::new(serving, &practice);
                let config = config(Some(("ann", "p w=,", mechanism)), starttls);
                let login = Box::new(session::Session::new(config));
                // No token has a space.
                let token = matches!(mechanism, Some(Mechanism::XOAuth2 | Mechanism::OAuthBearer));
                let fetch = wish(false, Some("1"), Some("1,3"));
                let shown = talk(&mut server, vec![login, fetch], b"", chunk);
                if token {
                    assert!(shown.is_err());
                    continue;
                }
                assert_eq!(shown.as_deref(), Ok(MESSAGES[0]), "{mechanism:?}");
                assert_eq!(practice.uids(), [2]);
                assert_eq!(server.tls, starttls);
                assert!(server.told.contains(&Event::Changed));
                if mechanism.is_none() {
                    let how = if starttls { "PASS" } else { "APOP" };
                    let story = Event::Story(format!("\"ann\" has logged in by {how}"));
                    assert!(server.told.contains(&story), "{:?}", server.told);
                }
                let name = if anybody { "anonymous" } else { "ann" };
                assert_eq!(practice.inside().entered, [name]);
            }
        }
    }
}

#[test]
fn our_client_lists_and_fetches_what_is_there() {
    for chunk in (1..40).chain([1000]) {
        let practice = Practice::of(&MESSAGES);
        let mut server = Side::new(serving(&[("ann", "token")]), &practice);
        let login = config(Some(("ann", "token", Some(Mechanism::XOAuth2))), false);
        let clients: Vec<Box<dyn Session>> =
            vec![Box::new(session::Session::new(login)), wish(true, Some("all"), None)];
        let shown = talk(&mut server, clients, b"", chunk).unwrap();
        let lists = "1\t32\t0000002a00000001\t\t\tone\n2\t33\t0000002a00000002\t\tb@x\ttwo\n\
                     3\t22\t0000002a00000003\t\t\tthree\n";
        assert!(shown.starts_with(lists), "{shown}");
        assert!(shown.contains("\n.\n..\n.hidden\n"), "{shown}");
        assert_eq!(practice.uids(), [1, 2, 3]);
    }
}

#[test]
fn a_typed_session_goes_line_by_line() {
    let typed = b"USER ann\nPASS x\nSTAT\nRETR 2\nDELE 2\nNOOP\nFROB\nQUIT\n";
    let mut all = Vec::new();
    for pace in [Pace::LockStep, Pace::Typed, Pace::AtOnce] {
        for chunk in (1..20).chain([1000]) {
            let practice = Practice::of(&MESSAGES);
            let mut server = Side::new(serving(&[]), &practice);
            let config = Config { pace, setup_only: false, ..config(None, false) };
            let client = Box::new(session::Session::new(config));
            all.push(talk(&mut server, vec![client], typed, chunk).unwrap());
            assert_eq!(practice.uids(), [1, 3]);
        }
    }
    assert!(
        all[0].contains(MESSAGES[1]) && all[0].ends_with("1 message deleted\r\n"),
        "{}",
        all[0]
    );
    assert!(all.iter().all(|shown| *shown == all[0]));
}

#[test]
fn our_client_is_told_why_it_cannot_get_in() {
    for chunk in [1, 100] {
        let practice = Practice::of(&MESSAGES);
        let tries = |practice: &Practice, password: &str, only| {
            let mut server = Side::new(serving(&[("ann", "x")]), practice);
            let login = session::Session::new(config(Some(("ann", password, only)), false));
            talk(&mut server, vec![Box::new(login)], b"", chunk).unwrap_err()
        };
        for mechanism in [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain] {
            let error = tries(&practice, "y", Some(mechanism)).to_string();
            assert_eq!(error, "the login was refused: -ERR [AUTH] the login is refused");
        }
        practice.inside().taken = true;
        let error = tries(&practice, "x", None);
        let ProtocolError::Declined { later: true, text, .. } = error else { panic!("{error:?}") };
        assert_eq!(text, b"-ERR [IN-USE] the mailbox is in use");
        for (refusal, text) in [
            (
                Refusal::BadName("it is a path"),
                "[SYS/PERM] no mailbox can have this name: it is a path",
            ),
            (Refusal::Broken("I/O\r\n+OK".into()), "[SYS/TEMP] I/O+OK"),
        ] {
            practice.inside().at_enter = Some(refusal);
            let error = tries(&practice, "x", None).to_string();
            assert_eq!(error, format!("the login was refused: -ERR {text}"));
        }
    }
}

#[test]
fn the_maildrop_is_free_again_however_the_session_ends() {
    let practice = Practice::of(&MESSAGES);
    for ends in ["QUIT\r\n", "", "DELE 1\r\nDELE 2"] {
        let mut server = Side::new(serving(&[]), &practice);
        server.hear(format!("USER ann\r\nPASS x\r\n{ends}").as_bytes());
        assert!(!practice.inside().taken, "{ends:?}");
        assert_eq!(practice.uids(), [1, 2, 3]);
    }
}

#[test]
fn what_the_store_cannot_do_is_said() {
    let practice = Practice::of(&MESSAGES);
    practice.inside().at_read = Some(Refusal::Gone);
    practice.inside().at_remove = Some(Refusal::ReadOnly);
    let mut server = Side::new(serving(&[]), &practice);
    let said = server.hear(b"USER a\r\nPASS b\r\nRETR 1\r\nTOP 1 0\r\nDELE 1\r\nQUIT\r\n");
    let end = "-ERR [SYS/TEMP] the message is gone\\r\\n-ERR [SYS/TEMP] the message is gone\\r\\n\
               +OK message 1 goes at QUIT\\r\\n\
               -ERR [SYS/PERM] nothing is deleted: the mailbox is read-only\\r\\n";
    assert!(said.ends_with(end), "{said}");
    assert!(!server.told.contains(&Event::Changed));
}

/// A message of 3 MB goes out as there is room for it, never all at once: `Side::step` counts.
#[test]
fn a_big_message_goes_out_in_pieces_and_nothing_is_read_meanwhile() {
    let line = format!(".{}\r\n", "x".repeat(97));
    let practice = Practice::of(&[line.repeat(30_000)]);
    let mut server = Side::new(serving(&[]), &practice);
    server.inbox = b"USER a\r\nPASS b\r\nRETR 1\r\nNOOP\r\n".to_vec();
    let (mut out, mut total, mut pieces) = (Vec::new(), 0, 0);
    while !server.step(false, 4096, &mut out) {
        if out.len() > 8000 {
            assert_eq!(server.inbox, b"NOOP\r\n", "what follows waits");
            let mut none = Vec::new();
            assert!(server.step(false, 0, &mut none), "without room nothing is done");
        }
        total += out.len();
        pieces += 1;
        out.clear();
    }
    assert!(total > 3_030_000 && pieces > 700, "{total}, {pieces}");
}

#[test]
fn a_line_without_end_is_not_kept() {
    let practice = Practice::of(&MESSAGES);
    let mut server = Side::new(serving(&[]), &practice);
    let mut out = Vec::new();
    while !server.step(false, 1000, &mut out) {}
    for _ in 0..1000 {
        server.inbox.extend_from_slice(&[b'x'; 10_000]);
        while !server.step(false, 1000, &mut out) {}
        assert!(server.inbox.is_empty());
    }
    let said = "+OK mail.test POP3 ready\r\n-ERR a line has 255 octets at most\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), said);
    assert_eq!(server.told.len(), 1, "{:?}", server.told);
}

#[test]
fn who_speaks_before_the_greeting_is_noted() {
    let practice = Practice::of(&MESSAGES);
    let mut server = Side::new(serving(&[]), &practice);
    server.hear(b"QUIT\r\n");
    let early = Event::Lint("it spoke before the greeting".into());
    assert!(server.told.contains(&early), "{:?}", server.told);
}

#[test]
fn a_fault_of_the_connection_comes_before_the_greeting_and_may_be_the_end() {
    let practice = Practice::of(&MESSAGES);
    for (fault, said) in [
        ("greeting=delay:1s", "+OK mail.test POP3 ready\\r\\n"),
        ("greeting=drop", ""),
        ("greeting=rst", ""),
        ("greeting=hang", ""),
        ("greeting=truncate", "+OK mail.test"),
        ("greeting=250 hello", "+OK 2.0.0 hello\\r\\n"),
        ("greeting=inject:x", "x+OK mail.test POP3 ready\\r\\n"),
    ] {
        let faults = Arc::new(Faults::parse([fault], false).unwrap());
        let mut server = Side::new(Serving { faults, ..serving(&[]) }, &practice);
        assert_eq!(server.hear(b""), said, "{fault}");
        let told = server.told.iter().filter(|event| matches!(event, Event::Fault(_))).count();
        let is_act = ["delay", "drop", "rst", "hang"].iter().any(|act| fault.ends_with(act));
        assert_eq!(told, usize::from(is_act || fault.contains("delay")), "{fault}");
    }
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Commands that make sense more often than not.
fn commands(dice: &mut Dice) -> Vec<u8> {
    const LINES: &[&str] = &[
        "USER ann",
        "PASS x",
        "STAT",
        "LIST",
        "LIST 2",
        "UIDL",
        "UIDL 3",
        "RETR 1",
        "RETR 2",
        "RETR 9",
        "TOP 1 0",
        "TOP 2 9",
        "DELE 1",
        "DELE 2",
        "DELE 3",
        "RSET",
        "NOOP",
        "CAPA",
        "AUTH",
        "AUTH PLAIN AGFubgB4",
        "AUTH LOGIN",
        "YW5u",
        "*",
        "",
        "FROB",
        "UTF8",
        "quit",
    ];
    let mut all = b"USER ann\r\nPASS x\r\n".to_vec();
    for _ in 0..dice.roll(25) {
        // QUIT ends everything: it comes seldom.
        let line = LINES[dice.roll(LINES.len()).min(dice.roll(LINES.len()) + 9)];
        all.extend_from_slice(line.as_bytes());
        all.extend_from_slice(if dice.roll(9) == 0 { b"\n" } else { b"\r\n" });
        match dice.roll(30) {
            0 => all.extend((0..dice.roll(400)).map(|_| u8::try_from(dice.roll(256)).unwrap())),
            1 => all.extend(std::iter::repeat_n(b'y', dice.roll(600))),
            _ => {}
        }
    }
    all
}

/// The same octets in two cuts come to the same; what STAT says is what LIST adds up to; and
/// without QUIT nothing is gone.
#[test]
fn however_a_session_is_cut_it_comes_to_the_same() {
    let faults = [
        &[][..],
        &["byte:7=inject:!", "retr=lie-size@50%,seed=3", "noop=garbage@30%", "any=451@5%"],
    ];
    let (mut quits, mut logins) = (0, 0);
    for seed in 1..=600_u64 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let says = commands(&mut dice);
        let specs = faults[dice.roll(2)];
        let play = |cut: usize, room: usize| {
            let practice = Practice::of(&MESSAGES);
            let faults = Arc::new(Faults::parse(specs.iter().copied(), false).unwrap());
            let mut server = Side::new(Serving { faults, ..serving(&[]) }, &practice);
            let mut out = Vec::new();
            while !server.step(false, room, &mut out) {}
            for piece in says.chunks(cut) {
                server.inbox.extend_from_slice(piece);
                while !server.step(false, room, &mut out) {}
            }
            while !server.step(true, room, &mut out) {}
            assert!(server.over, "seed {seed}");
            (out.escape_ascii().to_string(), format!("{:?}", server.told), practice.uids())
        };
        let once = play(says.len(), 100_000);
        for (cut, room) in [(1, 1), (2, 1000), (1 + dice.roll(50), 1 + dice.roll(50))] {
            assert_eq!(play(cut, room), once, "seed {seed}: {}", says.escape_ascii());
        }
        let (said, told, uids) = once;
        let deleted = told.contains("has deleted");
        assert_eq!(uids.len() < MESSAGES.len(), deleted, "seed {seed}: {told}");
        quits += usize::from(deleted);
        logins += usize::from(told.contains("has logged in"));
        if specs.is_empty() {
            adds_up(&said);
        }
    }
    assert!(quits > 20 && logins > 400, "{quits}, {logins}");
}

/// LIST's first line says what its others add up to.
fn adds_up(said: &str) {
    for (at, _) in said.match_indices(" octets)\\r\\n1 ") {
        let total = said[..at].rsplit('(').next().unwrap();
        let lines = said[at..].split("\\r\\n").skip(1).take_while(|line| *line != ".");
        let sizes = lines.map(|line| line.split_once(' ').unwrap().1.parse::<u64>().unwrap());
        assert_eq!(total.parse::<u64>().unwrap(), sizes.sum::<u64>(), "{said}");
    }
}

#[test]
fn octets_of_any_kind_end_in_an_end() {
    let practice = Practice::of(&MESSAGES);
    for seed in 1..=300_u64 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut says = commands(&mut dice);
        for _ in 0..dice.roll(40) {
            let at = dice.roll(says.len());
            says[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        let mut server = Side::new(serving(&[("ann", "x")]), &practice);
        let said = server.hear(&says);
        assert!(said.len() < 100_000, "seed {seed}");
        practice.inside().messages = Practice::of(&MESSAGES).inside().messages.clone();
    }
}

/// A connection's fault in the middle of a message: so many octets are out, and no more.
#[test]
fn a_message_stops_where_it_was_asked_to() {
    for act in ["drop", "rst", "hang"] {
        for room in [1, 3, 1000] {
            let practice = Practice::of(&["0123456789\r\n"]);
            let faults = Arc::new(Faults::parse([&*format!("byte:4={act}")], false).unwrap());
            let mut server = Side::new(Serving { faults, ..serving(&[]) }, &practice);
            server.inbox = b"USER a\r\nPASS b\r\nDELE 1\r\nRSET\r\nRETR 1\r\nQUIT\r\n".to_vec();
            let mut out = Vec::new();
            while !server.step(true, room, &mut out) {}
            assert!(out.ends_with(b"+OK 12 octets\r\n0123"), "{act}: {}", out.escape_ascii());
            let acts = server.told.iter().filter(|event| matches!(event, Event::Fault(_)));
            assert_eq!(acts.count(), 1);
            assert!(server.over && !practice.inside().taken);
        }
    }
}

/// Somebody takes no more of a message: there is no place for words in it.
#[test]
fn who_stops_reading_is_left_without_words() {
    let practice = Practice::of(&["0123456789\r\n".repeat(1000)]);
    let mut server = Side::new(serving(&[]), &practice);
    server.inbox = b"USER a\r\nPASS b\r\nDELE 1\r\nRSET\r\nRETR 1\r\n".to_vec();
    let mut out = Vec::new();
    while out.len() < 2000 {
        server.step(false, 500, &mut out);
    }
    let said = out.len();
    while server.step(false, 0, &mut out) && !server.service.timed_out {
        server.service.time_out();
    }
    while !server.step(false, 0, &mut out) {}
    assert!(server.over && out.len() == said);
    assert!(!practice.inside().taken);
}

#[test]
fn a_go_ahead_that_is_cut_is_none() {
    let practice = Practice::of(&MESSAGES);
    let faults = Arc::new(Faults::parse(["stls=truncate"], false).unwrap());
    let mut server = Side::new(Serving { faults, ..serving(&[]) }, &practice);
    assert_eq!(server.hear(b"STLS\r\n"), "+OK mail.test POP3 ready\\r\\n+OK beg");
    assert!(!server.tls);
}
