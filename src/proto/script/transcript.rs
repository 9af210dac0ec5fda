//! Records of conversations, as `--output-format dialog` writes them, played again.

use super::{Piece, Script, Step, What};

/// `0.123 S: 220 hi`: who said it, and what.
fn said(line: &str) -> Option<(char, &str)> {
    let (time, rest) = line.split_once(' ')?;
    if time.is_empty() || !time.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let (who, text) = rest.split_at_checked(3)?;
    match who {
        "C: " => Some(('C', text)),
        "S: " => Some(('S', text)),
        _ => None,
    }
}

/// Is this a record, not a script? Its first line says so.
pub fn is_record(text: &str) -> bool {
    text.lines().next().and_then(said).is_some()
}

/// What one side said is sent, each line with CR LF, and what the other did is waited for.
///
/// # Errors
/// The line that is none of a record.
pub fn parse(text: &str, name: &str, as_client: bool) -> Result<Script, String> {
    let mut steps = Vec::new();
    let us = if as_client { 'C' } else { 'S' };
    for (number, line) in (1..).zip(text.lines()) {
        let (who, said) = said(line).ok_or_else(|| {
            format!("{name}, line {number}: \"{line}\": a line of a record is TIME C: or TIME S:")
        })?;
        let mut bytes = unquote(said);
        let what = if who == us {
            bytes.extend(b"\r\n");
            What::Send(vec![Piece::Bytes(bytes)])
        } else {
            What::Line(bytes)
        };
        steps.push(Step { what, text: format!("line {number}: {who}: {said}") });
    }
    Ok(Script { steps: steps.into(), loops: 0 })
}

/// The bytes behind `\r`, `\n`, `\t`, `\xNN` and `\u{N}`; a backslash before all else is itself.
fn unquote(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        bytes.extend(&rest.as_bytes()[..at]);
        let behind = &rest[at + 1..];
        let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let byte = |b| Some((vec![b], 1));
        let found = match behind.chars().next() {
            Some('r') => byte(b'\r'),
            Some('n') => byte(b'\n'),
            Some('t') => byte(b'\t'),
            Some('x') => behind
                .get(1..3)
                .and_then(hex)
                .and_then(|n| u8::try_from(n).ok())
                .map(|b| (vec![b], 3)),
            Some('u') => behind.get(1..).and_then(|s| s.strip_prefix('{')).and_then(|s| {
                let (digits, _) = s.split_once('}')?;
                let c = hex(digits).and_then(char::from_u32)?;
                Some((c.to_string().into_bytes(), digits.len() + 3))
            }),
            Some(_) | None => None,
        };
        let (new, len) = found.unwrap_or_else(|| (b"\\".to_vec(), 0));
        bytes.extend(new);
        rest = &behind[len..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_from_a_script() {
        assert!(is_record("0.000 S: 220 hi\n"));
        assert!(is_record("12.345 C: "));
        for text in ["", "send \"0.0 S: \"", "# 0.000 S: x", "x S: y", "0.000 X: y", "0.0 S:"] {
            assert!(!is_record(text), "{text}");
        }
        assert!(
            parse("0.0 S: a\nclose", "f", true).unwrap_err().starts_with("f, line 2: \"close\"")
        );
    }

    #[test]
    fn what_was_escaped_comes_back() {
        let text = "a\\x1b[m\\t\\u{202e}\\xff\\q\\x\u{e9}\\";
        assert_eq!(
            unquote(text),
            "a\x1b[m\t\u{202e}\u{0}\\q\\x\u{e9}\\"
                .replace('\0', "\u{1}")
                .bytes()
                .flat_map(|b| if b == 1 { vec![0xff] } else { vec![b] })
                .collect::<Vec<_>>()
        );
    }
}
