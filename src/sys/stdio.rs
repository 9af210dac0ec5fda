//! Descriptors 0 and 1: what they were at start, and how they become ours.
//!
//! Rust's runtime opens `/dev/null` on a closed 0, 1 or 2 before `main` runs. That keeps a socket
//! from landing on number 1, but it also turns "standard output is closed" into "write it to
//! nowhere". So a note is taken before the runtime starts.

#![allow(unsafe_code)]

use super::fd::Shared;
use rustix::stdio::{dup2_stdin, dup2_stdout};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Bit N is set when descriptor N was closed when the process started.
static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

extern "C" fn note_closed() {
    for fd in 0..3 {
        // SAFETY: F_GETFD reads one flag of a descriptor and touches no memory; a number that is
        // not open is answered by EBADF, which is the answer we are after.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            CLOSED_AT_START.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

// SAFETY: the loader calls each pointer in this section once, before `main`, with the C ABI;
// `note_closed` needs nothing of the runtime that is not up yet.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static NOTE_CLOSED: extern "C" fn() = note_closed;

/// Was this descriptor (0, 1 or 2) closed when the process started?
pub fn closed_at_start(fd: u8) -> bool {
    CLOSED_AT_START.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Standard input and output, kept for a second conversation after a first has taken them.
#[derive(Debug)]
pub struct Spare {
    stdin: OwnedFd,
    stdout: OwnedFd,
}

impl Spare {
    /// Keeps what is there now.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn keep() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { stdin, stdout: io::stdout().as_fd().try_clone_to_owned()? })
    }

    /// They may be taken again.
    ///
    /// # Errors
    /// Those of dup2(2).
    pub fn put_back(&self) -> io::Result<()> {
        dup2_stdin(&self.stdin)?;
        dup2_stdout(&self.stdout)?;
        Ok(())
    }
}

/// Standard input as a descriptor of our own, or `None` if it was closed at start.
///
/// Number 0 becomes `/dev/null`, so that nobody else reads what is ours, and dropping what is
/// returned really closes it.
///
/// # Errors
/// Those of dup(2) and of opening `/dev/null`.
pub fn take_stdin() -> io::Result<Option<Shared>> {
    if closed_at_start(0) {
        return Ok(None);
    }
    let mine: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    Shared::new(mine).map(Some)
}

/// Standard output as a descriptor of our own, or `None` if it was closed at start.
///
/// Number 1 becomes `/dev/null`: a stray print cannot pollute the data, and dropping what is
/// returned tells the next program in the pipeline that there is no more.
///
/// # Errors
/// Those of dup(2) and of opening `/dev/null`.
pub fn take_stdout() -> io::Result<Option<Shared>> {
    if closed_at_start(1) {
        return Ok(None);
    }
    let mine: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    Shared::new(mine).map(Some)
}

/// The same, for who must never wait for it: a pipe is made wide, and a terminal is opened once
/// more, since a write to it waits for all of its bytes unless its description says otherwise.
///
/// # Errors
/// As for [`take_stdout`].
pub fn take_stdout_alone() -> io::Result<Option<Shared>> {
    use super::fd::Kind;
    let Some(mine) = take_stdout()? else { return Ok(None) };
    match mine.kind() {
        Kind::Pipe => super::splice::widen(mine.as_fd()),
        Kind::Terminal => {
            // Where that cannot be opened, there is only the one that others have too.
            if let Ok(own) = reopened(&mine) {
                return Ok(Some(own));
            }
        }
        Kind::File | Kind::Socket | Kind::Memory | Kind::Device => {}
    }
    Ok(Some(mine))
}

fn reopened(terminal: &Shared) -> io::Result<Shared> {
    use rustix::fs::{Mode, OFlags, open};
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Shared::new(open(path, flags, Mode::empty())?)
}
