//! Conversations with the whole machine, in chunks of every size.

use super::super::super::fault::Faults;
use super::super::super::sasl::Secret;
use super::super::super::serving::Accounts;
use super::super::super::store::{
    Copied, Flags, Folder, Listed, Message, Refusal, Result as Stored, Status,
};
use super::super::super::{Input, Output};
use super::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Folders in memory.
#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Vec<Kept>>>);

#[derive(Default)]
struct Kept {
    name: String,
    next: u32,
    messages: Vec<(Message, Vec<u8>)>,
}

impl Fake {
    fn folder<T>(&self, name: &str, f: impl FnOnce(&mut Kept) -> T) -> Stored<T> {
        let mut all = self.0.borrow_mut();
        all.iter_mut().find(|folder| folder.name == name).map(f).ok_or(Refusal::NoSuchFolder)
    }
}

impl Kept {
    fn add(&mut self, content: &[u8], flags: &Flags, received: u64) -> u32 {
        self.next += 1;
        let (uid, size) = (self.next, content.len() as u64);
        let flags = flags.clone();
        let message = Message { uid, size, flags, received, recent: false };
        self.messages.push((message, content.to_vec()));
        uid
    }
}

impl Stores for Fake {
    fn enter(&mut self, _: &str, _: bool) -> Stored<Box<dyn Store>> {
        Ok(Box::new(self.clone()))
    }
}

impl Store for Fake {
    fn folders(&mut self) -> Stored<Vec<Listed>> {
        let all = self.0.borrow();
        let listed =
            |f: &Kept| Listed { name: f.name.clone(), selectable: true, subscribed: false };
        Ok(all.iter().map(listed).collect())
    }

    fn create(&mut self, name: &str) -> Stored<()> {
        if self.folder(name, |_| ()).is_ok() {
            return Err(Refusal::Exists);
        }
        self.0.borrow_mut().push(Kept { name: name.into(), ..Kept::default() });
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Stored<()> {
        self.folder(name, |_| ())?;
        self.0.borrow_mut().retain(|folder| folder.name != name);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Stored<()> {
        self.folder(from, |folder| folder.name = to.into())
    }

    fn subscribe(&mut self, _: &str, _: bool) -> Stored<()> {
        Ok(())
    }

    fn status(&mut self, name: &str) -> Stored<Status> {
        self.folder(name, |folder| Status {
            messages: u32::try_from(folder.messages.len()).unwrap(),
            uid_next: folder.next + 1,
            uid_validity: 9,
            size: folder.messages.iter().map(|(message, _)| message.size).sum(),
            ..Status::default()
        })
    }

    fn open(&mut self, name: &str, _: bool) -> Stored<Box<dyn Folder>> {
        self.folder(name, |_| ())?;
        Ok(Box::new(Open(self.clone(), name.into())))
    }

    fn append(&mut self, to: &str, c: &[u8], f: &Flags, at: Option<u64>) -> Stored<(u32, u32)> {
        Ok((9, self.folder(to, |folder| folder.add(c, f, at.unwrap_or(0)))?))
    }
}

struct Open(Fake, String);

impl Open {
    fn message<T>(&self, uid: u32, f: impl FnOnce(&mut (Message, Vec<u8>)) -> T) -> Stored<T> {
        self.0.folder(&self.1, |folder| {
            folder.messages.iter_mut().find(|(m, _)| m.uid == uid).map(f).ok_or(Refusal::Gone)
        })?
    }
}

impl Folder for Open {
    fn uid_validity(&self) -> u32 {
        9
    }

    fn uid_next(&self) -> u32 {
        self.0.folder(&self.1, |folder| folder.next + 1).unwrap_or(1)
    }

    fn look(&mut self) -> Stored<Vec<Message>> {
        self.0.folder(&self.1, |f| f.messages.iter().map(|(m, _)| m.clone()).collect())
    }

    fn read(&mut self, uid: u32) -> Stored<Vec<u8>> {
        self.message(uid, |(_, content)| content.clone())
    }

    fn mark(&mut self, uid: u32, flags: &Flags) -> Stored<()> {
        self.message(uid, |(message, _)| message.flags = flags.clone())
    }

    fn remove(&mut self, uids: &[u32]) -> Stored<()> {
        self.0.folder(&self.1, |f| f.messages.retain(|(m, _)| !uids.contains(&m.uid)))
    }

    fn copy(&mut self, uids: &[u32], to: &str) -> Stored<Copied> {
        let mut pairs = Vec::new();
        for uid in uids {
            let (message, content) = self.message(*uid, |both| both.clone())?;
            let add = |f: &mut Kept| f.add(&content, &message.flags, message.received);
            pairs.push((*uid, self.0.folder(to, add)?));
        }
        Ok(Copied { uid_validity: 9, uids: pairs })
    }
}

const MAIL: &[u8] = b"From: Ann <ann@example.org>\r\nSubject: one\r\n\r\nhello\r\n";

fn fake() -> Fake {
    let mut inbox = Kept { name: "INBOX".into(), ..Kept::default() };
    inbox.add(MAIL, &Flags::default(), 0);
    inbox.add(b"Subject: two\r\n\r\nbye\r\n", &Flags { seen: true, ..Flags::default() }, 86_400);
    Fake(Rc::new(RefCell::new(vec![inbox])))
}

fn serving(faults: &[&str]) -> Serving {
    Serving {
        host: "mail.example".into(),
        protection: Protection::Offered,
        accounts: Arc::new(Accounts {
            users: vec![("ann".into(), Secret::new("secret"))],
            only: None,
        }),
        loopback: true,
        without: Arc::new(vec![]),
        most_octets: 1 << 20,
        faults: Arc::new(Faults::parse(faults.iter().copied(), false).unwrap()),
        nonce: "n".into(),
        number: 1,
    }
}

/// What a machine answers to a client's words, given `chunk` octets at a time, and its events.
fn talk(machine: &mut impl Server, says: &[u8], chunk: usize, end: bool) -> (String, Vec<Event>) {
    let (mut held, mut out, mut ended) = (Vec::new(), Vec::new(), [false; 2]);
    let (mut events, mut shown) = (Vec::new(), Vec::new());
    let mut chunks = says.chunks(chunk);
    let mut eof = false;
    for _ in 0..10_000_000 {
        let before = out.len();
        let [a, b] = &mut ended;
        let mut ports = Ports {
            peer: Input::new(&held, eof),
            to_peer: Output::new(&mut out, chunk, a),
            user: Input::new(b"", true),
            to_user: Output::new(&mut shown, 1, b),
        };
        let step = machine.step(&mut ports).unwrap();
        let eaten = ports.peer.eaten();
        held.drain(..eaten);
        match step {
            Step::Event(event) => events.push(event),
            Step::StartTls => out.extend_from_slice(b"-- TLS --\r\n"),
            Step::Done => break,
            Step::Wait if eaten > 0 || out.len() > before => {}
            Step::Wait => match chunks.next() {
                Some(more) => held.extend_from_slice(more),
                None if end && !eof => eof = true,
                None => break,
            },
        }
    }
    (String::from_utf8_lossy(&out).into_owned(), events)
}

/// Everything behind the login, for what is said there.
fn after_login(says: &str) -> String {
    let all = format!("l LOGIN ann secret\r\n{says}");
    let whole = talk(&mut new(serving(&[]), Box::new(fake())), all.as_bytes(), 100_000, true).0;
    for chunk in (1..all.len().min(60)).chain([200]) {
        let (cut, _) = talk(&mut new(serving(&[]), Box::new(fake())), all.as_bytes(), chunk, true);
        assert_eq!(cut, whole, "in chunks of {chunk}");
    }
    for n in 0..all.len() {
        // Every prefix ends, and says nothing that the whole does not.
        talk(&mut new(serving(&[]), Box::new(fake())), &all.as_bytes()[..n], 7, true);
    }
    let at = whole.find("] welcome\r\n").unwrap_or_else(|| panic!("{whole}"));
    whole[at + 11..].to_owned()
}

#[test]
fn messages_are_read_marked_and_removed() {
    assert_eq!(
        after_login(
            "a SELECT inbox\r\nb FETCH 1 (BODY.PEEK[TEXT] FLAGS)\r\nc UID FETCH 1 BODY[TEXT]\r\n\
             d STORE 2 +FLAGS (\\Deleted)\r\ne SEARCH UNDELETED\r\nf UID SEARCH RETURN (COUNT ALL) \
             SUBJECT o\r\ng EXPUNGE\r\nh FETCH 2 FLAGS\r\ni LOGOUT\r\n"
        ),
        "* 2 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 1] the first that is not seen\r\n\
         * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n\
         * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] these are kept\r\n\
         * OK [UIDVALIDITY 9] UIDs are good\r\n* OK [UIDNEXT 3] the next\r\n\
         a OK [READ-WRITE] SELECT done\r\n\
         * 1 FETCH (BODY[TEXT] {7}\r\nhello\r\n FLAGS ())\r\nb OK FETCH done\r\n\
         * 1 FETCH (UID 1 BODY[TEXT] {7}\r\nhello\r\n FLAGS (\\Seen))\r\nc OK FETCH done\r\n\
         * 2 FETCH (FLAGS (\\Seen \\Deleted))\r\nd OK STORE done\r\n\
         * SEARCH 1\r\ne OK SEARCH done\r\n\
         * ESEARCH (TAG \"f\") UID ALL 1:2 COUNT 2\r\nf OK SEARCH done\r\n\
         * 2 EXPUNGE\r\ng OK EXPUNGE done\r\nh BAD there is no such message\r\n\
         * BYE until next time\r\ni OK LOGOUT done\r\n"
    );
}

#[test]
fn folders_are_made_filled_and_counted() {
    assert_eq!(
        after_login(
            "a CREATE Sent\r\nb APPEND Sent (\\Seen) \" 1-Jan-1970 00:00:09 +0000\" {5+}\r\na: b\n\
             \r\nc SELECT INBOX\r\nd MOVE 1 Sent\r\ne STATUS Sent (MESSAGES SIZE)\r\nf COPY 1 No\r\n\
             g LIST \"\" *\r\nh CREATE Sent\r\ni SELECT No\r\nj FETCH 1 FLAGS\r\n"
        )
        .replace("* OK [UNSEEN 1] the first that is not seen\r\n", ""),
        "a OK CREATE done\r\nb OK [APPENDUID 9 1] APPEND done\r\n\
         * 2 EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n\
         * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] these are kept\r\n\
         * OK [UIDVALIDITY 9] UIDs are good\r\n* OK [UIDNEXT 3] the next\r\n\
         c OK [READ-WRITE] SELECT done\r\n\
         * OK [COPYUID 9 1 2] moved\r\n* 1 EXPUNGE\r\nd OK MOVE done\r\n\
         * STATUS \"Sent\" (MESSAGES 2 SIZE 57)\r\ne OK STATUS done\r\n\
         f NO [TRYCREATE] no such mailbox\r\n\
         * LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\r\ng OK LIST done\r\n\
         h NO [ALREADYEXISTS] there is a mailbox of this name already\r\n\
         i NO [NONEXISTENT] no such mailbox\r\nj BAD no mailbox is selected\r\n"
    );
}

#[test]
fn a_literal_waits_for_its_go_ahead_or_does_not() {
    let (said, events) = talk(
        &mut new(serving(&[]), Box::new(fake())),
        b"a LOGIN {3}\r\nann {6+}\r\nsecret\r\nb X\r\n",
        5,
        true,
    );
    assert!(said.contains("\r\n+ go on\r\na OK [CAPABILITY IMAP4rev1 IMAP4rev2 "), "{said}");
    assert!(said.ends_with("b BAD there is no such command\r\n"), "{said}");
    assert!(events.contains(&Event::Story("logged in as ann by LOGIN".into())), "{events:?}");
    assert!(events.contains(&Event::Lint("it sends a password in the clear".into())));
}

#[test]
fn news_are_told_at_once_in_idle() {
    let fake = fake();
    let mut machine = new(serving(&[]), Box::new(fake.clone()));
    let says = b"l LOGIN ann secret\r\na SELECT INBOX\r\nb IDLE\r\n";
    let (said, _) = talk(&mut machine, says, 1000, false);
    assert!(said.ends_with("+ idling\r\n") && machine.waits_for_news(), "{said}");
    let _ = fake.folder("INBOX", |inbox| {
        inbox.messages.remove(0);
        inbox.add(b"x", &Flags::default(), 0);
    });
    machine.nudge();
    let (said, _) = talk(&mut machine, b"", 1000, false);
    assert_eq!(said, "* 1 EXPUNGE\r\n* 2 EXISTS\r\n* 0 RECENT\r\n");
    let (said, _) = talk(&mut machine, b"done\r\n", 1000, false);
    assert_eq!(said, "b OK IDLE is over\r\n");
    machine.time_out();
    let (said, _) = talk(&mut machine, b"", 1000, false);
    assert_eq!(said, "* BYE nothing has come for too long\r\n");
}

#[test]
fn a_password_needs_tls_where_others_could_hear_it() {
    let far = Serving { loopback: false, ..serving(&[]) };
    let says = b"a LOGIN ann secret\r\nb STARTTLS\r\nc NOOP\r\n";
    let (said, events) = talk(&mut new(far, Box::new(fake())), says, 1000, true);
    assert!(said.contains("STARTTLS LOGINDISABLED SASL-IR AUTH=SCRAM-SHA-256 "), "{said}");
    assert!(said.contains("a NO [PRIVACYREQUIRED] STARTTLS comes first\r\n"), "{said}");
    // What came in the clear behind STARTTLS is nobody's.
    assert!(said.ends_with("b OK TLS begins\r\n-- TLS --\r\n"), "{said}");
    let lint = Event::Lint("it goes on in the clear after STARTTLS: that is thrown away".into());
    assert!(events.contains(&lint), "{events:?}");
}

#[test]
fn a_wrong_password_and_many_errors_are_refused() {
    let says = format!("a LOGIN ann guess\r\n{}", "b X\r\n".repeat(100));
    let (said, _) = talk(&mut new(serving(&[]), Box::new(fake())), says.as_bytes(), 9, true);
    assert!(said.contains("a NO [AUTHENTICATIONFAILED] wrong name or password\r\n"), "{said}");
    assert!(said.ends_with("* BYE too many errors\r\n"), "{said}");
    assert_eq!(said.matches("b BAD").count(), 20);
}

#[test]
fn faults_strike_where_they_were_asked_for() {
    let says = b"l LOGIN ann secret\r\na SELECT INBOX\r\nb UID FETCH 1 (RFC822.SIZE)\r\nc NOOP\r\n";
    for (fault, part) in [
        ("select=450 later x1", "a NO [UNAVAILABLE] 4.0.0 later\r\n"),
        ("select=550 never", "a NO 5.0.0 never\r\n"),
        ("select=421 go away", "* BYE 4.0.0 go away\r\n"),
        ("fetch=wrong-tag", "xb OK FETCH done\r\n"),
        ("fetch=lie-size", "* 1 FETCH (UID 1 RFC822.SIZE 152)\r\n"),
        ("fetch=inject:* hi\\r\\n", "* hi\r\n* 1 FETCH (UID 1"),
        ("greeting=garbage", "garbage on demand"),
    ] {
        let (said, _) = talk(&mut new(serving(&[fault]), Box::new(fake())), says, 11, true);
        assert!(said.contains(part), "{fault}: {said}");
    }
    let (said, _) = talk(&mut new(serving(&["fetch=truncate"]), Box::new(fake())), says, 11, true);
    assert!(said.ends_with("* 1 FETCH (UID 1") || !said.contains("b OK"), "{said}");
    let (said, events) = talk(&mut new(serving(&["noop=drop"]), Box::new(fake())), says, 11, true);
    assert!(events.contains(&Event::Fault(Act::Drop)) && said.ends_with("c OK NOOP done\r\n"));
}

#[test]
fn a_connection_ends_in_the_middle_of_a_message_if_that_is_asked_for() {
    let says = b"l LOGIN ann secret\r\na SELECT INBOX\r\nb FETCH 2 BODY.PEEK[TEXT]\r\n";
    let faults = ["byte:2=truncate", "byte:2=inject:!", "byte:2=drop", "greeting=drop"];
    let [cut, odd, dropped, early] = faults.map(|fault| {
        let mut machine = new(serving(&[fault]), Box::new(fake()));
        talk(&mut machine, says, 11, true)
    });
    assert!(cut.0.ends_with("* 2 FETCH (BODY[TEXT] {5}\r\nby"), "{}", cut.0);
    assert!(odd.0.ends_with("{5}\r\nby!e\r\n)\r\nb OK FETCH done\r\n"), "{}", odd.0);
    // Whoever goes on after the event gets the rest.
    assert!(dropped.0.ends_with("{5}\r\nbye\r\n)\r\nb OK FETCH done\r\n"), "{}", dropped.0);
    assert_eq!(dropped.1.last(), Some(&Event::Fault(Act::Drop)));
    assert_eq!(early.1.first(), Some(&Event::Fault(Act::Drop)));
}

#[test]
fn big_messages_leave_as_there_is_room() {
    let fake = fake();
    let big = vec![b'x'; 300_000];
    for _ in 0..5 {
        let _ = fake.folder("INBOX", |inbox| inbox.add(&big, &Flags::default(), 0));
    }
    let mut machine = new(serving(&[]), Box::new(fake));
    let says = b"l LOGIN ann secret\r\na SELECT INBOX\r\n";
    talk(&mut machine, says, 1000, false);
    let (mut out, mut shown, mut eaten) = (Vec::new(), Vec::new(), 0);
    let mut ended = [false; 2];
    let says = b"b FETCH 1:* BODY.PEEK[]\r\n";
    for _ in 0..10 {
        let [a, b] = &mut ended;
        let before = out.len();
        let mut ports = Ports {
            peer: Input::new(&says[eaten..], false),
            to_peer: Output::new(&mut out, 4096, a),
            user: Input::new(b"", true),
            to_user: Output::new(&mut shown, 1, b),
        };
        assert_eq!(machine.step(&mut ports).unwrap(), Step::Wait);
        eaten += ports.peer.eaten();
        assert!(out.len() - before <= 4096);
    }
    assert_eq!(out.len(), 40_960);
}

#[test]
fn plain_comes_with_its_command_or_behind_it() {
    for (says, answer) in [
        ("a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n", "a OK [CAPABILITY"),
        ("a AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n", "+ \r\na OK [CAPABILITY"),
        ("a AUTHENTICATE PLAIN\r\n*\r\n", "+ \r\na BAD the login is called off\r\n"),
        ("a AUTHENTICATE PLAIN AGFubgBndWVzcw==\r\n", "a NO [AUTHENTICATIONFAILED]"),
        ("a AUTHENTICATE PLAIN =\r\n", "a NO [AUTHENTICATIONFAILED]"),
        ("a AUTHENTICATE X\r\n", "a NO [CANNOT]"),
    ] {
        for chunk in 1..says.len() {
            let mut machine = new(serving(&[]), Box::new(fake()));
            let (said, _) = talk(&mut machine, says.as_bytes(), chunk, true);
            let (_, behind) = said.split_once("is ready\r\n").unwrap();
            assert!(behind.starts_with(answer), "{says}: {said}");
        }
    }
}

/// Lets one of our client machines talk to the server until it is done; what it showed.
fn pair<M>(client: &mut M, server: &mut impl Server, chunk: usize) -> Vec<u8>
where
    M: Machine<Event = super::super::super::session::Event>,
{
    let (mut up, mut down, mut shown, mut none) = (vec![], vec![], vec![], vec![]);
    let mut showing = vec![];
    let mut ended = [false; 4];
    for _ in 0..1_000_000 {
        let [a, b, c, d] = &mut ended;
        let mut ports = Ports {
            peer: Input::new(&down, *c),
            to_peer: Output::new(&mut up, chunk, a),
            user: Input::new(b"", true),
            to_user: Output::new(&mut showing, chunk, b),
        };
        let step = client.step(&mut ports).unwrap();
        let eaten = ports.peer.eaten();
        down.drain(..eaten);
        shown.append(&mut showing);
        let mut ports = Ports {
            peer: Input::new(&up, false),
            to_peer: Output::new(&mut down, chunk, c),
            user: Input::new(b"", true),
            to_user: Output::new(&mut none, 1, d),
        };
        assert_ne!(server.step(&mut ports).unwrap(), Step::StartTls);
        let eaten = ports.peer.eaten();
        up.drain(..eaten);
        if step == Step::Done {
            return shown;
        }
    }
    panic!("they go on and on: {}", shown.escape_ascii());
}

#[test]
fn our_own_client_logs_in_reads_and_deletes() {
    use super::super::super::numbers::Numbers;
    use super::super::super::sasl::{Credentials, Login};
    use super::super::super::session::{Config, Pace};
    use super::super::{fetch, session};
    for chunk in [1, 7, 100, 4096] {
        let box_ = fake();
        let protection = Protection::On;
        let mut server = new(Serving { protection, ..serving(&[]) }, Box::new(box_.clone()));
        let login = Login {
            credentials: Credentials { user: "ann".into(), password: Secret::new("secret") },
            only: None,
            nonce: "n".into(),
            host: "mail.example".into(),
            port: 993,
            binding: None,
        };
        let config = Config {
            helo: "me".into(),
            starttls: false,
            secure: true,
            login: Some(login),
            pace: Pace::LockStep,
            content: Default::default(),
            setup_only: true,
            asks: false,
        };
        pair(&mut session::Session::new(config), &mut server, chunk);
        let all = Some(Numbers::all());
        let date = String::from("Thu Jan  1 00:00:00 1970");
        let append = Some(b"Subject: three\r\n\r\nx\r\n".to_vec());
        let wish =
            fetch::Wish { fetch: all.clone(), append, delete: all, date, ..Default::default() };
        let shown = pair(&mut fetch::Fetch::new(wish), &mut server, chunk);
        let shown = String::from_utf8(shown).unwrap();
        for part in ["Subject: one\n\nhello\n", "Subject: two\n", "Subject: three\n"] {
            assert!(shown.replace('\r', "").contains(part), "{chunk}: {shown}");
        }
        assert_eq!(box_.folder("INBOX", |inbox| inbox.messages.len()), Ok(0), "{chunk}");
    }
}

/// No client, however odd, makes the machine panic, spin, or say without end.
#[test]
fn damaged_commands_are_answered() {
    let good = b"l LOGIN ann secret\r\na SELECT INBOX\r\nb UID FETCH 1:* (BODY[1.MIME]<0.9> \
        BODYSTRUCTURE)\r\nc SEARCH OR (SUBJECT \"x\") NOT 1:2\r\nd LIST (SUBSCRIBED) \"\" (% *) \
        RETURN (STATUS (SIZE))\r\ne APPEND INBOX (\\Seen) {3+}\r\nabc\r\nf COPY 1 INBOX\r\n\
        g STORE 1 -FLAGS.SILENT (x)\r\nh IDLE\r\nDONE\r\ni UID EXPUNGE 1:*\r\n";
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % sides
    };
    for _ in 0..3_000 {
        let mut says = good.to_vec();
        for _ in 0..=roll(4) {
            let at = 20 + roll(says.len() - 20);
            let odd: &[u8] = [
                b"{4294967295}\r\n",
                b"(" as &[u8],
                b"\"",
                b"99999999999",
                b"\0\xff",
                b"*",
                b"\r\n",
            ][roll(7)];
            let end = (at + roll(3)).min(says.len());
            says.splice(at..end, odd.iter().copied()).for_each(drop);
        }
        let chunk = 1 + roll(64);
        let (said, _) = talk(&mut new(serving(&[]), Box::new(fake())), &says, chunk, true);
        assert!(said.len() < 100_000 && said.starts_with("* OK "), "{said}");
    }
}
