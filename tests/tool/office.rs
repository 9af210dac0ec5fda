//! What a mail client needs: our mock servers over one Maildir, and a home of its own.

use super::{
    DEADLINE, NCAT, Output, Running, arg, certified, dir, now, pause, serving, start_command,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who sends and reads.
pub const USER: &str = "ann";
/// What she knows.
pub const PASSWORD: &str = "s3cret";

/// The servers, a Maildir behind them, and a directory that holds everything of the client's.
pub struct Office {
    pub dir: tempfile::TempDir,
    pub mailbox: PathBuf,
    /// SMTP, with STARTTLS.
    pub smtp: u16,
    servers: Vec<Running>,
}

impl Office {
    pub fn open() -> Self {
        let dir = dir();
        certified(&dir);
        let mailbox = dir.path().join("box");
        let mut office = Self { dir, mailbox, smtp: 0, servers: Vec::new() };
        office.smtp = office.serve(&["--smtp", "--no-trace"]);
        office
    }

    /// One more server, for good.
    pub fn serve(&mut self, options: &[&str]) -> u16 {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        let account = format!("{USER}:{PASSWORD}");
        let all = ["-k", "--mailbox", arg(&self.mailbox), "--auth", &account];
        let tls = ["--ssl-cert", &certificate, "--ssl-key", &key];
        let (server, port) = serving(&[options, &all, &tls].concat());
        self.servers.push(server);
        port
    }

    /// A path in the home of the client.
    pub fn path(&self, name: &str) -> String {
        arg(&self.dir.path().join(name)).to_owned()
    }

    /// A file there that nobody else may read, as some clients ask; its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A program that finds nothing of the person's who runs the tests.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path());
        for name in ["HOME", "FETCHMAILHOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"]
        {
            command.env(name, self.dir.path());
        }
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("MAILRC", "/dev/null");
        command.env_remove("NO_PROXY").env_remove("JAVA_TOOL_OPTIONS");
        command
    }

    /// Runs it to its end, with this input.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
        let mut command = self.command(program);
        command.args(args);
        let mut running = start_command(command);
        running.send_all(input);
        running.wait()
    }

    /// Somebody sends a message of this subject: it is in the Maildir when this comes back.
    #[track_caller]
    pub fn deliver(&self, message: &[u8]) {
        let place = format!("localhost:{}", self.smtp);
        let account = format!("{USER}:{PASSWORD}");
        let who = ["--smtp", &place, "--auth", &account, "--from", "eve@a", "--to", "ann@b"];
        self.run(NCAT, &who, message).expect_code(0);
    }

    /// A file for each message of a folder, in the order in which they came.
    fn files(&self, folder: &str) -> BTreeMap<String, PathBuf> {
        let dir = self.mailbox.join(folder);
        let list = |part: &str| std::fs::read_dir(dir.join(part)).into_iter().flatten().flatten();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let paths = list("new").chain(list("cur")).map(|entry| entry.path());
        paths.map(|path| (name(&path), path)).collect()
    }

    /// The messages of a folder.
    pub fn kept(&self, folder: &str) -> Vec<Vec<u8>> {
        self.files(folder).values().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// The one message of a folder.
    #[track_caller]
    pub fn only(&self, folder: &str) -> Vec<u8> {
        let mut kept = self.kept(folder);
        assert_eq!(kept.len(), 1, "{:?}", self.files(folder));
        kept.remove(0)
    }

    /// Subject and flags of each message of a folder; behind the subjects, the letters of a
    /// Maildir.
    fn marks(&self, folder: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (name, path) in self.files(folder) {
            let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
            // A server may be renaming it.
            let Ok(content) = std::fs::read(path) else { continue };
            all.push((subject(&content), letters.to_owned()));
        }
        all.sort();
        all
    }

    /// Waits until a folder holds exactly these messages.
    #[track_caller]
    pub fn expect(&self, folder: &str, messages: &[(&str, &str)]) {
        let own = |(subject, letters): &(&str, &str)| (subject.to_string(), letters.to_string());
        let mut expected: Vec<_> = messages.iter().map(own).collect();
        expected.sort();
        let start = now();
        loop {
            let there = self.marks(folder);
            if there == expected {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{folder:?} has {there:?}, not {expected:?}");
            pause();
        }
    }
}

/// What a message is about, as its header has it.
pub fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    line.unwrap_or_default().to_owned()
}

/// A message of this subject, whose content is hard on whoever carries it: dots, a line that
/// begins as one between two messages does, a long one, octets over 127.
pub fn message(subject: &str) -> Vec<u8> {
    let mut message = format!(
        "From: Eve <eve@a>\r\nTo: ann@b\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{subject}@a>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         .\r\n..\r\n.leading\r\nFrom me\r\n>From you\r\nGrüezi\r\n"
    )
    .into_bytes();
    message.extend_from_slice(&b"x".repeat(990));
    message.extend_from_slice(b"\r\n\r\n\r\nend\r\n");
    message
}

/// The same without the CR before each LF.
pub fn with_lf(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|&octet| octet != b'\r').collect()
}

/// Does one text contain the other?
pub fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
