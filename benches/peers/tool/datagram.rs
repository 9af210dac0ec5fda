//! Both ends of a stream of datagrams: the size is fixed, and each has its number in it.

use super::pattern::Pattern;
use super::{Outcome, number};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::{stdin, stdout};
use std::io::Write;
use std::time::Instant;

/// What fits a frame of Ethernet, with room for tunnels.
pub(crate) const SIZE: usize = 1400;

/// A datagram is its number and then a part of the pattern.
const HEAD: usize = 8;

/// `COUNT`: writes so many on standard output, one a write.
pub(crate) fn write(args: &[&str]) -> Outcome {
    let count: u64 = number(args, 0)?;
    let pattern = Pattern::new();
    let mut datagram = [0; SIZE];
    for at in 0..count {
        datagram[..HEAD].copy_from_slice(&at.to_le_bytes());
        datagram[HEAD..].copy_from_slice(body(&pattern, at));
        let n = rustix::io::write(stdout(), &datagram)?;
        if n != SIZE {
            return Err(format!("only {n} bytes of a datagram went into the pipe").into());
        }
    }
    Ok(())
}

/// `COUNT`: reads them from standard input, until all are here or none comes any more, and prints
/// how many came in how many nanoseconds.
pub(crate) fn read(args: &[&str]) -> Outcome {
    let count: u64 = number(args, 0)?;
    let pattern = Pattern::new();
    let mut buf = vec![0; 64 * SIZE];
    let (mut held, mut got, mut next) = (0, 0, 0);
    let mut times: Option<(Instant, Instant)> = None;
    while got < count && something_comes(times.is_some())? {
        let n = rustix::io::read(stdin(), &mut buf[held..])?;
        if n == 0 {
            break;
        }
        let now = Instant::now();
        times = Some((times.map_or(now, |(first, _)| first), now));
        held += n;
        let whole = held - held % SIZE;
        for datagram in buf[..whole].chunks(SIZE) {
            let (head, rest) = datagram.split_at(HEAD);
            let at = head.iter().rev().fold(0, |at, byte| at << 8 | u64::from(*byte));
            if at < next || at >= count {
                return Err(format!("number {at} came after {next}").into());
            }
            if !ends_agree(rest, body(&pattern, at)) {
                return Err(format!("datagram {at} has other bytes than were sent").into());
            }
            next = at + 1;
            got += 1;
        }
        buf.copy_within(whole..held, 0);
        held -= whole;
    }
    let nanos = times.map_or(0, |(first, last)| (last - first).as_nanos());
    writeln!(std::io::stdout(), "{got} {}", nanos.max(1))?;
    Ok(())
}

fn body(pattern: &Pattern, at: u64) -> &[u8] {
    pattern.from(at * 31, (SIZE - HEAD) as u64)
}

/// Both ends are enough, and cost little.
fn ends_agree(got: &[u8], wanted: &[u8]) -> bool {
    got[..32] == wanted[..32] && got[got.len() - 32..] == wanted[wanted.len() - 32..]
}

/// The first may take its time; after it half a second of silence is the end, which UDP has not.
fn something_comes(begun: bool) -> std::io::Result<bool> {
    let patience = if begun {
        Timespec { tv_sec: 0, tv_nsec: 500_000_000 }
    } else {
        Timespec { tv_sec: 10, tv_nsec: 0 }
    };
    let input = stdin();
    let mut polled = [PollFd::new(&input, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&patience))? > 0)
}
