//! `--dns`: what the DNS has about a name, as a person who runs mail wants to see it.

mod ask;
pub mod mx;
mod show;

use crate::error::{Error, Exit, words};
use crate::net::nameservers;
use crate::proto::dns::policy;
use crate::proto::dns::spf::{self, Check, Next, Outcome, Reply, Verdict};
use crate::proto::dns::{Answer, Data, Name, Question, Type};
use crate::report::Report;
use crate::term::safe::quote;
use ask::{Asking, Unanswered};
use show::Section;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What an evaluation of SPF may take without `-w` (RFC 7208 §4.6.4: at least 20 s).
const SPF_PATIENCE: Duration = Duration::from_secs(20);

/// Exchangers whose certificates are asked for.
const MOST_HOSTS: usize = 10;

/// Names above one that are asked for their DMARC record.
const MOST_ABOVE: usize = 8;

/// What is asked of whom.
#[derive(Debug)]
pub struct Config {
    /// As it was typed.
    pub typed: String,
    /// The name that is asked about.
    pub name: Name,
    /// What about it.
    pub want: Want,
    /// The server; those of the system if there is none.
    pub server: Option<SocketAddr>,
    /// How long it may take in all (`-w`).
    pub wait: Option<Duration>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// What concerns mail.
    Summary,
    /// Records of these types.
    Types(Vec<Type>),
    /// May this address send mail for it?
    Spf(IpAddr),
}

/// Asks, and prints.
///
/// # Errors
/// No server answers, there is no such name or record, or standard output cannot be written.
pub fn run(config: &Config, report: &Report) -> Result<Exit, Error> {
    let servers = config.server.map_or_else(nameservers::of_system, |server| vec![server]);
    let spf = matches!(config.want, Want::Spf(_)).then_some(SPF_PATIENCE);
    let asking = Asking::new(servers, config.wait.or(spf), report)
        .map_err(|e| Error::machine(format!("cannot start: {}", words(&e))))?;
    let mut inquiry = Inquiry { asking, config, report, missing: None, failed: false };
    match &config.want {
        Want::Summary => {
            let sections = inquiry.summary()?;
            inquiry.finish(&sections)
        }
        Want::Types(types) => {
            let sections = inquiry.types(types)?;
            inquiry.finish(&sections)
        }
        Want::Spf(ip) => inquiry.spf(*ip),
    }
}

struct Inquiry<'a> {
    asking: Asking<'a>,
    config: &'a Config,
    report: &'a Report,
    /// There is no such name: the one that was asked about, or the last that it stands for.
    missing: Option<Name>,
    /// A question could not be answered.
    failed: bool,
}

impl Inquiry<'_> {
    fn types(&mut self, types: &[Type]) -> Result<Vec<Section>, Error> {
        let name = &self.config.name;
        let mut sections = Vec::new();
        for (i, kind) in types.iter().enumerate() {
            let answer = self.ask(i == 0, name, *kind)?;
            self.note(&answer);
            sections.push(Section::of(*kind, name, answer.records));
        }
        Ok(sections)
    }

    fn summary(&mut self) -> Result<Vec<Section>, Error> {
        let name = self.config.name.clone();
        let first = self.ask(true, &name, Type::A)?;
        self.note(&first);
        let aliases = first.aliases.into_iter().map(Data::Name).collect();
        let mut sections = vec![
            Section::of(Type::Cname, &name, aliases),
            Section::of(Type::A, &name, first.records),
        ];
        for kind in [Type::Aaaa, Type::Ns, Type::Mx] {
            let records = self.ask(false, &name, kind)?.records;
            sections.push(Section::of(kind, &name, records));
        }
        let texts = self.ask(false, &name, Type::Txt)?.records;
        let (records, others) = texts.into_iter().partition(is_text(spf::is_spf));
        let spf = Section::text("SPF", "spf", &name, records);
        if spf.data.len() > 1 {
            let many = spf.data.len();
            self.report.warning(format_args!(
                "{name} has {many} SPF records: receivers take that for an error and ignore them"
            ));
        }
        sections.push(spf);
        for (label, key, below, version) in [
            ("DMARC", "dmarc", "_dmarc", "DMARC1"),
            ("MTA-STS", "mta_sts", "_mta-sts", "STSv1"),
            ("TLSRPT", "tlsrpt", "_smtp._tls", "TLSRPTv1"),
        ] {
            let Some(name) = name.below(below) else { continue };
            let mut records = self.ask(false, &name, Type::Txt)?.records;
            // A wildcard may have brought anything else.
            records.retain(is_text(|text| policy::is_of(text, version)));
            if records.len() > 1 {
                let many = records.len();
                self.report.warning(format_args!(
                    "{name} has {many} {label} records: receivers ignore all of them"
                ));
            }
            let is_missing = records.is_empty() && key == "dmarc";
            sections.push(Section::text(label, key, &name, records));
            if is_missing && let Some(above) = self.dmarc_above()? {
                sections.pop();
                sections.push(above);
            }
        }
        let mx = sections.iter().find(|section| section.kind == Type::Mx);
        let hosts = mx.into_iter().flat_map(|section| section.data.iter());
        let hosts: Vec<_> = hosts
            .filter_map(|data| {
                let Data::Mx { host, .. } = data else { return None };
                if host.is_root() { None } else { host.below("_25._tcp") }
            })
            .take(MOST_HOSTS)
            .collect();
        for name in hosts {
            let records = self.ask(false, &name, Type::Tlsa)?.records;
            // One list in JSON, though there may be none in it.
            if !records.is_empty() || !sections.iter().any(|s| s.kind == Type::Tlsa) {
                sections.push(Section::of(Type::Tlsa, &name, records));
            }
        }
        sections.push(Section::text("TXT", "txt", &name, others));
        Ok(sections)
    }

    /// The DMARC record of the nearest name above that has one: it counts for those below (the
    /// tree walk of DMARCbis, which needs no list of public suffixes).
    fn dmarc_above(&mut self) -> Result<Option<Section>, Error> {
        let mut above = self.config.name.above();
        for _ in 0..MOST_ABOVE {
            let Some(domain) = above else { return Ok(None) };
            let Some(name) = domain.below("_dmarc") else { return Ok(None) };
            let mut records = self.ask(false, &name, Type::Txt)?.records;
            records.retain(is_text(|text| policy::is_of(text, "DMARC1")));
            if !records.is_empty() {
                return Ok(Some(Section::text("DMARC", "dmarc", &name, records).inherited()));
            }
            above = domain.above();
        }
        Ok(None)
    }

    /// What the name's own answers say of it.
    fn note(&mut self, answer: &Answer) {
        if !answer.exists && self.missing.is_none() {
            self.missing = Some(answer.aliases.last().unwrap_or(&self.config.name).clone());
        }
    }

    /// The answer, an empty one where there is none; a first question without one is the end.
    fn ask(&mut self, is_first: bool, name: &Name, kind: Type) -> Result<Answer, Error> {
        if self.missing.is_some() {
            // Nor is there anything below it (RFC 8020).
            return Ok(Answer { exists: false, aliases: Vec::new(), records: Vec::new() });
        }
        match self.asking.resolve(&Question { name: name.clone(), kind }) {
            Ok(answer) => Ok(answer),
            Err(unanswered) => {
                let error = cannot(name, kind, &unanswered);
                if is_first {
                    return Err(Error::network(error));
                }
                self.failed = true;
                self.report.warning(format_args!("{error}"));
                Ok(Answer { exists: true, aliases: Vec::new(), records: Vec::new() })
            }
        }
    }

    /// Prints what was found, and says what was not.
    fn finish(&self, sections: &[Section]) -> Result<Exit, Error> {
        let config = self.config;
        let found = sections.iter().any(|section| !section.data.is_empty());
        if config.json {
            print(&show::json(&config.typed, self.missing.is_none(), sections))?;
        } else {
            // Whoever asks for types wants the records.
            let explains = config.want == Want::Summary;
            print(&show::text(&config.typed, sections, explains))?;
        }
        let typed = shown(&config.typed);
        let absent = |what: String| Err(Error::refused(Exit::ABSENT, what));
        match (&self.missing, &config.want) {
            _ if self.failed => Ok(Exit::NETWORK),
            (Some(missing), _) if *missing == config.name => {
                absent(format!("there is no such name: {typed}"))
            }
            (Some(missing), _) => {
                absent(format!("{typed} is another name for {missing}, and there is no such name"))
            }
            (None, _) if found => Ok(Exit::DONE),
            (None, Want::Types(types)) => {
                let types: Vec<_> = types.iter().map(|kind| kind.name()).collect();
                absent(format!("{typed} has no {} record", types.join(" or ")))
            }
            (None, Want::Summary | Want::Spf(_)) => {
                absent(format!("{typed} has no record that concerns mail"))
            }
        }
    }

    fn spf(&mut self, ip: IpAddr) -> Result<Exit, Error> {
        let domain = self.config.name.to_string();
        let mut check = Check::new(ip, &domain);
        let verdict = loop {
            match check.next() {
                Next::Done(verdict) => break verdict,
                Next::Ask(question) => {
                    let reply = match self.asking.resolve(&question) {
                        Ok(answer) => Reply::Records(answer.records),
                        Err(unanswered) => {
                            let error = cannot(&question.name, question.kind, &unanswered);
                            self.report.warning(format_args!("{error}"));
                            Reply::Failed
                        }
                    };
                    check.answer(question, reply);
                }
            }
        };
        let Verdict { outcome, .. } = verdict;
        if self.config.json {
            print(&show::verdict_json(&self.config.typed, ip, &verdict))?;
        } else {
            print(&show::verdict_text(&verdict))?;
        }
        Ok(match outcome {
            Outcome::None => Exit::ABSENT,
            Outcome::TempError => Exit::NETWORK,
            Outcome::Pass
            | Outcome::Fail
            | Outcome::SoftFail
            | Outcome::Neutral
            | Outcome::PermError => Exit::DONE,
        })
    }
}

fn is_text(fits: impl Fn(&[u8]) -> bool) -> impl Fn(&Data) -> bool {
    move |data| data.text().is_some_and(&fits)
}

fn cannot(name: &Name, kind: Type, unanswered: &Unanswered) -> String {
    let (kind, name) = (kind.name(), shown(&name.to_string()));
    format!("cannot look up {kind} of {name}: {}", unanswered.0)
}

fn shown(text: &str) -> String {
    quote(text.as_bytes(), 300)
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader who has seen enough is no failure.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other
            .map_err(|e| Error::machine(format!("cannot write standard output: {}", words(&e)))),
    }
}
