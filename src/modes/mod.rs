//! The jobs that ncat can be given, each with its own configuration.
//!
//! A mode sees no command line: what cannot be written as a [`Job`] cannot happen.

pub mod builtin;
pub mod call;
pub mod connect;
pub mod dns;
pub mod door;
mod files;
mod forward;
mod guests;
mod json;
pub mod listen;
pub mod lua;
pub mod mail;
pub mod mock;
mod open;
mod printer;
pub mod proxy;
mod script;
pub mod secure;
pub mod send;
mod serve;
pub mod talk;
pub mod tlsinfo;
pub mod via;
mod visit;

use crate::error::{Error, Exit};
use crate::report::Report;
use std::path::PathBuf;

/// One thing to do.
#[derive(Debug)]
pub enum Job {
    /// Call somebody.
    Connect(Box<connect::Config>),
    /// Wait for callers.
    Listen(Box<listen::Config>),
    /// Ask the DNS.
    Dns(dns::Config),
    /// Be the process in which a Lua script runs.
    Lua(PathBuf),
}

/// Does it.
///
/// # Errors
/// What the person should be told, with the exit status that goes with it.
pub fn run(job: Job, report: &Report) -> Result<Exit, Error> {
    if !matches!(job, Job::Lua(_)) {
        report.story(format_args!("Version {}", env!("CARGO_PKG_VERSION")));
    }
    match job {
        Job::Lua(script) => lua::run(&script),
        Job::Connect(config) => connect::run(*config, report),
        Job::Dns(config) => dns::run(&config, report),
        Job::Listen(config) => listen::run(*config, report),
    }
}
