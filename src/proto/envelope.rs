//! What a list of messages shows of each: when, from whom, about what (RFC 5322, RFC 2047).

use mail_parser::{Address, MessageParser};

/// A header that is longer is cut: what a list shows stands before.
const MOST: usize = 64 * 1024;

/// What a list shows, as text on one line, empty where it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The date, as RFC 3339 writes it.
    pub date: String,
    /// Name and address.
    pub from: String,
    /// The subject.
    pub subject: String,
}

/// Gathers the header of a message.
#[derive(Debug, Default)]
pub struct Gatherer(Vec<u8>);

impl Gatherer {
    /// One more piece.
    pub fn add(&mut self, piece: &[u8]) {
        let room = MOST.saturating_sub(self.0.len());
        self.0.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// What it says.
    pub fn envelope(&self) -> Envelope {
        let parsed = MessageParser::default().parse_headers(&self.0);
        let Some(message) = parsed else { return Envelope::default() };
        let from = message.from().and_then(Address::first).map(|from| {
            let address = from.address.as_deref().unwrap_or_default();
            match from.name.as_deref() {
                Some(name) if !name.is_empty() => format!("{name} <{address}>"),
                Some(_) | None => address.to_owned(),
            }
        });
        Envelope {
            date: message.date().map(|date| one_line(&date.to_rfc3339())).unwrap_or_default(),
            from: from.map(|from| one_line(&from)).unwrap_or_default(),
            subject: message.subject().map(one_line).unwrap_or_default(),
        }
    }
}

/// On one line, and no column of its own: a message must not make another line of a list.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_stays_on_its_line() {
        let mut gatherer = Gatherer::default();
        gatherer
            .add(b"From: =?utf-8?q?J=C3=BCrg?= <j@x>\r\nSubject: a\r\n\tb =?utf-8?b?CkMJ?=\r\n");
        gatherer.add(b"Date: Tue, 24 Nov 2026 12:00:00 +0100\r\n\r\n");
        let envelope = gatherer.envelope();
        assert_eq!(envelope.from, "Jürg <j@x>");
        assert_eq!(envelope.date, "2026-11-24T12:00:00+01:00");
        assert!(envelope.subject.starts_with("a b") && !envelope.subject.contains(['\n', '\t']));
        assert_eq!(Gatherer::default().envelope(), Envelope::default());
    }
}
