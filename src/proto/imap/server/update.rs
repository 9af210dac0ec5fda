//! The selected mailbox, and what has changed in it (RFC 9051 §5.2, §7.4, §7.5).

use super::marks;
use super::out::Out;
use super::sets::{Numbers, Set};
use super::words::Parsed;
use crate::proto::store::{Folder, Message, Result};

/// A mailbox that is open, as the client knows it.
pub(super) struct Selected {
    pub(super) name: String,
    pub(super) folder: Box<dyn Folder>,
    pub(super) read_only: bool,
    /// In the order of their numbers. Those that are gone stay until the client may hear it.
    pub(super) messages: Vec<Message>,
    /// What the last SEARCH with SAVE found, by UID (RFC 5182).
    pub(super) saved: Numbers,
}

impl Selected {
    /// Where the messages of a set are.
    pub(super) fn pick(&self, set: &Set, by_uid: bool) -> Parsed<Vec<usize>> {
        let uid = |at: usize| self.messages[at].uid;
        let count = self.messages.len();
        match set {
            Set::Saved => Ok(self.saved.find(count, uid)),
            Set::Ranges(ranges) if by_uid => {
                let last = self.messages.last().map_or(0, |message| message.uid);
                Ok(ranges.resolve(last).find(count, uid))
            }
            Set::Ranges(ranges) => {
                let last = u32::try_from(count).unwrap_or(u32::MAX);
                if ranges.greatest() > last {
                    return Err("there is no such message");
                }
                Ok(ranges.resolve(last).find(count, number))
            }
        }
    }

    /// Looks again, and tells what is new. Numbers move only where the client may hear of it.
    pub(super) fn look(&mut self, expunges: bool, rev2: bool, out: &mut Out) -> Result<()> {
        let mut there = self.folder.look()?.into_iter().peekable();
        let known = std::mem::take(&mut self.messages);
        let last = known.last().map_or(0, |message| message.uid);
        let (mut gone, mut told, count) = (0, Vec::new(), known.len());
        for (at, old) in known.into_iter().enumerate() {
            while there.peek().is_some_and(|new| new.uid < old.uid) {
                there.next();
            }
            match there.next_if(|new| new.uid == old.uid) {
                Some(new) => {
                    if new.flags != old.flags {
                        told.push(self.messages.len());
                    }
                    // It is recent for as long as the mailbox is selected.
                    self.messages.push(Message { recent: old.recent, ..new });
                }
                None if expunges => {
                    out.text(&format!("* {} EXPUNGE\r\n", number(at - gone)));
                    gone += 1;
                }
                None => self.messages.push(old),
            }
        }
        self.messages.extend(there.filter(|new| new.uid > last));
        if self.messages.len() != count - gone {
            self.exists(rev2, out);
        }
        for at in told {
            self.tell_flags(at, false, rev2, out);
        }
        Ok(())
    }

    pub(super) fn exists(&self, rev2: bool, out: &mut Out) {
        out.text(&format!("* {} EXISTS\r\n", self.messages.len()));
        if !rev2 {
            let recent = self.messages.iter().filter(|message| message.recent).count();
            out.text(&format!("* {recent} RECENT\r\n"));
        }
    }

    pub(super) fn tell_flags(&self, at: usize, with_uid: bool, rev2: bool, out: &mut Out) {
        let message = &self.messages[at];
        let uid = if with_uid { format!("UID {} ", message.uid) } else { String::new() };
        let flags = marks::text(message, !rev2);
        out.text(&format!("* {} FETCH ({uid}FLAGS ({flags}))\r\n", number(at)));
    }
}

/// The number of the message at this place.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}
