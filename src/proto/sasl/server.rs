//! Letting somebody in (SASL, RFC 4422): the server's side of the mechanisms.

use super::scram::Hash;
use super::verifier::{Verifier, unquote};
use super::{Mechanism, Secret, cram};
use crate::proto::serving::{Accounts, Protection, Serving};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Who logs in without saying who.
const ANYBODY: &str = "anonymous";

/// Characters that somebody without a name may say about himself (RFC 4505 §2).
const LONGEST_TRACE: usize = 255;

const WRONG: Turn = Turn::Failed("the password is wrong, or nobody has this name");

/// What comes of what the client has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This is to be answered: octets, not base64.
    Challenge(Vec<u8>),
    /// This user is in.
    Done(String),
    /// Nobody is: why, in half a sentence that is for `-v` and not for the client.
    Failed(&'static str),
}

/// How far it has come.
#[derive(Debug, Clone)]
enum State {
    /// What the client says first is to come.
    First,
    /// LOGIN: the password of this user is.
    Password(Vec<u8>),
    /// A token is refused, in words; the client says something, and then it is over.
    Explained,
    Scram(Verifier),
    Over,
}

/// One login under way, at the server.
#[derive(Debug, Clone)]
pub struct Acceptance {
    mechanism: Mechanism,
    accounts: Arc<Accounts>,
    /// CRAM-MD5's.
    challenge: String,
    state: State,
}

impl Acceptance {
    /// A login with `mechanism`; `nonce` is printable, and nobody can foresee it.
    pub fn new(mechanism: Mechanism, accounts: &Arc<Accounts>, nonce: &str, host: &str) -> Self {
        let state = match mechanism {
            Mechanism::ScramSha256 => State::Scram(Verifier::new(Hash::Sha256, accounts, nonce)),
            Mechanism::ScramSha1 => State::Scram(Verifier::new(Hash::Sha1, accounts, nonce)),
            Mechanism::CramMd5
            | Mechanism::OAuthBearer
            | Mechanism::XOAuth2
            | Mechanism::Plain
            | Mechanism::Login
            | Mechanism::External
            | Mechanism::Anonymous => State::First,
        };
        let challenge = format!("<{nonce}@{host}>");
        Self { mechanism, accounts: Arc::clone(accounts), challenge, state }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Begins: with the decoded initial response, if one came.
    pub fn begin(&mut self, initial: Option<&[u8]>) -> Turn {
        if needs_accounts(self.mechanism) && self.accounts.users.is_empty() {
            self.state = State::Over;
            return Turn::Failed("it proves a password, and no password is known here");
        }
        match (self.mechanism, initial) {
            (Mechanism::External, _) => {
                self.state = State::Over;
                Turn::Failed("nobody asked for its certificate")
            }
            // The server speaks first (RFC 4954 §4: such a response is an error).
            (Mechanism::CramMd5, Some(_)) => {
                self.state = State::Over;
                Turn::Failed("it answered before it was asked")
            }
            (Mechanism::CramMd5, None) => Turn::Challenge(self.challenge.clone().into_bytes()),
            // These words are older than any RFC, and clients look for them.
            (Mechanism::Login, None | Some([])) => Turn::Challenge(b"Username:".to_vec()),
            (
                Mechanism::Plain
                | Mechanism::ScramSha256
                | Mechanism::ScramSha1
                | Mechanism::OAuthBearer
                | Mechanism::XOAuth2
                | Mechanism::Anonymous,
                None,
            ) => Turn::Challenge(Vec::new()),
            (
                Mechanism::Plain
                | Mechanism::Login
                | Mechanism::ScramSha256
                | Mechanism::ScramSha1
                | Mechanism::OAuthBearer
                | Mechanism::XOAuth2
                | Mechanism::Anonymous,
                Some(initial),
            ) => self.respond(initial),
        }
    }

    /// Goes on with the decoded response to a challenge.
    pub fn respond(&mut self, response: &[u8]) -> Turn {
        if let State::Scram(verifier) = &mut self.state {
            return verifier.respond(response);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.judge(response),
            State::Password(user) => self.admit(&user, response),
            State::Explained => Turn::Failed("its token is wrong, or nobody has this name"),
            State::Scram(_) | State::Over => {
                Turn::Failed("it says more than the mechanism has to say")
            }
        }
    }

    /// What the client says first.
    fn judge(&mut self, response: &[u8]) -> Turn {
        match self.mechanism {
            Mechanism::Plain => self.plain(response),
            Mechanism::Login => {
                self.state = State::Password(response.to_vec());
                Turn::Challenge(b"Password:".to_vec())
            }
            Mechanism::CramMd5 => self.cram(response),
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => self.token(response),
            Mechanism::Anonymous => self.anonymous(response),
            Mechanism::ScramSha256 | Mechanism::ScramSha1 | Mechanism::External => {
                Turn::Failed("it says more than the mechanism has to say")
            }
        }
    }

    /// RFC 4616: who to be, who it is, and the password.
    fn plain(&self, response: &[u8]) -> Turn {
        let mut parts = response.split(|&b| b == 0);
        let (Some(other), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Turn::Failed("its PLAIN message is malformed");
        };
        if !other.is_empty() && other != user {
            return Turn::Failed("it wants to be somebody else than it is");
        }
        self.admit(user, password)
    }

    fn admit(&self, user: &[u8], password: &[u8]) -> Turn {
        match name(user) {
            Some(user) if admits(&self.accounts, user, password) => Turn::Done(user.to_owned()),
            Some(_) => WRONG,
            None => Turn::Failed("what it gives for a name is none"),
        }
    }

    /// RFC 2195: the user, and the challenge keyed with the password.
    fn cram(&self, response: &[u8]) -> Turn {
        let (Some(at), true) = (memchr::memrchr(b' ', response), response.is_ascii()) else {
            return Turn::Failed("its CRAM-MD5 message is malformed");
        };
        let Some(user) = name(&response[..at]) else {
            return Turn::Failed("what it gives for a name is none");
        };
        let known = known_as(&self.accounts, user);
        let nobody = Secret::new(self.challenge.as_bytes());
        let right = cram(user, known.unwrap_or(&nobody), self.challenge.as_bytes());
        // Some clients write the digits in upper case.
        let given = [&response[..at], &response[at..].to_ascii_lowercase()].concat();
        match is_same(&right, &given) & known.is_some() {
            true => Turn::Done(user.to_owned()),
            false => WRONG,
        }
    }

    /// RFC 7628 and Google's: a token, which is the account's password here.
    fn token(&mut self, response: &[u8]) -> Turn {
        let told = match self.mechanism {
            Mechanism::XOAuth2 => google(response),
            Mechanism::OAuthBearer
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1
            | Mechanism::CramMd5
            | Mechanism::Plain
            | Mechanism::Login
            | Mechanism::External
            | Mechanism::Anonymous => bearer(response),
        };
        let status = match told {
            Some((user, token)) => match self.bearing(user.as_deref(), token) {
                Some(user) => return Turn::Done(user),
                None => "invalid_token",
            },
            None => "invalid_request",
        };
        self.state = State::Explained;
        let explanation = match self.mechanism {
            Mechanism::XOAuth2 => {
                r#"{"status":"401","schemes":"bearer","scope":"mail"}"#.to_owned()
            }
            Mechanism::OAuthBearer
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1
            | Mechanism::CramMd5
            | Mechanism::Plain
            | Mechanism::Login
            | Mechanism::External
            | Mechanism::Anonymous => format!(r#"{{"status":"{status}","scope":"mail"}}"#),
        };
        Turn::Challenge(explanation.into_bytes())
    }

    /// Who bears this token: the one who is named, or the one whose it is.
    fn bearing(&self, user: Option<&str>, token: &str) -> Option<String> {
        let Some(user) = user else {
            if self.accounts.users.is_empty() {
                return Some(ANYBODY.to_owned());
            }
            let mut users = self.accounts.users.iter();
            return users
                .find(|(_, secret)| is_same(secret.bytes(), token.as_bytes()))
                .map(|(user, _)| user.clone());
        };
        let user = name(user.as_bytes())?;
        admits(&self.accounts, user, token.as_bytes()).then(|| user.to_owned())
    }

    /// RFC 4505: nobody has to say who he is; where only some may log in, he has to.
    fn anonymous(&self, trace: &[u8]) -> Turn {
        if !self.accounts.users.is_empty() {
            return Turn::Failed("nobody gets in here without a name");
        }
        let is_trace = |text: &str| {
            text.chars().count() <= LONGEST_TRACE && !text.chars().any(char::is_control)
        };
        match std::str::from_utf8(trace) {
            Ok(text) if is_trace(text) => Turn::Done(ANYBODY.to_owned()),
            Ok(_) | Err(_) => Turn::Failed("what it says about itself is not made for reading"),
        }
    }
}

/// `user=U^Aauth=Bearer T^A^A`
fn google(message: &[u8]) -> Option<(Option<String>, &str)> {
    let text = std::str::from_utf8(message).ok()?;
    let text = text.strip_prefix("user=")?.strip_suffix("\x01\x01")?;
    let (user, rest) = text.split_once('\x01')?;
    let token = rest.strip_prefix("auth=").and_then(scheme)?;
    Some((Some(user.to_owned()), token))
}

/// `n,a=U,^Ahost=H^Aport=P^Aauth=Bearer T^A^A`, of which only `auth` must be there.
fn bearer(message: &[u8]) -> Option<(Option<String>, &str)> {
    let text = std::str::from_utf8(message).ok()?;
    let (header, rest) = text.split_once('\x01')?;
    let (binding, authzid) = header.strip_suffix(',')?.split_once(',')?;
    let user = match authzid.strip_prefix("a=") {
        Some(quoted) => Some(unquote(quoted)?),
        None if authzid.is_empty() => None,
        None => return None,
    };
    let mut pairs = rest.strip_suffix("\x01\x01")?.split('\x01');
    let token = pairs.find_map(|pair| pair.strip_prefix("auth=")).and_then(scheme)?;
    matches!(binding, "n" | "y").then_some((user, token))
}

/// The token behind `Bearer`, which may be written in any case (RFC 9110 §11.1).
fn scheme(auth: &str) -> Option<&str> {
    let (scheme, token) = auth.split_once(' ')?;
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

/// Octets that may be somebody's name.
fn name(octets: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(octets).ok()?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

/// The password of this user.
pub(in crate::proto) fn known_as<'a>(accounts: &'a Accounts, user: &str) -> Option<&'a Secret> {
    accounts.users.iter().find(|(name, _)| name == user).map(|(_, secret)| secret)
}

/// Are these the same octets? The time that it takes does not tell where they differ.
pub(in crate::proto) fn is_same(a: &[u8], b: &[u8]) -> bool {
    // Of digests not even the length tells anything.
    let differing = Sha256::digest(a).into_iter().zip(Sha256::digest(b));
    std::hint::black_box(differing.fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

/// Does it need to know the password, so that it cannot be had without accounts?
fn needs_accounts(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::ScramSha256 | Mechanism::ScramSha1 | Mechanism::CramMd5 => true,
        Mechanism::OAuthBearer
        | Mechanism::XOAuth2
        | Mechanism::Plain
        | Mechanism::Login
        | Mechanism::External
        | Mechanism::Anonymous => false,
    }
}

/// Does it show the password, or a token that is as good as one, to who listens?
pub(in crate::proto) fn is_readable(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::Plain | Mechanism::Login | Mechanism::XOAuth2 | Mechanism::OAuthBearer => true,
        Mechanism::ScramSha256
        | Mechanism::ScramSha1
        | Mechanism::CramMd5
        | Mechanism::External
        | Mechanism::Anonymous => false,
    }
}

/// The mechanisms to announce now, the stronger first. What shows a password goes under TLS
/// (`protected`) or on one machine only; where TLS has to be, nothing is offered before it.
pub fn offered(serving: &Serving, protected: bool) -> Vec<Mechanism> {
    let accounts = &serving.accounts;
    if serving.protection == Protection::Required && !protected {
        return Vec::new();
    }
    let is_offered = |mechanism: &Mechanism| {
        let may = accounts.only.as_ref().is_none_or(|only| only.contains(mechanism));
        let can = match mechanism {
            Mechanism::External => false,
            Mechanism::Anonymous => accounts.users.is_empty(),
            Mechanism::ScramSha256
            | Mechanism::ScramSha1
            | Mechanism::CramMd5
            | Mechanism::OAuthBearer
            | Mechanism::XOAuth2
            | Mechanism::Plain
            | Mechanism::Login => !needs_accounts(*mechanism) || !accounts.users.is_empty(),
        };
        let safe = protected || serving.loopback || !is_readable(*mechanism);
        may && can && safe
    };
    Mechanism::ALL.into_iter().filter(is_offered).collect()
}

/// May this user in with this password? Without accounts everybody may.
pub fn admits(accounts: &Accounts, user: &str, password: &[u8]) -> bool {
    // Every account is looked at, so that the time tells nothing about the names.
    let matches = accounts.users.iter().fold(false, |found, (name, secret)| {
        found | (is_same(name.as_bytes(), user.as_bytes()) & is_same(secret.bytes(), password))
    });
    matches || accounts.users.is_empty()
}

#[cfg(test)]
mod tests;
