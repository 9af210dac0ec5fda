//! What a person types to say where: `host 25`, `[::1]:25`, `smtp://host`, `unix:/path`.

use crate::term::safe::quote;
use std::fmt;
use std::path::PathBuf;

/// A host name or address, checked but not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// Checks a host: nothing in it that a resolver, a header or a terminal would trip over.
    ///
    /// # Errors
    /// A sentence that names what was typed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the host is missing".to_owned());
        }
        let bad = |c: char| c.is_control() || c.is_whitespace() || "[]/@\"<>\\".contains(c);
        if let Some(bad) = text.chars().find(|&c| bad(c)) {
            let typed = quote(text.as_bytes(), 80);
            let bad = match bad {
                ' ' => "a space".to_owned(),
                bad => format!("\"{}\"", quote(bad.to_string().as_bytes(), 10)),
            };
            return Err(format!("\"{typed}\" cannot be a host: it has {bad} in it"));
        }
        if text.len() > 255 {
            let typed = quote(text.as_bytes(), 40);
            return Err(format!(
                "\"{typed}\" cannot be a host: {} bytes, and 255 are the most",
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was typed, without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without an IPv6 zone, for TLS.
    pub fn without_zone(&self) -> &str {
        match self.0.split_once('%') {
            Some((address, _)) if address.contains(':') => address,
            _ => &self.0,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the scheme of a URL adds to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `tcp://`
    Tcp,
    /// `tls://`
    Tls,
    /// `udp://`
    Udp,
    /// `dtls://`
    Dtls,
    /// `smtp://`: the SMTP helper, port 25.
    Smtp,
    /// `submission://`: the SMTP helper, port 587, STARTTLS.
    Submission,
    /// `smtps://`: the SMTP helper, port 465, TLS from the first byte.
    Smtps,
    /// `pop3://`: the POP3 helper, port 110.
    Pop3,
    /// `pop3s://`: the POP3 helper, port 995, TLS from the first byte.
    Pop3s,
    /// `imap://`: the IMAP helper, port 143.
    Imap,
    /// `imaps://`: the IMAP helper, port 993, TLS from the first byte.
    Imaps,
}

/// A target as it was written; ports are still text, since a name may need a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// A host, maybe with a port, a scheme and a user.
    Host {
        /// From `scheme://`.
        scheme: Option<Scheme>,
        /// From `user@`.
        user: Option<String>,
        /// Absent where only a port was given (`:8080`).
        host: Option<Host>,
        /// A number or a service name.
        port: Option<String>,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

impl Written {
    /// Reads one operand.
    ///
    /// # Errors
    /// A sentence that names what was typed and why it is no target.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|p| p.starts_with('/')).unwrap_or(path);
            return unix_path(path).map(Written::Unix);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return url(scheme, rest);
        }
        let (host, port) = authority(text)?;
        Ok(Written::Host { scheme: None, user: None, host, port })
    }
}

/// Checks a path for a Unix socket: `sun_path` holds 108 bytes with its final NUL (unix(7)).
///
/// # Errors
/// A sentence.
pub fn unix_path(path: &str) -> Result<PathBuf, String> {
    const LONGEST: usize = 107;
    if path.is_empty() {
        return Err("the path of the Unix socket is missing".to_owned());
    }
    if path.len() > LONGEST {
        return Err(format!(
            "the path of a Unix socket holds {LONGEST} bytes at most, and this one has {}: {}",
            path.len(),
            quote(path.as_bytes(), 40)
        ));
    }
    Ok(PathBuf::from(path))
}

fn url(scheme: &str, rest: &str) -> Result<Written, String> {
    let typed = quote(scheme.as_bytes(), 20);
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "tcp" => Scheme::Tcp,
        "tls" | "ssl" => Scheme::Tls,
        "udp" => Scheme::Udp,
        "dtls" => Scheme::Dtls,
        "smtp" => Scheme::Smtp,
        "submission" => Scheme::Submission,
        "smtps" | "submissions" => Scheme::Smtps,
        "pop3" => Scheme::Pop3,
        "pop3s" => Scheme::Pop3s,
        "imap" => Scheme::Imap,
        "imaps" => Scheme::Imaps,
        "http" | "https" => {
            return Err(format!(
                "{typed}:// is not a transport: type HTTP by hand over tcp://host:80 or \
                 tls://host:443"
            ));
        }
        _ => {
            return Err(format!(
                "\"{typed}://\" is not a scheme that ncat knows: tcp tls udp dtls unix unix-dgram \
                 vsock smtp submission smtps pop3 pop3s imap imaps"
            ));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    if let Some(user) = user {
        if user.contains(':') {
            return Err("a password in a URL would show in the list of processes: leave it out; \
                        ncat asks for it, or takes it from NCAT_AUTH or --auth-file"
                .to_owned());
        }
        if user.is_empty() || user.chars().any(char::is_control) {
            return Err("the user before the @ is missing or has a control character".to_owned());
        }
        if matches!(scheme, Scheme::Tcp | Scheme::Tls | Scheme::Udp | Scheme::Dtls) {
            return Err(format!("{typed}:// has no login, so \"user@\" means nothing there"));
        }
    }
    if let Some((_, path)) = place.split_once('/') {
        let path = quote(path.as_bytes(), 40);
        return Err(format!("\"/{path}\" means nothing here: {typed}:// takes host and port only"));
    }
    let (host, port) = authority(place)?;
    if host.is_none() {
        return Err(format!("the host is missing after {typed}://"));
    }
    Ok(Written::Host { scheme: Some(scheme), user: user.map(str::to_owned), host, port })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, `v6`, `:port`.
fn authority(text: &str) -> Result<(Option<Host>, Option<String>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let typed = quote(text.as_bytes(), 80);
        let Some((host, after)) = rest.split_once(']') else {
            return Err(format!("\"{typed}\" has a [ without its ]"));
        };
        // RFC 6874 writes the zone as %25eth0 inside a URL.
        let host = host.replacen("%25", "%", 1);
        if !host.contains(':') {
            return Err(format!("\"{typed}\" has brackets, and they are for IPv6 addresses only"));
        }
        let host = Some(Host::parse(&host)?);
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port.to_owned()))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("\"{typed}\" has something other than :port after the ]")),
        };
    }
    match text.split_once(':') {
        // Two colons: a bare IPv6 address.
        Some((_, rest)) if rest.contains(':') => Ok((Some(Host::parse(text)?), None)),
        Some(("", port)) => Ok((None, Some(port.to_owned()))),
        Some((host, port)) => Ok((Some(Host::parse(host)?), Some(port.to_owned()))),
        None => Ok((Some(Host::parse(text)?), None)),
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<Scheme>, Option<String>, Option<String>, Option<String>) {
        match Written::parse(text).unwrap() {
            Written::Host { scheme, user, host, port } => (scheme, user, host.map(|h| h.0), port),
            Written::Unix(path) => panic!("{text} is a path: {path:?}"),
        }
    }

    #[test]
    fn every_way_of_the_table_is_understood() {
        let s = |t: &str| Some(t.to_owned());
        for (text, host, port) in [
            ("host", s("host"), None),
            ("host:25", s("host"), s("25")),
            ("host:smtp", s("host"), s("smtp")),
            ("192.0.2.1:25", s("192.0.2.1"), s("25")),
            ("[::1]:25", s("::1"), s("25")),
            ("[::1]", s("::1"), None),
            ("::1", s("::1"), None),
            (":8080", None, s("8080")),
            ("fe80::1%eth0", s("fe80::1%eth0"), None),
            ("[fe80::1%25eth0]:25", s("fe80::1%eth0"), s("25")),
            ("host:", s("host"), s("")),
        ] {
            assert_eq!(parts(text), (None, None, host, port), "{text}");
        }
        for (text, scheme, user, host, port) in [
            ("tcp://h:1", Scheme::Tcp, None, "h", s("1")),
            ("TLS://h", Scheme::Tls, None, "h", None),
            ("udp://h:1", Scheme::Udp, None, "h", s("1")),
            ("dtls://[::1]:1", Scheme::Dtls, None, "::1", s("1")),
            ("smtp://h/", Scheme::Smtp, None, "h", None),
            ("pop3://ann@h", Scheme::Pop3, s("ann"), "h", None),
            ("IMAPS://h:9", Scheme::Imaps, None, "h", s("9")),
            ("submission://ann@h", Scheme::Submission, s("ann"), "h", None),
            ("smtps://ann@example@[::1]:4", Scheme::Smtps, s("ann@example"), "::1", s("4")),
        ] {
            assert_eq!(parts(text), (Some(scheme), user, s(host), port), "{text}");
        }
        for (text, path) in [("unix:/run/x", "/run/x"), ("unix:rel", "rel"), ("unix:///a", "/a")] {
            assert_eq!(Written::parse(text), Ok(Written::Unix(PathBuf::from(path))));
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "missing"),
            ("a b", "it has a space in it"),
            ("a\nb:25", "it has \"\\n\" in it"),
            ("a\0b", "it has \"\\x00\" in it"),
            ("[::1", "without its ]"),
            ("[::1]x", "other than :port"),
            ("[host]:25", "IPv6 addresses only"),
            ("user@host", "it has \"@\" in it"),
            ("smtp://ann:secret@h", "NCAT_AUTH"),
            ("smtp://@h", "user"),
            ("tcp://ann@h", "no login"),
            ("tcp://", "missing"),
            ("tcp://h:1/path", "means nothing"),
            ("gopher://h", "not a scheme"),
            ("https://h", "not a transport"),
            ("imaps://ann:x@h", "NCAT_AUTH"),
            ("udp://ann@h", "no login"),
            ("unix:", "missing"),
            (&"x".repeat(256), "255"),
            (&format!("unix:/{}", "x".repeat(107)), "107"),
        ] {
            let error = Written::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_zone_is_for_the_socket_not_for_the_certificate() {
        assert_eq!(Host::parse("fe80::1%eth0").unwrap().without_zone(), "fe80::1");
        assert_eq!(Host::parse("a%b").unwrap().without_zone(), "a%b");
    }
}
