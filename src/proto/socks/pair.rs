//! Both sides against each other, and what their tests share.

use super::{Answer, Client, Destination, Event, Server, Version};
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use core::net::SocketAddr;

/// A machine, and what has come for it.
pub(super) struct Side<M> {
    pub(super) machine: M,
    pub(super) inbox: Vec<u8>,
}

impl<M: Machine> Side<M> {
    pub(super) fn new(machine: M) -> Self {
        Self { machine, inbox: vec![] }
    }

    /// One step; what is said is appended to `out`.
    pub(super) fn step(
        &mut self,
        eof: bool,
        out: &mut Vec<u8>,
    ) -> Result<Step<M::Event>, ProtocolError> {
        let (mut nothing, mut ended, mut never) = (vec![], false, false);
        let mut ports = Ports {
            peer: Input::new(&self.inbox, eof),
            to_peer: Output::new(out, 1, &mut ended),
            user: Input::new(&[], false),
            to_user: Output::new(&mut nothing, 1, &mut never),
        };
        let step = self.machine.step(&mut ports);
        let eaten = ports.peer.eaten();
        self.inbox.drain(..eaten);
        assert!(nothing.is_empty() && !ended && !never, "only the peer is spoken to");
        step
    }
}

pub(super) fn login(user: &str, password: &str) -> Credentials {
    Credentials { user: user.into(), password: Secret::new(password) }
}

type Told = (Option<Event>, Result<Vec<u8>, ProtocolError>, Result<Vec<u8>, ProtocolError>);

/// Both sides talk, `chunk` bytes at a time; each then says a word of its own. Returns what
/// was asked, and how it ended for the client and the server: what is left for the next stage.
fn talk(client: Client, server: Server, answer: Answer, chunk: usize) -> Told {
    let (mut client, mut server) = (Side::new(client), Side::new(server));
    let (mut up, mut down, mut event) = (vec![], vec![], None);
    let (mut client_end, mut server_end) = (None, None);
    while client_end.is_none() || server_end.is_none() {
        if client_end.is_none() {
            match client.step(false, &mut up) {
                Ok(Step::Wait) => {}
                Ok(Step::Done) => {
                    up.extend(b"hello");
                    client_end = Some(Ok(()));
                }
                Ok(step) => panic!("a client says {step:?}"),
                Err(error) => client_end = Some(Err(error)),
            }
        }
        server.inbox.extend(up.drain(..up.len().min(chunk)));
        if server_end.is_none() {
            match server.step(false, &mut down) {
                Ok(Step::Wait) => {}
                Ok(Step::Event(asked)) => {
                    assert_eq!(event.replace(asked), None, "asked once");
                    assert_eq!(server.step(false, &mut down), Ok(Step::Wait), "no answer yet");
                    server.machine.answer(answer);
                }
                Ok(Step::Done) => {
                    down.extend(b"welcome");
                    server_end = Some(Ok(()));
                }
                Ok(step) => panic!("a server says {step:?}"),
                Err(error) => server_end = Some(Err(error)),
            }
        }
        client.inbox.extend(down.drain(..down.len().min(chunk)));
    }
    client.inbox.extend(down);
    server.inbox.extend(up);
    (event, client_end.unwrap().map(|()| client.inbox), server_end.unwrap().map(|()| server.inbox))
}

fn destinations() -> Vec<Destination> {
    let mut all: Vec<_> = ["mail.example", "x", "bücher.example", &"n".repeat(255)]
        .map(|name| Destination::Name(name.into()))
        .into();
    all.extend(
        ["192.0.2.7", "0.0.0.0", "2001:db8::7"].map(|ip| Destination::Address(ip.parse().unwrap())),
    );
    all
}

fn logins() -> Vec<Option<Credentials>> {
    let (long, longer) = ("u".repeat(255), "p".repeat(255));
    vec![None, Some(login("ann", "")), Some(login("ann", "sesame")), Some(login(&long, &longer))]
}

#[test]
fn client_and_server_agree_on_every_version_destination_and_login_however_cut() {
    let ours = ["198.51.100.1:4242", "[2001:db8::1]:4242", "[::ffff:192.0.2.1]:1"];
    let mut talks = 0;
    for version in [Version::V4, Version::V5] {
        for (destination, login) in
            destinations().iter().flat_map(|d| logins().into_iter().map(move |l| (d, l)))
        {
            let Ok(client) = Client::new(version, destination, 25, login.as_ref()) else {
                assert_eq!(version, Version::V4, "{destination:?}, {login:?}");
                continue;
            };
            drop(client);
            for end in ours.map(|end| Answer::Connected(end.parse::<SocketAddr>().unwrap())) {
                for chunk in (1..24).chain([255, 256, 600]) {
                    let client = Client::new(version, destination, 25, login.as_ref()).unwrap();
                    let told = talk(client, Server::new(login.clone()), end, chunk);
                    let asked = Event::Connect { destination: destination.clone(), port: 25 };
                    let right = (Some(asked), Ok(b"welcome".into()), Ok(b"hello".into()));
                    assert_eq!(told, right, "{version:?}, {login:?}, {chunk}");
                    talks += 1;
                }
            }
        }
    }
    // SOCKS4 carries neither IPv6 nor a password: 6 destinations, 2 logins.
    assert_eq!(talks, (7 * 4 + 6 * 2) * 3 * 26);
}

#[test]
fn every_refusal_reaches_the_client_in_the_words_of_the_rfc() {
    let answers = [
        (Answer::General, 1, "general SOCKS server failure"),
        (Answer::NotAllowed, 2, "connection not allowed by ruleset"),
        (Answer::NetworkUnreachable, 3, "Network unreachable"),
        (Answer::HostUnreachable, 4, "Host unreachable"),
        (Answer::Refused, 5, "Connection refused"),
        (Answer::TimedOut, 6, "TTL expired"),
        (Answer::CommandNotSupported, 7, "Command not supported"),
        (Answer::AddressNotSupported, 8, "Address type not supported"),
    ];
    let refused = |code, text: &str| {
        Err(ProtocolError::Refused { what: "the connection", code, text: text.into() })
    };
    for (answer, code, text) in answers {
        for chunk in 1..24 {
            for destination in destinations() {
                let client = Client::new(Version::V5, &destination, 25, None).unwrap();
                let (_, client, server) = talk(client, Server::new(None), answer, chunk);
                assert_eq!(client, refused(code, text));
                assert_eq!(server, refused(code, text));
            }
            let client = Client::new(Version::V4, &destinations()[0], 25, None).unwrap();
            let (_, client, server) = talk(client, Server::new(None), answer, chunk);
            assert_eq!(client, refused(91, "request rejected or failed"));
            assert_eq!(server, refused(91, text));
        }
    }
}

#[test]
fn a_wrong_login_and_a_missing_one_are_refused_before_anything_is_asked() {
    let wanted = login("ann", "sesame");
    let wrong = ["ann:sesamf", "ann:", "ann:sesame2", "bob:sesame", "an:nsesame"];
    let offers = wrong.map(|w| w.split_once(':').unwrap()).map(|(u, p)| Some(login(u, p)));
    for (offer, code) in offers.into_iter().map(|o| (o, 1)).chain([(None, 255)]) {
        for chunk in 1..24 {
            let to = &destinations()[0];
            let client = Client::new(Version::V5, to, 25, offer.as_ref()).unwrap();
            let (event, client, server) =
                talk(client, Server::new(Some(wanted.clone())), Answer::General, chunk);
            assert_eq!(event, None);
            for end in [client, server] {
                let Err(ProtocolError::Refused { what: "the login", code: got, .. }) = end else {
                    panic!("{end:?}")
                };
                assert_eq!(got, code);
            }
        }
    }
    // A login that nobody asked for does no harm: the server takes the way without.
    let client = Client::new(Version::V5, &destinations()[0], 25, Some(&wanted)).unwrap();
    let end = Answer::Connected("192.0.2.1:9".parse().unwrap());
    let (_, client, _) = talk(client, Server::new(None), end, 1);
    assert_eq!(client, Ok(b"welcome".into()));
}
