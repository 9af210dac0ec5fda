//! How a connection went, as each version says it.

use super::{GRANTED, REJECTED, V5, Version, write_address};
use crate::proto::Output;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What became of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It stands, and this is our end of it.
    Connected(SocketAddr),
    /// It failed, and none of the others says why.
    General,
    /// Our rules forbid it.
    NotAllowed,
    /// There is no way to that network.
    NetworkUnreachable,
    /// There is no way to that host, or no such name.
    HostUnreachable,
    /// The host refused it.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// What was asked for is no connection.
    CommandNotSupported,
    /// We cannot use addresses of that kind.
    AddressNotSupported,
}

impl Answer {
    /// The reply of RFC 1928 §6, and our end if there is one.
    fn parts(self) -> (u8, Option<SocketAddr>) {
        match self {
            Answer::Connected(end) => (0, Some(end)),
            Answer::General => (1, None),
            Answer::NotAllowed => (2, None),
            Answer::NetworkUnreachable => (3, None),
            Answer::HostUnreachable => (4, None),
            Answer::Refused => (5, None),
            Answer::TimedOut => (6, None),
            Answer::CommandNotSupported => (7, None),
            Answer::AddressNotSupported => (8, None),
        }
    }

    /// What it means, in the RFC's words.
    pub(super) fn words(self) -> &'static str {
        words(self.parts().0)
    }

    /// Writes the reply, and returns its code.
    pub(super) fn say(self, version: Version, out: &mut Output<'_>) -> u8 {
        let (reply, end) = self.parts();
        match version {
            Version::V4 => {
                let code = if end.is_some() { GRANTED } else { REJECTED };
                say4(code, end, out);
                code
            }
            Version::V5 => {
                say5(reply, end, out);
                reply
            }
        }
    }
}

fn say5(reply: u8, end: Option<SocketAddr>, out: &mut Output<'_>) {
    // What a dual-stack socket calls ::ffff:192.0.2.1 is an IPv4 address to everybody else.
    let ip = end.map_or(Ipv4Addr::UNSPECIFIED.into(), |end| end.ip().to_canonical());
    out.with(|out| {
        out.extend([V5, reply, 0]);
        write_address(ip, out);
        out.extend(end.map_or(0, |end| end.port()).to_be_bytes());
    });
}

/// Writes a reply of SOCKS4. Callers ignore the address, so one of IPv6 may be left out.
pub(super) fn say4(code: u8, end: Option<SocketAddr>, out: &mut Output<'_>) {
    let (ip, port) = match end.map(|end| (end.ip().to_canonical(), end.port())) {
        Some((IpAddr::V4(ip), port)) => (ip, port),
        Some((IpAddr::V6(_), _)) | None => (Ipv4Addr::UNSPECIFIED, 0),
    };
    out.with(|out| {
        out.extend([0, code]);
        out.extend(port.to_be_bytes());
        out.extend(ip.octets());
    });
}

/// The replies 0 to 8, in the words of RFC 1928 §6.
const REPLIES: [&str; 9] = [
    "succeeded",
    "general SOCKS server failure",
    "connection not allowed by ruleset",
    "Network unreachable",
    "Host unreachable",
    "Connection refused",
    "TTL expired",
    "Command not supported",
    "Address type not supported",
];

/// What a reply of SOCKS5 means.
pub(super) fn words(reply: u8) -> &'static str {
    REPLIES.get(usize::from(reply)).copied().unwrap_or("unassigned value in the reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: Answer, version: Version) -> Vec<u8> {
        let (mut bytes, mut ended) = (vec![], false);
        answer.say(version, &mut Output::new(&mut bytes, 1, &mut ended));
        bytes
    }

    #[test]
    fn our_end_is_told_as_far_as_the_version_can() {
        let end = |text: &str| Answer::Connected(text.parse().unwrap());
        let (four, six) = (end("192.0.2.1:513"), end("[2001:db8::1]:513"));
        assert_eq!(said(four, Version::V4), b"\0\x5a\x02\x01\xc0\0\x02\x01");
        assert_eq!(said(six, Version::V4), b"\0\x5a\0\0\0\0\0\0");
        let ip = b"\x05\0\0\x04 \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x01";
        assert_eq!(said(six, Version::V5), ip);
        for version in [Version::V4, Version::V5] {
            assert_eq!(said(end("[::ffff:192.0.2.1]:513"), version), said(four, version));
        }
    }
}
