//! SEARCH (RFC 9051 §6.4.4, RFC 4731, 5182).

use super::marks;
use super::mime::{Kind, Part, decoded, field, fields, unfold};
use super::sets::{Numbers, Set};
use super::update::{Selected, number};
use super::words::{Parsed, Words};
use crate::proto::store::{Message, Refusal, Result};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{DateTime, MessageParser};

/// Keys within keys.
const DEEPEST: usize = 50;

/// Keys of one SEARCH.
const MOST_KEYS: usize = 1000;

/// Keys that look into messages.
const MOST_TEXTS: usize = 50;

/// What one message has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    All,
    Flag(SystemFlag, bool),
    Keyword(String, bool),
    New,
    Recent(bool),
    /// The day on which it came.
    Received(Compare, i64),
    /// The day in its Date field.
    Sent(Compare, i64),
    Larger(u64),
    Smaller(u64),
    /// A field, and what it contains, in lower case.
    Header(String, String),
    Body(String),
    Text(String),
    /// Places of messages.
    These(Numbers),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SystemFlag {
    Seen,
    Answered,
    Flagged,
    Deleted,
    Draft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Before,
    On,
    Since,
}

impl Compare {
    fn holds(self, day: i64, than: i64) -> bool {
        match self {
            Self::Before => day < than,
            Self::On => day == than,
            Self::Since => day >= than,
        }
    }
}

/// What is to be told of what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) min: bool,
    pub(super) max: bool,
    pub(super) all: bool,
    pub(super) count: bool,
    pub(super) save: bool,
}

/// A SEARCH, as it was asked for.
#[derive(Debug)]
pub(super) struct Search {
    key: Key,
    /// If RETURN was there.
    pub(super) returned: Option<Returned>,
    /// Why its texts cannot be read: the character set.
    pub(super) bad_charset: Option<&'static str>,
}

struct Parser<'s> {
    selected: &'s Selected,
    keys: usize,
    texts: usize,
    not_utf8: bool,
}

impl Search {
    /// Reads what follows SEARCH.
    pub(super) fn parse(words: &mut Words<'_>, selected: &Selected) -> Parsed<Self> {
        words.space()?;
        let mut returned = None;
        if words.eat_word("RETURN") {
            words.space()?;
            let mut some = Returned::default();
            let options = words.list(|words| {
                match words.keyword()?.as_str() {
                    "MIN" => some.min = true,
                    "MAX" => some.max = true,
                    "ALL" => some.all = true,
                    "COUNT" => some.count = true,
                    "SAVE" => some.save = true,
                    _ => return Err("there is no such option of RETURN"),
                }
                Ok(())
            })?;
            some.all |= options.is_empty();
            returned = Some(some);
            words.space()?;
        }
        let mut bad_charset = None;
        if words.eat_word("CHARSET") {
            words.space()?;
            let name = words.astring()?;
            let is_known =
                name.eq_ignore_ascii_case(b"utf-8") || name.eq_ignore_ascii_case(b"us-ascii");
            bad_charset = (!is_known).then_some("there is no such character set here");
            words.space()?;
        }
        let mut parser = Parser { selected, keys: 0, texts: 0, not_utf8: false };
        let mut keys = vec![parser.key(words, 0)?];
        while words.peek() == Some(b' ') && !words.rest().trim_ascii().is_empty() {
            words.space()?;
            keys.push(parser.key(words, 0)?);
        }
        words.end()?;
        if parser.not_utf8 {
            bad_charset = bad_charset.or(Some("what is searched for is not in UTF-8"));
        }
        Ok(Self { key: Key::And(keys), returned, bad_charset })
    }

    /// The places of the messages that are meant.
    pub(super) fn run(&self, selected: &mut Selected) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for at in 0..selected.messages.len() {
            let message = selected.messages[at].clone();
            let uid = message.uid;
            let folder = &mut selected.folder;
            let mut candidate = Candidate {
                message: &message,
                number: number(at),
                content: None,
                read: &mut || folder.read(uid),
            };
            match candidate.is(&self.key) {
                Ok(true) => found.push(at),
                // Of what is gone, nobody wants to hear.
                Ok(false) | Err(Refusal::Gone) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(found)
    }
}

impl Parser<'_> {
    fn key(&mut self, words: &mut Words<'_>, depth: usize) -> Parsed<Key> {
        self.keys += 1;
        if depth > DEEPEST || self.keys > MOST_KEYS {
            return Err("it searches for too much at once");
        }
        match words.peek() {
            Some(b'(') => {
                let keys = words.list(|words| self.key(words, depth + 1))?;
                return if keys.is_empty() { Err("a key is missing") } else { Ok(Key::And(keys)) };
            }
            Some(b'0'..=b'9' | b'*' | b'$') => {
                let set = Set::parse(words)?;
                return self.these(&set, false);
            }
            Some(_) | None => {}
        }
        let name = words.keyword()?;
        let flag = |flag, is| Ok(Key::Flag(flag, is));
        match name.as_str() {
            "ALL" => Ok(Key::All),
            "SEEN" => flag(SystemFlag::Seen, true),
            "UNSEEN" => flag(SystemFlag::Seen, false),
            "ANSWERED" => flag(SystemFlag::Answered, true),
            "UNANSWERED" => flag(SystemFlag::Answered, false),
            "FLAGGED" => flag(SystemFlag::Flagged, true),
            "UNFLAGGED" => flag(SystemFlag::Flagged, false),
            "DELETED" => flag(SystemFlag::Deleted, true),
            "UNDELETED" => flag(SystemFlag::Deleted, false),
            "DRAFT" => flag(SystemFlag::Draft, true),
            "UNDRAFT" => flag(SystemFlag::Draft, false),
            "NEW" => Ok(Key::New),
            "OLD" => Ok(Key::Recent(false)),
            "RECENT" => Ok(Key::Recent(true)),
            _ => {
                words.space().map_err(|_| "there is no such key, or its argument is missing")?;
                self.with_argument(&name, words, depth)
            }
        }
    }

    fn with_argument(&mut self, name: &str, words: &mut Words<'_>, depth: usize) -> Parsed<Key> {
        let received =
            |compare, words: &mut Words<'_>| Ok(Key::Received(compare, marks::date(words)?));
        let sent = |compare, words: &mut Words<'_>| Ok(Key::Sent(compare, marks::date(words)?));
        match name {
            "KEYWORD" => Ok(Key::Keyword(words.flag()?, true)),
            "UNKEYWORD" => Ok(Key::Keyword(words.flag()?, false)),
            "BEFORE" => received(Compare::Before, words),
            "ON" => received(Compare::On, words),
            "SINCE" => received(Compare::Since, words),
            "SENTBEFORE" => sent(Compare::Before, words),
            "SENTON" => sent(Compare::On, words),
            "SENTSINCE" => sent(Compare::Since, words),
            "LARGER" => Ok(Key::Larger(words.number64()?)),
            "SMALLER" => Ok(Key::Smaller(words.number64()?)),
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
                Ok(Key::Header(name.to_ascii_lowercase(), self.text(words)?))
            }
            "HEADER" => {
                let name = String::from_utf8_lossy(&words.astring()?).to_ascii_lowercase();
                words.space()?;
                Ok(Key::Header(name, self.text(words)?))
            }
            "BODY" => Ok(Key::Body(self.text(words)?)),
            "TEXT" => Ok(Key::Text(self.text(words)?)),
            "UID" => {
                let set = Set::parse(words)?;
                self.these(&set, true)
            }
            "NOT" => Ok(Key::Not(Box::new(self.key(words, depth + 1)?))),
            "OR" => {
                let first = self.key(words, depth + 1)?;
                words.space()?;
                Ok(Key::Or(Box::new(first), Box::new(self.key(words, depth + 1)?)))
            }
            _ => Err("there is no such key"),
        }
    }

    fn text(&mut self, words: &mut Words<'_>) -> Parsed<String> {
        self.texts += 1;
        if self.texts > MOST_TEXTS {
            return Err("it searches for too much at once");
        }
        let text = words.astring()?;
        // Octets of no known character are found nowhere. That would look like an answer: who
        // hears a NO can still look for himself, as Jakarta Mail does.
        self.not_utf8 |= std::str::from_utf8(&text).is_err();
        Ok(String::from_utf8_lossy(&text).to_lowercase())
    }

    fn these(&self, set: &Set, by_uid: bool) -> Parsed<Key> {
        let places = self.selected.pick(set, by_uid)?;
        Ok(Key::These(Numbers::of(places.into_iter().map(number))))
    }
}

/// A message that may be meant; it is read only if a key looks into it.
struct Candidate<'a> {
    message: &'a Message,
    number: u32,
    content: Option<Vec<u8>>,
    read: &'a mut dyn FnMut() -> Result<Vec<u8>>,
}

impl Candidate<'_> {
    fn content(&mut self) -> Result<&[u8]> {
        if self.content.is_none() {
            self.content = Some((self.read)()?);
        }
        Ok(self.content.as_deref().unwrap_or_default())
    }

    fn header(&mut self) -> Result<&[u8]> {
        let content = self.content()?;
        Ok(&content[..super::mime::header_end(content)])
    }

    fn is(&mut self, key: &Key) -> Result<bool> {
        let flags = &self.message.flags;
        let day = i64::try_from(self.message.received / 86_400).unwrap_or(i64::MAX);
        Ok(match key {
            Key::All => true,
            Key::Flag(flag, is) => {
                *is == match flag {
                    SystemFlag::Seen => flags.seen,
                    SystemFlag::Answered => flags.answered,
                    SystemFlag::Flagged => flags.flagged,
                    SystemFlag::Deleted => flags.deleted,
                    SystemFlag::Draft => flags.draft,
                }
            }
            Key::Keyword(name, is) => *is == marks::has_keyword(flags, name),
            Key::New => self.message.recent && !flags.seen,
            Key::Recent(is) => *is == self.message.recent,
            Key::Received(compare, than) => compare.holds(day, *than),
            Key::Sent(compare, than) => {
                let date = field(self.header()?, "date");
                sent_day(&date.unwrap_or_default()).is_some_and(|day| compare.holds(day, *than))
            }
            Key::Larger(than) => self.message.size > *than,
            Key::Smaller(than) => self.message.size < *than,
            Key::Header(name, text) => {
                let mut all = fields(self.header()?);
                all.any(|(other, field)| {
                    other.eq_ignore_ascii_case(name.as_bytes()) && shown(field).contains(text)
                })
            }
            Key::Body(text) => {
                let content = self.content()?;
                is_in_body(content, &Part::of(content), text)
            }
            Key::Text(text) => {
                let content = self.content()?;
                let header = &content[..super::mime::header_end(content)];
                fields(header).any(|(_, field)| whole(field).contains(text))
                    || is_in_body(content, &Part::of(content), text)
            }
            Key::These(numbers) => numbers.contains(self.number),
            Key::Not(key) => !self.is(key)?,
            Key::Or(a, b) => self.is(a)? || self.is(b)?,
            Key::And(keys) => {
                for key in keys {
                    if !self.is(key)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }
}

/// The day that a Date field names, in whatever zone it does.
fn sent_day(date: &[u8]) -> Option<i64> {
    let date = DateTime::parse_rfc822(std::str::from_utf8(date).ok()?)?;
    let is_day = (1..=12).contains(&date.month) && (1..=31).contains(&date.day);
    is_day.then(|| marks::day_number(date.year, date.month, date.day))
}

/// What a person sees of a field's value, in lower case.
fn shown(field: &[u8]) -> String {
    let value = &field[memchr::memchr(b':', field).map_or(0, |at| at + 1)..];
    let value = unfold(value);
    if memchr::memmem::find(&value, b"=?").is_none() {
        return String::from_utf8_lossy(&value).to_lowercase();
    }
    // Encoded words (RFC 2047), decoded by mail-parser as those of an unstructured field.
    let header = [b"Subject: ", value.as_slice(), b"\r\n\r\n"].concat();
    let message = MessageParser::new().default_header_text().parse_headers(&header[..]);
    let decoded = message.and_then(|message| message.subject().map(str::to_lowercase));
    decoded.unwrap_or_else(|| String::from_utf8_lossy(&value).to_lowercase())
}

/// The same with the name of the field.
fn whole(field: &[u8]) -> String {
    let name = &field[..memchr::memchr(b':', field).unwrap_or(0)];
    format!("{}: {}", String::from_utf8_lossy(name).to_lowercase(), shown(field))
}

fn is_in_body(content: &[u8], part: &Part, text: &str) -> bool {
    match &part.kind {
        Kind::Multipart(parts) => parts.iter().any(|part| is_in_body(content, part, text)),
        Kind::Message(inner) => {
            fields(&content[inner.header.clone()]).any(|(_, field)| whole(field).contains(text))
                || is_in_body(content, inner, text)
        }
        Kind::Single => {
            let (kind, _, valued) = part.content_type(content);
            if kind != "text" {
                return false;
            }
            let body = &content[part.body.clone()];
            let octets = decoded(body, &part.encoding(content)).unwrap_or_else(|| body.to_vec());
            let charset = valued.parameter("charset").map(<[u8]>::to_ascii_lowercase);
            let is_utf8 = charset.as_deref().is_none_or(|c| c == b"utf-8" || c == b"us-ascii");
            let decoder = charset.filter(|_| !is_utf8).and_then(|c| charset_decoder(&c));
            let decoded = match decoder {
                Some(decode) => decode(&octets),
                None => String::from_utf8_lossy(&octets).into_owned(),
            };
            decoded.to_lowercase().contains(text)
        }
    }
}
