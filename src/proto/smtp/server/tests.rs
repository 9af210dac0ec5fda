//! What callers say, in chunks of every size, and what they are answered.

use super::*;
use crate::proto::fault::Faults;
use crate::proto::sasl::Secret;
use crate::proto::serving::{Accounts, Delivery, Server as _};
use crate::proto::{Input, Output};
use std::sync::Arc;

fn settings() -> Settings {
    Settings {
        serving: Serving {
            host: "mock.test".into(),
            protection: Protection::Offered,
            accounts: Arc::default(),
            loopback: true,
            without: Arc::default(),
            most_octets: 1000,
            faults: Arc::default(),
            nonce: "nonce".into(),
            number: 1,
            client: None,
        },
        lmtp: false,
        bare: BareNewline::Keep,
        most_recipients: 3,
        xclient: false,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Played {
    said: String,
    messages: Vec<Delivery>,
    acts: Vec<Act>,
    lint: Vec<String>,
    upgrades: usize,
    end: Option<Result<(), ProtocolError>>,
}

/// Plays a caller who says `parts`; between them TLS begins. What the mode answers to a message is
/// taken from `outcomes`, then that it is kept.
fn play(
    settings: &Settings,
    parts: &[&[u8]],
    chunk: usize,
    outcomes: &[Vec<Result<String, Refusal>>],
) -> Played {
    let mut server = Server::new(settings.clone());
    let mut played = Played::default();
    let mut outcomes = outcomes.iter();
    let (mut said, mut shown) = (Vec::new(), Vec::new());
    'parts: for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let (mut eaten, mut seen) = (0, 0);
        loop {
            let (mut ended, mut closed) = (false, false);
            let eof = last && seen == part.len();
            let before = said.len();
            let mut ports = Ports {
                peer: Input::new(&part[eaten..seen], eof),
                to_peer: Output::new(&mut said, 64 * 1024, &mut ended),
                user: Input::new(b"", true),
                to_user: Output::new(&mut shown, 1, &mut closed),
            };
            let step = server.step(&mut ports);
            let n = ports.peer.eaten();
            eaten += n;
            match step {
                Ok(Step::Wait) if n == 0 && said.len() == before => {
                    if seen == part.len() && eof {
                        panic!("it waits for ever: {}", String::from_utf8_lossy(&said));
                    }
                    if seen == part.len() {
                        panic!("no TLS before the next part: {}", String::from_utf8_lossy(&said));
                    }
                    seen = (seen + chunk).min(part.len());
                }
                Ok(Step::Wait) => {}
                Ok(Step::Event(Event::Message(delivery))) => {
                    let kept = delivery.to.iter().map(|_| Ok("ID".to_owned())).collect();
                    server.answer(outcomes.next().cloned().unwrap_or(kept));
                    played.messages.push(*delivery);
                }
                Ok(Step::Event(Event::Fault(act))) => played.acts.push(act),
                Ok(Step::Event(Event::Lint(what))) => played.lint.push(what),
                Ok(Step::Event(Event::Story(_) | Event::Changed)) => {}
                Ok(Step::StartTls) => {
                    assert_eq!(eaten, seen, "somebody spoke behind STARTTLS");
                    played.upgrades += 1;
                    said.extend_from_slice(b"[TLS]\r\n");
                    continue 'parts;
                }
                Ok(Step::Done) => {
                    played.end = Some(Ok(()));
                    break 'parts;
                }
                Err(error) => {
                    played.end = Some(Err(error));
                    break 'parts;
                }
            }
        }
    }
    assert!(shown.is_empty());
    played.said = String::from_utf8_lossy(&said).replace("\r\n", "\n");
    played
}

/// The same in chunks of every size; what depends on time alone is left out.
fn played(settings: &Settings, parts: &[&[u8]]) -> Played {
    let whole = play(settings, parts, usize::MAX / 2, &[]);
    let longest = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    for chunk in 1..=longest.min(200) {
        let mut again = play(settings, parts, chunk, &[]);
        again.lint.clone_from(&whole.lint);
        for (one, other) in again.messages.iter_mut().zip(&whole.messages) {
            one.lint.clone_from(&other.lint);
        }
        assert_eq!(again, whole, "in chunks of {chunk}");
    }
    // Every prefix ends, one way or another.
    if let [.., last] = parts {
        for end in (0..last.len()).step_by(1 + last.len() / 300) {
            let mut cut = parts.to_vec();
            *cut.last_mut().unwrap() = &last[..end];
            assert!(play(settings, &cut, 1, &[]).end.is_some(), "cut at {end}");
        }
    }
    whole
}

fn codes(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.as_bytes().get(3) != Some(&b'-')).map(|l| &l[..3]).collect()
}

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n..dot\r\n.\r\n";

#[test]
fn a_message_is_taken_and_both_hear_of_it() {
    let script = [
        b"EHLO client.test\r\nMAIL FROM:<a@b> SIZE=30 BODY=8BITMIME\r\nRCPT TO:<c@d>\r\n\
          rcpt to: e@f NOTIFY=NEVER\r\nDATA\r\n",
        MESSAGE,
        b"QUIT\r\n",
    ];
    let played = played(&settings(), &[&script.concat()]);
    assert_eq!(
        played.said,
        "220 mock.test ESMTP ncat, a mock server\n250-mock.test greets client.test\n\
         250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n250-CHUNKING\n250-BINARYMIME\n250-DSN\n\
         250-ENHANCEDSTATUSCODES\n250-SIZE 1000\n250-LIMITS RCPTMAX=3\n250-STARTTLS\n\
         250 AUTH OAUTHBEARER XOAUTH2 PLAIN LOGIN ANONYMOUS\n250 2.1.0 <a@b> is the sender\n\
         250 2.1.5 <c@d> is a recipient\n250 2.1.5 <e@f> is a recipient\n\
         354 Go ahead; a line with a single dot is the end\n250 2.0.0 Ok: queued as ID\n\
         221 2.0.0 mock.test says good-bye\n"
    );
    let message = &played.messages[0];
    assert_eq!(message.content, b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!((message.helo.as_str(), message.with), ("client.test", "ESMTP"));
    assert_eq!(message.from, "a@b");
    assert_eq!(message.parameters, ["SIZE=30", "BODY=8BITMIME"]);
    let to = [("c@d".to_owned(), vec![]), ("e@f".to_owned(), vec!["NOTIFY=NEVER".to_owned()])];
    assert_eq!(message.to, to);
    assert!(played.lint.contains(&"an address without angle brackets".to_owned()));
    assert_eq!(played.end, Some(Ok(())));
}

#[test]
fn what_is_wrong_is_answered_by_the_book() {
    let most = format!("RCPT TO:<{}@b>\r\n", "a".repeat(3000));
    for (said, code) in [
        ("FROB\r\n", "500 5.5.2"),
        ("MAIL FROM:<a@b>\r\n", "503 5.5.1"),
        ("EHLO\r\n", "501 5.5.4"),
        ("EHLO a b\r\n", "501 5.5.4"),
        ("LHLO x\r\n", "500 5.5.1"),
        ("EHLO x\r\nRCPT TO:<a@b>\r\n", "503 5.5.1"),
        ("EHLO x\r\nDATA\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM <a@b>\r\n", "501 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<a b@c>\r\n", "501 5.1.7"),
        ("EHLO x\r\nMAIL FROM:<j\u{fc}rg@b>\r\n", "553 5.6.7"),
        ("EHLO x\r\nMAIL FROM:<a@b> SIZE=1001\r\n", "552 5.3.4"),
        ("EHLO x\r\nMAIL FROM:<a@b> SIZE=x\r\n", "501 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<a@b> ENVID=a\rb\r\n", "501 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<a@b> FROB=1\r\n", "555 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<a@b> NOTIFY=NEVER\r\n", "555 5.5.4"),
        ("HELO x\r\nMAIL FROM:<a@b> SIZE=1\r\n", "555 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>\r\n", "501 5.1.3"),
        ("EHLO x\r\nMAIL FROM:<a@b>\r\nDATA\r\n", "554 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\nDATA\r\n", "503 5.5.1"),
        ("EHLO x\r\nRSET x\r\n", "501 5.5.4"),
        ("VRFY a\r\n", "252 2.1.5"),
        ("EXPN a\r\n", "502 5.5.1"),
        ("HELP\r\n", "214 2.0.0"),
        ("STARTTLS\r\n", "503 5.5.1"),
        ("AUTH PLAIN\r\n", "503 5.5.1"),
        ("EHLO x\r\nAUTH FROB\r\n", "504 5.5.4"),
        ("EHLO x\r\nAUTH PLAIN !\r\n", "501 5.5.2"),
        ("EHLO x\r\nAUTH LOGIN\r\n*\r\n", "501 5.7.0"),
        ("XCLIENT NAME=x\r\n", "500 5.5.2"),
        ("EHLO x\r\nBDAT x\r\n", "501 5.5.4"),
        ("EHLO x\r\nBDAT 3\r\nabc", "503 5.5.1"),
        ("EHLO x\r\nBDAT 99999999999999999999\r\n", "552 5.3.4"),
        (&most, "500 5.5.6"),
    ] {
        let played = played(&settings(), &[said.as_bytes()]);
        let last = played.said.lines().last().unwrap_or_default();
        assert!(last.starts_with(code), "{said:?} is answered {last:?}");
    }
    let bytes = played(&settings(), &[b"EHLO x\r\nMAIL FROM:<j\xfcrg@b>\r\n"]);
    assert!(bytes.said.ends_with("500 5.5.2 Octets that are neither ASCII nor UTF-8\n"));
}

#[test]
fn the_fourth_recipient_is_one_too_many_and_the_others_stay() {
    let to: String = (0..4).map(|n| format!("RCPT TO:<{n}@b>\r\n")).collect();
    let script = format!("EHLO x\r\nMAIL FROM:<>\r\n{to}DATA\r\n\r\n.\r\n");
    let played = played(&settings(), &[script.as_bytes()]);
    assert!(played.said.contains("452 4.5.3"), "{}", played.said);
    assert_eq!(played.messages[0].to.len(), 3);
    assert_eq!(played.messages[0].from, "");
}

#[test]
fn a_message_that_is_too_long_is_read_to_its_end() {
    let body = "x".repeat(1200);
    let script =
        format!("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n{body}\r\n.\r\nNOOP\r\n");
    let played = played(&settings(), &[script.as_bytes()]);
    assert_eq!(codes(&played.said)[4..], ["354", "552", "250"]);
    assert!(played.messages.is_empty());
}

#[test]
fn no_message_is_smuggled_into_another() {
    // CVE-2023-51764: ends of data that are none, each with a message behind it.
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n"] {
        let script = format!(
            "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nbody{end}MAIL \
             FROM:<evil@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"
        );
        let played = played(&settings(), &[script.as_bytes()]);
        assert_eq!(played.messages.len(), 1, "{end:?}");
        assert_eq!(codes(&played.said)[4..], ["354", "250", "221"], "{end:?}");
    }
}

#[test]
fn bare_newlines_are_kept_mended_or_refused() {
    let script = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\na\nb\rc\r\n.\r\nQUIT\r\n";
    let with = |bare| played(&Settings { bare, ..settings() }, &[script]);
    assert_eq!(with(BareNewline::Keep).messages[0].content, b"a\nb\rc\r\n");
    assert_eq!(with(BareNewline::Normalize).messages[0].content, b"a\r\nb\r\nc\r\n");
    let refused = with(BareNewline::Reject);
    assert!(refused.messages.is_empty() && refused.said.contains("550 5.6.0"));
}

#[test]
fn chunks_are_taken_and_a_refused_one_still_eats_its_octets() {
    let script = b"EHLO x\r\nBDAT 11\r\nQUIT\r\nNOOP\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n\
        BDAT 4\r\nQUITRCPT TO:<a@b>\r\nBDAT 3\r\na\r.BDAT 6\r\n\r\n.\r\n\nDATA\r\nRCPT TO:<c@d>\r\n\
        BDAT 0 LAST\r\nQUIT\r\n";
    let played = played(&settings(), &[script]);
    let expected =
        ["220", "250", "503", "250", "554", "250", "250", "250", "503", "503", "250", "221"];
    assert_eq!(codes(&played.said), expected, "{}", played.said);
    assert_eq!(played.messages[0].content, b"a\r.\r\n.\r\n\n");
}

#[test]
fn starttls_forgets_everything_that_was_said_before() {
    let settings = settings();
    let before = b"EHLO x\r\nMAIL FROM:<a@b>\r\nSTARTTLS\r\n";
    let after = b"MAIL FROM:<a@b>\r\nEHLO y\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n\
        DATA\r\n.\r\nQUIT\r\n";
    let played = played(&settings, &[before, after]);
    assert_eq!(played.upgrades, 1);
    let (_, secured) = played.said.split_once("[TLS]\n").unwrap();
    assert!(secured.starts_with("503 5.5.1 Say EHLO first\n250-mock.test greets y\n"), "{secured}");
    assert!(!secured.contains("250-STARTTLS"), "{secured}");
    assert_eq!(codes(secured), ["503", "250", "503", "250", "250", "354", "250", "221"]);
    assert_eq!(played.messages[0].with, "ESMTPS");
    assert!(played.lint.iter().any(|lint| lint.contains("no EHLO after STARTTLS")));
}

#[test]
fn tls_can_be_demanded_or_hidden() {
    let mut settings = settings();
    settings.serving.protection = Protection::Required;
    let script = b"EHLO x\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\nQUIT\r\n";
    let required = played(&settings, &[script]);
    assert_eq!(codes(&required.said), ["220", "250", "530", "530", "250", "221"]);
    assert!(required.said.contains("250 STARTTLS") && !required.said.contains("AUTH"));
    settings.serving.protection = Protection::Never;
    let hidden = played(&settings, &[b"EHLO x\r\nSTARTTLS\r\nQUIT\r\n"]);
    assert!(!hidden.said.contains("-STARTTLS") && hidden.said.contains("502 5.5.1"));
}

#[test]
fn only_those_with_an_account_may_send() {
    let mut settings = settings();
    settings.serving.accounts =
        Arc::new(Accounts { users: vec![("ann".into(), Secret::new("pw"))], only: None });
    let script = b"EHLO x\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AGFubgBubw==\r\nAUTH PLAIN\r\n\
        AGFubgBwdw==\r\nAUTH PLAIN AGFubgBwdw==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n\
        .\r\nQUIT\r\n";
    let played = played(&settings, &[script]);
    let expected =
        ["220", "250", "530", "535", "334", "235", "503", "250", "250", "354", "250", "221"];
    assert_eq!(codes(&played.said), expected, "{}", played.said);
    assert_eq!(played.messages[0].login, Some(("ann".into(), "PLAIN")));
    assert_eq!(played.messages[0].with, "ESMTPA");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let settings = Settings { lmtp: true, ..settings() };
    let script =
        b"EHLO x\r\nLHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n\
        hi\r\n.\r\nQUIT\r\n";
    let outcome = vec![Ok("ID".to_owned()), Err(Refusal::Full)];
    for chunk in 1..script.len() {
        let played = play(&settings, &[script], chunk, std::slice::from_ref(&outcome));
        let codes = codes(&played.said);
        assert_eq!(codes, ["220", "500", "250", "250", "250", "250", "354", "250", "452", "221"]);
        assert_eq!(played.messages[0].with, "LMTP");
    }
}

#[test]
fn what_cannot_be_kept_is_refused_in_its_words() {
    let script =
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
    for (refusal, code) in [
        (Refusal::Full, "452 4.3.1"),
        (Refusal::Broken("x".into()), "451 4.3.0"),
        (Refusal::BadName("x"), "550 5.1.1"),
    ] {
        let outcome = vec![Ok("ID".into()), Err(refusal)];
        let played = play(&settings(), &[script], 7, &[outcome]);
        assert!(played.said.contains(&format!("\n{code}")), "{}", played.said);
    }
}

#[test]
fn faults_strike_where_they_were_asked_for() {
    let with = |spec: &str, script: &[u8]| {
        let mut settings = settings();
        settings.serving.faults = Arc::new(Faults::parse([spec], false).unwrap());
        // Counts are the server's, so one run is all.
        play(&settings, &[script], 5, &[])
    };
    let letter =
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
    let greylisted = with("rcpt=450 4.7.1 Come back later x1", letter);
    assert_eq!(codes(&greylisted.said)[3..5], ["450", "250"]);
    assert_eq!(greylisted.messages.len(), 1);
    let lost = with("dot=451", letter);
    assert!(lost.messages.is_empty() && codes(&lost.said)[6..] == ["451", "221"], "{}", lost.said);
    let closed = with("data=421 4.3.2 Shutting down", letter);
    assert!(closed.said.ends_with("421 4.3.2 Shutting down\n") && closed.end == Some(Ok(())));
    let greeted = with("greeting=554 5.7.1 Go away", b"EHLO x\r\nQUIT\r\n");
    assert_eq!(greeted.said.lines().next(), Some("554 mock.test Go away"));
    assert_eq!(codes(&greeted.said), ["554", "503", "221"]);
    let dropped = with("rcpt=drop", letter);
    assert_eq!((dropped.acts.as_slice(), codes(&dropped.said).len()), (&[Act::Drop][..], 3));
    let delay = Act::Delay(Duration::from_secs(5));
    let delayed = with("mail=delay:5s", letter);
    assert_eq!((delayed.acts.as_slice(), delayed.messages.len()), (&[delay][..], 1));
    let late = with("greeting=delay:5s", letter);
    assert_eq!((late.acts.as_slice(), late.messages.len()), (&[delay][..], 1));
    let cut = with("ehlo=truncate", letter);
    assert!(cut.acts == [Act::Drop] && cut.said.len() < 200, "{}", cut.said);
    let injected = with("mail=inject:250 hello\\r\\n", letter);
    assert!(injected.said.contains("\n250 hello\n250 2.1.0"), "{}", injected.said);
    let garbage = with("mail=garbage", letter);
    assert!(garbage.said.contains("this is no reply"));
    let reset = with("byte:2=rst", letter);
    assert!(reset.acts == [Act::Reset] && reset.messages.is_empty());
    let failed = with("starttls=starttls-fail", b"EHLO x\r\nSTARTTLS\r\n");
    assert!(failed.upgrades == 0 && failed.said.contains("220 2.0.0 Go ahead"));
    assert_eq!(failed.acts, [Act::Drop]);
}

#[test]
fn an_address_asks_for_a_fault() {
    let mut settings = settings();
    settings.serving.faults = Arc::new(Faults::parse([], true).unwrap());
    let script =
        b"EHLO x\r\nMAIL FROM:<mail451@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<rcpt550_5.1.1@b>\r\n\
        RCPT TO:<data452@b>\r\nDATA\r\nQUIT\r\n";
    let played = played(&settings, &[script]);
    assert_eq!(codes(&played.said), ["220", "250", "451", "250", "550", "250", "452", "221"]);
    assert!(played.said.contains("550 5.1.1 the address asked for it"));
}

#[test]
fn a_hidden_extension_is_neither_offered_nor_known() {
    let mut settings = settings();
    let hidden = ["SIZE", "CHUNKING", "STARTTLS", "AUTH", "DSN"];
    settings.serving.without = Arc::new(hidden.map(str::to_owned).to_vec());
    let script =
        b"EHLO x\r\nMAIL FROM:<a@b> SIZE=1\r\nSTARTTLS\r\nAUTH PLAIN AGEAYg==\r\nBDAT 1\r\n\n\
        MAIL FROM:<a@b> RET=FULL\r\nQUIT\r\n";
    let played = played(&settings, &[script]);
    assert_eq!(codes(&played.said), ["220", "250", "555", "502", "504", "502", "555", "221"]);
    for name in hidden {
        assert!(!played.said.contains(&format!("-{name}")), "{name}");
    }
    assert!(!played.said.contains("BINARYMIME"));
}

#[test]
fn errors_without_end_come_to_an_end() {
    let played = played(&settings(), &[&b"FROB\r\n".repeat(30)]);
    let codes = codes(&played.said);
    assert_eq!((codes.len(), codes.last()), (22, Some(&"421")));
}

#[test]
fn xclient_says_whom_a_proxy_speaks_for() {
    let settings = Settings { xclient: true, ..settings() };
    let script = b"EHLO x\r\nXCLIENT NAME=mail.example ADDR=192.0.2.1 LOGIN=ann+2Bx\r\nEHLO y\r\n\
        MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nXCLIENT FROB=1\r\nXCLIENT ADDR=+0\r\nQUIT\r\n";
    let played = played(&settings, &[script]);
    assert_eq!(
        codes(&played.said)[1..],
        ["250", "220", "250", "250", "250", "354", "250", "501", "501", "221"]
    );
    let message = &played.messages[0];
    assert_eq!(message.client, Some(("192.0.2.1".into(), Some("mail.example".into()))));
    assert_eq!(message.login, Some(("ann+x".into(), "XCLIENT")));
}

#[test]
fn silence_is_ended_in_words() {
    let mut server = Server::new(settings());
    let (mut said, mut shown, mut ended) = (Vec::new(), Vec::new(), false);
    server.time_out();
    let mut closed = false;
    let mut ports = Ports {
        peer: Input::new(b"", false),
        to_peer: Output::new(&mut said, 1000, &mut ended),
        user: Input::new(b"", true),
        to_user: Output::new(&mut shown, 1, &mut closed),
    };
    assert!(matches!(server.step(&mut ports), Ok(Step::Done)));
    assert!(said.starts_with(b"421 4.4.2 "));
}

#[test]
fn a_cut_message_is_an_error_and_never_a_message() {
    let whole = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhi\r\n.\r\n";
    let begin = whole.len() - 7;
    for end in begin..whole.len() {
        let played = play(&settings(), &[&whole[..end]], 3, &[]);
        let cut = ProtocolError::Cut { waiting_for: "the end of its message" };
        assert_eq!((played.messages.len(), played.end), (0, Some(Err(cut))), "at {end}");
    }
}

#[test]
fn a_fault_at_data_is_one_at_the_first_chunk_too_and_its_octets_are_eaten() {
    let mut settings = settings();
    settings.serving.faults =
        Arc::new(Faults::parse(["data=450 4.3.2 Not now x1"], false).unwrap());
    let script = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n\
        MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n";
    let played = play(&settings, &[script], 3, &[]);
    let expected = ["220", "250", "250", "250", "450", "250", "250", "250", "250", "221"];
    assert_eq!(codes(&played.said), expected, "{}", played.said);
}
