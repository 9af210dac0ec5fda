//! The content of a message on its way in: dots taken off, nothing else changed.
//!
//! A message ends with CR LF . CR LF and with nothing else (RFC 5321 §4.1.1.4): taking a bare LF
//! for a line end here is how one message smuggles another (CVE-2023-51764).

use memchr::memmem;

/// What the last octets were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// CR LF, or nothing yet: a line begins.
    Line,
    /// A CR, which may become a line end.
    Cr,
    /// Anything else.
    Inside,
}

/// Gathers a message.
#[derive(Debug)]
pub(super) struct Content {
    octets: Vec<u8>,
    /// How many there were, those that were not kept included.
    total: u64,
    most: u64,
    tail: Tail,
}

impl Content {
    /// Keeps `most` octets; one more, and nothing is kept.
    pub(super) fn new(most: u64) -> Self {
        Self { octets: Vec::new(), total: 0, most, tail: Tail::Line }
    }

    /// Has it grown too long? It is empty then.
    pub(super) fn is_too_long(&self) -> bool {
        self.total > self.most
    }

    /// Octets so far, kept or not.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    /// A piece that means itself (BDAT).
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.total += piece.len() as u64;
        if self.is_too_long() {
            self.octets = Vec::new();
        } else {
            self.octets.extend_from_slice(piece);
        }
    }

    /// Takes what is sure of `input`, a piece of dot-stuffed text: how much that is, and whether
    /// the end has come. Up to two octets are left, for what follows decides about them.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match (self.tail, rest) {
                (_, []) => return (at, false),
                (Tail::Line, [b'.', b'\r', b'\n', ..]) => return (at + 3, true),
                (Tail::Line, [b'.'] | [b'.', b'\r']) => return (at, false),
                (Tail::Line, [b'.', ..]) => {
                    at += 1;
                    self.tail = Tail::Inside;
                    continue;
                }
                (Tail::Cr, [b'\n', ..]) => {
                    self.add(b"\n");
                    at += 1;
                    self.tail = Tail::Line;
                    continue;
                }
                (Tail::Line | Tail::Cr | Tail::Inside, _) => {}
            }
            let piece = match memmem::find(rest, b"\r\n.") {
                Some(before) => &rest[..before + 2],
                None => rest,
            };
            self.add(piece);
            at += piece.len();
            self.tail = match piece {
                [.., b'\r', b'\n'] => Tail::Line,
                [.., b'\r'] => Tail::Cr,
                _ => Tail::Inside,
            };
        }
    }
}

/// Are there LF without CR, or CR without LF?
pub(super) fn has_bare(octets: &[u8]) -> (bool, bool) {
    let lf = memchr::memchr_iter(b'\n', octets).any(|at| at == 0 || octets[at - 1] != b'\r');
    let cr = memchr::memchr_iter(b'\r', octets).any(|at| octets.get(at + 1) != Some(&b'\n'));
    (lf, cr)
}

/// Every bare CR or LF as CR LF.
pub(super) fn normalized(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 64);
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\r\n");
        let end = if rest[at..].starts_with(b"\r\n") { at + 2 } else { at + 1 };
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
    out
}

/// What a real server, or a reader, would hold against a message.
pub(super) fn lint(octets: &[u8], may_be_eight_bit: bool) -> Vec<&'static str> {
    let mut lint = Vec::new();
    let (lf, cr) = has_bare(octets);
    if lf {
        lint.push("a bare LF in the message: lines end in CR LF");
    }
    if cr {
        lint.push("a bare CR in the message: lines end in CR LF");
    }
    let mut begin = 0;
    let too_long = memchr::memchr_iter(b'\n', octets).chain([octets.len()]).any(|end| {
        let length = end.saturating_sub(begin);
        begin = end + 1;
        // With its CR.
        length > 999
    });
    if too_long {
        lint.push("a line of more than 998 octets (RFC 5322 section 2.1.1)");
    }
    if !may_be_eight_bit && !octets.is_ascii() {
        lint.push("octets over 127, and BODY=8BITMIME was not said");
    }
    let header_end = match octets {
        // A message without a header begins with its empty line.
        [b'\r', b'\n', ..] | [b'\n', ..] => 0,
        _ => memmem::find(octets, b"\r\n\r\n").unwrap_or(octets.len()),
    };
    let header = &octets[..header_end];
    for (field, missing) in [
        ("date:", "no Date field (RFC 5322 section 3.6 asks for one)"),
        ("from:", "no From field (RFC 5322 section 3.6 asks for one)"),
        ("message-id:", "no Message-ID field"),
    ] {
        let is_there = header.split(|&b| b == b'\n').any(|line| {
            line.get(..field.len()).is_some_and(|name| name.eq_ignore_ascii_case(field.as_bytes()))
        });
        if !is_there {
            lint.push(missing);
        }
    }
    lint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(input: &[u8], chunk: usize) -> (Vec<u8>, usize, bool) {
        let mut content = Content::new(1000);
        let (mut eaten, mut seen) = (0, 0);
        loop {
            seen = (seen + chunk).min(input.len());
            let (n, end) = content.take(&input[eaten..seen]);
            eaten += n;
            if end || seen == input.len() {
                return (content.into_octets(), eaten, end);
            }
        }
    }

    #[test]
    fn dots_come_off_and_only_one_thing_is_the_end() {
        for (input, content, rest) in [
            (&b"a\r\n.\r\nQUIT"[..], &b"a\r\n"[..], 4),
            (b".\r\nx", b"", 1),
            (b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n", 0),
            // The smuggler's ends are content.
            (b"a\n.\nb\n.\r\nc\r.\rd\r\n.\nE\r\n.\r\n", b"a\n.\nb\n.\r\nc\r.\rd\r\n\nE\r\n", 0),
            (b"\r\r\n.\r\n", b"\r\r\n", 0),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", 0),
        ] {
            for chunk in 1..=input.len() {
                let (kept, eaten, end) = taken(input, chunk);
                assert_eq!(kept, content, "{input:?} by {chunk}");
                assert!(end && input.len() - eaten == rest, "{input:?} by {chunk}");
            }
        }
        assert!(!taken(b"a\r\n.\r", 1).2);
    }

    #[test]
    fn too_much_is_counted_and_not_kept() {
        let mut content = Content::new(3);
        assert_eq!(content.take(b"abcd\r\n.\r\n"), (9, true));
        assert!(content.is_too_long() && content.total() == 6);
        assert!(content.into_octets().is_empty());
    }

    #[test]
    fn bare_line_ends_are_seen_and_can_be_mended() {
        assert_eq!(has_bare(b"a\r\nb\r\n"), (false, false));
        assert_eq!(has_bare(b"\na\r\n"), (true, false));
        assert_eq!(has_bare(b"a\r"), (false, true));
        assert_eq!(has_bare(b"a\r\r\n"), (false, true));
        assert_eq!(normalized(b"a\nb\rc\r\nd\r\r\n\n"), b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n");
    }

    #[test]
    fn a_good_message_has_no_lint_and_a_bad_one_all() {
        let good = b"From: a@b\r\ndate: x\r\nMessage-Id: <1@b>\r\n\r\nbody\r\n";
        assert!(lint(good, false).is_empty());
        let long = "x".repeat(999);
        assert_eq!(lint(format!("\r\nDate: late\n\r\u{fc} {long}\r\n").as_bytes(), false).len(), 7);
        let fits = [&good[..], "x".repeat(998).as_bytes(), b"\r\n"].concat();
        assert!(lint(&fits, false).is_empty());
    }
}
