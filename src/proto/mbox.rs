//! Messages in a row: mboxrd, in which a line `From ` inside a message has a `>` before it, and so
//! has one that has that already, so that both can be told back.

/// Writes one message after the other.
#[derive(Debug, Default)]
pub struct Mboxrd {
    /// The beginning of a line, until it is known whether it needs a mark.
    start: Vec<u8>,
    in_line: bool,
    after_cr: bool,
}

impl Mboxrd {
    /// The line before a message; `date` is its time, as `asctime(3)` writes it.
    pub fn begin(&mut self, date: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"From MAILER-DAEMON ");
        out.extend_from_slice(date.as_bytes());
        out.push(b'\n');
        *self = Self::default();
    }

    /// A piece of the message; CR LF becomes LF.
    pub fn encode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if std::mem::take(&mut self.after_cr) && byte != b'\n' {
                self.put(b'\r', out);
            }
            match byte {
                b'\r' => self.after_cr = true,
                byte => self.put(byte, out),
            }
        }
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        const MARK: &[u8] = b"From ";
        if self.in_line {
            out.push(byte);
        } else {
            self.start.push(byte);
            let quotes = self.start.iter().take_while(|b| **b == b'>').count();
            let rest = &self.start[quotes..];
            if rest == MARK {
                out.push(b'>');
            } else if MARK.starts_with(rest) {
                return; // it may still become one
            }
            out.append(&mut self.start);
            self.in_line = true;
        }
        if byte == b'\n' {
            self.in_line = false;
        }
    }

    /// The end of a message: its last line gets its end, and an empty line follows.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.in_line || !self.start.is_empty() {
            out.append(&mut self.start);
            out.push(b'\n');
        }
        out.push(b'\n');
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_messages_are_marked_however_they_are_cut() {
        for (message, expected) in [
            (
                &b"a\r\nFrom me\r\n>From x\r\n>>From\r\nFro\r\n"[..],
                &b"a\n>From me\n>>From x\n>>From\nFro\n\n"[..],
            ),
            (b"From ", b">From \n\n"),
            (b"no end", b"no end\n\n"),
            (b"a\rb\r\r\n", b"a\rb\r\n\n"),
            (b">", b">\n\n"),
            (b"", b"\n"),
            (b"\r\n\r\n", b"\n\n\n"),
        ] {
            for chunk in 1..=message.len().max(1) {
                let (mut mbox, mut out) = (Mboxrd::default(), Vec::new());
                mbox.begin("Thu Jan  1 00:00:00 1970", &mut out);
                let head = out.len();
                for piece in message.chunks(chunk) {
                    mbox.encode(piece, &mut out);
                }
                mbox.end(&mut out);
                assert_eq!(
                    out[head..].escape_ascii().to_string(),
                    expected.escape_ascii().to_string()
                );
            }
        }
    }
}
