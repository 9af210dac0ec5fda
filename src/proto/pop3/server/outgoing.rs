//! The lines behind `+OK`, up to the lone dot, in pieces as the caller takes them.

use super::maildrop::Maildrop;
use crate::proto::Output;
use crate::proto::smtp::stuff::Stuffer;

/// Where the lines come from.
#[derive(Debug)]
pub(super) enum Source {
    /// They are ready.
    Lines(Vec<String>),
    /// LIST or UIDL of all messages.
    Table(Table),
    /// A message, or its beginning.
    Message { content: Vec<u8>, stuffer: Stuffer },
}

/// What is listed of each message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    /// The size; told wrong, if that was asked for.
    Sizes {
        lie: bool,
    },
    Ids,
}

/// A reply of several lines on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    source: Source,
    /// Lines, or octets of the message, that are out, and where it ends.
    at: usize,
    end: usize,
    /// Octets of the message for which faults have been looked up.
    pub(super) looked: usize,
    /// No line with a dot follows.
    pub(super) endless: bool,
}

/// A size that is not true.
pub(super) fn lie(size: u64) -> u64 {
    size.saturating_add(size / 2).saturating_add(7)
}

impl Outgoing {
    pub(super) fn lines(lines: Vec<String>) -> Self {
        let end = lines.len();
        Self::new(Source::Lines(lines), end)
    }

    /// Of a maildrop with so many messages.
    pub(super) fn table(table: Table, messages: usize) -> Self {
        Self::new(Source::Table(table), messages)
    }

    /// A message with CR LF line ends: all, or its header and so many lines of its body.
    pub(super) fn message(content: Vec<u8>, lines: Option<u32>) -> Self {
        let end = lines.map_or(content.len(), |lines| top(&content, lines));
        // Only a line that a CR LF has ended can end it: so dots are doubled behind those.
        Self::new(Source::Message { content, stuffer: Stuffer::new(true, true) }, end)
    }

    fn new(source: Source, end: usize) -> Self {
        Self { source, at: 0, end, looked: 0, endless: false }
    }

    /// It stops half way, without an end.
    pub(super) fn cut(&mut self) {
        self.end = self.at + (self.end - self.at) / 2;
        self.endless = true;
    }

    /// The octets of a message that go out next, so many at most.
    pub(super) fn piece(&self, most: usize) -> Option<std::ops::Range<usize>> {
        match self.source {
            Source::Message { .. } => Some(self.at..self.at.saturating_add(most).min(self.end)),
            Source::Lines(_) | Source::Table(_) => None,
        }
    }

    /// Appends what there is room for; of a message, up to `most` of its octets. True at the end.
    pub(super) fn send(
        &mut self,
        maildrop: Option<&Maildrop>,
        most: usize,
        out: &mut Output<'_>,
    ) -> bool {
        match &mut self.source {
            Source::Message { content, stuffer } => {
                let to = most.min(self.end);
                out.with(|bytes| stuffer.encode(&content[self.at..to], bytes));
                self.at = to;
            }
            Source::Lines(_) | Source::Table(_) => {
                while self.at < self.end && out.room() > 0 {
                    let line = match &self.source {
                        Source::Lines(lines) => lines.get(self.at).cloned(),
                        Source::Table(Table::Ids) => {
                            maildrop.and_then(|maildrop| maildrop.unique_id_listing(self.at))
                        }
                        Source::Table(Table::Sizes { lie: lies }) => {
                            maildrop.and_then(|maildrop| {
                                maildrop
                                    .scan_listing(self.at, if *lies { lie } else { |size| size })
                            })
                        }
                        Source::Message { .. } => None,
                    };
                    if let Some(line) = line {
                        out.push(line.as_bytes());
                        out.push(b"\r\n");
                    }
                    self.at += 1;
                }
            }
        }
        if self.at < self.end {
            return false;
        }
        if !self.endless {
            if let Source::Message { stuffer, .. } = &mut self.source {
                out.with(|bytes| stuffer.finish(bytes));
            }
            out.push(b".\r\n");
        }
        true
    }
}

/// Where the header and so many lines of the body end.
fn top(content: &[u8], lines: u32) -> usize {
    let header = match content.strip_prefix(b"\r\n") {
        // A message need not have a header.
        Some(_) => 2,
        None => match memchr::memmem::find(content, b"\r\n\r\n") {
            Some(at) => at + 4,
            None => return content.len(),
        },
    };
    let mut end = header;
    for _ in 0..lines {
        match memchr::memchr(b'\n', &content[end..]) {
            Some(at) => end += at + 1,
            None => return content.len(),
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(mut outgoing: Outgoing, room: usize) -> String {
        let (mut all, mut ended) = (Vec::new(), false);
        loop {
            let (mut bytes, most) = (Vec::new(), outgoing.at + room);
            let over = outgoing.send(None, most, &mut Output::new(&mut bytes, room, &mut ended));
            assert!(bytes.len() <= 2 * room + 20, "{}", bytes.len());
            all.append(&mut bytes);
            if over {
                return all.escape_ascii().to_string();
            }
        }
    }

    #[test]
    fn dots_are_doubled_and_the_end_is_where_it_was_asked_for() {
        let message = b"a: 1\r\nb: 2\r\n\r\n.\r\n..x\r\ny.\r\n";
        for (lines, expected) in [
            (None, "a: 1\\r\\nb: 2\\r\\n\\r\\n..\\r\\n...x\\r\\ny.\\r\\n.\\r\\n"),
            (Some(9), "a: 1\\r\\nb: 2\\r\\n\\r\\n..\\r\\n...x\\r\\ny.\\r\\n.\\r\\n"),
            (Some(1), "a: 1\\r\\nb: 2\\r\\n\\r\\n..\\r\\n.\\r\\n"),
            (Some(0), "a: 1\\r\\nb: 2\\r\\n\\r\\n.\\r\\n"),
        ] {
            for room in 1..60 {
                let outgoing = Outgoing::message(message.to_vec(), lines);
                assert_eq!(sent(outgoing, room), expected, "{lines:?}, {room}");
            }
        }
        for (message, lines, expected) in [
            (&b""[..], None, ".\\r\\n"),
            (b"", Some(3), ".\\r\\n"),
            (b"\r\nx\r\ny\r\n", Some(1), "\\r\\nx\\r\\n.\\r\\n"),
            (b"a: 1\r\n", Some(1), "a: 1\\r\\n.\\r\\n"),
            (b"x", None, "x\\r\\n.\\r\\n"),
            // A CR is no line end: nothing here ends the message.
            (b"\r\r.\r\r\n", None, "\\r\\r.\\r\\r\\n.\\r\\n"),
        ] {
            for room in 1..20 {
                let outgoing = Outgoing::message(message.to_vec(), lines);
                assert_eq!(sent(outgoing, room), expected, "{}", message.escape_ascii());
            }
        }
    }

    #[test]
    fn a_cut_reply_has_no_end() {
        let mut outgoing = Outgoing::message(b"a: 1\r\n\r\nx\r\n".to_vec(), None);
        outgoing.cut();
        assert_eq!(sent(outgoing, 3), "a: 1\\r");
        let mut outgoing = Outgoing::lines(["a", "b", "c"].map(str::to_owned).into());
        outgoing.cut();
        assert_eq!(sent(outgoing, 1), "a\\r\\n");
    }
}
