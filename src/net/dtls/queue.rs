//! Datagrams that wait.

use std::collections::VecDeque;

/// Whole datagrams, oldest first, in one piece of memory that is used again.
#[derive(Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Where in `bytes` the oldest begins.
    start: usize,
    sizes: VecDeque<usize>,
}

impl Queue {
    /// What it costs to keep: an empty datagram is not free.
    pub(super) fn weight(&self) -> usize {
        self.bytes_held() + self.sizes.len() * size_of::<usize>()
    }

    fn bytes_held(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn push(&mut self, datagram: &[u8]) {
        // Moving what is held costs no more than what was taken out since the last time.
        if self.start > self.bytes_held() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(datagram);
        self.sizes.push_back(datagram.len());
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        let size = *self.sizes.front()?;
        Some(&self.bytes[self.start..self.start + size])
    }

    pub(super) fn pop(&mut self) {
        self.start += self.sizes.pop_front().unwrap_or(0);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_what_it_got_and_stays_small() {
        let mut queue = Queue::default();
        let mut expected = VecDeque::new();
        for round in 0..5000usize {
            let datagram = vec![round.to_le_bytes()[0]; round % 97];
            queue.push(&datagram);
            expected.push_back(datagram);
            while expected.len() > round % 7 {
                assert_eq!(queue.first(), expected.pop_front().as_deref());
                queue.pop();
            }
        }
        assert!(queue.bytes.capacity() < 8192, "{}", queue.bytes.capacity());
        assert_eq!(queue.bytes_held(), expected.iter().map(Vec::len).sum::<usize>());
    }
}
