//! Words and strings in the lines of a server.

/// The word behind this one: digits.
pub(super) fn after(text: &str, word: &str) -> String {
    let rest = text.split_once(word).map_or("", |(_, rest)| rest);
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// The string or atom at the end of a line, quotes included.
pub(super) fn last_string(line: &[u8]) -> Option<&[u8]> {
    if line.last() != Some(&b'"') {
        return line.rsplit(|&b| b == b' ').next().filter(|word| !word.is_empty());
    }
    // Back to the quote that no backslash stands before.
    let inside = &line[..line.len() - 1];
    let escaped =
        |at: usize| inside[..at].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
    let start = (0..inside.len()).rev().find(|&at| inside[at] == b'"' && !escaped(at))?;
    Some(&line[start..])
}

/// What a quoted string means; an atom means itself.
pub(super) fn unquoted(string: &[u8]) -> String {
    let text = String::from_utf8_lossy(string);
    let Some(inside) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return text.into_owned();
    };
    let mut out = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_at_the_end_of_a_line() {
        for (line, name) in [
            (r#"* LIST () "/" INBOX"#, "INBOX"),
            (r#"* LIST () "/" "a b""#, "a b"),
            (r#"* LIST () "/" "a \"b\" \\""#, r#"a "b" \"#),
            (r#"* LIST () NIL """#, ""),
        ] {
            let found = last_string(line.as_bytes()).map(unquoted);
            assert_eq!(found.as_deref(), Some(name), "{line}");
        }
    }
}
