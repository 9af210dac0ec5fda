//! Operands to a place: where to call, or where to wait.

use super::tls::{implies_tls, named};
use crate::cli::args::Args;
use crate::error::Error;
use crate::net::names::service;
use crate::net::target::{Host, Scheme, Written, unix_path};
use crate::term::safe::quote;
use std::path::PathBuf;

/// ncat's own port, for when none is given.
pub(super) const DEFAULT_PORT: u16 = 31337;

pub(super) fn usage(what: impl Into<String>) -> Error {
    Error::usage(what)
}

/// Where to, before defaults.
pub(super) struct Place {
    pub(super) scheme: Option<Scheme>,
    pub(super) user: Option<String>,
    pub(super) host: Option<Host>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<PathBuf>,
}

impl Place {
    pub(super) fn of(host: Option<Host>, port: Option<u16>) -> Self {
        Self { scheme: None, user: None, host, port, path: None }
    }
}

/// Operands to a place; `port_option` is `-p` of listen mode.
pub(super) fn place(args: &Args, port_option: Option<u16>) -> Result<Place, Error> {
    if args.unixsock {
        return match args.operands.as_slice() {
            [] => Err(usage("-U needs the path of a Unix socket")),
            [path] => {
                let path = path.strip_prefix("unix:").unwrap_or(path);
                let path = Some(unix_path(path).map_err(usage)?);
                Ok(Place { path, ..Place::of(None, None) })
            }
            [_, port, ..] => Err(usage(format!(
                "-U and the port {} do not go together: a Unix socket has a path only",
                quoted(port)
            ))),
        };
    }
    let written = match args.operands.as_slice() {
        [] => return Ok(Place::of(None, port_option)),
        [one] if args.listen && is_number(one) => {
            // ncat waits on 0.0.0.2 for `-l -p 1 2`, which nobody can have meant.
            let operand = port(one)?;
            return match port_option {
                None => Ok(Place::of(None, Some(operand))),
                Some(option) => Err(usage(format!(
                    "the port is given more than once: \"{one}\" and -p {option}"
                ))),
            };
        }
        [one] if is_number(one) && one.len() <= 5 && !args.listen => {
            return Err(usage(format!("{one} is a port: of which host?"))
                .hint(format!("ncat HOST {one} calls it; ncat -l {one} waits on it")));
        }
        [one] | [one, _] => Written::parse(one).map_err(usage)?,
        more => {
            return Err(too_many(args, more));
        }
    };
    let second = args.operands.get(1);
    match written {
        Written::Unix(path) => match second {
            None => Ok(Place { path: Some(path), ..Place::of(None, None) }),
            Some(port) => Err(usage(format!(
                "unix: and the port {} do not go together: a Unix socket has a path only",
                quoted(port)
            ))),
        },
        Written::Host { scheme, user, host, port: written } => {
            let ports: Vec<_> = written.iter().chain(second).collect();
            let port = match (ports.as_slice(), port_option) {
                ([], option) => option,
                ([one], None) => Some(port(one)?),
                (several, option) => {
                    let option = option.map(|port| port.to_string());
                    let all: Vec<_> =
                        several.iter().map(|p| p.as_str()).chain(option.as_deref()).collect();
                    let all = quoted(&all.join(" and "));
                    return Err(usage(format!("the port is given more than once: {all}")));
                }
            };
            Ok(Place { scheme, user, host, port, path: None })
        }
    }
}

/// Three operands and more; the first may be the value of an option that wants a `=`.
fn too_many(args: &Args, operands: &[String]) -> Error {
    let error = usage(format!(
        "there are {} operands, and ncat takes two at most: a host and a port",
        operands.len()
    ));
    let first = operands[0].as_str();
    if args.starttls.as_deref() == Some("") && named(first).is_some() {
        return error.hint(format!("--starttls={first} takes its value with a ="));
    }
    if args.ssl_info.as_deref() == Some("text") && matches!(first, "text" | "json") {
        return error.hint(format!("--ssl-info={first} takes its value with a ="));
    }
    match args.probe {
        true => error.hint("-z probes one port at a time in this version"),
        false => error,
    }
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn port(text: &str) -> Result<u16, Error> {
    if is_number(text) {
        return text
            .parse()
            .map_err(|_| usage(format!("{} is not a port: they go up to 65535", quoted(text))));
    }
    if text.is_empty() {
        return Err(usage("the port is missing"));
    }
    service(text).ok_or_else(|| {
        usage(format!("{} is neither a port nor a service that this machine knows", quoted(text)))
    })
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", quote(text.as_bytes(), 60))
}

/// `--vsock [CID] [PORT]`: a lone number is a CID to call, and a port to wait on.
pub(super) fn vsock(args: &Args) -> Result<(Option<u32>, u32), Error> {
    for (given, other) in [
        (args.unixsock, "-U"),
        (args.udp || args.sctp, "-u or --sctp"),
        (!args.proxy.is_empty() || !args.proxy_type.is_empty(), "a proxy"),
        (implies_tls(args) || args.starttls.is_some(), "TLS"),
        (args.broker || args.chat, "--broker"),
        (!args.hops.is_empty(), "-g"),
        (args.smtp, "--smtp"),
    ] {
        if given {
            return Err(usage(format!("--vsock and {other} do not go together")));
        }
    }
    let port = |typed: &str| {
        typed.parse::<u32>().ok().filter(|_| is_number(typed)).ok_or_else(|| {
            usage(format!("{} is not a vsock port: they go up to 4294967295", quoted(typed)))
        })
    };
    let cid = |typed: &str| {
        typed.parse::<u32>().ok().filter(|cid| *cid > 0 && is_number(typed)).ok_or_else(|| {
            usage(format!("{} is not a CID: they go from 1 to 4294967295", quoted(typed)))
        })
    };
    if let Some(source) = &args.source {
        cid(source)?;
    }
    match (args.operands.as_slice(), args.listen) {
        ([], true) => Ok((None, u32::from(DEFAULT_PORT))),
        ([], false) => Err(usage("--vsock needs the CID of a virtual machine")),
        ([one], true) => Ok((None, port(one)?)),
        ([one], false) => Ok((Some(cid(one)?), u32::from(DEFAULT_PORT))),
        ([one, two], _) => Ok((Some(cid(one)?), port(two)?)),
        _ => Err(usage("--vsock takes a CID and a port")),
    }
}
