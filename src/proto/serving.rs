//! What mock mail servers have in common, whatever the protocol: who they are, whom they let in,
//! what they tell the mode that runs them.

use super::fault::{Act, Faults};
use super::sasl::{Mechanism, Secret};
use super::store::Refusal;
use super::{Machine, Ports, ProtocolError, Step};
use core::net::SocketAddr;
// A length of time is no clock.
use core::time::Duration;
use std::sync::Arc;

/// Whether a caller can, or has to, protect the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// TLS from the first byte: it is on.
    On,
    /// STARTTLS (STLS) is offered.
    Offered,
    /// It is offered, and nothing that matters is done before it.
    Required,
    /// There is none (`--no-starttls`).
    Never,
}

/// Who may log in.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// Name and password of each; if there is none, everybody may with any password.
    pub users: Vec<(String, Secret)>,
    /// The mechanisms that may be used (`--auth-mech`); if not given, all.
    pub only: Option<Vec<Mechanism>>,
}

/// What a server goes by: the same for every caller, but for `loopback`, `nonce` and `number`.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The name in the greeting.
    pub host: String,
    /// TLS.
    pub protection: Protection,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// The caller is on this machine, so that a password in the clear goes past nobody.
    pub loopback: bool,
    /// Capabilities that are not announced, nor granted (`--no-ext`), in upper case.
    pub without: Arc<Vec<String>>,
    /// The most octets of a message (`--max-size`).
    pub most_octets: u64,
    /// What is to go wrong.
    pub faults: Arc<Faults>,
    /// Printable text that nobody can foresee, for this caller's challenges.
    pub nonce: String,
    /// Which caller of this server it is, from 1.
    pub number: u64,
    /// Who calls, if a proxy in front of us says so (PROXY).
    pub client: Option<SocketAddr>,
}

impl Serving {
    /// Is this capability hidden?
    pub fn hides(&self, capability: &str) -> bool {
        self.without.iter().any(|hidden| hidden.eq_ignore_ascii_case(capability))
    }
}

/// A message that has come whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// What the caller said in HELO, EHLO or LHLO.
    pub helo: String,
    /// The protocol as a Received field names it (RFC 3848): `ESMTPSA`, `LMTP`...
    pub with: &'static str,
    /// Who logged in, and by which mechanism.
    pub login: Option<(String, &'static str)>,
    /// The sender; nobody if empty.
    pub from: String,
    /// The parameters of MAIL, as they were said.
    pub parameters: Vec<String>,
    /// The recipients, each with the parameters of its RCPT.
    pub to: Vec<(String, Vec<String>)>,
    /// The caller as XCLIENT or PROXY names him: address, and name if there is one.
    pub client: Option<(String, Option<String>)>,
    /// The octets as they came, without dot-stuffing.
    pub content: Vec<u8>,
    /// What a real server would have punished.
    pub lint: Vec<String>,
}

/// What the mode is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A message is complete: it is to be kept, and [`Server::answer`] says what came of it.
    Message(Box<Delivery>),
    /// For `-v`: what happened, in one line. Raw words of the caller's are escaped.
    Story(String),
    /// The caller did what a real server would punish: half a sentence.
    Lint(String),
    /// A fault that the machine cannot do alone. It is asked to go on afterwards, if there is an
    /// afterwards.
    Fault(Act),
    /// Something in a mailbox has changed by what this caller did.
    Changed,
}

/// A mail server, for one caller.
pub trait Server: Machine<Event = Event> {
    /// The time that has gone by since the server began: for faults that count by seconds.
    fn set_now(&mut self, now: Duration);

    /// What became of the message: its name for each recipient, in their order, or why not. Asked
    /// for by [`Event::Message`]; where one reply serves for all, the first refusal is told.
    fn answer(&mut self, _outcome: Vec<Result<String, Refusal>>) {}

    /// Does it want a [`Server::nudge`] now and then, because somebody waits for news?
    fn waits_for_news(&self) -> bool {
        false
    }

    /// Somebody else may have changed the mailbox: look at the next step.
    fn nudge(&mut self) {}

    /// Nothing has come for too long: the next step says good-bye and ends.
    fn time_out(&mut self);
}

impl Machine for Box<dyn Server> {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        (**self).step(ports)
    }
}
