//! A mailbox in memory: for practice, and for tests of what stands before it.

use super::names::{self, canonical};
use crate::proto::store::{
    Copied, Flags, Folder, INBOX, Listed, Message, Refusal, Result, Status, Store, Stores,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder's messages; their place in the list is that of their UIDs.
#[derive(Debug, Default)]
struct Shelf {
    uid_validity: u32,
    uid_next: u32,
    messages: Vec<(Message, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Inside {
    folders: BTreeMap<String, Shelf>,
    subscribed: BTreeSet<String>,
    /// Changes with each folder that is made.
    validity: u32,
    /// Somebody is in who wants to be alone.
    taken: bool,
}

/// The mailbox; a clone is the same one. Everybody who enters gets it.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Mutex<Inside>>);

impl Default for Memory {
    fn default() -> Self {
        let mut inside = Inside::default();
        inside.make(INBOX);
        Self(Arc::new(Mutex::new(inside)))
    }
}

impl Inside {
    fn make(&mut self, name: &str) {
        self.validity += 1;
        let shelf = Shelf { uid_validity: self.validity, uid_next: 1, messages: Vec::new() };
        self.folders.insert(name.to_owned(), shelf);
    }

    /// The folder, and those above it, where they are not there.
    fn make_all(&mut self, name: &str) {
        for name in names::above(name).chain([name]) {
            if !self.folders.contains_key(name) {
                self.make(name);
            }
        }
    }

    fn shelf(&mut self, name: &str) -> Result<&mut Shelf> {
        self.folders.get_mut(&canonical(name)?).ok_or(Refusal::NoSuchFolder)
    }
}

impl Shelf {
    fn add(&mut self, content: &[u8], flags: &Flags, received: u64) -> u32 {
        let content = with_crlf(content);
        let uid = self.uid_next;
        self.uid_next += 1;
        let size = content.len() as u64;
        let message = Message { uid, size, flags: flags.clone(), received, recent: true };
        self.messages.push((message, content));
        uid
    }

    fn find(&mut self, uid: u32) -> Result<&mut (Message, Vec<u8>)> {
        self.messages.iter_mut().find(|(message, _)| message.uid == uid).ok_or(Refusal::Gone)
    }
}

/// Every line ends in CR LF.
pub(super) fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 32);
    for (at, &byte) in content.iter().enumerate() {
        if byte == b'\n' && (at == 0 || content[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Memory {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message to a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Refusal::BadName`].
    pub fn add(&self, folder: &str, content: &[u8], flags: &Flags, received: u64) -> Result<u32> {
        let name = canonical(folder)?;
        let mut inside = self.inside();
        inside.make_all(&name);
        inside.shelf(&name).map(|shelf| shelf.add(content, flags, received))
    }
}

impl Stores for Memory {
    fn enter(&mut self, _: &str, alone: bool) -> Result<Box<dyn Store>> {
        let mut inside = self.inside();
        if alone && inside.taken {
            return Err(Refusal::InUse);
        }
        inside.taken |= alone;
        drop(inside);
        Ok(Box::new(Entered { memory: self.clone(), alone }))
    }
}

struct Entered {
    memory: Memory,
    alone: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.alone {
            self.memory.inside().taken = false;
        }
    }
}

impl Store for Entered {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        let inside = self.memory.inside();
        Ok(names::listed(inside.folders.keys().map(String::as_str), &inside.subscribed))
    }

    fn create(&mut self, name: &str) -> Result<()> {
        let name = canonical(name)?;
        let mut inside = self.memory.inside();
        if inside.folders.contains_key(&name) {
            return Err(Refusal::Exists);
        }
        inside.make_all(&name);
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        let name = canonical(name)?;
        if name == INBOX {
            return Err(Refusal::BadName("INBOX cannot be deleted"));
        }
        self.memory.inside().folders.remove(&name).map(drop).ok_or(Refusal::NoSuchFolder)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (canonical(from)?, canonical(to)?);
        let mut inside = self.memory.inside();
        let moves = names::moves(inside.folders.keys().map(String::as_str), &from, &to)?;
        for above in names::above(&to) {
            inside.make_all(above);
        }
        if from == INBOX {
            inside.make(&to);
            let messages = std::mem::take(&mut inside.shelf(INBOX)?.messages);
            let shelf = inside.shelf(&to)?;
            for (message, content) in messages {
                shelf.add(&content, &message.flags, message.received);
            }
            return Ok(());
        }
        for (from, to) in moves {
            if let Some(shelf) = inside.folders.remove(&from) {
                inside.folders.insert(to, shelf);
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        let name = canonical(name)?;
        let mut inside = self.memory.inside();
        match wanted {
            true => inside.subscribed.insert(name),
            false => inside.subscribed.remove(&name),
        };
        Ok(())
    }

    fn status(&mut self, name: &str) -> Result<Status> {
        let mut inside = self.memory.inside();
        let shelf = inside.shelf(name)?;
        let messages: Vec<_> = shelf.messages.iter().map(|(message, _)| message.clone()).collect();
        Ok(status_of(&messages, shelf.uid_next, shelf.uid_validity))
    }

    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>> {
        let name = canonical(name)?;
        let mut inside = self.memory.inside();
        let shelf = inside.shelf(&name)?;
        let (uid_validity, uid_next) = (shelf.uid_validity, shelf.uid_next);
        drop(inside);
        let memory = self.memory.clone();
        let recent = Vec::new();
        Ok(Box::new(Open { memory, read_only, uid_validity, uid_next, recent }))
    }

    fn append(
        &mut self,
        folder: &str,
        content: &[u8],
        flags: &Flags,
        received: Option<u64>,
    ) -> Result<(u32, u32)> {
        let mut inside = self.memory.inside();
        let shelf = inside.shelf(folder)?;
        let uid = shelf.add(content, flags, received.unwrap_or_else(now));
        Ok((shelf.uid_validity, uid))
    }
}

/// Counts of a list.
pub(super) fn status_of(messages: &[Message], uid_next: u32, uid_validity: u32) -> Status {
    let count = |is: fn(&Message) -> bool| {
        u32::try_from(messages.iter().filter(|message| is(message)).count()).unwrap_or(u32::MAX)
    };
    Status {
        messages: count(|_| true),
        recent: count(|message| message.recent),
        unseen: count(|message| !message.flags.seen),
        deleted: count(|message| message.flags.deleted),
        uid_next,
        uid_validity,
        size: messages.iter().map(|message| message.size).sum(),
    }
}

struct Open {
    memory: Memory,
    read_only: bool,
    uid_validity: u32,
    uid_next: u32,
    /// What was recent when this session saw it first.
    recent: Vec<u32>,
}

impl Open {
    /// The folder, unless it is another one by now. It may have got another name since.
    fn shelf<'a>(&self, inside: &'a mut Inside) -> Result<&'a mut Shelf> {
        let same = |shelf: &&mut Shelf| shelf.uid_validity == self.uid_validity;
        let gone = || Refusal::Broken("the mailbox was removed while it was open".to_owned());
        inside.folders.values_mut().find(same).ok_or_else(gone)
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Refusal::ReadOnly) } else { Ok(()) }
    }
}

impl Folder for Open {
    fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    fn uid_next(&self) -> u32 {
        self.uid_next
    }

    fn look(&mut self) -> Result<Vec<Message>> {
        let memory = self.memory.clone();
        let mut inside = memory.inside();
        let shelf = self.shelf(&mut inside)?;
        self.uid_next = shelf.uid_next;
        let mut all = Vec::new();
        for (message, _) in &mut shelf.messages {
            let mut seen = message.clone();
            seen.recent |= self.recent.contains(&message.uid);
            if message.recent && !self.read_only {
                message.recent = false;
                self.recent.push(message.uid);
            }
            all.push(seen);
        }
        Ok(all)
    }

    fn read(&mut self, uid: u32) -> Result<Vec<u8>> {
        self.shelf(&mut self.memory.inside())?.find(uid).map(|(_, content)| content.clone())
    }

    fn mark(&mut self, uid: u32, flags: &Flags) -> Result<()> {
        self.writable()?;
        self.shelf(&mut self.memory.inside())?.find(uid)?.0.flags = flags.clone();
        Ok(())
    }

    fn remove(&mut self, uids: &[u32]) -> Result<()> {
        self.writable()?;
        let mut inside = self.memory.inside();
        self.shelf(&mut inside)?.messages.retain(|(message, _)| !uids.contains(&message.uid));
        Ok(())
    }

    fn copy(&mut self, uids: &[u32], to: &str) -> Result<Copied> {
        let mut inside = self.memory.inside();
        let all = &self.shelf(&mut inside)?.messages;
        let chosen: Vec<_> = all.iter().filter(|(m, _)| uids.contains(&m.uid)).cloned().collect();
        let shelf = inside.shelf(to)?;
        let copy = |(message, content): (Message, Vec<u8>)| {
            (message.uid, shelf.add(&content, &message.flags, message.received))
        };
        let uids = chosen.into_iter().map(copy).collect();
        Ok(Copied { uid_validity: inside.shelf(to)?.uid_validity, uids })
    }
}
