//! Bytes that go between pipes and a socket do so outside the process once there are many of them:
//! what ends such a conversation is told as ever.

mod tool;

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tool::{NCAT, arg, dir, file_in, ncat, noise, same, shell};

#[test]
fn a_reset_in_the_middle_of_much_is_no_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let running = ncat(&["127.0.0.1", &port]);
    let mut peer = tool::accept(&listener);
    let much = noise(2_000_000);
    peer.write_all(&much).unwrap();
    running.wait_stdout_bytes(much.len());
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let output = running.wait().expect_code(1).expect_stderr("connection reset by peer");
    same(&output.stdout, &much);
}

#[test]
fn who_has_read_enough_of_much_ends_it_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = std::thread::spawn(move || {
        let mut peer = tool::accept(&listener);
        let much = noise(1_000_000);
        // Until nobody listens any more.
        while peer.write_all(&much).is_ok() {}
    });
    let line = format!("({NCAT} 127.0.0.1 {port}; echo $? >&2) | head -c 3000000 | wc -c");
    let output = shell(&line).finish().expect_code(0);
    assert_eq!(output.text().trim(), "3000000");
    assert_eq!(output.stderr.trim(), "0");
    talk.join().unwrap();
}

#[test]
fn who_reads_nothing_holds_much_up_and_then_gets_all_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut running = ncat(&["127.0.0.1", &port]);
    let much = noise(40_000_000);
    running.send_all(much.clone());
    let mut peer = tool::accept(&listener);
    // A part of it, and then a rest that is longer than every queue on the way.
    let mut got = vec![0; 5_000_000];
    peer.read_exact(&mut got).unwrap();
    peer.read_to_end(&mut got).unwrap();
    drop(peer);
    same(&got, &much);
    running.wait().expect_code(0);
}

#[test]
fn a_command_that_is_gone_has_left_nothing_behind() {
    // Its pipe is wide, so it may be gone when much is still in there. Once that was lost with it.
    let dir = dir();
    let much = noise(6_000_000);
    let line = format!("/bin/cat {}", arg(&file_in(&dir, "words", &much)));
    for options in [&["-e"][..], &["-k", "-e"]] {
        let (server, port) = tool::serving(&[options, &[&line]].concat());
        // What the kernel would keep for a slow reader is bounded, or it would take all.
        let caller = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        caller.set_recv_buffer_size(64 * 1024).unwrap();
        caller.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        let mut caller = TcpStream::from(caller);
        caller.set_read_timeout(Some(tool::DEADLINE)).unwrap();
        // Nothing more is read than it takes to let the command end.
        let mut got = vec![0; 100_000];
        caller.read_exact(&mut got).unwrap();
        let id = server.id();
        let children = format!("/proc/{id}/task/{id}/children");
        while !std::fs::read_to_string(&children).unwrap().trim().is_empty() {
            let mut piece = [0; 10_000];
            let n = caller.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..n]);
        }
        caller.read_to_end(&mut got).unwrap();
        same(&got, &much);
    }
}

#[test]
fn what_stands_behind_urgent_data_is_not_left_waiting() {
    // A read ends at an urgent mark, with less than there was room for: that is no end.
    for options in [&[][..], &["-C"], &["-t"]] {
        let (server, port) = tool::serving(options);
        let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (&caller).write_all(b"abc").unwrap();
        rustix::net::send(&caller, b"!", rustix::net::SendFlags::OOB).unwrap();
        (&caller).write_all(b"def").unwrap();
        server.wait_stdout("abcdef");
        drop(caller);
        server.wait().expect_code(0);
    }
}
