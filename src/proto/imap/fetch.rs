//! Reading IMAP mailboxes with nobody typing, once the login is through (RFC 9051).
//!
//! ```text
//! APPEND ─► LIST, STATUS ... ─► EXAMINE or SELECT ─► SEARCH ─► FETCH ...
//!        ─► STORE, EXPUNGE ─► IDLE, FETCH, IDLE ... ─► LOGOUT
//! ```

pub use super::flagging::Flagging;
use super::reader::{Reader, Response};
use super::session::is_for_now;
use super::strings::{after, last_string, unquoted};
use super::utf7;
use super::{Offers, Reply, Status, Verb, quoted};
use crate::proto::envelope::{Envelope, Gatherer, one_line};
use crate::proto::mbox::Mboxrd;
use crate::proto::numbers::{MOST, Numbers, too_many};
use crate::proto::session::{Answer, Event, Session, Worst};
use crate::proto::{Machine, Ports, ProtocolError, Step};
// A length of time is no clock.
use core::time::Duration;
use std::collections::{HashSet, VecDeque};

/// Mailboxes that are told of at most.
const MOST_MAILBOXES: usize = 10_000;

/// Numbers in one command: servers take lines of 8000 octets (RFC 7162 §4), and not much more.
const MOST_UIDS: usize = 500;

/// Octets in the name of one.
const LONGEST_NAME: usize = 4096;

/// What is wanted of the mailboxes.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// A line for each mailbox; with a folder, one for each message.
    pub list: bool,
    /// The mailbox, as text.
    pub folder: Option<String>,
    /// The keys of SEARCH.
    pub search: Option<String>,
    /// These messages, by their place in the mailbox.
    pub fetch: Option<Numbers>,
    /// This message is stored, its line ends being CR LF.
    pub append: Option<Vec<u8>>,
    /// Those that are fetched, or else found, get these flags and lose those.
    pub flag: Option<Flagging>,
    /// These are deleted at the end.
    pub delete: Option<Numbers>,
    /// Wait for what arrives: so many messages, or for ever with 0.
    pub idle: Option<u32>,
    /// What is fetched is told whole, not printed.
    pub keep: bool,
    /// The time for the lines between messages, as `asctime(3)` writes it.
    pub date: String,
}

/// A server forgets who is silent for half an hour (RFC 2177 §3).
const RENEWAL: Duration = Duration::from_secs(29 * 60);

/// How often a server without IDLE is asked.
const POLL: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Mailboxes,
    Status(Vec<u8>),
    Examine,
    Search,
    /// Date, From and Subject of one, for the list.
    Header(u32),
    Get(u32),
    Append,
    Capability,
    /// The lasting number of one that is to be deleted.
    Uid(u32),
    /// One gets or loses flags, as STORE says it.
    Flag(u32, String),
    Mark(u32),
    Expunge,
    Idle,
    /// Instead of IDLE, where there is none.
    Noop,
    Logout,
}

/// Where a literal goes.
#[derive(Debug)]
enum Sink {
    Nowhere,
    Header(Gatherer),
    Plain,
    Mbox(Mboxrd),
    /// Gathered, for the mode to keep.
    Whole(Vec<u8>),
}

/// The machine.
#[derive(Debug)]
pub struct Fetch {
    wish: Wish,
    reader: Reader,
    tasks: VecDeque<Task>,
    asked: Option<(Vec<u8>, Task)>,
    tags: u32,
    offers: Offers,
    exists: u32,
    /// Messages that were there when we last looked.
    seen: u32,
    arrived: u32,
    /// The server tells what arrives.
    idling: bool,
    /// It does not: it is asked, when the time has come.
    polls: bool,
    /// The time has come.
    renews: bool,
    uids: Vec<u32>,
    found: Vec<u32>,
    sink: Sink,
    /// What the last literal of a response held that is no message, cut at a bound.
    literal: Vec<u8>,
    /// The message that was asked for has come.
    got: bool,
    /// Size and flags of the message whose header was asked for.
    facts: (String, String),
    several: bool,
    over: bool,
    worst: Option<Worst>,
    events: VecDeque<Event>,
}

impl Fetch {
    /// After the login.
    pub fn new(wish: Wish) -> Self {
        let boxes = wish.list && wish.folder.is_none();
        let mut tasks = VecDeque::new();
        if wish.append.is_some() {
            tasks.push_back(Task::Append);
        }
        if boxes {
            tasks.push_back(Task::Mailboxes);
        }
        if wish.delete.is_some() {
            tasks.push_back(Task::Capability);
        }
        let about_messages = wish.search.is_some() || wish.fetch.is_some();
        let about_messages = about_messages || wish.delete.is_some() || wish.idle.is_some();
        if about_messages || wish.list && !boxes {
            tasks.push_back(Task::Examine);
        }
        Self {
            several: wish.fetch.as_ref().is_some_and(|n| !n.is_one() || wish.search.is_some()),
            wish,
            reader: Reader::default(),
            tasks,
            asked: None,
            tags: 0,
            offers: Offers::default(),
            exists: 0,
            seen: 0,
            arrived: 0,
            idling: false,
            polls: false,
            renews: false,
            uids: Vec::new(),
            found: Vec::new(),
            sink: Sink::Nowhere,
            literal: Vec::new(),
            got: false,
            facts: (String::new(), String::new()),
            over: false,
            worst: None,
            events: VecDeque::new(),
        }
    }

    fn line_of(&self, task: &Task) -> Vec<u8> {
        match task {
            Task::Mailboxes => b"LIST \"\" \"*\"".to_vec(),
            Task::Status(name) => [b"STATUS ", name.as_slice(), b" (MESSAGES UNSEEN)"].concat(),
            Task::Examine if self.wish.delete.is_some() || self.wish.flag.is_some() => {
                [b"SELECT ", self.folder().as_slice()].concat()
            }
            Task::Examine => [b"EXAMINE ", self.folder().as_slice()].concat(),
            Task::Append => {
                let length = self.wish.append.as_ref().map_or(0, Vec::len);
                let length = format!(" {{{length}}}");
                [b"APPEND ", self.folder().as_slice(), length.as_bytes()].concat()
            }
            Task::Capability => b"CAPABILITY".to_vec(),
            Task::Uid(n) => format!("FETCH {n} UID").into_bytes(),
            Task::Mark(n) => format!("STORE {n} +FLAGS.SILENT (\\Deleted)").into_bytes(),
            Task::Flag(n, store) => format!("STORE {n} {store}").into_bytes(),
            Task::Noop => b"NOOP".to_vec(),
            Task::Expunge if self.offers.has("UIDPLUS") => {
                let uids = self.uids.iter().take(MOST_UIDS).map(u32::to_string);
                format!("UID EXPUNGE {}", uids.collect::<Vec<_>>().join(",")).into_bytes()
            }
            Task::Expunge => b"EXPUNGE".to_vec(),
            Task::Idle => b"IDLE".to_vec(),
            Task::Search => {
                let keys = self.wish.search.as_deref().unwrap_or("ALL");
                let charset = if keys.is_ascii() { "" } else { "CHARSET UTF-8 " };
                format!("SEARCH {charset}{keys}").into_bytes()
            }
            Task::Header(n) => {
                let fields = "BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]";
                format!("FETCH {n} (FLAGS RFC822.SIZE {fields})").into_bytes()
            }
            Task::Get(n) => format!("FETCH {n} BODY.PEEK[]").into_bytes(),
            Task::Logout => b"LOGOUT".to_vec(),
        }
    }

    fn folder(&self) -> Vec<u8> {
        let folder = utf7::encode(self.wish.folder.as_deref().unwrap_or("INBOX"));
        quoted(folder.as_bytes()).unwrap_or_default()
    }

    fn say(&mut self, ports: &mut Ports<'_>, task: Task) {
        self.tags += 1;
        // The session before has used others.
        let tag = format!("f{}", self.tags).into_bytes();
        let line = [tag.as_slice(), b" ", &self.line_of(&task)].concat();
        ports.to_peer.push(&line);
        ports.to_peer.push(b"\r\n");
        self.events.push_back(Event::Said(String::from_utf8_lossy(&line).into_owned()));
        self.got = false;
        self.sink = match task {
            Task::Header(_) => Sink::Header(Gatherer::default()),
            Task::Get(_) if self.wish.keep => Sink::Whole(Vec::new()),
            Task::Get(_) if self.several => Sink::Mbox(Mboxrd::default()),
            Task::Get(_) => Sink::Plain,
            Task::Mailboxes
            | Task::Status(_)
            | Task::Examine
            | Task::Search
            | Task::Append
            | Task::Capability
            | Task::Uid(_)
            | Task::Flag(..)
            | Task::Mark(_)
            | Task::Expunge
            | Task::Idle
            | Task::Noop
            | Task::Logout => Sink::Nowhere,
        };
        if task == Task::Expunge && !self.offers.has("UIDPLUS") {
            self.events.push_back(Event::Remark(
                "the server has no UIDPLUS: what others have marked as deleted goes as well",
            ));
        }
        self.asked = Some((tag, task));
    }

    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let in_literal = self.reader.in_literal();
        let room = ports.to_user.room();
        let Some((piece, response)) = self.reader.read(&mut ports.peer, room)? else {
            return Ok(false);
        };
        if in_literal {
            self.pour(ports, piece);
        } else if self.reader.in_literal() {
            self.literal.clear();
        }
        if let Some(response) = response {
            self.heard(ports, response)?;
        }
        Ok(true)
    }

    /// Octets of a message.
    fn pour(&mut self, ports: &mut Ports<'_>, piece: &[u8]) {
        let first = !std::mem::replace(&mut self.got, true);
        match &mut self.sink {
            Sink::Nowhere => {
                let room = LONGEST_NAME.saturating_sub(self.literal.len());
                self.literal.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Sink::Header(header) => header.add(piece),
            Sink::Plain => ports.to_user.push(piece),
            Sink::Whole(message) => message.extend_from_slice(piece),
            Sink::Mbox(mbox) => ports.to_user.with(|out| {
                if first {
                    mbox.begin("", &self.wish.date, out);
                }
                mbox.encode(piece, out);
            }),
        }
    }

    fn heard(&mut self, ports: &mut Ports<'_>, response: Response) -> Result<(), ProtocolError> {
        match response {
            Response::Data(line) => self.data(ports, &line)?,
            Response::Status(Status::Bye, line) if !self.is_leaving() => {
                let reply = Reply { status: Status::Bye, line };
                return Err(ProtocolError::Declined {
                    what: "to go on",
                    later: true,
                    text: reply.line,
                });
            }
            Response::Status(..) => {}
            Response::GoOn(text) => match &self.asked {
                Some((_, Task::Idle)) => {
                    self.idling = true;
                    self.wake_up(ports);
                }
                Some((_, Task::Append)) => match self.wish.append.take() {
                    Some(message) => {
                        ports.to_peer.push(&message);
                        ports.to_peer.push(b"\r\n");
                    }
                    // A second time it would be taken for commands.
                    None => self.events.push_back(Event::Unasked(text)),
                },
                _ => self.events.push_back(Event::Unasked(text)),
            },
            Response::Tagged(tag, status, line) => {
                let Some((_, task)) = self.asked.take_if(|(asked, _)| *asked == tag) else {
                    self.events.push_back(Event::Unasked(line));
                    return Ok(());
                };
                self.answered(ports, task, &Reply { status, line })?;
            }
        }
        Ok(())
    }

    /// The message that the last command is about.
    fn asked_about(&self) -> Option<u32> {
        match self.asked {
            Some((_, Task::Header(n) | Task::Get(n) | Task::Uid(n) | Task::Mark(n))) => Some(n),
            Some(_) | None => None,
        }
    }

    fn is_leaving(&self) -> bool {
        matches!(self.asked, Some((_, Task::Logout)))
    }

    fn data(&mut self, ports: &mut Ports<'_>, line: &[u8]) -> Result<(), ProtocolError> {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut words = text.split_ascii_whitespace().skip(1);
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (first.to_ascii_uppercase().as_str(), second.to_ascii_uppercase().as_str()) {
            (n, "EXISTS") => {
                self.exists = n.parse().unwrap_or(0);
                self.wake_up(ports);
            }
            (n, "EXPUNGE") => {
                self.exists = self.exists.saturating_sub(1);
                if n.parse().is_ok_and(|n: u32| n <= self.seen) {
                    self.seen -= 1;
                }
            }
            ("CAPABILITY", _) => {
                let list = text.split_once("CAPABILITY").map_or("", |(_, list)| list);
                self.offers = Offers::read(list);
            }
            ("SEARCH", _) => {
                let numbers = text.split_ascii_whitespace().skip(2);
                self.found.extend(numbers.filter_map(|n| n.parse::<u32>().ok()));
                if self.found.len() > MOST {
                    return Err(too_many(self.exists));
                }
            }
            ("LIST", _) if !text.to_ascii_lowercase().contains("\\noselect") => {
                // A name that is not easily quoted comes as a literal, and the line ends before it.
                let name = match line.ends_with(b"\n") {
                    true => quoted(&self.literal),
                    false => last_string(line).map(<[u8]>::to_vec),
                };
                let one_line = |name: &Vec<u8>| !name.iter().any(|b| b"\r\n".contains(b));
                if let Some(name) = name.filter(one_line)
                    && self.tasks.len() < MOST_MAILBOXES
                {
                    self.tasks.push_back(Task::Status(name));
                }
            }
            ("STATUS", _) => {
                if let Some((_, Task::Status(name))) = &self.asked {
                    let (all, unseen) = (after(&text, "MESSAGES "), after(&text, "UNSEEN "));
                    let name = one_line(&utf7::decode(&unquoted(name)));
                    let line = format!("{name}\t{all}\t{unseen}\n");
                    ports.to_user.push(line.as_bytes());
                }
            }
            // Others come by themselves, when somebody else marks a message.
            (n, "FETCH") if n.parse().ok() == self.asked_about() => {
                if matches!(self.sink, Sink::Header(_)) && text.contains("RFC822.SIZE ") {
                    let flags =
                        text.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
                    let flags = flags.map_or("", |(flags, _)| flags).to_owned();
                    self.facts = (after(&text, "RFC822.SIZE "), flags);
                }
                if matches!(self.asked, Some((_, Task::Uid(_)))) {
                    let uid = after(&text, "UID ").parse::<u32>().ok().filter(|_| !self.got);
                    self.got |= uid.is_some();
                    self.uids.extend(uid);
                }
                // Of nothing there are no octets.
                if !self.got && (text.contains("] {0}") || text.contains("] \"\"")) {
                    self.pour(ports, b"");
                }
                // A short message may come as a string.
                if !self.got
                    && let Some((_, string)) = text.split_once("BODY[] \"")
                    && let Some(end) = string.rfind('"')
                {
                    let string = unquoted(format!("\"{}\"", &string[..end]).as_bytes());
                    self.pour(ports, string.as_bytes());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(
        &mut self,
        ports: &mut Ports<'_>,
        task: Task,
        reply: &Reply,
    ) -> Result<(), ProtocolError> {
        self.over = task == Task::Logout;
        if task == Task::Expunge && self.offers.has("UIDPLUS") {
            self.uids.drain(..self.uids.len().min(MOST_UIDS));
            if !self.uids.is_empty() {
                self.tasks.push_front(Task::Expunge);
            }
        }
        let answer = Answer::Imap(Verb::Other, reply.clone());
        self.events.push_back(Event::Reply { ours: true, answer });
        let sink = std::mem::replace(&mut self.sink, Sink::Nowhere);
        match (sink, &task) {
            (Sink::Mbox(mut mbox), _) if self.got => ports.to_user.with(|out| mbox.end(out)),
            (Sink::Whole(message), _) if self.got => {
                self.events.push_back(Event::Fetched(message));
            }
            (Sink::Header(header), Task::Header(n)) if self.got => {
                let Envelope { date, from, subject } = header.envelope();
                let (size, flags) = &self.facts;
                let line = format!("{n}\t{size}\t{flags}\t{date}\t{from}\t{subject}\n");
                ports.to_user.push(line.as_bytes());
            }
            _ => {}
        }
        if reply.status != Status::Ok {
            let what = match &task {
                Task::Mailboxes => "to list its mailboxes".to_owned(),
                Task::Status(name) => {
                    format!("to tell about {}", utf7::decode(&unquoted(name)))
                }
                Task::Examine => {
                    self.tasks.clear();
                    format!("the mailbox {}", self.wish.folder.as_deref().unwrap_or("INBOX"))
                }
                Task::Search => {
                    self.tasks.clear();
                    "the search".to_owned()
                }
                Task::Header(n) | Task::Get(n) => {
                    self.spare(*n);
                    format!("message {n}")
                }
                Task::Append => "to store the message".to_owned(),
                Task::Capability => "to tell what it can".to_owned(),
                Task::Uid(n) => {
                    self.spare(*n);
                    format!("to delete message {n}")
                }
                Task::Mark(n) => {
                    // Its number was the last that came; somebody else may have marked it.
                    self.uids.pop();
                    format!("to delete message {n}")
                }
                Task::Expunge => "to delete what is marked".to_owned(),
                Task::Flag(n, _) => format!("to flag message {n}"),
                Task::Idle if reply.status == Status::Bad || reply.status == Status::No => {
                    self.events.push_back(Event::Remark(
                        "the server does not tell what arrives: it is asked every 30 seconds",
                    ));
                    self.polls = true;
                    return Ok(());
                }
                Task::Idle | Task::Noop => "to tell what arrives".to_owned(),
                Task::Logout => "to say goodbye".to_owned(),
            };
            self.no(what, reply);
        } else {
            match task {
                Task::Examine if self.wish.search.is_some() => {
                    self.tasks.push_front(Task::Search);
                }
                Task::Examine => {
                    let picked = self.wish.fetch.as_ref().map(|n| n.pick(self.exists));
                    let all = self.wish.list.then(|| Numbers::all().pick(self.exists));
                    let all = all.transpose()?.unwrap_or_default();
                    self.plan(all, picked.transpose()?.unwrap_or_default())?;
                }
                Task::Search => {
                    let found = std::mem::take(&mut self.found);
                    if self.wish.fetch.is_none() && !self.wish.list {
                        for n in &found {
                            ports.to_user.push(format!("{n}\n").as_bytes());
                        }
                    }
                    let picked = match &self.wish.fetch {
                        Some(numbers) => {
                            let picked: HashSet<_> =
                                numbers.pick(self.exists)?.into_iter().collect();
                            found.iter().copied().filter(|n| picked.contains(n)).collect()
                        }
                        None => Vec::new(),
                    };
                    self.plan(found, picked)?;
                }
                Task::Get(n) if !self.got => {
                    self.spare(n);
                    self.no(format!("message {n}"), reply);
                }
                // Without a number it would be marked, and stay.
                Task::Uid(n) if !self.got => {
                    self.spare(n);
                    self.no(format!("to delete message {n}"), reply);
                }
                Task::Idle | Task::Noop => {
                    self.idling = false;
                    let new = self.seen + 1..=self.exists;
                    if self.exists.saturating_sub(self.seen) as usize > MOST {
                        return Err(too_many(self.exists));
                    }
                    self.arrived += self.exists.saturating_sub(self.seen);
                    self.seen = self.exists;
                    self.tasks.extend(new.map(Task::Header));
                    let enough = self.wish.idle.is_some_and(|n| n > 0 && self.arrived >= n);
                    match (enough, self.polls) {
                        (false, false) => self.tasks.push_back(Task::Idle),
                        (false, true) => {}
                        (true, _) => self.polls = false,
                    }
                }
                Task::Mailboxes
                | Task::Status(_)
                | Task::Header(_)
                | Task::Get(_)
                | Task::Append
                | Task::Capability
                | Task::Uid(_)
                | Task::Flag(..)
                | Task::Mark(_)
                | Task::Expunge
                | Task::Logout => {}
            }
        }
        Ok(())
    }

    /// What is left to do, once it is known which messages there are.
    fn plan(&mut self, all: Vec<u32>, picked: Vec<u32>) -> Result<(), ProtocolError> {
        let doomed = self.wish.delete.as_ref().map(|n| n.pick(self.exists)).transpose()?;
        let mut doomed = doomed.unwrap_or_default();
        if self.wish.search.is_some() {
            // What the search has not found is not asked about.
            let found: HashSet<_> = all.iter().copied().collect();
            doomed.retain(|n| found.contains(n));
        }
        if self.wish.list && self.wish.folder.is_some() {
            self.tasks.extend(all.iter().copied().map(Task::Header));
        }
        if let Some(flagging) = &self.wish.flag {
            // Those that are printed; if none is to be, those that were found.
            let flagged = if self.wish.fetch.is_some() { &picked } else { &all };
            let stores = flagging.stores();
            let flags: Vec<_> = flagged
                .iter()
                .flat_map(|&n| stores.iter().map(move |store| Task::Flag(n, store.clone())))
                .collect();
            self.tasks.extend(picked.into_iter().map(Task::Get));
            self.tasks.extend(flags);
        } else {
            self.tasks.extend(picked.into_iter().map(Task::Get));
        }
        let any = !doomed.is_empty();
        self.tasks.extend(doomed.into_iter().flat_map(|n| [Task::Uid(n), Task::Mark(n)]));
        if any {
            self.tasks.push_back(Task::Expunge);
        }
        self.seen = self.exists;
        if self.wish.idle.is_some() {
            self.tasks.push_back(Task::Idle);
        }
        Ok(())
    }

    /// What was not read is neither deleted nor marked.
    fn spare(&mut self, n: u32) {
        self.tasks.retain(|task| {
            let is_flag = matches!(task, Task::Flag(of, _) if *of == n);
            *task != Task::Uid(n) && *task != Task::Mark(n) && !is_flag
        });
    }

    /// Something has arrived while the server was to tell: it is asked what.
    fn wake_up(&mut self, ports: &mut Ports<'_>) {
        if self.idling && self.exists > self.seen {
            self.idling = false;
            ports.to_peer.push(b"DONE\r\n");
        }
    }

    fn no(&mut self, what: String, reply: &Reply) {
        let worst = if is_for_now(reply) { Worst::Later } else { Worst::Refused };
        self.worst = self.worst.max(Some(worst));
        self.events.push_back(Event::No(what, reply.line.clone()));
    }
}

impl Session for Fetch {
    fn worst(&self) -> Option<Worst> {
        self.worst
    }

    fn is_setting_up(&self) -> bool {
        false
    }

    fn renew_after(&self) -> Option<Duration> {
        if self.idling {
            return Some(RENEWAL);
        }
        (self.polls && self.asked.is_none()).then_some(POLL)
    }

    fn renew(&mut self) {
        self.renews = true;
    }
}

impl Machine for Fetch {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Step::Event(event));
            }
            if self.over {
                return Ok(Step::Done);
            }
            // What nobody has got yet must not be deleted.
            let deletes = matches!(self.tasks.front(), Some(Task::Mark(_)));
            if self.asked.is_none() && deletes && !ports.to_user.is_clear() {
                return Ok(Step::Wait);
            }
            if std::mem::take(&mut self.renews) {
                if self.idling {
                    // Its answer brings the next one.
                    self.idling = false;
                    ports.to_peer.push(b"DONE\r\n");
                } else if self.polls && self.asked.is_none() {
                    self.tasks.push_back(Task::Noop);
                }
            }
            let waits = self.polls && self.tasks.is_empty();
            if self.asked.is_none() && !waits {
                if self.uids.is_empty() && self.tasks.front() == Some(&Task::Expunge) {
                    self.tasks.pop_front();
                }
                let task = self.tasks.pop_front().unwrap_or(Task::Logout);
                self.say(ports, task);
                continue;
            }
            if self.hear(ports)? {
                continue;
            }
            if ports.peer.eof && (ports.peer.rest().is_empty() || ports.to_user.room() > 0) {
                if self.is_leaving() && !self.reader.is_inside() {
                    return Ok(Step::Done);
                }
                return Err(ProtocolError::Cut {
                    waiting_for: match self.reader.is_inside() {
                        true => "the end of its response: this is not all",
                        false => "its reply to the last command",
                    },
                });
            }
            return Ok(Step::Wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Input, Output};

    #[test]
    fn many_are_expunged_in_lines_that_servers_take() {
        // They were named in one line, which servers refuse when it is long.
        let mut fetch = Fetch::new(Wish::default());
        fetch.offers = Offers::read(" UIDPLUS");
        fetch.uids = (4_000_000_000..4_000_000_501).collect();
        fetch.tasks = VecDeque::from([Task::Expunge]);
        let (mut said, mut shown, mut ended) = (Vec::new(), Vec::new(), [false; 2]);
        let [ended_peer, ended_user] = &mut ended;
        let mut ports = Ports {
            peer: Input::new(b"f1 OK\r\nf2 OK\r\n", false),
            to_peer: Output::new(&mut said, 65_536, ended_peer),
            user: Input::new(b"", true),
            to_user: Output::new(&mut shown, 65_536, ended_user),
        };
        while fetch.step(&mut ports).unwrap() != Step::Wait {}
        let said = String::from_utf8(said).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.iter().all(|line| line.len() < 8000), "{said}");
        assert!(lines[0].ends_with(",4000000499"), "{said}");
        assert_eq!(lines[1..], ["f2 UID EXPUNGE 4000000500", "f3 LOGOUT"]);
    }
}
