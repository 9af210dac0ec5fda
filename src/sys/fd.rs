//! A descriptor whose open file description belongs to others too.
//!
//! Descriptors 0 and 1 come from the shell and are shared with the rest of the pipeline.
//! `O_NONBLOCK` is a flag of the open file *description*, so setting it here would set it for
//! everybody. Instead every call asks the kernel not to wait: `RWF_NOWAIT` where it knows that,
//! a look with poll(2) before the leap where it does not.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, read, write};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What a pipe that polls writable takes without blocking (POSIX `PIPE_BUF`, Linux: 4096).
const PIPE_BUF: usize = 4096;

/// What stands behind a descriptor, as far as moving bytes is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: always ready, epoll refuses it, `RWF_NOWAIT` would fail on uncached pages.
    File,
    /// A pipe or FIFO.
    Pipe,
    /// A terminal.
    Terminal,
    /// A socket, as inetd and some shells give.
    Socket,
    /// A device of the kernel's memory, which takes and gives at once: `/dev/null`, `/dev/zero`.
    Memory,
    /// Any other device.
    Device,
}

/// The major number of `/dev/null` and its like (Linux, admin-guide/devices.txt).
const MEMORY: u32 = 1;

/// A shared descriptor that is read and written without ever blocking the event loop.
#[derive(Debug)]
pub struct Shared {
    fd: OwnedFd,
    kind: Kind,
    /// The kernel understands `RWF_NOWAIT` here; cleared for good by the first refusal.
    nowait: bool,
}

impl Shared {
    /// Takes a descriptor and finds out what it is.
    ///
    /// # Errors
    /// The one of fstat(2).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let about = fstat(&fd)?;
        let kind = match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile | FileType::Directory => Kind::File,
            FileType::Fifo => Kind::Pipe,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice
                if cfg!(target_os = "linux") && rustix::fs::major(about.st_rdev) == MEMORY =>
            {
                Kind::Memory
            }
            FileType::CharacterDevice if rustix::termios::isatty(&fd) => Kind::Terminal,
            FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Symlink
            | FileType::Unknown => Kind::Device,
        };
        let nowait = matches!(kind, Kind::Pipe | Kind::Socket) && cfg!(target_os = "linux");
        Ok(Self { fd, kind, nowait })
    }

    /// What stands behind it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Can splice(2) take bytes from it without ever blocking?
    ///
    /// A socket cannot: TCP looks at the flag of the shared description alone.
    pub fn splices_out(&self) -> bool {
        matches!(self.kind, Kind::Pipe | Kind::File)
    }

    /// Can splice(2) put bytes into it without ever blocking?
    ///
    /// A file opened with `O_APPEND` refuses with `EINVAL` after the bytes have left their source.
    pub fn splices_in(&self) -> bool {
        match self.kind {
            Kind::Pipe | Kind::Memory | Kind::Device => true,
            Kind::File => fcntl_getfl(&self.fd).is_ok_and(|flags| !flags.contains(OFlags::APPEND)),
            Kind::Terminal | Kind::Socket => false,
        }
    }

    /// Reads what is there; `WouldBlock` if nothing is.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.nowait {
            match nowait::read(&self.fd, buf) {
                Err(Errno::OPNOTSUPP) => self.nowait = false,
                other => return Ok(other?),
            }
        }
        if !matches!(self.kind, Kind::File | Kind::Memory) {
            self.look(PollFlags::IN)?;
        }
        Ok(read(&self.fd, buf)?)
    }

    /// Writes what is taken at once; `WouldBlock` if nothing is.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.nowait {
            match nowait::write(&self.fd, buf) {
                Err(Errno::OPNOTSUPP) => self.nowait = false,
                other => return Ok(other?),
            }
        }
        if matches!(self.kind, Kind::File | Kind::Memory) {
            return Ok(write(&self.fd, buf)?);
        }
        self.look(PollFlags::OUT)?;
        Ok(write(&self.fd, &buf[..buf.len().min(PIPE_BUF)])?)
    }

    fn look(&self, what: PollFlags) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.fd, what)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(target_os = "linux")]
mod nowait {
    use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
    use std::io::{IoSlice, IoSliceMut};
    use std::os::fd::OwnedFd;

    /// "Here", for the calls that take an offset.
    const HERE: u64 = u64::MAX;

    pub(super) fn read(fd: &OwnedFd, buf: &mut [u8]) -> Result<usize, Errno> {
        preadv2(fd, &mut [IoSliceMut::new(buf)], HERE, ReadWriteFlags::NOWAIT)
    }

    pub(super) fn write(fd: &OwnedFd, buf: &[u8]) -> Result<usize, Errno> {
        pwritev2(fd, &[IoSlice::new(buf)], HERE, ReadWriteFlags::NOWAIT)
    }
}

#[cfg(not(target_os = "linux"))]
mod nowait {
    use rustix::io::Errno;
    use std::os::fd::OwnedFd;

    pub(super) fn read(_: &OwnedFd, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    pub(super) fn write(_: &OwnedFd, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::OPNOTSUPP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;

    fn shared_pipe() -> (Shared, Shared) {
        let (rx, tx) = pipe().unwrap();
        (Shared::new(rx).unwrap(), Shared::new(tx).unwrap())
    }

    #[test]
    fn an_empty_pipe_refuses_instead_of_waiting() {
        for nowait in [true, false] {
            let (mut rx, _tx) = shared_pipe();
            rx.nowait &= nowait;
            assert_eq!(rx.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_full_pipe_refuses_and_loses_nothing() {
        for nowait in [true, false] {
            let (mut rx, mut tx) = shared_pipe();
            rx.nowait &= nowait;
            tx.nowait &= nowait;
            let (data, mut sent) = (vec![7; 300_000], 0);
            while let Ok(n) = tx.write(&data[sent..]) {
                sent += n;
            }
            assert!((PIPE_BUF..data.len()).contains(&sent), "{sent}");
            let (mut got, mut buf) = (0, vec![0; 10_000]);
            while let Ok(n) = rx.read(&mut buf) {
                got += n;
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn the_flags_of_the_description_stay_as_they_were() {
        let (mut rx, _tx) = shared_pipe();
        let before = fcntl_getfl(&rx.fd).unwrap();
        assert!(rx.read(&mut [0; 8]).is_err());
        assert_eq!(fcntl_getfl(&rx.fd).unwrap(), before);
        assert!(!before.contains(OFlags::NONBLOCK));
    }

    #[test]
    fn files_that_append_are_not_spliced_into() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let plain = std::fs::File::create(&path).unwrap();
        let append = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        assert!(Shared::new(plain.into()).unwrap().splices_in());
        assert!(!Shared::new(append.into()).unwrap().splices_in());
    }
}
