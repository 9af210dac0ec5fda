//! A command as an end of a conversation: its standard input and output are pipes of ours.

use super::endpoint::{Endpoint, Io};
use crate::sys::fd::Shared;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// How often a child is looked after where its end brings no event.
const GLANCE: Duration = Duration::from_millis(50);

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// These words, without a shell (`-e`).
    Direct(Vec<String>),
    /// This line, by /bin/sh (`-c`).
    Shell(String),
    /// This Lua script, by ourselves in a process of its own (`--lua-exec`).
    Lua(PathBuf),
}

impl Program {
    /// Starts it in a process group of its own; with `mute` nobody hears its output.
    ///
    /// # Errors
    /// Those of fork(2) and execve(2).
    pub fn start(&self, around: &Surroundings, mute: bool) -> io::Result<(Child, Endpoint)> {
        let mut command = match self {
            Program::Direct(words) => {
                let mut words = words.iter();
                let program = words.next().map_or("", |word| word);
                // As execv(3) does it: a path from here, and no look at PATH.
                let path = if program.contains('/') { "" } else { "./" };
                let mut command = Command::new(format!("{path}{program}"));
                command.arg0(program).args(words);
                command
            }
            Program::Shell(line) => {
                let mut command = Command::new("/bin/sh");
                command.arg0("sh").args(["-c", line]);
                command
            }
            Program::Lua(script) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--lua-exec-internal").arg(script);
                command
            }
        };
        around.tell(&mut command);
        command.stdin(Stdio::piped()).stderr(Stdio::inherit());
        command.stdout(if mute { Stdio::null() } else { Stdio::piped() });
        command.process_group(0);
        let mut process = command.spawn()?;
        let missing = || io::Error::other("its pipes are missing");
        let tx: OwnedFd = process.stdin.take().ok_or_else(missing)?.into();
        let rx = process.stdout.take().map(|rx| Shared::new(rx.into())).transpose()?;
        let endpoint = Endpoint::new(Io::Pair { rx, tx: Some(Shared::new(tx)?) });
        let bell = bell(process.id());
        Ok((Child { process, bell, registered: false, ended: None, told: false }, endpoint))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Direct(words) => f.write_str(&words.join(" ")),
            Program::Shell(line) => f.write_str(line),
            Program::Lua(script) => script.display().fmt(f),
        }
    }
}

/// What a command is told about its conversation, in its environment.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Our end and the peer's: address and port.
    pub parts: [(String, String); 2],
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
}

impl Surroundings {
    fn tell(&self, command: &mut Command) {
        // Addresses are numbers: nothing that a peer could choose gets into an environment.
        let [local, remote] = &self.parts;
        for (name, value) in [
            ("NCAT_REMOTE_ADDR", remote.0.as_str()),
            ("NCAT_REMOTE_PORT", &remote.1),
            ("NCAT_LOCAL_ADDR", &local.0),
            ("NCAT_LOCAL_PORT", &local.1),
            ("NCAT_PROTO", self.protocol),
        ] {
            command.env(name, OsStr::new(value));
        }
    }
}

/// A command that runs, or has run.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    /// Readable once it has ended; only where the kernel has such a thing.
    bell: Option<OwnedFd>,
    registered: bool,
    ended: Option<ExitStatus>,
    /// It has been asked to end.
    told: bool,
}

impl Child {
    /// Registers with the loop, once.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &self.bell {
            Some(bell) if !std::mem::replace(&mut self.registered, true) => {
                registry.register(&mut SourceFd(&bell.as_raw_fd()), token, Interest::READABLE)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Has it ended? One that was asked to has when its whole group has; what a command leaves
    /// behind of its own accord may stay.
    pub fn has_gone(&mut self) -> bool {
        self.status().is_some()
            && !(self.told && self.group().is_some_and(|g| test_kill_process_group(g).is_ok()))
    }

    /// How often to look, where no event tells.
    pub fn glance(&self) -> Option<Duration> {
        (self.bell.is_none() || self.told).then_some(GLANCE)
    }

    /// Asks its whole group to end, or (`hard`) makes it.
    pub fn end(&mut self, hard: bool) {
        // Whoever is gone already has nothing to be told, and its number may be another's.
        if !self.has_gone()
            && let Some(group) = self.group()
        {
            self.told = true;
            let signal = if hard { Signal::KILL } else { Signal::TERM };
            let _ = kill_process_group(group, signal);
        }
    }

    fn group(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.process.id()).ok()?)
    }
}

impl Drop for Child {
    /// No orphan and no zombie: what still runs is ended.
    fn drop(&mut self) {
        if !self.has_gone() {
            self.end(true);
            let _ = self.process.wait();
        }
    }
}

/// An exit status in words: `exit status 3`, `signal 15`.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

#[cfg(target_os = "linux")]
fn bell(process: u32) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    let process = Pid::from_raw(i32::try_from(process).ok()?)?;
    pidfd_open(process, PidfdFlags::NONBLOCK).ok()
}

#[cfg(not(target_os = "linux"))]
fn bell(_: u32) -> Option<OwnedFd> {
    None
}
