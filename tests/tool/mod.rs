//! Runs programs for tests: every wait has a deadline, every port is free, nothing sleeps.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part

pub mod dnsmasq;
pub mod dovecot;
pub mod exim;
pub mod nsd;
pub mod office;
pub mod postfix;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a test may wait for anything. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Our own program.
pub const NCAT: &str = env!("CARGO_BIN_EXE_ncat");

/// What a program had said when it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

impl Output {
    /// The exit status, or 128 + N for a signal, as a shell says it.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails with everything that is known unless the exit status is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout: {:?}\nstderr: {}", self.text(), self.stderr);
        self
    }

    /// Fails unless standard error contains `text`.
    #[track_caller]
    pub fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in stderr:\n{}", self.stderr);
        self
    }

    /// Fails unless standard output is exactly `text`.
    #[track_caller]
    pub fn expect_stdout(self, text: &str) -> Self {
        assert_eq!(self.text(), text, "stderr: {}", self.stderr);
        self
    }
}

/// What a stream has said so far; a reader thread fills it.
#[derive(Clone, Default)]
struct Heard(Arc<(Mutex<Said>, Condvar)>);

/// The bytes, and whether they are all.
type Said = (Vec<u8>, bool);

impl Heard {
    fn listen(&self, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
        let heard = self.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 65536];
            loop {
                let n = from.read(&mut buf).unwrap_or(0);
                let (lock, bell) = &*heard.0;
                let mut said = lock.lock().unwrap();
                said.0.extend_from_slice(&buf[..n]);
                said.1 = n == 0;
                bell.notify_all();
                if n == 0 {
                    return;
                }
            }
        })
    }

    /// Waits until `enough` finds what it wants in what was said.
    #[track_caller]
    fn wait<T>(&self, what: &str, mut enough: impl FnMut(&[u8], bool) -> Option<T>) -> T {
        let (lock, bell) = &*self.0;
        let start = now();
        let mut said = lock.lock().unwrap();
        loop {
            if let Some(found) = enough(&said.0, said.1) {
                return found;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            assert!(
                !left.is_zero() && !said.1,
                "waited for {what}; it {} {:?}",
                if said.1 { "ended after" } else { "had said" },
                String::from_utf8_lossy(&said.0)
            );
            said = bell.wait_timeout(said, left).unwrap().0;
        }
    }

    fn all(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().0.clone()
    }
}

/// The clock of the tests.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

/// A program that runs.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Heard,
    stderr: Heard,
    readers: Vec<JoinHandle<()>>,
}

/// Starts a program with pipes on all three descriptors.
#[track_caller]
pub fn start(program: &str, args: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(args);
    start_command(command)
}

/// Starts our own program.
#[track_caller]
pub fn ncat(args: &[&str]) -> Running {
    start(NCAT, args)
}

/// Starts our own program as a server on 127.0.0.1, and gives the port that it has got.
#[track_caller]
pub fn serving(options: &[&str]) -> (Running, u16) {
    let running = ncat(&[&["-v", "-l"], options, &["127.0.0.1", "0"]].concat());
    let port = running.port();
    (running, port)
}

/// Starts a prepared command. Descriptors that it does not set are pipes.
#[track_caller]
pub fn start_command(mut command: Command) -> Running {
    command.env_remove("NCAT_AUTH").env_remove("SSLKEYLOGFILE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)
}

/// Starts a command whose standard input and output the test has set itself.
#[track_caller]
pub fn spawn(mut command: Command) -> Running {
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let (stdout, stderr) = (Heard::default(), Heard::default());
    let mut readers = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        readers.push(stdout.listen(pipe));
    }
    if let Some(pipe) = child.stderr.take() {
        readers.push(stderr.listen(pipe));
    }
    let stdin = child.stdin.take();
    Running { child, stdin, stdout, stderr, readers }
}

/// A shell command line, with `NCAT` for our program.
#[track_caller]
pub fn shell(line: &str) -> Running {
    let mut command = Command::new("bash");
    command.args(["-c", line]).env("NCAT", NCAT);
    start_command(command)
}

impl Running {
    /// Writes to its standard input.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(bytes.as_ref()).unwrap();
        stdin.flush().unwrap();
    }

    /// Writes to its standard input from a thread, then ends it.
    pub fn send_all(&mut self, bytes: impl Into<Vec<u8>>) {
        let (stdin, bytes) = (self.stdin.take(), bytes.into());
        std::thread::spawn(move || {
            // It may end before it has read everything.
            let _ = stdin.expect("its input is open").write_all(&bytes);
        });
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits until its standard output contains `text`.
    #[track_caller]
    pub fn wait_stdout(&self, text: &str) {
        self.stdout.wait(&format!("{text:?} on stdout"), |said, _| {
            String::from_utf8_lossy(said).contains(text).then_some(())
        });
    }

    /// Waits until its standard output holds `n` bytes.
    #[track_caller]
    pub fn wait_stdout_bytes(&self, n: usize) {
        self.stdout.wait(&format!("{n} bytes"), |said, _| (said.len() >= n).then_some(()));
    }

    /// Waits until its standard error contains `text`.
    #[track_caller]
    pub fn wait_stderr(&self, text: &str) {
        self.stderr.wait(&format!("{text:?} on stderr"), |said, _| {
            String::from_utf8_lossy(said).contains(text).then_some(())
        });
    }

    /// Waits until its standard output has ended.
    #[track_caller]
    pub fn wait_stdout_end(&self) {
        self.stdout.wait("the end of stdout", |_, ended| ended.then_some(()));
    }

    /// Waits for the `Listening on` line of `-v` and gives the port in it.
    #[track_caller]
    pub fn port(&self) -> u16 {
        self.stderr.wait("the ready line", |said, _| {
            let text = String::from_utf8_lossy(said);
            let (_, after) = text.split_once("Listening on ")?;
            let (place, _) = after.split_once('\n')?;
            place.trim_end().rsplit(':').next()?.parse().ok()
        })
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.all()).into_owned()
    }

    /// What it has said on standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.all()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. Its input is left as it is.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let stdin = self.stdin.take();
        let status = self.wait_status();
        drop(stdin);
        for reader in self.readers.drain(..) {
            // A grandchild may hold the pipe; what we want is what was said until now.
            let start = now();
            while !reader.is_finished() && start.elapsed() < Duration::from_secs(5) {
                std::thread::yield_now();
            }
        }
        Output { status, stdout: self.stdout.all(), stderr: self.stderr() }
    }

    /// Ends its input and waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        self.end_input();
        self.wait()
    }

    #[track_caller]
    fn wait_status(&mut self) -> ExitStatus {
        let start = now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "it does not end\nstdout: {:?}\nstderr: {}",
                String::from_utf8_lossy(&self.stdout.all()),
                self.stderr()
            );
            pause();
        }
    }
}

/// A terminal of the test's own, with a program on it.
pub struct Terminal {
    master: std::fs::File,
    /// The program's end: the same open file description that it has.
    slave: std::fs::File,
    /// Its modes before the program started.
    pub before: String,
}

/// Starts our program on a terminal that controls it: all three descriptors are it. What appears
/// on the screen is the standard output of what is returned.
#[track_caller]
pub fn on_terminal(args: &[&str]) -> (Running, Terminal) {
    on_terminal_by(&[], args)
}

/// The same, started by another program, such as `env`.
pub fn on_terminal_by(starter: &[&str], args: &[&str]) -> (Running, Terminal) {
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .args(starter)
        .arg(NCAT)
        .args(args)
        .env_remove("NCAT_AUTH")
        .env("NO_COLOR", "1");
    command_on_terminal(command)
}

/// A prepared command, whose program takes its standard input for the terminal that controls it.
pub fn command_on_terminal(mut command: Command) -> (Running, Terminal) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(NOCTTY)
        .open(name.to_str().unwrap())
        .unwrap();
    let before = format!("{:?}", rustix::termios::tcgetattr(&slave).unwrap());
    command.stdin(slave.try_clone().unwrap());
    command.stdout(slave.try_clone().unwrap());
    command.stderr(slave.try_clone().unwrap());
    let child = command.spawn().unwrap();
    let master = std::fs::File::from(master);
    let stdout = Heard::default();
    // The reader is not joined: the test's own slave keeps the terminal alive.
    drop(stdout.listen(master.try_clone().unwrap()));
    let running =
        Running { child, stdin: None, stdout, stderr: Heard::default(), readers: Vec::new() };
    (running, Terminal { master, slave, before })
}

/// `O_NOCTTY` on Linux: the tests have no libc of their own.
const NOCTTY: i32 = 0o400;

impl Terminal {
    /// Types.
    pub fn type_text(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Its modes, in a form that can be compared.
    pub fn modes(&self) -> String {
        format!("{:?}", rustix::termios::tcgetattr(&self.slave).unwrap())
    }

    /// Is what is typed echoed?
    pub fn echoes(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.slave).unwrap();
        modes.local_modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// The flags of the open file description that the program has.
    pub fn flags(&self) -> rustix::fs::OFlags {
        rustix::fs::fcntl_getfl(&self.slave).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the processor away for a moment, inside a loop that has a deadline of its own.
pub fn pause() {
    let (lock, bell) = (Mutex::new(()), Condvar::new());
    let _ = bell.wait_timeout(lock.lock().unwrap(), Duration::from_millis(2));
}

/// Waits for a condition that nothing announces.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited for {what}");
        pause();
    }
}

/// Runs our program with this input to its end.
#[track_caller]
pub fn run(args: &[&str], input: impl Into<Vec<u8>>) -> Output {
    let mut running = ncat(args);
    running.send_all(input);
    running.wait()
}

/// Runs another program with this input to its end.
#[track_caller]
pub fn run_other(program: &str, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
    let mut running = start(program, args);
    running.send_all(input);
    running.wait()
}

/// A port that was free a moment ago, for programs that cannot choose one themselves.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens on a port of 127.0.0.1.
#[track_caller]
pub fn wait_for_port(port: u16) {
    wait_until(&format!("a listener on port {port}"), || {
        // /proc tells without disturbing a server that takes one caller only.
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
            let text = std::fs::read_to_string(table).unwrap_or_default();
            text.lines().skip(1).any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let local = words.next().unwrap_or_default();
                let state = words.nth(1).unwrap_or_default();
                state == "0A" && local.ends_with(&format!(":{port:04X}"))
            })
        })
    });
}

/// Waits for a caller; what it says has a deadline, too.
#[track_caller]
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut caller = None;
    wait_until("a caller", || {
        caller = listener.accept().ok();
        caller.is_some()
    });
    let (caller, _) = caller.expect("that is what was waited for");
    caller.set_nonblocking(false).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller
}

/// Is another program here? Where `CI` is set, it has to be: a skipped test proves nothing.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        // Where a person looks who wonders why a test was so quick.
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// The same for a file, such as that of a library.
pub fn have_file(path: &str) -> bool {
    let found = Path::new(path).is_file();
    assert!(found || std::env::var_os("CI").is_none(), "{path} is not installed");
    if !found {
        let _ = writeln!(std::io::stderr(), "skipped: {path} is not installed");
    }
    found
}

/// Some peers need root. Where `CI` is set we have to be: a skipped test proves nothing.
pub fn are_root(program: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "{program} needs root");
    root
}

/// Bytes that do not repeat, so that a lost or doubled piece shows.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Fails with a short message when two large things differ.
#[track_caller]
pub fn same(got: &[u8], expected: &[u8]) {
    let at = got.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        got == expected,
        "{} bytes, expected {}; first difference at {:?}",
        got.len(),
        expected.len(),
        at.or(Some(got.len().min(expected.len())))
    );
}

/// A directory of the test's own.
pub fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A file in it.
pub fn file_in(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes `cert.pem` and `key.pem` for localhost in this directory.
#[track_caller]
pub fn certified(dir: &tempfile::TempDir) {
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let words = "req -x509 -nodes -days 30 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -addext basicConstraints=critical,CA:FALSE";
    let words: Vec<_> = words.split_whitespace().collect();
    let files = ["-keyout", arg(&key), "-out", arg(&cert)];
    run_other("openssl", &[&words[..], &files].concat(), "").expect_code(0);
}
