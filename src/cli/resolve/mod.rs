//! What the options mean together: defaults, conflicts, and remedies.

mod calling;
pub(super) mod dns;
mod listening;
mod mail;
mod mock;
mod place;
mod proxy;
mod read;
pub(super) mod script;
mod send;
mod serve;
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
    if args.dns {
        return dns::config(&args).map(Job::Dns);
    }
    dns::only_with_dns(&args)?;
    let args = with_transport(args)?;
    let args = practising(args)?;
    if args.listen || args.broker || args.chat {
        let args = Args { listen: true, ..args };
        listening::config(&args, environment, report).map(|config| Job::Listen(Box::new(config)))
    } else {
        calling::config(&args, environment, report).map(|config| Job::Connect(Box::new(config)))
    }
}

/// Practice is a call to nobody, in which everything is said that can be.
fn practising(args: Args) -> Result<Args, Error> {
    if !args.practice {
        return Ok(args);
    }
    if args.listen {
        return Err(usage("--practice and -l do not go together: it has a server of its own"));
    }
    if let Some(target) = args.operands.first() {
        return Err(usage(format!(
            "--practice calls nobody, so {} is not needed",
            place::quoted(target)
        )));
    }
    let reads = args.list || args.fetch.is_some() || args.search.is_some() || !args.to.is_empty();
    Ok(Args {
        operands: vec!["localhost".to_owned()],
        explain: args.explain || !reads,
        // We know who it is.
        ssl_insecure: true,
        ..args
    })
}

/// A transport in the target is the same as by its options.
fn with_transport(mut args: Args) -> Result<Args, Error> {
    let target = args.operands.first().cloned().unwrap_or_default();
    let Some((scheme, place)) = target.split_once(':') else { return Ok(args) };
    let bare = place.strip_prefix("//");
    match (scheme.to_ascii_lowercase().as_str(), bare) {
        ("udp", Some(_)) => args.udp = true,
        ("dtls", Some(_)) => (args.udp, args.ssl) = (true, true),
        ("unix-dgram", _) => {
            let path = bare.filter(|path| path.starts_with('/')).unwrap_or(place);
            args.operands[0] = path.to_owned();
            (args.udp, args.unixsock) = (true, true);
        }
        ("vsock", _) => {
            let words = bare.unwrap_or(place).split(':').filter(|word| !word.is_empty());
            let words: Vec<_> = words.map(str::to_owned).collect();
            args.operands.splice(0..1, words);
            args.vsock = true;
            return Ok(args);
        }
        _ => return Ok(args),
    }
    if args.sctp {
        return Err(usage(format!("{scheme}: and --sctp do not go together: take one of them")));
    }
    Ok(args)
}

#[cfg(test)]
mod tests;
