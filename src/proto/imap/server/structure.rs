//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 §7.5.2).

use super::address::{Address, addresses};
use super::mime::{Kind, Part, Valued, field, valued};
use super::out::Out;

/// The structured form of a message's header.
pub(super) fn envelope(content: &[u8], part: &Part, out: &mut Out) {
    let header = &content[part.header.clone()];
    let text = |name| field(header, name);
    let list = |name| field(header, name).map(|value| addresses(&value)).unwrap_or_default();
    out.text("(");
    out.nstring(text("date").as_deref());
    out.text(" ");
    out.nstring(text("subject").as_deref());
    let from = list("from");
    // RFC 9051: those that are missing or empty are as From is.
    for name in ["from", "sender", "reply-to"] {
        let all = list(name);
        addressed(if all.is_empty() { &from } else { &all }, out);
    }
    for name in ["to", "cc", "bcc"] {
        addressed(&list(name), out);
    }
    for name in ["in-reply-to", "message-id"] {
        out.text(" ");
        out.nstring(text(name).as_deref());
    }
    out.text(")");
}

fn addressed(all: &[Address], out: &mut Out) {
    if all.is_empty() {
        return out.text(" NIL");
    }
    out.text(" (");
    for address in all {
        let mut before = "(";
        for part in [&address.name, &address.route, &address.mailbox, &address.host] {
            out.text(before);
            out.nstring(part.as_deref());
            before = " ";
        }
        out.text(")");
    }
    out.text(")");
}

/// What a message is made of; with the extension data it is BODYSTRUCTURE, without, BODY.
pub(super) fn structure(content: &[u8], part: &Part, extended: bool, out: &mut Out) {
    let header = &content[part.header.clone()];
    let (kind, sub, valued) = part.content_type(content);
    out.text("(");
    if let Kind::Multipart(parts) = &part.kind {
        for part in parts {
            structure(content, part, extended, out);
        }
        out.text(" ");
        out.string(sub.as_bytes());
        if extended {
            out.text(" ");
            parameters(&valued, out);
            extension(header, out);
        }
        return out.text(")");
    }
    // What is not looked into cannot be described as what it says it is.
    let (kind, sub) = match part.is_opaque {
        true => ("application", "octet-stream"),
        false => (kind.as_str(), sub.as_str()),
    };
    out.string(kind.as_bytes());
    out.text(" ");
    out.string(sub.as_bytes());
    out.text(" ");
    parameters(&valued, out);
    for name in ["content-id", "content-description"] {
        out.text(" ");
        out.nstring(field(header, name).as_deref());
    }
    out.text(" ");
    out.string(part.encoding(content).as_bytes());
    out.text(&format!(" {}", part.body.len()));
    let body = &content[part.body.clone()];
    if let Kind::Message(inner) = &part.kind {
        out.text(" ");
        envelope(content, inner, out);
        out.text(" ");
        structure(content, inner, extended, out);
    }
    if matches!(part.kind, Kind::Message(_)) || kind == "text" {
        out.text(&format!(" {}", memchr::memchr_iter(b'\n', body).count()));
    }
    if extended {
        out.text(" ");
        out.nstring(field(header, "content-md5").as_deref());
        extension(header, out);
    }
    out.text(")");
}

/// Disposition, language and location.
fn extension(header: &[u8], out: &mut Out) {
    out.text(" ");
    match field(header, "content-disposition").map(|field| valued(&field)) {
        Some(disposition) if !disposition.value.is_empty() => {
            out.text("(");
            out.string(&disposition.value.to_ascii_lowercase());
            out.text(" ");
            parameters(&disposition, out);
            out.text(")");
        }
        Some(_) | None => out.text("NIL"),
    }
    out.text(" ");
    match field(header, "content-language") {
        Some(languages) if languages.contains(&b',') => {
            let mut before = "(";
            for language in languages.split(|&b| b == b',').take(32) {
                out.text(before);
                out.string(language.trim_ascii());
                before = " ";
            }
            out.text(")");
        }
        language => out.nstring(language.as_deref()),
    }
    out.text(" ");
    out.nstring(field(header, "content-location").as_deref());
}

fn parameters(valued: &Valued, out: &mut Out) {
    if valued.parameters.is_empty() {
        return out.text("NIL");
    }
    let mut before = "(";
    for (name, value) in &valued.parameters {
        out.text(before);
        out.string(name);
        out.text(" ");
        out.string(value);
        before = " ";
    }
    out.text(")");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &[u8], write: impl Fn(&[u8], &Part, &mut Out)) -> String {
        let mut out = Out::default();
        write(message, &Part::of(message), &mut out);
        out.all().replace("\\\"", "\"")
    }

    #[test]
    fn an_envelope_tells_what_is_missing_from_what_is_empty() {
        let message = b"Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nSubject:\r\n\
            From: Ann <ann@x>\r\nTo: b@y,\r\n c@z\r\nMessage-ID: <1@x>\r\n\r\n";
        let expected = "(\"Tue, 24 Nov 2026 12:00:00 +0000\" \"\" \
            ((\"Ann\" NIL \"ann\" \"x\")) ((\"Ann\" NIL \"ann\" \"x\")) ((\"Ann\" NIL \"ann\" \"x\")) \
            ((NIL NIL \"b\" \"y\")(NIL NIL \"c\" \"z\")) NIL NIL NIL \"<1@x>\")";
        assert_eq!(written(message, envelope), expected);
        let nothing = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
        assert_eq!(written(b"", envelope), nothing);
        let odd = written(b"Subject: b\xc3\xbcro\r\n\r\n", envelope);
        assert!(odd.starts_with("(NIL {5}\\r\\nb\\xc3\\xbcro NIL"), "{odd}");
    }

    #[test]
    fn a_structure_tells_sizes_and_lines() {
        for (message, extended, expected) in [
            (
                &b"Subject: x\r\n\r\na\r\nb\r\n"[..],
                false,
                "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 2)",
            ),
            (
                b"Content-Type: TEXT/Html; charset=utf-8\r\nContent-Transfer-Encoding: BASE64\r\n\
               Content-ID: <a>\r\nContent-Disposition: inline; filename=x\r\n\
               Content-Language: de, en\r\n\r\nYQ==\r\n",
                true,
                "(\"text\" \"html\" (\"charset\" \"utf-8\") \"<a>\" NIL \"base64\" 6 1 NIL \
              (\"inline\" (\"filename\" \"x\")) (\"de\" \"en\") NIL)",
            ),
            (
                b"Content-Type: image/png\r\n\r\nx",
                false,
                "(\"image\" \"png\" NIL NIL NIL \"7bit\" 1)",
            ),
            (
                b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n\
               Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n",
                false,
                "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)\
              (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 \
              (NIL \"y\" NIL NIL NIL NIL NIL NIL NIL NIL) \
              (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2) \"mixed\")",
            ),
            (
                b"Content-Type: multipart/mixed\r\n\r\nx",
                false,
                "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 1)",
            ),
        ] {
            let got = written(message, |c, part, out| structure(c, part, extended, out));
            assert_eq!(got, expected);
        }
        let multi = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--";
        let got = written(multi, |c, part, out| structure(c, part, true, out));
        assert!(got.ends_with(" \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"), "{got}");
    }
}
