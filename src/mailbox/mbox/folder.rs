//! The one folder of a mailbox, open.

use super::file::{self, Letter};
use super::index::{self, Index, Stamp};
use super::lock::{Access, Locked};
use super::{Files, only_inbox};
use crate::mailbox::Patience;
use crate::mailbox::{journal, refusal};
use crate::proto::mbox;
use crate::proto::store::{Copied, Flags, Folder, Message, Refusal, Result};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Which files they are, and how: the mailbox and the index.
type Key = [(u64, Stamp); 2];

pub(super) struct Open {
    files: Files,
    read_only: bool,
    index: Index,
    key: Option<Key>,
    /// What came to this session first.
    recent: HashSet<u32>,
    /// Lines that were added to the index since it was written.
    noted: usize,
}

impl Open {
    pub(super) fn new(files: &Files, read_only: bool) -> Result<Self> {
        let mut open = Self {
            files: files.clone(),
            read_only,
            index: Index::default(),
            key: None,
            recent: HashSet::new(),
            noted: 0,
        };
        open.refresh()?;
        Ok(open)
    }

    fn key(&self) -> Option<Key> {
        let one = |path| fs::metadata(path).ok().map(|data| (data.ino(), index::stamp(&data)));
        Some([one(&self.files.mbox)?, one(&self.files.index)?])
    }

    /// Nothing has been written since we looked.
    fn is_current(&self) -> bool {
        self.key.is_some() && self.key == self.key()
    }

    /// Looks what is there, if anything has changed.
    fn refresh(&mut self) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        match self.current(Access::Read) {
            // What has been told stays true meanwhile.
            Err(Refusal::InUse) if self.key.is_some() => Ok(()),
            other => other.map(drop),
        }
    }

    /// The locks: what we know is true as long as one has them.
    fn current(&mut self, access: Access) -> Result<Locked> {
        let locked = Locked::take(&self.files, access, Patience::Some)?;
        if self.is_current() {
            return Ok(locked);
        }
        let (locked, mut index) = load(&self.files, locked)?;
        if self.index.validity != 0 && self.index.validity != index.validity {
            let why = "the mailbox was replaced while it was open";
            return Err(Refusal::Broken(why.to_owned()));
        }
        let last = index.entries.last().map_or(0, |entry| entry.uid);
        if !self.read_only && last > index.seen {
            let new = index.entries.iter().filter(|entry| entry.uid > index.seen);
            self.recent.extend(new.map(|entry| entry.uid));
            index.seen = last;
            self.note(&index, &format!("n {} {last}\n", index.next))?;
        }
        self.index = index;
        self.key = self.key();
        Ok(locked)
    }

    /// Adds a line to the index, of which all is true.
    fn note(&self, index: &Index, line: &str) -> Result<()> {
        let seal = index.stamp.map(|stamp| index::seal(stamp, index.next)).unwrap_or_default();
        journal::append(&self.files.index, &format!("{line}{seal}"), false)
            .map(drop)
            .map_err(|e| refusal(&e))
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Refusal::ReadOnly) } else { Ok(()) }
    }
}

/// What is true, and the locks as long as which it is.
fn load(files: &Files, locked: Locked) -> Result<(Locked, Index)> {
    let index = Index::load(files);
    let stamp = locked.file.metadata().map(|data| index::stamp(&data)).map_err(|e| refusal(&e))?;
    if index.stamp == Some(stamp) {
        if index.is_long {
            // It does as it is.
            let _ = index.save(files);
        }
        return Ok((locked, index));
    }
    drop(locked);
    // Somebody has been there, and may have left what has to be taken away.
    let mut locked = Locked::take(files, Access::Write, Patience::Some)?;
    let index = file::update(files, &mut locked, Index::load(files))?;
    Ok((locked, index))
}

impl Folder for Open {
    fn uid_validity(&self) -> u32 {
        self.index.validity
    }

    fn uid_next(&self) -> u32 {
        self.index.next
    }

    fn look(&mut self) -> Result<Vec<Message>> {
        self.refresh()?;
        let message = |entry: &index::Entry| Message {
            uid: entry.uid,
            size: entry.size,
            flags: entry.flags.clone(),
            received: entry.received,
            recent: entry.uid > self.index.seen || self.recent.contains(&entry.uid),
        };
        Ok(self.index.entries.iter().map(message).collect())
    }

    fn read(&mut self, uid: u32) -> Result<Vec<u8>> {
        let locked = self.current(Access::Read)?;
        let entry = self.index.find(uid).ok_or(Refusal::Gone)?;
        let raw = file::read(&locked.file, entry.offset, entry.length).map_err(|e| refusal(&e))?;
        Ok(mbox::decode(&raw))
    }

    fn mark(&mut self, uid: u32, flags: &Flags) -> Result<()> {
        self.writable()?;
        let _locked = self.current(Access::Read)?;
        let at = self.index.entries.binary_search_by_key(&uid, |entry| entry.uid);
        let at = at.map_err(|_| Refusal::Gone)?;
        let flags = index::kept(flags);
        if self.index.entries[at].flags == flags {
            return Ok(());
        }
        self.note(&self.index, &index::marking(uid, &flags))?;
        self.index.entries[at].flags = flags;
        self.noted += 1;
        if self.noted > 2 * self.index.entries.len() + index::SLACK && self.index.stamp.is_some() {
            // It does as it is, only longer.
            let _ = self.index.save(&self.files);
            self.noted = 0;
        }
        self.key = self.key();
        Ok(())
    }

    fn remove(&mut self, uids: &[u32]) -> Result<()> {
        self.writable()?;
        let mut locked = self.current(Access::Write)?;
        // Whatever comes of it, it is looked at again.
        self.key = None;
        let uids = uids.iter().copied().collect();
        self.index = file::take_out(&self.files, &mut locked, self.index.clone(), &uids)?;
        self.key = self.key();
        Ok(())
    }

    fn copy(&mut self, uids: &[u32], to: &str) -> Result<Copied> {
        only_inbox(to)?;
        let mut locked = self.current(Access::Write)?;
        let (index, uids) = (&self.index, uids.iter().collect::<HashSet<_>>());
        let mut found = Vec::new();
        for entry in index.entries.iter().filter(|entry| uids.contains(&entry.uid)) {
            let raw = file::read(&locked.file, entry.offset, entry.length);
            found.push((entry, mbox::decode(&raw.map_err(|e| refusal(&e))?)));
        }
        let old: Vec<_> = found.iter().map(|(entry, _)| entry.uid).collect();
        let letters: Vec<_> = found
            .iter()
            .map(|(entry, content)| Letter {
                sender: "",
                content,
                flags: &entry.flags,
                received: entry.received,
            })
            .collect();
        if letters.is_empty() {
            return Ok(Copied { uid_validity: index.validity, uids: Vec::new() });
        }
        let (uid_validity, new) = file::add(&self.files, &mut locked, &letters)?;
        Ok(Copied { uid_validity, uids: old.into_iter().zip(new).collect() })
    }
}
