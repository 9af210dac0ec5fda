//! The layers of the house, held by a test: a module may name only what lies below it.

use ncat::proto::chat;
use ncat::term::safe::{Safe, Trust};
use std::fs;
use std::path::Path;

/// Layer, and the layers it may use. Lowest first.
const HOUSE: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("proto", &[]),
    ("term", &[]),
    ("net", &["sys", "term", "error"]),
    ("mailbox", &["sys", "proto"]),
    ("engine", &["sys", "net", "proto", "term", "error"]),
    ("modes", &["sys", "net", "mailbox", "proto", "term", "engine", "error", "report"]),
    ("cli", &["net", "mailbox", "proto", "term", "engine", "modes", "error", "report"]),
    ("error", &[]),
    ("report", &["error"]),
];

/// What a pure layer must never touch: it could not be tested without a world.
const OUTSIDE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::time",
    "std::thread",
    "std::env",
    "std::process",
    "mio::",
    "libc::",
    "rustls::",
    "rustix::",
];

/// The files in which rustls may be named.
const TLS: &[&str] = &["src/net/tls.rs", "src/net/trust/", "src/net/ciphers.rs"];

#[test]
fn modules_only_look_down() {
    let mut wrong = Vec::new();
    for (layer, below) in HOUSE {
        visit(&Path::new("src").join(layer), &mut |path, number, line| {
            for (other, _) in HOUSE {
                let named = line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("crate::{other};"));
                if named && other != layer && !below.contains(other) {
                    wrong.push(format!("{path}:{number}: {layer} must not use {other}: {line}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn protocols_and_words_touch_no_world() {
    let mut wrong = Vec::new();
    for layer in ["src/proto", "src/term"] {
        visit(Path::new(layer), &mut |path, number, line| {
            for word in OUTSIDE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{path}:{number}: a pure layer must not use {word}"));
            }
        });
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_lives_in_sys_and_rustls_in_three_files() {
    let mut wrong = Vec::new();
    visit(Path::new("src"), &mut |path, number, line| {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("unsafe") && !path.starts_with("src/sys/") {
            wrong.push(format!("{path}:{number}: `unsafe` lives in sys/"));
        }
        if code.contains("dimpl::") && !path.starts_with("src/net/dtls/") {
            wrong.push(format!("{path}:{number}: dimpl is named in net/dtls/ only"));
        }
        if code.contains("domain::") && !path.starts_with("src/proto/dns/") {
            wrong.push(format!("{path}:{number}: domain is named in proto/dns/ only"));
        }
        if code.contains("rustls::") && !TLS.iter().any(|at| path.starts_with(at)) {
            wrong.push(format!("{path}:{number}: rustls is named in {TLS:?} only"));
        }
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_walls_would_show_a_hole() {
    // A test that finds nothing must be able to find something.
    let mut seen = 0;
    visit(Path::new("src/engine"), &mut |_, _, line| {
        seen += usize::from(line.contains("crate::net::"));
    });
    assert!(seen > 5, "the walk over the sources sees nothing");
}

#[test]
fn a_chat_escapes_what_a_terminal_would() {
    // Two lists of the same characters, one on each side of a wall.
    for c in '\0'..=char::MAX {
        let mut buf = [0; 4];
        let bytes = c.encode_utf8(&mut buf).as_bytes();
        let (mut on_terminal, mut in_chat) = (Vec::new(), Vec::new());
        let mut safe = Safe::new(Trust::Text);
        safe.pass(bytes, &mut on_terminal);
        safe.finish(&mut on_terminal);
        chat::line(1, bytes, &mut in_chat);
        let shown = in_chat == [b"<user1> ", bytes, b"\n"].concat();
        // The end of a line is the one character that each treats in its own way.
        assert!(c == '\n' || shown == (on_terminal == bytes), "{c:?}");
    }
}

fn visit(at: &Path, see: &mut impl FnMut(&str, usize, &str)) {
    let file = at.with_extension("rs");
    let paths: Vec<_> = if at.is_dir() {
        fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect()
    } else {
        vec![file]
    };
    for path in paths {
        if path.is_dir() {
            visit(&path, see);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (i, line) in text.lines().enumerate() {
            see(path.to_str().unwrap(), i + 1, line);
        }
    }
}
