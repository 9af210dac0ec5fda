//! Bytes from one program to another: what is sent comes from a pipe or a file, what arrives goes
//! into a pipe, a file or nowhere.

use crate::figures::{Failure, Sample};
use crate::lab::{Lab, wait_for_listener};
use crate::run::{Line, Running, linger, wait};
use crate::scenario::Contender;
use crate::tool::pattern::{CHUNK, Pattern};

use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Those who are not needed any more may end by themselves, so that their CPU time is whole.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the bytes come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Pipe,
    File,
}

/// Where they go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Pipe,
    Null,
    File,
}

/// What is moved.
pub(crate) struct Transfer {
    pub(crate) bytes: u64,
    pub(crate) from: From,
    pub(crate) to: To,
    /// The same from the server to the client, at once. Both ways are pipes.
    pub(crate) both: bool,
}

/// One run, as it is set up.
struct Plan {
    bytes: u64,
    to: To,
    check: &'static str,
}

impl Transfer {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        let plan = Plan { bytes: lab.scaled(self.bytes), to: self.to, check: "ends" };
        self.carry_out(lab, contender, &plan)
    }

    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        // What goes to /dev/null cannot be looked at, so here it goes to a pipe. All of it: some
        // lose bytes only late.
        let to = if self.to == To::Null { To::Pipe } else { self.to };
        self.carry_out(lab, contender, &Plan { bytes: lab.scaled(self.bytes), to, check: "all" })
    }

    fn carry_out(&self, lab: &Lab, contender: &Contender, plan: &Plan) -> Result<Sample, Failure> {
        let names = lab.names()?;
        let server = Line::new(lab, contender.server, &names)?;
        let client = Line::new(lab, contender.client, &names)?;
        let deadline = Instant::now() + PATIENCE;
        let ways = if self.both { 2 } else { 1 };

        // Each stage takes its ends of the pipes with it, so that an end is seen when it exits.
        let mut drains = Vec::new();
        let (server_held, server_in) = self.input(lab, plan, self.both)?;
        let server_out = output(lab, plan, plan.to, &mut drains)?;
        let mut crew = vec![server.start(server_in.stdio, server_out)?];
        if !wait_for_listener(&names, false, Instant::now() + Duration::from_secs(5)) {
            return Err(Failure::Broken(format!("does not listen: {}", crew[0].complaint())));
        }
        let (client_held, client_in) = self.input(lab, plan, true)?;
        let to = if self.both { To::Pipe } else { To::Null };
        let client_out = output(lab, plan, to, &mut drains)?;

        let began = Instant::now();
        crew.push(client.start(client_in.stdio, client_out)?);
        let mut feeders = Vec::new();
        for feed in [server_in.feed, client_in.feed].into_iter().flatten() {
            feeders.push(self.feed(lab, plan, feed)?);
        }
        let drains_at = crew.len();
        crew.append(&mut drains);
        // A drain reports the last byte. Without one, the server's end is the end.
        let last: Vec<usize> =
            if crew.len() > drains_at { (drains_at..crew.len()).collect() } else { vec![0] };
        let late = wait(lab, &mut crew, &last, deadline);
        let took = began.elapsed();
        if let Err(why) = late {
            return Err(explained(why, &mut crew[..2]));
        }
        drop((server_held, client_held, feeders));
        linger(lab, &mut crew, &[0, 1], FAREWELL);

        let mut lost = 0;
        for at in drains_at..crew.len() {
            let (got, right) = reported(&mut crew[at])?;
            lost += judged(plan.bytes, got, right, &mut crew[..2])?;
        }
        if plan.to == To::File {
            let (got, right) = compare(&output_file(lab))?;
            lost += judged(plan.bytes, got, right, &mut crew[..2])?;
        }
        let amount = (plan.bytes * ways) as f64 / 1e9;
        Ok(Sample {
            value: amount / took.as_secs_f64(),
            amount,
            near: crew[1].usage(),
            far: crew[0].usage(),
            lost,
        })
    }

    /// Where both sides send, neither input ends before all has arrived: most take the peer's end
    /// for the end of all.
    fn feed(&self, lab: &Lab, plan: &Plan, into: OwnedFd) -> Result<Running, Failure> {
        let then = if self.both { "stay" } else { "" };
        let line = format!("tool:fill {} {then}", plan.bytes);
        Line::new(lab, &line, &lab.names()?)?.start(Stdio::null(), into.into())
    }

    /// A program's standard input: what it is to send, or silence that does not end, since some
    /// hang up at the end of their input. What keeps the silence up is returned first.
    fn input(
        &self,
        lab: &Lab,
        plan: &Plan,
        sends: bool,
    ) -> Result<(Option<OwnedFd>, Input), Failure> {
        if sends && self.from == From::File {
            let file = File::open(lab.input(plan.bytes)?)?;
            return Ok((None, Input { stdio: file.into(), feed: None }));
        }
        let (rx, tx) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let (held, feed) = if sends { (None, Some(tx)) } else { (Some(tx), None) };
        Ok((held, Input { stdio: rx.into(), feed }))
    }
}

/// What a program reads, and the end into which that is to be written.
struct Input {
    stdio: Stdio,
    feed: Option<OwnedFd>,
}

/// A program's standard output; what drains it is added to `drains`.
fn output(lab: &Lab, plan: &Plan, to: To, drains: &mut Vec<Running>) -> Result<Stdio, Failure> {
    Ok(match to {
        To::Null => Stdio::null(),
        To::File => {
            let path = output_file(lab);
            // A new file: pages that are there already are cheaper than new ones.
            let _ = fs::remove_file(&path);
            File::create(path)?.into()
        }
        To::Pipe => {
            let (rx, tx) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
            let line = format!("tool:drain {} {}", plan.bytes, plan.check);
            let line = Line::new(lab, &line, &lab.names()?)?;
            drains.push(line.start(rx.into(), Stdio::piped())?.that_reports());
            tx.into()
        }
    })
}

fn output_file(lab: &Lab) -> PathBuf {
    lab.path("output")
}

/// What `tool::stream::report` wrote.
pub(super) fn reported(drain: &mut Running) -> Result<(u64, bool), Failure> {
    let text = drain.report()?;
    let mut words = text.split_whitespace();
    let bytes = words.next().and_then(|n| n.parse().ok());
    let Some(bytes) = bytes else { return Err(Failure::Broken(drain.complaint())) };
    Ok((bytes, words.next() == Some("right")))
}

/// How many bytes are missing; wrong ones, or none at all, are a failure.
pub(super) fn judged(
    wanted: u64,
    got: u64,
    right: bool,
    who: &mut [Running],
) -> Result<u64, Failure> {
    if got == 0 {
        return Err(explained(Failure::Broken("nothing arrived".into()), who));
    }
    if !right || got > wanted {
        return Err(Failure::Broken(format!("other bytes arrived than were sent ({got})")));
    }
    Ok(wanted - got)
}

/// With what the programs themselves said of it.
pub(super) fn explained(why: Failure, who: &mut [Running]) -> Failure {
    let Failure::Broken(why) = why else { return why };
    let said: Vec<String> = who
        .iter_mut()
        .map(Running::complaint)
        .filter(|said| !said.ends_with("it said nothing"))
        .collect();
    Failure::Broken(if said.is_empty() { why } else { format!("{why}; {}", said.join("; ")) })
}

/// A whole file against the pattern.
fn compare(path: &Path) -> Result<(u64, bool), Failure> {
    let mut file = File::open(path)?;
    let pattern = Pattern::new();
    let mut buf = vec![0; CHUNK];
    let (mut at, mut right) = (0, true);
    loop {
        let n = file.read(&mut buf)?;
        if n == 0 {
            break;
        }
        right &= pattern.is(at, &buf[..n]);
        at += n as u64;
    }
    fs::remove_file(path)?;
    Ok((at, right))
}
