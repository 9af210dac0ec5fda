//! Copies of the bytes for a log: `-o` as they are, `-x` as a hex dump.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// What is recorded, and where.
#[derive(Debug, Default)]
pub struct Tap {
    raw: Option<File>,
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
        Self { raw, hex, ..Self::default() }
    }

    /// Remembers what the files are called.
    #[must_use]
    pub fn named(mut self, names: [PathBuf; 2]) -> Self {
        self.names = names;
        self
    }

    /// Another tap into the same files, for another conversation.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let again = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        Ok(Self::new(again(&self.raw)?, again(&self.hex)?).named(self.names.clone()))
    }

    /// Is there anything to record? Whoever looks at no byte can be quicker.
    pub fn is_on(&self) -> bool {
        self.raw.is_some() || self.hex.is_some()
    }

    /// Records one chunk.
    ///
    /// A log that cannot be written is given up, the conversation is not: see [`Tap::failure`].
    pub fn record(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(raw) = &mut self.raw
            && let Err(e) = raw.write_all(bytes)
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
        tap.record(b"x");
        tap.record(b"y");
        assert_eq!(tap.failure().unwrap().1.kind(), io::ErrorKind::StorageFull);
        assert!(!tap.is_on());
    }
}
