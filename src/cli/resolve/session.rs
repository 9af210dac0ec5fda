//! How a conversation behaves: times, ends, records, and who serves.

use super::place::{is_number, quoted, usage};
use crate::cli::args::Args;
use crate::engine::manners::{Manners, PeerEnd, Receive, UserEnd};
use crate::engine::tap::Format;
use crate::error::Error;
use crate::modes::lua;
use crate::modes::talk::{Log, SafeOutput, Session};
use crate::net::bind::Protocol;
use crate::net::child::Program;
use crate::net::names::Family;
use crate::proto::script::grammar::pattern;
use crate::proto::words::split;
use regex::bytes::Regex;
use std::time::Duration;

/// The longest time an option takes, in milliseconds (ncat's limit).
pub(super) const LONGEST: f64 = 2_147_483_647.0;

pub(super) fn family(args: &Args) -> Family {
    match (args.v4, args.v6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        (false, false) => Family::Any,
    }
}

/// `-i`, `-w`, `-q`: seconds with a fraction, or with a unit.
pub(super) fn time(option: &str, typed: &str) -> Result<Duration, Error> {
    let digits = typed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(typed.len());
    let (number, unit) = typed.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "s" => 1000.0,
        "ms" => 1.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(bad_time(option, typed)),
    };
    let number: f64 = number.parse().map_err(|_| bad_time(option, typed))?;
    if unit.is_empty() && number >= 100.0 {
        return Err(usage(format!("{option} {typed}: seconds or milliseconds?"))
            .hint(format!("write {typed}s or {typed}ms")));
    }
    let milliseconds = (number * factor).trunc();
    if !(1.0..=LONGEST).contains(&milliseconds) {
        return Err(bad_time(option, typed));
    }
    Ok(Duration::from_secs_f64(milliseconds / 1000.0))
}

pub(super) fn bad_time(option: &str, typed: &str) -> Error {
    let error =
        usage(format!("{option} takes a time between 1ms and 2147483s, not {}", quoted(typed)));
    // Letters that OpenBSD's nc uses otherwise.
    match option {
        "-d" => error.hint("it is a delay here; what nc's -d does is --recv-only"),
        "-q" => error.hint("to leave at the end of the input at once, say --send-only"),
        "-i" => error.hint("it is the longest silence here; a delay between chunks is -d"),
        _ => error.hint("2, 0.5, 500ms, 2m, 1h are times"),
    }
}

pub(super) fn optional_time(
    option: &str,
    typed: Option<&String>,
) -> Result<Option<Duration>, Error> {
    typed.map(|typed| time(option, typed)).transpose()
}

/// What serves the peer instead of standard input and output.
pub(super) fn program(args: &Args) -> Result<Option<Program>, Error> {
    match (args.exec.as_slice(), args.sh_exec.as_slice(), args.lua_exec.as_slice()) {
        ([], [], []) => Ok(None),
        ([line], [], []) => {
            let words = split(line);
            if words.is_empty() {
                return Err(usage("-e needs a program"));
            }
            Ok(Some(Program::Direct(words)))
        }
        ([], [line], []) => Ok(Some(Program::Shell(line.clone()))),
        ([], [], [script]) => {
            lua::check(script)?;
            Ok(Some(Program::Lua(script.clone())))
        }
        _ => Err(usage("one command can serve a peer: give one -e, -c or --lua-exec")),
    }
}

pub(super) fn protocol(args: &Args) -> Protocol {
    match (args.udp, args.sctp) {
        (true, _) => Protocol::Datagram,
        (_, true) => Protocol::Sctp,
        (false, false) => Protocol::Stream,
    }
}

/// What the peer is waited for to say.
fn quit_on(args: &Args, typed: &str) -> Result<Regex, Error> {
    for (given, other) in [
        (args.probe, "-z"),
        (args.keep_open && args.listen, "-k"),
        (args.broker || args.chat, "--broker"),
        (args.script.is_some() || !args.steps.is_empty(), "a script"),
        (args.smtp || args.pop3 || args.imap || args.lmtp, "a mail helper"),
        (args.forward.is_some(), "--forward"),
        (args.serve.is_some(), "--serve"),
        (!args.proxy_type.is_empty() && args.listen, "a proxy server"),
        (args.send_only, "--send-only"),
        (
            !(args.exec.is_empty() && args.sh_exec.is_empty() && args.lua_exec.is_empty()),
            "a command",
        ),
    ] {
        if given {
            return Err(usage(format!("--quit-on and {other} do not go together")));
        }
    }
    pattern(typed).map_err(|why| usage(format!("--quit-on {}: {why}", quoted(typed))))
}

pub(super) fn session(args: &Args) -> Result<Session, Error> {
    let user_end = match args.quit.as_deref().map(|q| q.strip_prefix('-').ok_or(q)) {
        Some(Ok(never)) => {
            time("-q", never)?;
            if args.send_only { UserEnd::Leave } else { UserEnd::Wait }
        }
        Some(Err(after)) => UserEnd::After(time("-q", after)?),
        // Datagrams have no end that could be told, so there is nothing to wait for; a server's
        // peer may still have something to say.
        None if args.send_only || (args.udp || args.sctp) && !args.listen => UserEnd::Leave,
        None => UserEnd::Wait,
    };
    let keeps_sending = !args.listen && (args.send_only || args.keep_open && !args.recv_only);
    let safe_output = match args.safe_output.as_deref() {
        None | Some("auto") => SafeOutput::Auto,
        Some("strict") => SafeOutput::Strict,
        Some("off") => SafeOutput::Off,
        Some(other) => {
            return Err(usage(format!(
                "--safe-output is auto, strict or off, not {}",
                quoted(other)
            )));
        }
    };
    if args.append_output && args.output.is_none() && args.hex_dump.is_none() {
        return Err(usage("--append-output goes with -o or -x: there is nothing to append to"));
    }
    let format = match args.output_format.as_deref() {
        None | Some("raw") => Format::Raw,
        Some("dialog") => Format::Dialog,
        Some("jsonl") => Format::Jsonl,
        Some("hex") => Format::Hex,
        Some(other) => {
            return Err(usage(format!(
                "--output-format is raw, dialog, jsonl or hex, not {}",
                quoted(other)
            )));
        }
    };
    // A mock server prints its messages so.
    let prints = args.listen && (args.smtp || args.lmtp) && format == Format::Jsonl;
    if args.output_format.is_some() && args.output.is_none() && !prints {
        return Err(usage("--output-format goes with -o: into which file?"));
    }
    if args.redact && !matches!(format, Format::Dialog | Format::Jsonl) {
        return Err(usage("--redact goes with --output-format dialog or jsonl: it masks lines"));
    }
    Ok(Session {
        manners: Manners {
            send: !args.recv_only,
            receive: if args.send_only { Receive::Discard } else { Receive::Deliver },
            // SCTP has no half-closed state (RFC 9260 §1.5.1), datagrams have no end, and a
            // close_notify of DTLS 1.2 ends both directions.
            half_close: !args.no_shutdown && !args.sctp && !args.udp,
            user_end,
            peer_end: if keeps_sending { PeerEnd::KeepSending } else { PeerEnd::Leave },
            idle: optional_time("-i", args.idle_timeout.as_ref())?,
            delay: optional_time("-d", args.delay.as_ref())?,
            packets: match args.packets.as_deref() {
                None => None,
                Some(typed) => {
                    Some(typed.parse().ok().filter(|n| *n > 0 && is_number(typed)).ok_or_else(
                        || usage(format!("-W takes a number of packets, not {}", quoted(typed))),
                    )?)
                }
            },
        },
        crlf: args.crlf,
        telnet: args.telnet,
        quit_on: args.quit_on.as_deref().map(|re| quit_on(args, re)).transpose()?,
        safe_output,
        log: Log {
            raw: args.output.clone(),
            hex: args.hex_dump.clone(),
            append: args.append_output,
            format,
            redact: args.redact,
        },
    })
}
