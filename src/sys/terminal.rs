//! The controlling terminal, for a secret that must not be echoed.

use super::signal::Held;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

/// Longest secret that is read, in bytes; the terminal driver stops at 4095 of its own.
const LONGEST: usize = 4096;

/// How long a fatal signal may wait for the modes to be put back.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Puts the terminal's modes back, whatever happens.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // The terminal may be gone (SIGHUP); then there is nothing to put back.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}

/// Asks on the controlling terminal and reads one line without echo.
///
/// A fatal signal waits until the modes are back, and then does what it would have done.
///
/// # Errors
/// `ENXIO` without a controlling terminal; `UnexpectedEof` if the person ends the input instead
/// of answering; `InvalidData` past 4096 bytes.
pub fn ask_secret(prompt: &str) -> io::Result<Vec<u8>> {
    ask(prompt, false)
}

/// The same with echo, for what is no secret.
///
/// # Errors
/// See [`ask_secret`].
pub fn ask_line(prompt: &str) -> io::Result<Vec<u8>> {
    ask(prompt, true)
}

fn ask(prompt: &str, echoes: bool) -> io::Result<Vec<u8>> {
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let held = Held::fatal();
    if echoes {
        // No mode changes, and what is typed ahead stays.
        (&tty).write_all(prompt.as_bytes())?;
        return read_line(&tty, &held);
    }
    let quiet = Quiet { tty: &tty, before: tcgetattr(&tty)? };
    let mut modes = quiet.before.clone();
    modes.local_modes &= !LocalModes::ECHO;
    tcsetattr(&tty, OptionalActions::Flush, &modes)?;
    (&tty).write_all(prompt.as_bytes())?;
    let secret = read_line(&tty, &held);
    (&tty).write_all(b"\n")?;
    drop(quiet); // the modes first, then the signals
    drop(held);
    secret
}

fn read_line(mut tty: &File, held: &Held) -> io::Result<Vec<u8>> {
    let mut secret = Vec::new();
    loop {
        if held.any_waits() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut fds = [PollFd::new(&tty, PollFlags::IN)];
        match poll(&mut fds, Some(&GLANCE)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let mut byte = [0; 1];
        match tty.read(&mut byte)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if byte[0] == b'\n' => return Ok(secret),
            _ if secret.len() == LONGEST => return Err(io::ErrorKind::InvalidData.into()),
            _ => secret.push(byte[0]),
        }
    }
}
