//! One caller in the room: how it stands, and what it has still to be sent.

use super::QUEUE;
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Moved};
use crate::proto::chat::Lines;
use crate::proto::telnet::Telnet;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

/// So much memory stays with a member that has been behind, in bytes.
const KEPT: usize = 4 * 1024;

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// TLS is being set up.
    Handshaking { until: Instant },
    /// It hears and is heard.
    Talking,
    /// It is over, but for what it has not read yet.
    Parting { until: Instant },
}

pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) stage: Stage,
    pub(super) queue: Vec<u8>,
    pub(super) sent: usize,
    /// When it last took something, or had nothing to take.
    pub(super) took: Instant,
    /// It is to be told the end of ours, once it has everything.
    pub(super) told: bool,
    /// It has been told.
    pub(super) closed: bool,
    /// Its own stream has ended.
    pub(super) ended: bool,
    /// Nothing can be sent to it any more, and why; what it said is still heard.
    pub(super) deaf: Option<io::Error>,
    pub(super) queued: bool,
    /// Datagrams that did not come through its own socket.
    pub(super) early: VecDeque<Vec<u8>>,
    /// Its side of telnet, if that is spoken.
    telnet: Option<Telnet>,
    /// Its number in a chat, and its words so far.
    pub(super) lines: Lines,
    pub(super) user: u32,
    /// Where it calls from.
    pub(super) address: String,
    /// When it was last heard of: a caller without a connection never says that it leaves.
    pub(super) heard: Instant,
}

impl Member {
    pub(super) fn new(
        endpoint: Endpoint,
        stage: Stage,
        address: String,
        telnet: bool,
        now: Instant,
    ) -> Self {
        Self {
            endpoint,
            stage,
            queue: Vec::new(),
            sent: 0,
            took: now,
            told: false,
            closed: false,
            ended: false,
            deaf: None,
            queued: false,
            early: VecDeque::new(),
            telnet: telnet.then(|| Telnet::new(false)),
            lines: Lines::new(0),
            user: 0,
            address,
            heard: now,
        }
    }

    /// Leaves in `heard`, which this member has said, its text; its commands are answered.
    pub(super) fn take_out_telnet(&mut self, heard: &mut Buf, now: Instant) {
        let Some(telnet) = &mut self.telnet else { return };
        let mut text = Vec::with_capacity(heard.bytes().len());
        // Whoever asks for more answers than this without reading one waits for them.
        let room = QUEUE.saturating_sub(self.queue.len());
        let mut unsaid = Vec::new();
        // After the end of our stream nothing is answered.
        let answers = if self.told || self.closed { &mut unsaid } else { &mut self.queue };
        telnet.filter(heard.bytes(), &mut text, answers, room);
        let n = heard.bytes().len();
        heard.consume(n);
        heard.append(&text);
        self.flush(now);
    }

    pub(super) fn pending(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Sends what it takes. True if it took something. A failure is noted in `deaf`.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        let mut any = false;
        // More than a datagram holds would be refused as a whole, and lost.
        let most = self.endpoint.datagrams().unwrap_or(usize::MAX);
        while self.pending() > 0 && self.endpoint.can_write() {
            let piece = &self.queue[self.sent..];
            let written = self.endpoint.write(&piece[..piece.len().min(most)]);
            let written = written.and_then(|moved| self.endpoint.turn().map(|_| moved));
            match written {
                Ok(Moved::Bytes(n)) => {
                    self.sent += n;
                    self.took = now;
                    any = true;
                }
                Ok(Moved::Blocked | Moved::Eof) => {}
                Err(e) => {
                    self.deaf = Some(e);
                    self.sent = self.queue.len();
                }
            }
        }
        if self.pending() == 0 {
            self.queue.clear();
            // There may be thousands, and most are never behind again.
            self.queue.shrink_to(KEPT);
            self.sent = 0;
        } else if self.sent >= QUEUE {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        any
    }
}
