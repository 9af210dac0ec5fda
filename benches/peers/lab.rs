//! What every scenario needs: the machine, a directory in memory, a certificate, free ports.

use crate::peer::{self, Peer};
use crate::tool::pattern::Pattern;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much is moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// To see that it works: an eighth.
    Quick,
    /// For figures.
    Full,
}

/// The place where it all happens.
pub(crate) struct Lab {
    pub(crate) scale: Scale,
    /// Our program.
    pub(crate) ours: PathBuf,
    pub(crate) peers: Vec<Peer>,
    dir: tempfile::TempDir,
    interrupted: Arc<AtomicBool>,
}

/// What stands for something in a command line: `{port}` and the like.
pub(crate) type Names = BTreeMap<&'static str, String>;

impl Lab {
    /// Sets it up.
    pub(crate) fn new(scale: Scale, ours: PathBuf) -> Result<Self, String> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|e| format!("cannot watch for signals: {e}"))?;
        }
        raise_descriptors();
        // A file system in memory, so that no disk is measured.
        let shm = Path::new("/dev/shm");
        let root = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new()
            .prefix("ncat-peers-")
            .tempdir_in(&root)
            .map_err(|e| format!("cannot make a directory in {}: {e}", root.display()))?;
        let lab = Self { scale, ours, peers: peer::find(), dir, interrupted };
        lab.certificate().map_err(|e| format!("cannot make a certificate: {e}"))?;
        Ok(lab)
    }

    /// A file of ours.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The part of `full` that this run moves.
    pub(crate) fn scaled(&self, full: u64) -> u64 {
        match self.scale {
            Scale::Quick => (full / 8).max(1),
            Scale::Full => full,
        }
    }

    /// Somebody wants us to stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// A file with so many bytes of the pattern; made once.
    pub(crate) fn input(&self, bytes: u64) -> io::Result<PathBuf> {
        let path = self.path(&format!("input-{bytes}"));
        if !path.exists() {
            let mut file = File::create(&path)?;
            let pattern = Pattern::new();
            let mut at = 0;
            while at < bytes {
                let chunk = pattern.from(at, bytes - at);
                file.write_all(chunk)?;
                at += chunk.len() as u64;
            }
        }
        Ok(path)
    }

    /// The names that every command line may use; each call has a port and a path of its own.
    pub(crate) fn names(&self) -> io::Result<Names> {
        let port = free_port()?;
        let socket = self.path(&format!("s{port}"));
        Ok(Names::from([
            ("port", port.to_string()),
            ("path", socket.display().to_string()),
            ("dir", self.dir.path().display().to_string()),
            ("cert", self.path("cert.pem").display().to_string()),
            ("key", self.path("key.pem").display().to_string()),
            ("pem", self.path("both.pem").display().to_string()),
            // smtp-sink(1) wants to be somebody else when root starts it.
            (
                "nobody",
                if rustix::process::getuid().is_root() { "-unobody" } else { "" }.to_owned(),
            ),
        ]))
    }

    /// One certificate for all, and settings that make OpenSSL's programs take one suite.
    fn certificate(&self) -> Result<(), Box<dyn std::error::Error>> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let cert = pem("CERTIFICATE", made.cert.der());
        let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
        fs::write(self.path("cert.pem"), &cert)?;
        fs::write(self.path("key.pem"), &key)?;
        fs::write(self.path("both.pem"), format!("{key}{cert}"))?;
        for suite in ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"] {
            let text = format!(
                "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n\
                 Ciphersuites = {suite}\n"
            );
            fs::write(self.path(&format!("{suite}.cnf")), text)?;
        }
        Ok(())
    }
}

/// PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A port on which nobody listens, neither TCP nor UDP.
pub(crate) fn free_port() -> io::Result<u16> {
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

/// Waits until somebody listens there, without calling: many a peer takes one caller only.
pub(crate) fn wait_for_listener(names: &Names, udp: bool, deadline: Instant) -> bool {
    let port = names["port"].parse::<u16>().unwrap_or_default();
    let socket = names["path"].as_str();
    loop {
        let tables: &[&str] = if udp { &["udp", "udp6"] } else { &["tcp", "tcp6"] };
        if tables.iter().any(|table| listed(table, port, udp)) || unix_listed(socket) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// proc(5): the second column is the local address in hex, the fourth the state; 0A is LISTEN.
fn listed(table: &str, port: u16, udp: bool) -> bool {
    let wanted = format!(":{port:04X}");
    let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    text.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().is_some_and(|local| local.ends_with(&wanted));
        local && (udp || columns.nth(1) == Some("0A"))
    })
}

/// The fourth column has the flags; 0x10000 is "accepts callers".
fn unix_listed(path: &str) -> bool {
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    text.lines().any(|line| line.ends_with(path) && line.contains(" 00010000 "))
}

/// Ten thousand idle callers need as many descriptors, here and in the program that is measured.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows later, as a contender that runs out of descriptors.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
