//! Both ends of a pipe.

use super::pattern::{CHUNK, Pattern};
use super::{Outcome, number};

use rustix::stdio::{stdin, stdout};
use std::io::Write;

/// `BYTES [stay]`: writes so much of the pattern on standard output, and ends or does not.
pub(crate) fn fill(args: &[&str]) -> Outcome {
    let bytes: u64 = number(args, 0)?;
    let pattern = Pattern::new();
    let mut at = 0;
    while at < bytes {
        at += rustix::io::write(stdout(), pattern.from(at, bytes - at))? as u64;
    }
    while args.get(1) == Some(&"stay") {
        std::thread::park();
    }
    Ok(())
}

/// `BYTES all|ends`: reads standard input until it ends or has had so much, compares, prints how
/// many bytes came and whether they were right, and stays until the end.
pub(crate) fn drain(args: &[&str]) -> Outcome {
    let bytes: u64 = number(args, 0)?;
    let check = Check::named(args.get(1).copied());
    let pattern = Pattern::new();
    let mut buf = vec![0; CHUNK];
    let (mut at, mut right) = (0, true);
    while at < bytes {
        let n = rustix::io::read(stdin(), &mut buf[..])?;
        if n == 0 {
            break;
        }
        right &= check.passes(&pattern, at, &buf[..n]);
        at += n as u64;
    }
    report(at, right)?;
    while rustix::io::read(stdin(), &mut buf[..])? > 0 {}
    Ok(())
}

/// How closely it is looked at.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    All,
    Ends,
}

impl Check {
    pub(crate) fn named(name: Option<&str>) -> Self {
        if name == Some("all") { Self::All } else { Self::Ends }
    }

    pub(crate) fn passes(self, pattern: &Pattern, at: u64, got: &[u8]) -> bool {
        match self {
            Self::All => pattern.is(at, got),
            Self::Ends => pattern.looks_like(at, got),
        }
    }
}

/// What `shape::transfer` reads.
pub(crate) fn report(bytes: u64, right: bool) -> Outcome {
    let word = if right { "right" } else { "wrong" };
    writeln!(std::io::stdout(), "{bytes} {word}")?;
    Ok(())
}
