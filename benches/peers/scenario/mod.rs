//! What is measured, as data: who runs, how, and what is to come of it.

mod datagrams;
mod load;
mod mail;
mod plain;
mod start;
mod tls;

use crate::shape::Shape;
use crate::target::Target;

/// One comparison.
pub(crate) struct Scenario {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Of the figure.
    pub(crate) unit: &'static str,
    /// What CPU time is counted by.
    pub(crate) cpu_unit: &'static str,
    pub(crate) shape: Shape,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) targets: Vec<Target>,
}

/// Whose program it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours; the first of a scenario is the one that counts.
    Ours,
    /// Another's, as it comes.
    Peer,
    /// Another's, but with options that few know of, or with a helper of ours.
    Tuned,
    /// What is possible.
    Limit,
}

/// One of those who are compared. `run::Line` says what stands in a command line.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) server: &'static str,
    pub(crate) client: &'static str,
}

/// Shorthand for the lists.
fn contender(
    kind: Kind,
    name: &'static str,
    server: &'static str,
    client: &'static str,
) -> Contender {
    Contender { name, kind, server, client }
}

/// All of them, in order.
pub(crate) fn all() -> Vec<Scenario> {
    [plain::all(), datagrams::all(), tls::all(), start::all(), load::all(), mail::all()]
        .into_iter()
        .flatten()
        .collect()
}
