//! Rooms: `--broker` and `--chat`.

mod tool;

use socket2::{Domain, SockRef, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tool::{DEADLINE, Running, ncat, noise, same, wait_until};

/// How a room is opened and entered.
const TRANSPORTS: [(&[&str], &[&str]); 4] = [
    (&[], &[]),
    (&["--ssl"], &["--ssl", "--ssl-insecure"]),
    (&["-u"], &["-u"]),
    (&["-u", "--ssl"], &["-u", "--ssl", "--ssl-insecure", "-w", "20"]),
];

/// A room, and its port.
fn room(options: &[&str]) -> (Running, u16) {
    let room = ncat(&[&["-v"], options, &["127.0.0.1", "0"]].concat());
    let port = room.port();
    (room, port)
}

fn enter(port: u16, options: &[&str]) -> Running {
    ncat(&[options, &["127.0.0.1", &port.to_string()]].concat())
}

/// A member without a program.
fn member(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// One for whom the kernel keeps next to nothing.
fn narrow_member(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.into()
}

/// Waits until this many have joined.
#[track_caller]
fn wait_for_members(room: &Running, n: usize) {
    wait_until(&format!("{n} members"), || room.stderr().matches("Connection from").count() >= n);
}

/// Reads until `end` has come.
#[track_caller]
fn hear_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut heard, mut buf) = (Vec::new(), vec![0; 1 << 16]);
    while memchr::memmem::find(&heard, end.as_bytes()).is_none() {
        let n = stream.read(&mut buf).unwrap();
        assert_ne!(n, 0, "no {end:?} in {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buf[..n]);
    }
    String::from_utf8(heard).unwrap()
}

#[test]
fn a_chat_announces_and_escapes_and_nobody_fakes_an_announcement() {
    let room = ncat(&["-v", "-l", "--chat", "127.0.0.1", "0"]);
    let port = room.port().to_string();
    let mut first = ncat(&["127.0.0.1", &port]);
    first.wait_stdout("is connected as <user1>.\n<announce> already connected: nobody.\n");
    let second = ncat(&["127.0.0.1", &port]);
    second.wait_stdout(" as <user1>.\n");
    first.send("h\u{e9}\x1b[1m\n<announce> fake\nend\n");
    second.wait_stdout("end\n");
    let text = String::from_utf8(second.stdout()).unwrap();
    assert!(text.contains("<user1> h\u{e9}\\033[1m\n"), "{text:?}");
    assert!(!text.contains("\n<announce> fake"), "{text:?}");
    first.finish().expect_code(0);
    second.wait_stdout("<announce> <user1> is disconnected.\n");
}

#[test]
fn what_one_says_reaches_all_the_others_over_every_transport() {
    for (listen, call) in TRANSPORTS {
        for purpose in ["--broker", "--chat", "--talk"] {
            let (mut room, port) = room(&[&[purpose], listen].concat());
            let mut members = Vec::new();
            for n in 1..=3 {
                let mut member = enter(port, call);
                // Over UDP this is what makes it a member.
                member.send(format!("I am {n}.\n"));
                wait_for_members(&room, n);
                members.push(member);
            }
            let say = |speaker, words: &str| match purpose {
                "--broker" => format!("{words}\n"),
                _ => format!("<user{speaker}> {words}\n"),
            };
            for speaker in 0..3 {
                members[speaker].send(format!("from {speaker}\n"));
                for (n, member) in members.iter().enumerate().filter(|(n, _)| *n != speaker) {
                    member.wait_stdout(&say(speaker + 1, &format!("from {speaker}")));
                    let own = say(n + 1, &format!("from {n}"));
                    assert!(!String::from_utf8_lossy(&member.stdout()).contains(&own), "{own}");
                }
            }
            room.send("from the host\n");
            room.end_input();
            for member in &members {
                member.wait_stdout(&say(0, "from the host"));
            }
            // The room goes on without us, and without the first.
            members.remove(0).finish().expect_code(0);
            members[0].send("still here\n");
            members[1].wait_stdout(&say(2, "still here"));
            room.signal("TERM");
            room.wait().expect_code(143).expect_stdout("");
        }
    }
}

#[test]
fn every_member_hears_all_the_others_in_one_order() {
    const MEMBERS: usize = 20;
    const LINES: usize = 100;
    for purpose in ["--broker", "--chat"] {
        let (room, port) = room(&[purpose]);
        let members: Vec<_> = (0..=MEMBERS)
            .map(|n| {
                let member = member(port);
                wait_for_members(&room, n + 1);
                member
            })
            .collect();
        let talks: Vec<_> = members
            .into_iter()
            .enumerate()
            .map(|(n, mut member)| {
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(member.try_clone().unwrap());
                    // The last one only listens.
                    let says = if n < MEMBERS { LINES } else { 0 };
                    for line in 0..says {
                        member.write_all(format!("#{n}#{line}\n").as_bytes()).unwrap();
                    }
                    let mut heard = Vec::new();
                    while heard.len() < MEMBERS * LINES - says {
                        let mut line = String::new();
                        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{heard:?}");
                        // In a chat this is behind the speaker's name.
                        if let Some((_, words)) = line.trim_end().split_once('#') {
                            heard.push(words.to_owned());
                        }
                    }
                    // Nobody leaves before everybody has been heard.
                    (heard, member)
                })
            })
            .collect();
        let mut heard: Vec<_> = talks.into_iter().map(|talk| talk.join().unwrap()).collect();
        let (all, _) = heard.pop().unwrap();
        for (n, (heard, _)) in heard.iter().enumerate() {
            let own = format!("{n}#");
            let others: Vec<_> = all.iter().filter(|line| !line.starts_with(&own)).collect();
            assert_eq!(heard.iter().collect::<Vec<_>>(), others, "member {n} of {purpose}");
            let said: Vec<_> = all.iter().filter(|line| line.starts_with(&own)).collect();
            assert!((0..LINES).map(|line| format!("{n}#{line}")).eq(said.into_iter().cloned()));
        }
    }
}

#[test]
fn any_bytes_go_through_a_broker() {
    for (listen, call) in &TRANSPORTS[..2] {
        let (room, port) = room(&[&["--broker"], *listen].concat());
        let hears = [enter(port, call), enter(port, call)];
        let mut says = enter(port, call);
        wait_for_members(&room, 3);
        let bytes = noise(1 << 20);
        says.send_all(bytes.clone());
        for member in hears {
            member.wait_stdout_bytes(bytes.len());
            same(&member.stdout(), &bytes);
        }
        says.wait().expect_code(0);
    }
}

#[test]
fn a_member_that_never_reads_is_dropped_and_nobody_waits_for_it() {
    // With ncat everything stands still for ever (D7).
    for purpose in ["--broker", "--chat"] {
        let (room, port) = room(&[purpose]);
        let stuck = narrow_member(port);
        wait_for_members(&room, 1);
        let (mut hears, mut says) = (member(port), member(port));
        wait_for_members(&room, 3);
        let mut heard = String::new();
        talk_until_dropped(&room, &mut says, |end| heard += &hear_until(&mut hears, end));
        if purpose == "--chat" && !heard.contains("reads too slowly") {
            heard += &hear_until(&mut hears, "reads too slowly");
        }
        let told = "<announce> <user1> is disconnected: it reads too slowly";
        assert_eq!(heard.contains(told), purpose == "--chat");
        drop(stuck);
    }
}

#[test]
fn a_stopped_program_is_dropped_under_tls_too() {
    let (room, port) = room(&["--chat", "--ssl"]);
    let call = TRANSPORTS[1].1;
    let stuck = enter(port, call);
    wait_for_members(&room, 1);
    stuck.wait_stdout("nobody.\n");
    stuck.signal("STOP");
    let hears = enter(port, call);
    wait_for_members(&room, 2);
    let mut says = enter(port, call);
    wait_for_members(&room, 3);
    talk_until_dropped(&room, &mut says, |end| hears.wait_stdout(end));
    hears.wait_stdout("<announce> <user1> is disconnected: it reads too slowly.\n");
    says.finish().expect_code(0);
    hears.wait_stdout("<announce> <user3> is disconnected.\n");
    stuck.signal("CONT");
    // The stream was cut, and it is told so.
    stuck.wait().expect_code(1);
}

/// Talks, never faster than somebody hears, until the room has dropped one who does not.
fn talk_until_dropped(room: &Running, says: &mut impl Say, mut hear: impl FnMut(&str)) {
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    for round in 0.. {
        if room.stderr().contains("was dropped: it reads too slowly") {
            return;
        }
        // One queue, and what the kernels keep for both ends.
        assert!(round < 100, "20 MB wait for one who reads nothing");
        says.say(&[line.repeat(200), format!("round {round}\n").into()].concat());
        hear(&format!("round {round}\n"));
    }
}

/// Who can talk.
trait Say {
    fn say(&mut self, words: &[u8]);
}

impl Say for TcpStream {
    fn say(&mut self, words: &[u8]) {
        self.write_all(words).unwrap();
    }
}

impl Say for Running {
    fn say(&mut self, words: &[u8]) {
        self.send(words);
    }
}

#[test]
fn text_that_is_cut_anywhere_stays_text() {
    let (room, port) = room(&["--chat"]);
    let mut hears = member(port);
    wait_for_members(&room, 1);
    let mut says = member(port);
    let told = format!("already connected: {} as <user1>.\n", hears.local_addr().unwrap());
    hear_until(&mut hears, &told);
    for (words, shown) in [
        (&["caf\u{e9}".as_bytes()[..4].to_vec(), b"\xa9!\n".to_vec()][..], "<user2> \u{e9}!\n"),
        (&[b"x\xf0\x9f".to_vec(), b"\x98".to_vec(), b"\x80\n".to_vec()], "<user2> \u{1f600}\n"),
        (&[b"a\r".to_vec(), b"\nb\n".to_vec()], "<user2> b\n"),
    ] {
        let mut heard = String::new();
        for (n, piece) in words.iter().enumerate() {
            says.write_all(piece).unwrap();
            if n == 0 {
                // The first letters are shown at once, so the rest is a chunk of its own.
                heard = hear_until(&mut hears, "\n");
            }
        }
        heard += &hear_until(&mut hears, shown);
        assert!(!heard.contains('\\'), "{heard:?}");
    }
}

#[test]
fn nothing_that_a_terminal_obeys_comes_through_a_chat() {
    let (room, port) = room(&["--chat"]);
    let mut hears = member(port);
    wait_for_members(&room, 1);
    let mut says = member(port);
    let told = format!("already connected: {} as <user1>.\n", hears.local_addr().unwrap());
    hear_until(&mut hears, &told);
    for (words, shown) in [
        (&b"\x1b]52;c;cHduZWQ=\x07"[..], "\\033]52;c;cHduZWQ=\\007"),
        (b"\x1b]0;title\x1b\\", "\\033]0;title\\033\\"),
        (b"\x1bP$q\"p\x1b\\", "\\033P$q\"p\\033\\"),
        (b"\x1b[c\x1b[6n", "\\033[c\\033[6n"),
        (b"one\rtwo", "one\\015two"),
        (b"\x08\x7f\0", "\\010\\177\\000"),
        (b"\xc2\x9b31m", "\\302\\23331m"),
        (b"\x9b31m", "\\23331m"),
        ("\u{202e}evil".as_bytes(), "\\342\\200\\256evil"),
        (b"\xff\xfe", "\\377\\376"),
        (b"a\tb", "a\tb"),
        ("gr\u{fc}\u{df}e \u{1f600}".as_bytes(), "gr\u{fc}\u{df}e \u{1f600}"),
        (b"<announce> <user1> is disconnected.", "<announce> <user1> is disconnected."),
    ] {
        says.write_all(&[words, b"\n"].concat()).unwrap();
        assert_eq!(hear_until(&mut hears, "\n"), format!("<user2> {shown}\n"));
    }
}

#[test]
fn a_long_datagram_and_an_empty_one_are_words_like_others() {
    // Past 8 KiB the rest was lost in a chat, and an empty one was taken for the member's end.
    // What a chat makes of so many lines is longer than a datagram, and so nobody got it.
    for (purpose, words) in [
        ("--broker", vec![b'x'; 65_507]),
        ("--chat", vec![b'x'; 20_000]),
        ("--chat", b"x\n".repeat(10_000)),
    ] {
        let (room, port) = room(&[purpose, "-u"]);
        let [hears, says] = [(); 2].map(|()| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            socket
        });
        hears.send(b"").unwrap();
        wait_for_members(&room, 1);
        hears.send(b"").unwrap();
        says.send(b"").unwrap();
        wait_for_members(&room, 2);
        says.send(b"").unwrap();
        says.send(&words).unwrap();
        let letters = |heard: &[u8]| heard.iter().filter(|&&b| b == b'x').count();
        let (mut heard, mut buf) = (0, vec![0; 1 << 16]);
        while heard < letters(&words) {
            let n = hears.recv(&mut buf).unwrap();
            heard += letters(&buf[..n]);
        }
        assert!(!room.stderr().contains("has left"), "{}", room.stderr());
    }
}

#[test]
fn a_room_has_as_many_members_as_it_may() {
    let (room, port) = room(&["--broker", "-m", "2"]);
    let (mut first, mut second) = (member(port), member(port));
    wait_for_members(&room, 2);
    assert_eq!(member(port).read(&mut [0; 1]).unwrap(), 0, "the third is turned away");
    room.wait_stderr("New connection denied: connection limit reached (2)");
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0, "whoever leaves is told the end of ours");
    room.wait_stderr("has left");
    let mut next = member(port);
    wait_for_members(&room, 3);
    next.write_all(b"next\n").unwrap();
    assert_eq!(hear_until(&mut second, "\n"), "next\n");
}

#[test]
fn a_room_that_only_sends_and_one_that_only_receives() {
    let (mut room_that_sends, port) = room(&["--broker", "--send-only"]);
    let (mut first, mut second) = (member(port), member(port));
    wait_for_members(&room_that_sends, 2);
    first.write_all(b"unheard").unwrap();
    room_that_sends.send("words\n");
    assert_eq!(hear_until(&mut first, "\n"), "words\n");
    assert_eq!(hear_until(&mut second, "\n"), "words\n");
    for purpose in ["--broker", "--chat"] {
        let (mut room, port) = room(&[purpose, "--recv-only"]);
        let (mut first, mut second) = (member(port), member(port));
        wait_for_members(&room, 2);
        room.send("unsaid\n");
        first.write_all(b"unheard\n").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        room.wait_stderr("has left");
        second.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        second.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"");
    }
}

#[test]
fn a_member_that_resets_leaves_like_others() {
    for purpose in ["--broker", "--chat"] {
        let (room, port) = room(&[purpose]);
        let (mut hears, mut says) = (member(port), member(port));
        wait_for_members(&room, 2);
        for n in 3..=10 {
            let rude = member(port);
            wait_for_members(&room, n);
            SockRef::from(&rude).set_linger(Some(Duration::ZERO)).unwrap();
            drop(rude);
            if purpose == "--chat" {
                hear_until(&mut hears, &format!("<announce> <user{n}> is disconnected.\n"));
            }
            says.write_all(format!("round {n}\n").as_bytes()).unwrap();
            hear_until(&mut hears, &format!("round {n}\n"));
        }
    }
}

#[test]
fn a_room_under_tls_survives_many_who_come_and_go() {
    let (room, port) = room(&["--broker", "--ssl"]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", room.id())).unwrap().count();
    let call = TRANSPORTS[1].1;
    let mut hears = enter(port, call);
    wait_for_members(&room, 1);
    let alone = open();
    for round in 0..5 {
        // Half of them never get to the handshake, or end in it.
        let callers: Vec<_> = (0..5).map(|_| enter(port, call)).collect();
        for n in 0..5 {
            let mut rude = member(port);
            rude.write_all(&b"\x16\x03\x01\x02\0"[..n]).unwrap();
        }
        for (n, mut caller) in callers.into_iter().enumerate() {
            caller.send(format!("{round}.{n};"));
            hears.wait_stdout(&format!("{round}.{n};"));
            caller.finish().expect_code(0);
        }
    }
    wait_until("everybody but one to be gone", || open() == alone);
    hears.end_input();
    hears.wait().expect_code(0);
}
