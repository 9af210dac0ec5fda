//! What is to come out, and whether it did.

use crate::figures::Summary;
use crate::measure::Results;
use crate::scenario::{Kind, Scenario};

/// The figure that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Value,
    /// Both sides together.
    Cpu,
    /// The most memory that a side had, in MiB.
    Memory,
}

/// What it is divided by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versus {
    /// The best of those who run as they come, and lose nothing.
    BestPeer,
    /// This contender.
    Named(&'static str),
    Limit,
    /// By nothing: the figure itself.
    Itself,
}

/// One aim: our first contender's figure, as a multiple of another's.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) on: On,
    pub(crate) versus: Versus,
    pub(crate) bound: f64,
}

/// What came of it.
pub(crate) struct Verdict {
    /// The aim in words.
    pub(crate) wanted: String,
    pub(crate) ratio: Option<f64>,
    pub(crate) met: bool,
}

impl Target {
    /// At least (or, where less is better, at most) so many times the figure of `versus`.
    pub(crate) fn value(versus: Versus, bound: f64) -> Self {
        Self { on: On::Value, versus, bound }
    }

    /// At most so many times its CPU time.
    pub(crate) fn cpu(versus: Versus, bound: f64) -> Self {
        Self { on: On::Cpu, versus, bound }
    }

    /// At most so many times its memory.
    pub(crate) fn memory(versus: Versus, bound: f64) -> Self {
        Self { on: On::Memory, versus, bound }
    }

    /// Judges a scenario's results.
    pub(crate) fn judge(&self, scenario: &Scenario, results: &Results) -> Verdict {
        let figure = |summary: &Summary| match self.on {
            On::Value => summary.median,
            On::Cpu => summary.near_cpu + summary.far_cpu,
            On::Memory => summary.near_peak_kib.max(summary.far_peak_kib) as f64 / 1024.0,
        };
        let more = self.on == On::Value && scenario.shape.more_is_better();
        let other = match self.versus {
            Versus::Itself => Some(1.0),
            Versus::BestPeer => best_peer(scenario, results).map(|(_, summary)| figure(summary)),
            Versus::Named(name) => named(scenario, results, name).map(figure),
            Versus::Limit => limit(scenario, results).map(figure),
        };
        let ours = ours(scenario, results).map(figure);
        let ratio = ours.zip(other).map(|(ours, other)| ours / other);
        let sign = if more { "≥" } else { "≤" };
        let what = self.what(scenario);
        // 1/45 says more than 0.0222.
        let inverse = 1.0 / self.bound;
        let bound = if inverse > 1.5 && (inverse - inverse.round()).abs() < 1e-9 {
            format!("1/{inverse:.0}")
        } else {
            self.bound.to_string()
        };
        let wanted = match self.versus {
            Versus::Itself => format!("{what}{sign} {bound}"),
            Versus::BestPeer => format!("{what}{sign} {bound} × best peer"),
            Versus::Named(name) => format!("{what}{sign} {bound} × {name}"),
            Versus::Limit => format!("{what}{sign} {bound} × limit"),
        };
        let met =
            ratio.is_some_and(|ratio| if more { ratio >= self.bound } else { ratio <= self.bound });
        Verdict { wanted, ratio, met }
    }

    fn what(&self, scenario: &Scenario) -> String {
        match self.on {
            On::Value if self.versus == Versus::Itself => format!("{} ", scenario.unit),
            On::Value => String::new(),
            On::Cpu => "CPU ".into(),
            On::Memory if self.versus == Versus::Itself => "MiB ".into(),
            On::Memory => "memory ".into(),
        }
    }
}

/// Our first contender.
pub(crate) fn ours<'a>(scenario: &Scenario, results: &'a Results) -> Option<&'a Summary> {
    of_kind(scenario, results, Kind::Ours).next().map(|(_, summary)| summary)
}

/// The limit; the best, where several are named.
pub(crate) fn limit<'a>(scenario: &Scenario, results: &'a Results) -> Option<&'a Summary> {
    best(scenario, of_kind(scenario, results, Kind::Limit)).map(|(_, summary)| summary)
}

/// The best of those who run as they come. One that loses what it is given is none.
pub(crate) fn best_peer<'a>(
    scenario: &Scenario,
    results: &'a Results,
) -> Option<(&'static str, &'a Summary)> {
    let peers = of_kind(scenario, results, Kind::Peer);
    best(scenario, peers.filter(|(_, s)| s.lost == 0 || scenario.shape.may_lose()))
}

fn best<'a>(
    scenario: &Scenario,
    of: impl Iterator<Item = (&'static str, &'a Summary)>,
) -> Option<(&'static str, &'a Summary)> {
    of.reduce(|a, b| {
        let b_is_better = if scenario.shape.more_is_better() {
            b.1.median > a.1.median
        } else {
            b.1.median < a.1.median
        };
        if b_is_better { b } else { a }
    })
}

fn named<'a>(scenario: &Scenario, results: &'a Results, name: &str) -> Option<&'a Summary> {
    let at = scenario.contenders.iter().position(|contender| contender.name == name)?;
    results[at].as_ref().ok()
}

fn of_kind<'a>(
    scenario: &Scenario,
    results: &'a Results,
    kind: Kind,
) -> impl Iterator<Item = (&'static str, &'a Summary)> {
    let pairs = scenario.contenders.iter().zip(results);
    pairs
        .filter(move |(contender, _)| contender.kind == kind)
        .filter_map(|(contender, result)| Some((contender.name, result.as_ref().ok()?)))
}
