//! Plain text both ways: LF becomes CR LF on its way out (`-C`), everything else passes.

use super::{Machine, Ports, ProtocolError, Step};
use std::convert::Infallible;

/// Writes CR LF where there was LF alone; remembers a CR at the end of a chunk.
#[derive(Debug, Default, Clone)]
pub struct Crlf {
    after_cr: bool,
}

impl Crlf {
    /// Appends `bytes` to `out`. A CR LF stays as it is, and so does a CR without LF.
    pub fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            let has_cr = line.last().map_or(self.after_cr, |&b| b == b'\r');
            out.extend_from_slice(line);
            out.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = &after[1..];
        }
        out.extend_from_slice(rest);
        if let Some(&last) = rest.last() {
            self.after_cr = last == b'\r';
        }
    }
}

/// The machine of a session that is shown to a person, or whose line ends are translated.
#[derive(Debug, Default)]
pub struct Text {
    crlf: Option<Crlf>,
}

impl Text {
    /// With `crlf`, LF becomes CR LF on its way to the peer.
    pub fn new(crlf: bool) -> Self {
        Self { crlf: crlf.then(Crlf::default) }
    }
}

impl Machine for Text {
    type Event = Infallible;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Infallible>, ProtocolError> {
        let n = ports.peer.rest().len().min(ports.to_user.room());
        ports.to_user.push(ports.peer.eat(n));
        if ports.peer.is_over() {
            ports.to_user.end();
        }
        let n = ports.user.rest().len().min(ports.to_peer.room());
        let bytes = ports.user.eat(n);
        match &mut self.crlf {
            Some(crlf) => ports.to_peer.with(|out| crlf.encode(bytes, out)),
            None => ports.to_peer.push(bytes),
        }
        if ports.user.is_over() {
            ports.to_peer.end();
        }
        Ok(Step::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::play;

    #[test]
    fn only_a_lone_lf_is_translated_however_it_is_cut() {
        let user = b"a\nb\r\nc\r\rd\n\n\r\n";
        for chunk in 1..=user.len() {
            let played = play(&mut Text::new(true), b"x\ny\r\n", user, chunk).unwrap();
            assert_eq!(played.to_peer, b"a\r\nb\r\nc\r\rd\r\n\r\n\r\n", "{chunk}");
            assert_eq!(played.to_user, b"x\ny\r\n");
            assert!(played.to_peer_ended && played.to_user_ended);
        }
    }

    #[test]
    fn without_crlf_every_byte_passes() {
        let all: Vec<u8> = (0..=255).chain(0..=255).collect();
        for chunk in [1, 7, 512] {
            let played = play(&mut Text::new(false), &all, &all, chunk).unwrap();
            assert!(played.to_peer == all && played.to_user == all);
        }
    }
}
