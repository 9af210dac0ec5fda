//! Connect mode: what its options mean together.

use super::dns::domain;
use super::mail::{both_ways, helper, login, mail_config, name, only_with_helper, ports};
use super::mock;
use super::place::{DEFAULT_PORT, Place, is_number, place, port, quoted, usage, vsock};
use super::proxy::{hop_pointer, hops, proxies, proxy_dns};
use super::script::script;
use super::session::{family, optional_time, program, protocol, session};
use super::tls::{implies_tls, is_loopback, named, parameters, starttls, tls_info, trust};
use crate::cli::Environment;
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::connect::Retry;
use crate::modes::mail::trip::Expectation;
use crate::modes::{call, connect, mail as mail_mode, secure};
use crate::net::bind::Protocol;
use crate::net::target::{Host, Scheme};
use crate::proto::proxied::Version;
use crate::proto::script::Script;
use crate::report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a message may be under way when nobody says.
const EXPECTED: Duration = Duration::from_secs(60);

/// A call, with its defaults and its conflicts.
///
/// # Errors
/// What does not go together, what is missing, what cannot be understood.
pub(super) fn config(
    args: &Args,
    environment: &Environment,
    report: &Report,
) -> Result<connect::Config, Error> {
    only_with_listen(args)?;
    // A time that is none is likelier an operand gone astray than the operands are wrong.
    let wait = optional_time("-w", args.wait.as_ref())?;
    let session = session(args)?;
    if args.tell_end && args.no_shutdown {
        return Err(usage(
            "-N and --no-shutdown do not go together: one tells the peer that the input has \
             ended, the other does not",
        ));
    }
    let program = program(args)?;
    let script = script(args)?;
    if let Some(file) = args.hex_dump.as_deref().and_then(Path::to_str)
        && file.rsplit_once(':').is_some_and(|(_, port)| is_number(port))
        && args.proxy.is_empty()
    {
        report.warning(format_args!(
            "-x records a hex dump into the file {file}; a proxy, as nc's -x has it, is --proxy"
        ));
    }
    let proxies = proxies(args, environment)?;
    let idle = [
        (proxies.is_empty() && !args.proxy_auth.is_empty(), "--proxy-auth", "--proxy"),
        (proxies.is_empty() && args.proxy_dns.is_some(), "--proxy-dns", "--proxy"),
        (args.hops.is_empty() && args.hop_pointer.is_some(), "-G", "-g"),
    ];
    for (_, option, other) in idle.iter().filter(|(is_idle, ..)| *is_idle) {
        report.warning(format_args!("{option} has no effect without {other}"));
    }
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
    let mx = domain(args)?;
    let place = match (&mx, args.vsock) {
        (Some(domain), _) => at_domain(args, &domain.name.to_string())?,
        (None, true) => Place::of(None, Some(1)),
        (None, false) => place(args, None)?,
    };
    if place.host.is_none() && place.path.is_none() && vsock.is_none() {
        return Err(
            usage("there is no host to connect to").hint("ncat HOST PORT, or ncat -l PORT to wait")
        );
    }
    let on_unix = place.path.is_some();
    let helper = helper(args, place.scheme)?;
    if helper.is_some() && script.is_some() {
        return Err(usage("a script and a mail helper do not go together: tcp:// is without one"));
    }
    only_with_helper(args, helper)?;
    if let Some(path) = &place.path
        && helper.is_none()
        && implies_tls(args)
    {
        let path = path.display();
        return Err(usage(format!("TLS over the Unix socket {path} is not supported")));
    }
    let secure = [Scheme::Smtps, Scheme::Pop3s, Scheme::Imaps];
    let secure = place.scheme.is_some_and(|scheme| secure.contains(&scheme));
    let default_port = match (place.scheme, helper.map(ports)) {
        (Some(Scheme::Submission), _) => 587,
        (_, Some((_, port))) if secure => port,
        (_, Some((25, _))) if args.lmtp => 24,
        (_, Some((port, _))) => port,
        (_, None) => {
            let upgrade = args.starttls.as_deref().and_then(named);
            upgrade.map_or(DEFAULT_PORT, |protocol| ports(protocol).0)
        }
    };
    let port = place.port.unwrap_or(default_port);
    if port == 0 && !on_unix {
        return Err(usage("nobody can be called on port 0"));
    }
    let starttls = starttls(args, helper, port, place.scheme)?;
    let upgrades = script.as_ref().is_some_and(Script::upgrades);
    if upgrades && place.scheme == Some(Scheme::Tls) {
        return Err(usage("the step starttls and tls:// do not go together: TLS starts once"));
    }
    let from_first_byte = starttls.is_none()
        && match helper.map(ports) {
            _ if secure || place.scheme == Some(Scheme::Tls) => true,
            Some((_, tls_port)) => args.ssl || port == tls_port && !on_unix,
            None => implies_tls(args) && !upgrades,
        };
    let host = place.host.as_ref();
    let named = host.map(Host::as_str);
    let login = login(args, environment, place.user.as_deref(), named, report)?;
    let is_here = host.is_none_or(|host| is_loopback(host.as_str()));
    let tls = if from_first_byte || starttls.is_some() || helper.is_some() || upgrades {
        let name = args.ssl_servername.clone();
        let name = name.or_else(|| host.map(|host| host.without_zone().to_owned()));
        Some(secure::TlsClient {
            trust: trust(args, (login.is_some() || is_sending(args)) && !is_here)?,
            parameters: parameters(args, environment)?,
            name: name.unwrap_or_else(|| "localhost".to_owned()),
            datagrams: args.udp,
        })
    } else {
        None
    };
    let server = (host.map_or_else(String::new, |host| host.as_str().to_owned()), port);
    both_ways(args, helper)?;
    let mail = match (helper.or(starttls), login) {
        (None, _) => None,
        (Some(protocol), login) => {
            let config = mail_config(args, protocol, server, starttls.is_some(), login, report)?;
            // With -z there is nobody to talk for: TLS itself is the answer.
            let upgrade_only = starttls.is_some() && (helper.is_none() || args.probe);
            Some(mail_mode::Config { upgrade_only, ..config })
        }
    };
    if let Some(helper) = helper.map(name)
        && (args.udp || program.is_some())
    {
        let other = if args.udp { "-u" } else { "a command" };
        return Err(usage(format!("{helper} and {other} do not go together")));
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
    if args.udp && starttls.is_some() {
        return Err(usage("--starttls and -u do not go together: datagrams have no upgrade"));
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
        introduction: introduction(args)?,
        source_port: args.source_port.as_deref().map_or(Ok(0), source_port)?,
        wait,
    };
    Ok(connect::Config {
        how,
        program,
        script,
        proxies,
        proxy_dns: proxy_dns(args)?,
        tls,
        tls_later: !from_first_byte,
        tls_info: tls_info(args)?,
        probe: args.probe,
        session,
        practice: match (args.practice, helper) {
            (true, Some(protocol)) => Some(mock::practice(args, protocol)?),
            (true, None) => return Err(usage("--practice goes with --smtp, --pop3 or --imap")),
            (false, _) => {
                mock::only_with_mock(args)?;
                None
            }
        },
        retry: retry(args)?,
        expect: expected(args, mail.as_ref(), environment, report)?,
        mail,
        mx,
    })
}

/// Where what is sent is to turn up: a URL, and behind a comma how long it may take.
fn expected(
    args: &Args,
    sender: Option<&mail_mode::Config>,
    environment: &Environment,
    report: &Report,
) -> Result<Option<Expectation>, Error> {
    let Some(typed) = &args.expect_in else { return Ok(None) };
    let (url, patience) = match typed.rsplit_once(",timeout=") {
        Some((url, typed)) => (url, Some(typed.to_owned())),
        None => (typed.as_str(), None),
    };
    let patience = optional_time("--expect-in ...,timeout", patience.as_ref())?;
    // The mailbox stands behind the host, where a path is in a URL.
    let (place, folder) =
        match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('/'))) {
            Some((scheme, Some((host, folder)))) => {
                (format!("{scheme}://{host}"), Some(folder.to_owned()).filter(|f| !f.is_empty()))
            }
            Some((_, None)) | None => (url.to_owned(), None),
        };
    let mails = ["imap://", "imaps://", "pop3://", "pop3s://"];
    let scheme = mails.iter().find(|scheme| place.to_ascii_lowercase().starts_with(**scheme));
    let Some(scheme) = scheme else {
        return Err(usage(format!(
            "--expect-in takes a URL such as imap://ann@mail.example/INBOX, not {}",
            quoted(typed)
        )));
    };
    if !is_sending(args) || args.quit_after.is_some() {
        return Err(usage("--expect-in goes with --to: it waits for what was sent"));
    }
    let pop3 = scheme.starts_with("pop3");
    if pop3 && folder.is_some() {
        return Err(usage("--expect-in: a POP3 server has one mailbox, so none is named"));
    }
    let has_user = place.contains('@');
    let reading = Args {
        operands: vec![place],
        // A password that was typed has been warned of once.
        auth: match args.auth.last().filter(|_| !has_user) {
            Some(auth) => vec![auth.split(':').next().unwrap_or_default().to_owned()],
            None => Vec::new(),
        },
        auth_file: args.auth_file.clone(),
        netrc: args.netrc.clone(),
        fetch: Some("all".to_owned()),
        search: (!pop3).then(|| "ALL".to_owned()),
        folder: folder.or_else(|| (!pop3).then(|| "INBOX".to_owned())),
        ssl_insecure: args.ssl_insecure,
        ssl_trustfile: args.ssl_trustfile.clone(),
        ssl_verify: args.ssl_verify,
        v4: args.v4,
        v6: args.v6,
        nodns: args.nodns,
        wait: args.wait.clone(),
        ..Args::default()
    };
    let mut call =
        config(&reading, environment, report).map_err(|error| error.about("--expect-in"))?;
    // One person has one password.
    if let (Some(reader), Some(sender)) = (&mut call.mail, sender.and_then(|s| s.login.as_ref()))
        && let Some(login) = &mut reader.login
        && login.user == sender.user
    {
        login.password = sender.password.clone();
    }
    let patience = patience.unwrap_or(EXPECTED);
    Ok(Some(Expectation { call: Box::new(call), name: url.to_owned(), patience }))
}

/// `--retry 3` or `--retry 3:10s`
fn retry(args: &Args) -> Result<Option<Retry>, Error> {
    let Some(typed) = &args.retry else { return Ok(None) };
    let (times, pause) = match typed.split_once(':') {
        Some((times, pause)) => (times, Some(pause.to_owned())),
        None => (typed.as_str(), None),
    };
    let times = times.parse().ok().filter(|n: &u32| is_number(times) && *n > 0);
    let times = times.ok_or_else(|| {
        usage(format!("--retry takes a number of tries, as 3 or 3:10s, not {}", quoted(typed)))
    })?;
    Ok(Some(Retry { times, pause: optional_time("--retry", pause.as_ref())? }))
}

/// `--proxy-protocol`
fn introduction(args: &Args) -> Result<Option<Version>, Error> {
    let version = match args.proxy_protocol.as_deref() {
        None => return Ok(None),
        Some("v1" | "1") => Version::V1,
        Some("v2" | "2") => Version::V2,
        Some(other) => {
            return Err(usage(format!("--proxy-protocol is v1 or v2, not {}", quoted(other))));
        }
    };
    for (given, other) in [
        (args.udp, "-u"),
        (args.vsock, "--vsock"),
        // The addresses would be those of the way to the first proxy.
        (!args.proxy.is_empty(), "--proxy"),
    ] {
        if given {
            return Err(usage(format!("--proxy-protocol and {other} do not go together")));
        }
    }
    Ok(Some(version))
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
        (args.forward.is_some(), "--forward"),
        (args.serve.is_some(), "--serve"),
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

/// Is something of value handed over, so that it has to be clear to whom?
fn is_sending(args: &Args) -> bool {
    !(args.to.is_empty() && args.cc.is_empty() && args.bcc.is_empty())
}

/// The place of `--mx`, whose host is found later.
fn at_domain(args: &Args, domain: &str) -> Result<Place, Error> {
    for (given, why) in [
        (!args.smtp, "--mx goes with --smtp: it is where the mail of a domain goes"),
        (args.unixsock || args.vsock, "--mx and a socket without hosts do not go together"),
        (args.lmtp, "--mx and --lmtp do not go together: LMTP is for the last stop"),
    ] {
        if given {
            return Err(usage(why));
        }
    }
    let port = match args.operands.as_slice() {
        [] => None,
        [one] => Some(port(one).map_err(|error| error.about("--mx"))?),
        _ => return Err(usage("--mx names the target, so at most a port may follow")),
    };
    let host = Host::parse(domain).map_err(usage)?;
    Ok(Place::of(Some(host), port))
}
