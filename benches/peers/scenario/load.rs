//! Servers with many callers.

use super::Kind::{Limit, Ours, Peer};
use super::{Scenario, contender};
use crate::shape::Shape;
use crate::shape::load::{CountedBy, Load};
use crate::target::Target;
use crate::target::Versus::{BestPeer, Itself, Limit as TheLimit, Named};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        exec("exec-1", "-lk -e /bin/cat, one caller at a time", "tool:knock {port} 1 {n} echo"),
        exec("exec-4", "-lk -e /bin/cat, four callers at a time", "tool:knock {port} 4 {n} echo"),
        accept(),
        latency(),
        broker(
            "broker-100-1",
            "broker, 100 members, 1 speaks",
            "tool:talk {port} {pid} 100 1 {n}",
            4_000,
            vec![Target::value(Named("ncat"), 1.2), Target::value(TheLimit, 0.95)],
        ),
        broker(
            "broker-100-10",
            "broker, 100 members, 10 speak",
            "tool:talk {port} {pid} 100 10 {n}",
            4_000,
            vec![Target::value(Named("ncat"), 40.0), Target::value(TheLimit, 0.85)],
        ),
        broker(
            "broker-100-100",
            "broker, 100 members, 100 speak",
            "tool:talk {port} {pid} 100 100 {n}",
            20_000,
            vec![Target::value(Named("ncat"), 50.0), Target::value(TheLimit, 0.85)],
        ),
        broker(
            "broker-1000-1",
            "broker, 1,000 members, 1 speaks",
            "tool:talk {port} {pid} 1000 1 {n}",
            400,
            vec![Target::value(Named("ncat"), 6.0), Target::value(TheLimit, 0.95)],
        ),
        idle(
            "idle-tls-900",
            "900 idle callers of -lk --ssl",
            900,
            "tool:stay {port} {n} {pid} tls",
            [
                "ours -lk --ssl --ssl-cert {cert} --ssl-key {key} -m 2000 127.0.0.1 {port}",
                "ncat -lk --ssl --ssl-cert {cert} --ssl-key {key} -m 2000 127.0.0.1 {port}",
            ],
            vec![Target::value(Named("ncat"), 0.4), Target::value(Itself, 9.0)],
        ),
        idle(
            "idle-broker-900",
            "900 idle members of a broker",
            900,
            PLAIN,
            [
                "ours -l --broker -m 2000 127.0.0.1 {port}",
                "ncat -l --broker -m 2000 127.0.0.1 {port}",
            ],
            few(),
        ),
        idle(
            "idle-broker-10000",
            "10,000 idle members of a broker",
            10_000,
            PLAIN,
            [
                "ours -l --broker -m 20000 127.0.0.1 {port}",
                "ncat -l --broker -m 20000 127.0.0.1 {port}",
            ],
            few(),
        ),
        idle(
            "idle-listen-10000",
            "10,000 idle callers of -lk",
            10_000,
            PLAIN,
            ["ours -lk -m 20000 127.0.0.1 {port}", "ncat -lk -m 20000 127.0.0.1 {port}"],
            few(),
        ),
    ]
}

fn load(n: u64, driver: &'static str) -> Load {
    Load { n, behind: "", driver, counted_by: CountedBy::Driver, more_is_better: true }
}

fn exec(name: &'static str, title: &'static str, driver: &'static str) -> Scenario {
    Scenario {
        name,
        title,
        unit: "/s",
        cpu_unit: "ms",
        shape: Shape::Load(load(1_000, driver)),
        contenders: vec![
            contender(Ours, "ours", "ours -lk -e /bin/cat 127.0.0.1 {port}", ""),
            contender(Peer, "ncat", "ncat -lk -e /bin/cat 127.0.0.1 {port}", ""),
            contender(
                Peer,
                "socat nofork",
                "socat TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=128 \
                 EXEC:/bin/cat,nofork",
                "",
            ),
            contender(Limit, "limit: posix_spawn", "tool:limit-spawn {port}", ""),
        ],
        targets: vec![
            Target::value(Named("ncat"), 1.6),
            Target::value(Named("socat nofork"), 1.2),
            Target::value(TheLimit, 0.95),
        ],
    }
}

fn accept() -> Scenario {
    Scenario {
        name: "accept",
        title: "callers who say 100 bytes, four at a time",
        unit: "/s",
        cpu_unit: "ms",
        shape: Shape::Load(load(8_000, "tool:knock {port} 4 {n} silence")),
        contenders: vec![
            contender(Ours, "ours", "ours -lk --recv-only 127.0.0.1 {port}", ""),
            contender(Peer, "ncat", "ncat -lk --recv-only 127.0.0.1 {port}", ""),
            contender(Peer, "nc.openbsd", "nc.openbsd -lk 127.0.0.1 {port}", ""),
            contender(
                Peer,
                "socat",
                "socat -u TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=128 STDOUT",
                "",
            ),
            contender(Limit, "limit: mio alone", "tool:limit-accept {port}", ""),
        ],
        targets: vec![Target::value(BestPeer, 1.0), Target::value(TheLimit, 0.95)],
    }
}

fn latency() -> Scenario {
    Scenario {
        name: "forward-latency",
        title: "one byte to a server behind a forward, and back",
        unit: "µs",
        cpu_unit: "ms",
        shape: Shape::Load(Load {
            behind: "tool:echo {port}",
            more_is_better: false,
            ..load(20_000, "tool:ping {port} {n}")
        }),
        contenders: vec![
            contender(Ours, "ours", "ours -lk 127.0.0.1 {port} --forward 127.0.0.1:{back}", ""),
            contender(
                Peer,
                "socat",
                "socat TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,nodelay \
                 TCP:127.0.0.1:{back},nodelay",
                "",
            ),
            contender(Limit, "limit: nothing between", "tool:echo {port}", ""),
            contender(Limit, "limit of a relay", "tool:limit-echo-relay {port} {back}", ""),
        ],
        targets: vec![
            Target::value(Named("socat"), 1.0),
            Target::value(TheLimit, 1.35),
            Target::value(Named("limit of a relay"), 1.1),
        ],
    }
}

fn broker(
    name: &'static str,
    title: &'static str,
    driver: &'static str,
    n: u64,
    targets: Vec<Target>,
) -> Scenario {
    Scenario {
        name,
        title,
        unit: "/s",
        cpu_unit: "ms",
        shape: Shape::Load(load(n, driver)),
        contenders: vec![
            contender(Ours, "ours", "ours -l --broker -m 2000 127.0.0.1 {port}", ""),
            contender(Peer, "ncat", "ncat -l --broker -m 2000 127.0.0.1 {port}", ""),
            contender(Limit, "limit: mio alone", "tool:limit-broker {port}", ""),
        ],
        targets,
    }
}

/// Callers who stay, without TLS.
const PLAIN: &str = "tool:stay {port} {n} {pid} plain";

/// KiB for each of them, and MiB in all.
fn few() -> Vec<Target> {
    vec![Target::value(Itself, 0.5), Target::memory(Itself, 32.0)]
}

fn idle(
    name: &'static str,
    title: &'static str,
    n: u64,
    driver: &'static str,
    [ours, ncat]: [&'static str; 2],
    targets: Vec<Target>,
) -> Scenario {
    Scenario {
        name,
        title,
        unit: "KiB each",
        cpu_unit: "ms",
        shape: Shape::Load(Load { more_is_better: false, ..load(n, driver) }),
        contenders: vec![contender(Ours, "ours", ours, ""), contender(Peer, "ncat", ncat, "")],
        targets,
    }
}
