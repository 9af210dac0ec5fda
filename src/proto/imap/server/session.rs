//! What can be asked for after the login (RFC 9051 §6.3, §6.4).

use super::fetch::{self, Fetching};
use super::listing::{Listing, StatusItem, special_use, tell_status};
use super::marks::{self, Change};
use super::names::Names;
use super::out::Out;
use super::search::{Returned, Search};
use super::sets::{Numbers, Set, in_order};
use super::update::{Selected, number};
use super::words::{Parsed, Words};
use crate::proto::store::{Copied, Flags, Message, Refusal, Store};

/// Keywords that are told at SELECT.
const MOST_TOLD: usize = 100;

/// What a command comes to: one tagged answer, with these words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok(String),
    No(String),
    /// It is answered later, or has been.
    Later,
}

/// The error is for BAD.
pub(super) type Done = Parsed<Answer>;

pub(super) fn ok(text: impl Into<String>) -> Done {
    Ok(Answer::Ok(text.into()))
}

pub(super) fn no(text: impl Into<String>) -> Done {
    Ok(Answer::No(text.into()))
}

/// Goes on with what a store gives, or answers with what it says.
macro_rules! ask {
    ($asked:expr) => {
        match $asked {
            Ok(given) => given,
            Err(refusal) => return refused(&refusal),
        }
    };
}

/// What a store said, with its response code (RFC 5530).
pub(super) fn refused(refusal: &Refusal) -> Done {
    let code = match refusal {
        Refusal::NoSuchFolder => "NONEXISTENT",
        Refusal::Exists => "ALREADYEXISTS",
        Refusal::BadName(_) => "CANNOT",
        Refusal::Full => "OVERQUOTA",
        Refusal::ReadOnly => "NOPERM",
        Refusal::InUse => "INUSE",
        Refusal::Gone => "EXPUNGEISSUED",
        Refusal::Limit(_) => "LIMIT",
        Refusal::Broken(_) => "UNAVAILABLE",
    };
    let text: String = refusal.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    no(format!("[{code}] {text}"))
}

/// The same, where a folder could be made first.
fn refused_to(refusal: &Refusal) -> Done {
    match refusal {
        Refusal::NoSuchFolder => no("[TRYCREATE] no such mailbox"),
        Refusal::Exists
        | Refusal::BadName(_)
        | Refusal::Full
        | Refusal::ReadOnly
        | Refusal::InUse
        | Refusal::Gone
        | Refusal::Limit(_)
        | Refusal::Broken(_) => refused(refusal),
    }
}

/// Somebody who is logged in.
pub(super) struct Session {
    pub(super) store: Box<dyn Store>,
    pub(super) selected: Option<Selected>,
    /// IMAP4rev2 is enabled.
    pub(super) rev2: bool,
    /// UTF8=ACCEPT is enabled.
    pub(super) utf8: bool,
    pub(super) most_octets: u64,
    /// What was asked for has changed something.
    pub(super) changed: bool,
}

impl Session {
    pub(super) fn names(&self) -> Names {
        Names { utf8: self.utf8 || self.rev2 }
    }

    /// What is new in the selected mailbox, in front of a tagged answer.
    pub(super) fn look(&mut self, expunges: bool, out: &mut Out) {
        let rev2 = self.rev2;
        if let Some(selected) = &mut self.selected
            && let Err(refusal) = selected.look(expunges, rev2, out)
        {
            let text: String = refusal.to_string().chars().filter(|c| !c.is_control()).collect();
            out.text(&format!("* NO [UNAVAILABLE] the mailbox cannot be looked at: {text}\r\n"));
        }
    }

    /// ENABLE (RFC 5161).
    pub(super) fn enable(
        &mut self,
        words: &mut Words<'_>,
        hides: impl Fn(&str) -> bool,
        out: &mut Out,
    ) -> Done {
        let mut enabled = String::new();
        while words.peek() == Some(b' ') {
            words.space()?;
            let name = words.atom()?.to_ascii_uppercase();
            let switch = match name.as_str() {
                "IMAP4REV2" => &mut self.rev2,
                "UTF8=ACCEPT" => &mut self.utf8,
                _ => continue,
            };
            if !hides(&name) {
                *switch = true;
                enabled += " ";
                enabled += if name == "IMAP4REV2" { "IMAP4rev2" } else { "UTF8=ACCEPT" };
            }
        }
        words.end()?;
        out.text(&format!("* ENABLED{enabled}\r\n"));
        ok("enabled")
    }

    /// SELECT and EXAMINE.
    pub(super) fn select(&mut self, words: &mut Words<'_>, examine: bool, out: &mut Out) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        words.end()?;
        // Whatever comes of it, the one before is closed (RFC 9051 §6.3.2).
        if self.selected.take().is_some() && self.rev2 {
            out.text("* OK [CLOSED] the other mailbox is closed\r\n");
        }
        let mut folder = ask!(self.store.open(&name, examine));
        let messages = ask!(folder.look());
        let mut flags = marks::SYSTEM.to_owned();
        let mut told: Vec<&str> = Vec::new();
        for keyword in messages.iter().flat_map(|message| &message.flags.keywords) {
            if told.len() < MOST_TOLD && !told.iter().any(|k| k.eq_ignore_ascii_case(keyword)) {
                told.push(keyword);
                flags += &format!(" {keyword}");
            }
        }
        let unseen = messages.iter().position(|message| !message.flags.seen);
        let saved = Numbers::default();
        let selected = Selected { name, folder, read_only: examine, messages, saved };
        out.text(&format!("* FLAGS ({flags})\r\n"));
        selected.exists(self.rev2, out);
        if let (Some(at), false) = (unseen, self.rev2) {
            let n = number(at);
            out.text(&format!("* OK [UNSEEN {n}] the first that is not seen\r\n"));
        }
        let permanent = if examine { String::new() } else { format!("{flags} \\*") };
        let (validity, next) = (selected.folder.uid_validity(), selected.folder.uid_next());
        out.text(&format!("* OK [PERMANENTFLAGS ({permanent})] these are kept\r\n"));
        out.text(&format!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n"));
        out.text(&format!("* OK [UIDNEXT {next}] the next UID\r\n"));
        if self.rev2 {
            out.text("* LIST () \"/\" ");
            self.names().write(&selected.name, out);
            out.text("\r\n");
        }
        self.selected = Some(selected);
        match examine {
            true => ok("[READ-ONLY] it is open for reading"),
            false => ok("[READ-WRITE] it is open"),
        }
    }

    pub(super) fn create(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        if words.peek() == Some(b' ') {
            words.space()?;
            // CREATE-SPECIAL-USE (RFC 6154 §3): a use follows from the name here.
            if !words.eat(b'(') || !words.eat_word("USE") {
                return Err("CREATE takes the name of a mailbox");
            }
            words.space()?;
            let uses = words.list(Words::flag)?;
            if !words.eat(b')') {
                return Err("CREATE takes the name of a mailbox");
            }
            if uses.iter().any(|wanted| {
                !special_use(&name).is_some_and(|special| special.eq_ignore_ascii_case(wanted))
            }) {
                return no("[USEATTR] a mailbox is for what its name says: Drafts, Sent, Trash...");
            }
        }
        words.end()?;
        // Who announces mailboxes below it ends the name in a delimiter (RFC 9051 §6.3.4).
        let name = name.strip_suffix('/').unwrap_or(&name);
        ask!(self.store.create(name));
        self.changed = true;
        ok("created")
    }

    pub(super) fn delete(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        words.end()?;
        ask!(self.store.delete(&name));
        self.changed = true;
        if self.selected.as_ref().is_some_and(|selected| selected.name == name) {
            self.selected = None;
        }
        ok("deleted")
    }

    pub(super) fn rename(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let from = self.names().mailbox(words)?;
        words.space()?;
        let to = self.names().mailbox(words)?;
        words.end()?;
        ask!(self.store.rename(&from, to.strip_suffix('/').unwrap_or(&to)));
        self.changed = true;
        ok("renamed")
    }

    pub(super) fn subscribe(&mut self, words: &mut Words<'_>, wanted: bool) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        words.end()?;
        ask!(self.store.subscribe(&name, wanted));
        ok(if wanted { "subscribed" } else { "unsubscribed" })
    }

    pub(super) fn list(&mut self, words: &mut Words<'_>, is_lsub: bool, out: &mut Out) -> Done {
        let names = self.names();
        let listing = Listing::parse(words, names, is_lsub)?;
        ask!(listing.tell(self.store.as_mut(), self.most_octets, names, out));
        ok("listed")
    }

    pub(super) fn status(&mut self, words: &mut Words<'_>, out: &mut Out) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        words.space()?;
        let items = words.list(StatusItem::parse)?;
        words.end()?;
        let status = ask!(self.store.status(&name));
        tell_status(&name, &status, &items, self.most_octets, self.names(), out);
        ok("that is its status")
    }

    /// APPEND, with UTF8 (RFC 6855 §4) or without.
    pub(super) fn append(&mut self, words: &mut Words<'_>) -> Done {
        words.space()?;
        let name = self.names().mailbox(words)?;
        words.space()?;
        let mut flags = Flags::default();
        if words.peek() == Some(b'(') {
            flags = marks::parse(&words.list(Words::flag)?)?;
            words.space()?;
        }
        let mut received = None;
        if words.peek() == Some(b'"') {
            received = Some(marks::date_time(words)?);
            words.space()?;
        }
        let in_utf8 = words.eat_word("UTF8");
        if in_utf8 {
            words.space()?;
            if !words.eat(b'(') {
                return Err("UTF8 takes a literal in parentheses");
            }
        }
        let content = words.literal().map_err(|_| "APPEND takes the message as a literal")?;
        if in_utf8 && !words.eat(b')') {
            return Err("UTF8 takes a literal in parentheses");
        }
        words.end()?;
        if content.len() as u64 > self.most_octets {
            return no(format!("[TOOBIG] a message has {} octets at most", self.most_octets));
        }
        if content.is_empty() {
            return no("[CANNOT] a message without octets is none");
        }
        match self.store.append(&name, content, &flags, received) {
            Ok((validity, uid)) => {
                self.changed = true;
                ok(format!("[APPENDUID {validity} {uid}] it is kept"))
            }
            Err(refusal) => refused_to(&refusal),
        }
    }

    /// CLOSE and UNSELECT.
    pub(super) fn close(&mut self, words: &mut Words<'_>, expunges: bool) -> Done {
        words.end()?;
        if let Some(mut selected) = self.selected.take()
            && expunges
            && !selected.read_only
        {
            let deleted = deleted(&ask!(selected.folder.look()), |_| true);
            if !deleted.is_empty() {
                ask!(selected.folder.remove(&deleted));
                self.changed = true;
            }
        }
        ok("closed")
    }

    /// EXPUNGE, and UID EXPUNGE (RFC 4315).
    pub(super) fn expunge(&mut self, words: &mut Words<'_>, by_uid: bool, out: &mut Out) -> Done {
        let rev2 = self.rev2;
        let selected = self.open()?;
        let mut these = None;
        if by_uid {
            words.space()?;
            let places = selected.pick(&Set::parse(words)?, true)?;
            these = Some(Numbers::of(places.into_iter().map(|at| selected.messages[at].uid)));
        }
        words.end()?;
        if selected.read_only {
            return no("[READ-ONLY] it is open for reading");
        }
        let is_meant = |uid| these.as_ref().is_none_or(|these| these.contains(uid));
        let deleted = deleted(&ask!(selected.folder.look()), is_meant);
        if !deleted.is_empty() {
            ask!(selected.folder.remove(&deleted));
        }
        ask!(selected.look(true, rev2, out));
        self.changed |= !deleted.is_empty();
        ok("expunged")
    }

    pub(super) fn search(
        &mut self,
        tag: &str,
        words: &mut Words<'_>,
        by_uid: bool,
        out: &mut Out,
    ) -> Done {
        let rev2 = self.rev2;
        let selected = self.open()?;
        let search = Search::parse(words, selected)?;
        if let Some(why) = search.bad_charset {
            return no(format!("[BADCHARSET (US-ASCII UTF-8)] {why}"));
        }
        let saves = search.returned.is_some_and(|returned| returned.save);
        let places = match search.run(selected) {
            Ok(places) => places,
            Err(refusal) => {
                if saves {
                    selected.saved = Numbers::default();
                }
                return refused(&refusal);
            }
        };
        let uids: Vec<u32> = places.iter().map(|&at| selected.messages[at].uid).collect();
        let numbers = match by_uid {
            true => uids.clone(),
            false => places.iter().map(|&at| number(at)).collect(),
        };
        let Some(returned) =
            search.returned.or(rev2.then(|| Returned { all: true, ..Returned::default() }))
        else {
            out.text("* SEARCH");
            for n in numbers {
                out.text(&format!(" {n}"));
            }
            out.text("\r\n");
            return ok("searched");
        };
        if returned.save {
            // RFC 5182 §2.1: without ALL and COUNT, MIN and MAX are what is saved.
            let ends_only = (returned.min || returned.max) && !returned.all && !returned.count;
            let some = |at: usize| {
                !ends_only || returned.min && at == 0 || returned.max && at + 1 == uids.len()
            };
            let saved = uids.iter().enumerate().filter(|(at, _)| some(*at)).map(|(_, uid)| *uid);
            selected.saved = Numbers::of(saved);
        }
        if !returned.min && !returned.max && !returned.all && !returned.count {
            return ok("searched, and saved");
        }
        out.text("* ESEARCH (TAG ");
        out.string(tag.as_bytes());
        out.text(if by_uid { ") UID" } else { ")" });
        if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
            if returned.min {
                out.text(&format!(" MIN {first}"));
            }
            if returned.max {
                out.text(&format!(" MAX {last}"));
            }
            if returned.all {
                out.text(&format!(" ALL {}", Numbers::of(numbers.iter().copied()).text()));
            }
        }
        if returned.count {
            out.text(&format!(" COUNT {}", numbers.len()));
        }
        out.text("\r\n");
        ok("searched")
    }

    pub(super) fn fetch(
        &mut self,
        tag: &str,
        words: &mut Words<'_>,
        by_uid: bool,
    ) -> Parsed<Fetching> {
        let selected = self.open()?;
        words.space()?;
        let places = selected.pick(&Set::parse(words)?, by_uid)?;
        words.space()?;
        Ok(Fetching::new(tag, fetch::parse(words)?, places, by_uid))
    }

    pub(super) fn store(&mut self, words: &mut Words<'_>, by_uid: bool, out: &mut Out) -> Done {
        let rev2 = self.rev2;
        let selected = self.open()?;
        words.space()?;
        let places = selected.pick(&Set::parse(words)?, by_uid)?;
        words.space()?;
        let change = match words.peek() {
            Some(b'+') => Change::Add,
            Some(b'-') => Change::Remove,
            Some(_) | None => Change::Set,
        };
        if change != Change::Set {
            words.eat(b'+');
            words.eat(b'-');
        }
        let silent = match words.keyword()?.as_str() {
            "FLAGS" => false,
            "FLAGS.SILENT" => true,
            _ => return Err("only FLAGS can be stored"),
        };
        words.space()?;
        let names = match words.peek() {
            Some(b'(') => words.list(Words::flag)?,
            Some(_) | None => {
                let mut names = vec![words.flag()?];
                while words.peek() == Some(b' ') && !words.rest().trim_ascii().is_empty() {
                    words.space()?;
                    names.push(words.flag()?);
                }
                names
            }
        };
        words.end()?;
        let with = marks::parse(&names)?;
        if selected.read_only {
            return no("[READ-ONLY] it is open for reading");
        }
        // Others may have set flags since: what they did is not undone.
        ask!(selected.look(false, rev2, out));
        let (mut gone, mut changed) = (false, false);
        for at in places {
            let message = &mut selected.messages[at];
            let flags = change.apply(&message.flags, &with);
            if flags.keywords.len() > marks::MOST_KEYWORDS {
                return refused(&Refusal::Limit("a message has 100 keywords at most"));
            }
            if flags != message.flags {
                match selected.folder.mark(message.uid, &flags) {
                    Ok(()) => (message.flags, changed) = (flags, true),
                    Err(Refusal::Gone) => {
                        gone = true;
                        continue;
                    }
                    Err(refusal) => return refused(&refusal),
                }
            }
            if !silent {
                selected.tell_flags(at, by_uid, rev2, out);
            }
        }
        self.changed |= changed;
        ok(if gone { "[EXPUNGEISSUED] some of them are gone" } else { "stored" })
    }

    /// COPY, and MOVE (RFC 6851).
    pub(super) fn copy(
        &mut self,
        words: &mut Words<'_>,
        by_uid: bool,
        moves: bool,
        out: &mut Out,
    ) -> Done {
        let (names, rev2) = (self.names(), self.rev2);
        let selected = self.open()?;
        words.space()?;
        let places = selected.pick(&Set::parse(words)?, by_uid)?;
        words.space()?;
        let to = names.mailbox(words)?;
        words.end()?;
        if moves && selected.read_only {
            return no("[READ-ONLY] it is open for reading");
        }
        let uids: Vec<u32> = places.into_iter().map(|at| selected.messages[at].uid).collect();
        if uids.is_empty() {
            return ok("there was nothing to do");
        }
        let copied = match selected.folder.copy(&uids, &to) {
            Ok(copied) => copied,
            Err(refusal) => return refused_to(&refusal),
        };
        let code = copy_uid(&copied);
        if moves {
            if !code.is_empty() {
                out.text(&format!("* OK {code}copied\r\n"));
            }
            let gone: Vec<u32> = copied.uids.iter().map(|(old, _)| *old).collect();
            ask!(selected.folder.remove(&gone));
            ask!(selected.look(true, rev2, out));
        }
        self.changed = true;
        match moves {
            true => ok("moved"),
            false => ok(format!("{code}copied")),
        }
    }

    fn open(&mut self) -> Parsed<&mut Selected> {
        self.selected.as_mut().ok_or("no mailbox is selected")
    }
}

/// `[COPYUID ...] `, if anything was copied.
fn copy_uid(copied: &Copied) -> String {
    if copied.uids.is_empty() {
        return String::new();
    }
    let old = in_order(copied.uids.iter().map(|(old, _)| *old));
    let new = in_order(copied.uids.iter().map(|(_, new)| *new));
    format!("[COPYUID {} {old} {new}] ", copied.uid_validity)
}

/// The messages that are marked, of those that are meant.
fn deleted(messages: &[Message], is_meant: impl Fn(u32) -> bool) -> Vec<u32> {
    let deleted = messages.iter().filter(|message| message.flags.deleted && is_meant(message.uid));
    deleted.map(|message| message.uid).collect()
}
