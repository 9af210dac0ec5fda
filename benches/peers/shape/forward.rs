//! Bytes through one program, from one socket to another.

use super::transfer::{explained, judged, reported};
use crate::figures::{Failure, Sample};
use crate::lab::{Lab, free_port, wait_for_listener};
use crate::run::{Line, linger, wait};
use crate::scenario::Contender;

use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is moved. The contender's server listens on `{port}` and calls `{back}`.
pub(crate) struct Forward {
    pub(crate) bytes: u64,
}

impl Forward {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        carry_out(lab, contender, lab.scaled(self.bytes), "ends")
    }

    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        carry_out(lab, contender, 32 * 1024 * 1024, "all")
    }
}

fn carry_out(lab: &Lab, contender: &Contender, bytes: u64, check: &str) -> Result<Sample, Failure> {
    let mut names = lab.names()?;
    let mut back = lab.names()?;
    back.insert("port", free_port()?.to_string());
    names.insert("back", back["port"].clone());
    let receive = Line::new(lab, &format!("tool:receive {{port}} {bytes} {check}"), &back)?;
    let between = Line::new(lab, contender.server, &names)?;
    let send = Line::new(lab, &format!("tool:send {{port}} {bytes}"), &names)?;

    let soon = Instant::now() + Duration::from_secs(5);
    let mut crew = vec![receive.start(Stdio::null(), Stdio::piped())?.that_reports()];
    let ready = wait_for_listener(&back, false, soon);
    crew.push(between.start(Stdio::null(), Stdio::null())?);
    if !ready || !wait_for_listener(&names, false, soon) {
        return Err(Failure::Broken(format!("does not listen: {}", crew[1].complaint())));
    }
    let began = Instant::now();
    crew.push(send.start(Stdio::null(), Stdio::null())?);
    let late = wait(lab, &mut crew, &[0], began + Duration::from_secs(60));
    let took = began.elapsed();
    if let Err(why) = late {
        return Err(explained(why, &mut crew));
    }
    // One that keeps listening does not end, and has nothing more to do.
    linger(lab, &mut crew, &[1], Duration::from_millis(200));
    let (got, right) = reported(&mut crew[0])?;
    let lost = judged(bytes, got, right, &mut crew[1..2])?;
    let amount = bytes as f64 / 1e9;
    Ok(Sample {
        value: amount / took.as_secs_f64(),
        amount,
        far: crew[1].usage(),
        lost,
        ..Sample::default()
    })
}
