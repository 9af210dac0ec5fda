//! Where the parts of a message are (RFC 2045, 2046): octets by their place, none of them changed.
//!
//! A MIME parser for people decodes; IMAP's clients want every octet as it came, by number. So the
//! parts are found here, with bounds on depth and number, and the decoders are mail-parser's.

use std::ops::Range;

/// Parts within parts; what is deeper is an attachment of octets.
const DEEPEST: usize = 32;

/// Parts of a message, all together.
const MOST_PARTS: usize = 10_000;

/// Parameters of a field that are looked at.
const MOST_PARAMETERS: usize = 64;

/// A part, or a message: a header and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// With the empty line that ends it.
    pub(super) header: Range<usize>,
    pub(super) body: Range<usize>,
    pub(super) kind: Kind,
    /// It is said to have parts of its own, and they are not looked at.
    pub(super) is_opaque: bool,
    /// In a digest parts are messages, if they do not say what they are.
    pub(super) in_digest: bool,
}

/// What a part is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Multipart(Vec<Part>),
    Message(Box<Part>),
}

/// A value with parameters: that of Content-Type or Content-Disposition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Valued {
    pub(super) value: Vec<u8>,
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Valued {
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.parameters.iter();
        let found = all.find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }
}

impl Part {
    /// A message whose lines end in CR LF.
    pub(super) fn of(content: &[u8]) -> Self {
        let mut budget = MOST_PARTS;
        part(content, 0..content.len(), 0, false, &mut budget)
    }

    /// Type and subtype in lower case, and the parameters.
    pub(super) fn content_type(&self, content: &[u8]) -> (String, String, Valued) {
        let field = field(&content[self.header.clone()], "content-type");
        let valued = field.map(|field| valued(&field)).unwrap_or_default();
        let text = String::from_utf8_lossy(&valued.value).to_ascii_lowercase();
        match text.split_once('/').map(|(kind, sub)| (kind.trim(), sub.trim())) {
            Some((kind, sub)) if !kind.is_empty() && !sub.is_empty() => {
                (kind.to_owned(), sub.to_owned(), valued)
            }
            Some(_) | None if self.in_digest => ("message".into(), "rfc822".into(), valued),
            Some(_) | None => {
                let parameters = vec![(b"charset".to_vec(), b"us-ascii".to_vec())];
                ("text".into(), "plain".into(), Valued { value: Vec::new(), parameters })
            }
        }
    }

    /// Content-Transfer-Encoding in lower case.
    pub(super) fn encoding(&self, content: &[u8]) -> String {
        let field = field(&content[self.header.clone()], "content-transfer-encoding");
        let text = field.map(|field| String::from_utf8_lossy(&field).trim().to_ascii_lowercase());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "7bit".to_owned())
    }

    /// The part with these numbers (RFC 9051 §6.4.5.1).
    pub(super) fn at(&self, path: &[u32]) -> Option<&Self> {
        let (mut part, mut may_be_itself) = (self, true);
        for (depth, &n) in path.iter().enumerate() {
            let inside = match &part.kind {
                // What a message holds is numbered as if it stood alone.
                Kind::Message(inner) if depth > 0 => {
                    may_be_itself = true;
                    inner
                }
                Kind::Message(_) | Kind::Single | Kind::Multipart(_) => part,
            };
            part = match &inside.kind {
                Kind::Multipart(parts) => {
                    may_be_itself = false;
                    parts.get(usize::try_from(n).ok()?.checked_sub(1)?)?
                }
                Kind::Single | Kind::Message(_) if n == 1 && may_be_itself => {
                    may_be_itself = false;
                    inside
                }
                Kind::Single | Kind::Message(_) => return None,
            };
        }
        Some(part)
    }
}

fn part(
    content: &[u8],
    range: Range<usize>,
    depth: usize,
    in_digest: bool,
    budget: &mut usize,
) -> Part {
    *budget = budget.saturating_sub(1);
    let body = range.start + header_end(&content[range.clone()]);
    let (header, body) = (range.start..body, body..range.end);
    let mut part = Part { header, body, kind: Kind::Single, is_opaque: false, in_digest };
    let (kind, sub, valued) = part.content_type(content);
    let is_message = kind == "message" && matches!(sub.as_str(), "rfc822" | "global");
    if !is_message && kind != "multipart" {
        return part;
    }
    // RFC 2046 §5.2.1: neither may be encoded as a whole.
    let is_plain = matches!(part.encoding(content).as_str(), "7bit" | "8bit" | "binary");
    let boundary = valued.parameter("boundary").filter(|boundary| !boundary.is_empty());
    if depth >= DEEPEST || *budget == 0 || !is_plain || !is_message && boundary.is_none() {
        part.is_opaque = true;
        return part;
    }
    if is_message {
        let inner = self::part(content, part.body.clone(), depth + 1, false, budget);
        part.kind = Kind::Message(Box::new(inner));
        return part;
    }
    let ranges = split(content, &part.body, boundary.unwrap_or_default(), *budget);
    let is_digest = sub == "digest";
    let mut parts = Vec::new();
    for range in ranges {
        parts.push(self::part(content, range, depth + 1, is_digest, budget));
        if *budget == 0 {
            break;
        }
    }
    if parts.is_empty() {
        // A list of parts cannot be empty (RFC 9051 §9, body-type-mpart).
        parts.push(self::part(content, part.body.end..part.body.end, depth + 1, false, budget));
    }
    part.kind = Kind::Multipart(parts);
    part
}

/// Where the header ends, its empty line included.
pub(super) fn header_end(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 2;
    }
    memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 4)
}

/// The parts between lines with a boundary (RFC 2046 §5.1.1).
fn split(content: &[u8], body: &Range<usize>, boundary: &[u8], most: usize) -> Vec<Range<usize>> {
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    let (mut parts, mut open, mut at) = (Vec::new(), None, body.start);
    while let Some(found) = finder.find(&content[at..body.end]) {
        let start = at + found;
        let end = start + delimiter.len();
        at = end;
        if start > body.start && content[start - 1] != b'\n' {
            continue;
        }
        let rest = &content[end..body.end];
        let line_end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let is_last = rest.starts_with(b"--");
        let trail = if is_last { &rest[2..line_end.max(2)] } else { &rest[..line_end] };
        if !is_last && !trail.trim_ascii().is_empty() {
            // A longer boundary that begins with this one.
            continue;
        }
        if let Some(open) = open.take() {
            // The line end before a boundary belongs to it.
            let end = if content[..start].ends_with(b"\r\n") { start - 2 } else { start };
            parts.push(open..end.max(open));
        }
        at = end + line_end.max(if is_last { 2 } else { 0 });
        if is_last || parts.len() >= most {
            return parts;
        }
        open = Some(at);
    }
    if let Some(open) = open {
        parts.push(open..body.end);
    }
    parts
}

/// The fields of a header: name, and all octets of it.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |at| at + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, behind) = rest.split_at(end);
        rest = behind;
        let colon = memchr::memchr(b':', field).unwrap_or(0);
        Some((field[..colon].trim_ascii_end(), field))
    })
}

/// The value of the first field of this name, unfolded.
pub(super) fn field(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut all = fields(header);
    let (_, field) = all.find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(unfold(&field[memchr::memchr(b':', field)? + 1..]))
}

/// A value on one line, without white space around it (RFC 5322 §2.2.3).
pub(super) fn unfold(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    value.iter().copied().filter(|b| !b"\r\n".contains(b)).collect()
}

/// Reads `value; name=value; name="value"`.
pub(super) fn valued(text: &[u8]) -> Valued {
    let mut rest = text;
    let mut next = |ends: &[u8]| -> (Vec<u8>, Option<u8>) {
        let (mut out, mut depth) = (Vec::new(), 0_usize);
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            match byte {
                b'\\' if depth > 0 => rest = rest.get(1..).unwrap_or_default(),
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                _ if depth > 0 => {}
                b'"' => {
                    while let Some((&byte, behind)) = rest.split_first() {
                        rest = behind;
                        match byte {
                            b'"' => break,
                            b'\\' => {
                                out.extend(rest.first());
                                rest = rest.get(1..).unwrap_or_default();
                            }
                            byte => out.push(byte),
                        }
                    }
                }
                byte if ends.contains(&byte) => return (out.trim_ascii().to_vec(), Some(byte)),
                byte => out.push(byte),
            }
        }
        (out.trim_ascii().to_vec(), None)
    };
    let (value, mut end) = next(b";");
    let mut parameters = Vec::new();
    while end.is_some() && parameters.len() < MOST_PARAMETERS {
        let (name, behind) = next(b"=;");
        end = behind;
        if end == Some(b'=') {
            let (value, behind) = next(b";");
            end = behind;
            if !name.is_empty() {
                parameters.push((name, value));
            }
        }
    }
    Valued { value, parameters }
}

/// The octets of a part without its transfer encoding; `None` if that is not known, or not kept
/// to.
pub(super) fn decoded(body: &[u8], encoding: &str) -> Option<Vec<u8>> {
    use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
    match encoding {
        "7bit" | "8bit" | "binary" => Some(body.to_vec()),
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(content: &'a [u8], range: &Range<usize>) -> &'a str {
        std::str::from_utf8(&content[range.clone()]).unwrap()
    }

    const NESTED: &[u8] =
        b"Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\n\
        preamble\r\n--a b\r\n\r\none\r\n--a b \r\nContent-Type: message/rfc822\r\n\r\n\
        Subject: y\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
        --a\r\nX: 1\r\n\r\ntwo\r\n\r\n--a\r\n\r\nthree\r\n--a--\r\nepilogue\r\n\
        --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: z\r\n\r\nfour\r\n--a b--\r\n";

    #[test]
    fn parts_are_numbered_as_the_rfc_has_it() {
        let root = Part::of(NESTED);
        for (path, body) in [
            (&[1][..], Some("one")),
            (&[2, 1], Some("two\r\n")),
            (&[2, 2], Some("three")),
            (&[3, 1], Some("four")),
            (&[3], Some("Subject: z\r\n\r\nfour")),
            (&[3, 2], None),
            (&[3, 1, 1], None),
            (&[1, 1], None),
            (&[4], None),
            (&[0], None),
            (&[2, 3], None),
        ] {
            assert_eq!(root.at(path).map(|part| text(NESTED, &part.body)), body, "{path:?}");
        }
        assert_eq!(text(NESTED, &root.at(&[2, 1]).unwrap().header), "X: 1\r\n\r\n");
        let plain = b"Subject: x\r\n\r\nbody\r\n";
        let root = Part::of(plain);
        assert_eq!(text(plain, &root.at(&[1]).unwrap().body), "body\r\n");
        assert_eq!(root.at(&[1, 1]), None);
        assert_eq!(root.at(&[2]), None);
    }

    #[test]
    fn broken_messages_have_parts_too() {
        for (message, count) in [
            (&b""[..], 0),
            (b"\r\n", 0),
            (b"no header", 0),
            (b"Content-Type: multipart/mixed\r\n\r\n--\r\n", 0),
            (b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing", 1),
            (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\na\r\n--xy\r\nb", 1),
            (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n--x--", 2),
            (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x--", 1),
            (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x", 1),
        ] {
            let got = match Part::of(message).kind {
                Kind::Multipart(parts) => parts.len(),
                Kind::Single | Kind::Message(_) => 0,
            };
            assert_eq!(got, count, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
        let mut depth = 0;
        let mut part = &Part::of(messages.as_bytes());
        while let Kind::Message(inner) = &part.kind {
            (part, depth) = (inner, depth + 1);
        }
        assert!(depth == DEEPEST && part.is_opaque, "{depth}");
        let nested: String = (0..20_000)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
            .collect();
        Part::of(nested.as_bytes());
        let wide = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}",
            "--x\r\n".repeat(300_000)
        );
        let Kind::Multipart(parts) = Part::of(wide.as_bytes()).kind else { panic!() };
        assert!(parts.len() <= MOST_PARTS);
    }

    #[test]
    fn parameters_are_read_with_quotes_and_comments() {
        let valued = valued(b"text/plain (a;b \\) c); charset=\"a\\\"b;c\" ; x = y;;z; =1");
        assert_eq!(valued.value, b"text/plain");
        assert_eq!(valued.parameter("CHARSET"), Some(&b"a\"b;c"[..]));
        assert_eq!(valued.parameter("x"), Some(&b"y"[..]));
        assert_eq!(valued.parameters.len(), 2);
        let header = b"A: 1\r\n 2\r\nb : 3\r\nno colon\r\n\r\nc: 4\r\n";
        let names: Vec<_> = fields(header).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"A"[..], b"b", b""]);
        assert_eq!(field(header, "a").unwrap(), b"1 2");
        assert_eq!(field(header, "c"), None);
    }
}
