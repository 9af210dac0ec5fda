//! A byte queue of fixed capacity. Full means "stop reading": that is all the flow control.

/// A queue of bytes: filled at its end, consumed from its front.
pub struct Buf {
    store: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buf {
    /// An empty queue that holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { store: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Does it hold nothing?
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Can it take no more?
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.store.len()
    }

    /// What it holds, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.store[self.start..self.end]
    }

    /// Where new bytes may be put; say how many with [`Buf::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.store.len() && self.start > 0 {
            self.store.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.store[self.end..]
    }

    /// The first `n` bytes of [`Buf::space`] are now ours.
    pub fn filled(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.store.len());
        self.end += n;
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
    fn append_takes_what_fits() {
        let mut buf = Buf::new(4);
        assert_eq!(buf.append(b"abcdef"), 4);
        assert!(buf.is_full());
        buf.consume(3);
        assert_eq!(buf.append(b"xyz"), 3);
        assert_eq!(buf.bytes(), b"dxyz");
    }
}
