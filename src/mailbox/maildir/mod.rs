//! Maildir++: a directory for each folder, a file for each message. Several programs may use one
//! at once, ours or others'.

mod files;
mod folder;
mod index;

use super::memory::{canonical, status_of};
use super::refusal;
use crate::proto::imap::utf7;
use crate::proto::store::{Flags, Folder, INBOX, Listed, Refusal, Result, Status, Store};
use files::Draft;
use folder::Open;
use std::fs::{self, File, TryLockError};
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
    // A dot would be another level, a slash another directory.
    let level = |level: &str| utf7::encode(level).replace('.', "&AC4-").replace('/', "&AC8-");
    let levels: Vec<_> = name.split('/').map(level).collect();
    let file = format!(".{}", levels.join("."));
    match file.len() {
        0..=250 => Ok(base.join(file)),
        _ => Err(Refusal::BadName("it is too long")),
    }
}

/// The same, of a folder that is there.
fn existing(base: &Path, name: &str) -> Result<PathBuf> {
    let dir = directory(base, name)?;
    if dir.join("cur").is_dir() { Ok(dir) } else { Err(Refusal::NoSuchFolder) }
}

/// The name of the folder in a directory, if it is one.
fn name_of(file: &str) -> Option<String> {
    let levels = file.strip_prefix('.')?;
    let levels: Option<Vec<_>> =
        levels.split('.').map(|level| (!level.is_empty()).then(|| utf7::decode(level))).collect();
    // A level with a slash in it would be two.
    let levels = levels?;
    (!levels.iter().any(|level| level.contains('/'))).then(|| levels.join("/"))
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

    fn subscriptions(&self) -> Vec<String> {
        let text = fs::read_to_string(self.base.join("subscriptions")).unwrap_or_default();
        text.lines().map(|line| utf7::decode(line).replace('.', "/")).collect()
    }
}

impl Store for Maildir {
    fn folders(&mut self) -> Result<Vec<Listed>> {
        let wanted = self.subscriptions();
        let names = self.names()?;
        let mut all: Vec<Listed> = Vec::new();
        for name in &names {
            // Those above it that are no folders are there only for those below.
            for (at, _) in name.match_indices('/') {
                let above = &name[..at];
                if !names.iter().any(|n| n == above) && !all.iter().any(|l| l.name == above) {
                    let subscribed = wanted.iter().any(|name| name == above);
                    all.push(Listed { name: above.to_owned(), selectable: false, subscribed });
                }
            }
            let subscribed = wanted.contains(name);
            all.push(Listed { name: name.clone(), selectable: true, subscribed });
        }
        Ok(all)
    }

    fn create(&mut self, name: &str) -> Result<()> {
        let dir = self.directory(name)?;
        if dir.join("cur").is_dir() {
            return Err(Refusal::Exists);
        }
        let name = canonical(name)?;
        for end in name.match_indices('/').map(|(at, _)| at).chain([name.len()]) {
            files::make(&self.directory(&name[..end])?)?;
        }
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        let dir = existing(&self.base, name)?;
        if dir == self.base {
            return Err(Refusal::BadName("INBOX cannot be deleted"));
        }
        // First it is no folder any more, then it goes: who is interrupted leaves no half of one.
        let gone = self.base.join(format!("ncat-gone-{}", std::process::id()));
        fs::rename(&dir, &gone).and_then(|()| fs::remove_dir_all(&gone)).map_err(|e| refusal(&e))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (canonical(from)?, canonical(to)?);
        existing(&self.base, &from)?;
        if self.directory(&to)?.join("cur").is_dir() {
            return Err(Refusal::Exists);
        }
        if from == INBOX {
            self.create(&to)?;
            let mut inbox = Open::new(&self.base, self.base.clone(), false)?;
            let uids: Vec<_> = inbox.look()?.iter().map(|message| message.uid).collect();
            inbox.copy(&uids, &to)?;
            return inbox.remove(&uids);
        }
        if to == INBOX {
            return Err(Refusal::Exists);
        }
        let below = format!("{from}/");
        for name in self.names()? {
            if name == from || name.starts_with(&below) {
                let new = self.directory(&format!("{to}{}", &name[from.len()..]))?;
                fs::rename(self.directory(&name)?, new).map_err(|e| refusal(&e))?;
            }
        }
        files::sync_dir(&self.base).map_err(|e| refusal(&e))
    }

    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        let name = canonical(name)?;
        let mut all = self.subscriptions();
        all.retain(|known| *known != name);
        if wanted {
            all.push(name);
        }
        let lines = all.iter().map(|name| format!("{}\n", utf7::encode(&name.replace('/', "."))));
        let draft = self.base.join(format!("subscriptions.{}", std::process::id()));
        fs::write(&draft, lines.collect::<String>())
            .and_then(|()| fs::rename(&draft, self.base.join("subscriptions")))
            .map_err(|e| refusal(&e))
    }

    fn status(&mut self, name: &str) -> Result<Status> {
        let dir = existing(&self.base, name)?;
        let mut open = Open::new(&self.base, dir, true)?;
        let messages = open.look()?;
        Ok(status_of(&messages, open.uid_next(), open.uid_validity()))
    }

    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>> {
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
        let dir = existing(&self.base, folder)?;
        let draft = Draft::write(&dir, content, received)?;
        let mut open = Open::new(&self.base, dir.clone(), true)?;
        let letters = open.letters(flags)?;
        let base = draft.place(&letters)?;
        Ok((open.uid_validity(), open.uid_of(&base)?))
    }
}

#[cfg(test)]
mod tests;
