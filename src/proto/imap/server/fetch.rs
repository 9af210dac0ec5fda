//! FETCH (RFC 9051 §6.4.5): what is asked for, and the answer for one message at a time.

use super::marks;
use super::mime::{Kind, Part, decoded, fields, header_end};
use super::out::Out;
use super::structure::{envelope, structure};
use super::update::{Selected, number};
use super::words::{Parsed, Words};
use crate::proto::store::{Flags, Refusal, Result};
use std::ops::Range;

/// Items of one FETCH: real clients ask for a dozen.
const MOST_ITEMS: usize = 64;

/// Decoded parts and chosen fields of one FETCH: each is a copy in memory.
const MOST_COPIED: usize = 8;

/// Names of fields in one section.
const MOST_NAMES: usize = 200;

/// Numbers in the name of a section.
const LONGEST_PATH: usize = 64;

/// What of a part is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// All of a message, or the body of a part.
    All,
    Header,
    /// Some fields, or all but some.
    Fields {
        names: Vec<Vec<u8>>,
        not: bool,
    },
    Text,
    Mime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    Structure { extended: bool },
    Section { label: String, path: Vec<u32>, what: What, partial: Option<(u64, u64)> },
    Binary { label: String, path: Vec<u32>, partial: Option<(u64, u64)> },
    BinarySize { label: String, path: Vec<u32> },
}

/// A FETCH under way.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) tag: String,
    items: Vec<Item>,
    /// Something shows so much that the message counts as read.
    sets_seen: bool,
    /// Places of messages, the next one last.
    left: Vec<usize>,
    /// Sizes are told wrong.
    pub(super) lies: bool,
    gone: bool,
    unknown_encoding: bool,
    pub(super) changed: bool,
}

/// Reads what is asked for.
pub(super) fn parse(words: &mut Words<'_>) -> Parsed<(Vec<Item>, bool)> {
    let (mut items, mut sets_seen) = (Vec::new(), false);
    if words.peek() == Some(b'(') {
        let all = words.list(|words| {
            let mut some = Vec::new();
            item(words, &mut some, &mut sets_seen)?;
            Ok(some)
        })?;
        items.extend(all.into_iter().flatten());
    } else if words.eat_word("ALL") {
        items = vec![Item::Flags, Item::InternalDate, Item::Size, Item::Envelope];
    } else if words.eat_word("FAST") {
        items = vec![Item::Flags, Item::InternalDate, Item::Size];
    } else if words.eat_word("FULL") {
        let body = Item::Structure { extended: false };
        items = vec![Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, body];
    } else {
        item(words, &mut items, &mut sets_seen)?;
    }
    words.end()?;
    let mut once: Vec<Item> = Vec::new();
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
        if once.len() > MOST_ITEMS {
            return Err("it asks for too many items");
        }
    }
    let is_copied = |item: &&Item| match item {
        Item::Binary { .. } | Item::BinarySize { .. } => true,
        Item::Section { what, .. } => matches!(what, What::Fields { .. }),
        Item::Flags
        | Item::Uid
        | Item::InternalDate
        | Item::Size
        | Item::Envelope
        | Item::Structure { .. } => false,
    };
    if once.is_empty() || once.iter().filter(is_copied).count() > MOST_COPIED {
        return Err("it asks for too many items, or for none");
    }
    Ok((once, sets_seen))
}

fn item(words: &mut Words<'_>, items: &mut Vec<Item>, sets_seen: &mut bool) -> Parsed<()> {
    let name = words.keyword()?;
    let legacy = |path: &str, what| Item::Section {
        label: path.to_owned(),
        path: Vec::new(),
        what,
        partial: None,
    };
    let is_section = words.peek() == Some(b'[');
    items.push(match name.as_str() {
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::Structure { extended: true },
        "BODY" if !is_section => Item::Structure { extended: false },
        "BODY" | "BODY.PEEK" if is_section => {
            *sets_seen |= name == "BODY";
            let (path, what, text) = section(words)?;
            let (partial, at) = partial(words)?;
            Item::Section { label: format!("BODY[{text}]{at}"), path, what, partial }
        }
        "BINARY" | "BINARY.PEEK" if is_section => {
            *sets_seen |= name == "BINARY";
            let (path, text) = binary_section(words)?;
            let (partial, at) = partial(words)?;
            Item::Binary { label: format!("BINARY[{text}]{at}"), path, partial }
        }
        "BINARY.SIZE" if is_section => {
            let (path, text) = binary_section(words)?;
            Item::BinarySize { label: format!("BINARY.SIZE[{text}]"), path }
        }
        "RFC822" => {
            *sets_seen = true;
            legacy("RFC822", What::All)
        }
        "RFC822.HEADER" => legacy("RFC822.HEADER", What::Header),
        "RFC822.TEXT" => {
            *sets_seen = true;
            legacy("RFC822.TEXT", What::Text)
        }
        _ => return Err("there is no such item to fetch"),
    });
    Ok(())
}

const NO_SECTION: &str = "a section is malformed";

/// The numbers of a section, and as they are written.
fn path(words: &mut Words<'_>) -> Parsed<(Vec<u32>, String)> {
    let (mut path, mut text) = (Vec::new(), String::new());
    while words.peek().is_some_and(|b| b.is_ascii_digit()) {
        let n = words.number()?;
        if n == 0 || path.len() >= LONGEST_PATH {
            return Err(NO_SECTION);
        }
        if !path.is_empty() {
            text.push('.');
        }
        text += &n.to_string();
        path.push(n);
        if !words.eat(b'.') {
            break;
        }
    }
    Ok((path, text))
}

fn binary_section(words: &mut Words<'_>) -> Parsed<(Vec<u32>, String)> {
    words.eat(b'[');
    let (path, text) = path(words)?;
    if words.eat(b']') { Ok((path, text)) } else { Err(NO_SECTION) }
}

fn section(words: &mut Words<'_>) -> Parsed<(Vec<u32>, What, String)> {
    words.eat(b'[');
    let (path, mut text) = path(words)?;
    if words.eat(b']') {
        return Ok((path, What::All, text));
    }
    let name = words.keyword().map_err(|_| NO_SECTION)?;
    if !path.is_empty() {
        text.push('.');
    }
    text += &name;
    let what = match name.as_str() {
        "HEADER" => What::Header,
        "TEXT" => What::Text,
        "MIME" if !path.is_empty() => What::Mime,
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
            words.space()?;
            let names = words.list(|words| words.astring().map(std::borrow::Cow::into_owned))?;
            // They are said back as they came, so they have to be names of fields.
            let is_name =
                |name: &Vec<u8>| name.iter().all(|b| b.is_ascii_graphic() && !b"\"\\:".contains(b));
            if names.is_empty() || names.len() > MOST_NAMES || !names.iter().all(is_name) {
                return Err("these are no names of fields");
            }
            let quoted =
                names.iter().map(|name| match name.iter().any(|b| b"(){%*]".contains(b)) {
                    true => format!("\"{}\"", String::from_utf8_lossy(name)),
                    false if name.is_empty() => "\"\"".to_owned(),
                    false => String::from_utf8_lossy(name).into_owned(),
                });
            text += &format!(" ({})", quoted.collect::<Vec<_>>().join(" "));
            What::Fields { names, not: name.ends_with("NOT") }
        }
        _ => return Err(NO_SECTION),
    };
    if words.eat(b']') { Ok((path, what, text)) } else { Err(NO_SECTION) }
}

/// `<0.100>`, and as it is said back.
fn partial(words: &mut Words<'_>) -> Parsed<(Option<(u64, u64)>, String)> {
    if !words.eat(b'<') {
        return Ok((None, String::new()));
    }
    let first = words.number64()?;
    let count = if words.eat(b'.') { words.number64()? } else { 0 };
    if count == 0 || !words.eat(b'>') {
        return Err("a part of a section is malformed: it is <0.100>");
    }
    Ok((Some((first, count)), format!("<{first}>")))
}

/// The part of a range that was asked for.
fn cut(range: Range<usize>, partial: Option<(u64, u64)>) -> Range<usize> {
    let Some((first, count)) = partial else { return range };
    let clip = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(range.len());
    let (from, to) = (clip(first), clip(first.saturating_add(count)));
    range.start + from..range.start + to
}

impl Item {
    /// Does it take the message itself?
    fn takes_content(&self) -> bool {
        match self {
            Self::Flags | Self::Uid | Self::InternalDate | Self::Size => false,
            Self::Envelope
            | Self::Structure { .. }
            | Self::Section { .. }
            | Self::Binary { .. }
            | Self::BinarySize { .. } => true,
        }
    }

    /// Does it take the places of the parts?
    fn takes_parts(&self) -> bool {
        match self {
            Self::Flags | Self::Uid | Self::InternalDate | Self::Size | Self::Envelope => false,
            Self::Structure { .. } | Self::Binary { .. } | Self::BinarySize { .. } => true,
            Self::Section { path, .. } => !path.is_empty(),
        }
    }
}

impl Fetching {
    pub(super) fn new(
        tag: &str,
        (mut items, sets_seen): (Vec<Item>, bool),
        mut left: Vec<usize>,
        by_uid: bool,
    ) -> Self {
        if by_uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        left.reverse();
        Self {
            tag: tag.to_owned(),
            items,
            sets_seen,
            left,
            lies: false,
            gone: false,
            unknown_encoding: false,
            changed: false,
        }
    }

    /// The answer for the next message; false if there is none.
    pub(super) fn next(
        &mut self,
        selected: &mut Selected,
        rev2: bool,
        out: &mut Out,
    ) -> Result<bool> {
        let Some(at) = self.left.pop() else { return Ok(false) };
        let uid = selected.messages[at].uid;
        let content = match self.items.iter().any(Item::takes_content) {
            true => match selected.folder.read(uid) {
                Ok(content) => content,
                Err(Refusal::Gone) => {
                    self.gone = true;
                    return Ok(true);
                }
                Err(refusal) => return Err(refusal),
            },
            false => Vec::new(),
        };
        let is_read = self.sets_seen && !selected.read_only && !selected.messages[at].flags.seen;
        if is_read {
            let flags = Flags { seen: true, ..selected.messages[at].flags.clone() };
            match selected.folder.mark(uid, &flags) {
                Ok(()) => {
                    selected.messages[at].flags = flags;
                    self.changed = true;
                }
                // It is shown all the same.
                Err(Refusal::Gone | Refusal::ReadOnly) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let root = match self.items.iter().any(Item::takes_parts) {
            true => Part::of(&content),
            false => {
                let body = header_end(&content);
                let (header, body) = (0..body, body..content.len());
                Part { header, body, kind: Kind::Single, is_opaque: false, in_digest: false }
            }
        };
        let message = &selected.messages[at];
        let mut before = format!("* {} FETCH (", number(at));
        let mut has_flags = false;
        for item in &self.items {
            out.text(&before);
            " ".clone_into(&mut before);
            match item {
                Item::Flags => {
                    has_flags = true;
                    out.text(&format!("FLAGS ({})", marks::text(message, !rev2)));
                }
                Item::Uid => out.text(&format!("UID {uid}")),
                Item::InternalDate => {
                    let date = marks::internal_date(message.received);
                    out.text(&format!("INTERNALDATE \"{date}\""));
                }
                Item::Size => {
                    let size = if self.lies { lie(message.size) } else { message.size };
                    out.text(&format!("RFC822.SIZE {size}"));
                }
                Item::Envelope => {
                    out.text("ENVELOPE ");
                    envelope(&content, &root, out);
                }
                Item::Structure { extended } => {
                    out.text(if *extended { "BODYSTRUCTURE " } else { "BODY " });
                    structure(&content, &root, *extended, out);
                }
                Item::Section { label, path, what, partial } => {
                    out.text(&format!("{label} "));
                    match found(&content, &root, path, what) {
                        Some(Found::Range(range)) => out.content(cut(range, *partial)),
                        Some(Found::Bytes(bytes)) => {
                            out.literal(&bytes[cut(0..bytes.len(), *partial)]);
                        }
                        None => out.text("NIL"),
                    }
                }
                Item::Binary { label, path, partial } => {
                    out.text(&format!("{label} "));
                    match binary(&content, &root, path) {
                        Some(Some(bytes)) => {
                            let bytes = &bytes[cut(0..bytes.len(), *partial)];
                            // RFC 3516 §4.2: what has NUL in it.
                            out.text(if bytes.contains(&0) { "~" } else { "" });
                            out.literal(bytes);
                        }
                        Some(None) => {
                            self.unknown_encoding = true;
                            out.text("NIL");
                        }
                        None => out.text("NIL"),
                    }
                }
                Item::BinarySize { label, path } => {
                    let size = match binary(&content, &root, path) {
                        Some(Some(bytes)) => bytes.len(),
                        Some(None) => {
                            self.unknown_encoding = true;
                            0
                        }
                        None => 0,
                    };
                    out.text(&format!("{label} {size}"));
                }
            }
        }
        if is_read && !has_flags {
            out.text(&format!(" FLAGS ({})", marks::text(message, !rev2)));
        }
        out.text(")\r\n");
        // Its octets are not copied: the ranges above are of this.
        out.set_content(content);
        Ok(true)
    }

    /// How it went: true for OK, and the words.
    pub(super) fn outcome(&self) -> (bool, &'static str) {
        match (self.unknown_encoding, self.gone) {
            (true, _) => (false, "[UNKNOWN-CTE] a part has an encoding that cannot be undone"),
            (false, true) => (true, "[EXPUNGEISSUED] some of them are gone"),
            (false, false) => (true, "fetched"),
        }
    }
}

/// A size that is not true.
fn lie(size: u64) -> u64 {
    size.saturating_add(size / 2).saturating_add(7)
}

enum Found {
    Range(Range<usize>),
    Bytes(Vec<u8>),
}

fn found(content: &[u8], root: &Part, path: &[u32], what: &What) -> Option<Found> {
    let part = root.at(path)?;
    // HEADER and TEXT are a message's: the root, or what a message/rfc822 holds.
    let message = || match &part.kind {
        _ if path.is_empty() => Some(part),
        Kind::Message(inner) => Some(&**inner),
        Kind::Single | Kind::Multipart(_) => None,
    };
    Some(Found::Range(match what {
        What::All if path.is_empty() => 0..content.len(),
        What::All => part.body.clone(),
        What::Mime => part.header.clone(),
        What::Header => message()?.header.clone(),
        What::Text => message()?.body.clone(),
        What::Fields { names, not } => {
            let header = &content[message()?.header.clone()];
            let mut bytes = Vec::new();
            for (name, field) in fields(header) {
                if names.iter().any(|other| other.eq_ignore_ascii_case(name)) != *not {
                    bytes.extend_from_slice(field);
                }
            }
            bytes.extend_from_slice(b"\r\n");
            return Some(Found::Bytes(bytes));
        }
    }))
}

/// A part without its transfer encoding: `Some(None)` if that cannot be undone.
fn binary(content: &[u8], root: &Part, path: &[u32]) -> Option<Option<Vec<u8>>> {
    if path.is_empty() {
        return Some(Some(content.to_vec()));
    }
    let part = root.at(path)?;
    let body = &content[part.body.clone()];
    Some(match &part.kind {
        Kind::Single => decoded(body, &part.encoding(content)),
        Kind::Multipart(_) | Kind::Message(_) => Some(body.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Parsed<Vec<String>> {
        let (items, _) = parse(&mut Words::new(text.as_bytes()))?;
        let label = |item: &Item| match item {
            Item::Section { label, .. }
            | Item::Binary { label, .. }
            | Item::BinarySize { label, .. } => label.clone(),
            Item::Flags
            | Item::Uid
            | Item::InternalDate
            | Item::Size
            | Item::Envelope
            | Item::Structure { .. } => format!("{item:?}"),
        };
        Ok(items.iter().map(label).collect())
    }

    #[test]
    fn items_are_named_back_as_they_were_asked_for() {
        for (text, back) in [
            ("body[]", &["BODY[]"][..]),
            ("(FLAGS body.peek[header])", &["Flags", "BODY[HEADER]"]),
            ("BODY[1.2.mime]<5.10>", &["BODY[1.2.MIME]<5>"]),
            ("BODY[HEADER.FIELDS (From \"to\" {2}\r\ncc)]", &["BODY[HEADER.FIELDS (From to cc)]"]),
            ("BODY[3.HEADER.FIELDS.NOT (X)]<0.1>", &["BODY[3.HEADER.FIELDS.NOT (X)]<0>"]),
            ("BINARY.SIZE[1]", &["BINARY.SIZE[1]"]),
            ("(UID UID UID)", &["Uid"]),
            ("fast", &["Flags", "InternalDate", "Size"]),
            ("RFC822.TEXT", &["RFC822.TEXT"]),
        ] {
            assert_eq!(labels(text).as_deref().unwrap(), back, "{text}");
        }
        for wrong in [
            "",
            "()",
            "BODY[",
            "BODY[0]",
            "BODY[4294967296]",
            "BODY[MIME]",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS (\"a\r\n\")]",
            "BODY[]<1>",
            "BODY[]<1.0>",
            "BODY[]<1.99999999999999999999>",
            "BODY[X]",
            "FROB",
            "ALL FLAGS",
            "(ALL)",
            "BODY.PEEK",
        ] {
            assert!(labels(wrong).is_err(), "{wrong}");
        }
        let many: String = (1..100).map(|n| format!(" BODY[{n}]")).collect();
        assert!(labels(&format!("({})", many.trim())).is_err());
        assert!(labels(&format!("BODY[{}1]", "1.".repeat(1000))).is_err());
    }
}
