use super::*;

/// A zone: `name TYPE value`, line by line. `FAIL` for a value fails. What is not there is void.
struct Zone(Vec<(Name, Type, Option<Data>)>);

impl Zone {
    fn new(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Zone(lines.map(entry).collect())
    }

    fn reply(&self, question: &Question) -> Reply {
        let ours = self.0.iter().filter(|(n, k, _)| *n == question.name && *k == question.kind);
        let found: Option<Vec<_>> = ours.map(|(_, _, data)| data.clone()).collect();
        found.map_or(Reply::Failed, Reply::Records)
    }

    fn check(&self, ip: &str, domain: &str) -> (Verdict, Vec<Question>) {
        let mut check = Check::new(ip.parse().unwrap(), domain);
        let mut asked = Vec::new();
        loop {
            match check.next() {
                Next::Done(verdict) => return (verdict, asked),
                Next::Ask(question) => {
                    assert!(!asked.contains(&question), "{question:?} is asked twice");
                    let reply = self.reply(&question);
                    asked.push(question.clone());
                    check.answer(question, reply);
                }
            }
        }
    }

    #[track_caller]
    fn expect(&self, ip: &str, domain: &str, expected: Outcome) {
        let (verdict, asked) = self.check(ip, domain);
        assert_eq!(verdict.outcome, expected, "{ip} {domain}: {verdict:?}, asked {asked:?}");
    }
}

fn entry(line: &str) -> (Name, Type, Option<Data>) {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap().trim();
    let (name, kind, value) = (Name::new(word()).unwrap(), Type::named(word()).unwrap(), word());
    if value == "FAIL" {
        return (name, kind, None);
    }
    let data = match kind {
        Type::A => Data::A(value.parse().unwrap()),
        Type::Aaaa => Data::Aaaa(value.parse().unwrap()),
        Type::Ptr => Data::Name(Name::new(value).unwrap()),
        Type::Mx => {
            let (preference, host) = value.split_once(' ').unwrap();
            let preference = preference.parse().unwrap();
            Data::Mx { preference, host: Name::new(host).unwrap() }
        }
        Type::Txt => Data::Txt(value.as_bytes().to_vec()),
        Type::Cname | Type::Ns | Type::Soa | Type::Srv | Type::Tlsa => {
            panic!("{kind:?} has no place in SPF")
        }
    };
    (name, kind, Some(data))
}

/// The zone of RFC 7208 appendix A.
fn rfc_zone(spf: &str) -> Zone {
    Zone::new(&format!(
        "example.com TXT {spf}
         example.com MX 10 mail-a.example.com
         example.com MX 20 mail-b.example.com
         example.com A 192.0.2.10
         example.com A 192.0.2.11
         amy.example.com A 192.0.2.65
         bob.example.com A 192.0.2.66
         mail-a.example.com A 192.0.2.129
         mail-b.example.com A 192.0.2.130
         example.org MX 10 mail-c.example.org
         mail-c.example.org A 192.0.2.140
         10.2.0.192.in-addr.arpa PTR example.com
         11.2.0.192.in-addr.arpa PTR example.com
         65.2.0.192.in-addr.arpa PTR amy.example.com
         66.2.0.192.in-addr.arpa PTR bob.example.com
         129.2.0.192.in-addr.arpa PTR mail-a.example.com
         130.2.0.192.in-addr.arpa PTR mail-b.example.com
         140.2.0.192.in-addr.arpa PTR mail-c.example.org
         4.0.0.10.in-addr.arpa PTR bob.example.com"
    ))
}

#[test]
fn the_examples_of_rfc_7208_appendix_a() {
    let all = ["10", "11", "65", "66", "129", "130", "140"].map(|last| format!("192.0.2.{last}"));
    let cases: [(&str, &[&str]); 10] = [
        ("v=spf1 +all", &["10", "11", "65", "66", "129", "130", "140"]),
        ("v=spf1 a -all", &["10", "11"]),
        ("v=spf1 a:example.org -all", &[]),
        ("v=spf1 mx -all", &["129", "130"]),
        ("v=spf1 mx:example.org -all", &["140"]),
        ("v=spf1 mx mx:example.org -all", &["129", "130", "140"]),
        ("v=spf1 mx/30 mx:example.org/30 -all", &["129", "130", "140"]),
        ("v=spf1 ptr -all", &["10", "11", "65", "66", "129", "130"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", &["129", "130", "140"]),
        ("v=spf1 -all", &[]),
    ];
    for (spf, passing) in cases {
        let zone = rfc_zone(spf);
        for ip in &all {
            let passes = passing.iter().any(|last| ip.ends_with(&format!(".{last}")));
            let expected = if passes { Outcome::Pass } else { Outcome::Fail };
            let (verdict, _) = zone.check(ip, "example.com");
            assert_eq!(verdict.outcome, expected, "{spf}: {ip}: {verdict:?}");
        }
    }
    // "ptr" needs the name to lead back: bob's is not at 10.0.0.4.
    rfc_zone("v=spf1 ptr -all").expect("10.0.0.4", "example.com", Outcome::Fail);
    rfc_zone("v=spf1 mx/30 -all").expect("192.0.2.131", "example.com", Outcome::Pass);
    rfc_zone("v=spf1 mx/30 -all").expect("192.0.2.132", "example.com", Outcome::Fail);
}

#[test]
fn multiple_requirements_by_exists_and_includes_as_in_appendix_a4() {
    let zone = Zone::new(
        "example.org TXT v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all
         ip4._spf.example.org TXT v=spf1 -ip4:192.0.2.0/24 +all
         ptr._spf.example.org TXT v=spf1 -ptr:example.org +all
         example.net TXT v=spf1 exists:%{ir}._spf.rate.%{d} ~all
         5.2.0.192._spf.rate.example.net A 127.0.0.2
         9.2.0.192.in-addr.arpa PTR good.example.org
         good.example.org A 192.0.2.9",
    );
    zone.expect("192.0.2.9", "example.org", Outcome::Pass);
    zone.expect("192.0.2.10", "example.org", Outcome::Fail);
    zone.expect("198.51.100.1", "example.org", Outcome::Fail);
    zone.expect("192.0.2.5", "example.net", Outcome::Pass);
    zone.expect("192.0.2.6", "example.net", Outcome::SoftFail);
}

#[test]
fn the_first_mechanism_that_matches_decides_and_is_named() {
    let zone = Zone::new(
        "a.example TXT v=spf1 ?ip4:192.0.2.1 ~ip4:192.0.2.2 ip6:2001:db8::/32 include:b.example
         b.example TXT v=spf1 redirect=c.example
         c.example TXT v=spf1 -ip4:192.0.2.4 A:d.example/24//64 -all
         d.example A 198.51.100.1
         d.example AAAA 2001:db8:1::1
         n.example TXT other
         e.example TXT v=spf1 redirect=c.example",
    );
    zone.expect("192.0.2.1", "a.example", Outcome::Neutral);
    zone.expect("192.0.2.2", "a.example", Outcome::SoftFail);
    zone.expect("2001:db8:ffff::1", "a.example.", Outcome::Pass);
    // A fail inside an include is no match, and then nothing matches.
    let (verdict, _) = zone.check("192.0.2.4", "a.example");
    assert_eq!(verdict.outcome, Outcome::Neutral);
    assert_eq!(verdict.why.as_deref(), Some("no mechanism of a.example matches"));
    let (verdict, _) = zone.check("::ffff:198.51.100.77", "a.example");
    let at = |domain: &str, term: &str| At { domain: domain.into(), term: term.into() };
    let path = vec![
        at("a.example", "include:b.example"),
        at("b.example", "redirect=c.example"),
        at("c.example", "A:d.example/24//64"),
    ];
    assert_eq!(verdict, Verdict { outcome: Outcome::Pass, path, why: None, explanation: None });
    zone.expect("2001:db8:1:0:ffff::1", "c.example", Outcome::Pass);
    zone.expect("2001:db8:1:1::1", "c.example", Outcome::Fail);
    zone.expect("192.0.2.9", "e.example", Outcome::Fail);
    for none in ["n.example", "nowhere.example", "toplevel", "a..example", &"x".repeat(64)] {
        zone.expect("192.0.2.1", none, Outcome::None);
    }
}

#[test]
fn more_than_ten_look_ups_and_loops_are_permanent_errors() {
    let loops = Zone::new(
        "a.example TXT v=spf1 include:b.example -all
         b.example TXT v=spf1 include:a.example -all
         r.example TXT v=spf1 redirect=r.example",
    );
    for domain in ["a.example", "r.example"] {
        let (verdict, asked) = loops.check("192.0.2.1", domain);
        assert_eq!(verdict.outcome, Outcome::PermError);
        assert_eq!(verdict.why.as_deref(), Some("it takes more than 10 look-ups"));
        assert!(asked.len() <= 2, "{asked:?}");
    }
    let chain = |length: usize| {
        let link = |i| format!("{i}.example TXT v=spf1 include:{}.example\n", i + 1);
        let chain: String = (0..length).map(link).collect();
        Zone::new(&format!("{chain}{length}.example TXT v=spf1 +all"))
    };
    chain(10).expect("192.0.2.1", "0.example", Outcome::Pass);
    chain(11).expect("192.0.2.1", "0.example", Outcome::PermError);
    // The limit is for all records together.
    let wide = |terms: usize| {
        let terms = "a:h.example ".repeat(terms);
        Zone::new(&format!(
            "h.example A 198.51.100.1
             i.example TXT v=spf1 {terms}
             w.example TXT v=spf1 include:i.example mx:h.example a:h.example +all
             h.example MX 0 h.example"
        ))
    };
    wide(7).expect("192.0.2.1", "w.example", Outcome::Pass);
    wide(8).expect("192.0.2.1", "w.example", Outcome::PermError);
}

#[test]
fn more_than_two_void_look_ups_are_a_permanent_error() {
    let zone = Zone::new(
        "two.example TXT v=spf1 a:x.example exists:y.example +all
         three.example TXT v=spf1 a:x.example mx:x.example exists:y.example +all",
    );
    zone.expect("192.0.2.1", "two.example", Outcome::Pass);
    zone.expect("192.0.2.1", "three.example", Outcome::PermError);
}

#[test]
fn many_hosts_of_an_mx_are_an_error_and_many_names_of_an_address_are_cut() {
    let hosts = |n: usize| -> String {
        (0..n).map(|i| format!("m.example MX {i} h{i}.example\n")).collect()
    };
    let zone = |n| Zone::new(&format!("{}m.example TXT v=spf1 mx ?all", hosts(n)));
    zone(10).expect("192.0.2.1", "m.example", Outcome::Neutral);
    zone(11).expect("192.0.2.1", "m.example", Outcome::PermError);
    let names = |n: usize| -> String {
        let name = |i| format!("1.2.0.192.in-addr.arpa PTR h{i}.p.example\n");
        (0..n).map(name).collect()
    };
    let zone = |n: usize| {
        let last = n - 1;
        Zone::new(&format!(
            "{}h{last}.p.example A 192.0.2.1\np.example TXT v=spf1 ptr -all",
            names(n)
        ))
    };
    zone(10).expect("192.0.2.1", "p.example", Outcome::Pass);
    zone(11).expect("192.0.2.1", "p.example", Outcome::Fail);
}

#[test]
fn a_server_that_fails_is_a_temporary_error_but_for_ptr() {
    let zone = Zone::new(
        "t.example TXT FAIL
         a.example TXT v=spf1 a:b.example -all
         b.example A FAIL
         i.example TXT v=spf1 include:t.example -all
         m.example TXT v=spf1 mx:b.example -all
         b.example MX FAIL
         p.example TXT v=spf1 ptr -all
         1.2.0.192.in-addr.arpa PTR FAIL",
    );
    for domain in ["t.example", "a.example", "i.example", "m.example"] {
        zone.expect("192.0.2.1", domain, Outcome::TempError);
    }
    zone.expect("192.0.2.1", "p.example", Outcome::Fail);
}

#[test]
fn what_is_wrong_with_records_is_a_permanent_error_before_anything_is_asked() {
    let long = "v=spf1 ip4:192.0.2.1/33";
    for wrong in [
        long,
        "v=spf1 ip4:192.0.2 -all",
        "v=spf1 ip4 -all",
        "v=spf1 ip4:192.0.2.1/024",
        "v=spf1 ip6:2001:db8::/129",
        "v=spf1 ip6:192.0.2.1",
        "v=spf1 a:h.example/33",
        "v=spf1 a:h.example//129",
        "v=spf1 a/ +all",
        "v=spf1 a:",
        "v=spf1 a:h.example:25",
        "v=spf1 a:toplevel",
        "v=spf1 a:h.123",
        "v=spf1 a:h.-x",
        "v=spf1 ptr/24",
        "v=spf1 ptr:",
        "v=spf1 all:h.example",
        "v=spf1 all/8",
        "v=spf1 include",
        "v=spf1 include:",
        "v=spf1 exists",
        "v=spf1 -",
        "v=spf1 nonsense",
        "v=spf1 a:%{z}.example",
        "v=spf1 a:%{d",
        "v=spf1 a:%{d0}.example",
        "v=spf1 a:%x.example",
        "v=spf1 a:%{dx}.example",
        "v=spf1 a:%{c}.example",
        "v=spf1 a:%{}.example",
        "v=spf1 a:%",
        "v=spf1 redirect=a.example redirect=a.example",
        "v=spf1 exp=a.example exp=a.example",
        "v=spf1 redirect=",
        "v=spf1 =x.example",
        "v=spf1 a:h\u{e9}.example",
    ] {
        // What matches first must not hide it.
        let zone = Zone::new(&format!("w.example TXT {} +all", wrong.replacen(' ', " +all ", 1)));
        let (verdict, asked) = zone.check("192.0.2.1", "w.example");
        assert_eq!((verdict.outcome, asked.len()), (Outcome::PermError, 1), "{wrong}");
    }
    for right in [
        "v=spf1",
        "V=SPF1",
        "v=spf1 ?all",
        "v=spf1  ?ALL  ",
        "v=spf1 unknown=%{d}/x=y ?all",
        "v=spf1 exp=why.example",
        "v=spf1 ?a/0//0",
    ] {
        let zone = Zone::new(&format!("w.example TXT {right}"));
        zone.expect("192.0.2.1", "w.example", Outcome::Neutral);
    }
    let two = Zone::new("w.example TXT v=spf1 +all\nw.example TXT v=spf1 -all");
    two.expect("192.0.2.1", "w.example", Outcome::PermError);
    let other = Zone::new("w.example TXT v=spf10 +all\nw.example TXT v=spf1 -all");
    other.expect("192.0.2.1", "w.example", Outcome::Fail);
    let lost = Zone::new(
        "i.example TXT v=spf1 include:none.example +all\nr.example TXT v=spf1 redirect=none.example",
    );
    lost.expect("192.0.2.1", "i.example", Outcome::PermError);
    lost.expect("192.0.2.1", "r.example", Outcome::PermError);
}

#[test]
fn macros_are_those_of_rfc_7208_section_7_4() {
    // The sender there is strong-bad@email.example.com; here it is postmaster at the domain.
    let name = |spec: &str, ip: &str| {
        let zone = Zone::new(&format!(
            "email.example.com TXT v=spf1 exists:{spec} -all
             3.2.0.192.in-addr.arpa PTR mx.example.org
             3.2.0.192.in-addr.arpa PTR a.email.example.com
             mx.example.org A 192.0.2.3
             a.email.example.com A 192.0.2.3"
        ));
        let (_, asked) = zone.check(ip, "email.example.com");
        asked.last().unwrap().name.to_string()
    };
    let v4 = "192.0.2.3";
    for (spec, expected) in [
        ("%{s}", "postmaster@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "postmaster"),
        ("%{l-}.x", "postmaster.x"),
        ("%{S}", "postmaster%40email.example.com"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "postmaster.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{p}", "a.email.example.com"),
        ("%{h}.%%.%_.%-.x", "email.example.com.%.\\ .%20.x"),
        ("%{i999999999999999999999}.x", "192.0.2.3.x"),
    ] {
        assert_eq!(name(spec, v4), expected, "{spec}");
    }
    assert_eq!(name("%{p}.x", "192.0.2.4"), "unknown.x");
    assert_eq!(
        name("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"),
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
    );
    // What gets too long loses its first labels.
    let long = name(&"%{d}.".repeat(15).replace("}.%", "}.a.%"), v4);
    assert!(long.len() <= 253 && long.ends_with("email.example.com"), "{long}");
}

#[test]
fn a_macro_that_makes_no_name_matches_nothing() {
    let zone = Zone::new(&format!(
        "a.example TXT v=spf1 a:{}.example exists:a..%{{d}} -all",
        "x".repeat(64)
    ));
    zone.expect("192.0.2.1", "a.example", Outcome::Fail);
}

#[test]
fn any_text_of_a_record_ends_in_a_result() {
    let seeds = "v=spf1 -a:%{d2r}/24//64 include:%{i} mx ip4:192.0.2.0/24 ip6:::/0 redirect=%{p}.x";
    for at in 7..seeds.len() {
        for c in [' ', '%', '{', '}', '/', ':', '=', '0', '.', '\u{e9}', '\0'] {
            let text: String =
                seeds.chars().enumerate().map(|(i, old)| if i == at { c } else { old }).collect();
            let data = Data::Txt(text.into_bytes());
            let zone = Zone(vec![(Name::new("a.example").unwrap(), Type::Txt, Some(data))]);
            zone.check("192.0.2.1", "a.example");
        }
    }
}

#[test]
fn a_refusal_is_explained_in_the_words_of_who_refuses() {
    let zone = Zone::new(
        "a.test TXT v=spf1 include:inner.test -all exp=why.%{d}
         why.a.test TXT %{i} (%{c}) is not allowed to send for %{o}: ask %{r} at %{t}%%
         inner.test TXT v=spf1 -all exp=inner.why.test
         inner.why.test TXT not this one
         b.test TXT v=spf1 redirect=a.test exp=why.b.test
         why.b.test TXT nor this
         soft.test TXT v=spf1 ~all exp=why.a.test
         two.test TXT v=spf1 -all exp=many.test
         many.test TXT one
         many.test TXT two
         bad.test TXT v=spf1 -all exp=odd.test
         odd.test TXT 100% wrong
         gone.test TXT v=spf1 -all exp=nowhere.test",
    );
    let explained = |domain: &str| zone.check("192.0.2.1", domain).0.explanation;
    let words =
        "192.0.2.1 (192.0.2.1) is not allowed to send for a.test: ask unknown at 0%".to_owned();
    assert_eq!(explained("a.test"), Some(words.clone()));
    assert_eq!(explained("b.test"), Some(words.replace("for a.test", "for b.test")));
    for domain in ["soft.test", "two.test", "bad.test", "gone.test"] {
        assert_eq!(explained(domain), None, "{domain}");
    }
    zone.expect("192.0.2.1", "gone.test", Outcome::Fail);
    // Macros of explanations are none elsewhere.
    let zone = Zone::new("c.test TXT v=spf1 exists:%{c}.x.test -all");
    zone.expect("192.0.2.1", "c.test", Outcome::PermError);
}
