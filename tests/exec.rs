//! Commands in the place of standard input and output.

mod tool;

use rustix::process::{Pid, test_kill_process};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tool::{
    DEADLINE, NCAT, Running, arg, dir, file_in, ncat, noise, now, same, start_command, wait_until,
};

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Over {
    Tcp,
    Ipv6,
    Tls,
    Unix,
    /// TCP by way of an HTTP proxy of ours.
    Proxy,
    Udp,
    Dtls,
    UnixDatagram,
}

const STREAMS: &[Over] = &[Over::Tcp, Over::Ipv6, Over::Tls, Over::Unix, Over::Proxy];
const EVERYTHING: &[Over] = &[
    Over::Tcp,
    Over::Ipv6,
    Over::Tls,
    Over::Unix,
    Over::Proxy,
    Over::Udp,
    Over::Dtls,
    Over::UnixDatagram,
];

impl Over {
    fn options(self) -> &'static [&'static str] {
        match self {
            Over::Tcp | Over::Ipv6 | Over::Proxy => &[],
            Over::Tls => &["--ssl"],
            Over::Unix => &["-U"],
            Over::Udp => &["-u"],
            Over::Dtls => &["-u", "--ssl"],
            Over::UnixDatagram => &["-U", "-u"],
        }
    }

    fn is_unix(self) -> bool {
        matches!(self, Over::Unix | Over::UnixDatagram)
    }

    fn host(self) -> &'static str {
        if self == Over::Ipv6 { "::1" } else { "127.0.0.1" }
    }
}

/// One of ours that waits, and how it is called.
struct Line {
    called: Running,
    way: Vec<String>,
    port: String,
    proxy: Option<Running>,
    _dir: TempDir,
}

impl Line {
    fn new(over: Over, options: &[&str]) -> Self {
        let dir = dir();
        let path = dir.path().join("socket");
        let place = if over.is_unix() { vec![arg(&path)] } else { vec![over.host(), "0"] };
        let called = ncat(&[&["-v", "-l"], over.options(), options, &place[..]].concat());
        called.wait_stderr("Listening on ");
        let port = if over.is_unix() { String::new() } else { called.port().to_string() };
        let mut way: Vec<_> = over.options().iter().map(|&word| word.to_owned()).collect();
        if way.contains(&"--ssl".to_owned()) {
            way.push("--ssl-insecure".to_owned());
        }
        let proxy = (over == Over::Proxy)
            .then(|| ncat(&["-v", "-l", "-k", "--proxy-type", "http", "127.0.0.1", "0"]));
        way.extend(proxy.iter().map(|proxy| format!("--proxy=127.0.0.1:{}", proxy.port())));
        if over.is_unix() {
            way.push(arg(&path).to_owned());
        } else {
            way.extend([over.host().to_owned(), port.clone()]);
        }
        Self { called, way, port, proxy, _dir: dir }
    }

    fn call(&self, options: &[&str]) -> Running {
        let way: Vec<_> = self.way.iter().map(String::as_str).collect();
        ncat(&[&["-v"], options, &way[..]].concat())
    }
}

/// Each on a thread of its own.
fn at_once<T: Sync>(items: &[T], test: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for item in items {
            scope.spawn(|| test(item));
        }
    });
}

/// A caller; neither its reads nor its writes wait for ever.
fn call(server: &Running) -> TcpStream {
    patient(TcpStream::connect(("127.0.0.1", server.port())).unwrap())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[track_caller]
fn rest(mut from: impl Read) -> String {
    let mut got = Vec::new();
    from.read_to_end(&mut got).unwrap_or_else(|e| panic!("after {} bytes: {e}", got.len()));
    String::from_utf8(got).unwrap()
}

/// The commands of a process; whoever is not fetched yet is among them.
fn children(id: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn descriptors(id: u32) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().flatten();
    let mut all: Vec<_> = entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().into_string().unwrap(), target.display().to_string()))
        })
        .collect();
    all.sort();
    all
}

/// A mask of signals, as /proc has it.
fn signals(id: u32, which: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let (_, mask) = text.split_once(which).unwrap();
    u64::from_str_radix(mask.split_whitespace().next().unwrap(), 16).unwrap()
}

/// Says a word, hears a line, and answers.
const TALK: &str = r#"echo ready; read line; echo "$line" | tr a-z A-Z"#;
const TALK_IN_LUA: &str = "print('ready') io.flush() print(io.read():upper())";

/// The same command in every way, as two arguments.
fn commands(dir: &TempDir) -> Vec<[String; 2]> {
    let script = file_in(dir, "talk.sh", TALK);
    let lua = file_in(dir, "talk.lua", TALK_IN_LUA);
    let mut commands = vec![
        ["-e".to_owned(), format!("/bin/sh {}", arg(&script))],
        ["-c".to_owned(), TALK.to_owned()],
    ];
    if cfg!(feature = "lua") {
        commands.push(["--lua-exec".to_owned(), arg(&lua).to_owned()]);
    }
    commands
}

#[test]
fn a_command_is_ended_by_a_limit_of_the_size_of_files_as_it_is_without_us() {
    let (server, port) = tool::serving(&["-c", "grep ^Sig /proc/self/status"]);
    let output = tool::run(&["--recv-only", "127.0.0.1", &port.to_string()], "").expect_code(0);
    server.finish().expect_code(0);
    let text = output.text();
    let mask = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // SIGXFSZ is 25, and SIGPIPE 13.
    for (name, mask) in [("ignored", mask("SigIgn:")), ("blocked", mask("SigBlk:"))] {
        assert_eq!(mask & (1 << 24 | 1 << 12), 0, "{name}: {mask:x}");
    }
}

#[test]
fn a_command_talks_over_everything_called_and_calling() {
    let dir = dir();
    let commands = commands(&dir);
    at_once(EVERYTHING, |&over| {
        for [option, command] in &commands {
            let line = Line::new(over, &[option, command]);
            let mut person = line.call(&[]);
            person.send("shout\n");
            person.wait_stdout("SHOUT\n");
            line.called.wait().expect_code(0).expect_stdout("");
            person.finish().expect_code(0).expect_stdout("ready\nSHOUT\n");

            let line = Line::new(over, &[]);
            let command = line.call(&[option, command]);
            let mut person = line.called;
            person.wait_stdout("ready\n");
            person.send("shout\n");
            person.wait_stdout("ready\nSHOUT\n");
            command.wait().expect_code(0).expect_stdout("");
            // Datagrams have no end: that person waits for more.
            if STREAMS.contains(&over) {
                person.finish().expect_code(0).expect_stdout("ready\nSHOUT\n");
            }
        }
    });
}

#[test]
fn a_command_knows_both_ends_by_their_numbers() {
    const TELL: &str = r#"echo "<$NCAT_LOCAL_ADDR $NCAT_LOCAL_PORT $NCAT_REMOTE_ADDR $NCAT_REMOTE_PORT $NCAT_PROTO>" >&2; echo x; read line"#;
    let told = |running: Running| -> Vec<String> {
        let output = running.wait().expect_code(0);
        let (_, told) = output.stderr.split_once('<').unwrap();
        let (told, _) = told.split_once('>').unwrap();
        told.split(' ').map(str::to_owned).collect()
    };
    at_once(EVERYTHING, |&over| {
        let line = Line::new(over, &["-c", TELL]);
        let calling = told(line.call(&["-c", TELL]));
        let proxy = line.proxy.as_ref().map(|proxy| proxy.port().to_string());
        let called = told(line.called);
        let host = if over.is_unix() { "localhost" } else { over.host() };
        let protocol = if STREAMS.contains(&over) { "TCP" } else { "UDP" };
        assert_eq!(called[..3], [host, &line.port, host], "{over:?}");
        assert_eq!(called[4], protocol, "{over:?}");
        if let Some(proxy) = proxy {
            assert_eq!(calling[2..], ["127.0.0.1", &proxy, "TCP"]);
            assert_ne!(calling[1], called[3], "the proxy calls from a port of its own");
        } else {
            assert_eq!(calling[..2], called[2..4], "{over:?}");
            assert_eq!(calling[2..], [&called[..2], &called[4..]].concat(), "{over:?}");
        }
        assert_eq!(called[3].is_empty(), over.is_unix(), "{over:?}: {called:?}");
    });
}

#[test]
fn with_k_each_caller_has_a_command_of_its_own() {
    // Over Unix datagrams there is one conversation.
    let many: Vec<_> = EVERYTHING.iter().filter(|&&over| over != Over::UnixDatagram).collect();
    at_once(&many, |&&over| {
        let line = Line::new(over, &["-k", "-c", "read a; echo $$; read b; echo $a $b"]);
        let mut persons: Vec<_> = (0..3).map(|_| line.call(&[])).collect();
        for (i, person) in persons.iter_mut().enumerate() {
            person.send(format!("{i}\n"));
            person.wait_stdout("\n");
        }
        let mut all: Vec<_> = persons.iter().map(Running::stdout).collect();
        all.dedup();
        assert_eq!(all.len(), 3, "{over:?}");
        // The last first: nobody waits for another.
        for (i, mut person) in persons.into_iter().enumerate().rev() {
            person.send("bye\n");
            person.wait_stdout(&format!("{i} bye\n"));
            person.finish().expect_code(0);
        }
        wait_until("every command to be fetched", || children(line.called.id()).is_empty());
    });
}

#[test]
fn a_command_has_three_descriptors_and_no_signal_is_kept_from_it() {
    // Whatever we were started with ourselves is passed on, as a shell does it.
    let inherited = descriptors(std::process::id());
    let check = |id: u32, over: Over| {
        let error = descriptors(id).into_iter().find(|(fd, _)| fd == "2").unwrap();
        let commands = children(id);
        for &id in &commands {
            let mut all = descriptors(id);
            all.retain(|one| !inherited.contains(one));
            let fds: Vec<_> = all.iter().map(|(fd, _)| fd.as_str()).collect();
            assert_eq!(fds, ["0", "1", "2"], "{over:?}: {all:?}");
            assert!(all[..2].iter().all(|(_, target)| target.starts_with("pipe:")), "{all:?}");
            assert_eq!(all[2], error, "standard error is ours");
            assert_eq!(signals(id, "SigBlk:"), 0);
            assert_eq!(signals(id, "SigIgn:") & 1 << 12, 0, "SIGPIPE is ignored");
        }
        assert!(!commands.is_empty(), "{over:?}");
    };
    let dir = dir();
    let mut commands = commands(&dir);
    // A shell has its script open.
    commands[0][1] = "/bin/cat".to_owned();
    at_once(EVERYTHING, |&over| {
        let log = dir.path().join(format!("log.{over:?}"));
        for [option, command] in &commands {
            let line = Line::new(over, &["-k", "-o", arg(&log), option, command]);
            let many = if over == Over::UnixDatagram { 1 } else { 3 };
            let mut persons: Vec<_> = (0..many).map(|_| line.call(&[])).collect();
            for person in &mut persons {
                person.send("ready");
                person.wait_stdout("ready");
            }
            check(line.called.id(), over);
        }
        let line = Line::new(over, &[]);
        let calling = line.call(&["-o", arg(&log), "-c", TALK]);
        line.called.wait_stdout("ready");
        check(calling.id(), over);
    });
}

fn runs(id: &str) -> bool {
    let id = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
    // A zombie that nobody has fetched yet is gone, too.
    test_kill_process(id).is_ok()
        && std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()))
            .is_ok_and(|stat| !stat.contains(") Z "))
}

/// Says who it is, and leaves a process behind that does not want to end when asked.
const STUBBORN: &str = r#"(trap "" TERM; exec sleep 600) & echo $!; wait"#;

fn caller_of(server: &tool::Running) -> (TcpStream, String) {
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let id = line_of(&mut caller);
    assert!(runs(&id));
    (caller, id)
}

fn line_of(peer: &mut TcpStream) -> String {
    let mut line = String::new();
    let mut byte = [0];
    while !line.ends_with('\n') {
        peer.read_exact(&mut byte).unwrap();
        line.push(char::from(byte[0]));
    }
    line
}

#[test]
fn a_signal_ends_the_whole_group_of_a_command_stubborn_or_not() {
    for more in [&["-l"][..], &["-l", "-k"]] {
        let server = ncat(&[&["-v", "127.0.0.1", "0", "-c", STUBBORN], more].concat());
        let (_caller, id) = caller_of(&server);
        server.signal("TERM");
        server.wait().expect_code(143);
        wait_until("the stubborn one is gone", || !runs(&id));
    }
}

#[test]
fn a_lost_peer_ends_the_whole_group_of_its_command() {
    let server = ncat(&["-v", "-l", "-k", "127.0.0.1", "0", "-c", STUBBORN]);
    let (caller, id) = caller_of(&server);
    // A reset: it goes with bytes that nobody has read.
    socket2::SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
    drop(caller);
    wait_until("the stubborn one is gone", || !runs(&id));
}

#[test]
fn what_a_command_leaves_behind_of_its_own_accord_stays() {
    let server = ncat(&["-v", "-l", "127.0.0.1", "0", "-c", "sleep 600 >&2 & echo $!"]);
    let (mut caller, id) = caller_of(&server);
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(caller.read(&mut [0]).unwrap(), 0);
    let left = runs(&id);
    // It holds our standard error open, so it must go before we are waited for.
    let killed = Command::new("kill").args(["-9", id.trim()]).status().unwrap();
    assert!(left && killed.success());
    server.wait().expect_code(0);
}

#[test]
fn a_program_is_a_path_from_here_and_not_looked_up_in_path() {
    let dir = dir();
    let script = file_in(&dir, "here.sh", "#!/bin/sh\necho \"$0 $*\"\n");
    std::process::Command::new("chmod").args(["+x", arg(&script)]).status().unwrap();
    let mut command = Command::new(NCAT);
    command.args(["-v", "-l", "127.0.0.1", "0", "-e", "here.sh a b"]).current_dir(dir.path());
    let server = start_command(command);
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("here.sh a b\n"), "{said}");
    server.wait().expect_code(0);

    let mut command = Command::new(NCAT);
    command.args(["-v", "-l", "127.0.0.1", "0", "-e", "cat"]).current_dir(dir.path());
    let server = start_command(command);
    let mut caller = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    caller.write_all(b"hello").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(caller.read_to_end(&mut Vec::new()).unwrap(), 0);
    server.wait().expect_stderr("cannot run cat").expect_stderr("whole path");
}

#[test]
fn a_signal_ends_the_command_of_one_who_has_called() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let calling = ncat(&["127.0.0.1", &port, "-c", STUBBORN]);
    let mut peer = patient(listener.accept().unwrap().0);
    let id = line_of(&mut peer);
    assert!(runs(&id));
    calling.signal("TERM");
    calling.wait().expect_code(143);
    wait_until("the stubborn one is gone", || !runs(&id));
}

#[test]
fn a_lost_peer_is_noticed_although_its_command_reads_nothing() {
    // What it had said waited for ever for a command that does not read, and the command, too.
    let rows = [
        (&["-l"][..], "sleep 600"),
        (&["-l"], "yes"),
        (&["-l", "-k"], "sleep 600"),
        (&["-l", "-C"], "sleep 600"),
    ];
    at_once(&rows, |(options, program)| {
        let command = format!("echo $$; exec {program}");
        let server = ncat(&[&["-v", "127.0.0.1", "0", "-c", &command], *options].concat());
        let (mut caller, id) = caller_of(&server);
        caller.set_nonblocking(true).unwrap();
        let mut last = now();
        wait_until("it to take no more", || {
            if caller.write(&[b'x'; 65_536]).is_ok() {
                last = now();
            }
            last.elapsed() > Duration::from_millis(200)
        });
        socket2::SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
        drop(caller);
        wait_until("the command is gone", || !runs(&id));
    });
}

#[test]
fn everything_that_a_command_writes_arrives() {
    const COMMAND: [&str; 2] = ["-c", "seq 1 200000"];
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    let heard = |mut peer: TcpStream| {
        peer.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        same(&got, expected.as_bytes());
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let many = Line::new(Over::Tcp, &[&["-k"], &COMMAND[..]].concat());
    for _ in 0..20 {
        let one = Line::new(Over::Tcp, &COMMAND);
        heard(call(&one.called));
        one.called.wait().expect_code(0);
        heard(call(&many.called));
        let calling = ncat(&[&COMMAND[..], &["127.0.0.1", &port]].concat());
        heard(patient(listener.accept().unwrap().0));
        calling.wait().expect_code(0);
    }
    at_once(STREAMS, |&over| {
        let line = Line::new(over, &COMMAND);
        let person = line.call(&[]).finish().expect_code(0);
        same(&person.stdout, expected.as_bytes());
        line.called.wait().expect_code(0);
    });
}

#[test]
fn a_command_that_waits_for_the_end_of_its_input_gets_it_and_can_still_answer() {
    let table = [("sort", "b\nc\na\n", "a\nb\nc\n"), ("wc -c", "12345", "5\n")];
    at_once(STREAMS, |&over| {
        for (command, said, heard) in table {
            let line = Line::new(over, &["-c", command]);
            let mut person = line.call(&[]);
            person.send(said);
            person.finish().expect_code(0).expect_stdout(heard);
            line.called.wait().expect_code(0);

            let line = Line::new(over, &[]);
            let calling = line.call(&["-c", command]);
            let mut person = line.called;
            person.send(said);
            person.finish().expect_code(0).expect_stdout(heard);
            calling.wait().expect_code(0);
        }
    });
}

#[test]
fn a_command_that_closes_its_output_goes_on_hearing() {
    at_once(STREAMS, |&over| {
        let line = Line::new(over, &["-c", "exec >&-; cat >&2"]);
        let mut person = line.call(&["-k"]);
        person.wait_stdout_end();
        person.send("still heard");
        person.finish().expect_code(0).expect_stdout("");
        line.called.wait().expect_code(0).expect_stderr("still heard");
    });
}

#[test]
fn no_shutdown_keeps_the_end_of_its_output_to_ourselves() {
    let server = ncat(&["-v", "-l", "127.0.0.1", "0", "--no-shutdown", "-c", "exec >&-; cat >&2"]);
    let mut caller = call(&server);
    caller.write_all(b"heard").unwrap();
    server.wait_stderr("heard");
    caller.set_nonblocking(true).unwrap();
    let got = caller.read(&mut [0]);
    assert!(got.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "{got:?}");
    caller.set_nonblocking(false).unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&caller), "");
    server.wait().expect_code(0);
}

#[test]
fn options_of_the_conversation_mean_what_they_mean_without_a_command() {
    const TABLE: &[(&[&str], &str, &str, &str, &str)] = &[
        (&["-C"], r"printf 'a\nb\r\nc'", "", "a\r\nb\r\nc", ""),
        (&["-C"], "cat >&2", "a\nb", "", "a\nb"),
        (&["--recv-only"], "cat >&2; echo said", "heard", "", "heard"),
        (&["--send-only"], "cat", "heard and said", "heard and said", ""),
        (&["-d", "1ms"], "cat", "heard and said", "heard and said", ""),
        // SIGPIPE does what it does everywhere: `yes` has nothing to complain of.
        (&[], "yes | head -n 1", "", "y\n", ""),
        // A peer that talks to one who does not listen gets the answer all the same.
        (&[], "exec <&-; echo said", "heard by nobody", "said\n", ""),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for &(options, command, says, hears, error) in TABLE {
        let talk = |mut peer: TcpStream| {
            peer.write_all(says.as_bytes()).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(&peer), hears, "{options:?} -c {command:?}");
        };
        let words = [options, &["-c", command]].concat();
        let calling = ncat(&[&words[..], &["127.0.0.1", &port]].concat());
        talk(patient(listener.accept().unwrap().0));
        let output = calling.wait().expect_code(0).expect_stdout("");
        assert_eq!(output.stderr, error, "{options:?} -c {command:?}");
        for keep in [&[][..], &["-k"]] {
            let server = ncat(&[&["-v", "-l", "127.0.0.1", "0"], keep, &words[..]].concat());
            talk(call(&server));
            server.wait_stderr("has ended: exit status 0");
            let told = server.stderr();
            assert!(told.contains(error) && !told.contains("roken pipe"), "{told}");
        }
    }
}

#[test]
fn an_answer_survives_everything_that_the_command_did_not_read() {
    let many = ncat(&["-v", "-l", "-k", "127.0.0.1", "0", "-c", "echo said"]);
    for _ in 0..10 {
        let one = ncat(&["-v", "-l", "127.0.0.1", "0", "-c", "echo said"]);
        for server in [&one, &many] {
            let caller = call(server);
            let mut twin = caller.try_clone().unwrap();
            // It need not take all of it.
            let sender = std::thread::spawn(move || drop(twin.write_all(&noise(1_000_000))));
            assert_eq!(rest(&caller), "said\n");
            drop(caller);
            sender.join().unwrap();
        }
        one.wait().expect_code(0);
    }
}

#[test]
fn a_command_that_cannot_be_started_is_said_with_status_2() {
    let dir = dir();
    let plain = file_in(&dir, "plain", "no program");
    let table = [
        ("/nonexistent a b", "cannot run /nonexistent a b: no such file or directory"),
        (arg(dir.path()), "permission denied"),
        (arg(&plain), "permission denied"),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (command, why) in table {
        let server = ncat(&["-v", "-l", "127.0.0.1", "0", "-e", command]);
        assert_eq!(rest(call(&server)), "");
        server.wait().expect_code(2).expect_stderr(why);

        let calling = ncat(&["127.0.0.1", &port, "-e", command]);
        assert_eq!(rest(patient(listener.accept().unwrap().0)), "");
        calling.wait().expect_code(2).expect_stderr(why);

        let server = ncat(&["-v", "-l", "-k", "127.0.0.1", "0", "-e", command]);
        for n in 1..=2 {
            assert_eq!(rest(call(&server)), "");
            wait_until("it to be said", || server.stderr().matches(why).count() == n);
        }
    }
}

#[test]
fn a_script_is_judged_before_anybody_calls_and_its_failure_is_its_own() {
    if !cfg!(feature = "lua") {
        return;
    }
    let dir = dir();
    let broken = file_in(&dir, "broken.lua", "print(");
    for script in [arg(&broken), "/nonexistent.lua"] {
        let output = ncat(&["-v", "-l", "127.0.0.1", "0", "--lua-exec", script]).wait();
        let output = output.expect_code(2).expect_stderr("cannot load the Lua script");
        assert!(!output.stderr.contains("Listening"), "{}", output.stderr);
    }
    let failing = file_in(&dir, "failing.lua", "print('before') error('on purpose')");
    let server = ncat(&["-v", "-l", "127.0.0.1", "0", "--lua-exec", arg(&failing)]);
    assert_eq!(rest(call(&server)), "before\n");
    server.wait().expect_code(0).expect_stderr("on purpose");
}

#[test]
fn how_a_command_ended_is_told_with_v_and_decides_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (command, how) in [("kill -9 $$", "signal 9"), ("exit 3", "exit status 3")] {
        let told = format!("has ended: {how}");
        let server = ncat(&["-v", "-l", "127.0.0.1", "0", "-c", command]);
        assert_eq!(rest(call(&server)), "");
        server.wait().expect_code(0).expect_stderr(&told);

        let calling = ncat(&["-v", "127.0.0.1", &port, "-c", command]);
        assert_eq!(rest(patient(listener.accept().unwrap().0)), "");
        calling.wait().expect_code(0).expect_stderr(&told);

        let quiet = ncat(&["127.0.0.1", &port, "-c", command]);
        assert_eq!(rest(patient(listener.accept().unwrap().0)), "");
        assert_eq!(quiet.wait().expect_code(0).stderr, "");
    }
}

#[test]
fn every_caller_of_a_command_that_ends_at_once_gets_its_word() {
    at_once(&[(); 5], |()| {
        for _ in 0..10 {
            let server = ncat(&["-v", "-l", "127.0.0.1", "0", "-c", "echo x"]);
            let heard = rest(call(&server));
            let output = server.wait().expect_code(0);
            assert_eq!(heard, "x\n", "{}", output.stderr);
        }
    });
}

#[test]
fn hundreds_of_quick_callers_leave_nothing_behind() {
    let server = ncat(&["-v", "-l", "-k", "-m", "200", "127.0.0.1", "0", "-c", "true"]);
    assert_eq!(rest(call(&server)), "");
    server.wait_stderr("has left");
    let before = descriptors(server.id()).len();
    let callers: Vec<_> = (0..200).map(|_| call(&server)).collect();
    callers.into_iter().for_each(|caller| assert_eq!(rest(caller), ""));
    for _ in 0..50 {
        assert_eq!(rest(call(&server)), "");
    }
    wait_until("every command to be fetched", || children(server.id()).is_empty());
    wait_until("every descriptor to be closed", || descriptors(server.id()).len() <= before);
    let told = || server.stderr().matches("has ended: exit status 0").count();
    wait_until("every end to be told", || told() == 251);
}
