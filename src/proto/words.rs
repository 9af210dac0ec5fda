//! A command line cut into words, for `-e`: no shell, no quotes, only backslashes.

/// Cuts at white space; a backslash makes the character after it an ordinary one.
///
/// A backslash at the very end is dropped. ncat swallows the blanks after an escaped character
/// (`a\b c` is `abc` to it); here a blank that no backslash precedes always ends a word, since
/// nobody can have meant the other.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '\\' => chars.next(),
            c if is_blank(c) => None,
            c => Some(c),
        };
        match literal {
            Some(c) => word.get_or_insert_default().push(c),
            None => words.extend(word.take()),
        }
    }
    words.extend(word);
    words
}

/// C's `isspace`, as ncat has it.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_cut_as_it_says() {
        for (line, words) in [
            (r"ncat -l -k", &["ncat", "-l", "-k"][..]),
            (r"ncat localhost 793", &["ncat", "localhost", "793"]),
            (r"./ncat scanme.nmap.org 80", &["./ncat", "scanme.nmap.org", "80"]),
            (
                r"t\ p\ s hello world how are you?",
                &["t p s", "hello", "world", "how", "are", "you?"],
            ),
            (r"t\ p\ s hello world how\ are you?", &["t p s", "hello", "world", "how are", "you?"]),
            (r"ncat\", &["ncat"]),
            (r"a\nb", &["anb"]),
            (r" ncat a ", &["ncat", "a"]),
            (r"\ncat \a", &["ncat", "a"]),
            (r"ncat\\ a", &[r"ncat\", "a"]),
            (r"ncat\ \", &["ncat "]),
            (r"", &[]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn quotes_mean_nothing() {
        assert_eq!(split(r#"sh -c "a b" 'c"#), ["sh", "-c", "\"a", "b\"", "'c"]);
    }

    #[test]
    fn every_kind_of_blank_cuts_unless_it_is_escaped() {
        assert_eq!(split("a\tb\nc\x0bd\x0ce\rf  g"), ["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(split("a\\\tb\\\nc"), ["a\tb\nc"]);
        // A no-break space is a character of a word.
        assert_eq!(split("é\u{a0}東 🦀"), ["é\u{a0}東", "🦀"]);
    }

    #[test]
    fn blanks_after_an_escape_are_not_swallowed() {
        assert_eq!(split(r"a\b c d"), ["ab", "c", "d"]);
        assert_eq!(split(r"a\  b"), ["a ", "b"]);
    }

    #[test]
    fn nothing_but_blanks_is_no_word() {
        for line in [" ", " \t\n", "\\", "  \\"] {
            assert!(split(line).is_empty(), "{line:?}");
        }
        assert_eq!(split(r"a \"), ["a"]);
    }
}
