//! Names to addresses, by the system's resolver, off the event loop.

use dns_lookup::{AddrInfoHints, LookupError, getaddrinfo};
use mio::event::Source;
use mio::unix::pipe::{Receiver, new};
use mio::{Interest, Registry, Token};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// `-4`
    V4,
    /// `-6`
    V6,
}

impl Family {
    /// Is this address of the family?
    pub fn has(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }
}

/// Addresses in the resolver's order, or its words.
pub type Answer = Result<Vec<SocketAddr>, String>;

/// A look-up that is under way on a thread; readable once it is over.
#[derive(Debug)]
pub struct Lookup {
    bell: Receiver,
    answer: mpsc::Receiver<Answer>,
}

impl Lookup {
    /// Asks. The thread cannot be called back; if nobody waits any more, its answer is dropped.
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start(host: &str, port: u16, family: Family) -> io::Result<Self> {
        let (ring, bell) = new()?;
        let (tell, answer) = mpsc::channel();
        let host = host.to_owned();
        std::thread::Builder::new().name("names".into()).spawn(move || {
            // A receiver that is gone does not want to know.
            let _ = tell.send(resolve(&host, port, family, false));
            drop(ring); // the end of this pipe is the bell
        })?;
        Ok(Self { bell, answer })
    }

    /// Registers with the loop.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.bell.register(registry, token, Interest::READABLE)
    }

    /// The answer, if it is there.
    pub fn answer(&mut self) -> Option<Answer> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err("the resolver died".to_owned())),
        }
    }
}

/// The addresses of something that needs no asking: a numeric host.
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

/// Asks the resolver and waits; `numeric` forbids it to ask anybody else (`-n`).
///
/// # Errors
/// The resolver's words, or ours where a literal is of the wrong family.
pub fn resolve(host: &str, port: u16, family: Family, numeric: bool) -> Answer {
    if let Some(address) = literal(host, port) {
        return match family.has(address.ip()) {
            true => Ok(vec![address]),
            false => Err(match family {
                Family::V4 => "it is an IPv6 address, and -4 asks for IPv4".to_owned(),
                Family::V6 | Family::Any => {
                    "it is an IPv4 address, and -6 asks for IPv6".to_owned()
                }
            }),
        };
    }
    let hints = AddrInfoHints {
        flags: if numeric { libc::AI_NUMERICHOST } else { 0 },
        address: match family {
            Family::Any => libc::AF_UNSPEC,
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        },
        socktype: libc::SOCK_STREAM,
        protocol: 0,
    };
    let mut addresses = Vec::new();
    for found in getaddrinfo(Some(host), None, Some(hints)).map_err(words)? {
        // An address family that std cannot hold is none that we could connect to.
        let Ok(found) = found else { continue };
        let mut address = found.sockaddr;
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// The resolver's words: "name or service not known".
fn words(error: LookupError) -> String {
    let error = io::Error::from(error);
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    crate::error::words(&io::Error::other(text.to_owned()))
}

/// Services that people type, for machines without /etc/services.
const SERVICES: [(&str, u16); 24] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("mail", 25),
    ("domain", 53),
    ("http", 80),
    ("www", 80),
    ("pop3", 110),
    ("nntp", 119),
    ("imap", 143),
    ("imap2", 143),
    ("ldap", 389),
    ("https", 443),
    ("submissions", 465),
    ("smtps", 465),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("redis", 6379),
    ("echo", 7),
];

/// The port of a service, from the system's table or from ours.
pub fn service(name: &str) -> Option<u16> {
    let plausible = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.is_empty() || !plausible {
        return None;
    }
    let hints = AddrInfoHints { socktype: libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let by_system = getaddrinfo(None, Some(name), Some(hints))
        .ok()
        .and_then(|mut found| found.next())
        .and_then(Result::ok)
        .map(|found| found.sockaddr.port());
    let by_us = || SERVICES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    by_system.or_else(|| by_us().map(|&(_, port)| port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_nobody() {
        assert_eq!(
            resolve("127.0.0.1", 25, Family::Any, true),
            Ok(vec!["127.0.0.1:25".parse().unwrap()])
        );
        assert_eq!(resolve("::1", 25, Family::V6, true), Ok(vec!["[::1]:25".parse().unwrap()]));
        assert!(resolve("::1", 25, Family::V4, true).unwrap_err().contains("-4"));
        assert!(resolve("127.0.0.1", 25, Family::V6, true).unwrap_err().contains("-6"));
    }

    #[test]
    fn without_dns_a_name_is_not_known() {
        let words = resolve("localhost", 25, Family::Any, true).unwrap_err();
        assert_eq!(words, "name or service not known");
    }

    #[test]
    fn zones_and_old_spellings_go_through_the_resolver() {
        let zone = resolve("fe80::1%lo", 25, Family::Any, true).unwrap();
        assert!(matches!(zone[..], [SocketAddr::V6(a)] if a.scope_id() != 0), "{zone:?}");
        let decimal = resolve("2130706433", 9, Family::Any, true).unwrap();
        assert_eq!(decimal, ["127.0.0.1:9".parse().unwrap()]);
    }

    #[test]
    fn services_have_ports() {
        assert_eq!(service("smtp"), Some(25));
        assert_eq!(service("submission"), Some(587));
        assert_eq!(service("IMAPS"), Some(993));
        assert_eq!(service("no-such-service"), None);
        assert_eq!(service("80"), Some(80));
        assert_eq!(service("80 "), None);
    }
}
