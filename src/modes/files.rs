//! The files of a directory, as an HTTP server of ours finds them.
//!
//! Only what lies below the directory is served, wherever symbolic links lead; names that begin
//! with a dot are not there.

use crate::proto::http::origin::Request;
use crate::proto::http::origin::answer::{Answer, File as Served, encoded};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What stands for a directory, if it is there.
const INDEX: &str = "index.html";

/// By the ending of a name.
const MEDIA: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("eml", "message/rfc822"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("woff2", "font/woff2"),
];

/// What was found, with the file whose octets will be asked for.
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) file: Option<File>,
}

/// Finds what is asked for below `root`.
pub(super) fn find(root: &Path, request: &Request) -> Found {
    look(root, request).unwrap_or_else(|e| {
        let forbidden = e.kind() == io::ErrorKind::PermissionDenied;
        let answer = if forbidden { Answer::Forbidden } else { Answer::Missing };
        Found { answer, file: None }
    })
}

fn look(root: &Path, request: &Request) -> io::Result<Found> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    if request.path.iter().any(|name| name.starts_with('.')) {
        return Err(missing());
    }
    let root = root.canonicalize()?;
    let mut path = root.clone();
    path.extend(&request.path);
    let path = path.canonicalize()?;
    if !path.starts_with(&root) {
        return Err(missing());
    }
    let made = |answer| Ok(Found { answer, file: None });
    match (fs::metadata(&path)?.is_dir(), request.is_directory) {
        (true, false) => made(Answer::Slash),
        (false, true) => Err(missing()),
        (false, false) => open(&path),
        (true, true) => match path.join(INDEX).canonicalize() {
            Ok(index) if index.starts_with(&root) => open(&index),
            Ok(_) | Err(_) => made(Answer::Page(listing(&path, request)?)),
        },
    }
}

fn open(path: &Path) -> io::Result<Found> {
    // A FIFO would hold everybody up until somebody writes to it.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let changed = about.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let known = MEDIA.iter().find(|(known, _)| Some(*known) == ending.as_deref());
    let media = known.map_or("application/octet-stream", |(_, media)| media);
    let answer = Answer::File(Served { length: about.len(), media, changed });
    Ok(Found { answer, file: Some(file) })
}

/// A page with what is in a directory, directories first.
fn listing(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut names: Vec<(bool, String, u64)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is gone by now is not there.
        let Ok(about) = fs::metadata(entry.path()) else { continue };
        if !name.starts_with('.') {
            names.push((!about.is_dir(), name, about.len()));
        }
    }
    names.sort();
    let title = format!("/{}", request.path.join("/"));
    let title = escaped(&title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<ul>\n"
    );
    if !request.path.is_empty() {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for (is_file, name, length) in names {
        let (slash, size) =
            if is_file { ("", format!(" ({length} bytes)")) } else { ("/", String::new()) };
        // A colon in the first segment would be a scheme (RFC 3986 §4.2).
        let link = format!("./{}{slash}", encoded(&name));
        let name = escaped(&name);
        page.push_str(&format!("<li><a href=\"{link}\">{name}{slash}</a>{size}</li>\n"));
    }
    page.push_str("</ul></body></html>\n");
    Ok(page.into_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(root: &Path, path: &[&str], is_directory: bool) -> Answer {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        find(root, &Request { path, is_directory }).answer
    }

    #[test]
    fn only_what_lies_below_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        fs::write(root.join("a&b.TXT"), "four").unwrap();
        fs::write(root.join(".hidden"), "x").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
        std::os::unix::fs::symlink("a&b.TXT", root.join("in")).unwrap();
        assert!(matches!(
            ask(&root, &["a&b.TXT"], false),
            Answer::File(Served { length: 4, media: "text/plain; charset=utf-8", .. })
        ));
        assert!(matches!(ask(&root, &["in"], false), Answer::File(_)));
        assert_eq!(ask(&root, &["sub"], false), Answer::Slash);
        for path in [&["out"][..], &[".hidden"], &["none"], &["sub", "none"]] {
            assert_eq!(ask(&root, path, false), Answer::Missing, "{path:?}");
        }
        assert_eq!(ask(&root, &["in"], true), Answer::Missing);
        let Answer::Page(page) = ask(&root, &[], true) else { panic!("no listing") };
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("<a href=\"./a%26b.TXT\">a&amp;b.TXT</a> (4 bytes)"), "{page}");
        assert!(page.find("sub/").unwrap() < page.find("a%26b").unwrap(), "{page}");
        assert!(!page.contains("hidden"), "{page}");
        fs::write(root.join("index.html"), "<p>").unwrap();
        assert!(matches!(ask(&root, &[], true), Answer::File(Served { length: 3, .. })));
    }
}
