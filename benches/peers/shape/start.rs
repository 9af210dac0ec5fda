//! A program that starts, does little, and ends: the middle of many runs.

use crate::figures::{Failure, Sample, Usage, median};
use crate::lab::{Lab, wait_for_listener};
use crate::run::{Line, linger, wait};
use crate::scenario::{Contender, Kind};
use crate::tool::mail;

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is done.
pub(crate) struct Start {
    /// Runs in a round.
    pub(crate) runs: u64,
    /// Who is called: one of our tools.
    pub(crate) server: &'static str,
    pub(crate) input: Input,
}

/// What the client's standard input has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing; the exit status says whether it was done.
    Nothing,
    /// A line, which the client has to hear again.
    Line(&'static str),
    /// A message of about so many bytes, in `{mail}` too; the server checks its `{lines}`.
    Mail(u64),
}

impl Start {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        self.repeat(lab, contender, lab.scaled(self.runs))
    }

    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        self.repeat(lab, contender, 1)
    }

    fn repeat(&self, lab: &Lab, contender: &Contender, runs: u64) -> Result<Sample, Failure> {
        let mut names = lab.names()?;
        let input = lab.path("input");
        names.insert("mail", input.display().to_string());
        match self.input {
            Input::Nothing => fs::write(&input, "")?,
            Input::Line(line) => fs::write(&input, line)?,
            Input::Mail(bytes) => {
                let (text, lines) = mail::message(lab.scaled(bytes));
                fs::write(&input, text)?;
                names.insert("lines", lines.to_string());
            }
        }
        let server = Line::new(lab, self.server, &names)?;
        let client = Line::new(lab, contender.client, &names)?;
        let _server = server.start(Stdio::null(), Stdio::null())?;
        if !wait_for_listener(&names, false, Instant::now() + Duration::from_secs(5)) {
            return Err(Failure::Broken("the server of this scenario does not listen".into()));
        }
        let mut times = Vec::new();
        let mut near = Usage::default();
        for _ in 0..runs {
            let stdin = File::open(&input)?;
            let began = Instant::now();
            let mut crew = [client.start(stdin.into(), Stdio::piped())?];
            wait(lab, &mut crew, &[0], began + Duration::from_secs(30))?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let usage = crew[0].usage();
            near.cpu += usage.cpu;
            // What is gone at once was not there long enough to be asked for its memory.
            if let Input::Mail(_) = self.input {
                near.peak_kib = near.peak_kib.max(usage.peak_kib);
            }
            linger(lab, &mut crew, &[0], Duration::ZERO);
            let heard = crew[0].output()?;
            let done = match self.input {
                // The limit does not even try.
                _ if contender.kind == Kind::Limit => true,
                Input::Line(line) => heard.contains(line.trim_end()),
                Input::Nothing | Input::Mail(_) => crew[0].status()?.success(),
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
