//! What goes wrong on demand (`--fault`), in IMAP's way.

use super::session::{no, ok};
use super::{Service, State, named, tag_of};
use crate::proto::Ports;
use crate::proto::fault::{Act, What, Words};
use crate::proto::serving::Event;

/// Octets that are no answer of any protocol.
const GARBAGE: &[u8] = b"\x00\xff\x8a%=?\x1b#\x07 garbage\r\n";

/// How the answer to this command is spoiled.
#[derive(Debug, Default)]
pub(super) struct Spoil {
    /// It ends in its middle, and the connection with it.
    cut: bool,
    /// The tagged line is missing.
    pub(super) endless: bool,
    /// It has a tag that nobody has said.
    pub(super) wrong_tag: bool,
    /// Sizes are wrong.
    pub(super) lies: bool,
    /// Behind the go-ahead there is no TLS.
    pub(super) no_tls: bool,
    /// These follow the go-ahead for TLS.
    smuggled: Vec<u8>,
}

impl Service {
    /// Does the fault of this command, if it has one. True if the command is to be done now.
    pub(super) fn strike(&mut self, command: &[u8]) -> bool {
        self.spoil = Spoil::default();
        let (name, argument) = named(command);
        let Some(what) = self.serving.faults.at(self.now, &name, argument) else { return true };
        let is_end = name == "logout";
        match what {
            What::Reply(words) => {
                let is_login = matches!(name.as_str(), "login" | "authenticate");
                self.reply(&tag_of(command), &words, is_login);
                // Whoever says LOGOUT waits for the end, whatever the answer.
                self.closing |= is_end;
                return false;
            }
            What::Garbage => {
                self.out.push(GARBAGE);
                self.closing |= is_end;
                return false;
            }
            What::Act(act) => {
                if self.act(act) {
                    self.held = Some(command.to_vec());
                }
                return false;
            }
            What::Truncate => self.spoil.cut = true,
            What::Inject(octets) if name == "starttls" => self.spoil.smuggled = octets,
            What::Inject(octets) => self.out.push(&octets),
            What::NoFinalDot => self.spoil.endless = true,
            What::WrongTag => self.spoil.wrong_tag = true,
            What::LieSize => self.spoil.lies = true,
            What::StartTlsFail => self.spoil.no_tls = true,
        }
        true
    }

    /// Behind the answer to a command: the second half of it goes, or something comes.
    pub(super) fn cut(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if std::mem::take(&mut self.spoil.cut) {
            self.out.halve();
            (self.fetching, self.closing) = (None, true);
        }
        if matches!(self.state, State::Tls | State::NoTls) {
            let smuggled = std::mem::take(&mut self.spoil.smuggled);
            self.out.push(&smuggled);
        }
    }

    pub(super) fn greet(&mut self, ports: &mut Ports<'_>) {
        let mut is_said = false;
        if !std::mem::replace(&mut self.is_greeting_due, true) {
            match self.serving.faults.at_greeting(self.now) {
                Some(What::Reply(words)) => {
                    self.closing = words.code >= 400;
                    let status = if self.closing { "BYE" } else { "OK" };
                    self.out.text(&format!("* {status} {}\r\n", words.text));
                    is_said = true;
                }
                Some(What::Garbage) => {
                    self.out.push(GARBAGE);
                    is_said = true;
                }
                Some(What::Act(act)) => {
                    self.act(act);
                    return;
                }
                Some(What::Inject(octets)) => self.out.push(&octets),
                Some(What::Truncate) => self.spoil.cut = true,
                Some(What::NoFinalDot | What::LieSize | What::StartTlsFail | What::WrongTag)
                | None => {}
            }
        }
        if !ports.peer.rest().is_empty() {
            self.lint("it spoke before the greeting");
        }
        self.state = State::Open;
        if !is_said {
            let (capabilities, host) = (self.capabilities(), &self.serving.host);
            self.out.text(&format!("* OK [CAPABILITY {capabilities}] {host} IMAP ready\r\n"));
        }
        self.cut();
    }

    /// An answer that was asked for.
    fn reply(&mut self, tag: &str, words: &Words, is_login: bool) {
        let text = &words.text;
        if words.code == 421 {
            self.out.text(&format!("* BYE {text}\r\n"));
            self.closing = true;
            return;
        }
        let done = match (words.code / 100, words.is_temporary()) {
            (2 | 3, _) => ok(text),
            (_, true) => no(format!("[UNAVAILABLE] {text}")),
            // Codes of SMTP for a wrong password and its kin (RFC 4954 §6).
            (_, false) if is_login && (530..540).contains(&words.code) => {
                no(format!("[AUTHENTICATIONFAILED] {text}"))
            }
            (_, false) => no(text),
        };
        self.answer(tag, done);
    }

    /// The connection's part. True if there is an afterwards.
    fn act(&mut self, act: Act) -> bool {
        self.events.push_back(Event::Fault(act));
        match act {
            Act::Delay(_) | Act::Slow(_) => return true,
            Act::Hang => self.state = State::Hung,
            Act::Drop | Act::Reset => self.state = State::Over,
        }
        self.fetching = None;
        self.out.clear();
        false
    }

    /// What looks like a handshake is answered by what is none.
    pub(super) fn spoil_handshake(&mut self, ports: &mut Ports<'_>) {
        ports.peer.eat(ports.peer.rest().len());
        ports.to_peer.push(GARBAGE);
        self.state = State::Over;
    }

    /// What is on its way, with what goes wrong when so many octets of a message are out.
    pub(super) fn send(&mut self, ports: &mut Ports<'_>) {
        let (most, struck) = self.until_fault(ports.to_peer.room());
        self.out.send(most, &mut ports.to_peer);
        match struck {
            Some(What::Act(act)) => {
                self.act(act);
            }
            Some(What::Truncate) => {
                self.out.clear();
                (self.fetching, self.closing) = (None, true);
            }
            Some(What::Reply(words)) => {
                self.out.clear();
                (self.fetching, self.closing) = (None, true);
                self.out.text(&format!("\r\n* BYE {}\r\n", words.text));
            }
            Some(What::Garbage) => self.out.push_front(GARBAGE),
            Some(What::Inject(octets)) => self.out.push_front(&octets),
            Some(What::NoFinalDot) => self.spoil.endless = true,
            Some(What::WrongTag) => self.spoil.wrong_tag = true,
            Some(What::LieSize | What::StartTlsFail) | None => {}
        }
    }

    /// How far a message may go, and what happens there.
    fn until_fault(&mut self, room: usize) -> (usize, Option<What>) {
        if !self.serving.faults.watches_octets() {
            return (usize::MAX, None);
        }
        let Some(left) = self.out.next_of_content() else { return (usize::MAX, None) };
        let end = self.out.sent + left.min(room) as u64;
        // One at a time: which rule strikes must not depend on how much room there is.
        for at in self.out.sent.max(self.out.looked)..end {
            self.out.looked = at + 1;
            if let Some((_, what)) = self.serving.faults.at_octets(self.now, at, at + 1) {
                return (usize::try_from(at - self.out.sent).unwrap_or(0), Some(what));
            }
        }
        (usize::MAX, None)
    }
}
