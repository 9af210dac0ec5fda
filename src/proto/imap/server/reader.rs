//! Command lines with literals (RFC 9051 §4.3), put together as they arrive.
//!
//! What a literal claims to hold is never reserved ahead, and what is too big is refused before
//! the `+` that would let it come.

use crate::proto::Input;

/// Octets of a command outside its literals.
const LONGEST_LINE: usize = 64 << 10;

/// Octets in the literals of a command before the login.
const MOST_BEFORE_LOGIN: u64 = 4096;

/// Octets in the literals of a command that brings no message.
const MOST_IN_LITERALS: u64 = 64 << 10;

/// Octets of a name, which may be a literal where messages are small.
const LONGEST_NAME: u64 = 1000;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing whole.
    Nothing,
    /// A literal waits for our `+`.
    Waiting,
    /// A whole command without its line end: its literals stand as they came, `{3}` CR LF `abc`.
    Command(Vec<u8>),
    /// The line was too long; the rest of it is passed over. Its beginning.
    TooLong(Vec<u8>),
    /// A literal was too big, and is passed over if it comes all the same. The beginning of the
    /// command.
    TooBig(Vec<u8>),
    /// A literal whose size is no number of ours comes unasked: there is no telling where it ends.
    Endless(Vec<u8>),
}

/// The literal that a line ends with.
#[derive(Debug, PartialEq, Eq)]
struct Literal {
    /// Its size, unless that is too big a number.
    size: Option<u64>,
    waits: bool,
}

/// A command on its way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Where the line that is being read begins in `bytes`.
    line: usize,
    /// Octets outside literals.
    text: usize,
    /// Octets in literals so far.
    in_literals: u64,
    /// Octets of a literal that are still to come.
    to_come: u64,
    /// A literal was too big: the beginning of the command. Nothing is kept until it is over.
    dropping: Option<Vec<u8>>,
    /// The rest of a line that was too long is passed over.
    skipping: bool,
    /// A line without CR before its LF.
    pub(super) bare_lf: bool,
}

impl Reader {
    /// Is there the beginning of a command?
    pub(super) fn is_midway(&self) -> bool {
        !self.bytes.is_empty() || self.dropping.is_some() || self.to_come > 0
    }

    /// Forgets what it has of a command.
    pub(super) fn clear(&mut self) {
        self.take();
    }

    /// Reads on, up to the end of a command. `most_octets` is the most that a message may have,
    /// once somebody is logged in.
    pub(super) fn command(&mut self, input: &mut Input<'_>, most_octets: Option<u64>) -> Heard {
        loop {
            if self.to_come > 0 {
                let there = input.rest().len();
                let n = usize::try_from(self.to_come).unwrap_or(there).min(there);
                if n == 0 {
                    return Heard::Nothing;
                }
                let piece = input.eat(n);
                if self.dropping.is_none() {
                    self.bytes.extend_from_slice(piece);
                }
                self.to_come -= n as u64;
                self.line = self.bytes.len();
                continue;
            }
            match self.line(input) {
                Some(true) => {}
                Some(false) => return Heard::TooLong(self.take()),
                None => return Heard::Nothing,
            }
            let Some(literal) = literal(&self.bytes[self.line..]) else {
                let is_dropped = self.dropping.is_some();
                let command = self.take();
                return if is_dropped { Heard::TooBig(command) } else { Heard::Command(command) };
            };
            // Of each literal, and of all that belong to a command.
            let (each, all) = match (most_octets, self.is_append()) {
                (None, _) => (MOST_BEFORE_LOGIN, MOST_BEFORE_LOGIN),
                (Some(most), true) => {
                    (most.max(LONGEST_NAME), most.saturating_add(MOST_IN_LITERALS))
                }
                (Some(_), false) => (MOST_IN_LITERALS, MOST_IN_LITERALS),
            };
            let total = literal.size.map(|size| self.in_literals.saturating_add(size));
            let fits = literal.size.is_some_and(|size| size <= each)
                && total.is_some_and(|total| total <= all)
                && self.dropping.is_none();
            match (literal.size, literal.waits) {
                (Some(size), true) if fits => {
                    (self.to_come, self.in_literals) = (size, total.unwrap_or(0));
                    self.line = self.bytes.len();
                    return Heard::Waiting;
                }
                (Some(size), false) if fits => {
                    (self.to_come, self.in_literals) = (size, total.unwrap_or(0));
                    self.line = self.bytes.len();
                }
                // Nobody has asked for it: it will not come.
                (_, true) => return Heard::TooBig(self.take()),
                (Some(size), false) => {
                    let bytes = std::mem::take(&mut self.bytes);
                    self.dropping.get_or_insert(bytes);
                    (self.to_come, self.line) = (size, 0);
                }
                (None, false) => return Heard::Endless(self.take()),
            }
        }
    }

    /// A line by itself, without its line end: no command, and no literal. `Err` if it was too
    /// long.
    pub(super) fn alone(&mut self, input: &mut Input<'_>) -> Option<Result<Vec<u8>, ()>> {
        match self.line(input)? {
            true => Some(Ok(self.take())),
            false => {
                self.take();
                Some(Err(()))
            }
        }
    }

    /// Reads up to a line end: true if it is there, false if too much came before it.
    fn line(&mut self, input: &mut Input<'_>) -> Option<bool> {
        loop {
            let rest = input.rest();
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let piece = input.eat(end.unwrap_or(rest.len()));
            if self.skipping {
                self.skipping = end.is_none();
                continue;
            }
            self.text += piece.len();
            if self.text > LONGEST_LINE {
                // The same, however it was cut.
                let room = LONGEST_LINE - (self.text - piece.len());
                self.bytes.extend_from_slice(&piece[..room]);
                self.skipping = end.is_none();
                return Some(false);
            }
            self.bytes.extend_from_slice(piece);
            if end.is_some() {
                self.bare_lf |= !self.bytes[self.line..].ends_with(b"\r\n");
                return Some(true);
            }
        }
    }

    /// What was read, without its line end; the next command begins.
    fn take(&mut self) -> Vec<u8> {
        let (bare_lf, skipping) = (self.bare_lf, self.skipping);
        let all = std::mem::take(self);
        (self.bare_lf, self.skipping) = (bare_lf, skipping);
        let (mut bytes, line) = match all.dropping {
            Some(bytes) => (bytes, 0),
            None => (all.bytes, all.line),
        };
        // What a literal ends with is no line end.
        let end = line + crate::proto::session::bare(&bytes[line..]).len();
        bytes.truncate(end);
        bytes
    }

    fn is_append(&self) -> bool {
        let mut words = self.bytes[..self.bytes.len().min(256)].split(|&b| b == b' ');
        words.nth(1).is_some_and(|word| word.eq_ignore_ascii_case(b"append"))
    }
}

/// The literal that stands at the end of a line: `{3}` or `{3+}`.
fn literal(line: &[u8]) -> Option<Literal> {
    let line = crate::proto::session::bare(line).strip_suffix(b"}")?;
    let (line, waits) = match line.strip_suffix(b"+") {
        Some(line) => (line, false),
        None => (line, true),
    };
    let at = memchr::memrchr(b'{', line)?;
    let digits = &line[at + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    Some(Literal { size: number.map(u64::from), waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is heard of these octets, cut in pieces; `+` for what waits.
    fn heard(octets: &[u8], chunk: usize, most: Option<u64>) -> Vec<String> {
        let (mut reader, mut all) = (Reader::default(), Vec::new());
        for piece in octets.chunks(chunk) {
            let mut input = Input::new(piece, false);
            loop {
                let (what, bytes) = match reader.command(&mut input, most) {
                    Heard::Nothing => break,
                    Heard::Waiting => ("+", Vec::new()),
                    Heard::Command(bytes) => ("", bytes),
                    Heard::TooLong(bytes) => ("long ", bytes[..bytes.len().min(5)].to_vec()),
                    Heard::TooBig(bytes) => ("big ", bytes),
                    Heard::Endless(bytes) => ("endless ", bytes),
                };
                all.push(format!("{what}{}", bytes.escape_ascii()));
            }
        }
        assert!(reader.bytes.capacity() < 1 << 20, "{}", reader.bytes.capacity());
        all
    }

    #[test]
    fn literals_belong_to_their_command_however_it_is_cut() {
        let long = [b"a NOOP ", "x".repeat(100_000).as_bytes(), b"\r\nb NOOP\r\n"].concat();
        for (octets, most, expected) in [
            (&b"a NOOP\r\nb NOOP\n"[..], None, &["a NOOP", "b NOOP"][..]),
            (
                b"a LOGIN {3}\r\nann {1}\r\nx\r\nb",
                None,
                &["+", "+", "a LOGIN {3}\\r\\nann {1}\\r\\nx"],
            ),
            (b"a LOGIN {3+}\r\nann {0+}\r\n\r\n", None, &["a LOGIN {3+}\\r\\nann {0+}\\r\\n"]),
            (b"a X {3+}\r\n\r\n\r\n\r\n", None, &["a X {3+}\\r\\n\\r\\n\\r", ""]),
            (b"a X {5000}\r\nb NOOP\r\n", None, &["big a X {5000}", "b NOOP"]),
            (b"a X {5+}\r\nabcde {4100+}\r\n", None, &[]),
            (b"a APPEND x {70000}\r\n", Some(60_000), &["big a APPEND x {70000}"]),
            (b"a APPEND x {70000}\r\n", Some(80_000), &["+"]),
            (b"a APPEND x {2001}\r\n", Some(2000), &["big a APPEND x {2001}"]),
            (b"a APPEND {1}\r\nx {2000}\r\n", Some(2000), &["+", "+"]),
            (b"a APPENDX x {70000}\r\n", Some(80_000), &["big a APPENDX x {70000}"]),
            (b"a X {4294967295}\r\n", Some(9), &["big a X {4294967295}"]),
            (b"a X {4294967296}\r\n", Some(9), &["big a X {4294967296}"]),
            (b"a X {99999999999999999999+}\r\n", None, &["endless a X {99999999999999999999+}"]),
            (b"a {x}\r\nb {}\r\nc {+}\r\n", None, &["a {x}", "b {}", "c {+}"]),
            (&long, None, &["long a NOO", "b NOOP"]),
        ] {
            for chunk in (1..40).chain([1000, 65_535, 65_536, 200_000]) {
                if octets.len() < 1000 || chunk >= 39 {
                    assert_eq!(heard(octets, chunk, most), expected, "{chunk}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_big_and_comes_unasked_is_passed_over() {
        let big = "y".repeat(5000);
        let octets = format!("a LOGIN {{5000+}}\r\n{big} {{3+}}\r\nabc {{2}}\r\nb NOOP\r\n");
        for chunk in [1, 7, 10_000] {
            let expected = ["big a LOGIN {5000+}", "b NOOP"];
            assert_eq!(heard(octets.as_bytes(), chunk, None), expected);
        }
    }
}
