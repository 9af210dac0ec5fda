//! What a Maildir does with others about, on a full disk, and when its process is killed. What any
//! store must do is asked of the one in memory as well.

use super::*;
use crate::mailbox::memory::Memory;
use crate::mailbox::{Per, Place};
use crate::proto::store::{Message, Stores};
use std::collections::HashSet;
use std::process::Command;

/// A store of each kind, empty.
fn stores() -> Vec<(tempfile::TempDir, Box<dyn Stores>)> {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = Place::new(&one.path().join("box"), Per::All);
    vec![(one, Box::new(place)), (other, Box::new(Memory::default()))]
}

#[test]
fn each_store_keeps_the_rules() {
    for (_dir, mut stores) in stores() {
        crate::mailbox::rules::hold(&mut || stores.enter("ann", false).unwrap());
    }
}

fn seen() -> Flags {
    Flags { seen: true, keywords: vec!["$Work".into(), "$Forwarded".into()], ..Flags::default() }
}

#[test]
fn messages_come_are_marked_copied_and_go() {
    for (_dir, mut stores) in stores() {
        let mut store = stores.enter("ann", false).unwrap();
        let (validity, one) =
            store.append("inbox", b"a\nb\r\n", &Flags::default(), Some(7)).unwrap();
        let (_, two) = store.append(INBOX, b"second\r\n", &seen(), None).unwrap();
        assert!(two > one);
        let mut folder = store.open(INBOX, false).unwrap();
        assert_eq!(folder.uid_validity(), validity);
        let all = folder.look().unwrap();
        assert_eq!(all.iter().map(|m| m.uid).collect::<Vec<_>>(), [one, two]);
        assert_eq!((all[0].size, all[0].received, all[0].recent), (6, 7, true));
        let mut keywords = all[1].flags.keywords.clone();
        keywords.sort();
        assert_eq!(
            (all[1].flags.seen, keywords),
            (true, vec!["$Forwarded".into(), "$Work".into()])
        );
        assert_eq!(folder.read(one).unwrap(), b"a\r\nb\r\n");
        folder.mark(one, &Flags { deleted: true, ..Flags::default() }).unwrap();
        assert!(folder.look().unwrap()[0].flags.deleted);
        assert_eq!(folder.copy(&[one], "Archive"), Err(Refusal::NoSuchFolder));
        store.create("Archive/2026").unwrap();
        assert_eq!(store.create("Archive"), Err(Refusal::Exists));
        let copied = folder.copy(&[one, 99, two], "Archive/2026").unwrap();
        assert_eq!(copied.uids.iter().map(|(old, _)| *old).collect::<Vec<_>>(), [one, two]);
        let mut archive = store.open("Archive/2026", true).unwrap();
        assert_eq!(archive.uid_validity(), copied.uid_validity);
        let list = archive.look().unwrap();
        assert_eq!((list[0].received, list[0].flags.deleted), (7, true));
        assert_eq!(archive.read(copied.uids[1].1).unwrap(), b"second\r\n");
        assert_eq!(archive.mark(1, &seen()), Err(Refusal::ReadOnly));
        folder.remove(&[one, 99]).unwrap();
        assert_eq!(folder.read(one), Err(Refusal::Gone));
        let status = store.status(INBOX).unwrap();
        assert_eq!((status.messages, status.unseen, status.size), (1, 0, 8));
        assert!(status.uid_next > two);
        // A UID is nobody else's, ever.
        let (_, three) = store.append(INBOX, b"x", &Flags::default(), None).unwrap();
        assert!(three > two);
    }
}

#[test]
fn folders_are_made_renamed_subscribed_and_deleted() {
    for (_dir, mut stores) in stores() {
        let mut store = stores.enter("ann", false).unwrap();
        store.create("Jürg & Co/a.b").unwrap();
        store.append("Jürg & Co/a.b", b"hi\r\n", &Flags::default(), None).unwrap();
        store.subscribe("Jürg & Co", true).unwrap();
        store.rename("Jürg & Co", "New").unwrap();
        let names = |store: &mut Box<dyn Store>| -> Vec<String> {
            store.folders().unwrap().into_iter().map(|folder| folder.name).collect()
        };
        // Who has subscribed to a name has it until he gives it back.
        assert_eq!(names(&mut store), [INBOX, "Jürg & Co", "New", "New/a.b"]);
        assert_eq!(store.status("New/a.b").unwrap().messages, 1);
        assert_eq!(store.rename("Nothing", "x"), Err(Refusal::NoSuchFolder));
        assert_eq!(store.rename("New", "New/a.b"), Err(Refusal::Exists));
        store.append(INBOX, b"moves\r\n", &seen(), Some(5)).unwrap();
        store.rename(INBOX, "Old").unwrap();
        assert_eq!(store.status(INBOX).unwrap().messages, 0);
        let moved = store.open("Old", true).unwrap().look().unwrap();
        assert_eq!((moved.len(), moved[0].received, moved[0].flags.seen), (1, 5, true));
        store.delete("New/a.b").unwrap();
        assert_eq!(store.delete("New/a.b"), Err(Refusal::NoSuchFolder));
        assert!(matches!(store.delete("inbox"), Err(Refusal::BadName(_))));
        store.subscribe("Old", true).unwrap();
        store.subscribe("Jürg & Co", false).unwrap();
        let listed = store.folders().unwrap();
        let subscribed: Vec<_> = listed.iter().filter(|l| l.subscribed).map(|l| &l.name).collect();
        assert_eq!(subscribed, ["Old"]);
        for bad in ["../x", "a//b", "a/../b", "", "/", "a\0b", "."] {
            assert!(matches!(store.create(bad), Err(Refusal::BadName(_))), "{bad:?}");
        }
    }
}

/// One of our programs may have been stopped with it.
#[test]
fn a_lock_of_ours_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("box");
    let mut place = Place::new(&path, Per::All);
    let mut store = place.enter("ann", false).unwrap();
    store.append(INBOX, b"a\r\n", &Flags::default(), None).unwrap();
    store.create("A").unwrap();
    let held = |name: &str| {
        let file = File::options().create(true).append(true).open(path.join(name)).unwrap();
        file.lock().unwrap();
        file
    };
    let inbox = held("ncat-lock");
    assert_eq!(store.append(INBOX, b"b\r\n", &Flags::default(), None), Err(Refusal::InUse));
    drop(inbox);
    let folders = held("ncat-folders");
    assert_eq!(store.rename("A", "B"), Err(Refusal::InUse));
    drop(folders);
    store.rename("A", "B").unwrap();
    store.append(INBOX, b"b\r\n", &Flags::default(), None).unwrap();
    assert_eq!(store.open(INBOX, true).unwrap().look().unwrap().len(), 2);
}

#[test]
fn one_session_can_have_it_alone() {
    for (_dir, mut stores) in stores() {
        let first = stores.enter("ann", true).unwrap();
        assert_eq!(stores.enter("ann", true).err(), Some(Refusal::InUse));
        assert!(stores.enter("ann", false).is_ok());
        drop(first);
        assert!(stores.enter("ann", true).is_ok());
    }
}

fn uids(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|message| message.uid).collect()
}

#[test]
fn what_other_programs_do_is_seen_and_uids_stay() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    let maildir = Maildir::at(base).unwrap();
    let first = maildir.deliver(b"one\r\n").unwrap();
    std::fs::write(base.join("cur/1.foreign.host:2,S"), "two\nlines\n").unwrap();
    let mut store: Box<dyn Store> = Box::new(maildir);
    let mut folder = store.open(INBOX, false).unwrap();
    let before = folder.look().unwrap();
    // The older name came first, whoever gave it.
    assert_eq!(before.len(), 2);
    assert!(before[0].flags.seen && before[0].size == 12 && !before[0].recent && before[1].recent);
    // A reader moves it and gives it a flag, another program delivers, a third removes.
    std::fs::rename(base.join(format!("cur/{first}:2,")), base.join(format!("cur/{first}:2,FS")))
        .unwrap();
    assert_eq!(folder.read(before[1].uid).unwrap(), b"one\r\n");
    std::fs::write(base.join("new/2000000000.later"), "three\n").unwrap();
    std::fs::remove_file(base.join("cur/1.foreign.host:2,S")).unwrap();
    let after = folder.look().unwrap();
    assert_eq!(uids(&after), [before[1].uid, before[1].uid + 1]);
    assert!(after[0].flags.flagged && after[1].recent);
    assert_eq!(folder.read(before[0].uid), Err(Refusal::Gone));
    // Another session sees the same, and nothing of it is new any more.
    let again = store.open(INBOX, false).unwrap().look().unwrap();
    assert_eq!(uids(&again), uids(&after));
    assert!(!again[1].recent);
    // A lost index makes other UIDs, and says so.
    let validity = folder.uid_validity();
    std::fs::write(base.join("ncat-index"), format!("ncat-index 1 {validity} 9\nhalf")).unwrap();
    let fresh = store.open(INBOX, false).unwrap();
    assert!(fresh.uid_validity() > validity);
}

#[test]
fn many_deliver_and_read_at_once_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("box");
    Maildir::at(&base).unwrap();
    let seen: Vec<Vec<(u32, String)>> = std::thread::scope(|scope| {
        for n in 0..4 {
            let base = &base;
            scope.spawn(move || {
                for i in 0..25 {
                    let text = format!("Subject: {n}-{i}\r\n\r\n");
                    Maildir::at(base).unwrap().deliver(text.as_bytes()).unwrap();
                }
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let base = &base;
                scope.spawn(move || {
                    let mut store = Maildir::at(base).unwrap();
                    let mut folder = store.open(INBOX, false).unwrap();
                    let mut all = Vec::new();
                    while all.len() < 100 {
                        all = folder.look().unwrap();
                    }
                    let text = |uid| String::from_utf8(folder.read(uid).unwrap()).unwrap();
                    uids(&all).into_iter().map(text).zip(uids(&all)).map(|(t, u)| (u, t)).collect()
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "each sees the same under each UID");
    let texts: HashSet<_> = seen[0].iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), 100);
}

/// Not a test of its own: what the next one starts, to kill it.
#[test]
fn deliveries_until_killed() {
    let Ok(base) = std::env::var("MAILDIR_OF_THE_TEST") else { return };
    let mut store = Maildir::at(Path::new(&base)).unwrap();
    let log = Path::new(&base).join("../log");
    for n in 0.. {
        let text = format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(5000));
        store.deliver(text.as_bytes()).unwrap();
        let (validity, uid) = store.append(INBOX, text.as_bytes(), &seen(), None).unwrap();
        let told = format!("{validity} {uid} {n}\n");
        use std::io::Write as _;
        File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap()
            .write_all(told.as_bytes())
            .unwrap();
    }
}

#[test]
fn whoever_is_killed_has_lost_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("box");
    let program = std::env::current_exe().unwrap();
    let log = dir.path().join("log");
    for round in 0..12 {
        let before = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        let mut child = Command::new(&program)
            .args(["--exact", "mailbox::maildir::tests::deliveries_until_killed", "-q"])
            .env("MAILDIR_OF_THE_TEST", &base)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // It is killed in the middle of whatever it does then.
        let limit = std::time::SystemTime::now() + std::time::Duration::from_secs(30);
        let count = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        while count() < before + 1 + round % 5 && std::time::SystemTime::now() < limit {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let told = std::fs::read_to_string(&log).unwrap();
        let told: Vec<_> = told.lines().filter(|line| line.split(' ').count() == 3).collect();
        assert!(told.len() > before, "it did not get anywhere");
        let mut store = Maildir::at(&base).unwrap();
        let mut folder = store.open(INBOX, false).unwrap();
        let all = folder.look().unwrap();
        let mut texts = HashSet::new();
        for message in &all {
            let text = folder.read(message.uid).unwrap();
            assert!(text.ends_with(b"xx\r\n") && text.len() > 5000, "half a message is to be seen");
            assert_eq!(text.len() as u64, message.size);
            texts.insert((message.uid, text));
        }
        for line in told {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            assert_eq!(word(), folder.uid_validity().to_string(), "UIDVALIDITY has changed");
            let uid: u32 = word().parse().unwrap();
            let n = word();
            let text = format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(5000));
            assert!(texts.contains(&(uid, text.into_bytes())), "{line} is lost, or another's");
        }
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    if !crate::mailbox::rules::small_disk(&small) {
        return;
    }
    let base = small.join("box");
    let place = Place::new(&base, Per::All);
    let mut kept = 0;
    let refusal = loop {
        match place.deliver("a@b", &b"x".repeat(50_000)) {
            Ok(_) => kept += 1,
            Err(refusal) => break refusal,
        }
    };
    let left = |part: &str| std::fs::read_dir(base.join(part)).unwrap().count();
    let counts = (refusal, left("tmp"), left("new") == kept && kept > 0);
    Command::new("umount").arg(&small).status().unwrap();
    assert_eq!(counts, (Refusal::Full, 0, true));
}

#[test]
fn a_message_with_an_old_date_is_not_taken_for_one_that_was_left() {
    // Its date was put on its file, and the next who looked removed it.
    let dir = tempfile::tempdir().unwrap();
    let draft = Draft::write(dir.path().join("x").as_path(), b"", None).err();
    assert!(matches!(draft, Some(Refusal::Broken(_))), "no folder, no draft");
    let mut store = Maildir::at(dir.path()).unwrap();
    let draft = Draft::write(dir.path(), b"hi\r\n", Some(7)).unwrap();
    store.open(INBOX, false).unwrap();
    draft.place("").unwrap();
    assert_eq!(store.status(INBOX).unwrap().messages, 1);
}

#[test]
fn a_message_keeps_its_uid_while_its_marks_change() {
    // Who read the directory while its file was renamed saw it nowhere, and gave it another UID.
    let dir = tempfile::tempdir().unwrap();
    let mut store = Maildir::at(dir.path()).unwrap();
    for n in 0..50 {
        store.append(INBOX, format!("{n}\n").as_bytes(), &Flags::default(), None).unwrap();
    }
    let before = uids(&store.open(INBOX, false).unwrap().look().unwrap());
    let cur = dir.path().join("cur");
    std::thread::scope(|scope| {
        let markers: Vec<_> = (0..2)
            .map(|n| {
                let base = dir.path();
                scope.spawn(move || {
                    let mut store = Maildir::at(base).unwrap();
                    let mut folder = store.open(INBOX, false).unwrap();
                    for uid in folder.look().unwrap().iter().map(|message| message.uid) {
                        folder.mark(uid, &Flags { seen: n == 0, ..seen() }).unwrap();
                    }
                })
            })
            .collect();
        // And another program, which knows nothing of our lock.
        let other = scope.spawn(|| {
            for entry in std::fs::read_dir(&cur).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                let name = format!("{}F", name.replace('F', ""));
                // Ours may have been quicker.
                let _ = std::fs::rename(entry.path(), cur.join(name));
            }
        });
        let mut folder = Maildir::at(dir.path()).unwrap().open(INBOX, true).unwrap();
        while !other.is_finished() || markers.iter().any(|marker| !marker.is_finished()) {
            assert_eq!(uids(&folder.look().unwrap()), before);
        }
    });
}

#[test]
fn a_folder_that_is_made_again_at_once_is_another_one() {
    // Both had the second at which they were made for a UIDVALIDITY, and the same UIDs.
    let dir = tempfile::tempdir().unwrap();
    let mut store = Maildir::at(dir.path()).unwrap();
    let mut last = 0;
    for _ in 0..3 {
        store.create("a").unwrap();
        let mut open = store.open("a", false).unwrap();
        assert!(open.uid_validity() > last);
        last = open.uid_validity();
        store.delete("a").unwrap();
        store.create("a").unwrap();
        store.append("a", b"x", &Flags::default(), None).unwrap();
        assert!(matches!(open.look(), Err(Refusal::Broken(_))), "it is not the one it was");
        store.delete("a").unwrap();
    }
    let left = std::fs::read_dir(dir.path()).unwrap().flatten();
    let left: Vec<_> = left.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert!(!left.iter().any(|name| name.contains("gone") || name.contains("new-")), "{left:?}");
}

#[test]
fn odd_files_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Maildir::at(dir.path()).unwrap();
    store.append(INBOX, b"x", &Flags::default(), None).unwrap();
    let cur = dir.path().join("cur");
    // The first would break a line of the index; the second would be read for ever.
    std::fs::write(cur.join("1.a\nend\n:2,"), "x").unwrap();
    assert!(Command::new("mkfifo").arg(cur.join("2.pipe:2,")).status().unwrap().success());
    std::fs::create_dir(cur.join("3.dir")).unwrap();
    // Somebody has changed it, and its name lies.
    std::fs::write(cur.join("4.a,S=1,W=1:2,"), "a\nb\n").unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    let all = folder.look().unwrap();
    assert_eq!(all.iter().map(|message| message.size).collect::<Vec<_>>(), [1, 6]);
    assert_eq!(store.open(INBOX, false).unwrap().uid_validity(), folder.uid_validity());
    // A letter of another program's means to us neither something nor nothing.
    std::fs::write(cur.join("5.a:2,Sa"), "x").unwrap();
    let uid = folder.look().unwrap()[2].uid;
    folder.mark(all[0].uid, &seen()).unwrap();
    folder.mark(uid, &Flags::default()).unwrap();
    let list = folder.look().unwrap();
    assert_eq!((&list[2].flags, list[0].flags.keywords.len()), (&Flags::default(), 2));
    assert!(cur.join("5.a:2,a").exists(), "its letter is kept");
}

#[test]
fn subscriptions_keep_dots_and_are_not_lost_when_several_write() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..20).map(|n| format!("v1.{n}/ü")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let base = dir.path();
            scope.spawn(move || Maildir::at(base).unwrap().subscribe(name, true).unwrap());
        }
    });
    let subscribed: Vec<_> =
        Maildir::at(dir.path()).unwrap().subscriptions().unwrap().into_iter().collect();
    let mut names = names;
    names.sort();
    assert_eq!(subscribed, names);
}

/// One thing after the other, each of which happens or does not.
const LIFE: [fn(&mut Maildir) -> Result<()>; 15] = [
    |store| store.deliver(b"delivered\r\n").map(drop),
    |store| store.append(INBOX, b"appended\r\n", &seen(), Some(7)).map(drop),
    |store| store.open(INBOX, false)?.mark(1, &seen()),
    |store| store.create("a"),
    |store| store.open(INBOX, false)?.copy(&[2], "a").map(drop),
    |store| store.create("a/sub/x"),
    |store| store.append("a/sub", b"below\r\n", &Flags::default(), Some(8)).map(drop),
    |store| store.open(INBOX, false)?.copy(&[1, 2], "a/sub").map(drop),
    |store| store.rename("a", "above/b"),
    |store| store.rename("above/b", "b"),
    |store| store.open(INBOX, false)?.remove(&[2]),
    |store| store.subscribe("b", true),
    |store| store.delete("b"),
    |store| store.append(INBOX, b"again\r\n", &Flags::default(), Some(9)).map(drop),
    |store| store.rename(INBOX, "old/mail"),
];

/// All that there is.
fn picture(store: &mut Maildir) -> String {
    let mut out = String::new();
    for listed in store.folders().unwrap() {
        out.push_str(&format!("{listed:?}\n"));
        if !listed.selectable {
            continue;
        }
        let mut folder = store.open(&listed.name, true).unwrap();
        for message in folder.look().unwrap() {
            let text = folder.read(message.uid).unwrap();
            let Message { uid, size, flags, .. } = message;
            assert_eq!(size, text.len() as u64);
            out.push_str(&format!("{uid} {flags:?} {}\n", text.escape_ascii()));
        }
    }
    out
}

/// Not a test of its own: the next one starts it.
#[test]
fn a_life_that_ends_early() {
    let Ok(base) = std::env::var("MAILDIR_OF_A_LIFE") else { return };
    let log = format!("{base}.log");
    let mut store = Maildir::at(Path::new(&base)).unwrap();
    for (n, act) in LIFE.iter().enumerate() {
        act(&mut store).unwrap();
        std::fs::write(&log, (n + 1).to_string()).unwrap();
    }
}

#[test]
fn wherever_a_process_ends_what_it_did_last_has_happened_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Maildir::at(&dir.path().join("whole")).unwrap();
    let mut pictures = vec![picture(&mut store)];
    for act in LIFE {
        act(&mut store).unwrap();
        pictures.push(picture(&mut store));
    }
    for last in 0.. {
        let base = dir.path().join(last.to_string());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mailbox::maildir::tests::a_life_that_ends_early", "-q"])
            .env("MAILDIR_OF_A_LIFE", &base)
            .env("LAST_STEP", last.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let log = dir.path().join(format!("{last}.log"));
        let done = std::fs::read_to_string(log).map_or(0, |text| text.parse().unwrap());
        let mut store = Maildir::at(&base).unwrap();
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
        // And it goes on from there.
        store.create("after").unwrap();
        store.append("after", b"x", &seen(), None).unwrap();
        let names: Vec<_> = std::fs::read_dir(&base).unwrap().flatten().collect();
        let names = names.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = names.filter(|name| name.starts_with("ncat-gone")).collect();
        assert!(left.is_empty(), "step {last}: {left:?}");
    }
}

#[test]
fn subscriptions_are_read_in_both_forms_that_dovecot_has() {
    // Those of the second form were lost, and then overwritten.
    for text in ["Work.Old\nINBOX\n", "V\t2\n\nWork\tOld\nINBOX\n"] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Maildir::at(dir.path()).unwrap();
        std::fs::write(dir.path().join("subscriptions"), text).unwrap();
        store.create("Work/Old").unwrap();
        store.subscribe("New", true).unwrap();
        let kept = std::fs::read_to_string(dir.path().join("subscriptions")).unwrap();
        assert_eq!(kept, "INBOX\nNew\nWork.Old\n", "{text:?}");
        let listed = store.folders().unwrap();
        let old = listed.iter().find(|folder| folder.name == "Work/Old").unwrap();
        assert!(old.subscribed);
    }
}

#[test]
fn who_has_a_mailbox_for_himself_may_log_in_by_his_whole_address() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::new(dir.path(), Per::User);
    place.deliver("Ann+tag@x.test", b"hi\r\n").unwrap();
    for user in ["ann", "ann@x.test"] {
        assert_eq!(place.enter(user, false).unwrap().status(INBOX).unwrap().messages, 1, "{user}");
    }
}

#[test]
fn a_keyword_too_many_is_refused_and_changes_nothing() {
    // The names of files have letters for 26. More were dropped, and nobody was told.
    let dir = tempfile::tempdir().unwrap();
    let mut store = Maildir::at(dir.path()).unwrap();
    let flags = |keywords: &[&str]| Flags {
        keywords: keywords.iter().map(|&keyword| keyword.to_owned()).collect(),
        ..Flags::default()
    };
    let names: Vec<String> = (1..=26).map(|n| format!("k{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, uid) = store.append(INBOX, b"one\r\n", &flags(&all[..25]), None).unwrap();
    let mut folder = store.open(INBOX, false).unwrap();
    let limit = Err(Refusal::Limit("a folder of a Maildir has 26 keywords at most"));
    // Both or none: the first would have found room.
    assert_eq!(folder.mark(uid, &flags(&["k26", "k27"])), limit);
    assert_eq!(folder.look().unwrap()[0].flags, flags(&all[..25]));
    // In any case it is the same, and one has a letter for all Maildirs.
    folder.mark(uid, &flags(&["K1", "k26", "$forwarded"])).unwrap();
    let marked = folder.look().unwrap()[0].flags.keywords.clone();
    assert_eq!(marked, ["$Forwarded", "k1", "k26"]);
    assert_eq!(store.append(INBOX, b"two\r\n", &flags(&["k27"]), None).map(|_| ()), limit.clone());
    store.create("Full").unwrap();
    for name in ["a", "b", "c"] {
        store.append("Full", b"x\r\n", &flags(&[name]), None).unwrap();
    }
    store.append(INBOX, b"two\r\n", &Flags::default(), None).unwrap();
    let mut inbox = store.open(INBOX, false).unwrap();
    let uids = uids(&inbox.look().unwrap());
    inbox.mark(uids[0], &Flags::default()).unwrap();
    inbox.mark(uids[1], &flags(&all[..24])).unwrap();
    // The first of the two could be copied, and is not, alone.
    assert_eq!(inbox.copy(&uids, "Full").map(|_| ()), limit);
    assert_eq!(store.status("Full").unwrap().messages, 3);
    assert_eq!(std::fs::read_dir(dir.path().join(".Full/tmp")).unwrap().count(), 0);
}
