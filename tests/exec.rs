//! Commands in the place of standard input and output.

mod tool;

use rustix::process::{Pid, test_kill_process};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use tool::{NCAT, arg, dir, file_in, ncat, start_command, wait_until};

fn runs(id: &str) -> bool {
    let id = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
    // A zombie that nobody has fetched yet is gone, too.
    test_kill_process(id).is_ok()
        && std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()))
            .is_ok_and(|stat| !stat.contains(") Z "))
}

/// Says who it is, and leaves a process behind that does not want to end when asked.
const STUBBORN: &str = r#"(trap "" TERM; exec sleep 600) & echo $!; wait"#;

fn caller_of(server: &tool::Running) -> (TcpStream, String) {
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut id = String::new();
    let mut byte = [0];
    while !id.ends_with('\n') {
        caller.read_exact(&mut byte).unwrap();
        id.push(char::from(byte[0]));
    }
    assert!(runs(&id));
    (caller, id)
}

#[test]
fn a_signal_ends_the_whole_group_of_a_command_stubborn_or_not() {
    for more in [&["-l"][..], &["-l", "-k"]] {
        let server = ncat(&[&["-v", "127.0.0.1", "0", "-c", STUBBORN], more].concat());
        let (_caller, id) = caller_of(&server);
        server.signal("TERM");
        server.wait().expect_code(143);
        wait_until("the stubborn one is gone", || !runs(&id));
    }
}

#[test]
fn a_lost_peer_ends_the_whole_group_of_its_command() {
    let server = ncat(&["-v", "-l", "-k", "127.0.0.1", "0", "-c", STUBBORN]);
    let (caller, id) = caller_of(&server);
    // A reset: it goes with bytes that nobody has read.
    socket2::SockRef::from(&caller).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(caller);
    wait_until("the stubborn one is gone", || !runs(&id));
}

#[test]
fn what_a_command_leaves_behind_of_its_own_accord_stays() {
    let server = ncat(&["-v", "-l", "127.0.0.1", "0", "-c", "sleep 600 >&2 & echo $!"]);
    let (mut caller, id) = caller_of(&server);
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(caller.read(&mut [0]).unwrap(), 0);
    let left = runs(&id);
    // It holds our standard error open, so it must go before we are waited for.
    let killed = Command::new("kill").args(["-9", id.trim()]).status().unwrap();
    assert!(left && killed.success());
    server.wait().expect_code(0);
}

#[test]
fn a_program_is_a_path_from_here_and_not_looked_up_in_path() {
    let dir = dir();
    let script = file_in(&dir, "here.sh", "#!/bin/sh\necho \"$0 $*\"\n");
    std::process::Command::new("chmod").args(["+x", arg(&script)]).status().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-l", "127.0.0.1", "0", "-e", "here.sh a b"]).current_dir(dir.path());
    let server = start_command(command);
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("here.sh a b\n"), "{said}");
    server.wait().expect_code(0);

    let mut command = Command::new(NCAT);
    command.args(["-v", "-l", "127.0.0.1", "0", "-e", "cat"]).current_dir(dir.path());
    let server = start_command(command);
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.write_all(b"hello").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(caller.read_to_end(&mut Vec::new()).unwrap(), 0);
    server.wait().expect_stderr("cannot run cat").expect_stderr("whole path");
}
