//! What we are built from: licences that we may ship, versions without published defects.

use std::collections::BTreeSet;
use std::process::Command;

/// Licences that may be in the binary; each crate must offer one of them for all it asks.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "0BSD",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
];

/// The oldest versions without a published security defect that concerns us.
const FLOORS: &[(&str, [u64; 3])] =
    &[("rustls", [0, 23, 45]), ("rustls-webpki", [0, 103, 13]), ("ring", [0, 17, 12])];

/// One crate of the lock file.
fn locked() -> Vec<(String, String)> {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    let value = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let mut crates = Vec::new();
    let mut name = String::new();
    for line in lock.lines() {
        if line.starts_with("name = ") {
            name = value(line);
        } else if line.starts_with("version = ") && !name.is_empty() {
            crates.push((std::mem::take(&mut name), value(line)));
        }
    }
    crates
}

fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[test]
fn nothing_in_the_lock_file_is_older_than_its_last_security_fix() {
    let crates = locked();
    for (name, floor) in FLOORS {
        let found: Vec<_> = crates.iter().filter(|(locked, _)| locked == name).collect();
        assert!(!found.is_empty(), "{name} is not in Cargo.lock: is the floor still needed?");
        for (_, found) in found {
            assert!(version(found) >= *floor, "{name} {found} is older than {floor:?}");
        }
    }
}

#[test]
fn no_pre_release_is_in_the_lock_file() {
    // What follows a + is build metadata (Semantic Versioning §10).
    let is_pre = |version: &str| version.split('+').next().unwrap_or_default().contains('-');
    let pre: Vec<_> = locked().into_iter().filter(|(_, version)| is_pre(version)).collect();
    assert!(pre.is_empty(), "{pre:?}");
}

#[test]
fn every_crate_has_a_licence_that_we_may_ship() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &host()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Each package object begins with its name, and carries its licence before the next begins.
    let mut seen = 0;
    let mut wrong = BTreeSet::new();
    for package in text.split("{\"name\":\"").skip(1) {
        let Some((name, rest)) = package.split_once('"') else { continue };
        if !rest.starts_with(",\"version\":\"") {
            continue; // a dependency of a package, not a package
        }
        let licence = rest.split_once("\"license\":\"").and_then(|(_, r)| r.split_once('"'));
        let licence = licence.map_or("none", |(licence, _)| licence);
        seen += 1;
        if !may_ship(licence) {
            wrong.insert(format!("{name}: {licence}"));
        }
    }
    assert!(seen > 30, "only {seen} packages were found: has cargo's output changed?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The platform that we are built for: only its crates are here.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// An SPDX expression of ORs and ANDs, without nested brackets.
fn may_ship(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim())))
}

#[test]
fn a_licence_that_binds_would_be_found() {
    assert!(may_ship("MIT OR Apache-2.0") && may_ship("MIT/Apache-2.0"));
    assert!(may_ship("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!may_ship("GPL-3.0") && !may_ship("MIT AND GPL-3.0") && !may_ship("none"));
}
