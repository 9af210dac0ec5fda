//! A small file of lines that grows by its end, and is written anew when it has grown too much.
//!
//! Whoever is killed while he adds a line leaves it without its end: readers pass it over, and the
//! next who adds one cuts it off. All of it under a lock of the caller's.

use super::step;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The last line is looked for in so much of the end.
const TAIL: u64 = 64 * 1024;

/// Its whole lines.
pub(super) fn whole(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

/// Its first and its last line, and what it is long; nothing if there is no file, no whole line,
/// or one that is too long.
pub(super) fn ends(path: &Path) -> Option<(String, String)> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let read = |from: u64, to: u64| {
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        file.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    };
    let head = read(0, length.min(256))?;
    let first = head.split(|&b| b == b'\n').next().filter(|line| line.len() < head.len())?;
    let tail = read(length.saturating_sub(TAIL), length)?;
    let end = memchr::memrchr(b'\n', &tail)?;
    let begin = memchr::memrchr(b'\n', &tail[..end]).map(|at| at + 1);
    let begin = begin.or((length <= TAIL).then_some(0))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some((text(first)?, text(&tail[begin..end])?))
}

/// Adds lines; with `sync` they are on disk then. Who gets an error finds it as it was. Gives the
/// place where they begin.
pub(super) fn append(path: &Path, lines: &str, sync: bool) -> io::Result<u64> {
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let end = end_of_lines(&file, length)?;
    if end < length {
        file.set_len(end)?;
        step();
    }
    let write = || {
        for piece in lines.as_bytes().chunks(PIECE).enumerate() {
            file.write_all_at(piece.1, end + (piece.0 * PIECE) as u64)?;
            step();
        }
        if sync { file.sync_data() } else { Ok(()) }
    };
    let write = || write().map(|()| end);
    write().inspect_err(|_| {
        // If even this fails, the line has no end, or says what is not so: readers look.
        let _ = file.set_len(end);
    })
}

/// A test is to see lines that are cut.
const PIECE: usize = if cfg!(test) { 48 } else { usize::MAX };

/// Where the last whole line ends.
fn end_of_lines(file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(4096);
        let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Writes it anew, by way of a file beside it, so that it is whole whenever somebody looks.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&draft)?;
        step();
        file.write_all(text.as_bytes())?;
        step();
        file.sync_all()?;
        fs::rename(&draft, path)?;
        step();
        super::sync_dir(path.parent().unwrap_or(Path::new(".")))
    };
    write().inspect_err(|_| {
        // On a full disk even half of it takes room.
        let _ = fs::remove_file(&draft);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_end_is_passed_over_and_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert_eq!(ends(&path), None);
        replace(&path, "first\nsecond\n").unwrap();
        let long = format!("{}\n", "x".repeat(5000));
        append(&path, &long, true).unwrap();
        append(&path, "last\n", false).unwrap();
        assert_eq!(ends(&path), Some(("first".into(), "last".into())));
        let all = format!("first\nsecond\n{long}last\n");
        for cut in 1..all.len() {
            fs::write(&path, &all[..cut]).unwrap();
            let lines = whole(&all[..cut]);
            let last = lines.lines().last().map(|last| ("first".to_owned(), last.to_owned()));
            assert_eq!(ends(&path), last, "{cut}");
            append(&path, "more\n", false).unwrap();
            let now = fs::read_to_string(&path).unwrap();
            assert_eq!(now, format!("{lines}more\n"), "{cut}");
        }
        // A line that does not fit into what is looked at is none.
        fs::write(&path, format!("a\n{}\n", "x".repeat(70_000))).unwrap();
        assert_eq!(ends(&path), None);
    }
}
