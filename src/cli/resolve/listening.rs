//! Listen mode: what its options mean together.

use super::mail::{helper, only_with_helper};
use super::mock;
use super::place::{DEFAULT_PORT, Place, is_number, place, port, quoted, usage, vsock};
use super::proxy::{listed, proxying};
use super::script::script;
use super::serve::serve;
use super::session::{family, optional_time, program, protocol, session};
use super::tls::{implies_tls, parameters, trust};
use crate::cli::Environment;
use crate::cli::args::Args;
use crate::engine::room::Purpose;
use crate::error::Error;
use crate::modes::call::Target;
use crate::modes::door::AccessLists;
use crate::modes::listen;
use crate::modes::mail::Protocol;
use crate::modes::secure::TlsClient;
use crate::net::target::{Scheme, Written};
use crate::proto::script::Script;
use crate::proto::serving::Protection;
use crate::report::Report;

/// Where callers are connected to: a target as connect mode understands it.
fn forward(args: &Args, environment: &Environment) -> Result<Option<listen::Forward>, Error> {
    let Some(typed) = &args.forward else { return Ok(None) };
    let written = Written::parse(typed).map_err(|why| usage(format!("--forward: {why}")))?;
    let (scheme, host, typed_port) = match written {
        Written::Unix(path) => {
            return Ok(Some(listen::Forward { target: Target::Unix(path), tls: None }));
        }
        Written::Host { scheme, host, port, .. } => (scheme, host, port),
    };
    let tls = match scheme {
        None | Some(Scheme::Tcp) => false,
        Some(Scheme::Tls) => true,
        Some(_) => {
            return Err(usage(format!(
                "--forward takes host:port, tls://host:port or unix:/path, not {}: a mail server \
                 of ours hands nothing on",
                quoted(typed)
            )));
        }
    };
    let (Some(host), Some(typed_port)) = (host, typed_port) else {
        return Err(usage(format!("--forward needs a host and a port, not {}", quoted(typed))));
    };
    let number = port(&typed_port).map_err(|error| error.about("--forward"))?;
    let target = Target::Tcp { host: host.as_str().to_owned(), port: number };
    let tls = match tls {
        false => None,
        true => Some(TlsClient {
            trust: trust(args, false)?,
            parameters: parameters(args, environment)?,
            name: args.ssl_servername.clone().unwrap_or_else(|| host.without_zone().to_owned()),
            datagrams: false,
        }),
    };
    Ok(Some(listen::Forward { target, tls }))
}

/// Callers at once when `-m` says nothing.
const DEFAULT_MOST: usize = 100;

/// A wait for callers, with its defaults and its conflicts.
///
/// # Errors
/// What does not go together, what cannot be understood.
pub(super) fn config(
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
        (
            args.proxy_protocol.is_some(),
            "--proxy-protocol and -l do not go together: it is said by who calls",
        ),
        (args.retry.is_some(), "--retry and -l do not go together: it is about calling"),
        (args.probe, "-z and -l do not go together: -z calls, -l waits"),
        (
            args.source.is_some(),
            "-s and -l do not go together: give the address to wait on as ncat -l ADDRESS PORT",
        ),
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
    let wait = optional_time("-w", args.wait.as_ref())?;
    let session = session(args)?;
    let option = args.source_port.as_deref().map(|typed| match is_number(typed) {
        true => port(typed),
        false => Err(usage(format!("-p takes a port, not {}", quoted(typed)))),
    });
    let vsock = if args.vsock { Some(vsock(args)?) } else { None };
    let option = option.transpose()?;
    let place = if args.vsock { Place::of(None, None) } else { place(args, option)? };
    let helper = match helper(args, place.scheme)? {
        None if args.lmtp => Some(Protocol::Smtp),
        helper => helper,
    };
    let by_scheme = matches!(place.scheme, Some(Scheme::Smtps | Scheme::Pop3s | Scheme::Imaps));
    let mock = match helper {
        Some(protocol) => Some(mock::config(args, protocol, args.ssl || by_scheme)?),
        None => {
            mock::only_with_mock(args)?;
            only_with_helper(args, None)?;
            None
        }
    };
    for (given, other) in [
        (args.udp, "-u"),
        (mock.is_some(), "a mock mail server"),
        (!args.proxy_type.is_empty(), "--proxy-type"),
        (args.broker || args.chat, "--broker"),
        (args.telnet || args.crlf, "-t or -C"),
        (!args.exec.is_empty() || !args.sh_exec.is_empty(), "a command"),
        (args.script.is_some() || !args.steps.is_empty(), "a script"),
    ] {
        if given && args.forward.is_some() {
            return Err(usage(format!("--forward and {other} do not go together")));
        }
    }
    let serve = serve(args)?;
    if serve.is_some() && mock.is_some() {
        return Err(usage("--serve and a mock mail server do not go together"));
    }
    let (accept, accept_timeout) = mock::accepting(args)?;
    // A mock server has a certificate at hand for those who say STARTTLS.
    let tls = match &mock {
        Some(mock) => mock.protection != Protection::Never,
        // What is about verifying is about the target then.
        None if args.forward.is_some() => {
            args.ssl || args.ssl_cert.is_some() || args.ssl_cert_out.is_some()
        }
        None => implies_tls(args) || place.scheme == Some(Scheme::Tls),
    };
    if place.path.is_some() && tls && mock.is_none() {
        return Err(usage("TLS over a Unix socket is not supported"));
    }
    for (given, option) in [
        (args.ssl_verify, "--ssl-verify"),
        (args.ssl_trustfile.is_some(), "--ssl-trustfile"),
        (args.ssl_servername.is_some(), "--ssl-servername"),
        (!args.ssl_pin.is_empty(), "--ssl-pin"),
        (args.ssl_insecure, "--ssl-insecure"),
    ] {
        if given && args.forward.is_none() {
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
    let many = args.keep_open || args.broker || args.chat || accept.is_some_and(|n| n > 1);
    if args.max_conns.is_some() && most > 0 && !many {
        report.warning(format_args!(
            "-m {most} has no effect without -k: one caller is all there is"
        ));
    }
    let default_port = helper.map(|protocol| mock::port(args, protocol));
    let default_port = default_port.unwrap_or(match args.proxy_type.first().map(String::as_str) {
        None => DEFAULT_PORT,
        Some("http") => 3128,
        Some(_) => 1080,
    });
    let program = program(args)?;
    let script = script(args)?;
    let tls_later = script.as_ref().is_some_and(Script::upgrades);
    if tls_later && place.scheme == Some(Scheme::Tls) {
        return Err(usage("the step starttls and tls:// do not go together: TLS starts once"));
    }
    if !args.proxy_type.is_empty() {
        let clash = [
            (args.telnet, "-t"),
            (args.broker, "--broker"),
            (args.chat, "--chat"),
            (program.is_some(), "a command"),
            (args.unixsock, "-U"),
            (args.udp, "-u"),
        ];
        if let Some((_, what)) = clash.iter().find(|(given, _)| *given) {
            return Err(usage(format!("{what} and a proxy server do not go together")));
        }
    }
    if args.packets.is_some() && many && program.is_none() && script.is_none() {
        return Err(usage(
            "-W and callers around one input do not go together: it counts the packets of one peer",
        ));
    }
    let circle = if args.chat { "--chat" } else { "--broker" };
    if program.is_some() && (args.broker || args.chat) {
        return Err(usage(format!(
            "a command and {circle} do not go together: a command serves one caller"
        )));
    }
    if args.unixsock && (args.broker || args.chat) {
        return Err(usage(format!("-U and {circle} do not go together")));
    }
    let host = place.host.as_ref().map(|host| host.as_str().to_owned());
    Ok(listen::Config {
        tls: match tls || tls_later {
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
            // What serves by itself is for this machine, unless somebody says otherwise.
            (None, None) if mock.is_some() || serve.is_some() => {
                listen::Place::Loopback(place.port.unwrap_or(default_port))
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
        script,
        tls_later,
        family: family(args),
        numeric: args.nodns,
        proxying: proxying(args, environment)?,
        forward: forward(args, environment)?,
        mock,
        serve,
        accept,
        accept_timeout,
        keep_open: many,
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
        session,
        announce: args.announce,
        port_file: args.port_file.clone(),
        test: args.test,
    })
}
