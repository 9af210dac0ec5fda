//! Bytes between files, pipes and sockets, and nothing but that.

use crate::tool::{Outcome, number};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::stdio::{stdin, stdout};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// What a process without privileges may make of a pipe.
const BIG: usize = 1024 * 1024;

/// `PORT`: standard input, a pipe, into a socket.
pub(crate) fn splice_send(args: &[&str]) -> Outcome {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    pipe_to_socket(stdin(), &socket)
}

/// `PORT`: a caller's bytes to standard output.
pub(crate) fn splice_receive(args: &[&str]) -> Outcome {
    let socket = accept(number(args, 0)?)?;
    socket_to_any(&socket, stdout())
}

/// `PORT`: standard input, a file, into a socket.
pub(crate) fn sendfile(args: &[&str]) -> Outcome {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    while rustix::fs::sendfile(&socket, stdin(), None, BIG)? > 0 {}
    socket.shutdown(Shutdown::Write)?;
    Ok(())
}

/// `call|take PORT`: both directions at once, between pipes and a socket.
pub(crate) fn both(args: &[&str]) -> Outcome {
    let port = number(args, 1)?;
    let socket = if args[0] == "call" {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))?
    } else {
        accept(port)?
    };
    std::thread::scope(|scope| {
        let up = scope.spawn(|| pipe_to_socket(stdin(), &socket).map_err(|e| e.to_string()));
        when_readable(&socket, stdout())?;
        up.join().map_err(|_| "the thread that sends panicked")??;
        Ok(())
    })
}

/// `PORT TARGET-PORT`: one direction between two sockets, by way of a pipe; the other for its end.
pub(crate) fn relay(args: &[&str]) -> Outcome {
    let from = accept(number(args, 0)?)?;
    let to = TcpStream::connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 1)?))?;
    through_a_pipe(from.as_fd(), to.as_fd())?;
    to.shutdown(Shutdown::Write)?;
    through_a_pipe(to.as_fd(), from.as_fd())
}

/// `PORT TARGET-PORT`: both directions between two sockets, read and written by one thread.
pub(crate) fn echo_relay(args: &[&str]) -> Outcome {
    let here = accept(number(args, 0)?)?;
    let there = TcpStream::connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 1)?))?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    let mut buf = [0; 64 * 1024];
    loop {
        let mut fds = [PollFd::new(&here, PollFlags::IN), PollFd::new(&there, PollFlags::IN)];
        poll(&mut fds, None)?;
        let ready = fds.map(|fd| !fd.revents().is_empty());
        for (is_ready, mut from, mut to) in [(ready[0], &here, &there), (ready[1], &there, &here)] {
            if is_ready {
                let n = from.read(&mut buf)?;
                if n == 0 {
                    return Ok(());
                }
                to.write_all(&buf[..n])?;
            }
        }
    }
}

fn accept(port: u16) -> std::io::Result<TcpStream> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.accept()?.0)
}

fn pipe_to_socket(pipe: BorrowedFd<'_>, socket: &TcpStream) -> Outcome {
    fcntl_setpipe_size(pipe, BIG)?;
    while splice(pipe, None, socket, None, BIG, SpliceFlags::MOVE)? > 0 {}
    socket.shutdown(Shutdown::Write)?;
    Ok(())
}

fn socket_to_any(socket: &TcpStream, to: BorrowedFd<'_>) -> Outcome {
    if FileType::from_raw_mode(fstat(to)?.st_mode) != FileType::Fifo {
        return through_a_pipe(socket.as_fd(), to);
    }
    fcntl_setpipe_size(to, BIG)?;
    while splice(socket, None, to, None, BIG, SpliceFlags::MOVE)? > 0 {}
    Ok(())
}

/// A splice that waits for a socket holds the lock of its pipe meanwhile, and nobody can read what
/// is in it: harmless where all ends soon, but not where nothing ends before the last byte.
fn when_readable(socket: &TcpStream, pipe: BorrowedFd<'_>) -> Outcome {
    fcntl_setpipe_size(pipe, BIG)?;
    loop {
        poll(&mut [PollFd::new(socket, PollFlags::IN)], None)?;
        match splice(socket, None, pipe, None, BIG, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // The socket has something, so it is the pipe that is full.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&pipe, PollFlags::OUT)], None)?;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// splice(2) wants a pipe on one side; where there is none, ours is in between.
fn through_a_pipe(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome {
    let (rx, tx) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&tx, BIG)?;
    loop {
        let mut held = splice(from, None, &tx, None, BIG, SpliceFlags::MOVE)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= splice(&rx, None, to, None, held, SpliceFlags::MOVE)?;
        }
    }
}
