//! The side that is asked.
//!
//! ```text
//!        ┌─ 5 ─► methods ─► [login] ─► request ─┐
//! start ─┤                                      ├─► asked ─► answered ─► connected
//!        └─ 4 ─► request ───────────────────────┘
//! ```
//!
//! Each of them may end in `refused` instead: the refusal is said first, the error comes after.

use super::answer::{Answer, say4};
use super::{
    CONNECT, Destination, Host, LOGIN, NO_LOGIN, NO_METHOD, NO_METHOD_WORDS, OTHER_USER, PASSWORD,
    SHOWN, V4, V5, Version, is_name, read_address, read_request4,
};
use crate::proto::sasl::Credentials;
use crate::proto::{Machine, Ports, ProtocolError, Step};
use core::hint::black_box;

/// What the mode is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The caller wants a connection; answer with [`Server::answer`], then step on.
    Connect {
        /// Where to. A name may be an address in letters, and any name may lead anywhere: what is
        /// allowed is decided by the addresses it has.
        destination: Destination,
        /// The port there.
        port: u16,
    },
}

/// Hears what a caller wants; done when it has been told that it is connected.
///
/// Speaks SOCKS4, 4a and 5, as the caller does. Exactly the caller's part is eaten: what follows
/// on the port is for the destination. After a refusal one step says [`Step::Wait`], so that it
/// is sent; the next is the error.
#[derive(Debug)]
pub struct Server {
    login: Option<Credentials>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first byte tells the version.
    Start,
    /// The ways to log in that the caller offers.
    Methods,
    /// Its user and password.
    Login,
    /// What it wants.
    Request(Version),
    /// It waits for the mode.
    Asked(Version),
    /// The mode has answered.
    Answered(Version, Answer),
    /// A refusal has been said, for this reason.
    Refused(ProtocolError),
    /// A connection has been promised.
    Connected,
}

/// What a look at the port came to.
enum Heard {
    /// It is not all there yet.
    Part,
    /// The next thing to do.
    Next(State),
    /// A request, in this version.
    Request(Version, Event),
}

impl Server {
    /// With `login`, only that one is let in: with SOCKS5 by user and password, with SOCKS4 by
    /// its user id, and not at all if there is a password, since SOCKS4 cannot carry one.
    pub fn new(login: Option<Credentials>) -> Self {
        Self { login, state: State::Start }
    }

    /// Answers [`Event::Connect`]. At any other time there is nothing to answer, and nothing is
    /// done.
    pub fn answer(&mut self, answer: Answer) {
        if let State::Asked(version) = self.state {
            self.state = State::Answered(version, answer);
        }
    }

    fn start(ports: &mut Ports<'_>) -> Result<Heard, ProtocolError> {
        let rest = ports.peer.rest();
        match rest.first() {
            None => Ok(Heard::Part),
            Some(&V4) => Ok(Heard::Next(State::Request(Version::V4))),
            Some(&V5) => Ok(Heard::Next(State::Methods)),
            // No way to say no that this caller would understand.
            Some(_) => Err(ProtocolError::Malformed {
                expected: "SOCKS version 4 or 5",
                got: rest[..rest.len().min(SHOWN)].to_vec(),
            }),
        }
    }

    fn methods(&self, ports: &mut Ports<'_>) -> Heard {
        let [_, count, methods @ ..] = ports.peer.rest() else { return Heard::Part };
        let Some(methods) = methods.get(..usize::from(*count)) else { return Heard::Part };
        ports.peer.eat(2 + methods.len());
        let (method, next) = match self.login {
            None => (NO_LOGIN, State::Request(Version::V5)),
            Some(_) => (PASSWORD, State::Login),
        };
        if !methods.contains(&method) {
            ports.to_peer.push(&[V5, NO_METHOD]);
            return no_login(NO_METHOD, NO_METHOD_WORDS);
        }
        ports.to_peer.push(&[V5, method]);
        Heard::Next(next)
    }

    fn login(&self, ports: &mut Ports<'_>) -> Heard {
        let rest = ports.peer.rest();
        let Some((&version, after)) = rest.split_first() else { return Heard::Part };
        if version != LOGIN {
            ports.to_peer.push(&[LOGIN, 1]);
            return strange("a login by user and password (RFC 1929)", &[version]);
        }
        let Some((user, after)) = counted(after) else { return Heard::Part };
        let Some((password, after)) = counted(after) else { return Heard::Part };
        ports.peer.eat(rest.len() - after.len());
        let welcome = self.login.as_ref().is_some_and(|login| {
            // Both are always compared: the time shall not tell which of them was wrong.
            same(user, login.user.as_bytes()) & same(password, login.password.bytes())
        });
        if !welcome {
            ports.to_peer.push(&[LOGIN, 1]);
            return no_login(1, "wrong user or password");
        }
        ports.to_peer.push(&[LOGIN, 0]);
        Heard::Next(State::Request(Version::V5))
    }

    fn request5(ports: &mut Ports<'_>) -> Heard {
        let (expected, got) = match *ports.peer.rest() {
            [version, ..] if version != V5 => ("a SOCKS5 request", version),
            [_, _, reserved @ 1..=u8::MAX, ..] => ("0 in the reserved byte", reserved),
            [_, command, _, ref address @ ..] => match read_address(address) {
                Ok(Some((host, port, length))) => {
                    ports.peer.eat(3 + length);
                    return ask(ports, Version::V5, command, host, port);
                }
                Ok(None) => return Heard::Part,
                Err(_) => return conclude(ports, Version::V5, Answer::AddressNotSupported),
            },
            _ => return Heard::Part,
        };
        Answer::General.say(Version::V5, &mut ports.to_peer);
        strange(expected, &[got])
    }

    fn request4(&self, ports: &mut Ports<'_>) -> Heard {
        match read_request4(ports.peer.rest()) {
            Ok(None) => Heard::Part,
            Ok(Some(request)) => {
                ports.peer.eat(request.length);
                if self.login.as_ref().is_some_and(|login| {
                    !same(request.user, login.user.as_bytes()) | !login.password.bytes().is_empty()
                }) {
                    say4(OTHER_USER, None, &mut ports.to_peer);
                    return no_login(OTHER_USER, "another user id, or a password, is wanted");
                }
                ask(ports, Version::V4, request.command, request.host, request.port)
            }
            Err((expected, got)) => {
                Answer::General.say(Version::V4, &mut ports.to_peer);
                strange(expected, got)
            }
        }
    }
}

impl Machine for Server {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            let (heard, waiting_for) = match &self.state {
                State::Start => (Self::start(ports)?, "it said anything"),
                State::Methods => (self.methods(ports), "its greeting was complete"),
                State::Login => (self.login(ports), "its login was complete"),
                State::Request(Version::V4) => (self.request4(ports), "its request was complete"),
                State::Request(Version::V5) => (Self::request5(ports), "its request was complete"),
                // The caller's end does not matter here: it may have said all that it will.
                State::Asked(_) => return Ok(Step::Wait),
                &State::Answered(version, answer) => (conclude(ports, version, answer), ""),
                State::Refused(error) => return Err(error.clone()),
                State::Connected => return Ok(Step::Done),
            };
            match heard {
                Heard::Part if ports.peer.eof => return Err(ProtocolError::Cut { waiting_for }),
                Heard::Part => return Ok(Step::Wait),
                Heard::Request(version, event) => {
                    self.state = State::Asked(version);
                    return Ok(Step::Event(event));
                }
                Heard::Next(state @ State::Refused(_)) => {
                    self.state = state;
                    return Ok(Step::Wait);
                }
                Heard::Next(state) => self.state = state,
            }
        }
    }
}

/// A request that can be read: may it be asked?
fn ask(ports: &mut Ports<'_>, version: Version, command: u8, host: Host<'_>, port: u16) -> Heard {
    if command != CONNECT {
        return conclude(ports, version, Answer::CommandNotSupported);
    }
    let destination = match host {
        Host::Address(address) => Destination::Address(address),
        Host::Name(bytes) => match str::from_utf8(bytes) {
            Ok(name) if is_name(name) => Destination::Name(name.to_owned()),
            Ok(_) | Err(_) => {
                Answer::General.say(version, &mut ports.to_peer);
                return strange("a host name", bytes);
            }
        },
    };
    Heard::Request(version, Event::Connect { destination, port })
}

/// Tells the caller how it went, and goes on or ends accordingly.
fn conclude(ports: &mut Ports<'_>, version: Version, answer: Answer) -> Heard {
    let code = answer.say(version, &mut ports.to_peer);
    if let Answer::Connected(_) = answer {
        return Heard::Next(State::Connected);
    }
    let (what, text) = ("the connection", answer.words().into());
    Heard::Next(State::Refused(ProtocolError::Refused { what, code: code.into(), text }))
}

fn no_login(code: u8, text: &str) -> Heard {
    let (what, code) = ("the login", code.into());
    Heard::Next(State::Refused(ProtocolError::Refused { what, code, text: text.into() }))
}

fn strange(expected: &'static str, got: &[u8]) -> Heard {
    let got = got[..got.len().min(SHOWN)].to_vec();
    Heard::Next(State::Refused(ProtocolError::Malformed { expected, got }))
}

/// As many bytes as the first one says, and what follows them.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(length.into())
}

/// Compares without telling by its time how much is right; only a wrong length shows.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::socks::pair::{Side, login};

    const END: &str = "192.0.2.1:513";

    /// All that a caller hears and what was asked, and how it ends.
    type Served = (Option<Event>, Vec<u8>, Result<Vec<u8>, ProtocolError>);

    /// Serves a caller who says `script`, `chunk` bytes at a time, then hangs up.
    fn serve(login: Option<&Credentials>, script: &[u8], chunk: usize) -> Served {
        let mut side = Side::new(Server::new(login.cloned()));
        let (mut chunks, mut eof) = (script.chunks(chunk), false);
        let (mut said, mut asked) = (vec![], None);
        loop {
            let (left, before) = (side.inbox.len(), said.len());
            match side.step(eof, &mut said) {
                Ok(Step::Wait) if side.inbox.len() < left || said.len() > before => {}
                Ok(Step::Wait) => match chunks.next() {
                    Some(bytes) => side.inbox.extend(bytes),
                    None if !eof => eof = true,
                    None => panic!("it waits for nothing"),
                },
                Ok(Step::Event(event)) => {
                    assert_eq!(asked.replace(event), None, "asked once");
                    // Even a caller who has said all that it will is answered.
                    assert_eq!(side.step(true, &mut said), Ok(Step::Wait), "no answer yet");
                    side.machine.answer(Answer::Connected(END.parse().unwrap()));
                    // A second answer changes nothing.
                    side.machine.answer(Answer::General);
                }
                Ok(step @ (Step::Done | Step::StartTls)) => {
                    assert_eq!(step, Step::Done);
                    assert_eq!(side.step(eof, &mut said), Ok(Step::Done), "it stays so");
                    let left = side.inbox.into_iter().chain(chunks.flatten().copied()).collect();
                    return (asked, said, Ok(left));
                }
                Err(error) => {
                    assert_eq!(said.len(), before, "what is said last is said before the error");
                    return (asked, said, Err(error));
                }
            }
        }
    }

    /// `script` gets a connection to `destination`, however it is cut, and is cut if it is shorter.
    fn is_served(login: Option<&Credentials>, script: &[u8], destination: &str, said: &[u8]) {
        let destination = destination
            .parse()
            .map_or_else(|_| Destination::Name(destination.into()), Destination::Address);
        let asked = Some(Event::Connect { destination, port: 25 });
        let served = (asked, said.to_vec(), Ok(b"\x05EHLO\0".to_vec()));
        let whole = [script, b"\x05EHLO\0"].concat();
        for chunk in 1..=whole.len() {
            assert_eq!(serve(login, &whole, chunk), served, "{chunk}");
        }
        for end in 0..script.len() {
            let (asked, _, error) = serve(login, &script[..end], 1 + end / 2);
            assert_eq!(asked, None);
            assert!(matches!(error, Err(ProtocolError::Cut { .. })), "{end}: {error:?}");
        }
    }

    /// `script` is refused, however it is cut: what the caller hears, and why.
    fn is_refused(login: Option<&Credentials>, script: &[u8], said: &[u8]) -> ProtocolError {
        let (_, _, why) = serve(login, script, script.len());
        for chunk in 1..=script.len() {
            assert_eq!(serve(login, script, chunk), (None, said.to_vec(), why.clone()), "{chunk}");
        }
        why.unwrap_err()
    }

    fn refused(what: &'static str, code: u16, text: &str) -> ProtocolError {
        ProtocolError::Refused { what, code, text: text.into() }
    }

    fn malformed(expected: &'static str, got: &[u8]) -> ProtocolError {
        ProtocolError::Malformed { expected, got: got.into() }
    }

    /// What a caller hears that is refused in SOCKS5, and in SOCKS4.
    fn no5(code: u8) -> Vec<u8> {
        vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
    }

    const NO4: &[u8] = &[0, 91, 0, 0, 0, 0, 0, 0];

    #[test]
    fn every_version_and_kind_of_address_is_served() {
        let yes5 = b"\x05\0\x05\0\0\x01\xc0\0\x02\x01\x02\x01";
        let name = b"\x05\x01\0\x05\x01\0\x03\x0amx.example\0\x19";
        is_served(None, name, "mx.example", yes5);
        is_served(None, b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x07\0\x19", "192.0.2.7", yes5);
        let ip = b"\x05\x03\x02\x01\0\x05\x01\0\x04 \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\x19";
        is_served(None, ip, "2001:db8::7", yes5);
        let yes4 = b"\0\x5a\x02\x01\xc0\0\x02\x01";
        is_served(None, b"\x04\x01\0\x19\xc0\0\x02\x07\0", "192.0.2.7", yes4);
        is_served(None, b"\x04\x01\0\x19\0\0\0\x01me\0mx.example\0", "mx.example", yes4);
        is_served(None, b"\x04\x01\0\x19\0\0\0\xffme\0mx.example\0", "mx.example", yes4);
        // The longest of all.
        let (user, host) = ("u".repeat(255), "h".repeat(255));
        let request = format!("\x04\x01\0\x19\0\0\0\x01{user}\0{host}\0");
        assert_eq!(request.len(), 520);
        is_served(None, request.as_bytes(), &host, yes4);
    }

    #[test]
    fn only_the_right_login_is_let_in() {
        let ann = login("ann", "sesame");
        let hello = b"\x05\x02\0\x02".as_slice();
        let request = b"\x05\x01\0\x03\x0amx.example\0\x19";
        let script = [hello, b"\x01\x03ann\x06sesame", request].concat();
        let yes = b"\x05\x02\x01\0\x05\0\0\x01\xc0\0\x02\x01\x02\x01";
        is_served(Some(&ann), &script, "mx.example", yes);

        let wrong = refused("the login", 1, "wrong user or password");
        for attempt in [
            "\x03ann\x06sesamE",
            "\x03ann\x05sesam",
            "\x03ann\x07sesamee",
            "\x03ann\0",
            "\x03bob\x06sesame",
            "\x02an\x07nsesame",
            "\0\0",
        ] {
            let script = [hello, b"\x01", attempt.as_bytes()].concat();
            assert_eq!(is_refused(Some(&ann), &script, b"\x05\x02\x01\x01"), wrong, "{attempt:?}");
        }
        let why = is_refused(Some(&ann), b"\x05\x01\x02\x05", b"\x05\x02\x01\x01");
        assert_eq!(why, malformed("a login by user and password (RFC 1929)", b"\x05"));
        for offer in [b"\x05\0".as_slice(), b"\x05\x01\0", b"\x05\x03\0\x01\xff"] {
            let why = is_refused(Some(&ann), offer, b"\x05\xff");
            assert_eq!(why, refused("the login", 255, NO_METHOD_WORDS));
        }
        // Without a login there is nothing to compare one with.
        is_refused(None, b"\x05\x02\x01\x02", b"\x05\xff");

        let bob = login("bob", "");
        let yes = b"\0\x5a\x02\x01\xc0\0\x02\x01";
        is_served(Some(&bob), b"\x04\x01\0\x19\xc0\0\x02\x07bob\0", "192.0.2.7", yes);
        let wrong = refused("the login", 93, "another user id, or a password, is wanted");
        for (login, user) in [(&bob, "bo"), (&bob, ""), (&bob, "ann"), (&ann, "ann")] {
            let script = [b"\x04\x01\0\x19\xc0\0\x02\x07", user.as_bytes(), b"\0"].concat();
            assert_eq!(is_refused(Some(login), &script, &[0, 93, 0, 0, 0, 0, 0, 0]), wrong);
        }
    }

    #[test]
    fn only_connections_are_made() {
        let why = |code| refused("the connection", code, "Command not supported");
        for command in (0..=u8::MAX).filter(|&command| command != CONNECT) {
            let script = [5, 1, 0, 5, command, 0, 1, 192, 0, 2, 7, 0, 25];
            assert_eq!(is_refused(None, &script, &no5(7)), why(7));
            assert_eq!(is_refused(None, &[4, command, 0, 25, 192, 0, 2, 7, 0], NO4), why(91));
        }
        for kind in (0..=u8::MAX).filter(|kind| ![1, 3, 4].contains(kind)) {
            let why = is_refused(None, &[5, 1, 0, 5, 1, 0, kind], &no5(8));
            assert_eq!(why, refused("the connection", 8, "Address type not supported"));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "n".repeat(256);
        let bad: [&[u8]; 9] = [
            b"",
            b"a b",
            b"a\tb",
            b"mx.example\r\n",
            b"\x1b[31m",
            b"a\x7f",
            b"\xff\xfe",
            "a\u{85}b".as_bytes(),
            "a\u{2028}b".as_bytes(),
        ];
        for name in bad {
            let length = u8::try_from(name.len()).unwrap();
            let script = [b"\x05\x01\0\x05\x01\0\x03", &[length][..], name, b"\0\x19"].concat();
            assert_eq!(is_refused(None, &script, &no5(1)), malformed("a host name", name));
            let script = [b"\x04\x01\0\x19\0\0\0\x01\0", name, b"\0"].concat();
            assert_eq!(is_refused(None, &script, NO4), malformed("a host name", name));
        }
        // Only a counted name can have a NUL in it.
        let why = is_refused(None, b"\x05\x01\0\x05\x01\0\x03\x03a\0b\0\x19", &no5(1));
        assert_eq!(why, malformed("a host name", b"a\0b"));
        let shown = &long.as_bytes()[..80];
        let script = [b"\x04\x01\0\x19\0\0\0\x01\0", long.as_bytes()].concat();
        let why = is_refused(None, &script, NO4);
        assert_eq!(why, malformed("a host name of at most 255 bytes", shown));
        let script = [b"\x04\x01\0\x19\xc0\0\x02\x01", long.as_bytes()].concat();
        let why = is_refused(None, &script, NO4);
        assert_eq!(why, malformed("a user id of at most 255 bytes", shown));
    }

    #[test]
    fn what_is_no_socks_is_refused_by_its_first_byte() {
        for first in (0..=u8::MAX).filter(|first| ![4, 5].contains(first)) {
            let why = is_refused(None, &[first], b"");
            assert_eq!(why, malformed("SOCKS version 4 or 5", &[first]));
        }
        let (_, said, why) = serve(None, b"GET / HTTP/1.0\r\n\r\n", 99);
        assert_eq!(why, Err(malformed("SOCKS version 4 or 5", b"GET / HTTP/1.0\r\n\r\n")));
        assert_eq!(said, b"");
        let why = is_refused(None, b"\x05\x01\0\x04", &no5(1));
        assert_eq!(why, malformed("a SOCKS5 request", b"\x04"));
        let why = is_refused(None, b"\x05\x01\0\x05\x01\x09", &no5(1));
        assert_eq!(why, malformed("0 in the reserved byte", b"\x09"));
    }

    #[test]
    fn one_wrong_byte_anywhere_never_hangs_or_panics() {
        let ann = login("ann", "sesame");
        let scripts: [(_, &[u8]); 3] = [
            (Some(&ann), b"\x05\x02\0\x02\x01\x03ann\x06sesame\x05\x01\0\x03\x02mx\0\x19"),
            (None, b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x07\0\x19"),
            (None, b"\x04\x01\0\x19\0\0\0\x01me\0mx.example\0"),
        ];
        for (login, script) in scripts {
            for (at, byte) in (0..script.len()).flat_map(|at| (0..=u8::MAX).map(move |b| (at, b))) {
                let mut script = script.to_vec();
                script[at] = byte;
                let whole = serve(login, &script, script.len());
                let pieces = serve(login, &script, 1);
                // How much of a strange message had come is all that may differ.
                assert_eq!((&whole.0, &whole.1), (&pieces.0, &pieces.1), "{at}: {byte}");
            }
        }
    }
}
