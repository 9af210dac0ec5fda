//! Children: started, watched, asked what they took, and ended.

use crate::figures::{Failure, Usage};
use crate::lab::{Lab, Names};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child, and all that it started. Dropping it ends them.
pub(crate) struct Running {
    name: String,
    child: Child,
    exited: OwnedFd,
    done: bool,
    /// It is done when it has written something, and stays.
    reports: bool,
    peak_kib: u64,
    /// What it says on standard error, to tell why it failed.
    said: File,
}

/// A command line, ready to be started.
pub(crate) struct Line {
    program: std::path::PathBuf,
    name: String,
    words: Vec<String>,
    env: Vec<(String, String)>,
}

impl Line {
    /// Reads one: `NAME=value` words first, then who, then the rest; `{name}` stands for a name's
    /// value, and a word that is
    /// empty then is left out. Who is `ours`, `tool:ROLE` (this program again), or a peer's key.
    pub(crate) fn new(lab: &Lab, line: &str, names: &Names) -> Result<Self, Failure> {
        let mut env = Vec::new();
        let mut words = line.split_whitespace().map(|word| fill_in(word, names));
        let who = loop {
            let word = words.next().ok_or(Failure::Absent)?;
            match word.split_once('=') {
                Some((name, value)) => env.push((name.to_owned(), value.to_owned())),
                None => break word,
            }
        };
        let mut line = Self { program: "".into(), name: who.clone(), words: Vec::new(), env };
        if who == "ours" {
            line.program = lab.ours.clone();
        } else if let Some(role) = who.strip_prefix("tool:") {
            line.program = std::env::current_exe()?;
            line.words = vec!["--role".to_owned(), role.to_owned()];
        } else {
            let peer = lab.peers.iter().find(|peer| peer.key == who);
            let peer = peer.ok_or_else(|| Failure::Broken(format!("no peer is called {who}")))?;
            line.program = peer.program.clone().ok_or(Failure::Absent)?;
        }
        line.words.extend(words.filter(|word| !word.is_empty()));
        Ok(line)
    }

    /// Starts it, in a process group of its own.
    pub(crate) fn start(&self, stdin: Stdio, stdout: Stdio) -> Result<Running, Failure> {
        // In memory: a file on a disk would be in the time of every start.
        let said = memfd_create("said", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let said = File::from(said);
        let child = Command::new(&self.program)
            .args(&self.words)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(said.try_clone()?)
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::Broken(format!("cannot run {}: {e}", self.program.display())))?;
        let exited = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .map_err(std::io::Error::from)?;
        Ok(Running {
            name: self.name.clone(),
            child,
            exited,
            done: false,
            reports: false,
            peak_kib: 0,
            said,
        })
    }
}

fn fill_in(word: &str, names: &Names) -> String {
    names
        .iter()
        .fold(word.to_owned(), |word, (name, value)| word.replace(&format!("{{{name}}}"), value))
}

impl Running {
    /// One that says by a line on a pipe that it is done. It stays to the end of its input: when
    /// whoever reads a program's output goes away, many a program takes that for the end of all.
    pub(crate) fn that_reports(mut self) -> Self {
        self.reports = true;
        self
    }

    /// The line that it wrote on a pipe.
    pub(crate) fn report(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if let Some(out) = &mut self.child.stdout {
            BufReader::new(out).read_line(&mut line)?;
        }
        Ok(line)
    }

    /// What shows that it is done.
    fn signal(&self) -> PollFd<'_> {
        match &self.child.stdout {
            Some(out) if self.reports => PollFd::new(out, PollFlags::IN),
            Some(_) | None => PollFd::new(&self.exited, PollFlags::IN),
        }
    }

    /// All that it wrote on a pipe.
    pub(crate) fn output(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        if let Some(out) = &mut self.child.stdout {
            out.read_to_string(&mut text)?;
        }
        Ok(text)
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it took so far, or in all when it is gone.
    pub(crate) fn usage(&mut self) -> Usage {
        self.look();
        Usage { cpu: cpu(self.child.id()), peak_kib: self.peak_kib }
    }

    /// Takes its status; it has exited.
    pub(crate) fn status(&mut self) -> Result<ExitStatus, Failure> {
        Ok(self.child.wait()?)
    }

    /// Why it failed, in its own words.
    pub(crate) fn complaint(&mut self) -> String {
        let mut text = String::new();
        // What cannot be read is no complaint.
        let _ = self.said.rewind().and_then(|()| self.said.read_to_string(&mut text));
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let last: String = last.chars().take(70).collect();
        format!("{}: {last}", self.name)
    }

    /// The high-water mark of its memory, while it can still be asked.
    fn look(&mut self) {
        let kib = memory(self.child.id(), "VmHWM:");
        self.peak_kib = self.peak_kib.max(kib.unwrap_or(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not reaped yet, so the number is still its own, and its group's.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Waits until all of `whom` have exited, or reported, and looks at everybody's memory meanwhile.
pub(crate) fn wait(
    lab: &Lab,
    crew: &mut [Running],
    whom: &[usize],
    deadline: Instant,
) -> Result<(), Failure> {
    loop {
        for running in crew.iter_mut().filter(|running| !running.done) {
            running.look();
        }
        let waiting: Vec<usize> = whom.iter().copied().filter(|at| !crew[*at].done).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if lab.interrupted() {
            return Err(Failure::Interrupted);
        }
        if Instant::now() > deadline {
            let names: Vec<&str> = waiting.iter().map(|at| crew[*at].name.as_str()).collect();
            return Err(Failure::Broken(format!("{} did not end in time", names.join(" and "))));
        }
        let ready: Vec<bool> = {
            let mut polled: Vec<PollFd<'_>> = waiting.iter().map(|at| crew[*at].signal()).collect();
            // A signal may cut it short; the loop looks again.
            let _ = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 }));
            polled.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        for (at, ready) in waiting.into_iter().zip(ready) {
            crew[at].done |= ready;
        }
    }
}

/// Like `wait`, but those who are late are only late.
pub(crate) fn linger(lab: &Lab, crew: &mut [Running], whom: &[usize], patience: Duration) {
    let _ = wait(lab, crew, whom, Instant::now() + patience);
}

/// A line of proc(5)'s status, in KiB.
pub(crate) fn memory(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of a process that has not been reaped, with the children that it has reaped itself.
///
/// schedstat counts nanoseconds where stat counts ticks of 10 ms, but of the process alone.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name is in parentheses and may have spaces in it. Behind it utime is the 12th field.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|n| n.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let ticks = |from: usize| {
        let sum: u64 = fields.iter().skip(from).take(2).sum();
        Duration::from_millis(10 * sum)
    };
    let exact = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let exact = exact.split_whitespace().next().and_then(|n| n.parse().ok());
    let threads = fields.get(17).copied().unwrap_or(1);
    let own = match exact {
        Some(nanos) if threads <= 1 && nanos > 0 => Duration::from_nanos(nanos),
        _ => ticks(11),
    };
    own + ticks(13)
}
