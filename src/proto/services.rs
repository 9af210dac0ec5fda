//! The oldest services of the Internet, which a listener has built in (`--serve`): echo (RFC 862),
//! discard (863), chargen (864), daytime (867) and time (868), over streams and datagrams.

use super::{Machine, Ports, ProtocolError, Step};
use core::convert::Infallible;

/// Seconds from 1900, where RFC 868 begins to count, to 1970.
const FROM_1900: u64 = 2_208_988_800;

/// The characters of a line of chargen, and how many of them go round.
const WIDTH: u8 = 72;
const FIRST: u8 = b' ';
const CHARACTERS: u8 = 95;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says what it hears.
    Echo,
    /// Says nothing.
    Discard,
    /// Says lines of characters for as long as somebody listens.
    Chargen,
    /// Says the time, for people.
    Daytime,
    /// Says the time: four octets, the seconds since 1900.
    Time,
}

/// One of them, for one caller.
#[derive(Debug)]
pub struct Service {
    kind: Kind,
    /// One datagram is one question.
    datagrams: bool,
    /// What daytime and time say.
    answer: Vec<u8>,
    /// Questions without a word in them.
    empty: u32,
    /// Which line comes next.
    line: u8,
}

impl Service {
    /// `now` in seconds since 1970, `day` as a person reads it.
    pub fn new(kind: Kind, datagrams: bool, now: u64, day: &str) -> Self {
        let answer = match kind {
            Kind::Daytime => format!("{day}\r\n").into_bytes(),
            // It starts again in 2036: four octets are what there is.
            Kind::Time => ((now + FROM_1900) & 0xffff_ffff).to_be_bytes()[4..].to_vec(),
            Kind::Echo | Kind::Discard | Kind::Chargen => Vec::new(),
        };
        Self { kind, datagrams, answer, empty: 0, line: 0 }
    }

    /// An empty datagram has come: it asks like any other.
    pub fn knock(&mut self) {
        self.empty = self.empty.saturating_add(1);
    }

    /// The next line of chargen.
    fn characters(&mut self) -> Vec<u8> {
        let start = self.line;
        self.line = (start + 1) % CHARACTERS;
        let around = (0..WIDTH).map(|at| FIRST + (start + at) % CHARACTERS);
        around.chain(*b"\r\n").collect()
    }

    fn talk(&mut self, ports: &mut Ports<'_>) -> Step<Infallible> {
        match self.kind {
            Kind::Echo => {
                let n = ports.peer.rest().len().min(ports.to_peer.room());
                ports.to_peer.push(ports.peer.eat(n));
            }
            Kind::Discard => {
                ports.peer.eat(ports.peer.rest().len());
            }
            Kind::Chargen => {
                ports.peer.eat(ports.peer.rest().len());
                while ports.to_peer.room() > 0 {
                    let line = self.characters();
                    ports.to_peer.push(&line);
                }
                // Who says nothing more may listen for ever.
                return Step::Wait;
            }
            Kind::Daytime | Kind::Time => {
                ports.peer.eat(ports.peer.rest().len());
                ports.to_peer.push(&self.answer);
                return Step::Done;
            }
        }
        if ports.peer.is_over() { Step::Done } else { Step::Wait }
    }

    /// One question is what is on the port: the dialogue sees to that.
    fn answer(&mut self, ports: &mut Ports<'_>) {
        let empty = std::mem::take(&mut self.empty);
        let question = ports.peer.eat(ports.peer.rest().len());
        if question.is_empty() && empty == 0 {
            return;
        }
        match self.kind {
            Kind::Echo => ports.to_peer.push(question),
            Kind::Discard => {}
            Kind::Chargen => {
                let line = self.characters();
                ports.to_peer.push(&line);
            }
            Kind::Daytime | Kind::Time => ports.to_peer.push(&self.answer),
        }
    }
}

impl Machine for Service {
    type Event = Infallible;

    fn step(&mut self, ports: &mut Ports<'_>) -> Result<Step<Infallible>, ProtocolError> {
        if !self.datagrams {
            return Ok(self.talk(ports));
        }
        self.answer(ports);
        Ok(Step::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::play::play;
    use crate::proto::{Input, Output};

    fn service(kind: Kind, datagrams: bool) -> Service {
        Service::new(kind, datagrams, 1_795_521_600, "Tue Nov 24 12:00:00 2026")
    }

    #[test]
    fn echo_says_what_it_hears_and_discard_nothing() {
        for chunk in 1..6 {
            let played = play(&mut service(Kind::Echo, false), b"hello", b"", chunk).unwrap();
            assert_eq!(played.to_peer, b"hello");
            let played = play(&mut service(Kind::Discard, false), b"hello", b"", chunk).unwrap();
            assert_eq!((played.to_peer, played.peer_left), (vec![], vec![]));
        }
    }

    #[test]
    fn the_time_is_said_at_once() {
        let played = play(&mut service(Kind::Daytime, false), b"", b"", 1).unwrap();
        assert_eq!(played.to_peer, b"Tue Nov 24 12:00:00 2026\r\n");
        let played = play(&mut service(Kind::Time, false), b"", b"", 1).unwrap();
        // date -d 2026-11-24T12:00Z +%s, and the 70 years of RFC 868.
        assert_eq!(played.to_peer, 4_004_510_400_u32.to_be_bytes());
        let mut late = Service::new(Kind::Time, false, (1 << 32) - FROM_1900, "");
        assert_eq!(play(&mut late, b"", b"", 1).unwrap().to_peer, [0; 4]);
    }

    #[test]
    fn chargen_goes_round_as_the_rfc_has_it() {
        let mut chargen = service(Kind::Chargen, false);
        let lines: Vec<_> = (0..96).map(|_| chargen.characters()).collect();
        let first =
            " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n";
        assert_eq!(String::from_utf8(lines[0].clone()).unwrap(), first);
        assert!(lines[1].starts_with(b"!\"#") && lines[1].ends_with(b"fgh\r\n"));
        assert!(lines[94].starts_with(b"~ !") && lines[95] == lines[0]);
    }

    #[test]
    fn a_datagram_gets_one_answer_even_if_it_is_empty() {
        for (kind, expected) in [
            (Kind::Echo, &b"ask"[..]),
            (Kind::Discard, b""),
            (Kind::Daytime, b"Tue Nov 24 12:00:00 2026\r\n"),
        ] {
            let mut service = service(kind, true);
            let ask = |service: &mut Service, question: &[u8]| {
                let (mut said, mut shown) = (Vec::new(), Vec::new());
                let mut ended = (false, false);
                let step = service.step(&mut Ports {
                    peer: Input::new(question, false),
                    to_peer: Output::new(&mut said, 99, &mut ended.0),
                    user: Input::new(b"", false),
                    to_user: Output::new(&mut shown, 99, &mut ended.1),
                });
                assert_eq!(step, Ok(Step::Wait));
                said
            };
            assert_eq!(ask(&mut service, b"ask"), expected, "{kind:?}");
            assert_eq!(ask(&mut service, b""), b"");
            if kind == Kind::Daytime {
                service.knock();
                assert_eq!(ask(&mut service, b""), expected);
            }
        }
    }
}
