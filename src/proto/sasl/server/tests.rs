//! Both sides against each other, and what no client of ours would say.

use super::*;
use crate::proto::fault::Faults;
use crate::proto::sasl::{Credentials, Exchange, Login};

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

fn accounts(users: &[(&str, &str)]) -> Arc<Accounts> {
    let users = users.iter().map(|(user, secret)| ((*user).to_owned(), Secret::new(*secret)));
    Arc::new(Accounts { users: users.collect(), only: None })
}

fn client(mechanism: Mechanism, user: &str, password: &str) -> Exchange {
    let login = Login {
        credentials: Credentials { user: user.into(), password: Secret::new(password) },
        only: None,
        nonce: "rOprNGfwEbeRWgbNEkqO".into(),
        host: "mail.test".into(),
        port: 110,
        binding: None,
    };
    login.start(mechanism)
}

fn server(mechanism: Mechanism, accounts: &Arc<Accounts>) -> Acceptance {
    Acceptance::new(mechanism, accounts, NONCE, "mail.test")
}

/// What a login comes to: for the server, and for a client that is let in. `tamper` may change
/// what the client says, each time.
fn login(
    client: &mut Exchange,
    server: &mut Acceptance,
    initial: bool,
    mut tamper: impl FnMut(&mut Vec<u8>),
) -> (Result<String, &'static str>, Result<(), String>) {
    let mut said = client.initial().filter(|_| initial);
    said.iter_mut().for_each(&mut tamper);
    let mut turn = server.begin(said.as_deref());
    for _ in 0..5 {
        match turn {
            Turn::Challenge(challenge) => match client.answer(&challenge) {
                Ok(mut answer) => {
                    tamper(&mut answer);
                    turn = server.respond(&answer);
                }
                Err(why) => return (Err("the client has left"), Err(why)),
            },
            Turn::Done(user) => return (Ok(user), client.finish()),
            Turn::Failed(why) => return (Err(why), Ok(())),
        }
    }
    panic!("it goes on and on");
}

const PASSWORDS: [Mechanism; 7] = [
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::OAuthBearer,
    Mechanism::XOAuth2,
    Mechanism::Plain,
    Mechanism::Login,
];

#[test]
fn our_client_gets_in_with_the_right_password_and_with_no_other() {
    let accounts = accounts(&[("ann", "a"), ("bob=,b", "tanstaaf"), ("eve", "e")]);
    for mechanism in PASSWORDS {
        for initial in [true, false] {
            let tries = [
                ("bob=,b", "tanstaaf", true),
                ("eve", "e", true),
                ("bob=,b", "tanstaag", false),
                ("bob=,b", "", false),
                ("eve", "tanstaaf", false),
                ("nobody", "e", false),
                ("nobody", NONCE, false),
                ("Eve", "e", false),
            ];
            for (user, password, right) in tries {
                let mut client = client(mechanism, user, password);
                let mut server = server(mechanism, &accounts);
                let (got, proven) = login(&mut client, &mut server, initial, |_| {});
                assert_eq!(proven, Ok(()), "{mechanism:?}");
                match right {
                    true => assert_eq!(got.as_deref(), Ok(user), "{mechanism:?}"),
                    false => assert!(got.is_err(), "{mechanism:?}: {user} {password}"),
                }
            }
        }
    }
}

#[test]
fn without_accounts_everybody_gets_in_who_shows_a_password() {
    let nobody = accounts(&[]);
    for mechanism in PASSWORDS {
        let mut client = client(mechanism, "ann", "whatever");
        let (got, _) = login(&mut client, &mut server(mechanism, &nobody), true, |_| {});
        match needs_accounts(mechanism) {
            true => assert!(got.unwrap_err().contains("no password is known"), "{mechanism:?}"),
            false => assert_eq!(got, Ok("ann".to_owned())),
        }
    }
}

/// Of what the client says, every octet is changed once.
#[test]
fn what_is_changed_on_the_way_lets_nobody_in() {
    let accounts = accounts(&[("ann", "tanstaaf"), ("amn", "x")]);
    for mechanism in PASSWORDS {
        let mut refused = 0;
        // A proof of SCRAM costs much: some octets have to do.
        let scram = matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha1);
        for at in (0..200).step_by(if scram { 7 } else { 1 }) {
            let (mut seen, mut changed) = (0, false);
            let mut client = client(mechanism, "ann", "tanstaaf");
            let tamper = |said: &mut Vec<u8>| {
                if (seen..seen + said.len()).contains(&at) {
                    said[at - seen] ^= 3;
                    changed = true;
                }
                seen += said.len();
            };
            let (got, _) = login(&mut client, &mut server(mechanism, &accounts), true, tamper);
            match got {
                Ok(user) => {
                    assert_eq!(user, "ann", "{mechanism:?}, {at}");
                    // The host and the port that OAUTHBEARER names are told, and not compared.
                    let may = mechanism == Mechanism::OAuthBearer && (9..32).contains(&at);
                    assert!(!changed || may, "{mechanism:?}, {at}");
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 10, "{mechanism:?}: {refused}");
    }
}

/// A server that does not know the password cannot sign.
#[test]
fn our_client_finds_out_a_server_that_has_another_password() {
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha1] {
        let mut client = client(mechanism, "ann", "tanstaaf");
        let mut server = server(mechanism, &accounts(&[("ann", "tanstaaf")]));
        let Turn::Challenge(first) = server.begin(client.initial().as_deref()) else { panic!() };
        let Turn::Challenge(mut last) = server.respond(&client.answer(&first).unwrap()) else {
            panic!("it is the right password");
        };
        last[5] ^= 1;
        assert!(client.answer(&last).unwrap_err().contains("cannot prove"));
    }
}

#[test]
fn whoever_is_not_known_is_asked_the_same() {
    let accounts = accounts(&[("ann", "tanstaaf")]);
    let asked = |user: &str, nonce: &str| {
        let mut server = Acceptance::new(Mechanism::ScramSha256, &accounts, nonce, "mail.test");
        server.begin(Some(format!("n,,n={user},r=abc").as_bytes()))
    };
    let Turn::Challenge(challenge) = asked("nobody", NONCE) else { panic!() };
    let text = String::from_utf8(challenge).unwrap();
    assert!(text.starts_with(&format!("r=abc{NONCE},s=")) && text.ends_with(",i=4096"), "{text}");
    // Asked twice, it is the same salt; another's, and another day's, is another.
    assert_eq!(asked("nobody", NONCE), asked("nobody", NONCE));
    assert_ne!(asked("nobody", NONCE), asked("ann", NONCE));
    let salt = |turn| {
        let Turn::Challenge(challenge) = turn else { panic!() };
        String::from_utf8(challenge).unwrap().split(",s=").nth(1).unwrap().to_owned()
    };
    assert_ne!(salt(asked("nobody", NONCE)), salt(asked("nobody", "another")));
}

/// The example of RFC 2195 §2, and of RFC 4616 §4.
#[test]
fn the_examples_of_the_rfcs_get_in() {
    let tim = accounts(&[("tim", "tanstaaftanstaaf"), ("Kurt", "xipj3plmq")]);
    let nonce = "1896.697170952";
    let host = "postoffice.reston.mci.net";
    let mut cram = Acceptance::new(Mechanism::CramMd5, &tim, nonce, host);
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>".to_vec();
    assert_eq!(cram.begin(None), Turn::Challenge(challenge));
    let turn = cram.respond(b"tim b913a602c7eda7a495b4e6e7334d3890");
    assert_eq!(turn, Turn::Done("tim".into()));
    let plain = |message: &[u8]| server(Mechanism::Plain, &tim).begin(Some(message));
    assert_eq!(plain(b"\0tim\0tanstaaftanstaaf"), Turn::Done("tim".into()));
    assert_eq!(plain(b"Kurt\0Kurt\0xipj3plmq"), Turn::Done("Kurt".into()));
    assert_eq!(
        plain(b"Ursel\0Kurt\0xipj3plmq"),
        Turn::Failed("it wants to be somebody else than it is")
    );
}

/// RFC 7628 §4.1 and §4.3; Google's words.
#[test]
fn a_token_is_refused_in_words() {
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let users = accounts(&[("user@example.com", token)]);
    let says = |message: &str| {
        let mut server = server(Mechanism::OAuthBearer, &users);
        let message = message.replace("^A", "\x01");
        match server.begin(Some(message.as_bytes())) {
            Turn::Challenge(json) => {
                assert!(matches!(server.respond(b"\x01"), Turn::Failed(_)));
                assert!(matches!(server.respond(b"\x01"), Turn::Failed(_)));
                String::from_utf8(json).unwrap()
            }
            Turn::Done(user) => user,
            Turn::Failed(why) => panic!("{why}"),
        }
    };
    let rest = format!("^Ahost=server.example.com^Aport=143^Aauth=Bearer {token}^A^A");
    let me = "user@example.com";
    assert_eq!(says(&format!("n,a={me},{rest}")), me);
    assert_eq!(says(&format!("y,,^Aauth=bearer {token}^A^A")), me, "it is his alone");
    let wrong = r#"{"status":"invalid_token","scope":"mail"}"#;
    assert_eq!(says(&format!("n,a=other@example.com,{rest}")), wrong);
    assert_eq!(says("n,,^Aauth=Bearer x^A^A"), wrong);
    let none = r#"{"status":"invalid_request","scope":"mail"}"#;
    for message in [
        "",
        "n,,",
        "n,,^A^A",
        "n,,^Aauth=Bearer ^A^A",
        "n,,^Aauth=Basic x^A^A",
        "n,,^Aauth=Bearer x^A",
        "n,,^Aauth=Bearer x y^A^A",
        "p=x,,^Aauth=Bearer x^A^A",
        "n,u=me,^Aauth=Bearer x^A^A",
        "n,a=m=e,^Aauth=Bearer x^A^A",
    ] {
        assert_eq!(says(message), none, "{message}");
    }
    let mut google = server(Mechanism::XOAuth2, &users);
    let turn = google.begin(Some(b"user=user@example.com\x01auth=Bearer ya29\x01\x01"));
    let Turn::Challenge(json) = turn else { panic!("{turn:?}") };
    assert!(json.starts_with(b"{\"status\":\"401\""));
    assert!(matches!(google.respond(b""), Turn::Failed(_)));
}

#[test]
fn nobody_in_particular_gets_in_where_there_are_no_accounts() {
    let anonymous = |users: &[(&str, &str)], initial: Option<&[u8]>| {
        server(Mechanism::Anonymous, &accounts(users)).begin(initial)
    };
    let anybody = Turn::Done("anonymous".into());
    assert_eq!(anonymous(&[], Some(b"sirhc")), anybody);
    assert_eq!(anonymous(&[], Some(b"")), anybody);
    assert_eq!(anonymous(&[], None), Turn::Challenge(vec![]));
    assert!(matches!(anonymous(&[], Some(b"\x1b[2J")), Turn::Failed(_)));
    assert!(matches!(anonymous(&[], Some(b"\xff")), Turn::Failed(_)));
    assert!(matches!(anonymous(&[], Some(&[b'x'; 256])), Turn::Failed(_)));
    assert!(matches!(anonymous(&[("ann", "x")], Some(b"sirhc")), Turn::Failed(_)));
    let mut client = client(Mechanism::Anonymous, "ann", "");
    let mut server = server(Mechanism::Anonymous, &accounts(&[]));
    assert_eq!(login(&mut client, &mut server, false, |_| {}).0, Ok("anonymous".to_owned()));
}

#[test]
fn what_is_no_message_of_a_mechanism_is_refused() {
    let users = accounts(&[("ann", "x"), ("", "")]);
    let nobody = accounts(&[]);
    for accounts in [&users, &nobody] {
        for (mechanism, initial) in [
            (Mechanism::Plain, Some(&b""[..])),
            (Mechanism::Plain, Some(b"ann")),
            (Mechanism::Plain, Some(b"ann\0x")),
            (Mechanism::Plain, Some(b"\0\0")),
            (Mechanism::Plain, Some(b"\0ann\0x\0")),
            (Mechanism::Plain, Some(b"\0\xff\0x")),
            (Mechanism::Plain, Some(b"\0a\nnn\0x")),
            (Mechanism::CramMd5, Some(b"ann 0")),
            (Mechanism::External, None),
            (Mechanism::External, Some(b"ann")),
        ] {
            let mut server = server(mechanism, accounts);
            let turn = server.begin(initial);
            assert!(matches!(turn, Turn::Failed(_)), "{mechanism:?} {initial:?}: {turn:?}");
            assert!(matches!(server.respond(b"\0ann\0x"), Turn::Failed(_)), "it is over");
        }
    }
    let mut cram = server(Mechanism::CramMd5, &users);
    cram.begin(None);
    assert!(matches!(cram.respond(b"ann"), Turn::Failed(_)));
}

fn serving(accounts: &Arc<Accounts>, protection: Protection, loopback: bool) -> Serving {
    Serving {
        host: "mail.test".into(),
        protection,
        accounts: Arc::clone(accounts),
        loopback,
        without: Arc::default(),
        most_octets: 1000,
        faults: Arc::<Faults>::default(),
        nonce: NONCE.into(),
        number: 1,
        client: None,
    }
}

#[test]
fn what_shows_a_password_is_offered_where_nobody_listens() {
    let names = |accounts, protection, loopback, protected| -> String {
        let offered = offered(&serving(accounts, protection, loopback), protected);
        offered.iter().map(|m| m.name()).collect::<Vec<_>>().join(" ")
    };
    let (nobody, ann) = (accounts(&[]), accounts(&[("ann", "x")]));
    let all = "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 OAUTHBEARER XOAUTH2 PLAIN LOGIN";
    let shown = "OAUTHBEARER XOAUTH2 PLAIN LOGIN ANONYMOUS";
    assert_eq!(names(&ann, Protection::On, false, true), all);
    assert_eq!(names(&ann, Protection::Never, true, false), all);
    assert_eq!(names(&nobody, Protection::Offered, false, true), shown);
    assert_eq!(names(&nobody, Protection::Offered, false, false), "ANONYMOUS");
    assert_eq!(
        names(&ann, Protection::Offered, false, false),
        "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"
    );
    assert_eq!(names(&ann, Protection::Required, true, false), "");
    assert_eq!(names(&ann, Protection::Required, true, true), all);
    let only = Some(vec![Mechanism::Plain, Mechanism::External, Mechanism::ScramSha1]);
    let few = Arc::new(Accounts { users: ann.users.clone(), only });
    assert_eq!(names(&few, Protection::On, false, true), "SCRAM-SHA-1 PLAIN");
}

#[test]
fn a_name_and_its_password_belong_together() {
    let users = accounts(&[("ann", "a"), ("bob", "b")]);
    let tries = [("ann", "a", true), ("bob", "b", true), ("ann", "b", false), ("eve", "a", false)];
    for (user, password, right) in tries {
        assert_eq!(admits(&users, user, password.as_bytes()), right, "{user} {password}");
    }
    assert!(admits(&accounts(&[]), "eve", b""));
}
