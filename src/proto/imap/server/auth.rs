//! Logging in: LOGIN, and AUTHENTICATE with PLAIN (RFC 9051 §6.2, RFC 4616, RFC 4959).

use super::super::super::sasl::Mechanism;
use super::words::Words;
use super::{Done, End, Failure, Imap, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

impl Imap {
    /// May PLAIN be used, as far as the mechanisms were named?
    pub(super) fn takes_plain(&self) -> bool {
        let only = &self.serving.accounts.only;
        let named = only.as_ref().is_none_or(|only| only.contains(&Mechanism::Plain));
        named && !self.serving.hides("AUTH=PLAIN")
    }

    pub(super) fn login(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let user = words.astring()?;
        words.space()?;
        let password = words.astring()?;
        words.end()?;
        self.may_begin()?;
        self.admit(&user, &password, "LOGIN")
    }

    pub(super) fn authenticate(&mut self, tag: &[u8], words: &mut Words<'_>) -> Done {
        words.space()?;
        let mechanism = words.keyword()?;
        self.may_begin()?;
        if mechanism != "PLAIN" || !self.takes_plain() {
            return Err(Failure::No("[CANNOT] this mechanism is not offered".into()));
        }
        if words.is_over() {
            self.say("+ ");
            self.state = State::Authenticating(tag.to_vec());
            return Ok(End::Open);
        }
        words.space()?;
        self.response(words.text())
    }

    /// What the client says for itself.
    pub(super) fn response(&mut self, text: &[u8]) -> Done {
        if text == b"*" {
            return Err("the login is called off".into());
        }
        let said = STANDARD.decode(text).map_err(|_| "a response is base64")?;
        let mut parts = said.split(|octet| *octet == 0);
        // In whose name it acts is not ours to look at: everybody acts in his own.
        let (_, user, password) = (parts.next(), parts.next(), parts.next());
        let (Some(user), Some(password), None) = (user, password, parts.next()) else {
            return Err("PLAIN is a name and a password".into());
        };
        self.admit(user, password, "PLAIN")
    }

    /// Is this the time and the place for a password?
    fn may_begin(&mut self) -> Result<(), Failure> {
        if self.store.is_some() {
            return Err("somebody has logged in already".into());
        }
        if !self.tls {
            self.lint("it sends a password in the clear");
        }
        if self.may_log_in() {
            return Ok(());
        }
        Err(Failure::No("[PRIVACYREQUIRED] STARTTLS comes first".into()))
    }

    fn admit(&mut self, user: &[u8], password: &[u8], how: &str) -> Done {
        let users = &self.serving.accounts.users;
        let is_admitted = users.is_empty()
            || users
                .iter()
                .any(|(name, secret)| name.as_bytes() == user && secret.bytes() == password);
        let shown = user[..user.len().min(80)].escape_ascii().to_string();
        let name = std::str::from_utf8(user).ok().filter(|_| is_admitted);
        let Some(name) = name else {
            self.story(format!("{shown} may not log in: wrong name or password"));
            self.errors += 1;
            return Err(Failure::No("[AUTHENTICATIONFAILED] wrong name or password".into()));
        };
        self.store = Some(self.stores.enter(name, false)?);
        self.story(format!("{shown} logs in with {how}"));
        Ok(End::Ok(format!("[CAPABILITY {}] welcome", self.capabilities())))
    }
}
