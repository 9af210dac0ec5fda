//! `--script`, `--expect` and `--send`: one script, wherever it stands.

use super::place::usage;
use crate::cli::args::Args;
use crate::error::{Error, words};
use crate::proto::script::{Script, grammar, transcript};
use clap::{ArgMatches, CommandFactory};
use std::ffi::OsString;
use std::path::Path;

/// One step that was given as an option.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Given {
    Expect(String),
    Send(String),
}

/// The steps among the options, in the order in which they were written.
pub(in crate::cli) fn in_order(arguments: &[OsString]) -> Vec<Given> {
    let Ok(matches) = Args::command().try_get_matches_from(arguments) else { return Vec::new() };
    let mut steps = each(&matches, "expect", Given::Expect);
    steps.extend(each(&matches, "send", Given::Send));
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

fn each(matches: &ArgMatches, name: &str, step: fn(String) -> Given) -> Vec<(usize, Given)> {
    let indices = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<String>(name).into_iter().flatten();
    indices.zip(values).map(|(at, value)| (at, step(value.clone()))).collect()
}

/// The script, if there is one.
///
/// # Errors
/// A file that cannot be read, what cannot be understood, what does not go together.
pub(super) fn script(args: &Args) -> Result<Option<Script>, Error> {
    let option = match (&args.script, args.steps.as_slice()) {
        (None, []) => return Ok(None),
        (Some(_), [_, ..]) => {
            return Err(usage(
                "--script and --expect or --send do not go together: write the steps into the \
                 script",
            ));
        }
        (Some(_), []) => "--script",
        (None, [Given::Expect(_), ..]) => "--expect",
        (None, [Given::Send(_), ..]) => "--send",
    };
    let clash = [
        (args.smtp || args.pop3 || args.imap || args.lmtp, "a mail helper"),
        (args.starttls.is_some(), "--starttls"),
        (args.broker || args.chat, "--broker"),
        (!args.proxy_type.is_empty() && args.listen, "a proxy server"),
        (args.telnet, "-t"),
        (args.crlf, "-C"),
        (
            !(args.exec.is_empty() && args.sh_exec.is_empty() && args.lua_exec.is_empty()),
            "a command",
        ),
    ];
    if let Some((_, other)) = clash.iter().find(|(given, _)| *given) {
        return Err(usage(format!("{option} and {other} do not go together")));
    }
    let script = match &args.script {
        Some(file) => from_file(file, !args.listen)?,
        None => from_options(&args.steps)?,
    };
    if script.upgrades() && (args.udp || args.unixsock || args.vsock || args.ssl) {
        return Err(usage("the step starttls wants a TCP connection without TLS from its start"));
    }
    Ok(Some(script))
}

fn from_options(steps: &[Given]) -> Result<Script, Error> {
    let mut builder = grammar::Builder::default();
    for step in steps {
        match step {
            Given::Expect(source) => builder.expect(source).map_err(|why| ("expect", source, why)),
            Given::Send(text) => builder.send(text).map_err(|why| ("send", text, why)),
        }
        .map_err(|(option, typed, why)| usage(format!("--{option} \"{typed}\": {why}")))?;
    }
    builder.finish().map_err(usage)
}

fn from_file(file: &Path, as_client: bool) -> Result<Script, Error> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::machine(format!("cannot read --script {name}: {}", words(&e))))?;
    let read = match transcript::is_record(&text) {
        true => transcript::parse(&text, &name, as_client),
        false => grammar::parse(&text, &name),
    };
    read.map_err(usage)
}
