//! Listen mode: who gets in, who is told what, and many callers at once (`-k`).
//!
//! The flow of bytes through one conversation is in `relay.rs`, for both roles.

#![allow(clippy::print_stderr)] // captured, and shown when a test fails

mod tool;

use rustix::net::sockopt::set_socket_linger;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tool::{
    DEADLINE, NCAT, Output, Running, arg, dir, file_in, have, ncat, noise, now, run, same, spawn,
    start, start_command, wait_until,
};

/// Ours on a free port of 127.0.0.1, telling its story.
fn waiting(options: &[&str]) -> (Running, u16) {
    let running = ncat(&[&["-v", "-l"], options, &["127.0.0.1", "0"]].concat());
    let port = running.port();
    (running, port)
}

/// A caller; neither its reads nor its writes wait for ever.
#[track_caller]
fn call(port: u16) -> TcpStream {
    let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.set_write_timeout(Some(DEADLINE)).unwrap();
    caller
}

#[track_caller]
fn call_unix(path: &std::path::Path) -> UnixStream {
    let mut caller = None;
    wait_until("the socket", || {
        caller = UnixStream::connect(path).ok();
        caller.is_some()
    });
    let caller = caller.unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    caller.set_write_timeout(Some(DEADLINE)).unwrap();
    caller
}

/// Callers that are all in.
fn callers<const N: usize>(running: &Running, port: u16) -> [TcpStream; N] {
    let before = joined(running);
    let callers = std::array::from_fn(|_| call(port));
    wait_until("everybody to be in", || joined(running) >= before + N);
    callers
}

fn joined(running: &Running) -> usize {
    running.stderr().matches("ncat: Connection from ").count()
}

#[track_caller]
fn wait_left(running: &Running, n: usize) {
    wait_until("callers to leave", || running.stderr().matches(" has left.").count() >= n);
}

#[track_caller]
fn expect(from: &mut impl Read, text: &str) {
    let mut got = vec![0; text.len()];
    from.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

#[track_caller]
fn rest(from: &mut impl Read) -> Vec<u8> {
    let mut got = Vec::new();
    from.read_to_end(&mut got).unwrap_or_else(|e| panic!("after {} bytes: {e}", got.len()));
    got
}

/// As [`same`], and quick when all is well.
#[track_caller]
fn identical(got: &[u8], expected: &[u8]) {
    if got != expected {
        same(got, expected);
    }
}

/// Is there neither a byte nor an end?
fn is_quiet(caller: &mut TcpStream) -> bool {
    caller.set_nonblocking(true).unwrap();
    let result = caller.read(&mut [0]);
    caller.set_nonblocking(false).unwrap();
    result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

fn reset(caller: TcpStream) {
    set_socket_linger(&caller, Some(Duration::ZERO)).unwrap();
}

/// Ends it as a supervisor does.
#[track_caller]
fn end(running: Running) -> Output {
    running.signal("TERM");
    running.wait().expect_code(143)
}

/// Time in user space and kernel, in ticks of 10 ms.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let words: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
}

/// The most memory that a process has used, in kB.
fn peak_kb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

fn position(file: &mut File) -> u64 {
    file.stream_position().unwrap()
}

/// Waits until a number has stopped growing; it has to be more than 0.
#[track_caller]
fn stalled(what: &str, mut number: impl FnMut() -> u64) -> u64 {
    let mut last = (0, now());
    wait_until(what, || {
        let count = number();
        if count != last.0 {
            last = (count, now());
        }
        count > 0 && last.1.elapsed() > Duration::from_millis(300)
    });
    last.0
}

// --- One caller ---

#[test]
fn one_caller_is_served_and_the_second_is_refused() {
    let (mut running, port) = waiting(&[]);
    let [mut first] = callers(&running, port);
    let second = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::ConnectionRefused);
    first.write_all(b"still here").unwrap();
    running.wait_stdout("still here");
    running.send("so am I");
    expect(&mut first, "so am I");
    drop(first);
    running.wait().expect_code(0);
}

#[test]
fn one_caller_of_a_unix_socket_is_served_and_the_second_is_refused() {
    let dir = dir();
    let path = dir.path().join("socket");
    let running = ncat(&["-v", "-lU", arg(&path)]);
    let mut first = call_unix(&path);
    running.wait_stderr("Connection from (unnamed socket).");
    assert!(UnixStream::connect(&path).is_err());
    first.write_all(b"still here").unwrap();
    running.wait_stdout("still here");
    drop(first);
    running.wait().expect_code(0);
    assert!(!path.exists());
}

#[test]
fn standard_input_is_read_only_while_somebody_is_there() {
    for options in [&[][..], &["-k"]] {
        let dir = dir();
        let mut input = File::open(file_in(&dir, "input", "all of it")).unwrap();
        let mut command = Command::new(NCAT);
        command.args([options, &["-v", "-l", "127.0.0.1", "0"]].concat());
        command.stdin(input.try_clone().unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = spawn(command);
        let port = running.port();
        assert_eq!(position(&mut input), 0);
        let mut caller = call(port);
        assert_eq!(rest(&mut caller), b"all of it");
        drop(caller);
        match options {
            [] => running.wait().expect_code(0),
            _ => end(running),
        };
    }
}

// --- Many callers ---

#[test]
fn input_goes_to_all_callers_and_all_they_say_to_output() {
    let (mut running, port) = waiting(&["-k"]);
    let mut all: [_; 3] = callers(&running, port);
    for (i, caller) in all.iter_mut().enumerate() {
        writeln!(caller, "from {i}").unwrap();
        running.wait_stdout(&format!("from {i}\n"));
    }
    running.send("to all\n");
    for caller in &mut all {
        expect(caller, "to all\n");
    }
    // Whoever comes late gets what is said from then on.
    let [mut late] = callers(&running, port);
    running.send("to four\n");
    for caller in all.iter_mut().chain([&mut late]) {
        expect(caller, "to four\n");
    }
    late.write_all(b"from late\n").unwrap();
    running.wait_stdout("from late\n");
    drop(all);
    wait_left(&running, 3);
    running.send("to one\n");
    expect(&mut late, "to one\n");
    end(running).expect_stdout("from 0\nfrom 1\nfrom 2\nfrom late\n");
}

#[test]
fn callers_of_a_unix_socket_come_and_go() {
    let dir = dir();
    let path = dir.path().join("socket");
    let mut running = ncat(&["-v", "-lkU", arg(&path)]);
    let mut all = [(); 3].map(|()| call_unix(&path));
    wait_until("everybody to be in", || joined(&running) == 3);
    running.send("to all");
    for (i, caller) in all.iter_mut().enumerate() {
        expect(caller, "to all");
        write!(caller, "from {i}.").unwrap();
        running.wait_stdout(&format!("from {i}."));
    }
    drop(all);
    wait_left(&running, 3);
    let mut late = call_unix(&path);
    late.write_all(b"late").unwrap();
    running.wait_stdout("late");
    end(running).expect_stdout("from 0.from 1.from 2.late");
    assert!(!path.exists());
}

#[test]
fn what_is_typed_while_nobody_is_there_goes_to_the_next_caller() {
    let (mut running, port) = waiting(&["-k"]);
    running.send("to one");
    let [mut one] = callers(&running, port);
    expect(&mut one, "to one");
    drop(one);
    wait_left(&running, 1);
    running.send("to two");
    let [mut two] = callers(&running, port);
    expect(&mut two, "to two");
    end(running);
}

#[test]
fn the_end_of_input_is_told_to_those_who_are_there_and_to_nobody_later() {
    for option in [&[][..], &["--no-shutdown"]] {
        let (mut running, port) = waiting(&[&["-k"], option].concat());
        let mut all: [_; 2] = callers(&running, port);
        running.send("all");
        running.end_input();
        for caller in &mut all {
            expect(caller, "all");
            if option.is_empty() {
                assert_eq!(rest(caller), b"");
            }
            // They may still answer.
            caller.write_all(b"answer").unwrap();
        }
        running.wait_stdout("answeranswer");
        let [mut late] = callers(&running, port);
        for text in ["one", "two"] {
            late.write_all(text.as_bytes()).unwrap();
            running.wait_stdout(text);
        }
        assert!(is_quiet(&mut late), "whoever came late was told of the end");
        assert!(option.is_empty() || all.iter_mut().all(is_quiet), "--no-shutdown");
        end(running);
    }
}

#[test]
fn millions_of_bytes_go_to_and_from_every_caller_at_once() {
    const SIZE: usize = 2_000_000;
    let bytes = noise(5_000_000);
    let (mut running, port) = waiting(&["-k"]);
    let all: [_; 3] = callers(&running, port);
    running.send_all(&bytes[..]);
    std::thread::scope(|scope| {
        for (mut caller, letter) in all.into_iter().zip(b'a'..) {
            let (bytes, mut twin) = (&bytes, caller.try_clone().unwrap());
            scope.spawn(move || twin.write_all(&vec![letter; SIZE]).unwrap());
            scope.spawn(move || identical(&rest(&mut caller), bytes));
        }
    });
    running.wait_stdout_bytes(3 * SIZE);
    let output = end(running);
    for letter in b'a'..=b'c' {
        let count = output.stdout.iter().filter(|b| **b == letter).count();
        assert_eq!(count, SIZE, "{}", char::from(letter));
    }
}

#[test]
fn other_netcats_are_served_side_by_side() {
    if !have("ncat") || !have("nc.openbsd") || !have("socat") {
        return;
    }
    let (mut running, port) = waiting(&["-k"]);
    let (place, tcp) = (port.to_string(), format!("TCP:127.0.0.1:{port}"));
    let mut all = [
        start("ncat", &["127.0.0.1", &place]),
        start("nc.openbsd", &["127.0.0.1", &place]),
        start("socat", &["-", &tcp]),
    ];
    wait_until("everybody to be in", || joined(&running) == 3);
    let bytes = noise(1_000_000);
    running.send(&bytes);
    for (i, other) in all.iter_mut().enumerate() {
        other.wait_stdout_bytes(bytes.len());
        identical(&other.stdout(), &bytes);
        other.send(format!("from {i}\n"));
        running.wait_stdout(&format!("from {i}\n"));
    }
    end(running);
}

#[test]
fn c_translates_for_all_callers_however_lines_are_cut() {
    let (mut running, port) = waiting(&["-k", "-C"]);
    let mut all: [_; 2] = callers(&running, port);
    for (typed, sent) in [("a\n", "a\r\n"), ("b\r", "b\r"), ("\n", "\n"), ("\n", "\r\n")] {
        running.send(typed);
        for caller in &mut all {
            expect(caller, sent);
        }
    }
    all[0].write_all(b"x\ny\r\n").unwrap();
    running.wait_stdout_bytes(5);
    end(running).expect_stdout("x\ny\r\n");
}

// --- Callers that behave badly ---

#[test]
fn a_caller_that_resets_is_no_trouble_for_the_others() {
    let (mut running, port) = waiting(&["-k"]);
    let [one, mut two] = callers(&running, port);
    reset(one);
    running.wait_stderr("lost the connection");
    running.send("to two");
    expect(&mut two, "to two");
    let [mut three] = callers(&running, port);
    three.write_all(b"from three").unwrap();
    running.wait_stdout("from three");
    end(running);
}

#[test]
fn a_caller_that_resets_ends_a_server_for_one_with_status_1() {
    let (running, port) = waiting(&[]);
    let [mut caller] = callers(&running, port);
    caller.write_all(b"hello").unwrap();
    running.wait_stdout("hello");
    reset(caller);
    running.wait().expect_code(1).expect_stderr("lost the connection").expect_stdout("hello");
}

#[test]
fn a_caller_that_never_reads_is_dropped_and_the_others_get_everything() {
    let dir = dir();
    let port_file = dir.path().join("port");
    // Without -v: this has to be told to everybody.
    let mut running = ncat(&["-lk", "--port-file", arg(&port_file), "127.0.0.1", "0"]);
    wait_until("the port file", || port_file.exists());
    let port = std::fs::read_to_string(&port_file).unwrap().trim().parse().unwrap();
    let mut stuck = call(port);
    stuck.write_all(b"1").unwrap();
    let readers = [call(port), call(port)].map(|mut reader| {
        reader.write_all(b"2").unwrap();
        reader
    });
    running.wait_stdout_bytes(3);
    // The program itself, most of whose pages a debug build touches before the first byte.
    let before = peak_kb(running.id());
    let bytes = noise(40_000_000);
    running.send_all(&bytes[..]);
    std::thread::scope(|scope| {
        for mut reader in readers {
            let bytes = &bytes;
            scope.spawn(move || identical(&rest(&mut reader), bytes));
        }
    });
    let stderr = running.stderr();
    let name = stuck.local_addr().unwrap().to_string();
    assert!(stderr.contains(&name) && stderr.contains("dropped"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let grown = peak_kb(running.id()) - before;
    assert!(grown < 10_000, "{grown} kB more than {before} kB");
    end(running);
}

#[test]
fn a_stuck_caller_that_goes_lets_the_others_go_on() {
    // All of standard input waited for it; nothing but its going says that it may flow again.
    let bytes = noise(20_000_000);
    let ways: [fn(TcpStream) -> Option<TcpStream>; 3] = [
        |stuck| {
            reset(stuck);
            None
        },
        |stuck| {
            drop(stuck);
            None
        },
        |stuck| {
            stuck.shutdown(Shutdown::Write).unwrap();
            Some(stuck)
        },
    ];
    std::thread::scope(|scope| {
        for go in ways {
            let bytes = &bytes;
            scope.spawn(move || {
                let (mut running, port) = waiting(&["-k"]);
                let [stuck, mut reader] = callers(&running, port);
                let count = Arc::new(AtomicUsize::new(0));
                let counter = Arc::clone(&count);
                let reading = std::thread::spawn(move || {
                    let (mut got, mut buf) = (Vec::new(), vec![0; 1 << 16]);
                    loop {
                        match reader.read(&mut buf) {
                            Ok(0) | Err(_) => return got,
                            Ok(n) => got.extend_from_slice(&buf[..n]),
                        }
                        counter.store(got.len(), Ordering::SeqCst);
                    }
                });
                running.send_all(&bytes[..]);
                stalled("a stall", || count.load(Ordering::SeqCst) as u64);
                let rest_of_it = go(stuck);
                identical(&reading.join().unwrap(), bytes);
                drop(rest_of_it);
                end(running);
            });
        }
    });
}

#[test]
fn what_a_caller_said_before_it_left_is_shown_although_input_waits_for_it() {
    // Writing to it fails; reading from it does not.
    let said = noise(60_000);
    for options in [&[][..], &["-k"], &["-k", "-C"]] {
        for size in [1, 200_000] {
            let dir = dir();
            let path = dir.path().join("socket");
            let unix = ncat(&[options, &["-v", "-l", "-U", arg(&path)]].concat());
            let (tcp, port) = waiting(options);
            let callers: [(_, Box<dyn Write>); 2] =
                [(unix, Box::new(call_unix(&path))), (tcp, Box::new(call(port)))];
            for (mut running, mut caller) in callers {
                eprintln!("{options:?}, {size} bytes wait for it: {}", running.stderr());
                wait_until("it to be in", || joined(&running) == 1);
                running.signal("STOP");
                wait_until("it to stop", || {
                    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id()));
                    stat.unwrap().rsplit(") ").next().unwrap().starts_with('T')
                });
                caller.write_all(&said).unwrap();
                drop(caller);
                running.send_all(vec![b'x'; size]);
                running.signal("CONT");
                running.wait_stdout_bytes(said.len());
                let output = if options.is_empty() { running.wait() } else { end(running) };
                identical(&output.stdout, &said);
            }
        }
    }
}

#[test]
fn a_slow_reader_that_is_alone_gets_every_byte() {
    let (mut running, port) = waiting(&["-k"]);
    let [mut slow] = callers(&running, port);
    let bytes = noise(40_000_000);
    running.send_all(&bytes[..]);
    // It reads a little, and then nothing for longer than a crowd would wait for it.
    let mut beginning = vec![0; 100_000];
    slow.read_exact(&mut beginning).unwrap();
    let start = now();
    wait_until("a long pause", || start.elapsed() > Duration::from_secs(3));
    let got = [beginning, rest(&mut slow)].concat();
    identical(&got, &bytes);
    let output = end(running);
    assert!(!output.stderr.contains("dropped"), "{}", output.stderr);
}

#[test]
fn a_caller_that_half_closes_still_gets_what_was_read_for_it() {
    let dir = dir();
    let bytes = noise(40_000_000);
    let mut input = File::open(file_in(&dir, "input", &bytes)).unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-lk", "127.0.0.1", "0"]).stdin(input.try_clone().unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = spawn(command);
    let [mut caller] = callers(&running, running.port());
    // The kernel's buffers and ours are full now.
    let read = stalled("a stall", || position(&mut input));
    assert!(read < bytes.len() as u64);
    caller.shutdown(Shutdown::Write).unwrap();
    let start = now();
    wait_until("a short pause", || start.elapsed() > Duration::from_millis(300));
    let got = rest(&mut caller);
    drop(caller);
    // Nobody else is here: what was read from standard input was read for this caller.
    let read = position(&mut input);
    identical(&got, &bytes[..usize::try_from(read).unwrap()]);
    end(running);
}

#[test]
fn output_that_nobody_reads_holds_the_callers_back_and_costs_no_memory() {
    const SIZE: usize = 40_000_000;
    let (mut drain, tx) = io::pipe().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-lk", "127.0.0.1", "0"]).stdin(Stdio::piped());
    command.stdout(tx).stderr(Stdio::piped());
    let running = spawn(command);
    let all: [_; 3] = callers(&running, running.port());
    let before = peak_kb(running.id());
    let taken = Arc::new(AtomicUsize::new(0));
    let writers = all.map(|mut caller| {
        let taken = Arc::clone(&taken);
        std::thread::spawn(move || {
            let chunk = vec![b'x'; 50_000];
            for _ in 0..SIZE / chunk.len() {
                caller.write_all(&chunk).unwrap();
                taken.fetch_add(chunk.len(), Ordering::SeqCst);
            }
            caller
        })
    });
    let count = stalled("a stall", || taken.load(Ordering::SeqCst) as u64);
    assert!(count < 3 * SIZE as u64, "everything was taken though nobody reads");
    let (mut buf, mut got) = (vec![0; 1 << 18], 0);
    while got < 3 * SIZE {
        match drain.read(&mut buf) {
            Ok(n) => got += n,
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::Interrupted),
        }
    }
    let grown = peak_kb(running.id()) - before;
    assert!(grown < 10_000, "{grown} kB more than {before} kB");
    for writer in writers {
        drop(writer.join().unwrap());
    }
    end(running);
}

#[test]
fn thousands_of_short_calls_leave_nothing_behind() {
    let (running, port) = waiting(&["-k", "-m", "5000"]);
    drop(callers::<1>(&running, port));
    wait_left(&running, 1);
    let before = descriptors(running.id());
    for i in 0..3000 {
        let mut caller = call(port);
        match i % 3 {
            0 => {}
            1 => caller.write_all(b"x").unwrap(),
            _ => reset(caller),
        }
    }
    running.wait_stdout_bytes(1000);
    wait_until("all to have left", || descriptors(running.id()) == before);
    let [mut last] = callers(&running, port);
    last.write_all(b"!").unwrap();
    running.wait_stdout("!");
    end(running);
}

// --- Limits ---

#[test]
fn callers_past_the_limit_are_turned_away_until_somebody_leaves() {
    let (running, port) = waiting(&["-k", "-m", "2"]);
    let [mut one, two] = callers(&running, port);
    assert_eq!(rest(&mut call(port)), b"");
    running.wait_stderr("connection limit reached (2)");
    one.write_all(b"from one.").unwrap();
    running.wait_stdout("from one.");
    drop(two);
    wait_left(&running, 1);
    let [mut three] = callers(&running, port);
    three.write_all(b"from three.").unwrap();
    running.wait_stdout("from three.");
    end(running).expect_stdout("from one.from three.");
}

#[test]
fn a_limit_of_none_turns_everybody_away() {
    let (running, port) = waiting(&["-k", "-m", "0"]);
    for _ in 0..3 {
        assert_eq!(rest(&mut call(port)), b"");
    }
    end(running).expect_stderr("connection limit reached (0)");
    let (running, port) = waiting(&["-m", "0"]);
    assert_eq!(rest(&mut call(port)), b"");
    running.wait().expect_code(0).expect_stderr("connection limit reached (0)");
}

#[test]
fn a_hundred_callers_are_the_limit_when_none_is_given() {
    let (running, port) = waiting(&["-k"]);
    let mut all: [_; 100] = callers(&running, port);
    assert_eq!(rest(&mut call(port)), b"");
    running.wait_stderr("connection limit reached (100)");
    all[99].write_all(b"from the last").unwrap();
    running.wait_stdout("from the last");
    end(running);
}

#[test]
fn a_limit_for_one_caller_is_said_to_be_of_no_use() {
    let (running, port) = waiting(&["-m", "5"]);
    running.wait_stderr("-m 5 has no effect without -k");
    call(port).write_all(b"x").unwrap();
    running.wait().expect_code(0).expect_stdout("x");
}

#[test]
fn out_of_descriptors_it_waits_without_spinning_and_goes_on() {
    const CALLERS: usize = 30;
    let line = "ulimit -n 16; exec \"$NCAT\" -v -lk 127.0.0.1 0";
    let mut running = tool::shell(line);
    let port = running.port();
    let mut all: Vec<_> = (0..CALLERS).map(|_| call(port)).collect();
    running.wait_stderr("cannot accept more callers");
    // Whoever is in is served as ever, and not everybody is in.
    running.send("to all");
    expect(&mut all[0], "to all");
    assert!(is_quiet(&mut all[CALLERS - 1]));
    let (before, start) = (ticks(running.id()), now());
    wait_until("a second", || start.elapsed() > Duration::from_secs(1));
    let spent = ticks(running.id()) - before;
    assert!(spent < 20, "{spent}0 ms of processor time in a second of waiting");
    // The others get in one by one as somebody leaves.
    for (i, mut caller) in all.into_iter().enumerate() {
        writeln!(caller, "from {i}.").unwrap();
        running.wait_stdout(&format!("from {i}.\n"));
    }
    let output = end(running);
    let said = output.stderr.matches("cannot accept more callers").count();
    assert!((1..=CALLERS).contains(&said), "{said} times");
}

#[test]
fn a_server_without_descriptors_serves_once_it_has_some_again() {
    if !have("prlimit") {
        return;
    }
    for options in [&["-k"][..], &[]] {
        let (mut running, port) = waiting(options);
        if !options.is_empty() {
            // By now everything is open that it opens for itself.
            drop(callers::<1>(&running, port));
            wait_left(&running, 1);
        }
        let id = running.id().to_string();
        let limit = |soft: &str| {
            let nofile = format!("--nofile={soft}:");
            let status = Command::new("prlimit").args(["--pid", &id, &nofile]).status().unwrap();
            assert!(status.success());
        };
        // Not one more than it has.
        limit("3");
        let mut caller = call(port);
        caller.write_all(b"hello").unwrap();
        let start = now();
        wait_until("half a second", || start.elapsed() > Duration::from_millis(500));
        assert!(!running.has_ended(), "{}", running.stderr());
        assert!(ticks(running.id()) < 20, "it spins");
        limit("100");
        running.wait_stdout("hello");
        end(running);
    }
}

#[test]
fn nothing_spins_while_nothing_moves() {
    let (alone, _) = waiting(&[]);
    let (alone_many, _) = waiting(&["-k"]);
    let (talking, port) = waiting(&[]);
    let one: [_; 1] = callers(&talking, port);
    let (many, port) = waiting(&["-k"]);
    let two: [_; 2] = callers(&many, port);
    // One that has said all it has to say, and one whose caller has.
    let (mut silent, port) = waiting(&["-k"]);
    let [mut listener] = callers(&silent, port);
    silent.end_input();
    assert_eq!(rest(&mut listener), b"");
    let (mut half, port) = waiting(&[]);
    let [mut waiter] = callers(&half, port);
    half.end_input();
    assert_eq!(rest(&mut waiter), b"");
    // One whose output nobody reads.
    let mut command = Command::new(NCAT);
    let (drain, tx) = io::pipe().unwrap();
    command.args(["-v", "-lk", "127.0.0.1", "0"]).stdin(Stdio::piped());
    command.stdout(tx).stderr(Stdio::piped());
    let blocked = spawn(command);
    let [mut talker] = callers(&blocked, blocked.port());
    talker.set_nonblocking(true).unwrap();
    let mut taken = 0;
    stalled("a stall", || {
        while let Ok(n) = talker.write(&[0; 10_000]) {
            taken += n as u64;
        }
        taken
    });
    // One whose output nobody will ever read.
    let mut command = Command::new(NCAT);
    let (gone, tx) = io::pipe().unwrap();
    command.args(["-v", "-l", "127.0.0.1", "0"]).stdin(Stdio::piped());
    command.stdout(tx).stderr(Stdio::piped());
    let unheard = spawn(command);
    let nobody: [_; 1] = callers(&unheard, unheard.port());
    drop(gone);

    let all = [alone, alone_many, talking, many, silent, half, blocked, unheard];
    let before: Vec<_> = all.iter().map(|running| ticks(running.id())).collect();
    let start = now();
    wait_until("a second", || start.elapsed() > Duration::from_secs(1));
    for (i, (running, before)) in all.iter().zip(before).enumerate() {
        let spent = ticks(running.id()) - before;
        assert!(spent < 10, "number {i}: {spent}0 ms of processor time in a second");
    }
    drop((one, two, listener, waiter, talker, drain, nobody));
}

// --- Where it waits, and whom it tells ---

#[test]
fn without_an_address_it_waits_on_one_port_of_both_families() {
    let running = ncat(&["-v", "-lk", "0"]);
    let port = running.port();
    let wanted = format!("Listening on [::]:{port}\nncat: Listening on 0.0.0.0:{port}\n");
    running.wait_stderr(&wanted);
    for address in ["127.0.0.1", "::1"] {
        let mut caller = TcpStream::connect((address, port)).unwrap();
        write!(caller, "by {address}.").unwrap();
        running.wait_stdout(&format!("by {address}."));
    }
    let output = end(running).expect_stderr("Connection from [::1]:");
    output.expect_stderr("Connection from 127.0.0.1:");
}

#[test]
fn a_caller_by_one_family_closes_the_door_of_the_other() {
    for (first, second) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        let running = ncat(&["-v", "-l", "0"]);
        let port = running.port();
        let caller = TcpStream::connect((first, port)).unwrap();
        running.wait_stderr("Connection from ");
        for address in [first, second] {
            let refused = TcpStream::connect((address, port)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{address}");
        }
        drop(caller);
        running.wait().expect_code(0);
    }
}

#[test]
fn a_family_that_is_asked_for_is_the_only_one() {
    for (option, place, yes, no) in
        [("-4", "0.0.0.0", "127.0.0.1", "::1"), ("-6", "[::]", "::1", "127.0.0.1")]
    {
        let running = ncat(&["-v", option, "-lk", "0"]);
        let port = running.port();
        running.wait_stderr(&format!("Listening on {place}:{port}\n"));
        assert!(TcpStream::connect((yes, port)).is_ok());
        let refused = TcpStream::connect((no, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let output = end(running);
        assert_eq!(output.stderr.matches("Listening on").count(), 1, "{}", output.stderr);
    }
}

#[test]
fn every_way_of_writing_an_address_is_where_it_waits() {
    for (words, place) in [
        ("127.0.0.1 0", "127.0.0.1"),
        ("127.0.0.1:0", "127.0.0.1"),
        ("tcp://127.0.0.1:0", "127.0.0.1"),
        ("-p 0 127.0.0.1", "127.0.0.1"),
        ("127.0.0.2 0", "127.0.0.2"),
        ("-4 localhost 0", "127.0.0.1"),
        ("-4 localhost:0", "127.0.0.1"),
        ("-n ::1 0", "[::1]"),
        ("[::1]:0", "[::1]"),
        ("[::1] 0", "[::1]"),
        ("0", "[::]"),
        (":0", "[::]"),
        ("-p 0", "[::]"),
    ] {
        let running = ncat(&[&["-v", "-l"][..], &words.split(' ').collect::<Vec<_>>()].concat());
        let port = running.port();
        running.wait_stderr(&format!("Listening on {place}:{port}\n"));
        let host = place.trim_matches(['[', ']']).replace("::", "::1").replace("::11", "::1");
        drop(TcpStream::connect((host, port)).unwrap());
        running.wait().expect_code(0);
    }
}

#[test]
fn a_place_that_cannot_be_had_is_an_error_with_its_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let port = place.port().to_string();
    for options in [&[][..], &["-k"]] {
        let words = [options, &["-v", "-l", "127.0.0.1", &port]].concat();
        let output = run(&words, "x").expect_code(2).expect_stdout("");
        assert!(!output.stderr.contains("Listening"), "{}", output.stderr);
        output.expect_stderr(&format!("cannot listen on {place}: address already in use"));
    }
    // An address for documentation (RFC 5737) that cannot be this machine's.
    let output = run(&["-l", "203.0.113.1", "0"], "").expect_code(2);
    output.expect_stderr("cannot listen on 203.0.113.1:0: cannot assign requested address");
    let output = run(&["-n", "-l", "no-such-host", "0"], "").expect_code(2);
    output.expect_stderr("cannot find the address of no-such-host: name or service not known");
    let output = run(&["-l", "-4", "::1", "0"], "").expect_code(2);
    output.expect_stderr("::1").expect_stderr("-4");
}

#[test]
fn when_one_family_is_taken_nobody_is_told_that_it_is_ready() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = dir();
    let port_file = dir.path().join("port");
    let words = ["-v", "--test", "--announce", "--port-file", arg(&port_file), "-l", &port];
    let output = run(&words, "").expect_code(2).expect_stdout("");
    assert!(!output.stderr.contains("Listening on"), "{}", output.stderr);
    assert!(!output.stderr.contains("NCAT TEST"), "{}", output.stderr);
    assert!(!port_file.exists());
    output.expect_stderr(&format!("cannot listen on 0.0.0.0:{port}: address already in use"));
}

#[test]
fn nobody_is_told_that_it_is_ready_if_it_then_fails_to_start() {
    // With few descriptors it fails at one point or another, or it serves.
    for limit in 8..20 {
        let line = format!("ulimit -n {limit}; exec \"$NCAT\" -v --announce -lk 127.0.0.1 0");
        let mut running = tool::shell(&line);
        wait_until("it to be ready or to give up", || {
            running.stderr().contains("Listening on") || running.has_ended()
        });
        if running.stderr().contains("Listening on") {
            end(running);
        } else {
            let output = running.wait().expect_code(2).expect_stdout("");
            output.expect_stderr("too many open files");
        }
    }
}

#[test]
fn announce_says_on_standard_output_where_it_waits() {
    let dir = dir();
    let path = dir.path().join("socket");
    let unix = format!("unix:{}", arg(&path));
    for words in [&["127.0.0.1", "0"][..], &["0"], &["-U", arg(&path)], &[&unix]] {
        for options in [&[][..], &["-k"]] {
            let running = ncat(&[options, &["-v", "--announce", "-l"], words].concat());
            let wanted = match words {
                ["0"] => {
                    let port = running.port();
                    format!("listening tcp [::]:{port}\nlistening tcp 0.0.0.0:{port}\n")
                }
                ["127.0.0.1", "0"] => format!("listening tcp 127.0.0.1:{}\n", running.port()),
                _ => format!("listening unix {}\n", arg(&path)),
            };
            running.wait_stdout(&wanted);
            // What is announced is true, and the data comes behind it.
            if wanted.contains("unix") {
                UnixStream::connect(&path).unwrap().write_all(b"data").unwrap();
            } else {
                call(running.port()).write_all(b"data").unwrap();
            }
            running.wait_stdout("data");
            let output = match options {
                [] => running.wait().expect_code(0),
                _ => end(running),
            };
            output.expect_stdout(&format!("{wanted}data"));
        }
    }
}

#[test]
fn a_port_file_holds_the_port_and_is_never_half() {
    let dir = dir();
    let file = file_in(&dir, "port", "old");
    for words in [&["127.0.0.1", "0"][..], &["0"]] {
        let options = ["-v", "--port-file", arg(&file), "-l"];
        let running = ncat(&[&options, words].concat());
        let port = running.port();
        wait_until("the port file", || {
            let text = std::fs::read_to_string(&file).unwrap();
            // Never anything else.
            assert!(text == format!("{port}\n") || !text.is_empty(), "{text:?}");
            text == format!("{port}\n")
        });
        drop(call(port));
        running.wait().expect_code(0);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
    let nowhere = dir.path().join("missing/port");
    let output = run(&["--port-file", arg(&nowhere), "-l", "127.0.0.1", "0"], "").expect_code(2);
    output.expect_stderr(arg(&nowhere)).expect_stderr("no such file or directory");
}

#[test]
fn test_says_once_for_each_socket_that_it_listens() {
    for (words, count) in [(&["127.0.0.1", "0"][..], 1), (&["0"], 2), (&["-4", "0"], 1)] {
        let running = ncat(&[&["-v", "--test", "-l"], words].concat());
        let port = running.port();
        wait_until("the lines", || running.stderr().matches("NCAT TEST: LISTEN").count() == count);
        drop(call(port));
        let output = running.wait().expect_code(0).expect_stdout("");
        let lines = output.stderr.lines().filter(|line| *line == "NCAT TEST: LISTEN").count();
        assert_eq!(lines, count, "{}", output.stderr);
    }
}

#[test]
fn every_socket_listens_before_anybody_is_told() {
    let traced = |program: &str| Command::new("strace").args(["-o", "/dev/null", program]).status();
    if !have("strace") || !traced("true").is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace does not work here");
        return;
    }
    let dir = dir();
    let log = dir.path().join("log");
    let port_file = dir.path().join("port");
    let words = ["-f", "-s", "100", "-e", "trace=listen,write,rename,renameat,renameat2"];
    let ours = ["-v", "--test", "--announce", "--port-file", arg(&port_file), "-l", "0"];
    let running = start("strace", &[&words, &["-o", arg(&log), NCAT][..], &ours].concat());
    wait_until("the port file", || port_file.exists());
    drop(call(std::fs::read_to_string(&port_file).unwrap().trim().parse().unwrap()));
    running.wait().expect_code(0);
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let listens: Vec<_> = (0..lines.len()).filter(|i| lines[*i].contains("listen(")).collect();
    let said = lines.iter().position(|line| {
        ["Listening on", "NCAT TEST", "listening tcp", "rename"].iter().any(|w| line.contains(w))
    });
    assert_eq!(listens.len(), 2, "{log}");
    assert!(said.is_some_and(|said| said > listens[1]), "{log}");
}

// --- Time ---

#[test]
fn silence_ends_a_server_with_status_2_however_many_are_there() {
    let cases = [(&[][..], 1), (&["-k"], 1), (&["-k"], 3)];
    let threads = cases.map(|(options, n)| {
        std::thread::spawn(move || {
            let (running, port) = waiting(&[options, &["-i", "1"]].concat());
            let start = now();
            let mut all: Vec<_> = (0..n).map(|_| call(port)).collect();
            for (i, caller) in all.iter_mut().enumerate() {
                caller.write_all(b"x").unwrap();
                running.wait_stdout_bytes(i + 1);
            }
            let output = running.wait().expect_code(2).expect_stderr("(-i)");
            assert!(start.elapsed() >= Duration::from_secs(1));
            output.expect_stdout(&"x".repeat(n));
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn silence_counts_only_while_somebody_is_there() {
    let pause = || {
        let start = now();
        wait_until("more than the time", || start.elapsed() > Duration::from_millis(1200));
    };
    let threads = [&[][..], &["-k"]].map(|options| {
        std::thread::spawn(move || {
            let (mut running, port) = waiting(&[options, &["-i", "1"]].concat());
            pause();
            assert!(!running.has_ended());
            if !options.is_empty() {
                // Whoever comes and goes leaves no clock behind that ticks.
                drop(callers::<1>(&running, port));
                wait_left(&running, 1);
                pause();
                assert!(!running.has_ended());
            }
            let mut last = call(port);
            last.write_all(b"hello").unwrap();
            running.wait().expect_code(2).expect_stdout("hello").expect_stderr("(-i)");
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn the_end_of_input_and_q_end_a_server_with_status_2() {
    let cases = [(&[][..], 1), (&["-k"], 1), (&["-k"], 2), (&["-k", "--no-shutdown"], 1)];
    let threads = cases.map(|(options, n)| {
        std::thread::spawn(move || {
            let (mut running, port) = waiting(&[options, &["-q", "400ms"]].concat());
            let mut all: Vec<_> = (0..n).map(|_| call(port)).collect();
            wait_until("everybody to be in", || joined(&running) == n);
            let start = now();
            running.send("all");
            running.end_input();
            for caller in &mut all {
                expect(caller, "all");
            }
            running.wait().expect_code(2).expect_stderr("(-q)");
            assert!(start.elapsed() >= Duration::from_millis(400));
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

// --- One direction only ---

#[test]
fn recv_only_waits_for_its_caller_on_one_socket_and_on_two() {
    // ncat 7.991 ended at once where it had one socket.
    for words in [&["127.0.0.1", "0"][..], &["0"], &["-4", "0"], &["-n", "127.0.0.1", "0"]] {
        for options in [&[][..], &["-k"]] {
            let dir = dir();
            let mut input = File::open(file_in(&dir, "input", "precious")).unwrap();
            let mut command = Command::new(NCAT);
            command.args([options, &["-v", "--recv-only", "-l"], words].concat());
            command.stdin(input.try_clone().unwrap());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let running = spawn(command);
            let mut caller = call(running.port());
            for text in ["one", "two"] {
                caller.write_all(text.as_bytes()).unwrap();
                running.wait_stdout(text);
            }
            assert!(is_quiet(&mut caller), "it said something, or that it is done");
            drop(caller);
            match options {
                [] => running.wait().expect_code(0).expect_stdout("onetwo"),
                _ => {
                    wait_left(&running, 1);
                    end(running).expect_stdout("onetwo")
                }
            };
            assert_eq!(position(&mut input), 0, "the input was read");
        }
    }
}

#[test]
fn send_only_drops_what_callers_say_and_ends_with_the_input() {
    for options in [&[][..], &["-k"]] {
        let (mut running, port) = waiting(&[options, &["--send-only"]].concat());
        let [mut caller] = callers(&running, port);
        caller.write_all(b"nobody wants this").unwrap();
        running.send_all("all");
        assert_eq!(rest(&mut caller), b"all");
        running.wait().expect_code(0).expect_stdout("");
    }
}

#[test]
fn send_only_ends_when_its_only_caller_does() {
    let (running, port) = waiting(&["--send-only"]);
    drop(callers::<1>(&running, port));
    running.wait().expect_code(0);
}

#[test]
fn send_only_delivers_everything_to_all_before_it_ends() {
    let bytes = noise(5_000_000);
    let (mut running, port) = waiting(&["-k", "--send-only"]);
    let all: [_; 3] = callers(&running, port);
    running.send_all(&bytes[..]);
    std::thread::scope(|scope| {
        for mut caller in all {
            let (bytes, mut twin) = (&bytes, caller.try_clone().unwrap());
            // They talk all the time, and that must not turn the end into a reset.
            scope.spawn(move || while twin.write_all(&[7; 9000]).is_ok() {});
            scope.spawn(move || {
                identical(&rest(&mut caller), bytes);
                caller.shutdown(Shutdown::Both).ok();
            });
        }
    });
    running.wait().expect_code(0).expect_stdout("");
}

#[test]
fn send_only_waits_for_a_caller_before_it_reads_and_ends() {
    // `ncat -lk --send-only < file` gives the file to whoever comes first.
    let dir = dir();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-lk", "--send-only", "127.0.0.1", "0"]);
    command.stdin(File::open(file_in(&dir, "input", "all of it")).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = spawn(command);
    let port = running.port();
    assert!(!running.has_ended());
    assert_eq!(rest(&mut call(port)), b"all of it");
    running.wait().expect_code(0);
}

// --- Local ends ---

#[test]
fn output_that_fails_ends_a_room_as_it_ends_a_conversation() {
    let (rx, broken) = io::pipe().unwrap();
    drop(rx);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let cases = [
        (Stdio::from(full), 2, "cannot write standard output: no space left on device"),
        (Stdio::from(broken), 0, ""),
    ];
    for (stdout, code, words) in cases {
        let mut command = Command::new(NCAT);
        command.args(["-v", "-lk", "127.0.0.1", "0"]).stdin(Stdio::piped());
        command.stdout(stdout).stderr(Stdio::piped());
        let running = spawn(command);
        let mut caller = call(running.port());
        // Again and again: another test that is just starting a program may hold a copy of the
        // pipe for a moment.
        let sender = std::thread::spawn(move || while caller.write_all(b"data").is_ok() {});
        running.wait().expect_code(code).expect_stderr(words);
        sender.join().unwrap();
    }
    let running = tool::shell("exec \"$NCAT\" -v -lk 127.0.0.1 0 >&-");
    let mut caller = call(running.port());
    caller.write_all(b"data").unwrap();
    let output = running.wait().expect_code(2);
    output.expect_stderr("cannot write standard output: it is closed");
    assert_eq!(rest(&mut caller), b"", "what it sent came back");
}

#[test]
fn closed_input_is_an_input_at_its_end() {
    let running = tool::shell("exec \"$NCAT\" -v -lk 127.0.0.1 0 <&-");
    let port = running.port();
    let mut caller = call(port);
    assert_eq!(rest(&mut caller), b"");
    caller.write_all(b"answer").unwrap();
    running.wait_stdout("answer");
    end(running);
}

#[test]
fn a_room_is_recorded_both_ways() {
    let dir = dir();
    let (raw, hex) = (dir.path().join("raw"), dir.path().join("hex"));
    let (mut running, port) = waiting(&["-k", "-C", "-o", arg(&raw), "-x", arg(&hex)]);
    let mut all: [_; 2] = callers(&running, port);
    running.send("to all\n");
    for caller in &mut all {
        expect(caller, "to all\r\n");
    }
    all[1].write_all(b"Yes\n").unwrap();
    running.wait_stdout("Yes\n");
    end(running);
    assert_eq!(std::fs::read_to_string(raw).unwrap(), "to all\r\nYes\n");
    let expected = "\
0000   74 6f 20 61 6c 6c 0d 0a                           to.all..        
0000   59 65 73 0a                                       Yes.            
";
    assert_eq!(std::fs::read_to_string(hex).unwrap(), expected);
}

#[test]
fn a_log_of_a_room_that_cannot_be_written_loses_no_data() {
    let (mut running, port) = waiting(&["-k", "--send-only", "-o", "/dev/full"]);
    let mut all: [_; 2] = callers(&running, port);
    running.send_all("all");
    for caller in &mut all {
        assert_eq!(rest(caller), b"all");
    }
    let output = running.wait().expect_code(2).expect_stderr("log");
    assert_eq!(output.stderr.matches("no space left on device").count(), 1, "{}", output.stderr);
}

#[test]
fn a_log_that_failed_is_told_of_even_if_a_signal_or_silence_ends_the_room() {
    for options in [&[][..], &["-i", "1"]] {
        let (running, port) = waiting(&[options, &["-k", "-o", "/dev/full"]].concat());
        let [mut caller] = callers(&running, port);
        caller.write_all(b"hello").unwrap();
        running.wait_stdout("hello");
        let output = match options {
            [] => end(running),
            _ => running.wait().expect_code(2).expect_stderr("(-i)"),
        };
        output.expect_stderr("no space left on device").expect_stdout("hello");
    }
}

#[test]
fn a_room_counts_what_went_over() {
    let (mut running, port) = waiting(&["-k", "--send-only"]);
    let [mut caller] = callers(&running, port);
    caller.write_all(b"seven b").unwrap();
    running.send_all("12345");
    assert_eq!(rest(&mut caller), b"12345");
    running.wait().expect_code(0).expect_stderr("5 bytes sent, ");
}

// --- Signals ---

/// Ours with all signals as the system has them, whatever the runner of the tests ignores.
fn with_signals(how: &str, words: &[&str]) -> Running {
    let mut command = Command::new("env");
    command.arg(how).arg(NCAT).args(words);
    start_command(command)
}

const DEFAULT: &str = "--default-signal=INT,QUIT,HUP,TERM";

#[test]
fn a_signal_ends_every_state_with_128_and_its_number() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1), ("QUIT", 3)] {
        for options in [&["-v", "-l"][..], &["-v", "-lk"]] {
            for n in [0, 1, 3] {
                if n == 3 && options == ["-v", "-l"] {
                    continue;
                }
                eprintln!("{name}, {n} callers, {options:?}");
                let words = [options, &["127.0.0.1", "0"]].concat();
                let running = with_signals(DEFAULT, &words);
                let port = running.port();
                let mut all: Vec<_> = (0..n).map(|_| call(port)).collect();
                wait_until("everybody to be in", || joined(&running) == n);
                running.signal(name);
                running.wait().expect_code(128 + number).expect_stdout("");
                assert!(all.iter_mut().all(|caller| rest(caller).is_empty()));
            }
        }
    }
}

#[test]
fn a_signal_removes_the_socket_file_and_says_nothing() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1), ("QUIT", 3)] {
        for option in ["-lU", "-lkU"] {
            for n in [0, 1] {
                let dir = dir();
                let path = dir.path().join("socket");
                let running = with_signals(DEFAULT, &[option, arg(&path)]);
                let mut all: Vec<_> = (0..n).map(|_| call_unix(&path)).collect();
                for caller in &mut all {
                    caller.write_all(b"hello").unwrap();
                    running.wait_stdout("hello");
                }
                wait_until("the socket", || n > 0 || path.exists());
                running.signal(name);
                let output = running.wait().expect_code(128 + number);
                assert_eq!(output.stderr, "");
                assert!(!path.exists(), "{name} {option}");
            }
        }
    }
}

#[test]
fn a_signal_ends_a_conversation_that_is_stuck() {
    for option in ["-l", "-lk"] {
        // Nobody reads its output, and its peer reads nothing.
        let (drain, tx) = io::pipe().unwrap();
        let mut command = Command::new("env");
        command.args([DEFAULT, NCAT, "-v", option, "127.0.0.1", "0"]);
        command.stdin(File::open("/dev/zero").unwrap()).stdout(tx).stderr(Stdio::piped());
        let running = spawn(command);
        let [caller] = callers(&running, running.port());
        let mut twin = caller.try_clone().unwrap();
        twin.set_nonblocking(true).unwrap();
        let mut taken = 0;
        stalled("a stall", || {
            while let Ok(n) = twin.write(&[0; 10_000]) {
                taken += n as u64;
            }
            taken
        });
        running.signal("TERM");
        running.wait().expect_code(143);
        drop((caller, drain));
    }
}

#[test]
fn a_signal_ends_a_farewell_too() {
    // The input is sent and over; the peer does not read, and its kernel has not taken it all.
    let dir = dir();
    let mut input = File::open(file_in(&dir, "input", noise(1_500_000))).unwrap();
    let mut command = Command::new("env");
    command.args([DEFAULT, NCAT, "-v", "--send-only", "-l", "127.0.0.1", "0"]);
    command.stdin(input.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = spawn(command);
    let [caller] = callers(&running, running.port());
    wait_until("the input to be read", || position(&mut input) == 1_500_000);
    let start = now();
    running.signal("TERM");
    running.wait().expect_code(143);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(caller);
}

#[test]
fn a_signal_that_was_ignored_at_start_stays_ignored() {
    for option in ["-l", "-lk"] {
        let how = "--ignore-signal=HUP";
        let running = with_signals(how, &["-v", option, "127.0.0.1", "0"]);
        let port = running.port();
        running.signal("HUP");
        let [mut caller] = callers(&running, port);
        running.signal("HUP");
        caller.write_all(b"still here").unwrap();
        running.wait_stdout("still here");
        end(running);
    }
}

// --- Socket files ---

#[test]
fn a_stale_socket_file_is_replaced() {
    for option in ["-lU", "-lkU"] {
        let dir = dir();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let running = ncat(&["-v", option, arg(&path)]);
        running.wait_stderr("Listening on ");
        let mut caller = call_unix(&path);
        caller.write_all(b"hello").unwrap();
        running.wait_stdout("hello");
        end(running);
        assert!(!path.exists());
    }
}

#[test]
fn a_busy_socket_file_is_left_alone() {
    for option in ["-lU", "-lkU"] {
        let dir = dir();
        let path = dir.path().join("socket");
        let busy = UnixListener::bind(&path).unwrap();
        let output = run(&["-v", option, arg(&path)], "").expect_code(2).expect_stdout("");
        assert!(!output.stderr.contains("Listening on"), "{}", output.stderr);
        output.expect_stderr(arg(&path)).expect_stderr("address already in use");
        let mut caller = call_unix(&path);
        caller.write_all(b"hello").unwrap();
        drop(caller);
        // Whoever tried to find out whether it is busy may have called, too.
        busy.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        while let Ok((mut line, _)) = busy.accept() {
            line.set_nonblocking(false).unwrap();
            said.push(rest(&mut line));
        }
        assert_eq!(said.last().unwrap(), b"hello");
    }
}

#[test]
fn finding_a_socket_file_busy_does_not_use_up_its_only_caller() {
    // Two of ours on one path, without -k: the second must not count as the first's caller.
    let dir = dir();
    let path = dir.path().join("socket");
    let first = ncat(&["-v", "-lU", arg(&path)]);
    first.wait_stderr("Listening on ");
    for second in ["-lU", "-luU"] {
        run(&[second, arg(&path)], "").expect_code(2).expect_stderr("address already in use");
    }
    let mut caller = UnixStream::connect(&path).expect("the first one is still there");
    caller.write_all(b"hello").unwrap();
    drop(caller);
    first.wait().expect_code(0).expect_stdout("hello");
}

#[test]
fn what_is_no_socket_is_never_replaced() {
    let dir = dir();
    let path = file_in(&dir, "precious", "precious");
    let output = run(&["-lU", arg(&path)], "").expect_code(2);
    let output = output.expect_stderr(arg(&path)).expect_stderr("address already in use");
    output.expect_stderr("is no socket");
    run(&["-U", arg(&path)], "").expect_code(1).expect_stderr("this is no socket");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    // A link to nowhere is somebody's, too.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("missing"), &link).unwrap();
    run(&["-lU", arg(&link)], "").expect_code(2).expect_stderr(arg(&link));
    assert!(link.symlink_metadata().is_ok());
    let missing = dir.path().join("missing/socket");
    let output = run(&["-lU", arg(&missing)], "").expect_code(2);
    output.expect_stderr(arg(&missing)).expect_stderr("no such file or directory");
}

#[test]
fn a_socket_file_that_is_somebody_else_s_by_now_stays() {
    let dir = dir();
    let path = dir.path().join("socket");
    let running = ncat(&["-v", "-lkU", arg(&path)]);
    running.wait_stderr("Listening on ");
    std::fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    end(running);
    assert!(UnixStream::connect(&path).is_ok(), "its end took away another's socket");
}

#[test]
fn a_room_leaves_the_flags_of_inherited_pipes_as_they_were() {
    let (rx, mut feed) = io::pipe().unwrap();
    let (mut drain, tx) = io::pipe().unwrap();
    let flags = |fd: std::os::fd::BorrowedFd<'_>| rustix::fs::fcntl_getfl(fd).unwrap();
    let before = (flags(rx.as_fd()), flags(tx.as_fd()));
    let mut command = Command::new(NCAT);
    command.args(["-v", "-lk", "127.0.0.1", "0"]);
    command.stdin(rx.try_clone().unwrap()).stdout(tx.try_clone().unwrap());
    command.stderr(Stdio::piped());
    let running = spawn(command);
    let [mut caller] = callers(&running, running.port());
    feed.write_all(b"down").unwrap();
    expect(&mut caller, "down");
    caller.write_all(b"up").unwrap();
    expect(&mut drain, "up");
    assert_eq!((flags(rx.as_fd()), flags(tx.as_fd())), before, "while it runs");
    end(running);
    assert_eq!((flags(rx.as_fd()), flags(tx.as_fd())), before, "after its end");
}
