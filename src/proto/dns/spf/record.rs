//! The text of an SPF record, parsed whole before anything is asked (RFC 7208 §4.6, §12).

use super::Outcome;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A record without mistakes.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    /// Where to go when none of them matches, and the term that says so.
    pub(super) redirect: Option<(Spec, String)>,
    /// Where the text is that goes with a refusal.
    pub(super) explanation: Option<Spec>,
}

/// A mechanism, and the result if it matches.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) outcome: Outcome,
    pub(super) mechanism: Mechanism,
    /// As it is written.
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) enum Mechanism {
    All,
    Include(Spec),
    A(Option<Spec>, Prefixes),
    Mx(Option<Spec>, Prefixes),
    Ptr(Option<Spec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Spec),
}

/// How many bits of an address count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// A domain with macros in it.
pub(super) type Spec = Vec<Piece>;

#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Macro {
        letter: Letter,
        /// So many parts from the right; `None` for all.
        keep: Option<usize>,
        reverse: bool,
        delimiters: String,
        /// Escaped as in a URL.
        escape: bool,
    },
}

/// What a macro stands for (§7.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Ip,
    ValidName,
    Family,
    Helo,
    /// The address as people read it: in explanations only, as the next two.
    ReadableIp,
    Receiver,
    Time,
}

impl Record {
    /// Parses a TXT record that begins with the version.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii());
        let text = text.ok_or("it is not ASCII")?;
        let mut record = Record { directives: Vec::new(), redirect: None, explanation: None };
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            let wrong = || format!("\"{term}\" is no term of SPF");
            let end = term.find([':', '/', '=']).unwrap_or(term.len());
            if term[end..].starts_with('=') {
                let (name, value) = (&term[..end], &term[end + 1..]);
                let twice = || format!("{name} is there twice");
                match name.to_ascii_lowercase().as_str() {
                    "redirect" if record.redirect.is_some() => return Err(twice()),
                    "redirect" => {
                        let spec = domain_spec(value).ok_or_else(wrong)?;
                        record.redirect = Some((spec, term.to_owned()));
                    }
                    "exp" if record.explanation.is_some() => return Err(twice()),
                    "exp" => record.explanation = Some(domain_spec(value).ok_or_else(wrong)?),
                    // Others are for later versions of SPF, and ignored (§6).
                    other if is_modifier(other) && pieces(value, false).is_some() => {}
                    _ => return Err(wrong()),
                }
                continue;
            }
            record.directives.push(directive(term).ok_or_else(wrong)?);
        }
        Ok(record)
    }
}

fn is_modifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn directive(term: &str) -> Option<Directive> {
    let (outcome, rest) = match term.chars().next()? {
        '+' => (Outcome::Pass, &term[1..]),
        '-' => (Outcome::Fail, &term[1..]),
        '~' => (Outcome::SoftFail, &term[1..]),
        '?' => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if value.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(domain_spec(value.strip_prefix(':')?)?),
        "exists" => Mechanism::Exists(domain_spec(value.strip_prefix(':')?)?),
        "ptr" if value.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(domain_spec(value.strip_prefix(':')?)?)),
        "a" => {
            let (spec, prefixes) = domain_and_prefixes(value)?;
            Mechanism::A(spec, prefixes)
        }
        "mx" => {
            let (spec, prefixes) = domain_and_prefixes(value)?;
            Mechanism::Mx(spec, prefixes)
        }
        "ip4" => {
            let (network, bits) = network(value.strip_prefix(':')?, 32)?;
            Mechanism::Ip4(network.parse().ok()?, bits)
        }
        "ip6" => {
            let (network, bits) = network(value.strip_prefix(':')?, 128)?;
            Mechanism::Ip6(network.parse().ok()?, bits)
        }
        _ => return None,
    };
    Some(Directive { outcome, mechanism, text: term.to_owned() })
}

fn network(value: &str, most: u8) -> Option<(&str, u8)> {
    match value.split_once('/') {
        Some((network, bits)) => Some((network, prefix(bits, most)?)),
        None => Some((value, most)),
    }
}

/// `1*DIGIT` without padding, up to `most`.
fn prefix(digits: &str, most: u8) -> Option<u8> {
    let padded = digits.len() > 1 && digits.starts_with('0');
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|bits| plain && !padded && *bits <= most)
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`
fn domain_and_prefixes(value: &str) -> Option<(Option<Spec>, Prefixes)> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = value;
    if let Some((before, digits)) = rest.rsplit_once("//").filter(|(_, after)| is_digits(after)) {
        prefixes.v6 = prefix(digits, 128)?;
        rest = before;
    }
    if let Some((before, digits)) = rest.rsplit_once('/').filter(|(_, after)| is_digits(after)) {
        prefixes.v4 = prefix(digits, 32)?;
        rest = before;
    }
    if rest.is_empty() {
        return Some((None, prefixes));
    }
    Some((Some(domain_spec(rest.strip_prefix(':')?)?), prefixes))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A macro-string that ends like a domain (§7.1, domain-end).
fn domain_spec(text: &str) -> Option<Spec> {
    let spec = pieces(text, false)?;
    let ends_well = match spec.last()? {
        Piece::Macro { .. } => true,
        Piece::Text(_) => {
            let text = text.strip_suffix('.').unwrap_or(text);
            let (_, top) = text.rsplit_once('.')?;
            let is_label = !top.starts_with('-')
                && !top.ends_with('-')
                && top.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            is_label && top.bytes().any(|b| !b.is_ascii_digit())
        }
    };
    ends_well.then_some(spec)
}

/// The text that goes with a refusal (§6.2): words, and more macros than elsewhere.
pub(super) fn explanation(text: &[u8]) -> Option<Spec> {
    std::str::from_utf8(text).ok().and_then(|text| pieces(text, true))
}

/// Text and macros.
fn pieces(text: &str, explains: bool) -> Option<Spec> {
    let mut spec = Spec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '%' {
            if !(c.is_ascii_graphic() || explains && c == ' ') {
                return None;
            }
            plain.push(c);
            continue;
        }
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            '%' => plain.push('%'),
            '_' => plain.push(' '),
            '-' => plain.push_str("%20"),
            '{' => {
                let (body, after) = rest.split_once('}')?;
                rest = after;
                if !plain.is_empty() {
                    spec.push(Piece::Text(std::mem::take(&mut plain)));
                }
                spec.push(macro_of(body, explains)?);
            }
            _ => return None,
        }
    }
    if !plain.is_empty() {
        spec.push(Piece::Text(plain));
    }
    Some(spec)
}

/// What stands between the braces: a letter, digits, `r`, delimiters.
fn macro_of(body: &str, explains: bool) -> Option<Piece> {
    let first = body.chars().next()?;
    let letter = match first.to_ascii_lowercase() {
        's' => Letter::Sender,
        'l' => Letter::LocalPart,
        'o' => Letter::SenderDomain,
        'd' => Letter::Domain,
        'i' => Letter::Ip,
        'p' => Letter::ValidName,
        'v' => Letter::Family,
        'h' => Letter::Helo,
        // These are for explanations only (§7.2).
        'c' if explains => Letter::ReadableIp,
        'r' if explains => Letter::Receiver,
        't' if explains => Letter::Time,
        _ => return None,
    };
    let rest = &body[first.len_utf8()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    let keep = match digits {
        "" => None,
        // A number that is too large to be read keeps everything.
        digits => match digits.parse().unwrap_or(usize::MAX) {
            0 => return None,
            keep => Some(keep),
        },
    };
    let stripped = rest.strip_prefix(['r', 'R']);
    let delimiters = stripped.unwrap_or(rest);
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let delimiters = if delimiters.is_empty() { "." } else { delimiters };
    Some(Piece::Macro {
        letter,
        keep,
        reverse: stripped.is_some(),
        delimiters: delimiters.to_owned(),
        escape: first.is_ascii_uppercase(),
    })
}
