//! The bytes that are moved: they repeat, but at a length that no buffer has.

/// A prime: blocks that are lost, doubled or swapped shift everything behind them.
const PERIOD: usize = 65_521;

/// The most that is written or compared at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// An endless stream, of which any part can be looked at.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// Makes it.
    pub(crate) fn new() -> Self {
        // xorshift: noise that is the same everywhere.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut bytes: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        while bytes.len() < PERIOD + CHUNK {
            bytes.extend_from_within(..PERIOD);
        }
        Self { bytes }
    }

    /// What comes at `offset`: `most` bytes, or fewer when that is more than a chunk.
    pub(crate) fn from(&self, offset: u64, most: u64) -> &[u8] {
        let at = (offset % PERIOD as u64) as usize;
        let n = usize::try_from(most).unwrap_or(CHUNK).min(CHUNK);
        &self.bytes[at..at + n]
    }

    /// Compares all of `got`, at most a chunk, with what comes at `offset`.
    pub(crate) fn is(&self, offset: u64, got: &[u8]) -> bool {
        self.from(offset, got.len() as u64) == got
    }

    /// Compares both ends of `got` alone: enough to see a stream that has slipped, and too little
    /// to be seen in the time.
    pub(crate) fn looks_like(&self, offset: u64, got: &[u8]) -> bool {
        const END: usize = 64;
        let n = got.len().min(END);
        let tail = got.len() - n;
        self.is(offset, &got[..n]) && self.is(offset + tail as u64, &got[tail..])
    }
}
