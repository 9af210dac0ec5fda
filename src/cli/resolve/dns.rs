//! `--dns`: what is asked of whom, from its options and operands.

use super::place::{quoted, usage};
use super::session::optional_time;
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::dns::mx::Domain;
use crate::modes::dns::{Config, Want};
use crate::net::names::{Family, resolve};
use crate::net::nameservers::PORT;
use crate::proto::dns::{Name, Type};
use crate::term::safe::quote;
use std::net::{IpAddr, SocketAddr};

/// The options that go with `--dns`, itself among them.
pub(in crate::cli) const ITS_OWN: &[&str] =
    &["dns", "dns-server", "spf", "json", "wait", "verbose"];

/// A look-up, with its defaults and its conflicts.
///
/// # Errors
/// What does not go together, what is missing, what cannot be understood.
pub(super) fn config(args: &Args) -> Result<Config, Error> {
    let wait = optional_time("-w", args.wait.as_ref())?;
    let server = args.dns_server.as_deref().map(server).transpose()?;
    let [typed, types @ ..] = args.operands.as_slice() else {
        return Err(usage("there is no name to look up")
            .hint("ncat --dns NAME, or ncat --dns NAME MX TXT for these types"));
    };
    let types = types.iter().map(|typed| kind(typed)).collect::<Result<Vec<_>, _>>()?;
    let address = typed.parse::<IpAddr>().ok();
    let want = match (&args.spf, types.is_empty(), address) {
        (Some(_), false, _) => {
            return Err(usage("--spf and types of records do not go together: SPF has its own"));
        }
        (Some(_), true, Some(_)) => {
            return Err(usage(format!(
                "--spf IP asks about a domain, and {} is an address",
                quoted(typed)
            )));
        }
        (Some(ip), true, None) => Want::Spf(ip.parse().map_err(|_| {
            usage(format!("--spf takes the address of a sender, not {}", quoted(ip)))
        })?),
        (None, true, Some(_)) => Want::Types(vec![Type::Ptr]),
        (None, true, None) => Want::Summary,
        (None, false, _) => Want::Types(types),
    };
    Ok(Config {
        name: name(typed, address, &want)?,
        typed: typed.clone(),
        want,
        server,
        wait,
        json: args.json,
    })
}

/// The domain of `--mx`.
///
/// # Errors
/// What is no domain.
pub(super) fn domain(args: &Args) -> Result<Option<Domain>, Error> {
    let Some(typed) = &args.mx else { return Ok(None) };
    if typed.parse::<IpAddr>().is_ok() {
        return Err(usage(format!("--mx takes a domain, and {} is an address", quoted(typed))));
    }
    let name = name(typed, None, &Want::Summary).map_err(|error| error.about("--mx"))?;
    let server = args.dns_server.as_deref().map(server).transpose()?;
    Ok(Some(Domain { name, server }))
}

/// Options that mean nothing without it.
pub(super) fn only_with_dns(args: &Args) -> Result<(), Error> {
    if args.dns_server.is_some() && args.mx.is_none() {
        return Err(usage("--dns-server goes with --dns or --mx: it is about a look-up"));
    }
    for (given, option) in [(args.spf.is_some(), "--spf"), (args.json, "--json")] {
        if given {
            return Err(usage(format!("{option} goes with --dns: it is about a look-up")));
        }
    }
    Ok(())
}

fn kind(typed: &str) -> Result<Type, Error> {
    Type::named(typed).ok_or_else(|| {
        let all = Type::ALL.map(Type::name).join(" ");
        usage(format!("{} is no type of record that --dns knows: {all}", quoted(typed)))
    })
}

fn name(typed: &str, address: Option<IpAddr>, want: &Want) -> Result<Name, Error> {
    let other = match want {
        Want::Types(types) => types.iter().find(|kind| **kind != Type::Ptr),
        Want::Summary | Want::Spf(_) => None,
    };
    let asks_ptr = matches!(want, Want::Types(types) if types.contains(&Type::Ptr));
    match (address, other) {
        (Some(_), Some(other)) => Err(usage(format!(
            "{} is an address, and {} records are those of a name: an address has PTR",
            quoted(typed),
            other.name()
        ))),
        (Some(ip), None) => Ok(Name::reverse(ip.to_canonical())),
        (None, _) if !typed.is_ascii() => Err(usage(format!(
            "{} is not ASCII: write its labels as the DNS has them, xn--...",
            quoted(typed)
        ))),
        (None, _) if typed.contains('@') => {
            let error = format!("{} is a mail address, and --dns takes a domain", quoted(typed));
            let domain = typed.rsplit('@').next().unwrap_or_default();
            Err(usage(error).hint(format!("ncat --dns {}", quote(domain.as_bytes(), 60))))
        }
        (None, _) => {
            let plain = !typed.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control());
            let name = Name::new(typed).filter(|_| plain).ok_or_else(|| {
                let limits = "labels of 1 to 63 bytes, 253 bytes in all";
                usage(format!("{} cannot be a name in the DNS: {limits}", quoted(typed)))
            })?;
            let arpa = Name::new("arpa").is_some_and(|arpa| name.is_within(&arpa));
            if asks_ptr && !arpa {
                return Err(usage(format!("PTR takes an address, not {}", quoted(typed))));
            }
            Ok(name)
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`.
fn server(typed: &str) -> Result<SocketAddr, Error> {
    let wrong = || {
        let error = format!("--dns-server takes ADDRESS[:PORT], not {}", quoted(typed));
        usage(error).hint("a name would need a server to look it up")
    };
    let (host, port) = match typed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        None => match typed.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            Some(_) | None => (typed, None),
        },
    };
    let port = match port {
        None => PORT,
        Some(port) => super::place::port(port)?,
    };
    // `true` keeps it from asking; what it knows is the zones of link-local addresses.
    let found = resolve(host, port, Family::Any, true).map_err(|_| wrong())?;
    found.into_iter().next().filter(|_| port != 0).ok_or_else(wrong)
}
