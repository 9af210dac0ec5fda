//! Servers of one thread that do one thing.

use crate::tool::datagram::SIZE;
use crate::tool::{Outcome, number};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use rustix::io::{ReadWriteFlags, preadv2};
use rustix::net::{RecvFlags, recv};
use rustix::pipe::fcntl_setpipe_size;
use rustix::stdio::{stdin, stdout};
use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

const DOOR: Token = Token(usize::MAX);

/// So many datagrams of ours fit what the kernel takes at once.
const MOST: usize = 65_507 / SIZE;

/// A loop around a listener: who is new, who has said something, who is gone.
struct Server {
    poll: Poll,
    door: TcpListener,
    callers: BTreeMap<usize, TcpStream>,
    next: usize,
}

impl Server {
    fn open(port: u16) -> std::io::Result<Self> {
        let mut door = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let poll = Poll::new()?;
        poll.registry().register(&mut door, DOOR, Interest::READABLE)?;
        Ok(Self { poll, door, callers: BTreeMap::new(), next: 0 })
    }

    /// Takes all that wait.
    fn let_in(&mut self) -> std::io::Result<()> {
        loop {
            match self.door.accept() {
                Ok((mut caller, _)) => {
                    caller.set_nodelay(true)?;
                    let token = Token(self.next);
                    self.poll.registry().register(&mut caller, token, Interest::READABLE)?;
                    self.callers.insert(self.next, caller);
                    self.next += 1;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// `PORT`: takes callers, reads them to their end, and hangs up.
pub(crate) fn accept(args: &[&str]) -> Outcome {
    let mut server = Server::open(number(args, 0)?)?;
    let mut events = Events::with_capacity(1024);
    let mut buf = vec![0; 64 * 1024];
    loop {
        server.poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == DOOR {
                server.let_in()?;
                continue;
            }
            let at = event.token().0;
            let Some(caller) = server.callers.get_mut(&at) else { continue };
            loop {
                match caller.read(&mut buf) {
                    Ok(n) if n > 0 => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Ok(_) | Err(_) => {
                        server.callers.remove(&at);
                        break;
                    }
                }
            }
        }
    }
}

/// `PORT`: what each says goes to all others. What several say before it is looked again goes out
/// in one piece, without each one's own.
pub(crate) fn broker(args: &[&str]) -> Outcome {
    let mut server = Server::open(number(args, 0)?)?;
    let mut events = Events::with_capacity(1024);
    let mut said: Vec<u8> = Vec::new();
    loop {
        server.poll.poll(&mut events, None)?;
        said.clear();
        // Who said which part.
        let mut parts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for event in &events {
            if event.token() == DOOR {
                server.let_in()?;
                continue;
            }
            let at = event.token().0;
            let Some(caller) = server.callers.get_mut(&at) else { continue };
            let from = said.len();
            said.resize(from + 64 * 1024, 0);
            match caller.read(&mut said[from..]) {
                Ok(n) if n > 0 => {
                    said.truncate(from + n);
                    parts.insert(at, (from, from + n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => said.truncate(from),
                Ok(_) | Err(_) => {
                    said.truncate(from);
                    server.callers.remove(&at);
                }
            }
        }
        if said.is_empty() {
            continue;
        }
        for (at, caller) in &mut server.callers {
            let (from, to) = parts.get(at).copied().unwrap_or((0, 0));
            let wanted = said.len() - (to - from);
            if wanted == 0 {
                continue;
            }
            let pieces = [IoSlice::new(&said[..from]), IoSlice::new(&said[to..])];
            // It has no queues: the load reads all of one turn before it says the next.
            if caller.write_vectored(&pieces)? != wanted {
                return Err("a member's socket is full".into());
            }
        }
    }
}

/// `PORT`: gives each caller a cat(1), by posix_spawn(3) as std does it.
pub(crate) fn spawn(args: &[&str]) -> Outcome {
    let door = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    let mut children: Vec<Child> = Vec::new();
    for caller in door.incoming() {
        let caller = OwnedFd::from(caller?);
        let child = Command::new("/bin/cat")
            .stdin(Stdio::from(caller.try_clone()?))
            .stdout(Stdio::from(caller))
            .spawn()?;
        children.push(child);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
    Ok(())
}

/// `PORT`: standard input, a pipe in packet mode, to a UDP socket: what there is, in one send.
pub(crate) fn udp_send(args: &[&str]) -> Outcome {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    fcntl_setpipe_size(stdin(), 1024 * 1024)?;
    let mut buf = vec![0; MOST * SIZE];
    loop {
        let mut held = rustix::io::read(stdin(), &mut buf[..SIZE])?;
        if held == 0 {
            return Ok(());
        }
        while held < buf.len() {
            let mut space = [IoSliceMut::new(&mut buf[held..held + SIZE])];
            match preadv2(stdin(), &mut space, u64::MAX, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(_) => break,
                Ok(n) => held += n,
            }
        }
        let size = u16::try_from(SIZE)?;
        let parts = [IoSlice::new(&buf[..held])];
        let sizes = [ControlMessage::UdpGsoSegments(&size)];
        // Nobody there any more: as with a datagram that is lost.
        let _ = sendmsg::<()>(socket.as_raw_fd(), &parts, &sizes, MsgFlags::empty(), None);
    }
}

/// `PORT`: a UDP socket to standard output, as many datagrams as the kernel has put together.
pub(crate) fn udp_receive(args: &[&str]) -> Outcome {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    fcntl_setpipe_size(stdout(), 1024 * 1024)?;
    let mut buf = vec![0; 64 * 1024];
    loop {
        let (held, _) = recv(&socket, &mut buf[..], RecvFlags::empty())?;
        let mut rest = &buf[..held];
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(stdout(), rest)?..];
        }
    }
}
