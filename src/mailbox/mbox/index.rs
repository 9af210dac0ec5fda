//! What is known of the messages of a file, in a journal beside it: their UIDs and marks, and where
//! they are. It can be made anew: then all UIDs are others, and so is UIDVALIDITY.
//!
//! ```text
//! ncat-mbox 1 VALIDITY
//! n NEXT SEEN                                      the next UID, the last that was seen
//! m UID OFFSET LENGTH SIZE RECEIVED HASH FLAGS     a message, whether it is in the file or not
//! a OFFSET HEAD                                    from here on the messages below are added
//! x UID,UID                                        these are taken out
//! f UID FLAGS                                      marks
//! s SIZE MTIME NEXT                                so the file was when all above was true
//! ```
//!
//! What is done to the file is written here first, and is not true before it is found there.

use super::Files;
use crate::mailbox::memory::now;
use crate::mailbox::{journal, refusal};
use crate::proto::store::{Flags, Result};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

const HEAD: &str = "ncat-mbox 1 ";

/// It is written anew when it has so many lines more than twice those that it needs.
pub(super) const SLACK: usize = 1000;

/// How a file was: its size and when it was changed, in nanoseconds.
pub(super) type Stamp = (u64, i128);

/// The stamp of a file.
pub(super) fn stamp(data: &Metadata) -> Stamp {
    (data.len(), i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec()))
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: u32,
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its octets there, without the line ends behind it.
    pub(super) length: u64,
    /// Its octets with CR LF line ends.
    pub(super) size: u64,
    pub(super) received: u64,
    /// Of its octets in the file: that by which it is known again.
    pub(super) hash: String,
    pub(super) flags: Flags,
}

/// What is being added to the file, perhaps by somebody who is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    /// What the file was long before.
    pub(super) offset: u64,
    /// The first octets of it.
    pub(super) head: Vec<u8>,
    /// Its messages are those from this UID on.
    pub(super) from: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) validity: u32,
    pub(super) next: u32,
    /// Up to this UID they have been seen by somebody who opened the mailbox for writing.
    pub(super) seen: u32,
    /// By UID.
    pub(super) entries: Vec<Entry>,
    /// The file when all this was true.
    pub(super) stamp: Option<Stamp>,
    pub(super) intent: Option<Intent>,
    /// UIDs that somebody was about to take out.
    pub(super) leaving: HashSet<u32>,
    /// It would be much shorter if it were written anew.
    pub(super) is_long: bool,
}

impl Index {
    /// Reads it; a new one if it is lost or damaged.
    pub(super) fn load(files: &Files) -> Self {
        let bytes = fs::read(&files.index).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(journal::whole(&text)).unwrap_or_else(|| {
            // A damaged one may still tell what must not come again.
            let old = text.strip_prefix(HEAD).and_then(|rest| rest.split(['\n', ' ']).next());
            let old: u32 = old.and_then(|old| old.parse().ok()).unwrap_or(0);
            let now = u32::try_from(now()).unwrap_or(u32::MAX);
            Self { validity: now.max(old.saturating_add(1)), next: 1, ..Self::default() }
        })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let validity = lines.next()?.strip_prefix(HEAD)?.parse().ok().filter(|v| *v > 0)?;
        let mut index = Self { validity, next: 1, ..Self::default() };
        let mut count = 0;
        for line in lines {
            index.learn(line)?;
            count += 1;
        }
        index.is_long = count > 2 * index.entries.len() + SLACK;
        Some(index)
    }

    fn learn(&mut self, line: &str) -> Option<()> {
        let (what, rest) = line.split_once(' ')?;
        let mut words = rest.split(' ');
        match what {
            "n" => {
                self.next = self.next.max(number(words.next()?)?);
                self.seen = self.seen.max(number(words.next()?)?);
            }
            "m" => {
                let entry = entry(&mut words)?;
                // In their order, and each once.
                if self.entries.last().is_some_and(|last| last.uid >= entry.uid) {
                    return None;
                }
                self.next = self.next.max(entry.uid.checked_add(1)?);
                self.entries.push(entry);
            }
            "a" => {
                let offset = words.next()?.parse().ok()?;
                self.intent =
                    Some(Intent { offset, head: from_hex(words.next()?)?, from: self.next });
                self.stamp = None;
            }
            "x" => {
                self.leaving = words.next()?.split(',').map(number).collect::<Option<_>>()?;
                self.stamp = None;
            }
            "f" => {
                let uid = number(words.next()?)?;
                let flags = flags(&mut words)?;
                if let Ok(at) = self.entries.binary_search_by_key(&uid, |entry| entry.uid) {
                    self.entries[at].flags = flags;
                }
            }
            "s" => {
                let (stamp, next) = sealed(line)?;
                self.next = self.next.max(next);
                (self.stamp, self.intent) = (Some(stamp), None);
                self.leaving.clear();
            }
            _ => return None,
        }
        Some(())
    }

    /// All of it, as short as it can be. Without a stamp, nothing of it is taken as true.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{HEAD}{}\nn {} {}\n", self.validity, self.next, self.seen);
        self.entries.iter().for_each(|entry| text.push_str(&line(entry)));
        text.push_str(&self.stamp.map(|stamp| seal(stamp, self.next)).unwrap_or_default());
        text
    }

    /// Writes it anew.
    pub(super) fn save(&self, files: &Files) -> Result<()> {
        journal::replace(&files.index, &self.text()).map_err(|e| refusal(&e))
    }

    pub(super) fn find(&self, uid: u32) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()?;
        Some(&self.entries[at])
    }
}

/// UIDVALIDITY and the next UID, if the journal ends by saying that the file is as it is now:
/// so that nobody has to read all of it to add a message.
pub(super) fn glance(files: &Files, now: Stamp) -> Option<(u32, u32)> {
    let (first, last) = journal::ends(&files.index)?;
    let validity = first.strip_prefix(HEAD)?.parse().ok()?;
    let (stamp, next) = sealed(&last)?;
    (stamp == now).then_some((validity, next))
}

/// The line of a message.
pub(super) fn line(entry: &Entry) -> String {
    let Entry { uid, offset, length, size, received, hash, flags } = entry;
    format!("m {uid} {offset} {length} {size} {received} {hash} {}\n", written(flags))
}

/// The line before those of messages that are about to be added.
pub(super) fn opening(offset: u64, head: &[u8]) -> String {
    format!("a {offset} {}\n", hex(head))
}

/// The line about what is about to be taken out.
pub(super) fn parting(uids: &[u32]) -> String {
    let uids: Vec<_> = uids.iter().map(ToString::to_string).collect();
    format!("x {}\n", uids.join(","))
}

/// The line about marks.
pub(super) fn marking(uid: u32, flags: &Flags) -> String {
    format!("f {uid} {}\n", written(flags))
}

/// The line by which everything above it is true.
pub(super) fn seal((size, time): Stamp, next: u32) -> String {
    format!("s {size} {time} {next}\n")
}

fn sealed(line: &str) -> Option<(Stamp, u32)> {
    let mut words = line.strip_prefix("s ")?.split(' ');
    let stamp = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let next = number(words.next()?)?;
    words.next().is_none().then_some((stamp, next))
}

fn number(word: &str) -> Option<u32> {
    word.parse().ok()
}

fn entry<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Entry> {
    let uid = number(words.next()?).filter(|uid| *uid > 0)?;
    let mut long = || words.next()?.parse::<u64>().ok();
    let (offset, length, size, received) = (long()?, long()?, long()?, long()?);
    offset.checked_add(length)?;
    let hash = words.next()?.to_owned();
    Some(Entry { uid, offset, length, size, received, hash, flags: flags(words)? })
}

/// `FS` and the keywords behind it, or `-`.
fn written(flags: &Flags) -> String {
    let Flags { seen, answered, flagged, deleted, draft, keywords } = flags;
    let letters =
        [(draft, 'D'), (flagged, 'F'), (answered, 'R'), (seen, 'S'), (deleted, 'T'), (&true, '-')];
    let mut text: String = letters.iter().filter(|(set, _)| **set).map(|(_, c)| *c).collect();
    // One that would not fit on a line was no keyword of IMAP.
    for keyword in keywords.iter().filter(|keyword| fits(keyword)) {
        // Writing to a String cannot fail.
        let _ = write!(text, " {keyword}");
    }
    text
}

/// What is kept of marks.
pub(super) fn kept(flags: &Flags) -> Flags {
    let keywords = flags.keywords.iter().filter(|keyword| fits(keyword)).cloned().collect();
    Flags { keywords, ..*flags }
}

fn fits(keyword: &str) -> bool {
    !keyword.is_empty() && keyword.chars().all(|c| c.is_ascii_graphic())
}

fn flags<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Flags> {
    let mut flags = Flags::default();
    for letter in words.next()?.chars() {
        match letter {
            'D' => flags.draft = true,
            'F' => flags.flagged = true,
            'R' => flags.answered = true,
            'S' => flags.seen = true,
            'T' => flags.deleted = true,
            '-' => {}
            _ => return None,
        }
    }
    flags.keywords = words.map(str::to_owned).collect();
    Some(flags)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: u32, keywords: &[&str]) -> Entry {
        let keywords = keywords.iter().map(|&k| k.to_owned()).collect();
        let flags = Flags { seen: uid == 2, keywords, ..Flags::default() };
        let hash = hex(&[7; 16]);
        Entry { uid, offset: 10, length: 5, size: 6, received: 7, hash, flags }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_as_it_has_grown() {
        let entries = vec![entry(2, &["$Work", "b"]), entry(5, &[])];
        let stamp = Some((9, 1_795_521_600_000_000_001));
        let index = Index { validity: 3, next: 9, seen: 4, entries, stamp, ..Index::default() };
        let text = index.text();
        assert_eq!(Index::parse(&text), Some(index.clone()));
        // Marks of one that is no more do no harm.
        let flags = Flags { flagged: true, keywords: vec!["x".into()], ..Flags::default() };
        let grown = format!("{text}{}{}", marking(5, &flags), marking(7, &flags));
        assert_eq!(Index::parse(&grown).unwrap().entries[1].flags, flags);
        // What is about to happen is not true yet.
        let grown = format!("{text}{}{}", opening(9, b"From"), line(&entry(12, &[])));
        let parsed = Index::parse(&grown).unwrap();
        assert_eq!(parsed.intent, Some(Intent { offset: 9, head: b"From".to_vec(), from: 9 }));
        assert_eq!((parsed.stamp, parsed.next, parsed.entries.len()), (None, 13, 3));
        let sealed = Index::parse(&format!("{grown}{}", seal((20, 1), 13))).unwrap();
        assert_eq!((sealed.intent, sealed.stamp), (None, Some((20, 1))));
        let leaving = Index::parse(&format!("{text}{}", parting(&[2, 5]))).unwrap();
        assert_eq!((leaving.leaving, leaving.stamp), (HashSet::from([2, 5]), None));
    }

    #[test]
    fn a_damaged_one_is_none() {
        let good = format!("{HEAD}3\nn 9 4\n{}", line(&entry(2, &[])));
        assert!(Index::parse(&good).is_some());
        for line in [
            "",
            "m",
            "q 1",
            "n 1",
            "n x 1",
            "s 1 2",
            "s 1 2 3 4",
            "a 1",
            "a 1 0g",
            "x",
            "x 1,",
            "f 1",
            "f 1 Q",
            "m 2 1 1 1 1 h -",
            "m 0 1 1 1 1 h -",
            "m 4294967295 1 1 1 1 h -",
            "m 3 1 1 1 h -",
            "m 3 18446744073709551615 1 1 1 h -",
        ] {
            assert_eq!(Index::parse(&format!("{good}{line}\n")), None, "{line}");
        }
        for head in ["", "ncat-mbox 2 3\n", "ncat-mbox 1 0\n", "ncat-mbox 1 x\n"] {
            assert_eq!(Index::parse(head), None, "{head}");
        }
    }
}
