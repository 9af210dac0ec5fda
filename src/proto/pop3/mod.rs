//! POP3 (RFC 1939): a helped session, reading a mailbox, and a server.

pub mod fetch;
pub mod server;
pub mod session;

use super::session::words;

/// What a command line asks for; it decides what its reply looks like and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// No command: the server speaks first.
    Greeting,
    /// CAPA (RFC 2449).
    Capa,
    /// STLS (RFC 2595).
    Stls,
    /// USER.
    User,
    /// PASS or APOP: the login is decided.
    Pass,
    /// AUTH (RFC 5034), or an answer to its challenge.
    Auth,
    /// AUTH alone: some servers list their mechanisms.
    AuthList,
    /// STAT.
    Stat,
    /// LIST or UIDL of all messages.
    List,
    /// LIST or UIDL of one message.
    ListOne,
    /// RETR.
    Retr,
    /// TOP.
    Top,
    /// DELE.
    Dele,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

impl Verb {
    /// What a command line, without its line end, asks for.
    pub fn of(line: &[u8]) -> Self {
        let mut words = words(line);
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let is_alone = words.next().is_none();
        match (first.as_slice(), is_alone) {
            (b"CAPA", _) => Verb::Capa,
            (b"STLS", _) => Verb::Stls,
            (b"USER", _) => Verb::User,
            (b"PASS" | b"APOP", _) => Verb::Pass,
            (b"AUTH", true) => Verb::AuthList,
            (b"AUTH", false) => Verb::Auth,
            (b"STAT", _) => Verb::Stat,
            (b"LIST" | b"UIDL", true) => Verb::List,
            (b"LIST" | b"UIDL", false) => Verb::ListOne,
            (b"RETR", _) => Verb::Retr,
            (b"TOP", _) => Verb::Top,
            (b"DELE", _) => Verb::Dele,
            (b"RSET", _) => Verb::Rset,
            (b"NOOP", _) => Verb::Noop,
            (b"QUIT", _) => Verb::Quit,
            _ => Verb::Other,
        }
    }

    /// Do lines up to a lone dot follow `+OK`?
    fn has_lines(self) -> bool {
        match self {
            Verb::Capa | Verb::AuthList | Verb::List | Verb::Retr | Verb::Top => true,
            Verb::Greeting
            | Verb::Stls
            | Verb::User
            | Verb::Pass
            | Verb::Auth
            | Verb::Stat
            | Verb::ListOne
            | Verb::Dele
            | Verb::Rset
            | Verb::Noop
            | Verb::Quit
            | Verb::Other => false,
        }
    }

    /// The reply to it, for "the server hung up before ...".
    fn awaited(self) -> &'static str {
        match self {
            Verb::Greeting => "its greeting",
            Verb::Capa => "its reply to CAPA",
            Verb::Stls => "its reply to STLS",
            Verb::User => "its reply to USER",
            Verb::Pass => "its reply to PASS",
            Verb::Auth | Verb::AuthList => "its reply to AUTH",
            Verb::Stat => "its reply to STAT",
            Verb::List | Verb::ListOne => "its reply to LIST",
            Verb::Retr => "its reply to RETR",
            Verb::Top => "its reply to TOP",
            Verb::Dele => "its reply to DELE",
            Verb::Quit => "its reply to QUIT: it is unknown whether it deleted anything",
            Verb::Rset | Verb::Noop | Verb::Other => "its reply to the last command",
        }
    }
}

/// A status line, with the lines that followed it where they were kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `+OK`, not `-ERR`.
    pub ok: bool,
    /// The status line without its line end: raw bytes.
    pub line: Vec<u8>,
    /// The lines behind it, for commands of ours.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// What stands behind `+OK` or `-ERR`.
    pub fn text(&self) -> &[u8] {
        let rest = if self.ok { &self.line[3..] } else { &self.line[4..] };
        rest.strip_prefix(b" ").unwrap_or(rest)
    }

    /// The response code in brackets (RFC 2449 §8, RFC 3206), in upper case: `SYS/TEMP`.
    pub fn code(&self) -> Option<String> {
        code(self.text())
    }
}

/// The text in the brackets at the start of a line, in upper case.
pub(super) fn code(text: &[u8]) -> Option<String> {
    let inside = text.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', inside)?;
    Some(String::from_utf8_lossy(&inside[..end]).to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_all_has_lines_and_that_of_one_has_none() {
        for (line, verb, lines) in [
            ("list", Verb::List, true),
            ("LIST 3", Verb::ListOne, false),
            ("uidl ", Verb::List, true),
            ("RETR 1", Verb::Retr, true),
            ("top 1 0", Verb::Top, true),
            ("AUTH", Verb::AuthList, true),
            ("AUTH PLAIN", Verb::Auth, false),
            ("stls", Verb::Stls, false),
            ("APOP ann 0", Verb::Pass, false),
            ("", Verb::Other, false),
        ] {
            assert_eq!(Verb::of(line.as_bytes()), verb, "{line:?}");
            assert_eq!(verb.has_lines(), lines, "{line:?}");
        }
    }

    #[test]
    fn the_code_in_brackets_is_found() {
        let reply = |line: &str| Reply {
            ok: line.starts_with('+'),
            line: line.as_bytes().to_vec(),
            lines: Vec::new(),
        };
        assert_eq!(reply("-ERR [in-use] wait").code().unwrap(), "IN-USE");
        assert_eq!(reply("-ERR no").code(), None);
        assert_eq!(reply("-ERR [open").code(), None);
        assert_eq!(reply("+OK").text(), b"");
    }
}
