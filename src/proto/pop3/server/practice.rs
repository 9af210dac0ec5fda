//! A maildrop in memory, for the tests of servers.

use crate::proto::store::{
    Copied, Flags, Folder, Listed, Message, Refusal, Result, Status, Store, Stores,
};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub(in crate::proto) struct Inside {
    /// UID and content of each.
    pub(in crate::proto) messages: Vec<(u32, Vec<u8>)>,
    /// Somebody is in, and wants to be alone.
    pub(in crate::proto) taken: bool,
    /// Who has entered.
    pub(in crate::proto) entered: Vec<String>,
    /// What is said to whoever enters, reads or removes.
    pub(in crate::proto) at_enter: Option<Refusal>,
    pub(in crate::proto) at_read: Option<Refusal>,
    pub(in crate::proto) at_remove: Option<Refusal>,
}

/// One maildrop for everybody; a clone is the same one.
#[derive(Clone, Default)]
pub(in crate::proto) struct Practice(Arc<Mutex<Inside>>);

impl Practice {
    pub(in crate::proto) fn of<T: AsRef<[u8]>>(messages: &[T]) -> Self {
        let practice = Self::default();
        let messages = messages.iter().map(|m| m.as_ref().to_vec());
        practice.inside().messages = (1..).zip(messages).collect();
        practice
    }

    pub(in crate::proto) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    pub(in crate::proto) fn uids(&self) -> Vec<u32> {
        self.inside().messages.iter().map(|(uid, _)| *uid).collect()
    }
}

impl Stores for Practice {
    fn enter(&mut self, user: &str, alone: bool) -> Result<Box<dyn Store>> {
        let mut inside = self.inside();
        if let Some(refusal) = &inside.at_enter {
            return Err(refusal.clone());
        }
        if alone && inside.taken {
            return Err(Refusal::InUse);
        }
        inside.taken |= alone;
        inside.entered.push(user.to_owned());
        Ok(Box::new(Entered { practice: self.clone(), alone }))
    }
}

struct Entered {
    practice: Practice,
    alone: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.alone {
            self.practice.inside().taken = false;
        }
    }
}

fn nothing<T>() -> Result<T> {
    Err(Refusal::Broken("POP3 asks for no such thing".into()))
}

impl Store for Entered {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        nothing()
    }

    fn create(&mut self, _: &str) -> Result<()> {
        nothing()
    }

    fn delete(&mut self, _: &str) -> Result<()> {
        nothing()
    }

    fn rename(&mut self, _: &str, _: &str) -> Result<()> {
        nothing()
    }

    fn subscribe(&mut self, _: &str, _: bool) -> Result<()> {
        nothing()
    }

    fn status(&mut self, _: &str) -> Result<Status> {
        nothing()
    }

    fn open(&mut self, name: &str, _: bool) -> Result<Box<dyn Folder>> {
        assert_eq!(name, "INBOX");
        Ok(Box::new(self.practice.clone()))
    }

    fn append(&mut self, _: &str, _: &[u8], _: &Flags, _: Option<u64>) -> Result<(u32, u32)> {
        nothing()
    }
}

impl Folder for Practice {
    fn uid_validity(&self) -> u32 {
        0x2a
    }

    fn uid_next(&self) -> u32 {
        self.uids().last().map_or(1, |last| last + 1)
    }

    fn look(&mut self) -> Result<Vec<Message>> {
        let message = |(uid, content): &(u32, Vec<u8>)| Message {
            uid: *uid,
            size: content.len() as u64,
            flags: Flags::default(),
            received: 0,
            recent: true,
        };
        Ok(self.inside().messages.iter().map(message).collect())
    }

    fn read(&mut self, uid: u32) -> Result<Vec<u8>> {
        let inside = self.inside();
        if let Some(refusal) = &inside.at_read {
            return Err(refusal.clone());
        }
        let message = inside.messages.iter().find(|(there, _)| *there == uid);
        message.map(|(_, content)| content.clone()).ok_or(Refusal::Gone)
    }

    fn mark(&mut self, _: u32, _: &Flags) -> Result<()> {
        nothing()
    }

    fn remove(&mut self, uids: &[u32]) -> Result<()> {
        let mut inside = self.inside();
        if let Some(refusal) = &inside.at_remove {
            return Err(refusal.clone());
        }
        inside.messages.retain(|(uid, _)| !uids.contains(uid));
        Ok(())
    }

    fn copy(&mut self, _: &[u32], _: &str) -> Result<Copied> {
        nothing()
    }
}
