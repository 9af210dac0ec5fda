//! Numbered replies (RFC 5321 §4.2): three digits, a text, several lines if need be.

use super::ProtocolError;

/// Octets in a reply line. RFC 5321 §4.5.3.1.5 says 512; real servers exceed it, and a hostile one
/// must not grow us.
pub const LONGEST_LINE: usize = 4096;

/// Lines in one reply. No server has that many extensions.
const MOST_LINES: usize = 512;

/// What we expect when something else comes.
const EXPECTED: &str = "an SMTP reply (three digits, then a text)";

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The texts of its lines, without codes and line ends: raw bytes, as the peer sent them.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The text of the last line.
    pub fn last(&self) -> &[u8] {
        self.lines.last().map_or(&[], Vec::as_slice)
    }
}

/// Puts lines together to replies.
#[derive(Debug, Default)]
pub struct Reader {
    code: Option<u16>,
    lines: Vec<Vec<u8>>,
}

impl Reader {
    /// Takes one line, its line end included or not; `Some` when it was the last of a reply.
    ///
    /// # Errors
    /// `Malformed` for a line that is no reply, a code that changes inside a reply, and more
    /// lines than anybody needs.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ProtocolError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let malformed = |expected| ProtocolError::Malformed { expected, got: line.to_vec() };
        let (digits, rest) = line.split_at(line.len().min(3));
        let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *digits else {
            return Err(malformed(EXPECTED));
        };
        let code = [a, b, c].iter().fold(0, |code, d| code * 10 + u16::from(d - b'0'));
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(malformed(EXPECTED)),
        };
        if self.code.is_some_and(|before| before != code) {
            return Err(malformed("the same code on every line of a reply"));
        }
        if self.lines.len() == MOST_LINES {
            return Err(malformed("a reply with an end"));
        }
        self.code = Some(code);
        self.lines.push(text.to_vec());
        if !last {
            return Ok(None);
        }
        self.code = None;
        Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }))
    }

    /// Has a reply begun that is not at its end?
    pub fn is_inside(&self) -> bool {
        self.code.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Reply>, ProtocolError> {
        let mut reader = Reader::default();
        let replies: Result<Vec<_>, _> =
            text.split_inclusive('\n').map(|line| reader.line(line.as_bytes())).collect();
        Ok(replies?.into_iter().flatten().collect())
    }

    #[test]
    fn replies_of_one_and_of_several_lines() {
        let replies = read("220 hi\r\n250-mail\r\n250-SIZE 5\n250 HELP\r\n354\r\n").unwrap();
        let codes: Vec<_> = replies.iter().map(|r| r.code).collect();
        assert_eq!(codes, [220, 250, 354]);
        assert_eq!(replies[1].lines, [b"mail".to_vec(), b"SIZE 5".to_vec(), b"HELP".to_vec()]);
        assert_eq!(replies[2].last(), b"");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in ["", "hello", "22 x", "2200 x", "199 x", "600 x", "250_x", "250-a\r\n251 b"] {
            let error = read(if text.is_empty() { "\n" } else { text });
            assert!(matches!(error, Err(ProtocolError::Malformed { .. })), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn a_reply_without_end_is_cut_off() {
        assert!(read(&"250-x\r\n".repeat(MOST_LINES)).is_ok());
        assert!(read(&"250-x\r\n".repeat(MOST_LINES + 1)).is_err());
    }
}
