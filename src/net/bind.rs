//! Listening sockets: one address or all of both families, streams and datagrams, and Unix.

use super::endpoint::{Endpoint, Io};
use super::udp::Udp;
use mio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Callers that the kernel keeps for us. ncat's 10 loses calls as soon as eleven come at once.
const BACKLOG: i32 = 1024;

/// Datagrams that may have come to a new socket before it was connected.
const MOST_STRAYS: usize = 1024;

/// What a datagram holds at most, so that none is cut.
const LARGEST: usize = 65_536;

/// How often another free port is tried until it is free in both families.
const PORT_TRIES: usize = 16;

/// A socket that waits for callers.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// A Unix stream socket; its file is ours to remove.
    Unix(UnixListener, SocketFile),
    /// UDP: whoever sends a datagram is a caller.
    Udp(UdpSocket, SocketAddr),
    /// A Unix datagram socket, likewise.
    UnixDatagram(UnixDatagram, SocketFile),
    /// A socket for other virtual machines, and its CID and port.
    Vsock(Socket, u32, u32),
}

/// What comes in at a listener.
pub enum Arrival {
    /// A caller, connected.
    Caller(Endpoint, Caller),
    /// A datagram of somebody who may be here already.
    Datagram(Vec<u8>, Caller),
}

/// The file of a Unix socket of ours, which goes with us.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that somebody else has put there is not ours.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// This file, which a bind(2) of ours has made.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Nobody is left to be told that it could not be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which protocol is listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP, or Unix streams.
    Stream,
    /// UDP, or Unix datagrams.
    Datagram,
    /// SCTP, one-to-one style (RFC 6458 §4).
    Sctp,
}

impl Protocol {
    /// A socket for it, that blocks.
    ///
    /// # Errors
    /// Those of socket(2); a kernel without SCTP is said to be one.
    pub(super) fn socket(self, domain: Domain) -> io::Result<Socket> {
        #[cfg(target_os = "linux")]
        const SCTP: socket2::Protocol = socket2::Protocol::SCTP;
        #[cfg(not(target_os = "linux"))]
        const SCTP: socket2::Protocol = socket2::Protocol::from(132);
        match self {
            Protocol::Stream => Socket::new(domain, Type::STREAM, None),
            Protocol::Datagram => Socket::new(domain, Type::DGRAM, None),
            Protocol::Sctp => {
                Socket::new(domain, Type::STREAM, Some(SCTP)).map_err(|e| match e.raw_os_error() {
                    Some(libc::EPROTONOSUPPORT) => io::Error::new(
                        io::ErrorKind::Unsupported,
                        "this kernel has no SCTP (modprobe sctp may load it)",
                    ),
                    _ => e,
                })
            }
        }
    }
}

impl Listener {
    /// One address; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub fn inet(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        let socket = protocol.socket(Domain::for_address(address))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        match protocol {
            Protocol::Stream | Protocol::Sctp => {
                socket.listen(BACKLOG)?;
                let listener = TcpListener::from_std(socket.into());
                let address = listener.local_addr()?;
                Ok(Listener::Tcp(listener, address))
            }
            Protocol::Datagram => {
                socket.set_broadcast(true)?;
                let socket = UdpSocket::from_std(socket.into());
                let address = socket.local_addr()?;
                Ok(Listener::Udp(socket, address))
            }
        }
    }

    /// Every address of both families, IPv6 first, all on the same port.
    ///
    /// A family that this machine does not have is left out.
    ///
    /// # Errors
    /// The address that could not be had, and why.
    pub fn everywhere(protocol: Protocol, port: u16) -> Result<Vec<Self>, (SocketAddr, io::Error)> {
        Self::on_both(protocol, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, port)
    }

    /// The same on the addresses that only this machine can reach.
    ///
    /// # Errors
    /// The address that could not be had, and why.
    pub fn loopback(protocol: Protocol, port: u16) -> Result<Vec<Self>, (SocketAddr, io::Error)> {
        Self::on_both(protocol, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, port)
    }

    fn on_both(
        protocol: Protocol,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
        port: u16,
    ) -> Result<Vec<Self>, (SocketAddr, io::Error)> {
        let (four, six) = (v4, v6);
        let v4 = SocketAddr::from((four, port));
        for _ in 0..PORT_TRIES {
            let v6 = SocketAddr::from((six, port));
            let first = match Self::inet(protocol, v6) {
                Ok(listener) => listener,
                Err(e) if family_is_missing(&e) => {
                    return Self::inet(protocol, v4).map(|l| vec![l]).map_err(|e| (v4, e));
                }
                Err(e) => return Err((v6, e)),
            };
            let taken = first.port().unwrap_or(port);
            let v4 = SocketAddr::from((four, taken));
            match Self::inet(protocol, v4) {
                Ok(second) => return Ok(vec![first, second]),
                Err(e) if family_is_missing(&e) => return Ok(vec![first]),
                // Free in one family only: that does not count as free.
                Err(e) if port == 0 && e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err((v4, e)),
            }
        }
        Err((v4, io::ErrorKind::AddrInUse.into()))
    }

    /// A Unix socket. A stale file (a socket on which nobody listens) is replaced.
    ///
    /// # Errors
    /// Those of bind(2); `AddrInUse` if somebody listens there or the path is something else.
    pub fn unix(protocol: Protocol, path: &Path) -> io::Result<Self> {
        let socket = match protocol {
            Protocol::Stream | Protocol::Sctp => Protocol::Stream,
            Protocol::Datagram => Protocol::Datagram,
        };
        let socket = socket.socket(Domain::UNIX)?;
        socket.set_nonblocking(true)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            other => other?,
        }
        let file = SocketFile::of(path);
        match protocol {
            Protocol::Stream | Protocol::Sctp => {
                socket.listen(BACKLOG)?;
                Ok(Listener::Unix(UnixListener::from_std(socket.into()), file))
            }
            Protocol::Datagram => {
                Ok(Listener::UnixDatagram(UnixDatagram::from_std(socket.into()), file))
            }
        }
    }

    /// A port for other virtual machines, on one of our CIDs or on all.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2): most machines have no such thing.
    #[cfg(target_os = "linux")]
    pub fn vsock(cid: Option<u32>, port: u32) -> io::Result<Self> {
        let cid = cid.unwrap_or(libc::VMADDR_CID_ANY);
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::vsock(cid, port))?;
        socket.listen(BACKLOG)?;
        Ok(Listener::Vsock(socket, cid, port))
    }

    /// There are none here.
    ///
    /// # Errors
    /// Always `Unsupported`.
    #[cfg(not(target_os = "linux"))]
    pub fn vsock(_: Option<u32>, _: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Registers with the loop.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(l, _) => registry.register(l, token, Interest::READABLE),
            Listener::Unix(l, _) => registry.register(l, token, Interest::READABLE),
            Listener::Udp(s, _) => registry.register(s, token, Interest::READABLE),
            Listener::UnixDatagram(s, _) => registry.register(s, token, Interest::READABLE),
            Listener::Vsock(s, ..) => {
                registry.register(&mut SourceFd(&s.as_raw_fd()), token, Interest::READABLE)
            }
        }
    }

    /// Takes what comes next; `None` when nothing waits.
    ///
    /// # Errors
    /// Those of accept(2) that are about us: out of descriptors or memory. A caller who was
    /// gone before we looked is passed over.
    pub fn accept(&mut self) -> io::Result<Option<Arrival>> {
        loop {
            let accepted = match self {
                Listener::Vsock(s, ..) => s.accept().and_then(|(stream, from)| {
                    stream.set_nonblocking(true)?;
                    let (cid, port) = vsock_parts(&from);
                    Ok(Arrival::Caller(vsock_endpoint(stream), Caller::Vsock(cid, port)))
                }),
                Listener::Tcp(l, _) => l.accept().map(|(stream, address)| {
                    let _ = stream.set_nodelay(true);
                    Arrival::Caller(Endpoint::new(Io::Tcp(stream)), Caller::Inet(address))
                }),
                Listener::Unix(l, _) => l.accept().map(|(stream, _)| {
                    Arrival::Caller(Endpoint::new(Io::Unix(stream)), Caller::Unix(None))
                }),
                Listener::Udp(s, _) => {
                    let mut buf = vec![0; LARGEST];
                    s.recv_from(&mut buf).map(|(n, from)| {
                        buf.truncate(n);
                        Arrival::Datagram(buf, Caller::Inet(from))
                    })
                }
                Listener::UnixDatagram(s, _) => {
                    let mut buf = vec![0; LARGEST];
                    s.recv_from(&mut buf).map(|(n, from)| {
                        buf.truncate(n);
                        Arrival::Datagram(buf, Caller::Unix(from.as_pathname().map(Path::to_owned)))
                    })
                }
            };
            match accepted {
                Ok(arrival) => return Ok(Some(arrival)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if is_about_us(&e) => return Err(e),
                Err(_) => {}
            }
        }
    }

    /// The socket itself, for the caller of the first datagram that waits: everybody else is
    /// refused from then on. `None` while nothing waits; for datagram sockets only.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn claim(&mut self, registry: &Registry) -> io::Result<Option<(Endpoint, Caller)>> {
        let waits = |e: io::Error| {
            if e.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(e) }
        };
        match self {
            Listener::Udp(socket, _) => {
                let from = match socket.peek_from(&mut [0; 1]) {
                    Ok((_, from)) => from,
                    Err(e) => return waits(e),
                };
                socket.connect(from)?;
                registry.deregister(socket)?;
                let socket = std::os::fd::AsFd::as_fd(socket).try_clone_to_owned()?;
                let io = Io::Udp(Udp::new(UdpSocket::from_std(socket.into()))?);
                Ok(Some((Endpoint::new(io), Caller::Inet(from))))
            }
            Listener::UnixDatagram(socket, _) => {
                let mut buf = [std::mem::MaybeUninit::new(0)];
                let from = match socket2::SockRef::from(&*socket).peek_from(&mut buf) {
                    Ok((_, from)) => from,
                    Err(e) => return waits(e),
                };
                let path = from.as_pathname().map(Path::to_owned);
                // A peer that is gone already, or has no name, is heard all the same.
                let answered = path.as_ref().is_some_and(|path| socket.connect(path).is_ok());
                registry.deregister(socket)?;
                let socket = std::os::fd::AsFd::as_fd(socket).try_clone_to_owned()?;
                let socket = UnixDatagram::from_std(socket.into());
                let caller = Caller::Unix(path.filter(|_| answered));
                Ok(Some((Endpoint::new(Io::UnixDatagram(socket)), caller)))
            }
            Listener::Tcp(..) | Listener::Unix(..) | Listener::Vsock(..) => Ok(None),
        }
    }

    /// Takes back what [`Listener::claim`] has done: everybody may call again.
    ///
    /// # Errors
    /// Those of connect(2), bind(2) and epoll_ctl(2).
    pub fn release(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Listener::Udp(socket, here) = self {
            rustix::net::connect_unspec(&*socket)?;
            // A port that the kernel has chosen goes with the peer.
            if socket.local_addr()?.port() == 0 {
                rustix::net::bind(&*socket, here)?;
            }
        }
        self.register(registry, token)
    }

    /// A socket of its own for a caller over UDP, beside this one (`-k`); and what came to it
    /// before it was the caller's alone, which may be anybody's.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2).
    pub fn beside(&self, caller: &Caller) -> io::Result<Option<(Endpoint, Vec<Arrival>)>> {
        let (Listener::Udp(_, here), Caller::Inet(there)) = (self, caller) else {
            return Ok(None);
        };
        let socket = Socket::new(Domain::for_address(*here), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_broadcast(true)?;
        if here.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&(*here).into())?;
        // Between bind(2) and connect(2) the kernel gives it what others send as well.
        socket.connect(&(*there).into())?;
        let socket = UdpSocket::from_std(socket.into());
        let mut strays = Vec::new();
        let mut buf = vec![0; LARGEST];
        while strays.len() < MOST_STRAYS
            && let Ok((n, from)) = socket.recv_from(&mut buf)
        {
            strays.push(Arrival::Datagram(buf[..n].to_vec(), Caller::Inet(from)));
        }
        Ok(Some((Endpoint::new(Io::Udp(Udp::new(socket)?)), strays)))
    }

    /// Do callers come in datagrams?
    pub fn is_datagram(&self) -> bool {
        matches!(self, Listener::Udp(..) | Listener::UnixDatagram(..))
    }

    /// Its port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(_, address) | Listener::Udp(_, address) => Some(address.port()),
            Listener::Unix(..) | Listener::UnixDatagram(..) | Listener::Vsock(..) => None,
        }
    }
}

/// A stream between virtual machines. It is driven like a Unix stream, of which it differs in
/// its address only.
pub(super) fn vsock_endpoint(socket: Socket) -> Endpoint {
    let fd = std::os::fd::OwnedFd::from(socket);
    Endpoint::new(Io::Unix(UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))))
}

#[cfg(target_os = "linux")]
fn vsock_parts(address: &SockAddr) -> (u32, u32) {
    address.as_vsock_address().unwrap_or((0, 0))
}

#[cfg(not(target_os = "linux"))]
fn vsock_parts(_: &SockAddr) -> (u32, u32) {
    (0, 0)
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(_, address) | Listener::Udp(_, address) => address.fmt(f),
            Listener::Unix(_, file) | Listener::UnixDatagram(_, file) => file.path.display().fmt(f),
            Listener::Vsock(_, cid, port) => write!(f, "{cid}:{port}"),
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// From an address.
    Inet(SocketAddr),
    /// Over a Unix socket; most callers have no name there.
    Unix(Option<PathBuf>),
    /// From another virtual machine: its CID and port.
    Vsock(u32, u32),
}

impl Caller {
    /// Its IP address, if it has one.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Caller::Inet(address) => Some(address.ip()),
            Caller::Unix(_) | Caller::Vsock(..) => None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Inet(address) => address.fmt(f),
            Caller::Unix(Some(path)) => path.display().fmt(f),
            Caller::Unix(None) => f.write_str("(unnamed socket)"),
            Caller::Vsock(cid, port) => write!(f, "{cid}:{port}"),
        }
    }
}

/// Out of something: waiting may help, asking again at once does not.
fn is_about_us(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EINVAL | libc::EBADF
        )
    )
}

fn family_is_missing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Is there something at this path that is no socket?
pub fn is_other_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| !m.file_type().is_socket() && !m.is_symlink())
}

/// A socket file behind which nobody listens.
fn is_stale(path: &Path) -> bool {
    use socket2::{Domain, SockAddr, Socket, Type};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    // Asked by a socket of a kind that neither streams nor datagrams are: who is there says so
    // (EPROTOTYPE), and has not been called. Where nobody is, the call is refused.
    let called =
        || Socket::new(Domain::UNIX, Type::SEQPACKET, None)?.connect(&SockAddr::unix(path)?);
    is_socket && called().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_one_port_in_both_families() {
        for protocol in [Protocol::Stream, Protocol::Datagram] {
            let listeners = Listener::everywhere(protocol, 0).unwrap();
            let ports: Vec<_> = listeners.iter().map(Listener::port).collect();
            assert!(ports[0].is_some_and(|p| p > 0));
            assert!(ports.iter().all(|p| *p == ports[0]), "{ports:?}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::unix(Protocol::Stream, &path).unwrap();
        let busy = Listener::unix(Protocol::Stream, &path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::unix(Protocol::Stream, &path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
