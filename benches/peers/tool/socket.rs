//! Both ends of a connection, for programs that stand between two sockets.

use super::pattern::{CHUNK, Pattern};
use super::stream::{Check, report};
use super::{Outcome, number};

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

/// `PORT BYTES`: sends so much of the pattern, then the end, then waits for the peer's.
pub(crate) fn send(args: &[&str]) -> Outcome {
    let (port, bytes): (u16, u64) = (number(args, 0)?, number(args, 1)?);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let pattern = Pattern::new();
    let mut at = 0;
    while at < bytes {
        at += stream.write(pattern.from(at, bytes - at))? as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

/// `PORT BYTES all|ends`: takes one caller, reads until it ends, and reports as `drain` does.
pub(crate) fn receive(args: &[&str]) -> Outcome {
    let (port, bytes): (u16, u64) = (number(args, 0)?, number(args, 1)?);
    let check = Check::named(args.get(2).copied());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let (mut stream, _) = listener.accept()?;
    let pattern = Pattern::new();
    let mut buf = vec![0; CHUNK];
    let (mut at, mut right) = (0, true);
    while at < bytes {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            break;
        }
        right &= check.passes(&pattern, at, &buf[..n]);
        at += n as u64;
    }
    report(at, right)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

/// `PORT`: answers each caller's line with the same line, and hangs up.
pub(crate) fn answer(args: &[&str]) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    for caller in listener.incoming() {
        let mut caller = BufReader::new(caller?);
        let mut line = Vec::new();
        // A caller that only looks whether somebody is here is no failure.
        let _ = caller.read_until(b'\n', &mut line);
        let _ = caller.get_mut().write_all(&line);
    }
    Ok(())
}
