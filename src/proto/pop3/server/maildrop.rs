//! The maildrop of a session (RFC 1939 §3): what was there at the login, by numbers that do not
//! move.

use crate::proto::store::{Folder, INBOX, Refusal, Result, Store, Stores};

/// A message, as it was at the login.
#[derive(Debug, Clone, Copy)]
struct Entry {
    uid: u32,
    size: u64,
    /// It is removed at QUIT.
    marked: bool,
}

/// A user's INBOX, for one session.
pub(super) struct Maildrop {
    user: String,
    folder: Box<dyn Folder>,
    /// Held as long as the session lasts: nobody else gets in meanwhile.
    _store: Box<dyn Store>,
    entries: Vec<Entry>,
}

impl Maildrop {
    /// This user's, alone.
    pub(super) fn enter(stores: &mut dyn Stores, user: &str) -> Result<Self> {
        let mut store = stores.enter(user, true)?;
        let mut folder = store.open(INBOX, false)?;
        let entry =
            |m: &crate::proto::store::Message| Entry { uid: m.uid, size: m.size, marked: false };
        let entries = folder.look()?.iter().map(entry).collect();
        Ok(Self { user: user.to_owned(), folder, _store: store, entries })
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// How many messages there were at the login, marked or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Messages that are not marked, and their octets.
    pub(super) fn count(&self) -> (usize, u64) {
        let kept = self.entries.iter().filter(|entry| !entry.marked);
        kept.fold((0, 0), |(count, size), entry| (count + 1, size + entry.size))
    }

    pub(super) fn marked(&self) -> usize {
        self.entries.iter().filter(|entry| entry.marked).count()
    }

    /// The index of a message that is there and not marked.
    pub(super) fn index(&self, number: u32) -> Option<usize> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.entries.get(index).filter(|entry| !entry.marked).map(|_| index)
    }

    pub(super) fn size(&self, index: usize) -> u64 {
        self.entries[index].size
    }

    /// The line for a message in LIST, unless it is marked.
    pub(super) fn scan_listing(&self, index: usize, size: impl Fn(u64) -> u64) -> Option<String> {
        let entry = self.entries.get(index).filter(|entry| !entry.marked)?;
        Some(format!("{} {}", index + 1, size(entry.size)))
    }

    /// The line for a message in UIDL, unless it is marked: never another message's.
    pub(super) fn unique_id_listing(&self, index: usize) -> Option<String> {
        let entry = self.entries.get(index).filter(|entry| !entry.marked)?;
        Some(format!("{} {:08x}{:08x}", index + 1, self.folder.uid_validity(), entry.uid))
    }

    pub(super) fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        self.folder.read(self.entries[index].uid)
    }

    pub(super) fn mark(&mut self, index: usize) {
        self.entries[index].marked = true;
    }

    pub(super) fn unmark(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.marked = false);
    }

    /// The UPDATE state: what is marked goes.
    pub(super) fn update(&mut self) -> Result<usize> {
        let marked = self.entries.iter().filter(|entry| entry.marked);
        let uids: Vec<u32> = marked.map(|entry| entry.uid).collect();
        if !uids.is_empty() {
            self.folder.remove(&uids)?;
        }
        Ok(uids.len())
    }
}

/// The response code that fits (RFC 2449 §8.1, RFC 3206).
pub(super) fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InUse => "IN-USE",
        Refusal::Full | Refusal::Gone | Refusal::Broken(_) => "SYS/TEMP",
        Refusal::NoSuchFolder
        | Refusal::Exists
        | Refusal::BadName(_)
        | Refusal::ReadOnly
        | Refusal::Limit(_) => "SYS/PERM",
    }
}
