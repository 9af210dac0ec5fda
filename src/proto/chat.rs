//! What a chat looks like: whose words are whose, who has come, who has gone (`--chat`).
//!
//! Users have numbers from 1 in the order in which they come; standard input is user 0. Text in
//! UTF-8 passes. What a terminal would obey is written as ncat writes it, in octal byte for byte
//! (`\033[1m`), and a backslash is only a backslash: the result is for eyes, not for parsing back.
//!
//! Every line that a user causes begins with that user's name, so nobody can speak as another or
//! as `<announce>`. Only a terminal that wraps long lines shows text at its margin.

use std::str;

/// The longest start of a line that waits for its end.
const LONGEST: usize = 4096;

/// Appends what `user` says, each line behind its name, the last one ended if it was not.
///
/// At worst, from a chunk of empty lines, 18 bytes become of one: read little at a time.
pub fn line(user: u32, chunk: &[u8], out: &mut Vec<u8>) {
    let name = format!("<user{user}> ");
    for row in chunk.split_inclusive(|&b| b == b'\n') {
        // The CR of CR LF belongs to the end; any other would let the text write over the name.
        let text = match row.strip_suffix(b"\n") {
            Some(text) => text.strip_suffix(b"\r").unwrap_or(text),
            None => row,
        };
        out.extend_from_slice(name.as_bytes());
        show(text, out);
        out.push(b'\n');
    }
}

/// Two lines for everybody, the newcomer included; `address` and those of the others are ours
/// (numeric), not words of a peer.
pub fn joined(user: u32, address: &str, others: &[(u32, String)]) -> String {
    let others: Vec<_> =
        others.iter().map(|(other, address)| format!("{address} as <user{other}>")).collect();
    let others = if others.is_empty() { "nobody".to_owned() } else { others.join(", ") };
    format!(
        "<announce> {address} is connected as <user{user}>.\n\
         <announce> already connected: {others}.\n"
    )
}

/// A line for those who stay.
pub fn left(user: u32) -> String {
    format!("<announce> <user{user}> is disconnected.\n")
}

/// Makes lines of the chunks of one user.
///
/// A chunk without LF is a line of its own, as from a program that never sends one; so is an
/// unfinished line past 4 KiB. What follows the last LF of a chunk waits for the next chunk,
/// since a long paste is cut anywhere. A cut character and a CR always wait.
#[derive(Debug)]
pub struct Lines {
    user: u32,
    /// What waits; `LONGEST` at most between calls.
    held: Vec<u8>,
    /// The last line was ended by us: an LF that comes next is the end of that line.
    broken: bool,
}

impl Lines {
    /// For a user who has said nothing yet.
    pub fn new(user: u32) -> Self {
        Self { user, held: Vec::new(), broken: false }
    }

    /// Appends what is to be shown of a chunk, and of what was held back before.
    pub fn say(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(chunk);
        let mut rest = all.as_slice();
        if self.broken
            && let Some(after) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n"))
        {
            rest = after;
            self.broken = false;
        }
        let lines = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
        let (lines, tail) = rest.split_at(lines);
        let waits = tail.len() <= LONGEST && chunk.contains(&b'\n');
        let (now, later) = tail.split_at(if waits { 0 } else { whole(tail) });
        for words in [lines, now] {
            line(self.user, words, out);
            if !words.is_empty() {
                self.broken = !words.ends_with(b"\n");
            }
        }
        self.held.extend_from_slice(later);
    }

    /// The user has gone: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        line(self.user, &std::mem::take(&mut self.held), out);
        self.broken = false;
    }
}

/// How much of an unfinished line can be shown: not a CR or the start of a character at its end.
fn whole(text: &[u8]) -> usize {
    if text.ends_with(b"\r") {
        return text.len() - 1;
    }
    let lead = text.iter().rev().take(3).position(|&b| b >= 0xc0);
    let at = lead.map_or(text.len(), |back| text.len() - 1 - back);
    match str::from_utf8(&text[at..]) {
        Err(error) if error.error_len().is_none() => at,
        Ok(_) | Err(_) => text.len(),
    }
}

/// Appends a line's text with everything harmful in octal.
fn show(text: &[u8], out: &mut Vec<u8>) {
    for piece in text.utf8_chunks() {
        for c in piece.valid().chars() {
            let mut buf = [0; 4];
            let bytes = c.encode_utf8(&mut buf).as_bytes();
            if is_harmful(c) {
                octal(bytes, out);
            } else {
                out.extend_from_slice(bytes);
            }
        }
        octal(piece.invalid(), out);
    }
}

fn octal(bytes: &[u8], out: &mut Vec<u8>) {
    for b in bytes {
        out.extend_from_slice(&[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]);
    }
}

/// Whether a character acts on a terminal or on the text around it.
///
/// The same characters as in the terminal's own filter, which lies in a layer that is not ours
/// to use; `tests/layers.rs` compares the two.
fn is_harmful(c: char) -> bool {
    matches!(c,
        '\0'..='\x08' | '\n'..='\x1f' | '\x7f'..='\u{9f}' // C0 but for the tab, DEL, C1
        | '\u{61c}' | '\u{200e}' | '\u{200f}' // bidi marks
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidi overrides (CVE-2021-42574)
        | '\u{2028}' | '\u{2029}' // line and paragraph separators
        | '\u{200b}' | '\u{feff}' // zero width
        | '\u{e0000}'..='\u{e007f}' // tags: invisible ASCII
        | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe // noncharacters end every plane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(chunk: &[u8]) -> String {
        let mut out = Vec::new();
        line(7, chunk, &mut out);
        String::from_utf8(out).expect("what is shown is UTF-8")
    }

    /// What one user's chunks come to, and what still waits at the end.
    fn said(chunks: &[&[u8]]) -> (String, String) {
        let mut lines = Lines::new(7);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.say(chunk, &mut out);
            assert!(lines.held.len() <= LONGEST);
        }
        let mut last = Vec::new();
        lines.finish(&mut last);
        (String::from_utf8(out).unwrap(), String::from_utf8(last).unwrap())
    }

    #[test]
    fn every_line_has_its_name_and_its_end() {
        for (chunk, lines) in [
            (&b""[..], ""),
            (b"hi", "<user7> hi\n"),
            (b"hi\n", "<user7> hi\n"),
            (b"hi\r\n", "<user7> hi\n"),
            (b"\n", "<user7> \n"),
            (b"a\n\nb\r\nc", "<user7> a\n<user7> \n<user7> b\n<user7> c\n"),
            (b"\ta \\ b\n", "<user7> \ta \\ b\n"),
        ] {
            assert_eq!(shown(chunk), lines);
        }
    }

    #[test]
    fn text_passes_and_everything_else_is_octal() {
        for (chunk, text) in [
            ("Zürich 東京 🦀 👩\u{200d}🔬".as_bytes(), "Zürich 東京 🦀 👩\u{200d}🔬"),
            (b"\x07\x1b[1m\x00\x7f", r"\007\033[1m\000\177"),
            (b"\x1b]52;c;ZXZpbA==\x07", r"\033]52;c;ZXZpbA==\007"),
            (b"a\rb\r\r\n", r"a\015b\015"),
            (b"a\r", r"a\015"),
            (b"\x0b\x0c", r"\013\014"),
            (b"\xc2\x9b31m\x9b31m", r"\302\23331m\23331m"),
            ("\u{202e}\u{2028}\u{feff}".as_bytes(), r"\342\200\256\342\200\250\357\273\277"),
            (b"\xff\xe2\x82 \xc0\xaf", r"\377\342\202 \300\257"),
        ] {
            assert_eq!(shown(chunk), format!("<user7> {text}\n"));
        }
    }

    #[test]
    fn nobody_can_speak_as_another_however_it_is_cut() {
        let evil = "\n<announce> a\r<user1> b\r\n\r<user2> c\u{2028}<user3> d\u{85}\x0b\x0ce\x1bE\
                    \u{9b}1G\x08\n\n<announce> f\r"
            .as_bytes();
        for chunk in 1..=evil.len() {
            let chunks: Vec<&[u8]> = evil.chunks(chunk).collect();
            let (out, last) = said(&chunks);
            for text in [out, last] {
                assert!(text.is_empty() || text.ends_with('\n'));
                for line in text.lines() {
                    let words = line.strip_prefix("<user7> ");
                    let words = words.unwrap_or_else(|| panic!("{chunk}: {line:?}"));
                    assert!(!words.contains(char::is_control), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn noise_comes_out_as_named_lines_and_nothing_grows() {
        let mut seed = 1_u32;
        let mut lines = Lines::new(u32::MAX);
        for _ in 0..20_000 {
            let chunk: Vec<u8> = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let pick = (seed >> 16) as usize % 8;
                    match seed >> 30 {
                        0 => b"\r\n\x1b<u> \t"[pick],
                        1 => b"\xc2\xe2\x80\xae\xf0\x9f\xa6\x80"[pick],
                        _ => (seed >> 16) as u8,
                    }
                })
                .collect();
            let mut out = Vec::new();
            lines.say(&chunk, &mut out);
            assert!(lines.held.len() <= LONGEST);
            let out = String::from_utf8(out).unwrap();
            assert!(out.lines().all(|line| line.starts_with("<user4294967295> ")), "{out:?}");
            assert!(!out.contains(|c: char| is_harmful(c) && c != '\n'), "{out:?}");
        }
    }

    #[test]
    fn a_chunk_without_lf_is_a_line() {
        assert_eq!(said(&[b"hi"]), ("<user7> hi\n".into(), String::new()));
        assert_eq!(said(&[b"a", b"b"]), ("<user7> a\n<user7> b\n".into(), String::new()));
        assert_eq!(said(&[b"", b""]), (String::new(), String::new()));
    }

    #[test]
    fn an_lf_that_is_written_apart_is_no_line_of_its_own() {
        // As from `print("hi")` in Python without a buffer.
        for chunks in [
            &[&b"hi"[..], b"\n", b"yes\n"][..],
            &[b"hi", b"\r\n", b"yes\r\n"],
            &[b"hi\r", b"\nyes\n"],
            &[b"hi", b"\r", b"\n", b"yes", b"\n"],
        ] {
            assert_eq!(said(chunks), ("<user7> hi\n<user7> yes\n".into(), String::new()));
        }
        // But the one after it is.
        assert_eq!(said(&[b"hi", b"\n", b"\n"]).0, "<user7> hi\n<user7> \n");
        assert_eq!(said(&[b"hi", b"\n\n"]).0, "<user7> hi\n<user7> \n");
    }

    #[test]
    fn a_paste_that_is_cut_inside_a_line_stays_whole() {
        let (out, last) = said(&[b"one\ntw", b"o\nthr", b"ee\n"]);
        assert_eq!((&out[..], &last[..]), ("<user7> one\n<user7> two\n<user7> three\n", ""));
        // Whoever leaves in the middle of a line has said it.
        assert_eq!(said(&[b"one\ntw"]), ("<user7> one\n".into(), "<user7> tw\n".into()));
    }

    #[test]
    fn a_cut_character_waits_and_a_broken_one_does_not() {
        let text = "é東🦀".as_bytes();
        for at in 0..=text.len() {
            let (a, b) = text.split_at(at);
            let (out, last) = said(&[a, b]);
            let all = out.replace("\n<user7> ", "");
            assert_eq!((&all[..], &last[..]), ("<user7> é東🦀\n", ""), "{at}");
        }
        let by_byte: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(said(&by_byte).0, "<user7> é\n<user7> 東\n<user7> 🦀\n");
        // Leads without the rest, and a rest without its lead.
        assert_eq!(said(&[b"a\xe2", b"b"]).0, "<user7> a\n<user7> \\342b\n");
        assert_eq!(said(&[b"\xc0", b"\x80\x80\x80"]).0, "<user7> \\300\n<user7> \\200\\200\\200\n");
        assert_eq!(said(&[b"\xf0\x9f\xa6"]).1, "<user7> \\360\\237\\246\n");
    }

    #[test]
    fn a_line_without_end_is_cut_at_4_kib() {
        let long = [b'x'; LONGEST];
        let (out, last) = said(&[b"\n", &[&b"\n"[..], &long].concat()]);
        assert_eq!((out.len(), last.len()), (18, LONGEST + 9));
        let (out, last) = said(&[&[&b"\n"[..], &long, b"y"].concat(), b"z\n"]);
        assert_eq!(out, format!("<user7> \n<user7> {}y\n<user7> z\n", "x".repeat(LONGEST)));
        assert_eq!(last, "");
    }

    #[test]
    fn comings_and_goings_are_told_in_ncats_words() {
        assert_eq!(
            joined(1, "127.0.0.1:46900", &[]),
            "<announce> 127.0.0.1:46900 is connected as <user1>.\n\
             <announce> already connected: nobody.\n"
        );
        let others = [(1, "127.0.0.1:46900".to_owned()), (2, "[::1]:46910".to_owned())];
        assert_eq!(
            joined(3, "[::1]:5", &others),
            "<announce> [::1]:5 is connected as <user3>.\n\
             <announce> already connected: 127.0.0.1:46900 as <user1>, [::1]:46910 as <user2>.\n"
        );
        assert_eq!(left(3), "<announce> <user3> is disconnected.\n");
    }
}
