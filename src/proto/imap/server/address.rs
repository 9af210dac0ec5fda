//! Addresses of a header field, in the pieces that ENVELOPE has (RFC 9051 §7.5.2).
//!
//! mail-parser's addresses are decoded for people; a client wants its encoded words (RFC 2047).

/// Addresses of one field that are told.
const MOST: usize = 1000;

/// A mailbox, or the beginning or the end of a group: those have no host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) name: Option<Vec<u8>>,
    pub(super) route: Option<Vec<u8>>,
    pub(super) mailbox: Option<Vec<u8>>,
    pub(super) host: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    Comment(Vec<u8>),
    /// `<>,;:@`
    Special(u8),
}

/// The next token, and what follows it.
fn token(text: &[u8]) -> Option<(Token, &[u8])> {
    let text = text.trim_ascii_start();
    let first = *text.first()?;
    let is_special = |b: &u8| b"<>,;:@".contains(b);
    match first {
        b'"' => {
            let (mut out, mut at) = (Vec::new(), 1);
            while let Some(&byte) = text.get(at) {
                at += 1;
                match byte {
                    b'"' => break,
                    b'\\' => {
                        out.extend(text.get(at));
                        at += 1;
                    }
                    byte => out.push(byte),
                }
            }
            Some((Token::Word(out), text.get(at..).unwrap_or_default()))
        }
        b'(' => {
            let (mut depth, mut at, mut out) = (1_usize, 1, Vec::new());
            while let Some(&byte) = text.get(at) {
                at += 1;
                match byte {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    b'\\' => {
                        out.extend(text.get(at));
                        at += 1;
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                out.push(byte);
            }
            Some((Token::Comment(out), text.get(at..).unwrap_or_default()))
        }
        b'[' => {
            let end = memchr::memchr(b']', text).map_or(text.len(), |at| at + 1);
            Some((Token::Word(text[..end].to_vec()), &text[end..]))
        }
        special if is_special(&special) => Some((Token::Special(special), &text[1..])),
        _ => {
            let stops = |b: &u8| is_special(b) || b" \t\"([".contains(b);
            let end = text[1..].iter().position(stops).map_or(text.len(), |at| at + 1);
            Some((Token::Word(text[..end].to_vec()), &text[end..]))
        }
    }
}

/// The addresses of an unfolded value.
pub(super) fn addresses(value: &[u8]) -> Vec<Address> {
    let (mut all, mut held, mut rest) = (Vec::new(), Vec::new(), value);
    let (mut in_angle, mut in_group) = (false, false);
    while let Some((token, behind)) = token(rest) {
        rest = behind;
        match token {
            Token::Special(b'<') => in_angle = true,
            Token::Special(b'>') => in_angle = false,
            Token::Special(b',') if !in_angle => {
                all.extend(mailbox(std::mem::take(&mut held)));
                continue;
            }
            Token::Special(b':') if !in_angle && !in_group => {
                in_group = true;
                let mailbox = Some(words(&std::mem::take(&mut held), b" "));
                all.push(Address { mailbox, ..Address::default() });
                continue;
            }
            Token::Special(b';') if in_group && !in_angle => {
                in_group = false;
                all.extend(mailbox(std::mem::take(&mut held)));
                all.push(Address::default());
                continue;
            }
            Token::Special(_) | Token::Word(_) | Token::Comment(_) => {}
        }
        if all.len() >= MOST {
            held.clear();
            break;
        }
        held.push(token);
    }
    all.extend(mailbox(held));
    if in_group {
        all.push(Address::default());
    }
    all
}

/// Words with something between them; comments are none.
fn words(tokens: &[Token], between: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = tokens
        .iter()
        .filter_map(|token| match token {
            Token::Word(word) => Some(word.as_slice()),
            Token::Comment(_) | Token::Special(_) => None,
        })
        .collect();
    words.join(between)
}

fn mailbox(tokens: Vec<Token>) -> Option<Address> {
    let at =
        |tokens: &[Token], byte| tokens.iter().position(|token| *token == Token::Special(byte));
    let (name, spec) = match at(&tokens, b'<') {
        Some(open) => {
            let close = at(&tokens[open..], b'>').map_or(tokens.len(), |close| open + close);
            (Some(words(&tokens[..open], b" ")), &tokens[open + 1..close])
        }
        None => (None, &tokens[..]),
    };
    let comment = || {
        tokens.iter().rev().find_map(|token| match token {
            Token::Comment(text) => Some(text.clone()),
            Token::Word(_) | Token::Special(_) => None,
        })
    };
    let name = name.filter(|name| !name.is_empty()).or_else(comment);
    // RFC 5322 §4.4: @a,@b:user@host.
    let (route, spec) = match (spec.first(), at(spec, b':')) {
        (Some(Token::Special(b'@')), Some(colon)) => {
            let mut route = Vec::new();
            for token in &spec[..colon] {
                match token {
                    Token::Word(word) => route.extend_from_slice(word),
                    Token::Special(byte) => route.push(*byte),
                    Token::Comment(_) => {}
                }
            }
            (Some(route), &spec[colon + 1..])
        }
        (Some(_), _) | (None, _) => (None, spec),
    };
    let (local, host) = match spec.iter().rposition(|token| *token == Token::Special(b'@')) {
        Some(at) => (words(&spec[..at], b""), words(&spec[at + 1..], b"")),
        None => (words(spec, b""), Vec::new()),
    };
    if local.is_empty() && host.is_empty() && name.is_none() {
        return None;
    }
    Some(Address { name, route, mailbox: Some(local), host: Some(host) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        for (value, expected) in [
            ("ann@x.org", "-|-|ann|x.org"),
            ("Ann B. <ann@x.org>", "Ann B.|-|ann|x.org"),
            ("\"B, Ann\" <ann@x>, bob@y (Bob)", "B, Ann|-|ann|x Bob|-|bob|y"),
            ("=?utf-8?q?J=C3=B6?= <j@x>", "=?utf-8?q?J=C3=B6?=|-|j|x"),
            ("<@a,@b:c@d>", "-|@a,@b|c|d"),
            ("friends: a@x, B <b@y>;, c@z", "-|-|friends|- -|-|a|x B|-|b|y -|-|-|- -|-|c|z"),
            ("none:;", "-|-|none|- -|-|-|-"),
            ("\"a b\"@[IPv6:::1]", "-|-|a b|[IPv6:::1]"),
            ("root", "-|-|root|"),
            ("", ""),
            (" , ,", ""),
            ("<", ""),
            ("a <b@c", "a|-|b|c"),
            ("(", "|-||"),
        ] {
            let text = |part: &Option<Vec<u8>>| {
                part.as_ref().map_or("-".into(), |p| String::from_utf8_lossy(p).into_owned())
            };
            let got: Vec<_> = addresses(value.as_bytes())
                .iter()
                .map(|a| [&a.name, &a.route, &a.mailbox, &a.host].map(text).join("|"))
                .collect();
            assert_eq!(got.join(" "), expected, "{value}");
        }
        assert!(addresses("a,".repeat(100_000).as_bytes()).len() <= MOST + 1);
        addresses("(".repeat(100_000).as_bytes());
        addresses("<".repeat(100_000).as_bytes());
    }
}
