//! The head of a message (RFC 9112 §2): its lines, its fields, and how long they may be.

use crate::proto::{Input, ProtocolError};
use httparse::{EMPTY_HEADER, Header, Status};

/// Bytes in a line with its end.
pub const LONGEST_LINE: usize = 8 * 1024;

/// Bytes in a head; several heads before a final one (1xx) share them.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// Bytes of what a peer sent that go into an error.
const SHOWN: usize = 80;

/// A limit has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// [`LONGEST_LINE`].
    Line,
    /// [`LONGEST_HEAD`].
    Head,
}

impl TooLong {
    /// As an error; `begun` is how the head begins.
    pub fn error(self, begun: &[u8]) -> ProtocolError {
        let expected = match self {
            TooLong::Line => "lines of at most 8 KiB",
            TooLong::Head => "a head of at most 64 KiB",
        };
        ProtocolError::Malformed { expected, got: without_login(begun) }
    }
}

/// Collects the lines of a head. It eats whole lines, so nothing is scanned twice.
#[derive(Debug, Default)]
pub struct Reader {
    lines: Vec<u8>,
    taken: usize,
}

impl Reader {
    /// The head with the empty line behind it, or `None` until that has come.
    ///
    /// Empty lines in front of it are skipped (RFC 9112 §2.2). What follows stays on the port.
    ///
    /// # Errors
    /// A limit is exceeded, so an endless head cannot grow us.
    pub fn read(&mut self, input: &mut Input<'_>) -> Result<Option<Vec<u8>>, TooLong> {
        loop {
            let rest = input.rest();
            let Some(line) = input.line() else {
                self.check(rest.len())?;
                return Ok(None);
            };
            self.check(line.len())?;
            self.taken += line.len();
            let is_empty = matches!(line, b"\n" | b"\r\n");
            if is_empty && self.lines.is_empty() {
                continue;
            }
            self.lines.extend_from_slice(line);
            if is_empty {
                return Ok(Some(std::mem::take(&mut self.lines)));
            }
        }
    }

    fn check(&self, more: usize) -> Result<(), TooLong> {
        if more > LONGEST_LINE {
            return Err(TooLong::Line);
        }
        if self.taken + more > LONGEST_HEAD {
            return Err(TooLong::Head);
        }
        Ok(())
    }

    /// As much of the first line as has come, after `read` has said `None`.
    pub fn first_line<'a>(&'a self, input: &Input<'a>) -> &'a [u8] {
        let begun = if self.lines.is_empty() { input.rest() } else { &self.lines };
        split_first_line(begun).0
    }
}

/// As much of what a peer sent as goes into an error.
pub fn clipped(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(SHOWN)].trim_ascii_end().to_vec()
}

/// The same of a request line or its target, without the user and password of a URI.
pub fn without_login(line: &[u8]) -> Vec<u8> {
    let from = memchr::memrchr(b'@', line).map_or(0, |at| at + 1);
    clipped(&line[from..])
}

/// The first line with its LF, and what follows.
pub fn split_first_line(head: &[u8]) -> (&[u8], &[u8]) {
    head.split_at(memchr::memchr(b'\n', head).map_or(head.len(), |at| at + 1))
}

/// The method and the target of a request line (RFC 9112 §3), or `None` for the beginning of one.
///
/// # Errors
/// `Malformed` as soon as it cannot become one, HTTP/0.9 included.
pub fn request_line(line: &[u8]) -> Result<Option<(&str, &str)>, ProtocolError> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse(line) {
        Ok(_) => Ok(request.version.and(request.method.zip(request.path))),
        Err(_) => Err(ProtocolError::Malformed {
            expected: "a request line of HTTP/1.0 or 1.1",
            got: without_login(line),
        }),
    }
}

/// The code and the reason of a status line (RFC 9112 §4), or `None` for the beginning of one.
///
/// # Errors
/// `Malformed` as soon as it cannot become one, HTTP/0.9 included.
pub fn status_line(line: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let mut response = httparse::Response::new(&mut []);
    match response.parse(line) {
        Ok(_) => Ok(response.code.zip(response.reason)),
        Err(_) => Err(ProtocolError::Malformed {
            expected: "a status line of HTTP/1.0 or 1.1",
            got: clipped(line),
        }),
    }
}

/// The fields of a head, its first line taken off.
///
/// Strict where laxness has let requests through unseen (RFC 9112 §11.2): no folded lines, no
/// space before the colon, no CR but before LF, no NUL.
///
/// # Errors
/// `Malformed` with the name in the line that is no field; its value may be a password.
pub fn fields(lines: &[u8]) -> Result<Vec<Header<'_>>, ProtocolError> {
    let mut fields = vec![EMPTY_HEADER; memchr::memchr_iter(b'\n', lines).count()];
    let found = match httparse::parse_headers(lines, &mut fields) {
        Ok(Status::Complete((used, found))) if used == lines.len() => found.len(),
        Ok(_) | Err(_) => {
            let name = wrong_line(lines).split(|b| *b == b':' || b.is_ascii_whitespace()).next();
            return Err(ProtocolError::Malformed {
                expected: "header fields (name, colon, value)",
                got: clipped(name.unwrap_or_default()),
            });
        }
    };
    fields.truncate(found);
    Ok(fields)
}

fn wrong_line(lines: &[u8]) -> &[u8] {
    let is_wrong = |line: &&[u8]| {
        let alone = [*line, b"\r\n"].concat();
        !matches!(httparse::parse_headers(&alone, &mut [EMPTY_HEADER]), Ok(Status::Complete(_)))
    };
    lines.split_inclusive(|b| *b == b'\n').find(is_wrong).unwrap_or_default()
}

/// The values of the fields with this name.
pub fn values<'a>(fields: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
}

/// How long the body is said to be (RFC 9112 §6.2); the same number twice is one number.
///
/// # Errors
/// `Malformed` for what is no number and for two numbers: whoever believes the other one sees
/// other messages than we do.
pub fn content_length(fields: &[Header<'_>]) -> Result<Option<u64>, ProtocolError> {
    let mut length = None;
    for value in values(fields, "Content-Length") {
        let malformed = |expected| ProtocolError::Malformed { expected, got: clipped(value) };
        let digits = std::str::from_utf8(value).ok().filter(|v| is_number(v));
        let Some(n) = digits.and_then(|v| v.parse::<u64>().ok()) else {
            return Err(malformed("a number as Content-Length"));
        };
        if length.is_some_and(|before| before != n) {
            return Err(malformed("one Content-Length"));
        }
        length = Some(n);
    }
    Ok(length)
}

/// Digits alone; `parse` would let a sign through.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(bytes: &[u8], chunk: usize) -> (Result<Option<Vec<u8>>, TooLong>, usize) {
        let mut reader = Reader::default();
        let mut eaten = 0;
        let mut upto = 0;
        while upto < bytes.len() {
            upto = (upto + chunk).min(bytes.len());
            let mut input = Input::new(&bytes[eaten..upto], false);
            let read = reader.read(&mut input);
            eaten += input.eaten();
            if read != Ok(None) {
                return (read, eaten);
            }
        }
        (Ok(None), eaten)
    }

    #[test]
    fn a_head_ends_at_the_empty_line_however_it_is_cut() {
        let bytes = b"\r\n\nGET / HTTP/1.0\r\na: b\n\r\nbody\r\n\r\n";
        for chunk in 1..=bytes.len() {
            let (head, eaten) = collect(bytes, chunk);
            assert_eq!(head.unwrap().unwrap(), b"GET / HTTP/1.0\r\na: b\n\r\n", "{chunk}");
            assert_eq!(&bytes[eaten..], b"body\r\n\r\n");
        }
    }

    #[test]
    fn a_head_has_limits_however_it_is_cut() {
        let line = |n: usize| [b"a:".as_slice(), &vec![b'x'; n - 4], b"\r\n"].concat();
        let full = [line(LONGEST_LINE).repeat(7), line(LONGEST_LINE - 2)].concat();
        let cases = [
            ([line(LONGEST_LINE), b"\r\n".to_vec()].concat(), None),
            (line(LONGEST_LINE + 1), Some(TooLong::Line)),
            (vec![b'x'; LONGEST_LINE + 1], Some(TooLong::Line)),
            ([full.as_slice(), b"\r\n"].concat(), None),
            ([full.as_slice(), b"a:\r\n\r\n"].concat(), Some(TooLong::Head)),
            (b"\r\n".repeat(LONGEST_HEAD), Some(TooLong::Head)),
            (b"a:\n".repeat(LONGEST_HEAD), Some(TooLong::Head)),
        ];
        for (bytes, expected) in cases {
            for chunk in [13, 4096, bytes.len()] {
                assert_eq!(collect(&bytes, chunk).0.err(), expected, "{} {chunk}", bytes.len());
            }
        }
    }

    #[test]
    fn a_line_is_judged_before_it_is_whole() {
        let line = b"CONNECT a:1 HTTP/1.0\r\n";
        for n in 0..line.len() - 1 {
            assert!(matches!(request_line(&line[..n]), Ok(None | Some(("CONNECT", "a:1")))), "{n}");
        }
        assert_eq!(request_line(line), Ok(Some(("CONNECT", "a:1"))));
        let line = b"HTTP/1.1 200 \r\n";
        for n in 0..line.len() - 1 {
            assert!(matches!(status_line(&line[..n]), Ok(None | Some((200, "")))), "{n}");
        }
        for line in ["HTTP/1.1 200 \r\n", "HTTP/1.0 200\r\n", "HTTP/1.0 200\n"] {
            assert_eq!(status_line(line.as_bytes()), Ok(Some((200, ""))), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_first_line_is_refused() {
        for line in [
            "\x16\x03\x01",
            "\x05\x01\0",
            "GET /\r\n",
            "GET\r\n",
            "GET  / HTTP/1.0\r\n",
            "GET / HTTP/1.\r\n",
            "GET / HTTP/1.99\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / x HTTP/1.0\r\n",
            "GET / http/1.0\r\n",
            " GET / HTTP/1.0\r\n",
            "GET /\0 HTTP/1.0\r\n",
            "GET /\r HTTP/1.0\r\n",
            "GET\t/ HTTP/1.0\r\n",
        ] {
            assert!(request_line(line.as_bytes()).is_err(), "{line:?}");
        }
        for line in [
            "220 mail",
            "<html>",
            "HTTP/1.\r\n",
            "HTTP/1.999999999999 200\r\n",
            "HTTP/0.9 200\r\n",
            "HTTP/2 200\r\n",
            "HTTP/1.1 20\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1  200\r\n",
            "HTTP/1.1 200 O\0K\r\n",
            "http/1.0 200\r\n",
            "HTTP/1.1 -20\r\n",
        ] {
            assert!(status_line(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused_by_its_name() {
        for (line, name) in [
            ("X-A : b\r\n", "X-A"),
            ("Proxy-Authorization : Basic c2VjcmV0\r\n", "Proxy-Authorization"),
            ("Proxy-Authorization Basic c2VjcmV0\r\n", "Proxy-Authorization"),
            (" folded\r\n", ""),
            ("\tfolded\r\n", ""),
            ("a: b\rc: d\r\n", "a"),
            ("a: b\r\r\n", "a"),
            ("a: b\0\r\n", "a"),
            ("a: b\x7f\r\n", "a"),
            ("a\r\n", "a"),
            (": b\r\n", ""),
            ("a\0: b\r\n", "a\0"),
        ] {
            let lines = format!("ok: 1\r\n{line}ok: 2\r\n\r\n");
            let error = fields(lines.as_bytes()).unwrap_err();
            let expected = "header fields (name, colon, value)";
            let got = name.as_bytes().to_vec();
            assert_eq!(error, ProtocolError::Malformed { expected, got }, "{line:?}");
        }
        let lines = b"A: 1\nb:\r\nc: \xff \t\r\n\r\n";
        let found = fields(lines).unwrap();
        let found: Vec<_> = found.iter().map(|f| (f.name, f.value)).collect();
        assert_eq!(found, [("A", b"1".as_slice()), ("b", b""), ("c", b"\xff")]);
    }

    #[test]
    fn one_content_length_is_believed() {
        let length = |lines: &str| content_length(&fields(lines.as_bytes()).unwrap());
        assert_eq!(length("\r\n"), Ok(None));
        assert_eq!(length("content-length: 07\r\n\r\n"), Ok(Some(7)));
        assert_eq!(length("Content-Length: 7\r\ncontent-LENGTH: 7\r\n\r\n"), Ok(Some(7)));
        for wrong in ["", "+7", "-7", "7, 7", "7 7", "0x7", "7;", "18446744073709551616"] {
            let error = length(&format!("Content-Length: {wrong}\r\n\r\n"));
            assert!(matches!(error, Err(ProtocolError::Malformed { .. })), "{wrong:?}: {error:?}");
        }
        assert!(length("Content-Length: 7\r\nContent-Length: 8\r\n\r\n").is_err());
    }

    #[test]
    fn a_password_in_a_uri_is_not_shown() {
        assert_eq!(without_login(b"GET http://ann:pw@h/ HTTP/1.0\r\n"), b"h/ HTTP/1.0");
        assert_eq!(clipped(b"ask admin@proxy\r\n"), b"ask admin@proxy");
        assert_eq!(clipped(&[b'x'; 200]), [b'x'; SHOWN]);
    }
}
