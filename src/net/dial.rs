//! Addresses to a connected socket: happy eyeballs (RFC 8305) as a machine that is driven.

use super::bind::{self, SocketFile};
use super::endpoint::{Endpoint, Io};
use super::target::with_port;
use super::udp::Udp;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one address may keep the next waiting (RFC 8305 §5, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

/// Where calls come from, and how patient they are.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Source address (`-s`).
    pub address: Option<IpAddr>,
    /// Source port (`-p`); 0 lets the system choose.
    pub port: u16,
    /// What one address may take at most.
    pub patience: Duration,
    /// SCTP instead of TCP.
    pub sctp: bool,
    /// The option that asks for loose source routing (RFC 791), if it is wanted.
    pub route: Option<Vec<u8>>,
}

/// One address that is being called.
#[derive(Debug)]
struct Call {
    stream: TcpStream,
    address: SocketAddr,
    until: Instant,
}

/// Calls several addresses, soon all at once, and keeps the first that answers.
#[derive(Debug)]
pub struct Dial {
    waiting: VecDeque<SocketAddr>,
    calling: Vec<Call>,
    failed: Vec<(SocketAddr, String)>,
    kind: Option<io::ErrorKind>,
    from: Source,
    next_at: Option<Instant>,
    token: Token,
}

impl Dial {
    /// Will call `addresses` (in the resolver's order, RFC 6724), families taking turns.
    pub fn new(addresses: &[SocketAddr], from: Source, token: Token) -> Self {
        Self {
            waiting: take_turns(addresses),
            calling: Vec::new(),
            failed: Vec::new(),
            kind: None,
            from,
            next_at: None,
            token,
        }
    }

    /// Moves on: looks at the calls, starts the next when it is due. `Some` when one is through,
    /// or when all have failed: then the reasons are in [`Dial::failures`].
    ///
    /// Call it again when the token is ready or [`Dial::deadline`] has come. After a success it
    /// may be called on for the addresses that are left, if that one turned out to be no good.
    pub fn drive(
        &mut self,
        registry: &Registry,
        now: Instant,
    ) -> Option<Result<(Endpoint, SocketAddr), ()>> {
        if let Some(through) = self.look(registry, now) {
            // The others hang up; whoever is not called yet may still be needed.
            let left = self.calling.drain(..).map(|call| call.address);
            let left: Vec<_> = left.collect();
            for address in left.into_iter().rev() {
                self.waiting.push_front(address);
            }
            self.next_at = None;
            return Some(Ok(through));
        }
        while self.calling.is_empty() || self.next_at.is_some_and(|at| at <= now) {
            let Some(address) = self.waiting.pop_front() else {
                self.next_at = None;
                break;
            };
            match self.call(address, registry) {
                Ok(stream) => {
                    let until = now + self.from.patience;
                    self.calling.push(Call { stream, address, until });
                    self.next_at = (!self.waiting.is_empty()).then(|| now + HEAD_START);
                }
                Err(e) => {
                    self.kind.get_or_insert(e.kind());
                    self.failed.push((address, crate::error::words(&e)));
                }
            }
        }
        (self.calling.is_empty() && self.waiting.is_empty()).then_some(Err(()))
    }

    /// When [`Dial::drive`] wants to be called although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.calling.iter().map(|call| call.until).chain(self.next_at).min()
    }

    /// What kind of failure the first was.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        self.kind
    }

    /// Counts an address as failed that had answered.
    pub fn reject(&mut self, address: SocketAddr, why: String) {
        self.failed.push((address, why));
    }

    /// Is there an address that has not been tried to its end?
    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All the failures in one phrase: one reason if they agree, else each with its own.
    pub fn failures(&self) -> String {
        let [(first, why), rest @ ..] = self.failed.as_slice() else {
            return "no address was tried".to_owned();
        };
        if rest.is_empty() {
            return format!("{why} ({first})");
        }
        if rest.iter().all(|(_, other)| other == why) {
            let all: Vec<_> = self.failed.iter().map(|(a, _)| a.to_string()).collect();
            return format!("{why} ({})", all.join(", "));
        }
        let each: Vec<_> = self.failed.iter().map(|(a, why)| format!("{a}: {why}")).collect();
        each.join("; ")
    }

    /// Looks whether a call is through; takes out those that failed or took too long.
    fn look(&mut self, registry: &Registry, now: Instant) -> Option<(Endpoint, SocketAddr)> {
        let mut i = 0;
        while i < self.calling.len() {
            let call = &self.calling[i];
            let why = match state(&call.stream) {
                Ok(true) => {
                    let Call { mut stream, address, .. } = self.calling.swap_remove(i);
                    // The conversation registers it under a token of its own.
                    let _ = registry.deregister(&mut stream);
                    let _ = stream.set_nodelay(true);
                    return Some((Endpoint::new(Io::Tcp(stream)), address));
                }
                Ok(false) if call.until > now => {
                    i += 1;
                    continue;
                }
                Ok(false) => {
                    self.kind.get_or_insert(io::ErrorKind::TimedOut);
                    format!("no answer in {}", seconds(self.from.patience))
                }
                Err(e) => {
                    self.kind.get_or_insert(e.kind());
                    crate::error::words(&e)
                }
            };
            let call = self.calling.swap_remove(i);
            self.failed.push((call.address, why));
            // A failure need not use up its head start.
            self.next_at = self.next_at.map(|at| at.min(now));
        }
        None
    }

    fn call(&self, address: SocketAddr, registry: &Registry) -> io::Result<TcpStream> {
        let protocol = if self.from.sctp { bind::Protocol::Sctp } else { bind::Protocol::Stream };
        let socket = protocol.socket(Domain::for_address(address))?;
        socket.set_nonblocking(true)?;
        self.from.take_route(&socket, address)?;
        if let Some(source) = self.from.bind_to(address)? {
            socket.set_reuse_address(true)?;
            socket.bind(&source.into()).map_err(|e| {
                let place = with_port(&source.ip().to_string(), source.port());
                io::Error::new(
                    e.kind(),
                    format!("cannot call from {place}: {}", crate::error::words(&e)),
                )
            })?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, self.token, Interest::WRITABLE)?;
        Ok(stream)
    }
}

impl Source {
    /// Sends by way of the hops of `-g`, if there are any.
    fn take_route(&self, socket: &Socket, target: SocketAddr) -> io::Result<()> {
        let Some(route) = self.route.as_ref().filter(|_| target.is_ipv4()) else { return Ok(()) };
        let set = crate::sys::sockopt::set_ip_options(socket.as_fd(), route);
        set.map_err(|e| match route.get(POINTER) {
            Some(4) | None => e,
            Some(other) => io::Error::other(format!(
                "{} (this system may take no pointer but -G 4, and not {other})",
                crate::error::words(&e)
            )),
        })
    }

    fn bind_to(&self, target: SocketAddr) -> io::Result<Option<SocketAddr>> {
        let any = match target {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        match self.address {
            None if self.port == 0 => Ok(None),
            None => Ok(Some(SocketAddr::new(any, self.port))),
            Some(source) if source.is_ipv4() == target.is_ipv4() => {
                Ok(Some(SocketAddr::new(source, self.port)))
            }
            Some(source) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("it cannot be called from {source}, which is of the other family"),
            )),
        }
    }
}

/// Where the pointer is in the octets of [`source_route`].
const POINTER: usize = 3;

/// The IP option for loose source routing (RFC 791 §3.1): the hops, then the target, with the
/// pointer (4, 8, ...) to the next of them.
pub fn source_route(hops: &[Ipv4Addr], target: Ipv4Addr, pointer: u8) -> Vec<u8> {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const NO_OPERATION: u8 = 1;
    let addresses = hops.len() + 1;
    let length = 3 + 4 * u8::try_from(addresses).unwrap_or(u8::MAX / 8);
    let mut option = vec![NO_OPERATION, LOOSE_SOURCE_ROUTE, length, pointer];
    for address in hops.iter().chain([&target]) {
        option.extend(address.octets());
    }
    option
}

/// `10 s`, `0.5 s`.
pub fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// Connected (`true`), still on its way (`false`), or failed.
fn state(stream: &TcpStream) -> io::Result<bool> {
    if let Some(e) = stream.take_error()? {
        return Err(e);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}

/// Families take turns, the resolver's first choice first (RFC 8305 §4).
fn take_turns(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|a: &SocketAddr| a.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = VecDeque::with_capacity(addresses.len());
    loop {
        let (a, b) = (first.next(), second.next());
        if a.is_none() && b.is_none() {
            return turns;
        }
        turns.extend(a.into_iter().chain(b));
    }
}

/// "Calls" over UDP: fixes the peer, and the address that answers come to.
///
/// # Errors
/// Those of bind(2) and connect(2).
pub fn udp(address: SocketAddr, from: &Source) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    from.take_route(&socket, address)?;
    if let Some(source) = from.bind_to(address)? {
        socket.set_reuse_address(true)?;
        socket.bind(&source.into())?;
    }
    socket.connect(&address.into())?;
    Ok(Endpoint::new(Io::Udp(Udp::new(mio::net::UdpSocket::from_std(socket.into()))?)))
}

/// Takes a Unix datagram socket as the peer, from a socket file of ours that answers come to.
///
/// # Errors
/// Those of bind(2) and connect(2).
pub fn unix_datagram(path: &Path, source: &Path) -> io::Result<(Endpoint, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(source)?)?;
    let file = SocketFile::of(source);
    socket.connect(&SockAddr::unix(path)?)?;
    let socket = mio::net::UnixDatagram::from_std(socket.into());
    Ok((Endpoint::new(Io::UnixDatagram(socket)), file))
}

/// Begins a call to another virtual machine; it is through when
/// [`Endpoint::is_through`] says so.
///
/// # Errors
/// Those of socket(2), bind(2) and connect(2).
#[cfg(target_os = "linux")]
pub fn vsock(cid: u32, port: u32, source: (Option<u32>, u32)) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if source != (None, 0) {
        let any = |port| if port == 0 { libc::VMADDR_PORT_ANY } else { port };
        let from = source.0.unwrap_or(libc::VMADDR_CID_ANY);
        socket.bind(&SockAddr::vsock(from, any(source.1)))?;
    }
    match socket.connect(&SockAddr::vsock(cid, port)) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        Ok(()) | Err(_) => Ok(bind::vsock_endpoint(socket)),
    }
}

/// There are none here.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn vsock(_: u32, _: u32, _: (Option<u32>, u32)) -> io::Result<Endpoint> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Calls a Unix stream socket. That succeeds or fails at once.
///
/// # Errors
/// Those of connect(2); `WouldBlock` when the listener's backlog is full: try again later.
pub fn unix(path: &Path) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(Endpoint::new(Io::Unix(UnixStream::from_std(socket.into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_route_is_as_rfc_791_has_it() {
        let hops = [Ipv4Addr::new(10, 0, 0, 1)];
        let option = source_route(&hops, Ipv4Addr::new(192, 0, 2, 1), 4);
        assert_eq!(option, [1, 131, 11, 4, 10, 0, 0, 1, 192, 0, 2, 1]);
    }

    #[test]
    fn families_take_turns() {
        let a = |s: &str| s.parse::<SocketAddr>().unwrap();
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"].map(a);
        let wanted = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"].map(a);
        assert_eq!(take_turns(&given), wanted);
    }

    #[test]
    fn one_reason_is_said_once_and_several_each_with_its_address() {
        let a: SocketAddr = "[::1]:1".parse().unwrap();
        let b: SocketAddr = "1.1.1.1:1".parse().unwrap();
        let mut dial = Dial::new(&[], Source::default(), Token(0));
        dial.reject(a, "connection refused".into());
        assert_eq!(dial.failures(), "connection refused ([::1]:1)");
        dial.reject(b, "connection refused".into());
        assert_eq!(dial.failures(), "connection refused ([::1]:1, 1.1.1.1:1)");
        dial.reject(b, "no answer in 1 s".into());
        assert_eq!(
            dial.failures(),
            "[::1]:1: connection refused; 1.1.1.1:1: connection refused; 1.1.1.1:1: no answer in 1 s"
        );
    }
}
