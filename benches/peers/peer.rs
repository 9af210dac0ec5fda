//! Who is here to be measured beside us.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program of somebody else's.
pub(crate) struct Peer {
    /// What command lines call it.
    pub(crate) key: &'static str,
    /// What it was found as.
    pub(crate) program: Option<PathBuf>,
    /// What it says of itself.
    pub(crate) version: String,
}

/// Key, names of the program, how it is asked for its version, and a word that the answer must
/// have: `ncat` may well be ours.
const KNOWN: &[(&str, &[&str], &[&str], &str)] = &[
    ("ncat", &["ncat"], &["--version"], "nmap.org"),
    ("nc.openbsd", &["nc.openbsd"], &["-h"], "OpenBSD"),
    ("nc.traditional", &["nc.traditional"], &["-h"], "v1."),
    ("socat", &["socat"], &["-V"], "socat version"),
    ("openssl", &["openssl"], &["version"], "OpenSSL"),
    ("gnutls-cli", &["gnutls-cli"], &["--version"], "gnutls-cli"),
    ("curl", &["curl"], &["--version"], "curl"),
    ("msmtp", &["msmtp"], &["--version"], "msmtp"),
    ("swaks", &["swaks"], &["--version"], "swaks"),
    ("smtp-sink", &["smtp-sink"], &[], ""),
    ("smtp-source", &["smtp-source"], &[], ""),
    ("true", &["true"], &[], ""),
    ("cat", &["cat"], &[], ""),
];

/// Looks for all of them.
pub(crate) fn find() -> Vec<Peer> {
    KNOWN
        .iter()
        .map(|(key, names, ask, word)| {
            let found = names.iter().find_map(|name| search(name));
            let said = found.as_deref().map(|program| version(program, ask, word));
            match (found, said) {
                (Some(program), Some(Some(version))) => {
                    Peer { key, program: Some(program), version }
                }
                (Some(_), _) => Peer { key, program: None, version: "another program".into() },
                (None, _) => Peer { key, program: None, version: "not here".into() },
            }
        })
        .collect()
}

fn search(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The line that has the word; `None` when it is another program of that name.
fn version(program: &Path, ask: &[&str], word: &str) -> Option<String> {
    if ask.is_empty() {
        return Some(String::new());
    }
    let said = Command::new(program).args(ask).stdin(Stdio::null()).output().ok()?;
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().find(|line| line.contains(word)).map(|line| line.trim().to_owned())
}
