//! What is done with hostile bytes: a body for each machine, the same for the fuzzer and for the
//! test that runs them on stable Rust (`tests/fuzz.rs`).
//!
//! A body must not panic, must come to an end, and must not grow beyond what it was given; a
//! server must also give the same answer however its input is cut.

#![allow(clippy::wildcard_enum_match_arm)] // what is not known here is only written down

use ncat::mailbox::memory::Memory;
use ncat::mailbox::reads_indexes_again;
use ncat::proto::content::Style;
use ncat::proto::dns::spf::{Check, Next, Reply};
use ncat::proto::dns::{Data, Name, Question, Type, policy};
use ncat::proto::fault::Faults;
use ncat::proto::http::gate::Gate;
use ncat::proto::http::server::{Answer, Server as HttpServer};
use ncat::proto::mbox::{self, Mboxrd, Starts};
use ncat::proto::numbers::Numbers;
use ncat::proto::sasl::server::{Acceptance, Turn};
use ncat::proto::sasl::{Credentials, Login, Mechanism, Secret, decode};
use ncat::proto::serving::{Accounts, Event, Protection, Server as _, Serving};
use ncat::proto::session::{Config, Pace};
use ncat::proto::smtp::send::{Order, Reports, Sender, Stage};
use ncat::proto::smtp::server::{BareNewline, Server, Settings};
use ncat::proto::socks::{self, Destination};
use ncat::proto::store::{Flags, INBOX};
use ncat::proto::telnet::Telnet;
use ncat::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use ncat::proto::{dns, imap, pop3, proxied, smtp, starttls};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

/// A name, and what is done with the bytes.
pub type Body = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Body] = &[
    ("smtp_session", smtp_session),
    ("smtp_send", smtp_send),
    ("smtp_server", smtp_server),
    ("pop3_session", pop3_session),
    ("pop3_fetch", pop3_fetch),
    ("pop3_server", pop3_server),
    ("imap_session", imap_session),
    ("imap_fetch", imap_fetch),
    ("imap_server", imap_server),
    ("starttls", starttls),
    ("socks_client", socks_client),
    ("socks_server", socks_server),
    ("http_server", http_server),
    ("telnet", telnet),
    ("dns", dns),
    ("spf", spf),
    ("sasl_client", sasl_client),
    ("sasl_server", sasl_server),
    ("mbox", mbox),
    ("indexes", indexes),
    ("small", small),
];

/// Runs the one of this name.
pub fn run(name: &str, data: &[u8]) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.expect("a body of this name").1(data);
}

/// What a machine may say for each octet that it hears, and once.
const GROWTH: usize = 64;
const GREETING: usize = 64 * 1024;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    said: Vec<u8>,
    shown: Vec<u8>,
    events: Vec<String>,
    end: String,
}

/// Gives a machine what the peer says, so much more at a time.
fn drive<M: Machine>(
    machine: &mut M,
    peer: &[u8],
    user: &[u8],
    chunk: usize,
    mut told: impl FnMut(&mut M, M::Event) -> Option<String>,
) -> Run {
    let mut run = Run::default();
    let (mut eaten, mut seen, mut user_eaten) = (0, 0, 0);
    // Every step either eats, says, tells or ends; a machine that does none of it waits.
    let most_steps = 64 * (peer.len() + user.len()) + 4096;
    for _ in 0..most_steps {
        let before = (run.said.len(), run.shown.len());
        let (mut ended, mut closed) = (false, false);
        let mut ports = Ports {
            peer: Input::new(&peer[eaten..seen], seen == peer.len()),
            to_peer: Output::new(&mut run.said, 64 * 1024, &mut ended),
            user: Input::new(&user[user_eaten..], true),
            to_user: Output::new(&mut run.shown, 64 * 1024, &mut closed),
        };
        let step = machine.step(&mut ports);
        let (from_peer, from_user) = (ports.peer.eaten(), ports.user.eaten());
        eaten += from_peer;
        user_eaten += from_user;
        let grown = run.said.len() + run.shown.len();
        assert!(grown <= GREETING + GROWTH * (peer.len() + user.len()), "it grows: {grown}");
        match step {
            Ok(Step::Wait) => {
                let moved = before != (run.said.len(), run.shown.len());
                if from_peer + from_user > 0 || moved {
                    continue;
                }
                if seen == peer.len() {
                    run.end = "waits".to_owned();
                    return run;
                }
                seen = (seen + chunk).min(peer.len());
            }
            Ok(Step::Event(event)) => run.events.extend(told(machine, event)),
            Ok(Step::StartTls) => {
                run.end = "TLS".to_owned();
                return run;
            }
            Ok(Step::Done) => {
                run.end = "done".to_owned();
                return run;
            }
            Err(error) => {
                run.end = match error {
                    // What is shown of it is what was there when it was noticed.
                    ProtocolError::Malformed { expected, .. } => expected.to_owned(),
                    other => format!("{other:?}"),
                };
                return run;
            }
        }
    }
    panic!("it does not come to an end");
}

fn any<M: Machine>(_: &mut M, event: M::Event) -> Option<String>
where
    M::Event: Debug,
{
    Some(format!("{event:?}"))
}

/// The first octet says how the rest is cut, and what is asked for.
fn parts(data: &[u8]) -> (u8, usize, &[u8]) {
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    (first, usize::from(first & 31) + 1, rest)
}

/// The octets up to a NUL are the person's.
fn two(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&b| b == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (b"", data),
    }
}

fn login() -> Login {
    Login {
        credentials: Credentials { user: "ann".into(), password: Secret::new("secret") },
        only: None,
        nonce: "rOprNGfwEbeRWgbNEkqO".into(),
        host: "mail.test".into(),
        port: 143,
        binding: None,
    }
}

fn config(options: u8) -> Config {
    Config {
        helo: "client.test".into(),
        starttls: options & 32 != 0,
        secure: options & 64 != 0,
        login: (options & 128 != 0).then(login),
        pace: if options & 1 == 0 { Pace::LockStep } else { Pace::Typed },
        content: Style::default(),
        setup_only: options & 2 != 0,
        asks: options & 4 != 0,
    }
}

fn smtp_session(data: &[u8]) {
    let (options, chunk, rest) = parts(data);
    let (user, peer) = two(rest);
    drive(&mut smtp::session::Session::new(config(options)), peer, user, chunk, any);
}

fn pop3_session(data: &[u8]) {
    let (options, chunk, rest) = parts(data);
    let (user, peer) = two(rest);
    drive(&mut pop3::session::Session::new(config(options)), peer, user, chunk, any);
}

fn imap_session(data: &[u8]) {
    let (options, chunk, rest) = parts(data);
    let (user, peer) = two(rest);
    drive(&mut imap::session::Session::new(config(options)), peer, user, chunk, any);
}

fn smtp_send(data: &[u8]) {
    let (options, chunk, peer) = parts(data);
    let order = Order {
        helo: "client.test".into(),
        from: "a@b".into(),
        to: vec!["c@d".into(), "e@f".into()],
        head: b"Subject: x\n\n.dot\n".to_vec(),
        size: None,
        is_ascii: true,
        raw: false,
        must_upgrade: false,
        stay_plain: options & 32 != 0,
        secure: options & 64 != 0,
        login: (options & 128 != 0).then(login),
        lmtp: options & 1 != 0,
        stop: Stage::Data,
        reports: Reports::default(),
        xclient: Vec::new(),
    };
    drive(&mut Sender::new(order), peer, b"", chunk, any);
}

fn pop3_fetch(data: &[u8]) {
    let (options, chunk, peer) = parts(data);
    let numbers = |bit: u8| (options & bit != 0).then(Numbers::all);
    let wish = pop3::fetch::Wish {
        list: options & 32 != 0,
        fetch: numbers(64),
        lines: (options & 1 != 0).then_some(1),
        delete: numbers(128),
        keep: options & 2 != 0,
        date: "DATE".into(),
    };
    drive(&mut pop3::fetch::Fetch::new(wish), peer, b"", chunk, any);
}

fn imap_fetch(data: &[u8]) {
    let (options, chunk, peer) = parts(data);
    let numbers = |bit: u8| (options & bit != 0).then(Numbers::all);
    let wish = imap::fetch::Wish {
        list: options & 32 != 0,
        folder: (options & 1 != 0).then(|| "INBOX".to_owned()),
        search: (options & 2 != 0).then(|| "ALL".to_owned()),
        fetch: numbers(64),
        delete: numbers(128),
        idle: (options & 4 != 0).then_some(1),
        keep: options & 8 != 0,
        date: "DATE".into(),
        ..imap::fetch::Wish::default()
    };
    drive(&mut imap::fetch::Fetch::new(wish), peer, b"", chunk, any);
}

fn starttls(data: &[u8]) {
    let (options, chunk, peer) = parts(data);
    let all = starttls::Protocol::ALL;
    let (_, protocol) = all[usize::from(options) % all.len()];
    drive(&mut starttls::Upgrade::new(protocol, "a.test", "b.test"), peer, b"", chunk, any);
}

fn socks_client(data: &[u8]) {
    let (options, chunk, peer) = parts(data);
    let version = if options & 32 == 0 { socks::Version::V5 } else { socks::Version::V4 };
    let destination = Destination::Name("host.test".into());
    let Ok(mut client) = socks::Client::new(version, &destination, 25, None) else { return };
    drive(&mut client, peer, b"", chunk, any);
}

/// A server's answer does not depend on how its input is cut.
fn same<M: Machine>(
    data: &[u8],
    make: impl Fn() -> M,
    told: impl Fn(&mut M, M::Event) -> Option<String> + Copy,
) {
    let (_, chunk, peer) = parts(data);
    let run = |chunk| {
        let mut run = drive(&mut make(), peer, b"", chunk, told);
        hide_dates(&mut run.said);
        run
    };
    assert_eq!(run(usize::MAX / 2), run(chunk), "in pieces of {chunk}");
}

/// When a message came is the hour of the run.
fn hide_dates(said: &mut [u8]) {
    let name = b"INTERNALDATE \"";
    let mut at = 0;
    while let Some(found) = said[at..].windows(name.len()).position(|part| part == name) {
        at += found + name.len();
        let date = said[at..].iter_mut().take_while(|byte| **byte != b'"');
        date.for_each(|byte| *byte = b'-');
    }
}

fn socks_server(data: &[u8]) {
    same(
        data,
        || socks::Server::new(None),
        |server, event| {
            let told = format!("{event:?}");
            server.answer(socks::Answer::Refused);
            Some(told)
        },
    );
}

fn http_server(data: &[u8]) {
    let gate = Rc::new(Gate::new(None, [7; 16]));
    same(
        data,
        || HttpServer::new(Rc::clone(&gate)),
        |server, event| {
            let told = format!("{event:?}");
            server.answer(Answer::Failed);
            Some(told)
        },
    );
}

fn telnet(data: &[u8]) {
    let (options, _, _) = parts(data);
    same(data, || Telnet::new(options & 32 != 0), |_, event| match event {});
}

fn accounts() -> Arc<Accounts> {
    Arc::new(Accounts { users: vec![("ann".into(), Secret::new("secret"))], only: None })
}

fn serving(options: u8) -> Serving {
    Serving {
        host: "mock.test".into(),
        protection: Protection::Offered,
        accounts: if options & 32 == 0 { Arc::default() } else { accounts() },
        loopback: true,
        without: Arc::default(),
        most_octets: 200,
        faults: Arc::new(Faults::default()),
        nonce: "nonce".into(),
        number: 1,
        client: None,
    }
}

/// A mailbox with one message, in which everything is small.
fn memory() -> Memory {
    let memory = Memory::default();
    let text = b"Subject: x\r\n\r\n.\r\n";
    memory.add(INBOX, text, &Flags::default(), 7).expect("INBOX is a good name");
    memory
}

/// The same input, with a login before it: most of what there is lies behind one.
fn logged_in(data: &[u8], login: &[u8]) -> Vec<u8> {
    let (first, rest) = data.split_at(data.len().min(1));
    let before = if first.first().is_some_and(|options| options & 64 == 0) { login } else { b"" };
    [first, before, rest].concat()
}

fn told(event: Event) -> Option<String> {
    match event {
        Event::Lint(_) => None,
        other => Some(format!("{other:?}")),
    }
}

fn pop3_server(data: &[u8]) {
    let (options, _, _) = parts(data);
    let data = logged_in(data, b"USER ann\r\nPASS secret\r\n");
    let make = || pop3::server::new(serving(options), Box::new(memory()));
    same(&data, make, |_, event| told(event));
}

fn imap_server(data: &[u8]) {
    let (options, _, _) = parts(data);
    let data = logged_in(data, b"a LOGIN ann secret\r\nb SELECT INBOX\r\n");
    let make = || imap::server::new(serving(options), Box::new(memory()));
    same(&data, make, |_, event| told(event));
}

/// A file that anybody may have written, and one that we write of the same octets.
fn mbox(data: &[u8]) {
    let (options, chunk, file) = parts(data);
    let first: &[u8] = if options & 32 == 0 { b"" } else { b"From a Wed Nov 25 17:45:00 2026\n" };
    let file = &[first, file].concat()[..];
    let starts = |file: &[u8], chunk: usize| {
        let (mut starts, mut found) = (Starts::default(), Vec::new());
        file.chunks(chunk).for_each(|piece| starts.read(piece, &mut found));
        starts.finish(&mut found);
        (found, starts.is_mbox())
    };
    let (found, is_mbox) = starts(file, file.len().max(1));
    assert_eq!((found.clone(), is_mbox), starts(file, chunk), "in pieces of {chunk}");
    let ends = found.iter().skip(1).copied().chain([file.len() as u64]);
    for (from, to) in found.iter().zip(ends) {
        let (from, to) = (usize::try_from(*from).unwrap(), usize::try_from(to).unwrap());
        let message = mbox::decode(mbox::trim(&file[from..to]));
        assert!(message.len() <= 2 * (to - from), "it grows");
        let _ = (mbox::status(&message), mbox::date(&file[from..to]));
    }
    let written = |message: &[u8]| {
        let (mut writer, mut out) = (Mboxrd::default(), Vec::new());
        writer.begin("a@b", &mbox::asctime(7), &mut out);
        message.chunks(chunk).for_each(|piece| writer.encode(piece, &mut out));
        writer.end(&mut out);
        out
    };
    // A message comes back as it was, with the line ends of mail. (One in which each line ends in
    // CR CR LF would be taken for another program's with CR LF.)
    let message = [b"S: x\n", file, b"\n"].concat();
    let again = written(&message);
    assert_eq!(starts(&again, chunk), (vec![0], true), "one message is one");
    let mut expected = Vec::new();
    for line in message[..message.len() - 1].split(|&b| b == b'\n') {
        expected.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        expected.extend_from_slice(b"\r\n");
    }
    let read = mbox::decode(mbox::trim(&again));
    assert_eq!(read.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

fn indexes(data: &[u8]) {
    let (options, _, text) = parts(data);
    // What does not begin well is not looked at any further.
    let (head, end) = match options >> 5 & 3 {
        0 => ("", ""),
        1 => ("ncat-index 1 7 9\nk word\n2 3 4 name\nend\n", ""),
        2 => ("ncat-mbox 1 7\nm 2 0 5 6 7 00 S x\n", ""),
        _ => ("ncat-moves 1\nd .a\n", "end\n"),
    };
    let text = format!("{head}{}{end}", String::from_utf8_lossy(text));
    assert!(reads_indexes_again(&text), "{text}");
}

fn smtp_server(data: &[u8]) {
    let (options, _, _) = parts(data);
    let settings = Settings {
        serving: serving(options),
        lmtp: options & 64 != 0,
        bare: BareNewline::Keep,
        most_recipients: 3,
        xclient: options & 128 != 0,
    };
    same(
        data,
        || Server::new(settings.clone()),
        |server, event| match event {
            Event::Message(mut delivery) => {
                server.answer(delivery.to.iter().map(|_| Ok("ID".to_owned())).collect());
                // What it says of the time in which things came depends on that.
                delivery.lint.clear();
                Some(format!("{delivery:?}"))
            }
            Event::Lint(_) => None,
            other => Some(format!("{other:?}")),
        },
    );
}

fn dns(data: &[u8]) {
    for kind in Type::ALL {
        let Some(name) = Name::new("a.test") else { return };
        let question = Question { name, kind };
        let id = data.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
        let _ = dns::read(data, id, &question);
    }
}

fn spf(data: &[u8]) {
    let ip = [192, 0, 2, 1].into();
    let mut check = Check::new(ip, "a.test");
    let texts: Vec<&[u8]> = data.split(|&b| b == b'\n').collect();
    for n in 0..200 {
        match check.next() {
            Next::Done(_) => break,
            Next::Ask(question) => {
                let text = texts.get(n % texts.len().max(1)).copied().unwrap_or_default();
                let records = match question.kind {
                    Type::Txt => vec![Data::Txt([b"v=spf1 ", text].concat())],
                    Type::A => vec![Data::A([192, 0, 2, 2].into())],
                    _ => Vec::new(),
                };
                check.answer(question, Reply::Records(records));
            }
        }
        assert!(n < 199, "it asks for ever");
    }
    let _ = (policy::Dmarc::parse(data), policy::mta_sts(data), policy::tlsrpt(data));
}

fn sasl_client(data: &[u8]) {
    let (options, _, rest) = parts(data);
    let all = Mechanism::ALL;
    let mut exchange = login().start(all[usize::from(options) % all.len()]);
    let _ = exchange.initial();
    for challenge in rest.split(|&b| b == b'\n') {
        let _ = (exchange.answer(challenge), exchange.explained(challenge), exchange.finish());
    }
    let _ = decode(rest);
}

fn sasl_server(data: &[u8]) {
    let (options, _, rest) = parts(data);
    let all = Mechanism::ALL;
    let mechanism = all[usize::from(options) % all.len()];
    let mut acceptance = Acceptance::new(mechanism, &accounts(), "nonce", "mail.test");
    let mut lines = rest.split(|&b| b == b'\n');
    let mut turn = acceptance.begin(if options & 32 == 0 { None } else { lines.next() });
    for line in lines {
        if !matches!(turn, Turn::Challenge(_)) {
            break;
        }
        turn = acceptance.respond(line);
    }
}

/// Texts that people and peers write, each to its own reader.
fn small(data: &[u8]) {
    let _ = proxied::decode(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Numbers::parse(text);
        let _ = Faults::parse(text.lines(), true);
        let _ = imap::fetch::Flagging::parse(text);
        let _ = Name::new(text);
    }
}
