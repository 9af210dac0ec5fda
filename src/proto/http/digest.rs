//! Digest (RFC 7616): the response to a challenge, and how a challenge is answered.
//!
//! In scope: MD5 and SHA-256, with and without `-sess`, `qop` auth or none (RFC 2069). Out:
//! SHA-512-256, `auth-int`, and hashed user names, which a server may not insist on.

use super::auth::{Scheme, quoted};
use crate::proto::sasl::Credentials;
use md5::Md5;
use sha2::{Digest, Sha256};

/// A hash, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// Broken, and what most proxies ask for.
    Md5,
    /// What RFC 7616 asks for.
    Sha256,
}

impl Hash {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
        }
    }

    /// The hash of the parts with colons between them, in hexadecimal digits.
    pub fn of(self, parts: &[&[u8]]) -> String {
        let bytes = parts.join(&b':');
        match self {
            Hash::Md5 => hex(&Md5::digest(bytes)),
            Hash::Sha256 => hex(&Sha256::digest(bytes)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash, and how often the password goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// What is computed.
    pub hash: Hash,
    /// `-sess`: the first nonces go into the key.
    pub session: bool,
}

impl Algorithm {
    /// By its name, letters of any case; none at all is MD5.
    pub fn named(name: Option<&[u8]>) -> Option<Self> {
        let Some(name) = name else {
            return Some(Self { hash: Hash::Md5, session: false });
        };
        let name = std::str::from_utf8(name).ok()?.to_ascii_uppercase();
        let (name, session) = match name.strip_suffix("-SESS") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let hash = [Hash::Md5, Hash::Sha256].into_iter().find(|hash| hash.name() == name)?;
        Some(Self { hash, session })
    }
}

/// Everything that goes into a response.
#[derive(Debug)]
pub struct Question<'a> {
    /// How it is computed.
    pub algorithm: Algorithm,
    /// Of the challenge.
    pub realm: &'a [u8],
    /// Of the challenge.
    pub nonce: &'a [u8],
    /// Of the answer.
    pub cnonce: &'a [u8],
    /// `qop=auth` with this count of the nonce, as it is written; `None` without a `qop`.
    pub count: Option<&'a [u8]>,
    /// Of the request.
    pub method: &'a [u8],
    /// Of the request, or what the answer says that it is.
    pub uri: &'a [u8],
}

impl Question<'_> {
    /// The response (RFC 7616 §3.4.1), in hexadecimal digits.
    pub fn response(&self, login: &Credentials) -> String {
        let hash = self.algorithm.hash;
        let mut key = hash.of(&[login.user.as_bytes(), self.realm, login.password.bytes()]);
        if self.algorithm.session {
            key = hash.of(&[key.as_bytes(), self.nonce, self.cnonce]);
        }
        let request = hash.of(&[self.method, self.uri]);
        let (key, request) = (key.as_bytes(), request.as_bytes());
        match self.count {
            Some(count) => hash.of(&[key, self.nonce, count, self.cnonce, b"auth", request]),
            None => hash.of(&[key, self.nonce, request]),
        }
    }
}

/// A challenge that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    algorithm: Algorithm,
    /// As the challenge writes it: some servers compare it byte by byte.
    algorithm_said: Option<Vec<u8>>,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    qop: bool,
    /// The login was right, the nonce had become too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads one, if it is of this scheme and asks for nothing that we cannot do.
    pub fn read(scheme: &Scheme) -> Option<Self> {
        if scheme.name != "digest" {
            return None;
        }
        let qop = match scheme.param("qop") {
            None => false,
            Some(list) => {
                let mut words = list.split(|b| *b == b',').map(<[u8]>::trim_ascii);
                words.any(|word| word.eq_ignore_ascii_case(b"auth")).then_some(true)?
            }
        };
        let said = scheme.param("algorithm");
        Some(Self {
            algorithm: Algorithm::named(said)?,
            algorithm_said: said.map(<[u8]>::to_vec),
            realm: scheme.param("realm")?.to_vec(),
            nonce: scheme.param("nonce")?.to_vec(),
            opaque: scheme.param("opaque").map(<[u8]>::to_vec),
            qop,
            stale: scheme.says("stale", "true"),
        })
    }

    /// How good it is.
    pub fn strength(&self) -> Hash {
        self.algorithm.hash
    }

    /// The credentials: the first use of the nonce, always, since each is used once.
    pub fn answer(&self, login: &Credentials, method: &str, uri: &str, cnonce: &str) -> Vec<u8> {
        const FIRST: &[u8] = b"00000001";
        let question = Question {
            algorithm: self.algorithm,
            realm: &self.realm,
            nonce: &self.nonce,
            cnonce: cnonce.as_bytes(),
            count: self.qop.then_some(FIRST),
            method: method.as_bytes(),
            uri: uri.as_bytes(),
        };
        let mut out = b"Digest ".to_vec();
        quoted(&mut out, "username", login.user.as_bytes());
        let mut param = |name: &str, value: &[u8]| {
            out.extend_from_slice(b", ");
            quoted(&mut out, name, value);
        };
        param("realm", &self.realm);
        param("nonce", &self.nonce);
        param("uri", uri.as_bytes());
        param("response", question.response(login).as_bytes());
        if let Some(opaque) = &self.opaque {
            param("opaque", opaque);
        }
        if self.qop || self.algorithm.session {
            param("cnonce", cnonce.as_bytes());
        }
        // These three have no quotes (RFC 7616 §3.4).
        if let Some(algorithm) = &self.algorithm_said {
            out.extend_from_slice(b", algorithm=");
            out.extend_from_slice(algorithm);
        }
        if self.qop {
            out.extend_from_slice(b", qop=auth, nc=");
            out.extend_from_slice(FIRST);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::Secret;

    fn login(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: Secret::new(password) }
    }

    fn challenge(text: &str) -> Option<Challenge> {
        Challenge::read(Scheme::list(text.as_bytes()).first()?)
    }

    const RFC: &str = r#"Digest realm="http-auth@example.org", qop="auth, auth-int",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm="#;

    /// RFC 7616 §3.9.1: the same request by MD5 and by SHA-256.
    #[test]
    fn responses_are_as_the_rfc_has_them() {
        let mufasa = login("Mufasa", "Circle of Life");
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let text = format!("{RFC}{algorithm}").replace(['\n'], "");
            let answer =
                challenge(&text).unwrap().answer(&mufasa, "GET", "/dir/index.html", cnonce);
            let answer = Scheme::list(&answer).remove(0);
            for (name, value) in [
                ("username", "Mufasa"),
                ("realm", "http-auth@example.org"),
                ("uri", "/dir/index.html"),
                ("algorithm", algorithm),
                ("nonce", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
                ("nc", "00000001"),
                ("cnonce", cnonce),
                ("qop", "auth"),
                ("response", response),
                ("opaque", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"),
            ] {
                let said = answer.param(name).map(<[u8]>::escape_ascii).map(|v| v.to_string());
                assert_eq!(said.as_deref(), Some(value), "{algorithm} {name}");
            }
        }
    }

    /// Without qop, with -sess: computed with coreutils, as RFC 7616 §3.4.2 writes them.
    #[test]
    fn the_older_and_the_session_forms() {
        let ann = login("ann", "pw");
        let answer = |rest: &str| {
            let text = format!("Digest realm=\"r\", nonce=\"n\"{rest}");
            let answer = challenge(&text).unwrap().answer(&ann, "CONNECT", "a:1", "cn");
            String::from_utf8(answer).unwrap()
        };
        let begin = "Digest username=\"ann\", realm=\"r\", nonce=\"n\", uri=\"a:1\", response=";
        assert_eq!(answer(""), format!("{begin}\"39993978123fe4f39c8cfa5e03b16442\""));
        assert_eq!(
            answer(", qop=auth, algorithm=MD5-sess"),
            format!(
                "{begin}\"df2f7d76b6229ce5b76f2f3b0f1b546e\", cnonce=\"cn\", algorithm=MD5-sess, qop=auth, nc=00000001"
            )
        );
        assert_eq!(
            answer(", qop=\"auth\", algorithm=\"sha-256-sess\", opaque=\"\""),
            format!(
                "{begin}\"41405a6ba5bb734be6713d847cfecb93441426d6cce6ea916d89b3aa9f13529f\", opaque=\"\", cnonce=\"cn\", algorithm=sha-256-sess, \
                 qop=auth, nc=00000001"
            )
        );
    }

    /// The hash is over the bytes, the header has backslashes.
    #[test]
    fn quotes_in_the_realm_and_the_user_name_survive() {
        let text = r#"Digest realm="r \"q\\", nonce="n""#;
        let user = r#"an "n\"#;
        let answer = challenge(text).unwrap().answer(&login(user, "pw"), "CONNECT", "a:1", "cn");
        let shown = answer.escape_ascii().to_string().replace(r"\\", r"\").replace("\\\"", "\"");
        assert!(answer.starts_with(br#"Digest username="an \"n\\", realm="r \"q\\", "#), "{shown}");
        let question = Question {
            algorithm: Algorithm::named(None).unwrap(),
            realm: br#"r "q\"#,
            nonce: b"n",
            cnonce: b"",
            count: None,
            method: b"CONNECT",
            uri: b"a:1",
        };
        let response = question.response(&login(user, "pw"));
        assert_eq!(Scheme::list(&answer)[0].param("response"), Some(response.as_bytes()));
    }

    #[test]
    fn a_challenge_that_cannot_be_met_is_none() {
        for rest in [
            ", qop=auth-int",
            ", qop=\"\"",
            ", algorithm=SHA-512-256",
            ", algorithm=SHA-512-256-sess",
            ", algorithm=\"\"",
            ", algorithm=-sess",
        ] {
            assert_eq!(
                challenge(&format!("Digest realm=\"r\", nonce=\"n\"{rest}")),
                None,
                "{rest}"
            );
        }
        assert_eq!(challenge("Digest realm=\"r\""), None);
        assert_eq!(challenge("Digest nonce=\"n\""), None);
        assert_eq!(challenge("Basic realm=\"r\", nonce=\"n\""), None);
        assert!(!challenge("Digest realm=r, nonce=n, stale=false").unwrap().stale);
        assert!(challenge("Digest realm=r, nonce=n, stale=\"TRUE\"").unwrap().stale);
    }
}
