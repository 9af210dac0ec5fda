//! A question to the servers: over UDP, again when nothing comes, over TCP when it does not fit,
//! and to the next server when this one is of no use.

use crate::engine::reactor::{Address, Reactor};
use crate::engine::{REMOTE, SOLO};
use crate::error::words;
use crate::net::buf::Buf;
use crate::net::dial::{self, Dial, Source, seconds};
use crate::net::endpoint::{Endpoint, Moved};
use crate::proto::dns::{Answer, Failure, Name, Question, Reading, framed, query, read};
use crate::report::Report;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What one server may take for one question.
const PATIENCE: Duration = Duration::from_secs(5);

/// When a datagram is sent again, counted from the first: it may have been lost.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Names that are names for names for names; BIND follows 16, too.
const MOST_ALIASES: usize = 16;

const TOKEN: Address = Address { key: SOLO, side: REMOTE };

/// The longest message over TCP, with its length in front.
const LONGEST: usize = 2 + 65_535;

/// Asks, one question at a time.
pub(super) struct Asking<'a> {
    /// The best comes first: one that has failed moves to the end.
    servers: Vec<SocketAddr>,
    reactor: Reactor,
    until: Option<Instant>,
    buf: Buf,
    report: &'a Report,
}

/// Nobody could answer: each server with its reason.
#[derive(Debug)]
pub(super) struct Unanswered(pub(super) String);

impl<'a> Asking<'a> {
    /// Will ask `servers`, for `wait` in all.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub(super) fn new(
        servers: Vec<SocketAddr>,
        wait: Option<Duration>,
        report: &'a Report,
    ) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let until = wait.map(|wait| reactor.now() + wait);
        Ok(Self { servers, reactor, until, buf: Buf::new(LONGEST), report })
    }

    /// The answer to a question, along all aliases.
    ///
    /// # Errors
    /// No server could tell.
    pub(super) fn resolve(&mut self, question: &Question) -> Result<Answer, Unanswered> {
        let mut aliases: Vec<Name> = Vec::new();
        loop {
            let name = aliases.last().unwrap_or(&question.name).clone();
            let mut answer = self.ask(&Question { name, kind: question.kind })?;
            // A server that is no resolver leaves the rest of the way to us.
            let is_whole = !answer.records.is_empty() || !answer.exists;
            let is_last = answer.aliases.is_empty();
            let circle = |alias: &Name| *alias == question.name || aliases.contains(alias);
            if answer.aliases.iter().any(circle) {
                return Err(Unanswered(Failure::Loop.to_string()));
            }
            aliases.append(&mut answer.aliases);
            if is_whole || is_last {
                return Ok(Answer { aliases, ..answer });
            }
            if aliases.len() > MOST_ALIASES {
                return Err(Unanswered(format!("it has more than {MOST_ALIASES} CNAME records")));
            }
        }
    }

    fn ask(&mut self, question: &Question) -> Result<Answer, Unanswered> {
        let mut reasons: Vec<String> = Vec::new();
        for _ in 0..self.servers.len() {
            let server = self.servers[0];
            let kind = question.kind.name();
            self.report.story(format_args!("asking {server} for {kind} of {}", question.name));
            match self.one(server, question) {
                Ok(answer) => return Ok(answer),
                Err(why) => {
                    self.report.story(format_args!("{server}: {why}"));
                    reasons.push(format!("{server}: {why}"));
                    self.servers.rotate_left(1);
                }
            }
        }
        Err(Unanswered(reasons.join("; ")))
    }

    /// One server, and why not.
    fn one(&mut self, server: SocketAddr, question: &Question) -> Result<Answer, String> {
        let start = self.reactor.now();
        let until = start + PATIENCE;
        let until = self.until.map_or(until, |all| all.min(until));
        if until <= start {
            return Err("no time is left".to_owned());
        }
        let mut edns = true;
        let mut reading = self.udp(server, question, edns, until)?;
        // An old server; what it does not understand is EDNS (RFC 6891 §7).
        if reading == Reading::Failed(Failure::NotUnderstood) {
            edns = false;
            reading = self.udp(server, question, edns, until)?;
        }
        if reading == Reading::Truncated {
            self.report.story(format_args!("{server}: the answer needs TCP"));
            let answer = self.tcp(server, question, edns, until);
            reading = answer.map_err(|why| format!("TCP: {why}"))?;
        }
        match reading {
            Reading::Answer(answer) => Ok(answer),
            Reading::Failed(failure) => Err(failure.to_string()),
            Reading::Truncated => Err("its answer over TCP is cut short, too".to_owned()),
        }
    }

    fn udp(
        &mut self,
        server: SocketAddr,
        question: &Question,
        edns: bool,
        until: Instant,
    ) -> Result<Reading, String> {
        let broken = |e: io::Error| words(&e);
        let id = random_id();
        let message = query(id, question, edns);
        // The port is the kernel's choice, a new one each time, and connect(2) has it drop what
        // others send to it.
        let mut endpoint = dial::udp(server, &Source::default()).map_err(broken)?;
        endpoint.register(self.reactor.registry(), TOKEN.into()).map_err(broken)?;
        let start = self.reactor.now();
        let mut times = [Duration::ZERO].into_iter().chain(AGAIN).peekable();
        let mut strange = None;
        loop {
            let now = self.reactor.now();
            if times.next_if(|after| start + *after <= now).is_some() {
                // A full buffer is as good as a datagram that is lost: the next time comes.
                endpoint.write(&message).map_err(broken)?;
            }
            if until <= now {
                return Err(late(until - start, strange));
            }
            self.clear();
            match endpoint.read(&mut self.buf).map_err(broken)? {
                Moved::Bytes(_) => match read(self.buf.bytes(), id, question) {
                    Ok(reading) => return Ok(reading),
                    Err(ignored) => {
                        self.report.detail(format_args!("{server}: ignored {ignored}"));
                        strange = Some(ignored.to_string());
                        // Time goes by even if such datagrams never end.
                        self.wait(&mut endpoint, true, until)?;
                    }
                },
                Moved::Blocked | Moved::Eof => {
                    let next = times.peek().map_or(until, |after| until.min(start + *after));
                    self.wait(&mut endpoint, false, next)?;
                }
            }
        }
    }

    fn tcp(
        &mut self,
        server: SocketAddr,
        question: &Question,
        edns: bool,
        until: Instant,
    ) -> Result<Reading, String> {
        let broken = |e: io::Error| words(&e);
        let start = self.reactor.now();
        let id = random_id();
        let message = framed(&query(id, question, edns));
        let mut endpoint = self.call(server, until)?;
        endpoint.register(self.reactor.registry(), TOKEN.into()).map_err(broken)?;
        self.clear();
        let mut sent = 0;
        loop {
            if until <= self.reactor.now() {
                return Err(late(until - start, None));
            }
            if sent < message.len()
                && let Moved::Bytes(n) = endpoint.write(&message[sent..]).map_err(broken)?
            {
                sent += n;
            }
            match endpoint.read(&mut self.buf).map_err(broken)? {
                Moved::Bytes(_) => {
                    if let [high, low, rest @ ..] = self.buf.bytes()
                        && let length = usize::from(u16::from_be_bytes([*high, *low]))
                        && rest.len() >= length
                    {
                        let got = read(&rest[..length], id, question);
                        return got.map_err(|ignored| format!("it sent {ignored}"));
                    }
                }
                Moved::Blocked => self.wait(&mut endpoint, false, until)?,
                Moved::Eof => return Err("it hung up before its answer".to_owned()),
            }
        }
    }

    fn call(&mut self, server: SocketAddr, until: Instant) -> Result<Endpoint, String> {
        let patience = until - self.reactor.now();
        let source = Source { patience, ..Source::default() };
        let mut dial = Dial::new(&[server], source, TOKEN.into());
        loop {
            match dial.drive(self.reactor.registry(), self.reactor.now()) {
                Some(Ok((endpoint, _))) => return Ok(endpoint),
                Some(Err(())) => return Err(dial.failures()),
                None => {
                    self.reactor.wait(false, dial.deadline(), |_, _| {}).map_err(|e| words(&e))?
                }
            }
        }
    }

    fn wait(&mut self, endpoint: &mut Endpoint, busy: bool, until: Instant) -> Result<(), String> {
        let marked = self.reactor.wait(busy, Some(until), |_, event| endpoint.mark(event));
        marked.map_err(|e| words(&e))
    }

    fn clear(&mut self) {
        self.buf.consume(self.buf.bytes().len());
    }
}

fn late(waited: Duration, strange: Option<String>) -> String {
    let waited = seconds(Duration::from_millis(waited.as_millis().try_into().unwrap_or(u64::MAX)));
    match strange {
        None => format!("no answer in {waited}"),
        Some(strange) => format!("no answer in {waited}, but {strange}"),
    }
}

/// Nobody can guess it who has not seen the question.
fn random_id() -> u16 {
    let [high, low, ..] = crate::sys::random();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dns::Type;
    use std::net::UdpSocket;

    /// Answers `count` questions with "no such record", or with a failure of the server.
    fn server(count: usize, code: u8) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let place = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buf = [0; 512];
            for _ in 0..count {
                let (n, from) = socket.recv_from(&mut buf).unwrap();
                buf[2] |= 0x80;
                buf[3] = code;
                socket.send_to(&buf[..n], from).unwrap();
            }
        });
        place
    }

    #[test]
    fn a_server_that_fails_makes_room_for_the_next_and_is_not_asked_first_again() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (failing, good) = (server(1, 2), server(2, 0));
        let report = Report::new(0, true);
        let wait = Some(Duration::from_secs(30));
        let mut asking = Asking::new(vec![closed, failing, good], wait, &report).unwrap();
        let question = Question { name: Name::new("a.example").unwrap(), kind: Type::Mx };
        for _ in 0..2 {
            let answer = asking.resolve(&question).unwrap();
            assert_eq!(answer, Answer { exists: true, aliases: vec![], records: vec![] });
            assert_eq!(asking.servers, [good, closed, failing]);
        }
    }

    #[test]
    fn where_none_answers_each_has_its_reason() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failing = server(1, 2);
        let report = Report::new(0, true);
        let mut asking = Asking::new(vec![closed, failing], None, &report).unwrap();
        let question = Question { name: Name::new("a.example").unwrap(), kind: Type::A };
        let Unanswered(why) = asking.resolve(&question).unwrap_err();
        let expected =
            format!("{closed}: connection refused; {failing}: SERVFAIL: it cannot find out");
        assert_eq!(why, expected);
    }
}
