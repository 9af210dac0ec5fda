//! Mail: a mock server under load, and one large message sent.

use super::Kind::{Limit, Ours, Peer};
use super::{Scenario, contender};
use crate::shape::Shape;
use crate::shape::load::{CountedBy, Load};
use crate::shape::start::{Input, Start};
use crate::target::Target;
use crate::target::Versus::{Itself, Named};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        mock(
            "mock-smtp-new",
            "mock SMTP server, 20 sessions, a connection for each message",
            10_000,
            "smtp-source -s 20 -m {n} -f ann@example.org -t bob@example.org 127.0.0.1:{port}",
            vec![Target::value(Named("smtp-sink"), 1.0), Target::cpu(Itself, 0.15)],
        ),
        mock(
            "mock-smtp-kept",
            "mock SMTP server, 20 sessions, connections kept",
            20_000,
            "smtp-source -d -s 20 -m {n} -f ann@example.org -t bob@example.org 127.0.0.1:{port}",
            vec![Target::value(Named("smtp-sink"), 1.0), Target::cpu(Itself, 0.15)],
        ),
        mock(
            "mock-smtp-large",
            "mock SMTP server, messages of 1 MB",
            240,
            "smtp-source -s 4 -l 1000000 -m {n} -f ann@example.org -t bob@example.org \
             127.0.0.1:{port}",
            vec![Target::value(Named("smtp-sink"), 1.5)],
        ),
        send(),
    ]
}

fn mock(
    name: &'static str,
    title: &'static str,
    n: u64,
    driver: &'static str,
    targets: Vec<Target>,
) -> Scenario {
    Scenario {
        name,
        title,
        unit: "/s",
        cpu_unit: "ms",
        shape: Shape::Load(Load {
            n,
            behind: "",
            driver,
            counted_by: CountedBy::Clock,
            more_is_better: true,
        }),
        contenders: vec![
            contender(Ours, "ours", "ours -lk --smtp 127.0.0.1 {port}", ""),
            contender(
                Ours,
                "ours, into a Maildir",
                "ours -lk --smtp --mailbox {dir}/box{port} 127.0.0.1 {port}",
                "",
            ),
            contender(Peer, "smtp-sink", "smtp-sink {nobody} 127.0.0.1:{port} 128", ""),
            contender(Limit, "limit: lines counted, no more", "tool:mail {port} 0", ""),
        ],
        targets,
    }
}

fn send() -> Scenario {
    Scenario {
        name: "send-50-mb",
        title: "a message of 50 MB sent by SMTP",
        unit: "ms",
        cpu_unit: "ms",
        shape: Shape::Start(Start {
            runs: 1,
            server: "tool:mail {port} {lines}",
            input: Input::Mail(50_000_000),
        }),
        contenders: vec![
            contender(
                Ours,
                "ours",
                "",
                "ours --smtp 127.0.0.1:{port} --from ann@example.org --to bob@example.org",
            ),
            contender(
                Peer,
                "curl",
                "",
                "curl -s smtp://127.0.0.1:{port} --mail-from ann@example.org \
                 --mail-rcpt bob@example.org --upload-file {mail}",
            ),
            contender(
                Peer,
                "msmtp",
                "",
                "msmtp --host=127.0.0.1 --port={port} --from=ann@example.org bob@example.org",
            ),
            contender(
                Peer,
                "swaks",
                "",
                "swaks --server 127.0.0.1 --port {port} -f ann@example.org -t bob@example.org \
                 --data @{mail} --suppress-data",
            ),
        ],
        targets: vec![Target::value(Named("curl"), 1.0), Target::memory(Named("curl"), 1.0)],
    }
}
