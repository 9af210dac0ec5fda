//! SPF: may this address send mail for that domain (RFC 7208)?
//!
//! In scope: check_host() with all mechanisms, `redirect`, `exp`, macros, and the limits of §4.6.4.
//!
//! A [`Check`] asks no one: it says which question it needs answered next. The evaluation is a
//! function of the answers so far and begins anew with each, until none is missing. That costs
//! microseconds, for a hundred questions at most, and there is no state that could be wrong.

mod expand;
mod record;

use super::{Data, Name, Question, Type};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use record::{Mechanism, Prefixes, Record, Spec};
use std::collections::HashMap;
use std::fmt;

/// Terms that ask the DNS, in all records together (§4.6.4).
const MOST_LOOKUPS: usize = 10;
/// Of those, how many may find nothing (§4.6.4).
const MOST_VOID: usize = 2;
/// Hosts of one `mx`, and names of one `ptr` (§4.6.4).
const MOST_HOSTS: usize = 10;

/// What SPF says of a sender (§2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// The domain has no SPF record.
    None,
    /// A name server failed.
    TempError,
    /// The record is wrong.
    PermError,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::Neutral => "neutral",
            Outcome::None => "none",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        })
    }
}

/// A term, and the domain in whose record it stands: the peer's words, to be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The domain.
    pub domain: String,
    /// The term, as it is written there.
    pub term: String,
}

/// The result, and what made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The result.
    pub outcome: Outcome,
    /// The mechanism that decided, behind the `include` and `redirect` terms that led to it.
    /// Empty where none did.
    pub path: Vec<At>,
    /// What there is to say where no mechanism decided.
    pub why: Option<String>,
    /// What the domain has to say to those whom it refuses (`exp`): the peer's words, to be
    /// escaped.
    pub explanation: Option<String>,
}

/// The answer to a question, as far as SPF cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These records; none, where there is no such name or it has none of the type.
    Records(Vec<Data>),
    /// No server could tell.
    Failed,
}

/// What a check wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The answer to this, by [`Check::answer`].
    Ask(Question),
    /// Nothing: this is the result.
    Done(Verdict),
}

/// One question to SPF.
#[derive(Debug)]
pub struct Check {
    ip: IpAddr,
    domain: String,
    answers: HashMap<Question, Reply>,
}

impl Check {
    /// May `ip` send for `postmaster@domain`, which it also says to be in its HELO?
    pub fn new(ip: IpAddr, domain: &str) -> Self {
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_owned();
        Self { ip: ip.to_canonical(), domain, answers: HashMap::new() }
    }

    /// What is missing, or the result.
    pub fn next(&self) -> Next {
        let mut run = Run { check: self, lookups: 0, void: 0 };
        let done =
            |outcome, path, why| Next::Done(Verdict { outcome, path, why, explanation: None });
        match run.host(&self.domain) {
            Ok(Ruling::NoRecord) => {
                let why = format!("{} has no SPF record", self.domain);
                done(Outcome::None, Vec::new(), Some(why))
            }
            Ok(Ruling::NoMatch(domain)) => {
                let why = format!("no mechanism of {domain} matches");
                done(Outcome::Neutral, Vec::new(), Some(why))
            }
            Ok(Ruling::Match(outcome, path, explanation)) => {
                Next::Done(Verdict { outcome, path, why: None, explanation })
            }
            Err(Stop::Ask(question)) => Next::Ask(question),
            Err(Stop::Temporary(why)) => done(Outcome::TempError, Vec::new(), Some(why)),
            Err(Stop::Permanent(why)) => done(Outcome::PermError, Vec::new(), Some(why)),
        }
    }

    /// Takes the answer to a question that [`Check::next`] had.
    pub fn answer(&mut self, question: Question, reply: Reply) {
        self.answers.insert(question, reply);
    }
}

/// One evaluation, with the answers that there are.
struct Run<'a> {
    check: &'a Check,
    lookups: usize,
    void: usize,
}

/// Why an evaluation cannot go on.
enum Stop {
    Ask(Question),
    Temporary(String),
    Permanent(String),
}

/// What one domain's record says.
enum Ruling {
    NoRecord,
    NoMatch(String),
    /// With what is said to those who are refused.
    Match(Outcome, Vec<At>, Option<String>),
}

impl Run<'_> {
    /// check_host() of §4.
    fn host(&mut self, domain: &str) -> Result<Ruling, Stop> {
        let Some(name) = Name::new(domain).filter(Name::has_dot) else {
            return Ok(Ruling::NoRecord);
        };
        let texts = self.look_up(name, Type::Txt)?.ok_or_else(|| {
            Stop::Temporary(format!("no server could tell the TXT records of {domain}"))
        })?;
        let texts = texts.iter().filter_map(Data::text);
        let records: Vec<_> = texts.filter(|text| is_spf(text)).collect();
        let record = match records.as_slice() {
            [] => return Ok(Ruling::NoRecord),
            [one] => Record::parse(one)
                .map_err(|why| Stop::Permanent(format!("the record of {domain}: {why}")))?,
            many => {
                let many = many.len();
                return Err(Stop::Permanent(format!("{domain} has {many} SPF records")));
            }
        };
        for directive in &record.directives {
            if let Some(mut path) = self.matches(&directive.mechanism, domain)? {
                path.insert(0, At { domain: domain.to_owned(), term: directive.text.clone() });
                let explanation = match (&record.explanation, directive.outcome) {
                    (Some(spec), Outcome::Fail) => self.explain(spec, domain)?,
                    _ => None,
                };
                return Ok(Ruling::Match(directive.outcome, path, explanation));
            }
        }
        let Some((target, term)) = record.redirect else {
            return Ok(Ruling::NoMatch(domain.to_owned()));
        };
        self.count()?;
        let target = self.expand(&target, domain)?;
        match self.host(&target)? {
            Ruling::NoRecord => Err(Stop::Permanent(format!(
                "{domain} redirects to {target}, which has no SPF record"
            ))),
            // Whose record decides, his words count (§6.2).
            Ruling::Match(outcome, mut path, explanation) => {
                path.insert(0, At { domain: domain.to_owned(), term });
                Ok(Ruling::Match(outcome, path, explanation))
            }
            no @ Ruling::NoMatch(_) => Ok(no),
        }
    }

    /// What the domain says to those whom it refuses. Whatever is wrong with it, it is only a text
    /// (§6.2).
    fn explain(&mut self, spec: &Spec, domain: &str) -> Result<Option<String>, Stop> {
        let target = self.expand(spec, domain)?;
        let Some(name) = Name::new(&target) else { return Ok(None) };
        let texts = self.look_up(name, Type::Txt)?.unwrap_or_default();
        let mut texts = texts.iter().filter_map(Data::text);
        let (Some(text), None) = (texts.next(), texts.next()) else { return Ok(None) };
        let Some(text) = record::explanation(text) else { return Ok(None) };
        match self.expand_text(&text, domain) {
            Ok(text) => Ok(Some(text)),
            Err(ask @ Stop::Ask(_)) => Err(ask),
            Err(Stop::Temporary(_) | Stop::Permanent(_)) => Ok(None),
        }
    }

    /// Does it match? Then by which terms of other records, if it includes one.
    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<Option<Vec<At>>, Stop> {
        let ip = self.check.ip;
        let is_so = match mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(network, bits) => {
                matches!(ip, IpAddr::V4(ip) if within_v4(ip, *network, *bits))
            }
            Mechanism::Ip6(network, bits) => {
                matches!(ip, IpAddr::V6(ip) if within_v6(ip, *network, *bits))
            }
            Mechanism::Include(target) => {
                self.count()?;
                let target = self.expand(target, domain)?;
                return match self.host(&target)? {
                    Ruling::Match(Outcome::Pass, path, _) => Ok(Some(path)),
                    Ruling::Match(..) | Ruling::NoMatch(_) => Ok(None),
                    Ruling::NoRecord => Err(Stop::Permanent(format!(
                        "{domain} includes {target}, which has no SPF record"
                    ))),
                };
            }
            Mechanism::A(target, prefixes) => {
                self.count()?;
                let Some(name) = self.target(target.as_ref(), domain)? else { return Ok(None) };
                let found = self.addresses(name.clone())?.ok_or_else(|| unknown("A", &name))?;
                self.count_void(found.is_empty())?;
                found.into_iter().any(|host| same_network(ip, host, *prefixes))
            }
            Mechanism::Mx(target, prefixes) => {
                self.count()?;
                let Some(name) = self.target(target.as_ref(), domain)? else { return Ok(None) };
                self.mx(name, *prefixes)?
            }
            Mechanism::Ptr(target) => {
                self.count()?;
                let Some(name) = self.target(target.as_ref(), domain)? else { return Ok(None) };
                let hosts = self.names_of_ip()?;
                self.count_void(hosts.is_empty())?;
                let hosts = hosts.into_iter().filter(|host| host.is_within(&name));
                self.first_valid(hosts)?.is_some()
            }
            Mechanism::Exists(target) => {
                self.count()?;
                let Some(name) = self.target(Some(target), domain)? else { return Ok(None) };
                // IPv4 whatever the address is (§5.7).
                let found = self.look_up(name.clone(), Type::A)?;
                let found = found.ok_or_else(|| unknown("A", &name))?;
                self.count_void(found.is_empty())?;
                !found.is_empty()
            }
        };
        Ok(is_so.then(Vec::new))
    }

    fn mx(&mut self, name: Name, prefixes: Prefixes) -> Result<bool, Stop> {
        let hosts = self.look_up(name.clone(), Type::Mx)?.ok_or_else(|| unknown("MX", &name))?;
        self.count_void(hosts.is_empty())?;
        if hosts.len() > MOST_HOSTS {
            let many = hosts.len();
            return Err(Stop::Permanent(format!(
                "{name} has {many} MX records, and {MOST_HOSTS} are the most"
            )));
        }
        for data in hosts {
            let Data::Mx { host, .. } = data else { continue };
            if host.is_root() {
                continue;
            }
            let found = self.addresses(host.clone())?.ok_or_else(|| unknown("A", &host))?;
            if found.into_iter().any(|host| same_network(self.check.ip, host, prefixes)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One more term that asks the DNS.
    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups <= MOST_LOOKUPS {
            return Ok(());
        }
        Err(Stop::Permanent(format!("it takes more than {MOST_LOOKUPS} look-ups")))
    }

    /// A term's own question found nothing, or it did. Those for the hosts of an `mx` are not
    /// counted: a host with one family of addresses would be two.
    fn count_void(&mut self, is_void: bool) -> Result<(), Stop> {
        self.void += usize::from(is_void);
        if self.void <= MOST_VOID {
            return Ok(());
        }
        Err(Stop::Permanent(format!("more than {MOST_VOID} look-ups find nothing")))
    }

    /// The name that a mechanism is about. One that is no name matches nothing (§4.8).
    fn target(&mut self, spec: Option<&Spec>, domain: &str) -> Result<Option<Name>, Stop> {
        let text = match spec {
            Some(spec) => self.expand(spec, domain)?,
            None => domain.to_owned(),
        };
        Ok(Name::new(&text))
    }

    /// The names of our address that it may have, at most ten; a failure is as good as none.
    fn names_of_ip(&mut self) -> Result<Vec<Name>, Stop> {
        let found = self.look_up(Name::reverse(self.check.ip), Type::Ptr)?.unwrap_or_default();
        let names = found.into_iter().filter_map(Data::into_name);
        Ok(names.take(MOST_HOSTS).collect())
    }

    /// The first of these names that leads back to the address.
    fn first_valid(&mut self, names: impl Iterator<Item = Name>) -> Result<Option<Name>, Stop> {
        for name in names {
            if self.addresses(name.clone())?.is_some_and(|all| all.contains(&self.check.ip)) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Addresses of the family that matters; `None` where no server could tell.
    fn addresses(&self, name: Name) -> Result<Option<Vec<IpAddr>>, Stop> {
        let kind = if self.check.ip.is_ipv4() { Type::A } else { Type::Aaaa };
        let found = self.look_up(name, kind)?;
        Ok(found.map(|records| records.into_iter().filter_map(Data::into_address).collect()))
    }

    /// `None` where no server could tell.
    fn look_up(&self, name: Name, kind: Type) -> Result<Option<Vec<Data>>, Stop> {
        let question = Question { name, kind };
        match self.check.answers.get(&question) {
            Some(Reply::Records(records)) => Ok(Some(records.clone())),
            Some(Reply::Failed) => Ok(None),
            None => Err(Stop::Ask(question)),
        }
    }
}

/// Is this TXT record about SPF (§4.5)?
pub fn is_spf(text: &[u8]) -> bool {
    let version = text.split(|&b| b == b' ').next().unwrap_or_default();
    version.eq_ignore_ascii_case(b"v=spf1")
}

fn unknown(kind: &str, name: &Name) -> Stop {
    Stop::Temporary(format!("no server could tell the {kind} records of {name}"))
}

fn same_network(ip: IpAddr, host: IpAddr, prefixes: Prefixes) -> bool {
    match (ip, host) {
        (IpAddr::V4(ip), IpAddr::V4(host)) => within_v4(ip, host, prefixes.v4),
        (IpAddr::V6(ip), IpAddr::V6(host)) => within_v6(ip, host, prefixes.v6),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn within_v4(ip: Ipv4Addr, network: Ipv4Addr, bits: u8) -> bool {
    let differ = ip.to_bits() ^ network.to_bits();
    // A shift by the whole width is none.
    differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

fn within_v6(ip: Ipv6Addr, network: Ipv6Addr, bits: u8) -> bool {
    let differ = ip.to_bits() ^ network.to_bits();
    differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests;
