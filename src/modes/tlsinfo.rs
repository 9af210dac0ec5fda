//! `--ssl-info` and the lines about TLS: what was agreed on, and with whom.

use super::json::string;
use crate::net::certificate::{Certificate, fingerprint, sha256};
use crate::net::date::date;
use crate::net::tls::Agreed;
use crate::net::trust::{Verdict, Verify};
use crate::report::Report;
use crate::term::safe::quote;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// How `--ssl-info` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What one line says about a connection: `TLS 1.3, mail.example, verified`.
pub fn summary(agreed: &Agreed, name: &str, verdict: &Verdict) -> String {
    let state = match verdict {
        Verdict { verified: true, .. } => "verified",
        Verdict { why: Some(_), .. } => "not verified",
        Verdict { .. } => "not checked",
    };
    format!("{}, {name}, {state}", agreed.version)
}

/// Tells what there is to tell once a handshake with a server is over: one warning line if its
/// certificate does not verify, the facts with `-v`.
pub fn announce(agreed: &Agreed, name: &str, verdict: &Verdict, verify: Verify, report: &Report) {
    if let (Some(why), Verify::Tell) = (&verdict.why, verify) {
        report.warning(format_args!(
            "the certificate of {name} is not verified: {why}; SHA-256 {}",
            chain_fingerprint(agreed)
        ));
    }
    if report.is_telling() {
        let alpn = agreed.alpn.as_deref().map(|alpn| format!(", {}", quote(alpn.as_bytes(), 40)));
        report.story(format_args!(
            "{}, {}, {}{}",
            summary(agreed, name, verdict),
            agreed.suite,
            agreed.group,
            alpn.unwrap_or_default()
        ));
        if let Some(leaf) = agreed.chain.first().and_then(|der| Certificate::read(der)) {
            let subject = quote(leaf.subject.as_bytes(), 80);
            let print = fingerprint(&leaf.sha256);
            report.story(format_args!("certificate: {subject}; SHA-256 {print}"));
        }
    }
}

fn chain_fingerprint(agreed: &Agreed) -> String {
    fingerprint(&sha256(agreed.chain.first().map_or(&[], Vec::as_slice)))
}

/// The whole of `--ssl-info`, with a line end.
pub fn describe(
    format: Format,
    agreed: &Agreed,
    name: &str,
    verdict: &Verdict,
    now: SystemTime,
) -> String {
    let chain: Vec<_> = agreed.chain.iter().map(|der| (der, Certificate::read(der))).collect();
    match format {
        Format::Text => text(agreed, name, verdict, &chain, now),
        Format::Json => json(agreed, name, verdict, &chain, now),
    }
}

type Shown<'a> = (&'a Vec<u8>, Option<Certificate>);

fn text(
    agreed: &Agreed,
    name: &str,
    verdict: &Verdict,
    chain: &[Shown<'_>],
    now: SystemTime,
) -> String {
    let safe = |text: &str| quote(text.as_bytes(), 200);
    let mut out = String::new();
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key:<12}{value}");
    };
    line("server", name);
    line("protocol", agreed.version);
    line("suite", &agreed.suite);
    line("group", &agreed.group);
    line("ALPN", &agreed.alpn.as_deref().map_or_else(|| "none".to_owned(), safe));
    line("OCSP", if verdict.ocsp { "stapled" } else { "not stapled" });
    let state = match &verdict.why {
        None if verdict.verified => "yes".to_owned(),
        None => "not checked".to_owned(),
        Some(why) => format!("no: {why}"),
    };
    line("verified", &state);
    for (i, (der, certificate)) in chain.iter().enumerate() {
        line("", "");
        line("certificate", &format!("{i}"));
        let Some(c) = certificate else {
            line("", "cannot be read");
            line("SHA-256", &fingerprint(&sha256(der)));
            continue;
        };
        line("subject", &safe(&c.subject));
        line("issuer", &safe(&c.issuer));
        if !c.names.is_empty() {
            line("names", &safe(&c.names.join(" ")));
        }
        let left = match days_left(c.not_after, now) {
            days @ 0.. => format!("{days} days left"),
            days => format!("expired {} days ago", -days),
        };
        line("valid", &format!("{} to {} ({left})", date(c.not_before), date(c.not_after)));
        line("serial", &c.serial);
        line("signature", &c.signature);
        line("SHA-256", &fingerprint(&c.sha256));
        line("key SHA-256", &fingerprint(&c.key_sha256));
    }
    // An empty key leaves the blanks of its column.
    out.lines().map(str::trim_end).fold(String::new(), |all, line| all + line + "\n")
}

fn json(
    agreed: &Agreed,
    name: &str,
    verdict: &Verdict,
    chain: &[Shown<'_>],
    now: SystemTime,
) -> String {
    let certificates: Vec<_> = chain
        .iter()
        .map(|(der, certificate)| match certificate {
            None => format!("{{\"sha256\":{}}}", string(&fingerprint(&sha256(der)))),
            Some(c) => {
                let names: Vec<_> = c.names.iter().map(|n| string(n)).collect();
                format!(
                    "{{\"subject\":{},\"issuer\":{},\"names\":[{}],\"not_before\":{},\
                     \"not_after\":{},\"days_left\":{},\"serial\":{},\"signature\":{},\
                     \"sha256\":{},\"key_sha256\":{}}}",
                    string(&c.subject),
                    string(&c.issuer),
                    names.join(","),
                    string(&date(c.not_before)),
                    string(&date(c.not_after)),
                    days_left(c.not_after, now),
                    string(&c.serial),
                    string(&c.signature),
                    string(&fingerprint(&c.sha256)),
                    string(&fingerprint(&c.key_sha256)),
                )
            }
        })
        .collect();
    let or_null = |value: Option<&str>| value.map_or_else(|| "null".to_owned(), string);
    format!(
        "{{\"server\":{},\"protocol\":{},\"suite\":{},\"group\":{},\"alpn\":{},\
         \"ocsp_stapled\":{},\"verified\":{},\"why_not\":{},\"chain\":[{}]}}\n",
        string(name),
        string(agreed.version),
        string(&agreed.suite),
        string(&agreed.group),
        or_null(agreed.alpn.as_deref()),
        verdict.ocsp,
        verdict.verified,
        or_null(verdict.why.as_deref()),
        certificates.join(",")
    )
}

/// Whole days until a certificate ends; negative when it has.
fn days_left(not_after: SystemTime, now: SystemTime) -> i64 {
    let days = |time: Duration| i64::try_from(time.as_secs() / 86_400).unwrap_or(i64::MAX);
    match not_after.duration_since(now) {
        Ok(left) => days(left),
        Err(past) => -days(past.duration()) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn example() -> (Agreed, Verdict) {
        let key = rcgen::generate_simple_self_signed(vec!["mail.example".to_owned()]).unwrap();
        let agreed = Agreed {
            version: "TLS 1.3",
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: "X25519".into(),
            alpn: Some("h2\"\u{1b}".into()),
            chain: vec![key.cert.der().to_vec(), b"junk".to_vec()],
        };
        let why = Some("it is self-signed".to_owned());
        (agreed, Verdict { verified: false, why, ocsp: false })
    }

    #[test]
    fn text_says_it_line_by_line_and_escapes_what_the_peer_said() {
        let (agreed, verdict) = example();
        let text = describe(Format::Text, &agreed, "mail.example", &verdict, UNIX_EPOCH);
        for expected in [
            "server      mail.example\n",
            "protocol    TLS 1.3\n",
            "verified    no: it is self-signed\n",
            "names       mail.example\n",
            "            cannot be read\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains(" \n"), "{text}");
    }

    #[test]
    fn json_is_one_line_of_json() {
        let (agreed, verdict) = example();
        let json = describe(Format::Json, &agreed, "mail.example", &verdict, UNIX_EPOCH);
        assert!(json.contains("\"alpn\":\"h2\\\"\\u001b\""), "{json}");
        assert!(json.contains("\"names\":[\"mail.example\"]"), "{json}");
        assert_eq!(json.lines().count(), 1);
    }

    #[test]
    fn days_are_counted_down_and_beyond() {
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 86_400);
        assert_eq!(days_left(at(10), at(3)), 7);
        assert_eq!(days_left(at(3), at(3)), 0);
        assert_eq!(days_left(at(3), at(10)), -8);
    }
}
