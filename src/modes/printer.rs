//! Standard output, for servers that print what their callers send: whoever reads it slowly, or
//! stops, holds up nobody but those whose words are printed.

use super::talk::SafeOutput;
use crate::error::{Error, Exit, words};
use crate::sys::fd::{Kind, Shared};
use crate::sys::stdio::take_stdout_alone;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

/// How soon a reader that is behind is looked at again: at first, and at most.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(100);

/// So many bytes may wait for it.
const MOST: usize = 8 * 1024 * 1024;

/// How far a text has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it is out; the name that it had been given.
    Out(String),
    /// Its first part is out, and the rest waits for the reader.
    Begun,
    /// The reader is behind: nothing of it is out.
    Behind,
    /// Nothing of it is out, and the reader is not behind.
    Free,
}

/// How it goes with the reader.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Something still waits for it: when to look again.
    pub(super) again: Option<Instant>,
    /// It has taken something since.
    pub(super) moved: bool,
    /// There is none any more, or nothing can be written: what to do now, once.
    pub(super) end: Option<Result<Exit, Error>>,
}

/// What is printed, whole and in its order.
#[derive(Debug)]
pub(super) struct Printer {
    veil: SafeOutput,
    /// `None` before the first word; then what standard output was, if it was open.
    out: Option<Option<Shared>>,
    /// What is still to be written.
    rest: Vec<u8>,
    /// Who waits for the end of it, and the name of the text.
    owner: Option<(u64, String)>,
    /// Whose texts are out since, until they ask.
    done: HashMap<u64, String>,
    pause: Duration,
    moved: bool,
    /// It cannot be written to any more: why.
    broken: Option<io::Error>,
}

impl Printer {
    pub(super) fn new(veil: SafeOutput) -> Self {
        Self {
            veil,
            out: None,
            rest: Vec::new(),
            owner: None,
            done: HashMap::new(),
            pause: SOON,
            moved: false,
            broken: None,
        }
    }

    /// How far the text of this owner has come.
    ///
    /// # Errors
    /// Those of write(2). They are told by [`Printer::judge`] too.
    pub(super) fn progress(&mut self, owner: u64) -> io::Result<Progress> {
        self.catch_up()?;
        Ok(match self.done.remove(&owner) {
            Some(name) => Progress::Out(name),
            None if self.rest.is_empty() => Progress::Free,
            None if self.owner.as_ref().is_some_and(|(who, _)| *who == owner) => Progress::Begun,
            None => Progress::Behind,
        })
    }

    /// Prints a text, once [`Printer::progress`] has said that it is free to; on a terminal it is
    /// made harmless.
    ///
    /// # Errors
    /// As for [`Printer::progress`].
    pub(super) fn print(&mut self, owner: u64, name: &str, text: &[u8]) -> io::Result<Progress> {
        let text = self.veiled(text)?;
        let written = self.put(&text)?;
        if written == text.len() {
            return Ok(Progress::Out(name.to_owned()));
        }
        if written == 0 {
            return Ok(Progress::Behind);
        }
        self.rest.extend_from_slice(&text[written..]);
        self.owner = Some((owner, name.to_owned()));
        Ok(Progress::Begun)
    }

    /// Prints it, soon or later, and nobody waits for that; false if so much waits already that it
    /// is not printed at all.
    ///
    /// # Errors
    /// As for [`Printer::progress`].
    pub(super) fn queue(&mut self, text: &[u8]) -> io::Result<bool> {
        self.catch_up()?;
        let text = self.veiled(text)?;
        if self.rest.len() + text.len() > MOST {
            return Ok(false);
        }
        let written = if self.rest.is_empty() { self.put(&text)? } else { 0 };
        self.rest.extend_from_slice(&text[written..]);
        Ok(true)
    }

    /// Looks whether the reader goes on.
    pub(super) fn judge(&mut self, now: Instant) -> Reading {
        // What is wrong is noted.
        let _ = self.catch_up();
        let moved = std::mem::take(&mut self.moved);
        self.pause = if moved { SOON } else { (self.pause * 2).min(LATER) };
        Reading {
            again: (!self.rest.is_empty()).then_some(now + self.pause),
            moved,
            end: self.broken.take().map(verdict),
        }
    }

    /// Writes of the rest what the reader takes.
    fn catch_up(&mut self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.rest);
        let written = self.put(&rest)?;
        self.rest.extend_from_slice(&rest[written..]);
        if self.rest.is_empty() {
            self.done.extend(self.owner.take());
        }
        Ok(())
    }

    /// Writes what the reader takes at once.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.out()?.write(&bytes[written..]) {
                Ok(n) => {
                    written += n;
                    self.moved |= n > 0;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(self.note(e)),
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
            let taken = take_stdout_alone();
            self.out = Some(taken.map_err(|e| self.note(e))?);
        }
        if matches!(self.out, Some(None)) {
            // It was closed when we were started.
            return Err(self.note(io::Error::from_raw_os_error(libc::EBADF)));
        }
        self.out.as_mut().and_then(Option::as_mut).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Keeps the same for [`Printer::judge`].
    fn note(&mut self, e: io::Error) -> io::Error {
        let kind = || e.kind().into();
        self.broken = Some(e.raw_os_error().map_or_else(kind, io::Error::from_raw_os_error));
        e
    }
}

/// A reader who has seen enough is no failure.
fn verdict(e: io::Error) -> Result<Exit, Error> {
    match e.kind() == io::ErrorKind::BrokenPipe {
        true => Ok(Exit::DONE),
        false => Err(Error::machine(format!("cannot write standard output: {}", words(&e)))),
    }
}
