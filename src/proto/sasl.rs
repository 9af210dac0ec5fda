//! Logging in (SASL, RFC 4422): PLAIN (RFC 4616) and LOGIN, which is older than any RFC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A password: it can be sent, and it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// What it is, for the line that carries it and for comparing; never to be shown.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who logs in, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Mechanisms that are spoken here, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// User and password, one after the other.
    Login,
}

impl Mechanism {
    /// The better of those that the words of an AUTH capability name.
    pub fn best<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut best = None;
        for word in offered {
            if word.eq_ignore_ascii_case("PLAIN") {
                return Some(Mechanism::Plain);
            }
            if word.eq_ignore_ascii_case("LOGIN") {
                best = Some(Mechanism::Login);
            }
        }
        best
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// What goes out with the command itself, in base64, if the mechanism begins.
    pub fn initial(self, credentials: &Credentials) -> Option<String> {
        match self {
            Mechanism::Plain => {
                let user = credentials.user.as_bytes();
                let message = [b"", user, credentials.password.0.as_slice()].join(&0);
                Some(STANDARD.encode(message))
            }
            Mechanism::Login => None,
        }
    }

    /// The answer to challenge number `n` (from 0), in base64; `None` past the last.
    pub fn answer(self, credentials: &Credentials, n: usize) -> Option<String> {
        match (self, n) {
            (Mechanism::Login, 0) => Some(STANDARD.encode(&credentials.user)),
            (Mechanism::Login, 1) => Some(STANDARD.encode(&credentials.password.0)),
            (Mechanism::Login | Mechanism::Plain, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tim() -> Credentials {
        Credentials { user: "tim".into(), password: Secret::new("tanstaaftanstaaf") }
    }

    /// The example of RFC 4616 §4, in base64.
    #[test]
    fn plain_is_as_the_rfc_has_it() {
        let message = Mechanism::Plain.initial(&tim()).unwrap();
        assert_eq!(STANDARD.decode(message).unwrap(), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(Mechanism::Plain.answer(&tim(), 0), None);
    }

    #[test]
    fn login_answers_twice() {
        assert_eq!(Mechanism::Login.initial(&tim()), None);
        assert_eq!(Mechanism::Login.answer(&tim(), 0).unwrap(), "dGlt");
        assert_eq!(Mechanism::Login.answer(&tim(), 1).unwrap(), "dGFuc3RhYWZ0YW5zdGFhZg==");
        assert_eq!(Mechanism::Login.answer(&tim(), 2), None);
    }

    #[test]
    fn the_better_one_wins_and_a_secret_is_never_printed() {
        assert_eq!(Mechanism::best(["LOGIN", "plain"]), Some(Mechanism::Plain));
        assert_eq!(Mechanism::best(["CRAM-MD5", "Login"]), Some(Mechanism::Login));
        assert_eq!(Mechanism::best(["GSSAPI"]), None);
        assert!(!format!("{:?}", tim()).contains("tanstaaf"));
    }
}
