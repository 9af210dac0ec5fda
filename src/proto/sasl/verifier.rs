//! SCRAM, the server's side (RFC 5802, RFC 7677).
//!
//! ```text
//! (ask) ──► first ──► challenge 1 (nonce, salt, iterations) ──► proof
//!       ──► challenge 2 (our signature) ──► an empty answer ──► done
//! ```
//!
//! Whoever is not known is asked the same, and refused as late as for a wrong password, so that
//! nobody learns who has an account.

use super::scram::{FEWEST, Hash, LONGEST, field};
use super::server::{Turn, is_same, known_as};
use super::{STANDARD, decode};
use crate::proto::serving::Accounts;
use base64::Engine as _;
use std::sync::Arc;

const MALFORMED: Turn = Turn::Failed("its SCRAM message is malformed");

#[derive(Debug, Clone)]
enum State {
    /// The first message is to come.
    Asked,
    /// The proof is.
    Challenged(Talk),
    /// All is proven: an empty answer is to come.
    Proven(String),
    Over,
}

/// What has been said before the proof.
#[derive(Debug, Clone)]
struct Talk {
    user: String,
    /// The first message up to the name: whether channels are bound, and who wants to be whom.
    header: String,
    /// The rest of the first message, and our challenge.
    said: String,
    nonce: String,
    salt: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Verifier {
    hash: Hash,
    accounts: Arc<Accounts>,
    nonce: String,
    state: State,
}

impl Verifier {
    pub(super) fn new(hash: Hash, accounts: &Arc<Accounts>, nonce: &str) -> Self {
        // A comma would end it.
        let nonce = nonce.replace(|c: char| !is_of_nonce(c), "-");
        Self { hash, accounts: Arc::clone(accounts), nonce, state: State::Asked }
    }

    pub(super) fn respond(&mut self, response: &[u8]) -> Turn {
        let Ok(text) = std::str::from_utf8(response) else {
            self.state = State::Over;
            return MALFORMED;
        };
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked => self.challenge(text).unwrap_or_else(|turn| turn),
            State::Challenged(talk) => self.judge(talk, text).unwrap_or(MALFORMED),
            State::Proven(user) if text.is_empty() => Turn::Done(user),
            State::Proven(_) | State::Over => Turn::Failed("it says more than SCRAM has to say"),
        }
    }

    /// `client-first-message`: what we ask.
    fn challenge(&mut self, first: &str) -> Result<Turn, Turn> {
        let mut parts = first.splitn(3, ',');
        let (Some(binding), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(MALFORMED);
        };
        match binding {
            // "y": it could bind channels, and we do not.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => {
                return Err(Turn::Failed("it wants to bind channels, which is not offered"));
            }
            _ => return Err(MALFORMED),
        }
        if bare.starts_with("m=") {
            return Err(Turn::Failed("it wants an extension of SCRAM that nobody has"));
        }
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|name| unquote(name.strip_prefix("n=")?));
        let user = user.ok_or(MALFORMED)?;
        let theirs = fields.next().and_then(|nonce| nonce.strip_prefix("r=")).ok_or(MALFORMED)?;
        if theirs.is_empty() || theirs.len() > LONGEST || !theirs.chars().all(is_of_nonce) {
            return Err(MALFORMED);
        }
        if let Some(other) = authzid.strip_prefix("a=") {
            if unquote(other).as_ref() != Some(&user) {
                return Err(Turn::Failed("it wants to be somebody else than it is"));
            }
        } else if !authzid.is_empty() {
            return Err(MALFORMED);
        }
        let nonce = format!("{theirs}{}", self.nonce);
        let salt = self.hash.mac(self.nonce.as_bytes(), user.as_bytes())[..16].to_vec();
        let challenge = format!("r={nonce},s={},i={FEWEST}", STANDARD.encode(&salt));
        let header = format!("{binding},{authzid},");
        let said = format!("{bare},{challenge}");
        self.state = State::Challenged(Talk { user, header, said, nonce, salt });
        Ok(Turn::Challenge(challenge.into_bytes()))
    }

    /// `client-final-message`: does it prove the password? `None` if it is none.
    fn judge(&mut self, talk: Talk, last: &str) -> Option<Turn> {
        // The proof comes last, and is not part of what it proves.
        let (unproven, proof) = last.rsplit_once(",p=")?;
        let proof = decode(proof.as_bytes())?;
        let bound = field(unproven, "c=").and_then(|c| decode(c.as_bytes()))?;
        if !unproven.starts_with("c=") || bound != talk.header.as_bytes() {
            return Some(Turn::Failed("its first message was changed on the way"));
        }
        if field(unproven, "r=")? != talk.nonce {
            return Some(Turn::Failed("its nonce is not the one of this login"));
        }
        let hash = self.hash;
        let known = known_as(&self.accounts, &talk.user);
        // Nobody knows the nonce beforehand, so nobody has it for a password.
        let password = known.map_or(self.nonce.as_bytes(), |password| password.bytes());
        let message = format!("{},{unproven}", talk.said);
        let salted = hash.stretch(password, &talk.salt, FEWEST);
        let client_key = hash.mac(&salted, b"Client Key");
        let client_signature = hash.mac(&hash.digest(&client_key), message.as_bytes());
        let right: Vec<u8> = client_key.iter().zip(client_signature).map(|(a, b)| a ^ b).collect();
        if !(is_same(&right, &proof) & known.is_some()) {
            return Some(Turn::Failed("the password is wrong, or nobody has this name"));
        }
        let server_key = hash.mac(&salted, b"Server Key");
        let signature = STANDARD.encode(hash.mac(&server_key, message.as_bytes()));
        self.state = State::Proven(talk.user);
        Some(Turn::Challenge(format!("v={signature}").into_bytes()))
    }
}

/// `printable`: of which a nonce may be made.
fn is_of_nonce(c: char) -> bool {
    c.is_ascii_graphic() && c != ','
}

/// A name as it is meant, of one in a message.
pub(super) fn unquote(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut meant = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        meant.push(sign);
        meant.push_str(rest);
    }
    Some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::Secret;

    fn verifier(hash: Hash) -> Verifier {
        let users = vec![("user".to_owned(), Secret::new("pencil"))];
        Verifier::new(hash, &Arc::new(Accounts { users, only: None }), "%hvYDp,Ua2RaTCA")
    }

    fn failed(turn: Turn) -> &'static str {
        let Turn::Failed(why) = turn else { panic!("{turn:?}") };
        why
    }

    /// The second halves of the examples of RFC 5802 §5 and RFC 7677 §3, whose salts are not ours.
    #[test]
    fn a_proof_is_judged_as_the_rfcs_have_it() {
        for (hash, nonce, salt, unproven, proof, signature) in [
            (
                Hash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "QSXCR+Q6sek8bf92",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Hash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let whole = unproven.strip_prefix("c=biws,r=").unwrap();
            let talk = Talk {
                user: "user".into(),
                header: "n,,".into(),
                said: format!("n=user,r={nonce},r={whole},s={salt},i=4096"),
                nonce: whole.into(),
                salt: decode(salt.as_bytes()).unwrap(),
            };
            let mut server = verifier(hash);
            server.state = State::Challenged(talk);
            let turn = server.respond(format!("{unproven},p={proof}").as_bytes());
            assert_eq!(turn, Turn::Challenge(signature.into()));
            assert_eq!(server.respond(b""), Turn::Done("user".into()));
            failed(server.respond(b""));
        }
    }

    #[test]
    fn what_is_no_first_message_is_refused() {
        for (first, why) in [
            ("", "malformed"),
            ("n,,", "malformed"),
            ("n,,n=user", "malformed"),
            ("n,,n=user,r=", "malformed"),
            ("n,,n=user,r=a\u{e4}", "malformed"),
            ("n,,n=user,r=a\x01", "malformed"),
            ("n,,r=abc,n=user", "malformed"),
            ("n,,n=us=er,r=abc", "malformed"),
            ("n,,n=user=,r=abc", "malformed"),
            ("x,,n=user,r=abc", "malformed"),
            ("n,b=user,n=user,r=abc", "malformed"),
            ("n,a=root,n=user,r=abc", "somebody else"),
            ("p=tls-unique,,n=user,r=abc", "bind channels"),
            ("n,,m=x,n=user,r=abc", "extension"),
            (&format!("n,,n=user,r={}", "a".repeat(2000)), "malformed"),
        ] {
            let mut server = verifier(Hash::Sha256);
            let got = failed(server.respond(first.as_bytes()));
            assert!(got.contains(why), "{first}: {got}");
            failed(server.respond(b"n,,n=user,r=abc"));
        }
        failed(verifier(Hash::Sha1).respond(b"n,,n=\xff,r=abc"));
        for first in ["n,,n=user,r=abc", "y,,n=user,r=abc,x=y", "n,a=user,n=user,r=abc"] {
            let Turn::Challenge(challenge) = verifier(Hash::Sha1).respond(first.as_bytes()) else {
                panic!("{first}");
            };
            assert!(challenge.starts_with(b"r=abc%hvYDp-Ua2RaTCA,s="), "{first}");
        }
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        for (last, why) in [
            ("", "malformed"),
            ("c=biws,r=abc%hvYDp-Ua2RaTCA", "malformed"),
            ("c=biws,r=abc%hvYDp-Ua2RaTCA,p=?", "malformed"),
            ("c=biws,p=AAAA", "malformed"),
            ("r=abc%hvYDp-Ua2RaTCA,c=biws,p=AAAA", "changed"),
            ("c=eSws,r=abc%hvYDp-Ua2RaTCA,p=AAAA", "changed"),
            ("c=biws,r=abc,p=AAAA", "nonce"),
            ("c=biws,r=abc%hvYDp-Ua2RaTCB,p=AAAA", "nonce"),
            ("c=biws,r=abc%hvYDp-Ua2RaTCA,p=", "wrong"),
            ("c=biws,r=abc%hvYDp-Ua2RaTCA,p=AAAA", "wrong"),
        ] {
            let mut server = verifier(Hash::Sha256);
            server.respond(b"n,,n=user,r=abc");
            let got = failed(server.respond(last.as_bytes()));
            assert!(got.contains(why), "{last}: {got}");
        }
    }

    #[test]
    fn a_quoted_name_is_what_it_stands_for() {
        for name in ["ann", "a=b,c", "=2C", ",,=="] {
            assert_eq!(unquote(&super::super::scram::name(name)).as_deref(), Some(name));
        }
        assert_eq!(unquote("a=2cb"), None);
    }
}
