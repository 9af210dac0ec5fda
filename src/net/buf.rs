//! A byte queue of fixed capacity. Full means "stop reading": that is all the flow control.

/// The first memory of a queue: a short session touches no more than a page of it.
const FIRST: usize = 4 * 1024;

/// A queue of bytes: filled at its end, consumed from its front. It takes memory as it is used.
pub struct Buf {
    /// As much memory as has been needed so far, and never more than `capacity`.
    store: Vec<u8>,
    capacity: usize,
    start: usize,
    end: usize,
    /// All of the space that there was has been used: there may be more to come than that.
    is_tight: bool,
}

impl Buf {
    /// An empty queue that holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { store: Vec::new(), capacity, start: 0, end: 0, is_tight: true }
    }

    /// Does it hold nothing?
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Can it take no more?
    pub fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// How many bytes more it can take.
    pub fn free(&self) -> usize {
        self.capacity - (self.end - self.start)
    }

    /// What it holds, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.store[self.start..self.end]
    }

    /// Where new bytes may be put; say how many with [`Buf::filled`]. It is more where more was
    /// used before, up to the capacity.
    pub fn space(&mut self) -> &mut [u8] {
        if self.is_tight && self.store.len() < self.capacity {
            let more = (self.store.len() * 8).max(FIRST);
            self.grow(more.min(self.capacity));
        }
        if self.end == self.store.len() {
            self.compact();
        }
        &mut self.store[self.end..]
    }

    /// All that there is of space is behind what is held.
    fn compact(&mut self) {
        if self.start > 0 {
            self.store.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// The same, and all that there may be: a datagram comes in one piece, or its end is lost.
    pub fn whole_space(&mut self) -> &mut [u8] {
        self.grow(self.capacity);
        self.compact();
        self.space()
    }

    fn grow(&mut self, size: usize) {
        if size <= self.store.len() {
            return;
        }
        // Fresh memory is zero already, and what of it is not used costs nothing.
        let mut store = vec![0; size];
        let held = self.end - self.start;
        store[..held].copy_from_slice(self.bytes());
        (self.store, self.start, self.end, self.is_tight) = (store, 0, held, false);
    }

    /// The first `n` bytes of [`Buf::space`] are now ours.
    pub fn filled(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.store.len());
        self.end += n;
        self.is_tight = self.end == self.store.len();
    }

    /// Gives its memory back, if it is empty and was never much used: of those who say nothing
    /// there may be thousands.
    pub fn rest(&mut self) {
        if self.is_empty() && self.store.len() <= FIRST {
            (self.store, self.is_tight) = (Vec::new(), true);
        }
    }

    /// The oldest `n` bytes have been dealt with.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start);
        self.start += n;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Appends as much of `bytes` as fits and says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let wanted = (self.end - self.start + bytes.len()).min(self.capacity);
        self.grow(wanted);
        let space = self.space();
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        self.filled(n);
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came_however_it_wraps() {
        let mut buf = Buf::new(7);
        let (mut next, mut expected) = (0u8, 0u8);
        for round in 0..200usize {
            while !buf.is_full() && (round % 5 != 0 || buf.is_empty()) {
                assert_eq!(buf.append(&[next]), 1);
                next = next.wrapping_add(1);
            }
            for _ in 0..round % 4 {
                if let [first, ..] = *buf.bytes() {
                    assert_eq!(first, expected);
                    expected = expected.wrapping_add(1);
                    buf.consume(1);
                }
            }
        }
        assert!(buf.bytes().len() <= 7);
    }

    #[test]
    fn space_grows_as_it_is_used_and_no_further() {
        let mut buf = Buf::new(64 * 1024);
        assert_eq!(buf.space().len(), FIRST);
        buf.filled(100);
        buf.consume(100);
        assert_eq!(buf.space().len(), FIRST);
        for size in [FIRST, 8 * FIRST, 16 * FIRST, 16 * FIRST] {
            let space = buf.space();
            assert_eq!(space.len(), size);
            space.fill(7);
            buf.filled(size);
            buf.consume(size);
        }
        let mut buf = Buf::new(64 * 1024);
        assert_eq!(buf.append(&vec![7; 10_000]), 10_000);
        buf.consume(9_999);
        assert_eq!(buf.whole_space().len(), 64 * 1024 - 1);
        assert_eq!(buf.bytes(), [7]);
    }

    #[test]
    fn append_takes_what_fits() {
        let mut buf = Buf::new(4);
        assert_eq!(buf.append(b"abcdef"), 4);
        assert!(buf.is_full());
        buf.consume(3);
        assert_eq!(buf.append(b"xyz"), 3);
        assert_eq!(buf.bytes(), b"dxyz");
    }
}
