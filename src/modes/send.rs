//! Sending a message with nobody typing: what it looks like, and what becomes of it.

use crate::error::{Error, words};
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use std::borrow::Cow;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The most that a body may have: it is held whole. A message with its own header is not.
const LONGEST_BODY: u64 = 50 * 1024 * 1024;

/// A header is recognised by its first line, which is not longer than this.
const FIRST_LINE: usize = 8 * 1024;

/// A person with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name, if there is one.
    pub name: Option<String>,
    /// `local@domain`, without angle brackets.
    pub address: String,
}

/// A file that goes with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it is.
    pub file: PathBuf,
    /// Its media type.
    pub kind: String,
}

/// What a message is made of.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// The sender; `None` is the null sender.
    pub from: Option<Mailbox>,
    /// The recipients, as they are in the header.
    pub to: Vec<Mailbox>,
    /// More of them.
    pub cc: Vec<Mailbox>,
    /// Those who are not in the header.
    pub bcc: Vec<Mailbox>,
    /// `--subject`
    pub subject: Option<String>,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// The text; without it, standard input is the text, or the whole message.
    pub body: Option<String>,
    /// The same as HTML.
    pub html: Option<PathBuf>,
    /// What goes with it.
    pub attachments: Vec<Attachment>,
    /// The host in the Message-ID.
    pub host: String,
}

/// A message that is ready to go.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its beginning, or all of it.
    pub head: Vec<u8>,
    /// The rest is what standard input still has.
    pub goes_on: bool,
    /// How many octets it has, as far as that is known.
    pub size: Option<u64>,
}

impl Written {
    /// Reads the rest of it, too.
    ///
    /// # Errors
    /// Standard input cannot be read, or has more than 50 MiB.
    pub(super) fn complete(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.goes_on) {
            self.head = all(std::mem::take(&mut self.head))?;
            self.size = Some(self.head.len() as u64);
        }
        Ok(())
    }
}

impl Letter {
    /// Who gets it: each address once, in order.
    pub(super) fn recipients(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for mailbox in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            if !all.contains(&mailbox.address) {
                all.push(mailbox.address.clone());
            }
        }
        all
    }

    /// Writes the message, or takes the one that standard input has.
    ///
    /// # Errors
    /// A file that cannot be read, a body that is no text.
    pub(super) fn write(&self) -> Result<Written, Error> {
        let is_made_of_parts = self.html.is_some() || !self.attachments.is_empty();
        let text = match &self.body {
            Some(body) => body.clone().into_bytes(),
            None => {
                let (start, over) = first_line()?;
                if is_header(&start) && !is_made_of_parts {
                    self.adds_nothing()?;
                    let size = if over { Some(start.len() as u64) } else { rest(&start) };
                    return Ok(Written { head: start, goes_on: !over, size });
                }
                if over { start } else { all(start)? }
            }
        };
        let head = self.compose(text)?;
        let size = Some(head.len() as u64);
        Ok(Written { head, goes_on: false, size })
    }

    /// A whole message goes out as it is, and without the fields that were asked for.
    fn adds_nothing(&self) -> Result<(), Error> {
        let subject = self.subject.is_some().then_some("--subject");
        let header = (!self.headers.is_empty()).then_some("--header");
        match subject.or(header) {
            Some(option) => Err(Error::machine(format!(
                "{option} cannot be added: standard input begins with a field of a header, so it \
                 is a whole message"
            ))
            .hint("an empty line before a text, or --body, makes it one")),
            None => Ok(()),
        }
    }

    fn compose(&self, text: Vec<u8>) -> Result<Vec<u8>, Error> {
        let text = String::from_utf8(text).map_err(|_| {
            Error::machine("the text of the message is not UTF-8")
                .hint("a whole message, with a header of its own, may have any octets")
        })?;
        // A field that was asked for takes the place of ours: a header has each of these once.
        let ours =
            |field: &str| !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(field));
        let mut message = MessageBuilder::new();
        if ours("Message-ID") {
            message = message.message_id(format!("{}@{}", crate::sys::random_hex(), self.host));
        }
        if ours("From") {
            message = match &self.from {
                Some(from) => message.from(address(from)),
                // Somebody has to have written it (RFC 5322 §3.6), also where nobody wants a reply.
                None => message.from(format!("MAILER-DAEMON@{}", self.host)),
            };
        }
        for (name, mailboxes) in [("To", &self.to), ("Cc", &self.cc)] {
            if !mailboxes.is_empty() && ours(name) {
                let list: Vec<Address<'_>> = mailboxes.iter().map(address).collect();
                message = message.header(name, Address::new_list(list));
            }
        }
        if self.to.is_empty() && self.cc.is_empty() && ours("To") && ours("Cc") {
            // Somebody has to be there (RFC 5322 §3.6.3 has it otherwise, and mail filters do not).
            message = message.header("To", Raw::new("undisclosed-recipients:;"));
        }
        if let Some(subject) = self.subject.as_ref().filter(|_| ours("Subject")) {
            message = message.subject(subject.as_str());
        }
        for (name, value) in &self.headers {
            // The builder knows these by their spelling, and leaves out its own.
            let known = ["Date", "Message-ID"].into_iter().find(|f| f.eq_ignore_ascii_case(name));
            let name = known.unwrap_or(name);
            message = message.header(
                Cow::<str>::Owned(name.to_owned()),
                mail_builder::headers::text::Text::new(value.as_str()),
            );
        }
        if !text.is_empty() || self.html.is_none() {
            message = message.text_body(text);
        }
        if let Some(file) = &self.html {
            let html = String::from_utf8(read("--html", file)?)
                .map_err(|_| Error::machine(format!("--html {} is not UTF-8", file.display())))?;
            message = message.html_body(html);
        }
        for Attachment { file, kind } in &self.attachments {
            let name = file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into());
            message = message.attachment(kind.as_str(), name, read("--attach", file)?);
        }
        message
            .write_to_vec()
            .map_err(|e| Error::machine(format!("cannot write the message: {}", words(&e))))
    }
}

fn address(mailbox: &Mailbox) -> Address<'_> {
    Address::new_address(mailbox.name.as_deref(), mailbox.address.as_str())
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|e| {
        Error::machine(format!("cannot read {option} {}: {}", file.display(), words(&e)))
    })
}

/// Standard input up to the end of its first line at least, and whether that is all of it.
fn first_line() -> Result<(Vec<u8>, bool), Error> {
    let mut start = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while start.len() < FIRST_LINE && !start.contains(&b'\n') {
        // Nothing is read ahead of us, since the rest goes another way.
        match rustix::io::read(io::stdin().as_fd(), &mut piece[..]) {
            Ok(0) => return Ok((start, true)),
            Ok(n) => start.extend_from_slice(&piece[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(unreadable(&e.into())),
        }
    }
    Ok((start, false))
}

/// The rest of standard input, behind its start.
fn all(mut start: Vec<u8>) -> Result<Vec<u8>, Error> {
    let room = LONGEST_BODY + 1 - start.len() as u64;
    io::stdin().lock().take(room).read_to_end(&mut start).map_err(|e| unreadable(&e))?;
    if start.len() as u64 > LONGEST_BODY {
        return Err(Error::machine("the text of the message has more than 50 MiB")
            .hint("a whole message, with a header of its own, may have any length"));
    }
    Ok(start)
}

fn unreadable(e: &io::Error) -> Error {
    Error::machine(format!("cannot read standard input: {}", words(e)))
}

/// How long standard input is as a whole, if it is a file of which `start` has been read.
fn rest(start: &[u8]) -> Option<u64> {
    let stat = rustix::fs::fstat(io::stdin().as_fd()).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    let at = rustix::fs::tell(io::stdin().as_fd()).ok()?;
    let length = u64::try_from(stat.st_size).ok()?;
    is_file.then(|| length.saturating_sub(at) + start.len() as u64)
}

/// Does a message begin here: a field name and a colon (RFC 5322 §2.2)?
fn is_header(start: &[u8]) -> bool {
    let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
    let colon = memchr::memchr(b':', line).unwrap_or(0);
    let name = line[..colon].trim_ascii_end();
    // "Note: this" begins a text as well; mail programs write a few fields first.
    !name.is_empty() && name.iter().all(|b| (33..=126).contains(b)) && is_field(name)
}

/// Is it a field with which a message may begin?
fn is_field(name: &[u8]) -> bool {
    const FIELDS: [&str; 19] = [
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "sender",
        "reply-to",
        "return-path",
        "received",
        "mime-version",
        "in-reply-to",
        "references",
        "delivered-to",
        "dkim-signature",
        "comments",
        "keywords",
        "user-agent",
    ];
    let name = name.to_ascii_lowercase();
    let name = String::from_utf8_lossy(&name);
    ["x-", "content-", "list-", "resent-", "arc-", "authentication-"]
        .iter()
        .any(|p| name.starts_with(p))
        || FIELDS.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: Option<&str>, address: &str) -> Mailbox {
        Mailbox { name: name.map(str::to_owned), address: address.to_owned() }
    }

    fn letter() -> Letter {
        Letter {
            from: Some(mailbox(Some("Ann Äh"), "ann@a.example")),
            to: vec![mailbox(None, "bob@b.example"), mailbox(Some("Eve, E."), "eve@e.example")],
            cc: vec![mailbox(None, "bob@b.example")],
            bcc: vec![mailbox(None, "secret@s.example")],
            subject: Some("Grüezi".to_owned()),
            headers: vec![("X-Mark".to_owned(), "1".to_owned())],
            body: Some("Hello\n.\n".to_owned()),
            host: "me.example".to_owned(),
            ..Letter::default()
        }
    }

    #[test]
    fn a_message_has_what_it_needs_and_hides_who_is_hidden() {
        let letter = letter();
        let Written { head, goes_on, size } = letter.write().unwrap();
        assert!(!goes_on && size == Some(head.len() as u64));
        let text = String::from_utf8(head).unwrap();
        for part in [
            "ann@a.example>",
            "To: <bob@b.example>, \"Eve, E.\" <eve@e.example>",
            "Cc: <bob@b.example>",
            "Subject: =?utf-8?",
            "X-Mark: 1\r\n",
            "@me.example>\r\n",
            "Date: ",
            "MIME-Version: 1.0",
            "charset=\"utf-8\"",
            "Hello",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("secret@") && !text.contains("Bcc"), "{text}");
        assert_eq!(letter.recipients(), ["bob@b.example", "eve@e.example", "secret@s.example"]);
    }

    #[test]
    fn a_field_that_is_asked_for_takes_the_place_of_ours() {
        // There were two of each, and servers refuse a message with two From.
        let fields = ["from", "To", "CC", "subject", "date", "Message-Id"];
        let headers = fields.map(|name| (name.to_owned(), "mine".to_owned())).into();
        let text = String::from_utf8(Letter { headers, ..letter() }.write().unwrap().head).unwrap();
        let header = text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        for name in fields.map(str::to_ascii_lowercase) {
            let of = |line: &&str| line.starts_with(&format!("{name}:"));
            let lines: Vec<_> = header.lines().filter(of).collect();
            assert_eq!(lines, [format!("{name}: mine")], "{header}");
        }
    }

    #[test]
    fn a_report_has_an_author_although_it_has_no_sender() {
        let text = String::from_utf8(Letter { from: None, ..letter() }.write().unwrap().head);
        assert!(text.unwrap().contains("From: <MAILER-DAEMON@me.example>\r\n"));
    }

    #[test]
    fn files_become_parts_and_keep_their_octets() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b.bin");
        std::fs::write(&file, [0, 255, 13, 10]).unwrap();
        let html = dir.path().join("x.html");
        std::fs::write(&html, "<p>hi</p>").unwrap();
        let attachment = Attachment { file, kind: "application/x-test".to_owned() };
        let letter = Letter { html: Some(html), attachments: vec![attachment], ..letter() };
        let text = String::from_utf8(letter.write().unwrap().head).unwrap();
        for part in [
            "multipart/mixed",
            "multipart/alternative",
            "text/html",
            "application/x-test",
            "a b.bin",
            "AP8NCg==",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_header_is_known_by_its_first_field() {
        for (start, is) in [
            ("Subject: x\n", true),
            ("from : x\n", true),
            ("X-Any: y\r\n", true),
            ("Received: by me\n", true),
            ("Note: a text\n", false),
            ("Hello\nSubject: x\n", false),
            (": x\n", false),
            ("", false),
            ("http://x\n", false),
        ] {
            assert_eq!(is_header(start.as_bytes()), is, "{start:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let missing = Letter { html: Some("/no/such".into()), ..letter() };
        let error = missing.write().unwrap_err().to_string();
        assert!(error.contains("cannot read --html /no/such"), "{error}");
    }
}
