//! Mail programs against our mock servers: each sends, reads, marks, moves or removes as it does
//! with any server, and what it did is looked up in the Maildir.

mod tool;

use tool::office::{Office, PASSWORD, USER, holds, message, with_lf};
use tool::{command_on_terminal, have, same};

/// Where s-nail finds a mailbox, with the login in it.
fn url(protocol: &str, port: u16) -> String {
    format!("{protocol}://{USER}:{PASSWORD}@localhost:{port}")
}

/// s-nail, which trusts the office and nobody else.
#[track_caller]
fn s_nail(office: &Office, args: &[&str], input: &[u8]) -> tool::Output {
    let trust = format!("-Stls-ca-file={}", office.path("cert.pem"));
    let first = ["-:/", "-Sv15-compat", "-Stls-verify=strict", "-Sttycharset=utf-8", &trust];
    office.run("s-nail", &[&first[..], args].concat(), input).expect_code(0)
}

#[test]
fn s_nail_sends_with_starttls_and_with_tls() {
    if !have("s-nail") {
        return;
    }
    let mut office = Office::open();
    let smtps = office.serve(&["--smtp", "--ssl", "--no-trace"]);
    let text = ".\n..\nFrom me\nGrüezi\n";
    for (subject, mta) in [("plain", url("smtp", office.smtp)), ("tls", url("smtps", smtps))] {
        let mta = format!("-Smta={mta}");
        let args = [
            &mta,
            "-Ssmtp-use-starttls",
            "-Ssendwait",
            "-Sfrom=ann@example.org",
            "-s",
            subject,
            "bob@example.net",
        ];
        s_nail(&office, &args, text.as_bytes());
    }
    office.expect("", &[("plain", ""), ("tls", "")]);
    for kept in office.kept("") {
        // It encodes a dot alone, a From and octets over 127 itself.
        assert!(holds(&kept, b"\r\n\r\n=2E\r\n..\r\n=46rom me\r\nGr=C3=BCezi\r\n"), "{kept:?}");
    }
}

#[test]
fn s_nail_reads_marks_copies_and_deletes() {
    if !have("s-nail") {
        return;
    }
    let mut office = Office::open();
    let (imap, pop3) = (office.serve(&["--imap"]), office.serve(&["--pop3", "--ssl"]));
    for subject in ["one", "two", "three"] {
        office.deliver(&message(subject));
    }
    let commands = "print 1\ndelete 2\nflag 3\ncopy 3 copy.mbox\nquit\n";
    let args = ["-Simap-use-starttls", "-f", &url("imap", imap)];
    let output = s_nail(&office, &args, commands.as_bytes());
    assert!(output.text().contains("\nGrüezi\n"), "{output:?}");
    office.expect("", &[("one", "S"), ("three", "FS")]);
    let copy = std::fs::read(office.path("copy.mbox")).unwrap();
    let body = message("three");
    let body = with_lf(&body[memchr::memmem::find(&body, b"xxx").unwrap()..]);
    assert!(holds(&copy, &body), "{}", String::from_utf8_lossy(&copy));
    let args = ["-f", &url("pop3s", pop3)];
    let output = s_nail(&office, &args, b"print 2\ndelete 2\nquit\n");
    assert!(output.text().contains("Subject: three\n"), "{output:?}");
    office.expect("", &[("one", "S")]);
    same(&office.only(""), &message("one"));
}

/// What mutt is told of the servers.
fn muttrc(office: &Office, imap: u16) -> String {
    let certificate = office.path("cert.pem");
    let text = format!(
        "set ssl_starttls=yes ssl_force_tls=yes ssl_verify_host=yes\n\
         set certificate_file={certificate}\n\
         set smtp_url=smtp://{USER}@localhost:{smtp}/ smtp_pass={PASSWORD}\n\
         set imap_user={USER} imap_pass={PASSWORD} imap_idle=yes\n\
         set folder=imap://localhost:{imap}/ spoolfile=imap://localhost:{imap}/INBOX\n\
         set from=ann@example.org use_envelope_from=yes copy=no send_charset=utf-8\n\
         set timeout=1 mail_check=1 sort=mailbox-order mark_old=no quit=yes delete=yes wait_key=no move=no\n\
         set confirmappend=no confirmcreate=no sleep_time=0 header_cache= message_cachedir=\n",
        smtp = office.smtp
    );
    office.file("muttrc", &text)
}

#[test]
fn mutt_sends_a_message_with_a_file() {
    if !have("mutt") {
        return;
    }
    let office = Office::open();
    let rc = muttrc(&office, 1);
    let octets: Vec<u8> = (0..=255).collect();
    std::fs::write(office.path("octets"), &octets).unwrap();
    let args = ["-n", "-F", &rc, "-s", "from mutt", "-a", "octets", "--", "bob@example.net"];
    office.run("mutt", &args, ".\n..\nFrom me\nGrüezi\n").expect_code(0);
    office.expect("", &[("from mutt", "")]);
    let kept = office.only("");
    let text = "\r\n\r\n.\r\n..\r\nFrom me\r\nGrüezi\r\n";
    assert!(holds(&kept, text.as_bytes()), "{}", String::from_utf8_lossy(&kept));
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&octets);
    let joined: Vec<u8> = with_lf(&kept).into_iter().filter(|&octet| octet != b'\n').collect();
    assert!(holds(&joined, encoded.as_bytes()), "{}", String::from_utf8_lossy(&kept));
}

#[test]
fn mutt_reads_marks_saves_and_hears_of_new_mail() {
    if !have("mutt") {
        return;
    }
    let mut office = Office::open();
    let imap = office.serve(&["--imap"]);
    for subject in ["one", "two", "three", "four"] {
        office.deliver(&message(subject));
    }
    let rc = muttrc(&office, imap);
    let keys = "<first-entry><display-message><exit><next-entry><delete-message><first-entry>\
                <next-entry><next-entry><flag-message><next-entry><save-message>=Jürg<enter>\
                <sync-mailbox>";
    let mut command = office.command("setsid");
    command.args(["--ctty", "mutt", "-n", "-F", &rc, "-e", &format!("push '{keys}'")]);
    let (mutt, mut terminal) = command_on_terminal(command);
    office.expect("", &[("one", "S"), ("three", "F")]);
    office.expect(".J&APw-rg", &[("four", "")]);
    // While it is idle, another process takes one more, and it appears.
    office.deliver(&message("news"));
    mutt.wait_stdout("news");
    terminal.type_text("q");
    mutt.finish().expect_code(0);
    same(&office.only(".J&APw-rg"), &message("four"));
    office.expect("", &[("news", ""), ("one", "S"), ("three", "F")]);
}

/// What fetchmail is told; what it takes goes to a file, each message behind a line.
#[track_caller]
fn fetchmail(office: &Office, protocol: &str, options: &str) -> Vec<u8> {
    let (certificate, out) = (office.path("cert.pem"), office.path("fetched"));
    let _ = std::fs::remove_file(&out);
    let rc = office.file(
        "fetchmailrc",
        &format!(
            "set no bouncemail\npoll localhost protocol {protocol} timeout 25 \
             user {USER} password {PASSWORD} sslcertck sslcertfile {certificate} {options} \
             mda \"cat >> {out}; echo --- >> {out}\"\n"
        ),
    );
    let (pid, ids) = (office.path("fetchmail.pid"), office.path("fetchids"));
    let args = ["--nosyslog", "-N", "-f", &rc, "--pidfile", &pid, "-i", &ids];
    let output = office.run("fetchmail", &args, "");
    // 1 is for nothing new, 13 for more that is left there.
    assert!([0, 1, 13].contains(&output.code()), "{}{}", output.text(), output.stderr);
    std::fs::read(out).unwrap_or_default()
}

/// Does it hold these messages, each whole, below what was put before it?
#[track_caller]
fn expect_fetched(fetched: &[u8], subjects: &[&str]) {
    let text = String::from_utf8_lossy(fetched);
    assert_eq!(text.matches("\n---\n").count(), subjects.len(), "{text}");
    for subject in subjects {
        let message = with_lf(&message(subject));
        let body = memchr::memmem::find(&message, b"\n\n").unwrap();
        let head = memchr::memmem::find(&message, b"Message-ID").unwrap();
        assert!(holds(fetched, &message[head..body]) && holds(fetched, &message[body..]), "{text}");
    }
}

#[test]
fn fetchmail_takes_what_is_new_and_deletes_it() {
    if !have("fetchmail") {
        return;
    }
    let mut office = Office::open();
    let (pop3, pop3s) = (office.serve(&["--pop3"]), office.serve(&["--pop3", "--ssl"]));
    let (imap, imaps) = (office.serve(&["--imap"]), office.serve(&["--imap", "--ssl"]));
    office.deliver(&message("one"));
    office.deliver(&message("two"));
    let keep = "keep sslproto TLS1.2+";
    let protocol = format!("POP3 port {pop3} uidl");
    expect_fetched(&fetchmail(&office, &protocol, keep), &["one", "two"]);
    office.deliver(&message("three"));
    expect_fetched(&fetchmail(&office, &protocol, keep), &["three"]);
    expect_fetched(&fetchmail(&office, &protocol, keep), &[]);
    assert_eq!(office.kept("").len(), 3);
    // By IMAP it takes what is not seen, and keeps it.
    office.deliver(&message("four"));
    let protocol = format!("IMAP port {imap}");
    let fetched = fetchmail(&office, &protocol, keep);
    assert!(holds(&fetched, b"Subject: four\n"), "{}", String::from_utf8_lossy(&fetched));
    expect_fetched(&fetchmail(&office, &protocol, keep), &[]);
    let all = ["one", "two", "three", "four"];
    office.expect("", &all.map(|subject| (subject, "S")));
    // And everything, each removed when it has arrived.
    let (first, rest) = (format!("POP3 port {pop3s}"), format!("IMAP port {imaps}"));
    expect_fetched(&fetchmail(&office, &first, "ssl fetchall fetchlimit 2"), &["one", "two"]);
    office.expect("", &[("three", "S"), ("four", "S")]);
    expect_fetched(&fetchmail(&office, &rest, "ssl fetchall"), &["three", "four"]);
    office.expect("", &[]);
}

/// What getmail is told; each message that it takes becomes a file.
fn getmail(office: &Office, retriever: &str, port: u16, delete: bool) -> tool::Output {
    let (certificate, out) = (office.path("cert.pem"), office.path("got"));
    std::fs::create_dir_all(&out).unwrap();
    office.file(
        "getmailrc",
        &format!(
            "[retriever]\ntype = {retriever}\nserver = localhost\nport = {port}\n\
             username = {USER}\npassword = {PASSWORD}\nca_certs = {certificate}\ntimeout = 25\n\
             [destination]\ntype = MDA_external\npath = /bin/sh\n\
             arguments = ('-c', 'cat > {out}/$$')\nallow_root_commands = true\n\
             [options]\nread_all = false\ndelete = {delete}\n\
             delivered_to = false\nreceived = false\n"
        ),
    );
    let home = office.path("");
    office.run("getmail", &["--getmaildir", &home, "--rcfile", "getmailrc"], "").expect_code(0)
}

#[test]
fn getmail_takes_what_is_new_and_deletes_it() {
    if !have("getmail") {
        return;
    }
    let mut office = Office::open();
    let (pop3, imap) = (office.serve(&["--pop3", "--ssl"]), office.serve(&["--imap", "--ssl"]));
    let got = |office: &Office| -> Vec<String> {
        let files = std::fs::read_dir(office.path("got")).unwrap().flatten();
        let read = |file: std::fs::DirEntry| std::fs::read_to_string(file.path()).unwrap();
        let mut all: Vec<_> = files.map(read).collect();
        all.sort();
        all
    };
    // It has fields of its own, and leaves the rest alone.
    let expected = |subjects: &[&str], field: &str| -> Vec<String> {
        let one = |subject: &&str| {
            let message = String::from_utf8(with_lf(&message(subject))).unwrap();
            let whole = message.replacen("\n\n", &format!("\n{field}\n"), 1);
            format!("Return-Path: <unknown>\n{whole}")
        };
        let mut all: Vec<_> = subjects.iter().map(one).collect();
        all.sort();
        all
    };
    office.deliver(&message("one"));
    office.deliver(&message("two"));
    getmail(&office, "SimplePOP3SSLRetriever", pop3, false);
    assert_eq!(got(&office), expected(&["one", "two"], ""));
    office.deliver(&message("three"));
    let output = getmail(&office, "SimplePOP3SSLRetriever", pop3, false);
    assert!(output.text().contains("1 messages") && output.text().contains("2 skipped"));
    assert_eq!(got(&office), expected(&["one", "two", "three"], ""));
    std::fs::remove_dir_all(office.path("got")).unwrap();
    getmail(&office, "SimpleIMAPSSLRetriever", imap, true);
    let field = "X-getmail-retrieved-from-mailbox: INBOX\n";
    assert_eq!(got(&office), expected(&["one", "two", "three"], field));
    office.expect("", &[]);
}

#[test]
fn imapfilter_searches_marks_moves_and_deletes() {
    if !have("imapfilter") {
        return;
    }
    let mut office = Office::open();
    let imap = office.serve(&["--imap"]);
    for subject in ["offer 1", "offer 2", "Grüezi", "bill", "old"] {
        office.deliver(&message(subject));
    }
    let script = office.file(
        "filter.lua",
        &format!(
            "options.timeout = 25\noptions.starttls = true\noptions.create = true\n\
             options.subscribe = true\noptions.charset = 'UTF-8'\n\
             local a = IMAP {{ server = 'localhost', port = {imap}, username = '{USER}', \
             password = '{PASSWORD}' }}\n\
             a.INBOX:contain_subject('offer'):move_messages(a['Später/Über'])\n\
             a.INBOX:contain_subject('Grüezi'):mark_flagged()\n\
             a.INBOX:contain_subject('bill'):add_flags({{ 'later', '\\\\Answered' }})\n\
             a.INBOX:contain_subject('old'):delete_messages()\n\
             local kept = a['Später/Über']\n\
             local all = kept:select_all()\n\
             assert(#all == 2)\n\
             local box, uid = table.unpack(all[2])\n\
             io.open('whole', 'wb'):write(box[uid]:fetch_message()):close()\n"
        ),
    );
    let certificate = office.path("cert.pem");
    office.run("imapfilter", &["-c", &script, "-t", &certificate], "").expect_code(0);
    office.expect("", &[("Grüezi", "F"), ("bill", "Ra")]);
    office.expect(".Sp&AOQ-ter.&ANw-ber", &[("offer 1", ""), ("offer 2", "")]);
    same(&std::fs::read(office.path("whole")).unwrap(), &message("offer 2"));
    let subscribed = std::fs::read_to_string(office.mailbox.join("subscriptions")).unwrap();
    assert_eq!(subscribed, "Sp&AOQ-ter.&ANw-ber\n");
}

#[test]
fn offlineimap_keeps_two_mailboxes_the_same() {
    if !have("offlineimap") {
        return;
    }
    let mut office = Office::open();
    let imap = office.serve(&["--imap", "--ssl"]);
    for subject in ["one", "two", "three"] {
        office.deliver(&message(subject));
    }
    let (near, meta, certificate) =
        (office.path("near"), office.path("meta"), office.path("cert.pem"));
    std::fs::create_dir(&near).unwrap();
    let rc = office.file(
        "offlineimaprc",
        &format!(
            "[general]\naccounts = a\nmetadata = {meta}\n\
             [Account a]\nlocalrepository = near\nremoterepository = far\n\
             utf8foldernames = yes\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {near}\n\
             [Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {imap}\n\
             remoteuser = {USER}\nremotepass = {PASSWORD}\nssl = yes\n\
             sslcacertfile = {certificate}\n"
        ),
    );
    let place = format!("localhost:{imap}");
    let account = format!("{USER}:{PASSWORD}");
    let commands = |commands: &str| {
        let args = ["--imap", "--ssl", "--ssl-trustfile", &certificate, "--auth", &account, &place];
        office.run(tool::NCAT, &args, commands).expect_code(0)
    };
    commands("a CREATE \"Entw&APw-rfe\"\nb SELECT INBOX\nc STORE 1 +FLAGS (\\Flagged)\n");
    let sync = || office.run("offlineimap", &["-o", "-u", "basic", "-c", &rc], "").expect_code(0);
    // The files of a folder on its side, by their subjects.
    let files = |folder: &str| -> Vec<(String, std::path::PathBuf)> {
        let dir = std::path::Path::new(&near).join(folder);
        let list = |part: &str| std::fs::read_dir(dir.join(part)).unwrap().flatten();
        let mut all: Vec<_> = list("new")
            .chain(list("cur"))
            .map(|entry| {
                let content = std::fs::read(entry.path()).unwrap();
                (tool::office::subject(&content), entry.path())
            })
            .collect();
        all.sort();
        all
    };
    sync();
    let here = files("INBOX");
    assert_eq!(here.iter().map(|(s, _)| s.as_str()).collect::<Vec<_>>(), ["one", "three", "two"]);
    same(&std::fs::read(&here[0].1).unwrap(), &with_lf(&message("one")));
    assert!(here[0].1.to_str().unwrap().ends_with(":2,F"), "{here:?}");
    assert!(files("Entwürfe").is_empty());

    // Here one is read, one deleted, one added, one is in a new folder; there one is marked, one
    // added, one deleted.
    let renamed = here[0].1.to_str().unwrap().replace("/new/", "/cur/").replace(":2,F", ":2,FS");
    std::fs::rename(&here[0].1, renamed).unwrap();
    std::fs::remove_file(&here[1].1).unwrap();
    let write = |place: &str, subject: &str| {
        std::fs::write(format!("{near}/{place}"), with_lf(&message(subject))).unwrap();
    };
    write("INBOX/new/1.mine", "mine");
    write("Entwürfe/cur/2.mine:2,DS", "draft");
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(format!("{near}/Lökal/{part}")).unwrap();
    }
    write("Lökal/new/3.mine", "local");
    commands("b SELECT INBOX\nc STORE 2 +FLAGS (\\Answered)\n");
    office.deliver(&message("theirs"));
    sync();
    office.expect("", &[("mine", ""), ("one", "FS"), ("theirs", ""), ("two", "R")]);
    office.expect(".Entw&APw-rfe", &[("draft", "DS")]);
    office.expect(".L&APY-kal", &[("local", "")]);
    same(&with_lf(&office.only(".L&APY-kal")), &with_lf(&message("local")));
    let here: Vec<_> = files("INBOX").into_iter().map(|(subject, _)| subject).collect();
    assert_eq!(here, ["mine", "one", "theirs", "two"]);
    assert!(files("INBOX")[3].1.to_str().unwrap().ends_with(":2,R"));

    commands("b SELECT INBOX\nc STORE 1 +FLAGS (\\Deleted)\nd EXPUNGE\n");
    sync();
    office.expect("", &[("mine", ""), ("theirs", ""), ("two", "R")]);
    let here: Vec<_> = files("INBOX").into_iter().map(|(subject, _)| subject).collect();
    assert_eq!(here, ["mine", "theirs", "two"]);
    // Nothing is left to do, and nothing is done twice.
    let before = office.kept("");
    sync();
    assert_eq!(office.kept(""), before);
}
