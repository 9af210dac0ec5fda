//! Listening sockets: TCP on one address or on all of both families, and Unix streams.

use super::endpoint::{Endpoint, Io};
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Callers that the kernel keeps for us. ncat's 10 loses calls as soon as eleven come at once.
const BACKLOG: i32 = 1024;

/// How often another free port is tried until it is free in both families.
const PORT_TRIES: usize = 16;

/// A socket that waits for callers.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// A Unix stream socket; its file is ours to remove.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// TCP on one address; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        Ok(Listener::Tcp(listener, address))
    }

    /// TCP on every address of both families, IPv6 first, all on the same port.
    ///
    /// A family that this machine does not have is left out.
    ///
    /// # Errors
    /// The address that could not be had, and why.
    pub fn everywhere(port: u16) -> Result<Vec<Self>, (SocketAddr, io::Error)> {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        for _ in 0..PORT_TRIES {
            let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let first = match Self::tcp(v6) {
                Ok(listener) => listener,
                Err(e) if family_is_missing(&e) => {
                    return Self::tcp(v4).map(|l| vec![l]).map_err(|e| (v4, e));
                }
                Err(e) => return Err((v6, e)),
            };
            let v4 = match &first {
                Listener::Tcp(_, taken) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, taken.port())),
                Listener::Unix(..) => v4,
            };
            match Self::tcp(v4) {
                Ok(second) => return Ok(vec![first, second]),
                Err(e) if family_is_missing(&e) => return Ok(vec![first]),
                // Free in one family only: that does not count as free.
                Err(e) if port == 0 && e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err((v4, e)),
            }
        }
        Err((v4, io::ErrorKind::AddrInUse.into()))
    }

    /// A Unix stream socket. A stale file (a socket on which nobody listens) is replaced.
    ///
    /// # Errors
    /// Those of bind(2); `AddrInUse` if somebody listens there or the path is something else.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            other => other?,
        }
        socket.listen(BACKLOG)?;
        Ok(Listener::Unix(UnixListener::from_std(socket.into()), path.to_owned()))
    }

    /// Registers with the loop.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(l, _) => registry.register(l, token, Interest::READABLE),
            Listener::Unix(l, _) => registry.register(l, token, Interest::READABLE),
        }
    }

    /// Takes the next caller; `None` when nobody waits.
    ///
    /// # Errors
    /// Those of accept(2) that are about us: out of descriptors or memory. A caller who was
    /// gone before we looked is passed over.
    pub fn accept(&mut self) -> io::Result<Option<(Endpoint, Caller)>> {
        loop {
            let accepted = match self {
                Listener::Tcp(l, _) => l.accept().map(|(stream, address)| {
                    let _ = TcpStream::set_nodelay(&stream, true);
                    (Endpoint::new(Io::Tcp(stream)), Caller::Tcp(address))
                }),
                Listener::Unix(l, _) => l.accept().map(|(stream, _): (UnixStream, _)| {
                    (Endpoint::new(Io::Unix(stream)), Caller::Unix)
                }),
            };
            match accepted {
                Ok(caller) => return Ok(Some(caller)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if is_about_us(&e) => return Err(e),
                Err(_) => {}
            }
        }
    }

    /// Its port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(_, address) => Some(address.port()),
            Listener::Unix(..) => None,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(_, address) => address.fmt(f),
            Listener::Unix(_, path) => path.display().fmt(f),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // Somebody may have tidied up before us.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// From an address.
    Tcp(SocketAddr),
    /// Over a Unix socket; callers have no name there.
    Unix,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Tcp(address) => address.fmt(f),
            Caller::Unix => f.write_str("(unnamed socket)"),
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

/// A socket file behind which nobody listens.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = || {
        std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    };
    is_socket && refused()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_one_port_in_both_families() {
        let listeners = Listener::everywhere(0).unwrap();
        let ports: Vec<_> = listeners.iter().map(Listener::port).collect();
        assert!(ports[0].is_some_and(|p| p > 0));
        assert!(ports.iter().all(|p| *p == ports[0]), "{ports:?}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::unix(&path).unwrap();
        let busy = Listener::unix(&path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::unix(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
