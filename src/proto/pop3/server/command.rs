//! The commands of POP3, as a server reads them (RFC 1939 §3, RFC 2449 §4).

/// A command with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command<'a> {
    User(&'a [u8]),
    /// The password is the rest of the line, spaces and all (RFC 1939 §7).
    Pass(&'a [u8]),
    /// The user, and the digest.
    Apop(&'a [u8], &'a [u8]),
    /// The mechanism, if one is named, and what follows it.
    Auth(Option<&'a [u8]>, Option<&'a [u8]>),
    Capa,
    Stls,
    Utf8,
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top(u32, u32),
    Dele(u32),
    Noop,
    Rset,
    Quit,
}

impl Command<'_> {
    /// The message that it is about, if it is about one.
    pub(super) fn message(&self) -> Option<u32> {
        match self {
            Self::List(number) | Self::Uidl(number) => *number,
            Self::Retr(number) | Self::Top(number, _) | Self::Dele(number) => Some(*number),
            Self::User(_)
            | Self::Pass(_)
            | Self::Apop(..)
            | Self::Auth(..)
            | Self::Capa
            | Self::Stls
            | Self::Utf8
            | Self::Stat
            | Self::Noop
            | Self::Rset
            | Self::Quit => None,
        }
    }

    /// The capability that brings it, if not every server has it.
    pub(super) fn capability(&self) -> Option<&'static str> {
        match self {
            Self::User(_) | Self::Pass(_) => Some("USER"),
            Self::Apop(..) => Some("APOP"),
            Self::Auth(..) => Some("SASL"),
            Self::Capa => Some("CAPA"),
            Self::Stls => Some("STLS"),
            Self::Utf8 => Some("UTF8"),
            Self::Uidl(_) => Some("UIDL"),
            Self::Top(..) => Some("TOP"),
            Self::Stat
            | Self::List(_)
            | Self::Retr(_)
            | Self::Dele(_)
            | Self::Noop
            | Self::Rset
            | Self::Quit => None,
        }
    }
}

/// What a line asks for, in lower case, and the rest of it behind one space.
pub(super) fn split(line: &[u8]) -> (String, &[u8]) {
    let (name, rest) = match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[][..]),
    };
    (String::from_utf8_lossy(name).to_ascii_lowercase(), rest)
}

/// What is asked for when no line of ours names it.
pub(super) const UNKNOWN: &str = "there is no such command";

/// Reads a line without its line end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, &'static str> {
    let (name, rest) = split(line);
    let alone = |command| match rest.trim_ascii() {
        [] => Ok(command),
        _ => Err("it takes no argument"),
    };
    let words: Vec<&[u8]> = super::words(rest).collect();
    match name.as_str() {
        "user" => match rest.trim_ascii_end() {
            [] => Err("USER takes a name"),
            user => Ok(Command::User(user)),
        },
        "pass" => Ok(Command::Pass(rest)),
        "apop" => {
            let rest = rest.trim_ascii_end();
            let at = memchr::memrchr(b' ', rest).ok_or("APOP takes a name and a digest")?;
            Ok(Command::Apop(&rest[..at], &rest[at + 1..]))
        }
        "auth" => match words[..] {
            [] => Ok(Command::Auth(None, None)),
            [mechanism] => Ok(Command::Auth(Some(mechanism), None)),
            [mechanism, initial] => Ok(Command::Auth(Some(mechanism), Some(initial))),
            _ => Err("AUTH takes a mechanism and an initial response"),
        },
        "capa" => alone(Command::Capa),
        "stls" => alone(Command::Stls),
        "utf8" => alone(Command::Utf8),
        "stat" => alone(Command::Stat),
        "noop" => alone(Command::Noop),
        "rset" => alone(Command::Rset),
        "quit" => alone(Command::Quit),
        "list" => optional(&words).map(Command::List),
        "uidl" => optional(&words).map(Command::Uidl),
        "retr" => one(&words).map(Command::Retr),
        "dele" => one(&words).map(Command::Dele),
        "top" => match words[..] {
            [n, lines] => number(n).zip(number(lines)).map(|(n, lines)| Command::Top(n, lines)),
            _ => None,
        }
        .ok_or("TOP takes the number of a message and a number of lines"),
        _ => Err(UNKNOWN),
    }
}

fn optional(words: &[&[u8]]) -> Result<Option<u32>, &'static str> {
    if words.is_empty() { Ok(None) } else { one(words).map(Some) }
}

fn one(words: &[&[u8]]) -> Result<u32, &'static str> {
    match words {
        [word] => number(word).ok_or("a message is named by its number"),
        _ => Err("it takes the number of one message"),
    }
}

/// Digits and nothing else; what is beyond every mailbox is as good as the last number there is.
fn number(word: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(word).ok().filter(|w| w.bytes().all(|b| b.is_ascii_digit()));
    digits.filter(|digits| !digits.is_empty()).map(|digits| digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_asks_for_in_any_case() {
        for (line, command) in [
            ("USER ann", Command::User(b"ann")),
            ("user ann b ", Command::User(b"ann b")),
            ("PASS  a b ", Command::Pass(b" a b ")),
            ("PASS", Command::Pass(b"")),
            ("APOP ann b c4c9", Command::Apop(b"ann b", b"c4c9")),
            ("auth", Command::Auth(None, None)),
            ("AUTH PLAIN", Command::Auth(Some(b"PLAIN"), None)),
            ("AUTH PLAIN =", Command::Auth(Some(b"PLAIN"), Some(b"="))),
            ("Stat", Command::Stat),
            ("STAT ", Command::Stat),
            ("LIST", Command::List(None)),
            ("LIST  2", Command::List(Some(2))),
            ("uidl 02", Command::Uidl(Some(2))),
            ("RETR 99999999999999", Command::Retr(u32::MAX)),
            ("TOP 1 0", Command::Top(1, 0)),
            ("DELE 0", Command::Dele(0)),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in [
            "",
            " ",
            " STAT",
            "STATS",
            "STAT 1",
            "USER",
            "USER ",
            "APOP",
            "APOP ann",
            "RETR",
            "RETR x",
            "RETR +1",
            "RETR -1",
            "RETR 1 2",
            "LIST 1,2",
            "TOP 1",
            "TOP 1 -1",
            "TOP 1 2 3",
            "AUTH PLAIN a b",
            "QUIT now",
            "\u{e9}",
            "QUIT\t",
        ] {
            let ok = parse(line.as_bytes()).is_ok();
            // A tab is white space, and no part of a name.
            assert!(!ok, "{line:?}");
        }
        assert_eq!(parse(b"\xff\xfe 1"), Err(UNKNOWN));
    }
}
