//! Reading a POP3 mailbox with nobody typing, once the login is through (RFC 1939).
//!
//! ```text
//! STAT ─► (UIDL, LIST, TOP n 0 ...) ─► RETR or TOP ... ─► DELE ... ─► QUIT
//! ```

use super::{Reply, Verb};
use crate::proto::envelope::{Envelope, Gatherer};
use crate::proto::mbox::Mboxrd;
use crate::proto::numbers::Numbers;
use crate::proto::session::{Answer, Event, Session, Worst, bare};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use std::collections::{HashMap, VecDeque};

/// Octets in a status line.
const LONGEST_LINE: usize = 4096;

/// Octets in a line of a list (RFC 2449 §4).
const LONGEST_ENTRY: usize = 512;

/// What is wanted of a mailbox.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// A line for each message.
    pub list: bool,
    /// These messages.
    pub fetch: Option<Numbers>,
    /// Their headers and so many lines, instead of the whole.
    pub lines: Option<u32>,
    /// These are deleted at the end.
    pub delete: Option<Numbers>,
    /// What is fetched is told whole, not printed.
    pub keep: bool,
    /// The time for the lines between messages, as `asctime(3)` writes it.
    pub date: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Stat,
    Uidl,
    Sizes,
    /// The header of one, for the list.
    Header(u32),
    /// One message, or its beginning.
    Get(u32),
    Delete(u32),
    Quit,
}

/// Where the lines of a reply go.
#[derive(Debug)]
enum Sink {
    Nowhere,
    /// Numbers, and what stands behind them.
    Table,
    Header(u32, Gatherer),
    /// As it is.
    Plain,
    Mbox(Mboxrd),
    /// Gathered, for the mode to keep.
    Whole(Vec<u8>),
}

/// The machine.
#[derive(Debug)]
pub struct Fetch {
    wish: Wish,
    tasks: VecDeque<Task>,
    asked: Option<Task>,
    inside: Option<Reply>,
    at_start: bool,
    /// Its lines end in CR LF, as its first did, and an LF alone ends none.
    strict: bool,
    /// The octet before was a CR.
    after_cr: bool,
    sink: Sink,
    partial: Vec<u8>,
    several: bool,
    /// So many messages there are.
    count: u32,
    sizes: HashMap<u32, String>,
    ids: HashMap<u32, String>,
    over: bool,
    worst: Option<Worst>,
    events: VecDeque<Event>,
}

impl Fetch {
    /// After the login.
    pub fn new(wish: Wish) -> Self {
        Self {
            several: wish.fetch.as_ref().is_some_and(|numbers| !numbers.is_one()),
            wish,
            tasks: VecDeque::from([Task::Stat]),
            asked: None,
            inside: None,
            at_start: true,
            strict: true,
            after_cr: false,
            sink: Sink::Nowhere,
            partial: Vec::new(),
            count: 0,
            sizes: HashMap::new(),
            ids: HashMap::new(),
            over: false,
            worst: None,
            events: VecDeque::new(),
        }
    }

    fn line_of(&self, task: Task) -> String {
        match task {
            Task::Stat => "STAT".to_owned(),
            Task::Uidl => "UIDL".to_owned(),
            Task::Sizes => "LIST".to_owned(),
            Task::Header(n) => format!("TOP {n} 0"),
            Task::Get(n) => match self.wish.lines {
                None => format!("RETR {n}"),
                Some(lines) => format!("TOP {n} {lines}"),
            },
            Task::Delete(n) => format!("DELE {n}"),
            Task::Quit => "QUIT".to_owned(),
        }
    }

    fn sink_of(&self, task: Task) -> Sink {
        match task {
            Task::Uidl | Task::Sizes => Sink::Table,
            Task::Header(n) => Sink::Header(n, Gatherer::default()),
            Task::Get(_) if self.wish.keep => Sink::Whole(Vec::new()),
            Task::Get(_) if self.several => Sink::Mbox(Mboxrd::default()),
            Task::Get(_) => Sink::Plain,
            Task::Stat | Task::Delete(_) | Task::Quit => Sink::Nowhere,
        }
    }

    fn hear(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        if ports.to_user.room() == 0 || ports.peer.rest().is_empty() {
            return Ok(false);
        }
        if self.inside.is_some() { self.hear_lines(ports) } else { self.hear_status(ports) }
    }

    fn hear_status(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        let Some(line) = ports.peer.line() else {
            return match rest.len() > LONGEST_LINE {
                true => Err(ProtocolError::malformed("a status line with an end", rest)),
                false => Ok(false),
            };
        };
        self.strict = line.ends_with(b"\r\n");
        let line = bare(line);
        let ok = match (line.starts_with(b"+OK"), line.starts_with(b"-ERR")) {
            (true, _) => true,
            (_, true) => false,
            (false, false) => {
                return Err(ProtocolError::malformed("a POP3 status line (+OK or -ERR)", line));
            }
        };
        let reply = Reply { ok, line: line.to_vec(), lines: Vec::new() };
        let Some(task) = self.asked else {
            self.events.push_back(Event::Unasked(reply.line));
            return Ok(true);
        };
        self.sink = self.sink_of(task);
        if ok && !matches!(self.sink, Sink::Nowhere) {
            if let Sink::Mbox(mbox) = &mut self.sink {
                ports.to_user.with(|out| mbox.begin("", &self.wish.date, out));
            }
            (self.inside, self.at_start, self.after_cr) = (Some(reply), true, false);
        } else {
            self.answered(task, &reply)?;
        }
        Ok(true)
    }

    /// Lines up to the lone dot; a dot before another is taken away (RFC 1939 §3).
    fn hear_lines(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        let rest = ports.peer.rest();
        if self.at_start && rest.starts_with(b".") {
            match rest {
                [b'.', b'\n', ..] if self.strict => {
                    ports.peer.eat(1);
                }
                [b'.', b'\r', b'\n', ..] | [b'.', b'\n', ..] => {
                    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    ports.peer.eat(end);
                    self.lines_are_over(ports)?;
                    return Ok(true);
                }
                [b'.'] | [b'.', b'\r'] => return Ok(false),
                _ => {
                    ports.peer.eat(1);
                }
            }
        }
        let rest = ports.peer.rest();
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let piece = ports.peer.eat(end.min(ports.to_user.room()));
        let has_cr = if piece.len() > 1 { piece.ends_with(b"\r\n") } else { self.after_cr };
        self.at_start = piece.ends_with(b"\n") && (has_cr || !self.strict);
        self.after_cr = piece.ends_with(b"\r");
        match &mut self.sink {
            Sink::Nowhere => {}
            Sink::Plain => ports.to_user.push(piece),
            Sink::Mbox(mbox) => ports.to_user.with(|out| mbox.encode(piece, out)),
            Sink::Whole(message) => message.extend_from_slice(piece),
            Sink::Header(_, header) => header.add(piece),
            Sink::Table => {
                self.partial.extend_from_slice(piece);
                if self.partial.len() > LONGEST_ENTRY {
                    return Err(ProtocolError::malformed("a list of short lines", piece));
                }
                if self.at_start {
                    let line = String::from_utf8_lossy(&self.partial).trim().to_owned();
                    self.partial.clear();
                    let entry = line.split_once(' ').and_then(|(n, t)| Some((n.parse().ok()?, t)));
                    // Of others there is nothing to be told, however many there are.
                    if let Some((n, text)) = entry.filter(|(n, _)| (1..=self.count).contains(n)) {
                        let ids = self.asked == Some(Task::Uidl);
                        let table = if ids { &mut self.ids } else { &mut self.sizes };
                        table.insert(n, text.to_owned());
                    }
                }
            }
        }
        Ok(true)
    }

    fn lines_are_over(&mut self, ports: &mut Ports<'_>) -> Result<(), ProtocolError> {
        match std::mem::replace(&mut self.sink, Sink::Nowhere) {
            Sink::Mbox(mut mbox) => ports.to_user.with(|out| mbox.end(out)),
            Sink::Whole(message) => self.events.push_back(Event::Fetched(message)),
            Sink::Header(n, header) => {
                let Envelope { date, from, subject } = header.envelope();
                let size = self.sizes.get(&n).map_or("?", String::as_str);
                let id = self.ids.get(&n).map_or("", String::as_str);
                let line = format!("{n}\t{size}\t{id}\t{date}\t{from}\t{subject}\n");
                ports.to_user.push(line.as_bytes());
            }
            Sink::Nowhere | Sink::Plain | Sink::Table => {}
        }
        if let (Some(reply), Some(task)) = (self.inside.take(), self.asked) {
            self.answered(task, &reply)?;
        }
        Ok(())
    }

    fn answered(&mut self, task: Task, reply: &Reply) -> Result<(), ProtocolError> {
        self.asked = None;
        let answer = Answer::Pop3(Verb::Other, reply.clone());
        self.events.push_back(Event::Reply { ours: true, answer });
        match (task, reply.ok) {
            (Task::Stat, true) => {
                let text = String::from_utf8_lossy(reply.text()).into_owned();
                let count = text.split_whitespace().next().and_then(|n| n.parse().ok());
                let nothing = || ProtocolError::malformed("a number of messages", &reply.line);
                self.plan(count.ok_or_else(nothing)?)?;
            }
            // A server need not know it.
            (Task::Uidl, false) => {}
            (Task::Header(n) | Task::Get(n), false) => {
                // What was not read is not deleted.
                self.tasks.retain(|task| *task != Task::Delete(n));
                self.refused(&format!("message {n}"), reply);
            }
            (Task::Delete(n), false) => self.refused(&format!("to delete message {n}"), reply),
            (Task::Stat | Task::Sizes, false) => {
                self.tasks = VecDeque::from([Task::Quit]);
                self.refused("to tell what it has", reply);
            }
            (Task::Quit, ok) => {
                self.over = true;
                if !ok {
                    self.refused("to delete all that it should", reply);
                }
            }
            (Task::Uidl | Task::Sizes | Task::Header(_) | Task::Get(_) | Task::Delete(_), true) => {
            }
        }
        Ok(())
    }

    fn plan(&mut self, count: u32) -> Result<(), ProtocolError> {
        let Wish { list, fetch, delete, .. } = self.wish.clone();
        self.count = count;
        if list && count > 0 {
            self.tasks.extend([Task::Uidl, Task::Sizes]);
            self.tasks.extend(Numbers::all().pick(count)?.into_iter().map(Task::Header));
        }
        let picked = |numbers: Option<Numbers>| {
            numbers.map(|n| n.pick(count)).transpose().map(Option::unwrap_or_default)
        };
        self.tasks.extend(picked(fetch)?.into_iter().map(Task::Get));
        self.tasks.extend(picked(delete)?.into_iter().map(Task::Delete));
        self.tasks.push_back(Task::Quit);
        Ok(())
    }

    fn refused(&mut self, what: &str, reply: &Reply) {
        let later = matches!(reply.code().as_deref(), Some("IN-USE" | "LOGIN-DELAY" | "SYS/TEMP"));
        let worst = if later { Worst::Later } else { Worst::Refused };
        self.worst = self.worst.max(Some(worst));
        self.events.push_back(Event::No(what.to_owned(), reply.line.clone()));
    }
}

impl Session for Fetch {
    fn worst(&self) -> Option<Worst> {
        self.worst
    }

    fn is_setting_up(&self) -> bool {
        false
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
            let deletes = matches!(self.tasks.front(), Some(Task::Delete(_)));
            if self.asked.is_none() && deletes && !ports.to_user.is_clear() {
                return Ok(Step::Wait);
            }
            if self.asked.is_none()
                && let Some(task) = self.tasks.pop_front()
            {
                let line = self.line_of(task);
                ports.to_peer.push(line.as_bytes());
                ports.to_peer.push(b"\r\n");
                self.asked = Some(task);
                self.events.push_back(Event::Said(line));
                continue;
            }
            if self.hear(ports)? {
                continue;
            }
            if ports.peer.eof && (ports.peer.rest().is_empty() || ports.to_user.room() > 0) {
                return Err(ProtocolError::Cut {
                    waiting_for: match self.asked {
                        _ if self.inside.is_some() => "the line with a single dot: this is not all",
                        Some(Task::Quit) => {
                            "its reply to QUIT: it is unknown whether it deleted anything"
                        }
                        _ => "its reply to the last command",
                    },
                });
            }
            return Ok(Step::Wait);
        }
    }
}
