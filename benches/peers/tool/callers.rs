//! Callers of a server: one after another, many at once, and those who only stay.

use super::{Outcome, number};
use crate::limit;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What a caller says.
const LINE: &[u8; 100] = &{
    let mut line = [b'x'; 100];
    line[99] = b'\n';
    line
};

/// A caller who is not served by then never will be.
const PATIENCE: Duration = Duration::from_secs(10);

/// `PORT CLIENTS N echo|silence`: so many at a time, N in all: each says a line, hears it
/// again or not, ends, and waits for the server's end. Prints the rate and N.
pub(crate) fn knock(args: &[&str]) -> Outcome {
    let (port, clients, n): (u16, usize, usize) =
        (number(args, 0)?, number(args, 1)?, number(args, 2)?);
    let expected: &[u8] = if args.get(3) == Some(&"echo") { LINE } else { b"" };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|at| {
                let share = n / clients + usize::from(at < n % clients);
                scope.spawn(move || (0..share).try_for_each(|_| call(port, expected)))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a caller panicked".to_owned())?)
    })?;
    print(n as f64 / began.elapsed().as_secs_f64(), n)
}

fn call(port: u16, expected: &[u8]) -> Result<(), String> {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(LINE)?;
        // First the answer, then the end: some drop what is under way when the caller ends.
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard)?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut heard)?;
        Ok(heard)
    };
    match talk() {
        Ok(heard) if heard == expected => Ok(()),
        Ok(heard) => Err(format!("a caller heard {} bytes, not {}", heard.len(), expected.len())),
        Err(e) => Err(format!("a caller was not served: {e}")),
    }
}

/// `PORT N`: one byte there and back, N times. Prints the middle in microseconds, and N.
pub(crate) fn ping(args: &[&str]) -> Outcome {
    let (port, n): (u16, usize) = (number(args, 0)?, number(args, 1)?);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut times = Vec::with_capacity(n);
    for at in 0..n {
        let sent = [(at % 251) as u8];
        let mut back = [0];
        let began = Instant::now();
        stream.write_all(&sent)?;
        stream.read_exact(&mut back)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        if back != sent {
            return Err("another byte came back".into());
        }
    }
    print(crate::figures::median(times.into_iter()), n)
}

/// `PORT`: says again what each caller says.
pub(crate) fn echo(args: &[&str]) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    for caller in listener.incoming() {
        let mut caller = caller?;
        caller.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n) = caller.read(&mut buf) {
                if n == 0 || caller.write_all(&buf[..n]).is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
}

/// `PORT N PID plain|tls`: N callers who say nothing and stay. Prints by how many KiB each makes the server
/// larger, and N.
pub(crate) fn stay(args: &[&str]) -> Outcome {
    let (port, n, pid): (u16, usize, u32) = (number(args, 0)?, number(args, 1)?, number(args, 2)?);
    // The first ones pay for what is made once.
    const FIRST: usize = 16;
    let tls = (args.get(3) == Some(&"tls")).then(|| limit::tls::client(None)).transpose()?;
    let mut here = Vec::with_capacity(n);
    let before = open(pid)?;
    let mut small = 0;
    for at in 0..n {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut caller = TcpStream::connect_timeout(&server, PATIENCE)
            .map_err(|e| format!("{e} after {at} callers"))?;
        caller.set_read_timeout(Some(PATIENCE))?;
        let session = match &tls {
            Some(config) => Some(limit::tls::shake_hands(config, &mut caller)?),
            None => None,
        };
        here.push((caller, session));
        in_step(pid, before, here.len(), n)?;
        if here.len() == FIRST {
            small = resident(pid)?;
        }
    }
    let grown = resident(pid)?.saturating_sub(small);
    print(grown as f64 / (n - FIRST) as f64, n)
}

fn resident(pid: u32) -> Result<u64, String> {
    crate::run::memory(pid, "VmRSS:").ok_or_else(|| "the server is gone".to_owned())
}

/// How many descriptors it has.
pub(super) fn open(pid: u32) -> std::io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Waits now and then until the server has taken all of `here`: a caller too many for its queue
/// would wait a second. `before` is what it had open before.
pub(super) fn in_step(pid: u32, before: usize, here: usize, of: usize) -> Outcome {
    if !here.is_multiple_of(8) && here != of {
        return Ok(());
    }
    let wanted = before + here;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = open(pid)?;
        if now >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the server holds {now} descriptors, not {wanted}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What `shape::load` reads.
pub(crate) fn print(value: f64, amount: usize) -> Outcome {
    writeln!(std::io::stdout(), "{value} {amount}")?;
    Ok(())
}
