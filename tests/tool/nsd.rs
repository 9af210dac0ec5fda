//! A private authoritative name server as a peer: NSD with a zone of the test's own.

use super::{Running, arg, dir, file_in, free_port, have, start, wait_for_port, wait_until};
use std::net::UdpSocket;

/// An NSD on 127.0.0.1 with one zone.
pub struct Nsd {
    _server: Running,
    _dir: tempfile::TempDir,
    /// UDP and TCP.
    pub port: u16,
}

impl Nsd {
    /// Starts one; the test that drops it stops it. `None` where there is none.
    pub fn start(name: &str, zone: &str) -> Option<Self> {
        if !have("nsd") {
            return None;
        }
        let free =
            || Some(free_port()).filter(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok());
        let mut port = free();
        wait_until("a port that is free for both", || {
            port = port.or_else(free);
            port.is_some()
        });
        let port = port.expect("that is what was waited for");
        let dir = dir();
        let here = dir.path().display();
        file_in(&dir, "zone", zone);
        let config = format!(
            "server:\n ip-address: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n\
             zonesdir: \"{here}\"\n pidfile: \"{here}/pid\"\n xfrdfile: \"{here}/xfrd\"\n\
             zonelistfile: \"{here}/list\"\n xfrdir: \"{here}\"\n database: \"\"\n server-count: 1\n\
             remote-control:\n control-enable: no\n\
             zone:\n name: \"{name}\"\n zonefile: \"zone\"\n"
        );
        let config = file_in(&dir, "nsd.conf", config);
        let server = start("nsd", &["-d", "-c", arg(&config)]);
        wait_for_port(port);
        Some(Self { _server: server, _dir: dir, port })
    }

    /// Where it is, for `--dns-server`.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
