//! Protocol machines: bytes in, bytes and events out. No sockets, no files, no clock.
//!
//! A [`Machine`] eats from the front of its two inward ports and appends to its two outward ones;
//! the dialogue that drives it owns the buffers. What a machine leaves on a port belongs to the
//! next stage. A machine must not care how its input is cut: every test plays its script in
//! chunks of every size.

pub mod chat;
pub mod content;
pub mod dns;
pub mod envelope;
pub mod fault;
pub mod http;
pub mod imap;
pub mod mbox;
pub mod numbers;
pub mod pop3;
pub mod proxied;
pub mod reply;
pub mod sasl;
pub mod script;
pub mod services;
pub mod serving;
pub mod session;
pub mod smtp;
pub mod socks;
pub mod starttls;
pub mod store;
pub mod telnet;
pub mod text;
#[cfg(test)]
mod transcripts;
pub mod until;
pub mod words;

use std::fmt;

/// Bytes from one side that no machine has eaten yet.
pub struct Input<'a> {
    bytes: &'a [u8],
    eaten: usize,
    /// Nothing will follow what is here.
    pub eof: bool,
}

impl<'a> Input<'a> {
    /// What has come, and whether it is all.
    pub fn new(bytes: &'a [u8], eof: bool) -> Self {
        Self { bytes, eaten: 0, eof }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.eaten..]
    }

    /// Takes the first `n` bytes of what is left.
    pub fn eat(&mut self, n: usize) -> &'a [u8] {
        let taken = &self.rest()[..n];
        self.eaten += n;
        taken
    }

    /// How much has been taken.
    pub fn eaten(&self) -> usize {
        self.eaten
    }

    /// Is it over, with nothing left?
    pub fn is_over(&self) -> bool {
        self.eof && self.rest().is_empty()
    }

    /// One line with its LF, or `None` until that arrives; the partial line stays.
    pub fn line(&mut self) -> Option<&'a [u8]> {
        let at = memchr::memchr(b'\n', self.rest())?;
        Some(self.eat(at + 1))
    }
}

/// Bytes on their way to one side.
pub struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
    ended: &'a mut bool,
}

impl<'a> Output<'a> {
    /// Appends to `bytes`, about `room` more of them; `ended` notes that nothing follows.
    pub fn new(bytes: &'a mut Vec<u8>, room: usize, ended: &'a mut bool) -> Self {
        Self { bytes, room, ended }
    }

    /// How much may be appended before the other side should be left to catch up. Bulk data
    /// keeps to it; a line or two over it does no harm.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Has the side taken everything?
    pub fn is_clear(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.room = self.room.saturating_sub(bytes.len());
    }

    /// Lets `write` append, and counts it.
    pub fn with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(self.bytes);
        self.room = self.room.saturating_sub(self.bytes.len() - before);
    }

    /// Nothing will follow: the side may be told.
    pub fn end(&mut self) {
        *self.ended = true;
    }
}

/// What a machine may touch: four byte streams, two of them inward.
pub struct Ports<'a> {
    /// Bytes from the other end of the network.
    pub peer: Input<'a>,
    /// Bytes to it.
    pub to_peer: Output<'a>,
    /// Bytes from the person or program at this end.
    pub user: Input<'a>,
    /// Bytes to it.
    pub to_user: Output<'a>,
}

/// What a machine says after each step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Nothing more to do until an inward port has news, or an outward one room.
    Wait,
    /// Something that the mode should know or act on.
    Event(E),
    /// What has been said so far is plain; from here on, TLS.
    StartTls,
    /// The machine has finished; what is left on the ports belongs to whoever is next.
    Done,
}

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// The peer speaks something else, or badly.
    Malformed {
        /// What should have come.
        expected: &'static str,
        /// What came: raw bytes, to be escaped before they are shown.
        got: Vec<u8>,
    },
    /// The peer understood and said no.
    Refused {
        /// What we asked for.
        what: &'static str,
        /// The reply code.
        code: u16,
        /// The reply's text: raw bytes, to be escaped before they are shown.
        text: Vec<u8>,
    },
    /// The same in a protocol without numbers.
    Declined {
        /// What we asked for.
        what: &'static str,
        /// It may be granted later.
        later: bool,
        /// The peer's line: raw bytes, to be escaped before they are shown.
        text: Vec<u8>,
    },
    /// The peer does not log us in as it should, so we do not go on.
    Distrusted {
        /// Half a sentence about it.
        why: String,
    },
    /// The peer does not offer what has to be.
    Missing {
        /// What, and what it is needed for.
        what: &'static str,
    },
    /// The peer hung up in the middle of something.
    Cut {
        /// What we were waiting for.
        waiting_for: &'static str,
    },
    /// The peer hung up when it had the whole message, and had not said what becomes of it.
    InDoubt,
    /// Our own input ended in the middle of something.
    Unfinished {
        /// What was not finished.
        what: &'static str,
    },
    /// A script expected something that has not come.
    Unmet {
        /// The step, as it was written, with its place.
        step: String,
        /// What came and was not expected by then: raw bytes, to be escaped before they are shown.
        came: Vec<u8>,
        /// Why it is not waited for any longer.
        why: &'static str,
    },
}

impl ProtocolError {
    /// Something else came than was expected: the beginning of it is kept.
    fn malformed(expected: &'static str, got: &[u8]) -> Self {
        Self::Malformed { expected, got: got[..got.len().min(80)].to_vec() }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { expected, got } => {
                write!(f, "expected {expected}, got \"{}\"", got.escape_ascii())
            }
            Self::Refused { what, code, text } => {
                write!(f, "{what} was refused: {code} {}", text.escape_ascii())
            }
            Self::Declined { what, text, .. } => {
                write!(f, "{what} was refused: {}", text.escape_ascii())
            }
            Self::Distrusted { why } => write!(f, "the login was called off: {why}"),
            Self::Missing { what } => write!(f, "the server does not offer {what}"),
            Self::Cut { waiting_for } => write!(f, "the server hung up before {waiting_for}"),
            Self::InDoubt => {
                f.write_str("the server hung up behind the message: nobody knows if it took it")
            }
            Self::Unfinished { what } => write!(f, "the input ended in the middle of {what}"),
            Self::Unmet { step, came, why } => {
                write!(f, "{step}: {why}; came \"{}\"", came.escape_ascii())
            }
        }
    }
}

/// A protocol, as a state machine without I/O.
pub trait Machine {
    /// What the mode is told on the way.
    type Event;

    /// Does one thing, if there is one to do.
    ///
    /// # Errors
    /// Why the conversation cannot go on.
    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Self::Event>, ProtocolError>;
}

impl<E> Machine for Box<dyn Machine<Event = E>> {
    type Event = E;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<E>, ProtocolError> {
        (**self).step(ports)
    }
}

#[cfg(test)]
pub(crate) mod play {
    use super::*;

    /// Everything a machine did with a script.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct Played<E> {
        pub(crate) events: Vec<E>,
        pub(crate) to_peer: Vec<u8>,
        pub(crate) to_user: Vec<u8>,
        pub(crate) peer_left: Vec<u8>,
        pub(crate) user_left: Vec<u8>,
        pub(crate) to_peer_ended: bool,
        pub(crate) to_user_ended: bool,
    }

    /// Plays what each side says, `chunk` bytes at a time, the peer first, then its end.
    pub(crate) fn play<M: Machine>(
        machine: &mut M,
        peer: &[u8],
        user: &[u8],
        chunk: usize,
    ) -> Result<Played<M::Event>, (ProtocolError, Vec<u8>)> {
        let mut p = Played {
            events: vec![],
            to_peer: vec![],
            to_user: vec![],
            peer_left: vec![],
            user_left: vec![],
            to_peer_ended: false,
            to_user_ended: false,
        };
        let (mut peer, mut user) = (peer.chunks(chunk), user.chunks(chunk));
        let (mut peer_eof, mut user_eof) = (false, false);
        loop {
            let mut ports = Ports {
                peer: Input::new(&p.peer_left, peer_eof),
                to_peer: Output::new(&mut p.to_peer, chunk, &mut p.to_peer_ended),
                user: Input::new(&p.user_left, user_eof),
                to_user: Output::new(&mut p.to_user, chunk, &mut p.to_user_ended),
            };
            let step = machine.step(&mut ports);
            let (from_peer, from_user) = (ports.peer.eaten(), ports.user.eaten());
            p.peer_left.drain(..from_peer);
            p.user_left.drain(..from_user);
            match step.map_err(|e| (e, p.to_user.clone()))? {
                Step::Event(e) => p.events.push(e),
                Step::Done | Step::StartTls => {
                    p.peer_left.extend(peer.flatten());
                    p.user_left.extend(user.flatten());
                    return Ok(p);
                }
                Step::Wait if from_peer + from_user > 0 => {}
                Step::Wait => {
                    if let Some(bytes) = peer.next() {
                        p.peer_left.extend_from_slice(bytes);
                    } else if let Some(bytes) = user.next() {
                        p.user_left.extend_from_slice(bytes);
                    } else if !user_eof {
                        user_eof = true;
                    } else if !peer_eof {
                        peer_eof = true;
                    } else {
                        return Ok(p);
                    }
                }
            }
        }
    }
}
