//! Folders in memory, for the tests of the IMAP server.

use crate::proto::store::{
    Copied, Flags, Folder, INBOX, Listed, Message, Refusal, Result, Status, Store, Stores,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// The day on which everything comes: 24 November 2026, at noon.
const THE_DAY: u64 = 1_795_521_600;

#[derive(Debug, Clone, Default)]
pub(in crate::proto) struct Held {
    pub(in crate::proto) messages: Vec<(Message, Vec<u8>)>,
    pub(in crate::proto) next: u32,
}

#[derive(Default)]
pub(in crate::proto) struct Inside {
    pub(in crate::proto) folders: BTreeMap<String, Held>,
    pub(in crate::proto) subscribed: BTreeSet<String>,
    /// Nothing can be written.
    pub(in crate::proto) full: bool,
}

/// One store for everybody; a clone is the same one.
#[derive(Clone, Default)]
pub(in crate::proto) struct Practice(Arc<Mutex<Inside>>);

impl Practice {
    pub(in crate::proto) fn of<T: AsRef<[u8]>>(messages: &[T]) -> Self {
        let practice = Self::default();
        practice.inside().folders.insert(INBOX.to_owned(), Held::default());
        for message in messages {
            practice.deliver(message.as_ref());
        }
        practice
    }

    pub(in crate::proto) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Somebody else puts a message into the INBOX.
    pub(in crate::proto) fn deliver(&self, content: &[u8]) {
        let mut inside = self.inside();
        inside.folders.get_mut(INBOX).unwrap().add(content, Flags::default(), THE_DAY);
    }

    pub(in crate::proto) fn uids(&self) -> Vec<u32> {
        self.inside().folders[INBOX].messages.iter().map(|(message, _)| message.uid).collect()
    }
}

impl Held {
    fn add(&mut self, content: &[u8], flags: Flags, received: u64) -> u32 {
        self.next += 1;
        let size = content.len() as u64;
        let message = Message { uid: self.next, size, flags, received, recent: true };
        self.messages.push((message, content.to_vec()));
        self.next
    }
}

impl Stores for Practice {
    fn enter(&mut self, _: &str, _: bool) -> Result<Box<dyn Store>> {
        Ok(Box::new(self.clone()))
    }
}

impl Store for Practice {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        let inside = self.inside();
        let names: BTreeSet<&String> = inside.folders.keys().chain(&inside.subscribed).collect();
        let listed = |name: &&String| Listed {
            name: (*name).clone(),
            selectable: inside.folders.contains_key(*name),
            subscribed: inside.subscribed.contains(*name),
        };
        Ok(names.iter().map(listed).collect())
    }

    fn create(&mut self, name: &str) -> Result<()> {
        let mut inside = self.inside();
        if name.is_empty() || name.starts_with('/') || name.contains("..") {
            return Err(Refusal::BadName("it is a path"));
        }
        if inside.folders.contains_key(name) {
            return Err(Refusal::Exists);
        }
        inside.folders.insert(name.to_owned(), Held::default());
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        if name == INBOX {
            return Err(Refusal::BadName("it is always there"));
        }
        self.inside().folders.remove(name).map(drop).ok_or(Refusal::NoSuchFolder)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let mut inside = self.inside();
        if inside.folders.contains_key(to) {
            return Err(Refusal::Exists);
        }
        let held = inside.folders.remove(from).ok_or(Refusal::NoSuchFolder)?;
        inside.folders.insert(to.to_owned(), held);
        if from == INBOX {
            inside.folders.insert(INBOX.to_owned(), Held::default());
        }
        Ok(())
    }

    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        let mut inside = self.inside();
        match wanted {
            true => inside.subscribed.insert(name.to_owned()),
            false => inside.subscribed.remove(name),
        };
        Ok(())
    }

    fn status(&mut self, name: &str) -> Result<Status> {
        let inside = self.inside();
        let held = inside.folders.get(name).ok_or(Refusal::NoSuchFolder)?;
        let count = |is: fn(&Message) -> bool| {
            u32::try_from(held.messages.iter().filter(|(message, _)| is(message)).count()).unwrap()
        };
        Ok(Status {
            messages: count(|_| true),
            recent: count(|message| message.recent),
            unseen: count(|message| !message.flags.seen),
            deleted: count(|message| message.flags.deleted),
            uid_next: held.next + 1,
            uid_validity: 42,
            size: held.messages.iter().map(|(message, _)| message.size).sum(),
        })
    }

    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>> {
        if !self.inside().folders.contains_key(name) {
            return Err(Refusal::NoSuchFolder);
        }
        Ok(Box::new(Opened { practice: self.clone(), name: name.to_owned(), read_only }))
    }

    fn append(
        &mut self,
        folder: &str,
        content: &[u8],
        flags: &Flags,
        received: Option<u64>,
    ) -> Result<(u32, u32)> {
        let mut inside = self.inside();
        if inside.full {
            return Err(Refusal::Full);
        }
        let held = inside.folders.get_mut(folder).ok_or(Refusal::NoSuchFolder)?;
        Ok((42, held.add(content, flags.clone(), received.unwrap_or(THE_DAY))))
    }
}

struct Opened {
    practice: Practice,
    name: String,
    read_only: bool,
}

impl Opened {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> Result<T>) -> Result<T> {
        let mut inside = self.practice.inside();
        work(inside.folders.get_mut(&self.name).ok_or(Refusal::Broken("it is deleted".into()))?)
    }
}

impl Folder for Opened {
    fn uid_validity(&self) -> u32 {
        42
    }

    fn uid_next(&self) -> u32 {
        self.with(|held| Ok(held.next + 1)).unwrap_or(1)
    }

    fn look(&mut self) -> Result<Vec<Message>> {
        self.with(|held| Ok(held.messages.iter().map(|(message, _)| message.clone()).collect()))
    }

    fn read(&mut self, uid: u32) -> Result<Vec<u8>> {
        self.with(|held| {
            let found = held.messages.iter().find(|(message, _)| message.uid == uid);
            found.map(|(_, content)| content.clone()).ok_or(Refusal::Gone)
        })
    }

    fn mark(&mut self, uid: u32, flags: &Flags) -> Result<()> {
        assert!(!self.read_only, "nothing is marked in what is open for reading");
        self.with(|held| {
            let found = held.messages.iter_mut().find(|(message, _)| message.uid == uid);
            found.map(|(message, _)| message.flags = flags.clone()).ok_or(Refusal::Gone)
        })
    }

    fn remove(&mut self, uids: &[u32]) -> Result<()> {
        assert!(!self.read_only, "nothing is removed from what is open for reading");
        self.with(|held| {
            held.messages.retain(|(message, _)| !uids.contains(&message.uid));
            Ok(())
        })
    }

    fn copy(&mut self, uids: &[u32], to: &str) -> Result<Copied> {
        let mut inside = self.practice.inside();
        if inside.full {
            return Err(Refusal::Full);
        }
        if !inside.folders.contains_key(to) {
            return Err(Refusal::NoSuchFolder);
        }
        let there: Vec<_> = inside.folders[&self.name].messages.clone();
        let to = inside.folders.get_mut(to).unwrap();
        let chosen = there.iter().filter(|(message, _)| uids.contains(&message.uid));
        let copy = |(message, content): &(Message, Vec<u8>)| {
            (message.uid, to.add(content, message.flags.clone(), message.received))
        };
        Ok(Copied { uid_validity: 42, uids: chosen.map(copy).collect() })
    }
}
