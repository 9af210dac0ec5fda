//! What the records mean in which a domain says how it wants its mail to be treated: DMARC (RFC
//! 7489), MTA-STS (RFC 8461), TLSRPT (RFC 8460) and TLSA (RFC 6698, for SMTP RFC 7672).

/// `name=value` pairs with `;` between them, in their order; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Reads them.
    ///
    /// # Errors
    /// Half a sentence about what is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8".to_owned())?;
        let mut tags: Vec<(String, String)> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("{part:?} is no tag with a value"));
            };
            let name = name.trim().to_ascii_lowercase();
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name}= is there twice"));
            }
            tags.push((name, value.trim().to_owned()));
        }
        Ok(Self(tags))
    }

    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn all(&self) -> &[(String, String)] {
        &self.0
    }

    /// Is it a record of this version?
    fn begin_with(&self, version: &str) -> Result<(), String> {
        match self.0.first() {
            Some((name, value)) if name == "v" && value == version => Ok(()),
            Some(_) | None => Err(format!("it does not begin with v={version}")),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        let values = self.get(name).into_iter().flat_map(|list| list.split(','));
        values.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    }
}

/// Does a text begin as a record of this version does, whatever stands around the sign?
pub fn is_of(text: &[u8], version: &str) -> bool {
    let rest = text.trim_ascii_start().strip_prefix(b"v").map(<[u8]>::trim_ascii_start);
    let rest = rest.and_then(|rest| rest.strip_prefix(b"=")).map(<[u8]>::trim_ascii_start);
    rest.and_then(|rest| rest.strip_prefix(version.as_bytes()))
        .is_some_and(|rest| rest.first().is_none_or(|b| !b.is_ascii_alphanumeric()))
}

/// What becomes of mail that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    None,
    /// It is suspicious.
    Quarantine,
    /// It is refused.
    Reject,
}

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "quarantine" => Some(Self::Quarantine),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::None => "is delivered all the same",
            Self::Quarantine => "goes to the junk",
            Self::Reject => "is refused",
        }
    }
}

/// A DMARC record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    /// For the domain itself.
    pub policy: Policy,
    /// For those below it.
    pub subdomains: Policy,
    /// In so many cases of a hundred.
    pub percent: u8,
    /// SPF and DKIM must be for this very domain, each.
    pub strict: [bool; 2],
    /// Where summaries go.
    pub reports: Vec<String>,
    /// Where reports of single messages go.
    pub failures: Vec<String>,
}

impl Dmarc {
    /// Reads a record (RFC 7489 §6.3).
    ///
    /// # Errors
    /// Half a sentence about what is wrong; receivers ignore the record then.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let tags = Tags::parse(text)?;
        tags.begin_with("DMARC1")?;
        let reports = tags.list("rua");
        let policy = |name: &str| match tags.get(name) {
            None => Ok(None),
            Some(value) => match Policy::parse(value) {
                Some(policy) => Ok(Some(policy)),
                // Who asks for reports is taken as if he had said none (§6.6.3).
                None if !reports.is_empty() => Ok(Some(Policy::None)),
                None => {
                    Err(format!("{name}={value} is no policy: there are none, quarantine, reject"))
                }
            },
        };
        let policy_of_domain = match policy("p")? {
            Some(policy) => policy,
            None if !reports.is_empty() => Policy::None,
            None => return Err("it has no p=, the policy".to_owned()),
        };
        // What is wrong in the others is as if it were not there (§6.3).
        let percent = tags.get("pct").and_then(|typed| typed.parse().ok().filter(|n| *n <= 100));
        let percent = percent.unwrap_or(100);
        let strict = |name: &str| matches!(tags.get(name), Some("s" | "S"));
        Ok(Self {
            policy: policy_of_domain,
            subdomains: policy("sp")?.unwrap_or(policy_of_domain),
            percent,
            strict: [strict("aspf"), strict("adkim")],
            reports,
            failures: tags.list("ruf"),
        })
    }

    /// What it means for the domain that was asked about; `inherited` if it stands above it.
    pub fn words(&self, inherited: bool) -> String {
        let policy = if inherited { self.subdomains } else { self.policy };
        let mut out = format!("mail that fails SPF and DKIM {}", policy.words());
        if self.percent < 100 && policy != Policy::None {
            out += &format!(", in {} of 100 cases", self.percent);
        }
        if !inherited && self.subdomains != self.policy {
            out += &format!("; from below it, it {}", self.subdomains.words());
        }
        match self.strict {
            [false, false] => {}
            [true, true] => out += "; both must be for this very domain",
            [true, false] => out += "; SPF must be for this very domain",
            [false, true] => out += "; DKIM must be for this very domain",
        }
        match self.reports.as_slice() {
            [] => out += "; nobody wants reports",
            reports => out += &format!("; reports go to {}", reports.join(", ")),
        }
        out
    }
}

/// The id of an MTA-STS record, which changes with the policy (RFC 8461 §3.1).
///
/// # Errors
/// Half a sentence about what is wrong.
pub fn mta_sts(text: &[u8]) -> Result<String, String> {
    let tags = Tags::parse(text)?;
    tags.begin_with("STSv1")?;
    match tags.get("id") {
        None => Err("it has no id=, which tells one policy from the next".to_owned()),
        Some(id) if id.is_empty() || id.len() > 32 => Err("its id= has 1 to 32 characters".into()),
        Some(id) if !id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Err("its id= has letters and digits only".to_owned())
        }
        Some(id) => Ok(id.to_owned()),
    }
}

/// Where reports about TLS go (RFC 8460 §3).
///
/// # Errors
/// Half a sentence about what is wrong.
pub fn tlsrpt(text: &[u8]) -> Result<Vec<String>, String> {
    let tags = Tags::parse(text)?;
    tags.begin_with("TLSRPTv1")?;
    let addresses = tags.list("rua");
    let known = |uri: &String| uri.starts_with("mailto:") || uri.starts_with("https:");
    match addresses.iter().find(|uri| !known(uri)) {
        _ if addresses.is_empty() => Err("it has no rua=, the place for reports".to_owned()),
        Some(other) => Err(format!("rua={other} is neither mailto: nor https:")),
        None => Ok(addresses),
    }
}

/// What a TLSA record says of the certificate (RFC 7672 §3.1 for SMTP).
///
/// # Errors
/// Half a sentence about why senders cannot use it.
pub fn tlsa(numbers: [u8; 3], octets: usize) -> Result<String, String> {
    let [usage, selector, matching] = numbers;
    let usage = match usage {
        3 => "the server's own",
        2 => "an authority's",
        0 | 1 => return Err("senders of mail do not use PKIX-TA and PKIX-EE (0 and 1)".to_owned()),
        other => return Err(format!("nobody knows the usage {other}")),
    };
    let selector = match selector {
        0 => "certificate",
        1 => "key",
        other => return Err(format!("nobody knows the selector {other}")),
    };
    let (matching, length) = match matching {
        0 => ("whole", None),
        1 => ("by its SHA-256", Some(32)),
        2 => ("by its SHA-512", Some(64)),
        other => return Err(format!("nobody knows the matching type {other}")),
    };
    match length {
        Some(length) if length != octets => {
            Err(format!("it has {octets} octets, and a hash of its kind has {length}"))
        }
        Some(_) | None => Ok(format!("{usage} {selector}, {matching}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dmarc_is_read_and_said_in_words() {
        for (text, words) in [
            (
                "v=DMARC1; p=none",
                "mail that fails SPF and DKIM is delivered all the same; nobody wants reports",
            ),
            (
                "v=DMARC1;p=reject ; sp=none; pct=50; adkim=s;aspf=r; rua=mailto:a@b, mailto:c@d;",
                "mail that fails SPF and DKIM is refused, in 50 of 100 cases; from below it, it is \
                 delivered all the same; DKIM must be for this very domain; reports go to \
                 mailto:a@b, mailto:c@d",
            ),
            (
                "v=DMARC1; rua=mailto:a@b",
                "mail that fails SPF and DKIM is delivered all the same; reports go to mailto:a@b",
            ),
        ] {
            assert_eq!(Dmarc::parse(text.as_bytes()).unwrap().words(false), words);
        }
        // What is wrong in other tags is as if it were not there, and so is a wrong policy of who
        // asks for reports.
        let lenient =
            Dmarc::parse(b"v=DMARC1; p=refuse; pct=101; adkim=x; rua=mailto:a@b").unwrap();
        assert_eq!(
            (lenient.policy, lenient.percent, lenient.strict),
            (Policy::None, 100, [false; 2])
        );
        let above = Dmarc::parse(b"v=DMARC1; p=reject; sp=quarantine; aspf=s; adkim=s").unwrap();
        let words = "mail that fails SPF and DKIM goes to the junk; both must be for this very \
                     domain; nobody wants reports";
        assert_eq!(above.words(true), words);
    }

    #[test]
    fn what_receivers_ignore_is_said_to_be_wrong() {
        for (text, why) in [
            (&b"v=DMARC1"[..], "no p="),
            (b"p=none; v=DMARC1", "does not begin"),
            (b"v=DMARC1; p=refuse", "p=refuse is no policy"),
            (b"v=DMARC1; p=none; p=none", "twice"),
            (b"v=DMARC1; p", "no tag with a value"),
            (b"v=DMARC1; p=\xff", "no UTF-8"),
        ] {
            let error = Dmarc::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(mta_sts(b"v=STSv1; id=20261124;"), Ok("20261124".to_owned()));
        assert!(is_of(b"v = DMARC1;p=none", "DMARC1") && is_of(b"v=STSv1", "STSv1"));
        assert!(!is_of(b"v=STSv10; id=1", "STSv1") && !is_of(b"version", "STSv1"));
        assert!(mta_sts(b"v=STSv1").unwrap_err().contains("no id="));
        assert!(mta_sts(b"v=STSv1; id=2026-11-24").is_err());
        let uris = vec!["mailto:a@b".to_owned(), "https://c/d".to_owned()];
        assert_eq!(tlsrpt(b"v=TLSRPTv1; rua=mailto:a@b,https://c/d"), Ok(uris));
        assert!(tlsrpt(b"v=TLSRPTv1").is_err() && tlsrpt(b"v=TLSRPTv1;rua=a@b").is_err());
    }

    #[test]
    fn tlsa_is_said_in_words() {
        assert_eq!(tlsa([3, 1, 1], 32).unwrap(), "the server's own key, by its SHA-256");
        assert_eq!(tlsa([2, 0, 2], 64).unwrap(), "an authority's certificate, by its SHA-512");
        for (numbers, octets) in
            [([1, 0, 1], 32), ([4, 0, 1], 32), ([3, 2, 1], 32), ([3, 0, 3], 3), ([3, 0, 1], 31)]
        {
            assert!(tlsa(numbers, octets).is_err(), "{numbers:?}");
        }
    }
}
