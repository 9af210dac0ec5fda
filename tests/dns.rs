//! `--dns` against dnsmasq, and against servers that lie.

mod tool;

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use tool::dnsmasq::Dnsmasq;
use tool::nsd::Nsd;
use tool::{DEADLINE, Output, have, now, run, run_other};

/// A server with all of the records.
fn server() -> Option<Dnsmasq> {
    let records = records();
    Dnsmasq::start(&records.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Strings of 250 bytes, which together need TCP.
fn long() -> Vec<String> {
    ('a'..='h').map(|c| c.to_string().repeat(250)).collect()
}

fn records() -> Vec<String> {
    let mut records: Vec<_> = RECORDS.iter().map(ToString::to_string).collect();
    records.push(format!("--txt-record=long.test,{}", long().join(",")));
    records
}

const RECORDS: &[&str] = &[
    "--host-record=mail.test,192.0.2.10,2001:db8::10",
    "--address=/a.mail.test/192.0.2.7",
    "--mx-host=mail.test,second.test,20",
    "--mx-host=mail.test,first.test,10",
    "--mx-host=mail.test,last.test,300",
    "--dns-rr=mail.test,2,036e7331047465737400",
    "--txt-record=mail.test,v=spf1 ip4:192.0.2.0/28 include:inner.test -all",
    "--txt-record=mail.test,a word of ours",
    "--txt-record=inner.test,v=spf1 a:mail.test ~exists:%{ir}.list.test ?all",
    "--txt-record=_dmarc.mail.test,v=DMARC1; p=reject",
    "--txt-record=_mta-sts.mail.test,v=STSv1; id=7",
    "--txt-record=_smtp._tls.mail.test,v=TLSRPTv1; rua=mailto:a@mail.test",
    "--dns-rr=_25._tcp.first.test,52,030101abcdef",
    "--srv-host=_smtp._tcp.mail.test,first.test,25,5,1",
    "--ptr-record=10.2.0.192.in-addr.arpa,mail.test",
    "--ptr-record=0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa,\
         six.test",
    "--cname=www.test,web.test,mail.test",
    "--dns-rr=null.test,15,000000",
    "--host-record=null.test,192.0.2.11",
    // A name of their own: an escape sequence, a line end, and a bidi override.
    "--dns-rr=evil.test,16,0a1b5b316d610aE280AE62",
    "--dns-rr=evil.test,15,0005041b0a2e78047465737400",
    "--txt-record=loop.test,v=spf1 include:pool.test -all",
    "--txt-record=pool.test,v=spf1 redirect=loop.test",
    "--txt-record=void.test,v=spf1 a:n1.test a:n2.test a:n3.test +all",
    "--txt-record=twice.test,v=spf1 +all",
    "--txt-record=twice.test,v=spf1 -all",
    "--txt-record=no.test,v=spf1 -all exp=why.no.test",
    "--txt-record=why.no.test,%{i} may not send for %{d}",
    "--txt-record=_dmarc.above.test,v=DMARC1; p=none; sp=reject",
    "--host-record=deep.down.above.test,192.0.2.12",
    "--txt-record=down.test,v=spf1 include:elsewhere.example -all",
    "--txt-record=many.test,v=spf1 a:mail.test a:mail.test a:mail.test a:mail.test \
         a:mail.test a:mail.test",
];

/// Asks our server.
#[track_caller]
fn ask(server: &str, words: &str) -> Output {
    let words: Vec<_> = words.split(' ').collect();
    run(&[&["--dns", "--dns-server", server, "-w", "20s"], &words[..]].concat(), "")
}

#[test]
fn a_summary_has_what_concerns_mail() {
    let Some(server) = server() else { return };
    let output = ask(&server.place(), "mail.test").expect_code(0).expect_stdout(
        "A        192.0.2.10\n\
         AAAA     2001:db8::10\n\
         NS       ns1.test\n\
         MX       10 first.test\n\
         MX       20 second.test\n\
         MX       300 last.test\n\
         SPF      v=spf1 ip4:192.0.2.0/28 include:inner.test -all\n\
         DMARC    v=DMARC1; p=reject\n\
         \x20        mail that fails SPF and DKIM is refused; nobody wants reports\n\
         MTA-STS  v=STSv1; id=7\n\
         \x20        the policy is at https://mta-sts.mail.test/.well-known/mta-sts.txt\n\
         TLSRPT   v=TLSRPTv1; rua=mailto:a@mail.test\n\
         \x20        reports about TLS go to mailto:a@mail.test\n\
         TLSA     _25._tcp.first.test 3 1 1 abcdef\n\
         \x20        not valid, so it is ignored: it has 3 octets, and a hash of its kind has 32\n\
         TXT      a word of ours\n",
    );
    assert_eq!(output.stderr, "");
    // Everything else is that of the name it stands for, and there dnsmasq leaves the way to us.
    let alias = ask(&server.place(), "www.test").expect_code(0).text();
    assert!(alias.starts_with("CNAME    mail.test\nA        192.0.2.10\n"), "{alias}");
    assert!(alias.contains("MX       10 first.test\n") && !alias.contains("DMARC"), "{alias}");
    ask(&server.place(), "null.test")
        .expect_code(0)
        .expect_stdout("A        192.0.2.11\nMX       none: null.test takes no mail (null MX)\n");
}

#[test]
fn json_is_one_object_on_one_line() {
    let Some(server) = server() else { return };
    let output = ask(&server.place(), "--json mail.test").expect_code(0);
    assert_eq!(output.text().lines().count(), 1);
    let check = "import json, sys; o = json.load(sys.stdin); \
                 print(o['name'], o['exists'], o['mx'][0], o['tlsa'][0]['data'], o['null_mx'])";
    if have("python3") {
        let read = run_other("python3", &["-c", check], output.stdout);
        read.expect_code(0).expect_stdout(
            "mail.test True {'preference': 10, 'host': 'first.test'} abcdef False\n",
        );
    }
    ask(&server.place(), "--json null.test MX")
        .expect_code(0)
        .expect_stdout("{\"name\":\"null.test\",\"exists\":true,\"null_mx\":true,\"mx\":[]}\n");
    ask(&server.place(), "--json nobody.test TXT A")
        .expect_code(3)
        .expect_stdout("{\"name\":\"nobody.test\",\"exists\":false,\"txt\":[],\"a\":[]}\n")
        .expect_stderr("there is no such name: nobody.test");
}

#[test]
fn types_are_what_dig_finds_on_the_same_server() {
    let Some(server) = server() else { return };
    if !have("dig") {
        return;
    }
    let port = server.port.to_string();
    for (name, kind) in [
        ("mail.test", "A"),
        ("mail.test", "AAAA"),
        ("mail.test", "MX"),
        ("mail.test", "NS"),
        ("mail.test", "TXT"),
        ("_smtp._tcp.mail.test", "SRV"),
        ("_25._tcp.first.test", "TLSA"),
        ("10.2.0.192.in-addr.arpa", "PTR"),
        ("long.test", "TXT"),
    ] {
        let dig = ["@127.0.0.1", "-p", &port, "+short", name, kind];
        let dig = run_other("dig", &dig, "").expect_code(0).text();
        let plain = |line: &str| {
            let line = line.replace("\" \"", "").replace('"', "");
            let words = line.split(' ').map(|word| word.strip_suffix('.').unwrap_or(word));
            words.collect::<Vec<_>>().join(" ").to_lowercase()
        };
        let mut expected: Vec<_> = dig.lines().map(plain).collect();
        expected.sort();
        let ours = ask(&server.place(), &format!("{name} {kind}")).expect_code(0).text();
        let value = |line: &str| {
            let (label, value) = line.split_at(9);
            assert_eq!(label.trim_end(), kind);
            // dig has the owner of a TLSA record nowhere.
            plain(value.strip_prefix(&format!("{name} ")).unwrap_or(value))
        };
        let mut found: Vec<_> = ours.lines().map(value).collect();
        found.sort();
        assert_eq!(found, expected, "{name} {kind}");
        assert!(!found.is_empty(), "{name} {kind}");
    }
}

#[test]
fn several_types_and_the_names_of_addresses() {
    let Some(server) = server() else { return };
    ask(&server.place(), "mail.test mx A soa")
        .expect_code(0)
        .expect_stdout(
            "MX       10 first.test\nMX       20 second.test\nMX       300 last.test\n\
             A        192.0.2.10\n",
        )
        .expect_stderr("");
    ask(&server.place(), "192.0.2.10 PTR").expect_code(0).expect_stdout("PTR      mail.test\n");
    ask(&server.place(), "192.0.2.10").expect_code(0).expect_stdout("PTR      mail.test\n");
    ask(&server.place(), "2001:db8::10").expect_code(0).expect_stdout("PTR      six.test\n");
    ask(&server.place(), "www.test CNAME").expect_code(0).expect_stdout("CNAME    mail.test\n");
}

#[test]
fn what_is_not_there_is_status_3_and_what_fails_1() {
    let Some(server) = server() else { return };
    ask(&server.place(), "mail.test SOA CNAME")
        .expect_code(3)
        .expect_stdout("")
        .expect_stderr("ncat: mail.test has no SOA or CNAME record\n");
    ask(&server.place(), "nobody.test")
        .expect_code(3)
        .expect_stdout("")
        .expect_stderr("ncat: there is no such name: nobody.test\n");
    ask(&server.place(), "first.test").expect_code(3).expect_stdout("");
    ask(&server.place(), "elsewhere.example MX")
        .expect_code(1)
        .expect_stdout("")
        .expect_stderr("cannot look up MX of elsewhere.example: 127.0.0.1:")
        .expect_stderr("REFUSED");
}

#[test]
fn a_long_text_comes_over_tcp() {
    let Some(server) = server() else { return };
    let output = ask(&server.place(), "-v long.test TXT").expect_code(0);
    assert_eq!(output.text(), format!("TXT      {}\n", long().concat()));
    output.expect_stderr("the answer needs TCP");
}

#[test]
fn names_and_texts_of_strangers_do_nothing_to_a_terminal() {
    let Some(server) = server() else { return };
    ask(&server.place(), "evil.test TXT MX").expect_code(0).expect_stdout(
        "TXT      \\x1b[1ma\\n\\u{202e}b\n\
         MX       5 \\027\\010\\.x.test\n",
    );
    let json = ask(&server.place(), "--json evil.test TXT").expect_code(0).text();
    assert!(json.contains("\"\\u001b[1ma\\u000a\\u202eb\""), "{json}");
}

#[test]
fn spf_names_the_mechanism_that_decided() {
    let Some(server) = server() else { return };
    let inner = ", by include:inner.test of mail.test";
    for (ip, domain, code, expected) in [
        ("192.0.2.5", "mail.test", 0, "pass: ip4:192.0.2.0/28 of mail.test".to_owned()),
        ("2001:db8::10", "mail.test", 0, format!("pass: a:mail.test of inner.test{inner}")),
        ("198.51.100.1", "mail.test", 0, "fail: -all of mail.test".to_owned()),
        ("198.51.100.1", "inner.test", 0, "neutral: ?all of inner.test".to_owned()),
        ("192.0.2.5", "null.test", 3, "none: null.test has no SPF record".to_owned()),
        ("192.0.2.5", "nobody.test", 3, "none: nobody.test has no SPF record".to_owned()),
        ("192.0.2.5", "loop.test", 0, "permerror: it takes more than 10 look-ups".to_owned()),
        ("192.0.2.5", "void.test", 0, "permerror: more than 2 look-ups find nothing".to_owned()),
        ("192.0.2.5", "twice.test", 0, "permerror: twice.test has 2 SPF records".to_owned()),
        (
            "192.0.2.5",
            "down.test",
            1,
            "temperror: no server could tell the TXT records of elsewhere.example".to_owned(),
        ),
        ("192.0.2.5", "many.test", 0, "neutral: no mechanism of many.test matches".to_owned()),
    ] {
        ask(&server.place(), &format!("--spf {ip} {domain}"))
            .expect_code(code)
            .expect_stdout(&format!("{expected}\n"));
    }
    ask(&server.place(), "--json --spf 2001:db8::10 mail.test").expect_code(0).expect_stdout(
        "{\"name\":\"mail.test\",\"ip\":\"2001:db8::10\",\"result\":\"pass\",\
         \"mechanism\":\"a:mail.test\",\"path\":[\
         {\"domain\":\"mail.test\",\"term\":\"include:inner.test\"},\
         {\"domain\":\"inner.test\",\"term\":\"a:mail.test\"}],\"why\":null,\"explanation\":null}\n",
    );
    ask(&server.place(), "twice.test")
        .expect_code(0)
        .expect_stderr("warning: twice.test has 2 SPF records");
}

/// A server of ours on UDP: each question is answered with these datagrams. It ends with the test.
fn fake(mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    serve(&socket, move |socket, asked, from| {
        for datagram in answer(asked) {
            socket.send_to(&datagram, from).unwrap();
        }
    });
    socket.local_addr().unwrap()
}

fn serve(
    socket: &UdpSocket,
    mut answer: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
) {
    let socket = socket.try_clone().unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok((n, from)) = socket.recv_from(&mut buf) {
            answer(&socket, &buf[..n], from);
        }
    });
}

/// UDP, and TCP on the same port that refuses callers until it listens.
fn both() -> (UdpSocket, Socket) {
    let start = now();
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if tcp.bind(&udp.local_addr().unwrap().into()).is_ok() {
            return (udp, tcp);
        }
        assert!(start.elapsed() < DEADLINE, "no port is free for both");
    }
}

/// Where the question ends.
fn question_end(asked: &[u8]) -> usize {
    12 + asked[12..].iter().position(|&b| b == 0).unwrap() + 5
}

/// An answer with these flags in the second octet, and records of the name that was asked for.
fn reply(asked: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = asked[..question_end(asked)].to_vec();
    message[2] |= 0x80;
    message[3] = 0x80 | code;
    message[6..12].fill(0);
    message[7] = u8::try_from(records.len()).unwrap();
    for (kind, value) in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        message.extend(*value);
    }
    message
}

fn truncated(asked: &[u8]) -> Vec<u8> {
    let mut message = reply(asked, 0, &[]);
    message[2] |= 2;
    message
}

const GOOD: &[(u16, &[u8])] = &[(1, &[192, 0, 2, 1])];
const FORGED: &[(u16, &[u8])] = &[(1, &[203, 0, 113, 66])];

#[test]
fn answers_with_a_wrong_id_question_or_source_are_ignored() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    serve(&socket, move |socket, asked, from| {
        other.send_to(&reply(asked, 0, FORGED), from).unwrap();
        let mut wrong_id = reply(asked, 0, FORGED);
        wrong_id[0] ^= 1;
        let mut wrong_name = reply(asked, 0, FORGED);
        wrong_name[13] ^= 1;
        let mut wrong_type = reply(asked, 0, FORGED);
        wrong_type[question_end(asked) - 3] ^= 2;
        let garbage = vec![0xff; 100];
        let empty = Vec::new();
        let cut = reply(asked, 0, FORGED)[..reply(asked, 0, FORGED).len() - 1].to_vec();
        let good = reply(asked, 0, GOOD);
        for bytes in [wrong_id, wrong_name, wrong_type, garbage, empty, cut, good] {
            socket.send_to(&bytes, from).unwrap();
        }
    });
    let place = socket.local_addr().unwrap().to_string();
    let output = ask(&place, "-vv name.example A").expect_code(0);
    let output = output.expect_stdout("A        192.0.2.1\n");
    for ignored in ["the wrong id", "another question", "cannot be read"] {
        assert!(output.stderr.contains(ignored), "no {ignored:?}:\n{}", output.stderr);
    }
}

#[test]
fn garbage_without_end_ends_with_the_time() {
    let place = fake(|_| vec![vec![0xff; 64]; 200]).to_string();
    ask(&place, "-w 500ms name.example A")
        .expect_code(1)
        .expect_stdout("")
        .expect_stderr("no answer in 0.5 s, but ");
}

#[test]
fn silence_ends_with_the_time() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = socket.local_addr().unwrap();
    ask(&place.to_string(), "-w 200ms name.example")
        .expect_code(1)
        .expect_stdout("")
        .expect_stderr(&format!("cannot look up A of name.example: {place}: no answer in 0.2 s\n"));
    // The same where the server says yes, and no more.
    let place = fake(|asked| {
        let is_address = asked[question_end(asked) - 3] == 1;
        if is_address { vec![reply(asked, 0, GOOD)] } else { Vec::new() }
    });
    let output = ask(&place.to_string(), "-w 1 name.example").expect_code(1);
    output.expect_stdout("A        192.0.2.1\n").expect_stderr("warning: cannot look up MX of");
}

#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut count = 0;
    let place = fake(move |asked| {
        count += 1;
        if count < 2 { Vec::new() } else { vec![reply(asked, 0, GOOD)] }
    });
    ask(&place.to_string(), "name.example A").expect_code(0).expect_stdout("A        192.0.2.1\n");
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    for mute in [false, true] {
        let place = fake(move |asked| {
            let has_edns = asked[11] == 1;
            let mut message = reply(asked, u8::from(has_edns), if has_edns { &[] } else { GOOD });
            if has_edns && mute {
                message.truncate(12);
                message[5] = 0;
            }
            vec![message]
        });
        ask(&place.to_string(), "name.example A")
            .expect_code(0)
            .expect_stdout("A        192.0.2.1\n");
    }
    // Nor over TCP.
    let has_edns = |asked: &[u8]| asked[11] == 1;
    let udp = move |asked: &[u8]| {
        if has_edns(asked) { reply(asked, 1, &[]) } else { truncated(asked) }
    };
    let place = over_both(udp, move |mut caller, asked| {
        let answer = if has_edns(&asked) { reply(&asked, 1, &[]) } else { reply(&asked, 0, GOOD) };
        caller.write_all(&framed(&answer)).unwrap();
    });
    ask(&place.to_string(), "name.example A").expect_code(0).expect_stdout("A        192.0.2.1\n");
}

#[test]
fn servfail_and_circles_of_aliases_are_failures() {
    let place = fake(|asked| vec![reply(asked, 2, &[])]).to_string();
    ask(&place, "name.example A").expect_code(1).expect_stdout("").expect_stderr("SERVFAIL");
    // To itself in one answer; and to and fro, answer by answer.
    let itself = fake(|asked| vec![reply(asked, 0, &[(5, &[0xc0, 12])])]).to_string();
    let there_and_back = fake(|asked| {
        let target: &[u8] = if asked[13] == b'a' { b"\x01b\x00" } else { b"\x01a\x00" };
        vec![reply(asked, 0, &[(5, target)])]
    });
    // Always to a new one.
    let mut count = 0_u8;
    let on_and_on = fake(move |asked| {
        count += 1;
        vec![reply(asked, 0, &[(5, &[1, count, 0])])]
    });
    for (place, why) in [
        (itself, "in a circle"),
        (there_and_back.to_string(), "in a circle"),
        (on_and_on.to_string(), "more than 16 CNAME"),
    ] {
        ask(&place, "a A").expect_code(1).expect_stdout("").expect_stderr(why);
    }
}

#[test]
fn an_alias_for_nothing_is_told_of() {
    let place = fake(|asked| vec![reply(asked, 3, &[(5, b"\x01b\x04test\x00")])]).to_string();
    let why = "ncat: a.test is another name for b.test, and there is no such name\n";
    ask(&place, "a.test MX A").expect_code(3).expect_stdout("").expect_stderr(why);
    ask(&place, "a.test").expect_code(3).expect_stdout("CNAME    b.test\n").expect_stderr(why);
}

#[test]
fn an_alias_that_the_server_does_not_follow_is_followed() {
    let place = fake(|asked| {
        let alias: &[(u16, &[u8])] = &[(5, b"\x01b\x00")];
        let records = if asked[13] == b'a' { alias } else { GOOD };
        vec![reply(asked, 0, records)]
    });
    ask(&place.to_string(), "a A").expect_code(0).expect_stdout("A        192.0.2.1\n");
}

/// A server whose UDP answer is truncated, and whose TCP does this.
fn over_tcp(talk: impl FnMut(TcpStream, Vec<u8>) + Send + 'static) -> SocketAddr {
    over_both(truncated, talk)
}

fn over_both(
    mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    mut talk: impl FnMut(TcpStream, Vec<u8>) + Send + 'static,
) -> SocketAddr {
    let (udp, tcp) = both();
    serve(&udp, move |udp, asked, from| {
        udp.send_to(&answer(asked), from).unwrap();
    });
    tcp.listen(16).unwrap();
    let tcp = TcpListener::from(tcp);
    std::thread::spawn(move || {
        while let Ok((mut caller, _)) = tcp.accept() {
            caller.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut length = [0; 2];
            caller.read_exact(&mut length).unwrap();
            let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
            caller.read_exact(&mut asked).unwrap();
            talk(caller, asked);
        }
    });
    udp.local_addr().unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[test]
fn an_answer_over_tcp_may_come_byte_by_byte() {
    let place = over_tcp(|mut caller, asked| {
        caller.set_nodelay(true).unwrap();
        for byte in framed(&reply(&asked, 0, GOOD)) {
            caller.write_all(&[byte]).unwrap();
        }
    });
    ask(&place.to_string(), "name.example A").expect_code(0).expect_stdout("A        192.0.2.1\n");
}

#[test]
fn what_can_go_wrong_over_tcp_is_told() {
    let hang_up = over_tcp(|caller, _| drop(caller));
    let lie = over_tcp(|mut caller, asked| {
        let mut message = framed(&reply(&asked, 0, GOOD));
        message[0] = 0x7f;
        caller.write_all(&message).unwrap();
    });
    let again = over_tcp(|mut caller, asked| {
        caller.write_all(&framed(&truncated(&asked))).unwrap();
    });
    let forged = over_tcp(|mut caller, mut asked| {
        asked[0] ^= 1;
        caller.write_all(&framed(&reply(&asked, 0, FORGED))).unwrap();
    });
    let nothing = over_tcp(|mut caller, _| caller.write_all(&[0, 0]).unwrap());
    let mut held = Vec::new();
    let silent = over_tcp(move |caller, _| held.push(caller));
    let (udp, _held) = both();
    serve(&udp, |udp, asked, from| {
        udp.send_to(&truncated(asked), from).unwrap();
    });
    let refused = udp.local_addr().unwrap();
    ask(&silent.to_string(), "-w 1 name.example A")
        .expect_code(1)
        .expect_stdout("")
        .expect_stderr("TCP: no answer in ");
    for (place, why) in [
        (hang_up, "TCP: "),
        (lie, "TCP: it hung up before its answer"),
        (again, "its answer over TCP is cut short, too"),
        (forged, "TCP: it sent an answer with the wrong id"),
        (nothing, "TCP: it sent a message that cannot be read"),
        (refused, "TCP: connection refused"),
    ] {
        ask(&place.to_string(), "name.example A")
            .expect_code(1)
            .expect_stdout("")
            .expect_stderr(why);
    }
}

#[test]
fn what_does_not_go_with_a_look_up_is_said() {
    for (line, words) in [
        ("--dns", "there is no name to look up"),
        ("--dns a.example AXFR", "\"AXFR\" is no type of record that --dns knows: A AAAA"),
        ("--dns a.example PTR", "PTR takes an address, not \"a.example\""),
        ("--dns 192.0.2.1 MX", "an address has PTR"),
        ("--dns ann@a.example", "hint: ncat --dns a.example"),
        ("--dns a..example", "cannot be a name in the DNS"),
        ("--dns müller.example", "is not ASCII: write its labels as the DNS has them"),
        ("--dns --spf me a.example", "--spf takes the address of a sender, not \"me\""),
        ("--dns --spf 192.0.2.1 192.0.2.2", "--spf IP asks about a domain"),
        ("--dns --spf 192.0.2.1 a.example MX", "--spf and types of records do not go together"),
        ("--dns --dns-server dns.example a.example", "--dns-server takes ADDRESS[:PORT]"),
        ("--dns --dns-server 192.0.2.1:0 a.example", "--dns-server takes ADDRESS[:PORT]"),
        ("--dns --dns-server [::1]53 a.example", "--dns-server takes ADDRESS[:PORT]"),
        ("--dns -l a.example", "--dns and -l do not go together: a look-up is no conversation"),
        ("--dns --smtp a.example", "--dns and --smtp do not go together"),
        ("--dns -w 0 a.example", "-w takes a time"),
        ("--spf 192.0.2.1 a.example", "--spf goes with --dns: it is about a look-up"),
        ("--json a.example 25", "--json goes with --dns"),
        ("--dns-server 192.0.2.1 a.example", "--dns-server goes with --dns"),
    ] {
        let words_of_line: Vec<_> = line.split(' ').collect();
        run(&words_of_line, "").expect_code(2).expect_stdout("").expect_stderr(words);
    }
}

#[test]
fn the_time_is_for_all_questions_together() {
    // Each of the others may take five seconds of its own.
    let place = fake(|asked| {
        let is_address = asked[question_end(asked) - 3] == 1;
        if is_address { vec![reply(asked, 0, GOOD)] } else { Vec::new() }
    });
    let start = now();
    ask(&place.to_string(), "-w 300ms a.example A AAAA MX TXT NS SOA SRV")
        .expect_code(1)
        .expect_stdout("A        192.0.2.1\n")
        .expect_stderr("no time is left");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn who_refuses_has_his_say_and_who_stands_above_too() {
    let Some(server) = server() else { return };
    let text = ask(&server.place(), "no.test --spf 192.0.2.1").expect_code(0).text();
    assert_eq!(text, "fail: -all of no.test\n      192.0.2.1 may not send for no.test\n");
    let text = ask(&server.place(), "deep.down.above.test").expect_code(0).text();
    let policy = "DMARC    _dmarc.above.test v=DMARC1; p=none; sp=reject\n         mail that fails \
                  SPF and DKIM is refused; nobody wants reports\n";
    assert!(text.contains(policy), "{text}");
    let json = ask(&server.place(), "--json mail.test").expect_code(0).text();
    for part in [
        "\"dmarc_tags\":[{\"domain\":\"_dmarc.mail.test\",\"tags\":{\"v\":\"DMARC1\",\"p\":\"reject\"},\"problem\":null}]",
        "\"mta_sts_tags\":[{\"domain\":\"_mta-sts.mail.test\",\"tags\":{\"v\":\"STSv1\",\"id\":\"7\"}",
        "\"problem\":\"it has 3 octets, and a hash of its kind has 32\"",
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
}

/// A zone as a server for the world would have it.
const ZONE: &str = "$ORIGIN m.example.\n$TTL 60\n\
    @ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n\
    @ MX 20 second\n@ MX 10 first\n@ A 192.0.2.1\n@ TXT \"v=spf1 mx -all\"\n\
    first A 192.0.2.10\nfirst AAAA 2001:db8::10\nsecond CNAME third\nthird CNAME first\n\
    _25._tcp.first TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
    _dmarc TXT \"v=DMARC1; p=quarantine; rua=mailto:d@m.example\"\n\
    null MX 0 .\nloop TXT \"v=spf1 include:loop.m.example -all\"\n";

#[test]
fn another_server_is_understood_as_well() {
    let strings: Vec<_> = long().iter().map(|text| format!("\"{text}\"")).collect();
    let zone = format!("{ZONE}long TXT {}\n", strings.join(" "));
    let Some(nsd) = Nsd::start("m.example", &zone) else { return };
    let output = ask(&nsd.place(), "m.example").expect_code(0).expect_stdout(
        "A        192.0.2.1\nNS       ns.m.example\nMX       10 first.m.example\nMX       20 second.m.example\n\
         SPF      v=spf1 mx -all\n\
         DMARC    v=DMARC1; p=quarantine; rua=mailto:d@m.example\n         \
         mail that fails SPF and DKIM goes to the junk; reports go to mailto:d@m.example\n\
         TLSA     _25._tcp.first.m.example 3 1 1 \
         0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n         \
         the server's own key, by its SHA-256\n",
    );
    assert_eq!(output.stderr, "");
    ask(&nsd.place(), "m.example --spf 192.0.2.10")
        .expect_code(0)
        .expect_stdout("pass: mx of m.example\n");
    ask(&nsd.place(), "loop.m.example --spf 192.0.2.1")
        .expect_stdout("permerror: it takes more than 10 look-ups\n");
    ask(&nsd.place(), "second.m.example A").expect_code(0).expect_stdout("A        192.0.2.10\n");
    ask(&nsd.place(), "nothing.m.example A").expect_code(3);
    let text = ask(&nsd.place(), "long.m.example TXT").expect_code(0).text();
    assert_eq!(text, format!("TXT      {}\n", long().concat()));
    ask(&nsd.place(), "null.m.example MX")
        .expect_code(0)
        .expect_stdout("MX       none: null.m.example takes no mail (null MX)\n");
    if have("dig") {
        let port = nsd.port.to_string();
        let args = ["@127.0.0.1", "-p", &port, "+short", "m.example", "MX"];
        let dig = run_other("dig", &args, "").expect_code(0).text();
        let mut lines: Vec<_> = dig.lines().map(|line| line.trim_end_matches('.')).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["10 first.m.example", "20 second.m.example"]);
    }
}
