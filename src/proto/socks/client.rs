//! The side that asks.
//!
//! ```text
//! 5:  greeting ──► method ──► [login] ──► reply ──► done
//! 4:  request ──────────────────────────► reply ──► done
//! ```

use super::answer::words;
use super::{
    CONNECT, Destination, GRANTED, LOGIN, LONGEST, NAME, NO_IDENTD, NO_LOGIN, NO_METHOD,
    NO_METHOD_WORDS, OTHER_USER, PASSWORD, REJECTED, SHOWN, V4, V5, Version, is_name, read_address,
    write_address,
};
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::{Input, Machine, Ports, ProtocolError, Step};
use core::net::IpAddr;
use std::convert::Infallible;

/// Asks a proxy for a connection; done when there is one.
///
/// Exactly the proxy's reply is eaten: what follows on the port is the destination's.
#[derive(Debug)]
pub struct Client {
    version: Version,
    state: State,
    /// The whole message of RFC 1929; `None` with SOCKS4.
    login: Option<Secret>,
    request: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing has been said.
    Start,
    /// The proxy chooses how we log in.
    Method,
    /// The proxy judges the login.
    Login,
    /// The proxy connects.
    Reply,
    /// It has.
    Connected,
}

impl Client {
    /// Prepares everything that will be said.
    ///
    /// A name goes to the proxy as it is, with SOCKS4 as 4a has it. The user is SOCKS4's user id.
    ///
    /// # Errors
    /// In words, what this version of SOCKS cannot carry.
    pub fn new(
        version: Version,
        destination: &Destination,
        port: u16,
        login: Option<&Credentials>,
    ) -> Result<Self, String> {
        if let Destination::Name(name) = destination {
            if name.len() > LONGEST {
                return Err("the host name is longer than the 255 bytes that SOCKS carries".into());
            }
            if !is_name(name) {
                return Err(format!("{name:?} is no host name"));
            }
        }
        if let Some(login) = login {
            if login.user.is_empty() {
                return Err("the login at the proxy has no user".into());
            }
            if login.user.len() > LONGEST {
                return Err("the user is longer than the 255 bytes that SOCKS carries".into());
            }
        }
        let (login, request) = match version {
            Version::V4 => (None, request4(destination, port, login)?),
            Version::V5 => (login.map(login5).transpose()?, request5(destination, port)),
        };
        Ok(Self { version, state: State::Start, login, request })
    }

    fn start(&self, ports: &mut Ports<'_>) -> State {
        match (self.version, &self.login) {
            (Version::V4, _) => {
                ports.to_peer.push(&self.request);
                return State::Reply;
            }
            (Version::V5, None) => ports.to_peer.push(&[V5, 1, NO_LOGIN]),
            (Version::V5, Some(_)) => ports.to_peer.push(&[V5, 2, NO_LOGIN, PASSWORD]),
        }
        State::Method
    }

    /// `None` until the proxy has chosen.
    fn method(&self, ports: &mut Ports<'_>) -> Result<Option<State>, ProtocolError> {
        begins(&ports.peer, &[V5], "a greeting of a SOCKS5 proxy")?;
        let &[_, method, ..] = ports.peer.rest() else { return Ok(None) };
        let next = match (method, &self.login) {
            (NO_LOGIN, _) => {
                ports.to_peer.push(&self.request);
                State::Reply
            }
            (PASSWORD, Some(login)) => {
                ports.to_peer.push(login.bytes());
                State::Login
            }
            (NO_METHOD, _) => return Err(refused("the login", method, NO_METHOD_WORDS)),
            _ => {
                let got = vec![method];
                return Err(ProtocolError::Malformed { expected: "one of the ways offered", got });
            }
        };
        ports.peer.eat(2);
        Ok(Some(next))
    }

    /// `None` until the proxy has judged the login.
    fn login(&self, ports: &mut Ports<'_>) -> Result<Option<State>, ProtocolError> {
        begins(&ports.peer, &[LOGIN], "an answer to a login (RFC 1929)")?;
        match *ports.peer.rest() {
            [_, 0, ..] => {
                ports.peer.eat(2);
                ports.to_peer.push(&self.request);
                Ok(Some(State::Reply))
            }
            [_, status, ..] => Err(refused("the login", status, "authentication failed")),
            _ => Ok(None),
        }
    }

    /// `None` until all of the reply has come; a refusal needs its first two bytes only.
    fn reply(&self, ports: &mut Ports<'_>) -> Result<Option<State>, ProtocolError> {
        let length = match self.version {
            Version::V4 => length_of_reply4(&ports.peer)?,
            Version::V5 => length_of_reply5(&ports.peer)?,
        };
        let Some(length) = length else { return Ok(None) };
        ports.peer.eat(length);
        Ok(Some(State::Connected))
    }
}

impl Machine for Client {
    type Event = Infallible;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Infallible>, ProtocolError> {
        loop {
            let (next, waiting_for) = match self.state {
                State::Start => (Some(self.start(ports)), "anything was said"),
                State::Method => (self.method(ports)?, "it chose a way to log in"),
                State::Login => (self.login(ports)?, "its answer to the login was complete"),
                State::Reply => (self.reply(ports)?, "its reply was complete"),
                State::Connected => return Ok(Step::Done),
            };
            match next {
                Some(next) => self.state = next,
                None if ports.peer.eof => return Err(ProtocolError::Cut { waiting_for }),
                None => return Ok(Step::Wait),
            }
        }
    }
}

fn request4(
    destination: &Destination,
    port: u16,
    login: Option<&Credentials>,
) -> Result<Vec<u8>, String> {
    let (address, name) = match destination {
        Destination::Address(IpAddr::V6(ip)) => {
            return Err(format!("SOCKS4 cannot carry the IPv6 address {ip}; SOCKS5 can"));
        }
        Destination::Address(IpAddr::V4(ip)) => match ip.octets() {
            // It would mean that a name follows, and the proxy would wait for it.
            [0, 0, 0, 1..=u8::MAX] => return Err(format!("SOCKS4 cannot carry the address {ip}")),
            address => (address, None),
        },
        Destination::Name(name) => ([0, 0, 0, 1], Some(name)),
    };
    let user = login.map_or("", |login| &login.user);
    if user.contains('\0') {
        return Err("the user has a NUL in it, which ends a user id of SOCKS4".into());
    }
    if login.is_some_and(|login| !login.password.bytes().is_empty()) {
        return Err("SOCKS4 cannot carry a password; SOCKS5 can".into());
    }
    let mut request = vec![V4, CONNECT];
    request.extend(port.to_be_bytes());
    request.extend(address);
    request.extend(user.as_bytes());
    request.push(0);
    if let Some(name) = name {
        request.extend(name.as_bytes());
        request.push(0);
    }
    Ok(request)
}

fn request5(destination: &Destination, port: u16) -> Vec<u8> {
    let mut request = vec![V5, CONNECT, 0];
    match destination {
        Destination::Address(address) => write_address(*address, &mut request),
        Destination::Name(name) => {
            request.push(NAME);
            push_counted(name.as_bytes(), &mut request);
        }
    }
    request.extend(port.to_be_bytes());
    request
}

fn login5(login: &Credentials) -> Result<Secret, String> {
    if login.password.bytes().len() > LONGEST {
        return Err("the password is longer than the 255 bytes that SOCKS carries".into());
    }
    let mut message = vec![LOGIN];
    push_counted(login.user.as_bytes(), &mut message);
    push_counted(login.password.bytes(), &mut message);
    Ok(Secret::new(message))
}

fn push_counted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).expect("`Client::new` lets at most 255 through"));
    out.extend(bytes);
}

/// Says at once that somebody else is speaking, however little of it has come.
fn begins(peer: &Input<'_>, with: &[u8], expected: &'static str) -> Result<(), ProtocolError> {
    let rest = peer.rest();
    if rest.first().is_none_or(|first| with.contains(first)) {
        return Ok(());
    }
    Err(ProtocolError::Malformed { expected, got: rest[..rest.len().min(SHOWN)].to_vec() })
}

fn length_of_reply4(peer: &Input<'_>) -> Result<Option<usize>, ProtocolError> {
    // It should be 0; there are proxies that send their version.
    begins(peer, &[0, V4], "a SOCKS4 reply")?;
    let rest = peer.rest();
    let Some(&code) = rest.get(1) else { return Ok(None) };
    match code {
        GRANTED => Ok((rest.len() >= 8).then_some(8)),
        REJECTED => Err(refused("the connection", code, "request rejected or failed")),
        NO_IDENTD => Err(refused("the login", code, "the proxy cannot ask identd who we are")),
        OTHER_USER => Err(refused("the login", code, "the user id is not the one expected")),
        _ => Err(refused("the connection", code, words(u8::MAX))),
    }
}

fn length_of_reply5(peer: &Input<'_>) -> Result<Option<usize>, ProtocolError> {
    begins(peer, &[V5], "a SOCKS5 reply")?;
    // The reserved byte should be 0. It means nothing, so nothing is lost if it is not.
    match *peer.rest() {
        [_, reply @ 1..=u8::MAX, ..] => Err(refused("the connection", reply, words(reply))),
        [_, _, _, ref address @ ..] => match read_address(address) {
            Ok(address) => Ok(address.map(|(_, _, length)| 3 + length)),
            Err(kind) => Err(ProtocolError::Malformed {
                expected: "an address of type 1, 3 or 4",
                got: vec![kind],
            }),
        },
        _ => Ok(None),
    }
}

fn refused(what: &'static str, code: u8, text: &str) -> ProtocolError {
    ProtocolError::Refused { what, code: code.into(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::play;
    use crate::proto::socks::pair::login;

    fn name(name: &str) -> Destination {
        Destination::Name(name.into())
    }

    fn address(text: &str) -> Destination {
        Destination::Address(text.parse().unwrap())
    }

    fn client(version: Version, login: Option<&Credentials>) -> Client {
        Client::new(version, &name("mx.example"), 25, login).unwrap()
    }

    /// Plays a whole script in chunks of every size: all of it is eaten but `left`, and every
    /// shorter one is cut.
    fn goes_well(new: impl Fn() -> Client, script: &[u8], said: &[u8]) {
        let whole = [script, b"\x05\0early"].concat();
        for chunk in 1..=whole.len() {
            let played = play(&mut new(), &whole, b"typed", chunk).unwrap();
            assert_eq!(played.to_peer.escape_ascii().to_string(), said.escape_ascii().to_string());
            assert_eq!(played.peer_left, b"\x05\0early", "{chunk}");
            assert_eq!(played.user_left, b"typed");
        }
        for end in 0..script.len() {
            for chunk in 1..=end.max(1) {
                let (error, _) = play(&mut new(), &script[..end], b"", chunk).unwrap_err();
                assert!(matches!(error, ProtocolError::Cut { .. }), "{end}: {error:?}");
            }
        }
    }

    fn goes_wrong(new: impl Fn() -> Client, script: &[u8]) -> ProtocolError {
        let (first, _) = play(&mut new(), script, b"", script.len()).unwrap_err();
        for chunk in 1..script.len() {
            let (error, _) = play(&mut new(), script, b"", chunk).unwrap_err();
            // How much of a strange message had come is all that may differ.
            match (&first, &error) {
                (
                    ProtocolError::Malformed { expected: a, got: all },
                    ProtocolError::Malformed { expected: b, got },
                ) => assert!(a == b && all.starts_with(got)),
                _ => assert_eq!(first, error),
            }
        }
        first
    }

    #[test]
    fn socks5_is_spoken_with_every_kind_of_bound_address() {
        let said = b"\x05\x01\0\x05\x01\0\x03\x0amx.example\0\x19";
        let new = || client(Version::V5, None);
        goes_well(new, b"\x05\0\x05\0\0\x01\xc0\0\x02\x01\0\x50", said);
        goes_well(new, b"\x05\0\x05\0\0\x040123456789abcdef\0\x50", said);
        goes_well(new, b"\x05\0\x05\0\0\x03\x05proxy\0\x50", said);
        goes_well(new, b"\x05\0\x05\0\0\x03\0\0\0", said);
        // Reserved, and not 0.
        goes_well(new, b"\x05\0\x05\0\xff\x01\0\0\0\0\0\0", said);
        let long = [b"\x05\0\x05\0\0\x03\xff".as_slice(), &[b'n'; 257]].concat();
        goes_well(new, &long, said);
    }

    #[test]
    fn socks5_addresses_and_logins_are_as_the_rfcs_have_them() {
        let new = || Client::new(Version::V5, &address("192.0.2.1"), 8080, None).unwrap();
        let reply = b"\x05\0\x05\0\0\x01\0\0\0\0\0\0";
        goes_well(new, reply, b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x01\x1f\x90");
        let new = || Client::new(Version::V5, &address("2001:db8::1"), 65535, None).unwrap();
        let ip = b" \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
        goes_well(new, reply, &[b"\x05\x01\0\x05\x01\0\x04".as_slice(), ip, b"\xff\xff"].concat());

        let ann = login("ann", "sesame");
        let new = || client(Version::V5, Some(&ann));
        let said = b"\x05\x02\0\x02\x01\x03ann\x06sesame\x05\x01\0\x03\x0amx.example\0\x19";
        goes_well(new, b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0", said);
        // The proxy may do without.
        goes_well(new, reply, b"\x05\x02\0\x02\x05\x01\0\x03\x0amx.example\0\x19");
        let bob = login("bob", "");
        let new = || client(Version::V5, Some(&bob));
        let said = b"\x05\x02\0\x02\x01\x03bob\0\x05\x01\0\x03\x0amx.example\0\x19";
        goes_well(new, b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0", said);
    }

    #[test]
    fn socks4_and_4a_are_spoken() {
        let granted = b"\0\x5a\x01\x02\x03\x04\x05\x06";
        let new = || Client::new(Version::V4, &address("192.0.2.1"), 25, None).unwrap();
        goes_well(new, granted, b"\x04\x01\0\x19\xc0\0\x02\x01\0");
        let ann = login("ann", "");
        let new = || client(Version::V4, Some(&ann));
        goes_well(new, granted, b"\x04\x01\0\x19\0\0\0\x01ann\0mx.example\0");
        goes_well(new, b"\x04\x5a\0\0\0\0\0\0", b"\x04\x01\0\x19\0\0\0\x01ann\0mx.example\0");
    }

    #[test]
    fn every_reply_but_0_and_90_is_a_refusal() {
        for code in (0..=u8::MAX).filter(|&code| code != 0) {
            let new = || client(Version::V5, None);
            // Whoever says no may hang up without an address.
            let error = goes_wrong(new, &[5, 0, 5, code]);
            assert_eq!(error, refused("the connection", code, words(code)));
        }
        assert_eq!(words(8), "Address type not supported");
        assert_eq!(words(9), "unassigned value in the reply");
        for code in (0..=u8::MAX).filter(|&code| code != 90) {
            let ProtocolError::Refused { what, code: got, text } =
                goes_wrong(|| client(Version::V4, None), &[0, code])
            else {
                panic!("{code}")
            };
            assert_eq!(what, if let 92 | 93 = code { "the login" } else { "the connection" });
            assert_eq!(got, code.into());
            assert_eq!(text == b"unassigned value in the reply", !(91..=93).contains(&code));
        }
    }

    #[test]
    fn a_refused_login_says_so() {
        let ann = login("ann", "sesame");
        let with = || client(Version::V5, Some(&ann));
        let error = goes_wrong(with, b"\x05\xff");
        assert_eq!(error, refused("the login", 255, NO_METHOD_WORDS));
        let error = goes_wrong(|| client(Version::V5, None), b"\x05\xff");
        assert_eq!(error, refused("the login", 255, NO_METHOD_WORDS));
        for status in 1..=u8::MAX {
            let error = goes_wrong(with, &[5, 2, 1, status]);
            assert_eq!(error, refused("the login", status, "authentication failed"));
        }
    }

    #[test]
    fn what_is_no_socks_proxy_is_told_by_its_first_bytes() {
        let ann = login("ann", "sesame");
        let (four, five) = (|| client(Version::V4, None), || client(Version::V5, None));
        let with = || client(Version::V5, Some(&ann));
        let malformed = |error| {
            let ProtocolError::Malformed { expected, got } = error else { panic!("{error:?}") };
            (expected, got)
        };
        let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        let greeting = "a greeting of a SOCKS5 proxy";
        assert_eq!(malformed(goes_wrong(five, http)), (greeting, http.to_vec()));
        assert_eq!(malformed(goes_wrong(four, http)), ("a SOCKS4 reply", http.to_vec()));
        assert_eq!(malformed(goes_wrong(five, &[b'x'; 999])), (greeting, vec![b'x'; 80]));
        assert_eq!(malformed(goes_wrong(five, b"\x04\0")).0, greeting);
        // GSSAPI, and a password that was not offered.
        assert_eq!(malformed(goes_wrong(with, b"\x05\x01")), ("one of the ways offered", vec![1]));
        assert_eq!(malformed(goes_wrong(five, b"\x05\x02")), ("one of the ways offered", vec![2]));
        let answer = "an answer to a login (RFC 1929)";
        assert_eq!(malformed(goes_wrong(with, b"\x05\x02\x05\0")).0, answer);
        assert_eq!(malformed(goes_wrong(five, b"\x05\0\x04\0")).0, "a SOCKS5 reply");
        for kind in (0..=u8::MAX).filter(|kind| ![1, 3, 4].contains(kind)) {
            let error = malformed(goes_wrong(five, &[5, 0, 5, 0, 0, kind, 1, 2, 3, 4, 5, 6]));
            assert_eq!(error, ("an address of type 1, 3 or 4", vec![kind]));
        }
    }

    #[test]
    fn what_socks_cannot_carry_is_said_before_anything_is_sent() {
        use Version::{V4, V5};
        let long = "x".repeat(256);
        let secret = "sesame".repeat(43);
        let bad = [
            (V4, address("2001:db8::1"), None, "SOCKS4 cannot carry the IPv6 address 2001:db8::1"),
            (V4, address("0.0.0.9"), None, "SOCKS4 cannot carry the address 0.0.0.9"),
            (V4, name("mx"), Some(login("ann", "sesame")), "SOCKS4 cannot carry a password"),
            (V4, name("mx"), Some(login("a\0b", "")), "the user has a NUL in it"),
            (V4, name("mx"), Some(login(&long, "")), "the user is longer than the 255 bytes"),
            (V5, name("mx"), Some(login(&long, "")), "the user is longer than the 255 bytes"),
            (V5, name("mx"), Some(login("ann", &secret)), "the password is longer than the 255"),
            (V4, name("mx"), Some(login("", "")), "the login at the proxy has no user"),
            (V5, name("mx"), Some(login("", "sesame")), "the login at the proxy has no user"),
            (V4, name(&long), None, "the host name is longer than the 255 bytes"),
            (V5, name(&long), None, "the host name is longer than the 255 bytes"),
            (V4, name("a\0b"), None, "\"a\\0b\" is no host name"),
            (V5, name("a b"), None, "\"a b\" is no host name"),
            (V5, name(""), None, "\"\" is no host name"),
        ];
        for (version, destination, login, words) in bad {
            let error = Client::new(version, &destination, 25, login.as_ref()).unwrap_err();
            assert!(error.starts_with(words), "{error:?}, not {words:?}");
            assert!(!error.contains("sesame"));
        }
        let client = client(V5, Some(&login("ann", "sesame")));
        assert!(!format!("{client:?}").contains("sesame"));
    }
}
