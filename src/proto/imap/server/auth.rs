//! Logging in: LOGIN, and AUTHENTICATE with its first response or behind it (RFC 9051 §6.2, RFC
//! 4959).

use super::words::Words;
use super::{Done, End, Failure, Imap, State};
use crate::proto::sasl::server::{Acceptance, Turn, admits, is_readable, offered};
use crate::proto::sasl::{Mechanism, decode, encode};

impl Imap {
    /// The mechanisms that may be used now.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let mut all = offered(&self.serving, self.tls);
        all.retain(|mechanism| !self.serving.hides(&format!("AUTH={}", mechanism.name())));
        if self.serving.hides("AUTH") {
            all.clear();
        }
        all
    }

    pub(super) fn login(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let user = words.astring()?;
        words.space()?;
        let password = words.astring()?;
        words.end()?;
        self.may_begin(true)?;
        if !self.may_log_in() {
            return Err(Failure::No("[PRIVACYREQUIRED] STARTTLS comes first".into()));
        }
        let accounts = std::sync::Arc::clone(&self.serving.accounts);
        let name = std::str::from_utf8(&user).ok();
        match name.filter(|name| admits(&accounts, name, &password)) {
            Some(name) => self.enter(name, "LOGIN"),
            None => Err(self.wrong("wrong name or password")),
        }
    }

    pub(super) fn authenticate(&mut self, tag: &[u8], words: &mut Words<'_>) -> Done {
        words.space()?;
        let name = words.keyword()?;
        let mechanism = Mechanism::named(&name).filter(|one| self.mechanisms().contains(one));
        let Some(mechanism) = mechanism else {
            self.may_begin(false)?;
            return Err(Failure::No("[CANNOT] this mechanism is not offered".into()));
        };
        self.may_begin(is_readable(mechanism))?;
        let initial = match words.is_over() {
            true => None,
            false => {
                words.space()?;
                match words.text() {
                    // Nothing, and not: no response (RFC 4959 §3).
                    b"=" => Some(Vec::new()),
                    text => Some(decode(text).ok_or("a response is base64")?),
                }
            }
        };
        let serving = &self.serving;
        let mut acceptance =
            Acceptance::new(mechanism, &serving.accounts, &serving.nonce, &serving.host);
        let turn = acceptance.begin(initial.as_deref());
        self.turn(tag, Box::new(acceptance), turn)
    }

    /// What the client says for itself.
    pub(super) fn response(
        &mut self,
        tag: &[u8],
        mut acceptance: Box<Acceptance>,
        text: &[u8],
    ) -> Done {
        if text == b"*" {
            return Err("the login is called off".into());
        }
        let said = decode(text).ok_or("a response is base64")?;
        let turn = acceptance.respond(&said);
        self.turn(tag, acceptance, turn)
    }

    fn turn(&mut self, tag: &[u8], acceptance: Box<Acceptance>, turn: Turn) -> Done {
        match turn {
            Turn::Challenge(octets) => {
                self.say(&format!("+ {}", encode(&octets)));
                self.state = State::Authenticating(tag.to_vec(), acceptance);
                Ok(End::Open)
            }
            Turn::Done(user) => self.enter(&user, acceptance.mechanism().name()),
            Turn::Failed(why) => Err(self.wrong(why)),
        }
    }

    /// Is this the time and the place for a login?
    fn may_begin(&mut self, shows_password: bool) -> Result<(), Failure> {
        if self.store.is_some() {
            return Err("somebody has logged in already".into());
        }
        if shows_password && !self.tls {
            self.lint("it sends a password in the clear");
        }
        Ok(())
    }

    fn wrong(&mut self, why: &str) -> Failure {
        self.story(format!("a login was refused: {why}"));
        self.errors += 1;
        Failure::No("[AUTHENTICATIONFAILED] wrong name or password".into())
    }

    fn enter(&mut self, user: &str, how: &str) -> Done {
        self.store = Some(self.stores.enter(user, false)?);
        let shown: String = user.chars().take(80).flat_map(char::escape_debug).collect();
        self.story(format!("logged in as {shown} by {how}"));
        Ok(End::Ok(format!("[CAPABILITY {}] welcome", self.capabilities())))
    }
}
