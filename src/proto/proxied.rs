//! The PROXY protocol of HAProxy, versions 1 and 2: a proxy says first whom it speaks for.
//!
//! In scope: TCP over IPv4 and IPv6, "unknown" (1) and LOCAL (2). What version 2 may carry behind
//! the addresses (TLV) is skipped.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A header of version 1, with its line end.
const LONGEST_LINE: usize = 107;
/// A header of version 2, as long as we read one.
pub const LONGEST: usize = 4096;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// The header for a connection from and to these addresses; of one without addresses if there are
/// none.
pub fn encode(version: Version, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    // Both must be of one family: a socket of IPv6 may have called by IPv4.
    let pair = addresses.map(|(from, to)| {
        ((from.ip().to_canonical(), from.port()), (to.ip().to_canonical(), to.port()))
    });
    match version {
        Version::V1 => match pair {
            Some(((IpAddr::V4(from), sport), (IpAddr::V4(to), dport))) => {
                format!("PROXY TCP4 {from} {to} {sport} {dport}\r\n").into_bytes()
            }
            Some(((IpAddr::V6(from), sport), (IpAddr::V6(to), dport))) => {
                format!("PROXY TCP6 {from} {to} {sport} {dport}\r\n").into_bytes()
            }
            Some(_) | None => b"PROXY UNKNOWN\r\n".to_vec(),
        },
        Version::V2 => {
            // PROXY over a stream, or LOCAL.
            let (command, family, octets) = match pair {
                Some(((IpAddr::V4(from), sport), (IpAddr::V4(to), dport))) => {
                    let octets = [&from.octets()[..], &to.octets(), &ports(sport, dport)].concat();
                    (0x21, 0x11, octets)
                }
                Some(((IpAddr::V6(from), sport), (IpAddr::V6(to), dport))) => {
                    let octets = [&from.octets()[..], &to.octets(), &ports(sport, dport)].concat();
                    (0x21, 0x21, octets)
                }
                Some(_) | None => (0x20, 0, Vec::new()),
            };
            // 36 octets at most.
            let length = u16::try_from(octets.len()).unwrap_or_default().to_be_bytes();
            [&SIGNATURE[..], &[command, family], &length, &octets].concat()
        }
    }
}

fn ports(source: u16, destination: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d]
}

/// What the beginning of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// It may become a header.
    Incomplete,
    /// A header of so many octets, and whom it is about, if it says.
    Header {
        /// The caller and the address that he called.
        addresses: Option<(SocketAddr, SocketAddr)>,
        /// Its octets.
        length: usize,
    },
    /// No header.
    Bad,
}

/// Reads the header that a stream begins with.
pub fn decode(bytes: &[u8]) -> Decoded {
    let both = bytes.len().min(SIGNATURE.len());
    if both > 0 && bytes[..both] == SIGNATURE[..both] {
        return binary(bytes);
    }
    let start = b"PROXY ";
    let both = bytes.len().min(start.len());
    if bytes[..both] == start[..both] { line(bytes) } else { Decoded::Bad }
}

fn line(bytes: &[u8]) -> Decoded {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = memchr::memmem::find(within, b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Decoded::Incomplete } else { Decoded::Bad };
    };
    let length = end + 2;
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else { return Decoded::Bad };
    let words: Vec<_> = text.split(' ').collect();
    let is_v4 = match words.get(1) {
        // What stands behind it means nothing.
        Some(&"UNKNOWN") => return Decoded::Header { addresses: None, length },
        Some(&"TCP4") => true,
        Some(&"TCP6") => false,
        Some(_) | None => return Decoded::Bad,
    };
    let [_, _, from, to, sport, dport] = words.as_slice() else { return Decoded::Bad };
    let address = |ip: &str, port: &str| {
        let ip: IpAddr = ip.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == is_v4)?;
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        Some(SocketAddr::new(ip, port.parse().ok().filter(|_| digits)?))
    };
    match (address(from, sport), address(to, dport)) {
        (Some(from), Some(to)) => Decoded::Header { addresses: Some((from, to)), length },
        _ => Decoded::Bad,
    }
}

fn binary(bytes: &[u8]) -> Decoded {
    let [command, family, high, low] = match bytes.get(12..16) {
        Some(&[a, b, c, d]) => [a, b, c, d],
        Some(_) | None => return Decoded::Incomplete,
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    let length = 16 + rest;
    if length > LONGEST || !matches!(command, 0x20 | 0x21) {
        return Decoded::Bad;
    }
    let Some(body) = bytes.get(16..length) else { return Decoded::Incomplete };
    if command == 0x20 {
        return Decoded::Header { addresses: None, length };
    }
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let v4 = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?));
    let pair = |from: Option<IpAddr>, to: Option<IpAddr>, at: usize| {
        Some((SocketAddr::new(from?, port(at)?), SocketAddr::new(to?, port(at + 2)?)))
    };
    let addresses = match family {
        0x11 => pair(v4(0).map(IpAddr::V4), v4(4).map(IpAddr::V4), 8),
        0x21 => pair(v6(0).map(IpAddr::V6), v6(16).map(IpAddr::V6), 32),
        // Of other families nothing is used.
        _ => return Decoded::Header { addresses: None, length },
    };
    match addresses {
        Some(addresses) => Decoded::Header { addresses: Some(addresses), length },
        None => Decoded::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn what_is_encoded_is_decoded_and_every_prefix_may_become_it() {
        for addresses in [
            pair("192.0.2.1:1234", "192.0.2.2:25"),
            pair("[2001:db8::1]:65535", "[2001:db8::2]:1"),
            None,
        ] {
            for version in [Version::V1, Version::V2] {
                let header = encode(version, addresses);
                let length = header.len();
                for end in 1..length {
                    assert_eq!(decode(&header[..end]), Decoded::Incomplete, "{version:?} {end}");
                }
                let more = [&header[..], b"EHLO x\r\n"].concat();
                assert_eq!(decode(&more), Decoded::Header { addresses, length }, "{version:?}");
            }
        }
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let v1 = encode(Version::V1, pair("192.0.2.1:5", "192.0.2.2:25"));
        assert_eq!(v1, b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\n");
        // A socket for both families calls by IPv4.
        let mapped = encode(Version::V1, pair("[::ffff:192.0.2.1]:5", "[::ffff:192.0.2.2]:25"));
        assert_eq!(mapped, v1);
        let v2 = encode(Version::V2, pair("192.0.2.1:5", "192.0.2.2:25"));
        let octets = b"\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x05\x00\x19";
        assert_eq!(v2, [&SIGNATURE[..], octets].concat());
    }

    #[test]
    fn what_is_no_header_is_said_to_be_none() {
        for bad in [
            &b"EHLO x\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY SCTP x\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02ab",
        ] {
            assert_eq!(decode(bad), Decoded::Bad, "{bad:?}");
        }
        let endless = [&b"PROXY "[..], &b"x".repeat(200)].concat();
        assert_eq!(decode(&endless), Decoded::Bad);
        let unknown = b"PROXY UNKNOWN whatever\r\n";
        let header = Decoded::Header { addresses: None, length: unknown.len() };
        assert_eq!(decode(unknown), header);
    }
}
