//! The lock by which mail programs keep each other off a file: fcntl(2), whole file.
//!
//! Of the kind that belongs to the open file description, so that two threads keep each other off
//! as well, and closing another descriptor of the file lets go of nothing.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

/// Takes it, or says that somebody else has it. One that is not `exclusive` is shared by readers.
///
/// # Errors
/// Those of fcntl(2).
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn try_lock(file: BorrowedFd<'_>, exclusive: bool) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    // SAFETY: zeroed is a valid value of this C struct: from the beginning, to the end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // The constants are of this type on some systems, and fit it on all.
    lock.l_type = (if exclusive { libc::F_WRLCK } else { libc::F_RDLCK }) as _;
    lock.l_whence = libc::SEEK_SET as _;
    // SAFETY: the struct is valid for the call, which only reads it; the descriptor is borrowed,
    // so it is open.
    let rc = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if rc == 0 {
        return Ok(true);
    }
    let e = io::Error::last_os_error();
    match e.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(e),
    }
}

/// There is none of this kind: other locks must do.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn try_lock(_: BorrowedFd<'_>, _: bool) -> io::Result<bool> {
    Ok(true)
}
