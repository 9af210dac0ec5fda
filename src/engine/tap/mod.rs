//! Copies of the bytes for a log: `-o` as they are or line by line, `-x` as a hex dump.

mod script;

use script::{Script, Style};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the peer.
    Sent,
    /// From it.
    Heard,
}

/// What `-o` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The bytes as they are.
    #[default]
    Raw,
    /// A line for each line, with its time and its speaker, C or S.
    Dialog,
    /// The same as JSON.
    Jsonl,
    /// A hex dump, as `-x` has it.
    Hex,
}

/// What is recorded, and where.
#[derive(Debug, Default)]
pub struct Tap {
    raw: Option<File>,
    /// Lines with a speaker, for `raw`, and when it began.
    script: Option<(Script, Instant)>,
    /// `raw` is a hex dump too.
    is_dump: bool,
    hex: Option<File>,
    /// The names of the two files.
    names: [PathBuf; 2],
    /// The file that could not be written, and why.
    failed: Option<(PathBuf, io::Error)>,
    dump: Vec<u8>,
}

impl Tap {
    /// Records into these files.
    pub fn new(raw: Option<File>, hex: Option<File>) -> Self {
        let mut tap = Self::default();
        (tap.raw, tap.hex) = (raw, hex);
        tap
    }

    /// Remembers what the files are called.
    #[must_use]
    pub fn named(mut self, names: [PathBuf; 2]) -> Self {
        self.names = names;
        self
    }

    /// Writes into the first file in this format; `client` says who we are, and `redact` masks
    /// logins where there are lines.
    #[must_use]
    pub fn formatted(mut self, format: Format, client: bool, redact: bool) -> Self {
        let style = match format {
            Format::Raw | Format::Hex => None,
            Format::Dialog => Some(Style::Dialog),
            Format::Jsonl => Some(Style::Json),
        };
        // A record has the time at which it is written, which nothing else depends on.
        #[allow(clippy::disallowed_methods)]
        let script = style.map(|style| (Script::new(style, client, redact), Instant::now()));
        (self.script, self.is_dump) = (script, format == Format::Hex);
        self
    }

    /// Another tap into the same files, for another conversation.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let again = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        let mut tap = Self::new(again(&self.raw)?, again(&self.hex)?).named(self.names.clone());
        tap.script = self.script.as_ref().map(|(script, start)| (script.again(), *start));
        tap.is_dump = self.is_dump;
        Ok(tap)
    }

    /// Is there anything to record? Whoever looks at no byte can be quicker.
    pub fn is_on(&self) -> bool {
        self.raw.is_some() || self.hex.is_some()
    }

    /// Records one chunk.
    ///
    /// A log that cannot be written is given up, the conversation is not: see [`Tap::failure`].
    pub fn record(&mut self, way: Way, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.dump.clear();
        let words = match &mut self.script {
            Some((script, start)) => {
                script.add(way, bytes, start.elapsed().as_secs_f64(), &mut self.dump);
                self.dump.as_slice()
            }
            None if self.is_dump => {
                dump(bytes, &mut self.dump);
                self.dump.as_slice()
            }
            None => bytes,
        };
        if let Some(raw) = &mut self.raw
            && let Err(e) = raw.write_all(words)
        {
            self.raw = None;
            self.failed.get_or_insert((self.names[0].clone(), e));
        }
        if let Some(hex) = &mut self.hex {
            self.dump.clear();
            dump(bytes, &mut self.dump);
            if let Err(e) = hex.write_all(&self.dump) {
                self.hex = None;
                self.failed.get_or_insert((self.names[1].clone(), e));
            }
        }
    }

    /// Which file could not be written any more, and why, if one could not.
    pub fn failure(&self) -> Option<&(PathBuf, io::Error)> {
        self.failed.as_ref()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let (Some((script, start)), Some(raw)) = (&mut self.script, &mut self.raw) {
            self.dump.clear();
            script.finish(start.elapsed().as_secs_f64(), &mut self.dump);
            // Whoever would be told has been told of all that mattered.
            let _ = raw.write_all(&self.dump);
        }
    }
}

/// ncat's dump: 16 bytes a line in two groups, the text behind them, every line 74 bytes long,
/// the count starting at 0 for each chunk.
fn dump(bytes: &[u8], out: &mut Vec<u8>) {
    const WIDTH: usize = 74;
    for (i, row) in bytes.chunks(16).enumerate() {
        let start = out.len();
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{:04x}   ", i * 16);
        for (column, byte) in row.iter().enumerate() {
            let _ = write!(out, "{byte:02x} ");
            if column == 7 {
                out.push(b' ');
            }
        }
        out.resize(start + 57, b' ');
        out.extend(row.iter().map(|&b| if b.is_ascii_graphic() { b } else { b'.' }));
        out.resize(start + WIDTH - 1, b' ');
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_looks_as_ncat_s_does() {
        let mut out = Vec::new();
        dump(b"hello world\r\nsecond", &mut out);
        let expected = "\
0000   68 65 6c 6c 6f 20 77 6f  72 6c 64 0d 0a 73 65 63  hello.world..sec
0010   6f 6e 64                                          ond             
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_full_disk_is_told_once_and_stops_nothing() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut tap = Tap::new(Some(full), None);
        tap.record(Way::Sent, b"x");
        tap.record(Way::Heard, b"y");
        assert_eq!(tap.failure().unwrap().1.kind(), io::ErrorKind::StorageFull);
        assert!(!tap.is_on());
    }
}
