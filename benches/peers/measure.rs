//! Rounds: every contender in each, in an order that turns.

use crate::figures::{Failure, Sample, Summary};
use crate::lab::Lab;
use crate::scenario::Scenario;

/// What became of each contender, in the scenario's order.
pub(crate) type Results = Vec<Result<Summary, Failure>>;

/// Runs a scenario. Only an interruption is an error; a contender that fails is a result.
pub(crate) fn measure(lab: &Lab, scenario: &Scenario, rounds: usize) -> Result<Results, String> {
    let n = scenario.contenders.len();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); n];
    let mut failures: Vec<Option<Failure>> = vec![None; n];
    let mut lost_before = vec![0; n];
    for round in 0..=rounds {
        for turn in 0..n {
            let at = (round + turn) % n;
            if failures[at].is_some() {
                continue;
            }
            let contender = &scenario.contenders[at];
            let outcome = if round == 0 {
                scenario.shape.verify(lab, contender)
            } else {
                scenario.shape.run(lab, contender)
            };
            match outcome {
                Ok(sample) if round > 0 => samples[at].push(sample),
                Ok(sample) => lost_before[at] = sample.lost,
                Err(Failure::Interrupted) => return Err("interrupted".into()),
                Err(why) => failures[at] = Some(why),
            }
        }
    }
    let more = scenario.shape.more_is_better();
    let mut results = Results::new();
    for (at, failure) in failures.into_iter().enumerate() {
        results.push(match (failure, Summary::of(&samples[at], more)) {
            (Some(why), _) => Err(why),
            // What goes to /dev/null is looked at before the timed rounds only.
            (None, Some(summary)) => {
                Ok(Summary { lost: summary.lost.max(lost_before[at]), ..summary })
            }
            (None, None) => Err(Failure::Broken("it was never measured".into())),
        });
    }
    Ok(results)
}
