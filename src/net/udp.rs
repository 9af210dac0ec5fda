//! A UDP socket with one peer, and datagrams that wait in a queue of bytes.

use super::endpoint::LARGEST_DATAGRAM;
use crate::sys::segments;
use mio::net::UdpSocket;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// The sizes of the datagrams that wait one behind the other in a [`super::buf::Buf`].
#[derive(Debug, Default)]
pub struct Sizes {
    each: VecDeque<usize>,
    bytes: usize,
}

impl Sizes {
    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Do as many wait as can go at once?
    pub fn is_full(&self) -> bool {
        self.each.len() >= segments::MOST
    }

    /// One more, at the end.
    pub fn push(&mut self, size: usize) {
        self.each.push_back(size);
        self.bytes += size;
    }

    /// `bytes` more, in datagrams of `each`; the last may be shorter.
    pub fn push_run(&mut self, bytes: usize, each: usize) {
        if bytes <= each {
            return self.push(bytes);
        }
        let mut left = bytes;
        while left > 0 {
            let size = each.clamp(1, left);
            self.push(size);
            left -= size;
        }
    }

    /// Of `held` bytes those that no size has been noted for are one datagram.
    pub fn cover(&mut self, held: usize) {
        if held > self.bytes {
            self.push(held - self.bytes);
        }
    }

    /// The oldest `count` have gone; how many bytes that was.
    pub fn pop(&mut self, count: usize) -> usize {
        let gone = self.each.drain(..count.min(self.each.len())).sum();
        self.bytes -= gone;
        gone
    }

    /// The oldest.
    pub fn first(&self) -> Option<usize> {
        self.each.front().copied()
    }

    /// The oldest that can go at once: how many they are, and their bytes. All have the size of
    /// the first, but for the last, which may be shorter.
    fn run(&self) -> (usize, usize) {
        let Some(first) = self.first() else { return (0, 0) };
        let (mut count, mut bytes) = (1, first);
        for size in self.each.iter().skip(1).take(segments::MOST - 1).copied() {
            if size == 0 || size > first || bytes + size > LARGEST_DATAGRAM {
                break;
            }
            (count, bytes) = (count + 1, bytes + size);
            if size < first {
                break;
            }
        }
        (count, bytes)
    }
}

/// A UDP socket that is connected to its peer.
#[derive(Debug)]
pub struct Udp {
    pub(super) socket: UdpSocket,
    peer: SocketAddr,
    /// The kernel may hand over several datagrams at once.
    gathers: bool,
    /// It has not yet refused to take several at once.
    splits: bool,
}

impl Udp {
    /// What others sent before it was connected is dropped: connect(2) lets it stay in the queue.
    ///
    /// # Errors
    /// It has no peer.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let peer = socket.peer_addr()?;
        Ok(Self { socket, peer, gathers: false, splits: cfg!(target_os = "linux") })
    }

    /// From now on several may come at once. A refusal only costs speed.
    pub(super) fn gather(&mut self) {
        self.gathers = self.gathers || segments::gather(self.socket.as_fd(), true).is_ok();
    }

    /// Reads one datagram, or several of one size: the bytes of all, and those of each.
    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<(usize, usize)> {
        loop {
            let (bytes, each, from) = if self.gathers {
                let came = segments::receive(self.socket.as_fd(), buf)?;
                (came.bytes, came.each, came.from)
            } else {
                let (n, from) = self.socket.recv_from(buf)?;
                (n, n, Some(from))
            };
            if from
                .is_some_and(|from| (from.ip(), from.port()) == (self.peer.ip(), self.peer.port()))
            {
                return Ok((bytes, each));
            }
        }
    }

    /// Sends the oldest of what waits, as many as go at once; how many went.
    pub(super) fn write(&mut self, bytes: &[u8], sizes: &Sizes) -> io::Result<usize> {
        let (count, all) = sizes.run();
        let Some(first) = sizes.first() else { return Ok(0) };
        if self.splits
            && count > 1
            && let Ok(each) = u16::try_from(first)
        {
            match segments::send(self.socket.as_fd(), &bytes[..all], each) {
                Ok(_) => return Ok(count),
                Err(e) if is_refusal(&e) => self.splits = false,
                Err(e) => return Err(e),
            }
        }
        self.socket.send(&bytes[..first])?;
        Ok(1)
    }
}

/// Several at once cannot go this way: the size is more than a packet of this route, the device
/// calculates no checksums, the kernel is old. Each alone still can.
fn is_refusal(e: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::IO, Errno::MSGSIZE, Errno::OPNOTSUPP, Errno::NOPROTOOPT, Errno::PERM]
        .iter()
        .any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

impl Drop for Udp {
    fn drop(&mut self) {
        // A listener may go on with the same socket, for a caller who is nobody's stream.
        if self.gathers {
            let _ = segments::gather(self.socket.as_fd(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(each: &[usize]) -> Sizes {
        let mut sizes = Sizes::default();
        each.iter().for_each(|size| sizes.push(*size));
        sizes
    }

    #[test]
    fn a_run_is_of_one_size_but_for_a_shorter_last() {
        for (each, run) in [
            (&[][..], (0, 0)),
            (&[5], (1, 5)),
            (&[0, 0], (1, 0)),
            (&[5, 5, 5], (3, 15)),
            (&[5, 5, 3, 5], (3, 13)),
            (&[5, 6], (1, 5)),
            (&[5, 5, 0, 5], (2, 10)),
            (&[30_000, 30_000, 30_000], (2, 60_000)),
            (&[1; 100], (64, 64)),
        ] {
            assert_eq!(sizes(each).run(), run, "{each:?}");
        }
    }

    #[test]
    fn what_is_noted_leaves_in_its_order() {
        let mut queue = sizes(&[3]);
        queue.push_run(10, 4);
        queue.push_run(0, 0);
        queue.cover(15);
        assert_eq!(queue.each, [3, 4, 4, 2, 0, 2]);
        queue.cover(15);
        assert_eq!(queue.pop(2), 7);
        assert_eq!(queue.first(), Some(4));
        assert_eq!(queue.pop(9), 8);
        assert!(queue.is_empty() && queue.bytes == 0);
    }
}
