//! The members of a broker's room.

use super::callers::{in_step, open, print};
use super::{Outcome, number};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Of a message.
const SIZE: usize = 100;

/// No turn takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Member {
    stream: TcpStream,
    bytes: u64,
    /// Of all bytes: messages may be glued or cut, but nothing may be missing or twice.
    sum: u64,
}

struct Room {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    buf: Vec<u8>,
}

/// `PORT PID MEMBERS SENDERS N`: in each turn every sender says a message, and the turn ends when
/// everybody else has it; N messages in all. Prints messages a second, and N.
pub(crate) fn talk(args: &[&str]) -> Outcome {
    let (port, pid): (u16, u32) = (number(args, 0)?, number(args, 1)?);
    let (members, senders, n): (usize, usize, usize) =
        (number(args, 2)?, number(args, 3)?, number(args, 4)?);
    let mut room = Room::enter(port, pid, members)?;
    room.wait_until_all_are_in()?;

    let turns = (n / senders).max(1);
    let each_turn = (senders * (members - 1) * SIZE) as u64;
    let (mut heard, mut said) = (0, 0);
    let mut own = vec![0; members];
    let began = Instant::now();
    for turn in 0..turns {
        for (sender, own) in own.iter_mut().enumerate().take(senders) {
            let message = message(sender, turn);
            let sum: u64 = message.iter().map(|byte| u64::from(*byte)).sum();
            said += sum;
            *own += sum;
            room.members[sender].stream.write_all(&message)?;
        }
        let wanted = each_turn * (turn as u64 + 1);
        let deadline = Instant::now() + PATIENCE;
        while heard < wanted {
            heard += room.listen(Duration::from_secs(1))?;
            if Instant::now() > deadline {
                return Err(format!("{heard} of {wanted} bytes have arrived").into());
            }
        }
    }
    let rate = (turns * senders) as f64 / began.elapsed().as_secs_f64();
    for (at, member) in room.members.iter().enumerate() {
        let others = if at < senders { senders - 1 } else { senders };
        let right = member.bytes == (turns * others * SIZE) as u64 && member.sum == said - own[at];
        if !right {
            return Err(format!("member {at} has not heard what was said").into());
        }
    }
    print(rate, turns * senders)
}

fn message(sender: usize, turn: usize) -> [u8; SIZE] {
    let mut message = [b'.'; SIZE];
    let text = format!("member {sender} says {turn} ");
    message[..text.len()].copy_from_slice(text.as_bytes());
    message[SIZE - 1] = b'\n';
    message
}

impl Room {
    fn enter(port: u16, pid: u32, members: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let poll = Poll::new()?;
        let before = open(pid)?;
        let mut all = Vec::with_capacity(members);
        for at in 0..members {
            let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let stream = std::net::TcpStream::connect_timeout(&broker, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            all.push(Member { stream, bytes: 0, sum: 0 });
            in_step(pid, before, all.len(), members)?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            members: all,
            buf: vec![0; 64 * 1024],
        })
    }

    /// The last of us is taken in last. Whether it is shows when it hears the first one.
    fn wait_until_all_are_in(&mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let last = self.members.len() - 1;
        let mut next = Instant::now();
        while self.members[last].bytes == 0 {
            let now = Instant::now();
            if now > deadline {
                return Err("not everybody is let in".into());
            }
            // Not more than can be heard: what waits for members would count as memory.
            if now >= next {
                self.members[0].stream.write_all(&message(0, 0))?;
                next = now + Duration::from_millis(100);
            }
            self.listen(Duration::from_millis(100))?;
        }
        // What was said meanwhile was heard by some: it does not count.
        while self.listen(Duration::from_millis(200))? > 0 {}
        for member in &mut self.members {
            (member.bytes, member.sum) = (0, 0);
        }
        Ok(())
    }

    /// Reads what there is; how many bytes.
    fn listen(&mut self, patience: Duration) -> Result<u64, Box<dyn std::error::Error>> {
        self.poll.poll(&mut self.events, Some(patience))?;
        let mut heard = 0;
        for event in &self.events {
            let at = event.token().0;
            let member = &mut self.members[at];
            loop {
                match member.stream.read(&mut self.buf) {
                    Ok(0) => return Err(format!("member {at} was thrown out").into()),
                    Ok(n) => {
                        heard += n as u64;
                        member.bytes += n as u64;
                        member.sum += self.buf[..n].iter().map(|b| u64::from(*b)).sum::<u64>();
                        // Fewer than asked for: there are no more.
                        if n < self.buf.len() {
                            break;
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(heard)
    }
}
