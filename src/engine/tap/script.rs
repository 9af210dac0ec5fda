//! Records that say who spoke, and when: `--output-format dialog` and `jsonl`.

use super::Way;
use crate::term::safe::quote;
use std::io::Write;

/// A line that is longer is written in pieces.
const LONGEST: usize = 64 * 1024;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `0.123 C: EHLO me`
    Dialog,
    /// `{"time":0.123,"from":"client","text":"EHLO me"}`
    Json,
}

/// Cuts what both sides say into lines, each with its speaker and its time.
#[derive(Debug)]
pub(super) struct Script {
    style: Style,
    /// We are the client: what is sent is the client's.
    client: bool,
    redact: Option<Redaction>,
    /// What has come of a line that is not whole, of those who were sent to and were heard.
    partial: [Vec<u8>; 2],
}

impl Script {
    pub(super) fn new(style: Style, client: bool, redact: bool) -> Self {
        let redact = redact.then(Redaction::default);
        Self { style, client, redact, partial: [Vec::new(), Vec::new()] }
    }

    /// The same for another conversation.
    pub(super) fn again(&self) -> Self {
        Self::new(self.style, self.client, self.redact.is_some())
    }

    /// One more chunk, at so many seconds.
    pub(super) fn add(&mut self, way: Way, bytes: &[u8], time: f64, out: &mut Vec<u8>) {
        let (mine, other) = match way {
            Way::Sent => (0, 1),
            Way::Heard => (1, 0),
        };
        // Whoever is answered has finished, whether or not a line end said so. Half a line that
        // is to be masked is none, though: its other half would not be recognised.
        let is_client = (other == 0) == self.client;
        if self.redact.is_none() || !is_client {
            self.flush(other, time, out);
        }
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            self.partial[mine].extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial[mine].len() >= LONGEST {
                self.flush(mine, time, out);
            }
        }
    }

    /// What was left without a line end.
    pub(super) fn finish(&mut self, time: f64, out: &mut Vec<u8>) {
        self.flush(0, time, out);
        self.flush(1, time, out);
    }

    fn flush(&mut self, side: usize, time: f64, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.partial[side]);
        if line.is_empty() {
            return;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_client = (side == 0) == self.client;
        let masked = self.redact.as_mut().and_then(|redact| redact.mask(is_client, line));
        let line = masked.as_deref().unwrap_or(line);
        // Writing to a Vec cannot fail.
        let _ = match self.style {
            Style::Dialog => {
                let who = if is_client { 'C' } else { 'S' };
                writeln!(out, "{time:.3} {who}: {}", quote(line, usize::MAX))
            }
            Style::Json => {
                let who = if is_client { "client" } else { "server" };
                let text = json(&String::from_utf8_lossy(line));
                writeln!(out, "{{\"time\":{time:.3},\"from\":\"{who}\",\"text\":\"{text}\"}}")
            }
        };
    }
}

/// A JSON string's inside (RFC 8259 §7).
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Masks what people keep to themselves in SMTP, POP3 and IMAP.
#[derive(Debug, Default)]
struct Redaction {
    /// A login is under way: what the client says is part of it.
    login: bool,
}

impl Redaction {
    /// The line to write instead of this one.
    fn mask(&mut self, is_client: bool, line: &[u8]) -> Option<Vec<u8>> {
        if !is_client {
            // "+ ", "+" and 334 ask for more; anything else is the end of it, but for remarks.
            let more = line == b"+" || line.starts_with(b"+ ") || line.starts_with(b"334");
            self.login &= more || line.starts_with(b"* ");
            return None;
        }
        if self.login {
            return Some(b"****".to_vec());
        }
        let words: Vec<_> = line.split(|&b| b == b' ').collect();
        let upper = |n: usize| words.get(n).map(|w| w.to_ascii_uppercase()).unwrap_or_default();
        // In IMAP a tag comes first.
        let (keep, login) = match (upper(0).as_slice(), upper(1).as_slice()) {
            (b"AUTH", _) => (2, true),
            (b"PASS", _) => (1, false),
            (b"APOP", _) => (2, false),
            (_, b"LOGIN") => (2, true),
            (_, b"AUTHENTICATE") => (3, true),
            _ => return None,
        };
        self.login = login;
        if words.len() <= keep {
            return None;
        }
        Some([words[..keep].join(&b' ').as_slice(), b" ****"].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a dialogue looks like; C and S say what is behind their letters.
    fn script(style: Style, redact: bool, says: &[(Way, &str)]) -> String {
        let mut script = Script::new(style, true, redact);
        let mut out = Vec::new();
        for (n, (way, text)) in (0_u8..).zip(says) {
            script.add(*way, text.as_bytes(), f64::from(n) / 10.0, &mut out);
        }
        script.finish(9.0, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_has_its_speaker_and_its_time_however_it_is_cut() {
        let says = [
            (Way::Heard, "220 h"),
            (Way::Heard, "i\r\n250 x\n"),
            (Way::Sent, "EHLO \x1b\r\n"),
            (Way::Heard, "login: "),
            (Way::Sent, "ann"),
        ];
        assert_eq!(
            script(Style::Dialog, false, &says),
            "0.100 S: 220 hi\n0.100 S: 250 x\n0.200 C: EHLO \\x1b\n0.400 S: login: \n9.000 C: ann\n"
        );
        assert_eq!(
            script(Style::Json, false, &[(Way::Sent, "a\"b\\\t\n")]),
            "{\"time\":0.000,\"from\":\"client\",\"text\":\"a\\\"b\\\\\\u0009\"}\n"
        );
    }

    #[test]
    fn a_server_is_the_server() {
        let mut script = Script::new(Style::Dialog, false, false);
        let mut out = Vec::new();
        script.add(Way::Sent, b"220 hi\r\n", 0.0, &mut out);
        assert_eq!(out, b"0.000 S: 220 hi\n");
    }

    #[test]
    fn what_is_secret_is_masked_in_every_protocol() {
        let (c, s) = (Way::Sent, Way::Heard);
        for (says, shown) in [
            (
                vec![(c, "AUTH PLAIN AGEAYg==\r\n"), (s, "235 ok\r\n"), (c, "MAIL\r\n")],
                vec!["AUTH PLAIN ****", "235 ok", "MAIL"],
            ),
            (
                vec![
                    (c, "auth login\r\n"),
                    (s, "334 VXNlcg==\r\n"),
                    (c, "YW5u\r\n"),
                    (s, "334 x\r\n"),
                    (c, "c2VjcmV0\r\n"),
                    (s, "535 no\r\n"),
                    (c, "QUIT\r\n"),
                ],
                vec!["auth login", "334 VXNlcg==", "****", "334 x", "****", "535 no", "QUIT"],
            ),
            (
                vec![(c, "USER ann\r\n"), (s, "+OK\r\n"), (c, "PASS my secret\r\n")],
                vec!["USER ann", "+OK", "PASS ****"],
            ),
            (vec![(c, "APOP ann c4c9334bac560ecc979e58001b3e22fb\r\n")], vec!["APOP ann ****"]),
            (
                vec![
                    (c, "a1 LOGIN ann secret\r\n"),
                    (s, "* OK x\r\n"),
                    (s, "a1 OK\r\n"),
                    (c, "a2 NOOP\r\n"),
                ],
                vec!["a1 LOGIN ****", "* OK x", "a1 OK", "a2 NOOP"],
            ),
            (
                vec![
                    (c, "a1 LOGIN {3}\r\n"),
                    (s, "+ go\r\n"),
                    (c, "ann {6}\r\n"),
                    (s, "+\r\n"),
                    (c, "secret\r\n"),
                ],
                vec!["a1 LOGIN ****", "+ go", "****", "+", "****"],
            ),
            // The server speaks while the line is half out.
            (vec![(c, "PASS my se"), (s, "* hi\r\n"), (c, "cret\r\n")], vec!["* hi", "PASS ****"]),
            (vec![(c, "a AUTHENTICATE PLAIN AGEAYg==\r\n")], vec!["a AUTHENTICATE PLAIN ****"]),
        ] {
            let text = script(Style::Dialog, true, &says);
            let lines: Vec<_> = text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
            assert_eq!(lines, shown);
        }
    }
}
