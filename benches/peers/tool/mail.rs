//! A mail server that takes everything, and counts lines: the limit of a mock server, and whom
//! those call who send.

use super::{Outcome, number};

use memchr::memchr;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

const DOOR: Token = Token(usize::MAX);

/// What a line of our message begins with; its number follows.
pub(crate) const MARK: &[u8] = b"line ";

/// Of a line of our message, without its end.
pub(crate) const WIDTH: usize = 76;

/// A message of about so many bytes: a header, and numbered lines.
pub(crate) fn message(bytes: u64) -> (Vec<u8>, u64) {
    let lines = bytes / (WIDTH as u64 + 2);
    let mut text = b"From: ann@example.org\r\nTo: bob@example.org\r\nSubject: much\r\n\
        Date: Sat, 28 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
        .to_vec();
    for at in 0..lines {
        text.extend_from_slice(&line(at));
        text.extend_from_slice(b"\r\n");
    }
    (text, lines)
}

fn line(at: u64) -> [u8; WIDTH] {
    let mut line = [b'm'; WIDTH];
    let text = format!("line {at:09} ");
    line[..text.len()].copy_from_slice(text.as_bytes());
    line
}

/// `PORT LINES`: refuses a message that has not exactly so many numbered lines, in order and
/// whole; 0 is for messages of other people's.
pub(crate) fn serve(args: &[&str]) -> Outcome {
    let (port, lines): (u16, u64) = (number(args, 0)?, number(args, 1)?);
    let mut door = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut door, DOOR, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut callers: BTreeMap<usize, Caller> = BTreeMap::new();
    let mut next = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let at = event.token().0;
            if event.token() == DOOR {
                while let Ok((mut stream, _)) = door.accept() {
                    stream.set_nodelay(true)?;
                    stream.write_all(b"220 here ESMTP\r\n")?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    callers.insert(next, Caller::new(stream, lines));
                    next += 1;
                }
            } else if let Some(caller) = callers.get_mut(&at)
                && !caller.go_on()
            {
                callers.remove(&at);
            }
        }
    }
}

struct Caller {
    stream: TcpStream,
    /// Read, and not yet a whole line.
    held: Vec<u8>,
    in_data: bool,
    wanted: u64,
    next: u64,
    right: bool,
}

impl Caller {
    fn new(stream: TcpStream, wanted: u64) -> Self {
        Self { stream, held: Vec::new(), in_data: false, wanted, next: 0, right: true }
    }

    /// Reads and answers; whether there will be more.
    fn go_on(&mut self) -> bool {
        loop {
            let from = self.held.len();
            self.held.resize(from + 64 * 1024, 0);
            let read = self.stream.read(&mut self.held[from..]);
            self.held.truncate(from + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
            let mut held = std::mem::take(&mut self.held);
            let mut answers = Vec::new();
            let mut at = 0;
            let mut stays = true;
            while let Some(n) = memchr(b'\n', &held[at..]) {
                let line = held[at..at + n].strip_suffix(b"\r").unwrap_or(&held[at..at + n]);
                stays &= self.hear(line, &mut answers);
                at += n + 1;
            }
            held.drain(..at);
            self.held = held;
            if self.stream.write_all(&answers).is_err() || !stays {
                return false;
            }
        }
    }

    fn hear(&mut self, line: &[u8], answers: &mut Vec<u8>) -> bool {
        if !self.in_data {
            let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
            self.in_data = verb == b"DATA";
            let answer: &[u8] = match &verb[..] {
                b"DATA" => b"354 go on\r\n",
                b"QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            answers.extend_from_slice(answer);
            return verb != b"QUIT";
        }
        if line == b"." {
            let whole = self.wanted == 0 || self.right && self.next == self.wanted;
            answers.extend_from_slice(if whole { b"250 ok\r\n" } else { b"554 lines lost\r\n" });
            (self.in_data, self.next, self.right) = (false, 0, true);
        } else if self.wanted > 0 && line.starts_with(MARK) {
            self.right &= line == self::line(self.next);
            self.next += 1;
        }
        true
    }
}
