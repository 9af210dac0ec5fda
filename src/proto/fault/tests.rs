use super::*;

const NOW: Duration = Duration::ZERO;

fn faults(specs: &[&str]) -> Faults {
    Faults::parse(specs.iter().copied(), false).unwrap()
}

fn reply(code: u16, text: &str) -> Option<What> {
    Some(What::Reply(Words { code, text: text.into() }))
}

#[test]
fn a_count_is_used_up_whoever_calls() {
    let greylist = faults(&["rcpt=450x2"]);
    let struck = reply(450, "4.0.0 fault on demand");
    assert_eq!(greylist.at(NOW, "mail", b"a@b"), None);
    assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), struck);
    assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), struck);
    assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), None);
}

#[test]
fn a_rule_can_ask_for_an_argument_and_words_of_its_own() {
    let faults = faults(&["rcpt~^bob@=550 5.1.1 No such user x2", "any=delay:200ms"]);
    assert_eq!(faults.at(NOW, "rcpt", b"bob@x"), reply(550, "5.1.1 No such user"));
    let delay = Some(What::Act(Act::Delay(Duration::from_millis(200))));
    assert_eq!(faults.at(NOW, "rcpt", b"eve@x"), delay);
    assert_eq!(faults.at(NOW, "fetch", b""), delay);
    assert_eq!(faults.at_greeting(NOW), None);
    let handshake = self::faults(&["starttls=drop"]);
    assert_eq!(handshake.at(NOW, "stls", b""), Some(What::Act(Act::Drop)));
}

#[test]
fn a_chance_is_the_same_in_every_run_and_another_with_another_seed() {
    let run = |spec: &str| -> Vec<bool> {
        let faults = faults(&[spec]);
        (0..200).map(|_| faults.at(NOW, "data", b"").is_some()).collect()
    };
    let struck = run("data=drop@25%");
    assert_eq!(run("data=drop@25%"), struck);
    assert_ne!(run("data=drop@25%,seed=7"), struck);
    let count = struck.iter().filter(|&&struck| struck).count();
    assert!((30..70).contains(&count), "{count} of 200");
    assert!(run("data=drop@100%").iter().all(|&struck| struck));
    assert!(!run("data=drop@0%").iter().any(|&struck| struck));
}

#[test]
fn a_rate_lets_so_many_through_each_second() {
    let faults = faults(&["mail=421/3ps"]);
    let at = |ms| faults.at(Duration::from_millis(ms), "mail", b"").is_some();
    let struck: Vec<bool> = [0, 100, 200, 300, 999, 1000, 1050, 1101].map(at).into();
    assert_eq!(struck, [false, false, false, true, true, false, true, false]);
}

#[test]
fn octets_of_a_message_strike_where_they_were_asked_for() {
    let faults = faults(&["byte:100=rst"]);
    assert!(faults.watches_octets() && !self::faults(&["data=rst"]).watches_octets());
    assert_eq!(faults.at_octets(NOW, 0, 100), None);
    assert_eq!(faults.at_octets(NOW, 100, 300), Some((100, What::Act(Act::Reset))));
}

#[test]
fn every_fault_can_be_said() {
    for (typed, what) in [
        ("delay:5s", What::Act(Act::Delay(Duration::from_secs(5)))),
        ("slow:100B/s", What::Act(Act::Slow(100))),
        ("hang", What::Act(Act::Hang)),
        ("dropx1", What::Act(Act::Drop)),
        ("rst", What::Act(Act::Reset)),
        ("truncate", What::Truncate),
        ("garbage", What::Garbage),
        ("starttls-fail", What::StartTlsFail),
        ("inject:250 hi\\r\\n\\x00x2", What::Inject(b"250 hi\r\n\0x2".to_vec())),
        ("no-final-dot", What::NoFinalDot),
        ("wrong-tag", What::WrongTag),
        ("lie-size", What::LieSize),
        ("354 go", What::Reply(Words { code: 354, text: "go".into() })),
    ] {
        let faults = faults(&[&format!("retr={typed}")]);
        assert_eq!(faults.at(NOW, "retr", b"1"), Some(what), "{typed}");
    }
}

#[test]
fn an_address_asks_for_its_fault_where_that_is_allowed() {
    let faults = Faults::parse([], true).unwrap();
    let because = |enhanced: &str| format!("{enhanced} the address asked for it");
    let rcpt = faults.at(NOW, "rcpt", b"RCPT550_5.1.1@example.org");
    assert_eq!(rcpt, reply(550, &because("5.1.1")));
    assert_eq!(faults.at(NOW, "mail", b"mail451@x"), reply(451, &because("4.0.0")));
    assert_eq!(faults.at(NOW, "rcpt", b"mail451@x"), None);
    assert_eq!(faults.at(NOW, "dot", b"data452@x"), reply(452, &because("4.0.0")));
    let delay = Some(What::Act(Act::Delay(Duration::from_secs(3))));
    assert_eq!(faults.at(NOW, "rcpt", b"delay3s@x"), delay);
    assert_eq!(self::faults(&[]).at(NOW, "rcpt", b"rcpt550@x"), None);
}

#[test]
fn what_can_never_strike_is_refused() {
    use Dialect::{Imap, Pop3, Smtp};
    for (dialect, typed, part) in [
        (Smtp, "retr=drop", "retr is no command of SMTP, which has ehlo, "),
        (Pop3, "rcpt=450", "rcpt is no command of POP3, which has user, "),
        (Imap, "dot=450", "dot is no command of IMAP, which has capability, "),
        (Pop3, "any=wrong-tag", "POP3 has no tags"),
        (Smtp, "any=no-final-dot", "it is for --pop3 and --imap"),
        (Smtp, "data=lie-size", "it is for --pop3 and --imap"),
        (Smtp, "accept=421", "accept takes delay, hang, drop or rst"),
        (Imap, "accept=slow:9B/s", "accept takes delay, hang, drop or rst"),
        (Imap, "login=starttls-fail", "at starttls only"),
        (Imap, "greeting=wrong-tag", "a greeting has no"),
        (Pop3, "byte:9=lie-size", "say it of a command"),
    ] {
        let why = faults(&["any=dropx1", typed]).fit(dialect).unwrap_err();
        assert!(why.starts_with(&format!("{typed:?}: ")) && why.contains(part), "{why}");
    }
    for (dialect, typed) in [
        (Smtp, "accept=delay:1s"),
        (Smtp, "byte:9=450"),
        (Smtp, "starttls=starttls-fail"),
        (Pop3, "starttls=starttls-fail"),
        (Pop3, "stls=inject:x"),
        (Pop3, "retr=no-final-dot"),
        (Imap, "any=wrong-tag"),
        (Imap, "fetch=lie-size"),
        (Imap, "greeting=421"),
    ] {
        assert_eq!(faults(&[typed]).fit(dialect), Ok(()), "{typed}");
    }
}

#[test]
fn what_is_no_fault_is_said_to_be_none() {
    for (typed, part) in [
        ("rcpt", "WHEN=WHAT"),
        ("frob=450", "\"frob\" is no place"),
        ("rcpt=fly", "\"fly\" is no fault"),
        ("rcpt=99", "\"99\" is no fault"),
        ("rcpt~(=450", "no regular expression"),
        ("greeting~x=450", "only a command has an argument"),
        ("rcpt=450@200%", "@200%"),
        ("rcpt=450,seed=x", "seed=x"),
        ("byte:x=drop", "byte:"),
        ("data=delay:soon", "\"soon\" is no time"),
        ("data=slow:0", "octets a second"),
    ] {
        let why = Faults::parse([typed], false).unwrap_err();
        assert!(why.contains(part), "{typed}: {why}");
    }
}
