//! Moves that belong together, all of which happen or none: whoever is killed in the middle of them
//! leaves the rest to the next who looks, in a small file.
//!
//! ```text
//! ncat-moves 1
//! d DIRECTORY          a folder that is to be there
//! k KEYWORD            a letter of its messages, in the order of the index
//! r FROM <tab> TO      both as seen from the directory of the whole
//! end
//! ```

use super::files;
use super::index::{self, Index};
use crate::mailbox::{Patience, journal, lock_ours, refusal, step, sync_dir};
use crate::proto::store::Result;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

const FILE: &str = "ncat-moves";
const HEAD: &str = "ncat-moves 1\n";

/// Nobody else changes which folders there are.
#[derive(Debug)]
pub(super) struct Folders(#[allow(dead_code)] File);

/// Takes the lock of the folders, and brings to an end what somebody has left.
pub(super) fn lock(base: &Path) -> Result<Folders> {
    let take = || {
        let file = File::options().create(true).append(true).open(base.join("ncat-folders"))?;
        lock_ours(&file, Patience::Some)?;
        finish(base)?;
        Ok(Folders(file))
    };
    take().map_err(|e: io::Error| refusal(&e))
}

/// Brings to an end what somebody has left, if anybody has.
pub(super) fn settle(base: &Path) -> Result<()> {
    // Somebody who is at it has the lock: he is waited for.
    if base.join(FILE).exists() { lock(base).map(drop) } else { Ok(()) }
}

fn finish(base: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(base.join(FILE)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    // One that is damaged is nobody's: it is whole whenever it is there.
    if let Some(moves) = Moves::parse(&text) {
        moves.run(base, &mut Vec::new(), true)?;
    }
    forget(base)
}

fn forget(base: &Path) -> io::Result<()> {
    fs::remove_file(base.join(FILE))?;
    step();
    sync_dir(base)
}

/// What is to be done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Moves {
    /// Directories of folders that are to be there.
    pub(super) folders: Vec<String>,
    /// The letters that messages in the last of them have.
    pub(super) keywords: Vec<String>,
    /// From where to where.
    pub(super) renames: Vec<(String, String)>,
}

/// What has been done, so that it can be taken back.
enum Done {
    Made(PathBuf),
    Moved(PathBuf, PathBuf),
}

impl Moves {
    /// Does all of it, or nothing.
    pub(super) fn carry_out(&self, base: &Path, _: &Folders) -> Result<()> {
        let mut done = Vec::new();
        let act = |done: &mut Vec<Done>| {
            journal::replace(&base.join(FILE), &self.text())?;
            self.run(base, done, false)
        };
        if let Err(e) = act(&mut done) {
            take_back(done);
            // It may not be there at all.
            let _ = forget(base);
            return Err(refusal(&e));
        }
        forget(base).map_err(|e| refusal(&e))
    }

    pub(super) fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        self.folders.iter().for_each(|folder| text.push_str(&format!("d {folder}\n")));
        self.keywords.iter().for_each(|keyword| text.push_str(&format!("k {keyword}\n")));
        self.renames.iter().for_each(|(from, to)| text.push_str(&format!("r {from}\t{to}\n")));
        text + "end\n"
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut moves = Self::default();
        for line in text.strip_prefix(HEAD)?.strip_suffix("end\n")?.lines() {
            match line.split_once(' ')? {
                ("d", folder) if is_below(folder) => moves.folders.push(folder.to_owned()),
                ("k", keyword) => moves.keywords.push(keyword.to_owned()),
                ("r", both) => {
                    let (from, to) = both.split_once('\t')?;
                    if !is_below(from) || !is_below(to) {
                        return None;
                    }
                    moves.renames.push((from.to_owned(), to.to_owned()));
                }
                _ => return None,
            }
        }
        Some(moves)
    }

    /// Does what has not been done yet; `again` if somebody has begun with it, and others may have
    /// been there since.
    fn run(&self, base: &Path, done: &mut Vec<Done>, again: bool) -> io::Result<()> {
        for folder in &self.folders {
            let dir = base.join(folder);
            if !dir.join("cur").is_dir() {
                done.push(Done::Made(dir.clone()));
                super::make_folder(base, &dir)?;
            }
        }
        if let (Some(last), [_, ..]) = (self.folders.last(), &self.keywords[..]) {
            let dir = base.join(last);
            if !dir.join(index::FILE).exists() {
                let mut fresh = Index::fresh(base, &dir)?;
                fresh.keywords.clone_from(&self.keywords);
                fresh.write(&dir)?;
            }
        }
        let (mut touched, mut elsewhere) = (BTreeSet::new(), None);
        for (from, to) in &self.renames {
            let (mut from, mut to) = (base.join(from), base.join(to));
            if !from.exists() {
                // It has been moved; or somebody has given it other marks since.
                let known = elsewhere.get_or_insert_with(|| by_name(&from));
                let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Some(other) = known.remove(files::split(name).0) else { continue };
                let Some(marked) = other.file_name() else { continue };
                to = to.with_file_name("").join("../cur").join(marked);
                from = other;
            }
            match fs::rename(&from, &to) {
                // Nobody could use the mailbox any more, because of what is in the way.
                Err(e) if again && is_in_the_way(e.kind()) => continue,
                other => other?,
            }
            step();
            touched.extend(
                [&from, &to].into_iter().filter_map(|path| path.parent()).map(PathBuf::from),
            );
            done.push(Done::Moved(from, to));
        }
        touched.iter().filter(|dir| dir.is_dir()).try_for_each(|dir| sync_dir(dir))
    }
}

fn is_in_the_way(kind: io::ErrorKind) -> bool {
    [
        io::ErrorKind::AlreadyExists,
        io::ErrorKind::DirectoryNotEmpty,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::IsADirectory,
        io::ErrorKind::NotFound,
    ]
    .contains(&kind)
}

/// It leads to no other place.
fn is_below(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The messages beside one, by their names for good.
fn by_name(message: &Path) -> HashMap<String, PathBuf> {
    let folder = message.parent().and_then(Path::parent).unwrap_or(Path::new("/nowhere"));
    let entries =
        ["new", "cur"].into_iter().filter_map(|part| fs::read_dir(folder.join(part)).ok());
    let name = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        Some(files::split(name).0.to_owned())
    };
    entries
        .flatten()
        .flatten()
        .filter_map(|entry| Some((name(&entry.path())?, entry.path())))
        .collect()
}

/// The other way, as far as it goes.
fn take_back(done: Vec<Done>) {
    for one in done.into_iter().rev() {
        match one {
            Done::Moved(from, to) => {
                if fs::rename(&to, &from).is_err() {
                    return;
                }
            }
            // What is in it has just been taken back.
            Done::Made(dir) => {
                let _ = fs::remove_dir_all(dir);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_understood_and_nothing_less() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let moves = Moves {
            folders: vec![".a".into(), ".a.b c".into()],
            keywords: vec!["$Work".into(), String::new()],
            renames: vec![pair("cur/1.x:2,S", ".a.b c/cur/1.x:2,S"), pair(".x", ".y")],
        };
        let text = moves.text();
        assert_eq!(Moves::parse(&text), Some(moves));
        for end in 0..text.len() {
            assert_eq!(Moves::parse(&text[..end]), None, "{end}");
        }
        for line in ["d ../x", "d /x", "r a\t../b", "r /a\tb", "r a b", "q x", ""] {
            assert_eq!(Moves::parse(&format!("{HEAD}{line}\nend\n")), None, "{line}");
        }
    }

    #[test]
    fn a_message_that_got_other_marks_meanwhile_goes_along() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for folder in ["", ".a"] {
            files::make(&base.join(folder)).unwrap();
        }
        for name in ["1.x:2,FS", "2.x:2,", "3.x:2,"] {
            fs::write(base.join("cur").join(name), name).unwrap();
        }
        let rename = |name: &str| (format!("cur/{name}"), format!(".a/cur/{name}"));
        let renames = vec![rename("1.x:2,"), rename("2.x:2,"), rename("gone:2,")];
        let moves = Moves { renames, ..Moves::default() };
        fs::write(base.join(FILE), moves.text()).unwrap();
        settle(base).unwrap();
        for (name, is_there) in [("1.x:2,FS", true), ("2.x:2,", true), ("3.x:2,", false)] {
            assert_eq!(base.join(".a/cur").join(name).exists(), is_there, "{name}");
        }
        assert!(!base.join(FILE).exists());
    }

    #[test]
    fn what_is_in_the_way_of_somebody_elses_moves_makes_no_mailbox_useless() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for folder in [".a", ".b", ".c"] {
            files::make(&base.join(folder)).unwrap();
        }
        let rename = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let renames = vec![rename(".a", ".b"), rename(".c", ".d")];
        let moves = Moves { renames, ..Moves::default() };
        fs::write(base.join(FILE), moves.text()).unwrap();
        settle(base).unwrap();
        let is_there = [".a", ".b", ".c", ".d"].map(|folder| base.join(folder).exists());
        assert_eq!(is_there, [true, true, false, true]);
        assert!(!base.join(FILE).exists());
    }

    #[test]
    fn what_cannot_be_done_to_the_end_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::create_dir(base.join("a")).unwrap();
        fs::create_dir_all(base.join("c/full")).unwrap();
        fs::create_dir(base.join("b")).unwrap();
        let folders = lock(base).unwrap();
        let rename = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let moves = Moves {
            folders: vec![".new".into()],
            renames: vec![rename("a", "d"), rename("b", "c")],
            ..Moves::default()
        };
        moves.carry_out(base, &folders).unwrap_err();
        let mut names: Vec<_> = fs::read_dir(base)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c", "ncat-folders"]);
    }
}
