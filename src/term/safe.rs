//! The peer's escape sequences made visible, so that what it sends cannot act on a terminal.
//!
//! In scope: C0 and C1 controls, escape sequences (ECMA-48), text that reorders or hides itself
//! (Unicode bidi, zero-width and tag characters), bytes that are not UTF-8. Out of scope: what
//! text means, look-alike letters, and concealing colours (`ESC [ 8 m` is SGR like any other).
//!
//! The result is for eyes, not for parsing back: a backslash of the peer is not doubled.

use std::mem;
use std::str;

/// How far the peer is trusted with the person's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Colours (SGR) pass, everything else is shown escaped.
    Colours,
    /// Nothing but text passes (strict).
    Text,
}

/// One stream on its way to a terminal; it may be cut at any byte.
#[derive(Debug)]
pub struct Safe {
    trust: Trust,
    /// The start of something that cannot be judged yet: a CR, a colour, a character.
    /// `held` is shorter than `SGR_LIMIT` between calls.
    held: Vec<u8>,
    /// Whether the terminal still wears a colour of the peer.
    coloured: bool,
}

impl Safe {
    /// A stream from its beginning.
    pub fn new(trust: Trust) -> Self {
        Self { trust, held: Vec::new(), coloured: false }
    }

    /// Appends to `out` what may be shown of `bytes`, at most four times as long.
    ///
    /// Only a last CR, the start of a colour and the start of a character wait for the next
    /// call; how the stream is cut changes when they are shown, never what is shown.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !self.held.is_empty() {
            let Some((&byte, after)) = rest.split_first() else { return };
            rest = after;
            let mut held = mem::take(&mut self.held);
            held.push(byte);
            let done = self.show(&held, out);
            held.drain(..done);
            self.held = held;
        }
        let done = self.show(rest, out);
        self.held.extend_from_slice(&rest[done..]);
    }

    /// The stream ended (or pauses): shows what was held back, ends the peer's colours.
    ///
    /// `pass` may be called again afterwards.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some((&byte, after)) = rest.split_first() {
            out.extend(byte.escape_ascii());
            let done = self.show(after, out);
            rest = &after[done..];
        }
        if mem::take(&mut self.coloured) {
            out.extend_from_slice(RESET);
        }
    }

    /// Shows pieces until one is cut short; returns how many bytes are done with.
    fn show(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            match first_piece(rest, self.trust) {
                Piece::Text(n) => {
                    out.extend_from_slice(&rest[..n]);
                    done += n;
                }
                Piece::Colour(n) => {
                    out.extend_from_slice(&rest[..n]);
                    // `38;5;0` ends in a zero and is a colour: only zeros alone are a reset.
                    self.coloured = !rest[2..n - 1].iter().all(|b| matches!(b, b'0' | b';'));
                    done += n;
                }
                Piece::Hidden(c) => {
                    out.extend(c.escape_unicode().map(|digit| digit as u8));
                    done += c.len_utf8();
                }
                Piece::Byte(byte) => {
                    out.extend(byte.escape_ascii());
                    done += 1;
                }
                Piece::Cut => break,
            }
        }
        done
    }
}

/// Quotes a peer's words for an error message or a log line: escaped, on one line.
///
/// At most `limit` characters, the last three of them `...` when something was left out;
/// an escape is never cut in two.
pub fn quote(bytes: &[u8], limit: usize) -> String {
    let words = bytes.utf8_chunks().flat_map(|chunk| {
        let text = chunk.valid().chars().map(quote_char);
        text.chain(chunk.invalid().iter().map(|byte| byte.escape_ascii().to_string()))
    });
    let mut quoted = String::new();
    let mut length = 0;
    // Where to cut, so that the dots still fit.
    let mut cut = 0;
    for word in words {
        quoted.push_str(&word);
        length += word.chars().count();
        if length > limit {
            quoted.truncate(cut);
            quoted.push_str(&DOTS[..DOTS.len().min(limit)]);
            return quoted;
        }
        if length + DOTS.len() <= limit {
            cut = quoted.len();
        }
    }
    quoted
}

/// A line ending in a log would let the peer write a line of its own: `\n`, unlike in `pass`.
fn quote_char(c: char) -> String {
    match c {
        '\0'..='\x1f' | '\x7f' => (c as u8).escape_ascii().to_string(),
        c if is_hidden(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    }
}

const DOTS: &str = "...";
const RESET: &[u8] = b"\x1b[0m";
const ESC: u8 = 0x1b;

/// The longest colour that passes, ESC and `m` included.
///
/// It bounds what waits unseen for an `m` that may never come. A true colour takes 19 bytes;
/// one with its background in the same sequence takes up to 36 and is shown escaped past 32.
const SGR_LIMIT: usize = 32;

/// What a stream begins with.
enum Piece {
    /// So many bytes of harmless text.
    Text(usize),
    /// A colour sequence of so many bytes.
    Colour(usize),
    /// A character that hides or moves others.
    Hidden(char),
    /// A byte that is a control, or no part of a character.
    Byte(u8),
    /// More bytes must come before anybody can tell.
    Cut,
}

/// Looks at the front of `bytes`, which is not empty.
fn first_piece(bytes: &[u8], trust: Trust) -> Piece {
    match bytes {
        [] | [b'\r'] => Piece::Cut,
        [b'\r', b'\n', ..] => Piece::Text(2),
        // A CR alone would let the peer write over what the person has already seen.
        [b'\r', ..] => Piece::Byte(b'\r'),
        [ESC, ..] => match trust {
            Trust::Colours => colour(bytes),
            Trust::Text => Piece::Byte(ESC),
        },
        [byte, ..] if !byte.is_ascii() => character(bytes),
        [byte, ..] => match bytes.iter().position(|&b| !is_plain(b)) {
            Some(0) => Piece::Byte(*byte),
            Some(n) => Piece::Text(n),
            None => Piece::Text(bytes.len()),
        },
    }
}

/// Judges an ESC: `ESC [ 1 ; 31 m` is a colour, anything else is not.
fn colour(bytes: &[u8]) -> Piece {
    let window = &bytes[..bytes.len().min(SGR_LIMIT)];
    let fits = |(i, &b): (usize, &u8)| match i {
        0 => true,
        1 => b == b'[',
        _ => matches!(b, b'0'..=b'9' | b';' | b':'),
    };
    match window.iter().enumerate().position(|byte| !fits(byte)) {
        Some(end) if end > 1 && window[end] == b'm' => Piece::Colour(end + 1),
        None if window.len() < SGR_LIMIT => Piece::Cut,
        Some(_) | None => Piece::Byte(ESC),
    }
}

/// Judges a byte over 0x7f: the start of a character, or not UTF-8.
fn character(bytes: &[u8]) -> Piece {
    let width = match bytes[0] {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    };
    let window = &bytes[..bytes.len().min(width)];
    match str::from_utf8(window) {
        Ok(text) => match text.chars().find(|&c| is_hidden(c)) {
            Some(c) => Piece::Hidden(c),
            None => Piece::Text(window.len()),
        },
        Err(error) if error.error_len().is_none() => Piece::Cut,
        // One byte at a time: those after it are continuations, which start nothing.
        Err(_) => Piece::Byte(bytes[0]),
    }
}

/// Whether a byte is text to every terminal.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n')
}

/// Whether a character past ASCII acts on the terminal or on the text around it.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' // C1: U+009B is CSI to some terminals
        | '\u{61c}' | '\u{200e}' | '\u{200f}' // bidi marks
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidi overrides (CVE-2021-42574)
        | '\u{2028}' | '\u{2029}' // line and paragraph separators
        | '\u{200b}' | '\u{feff}' // zero width; U+200C and U+200D shape real words and emoji
        | '\u{e0000}'..='\u{e007f}' // tags: invisible ASCII
        | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe // noncharacters end every plane
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the peer sends, what is shown with colours, what is shown without if that differs.
    const CORPUS: &[(&[u8], &str, Option<&str>)] = &[
        (b"", "", None),
        (b"login: ", "login: ", None),
        (b"a\tb\nc\r\nd\n\n\r\n", "a\tb\nc\r\nd\n\n\r\n", None),
        ("Zürich 東京 🦀 👩\u{200d}🔬".as_bytes(), "Zürich 東京 🦀 👩\u{200d}🔬", None),
        (b"C:\\x1b", "C:\\x1b", None),
        // OSC 52 (clipboard), OSC 0 (title), DCS, DECRQSS, CSI 6n, RIS, charset, SOS
        (b"\x1b]52;c;ZXZpbA==\x07!", r"\x1b]52;c;ZXZpbA==\x07!", None),
        (b"\x1b]0;title\x1b\\!", r"\x1b]0;title\x1b\!", None),
        (b"\x1bP1;2|abc\x1b\\", r"\x1bP1;2|abc\x1b\", None),
        (b"\x1bP$q\"p\x1b\\", r#"\x1bP$q"p\x1b\"#, None),
        (b"\x1b[6n\x1b[c\x1b[2J\x1bc\x1b(0\x1bX", r"\x1b[6n\x1b[c\x1b[2J\x1bc\x1b(0\x1bX", None),
        // C1 as raw bytes and as UTF-8
        (b"\x9b31m\x90q\x9c\x85", r"\x9b31m\x90q\x9c\x85", None),
        (b"\xc2\x9b31m\xc2\x80\xc2\x85\xc2\x9d0;t", r"\u{9b}31m\u{80}\u{85}\u{9d}0;t", None),
        (b"\xc2\xa0", "\u{a0}", None),
        // text that moves or hides
        ("ab\u{202e}cd\u{202a}".as_bytes(), r"ab\u{202e}cd\u{202a}", None),
        (
            "\u{2066}x\u{2069}\u{200e}\u{200f}".as_bytes(),
            r"\u{2066}x\u{2069}\u{200e}\u{200f}",
            None,
        ),
        ("\u{61c}\u{2028}\u{2029}".as_bytes(), r"\u{61c}\u{2028}\u{2029}", None),
        ("\u{200b}\u{feff}\u{e0041}".as_bytes(), r"\u{200b}\u{feff}\u{e0041}", None),
        ("\u{fdd0}\u{fffe}\u{10ffff}".as_bytes(), r"\u{fdd0}\u{fffe}\u{10ffff}", None),
        ("\u{fffd}\u{fdcf}\u{e0080}".as_bytes(), "\u{fffd}\u{fdcf}\u{e0080}", None),
        // bad UTF-8: stray, cut, overlong, surrogate, past the end, no lead at all
        (b"\x80\xbf\xc3(\xe2\x82x", r"\x80\xbf\xc3(\xe2\x82x", None),
        (b"\xf0\x9f\xa6", r"\xf0\x9f\xa6", None),
        (b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", r"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", None),
        (b"\xed\xa0\x80\xf4\x90\x80\x80", r"\xed\xa0\x80\xf4\x90\x80\x80", None),
        (b"\xff\xfe\xf8\x88\x80\x80\x80", r"\xff\xfe\xf8\x88\x80\x80\x80", None),
        (b"\xe2\x82\xe2\x82\xac", "\\xe2\\x82\u{20ac}", None),
        (b"\xe2\x1b]\xc3\r\n", "\\xe2\\x1b]\\xc3\r\n", None),
        // lone CR, C0, DEL
        (b"evil\rgood\r\r\n\r", "evil\\rgood\\r\r\n\\r", None),
        (b"a\x08\x00\x07\x0b\x0c\x0e\x7f", r"a\x08\x00\x07\x0b\x0c\x0e\x7f", None),
        (b"\x1b", r"\x1b", None),
        (b"\x1b\x1b\x1b[", r"\x1b\x1b\x1b[", None),
        // colours: kept, kept and reset, reset by the peer, not quite colours
        (b"\x1b[1;31mred", "\x1b[1;31mred\x1b[0m", Some(r"\x1b[1;31mred")),
        (b"\x1b[31mred\x1b[m.", "\x1b[31mred\x1b[m.", Some(r"\x1b[31mred\x1b[m.")),
        (b"\x1b[4:3mu\x1b[0;0m", "\x1b[4:3mu\x1b[0;0m", Some(r"\x1b[4:3mu\x1b[0;0m")),
        (b"\x1b[48;5;0m", "\x1b[48;5;0m\x1b[0m", Some(r"\x1b[48;5;0m")),
        (b"\x1b[?1m\x1b[>4;1m\x1b[31 m", r"\x1b[?1m\x1b[>4;1m\x1b[31 m", None),
        (b"\x1b[31\x1b[32mx", "\\x1b[31\x1b[32mx\x1b[0m", Some(r"\x1b[31\x1b[32mx")),
        (b"\x1b[31\r\n\x1b[3\xc3\xa9", "\\x1b[31\r\n\\x1b[3é", None),
        (b"\x1bm\x1b31m\x1b[", r"\x1bm\x1b31m\x1b[", None),
        (b"\x1b[38;2;1", r"\x1b[38;2;1", None),
        (
            b"\x1b[00000000000000000000000000000m", // 32 bytes
            "\x1b[00000000000000000000000000000m",
            Some(r"\x1b[00000000000000000000000000000m"),
        ),
        (
            b"\x1b[000000000000000000000000000000m", // 33 bytes
            r"\x1b[000000000000000000000000000000m",
            None,
        ),
    ];

    /// Passes the pieces one after the other and finishes.
    fn shown(trust: Trust, pieces: &[&[u8]]) -> String {
        let mut safe = Safe::new(trust);
        let mut out = Vec::new();
        for piece in pieces {
            safe.pass(piece, &mut out);
            assert!(safe.held.len() < SGR_LIMIT, "{} bytes held", safe.held.len());
        }
        safe.finish(&mut out);
        String::from_utf8(out).expect("what is shown is UTF-8")
    }

    fn assert_same_at_every_cut(trust: Trust, input: &[u8], expected: &str) {
        for first in 0..=input.len() {
            let (a, rest) = input.split_at(first);
            for second in 0..=rest.len() {
                let (b, c) = rest.split_at(second);
                assert_eq!(shown(trust, &[a, b, c]), expected, "{trust:?} {first}+{second}");
            }
        }
        for size in 1..8 {
            let pieces: Vec<&[u8]> = input.chunks(size).collect();
            assert_eq!(shown(trust, &pieces), expected, "{trust:?} by {size}");
        }
    }

    #[test]
    fn every_cut_of_the_corpus_shows_the_same() {
        for (input, colours, text) in CORPUS {
            assert_same_at_every_cut(Trust::Colours, input, colours);
            assert_same_at_every_cut(Trust::Text, input, text.unwrap_or(colours));
        }
    }

    #[test]
    fn the_corpus_in_one_stream_shows_the_same_at_every_cut() {
        let input = CORPUS.iter().map(|(input, _, _)| *input).collect::<Vec<_>>().join(&b"|"[..]);
        for trust in [Trust::Colours, Trust::Text] {
            let whole = shown(trust, &[&input]);
            for at in 0..=input.len() {
                let (a, b) = input.split_at(at);
                assert_eq!(shown(trust, &[a, b]), whole, "{trust:?} {at}");
            }
        }
    }

    #[test]
    fn nothing_but_text_and_colours_comes_out_whatever_comes_in() {
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let input: Vec<u8> = (0..24)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    match seed >> 30 {
                        0 => b"\x1b[;0m\r\n\x9b"[(seed >> 16) as usize % 8],
                        1 => b"\xc2\xe2\x80\xae\xf0\x9f\xa6\x80"[(seed >> 16) as usize % 8],
                        _ => (seed >> 16) as u8,
                    }
                })
                .collect();
            let strict = shown(Trust::Text, &[&input]);
            let leak = |c: char| is_hidden(c) || (c.is_control() && !"\t\r\n".contains(c));
            assert!(!strict.contains(leak), "{input:?} {strict:?}");
            assert!(!strict.replace("\r\n", "").contains('\r'), "{input:?} {strict:?}");
            let colours = shown(Trust::Colours, &[&input]);
            // A colour undone is what strict shows, but for the last reset, which is ours.
            let undone = colours.replace('\x1b', "\\x1b");
            assert_eq!(undone.strip_suffix("\\x1b[0m").unwrap_or(&undone), {
                strict.strip_suffix("\\x1b[0m").unwrap_or(&strict)
            });
        }
    }

    #[test]
    fn a_prompt_is_shown_at_once() {
        let mut safe = Safe::new(Trust::Colours);
        let mut out = Vec::new();
        safe.pass("\x1b[1mlogin été: ".as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "\x1b[1mlogin été: ");
    }

    #[test]
    fn a_stream_goes_on_after_a_pause() {
        let mut safe = Safe::new(Trust::Colours);
        let mut out = Vec::new();
        safe.pass(b"\x1b[31mred\x1b[3", &mut out);
        safe.finish(&mut out);
        safe.finish(&mut out);
        safe.pass(b"2m plain\r\n", &mut out);
        safe.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "\x1b[31mred\\x1b[3\x1b[0m2m plain\r\n");
    }

    #[test]
    fn a_quote_stays_on_one_line() {
        let hostile = "a\tb\r\nncat: fake\u{2028}\x1b[31m\u{202e}é\u{9b}\x7f".as_bytes();
        let expected = r"a\tb\r\nncat: fake\u{2028}\x1b[31m\u{202e}é\u{9b}\x7f";
        assert_eq!(quote(hostile, 80), expected);
        assert_eq!(quote(b"caf\xc3\xa9 caf\xe9 \xe2\x82", 80), r"café caf\xe9 \xe2\x82");
    }

    #[test]
    fn a_quote_is_cut_at_its_limit_between_escapes() {
        let cases: &[(&str, usize, &str)] = &[
            ("", 0, ""),
            ("", 80, ""),
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abc..."),
            ("éééééé", 6, "éééééé"),
            ("ééééééé", 6, "ééé..."),
            ("abc\x1b", 7, r"abc\x1b"),
            ("abc\x1bd", 7, "abc..."),
            ("a\u{202e}bcdef", 11, r"a..."),
            ("a\u{202e}bcdef", 12, r"a\u{202e}..."),
            ("a\u{202e}bcdef", 14, r"a\u{202e}bcdef"),
            ("\u{202e}", 7, "..."),
            ("abcd", 3, "..."),
            ("abcd", 2, ".."),
            ("abcd", 0, ""),
        ];
        for (input, limit, expected) in cases {
            assert_eq!(quote(input.as_bytes(), *limit), *expected, "{input:?} {limit}");
        }
    }
}
