//! What the options mean together: defaults, conflicts, and remedies.

use super::args::Args;
use super::{Environment, text};
use crate::engine::manners::{Manners, PeerEnd, Receive, UserEnd};
use crate::engine::room::Purpose;
use crate::error::{Error, words};
use crate::modes::door::AccessLists;
use crate::modes::proxy::Proxying;
use crate::modes::talk::{Log, SafeOutput, Session};
use crate::modes::tlsinfo::Format;
use crate::modes::via::{self, Dns, Proxy};
use crate::modes::{Job, connect, listen, lua, mail};
use crate::net::bind::Protocol;
use crate::net::child::Program;
use crate::net::names::{Family, service};
use crate::net::target::{Host, Scheme, Written, unix_path};
use crate::net::trust::{Parameters, Trust, Verify};
use crate::proto::content::Style;
use crate::proto::sasl::{Credentials, Secret};
use crate::proto::smtp::session::Pace;
use crate::proto::words::split;
use crate::report::Report;
use crate::term::safe::quote;
use base64::Engine as _;
use std::io::{IsTerminal, stderr};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// ncat's own port, for when none is given.
const DEFAULT_PORT: u16 = 31337;

/// Callers at once when `-m` says nothing.
const DEFAULT_MOST: usize = 100;

/// The longest time an option takes, in milliseconds (ncat's limit).
const LONGEST: f64 = 2_147_483_647.0;

/// The job that was asked for.
///
/// # Errors
/// What does not go together, what is missing, what cannot be understood.
pub(super) fn job(args: Args, environment: &Environment, report: &Report) -> Result<Job, Error> {
    if let Some(script) = args.lua_exec_internal {
        return Ok(Job::Lua(script));
    }
    if args.listen || args.broker || args.chat {
        let args = Args { listen: true, ..args };
        listen_job(&args, environment, report).map(|config| Job::Listen(Box::new(config)))
    } else {
        connect_job(&args, environment, report).map(|config| Job::Connect(Box::new(config)))
    }
}

fn usage(what: impl Into<String>) -> Error {
    Error::usage(what)
}

/// Where to, before defaults.
struct Place {
    scheme: Option<Scheme>,
    user: Option<String>,
    host: Option<Host>,
    port: Option<u16>,
    path: Option<PathBuf>,
}

impl Place {
    fn of(host: Option<Host>, port: Option<u16>) -> Self {
        Self { scheme: None, user: None, host, port, path: None }
    }
}

/// Operands to a place; `port_option` is `-p` of listen mode.
fn place(args: &Args, port_option: Option<u16>) -> Result<Place, Error> {
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
        [one] if args.listen && port_option.is_none() && is_number(one) => {
            return Ok(Place::of(None, Some(port(one)?)));
        }
        [one] if is_number(one) && one.len() <= 5 && !args.listen => {
            return Err(usage(format!("{one} is a port: of which host?"))
                .hint(format!("ncat HOST {one} calls it; ncat -l {one} waits on it")));
        }
        [one] | [one, _] => Written::parse(one).map_err(usage)?,
        more => {
            return Err(usage(format!(
                "there are {} operands, and ncat takes two at most: a host and a port",
                more.len()
            ))
            .hint("-z probes one port at a time in this version"));
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, Error> {
    if is_number(text) {
        return text
            .parse()
            .map_err(|_| usage(format!("{} is not a port: they go up to 65535", quoted(text))));
    }
    if text.is_empty() {
        return Err(usage("the port is missing behind the colon"));
    }
    service(text).ok_or_else(|| {
        usage(format!("{} is neither a port nor a service that this machine knows", quoted(text)))
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", quote(text.as_bytes(), 60))
}

fn family(args: &Args) -> Family {
    match (args.v4, args.v6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        (false, false) => Family::Any,
    }
}

/// `-i`, `-w`, `-q`: seconds with a fraction, or with a unit.
fn time(option: &str, typed: &str) -> Result<Duration, Error> {
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

fn bad_time(option: &str, typed: &str) -> Error {
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

fn optional_time(option: &str, typed: Option<&String>) -> Result<Option<Duration>, Error> {
    typed.map(|typed| time(option, typed)).transpose()
}

fn once<'a>(option: &str, values: &'a [String]) -> Result<Option<&'a str>, Error> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(usage(format!("{option} is given more than once"))),
    }
}

/// The hosts of `-g`.
fn hops(args: &Args) -> Result<Vec<String>, Error> {
    const MOST: usize = 8;
    let hops = listed(&args.hops);
    if hops.is_empty() {
        return Ok(hops);
    }
    if hops.len() > MOST {
        return Err(usage(format!("-g takes {MOST} hops at most, and there are {}", hops.len())));
    }
    if args.unixsock {
        return Err(usage("-U and -g do not go together: a Unix socket has no route"));
    }
    if !args.v4 {
        return Err(usage("-g is for IPv4 only").hint("say so with -4"));
    }
    Ok(hops)
}

/// The pointer of `-G`.
fn hop_pointer(args: &Args) -> Result<u8, Error> {
    match args.hop_pointer.as_deref() {
        None => Ok(4),
        Some(typed) => match typed.parse() {
            Ok(pointer @ 4..=28) if pointer % 4 == 0 && is_number(typed) => Ok(pointer),
            _ => Err(usage(format!("-G is one of 4, 8, 12 ... 28, not {}", quoted(typed)))),
        },
    }
}

fn proxy_dns(args: &Args) -> Result<Dns, Error> {
    match args.proxy_dns.as_deref() {
        None | Some("remote") => Ok(Dns::Remote),
        Some("none") => Ok(Dns::None),
        Some("local") => Ok(Dns::Local),
        Some("both") => Ok(Dns::Both),
        Some(other) => {
            Err(usage(format!("--proxy-dns is none, local, remote or both, not {}", quoted(other))))
        }
    }
}

fn proxy_kind(typed: &str) -> Option<via::Kind> {
    match typed {
        "http" => Some(via::Kind::Http),
        "socks4" | "4" => Some(via::Kind::Socks4),
        "socks5" | "5" => Some(via::Kind::Socks5),
        _ => None,
    }
}

/// The way to the target: proxies separated by commas, the nearest first.
fn proxies(args: &Args, environment: &Environment) -> Result<Vec<Proxy>, Error> {
    let kind = match once("--proxy-type", &args.proxy_type)? {
        None => via::Kind::Http,
        Some(typed) => proxy_kind(typed).ok_or_else(|| {
            usage(format!("--proxy-type is http, socks4 or socks5, not {}", quoted(typed)))
        })?,
    };
    let auth = once("--proxy-auth", &args.proxy_auth)?;
    let Some(list) = once("--proxy", &args.proxy)? else {
        if !args.proxy_type.is_empty() && !args.listen {
            return Err(usage("--proxy-type goes with --proxy: of which proxy is it the type?"));
        }
        return Ok(Vec::new());
    };
    let auth = match (auth, &environment.proxy_auth) {
        (Some(auth), _) => Some(auth),
        (None, Some(value)) => Some(text(value)?),
        (None, None) => None,
    };
    list.split(',').map(|typed| proxy(typed, kind, auth)).collect()
}

fn proxy(typed: &str, kind: via::Kind, auth: Option<&str>) -> Result<Proxy, Error> {
    let (kind, place) = match typed.split_once("://") {
        None => (kind, typed),
        Some((scheme, place)) => {
            let kind = match scheme.to_ascii_lowercase().as_str() {
                "http" => via::Kind::Http,
                "socks4" | "socks4a" => via::Kind::Socks4,
                "socks" | "socks5" | "socks5h" => via::Kind::Socks5,
                _ => {
                    return Err(usage(format!(
                        "{} is not a kind of proxy: http socks4 socks4a socks5 socks5h",
                        quoted(scheme)
                    )));
                }
            };
            (kind, place.strip_suffix('/').unwrap_or(place))
        }
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(usage("a password in a URL would show in the list of processes")
            .hint("NCAT_PROXY_AUTH=USER:PASS keeps it to yourself"));
    }
    let Written::Host { host: Some(host), port: written, .. } =
        Written::parse(place).map_err(|why| usage(format!("--proxy: {why}")))?
    else {
        return Err(usage(format!("--proxy takes HOST[:PORT], not {}", quoted(typed))));
    };
    let port = match (written, kind) {
        (Some(text), _) => match port(&text)? {
            0 => return Err(usage("nobody can be called on port 0")),
            port => port,
        },
        (None, via::Kind::Http) => 3128,
        (None, via::Kind::Socks4 | via::Kind::Socks5) => 1080,
    };
    let login = match (auth, user) {
        (None, None) => None,
        (None, Some(user)) => Some((user, "")),
        // The whole text is the user id of SOCKS4, which has no passwords.
        (Some(auth), _) if kind == via::Kind::Socks4 => Some((auth, "")),
        (Some(auth), _) => Some(auth.split_once(':').unwrap_or((auth, ""))),
    };
    Ok(Proxy {
        kind,
        host: host.as_str().to_owned(),
        port,
        login: login.map(|(user, password)| Credentials {
            user: user.to_owned(),
            password: Secret::new(password),
        }),
    })
}

/// `--vsock [CID] [PORT]`: a lone number is a CID to call, and a port to wait on.
fn vsock(args: &Args) -> Result<(Option<u32>, u32), Error> {
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

/// What serves the peer instead of standard input and output.
fn program(args: &Args) -> Result<Option<Program>, Error> {
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

fn protocol(args: &Args) -> Protocol {
    match (args.udp, args.sctp) {
        (true, _) => Protocol::Datagram,
        (_, true) => Protocol::Sctp,
        (false, false) => Protocol::Stream,
    }
}

fn session(args: &Args) -> Result<Session, Error> {
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
    Ok(Session {
        manners: Manners {
            send: !args.recv_only,
            receive: if args.send_only { Receive::Discard } else { Receive::Deliver },
            // SCTP has no half-closed state (RFC 9260 §1.5.1).
            half_close: !args.no_shutdown && !args.sctp,
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
        safe_output,
        log: Log {
            raw: args.output.clone(),
            hex: args.hex_dump.clone(),
            append: args.append_output,
        },
    })
}

/// Does any option say "TLS", and not "TLS later"?
fn implies_tls(args: &Args) -> bool {
    args.ssl
        || args.ssl_verify
        || args.ssl_trustfile.is_some()
        || !args.ssl_pin.is_empty()
        || args.ssl_insecure
        || args.ssl_servername.is_some()
        || args.ssl_cert.is_some()
        || args.ssl_key.is_some()
        || args.ssl_cert_out.is_some()
        || args.ssl_client_ca.is_some()
        || args.ssl_ciphers.is_some()
        || args.ssl_min.is_some()
        || args.ssl_max.is_some()
        || args.ssl_alpn.is_some()
        || args.ssl_info.is_some()
}

fn parameters(args: &Args, environment: &Environment) -> Result<Parameters, Error> {
    let version = |option: &str, typed: Option<&String>| match typed.map(String::as_str) {
        None => Ok(None),
        Some("1.2" | "TLSv1.2" | "tls1.2") => Ok(Some(12)),
        Some("1.3" | "TLSv1.3" | "tls1.3") => Ok(Some(13)),
        Some(other) => {
            let error = usage(format!("{option} is 1.2 or 1.3, not {}", quoted(other)));
            Err(match other {
                "1.0" | "1.1" | "1" => {
                    error.hint("versions before 1.2 are broken, and ncat does not have them")
                }
                _ => error,
            })
        }
    };
    let (min, max) = (
        version("--ssl-min", args.ssl_min.as_ref())?.unwrap_or(12),
        version("--ssl-max", args.ssl_max.as_ref())?.unwrap_or(13),
    );
    if min > max {
        return Err(usage("--ssl-min 1.3 and --ssl-max 1.2 leave no version of TLS"));
    }
    let alpn: Vec<_> = args
        .ssl_alpn
        .iter()
        .flat_map(|list| list.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    if alpn.iter().any(|p| p.is_empty() || p.len() > 255) {
        return Err(usage("--ssl-alpn takes names of 1 to 255 bytes, separated by commas"));
    }
    Ok(Parameters {
        ciphers: args.ssl_ciphers.clone(),
        only_tls13: min == 13,
        only_tls12: max == 12,
        alpn,
        certificate: args.ssl_cert.clone(),
        key: args.ssl_key.clone(),
        key_log: environment.key_log,
    })
}

/// 32 octets in hex (colons allowed) or base64, as browsers, OpenSSL and curl print them.
fn pin(typed: &str) -> Result<[u8; 32], Error> {
    let bare = typed.strip_prefix("sha256//").or(typed.strip_prefix("sha256/")).unwrap_or(typed);
    let hex: String = bare.chars().filter(|c| *c != ':').collect();
    let octets = if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        (0..64).step_by(2).filter_map(|i| u8::from_str_radix(&hex[i..i + 2], 16).ok()).collect()
    } else {
        base64::engine::general_purpose::STANDARD.decode(bare).unwrap_or_default()
    };
    octets.try_into().map_err(|_| {
        usage(format!("--ssl-pin takes a SHA-256 in hex or base64, not {}", quoted(typed)))
            .hint("ncat -z --ssl-info HOST:PORT prints those of a server")
    })
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
        Some(Scheme::Tcp | Scheme::Tls) | None if helper => 25,
        Some(Scheme::Tcp | Scheme::Tls) | None => DEFAULT_PORT,
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
        Some(connect::TlsClient {
            trust: trust(args, login.is_some() && !is_here)?,
            parameters: parameters(args, environment)?,
            name: name.unwrap_or_else(|| "localhost".to_owned()),
        })
    } else {
        None
    };
    let session = session(args)?;
    let mail = match (helper, starttls) {
        // With -z there is nobody to talk for: TLS itself is the answer.
        (true, _) => Some(mail::Config {
            upgrade_only: args.probe && starttls,
            ..mail_config(args, starttls, login, report)?
        }),
        (false, true) => {
            Some(mail::Config { upgrade_only: true, ..mail_config(args, true, None, report)? })
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
    if args.keep_open && args.udp {
        return Err(usage("-k and -u do not go together in connect mode: datagrams have no end"));
    }
    if on_unix && !args.udp && args.source.is_some() {
        report.story(format_args!("-s has no effect on a Unix stream socket"));
    }
    Ok(connect::Config {
        target: match (place.path, place.host, vsock) {
            (_, _, Some((cid, port))) => connect::Target::Vsock { cid: cid.unwrap_or(1), port },
            (Some(path), ..) => connect::Target::Unix(path),
            (None, host, None) => {
                let host = host.map_or_else(String::new, |host| host.as_str().to_owned());
                connect::Target::Tcp { host, port }
            }
        },
        family: family(args),
        numeric: args.nodns,
        protocol: if proxies.is_empty() { protocol(args) } else { Protocol::Stream },
        program,
        hops: hops(args)?,
        hop_pointer: hop_pointer(args)?,
        proxies,
        proxy_dns: proxy_dns(args)?,
        scratch: environment.scratch.clone().unwrap_or_else(|| PathBuf::from("/tmp")),
        source: args.source.clone().filter(|_| !on_unix || args.udp),
        source_port: args.source_port.as_deref().map_or(Ok(0), source_port)?,
        wait: optional_time("-w", args.wait.as_ref())?,
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

fn tls_info(args: &Args) -> Result<Option<Format>, Error> {
    match args.ssl_info.as_deref() {
        None => Ok(None),
        Some("text") => Ok(Some(Format::Text)),
        Some("json") => Ok(Some(Format::Json)),
        Some(other) => Err(usage(format!("--ssl-info is text or json, not {}", quoted(other)))),
    }
}

/// Is TLS to start by STARTTLS, before the person's first line?
fn starttls(args: &Args, helper: bool, port: u16, scheme: Option<Scheme>) -> Result<bool, Error> {
    let Some(protocol) = args.starttls.as_deref() else {
        // Submission without TLS would be a password in the clear (RFC 8314 §3.3).
        let submission =
            scheme == Some(Scheme::Submission) || port == 587 && scheme != Some(Scheme::Smtps);
        return Ok(helper && submission && !args.ssl);
    };
    if args.ssl || matches!(scheme, Some(Scheme::Tls | Scheme::Smtps)) {
        return Err(usage("--starttls and --ssl do not go together: TLS begins once"));
    }
    match protocol {
        "smtp" => Ok(true),
        "" if helper => Ok(true),
        "" => Err(usage("--starttls needs to know the protocol")
            .hint("--starttls=smtp, or --smtp with it")),
        "lmtp" | "imap" | "pop3" | "ftp" | "nntp" | "sieve" | "ldap" | "xmpp" | "postgres"
        | "mysql" | "irc" => Err(usage(format!("--starttls={protocol} is not there yet"))),
        other => Err(usage(format!("--starttls does not know the protocol {}", quoted(other)))
            .hint("it knows smtp")),
    }
}

fn trust(args: &Args, login: bool) -> Result<Trust, Error> {
    let pins = args.ssl_pin.iter().map(|typed| pin(typed)).collect::<Result<Vec<_>, _>>()?;
    let strict = args.ssl_verify || args.ssl_trustfile.is_some();
    if args.ssl_insecure && (strict || !pins.is_empty()) {
        let other = match (args.ssl_verify, args.ssl_trustfile.is_some()) {
            (true, _) => "--ssl-verify",
            (_, true) => "--ssl-trustfile",
            (false, false) => "--ssl-pin",
        };
        return Err(usage(format!("--ssl-insecure and {other} do not go together")));
    }
    let verify = match (args.ssl_insecure, strict || login) {
        (true, _) => Verify::Skip,
        (_, true) => Verify::Must,
        (false, false) => Verify::Tell,
    };
    Ok(Trust { verify, file: args.ssl_trustfile.clone(), pins })
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Who logs in, and where the password is.
fn login(
    args: &Args,
    environment: &Environment,
    url_user: Option<&str>,
    report: &Report,
) -> Result<Option<mail::Login>, Error> {
    let (user, typed) = match (args.auth.as_deref(), url_user) {
        (None, None) if args.auth_file.is_some() => {
            return Err(usage("--auth-file needs to know the user").hint("--auth USER"));
        }
        (None, None) => return Ok(None),
        (None, Some(user)) => (user.to_owned(), None),
        (Some(_), Some(_)) => {
            return Err(usage("the user is given twice: in the URL, and with --auth"));
        }
        (Some(auth), None) => match auth.split_once(':') {
            Some((user, password)) => (user.to_owned(), Some(password.to_owned())),
            None => (auth.to_owned(), None),
        },
    };
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err(usage(
            "--auth takes USER or USER:PASS, and the user is missing or has a control character",
        ));
    }
    let password = if let Some(password) = typed {
        report.warning(format_args!(
            "a password on the command line shows in the list of processes: \
             NCAT_AUTH or --auth-file keep it to yourself"
        ));
        mail::Password::Known(Secret::new(password))
    } else if let Some(file) = &args.auth_file {
        mail::Password::Known(password_file(file)?)
    } else if let Some(value) = &environment.auth {
        let value = text(value)?;
        let prefix = format!("{user}:");
        let password = value.strip_prefix(&prefix).unwrap_or(value);
        mail::Password::Known(Secret::new(password))
    } else {
        mail::Password::Ask
    };
    Ok(Some(mail::Login { user, password }))
}

fn password_file(file: &Path) -> Result<Secret, Error> {
    let shown = file.display();
    let cannot = |e: std::io::Error| {
        Error::machine(format!("cannot read --auth-file {shown}: {}", words(&e)))
    };
    let mode = std::fs::metadata(file).map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::machine(format!(
            "--auth-file {shown} can be read by others (mode {:04o})",
            mode & 0o7777
        ))
        .hint(format!("chmod 600 {shown}")));
    }
    let all = std::fs::read(file).map_err(cannot)?;
    let line = all.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::machine(format!(
            "--auth-file {shown} has no password in its first line"
        )));
    }
    Ok(Secret::new(line))
}

fn mail_config(
    args: &Args,
    starttls: bool,
    login: Option<mail::Login>,
    report: &Report,
) -> Result<mail::Config, Error> {
    for (given, option) in [(args.send_only, "--send-only"), (args.recv_only, "--recv-only")] {
        if given && args.smtp {
            return Err(usage(format!(
                "{option} and --smtp do not go together: a dialogue needs both"
            )));
        }
    }
    let pace = match (args.no_wait, args.pipelining) {
        (true, true) => {
            return Err(usage(
                "--no-wait and --pipelining do not go together: one asks the server, one does not",
            ));
        }
        (true, false) => Some(Pace::AtOnce),
        (false, true) => Some(Pace::Grouped),
        (false, false) => None,
    };
    let helo = args.helo.clone().unwrap_or_else(host_name);
    if helo.is_empty() || helo.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(usage(format!("--helo takes a host name, not {}", quoted(&helo))));
    }
    Ok(mail::Config {
        helo,
        starttls,
        login,
        verify: args.ssl_verify || !args.ssl_pin.is_empty(),
        pace,
        content: Style { dot_stuff: args.dot_stuff, raw: args.raw },
        explain: args.explain || report.is_telling() && stderr().is_terminal(),
        exit_zero: args.exit_zero,
        upgrade_only: false,
    })
}

/// This machine's name, as good as it knows it.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
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

fn only_with_smtp(args: &Args) -> Result<(), Error> {
    let by_url = args.operands.first().is_some_and(|target| {
        ["smtp://", "smtps://", "submission://", "submissions://"]
            .iter()
            .any(|scheme| target.to_ascii_lowercase().starts_with(scheme))
    });
    if args.smtp || by_url {
        return Ok(());
    }
    for (given, option) in [
        (args.auth.is_some(), "--auth"),
        (args.auth_file.is_some(), "--auth-file"),
        (args.helo.is_some() && args.starttls.is_none(), "--helo"),
        (args.explain, "--explain"),
        (args.no_wait, "--no-wait"),
        (args.pipelining, "--pipelining"),
        (args.dot_stuff, "--dot-stuff"),
        (args.raw, "--raw"),
        (args.exit_zero, "--exit-zero"),
    ] {
        if given {
            return Err(usage(format!("{option} goes with --smtp: it is about a mail session")));
        }
    }
    Ok(())
}

fn proxying(args: &Args, environment: &Environment) -> Result<Option<Proxying>, Error> {
    let Some(typed) = once("--proxy-type", &args.proxy_type)? else { return Ok(None) };
    let kind = proxy_kind(typed).ok_or_else(|| {
        usage(format!("a proxy server speaks http or socks5, not {}", quoted(typed)))
    })?;
    let auth = match (once("--proxy-auth", &args.proxy_auth)?, &environment.proxy_auth) {
        (Some(auth), _) => Some(auth),
        (None, Some(value)) => Some(text(value)?),
        (None, None) => None,
    };
    let login = auth.map(|auth| {
        let (user, password) = auth.split_once(':').unwrap_or((auth, ""));
        Credentials { user: user.to_owned(), password: Secret::new(password) }
    });
    Ok(Some(Proxying { kind, login }))
}

/// Lists separated by commas, and repeated.
fn listed(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}

fn listen_job(
    args: &Args,
    environment: &Environment,
    report: &Report,
) -> Result<listen::Config, Error> {
    let refused = [
        (!args.proxy.is_empty(), "--proxy and -l do not go together: --proxy is a way to call"),
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
mod tests {
    use crate::cli::{Asked, Environment, parse};
    use crate::modes::Job;
    use std::ffi::OsString;

    fn job(line: &str) -> Result<Job, String> {
        let words = std::iter::once("ncat").chain(line.split_whitespace()).map(OsString::from);
        match parse(words, &Environment::default()) {
            Ok(Asked::Job(job, _)) => Ok(*job),
            Ok(other) => panic!("{line}: {other:?}"),
            Err(error) => {
                assert_eq!(error.exit().0, 2, "{error}");
                Err(error.to_string())
            }
        }
    }

    fn shown(line: &str) -> String {
        job(line).map_or_else(|e| panic!("{line}: {e}"), |job| format!("{job:?}"))
    }

    #[test]
    fn options_stand_anywhere_and_bundle_and_shorten() {
        for (line, part) in [
            ("host 25", "Tcp { host: \"host\", port: 25 }"),
            ("host -n 25", "numeric: true"),
            ("-nzvp80 host 25", "source_port: 80"),
            ("host:smtp", "port: 25 }"),
            ("[::1]:25", "host: \"::1\", port: 25"),
            ("::1", "host: \"::1\", port: 31337"),
            ("-- host 25", "port: 25"),
            ("-w 500ms host", "wait: Some(500ms)"),
            ("-w1.5 host", "wait: Some(1.5s)"),
            ("--wait=2 host", "wait: Some(2s)"),
            ("--wai 2 host", "wait: Some(2s)"),
            ("--send-o host 1", "receive: Discard"),
            ("-4 -6 host 1", "family: V6"),
            ("-6 -4 host 1", "family: V4"),
            ("-p 1 -p 2 host 1", "source_port: 2"),
            ("-q 1 host 1", "user_end: After(1s)"),
            ("-q -1 host 1", "user_end: Wait"),
            ("-q -1 --send-only host 1", "user_end: Leave"),
            ("2130706433 9", "host: \"2130706433\", port: 9"),
            ("--tls host 1", "verify: Tell"),
            ("--tls-verify host 1", "verify: Must"),
            ("--ssl-trustfile f host 1", "verify: Must"),
            ("--ssl-insecure host 1", "verify: Skip"),
            ("-U /run/x", "Unix(\"/run/x\")"),
            ("unix:/run/x", "Unix(\"/run/x\")"),
            ("tls://host:1", "tls_later: false"),
            ("--smtp host", "port: 25 }"),
            ("--smtp host:465", "tls_later: false"),
            ("smtps://host", "port: 465 }"),
            ("submission://host", "starttls: true"),
            ("--smtp host:587", "starttls: true"),
            ("--smtp --ssl host:587", "starttls: false"),
            ("--smtp --ssl-trustfile f host", "tls_later: true"),
            ("--starttls=smtp host:25", "upgrade_only: true"),
        ] {
            let text = shown(line);
            assert!(text.contains(part), "{line}: {part}\n{text}");
        }
    }

    #[test]
    fn listening_takes_a_port_an_address_or_both() {
        for (line, part) in [
            ("-l", "Everywhere(31337)"),
            ("-l 8080", "Everywhere(8080)"),
            ("-l -p 8080", "Everywhere(8080)"),
            ("-l :8080", "Everywhere(8080)"),
            ("-l 0", "Everywhere(0)"),
            ("-l localhost", "Host { host: \"localhost\", port: 31337 }"),
            ("-l localhost 80", "Host { host: \"localhost\", port: 80 }"),
            ("-l localhost:80", "Host { host: \"localhost\", port: 80 }"),
            ("-l -p 80 1", "Host { host: \"1\", port: 80 }"),
            ("-l unix:/x", "Unix(\"/x\")"),
            ("-lk -m 5 1", "most: 5"),
            ("-l --ssl 1", "tls: Some("),
        ] {
            let text = shown(line);
            assert!(text.contains(part), "{line}: {part}\n{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_a_reason() {
        for (line, part) in [
            ("", "no host"),
            ("80", "of which host"),
            ("host 0", "port 0"),
            ("host 65536", "65535"),
            ("host -1", "not an option"),
            ("host 80x", "neither a port nor a service"),
            ("host:", "missing behind the colon"),
            ("host:1 2", "more than once"),
            ("a b c", "3 operands"),
            ("-l 123456", "65535"),
            ("-l -p 1 host 2", "more than once"),
            ("-l -z 1", "-z and -l"),
            ("-l -s 1.2.3.4 1", "-s and -l"),
            ("-U", "path"),
            ("-U /x 1", "do not go together"),
            ("-U /x --ssl", "not supported"),
            ("-U /x -p 1", "no ports"),
            ("-l -m abc -k 1", "-m takes a number"),
            ("-m 5 host 1", "-m goes with -l"),
            ("-p 0 host 1", "1 to 65535"),
            ("-p 4294967296 host 1", "1 to 65535"),
            ("-w 0 host", "between 1ms"),
            ("-w 0.5ms host", "between 1ms"),
            ("-i 100 host", "seconds or milliseconds"),
            ("-q x host", "between 1ms"),
            ("-i 5d host", "between 1ms"),
            ("-w", "-w, --wait TIME needs a value"),
            ("--nosuch host", "not an option"),
            ("--ss host", "one of several"),
            ("-Z host", "not an option"),
            ("--recv-only=1 host", "takes no value"),
            ("--ssl-min 1.1 host 1", "not have them"),
            ("--ssl-min 1.3 --ssl-max 1.2 host 1", "leave no version"),
            ("--ssl-pin xyz host 1", "SHA-256"),
            ("--ssl-insecure --ssl-verify host 1", "do not go together"),
            ("--ssl --starttls=smtp host 1", "TLS begins once"),
            ("--starttls host 1", "needs to know"),
            ("--starttls=imap host 1", "not there yet"),
            ("--explain host 1", "goes with --smtp"),
            ("--auth-file f --smtp host", "needs to know the user"),
            ("smtp://ann:x@host", "NCAT_AUTH"),
            ("--auth x smtp://ann@host", "given twice"),
            ("udp://host:1", "not there yet"),
            ("-l --smtp 1025", "not there yet"),
            ("--announce host 1", "goes with -l"),
            ("--append-output host 1", "nothing to append"),
            ("--safe-output x host 1", "auto, strict or off"),
            ("--completions nosh", "no completions"),
        ] {
            let error = job(line).expect_err(line);
            assert!(error.contains(part), "{line}: {part}\n{error}");
        }
    }

    #[test]
    fn a_pin_is_read_in_every_usual_spelling() {
        let hex = "AB".repeat(32);
        let colons = vec!["ab"; 32].join(":");
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD.encode([0xab; 32]);
        for typed in [hex, colons, base64.clone(), format!("sha256//{base64}")] {
            assert_eq!(super::pin(&typed), Ok([0xab; 32]), "{typed}");
        }
    }

    #[test]
    fn a_password_of_the_environment_may_come_with_its_user() {
        for value in ["ann:se:cret", "se:cret"] {
            let environment = Environment { auth: Some(value.into()), ..Environment::default() };
            let words = ["ncat", "--smtp", "--auth", "ann", "host"].map(OsString::from);
            let asked = parse(words, &environment).unwrap();
            let text = format!("{asked:?}");
            assert!(text.contains("Known(***)") && !text.contains("cret"), "{text}");
        }
    }
}
