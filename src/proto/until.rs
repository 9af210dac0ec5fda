//! A conversation that is over when the peer has said what was waited for (`--quit-on`).

use super::{Machine, Ports, ProtocolError, Step};
use regex::bytes::Regex;

/// What a match may span when it comes in pieces.
const LONGEST: usize = 4 * 1024;

/// Another machine, of which what it shows is looked at.
#[derive(Debug)]
pub struct Until<M> {
    inner: M,
    wanted: Regex,
    /// The end of what has been shown. Its first byte is context and belongs to no match: it is a
    /// line end, or the byte before what may still begin one.
    tail: Vec<u8>,
    met: bool,
}

impl<M> Until<M> {
    /// Until `wanted` matches; `^` and `$` match at the ends of lines if it says so.
    pub fn new(inner: M, wanted: Regex) -> Self {
        Self { inner, wanted, tail: b"\n".to_vec(), met: false }
    }

    /// Has it been said?
    pub fn is_met(&self) -> bool {
        self.met
    }
}

impl<M: Machine> Machine for Until<M> {
    type Event = M::Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<M::Event>, ProtocolError> {
        if self.met {
            return Ok(Step::Done);
        }
        let before = ports.to_user.bytes.len();
        let step = self.inner.step(ports)?;
        let old = self.tail.len();
        self.tail.extend_from_slice(&ports.to_user.bytes[before..]);
        if self.tail.len() == old {
            return Ok(step);
        }
        // What ends where the bytes do might grow: that it is there is enough.
        if let Some(found) = self.wanted.find_at(&self.tail, 1) {
            self.met = true;
            // The line is shown as far as it has come; of what follows nothing is.
            let end = found.end();
            let in_line = end > 1 && self.tail[end - 1] != b'\n';
            let line = memchr::memchr(b'\n', &self.tail[end..]).map(|at| end + at + 1);
            let shown = if in_line { line.unwrap_or(self.tail.len()) } else { end };
            ports.to_user.bytes.truncate(before + shown.saturating_sub(old));
            return Ok(Step::Done);
        }
        let cut = self.tail.len().saturating_sub(LONGEST + 1);
        self.tail.drain(..cut);
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::play;
    use crate::proto::text::Text;

    fn until(wanted: &str) -> Until<Text> {
        let wanted = crate::proto::script::grammar::pattern(wanted).unwrap();
        Until::new(Text::new(false), wanted)
    }

    #[test]
    fn it_is_over_where_the_match_ends_however_it_comes() {
        let said = b"220-hello\r\n220 ready\r\nmore";
        for chunk in 1..=said.len() {
            let mut machine = until(r"^220 .*\r\n");
            let played = play(&mut machine, said, b"", chunk).unwrap();
            assert!(machine.is_met(), "{chunk}");
            assert_eq!(played.to_user, b"220-hello\r\n220 ready\r\n", "{chunk}");
            let mut machine = until("^220 ");
            let shown = play(&mut machine, said, b"", chunk).unwrap().to_user;
            assert!(machine.is_met() && shown.starts_with(b"220-hello\r\n220 "), "{chunk}");
            assert!(b"220-hello\r\n220 ready\r\n".starts_with(&shown), "{chunk}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_met() {
        for chunk in 1..20 {
            let mut machine = until("^ready");
            let played = play(&mut machine, b"not ready, or so\n", b"hi", chunk).unwrap();
            assert!(!machine.is_met(), "{chunk}");
            assert_eq!(
                (&played.to_user[..], &played.to_peer[..]),
                (&b"not ready, or so\n"[..], &b"hi"[..])
            );
        }
    }

    #[test]
    fn a_cut_in_a_long_line_is_no_beginning_of_one() {
        let long = [vec![b'x'; 3 * LONGEST], b"ready".to_vec()].concat();
        for chunk in [1, 5, LONGEST, LONGEST + 1, long.len()] {
            let mut machine = until("^x*ready");
            play(&mut machine, &long, b"", chunk).unwrap();
            // As one piece it is a line's beginning; in pieces it is longer than is kept.
            assert_eq!(machine.is_met(), chunk == long.len(), "{chunk}");
            let mut machine = until("xready$");
            play(&mut machine, &long, b"", chunk).unwrap();
            assert!(machine.is_met(), "{chunk}");
        }
    }
}
