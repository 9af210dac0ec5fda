//! What goes out, as the caller takes it, and how strings are written (RFC 9051 §4.3).

use crate::proto::Output;
use std::collections::VecDeque;
use std::ops::Range;

/// Quoted strings that are longer are sent as literals: clients read lines into buffers.
const LONGEST_QUOTED: usize = 1000;

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>, usize),
    /// Of the message that is at hand.
    Content(Range<usize>),
}

/// A queue of octets; those of a message are not copied into it.
#[derive(Debug, Default)]
pub(super) struct Out {
    pieces: VecDeque<Piece>,
    /// The message at hand.
    content: Vec<u8>,
    /// Octets of it that are out: what faults count by.
    pub(super) sent: u64,
    /// Where such faults have been looked up.
    pub(super) looked: u64,
}

impl Out {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.pieces.back_mut() {
            Some(Piece::Bytes(last, _)) => last.extend_from_slice(bytes),
            Some(Piece::Content(_)) | None => {
                self.pieces.push_back(Piece::Bytes(bytes.to_vec(), 0));
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    /// The message that [`Self::content`] is about from here on.
    pub(super) fn set_content(&mut self, content: Vec<u8>) {
        (self.content, self.sent, self.looked) = (content, 0, 0);
    }

    /// A literal with octets of the message.
    pub(super) fn content(&mut self, range: Range<usize>) {
        self.text(&format!("{{{}}}\r\n", range.len()));
        if !range.is_empty() {
            self.pieces.push_back(Piece::Content(range));
        }
    }

    pub(super) fn literal(&mut self, bytes: &[u8]) {
        self.text(&format!("{{{}}}\r\n", bytes.len()));
        self.push(bytes);
    }

    /// A string: quoted where that can be.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        let is_odd = |b: &u8| matches!(b, b'\r' | b'\n' | 0) || *b >= 0x80;
        if bytes.len() > LONGEST_QUOTED || bytes.iter().any(is_odd) {
            return self.literal(bytes);
        }
        let mut quoted = vec![b'"'];
        for &byte in bytes {
            if b"\"\\".contains(&byte) {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        self.push(&quoted);
    }

    /// A string, or NIL if there is none.
    pub(super) fn nstring(&mut self, string: Option<&[u8]>) {
        match string {
            Some(bytes) => self.string(bytes),
            None => self.text("NIL"),
        }
    }

    fn len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Bytes(bytes, at) => bytes.len() - at,
            Piece::Content(range) => range.len(),
        };
        self.pieces.iter().map(len).sum()
    }

    /// Drops the second half of what is here.
    pub(super) fn halve(&mut self) {
        let mut left = self.len() / 2;
        for piece in &mut self.pieces {
            match piece {
                Piece::Bytes(bytes, at) => {
                    bytes.truncate(*at + left);
                    left -= bytes.len() - *at;
                }
                Piece::Content(range) => {
                    range.end = range.end.min(range.start + left);
                    left -= range.len();
                }
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.content = Vec::new();
    }

    /// Puts this before everything else.
    pub(super) fn push_front(&mut self, bytes: &[u8]) {
        self.pieces.push_front(Piece::Bytes(bytes.to_vec(), 0));
    }

    /// How many octets of the message could go out next, if they are next.
    pub(super) fn next_of_content(&mut self) -> Option<usize> {
        loop {
            match self.pieces.front()? {
                Piece::Bytes(bytes, at) if *at == bytes.len() => {}
                Piece::Content(range) if range.is_empty() => {}
                Piece::Bytes(..) => return None,
                Piece::Content(range) => return Some(range.len()),
            }
            self.pieces.pop_front();
        }
    }

    /// Appends one piece, or as much of it as there is room for; `most` octets if it is the
    /// message's.
    pub(super) fn send(&mut self, most: usize, to: &mut Output<'_>) {
        match self.pieces.front_mut() {
            Some(Piece::Bytes(bytes, at)) => {
                let n = to.room().min(bytes.len() - *at);
                to.push(&bytes[*at..*at + n]);
                *at += n;
                if *at == bytes.len() {
                    self.pieces.pop_front();
                }
            }
            Some(Piece::Content(range)) => {
                let n = to.room().min(range.len()).min(most);
                to.push(&self.content[range.start..range.start + n]);
                range.start += n;
                self.sent += n as u64;
                if range.start == range.end {
                    self.pieces.pop_front();
                }
            }
            None => {}
        }
        if self.pieces.is_empty() {
            self.content = Vec::new();
        }
    }

    /// Everything that is here, for tests.
    #[cfg(test)]
    pub(super) fn all(&mut self) -> String {
        let (mut bytes, mut ended) = (Vec::new(), false);
        while !self.is_empty() {
            self.send(usize::MAX, &mut Output::new(&mut bytes, 1000, &mut ended));
        }
        bytes.escape_ascii().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_or_literals() {
        for (string, written) in [
            (&b"a b"[..], "\\\"a b\\\""),
            (b"", "\\\"\\\""),
            (b"a\"\\", "\\\"a\\\\\\\"\\\\\\\\\\\""),
            (b"a\r\n", "{3}\\r\\na\\r\\n"),
            (b"\0", "{1}\\r\\n\\x00"),
            (b"\xc3\xbc", "{2}\\r\\n\\xc3\\xbc"),
        ] {
            let mut out = Out::default();
            out.string(string);
            assert_eq!(out.all(), written);
        }
        let mut out = Out::default();
        out.nstring(None);
        out.string(&[b'x'; 1001]);
        assert!(out.all().starts_with("NIL{1001}\\r\\nxxx"));
    }

    #[test]
    fn half_is_half() {
        let mut out = Out::default();
        out.set_content(b"0123456789".to_vec());
        out.text("ab");
        out.content(2..8);
        out.text("cdef");
        out.halve();
        assert_eq!(out.all(), "ab{6}\\r\\n2");
    }
}
