//! What a client knows of its folder, and how it hears of changes (RFC 9051 §7.4, §7.5).

use super::super::super::store::{Flags, Folder, Message, Result};
use super::sets::Set;
use super::words::{Parsed, Words};

/// The folder that is selected, as the client knows it.
pub(super) struct View {
    pub(super) name: String,
    pub(super) folder: Box<dyn Folder>,
    pub(super) read_only: bool,
    /// By UID; the place of each is its sequence number less one.
    pub(super) messages: Vec<Message>,
    /// The UIDs that the last search saved (RFC 5182).
    pub(super) saved: Vec<u32>,
}

impl View {
    /// The places of the messages that a set names.
    pub(super) fn places(&self, set: &Set, by_uid: bool) -> Vec<usize> {
        let numbers: Vec<u32> = if by_uid {
            self.messages.iter().map(|message| message.uid).collect()
        } else {
            (1..).take(self.messages.len()).collect()
        };
        set.pick(&numbers, &self.saved_places())
    }

    pub(super) fn saved_places(&self) -> Vec<usize> {
        self.saved.iter().filter_map(|uid| self.place(*uid)).collect()
    }

    pub(super) fn place(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    /// Looks what has changed, and tells it. Every number after a removed message changes: where
    /// the client counts on them, nothing may be removed yet.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn refresh(
        &mut self,
        may_remove: bool,
        recent: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let now = self.folder.look()?;
        if may_remove {
            let mut kept = Vec::with_capacity(self.messages.len());
            let mut removed = 0;
            for (place, message) in std::mem::take(&mut self.messages).into_iter().enumerate() {
                if now.binary_search_by_key(&message.uid, |message| message.uid).is_ok() {
                    kept.push(message);
                } else {
                    let number = place + 1 - removed;
                    out.extend_from_slice(format!("* {number} EXPUNGE\r\n").as_bytes());
                    removed += 1;
                    self.saved.retain(|uid| *uid != message.uid);
                }
            }
            self.messages = kept;
        }
        let last = self.messages.last().map_or(0, |message| message.uid);
        let before = self.messages.len();
        for message in now {
            match self.place(message.uid) {
                Some(place) => {
                    let known = &mut self.messages[place];
                    if known.flags != message.flags {
                        known.flags = message.flags;
                        tell_flags(place, known, false, recent, out);
                    }
                }
                None if message.uid > last => self.messages.push(message),
                // It came back from the dead: a client could not place it.
                None => {}
            }
        }
        if self.messages.len() > before {
            self.tell_counts(recent, out);
        }
        Ok(())
    }

    /// EXISTS, and RECENT for those who know it.
    pub(super) fn tell_counts(&self, recent: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("* {} EXISTS\r\n", self.messages.len()).as_bytes());
        if recent {
            let n = self.messages.iter().filter(|message| message.recent).count();
            out.extend_from_slice(format!("* {n} RECENT\r\n").as_bytes());
        }
    }
}

/// An untagged FETCH with the marks of a message.
pub(super) fn tell_flags(
    place: usize,
    message: &Message,
    uid: bool,
    recent: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(format!("* {} FETCH (FLAGS ", place + 1).as_bytes());
    write_flags(&message.flags, recent && message.recent, out);
    if uid {
        out.extend_from_slice(format!(" UID {}", message.uid).as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// The marks of a message in parentheses.
pub(super) fn write_flags(flags: &Flags, recent: bool, out: &mut Vec<u8>) {
    let system = [
        (flags.seen, "\\Seen"),
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.draft, "\\Draft"),
        (recent, "\\Recent"),
    ];
    let system = system.into_iter().filter(|(has, _)| *has).map(|(_, name)| name);
    let all: Vec<&str> = system.chain(flags.keywords.iter().map(String::as_str)).collect();
    out.extend_from_slice(format!("({})", all.join(" ")).as_bytes());
}

/// Reads marks, in parentheses or (STORE's) without.
///
/// # Errors
/// They are none.
pub(super) fn parse_flags(words: &mut Words<'_>) -> Parsed<Flags> {
    let mut flags = Flags::default();
    let in_list = words.takes(b'(');
    if in_list && words.takes(b')') {
        return Ok(flags);
    }
    loop {
        let is_system = words.takes(b'\\');
        let name = words.atom()?;
        let name =
            std::str::from_utf8(name).ok().filter(|name| name.is_ascii() && name.len() < 200);
        let name = name.ok_or("this is no flag")?;
        match (is_system, name.to_ascii_lowercase().as_str()) {
            (true, "seen") => flags.seen = true,
            (true, "answered") => flags.answered = true,
            (true, "flagged") => flags.flagged = true,
            (true, "deleted") => flags.deleted = true,
            (true, "draft") => flags.draft = true,
            // Nobody can set it, and some try.
            (true, "recent") => {}
            (true, _) => return Err("there is no such flag"),
            (false, _) if flags.keywords.len() >= 100 => return Err("there are too many flags"),
            (false, _) => {
                if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    flags.keywords.push(name.to_owned());
                }
            }
        }
        if in_list && words.takes(b')') || !in_list && words.is_over() {
            return Ok(flags);
        }
        words.space()?;
    }
}

/// Adds marks to others, or takes them away.
pub(super) fn change_flags(flags: &mut Flags, by: &Flags, add: bool) {
    let marks = [
        (&mut flags.seen, by.seen),
        (&mut flags.answered, by.answered),
        (&mut flags.flagged, by.flagged),
        (&mut flags.deleted, by.deleted),
        (&mut flags.draft, by.draft),
    ];
    for (mark, _) in marks.into_iter().filter(|(_, named)| *named) {
        *mark = add;
    }
    let named = |keyword: &String| by.keywords.iter().any(|k| k.eq_ignore_ascii_case(keyword));
    flags.keywords.retain(|keyword| !named(keyword));
    if add {
        flags.keywords.extend(by.keywords.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Command;
    use super::*;

    fn flags(text: &str) -> Parsed<Flags> {
        parse_flags(&mut Words::new(&Command::of(text)))
    }

    #[test]
    fn flags_are_read_and_written() {
        for (text, told) in [
            ("()", "()"),
            ("\\seen", "(\\Seen)"),
            ("(\\Deleted $Forwarded \\Recent $forwarded)", "(\\Deleted $Forwarded)"),
            ("\\Draft \\Flagged", "(\\Flagged \\Draft)"),
        ] {
            let mut out = Vec::new();
            write_flags(&flags(text).unwrap(), false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), told);
        }
        for text in ["", "(", "(\\Nope)", "\\*", "(a", "(a  )"] {
            assert!(flags(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_are_added_and_taken_away() {
        let mut some = flags("\\Seen a").unwrap();
        change_flags(&mut some, &flags("A b \\Draft").unwrap(), true);
        assert_eq!(some, flags("\\Seen \\Draft A b").unwrap());
        change_flags(&mut some, &flags("a \\Seen").unwrap(), false);
        assert_eq!(some, flags("\\Draft b").unwrap());
    }
}
