//! The words of a command (RFC 9051 §9): atoms, strings, numbers, and what is made of them.

use std::borrow::Cow;

/// What comes of reading a word: the error says what was expected.
pub(super) type Parsed<T> = Result<T, &'static str>;

/// A command that is being read, or the rest of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
}

/// May it stand in an atom?
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}

impl<'a> Words<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes this octet, if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    /// One space, or several: some clients are generous.
    pub(super) fn space(&mut self) -> Parsed<()> {
        if !self.eat(b' ') {
            return Err("an argument is missing");
        }
        while self.eat(b' ') {}
        Ok(())
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) -> Parsed<()> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() { Ok(()) } else { Err("there is an argument too many") }
    }

    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&b| !is_part(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// An atom, as it is.
    pub(super) fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.take_while(is_atom);
        // It is ASCII.
        std::str::from_utf8(atom).ok().filter(|atom| !atom.is_empty()).ok_or("an atom is missing")
    }

    /// A word of letters, digits and dots in upper case: the name of an item or a key.
    pub(super) fn keyword(&mut self) -> Parsed<String> {
        let word = self.take_while(|b| b.is_ascii_alphanumeric() || b"-./".contains(&b));
        match word {
            [] => Err("a word is missing"),
            word => Ok(String::from_utf8_lossy(word).to_ascii_uppercase()),
        }
    }

    /// Takes this word, in any case, if it is next and ends there.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let is_next = self.rest.get(..word.len()).is_some_and(|w| {
            w.eq_ignore_ascii_case(word.as_bytes())
                && self.rest.get(word.len()).is_none_or(|&b| !is_atom(b))
        });
        if is_next {
            self.rest = &self.rest[word.len()..];
        }
        is_next
    }

    /// A number of 32 bits.
    pub(super) fn number(&mut self) -> Parsed<u32> {
        let number = self.number64()?;
        u32::try_from(number).map_err(|_| "a number is too big")
    }

    /// A number of 63 bits (RFC 9051 §9, number64).
    pub(super) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return Err("a number is missing");
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.filter(|n| *n <= u64::MAX >> 1).ok_or("a number is too big")
    }

    /// A string, quoted or as a literal.
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal().map(Cow::Borrowed),
            Some(_) | None => Err("a string is missing"),
        }
    }

    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        const OPEN: &str = "a quoted string has no end";
        let inside = &self.rest[1..];
        let stop = |b: u8| b == b'"' || b == b'\\' || b == b'\r' || b == b'\n' || b == 0;
        let plain = inside.iter().position(|&b| stop(b)).ok_or(OPEN)?;
        if inside[plain] == b'"' {
            self.rest = &inside[plain + 1..];
            return Ok(Cow::Borrowed(&inside[..plain]));
        }
        let (mut out, mut at) = (inside[..plain].to_vec(), plain);
        loop {
            match inside.get(at).ok_or(OPEN)? {
                b'"' => break,
                b'\r' | b'\n' | 0 => return Err(OPEN),
                b'\\' => {
                    at += 1;
                    let escaped = inside.get(at).ok_or(OPEN)?;
                    if b"\r\n\0".contains(escaped) {
                        return Err(OPEN);
                    }
                    out.push(*escaped);
                }
                byte => out.push(*byte),
            }
            at += 1;
        }
        self.rest = &inside[at + 1..];
        Ok(Cow::Owned(out))
    }

    /// A literal, or a binary one (RFC 3516 §4.2).
    pub(super) fn literal(&mut self) -> Parsed<&'a [u8]> {
        const WRONG: &str = "a literal is malformed";
        self.eat(b'~');
        if !self.eat(b'{') {
            return Err(WRONG);
        }
        let size = usize::try_from(self.number()?).map_err(|_| WRONG)?;
        self.eat(b'+');
        if !self.eat(b'}') {
            return Err(WRONG);
        }
        self.eat(b'\r');
        if !self.eat(b'\n') || self.rest.len() < size {
            return Err(WRONG);
        }
        let (literal, rest) = self.rest.split_at(size);
        self.rest = rest;
        Ok(literal)
    }

    /// An atom (with `]` in it, perhaps) or a string.
    pub(super) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            Some(_) | None => match self.take_while(|b| is_atom(b) || b == b']' || b >= 0x80) {
                [] => Err("a string is missing"),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    /// A pattern for LIST: what may also hold `%` and `*`.
    pub(super) fn pattern(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            Some(_) | None => {
                let is_part = |b| is_atom(b) || b"]%*".contains(&b) || b >= 0x80;
                match self.take_while(is_part) {
                    [] => Err("a pattern is missing"),
                    atom => Ok(Cow::Borrowed(atom)),
                }
            }
        }
    }

    /// A string or NIL.
    pub(super) fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.eat_word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// What stands in parentheses, separated by spaces.
    pub(super) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        if !self.eat(b'(') {
            return Err("a list in parentheses is missing");
        }
        let mut all = Vec::new();
        while self.eat(b' ') {}
        while !self.eat(b')') {
            all.push(one(self)?);
            let spaced = self.eat(b' ');
            while self.eat(b' ') {}
            if !spaced && self.peek() != Some(b')') {
                return Err("a list in parentheses is malformed");
            }
        }
        Ok(all)
    }

    /// The octets of a set of numbers, for [`super::sets`].
    pub(super) fn set_text(&mut self) -> &'a [u8] {
        self.take_while(|b| b.is_ascii_digit() || b",:*$".contains(&b))
    }

    /// A flag: an atom that may begin with a backslash.
    pub(super) fn flag(&mut self) -> Parsed<String> {
        let slash = if self.eat(b'\\') { "\\" } else { "" };
        Ok(format!("{slash}{}", self.atom().map_err(|_| "a flag is missing")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_what_they_stand_for() {
        for (text, string) in [
            (&b"\"a b\" x"[..], &b"a b"[..]),
            (b"\"\"", b""),
            (b"\"a\\\"\\\\b\"", b"a\"\\b"),
            (b"{3}\r\na\r\n x", b"a\r\n"),
            (b"{3+}\r\na\0b", b"a\0b"),
            (b"{0}\r\n", b""),
            (b"a]b x", b"a]b"),
            (b"b\xc3\xbcro", b"b\xc3\xbcro"),
        ] {
            let mut words = Words::new(text);
            let got = words.astring();
            assert_eq!(got.as_deref(), Ok(string), "{}", text.escape_ascii());
        }
        for wrong in
            [&b""[..], b"\"a", b"\"a\\", b"\"a\r\n\"", b"\"\\\n\"", b"{3}\r\nab", b"{3}abc"]
        {
            assert!(Words::new(wrong).astring().is_err(), "{}", wrong.escape_ascii());
        }
        for wrong in ["{3}", "{4294967296}\r\na", "{-1}\r\na", "(", ")", " a", "*", "%"] {
            assert!(Words::new(wrong.as_bytes()).astring().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(Words::new(b"4294967295").number(), Ok(u32::MAX));
        assert_eq!(Words::new(b"9223372036854775807").number64(), Ok(u64::MAX >> 1));
        for wrong in ["4294967296", "", "-1", "99999999999999999999999", "x"] {
            assert!(Words::new(wrong.as_bytes()).number().is_err(), "{wrong}");
        }
        assert!(Words::new(b"9223372036854775808").number64().is_err());
    }

    #[test]
    fn lists_and_words_end_where_they_end() {
        let mut words = Words::new(b"(\\Seen  $Done) x");
        assert_eq!(words.list(Words::flag).unwrap(), ["\\Seen", "$Done"]);
        assert!(words.space().is_ok() && !words.eat_word("xy") && words.eat_word("X"));
        assert!(words.end().is_ok());
        assert_eq!(Words::new(b"()").list(Words::flag), Ok(vec![]));
        for wrong in ["(a", "(a(b))", "a", "(a \r\n)"] {
            assert!(Words::new(wrong.as_bytes()).list(Words::flag).is_err(), "{wrong}");
        }
        assert_eq!(Words::new(b"nil").nstring(), Ok(None));
        assert!(Words::new(b"nilly").nstring().is_err());
    }
}
