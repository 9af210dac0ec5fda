//! What an mbox does with other programs about, on a full disk, and when its process is killed.

use super::*;
use crate::mailbox::Place;
use crate::proto::store::{Message, Stores};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

fn mbox_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("box.mbox")
}

fn none() -> Flags {
    Flags::default()
}

fn seen() -> Flags {
    Flags { seen: true, keywords: vec!["$Work".into(), "$Forwarded".into()], ..Flags::default() }
}

fn look(store: &mut dyn Store) -> Vec<Message> {
    store.open(INBOX, true).unwrap().look().unwrap()
}

/// UID and text of each.
fn texts(store: &mut dyn Store) -> Vec<(u32, String)> {
    let mut folder = store.open(INBOX, true).unwrap();
    let all = folder.look().unwrap();
    let text = |message: &Message| {
        let text = folder.read(message.uid).unwrap();
        assert_eq!(message.size, text.len() as u64);
        (message.uid, String::from_utf8(text).unwrap())
    };
    all.iter().map(text).collect()
}

#[test]
fn it_keeps_the_rules_of_messages() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::mbox(&mbox_in(&dir));
    crate::mailbox::rules::messages(&mut || place.enter("ann", false).unwrap());
}

#[test]
fn it_is_one_folder_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Mbox::at(&mbox_in(&dir)).unwrap();
    let folders = store.folders().unwrap();
    assert_eq!(folders.len(), 1);
    assert!(folders[0].name == INBOX && folders[0].selectable && folders[0].subscribed);
    assert_eq!(store.create("inbox"), Err(Refusal::Exists));
    let no = Err(Refusal::BadName("an mbox is one folder, INBOX"));
    assert_eq!(store.create("Work"), no);
    assert_eq!(store.rename(INBOX, "Work"), no);
    assert_eq!(store.subscribe("Work", true), no);
    assert_eq!(store.subscribe(INBOX, true), Ok(()));
    assert_eq!(store.rename("Work", "x"), Err(Refusal::NoSuchFolder));
    assert_eq!(store.delete("Work"), Err(Refusal::NoSuchFolder));
    assert_eq!(store.delete(INBOX), Err(Refusal::BadName("INBOX cannot be deleted")));
    assert!(store.open("Work", true).is_err_and(|refusal| refusal == Refusal::NoSuchFolder));
    for bad in ["../x", "", "a//b", "a\0"] {
        assert!(matches!(store.create(bad), Err(Refusal::BadName(_))), "{bad:?}");
    }
    // Copies within it are all there is.
    let (_, uid) = store.append(INBOX, b"From me\r\n", &seen(), Some(7)).unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    assert_eq!(folder.copy(&[uid], "Work"), Err(Refusal::NoSuchFolder));
    let copied = folder.copy(&[uid, 99], "inbox").unwrap();
    assert_eq!((copied.uid_validity, &copied.uids[..]), (folder.uid_validity(), &[(1, 2)][..]));
    let all = folder.look().unwrap();
    assert_eq!((all[1].received, &all[1].flags), (7, &seen()));
    assert_eq!(folder.read(2).unwrap(), b"From me\r\n");
}

#[test]
fn one_session_can_have_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::mbox(&mbox_in(&dir));
    let first = place.enter("ann", true).unwrap();
    assert_eq!(place.enter("bob", true).err(), Some(Refusal::InUse));
    assert!(place.enter("bob", false).is_ok());
    drop(first);
    assert!(place.enter("bob", true).is_ok());
}

#[test]
fn a_file_is_mboxrd_with_the_senders_and_ends_in_an_empty_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let store = Mbox::at(&path).unwrap();
    store.deliver("ann@x.test", b"Subject: 1\r\n\r\nFrom me\r\n>From x\r\nend").unwrap();
    let long = format!("{}@x.test", "a".repeat(2000));
    for sender in ["", "not one", &long] {
        store.deliver(sender, b"").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("From ann@x.test ") && lines[0].len() == 40, "{}", lines[0]);
    assert_eq!(lines[1..7], ["Subject: 1", "", ">From me", ">>From x", "end", ""]);
    for n in [7, 9, 11] {
        assert!(lines[n].starts_with("From MAILER-DAEMON ") && lines[n + 1].is_empty(), "{text}");
    }
    assert_eq!(lines.len(), 13);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    let mut names: Vec<_> =
        names.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".box.mbox.ncat-index", ".box.mbox.ncat-lock", "box.mbox"]);
}

/// Files of other programs, and the texts of their messages.
const FOREIGN: &[(&str, &[&str])] = &[
    // mboxo, and no end of the last line.
    (
        "From a@b Wed Nov 25 17:45:00 2026\nStatus: RO\nX-Status: F\n\n>From me\n\n\
         From a@b Wed Nov 25 17:46:00 2026\nS: 2\n\nlast",
        &["Status: RO\r\nX-Status: F\r\n\r\nFrom me\r\n", "S: 2\r\n\r\nlast\r\n"],
    ),
    // CR LF, no empty line between them.
    (
        "From a@b Wed Nov 25 17:45:00 2026\r\nStatus: RO\r\nX-Status: F\r\n\r\none\r\n\
         From a@b Wed Nov 25 17:46:00 2026\r\nS: 2\r\n\r\ntwo\r\n",
        &["Status: RO\r\nX-Status: F\r\n\r\none\r\n", "S: 2\r\n\r\ntwo\r\n"],
    ),
    // An empty line in front, and after the last.
    (
        "\nFrom -\nStatus: RO\nX-Status: F\n\n\nFrom a@b Wed Nov 25 17:46:00 2026\nS: 2\n\n\n\n",
        &["Status: RO\r\nX-Status: F\r\n\r\n", "S: 2\r\n\r\n\r\n"],
    ),
];

#[test]
fn files_of_other_programs_are_read_added_to_and_keep_what_they_have() {
    for (file, expected) in FOREIGN {
        let dir = tempfile::tempdir().unwrap();
        let path = mbox_in(&dir);
        std::fs::write(&path, file).unwrap();
        let mut store = Mbox::at(&path).unwrap();
        let all = look(&mut store);
        assert!(all[0].flags.seen && all[0].flags.flagged && all[1].flags == none(), "{file:?}");
        assert_eq!(all[1].received, 1_795_628_760, "{file:?}");
        store.deliver("x@y", b"ours\r\n").unwrap();
        let mut expected: Vec<_> =
            (1..).zip(expected.iter().map(|text| (*text).to_owned())).collect();
        expected.push((3, "ours\r\n".to_owned()));
        assert_eq!(texts(&mut store), expected, "{file:?}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(file), "only added to");
        // Without the first.
        store.open(INBOX, false).unwrap().remove(&[1]).unwrap();
        assert_eq!(texts(&mut store), expected[1..], "{file:?}");
    }
}

#[test]
fn what_other_programs_do_to_the_file_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let mut store = Mbox::at(&path).unwrap();
    for text in ["one\r\n", "two\r\n", "three\r\n"] {
        store.append(INBOX, text.as_bytes(), &seen(), None).unwrap();
    }
    let mut folder = store.open(INBOX, false).unwrap();
    let validity = folder.uid_validity();
    let whole = std::fs::read_to_string(&path).unwrap();
    // One is taken out, one changed, one added, all by another program.
    let parts: Vec<_> = whole.split_inclusive("\n\n").collect();
    let later = "From x@y Wed Nov 25 17:46:00 2026\nfour\n\n";
    let changed = parts[2].replace("three", "Status: RO\nthree");
    std::fs::write(&path, [parts[0], &changed, later].concat()).unwrap();
    let all = folder.look().unwrap();
    let uids: Vec<_> = all.iter().map(|message| message.uid).collect();
    assert_eq!(uids, [1, 4, 5], "what has been changed is another message");
    assert_eq!((&all[0].flags, all[1].flags.seen, all[2].recent), (&seen(), true, true));
    assert_eq!(folder.read(5).unwrap(), b"four\r\n");
    assert_eq!(folder.read(2), Err(Refusal::Gone));
    // A lost index makes other UIDs, and says so; a damaged one, too.
    let index = dir.path().join(".box.mbox.ncat-index");
    std::fs::write(&index, format!("ncat-mbox 1 {validity}\nn 9 9\nrubbish\n")).unwrap();
    assert!(matches!(folder.look(), Err(Refusal::Broken(_))));
    assert!(store.open(INBOX, false).unwrap().uid_validity() > validity);
    // What is no mailbox is left alone.
    std::fs::write(&path, "%PDF-1.4\n").unwrap();
    let refusal = store.deliver("a@b", b"x").unwrap_err();
    assert!(refusal.to_string().contains("it is no mbox"), "{refusal}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "%PDF-1.4\n");
}

#[test]
fn the_file_keeps_its_mode_and_a_link_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (mbox_in(&dir), dir.path().join("link"));
    Mbox::at(&path).unwrap().deliver("a@b", b"one\r\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("box.mbox", &link).unwrap();
    let mut store = Mbox::at(&link).unwrap();
    store.deliver("a@b", b"two\r\n").unwrap();
    store.open(INBOX, false).unwrap().remove(&[1]).unwrap();
    assert_eq!(texts(&mut store), [(2, "two\r\n".to_owned())]);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn a_lock_of_another_program_is_waited_for_and_one_of_the_dead_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let mut store = Mbox::at(&path).unwrap();
    store.deliver("a@b", b"one\r\n").unwrap();
    let dot = dir.path().join("box.mbox.lock");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let alive = std::process::id();
    for text in [format!("{alive}"), format!("{alive}:{host}"), "1:elsewhere".into(), "".into()] {
        std::fs::write(&dot, &text).unwrap();
        assert_eq!(store.deliver("a@b", b"x"), Err(Refusal::InUse), "{text:?}");
        assert_eq!(store.append(INBOX, b"x", &none(), None), Err(Refusal::InUse), "{text:?}");
        // Who only reads need not care.
        assert_eq!(look(&mut store).len(), 1);
        assert_eq!(std::fs::read_to_string(&dot).unwrap(), text, "it is not ours to take");
    }
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    for text in [format!("{}", gone.id()), format!("{}:{host}", gone.id())] {
        std::fs::write(&dot, text).unwrap();
        store.deliver("a@b", b"two\r\n").unwrap();
        assert!(!dot.exists());
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(301);
    File::create(&dot).unwrap().set_modified(old).unwrap();
    store.deliver("a@b", b"three\r\n").unwrap();
    // The kernel's lock, of another open file: for writing nobody may write, nor read.
    let other = File::options().read(true).write(true).open(&path).unwrap();
    assert!(crate::sys::lock::try_lock(std::os::fd::AsFd::as_fd(&other), true).unwrap());
    assert_eq!(store.deliver("a@b", b"x"), Err(Refusal::InUse));
    assert_eq!(store.status(INBOX), Err(Refusal::InUse));
    drop(other);
    // One of ours that was stopped inside.
    let ours = File::open(dir.path().join(".box.mbox.ncat-lock")).unwrap();
    ours.lock().unwrap();
    assert_eq!(store.deliver("a@b", b"x"), Err(Refusal::InUse));
    drop(ours);
    store.deliver("a@b", b"four\r\n").unwrap();
    assert_eq!(look(&mut store).len(), 5);
}

#[test]
fn many_deliver_mark_and_remove_at_once_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    Mbox::at(&path).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut store = Mbox::at(path).unwrap();
                for i in 0..20 {
                    let text = format!("{n}-{i}\r\n");
                    let (_, uid) =
                        store.append(INBOX, text.as_bytes(), &Flags::default(), None).unwrap();
                    let mut folder = store.open(INBOX, false).unwrap();
                    folder.mark(uid, &seen()).unwrap();
                    assert_eq!(folder.read(uid).unwrap(), text.as_bytes());
                    if i % 2 == 0 {
                        folder.remove(&[uid]).unwrap();
                    }
                }
            });
        }
    });
    let mut store = Mbox::at(&path).unwrap();
    let mut left: Vec<_> = texts(&mut store).into_iter().map(|(_, text)| text).collect();
    left.sort();
    let mut expected: Vec<_> = (0..4)
        .flat_map(|n| (0..20).filter(|i| i % 2 == 1).map(move |i| format!("{n}-{i}\r\n")))
        .collect();
    expected.sort();
    assert_eq!(left, expected);
    assert!(look(&mut store).iter().all(|message| message.flags.seen));
    assert_eq!(store.status(INBOX).unwrap().uid_next, 81);
}

#[test]
fn a_long_index_is_written_anew_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let mut store = Mbox::at(&path).unwrap();
    store.append(INBOX, b"x\r\n", &none(), None).unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    let index = dir.path().join(".box.mbox.ncat-index");
    let mut longest = 0;
    for n in 0..1000 {
        folder.mark(1, &Flags { seen: n % 2 == 0, ..none() }).unwrap();
        longest = longest.max(std::fs::metadata(&index).unwrap().len());
    }
    assert!(!look(&mut store)[0].flags.seen);
    assert!(std::fs::metadata(&index).unwrap().len() < longest / 100, "of {longest}");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    if !crate::mailbox::rules::small_disk(&small) {
        return;
    }
    let path = small.join("box.mbox");
    let mut store = Mbox::at(&path).unwrap();
    let mut kept = 0;
    let refusal = loop {
        match store.deliver("a@b", &b"x".repeat(50_000)) {
            Ok(()) => kept += 1,
            Err(refusal) => break refusal,
        }
    };
    let before = std::fs::read(&path).unwrap();
    // Again, and all that was kept can still be read.
    let again = store.deliver("a@b", &b"x".repeat(200_000));
    let same = std::fs::read(&path).unwrap() == before;
    let read = texts(&mut store).len();
    let fits = store.deliver("a@b", b"small\r\n");
    Command::new("umount").arg(&small).status().unwrap();
    assert_eq!((refusal, again), (Refusal::Full, Err(Refusal::Full)));
    assert!(kept > 0 && read == kept && same, "{read} of {kept}");
    assert_eq!(fits, Ok(()));
}

/// One thing after the other, each of which happens or does not.
const LIFE: [fn(&mut Mbox) -> Result<()>; 9] = [
    |store| store.deliver("ann@x.test", b"delivered\r\n\r\nwith a paragraph\r\n"),
    |store| store.append(INBOX, b"appended\r\n", &seen(), Some(7)).map(drop),
    |store| store.append(INBOX, b"twice\r\n", &none(), Some(7)).map(drop),
    |store| store.append(INBOX, b"twice\r\n", &seen(), Some(7)).map(drop),
    |store| store.open(INBOX, false)?.mark(1, &seen()),
    |store| store.open(INBOX, false)?.copy(&[1, 2], INBOX).map(drop),
    |store| store.open(INBOX, false)?.remove(&[3, 5]),
    |store| store.deliver("", b""),
    |store| store.open(INBOX, false)?.remove(&[1, 2, 4, 6, 7]),
];

/// All that there is.
fn picture(store: &mut Mbox) -> String {
    let mut out = String::new();
    let mut folder = store.open(INBOX, true).unwrap();
    for message in folder.look().unwrap() {
        let text = folder.read(message.uid).unwrap();
        let Message { uid, size, flags, .. } = message;
        assert_eq!(size, text.len() as u64);
        out.push_str(&format!("{uid} {flags:?} {}\n", text.escape_ascii()));
    }
    out
}

/// Not a test of its own: the next one starts it.
#[test]
fn a_life_that_ends_early() {
    let Ok(path) = std::env::var("MBOX_OF_A_LIFE") else { return };
    let mut store = Mbox::at(Path::new(&path)).unwrap();
    for (n, act) in LIFE.iter().enumerate() {
        act(&mut store).unwrap();
        std::fs::write(format!("{path}.log"), (n + 1).to_string()).unwrap();
    }
}

#[test]
fn wherever_a_process_ends_what_it_did_last_has_happened_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Mbox::at(&dir.path().join("whole")).unwrap();
    let mut pictures = vec![picture(&mut store)];
    for act in LIFE {
        act(&mut store).unwrap();
        pictures.push(picture(&mut store));
    }
    for last in 0.. {
        let path = dir.path().join(last.to_string());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mailbox::mbox::tests::a_life_that_ends_early", "-q"])
            .env("MBOX_OF_A_LIFE", &path)
            .env("LAST_STEP", last.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let log = dir.path().join(format!("{last}.log"));
        let done = std::fs::read_to_string(log).map_or(0, |text| text.parse().unwrap());
        let mut store = Mbox::at(&path).unwrap();
        // Half of them are looked at first, half of them added to.
        if last % 2 == 1 {
            store.deliver("b@c", b"after\r\n").unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let whole = text.lines().filter(|line| line.starts_with("From ")).count();
            assert_eq!(whole, look(&mut store).len(), "step {last}: {text}");
            let uid = look(&mut store).last().unwrap().uid;
            store.open(INBOX, false).unwrap().remove(&[uid]).unwrap();
        }
        let now = picture(&mut store);
        if status.success() {
            assert!(done == LIFE.len() && last > 100, "{done} of it, in {last} steps");
            break;
        }
        assert_eq!(status.code(), Some(9), "step {last}");
        assert!(
            now == pictures[done] || now == pictures[done + 1],
            "step {last}, {done} done:\n{now}\nis neither\n{}\nnor\n{}",
            pictures[done],
            pictures[done + 1]
        );
        // And it goes on from there, with UIDs that nobody has had.
        let next = store.status(INBOX).unwrap().uid_next;
        let (_, uid) = store.append(INBOX, b"x", &seen(), None).unwrap();
        assert!(uid >= next && texts(&mut store).iter().filter(|(u, _)| *u == uid).count() == 1);
        for left in [".lock", ".ncat-new"] {
            let name = format!("{}{last}{left}", if left == ".lock" { "" } else { "." });
            assert!(!dir.path().join(&name).exists(), "step {last}: {name} is left");
        }
    }
}

#[test]
fn mail_that_another_program_adds_behind_half_a_message_is_kept() {
    let theirs = "From x@y Wed Nov 25 17:46:00 2026\ntheirs\n\n";
    let dir = tempfile::tempdir().unwrap();
    // What a message looks like when it is there, and what is said of it before.
    let model = dir.path().join("model");
    let mut store = Mbox::at(&model).unwrap();
    store.append(INBOX, b"first\r\n", &none(), Some(7)).unwrap();
    let before = std::fs::read(&model).unwrap();
    store.append(INBOX, b"a longer one\r\n\r\nwith paragraphs\r\n", &none(), Some(7)).unwrap();
    let after = std::fs::read(&model).unwrap();
    let journal = std::fs::read_to_string(dir.path().join(".model.ncat-index")).unwrap();
    let journal = journal.rsplit_once("s ").unwrap().0;
    for cut in before.len()..after.len() {
        let path = dir.path().join(format!("{cut}.mbox"));
        std::fs::write(dir.path().join(format!(".{cut}.mbox.ncat-index")), journal).unwrap();
        // As they do it: on a line of its own.
        let line = if after[..cut].ends_with(b"\n") { "" } else { "\n" };
        std::fs::write(&path, [&after[..cut], line.as_bytes(), theirs.as_bytes()].concat())
            .unwrap();
        let mut store = Mbox::at(&path).unwrap();
        let texts: Vec<_> = texts(&mut store).into_iter().map(|(_, text)| text).collect();
        let whole = cut + 2 >= after.len();
        let expected = ["first\r\n", "a longer one\r\n\r\nwith paragraphs\r\n", "theirs\r\n"];
        let expected: Vec<_> =
            expected.into_iter().enumerate().filter(|(n, _)| *n != 1 || whole).collect();
        assert_eq!(texts, expected.iter().map(|(_, text)| *text).collect::<Vec<_>>(), "{cut}");
    }
}

#[test]
fn an_index_that_could_not_be_written_is_not_sealed_as_true() {
    // Once a mark behind it made old places of messages true again, and removed ones came back.
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let mut store = Mbox::at(&path).unwrap();
    for n in 1..=4 {
        store.deliver("a@b", format!("Subject: {n}\r\n\r\nbody\r\n").as_bytes()).unwrap();
    }
    let blocked = dir.path().join(".box.mbox.ncat-index.new");
    std::fs::create_dir(&blocked).unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    folder.remove(&[2]).unwrap();
    folder.mark(3, &seen()).unwrap();
    assert!(store.deliver("a@b", b"Subject: 5\r\n\r\n").is_err());
    drop(folder);
    std::fs::remove_dir(&blocked).unwrap();
    let mut store = Mbox::at(&path).unwrap();
    let there = |n: u32| (n, format!("Subject: {n}\r\n\r\nbody\r\n"));
    assert_eq!(texts(&mut store), [there(1), there(3), there(4)]);
    assert!(look(&mut store)[1].flags.seen);
    store.deliver("a@b", b"Subject: 6\r\n\r\n").unwrap();
    assert_eq!(texts(&mut store).last().unwrap().0, 5);
}

#[test]
fn marks_in_one_session_do_not_make_the_index_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = mbox_in(&dir);
    let mut store = Mbox::at(&path).unwrap();
    store.deliver("a@b", b"Subject: 1\r\n\r\n").unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    for n in 0..3000 {
        folder.mark(1, &if n % 2 == 0 { seen() } else { none() }).unwrap();
    }
    let length = std::fs::metadata(dir.path().join(".box.mbox.ncat-index")).unwrap().len();
    assert!(length < 100_000, "{length} bytes");
    assert!(!look(&mut store)[0].flags.seen);
}
