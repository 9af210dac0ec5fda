//! What every store must do, whatever it keeps its messages on: each is held to the same rules.

use crate::proto::store::{Flags, INBOX, Refusal, Store};
use std::path::Path;
use std::process::Command;

fn names(store: &mut dyn Store) -> Vec<(String, bool)> {
    let list = store.folders().unwrap();
    list.into_iter().map(|listed| (listed.name, listed.selectable)).collect()
}

fn uids(folder: &mut dyn crate::proto::store::Folder) -> Vec<u32> {
    folder.look().unwrap().iter().map(|message| message.uid).collect()
}

/// Messages and folders; `enter` gives sessions of one empty store.
pub(super) fn hold(enter: &mut dyn FnMut() -> Box<dyn Store>) {
    messages(enter);
    folders(enter);
}

/// Those of messages: `enter` gives sessions of one store with an empty INBOX.
pub(super) fn messages(enter: &mut dyn FnMut() -> Box<dyn Store>) {
    let (mut ann, mut bob) = (enter(), enter());
    let none = Flags::default();
    let seen = Flags { seen: true, keywords: vec!["$Forwarded".into()], ..Flags::default() };
    let (validity, first) = ann.append("inbox", b"S: 1\n\n.\n", &none, Some(1_000_000)).unwrap();
    let (_, second) = ann.append(INBOX, b"S: 2\r\n\r\nFrom x\r\n", &seen, None).unwrap();
    assert!(second > first);
    assert_eq!(ann.append("No", b"", &none, None), Err(Refusal::NoSuchFolder));

    let status = bob.status(INBOX).unwrap();
    assert_eq!((status.messages, status.unseen), (2, 1));
    assert_eq!((status.uid_validity, status.uid_next), (validity, second + 1));
    let mut looking = bob.open(INBOX, true).unwrap();
    assert!(looking.look().unwrap()[0].recent);
    let mut folder = ann.open(INBOX, false).unwrap();
    let list = folder.look().unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list.iter().map(|message| message.size).sum::<u64>(), status.size);
    assert!(list[0].recent);
    assert_eq!((list[0].uid, list[0].received, &list[0].flags), (first, 1_000_000, &none));
    assert_eq!((list[1].uid, &list[1].flags), (second, &seen));
    assert_eq!(bob.status(INBOX).unwrap().recent, 0);
    for (message, content) in list.iter().zip(["S: 1\r\n\r\n.\r\n", "S: 2\r\n\r\nFrom x\r\n"]) {
        assert_eq!(folder.read(message.uid).unwrap(), content.as_bytes());
        assert_eq!(message.size, content.len() as u64);
    }

    // Marks, seen by the other session.
    assert_eq!(looking.mark(first, &seen), Err(Refusal::ReadOnly));
    assert_eq!(looking.remove(&[first]), Err(Refusal::ReadOnly));
    let all = Flags {
        seen: true,
        answered: true,
        flagged: true,
        deleted: true,
        draft: true,
        keywords: vec!["b".into(), "$Forwarded".into()],
    };
    folder.mark(first, &all).unwrap();
    let mut flags = looking.look().unwrap()[0].flags.clone();
    flags.keywords.sort_by_key(|keyword| keyword != "b");
    assert_eq!(flags, all);
    folder.mark(first, &none).unwrap();
    assert_eq!(looking.look().unwrap()[0].flags, none);

    // One that came while both were looking.
    let (_, third) = bob.append(INBOX, b"3", &none, None).unwrap();
    let list = folder.look().unwrap();
    assert!(list.len() == 3 && list[2].uid == third && list[2].recent);
    assert_eq!(folder.uid_next(), third + 1);

    // What is removed is gone for all, and its UID with it.
    folder.remove(&[second, third, 99]).unwrap();
    assert_eq!(looking.read(third), Err(Refusal::Gone));
    assert_eq!(uids(&mut *looking), [first]);
    assert_eq!(folder.mark(third, &seen), Err(Refusal::Gone));
    let (same, fourth) = ann.append(INBOX, b"4", &none, None).unwrap();
    assert!(fourth > third && same == validity);
    assert_eq!(enter().open(INBOX, false).unwrap().uid_validity(), validity);
    assert_eq!(uids(&mut *folder), [first, fourth]);
    folder.remove(&[first, fourth]).unwrap();
    assert!(uids(&mut *folder).is_empty());
}

/// Those of folders.
fn folders(enter: &mut dyn FnMut() -> Box<dyn Store>) {
    let (mut ann, mut bob) = (enter(), enter());
    let pairs = |list: &[(&str, bool)]| -> Vec<_> {
        list.iter().map(|(name, selectable)| ((*name).to_owned(), *selectable)).collect()
    };
    ann.create("Entwürfe/v1.0/b&c").unwrap();
    assert_eq!(
        names(&mut *bob),
        pairs(&[
            ("INBOX", true),
            ("Entwürfe", true),
            ("Entwürfe/v1.0", true),
            ("Entwürfe/v1.0/b&c", true)
        ])
    );
    for name in ["inbox", "Entwürfe"] {
        assert_eq!(bob.create(name), Err(Refusal::Exists));
    }
    for bad in ["", "../x", "/etc", "a//b", "a\0", ".", "a/.."] {
        assert!(matches!(bob.create(bad), Err(Refusal::BadName(_))), "{bad:?}");
        assert!(bob.open(bad, true).is_err() && bob.delete(bad).is_err(), "{bad:?}");
    }
    assert!(matches!(bob.delete(INBOX), Err(Refusal::BadName(_))));
    assert_eq!(bob.delete("Other"), Err(Refusal::NoSuchFolder));

    // Those below stay, and what was deleted and made again is another one.
    let before = ann.status("Entwürfe").unwrap().uid_validity;
    bob.delete("Entwürfe").unwrap();
    assert_eq!(names(&mut *ann)[1], ("Entwürfe".to_owned(), false));
    assert!(matches!(ann.status("Entwürfe"), Err(Refusal::NoSuchFolder)));
    ann.create("Entwürfe").unwrap();
    assert!(ann.status("Entwürfe").unwrap().uid_validity > before);

    // Copies keep marks and dates.
    let flags = Flags { flagged: true, keywords: vec!["x".into()], ..Flags::default() };
    let (_, uid) = ann.append(INBOX, b"hello\n", &flags, Some(5_000)).unwrap();
    let mut inbox = ann.open(INBOX, false).unwrap();
    assert_eq!(inbox.copy(&[uid], "No"), Err(Refusal::NoSuchFolder));
    let copied = inbox.copy(&[uid, 999], "Entwürfe").unwrap();
    assert_eq!(copied.uid_validity, bob.status("Entwürfe").unwrap().uid_validity);
    let [(from, to)] = copied.uids[..] else { panic!("{copied:?}") };
    let mut folder = bob.open("Entwürfe", false).unwrap();
    let list = folder.look().unwrap();
    assert!(from == uid && list.len() == 1 && list[0].uid == to);
    assert_eq!((list[0].received, &list[0].flags, list[0].size), (5_000, &flags, 7));
    assert_eq!(folder.read(to).unwrap(), b"hello\r\n");

    // Renaming takes all below it along; INBOX only lends its messages.
    let validity = ann.status("Entwürfe").unwrap().uid_validity;
    assert_eq!(ann.rename("Entwürfe", "INBOX"), Err(Refusal::Exists));
    assert_eq!(
        ann.rename("Entwürfe", "Entwürfe/neu"),
        Err(Refusal::BadName("it would lie within itself"))
    );
    ann.rename("Entwürfe", "Neu/Alt").unwrap();
    assert_eq!(
        names(&mut *bob),
        pairs(&[
            ("INBOX", true),
            ("Neu", true),
            ("Neu/Alt", true),
            ("Neu/Alt/v1.0", true),
            ("Neu/Alt/v1.0/b&c", true)
        ])
    );
    let status = bob.status("Neu/Alt").unwrap();
    assert_eq!((status.uid_validity, status.messages), (validity, 1));
    ann.rename("INBOX", "Old").unwrap();
    assert_eq!(
        (ann.status("INBOX").unwrap().messages, ann.status("Old").unwrap().messages),
        (0, 1)
    );
    assert!(uids(&mut *inbox).is_empty());

    bob.subscribe("Neu", true).unwrap();
    bob.subscribe("Not/there", true).unwrap();
    let wanted = |store: &mut dyn Store| -> Vec<_> {
        let list = store.folders().unwrap().into_iter();
        list.filter(|listed| listed.subscribed).map(|l| (l.name, l.selectable)).collect()
    };
    assert_eq!(wanted(&mut *ann), pairs(&[("Neu", true), ("Not/there", false)]));
    ann.create("Not/there").unwrap();
    ann.delete("Not/there").unwrap();
    ann.delete("Not").unwrap();
    assert_eq!(wanted(&mut *bob), pairs(&[("Neu", true), ("Not/there", false)]));
    ann.subscribe("Neu", false).unwrap();
    ann.subscribe("Not/there", false).unwrap();
    assert_eq!(wanted(&mut *bob), pairs(&[]));
}

/// A disk of 256 KiB, at a place that is not there yet; false if nobody here may mount one.
pub(super) fn small_disk(at: &Path) -> bool {
    std::fs::create_dir(at).unwrap();
    let options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
    let mount = Command::new("mount").args(options).arg(at).status();
    let is_there = mount.is_ok_and(|status| status.success());
    assert!(is_there || option_env!("CI").is_none(), "a small file system needs root");
    is_there
}
