//! The flow of data through one conversation, calling and called, over TCP and Unix sockets.
//!
//! Ours is at one end; at the other are the test itself, Debian's ncat, nc.openbsd, socat and
//! curl. What `-k` does in listen mode is in `listen.rs`.

#![allow(clippy::print_stderr)] // captured, and shown when a test fails

mod tool;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tool::{
    DEADLINE, NCAT, Output, Running, arg, dir, file_in, free_port, have, ncat, noise, now, run,
    same, spawn, start, start_command, wait_for_port, wait_until,
};

/// What ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Calls,
    Waits,
}

/// Over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Tcp,
    Unix,
}

const ALL: [(Role, Over); 4] = [
    (Role::Calls, Over::Tcp),
    (Role::Calls, Over::Unix),
    (Role::Waits, Over::Tcp),
    (Role::Waits, Over::Unix),
];

/// The three ways of bytes through ncat: unseen, translated (by a machine), recorded.
const WAYS: [&[&str]; 3] = [&[], &["-C"], &["-o", "/dev/null"]];

/// Where ours and the test meet.
struct Place {
    role: Role,
    over: Over,
    dir: TempDir,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
}

impl Place {
    fn new(role: Role, over: Over) -> Self {
        eprintln!("ours {role:?} over {over:?}");
        let dir = dir();
        let (mut tcp, mut unix) = (None, None);
        match (role, over) {
            (Role::Waits, _) => {}
            (Role::Calls, Over::Tcp) => tcp = Some(TcpListener::bind("127.0.0.1:0").unwrap()),
            (Role::Calls, Over::Unix) => {
                unix = Some(UnixListener::bind(dir.path().join("socket")).unwrap());
            }
        }
        Self { role, over, dir, tcp, unix }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn port(&self) -> String {
        self.tcp.as_ref().unwrap().local_addr().unwrap().port().to_string()
    }

    /// Ours, with these options, ready to be started.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(NCAT);
        command.args(options);
        match (self.role, self.over) {
            (Role::Calls, Over::Tcp) => command.arg("127.0.0.1").arg(self.port()),
            (Role::Calls, Over::Unix) => command.arg("-U").arg(self.file("socket")),
            (Role::Waits, Over::Tcp) => {
                command.arg("-l").arg("--port-file").arg(self.file("port"));
                command.arg("127.0.0.1").arg("0")
            }
            (Role::Waits, Over::Unix) => command.arg("-lU").arg(self.file("socket")),
        };
        command
    }

    /// Ours with pipes.
    fn start(&self, options: &[&str]) -> Running {
        start_command(self.command(options))
    }

    /// The other end of the connection.
    fn line(&self) -> Line {
        match (self.role, self.over) {
            (Role::Calls, Over::Tcp) => Line::accept_tcp(self.tcp.as_ref().unwrap()),
            (Role::Calls, Over::Unix) => Line::accept_unix(self.unix.as_ref().unwrap()),
            (Role::Waits, Over::Tcp) => {
                let file = self.file("port");
                wait_until("the port file", || file.exists());
                let port = std::fs::read_to_string(file).unwrap();
                Line::tcp(TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap())
            }
            (Role::Waits, Over::Unix) => {
                let mut stream = None;
                wait_until("the socket", || {
                    stream = UnixStream::connect(self.file("socket")).ok();
                    stream.is_some()
                });
                Line::unix(stream.unwrap())
            }
        }
    }

    /// The exit status of a timeout: it is the network's fault for a client only (spec 1.3).
    fn late(&self) -> i32 {
        match self.role {
            Role::Calls => 1,
            Role::Waits => 2,
        }
    }
}

/// The test's end of a connection; no read and no write waits for ever.
enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Line {
    fn tcp(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Line::Tcp(stream)
    }

    fn unix(stream: UnixStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Line::Unix(stream)
    }

    fn accept_tcp(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let mut stream = None;
        wait_until("a call", || {
            stream = listener.accept().ok();
            stream.is_some()
        });
        Self::tcp(stream.unwrap().0)
    }

    fn accept_unix(listener: &UnixListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let mut stream = None;
        wait_until("a call", || {
            stream = listener.accept().ok();
            stream.is_some()
        });
        Self::unix(stream.unwrap().0)
    }

    fn twin(&self) -> Self {
        match self {
            Line::Tcp(s) => Line::Tcp(s.try_clone().unwrap()),
            Line::Unix(s) => Line::Unix(s.try_clone().unwrap()),
        }
    }

    fn close_write(&self) {
        match self {
            Line::Tcp(s) => s.shutdown(Shutdown::Write).unwrap(),
            Line::Unix(s) => s.shutdown(Shutdown::Write).unwrap(),
        }
    }

    #[track_caller]
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends from a thread, then ends this direction if `end`.
    fn send_all(&self, bytes: &[u8], end: bool) -> std::thread::JoinHandle<()> {
        let (mut twin, bytes) = (self.twin(), bytes.to_vec());
        std::thread::spawn(move || {
            twin.write_all(&bytes).unwrap();
            if end {
                twin.close_write();
            }
        })
    }

    /// The next bytes are these.
    #[track_caller]
    fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let mut got = vec![0; bytes.as_ref().len()];
        self.read_exact(&mut got).unwrap();
        identical(&got, bytes.as_ref());
    }

    /// Everything until the end.
    #[track_caller]
    fn rest(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        self.read_to_end(&mut got).unwrap_or_else(|e| panic!("after {} bytes: {e}", got.len()));
        got
    }

    /// Is there neither a byte nor an end?
    fn is_quiet(&mut self) -> bool {
        let set = |line: &Line, on| match line {
            Line::Tcp(s) => s.set_nonblocking(on).unwrap(),
            Line::Unix(s) => s.set_nonblocking(on).unwrap(),
        };
        set(self, true);
        let result = self.read(&mut [0]);
        set(self, false);
        result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Goes away with a reset, as a process does that dies with unread data.
    fn reset(self) {
        match &self {
            Line::Tcp(s) => set_socket_linger(s, Some(Duration::ZERO)).unwrap(),
            Line::Unix(_) => {}
        }
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Tcp(s) => s.read(buf),
            Line::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Line::Tcp(s) => s.write(buf),
            Line::Unix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`same`], and quick when all is well.
#[track_caller]
fn identical(got: &[u8], expected: &[u8]) {
    if got != expected {
        same(got, expected);
    }
}

/// Noise in which `-C` finds nothing to translate.
fn plain(len: usize) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut bytes = noise(3_000_017);
        bytes.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b'.');
        bytes
    });
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(&noise[..noise.len().min(len - bytes.len())]);
    }
    bytes
}

/// The command behind a shell's redirections.
fn redirected(command: &Command, how: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {how}"));
    shell.arg(command.get_program()).args(command.get_args());
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// All went well and nothing was said.
#[track_caller]
fn quiet(output: Output) -> Output {
    assert_eq!(output.stderr, "");
    output.expect_code(0)
}

/// A pipe end or file that is read to its end.
fn rest(mut from: impl Read) -> Vec<u8> {
    let mut got = Vec::new();
    from.read_to_end(&mut got).unwrap();
    got
}

fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

fn set_nonblocking(fd: BorrowedFd<'_>) {
    fcntl_setfl(fd, fcntl_getfl(fd).unwrap() | OFlags::NONBLOCK).unwrap();
}

/// The most memory that a process has used, in kB.
fn peak_kb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn state(id: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

/// Time in user space and kernel, in ticks of 10 ms.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let words: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
}

// --- What stands behind standard input and output ---

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Pipe,
    File,
    Null,
    Unix,
    Tcp,
    Closed,
}

/// Ours with this on standard input.
fn fed(place: &Place, input: Input, bytes: &[u8]) -> Running {
    let mut command = place.command(&[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let feed = |mut into: Box<dyn Write + Send>| {
        let bytes = bytes.to_vec();
        std::thread::spawn(move || into.write_all(&bytes).unwrap());
    };
    match input {
        Input::Pipe => {
            let (rx, tx) = io::pipe().unwrap();
            command.stdin(rx);
            feed(Box::new(tx));
        }
        Input::File => {
            let path = file_in(&place.dir, "input", bytes);
            command.stdin(File::open(path).unwrap());
        }
        Input::Null => {
            command.stdin(Stdio::null());
        }
        Input::Unix => {
            let (theirs, ours) = UnixStream::pair().unwrap();
            command.stdin(OwnedFd::from(theirs));
            feed(Box::new(ours));
        }
        Input::Tcp => {
            let (theirs, ours) = tcp_pair();
            command.stdin(OwnedFd::from(theirs));
            feed(Box::new(ours));
        }
        Input::Closed => command = redirected(&command, "<&-"),
    }
    spawn(command)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn what_standard_input_holds_arrives_with_its_end_whatever_it_is() {
    for (role, over) in ALL {
        for input in [Input::Pipe, Input::File, Input::Null, Input::Unix, Input::Tcp, Input::Closed]
        {
            for size in [0, 1, 100_000] {
                eprintln!("{input:?}, {size} bytes");
                let holds_nothing = matches!(input, Input::Null | Input::Closed);
                let bytes = plain(if holds_nothing { 0 } else { size });
                let place = Place::new(role, over);
                let running = fed(&place, input, &bytes);
                let mut line = place.line();
                identical(&line.rest(), &bytes);
                line.send("the answer");
                drop(line);
                quiet(running.wait()).expect_stdout("the answer");
            }
        }
    }
}

#[test]
fn standard_input_and_output_may_be_one_socket() {
    // As inetd, systemd and `socat EXEC` start programs.
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut command = place.command(&[]);
        command.stdin(OwnedFd::from(theirs.try_clone().unwrap()));
        command.stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
        let running = spawn(command);
        let (mut line, mut user) = (place.line(), Line::unix(ours));
        let (up, down) = (plain(1_000_000), plain(999_999));
        let sent = user.send_all(&up, true);
        identical(&line.rest(), &up);
        sent.join().unwrap();
        let sent = line.send_all(&down, true);
        identical(&user.rest(), &down);
        sent.join().unwrap();
        quiet(running.wait());
    }
}

#[test]
fn standard_input_that_cannot_be_read_is_an_error() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        // A directory opens, and refuses at the first read.
        let mut command = place.command(&[]);
        command.stdin(File::open("/").unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = spawn(command);
        let line = place.line();
        let output = running.wait().expect_code(2);
        output.expect_stderr("cannot read standard input: is a directory");
        drop(line);
    }
}

#[test]
fn a_file_for_standard_output_is_written_where_its_position_is() {
    for (role, over) in ALL {
        for size in [10, 300_000] {
            let place = Place::new(role, over);
            let mut file = File::create_new(place.file("output")).unwrap();
            file.write_all(b"head").unwrap();
            let mut command = place.command(&[]);
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(Stdio::piped());
            let running = spawn(command);
            let bytes = plain(size);
            place.line().send(&bytes);
            quiet(running.wait());
            // The position is shared: what the shell's next command writes comes behind.
            file.write_all(b"tail").unwrap();
            let whole = std::fs::read(place.file("output")).unwrap();
            identical(&whole, &[b"head", &bytes[..], b"tail"].concat());
        }
    }
}

#[test]
fn a_file_for_standard_output_that_appends_keeps_what_it_has() {
    for (role, over) in ALL {
        for size in [10, 300_000] {
            let place = Place::new(role, over);
            let path = file_in(&place.dir, "output", "head");
            let mut command = place.command(&[]);
            let file = OpenOptions::new().append(true).open(&path).unwrap();
            command.stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
            let running = spawn(command);
            let bytes = plain(size);
            place.line().send(&bytes);
            quiet(running.wait());
            identical(&std::fs::read(path).unwrap(), &[b"head", &bytes[..]].concat());
        }
    }
}

#[test]
fn standard_output_to_nowhere_is_no_error() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut command = place.command(&[]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let running = spawn(command);
        place.line().send(plain(300_000));
        quiet(running.wait());
    }
}

#[test]
fn a_full_device_is_an_error_in_words() {
    for (role, over) in ALL {
        for way in WAYS {
            for size in [1, 300_000] {
                let place = Place::new(role, over);
                let mut command = place.command(way);
                let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
                command.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped());
                let running = spawn(command);
                let line = place.line();
                // It may go away before it has taken everything.
                let mut twin = line.twin();
                let sender = std::thread::spawn(move || twin.write_all(&plain(size)).is_ok());
                let output = running.wait().expect_code(2);
                output.expect_stderr("cannot write standard output: no space left on device");
                drop(line);
                sender.join().unwrap();
            }
        }
    }
}

#[test]
fn a_disk_that_fills_up_later_is_an_error_and_keeps_what_it_has_taken() {
    // The limit comes long after the bytes have begun to pass outside the process.
    const LIMIT: usize = 512 * 1024;
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let path = place.file("output");
            let limited = format!(">{}", arg(&path));
            let mut command = redirected(&place.command(way), &limited);
            let line = command.get_args().nth(1).unwrap().to_str().unwrap();
            let line = format!("ulimit -f {}; trap '' XFSZ; {line}", LIMIT / 1024);
            let args: Vec<_> = command.get_args().skip(2).map(|a| a.to_owned()).collect();
            command = Command::new("bash");
            command.arg("-c").arg(line).args(args);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let running = spawn(command);
            let line = place.line();
            let (mut twin, bytes) = (line.twin(), plain(2_000_000));
            let expected = bytes[..LIMIT].to_vec();
            let sender = std::thread::spawn(move || twin.write_all(&bytes).is_ok());
            let output = running.wait().expect_code(2);
            output.expect_stderr("cannot write standard output: file too large");
            identical(&std::fs::read(path).unwrap(), &expected);
            drop(line);
            sender.join().unwrap();
        }
    }
}

#[test]
fn closed_standard_output_is_an_error_once_there_is_something_to_write() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let running = spawn(redirected(&place.command(way), ">&-"));
            let mut line = place.line();
            line.send("data");
            let output = running.wait().expect_code(2);
            output.expect_stderr("cannot write standard output: it is closed").expect_stdout("");
            assert_eq!(line.rest(), b"", "what it sent came back");
        }
    }
}

#[test]
fn closed_standard_output_does_not_matter_when_nothing_is_to_be_written() {
    for (role, over) in ALL {
        for options in [&["--send-only"][..], &[]] {
            let place = Place::new(role, over);
            let mut command = redirected(&place.command(options), ">&-");
            command.stdin(File::open(file_in(&place.dir, "input", "all")).unwrap());
            let running = spawn(command);
            let mut line = place.line();
            assert_eq!(line.rest(), b"all");
            drop(line);
            quiet(running.wait());
        }
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_a_quiet_end() {
    for (role, over) in ALL {
        for way in WAYS {
            for size in [1, 300_000] {
                let place = Place::new(role, over);
                let (rx, tx) = io::pipe().unwrap();
                let mut command = place.command(way);
                command.stdin(Stdio::piped()).stdout(tx).stderr(Stdio::piped());
                let running = spawn(command);
                let line = place.line();
                if size == 1 {
                    drop(rx);
                } else {
                    // By now the bytes pass outside the process.
                    let mut some = vec![0; 200_000];
                    let mut rx = rx;
                    let sender = line.send_all(&plain(200_000), false);
                    rx.read_exact(&mut some).unwrap();
                    sender.join().unwrap();
                    drop(rx);
                }
                // Again and again: another test that is just starting a program may hold a copy
                // of the pipe for a moment.
                let (mut twin, bytes) = (line.twin(), plain(size));
                let sender = std::thread::spawn(move || while twin.write_all(&bytes).is_ok() {});
                quiet(running.wait());
                drop(line);
                sender.join().unwrap();
            }
        }
    }
}

#[test]
fn whatever_is_closed_at_start_no_stream_is_taken_for_another() {
    for (role, over) in ALL {
        for closed in 1..8 {
            let redirections: Vec<_> = ["<&-", ">&-", "2>&-"]
                .into_iter()
                .enumerate()
                .filter(|(n, _)| closed & (1 << n) != 0)
                .map(|(_, how)| how)
                .collect();
            eprintln!("{}", redirections.join(" "));
            let place = Place::new(role, over);
            let command = place.command(&["-v"]);
            let mut command = redirected(&command, &redirections.join(" "));
            command.stdin(File::open(file_in(&place.dir, "input", "from stdin")).unwrap());
            let running = spawn(command);
            let mut line = place.line();
            line.send("from peer");
            line.close_write();
            let got = line.rest();
            drop(line);
            let output = running.wait();
            let (stdin, stdout) = (closed & 1 == 0, closed & 2 == 0);
            let (up, down) = (if stdin { "from stdin" } else { "" }, "from peer");
            assert_eq!(output.text(), if stdout { down } else { "" });
            // With nowhere to write to it may end before it has read standard input.
            let got = String::from_utf8(got).unwrap();
            assert!(got == up || !stdout && got.is_empty(), "{got:?}");
            output.expect_code(if stdout { 0 } else { 2 });
        }
    }
}

#[test]
fn the_flags_of_inherited_descriptors_stay_as_they_were() {
    for (role, over) in ALL {
        for set in [false, true] {
            for end in ["well", "KILL"] {
                let place = Place::new(role, over);
                let (rx, mut feed) = io::pipe().unwrap();
                let (mut drain, tx) = io::pipe().unwrap();
                if set {
                    set_nonblocking(rx.as_fd());
                    set_nonblocking(tx.as_fd());
                }
                let mut command = place.command(&[]);
                command.stdin(rx.try_clone().unwrap());
                command.stdout(tx.try_clone().unwrap()).stderr(Stdio::piped());
                let running = spawn(command);
                let mut line = place.line();
                feed.write_all(b"up").unwrap();
                line.expect("up");
                line.send("down");
                let mut got = [0; 4];
                drain.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"down");
                let flags = [is_nonblocking(rx.as_fd()), is_nonblocking(tx.as_fd())];
                assert_eq!(flags, [set; 2], "while it runs");
                let output = if end == "KILL" {
                    running.signal("KILL");
                    running.wait().expect_code(137)
                } else {
                    drop(line);
                    running.wait().expect_code(0)
                };
                assert_eq!(output.stderr, "");
                let flags = [is_nonblocking(rx.as_fd()), is_nonblocking(tx.as_fd())];
                assert_eq!(flags, [set; 2], "after its end");
            }
        }
    }
}

#[test]
fn the_flags_of_an_inherited_socket_stay_as_they_were() {
    for set in [false, true] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let (theirs, ours) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(set).unwrap();
        let mut command = place.command(&[]);
        command.stdin(OwnedFd::from(theirs.try_clone().unwrap()));
        command.stdout(OwnedFd::from(theirs.try_clone().unwrap())).stderr(Stdio::piped());
        let running = spawn(command);
        let (mut line, mut user) = (place.line(), Line::unix(ours));
        user.send("up");
        line.expect("up");
        line.send("down");
        user.expect("down");
        assert_eq!(is_nonblocking(theirs.as_fd()), set, "while it runs");
        drop(line);
        quiet(running.wait());
        assert_eq!(is_nonblocking(theirs.as_fd()), set, "after its end");
    }
}

#[test]
fn pipes_that_somebody_made_nonblocking_lose_nothing() {
    for way in WAYS {
        let place = Place::new(Role::Calls, Over::Tcp);
        let (rx, mut feed) = io::pipe().unwrap();
        let (drain, tx) = io::pipe().unwrap();
        set_nonblocking(rx.as_fd());
        set_nonblocking(tx.as_fd());
        let mut command = place.command(way);
        command.stdin(rx).stdout(tx).stderr(Stdio::piped());
        let running = spawn(command);
        let mut line = place.line();
        let bytes = plain(3_000_000);
        let (up, down) = (bytes.clone(), bytes.clone());
        let feeder = std::thread::spawn(move || feed.write_all(&up).unwrap());
        identical(&line.rest(), &bytes);
        feeder.join().unwrap();
        let sender = line.send_all(&down, true);
        identical(&rest(drain), &bytes);
        sender.join().unwrap();
        drop(line);
        quiet(running.wait());
    }
}

// --- Amounts ---

#[test]
fn fifty_million_bytes_go_both_ways_at_once() {
    let bytes = plain(50_000_000);
    let (up, down) = (&bytes[..], &bytes[1..]);
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut running = place.start(&[]);
        let mut line = place.line();
        running.send_all(up);
        let sender = line.send_all(down, false);
        identical(&line.rest(), up);
        sender.join().unwrap();
        drop(line);
        let output = running.wait();
        identical(&output.stdout, down);
        quiet(output);
    }
}

#[test]
fn fifty_million_bytes_go_from_file_to_file() {
    let bytes = plain(50_000_000);
    let (up, down) = (&bytes[..], &bytes[1..]);
    for (role, over) in [(Role::Calls, Over::Tcp), (Role::Waits, Over::Unix)] {
        let place = Place::new(role, over);
        let mut command = place.command(&[]);
        command.stdin(File::open(file_in(&place.dir, "input", up)).unwrap());
        command.stdout(File::create_new(place.file("output")).unwrap()).stderr(Stdio::piped());
        let running = spawn(command);
        let mut line = place.line();
        let sender = line.send_all(down, false);
        identical(&line.rest(), up);
        sender.join().unwrap();
        drop(line);
        quiet(running.wait());
        identical(&std::fs::read(place.file("output")).unwrap(), down);
    }
}

#[test]
fn a_few_million_bytes_go_both_ways_through_a_machine_and_past_a_log() {
    let bytes = plain(5_000_000);
    let (up, down) = (&bytes[..], &bytes[1..]);
    for (role, over) in ALL {
        for way in &WAYS[1..] {
            let place = Place::new(role, over);
            let mut running = place.start(way);
            let mut line = place.line();
            running.send_all(up);
            let sender = line.send_all(down, false);
            identical(&line.rest(), up);
            sender.join().unwrap();
            drop(line);
            let output = running.wait();
            identical(&output.stdout, down);
            quiet(output);
        }
    }
}

#[test]
fn one_byte_and_none_go_both_ways() {
    for (role, over) in ALL {
        for way in WAYS {
            for (up, down) in [("", ""), ("u", ""), ("", "d"), ("u", "d")] {
                let place = Place::new(role, over);
                let mut running = place.start(way);
                let mut line = place.line();
                running.send_all(up);
                line.send(down);
                assert_eq!(line.rest(), up.as_bytes());
                drop(line);
                quiet(running.wait()).expect_stdout(down);
            }
        }
    }
}

#[test]
fn a_hundred_thousand_small_writes_arrive_in_order() {
    let bytes = plain(100_000);
    for (role, over) in [(Role::Calls, Over::Tcp), (Role::Waits, Over::Unix)] {
        let place = Place::new(role, over);
        let mut running = place.start(&[]);
        let mut line = place.line();
        let (mut twin, down) = (line.twin(), bytes.clone());
        let sender = std::thread::spawn(move || {
            for byte in down {
                twin.write_all(&[byte]).unwrap();
            }
        });
        running.send_all(&bytes[..]);
        identical(&line.rest(), &bytes);
        sender.join().unwrap();
        drop(line);
        let output = running.wait();
        identical(&output.stdout, &bytes);
        quiet(output);
    }
}

#[test]
fn more_than_four_gibibytes_are_counted() {
    // A counter of 32 bits would start again.
    const PIECE: usize = 1 << 20;
    const PIECES: usize = (1 << 12) + 1;
    let place = Place::new(Role::Calls, Over::Unix);
    let mut command = place.command(&["-v"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let running = spawn(command);
    let mut line = place.line();
    let piece = vec![0; PIECE];
    for _ in 0..PIECES {
        line.send(&piece);
    }
    drop(line);
    let output = running.wait().expect_code(0);
    output.expect_stderr(&format!("0 bytes sent, {} bytes received in ", PIECE * PIECES));
}

#[test]
fn a_reader_that_stalls_stops_the_peer_and_costs_no_memory() {
    for (way, amount) in [(WAYS[0], 200_000_000), (WAYS[1], 100_000_000), (WAYS[2], 100_000_000)] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let (drain, tx) = io::pipe().unwrap();
        let mut command = place.command(way);
        command.stdin(Stdio::piped()).stdout(tx).stderr(Stdio::piped());
        let running = spawn(command);
        let line = place.line();
        let before = peak_kb(running.id());
        let offered = offer(Box::new(line.twin()), amount);
        stalled(&offered, amount);
        assert_eq!(skip(drain, amount), amount);
        let grown = peak_kb(running.id()) - before;
        assert!(grown < 10_000, "{grown} kB for {amount} bytes with {way:?}");
        drop(line);
        quiet(running.wait());
    }
}

#[test]
fn a_peer_that_stalls_stops_standard_input_and_costs_no_memory() {
    for (way, amount) in [(WAYS[0], 200_000_000), (WAYS[1], 100_000_000), (WAYS[2], 100_000_000)] {
        let place = Place::new(Role::Waits, Over::Tcp);
        let (rx, feed) = io::pipe().unwrap();
        let mut command = place.command(way);
        command.stdin(rx).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = spawn(command);
        let line = place.line();
        let before = peak_kb(running.id());
        let offered = offer(Box::new(feed), amount);
        stalled(&offered, amount);
        assert_eq!(skip(line.twin(), amount), amount);
        let grown = peak_kb(running.id()) - before;
        assert!(grown < 10_000, "{grown} kB for {amount} bytes with {way:?}");
        drop(line);
        quiet(running.wait());
    }
}

/// Writes from a thread, and counts what was taken.
fn offer(mut to: Box<dyn Write + Send>, amount: usize) -> Arc<AtomicUsize> {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    std::thread::spawn(move || {
        let chunk = vec![b'x'; 50_000];
        for _ in 0..amount / chunk.len() {
            to.write_all(&chunk).unwrap();
            counter.fetch_add(chunk.len(), Ordering::SeqCst);
        }
    });
    taken
}

/// Waits until nothing more is taken, long before everything is.
#[track_caller]
fn stalled(taken: &AtomicUsize, amount: usize) {
    let mut last = (0, now());
    wait_until("a stall", || {
        let count = taken.load(Ordering::SeqCst);
        if count != last.0 {
            last = (count, now());
        }
        count > 0 && last.1.elapsed() > Duration::from_millis(300)
    });
    assert!(last.0 < amount, "{} of {amount} bytes were taken though nobody reads", last.0);
}

/// Reads so many bytes, and drops them.
fn skip(mut from: impl Read, amount: usize) -> usize {
    let (mut buf, mut got) = (vec![0; 1 << 18], 0);
    while got < amount {
        match from.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::Interrupted),
        }
    }
    got
}

// --- Ends ---

#[test]
fn an_answer_still_arrives_after_half_close() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(way);
            running.send("question");
            running.end_input();
            let mut line = place.line();
            assert_eq!(line.rest(), b"question");
            let answer = plain(300_000);
            line.send(&answer);
            drop(line);
            let output = quiet(running.wait());
            identical(&output.stdout, &answer);
        }
    }
}

#[test]
fn no_shutdown_keeps_the_end_of_input_to_itself() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(&[way, &["--no-shutdown"]].concat());
            running.send("question");
            running.end_input();
            let mut line = place.line();
            line.expect("question");
            // Two rounds later it knows of the end for sure.
            for text in ["one", "two"] {
                line.send(text);
                running.wait_stdout(text);
            }
            assert!(line.is_quiet(), "the end was passed on");
            drop(line);
            quiet(running.wait()).expect_stdout("onetwo");
        }
    }
}

#[test]
fn q_waits_so_long_for_an_answer_and_gives_up() {
    at_once(|role, over, way| {
        for option in [&[][..], &["--no-shutdown"], &["--send-only"]] {
            let place = Place::new(role, over);
            let start = now();
            let mut running = place.start(&[way, &["-q", "300ms"], option].concat());
            let mut line = place.line();
            running.send("question");
            running.end_input();
            line.expect("question");
            let output = running.wait().expect_code(place.late()).expect_stderr("(-q)");
            assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
            output.expect_stdout("");
        }
    });
}

/// Runs a test that mostly waits for every role, transport and way at the same time.
fn at_once(test: impl Fn(Role, Over, &'static [&'static str]) + Sync) {
    std::thread::scope(|scope| {
        for (role, over) in ALL {
            for way in WAYS {
                let test = &test;
                scope.spawn(move || test(role, over, way));
            }
        }
    });
}

#[test]
fn q_does_not_hold_up_a_peer_that_ends() {
    for (role, over) in ALL {
        for time in ["60", "-1", "1h"] {
            let place = Place::new(role, over);
            let mut running = place.start(&["-q", time]);
            running.send("question");
            running.end_input();
            let mut line = place.line();
            assert_eq!(line.rest(), b"question");
            line.send("answer");
            drop(line);
            quiet(running.wait()).expect_stdout("answer");
        }
    }
}

#[test]
fn q_minus_one_leaves_send_only_as_it_is() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut running = place.start(&["-q", "-1", "--send-only"]);
        running.send("all");
        running.end_input();
        let mut line = place.line();
        assert_eq!(line.rest(), b"all");
        quiet(running.wait());
    }
}

#[test]
fn send_only_ends_with_the_input_and_shows_nothing() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(&[way, &["--send-only"]].concat());
            let mut line = place.line();
            line.send("nobody wants this");
            running.send("all");
            running.end_input();
            assert_eq!(line.rest(), b"all");
            quiet(running.wait()).expect_stdout("");
        }
    }
}

#[test]
fn send_only_delivers_everything_to_a_peer_that_talks_all_the_time() {
    // Unread bytes at the end would turn the close into a reset, and that eats what we sent.
    for (role, over) in ALL {
        for way in WAYS {
            let bytes = plain(3_000_000);
            let (got, _) = sent_to_a_talker(role, over, way, &bytes);
            identical(&got, &bytes);
        }
    }
}

#[test]
fn a_peer_that_talks_all_the_time_sees_an_end_and_no_reset() {
    for (role, over) in ALL {
        for round in 0..20 {
            let (got, end) = sent_to_a_talker(role, over, &[], b"all");
            assert_eq!(got, b"all");
            assert!(end.is_ok(), "round {round}: {end:?}");
        }
    }
}

/// What a peer that never stops talking gets from `--send-only`, and how that ends.
fn sent_to_a_talker(
    role: Role,
    over: Over,
    way: &[&str],
    bytes: &[u8],
) -> (Vec<u8>, io::Result<usize>) {
    let place = Place::new(role, over);
    let mut running = place.start(&[way, &["--send-only"]].concat());
    let mut line = place.line();
    let mut talker = line.twin();
    let talking = std::thread::spawn(move || while talker.write_all(&[7; 9000]).is_ok() {});
    running.send_all(bytes);
    let mut got = Vec::new();
    let end = line.read_to_end(&mut got);
    quiet(running.wait()).expect_stdout("");
    drop(line);
    talking.join().unwrap();
    (got, end)
}

#[test]
fn send_only_goes_on_after_the_peer_has_ended() {
    for way in WAYS {
        for over in [Over::Tcp, Over::Unix] {
            let place = Place::new(Role::Calls, over);
            let mut running = place.start(&[way, &["--send-only"]].concat());
            let mut line = place.line();
            line.close_write();
            for text in ["one", "two"] {
                running.send(text);
                line.expect(text);
            }
            running.end_input();
            assert_eq!(line.rest(), b"");
            quiet(running.wait());
        }
    }
}

#[test]
fn recv_only_reads_no_input_and_ends_with_the_peer() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut input = File::open(file_in(&place.dir, "input", "precious")).unwrap();
            let mut command = place.command(&[way, &["--recv-only"]].concat());
            command.stdin(input.try_clone().unwrap());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let running = spawn(command);
            let mut line = place.line();
            for text in ["one", "two"] {
                line.send(text);
                running.wait_stdout(text);
            }
            assert!(line.is_quiet(), "it said something, or that it is done");
            line.close_write();
            assert_eq!(line.rest(), b"");
            quiet(running.wait()).expect_stdout("onetwo");
            assert_eq!(input.stream_position().unwrap(), 0, "the input was read");
        }
    }
}

#[test]
fn send_only_and_recv_only_together_say_and_show_nothing() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(&[way, &["--send-only", "--recv-only"]].concat());
            running.send("up");
            let mut line = place.line();
            line.send("down");
            line.close_write();
            assert_eq!(line.rest(), b"");
            quiet(running.wait()).expect_stdout("");
        }
    }
}

#[test]
fn a_peer_that_ends_first_still_gets_a_whole_file() {
    // A here-document or a file is ready at once, however fast the peer is.
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let bytes = plain(5_000_000);
            let mut command = place.command(way);
            command.stdin(File::open(file_in(&place.dir, "input", &bytes)).unwrap());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let running = spawn(command);
            let mut line = place.line();
            line.close_write();
            identical(&line.rest(), &bytes);
            drop(line);
            quiet(running.wait());
        }
    }
}

#[test]
fn a_peer_that_ends_first_still_gets_what_a_pipe_holds() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let bytes = plain(60_000);
            let (rx, mut feed) = io::pipe().unwrap();
            feed.write_all(&bytes).unwrap();
            let mut command = place.command(way);
            command.stdin(rx).stdout(Stdio::piped()).stderr(Stdio::piped());
            let running = spawn(command);
            let mut line = place.line();
            line.send("bye");
            line.close_write();
            // The pipe stays open, and nothing more comes: that does not keep it.
            identical(&line.rest(), &bytes);
            quiet(running.wait()).expect_stdout("bye");
            drop(feed);
        }
    }
}

#[test]
fn a_peer_that_ends_is_the_end_though_somebody_could_still_type() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let running = place.start(way);
            place.line().send("all");
            quiet(running.wait()).expect_stdout("all");
        }
    }
}

#[test]
fn standard_output_ends_with_the_peer_s_stream() {
    for way in WAYS {
        let place = Place::new(Role::Calls, Over::Tcp);
        let mut running = place.start(&[way, &["-k"]].concat());
        let mut line = place.line();
        line.send("all");
        line.close_write();
        running.wait_stdout_end();
        running.send("still here");
        line.expect("still here");
        running.end_input();
        assert_eq!(line.rest(), b"");
        quiet(running.wait()).expect_stdout("all");
    }
}

#[test]
fn keep_open_keeps_a_caller_sending_until_its_input_ends() {
    for over in [Over::Tcp, Over::Unix] {
        for way in WAYS {
            let place = Place::new(Role::Calls, over);
            let mut running = place.start(&[way, &["-k"]].concat());
            let mut line = place.line();
            line.close_write();
            for text in ["one", "two", "three"] {
                running.send(text);
                line.expect(text);
            }
            running.end_input();
            assert_eq!(line.rest(), b"");
            quiet(running.wait());
            // Without an input there is nothing to keep it.
            let place = Place::new(Role::Calls, over);
            let running = place.start(&[way, &["-k", "--recv-only"]].concat());
            place.line().send("all");
            quiet(running.wait()).expect_stdout("all");
        }
    }
}

#[test]
fn the_end_of_both_directions_is_the_end() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(way);
            let mut line = place.line();
            running.end_input();
            assert_eq!(line.rest(), b"");
            line.close_write();
            // The test still holds its end: two half-closes are a whole one.
            quiet(running.wait());
        }
    }
}

#[test]
fn a_reset_is_a_failure_and_what_came_before_it_is_delivered() {
    for role in [Role::Calls, Role::Waits] {
        for way in WAYS {
            for talks in [false, true] {
                let place = Place::new(role, Over::Tcp);
                let mut running = place.start(way);
                let mut line = place.line();
                line.send("hello");
                running.wait_stdout("hello");
                running.signal("STOP");
                wait_until("it to stop", || state(running.id()) == 'T');
                // All of it is in ours' kernel when the reset comes; ours may even find the
                // reset by writing first.
                let bytes = plain(40_000);
                line.send(&bytes);
                line.reset();
                if talks {
                    running.send("are you there?");
                }
                running.signal("CONT");
                let output = running.wait().expect_code(1);
                identical(&output.stdout, &[b"hello", &bytes[..]].concat());
                assert!(output.stderr.contains("lost the connection"), "{}", output.stderr);
                assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            }
        }
    }
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_whoever_goes_on_sending() {
    for over in [Over::Tcp, Over::Unix] {
        for way in WAYS {
            for option in ["--send-only", "-k"] {
                eprintln!("{way:?} {option}");
                let place = Place::new(Role::Calls, over);
                let mut command = place.command(&[way, &[option]].concat());
                command.stdin(File::open("/dev/zero").unwrap());
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                let running = spawn(command);
                let mut line = place.line();
                line.expect([0; 1000]);
                drop(line);
                let output = running.wait().expect_code(1).expect_stderr("lost the connection");
                output.expect_stdout("");
            }
        }
    }
}

#[test]
fn urgent_data_does_not_disturb_the_stream() {
    let place = Place::new(Role::Calls, Over::Tcp);
    let running = place.start(&[]);
    let mut line = place.line();
    line.send("abc");
    running.wait_stdout("abc");
    match &line {
        Line::Tcp(s) => assert_eq!(rustix::net::send(s, b"!", SendFlags::OOB).unwrap(), 1),
        Line::Unix(_) => unreachable!(),
    }
    line.send("def");
    running.wait_stdout("def");
    let before = ticks(running.id());
    let start = now();
    wait_until("half a second", || start.elapsed() > Duration::from_millis(500));
    assert!(ticks(running.id()) - before < 10, "it spins");
    drop(line);
    quiet(running.wait()).expect_stdout("abcdef");
}

#[test]
fn a_stop_in_the_middle_loses_nothing() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut running = place.start(&[]);
        let mut line = place.line();
        let bytes = plain(10_000_000);
        running.send_all(&bytes[..]);
        let sender = line.send_all(&bytes, false);
        line.expect(&bytes[..100_000]);
        running.signal("STOP");
        wait_until("it to stop", || state(running.id()) == 'T');
        running.signal("CONT");
        identical(&line.rest(), &bytes[100_000..]);
        sender.join().unwrap();
        drop(line);
        let output = quiet(running.wait());
        identical(&output.stdout, &bytes);
    }
}

#[test]
fn a_caller_dies_by_the_signal_that_it_gets() {
    for (name, number) in [("INT", 2), ("QUIT", 3), ("HUP", 1), ("TERM", 15)] {
        let place = Place::new(Role::Calls, Over::Tcp);
        // The runner of the tests may ignore some of them, and that is inherited.
        let ours = place.command(&[]);
        let mut command = Command::new("env");
        command.arg("--default-signal=INT,QUIT,HUP,TERM");
        command.arg(ours.get_program()).args(ours.get_args());
        command.env("LC_ALL", "C").current_dir(place.dir.path());
        let running = start_command(command);
        let mut line = place.line();
        line.send("hello");
        running.wait_stdout("hello");
        running.signal(name);
        assert_eq!(line.rest(), b"");
        let output = running.wait().expect_code(128 + number);
        assert!(output.status.code().is_none(), "it caught the signal: {:?}", output.status);
        assert_eq!(output.stderr, "");
    }
}

// --- Time ---

#[test]
fn silence_has_the_limit_that_i_sets() {
    at_once(|role, over, way| {
        let place = Place::new(role, over);
        let start = now();
        let running = place.start(&[way, &["-i", "1"]].concat());
        let mut line = place.line();
        line.send("hello");
        let output = running.wait().expect_code(place.late()).expect_stderr("(-i)");
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        output.expect_stdout("hello");
    });
}

#[test]
fn traffic_in_one_direction_is_no_silence() {
    const TIME: Duration = Duration::from_millis(1500);
    let threads =
        [(Role::Calls, true), (Role::Calls, false), (Role::Waits, true)].map(|(role, down)| {
            std::thread::spawn(move || {
                let place = Place::new(role, Over::Tcp);
                let mut running = place.start(&["-i", "1500ms"]);
                let mut line = place.line();
                let start = now();
                let mut last = start;
                for n in 1..=7 {
                    if down {
                        line.send("x");
                        running.wait_stdout_bytes(n);
                    } else {
                        running.send("x");
                        line.expect("x");
                    }
                    last = now();
                    if n < 7 {
                        let beat = start + n as u32 * TIME / 5;
                        wait_until("the next beat", || now() >= beat);
                    }
                }
                let total = start.elapsed();
                assert!(total > TIME, "{total:?}");
                running.wait().expect_code(place.late()).expect_stderr("(-i)");
                // It counts from when it saw the byte, and that was before we saw it.
                assert!(last.elapsed() + TIME / 2 > TIME, "{:?}", last.elapsed());
            })
        });
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A TCP listener whose queue is full: a call is neither answered nor refused.
fn blackhole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let (flags, kind) = (SocketFlags::CLOEXEC, SocketType::STREAM);
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut callers = Vec::new();
    while let Ok(caller) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        callers.push(caller);
        assert!(callers.len() < 10, "the queue does not fill");
    }
    (listener, callers, address)
}

#[test]
fn an_address_that_does_not_answer_is_given_up_after_w() {
    let (_listener, _callers, address) = blackhole();
    let port = address.port().to_string();
    for options in [&["-w", "400ms"][..], &["-w", "0.4"], &["-z", "-v", "-w0.4s"]] {
        let start = now();
        let output = run(&[options, &["127.0.0.1", &port]].concat(), "x").expect_code(1);
        let took = start.elapsed();
        let time = Duration::from_millis(400)..Duration::from_secs(5);
        assert!(time.contains(&took), "{took:?}");
        assert!(output.stderr.contains(&format!("127.0.0.1:{port}")), "{}", output.stderr);
        output.expect_stderr("no answer in 0.4 s");
    }
    let output = run(&["-z", "-w", "400ms", "127.0.0.1", &port], "").expect_code(1);
    assert_eq!(output.stderr, "", "-z without -v is silent");
}

#[test]
fn w_bounds_the_beginning_and_not_the_conversation() {
    at_once(|role, over, way| {
        let place = Place::new(role, over);
        let start = now();
        let running = place.start(&[way, &["-w", "500ms", "-i", "1"]].concat());
        let mut line = place.line();
        line.send("hello");
        let output = running.wait().expect_code(place.late()).expect_stderr("(-i)");
        assert!(start.elapsed() >= Duration::from_secs(1));
        output.expect_stdout("hello");
    });
}

/// A Unix listener whose queue is full, and the caller that fills it.
fn full_unix(path: &std::path::Path) -> (UnixListener, Vec<UnixStream>) {
    let (flags, kind) = (SocketFlags::CLOEXEC, SocketType::STREAM);
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let mut callers = Vec::new();
    loop {
        let flags = flags | SocketFlags::NONBLOCK;
        let caller = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        match rustix::net::connect(&caller, &rustix::net::SocketAddrUnix::new(path).unwrap()) {
            Ok(()) => callers.push(UnixStream::from(caller)),
            Err(e) => {
                assert_eq!(e, rustix::io::Errno::AGAIN);
                return (UnixListener::from(socket), callers);
            }
        }
    }
}

#[test]
fn a_unix_socket_that_takes_nobody_is_given_up_after_w() {
    let dir = dir();
    let path = dir.path().join("socket");
    let (listener, callers) = full_unix(&path);
    let start = now();
    let output = run(&["-w", "400ms", "-U", arg(&path)], "x").expect_code(1);
    let took = start.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "{took:?}");
    output.expect_stderr(arg(&path));
    // Once there is room again, whoever waits comes in.
    let mut running = ncat(&["-w", "20", "-U", arg(&path)]);
    running.send_all("x");
    for _ in &callers {
        drop(Line::accept_unix(&listener));
    }
    let mut line = Line::accept_unix(&listener);
    assert_eq!(line.rest(), b"x");
    drop(line);
    quiet(running.wait());
}

// --- Whom it calls, and how ---

#[test]
fn every_way_of_writing_a_target_reaches_it() {
    let dir = dir();
    let path = dir.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    for target in [&["-U", arg(&path)][..], &[&format!("unix:{}", arg(&path))]] {
        let mut running = ncat(target);
        running.send_all("x");
        assert_eq!(Line::accept_unix(&unix).rest(), b"x");
        quiet(running.wait());
    }
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let v6 = TcpListener::bind("[::1]:0").unwrap();
    let (p4, p6) = (v4.local_addr().unwrap().port(), v6.local_addr().unwrap().port());
    let tcp = [
        (&v4, format!("127.0.0.1 {p4}")),
        (&v4, format!("127.0.0.1:{p4}")),
        (&v4, format!("tcp://127.0.0.1:{p4}")),
        (&v4, format!("-n 127.0.0.1 {p4}")),
        (&v4, format!("-4 127.0.0.1 {p4}")),
        (&v4, format!("-6 -4 127.0.0.1 {p4}")),
        (&v4, format!("-4 localhost {p4}")),
        (&v4, format!("localhost:{p4}")),
        (&v6, format!("::1 {p6}")),
        (&v6, format!("[::1]:{p6}")),
        (&v6, format!("[::1] {p6}")),
        (&v6, format!("tcp://[::1]:{p6}")),
        (&v6, format!("-6 -n ::1 {p6}")),
    ];
    for (listener, words) in tcp {
        eprintln!("{words}");
        let mut running = ncat(&words.split(' ').collect::<Vec<_>>());
        running.send_all("x");
        assert_eq!(Line::accept_tcp(listener).rest(), b"x");
        quiet(running.wait());
    }
}

#[test]
fn a_service_has_a_name() {
    // Port 1 is nobody's, and refused is all we want to see.
    let output = run(&["-v", "-z", "127.0.0.1", "tcpmux"], "").expect_code(1);
    output.expect_stderr("127.0.0.1:1").expect_stderr("connection refused");
    let output = run(&["127.0.0.1", "no-such-service"], "").expect_code(2);
    output.expect_stderr("no-such-service").expect_stdout("");
}

#[test]
fn a_family_that_does_not_fit_is_refused_before_anything_is_called() {
    for words in ["-4 ::1 9", "-6 127.0.0.1 9"] {
        let output = run(&words.split(' ').collect::<Vec<_>>(), "").expect_code(2);
        let (option, address) = words.rsplit_once(' ').unwrap().0.split_once(' ').unwrap();
        output.expect_stderr(option).expect_stderr(address);
    }
}

#[test]
fn a_name_that_nobody_knows_is_an_error_of_this_machine() {
    // 70 letters in a row are no name of DNS, so nobody outside is asked.
    let long = format!("{}.test", "a".repeat(70));
    for words in [&["-n", "localhost", "9"][..], &["-n", "no-such-host", "9"], &[&long, "9"]] {
        for probe in [&["-z"][..], &[]] {
            let output = run(&[probe, words].concat(), "").expect_code(2);
            assert!(output.stderr.contains("name or service not known"), "{}", output.stderr);
            let name = words[words.len() - 2];
            output.expect_stderr(name).expect_stdout("");
        }
    }
}

#[test]
fn a_refused_call_names_the_address_and_the_reason() {
    let port = free_port().to_string();
    let output = run(&["127.0.0.1", &port], "x").expect_code(1).expect_stdout("");
    assert_eq!(
        output.stderr,
        format!(
            "ncat: cannot connect to 127.0.0.1:{port}: connection refused (127.0.0.1:{port})\n"
        )
    );
    let dir = dir();
    let path = dir.path().join("nothing");
    let output = run(&["-U", arg(&path)], "x").expect_code(1).expect_stdout("");
    output.expect_stderr(arg(&path)).expect_stderr("no such file or directory");
    drop(UnixListener::bind(&path).unwrap());
    let output = run(&["-U", arg(&path)], "x").expect_code(1).expect_stdout("");
    output.expect_stderr(arg(&path)).expect_stderr("connection refused");
}

#[test]
fn a_wrong_command_line_touches_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dir = dir();
    let log = dir.path().join("log");
    for options in [&["-w", "0"][..], &["-i", "x"], &["-q", "100"], &["--nosuch"], &["-p", "0"]] {
        let log = ["-o", arg(&log), "127.0.0.1", &port];
        let output = run(&[options, &log].concat(), "x").expect_code(2).expect_stdout("");
        assert!(output.stderr.starts_with("ncat: "), "{}", output.stderr);
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody called");
    assert!(!log.exists(), "a log was opened");
}

/// What goes before `localhost` to make it both ::1 and 127.0.0.1; `None` where that cannot be.
fn two_localhosts(dir: &TempDir) -> Option<Vec<String>> {
    use std::net::ToSocketAddrs;
    let found: Vec<_> = ("localhost", 1).to_socket_addrs().into_iter().flatten().collect();
    if found.iter().any(SocketAddr::is_ipv4) && found.iter().any(SocketAddr::is_ipv6) {
        return Some(vec!["env".to_owned()]);
    }
    // A name table of our own, seen by this program only.
    let hosts = file_in(dir, "hosts", "::1 localhost\n127.0.0.1 localhost\n");
    let line = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", arg(&hosts));
    let words = ["unshare", "-rm", "bash", "-c", &line].map(str::to_owned);
    let tried = Command::new("unshare").args(["-rm", "bash", "-c", &line, "true"]).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(words.to_vec());
    }
    assert!(std::env::var_os("CI").is_none(), "localhost has one address only");
    eprintln!("skipped: localhost has one address only");
    None
}

fn call_localhost(before: &[String], options: &[&str], port: u16) -> Running {
    let before: Vec<_> = before.iter().map(String::as_str).collect();
    let port = port.to_string();
    let words = [&before[1..], &[NCAT], options, &["localhost", &port]].concat();
    start(before[0], &words)
}

#[test]
fn of_several_addresses_the_one_that_answers_is_talked_to() {
    let dir = dir();
    let Some(before) = two_localhosts(&dir) else { return };
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = call_localhost(&before, &["-v"], address.port());
        running.send_all("x");
        let mut line = Line::accept_tcp(&listener);
        assert_eq!(line.rest(), b"x");
        drop(line);
        let output = running.wait().expect_code(0);
        output.expect_stderr(&format!("Connected to {address}."));
    }
}

#[test]
fn when_every_address_refuses_each_is_named() {
    let dir = dir();
    let Some(before) = two_localhosts(&dir) else { return };
    let port = free_port();
    let output = call_localhost(&before, &[], port).wait().expect_code(1);
    let output = output.expect_stderr(&format!("127.0.0.1:{port}"));
    output.expect_stderr(&format!("[::1]:{port}")).expect_stderr("connection refused");
    for (option, left_out) in [("-4", "[::1]"), ("-6", "127.0.0.1")] {
        let output = call_localhost(&before, &[option], port).wait().expect_code(1);
        assert!(!output.stderr.contains(left_out), "{}", output.stderr);
    }
}

#[test]
fn an_address_that_does_not_answer_does_not_hold_up_the_next() {
    let dir = dir();
    let Some(before) = two_localhosts(&dir) else { return };
    let (_blackhole, _callers, address) = blackhole();
    let Ok(v6) = TcpListener::bind(("::1", address.port())) else { return };
    // Whichever of the two is called first: the one that answers is talked to.
    let start = now();
    let mut running = call_localhost(&before, &[], address.port());
    running.send_all("x");
    let mut line = Line::accept_tcp(&v6);
    assert_eq!(line.rest(), b"x");
    drop(line);
    quiet(running.wait());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_call_comes_from_the_port_and_the_address_that_were_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let source = free_port();
    let (p, here) = (source.to_string(), Ipv4Addr::new(127, 0, 0, 2));
    let cases: [(&[&str], Option<Ipv4Addr>, Option<u16>); 3] = [
        (&["-p", &p], None, Some(source)),
        (&["-s", "127.0.0.2"], Some(here), None),
        (&["-s", "127.0.0.2", "-p", &p], Some(here), Some(source)),
    ];
    for (options, address, from_port) in cases {
        let mut running = ncat(&[options, &["127.0.0.1", &port]].concat());
        running.send_all("x");
        let mut line = Line::accept_tcp(&listener);
        let peer = match &line {
            Line::Tcp(s) => s.peer_addr().unwrap(),
            Line::Unix(_) => unreachable!(),
        };
        assert_eq!(line.rest(), b"x");
        drop(line);
        quiet(running.wait());
        assert!(address.is_none_or(|address| peer.ip() == address), "{peer}");
        assert!(from_port.is_none_or(|port| peer.port() == port), "{peer}");
    }
}

#[test]
fn a_source_that_cannot_be_had_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let p = taken.local_addr().unwrap().port().to_string();
    let target = ["127.0.0.1", &port];
    let output = run(&[&["-s", "127.0.0.1", "-p", &p][..], &target].concat(), "").expect_code(1);
    output.expect_stderr(&format!("127.0.0.1:{p}")).expect_stderr("address already in use");
    // An address for documentation (RFC 5737) that cannot be this machine's.
    let output = run(&[&["-s", "203.0.113.1"][..], &target].concat(), "").expect_code(1);
    output.expect_stderr("203.0.113.1").expect_stderr("cannot assign requested address");
    let output = run(&[&["-s", "::1"][..], &target].concat(), "").expect_code(1);
    output.expect_stderr("::1");
    let output = run(&[&["-n", "-s", "no-such-host"][..], &target].concat(), "").expect_code(2);
    output.expect_stderr("no-such-host");
    let output = run(&[&["-p", "70000"][..], &target].concat(), "").expect_code(2);
    output.expect_stderr("70000");
}

#[test]
fn a_probe_says_by_its_status_whether_somebody_answers() {
    let dir = dir();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = tcp.local_addr().unwrap().port().to_string();
    let path = dir.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let closed = free_port().to_string();
    let nothing = dir.path().join("nothing");
    // Its input is never read, so it need not end.
    for target in [&["127.0.0.1", &open][..], &["-U", arg(&path)]] {
        quiet(ncat(&[&["-z"], target].concat()).wait()).expect_stdout("");
        let output = ncat(&[&["-vz"], target].concat()).wait().expect_code(0).expect_stdout("");
        output.expect_stderr("Connected to ");
    }
    for target in [&["127.0.0.1", &closed][..], &["-U", arg(&nothing)]] {
        let output = ncat(&[&["-z"], target].concat()).wait().expect_code(1).expect_stdout("");
        assert_eq!(output.stderr, "");
        let output = ncat(&[&["-vz"], target].concat()).wait().expect_code(1).expect_stdout("");
        output.expect_stderr(target.last().unwrap()).expect_stderr("cannot connect");
    }
    // Nothing was sent.
    for _ in 0..2 {
        assert_eq!(Line::accept_tcp(&tcp).rest(), b"");
        assert_eq!(Line::accept_unix(&unix).rest(), b"");
    }
}

#[test]
fn a_probe_leaves_its_input_alone() {
    let place = Place::new(Role::Calls, Over::Tcp);
    let mut input = File::open(file_in(&place.dir, "input", "precious")).unwrap();
    let mut command = place.command(&["-z"]);
    command.stdin(input.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = spawn(command);
    let mut line = place.line();
    line.send("nobody wants this");
    assert_eq!(line.rest(), b"");
    quiet(running.wait()).expect_stdout("");
    assert_eq!(input.stream_position().unwrap(), 0, "the input was read");
}

// --- What it says ---

#[test]
fn with_v_the_story_is_told_on_standard_error_alone() {
    for (role, over) in ALL {
        for way in WAYS {
            let place = Place::new(role, over);
            let mut running = place.start(&[way, &["-v"]].concat());
            let mut line = place.line();
            running.send_all("12345");
            assert_eq!(line.rest(), b"12345");
            line.send("seven b");
            let (ours, theirs) = match &line {
                Line::Tcp(s) => {
                    (s.peer_addr().unwrap().to_string(), s.local_addr().unwrap().to_string())
                }
                Line::Unix(_) => {
                    (arg(&place.file("socket")).to_owned(), "(unnamed socket)".to_owned())
                }
            };
            drop(line);
            let output = running.wait().expect_code(0).expect_stdout("seven b");
            let there = if over == Over::Unix { &ours } else { &theirs };
            let beginning = match role {
                Role::Calls => vec![format!("ncat: Connected to {there}.")],
                Role::Waits => vec![
                    format!("ncat: Listening on {ours}"),
                    format!("ncat: Connection from {theirs}."),
                ],
            };
            let lines: Vec<_> = output.stderr.lines().collect();
            for wanted in beginning {
                assert_eq!(
                    lines.iter().filter(|l| **l == wanted).count(),
                    1,
                    "{wanted}\n{lines:?}"
                );
            }
            let last = lines.last().unwrap();
            let head = "ncat: 5 bytes sent, 7 bytes received in ";
            let time = last.strip_prefix(head).and_then(|l| l.strip_suffix(" seconds."));
            let (whole, hundredths) = time.and_then(|t| t.split_once('.')).expect(last);
            assert!(whole.parse::<u32>().is_ok() && hundredths.len() == 2, "{last}");
            assert!(lines.iter().all(|l| l.starts_with("ncat: ")), "{lines:?}");
        }
    }
}

#[test]
fn what_c_adds_is_counted() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut running = place.start(&["-C", "-v"]);
        let mut line = place.line();
        running.send_all("a\nb\n");
        assert_eq!(line.rest(), b"a\r\nb\r\n");
        drop(line);
        running.wait().expect_code(0).expect_stderr("6 bytes sent, 0 bytes received in ");
    }
}

#[test]
fn c_makes_cr_lf_of_lf_and_nothing_of_cr_lf_however_it_is_cut() {
    for (role, over) in ALL {
        let place = Place::new(role, over);
        let mut running = place.start(&["-C"]);
        let mut line = place.line();
        for (typed, sent) in [
            ("a\n", "a\r\n"),
            ("b\r\n", "b\r\n"),
            ("c\r", "c\r"),
            ("\nd", "\nd"),
            ("\n", "\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("\r", "\r"),
            ("\r", "\r"),
            ("\n", "\n"),
            ("\n", "\r\n"),
            ("e", "e"),
        ] {
            running.send(typed);
            line.expect(sent);
        }
        // What comes from there is left as it is.
        line.send("x\ny\r\nz\r");
        running.wait_stdout_bytes(7);
        running.end_input();
        assert_eq!(line.rest(), b"");
        drop(line);
        quiet(running.wait()).expect_stdout("x\ny\r\nz\r");
    }
}

#[test]
fn a_million_line_ends_are_translated_and_none_is_lost() {
    for (role, over) in [(Role::Calls, Over::Tcp), (Role::Waits, Over::Unix)] {
        let place = Place::new(role, over);
        let mut running = place.start(&["-C"]);
        let mut line = place.line();
        running.send_all("x\n".repeat(1_000_000));
        identical(&line.rest(), "x\r\n".repeat(1_000_000).as_bytes());
        drop(line);
        quiet(running.wait());
    }
}

// --- What it records ---

const DUMP: &str = "\
0000   68 65 6c 6c 6f 20 77 6f  72 6c 64 0d 0a 73 65 63  hello.world..sec
0010   6f 6e 64                                          ond             
";

const ANSWER: &str = "\
0000   59 65 73 0a                                       Yes.            
";

#[test]
fn both_directions_are_recorded_as_they_are_and_as_a_dump() {
    for (role, over) in ALL {
        for way in [&[][..], &["-C"]] {
            let place = Place::new(role, over);
            let (raw, hex) = (place.file("raw"), place.file("hex"));
            let mut running = place.start(&[way, &["-o", arg(&raw), "-x", arg(&hex)]].concat());
            let mut line = place.line();
            running.send("hello world\r\nsecond");
            line.expect("hello world\r\nsecond");
            line.send("Yes\n");
            running.wait_stdout("Yes\n");
            running.end_input();
            assert_eq!(line.rest(), b"");
            drop(line);
            quiet(running.wait());
            let raw = std::fs::read_to_string(raw).unwrap();
            assert_eq!(raw, "hello world\r\nsecondYes\n");
            let hex = std::fs::read_to_string(hex).unwrap();
            assert_eq!(hex, format!("{DUMP}{ANSWER}"));
            assert!(hex.split_inclusive('\n').all(|line| line.len() == 74), "{hex}");
        }
    }
}

#[test]
fn every_byte_value_has_its_place_in_the_dump() {
    let place = Place::new(Role::Calls, Over::Tcp);
    let hex = place.file("hex");
    let mut running = place.start(&["-x", arg(&hex)]);
    let mut line = place.line();
    let all: Vec<u8> = (0..=255).collect();
    running.send_all(&all[..]);
    assert_eq!(line.rest(), all);
    drop(line);
    quiet(running.wait());
    let mut expected = String::new();
    for row in all.chunks(16) {
        let byte = |b: &u8| format!("{b:02x}");
        let half = |h: &[u8]| h.iter().map(byte).collect::<Vec<_>>().join(" ");
        let text: String =
            row.iter().map(|&b| if b.is_ascii_graphic() { b as char } else { '.' }).collect();
        expected += &format!("{:04x}   {}  {}  {text}\n", row[0], half(&row[..8]), half(&row[8..]));
    }
    assert_eq!(std::fs::read_to_string(hex).unwrap(), expected);
}

#[test]
fn the_log_has_what_went_over_the_line() {
    // After -C: the log shows what the peer saw.
    let place = Place::new(Role::Calls, Over::Tcp);
    let raw = place.file("raw");
    let mut running = place.start(&["-C", "-o", arg(&raw)]);
    let mut line = place.line();
    running.send_all("a\nb\n");
    assert_eq!(line.rest(), b"a\r\nb\r\n");
    drop(line);
    quiet(running.wait());
    assert_eq!(std::fs::read(raw).unwrap(), b"a\r\nb\r\n");
}

#[test]
fn what_send_only_does_not_show_is_still_recorded() {
    for (role, over) in ALL {
        for way in [&[][..], &["-C"]] {
            let place = Place::new(role, over);
            let raw = place.file("raw");
            let mut running = place.start(&[way, &["--send-only", "-o", arg(&raw)]].concat());
            let mut line = place.line();
            line.send("from peer");
            wait_until("the log", || std::fs::read(&raw).is_ok_and(|log| log == b"from peer"));
            running.send_all("+ours");
            assert_eq!(line.rest(), b"+ours");
            quiet(running.wait()).expect_stdout("");
            assert_eq!(std::fs::read_to_string(raw).unwrap(), "from peer+ours");
        }
    }
}

#[test]
fn a_long_log_is_whole() {
    for way in [&[][..], &["-C"]] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let (raw, hex) = (place.file("raw"), place.file("hex"));
        let mut running = place.start(&[way, &["-o", arg(&raw), "-x", arg(&hex)]].concat());
        let mut line = place.line();
        let bytes = plain(300_000);
        running.send_all(&bytes[..]);
        identical(&line.rest(), &bytes);
        drop(line);
        quiet(running.wait());
        identical(&std::fs::read(raw).unwrap(), &bytes);
        // The dump back to bytes.
        let hex = std::fs::read_to_string(hex).unwrap();
        let words = |line: &str| line[7..56].split_whitespace().map(str::to_owned).collect();
        let words: Vec<String> =
            hex.lines().flat_map(|line| -> Vec<String> { words(line) }).collect();
        let back: Vec<u8> = words.iter().map(|w| u8::from_str_radix(w, 16).unwrap()).collect();
        identical(&back, &bytes);
    }
}

#[test]
fn a_log_starts_anew_unless_it_is_appended_to() {
    let place = Place::new(Role::Calls, Over::Tcp);
    let raw = file_in(&place.dir, "raw", "before ");
    let hex = file_in(&place.dir, "hex", "before\n");
    let talk = |options: &[&str]| {
        let mut running = place.start(&[options, &["-o", arg(&raw), "-x", arg(&hex)]].concat());
        let mut line = place.line();
        running.send_all("Yes\n");
        assert_eq!(line.rest(), b"Yes\n");
        drop(line);
        quiet(running.wait());
        (std::fs::read_to_string(&raw).unwrap(), std::fs::read_to_string(&hex).unwrap())
    };
    let appended = ("before Yes\n".to_owned(), format!("before\n{ANSWER}"));
    assert_eq!(talk(&["--append-output"]), appended);
    assert_eq!(talk(&[]), ("Yes\n".to_owned(), ANSWER.to_owned()));
    let twice = ("Yes\nYes\n".to_owned(), format!("{ANSWER}{ANSWER}"));
    assert_eq!(talk(&["--append-output"]), twice);
}

#[test]
fn a_log_is_made_for_the_group_as_the_umask_says() {
    for (umask, mode) in [("002", 0o664), ("022", 0o644), ("077", 0o600)] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let raw = place.file("raw");
        let ours = place.command(&["-o", arg(&raw)]);
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\""));
        command.arg(ours.get_program()).args(ours.get_args());
        let running = start_command(command);
        drop(place.line());
        quiet(running.wait());
        assert_eq!(std::fs::metadata(raw).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_link_to_a_log_is_followed() {
    let place = Place::new(Role::Calls, Over::Tcp);
    let (raw, link) = (place.file("raw"), place.file("link"));
    std::os::unix::fs::symlink(&raw, &link).unwrap();
    let running = place.start(&["-o", arg(&link)]);
    place.line().send("x");
    quiet(running.wait());
    assert_eq!(std::fs::read(raw).unwrap(), b"x");
}

#[test]
fn a_log_that_cannot_be_opened_stops_everything_before_it_begins() {
    let dir = dir();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let missing = dir.path().join("missing/log");
    for option in ["-o", "-x"] {
        for (path, why) in [
            (arg(&missing), "no such file or directory"),
            (arg(dir.path()), "is a directory"),
            (arg(&fifo), "nobody reads this FIFO"),
        ] {
            for role in [Role::Calls, Role::Waits] {
                let place = Place::new(role, Over::Tcp);
                let output = start_command(place.command(&[option, path])).wait().expect_code(2);
                output.expect_stderr(path).expect_stderr(why).expect_stdout("");
                assert!(!place.file("port").exists(), "it listened");
                if let Some(listener) = &place.tcp {
                    listener.set_nonblocking(true).unwrap();
                    assert!(listener.accept().is_err(), "it called");
                }
            }
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_fails_once_and_loses_no_data() {
    for (role, over) in ALL {
        for option in ["-o", "-x"] {
            for way in [&[][..], &["-C"]] {
                let place = Place::new(role, over);
                let mut running = place.start(&[way, &[option, "/dev/full"]].concat());
                let mut line = place.line();
                let bytes = plain(200_000);
                running.send_all(&bytes[..]);
                identical(&line.rest(), &bytes);
                line.send(&bytes);
                drop(line);
                let output = running.wait().expect_code(2);
                identical(&output.stdout, &bytes);
                assert_eq!(output.stderr.matches("no space left on device").count(), 1);
                output.expect_stderr("log").expect_stderr("/dev/full");
            }
        }
    }
}

#[test]
fn a_log_that_failed_is_told_of_even_if_the_conversation_fails_too() {
    at_once(|role, over, way| {
        if way.contains(&"-o") {
            return; // the first of the ways is recorded here
        }
        let place = Place::new(role, over);
        let running = place.start(&[way, &["-i", "1", "-o", "/dev/full"]].concat());
        let mut line = place.line();
        line.send("hello");
        let output = running.wait().expect_stdout("hello").expect_stderr("(-i)");
        let output = output.expect_stderr("no space left on device");
        assert_ne!(output.code(), 0);
    });
}

#[test]
fn a_log_into_a_fifo_has_everything_even_if_its_reader_is_slow() {
    for way in [&[][..], &["-C"]] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let fifo = place.file("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Read and write, so that the open waits for nobody.
        let mut reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mut running = place.start(&[way, &["-o", arg(&fifo)]].concat());
        let mut line = place.line();
        let bytes = plain(1_000_000);
        running.send_all(&bytes[..]);
        let receiver = std::thread::spawn(move || line.rest());
        let mut log = vec![0; bytes.len()];
        reader.read_exact(&mut log).unwrap();
        identical(&log, &bytes);
        identical(&receiver.join().unwrap(), &bytes);
        quiet(running.wait());
    }
}

#[test]
fn a_log_whose_reader_leaves_is_given_up_and_the_data_is_not() {
    for way in [&[][..], &["-C"]] {
        let place = Place::new(Role::Calls, Over::Tcp);
        let fifo = place.file("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mut running = place.start(&[way, &["-o", arg(&fifo)]].concat());
        let mut line = place.line();
        line.send("begin");
        running.wait_stdout("begin");
        drop(reader);
        let bytes = plain(200_000);
        running.send_all(&bytes[..]);
        identical(&line.rest(), &bytes);
        line.send("end");
        drop(line);
        let output = running.wait().expect_code(2).expect_stdout("beginend");
        output.expect_stderr("log").expect_stderr("broken pipe");
    }
}

// --- Other programs ---

/// Another netcat as (called, calling), with PLACE for where; words are split at blanks.
struct Other {
    program: &'static str,
    listens_tcp: &'static str,
    listens_unix: &'static str,
    calls_tcp: &'static str,
    calls_unix: &'static str,
}

const OTHERS: [Other; 3] = [
    Other {
        program: "ncat",
        listens_tcp: "-l 127.0.0.1 PLACE",
        listens_unix: "-lU PLACE",
        calls_tcp: "127.0.0.1 PLACE",
        calls_unix: "-U PLACE",
    },
    Other {
        program: "nc.openbsd",
        listens_tcp: "-Nl 127.0.0.1 PLACE",
        listens_unix: "-NlU PLACE",
        calls_tcp: "-N 127.0.0.1 PLACE",
        calls_unix: "-NU PLACE",
    },
    Other {
        program: "socat",
        listens_tcp: "-t30 - TCP-LISTEN:PLACE,bind=127.0.0.1",
        listens_unix: "-t30 - UNIX-LISTEN:PLACE",
        calls_tcp: "-t30 - TCP:127.0.0.1:PLACE",
        calls_unix: "-t30 - UNIX-CONNECT:PLACE",
    },
];

impl Other {
    fn start(&self, words: &str, place: &str) -> Running {
        let words = words.replace("PLACE", place);
        start(self.program, &words.split(' ').collect::<Vec<_>>())
    }

    /// It and ours, in touch. `options` are ours.
    fn meet(&self, role: Role, over: Over, dir: &TempDir, options: &[&str]) -> (Running, Running) {
        eprintln!("{} and ours, which {role:?} over {over:?}", self.program);
        let path = dir.path().join("socket");
        let unix = ["-U", arg(&path)];
        match (role, over) {
            (Role::Calls, Over::Tcp) => {
                let port = free_port();
                let other = self.start(self.listens_tcp, &port.to_string());
                wait_for_port(port);
                (other, ncat(&[options, &["127.0.0.1", &port.to_string()]].concat()))
            }
            (Role::Calls, Over::Unix) => {
                let other = self.start(self.listens_unix, arg(&path));
                wait_for_unix(&path);
                (other, ncat(&[options, &unix].concat()))
            }
            (Role::Waits, Over::Tcp) => {
                let ours = ncat(&[options, &["-v", "-l", "127.0.0.1", "0"]].concat());
                let port = ours.port().to_string();
                (self.start(self.calls_tcp, &port), ours)
            }
            (Role::Waits, Over::Unix) => {
                let ours = ncat(&[options, &["-v", "-l"], &unix].concat());
                ours.wait_stderr("Listening on ");
                (self.start(self.calls_unix, arg(&path)), ours)
            }
        }
    }
}

/// Waits for a listener on a path without calling it.
fn wait_for_unix(path: &std::path::Path) {
    wait_until("a listener", || {
        let table = std::fs::read_to_string("/proc/net/unix").unwrap();
        // Flag 0x10000 (__SO_ACCEPTCON) says that it listens.
        table.lines().any(|l| l.ends_with(arg(path)) && l.contains(" 00010000 "))
    });
}

#[test]
fn every_other_netcat_gets_what_ours_sends() {
    let bytes = plain(3_000_000);
    for other in OTHERS.iter().filter(|other| have(other.program)) {
        for (role, over) in ALL {
            let dir = dir();
            let (other, mut ours) = other.meet(role, over, &dir, &[]);
            ours.send_all(&bytes[..]);
            // To some of them the end of their input is the end of everything.
            other.wait_stdout_bytes(bytes.len());
            let output = other.finish();
            identical(&output.stdout, &bytes);
            ours.wait().expect_code(0).expect_stdout("");
        }
    }
}

#[test]
fn ours_gets_what_every_other_netcat_sends() {
    let bytes = plain(3_000_000);
    for other in OTHERS.iter().filter(|other| have(other.program)) {
        for (role, over) in ALL {
            let dir = dir();
            let (mut other, ours) = other.meet(role, over, &dir, &[]);
            other.send_all(&bytes[..]);
            let output = ours.wait().expect_code(0);
            identical(&output.stdout, &bytes);
            other.wait();
        }
    }
}

#[test]
fn ours_and_every_other_netcat_send_at_once() {
    let bytes = plain(1_000_000);
    for other in OTHERS.iter().filter(|other| have(other.program)) {
        for (role, over) in ALL {
            let dir = dir();
            let (mut other, mut ours) = other.meet(role, over, &dir, &[]);
            // Nobody ends before both have everything: to some the first end is the last.
            std::thread::scope(|scope| {
                scope.spawn(|| ours.send(&bytes));
                scope.spawn(|| other.send(&bytes[1..]));
            });
            ours.wait_stdout_bytes(bytes.len() - 1);
            other.wait_stdout_bytes(bytes.len());
            ours.end_input();
            other.end_input();
            let output = ours.wait().expect_code(0);
            identical(&output.stdout, &bytes[1..]);
            identical(&other.wait().stdout, &bytes);
        }
    }
}

#[test]
fn an_echo_of_millions_of_bytes_is_whole() {
    if !have("socat") {
        return;
    }
    let bytes = plain(5_000_000);
    for way in WAYS {
        let dir = dir();
        let path = dir.path().join("socket");
        let port = free_port();
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1");
        let unix = format!("UNIX-LISTEN:{}", arg(&path));
        let at = port.to_string();
        for (listen, target) in [(listen, ["127.0.0.1", &at]), (unix, ["-U", arg(&path)])] {
            let echo = start("socat", &["-t30", &listen, "EXEC:cat"]);
            if target[0] == "-U" {
                wait_for_unix(&path);
            } else {
                wait_for_port(port);
            }
            let output = quiet(run(&[way, &target].concat(), bytes.clone()));
            identical(&output.stdout, &bytes);
            echo.wait();
        }
        for over in [Over::Tcp, Over::Unix] {
            let place = Place::new(Role::Waits, over);
            let mut ours = place.start(&[way, &["-v"]].concat());
            ours.wait_stderr("Listening on ");
            let target = match over {
                Over::Tcp => format!("TCP:127.0.0.1:{}", ours.port()),
                Over::Unix => format!("UNIX-CONNECT:{}", arg(&place.file("socket"))),
            };
            let echo = start("socat", &["-t30", &target, "EXEC:cat"]);
            ours.send_all(&bytes[..]);
            let output = ours.wait().expect_code(0);
            identical(&output.stdout, &bytes);
            echo.wait();
        }
    }
}

#[test]
fn curl_reads_a_page_from_standard_input() {
    if !have("curl") {
        return;
    }
    let body = plain(200_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    for over in [Over::Tcp, Over::Unix] {
        let place = Place::new(Role::Waits, over);
        let mut ours = place.start(&["-v"]);
        ours.wait_stderr("Listening on ");
        ours.send_all([head.as_bytes(), &body].concat());
        let path = place.file("socket");
        let (url, unix) = match over {
            Over::Tcp => (format!("http://127.0.0.1:{}/x", ours.port()), vec![]),
            Over::Unix => ("http://localhost/x".to_owned(), vec!["--unix-socket", arg(&path)]),
        };
        let curl =
            start("curl", &[&["-sS", "--noproxy", "*", "-m", "20", &url], &unix[..]].concat());
        let page = curl.wait().expect_code(0);
        identical(&page.stdout, &body);
        let request = ours.wait().expect_code(0).text();
        assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"), "{request}");
    }
}

#[test]
fn ours_talks_http_by_hand_with_a_server() {
    if !have("python3") {
        return;
    }
    let dir = dir();
    let body = plain(500_000);
    file_in(&dir, "page", &body);
    let words = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", arg(dir.path()), "0"];
    let mut command = Command::new("python3");
    command.arg("-u").args(words);
    let server = start_command(command);
    server.wait_stdout("http://127.0.0.1:");
    let said = String::from_utf8(server.stdout()).unwrap();
    let port = said.split("port ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let output = quiet(run(&["-C", "127.0.0.1", &port], "GET /page HTTP/1.0\n\n"));
    let at = output.stdout.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(output.stdout.starts_with(b"HTTP/1.0 200 OK\r\n"));
    identical(&output.stdout[at..], &body);
}

#[test]
fn two_of_ours_understand_each_other() {
    let bytes = plain(3_000_000);
    for over in [Over::Tcp, Over::Unix] {
        let place = Place::new(Role::Waits, over);
        let mut command = place.command(&["-v"]);
        command.stdin(File::open(file_in(&place.dir, "input", &bytes)).unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let called = spawn(command);
        called.wait_stderr("Listening on ");
        let mut calling = match over {
            Over::Tcp => ncat(&["-k", "127.0.0.1", &called.port().to_string()]),
            Over::Unix => ncat(&["-k", "-U", arg(&place.file("socket"))]),
        };
        calling.send_all(&bytes[1..]);
        identical(&quiet(calling.wait()).stdout, &bytes);
        identical(&called.wait().expect_code(0).stdout, &bytes[1..]);
    }
}

#[test]
fn a_pipeline_through_two_of_ours_is_a_pipeline() {
    // What a person does: tar on one machine, tar on the other.
    let place = Place::new(Role::Waits, Over::Tcp);
    let bytes = plain(2_000_000);
    let input = file_in(&place.dir, "input", &bytes);
    let called = place.start(&["-v", "--recv-only"]);
    let line = format!("cat {} | \"$NCAT\" --send-only 127.0.0.1 {}", arg(&input), called.port());
    quiet(tool::shell(&line).wait());
    identical(&called.wait().expect_code(0).stdout, &bytes);
}

#[test]
fn nothing_is_read_from_standard_input_before_somebody_is_there() {
    // So that a failed call costs no data: `ncat a 1 || ncat b 1`, both with the same input.
    let dir = dir();
    let mut input = File::open(file_in(&dir, "input", "precious")).unwrap();
    let mut command = Command::new(NCAT);
    command.args(["127.0.0.1", &free_port().to_string()]).stdin(input.try_clone().unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command).wait().expect_code(1);
    assert_eq!(input.stream_position().unwrap(), 0, "the input was read");
}

#[test]
fn a_pipe_is_read_no_further_than_needed() {
    // What a peer that has gone did not take is left for the next program of the script.
    let place = Place::new(Role::Calls, Over::Tcp);
    let (rx, mut feed) = io::pipe().unwrap();
    let mut left: PipeReader = rx.try_clone().unwrap();
    let mut command = place.command(&["--recv-only"]);
    command.stdin(rx).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = spawn(command);
    feed.write_all(b"for the next").unwrap();
    drop(feed);
    drop(place.line());
    quiet(running.wait());
    assert_eq!(rest(&mut left), b"for the next");
}

#[test]
fn a_source_route_is_set_for_streams_and_for_datagrams() {
    if !have("strace") {
        return;
    }
    // Networks drop such packets, this machine too, so the system call has to do.
    for options in [&["-z"][..], &["-z", "-u", "-i", "50ms"]] {
        let dir = dir();
        let log = file_in(&dir, "log", "");
        let words = ["-qq", "-e", "trace=setsockopt", "-o", arg(&log), NCAT, "-4", "-w", "100ms"];
        let route = ["-g", "127.0.0.2,127.0.0.3", "127.0.0.1", "9"];
        tool::run_other("strace", &[&words[..], options, &route].concat(), "");
        let log = std::fs::read_to_string(&log).unwrap();
        // No operation, loose source route, its length, the pointer, and three addresses.
        let option = r#"IP_OPTIONS, "\1\203\17\4\177\0\0\2\177\0\0\3\177\0\0\1", 16"#;
        assert!(log.contains(option), "{options:?}: {log}");
    }
}
