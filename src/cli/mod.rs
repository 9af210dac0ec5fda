//! The command line to a [`Job`]; the one place that reads arguments and the environment.

mod args;
mod netrc;
mod resolve;

use crate::error::Error;
use crate::modes::Job;
use crate::report::Report;
use args::Args;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{CommandFactory, Parser};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// A job, and how much is said about it.
    Job(Box<Job>, Report),
    /// A text on standard output: the help, completions.
    Print(String),
    /// The version, on standard error as ncat has it.
    Version,
}

/// The environment, as far as we care.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    /// `NCAT_AUTH`
    pub auth: Option<OsString>,
    /// `NCAT_PROXY_AUTH`
    pub proxy_auth: Option<OsString>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `SSLKEYLOGFILE` is set and not empty.
    pub key_log: bool,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// `TMPDIR`
    pub scratch: Option<PathBuf>,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            auth: std::env::var_os("NCAT_AUTH").filter(|value| !value.is_empty()),
            proxy_auth: std::env::var_os("NCAT_PROXY_AUTH").filter(|value| !value.is_empty()),
            no_color: is_set("NO_COLOR"),
            key_log: is_set("SSLKEYLOGFILE"),
            home: std::env::var_os("HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from),
            scratch: std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from),
        }
    }
}

/// Reads the command line, the program's name first.
///
/// # Errors
/// What is wrong with it (exit 2).
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Asked, Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut args =
        match switches_alone(&arguments).map_or_else(|| Args::try_parse_from(&arguments), Ok) {
            Ok(args) => args,
            Err(e) if e.kind() == ErrorKind::DisplayHelp => return Ok(Asked::Print(e.to_string())),
            Err(e) => return Err(say(&e)),
        };
    if args.version {
        return Ok(Asked::Version);
    }
    if let Some(shell) = &args.completions {
        return completions(shell);
    }
    if args.dns
        && let Some(other) = other_than(resolve::dns::ITS_OWN, &arguments)
    {
        return Err(Error::usage(format!(
            "--dns and {other} do not go together: a look-up is no conversation"
        )));
    }
    if !(args.expect.is_empty() && args.send.is_empty()) {
        args.steps = resolve::script::in_order(&arguments);
    }
    let report = Report::new(args.verbose, environment.no_color);
    let job = resolve::job(args, environment, &report)?;
    Ok(Asked::Job(Box::new(job), report))
}

/// A command line of operands and simple switches, such as `ncat -lk 25`: the some hundred options
/// that there are need not be built for it. That is half a millisecond of a start that takes two.
fn switches_alone(arguments: &[OsString]) -> Option<Args> {
    let mut args = Args::default();
    for argument in arguments.get(1..)? {
        let text = argument.to_str()?;
        match text.strip_prefix('-') {
            None => args.operands.push(text.to_owned()),
            Some("-ssl") => switch(&mut args.ssl)?,
            Some("-ssl-insecure") => switch(&mut args.ssl_insecure)?,
            Some("-ssl-verify") => switch(&mut args.ssl_verify)?,
            Some("-send-only") => switch(&mut args.send_only)?,
            Some("-recv-only") => switch(&mut args.recv_only)?,
            Some("") => return None,
            Some(letters) => {
                for letter in letters.chars() {
                    match letter {
                        '4' if !args.v6 => switch(&mut args.v4)?,
                        '6' if !args.v4 => switch(&mut args.v6)?,
                        'C' => switch(&mut args.crlf)?,
                        'N' => switch(&mut args.tell_end)?,
                        'k' => switch(&mut args.keep_open)?,
                        'l' => switch(&mut args.listen)?,
                        'n' => switch(&mut args.nodns)?,
                        'u' => switch(&mut args.udp)?,
                        'z' => switch(&mut args.probe)?,
                        'v' => args.verbose = args.verbose.checked_add(1)?,
                        _ => return None,
                    }
                }
            }
        }
    }
    Some(args)
}

/// `None` when it is on already: what a repetition means is the parser's to say.
fn switch(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

fn completions(shell: &str) -> Result<Asked, Error> {
    let kind: clap_complete::Shell = shell.parse().map_err(|_| {
        Error::usage(format!("there are no completions for \"{shell}\""))
            .hint("bash, elvish, fish, powershell and zsh have them")
    })?;
    let mut out = Vec::new();
    clap_complete::generate(kind, &mut Args::command(), "ncat", &mut out);
    Ok(Asked::Print(String::from_utf8_lossy(&out).into_owned()))
}

/// The first option that is given and is none of these (by their long names), as it is spelled.
fn other_than(these: &[&str], arguments: &[OsString]) -> Option<String> {
    let command = Args::command();
    let matches = command.clone().try_get_matches_from(arguments).ok()?;
    let given = |arg: &&clap::Arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    command
        .get_arguments()
        .filter(given)
        // Operands have no name.
        .filter(|arg| arg.get_short().is_some() || arg.get_long().is_some())
        .find(|arg| !arg.get_long().is_some_and(|long| these.contains(&long)))
        .map(|arg| match (arg.get_short(), arg.get_long()) {
            (Some(letter), _) => format!("-{letter}"),
            (None, long) => format!("--{}", long.unwrap_or_default()),
        })
}

/// clap's complaint in our words.
#[expect(clippy::wildcard_enum_match_arm, reason = "clap's kinds are an open set")]
fn say(error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = |text: &str| text.split([' ', '=']).next().unwrap_or(text).to_owned();
    let given = context(ContextKind::InvalidArg).map_or_else(String::new, option);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let ambiguous = same_start(&given);
            if ambiguous.len() > 1 {
                let all = ambiguous.join(" ");
                return Error::usage(format!("{given} may be one of several options: {all}"));
            }
            // Behind bundled letters clap shows the rest of the word only.
            if given == "-" {
                return Error::usage("a letter takes no value with a =: -z, not -z=1")
                    .hint("a letter's value follows it: -w 2 or -w2");
            }
            let error = Error::usage(format!("{given} is not an option of ncat"));
            // Nobody who writes --nosuch has --announce in mind.
            let alike = |near: &&str| near.as_bytes().get(2) == given.as_bytes().get(2);
            match context(ContextKind::SuggestedArg).filter(alike) {
                Some(near) => {
                    error.hint(format!("there is {}; ncat --help lists them", option(near)))
                }
                None => error.hint("ncat --help lists them"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues => {
            Error::usage(format!("{} needs a value", spelled(&given)))
        }
        ErrorKind::TooManyValues => Error::usage(format!("{given} takes no value")),
        ErrorKind::InvalidUtf8 => Error::usage("an argument is not valid UTF-8"),
        // The rest cannot happen with options that clap does not check.
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Error::usage(line.strip_prefix("error: ").unwrap_or(line))
        }
    }
}

/// Both spellings of an option: `-w, --wait TIME`.
fn spelled(long: &str) -> String {
    let command = Args::command();
    let known = command
        .get_arguments()
        .find(|arg| arg.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name)));
    let Some(arg) = known else { return long.to_owned() };
    let short = arg.get_short().map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{short}{long}{value}")
}

/// The long options that start with what was typed.
fn same_start(typed: &str) -> Vec<String> {
    let Some(start) = typed.strip_prefix("--").filter(|start| !start.is_empty()) else {
        return Vec::new();
    };
    let command = Args::command();
    let names = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let longs = names.filter_map(|arg| arg.get_long());
    longs.filter(|long| long.starts_with(start)).map(|long| format!("--{long}")).collect()
}

/// Text that the person typed, if it is text.
fn text(value: &OsStr) -> Result<&str, Error> {
    value.to_str().ok_or_else(|| Error::usage("an argument is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn switches_alone_mean_what_they_mean_to_the_parser() {
        let long = ["--ssl", "--ssl-insecure", "--ssl-verify", "--send-only", "--recv-only"];
        let all = "46CNklnuzv".chars().map(|letter| format!("-{letter}"));
        let all: Vec<_> = all.chain(long.map(str::to_owned)).collect();
        let mut lines = vec![
            "ncat".to_owned(),
            "ncat h 1".to_owned(),
            "ncat unix:/x".to_owned(),
            "ncat smtp://a@b 25".to_owned(),
            "ncat a b c d".to_owned(),
            "ncat -lk 25".to_owned(),
            "ncat h -zvvnuC 1 -4".to_owned(),
        ];
        for one in &all {
            lines.push(format!("ncat {one} h 1"));
            lines.extend(all.iter().map(|other| format!("ncat {one} h {other} 1")));
        }
        let mut alike = 0;
        for line in lines {
            let Some(alone) = switches_alone(&words(&line)) else { continue };
            let parsed = Args::try_parse_from(words(&line)).unwrap();
            assert_eq!(format!("{alone:?}"), format!("{parsed:?}"), "{line}");
            alike += 1;
        }
        // All pairs but those of one with itself (-v is counted), and of -4 with -6.
        assert_eq!(alike, 7 + 15 + 15 * 14 + 1 - 2);
    }

    #[test]
    fn all_else_is_the_parsers() {
        for line in [
            "ncat h -",
            "ncat h 1 --help",
            "ncat -- h 1",
            "ncat -p 1 h",
            "ncat -e x",
            "ncat -vw1 h",
            "ncat -ll",
            "ncat --ssl=x h",
            "ncat -h",
            "ncat --listen",
            "ncat -z\u{e9} h",
        ] {
            assert!(switches_alone(&words(line)).is_none(), "{line}");
        }
    }
}
