//! Where the messages of a mock SMTP server go: standard output, or a mailbox.

use super::bounce;
use crate::mailbox::Place;
use crate::mailbox::memory::Memory;
use crate::modes::json;
use crate::modes::printer::{Printer, Progress};
use crate::modes::talk::SafeOutput;
use crate::net::endpoint::Endpoint;
use crate::proto::mbox::{Mboxrd, asctime};
use crate::proto::serving::Delivery;
use crate::proto::store::{self, Flags, INBOX, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::DateTime;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest folded header of which the fields are told in JSON.
const LONGEST_HEADER: usize = 256 * 1024;

/// What is done with a message.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Standard output has a JSON object for each message, not the message.
    pub json: bool,
    /// Return-Path and Received come before it.
    pub trace: bool,
    /// It goes into a mailbox, not to standard output.
    pub place: Option<Place>,
    /// It stays in memory: this is practice.
    pub memory: Option<Memory>,
    /// It comes back to its sender, as a report (`--bounce`).
    pub bounce: bool,
}

/// What is known of the connection that a message came by.
pub(super) struct Around {
    /// The caller's name, with its port.
    name: String,
    /// Its address alone.
    address: Option<String>,
    /// TLS: version and cipher suite.
    tls: Option<(String, String)>,
}

impl Around {
    pub(super) fn of(name: &str, endpoint: &Endpoint) -> Self {
        let address = endpoint.addresses().map(|(_, peer)| peer.ip().to_canonical().to_string());
        let tls =
            endpoint.agreed().map(|agreed| (agreed.version.to_owned(), agreed.suite.to_owned()));
        Self { name: name.to_owned(), address, tls }
    }
}

/// What became of a message, for one recipient.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// The name that it got, or why it is not kept.
    pub(super) outcome: Result<String, Refusal>,
    /// The mailbox that it is in, if there are several.
    pub(super) mailbox: Option<String>,
    /// What is in it is the report of its failure.
    pub(super) is_back: bool,
    /// It has begun to be printed: its end comes, and nobody may print it again.
    pub(super) begun: bool,
}

impl Kept {
    /// The same for everybody.
    fn for_all(delivery: &Delivery, outcome: &Result<String, Refusal>) -> Vec<Self> {
        let one = Self { outcome: outcome.clone(), mailbox: None, is_back: false, begun: false };
        vec![one; delivery.to.len()]
    }
}

/// Keeps messages.
#[derive(Debug)]
pub(super) struct Keeper {
    how: Keep,
    host: String,
    pub(super) printer: Printer,
}

impl Keeper {
    pub(super) fn new(how: &Keep, host: &str, safe_output: SafeOutput) -> Self {
        Self { how: how.clone(), host: host.to_owned(), printer: Printer::new(safe_output) }
    }

    /// Keeps a message of this caller: what became of it for each recipient.
    pub(super) fn keep(&mut self, delivery: &Delivery, around: &Around, caller: u64) -> Vec<Kept> {
        let now = SystemTime::now();
        let id = crate::sys::random_hex()[..12].to_ascii_uppercase();
        // Nobody is told of what nobody sent, so that is kept like any other.
        if self.how.bounce && !delivery.from.is_empty() {
            let report = bounce::report(delivery, &self.host, &id, &date(now));
            let told = report.and_then(|report| self.keep(&report, around, caller).pop());
            let none = Kept { outcome: Ok(id.clone()), mailbox: None, is_back: true, begun: false };
            let told = told.map_or(none, |one| Kept { is_back: true, ..one });
            return vec![told; delivery.to.len()];
        }
        let head = match self.how.trace {
            true => trace(delivery, around, &self.host, &id, now),
            false => String::new(),
        };
        if let Some(memory) = &self.how.memory {
            let content = [head.as_bytes(), &delivery.content].concat();
            let kept = memory.add(INBOX, &content, &Flags::default(), seconds(now));
            return Kept::for_all(delivery, &kept.map(|_| id));
        }
        let Some(place) = &self.how.place else {
            return match self.print(delivery, around, caller, (&id, &head), now) {
                Ok(Progress::Out(id)) => Kept::for_all(delivery, &Ok(id)),
                // Whoever reads it is behind.
                Ok(progress) => {
                    let mut all = Kept::for_all(delivery, &Err(Refusal::InUse));
                    all.iter_mut().for_each(|one| one.begun = progress == Progress::Begun);
                    all
                }
                Err(e) => Kept::for_all(
                    delivery,
                    &Err(match e.raw_os_error() {
                        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Refusal::Full,
                        _ => Refusal::Broken(crate::error::words(&e)),
                    }),
                ),
            };
        };
        let content = [head.as_bytes(), &delivery.content].concat();
        let mut kept: Vec<(PathBuf, store::Result<PathBuf>)> = Vec::new();
        let mut outcome = Vec::new();
        for (to, _) in &delivery.to {
            // Who shares a mailbox shares the message.
            let path = place.of(to);
            let mailbox = path.as_ref().ok().and_then(|path| place.name(path));
            let known = path.as_ref().ok().and_then(|path| kept.iter().find(|(p, _)| p == path));
            let one = match (known, path) {
                (Some((_, one)), _) => one.clone(),
                (None, Err(refusal)) => Err(refusal),
                (None, Ok(path)) => {
                    let one = place.deliver_at(&path, &delivery.from, &content);
                    kept.push((path, one.clone()));
                    one
                }
            };
            let one = one.map(|_| id.clone());
            outcome.push(Kept { outcome: one, mailbox, is_back: false, begun: false });
        }
        if self.how.json && !is_in_use(&outcome) {
            let paths = kept.iter().filter_map(|(_, file)| file.as_ref().ok());
            let paths: Vec<_> = paths.map(|file| file.display().to_string()).collect();
            let told = object(delivery, around, &id, &head, &paths, now);
            // The message is kept; that nobody hears of it is another matter.
            let _ = self.printer.queue(told.as_bytes());
        }
        outcome
    }

    /// To standard output.
    fn print(
        &mut self,
        delivery: &Delivery,
        around: &Around,
        caller: u64,
        (id, head): (&str, &str),
        now: SystemTime,
    ) -> io::Result<Progress> {
        match self.printer.progress(caller)? {
            Progress::Free => {}
            progress @ (Progress::Out(_) | Progress::Begun | Progress::Behind) => {
                return Ok(progress);
            }
        }
        let mut out = Vec::with_capacity(head.len() + delivery.content.len() + 256);
        if self.how.json {
            out.extend_from_slice(object(delivery, around, id, head, &[], now).as_bytes());
        } else {
            let mut mbox = Mboxrd::default();
            mbox.begin(&delivery.from, &asctime(seconds(now)), &mut out);
            mbox.encode(head.as_bytes(), &mut out);
            mbox.encode(&delivery.content, &mut out);
            mbox.end(&mut out);
        }
        self.printer.print(caller, id, &out)
    }
}

/// Another program has all of the mailboxes locked, or is behind with reading what we print:
/// nothing has been kept, and may be soon.
pub(super) fn is_in_use(kept: &[Kept]) -> bool {
    !kept.is_empty() && kept.iter().all(|one| one.outcome == Err(Refusal::InUse))
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `Tue, 24 Nov 2026 12:00:00 +0000` (RFC 5322 §3.3).
fn date(time: SystemTime) -> String {
    DateTime::from_timestamp(i64::try_from(seconds(time)).unwrap_or(i64::MAX)).to_rfc822()
}

/// What every server puts before a message (RFC 5321 §4.4).
fn trace(delivery: &Delivery, around: &Around, host: &str, id: &str, now: SystemTime) -> String {
    let (address, name) = match &delivery.client {
        Some((address, name)) => (Some(address.as_str()), name.as_deref()),
        None => (around.address.as_deref(), None),
    };
    let address = match address {
        Some(v6) if v6.contains(':') => format!("[IPv6:{v6}]"),
        Some(v4) => format!("[{v4}]"),
        None => "local socket".to_owned(),
    };
    let client = name.map_or(address.clone(), |name| format!("{name} {address}"));
    let tls =
        around.tls.as_ref().map(|(version, suite)| format!("\r\n\t(using {version} with {suite})"));
    let to = match delivery.to.as_slice() {
        // Several recipients must not learn of each other (RFC 5321 §7.2).
        [(one, _)] => format!("\r\n\tfor <{one}>"),
        _ => String::new(),
    };
    format!(
        "Return-Path: <{}>\r\nReceived: from {} ({client}){}\r\n\tby {host} (ncat) with {} id {id}{to};\r\n\t{}\r\n",
        delivery.from,
        delivery.helo,
        tls.unwrap_or_default(),
        delivery.with,
        date(now)
    )
}

/// One line of JSON about a message.
fn object(
    delivery: &Delivery,
    around: &Around,
    id: &str,
    head: &str,
    paths: &[String],
    now: SystemTime,
) -> String {
    let text = |text: &str| json::string(text);
    let texts = |all: &[String]| json::list(all.iter().map(|one| text(one)));
    let when = DateTime::from_timestamp(i64::try_from(seconds(now)).unwrap_or(i64::MAX));
    let tls = around.tls.as_ref().map_or("null".to_owned(), |(version, suite)| {
        format!("{{\"version\":{},\"cipher\":{}}}", text(version), text(suite))
    });
    let auth = delivery.login.as_ref().map_or("null".to_owned(), |(user, mechanism)| {
        format!("{{\"user\":{},\"mechanism\":{}}}", text(user), text(mechanism))
    });
    let to = delivery.to.iter().map(|(address, parameters)| {
        format!("{{\"address\":{},\"parameters\":{}}}", text(address), texts(parameters))
    });
    let client = delivery.client.as_ref().map_or("null".to_owned(), |(address, name)| {
        let name = name.as_deref().map_or("null".to_owned(), text);
        format!("{{\"address\":{},\"name\":{name}}}", text(address))
    });
    let content = match std::str::from_utf8(&delivery.content) {
        Ok(content) => format!("\"content\":{}", text(content)),
        Err(_) => format!("\"content_base64\":\"{}\"", STANDARD.encode(&delivery.content)),
    };
    let headers = headers(&delivery.content)
        .into_iter()
        .map(|(name, value)| format!("[{},{}]", text(&name), text(&value)));
    format!(
        "{{\"time\":{},\"id\":{},\"peer\":{},\"client\":{client},\"helo\":{},\"with\":{},\"tls\":{tls},\
         \"auth\":{auth},\"from\":{},\"parameters\":{},\"to\":{},\"size\":{},\"headers\":{},\
         \"trace\":{},\"lint\":{},\"paths\":{},{content}}}\n",
        text(&when.to_rfc3339()),
        text(id),
        text(&around.name),
        text(&delivery.helo),
        text(delivery.with),
        text(&delivery.from),
        texts(&delivery.parameters),
        json::list(to),
        delivery.content.len(),
        json::list(headers),
        text(head),
        texts(&delivery.lint),
        texts(paths),
    )
}

/// The header fields, unfolded, in their order.
fn headers(content: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let text = String::from_utf8_lossy(&content[..content.len().min(LONGEST_HEADER)]);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(line);
            }
            continue;
        }
        match line.split_once(':') {
            Some((name, value)) if !name.contains(' ') => {
                fields.push((name.to_owned(), value.trim_start().to_owned()));
            }
            // No header field: the header is over, or there was none.
            Some(_) | None => break,
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn delivery() -> Delivery {
        Delivery {
            helo: "client.test".into(),
            with: "ESMTPSA",
            login: Some(("ann".into(), "PLAIN")),
            from: "ann@a".into(),
            parameters: vec!["SIZE=3".into()],
            to: vec![("bob@b".into(), vec!["NOTIFY=NEVER".into()])],
            client: None,
            content: b"Subject: a\r\n b\r\nTo: x\r\n\r\nbody\r\n".to_vec(),
            lint: vec!["a lint".into()],
        }
    }

    fn around() -> Around {
        Around {
            name: "[::1]:40000".into(),
            address: Some("::1".into()),
            tls: Some(("TLS 1.3".into(), "TLS_AES_128_GCM_SHA256".into())),
        }
    }

    #[test]
    fn the_trace_says_what_is_known() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        let trace = trace(&delivery(), &around(), "mock.test", "ABC", at);
        let expected = "Return-Path: <ann@a>\r\n\
            Received: from client.test ([IPv6:::1])\r\n\t(using TLS 1.3 with TLS_AES_128_GCM_SHA256)\r\n\
            \tby mock.test (ncat) with ESMTPSA id ABC\r\n\tfor <bob@b>;\r\n\
            \tTue, 24 Nov 2026 12:00:00 +0000\r\n";
        assert_eq!(trace, expected);
        let mut secret = delivery();
        secret.to.push(("eve@e".into(), Vec::new()));
        assert!(!super::trace(&secret, &around(), "m", "A", at).contains("for <"));
    }

    #[test]
    fn json_has_everything_on_one_line() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        let line = object(&delivery(), &around(), "ABC", "", &[], at);
        assert_eq!(line.matches('\n').count(), 1);
        for part in [
            "\"time\":\"2026-11-24T12:00:00Z\"",
            "\"tls\":{\"version\":\"TLS 1.3\",\"cipher\":\"TLS_AES_128_GCM_SHA256\"}",
            "\"auth\":{\"user\":\"ann\",\"mechanism\":\"PLAIN\"}",
            "\"to\":[{\"address\":\"bob@b\",\"parameters\":[\"NOTIFY=NEVER\"]}]",
            "\"headers\":[[\"Subject\",\"a b\"],[\"To\",\"x\"]]",
            "\"lint\":[\"a lint\"]",
            "\"size\":31",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        let mut binary = delivery();
        binary.content = vec![0xff];
        let line = object(&binary, &around(), "ABC", "", &[], at);
        assert!(line.contains("\"content_base64\":\"/w==\""), "{line}");
    }
}
