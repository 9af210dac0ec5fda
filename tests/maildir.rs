//! Our Maildir beside other programs: Python's mailbox and a real Dovecot, on the same directory.

mod tool;

use ncat::mailbox::maildir::Maildir;
use ncat::mailbox::{Per, Place};
use ncat::proto::store::{Flags, INBOX, Message, Store};
use std::path::Path;
use std::process::Command;
use tool::dovecot::{Dovecot, IMAPS};
use tool::{Output, arg, have, run, run_other};

fn flags(seen: bool, flagged: bool) -> Flags {
    Flags { seen, flagged, ..Flags::default() }
}

fn look(store: &mut Maildir, folder: &str) -> Vec<Message> {
    store.open(folder, false).unwrap().look().unwrap()
}

#[test]
fn python_reads_what_we_keep_and_we_read_what_python_adds() {
    if !have("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("box");
    let place = Place::new(&base, Per::All);
    place.deliver("ann@example.org", b"Subject: one\r\n\r\nFrom me\r\n.\r\n").unwrap();
    let mut store = Maildir::at(&base).unwrap();
    store.create("Work/Old").unwrap();
    store.append("Work/Old", b"Subject: two\r\n\r\n", &flags(true, true), Some(1_000)).unwrap();
    let script = "
import mailbox, sys
box = mailbox.Maildir(sys.argv[1], create=False)
assert sorted(box.list_folders()) == ['Work', 'Work.Old']
[one] = list(box)
print(one['subject'], one.get_subdir(), repr(one.get_flags()), one.get_payload().split())
[two] = list(box.get_folder('Work.Old'))
print(two['subject'], two.get_subdir(), two.get_flags(), int(two.get_date()))
box.lock()
message = mailbox.MaildirMessage('Subject: three\\n\\nlf\\n')
message.set_flags('RS')
message.set_subdir('cur')
box.add(message)
for key in box.keys():
    one = box[key]
    if one['subject'] == 'one':
        one.set_subdir('cur')
        one.add_flag('F')
        box[key] = one
box.flush()
";
    let output = run_other("python3", &["-c", script, arg(&base)], "").expect_code(0);
    assert_eq!(
        output.text(),
        "one new '' ['From', 'me', '.']\ntwo cur FS 1000\n",
        "{}",
        output.stderr
    );
    let mut folder = store.open(INBOX, false).unwrap();
    let all = folder.look().unwrap();
    assert_eq!(all.len(), 2);
    let texts: Vec<_> = all.iter().map(|m| folder.read(m.uid).unwrap()).collect();
    for (message, text) in all.iter().zip(&texts) {
        assert_eq!(message.size, text.len() as u64);
    }
    let three = texts.iter().position(|text| text == b"Subject: three\r\n\r\nlf\r\n").unwrap();
    assert!(all[three].flags.seen && all[three].flags.answered && all[1 - three].flags.flagged);
}

/// What Dovecot answers to a script.
fn imap(dovecot: &Dovecot, commands: &str) -> Output {
    let trust = dovecot.certificate();
    let place = format!("localhost:{}", dovecot.ports[IMAPS]);
    let options = ["-4", "--imap", &place, "--ssl", "--ssl-trustfile", &trust];
    run(&options, format!("a LOGIN ann secret\n{commands}z LOGOUT\n")).expect_code(0)
}

/// Dovecot is nobody, we are root.
fn give(base: &Path) {
    let given = Command::new("chown").args(["-R", "nobody:nogroup", arg(base)]).status();
    assert!(given.unwrap().success());
}

#[test]
fn dovecot_and_we_use_one_directory_at_the_same_time() {
    let Some(dovecot) = Dovecot::start() else { return };
    let base = dovecot.dir.path().join("ann");
    let mut store = Maildir::at(&base).unwrap();
    store.create("Entwürfe/2026").unwrap();
    store.subscribe("Entwürfe/2026", true).unwrap();
    let text = b"Subject: ours\r\n\r\nGr\xc3\xbcezi\r\n";
    store.append("Entwürfe/2026", text, &flags(false, true), Some(1_000_000_000)).unwrap();
    store.deliver(b"Subject: delivered\n\nlf\n").unwrap();
    let before = look(&mut store, INBOX);
    assert_eq!(before.len(), 3);
    give(&base);

    // Dovecot sees folders, flags, dates and sizes as we have written them.
    let output = imap(
        &dovecot,
        "b LSUB \"\" *\nc SELECT Entw&APw-rfe.2026\n\
         d FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])\n\
         e SELECT INBOX\nf FETCH 1:* RFC822.SIZE\n\
         g STORE 3 +FLAGS (\\Answered later)\nh STORE 1 +FLAGS \\Deleted\ni EXPUNGE\n\
         j CREATE Theirs.sub\nk COPY 1 Theirs.sub\n",
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "LSUB () \".\" Entw&APw-rfe.2026",
        "FLAGS (\\Flagged",
        "INTERNALDATE \"09-Sep-2001 01:46:40 +0000\"",
        &format!("RFC822.SIZE {}", text.len()),
        "Gr\u{fc}ezi",
        "* 3 FETCH (RFC822.SIZE 26)",
        "i OK",
        "k OK",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }

    // We follow what Dovecot has done: UIDs stay, one is gone, its letters do not disturb.
    let after = look(&mut store, INBOX);
    assert_eq!(after.len(), 2);
    assert_eq!((after[0].uid, after[1].uid), (before[1].uid, before[2].uid));
    assert!(after[1].flags.answered && after[1].flags.keywords.is_empty());
    let names: Vec<_> = store.folders().unwrap().into_iter().map(|folder| folder.name).collect();
    assert!(names.contains(&"Theirs/sub".to_owned()), "{names:?}");
    assert_eq!(look(&mut store, "Theirs/sub").len(), 1);

    // And its keyword outlives our changing the flags.
    store.open(INBOX, false).unwrap().mark(after[1].uid, &flags(true, false)).unwrap();
    give(&base);
    let output = imap(&dovecot, "b SELECT INBOX\nc FETCH 2 FLAGS\n");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("* 2 FETCH")).unwrap_or_default();
    assert!(
        line.contains("\\Seen") && line.contains("later") && !line.contains("Answered"),
        "{line}"
    );
}
