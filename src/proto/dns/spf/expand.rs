//! Macros in the domains of SPF terms (RFC 7208 §7).

use super::record::{Letter, Piece, Spec};
use super::{Name, Run, Stop};
use core::net::IpAddr;
use std::fmt::Write as _;

/// The longest name (RFC 1035 §2.3.4), as text.
const LONGEST: usize = 253;

/// Whom the check is about: with no sender there is nobody but him (§2.4).
const LOCAL_PART: &str = "postmaster";

impl Run<'_> {
    /// The domain that a term is about, without a dot at its end.
    ///
    /// # Errors
    /// The address's own name is not known yet.
    pub(super) fn expand(&mut self, spec: &Spec, domain: &str) -> Result<String, Stop> {
        let text = self.expand_text(spec, domain)?;
        let mut rest = text.strip_suffix('.').unwrap_or(&text);
        // One that is too long loses labels on its left (§7.3).
        while rest.len() > LONGEST
            && let Some((_, shorter)) = rest.split_once('.')
        {
            rest = shorter;
        }
        Ok(rest.to_owned())
    }

    /// A text with its macros replaced.
    ///
    /// # Errors
    /// The address's own name is not known yet.
    pub(super) fn expand_text(&mut self, spec: &Spec, domain: &str) -> Result<String, Stop> {
        let mut text = String::new();
        for piece in spec {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Macro { letter, keep, reverse, delimiters, escape } => {
                    let value = self.value(*letter, domain)?;
                    let mut parts: Vec<_> = value.split(|c| delimiters.contains(c)).collect();
                    if *reverse {
                        parts.reverse();
                    }
                    let skip = keep.map_or(0, |keep| parts.len().saturating_sub(keep));
                    let value = parts[skip..].join(".");
                    if *escape { escaped(&value, &mut text) } else { text.push_str(&value) }
                }
            }
        }
        Ok(text)
    }

    fn value(&mut self, letter: Letter, domain: &str) -> Result<String, Stop> {
        let own = &self.check.domain;
        Ok(match letter {
            Letter::Sender => format!("{LOCAL_PART}@{own}"),
            Letter::LocalPart => LOCAL_PART.to_owned(),
            Letter::SenderDomain | Letter::Helo => own.clone(),
            Letter::Domain => domain.to_owned(),
            Letter::Ip => nibbles(self.check.ip),
            Letter::Family if self.check.ip.is_ipv4() => "in-addr".to_owned(),
            Letter::Family => "ip6".to_owned(),
            Letter::ValidName => self.valid_name(domain)?,
            Letter::ReadableIp => self.check.ip.to_string(),
            // Nobody receives anything here, and there is no clock: as §7.3 has it.
            Letter::Receiver => "unknown".to_owned(),
            Letter::Time => "0".to_owned(),
        })
    }

    /// A name of the address that leads back to it: the domain, else one below it, else any.
    fn valid_name(&mut self, domain: &str) -> Result<String, Stop> {
        self.count()?;
        let mut names = self.names_of_ip()?;
        if let Some(domain) = Name::new(domain) {
            names.sort_by_key(|name| (*name != domain, !name.is_within(&domain)));
        }
        let valid = self.first_valid(names.into_iter())?;
        Ok(valid.map_or_else(|| "unknown".to_owned(), |name| name.to_string()))
    }
}

/// `192.0.2.3`, and an IPv6 address in its 32 digits with dots between.
fn nibbles(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", ip.to_bits());
            let digits: Vec<_> = digits.chars().map(String::from).collect();
            digits.join(".")
        }
    }
}

/// All but the unreserved characters of RFC 3986 §2.3 as `%41`.
fn escaped(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
