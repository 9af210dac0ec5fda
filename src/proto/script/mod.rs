//! Dialogues that somebody wrote down: what is sent, and what has to come (`--script`).
//!
//! [`grammar`] reads a script, and [`transcript`] a record of an earlier conversation;
//! [`machine`] plays either.

pub mod grammar;
pub mod machine;
pub mod transcript;

use regex::bytes::Regex;
use std::sync::Arc;

/// A script that can be played, any number of times.
#[derive(Debug, Clone)]
pub struct Script {
    steps: Arc<[Step]>,
    /// How many loops there are.
    loops: usize,
}

impl Script {
    /// Does it start TLS on its way?
    pub fn upgrades(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.what, What::StartTls))
    }
}

/// One step, and where it stands.
#[derive(Debug)]
struct Step {
    what: What,
    /// As it was written, with its line: `line 3: expect /^EHLO/`.
    text: String,
}

#[derive(Debug)]
enum What {
    Send(Vec<Piece>),
    Expect(Regex),
    /// This line and no other, whatever ends it.
    Line(Vec<u8>),
    /// So many milliseconds.
    Sleep(u64),
    Timeout(u64),
    StartTls,
    Close,
    Reset,
    Jump(usize),
    /// The steps behind it so many times; past `end` for none.
    Enter {
        slot: usize,
        times: u64,
        end: usize,
    },
    Again {
        slot: usize,
        start: usize,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    /// A group of the last match.
    Group(usize),
}
