//! One end of a conversation.

use super::buf::Buf;
use super::dtls;
use super::tls::{Agreed, Tls};
use super::udp::{Sizes, Udp};
use crate::sys::fd::{Kind, Shared};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, net};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The largest UDP payload over IPv4: 65,535 less the headers of IP and UDP.
pub(super) const LARGEST_DATAGRAM: usize = 65_507;

/// Room for one that comes: Unix sockets have longer ones, which are refused and not cut.
pub const DATAGRAM: usize = 64 * 1024;

/// What one attempt to move bytes came to. Never a bare 0.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Moved {
    /// So many bytes went over.
    Bytes(usize),
    /// The kernel refused for now; an event will say when to try again.
    Blocked,
    /// There will be no more.
    Eof,
}

/// What the kernel last said; cleared only by `WouldBlock`, since mio is edge-triggered.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Reading may succeed.
    pub rx: bool,
    /// Writing may succeed.
    pub tx: bool,
}

/// The transports there are.
#[derive(Debug)]
pub enum Io {
    /// A TCP connection.
    Tcp(net::TcpStream),
    /// A Unix stream socket.
    Unix(net::UnixStream),
    /// A UDP socket that is connected to its peer.
    Udp(Udp),
    /// A Unix datagram socket that is connected to its peer.
    UnixDatagram(net::UnixDatagram),
    /// Two one-way descriptors: our own standard input and output.
    ///
    /// A missing `rx` is a source at its end; a missing `tx` is a sink whose use is an error.
    Pair {
        /// Where bytes come from.
        rx: Option<Shared>,
        /// Where bytes go to.
        tx: Option<Shared>,
    },
}

/// What is on top of the transport.
enum Layer {
    None,
    Tls(Box<Tls>),
    Dtls(Box<dtls::layer::Layer>),
}

/// One end of a conversation: a transport, what is known of its readiness, and TLS if any.
pub struct Endpoint {
    io: Io,
    ready: Ready,
    layer: Layer,
    registered: bool,
}

impl Endpoint {
    /// An endpoint without TLS.
    ///
    /// It counts as ready until the kernel refuses: "not ready" before anybody has asked would
    /// look like silence, and what standard input has ready would be lost with a peer that ends
    /// at once.
    pub fn new(io: Io) -> Self {
        Self { io, ready: Ready { rx: true, tx: true }, layer: Layer::None, registered: false }
    }

    /// Registers with the loop for both directions, once; later calls do nothing.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if std::mem::replace(&mut self.registered, true) {
            return Ok(());
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        match &mut self.io {
            Io::Tcp(s) => registry.register(s, token, both),
            Io::Unix(s) => registry.register(s, token, both),
            Io::Udp(udp) => registry.register(&mut udp.socket, token, both),
            Io::UnixDatagram(s) => registry.register(s, token, both),
            Io::Pair { rx, tx } => {
                let halves = [(rx, Interest::READABLE), (tx, Interest::WRITABLE)];
                for (half, interest) in halves {
                    let Some(half) = half else { continue };
                    match registry.register(&mut SourceFd(&half.as_raw_fd()), token, interest) {
                        // A regular file cannot be polled: it never refuses, so it stays ready.
                        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
                        other => other?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Takes it out of the loop again, for where its descriptor is not the only one of its socket.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        if let Io::Udp(udp) = &mut self.io
            && std::mem::take(&mut self.registered)
        {
            return registry.deregister(&mut udp.socket);
        }
        Ok(())
    }

    /// Notes what an event says.
    pub fn mark(&mut self, event: &Event) {
        self.ready.rx |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.ready.tx |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// From here on, TLS.
    pub fn start_tls(&mut self, tls: Tls) {
        self.layer = Layer::Tls(Box::new(tls));
    }

    /// From here on, DTLS.
    pub fn start_dtls(&mut self, dtls: dtls::layer::Layer) {
        self.layer = Layer::Dtls(Box::new(dtls));
    }

    /// Do the bytes go as they are?
    pub fn is_plain(&self) -> bool {
        matches!(self.layer, Layer::None)
    }

    /// What a login can be bound to (RFC 9266); `None` where TLS is not on, or older than 1.3.
    pub fn binding(&self) -> Option<[u8; 32]> {
        match &self.layer {
            Layer::Tls(tls) => tls.binding(),
            Layer::None | Layer::Dtls(_) => None,
        }
    }

    /// What both sides agreed on; `None` without TLS, and until its handshake is over.
    pub fn agreed(&self) -> Option<Agreed> {
        match &self.layer {
            Layer::None => None,
            Layer::Tls(tls) => tls.agreed(),
            Layer::Dtls(dtls) => dtls.agreed().cloned(),
        }
    }

    /// It is so late; DTLS has timers.
    pub fn tick(&mut self, now: Instant) {
        if let Layer::Dtls(dtls) = &mut self.layer {
            dtls.tick(now);
        }
    }

    /// When [`Endpoint::tick`] has to be called although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.layer {
            Layer::Dtls(dtls) => dtls.deadline(),
            Layer::None | Layer::Tls(_) => None,
        }
    }

    /// Has a caller over DTLS still to show that it is where it says?
    pub fn is_unproven(&self) -> bool {
        matches!(&self.layer, Layer::Dtls(dtls) if dtls.is_unproven())
    }

    /// Takes a datagram that did not come through the socket; false if there is no layer for it.
    pub fn feed(&mut self, datagram: &[u8]) -> bool {
        match &mut self.layer {
            Layer::Dtls(dtls) => {
                dtls.feed(datagram);
                true
            }
            Layer::None | Layer::Tls(_) => false,
        }
    }

    /// Is a TLS handshake still under way?
    pub fn is_handshaking(&self) -> bool {
        match &self.layer {
            Layer::None => false,
            Layer::Tls(tls) => tls.is_handshaking(),
            Layer::Dtls(dtls) => dtls.is_handshaking(),
        }
    }

    /// Lets the TLS layer move records; true if any moved. Nothing to do without TLS.
    ///
    /// Call it after any `read` or `write`: emptying one layer may have made room in the next,
    /// and no event will say so.
    ///
    /// # Errors
    /// The socket's, or a [`super::tls::Failure`].
    pub fn turn(&mut self) -> io::Result<bool> {
        match &mut self.layer {
            Layer::None => Ok(false),
            Layer::Tls(tls) => tls.exchange(&mut self.io, &mut self.ready),
            Layer::Dtls(dtls) => dtls.exchange(&mut self.io, &mut self.ready),
        }
    }

    /// Is it worth calling [`Endpoint::read`]?
    pub fn can_read(&self) -> bool {
        match &self.layer {
            Layer::None => self.ready.rx,
            Layer::Tls(tls) => tls.can_read(),
            Layer::Dtls(dtls) => dtls.can_read(),
        }
    }

    /// Is it worth calling [`Endpoint::write`]?
    pub fn can_write(&self) -> bool {
        match &self.layer {
            Layer::None => self.ready.tx,
            Layer::Tls(tls) => tls.can_write(),
            Layer::Dtls(dtls) => dtls.can_write(),
        }
    }

    /// Reads payload into the free part of `buf`, which must not be full.
    ///
    /// # Errors
    /// Those of read(2). Under TLS `UnexpectedEof` means that the stream was cut: the connection
    /// ended without close_notify.
    pub fn read(&mut self, buf: &mut Buf) -> io::Result<Moved> {
        match &mut self.layer {
            Layer::None => {}
            Layer::Tls(tls) => return tls.read(&mut self.io, buf),
            Layer::Dtls(dtls) => return dtls.read(buf),
        }
        let is_datagram = self.datagrams().is_some();
        let space = match is_datagram {
            true => {
                let space = buf.whole_space();
                let most = space.len().min(DATAGRAM);
                &mut space[..most]
            }
            false => buf.space(),
        };
        // A short read does not mean that nothing is left: it ends at an urgent mark of TCP, at
        // each message of SCTP, and where a descriptor is passed. `WouldBlock` alone says so.
        let result = self.io.read(space);
        if let Ok(n) = result {
            buf.filled(n);
        }
        if is_datagram && matches!(result, Ok(0)) {
            return Ok(Moved::Bytes(0)); // an empty datagram is not the end
        }
        outcome(result, &mut self.ready.rx)
    }

    /// Reads at most `most` bytes, for a sink that takes no more in one piece.
    ///
    /// # Errors
    /// As for [`Endpoint::read`].
    pub fn read_piece(&mut self, buf: &mut Buf, most: usize) -> io::Result<Moved> {
        if !self.is_plain() {
            return self.read(buf);
        }
        let space = buf.whole_space();
        let most = most.min(space.len());
        let result = self.io.read(&mut space[..most]);
        if let Ok(n) = result {
            buf.filled(n);
        }
        outcome(result, &mut self.ready.rx)
    }

    /// Reads for a sink of datagrams, and notes what became of each: one of at most `most` bytes
    /// out of a stream, what is one there out of datagrams, several at once after
    /// [`Endpoint::gather`].
    ///
    /// # Errors
    /// As for [`Endpoint::read`].
    pub fn read_datagrams(
        &mut self,
        buf: &mut Buf,
        sizes: &mut Sizes,
        most: usize,
    ) -> io::Result<Moved> {
        if self.datagrams().is_none() {
            let moved = self.read_piece(buf, most)?;
            if let Moved::Bytes(n @ 1..) = moved {
                sizes.push(n);
            }
            return Ok(moved);
        }
        let (Layer::None, Io::Udp(udp)) = (&self.layer, &self.io) else {
            let moved = self.read(buf)?;
            if let Moved::Bytes(n) = moved {
                sizes.push(n);
            }
            return Ok(moved);
        };
        let result = udp.read(buf.whole_space());
        if let Ok((n, each)) = result {
            buf.filled(n);
            sizes.push_run(n, each);
            return Ok(Moved::Bytes(n));
        }
        outcome(result.map(|(n, _)| n), &mut self.ready.rx)
    }

    /// Where bytes come in datagrams and nobody asks which, several may be read at once from now
    /// on. A refusal only costs speed.
    pub fn gather(&mut self) {
        if let (Layer::None, Io::Udp(udp)) = (&self.layer, &mut self.io) {
            udp.gather();
        }
    }

    /// Sends the oldest of the datagrams in `bytes`, several at once where the kernel can; how
    /// many went, `None` while it takes none.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn write_datagrams(&mut self, bytes: &[u8], sizes: &Sizes) -> io::Result<Option<usize>> {
        if let (Layer::None, Io::Udp(udp)) = (&self.layer, &mut self.io) {
            let sent = udp.write(bytes, sizes);
            return Ok(match sent {
                Ok(count) => Some(count),
                Err(e) => match outcome(Err(e), &mut self.ready.tx)? {
                    Moved::Bytes(_) | Moved::Eof => Some(0),
                    Moved::Blocked => None,
                },
            });
        }
        let first = sizes.first().unwrap_or_default();
        Ok(match self.write(&bytes[..first])? {
            // What an empty datagram comes to when it is sent.
            Moved::Bytes(_) | Moved::Eof => Some(1),
            Moved::Blocked => None,
        })
    }

    /// Looks at what has come without taking it, as much as fits: how much that is, 0 at the end
    /// of the stream, `None` while nothing is there.
    ///
    /// # Errors
    /// Those of recv(2); `Unsupported` where a layer or a pipe has the bytes.
    pub fn peek(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        use rustix::net::{RecvFlags, recv};
        let Some(fd) = self.raw_rx() else { return Err(io::ErrorKind::Unsupported.into()) };
        match recv(fd, into, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((n, _)) => Ok(Some(n)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Do bytes go in datagrams here? Then this is the largest, in bytes.
    pub fn datagrams(&self) -> Option<usize> {
        if let Layer::Dtls(dtls) = &self.layer {
            return Some(dtls.limit());
        }
        match &self.io {
            Io::Udp(..) | Io::UnixDatagram(_) => Some(LARGEST_DATAGRAM),
            Io::Tcp(_) | Io::Unix(_) | Io::Pair { .. } => None,
        }
    }

    /// Writes payload; `bytes` must not be empty.
    ///
    /// # Errors
    /// Those of write(2); `BrokenPipe` where nobody reads any more.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        let result = match &mut self.layer {
            Layer::None => self.io.write(bytes),
            Layer::Tls(tls) => return tls.write(bytes),
            Layer::Dtls(dtls) => return dtls.write(bytes),
        };
        outcome(result, &mut self.ready.tx)
    }

    /// Says "no more bytes from us". True once that has reached the kernel; call again if not.
    ///
    /// # Errors
    /// Those of shutdown(2), except that a connection that is gone already counts as closed.
    pub fn close_write(&mut self) -> io::Result<bool> {
        let said = match &mut self.layer {
            Layer::None => true,
            Layer::Tls(tls) => tls.close(&mut self.io, &mut self.ready)?,
            Layer::Dtls(dtls) => dtls.close(&mut self.io, &mut self.ready)?,
        };
        if !said {
            return Ok(false);
        }
        let done = match &mut self.io {
            Io::Tcp(s) => s.shutdown(Shutdown::Write),
            Io::Unix(s) => s.shutdown(Shutdown::Write),
            // Datagrams have no end that could be told.
            Io::Udp(..) | Io::UnixDatagram(_) => Ok(()),
            Io::Pair { tx, .. } => {
                *tx = None;
                Ok(())
            }
        };
        match done {
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(true),
            other => other.map(|()| true),
        }
    }

    /// Takes no more from a peer over a Unix socket: what is in the queue can still be read, and
    /// a close behind that is an end for it, not a reset. (TCP delivers our end before a reset.)
    pub fn close_read(&mut self) {
        if let Io::Unix(s) = &self.io {
            // A peer that is gone needs no such care.
            let _ = s.shutdown(Shutdown::Read);
            // From now on reading never blocks: it gives what is left, then the end.
            self.ready.rx = true;
        }
    }

    /// The descriptor whose bytes are the payload itself; `None` when a layer rewrites them or
    /// the kernel cannot splice from it without blocking.
    pub fn raw_rx(&self) -> Option<BorrowedFd<'_>> {
        if !self.is_plain() {
            return None;
        }
        match &self.io {
            Io::Tcp(s) => Some(s.as_fd()),
            Io::Unix(s) => Some(s.as_fd()),
            Io::Udp(..) | Io::UnixDatagram(_) => None,
            Io::Pair { rx, .. } => rx.as_ref().filter(|fd| fd.splices_out()).map(AsFd::as_fd),
        }
    }

    /// The descriptor that takes the payload as it is; `None` as in [`Endpoint::raw_rx`].
    pub fn raw_tx(&self) -> Option<BorrowedFd<'_>> {
        if !self.is_plain() {
            return None;
        }
        match &self.io {
            Io::Tcp(s) => Some(s.as_fd()),
            Io::Unix(s) => Some(s.as_fd()),
            Io::Udp(..) | Io::UnixDatagram(_) => None,
            Io::Pair { tx, .. } => tx.as_ref().filter(|fd| fd.splices_in()).map(AsFd::as_fd),
        }
    }

    /// Are these bytes in a pipe already, as a program's output is in a pipeline? It is made wide
    /// then, and needs no other pipe of ours to be spliced from.
    pub fn widen_rx(&self) -> bool {
        let Io::Pair { rx: Some(rx), .. } = &self.io else { return false };
        rx.kind() == Kind::Pipe && {
            crate::sys::splice::widen(rx.as_fd());
            true
        }
    }

    /// The same of the pipe that takes the payload.
    pub fn widen_tx(&self) -> bool {
        let Io::Pair { tx: Some(tx), .. } = &self.io else { return false };
        tx.kind() == Kind::Pipe && {
            crate::sys::splice::widen(tx.as_fd());
            true
        }
    }

    /// Our address and the peer's, where they are IP addresses.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.io {
            Io::Tcp(s) => Some((s.local_addr().ok()?, s.peer_addr().ok()?)),
            Io::Udp(udp) => Some((udp.socket.local_addr().ok()?, udp.socket.peer_addr().ok()?)),
            Io::Unix(_) | Io::UnixDatagram(_) | Io::Pair { .. } => None,
        }
    }

    /// Our address and the peer's in the parts that a command is told: address and port.
    pub fn parts(&self) -> [(String, String); 2] {
        if let Some((local, remote)) = self.addresses() {
            return [local, remote].map(|a| (a.ip().to_string(), a.port().to_string()));
        }
        #[cfg(target_os = "linux")]
        if let Io::Unix(s) = &self.io {
            let socket = socket2::SockRef::from(s);
            let vsock = |address: io::Result<socket2::SockAddr>| address.ok()?.as_vsock_address();
            if let (Some(local), Some(remote)) =
                (vsock(socket.local_addr()), vsock(socket.peer_addr()))
            {
                return [local, remote].map(|(cid, port)| (cid.to_string(), port.to_string()));
            }
        }
        [(); 2].map(|()| ("localhost".to_owned(), String::new()))
    }

    /// Is a call that was begun through?
    ///
    /// # Errors
    /// Why it failed.
    pub fn is_through(&self) -> io::Result<bool> {
        let Io::Unix(s) = &self.io else { return Ok(true) };
        let socket = socket2::SockRef::from(s);
        if let Some(e) = socket.take_error()? {
            return Err(e);
        }
        Ok(socket.peer_addr().is_ok())
    }

    /// From here on a close is a reset, and drops what is on its way.
    pub fn reset_when_closed(&self) {
        if let Io::Tcp(s) = &self.io {
            // A socket that cannot be reset is closed.
            let _ = socket2::SockRef::from(s).set_linger(Some(Duration::ZERO));
        }
    }

    /// What goes in `NCAT_PROTO`.
    pub fn protocol(&self) -> &'static str {
        match &self.io {
            Io::Udp(..) | Io::UnixDatagram(_) => "UDP",
            #[cfg(target_os = "linux")]
            Io::Tcp(s)
                if socket2::SockRef::from(s)
                    .protocol()
                    .is_ok_and(|protocol| protocol == Some(socket2::Protocol::SCTP)) =>
            {
                "SCTP"
            }
            Io::Tcp(_) | Io::Unix(_) | Io::Pair { .. } => "TCP",
        }
    }

    /// Bytes that we sent and the peer's kernel has not confirmed; `None` where nobody knows.
    pub fn unacknowledged(&self) -> Option<usize> {
        match &self.io {
            Io::Tcp(s) => crate::sys::sockopt::unacknowledged(s.as_fd()).ok(),
            Io::Unix(_) | Io::Udp(..) | Io::UnixDatagram(_) | Io::Pair { .. } => None,
        }
    }

    /// Does a person sit at this end's input?
    pub fn is_typed(&self) -> bool {
        matches!(&self.io, Io::Pair { rx: Some(rx), .. } if rx.kind() == Kind::Terminal)
    }

    /// Does a person look at this end's output?
    pub fn is_shown(&self) -> bool {
        matches!(&self.io, Io::Pair { tx: Some(tx), .. } if tx.kind() == Kind::Terminal)
    }

    /// A splice from here was refused for now.
    pub fn rx_blocked(&mut self) {
        self.ready.rx = false;
    }

    /// A splice into here was refused for now.
    pub fn tx_blocked(&mut self) {
        self.ready.tx = false;
    }

    /// This machine's own end: standard input unless `silent`, and standard output.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn stdio(silent: bool) -> io::Result<Self> {
        let rx = if silent { None } else { crate::sys::stdio::take_stdin()? };
        Ok(Self::new(Io::Pair { rx, tx: crate::sys::stdio::take_stdout()? }))
    }

    /// No event has told, and yet: try again, and let `WouldBlock` correct us.
    pub fn assume_ready(&mut self) {
        self.ready = Ready { rx: true, tx: true };
    }
}

fn outcome(result: io::Result<usize>, ready: &mut bool) -> io::Result<Moved> {
    match result {
        Ok(0) => Ok(Moved::Eof),
        Ok(n) => Ok(Moved::Bytes(n)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            *ready = false;
            Ok(Moved::Blocked)
        }
        // The bit stays set, so the caller tries again.
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Moved::Bytes(0)),
        Err(e) => Err(e),
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Io::Tcp(s) => s.read(buf),
            Io::Unix(s) => s.read(buf),
            Io::Udp(udp) => Ok(udp.read(buf)?.0),
            Io::UnixDatagram(s) => {
                let room = buf.len();
                let (_, sent) = rustix::net::recv(s, buf, rustix::net::RecvFlags::TRUNC)?;
                // UDP cannot send as much as this, but Unix sockets can.
                if sent > room {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("a datagram of {sent} bytes came, and {room} are the most"),
                    ));
                }
                Ok(sent)
            }
            Io::Pair { rx, .. } => rx.as_mut().map_or(Ok(0), |rx| rx.read(buf)),
        }
    }
}

impl Write for Io {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Io::Tcp(s) => s.write(buf),
            Io::Unix(s) => s.write(buf),
            Io::Udp(udp) => udp.socket.send(buf),
            Io::UnixDatagram(s) => s.send(buf),
            Io::Pair { tx: Some(tx), .. } => tx.write(buf),
            Io::Pair { tx: None, .. } => Err(rustix::io::Errno::BADF.into()),
        }
    }

    // rustls hands over several records at a time.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Io::Tcp(s) => s.write_vectored(bufs),
            Io::Unix(s) => s.write_vectored(bufs),
            Io::Udp(..) | Io::UnixDatagram(_) | Io::Pair { .. } => {
                self.write(bufs.iter().find(|b| !b.is_empty()).map_or(&[], |b| b))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
