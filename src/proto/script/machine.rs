//! Plays a script.

use super::{Piece, Script, What};
use crate::proto::{Machine, Ports, ProtocolError, Step};

/// What may wait unread for a pattern.
const UNREAD: usize = 1024 * 1024;

/// Milliseconds, as all times here. A match that ends where the input does might grow: so long it is left to.
const QUIET: u64 = 50;

/// What has to come may take so long, unless the script says otherwise.
const PATIENCE: u64 = 30_000;

/// Steps without a byte in between, before a script is taken to go round in circles.
const IN_A_ROW: usize = 10_000;

/// How much of what came instead is shown.
const SHOWN: usize = 200;

/// What only the mode can do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is to be reset.
    Reset,
}

/// A script that is being played.
#[derive(Debug)]
pub struct Player {
    script: Script,
    at: usize,
    counters: Vec<u64>,
    groups: Vec<Vec<u8>>,
    /// What has come and was not matched.
    unread: Vec<u8>,
    /// The peer's input has ended.
    ended: bool,
    patience: u64,
    /// The time, as it was told last.
    now: u64,
    /// When the step that is under way began.
    begun: Option<u64>,
    /// A match is held since then, when so much was unread.
    held: Option<(u64, usize)>,
    in_a_row: usize,
    over: bool,
}

enum Came {
    Matched,
    Not,
}

impl Player {
    /// From the first step.
    pub fn new(script: Script) -> Self {
        Self {
            counters: vec![0; script.loops],
            script,
            at: 0,
            groups: Vec::new(),
            unread: Vec::new(),
            ended: false,
            patience: PATIENCE,
            now: 0,
            begun: None,
            held: None,
            in_a_row: 0,
            over: false,
        }
    }

    /// Tells the time, in milliseconds from anywhere.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// When it has to be driven although nothing has come, in the same count.
    pub fn deadline(&self) -> Option<u64> {
        let begun = self.begun?;
        let held = self.held.map(|(since, _)| since + QUIET);
        let until = match self.script.steps.get(self.at)?.what {
            What::Sleep(time) => begun.saturating_add(time),
            What::Expect(_) | What::Line(_) => begun.saturating_add(self.patience),
            What::Send(_) | What::Timeout(_) | What::StartTls | What::Close | What::Reset => {
                return None;
            }
            What::Jump(_) | What::Enter { .. } | What::Again { .. } => return None,
        };
        Some(held.map_or(until, |held| held.min(until)))
    }

    /// Has the last step been taken?
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn next(&mut self, at: usize) {
        self.at = at;
        self.begun = None;
        self.held = None;
    }

    fn unmet(&self, why: &'static str) -> ProtocolError {
        let step = self.script.steps.get(self.at).map_or(String::new(), |step| step.text.clone());
        let came = self.unread[..self.unread.len().min(SHOWN)].to_vec();
        ProtocolError::Unmet { step, came, why }
    }

    /// Looks for what the step wants.
    fn look(&mut self) -> Result<Came, ProtocolError> {
        match &self.script.steps[self.at].what {
            What::Line(line) => {
                let Some(end) = memchr::memchr(b'\n', &self.unread) else {
                    // The last line of a record may have had no end.
                    let is_it = self.ended && self.unread == *line && !line.is_empty();
                    if is_it {
                        self.unread.clear();
                        return Ok(Came::Matched);
                    }
                    return Ok(Came::Not);
                };
                let came = &self.unread[..end];
                if came.strip_suffix(b"\r").unwrap_or(came) != line {
                    return Err(self.unmet("something else came"));
                }
                self.unread.drain(..=end);
                Ok(Came::Matched)
            }
            What::Expect(regex) => {
                let Some(found) = regex.captures(&self.unread) else { return Ok(Came::Not) };
                let end = found.get(0).map_or(0, |whole| whole.end());
                let is_last = end == self.unread.len() && !self.unread.ends_with(b"\n");
                if is_last && !self.ended {
                    let len = self.unread.len();
                    let since = match self.held {
                        Some((since, held)) if held == len => since,
                        Some(_) | None => self.now,
                    };
                    self.held = Some((since, len));
                    if self.now < since + QUIET {
                        return Ok(Came::Not);
                    }
                }
                let group = |g: Option<regex::bytes::Match<'_>>| {
                    g.map_or_else(Vec::new, |g| g.as_bytes().to_vec())
                };
                self.groups = found.iter().map(group).collect();
                self.unread.drain(..end);
                Ok(Came::Matched)
            }
            What::Send(_) | What::Sleep(_) | What::Timeout(_) | What::StartTls | What::Close => {
                Ok(Came::Not)
            }
            What::Reset | What::Jump(_) | What::Enter { .. } | What::Again { .. } => Ok(Came::Not),
        }
    }

    /// The text to send. What a peer said cannot end a line of ours.
    fn text(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => text.extend(bytes),
                Piece::Group(n) => {
                    let group = self.groups.get(*n).map_or(&[][..], Vec::as_slice);
                    text.extend(group.iter().filter(|byte| !byte.is_ascii_control()));
                }
            }
        }
        text
    }

    /// Takes over what has come; everything is shown as it comes.
    fn hear(&mut self, ports: &mut Ports<'_>) {
        let room = (UNREAD - self.unread.len()).min(ports.to_user.room());
        let wanted = ports.peer.rest().len().min(room);
        let bytes = ports.peer.eat(wanted);
        self.unread.extend(bytes);
        ports.to_user.push(bytes);
        self.ended = ports.peer.is_over();
    }
}

impl Machine for Player {
    type Event = Event;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Event>, ProtocolError> {
        loop {
            self.in_a_row += 1;
            if self.in_a_row > IN_A_ROW {
                return Err(self.unmet("the script goes round in circles"));
            }
            let script = self.script.clone();
            let Some(step) = script.steps.get(self.at) else {
                self.hear(ports);
                self.over = true;
                return Ok(Step::Done);
            };
            match &step.what {
                What::Send(pieces) => {
                    if ports.to_peer.room() == 0 {
                        self.in_a_row = 0;
                        return Ok(Step::Wait);
                    }
                    ports.to_peer.push(&self.text(pieces));
                    self.next(self.at + 1);
                    self.in_a_row = 0;
                }
                What::Expect(_) | What::Line(_) => {
                    self.hear(ports);
                    let unread = self.unread.len();
                    let begun = *self.begun.get_or_insert(self.now);
                    match self.look()? {
                        Came::Matched => {
                            self.next(self.at + 1);
                            if self.unread.len() < unread {
                                self.in_a_row = 0;
                            }
                        }
                        Came::Not if self.ended => {
                            return Err(self.unmet("the peer's input ended"));
                        }
                        Came::Not if self.unread.len() >= UNREAD => {
                            return Err(self.unmet("1 MiB came without it"));
                        }
                        Came::Not if self.now >= begun.saturating_add(self.patience) => {
                            return Err(self.unmet("it did not come in time"));
                        }
                        Came::Not => {
                            self.in_a_row = 0;
                            return Ok(Step::Wait);
                        }
                    }
                }
                What::Sleep(time) => {
                    self.in_a_row = 0;
                    let begun = *self.begun.get_or_insert(self.now);
                    if self.now < begun.saturating_add(*time) {
                        return Ok(Step::Wait);
                    }
                    self.next(self.at + 1);
                }
                What::Timeout(time) => {
                    self.patience = *time;
                    self.next(self.at + 1);
                }
                What::StartTls => {
                    // What was said in the clear must not be taken for what TLS protects.
                    if !self.unread.is_empty() {
                        return Err(self.unmet("something came before TLS, and was not expected"));
                    }
                    self.next(self.at + 1);
                    return Ok(Step::StartTls);
                }
                What::Close => self.next(self.script.steps.len()),
                What::Reset => {
                    self.next(self.script.steps.len());
                    return Ok(Step::Event(Event::Reset));
                }
                What::Jump(to) => self.next(*to),
                What::Enter { slot, times, end } => {
                    self.counters[*slot] = *times;
                    self.next(if *times == 0 { *end } else { self.at + 1 });
                }
                What::Again { slot, start } => {
                    let left = &mut self.counters[*slot];
                    *left = left.saturating_sub(1);
                    let goes_on = *left > 0;
                    self.next(if goes_on { *start } else { self.at + 1 });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{grammar, transcript};
    use super::*;
    use crate::proto::play::play;

    const TALK: &str = "send \"220 hi\\r\\n\"\nexpect /^EHLO (\\S+)\\r\\n/\n\
                        send \"250 $1, $2hello\\r\\n\"\nrepeat 2\nexpect /^NOOP$/\n\
                        send \"250 ok\\r\\n\"\nend\nexpect /QUIT/\nclose\nsend \"never\"\n";
    const SAID: &[u8] = b"EHLO me\x1b[m\r\nNOOP\r\nNOOP\r\nQUIT\r\n";

    #[test]
    fn a_script_is_played_however_the_input_is_cut() {
        for chunk in 1..=SAID.len() {
            let mut player = Player::new(grammar::parse(TALK, "f").unwrap());
            let played = play(&mut player, SAID, b"", chunk).unwrap();
            let said = b"220 hi\r\n250 me[m, hello\r\n250 ok\r\n250 ok\r\n";
            assert_eq!(played.to_peer.escape_ascii().to_string(), said.escape_ascii().to_string());
            assert!(player.is_over());
        }
    }

    #[test]
    fn a_script_that_is_cut_short_says_which_step_was_not_met() {
        let last = SAID.len() - "QUIT\r\n".len();
        for end in 0..last {
            let mut player = Player::new(grammar::parse(TALK, "f").unwrap());
            let (why, _) = play(&mut player, &SAID[..end], b"", 3).unwrap_err();
            assert!(matches!(why, ProtocolError::Unmet { .. }), "{end}: {why:?}");
            assert!(!player.is_over());
        }
        let mut player = Player::new(grammar::parse("expect /yes/", "f").unwrap());
        let (why, _) = play(&mut player, b"no\r\n", b"", 9).unwrap_err();
        let (step, came) = ("line 1: expect /yes/".to_owned(), b"no\r\n".to_vec());
        assert_eq!(why, ProtocolError::Unmet { step, came, why: "the peer's input ended" });
    }

    #[test]
    fn a_record_is_played_from_either_side() {
        let record = "0.000 S: 220 hi\n0.100 C: QUIT\n0.200 S: 221 bye\n";
        let (server, client) = (b"220 hi\r\n221 bye\r\n", b"QUIT\r\n");
        for chunk in 1..=server.len() {
            let mut player = Player::new(transcript::parse(record, "f", false).unwrap());
            assert_eq!(play(&mut player, b"QUIT\n", b"", chunk).unwrap().to_peer, server);
            let mut player = Player::new(transcript::parse(record, "f", true).unwrap());
            assert_eq!(play(&mut player, server, b"", chunk).unwrap().to_peer, client);
        }
        let mut player = Player::new(transcript::parse(record, "f", false).unwrap());
        let (why, _) = play(&mut player, b"QUIT now\r\n", b"", 2).unwrap_err();
        assert!(why.to_string().contains("something else came"), "{why}");
    }

    #[test]
    fn time_is_what_it_is_told() {
        let script = grammar::parse("sleep 2s\ntimeout 3s\nexpect /x/", "f").unwrap();
        let mut player = Player::new(script);
        play(&mut player, b"", b"", 1).unwrap();
        assert_eq!(player.deadline(), Some(2_000));
        player.set_now(2_000);
        let mut bytes = (Vec::new(), Vec::new());
        let mut ended = (false, false);
        let mut step = |player: &mut Player, peer: &[u8]| {
            player.step(&mut Ports {
                peer: crate::proto::Input::new(peer, false),
                to_peer: crate::proto::Output::new(&mut bytes.0, 99, &mut ended.0),
                user: crate::proto::Input::new(b"", false),
                to_user: crate::proto::Output::new(&mut bytes.1, 99, &mut ended.1),
            })
        };
        assert_eq!(step(&mut player, b""), Ok(Step::Wait));
        assert_eq!(player.deadline(), Some(5_000));
        // A match that ends where the input does is held for a moment.
        assert_eq!(step(&mut player, b"x"), Ok(Step::Wait));
        assert_eq!(player.deadline(), Some(2_000 + QUIET));
        player.set_now(2_000 + QUIET);
        assert_eq!(step(&mut player, b""), Ok(Step::Done));

        let mut player = Player::new(grammar::parse("timeout 3s\nexpect /x/", "f").unwrap());
        assert_eq!(step(&mut player, b"y"), Ok(Step::Wait));
        player.set_now(3_000);
        let why = step(&mut player, b"").unwrap_err();
        assert!(why.to_string().contains("did not come in time"), "{why}");
    }

    #[test]
    fn what_cannot_end_is_ended() {
        let mut player = Player::new(grammar::parse("label a\ngoto a", "f").unwrap());
        let (why, _) = play(&mut player, b"", b"", 1).unwrap_err();
        assert!(why.to_string().contains("goes round in circles"), "{why}");
        let mut player = Player::new(grammar::parse("expect /y/", "f").unwrap());
        let much = vec![b'x'; UNREAD + 1];
        let (why, _) = play(&mut player, &much, b"", UNREAD).unwrap_err();
        assert!(why.to_string().contains("1 MiB"), "{why}");
    }

    #[test]
    fn nothing_unexpected_may_come_before_tls() {
        let script = "expect /^STARTTLS\\r\\n/\nsend \"220 go\\r\\n\"\nstarttls";
        let mut player = Player::new(grammar::parse(script, "f").unwrap());
        assert!(play(&mut player, b"STARTTLS\r\nEHLO x\r\n", b"", 99).is_err());
        let mut player = Player::new(grammar::parse(script, "f").unwrap());
        assert_eq!(play(&mut player, b"STARTTLS\r\n", b"", 1).unwrap().to_peer, b"220 go\r\n");
    }
}
