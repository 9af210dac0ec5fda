//! The few questions to a socket that socket2 does not ask.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that were written to a TCP socket and that the peer's kernel has not acknowledged yet.
///
/// Our FIN counts as one (tcp(7), `SIOCOUTQ`), so 0 after a shutdown means that everything,
/// the end included, has arrived over there.
///
/// # Errors
/// Those of ioctl(2), for a descriptor that is no socket.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut pending: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) stores one int behind the pointer, which is
    // valid and exclusive for the call; the descriptor is borrowed, so it is open.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut pending) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(pending.max(0) as usize) }
}

/// Sets the options of the IP header (ip(7), `IP_OPTIONS`).
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_ip_options(socket: BorrowedFd<'_>, options: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(options.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of a slice that lives through the call, and
    // the kernel only reads it; the descriptor is borrowed, so it is open.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_OPTIONS,
            options.as_ptr().cast(),
            length,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
