//! The whole trip of a message: sent, and then waited for in the mailbox where it should turn up
//! (`--expect-in`).

use super::{Capture, Config as Mail, Reading};
use crate::engine::tap::Tap;
use crate::error::{Error, Exit, words};
use crate::modes::connect;
use crate::modes::send::Written;
use crate::net::dial::seconds;
use crate::proto::numbers::Numbers;
use crate::proto::{imap, pop3};
use crate::report::Report;
use std::io::{Read, Seek};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The first pause before the mailbox is looked into again; each is twice as long,
const SHORTEST: Duration = Duration::from_millis(100);
/// up to this.
const LONGEST: Duration = Duration::from_secs(5);

/// The most that is read of a mailbox to find the message in it.
const MOST: u64 = 64 * 1024 * 1024;

/// Where a message is expected.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// A call that reads the mailbox.
    pub call: Box<connect::Config>,
    /// The mailbox, as it was written.
    pub name: String,
    /// How long it may take, from when the message was taken.
    pub patience: Duration,
}

/// A message that is on its way.
#[derive(Debug)]
pub struct Parcel {
    /// Its Message-ID, with angle brackets.
    id: String,
    /// What is behind its header, with LF.
    body: Vec<u8>,
    began: Instant,
}

impl Parcel {
    /// Remembers a message; one without a Message-ID gets one.
    pub fn of(written: &mut Written, host: &str, began: Instant) -> Self {
        let id = match field(&written.head, "message-id") {
            Some(id) if !id.is_empty() => id,
            Some(_) | None => {
                let id = format!("<{}@{host}>", crate::sys::random_hex());
                let line = format!("Message-ID: {id}\n");
                written.head.splice(0..0, line.bytes());
                written.size = written.size.map(|size| size + line.len() as u64);
                id
            }
        };
        Self { id, body: body(&written.head), began }
    }
}

/// The value of a header field, unfolded.
fn field(message: &[u8], name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(line);
        match &mut value {
            Some(value) if text.starts_with([' ', '\t']) => value.push_str(&text),
            Some(_) => break,
            None => {
                let found =
                    text.split_once(':').filter(|(n, _)| n.trim().eq_ignore_ascii_case(name));
                value = found.map(|(_, value)| value.to_owned());
            }
        }
    }
    value.map(|value| value.trim().to_owned())
}

/// What is behind the header, with LF, and without empty lines at its end: those that one server
/// adds, another takes away.
fn body(message: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = message
        .iter()
        .enumerate()
        .filter(|(at, b)| **b != b'\r' || message.get(at + 1) != Some(&b'\n'))
        .map(|(_, b)| *b)
        .collect();
    let start = match text.first() {
        Some(b'\n') => Some(1),
        _ => memchr::memmem::find(&text, b"\n\n").map(|at| at + 2),
    };
    let mut body = start.map_or(Vec::new(), |start| text[start..].to_vec());
    while body.last() == Some(&b'\n') {
        body.pop();
    }
    body
}

impl Expectation {
    /// Waits until the message is there, and says how long it has taken.
    ///
    /// # Errors
    /// It has not come, or not as it was sent; the mailbox cannot be read.
    pub fn meet(&self, parcel: &Parcel, report: &Report) -> Result<Exit, Error> {
        let sent = now();
        let until = sent + self.patience;
        let mut pause = SHORTEST;
        loop {
            if let Some(message) = self.look(parcel, report)? {
                let (first, second) = (sent - parcel.began, now() - sent);
                report.answer(format_args!(
                    "ncat: taken after {}, and in {} after {} more",
                    time(first),
                    self.name,
                    time(second)
                ));
                return match body(&message) == parcel.body {
                    true => Ok(Exit::DONE),
                    false => Err(self.differs(&message, parcel)),
                };
            }
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Err(Error::network(format!(
                    "the message {} was taken, but it is not in {} after {}",
                    parcel.id,
                    self.name,
                    seconds(self.patience)
                ))
                .hint("it may be in another folder, such as one for junk, or still under way"));
            }
            // Nothing tells across two servers; there is nothing else to do meanwhile.
            #[allow(clippy::disallowed_methods)]
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST);
        }
    }

    fn differs(&self, message: &[u8], parcel: &Parcel) -> Error {
        let got = body(message);
        let at = got.iter().zip(&parcel.body).take_while(|(a, b)| a == b).count();
        Error::network(format!(
            "the message has come to {}, but its text is not what was sent: they differ from \
             octet {at} on ({} octets were sent, {} have come)",
            self.name,
            parcel.body.len(),
            got.len()
        ))
    }

    /// The message, if it is there.
    fn look(&self, parcel: &Parcel, report: &Report) -> Result<Option<Vec<u8>>, Error> {
        let Some(mail) = &self.call.mail else { return Ok(None) };
        match &mail.reading {
            Some(Reading::Imap(wish)) => {
                let search = format!("HEADER Message-ID \"{}\"", escaped(&parcel.id));
                let fetch = Some(Numbers::all());
                let wish = imap::fetch::Wish { search: Some(search), fetch, ..wish.clone() };
                let mbox = self.read(mail, Reading::Imap(wish), report)?;
                Ok(messages(&mbox).into_iter().find(|message| is(message, parcel)))
            }
            Some(Reading::Pop3(wish)) => {
                // The headers tell which it is; many mailboxes are longer than one wants to read.
                let (fetch, lines) = (Some(Numbers::all()), Some(0));
                let heads = pop3::fetch::Wish { fetch, lines, ..wish.clone() };
                let mbox = self.read(mail, Reading::Pop3(heads), report)?;
                let heads = messages(&mbox);
                let Some(at) = heads.iter().position(|head| is(head, parcel)) else {
                    return Ok(None);
                };
                let Ok(number) = Numbers::parse(&(at + 1).to_string()) else { return Ok(None) };
                let one = pop3::fetch::Wish { fetch: Some(number), lines: None, ..wish.clone() };
                let message = self.read(mail, Reading::Pop3(one), report)?;
                Ok(Some(message).filter(|message| is(message, parcel)))
            }
            None => Ok(None),
        }
    }

    /// What a reading prints.
    fn read(&self, mail: &Mail, reading: Reading, report: &Report) -> Result<Vec<u8>, Error> {
        let cannot =
            |e: std::io::Error| Error::machine(format!("cannot keep what is read: {}", words(&e)));
        let mut file = tempfile::tempfile().map_err(cannot)?;
        let capture = Capture(Arc::new(file.try_clone().map_err(cannot)?));
        let mail = Mail { reading: Some(reading), capture: Some(capture), ..mail.clone() };
        let mut progress = connect::Progress::default();
        match connect::call(&self.call, Some(mail), Tap::default(), &mut progress, report)? {
            // A mailbox that is empty has no message of any number.
            Exit::DONE | Exit::REFUSED => {}
            exit => {
                let text = format!("cannot look into {}: its server refused", self.name);
                return Err(Error::refused(exit, text));
            }
        }
        let mut text = Vec::new();
        file.rewind().map_err(cannot)?;
        file.take(MOST).read_to_end(&mut text).map_err(cannot)?;
        Ok(text)
    }
}

/// Two conversations, each with a clock of its own, have none in common.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn time(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn is(message: &[u8], parcel: &Parcel) -> bool {
    field(message, "message-id").is_some_and(|id| id == parcel.id)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The messages of an mboxrd.
fn messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for line in mbox.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"From ") {
            all.push(Vec::new());
            continue;
        }
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        let is_quoted = quotes > 0 && line[quotes..].starts_with(b"From ");
        if let Some(message) = all.last_mut() {
            message.extend_from_slice(if is_quoted { &line[1..] } else { line });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(head: &str) -> (Parcel, Written) {
        let size = Some(head.len() as u64);
        let mut written = Written { head: head.into(), goes_on: false, size };
        #[allow(clippy::disallowed_methods)]
        let parcel = Parcel::of(&mut written, "me.test", Instant::now());
        (parcel, written)
    }

    #[test]
    fn a_message_is_known_by_its_message_id() {
        let (parcel, written) = parcel("Subject: x\r\nMESSAGE-ID:\r\n <1@a>\r\n\r\nbody\r\n\r\n");
        assert_eq!((parcel.id.as_str(), parcel.body.as_slice()), ("<1@a>", &b"body"[..]));
        assert_eq!(written.size, Some(written.head.len() as u64));
        assert!(is(b"Received: y\nMessage-Id: <1@a>\n\nx", &parcel));
        assert!(!is(b"Message-Id: <2@a>\n\nMessage-ID: <1@a>", &parcel));
    }

    #[test]
    fn a_message_without_one_gets_one() {
        let (parcel, written) = parcel("Subject: x\n\nbody");
        let text = String::from_utf8(written.head).unwrap();
        assert!(text.starts_with(&format!("Message-ID: {}\nSubject", parcel.id)), "{text}");
        assert_eq!(written.size, Some(text.len() as u64));
    }

    #[test]
    fn an_mbox_is_taken_apart_and_line_ends_do_not_matter() {
        let mbox = b"From a x\nMessage-ID: <1@a>\n\n>From me\n>>From you\n>x\n\nFrom b\nA: b\n\n";
        let all = messages(mbox);
        assert_eq!(all.len(), 2);
        assert_eq!(body(&all[0]), b"From me\n>From you\n>x");
        assert_eq!(body(b"A: b\r\n\r\nx\r\ny\r\n\r\n"), b"x\ny");
        assert_eq!(body(b"\nx"), b"x");
        assert_eq!(body(b"A: b\n"), b"");
    }
}
