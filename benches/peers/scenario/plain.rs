//! Bytes over TCP and Unix sockets, without TLS.

use super::Kind::{Limit, Ours, Peer, Tuned};
use super::{Contender, Scenario, contender};
use crate::shape::Shape;
use crate::shape::forward::Forward;
use crate::shape::transfer::{From, To, Transfer};
use crate::target::Target;
use crate::target::Versus::{BestPeer, Itself, Limit as TheLimit, Named};

const GIB: u64 = 1 << 30;

pub(super) fn all() -> Vec<Scenario> {
    vec![pipe_to_pipe(), pipe_to_null(), file_to_file(), both(), unix(), forward()]
}

/// Those who move bytes one way.
fn one_way() -> Vec<Contender> {
    vec![
        contender(
            Ours,
            "ours",
            "ours -l --recv-only 127.0.0.1 {port}",
            "ours --send-only 127.0.0.1 {port}",
        ),
        contender(
            Peer,
            "ncat",
            "ncat -l --recv-only 127.0.0.1 {port}",
            "ncat --send-only 127.0.0.1 {port}",
        ),
        contender(
            Peer,
            "nc.openbsd",
            "nc.openbsd -l 127.0.0.1 {port}",
            "nc.openbsd -N 127.0.0.1 {port}",
        ),
        contender(
            Peer,
            "nc.traditional",
            "nc.traditional -l -p {port}",
            "nc.traditional -q 0 127.0.0.1 {port}",
        ),
        contender(
            Peer,
            "socat",
            "socat -u TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 STDOUT",
            "socat -u STDIN TCP:127.0.0.1:{port}",
        ),
        contender(
            Tuned,
            "socat -b131072",
            "socat -b131072 -u TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 STDOUT",
            "socat -b131072 -u STDIN TCP:127.0.0.1:{port}",
        ),
    ]
}

fn with(mut contenders: Vec<Contender>, limit: Contender) -> Vec<Contender> {
    contenders.push(limit);
    contenders
}

fn transfer(from: From, to: To) -> Shape {
    Shape::Transfer(Transfer { bytes: GIB, from, to, both: false })
}

fn pipe_to_pipe() -> Scenario {
    Scenario {
        name: "plain-pipe-pipe",
        title: "TCP, from a pipe to a pipe",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::Pipe, To::Pipe),
        contenders: with(
            one_way(),
            contender(
                Limit,
                "limit: splice both ends",
                "tool:limit-splice-receive {port}",
                "tool:limit-splice-send {port}",
            ),
        ),
        targets: vec![
            Target::value(BestPeer, 2.2),
            Target::value(Named("socat -b131072"), 2.0),
            Target::value(Named("nc.openbsd"), 2.3),
            Target::value(Named("ncat"), 3.5),
            Target::value(TheLimit, 0.85),
            Target::cpu(Named("socat -b131072"), 0.35),
            Target::cpu(Named("nc.openbsd"), 0.25),
            Target::cpu(Named("ncat"), 0.18),
            Target::cpu(TheLimit, 1.4),
            Target::memory(Itself, 3.3),
            Target::memory(Named("nc.openbsd"), 1.7),
            Target::memory(Named("ncat"), 0.6),
        ],
    }
}

fn pipe_to_null() -> Scenario {
    Scenario {
        name: "plain-pipe-null",
        title: "TCP, from a pipe to /dev/null",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::Pipe, To::Null),
        contenders: with(
            one_way(),
            contender(
                Limit,
                "limit: splice both ends",
                "tool:limit-splice-receive {port}",
                "tool:limit-splice-send {port}",
            ),
        ),
        targets: vec![
            Target::value(BestPeer, 2.0),
            Target::value(Named("socat -b131072"), 1.8),
            Target::value(Named("ncat"), 3.0),
            Target::value(TheLimit, 0.8),
        ],
    }
}

fn file_to_file() -> Scenario {
    Scenario {
        name: "plain-file-file",
        title: "TCP, from a file to a new file, both in memory",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::File, To::File),
        contenders: with(
            one_way(),
            contender(
                Limit,
                "limit: sendfile, splice",
                "tool:limit-splice-receive {port}",
                "tool:limit-sendfile {port}",
            ),
        ),
        targets: vec![
            Target::value(BestPeer, 1.8),
            Target::value(Named("socat -b131072"), 1.5),
            Target::value(Named("ncat"), 2.2),
            Target::value(TheLimit, 0.9),
        ],
    }
}

fn both() -> Scenario {
    Scenario {
        name: "plain-both-ways",
        title: "TCP, both ways at once, between pipes",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: Shape::Transfer(Transfer { bytes: GIB, from: From::Pipe, to: To::Pipe, both: true }),
        contenders: vec![
            contender(Ours, "ours", "ours -l 127.0.0.1 {port}", "ours 127.0.0.1 {port}"),
            contender(Peer, "ncat", "ncat -l 127.0.0.1 {port}", "ncat 127.0.0.1 {port}"),
            contender(
                Peer,
                "nc.openbsd",
                "nc.openbsd -N -l 127.0.0.1 {port}",
                "nc.openbsd -N 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "nc.traditional",
                "nc.traditional -l -p {port}",
                "nc.traditional 127.0.0.1 {port}",
            ),
            contender(
                Peer,
                "socat",
                "socat -t 10 TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 STDIO",
                "socat -t 10 STDIO TCP:127.0.0.1:{port}",
            ),
            contender(
                Tuned,
                "socat -b131072",
                "socat -t 10 -b131072 TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 STDIO",
                "socat -t 10 -b131072 STDIO TCP:127.0.0.1:{port}",
            ),
            contender(
                Limit,
                "limit: splice, two threads",
                "tool:limit-both take {port}",
                "tool:limit-both call {port}",
            ),
        ],
        targets: vec![Target::value(BestPeer, 2.0)],
    }
}

fn unix() -> Scenario {
    Scenario {
        name: "unix-pipe-pipe",
        title: "Unix socket, from a pipe to a pipe",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::Pipe, To::Pipe),
        contenders: vec![
            contender(Ours, "ours", "ours -l --recv-only -U {path}", "ours --send-only -U {path}"),
            contender(Peer, "ncat", "ncat -l --recv-only -U {path}", "ncat --send-only -U {path}"),
            contender(Peer, "nc.openbsd", "nc.openbsd -l -U {path}", "nc.openbsd -N -U {path}"),
            contender(
                Peer,
                "socat",
                "socat -u UNIX-LISTEN:{path} STDOUT",
                "socat -u STDIN UNIX-CONNECT:{path}",
            ),
            contender(
                Tuned,
                "socat -b131072",
                "socat -b131072 -u UNIX-LISTEN:{path} STDOUT",
                "socat -b131072 -u STDIN UNIX-CONNECT:{path}",
            ),
        ],
        targets: vec![Target::value(BestPeer, 1.0)],
    }
}

fn forward() -> Scenario {
    Scenario {
        name: "forward",
        title: "TCP, one caller passed on to another server",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: Shape::Forward(Forward { bytes: GIB }),
        contenders: vec![
            contender(Ours, "ours", "ours -lk 127.0.0.1 {port} --forward 127.0.0.1:{back}", ""),
            contender(
                Peer,
                "socat",
                "socat TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 TCP:127.0.0.1:{back}",
                "",
            ),
            contender(
                Tuned,
                "socat -b131072",
                "socat -b131072 TCP-LISTEN:{port},reuseaddr,bind=127.0.0.1 TCP:127.0.0.1:{back}",
                "",
            ),
            contender(Limit, "limit: splice", "tool:limit-relay {port} {back}", ""),
        ],
        targets: vec![Target::value(BestPeer, 1.0), Target::cpu(Named("socat"), 0.3)],
    }
}
