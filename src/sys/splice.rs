//! A kernel pipe as a carrier: bytes go from one descriptor to another without entering us.
//!
//! Linux only; elsewhere every call says `Unsupported`, and the caller uses a buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pipe of our own, made large, with a count of what is in it.
#[derive(Debug)]
pub struct KernelPipe {
    rx: OwnedFd,
    tx: OwnedFd,
    held: usize,
    capacity: usize,
}

/// What an unprivileged process may ask for (Linux, /proc/sys/fs/pipe-max-size).
const WANTED: usize = 1024 * 1024;

impl KernelPipe {
    /// Bytes in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes back what is held, for a sink that turns out to refuse splices.
    ///
    /// # Errors
    /// Those of read(2); none is expected, since the bytes are known to be there.
    pub fn rescue(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = rustix::io::read(self.rx.as_fd(), into)?;
        self.held -= n.min(self.held);
        Ok(n)
    }
}

/// Moves what `from` has straight into `to`; one of the two is a pipe. 0 is the end of `from`.
///
/// # Errors
/// `WouldBlock` when `from` has nothing or `to` takes nothing: [`ready`] tells which.
/// `InvalidInput` when these two cannot be spliced; nothing has moved then.
#[cfg(target_os = "linux")]
pub fn through(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    splice(from, to, WANTED)
}

/// Makes a pipe as large as an unprivileged process may have it. A refusal only costs speed.
#[cfg(target_os = "linux")]
pub fn widen(pipe: BorrowedFd<'_>) {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    if fcntl_getpipe_size(pipe).is_ok_and(|size| size < WANTED) {
        let _ = fcntl_setpipe_size(pipe, WANTED);
    }
}

/// Has `from` something to read, and can `to` take something?
///
/// # Errors
/// Those of poll(2).
pub fn ready(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [
        PollFd::from_borrowed_fd(from, PollFlags::IN),
        PollFd::from_borrowed_fd(to, PollFlags::OUT),
    ];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
}

#[cfg(target_os = "linux")]
impl KernelPipe {
    /// Makes one. A refusal to enlarge it (the user's total is bounded) only costs speed.
    ///
    /// # Errors
    /// Those of pipe2(2): out of descriptors.
    pub fn new() -> io::Result<Self> {
        use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
        let (rx, tx) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let capacity = match fcntl_setpipe_size(&tx, WANTED) {
            Ok(size) => size,
            Err(_) => fcntl_getpipe_size(&tx)?,
        };
        Ok(Self { rx, tx, held: 0, capacity })
    }

    /// Moves what `from` has into the pipe; 0 is its end.
    ///
    /// Call it only on an empty pipe: a pipe counts pages, not bytes, so when it holds something
    /// and refuses more, "pipe full" cannot be told from "source empty" (HAProxy's rule).
    ///
    /// # Errors
    /// `InvalidInput` when this source cannot be spliced; nothing has moved then.
    pub fn fill(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        let n = splice(from, self.tx.as_fd(), self.capacity)?;
        self.held += n;
        Ok(n)
    }

    /// Moves what the pipe holds into `to`.
    ///
    /// # Errors
    /// `InvalidInput` when this sink cannot be spliced into; the bytes are still in the pipe.
    pub fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        let n = splice(self.rx.as_fd(), to, self.held)?;
        self.held -= n;
        Ok(n)
    }
}

#[cfg(target_os = "linux")]
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    use rustix::pipe::{SpliceFlags, splice};
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, len, flags)?)
}

/// There is no splice(2) here.
///
/// # Errors
/// Always `InvalidInput`.
#[cfg(not(target_os = "linux"))]
pub fn through(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::InvalidInput.into())
}

/// Pipes have one size here.
#[cfg(not(target_os = "linux"))]
pub fn widen(_: BorrowedFd<'_>) {}

#[cfg(not(target_os = "linux"))]
impl KernelPipe {
    /// There is no splice(2) here.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never reached: there is no way to make one.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn fill(&mut self, _: BorrowedFd<'_>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never reached: there is no way to make one.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn drain(&mut self, _: BorrowedFd<'_>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
