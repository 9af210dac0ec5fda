//! DNS messages: a question to bytes, and the answer to it from bytes (RFC 1035, 6891).
//!
//! In scope: one question a message, the types of [`Type`], EDNS, chains of CNAMEs, TCP's length
//! in front. Out of scope: zones, updates, DNSSEC, names that are not ASCII (they are written as
//! `xn--` by whoever asks).
//!
//! Sections behind the answers are not read: what nobody asked for is not believed either.

pub mod policy;
pub mod spf;
mod wire;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use domain::base::name::{Name as WireName, NameBuilder};
use std::fmt;
pub use wire::{Ignored, Reading, framed, query, read};

/// A domain name. Names that differ in case only are equal (RFC 4343).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(WireName<Vec<u8>>);

impl Name {
    /// Reads a name as people write it: labels with dots between, and perhaps one behind.
    ///
    /// `None` where a label is empty or longer than 63 bytes, or the whole longer than 253.
    pub fn new(text: &str) -> Option<Self> {
        if text == "." {
            return Some(Self(WireName::root_vec()));
        }
        let mut name = NameBuilder::new_vec();
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            if label.is_empty() {
                return None;
            }
            name.append_label(label.as_bytes()).ok()?;
        }
        name.into_name().ok().map(Self)
    }

    /// Where the name of an address stands (RFC 1035 §3.5, 3596 §2.5).
    pub fn reverse(ip: IpAddr) -> Self {
        Self(WireName::reverse_from_addr(ip).expect("32 labels of one letter fit into a name"))
    }

    /// The same below: `_dmarc` and `example.org` make `_dmarc.example.org`.
    ///
    /// `None` where that is too long for a name.
    pub fn below(&self, labels: &str) -> Option<Self> {
        Self::new(&format!("{labels}.{self}"))
    }

    /// The name above it, if that has two labels or more.
    pub fn above(&self) -> Option<Self> {
        let text = self.to_string();
        let (_, above) = text.split_once('.')?;
        Self::new(above).filter(Name::has_dot)
    }

    /// Is it the root, which stands for "no host" in a null MX (RFC 7505)?
    pub fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// Has it two labels or more?
    pub fn has_dot(&self) -> bool {
        self.0.label_count() > 2 // the root counts as one
    }

    /// Is it `other`, or below it?
    pub fn is_within(&self, other: &Name) -> bool {
        self.0.ends_with(&other.0)
    }
}

impl fmt::Display for Name {
    /// Without a dot at its end; what is not plain is escaped (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { write!(f, "{}", self.0) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The types of records that we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name for the same.
    Cname,
    /// Who takes the mail.
    Mx,
    /// A server of the zone.
    Ns,
    /// The name of an address.
    Ptr,
    /// What the zone is about.
    Soa,
    /// Where a service is.
    Srv,
    /// A certificate to expect (RFC 6698).
    Tlsa,
    /// Free text.
    Txt,
}

impl Type {
    /// All of them.
    pub const ALL: [Type; 10] = [
        Type::A,
        Type::Aaaa,
        Type::Cname,
        Type::Mx,
        Type::Ns,
        Type::Ptr,
        Type::Soa,
        Type::Srv,
        Type::Tlsa,
        Type::Txt,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Type::A => "A",
            Type::Aaaa => "AAAA",
            Type::Cname => "CNAME",
            Type::Mx => "MX",
            Type::Ns => "NS",
            Type::Ptr => "PTR",
            Type::Soa => "SOA",
            Type::Srv => "SRV",
            Type::Tlsa => "TLSA",
            Type::Txt => "TXT",
        }
    }

    /// The type of that name, in whatever case.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Of whom.
    pub name: Name,
    /// For what.
    pub kind: Type,
}

/// What was found: one record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name: of a CNAME, NS or PTR record.
    Name(Name),
    /// A host that takes mail; the lowest preference comes first.
    Mx {
        /// Its preference.
        preference: u16,
        /// The host.
        host: Name,
    },
    /// What the zone is about.
    Soa {
        /// The first of its servers.
        server: Name,
        /// The mailbox of who answers for it, with a dot for the @.
        mailbox: Name,
        /// Serial, and the seconds of refresh, retry, expire and minimum.
        numbers: [u32; 5],
    },
    /// Where a service is.
    Srv {
        /// The lowest comes first.
        priority: u16,
        /// Among equals.
        weight: u16,
        /// Its port.
        port: u16,
        /// Its host.
        host: Name,
    },
    /// A certificate to expect.
    Tlsa {
        /// Usage, selector and matching type.
        numbers: [u8; 3],
        /// The certificate, the key, or the hash of one.
        data: Vec<u8>,
    },
    /// The strings of a TXT record, put together (RFC 7208 §3.3): raw bytes.
    Txt(Vec<u8>),
}

impl Data {
    /// The text, of a TXT record.
    pub fn text(&self) -> Option<&[u8]> {
        if let Data::Txt(text) = self { Some(text) } else { None }
    }

    /// The name, of a record that is one.
    pub fn into_name(self) -> Option<Name> {
        if let Data::Name(name) = self { Some(name) } else { None }
    }

    /// The address, of a record that is one.
    pub fn into_address(self) -> Option<IpAddr> {
        match self {
            Data::A(ip) => Some(ip.into()),
            Data::Aaaa(ip) => Some(ip.into()),
            Data::Name(_)
            | Data::Mx { .. }
            | Data::Soa { .. }
            | Data::Srv { .. }
            | Data::Tlsa { .. }
            | Data::Txt(_) => None,
        }
    }
}

/// What a server says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Is there such a name? Where it is another name for one: is there that one?
    pub exists: bool,
    /// The names that it is another name for, in order.
    pub aliases: Vec<Name>,
    /// What was asked for; empty where the name has no such records, or the server left it to
    /// us to ask for the last of the aliases.
    pub records: Vec<Data>,
}

/// A server's refusal to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// FORMERR or NOTIMP: it may be too old for EDNS (RFC 6891 §7).
    NotUnderstood,
    /// SERVFAIL
    Server,
    /// REFUSED
    Refused,
    /// Another code.
    Code(u16),
    /// The aliases lead back to where they began.
    Loop,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotUnderstood => f.write_str("it does not understand the question"),
            Failure::Server => f.write_str("SERVFAIL: it cannot find out"),
            Failure::Refused => f.write_str("REFUSED: it does not answer us"),
            Failure::Code(code) => write!(f, "it answered with the error {code}"),
            Failure::Loop => f.write_str("the CNAME records lead in a circle"),
        }
    }
}

#[cfg(test)]
mod tests;
