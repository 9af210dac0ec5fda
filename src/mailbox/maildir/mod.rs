//! Maildir++: a directory for each folder, a file for each message. Several programs may use one
//! at once, ours or others'.

mod files;
mod folder;
mod index;
mod moves;

use super::memory::{now, status_of};
use super::names::{self, canonical};
use super::{refusal, step, sync_dir};
use crate::proto::imap::utf7;
use crate::proto::store::{Flags, Folder, INBOX, Listed, Refusal, Result, Status, Store};
use files::Draft;
use folder::Open;
use index::{Entry, Index, Lock};
use moves::Moves;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A person's folders.
#[derive(Debug)]
pub struct Maildir {
    base: PathBuf,
    /// Nobody else has it by POP3 as long as this is open.
    _alone: Option<File>,
}

impl Maildir {
    /// The one at `base`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Refusal::Broken`], [`Refusal::Full`].
    pub fn at(base: &Path) -> Result<Self> {
        files::make(base)?;
        moves::settle(base)?;
        Ok(Self { base: base.to_owned(), _alone: None })
    }

    /// For one session only, as POP3 wants it. Somebody who dies leaves it.
    ///
    /// # Errors
    /// [`Refusal::InUse`].
    pub fn alone(self) -> Result<Self> {
        let file = File::options().create(true).append(true).open(self.base.join("ncat-pop3"));
        let file = file.map_err(|e| refusal(&e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _alone: Some(file), ..self }),
            Err(TryLockError::WouldBlock) => Err(Refusal::InUse),
            Err(TryLockError::Error(e)) => Err(refusal(&e)),
        }
    }

    /// Adds a message to INBOX: the name of its file.
    ///
    /// # Errors
    /// [`Refusal::Full`], [`Refusal::Broken`]; nothing of it is left then.
    pub fn deliver(&self, content: &[u8]) -> Result<String> {
        Draft::write(&self.base, content, None)?.place("")
    }

    /// What a folder's directory is called.
    fn directory(&self, name: &str) -> Result<PathBuf> {
        directory(&self.base, name)
    }
}

/// A folder's directory: `.A.B` for `A/B`, beside the messages of INBOX.
fn directory(base: &Path, name: &str) -> Result<PathBuf> {
    let name = canonical(name)?;
    if name == INBOX {
        return Ok(base.to_owned());
    }
    let file = file_of(&name);
    match file.len() {
        0..=250 => Ok(base.join(file)),
        _ => Err(Refusal::BadName("it is too long")),
    }
}

/// `.A.B` for `A/B`.
fn file_of(name: &str) -> String {
    // A dot would be another level, a slash another directory.
    let level = |level: &str| utf7::encode(level).replace('.', "&AC4-").replace('/', "&AC8-");
    let levels: Vec<_> = name.split('/').map(level).collect();
    format!(".{}", levels.join("."))
}

/// The same, of a folder that is there.
fn existing(base: &Path, name: &str) -> Result<PathBuf> {
    let dir = directory(base, name)?;
    if dir.join("cur").is_dir() { Ok(dir) } else { Err(Refusal::NoSuchFolder) }
}

/// Makes a folder that is not there, whole or not at all.
fn make_folder(base: &Path, dir: &Path) -> io::Result<()> {
    if dir.join("cur").is_dir() {
        return Ok(());
    }
    // One that was left half made by somebody else is made whole.
    if dir.is_dir() {
        return files::make_parts(dir);
    }
    let draft = base.join(format!("ncat-new-{}", crate::sys::random_hex()));
    let made = files::make_parts(&draft)
        .and_then(|()| fs::rename(&draft, dir))
        .inspect(|()| step())
        .and_then(|()| sync_dir(base));
    if made.is_err() {
        // It may have got nowhere at all.
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

/// The name of the folder in a directory, if it is one.
fn name_of(file: &str) -> Option<String> {
    let levels = file.strip_prefix('.')?;
    let levels: Option<Vec<_>> =
        levels.split('.').map(|level| (!level.is_empty()).then(|| utf7::decode(level))).collect();
    let name = levels?.join("/");
    // What has another name when it is written again could not be opened by the one it is shown
    // under: a level with a slash in it, or what is no UTF-7.
    (canonical(&name).ok().is_some_and(|same| same == name) && file_of(&name) == file)
        .then_some(name)
}

impl Maildir {
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.base).map_err(|e| refusal(&e))?.flatten() {
            let name = entry.file_name().into_string().ok().and_then(|file| name_of(&file));
            if let Some(name) = name.filter(|_| entry.path().join("cur").is_dir()) {
                names.push(name);
            }
        }
        names.sort();
        names.insert(0, INBOX.to_owned());
        Ok(names)
    }

    /// One folder to a line, as Dovecot has it: named as its directory is, without the dot; or
    /// behind a line `V`, tab, `2`, with tabs between the levels.
    fn subscriptions(&self) -> Result<BTreeSet<String>> {
        let text = match fs::read_to_string(self.base.join("subscriptions")) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(refusal(&e)),
        };
        let (tabs, text) = match text.strip_prefix("V\t2\n") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let name = |line: &str| match line {
            INBOX => Some(INBOX.to_owned()),
            line if tabs => name_of(&format!(".{}", line.replace('.', "&AC4-").replace('\t', "."))),
            line => name_of(&format!(".{line}")),
        };
        Ok(text.lines().filter_map(name).collect())
    }

    /// Removes what somebody who was interrupted has left, under the lock.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.base).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("ncat-gone-") || name.starts_with("ncat-new-") {
                // What cannot be removed now can be later.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// See [`super::reads_indexes_again`].
pub(super) fn reads_again(text: &str) -> bool {
    let index = Index::parse(text).map(|index| index.text());
    let moves = Moves::parse(text).map(|moves| moves.text());
    index.is_none_or(|text| Index::parse(&text).is_some_and(|again| again.text() == text))
        && moves.is_none_or(|text| Moves::parse(&text).is_some_and(|again| again.text() == text))
}

impl Store for Maildir {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        moves::settle(&self.base)?;
        let all = self.names()?;
        Ok(names::listed(all.iter().map(String::as_str), &self.subscriptions()?))
    }

    fn create(&mut self, name: &str) -> Result<()> {
        let name = canonical(name)?;
        let folders = moves::lock(&self.base)?;
        self.tidy();
        if self.directory(&name)?.join("cur").is_dir() {
            return Err(Refusal::Exists);
        }
        let dirs = names::above(&name).chain([name.as_str()]).map(|name| self.directory(name));
        let mut dirs = dirs.collect::<Result<Vec<_>>>()?;
        dirs.retain(|dir| !dir.join("cur").is_dir());
        if let [dir] = &dirs[..] {
            return make_folder(&self.base, dir).map_err(|e| refusal(&e));
        }
        let file = |dir: &PathBuf| dir.file_name()?.to_str().map(str::to_owned);
        let plan = Moves { folders: dirs.iter().filter_map(file).collect(), ..Moves::default() };
        plan.carry_out(&self.base, &folders)
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        let _lock = moves::lock(&self.base)?;
        self.tidy();
        let dir = existing(&self.base, name)?;
        if dir == self.base {
            return Err(Refusal::BadName("INBOX cannot be deleted"));
        }
        // First it is no folder any more, then it goes: who is interrupted leaves no half of one.
        let gone = self.base.join(format!("ncat-gone-{}", crate::sys::random_hex()));
        fs::rename(&dir, &gone).and_then(|()| sync_dir(&self.base)).map_err(|e| refusal(&e))?;
        step();
        // What cannot be removed now is tidied away later.
        let _ = fs::remove_dir_all(&gone);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (canonical(from)?, canonical(to)?);
        let folders = moves::lock(&self.base)?;
        self.tidy();
        let moves = names::moves(self.names()?.iter().map(String::as_str), &from, &to)?;
        for (_, new) in &moves {
            self.directory(new)?;
        }
        // Those above it are made with all the rest, or not.
        let mut above: Vec<_> = names::above(&to).map(file_of).collect();
        if from == INBOX {
            let mut inbox = Open::new(&self.base, self.base.clone(), false)?;
            let lock = inbox.lock()?;
            inbox.scan_under(&lock)?;
            let mut plan = inbox.all_to(&file_of(&to));
            above.append(&mut plan.folders);
            return Moves { folders: above, ..plan }.carry_out(&self.base, &folders);
        }
        let renames = moves.iter().map(|(old, new)| (file_of(old), file_of(new))).collect();
        Moves { folders: above, renames, ..Moves::default() }.carry_out(&self.base, &folders)
    }

    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        let name = canonical(name)?;
        self.directory(&name)?;
        let _lock = moves::lock(&self.base)?;
        let mut all = self.subscriptions()?;
        match wanted {
            true => all.insert(name),
            false => all.remove(&name),
        };
        let lines = all.iter().map(|name| match name.as_str() {
            INBOX => format!("{INBOX}\n"),
            name => format!("{}\n", &file_of(name)[1..]),
        });
        let draft = self.base.join("subscriptions.ncat-new");
        let write = || {
            let mut file = File::create(&draft)?;
            step();
            file.write_all(lines.collect::<String>().as_bytes())?;
            file.sync_all()?;
            step();
            fs::rename(&draft, self.base.join("subscriptions"))?;
            step();
            sync_dir(&self.base)
        };
        write().map_err(|e: io::Error| {
            let _ = fs::remove_file(&draft);
            refusal(&e)
        })
    }

    fn status(&mut self, name: &str) -> Result<Status> {
        moves::settle(&self.base)?;
        let dir = existing(&self.base, name)?;
        let mut open = Open::new(&self.base, dir, true)?;
        let messages = open.look()?;
        Ok(status_of(&messages, open.uid_next(), open.uid_validity()))
    }

    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>> {
        moves::settle(&self.base)?;
        let dir = existing(&self.base, name)?;
        Ok(Box::new(Open::new(&self.base, dir, read_only)?))
    }

    fn append(
        &mut self,
        folder: &str,
        content: &[u8],
        flags: &Flags,
        received: Option<u64>,
    ) -> Result<(u32, u32)> {
        moves::settle(&self.base)?;
        let dir = existing(&self.base, folder)?;
        let draft = Draft::write(&dir, content, received)?;
        if flags.keywords.iter().all(|keyword| files::is_forwarded(keyword)) {
            let _lock = Lock::take(&dir)?;
            // Where the end of the index tells the UID, nobody has to look through the folder.
            if let Some((validity, uid)) = Index::glance(&dir) {
                let letters = files::letters(flags, &[]);
                let base = draft.place(&letters)?;
                let size = files::size_with_crlf(content);
                let entry = Entry { uid, size, received: received.unwrap_or_else(now) };
                return match Index::add(&dir, &base, &entry) {
                    Ok(()) => Ok((validity, uid)),
                    Err(refusal) => {
                        // Whoever hears no would store it again.
                        files::unplace(&dir, &base, &letters);
                        Err(refusal)
                    }
                };
            }
        }
        let mut open = Open::new(&self.base, dir.clone(), true)?;
        let letters = open.letters(flags)?;
        let base = draft.place(&letters)?;
        match open.uid_of(&base) {
            Ok(uid) => Ok((open.uid_validity(), uid)),
            Err(refusal) => {
                // Whoever hears no would store it again.
                files::unplace(&dir, &base, &letters);
                Err(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests;
