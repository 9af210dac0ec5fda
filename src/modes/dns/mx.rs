//! `--mx`: the hosts that take the mail of a domain, the best first (RFC 5321 §5.1).

use super::ask::Asking;
use crate::error::{Error, Exit, words};
use crate::net::nameservers;
use crate::proto::dns::{Data, Name, Question, Type};
use crate::report::Report;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The domain, and who is asked about it.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Its name.
    pub name: Name,
    /// The server; those of the system if there is none.
    pub server: Option<SocketAddr>,
}

/// The hosts that take mail for a domain, those of equal preference in any order; the domain
/// itself where it names none.
///
/// # Errors
/// The domain is not there, or takes no mail (RFC 7505): exit 69. Nobody can tell: exit 75.
pub fn exchangers(
    domain: &Domain,
    wait: Option<Duration>,
    report: &Report,
) -> Result<Vec<String>, Error> {
    let Domain { name, server } = domain;
    let servers = server.map_or_else(nameservers::of_system, |server| vec![server]);
    let cannot = |e: io::Error| Error::machine(format!("cannot start: {}", words(&e)));
    let mut asking = Asking::new(servers, wait, report).map_err(cannot)?;
    let question = Question { name: name.clone(), kind: Type::Mx };
    let answer = asking.resolve(&question).map_err(|why| {
        Error::refused(Exit::LATER, format!("cannot find who takes mail for {name}: {}", why.0))
    })?;
    if !answer.exists {
        return Err(Error::refused(Exit::REFUSED, format!("there is no domain {name}")));
    }
    let hosts = answer.records.into_iter().filter_map(|record| {
        if let Data::Mx { preference, host } = record { Some((preference, host)) } else { None }
    });
    let mut hosts: Vec<(u16, u64, Name)> =
        hosts.map(|(preference, host)| (preference, chance(), host)).collect();
    if hosts.iter().any(|(.., host)| host.is_root()) {
        return Err(Error::refused(
            Exit::REFUSED,
            format!("{name} takes no mail: it says so by a null MX (556 5.1.10, RFC 7505)"),
        ));
    }
    if hosts.is_empty() {
        report.story(format_args!("{name} has no MX record, so it is its own host."));
        return Ok(vec![name.to_string()]);
    }
    hosts.sort_unstable_by_key(|(preference, chance, _)| (*preference, *chance));
    let told: Vec<_> = hosts.iter().map(|(n, _, host)| format!("{host} ({n})")).collect();
    report.story(format_args!("{name} has the mail exchangers {}.", told.join(", ")));
    Ok(hosts.into_iter().map(|(.., host)| host.to_string()).collect())
}

/// Any number.
fn chance() -> u64 {
    let hex = crate::sys::random_hex();
    u64::from_str_radix(hex.get(..16).unwrap_or_default(), 16).unwrap_or_default()
}
