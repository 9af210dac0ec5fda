//! The UIDs of a folder, in a small file beside its messages. It can be made anew: then all UIDs
//! are others, and so is UIDVALIDITY.
//!
//! ```text
//! ncat-index 1 VALIDITY NEXT
//! k KEYWORD           the letters a, b, c ... in the names of files, in this order
//! UID SIZE RECEIVED NAME
//! end
//! k KEYWORD           what has come since: another letter,
//! - UID               a message that is gone,
//! + UID SIZE RECEIVED NAME
//! ```
//!
//! It grows by its end, and is written anew when what has come since is more than what stood there.
//!
//! In the directory of the whole, `ncat-validity` has the last UIDVALIDITY that was given to any
//! folder, so that one made anew within the same second is another one all the same.

use crate::mailbox::{Patience, journal, lock_ours, refusal, step};
use crate::proto::store::Result;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file.
pub(super) const FILE: &str = "ncat-index";
/// Who changes the index holds this.
const LOCK: &str = "ncat-lock";
/// The last UIDVALIDITY of all.
const VALIDITY: &str = "ncat-validity";

/// What has come since may be so many lines longer than what stood there.
const SLACK: usize = 100;

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
    /// Lines that have come since it was written anew; no end of them if it has never been.
    grown: usize,
}

/// No end of lines.
const NEVER: usize = usize::MAX / 2;

/// Nobody else changes the index while this is there.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(dir.join(LOCK));
        let file = file.map_err(|e| refusal(&e))?;
        lock_ours(&file, Patience::Some).map_err(|e| refusal(&e))?;
        Ok(Self(file))
    }
}

impl Index {
    /// A new one, whose UIDs are no others' under its UIDVALIDITY: that is the time, or later.
    pub(super) fn fresh(base: &Path, dir: &Path) -> io::Result<Self> {
        let old = fs::read(dir.join(FILE)).unwrap_or_default();
        // A damaged one may still tell what must not come again.
        let old = String::from_utf8_lossy(&old).split(' ').nth(2).and_then(|w| w.parse().ok());
        let validity = next_validity(base, old.unwrap_or(0))?;
        Ok(Self { validity, next: 1, grown: NEVER, ..Self::default() })
    }

    /// It has been made anew, and nobody else knows of it.
    pub(super) fn is_fresh(&self) -> bool {
        self.grown >= NEVER
    }

    /// Reads it, unless it is lost or damaged.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(dir.join(FILE)).ok()?)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        // It is written anew by rename, so that much is whole; one without its end is damaged.
        let (text, since) = text.split_once("\nend\n")?;
        let mut lines = text.lines();
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
            let (name, entry) = entry(line)?;
            index.entries.insert(name, entry);
        }
        let mut names: HashMap<u32, String> = HashMap::new();
        for (name, entry) in &index.entries {
            let known = names.insert(entry.uid, name.clone());
            if known.is_some() || !(1..index.next).contains(&entry.uid) {
                return None;
            }
        }
        for line in journal::whole(since).lines() {
            index.grown += 1;
            match line.split_once(' ')? {
                ("k", keyword) => index.keywords.push(keyword.to_owned()),
                ("-", uid) => {
                    let name = names.remove(&uid.parse().ok()?)?;
                    index.entries.remove(&name);
                }
                ("+", line) => {
                    let (name, entry) = entry(line)?;
                    index.next = entry.uid.checked_add(1).filter(|next| *next > index.next)?;
                    names.insert(entry.uid, name.clone());
                    // Two UIDs for one message.
                    if index.entries.insert(name, entry).is_some() {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        Some(index)
    }

    /// UIDVALIDITY and the next UID, where its end tells: nobody has to read all of it to add a
    /// message.
    pub(super) fn glance(dir: &Path) -> Option<(u32, u32)> {
        let (first, last) = journal::ends(&dir.join(FILE))?;
        let mut head = first.strip_prefix("ncat-index 1 ")?.split(' ');
        let (validity, next) = (head.next()?.parse().ok()?, head.next()?.parse().ok()?);
        match last.strip_prefix("+ ") {
            Some(line) => Some((validity, entry(line)?.1.uid.checked_add(1)?)),
            None => (last == "end").then_some((validity, next)),
        }
        .filter(|(_, next)| *next < u32::MAX)
    }

    /// Adds one message to the file, under the lock.
    pub(super) fn add(dir: &Path, name: &str, entry: &Entry) -> Result<()> {
        let line = format!("+ {}", line(name, entry));
        journal::append(&dir.join(FILE), &line, true).map(drop).map_err(|e| refusal(&e))
    }

    /// Writes what is not as it was `before`, under the lock.
    pub(super) fn update(&mut self, dir: &Path, before: &Self) -> Result<()> {
        let same = |name: &String, entry: &Entry| before.entries.get(name) == Some(entry);
        let mut new: Vec<_> = self.entries.iter().filter(|(n, e)| !same(n, e)).collect();
        let mut gone: Vec<_> =
            before.entries.iter().filter(|(n, e)| self.entries.get(*n) != Some(*e)).collect();
        let keywords = self.keywords.get(before.keywords.len()..).unwrap_or_default();
        let grown = self.grown + new.len() + gone.len() + keywords.len();
        if grown > self.entries.len() + self.keywords.len() + SLACK || !dir.join(FILE).exists() {
            return self.save(dir);
        }
        new.sort_by_key(|(_, entry)| entry.uid);
        gone.sort_by_key(|(_, entry)| entry.uid);
        let keywords = keywords.iter().map(|keyword| format!("k {keyword}\n"));
        let gone = gone.iter().map(|(_, entry)| format!("- {}\n", entry.uid));
        // The last line tells the next UID.
        let new = new.iter().map(|(name, entry)| format!("+ {}", line(name, entry)));
        let lines: String = keywords.chain(gone).chain(new).collect();
        if !lines.is_empty() {
            journal::append(&dir.join(FILE), &lines, true).map_err(|e| refusal(&e))?;
            self.grown = grown;
        }
        Ok(())
    }

    /// Writes it anew, under the lock, so that it is whole whenever somebody looks.
    pub(super) fn save(&mut self, dir: &Path) -> Result<()> {
        self.write(dir).map_err(|e| refusal(&e))?;
        self.grown = 0;
        Ok(())
    }

    /// The same, once and for all.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        journal::replace(&dir.join(FILE), &self.text())
    }

    /// As it is when it is written anew.
    pub(super) fn text(&self) -> String {
        let mut text = format!("ncat-index 1 {} {}\n", self.validity, self.next);
        for keyword in &self.keywords {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "k {keyword}");
        }
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.uid);
        entries.iter().for_each(|(name, entry)| text.push_str(&line(name, entry)));
        text.push_str("end\n");
        text
    }
}

fn line(name: &str, Entry { uid, size, received }: &Entry) -> String {
    format!("{uid} {size} {received} {name}\n")
}

fn entry(line: &str) -> Option<(String, Entry)> {
    let mut words = line.splitn(4, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (uid, size, received) = (number()?, number()?, number()?);
    let uid = u32::try_from(uid).ok()?;
    Some((words.next()?.to_owned(), Entry { uid, size, received }))
}

/// A UIDVALIDITY that no folder here has had, and above this one.
fn next_validity(base: &Path, than: u32) -> io::Result<u32> {
    let path = base.join(VALIDITY);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    lock_ours(&file, Patience::Some)?;
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
        assert_eq!(Index::glance(dir.path()), Some((index.validity, 8)));
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

    #[test]
    fn it_grows_by_its_end_and_is_written_anew_when_that_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |uid| Entry { uid, size: 3, received: 9 };
        let mut index = Index::fresh(dir.path(), dir.path()).unwrap();
        index.save(dir.path()).unwrap();
        let anew = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let mut before = index.clone();
        index.keywords.push("$Work".to_owned());
        index.entries.insert("a b".to_owned(), entry(1));
        index.entries.insert("c".to_owned(), entry(2));
        index.next = 3;
        index.update(dir.path(), &before).unwrap();
        Index::add(dir.path(), "d", &entry(3)).unwrap();
        assert_eq!(Index::glance(dir.path()), Some((index.validity, 4)));
        before = Index::read(dir.path()).unwrap();
        index = before.clone();
        index.entries.remove("a b");
        index.update(dir.path(), &before).unwrap();
        let whole = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(whole, format!("{anew}k $Work\n+ 1 3 9 a b\n+ 2 3 9 c\n+ 3 3 9 d\n- 1\n"));
        assert_eq!(Index::read(dir.path()), Some(index.clone()));
        assert_eq!(Index::glance(dir.path()), None, "its end does not tell");
        // Whoever is killed while he adds a line has not added it.
        for end in anew.len()..whole.len() {
            let lines = journal::whole(&whole[..end]);
            assert_eq!(Index::parse(&whole[..end]), Index::parse(lines), "{end}");
            assert!(Index::parse(lines).is_some());
        }
        for line in ["+ 3 3 9 e", "+ 4 3 9 c", "- 1", "- x", "rubbish", "+ 4 3 e"] {
            assert_eq!(Index::parse(&format!("{whole}{line}\n")), None, "{line}");
        }
        let mut longest = 0;
        for uid in 4..400 {
            before = index.clone();
            index.entries.insert(format!("m{uid}"), entry(uid));
            index.entries.remove(&format!("m{}", uid - 1));
            index.next = uid + 1;
            index.update(dir.path(), &before).unwrap();
            assert_eq!(Index::read(dir.path()), Some(index.clone()));
            longest = longest.max(index.grown);
        }
        assert!((SLACK..SLACK + 10).contains(&longest), "{longest}");
    }
}
