//! A private name server as a peer: dnsmasq with records of the test's own.

use super::{Running, free_port, have, start, wait_for_port, wait_until};
use std::net::UdpSocket;

/// A dnsmasq on 127.0.0.1 that knows what is below `test`, and refuses the rest.
pub struct Dnsmasq {
    _server: Running,
    /// UDP and TCP.
    pub port: u16,
}

impl Dnsmasq {
    /// Starts one with these options; the test that drops it stops it. `None` where there is none.
    pub fn start(records: &[&str]) -> Option<Self> {
        if !have("dnsmasq") {
            return None;
        }
        // Free for TCP, and for UDP.
        let free =
            || Some(free_port()).filter(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok());
        let mut port = free();
        wait_until("a port that is free for both", || {
            port = port.or_else(free);
            port.is_some()
        });
        let port = port.expect("that is what was waited for");
        let port_option = format!("--port={port}");
        let options = [
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--local=/test/",
            &port_option,
        ];
        let server = start("dnsmasq", &[&options, records].concat());
        wait_for_port(port);
        Some(Self { _server: server, port })
    }

    /// Where it is, for `--dns-server`.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
