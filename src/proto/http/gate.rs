//! Who may use our proxy: the login that a request must carry, by Basic or by Digest.

use super::auth::{Scheme, basic};
use super::digest::{Algorithm, Hash, Question};
use super::head;
use crate::proto::sasl::{Credentials, Secret};
use httparse::Header;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// ncat's; browsers keep a person's password under this name.
const REALM: &str = "Ncat";

/// Seconds for which a nonce may be answered. ncat's 10 are too few for a person who types.
const LIFETIME_S: u64 = 60;

/// Nonces whose counts are remembered.
const REMEMBERED: usize = 1024;

/// The gate of one proxy, shared by all of its machines.
///
/// They have to share it: a nonce that is handed out with one connection is answered over the
/// next, and can be replayed over any.
#[derive(Debug)]
pub struct Gate {
    login: Option<Credentials>,
    nonces: RefCell<Nonces>,
}

/// What the gate says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Come in.
    Admitted,
    /// There is no login, or a wrong one.
    LoginWanted,
    /// The login is right; its nonce is too old, or has been used.
    Stale,
}

impl Gate {
    /// Without a login everybody may come in. `secret` is 16 random bytes of this process.
    pub fn new(login: Option<Credentials>, secret: [u8; 16]) -> Self {
        let nonces = Nonces {
            secret: Secret::new(secret),
            made: 0,
            counts: BTreeMap::new(),
            forgotten_until: None,
        };
        Self { login, nonces: RefCell::new(nonces) }
    }

    /// Judges a request by its fields; `now_s` is in seconds and does not go backwards.
    ///
    /// The URI that a Digest names is not compared with the request: clients write the target of
    /// the proxy or that of the origin server (curl 7.88), and the count of the nonce stops replays.
    pub fn judge(&self, fields: &[Header<'_>], method: &str, now_s: u64) -> Verdict {
        let Some(login) = &self.login else { return Verdict::Admitted };
        let values = || head::values(fields, "Proxy-Authorization");
        let schemes = || values().flat_map(Scheme::list);
        if let Some(digest) = schemes().find(|scheme| scheme.name == "digest") {
            return self
                .judge_digest(login, &digest, method, now_s)
                .unwrap_or(Verdict::LoginWanted);
        }
        let expected = basic(login);
        let is_right = schemes().find(|scheme| scheme.name == "basic").is_some_and(|scheme| {
            let word = scheme.word.unwrap_or_default();
            is_same(&[b"Basic ", word.as_slice()].concat(), expected.as_bytes())
        });
        if is_right { Verdict::Admitted } else { Verdict::LoginWanted }
    }

    fn judge_digest(
        &self,
        login: &Credentials,
        scheme: &Scheme,
        method: &str,
        now_s: u64,
    ) -> Option<Verdict> {
        let algorithm = Algorithm::named(scheme.param("algorithm")).filter(|a| !a.session)?;
        let nonce = scheme.param("nonce")?;
        let realm = scheme.param("realm").filter(|realm| *realm == REALM.as_bytes())?;
        let (cnonce, count) = match scheme.param("qop") {
            None => (&b""[..], None),
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
                (scheme.param("cnonce")?, Some(scheme.param("nc")?))
            }
            Some(_) => return None,
        };
        // Without a count a nonce is good for one request.
        let n = count.map_or(Some(u32::MAX), read_count)?;
        let uri = scheme.param("uri")?;
        let method = method.as_bytes();
        let question = Question { algorithm, realm, nonce, cnonce, count, method, uri };
        let response = scheme.param("response")?.to_ascii_lowercase();
        let is_right = is_same(&response, question.response(login).as_bytes());
        let is_user = is_same(scheme.param("username")?, login.user.as_bytes());
        if !(is_right & is_user) {
            return None;
        }
        // Only for a right login, so that nobody else can fill the table.
        let is_fresh = self.nonces.borrow_mut().use_up(nonce, n, now_s);
        Some(if is_fresh { Verdict::Admitted } else { Verdict::Stale })
    }

    /// The fields of a 407.
    ///
    /// MD5 stands before SHA-256: ncat 7.93 answers the first Digest only, and fails if that is
    /// SHA-256. Who knows better takes the better one.
    pub fn challenges(&self, stale: bool, now_s: u64) -> String {
        let nonce = self.nonces.borrow_mut().make(now_s);
        let stale = if stale { ", stale=true" } else { "" };
        let digest = |hash: Hash| {
            format!(
                "Proxy-Authenticate: Digest realm=\"{REALM}\", nonce=\"{nonce}\", qop=\"auth\", \
                 algorithm={}{stale}\r\n",
                hash.name()
            )
        };
        let basic = format!("Proxy-Authenticate: Basic realm=\"{REALM}\"\r\n");
        [digest(Hash::Md5), digest(Hash::Sha256), basic].concat()
    }
}

/// When a nonce was made, and its number: no two are the same.
type Stamp = (u64, u64);

/// The nonces that we have made, and those that have been used.
#[derive(Debug)]
struct Nonces {
    secret: Secret,
    made: u64,
    /// The highest count that came with each, the oldest first.
    counts: BTreeMap<Stamp, u32>,
    /// Nonces made up to this second have been dropped from `counts`: they are good no more.
    forgotten_until: Option<u64>,
}

impl Nonces {
    /// A new one: stamp and seal. It says when it was made, so it need not be remembered.
    fn make(&mut self, now_s: u64) -> String {
        self.made += 1;
        self.sealed((now_s, self.made))
    }

    fn sealed(&self, (time_s, number): Stamp) -> String {
        let stamp = format!("{time_s:016x}{number:016x}");
        // Of one length always, so the hash cannot be carried on over a longer stamp.
        let seal = Hash::Sha256.of(&[self.secret.bytes(), stamp.as_bytes()]);
        format!("{stamp}{seal}")
    }

    /// The stamp of a nonce, if we have made it.
    fn opened(&self, nonce: &[u8]) -> Option<Stamp> {
        let number = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let stamp = (number(nonce.get(..16)?)?, number(nonce.get(16..32)?)?);
        is_same(nonce, self.sealed(stamp).as_bytes()).then_some(stamp)
    }

    /// May the nonce be used with this count? Then this count and those below are used up.
    fn use_up(&mut self, nonce: &[u8], count: u32, now_s: u64) -> bool {
        let Some(stamp) = self.opened(nonce) else { return false };
        let oldest = now_s.saturating_sub(LIFETIME_S);
        if !(oldest..=now_s).contains(&stamp.0) {
            return false;
        }
        self.counts = self.counts.split_off(&(oldest, 0));
        if self.counts.len() >= REMEMBERED && !self.counts.contains_key(&stamp) {
            let dropped = self.counts.pop_first().map(|((time_s, _), _)| time_s);
            self.forgotten_until = self.forgotten_until.max(dropped);
        }
        if self.forgotten_until.is_some_and(|until| stamp.0 <= until) {
            return false;
        }
        let highest = self.counts.entry(stamp).or_default();
        if count <= *highest {
            return false;
        }
        *highest = count;
        true
    }
}

/// Eight hexadecimal digits (RFC 7616 §3.4).
fn read_count(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_count = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_count)
}

/// Compares in a time that does not depend on how much is the same: hashed first, the lengths
/// are the same, and a difference says nothing about what was hashed.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(&b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Admitted, LoginWanted, Stale};

    fn ann() -> Credentials {
        Credentials { user: "ann".into(), password: Secret::new("pw") }
    }

    fn gate() -> Gate {
        Gate::new(Some(ann()), *b"sixteen bytes of")
    }

    fn judge(gate: &Gate, authorization: &str, now_s: u64) -> Verdict {
        let value = authorization.as_bytes();
        gate.judge(&[Header { name: "proxy-authorization", value }], "GET", now_s)
    }

    /// The nonce of a challenge.
    fn nonce(gate: &Gate, now_s: u64) -> String {
        let challenges = gate.challenges(false, now_s);
        challenges.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// An answer by `ann` with this password.
    fn answer(algorithm: &str, nonce: &str, count: Option<&str>, password: &str) -> String {
        let question = Question {
            algorithm: Algorithm::named(Some(algorithm.as_bytes())).unwrap(),
            realm: b"Ncat",
            nonce: nonce.as_bytes(),
            cnonce: b"cn",
            count: count.map(str::as_bytes),
            method: b"GET",
            uri: b"/",
        };
        let login = Credentials { user: "ann".into(), password: Secret::new(password) };
        let response = question.response(&login);
        let count = count.map_or(String::new(), |nc| format!(", qop=auth, nc={nc}, cnonce=cn"));
        format!(
            "Digest username=\"ann\", realm=\"Ncat\", nonce=\"{nonce}\", uri=\"/\", \
             algorithm={algorithm}, response=\"{response}\"{count}"
        )
    }

    #[test]
    fn without_a_login_everybody_may_come_in() {
        let gate = Gate::new(None, [0; 16]);
        assert_eq!(gate.judge(&[], "GET", 0), Admitted);
        assert_eq!(judge(&gate, "Basic nonsense", 0), Admitted);
    }

    #[test]
    fn basic_must_be_right() {
        for (value, verdict) in [
            ("Basic YW5uOnB3", Admitted),
            ("bAsIc  YW5uOnB3 ", Admitted),
            ("Basic YW5uOnB4", LoginWanted),
            ("Basic YW5uOnB3YW5uOnB3", LoginWanted),
            ("Basic", LoginWanted),
            ("Basic YW5uOnB3 x", LoginWanted),
            ("Bearer YW5uOnB3", LoginWanted),
            ("", LoginWanted),
        ] {
            assert_eq!(judge(&gate(), value, 0), verdict, "{value:?}");
        }
        assert_eq!(gate().judge(&[], "GET", 0), LoginWanted);
        let fields = [("a", "Basic YW5uOnB3"), ("Proxy-Authorization", "NTLM x")]
            .map(|(name, value)| Header { name, value: value.as_bytes() });
        assert_eq!(gate().judge(&fields, "GET", 0), LoginWanted);
    }

    #[test]
    fn digest_must_be_right() {
        let gate = gate();
        let one = Some("00000001");
        for algorithm in ["MD5", "SHA-256"] {
            for count in [one, None] {
                let nonce = nonce(&gate, 9);
                let right = answer(algorithm, &nonce, count, "pw");
                let wrong = answer(algorithm, &nonce, count, "pW");
                assert_eq!(judge(&gate, &wrong, 9), LoginWanted, "{wrong}");
                assert_eq!(judge(&gate, &format!("{wrong}, {right}"), 9), LoginWanted);
                let fields = [Header { name: "Proxy-Authorization", value: right.as_bytes() }];
                assert_eq!(gate.judge(&fields, "POST", 9), LoginWanted);
                assert_eq!(judge(&gate, &right, 9), Admitted, "{right}");
            }
        }
        let right = answer("MD5", &nonce(&gate, 9), one, "pw");
        for (from, to) in [
            ("ann", "Ann"),
            ("Ncat", "ncat"),
            ("uri=\"/\"", "uri=\"/x\""),
            ("algorithm=MD5", "algorithm=SHA-256"),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("algorithm=MD5", "algorithm=x"),
            ("qop=auth", "qop=auth-int"),
            ("nc=00000001", "nc=00000002"),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=+0000001"),
            ("cnonce=cn", "cnonce=cm"),
            (", cnonce=cn", ""),
            (", qop=auth", ""),
            (", uri=\"/\"", ""),
            ("response=\"", "response=\"0"),
        ] {
            let wrong = right.replace(from, to);
            assert!(wrong != right && judge(&gate, &wrong, 9) == LoginWanted, "{wrong}");
        }
        let (name, value) = ("Proxy-Authorization", right.as_bytes());
        let both = [Header { name, value: b"Basic YW5uOnB4" }, Header { name, value }];
        assert_eq!(gate.judge(&both, "GET", 9), Admitted, "the better scheme counts");
    }

    #[test]
    fn a_nonce_lives_for_a_minute() {
        let gate = gate();
        let login = |nonce: &str, count| answer("SHA-256", nonce, Some(count), "pw");
        let nonce = nonce(&gate, 1000);
        assert_eq!(judge(&gate, &login(&nonce, "00000001"), 1000), Admitted);
        assert_eq!(judge(&gate, &login(&nonce, "00000002"), 1060), Admitted);
        assert_eq!(judge(&gate, &login(&nonce, "00000003"), 1061), Stale);
        assert_eq!(judge(&gate, &login(&nonce, "00000003"), 999), Stale, "from the future");
        let other = Gate::new(Some(ann()), [7; 16]);
        assert_eq!(judge(&other, &login(&nonce, "00000001"), 1000), Stale, "not its own");
        for forged in ["", "0", &nonce[1..], &nonce.replace("3e8", "3e9"), &format!("{nonce}0")] {
            assert_eq!(judge(&gate, &login(forged, "00000001"), 1001), Stale, "{forged}");
        }
        assert!(gate.challenges(true, 0).contains("algorithm=SHA-256, stale=true\r\n"));
        assert!(!gate.challenges(false, 0).contains("stale"));
    }

    #[test]
    fn a_login_cannot_be_replayed() {
        let gate = gate();
        let nonce_a = nonce(&gate, 5);
        let login = |nonce: &str, count| answer("MD5", nonce, Some(count), "pw");
        for (count, verdict) in [
            ("00000000", Stale),
            ("00000001", Admitted),
            ("00000001", Stale),
            ("0000000a", Admitted),
            ("0000000A", Stale),
            ("00000009", Stale),
            ("ffffffff", Admitted),
            ("ffffffff", Stale),
        ] {
            assert_eq!(judge(&gate, &login(&nonce_a, count), 5), verdict, "{count}");
        }
        // Two of the same second are two.
        let nonce_b = nonce(&gate, 5);
        assert_eq!(judge(&gate, &login(&nonce_b, "00000001"), 5), Admitted);
        let once = answer("MD5", &nonce(&gate, 5), None, "pw");
        assert_eq!((judge(&gate, &once, 5), judge(&gate, &once, 5)), (Admitted, Stale));
    }

    #[test]
    fn what_is_forgotten_is_not_good_again() {
        let gate = gate();
        let login = |nonce: &str, count| answer("MD5", nonce, Some(count), "pw");
        let first = nonce(&gate, 1);
        let unused = nonce(&gate, 1);
        assert_eq!(judge(&gate, &login(&first, "00000001"), 1), Admitted);
        for _ in 0..REMEMBERED {
            assert_eq!(judge(&gate, &login(&nonce(&gate, 2), "00000001"), 2), Admitted);
        }
        assert_eq!(gate.nonces.borrow().counts.len(), REMEMBERED);
        assert_eq!(judge(&gate, &login(&first, "00000002"), 2), Stale);
        assert_eq!(judge(&gate, &login(&unused, "00000001"), 2), Stale);
        // A wrong login leaves nothing behind; a minute later there is room again.
        let later = nonce(&gate, 63);
        assert_eq!(judge(&gate, &answer("MD5", &later, Some("00000001"), "x"), 63), LoginWanted);
        assert_eq!(judge(&gate, &login(&later, "00000001"), 63), Admitted);
        assert_eq!(gate.nonces.borrow().counts.len(), 1);
    }

    #[test]
    fn no_secret_is_printed() {
        let debug = format!("{:?}", gate());
        assert!(!debug.contains("pw") && !debug.contains("115, 105"), "{debug}");
    }
}
