//! The UIDs of a folder, in a small file beside its messages. It can be made anew: then all UIDs
//! are others, and so is UIDVALIDITY.
//!
//! ```text
//! ncat-index 1 VALIDITY NEXT
//! k KEYWORD           the letters a, b, c ... in the names of files, in this order
//! UID SIZE RECEIVED NAME
//! ```
//!
//! In the directory of the whole, `ncat-validity` has the last UIDVALIDITY that was given to any
//! folder, so that one made anew within the same second is another one all the same.

use crate::mailbox::{refusal, step, sync_dir};
use crate::proto::store::Result;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file.
pub(super) const FILE: &str = "ncat-index";
/// Who changes the index holds this.
const LOCK: &str = "ncat-lock";
/// The last UIDVALIDITY of all.
const VALIDITY: &str = "ncat-validity";

/// What is kept of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: u32,
    pub(super) size: u64,
    pub(super) received: u64,
}

/// The index of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) validity: u32,
    pub(super) next: u32,
    /// An empty one holds a letter that files have and nobody knows any more.
    pub(super) keywords: Vec<String>,
    /// By the name for good.
    pub(super) entries: HashMap<String, Entry>,
}

/// Nobody else changes the index while this is there.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(dir.join(LOCK));
        let file = file.map_err(|e| refusal(&e))?;
        // A process that dies lets go of it.
        file.lock().map_err(|e| refusal(&e))?;
        Ok(Self(file))
    }
}

impl Index {
    /// A new one, whose UIDs are no others' under its UIDVALIDITY: that is the time, or later.
    pub(super) fn fresh(base: &Path, dir: &Path) -> Result<Self> {
        let old = fs::read(dir.join(FILE)).unwrap_or_default();
        // A damaged one may still tell what must not come again.
        let old = String::from_utf8_lossy(&old).split(' ').nth(2).and_then(|w| w.parse().ok());
        let validity = next_validity(base, old.unwrap_or(0)).map_err(|e| refusal(&e))?;
        Ok(Self { validity, next: 1, ..Self::default() })
    }

    /// Reads it, unless it is lost or damaged.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(dir.join(FILE)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // A write is by rename, so only whole files are there; one without its end is damaged.
        let mut lines = text.strip_suffix("end\n")?.lines();
        let mut head = lines.next()?.split(' ');
        if (head.next()?, head.next()?) != ("ncat-index", "1") {
            return None;
        }
        let (validity, next) = (head.next()?.parse().ok()?, head.next()?.parse().ok()?);
        let mut index = Self { validity, next, ..Self::default() };
        for line in lines {
            if let Some(keyword) = line.strip_prefix("k ") {
                index.keywords.push(keyword.to_owned());
                continue;
            }
            let mut words = line.splitn(4, ' ');
            let mut number = || words.next()?.parse::<u64>().ok();
            let (uid, size, received) = (number()?, number()?, number()?);
            let uid = u32::try_from(uid).ok().filter(|uid| (1..index.next).contains(uid))?;
            index.entries.insert(words.next()?.to_owned(), Entry { uid, size, received });
        }
        let uids: HashSet<_> = index.entries.values().map(|entry| entry.uid).collect();
        (uids.len() == index.entries.len()).then_some(index)
    }

    /// Writes it, under the lock, so that it is whole whenever somebody looks.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let mut text = format!("ncat-index 1 {} {}\n", self.validity, self.next);
        for keyword in &self.keywords {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "k {keyword}");
        }
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.uid);
        for (name, Entry { uid, size, received }) in entries {
            let _ = writeln!(text, "{uid} {size} {received} {name}");
        }
        text.push_str("end\n");
        let draft = dir.join(format!("{FILE}.new"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            step();
            file.write_all(text.as_bytes())?;
            step();
            file.sync_all()?;
            fs::rename(&draft, dir.join(FILE))?;
            step();
            sync_dir(dir)
        };
        write().map_err(|e| {
            // On a full disk even half of it takes room.
            let _ = fs::remove_file(&draft);
            refusal(&e)
        })
    }
}

/// A UIDVALIDITY that no folder here has had, and above this one.
fn next_validity(base: &Path, than: u32) -> io::Result<u32> {
    let path = base.join(VALIDITY);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut text = String::new();
    // What cannot be read has lost its say; the time is later all the same.
    let last = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let least = last.unwrap_or(0).max(than).saturating_add(1);
    let next = u32::try_from(now).unwrap_or(u32::MAX).max(least);
    step();
    // As long as the one before it, so that no half of it is another number.
    file.write_all_at(format!("{next:010}\n").as_bytes(), 0)?;
    file.sync_all()?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_written_and_a_damaged_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::fresh(dir.path(), dir.path()).unwrap();
        assert!(index.validity > 1_700_000_000 && index.next == 1);
        index.next = 8;
        index.keywords.push("$Work".to_owned());
        index.entries.insert("1.a b".to_owned(), Entry { uid: 7, size: 3, received: 9 });
        index.save(dir.path()).unwrap();
        assert_eq!(Index::read(dir.path()).unwrap(), index);
        let whole = fs::read_to_string(dir.path().join(FILE)).unwrap();
        for end in 0..whole.len() {
            fs::write(dir.path().join(FILE), &whole[..end]).unwrap();
            assert_eq!(Index::read(dir.path()), None, "{end}");
            let again = Index::fresh(dir.path(), dir.path()).unwrap();
            assert!(again.entries.is_empty() && again.next == 1, "{end}");
            assert!(again.validity > index.validity, "{end}");
        }
        // The same UID twice, none, or one that is still to come.
        for line in ["7 3 9 other", "0 3 9 other", "8 3 9 other"] {
            let text = whole.replace("end\n", &format!("{line}\nend\n"));
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(Index::read(dir.path()), None, "{line}");
        }
    }
}
