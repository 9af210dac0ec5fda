//! What the options mean together: defaults, conflicts, and remedies.

mod calling;
mod listening;
mod mail;
mod place;
mod proxy;
mod session;
mod tls;

use super::Environment;
use super::args::Args;
use crate::error::Error;
use crate::modes::Job;
use crate::report::Report;
use place::usage;

/// The job that was asked for.
///
/// # Errors
/// What does not go together, what is missing, what cannot be understood.
pub(super) fn job(args: Args, environment: &Environment, report: &Report) -> Result<Job, Error> {
    if let Some(script) = args.lua_exec_internal {
        return Ok(Job::Lua(script));
    }
    let args = with_transport(args)?;
    if args.listen || args.broker || args.chat {
        let args = Args { listen: true, ..args };
        listening::config(&args, environment, report).map(|config| Job::Listen(Box::new(config)))
    } else {
        calling::config(&args, environment, report).map(|config| Job::Connect(Box::new(config)))
    }
}

/// A transport in the target is the same as by its options.
fn with_transport(args: Args) -> Result<Args, Error> {
    let scheme = args.operands.first().and_then(|target| target.split_once("://"));
    let scheme = scheme.map(|(scheme, _)| scheme.to_ascii_lowercase());
    let (scheme, ssl) = match scheme.as_deref() {
        Some("udp") => ("udp", args.ssl),
        Some("dtls") => ("dtls", true),
        _ => return Ok(args),
    };
    if args.sctp {
        return Err(usage(format!("{scheme}:// and --sctp do not go together: take one of them")));
    }
    Ok(Args { udp: true, ssl, ..args })
}

#[cfg(test)]
mod tests;
