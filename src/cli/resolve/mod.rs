//! What the options mean together: defaults, conflicts, and remedies.

mod mail;
mod place;
mod proxy;
mod session;
mod tls;

use super::Environment;
use super::args::Args;
use crate::engine::room::Purpose;
use crate::error::Error;
use crate::modes::door::AccessLists;
use crate::modes::{Job, call, connect, listen, mail as mail_mode, secure};
use crate::net::bind::Protocol;
use crate::net::target::Scheme;
use crate::report::Report;
use mail::{login, mail_config, only_with_smtp};
use place::{DEFAULT_PORT, Place, is_number, place, port, quoted, usage, vsock};
use proxy::{hop_pointer, hops, listed, proxies, proxy_dns, proxying};
use session::{family, optional_time, program, protocol, session};
use std::path::{Path, PathBuf};
use tls::{implies_tls, is_loopback, parameters, starttls, tls_info, trust};

/// Callers at once when `-m` says nothing.
const DEFAULT_MOST: usize = 100;

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
        listen_job(&args, environment, report).map(|config| Job::Listen(Box::new(config)))
    } else {
        connect_job(&args, environment, report).map(|config| Job::Connect(Box::new(config)))
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

fn connect_job(
    args: &Args,
    environment: &Environment,
    report: &Report,
) -> Result<connect::Config, Error> {
    only_with_listen(args)?;
    only_with_smtp(args)?;
    let program = program(args)?;
    if let Some(file) = args.hex_dump.as_deref().and_then(Path::to_str)
        && file.rsplit_once(':').is_some_and(|(_, port)| is_number(port))
        && args.proxy.is_empty()
    {
        report.warning(format_args!(
            "-x records a hex dump into the file {file}; a proxy, as nc's -x has it, is --proxy"
        ));
    }
    let proxies = proxies(args, environment)?;
    if args.probe && args.telnet {
        return Err(usage("-z and -t do not go together: -z says nothing and hears nothing"));
    }
    if args.probe && program.is_some() {
        return Err(usage("-z and a command do not go together: -z asks and says nothing"));
    }
    if args.unixsock && args.source_port.is_some() {
        return Err(usage("-U and -p do not go together: a Unix socket has no ports"));
    }
    let vsock = if args.vsock { Some(vsock(args)?) } else { None };
    let place = if args.vsock { Place::of(None, Some(1)) } else { place(args, None)? };
    if place.host.is_none() && place.path.is_none() && vsock.is_none() {
        return Err(
            usage("there is no host to connect to").hint("ncat HOST PORT, or ncat -l PORT to wait")
        );
    }
    let on_unix = place.path.is_some();
    let helper = args.smtp
        || matches!(place.scheme, Some(Scheme::Smtp | Scheme::Submission | Scheme::Smtps));
    if let Some(path) = &place.path
        && !helper
        && implies_tls(args)
    {
        let path = path.display();
        return Err(usage(format!("TLS over the Unix socket {path} is not supported")));
    }
    let default_port = match place.scheme {
        Some(Scheme::Smtp) => 25,
        Some(Scheme::Submission) => 587,
        Some(Scheme::Smtps) => 465,
        _ if helper => 25,
        Some(Scheme::Tcp | Scheme::Tls | Scheme::Udp | Scheme::Dtls) | None => DEFAULT_PORT,
    };
    let port = place.port.unwrap_or(default_port);
    if port == 0 && !on_unix {
        return Err(usage("nobody can be called on port 0"));
    }
    let starttls = starttls(args, helper, port, place.scheme)?;
    let from_first_byte = !starttls
        && match place.scheme {
            Some(Scheme::Tls | Scheme::Smtps) => true,
            _ if helper => args.ssl || port == 465 && !on_unix,
            _ => implies_tls(args),
        };
    let login = login(args, environment, place.user.as_deref(), report)?;
    let host = place.host.as_ref();
    let is_here = host.is_none_or(|host| is_loopback(host.as_str()));
    let tls = if from_first_byte || starttls || helper {
        let name = args.ssl_servername.clone();
        let name = name.or_else(|| host.map(|host| host.without_zone().to_owned()));
        Some(secure::TlsClient {
            trust: trust(args, login.is_some() && !is_here)?,
            parameters: parameters(args, environment)?,
            name: name.unwrap_or_else(|| "localhost".to_owned()),
            datagrams: args.udp,
        })
    } else {
        None
    };
    let session = session(args)?;
    let mail = match (helper, starttls) {
        // With -z there is nobody to talk for: TLS itself is the answer.
        (true, _) => Some(mail_mode::Config {
            upgrade_only: args.probe && starttls,
            ..mail_config(args, starttls, login, report)?
        }),
        (false, true) => {
            Some(mail_mode::Config { upgrade_only: true, ..mail_config(args, true, None, report)? })
        }
        (false, false) => None,
    };
    if helper && (args.udp || program.is_some()) {
        let other = if args.udp { "-u" } else { "a command" };
        return Err(usage(format!("--smtp and {other} do not go together")));
    }
    if on_unix && !proxies.is_empty() {
        return Err(usage("-U and --proxy do not go together: a proxy calls hosts"));
    }
    if args.keep_open && (args.udp || args.sctp) {
        let other = if args.udp { "-u" } else { "--sctp" };
        return Err(usage(format!(
            "-k and {other} do not go together in connect mode: sending ends with the input there"
        )));
    }
    if args.udp && starttls {
        return Err(usage("--starttls and -u do not go together: datagrams have no upgrade"));
    }
    if args.udp && !args.hops.is_empty() {
        return Err(usage("-g and -u do not go together in this version"));
    }
    if on_unix && !args.udp && args.source.is_some() {
        report.story(format_args!("-s has no effect on a Unix stream socket"));
    }
    let how = call::How {
        target: match (place.path, place.host, vsock) {
            (_, _, Some((cid, port))) => call::Target::Vsock { cid: cid.unwrap_or(1), port },
            (Some(path), ..) => call::Target::Unix(path),
            (None, host, None) => {
                let host = host.map_or_else(String::new, |host| host.as_str().to_owned());
                call::Target::Tcp { host, port }
            }
        },
        protocol: if proxies.is_empty() { protocol(args) } else { Protocol::Stream },
        family: family(args),
        numeric: args.nodns,
        scratch: environment.scratch.clone().unwrap_or_else(|| PathBuf::from("/tmp")),
        hops: hops(args)?,
        hop_pointer: hop_pointer(args)?,
        source: args.source.clone().filter(|_| !on_unix || args.udp),
        source_port: args.source_port.as_deref().map_or(Ok(0), source_port)?,
        wait: optional_time("-w", args.wait.as_ref())?,
    };
    Ok(connect::Config {
        how,
        program,
        proxies,
        proxy_dns: proxy_dns(args)?,
        tls,
        tls_later: !from_first_byte,
        tls_info: tls_info(args)?,
        probe: args.probe,
        session,
        mail,
    })
}

fn source_port(typed: &str) -> Result<u16, Error> {
    match typed.parse() {
        Ok(port @ 1..) if is_number(typed) => Ok(port),
        _ => Err(usage(format!("-p takes a port from 1 to 65535, not {}", quoted(typed)))),
    }
}

fn only_with_listen(args: &Args) -> Result<(), Error> {
    for (given, option) in [
        (args.max_conns.is_some(), "-m"),
        (args.announce, "--announce"),
        (args.port_file.is_some(), "--port-file"),
        (args.ssl_cert_out.is_some(), "--ssl-cert-out"),
        (args.ssl_client_ca.is_some(), "--ssl-client-ca"),
        (!args.allow.is_empty(), "--allow"),
        (!args.allowfile.is_empty(), "--allowfile"),
        (!args.deny.is_empty(), "--deny"),
        (!args.denyfile.is_empty(), "--denyfile"),
        (args.test, "--test"),
    ] {
        if given {
            return Err(usage(format!("{option} goes with -l: it is about callers")));
        }
    }
    Ok(())
}

fn listen_job(
    args: &Args,
    environment: &Environment,
    report: &Report,
) -> Result<listen::Config, Error> {
    let refused = [
        (!args.proxy.is_empty(), "--proxy and -l do not go together: --proxy is a way to call"),
        (!args.hops.is_empty(), "-g and -l do not go together: a route is for calling"),
        (
            args.udp && args.ssl_client_ca.is_some(),
            "--ssl-client-ca and -u do not go together: DTLS here asks callers for nothing",
        ),
        (args.probe, "-z and -l do not go together: -z calls, -l waits"),
        (
            args.source.is_some(),
            "-s and -l do not go together: give the address to wait on as ncat -l ADDRESS PORT",
        ),
        (args.smtp, "--smtp with -l would be a mail server, and that is not there yet"),
        (args.starttls.is_some(), "--starttls and -l do not go together in this version"),
        (args.ssl_info.is_some(), "--ssl-info goes with calling, not with -l"),
        (
            args.unixsock && args.source_port.is_some(),
            "-U and -p do not go together: a Unix socket has no ports",
        ),
        (args.ssl_cert_out.is_some() && args.unixsock, "TLS over a Unix socket is not supported"),
    ];
    if let Some((_, why)) = refused.iter().find(|(given, _)| *given) {
        return Err(usage(*why));
    }
    only_with_smtp(args)?;
    let option = args.source_port.as_deref().map(|typed| match is_number(typed) {
        true => port(typed),
        false => Err(usage(format!("-p takes a port, not {}", quoted(typed)))),
    });
    let vsock = if args.vsock { Some(vsock(args)?) } else { None };
    let option = option.transpose()?;
    let place = if args.vsock { Place::of(None, None) } else { place(args, option)? };
    if matches!(place.scheme, Some(Scheme::Smtp | Scheme::Submission | Scheme::Smtps)) {
        return Err(usage("a mail server is not there yet"));
    }
    let tls = implies_tls(args) || place.scheme == Some(Scheme::Tls);
    if place.path.is_some() && tls {
        return Err(usage("TLS over a Unix socket is not supported"));
    }
    for (given, option) in [
        (args.ssl_verify, "--ssl-verify"),
        (args.ssl_trustfile.is_some(), "--ssl-trustfile"),
        (args.ssl_servername.is_some(), "--ssl-servername"),
        (!args.ssl_pin.is_empty(), "--ssl-pin"),
        (args.ssl_insecure, "--ssl-insecure"),
    ] {
        if given {
            report.warning(format_args!(
                "{option} has no effect with -l: --ssl-client-ca FILE verifies callers"
            ));
        }
    }
    let most =
        match args.max_conns.as_deref() {
            None => DEFAULT_MOST,
            Some(typed) => typed.parse().ok().filter(|_| is_number(typed)).ok_or_else(|| {
                usage(format!("-m takes a number of callers, not {}", quoted(typed)))
            })?,
        };
    let many = args.keep_open || args.broker || args.chat;
    if args.max_conns.is_some() && most > 0 && !many {
        report.warning(format_args!(
            "-m {most} has no effect without -k: one caller is all there is"
        ));
    }
    let default_port = match args.proxy_type.first().map(String::as_str) {
        None => DEFAULT_PORT,
        Some("http") => 3128,
        Some(_) => 1080,
    };
    let program = program(args)?;
    if !args.proxy_type.is_empty() {
        let clash = [
            (args.telnet, "-t"),
            (args.broker || args.chat, "--broker"),
            (program.is_some(), "a command"),
            (args.unixsock || args.udp, "-U or -u"),
        ];
        if let Some((_, what)) = clash.iter().find(|(given, _)| *given) {
            return Err(usage(format!("{what} and a proxy server do not go together")));
        }
    }
    if program.is_some() && (args.broker || args.chat) {
        return Err(usage(
            "a command and --broker do not go together: a command serves one caller",
        ));
    }
    if args.unixsock && (args.broker || args.chat) {
        return Err(usage("-U and --broker do not go together"));
    }
    let host = place.host.as_ref().map(|host| host.as_str().to_owned());
    let wait = optional_time("-w", args.wait.as_ref())?;
    Ok(listen::Config {
        tls: match tls {
            false => None,
            true => Some(listen::TlsServer {
                parameters: parameters(args, environment)?,
                host: host.clone(),
                client_ca: args.ssl_client_ca.clone(),
                certificate_out: args.ssl_cert_out.clone(),
            }),
        },
        place: match (place.path, host) {
            _ if vsock.is_some() => {
                let (cid, port) = vsock.unwrap_or((None, 0));
                listen::Place::Vsock { cid, port }
            }
            (Some(path), _) => listen::Place::Unix(path),
            (None, Some(host)) => {
                listen::Place::Host { host, port: place.port.unwrap_or(default_port) }
            }
            // An open proxy is for this machine unless somebody says otherwise.
            (None, None) if !args.proxy_type.is_empty() => listen::Place::Host {
                host: "localhost".to_owned(),
                port: place.port.unwrap_or(default_port),
            },
            (None, None) => listen::Place::Everywhere(place.port.unwrap_or(DEFAULT_PORT)),
        },
        protocol: protocol(args),
        program,
        family: family(args),
        numeric: args.nodns,
        proxying: proxying(args, environment)?,
        keep_open: args.keep_open || args.broker || args.chat,
        purpose: match (args.chat, args.broker) {
            (true, _) => Purpose::Chat,
            (_, true) => Purpose::Broker,
            (false, false) => Purpose::Gather,
        },
        access: AccessLists {
            allow: listed(&args.allow),
            deny: listed(&args.deny),
            allow_files: args.allowfile.clone(),
            deny_files: args.denyfile.clone(),
        },
        most,
        wait,
        session: session(args)?,
        announce: args.announce,
        port_file: args.port_file.clone(),
        test: args.test,
    })
}

#[cfg(test)]
mod tests;
