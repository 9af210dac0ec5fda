//! How a message is built (RFC 2045, RFC 2046), and how IMAP tells it: BODY, BODYSTRUCTURE.
//!
//! Own code and no crate's, since what counts here is which octets belong to which part, bounded
//! in depth: a message that holds a message that holds a message must not exhaust the stack.

use super::envelope;
use std::ops::Range;

/// What lies deeper is told as octets.
const MOST_DEPTH: usize = 20;
/// Parts beyond this belong to the last one.
const MOST_PARTS: usize = 5_000;

/// A part, or a message.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Its header, the blank line included.
    pub(super) header: Range<usize>,
    /// What stands behind that.
    pub(super) body: Range<usize>,
    /// In upper case.
    pub(super) kind: String,
    /// In upper case.
    pub(super) subtype: String,
    parameters: Parameters,
    /// In upper case.
    pub(super) encoding: String,
    /// The parts of a multipart.
    pub(super) children: Vec<Part>,
    /// What a message/rfc822 holds.
    pub(super) message: Option<Box<Part>>,
}

impl Part {
    /// Takes a message apart.
    pub(super) fn of(octets: &[u8]) -> Self {
        let mut left = MOST_PARTS;
        parse(octets, 0..octets.len(), 0, false, &mut left)
    }

    /// A message of which only the header counts.
    pub(super) fn header_of(octets: &[u8]) -> Self {
        let end = memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 4);
        Self { header: 0..end, ..Self::default() }
    }

    /// The part of this number; nothing before it is a header's.
    pub(super) fn at(&self, path: &[u32]) -> Option<&Part> {
        let mut at = self;
        for (depth, n) in path.iter().enumerate() {
            let holder = match &at.message {
                Some(message) if depth > 0 => message,
                Some(_) | None => at,
            };
            let nth = usize::try_from(*n).ok()?.checked_sub(1)?;
            let is_whole = depth == 0 || at.message.is_some();
            at = match holder.children.get(nth) {
                Some(child) => child,
                None if holder.children.is_empty() && is_whole && nth == 0 => holder,
                None => return None,
            };
        }
        Some(at)
    }

    /// Its header's fields as they stand: each name, and the whole field with its line end.
    pub(super) fn fields<'a>(&self, octets: &'a [u8]) -> Vec<(&'a [u8], &'a [u8])> {
        let mut fields = Vec::new();
        let mut rest = &octets[self.header.clone()];
        while !rest.is_empty() {
            let mut end = line_end(rest);
            while rest.get(end).is_some_and(|b| b" \t".contains(b)) {
                end += line_end(&rest[end..]);
            }
            let (field, behind) = rest.split_at(end);
            if let Some(colon) = memchr::memchr(b':', field) {
                fields.push((field[..colon].trim_ascii_end(), field));
            }
            rest = behind;
        }
        fields
    }

    /// The value of the first field of this name, unfolded.
    pub(super) fn value(&self, octets: &[u8], name: &str) -> Option<Vec<u8>> {
        let fields = self.fields(octets);
        let (name, field) =
            fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))?;
        let after = memchr::memchr(b':', field).map_or(name.len(), |colon| colon + 1);
        Some(unfolded(&field[after..]))
    }

    /// Its content without its transfer encoding; nothing if that is not known.
    pub(super) fn decoded(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let body = &octets[self.body.clone()];
        match self.encoding.as_str() {
            "7BIT" | "8BIT" | "BINARY" => Some(body.to_vec()),
            "BASE64" => mail_parser::decoders::base64::base64_decode(body),
            "QUOTED-PRINTABLE" => {
                mail_parser::decoders::quoted_printable::quoted_printable_decode(body)
            }
            _ => None,
        }
    }
}

/// Up to and with the next LF.
fn line_end(octets: &[u8]) -> usize {
    memchr::memchr(b'\n', octets).map_or(octets.len(), |at| at + 1)
}

fn unfolded(value: &[u8]) -> Vec<u8> {
    let value: Vec<u8> = value.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
    value.trim_ascii().to_vec()
}

fn parse(octets: &[u8], range: Range<usize>, depth: usize, digest: bool, left: &mut usize) -> Part {
    let mut at = range.start;
    while at < range.end {
        let end = at + line_end(&octets[at..range.end]);
        let is_blank = matches!(&octets[at..end], b"\r\n" | b"\n");
        at = end;
        if is_blank {
            break;
        }
    }
    let mut part = Part { header: range.start..at, body: at..range.end, ..Part::default() };
    let media = part.value(octets, "Content-Type").and_then(|value| media(&value));
    (part.kind, part.subtype, part.parameters) = media.unwrap_or_else(|| {
        let (kind, subtype) = if digest { ("MESSAGE", "RFC822") } else { ("TEXT", "PLAIN") };
        (kind.into(), subtype.into(), vec![])
    });
    let encoding = part.value(octets, "Content-Transfer-Encoding").unwrap_or_default();
    let encoding = encoding.split(|b| b" \t;(".contains(b)).next().unwrap_or_default();
    part.encoding = String::from_utf8_lossy(encoding).to_ascii_uppercase();
    if part.encoding.is_empty() {
        part.encoding = "7BIT".into();
    }
    if part.kind == "MULTIPART" {
        let boundary = part.parameters.iter().find(|(name, _)| name == "BOUNDARY");
        let boundary = boundary.map(|(_, value)| value.clone()).filter(|value| !value.is_empty());
        if let Some(boundary) = boundary
            && depth < MOST_DEPTH
        {
            let digest = part.subtype == "DIGEST";
            for range in between(octets, part.body.clone(), &boundary, left) {
                part.children.push(parse(octets, range, depth + 1, digest, left));
            }
        }
        if part.children.is_empty() {
            // Nothing says where its parts are: it is what it looks like.
            (part.kind, part.subtype) = ("TEXT".into(), "PLAIN".into());
        }
    }
    let is_plain = matches!(part.encoding.as_str(), "7BIT" | "8BIT" | "BINARY");
    let holds_message = part.kind == "MESSAGE" && matches!(&*part.subtype, "RFC822" | "GLOBAL");
    if holds_message {
        if is_plain && depth < MOST_DEPTH {
            let message = parse(octets, part.body.clone(), depth + 1, false, left);
            part.message = Some(Box::new(message));
        } else {
            (part.kind, part.subtype) = ("APPLICATION".into(), "OCTET-STREAM".into());
        }
    }
    part
}

/// What lies between the delimiters (RFC 2046 §5.1.1); the line end before one is a part of it.
fn between(
    octets: &[u8],
    range: Range<usize>,
    boundary: &[u8],
    left: &mut usize,
) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut from = None;
    let mut at = range.start;
    while at < range.end {
        let end = at + line_end(&octets[at..range.end]);
        let line = &octets[at..end];
        let behind = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary));
        if let Some(behind) = behind {
            let closes = behind.starts_with(b"--");
            let behind = if closes { &behind[2..] } else { behind };
            if behind.trim_ascii().is_empty() {
                if let Some(from) = from.take() {
                    parts.push(from..without_line_end(octets, from, at));
                }
                if closes || *left == 0 {
                    return parts;
                }
                *left -= 1;
                from = Some(end);
            }
        }
        at = end;
    }
    if let Some(from) = from {
        parts.push(from..range.end);
    }
    parts
}

fn without_line_end(octets: &[u8], from: usize, to: usize) -> usize {
    match &octets[from..to] {
        [.., b'\r', b'\n'] => to - 2,
        [.., b'\n'] => to - 1,
        _ => to,
    }
}

/// Names in upper case, and values.
type Parameters = Vec<(String, Vec<u8>)>;

/// Type, subtype and parameters (RFC 2045 §5.1).
type Media = (String, String, Parameters);

fn media(value: &[u8]) -> Option<Media> {
    let (media, parameters) = with_parameters(value)?;
    let (kind, subtype) = media.split_once('/')?;
    let (kind, subtype) = (kind.trim(), subtype.trim());
    if kind.is_empty() || subtype.is_empty() {
        return None;
    }
    Some((kind.to_owned(), subtype.to_owned(), parameters))
}

/// A word in upper case and what follows it: `; name=value`, comments left out.
fn with_parameters(value: &[u8]) -> Option<(String, Parameters)> {
    let value = envelope::without_comments(value);
    let end = memchr::memchr(b';', &value).unwrap_or(value.len());
    let first = String::from_utf8_lossy(value[..end].trim_ascii()).to_ascii_uppercase();
    let mut parameters = Vec::new();
    let mut rest = &value[end..];
    while let Some(after) = rest.strip_prefix(b";") {
        let name_end = after.iter().position(|b| b"=;".contains(b)).unwrap_or(after.len());
        let name = String::from_utf8_lossy(after[..name_end].trim_ascii()).to_ascii_uppercase();
        rest = &after[name_end..];
        let Some(given) = rest.strip_prefix(b"=") else { continue };
        let given = given.trim_ascii_start();
        let (value, behind) = match given.strip_prefix(b"\"") {
            Some(inner) => {
                let (value, used) = envelope::until_quote(inner);
                (value, &inner[used..])
            }
            None => {
                let end = memchr::memchr(b';', given).unwrap_or(given.len());
                (given[..end].trim_ascii().to_vec(), &given[end..])
            }
        };
        if !name.is_empty() && parameters.len() < 100 {
            parameters.push((name, value));
        }
        let next = memchr::memchr(b';', behind).unwrap_or(behind.len());
        rest = &behind[next..];
    }
    (!first.is_empty()).then_some((first, parameters))
}

/// Writes BODY, or BODYSTRUCTURE if it is `extended` (RFC 9051 §7.5.2).
pub(super) fn write(part: &Part, octets: &[u8], extended: bool, out: &mut Vec<u8>) {
    out.push(b'(');
    if part.children.is_empty() {
        write_single(part, octets, extended, out);
    } else {
        for child in &part.children {
            write(child, octets, extended, out);
        }
        out.push(b' ');
        string(part.subtype.as_bytes(), out);
        if extended {
            out.push(b' ');
            write_parameters(&part.parameters, out);
            write_rest(part, octets, out);
        }
    }
    out.push(b')');
}

fn write_single(part: &Part, octets: &[u8], extended: bool, out: &mut Vec<u8>) {
    let value = |name| part.value(octets, name);
    string(part.kind.as_bytes(), out);
    out.push(b' ');
    string(part.subtype.as_bytes(), out);
    out.push(b' ');
    write_parameters(&part.parameters, out);
    out.push(b' ');
    nstring(value("Content-ID").as_deref(), out);
    out.push(b' ');
    nstring(value("Content-Description").as_deref(), out);
    out.push(b' ');
    string(part.encoding.as_bytes(), out);
    out.extend_from_slice(format!(" {}", part.body.len()).as_bytes());
    let lines = || memchr::memchr_iter(b'\n', &octets[part.body.clone()]).count();
    if let Some(message) = &part.message {
        out.push(b' ');
        envelope::write(message, octets, out);
        out.push(b' ');
        write(message, octets, extended, out);
        out.extend_from_slice(format!(" {}", lines()).as_bytes());
    } else if part.kind == "TEXT" {
        out.extend_from_slice(format!(" {}", lines()).as_bytes());
    }
    if extended {
        out.push(b' ');
        nstring(value("Content-MD5").as_deref(), out);
        write_rest(part, octets, out);
    }
}

/// Disposition, language, location.
fn write_rest(part: &Part, octets: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    let disposition = part.value(octets, "Content-Disposition");
    match disposition.and_then(|value| with_parameters(&value)) {
        None => out.extend_from_slice(b"NIL"),
        Some((disposition, parameters)) => {
            out.push(b'(');
            string(disposition.as_bytes(), out);
            out.push(b' ');
            write_parameters(&parameters, out);
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(part.value(octets, "Content-Language").as_deref(), out);
    out.push(b' ');
    nstring(part.value(octets, "Content-Location").as_deref(), out);
}

fn write_parameters(parameters: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    if parameters.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    for (n, (name, value)) in parameters.iter().enumerate() {
        out.push(if n == 0 { b'(' } else { b' ' });
        string(name.as_bytes(), out);
        out.push(b' ');
        string(value, out);
    }
    out.push(b')');
}

/// A string: quoted if it can be, else a literal.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    match super::super::quoted(text).filter(|_| text.len() < 1000) {
        Some(quoted) => out.extend_from_slice(&quoted),
        None => {
            out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            out.extend_from_slice(text);
        }
    }
}

/// The same, or that there is none.
pub(super) fn nstring(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(text) => string(text, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: &str = "Subject: out\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; (a comment) boundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n\
        \r\nhello\r\n--b 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\
        From: Ann <ann@example.org>\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n\
        --c\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: inline; filename=\"\\\"x\\\".html\"\r\n\r\nPGI+\r\n--c--\r\n\r\n\
        --b 1--\r\nepilogue\r\n";

    #[test]
    fn parts_have_numbers_and_octets() {
        let octets = NESTED.as_bytes();
        let root = Part::of(octets);
        let body = |path: &[u32]| {
            let part = root.at(path)?;
            Some(String::from_utf8_lossy(&octets[part.body.clone()]).into_owned())
        };
        assert_eq!(body(&[1]).unwrap(), "hello");
        assert_eq!(body(&[2, 1]).unwrap(), "PGI+");
        assert!(body(&[2]).unwrap().starts_with("Subject: in\r\n"));
        assert_eq!(root.at(&[2, 1]).unwrap().decoded(octets).unwrap(), b"<b>");
        for path in [&[0][..], &[3], &[1, 1], &[2, 2], &[2, 1, 1], &[u32::MAX]] {
            assert!(root.at(path).is_none(), "{path:?}");
        }
        // A message of one part is its own first part.
        let plain = Part::of(b"A: b\r\n\r\nx");
        assert_eq!(plain.at(&[1]).unwrap().body, 8..9);
        assert!(plain.at(&[1, 1]).is_none());
    }

    #[test]
    fn structures_are_told() {
        let octets = NESTED.as_bytes();
        let mut out = Vec::new();
        write(&Part::of(octets), octets, true, &mut out);
        let inner = octets.len() - NESTED.find("Subject: in").unwrap();
        let size = inner - "\r\n--b 1--\r\nepilogue\r\n".len();
        let ann = r#"(("Ann" NIL "ann" "example.org"))"#;
        let told = [
            r#"(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 0 NIL NIL NIL NIL)"#,
            r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" "#,
            &format!(r#"{size} (NIL "in" {ann} {ann} {ann} NIL NIL NIL NIL NIL) "#),
            r#"(("TEXT" "HTML" ("CHARSET" "utf-8") NIL NIL "BASE64" 4 0 NIL "#,
            r#"("INLINE" ("FILENAME" "\"x\".html")) NIL NIL) "ALTERNATIVE" ("BOUNDARY" "c") "#,
            r#"NIL NIL NIL) 11 NIL NIL NIL NIL) "MIXED" ("BOUNDARY" "b 1") NIL NIL NIL)"#,
        ];
        assert_eq!(String::from_utf8(out).unwrap(), told.concat());
        let mut out = Vec::new();
        write(&Part::of(b""), b"", false, &mut out);
        assert_eq!(out, br#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0)"#);
    }

    #[test]
    fn bombs_are_told_as_octets() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
        let wide =
            format!("Content-Type: multipart/x; boundary=b\r\n\r\n{}", "--b\r\n".repeat(50_000));
        let header = "(".repeat(1_000_000);
        let header = format!("From: {header}\r\nContent-Type: {header}\r\n\r\n");
        for bomb in [deep, wide, header] {
            let mut out = Vec::new();
            let part = Part::of(bomb.as_bytes());
            write(&part, bomb.as_bytes(), true, &mut out);
            envelope::write(&part, bomb.as_bytes(), &mut out);
            assert!(!out.is_empty());
        }
    }
}
