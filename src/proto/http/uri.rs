//! The URIs that a proxy is asked for (RFC 3986): `http://host:port/path` and `host:port`.

use core::net::Ipv6Addr;
use std::fmt;

/// An absolute URI, its path not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// In lower case.
    pub scheme: String,
    /// Where to.
    pub authority: Option<Authority>,
    /// Everything behind it, as it was written: path, query, fragment.
    pub path: String,
}

/// `host:port`; user names are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Decoded, without brackets. Nothing is in it that could end a header line.
    pub host: String,
    /// 1 to 65535; `None` if it was not written.
    pub port: Option<u16>,
}

/// Why something is no URI for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUri {
    /// It does not begin with a scheme.
    Scheme,
    /// It has a user name, maybe with a password.
    UserInfo,
    /// The host is missing, too long, or has a sign that no host has.
    Host,
    /// The port is none.
    Port,
}

impl BadUri {
    /// What should have been there.
    pub fn expected(self) -> &'static str {
        match self {
            BadUri::Scheme => "an absolute URI",
            BadUri::UserInfo => "a URI without a user name",
            BadUri::Host => "a host name or an address in brackets",
            BadUri::Port => "a port from 1 to 65535",
        }
    }
}

impl Uri {
    /// Reads an absolute URI; the default port of http is filled in.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse(text: &str) -> Result<Self, BadUri> {
        let (scheme, rest) = text.split_once(':').ok_or(BadUri::Scheme)?;
        let mut letters = scheme.bytes();
        let begins = letters.next().is_some_and(|b| b.is_ascii_alphabetic());
        if !begins || !letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            return Err(BadUri::Scheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        let Some(rest) = rest.strip_prefix("//") else {
            return Ok(Self { scheme, authority: None, path: rest.to_owned() });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let mut authority = Authority::parse(authority)?;
        if scheme == "http" {
            authority.port.get_or_insert(80);
        }
        Ok(Self { scheme, authority: Some(authority), path: path.to_owned() })
    }
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// The host is decoded once. Only ASCII: names in other letters have an `xn--` form, and a
    /// client that decodes and one that does not must not mean different hosts.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse(text: &str) -> Result<Self, BadUri> {
        if text.contains('@') {
            return Err(BadUri::UserInfo);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(BadUri::Host)?;
                // No zones (RFC 6874): they mean interfaces of this machine, not of the caller's.
                host.parse::<Ipv6Addr>().map_err(|_| BadUri::Host)?;
                (host.to_owned(), rest)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (decode(host).filter(|host| is_host(host)).ok_or(BadUri::Host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some("") => None,
            Some(digits) if super::head::is_number(digits) => {
                Some(digits.parse().ok().filter(|port| *port > 0).ok_or(BadUri::Port)?)
            }
            None if port.is_empty() => None,
            Some(_) | None => return Err(BadUri::Port),
        };
        Ok(Self { host, port })
    }
}

/// As it goes into a Host field: brackets for IPv6, and no port where it is 80.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(80) | None => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

/// Takes the percent signs off, once; `None` for one that is not followed by two digits.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).ok()
}

/// The signs of a registered name (RFC 3986 §3.2.2), and `%`, which may come out of decoding.
fn is_host(host: &str) -> bool {
    const LONGEST: usize = 255;
    let may = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b);
    (1..=LONGEST).contains(&host.len()) && host.bytes().all(may)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, Option<String>, Option<u16>, String) {
        let uri = Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let (host, port) = uri.authority.map_or((None, None), |a| (Some(a.host), a.port));
        (uri.scheme, host, port, uri.path)
    }

    /// How ncat reads them.
    #[test]
    fn uris_are_read_as_ncat_reads_them() {
        let www = "www.example.com";
        let table = [
            ("http://www.example.com", www, 80, ""),
            ("HTTP://www.example.com", www, 80, ""),
            ("http://WWW.EXAMPLE.COM", "WWW.EXAMPLE.COM", 80, ""),
            ("http://www.example.com:100", www, 100, ""),
            ("http://www.example.com:1", www, 1, ""),
            ("http://www.example.com:65535", www, 65535, ""),
            ("http://www.example.com:", www, 80, ""),
            ("http://www.example.com:/", www, 80, "/"),
            ("http://www.example.com/", www, 80, "/"),
            ("http://www.example.com:100/", www, 100, "/"),
            ("http://1.2.3.4", "1.2.3.4", 80, ""),
            ("http://1.2.3.4:100", "1.2.3.4", 100, ""),
            ("http://[::ffff]", "::ffff", 80, ""),
            ("http://[::ffff]:100", "::ffff", 100, ""),
            ("http://www.example.com/path?query#frag", www, 80, "/path?query#frag"),
            ("http://www.exampl%65.com", www, 80, ""),
            ("http://www.exampl%6a.com", "www.examplj.com", 80, ""),
            ("http://www.exampl%6A.com", "www.examplj.com", 80, ""),
            ("http://www.exampl%2523.com", "www.exampl%23.com", 80, ""),
            ("http://www.example.com/a%23b", www, 80, "/a%23b"),
            // Beyond the table.
            ("http://www.example.com?q=/#f", www, 80, "?q=/#f"),
            ("http://www.example.com#f@g", www, 80, "#f@g"),
        ];
        for (text, host, port, path) in table {
            let expected = ("http".into(), Some(host.into()), Some(port), path.into());
            assert_eq!(parse(text), expected, "{text}");
        }
        let unknown = |host: Option<&str>| {
            ("unknown".to_owned(), host.map(str::to_owned), None, String::new())
        };
        assert_eq!(parse("unknown://www.example.com"), unknown(Some(www)));
        assert_eq!(parse("unknown:"), unknown(None));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        use BadUri::{Host, Port, Scheme, UserInfo};
        let long = format!("http://{}/", "a".repeat(256));
        let table = [
            ("", Scheme),
            ("/dir/file", Scheme),
            ("1http://a/", Scheme),
            ("://a", Scheme),
            ("ht tp://a", Scheme),
            ("http://a:-1", Port),
            ("http://a:+1", Port),
            ("http://a:0", Port),
            ("http://a:00000", Port),
            ("http://a:65536", Port),
            ("http://a:%380", Port),
            ("http://a:80:80", Port),
            ("http://::1", Host),
            ("http://[::1]x", Port),
            ("http://user@a", UserInfo),
            ("http://user:pass@a/", UserInfo),
            ("http://", Host),
            ("http://:80/", Host),
            ("http://[::1", Host),
            ("http://[]", Host),
            ("http://[1.2.3.4]", Host),
            ("http://[fe80::1%25lo]", Host),
            ("http://a%", Host),
            ("http://a%4", Host),
            ("http://a%+1", Host),
            ("http://a%zz", Host),
            ("http://a%0d%0aX:%20y", Host),
            ("http://a%00b", Host),
            ("http://a%20b", Host),
            ("http://a%2fb", Host),
            ("http://a%3a80", Host),
            ("http://a%40b", Host),
            ("http://[::1%0d]", Host),
            ("http://a\\b", Host),
            ("http://a\r\nb", Host),
            ("http://a%ff", Host),
            ("http://b\u{fc}cher.example", Host),
            ("http://b%c3%bccher.example", Host),
            (&long, Host),
        ];
        for (text, wrong) in table {
            assert_eq!(Uri::parse(text), Err(wrong), "{text:?}");
        }
    }

    #[test]
    fn an_authority_has_no_default_port() {
        let authority = |text| Authority::parse(text).map(|a| (a.host, a.port));
        assert_eq!(authority("a:443"), Ok(("a".into(), Some(443))));
        assert_eq!(authority("[::1]:443"), Ok(("::1".into(), Some(443))));
        assert_eq!(authority("a"), Ok(("a".into(), None)));
        assert_eq!(authority("[::1]"), Ok(("::1".into(), None)));
        assert_eq!(authority("a/b:1"), Err(BadUri::Host));
    }

    #[test]
    fn a_host_field_names_the_port_unless_it_is_80() {
        for (text, field) in [
            ("a:80", "a"),
            ("a:8080", "a:8080"),
            ("[::1]:80", "[::1]"),
            ("[::1]:81", "[::1]:81"),
            ("a", "a"),
        ] {
            assert_eq!(Authority::parse(text).unwrap().to_string(), field);
        }
    }
}
