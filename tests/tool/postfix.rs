//! A private Postfix as a peer; `tests/peers/postfix.sh` says what it is like.

use super::{are_root, arg, have, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Postfix of our own: no pipelining without leave, STARTTLS, TLS, and a login.
pub struct Postfix {
    /// Its directory.
    pub dir: tempfile::TempDir,
    ports: String,
}

impl Postfix {
    /// Starts one; the test that drops it stops it. `None` where there is none.
    pub fn start() -> Option<Self> {
        if !["postfix", "dovecot", "openssl", "setpriv"].into_iter().all(have)
            || !are_root("postfix")
        {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        control("start", dir.path());
        let ports = std::fs::read_to_string(dir.path().join("ports")).unwrap();
        Some(Self { dir, ports })
    }

    /// The place of one of its services.
    pub fn at(&self, service: &str) -> String {
        let line =
            self.ports.lines().find_map(|line| line.strip_prefix(service)?.strip_prefix('='));
        format!("localhost:{}", line.unwrap().trim())
    }

    /// The certificate of its TLS.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Waits until a message that contains `text` has been delivered to ann, and gives it.
    pub fn delivered(&self, text: &str) -> String {
        String::from_utf8(self.delivered_to("ann", text)).unwrap()
    }

    /// The same for ann or bob, octet for octet.
    pub fn delivered_to(&self, user: &str, text: &str) -> Vec<u8> {
        let maildir = self.dir.path().join("mail").join(user);
        let has = |message: &Vec<u8>| memchr::memmem::find(message, text.as_bytes()).is_some();
        let mut found = None;
        wait_until(&format!("a message with {text:?}"), || {
            found = messages(&maildir).into_iter().find(has);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        control("stop", self.dir.path());
    }
}

fn control(what: &str, dir: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/postfix.sh");
    let output = Command::new(script).args([what, arg(dir)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}\n{}", String::from_utf8_lossy(&output.stdout));
}

fn messages(maildir: &Path) -> Vec<Vec<u8>> {
    let files = |name: &str| std::fs::read_dir(maildir.join(name)).into_iter().flatten().flatten();
    files("new").chain(files("cur")).filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}
