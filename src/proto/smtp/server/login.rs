//! AUTH (RFC 4954).

use super::{Server, State};
use crate::proto::Ports;
use crate::proto::sasl::server::{Acceptance, Turn, offered};
use crate::proto::sasl::{Mechanism, decode, encode};

impl Server {
    pub(super) fn auth(&mut self, argument: &str, ports: &mut Ports<'_>) {
        let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
        let (name, initial) = (words.next().unwrap_or_default(), words.next());
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return self.reply(ports, 503, "5.5.1 Say EHLO first");
        }
        if self.login.is_some() {
            return self.reply(ports, 503, "5.5.1 You have logged in already");
        }
        if self.letter.is_some() {
            return self.reply(ports, 503, "5.5.1 There is a message on its way");
        }
        if name.is_empty() || words.next().is_some() {
            return self.reply(ports, 501, "5.5.4 It is AUTH MECHANISM or AUTH MECHANISM ANSWER");
        }
        let mechanism = Mechanism::named(name);
        let hidden = self.serving().hides("AUTH");
        let offered = offered(self.serving(), self.protected);
        let Some(mechanism) = mechanism.filter(|one| !hidden && offered.contains(one)) else {
            let is_plain = matches!(mechanism, Some(Mechanism::Plain | Mechanism::Login));
            return match is_plain && !self.protected && !hidden {
                true => self.reply(ports, 538, "5.7.11 This one needs TLS: say STARTTLS first"),
                false => self.reply(ports, 504, "5.5.4 This mechanism is not known here"),
            };
        };
        let is_plain = matches!(mechanism, Mechanism::Plain | Mechanism::Login);
        if is_plain && !self.protected {
            self.blame("a password in the clear");
        }
        let initial = match initial {
            None => None,
            // Nothing, and not: no answer (RFC 4954 §4).
            Some("=") => Some(Vec::new()),
            Some(initial) => match decode(initial.as_bytes()) {
                Some(initial) => Some(initial),
                None => return self.reply(ports, 501, "5.5.2 This answer is no base64"),
            },
        };
        let serving = self.serving();
        let mut acceptance =
            Acceptance::new(mechanism, &serving.accounts, &serving.nonce, &serving.host);
        let turn = acceptance.begin(initial.as_deref());
        self.login_turn(acceptance.into(), turn, ports);
    }

    /// A line that answers a challenge.
    pub(super) fn answer_login(&mut self, line: &[u8], ports: &mut Ports<'_>) {
        let State::Login(mut acceptance) = std::mem::replace(&mut self.state, State::Command)
        else {
            return;
        };
        if line == b"*" {
            return self.reply(ports, 501, "5.7.0 The login is called off");
        }
        match decode(line) {
            Some(response) => {
                let turn = acceptance.respond(&response);
                self.login_turn(acceptance, turn, ports);
            }
            None => self.reply(ports, 501, "5.5.2 This answer is no base64"),
        }
    }

    fn login_turn(&mut self, acceptance: Box<Acceptance>, turn: Turn, ports: &mut Ports<'_>) {
        match turn {
            Turn::Challenge(octets) => {
                self.state = State::Login(acceptance);
                self.reply(ports, 334, &encode(&octets));
            }
            Turn::Done(user) => {
                let mechanism = acceptance.mechanism().name();
                self.story(format!("logged in as {} by {mechanism}", user.escape_debug()));
                self.login = Some((user, mechanism));
                self.reply(ports, 235, "2.7.0 You have logged in");
            }
            Turn::Failed(why) => {
                self.story(format!("a login was refused: {why}"));
                self.reply(ports, 535, "5.7.8 Wrong user or password");
            }
        }
    }
}
