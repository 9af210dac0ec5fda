//! Who may use the file now.
//!
//! Three locks, each for somebody else: ours are kept off by one on a file beside it, which the
//! kernel takes from whoever dies; other mail programs by one of fcntl(2) on the file itself, and
//! by `FILE.lock`, which must be there before anybody writes.

use super::Files;
use crate::mailbox::{Patience, lock_ours, refusal, step};
use crate::proto::store::{Refusal, Result};
use crate::sys::lock::try_lock;
use rustix::process::{Pid, test_kill_process};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another program may take, where somebody waits for the answer: so often, so long.
const TRIES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// A lock of nobody we can ask is left over after that time, as mail programs have it.
const LEFT_OVER: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The mailbox is read; the index may be written.
    Read,
    /// The mailbox is written, too.
    Write,
}

/// Nobody else uses it while this is there.
#[derive(Debug)]
pub(super) struct Locked {
    /// The mailbox.
    pub(super) file: File,
    _dot: Option<Dot>,
    _ours: File,
}

/// The names of a lock that we have made.
#[derive(Debug)]
struct Dot([PathBuf; 2]);

impl Drop for Dot {
    fn drop(&mut self) {
        for name in &self.0 {
            step();
            // If somebody has taken it away, it is gone all the same.
            let _ = fs::remove_file(name);
        }
    }
}

impl Locked {
    /// # Errors
    /// [`Refusal::InUse`] if another program has it all the time.
    pub(super) fn take(files: &Files, access: Access, patience: Patience) -> Result<Self> {
        let ours = File::options().create(true).append(true).open(&files.lock);
        let ours = ours
            .and_then(|ours| lock_ours(&ours, patience).map(|()| ours))
            .map_err(|e| refusal(&e))?;
        let mut tries = if patience == Patience::None { 1 } else { TRIES };
        let (file, dot) = loop {
            if let Some(taken) = attempt(files, access).map_err(|e| refusal(&e))? {
                break taken;
            }
            tries -= 1;
            if tries == 0 {
                return Err(Refusal::InUse);
            }
            // There is no event for a file that goes away.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(PAUSE);
        };
        Ok(Self { file, _dot: dot, _ours: ours })
    }

    /// Another file is in its place now, of which nobody else knows yet.
    pub(super) fn becomes(&mut self, file: File) {
        self.file = file;
    }
}

/// Takes the locks of other programs, if all of them are free.
fn attempt(files: &Files, access: Access) -> io::Result<Option<(File, Option<Dot>)>> {
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(&files.mbox)?;
    if !try_lock(file.as_fd(), access == Access::Write)? {
        return Ok(None);
    }
    let dot = match access {
        Access::Read => None,
        Access::Write => match dot_lock(files) {
            Ok(true) => Some(Dot([files.dot.clone(), files.dot_too.clone()])),
            Ok(false) => return Ok(None),
            // Where nobody may make a file, nobody else has this lock either.
            Err(e)
                if [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]
                    .contains(&e.kind()) =>
            {
                None
            }
            Err(e) => return Err(e),
        },
    };
    // Somebody may have put another file in its place before we had the locks.
    let (here, there) = (file.metadata()?, fs::metadata(&files.mbox));
    Ok(there.is_ok_and(|there| is_same(&here, &there)).then_some((file, dot)))
}

/// Makes the file that is the lock, unless somebody has. It has another name that only ours know,
/// so that one that was left by a process that died is known for what it is.
fn dot_lock(files: &Files) -> io::Result<bool> {
    if is_left_over(files) {
        fs::remove_file(&files.dot)?;
        step();
    }
    remove(&files.dot_too)?;
    let mut file = File::create_new(&files.dot_too)?;
    step();
    let mut made = || {
        // Other programs read the number, some the host too.
        write!(file, "{}:{}", std::process::id(), host())?;
        step();
        match fs::hard_link(&files.dot_too, &files.dot) {
            // Where a file has one name only.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists && !files.dot.exists() => {
                fs::rename(&files.dot_too, &files.dot)
            }
            other => other,
        }
    };
    match made() {
        Ok(()) => {
            step();
            Ok(true)
        }
        Err(e) => {
            remove(&files.dot_too)?;
            if e.kind() == io::ErrorKind::AlreadyExists { Ok(false) } else { Err(e) }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whoever made it is dead, or has been gone for long.
fn is_left_over(files: &Files) -> bool {
    let Ok(data) = fs::metadata(&files.dot) else { return false };
    if fs::metadata(&files.dot_too).is_ok_and(|too| is_same(&too, &data)) {
        // With the lock that only ours have in hand, it is that of one who let go without a word.
        return true;
    }
    let text = fs::read_to_string(&files.dot).unwrap_or_default();
    let (number, place) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
    match number.parse().ok().and_then(Pid::from_raw) {
        Some(process) if place.is_empty() || place == host() => {
            test_kill_process(process) == Err(rustix::io::Errno::SRCH)
        }
        Some(_) | None => {
            data.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER))
        }
    }
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
