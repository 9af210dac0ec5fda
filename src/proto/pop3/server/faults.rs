//! What goes wrong on demand (`--fault`), in POP3's way, and the words that go out.

use super::command::split;
use super::outgoing::Outgoing;
use super::{Service, State};
use crate::proto::Ports;
use crate::proto::fault::{Act, What, Words};
use crate::proto::serving::Event;

/// Octets that are no reply of any protocol.
const GARBAGE: &[u8] = b"\x00\xff\x8a%=?\x1b#\x07 garbage\r\n";

/// How the reply to this command is spoiled.
#[derive(Debug, Default)]
pub(super) struct Spoil {
    /// It ends in its middle, and the connection with it.
    pub(super) cut: bool,
    /// Lines have no end.
    pub(super) endless: bool,
    /// Sizes are wrong.
    pub(super) lies: bool,
    /// Behind the go-ahead there is no TLS.
    pub(super) no_tls: bool,
    /// These follow the go-ahead for TLS.
    pub(super) smuggled: Vec<u8>,
}

impl Service {
    /// A line of ours, or half of it.
    pub(super) fn say(&mut self, ports: &mut Ports<'_>, line: &[u8]) {
        if std::mem::take(&mut self.spoil.cut) {
            self.closing = true;
            return ports.to_peer.push(&line[..line.len() / 2]);
        }
        ports.to_peer.push(line);
    }

    /// Does the fault of this command, if it has one. True if the command is to be done now.
    pub(super) fn strike(&mut self, ports: &mut Ports<'_>, line: &[u8]) -> bool {
        self.spoil = Spoil::default();
        let (name, argument) = split(line);
        let Some(what) = self.serving.faults.at(self.now, &name, argument) else { return true };
        let is_quit = name == "quit";
        match what {
            What::Reply(words) => {
                let is_login = matches!(name.as_str(), "user" | "pass" | "apop" | "auth");
                self.reply(ports, &words, is_login);
                // Whoever says QUIT waits for the end, whatever the reply.
                self.closing |= is_quit || words.code == 421;
                return false;
            }
            What::Garbage => {
                ports.to_peer.push(GARBAGE);
                self.closing |= is_quit;
                return false;
            }
            What::Act(act) => {
                if self.act(act) {
                    self.held = Some(line.to_vec());
                }
                return false;
            }
            What::Truncate => self.spoil.cut = true,
            What::Inject(octets) if name == "stls" => self.spoil.smuggled = octets,
            What::Inject(octets) => ports.to_peer.push(&octets),
            What::NoFinalDot => self.spoil.endless = true,
            What::LieSize => self.spoil.lies = true,
            What::StartTlsFail => self.spoil.no_tls = true,
            // IMAP's.
            What::WrongTag => {}
        }
        true
    }

    /// The greeting: RFC 1939 §4, with the timestamp of APOP.
    pub(super) fn greet(&mut self, ports: &mut Ports<'_>) {
        let mut is_said = false;
        if !std::mem::replace(&mut self.is_greeting_due, true) {
            match self.serving.faults.at_greeting(self.now) {
                Some(What::Reply(words)) => {
                    self.reply(ports, &words, false);
                    self.closing = words.code >= 400;
                    is_said = true;
                }
                Some(What::Garbage) => {
                    ports.to_peer.push(GARBAGE);
                    is_said = true;
                }
                Some(What::Act(act)) => {
                    self.act(act);
                    return;
                }
                Some(What::Inject(octets)) => ports.to_peer.push(&octets),
                Some(What::Truncate) => self.spoil.cut = true,
                Some(What::NoFinalDot | What::LieSize | What::StartTlsFail | What::WrongTag)
                | None => {}
            }
        }
        if !ports.peer.rest().is_empty() {
            self.lint("it spoke before the greeting");
        }
        self.state = State::Authorization { user: None };
        if !is_said {
            let timestamp = self.timestamp().map(|t| format!(" {t}")).unwrap_or_default();
            self.ok(ports, &format!("{} POP3 ready{timestamp}", self.serving.host));
        }
    }

    /// A reply that was asked for.
    fn reply(&mut self, ports: &mut Ports<'_>, words: &Words, is_login: bool) {
        match (words.code / 100, words.is_temporary()) {
            (2 | 3, _) => self.ok(ports, &words.text),
            (_, true) => self.err(ports, Some("SYS/TEMP"), &words.text),
            // Codes of SMTP for a wrong password and its kin (RFC 4954 §6).
            (_, false) if is_login && (530..540).contains(&words.code) => {
                self.err(ports, Some("AUTH"), &words.text);
            }
            (_, false) => self.err(ports, Some("SYS/PERM"), &words.text),
        }
    }

    /// The connection's part. True if there is an afterwards.
    fn act(&mut self, act: Act) -> bool {
        self.events.push_back(Event::Fault(act));
        match act {
            Act::Delay(_) | Act::Slow(_) => return true,
            Act::Hang => self.state = State::Hung,
            Act::Drop | Act::Reset => self.state = State::Over,
        }
        self.outgoing = None;
        false
    }

    /// What looks like a handshake is answered by what is none.
    pub(super) fn spoil_handshake(&mut self, ports: &mut Ports<'_>) {
        ports.peer.eat(ports.peer.rest().len());
        ports.to_peer.push(GARBAGE);
        self.state = State::Over;
    }

    /// Lines that are on their way, with what goes wrong when so many octets of a message are out.
    pub(super) fn send(&mut self, ports: &mut Ports<'_>) {
        let Some(mut outgoing) = self.outgoing.take() else { return };
        let maildrop = match &self.state {
            State::Transaction(maildrop) => Some(maildrop),
            State::Greeting
            | State::Authorization { .. }
            | State::Login(_)
            | State::Tls
            | State::NoTls
            | State::Hung
            | State::Over => None,
        };
        let (most, struck) = self.until_fault(&mut outgoing, ports.to_peer.room());
        let over = outgoing.send(maildrop, most, &mut ports.to_peer);
        if !over {
            self.outgoing = Some(outgoing);
        }
        match struck {
            Some(What::Act(act)) => {
                self.act(act);
            }
            Some(What::Truncate) => (self.outgoing, self.closing) = (None, true),
            Some(What::Reply(words)) => {
                (self.outgoing, self.closing) = (None, true);
                ports.to_peer.push(b"\r\n");
                self.reply(ports, &words, false);
            }
            Some(What::Garbage) => ports.to_peer.push(GARBAGE),
            Some(What::Inject(octets)) => ports.to_peer.push(&octets),
            Some(What::NoFinalDot) => {
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.endless = true;
                }
            }
            Some(What::LieSize | What::StartTlsFail | What::WrongTag) | None => {}
        }
    }

    /// How far a message may go, and what happens there.
    fn until_fault(&self, outgoing: &mut Outgoing, room: usize) -> (usize, Option<What>) {
        let Some(piece) = outgoing.piece(room) else { return (0, None) };
        if !self.serving.faults.watches_octets() {
            return (piece.end, None);
        }
        // One at a time: which rule strikes must not depend on how much room there is.
        for at in piece.start.max(outgoing.looked)..piece.end {
            outgoing.looked = at + 1;
            let before = at as u64;
            if let Some((_, what)) = self.serving.faults.at_octets(self.now, before, before + 1) {
                return (at, Some(what));
            }
        }
        (piece.end, None)
    }
}
