//! Telnet's commands taken out of a text session, and every option refused (`-t`).
//!
//! RFC 854 (commands), RFC 855 (subnegotiation), RFC 1143 (when to answer). In scope: a session
//! without any option, in which a peer's command is never shown and our own 0xFF is never taken
//! for one. Out of scope: the options themselves, CR NUL, the data mark, and what the other
//! commands ask for (interrupt, erase, are you there).
//!
//! ```text
//! Text --IAC--> Command --WILL DO WONT DONT--> Verb --option--> Text
//!                  |  ^
//!                  |  '-- IAC: a byte 0xFF; any other command: dropped; both back to Text
//!                  '--SB--> Sub --IAC--> SubCommand --SE--> Text
//!                            ^----any other---'
//! ```

use super::text::Crlf;
use super::{Input, Machine, Output, Ports, ProtocolError, Step};
use std::convert::Infallible;

const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// Where the peer's stream stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Text,
    /// After IAC.
    Command,
    /// After a verb; the option comes next, and this verb answers it.
    Verb {
        answer: Option<u8>,
    },
    /// In a subnegotiation, of which nothing is kept.
    Sub,
    /// After IAC in it.
    SubCommand,
}

/// The machine of `-t`.
///
/// Once the user's input has ended, our stream has too, and nothing is answered any more.
#[derive(Debug)]
pub struct Telnet {
    crlf: Option<Crlf>,
    place: Place,
    /// Answers that found no room, each once: 512 at most. `None` once our stream has ended.
    owed: Option<Vec<[u8; 3]>>,
}

impl Telnet {
    /// With `crlf`, LF becomes CR LF on its way to the peer.
    pub fn new(crlf: bool) -> Self {
        Self { crlf: crlf.then(Crlf::default), place: Place::Text, owed: Some(Vec::new()) }
    }

    /// The peer's text without its commands, and the answers to them, of about `room` bytes: for
    /// who has no machine to drive, but many peers.
    pub fn filter(&mut self, peer: &[u8], text: &mut Vec<u8>, answers: &mut Vec<u8>, room: usize) {
        let (mut ended, mut closed) = (false, false);
        let mut to_peer = Output::new(answers, room, &mut ended);
        self.repay(&mut to_peer);
        let mut to_user = Output::new(text, usize::MAX, &mut closed);
        self.hear(&mut Input::new(peer, false), &mut to_user, &mut to_peer);
    }

    /// Makes our own bytes fit to be sent: 0xFF is doubled (RFC 854).
    pub fn quote(words: &mut Vec<u8>) {
        if until_iac(words) == words.len() {
            return;
        }
        let plain = std::mem::take(words);
        for piece in plain.split_inclusive(|&b| b == IAC) {
            words.extend_from_slice(piece);
            if piece.ends_with(&[IAC]) {
                words.push(IAC);
            }
        }
    }

    /// Shows the peer's text and answers its commands.
    fn hear(&mut self, peer: &mut Input<'_>, to_user: &mut Output<'_>, to_peer: &mut Output<'_>) {
        while to_user.room() > 0 && !peer.rest().is_empty() {
            self.place = match self.place {
                Place::Text => match until_iac(peer.rest()).min(to_user.room()) {
                    0 => {
                        peer.eat(1);
                        Place::Command
                    }
                    n => {
                        to_user.push(peer.eat(n));
                        Place::Text
                    }
                },
                Place::Command => match peer.eat(1)[0] {
                    IAC => {
                        to_user.push(&[IAC]);
                        Place::Text
                    }
                    WILL => Place::Verb { answer: Some(DONT) },
                    DO => Place::Verb { answer: Some(WONT) },
                    // All options are off and stay off: "won't" and "don't" change nothing, and
                    // what changes nothing is not acknowledged (RFC 854, RFC 1143 section 7).
                    // ncat does, and with a peer like itself would do so for ever.
                    WONT | DONT => Place::Verb { answer: None },
                    SB => Place::Sub,
                    _ => Place::Text,
                },
                Place::Verb { answer } => {
                    let option = peer.eat(1)[0];
                    if let Some(verb) = answer {
                        self.answer([IAC, verb, option], to_peer);
                    }
                    Place::Text
                }
                Place::Sub => match until_iac(peer.rest()) {
                    0 => {
                        peer.eat(1);
                        Place::SubCommand
                    }
                    n => {
                        peer.eat(n);
                        Place::Sub
                    }
                },
                Place::SubCommand => match peer.eat(1)[0] {
                    SE => Place::Text,
                    _ => Place::Sub,
                },
            };
        }
        if peer.is_over() {
            to_user.end();
        }
    }

    /// Answers now or, where there is no room, later. To wait for room instead could be for ever:
    /// the peer may be waiting for us to read.
    fn answer(&mut self, answer: [u8; 3], to_peer: &mut Output<'_>) {
        let Some(owed) = &mut self.owed else { return };
        if to_peer.room() > 0 {
            to_peer.push(&answer);
        } else if !owed.contains(&answer) {
            // One "don't" is enough for a peer that has asked twice without reading.
            owed.push(answer);
        }
    }

    /// Gives the answers for which there was no room.
    fn repay(&mut self, to_peer: &mut Output<'_>) {
        let Some(owed) = &mut self.owed else { return };
        let paid = owed.len().min(to_peer.room().div_ceil(3));
        for answer in owed.drain(..paid) {
            to_peer.push(&answer);
        }
    }

    /// Sends the user's text.
    fn speak(&mut self, user: &mut Input<'_>, to_peer: &mut Output<'_>) {
        let n = user.rest().len().min(to_peer.room());
        for piece in user.eat(n).split_inclusive(|&b| b == IAC) {
            match &mut self.crlf {
                Some(crlf) => to_peer.with(|out| crlf.encode(piece, out)),
                None => to_peer.push(piece),
            }
            if piece.ends_with(&[IAC]) {
                to_peer.push(&[IAC]);
            }
        }
        if user.is_over() && self.owed.as_ref().is_none_or(Vec::is_empty) {
            self.owed = None;
            to_peer.end();
        }
    }
}

impl Machine for Telnet {
    type Event = Infallible;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Infallible>, ProtocolError> {
        self.repay(&mut ports.to_peer);
        self.hear(&mut ports.peer, &mut ports.to_user, &mut ports.to_peer);
        self.speak(&mut ports.user, &mut ports.to_peer);
        Ok(Step::Wait)
    }
}

/// How many bytes come before the first IAC.
fn until_iac(bytes: &[u8]) -> usize {
    memchr::memchr(IAC, bytes).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::play;

    const NOP: u8 = 241;
    const ECHO: u8 = 1;
    const TERMINAL_TYPE: u8 = 24;

    /// One step with what is given; `room` towards the peer. What was eaten of the peer, what
    /// was said to it, whether our stream ended.
    fn step(machine: &mut Telnet, peer: &[u8], room: usize, eof: bool) -> (usize, Vec<u8>, bool) {
        let (mut to_peer, mut to_user) = (vec![], vec![]);
        let (mut peer_ended, mut user_ended) = (false, false);
        let mut ports = Ports {
            peer: Input::new(peer, false),
            to_peer: Output::new(&mut to_peer, room, &mut peer_ended),
            user: Input::new(b"", eof),
            to_user: Output::new(&mut to_user, 1024, &mut user_ended),
        };
        assert_eq!(machine.step(&mut ports), Ok(Step::Wait));
        let eaten = ports.peer.eaten();
        (eaten, to_peer, peer_ended)
    }

    #[test]
    fn commands_leave_the_text_and_requests_are_refused_however_they_are_cut() {
        // What comes, what is shown of it, what is answered.
        let script: &[[&[u8]; 3]] = &[
            [b"login", b"login", b""],
            [&[IAC, WILL, ECHO], b"", &[IAC, DONT, ECHO]],
            [&[IAC, DO, TERMINAL_TYPE], b"", &[IAC, WONT, TERMINAL_TYPE]],
            [b": ", b": ", b""],
            [&[IAC, WONT, ECHO, IAC, DONT, TERMINAL_TYPE], b"", b""],
            [&[b'a', IAC, IAC, IAC, IAC, b'b'], &[b'a', IAC, IAC, b'b'], b""],
            [&[IAC, NOP, b'c', IAC, SE, IAC, 239, IAC, b'x'], b"c", b""],
            [&[IAC, SB, TERMINAL_TYPE, 1, IAC, SE, b'd'], b"d", b""],
            [&[IAC, SB, 31, IAC, IAC, SE, 0, b'\n', IAC, SE], b"", b""],
            // IAC is a byte of the option here, and so is every verb.
            [&[IAC, WILL, IAC, IAC, DO, WILL], b"", &[IAC, DONT, IAC, IAC, WONT, WILL]],
            // Asked again, answered again.
            [&[IAC, WILL, ECHO, IAC, WILL, ECHO], b"", &[IAC, DONT, ECHO, IAC, DONT, ECHO]],
            [&[0, 0xfe, b'\r', 0, b'\r', b'\n'], &[0, 0xfe, b'\r', 0, b'\r', b'\n'], b""],
        ];
        let join = |column: usize| script.iter().flat_map(|row| row[column]).copied().collect();
        let [peer, shown, answers]: [Vec<u8>; 3] = [join(0), join(1), join(2)];
        for chunk in 1..=peer.len() {
            let played = play(&mut Telnet::new(false), &peer, b"", chunk).unwrap();
            assert_eq!(played.to_user, shown, "{chunk}");
            assert_eq!(played.to_peer, answers, "{chunk}");
            assert!(played.to_peer_ended && played.to_user_ended);
            assert!(played.peer_left.is_empty());
        }
    }

    #[test]
    fn a_request_split_over_two_segments_is_still_answered() {
        // ncat 7.93 printed it, 7.991 printed its second half.
        let mut machine = Telnet::new(false);
        assert_eq!(step(&mut machine, &[IAC], 9, false), (1, vec![], false));
        assert_eq!(step(&mut machine, &[DO], 9, false), (1, vec![], false));
        let (eaten, said, _) = step(&mut machine, &[TERMINAL_TYPE], 9, false);
        assert_eq!((eaten, said), (1, vec![IAC, WONT, TERMINAL_TYPE]));
    }

    #[test]
    fn a_stream_may_end_anywhere() {
        let peer =
            [b'a', IAC, IAC, IAC, WILL, ECHO, IAC, NOP, IAC, SB, 1, 2, IAC, IAC, IAC, SE, b'b'];
        for length in 0..=peer.len() {
            for chunk in 1..=length.max(1) {
                let played = play(&mut Telnet::new(true), &peer[..length], b"", chunk).unwrap();
                assert!(b"a\xffb".starts_with(&played.to_user), "{length} {chunk} {played:?}");
                assert!(played.to_user_ended && played.peer_left.is_empty());
            }
        }
    }

    #[test]
    fn an_endless_subnegotiation_is_eaten_and_not_kept() {
        let mut peer = vec![IAC, SB, TERMINAL_TYPE];
        peer.extend(std::iter::repeat_n([b'x', IAC, IAC], 50_000).flatten());
        let mut machine = Telnet::new(false);
        let played = play(&mut machine, &peer, b"hi", 1024).unwrap();
        assert_eq!((played.to_user, played.to_peer), (vec![], b"hi".to_vec()));
        assert!(played.to_user_ended && played.peer_left.is_empty());
    }

    #[test]
    fn the_users_0xff_is_doubled_and_lf_translated_however_they_are_cut() {
        let user = b"a\nb\xff\n\xff\xff\r\n\r\xff\n\r\n";
        for chunk in 1..=user.len() {
            let played = play(&mut Telnet::new(true), b"", user, chunk).unwrap();
            let expected = b"a\r\nb\xff\xff\r\n\xff\xff\xff\xff\r\n\r\xff\xff\r\n\r\n";
            assert_eq!(played.to_peer, expected, "{chunk}");
            let played = play(&mut Telnet::new(false), b"", user, chunk).unwrap();
            let expected = b"a\nb\xff\xff\n\xff\xff\xff\xff\r\n\r\xff\xff\n\r\n";
            assert_eq!(played.to_peer, expected, "{chunk}");
        }
    }

    #[test]
    fn every_byte_passes_between_two_of_us() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for chunk in [1, 2, 3, 7, 512] {
            let sent = play(&mut Telnet::new(false), b"", &all, chunk).unwrap().to_peer;
            let got = play(&mut Telnet::new(false), &sent, b"", chunk).unwrap();
            assert!(got.to_user == all && got.to_peer.is_empty(), "{chunk}");
        }
    }

    #[test]
    fn two_that_refuse_everything_fall_silent() {
        let requests: Vec<u8> = (0..=255).flat_map(|o| [IAC, WILL, o, IAC, DO, o]).collect();
        let answers = play(&mut Telnet::new(false), &requests, b"", 64).unwrap().to_peer;
        assert_eq!(answers.len(), requests.len());
        let more = play(&mut Telnet::new(false), &answers, b"", 64).unwrap();
        assert!(more.to_peer.is_empty() && more.to_user.is_empty(), "{more:?}");
    }

    #[test]
    fn a_peer_that_asks_and_does_not_read_costs_512_answers_at_most() {
        let flood: Vec<u8> = (0..=255).flat_map(|o| [IAC, WILL, o, IAC, DO, o]).collect();
        let mut machine = Telnet::new(false);
        for _ in 0..10 {
            assert_eq!(step(&mut machine, &flood, 0, false), (flood.len(), vec![], false));
        }
        assert_eq!(machine.owed.as_ref().map(Vec::len), Some(512));
        // Our stream does not end before they are given, in the order of the questions.
        let (_, first, ended) = step(&mut machine, b"", 7, true);
        assert_eq!((&first[..], ended), (&[255, 254, 0, 255, 252, 0, 255, 254, 1][..], false));
        let (_, rest, ended) = step(&mut machine, b"", 4096, true);
        assert_eq!((rest.len(), ended), (509 * 3, true));
    }

    #[test]
    fn nothing_is_answered_once_our_stream_has_ended() {
        let mut machine = Telnet::new(false);
        let request = [IAC, DO, ECHO];
        // What comes together with the end is still answered.
        let (_, said, ended) = step(&mut machine, &request, 9, true);
        assert_eq!((said, ended), (vec![IAC, WONT, ECHO], true));
        assert_eq!(step(&mut machine, &request, 9, true), (3, vec![], true));
    }
}
