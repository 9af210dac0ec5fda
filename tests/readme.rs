//! Every recipe of the README works: each is cut out and run against real peers on loopback.
//!
//! A recipe stands in a fenced block behind `<!-- recipe: name -->`. Its lines are taken as they
//! are, but for the hosts, ports and files that a test puts in for the README's own: each such
//! change is a [`Recipe::put`] below, and fails where the README does not have its text.

mod tool;

use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;
use tool::dnsmasq::Dnsmasq;
use tool::dovecot::{self, Dovecot};
use tool::postfix::Postfix;
use tool::{
    DEADLINE, NCAT, Output, Running, dir, file_in, have, ncat, noise, now, pause, same,
    start_command,
};

/// The recipes that have a test here.
const TESTED: &[&str] = &[
    "http",
    "web-server",
    "copy",
    "certificate",
    "tls",
    "wait",
    "guests",
    "record",
    "smtp-lesson",
    "smtp-login",
    "send",
    "mailbox",
    "fetch",
    "mock",
    "mock-mailbox",
    "banner",
    "serve",
    "unix",
    "exec",
    "udp",
    "chat",
    "proxy",
    "dns",
];

#[test]
fn every_recipe_of_the_readme_has_a_test() {
    let found: Vec<_> = recipes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, TESTED);
    assert!(found.len() >= 10, "{found:?}");
}

#[test]
fn http_spoken_by_hand_brings_a_page() {
    let (address, heard) = web("HTTP/1.0 200 OK\r\n\r\n<p>hello</p>\n");
    let mut recipe = recipe("http");
    recipe.put("example.org 80", &spaced(address));
    let output = recipe.run().expect_code(0);
    assert_eq!(output.text(), "HTTP/1.0 200 OK\r\n\r\n<p>hello</p>\n");
    assert_eq!(output.stderr, "");
    let asked = heard.recv_timeout(DEADLINE).unwrap();
    assert_eq!(asked, "GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
}

#[test]
fn one_line_is_a_web_server_for_curl() {
    if !have("curl") {
        return;
    }
    let mut recipe = recipe("web-server");
    recipe.put(" -l 8080", " -l -v 0");
    let server = recipe.start(0);
    recipe.put("localhost:8080", &format!("localhost:{}", server.port()));
    recipe.put("curl ", "curl -sS --noproxy '*' --max-time 30 ");
    recipe.start(1).finish().expect_code(0).expect_stdout("hello\n").expect_stderr("");
    let asked = server.finish().expect_code(0).text();
    assert!(asked.starts_with("GET / HTTP/1.1\r\nHost: localhost:"), "{asked:?}");
}

#[test]
fn a_file_is_copied_between_two_machines() {
    let mut recipe = recipe("copy");
    let original = noise(300_000);
    file_in(&recipe.dir, "original.tar", &original);
    recipe.put(" -l 9000", " -l -v 0");
    let server = recipe.start(0);
    recipe.put("first.example 9000", &format!("localhost {}", server.port()));
    recipe.start(1).finish().expect_code(0).expect_stdout("");
    server.finish().expect_code(0);
    same(&recipe.read("copy.tar"), &original);
}

#[test]
fn the_certificate_of_a_server_is_shown() {
    let server = ncat(&["-lkv", "--ssl", "127.0.0.1", "0"]);
    let mut recipe = recipe("certificate");
    recipe.put("example.org 443", &format!("127.0.0.1 {}", server.port()));
    let output = recipe.run().expect_code(0).expect_stderr("is not verified");
    for part in ["protocol    TLS 1.3\n", "localhost 127.0.0.1 ::1\n", " days left)\n"] {
        assert!(output.text().contains(part), "no {part:?} in\n{}", output.text());
    }
    server.signal("TERM");
    server.wait().expect_code(143);
}

#[test]
fn a_tls_server_is_trusted_by_the_certificate_that_it_wrote() {
    let mut recipe = recipe("tls");
    recipe.put(" -l --ssl", " -l -v --ssl");
    recipe.put("cert.pem 8443", "cert.pem 0");
    let server = recipe.start(0);
    recipe.put("localhost 8443", &format!("localhost {}", server.port()));
    let output = recipe.start(1).wait().expect_code(0).expect_stdout("hello\n");
    // Trusted: there is nothing to warn of.
    assert_eq!(output.stderr, "");
    server.finish().expect_code(0);
}

#[test]
fn a_script_waits_until_a_service_is_up() {
    // Bound and not listening: the port is ours, and a caller is refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let mut recipe = recipe("wait");
    recipe.put("db.example 5432", &format!("127.0.0.1 {port}"));
    // So that the test sees it wait.
    recipe.put("do sleep", "do echo not yet; sleep");
    let waiting = recipe.start(0);
    waiting.wait_stdout("not yet\n");
    socket.listen(8).unwrap();
    let output = waiting.finish().expect_code(0);
    assert_eq!(output.stderr, "");
}

#[test]
fn a_host_and_its_guests_hear_each_other() {
    let mut recipe = recipe("guests");
    recipe.put(" -lk 9000", " -lkv 0");
    let mut host = recipe.start(0);
    recipe.put("host.example 9000", &format!("localhost {}", host.port()));
    let mut guests = [recipe.start(1), recipe.start(1)];
    for (guest, name) in guests.iter_mut().zip(["ann", "bob"]) {
        guest.send(format!("I am {name}\n"));
        host.wait_stdout(&format!("I am {name}\n"));
    }
    host.send("welcome\n");
    for guest in guests {
        guest.wait_stdout("welcome\n");
        guest.finish().expect_code(0).expect_stdout("welcome\n");
    }
    host.signal("TERM");
    host.finish().expect_code(143);
}

#[test]
fn a_conversation_is_recorded_as_bytes_and_as_a_dump() {
    let (address, heard) = web("HTTP/1.0 204 No Content\r\n\r\n");
    let mut recipe = recipe("record");
    recipe.put("example.org 80", &spaced(address));
    recipe.run().expect_code(0).expect_stdout("HTTP/1.0 204 No Content\r\n\r\n");
    let talk = "HEAD / HTTP/1.0\r\nHost: example.org\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n";
    assert_eq!(String::from_utf8(recipe.read("talk.txt")).unwrap(), talk);
    let dump = String::from_utf8(recipe.read("talk.hex")).unwrap();
    assert!(dump.starts_with("0000   48 45 41 44 20 2f 20 48  54 54 50 2f 31 2e 30 0d  HEAD"));
    assert!(dump.contains("  HTTP/1.0.204.No."), "{dump}");
    assert!(heard.recv_timeout(DEADLINE).unwrap().starts_with("HEAD / HTTP/1.0\r\n"));
}

#[test]
fn a_lesson_in_smtp_goes_step_by_step_and_is_explained() {
    let (address, heard) = mail_server();
    let mut recipe = recipe("smtp-lesson");
    recipe.put("mail.example", &format!("127.0.0.1:{}", address.port()));
    let output = recipe.run().expect_code(0);
    assert_eq!(
        output.text(),
        "220 mail.example ready\r\n250-mail.example\r\n250 PIPELINING\r\n250 sender ok\r\n\
         250 recipient ok\r\n354 go ahead\r\n250 queued\r\n221 bye\r\n"
    );
    assert_eq!(
        heard.recv_timeout(DEADLINE).unwrap(),
        "EHLO me.example\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n\
         Subject: hello\r\n\r\nHello Bob.\r\n.\r\nQUIT\r\n"
    );
    // One line of explanation for each of the seven replies.
    assert_eq!(output.stderr.lines().count(), 7, "{}", output.stderr);
    assert!(output.stderr.contains("next: RCPT TO"), "{}", output.stderr);
}

#[test]
fn a_message_is_sent_after_starttls_and_a_login() {
    let Some(postfix) = Postfix::start() else { return };
    let mut recipe = recipe("smtp-login");
    let certificate = postfix.certificate();
    recipe.put(
        "submission://ann@mail.example",
        &format!(
            "--ssl-trustfile {} submission://ann@{}",
            certificate.display(),
            postfix.at("submission")
        ),
    );
    recipe.put("ann@example.org", "ann@example.test");
    recipe.put("bob@example.org", "bob@example.test");
    let mut sending = recipe.start(0);
    sending.send("secret\n");
    let output = sending.finish().expect_code(0);
    // Verified, logged in, and taken: nothing to say but what the server replied.
    assert_eq!(output.stderr, "");
    let text = output.text();
    let codes: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(codes, ["220", "250", "250", "354", "250", "221"], "{text}");
}

#[test]
fn a_service_behind_a_unix_socket_answers() {
    let mut recipe = recipe("unix");
    let path = recipe.dir.path().join("redis.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let heard = aside(move || {
        let (mut caller, _) = listener.accept().unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut asked = String::new();
        BufReader::new(&caller).read_line(&mut asked).unwrap();
        caller.write_all(b"+PONG\r\n").unwrap();
        asked
    });
    recipe.put("/run/redis/redis.sock", path.to_str().unwrap());
    recipe.run().expect_code(0).expect_stdout("+PONG\r\n");
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), "PING\r\n");
}

#[test]
fn callers_run_a_command_that_knows_where_they_call_from() {
    let mut recipe = recipe("exec");
    recipe.put(" -lk ", " -lkv ");
    recipe.put("' 9000", "' 0");
    let server = recipe.start(0);
    recipe.put("127.0.0.1 9000", &format!("127.0.0.1 {}", server.port()));
    for _ in 0..2 {
        let output = recipe.start(1).finish().expect_code(0);
        let output = output.expect_stdout("127.0.0.1 asks:\nHELLO\n");
        assert_eq!(output.stderr, "");
    }
    server.signal("TERM");
    // The shell ends by the signal that ends ncat.
    let output = server.finish().expect_code(143).expect_stdout("");
    assert!(!output.stderr.contains("cannot"), "{}", output.stderr);
}

#[test]
fn a_datagram_is_answered() {
    let mut recipe = recipe("udp");
    recipe.put(" -luk -e /bin/cat 9000", " -lukv -e /bin/cat 0");
    let server = recipe.start(0);
    recipe.put("localhost 9000", &format!("localhost {}", server.port()));
    // The machine of a test may be busy.
    recipe.put("-q 2s", "-q 30s");
    for _ in 0..2 {
        let output = recipe.start(1).finish().expect_code(0).expect_stdout("ping\n");
        assert_eq!(output.stderr, "");
    }
    server.signal("TERM");
    server.finish().expect_code(143).expect_stdout("");
}

#[test]
fn guests_of_a_chat_room_know_who_speaks_and_who_leaves() {
    let mut recipe = recipe("chat");
    recipe.put(" --chat 9000", " --chat -v 0");
    let host = recipe.start(0);
    recipe.put("host.example 9000", &format!("localhost {}", host.port()));
    let mut ann = recipe.start(1);
    ann.wait_stdout("<announce> already connected: nobody.\n");
    let bob = recipe.start(1);
    bob.wait_stdout(" as <user1>.\n");
    ann.send("hello\n");
    bob.wait_stdout("<user1> hello\n");
    // Nobody hears his own words.
    bob.finish().expect_code(0);
    ann.wait_stdout("<announce> <user2> is disconnected.\n");
    let output = ann.finish().expect_code(0);
    assert!(!output.text().contains("hello"), "{}", output.text());
    host.signal("TERM");
    host.finish().expect_code(143).expect_stdout("");
}

#[test]
fn curl_and_ncat_go_through_the_proxy() {
    if !have("curl") {
        return;
    }
    let mut recipe = recipe("proxy");
    recipe.put("socks5 1080", "socks5 -v 0");
    let proxy = recipe.start(0);
    recipe.put("localhost:1080", &format!("localhost:{}", proxy.port()));
    let (address, by_curl) = web("HTTP/1.0 200 OK\r\n\r\nfor curl\n");
    recipe.put("http://example.org/", &format!("http://localhost:{}/", address.port()));
    recipe.put("curl ", "curl -sS --noproxy '' --max-time 30 ");
    let output = recipe.start(1).finish().expect_code(0).expect_stdout("for curl\n");
    assert_eq!(output.stderr, "");
    assert!(by_curl.recv_timeout(DEADLINE).unwrap().starts_with("GET / HTTP/1.1\r\n"));

    let page = "HTTP/1.0 200 OK\r\n\r\nfor ncat\n";
    let (address, by_ncat) = web(page);
    recipe.put("example.org 80", &format!("localhost {}", address.port()));
    let output = recipe.start(2).finish().expect_code(0).expect_stdout(page);
    assert_eq!(output.stderr, "");
    assert_eq!(by_ncat.recv_timeout(DEADLINE).unwrap(), "GET / HTTP/1.0\r\n\r\n");

    proxy.signal("TERM");
    let output = proxy.finish().expect_code(143).expect_stdout("");
    // Both went through it.
    assert_eq!(output.stderr.matches(" asks for localhost:").count(), 2, "{}", output.stderr);
}

#[test]
fn a_message_is_sent_in_one_line() {
    let Some(postfix) = Postfix::start() else { return };
    let mut recipe = recipe("send");
    file_in(&recipe.dir, "menu.pdf", "%PDF-1.4 a menu\n");
    recipe.put("mail.example", &postfix.at("plain"));
    recipe.put("bob@example.org", "bob@example.test");
    let output = recipe.run().expect_code(0).expect_stdout("");
    assert_eq!(output.stderr, "");
    let got = String::from_utf8(postfix.delivered_to("bob", "Subject: Lunch")).unwrap();
    assert!(got.contains("See you at noon.") && got.contains("application/pdf"), "{got}");
}

#[test]
fn a_mail_server_is_played_that_greylists() {
    let mut recipe = recipe("mock");
    recipe.put(" -l --smtp 1025", " -l -v --smtp 0");
    let server = recipe.start(0);
    recipe.put("localhost:1025", &format!("localhost:{}", server.port()));
    let output = recipe.start(1).finish().expect_code(0);
    assert!(output.stderr.contains("Come back later"), "{}", output.stderr);
    server.finish().expect_code(0);
    let mails = String::from_utf8(recipe.read("mails")).unwrap();
    assert_eq!(mails.matches("\nTo: <bob@example.org>").count(), 1, "{mails}");
}

#[test]
fn mail_is_kept_by_one_server_and_handed_out_by_another() {
    let mut recipe = recipe("mock-mailbox");
    recipe.put(" -lk --smtp 1025", " -lkv --smtp 0");
    recipe.put(" -lk --imap 1143", " -lkv --imap 0");
    let (smtp, imap) = (recipe.start(0), recipe.start(1));
    recipe.put("localhost:1025", &format!("localhost:{}", smtp.port()));
    recipe.put("localhost:1143", &format!("localhost:{}", imap.port()));
    let output = recipe.start(2).finish().expect_code(0);
    let list = output.text();
    assert!(list.starts_with("1\t") && list.contains("ann@example.org"), "{list}");
}

#[test]
fn a_banner_is_waited_for() {
    let (server, port) = tool::serving(&["--smtp", "--fault", "greeting=421x2", "--accept", "3"]);
    let mut recipe = recipe("banner");
    recipe.put("60:1s", "60:10ms");
    recipe.put("mail.example 25", &format!("127.0.0.1 {port}"));
    let output = recipe.run().expect_code(0);
    assert_eq!(output.text(), "ready\n");
    server.finish().expect_code(0);
}

#[test]
fn files_are_served_and_requests_shown() {
    if !have("curl") {
        return;
    }
    let mut recipe = recipe("serve");
    recipe.put("-lk --serve http=. 8080", "-lkv --serve http=. 0");
    recipe.put("-lk --serve http-dump 8081", "-lkv --serve http-dump 0");
    file_in(&recipe.dir, "page.txt", "hello\n");
    let (files, dump) = (recipe.start(0), recipe.start(1));
    let url = format!("http://localhost:{}/page.txt", files.port());
    tool::run_other("curl", &["-sS", &url], "").expect_code(0).expect_stdout("hello\n");
    let url = format!("http://localhost:{}/hook", dump.port());
    tool::run_other("curl", &["-sS", "-d", "a=b", &url], "").expect_code(0);
    dump.wait_stdout("POST /hook HTTP/1.1\r\n");
}

#[test]
fn the_dns_says_what_it_has_of_a_mail_domain() {
    let records =
        ["--mx-host=a.test,m.test,10", "--txt-record=a.test,v=spf1 ip4:192.0.2.0/24 -all"];
    let Some(dnsmasq) = Dnsmasq::start(&records) else { return };
    let mut recipe = recipe("dns");
    recipe.put("example.org", &format!("--dns-server {} a.test", dnsmasq.place()));
    recipe.run().expect_code(0).expect_stdout(
        "MX       10 m.test\n\
         SPF      v=spf1 ip4:192.0.2.0/24 -all\n\
         pass: ip4:192.0.2.0/24 of a.test\n",
    );
}

#[test]
fn a_mailbox_is_looked_into_by_both_protocols() {
    let Some(dovecot) = Dovecot::start() else { return };
    let mut recipe = recipe("mailbox");
    let trust = format!("ncat -4 --ssl-trustfile {}", dovecot.certificate());
    recipe.put("ncat pop3s", &format!("{trust} pop3s"));
    recipe.put("ann@mail.example", &format!("ann@localhost:{}", dovecot.ports[dovecot::POP3S]));
    recipe.put("ncat --imap", &format!("{trust} --imap"));
    recipe.put("ann mail.example", &format!("ann localhost:{}", dovecot.ports[dovecot::IMAP]));
    let mut reading = recipe.start(0);
    reading.send("secret\n");
    let output = reading.finish().expect_code(0);
    assert_eq!(output.stderr, "");
    let text = output.text();
    let first = dovecot::FIRST.replace("\n.", "\n..");
    assert!(text.contains(&format!("octets\r\n{first}.\r\n")), "{text}");
    assert!(text.contains("* 2 FETCH (FLAGS ("), "{text}");
    assert!(text.contains("Subject: second\r\n"), "{text}");
}

#[test]
fn mail_is_fetched_in_one_line() {
    let Some(dovecot) = Dovecot::start() else { return };
    let mut recipe = recipe("fetch");
    let trust = format!("ncat -4 --ssl-trustfile {}", dovecot.certificate());
    let place = |port: usize| format!("ann@localhost:{}", dovecot.ports[port]);
    recipe.put(
        "ncat pop3s://ann@mail.example",
        &format!("{trust} pop3s://{}", place(dovecot::POP3S)),
    );
    recipe.put(
        "ncat imaps://ann@mail.example",
        &format!("{trust} imaps://{}", place(dovecot::IMAPS)),
    );
    let mut reading = recipe.start(0);
    reading.send("secret\n");
    let output = reading.finish().expect_code(0);
    assert_eq!(output.stderr, "");
    assert!(output.text().contains("\tfirst\n2\t"), "{}", output.text());
    let mbox = std::fs::read_to_string(recipe.dir.path().join("unread.mbox")).unwrap();
    assert_eq!(mbox.matches("From MAILER-DAEMON ").count(), 2, "{mbox}");
}

/// Name and text of each recipe, in order.
fn recipes() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut found = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("<!-- recipe: ") else { continue };
        let name = name.strip_suffix(" -->").expect("a recipe's mark ends in -->");
        assert_eq!(lines.next(), Some("```sh"), "after the mark of the recipe {name}");
        let text = lines.by_ref().take_while(|line| *line != "```");
        let text = text.map(|line| format!("{line}\n")).collect();
        found.push((name.to_owned(), text));
    }
    found
}

/// One recipe, to be run in a directory of its own.
struct Recipe {
    /// What is typed in each terminal.
    parts: Vec<String>,
    dir: TempDir,
}

/// The recipe with this name, as the README has it.
#[track_caller]
fn recipe(name: &str) -> Recipe {
    let (_, text) = recipes()
        .into_iter()
        .find(|(found, _)| found == name)
        .unwrap_or_else(|| panic!("the README has no recipe {name}"));
    // A comment says where the next lines are typed.
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("# ") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
        }
    }
    parts.retain(|part| !part.is_empty());
    let dir = dir();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    symlink(NCAT, dir.path().join("bin/ncat")).unwrap();
    Recipe { parts, dir }
}

impl Recipe {
    /// Puts something of this machine in the place of the README's.
    #[track_caller]
    fn put(&mut self, from: &str, to: &str) {
        let hit = self.parts.iter().any(|part| part.contains(from));
        assert!(hit, "the recipe has no {from:?}: {:#?}", self.parts);
        for part in &mut self.parts {
            *part = part.replace(from, to);
        }
    }

    /// Runs what is typed in one terminal.
    #[track_caller]
    fn start(&self, part: usize) -> Terminal {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.dir.path().join("bin").display());
        let mut command = Command::new("bash");
        command.args(["-e", "-o", "pipefail", "-c", &self.parts[part]]);
        command.current_dir(&self.dir).env("PATH", path).env_remove("NCAT_PROXY_AUTH");
        command.process_group(0);
        Terminal::new(start_command(command))
    }

    /// Runs a recipe that needs one terminal and no typing.
    #[track_caller]
    fn run(&self) -> Output {
        assert_eq!(self.parts.len(), 1, "{:#?}", self.parts);
        self.start(0).finish()
    }

    /// A file that the recipe has written.
    #[track_caller]
    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(file)).unwrap()
    }
}

/// A shell with everything that it has started, which is gone when this goes.
struct Terminal {
    running: Option<Running>,
    group: u32,
}

impl Terminal {
    fn new(running: Running) -> Self {
        Self { group: running.id(), running: Some(running) }
    }

    /// Ends its input and waits for its end.
    #[track_caller]
    fn finish(mut self) -> Output {
        self.end_input();
        self.wait()
    }

    /// Waits for its end, while its input stays open as a person's does.
    #[track_caller]
    fn wait(mut self) -> Output {
        let start = now();
        while !self.has_ended() && start.elapsed() < DEADLINE {
            pause();
        }
        if !self.has_ended() {
            // Its status 137 and all that it had said will show what it hung on.
            self.signal("KILL");
        }
        self.running.take().unwrap().wait()
    }

    fn signal(&self, name: &str) {
        signal_group(self.group, name);
    }
}

impl std::ops::Deref for Terminal {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Terminal {
    fn deref_mut(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.running.is_some() {
            signal_group(self.group, "KILL");
        }
    }
}

/// Signals a shell and its children.
fn signal_group(group: u32, name: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, "--", &format!("-{group}")]).stderr(Stdio::null());
    // It may be gone already.
    let _ = kill.status();
}

/// Runs a peer on a thread; what it has to tell can be waited for.
fn aside<T: Send + 'static>(peer: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        // A test that has failed does not listen any more.
        let _ = tell.send(peer());
    });
    told
}

/// `127.0.0.1 8080`
fn spaced(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

/// Listens on a free port of loopback, and lets `talk` deal with the first caller.
fn serve(
    talk: impl FnOnce(TcpStream) -> String + Send + 'static,
) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = aside(move || {
        let (caller, _) = listener.accept().unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        caller.set_write_timeout(Some(DEADLINE)).unwrap();
        talk(caller)
    });
    (address, heard)
}

/// A web server that answers one request with `page`; tells what it was asked.
fn web(page: &'static str) -> (SocketAddr, Receiver<String>) {
    serve(|mut caller| {
        let mut asked = String::new();
        // The page goes out when the request is whole, as a real server would have it.
        let mut reader = BufReader::new(caller.try_clone().unwrap());
        while !asked.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut asked).unwrap(), 0, "the request ends early");
        }
        caller.write_all(page.as_bytes()).unwrap();
        asked
    })
}

/// A mail server that takes everything, but no line before its time; tells what it was told.
fn mail_server() -> (SocketAddr, Receiver<String>) {
    serve(|mut caller| {
        let mut reader = BufReader::new(caller.try_clone().unwrap());
        let mut heard = String::new();
        let mut in_message = false;
        caller.write_all(b"220 mail.example ready\r\n").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "no QUIT after {heard:?}");
            heard.push_str(&line);
            let reply = match (in_message, line.trim_end()) {
                (true, ".") => "250 queued\r\n",
                (true, _) => continue,
                (false, "DATA") => "354 go ahead\r\n",
                (false, "QUIT") => "221 bye\r\n",
                (false, line) if line.starts_with("EHLO ") => {
                    "250-mail.example\r\n250 PIPELINING\r\n"
                }
                (false, line) if line.starts_with("MAIL FROM:") => "250 sender ok\r\n",
                (false, line) if line.starts_with("RCPT TO:") => "250 recipient ok\r\n",
                (false, _) => "500 what?\r\n",
            };
            in_message = reply.starts_with("354");
            assert!(!speaks_early(&caller, &reader), "more than {line:?} before its reply");
            caller.write_all(reply.as_bytes()).unwrap();
            if reply.starts_with("221") {
                return heard;
            }
        }
    })
}

/// Has the caller sent more, although it has no reply yet?
fn speaks_early(caller: &TcpStream, reader: &BufReader<TcpStream>) -> bool {
    caller.set_nonblocking(true).unwrap();
    let more = !reader.buffer().is_empty() || caller.peek(&mut [0; 1]).is_ok();
    caller.set_nonblocking(false).unwrap();
    more
}
