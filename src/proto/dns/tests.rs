use super::*;

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn question(text: &str, kind: Type) -> Question {
    Question { name: name(text), kind }
}

/// Labels with their lengths, and the root behind them.
fn labels(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels
        .flat_map(|label| {
            let length = u8::try_from(label.len()).unwrap();
            [&[length], label.as_bytes()].concat()
        })
        .collect();
    bytes.push(0);
    bytes
}

/// One record of class IN.
fn record(owner: &[u8], kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, value].concat()
}

/// An answer to the question, with these flags (the second octet: RA and the code).
fn answer(question: &Question, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = query(ID, question, false);
    message[2] |= 0x80;
    message[3] = 0x80 | code;
    message[7] = u8::try_from(records.len()).unwrap();
    message.extend(records.concat());
    message
}

fn found(question: &Question, records: &[Vec<u8>]) -> Answer {
    match read(&answer(question, 0, records), ID, question) {
        Ok(Reading::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

/// A pointer to the name in the question.
const ASKED: &[u8] = &[0xc0, 12];

#[test]
fn a_question_is_what_rfc_1035_says_with_edns_behind_it() {
    let asked = question("a.example", Type::Mx);
    let bare = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &labels("a.example")[..]].concat();
    let bare = [&bare[..], &[0, 15, 0, 1]].concat();
    assert_eq!(query(ID, &asked, false), bare);
    let mut edns = [&bare[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
    edns[11] = 1;
    assert_eq!(query(ID, &asked, true), edns);
    assert_eq!(framed(&bare)[..2], [0, 27]);
}

#[test]
fn names_have_limits_and_no_case() {
    assert_eq!(name("A.Example."), name("a.eXample"));
    let long = "x".repeat(64);
    for wrong in ["", "a..b", ".a", "a.b..", long.as_str(), &"a.".repeat(128)] {
        assert_eq!(Name::new(wrong), None, "{wrong}");
    }
    assert!(Name::new(&"x".repeat(63)).is_some() && Name::new(&"a.".repeat(127)).is_some());
    assert_eq!(name(".").to_string(), ".");
    assert!(name(".").is_root() && !name("a").has_dot() && name("a.b").has_dot());
    assert!(name("x.A.b").is_within(&name("a.b")) && !name("xa.b").is_within(&name("a.b")));
    assert_eq!(name("a.b").below("_25._tcp").unwrap().to_string(), "_25._tcp.a.b");
    let v4 = Name::reverse("192.0.2.1".parse().unwrap());
    assert_eq!(v4, name("1.2.0.192.in-addr.arpa"));
    let v6 = Name::reverse("2001:db8::1".parse().unwrap());
    assert_eq!(v6, name(&format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23))));
}

#[test]
fn every_type_is_read() {
    let host = labels("h.example");
    let soa = [&host[..], &labels("ann.example"), &[0, 0, 0, 7, 0, 0, 0, 1]].concat();
    let soa = [&soa[..], &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]].concat();
    let h = name("h.example");
    let cases = [
        (Type::A, 1, vec![192, 0, 2, 1], Data::A(Ipv4Addr::new(192, 0, 2, 1))),
        (Type::Aaaa, 28, vec![0; 16], Data::Aaaa(Ipv6Addr::UNSPECIFIED)),
        (Type::Cname, 5, host.clone(), Data::Name(h.clone())),
        (Type::Ns, 2, host.clone(), Data::Name(h.clone())),
        (Type::Ptr, 12, host.clone(), Data::Name(h.clone())),
        (
            Type::Mx,
            15,
            [&[0, 10], &host[..]].concat(),
            Data::Mx { preference: 10, host: h.clone() },
        ),
        (
            Type::Soa,
            6,
            soa,
            Data::Soa { server: h.clone(), mailbox: name("ann.example"), numbers: [7, 1, 2, 3, 4] },
        ),
        (
            Type::Srv,
            33,
            [&[0, 1, 0, 2, 0, 25], &host[..]].concat(),
            Data::Srv { priority: 1, weight: 2, port: 25, host: h },
        ),
        (
            Type::Tlsa,
            52,
            vec![3, 1, 1, 0xab, 0xcd],
            Data::Tlsa { numbers: [3, 1, 1], data: vec![0xab, 0xcd] },
        ),
        (Type::Txt, 16, b"\x02ab\x00\x01c".to_vec(), Data::Txt(b"abc".to_vec())),
    ];
    for (kind, number, value, expected) in cases {
        let asked = question("a.example", kind);
        let all = found(&asked, &[record(ASKED, number, &value)]);
        assert_eq!(all, Answer { exists: true, aliases: vec![], records: vec![expected] });
        // A value that ends too early, or in the middle of a name.
        for end in 0..value.len() {
            let message = answer(&asked, 0, &[record(ASKED, number, &value[..end])]);
            match read(&message, ID, &asked) {
                Err(Ignored::Malformed) => {}
                // Text and hashes have no length of their own.
                Ok(Reading::Answer(_)) if matches!(kind, Type::Txt | Type::Tlsa) => {}
                other => panic!("{kind:?} of {end}: {other:?}"),
            }
        }
    }
    assert_eq!(Type::ALL.map(|kind| Type::named(&kind.name().to_lowercase())), Type::ALL.map(Some));
    assert_eq!(Type::named("AXFR"), None);
}

#[test]
fn aliases_are_followed_whatever_their_order() {
    let asked = question("a.example", Type::A);
    let alias = |from: &str, to: &str| record(&labels(from), 5, &labels(to));
    let address = record(&labels("C.example"), 1, &[192, 0, 2, 3]);
    let foreign = record(&labels("x.example"), 1, &[192, 0, 2, 66]);
    let both = [alias("b.example", "c.example"), alias("a.example", "b.example"), address, foreign];
    let expected = Answer {
        exists: true,
        aliases: vec![name("b.example"), name("c.example")],
        records: vec![Data::A(Ipv4Addr::new(192, 0, 2, 3))],
    };
    assert_eq!(found(&asked, &both), expected);
    // A server that is no resolver leaves the second step to us.
    let half = found(&asked, &both[1..2]);
    assert_eq!((half.aliases, half.records), (vec![name("b.example")], vec![]));
    // Who asks for the alias itself gets it.
    let asked = question("a.example", Type::Cname);
    let itself = found(&asked, &both[1..2]);
    assert_eq!((itself.aliases, itself.records), (vec![], vec![Data::Name(name("b.example"))]));
}

#[test]
fn aliases_in_a_circle_or_without_end_are_a_failure() {
    let asked = question("a.example", Type::A);
    let alias = |from: &str, to: &str| record(&labels(from), 5, &labels(to));
    let many = (0..20).map(|i| alias(&format!("{i}.example"), &format!("{}.example", i + 1)));
    let many: Vec<_> = [alias("a.example", "0.example")].into_iter().chain(many).collect();
    let circle = [alias("a.example", "b.example"), alias("b.example", "a.example")];
    for records in [&circle[..], &many, &[alias("a.example", "a.example")]] {
        let read = read(&answer(&asked, 0, records), ID, &asked);
        assert_eq!(read, Ok(Reading::Failed(Failure::Loop)));
    }
}

#[test]
fn codes_have_their_meaning() {
    let asked = question("a.example", Type::A);
    let none = |exists| Reading::Answer(Answer { exists, aliases: vec![], records: vec![] });
    let code = |code| read(&answer(&asked, code, &[]), ID, &asked).unwrap();
    assert_eq!(code(0), none(true));
    assert_eq!(code(3), none(false));
    assert_eq!(code(1), Reading::Failed(Failure::NotUnderstood));
    assert_eq!(code(4), Reading::Failed(Failure::NotUnderstood));
    assert_eq!(code(2), Reading::Failed(Failure::Server));
    assert_eq!(code(5), Reading::Failed(Failure::Refused));
    assert_eq!(code(9), Reading::Failed(Failure::Code(9)));
    let mut truncated = answer(&asked, 0, &[]);
    truncated[2] |= 2;
    assert_eq!(read(&truncated, ID, &asked), Ok(Reading::Truncated));
    // An old server does not repeat what it cannot read.
    let mute = [&ID.to_be_bytes()[..], &[0x80, 1], &[0; 8]].concat();
    assert_eq!(read(&mute, ID, &asked), Ok(Reading::Failed(Failure::NotUnderstood)));
}

#[test]
fn what_is_no_answer_to_the_question_is_ignored() {
    let asked = question("a.example", Type::A);
    let good = answer(&asked, 0, &[record(ASKED, 1, &[192, 0, 2, 1])]);
    let other = question("b.example", Type::A);
    assert_eq!(read(&good, ID ^ 1, &asked), Err(Ignored::WrongId));
    assert_eq!(read(&good, ID, &other), Err(Ignored::WrongQuestion));
    assert_eq!(read(&good, ID, &question("a.example", Type::Mx)), Err(Ignored::WrongQuestion));
    assert_eq!(read(&query(ID, &asked, true), ID, &asked), Err(Ignored::NoAnswer));
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_eq!(read(&update, ID, &asked), Err(Ignored::NoAnswer));
    let mut chaos = good.clone();
    chaos[12 + labels("a.example").len() + 3] = 3;
    assert_eq!(read(&chaos, ID, &asked), Err(Ignored::WrongQuestion));
    let mut two = good;
    two[5] = 2;
    assert_eq!(read(&two, ID, &asked), Err(Ignored::Malformed));
}

#[test]
fn no_prefix_of_a_message_is_taken_for_the_whole() {
    let asked = question("a.example", Type::Mx);
    let mx = |host: &[u8]| record(ASKED, 15, &[&[0, 10], host].concat());
    let good = answer(&asked, 0, &[mx(&labels("m.example")), mx(b"\x01n\xc0\x0e")]);
    assert!(matches!(read(&good, ID, &asked), Ok(Reading::Answer(a)) if a.records.len() == 2));
    for end in 0..good.len() {
        let read = read(&good[..end], ID, &asked);
        assert_eq!(read, Err(Ignored::Malformed), "{end} of {}", good.len());
    }
}

#[test]
fn pointers_in_a_circle_and_lengths_that_lie_are_malformed() {
    let asked = question("a.example", Type::Cname);
    let at = u8::try_from(answer(&asked, 0, &[]).len() + ASKED.len() + 10).unwrap();
    let values: [&[u8]; 5] = [
        &[0xc0, at],        // itself
        &[0xc0, at + 2, 0], // forward
        &[0xff, 0xff],      // beyond
        &[63, b'x'],        // a label that is not there
        &[0x80, 1],         // no label at all
    ];
    for value in values {
        let message = answer(&asked, 0, &[record(ASKED, 5, value)]);
        assert_eq!(read(&message, ID, &asked), Err(Ignored::Malformed), "{value:?}");
    }
    // More records than there are, and a value longer than the message.
    let mut many = answer(&asked, 0, &[record(ASKED, 5, &labels("b.example"))]);
    many[6] = 0xff;
    assert_eq!(read(&many, ID, &asked), Err(Ignored::Malformed));
    let mut long = answer(&asked, 0, &[record(ASKED, 5, &labels("b.example"))]);
    let length = long.len() - labels("b.example").len() - 2;
    long[length] = 0xff;
    assert_eq!(read(&long, ID, &asked), Err(Ignored::Malformed));
    // A string of a TXT record that goes on behind its value.
    let asked = question("a.example", Type::Txt);
    let text = answer(&asked, 0, &[record(ASKED, 16, b"\x09abc")]);
    assert_eq!(read(&text, ID, &asked), Err(Ignored::Malformed));
}

#[test]
fn any_single_wrong_octet_does_no_harm() {
    let asked = question("a.example", Type::Mx);
    let mx = |host: &[u8]| record(ASKED, 15, &[&[0, 10], host].concat());
    let good = answer(&asked, 0, &[mx(&labels("m.example")), mx(b"\x01n\xc0\x0e")]);
    for at in 0..good.len() {
        for value in 0..=u8::MAX {
            let mut message = good.clone();
            message[at] = value;
            let _ = read(&message, ID, &asked); // it ends, without a panic
        }
    }
}
