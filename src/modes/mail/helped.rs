//! A helped dialogue while it lasts: what is said about it, TLS in its middle, its time limits.

use super::{Link, Protocol};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::{Conversation, Status, Trouble};
use crate::error::Error;
use crate::mailbox::Place;
use crate::modes::secure::{ReadyTls, show_info};
use crate::modes::tlsinfo::Format;
use crate::net::endpoint::Endpoint;
use crate::proto::session::{Answer, Event, Session};
use crate::proto::{ProtocolError, smtp};
use crate::report::Report;
use crate::sys::terminal::{ask_line, ask_secret};
use crate::term::explain::{self, After, store};
use crate::term::safe::quote;
use std::time::{Duration, Instant};

/// Replies that nobody had asked for, before it is a flood.
const MOST_UNASKED: usize = 20;

/// The dialogue, and what is said about it.
pub(super) struct Helped<'a> {
    pub(super) dialogue: Dialogue<Box<dyn Session>>,
    protocol: Protocol,
    pub(super) tls: Option<ReadyTls>,
    handshaking: bool,
    upgraded: bool,
    /// Replies that nobody had asked for.
    unasked: usize,
    until: Instant,
    patience: Duration,
    info: Option<Format>,
    pub(super) probe: bool,
    name: &'a str,
    explain: bool,
    typed: bool,
    /// What is fetched is kept there.
    mailbox: Option<&'a Place>,
    /// It cannot be, and why.
    pub(super) broken: Option<Error>,
    /// The machine wants to be told when so much time has gone by.
    renewal: Option<(Duration, Instant)>,
    report: &'a Report,
}

impl<'a> Helped<'a> {
    /// Nobody types, and nothing is explained.
    pub(super) fn new(
        link: Link,
        protocol: Protocol,
        name: &'a str,
        report: &'a Report,
        dialogue: impl FnOnce(Endpoint) -> Dialogue<Box<dyn Session>>,
    ) -> Self {
        let dialogue = dialogue(link.endpoint);
        Self {
            dialogue: match link.early {
                Some(early) => dialogue.starting_with(early),
                None => dialogue,
            },
            protocol,
            tls: link.tls,
            handshaking: false,
            upgraded: false,
            unasked: 0,
            until: link.until,
            patience: link.patience,
            info: link.info,
            probe: link.probe,
            name,
            explain: false,
            typed: false,
            mailbox: None,
            broken: None,
            renewal: None,
            report,
        }
    }

    /// What is fetched goes there.
    #[must_use]
    pub(super) fn keeping(self, mailbox: Option<&'a Place>) -> Self {
        Self { mailbox, ..self }
    }

    /// Keeps a message. What cannot be kept must not be deleted, so it is over then.
    fn keep(&mut self, message: &[u8]) -> Result<(), Trouble> {
        let Some(place) = self.mailbox else { return Ok(()) };
        match place.put(message) {
            Ok(file) => {
                self.report.story(format_args!("kept in {}", file.display()));
                Ok(())
            }
            Err(refusal) => {
                let path = place.base().display();
                let why = format!("cannot keep a message in --mailbox {path}: {refusal}");
                self.broken = Some(Error::machine(why));
                Err(Trouble::OutputGone)
            }
        }
    }

    /// Somebody looks: replies may be explained to him, or he types himself.
    #[must_use]
    pub(super) fn for_a_person(self, explain: bool, typed: bool) -> Self {
        Self { explain, typed, ..self }
    }

    /// Tells the machine that its time has come; true if it has.
    fn renew(&mut self, now: Instant) -> bool {
        let wanted = self.dialogue.machine().renew_after();
        match (wanted, self.renewal) {
            (None, _) => self.renewal = None,
            (Some(after), Some((before, at))) if before == after => {
                if at <= now {
                    self.renewal = None;
                    self.dialogue.machine_mut().renew();
                    return true;
                }
            }
            (Some(after), _) => self.renewal = Some((after, now + after)),
        }
        false
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Said(line) => self.report.story(format_args!("C: {}", quoted(line.as_bytes()))),
            Event::Reply { ours, answer } => {
                if ours {
                    // The person did not ask for it, but may want to know.
                    for line in answer.lines() {
                        self.report.story(format_args!("S: {}", quoted(&line)));
                    }
                }
                if self.explain
                    && !ours
                    && let Some(words) = explained(&answer)
                {
                    self.report.aside(format_args!("{words}"));
                }
            }
            Event::Unasked(line) => self.report.warning(format_args!(
                "{} sent a reply that nobody had asked for: {}",
                self.name,
                quoted(&line)
            )),
            Event::NotFor(address, line) => self.report.answer(format_args!(
                "ncat: {} refused the recipient {}: {}",
                self.name,
                quoted(address.as_bytes()),
                quoted(&line)
            )),
            Event::No(what, line) => self.report.answer(format_args!(
                "ncat: {} refused {}: {}",
                self.name,
                quoted(what.as_bytes()),
                quoted(&line)
            )),
            Event::InDoubt(address) => self.report.answer(format_args!(
                "ncat: {} has not said whether it took the message for {}",
                self.name,
                quoted(address.as_bytes())
            )),
            Event::Taken(reply) => self.report.story(format_args!(
                "{} has taken the message: {} {}",
                self.name,
                reply.code,
                quoted(reply.last())
            )),
            Event::Remark(text) => self.report.warning(format_args!("{text}")),
            Event::LoginNote(text) => {
                self.report.answer(format_args!(
                    "{} says of the login: {}",
                    self.name,
                    quoted(&text)
                ));
            }
            Event::Ready if self.upgraded => {
                self.upgraded = false;
                let again = match self.protocol {
                    Protocol::Smtp | Protocol::Upgrade(_) => "EHLO",
                    Protocol::Pop3 => "CAPA",
                    Protocol::Imap => "CAPABILITY",
                };
                if self.typed || self.explain {
                    self.report.aside(format_args!(
                        "the server has forgotten what came before TLS: say {again} again"
                    ));
                }
            }
            // It is kept, not told of.
            Event::Ready | Event::Fetched(_) => {}
            Event::Challenge(mechanism, challenge) => {
                let answer = ask(&mechanism, &challenge, self.report);
                self.dialogue.machine_mut().answer(answer);
            }
        }
    }

    /// The handshake is over.
    fn upgraded(&mut self) {
        self.handshaking = false;
        self.upgraded = true;
        if let Some(binding) = self.dialogue.peer().binding() {
            self.dialogue.machine_mut().bind(&binding);
        }
        let Some(tls) = &self.tls else { return };
        tls.announce(self.dialogue.peer(), self.report);
        if let Some(format) = self.info {
            show_info(&tls.describe(self.dialogue.peer(), format), self.probe, self.report);
        }
        if !self.report.is_telling() && (self.typed || self.explain) {
            self.report.aside(format_args!("{}", tls.summary(self.dialogue.peer())));
        }
    }

    fn start_tls(&mut self, now: Instant) -> Result<(), Trouble> {
        let Some(tls) = &self.tls else { return Ok(()) };
        tls.start(self.dialogue.peer(), now)
            .map_err(|e| Trouble::Peer(std::io::Error::other(e)))?;
        self.handshaking = true;
        Ok(())
    }

    fn is_timed(&self) -> bool {
        self.handshaking || self.dialogue.machine().is_setting_up()
    }
}

impl Conversation for Helped<'_> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        self.dialogue.side(side)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            let outcome = self.dialogue.next(now)?;
            if self.handshaking && !self.dialogue.peer().is_handshaking() {
                self.upgraded();
            }
            match outcome {
                Outcome::Event(event) => {
                    if let Event::Unasked(line) = &event {
                        self.unasked += 1;
                        if self.unasked > MOST_UNASKED {
                            return Err(Trouble::Protocol(ProtocolError::Malformed {
                                expected: "as many replies as commands",
                                got: line.clone(),
                            }));
                        }
                    }
                    if let Event::Fetched(message) = &event {
                        self.keep(message)?;
                    }
                    self.tell(event);
                }
                Outcome::StartTls => {
                    // A typed STARTTLS gets its time from here on.
                    self.until = self.until.max(now + self.patience);
                    self.start_tls(now)?;
                }
                Outcome::Done => return Ok(Status::Finished),
                Outcome::Runnable => return Ok(Status::Runnable),
                Outcome::Waiting if self.is_timed() && self.until <= now => {
                    let step = match self.handshaking {
                        true => "the TLS handshake",
                        false => "the start of the session",
                    };
                    return Err(Trouble::Late(step, self.patience));
                }
                Outcome::Waiting if self.renew(now) => {}
                Outcome::Waiting => return Ok(Status::Waiting),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let until = self.is_timed().then_some(self.until);
        let renewal = self.renewal.map(|(_, at)| at);
        [self.dialogue.deadline(), until, renewal].into_iter().flatten().min()
    }
}

/// Asks on the terminal for what a login needs that the person has begun: he types it in clear
/// words, and it goes out as the mechanism wants it. Nothing, if he would rather type it himself.
fn ask(mechanism: &str, challenge: &[u8], report: &Report) -> Option<Vec<u8>> {
    let asked = |prompt: &str, secret: bool| {
        let answer = if secret { ask_secret(prompt) } else { ask_line(prompt) };
        answer.ok().filter(|answer| !answer.is_empty())
    };
    match mechanism {
        "LOGIN" => {
            let wanted = quoted(challenge.trim_ascii_end());
            let secret = !wanted.to_ascii_lowercase().starts_with("user");
            let by_hand = "base64 by ncat; nothing: you type the line yourself";
            asked(&format!("{} ({by_hand}): ", wanted.trim_end_matches(':')), secret)
        }
        "PLAIN" if challenge.is_empty() => {
            let user = asked("user (PLAIN by ncat; nothing: you type the line yourself): ", false)?;
            let password = asked("password: ", true)?;
            Some([&[], user.as_slice(), password.as_slice()].join(&0))
        }
        _ => {
            let challenge = quoted(challenge);
            report.aside(format_args!("the challenge means: {challenge}"));
            None
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    quote(bytes, 200)
}

fn explained(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Smtp(verb, reply) => {
            let text = String::from_utf8_lossy(reply.last());
            explain::smtp(after(*verb), reply.code, explain::enhanced(&text), &text)
        }
        Answer::Pop3(verb, reply) => {
            let command = format!("{verb:?}").to_ascii_uppercase();
            store::pop3(&command, reply.ok, reply.code().as_deref())
        }
        Answer::Imap(verb, reply) => {
            let command = format!("{verb:?}").to_ascii_uppercase();
            let status = format!("{:?}", reply.status).to_ascii_uppercase();
            store::imap(&command, &status, reply.code_name().as_deref())
        }
    }
}

fn after(verb: smtp::Verb) -> After {
    use smtp::Verb;
    match verb {
        Verb::Greeting => After::Greeting,
        Verb::Hello => After::Hello,
        Verb::StartTls => After::StartTls,
        Verb::Auth => After::Auth,
        Verb::Mail => After::Mail,
        Verb::Rcpt => After::Rcpt,
        Verb::Data => After::Data,
        Verb::EndOfData => After::EndOfData,
        Verb::Bdat(_) => After::Bdat,
        Verb::Rset => After::Rset,
        Verb::Noop => After::Noop,
        Verb::Vrfy => After::Vrfy,
        Verb::Help => After::Help,
        Verb::Quit => After::Quit,
        Verb::Other => After::Other,
    }
}
