//! Datagrams from a pipe, through two programs, into a pipe.

use super::transfer::explained;
use crate::figures::{Failure, Sample};
use crate::lab::{Lab, wait_for_listener};
use crate::run::{Line, wait};
use crate::scenario::Contender;

use rustix::pipe::{PipeFlags, pipe_with};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is sent.
pub(crate) struct Datagrams {
    pub(crate) count: u64,
}

impl Datagrams {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        carry_out(lab, contender, lab.scaled(self.count))
    }

    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        let few = carry_out(lab, contender, 1000)?;
        // Losses are counted where the time is taken.
        Ok(Sample { lost: 0, ..few })
    }
}

fn carry_out(lab: &Lab, contender: &Contender, count: u64) -> Result<Sample, Failure> {
    let names = lab.names()?;
    let server = Line::new(lab, contender.server, &names)?;
    let client = Line::new(lab, contender.client, &names)?;
    let fill = Line::new(lab, &format!("tool:datagrams-out {count}"), &names)?;
    let drain = Line::new(lab, &format!("tool:datagrams-in {count}"), &names)?;
    let pipe = |flags| pipe_with(flags | PipeFlags::CLOEXEC).map_err(std::io::Error::from);

    let (silent_rx, _silence) = pipe(PipeFlags::empty())?;
    let (out_rx, out_tx) = pipe(PipeFlags::empty())?;
    let mut crew = vec![
        drain.start(out_rx.into(), Stdio::piped())?,
        server.start(silent_rx.into(), out_tx.into())?,
    ];
    if !wait_for_listener(&names, true, Instant::now() + Duration::from_secs(5)) {
        return Err(Failure::Broken(format!("does not listen: {}", crew[1].complaint())));
    }
    // A pipe in packet mode: whoever reads it gets one datagram's bytes, however many it asks for.
    let (in_rx, in_tx) = pipe(PipeFlags::DIRECT)?;
    crew.push(client.start(in_rx.into(), Stdio::null())?);
    crew.push(fill.start(Stdio::null(), in_tx.into())?);
    if let Err(why) = wait(lab, &mut crew, &[0], Instant::now() + Duration::from_secs(60)) {
        return Err(explained(why, &mut crew[1..3]));
    }
    let text = crew[0].output()?;
    let figures: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [got, nanos] = figures[..] else {
        return Err(explained(Failure::Broken(crew[0].complaint()), &mut crew[1..3]));
    };
    if got == 0 {
        return Err(explained(Failure::Broken("nothing arrived".into()), &mut crew[1..3]));
    }
    Ok(Sample {
        value: got as f64 / (nanos as f64 / 1e9),
        // CPU time in microseconds for each that was to arrive.
        amount: count as f64 / 1e6,
        near: crew[2].usage(),
        far: crew[1].usage(),
        lost: count - got.min(count),
    })
}
