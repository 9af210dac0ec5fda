//! The engine over socket pairs, with threads as peers: every case spliced and not.

mod tool;

use mio::net::UnixStream;
use ncat::engine::dialogue::{Dialogue, Outcome};
use ncat::engine::manners::{Manners, PeerEnd};
use ncat::engine::pipe::{CARRY, Pipe, Sink};
use ncat::engine::reactor::Reactor;
use ncat::engine::relay::Relay;
use ncat::engine::tap::{Tap, Way};
use ncat::engine::{Conversation, Status, Trouble};
use ncat::net::buf::Buf;
use ncat::net::endpoint::{Endpoint, Io};
use ncat::net::tls::Tls;
use ncat::net::trust::{self, Parameters, Trust, Verify};
use ncat::net::udp::Udp;
use ncat::proto::content::Style;
use ncat::proto::session::{Config, Pace};
use ncat::proto::smtp::session::Session;
use ncat::sys::fd::Shared;
use ncat::sys::segments;
use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Far;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;
use tool::{DEADLINE, noise, now, same, wait_until};

/// An endpoint, and the far end that a test holds.
fn end() -> (Endpoint, Far) {
    let (near, far) = Far::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (Endpoint::new(Io::Unix(UnixStream::from_std(near))), far)
}

/// A UDP endpoint, and its only peer, which a test holds.
fn datagram_end() -> (Endpoint, UdpSocket) {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(DEADLINE)).unwrap();
    let udp = Udp::new(mio::net::UdpSocket::from_std(near)).unwrap();
    (Endpoint::new(Io::Udp(udp)), far)
}

/// With a log every byte is looked at, so nothing is spliced.
fn tap(splice: bool) -> Tap {
    let log = || std::fs::File::options().write(true).open("/dev/null").unwrap();
    Tap::new((!splice).then(log), None)
}

type Job = JoinHandle<(Result<(), Trouble>, (u64, u64))>;

fn start(mut relay: Relay) -> Job {
    spawn(move || {
        let result = ncat::engine::run(&mut Reactor::new().unwrap(), &mut relay, None);
        (result, relay.totals())
    })
}

fn relay(local: Endpoint, remote: Endpoint, splice: bool) -> Relay {
    Relay::new(local, remote, patient(), tap(splice))
}

/// Both directions run to their own ends.
fn patient() -> Manners {
    Manners { peer_end: PeerEnd::KeepSending, ..Manners::default() }
}

#[test]
fn an_answer_still_arrives_after_half_close() {
    for splice in [true, false] {
        let ((local, mut us), (remote, mut peer)) = (end(), end());
        let job = start(relay(local, remote, splice));
        us.write_all(b"question").unwrap();
        us.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "question");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        heard.clear();
        us.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "answer");
        let (result, totals) = job.join().unwrap();
        result.unwrap();
        assert_eq!(totals, (8, 6));
    }
}

#[test]
fn datagrams_that_come_several_at_once_go_on_one_by_one() {
    for splice in [true, false] {
        let ((local, us), (remote, peer)) = (datagram_end(), datagram_end());
        let _job = start(relay(local, remote, splice));
        let mut heard = [0; 1 << 16];
        // The relay may read several at once as soon as it has passed on 64 KiB.
        for round in 0..100 {
            let bytes = noise(9_000 + round);
            segments::send(us.as_fd(), &bytes, 1_000).unwrap();
            for sent in bytes.chunks(1_000) {
                let n = peer.recv(&mut heard).unwrap();
                same(&heard[..n], sent);
            }
            us.send(b"").unwrap();
            assert_eq!(peer.recv(&mut heard).unwrap(), 0);
            // And the other way.
            peer.send(&bytes[..round]).unwrap();
            assert_eq!(us.recv(&mut heard).unwrap(), round);
        }
    }
}

#[test]
fn a_delay_holds_back_each_datagram_and_not_all_of_them() {
    let ((mut from, mut source), (mut to, sink)) = (end(), datagram_end());
    let delay = Duration::from_millis(100);
    let mut pipe = Pipe::new(Buf::new(CARRY), Sink::Told, true).delayed(Some(delay));
    let (start, mut heard) = (now(), [0; 16]);
    for round in 0..5 {
        source.write_all(&[round; 3]).unwrap();
        from.assume_ready();
        let at = start + delay * u32::from(round);
        pipe.pump(&mut from, &mut to, (&mut tap(true), Way::Sent), 1 << 20, at).unwrap();
        // What came a round ago has gone, though something new was there.
        if let Some(last) = round.checked_sub(1) {
            assert_eq!(sink.recv(&mut heard).unwrap(), 3);
            assert_eq!(heard[..3], [last; 3]);
        }
    }
}

#[test]
fn a_stuck_sink_stops_the_source() {
    for splice in [true, false] {
        let ((local, mut us), (remote, _peer)) = (end(), end());
        let _job = start(relay(local, remote, splice));
        us.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let (chunk, mut taken) = ([0; 65536], 0);
        while let Ok(n) = us.write(&chunk) {
            taken += n;
        }
        assert!(taken < 4 << 20, "{taken} bytes taken with nobody reading");
    }
}

#[test]
fn a_sink_that_never_catches_up_is_spliced_to_all_the_same() {
    let ((mut from, mut source), (mut to, mut sink)) = (end(), end());
    source.set_nonblocking(true).unwrap();
    let mut pipe = Pipe::new(Buf::new(CARRY), Sink::Told, true);
    let (mut put, mut got) = (0, 0);
    while !pipe.is_spliced() {
        // More waits at the source than the sink takes, always.
        while let Ok(n) = source.write(&[7; 65536]) {
            put += n;
        }
        from.assume_ready();
        to.assume_ready();
        pipe.pump(&mut from, &mut to, (&mut tap(true), Way::Sent), 1 << 20, now()).unwrap();
        got += sink.read(&mut [0; 4096]).unwrap();
        assert!(got < 2 << 20, "{got} of {put} bytes have come, and all were copied");
    }
    drop(source);
    drop(sink);
}

#[test]
fn both_ways_at_once() {
    for splice in [true, false] {
        let ((local, us), (remote, peer)) = (end(), end());
        let job = start(relay(local, remote, splice));
        let data = noise(20 << 20);
        let shout = |mut s: Far, data: Vec<u8>| {
            spawn(move || {
                s.write_all(&data).unwrap();
                s.shutdown(Shutdown::Write).unwrap();
            })
        };
        let hear = |mut s: Far| {
            spawn(move || {
                let mut all = Vec::new();
                s.read_to_end(&mut all).unwrap();
                all
            })
        };
        let a = shout(us.try_clone().unwrap(), data.clone());
        let b = shout(peer.try_clone().unwrap(), data.clone());
        let (c, d) = (hear(us), hear(peer));
        a.join().unwrap();
        b.join().unwrap();
        same(&c.join().unwrap(), &data);
        same(&d.join().unwrap(), &data);
        job.join().unwrap().0.unwrap();
    }
}

#[test]
fn bulk_between_sockets_is_spliced_unless_somebody_looks() {
    for splice in [true, false] {
        let ((local, mut us), (remote, mut peer)) = (end(), end());
        let mut relay = relay(local, remote, splice);
        for side in [0, 1] {
            relay.endpoint(side).unwrap().assume_ready();
        }
        let (piece, mut got) = (noise(16 * 1024), vec![0; 16 * 1024]);
        for _ in 0..8 {
            us.write_all(&piece).unwrap();
            for side in [0, 1] {
                relay.endpoint(side).unwrap().assume_ready();
            }
            assert_eq!(relay.drive(now()).unwrap(), Status::Waiting);
            peer.read_exact(&mut got).unwrap();
            same(&got, &piece);
        }
        assert_eq!(relay.is_spliced().0, splice);
    }
}

fn tls_pair() -> (Tls, Tls) {
    let parameters = Parameters::default();
    let (server, _) = trust::server(&parameters, Some("peer.test"), None).unwrap();
    let believe = Trust { verify: Verify::Tell, file: None, pins: Vec::new() };
    let (client, _) = trust::client(&believe, &parameters).unwrap();
    (Tls::client(client, "peer.test").unwrap(), Tls::server(server).unwrap())
}

/// A peer that speaks TLS is a relay of ours between TLS and a plain pair.
fn tls_peer(endpoint: Endpoint, manners: Manners) -> (Far, Job) {
    let (inner, far) = end();
    (far, start(Relay::new(inner, endpoint, manners, tap(false))))
}

#[test]
fn tls_carries_bulk_both_ways_and_half_closes() {
    let (near, far) = Far::pair().unwrap();
    let wrap = |s: Far| {
        s.set_nonblocking(true).unwrap();
        Endpoint::new(Io::Unix(UnixStream::from_std(s)))
    };
    let (client, server) = tls_pair();
    let (mut remote, mut other) = (wrap(near), wrap(far));
    remote.start_tls(client);
    other.start_tls(server);
    let (local, mut us) = end();
    let job = start(relay(local, remote, true));
    let (mut peer, peer_job) = tls_peer(other, patient());
    let data = noise(8 << 20);
    let echo = spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap(); // ends at our close_notify
        peer.write_all(&got).unwrap();
    });
    us.write_all(&data).unwrap();
    us.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    us.read_to_end(&mut back).unwrap();
    same(&back, &data);
    echo.join().unwrap();
    let (result, totals) = job.join().unwrap();
    result.unwrap();
    assert_eq!(totals, (8 << 20, 8 << 20));
    peer_job.join().unwrap().0.unwrap();
}

/// No event will ever come from a regular file, so a lost wake-up cannot hide behind one. It
/// once stalled after 49,152 of 8,388,608 bytes.
#[test]
fn tls_to_a_file_never_waits_with_bytes_in_hand() {
    let (near, far) = Far::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let (client, server) = tls_pair();
    let mut remote = Endpoint::new(Io::Unix(UnixStream::from_std(near)));
    let mut other = Endpoint::new(Io::Unix(UnixStream::from_std(far)));
    remote.start_tls(client);
    other.start_tls(server);
    let dir = tool::dir();
    let path = dir.path().join("out");
    let sink = Shared::new(std::fs::File::create(&path).unwrap().into()).unwrap();
    let source = Shared::new(std::fs::File::open("/dev/null").unwrap().into()).unwrap();
    let local = Endpoint::new(Io::Pair { rx: Some(source), tx: Some(sink) });
    let _job = start(relay(local, remote, true));
    // The peer keeps its socket open: no end of its stream brings an event either.
    let (mut peer, _peer_job) = tls_peer(other, Manners { half_close: false, ..patient() });
    let data = noise(8 << 20);
    peer.write_all(&data).unwrap();
    wait_until("the whole file", || std::fs::metadata(&path).unwrap().len() == data.len() as u64);
    same(&std::fs::read(&path).unwrap(), &data);
}

#[test]
fn what_came_behind_a_dialogue_goes_first() {
    let ((local, mut us), (remote, mut peer)) = (end(), end());
    let mut early = Buf::new(64);
    early.append(b"220 mail ready\r\n");
    let mut relay = Relay::resume(local, remote, early, Manners::default(), tap(true));
    for side in [0, 1] {
        relay.endpoint(side).unwrap().assume_ready();
    }
    peer.write_all(b"more").unwrap();
    assert_eq!(relay.drive(now()).unwrap(), Status::Waiting);
    let mut heard = [0; 20];
    us.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"220 mail ready\r\nmore");
    assert_eq!(relay.totals(), (0, 20));
}

/// CVE-2011-0411 and CVE-2021-22947: what stands behind the go-ahead was not protected.
#[test]
fn words_smuggled_in_before_the_handshake_are_refused() {
    let ((local, _us), (remote, mut server)) = (end(), end());
    let session = Session::new(Config {
        helo: "me".into(),
        starttls: true,
        secure: false,
        login: None,
        pace: Pace::LockStep,
        content: Style::default(),
        setup_only: false,
        asks: false,
    });
    let mut talk = Dialogue::new(local, remote, session, Manners::default(), tap(true));
    let mut say = |text: &[u8]| {
        server.write_all(text).unwrap();
        for side in [0, 1] {
            talk.side(side).unwrap().assume_ready();
        }
        loop {
            match talk.next(now()) {
                Ok(Outcome::Event(_) | Outcome::Runnable) => {}
                Ok(Outcome::Waiting) => return "waiting",
                Ok(Outcome::StartTls) => return "tls",
                Ok(Outcome::Done) => return "done",
                Err(Trouble::Smuggled) => return "smuggled",
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(say(b"220 hi\r\n"), "waiting");
    assert_eq!(say(b"250-hi\r\n250 STARTTLS\r\n"), "waiting");
    assert_eq!(say(b"220 go\r\n250 believe me\r\n"), "smuggled");
}
