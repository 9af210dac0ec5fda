//! Reading a mailbox that anybody may have written: ours, mboxo, with lines that end in CR LF, or
//! with no empty line between the messages.

use super::MARK;
use crate::proto::store::Flags;
use mail_parser::DateTime;

/// No line before a message is longer; what begins like one and is, belongs to the message.
const LONGEST: usize = 1000;

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Finds where messages begin, however the file is cut.
///
/// A line that begins with `From ` and has a date is the beginning of one. Others have it inside
/// messages, where whoever wrote the file quotes nothing.
#[derive(Debug)]
pub struct Starts {
    /// The line so far, as long as it may still be one that counts.
    held: Vec<u8>,
    /// This line is none that counts.
    inside: bool,
    /// The line before was empty.
    after_empty: bool,
    /// Nothing but empty lines so far.
    nothing_yet: bool,
    /// Something stands before the first message.
    stray: bool,
    at: u64,
    line_at: u64,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            inside: false,
            after_empty: true,
            nothing_yet: true,
            stray: false,
            at: 0,
            line_at: 0,
        }
    }
}

impl Starts {
    /// A piece of the file: where in it messages begin, counted from the beginning of the file.
    pub fn read(&mut self, mut piece: &[u8], found: &mut Vec<u64>) {
        while !piece.is_empty() {
            let end = memchr::memchr(b'\n', piece);
            let line = &piece[..end.unwrap_or(piece.len())];
            if !self.inside {
                let room = LONGEST.saturating_sub(self.held.len()) + 1;
                self.held.extend_from_slice(&line[..line.len().min(room)]);
                self.inside = !may_count(&self.held);
            }
            let taken = line.len() + usize::from(end.is_some());
            self.at += taken as u64;
            if end.is_some() {
                self.end_line(found);
            }
            piece = &piece[taken..];
        }
    }

    /// The end of the file.
    pub fn finish(&mut self, found: &mut Vec<u64>) {
        if self.at > self.line_at {
            self.end_line(found);
        }
    }

    /// It begins as a mailbox does, or is empty.
    pub fn is_mbox(&self) -> bool {
        !self.stray
    }

    fn end_line(&mut self, found: &mut Vec<u64>) {
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        let empty = line.is_empty() && !self.inside;
        if !empty {
            let marked = !self.inside && line.starts_with(MARK);
            let counts = self.nothing_yet
                || date(line).is_some()
                || (self.after_empty && line.split(|&b| b == b' ').count() == 2);
            if marked && counts {
                found.push(self.line_at);
            } else if self.nothing_yet {
                self.stray = true;
            }
            self.nothing_yet = false;
        }
        self.after_empty = empty;
        self.held.clear();
        self.inside = false;
        self.line_at = self.at;
    }
}

/// A line that begins so may be the one before a message, or an empty one.
fn may_count(start: &[u8]) -> bool {
    let shorter = start.len().min(MARK.len());
    start.len() <= LONGEST && (start[..shorter] == MARK[..shorter] || start == b"\r")
}

/// When a message came, as the line before it tells, in seconds since 1970.
pub fn date(line: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(&line[..line.len().min(LONGEST)]);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let at = words.iter().rposition(|word| time(word).is_some())?;
    let (hour, minute, second) = time(words[at])?;
    let month = |word: &&str| MONTHS.iter().position(|m| m == word);
    let (before, after) = (&words[..at], &words[at + 1..]);
    // `Nov 25 17:45:00 2026`, with a zone before or after the year; or `25 Nov 2026 17:45:00`.
    let (year, month, day) = match before {
        [.., day, m, year] if month(m).is_some() && year.len() == 4 => {
            (number(year)?, month(m)?, number(day)?)
        }
        [.., m, day] if month(m).is_some() => {
            let year = after.iter().find(|word| word.len() == 4 && number(word).is_some())?;
            (number(year)?, month(m)?, number(day)?)
        }
        _ => return None,
    };
    let zone = after.iter().find_map(|word| zone(word));
    let (tz_before_gmt, tz_hour, tz_minute) = zone.unwrap_or_default();
    let date = DateTime {
        year: u16::try_from(year).ok()?,
        month: u8::try_from(month + 1).ok()?,
        day: u8::try_from(day).ok().filter(|day| (1..=31).contains(day))?,
        hour,
        minute,
        second,
        tz_before_gmt,
        tz_hour,
        tz_minute,
    };
    Some(u64::try_from(date.to_timestamp()).unwrap_or(0))
}

fn number(word: &str) -> Option<u32> {
    word.parse().ok().filter(|_| word.bytes().all(|b| b.is_ascii_digit()))
}

/// `17:45`, `17:45:00`.
fn time(word: &str) -> Option<(u8, u8, u8)> {
    let mut parts = word.split(':');
    let mut part = |below: u32| {
        let part = parts.next()?;
        let number = number(part).filter(|n| part.len() <= 2 && *n < below)?;
        u8::try_from(number).ok()
    };
    let (hour, minute) = (part(24)?, part(60)?);
    // A second may be one that is put in.
    let second = part(61);
    (parts.next().is_none() && (second.is_some() || word.matches(':').count() == 1)).then_some((
        hour,
        minute,
        second.unwrap_or(0),
    ))
}

/// `+0100`: true if it is earlier there than in Greenwich, hours and minutes.
fn zone(word: &str) -> Option<(bool, u8, u8)> {
    let digits = word.strip_prefix(['+', '-']).filter(|digits| digits.len() == 4)?;
    let number = number(digits)?;
    let (hours, minutes) = (u8::try_from(number / 100).ok()?, u8::try_from(number % 100).ok()?);
    Some((word.starts_with('-'), hours, minutes))
}

/// Lines end in CR LF, as the one before the message tells: otherwise a CR is the message's.
fn has_crlf(raw: &[u8]) -> bool {
    memchr::memchr(b'\n', raw).is_some_and(|end| raw[..end].ends_with(b"\r"))
}

/// A message of the file without the line ends behind it, which are the writer's: at most those
/// of its last line and of the empty line after it.
pub fn trim(raw: &[u8]) -> &[u8] {
    let crlf = has_crlf(raw);
    let cut = |raw: &'_ [u8]| {
        let end = raw.strip_suffix(b"\n")?;
        Some(end.strip_suffix(b"\r").filter(|_| crlf).unwrap_or(end).len())
    };
    let once = cut(raw).map_or(raw, |end| &raw[..end]);
    cut(once).map_or(once, |end| &once[..end])
}

/// A message of the file, [trimmed](trim), as it was before it was put there: without the line
/// before it and the marks, its lines ending in CR LF.
pub fn decode(trimmed: &[u8]) -> Vec<u8> {
    let Some(first) = memchr::memchr(b'\n', trimmed) else { return Vec::new() };
    let rest = &trimmed[first + 1..];
    // Some put a message with CR LF behind a line without.
    let lines = || rest.split(|&b| b == b'\n');
    let crlf = has_crlf(trimmed) || lines().all(|line| line.ends_with(b"\r"));
    let mut out = Vec::with_capacity(rest.len() + rest.len() / 32 + 2);
    for line in lines() {
        let quotes = line.iter().position(|&b| b != b'>').unwrap_or(line.len());
        let quoted = quotes > 0 && line[quotes..].starts_with(MARK);
        let line = &line[usize::from(quoted)..];
        out.extend_from_slice(line.strip_suffix(b"\r").filter(|_| crlf).unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The marks that other programs keep in the header of a message.
pub fn status(content: &[u8]) -> Flags {
    let mut flags = Flags::default();
    for line in content.split(|&b| b == b'\n').take_while(|line| *line != b"\r") {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let has = |letter: u8| value.contains(&letter);
        if name.eq_ignore_ascii_case(b"Status") {
            flags.seen |= has(b'R');
        } else if name.eq_ignore_ascii_case(b"X-Status") {
            flags.answered |= has(b'A');
            flags.flagged |= has(b'F');
            flags.deleted |= has(b'D');
            flags.draft |= has(b'T');
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::super::Mboxrd;
    use super::*;

    fn starts(file: &[u8], chunk: usize) -> (Vec<u64>, bool) {
        let (mut reader, mut found) = (Starts::default(), Vec::new());
        for piece in file.chunks(chunk) {
            reader.read(piece, &mut found);
        }
        reader.finish(&mut found);
        (found, reader.is_mbox())
    }

    fn messages(file: &[u8]) -> Vec<Vec<u8>> {
        let (found, _) = starts(file, file.len().max(1));
        let ends = found.iter().skip(1).copied().chain([file.len() as u64]);
        let range = |(&from, to): (&u64, u64)| from as usize..to as usize;
        found.iter().zip(ends).map(|both| decode(trim(&file[range(both)]))).collect()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let all: [&[u8]; 9] = [
            b"S: 1\r\n\r\nFrom me\r\n>From you\r\n>>From x\r\n",
            b"",
            b"\r\n",
            b"\r\n\r\n\r\n",
            b">\r\n",
            b"From ann@x Wed Nov 25 17:45:00 2026\r\n",
            b"a\rb\r\n",
            b"a\r\nb\r\r\n\r\r\n",
            b"end\r\n\r\n",
        ];
        let (mut mbox, mut file) = (Mboxrd::default(), Vec::new());
        for message in all {
            mbox.begin("ann@x", "Wed Nov 25 17:45:00 2026", &mut file);
            mbox.encode(message, &mut file);
            mbox.end(&mut file);
        }
        assert_eq!(messages(&file), all.map(<[u8]>::to_vec));
        let whole = starts(&file, file.len());
        for chunk in 1..60 {
            assert_eq!(starts(&file, chunk), whole, "in pieces of {chunk}");
        }
    }

    #[test]
    fn what_others_write_is_read_too() {
        let body = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
        for (file, expected) in [
            // No empty line between them, and no end of the last line.
            (
                "From a Wed Nov 25 17:45:00 2026\nS: 1\n\none\n\
                 From b@c Thu Nov 26 07:05 2026 +0100\nS: 2\n\ntwo",
                body(&["S: 1\r\n\r\none\r\n", "S: 2\r\n\r\ntwo\r\n"]),
            ),
            // CR LF, and a first line without a date.
            (
                "From -\r\nS: 1\r\n\r\none\r\n\r\nFrom b Thu, 26 Nov 2026 07:05:00 -0500\r\nS: 2\r\n\r\n",
                body(&["S: 1\r\n\r\none\r\n", "S: 2\r\n"]),
            ),
            // Nothing is quoted.
            (
                "\n\nFrom a Wed Nov 25 17:45:00 CET 2026\nS: 1\n\nFrom here on\nit goes\n\nFrom me to you\n",
                body(&["S: 1\r\n\r\nFrom here on\r\nit goes\r\n\r\nFrom me to you\r\n"]),
            ),
            // Only the line before it has LF.
            ("From a\nS: 1\r\n\r\none\r\n\n", body(&["S: 1\r\n\r\none\r\n"])),
            ("From a\n\nFrom b\n\n", body(&["", ""])),
            ("", body(&[])),
            ("\n\r\n\n", body(&[])),
        ] {
            assert_eq!(messages(file.as_bytes()), expected, "{file:?}");
            assert!(starts(file.as_bytes(), 7).1, "{file:?}");
        }
        assert!(!starts(b"%PDF-1.4\nFrom a Wed Nov 25 17:45:00 2026\n", 3).1);
        let long =
            [b"From a Wed Nov 25 17:45:00 2026\n\nFrom ", "x".repeat(3000).as_bytes()].concat();
        for chunk in [1, 7, 5000] {
            assert_eq!(starts(&long, chunk).0, [0]);
        }
    }

    #[test]
    fn marks_of_other_programs_are_understood() {
        let text = b"Status: RO\r\nx-status: AFT\r\nSubject: D\r\n\r\nX-Status: D\r\n";
        let expected =
            Flags { seen: true, answered: true, flagged: true, draft: true, ..Flags::default() };
        assert_eq!(status(text), expected);
        assert_eq!(status(b"Status: O\r\n\r\n"), Flags::default());
    }

    #[test]
    fn the_line_before_a_message_tells_when_it_came() {
        for (line, seconds) in [
            ("From a Wed Nov 25 17:45:00 2026", Some(1_795_628_700)),
            ("From a  Wed Nov 25 17:45 2026", Some(1_795_628_700)),
            ("From a b Wed Nov 25 17:45:00 CET 2026", Some(1_795_628_700)),
            ("From a Wed Nov 25 18:45:00 2026 +0100", Some(1_795_628_700)),
            ("From a Wed, 25 Nov 2026 12:45:00 -0500", Some(1_795_628_700)),
            ("From a Wed Dec 31 23:59:59 1969", Some(0)),
            ("From a Wed Nov 32 17:45:00 2026", None),
            ("From a Wed Nov 25 24:45:00 2026", None),
            ("From me at 17:45 sharp", None),
            ("From a 1:2:3:4 Nov 25 2026", None),
            ("From ", None),
        ] {
            assert_eq!(date(line.as_bytes()), seconds, "{line}");
        }
    }
}
