//! The options that read a mailbox.

use super::place::{is_number, quoted, usage};
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::mail::{Protocol, Reading};
use crate::proto::imap::fetch::Flagging;
use crate::proto::numbers::Numbers;
use crate::proto::{imap, pop3};

/// What is to be read, if anything is.
///
/// # Errors
/// An option of another protocol, what is no number, and no login.
pub(super) fn reading(
    args: &Args,
    protocol: Protocol,
    has_login: bool,
) -> Result<Option<Reading>, Error> {
    let options = [
        (args.list, "--list", [Protocol::Pop3, Protocol::Imap]),
        (args.fetch.is_some(), "--fetch", [Protocol::Pop3, Protocol::Imap]),
        (args.top.is_some(), "--top", [Protocol::Pop3, Protocol::Pop3]),
        (args.delete.is_some(), "--delete", [Protocol::Pop3, Protocol::Imap]),
        (args.append.is_some(), "--append", [Protocol::Imap, Protocol::Imap]),
        (args.idle, "--idle", [Protocol::Imap, Protocol::Imap]),
        (args.accept.is_some(), "--accept", [Protocol::Imap, Protocol::Imap]),
        (args.folder.is_some(), "--folder", [Protocol::Imap, Protocol::Imap]),
        (args.search.is_some(), "--search", [Protocol::Imap, Protocol::Imap]),
        (args.flag.is_some(), "--flag", [Protocol::Imap, Protocol::Imap]),
    ];
    let given: Vec<_> = options.iter().filter(|(given, ..)| *given).collect();
    if args.mailbox.is_some() && args.fetch.is_none() {
        return Err(usage("--mailbox goes with --fetch, or with -l: what is put there?"));
    }
    let Some((_, option, _)) = given.first() else { return Ok(None) };
    if let Some((_, other, of)) = given.iter().find(|(.., of)| !of.contains(&protocol)) {
        let helpers = if of[0] == of[1] { "" } else { " or --imap" };
        let first = if of[0] == Protocol::Pop3 { "--pop3" } else { "--imap" };
        return Err(usage(format!("{other} goes with {first}{helpers}")));
    }
    if !has_login {
        return Err(usage(format!("{option} needs a login")).hint("--auth USER"));
    }
    let numbers = |option: &str, typed: &Option<String>| {
        let parsed = typed.as_deref().map(|typed| {
            Numbers::parse(typed).map_err(|why| usage(format!("{option} {}: {why}", quoted(typed))))
        });
        parsed.transpose()
    };
    let fetch = numbers("--fetch", &args.fetch)?;
    for (given, option) in [(args.no_wait, "--no-wait"), (args.explain, "--explain")] {
        if given {
            return Err(usage(format!(
                "{option} and --list or --fetch do not go together: it is about a session that is \
                 typed"
            )));
        }
    }
    Ok(Some(if protocol == Protocol::Pop3 {
        let lines = args.top.as_deref().map(|typed| {
            typed.parse().ok().filter(|_| is_number(typed)).ok_or_else(|| {
                usage(format!("--top takes a number of lines, not {}", quoted(typed)))
            })
        });
        if args.top.is_some() && fetch.is_none() {
            return Err(usage("--top goes with --fetch: of which messages?"));
        }
        if args.top.is_some() && args.delete.is_some() {
            return Err(usage("--top and --delete do not go together: the rest would be lost"));
        }
        Reading::Pop3(pop3::fetch::Wish {
            list: args.list,
            fetch,
            lines: lines.transpose()?,
            delete: numbers("--delete", &args.delete)?,
            keep: args.mailbox.is_some(),
            date: String::new(),
        })
    } else {
        for (option, typed) in [("--folder", &args.folder), ("--search", &args.search)] {
            if let Some(typed) = typed
                && (typed.is_empty() || typed.chars().any(char::is_control))
            {
                return Err(usage(format!("{option} is one line of text, not {}", quoted(typed))));
            }
        }
        if args.search.as_deref().is_some_and(|keys| keys.trim_end().ends_with('}')) {
            return Err(usage("--search takes no literal: put the text into quotes"));
        }
        // Without a word about the mailbox, --list is about which there are.
        let about_one = args.fetch.is_some() || args.search.is_some();
        let about_one = about_one || args.delete.is_some() || args.idle;
        let accept = args.accept.as_deref().map(|typed| {
            typed.parse().ok().filter(|n| *n > 0 && is_number(typed)).ok_or_else(|| {
                usage(format!("--accept takes a number of messages, not {}", quoted(typed)))
            })
        });
        let accept = accept.transpose()?;
        if accept.is_some() && !args.idle {
            return Err(usage("--accept goes with --idle: messages that arrive"));
        }
        let flag = args
            .flag
            .as_deref()
            .map(|typed| Flagging::parse(typed).map_err(|why| usage(format!("--flag: {why}"))));
        if flag.is_some() && args.fetch.is_none() && args.search.is_none() {
            return Err(usage("--flag goes with --fetch or --search: which messages?"));
        }
        let folder = args.folder.clone().or_else(|| about_one.then(|| "INBOX".to_owned()));
        if !args.list && !about_one && args.append.is_none() {
            return Err(usage("--folder goes with --list, --search, --fetch and their kin"));
        }
        Reading::Imap(imap::fetch::Wish {
            list: args.list,
            folder,
            search: args.search.clone(),
            fetch,
            append: None,
            flag: flag.transpose()?,
            delete: numbers("--delete", &args.delete)?,
            idle: args.idle.then(|| accept.unwrap_or(0)),
            keep: args.mailbox.is_some(),
            date: String::new(),
        })
    }))
}
