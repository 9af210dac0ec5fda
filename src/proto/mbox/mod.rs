//! Messages in a row: mboxrd, in which a line `From ` inside a message has a `>` before it, and so
//! has one that has that already, so that both can be told back.

mod read;

use mail_parser::DateTime;
pub use read::{Starts, date, decode, status, trim};

const MARK: &[u8] = b"From ";

/// A time, in seconds since 1970, as the line before a message has it: `Tue Nov 24 12:00:00 2026`,
/// as asctime(3) writes it, in UTC.
pub fn asctime(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let time = DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX));
    let day = DAYS[usize::from(time.day_of_week()) % DAYS.len()];
    let month = read::MONTHS[(usize::from(time.month).max(1) - 1) % read::MONTHS.len()];
    let DateTime { day: date, hour, minute, second, year, .. } = time;
    format!("{day} {month} {date:2} {hour:02}:{minute:02}:{second:02} {year}")
}

/// A sender who is longer than any (RFC 5321 §4.5.3.1.3).
const LONGEST_SENDER: usize = 512;

/// Where in a line we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before its first octet.
    #[default]
    Start,
    /// Behind one `>` or more.
    Quoted,
    /// So many octets of the mark have come, and are held back.
    Mark(usize),
    /// Nothing of this line needs a mark any more.
    Inside,
}

/// Writes one message after the other.
#[derive(Debug, Default)]
pub struct Mboxrd {
    place: Place,
    after_cr: bool,
}

impl Mboxrd {
    /// The line before a message: its envelope's sender, and its time as `asctime(3)` writes it.
    pub fn begin(&mut self, sender: &str, date: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(MARK);
        // Nobody, or somebody whose name would make other words of the line, or another line.
        let known = (1..LONGEST_SENDER).contains(&sender.len())
            && !sender.contains(|c: char| c.is_whitespace());
        out.extend_from_slice(if known { sender.as_bytes() } else { b"MAILER-DAEMON" });
        out.push(b' ');
        out.extend_from_slice(date.as_bytes());
        out.push(b'\n');
        *self = Self::default();
    }

    /// A piece of the message; CR LF becomes LF.
    pub fn encode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            if self.place == Place::Inside && !self.after_cr {
                // Nothing in the middle of a line needs a look: that is most of a message.
                let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                if run > 0 {
                    out.extend_from_slice(&rest[..run]);
                    rest = &rest[run..];
                    continue;
                }
            }
            rest = after;
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
        let held = match self.place {
            Place::Inside => MARK.len(),
            Place::Mark(held) => held,
            Place::Start | Place::Quoted if byte == b'>' => {
                // It need not wait: where among its like one more stands is all the same.
                out.push(byte);
                self.place = Place::Quoted;
                return;
            }
            Place::Start | Place::Quoted => 0,
        };
        if MARK.get(held) == Some(&byte) {
            self.place = Place::Mark(held + 1);
            if held + 1 == MARK.len() {
                out.push(b'>');
                out.extend_from_slice(MARK);
                self.place = Place::Inside;
            }
            return;
        }
        if held < MARK.len() {
            out.extend_from_slice(&MARK[..held]);
        }
        out.push(byte);
        self.place = if byte == b'\n' { Place::Start } else { Place::Inside };
    }

    /// The end of a message: its last line gets its end, and an empty line follows.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            self.put(b'\r', out);
        }
        if let Place::Mark(held) = self.place {
            out.extend_from_slice(&MARK[..held]);
        }
        if self.place != Place::Start {
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
    fn times_are_as_asctime_writes_them_and_can_be_read_back() {
        for (seconds, time) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (951_868_800, "Wed Mar  1 00:00:00 2000"),
            (1_795_521_600, "Tue Nov 24 12:00:00 2026"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
        ] {
            assert_eq!(asctime(seconds), time);
            assert_eq!(date(format!("From a {time}").as_bytes()), Some(seconds));
        }
        // Any number is a time, if not one that anybody needs.
        assert!(!asctime(u64::MAX).is_empty());
    }

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
            (b"a\r", b"a\r\n\n"),
            (b">>Fro", b">>Fro\n\n"),
            (b">FFrom ", b">FFrom \n\n"),
            (b"", b"\n"),
            (b"\r\n\r\n", b"\n\n\n"),
        ] {
            for chunk in 1..=message.len().max(1) {
                let (mut mbox, mut out) = (Mboxrd::default(), Vec::new());
                mbox.begin("", "Thu Jan  1 00:00:00 1970", &mut out);
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

    #[test]
    fn a_line_of_quotes_is_passed_on_at_once() {
        // It was held until its end, and read anew for each of its octets.
        let (mut mbox, mut out) = (Mboxrd::default(), Vec::new());
        let quotes = vec![b'>'; 1_000_000];
        mbox.encode(&quotes, &mut out);
        assert_eq!(out.len(), quotes.len());
        mbox.encode(b"From me", &mut out);
        mbox.end(&mut out);
        assert!(out.ends_with(b">>From me\n\n") && out.len() == quotes.len() + 10);
    }
}
