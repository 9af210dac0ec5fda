//! What is answered: the head of a reply, and which octets of a file go behind it.

use super::request::{Head, Range, Refusal};
use mail_parser::DateTime;

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its octets.
    pub length: u64,
    /// Its media type.
    pub media: &'static str,
    /// When it was changed last, in seconds since 1970.
    pub changed: u64,
}

/// What the mode has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A file, whose octets will be asked for.
    File(File),
    /// A page that was made: HTML.
    Page(Vec<u8>),
    /// It is a directory: the same with a slash behind it.
    Slash,
    /// It is not there.
    Missing,
    /// It is there and may not be read.
    Forbidden,
    /// The request itself.
    Dump(Vec<u8>),
}

/// A reply; the octets of a file are not in it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) code: u16,
    media: &'static str,
    /// Octets behind the head.
    length: u64,
    /// More fields, each with its line end.
    fields: String,
    pub(super) body: Vec<u8>,
}

impl Page {
    fn made(code: u16, media: &'static str, body: Vec<u8>) -> Self {
        Self { code, media, length: body.len() as u64, fields: String::new(), body }
    }

    fn plain(code: u16, text: &str) -> Self {
        let body = format!("{code} {}: {text}\n", reason(code));
        Self::made(code, "text/plain; charset=utf-8", body.into_bytes())
    }

    /// The head; whether another request may follow is said either way.
    pub(super) fn head(&self, date: &str, keeps: bool) -> Vec<u8> {
        let Self { code, media, length, fields, .. } = self;
        let connection = if keeps { "keep-alive" } else { "close" };
        // A reply that says "not modified" has no body and no type (RFC 9110 §15.4.5).
        let about = match code {
            304 => String::new(),
            _ => format!("Content-Type: {media}\r\nContent-Length: {length}\r\n"),
        };
        format!(
            "HTTP/1.1 {code} {}\r\nServer: ncat\r\nDate: {date}\r\n{about}{fields}\
             Connection: {connection}\r\n\r\n",
            reason(*code)
        )
        .into_bytes()
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

pub(super) fn refusal(refusal: &Refusal) -> Page {
    let (code, text) = match refusal {
        Refusal::Bad(what) => (400, format!("this cannot be understood: {what}")),
        Refusal::Path => (400, "the path leads out of what is served, or is none".to_owned()),
        Refusal::Method => (405, "there are GET and HEAD here".to_owned()),
        Refusal::LongLine => (414, "a line may have 8 KiB".to_owned()),
        Refusal::LongHead => (431, "a head may have 64 KiB".to_owned()),
        Refusal::LongBody => (413, "a request may have 16 MiB here".to_owned()),
        Refusal::Coding => (501, "of the transfer codings there is chunked here".to_owned()),
        Refusal::Version => (505, "HTTP/1.0 and HTTP/1.1 are spoken here".to_owned()),
    };
    let mut page = Page::plain(code, &text);
    if *refusal == Refusal::Method {
        page.fields.push_str("Allow: GET, HEAD\r\n");
    }
    page
}

/// The reply to a request, and which octets of the file go behind it: the first, and how many.
pub(super) fn page(head: &Head, found: Answer) -> (Page, Option<(u64, u64)>) {
    let file = match found {
        Answer::File(file) => file,
        Answer::Page(html) => return (Page::made(200, "text/html; charset=utf-8", html), None),
        Answer::Dump(request) => {
            return (Page::made(200, "text/plain; charset=utf-8", request), None);
        }
        Answer::Slash => {
            let names = head.request.path.iter().map(|name| encoded(name));
            let place = names.fold(String::new(), |path, name| path + "/" + &name);
            let page = Page::plain(301, "a directory ends with a slash");
            return (Page { fields: format!("Location: {place}/\r\n"), ..page }, None);
        }
        Answer::Missing => return (Page::plain(404, "there is no such file"), None),
        Answer::Forbidden => return (Page::plain(403, "this file may not be read"), None),
    };
    let changed = date(file.changed);
    let fields = format!("Last-Modified: {changed}\r\nAccept-Ranges: bytes\r\n");
    let base = Page { length: file.length, fields, ..Page::made(200, file.media, Vec::new()) };
    let since = head.if_modified.as_deref().and_then(seconds);
    if since.is_some_and(|since| file.changed <= since) && head.range.is_none() {
        return (Page { code: 304, ..base }, None);
    }
    // A piece of another version of the file is of no use (RFC 9110 §13.1.5).
    let is_same = head.if_range.as_ref().is_none_or(|known| *known == changed);
    let Some(range) = head.range.filter(|_| is_same) else {
        return (base, Some((0, file.length)));
    };
    let piece = match range {
        Range::From(from, to) if from < file.length => {
            let last = to.unwrap_or(u64::MAX).min(file.length - 1);
            Some((from, last - from + 1))
        }
        Range::Last(n) if n > 0 && file.length > 0 => {
            let n = n.min(file.length);
            Some((file.length - n, n))
        }
        Range::From(..) | Range::Last(_) => None,
    };
    match piece {
        Some((from, n)) => {
            let (last, whole) = (from + n - 1, file.length);
            let fields = format!("{}Content-Range: bytes {from}-{last}/{whole}\r\n", base.fields);
            (Page { code: 206, length: n, fields, ..base }, Some((from, n)))
        }
        None => {
            let page = Page::plain(416, "the file is shorter than that");
            let fields = format!("Content-Range: bytes */{}\r\n", file.length);
            (Page { fields, ..page }, None)
        }
    }
}

/// `Tue, 24 Nov 2026 12:00:00 GMT` (RFC 9110 §5.6.7).
pub fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let mail = DateTime::from_timestamp(seconds).to_rfc822();
    // Mail has a day without a leading zero, and a zone.
    let mut words = mail.split(' ');
    let day = words.next().unwrap_or_default();
    let number = words.next().unwrap_or_default();
    let rest: Vec<_> = words.take(3).collect();
    format!("{day} {number:0>2} {} GMT", rest.join(" "))
}

fn seconds(date: &str) -> Option<u64> {
    let date = date.strip_suffix("GMT").map(|date| format!("{date}+0000"))?;
    u64::try_from(DateTime::parse_rfc822(&date)?.to_timestamp()).ok()
}

/// A name in a path: what could be taken for something else is encoded (RFC 3986 §2.3).
pub fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(date(1_795_521_600), "Tue, 24 Nov 2026 12:00:00 GMT");
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_name_in_a_path_is_encoded() {
        assert_eq!(encoded("a b/ü.txt?"), "a%20b%2F%C3%BC.txt%3F");
    }
}
