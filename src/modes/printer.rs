//! Standard output, for servers that print what their callers send: nobody who stops reading it
//! stops the callers.

use super::talk::SafeOutput;
use crate::error::{Error, Exit, words};
use crate::sys::fd::{Kind, Shared};
use crate::sys::stdio::take_stdout;
use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

/// How long a reader may be slow before the callers go on without it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often a reader that was too slow is looked at again.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the end waits for a reader that takes nothing.
const LAST: Duration = Duration::from_secs(5);

/// So many bytes may wait for a slow reader.
const MOST: usize = 8 * 1024 * 1024;

/// What is printed, whole and in its order.
#[derive(Debug)]
pub(super) struct Printer {
    veil: SafeOutput,
    /// `None` before the first word; then what standard output was, if it was open.
    out: Option<Option<Shared>>,
    /// What is still to be written of the last that was taken.
    rest: Vec<u8>,
    /// The reader was too slow, and has taken nothing since.
    is_stuck: bool,
    /// It cannot be written to any more: why.
    broken: Option<io::Error>,
}

impl Printer {
    pub(super) fn new(veil: SafeOutput) -> Self {
        Self { veil, out: None, rest: Vec::new(), is_stuck: false, broken: None }
    }

    /// Prints all of it, or nothing yet (`false`) because the reader is behind. On a terminal it
    /// is harmless.
    ///
    /// # Errors
    /// Those of write(2). They are told by [`Printer::judge`] too.
    pub(super) fn print(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if !self.catch_up()? {
            return Ok(false);
        }
        let bytes = self.veiled(bytes)?;
        let written = self.put(&bytes)?;
        if written == 0 && !bytes.is_empty() {
            return Ok(false);
        }
        // Its first part is out, so its end has to follow.
        self.rest.extend_from_slice(&bytes[written..]);
        Ok(true)
    }

    /// Prints it, soon or later; false if so much waits already that it is not printed at all.
    ///
    /// # Errors
    /// As for [`Printer::print`].
    pub(super) fn queue(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.print(bytes)? {
            return Ok(true);
        }
        let fits = self.rest.len() + bytes.len() <= MOST;
        if fits {
            let bytes = self.veiled(bytes)?;
            self.rest.extend_from_slice(&bytes);
        }
        Ok(fits)
    }

    /// Looks whether the reader goes on: when to look again, and what to do now that there is
    /// none (once).
    pub(super) fn judge(&mut self, now: Instant) -> (Option<Instant>, Option<Result<Exit, Error>>) {
        // What is wrong is noted.
        let _ = self.catch_up();
        let again = (!self.rest.is_empty()).then_some(now + GLANCE);
        (again, self.broken.take().map(verdict))
    }

    /// Waits until the last word is out.
    ///
    /// # Errors
    /// The reader takes nothing any more.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let mut left = self.rest.len();
        let mut patience = LAST;
        while left > 0 {
            match self.catch_up() {
                Ok(true) => break,
                Ok(false) => {}
                Err(e) => return verdict(e).map(|_| ()),
            }
            if self.rest.len() < left {
                (left, patience) = (self.rest.len(), LAST);
            }
            let Some(less) = patience.checked_sub(GLANCE) else {
                return Err(Error::machine(format!(
                    "{left} bytes could not be written: nobody reads standard output"
                )));
            };
            patience = less;
            if let Ok(out) = self.out() {
                let _ = out.wait_writable(GLANCE);
            }
        }
        Ok(())
    }

    /// Is everything out that was taken?
    fn catch_up(&mut self) -> io::Result<bool> {
        if self.rest.is_empty() {
            return Ok(true);
        }
        let rest = std::mem::take(&mut self.rest);
        let written = self.put(&rest)?;
        self.rest.extend_from_slice(&rest[written..]);
        Ok(self.rest.is_empty())
    }

    /// Writes what the reader takes.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let result = self.out()?.write(&bytes[written..]);
            match result {
                Ok(n) => {
                    written += n;
                    self.is_stuck = false;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_stuck || !self.out()?.wait_writable(PATIENCE)? {
                        self.is_stuck = true;
                        break;
                    }
                }
                Err(e) => {
                    let kind = || e.kind().into();
                    self.broken =
                        Some(e.raw_os_error().map_or_else(kind, io::Error::from_raw_os_error));
                    return Err(e);
                }
            }
        }
        Ok(written)
    }

    /// What a stranger has sent, harmless where a person looks at it.
    fn veiled<'a>(&mut self, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let is_shown = self.out()?.kind() == Kind::Terminal;
        Ok(match self.veil.safe().filter(|_| is_shown) {
            None => Cow::Borrowed(bytes),
            Some(mut safe) => {
                let mut out = Vec::with_capacity(bytes.len());
                safe.pass(bytes, &mut out);
                safe.finish(&mut out);
                Cow::Owned(out)
            }
        })
    }

    fn out(&mut self) -> io::Result<&mut Shared> {
        if self.out.is_none() {
            self.out = Some(take_stdout()?);
        }
        let open = self.out.as_mut().and_then(Option::as_mut);
        open.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }
}

/// A reader who has seen enough is no failure.
fn verdict(e: io::Error) -> Result<Exit, Error> {
    match e.kind() == io::ErrorKind::BrokenPipe {
        true => Ok(Exit::DONE),
        false => Err(Error::machine(format!("cannot write standard output: {}", words(&e)))),
    }
}
