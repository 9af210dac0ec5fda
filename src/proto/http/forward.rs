//! What becomes of a head on its way through a proxy (RFC 9110 §7.6, RFC 9112 §3.2).

use super::auth::is_token;
use super::head::{self, clipped};
use super::uri::{Authority, Uri};
use crate::proto::ProtocolError;
use httparse::Header;

/// Fields that are meant for the next hop only. The two `Proxy-` fields are between us and the
/// caller, Proxy-Connection is an error of old browsers, and ncat's list has `Trailers`.
const HOP_BY_HOP: &[&str] = &[
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
];

/// Fields that no Connection may take away: without them the receiver sees another message.
const NEEDED: &[&str] = &["Content-Length", "Host"];

/// The head of a request as the origin server gets it.
///
/// Fields pass byte by byte and in their order. `Host` is what the URI says, whatever the caller
/// wrote (RFC 9112 §3.2.2).
///
/// # Errors
/// `Malformed` for a Connection field that makes no sense.
pub(super) fn request(
    method: &str,
    uri: &Uri,
    authority: &Authority,
    fields: &[Header<'_>],
) -> Result<Vec<u8>, ProtocolError> {
    let slash = if uri.path.starts_with('/') { "" } else { "/" };
    let line = format!("{method} {slash}{} HTTP/1.0\r\nHost: {authority}\r\n", uri.path);
    let mut out = line.into_bytes();
    pass(&mut out, fields, &["Host"])?;
    Ok(out)
}

/// The head of an answer as the caller gets it.
///
/// # Errors
/// `Malformed` for a Connection field that makes no sense.
pub(super) fn answer(
    code: u16,
    reason: &str,
    fields: &[Header<'_>],
) -> Result<Vec<u8>, ProtocolError> {
    let mut out = format!("HTTP/1.0 {code:03} {reason}\r\n").into_bytes();
    pass(&mut out, fields, &[])?;
    Ok(out)
}

/// Appends the fields that go on, and the end of the head.
fn pass(out: &mut Vec<u8>, fields: &[Header<'_>], but: &[&str]) -> Result<(), ProtocolError> {
    let named = named_by_connection(fields)?;
    let is_in = |names: &[&str], name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    let mut has_length = false;
    for field in fields {
        let name = field.name;
        if is_in(HOP_BY_HOP, name) || is_in(&named, name) || is_in(but, name) {
            continue;
        }
        // A second one says the same as the first, or we would not be here (RFC 9112 §6.3).
        let is_length = name.eq_ignore_ascii_case("Content-Length");
        if is_length && std::mem::replace(&mut has_length, true) {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(())
}

/// The names in the Connection fields.
fn named_by_connection<'a>(fields: &[Header<'a>]) -> Result<Vec<&'a str>, ProtocolError> {
    let mut named = Vec::new();
    for value in head::values(fields, "Connection") {
        for name in value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|n| !n.is_empty()) {
            let may_go = name.iter().all(|b| is_token(*b))
                && !NEEDED.iter().any(|needed| name.eq_ignore_ascii_case(needed.as_bytes()));
            let name = std::str::from_utf8(name).ok().filter(|_| may_go);
            named.push(name.ok_or_else(|| ProtocolError::Malformed {
                expected: "names of optional fields in Connection",
                got: clipped(value),
            })?);
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(uri: &str, lines: &str) -> Result<String, ProtocolError> {
        let uri = Uri::parse(uri).unwrap();
        let lines = format!("{lines}\r\n");
        let fields = head::fields(lines.as_bytes()).unwrap();
        let out = request("GET", &uri, uri.authority.as_ref().unwrap(), &fields)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_request_goes_on_without_what_was_meant_for_us() {
        let lines = "Accept:  a,  b\r\nCONNECTION: x-one, Keep-Alive ,,X-Two\r\nX-Two: 2\r\n\
                     Host: other\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic x\r\nTE: x\r\n\
                     Proxy-Authenticate: x\r\nProxy-Connection: x\r\nTrailer: x\r\nTrailers: x\r\n\
                     Upgrade: x\r\nX-One: 1\r\nConnection:\r\nCookie: k=1;  j\r\nhost: other\r\n\
                     content-length: 3\r\nContent-Length: 3\r\nX-One-Two: 12\r\n";
        let expected = "GET /a%20b?q#f HTTP/1.0\r\nHost: h:81\r\nAccept: a,  b\r\n\
                        Cookie: k=1;  j\r\ncontent-length: 3\r\nX-One-Two: 12\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(forwarded("http://h:81/a%20b?q#f", lines).unwrap(), expected);
    }

    #[test]
    fn a_path_always_begins_with_a_slash() {
        for (uri, line) in [
            ("http://h", "GET / HTTP/1.0\r\nHost: h\r\n"),
            ("http://h?q", "GET /?q HTTP/1.0\r\nHost: h\r\n"),
            ("http://h#f", "GET /#f HTTP/1.0\r\nHost: h\r\n"),
            ("http://[::1]:81//x", "GET //x HTTP/1.0\r\nHost: [::1]:81\r\n"),
        ] {
            assert_eq!(forwarded(uri, "").unwrap(), format!("{line}Connection: close\r\n\r\n"));
        }
    }

    #[test]
    fn connection_cannot_take_away_what_frames_a_message() {
        for value in ["content-length", "close, Host", "a b", "a;b", "\"a\"", "a, \u{fc}"] {
            let error = forwarded("http://h/", &format!("Connection: {value}\r\n")).unwrap_err();
            assert!(matches!(error, ProtocolError::Malformed { .. }), "{value}: {error}");
        }
    }

    #[test]
    fn an_answer_is_one_of_http_1_0() {
        let lines = b"Server: x\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n";
        let out = answer(404, "Not Found", &head::fields(lines).unwrap()).unwrap();
        let expected = "HTTP/1.0 404 Not Found\r\nServer: x\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
