//! Our client against this server, in memory; and callers that no client would be.

use super::*;
use crate::proto::content::Style;
use crate::proto::fault::Faults;
use crate::proto::imap::{fetch as client, session as typing};
use crate::proto::numbers::Numbers;
use crate::proto::sasl::{Credentials, Login, Mechanism, Secret};
use crate::proto::serving::Accounts;
use crate::proto::session::{Config, Pace, Session as Client};
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
        assert!(said <= room + 100, "{said} octets for {room}");
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
        while !self.step(true, 1000, &mut out) {}
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
            port: 143,
            binding: None,
        }),
        pace: Pace::LockStep,
        content: Style::default(),
        setup_only: true,
        asks: false,
    }
}

/// One client after the other on one connection, `chunk` octets at a time. What they show, or why
/// the last one has left.
fn talk(
    server: &mut Side,
    clients: Vec<Box<dyn Client>>,
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
            return failed.map_or(Ok(all), Err);
        }
        server.inbox.extend(up.drain(..up.len().min(chunk)));
        if !server.over {
            server.step(client.is_none() && up.is_empty(), chunk, &mut down);
        }
        heard.extend(down.drain(..down.len().min(chunk)));
    }
    panic!("they talk and talk: {:?}", server.told);
}

const MESSAGES: [&str; 3] = [
    "Subject: one\r\n\r\nfirst\r\n",
    "From: b@x\r\nSubject: two\r\n\r\nbody\r\n",
    "Subject: three\r\n\r\n\r\n\r\n",
];

fn reading(wish: client::Wish) -> Box<dyn Client> {
    Box::new(client::Fetch::new(client::Wish { date: "DATE".into(), ..wish }))
}

#[test]
fn our_client_logs_in_by_every_mechanism_and_reads_and_deletes() {
    let named = Mechanism::ALL.into_iter().filter(|m| *m != Mechanism::External).map(Some);
    for mechanism in named.chain([None]) {
        for starttls in [false, true] {
            // SCRAM costs much, however it is cut.
            for chunk in [1, 7, 1000] {
                let practice = Practice::of(&MESSAGES);
                let anybody = mechanism == Some(Mechanism::Anonymous);
                let users = if anybody { &[][..] } else { &[("ann", "pw=,")][..] };
                let mut serving = serving(users);
                if mechanism.is_none() {
                    // LOGIN is what is left.
                    serving.without = Arc::new(vec!["AUTH".into()]);
                }
                let mut server = Side::new(serving, &practice);
                let config = config(Some(("ann", "pw=,", mechanism)), starttls);
                let login = Box::new(typing::Session::new(config));
                let numbers = |typed: &str| Some(Numbers::parse(typed).unwrap());
                let (fetch, delete) = (numbers("1"), numbers("1,3"));
                let wish = client::Wish { fetch, delete, ..client::Wish::default() };
                let shown = talk(&mut server, vec![login, reading(wish)], b"", chunk);
                let shown = shown.unwrap_or_else(|e| panic!("{mechanism:?}: {e}"));
                assert!(shown.ends_with(MESSAGES[0]), "{mechanism:?}: {shown}");
                assert_eq!(practice.uids(), [2]);
                assert_eq!(server.tls, starttls);
                assert!(server.told.contains(&Event::Changed));
            }
        }
    }
}

#[test]
fn our_client_lists_searches_flags_and_appends() {
    for chunk in [1, 2, 3, 7, 30, 1000] {
        let practice = Practice::of(&MESSAGES);
        let login = || {
            let login = config(Some(("ann", "x", None)), false);
            Box::new(typing::Session::new(login))
        };
        let talk = |wish: client::Wish| {
            let mut server = Side::new(serving(&[("ann", "x")]), &practice);
            talk(&mut server, vec![login(), reading(wish)], b"", chunk).unwrap()
        };
        let append = Some(b"Subject: four\r\n\r\nx\r\n".to_vec());
        talk(client::Wish { append, ..client::Wish::default() });
        assert_eq!(practice.uids(), [1, 2, 3, 4]);
        let inbox = Some("INBOX".to_owned());
        let list = client::Wish { list: true, folder: inbox.clone(), ..client::Wish::default() };
        let shown = talk(list);
        for subject in ["\tone\n", "b@x\ttwo\n", "\tthree\n", "\tfour\n"] {
            assert!(shown.contains(subject), "{shown}");
        }
        let flag = Some(client::Flagging::parse("\\Flagged,$Work").unwrap());
        let search = Some("SUBJECT t UNSEEN".to_owned());
        talk(client::Wish { search, flag, folder: inbox, ..client::Wish::default() });
        let flagged = |at: usize| {
            let flags = practice.inside().folders["INBOX"].messages[at].0.flags.clone();
            flags.flagged && flags.keywords == ["$Work"]
        };
        assert_eq!([0, 1, 2, 3].map(flagged), [false, true, true, false]);
    }
}

#[test]
fn a_typed_session_goes_line_by_line() {
    let typed = b"a LOGIN ann x\nb SELECT INBOX\nc FETCH 2 BODY[]\nd STORE 2 +FLAGS \\Deleted\n\
                  e EXPUNGE\nf FROB\ng LOGOUT\n";
    let mut all = Vec::new();
    for pace in [Pace::LockStep, Pace::Typed, Pace::AtOnce] {
        for chunk in (1..20).chain([1000]) {
            let practice = Practice::of(&MESSAGES);
            let mut server = Side::new(serving(&[]), &practice);
            let config = Config { pace, setup_only: false, ..config(None, false) };
            let client = Box::new(typing::Session::new(config));
            all.push(talk(&mut server, vec![client], typed, chunk).unwrap());
            assert_eq!(practice.uids(), [1, 3]);
        }
    }
    assert!(all[0].contains(MESSAGES[1]), "{}", all[0]);
    assert!(all.iter().all(|shown| *shown == all[0]));
}

/// A message of 3 MB goes out as there is room for it, never all at once: `Side::step` counts.
#[test]
fn a_big_message_goes_out_in_pieces_and_nothing_is_read_meanwhile() {
    let line = format!("{}\r\n", "x".repeat(98));
    let practice = Practice::of(&[line.repeat(30_000), line.repeat(10_000)]);
    let mut server = Side::new(serving(&[]), &practice);
    server.inbox = b"a LOGIN a b\r\nb SELECT INBOX\r\nc FETCH 1:2 BODY[]\r\nd NOOP\r\n".to_vec();
    let (mut out, mut total) = (Vec::new(), 0);
    while !server.step(false, 4096, &mut out) {
        if total > 100_000 && total < 3_500_000 {
            assert_eq!(server.inbox, b"d NOOP\r\n", "what follows waits");
            assert!(server.step(false, 0, &mut Vec::new()), "without room nothing is done");
        }
        total += out.len();
        out.clear();
    }
    assert!(total > 4_000_000, "{total}");
}

/// Numbers do not move under a client that is in the middle of something.
#[test]
fn what_others_expunge_is_told_only_where_it_may_be() {
    let practice = Practice::of(&MESSAGES);
    let mut server = Side::new(serving(&[]), &practice);
    let mut out = Vec::new();
    let mut say = |server: &mut Side, line: &str| {
        out.clear();
        server.inbox.extend_from_slice(line.as_bytes());
        while !server.step(false, 1000, &mut out) {}
        String::from_utf8(out.clone()).unwrap()
    };
    say(&mut server, "a LOGIN a b\r\nb SELECT INBOX\r\n");
    practice.inside().folders.get_mut("INBOX").unwrap().messages.remove(0);
    let fetched = say(&mut server, "c FETCH 1:3 (UID BODY.PEEK[TEXT])\r\n");
    assert!(fetched.starts_with("* 2 FETCH (UID 2 "), "{fetched}");
    assert!(fetched.ends_with("c OK [EXPUNGEISSUED] some of them are gone\r\n"), "{fetched}");
    let stored = say(&mut server, "d STORE 1:3 +FLAGS (\\Flagged)\r\n");
    assert!(!stored.contains("EXPUNGE\r\n") && stored.contains("* 3 FETCH"), "{stored}");
    let found = say(&mut server, "e SEARCH SUBJECT t\r\n");
    assert_eq!(found, "* SEARCH 2 3\r\ne OK searched\r\n");
    assert_eq!(say(&mut server, "f NOOP\r\n"), "* 1 EXPUNGE\r\nf OK still here\r\n");
    practice.inside().folders.get_mut("INBOX").unwrap().messages[0].0.flags.seen = true;
    practice.deliver(b"x\r\n");
    let news = "* 3 EXISTS\r\n* 2 RECENT\r\n* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))\r\n";
    let news = news.replace("* 2 RECENT", "* 3 RECENT");
    assert_eq!(say(&mut server, "g CHECK\r\n"), format!("{news}g OK checked\r\n"));
}

/// Jakarta Mail 2.0.0 searches in Latin-1 once UTF8=ACCEPT is enabled. It was told that nothing is
/// found; after a NO it looks for itself.
#[test]
fn a_search_for_what_is_not_utf8_is_refused_and_finds_not_nothing() {
    let practice = Practice::of(&["Subject: =?UTF-8?Q?=C3=BCber?=\r\n\r\nx\r\n"]);
    let search = |keys: &[u8]| {
        let login = b"a LOGIN a b\r\nb ENABLE UTF8=ACCEPT\r\nc SELECT INBOX\r\nd SEARCH ";
        let said = Side::new(serving(&[]), &practice).hear(&[login, keys, b"\r\n"].concat());
        said.split("it is open\\r\\n").last().unwrap().to_owned()
    };
    let found = "* SEARCH 1\\r\\nd OK searched\\r\\n";
    assert_eq!(search("SUBJECT \"über\"".as_bytes()), found);
    assert_eq!(search("CHARSET UTF-8 SUBJECT {5+}\r\nüBER".as_bytes()), found);
    let refused = "d NO [BADCHARSET (US-ASCII UTF-8)] what is searched for is not in UTF-8\\r\\n";
    for keys in [
        &b"SUBJECT \"\xfcber\""[..],
        b"CHARSET UTF-8 NOT BODY {1+}\r\n\xfc",
        b"OR ALL HEADER Subject {1+}\r\n\xfc",
    ] {
        assert_eq!(search(keys), refused, "{}", keys.escape_ascii());
    }
}

/// Whoever makes the folder again finds it among those that he reads (RFC 3501 §6.3.9).
#[test]
fn what_is_subscribed_to_and_gone_is_listed_for_those_who_ask() {
    let practice = Practice::of(&MESSAGES);
    let mut server = Side::new(serving(&[]), &practice);
    let said = server.hear(
        b"a LOGIN a b\r\nb SUBSCRIBE INBOX\r\nc SUBSCRIBE Away/far\r\nd CREATE Here\r\n\
          e LIST \"\" *\r\nf LSUB \"\" *\r\ng LSUB \"\" %\r\nh LIST (SUBSCRIBED) \"\" *\r\n\
          i UNSUBSCRIBE Away/far\r\nj LSUB \"\" *\r\n",
    );
    let said = said.replace("\\r\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    let expected = "d OK created\n\
        * LIST (\\HasNoChildren) \"/\" \"Here\"\n* LIST (\\HasNoChildren) \"/\" \"INBOX\"\ne OK listed\n\
        * LSUB () \"/\" \"Away/far\"\n* LSUB () \"/\" \"INBOX\"\nf OK listed\n\
        * LSUB (\\Noselect) \"/\" \"Away\"\n* LSUB () \"/\" \"INBOX\"\ng OK listed\n\
        * LIST (\\Subscribed \\NonExistent \\Noselect \\HasNoChildren) \"/\" \"Away/far\"\n\
        * LIST (\\Subscribed \\HasNoChildren) \"/\" \"INBOX\"\nh OK listed\n\
        i OK unsubscribed\n* LSUB () \"/\" \"INBOX\"\nj OK listed\n";
    assert!(said.ends_with(expected), "{said}\nand not\n{expected}");
}

#[test]
fn more_keywords_than_a_message_can_have_are_refused_and_none_is_lost() {
    let practice = Practice::of(&MESSAGES);
    let keywords = |from: u32| (from..from + 60).map(|n| format!("k{n}")).collect::<Vec<_>>();
    let (first, second) = (keywords(0).join(" "), keywords(60).join(" "));
    let says = format!(
        "a LOGIN a b\r\nb SELECT INBOX\r\nc STORE 1 +FLAGS ({first})\r\n\
         d STORE 1 +FLAGS.SILENT ({second})\r\n"
    );
    let said = Side::new(serving(&[]), &practice).hear(says.as_bytes());
    let refused = "d NO [LIMIT] a message has 100 keywords at most\\r\\n";
    assert!(said.ends_with(refused), "{said}");
    let flags = practice.inside().folders["INBOX"].messages[0].0.flags.clone();
    assert_eq!(flags.keywords, keywords(0));
}

#[test]
fn what_the_store_cannot_do_is_said() {
    let practice = Practice::of(&MESSAGES);
    practice.inside().full = true;
    let mut server = Side::new(serving(&[]), &practice);
    let said = server.hear(
        b"a LOGIN a b\r\nb SELECT INBOX\r\nc COPY 1 INBOX\r\nd APPEND INBOX {1+}\r\nx\r\ne MOVE 1 x\r\n",
    );
    let full = "NO [OVERQUOTA] the disk is full\\r\\n";
    assert!(said.ends_with(&format!("c {full}d {full}e {full}")), "{said}");
    assert!(!server.told.contains(&Event::Changed));
}

#[test]
fn a_line_without_end_is_not_kept() {
    let practice = Practice::of(&MESSAGES);
    let mut server = Side::new(serving(&[]), &practice);
    let mut out = Vec::new();
    server.inbox = b"a NOOP ".to_vec();
    while !server.step(false, 1000, &mut out) {}
    for _ in 0..1000 {
        server.inbox.extend_from_slice(&[b'x'; 10_000]);
        while !server.step(false, 1000, &mut out) {}
        assert!(server.inbox.is_empty());
    }
    let said = String::from_utf8(out).unwrap();
    assert!(said.ends_with(" IMAP ready\r\na BAD a line has 65536 octets at most\r\n"), "{said}");
}

/// What costs a careless server its stack, its memory or its time.
#[test]
fn hostile_commands_are_refused_or_cheap() {
    let practice = Practice::of(&MESSAGES);
    let deep = "(".repeat(60_000);
    let nots = "NOT ".repeat(15_000);
    let ors = "OR ".repeat(20_000);
    let set = (1..9_000).map(|n| format!("{}", n * 3)).collect::<Vec<_>>().join(",");
    let stars = "*a%".repeat(1_300);
    let sections = (1..5_000).map(|n| format!("BODY[{n}]")).collect::<Vec<_>>().join(" ");
    let flags = (0..9_000).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
    for (command, answer) in [
        (format!("SEARCH {deep}"), "BAD it searches for too much at once"),
        (format!("SEARCH {nots}ALL"), "BAD it searches for too much at once"),
        (format!("SEARCH {ors}ALL"), "BAD it searches for too much at once"),
        (format!("SEARCH {}ALL", "TEXT a ".repeat(9_000)), "BAD it searches for too much at once"),
        (format!("FETCH {deep}"), "BAD a set of messages is malformed"),
        (format!("FETCH 1 {deep}"), "BAD a word is missing"),
        (format!("UID FETCH {set} FLAGS"), "OK fetched"),
        ("UID FETCH 1:4294967295 FLAGS".into(), "OK fetched"),
        ("UID FETCH 1:4294967296 FLAGS".into(), "BAD a set of messages is malformed"),
        (format!("FETCH 1 ({sections})"), "BAD it asks for too many items"),
        (format!("FETCH 1 BODY[{}1]", "1.".repeat(20_000)), "BAD a section is malformed"),
        ("FETCH 1 BODY[]<9223372036854775807.9223372036854775807>".into(), "OK fetched"),
        ("FETCH 1 BODY[]<9223372036854775808.1>".into(), "BAD a number is too big"),
        (format!("STORE 1 FLAGS ({flags})"), "BAD there are too many keywords"),
        (format!("LIST \"\" {stars}"), "OK listed"),
        (format!("LIST \"\" {stars}{stars}"), "BAD the patterns are too long"),
        (format!("LIST \"\" {deep}"), "BAD a pattern is missing"),
        (format!("STATUS INBOX {deep}"), "BAD a word is missing"),
        (format!("ID {deep}"), "BAD a string is missing"),
        (format!("CREATE {}", "a/".repeat(30_000)), "BAD the name of a mailbox is too long"),
        ("APPEND INBOX {4294967295}".into(), "NO [TOOBIG] a message has 50000000 octets at most"),
    ] {
        let mut server = Side::new(serving(&[]), &practice);
        let says = format!("a LOGIN a b\r\nb SELECT INBOX\r\nc {command}\r\n");
        let said = server.hear(says.as_bytes());
        let shown: String = command.chars().take(40).collect();
        let end = &said[said.len().saturating_sub(200)..];
        assert!(said.ends_with(&format!("c {answer}\\r\\n")), "{shown}: {end}");
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
        "SELECT INBOX",
        "SELECT INBOX",
        "EXAMINE inbox",
        "FETCH 1:* ALL",
        "FETCH 1 FULL",
        "FETCH 1:* (UID BODY[])",
        "FETCH 2 (BODYSTRUCTURE BODY.PEEK[1]<1.3> BODY[HEADER.FIELDS (Subject)])",
        "UID FETCH 1:* FLAGS",
        "FETCH 2 BINARY[1]",
        "SEARCH UNSEEN",
        "SEARCH RETURN (ALL COUNT SAVE) OR SUBJECT t TEXT first",
        "FETCH $ FLAGS",
        "UID SEARCH BODY {4}\r\nbody",
        "STORE 1:* +FLAGS (\\Deleted)",
        "STORE 2 -FLAGS.SILENT \\Deleted",
        "UID STORE 3 FLAGS (\\Seen $A)",
        "COPY 1 Work",
        "UID MOVE 2 Work",
        "EXPUNGE",
        "UID EXPUNGE 1:2",
        "CLOSE",
        "UNSELECT",
        "CREATE Work",
        "DELETE Work",
        "RENAME Work Done",
        "LIST \"\" * RETURN (STATUS (MESSAGES))",
        "LSUB \"\" %",
        "SUBSCRIBE Work",
        "STATUS INBOX (MESSAGES UNSEEN)",
        "APPEND INBOX (\\Seen) {12}\r\nSubject: a\r\n",
        "APPEND INBOX {3+}\r\na\r\n",
        "APPEND INBOX {3000}",
        "NOOP",
        "CHECK",
        "CAPABILITY",
        "ENABLE IMAP4rev2",
        "IDLE\r\nDONE",
        "IDLE\r\nb NOOP",
        "NAMESPACE",
        "ID NIL",
        "FROB",
        "",
    ];
    let mut all = b"a LOGIN ann x\r\nb SELECT INBOX\r\n".to_vec();
    if dice.roll(2) == 0 {
        all.extend_from_slice(b"c STORE 1:2 +FLAGS (\\Deleted)\r\n");
    }
    for _ in 0..dice.roll(25) {
        let line = LINES[dice.roll(LINES.len())];
        all.extend_from_slice(format!("t{} {line}", dice.roll(10)).as_bytes());
        all.extend_from_slice(if dice.roll(9) == 0 { b"\n" } else { b"\r\n" });
        if dice.roll(30) == 0 {
            all.extend((0..dice.roll(400)).map(|_| u8::try_from(dice.roll(256)).unwrap()));
        }
    }
    if dice.roll(3) == 0 {
        all.extend_from_slice(b"z LOGOUT\r\n");
    }
    all
}

/// The same octets in two cuts come to the same, whatever goes wrong on demand.
#[test]
fn however_a_session_is_cut_it_comes_to_the_same() {
    let faults = [
        &[][..],
        &["byte:7=inject:!", "fetch=lie-size@50%,seed=3", "noop=garbage@30%", "any=451@5%"],
        &["byte:3=drop", "store=wrong-tag", "list=no-final-dot", "search=truncate@20%"],
    ];
    let (mut expunged, mut logins) = (0, 0);
    for seed in 1..=80_u64 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let says = commands(&mut dice);
        let specs = faults[dice.roll(3)];
        let play = |cut: usize, room: usize| {
            let practice = Practice::of(&MESSAGES);
            let faults = Arc::new(Faults::parse(specs.iter().copied(), false).unwrap());
            let most_octets = 2000;
            let mut server = Side::new(Serving { faults, most_octets, ..serving(&[]) }, &practice);
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
        expunged += usize::from(once.0.contains(" EXPUNGE\\r\\n"));
        logins += usize::from(once.1.contains("has logged in"));
    }
    assert!(expunged > 10 && logins > 60, "{expunged}, {logins}");
}

#[test]
fn octets_of_any_kind_end_in_an_end() {
    for seed in 1..=200_u64 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut says = commands(&mut dice);
        for _ in 0..dice.roll(40) {
            let at = dice.roll(says.len());
            says[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        let practice = Practice::of(&MESSAGES);
        let mut server = Side::new(serving(&[("ann", "x")]), &practice);
        let said = server.hear(&says);
        assert!(said.len() < 200_000, "seed {seed}");
    }
}
