//! Commands about folders: SELECT, CREATE, LIST, STATUS, APPEND and the like (RFC 9051 §6.3).

use super::super::super::serving::Event;
use super::super::super::store::{Flags, INBOX, Refusal};
use super::update::{View, parse_flags};
use super::words::{Parsed, Words};
use super::{Done, End, Failure, Imap, done, fetch, listing};

impl Imap {
    pub(super) fn about_folders(&mut self, name: &str, words: &mut Words<'_>, lie: bool) -> Done {
        words.space()?;
        match name {
            "SELECT" | "EXAMINE" => self.select(words, name == "EXAMINE"),
            "LIST" | "LSUB" => self.list(words, name == "LSUB", lie),
            "STATUS" => {
                let folder = self.folder_name(words)?;
                words.space()?;
                let items = listing::parse_status(words)?;
                words.end()?;
                self.tell_status(&folder, &items, lie)?;
                done(name)
            }
            "APPEND" => self.append(words),
            _ => {
                let mut folder = self.folder_name(words)?;
                let store = self.store.as_mut().ok_or("nobody has logged in")?;
                match name {
                    "CREATE" => {
                        words.end()?;
                        // A slash at the end says that there will be others below (§6.3.4).
                        folder.truncate(folder.trim_end_matches('/').len());
                        if folder.is_empty() || folder == INBOX {
                            return Err(Refusal::Exists.into());
                        }
                        store.create(&folder)?;
                    }
                    "DELETE" => {
                        words.end()?;
                        store.delete(&folder)?;
                        if self.view.as_ref().is_some_and(|view| view.name == folder) {
                            self.view = None;
                        }
                    }
                    "RENAME" => {
                        words.space()?;
                        let to = listing::read_name(words.astring()?, self.utf8)?;
                        words.end()?;
                        store.rename(&folder, &to)?;
                    }
                    // SUBSCRIBE and UNSUBSCRIBE.
                    _ => {
                        words.end()?;
                        store.subscribe(&folder, name == "SUBSCRIBE")?;
                    }
                }
                self.events.push_back(Event::Changed);
                done(name)
            }
        }
    }

    pub(super) fn folder_name(&self, words: &mut Words<'_>) -> Parsed<String> {
        listing::read_name(words.astring()?, self.utf8)
    }

    fn select(&mut self, words: &mut Words<'_>, read_only: bool) -> Done {
        let name = self.folder_name(words)?;
        words.end()?;
        // Whatever comes of it, the one before is not selected any more (§6.3.2).
        if self.view.take().is_some() && self.rev2 {
            self.say("* OK [CLOSED] the mailbox before is closed");
        }
        let mut folder = self.store()?.open(&name, read_only)?;
        let messages = folder.look()?;
        let (validity, next) = (folder.uid_validity(), folder.uid_next());
        let view = View { name: name.clone(), folder, read_only, messages, saved: vec![] };
        view.tell_counts(!self.rev2, &mut self.out);
        let unseen = view.messages.iter().position(|message| !message.flags.seen);
        let mut keywords: Vec<String> = Vec::new();
        for message in &view.messages {
            for keyword in &message.flags.keywords {
                if keywords.len() < 100 && !keywords.contains(keyword) {
                    keywords.push(keyword.clone());
                }
            }
        }
        self.view = Some(view);
        if let (Some(unseen), false) = (unseen, self.rev2) {
            self.say(&format!("* OK [UNSEEN {}] the first that is not seen", unseen + 1));
        }
        let keywords: String = keywords.iter().map(|keyword| format!(" {keyword}")).collect();
        let flags = format!("\\Answered \\Flagged \\Deleted \\Seen \\Draft{keywords}");
        self.say(&format!("* FLAGS ({flags})"));
        if read_only {
            self.say("* OK [PERMANENTFLAGS ()] nothing can be changed");
        } else {
            self.say(&format!("* OK [PERMANENTFLAGS ({flags} \\*)] these are kept"));
        }
        self.say(&format!("* OK [UIDVALIDITY {validity}] UIDs are good"));
        self.say(&format!("* OK [UIDNEXT {next}] the next"));
        if self.rev2 {
            self.out.extend_from_slice(b"* LIST () \"/\" ");
            listing::write_name(&name, true, &mut self.out);
            self.say("");
        }
        Ok(End::Ok(
            if read_only { "[READ-ONLY] EXAMINE done" } else { "[READ-WRITE] SELECT done" }.into(),
        ))
    }

    fn list(&mut self, words: &mut Words<'_>, lsub: bool, lie: bool) -> Done {
        let wanted = listing::parse(words, lsub)?;
        words.end()?;
        let folders = self.store()?.folders()?;
        let told = listing::write(&wanted, &folders, lsub, self.utf8, &mut self.out);
        if let Some(items) = &wanted.status {
            for name in told {
                // One that cannot be counted is left out (RFC 5819 §2).
                let _ = self.tell_status(&name, items, lie);
            }
        }
        done(if lsub { "LSUB" } else { "LIST" })
    }

    fn tell_status(&mut self, name: &str, items: &[String], lie: bool) -> Result<(), Failure> {
        let status = self.store()?.status(name)?;
        let value = |item: &String| match item.as_str() {
            "MESSAGES" => u64::from(status.messages),
            "RECENT" => u64::from(status.recent),
            "UNSEEN" => u64::from(status.unseen),
            "DELETED" => u64::from(status.deleted),
            "UIDNEXT" => u64::from(status.uid_next),
            "UIDVALIDITY" => u64::from(status.uid_validity),
            // SIZE: there is no other.
            _ => status.size.saturating_add(if lie { 100 } else { 0 }),
        };
        let told: Vec<String> = items.iter().map(|i| format!("{i} {}", value(i))).collect();
        self.out.extend_from_slice(b"* STATUS ");
        listing::write_name(name, self.utf8, &mut self.out);
        self.say(&format!(" ({})", told.join(" ")));
        Ok(())
    }

    fn append(&mut self, words: &mut Words<'_>) -> Done {
        let name = self.folder_name(words)?;
        words.space()?;
        let mut flags = Flags::default();
        if words.next_is(b'(') {
            flags = parse_flags(words)?;
            words.space()?;
        }
        let mut received = None;
        if words.next_is(b'"') {
            received = Some(fetch::parse_date_time(&words.string()?)?);
            words.space()?;
        }
        // RFC 6855 §4: the same message, said to have UTF-8 in its header.
        let mut ahead = words.clone();
        let utf8 = ahead.keyword().is_ok_and(|word| word == "UTF8");
        if utf8 {
            ahead.space()?;
            ahead.needs(b'(', "a message is missing")?;
            *words = ahead;
        }
        let content = words.string()?;
        if utf8 {
            words.needs(b')', "a parenthesis has no end")?;
        }
        words.end()?;
        if content.len() as u64 > self.serving.most_octets {
            return Err(Failure::No("[TOOBIG] no message is so large".into()));
        }
        match self.store()?.append(&name, &content, &flags, received) {
            Ok((validity, uid)) => {
                self.events.push_back(Event::Changed);
                self.refresh(true);
                Ok(End::Ok(format!("[APPENDUID {validity} {uid}] APPEND done")))
            }
            Err(Refusal::NoSuchFolder) => Err(no_target()),
            Err(why) => Err(why.into()),
        }
    }
}

/// The client can make the folder and try again.
pub(super) fn no_target() -> Failure {
    Failure::No("[TRYCREATE] no such mailbox".into())
}
