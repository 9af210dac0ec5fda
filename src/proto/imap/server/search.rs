//! SEARCH: which messages fit (RFC 9051 §6.4.4), and how they are told (RFC 4731, RFC 5182).

use super::super::super::store::{Message, Refusal};
use super::fetch::parse_date;
use super::sets::{Set, written};
use super::structure::Part;
use super::update::View;
use super::words::{Parsed, Words};
use mail_parser::DateTime;
use mail_parser::parsers::MessageStream;

/// Keys lie in one another no deeper.
const MOST_DEPTH: usize = 30;
/// Keys in one search.
const MOST_KEYS: usize = 1_000;

/// What a message must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    All(Vec<Key>),
    Or(Box<(Key, Key)>),
    Not(Box<Key>),
    Numbers(Set),
    Uids(Set),
    Mark(Mark),
    Keyword(String),
    Recent,
    Larger(u64),
    Smaller(u64),
    /// Days since 1970, and how the message's is to be to it.
    Came(When, i64),
    Sent(When, i64),
    /// A field, and what is in it: lower case.
    Header(Vec<u8>, String),
    Body(String),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Seen,
    Answered,
    Flagged,
    Deleted,
    Draft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    On,
    Since,
}

/// A search that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    key: Key,
    /// The items of ESEARCH, if it is wanted.
    returns: Option<Vec<String>>,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Syntax(&'static str),
    /// Its text is in a charset that is not known.
    Charset,
}

impl From<&'static str> for Wrong {
    fn from(why: &'static str) -> Self {
        Wrong::Syntax(why)
    }
}

/// Reads what follows SEARCH.
///
/// # Errors
/// See [`Wrong`].
pub(super) fn parse(words: &mut Words<'_>) -> Result<Search, Wrong> {
    let mut returns = None;
    let mut ahead = words.clone();
    if ahead.keyword().is_ok_and(|word| word == "RETURN") {
        ahead.space()?;
        ahead.needs(b'(', "a list of results is missing")?;
        let mut items = Vec::new();
        while !ahead.takes(b')') {
            let item = ahead.keyword()?;
            if !["MIN", "MAX", "ALL", "COUNT", "SAVE"].contains(&item.as_str()) {
                return Err("there is no such result of SEARCH".into());
            }
            items.push(item);
            if !ahead.next_is(b')') {
                ahead.space()?;
            }
        }
        if items.is_empty() {
            items.push("ALL".into());
        }
        ahead.space()?;
        returns = Some(items);
        *words = ahead;
    }
    let mut ahead = words.clone();
    if ahead.keyword().is_ok_and(|word| word == "CHARSET") {
        ahead.space()?;
        let charset = ahead.astring()?.to_ascii_uppercase();
        if charset != b"UTF-8" && charset != b"US-ASCII" {
            return Err(Wrong::Charset);
        }
        ahead.space()?;
        *words = ahead;
    }
    let mut left = MOST_KEYS;
    let keys = keys(words, 0, &mut left)?;
    words.end()?;
    Ok(Search { key: Key::All(keys), returns })
}

fn keys(words: &mut Words<'_>, depth: usize, left: &mut usize) -> Parsed<Vec<Key>> {
    let mut keys = vec![key(words, depth, left)?];
    while words.next_is(b' ') {
        words.space()?;
        if words.is_over() {
            break;
        }
        keys.push(key(words, depth, left)?);
    }
    Ok(keys)
}

fn key(words: &mut Words<'_>, depth: usize, left: &mut usize) -> Parsed<Key> {
    *left = left.checked_sub(1).ok_or("the search is too long")?;
    if depth > MOST_DEPTH {
        return Err("the search is nested too deep");
    }
    if words.takes(b'(') {
        let keys = keys(words, depth + 1, left)?;
        words.needs(b')', "a parenthesis has no end")?;
        return Ok(Key::All(keys));
    }
    if words.text().first().is_some_and(|b| b.is_ascii_digit() || b"*$".contains(b)) {
        return Ok(Key::Numbers(Set::parse(words.set())?));
    }
    let name = words.keyword()?;
    let not = |key| Key::Not(Box::new(key));
    let text = |words: &mut Words<'_>| {
        words.space()?;
        let text = words.astring()?;
        Ok::<_, &'static str>(String::from_utf8_lossy(&text).to_lowercase())
    };
    let field = |words: &mut Words<'_>| {
        let text = text(words)?;
        Ok::<_, &'static str>(Key::Header(name.as_bytes().to_vec(), text))
    };
    let number = |words: &mut Words<'_>| {
        words.space()?;
        words.number()
    };
    let date = |words: &mut Words<'_>| {
        words.space()?;
        parse_date(&words.astring()?)
    };
    let keyword = |words: &mut Words<'_>| {
        words.space()?;
        Ok::<_, &'static str>(Key::Keyword(String::from_utf8_lossy(words.atom()?).into_owned()))
    };
    Ok(match name.as_str() {
        "ALL" => Key::All(vec![]),
        "SEEN" => Key::Mark(Mark::Seen),
        "ANSWERED" => Key::Mark(Mark::Answered),
        "FLAGGED" => Key::Mark(Mark::Flagged),
        "DELETED" => Key::Mark(Mark::Deleted),
        "DRAFT" => Key::Mark(Mark::Draft),
        "UNSEEN" => not(Key::Mark(Mark::Seen)),
        "UNANSWERED" => not(Key::Mark(Mark::Answered)),
        "UNFLAGGED" => not(Key::Mark(Mark::Flagged)),
        "UNDELETED" => not(Key::Mark(Mark::Deleted)),
        "UNDRAFT" => not(Key::Mark(Mark::Draft)),
        "RECENT" => Key::Recent,
        "OLD" => not(Key::Recent),
        "NEW" => Key::All(vec![Key::Recent, not(Key::Mark(Mark::Seen))]),
        "KEYWORD" => keyword(words)?,
        "UNKEYWORD" => not(keyword(words)?),
        "LARGER" => Key::Larger(number(words)?),
        "SMALLER" => Key::Smaller(number(words)?),
        "BEFORE" => Key::Came(When::Before, date(words)?),
        "ON" => Key::Came(When::On, date(words)?),
        "SINCE" => Key::Came(When::Since, date(words)?),
        "SENTBEFORE" => Key::Sent(When::Before, date(words)?),
        "SENTON" => Key::Sent(When::On, date(words)?),
        "SENTSINCE" => Key::Sent(When::Since, date(words)?),
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => field(words)?,
        "HEADER" => {
            words.space()?;
            let name = words.astring()?;
            Key::Header(name, text(words)?)
        }
        "BODY" => Key::Body(text(words)?),
        "TEXT" => Key::Text(text(words)?),
        "UID" => {
            words.space()?;
            Key::Uids(Set::parse(words.set())?)
        }
        "NOT" => {
            words.space()?;
            not(key(words, depth + 1, left)?)
        }
        "OR" => {
            words.space()?;
            let first = key(words, depth + 1, left)?;
            words.space()?;
            Key::Or(Box::new((first, key(words, depth + 1, left)?)))
        }
        _ => return Err("there is no such search key"),
    })
}

/// Searches, and writes the answer; whether it was to be saved too.
///
/// # Errors
/// The store's.
pub(super) fn run(
    search: &Search,
    view: &mut View,
    by_uid: bool,
    tag: &[u8],
    extended: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let mut sets = Vec::new();
    resolve(&search.key, view, &mut sets);
    let mut found = Vec::new();
    for place in 0..view.messages.len() {
        let message = view.messages[place].clone();
        let mut looked = Looked { message: &message, place, content: None, view };
        let mut sets = sets.iter();
        if looked.fits(&search.key, &mut sets)? {
            found.push(place);
        }
    }
    let number = |place: &usize| match by_uid {
        true => view.messages[*place].uid,
        false => u32::try_from(place + 1).unwrap_or(u32::MAX),
    };
    let numbers: Vec<u32> = found.iter().map(number).collect();
    let all = || vec!["ALL".to_owned()];
    let returns = search.returns.clone().or_else(|| extended.then(all));
    let Some(returns) = returns else {
        out.extend_from_slice(b"* SEARCH");
        for n in &numbers {
            out.extend_from_slice(format!(" {n}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        return Ok(());
    };
    let has = |item: &str| returns.iter().any(|wanted| wanted == item);
    if has("SAVE") {
        // RFC 5182 §2.1: what MIN and MAX alone return is what is saved.
        let ends = (has("MIN") || has("MAX")) && !has("ALL") && !has("COUNT");
        let saved = found.iter().enumerate().filter(|(n, _)| {
            let is_end = has("MIN") && *n == 0 || has("MAX") && n + 1 == found.len();
            !ends || is_end
        });
        view.saved = saved.map(|(_, place)| view.messages[*place].uid).collect();
        if returns.len() == 1 {
            return Ok(());
        }
    }
    out.extend_from_slice(b"* ESEARCH (TAG ");
    super::structure::string(tag, out);
    out.push(b')');
    if by_uid {
        out.extend_from_slice(b" UID");
    }
    let ends = [("MIN", numbers.first()), ("MAX", numbers.last())];
    for (name, n) in ends.into_iter().filter(|(name, _)| has(name)) {
        if let Some(n) = n {
            out.extend_from_slice(format!(" {name} {n}").as_bytes());
        }
    }
    if has("ALL") && !numbers.is_empty() {
        out.extend_from_slice(format!(" ALL {}", written(&numbers)).as_bytes());
    }
    if has("COUNT") {
        out.extend_from_slice(format!(" COUNT {}", numbers.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The places that the sets of a search name, once for all messages, in the order of the keys.
fn resolve(key: &Key, view: &View, out: &mut Vec<Vec<usize>>) {
    match key {
        Key::All(keys) => keys.iter().for_each(|key| resolve(key, view, out)),
        Key::Or(both) => {
            resolve(&both.0, view, out);
            resolve(&both.1, view, out);
        }
        Key::Not(key) => resolve(key, view, out),
        Key::Numbers(set) => out.push(view.places(set, false)),
        Key::Uids(set) => out.push(view.places(set, true)),
        Key::Mark(_) | Key::Keyword(_) | Key::Recent | Key::Larger(_) | Key::Smaller(_) => {}
        Key::Came(..) | Key::Sent(..) | Key::Header(..) | Key::Body(_) | Key::Text(_) => {}
    }
}

/// A message that is looked at, read only if it has to be.
struct Looked<'a> {
    message: &'a Message,
    place: usize,
    content: Option<Vec<u8>>,
    view: &'a mut View,
}

impl Looked<'_> {
    /// Every set is taken from `sets`, whether it decides or not: they go by order.
    fn fits<'s>(
        &mut self,
        key: &Key,
        sets: &mut impl Iterator<Item = &'s Vec<usize>>,
    ) -> Result<bool, Refusal> {
        let message = self.message;
        let flags = &message.flags;
        let day = |when: &When, day: i64, wanted: i64| match when {
            When::Before => day < wanted,
            When::On => day == wanted,
            When::Since => day >= wanted,
        };
        Ok(match key {
            Key::All(keys) => {
                let mut all = true;
                for key in keys {
                    // What has no set need not be looked at any more.
                    if all || has_set(key) {
                        all &= self.fits(key, sets)?;
                    }
                }
                all
            }
            Key::Or(both) => {
                let first = self.fits(&both.0, sets)?;
                if first && !has_set(&both.1) { true } else { self.fits(&both.1, sets)? || first }
            }
            Key::Not(key) => !self.fits(key, sets)?,
            Key::Numbers(_) | Key::Uids(_) => {
                sets.next().is_some_and(|set| set.binary_search(&self.place).is_ok())
            }
            Key::Mark(mark) => match mark {
                Mark::Seen => flags.seen,
                Mark::Answered => flags.answered,
                Mark::Flagged => flags.flagged,
                Mark::Deleted => flags.deleted,
                Mark::Draft => flags.draft,
            },
            Key::Keyword(name) => flags.keywords.iter().any(|k| k.eq_ignore_ascii_case(name)),
            Key::Recent => message.recent,
            Key::Larger(n) => message.size > *n,
            Key::Smaller(n) => message.size < *n,
            Key::Came(when, wanted) => {
                let came = i64::try_from(message.received / 86_400).unwrap_or(i64::MAX);
                day(when, came, *wanted)
            }
            Key::Sent(when, wanted) => {
                let content = self.content()?;
                let root = Part::header_of(content);
                let date = root.value(content, "Date");
                let date =
                    date.and_then(|date| DateTime::parse_rfc822(&String::from_utf8_lossy(&date)));
                date.is_some_and(|date| {
                    day(when, date.to_timestamp_local().div_euclid(86_400), *wanted)
                })
            }
            Key::Header(name, text) => {
                let content = self.content()?;
                Part::header_of(content).fields(content).into_iter().any(|(field, whole)| {
                    field.eq_ignore_ascii_case(name)
                        && contains(&whole[(field.len() + 1).min(whole.len())..], text)
                })
            }
            Key::Body(text) => {
                let content = self.content()?;
                in_parts(&Part::of(content), content, text)
            }
            Key::Text(text) => {
                let content = self.content()?;
                let root = Part::of(content);
                root.fields(content).into_iter().any(|(_, field)| contains(field, text))
                    || in_parts(&root, content, text)
            }
        })
    }

    /// The message; nothing if somebody has removed it.
    fn content(&mut self) -> Result<&[u8], Refusal> {
        if self.content.is_none() {
            self.content = Some(match self.view.folder.read(self.message.uid) {
                Ok(content) => content,
                Err(Refusal::Gone) => vec![],
                Err(why) => return Err(why),
            });
        }
        Ok(self.content.as_deref().unwrap_or_default())
    }
}

fn has_set(key: &Key) -> bool {
    match key {
        Key::All(keys) => keys.iter().any(has_set),
        Key::Or(both) => has_set(&both.0) || has_set(&both.1),
        Key::Not(key) => has_set(key),
        Key::Numbers(_) | Key::Uids(_) => true,
        Key::Mark(_) | Key::Keyword(_) | Key::Recent | Key::Larger(_) | Key::Smaller(_) => false,
        Key::Came(..) | Key::Sent(..) | Key::Header(..) | Key::Body(_) | Key::Text(_) => false,
    }
}

/// Is the text in a field's value, as it stands or decoded (RFC 2047)? It is in lower case.
fn contains(value: &[u8], text: &str) -> bool {
    let raw = String::from_utf8_lossy(value).to_lowercase();
    if text.is_empty() || raw.contains(text) {
        return true;
    }
    if !raw.contains("=?") {
        return false;
    }
    // The parser wants the line end that stops it.
    let value = [value, b"\r\n"].concat();
    let decoded = MessageStream::new(&value).parse_unstructured();
    decoded.as_text().is_some_and(|decoded| decoded.to_lowercase().contains(text))
}

/// Is the text in what the parts hold, their transfer encoding taken away?
fn in_parts(part: &Part, octets: &[u8], text: &str) -> bool {
    if let Some(message) = &part.message {
        return in_parts(message, octets, text);
    }
    if !part.children.is_empty() {
        return part.children.iter().any(|part| in_parts(part, octets, text));
    }
    let decoded = if part.kind == "TEXT" { part.decoded(octets) } else { None };
    let decoded = decoded.unwrap_or_else(|| octets[part.body.clone()].to_vec());
    String::from_utf8_lossy(&decoded).to_lowercase().contains(text)
}

#[cfg(test)]
mod tests {
    use super::super::words::Command;
    use super::*;

    fn parsed(text: &str) -> Result<Search, Wrong> {
        parse(&mut Words::new(&Command::of(text)))
    }

    #[test]
    fn what_is_no_search_is_refused() {
        let deep = format!("{}ALL{}", "(".repeat(20_000), ")".repeat(20_000));
        let nots = format!("{}ALL", "NOT ".repeat(10_000));
        let many = "ALL ".repeat(5_000);
        for text in [
            "",
            "X",
            "(ALL",
            "OR ALL",
            "NOT",
            "UID",
            "BEFORE x",
            "LARGER x",
            "RETURN (X) ALL",
            &deep,
            &nots,
            &many,
            "0",
            "1,",
            "KEYWORD",
            "HEADER x",
            "ALL)",
        ] {
            assert!(matches!(parsed(text), Err(Wrong::Syntax(_))), "{text:.20}");
        }
        assert_eq!(parsed("CHARSET KOI8-R ALL"), Err(Wrong::Charset));
        for text in ["all ", "1:* (OR SEEN NOT 5) uid $", "RETURN () CHARSET utf-8 TEXT \"x y\""] {
            assert!(parsed(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn encoded_text_is_found() {
        assert!(contains("=?utf-8?q?caf=C3=89?=".as_bytes(), "café"));
        assert!(contains(b" Hello World", "lo wo") && !contains(b"hello", "x"));
        let mail = b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n";
        assert!(in_parts(&Part::of(mail), mail, "hello"));
    }
}
