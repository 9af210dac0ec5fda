//! How the program is linked on Linux with the GNU C library, which is what its start and its
//! memory are made of: nearly all of a short session's time goes into the loader's page faults.
//!
//! Measured (2026-11, x86-64): a connection, one line and the end took 3.3 ms before and 2.4 ms
//! with all three, and 5.2 MB of memory against 3.5. Page faults cost about 5 microseconds each.
//!
//! 1. What a session runs lies together (`session.ld`): a plain one has 200 functions of 10,000,
//!    and the kernel maps 64 KiB around each that is touched.
//! 2. Relocations are packed (DT_RELR): 4 KiB instead of 340.
//! 3. The unwinder is part of the program, not one more library to load.
//!
//! Each is left out where it could not be relied on. Nothing but speed depends on them.

#![expect(clippy::print_stdout, reason = "cargo listens there")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The GNU C library that applies packed relocations, and all later ones.
const PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=src/build");
    // For tests/link.rs.
    println!("cargo::rustc-env=NCAT_LINK={}", link().join(" "));
}

/// Tells cargo how; the names of what is done.
fn link() -> Vec<&'static str> {
    let mut done = Vec::new();
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "gnu" || has_own_linker() {
        return done;
    }
    let script =
        Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src/build/session.ld");
    // Not by -Wl: a comma in the path would end it.
    println!("cargo::rustc-link-arg-bins=-T");
    println!("cargo::rustc-link-arg-bins={}", script.display());
    done.push("session");
    // The rest asks this machine, so it must be the one that is built for.
    if env::var("HOST") != env::var("TARGET") {
        return done;
    }
    if libc_version().is_some_and(|version| version >= PACKED) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        done.push("packed");
    }
    if let Some(dir) = unwinder() {
        println!("cargo::rustc-link-search=native={}", dir.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
        done.push("unwinder");
    }
    done
}

/// Somebody has chosen a linker: who knows what it understands.
fn has_own_linker() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    env::var_os("RUSTC_LINKER").is_some()
        || ["linker", "fuse-ld", "link-arg"].iter().any(|word| flags.contains(word))
}

fn libc_version() -> Option<(u32, u32)> {
    let said = said_by("getconf", &["GNU_LIBC_VERSION"])?;
    let (major, minor) = said.strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The folder of the static unwinder, which comes with gcc.
fn unwinder() -> Option<PathBuf> {
    let path = PathBuf::from(said_by("cc", &["-print-file-name=libgcc_eh.a"])?);
    path.is_absolute().then(|| path.parent().map(Path::to_owned))?
}

fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
