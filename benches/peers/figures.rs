//! What a run gives: figures, and what is said of several.

use std::time::Duration;

/// Why there is no figure.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The program is not on this machine.
    Absent,
    /// It ran, and this came of it.
    Broken(String),
    /// We were told to stop.
    Interrupted,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What a process took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// The most memory it ever had (VmHWM); 0 when it was gone too soon to be asked.
    pub(crate) peak_kib: u64,
}

/// One run of one contender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// In the scenario's unit.
    pub(crate) value: f64,
    /// What the CPU time is divided by: GB, or messages.
    pub(crate) amount: f64,
    /// The sending side, or the client.
    pub(crate) near: Usage,
    /// The receiving side, or the server.
    pub(crate) far: Usage,
    /// Bytes or datagrams that did not arrive.
    pub(crate) lost: u64,
}

/// What the rounds of one contender come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    pub(crate) best: f64,
    pub(crate) median: f64,
    /// CPU seconds per amount, medians.
    pub(crate) near_cpu: f64,
    pub(crate) far_cpu: f64,
    /// The most of all rounds.
    pub(crate) near_peak_kib: u64,
    pub(crate) far_peak_kib: u64,
    pub(crate) lost: u64,
}

impl Summary {
    /// `None` when there is nothing to sum up.
    pub(crate) fn of(samples: &[Sample], more_is_better: bool) -> Option<Self> {
        let values = samples.iter().map(|s| s.value);
        let best = if more_is_better {
            values.clone().reduce(f64::max)?
        } else {
            values.clone().reduce(f64::min)?
        };
        let per = |usage: fn(&Sample) -> Usage| {
            median(samples.iter().map(|s| usage(s).cpu.as_secs_f64() / s.amount))
        };
        Some(Self {
            best,
            median: median(values),
            near_cpu: per(|s| s.near),
            far_cpu: per(|s| s.far),
            near_peak_kib: samples.iter().map(|s| s.near.peak_kib).max()?,
            far_peak_kib: samples.iter().map(|s| s.far.peak_kib).max()?,
            lost: samples.iter().map(|s| s.lost).max()?,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        _ => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
