//! IMAP (RFC 9051, RFC 3501): a helped session, reading mailboxes, and a server.

pub mod fetch;
mod flagging;
pub mod reader;
pub mod server;
pub mod session;
mod strings;
pub mod utf7;

use super::session::words;

/// What a command line asks for; it decides what its reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// No command: the server speaks first, or by itself.
    Greeting,
    /// CAPABILITY.
    Capability,
    /// STARTTLS.
    StartTls,
    /// LOGIN.
    Login,
    /// AUTHENTICATE.
    Authenticate,
    /// SELECT or EXAMINE.
    Select,
    /// APPEND.
    Append,
    /// FETCH, STORE, SEARCH, COPY, MOVE, with UID before them or not.
    Messages,
    /// IDLE (RFC 2177).
    Idle,
    /// LOGOUT.
    Logout,
    /// Anything else.
    Other,
}

impl Verb {
    /// What a command line, its tag first and without its line end, asks for.
    pub fn of(line: &[u8]) -> Self {
        let mut words = words(line).skip(1);
        match words.next().unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"CAPABILITY" => Verb::Capability,
            b"STARTTLS" => Verb::StartTls,
            b"LOGIN" => Verb::Login,
            b"AUTHENTICATE" => Verb::Authenticate,
            b"SELECT" | b"EXAMINE" => Verb::Select,
            b"APPEND" => Verb::Append,
            b"UID" | b"FETCH" | b"STORE" | b"SEARCH" | b"COPY" | b"MOVE" => Verb::Messages,
            b"IDLE" => Verb::Idle,
            b"LOGOUT" => Verb::Logout,
            _ => Verb::Other,
        }
    }

    /// The reply to it, for "the server hung up before ...".
    fn awaited(self) -> &'static str {
        match self {
            Verb::Greeting => "its greeting",
            Verb::Capability => "its reply to CAPABILITY",
            Verb::StartTls => "its reply to STARTTLS",
            Verb::Login => "its reply to LOGIN",
            Verb::Authenticate => "its reply to AUTHENTICATE",
            Verb::Select => "its reply to SELECT",
            Verb::Append => "its reply to APPEND: it is unknown whether it took the message",
            Verb::Messages => "its reply to the command about messages",
            Verb::Idle => "the end of IDLE",
            Verb::Logout => "its reply to LOGOUT",
            Verb::Other => "its reply to the last command",
        }
    }
}

/// How a line says that things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// OK.
    Ok,
    /// NO: the command failed.
    No,
    /// BAD: the command is not understood.
    Bad,
    /// PREAUTH: logged in already.
    Preauth,
    /// BYE: the server hangs up.
    Bye,
}

impl Status {
    /// The status of this name.
    fn named(word: &[u8]) -> Option<Self> {
        match word.to_ascii_uppercase().as_slice() {
            b"OK" => Some(Status::Ok),
            b"NO" => Some(Status::No),
            b"BAD" => Some(Status::Bad),
            b"PREAUTH" => Some(Status::Preauth),
            b"BYE" => Some(Status::Bye),
            _ => None,
        }
    }
}

/// A line with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How things stand.
    pub status: Status,
    /// The whole line without its line end, cut at a bound: raw bytes.
    pub line: Vec<u8>,
}

impl Reply {
    /// What stands behind tag and status.
    pub fn text(&self) -> &[u8] {
        after_words(&self.line, 2)
    }

    /// The response code in brackets (RFC 9051 §7.1, RFC 5530), in upper case, its arguments too.
    pub fn code(&self) -> Option<String> {
        super::pop3::code(self.text())
    }

    /// The first word of the code: `UNAVAILABLE`.
    pub fn code_name(&self) -> Option<String> {
        self.code().map(|code| code.split(' ').next().unwrap_or_default().to_owned())
    }
}

/// What follows the first `n` words.
fn after_words(line: &[u8], n: usize) -> &[u8] {
    let mut rest = line;
    for _ in 0..n {
        rest = memchr::memchr(b' ', rest).map_or(&[][..], |at| &rest[at + 1..]);
    }
    rest
}

/// What the server offers, by the latest list of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// The words, in upper case.
    words: Vec<String>,
}

impl Offers {
    /// Reads a list: the text behind `* CAPABILITY`, or that of the code of the same name.
    pub fn read(list: &str) -> Self {
        let words = list.split_ascii_whitespace().map(str::to_ascii_uppercase);
        Self { words: words.collect() }
    }

    /// Is this one of them?
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|offered| offered == word)
    }

    /// The mechanisms of AUTHENTICATE.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.words.iter().filter_map(|word| word.strip_prefix("AUTH="))
    }
}

/// A string that a command can carry (RFC 9051 §4.3), unless it has octets that only a literal
/// can.
fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().any(|b| b"\r\n\0".contains(b) || *b >= 0x80) {
        return None;
    }
    let mut out = vec![b'"'];
    for &byte in text {
        if b"\"\\".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_stand_behind_the_tag() {
        for (line, verb) in [
            ("a1 login ann secret", Verb::Login),
            ("a AUTHENTICATE PLAIN", Verb::Authenticate),
            ("a uid fetch 1 all", Verb::Messages),
            ("login", Verb::Other),
            ("a examine INBOX", Verb::Select),
            ("", Verb::Other),
        ] {
            assert_eq!(Verb::of(line.as_bytes()), verb, "{line:?}");
        }
    }

    #[test]
    fn a_reply_is_taken_apart() {
        let line = b"a1 NO [AUTHENTICATIONFAILED] wrong".to_vec();
        let reply = Reply { status: Status::No, line };
        assert_eq!(reply.code().unwrap(), "AUTHENTICATIONFAILED");
        assert_eq!(reply.text(), b"[AUTHENTICATIONFAILED] wrong");
        let line = b"a1 OK [badcharset (utf-8)] x".to_vec();
        assert_eq!(Reply { status: Status::Ok, line }.code_name().unwrap(), "BADCHARSET");
        assert_eq!(Reply { status: Status::Ok, line: b"a OK".to_vec() }.text(), b"");
    }

    #[test]
    fn strings_are_quoted_or_need_a_literal() {
        assert_eq!(quoted(br#"a "b\ "#).unwrap(), br#""a \"b\\ ""#);
        assert_eq!(quoted("é".as_bytes()), None);
        assert_eq!(quoted(b"a\nb"), None);
    }
}
