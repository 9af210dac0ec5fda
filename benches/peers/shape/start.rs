//! A program that starts, does little, and ends: the middle of many runs.

use crate::figures::{Failure, Sample, Usage, median};
use crate::lab::{Lab, wait_for_listener};
use crate::run::{Line, linger, wait};
use crate::scenario::{Contender, Kind};

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is done.
pub(crate) struct Start {
    /// Runs in a round.
    pub(crate) runs: u64,
    /// Who is called: one of our tools.
    pub(crate) server: &'static str,
    /// What the client says and is told; empty when it only looks whether somebody is there.
    pub(crate) line: &'static str,
}

impl Start {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        self.repeat(lab, contender, lab.scaled(self.runs))
    }

    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        self.repeat(lab, contender, 1)
    }

    fn repeat(&self, lab: &Lab, contender: &Contender, runs: u64) -> Result<Sample, Failure> {
        let names = lab.names()?;
        let server = Line::new(lab, self.server, &names)?;
        let client = Line::new(lab, contender.client, &names)?;
        let _server = server.start(Stdio::null(), Stdio::null())?;
        if !wait_for_listener(&names, false, Instant::now() + Duration::from_secs(5)) {
            return Err(Failure::Broken("the server of this scenario does not listen".into()));
        }
        let input = lab.path("line");
        fs::write(&input, self.line)?;

        let mut times = Vec::new();
        // It is gone before its memory can be asked for.
        let mut near = Usage::default();
        for _ in 0..runs {
            let stdin = File::open(&input)?;
            let began = Instant::now();
            let mut crew = [client.start(stdin.into(), Stdio::piped())?];
            wait(lab, &mut crew, &[0], began + Duration::from_secs(10))?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            near.cpu += crew[0].usage().cpu;
            linger(lab, &mut crew, &[0], Duration::ZERO);
            let heard = crew[0].output()?;
            let done = if contender.kind == Kind::Limit {
                true
            } else if self.line.is_empty() {
                crew[0].status()?.success()
            } else {
                heard.contains(self.line.trim_end())
            };
            if !done {
                return Err(Failure::Broken(format!("did not do it: {}", crew[0].complaint())));
            }
        }
        Ok(Sample {
            value: median(times.into_iter()),
            // CPU time in milliseconds a run.
            amount: runs as f64 / 1e3,
            near,
            ..Sample::default()
        })
    }
}
