//! `--serve`: what is built in.

use super::place::{quoted, usage};
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::builtin::Serve;
use crate::proto::services::Kind;
use std::path::PathBuf;

/// The service, if there is one.
///
/// # Errors
/// One that there is not, what does not go together.
pub(super) fn serve(args: &Args) -> Result<Option<Serve>, Error> {
    let Some(typed) = args.serve.as_deref() else { return Ok(None) };
    let serve = match typed {
        "echo" => Serve::Service(Kind::Echo),
        "discard" => Serve::Service(Kind::Discard),
        "chargen" => Serve::Service(Kind::Chargen),
        "daytime" => Serve::Service(Kind::Daytime),
        "time" => Serve::Service(Kind::Time),
        "http-dump" => Serve::Dump,
        "http" => return Err(usage("--serve http needs a directory").hint("--serve http=.")),
        other => match other.strip_prefix("http=") {
            Some("") => return Err(usage("--serve http= needs a directory").hint("--serve http=.")),
            Some(directory) => Serve::Files(PathBuf::from(directory)),
            None => {
                return Err(usage(format!(
                    "--serve does not know {}: there are echo, discard, chargen, daytime, time, \
                     http=DIR and http-dump",
                    quoted(other)
                )));
            }
        },
    };
    let by_http = !matches!(serve, Serve::Service(_));
    for (given, other) in [
        (args.udp && by_http, "-u"),
        (args.udp && args.unixsock, "-U with -u"),
        (args.forward.is_some(), "--forward"),
        (!args.proxy_type.is_empty(), "--proxy-type"),
        (args.broker || args.chat, "--broker"),
        (args.telnet || args.crlf, "-t or -C"),
        (!args.exec.is_empty() || !args.sh_exec.is_empty(), "a command"),
        (!args.lua_exec.is_empty(), "--lua-exec"),
        (args.script.is_some() || !args.steps.is_empty(), "a script"),
        (args.smtp || args.pop3 || args.imap || args.lmtp, "a mock mail server"),
        (args.send_only, "--send-only"),
        (args.recv_only, "--recv-only"),
        (args.packets.is_some(), "-W"),
        (args.quit.is_some(), "-q"),
        (args.delay.is_some(), "-d"),
    ] {
        if given {
            return Err(usage(format!("--serve {typed} and {other} do not go together")));
        }
    }
    Ok(Some(serve))
}
