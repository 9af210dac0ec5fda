//! What mock mail servers keep: disk only, no sockets.
//!
//! A message that has been answered with success is on disk, whole; one that has not is not to be
//! seen. Several processes may use a mailbox at once.

pub mod maildir;
pub mod memory;

mod names;
#[cfg(test)]
mod rules;

use crate::proto::store::{self, Refusal, Store, Stores};
use maildir::Maildir;
use std::io;
use std::path::{Path, PathBuf};

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

/// Where mail is kept.
#[derive(Debug, Clone)]
pub struct Place {
    base: PathBuf,
    per: Per,
}

impl Place {
    /// A Maildir at `base`; if there is one for each, they are below it.
    pub fn new(base: &Path, per: Per) -> Self {
        Self { base: base.to_owned(), per }
    }

    /// Keeps a message for a recipient: gives the name of its file.
    ///
    /// # Errors
    /// [`Refusal::Full`], [`Refusal::Broken`]; nothing of it is left then.
    pub fn deliver(&self, recipient: &str, content: &[u8]) -> store::Result<String> {
        Self::deliver_at(&self.of(recipient)?, content)
    }

    /// Keeps a message in the mailbox at `path`, which [`Place::of`] has told.
    ///
    /// # Errors
    /// See [`Place::deliver`].
    pub fn deliver_at(path: &Path, content: &[u8]) -> store::Result<String> {
        Maildir::at(path)?.deliver(content)
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
        let maildir = Maildir::at(&path)?;
        Ok(Box::new(if alone { maildir.alone()? } else { maildir }))
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

/// What the system says, as the reason of a store.
fn refusal(e: &io::Error) -> Refusal {
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
    fn each_recipient_has_the_mailbox_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        for (per, at) in [
            (Per::All, ""),
            (Per::User, "ann"),
            (Per::Recipient, "ann+tag@x.test"),
            (Per::Domain, "x.test"),
        ] {
            let base = dir.path().join(format!("{per:?}"));
            let name = Place::new(&base, per).deliver("Ann+tag@x.test", b"hi\r\n").unwrap();
            let file = base.join(at).join("new").join(name);
            assert_eq!(std::fs::read(&file).unwrap(), b"hi\r\n", "{}", file.display());
        }
    }
}
