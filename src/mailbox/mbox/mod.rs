//! One file for all messages: mboxrd, as many mail programs read and write it, with one folder.
//!
//! Deliveries are added to its end. UIDs and marks are in an index beside it, and the file is
//! written anew only when messages are taken out of it: `.FILE.ncat-index` and two more are ours,
//! `FILE.lock` is everybody's.

mod file;
mod folder;
mod index;
mod lock;
#[cfg(test)]
mod tests;

use super::memory::{now, status_of};
use super::names::{self, canonical};
use super::{Patience, refusal, sync_dir};
use crate::proto::store::{Flags, Folder, INBOX, Listed, Refusal, Result, Status, Store};
use file::Letter;
use folder::Open;
use index::Index;
use lock::{Access, Locked};
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// What belongs to a mailbox.
#[derive(Debug, Clone)]
struct Files {
    mbox: PathBuf,
    index: PathBuf,
    /// For ours only.
    lock: PathBuf,
    /// For everybody.
    dot: PathBuf,
    /// Another name of the same, when it is ours.
    dot_too: PathBuf,
    /// One session of POP3 has this.
    alone: PathBuf,
    /// What is to take the place of the mailbox.
    draft: PathBuf,
}

impl Files {
    fn directory(&self) -> &Path {
        self.mbox.parent().unwrap_or(Path::new("."))
    }

    /// Those of a mailbox, which is made if it is not there.
    fn of(path: &Path) -> io::Result<Self> {
        let directory = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        match File::options().read(true).write(true).create_new(true).open(path) {
            Ok(_) => sync_dir(&directory(path))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        // A link stays one when the file that it leads to is written anew.
        let mbox = fs::canonicalize(path)?;
        let beside = |before: &str, after: &str| {
            let mut name = std::ffi::OsString::from(before);
            name.push(mbox.file_name().unwrap_or_default());
            name.push(after);
            mbox.with_file_name(name)
        };
        Ok(Self {
            index: beside(".", ".ncat-index"),
            lock: beside(".", ".ncat-lock"),
            dot: beside("", ".lock"),
            dot_too: beside(".", ".ncat-dot-lock"),
            alone: beside(".", ".ncat-pop3"),
            draft: beside(".", ".ncat-new"),
            mbox,
        })
    }
}

/// A person's mailbox.
#[derive(Debug)]
pub struct Mbox {
    files: Files,
    /// Nobody else has it by POP3 as long as this is open.
    _alone: Option<File>,
}

impl Mbox {
    /// The one at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Refusal::Broken`], [`Refusal::Full`].
    pub fn at(path: &Path) -> Result<Self> {
        let files = Files::of(path).map_err(|e| refusal(&e))?;
        Ok(Self { files, _alone: None })
    }

    /// For one session only, as POP3 wants it. Somebody who dies leaves it.
    ///
    /// # Errors
    /// [`Refusal::InUse`].
    pub fn alone(self) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&self.files.alone);
        let file = file.map_err(|e| refusal(&e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _alone: Some(file), ..self }),
            Err(TryLockError::WouldBlock) => Err(Refusal::InUse),
            Err(TryLockError::Error(e)) => Err(refusal(&e)),
        }
    }

    /// Adds a message of this sender.
    ///
    /// # Errors
    /// [`Refusal::InUse`] as long as another program has it locked, at once; [`Refusal::Full`],
    /// [`Refusal::Broken`]. Nothing of it is left then.
    pub fn deliver(&self, sender: &str, content: &[u8]) -> Result<()> {
        let mut locked = Locked::take(&self.files, Access::Write, Patience::None)?;
        let letter = Letter { sender, content, flags: &Flags::default(), received: now() };
        file::add(&self.files, &mut locked, &[letter]).map(drop)
    }
}

/// There is no other folder.
fn only_inbox(name: &str) -> Result<()> {
    if canonical(name)? == INBOX { Ok(()) } else { Err(Refusal::NoSuchFolder) }
}

/// Why there will be none.
fn no_folders() -> Refusal {
    Refusal::BadName("an mbox is one folder, INBOX")
}

/// See [`super::reads_indexes_again`].
pub(super) fn reads_again(text: &str) -> bool {
    let text = Index::parse(text).map(|index| index.text());
    text.is_none_or(|text| Index::parse(&text).is_some_and(|again| again.text() == text))
}

impl Store for Mbox {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        Ok(names::listed([INBOX].into_iter(), &BTreeSet::from([INBOX.to_owned()])))
    }

    fn create(&mut self, name: &str) -> Result<()> {
        match canonical(name)?.as_str() {
            INBOX => Err(Refusal::Exists),
            _ => Err(no_folders()),
        }
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        only_inbox(name)?;
        Err(Refusal::BadName("INBOX cannot be deleted"))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        only_inbox(from)?;
        self.create(to)
    }

    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        // It is always wanted.
        if canonical(name)? == INBOX && wanted { Ok(()) } else { Err(no_folders()) }
    }

    fn status(&mut self, name: &str) -> Result<Status> {
        let mut open = self.open(name, true)?;
        Ok(status_of(&open.look()?, open.uid_next(), open.uid_validity()))
    }

    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>> {
        only_inbox(name)?;
        Ok(Box::new(Open::new(&self.files, read_only)?))
    }

    fn append(
        &mut self,
        folder: &str,
        content: &[u8],
        flags: &Flags,
        received: Option<u64>,
    ) -> Result<(u32, u32)> {
        only_inbox(folder)?;
        let mut locked = Locked::take(&self.files, Access::Write, Patience::Some)?;
        let received = received.unwrap_or_else(now);
        let letter = Letter { sender: "", content, flags, received };
        let (validity, uids) = file::add(&self.files, &mut locked, &[letter])?;
        Ok((validity, uids.first().copied().unwrap_or(0)))
    }
}
