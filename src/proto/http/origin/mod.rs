//! A small HTTP server (RFC 9110, 9112): files of a directory, or what the caller has sent.
//!
//! In scope: HTTP/1.0 and 1.1, connections that are kept, pipelining, bodies with a length or in
//! chunks, 100 (Continue), one byte range, If-Modified-Since. Out: HTTP/2, content codings, caches.
//! The mode finds the files: the machine asks for each by [`Event`], and for their octets as there
//! is room for them.
//!
//! ```text
//!  head ──► body ──► asking ──► sending ──► head again, or over
//!    └────────┴──► refused ──► over
//! ```

pub mod answer;
mod request;
#[cfg(test)]
mod tests;

use super::head::{Reader, TooLong};
use crate::proto::{Machine, Ports, ProtocolError, Step};
use answer::Answer;
pub use request::Request;
use request::{Body, Head, Refusal};

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Files: GET and HEAD.
    Files,
    /// Every request is told to the mode and said back to the caller.
    Dump,
}

/// Octets of a request that is told whole, its head included.
const LONGEST_DUMP: usize = 16 * 1024 * 1024;

/// What the mode has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Find this, and call [`Server::answer`].
    Wanted(Request),
    /// Octets of the file that was found last, at most so many from there: see [`Server::feed`].
    More {
        /// The first of them.
        offset: u64,
        /// At most so many; not 0.
        most: usize,
    },
    /// A request, whole: head and body, without chunks.
    Dumped(Vec<u8>),
    /// For `-v`: what was asked for, and the code of the reply.
    Story(String),
}

#[derive(Debug)]
enum State {
    Head(Reader),
    Body(Head, Body),
    /// The mode looks for it.
    Asking(Head, Option<Answer>),
    /// So many octets of the file, from there.
    Sending {
        offset: u64,
        left: u64,
        fed: Option<Vec<u8>>,
    },
    Over,
}

/// The server, for one caller.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    state: State,
    /// The next request may come by this connection.
    keeps: bool,
    story: Option<String>,
    /// Seconds since 1970.
    now: u64,
}

impl Server {
    /// Waits for a request.
    pub fn new(kind: Kind) -> Self {
        let state = State::Head(Reader::default());
        Self { kind, state, keeps: true, story: None, now: 0 }
    }

    /// Tells the time, in seconds since 1970: a reply says it.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// What was found, for [`Event::Wanted`].
    pub fn answer(&mut self, found: Answer) {
        if let State::Asking(_, answer) = &mut self.state {
            *answer = Some(found);
        }
    }

    /// Octets of the file, for [`Event::More`]; none if it has become shorter.
    pub fn feed(&mut self, octets: Vec<u8>) {
        if let State::Sending { fed, .. } = &mut self.state {
            *fed = Some(octets);
        }
    }

    /// Says no, and no more by this connection: where the next request begins is not sure.
    fn refuse(&mut self, refusal: &Refusal, line: &str, ports: &mut Ports<'_>) {
        self.keeps = false;
        let page = answer::refusal(refusal);
        self.reply(&page, line, false, ports);
        self.state = State::Over;
    }

    fn reply(&mut self, page: &answer::Page, line: &str, bare: bool, ports: &mut Ports<'_>) {
        self.story = Some(format!("{line}: {}", page.code));
        ports.to_peer.push(&page.head(&answer::date(self.now), self.keeps));
        if !bare {
            ports.to_peer.push(&page.body);
        }
    }

    /// What comes after a reply.
    fn next(&self) -> State {
        if self.keeps { State::Head(Reader::default()) } else { State::Over }
    }

    fn found(&mut self, head: &Head, found: Answer, ports: &mut Ports<'_>) {
        let bare = head.is_head();
        let (page, piece) = answer::page(head, found);
        self.reply(&page, &head.line, bare, ports);
        self.state = match piece {
            Some((offset, left)) if left > 0 && !bare => State::Sending { offset, left, fed: None },
            Some(_) | None => self.next(),
        };
    }
}

impl Machine for Server {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            if let Some(story) = self.story.take() {
                return Ok(Step::Event(Event::Story(story)));
            }
            match std::mem::replace(&mut self.state, State::Over) {
                // Who does not read replies asks no more for now.
                State::Head(reader) if ports.to_peer.room() == 0 => {
                    self.state = State::Head(reader);
                    return Ok(Step::Wait);
                }
                State::Head(mut reader) => match reader.read(&mut ports.peer) {
                    Ok(None) if ports.peer.eof => return Ok(Step::Done),
                    Ok(None) => {
                        self.state = State::Head(reader);
                        return Ok(Step::Wait);
                    }
                    Ok(Some(bytes)) => match Head::read(bytes, self.kind) {
                        Ok((head, body)) => {
                            self.keeps = head.keeps;
                            if head.waits && !matches!(body, Body::Over) {
                                ports.to_peer.push(b"HTTP/1.1 100 Continue\r\n\r\n");
                            }
                            self.state = State::Body(head, body);
                        }
                        Err((refusal, line)) => self.refuse(&refusal, &line, ports),
                    },
                    Err(too_long) => {
                        let refusal = match too_long {
                            TooLong::Line => Refusal::LongLine,
                            TooLong::Head => Refusal::LongHead,
                        };
                        self.refuse(&refusal, "a request that is too long", ports);
                    }
                },
                State::Body(mut head, body) => {
                    let kept = (self.kind == Kind::Dump).then_some(LONGEST_DUMP);
                    match body.read(&mut ports.peer, &mut head.kept, kept) {
                        Ok(Body::Over) if self.kind == Kind::Dump => {
                            let told = std::mem::take(&mut head.kept);
                            self.found(&head, Answer::Dump(told.clone()), ports);
                            return Ok(Step::Event(Event::Dumped(told)));
                        }
                        Ok(Body::Over) => {
                            let wanted = Step::Event(Event::Wanted(head.request.clone()));
                            self.state = State::Asking(head, None);
                            return Ok(wanted);
                        }
                        Ok(_) if ports.peer.is_over() => return Ok(Step::Done),
                        Ok(body) => {
                            self.state = State::Body(head, body);
                            return Ok(Step::Wait);
                        }
                        Err(refusal) => self.refuse(&refusal, &head.line, ports),
                    }
                }
                State::Asking(head, Some(found)) => self.found(&head, found, ports),
                State::Asking(head, None) => {
                    self.state = State::Asking(head, None);
                    return Ok(Step::Wait);
                }
                State::Sending { offset, left, fed: Some(octets) } => {
                    let n = octets.len() as u64;
                    if n == 0 || n > left {
                        // It is not the file any more whose length was said: the caller is to
                        // notice.
                        self.state = State::Over;
                        continue;
                    }
                    ports.to_peer.push(&octets);
                    self.state = match left - n {
                        0 => self.next(),
                        left => State::Sending { offset: offset + n, left, fed: None },
                    };
                }
                State::Sending { offset, left, fed: None } => {
                    let room = ports.to_peer.room();
                    self.state = State::Sending { offset, left, fed: None };
                    if room == 0 {
                        return Ok(Step::Wait);
                    }
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(room);
                    return Ok(Step::Event(Event::More { offset, most }));
                }
                State::Over => return Ok(Step::Done),
            }
        }
    }
}
