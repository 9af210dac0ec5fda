//! Before the login (RFC 9051 §6.2): who it is, and whether he may in.

use super::session::{Answer, Done, Session, no, ok, refused};
use super::words::Words;
use super::{MOST_FAILURES, Service, State};
use crate::proto::sasl::server::{Acceptance, Turn, admits, is_readable, offered};
use crate::proto::sasl::{Mechanism, decode, encode};
use crate::proto::serving::{Protection, Serving};

impl Service {
    /// The mechanisms that may be used now.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        match self.serving.hides("AUTH") {
            true => Vec::new(),
            false => offered(&self.serving, self.secure),
        }
    }

    /// LOGIN shows as much as PLAIN and LOGIN's mechanism do, so it stands and falls with those.
    pub(super) fn may_say_password(&self) -> bool {
        let mechanisms = offered(&self.serving, self.secure);
        mechanisms.contains(&Mechanism::Plain) || mechanisms.contains(&Mechanism::Login)
    }

    fn is_too_early(&self) -> bool {
        self.serving.protection == Protection::Required && !self.secure
    }

    pub(super) fn starttls(&mut self, words: &mut Words<'_>) -> Done {
        words.end()?;
        if self.secure {
            return Err("TLS is on already");
        }
        if !self.can_upgrade() {
            return Err("there is no TLS here");
        }
        self.state = if self.spoil.no_tls { State::NoTls } else { State::Tls };
        ok("begin TLS")
    }

    pub(super) fn login(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let user = words.astring()?;
        words.space()?;
        let password = words.astring()?;
        words.end()?;
        if self.is_too_early() {
            self.lint("it wants to log in before TLS, which is required");
            return no("[PRIVACYREQUIRED] TLS comes first: STARTTLS");
        }
        if !self.may_say_password() {
            self.lint("it wants to say a password where none may be said");
            return no("[PRIVACYREQUIRED] no password is taken here, see CAPABILITY");
        }
        let Some(user) = std::str::from_utf8(&user)
            .ok()
            .filter(|user| !user.is_empty() && !user.chars().any(char::is_control))
        else {
            return Err("this is no name");
        };
        self.lint_readable("LOGIN");
        match admits(&self.serving.accounts, user, &password) {
            true => self.admit(user, "LOGIN"),
            false => self.fail(&format!("the login of {user:?} by LOGIN"), None),
        }
    }

    /// AUTHENTICATE, with an initial response (RFC 4959) or without.
    pub(super) fn authenticate(&mut self, tag: &str, words: &mut Words<'_>) -> Done {
        words.space()?;
        let name = words.atom()?;
        let mut initial = None;
        if words.peek() == Some(b' ') {
            words.space()?;
            initial = match words.rest() {
                // An empty one.
                b"=" => Some(Vec::new()),
                text => Some(decode(text).ok_or("the response is no base64")?),
            };
        }
        if self.is_too_early() {
            self.lint("it wants to log in before TLS, which is required");
            return no("[PRIVACYREQUIRED] TLS comes first: STARTTLS");
        }
        let named = Mechanism::named(&name.to_ascii_uppercase());
        if let Some(mechanism) = named
            && is_readable(mechanism)
        {
            self.lint_readable(mechanism.name());
        }
        let mechanisms = self.mechanisms();
        let Some(mechanism) = named.filter(|named| mechanisms.contains(named)) else {
            return match named.is_some_and(|named| is_readable(named) && !self.secure) {
                true => no("[PRIVACYREQUIRED] not offered, or not before TLS: see CAPABILITY"),
                false => no("[CANNOT] there is no such mechanism here, see CAPABILITY"),
            };
        };
        self.logins += 1;
        let nonce = format!("{}.{}", self.serving.nonce, self.logins);
        let Serving { accounts, host, .. } = &self.serving;
        let mut acceptance = Acceptance::new(mechanism, accounts, &nonce, host);
        let turn = acceptance.begin(initial.as_deref());
        self.turn(tag, acceptance, turn)
    }

    /// An answer to a challenge; nothing, if the line was too long.
    pub(super) fn respond(&mut self, line: Option<&[u8]>) {
        let before = std::mem::replace(&mut self.state, State::Open);
        let State::Login(tag, mut acceptance) = before else { return };
        let done = match line {
            Some(b"*") => Err("the login is called off"),
            Some(line) => match decode(line) {
                Some(response) => {
                    let turn = acceptance.respond(&response);
                    self.turn(&tag, acceptance, turn)
                }
                None => Err("the response is no base64"),
            },
            None => Err("the response is too long"),
        };
        self.answer(&tag, done);
    }

    fn turn(&mut self, tag: &str, acceptance: Acceptance, turn: Turn) -> Done {
        let name = acceptance.mechanism().name();
        match turn {
            Turn::Challenge(octets) => {
                self.state = State::Login(tag.to_owned(), acceptance);
                self.out.text(&format!("+ {}\r\n", encode(&octets)));
                Ok(Answer::Later)
            }
            Turn::Done(user) => self.admit(&user, name),
            Turn::Failed(why) => self.fail(&format!("a login by {name}"), Some(why)),
        }
    }

    fn admit(&mut self, user: &str, how: &str) -> Done {
        match self.stores.enter(user, false) {
            Ok(store) => {
                let any = match self.serving.accounts.users.is_empty() {
                    true => " (there are no accounts: anybody may)",
                    false => "",
                };
                self.story(format!("{user:?} has logged in by {how}{any}"));
                self.session = Some(Session {
                    store,
                    selected: None,
                    rev2: false,
                    utf8: false,
                    most_octets: self.serving.most_octets,
                    changed: false,
                });
                ok(format!("[CAPABILITY {}] logged in", self.capabilities()))
            }
            Err(refusal) => {
                self.story(format!("{user:?} has logged in by {how}, in vain: {refusal}"));
                refused(&refusal)
            }
        }
    }

    fn fail(&mut self, what: &str, why: Option<&str>) -> Done {
        self.failures += 1;
        let why = why.unwrap_or("the password is wrong, or nobody has this name");
        self.story(format!("{what} has failed: {why}"));
        if self.failures >= MOST_FAILURES {
            self.story(format!("{MOST_FAILURES} logins have failed: it is left"));
            self.out.text("* BYE too many logins have failed\r\n");
            self.closing = true;
        }
        no("[AUTHENTICATIONFAILED] the login is refused")
    }

    fn lint_readable(&mut self, how: &str) {
        if !self.secure {
            self.lint(format!("a login by {how} without TLS: who listens has the password"));
        }
    }
}
