//! What is done with the file itself, by somebody who has the locks.

use super::Files;
use super::index::{self, Entry, Index};
use super::lock::Locked;
use crate::mailbox::memory::now;
use crate::mailbox::{journal, refusal, step, sync_dir};
use crate::proto::mbox::{self, Mboxrd, Starts};
use crate::proto::store::{Flags, Refusal, Result};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, chown};

/// So much of what is added tells it from what another program has added instead.
const HEAD: usize = 128;

/// What is written at once. A test is to see messages that are cut.
const PIECE: usize = if cfg!(test) { 24 } else { 1 << 20 };

/// A message that is to be added.
pub(super) struct Letter<'a> {
    pub(super) sender: &'a str,
    pub(super) content: &'a [u8],
    pub(super) flags: &'a Flags,
    pub(super) received: u64,
}

/// A part of the file.
pub(super) fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    // What is not there is not made room for.
    if length as u64 > left {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn hash(trimmed: &[u8]) -> String {
    index::hex(&Sha256::digest(trimmed)[..16])
}

/// Where each message begins and ends.
fn ranges(mut file: &File) -> Result<Vec<(u64, u64)>> {
    use std::io::Seek;
    let mut starts = Starts::default();
    let (mut found, mut buf) = (Vec::new(), vec![0; 64 * 1024]);
    let mut scan = || {
        file.rewind()?;
        let mut length = 0;
        loop {
            match file.read(&mut buf)? {
                0 => break,
                n => {
                    starts.read(&buf[..n], &mut found);
                    length += n as u64;
                }
            }
        }
        starts.finish(&mut found);
        Ok(length)
    };
    let length = scan().map_err(|e: io::Error| refusal(&e))?;
    if !starts.is_mbox() {
        return Err(Refusal::Broken("it is no mbox: it does not begin with \"From \"".to_owned()));
    }
    let ends = found.iter().skip(1).copied().chain([length]);
    Ok(found.iter().copied().zip(ends).collect())
}

/// Makes the index say what is in the file, after whatever has been done to it, and the file hold
/// whole messages only.
pub(super) fn update(files: &Files, locked: &mut Locked, mut index: Index) -> Result<Index> {
    // What somebody has left who was about to write the file anew.
    let _ = fs::remove_file(&files.draft);
    repair(files, locked, &index)?;
    let before = std::mem::take(&mut index.entries);
    let (leaving, staying): (Vec<_>, Vec<_>) =
        before.into_iter().partition(|entry| index.leaving.contains(&entry.uid));
    let mut known: HashMap<String, VecDeque<Entry>> = HashMap::new();
    // Of two that are the same the one has gone that was to go.
    for entry in staying.into_iter().chain(leaving) {
        known.entry(entry.hash.clone()).or_default().push_back(entry);
    }
    let mut unknown = Vec::new();
    for (start, end) in ranges(&locked.file)? {
        let raw = read(&locked.file, start, end - start).map_err(|e| refusal(&e))?;
        let trimmed = mbox::trim(&raw);
        let hash = hash(trimmed);
        let (offset, length) = (start, trimmed.len() as u64);
        match known.get_mut(&hash).and_then(VecDeque::pop_front) {
            Some(entry) => index.entries.push(Entry { offset, length, ..entry }),
            None => unknown.push(entry(trimmed, offset, hash)),
        }
    }
    let is_new = !unknown.is_empty();
    for entry in unknown {
        let uid = index.next;
        index.next = after(uid)?;
        index.entries.push(Entry { uid, ..entry });
    }
    index.entries.sort_by_key(|entry| entry.uid);
    let data = locked.file.metadata().map_err(|e| refusal(&e))?;
    (index.stamp, index.intent, index.is_long) = (Some(index::stamp(&data)), None, false);
    index.leaving.clear();
    match index.save(files) {
        // With a full disk one can still read, if nobody has to remember what is told now. But what
        // is on disk is of another file: no line behind it may say that it is true.
        Err(_) if !is_new && files.index.exists() => index.stamp = None,
        other => other?,
    }
    Ok(index)
}

/// A message that another program has put there. It has no UID yet.
fn entry(trimmed: &[u8], offset: u64, hash: String) -> Entry {
    let first = trimmed.split(|&b| b == b'\n').next().unwrap_or_default();
    let content = mbox::decode(trimmed);
    Entry {
        uid: 0,
        offset,
        length: trimmed.len() as u64,
        size: content.len() as u64,
        received: mbox::date(first).unwrap_or_else(now),
        hash,
        flags: mbox::status(&content),
    }
}

fn after(uid: u32) -> Result<u32> {
    let none = || Refusal::Broken("there are no more UIDs in this mailbox".to_owned());
    uid.checked_add(1).ok_or_else(none)
}

/// Takes away what somebody who died has added half.
fn repair(files: &Files, locked: &mut Locked, index: &Index) -> Result<()> {
    let Some(intent) = &index.intent else { return Ok(()) };
    let length = locked.file.metadata().map_err(|e| refusal(&e))?.len();
    let added = length.saturating_sub(intent.offset);
    let ours = || index.entries.iter().filter(|entry| entry.uid >= intent.from);
    let is_there = |entry: &Entry| {
        read(&locked.file, entry.offset, entry.length).is_ok_and(|raw| hash(&raw) == entry.hash)
    };
    if added == 0 || (ours().count() > 0 && ours().all(is_there)) {
        return Ok(());
    }
    let all = ranges(&locked.file)?;
    let is_theirs = |at: u64| at >= intent.offset && !ours().any(|entry| entry.offset == at);
    let theirs = all.iter().map(|(start, _)| *start).find(|start| is_theirs(*start));
    let left = theirs.map_or(added, |theirs| theirs - intent.offset);
    let left = read(&locked.file, intent.offset, left.min(intent.head.len() as u64));
    let left = left.map_err(|e| refusal(&e))?;
    // Others put theirs on a line of its own.
    let left = if theirs.is_some() { mbox::trim(&left) } else { &left };
    if left.is_empty() || !intent.head.starts_with(left) {
        // It is another program's.
        return Ok(());
    }
    match theirs {
        None => {
            locked.file.set_len(intent.offset).map_err(|e| refusal(&e))?;
            step();
            locked.file.sync_all().map_err(|e| refusal(&e))
        }
        // Another program has put one behind it.
        Some(theirs) => {
            let before = all.iter().filter(|(start, _)| *start < intent.offset);
            let before = before.map(|(start, end)| (*start, *end.min(&intent.offset)));
            let behind = all.iter().filter(|(start, _)| *start >= theirs).copied();
            let keep: Vec<_> = before.chain(behind).collect();
            rewrite(files, locked, &keep).map(drop)
        }
    }
}

/// Adds messages, all of them or none: UIDVALIDITY and their UIDs. They are on disk then.
pub(super) fn add(
    files: &Files,
    locked: &mut Locked,
    letters: &[Letter<'_>],
) -> Result<(u32, Vec<u32>)> {
    let data = locked.file.metadata().map_err(|e| refusal(&e))?;
    let (validity, mut next) = match index::glance(files, index::stamp(&data)) {
        Some(known) => known,
        None => {
            let index = update(files, locked, Index::load(files))?;
            if index.stamp.is_none() {
                // What is added is sealed as true with all that stands before it.
                index.save(files)?;
            }
            (index.validity, index.next)
        }
    };
    let file = &locked.file;
    // That may have taken something away.
    let data = file.metadata().map_err(|e| refusal(&e))?;
    let length = data.len();
    let mut out = gap(file, length).map_err(|e| refusal(&e))?.to_vec();
    let (mut lines, mut uids) = (String::new(), Vec::new());
    for letter in letters {
        let start = out.len();
        let mut mbox = Mboxrd::default();
        mbox.begin(letter.sender, &mbox::asctime(letter.received), &mut out);
        mbox.encode(letter.content, &mut out);
        mbox.end(&mut out);
        let trimmed = mbox::trim(&out[start..]);
        let entry = Entry {
            uid: next,
            offset: length + start as u64,
            length: trimmed.len() as u64,
            size: mbox::decode(trimmed).len() as u64,
            received: letter.received,
            hash: hash(trimmed),
            flags: letter.flags.clone(),
        };
        lines.push_str(&index::line(&entry));
        uids.push(next);
        next = after(next)?;
    }
    let lines = index::opening(length, &out[..out.len().min(HEAD)]) + &lines;
    let journal = journal::append(&files.index, &lines, true).map_err(|e| refusal(&e))?;
    let write = || {
        for (n, piece) in out.chunks(PIECE).enumerate() {
            file.write_all_at(piece, length + (n * PIECE) as u64)?;
            step();
        }
        file.sync_all()?;
        step();
        file.metadata()
    };
    match write() {
        Ok(data) => {
            // Who does not find this looks into the file.
            let _ = journal::append(&files.index, &index::seal(index::stamp(&data), next), false);
            Ok((validity, uids))
        }
        Err(e) => {
            // Whoever hears no would store it again. The file is as it was, and says so.
            let undo = || {
                file.set_len(length)?;
                file.set_modified(data.modified()?)?;
                File::options().write(true).open(&files.index)?.set_len(journal)
            };
            // If this fails, too, the next one takes away what is there.
            let _: io::Result<()> = undo();
            Err(refusal(&e))
        }
    }
}

/// What must stand before another message: others do not always end theirs.
fn gap(file: &File, length: u64) -> io::Result<&'static [u8]> {
    let from = length.saturating_sub(4);
    let end = read(file, from, length - from)?;
    Ok(match end.as_slice() {
        [] => b"",
        end if end.ends_with(b"\n\n") || end.ends_with(b"\n\r\n") => b"",
        end if end.ends_with(b"\n") => b"\n",
        _ => b"\n\n",
    })
}

/// Takes messages out.
pub(super) fn take_out(
    files: &Files,
    locked: &mut Locked,
    mut index: Index,
    uids: &HashSet<u32>,
) -> Result<Index> {
    let (gone, kept): (Vec<_>, Vec<_>) =
        index.entries.into_iter().partition(|entry| uids.contains(&entry.uid));
    index.entries = kept;
    if gone.is_empty() {
        return Ok(index);
    }
    let gone: Vec<u32> = gone.iter().map(|entry| entry.uid).collect();
    journal::append(&files.index, &index::parting(&gone), true).map_err(|e| refusal(&e))?;
    let mut keep: Vec<(u64, u64)> =
        index.entries.iter().map(|entry| (entry.offset, entry.offset + entry.length)).collect();
    keep.sort_unstable();
    let moved = rewrite(files, locked, &keep)?;
    for entry in &mut index.entries {
        entry.offset = moved.get(&entry.offset).copied().unwrap_or(entry.offset);
    }
    let data = locked.file.metadata().map_err(|e| refusal(&e))?;
    (index.stamp, index.is_long) = (Some(index::stamp(&data)), false);
    // Who does not find it written looks into the file, where they are gone; nothing may be said
    // behind it that makes it true again.
    if index.save(files).is_err() {
        index.stamp = None;
    }
    Ok(index)
}

/// Writes the file anew with these parts of it, so that it is whole whenever somebody looks: where
/// each of them was, and is.
fn rewrite(files: &Files, locked: &mut Locked, keep: &[(u64, u64)]) -> Result<HashMap<u64, u64>> {
    let old = &locked.file;
    let write = || {
        let data = old.metadata()?;
        let mut new = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&files.draft)?;
        step();
        new.set_permissions(data.permissions())?;
        let ours = new.metadata()?;
        if (ours.uid(), ours.gid()) != (data.uid(), data.gid()) {
            // Who may write it may still not give it away.
            let _ = chown(&files.draft, Some(data.uid()), Some(data.gid()));
        }
        let (mut moved, mut at) = (HashMap::new(), 0);
        for &(start, end) in keep {
            let raw = read(old, start, end - start)?;
            let trimmed = mbox::trim(&raw);
            let first = trimmed.split_inclusive(|&b| b == b'\n').next().unwrap_or_default();
            let end: &[u8] = if first.ends_with(b"\r\n") { b"\r\n\r\n" } else { b"\n\n" };
            new.write_all(trimmed)?;
            step();
            new.write_all(end)?;
            moved.insert(start, at);
            at += (trimmed.len() + end.len()) as u64;
        }
        new.sync_all()?;
        step();
        // Nobody else has it yet.
        crate::sys::lock::try_lock(std::os::fd::AsFd::as_fd(&new), true)?;
        fs::rename(&files.draft, &files.mbox)?;
        step();
        sync_dir(files.directory())?;
        Ok((new, moved))
    };
    match write() {
        Ok((new, moved)) => {
            locked.becomes(new);
            Ok(moved)
        }
        Err(e) => {
            let e: io::Error = e;
            // On a full disk even half of it takes room.
            let _ = fs::remove_file(&files.draft);
            Err(refusal(&e))
        }
    }
}
