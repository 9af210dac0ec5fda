//! A folder that is open.

use super::files::{self, Draft, flags, letters, split};
use super::index::{self, Entry, Index, Lock};
use super::moves::{self, Moves};
use crate::mailbox::memory::with_crlf;
use crate::mailbox::{refusal, step, sync_dir};
use crate::proto::store::{Copied, Flags, Folder, Message, Refusal, Result};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A directory that has changed so lately may change again without another time.
const TICK: Duration = Duration::from_millis(100);
/// The same where time has no parts of a second.
const COARSE_TICK: Duration = Duration::from_secs(3);
/// A directory that somebody keeps renaming in is read again so often.
const MOST_READINGS: usize = 5;

/// A file, under its name for good.
struct Found {
    path: PathBuf,
    letters: String,
    is_new: bool,
}

/// A message and its file.
#[derive(Debug, Clone)]
struct Known {
    message: Message,
    base: String,
    path: PathBuf,
    /// Its flags as its name has them.
    letters: String,
}

pub(super) struct Open {
    dir: PathBuf,
    /// The directory of the whole, for copies.
    base: PathBuf,
    read_only: bool,
    index: Index,
    known: Vec<Known>,
    /// What came to this session first.
    recent: HashSet<String>,
    /// When what we know of was last changed.
    stamp: Option<[SystemTime; 3]>,
}

impl Open {
    pub(super) fn new(base: &Path, dir: PathBuf, read_only: bool) -> Result<Self> {
        files::sweep(&dir);
        let mut open = Self {
            dir,
            base: base.to_owned(),
            read_only,
            index: Index::default(),
            known: Vec::new(),
            recent: HashSet::new(),
            stamp: None,
        };
        open.scan()?;
        Ok(open)
    }

    /// When the directories and the index were last changed; nothing if that is no proof.
    fn stamp(&self) -> Option<[SystemTime; 3]> {
        let time = |name: &str| fs::metadata(self.dir.join(name)).ok()?.modified().ok();
        let times = [time("new")?, time("cur")?, time(index::FILE)?];
        times.iter().all(is_settled).then_some(times)
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        Lock::take(&self.dir)
    }

    /// Looks what is there, if anything has changed.
    fn scan(&mut self) -> Result<()> {
        moves::settle(&self.base)?;
        let stamp = self.stamp();
        if stamp.is_some() && stamp == self.stamp {
            return Ok(());
        }
        let lock = self.lock()?;
        self.scan_under(&lock)
    }

    /// The index, which is another one only if the folder is.
    fn load(&self, _: &Lock) -> Result<Index> {
        let index = Index::read(&self.dir);
        if self.index.validity == 0 {
            let fresh = || Index::fresh(&self.base, &self.dir).map_err(|e| refusal(&e));
            return index.map_or_else(fresh, Ok);
        }
        // Others may have given UIDs since, so ours cannot stand for one that is lost.
        index
            .filter(|index| index.validity == self.index.validity)
            .ok_or_else(|| Refusal::Broken("the mailbox was replaced while it was open".to_owned()))
    }

    /// Looks what is there, and gives UIDs to what has none.
    pub(super) fn scan_under(&mut self, lock: &Lock) -> Result<()> {
        // What changes from here on has another time, and is seen the next time.
        let stamp = self.stamp();
        let mut index = self.load(lock)?;
        let before = index.clone();
        let mut found = HashMap::new();
        self.list("new", &mut found)?;
        self.list("cur", &mut found)?;
        // A file that somebody renames while the directory is read may be in neither place, and
        // would get another UID the next time: a message is gone when it is missing twice.
        let missing = |found: &HashMap<String, Found>| {
            index.entries.keys().filter(|base| !found.contains_key(*base)).count()
        };
        let mut left = missing(&found);
        for _ in 0..MOST_READINGS {
            if left == 0 {
                break;
            }
            self.list("cur", &mut found)?;
            let still = missing(&found);
            if still == left {
                break;
            }
            left = still;
        }
        index.entries.retain(|base, _| found.contains_key(base));
        let mut unknown: Vec<_> =
            found.keys().filter(|base| !index.entries.contains_key(*base)).cloned().collect();
        // The names begin with the time at which they came.
        unknown.sort_by_key(|base| (time_in(base), base.clone()));
        for base in unknown {
            let path = &found[&base].path;
            // A pipe would be read for ever.
            let Some(data) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else {
                continue;
            };
            let size = match files::size_in_name(&base, data.len()) {
                Some(size) => size,
                None => match fs::read(path) {
                    Ok(content) => files::size_with_crlf(&content),
                    Err(_) => continue,
                },
            };
            let received = files::modified(&data);
            index.entries.insert(base, Entry { uid: index.next, size, received });
            index.next = index.next.checked_add(1).ok_or_else(|| {
                Refusal::Broken("there are no more UIDs in this folder".to_owned())
            })?;
        }
        if index != before || index.is_fresh() || !self.dir.join(index::FILE).exists() {
            index.update(&self.dir, &before)?;
        }
        self.known = found
            .into_iter()
            .filter_map(|(base, Found { path, letters, is_new })| {
                let entry = index.entries.get(&base)?;
                let message = Message {
                    uid: entry.uid,
                    size: entry.size,
                    flags: flags(&letters, &index.keywords),
                    received: entry.received,
                    recent: is_new || self.recent.contains(&base),
                };
                Some(Known { message, base, path, letters })
            })
            .collect();
        self.known.sort_by_key(|known| known.message.uid);
        self.index = index;
        self.stamp = stamp;
        Ok(())
    }

    /// What one of the directories holds.
    fn list(&mut self, part: &str, found: &mut HashMap<String, Found>) -> Result<()> {
        let cur = self.dir.join("cur");
        for entry in fs::read_dir(self.dir.join(part)).map_err(|e| refusal(&e))?.flatten() {
            // What is no text was not made by a mail program, nor what would break a line of the
            // index.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || name.contains(char::is_control) {
                continue;
            }
            let (base, letters) = split(&name);
            let (base, letters) = (base.to_owned(), letters.to_owned());
            let mut path = entry.path();
            let is_new = part == "new";
            if is_new && !self.read_only {
                // Whoever opens it for writing has seen that it came.
                let to = cur.join(format!("{base}:2,{letters}"));
                if fs::rename(&path, &to).is_err() {
                    continue;
                }
                step();
                path = to;
                self.recent.insert(base.clone());
            }
            found.insert(base, Found { path, letters, is_new });
        }
        Ok(())
    }

    fn find(&self, uid: u32) -> Result<&Known> {
        let at = self.known.binary_search_by_key(&uid, |known| known.message.uid);
        at.map(|at| &self.known[at]).map_err(|_| Refusal::Gone)
    }

    /// Does something with a message's file, which somebody else may have renamed meanwhile.
    fn with<T>(&mut self, uid: u32, act: impl Fn(&Known) -> std::io::Result<T>) -> Result<T> {
        match act(self.find(uid)?) {
            Ok(done) => return Ok(done),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(refusal(&e)),
        }
        let lock = self.lock()?;
        self.scan_under(&lock)?;
        self.with_under(&lock, uid, act)
    }

    /// The same for what others of ours must not look at meanwhile: a renamed file could be in
    /// neither place for them.
    fn with_under<T>(
        &mut self,
        lock: &Lock,
        uid: u32,
        act: impl Fn(&Known) -> std::io::Result<T>,
    ) -> Result<T> {
        for last in [false, true] {
            match act(self.find(uid)?) {
                Ok(done) => return Ok(done),
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(refusal(&e)),
                Err(_) if last => {}
                Err(_) => self.scan_under(lock)?,
            }
        }
        Err(Refusal::Gone)
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Refusal::ReadOnly) } else { Ok(()) }
    }

    /// The UID of a message by its name, once it is there.
    pub(super) fn uid_of(&mut self, base: &str) -> Result<u32> {
        let lock = self.lock()?;
        self.scan_under(&lock)?;
        let known = self.known.iter().find(|known| known.base == base);
        known.map(|known| known.message.uid).ok_or(Refusal::Gone)
    }

    /// Flags as the names of files have them.
    pub(super) fn letters(&mut self, flags: &Flags) -> Result<String> {
        let lock = self.lock()?;
        self.learn(&lock, &flags.keywords)?;
        Ok(letters(flags, &self.index.keywords))
    }

    /// What is to be done so that all messages are in another folder, and only there, which is
    /// made for them.
    pub(super) fn all_to(&self, folder: &str) -> Moves {
        let way = |known: &Known| {
            let (part, name) = files::seat(&known.base, &known.letters);
            let from = known.path.strip_prefix(&self.dir).ok()?.to_str()?;
            Some((from.to_owned(), format!("{folder}/{part}/{name}")))
        };
        Moves {
            folders: vec![folder.to_owned()],
            keywords: self.index.keywords.clone(),
            renames: self.known.iter().filter_map(way).collect(),
        }
    }

    /// Letters for keywords that have none yet: for all of them, or it is refused.
    fn learn(&mut self, lock: &Lock, keywords: &[String]) -> Result<()> {
        // One that would not fit on a line of the index was no keyword of IMAP.
        let fits = |keyword: &String| keyword.chars().all(|c| c.is_ascii_graphic());
        let is_new = |keyword: &&String, known: &[String]| {
            files::place_of(keyword, known).is_none() && !files::is_forwarded(keyword)
        };
        let mut new = keywords.iter().filter(|keyword| fits(keyword));
        if !new.any(|keyword| is_new(&keyword, &self.index.keywords)) {
            return Ok(());
        }
        let mut index = self.load(lock)?;
        let before = index.clone();
        let in_use: HashSet<char> = self.known.iter().flat_map(|k| k.letters.chars()).collect();
        for keyword in keywords.iter().filter(|keyword| fits(keyword)) {
            if !is_new(&keyword, &index.keywords) {
                continue;
            }
            // Files that have a letter of which nobody knows the meaning must not get another.
            while letter(index.keywords.len()).is_some_and(|letter| in_use.contains(&letter)) {
                index.keywords.push(String::new());
            }
            // The names of files have no room for more. Kept without it, the person would believe
            // that the message has it.
            if letter(index.keywords.len()).is_none() {
                return Err(Refusal::Limit("a folder of a Maildir has 26 keywords at most"));
            }
            index.keywords.push(keyword.clone());
        }
        index.update(&self.dir, &before)?;
        self.index = index;
        Ok(())
    }
}

/// The letter of a keyword.
fn letter(at: usize) -> Option<char> {
    ('a'..='z').nth(at)
}

/// A directory that was changed at this time will have another one when it is changed again.
fn is_settled(time: &SystemTime) -> bool {
    // Some file systems know no parts of a second, and FAT only every other one.
    let whole = time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0);
    time.elapsed().is_ok_and(|age| age > if whole { COARSE_TICK } else { TICK })
}

/// The time that a name begins with, with its microseconds.
fn time_in(base: &str) -> (u64, u64) {
    let mut parts = base.split('.');
    let seconds = parts.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let micros = parts.next().and_then(|rest| {
        let digits = rest.strip_prefix('M')?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    });
    (seconds, micros.unwrap_or(0))
}

impl Folder for Open {
    fn uid_validity(&self) -> u32 {
        self.index.validity
    }

    fn uid_next(&self) -> u32 {
        self.index.next
    }

    fn look(&mut self) -> Result<Vec<Message>> {
        self.scan()?;
        Ok(self.known.iter().map(|known| known.message.clone()).collect())
    }

    fn read(&mut self, uid: u32) -> Result<Vec<u8>> {
        self.with(uid, |known| fs::read(&known.path)).map(|content| with_crlf(&content))
    }

    fn mark(&mut self, uid: u32, flags: &Flags) -> Result<()> {
        self.writable()?;
        let lock = self.lock()?;
        self.learn(&lock, &flags.keywords)?;
        let (letters, keywords) = (letters(flags, &self.index.keywords), &self.index.keywords);
        let (cur, keywords) = (self.dir.join("cur"), keywords.clone());
        let (path, letters) = self.with_under(&lock, uid, |known| {
            let letters = format!("{letters}{}", files::foreign(&known.letters, &keywords));
            let to = cur.join(format!("{}:2,{letters}", known.base));
            fs::rename(&known.path, &to).map(|()| (to, letters))
        })?;
        step();
        let flags = files::flags(&letters, &self.index.keywords);
        if let Some(known) = self.known.iter_mut().find(|known| known.message.uid == uid) {
            (known.path, known.letters, known.message.flags) = (path, letters, flags);
        }
        Ok(())
    }

    fn remove(&mut self, uids: &[u32]) -> Result<()> {
        self.writable()?;
        let lock = self.lock()?;
        for &uid in uids {
            match self.with_under(&lock, uid, |known| fs::remove_file(&known.path)) {
                Ok(()) | Err(Refusal::Gone) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        step();
        sync_dir(&self.dir.join("cur")).map_err(|e| refusal(&e))?;
        self.scan_under(&lock)
    }

    fn copy(&mut self, uids: &[u32], to: &str) -> Result<Copied> {
        let dir = super::existing(&self.base, to)?;
        let mut drafts = Vec::new();
        for &uid in uids {
            let flags = match self.find(uid) {
                Ok(known) => known.message.flags.clone(),
                Err(_) => continue,
            };
            match self.with(uid, |known| Ok(Draft::link(&dir, &known.path))) {
                Ok(draft) => drafts.push((uid, flags, draft?)),
                Err(Refusal::Gone) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let folders = moves::lock(&self.base)?;
        let mut target = Open::new(&self.base, dir.clone(), true)?;
        // Before any of them has its place: letters may be refused.
        let all_letters =
            drafts.iter().map(|(_, flags, _)| target.letters(flags)).collect::<Result<Vec<_>>>()?;
        let mut placed: Vec<(u32, String)> = Vec::new();
        let mut plan = Moves::default();
        for ((uid, _, draft), letters) in drafts.iter().zip(&all_letters) {
            let (from, to) = draft.way(letters);
            let below = |path: PathBuf| {
                path.strip_prefix(&self.base).ok().and_then(|path| path.to_str().map(str::to_owned))
            };
            let (Some(from), Some(to)) = (below(from), below(to)) else { continue };
            plan.renames.push((from, to));
            placed.push((*uid, draft.base.clone()));
        }
        if !placed.is_empty() {
            plan.carry_out(&self.base, &folders)?;
        }
        drop((drafts, folders));
        let lock = target.lock()?;
        target.scan_under(&lock)?;
        let uid_of = |base: &String| {
            target.known.iter().find(|k| k.base == *base).map(|known| known.message.uid)
        };
        let uids = placed.iter().filter_map(|(old, base)| Some((*old, uid_of(base)?))).collect();
        Ok(Copied { uid_validity: target.index.validity, uids })
    }
}
