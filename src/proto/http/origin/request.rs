//! A request as it comes: its head, what it asks for, its body.

use super::Kind;
use crate::proto::http::head::{content_length, fields, split_first_line, values};
use crate::proto::{Input, ProtocolError};

/// Digits and extensions of the line before a chunk.
const LONGEST_CHUNK_LINE: usize = 4096;

/// Why a request is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It cannot be understood: half a sentence.
    Bad(&'static str),
    /// The method is none of ours.
    Method,
    LongLine,
    LongHead,
    LongBody,
    /// Another transfer coding than chunked.
    Coding,
    /// Another version than 1.0 and 1.1.
    Version,
    /// The path leads up and out, or is none.
    Path,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The names on the way down from the root; neither empty, nor `.` or `..`, nor with a slash.
    pub path: Vec<String>,
    /// It ends with a slash: a directory is meant.
    pub is_directory: bool,
}

/// A byte range as it is asked for (RFC 9110 §14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// From there to there, or to the end.
    From(u64, Option<u64>),
    /// So many octets at the end.
    Last(u64),
}

/// A head that has been understood.
#[derive(Debug)]
pub(super) struct Head {
    /// The request line, for the story.
    pub(super) line: String,
    pub(super) method: String,
    pub(super) request: Request,
    pub(super) keeps: bool,
    /// It waits for 100 (Continue).
    pub(super) waits: bool,
    pub(super) range: Option<Range>,
    pub(super) if_range: Option<String>,
    pub(super) if_modified: Option<String>,
    /// The head itself, and then the body, where both are told.
    pub(super) kept: Vec<u8>,
}

impl Head {
    /// Understands a head, and says what its body is like.
    ///
    /// # Errors
    /// Why not, with the request line as far as it is one.
    pub(super) fn read(bytes: Vec<u8>, kind: Kind) -> Result<(Self, Body), (Refusal, String)> {
        let (line, lines) = split_first_line(&bytes);
        let shown: String = String::from_utf8_lossy(line).trim_end().chars().take(200).collect();
        let shown: String = shown.escape_debug().collect();
        let read = Self::understand(line, lines, kind);
        match read {
            Ok((head, body)) => Ok((Self { line: shown, kept: bytes, ..head }, body)),
            Err(refusal) => Err((refusal, shown)),
        }
    }

    fn understand(line: &[u8], lines: &[u8], kind: Kind) -> Result<(Self, Body), Refusal> {
        let text = std::str::from_utf8(line).map_err(|_| Refusal::Bad("the request line"))?;
        let words: Vec<_> = text.trim_end().split(' ').collect();
        let [method, target, version] = words.as_slice() else {
            return Err(Refusal::Bad("the request line"));
        };
        let is_new = match *version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            other if other.starts_with("HTTP/") => return Err(Refusal::Version),
            _ => return Err(Refusal::Bad("the request line")),
        };
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::Bad("the method"));
        }
        if kind == Kind::Files && !matches!(*method, "GET" | "HEAD") {
            return Err(Refusal::Method);
        }
        let bad = |_: ProtocolError| Refusal::Bad("the header fields");
        let fields = fields(lines).map_err(bad)?;
        // RFC 9112 §3.2: without one nobody knows whose page is meant.
        if is_new && values(&fields, "Host").count() != 1 {
            return Err(Refusal::Bad("there has to be one Host field"));
        }
        let text = |name: &str| {
            let value = values(&fields, name).next()?;
            Some(String::from_utf8_lossy(value).trim().to_owned())
        };
        let has = |name: &str, word: &str| {
            values(&fields, name).any(|value| {
                let value = String::from_utf8_lossy(value).to_ascii_lowercase();
                value.split(',').any(|one| one.trim() == word)
            })
        };
        let keeps = match is_new {
            true => !has("Connection", "close"),
            false => has("Connection", "keep-alive"),
        };
        let length = content_length(&fields).map_err(|_| Refusal::Bad("Content-Length"))?;
        let body = match (values(&fields, "Transfer-Encoding").count(), length) {
            (0, None | Some(0)) => Body::Over,
            (0, Some(n)) => Body::Length(n),
            // Both at once is how requests are smuggled (RFC 9112 §6.1).
            (_, Some(_)) => return Err(Refusal::Bad("a length and a transfer coding")),
            (1, None) if has("Transfer-Encoding", "chunked") && is_new => {
                if text("Transfer-Encoding").is_some_and(|coding| coding.contains(',')) {
                    return Err(Refusal::Coding);
                }
                Body::Chunk
            }
            _ => return Err(Refusal::Coding),
        };
        let request = match kind {
            Kind::Files => request(target).ok_or(Refusal::Path)?,
            Kind::Dump => Request { path: Vec::new(), is_directory: false },
        };
        let head = Self {
            line: String::new(),
            method: (*method).to_owned(),
            request,
            keeps,
            waits: is_new && has("Expect", "100-continue"),
            range: text("Range").as_deref().and_then(range),
            if_range: text("If-Range"),
            if_modified: text("If-Modified-Since"),
            kept: Vec::new(),
        };
        Ok((head, body))
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// What a target means: a path below the root, and nothing else.
fn request(target: &str) -> Option<Request> {
    // The form for proxies has to be understood as well (RFC 9112 §3.2.2).
    let path = match target.strip_prefix("http://") {
        Some(rest) => &rest[rest.find('/').unwrap_or(rest.len())..],
        None => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = if path.is_empty() { "/" } else { path };
    let inner = path.strip_prefix('/')?;
    let mut names: Vec<String> = Vec::new();
    let mut is_directory = true;
    for segment in inner.split('/') {
        let name = decoded(segment)?;
        is_directory = matches!(name.as_str(), "" | "." | "..");
        match name.as_str() {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name if name.contains(['/', '\0']) => return None,
            _ => names.push(name),
        }
    }
    Some(Request { path: names, is_directory })
}

/// Without its percent signs (RFC 3986 §2.1).
fn decoded(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// One range; several are answered with the whole, as they may be.
fn range(value: &str) -> Option<Range> {
    let (from, to) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    match (from, to) {
        ("", last) => number(last).map(Range::Last),
        (from, "") => Some(Range::From(number(from)?, None)),
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            (from <= to).then_some(Range::From(from, Some(to)))
        }
    }
}

/// How much of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Over,
    /// So many octets.
    Length(u64),
    /// The line before a chunk.
    Chunk,
    /// So many octets of a chunk, and a line end.
    InChunk(u64),
    /// The trailer: lines up to an empty one, so many octets of them so far.
    Trailer(usize),
}

impl Body {
    /// Takes what has come; into `kept`, which may become so long, if it is wanted.
    ///
    /// # Errors
    /// It is too long, or no body.
    pub(super) fn read(
        self,
        input: &mut Input<'_>,
        kept: &mut Vec<u8>,
        most: Option<usize>,
    ) -> Result<Self, Refusal> {
        let mut body = self;
        loop {
            body = match body {
                Self::Over | Self::Length(0) => return Ok(Self::Over),
                Self::Length(left) => match take(left, input, kept, most)? {
                    0 => return Ok(Self::Length(left)),
                    n => Self::Length(left - n),
                },
                Self::InChunk(0) => match input.line() {
                    None => return Ok(Self::InChunk(0)),
                    Some(b"\r\n" | b"\n") => Self::Chunk,
                    Some(_) => return Err(Refusal::Bad("a chunk is longer than it says")),
                },
                Self::InChunk(left) => match take(left, input, kept, most)? {
                    0 => return Ok(Self::InChunk(left)),
                    n => Self::InChunk(left - n),
                },
                Self::Chunk => match input.line() {
                    None if input.rest().len() > LONGEST_CHUNK_LINE => {
                        return Err(Refusal::LongLine);
                    }
                    None => return Ok(Self::Chunk),
                    Some(line) => match chunk(line).ok_or(Refusal::Bad("a chunk's length"))? {
                        0 => Self::Trailer(0),
                        n => Self::InChunk(n),
                    },
                },
                Self::Trailer(seen) => {
                    let more = input.rest().len();
                    match input.line() {
                        None if seen + more > LONGEST_CHUNK_LINE => {
                            return Err(Refusal::LongHead);
                        }
                        None => return Ok(Self::Trailer(seen)),
                        Some(b"\r\n" | b"\n") => return Ok(Self::Over),
                        Some(line) if seen + line.len() > LONGEST_CHUNK_LINE => {
                            return Err(Refusal::LongHead);
                        }
                        Some(line) => Self::Trailer(seen + line.len()),
                    }
                }
            }
        }
    }
}

fn take(
    left: u64,
    input: &mut Input<'_>,
    kept: &mut Vec<u8>,
    most: Option<usize>,
) -> Result<u64, Refusal> {
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.rest().len());
    let octets = input.eat(n);
    if let Some(most) = most {
        if kept.len() + n > most {
            return Err(Refusal::LongBody);
        }
        kept.extend_from_slice(octets);
    }
    Ok(n as u64)
}

/// `1a;extension` (RFC 9112 §7.1): octets of the chunk.
fn chunk(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim_matches([' ', '\t', '\r', '\n']);
    let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_below_the_root() {
        let path = |target: &str| request(target).map(|r| (r.path.join("/"), r.is_directory));
        let found = |path: &str, is_directory| Some((path.to_owned(), is_directory));
        assert_eq!(path("/"), found("", true));
        assert_eq!(path("/a/b.txt?x=/../y"), found("a/b.txt", false));
        assert_eq!(path("/a//b/"), found("a/b", true));
        assert_eq!(path("/a/./b/../c"), found("a/c", false));
        assert_eq!(path("/%61%20%C3%BC"), found("a ü", false));
        assert_eq!(path("http://h:1/x"), found("x", false));
        assert_eq!(path("http://h"), found("", true));
        for bad in
            ["/..", "/a/../../b", "/%2e%2e/x", "/a%2Fb", "/a%00b", "/%zz", "/%f", "a", "*", "/%ff"]
        {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_range_is_one_or_none() {
        assert_eq!(range("bytes=0-9"), Some(Range::From(0, Some(9))));
        assert_eq!(range("bytes=5-"), Some(Range::From(5, None)));
        assert_eq!(range("bytes=-5"), Some(Range::Last(5)));
        for none in ["bytes=9-5", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "bytes=-", "bytes=a-"]
        {
            assert_eq!(range(none), None, "{none}");
        }
    }

    #[test]
    fn a_chunk_has_a_length_in_hex() {
        assert_eq!(chunk(b"1A;x=y\r\n"), Some(26));
        assert_eq!(chunk(b"0\n"), Some(0));
        for bad in [&b"\r\n"[..], b"+1\r\n", b"0x1\r\n", b"11111111111111111\r\n", b"1 1\r\n"] {
            assert_eq!(chunk(bad), None, "{bad:?}");
        }
    }
}
