//! Mailbox names on the line (RFC 9051 §5.1, RFC 3501 §5.1.3).

use super::out::Out;
use super::words::{Parsed, Words};
use crate::proto::imap::utf7;
use crate::proto::store::INBOX;

/// Octets of a name that a client may give, and levels: each level is a name of its own in a list.
const LONGEST: usize = 1000;
const DEEPEST: usize = 64;

/// How names are written: in UTF-8 once the client has enabled that, before in IMAP's UTF-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) utf8: bool,
}

pub(super) fn is_inbox(name: &str) -> bool {
    name.eq_ignore_ascii_case(INBOX)
}

impl Names {
    /// A name as text.
    pub(super) fn read(self, octets: &[u8]) -> String {
        let text = String::from_utf8_lossy(octets);
        // Who says UTF-8 unasked means it.
        if self.utf8 || !text.is_ascii() { text.into_owned() } else { utf7::decode(&text) }
    }

    /// A mailbox that is named in a command.
    pub(super) fn mailbox(self, words: &mut Words<'_>) -> Parsed<String> {
        let octets = words.astring().map_err(|_| "the name of a mailbox is missing")?;
        if std::str::from_utf8(&octets).is_err() {
            return Err("the name of a mailbox is no UTF-8");
        }
        let name = self.read(&octets);
        if name.chars().any(char::is_control) {
            return Err("the name of a mailbox has control characters");
        }
        if name.len() > LONGEST || name.matches('/').count() > DEEPEST {
            return Err("the name of a mailbox is too long");
        }
        Ok(match name.split_once('/') {
            _ if is_inbox(&name) => INBOX.to_owned(),
            Some((first, rest)) if is_inbox(first) => format!("{INBOX}/{rest}"),
            Some(_) | None => name,
        })
    }

    pub(super) fn write(self, name: &str, out: &mut Out) {
        if !self.utf8 {
            return out.string(utf7::encode(name).as_bytes());
        }
        if name.is_ascii() {
            return out.string(name.as_bytes());
        }
        // RFC 9051 §9: quoted strings may hold UTF-8.
        out.text(&format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_utf7_until_utf8_is_enabled() {
        let name = |utf8, text: &str| Names { utf8 }.mailbox(&mut Words::new(text.as_bytes()));
        for (utf8, text, expected) in [
            (false, "inbox", "INBOX"),
            (false, "\"Inbox/a\"", "INBOX/a"),
            (false, "\"Entw&APw-rfe\"", "Entwürfe"),
            (true, "\"Entw&APw-rfe\"", "Entw&APw-rfe"),
            (true, "\"Entwürfe\"", "Entwürfe"),
            (false, "Entwürfe", "Entwürfe"),
        ] {
            assert_eq!(name(utf8, text).as_deref(), Ok(expected), "{text}");
        }
        assert!(name(true, "\"a\tb\"").is_err());
        assert!(name(false, "{1}\r\n\0").is_err());
        assert!(Names { utf8: true }.mailbox(&mut Words::new(b"a\xff")).is_err());
        for (utf8, written) in [(false, "Entw&APw-rfe\\\""), (true, "Entw\\xc3\\xbcrfe\\\"")] {
            let mut out = Out::default();
            Names { utf8 }.write("Entwürfe", &mut out);
            assert_eq!(out.all(), format!("\\\"{written}"));
        }
    }
}
