//! The only writer to standard error.
//!
//! Data never comes here and reports never go to standard output. Silence is success: a story is
//! told with `-v`, the details with `-vv`.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write, stderr};

/// Where reports go, and how many of them are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    level: u8,
    colour: bool,
}

impl Report {
    /// `level` is the number of `-v`. Colour needs a terminal, and a person who has not said
    /// `NO_COLOR`.
    pub fn new(level: u8, no_color: bool) -> Self {
        Self { level, colour: !no_color && stderr().is_terminal() }
    }

    /// Is the story wanted? For callers that would have to work to tell it.
    pub fn is_telling(&self) -> bool {
        self.level > 0
    }

    /// One event of the story: said with `-v`.
    pub fn story(&self, text: Arguments<'_>) {
        if self.level > 0 {
            say(format_args!("ncat: {text}"));
        }
    }

    /// A detail for whoever looks for a defect: said with `-vv`.
    pub fn detail(&self, text: Arguments<'_>) {
        if self.level > 1 {
            say(format_args!("ncat: {text}"));
        }
    }

    /// Something that the person should know and that does not stop us.
    pub fn warning(&self, text: Arguments<'_>) {
        say(format_args!("ncat: warning: {text}"));
    }

    /// A line that the person asked for by an option of its own.
    pub fn answer(&self, text: Arguments<'_>) {
        say(text);
    }

    /// An explanation between the peer's words: dim on a terminal, so that it stands back.
    pub fn aside(&self, text: Arguments<'_>) {
        if self.colour {
            say(format_args!("\x1b[2m{text}\x1b[0m"));
        } else {
            say(text);
        }
    }

    /// Why the process ends.
    pub fn error(&self, error: &crate::error::Error) {
        say(format_args!("{error}"));
    }
}

/// One write a line, so that lines of several processes do not mix. Whoever closed standard
/// error does not want to read it, so a failure to write is no failure.
fn say(text: Arguments<'_>) {
    let _ = stderr().lock().write_all(format!("{text}\n").as_bytes());
}
