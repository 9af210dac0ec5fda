//! The AUTHORIZATION state (RFC 1939 §4): who it is, and whether he may in.

use super::command::Command;
use super::maildrop::{Maildrop, code};
use super::outgoing::Outgoing;
use super::transaction::messages;
use super::{MOST_FAILURES, Service, State};
use crate::proto::Ports;
use crate::proto::sasl::server::{
    Acceptance, Turn, admits, is_readable, is_same, known_as, offered,
};
use crate::proto::sasl::{Mechanism, decode, encode};
use crate::proto::serving::{Protection, Serving};
use md5::{Digest, Md5};

impl Service {
    pub(super) fn authorize(
        &mut self,
        ports: &mut Ports<'_>,
        user: Option<String>,
        command: Command<'_>,
    ) {
        self.state = State::Authorization { user: None };
        let mechanisms = self.mechanisms();
        match command {
            Command::User(_) | Command::Pass(_) | Command::Apop(..) | Command::Auth(Some(_), _)
                if self.is_too_early() =>
            {
                self.lint("it wants to log in before TLS, which is required");
                self.err(ports, Some("SYS/PERM"), "TLS comes first: STLS");
            }
            Command::User(_) | Command::Pass(_) if !self.may_say_password(&mechanisms) => {
                self.lint("it wants to say a password where none may be said");
                self.err(ports, Some("SYS/PERM"), "no password is taken here, see CAPA");
            }
            Command::User(name) => match std::str::from_utf8(name) {
                Ok(name) if !name.chars().any(char::is_control) => {
                    self.state = State::Authorization { user: Some(name.to_owned()) };
                    self.ok(ports, "and the password?");
                }
                Ok(_) | Err(_) => self.wrong(ports, "this is no name"),
            },
            Command::Pass(password) => match user {
                Some(user) => {
                    self.lint_readable("PASS");
                    match admits(&self.serving.accounts, &user, password) {
                        true => self.admit(ports, &user, "PASS"),
                        false => self.fail(ports, &format!("the login of {user:?} by PASS"), None),
                    }
                }
                None => self.wrong(ports, "USER comes first"),
            },
            Command::Apop(user, digest) => self.apop(ports, user, digest),
            Command::Auth(None, _) => {
                // Older than CAPA, and still asked by some.
                let names = mechanisms.iter().map(|mechanism| mechanism.name().to_owned());
                let lines = Outgoing::lines(names.collect());
                self.list(ports, "mechanisms follow", lines);
            }
            Command::Auth(Some(name), initial) => self.auth(ports, &mechanisms, name, initial),
            Command::Capa => {
                self.state = State::Authorization { user };
                self.capabilities(ports, false);
            }
            Command::Stls if self.secure => self.wrong(ports, "TLS is on already"),
            Command::Stls if !self.can_upgrade() => self.wrong(ports, "there is no TLS here"),
            Command::Stls => {
                if self.utf8 {
                    self.lint("STLS comes before UTF8 (RFC 6856)");
                }
                self.ok(ports, "begin TLS");
                ports.to_peer.push(&std::mem::take(&mut self.spoil.smuggled));
                self.state = if self.spoil.no_tls { State::NoTls } else { State::Tls };
            }
            Command::Utf8 => {
                self.utf8 = true;
                self.ok(ports, "UTF-8 it is");
            }
            Command::Quit => {
                self.closing = true;
                self.ok(ports, "good-bye");
            }
            Command::Stat
            | Command::List(_)
            | Command::Uidl(_)
            | Command::Retr(_)
            | Command::Top(..)
            | Command::Dele(_)
            | Command::Noop
            | Command::Rset => {
                self.state = State::Authorization { user };
                self.wrong(ports, "it is for after the login");
            }
        }
    }

    /// The mechanisms that may be used now.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        offered(&self.serving, self.secure)
    }

    /// USER and PASS show as much as PLAIN and LOGIN do, so they stand and fall with those.
    pub(super) fn may_say_password(&self, mechanisms: &[Mechanism]) -> bool {
        mechanisms.contains(&Mechanism::Plain) || mechanisms.contains(&Mechanism::Login)
    }

    fn is_too_early(&self) -> bool {
        self.serving.protection == Protection::Required && !self.secure
    }

    /// What a caller of APOP digests with the password: only where a password is known.
    pub(super) fn timestamp(&self) -> Option<String> {
        let accounts = &self.serving.accounts;
        let only = accounts.only.as_ref();
        // APOP is no mechanism; it is as strong as this one.
        let may = only.is_none_or(|only| only.contains(&Mechanism::CramMd5));
        let plain =
            |text: &str| text.replace(|c: char| !c.is_ascii_graphic() || "<>@".contains(c), "-");
        (may && !accounts.users.is_empty() && !self.serving.hides("APOP"))
            .then(|| format!("<{}@{}>", plain(&self.serving.nonce), plain(&self.serving.host)))
    }

    fn apop(&mut self, ports: &mut Ports<'_>, user: &[u8], digest: &[u8]) {
        let Some(timestamp) = self.timestamp() else {
            return self.wrong(ports, "there was no timestamp for APOP in the greeting");
        };
        let Ok(user) = std::str::from_utf8(user) else {
            return self.wrong(ports, "this is no name");
        };
        let known = known_as(&self.serving.accounts, user);
        let secret = known.map_or(timestamp.as_bytes(), |secret| secret.bytes());
        let right = Md5::new().chain_update(timestamp.as_bytes()).chain_update(secret).finalize();
        let right: String = right.iter().map(|byte| format!("{byte:02x}")).collect();
        let same = is_same(right.as_bytes(), &digest.to_ascii_lowercase());
        match same & known.is_some() {
            true => self.admit(ports, user, "APOP"),
            false => self.fail(ports, &format!("the login of {user:?} by APOP"), None),
        }
    }

    /// RFC 5034.
    fn auth(
        &mut self,
        ports: &mut Ports<'_>,
        mechanisms: &[Mechanism],
        name: &[u8],
        initial: Option<&[u8]>,
    ) {
        let named = std::str::from_utf8(name).ok().and_then(Mechanism::named);
        if let Some(mechanism) = named {
            self.lint_readable_mechanism(mechanism);
        }
        let Some(mechanism) = named.filter(|named| mechanisms.contains(named)) else {
            return match named.is_some_and(|named| is_readable(named) && !self.secure) {
                true => self.wrong(ports, "not offered, or not before TLS: see CAPA"),
                false => self.wrong(ports, "there is no such mechanism here, see CAPA"),
            };
        };
        let initial = match initial {
            None => None,
            // An empty one (RFC 5034 §4).
            Some(b"=") => Some(Vec::new()),
            Some(text) => match decode(text) {
                Some(octets) => Some(octets),
                None => return self.wrong(ports, "the response is no base64"),
            },
        };
        self.logins += 1;
        let nonce = format!("{}.{}", self.serving.nonce, self.logins);
        let Serving { accounts, host, .. } = &self.serving;
        let mut acceptance = Acceptance::new(mechanism, accounts, &nonce, host);
        let turn = acceptance.begin(initial.as_deref());
        self.turn(ports, acceptance, turn);
    }

    /// An answer to a challenge.
    pub(super) fn respond(&mut self, ports: &mut Ports<'_>, line: &[u8]) {
        let before = std::mem::replace(&mut self.state, State::Authorization { user: None });
        let State::Login(mut acceptance) = before else { return };
        if line == b"*" {
            return self.err(ports, None, "the login is called off");
        }
        match decode(line) {
            Some(response) => {
                let turn = acceptance.respond(&response);
                self.turn(ports, acceptance, turn);
            }
            None => self.wrong(ports, "the response is no base64"),
        }
    }

    fn turn(&mut self, ports: &mut Ports<'_>, acceptance: Acceptance, turn: Turn) {
        let name = acceptance.mechanism().name();
        match turn {
            Turn::Challenge(octets) => {
                self.state = State::Login(acceptance);
                self.say(ports, format!("+ {}\r\n", encode(&octets)).as_bytes());
            }
            Turn::Done(user) => self.admit(ports, &user, name),
            Turn::Failed(why) => self.fail(ports, &format!("a login by {name}"), Some(why)),
        }
    }

    /// The password was right: is the maildrop free?
    fn admit(&mut self, ports: &mut Ports<'_>, user: &str, how: &str) {
        match Maildrop::enter(self.stores.as_mut(), user) {
            Ok(maildrop) => {
                let (count, size) = maildrop.count();
                let any = match self.serving.accounts.users.is_empty() {
                    true => " (there are no accounts: anybody may)",
                    false => "",
                };
                self.story(format!("{user:?} has logged in by {how}{any}"));
                self.ok(ports, &format!("{} ({size} octets)", messages(count)));
                self.state = State::Transaction(maildrop);
            }
            Err(refusal) => {
                self.story(format!("{user:?} has logged in by {how}, in vain: {refusal}"));
                self.err(ports, Some(code(&refusal)), &refusal.to_string());
            }
        }
    }

    fn fail(&mut self, ports: &mut Ports<'_>, what: &str, why: Option<&str>) {
        self.failures += 1;
        let why = why.unwrap_or("the password is wrong, or nobody has this name");
        self.story(format!("{what} has failed: {why}"));
        if self.failures >= MOST_FAILURES {
            self.story(format!("{MOST_FAILURES} logins have failed: it is left"));
            self.closing = true;
            return self.err(ports, Some("AUTH"), "too many logins have failed, good-bye");
        }
        self.err(ports, Some("AUTH"), "the login is refused");
    }

    fn lint_readable_mechanism(&mut self, mechanism: Mechanism) {
        if is_readable(mechanism) {
            self.lint_readable(mechanism.name());
        }
    }

    fn lint_readable(&mut self, how: &str) {
        if !self.secure {
            self.lint(format!("a login by {how} without TLS: who listens has the password"));
        }
    }
}
