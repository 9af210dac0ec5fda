//! The files of a Maildir: what they are called, and how one gets there.
//!
//! `time.MmicrosecondsPprocessQnumber.host,S=octets,W=octets:2,FLAGS`: everything before the colon
//! is the name for good; S is the size of the file, W the same with CR LF at the ends of lines, so
//! that nobody has to read it to know.

use crate::mailbox::{refusal, step, sync_dir};
use crate::proto::store::{Flags, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What somebody has left in tmp for so long will not be finished any more.
const STRAY: Duration = Duration::from_secs(36 * 3600);

/// The directories of a folder.
pub(super) const PARTS: [&str; 3] = ["tmp", "new", "cur"];

/// The next of the files that this process makes.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A name that nothing else has.
fn unique(size: usize, lines: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let host = rustix_host().replace('/', "\\057").replace(':', "\\072");
    format!(
        "{}.M{:06}P{}Q{number}.{host},S={size},W={lines}",
        now.as_secs(),
        now.subsec_micros(),
        std::process::id()
    )
}

fn rustix_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The octets of a message with CR LF at the end of each line.
pub(super) fn size_with_crlf(content: &[u8]) -> u64 {
    let bare = memchr::memchr_iter(b'\n', content)
        .filter(|&at| at == 0 || content[at - 1] != b'\r')
        .count();
    (content.len() + bare) as u64
}

/// The W of the name of a file, if its S is true: a file that somebody has changed has neither.
pub(super) fn size_in_name(base: &str, octets: u64) -> Option<u64> {
    let field = |key: &str| base.split(',').find_map(|part| part.strip_prefix(key)?.parse().ok());
    field("W=").filter(|_| field("S=") == Some(octets))
}

/// The name for good, and the flags.
pub(super) fn split(name: &str) -> (&str, &str) {
    match name.split_once(':') {
        Some((base, info)) => (base, info.strip_prefix("2,").unwrap_or("")),
        None => (name, ""),
    }
}

/// The keyword that has a letter for all Maildirs.
pub(super) fn is_forwarded(keyword: &str) -> bool {
    keyword.eq_ignore_ascii_case("$Forwarded")
}

/// The place of a keyword among those of the index: keywords are the same in any case.
pub(super) fn place_of(keyword: &str, keywords: &[String]) -> Option<usize> {
    keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword))
}

/// Flags as a name has them, in order; keywords by the letters that the index has for them.
pub(super) fn letters(flags: &Flags, keywords: &[String]) -> String {
    let forwarded = flags.keywords.iter().any(|keyword| is_forwarded(keyword));
    let system = [
        (flags.draft, 'D'),
        (flags.flagged, 'F'),
        (forwarded, 'P'),
        (flags.answered, 'R'),
        (flags.seen, 'S'),
        (flags.deleted, 'T'),
    ];
    let mut out: String = system.iter().filter(|(set, _)| *set).map(|(_, c)| *c).collect();
    let own = flags.keywords.iter().filter_map(|keyword| {
        let at = place_of(keyword, keywords)?;
        char::from_u32('a' as u32 + u32::try_from(at).ok()?).filter(char::is_ascii_lowercase)
    });
    let mut own: Vec<_> = own.collect();
    own.sort_unstable();
    out.extend(own);
    out
}

/// Those of the letters that say nothing to us, and are to stay.
pub(super) fn foreign(letters: &str, keywords: &[String]) -> String {
    let ours = |letter: char| match letter {
        'D' | 'F' | 'P' | 'R' | 'S' | 'T' => true,
        'a'..='z' => keywords.get(letter as usize - 'a' as usize).is_some_and(|k| !k.is_empty()),
        _ => false,
    };
    letters.chars().filter(|letter| !ours(*letter)).collect()
}

/// The other way.
pub(super) fn flags(letters: &str, keywords: &[String]) -> Flags {
    let mut flags = Flags::default();
    for letter in letters.chars() {
        match letter {
            'D' => flags.draft = true,
            'F' => flags.flagged = true,
            'R' => flags.answered = true,
            'S' => flags.seen = true,
            'T' => flags.deleted = true,
            'P' => flags.keywords.push("$Forwarded".to_owned()),
            'a'..='z' => {
                let known = keywords.get(letter as usize - 'a' as usize);
                flags.keywords.extend(known.filter(|keyword| !keyword.is_empty()).cloned());
            }
            // Of somebody else's making.
            _ => {}
        }
    }
    flags
}

/// Makes the directories of a folder, where they are not there.
pub(super) fn make(dir: &Path) -> Result<()> {
    if PARTS.iter().all(|part| dir.join(part).is_dir()) {
        return Ok(());
    }
    make_parts(dir).map_err(|e| refusal(&e))
}

/// The same, for somebody who asks the system.
pub(super) fn make_parts(dir: &Path) -> io::Result<()> {
    for part in PARTS {
        fs::create_dir_all(dir.join(part))?;
        step();
    }
    // A message is not on disk before its directory is.
    sync_dir(dir)?;
    sync_dir(&dir.join(".."))
}

/// A message that is on disk under `tmp`, and goes to its place by a rename.
pub(super) struct Draft<'a> {
    dir: &'a Path,
    file: PathBuf,
    /// The name for good.
    pub(super) base: String,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Once it has its place, nothing is left under this name.
        let _ = fs::remove_file(&self.file);
    }
}

impl<'a> Draft<'a> {
    /// Writes it, and does not come back before it is on disk.
    pub(super) fn write(dir: &'a Path, content: &[u8], received: Option<u64>) -> Result<Self> {
        let base = unique(content.len(), size_with_crlf(content));
        let file = dir.join("tmp").join(&base);
        let draft = Self { dir, file, base };
        draft.fill(content, received).map_err(|e| refusal(&e))?;
        Ok(draft)
    }

    /// The same content as that of another file, with its date.
    pub(super) fn link(dir: &'a Path, from: &Path) -> Result<Self> {
        let content = fs::read(from).map_err(|e| refusal(&e))?;
        let base = unique(content.len(), size_with_crlf(&content));
        let file = dir.join("tmp").join(&base);
        let draft = Self { dir, file, base };
        step();
        if fs::hard_link(from, &draft.file).is_err() {
            let received = fs::metadata(from).ok().map(|data| modified(&data));
            draft.fill(&content, received).map_err(|e| refusal(&e))?;
        }
        Ok(draft)
    }

    fn fill(&self, content: &[u8], received: Option<u64>) -> io::Result<()> {
        let mut file = File::create_new(&self.file)?;
        step();
        file.write_all(content)?;
        step();
        if let Some(seconds) = received {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?;
        }
        file.sync_all()?;
        step();
        Ok(())
    }

    /// From where to where it goes.
    pub(super) fn way(&self, letters: &str) -> (PathBuf, PathBuf) {
        let (part, name) = seat(&self.base, letters);
        (self.file.clone(), self.dir.join(part).join(name))
    }

    /// Puts it where it can be seen.
    pub(super) fn place(self, letters: &str) -> Result<String> {
        let (part, name) = seat(&self.base, letters);
        let to = self.dir.join(part);
        let place = || {
            fs::rename(&self.file, to.join(&name))?;
            step();
            sync_dir(&to)
        };
        place().map_err(|e| {
            // Nothing that was not answered with success is to be seen.
            let _ = fs::remove_file(to.join(&name));
            refusal(&e)
        })?;
        step();
        Ok(self.base.clone())
    }
}

/// Where a message is: with flags, the person has seen it before.
pub(super) fn seat(base: &str, letters: &str) -> (&'static str, String) {
    match letters {
        "" => ("new", base.to_owned()),
        letters => ("cur", format!("{base}:2,{letters}")),
    }
}

/// Takes back what was placed.
pub(super) fn unplace(dir: &Path, base: &str, letters: &str) {
    let names =
        [format!("new/{base}"), format!("cur/{base}:2,{letters}"), format!("cur/{base}:2,")];
    for name in names {
        // It has one of these names, or somebody else has given it another.
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Seconds since 1970.
pub(super) fn modified(data: &fs::Metadata) -> u64 {
    let time = data.modified().unwrap_or(UNIX_EPOCH);
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Removes what has been left in tmp for long.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir.join("tmp")) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for entry in entries.flatten() {
        // Its date may be the message's, and long ago; when it was last touched is the system's.
        let touched = entry.metadata().ok().and_then(|data| u64::try_from(data.ctime()).ok());
        if touched.is_some_and(|touched| now.saturating_sub(touched) > STRAY.as_secs()) {
            // Somebody else may have been quicker.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_letters_in_order_and_back() {
        let keywords = vec!["$Work".to_owned(), "later".to_owned()];
        let flags_of = |text: &str| flags(text, &keywords);
        for text in ["", "S", "FRS", "DFPRSTab", "b"] {
            assert_eq!(letters(&flags_of(text), &keywords), text);
        }
        // What nobody knows does no harm, and is kept by whoever writes the name anew.
        assert_eq!(letters(&flags_of("SXz"), &keywords), "S");
        assert_eq!(foreign("SXaz", &keywords), "Xz");
    }

    #[test]
    fn names_tell_sizes_and_flags() {
        assert_eq!(split("1.a,S=1,W=2:2,FS"), ("1.a,S=1,W=2", "FS"));
        assert_eq!(split("1.a"), ("1.a", ""));
        assert_eq!(size_in_name("1.a,S=1,W=22", 1), Some(22));
        assert_eq!(size_in_name("1.a,S=1,W=22", 2), None);
        assert_eq!(size_in_name("1.a,W=22", 2), None);
        assert_eq!(size_in_name("1.a", 1), None);
        assert_eq!(size_with_crlf(b"a\nb\r\n\n"), 8);
        assert_ne!(unique(1, 1), unique(1, 1));
    }
}
