//! Our client and our server, in memory: they must understand each other.

use super::client::{Connect, ConnectEvent};
use super::gate::Gate;
use super::server::{Answer, Event, Server};
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::{Input, Machine, Output, Ports, ProtocolError, Step};
use std::rc::Rc;

/// What a machine says to the other, and what it has not read of the other's words.
#[derive(Default)]
struct Wire {
    /// Said, and not carried over yet.
    said: Vec<u8>,
    heard: Vec<u8>,
    ended: bool,
}

impl Wire {
    fn step<M: Machine>(
        &mut self,
        machine: &mut M,
        eof: bool,
    ) -> Result<Step<M::Event>, ProtocolError> {
        let (mut to_user, mut ended) = (Vec::new(), false);
        let mut ports = Ports {
            peer: Input::new(&self.heard, eof),
            to_peer: Output::new(&mut self.said, 4096, &mut self.ended),
            user: Input::new(b"", false),
            to_user: Output::new(&mut to_user, 4096, &mut ended),
        };
        let step = machine.step(&mut ports);
        let eaten = ports.peer.eaten();
        self.heard.drain(..eaten);
        step
    }

    /// Hands over at most `chunk` bytes.
    fn carry(&mut self, to: &mut Wire, chunk: usize) {
        let n = self.said.len().min(chunk);
        to.heard.extend(self.said.drain(..n));
    }
}

/// What one connection came to for the client, and what it said.
struct Outcome {
    client: Result<Step<ConnectEvent>, ProtocolError>,
    said: String,
    dialled: Option<Event>,
}

fn converse(client: &mut Connect, server: &mut Server, chunk: usize) -> Outcome {
    let (mut near, mut far) = (Wire::default(), Wire::default());
    let (mut said, mut dialled, mut server_is_over) = (String::new(), None, false);
    loop {
        let is_silent = near.heard.len() + far.said.len() == 0;
        let client = near.step(client, server_is_over && is_silent);
        if client != Ok(Step::Wait) {
            return Outcome { client, said, dialled };
        }
        said.push_str(std::str::from_utf8(&near.said).unwrap());
        while !near.said.is_empty() {
            near.carry(&mut far, chunk);
            match far.step(server, false) {
                Ok(Step::Event(event)) => {
                    dialled = Some(event);
                    server.answer(Answer::Connected);
                }
                Ok(Step::Wait) => {}
                Ok(Step::Done | Step::StartTls) => panic!("before the answer"),
                Err(error) => panic!("{error}"),
            }
        }
        server_is_over = server_is_over
            || match far.step(server, false) {
                Ok(Step::Event(event)) => panic!("{event:?}"),
                Ok(Step::Wait) => false,
                Ok(Step::Done | Step::StartTls) | Err(_) => true,
            };
        far.carry(&mut near, chunk);
    }
}

fn login(password: &str) -> Credentials {
    Credentials { user: "an \"n\\".into(), password: Secret::new(password) }
}

fn server(gate: &Rc<Gate>, now_s: u64) -> Server {
    let mut server = Server::new(Rc::clone(gate));
    server.set_now(now_s);
    server
}

const CHUNKS: [usize; 4] = [1, 2, 33, 4096];

#[test]
fn a_connection_without_a_login() {
    for chunk in CHUNKS {
        let gate = Rc::new(Gate::new(None, [0; 16]));
        let mut client = Connect::new("[::1]:443", None, "").unwrap();
        let outcome = converse(&mut client, &mut server(&gate, 0), chunk);
        assert_eq!(outcome.client, Ok(Step::Done));
        assert_eq!(outcome.dialled, Some(Event::Connect { host: "::1".into(), port: 443 }));
    }
}

#[test]
fn a_connection_with_a_digest_and_the_replay_of_it() {
    for chunk in CHUNKS {
        let gate = Rc::new(Gate::new(Some(login("pw")), [9; 16]));
        let mut client = Connect::new("a:1", Some(&login("pw")), "0123456789abcdef").unwrap();
        let first = converse(&mut client, &mut server(&gate, 100), chunk);
        assert_eq!(first.client, Ok(Step::Event(ConnectEvent::AuthenticateAndReconnect)));
        assert!(!first.said.contains("Authorization"), "{}", first.said);

        let mut client = client.retry().unwrap();
        let second = converse(&mut client, &mut server(&gate, 130), chunk);
        assert_eq!(second.client, Ok(Step::Done));
        assert!(second.said.contains("algorithm=SHA-256"), "{}", second.said);
        assert!(second.dialled.is_some());

        // Somebody has listened, and says the same.
        let replayed =
            crate::proto::play::play(&mut server(&gate, 131), second.said.as_bytes(), b"", chunk);
        let is_refused = matches!(replayed, Err((ProtocolError::Refused { code: 407, .. }, _)));
        assert!(is_refused, "{replayed:?}");
    }
}

#[test]
fn a_digest_that_comes_too_late_is_made_again() {
    let gate = Rc::new(Gate::new(Some(login("pw")), [9; 16]));
    let mut client = Connect::new("a:1", Some(&login("pw")), "0123456789abcdef").unwrap();
    for now_s in [100, 161] {
        let outcome = converse(&mut client, &mut server(&gate, now_s), 5);
        assert_eq!(outcome.client, Ok(Step::Event(ConnectEvent::AuthenticateAndReconnect)));
        client = client.retry().unwrap();
    }
    assert_eq!(converse(&mut client, &mut server(&gate, 170), 5).client, Ok(Step::Done));
}

#[test]
fn a_wrong_password_is_refused_once_and_for_all() {
    let gate = Rc::new(Gate::new(Some(login("pw")), [9; 16]));
    let mut client = Connect::new("a:1", Some(&login("pW")), "0123456789abcdef").unwrap();
    converse(&mut client, &mut server(&gate, 1), 5).client.unwrap();
    let mut client = client.retry().unwrap();
    let outcome = converse(&mut client, &mut server(&gate, 1), 5);
    let text = b"Proxy Authentication Required".to_vec();
    let refused = ProtocolError::Refused { what: "the login", code: 407, text };
    assert_eq!((outcome.client, outcome.dialled), (Err(refused), None));
    assert!(client.retry().is_none());
}

#[test]
fn a_connection_with_basic() {
    // A proxy in front of ours that passes only Basic on.
    let reply = b"HTTP/1.0 407 x\r\nProxy-Authenticate: Basic realm=\"Ncat\"\r\n\r\n";
    for (password, expected) in [("pw", true), ("pW", false)] {
        let mut client = Connect::new("a:1", Some(&login(password)), "").unwrap();
        crate::proto::play::play(&mut client, reply, b"", 5).unwrap_err();
        let mut client = client.retry().unwrap();
        let gate = Rc::new(Gate::new(Some(login("pw")), [9; 16]));
        let outcome = converse(&mut client, &mut server(&gate, 1), 5);
        assert!(outcome.said.contains("Proxy-Authorization: Basic "), "{}", outcome.said);
        assert_eq!(outcome.client == Ok(Step::Done), expected, "{:?}", outcome.client);
    }
}
