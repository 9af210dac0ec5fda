//! What an IMAP server says, piece by piece: lines, and the literals in them (RFC 9051 §4.3).
//!
//! Nothing is held back but the beginning of a line and its last octets: a message of any length
//! passes through.

use super::Status;
use crate::proto::session::bare;
use crate::proto::{Input, ProtocolError};

/// What is kept of a line, but for a list of what was found.
const KEPT: usize = 8 * 1024;

/// A line without a literal in it that is longer is nobody's: the longest are lists of numbers.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// The longest end of a line that announces a literal: `~{4294967295+}` and the line end.
const LONGEST_END: usize = 16;

/// A response, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `+ ...`: go on. What stands behind the plus.
    GoOn(Vec<u8>),
    /// `* OK ...`, `* BYE ...`.
    Status(Status, Vec<u8>),
    /// `* ...`, any other: its line, cut at a bound.
    Data(Vec<u8>),
    /// `tag OK ...`.
    Tagged(Vec<u8>, Status, Vec<u8>),
}

/// Some octets, and the response that they complete.
type Piece<'a> = (&'a [u8], Option<Response>);

/// Reads responses.
#[derive(Debug, Default)]
pub struct Reader {
    /// The line so far, without what its literals hold, cut at a bound.
    kept: Vec<u8>,
    /// How long it is.
    length: usize,
    /// Its last octets.
    end: Vec<u8>,
    /// So many octets of a literal are still to come.
    literal: u64,
}

impl Reader {
    /// Has a response begun that is not at its end?
    pub fn is_inside(&self) -> bool {
        self.length > 0 || self.literal > 0
    }

    /// Is the next octet one of a literal?
    pub fn in_literal(&self) -> bool {
        self.literal > 0
    }

    /// Takes a piece of at most `most` octets from what the server says. The piece, and the
    /// response if it is whole now; `None` if nothing is there.
    ///
    /// # Errors
    /// A line without end, a literal of more than 32 bits, a line that is no response.
    pub fn read<'a>(
        &mut self,
        peer: &mut Input<'a>,
        most: usize,
    ) -> Result<Option<Piece<'a>>, ProtocolError> {
        let rest = peer.rest();
        if rest.is_empty() || most == 0 {
            return Ok(None);
        }
        if self.literal > 0 {
            let n = usize::try_from(self.literal).unwrap_or(usize::MAX).min(rest.len()).min(most);
            self.literal -= n as u64;
            return Ok(Some((peer.eat(n), None)));
        }
        let n = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1).min(most);
        let piece = peer.eat(n);
        self.length += n;
        self.keep(piece);
        self.end.extend_from_slice(&piece[n.saturating_sub(LONGEST_END)..]);
        let surplus = self.end.len().saturating_sub(LONGEST_END);
        self.end.drain(..surplus);
        if self.length > LONGEST_LINE {
            return Err(self.malformed("a line with an end"));
        }
        if !piece.ends_with(b"\n") {
            return Ok(Some((piece, None)));
        }
        if self.may_hold_literals()
            && let Some(announced) = announced(&self.end)
        {
            let size = announced.ok_or_else(|| self.malformed("a literal of at most 32 bits"))?;
            self.literal = size.octets;
            return Ok(Some((piece, None)));
        }
        let response = self.response()?;
        (self.length, self.literal) = (0, 0);
        self.kept.clear();
        self.end.clear();
        Ok(Some((piece, Some(response))))
    }

    /// A list of what was found is wanted whole: half a number is another number.
    fn keep(&mut self, piece: &[u8]) {
        const FOUND: &[u8] = b"* SEARCH ";
        let (start, rest) = piece.split_at(piece.len().min(FOUND.len()));
        self.kept.extend_from_slice(start);
        let is_list = self.kept.get(..FOUND.len()).is_some_and(|k| k.eq_ignore_ascii_case(FOUND));
        let most = if is_list { LONGEST_LINE } else { KEPT };
        let room = most.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&rest[..rest.len().min(room)]);
        self.kept.truncate(most);
    }

    /// Texts for people may end in braces, and hold no literals.
    fn may_hold_literals(&self) -> bool {
        let Some(data) = self.kept.strip_prefix(b"* ") else { return false };
        let word = data.split(|b| b" \r\n".contains(b)).next().unwrap_or_default();
        Status::named(word).is_none()
    }

    fn response(&self) -> Result<Response, ProtocolError> {
        let line = bare(&self.kept);
        if let Some(text) = line.strip_prefix(b"+") {
            let text = text.strip_prefix(b" ").unwrap_or(text);
            return Ok(Response::GoOn(text.to_vec()));
        }
        let mut words = line.split(|&b| b == b' ');
        let (tag, word) = (words.next().unwrap_or_default(), words.next());
        match (tag, word.map(Status::named)) {
            (b"*", Some(Some(status))) => Ok(Response::Status(status, line.to_vec())),
            (b"*", Some(None)) => Ok(Response::Data(line.to_vec())),
            (tag, Some(Some(status @ (Status::Ok | Status::No | Status::Bad))))
                if !tag.is_empty() =>
            {
                Ok(Response::Tagged(tag.to_vec(), status, line.to_vec()))
            }
            _ => Err(self.malformed("an IMAP response (*, + or a tag, then a word)")),
        }
    }

    fn malformed(&self, expected: &'static str) -> ProtocolError {
        ProtocolError::malformed(expected, &self.kept)
    }
}

/// A literal that the end of a line announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Literal {
    /// Its length.
    pub(super) octets: u64,
    /// It follows at once: nobody waits to be told to go on (RFC 7888).
    pub(super) at_once: bool,
}

/// The literal that the end of a line announces; `Some(None)` for a number that is too large.
pub(super) fn announced(line: &[u8]) -> Option<Option<Literal>> {
    let inside = bare(line).strip_suffix(b"}")?;
    let open = inside.iter().rposition(|&b| b == b'{')?;
    let digits = &inside[open + 1..];
    let (digits, at_once) = match digits.strip_suffix(b"+").or(digits.strip_suffix(b"-")) {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let octets = std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    Some(octets.map(|octets| Literal { octets: u64::from(octets), at_once }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on, and the responses, for one way of cutting.
    fn read(text: &[u8], chunk: usize) -> Result<(Vec<u8>, Vec<Response>), ProtocolError> {
        let (mut reader, mut passed, mut found) = (Reader::default(), Vec::new(), Vec::new());
        for piece in text.chunks(chunk) {
            let mut input = Input::new(piece, false);
            while let Some((piece, response)) = reader.read(&mut input, 7)? {
                passed.extend_from_slice(piece);
                found.extend(response);
            }
        }
        assert!(!reader.is_inside(), "something is left");
        Ok((passed, found))
    }

    fn text(line: &str) -> Vec<u8> {
        line.as_bytes().to_vec()
    }

    #[test]
    fn responses_are_told_apart_however_they_are_cut() {
        let said = b"* OK hi {5}\r\n+ go\r\n+\r\n* CAPABILITY IMAP4rev1\n* BYE x\r\na1 NO {3}\r\n";
        let expected = vec![
            Response::Status(Status::Ok, text("* OK hi {5}")),
            Response::GoOn(text("go")),
            Response::GoOn(text("")),
            Response::Data(text("* CAPABILITY IMAP4rev1")),
            Response::Status(Status::Bye, text("* BYE x")),
            Response::Tagged(text("a1"), Status::No, text("a1 NO {3}")),
        ];
        for chunk in 1..=said.len() {
            assert_eq!(read(said, chunk).unwrap(), (said.to_vec(), expected.clone()), "{chunk}");
        }
    }

    #[test]
    fn a_literal_is_no_line_whatever_it_holds() {
        let said =
            b"* 1 FETCH (BODY[] {12}\r\na1 OK {9}\r\n\n X {0}\r\n ~{2+}\r\n\r\n)\r\na1 OK x\r\n";
        for chunk in 1..=said.len() {
            let (passed, found) = read(said, chunk).unwrap();
            assert_eq!(passed, said);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(matches!(&found[0], Response::Data(_)));
            assert!(matches!(&found[1], Response::Tagged(tag, Status::Ok, _) if tag == b"a1"));
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for said in ["hello\r\n", "\r\n", " OK x\r\n", "*\r\n", "a BYE\r\n", "* X {4294967296}\r\n"]
        {
            assert!(read(said.as_bytes(), 100).is_err(), "{said:?}");
        }
    }

    #[test]
    fn a_long_list_of_what_was_found_is_kept_whole() {
        // It was cut after 8 KiB, and its last number with it.
        let numbers: String = (1..50_000).map(|n| format!(" {n}")).collect();
        let line = format!("* search{numbers}");
        let said = format!("{line}\r\n");
        for most in [7, 100, said.len()] {
            let (mut reader, mut input) = (Reader::default(), Input::new(said.as_bytes(), false));
            let mut found = None;
            while let Some((_, response)) = reader.read(&mut input, most).unwrap() {
                found = response;
            }
            assert!(found == Some(Response::Data(line.clone().into_bytes())), "{most}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_off_and_little_of_it_is_kept() {
        let mut reader = Reader::default();
        let flood = vec![b'x'; LONGEST_LINE + 1];
        let mut input = Input::new(&flood, false);
        let error = loop {
            match reader.read(&mut input, 65_536) {
                Ok(Some(_)) => assert!(reader.kept.len() <= KEPT && reader.end.len() < 64),
                Ok(None) => panic!("it has an end"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ProtocolError::Malformed { got, .. } if got.len() == 80));
    }
}
