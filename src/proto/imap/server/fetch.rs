//! FETCH: what may be asked for of a message, and the answer (RFC 9051 §6.4.5).

use super::super::super::store::Message;
use super::envelope;
use super::structure::{self, Part, string};
use super::update::write_flags;
use super::words::{Parsed, Words};
use mail_parser::DateTime;

/// Nobody asks for more of a message at once.
const MOST_ITEMS: usize = 200;
/// Parts do not lie deeper.
const MOST_PATH: usize = 50;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    Body,
    BodyStructure,
    /// Octets of it.
    Octets(Octets),
    /// How many they would be without transfer encoding (RFC 3516).
    BinarySize(Vec<u32>),
}

/// Some octets of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Octets {
    /// As it is told: `BODY[1.MIME]`.
    label: String,
    path: Vec<u32>,
    what: Section,
    /// The first, and how many at most.
    partial: Option<(u64, u64)>,
    /// Looking at it does not make it seen.
    peek: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Section {
    All,
    Header,
    Fields {
        names: Vec<Vec<u8>>,
        others: bool,
    },
    Text,
    Mime,
    /// Without its transfer encoding.
    Decoded,
}

impl Item {
    /// Does asking for it make the message seen?
    pub(super) fn sets_seen(&self) -> bool {
        matches!(self, Item::Octets(octets) if !octets.peek)
    }

    fn needs_content(&self) -> bool {
        match self {
            Item::Flags | Item::Uid | Item::InternalDate | Item::Size => false,
            Item::Envelope | Item::Body | Item::BodyStructure => true,
            Item::Octets(_) | Item::BinarySize(_) => true,
        }
    }
}

/// Does any of them need the message itself?
pub(super) fn need_content(items: &[Item]) -> bool {
    items.iter().any(Item::needs_content)
}

/// Reads the items: one, a list, or a macro.
///
/// # Errors
/// They are none.
pub(super) fn parse(words: &mut Words<'_>) -> Parsed<Vec<Item>> {
    let mut items = Vec::new();
    if !words.takes(b'(') {
        item(words, true, &mut items)?;
        return Ok(items);
    }
    loop {
        item(words, false, &mut items)?;
        if words.takes(b')') {
            return Ok(items);
        }
        words.space()?;
        if items.len() > MOST_ITEMS {
            return Err("this is too much to ask of a message at once");
        }
    }
}

fn item(words: &mut Words<'_>, alone: bool, items: &mut Vec<Item>) -> Parsed<()> {
    let name = words.keyword()?;
    let legacy = |what, peek| {
        let (label, partial) = (name.clone(), None);
        Item::Octets(Octets { label, path: vec![], what, partial, peek })
    };
    let fast = [Item::Flags, Item::InternalDate, Item::Size];
    items.push(match name.as_str() {
        "ALL" | "FAST" | "FULL" if alone => {
            items.extend(fast);
            if name != "FAST" {
                items.push(Item::Envelope);
            }
            if name == "FULL" {
                items.push(Item::Body);
            }
            return Ok(());
        }
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::BodyStructure,
        "RFC822" => legacy(Section::All, false),
        "RFC822.HEADER" => legacy(Section::Header, true),
        "RFC822.TEXT" => legacy(Section::Text, false),
        "BODY" if !words.next_is(b'[') => Item::Body,
        "BODY" | "BODY.PEEK" => Item::Octets(section(words, name == "BODY.PEEK")?),
        "BINARY" | "BINARY.PEEK" => {
            let path = bracketed_path(words)?;
            let label = format!("BINARY[{}]", dotted(&path));
            let (partial, peek) = (partial(words)?, name == "BINARY.PEEK");
            Item::Octets(Octets { label, path, what: Section::Decoded, partial, peek })
        }
        "BINARY.SIZE" => Item::BinarySize(bracketed_path(words)?),
        _ => return Err("there is nothing of this name to fetch"),
    });
    Ok(())
}

fn dotted(path: &[u32]) -> String {
    path.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn bracketed_path(words: &mut Words<'_>) -> Parsed<Vec<u32>> {
    words.needs(b'[', "a section is missing")?;
    let mut path = Vec::new();
    while !words.takes(b']') {
        if !path.is_empty() {
            words.needs(b'.', "this is no section")?;
        }
        path.push(words.number32()?);
        if path.len() > MOST_PATH {
            return Err("no part lies so deep");
        }
    }
    Ok(path)
}

/// `<0.2048>`
fn partial(words: &mut Words<'_>) -> Parsed<Option<(u64, u64)>> {
    if !words.takes(b'<') {
        return Ok(None);
    }
    let first = words.number()?;
    words.needs(b'.', "this is no partial")?;
    let count = words.number()?;
    words.needs(b'>', "this is no partial")?;
    if count == 0 { Err("a partial of no octets") } else { Ok(Some((first, count))) }
}

fn section(words: &mut Words<'_>, peek: bool) -> Parsed<Octets> {
    words.needs(b'[', "a section is missing")?;
    let mut path = Vec::new();
    let mut label = String::from("BODY[");
    let mut what = Section::All;
    let is_digit = |words: &Words<'_>| words.text().first().is_some_and(u8::is_ascii_digit);
    loop {
        if is_digit(words) {
            path.push(words.number32()?);
            if path.len() > MOST_PATH {
                return Err("no part lies so deep");
            }
            if words.takes(b'.') {
                continue;
            }
        }
        break;
    }
    label.push_str(&dotted(&path));
    if !words.next_is(b']') {
        let name = words.keyword()?;
        if !path.is_empty() {
            label.push('.');
        }
        label.push_str(&name);
        what = match name.as_str() {
            "HEADER" => Section::Header,
            "TEXT" => Section::Text,
            "MIME" if !path.is_empty() => Section::Mime,
            "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
                words.space()?;
                words.needs(b'(', "a list of fields is missing")?;
                let mut names = Vec::new();
                loop {
                    names.push(words.astring()?);
                    if words.takes(b')') {
                        break;
                    }
                    words.space()?;
                }
                let told: Vec<String> = names
                    .iter()
                    .map(|name| {
                        let mut out = Vec::new();
                        let is_word = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
                        if is_word && !name.is_empty() {
                            out.clone_from(name);
                        } else {
                            string(name, &mut out);
                        }
                        String::from_utf8_lossy(&out).into_owned()
                    })
                    .collect();
                label.push_str(&format!(" ({})", told.join(" ")));
                Section::Fields { names, others: name.ends_with("NOT") }
            }
            _ => return Err("there is no such section"),
        };
    }
    words.needs(b']', "a section has no end")?;
    label.push(']');
    Ok(Octets { label, path, what, partial: partial(words)?, peek })
}

/// What an answer is made from.
pub(super) struct Source<'a> {
    pub(super) message: &'a Message,
    /// Empty unless an item needs it.
    pub(super) content: &'a [u8],
    /// `\Recent` is told.
    pub(super) recent: bool,
    /// The size is told wrong: a fault.
    pub(super) lie: bool,
}

/// Writes the items and their values in parentheses; `Err` for a part that cannot be decoded.
pub(super) fn write(source: &Source<'_>, items: &[Item], out: &mut Vec<u8>) -> Parsed<()> {
    let part = if need_content(items) { Part::of(source.content) } else { Part::default() };
    let mut undecodable = false;
    for (n, item) in items.iter().enumerate() {
        out.push(if n == 0 { b'(' } else { b' ' });
        match item {
            Item::Flags => {
                out.extend_from_slice(b"FLAGS ");
                write_flags(&source.message.flags, source.recent && source.message.recent, out);
            }
            Item::Uid => out.extend_from_slice(format!("UID {}", source.message.uid).as_bytes()),
            Item::InternalDate => {
                out.extend_from_slice(b"INTERNALDATE ");
                string(date_time(source.message.received).as_bytes(), out);
            }
            Item::Size => {
                let size = source.message.size.saturating_add(if source.lie { 100 } else { 0 });
                out.extend_from_slice(format!("RFC822.SIZE {size}").as_bytes());
            }
            Item::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                envelope::write(&part, source.content, out);
            }
            Item::Body => {
                out.extend_from_slice(b"BODY ");
                structure::write(&part, source.content, false, out);
            }
            Item::BodyStructure => {
                out.extend_from_slice(b"BODYSTRUCTURE ");
                structure::write(&part, source.content, true, out);
            }
            Item::Octets(octets) => undecodable |= !octets.write(&part, source.content, out),
            Item::BinarySize(path) => {
                let size = match path.is_empty() {
                    true => Some(source.content.len()),
                    false => part.at(path).map_or(Some(0), |part| {
                        part.decoded(source.content).map(|decoded| decoded.len())
                    }),
                };
                undecodable |= size.is_none();
                let (path, size) = (dotted(path), size.unwrap_or(0));
                out.extend_from_slice(format!("BINARY.SIZE[{path}] {size}").as_bytes());
            }
        }
    }
    out.push(b')');
    if undecodable { Err("a part has a transfer encoding that is not known") } else { Ok(()) }
}

impl Octets {
    /// Says whether it could be told.
    fn write(&self, root: &Part, content: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.label.as_bytes());
        if let Some((first, _)) = self.partial {
            out.extend_from_slice(format!("<{first}>").as_bytes());
        }
        out.push(b' ');
        let mut made = Vec::new();
        let found = match self.find(root, content, &mut made) {
            Ok(found) => found,
            Err(()) => {
                out.extend_from_slice(b"NIL");
                return false;
            }
        };
        let Some(mut octets) = found else {
            out.extend_from_slice(b"NIL");
            return true;
        };
        if let Some((first, count)) = self.partial {
            let first = usize::try_from(first).map_or(octets.len(), |n| n.min(octets.len()));
            octets = &octets[first..];
            let count = usize::try_from(count).map_or(octets.len(), |n| n.min(octets.len()));
            octets = &octets[..count];
        }
        if self.what == Section::Decoded && memchr::memchr(0, octets).is_some() {
            out.push(b'~');
        }
        // Always a literal: clients such as older ones of Outlook count on it.
        out.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
        out.extend_from_slice(octets);
        true
    }

    /// The octets, of which there may be none; `Err` if they cannot be decoded.
    fn find<'a>(
        &self,
        root: &Part,
        content: &'a [u8],
        made: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, ()> {
        let Some(part) = root.at(&self.path) else { return Ok(None) };
        // A header or a text is a message's.
        let message = if self.path.is_empty() { Some(root) } else { part.message.as_deref() };
        Ok(match &self.what {
            Section::All if self.path.is_empty() => Some(content),
            Section::All => Some(&content[part.body.clone()]),
            Section::Mime => Some(&content[part.header.clone()]),
            Section::Header => message.map(|message| &content[message.header.clone()]),
            Section::Text => message.map(|message| &content[message.body.clone()]),
            Section::Fields { names, others } => {
                let Some(message) = message else { return Ok(None) };
                for (name, field) in message.fields(content) {
                    if names.iter().any(|named| named.eq_ignore_ascii_case(name)) != *others {
                        made.extend_from_slice(field);
                    }
                }
                made.extend_from_slice(b"\r\n");
                Some(made)
            }
            Section::Decoded if self.path.is_empty() => Some(content),
            Section::Decoded => {
                *made = part.decoded(content).ok_or(())?;
                Some(made)
            }
        })
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// ` 1-Feb-2026 03:04:05 +0000`
fn date_time(seconds: u64) -> String {
    // The last second of the year 9999.
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(253_402_300_799);
    let at = DateTime::from_timestamp(seconds);
    let month = MONTHS.get(usize::from(at.month).wrapping_sub(1)).unwrap_or(&"Jan");
    format!(
        "{:2}-{month}-{:04} {:02}:{:02}:{:02} +0000",
        at.day, at.year, at.hour, at.minute, at.second
    )
}

/// Reads the same, in any zone.
///
/// # Errors
/// It is none.
pub(super) fn parse_date_time(text: &[u8]) -> Parsed<u64> {
    const WRONG: &str = "this is no date: it is \" 1-Feb-2026 03:04:05 +0000\"";
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next(), words.next(), words.next());
    let (Some(date), Some(time), Some(zone), None) = (date, time, zone, words.next()) else {
        return Err(WRONG);
    };
    let days = parse_date(date.as_bytes())?;
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| (0..=99).contains(n));
    let time: Option<Vec<i64>> = time.split(':').map(number).collect();
    let (Some(&[hour, minute, second]), Some((sign, zone))) =
        (time.as_deref().and_then(|t| <&[i64; 3]>::try_from(t).ok()), zone.split_at_checked(1))
    else {
        return Err(WRONG);
    };
    let zone = zone.parse::<i64>().ok().filter(|n| (0..=9959).contains(n)).ok_or(WRONG)?;
    let zone = (zone / 100 * 60 + zone % 100) * 60;
    let zone = if sign == "-" { -zone } else { zone };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - zone;
    u64::try_from(seconds).map_err(|_| WRONG)
}

/// `1-Feb-2026` in days since 1970.
///
/// # Errors
/// It is none.
pub(super) fn parse_date(text: &[u8]) -> Parsed<i64> {
    const WRONG: &str = "this is no date: it is 1-Feb-2026";
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let mut parts = text.trim().split('-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let (Some(day), Some(month), Some(year), None) = (day, month, year, parts.next()) else {
        return Err(WRONG);
    };
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month)).ok_or(WRONG)?;
    let at = DateTime {
        year: year.parse().ok().filter(|y| (1..=9999).contains(y)).ok_or(WRONG)?,
        month: u8::try_from(month + 1).map_err(|_| WRONG)?,
        day: day.parse().ok().filter(|d| (1..=31).contains(d)).ok_or(WRONG)?,
        hour: 0,
        minute: 0,
        second: 0,
        tz_before_gmt: false,
        tz_hour: 0,
        tz_minute: 0,
    };
    Ok(at.to_timestamp().div_euclid(86_400))
}

#[cfg(test)]
mod tests {
    use super::super::words::Command;
    use super::*;

    fn fetched(items: &str, content: &str) -> Result<String, &'static str> {
        let items = parse(&mut Words::new(&Command::of(items)))?;
        let message = Message {
            uid: 7,
            size: content.len() as u64,
            flags: Default::default(),
            received: 1_769_915_045,
            recent: true,
        };
        let mut out = Vec::new();
        let source =
            Source { message: &message, content: content.as_bytes(), recent: true, lie: false };
        write(&source, &items, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    const MAIL: &str = "Subject: x\r\nTo: a@b\r\n c\r\nX: y\r\n\r\nhello\r\n";

    #[test]
    fn items_are_told_as_they_were_asked_for() {
        for (items, told) in [
            ("FAST", {
                "(FLAGS (\\Recent) INTERNALDATE \" 1-Feb-2026 03:04:05 +0000\" RFC822.SIZE 40)"
            }),
            ("(uid flags)", "(UID 7 FLAGS (\\Recent))"),
            ("BODY.PEEK[]<2.3>", "(BODY[]<2> {3}\r\nbje)"),
            ("BODY[TEXT]<100.5>", "(BODY[TEXT]<100> {0}\r\n)"),
            ("BODY[1]", "(BODY[1] {7}\r\nhello\r\n)"),
            ("BODY[1.2]", "(BODY[1.2] NIL)"),
            ("BODY[2.HEADER]", "(BODY[2.HEADER] NIL)"),
            ("BODY[HEADER.FIELDS (to \"a b\")]", {
                "(BODY[HEADER.FIELDS (to \"a b\")] {15}\r\nTo: a@b\r\n c\r\n\r\n)"
            }),
            ("BODY[HEADER.FIELDS.NOT (to subject)]", {
                "(BODY[HEADER.FIELDS.NOT (to subject)] {8}\r\nX: y\r\n\r\n)"
            }),
            ("RFC822.TEXT", "(RFC822.TEXT {7}\r\nhello\r\n)"),
            ("(BINARY[1] BINARY.SIZE[1])", "(BINARY[1] {7}\r\nhello\r\n BINARY.SIZE[1] 7)"),
        ] {
            assert_eq!(fetched(items, MAIL).unwrap(), told, "{items}");
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let deep = format!("BODY[{}1]", "1.".repeat(1000));
        let many = format!("({})", vec!["UID"; 1000].join(" "));
        for items in [
            "",
            "(",
            "()",
            "(ALL)",
            "BODY[",
            "BODY[X]",
            "BODY[MIME]",
            "BODY[]<1>",
            "BODY[]<0.0>",
            "BODY[4294967296]",
            "X",
            &deep,
            &many,
            "BODY[HEADER.FIELDS ()]",
            "(UID",
        ] {
            assert!(fetched(items, MAIL).is_err(), "{items}");
        }
        let odd = "Content-Transfer-Encoding: x-rot13\r\n\r\nx";
        assert!(fetched("BINARY[1]", odd).is_err());
    }

    #[test]
    fn dates_are_read_and_written() {
        for text in [" 1-Feb-2026 03:04:05 +0000", "1-feb-2026 05:04:05 +0200"] {
            assert_eq!(parse_date_time(text.as_bytes()), Ok(1_769_915_045), "{text}");
        }
        for text in ["", "1-Feb-2026", "1-Foo-2026 00:00:00 +0000", "1-Feb-1960 00:00:00 +0000"] {
            assert!(parse_date_time(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse_date(b"2-Jan-1970"), Ok(1));
        assert_eq!(date_time(u64::MAX), "31-Dec-9999 23:59:59 +0000");
    }
}
