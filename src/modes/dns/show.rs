//! What the DNS said, for people and for programs.

use crate::modes::json::{list, string};
use crate::proto::dns::policy::{self, Dmarc, Tags};
use crate::proto::dns::spf::{At, Verdict};
use crate::proto::dns::{Data, Name, Type};
use crate::term::safe::quote;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Records that belong together.
pub(super) struct Section {
    pub(super) kind: Type,
    /// What stands before each of them.
    label: &'static str,
    /// Their key in JSON.
    key: &'static str,
    owner: Name,
    pub(super) data: Vec<Data>,
    /// It stands above the name that was asked about.
    inherited: bool,
}

impl Section {
    /// The records of a type, in the order in which they matter.
    pub(super) fn of(kind: Type, owner: &Name, mut data: Vec<Data>) -> Self {
        let key = match kind {
            Type::A => "a",
            Type::Aaaa => "aaaa",
            Type::Cname => "cname",
            Type::Mx => "mx",
            Type::Ns => "ns",
            Type::Ptr => "ptr",
            Type::Soa => "soa",
            Type::Srv => "srv",
            Type::Tlsa => "tlsa",
            Type::Txt => "txt",
        };
        match kind {
            // Aliases lead from one to the next.
            Type::Cname => {}
            // Servers shuffle equals; whoever looks twice, or compares, wants the same again.
            Type::Mx
            | Type::Srv
            | Type::A
            | Type::Aaaa
            | Type::Ns
            | Type::Ptr
            | Type::Soa
            | Type::Tlsa
            | Type::Txt => data.sort_by_cached_key(|data| (rank(data), value(data))),
        }
        Self { kind, label: kind.name(), key, owner: owner.clone(), data, inherited: false }
    }

    /// The same, for a name above the one that was asked about.
    pub(super) fn inherited(self) -> Self {
        Self { inherited: true, ..self }
    }

    /// TXT records of a purpose.
    pub(super) fn text(
        label: &'static str,
        key: &'static str,
        owner: &Name,
        data: Vec<Data>,
    ) -> Self {
        Self { label, key, ..Self::of(Type::Txt, owner, data) }
    }

    /// Does it say that the domain takes no mail (RFC 7505)?
    fn is_null_mx(&self) -> bool {
        matches!(self.data.as_slice(), [Data::Mx { host, .. }] if host.is_root())
    }
}

/// The lowest comes first.
fn rank(data: &Data) -> (u16, u16) {
    match data {
        Data::Mx { preference, .. } => (*preference, 0),
        Data::Srv { priority, weight, .. } => (*priority, u16::MAX - *weight),
        Data::A(_)
        | Data::Aaaa(_)
        | Data::Name(_)
        | Data::Soa { .. }
        | Data::Tlsa { .. }
        | Data::Txt(_) => (0, 0),
    }
}

/// Line by line: what it is, and what it says; where it `explains`, what it means behind that.
pub(super) fn text(typed: &str, sections: &[Section], explains: bool) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<9}{}", safe(text));
    };
    for section in sections {
        if section.is_null_mx() {
            line(section.label, &format!("none: {typed} takes no mail (null MX)"));
            continue;
        }
        for data in &section.data {
            match data {
                // Whose they are is not the name that was asked about.
                Data::Tlsa { .. } => {
                    line(section.label, &format!("{} {}", section.owner, value(data)));
                }
                // As is a policy of somebody above it.
                Data::Txt(_) if section.inherited => {
                    line(section.label, &format!("{} {}", section.owner, value(data)));
                }
                Data::A(_)
                | Data::Aaaa(_)
                | Data::Name(_)
                | Data::Mx { .. }
                | Data::Soa { .. }
                | Data::Srv { .. }
                | Data::Txt(_) => line(section.label, &value(data)),
            }
            if explains && let Some(words) = meaning(section, data, typed) {
                line("", &words);
            }
        }
    }
    out
}

/// What a record means, where that is not to be seen at once.
fn meaning(section: &Section, data: &Data, typed: &str) -> Option<String> {
    let text = data.text().unwrap_or_default();
    let words = match (section.key, data) {
        ("dmarc", _) => Dmarc::parse(text).map(|dmarc| dmarc.words(section.inherited)),
        ("mta_sts", _) => policy::mta_sts(text)
            .map(|_| format!("the policy is at https://mta-sts.{typed}/.well-known/mta-sts.txt")),
        ("tlsrpt", _) => {
            policy::tlsrpt(text).map(|to| format!("reports about TLS go to {}", to.join(", ")))
        }
        (_, Data::Tlsa { numbers, data }) => policy::tlsa(*numbers, data.len()),
        _ => return None,
    };
    Some(words.unwrap_or_else(|why| format!("not valid, so it is ignored: {why}")))
}

/// The same for programs: what stands in the record, or what is wrong with it.
fn decoded(section: &Section) -> Option<String> {
    let key = match section.key {
        "dmarc" => "dmarc_tags",
        "mta_sts" => "mta_sts_tags",
        "tlsrpt" => "tlsrpt_tags",
        _ => return None,
    };
    let records = section.data.iter().filter_map(Data::text).map(|text| {
        let problem = match section.key {
            "dmarc" => Dmarc::parse(text).err(),
            "mta_sts" => policy::mta_sts(text).err(),
            _ => policy::tlsrpt(text).err(),
        };
        let tags = Tags::parse(text).ok();
        let tags = tags.iter().flat_map(|tags| tags.all().iter());
        let tags = tags.map(|(name, value)| format!("{}:{}", string(name), string(value)));
        let problem = problem.map_or_else(|| "null".to_owned(), |problem| string(&problem));
        let tags: Vec<_> = tags.collect();
        format!(
            "{{\"domain\":{},\"tags\":{{{}}},\"problem\":{problem}}}",
            string(&section.owner.to_string()),
            tags.join(",")
        )
    });
    Some(format!(",\"{key}\":{}", list(records)))
}

/// A record as it is usually written.
fn value(data: &Data) -> String {
    match data {
        Data::A(ip) => ip.to_string(),
        Data::Aaaa(ip) => ip.to_string(),
        Data::Name(name) => name.to_string(),
        Data::Mx { preference, host } => format!("{preference} {host}"),
        Data::Soa { server, mailbox, numbers: [serial, refresh, retry, expire, minimum] } => {
            format!("{server} {mailbox} {serial} {refresh} {retry} {expire} {minimum}")
        }
        Data::Srv { priority, weight, port, host } => {
            format!("{priority} {weight} {port} {host}")
        }
        Data::Tlsa { numbers: [usage, selector, matching], data } => {
            format!("{usage} {selector} {matching} {}", hex(data))
        }
        Data::Txt(text) => quote(text, usize::MAX),
    }
}

/// All of it as one JSON object, on one line.
pub(super) fn json(typed: &str, exists: bool, sections: &[Section]) -> String {
    let mut out = format!("{{\"name\":{},\"exists\":{exists}", string(typed));
    for section in sections {
        let (key, null) = (section.key, section.is_null_mx());
        if section.kind == Type::Mx {
            let _ = write!(out, ",\"null_mx\":{null}");
        }
        let values = section.data.iter().filter(|_| !null);
        let values = list(values.map(|data| json_value(data, &section.owner)));
        let _ = write!(out, ",\"{key}\":{values}");
        out += &decoded(section).unwrap_or_default();
    }
    out + "}\n"
}

fn json_value(data: &Data, owner: &Name) -> String {
    let name = |name: &Name| string(&name.to_string());
    match data {
        Data::A(_) | Data::Aaaa(_) => string(&value(data)),
        Data::Name(host) => name(host),
        Data::Mx { preference, host } => {
            format!("{{\"preference\":{preference},\"host\":{}}}", name(host))
        }
        Data::Soa { server, mailbox, numbers: [serial, refresh, retry, expire, minimum] } => {
            format!(
                "{{\"server\":{},\"mailbox\":{},\"serial\":{serial},\"refresh\":{refresh},\
                 \"retry\":{retry},\"expire\":{expire},\"minimum\":{minimum}}}",
                name(server),
                name(mailbox)
            )
        }
        Data::Srv { priority, weight, port, host } => format!(
            "{{\"priority\":{priority},\"weight\":{weight},\"port\":{port},\"host\":{}}}",
            name(host)
        ),
        Data::Tlsa { numbers: [usage, selector, matching], data } => {
            let problem = policy::tlsa([*usage, *selector, *matching], data.len()).err();
            format!(
                "{{\"name\":{},\"usage\":{usage},\"selector\":{selector},\
                 \"matching\":{matching},\"data\":{},\"problem\":{}}}",
                name(owner),
                string(&hex(data)),
                problem.map_or_else(|| "null".to_owned(), |problem| string(&problem))
            )
        }
        Data::Txt(text) => string(&String::from_utf8_lossy(text)),
    }
}

/// The result in a word, then what made it.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let why = match verdict.path.split_last() {
        None => verdict.why.clone().unwrap_or_default(),
        Some((At { domain, term }, way)) => {
            let way = way.iter().rev().map(|at| format!(", by {} of {}", at.term, at.domain));
            format!("{term} of {domain}{}", way.collect::<String>())
        }
    };
    let explanation = verdict.explanation.as_ref().map(|text| format!("      {}\n", safe(text)));
    format!("{}: {}\n{}", verdict.outcome, safe(&why), explanation.unwrap_or_default())
}

/// The same for programs.
pub(super) fn verdict_json(typed: &str, ip: IpAddr, verdict: &Verdict) -> String {
    let or_null = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), string);
    let decided = verdict.path.last();
    let path = verdict.path.iter().map(|At { domain, term }| {
        format!("{{\"domain\":{},\"term\":{}}}", string(domain), string(term))
    });
    format!(
        "{{\"name\":{},\"ip\":{},\"result\":{},\"mechanism\":{},\"path\":{},\"why\":{},\
         \"explanation\":{}}}\n",
        string(typed),
        string(&ip.to_string()),
        string(&verdict.outcome.to_string()),
        or_null(decided.map(|at| at.term.as_str())),
        list(path),
        or_null(verdict.why.as_deref()),
        or_null(verdict.explanation.as_deref())
    )
}

/// Nothing in it acts on a terminal, or makes a line of its own.
fn safe(text: &str) -> String {
    quote(text.as_bytes(), usize::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
