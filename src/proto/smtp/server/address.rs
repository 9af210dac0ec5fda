//! The paths of MAIL and RCPT (RFC 5321 §4.1.2), with what real clients do to them.

use core::net::{Ipv4Addr, Ipv6Addr};

/// The longest path (RFC 5321 §4.5.3.1.3), with its angle brackets.
const LONGEST: usize = 256;

/// Why a path is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Not an address.
    Syntax,
    /// Not ASCII, and SMTPUTF8 was not asked for.
    NotAscii,
}

/// An address, and what of it a stricter server would not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// Without angle brackets and source route; empty is the null sender.
    pub(super) address: &'a str,
    /// What follows it: the parameters.
    pub(super) rest: &'a str,
    /// Half a sentence about it.
    pub(super) lint: Option<&'static str>,
}

/// Splits a path from its parameters: `argument` is what stands behind `FROM:` or `TO:`.
pub(super) fn path(argument: &str) -> Option<Path<'_>> {
    let trimmed = argument.trim_start_matches([' ', '\t']);
    let mut lint = (trimmed.len() < argument.len()).then_some("a space before the address");
    let (path, rest) = match trimmed.strip_prefix('<') {
        Some(inside) => {
            let end = closing(inside)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => {
            lint = Some("an address without angle brackets");
            trimmed.split_at(trimmed.find([' ', '\t']).unwrap_or(trimmed.len()))
        }
    };
    // Parameters stand apart.
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    if trimmed.is_empty() || path.len() + 2 > LONGEST {
        return None;
    }
    let address = match path.strip_prefix('@') {
        None => path,
        Some(_) => {
            lint = Some("a source route, which is ignored");
            let (route, address) = path.split_once(':')?;
            route
                .split(',')
                .all(|hop| hop.strip_prefix('@').is_some_and(is_domain))
                .then_some(())?;
            address
        }
    };
    Some(Path { address, rest, lint })
}

/// Where the `>` is that closes the path: not inside quotes.
fn closing(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Is it an address? Gives a lint if it is one that real servers may not take.
pub(super) fn check(address: &str, smtputf8: bool) -> Result<Option<&'static str>, Wrong> {
    if address.chars().any(char::is_control) {
        return Err(Wrong::Syntax);
    }
    if !smtputf8 && !address.is_ascii() {
        return Err(Wrong::NotAscii);
    }
    let local_end = local_part(address).ok_or(Wrong::Syntax)?;
    let lint = (local_end > 64).then_some("a local part of more than 64 octets");
    match &address[local_end..] {
        "" if address.eq_ignore_ascii_case("postmaster") => Ok(None),
        "" => Ok(Some("an address without a domain")),
        domain => match domain.strip_prefix('@') {
            Some(domain) if is_domain(domain) || is_literal(domain) => Ok(lint),
            Some(_) | None => Err(Wrong::Syntax),
        },
    }
}

/// The length of the local part: a dot-atom or a quoted string.
fn local_part(address: &str) -> Option<usize> {
    if let Some(inside) = address.strip_prefix('"') {
        let mut escaped = false;
        for (at, c) in inside.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return Some(at + 2),
                _ => {}
            }
        }
        return None;
    }
    let end = address.find('@').unwrap_or(address.len());
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atext);
    address[..end].split('.').all(is_atom).then_some(end)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// Labels of letters, digits and hyphens; underscores are common enough.
fn is_domain(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain.len() <= 255
        && domain.split('.').all(|label| {
            let plain =
                |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii();
            (1..=63).contains(&label.len())
                && label.chars().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`
fn is_literal(domain: &str) -> bool {
    let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| {
        let ipv6 = inside.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
        match ipv6 {
            Some(_) => inside[5..].parse::<Ipv6Addr>().is_ok(),
            None => inside.parse::<Ipv4Addr>().is_ok(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_as_clients_write_them() {
        for (argument, address, rest) in [
            ("<a@b>", "a@b", ""),
            (" <a@b> SIZE=3", "a@b", " SIZE=3"),
            ("a@b BODY=7BIT", "a@b", " BODY=7BIT"),
            ("<>", "", ""),
            ("<@x,@y.z:a@b>", "a@b", ""),
            ("<\"a>b\"@c>", "\"a>b\"@c", ""),
            ("<\"a\\\">b\"@c> X", "\"a\\\">b\"@c", " X"),
        ] {
            let found = path(argument).unwrap();
            assert_eq!((found.address, found.rest), (address, rest), "{argument}");
        }
        for none in ["", " ", "<a@b", "<a@b>x", "<@x a@b>", "<@:a@b>"] {
            assert_eq!(path(none), None, "{none}");
        }
        assert_eq!(path(&format!("<{}@b>", "a".repeat(300))), None);
    }

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for good in [
            "a@b",
            "postmaster",
            "\"a b\"@c.d",
            "x@[192.0.2.1]",
            "x@[IPv6:::1]",
            "first.last+tag@sub.example.org",
            "a@example.org.",
        ] {
            assert_eq!(check(good, false), Ok(None), "{good}");
        }
        assert_eq!(check("ann", false), Ok(Some("an address without a domain")));
        assert!(check(&format!("{}@b", "a".repeat(65)), false).unwrap().is_some());
        for bad in [
            "",
            "@b",
            "a@",
            "a b@c",
            "a..b@c",
            ".a@b",
            "a@b@c",
            "a@-b",
            "a@b..c",
            "a@[1.2.3]",
            "a@[IPv6:1.2.3.4]",
            "\"a@b",
            "a@b\r",
            "<a@b>",
        ] {
            assert_eq!(check(bad, true), Err(Wrong::Syntax), "{bad}");
        }
        assert_eq!(check("jürg@b", false), Err(Wrong::NotAscii));
        assert_eq!(check("jürg@bücher.example", true), Ok(None));
    }
}
