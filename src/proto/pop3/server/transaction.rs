//! The TRANSACTION state (RFC 1939 §5), and the UPDATE state that QUIT leads to (§6).

use super::command::Command;
use super::maildrop::{Maildrop, code};
use super::outgoing::{Outgoing, Table, lie};
use super::{Service, State};
use crate::proto::Ports;
use crate::proto::serving::Event;

impl Service {
    pub(super) fn transact(
        &mut self,
        ports: &mut Ports<'_>,
        mut maildrop: Maildrop,
        command: Command<'_>,
    ) {
        let lies = self.spoil.lies;
        let told = |size| if lies { lie(size) } else { size };
        let asked = command.message();
        let index = asked.map(|number| maildrop.index(number));
        match (command, index.unwrap_or_default()) {
            (_, None) if asked.is_some() => self.err(ports, None, "there is no such message"),
            (Command::Stat, _) => {
                let (count, size) = maildrop.count();
                self.ok(ports, &format!("{count} {}", told(size)));
            }
            (Command::List(_), Some(index)) => {
                let line = maildrop.scan_listing(index, told).unwrap_or_default();
                self.ok(ports, &line);
            }
            (Command::Uidl(_), Some(index)) => {
                let line = maildrop.unique_id_listing(index).unwrap_or_default();
                self.ok(ports, &line);
            }
            (Command::List(_), None) => {
                let (count, size) = maildrop.count();
                let table = Outgoing::table(Table::Sizes { lie: lies }, maildrop.len());
                self.list(ports, &format!("{} ({} octets)", messages(count), told(size)), table);
            }
            (Command::Uidl(_), None) => {
                let table = Outgoing::table(Table::Ids, maildrop.len());
                self.list(ports, "unique-id listing follows", table);
            }
            (Command::Retr(_), Some(index)) => match maildrop.read(index) {
                Ok(content) => {
                    let text = format!("{} octets", told(maildrop.size(index)));
                    self.list(ports, &text, Outgoing::message(content, None));
                }
                Err(refusal) => self.refused(ports, &refusal),
            },
            (Command::Top(_, lines), Some(index)) => match maildrop.read(index) {
                Ok(content) => {
                    let top = Outgoing::message(content, Some(lines));
                    self.list(ports, "top of message follows", top);
                }
                Err(refusal) => self.refused(ports, &refusal),
            },
            (Command::Dele(n), Some(index)) => {
                maildrop.mark(index);
                self.ok(ports, &format!("message {n} goes at QUIT"));
            }
            (Command::Rset, _) => {
                maildrop.unmark();
                let (count, size) = maildrop.count();
                self.ok(ports, &format!("{} ({size} octets)", messages(count)));
            }
            (Command::Noop, _) => self.ok(ports, "still here"),
            (Command::Capa, _) => self.capabilities(ports, true),
            (Command::Quit, _) => return self.update(ports, maildrop),
            (
                Command::User(_)
                | Command::Pass(_)
                | Command::Apop(..)
                | Command::Auth(..)
                | Command::Stls
                | Command::Utf8,
                _,
            ) => self.wrong(ports, "it is for before the login"),
            // Answered above: there is no such message.
            (Command::Retr(_) | Command::Top(..) | Command::Dele(_), None) => {}
        }
        self.state = State::Transaction(maildrop);
    }

    /// QUIT: only now what was marked is removed (RFC 1939 §6).
    fn update(&mut self, ports: &mut Ports<'_>, mut maildrop: Maildrop) {
        self.closing = true;
        match maildrop.update() {
            Ok(0) => self.ok(ports, "good-bye"),
            Ok(count) => {
                let deleted = messages(count);
                self.story(format!("{:?} has deleted {deleted}", maildrop.user()));
                self.events.push_back(Event::Changed);
                self.ok(ports, &format!("good-bye, {deleted} deleted"));
            }
            Err(refusal) => {
                self.story(format!("what {:?} has marked stays: {refusal}", maildrop.user()));
                self.err(ports, Some(code(&refusal)), &format!("nothing is deleted: {refusal}"));
            }
        }
    }
}

/// So many messages, in words.
pub(super) fn messages(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}
