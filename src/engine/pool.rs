//! Many independent conversations on one loop.

use super::reactor::Address;
use super::{Conversation, Status, Trouble};
use mio::Registry;
use mio::event::Event;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

struct Slot<C> {
    talk: C,
    queued: bool,
    /// The earliest entry in the heap that is about it.
    due: Option<Instant>,
}

/// Conversations that know nothing of each other.
pub struct Pool<C> {
    slots: Slab<Slot<C>>,
    awake: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The token key of slot 0.
    first_key: usize,
}

/// A conversation that is over.
pub struct Ended<C> {
    /// The key it had.
    pub key: usize,
    /// What is left of it.
    pub talk: C,
    /// How it ended.
    pub how: Result<(), Trouble>,
}

impl<C: Conversation> Pool<C> {
    /// An empty pool; conversation `n` gets the token key `first_key + n`.
    pub fn new(first_key: usize) -> Self {
        Self { slots: Slab::new(), awake: VecDeque::new(), timers: BinaryHeap::new(), first_key }
    }

    /// Takes a conversation in; it is driven with the next [`Pool::drive`].
    pub fn join(&mut self, talk: C) -> usize {
        let key = self.slots.insert(Slot { talk, queued: true, due: None });
        self.awake.push_back(key);
        key
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// One of them.
    pub fn get(&mut self, key: usize) -> Option<&mut C> {
        self.slots.get_mut(key).map(|slot| &mut slot.talk)
    }

    /// Something has happened to a descriptor of one of them.
    pub fn mark(&mut self, at: Address, event: &Event) {
        let Some(key) = at.key.checked_sub(self.first_key) else { return };
        // An event may outlive its conversation by one round: then nobody is there.
        if let Some(slot) = self.slots.get_mut(key) {
            slot.talk.mark(at.side, event);
            self.wake(key);
        }
    }

    /// Drive this one in the next round.
    pub fn wake(&mut self, key: usize) {
        if let Some(slot) = self.slots.get_mut(key)
            && !std::mem::replace(&mut slot.queued, true)
        {
            self.awake.push_back(key);
        }
    }

    /// Gives each that is awake its turn. Returns those that are over, and whether some want to
    /// be driven again without waiting.
    pub fn drive(&mut self, now: Instant, registry: &Registry) -> (Vec<Ended<C>>, bool) {
        while let Some(Reverse((when, key))) = self.timers.peek().copied()
            && when <= now
        {
            self.timers.pop();
            if let Some(slot) = self.slots.get_mut(key) {
                slot.due = None;
            }
            self.wake(key);
        }
        let mut over = Vec::new();
        for _ in 0..self.awake.len() {
            let Some(key) = self.awake.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.queued = false;
            // First the turn, then the tokens: a turn may bring descriptors of its own, and what
            // they have to say comes as an event.
            let driven = slot.talk.drive(now);
            let registered = slot.talk.register(registry, self.first_key + key);
            let how = match (driven, registered) {
                (Ok(Status::Waiting), Ok(())) => {
                    self.set_timer(key);
                    continue;
                }
                (Ok(Status::Runnable), Ok(())) => {
                    self.wake(key);
                    continue;
                }
                (Ok(Status::Finished), _) => Ok(()),
                (Err(trouble), _) => Err(trouble),
                (Ok(Status::Waiting | Status::Runnable), Err(e)) => Err(Trouble::Peer(e)),
            };
            let talk = self.slots.remove(key).talk;
            over.push(Ended { key, talk, how });
        }
        (over, !self.awake.is_empty())
    }

    fn set_timer(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some(when) = slot.talk.deadline()
            && slot.due.is_none_or(|due| when < due)
        {
            slot.due = Some(when);
            self.timers.push(Reverse((when, key)));
        }
    }

    /// When [`Pool::drive`] wants to be called although nothing has happened. An early call is
    /// harmless, so nothing is ever cancelled.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((when, _))| *when)
    }

    /// Everybody who is here.
    pub fn each(&mut self) -> impl Iterator<Item = &mut C> {
        self.slots.iter_mut().map(|(_, slot)| &mut slot.talk)
    }
}
