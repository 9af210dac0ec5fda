//! How much work the program does where it matters, counted in instructions: no clock, so the
//! figures are the same on a busy machine, and one that grows without anybody's wish is seen.
//!
//! What is counted is the build for tests, which is slower than the one that people run; a change
//! shows in both. The bounds are about twice what was measured on 2026-11-28 with Rust 1.95 on
//! x86-64, so that another compiler does not trip them, and a loop over every byte does. Two runs
//! of the same build differ by less than one in three hundred.

mod tool;

use std::fs;
use std::process::{Command, Stdio};
use tool::{NCAT, Running, arg, dir, file_in, have, noise, run, same, serving, spawn};

/// Our program under valgrind, which writes its count to a file.
struct Counted {
    running: Running,
    dir: tempfile::TempDir,
}

fn counted(args: &[&str], input: &[u8]) -> Counted {
    let dir = dir();
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", arg(&dir.path().join("count"))));
    command.arg(NCAT).args(args);
    command.env_remove("SSLKEYLOGFILE").stdout(Stdio::piped()).stderr(Stdio::piped());
    // A file, so that every read is a full one and the count does not depend on timing.
    let input = file_in(&dir, "input", input);
    command.stdin(fs::File::open(input).unwrap());
    Counted { running: spawn(command), dir }
}

impl Counted {
    /// Waits for its end and takes the count.
    #[track_caller]
    fn instructions(self) -> u64 {
        self.running.wait().expect_code(0);
        let text = fs::read_to_string(self.dir.path().join("count")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
        line.expect("callgrind writes a line of totals").trim().parse().unwrap()
    }
}

#[track_caller]
fn at_most(bound: u64, count: u64, what: &str) {
    assert!(count <= bound, "{what}: {count} instructions, and it was to be {bound} at most");
    // The count would be worth nothing if it were of something else.
    assert!(count > bound / 20, "{what}: {count} instructions are too few to be true");
}

#[test]
fn starting_costs_no_more_than_it_did() {
    if !have("valgrind") {
        return;
    }
    // Measured: 17.0 million.
    at_most(34_000_000, counted(&["--version"], b"").instructions(), "--version");
}

#[test]
fn a_short_call_costs_no_more_than_it_did() {
    if !have("valgrind") {
        return;
    }
    let (server, port) = serving(&["--recv-only"]);
    let client = counted(&["--send-only", "127.0.0.1", &port.to_string()], b"hello\n");
    // Measured: 1.3 million; with the options built it is thirteen times that.
    at_most(2_600_000, client.instructions(), "connect, one line, exit");
    server.wait().expect_code(0).expect_stdout("hello\n");
}

#[test]
fn a_byte_that_is_carried_costs_no_more_than_it_did() {
    if !have("valgrind") {
        return;
    }
    // -o looks at the bytes, so none takes the kernel's short cut.
    let few = sent(&["-o", "/dev/null"], 1_000_000);
    let many = sent(&["-o", "/dev/null"], 5_000_000);
    // Measured: 40,400. One instruction for each byte would be a million.
    at_most(80_000, (many - few) / 4, "1 MB, copied");
}

#[test]
fn a_tls_call_costs_no_more_than_it_did() {
    if !have("valgrind") {
        return;
    }
    let (server, port) = serving(&["--ssl", "--recv-only"]);
    let port = port.to_string();
    let args = ["--ssl", "--ssl-insecure", "--send-only", "127.0.0.1", &port];
    // Measured: 7.9 million.
    at_most(16_000_000, counted(&args, b"hello\n").instructions(), "a call under TLS");
    server.wait().expect_code(0).expect_stdout("hello\n");
}

#[test]
fn a_message_taken_costs_no_more_than_it_did() {
    if !have("valgrind") {
        return;
    }
    let one = taken(1);
    let five = taken(5);
    // Measured: 750,000.
    at_most(1_500_000, (five - one) / 4, "a message taken by the mock server");
}

/// What the client's part of so many bytes comes to.
fn sent(options: &[&str], bytes: usize) -> u64 {
    let (server, port) = serving(&["--recv-only"]);
    let port = port.to_string();
    let noise = noise(bytes);
    let client = counted(&[options, &["--send-only", "127.0.0.1", &port]].concat(), &noise);
    let count = client.instructions();
    same(&server.wait().expect_code(0).stdout, &noise);
    count
}

/// What a mock server's life with so many messages comes to.
fn taken(messages: usize) -> u64 {
    let accept = messages.to_string();
    let args = ["-v", "-l", "--smtp", "--accept", &accept, "127.0.0.1", "0"];
    let server = counted(&args, b"");
    let place = format!("127.0.0.1:{}", server.running.port());
    for _ in 0..messages {
        let args = ["--smtp", &place, "--from", "a@b", "--to", "c@d", "--body", "hello"];
        run(&args, "").expect_code(0);
    }
    server.instructions()
}
