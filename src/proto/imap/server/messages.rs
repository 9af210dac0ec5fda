//! Commands about messages: FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE (RFC 9051 §6.4).

use super::super::super::fault::What;
use super::super::super::serving::Event;
use super::super::super::store::Refusal;
use super::fetch::{self, Item, Source};
use super::folders::no_target;
use super::search::{self, Wrong};
use super::sets::{Set, written};
use super::update::{change_flags, parse_flags, tell_flags};
use super::words::{Parsed, Words};
use super::{Done, End, Failure, Imap, State, done};

/// A FETCH under way.
pub(super) struct Fetching {
    tag: Vec<u8>,
    items: Vec<Item>,
    /// The UIDs that are to come, the next one last.
    left: Vec<u32>,
    lie: bool,
    /// Why some could not be told.
    failed: Option<String>,
}

impl Imap {
    pub(super) fn about_messages(
        &mut self,
        tag: &[u8],
        name: &str,
        words: &mut Words<'_>,
        by_uid: bool,
        lie: bool,
    ) -> Done {
        self.selected()?;
        match name {
            "FETCH" => self.fetch(tag, words, by_uid, lie),
            "STORE" => self.mark(words, by_uid),
            "SEARCH" => self.search(tag, words, by_uid),
            "COPY" | "MOVE" => self.copy(words, by_uid, name == "MOVE"),
            "EXPUNGE" => {
                let mut only = None;
                if by_uid {
                    only = Some(self.places(words, true)?);
                }
                words.end()?;
                self.writable()?;
                self.expunge(only, true)?;
                done(name)
            }
            _ => Err("there is no such command".into()),
        }
    }

    /// The messages that a command names.
    fn places(&mut self, words: &mut Words<'_>, by_uid: bool) -> Parsed<Vec<usize>> {
        words.space()?;
        let set = Set::parse(words.set())?;
        let view = self.selected()?;
        if !by_uid && set.reaches_past(view.messages.len()) {
            return Err("there is no such message");
        }
        Ok(view.places(&set, by_uid))
    }

    fn writable(&mut self) -> Result<(), Failure> {
        if self.selected()?.read_only { Err(Refusal::ReadOnly.into()) } else { Ok(()) }
    }

    fn fetch(&mut self, tag: &[u8], words: &mut Words<'_>, by_uid: bool, lie: bool) -> Done {
        let places = self.places(words, by_uid)?;
        words.space()?;
        let mut items = fetch::parse(words)?;
        words.end()?;
        if by_uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let view = self.selected()?;
        let left = places.iter().rev().map(|place| view.messages[*place].uid).collect();
        self.state =
            State::Fetching(Fetching { tag: tag.to_vec(), items, left, lie, failed: None });
        Ok(End::Open)
    }

    /// The next message of a FETCH, or its end.
    pub(super) fn go_on(&mut self, mut fetching: Fetching) {
        let Some(uid) = fetching.left.pop() else {
            match fetching.failed {
                None => self.tagged(&fetching.tag, "OK FETCH done"),
                Some(why) => self.tagged(&fetching.tag, &format!("NO {why}")),
            }
            return;
        };
        let before = self.out.len();
        if let Err(Failure::No(why)) = self.tell(&mut fetching, uid) {
            fetching.failed = Some(why);
        }
        match self.fault_within(&fetching.items, before) {
            None => self.state = State::Fetching(fetching),
            Some((at, What::Act(act))) => {
                let rest = self.out.split_off(at);
                self.act(act);
                self.state = State::Rest(rest, fetching);
            }
            Some((at, What::Inject(octets))) => {
                self.out.splice(at..at, octets).for_each(drop);
                self.state = State::Fetching(fetching);
            }
            // A message that has begun can be given no other answer: it is cut.
            Some((at, _)) => {
                self.out.truncate(at);
                self.state = State::Leaving;
            }
        }
    }

    /// Does anything go wrong within the octets of this message (`byte:N`)? Where in `out`.
    fn fault_within(&self, items: &[Item], before: usize) -> Option<(usize, What)> {
        let told = &self.out[before..];
        if !items.iter().any(|item| matches!(item, Item::Octets(_))) {
            return None;
        }
        let start = memchr::memmem::find(told, b"}\r\n")? + 3;
        let count = (told.len() - start) as u64;
        let (at, what) = self.serving.faults.at_octets(self.now, 0, count)?;
        Some((before + start + usize::try_from(at).ok()?, what))
    }

    fn tell(&mut self, fetching: &mut Fetching, uid: u32) -> Result<(), Failure> {
        let recent = !self.rev2;
        let view = self.view.as_mut().ok_or("no mailbox is selected")?;
        let Some(place) = view.place(uid) else { return Ok(()) };
        let items = &fetching.items;
        let content = if fetch::need_content(items) { view.folder.read(uid)? } else { Vec::new() };
        let message = &mut view.messages[place];
        let becomes_seen =
            !view.read_only && !message.flags.seen && items.iter().any(Item::sets_seen);
        if becomes_seen {
            let mut flags = message.flags.clone();
            flags.seen = true;
            view.folder.mark(uid, &flags)?;
            message.flags = flags;
            self.events.push_back(Event::Changed);
        }
        let mut items = items.clone();
        if becomes_seen && !items.contains(&Item::Flags) {
            items.push(Item::Flags);
        }
        let source = Source { message, content: &content, recent, lie: fetching.lie };
        self.out.extend_from_slice(format!("* {} FETCH ", place + 1).as_bytes());
        let told = fetch::write(&source, &items, &mut self.out);
        self.out.extend_from_slice(b"\r\n");
        told.map_err(|why| Failure::No(format!("[UNKNOWN-CTE] {why}")))
    }

    fn mark(&mut self, words: &mut Words<'_>, by_uid: bool) -> Done {
        let places = self.places(words, by_uid)?;
        words.space()?;
        let add = if words.takes(b'+') {
            Some(true)
        } else if words.takes(b'-') {
            Some(false)
        } else {
            None
        };
        let silent = match words.keyword()?.as_str() {
            "FLAGS" => false,
            "FLAGS.SILENT" => true,
            _ => return Err("STORE takes FLAGS, +FLAGS or -FLAGS".into()),
        };
        words.space()?;
        let by = parse_flags(words)?;
        words.end()?;
        self.writable()?;
        let recent = !self.rev2;
        let view = self.view.as_mut().ok_or("no mailbox is selected")?;
        let mut gone = false;
        for place in places {
            let message = &mut view.messages[place];
            let mut flags = message.flags.clone();
            match add {
                None => flags = by.clone(),
                Some(add) => change_flags(&mut flags, &by, add),
            }
            if flags != message.flags {
                match view.folder.mark(message.uid, &flags) {
                    Ok(()) => message.flags = flags,
                    Err(Refusal::Gone) => {
                        gone = true;
                        continue;
                    }
                    Err(why) => return Err(why.into()),
                }
            }
            if !silent {
                tell_flags(place, message, by_uid, recent, &mut self.out);
            }
        }
        self.events.push_back(Event::Changed);
        if gone { Err(Refusal::Gone.into()) } else { done("STORE") }
    }

    fn search(&mut self, tag: &[u8], words: &mut Words<'_>, by_uid: bool) -> Done {
        words.space()?;
        let search = match search::parse(words) {
            Ok(search) => search,
            Err(Wrong::Syntax(why)) => return Err(why.into()),
            Err(Wrong::Charset) => {
                return Err(Failure::No("[BADCHARSET (US-ASCII UTF-8)] unknown charset".into()));
            }
        };
        let extended = self.rev2;
        let view = self.view.as_mut().ok_or("no mailbox is selected")?;
        search::run(&search, view, by_uid, tag, extended, &mut self.out)?;
        done("SEARCH")
    }

    fn copy(&mut self, words: &mut Words<'_>, by_uid: bool, moves: bool) -> Done {
        let places = self.places(words, by_uid)?;
        words.space()?;
        let to = self.folder_name(words)?;
        words.end()?;
        if moves {
            self.writable()?;
        }
        let view = self.view.as_mut().ok_or("no mailbox is selected")?;
        let uids: Vec<u32> = places.iter().map(|place| view.messages[*place].uid).collect();
        let name = if moves { "MOVE" } else { "COPY" };
        if uids.is_empty() {
            return done(name);
        }
        let copied = match view.folder.copy(&uids, &to) {
            Ok(copied) => copied,
            Err(Refusal::NoSuchFolder) => return Err(no_target()),
            Err(why) => return Err(why.into()),
        };
        self.events.push_back(Event::Changed);
        let (old, new): (Vec<u32>, Vec<u32>) = copied.uids.iter().copied().unzip();
        let code = match old.is_empty() {
            true => String::new(),
            false => {
                let (old, new) = (written(&old), written(&new));
                format!("[COPYUID {} {old} {new}] ", copied.uid_validity)
            }
        };
        if !moves {
            self.refresh(true);
            return Ok(End::Ok(format!("{code}COPY done")));
        }
        view.folder.remove(&old)?;
        // RFC 6851 §4.3: the new UIDs are told before the old messages go.
        if !code.is_empty() {
            self.say(&format!("* OK {code}moved"));
        }
        self.refresh(true);
        done("MOVE")
    }

    /// Removes what is marked so, of these or of all; `told` or not.
    pub(super) fn expunge(&mut self, only: Option<Vec<usize>>, told: bool) -> Result<(), Failure> {
        let view = self.selected()?;
        if view.read_only {
            return Ok(());
        }
        let mut quiet = Vec::new();
        // Another session may have marked some.
        let looked = view.messages.iter().enumerate().filter(|(place, message)| {
            let named = only.as_ref().is_none_or(|only| only.binary_search(place).is_ok());
            named && message.flags.deleted
        });
        let uids: Vec<u32> = looked.map(|(_, message)| message.uid).collect();
        if !uids.is_empty() {
            view.folder.remove(&uids)?;
            self.events.push_back(Event::Changed);
        }
        if told {
            self.refresh(true);
        } else if let Some(view) = &mut self.view {
            view.refresh(true, false, &mut quiet)?;
        }
        Ok(())
    }
}
