//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and it does not
//! cross the line.
//!
//! ```text
//! first ──► challenge 1 (nonce, salt, iterations) ──► proof
//!       ──► challenge 2 (the server's signature) ──► done
//! ```

use super::{Credentials, STANDARD, Secret, hmac};
use ::hmac::Hmac;
use base64::Engine as _;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// RFC 7677 §4 wants this many at least; some servers still have what RFC 5802 had.
pub(super) const FEWEST: u32 = 4096;

/// A server that asks for more work than this wants to keep us busy.
const MOST: u32 = 10_000_000;

/// A nonce or a salt longer than this is nobody's.
pub(super) const LONGEST: usize = 1024;

/// The hash function, and what is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    /// `Hi()`: PBKDF2.
    pub(super) fn stretch(self, password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds).to_vec()
            }
            Self::Sha1 => pbkdf2::pbkdf2_hmac_array::<Sha1, 20>(password, salt, rounds).to_vec(),
        }
    }

    /// `HMAC()`
    pub(super) fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, &[message]),
            Self::Sha1 => hmac::<Hmac<Sha1>>(key, &[message]),
        }
    }

    /// `H()`
    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
        }
    }
}

#[derive(Debug, Clone)]
enum State {
    Asked,
    /// The signature that the server has to show.
    Proven(Vec<u8>),
    Verified,
}

/// What is said of the connection beneath (RFC 5802 §6).
#[derive(Debug, Clone)]
pub(super) enum Binding {
    /// We cannot bind.
    Impossible,
    /// We could, and the server seems not to: it will see if somebody made it seem so.
    NotOffered,
    /// To this.
    Bound(Vec<u8>),
}

impl Binding {
    /// `gs2-header`
    fn header(&self) -> &'static str {
        match self {
            Self::Impossible => "n,,",
            Self::NotOffered => "y,,",
            Self::Bound(_) => "p=tls-exporter,,",
        }
    }

    /// What is proven with it.
    fn proven(&self) -> Vec<u8> {
        let header = self.header().as_bytes();
        match self {
            Self::Impossible | Self::NotOffered => header.to_vec(),
            Self::Bound(data) => [header, data].concat(),
        }
    }
}

/// The client's side.
#[derive(Debug, Clone)]
pub(super) struct Scram {
    binding: Binding,
    hash: Hash,
    user: String,
    password: Secret,
    nonce: String,
    state: State,
}

impl Scram {
    pub(super) fn new(
        hash: Hash,
        credentials: &Credentials,
        nonce: &str,
        binding: Binding,
    ) -> Self {
        Self {
            binding,
            hash,
            user: name(&credentials.user),
            password: credentials.password.clone(),
            nonce: nonce.to_owned(),
            state: State::Asked,
        }
    }

    /// `client-first-message`: what we bind to, who we are, our nonce.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("{}{}", self.binding.header(), self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    pub(super) fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(challenge).map_err(|_| "it is no text".to_owned())?;
        if let Some(why) = field(text, "e=") {
            return Err(format!("it says {}", why.escape_debug()));
        }
        match &self.state {
            // It had to ask first, and now it does.
            State::Asked if text.is_empty() => Ok(self.first()),
            State::Asked => {
                let (answer, signature) = self.prove(text)?;
                self.state = State::Proven(signature);
                Ok(answer.into_bytes())
            }
            State::Proven(signature) => {
                let shown = field(text, "v=").and_then(|v| STANDARD.decode(v).ok());
                if shown.as_ref() != Some(signature) {
                    return Err("the server cannot prove that it knows the password".to_owned());
                }
                self.state = State::Verified;
                Ok(Vec::new())
            }
            State::Verified => Err("it asks for more than the mechanism has to say".to_owned()),
        }
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        match self.state {
            State::Verified => Ok(()),
            State::Asked | State::Proven(_) => {
                Err("the server has not proven that it knows the password".to_owned())
            }
        }
    }

    /// `client-final-message`, and the signature that has to come back.
    fn prove(&self, challenge: &str) -> Result<(String, Vec<u8>), String> {
        let nonce = field(challenge, "r=").ok_or("it has no nonce")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("its nonce does not go on from ours".to_owned());
        }
        let salt = field(challenge, "s=").and_then(|s| STANDARD.decode(s).ok());
        let salt = salt.filter(|s| !s.is_empty()).ok_or("it has no salt")?;
        if nonce.len() > LONGEST || salt.len() > LONGEST {
            return Err("its nonce or its salt is too long".to_owned());
        }
        let rounds = field(challenge, "i=").and_then(|i| i.parse().ok());
        let rounds: u32 = rounds.ok_or("it has no number of iterations")?;
        if !(FEWEST..=MOST).contains(&rounds) {
            return Err(format!(
                "it wants {rounds} iterations, and only {FEWEST} to {MOST} make sense"
            ));
        }
        let unproven = format!("c={},r={nonce}", STANDARD.encode(self.binding.proven()));
        let message = format!("{},{challenge},{unproven}", self.first_bare());
        let hash = self.hash;
        let salted = hash.stretch(self.password.bytes(), &salt, rounds);
        let client_key = hash.mac(&salted, b"Client Key");
        let client_signature = hash.mac(&hash.digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(client_signature).map(|(a, b)| a ^ b).collect();
        let server_key = hash.mac(&salted, b"Server Key");
        let server_signature = hash.mac(&server_key, message.as_bytes());
        Ok((format!("{unproven},p={}", STANDARD.encode(proof)), server_signature))
    }
}

/// The value of an attribute such as `r=`.
pub(super) fn field<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(key))
}

/// A name inside a message: "," and "=" would be read as marks (RFC 5802 §5.1).
pub(super) fn name(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scram(hash: Hash, nonce: &str) -> Scram {
        let credentials = Credentials { user: "user".into(), password: Secret::new("pencil") };
        Scram::new(hash, &credentials, nonce, Binding::Impossible)
    }

    fn says(scram: &mut Scram, challenge: &str) -> Result<String, String> {
        scram.answer(challenge.as_bytes()).map(|answer| String::from_utf8(answer).unwrap())
    }

    /// The examples of RFC 5802 §5 and RFC 7677 §3.
    #[test]
    fn both_are_as_the_rfcs_have_them() {
        for (hash, nonce, challenge, proof, signature) in [
            (
                Hash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                 p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Hash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let mut client = scram(hash, nonce);
            assert_eq!(client.first(), format!("n,,n=user,r={nonce}").into_bytes());
            assert_eq!(says(&mut client, challenge).unwrap(), proof);
            assert!(client.finish().is_err(), "nothing is proven before the signature");
            assert_eq!(says(&mut client, signature).unwrap(), "");
            assert_eq!(client.finish(), Ok(()));
            assert!(says(&mut client, signature).is_err());
        }
    }

    #[test]
    fn a_server_that_cheats_is_found_out() {
        let good = "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096";
        for (challenge, why) in [
            ("r=xyzdef,s=QSXCR+Q6sek8bf92,i=4096", "does not go on"),
            ("r=abc,s=QSXCR+Q6sek8bf92,i=4096", "does not go on"),
            ("s=QSXCR+Q6sek8bf92,i=4096", "no nonce"),
            ("r=abcdef,i=4096", "no salt"),
            ("r=abcdef,s=?,i=4096", "no salt"),
            ("r=abcdef,s=QSXCR+Q6sek8bf92", "no number"),
            ("r=abcdef,s=QSXCR+Q6sek8bf92,i=x", "no number"),
            ("r=abcdef,s=QSXCR+Q6sek8bf92,i=1", "1 iterations"),
            ("r=abcdef,s=QSXCR+Q6sek8bf92,i=4000000000", "4000000000 iterations"),
            ("e=unknown-user", "unknown-user"),
        ] {
            let error = says(&mut scram(Hash::Sha256, "abc"), challenge).unwrap_err();
            assert!(error.contains(why), "{challenge}: {error}");
        }
        let mut client = scram(Hash::Sha256, "abc");
        says(&mut client, good).unwrap();
        assert!(says(&mut client, "v=AAAA").unwrap_err().contains("cannot prove"));
        assert!(client.finish().is_err());
    }

    #[test]
    fn a_name_with_marks_in_it_is_quoted() {
        assert_eq!(name("a=b,c"), "a=3Db=2Cc");
    }
}
