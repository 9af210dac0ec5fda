//! How the program is linked (`src/build/`): what a short session needs lies together.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod tool;

use std::process::Command;
use tool::{NCAT, have};

fn said(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        if part.is_empty() {
            continue;
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || pattern.ends_with('*')
}

/// A pattern that no function has is one that was renamed, or an end of the way in which the
/// compiler spells names: the program would start more slowly, and nothing else would say so.
#[test]
fn every_pattern_still_names_something() {
    if !have("nm") {
        return;
    }
    let script = std::fs::read_to_string("src/build/session.ld").unwrap();
    let patterns: Vec<_> = script
        .split(['(', ')', ' ', '\n'])
        .filter_map(|word| word.strip_prefix(".text."))
        .filter(|word| !["session", "secure"].contains(word))
        .collect();
    assert!(patterns.len() > 50, "{patterns:?}");
    let symbols = said("nm", &["--defined-only", "--format=posix", NCAT]);
    let names: Vec<_> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    let stale: Vec<_> = patterns
        .iter()
        .filter(|pattern| !names.iter().any(|name| matches(pattern, name)))
        .collect();
    assert!(stale.is_empty(), "no function is named by {stale:?}");
}

#[test]
fn what_a_session_needs_lies_together_and_needs_little_of_the_loader() {
    if !have("readelf") {
        return;
    }
    let done: Vec<_> = env!("NCAT_LINK").split(' ').collect();
    if std::env::var_os("CI").is_some() {
        assert_eq!(done, ["session", "packed", "unwinder"]);
    }
    let sections = said("readelf", &["--sections", "--wide", NCAT]);
    let size = |name: &str| {
        let line =
            sections.lines().find(|line| line.split_whitespace().any(|word| word == name))?;
        let fields: Vec<_> = line.split(']').nth(1)?.split_whitespace().collect();
        u64::from_str_radix(fields[4], 16).ok()
    };
    if done.contains(&"session") {
        let (session, all) = (size(".text.session").unwrap(), size(".text").unwrap());
        assert!((100_000..all / 2).contains(&session), "{session} of {all}");
    }
    let dynamic = said("readelf", &["--dynamic", "--wide", NCAT]);
    assert_eq!(dynamic.contains("(RELR)"), done.contains(&"packed"), "{dynamic}");
    assert!(!dynamic.contains("libm.so"), "{dynamic}");
    assert_eq!(dynamic.contains("libgcc_s"), !done.contains(&"unwinder"), "{dynamic}");
}

#[test]
fn patterns_are_read_as_the_linker_reads_them() {
    assert!(matches("main", "main") && !matches("main", "mainly"));
    assert!(matches("*3mio*", "_ZN3mio4poll") && !matches("*3mio*", "_ZN4mios"));
    assert!(matches("_ZN*fmt", "_ZN4core3fmt") && !matches("_ZN*fmt", "_ZN4core3fmt5write"));
}
