//! Programs that start, do little, and end.

use super::Kind::{Limit, Ours, Peer};
use super::{Scenario, contender};
use crate::shape::Shape;
use crate::shape::start::{Input, Start};
use crate::target::Target;
use crate::target::Versus::{BestPeer, Itself, Limit as TheLimit, Named};

pub(super) fn all() -> Vec<Scenario> {
    vec![plain(), tls(), probe()]
}

fn plain() -> Scenario {
    Scenario {
        name: "start-plain",
        title: "connect, say a line, hear it again, exit",
        unit: "ms",
        cpu_unit: "ms",
        shape: Shape::Start(Start {
            runs: 100,
            server: "tool:answer {port}",
            input: Input::Line("hello\n"),
        }),
        contenders: vec![
            contender(Ours, "ours", "", "ours 127.0.0.1 {port}"),
            contender(Peer, "ncat", "", "ncat 127.0.0.1 {port}"),
            contender(Peer, "nc.openbsd", "", "nc.openbsd -N 127.0.0.1 {port}"),
            contender(Peer, "nc.traditional", "", "nc.traditional 127.0.0.1 {port}"),
            contender(Peer, "socat", "", "socat STDIO TCP:127.0.0.1:{port}"),
            contender(Limit, "limit: true(1), no network", "", "true"),
        ],
        targets: vec![
            Target::value(Named("nc.openbsd"), 1.0),
            Target::value(Named("nc.traditional"), 0.85),
            Target::value(Named("ncat"), 1.0 / 45.0),
            Target::value(TheLimit, 2.1),
        ],
    }
}

fn tls() -> Scenario {
    Scenario {
        name: "start-tls",
        title: "the same under TLS 1.3",
        unit: "ms",
        cpu_unit: "ms",
        shape: Shape::Start(Start {
            runs: 40,
            server: "tool:answer-tls {port} {cert} {key}",
            input: Input::Line("hello\n"),
        }),
        contenders: vec![
            contender(Ours, "ours", "", "ours --ssl --ssl-insecure 127.0.0.1 {port}"),
            contender(Ours, "ours, as it comes", "", "ours --ssl 127.0.0.1 {port}"),
            contender(Peer, "ncat", "", "ncat --ssl 127.0.0.1 {port}"),
            contender(Peer, "socat", "", "socat STDIO OPENSSL:127.0.0.1:{port},verify=0"),
            contender(Peer, "openssl", "", "openssl s_client -quiet -connect 127.0.0.1:{port}"),
            contender(
                Peer,
                "gnutls-cli",
                "",
                "gnutls-cli --insecure --logfile=/dev/null -p {port} 127.0.0.1",
            ),
        ],
        targets: vec![
            Target::value(BestPeer, 1.0 / 8.0),
            Target::value(Named("ncat"), 1.0 / 14.0),
            Target::cpu(Itself, 2.3),
        ],
    }
}

fn probe() -> Scenario {
    Scenario {
        name: "start-probe",
        title: "-z: is somebody there",
        unit: "ms",
        cpu_unit: "ms",
        shape: Shape::Start(Start {
            runs: 100,
            server: "tool:answer {port}",
            input: Input::Nothing,
        }),
        contenders: vec![
            contender(Ours, "ours", "", "ours -z 127.0.0.1 {port}"),
            contender(Peer, "ncat", "", "ncat -z 127.0.0.1 {port}"),
            contender(Peer, "nc.openbsd", "", "nc.openbsd -z 127.0.0.1 {port}"),
            contender(Peer, "nc.traditional", "", "nc.traditional -z 127.0.0.1 {port}"),
            contender(Limit, "limit: true(1), no network", "", "true"),
        ],
        targets: vec![Target::value(BestPeer, 1.0)],
    }
}
