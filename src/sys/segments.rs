//! Datagrams of one size that pass through the kernel as one: `UDP_SEGMENT` on the way out,
//! `UDP_GRO` on the way in (Linux, include/uapi/linux/udp.h).
//!
//! Elsewhere every call says `Unsupported`, and the caller moves them one by one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// So many go out at once at most (`UDP_MAX_SEGMENTS`; newer kernels take 128).
pub const MOST: usize = 64;

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Bytes of all the datagrams together.
    pub bytes: usize,
    /// Bytes of each; the last may have fewer.
    pub each: usize,
    /// Who sent them, over IP.
    pub from: Option<SocketAddr>,
}

/// From now on datagrams that follow each other may come as one ([`receive`]), or not any more.
///
/// # Errors
/// Those of setsockopt(2): the kernel does not know this.
#[cfg(target_os = "linux")]
pub fn gather(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::UdpGroSegment, &on)?)
}

/// Receives what is there: one datagram, or several of one sender and one size.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` while nothing is there.
#[cfg(target_os = "linux")]
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Came> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    use std::os::fd::AsRawFd;
    // Room for one int behind a header.
    let mut control = [0; 64];
    let mut parts = [io::IoSliceMut::new(into)];
    let got = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let mut each = got.bytes;
    for message in got.cmsgs()? {
        if let ControlMessageOwned::UdpGroSegments(size) = message {
            each = usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(each);
        }
    }
    let from = got.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    });
    Ok(Came { bytes: got.bytes, each, from })
}

/// Sends `bytes` to the peer of the socket as datagrams of `each` bytes; the last may be shorter.
///
/// # Errors
/// Those of sendmsg(2). `InvalidInput` and others say that this way cannot do it, and nothing has
/// been sent then: more than [`MOST`], a size that is more than one packet, a device that
/// calculates no checksums.
#[cfg(target_os = "linux")]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], each: u16) -> io::Result<usize> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;
    let parts = [io::IoSlice::new(bytes)];
    let sizes = [ControlMessage::UdpGsoSegments(&each)];
    Ok(sendmsg::<()>(socket.as_raw_fd(), &parts, &sizes, MsgFlags::MSG_NOSIGNAL, None)?)
}

/// Not here.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn gather(_: BorrowedFd<'_>, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn receive(_: BorrowedFd<'_>, _: &mut [u8]) -> io::Result<Came> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn send(_: BorrowedFd<'_>, _: &[u8], _: u16) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        here.connect(there.local_addr().unwrap()).unwrap();
        there.connect(here.local_addr().unwrap()).unwrap();
        there.set_nonblocking(true).unwrap();
        (here, there)
    }

    /// Loopback delivers before the send returns.
    #[test]
    fn what_goes_out_as_one_comes_in_as_many_or_as_one() {
        let (here, there) = pair();
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut buf = [0; 2000];

        assert_eq!(send(here.as_fd(), &bytes, 300).unwrap(), 1000);
        for (n, chunk) in [300, 300, 300, 100].into_iter().zip(bytes.chunks(300)) {
            let came = receive(there.as_fd(), &mut buf).unwrap();
            let from = Some(here.local_addr().unwrap());
            assert_eq!(came, Came { bytes: n, each: n, from });
            assert_eq!(&buf[..n], chunk);
        }
        assert_eq!(receive(there.as_fd(), &mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        gather(there.as_fd(), true).unwrap();
        send(here.as_fd(), &bytes, 300).unwrap();
        let came = receive(there.as_fd(), &mut buf).unwrap();
        assert_eq!((came.bytes, came.each), (1000, 300));
        assert_eq!(&buf[..1000], bytes);
        // One alone has its own size, and may be empty.
        for n in [7, 0] {
            here.send(&bytes[..n]).unwrap();
            let came = receive(there.as_fd(), &mut buf).unwrap();
            assert_eq!((came.bytes, came.each), (n, n));
        }
        gather(there.as_fd(), false).unwrap();
        send(here.as_fd(), &bytes, 500).unwrap();
        assert_eq!(receive(there.as_fd(), &mut buf).unwrap().bytes, 500);
    }

    #[test]
    fn too_many_are_refused_whole() {
        let (here, there) = pair();
        assert_eq!(
            send(here.as_fd(), &[7; 200], 1).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert!(receive(there.as_fd(), &mut [0; 9]).is_err());
    }
}
