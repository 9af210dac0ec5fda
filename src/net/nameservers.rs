//! Whom this machine asks about names: the servers in resolv.conf(5).

use super::names::{Family, resolve};
use std::net::SocketAddr;

/// Where the system keeps them.
pub const FILE: &str = "/etc/resolv.conf";

/// The port of DNS.
pub const PORT: u16 = 53;

/// As many as the system's resolver reads (MAXNS).
const MOST: usize = 3;

/// The servers in the file; where it has none, or is not there, one on this machine, as
/// resolv.conf(5) has it.
pub fn of_system() -> Vec<SocketAddr> {
    let found = read(&std::fs::read_to_string(FILE).unwrap_or_default());
    if found.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], PORT))] } else { found }
}

/// The servers in the text of such a file. What is no address is skipped, as the system does.
pub fn read(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // The resolver knows the zones of link-local addresses; `true` keeps it from asking.
        resolve(server, PORT, Family::Any, true).ok()?.first().copied()
    });
    servers.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_servers_at_most_and_nothing_but_addresses() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1\n\
                    nameserver dns.example\n nameserver\t2001:db8::1 \nnameserver fe80::1%lo\n\
                    nameserver 192.0.2.4\noptions edns0\n";
        let found: Vec<_> = read(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]);
        assert_eq!(read(""), []);
    }
}
