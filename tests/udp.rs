//! UDP: whose datagrams are whose.

mod tool;

use std::net::UdpSocket;
use tool::{ncat, wait_until};

/// The states of a process, as proc(5) has them.
fn is_stopped(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

fn peer(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
}

#[test]
fn what_another_sent_meanwhile_is_not_taken_for_the_first_peers() {
    let mut server = ncat(&["-v", "-u", "-l", "127.0.0.1", "0"]);
    let port = server.port();
    server.signal("STOP");
    wait_until("it stands still", || is_stopped(server.id()));
    // All three wait in its queue before it can look at the first.
    let (first, other) = (peer(port), peer(port));
    first.send(b"one ").unwrap();
    other.send(b"of another ").unwrap();
    first.send(b"two").unwrap();
    server.signal("CONT");
    server.wait_stdout("two");
    assert_eq!(server.stdout(), b"one two");
    // The first is who is answered.
    server.send("answer");
    let mut buf = [0; 16];
    first.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let n = first.recv(&mut buf).unwrap();
    assert_eq!(&buf[..n], b"answer");
}

#[test]
fn a_url_says_udp_at_both_ends() {
    let mut server = ncat(&["-v", "-l", "udp://127.0.0.1:0"]);
    let target = format!("udp://127.0.0.1:{}", server.port());
    let mut caller = ncat(&["-q", "10", &target]);
    caller.send("question");
    server.wait_stdout("question");
    server.send("answer");
    caller.wait_stdout("answer");
    caller.signal("TERM");
    caller.wait();
    server.signal("TERM");
    server.wait().expect_code(143);
}

#[test]
fn a_burst_from_many_new_peers_goes_back_to_each_of_them_alone() {
    let server = ncat(&["-v", "-u", "-l", "-k", "127.0.0.1", "0", "-c", "cat"]);
    let port = server.port();
    server.signal("STOP");
    wait_until("it stands still", || is_stopped(server.id()));
    let peers: Vec<_> = (0..8).map(|_| peer(port)).collect();
    for round in ["a", "b", "c"] {
        for (i, peer) in peers.iter().enumerate() {
            peer.send(format!("{i}{round};").as_bytes()).unwrap();
        }
    }
    server.signal("CONT");
    for (i, peer) in peers.iter().enumerate() {
        peer.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mut all = String::new();
        let mut buf = [0; 64];
        // A command's output has no borders of its own: several may come as one.
        while all.len() < 9 {
            let n = peer.recv(&mut buf).unwrap();
            all.push_str(std::str::from_utf8(&buf[..n]).unwrap());
        }
        assert_eq!(all, format!("{i}a;{i}b;{i}c;"));
    }
}
