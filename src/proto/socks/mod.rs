//! SOCKS: asking a proxy for a connection, and being that proxy.
//!
//! In scope: CONNECT of SOCKS5 (RFC 1928), without login or with user and password (RFC 1929);
//! of SOCKS4, and of 4a, its extension by host names. Out: BIND, UDP ASSOCIATE, GSSAPI. Neither
//! of the older two has an RFC; this is how they go, numbers in network byte order:
//!
//! ```text
//! request  04  01 (CONNECT)  port (2)  address (4)  user id  00  [4a: host name  00]
//! reply    00  5A (granted) or 5B, 5C, 5D (not)  port (2)  address (4), both to be ignored
//! ```
//!
//! In 4a the address 0.0.0.x, x not 0, says that a name follows.
//!
//! No message is longer than 520 bytes, and none is kept once it is eaten.

mod answer;
mod client;
#[cfg(test)]
mod pair;
mod server;

pub use answer::Answer;
pub use client::Client;
pub use server::{Event, Server};

use core::net::IpAddr;

/// Where a proxy is asked to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A host name, for the proxy to look up.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// SOCKS4; 4a for names.
    V4,
    /// SOCKS5.
    V5,
}

/// The first byte of every message from a caller.
const V4: u8 = 4;
const V5: u8 = 5;
/// The first byte of both messages of a login (RFC 1929).
const LOGIN: u8 = 1;

/// The command.
const CONNECT: u8 = 1;

/// Ways to log in (RFC 1928 §3).
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const NO_METHOD_WORDS: &str = "no acceptable authentication method proposed";

/// Types of address (RFC 1928 §5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Replies of SOCKS4.
const GRANTED: u8 = 90;
const REJECTED: u8 = 91;
const NO_IDENTD: u8 = 92;
const OTHER_USER: u8 = 93;

/// Bytes in a name, a user or a password: its length is one byte. SOCKS4 has no such limit; there
/// it keeps a peer from growing us.
const LONGEST: usize = 255;

/// Bytes of a message that we do not understand that are shown.
const SHOWN: usize = 80;

/// Can this be the name of a host? What cannot would be trouble in a resolver, a log or a header.
fn is_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// An address as it stands in a message.
enum Host<'a> {
    Name(&'a [u8]),
    Address(IpAddr),
}

/// Reads type, address and port (RFC 1928 §5), and says how long they are together; `None` until
/// all of it has come.
///
/// # Errors
/// A type that does not exist: there is no telling where such an address ends.
fn read_address(bytes: &[u8]) -> Result<Option<(Host<'_>, u16, usize)>, u8> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
    let host = match kind {
        IPV4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (Host::Address((*ip).into()), rest)),
        IPV6 => {
            rest.split_first_chunk::<16>().map(|(ip, rest)| (Host::Address((*ip).into()), rest))
        }
        NAME => rest.split_first().and_then(|(&length, rest)| {
            let (name, rest) = rest.split_at_checked(length.into())?;
            Some((Host::Name(name), rest))
        }),
        _ => return Err(kind),
    };
    let Some((host, rest)) = host else { return Ok(None) };
    let Some((&port, rest)) = rest.split_first_chunk() else { return Ok(None) };
    Ok(Some((host, u16::from_be_bytes(port), bytes.len() - rest.len())))
}

/// A request of SOCKS4 or 4a.
struct Request4<'a> {
    command: u8,
    port: u16,
    user: &'a [u8],
    host: Host<'a>,
    length: usize,
}

/// What was expected, and what came.
type Strange<'a> = (&'static str, &'a [u8]);

/// `None` until all of it has come.
///
/// # Errors
/// A text that is too long.
fn read_request4(bytes: &[u8]) -> Result<Option<Request4<'_>>, Strange<'_>> {
    let Some((&[_, command, high, low, a, b, c, d], rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let user = until_nul(rest, "a user id of at most 255 bytes")?;
    let Some(user) = user else { return Ok(None) };
    let rest = &rest[user.len() + 1..];
    let (host, rest) = match [a, b, c, d] {
        [0, 0, 0, 1..=u8::MAX] => {
            let name = until_nul(rest, "a host name of at most 255 bytes")?;
            let Some(name) = name else { return Ok(None) };
            (Host::Name(name), &rest[name.len() + 1..])
        }
        address => (Host::Address(address.into()), rest),
    };
    let port = u16::from_be_bytes([high, low]);
    Ok(Some(Request4 { command, port, user, host, length: bytes.len() - rest.len() }))
}

/// What stands before the first NUL; `None` until that has come.
///
/// # Errors
/// `expected`, if there are more than 255 bytes without one.
fn until_nul<'a>(bytes: &'a [u8], expected: &'static str) -> Result<Option<&'a [u8]>, Strange<'a>> {
    let window = &bytes[..bytes.len().min(LONGEST + 1)];
    match memchr::memchr(0, window) {
        Some(at) => Ok(Some(&bytes[..at])),
        None if window.len() > LONGEST => Err((expected, window)),
        None => Ok(None),
    }
}

/// Appends type and address.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
    }
}
