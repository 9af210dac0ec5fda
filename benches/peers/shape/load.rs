//! A server under load: one of our tools, or a peer, is the load, and counts.

use super::transfer::explained;
use crate::figures::{Failure, Sample};
use crate::lab::{Lab, free_port, wait_for_listener};
use crate::run::{Line, Running, linger, wait};
use crate::scenario::Contender;

use rustix::pipe::{PipeFlags, pipe_with};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is done to the contender's server.
pub(crate) struct Load {
    /// Of whatever it is; `{n}` in a command line.
    pub(crate) n: u64,
    /// Another server, on `{back}`, that the contender calls; empty for none.
    pub(crate) behind: &'static str,
    /// Who calls `{port}`. `{pid}` is the contender's.
    pub(crate) driver: &'static str,
    pub(crate) counted_by: CountedBy,
    pub(crate) more_is_better: bool,
}

/// Where the figure comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountedBy {
    /// The driver prints the figure, and by how much the CPU time is to be divided.
    Driver,
    /// `n` a second, as long as the driver ran.
    Clock,
}

impl Load {
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        let n = lab.scaled(self.n);
        let mut names = lab.names()?;
        let mut back = lab.names()?;
        back.insert("port", free_port()?.to_string());
        names.insert("back", back["port"].clone());
        names.insert("n", n.to_string());
        let soon = Instant::now() + Duration::from_secs(5);

        let mut behind = None;
        if !self.behind.is_empty() {
            let line = Line::new(lab, self.behind, &back)?;
            behind = Some(line.start(Stdio::null(), Stdio::null())?);
            if !wait_for_listener(&back, false, soon) {
                return Err(Failure::Broken("the server behind does not listen".into()));
            }
        }
        // Silence that does not end: some hang up at the end of their input.
        let (rx, _silence) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let server = Line::new(lab, contender.server, &names)?;
        let mut crew = vec![server.start(rx.into(), Stdio::null())?];
        if !wait_for_listener(&names, false, soon) {
            return Err(Failure::Broken(format!("does not listen: {}", crew[0].complaint())));
        }
        names.insert("pid", crew[0].pid().to_string());
        let driver = Line::new(lab, self.driver, &names)?;
        let began = Instant::now();
        crew.push(driver.start(Stdio::null(), Stdio::piped())?);
        let late = wait(lab, &mut crew, &[1], began + Duration::from_secs(60));
        let took = began.elapsed();
        if let Err(why) = late {
            return Err(explained(why, &mut crew));
        }
        let (value, amount) = match self.counted_by {
            CountedBy::Driver => counted(&mut crew)?,
            CountedBy::Clock if crew[1].status()?.success() => {
                (n as f64 / took.as_secs_f64(), n as f64)
            }
            CountedBy::Clock => return Err(Failure::Broken(crew[1].complaint())),
        };
        // Commands that were run for callers may still be to be reaped.
        linger(lab, &mut crew, &[0], Duration::from_millis(50));
        let far = crew[0].usage();
        drop(behind);
        // CPU time in milliseconds each.
        Ok(Sample { value, amount: amount / 1e3, far, ..Sample::default() })
    }
}

/// What the driver printed.
fn counted(crew: &mut [Running]) -> Result<(f64, f64), Failure> {
    let text = crew[1].output()?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    match figures[..] {
        [value, amount] => Ok((value, amount)),
        _ => Err(explained(Failure::Broken("the load failed".into()), &mut crew[..])),
    }
}
