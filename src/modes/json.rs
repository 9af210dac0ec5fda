//! JSON, as far as we write it: strings (RFC 8259 §7).

use std::fmt::Write as _;

/// A string in its quotes, with everything but plain text escaped.
pub(super) fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// A list of values that are JSON already.
pub(super) fn list(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    format!("[{}]", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_plain_ascii() {
        assert_eq!(string("é𝄞\"\\\n"), "\"\\u00e9\\ud834\\udd1e\\\"\\\\\\u000a\"");
        assert_eq!(list([string("a"), string("b")]), "[\"a\",\"b\"]");
    }
}
