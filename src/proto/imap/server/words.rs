//! Command lines as they come, literals and all (RFC 9051 §4.3, RFC 7888), and the words in them.

use super::super::super::Input;

/// The text of one command, without its literals, has at most so many octets.
const MOST_LINE: usize = 64 * 1024;
/// All literals of a command that adds no message have at most so many octets.
const MOST_SMALL: u64 = 64 * 1024;
/// The same for somebody who has not logged in.
const MOST_STRANGER: u64 = 4 * 1024;
/// A literal beyond this is no mistake about a limit: nobody reads so much only to refuse it.
const MOST_SKIPPED: u64 = 4 << 30;

/// A command that has come whole: its octets, with each literal where it was announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    octets: Vec<u8>,
    /// Where literals begin, and how long they are.
    literals: Vec<(usize, usize)>,
    /// Its last line ended in LF alone.
    pub(super) bare_lf: bool,
}

impl Command {
    #[cfg(test)]
    pub(super) fn of(line: &str) -> Self {
        Self { octets: line.as_bytes().to_vec(), ..Self::default() }
    }
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Not enough yet.
    Part,
    /// A literal is announced and waits for `+`.
    Announced,
    /// A command.
    Command(Command),
    /// A literal that is too large: it was not read. The tag of its command.
    TooBig(Vec<u8>),
    /// What is no command, with its tag if it has one, and what is wrong.
    Bad(Vec<u8>, &'static str),
    /// A literal so large that the conversation cannot go on.
    Absurd,
}

/// Why the rest of a command is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    TooBig,
    TooLong,
}

/// Where in a command the reader is.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// In a line, so many octets of which are stored.
    #[default]
    Line,
    /// In a literal of which so much is to come.
    Literal(u64),
    /// In a line of a command that is refused.
    SkippedLine(Refused, Tail),
    /// In a literal of one.
    SkippedLiteral(Refused, u64),
}

/// The end of a line that is not stored: enough to see a literal announced.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Tail(Vec<u8>);

/// Puts commands together.
#[derive(Debug, Default)]
pub(super) struct Reader {
    command: Command,
    /// Octets of literals so far.
    carried: u64,
    at: At,
}

impl Reader {
    /// Takes what is there. `most_message` is what APPEND may carry, `known` says that somebody
    /// has logged in.
    pub(super) fn read(&mut self, input: &mut Input<'_>, known: bool, most_message: u64) -> Came {
        loop {
            match &mut self.at {
                At::Line => {
                    let rest = input.rest();
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        if self.text_octets() + rest.len() > MOST_LINE {
                            let tail = self.too_long(input.eat(rest.len()));
                            self.at = At::SkippedLine(Refused::TooLong, tail);
                            continue;
                        }
                        self.command.octets.extend_from_slice(input.eat(rest.len()));
                        return Came::Part;
                    };
                    let line = input.eat(end + 1);
                    if self.text_octets() + line.len() > MOST_LINE + 2 {
                        let tail = self.too_long(line);
                        if let Some(came) = self.skipped(Refused::TooLong, &tail) {
                            return came;
                        }
                        continue;
                    }
                    self.command.octets.extend_from_slice(line);
                    if let Some(came) = self.line(known, most_message) {
                        return came;
                    }
                }
                At::Literal(left) => {
                    let here = input.rest().len();
                    let n = usize::try_from(*left).map_or(here, |left| left.min(here));
                    self.command.octets.extend_from_slice(input.eat(n));
                    *left -= n as u64;
                    if *left > 0 {
                        return Came::Part;
                    }
                    self.at = At::Line;
                    if let Some((start, length)) = self.command.literals.last_mut() {
                        *length = self.command.octets.len() - *start;
                    }
                }
                At::SkippedLine(why, tail) => {
                    let rest = input.rest();
                    let end = memchr::memchr(b'\n', rest).map(|end| end + 1);
                    let (why, tail) =
                        (*why, std::mem::take(tail).and(input.eat(end.unwrap_or(rest.len()))));
                    if end.is_none() {
                        self.at = At::SkippedLine(why, tail);
                        return Came::Part;
                    }
                    if let Some(came) = self.skipped(why, &tail) {
                        return came;
                    }
                }
                At::SkippedLiteral(why, left) => {
                    let here = input.rest().len();
                    let n = usize::try_from(*left).map_or(here, |left| left.min(here));
                    input.eat(n);
                    *left -= n as u64;
                    if *left > 0 {
                        return Came::Part;
                    }
                    self.at = At::SkippedLine(*why, Tail::default());
                }
            }
        }
    }

    fn text_octets(&self) -> usize {
        self.command.octets.len() - usize::try_from(self.carried).unwrap_or(0)
    }

    /// Keeps the beginning, in which the tag is, and the end.
    fn too_long(&mut self, line: &[u8]) -> Tail {
        if self.command.octets.is_empty() {
            self.command.octets.extend_from_slice(&line[..line.len().min(256)]);
        }
        Tail::default().and(line)
    }

    /// A line is complete.
    fn line(&mut self, known: bool, most_message: u64) -> Option<Came> {
        let start = self.command.literals.last().map_or(0, |(start, length)| start + length);
        let line = &self.command.octets[start..];
        let Some((used, n, waits)) = announced(line) else {
            // The literal before it may end in a CR that is its own.
            let bare_lf = !line.ends_with(b"\r\n");
            let mut command = std::mem::take(&mut self.command);
            let length = command.octets.len();
            command.bare_lf = bare_lf;
            command.octets.truncate(length - if bare_lf { 1 } else { 2 });
            self.carried = 0;
            return Some(Came::Command(command));
        };
        let Some(n) = n else {
            let tag = self.give_up();
            return Some(if waits {
                Came::Bad(tag, "no literal is so large")
            } else {
                Came::Absurd
            });
        };
        let verb = super::super::super::session::words(&self.command.octets).nth(1);
        let most = match verb {
            _ if !known => MOST_STRANGER,
            Some(verb) if verb.eq_ignore_ascii_case(b"APPEND") => {
                most_message.saturating_add(MOST_SMALL)
            }
            Some(_) | None => MOST_SMALL,
        };
        if self.carried.saturating_add(n) > most {
            if waits {
                return Some(Came::TooBig(self.give_up()));
            }
            if n > MOST_SKIPPED {
                return Some(Came::Absurd);
            }
            self.at = At::SkippedLiteral(Refused::TooBig, n);
            return None;
        }
        let length = self.command.octets.len();
        self.command.octets.truncate(length - used);
        self.command.literals.push((length - used, 0));
        self.carried += n;
        self.at = At::Literal(n);
        waits.then_some(Came::Announced)
    }

    /// A line of a refused command is complete.
    fn skipped(&mut self, why: Refused, tail: &Tail) -> Option<Came> {
        match announced(&tail.0) {
            // Whoever waits for our `+` hears no instead.
            None | Some((_, _, true)) => {
                let tag = self.give_up();
                Some(match why {
                    Refused::TooBig => Came::TooBig(tag),
                    Refused::TooLong => Came::Bad(tag, "the line is too long"),
                })
            }
            Some((_, Some(n), false)) if n <= MOST_SKIPPED => {
                self.at = At::SkippedLiteral(why, n);
                None
            }
            Some((_, _, false)) => Some(Came::Absurd),
        }
    }

    /// Forgets the command, but for its tag.
    fn give_up(&mut self) -> Vec<u8> {
        let command = std::mem::take(&mut self.command);
        (self.at, self.carried) = (At::Line, 0);
        Words::new(&command).tag().map(<[u8]>::to_vec).unwrap_or_default()
    }
}

impl Tail {
    fn and(mut self, more: &[u8]) -> Self {
        self.0.extend_from_slice(&more[more.len().saturating_sub(32)..]);
        self.0.drain(..self.0.len().saturating_sub(32));
        self
    }
}

/// Does this line end by announcing a literal? How many octets of it say so, how long the literal
/// is (unless no number can be), and whether it waits to be let through.
fn announced(line: &[u8]) -> Option<(usize, Option<u64>, bool)> {
    let inner = line.strip_suffix(b"\n")?;
    let inner = inner.strip_suffix(b"\r").unwrap_or(inner).strip_suffix(b"}")?;
    let waits = !inner.ends_with(b"+");
    let inner = inner.strip_suffix(b"+").unwrap_or(inner);
    let digits = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = inner.split_at(inner.len() - digits);
    if digits.is_empty() || !before.ends_with(b"{") {
        return None;
    }
    let n = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    Some((line.len() - before.len() + 1, n, waits))
}

/// What is wrong with a command: half a sentence.
pub(super) type Parsed<T> = Result<T, &'static str>;

/// The words of a command, from the front.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    command: &'a Command,
    at: usize,
    /// The literals that lie before `at`.
    passed: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(command: &'a Command) -> Self {
        Self { command, at: 0, passed: 0 }
    }

    /// The text up to the next literal.
    pub(super) fn text(&self) -> &'a [u8] {
        let end = self.literal().map_or(self.command.octets.len(), |(start, _)| start);
        &self.command.octets[self.at..end]
    }

    fn literal(&self) -> Option<(usize, usize)> {
        self.command.literals.get(self.passed).copied()
    }

    pub(super) fn is_over(&self) -> bool {
        self.text().is_empty() && self.literal().is_none()
    }

    /// # Errors
    /// Something follows.
    pub(super) fn end(&self) -> Parsed<()> {
        // A blank at the end is what some clients leave.
        let only_blanks = self.literal().is_none() && self.text().iter().all(|b| *b == b' ');
        if only_blanks { Ok(()) } else { Err("there is more than belongs to it") }
    }

    pub(super) fn next_is(&self, octet: u8) -> bool {
        self.text().first() == Some(&octet)
    }

    /// Takes this octet if it is next.
    pub(super) fn takes(&mut self, octet: u8) -> bool {
        let is_next = self.next_is(octet);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn needs(&mut self, octet: u8, otherwise: &'static str) -> Parsed<()> {
        if self.takes(octet) { Ok(()) } else { Err(otherwise) }
    }

    /// A blank; more of them are forgiven.
    pub(super) fn space(&mut self) -> Parsed<()> {
        self.needs(b' ', "an argument is missing")?;
        while self.takes(b' ') {}
        Ok(())
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let text = self.text();
        let n = text.iter().take_while(|b| belongs(**b)).count();
        self.at += n;
        &text[..n]
    }

    pub(super) fn tag(&mut self) -> Option<&'a [u8]> {
        let tag = self.run(|b| is_atom(b) && b != b'+' || b == b']');
        (!tag.is_empty() && tag.len() <= 200).then_some(tag)
    }

    /// # Errors
    /// There is none.
    pub(super) fn atom(&mut self) -> Parsed<&'a [u8]> {
        let atom = self.run(is_atom);
        if atom.is_empty() { Err("a word is missing") } else { Ok(atom) }
    }

    /// A keyword in upper case: letters, digits, and what else stands in one.
    pub(super) fn keyword(&mut self) -> Parsed<String> {
        let word = self.run(|b| b.is_ascii_alphanumeric() || b".-_=+".contains(&b));
        if word.is_empty() {
            return Err("a word is missing");
        }
        Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
    }

    pub(super) fn number(&mut self) -> Parsed<u64> {
        let digits = self.run(|b| b.is_ascii_digit());
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        digits.parse().map_err(|_| "a number is missing, or too large")
    }

    pub(super) fn number32(&mut self) -> Parsed<u32> {
        u32::try_from(self.number()?).map_err(|_| "a number is too large")
    }

    /// A quoted string or a literal, `~` before it or not.
    pub(super) fn string(&mut self) -> Parsed<Vec<u8>> {
        if self.text().is_empty() || self.text() == b"~" {
            let (start, length) = self.literal().ok_or("a string is missing")?;
            (self.at, self.passed) = (start + length, self.passed + 1);
            return Ok(self.command.octets[start..start + length].to_vec());
        }
        self.needs(b'"', "a string is missing")?;
        let mut out = Vec::new();
        let mut octets = self.text().iter();
        loop {
            match octets.next() {
                Some(b'"') => break,
                Some(b'\\') => out.push(*octets.next().ok_or("a string has no end")?),
                Some(b'\r' | b'\n' | 0) => return Err("a quoted string has an octet it cannot"),
                Some(octet) => out.push(*octet),
                None => return Err("a string has no end"),
            }
        }
        self.at += self.text().len() - octets.as_slice().len();
        Ok(out)
    }

    /// An atom or a string.
    pub(super) fn astring(&mut self) -> Parsed<Vec<u8>> {
        let atom = self.run(|b| is_atom(b) || b == b']');
        if atom.is_empty() { self.string() } else { Ok(atom.to_vec()) }
    }

    /// The same, where `*` and `%` are wanted too.
    pub(super) fn pattern(&mut self) -> Parsed<Vec<u8>> {
        let atom = self.run(|b| is_atom(b) || b"]*%".contains(&b));
        if atom.is_empty() { self.string() } else { Ok(atom.to_vec()) }
    }

    /// The octets of a set of numbers.
    pub(super) fn set(&mut self) -> &'a [u8] {
        self.run(|b| b.is_ascii_digit() || b",:*$".contains(&b))
    }
}

/// May it stand in an atom? 8-bit octets may, for clients that send UTF-8 unquoted.
fn is_atom(octet: u8) -> bool {
    octet > b' ' && octet != 0x7f && !b"(){%*\"\\]".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that comes, in chunks of a size.
    fn read(text: &[u8], chunk: usize, known: bool) -> Vec<Came> {
        let mut reader = Reader::default();
        let (mut all, mut held, mut chunks) = (vec![], vec![], text.chunks(chunk));
        loop {
            let mut input = Input::new(&held, false);
            let came = reader.read(&mut input, known, 1 << 20);
            let eaten = input.eaten();
            held.drain(..eaten);
            match (came, chunks.next()) {
                (Came::Part, None) => return all,
                (Came::Part, Some(more)) => held.extend_from_slice(more),
                (came, more) => {
                    all.push(came);
                    held.extend_from_slice(more.unwrap_or_default());
                }
            }
        }
    }

    #[test]
    fn a_command_is_the_same_however_it_is_cut() {
        let text = b"a LOGIN {3}\r\nann {4+}\r\n\r\n{1\r\nb NOOP\n";
        for chunk in 1..=text.len() {
            let came = read(text, chunk, false);
            let [Came::Announced, Came::Command(login), Came::Command(noop)] = &*came else {
                panic!("{chunk}: {came:?}")
            };
            let mut words = Words::new(login);
            assert_eq!(words.tag(), Some(&b"a"[..]));
            words.space().unwrap();
            assert_eq!(words.keyword().unwrap(), "LOGIN");
            words.space().unwrap();
            assert_eq!(words.astring().unwrap(), b"ann");
            words.space().unwrap();
            assert_eq!(words.astring().unwrap(), b"\r\n{1");
            assert!(words.is_over() && noop.bare_lf && !login.bare_lf);
        }
    }

    /// The CR of a literal and the LF behind it were taken for a line end once.
    #[test]
    fn a_cr_at_the_end_of_a_literal_is_its_own() {
        let came = read(b"a X {2+}\r\nb\r\nb NOOP\r\n", 3, true);
        let [Came::Command(first), Came::Command(_)] = &*came else { panic!("{came:?}") };
        let mut words = Words::new(first);
        words.tag();
        words.space().unwrap();
        words.keyword().unwrap();
        words.space().unwrap();
        assert_eq!(words.string().unwrap(), b"b\r");
        assert!(first.bare_lf);
    }

    #[test]
    fn what_is_too_large_is_refused_and_the_next_command_is_read() {
        let long = "x".repeat(70_000);
        for (text, came) in [
            ("a APPEND x {9999999}\r\n".to_owned(), Came::TooBig(b"a".to_vec())),
            (format!("a LOGIN x {{70000+}}\r\n{long} y\r\n"), Came::TooBig(b"a".to_vec())),
            (format!("a NOOP {long}\r\n"), Came::Bad(b"a".to_vec(), "the line is too long")),
            ("a X {99999999999999999999}\r\n".into(), {
                Came::Bad(b"a".to_vec(), "no literal is so large")
            }),
        ] {
            for chunk in [1000, 1_000_000] {
                let all = read(format!("{text}b NOOP\r\n").as_bytes(), chunk, true);
                assert_eq!(all.len(), 2, "{all:?}");
                assert_eq!(all[0], came);
                assert_eq!(all[1], Came::Command(Command::of("b NOOP")));
            }
        }
        assert_eq!(read(b"a X {99999999999999999999+}\r\n", 5, true), [Came::Absurd]);
        assert_eq!(read(b"a LOGIN {5000}\r\n", 5, false), [Came::TooBig(b"a".to_vec())]);
    }

    #[test]
    fn strings_and_numbers_have_bounds() {
        for (text, string) in [
            (r#""a\"b\\""#, Ok(br#"a"b\"#.to_vec())),
            ("\"\"", Ok(vec![])),
            ("\"open", Err("a string has no end")),
            ("\"open\\", Err("a string has no end")),
            ("", Err("a string is missing")),
        ] {
            assert_eq!(Words::new(&Command::of(text)).string(), string, "{text}");
        }
        assert!(Words::new(&Command::of("4294967296")).number32().is_err());
        assert!(Words::new(&Command::of("99999999999999999999")).number().is_err());
        assert_eq!(Words::new(&Command::of("4294967295")).number32(), Ok(u32::MAX));
    }
}
