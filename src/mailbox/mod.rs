//! What mock mail servers keep: disk only, no sockets.
//!
//! A message that has been answered with success is on disk, whole; one that has not is not to be
//! seen. Several processes may use a mailbox at once.

pub mod maildir;
pub mod mbox;
pub mod memory;

mod journal;
mod names;
#[cfg(test)]
mod rules;

use crate::proto::store::{self, Flags, Refusal, Store, Stores};
use maildir::Maildir;
use mbox::Mbox;
pub use memory::now;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which mailbox a recipient has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One for all.
    All,
    /// One for each local part, without what stands behind a `+`.
    User,
    /// One for each address.
    Recipient,
    /// One for each domain.
    Domain,
}

/// How mail is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory for each mailbox, a file for each message.
    Maildir,
    /// One file.
    Mbox,
}

impl Form {
    /// The one at a path: what is there already, or what its name asks for.
    ///
    /// # Errors
    /// Half a sentence about what is there and is neither.
    pub fn of(path: &Path) -> Result<Self, &'static str> {
        let is_named = path.as_os_str().as_bytes().ends_with(b".mbox");
        match std::fs::metadata(path) {
            Ok(data) if data.is_file() => Ok(Self::Mbox),
            Ok(data) if data.is_dir() => Ok(Self::Maildir),
            Ok(_) => Err("it is neither a file nor a directory"),
            Err(_) if is_named => Ok(Self::Mbox),
            Err(_) => Ok(Self::Maildir),
        }
    }
}

/// Where mail is kept.
#[derive(Debug, Clone)]
pub struct Place {
    base: PathBuf,
    per: Per,
    form: Form,
}

impl Place {
    /// A Maildir at `base`; if there is one for each, they are below it.
    pub fn new(base: &Path, per: Per) -> Self {
        Self { base: base.to_owned(), per, form: Form::Maildir }
    }

    /// One mbox for all.
    pub fn mbox(path: &Path) -> Self {
        Self { base: path.to_owned(), per: Per::All, form: Form::Mbox }
    }

    /// As it was given.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Keeps a message for a recipient: gives the file in which it is.
    ///
    /// # Errors
    /// See [`Place::deliver_at`].
    pub fn deliver(&self, recipient: &str, content: &[u8]) -> store::Result<PathBuf> {
        self.deliver_at(&self.of(recipient)?, "", content)
    }

    /// Keeps a message that was fetched: gives the file in which it is. While another program
    /// has it locked, this waits a little.
    ///
    /// # Errors
    /// See [`Place::deliver_at`].
    pub fn put(&self, content: &[u8]) -> store::Result<PathBuf> {
        match self.form {
            Form::Maildir => self.deliver_at(&self.base, "", content),
            Form::Mbox => {
                Mbox::at(&self.base)?.append(store::INBOX, content, &Flags::default(), None)?;
                Ok(self.base.clone())
            }
        }
    }

    /// Keeps a message of a sender in the mailbox at `path`, which [`Place::of`] has told: gives
    /// the file in which it is.
    ///
    /// # Errors
    /// [`Refusal::InUse`] as long as another program has it locked; [`Refusal::Full`],
    /// [`Refusal::Broken`]. Nothing of it is left then.
    pub fn deliver_at(&self, path: &Path, sender: &str, content: &[u8]) -> store::Result<PathBuf> {
        match self.form {
            Form::Maildir => {
                Maildir::at(path)?.deliver(content).map(|name| path.join("new").join(name))
            }
            Form::Mbox => Mbox::at(path)?.deliver(sender, content).map(|()| path.to_owned()),
        }
    }

    /// Where the mailbox of a recipient is.
    ///
    /// # Errors
    /// [`Refusal::BadName`].
    pub fn of(&self, recipient: &str) -> store::Result<PathBuf> {
        let (local, domain) = recipient.rsplit_once('@').unwrap_or((recipient, "localhost"));
        Ok(match self.per {
            Per::All => self.base.clone(),
            Per::User => self.base.join(file_name(local.split('+').next().unwrap_or_default())?),
            Per::Recipient => self.base.join(file_name(recipient)?),
            Per::Domain => self.base.join(file_name(domain)?),
        })
    }

    /// What the mailbox at `path` is called here, if there is more than one.
    pub fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.base).ok()?.to_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }
}

impl Stores for Place {
    fn enter(&mut self, user: &str, alone: bool) -> store::Result<Box<dyn Store>> {
        let path = match self.per {
            // Many log in by their whole address.
            Per::User => self.of(user)?,
            Per::All => self.base.clone(),
            Per::Recipient | Per::Domain => self.base.join(file_name(user)?),
        };
        Ok(match self.form {
            Form::Maildir => {
                let maildir = Maildir::at(&path)?;
                Box::new(if alone { maildir.alone()? } else { maildir })
            }
            Form::Mbox => {
                let mbox = Mbox::at(&path)?;
                Box::new(if alone { mbox.alone()? } else { mbox })
            }
        })
    }
}

/// A name that somebody else has chosen as that of one file below a directory, and no other.
fn file_name(name: &str) -> store::Result<String> {
    let mut out = String::new();
    for byte in name.to_lowercase().bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"_-@+=".contains(&byte);
        // A dot in front would hide it, or lead up.
        if plain || (byte == b'.' && !out.is_empty()) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    match out.len() {
        0 => Err(Refusal::BadName("it is empty")),
        1..=200 => Ok(out),
        _ => Err(Refusal::BadName("it is too long")),
    }
}

/// What is understood of a text that may be an index, or moves that somebody has left, is
/// understood again once it is written anew: for the fuzzer.
#[doc(hidden)]
pub fn reads_indexes_again(text: &str) -> bool {
    maildir::reads_again(text) && mbox::reads_again(text)
}

/// Between any two things that are done to a disk: here a test ends the process.
#[cfg(not(test))]
fn step() {}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn step() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static STEP: AtomicUsize = AtomicUsize::new(0);
    let Some(last) = std::env::var("LAST_STEP").ok().and_then(|text| text.parse().ok()) else {
        return;
    };
    if STEP.fetch_add(1, Ordering::Relaxed) == last {
        // As a kill would: nothing is cleaned up.
        std::process::exit(9);
    }
}

/// What a directory says is on disk, too.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What is done if another program has the lock of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Nothing: whoever asks will ask again.
    None,
    /// It is waited for, a second at most.
    Some,
}

/// Another process of ours has a lock for milliseconds, unless it has been stopped inside.
const OURS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Takes a lock that only programs like this one have. One that dies lets go of it.
///
/// # Errors
/// `WouldBlock`, which becomes [`Refusal::InUse`], if it does not come free in a second, or is not
/// free where that is said to be enough.
fn lock_ours(file: &File, patience: Patience) -> io::Result<()> {
    for _ in 0..OURS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if patience == Patience::None => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // There is no event for a lock that comes free.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(PAUSE);
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// What the system says, as the reason of a store.
fn refusal(e: &io::Error) -> Refusal {
    if e.kind() == io::ErrorKind::WouldBlock {
        return Refusal::InUse;
    }
    let full =
        [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    if full.contains(&e.kind()) {
        return Refusal::Full;
    }
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    Refusal::Broken(text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_file_whatever_it_is() {
        for (name, file) in [
            ("Ann", "ann"),
            ("a.b+c@d.e", "a.b+c@d.e"),
            ("../x", "%2E.%2Fx"),
            (".hidden", "%2Ehidden"),
            ("a/../b", "a%2F..%2Fb"),
            ("a\0b", "a%00b"),
            ("jürg", "j%C3%BCrg"),
        ] {
            assert_eq!(file_name(name).unwrap(), file, "{name}");
        }
        assert!(file_name("").is_err() && file_name(&"a".repeat(300)).is_err());
    }

    #[test]
    fn what_is_there_or_its_name_says_how_mail_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("dir.mbox")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        for (name, form) in [
            ("dir.mbox", Ok(Form::Maildir)),
            ("file", Ok(Form::Mbox)),
            ("new.mbox", Ok(Form::Mbox)),
            ("new.mbox/", Ok(Form::Maildir)),
            ("new", Ok(Form::Maildir)),
            ("/dev/null", Err("it is neither a file nor a directory")),
        ] {
            assert_eq!(Form::of(&at(name)), form, "{name}");
        }
    }

    #[test]
    fn each_recipient_has_the_mailbox_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        for (per, at) in [
            (Per::All, ""),
            (Per::User, "ann"),
            (Per::Recipient, "ann+tag@x.test"),
            (Per::Domain, "x.test"),
        ] {
            let base = dir.path().join(format!("{per:?}"));
            let place = Place::new(&base, per);
            let file = place.deliver("Ann+tag@x.test", b"hi\r\n").unwrap();
            assert!(file.starts_with(base.join(at).join("new")), "{}", file.display());
            assert_eq!(std::fs::read(&file).unwrap(), b"hi\r\n", "{}", file.display());
        }
    }
}
