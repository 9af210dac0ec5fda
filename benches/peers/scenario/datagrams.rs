//! Datagrams.

use super::Kind::{Limit, Ours, Peer};
use super::{Scenario, contender};
use crate::shape::Shape;
use crate::shape::datagrams::Datagrams;
use crate::target::Target;
use crate::target::Versus::{BestPeer, Limit as TheLimit};

pub(super) fn all() -> Vec<Scenario> {
    vec![Scenario {
        name: "udp",
        title: "UDP, datagrams of 1,400 bytes from a pipe to a pipe; how many arrive",
        unit: "/s",
        cpu_unit: "µs",
        shape: Shape::Datagrams(Datagrams { count: 400_000 }),
        contenders: vec![
            contender(
                Ours,
                "ours",
                "ours -lu --recv-only 127.0.0.1 {port}",
                "ours -u --send-only 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "ncat",
                "ncat -lu --recv-only 127.0.0.1 {port}",
                "ncat -u --send-only 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "nc.openbsd",
                "nc.openbsd -lu 127.0.0.1 {port}",
                "nc.openbsd -u -q 0 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "nc.traditional",
                "nc.traditional -lu -p {port}",
                "nc.traditional -u -q 0 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "socat",
                "socat -u UDP-RECV:{port},bind=127.0.0.1 STDOUT",
                "socat -u STDIN UDP-SENDTO:127.0.0.1:{port}",
            ),
            contender(
                Limit,
                "limit: several at once, by GSO and GRO",
                "tool:limit-udp-receive {port}",
                "tool:limit-udp-send {port}",
            ),
        ],
        targets: vec![Target::value(BestPeer, 2.0), Target::value(TheLimit, 0.7)],
    }]
}
