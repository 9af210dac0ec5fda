//! Logging in (SASL, RFC 4422): the mechanisms that mail servers offer.
//!
//! PLAIN (RFC 4616), LOGIN (older than any RFC), CRAM-MD5 (RFC 2195), SCRAM-SHA-1 and
//! SCRAM-SHA-256 (RFC 5802, 7677), XOAUTH2 (Google's), OAUTHBEARER (RFC 7628), EXTERNAL (RFC 4422
//! appendix A) and ANONYMOUS (RFC 4505). Here is the client's side, in [`server`] the other. Out of
//! scope: channel binding (the -PLUS mechanisms) and SASLprep: a name or a password goes out in the
//! octets in which it was given.

mod scram;
pub mod server;
mod verifier;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest as _, Md5};
use scram::{Binding, Hash, Scram};
use std::fmt;

/// How the mechanisms that are bound to a connection are told from the others.
const PLUS: &str = "-PLUS";

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
    /// The password; the access token of XOAUTH2 and OAUTHBEARER.
    pub password: Secret,
}

/// A login that is to be made.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who.
    pub credentials: Credentials,
    /// The mechanisms that may be used, if they were named.
    pub only: Option<Vec<Mechanism>>,
    /// Printable text that nobody can foresee, for one login.
    pub nonce: String,
    /// The server's host and port, which OAUTHBEARER names.
    pub host: String,
    /// See `host`.
    pub port: u16,
    /// What names the TLS connection, where the login can be bound to it (RFC 9266).
    pub binding: Option<Vec<u8>>,
}

/// A mechanism that a server offers, as it is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// In its form `-PLUS`, bound to the TLS connection: nobody in between can pass it on.
    pub bound: bool,
    /// The server has offered some mechanism in that form.
    pub binds: bool,
}

impl Login {
    /// The strongest of the mechanisms that a server offers and that may be used.
    pub fn choose<'a>(&self, offered: impl IntoIterator<Item = &'a str>) -> Option<Choice> {
        let offered = offered.into_iter().filter_map(|name| {
            let plain = name.len().checked_sub(PLUS.len()).and_then(|at| {
                let (head, tail) = (name.get(..at)?, name.get(at..)?);
                tail.eq_ignore_ascii_case(PLUS).then_some(head)
            });
            let mechanism = Mechanism::named(plain.unwrap_or(name))?;
            Some(Choice { mechanism, bound: plain.is_some(), binds: false })
        });
        let offered: Vec<_> = offered.collect();
        let binds = offered.iter().any(|choice| choice.bound);
        let may = |choice: &Choice| match &self.only {
            _ if choice.bound && self.binding.is_none() => false,
            Some(only) => only.contains(&choice.mechanism),
            None => choice.mechanism.is_for_passwords(),
        };
        let best = offered.into_iter().filter(may).min_by_key(|c| (!c.bound, c.mechanism));
        best.map(|choice| Choice { binds, ..choice })
    }

    /// Begins.
    pub fn start(&self, choice: impl Into<Choice>) -> Exchange {
        let Choice { mechanism, bound, binds } = choice.into();
        let state = match mechanism {
            Mechanism::ScramSha256 => self.scram(Hash::Sha256, bound, binds),
            Mechanism::ScramSha1 => self.scram(Hash::Sha1, bound, binds),
            Mechanism::CramMd5
            | Mechanism::OAuthBearer
            | Mechanism::XOAuth2
            | Mechanism::Plain
            | Mechanism::Login
            | Mechanism::External
            | Mechanism::Anonymous => State::Answered(0),
        };
        Exchange { mechanism, bound, login: self.clone(), state }
    }

    fn scram(&self, hash: Hash, bound: bool, binds: bool) -> State {
        let binding = match (&self.binding, bound) {
            (Some(binding), true) => Binding::Bound(binding.clone()),
            // Only then may it be said (RFC 5802 §6).
            (Some(_), false) if !binds => Binding::NotOffered,
            (Some(_) | None, _) => Binding::Impossible,
        };
        State::Scram(Scram::new(hash, &self.credentials, &self.nonce, binding))
    }
}

impl From<Mechanism> for Choice {
    fn from(mechanism: Mechanism) -> Self {
        Self { mechanism, bound: false, binds: false }
    }
}

/// The mechanisms, the stronger first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 7677: the password does not cross the line, and the server proves that it knows it.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 2195.
    CramMd5,
    /// RFC 7628: an access token.
    OAuthBearer,
    /// Google's and Microsoft's: an access token.
    XOAuth2,
    /// RFC 4616.
    Plain,
    /// User and password, one after the other.
    Login,
    /// The certificate that was shown under TLS.
    External,
    /// RFC 4505: nobody in particular, who may say something about himself.
    Anonymous,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Mechanism; 9] = [
        Self::ScramSha256,
        Self::ScramSha1,
        Self::CramMd5,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
        Self::External,
        Self::Anonymous,
    ];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::CramMd5 => "CRAM-MD5",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The one of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Does it work with a password, so that it may be chosen for somebody who has one?
    fn is_for_passwords(self) -> bool {
        match self {
            Self::ScramSha256 | Self::ScramSha1 | Self::CramMd5 | Self::Plain | Self::Login => true,
            Self::OAuthBearer | Self::XOAuth2 | Self::External | Self::Anonymous => false,
        }
    }
}

/// How far a login has come.
#[derive(Debug, Clone)]
enum State {
    /// So many challenges have been answered.
    Answered(usize),
    Scram(Scram),
}

/// One login under way: challenges in, answers out, both decoded.
#[derive(Debug, Clone)]
pub struct Exchange {
    mechanism: Mechanism,
    bound: bool,
    login: Login,
    state: State,
}

impl Exchange {
    /// The mechanism's registered name.
    pub fn name(&self) -> &'static str {
        match (self.mechanism, self.bound) {
            (Mechanism::ScramSha256, true) => "SCRAM-SHA-256-PLUS",
            (Mechanism::ScramSha1, true) => "SCRAM-SHA-1-PLUS",
            (mechanism, _) => mechanism.name(),
        }
    }

    /// What the client says first, where the mechanism lets it begin.
    pub fn initial(&mut self) -> Option<Vec<u8>> {
        let Credentials { user, password } = &self.login.credentials;
        let token = String::from_utf8_lossy(&password.0);
        match (self.mechanism, &mut self.state) {
            (_, State::Scram(scram)) => Some(scram.first()),
            (Mechanism::Plain, _) => Some([b"", user.as_bytes(), password.0.as_slice()].join(&0)),
            (Mechanism::XOAuth2, _) => {
                Some(format!("user={user}\x01auth=Bearer {token}\x01\x01").into_bytes())
            }
            (Mechanism::OAuthBearer, _) => {
                let Login { host, port, .. } = &self.login;
                let user = scram::name(user);
                let message = format!(
                    "n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
                );
                Some(message.into_bytes())
            }
            (Mechanism::External | Mechanism::Anonymous, _) => Some(user.as_bytes().to_vec()),
            (
                Mechanism::Login
                | Mechanism::CramMd5
                | Mechanism::ScramSha1
                | Mechanism::ScramSha256,
                _,
            ) => None,
        }
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    /// Half a sentence that says what is wrong with the challenge, without its secrets.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        let Credentials { user, password } = &self.login.credentials;
        let n = match &mut self.state {
            State::Scram(scram) => return scram.answer(challenge),
            State::Answered(n) => {
                *n += 1;
                *n
            }
        };
        match (self.mechanism, n) {
            (Mechanism::Login, 1) => Ok(user.clone().into_bytes()),
            (Mechanism::Login, 2) => Ok(password.0.clone()),
            (Mechanism::CramMd5, 1) => Ok(cram(user, password, challenge)),
            // The first answer, for who asks although it had come with the command.
            (Mechanism::Plain | Mechanism::External | Mechanism::Anonymous, 1)
                if challenge.is_empty() =>
            {
                Ok(self.initial().unwrap_or_default())
            }
            // What follows a refusal is an explanation in JSON; an empty answer lets the server
            // refuse (RFC 7628 §3.2.3: a single 0x01).
            (Mechanism::XOAuth2, 1 | 2) if !challenge.is_empty() => Ok(Vec::new()),
            (Mechanism::OAuthBearer, 1 | 2) if !challenge.is_empty() => Ok(vec![1]),
            (Mechanism::XOAuth2 | Mechanism::OAuthBearer, 1) => {
                Ok(self.initial().unwrap_or_default())
            }
            _ => Err("it asks for more than the mechanism has to say".to_owned()),
        }
    }

    /// The server says that the login is done: has it proven what it had to?
    ///
    /// # Errors
    /// Half a sentence.
    pub fn finish(&self) -> Result<(), String> {
        match &self.state {
            State::Scram(scram) => scram.finish(),
            State::Answered(_) => Ok(()),
        }
    }

    /// What a challenge that explains a refusal says, in words: the JSON of the token mechanisms.
    pub fn explained(&self, challenge: &[u8]) -> Option<String> {
        let tokens = matches!(self.mechanism, Mechanism::XOAuth2 | Mechanism::OAuthBearer);
        let is_json = challenge.first() == Some(&b'{');
        (tokens && is_json).then(|| String::from_utf8_lossy(challenge).into_owned())
    }
}

/// RFC 2195: the user, and the challenge keyed with the password.
fn cram(user: &str, password: &Secret, challenge: &[u8]) -> Vec<u8> {
    let digest = hmac::<Hmac<Md5>>(&password.0, &[challenge]);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{user} {hex}").into_bytes()
}

/// What APOP proves that the password is known with (RFC 1939 §7): 32 hexadecimal digits.
pub fn apop(timestamp: &[u8], password: &Secret) -> String {
    let digest = Md5::new().chain_update(timestamp).chain_update(&password.0).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A keyed digest of the parts in a row.
fn hmac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // Any length is a key (RFC 2104 §2).
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// What crosses the line for an answer or a challenge.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What a challenge on the line means.
///
/// # Errors
/// `None` if it is no base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Login {
        Login {
            credentials: Credentials { user: user.into(), password: Secret::new(password) },
            only: None,
            nonce: "nonce".into(),
            host: "server.example.com".into(),
            port: 143,
            binding: None,
        }
    }

    fn text(bytes: impl AsRef<[u8]>) -> String {
        bytes.as_ref().escape_ascii().to_string()
    }

    /// The example of RFC 4616 §4.
    #[test]
    fn plain_is_as_the_rfc_has_it() {
        let mut plain = login("tim", "tanstaaftanstaaf").start(Mechanism::Plain);
        assert_eq!(plain.initial().unwrap(), b"\0tim\0tanstaaftanstaaf");
        assert!(plain.answer(b"again?").is_err());
    }

    #[test]
    fn login_answers_twice() {
        let mut exchange = login("tim", "secret").start(Mechanism::Login);
        assert_eq!(exchange.initial(), None);
        assert_eq!(text(exchange.answer(b"Username:").unwrap()), "tim");
        assert_eq!(text(exchange.answer(b"Password:").unwrap()), "secret");
        assert!(exchange.answer(b"And:").is_err());
        assert_eq!(exchange.finish(), Ok(()));
    }

    /// The example of RFC 2195 §2.
    #[test]
    fn cram_md5_is_as_the_rfc_has_it() {
        let mut cram = login("tim", "tanstaaftanstaaf").start(Mechanism::CramMd5);
        assert_eq!(cram.initial(), None);
        let answer = cram.answer(b"<1896.697170952@postoffice.reston.mci.net>").unwrap();
        assert_eq!(text(&answer), "tim b913a602c7eda7a495b4e6e7334d3890");
        assert_eq!(encode(&answer), "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
        assert!(cram.answer(b"").is_err());
    }

    /// The example of RFC 1939 §7.
    #[test]
    fn apop_is_as_the_rfc_has_it() {
        let digest = apop(b"<1896.697170952@dbc.mtview.ca.us>", &Secret::new("tanstaaf"));
        assert_eq!(digest, "c4c9334bac560ecc979e58001b3e22fb");
    }

    /// The example of RFC 7628 §4.1, and the refusal of §4.3.
    #[test]
    fn oauthbearer_is_as_the_rfc_has_it() {
        let mut exchange = login("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
            .start(Mechanism::OAuthBearer);
        assert_eq!(
            text(exchange.initial().unwrap()),
            "n,a=user@example.com,\\x01host=server.example.com\\x01port=143\\x01\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\\x01\\x01"
        );
        let refusal = br#"{"status":"invalid_token","scope":"example_scope"}"#;
        assert_eq!(exchange.explained(refusal).unwrap().as_bytes(), refusal);
        assert_eq!(exchange.answer(refusal).unwrap(), b"\x01");
        // A token that was too long for the command's line has been asked for first.
        for (mechanism, dummy) in
            [(Mechanism::OAuthBearer, &b"\x01"[..]), (Mechanism::XOAuth2, b"")]
        {
            let mut exchange = login("ann", "token").start(mechanism);
            assert!(text(exchange.answer(b"").unwrap()).contains("Bearer token"));
            assert_eq!(exchange.answer(refusal).unwrap(), dummy);
            assert!(exchange.answer(refusal).is_err());
        }
    }

    /// The example of Google's description.
    #[test]
    fn xoauth2_is_as_google_has_it() {
        let mut exchange =
            login("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
                .start(Mechanism::XOAuth2);
        assert_eq!(
            encode(&exchange.initial().unwrap()),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNr\
             QmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        );
        assert_eq!(exchange.answer(b"{\"status\":\"401\"}").unwrap(), b"");
    }

    #[test]
    fn the_strongest_that_fits_is_chosen() {
        let ann = login("ann", "x");
        for (offered, chosen) in [
            (&["LOGIN", "plain"][..], Some(Mechanism::Plain)),
            (&["LOGIN", "CRAM-MD5"], Some(Mechanism::CramMd5)),
            (&["PLAIN", "SCRAM-SHA-1", "scram-sha-256"], Some(Mechanism::ScramSha256)),
            (&["GSSAPI", "NTLM"], None),
            // A password is no token, and no certificate.
            (&["XOAUTH2", "EXTERNAL"], None),
            // Who gives a name does not want to be nobody.
            (&["ANONYMOUS"], None),
        ] {
            assert_eq!(
                ann.choose(offered.iter().copied()),
                chosen.map(Choice::from),
                "{offered:?}"
            );
        }
        let only = Some(vec![Mechanism::XOAuth2, Mechanism::Login]);
        let told = Login { only, ..ann };
        assert_eq!(told.choose(["PLAIN", "LOGIN"]), Some(Mechanism::Login.into()));
        assert_eq!(told.choose(["PLAIN"]), None);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let mut exchange = login("ann", "tanstaaf").start(Mechanism::ScramSha256);
        exchange.initial();
        assert!(!format!("{exchange:?}").contains("tanstaaf"));
    }

    #[test]
    fn a_login_is_bound_to_its_connection_where_both_can() {
        let offered = ["PLAIN", "SCRAM-SHA-1", "scram-sha-1-plus", "SCRAM-SHA-256"];
        let free = login("ann", "x");
        assert_eq!(free.choose(offered).unwrap().mechanism, Mechanism::ScramSha256);
        let bindable = Login { binding: Some(vec![7; 32]), ..login("ann", "x") };
        let choice = bindable.choose(offered).unwrap();
        assert_eq!(choice, Choice { mechanism: Mechanism::ScramSha1, bound: true, binds: true });
        let mut exchange = bindable.start(choice);
        assert_eq!(exchange.name(), "SCRAM-SHA-1-PLUS");
        assert_eq!(text(exchange.initial().unwrap()), "p=tls-exporter,,n=ann,r=nonce");
        let answer = exchange.answer(b"r=nonceX,s=QSXCR+Q6sek8bf92,i=4096").unwrap();
        let bound = encode(&[b"p=tls-exporter,,", &[7; 32][..]].concat());
        assert!(text(&answer).starts_with(&format!("c={bound},r=nonceX,p=")), "{}", text(&answer));
        // Whoever may use another only has been offered it all the same.
        let only = Some(vec![Mechanism::ScramSha256]);
        let choice = Login { only, ..bindable.clone() }.choose(offered).unwrap();
        let mut exchange = bindable.start(choice);
        assert_eq!(text(exchange.initial().unwrap()), "n,,n=ann,r=nonce");
        // Who could, and is not offered it, says so: a server that did offer it will see.
        let choice = bindable.choose(["SCRAM-SHA-256"]).unwrap();
        let mut exchange = bindable.start(choice);
        assert_eq!(text(exchange.initial().unwrap()), "y,,n=ann,r=nonce");
        let answer = exchange.answer(b"r=nonceX,s=QSXCR+Q6sek8bf92,i=4096").unwrap();
        assert!(answer.starts_with(b"c=eSws,r=nonceX,p="));
    }
}
