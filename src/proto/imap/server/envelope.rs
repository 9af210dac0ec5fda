//! ENVELOPE: the header as IMAP tells it (RFC 9051 §7.5.2). What is encoded stays so (RFC 2047):
//! decoding it is the client's work.

use super::structure::{Part, nstring, string};

/// Nobody writes to more people at once.
const MOST_ADDRESSES: usize = 10_000;

/// Writes the envelope of a message.
pub(super) fn write(message: &Part, octets: &[u8], out: &mut Vec<u8>) {
    let value = |name| message.value(octets, name);
    let from = value("From");
    let or_from = |value: Option<Vec<u8>>| value.filter(|v| !v.is_empty()).or_else(|| from.clone());
    out.push(b'(');
    nstring(value("Date").as_deref(), out);
    out.push(b' ');
    nstring(value("Subject").as_deref(), out);
    let people = [
        from.clone(),
        or_from(value("Sender")),
        or_from(value("Reply-To")),
        value("To"),
        value("Cc"),
        value("Bcc"),
    ];
    for people in people {
        out.push(b' ');
        write_people(&people.unwrap_or_default(), out);
    }
    for name in ["In-Reply-To", "Message-ID"] {
        out.push(b' ');
        nstring(value(name).as_deref(), out);
    }
    out.push(b')');
}

fn write_people(value: &[u8], out: &mut Vec<u8>) {
    let people = addresses(value);
    if people.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for person in people {
        out.push(b'(');
        nstring(person.name.as_deref(), out);
        // Source routes are obsolete (RFC 5322 §4.4).
        out.extend_from_slice(b" NIL ");
        nstring(person.mailbox.as_deref(), out);
        out.push(b' ');
        match person.host {
            Some(host) => string(&host, out),
            None => out.extend_from_slice(b"NIL"),
        }
        out.push(b')');
    }
    out.push(b')');
}

/// As ENVELOPE has it: without a host it is the name of a group, without a mailbox too it is the
/// end of one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Person {
    name: Option<Vec<u8>>,
    mailbox: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

/// A piece of a structured field (RFC 5322 §3.2).
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    Special(u8),
    Comment(Vec<u8>),
}

/// Reads a list of addresses (RFC 5322 §3.4), forgiving what is none.
fn addresses(value: &[u8]) -> Vec<Person> {
    let mut people = Vec::new();
    let mut words: Vec<Token> = Vec::new();
    let mut angle: Option<Vec<Token>> = None;
    let mut comment = None;
    let mut in_group = false;
    let mut is_in_angle = false;
    for token in tokens(value).into_iter().chain([Token::Special(b',')]) {
        if people.len() >= MOST_ADDRESSES {
            break;
        }
        match token {
            Token::Comment(text) => comment = Some(text),
            Token::Special(b'<') => (angle, is_in_angle) = (Some(vec![]), true),
            Token::Special(b'>') => is_in_angle = false,
            // A route ends here.
            Token::Special(b':') if is_in_angle => angle = Some(vec![]),
            Token::Special(b':') => {
                let mailbox = Some(phrase(&words));
                people.push(Person { mailbox, ..Person::default() });
                (words, in_group) = (vec![], true);
            }
            Token::Special(b',' | b';')
                if !is_in_angle || matches!(token, Token::Special(b';')) =>
            {
                let named = angle.is_some();
                let address = angle.take().unwrap_or_else(|| std::mem::take(&mut words));
                let name = if named { Some(phrase(&words)) } else { comment.take() };
                if !address.is_empty() {
                    let name = name.filter(|name| !name.is_empty());
                    people.push(person(name, &address));
                }
                (words, comment, is_in_angle) = (vec![], None, false);
                if token == Token::Special(b';') && in_group {
                    people.push(Person::default());
                    in_group = false;
                }
            }
            Token::Word(_) | Token::Special(_) if is_in_angle => {
                angle.get_or_insert_default().push(token);
            }
            Token::Word(_) | Token::Special(_) => words.push(token),
        }
    }
    if in_group {
        people.push(Person::default());
    }
    people
}

fn person(name: Option<Vec<u8>>, address: &[Token]) -> Person {
    let at = address.iter().rposition(|token| *token == Token::Special(b'@'));
    let (mailbox, host) = match at {
        Some(at) => (&address[..at], joined(&address[at + 1..], b"")),
        // Dovecot's way to say it: NIL would make a group of it.
        None => (address, b"MISSING_DOMAIN".to_vec()),
    };
    Person { name, mailbox: Some(joined(mailbox, b"")), host: Some(host) }
}

/// Words with blanks between them.
fn phrase(tokens: &[Token]) -> Vec<u8> {
    joined(tokens, b" ")
}

fn joined(tokens: &[Token], between: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Word(word) => {
                if !out.is_empty() {
                    out.extend_from_slice(between);
                }
                out.extend_from_slice(word);
            }
            Token::Special(octet) => out.push(*octet),
            Token::Comment(_) => {}
        }
    }
    out
}

fn tokens(value: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b' ' | b'\t' => {}
            b'"' => {
                let (text, used) = until_quote(after);
                tokens.push(Token::Word(text));
                rest = &after[used..];
            }
            b'(' => {
                let (text, used) = comment(after);
                tokens.push(Token::Comment(text));
                rest = &after[used..];
            }
            b'<' | b'>' | b',' | b':' | b';' | b'@' => tokens.push(Token::Special(*first)),
            b'[' => {
                let end = memchr::memchr(b']', after).map_or(after.len(), |at| at + 1);
                tokens.push(Token::Word([b"[", &after[..end]].concat()));
                rest = &after[end..];
            }
            _ => {
                let n = after.iter().take_while(|b| !b" \t\"(<>,:;@[".contains(b)).count();
                tokens.push(Token::Word([&[*first], &after[..n]].concat()));
                rest = &after[n..];
            }
        }
    }
    tokens
}

/// The text up to the closing quote, and how much of the input that takes.
pub(super) fn until_quote(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => break,
            b'\\' => out.extend(octets.next()),
            octet => out.push(*octet),
        }
    }
    (out, text.len() - octets.as_slice().len())
}

/// The same for a comment, in which there may be others.
fn comment(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut depth = 0_usize;
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b')' if depth == 0 => break,
            b')' => depth -= 1,
            b'(' => depth += 1,
            b'\\' => {
                out.extend(octets.next());
                continue;
            }
            _ => {}
        }
        out.push(*octet);
    }
    (out, text.len() - octets.as_slice().len())
}

/// A structured field without what is only for people.
pub(super) fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'(' => rest = &after[comment(after).1..],
            b'"' => {
                let used = until_quote(after).1;
                out.push(b'"');
                out.extend_from_slice(&after[..used]);
                rest = &after[used..];
            }
            octet => out.push(*octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(value: &str) -> String {
        let mut out = Vec::new();
        write_people(value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (value, told) in [
            ("", "NIL"),
            ("ann@example.org", r#"((NIL NIL "ann" "example.org"))"#),
            ("Ann B. <ann@example.org>", r#"(("Ann B." NIL "ann" "example.org"))"#),
            (
                r#""B, \"Bob\"" <"bob smith"@[127.0.0.1]>, c@d (Carl (C.))"#,
                r#"(("B, \"Bob\"" NIL "bob smith" "[127.0.0.1]")("Carl (C.)" NIL "c" "d"))"#,
            ),
            ("=?utf-8?q?=C3=A9?= <e@x>", r#"(("=?utf-8?q?=C3=A9?=" NIL "e" "x"))"#),
            ("<@a,@b:ann@x>", r#"((NIL NIL "ann" "x"))"#),
            (
                "team: a@x, B <b@x>;, c@x",
                concat!(
                    r#"((NIL NIL "team" NIL)(NIL NIL "a" "x")("B" NIL "b" "x")"#,
                    r#"(NIL NIL NIL NIL)(NIL NIL "c" "x"))"#
                ),
            ),
            ("undisclosed-recipients:;", {
                r#"((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))"#
            }),
            ("ann", r#"((NIL NIL "ann" "MISSING_DOMAIN"))"#),
            (",,", "NIL"),
        ] {
            assert_eq!(people(value), told, "{value}");
        }
    }
}
