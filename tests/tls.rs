//! TLS with the peers that people have: OpenSSL, GnuTLS, nmap's ncat, socat, curl, Python, ours.

mod tool;

use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::{
    DEADLINE, NCAT, Output, Running, arg, file_in, free_port, have, ncat, noise, now, run,
    run_other, shell, spawn, start, start_command, wait_until,
};

/// Enough to fill every buffer on the way, several times.
const MUCH: usize = 2_500_000;

// ---- certificates ----

/// Certificates made by openssl, in a directory of their own.
struct Certs {
    dir: tempfile::TempDir,
}

/// The paths of a certificate and of its key.
#[derive(Clone)]
struct Cert {
    pem: String,
    key: String,
}

/// What `openssl req` needs to know, and no extension that nobody asked for.
const REQ: &str = "[req]\ndistinguished_name=dn\n[dn]\n";

/// What `openssl ca` needs to know: it is the one that takes dates.
const CA: &str = "[ca]\ndefault_ca=here\n[here]\ndatabase=index.txt\nnew_certs_dir=.\n\
    rand_serial=yes\ndefault_md=sha256\npolicy=any\nunique_subject=no\n[any]\n\
    commonName=supplied\n[ext]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";

impl Certs {
    fn new() -> Self {
        let dir = tool::dir();
        file_in(&dir, "req.conf", REQ);
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        arg(&self.dir.path().join(name)).to_owned()
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        arg(&file_in(&self.dir, name, text)).to_owned()
    }

    /// Runs openssl in the directory and gives its standard output.
    #[track_caller]
    fn openssl(&self, line: &str) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        let out = start_command(command).finish();
        assert_eq!(out.code(), 0, "openssl {line}: {}", out.stderr);
        out.stdout
    }

    fn make(&self, name: &str, key: &str, issuer: Option<&Cert>, extensions: &[&str]) -> Cert {
        let cert =
            Cert { pem: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        let mut line = format!(
            "req -x509 -config req.conf -newkey {key} -noenc -days 30 -subj /CN={name} -keyout {} \
             -out {}",
            cert.key, cert.pem
        );
        for extension in extensions {
            line += &format!(" -addext {extension}");
        }
        if let Some(issuer) = issuer {
            line += &format!(" -CA {} -CAkey {}", issuer.pem, issuer.key);
        }
        self.openssl(&line);
        cert
    }

    /// An authority, signed by another one or by itself.
    fn authority(&self, name: &str, issuer: Option<&Cert>) -> Cert {
        self.make(name, EC, issuer, &["basicConstraints=critical,CA:TRUE"])
    }

    /// A server's certificate by an authority.
    fn leaf(&self, name: &str, issuer: &Cert, names: &str) -> Cert {
        self.make(name, EC, Some(issuer), &[&format!("subjectAltName={names}")])
    }

    /// A server's certificate that is its own issuer.
    fn alone(&self, name: &str, names: &str) -> Cert {
        self.make(name, EC, None, &[&format!("subjectAltName={names}")])
    }

    /// A certificate for localhost that is its own issuer, for tests that care about other things.
    fn any(&self) -> Cert {
        self.alone("localhost", HERE)
    }

    /// A server's certificate for localhost by an authority, valid between two days (YYYYMMDD).
    fn dated(&self, name: &str, issuer: &Cert, from: &str, to: &str) -> Cert {
        let cert =
            Cert { pem: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        self.file("ca.conf", CA);
        self.file("index.txt", "");
        self.openssl(&format!(
            "req -new -config req.conf -newkey {EC} -noenc -subj /CN={name} -keyout {} -out r.csr",
            cert.key
        ));
        self.openssl(&format!(
            "ca -batch -notext -config ca.conf -extensions ext -in r.csr -out {} -cert {} \
             -keyfile {} -startdate {from}000000Z -enddate {to}000000Z",
            cert.pem, issuer.pem, issuer.key
        ));
        cert
    }

    /// SHA-256 as openssl prints it: upper case, with colons.
    fn fingerprint(&self, cert: &Cert) -> String {
        let line = self.openssl(&format!("x509 -noout -fingerprint -sha256 -in {}", cert.pem));
        let line = String::from_utf8(line).unwrap();
        line.split_once('=').expect("NAME=FINGERPRINT").1.trim().to_owned()
    }

    /// SHA-256 of the public key, in base64, the way curl's manual makes it.
    fn key_hash(&self, cert: &Cert) -> String {
        let out = shell(&format!(
            "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | \
             openssl dgst -sha256 -binary | openssl enc -base64",
            cert.pem
        ));
        out.finish().expect_code(0).text().trim().to_owned()
    }

    /// Several files in one.
    fn together(&self, name: &str, parts: &[&str]) -> String {
        let read = |part: &&str| std::fs::read_to_string(part).unwrap();
        self.file(name, parts.iter().map(read).collect::<String>())
    }
}

/// Arguments of `-newkey`.
const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

/// The names of this machine.
const HERE: &str = "DNS:localhost,IP:127.0.0.1";

// ---- peers ----

/// Waits for the port that a program writes behind `mark`.
#[track_caller]
fn port_behind(program: &mut Running, mark: &str) -> u16 {
    let mut port = None;
    wait_until(&format!("a port behind {mark:?}"), || {
        let ended = program.has_ended();
        let text =
            String::from_utf8_lossy(&program.stdout()).into_owned() + "\n" + &program.stderr();
        port = text
            .split_once(mark)
            .and_then(|(_, after)| after.split_once('\n'))
            .and_then(|(port, _)| port.trim().parse().ok());
        assert!(port.is_some() || !ended, "it ended: {text}");
        port.is_some()
    });
    port.expect("waited for it")
}

/// OpenSSL's server, telling about each connection on standard output.
#[track_caller]
fn s_server(cert: &Cert, more: &[&str]) -> (Running, u16) {
    let args = ["s_server", "-accept", "127.0.0.1:0", "-cert", &cert.pem, "-key", &cert.key];
    let mut server = start("openssl", &[&args, more].concat());
    let port = port_behind(&mut server, "ACCEPT 127.0.0.1:");
    (server, port)
}

/// The port on which a program listens that does not tell which one it got.
#[track_caller]
fn port_of(program: &mut Running) -> u16 {
    let mut port = None;
    wait_until("a port of its own", || {
        assert!(!program.has_ended(), "it ended: {}", program.stderr());
        let fds = std::fs::read_dir(format!("/proc/{}/fd", program.id()));
        let links = fds.into_iter().flatten().flatten();
        let links: Vec<_> = links.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        port = table.lines().skip(1).find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else { return None };
            let socket = format!("socket:[{inode}]");
            let is_its = state == "0A" && links.iter().any(|link| link.as_os_str() == &*socket);
            is_its.then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok()).flatten()
        });
        port.is_some()
    });
    port.expect("waited for it")
}

/// OpenSSL's server for one connection, with nothing but its data on standard output.
#[track_caller]
fn s_server_for_data(cert: &Cert) -> (Running, u16) {
    let args = ["s_server", "-quiet", "-naccept", "1", "-accept", "127.0.0.1:0"];
    let files = ["-cert", &cert.pem, "-key", &cert.key];
    let mut server = start("openssl", &[&args[..], &files].concat());
    let port = port_of(&mut server);
    (server, port)
}

/// OpenSSL's client for data: no letter is a command, and the end of its input ends it.
fn s_client(port: u16, more: &[&str]) -> Running {
    let place = format!("127.0.0.1:{port}");
    let args = ["s_client", "-nocommands", "-connect", &place];
    // -quiet comes before: it would switch -no_ign_eof off again.
    start("openssl", &[&args, more, &["-no_ign_eof"]].concat())
}

/// nmap's ncat, listening for one caller.
#[track_caller]
fn nmap_server(cert: &Cert) -> (Running, u16) {
    let (pem, key) = (cert.pem.as_str(), cert.key.as_str());
    let args = ["-l", "--ssl", "--ssl-cert", pem, "--ssl-key", key, "127.0.0.1", "0"];
    let mut server = start("ncat", &args);
    let port = port_of(&mut server);
    (server, port)
}

#[track_caller]
fn socat_server(cert: &Cert) -> (Running, u16) {
    let listen =
        format!("openssl-listen:0,bind=127.0.0.1,verify=0,cert={},key={}", cert.pem, cert.key);
    let mut server = start("socat", &["-d", "-d", "-t", "20", &listen, "-"]);
    let port = port_behind(&mut server, "listening on AF=2 127.0.0.1:");
    (server, port)
}

/// Our own server.
#[track_caller]
fn listener(args: &[&str]) -> (Running, u16) {
    let server = ncat(&[&["-l", "-v", "--ssl", "127.0.0.1", "0"], args].concat());
    let port = server.port();
    (server, port)
}

/// Our own client, with this input, to its end.
#[track_caller]
fn call(port: u16, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
    run(&[&["--ssl", "127.0.0.1", &port.to_string()], args].concat(), input)
}

/// Our own client, running.
#[track_caller]
fn caller(port: u16, args: &[&str]) -> Running {
    ncat(&[&["--ssl", "127.0.0.1", &port.to_string()], args].concat())
}

/// Our own program with a file for its standard input. Where the peer may say its end first, a
/// pipe would not do: ncat sends what is ready then, and a pipe may be empty for a moment.
#[track_caller]
fn ncat_with_file(args: &[&str], bytes: &[u8]) -> Running {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let mut command = Command::new(NCAT);
    command.args(args).stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)
}

#[track_caller]
fn listener_with_file(args: &[&str], bytes: &[u8]) -> (Running, u16) {
    let all = [&["-l", "-v", "--ssl", "127.0.0.1", "0"], args].concat();
    let server = ncat_with_file(&all, bytes);
    let port = server.port();
    (server, port)
}

#[track_caller]
fn call_with_file(port: u16, args: &[&str], bytes: &[u8]) -> Output {
    let port = port.to_string();
    let all = [&["--ssl", "127.0.0.1", &port], args].concat();
    ncat_with_file(&all, bytes).wait()
}

/// A TLS peer in Python that does exactly what its script says. `t` is the connection once the
/// handshake is over, `k` its socket.
const PYTHON: &str = r"
import socket, ssl, sys
class Tls:
    def __init__(s, k, context, server):
        s.k, s.i, s.o = k, ssl.MemoryBIO(), ssl.MemoryBIO()
        s.t = context.wrap_bio(s.i, s.o, server_side=server)
    def shake(s):
        s.go(s.t.do_handshake)
    def flush(s):
        out = s.o.read()
        if out: s.k.sendall(out)
    def go(s, what, *args):
        while True:
            try:
                result = what(*args); s.flush(); return result
            except ssl.SSLWantReadError:
                s.flush(); data = s.k.recv(65536)
                s.i.write(data) if data else s.i.write_eof()
    def read(s, n=65536):
        try: return s.go(s.t.read, n)
        except ssl.SSLZeroReturnError: return b''
    def read_all(s):
        parts = []
        while data := s.read(): parts.append(data)
        return b''.join(parts)
    def write(s, data):
        for at in range(0, len(data), 16384): s.go(s.t.write, data[at:at + 16384])
    def say_end(s):
        held = s.i.read() # OpenSSL would take what has come already for a fault.
        try: s.t.unwrap()
        except ssl.SSLWantReadError: pass
        s.i.write(held); s.flush()
def say(*words): print(*words, flush=True)
socket.setdefaulttimeout(25)
if sys.argv[1] == 'server':
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    listening = socket.create_server(('127.0.0.1', 0))
    say('port', listening.getsockname()[1])
    k = listening.accept()[0]
else:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    k = socket.create_connection(('127.0.0.1', int(sys.argv[2])))
t = Tls(k, context, sys.argv[1] == 'server')
";

#[track_caller]
fn python_server(cert: &Cert, script: &str) -> (Running, u16) {
    let script = format!("{PYTHON}{script}");
    let mut server = start("python3", &["-c", &script, "server", &cert.pem, &cert.key]);
    let port = port_behind(&mut server, "port ");
    (server, port)
}

fn python_client(port: u16, script: &str) -> Running {
    let script = format!("{PYTHON}{script}");
    start("python3", &["-c", &script, "client", &port.to_string()])
}

/// A server of the test's own for one connection, without TLS.
fn raw_server(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    std::thread::spawn(move || serve(patient(listening.accept().unwrap().0)));
    port
}

fn raw_client(port: u16) -> TcpStream {
    patient(TcpStream::connect(("127.0.0.1", port)).unwrap())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Copies until either side ends, `piece` bytes at a time.
fn copy(mut from: TcpStream, mut to: TcpStream, piece: usize) {
    let mut buf = vec![0; piece];
    while let Ok(n @ 1..) = from.read(&mut buf) {
        if to.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

/// A path to a server over which bytes come one at a time, as long as that is bearable.
fn drop_by_drop(port: u16) -> u16 {
    raw_server(move |near| {
        let far = raw_client(port);
        let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || copy(near_too, far_too, 1));
        copy(far, near, 1);
    })
}

// ---- what was said ----

/// As the tool's, but quick about megabytes that are the same.
#[track_caller]
fn same(got: &[u8], expected: &[u8]) {
    if got != expected {
        tool::same(got, expected);
    }
}

/// The one line on standard error, which is a warning.
#[track_caller]
fn one_warning(out: &Output) -> &str {
    let lines: Vec<_> = out.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", out.stderr);
    lines[0].strip_prefix("ncat: warning: ").unwrap_or_else(|| panic!("no warning: {}", lines[0]))
}

/// Fails if a message shows how a library names things inside.
#[track_caller]
fn in_words(text: &str) {
    let inside = ["Other(", "Error", "Required", "Unsupported", " {", "Some(", "tls1", "os error"];
    for inside in inside {
        assert!(!text.contains(inside), "{inside:?} is not for people: {text}");
    }
}

/// The stream was cut, and that is said; nothing else is wrong.
#[track_caller]
fn cut(out: Output) -> Output {
    out.expect_code(1).expect_stderr("close_notify")
}

/// Debian's ncat 7.93 ends its stream without close_notify, as a caller and as a server (7.991
/// does not); gnutls-cli does when it is told the end before it has said its own.
#[track_caller]
fn whole_or_cut(out: Output) -> Output {
    match out.code() {
        0 => out,
        _ => cut(out),
    }
}

// ---- every byte, both ways ----

#[test]
fn openssl_s_server_gets_every_byte_of_our_client() {
    let certs = Certs::new();
    let (server, port) = s_server_for_data(&certs.any());
    call(port, &["--ssl-insecure"], noise(MUCH)).expect_code(0).expect_stdout("");
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
}

#[test]
fn our_client_gets_every_byte_of_openssl_s_server() {
    let certs = Certs::new();
    let (mut server, port) = s_server_for_data(&certs.any());
    let mut client = caller(port, &["--ssl-insecure"]);
    // s_server hangs, whoever calls, if it has something to send before the handshake is over.
    client.send("go\n");
    server.wait_stdout("go\n");
    server.send_all(noise(MUCH));
    same(&client.wait().expect_code(0).stdout, &noise(MUCH));
    server.wait().expect_code(0);
}

#[test]
fn openssl_s_client_gets_every_byte_of_our_server() {
    let (mut server, port) = listener(&[]);
    server.send_all(noise(MUCH));
    let client = s_client(port, &["-quiet"]);
    same(&client.wait().expect_code(0).stdout, &noise(MUCH));
    server.wait().expect_code(0).expect_stdout("");
}

#[test]
fn our_server_gets_every_byte_of_openssl_s_client() {
    // Without --recv-only our end of input would make s_client leave.
    let (server, port) = listener(&["--recv-only"]);
    let mut client = s_client(port, &["-quiet"]);
    client.send_all(noise(MUCH));
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
    client.wait().expect_code(0);
}

#[test]
fn nmap_s_server_gets_every_byte_of_our_client() {
    if !have("ncat") {
        return;
    }
    let certs = Certs::new();
    let (server, port) = nmap_server(&certs.any());
    whole_or_cut(call(port, &["--ssl-insecure"], noise(MUCH)));
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
}

#[test]
fn our_client_gets_every_byte_of_nmap_s_server() {
    if !have("ncat") {
        return;
    }
    let certs = Certs::new();
    let (mut server, port) = nmap_server(&certs.any());
    server.send_all(noise(MUCH));
    let out = whole_or_cut(caller(port, &["--ssl-insecure", "--recv-only"]).wait());
    same(&out.stdout, &noise(MUCH));
    server.wait().expect_code(0);
}

#[test]
fn nmap_s_client_and_our_server_exchange_every_byte() {
    if !have("ncat") {
        return;
    }
    let (server, port) = listener_with_file(&[], &noise(MUCH));
    let client = run_other("ncat", &["--ssl", "127.0.0.1", &port.to_string()], noise(MUCH));
    same(&client.expect_code(0).stdout, &noise(MUCH));
    same(&whole_or_cut(server.wait()).stdout, &noise(MUCH));
}

#[test]
fn socat_s_server_and_our_client_exchange_every_byte() {
    if !have("socat") {
        return;
    }
    let certs = Certs::new();
    let (mut server, port) = socat_server(&certs.any());
    server.send_all(noise(MUCH));
    let out = call_with_file(port, &["--ssl-insecure"], &noise(MUCH)).expect_code(0);
    same(&out.stdout, &noise(MUCH));
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
}

#[test]
fn socat_s_client_and_our_server_exchange_every_byte() {
    if !have("socat") {
        return;
    }
    let (server, port) = listener_with_file(&[], &noise(MUCH));
    let target = format!("openssl:127.0.0.1:{port},verify=0");
    let client = run_other("socat", &["-t", "20", &target, "-"], noise(MUCH)).expect_code(0);
    same(&client.stdout, &noise(MUCH));
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
}

#[test]
fn gnutls_cli_and_our_server_exchange_every_byte() {
    if !have("gnutls-cli") {
        return;
    }
    let certs = Certs::new();
    // Reading all the authorities of the system takes it a second.
    let authorities = format!("--x509cafile={}", certs.any().pem);
    // One way at a time: gnutls-cli leaves as soon as either side has said its end.
    let cli = |port: u16| {
        let args = ["--insecure", "--logfile=/dev/null", &authorities, "-p", &port.to_string()];
        start("gnutls-cli", &[&args[..], &["127.0.0.1"]].concat())
    };
    let (mut server, port) = listener(&[]);
    server.send_all(noise(MUCH));
    same(&cli(port).wait().expect_code(0).stdout, &noise(MUCH));
    whole_or_cut(server.wait());
    let (server, port) = listener(&["--recv-only"]);
    let mut client = cli(port);
    client.send_all(noise(MUCH));
    client.wait().expect_code(0);
    same(&server.wait().expect_code(0).stdout, &noise(MUCH));
}

#[test]
fn curl_gets_a_page_from_our_server() {
    if !have("curl") {
        return;
    }
    let (mut server, port) = listener(&[]);
    server.send_all("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let url = format!("https://127.0.0.1:{port}/page");
    run_other("curl", &["-sk", &url], "").expect_code(0).expect_stdout("hello");
    let out = server.wait().expect_code(0);
    assert!(out.text().starts_with("GET /page HTTP/1.1\r\n"), "{}", out.text());
}

#[test]
fn our_client_and_our_server_exchange_every_byte_in_both_versions() {
    for version in ["1.2", "1.3"] {
        let (server, port) = listener_with_file(&["--ssl-max", version], &noise(MUCH));
        let out = call_with_file(port, &["--ssl-insecure"], &noise(MUCH)).expect_code(0);
        same(&out.stdout, &noise(MUCH));
        same(&server.wait().expect_code(0).stdout, &noise(MUCH));
    }
}

#[test]
fn send_only_of_much_data_loses_nothing_whoever_listens() {
    let certs = Certs::new();
    let cert = certs.any();
    let bytes = noise(20_000_000);
    let check = |(server, port): (Running, u16)| {
        call(port, &["--ssl-insecure", "--send-only"], bytes.clone()).expect_code(0);
        same(&server.finish().expect_code(0).stdout, &bytes);
    };
    for _ in 0..3 {
        check(listener(&["--recv-only"]));
        check(listener(&[]));
        if have("ncat") {
            check(nmap_server(&cert));
        }
        if have("socat") {
            check(socat_server(&cert));
        }
    }
}

#[test]
fn send_only_loses_nothing_to_a_server_that_has_said_its_end() {
    let certs = Certs::new();
    let cert = certs.any();
    let check = |(mut server, port): (Running, u16)| {
        server.end_input();
        let out = call(port, &["--ssl-insecure", "--send-only"], noise(20_000_000));
        same(&server.wait().stdout, &noise(20_000_000));
        whole_or_cut(out);
    };
    check(listener(&[]));
    if have("socat") {
        check(socat_server(&cert));
    }
    // nmap's says it by a FIN without close_notify.
    if have("ncat") {
        check(nmap_server(&cert));
    }
}

#[test]
fn send_only_of_a_server_loses_nothing_either() {
    for _ in 0..3 {
        let (mut server, port) = listener(&["--send-only"]);
        server.send_all(noise(MUCH));
        let out = call(port, &["--ssl-insecure", "--recv-only"], "").expect_code(0);
        same(&out.stdout, &noise(MUCH));
        server.wait().expect_code(0);
    }
}

#[test]
fn a_server_that_only_sends_loses_nothing_to_a_caller_that_talks() {
    // D13: a close over unread data is a reset, and that eats what the caller has not read yet.
    for _ in 0..3 {
        let (server, port) = listener_with_file(&["--send-only"], &noise(MUCH));
        let mut client = caller(port, &["--ssl-insecure"]);
        client.send_all(noise(MUCH));
        client.wait_stdout_bytes(MUCH);
        same(&client.wait().stdout, &noise(MUCH));
        server.wait().expect_code(0);
    }
}

#[test]
fn one_word_arrives_at_once_and_does_not_wait_for_more() {
    let (mut server, port) = listener(&[]);
    let mut client = caller(port, &["--ssl-insecure"]);
    for round in 0..5 {
        let (question, answer) = (format!("question {round}\n"), format!("answer {round}\n"));
        client.send(&question);
        server.wait_stdout(&question);
        server.send(&answer);
        client.wait_stdout(&answer);
    }
    client.finish().expect_code(0);
    server.finish().expect_code(0);
}

// ---- the ends of a stream ----

#[test]
fn an_answer_still_arrives_after_the_half_close_of_our_client() {
    for version in ["1.2", "1.3"] {
        let certs = Certs::new();
        let (server, port) = python_server(
            &certs.any(),
            "t.shake(); asked = t.read_all(); t.write(asked * 1000); t.say_end(); say(k.recv(9))",
        );
        let out = call(port, &["--ssl-insecure", "--ssl-max", version], noise(2_500));
        same(&out.expect_code(0).stdout, &noise(2_500).repeat(1000));
        server.wait().expect_code(0);
    }
}

#[test]
fn an_answer_still_arrives_after_the_half_close_of_our_server() {
    for version in ["1.2", "1.3"] {
        let (mut server, port) = listener(&["--ssl-max", version]);
        server.send_all(noise(2_500));
        let client = python_client(
            port,
            "t.shake(); asked = t.read_all(); t.write(asked * 1000); t.say_end(); say(k.recv(9))",
        );
        same(&server.wait().expect_code(0).stdout, &noise(2_500).repeat(1000));
        client.wait().expect_code(0);
    }
}

#[test]
fn a_caller_that_half_closes_still_gets_the_answer_of_our_server() {
    for version in ["1.2", "1.3"] {
        let (server, port) = listener_with_file(&["--ssl-max", version], &noise(MUCH));
        let client =
            python_client(port, "t.shake(); t.write(b'x'); t.say_end(); say(len(t.read_all()))");
        client.wait().expect_code(0).expect_stdout(&format!("{MUCH}\n"));
        server.wait().expect_code(0).expect_stdout("x");
    }
}

#[test]
fn a_client_that_keeps_open_sends_on_after_the_server_has_said_its_end() {
    let certs = Certs::new();
    let (server, port) = python_server(
        &certs.any(),
        "t.shake(); t.write(b'bye'); t.say_end(); say('ended'); say(len(t.read_all()))",
    );
    let mut client = caller(port, &["--ssl-insecure", "-k"]);
    client.wait_stdout("bye");
    client.wait_stdout_end();
    client.send_all(noise(MUCH));
    client.wait().expect_code(0);
    let out = server.wait().expect_code(0).text();
    assert!(out.ends_with(&format!("\nended\n{MUCH}\n")), "{out}");
}

#[test]
fn a_server_that_waits_for_our_close_notify_gets_it_at_once() {
    // D11: ncat 7.93 with --recv-only never answered, and both waited for ever.
    let certs = Certs::new();
    for version in ["1.2", "1.3"] {
        for option in ["--recv-only", "-v"] {
            let (server, port) = python_server(
                &certs.any(),
                "t.shake(); t.write(b'data'); t.go(t.t.unwrap); say('unwrapped')",
            );
            let start = now();
            let client = caller(port, &["--ssl-insecure", "--ssl-max", version, option]);
            client.wait().expect_code(0).expect_stdout("data");
            let out = server.wait().expect_code(0).text();
            assert!(out.ends_with("unwrapped\n"), "{out}");
            assert!(start.elapsed() < Duration::from_secs(3), "{option}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn a_stream_that_is_cut_is_delivered_and_reported() {
    // D10: ncat 7.991 loses the data if the FIN comes with it, socat exits 0.
    let certs = Certs::new();
    let cert = certs.any();
    for (script, bytes) in [
        ("t.shake(); t.write(b'last words'); k.close()", 10),
        ("t.shake(); t.write(b'last words' * 250000); k.close()", MUCH),
        ("t.shake(); t.write(b'last words'); k.shutdown(socket.SHUT_WR); say(k.recv(9))", 10),
    ] {
        for options in [&["--ssl-insecure"][..], &["--ssl-insecure", "--recv-only"]] {
            let (server, port) = python_server(&cert, script);
            let out = cut(caller(port, options).wait());
            same(&out.stdout, &b"last words".repeat(bytes / 10));
            assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
            assert!(out.stderr.contains("was cut"), "{}", out.stderr);
            server.wait().expect_code(0);
        }
    }
}

#[test]
fn a_server_that_is_killed_has_cut_its_stream() {
    let certs = Certs::new();
    let (mut server, port) = s_server_for_data(&certs.any());
    let client = caller(port, &["--ssl-insecure"]);
    server.send("last words\n");
    client.wait_stdout("last words\n");
    server.signal("KILL");
    cut(client.wait()).expect_stdout("last words\n");
}

#[test]
fn a_caller_that_is_killed_has_cut_its_stream() {
    let (server, port) = listener(&[]);
    let mut client = caller(port, &["--ssl-insecure"]);
    client.send("last words\n");
    server.wait_stdout("last words\n");
    client.signal("KILL");
    cut(server.wait()).expect_stdout("last words\n");
}

#[test]
fn a_cut_caller_of_a_server_that_keeps_open_is_not_its_end() {
    let (mut server, port) = listener(&["-k"]);
    let client = python_client(port, "t.shake(); t.write(b'one'); k.close()");
    client.wait().expect_code(0);
    server.wait_stdout("one");
    server.wait_stderr("close_notify");
    call(port, &["--ssl-insecure", "--send-only"], "two").expect_code(0);
    server.wait_stdout("onetwo");
    assert!(!server.has_ended(), "{}", server.stderr());
}

#[test]
fn a_reset_is_reported_behind_the_data() {
    let certs = Certs::new();
    let (server, port) = python_server(
        &certs.any(),
        "import struct\nt.shake(); t.write(b'last words\\n'); t.read(1)\n\
         k.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); k.close()",
    );
    let mut client = caller(port, &["--ssl-insecure"]);
    client.wait_stdout("last words\n");
    client.send("x");
    client.wait().expect_code(1).expect_stdout("last words\n").expect_stderr("reset");
    server.wait().expect_code(0);
}

// ---- handshakes ----

#[test]
fn an_early_end_of_input_does_not_break_the_handshake() {
    let certs = Certs::new();
    let (mut server, port) = s_server_for_data(&certs.any());
    // The server hears the first words of our client, waits for more, and answers late.
    let late = raw_server(move |mut near| {
        let mut far = raw_client(port);
        let mut hello = [0; 4096];
        let n = near.read(&mut hello).unwrap();
        near.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let more = near.read(&mut [0; 1]);
        let waits = matches!(&more, Err(e) if e.kind() == ErrorKind::WouldBlock);
        assert!(waits, "it spoke on after its first words: {more:?}");
        far.write_all(&hello[..n]).unwrap();
        let (near, far) = (patient(near), patient(far));
        let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || copy(near_too, far_too, 4096));
        copy(far, near, 4096);
    });
    let mut command = Command::new(NCAT);
    command.args(["--ssl", "--ssl-insecure", "-q", "-1", "127.0.0.1", &late.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command).wait().expect_code(0).expect_stdout("");
    server.end_input();
    server.wait().expect_code(0);
}

#[test]
fn an_early_end_of_input_leaves_the_answer_whole() {
    let certs = Certs::new();
    let cert = certs.any();
    for version in ["1.2", "1.3"] {
        let script = "t.shake(); t.read_all(); t.write(b'x' * 100000); t.say_end(); say(k.recv(9))";
        let (server, port) = python_server(&cert, script);
        let out = call(port, &["--ssl-insecure", "--ssl-max", version], "").expect_code(0);
        assert_eq!(out.stdout.len(), 100_000);
        server.wait().expect_code(0);
    }
    for peer in ["--recv-only", "-v"] {
        let (server, port) = listener(&[peer]);
        call(port, &["--ssl-insecure"], "").expect_code(0);
        server.finish().expect_code(0).expect_stdout("");
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    for version in ["1.2", "1.3"] {
        let (mut server, port) = listener(&["--ssl-max", version]);
        server.send_all("answer");
        let out = call(drop_by_drop(port), &["--ssl-insecure"], "question").expect_code(0);
        out.expect_stdout("answer");
        server.wait().expect_code(0).expect_stdout("question");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_w() {
    let port = raw_server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let start = now();
    let out = call(port, &["-w", "1"], "hello").expect_code(1).expect_stdout("");
    let out = out.expect_stderr("handshake").expect_stderr("1 s");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    in_words(&out.stderr);
}

#[test]
fn a_caller_that_says_nothing_is_given_up_after_w() {
    let (server, port) = listener(&["-w", "1"]);
    let silent = raw_client(port);
    server.wait().expect_code(1).expect_stderr("handshake").expect_stderr("1 s");
    drop(silent);
}

#[test]
fn a_caller_that_never_shakes_hands_does_not_hold_up_another() {
    let (server, port) = listener(&["-k"]);
    let silent = raw_client(port);
    let mut half = raw_client(port);
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    call(port, &["--ssl-insecure", "--send-only", "-w", "5"], "hello").expect_code(0);
    server.wait_stdout("hello");
    drop((silent, half));
}

#[test]
fn a_server_that_hangs_up_in_the_handshake_is_told_so() {
    let hang_up = |mut stream: TcpStream| {
        // Its first words are read: else it would be a reset.
        let _ = stream.read(&mut [0; 4096]);
    };
    let out = call(raw_server(hang_up), &[], "hello").expect_code(1).expect_stdout("");
    let out = out.expect_stderr("closed the connection during the handshake");
    in_words(&out.stderr);
}

#[test]
fn an_alert_ends_the_handshake_in_words() {
    for (alert, words) in
        [(40, "refused"), (70, "--ssl-min"), (80, "internal error"), (112, "name")]
    {
        let port = raw_server(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(&[0x15, 3, 3, 0, 2, 2, alert]).unwrap();
            let _ = stream.read(&mut [0; 4096]);
        });
        let out = call(port, &[], "hello").expect_code(1).expect_stderr(words);
        in_words(&out.stderr);
    }
}

#[test]
fn a_record_that_is_too_long_ends_the_conversation_behind_the_data() {
    let certs = Certs::new();
    let (_server, port) = python_server(
        &certs.any(),
        "t.shake(); t.write(b'data\\n'); k.sendall(b'\\x17\\3\\3\\xff\\xff' + bytes(65535)); k.recv(9)",
    );
    let out = caller(port, &["--ssl-insecure"]).wait().expect_code(1).expect_stdout("data\n");
    in_words(&out.stderr);
}

#[test]
fn empty_records_are_nothing_special() {
    // OpenSSL sends an empty record before each one in some old modes; both ends must skip them.
    let certs = Certs::new();
    let (_server, port) = python_server(
        &certs.any(),
        "t.shake()\nfor c in b'data': t.go(t.t.write, b''); t.write(bytes([c]))\nt.say_end(); k.recv(9)",
    );
    caller(port, &["--ssl-insecure"]).wait().expect_code(0).expect_stdout("data");
}

// ---- one side without TLS ----

#[test]
fn a_plain_greeting_to_our_tls_client_is_quoted() {
    let port = raw_server(|mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let out = call(port, &[], "hello").expect_code(1).expect_stdout("");
    let out = out.expect_stderr("does not speak TLS").expect_stderr("\"220 mail.example ESMTP\"");
    out.expect_stderr("\nhint: ").expect_stderr("--starttls");
}

#[test]
fn a_plain_answer_to_our_tls_client_is_quoted_and_escaped() {
    let port = raw_server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 400 Bad\x1b[2J Request\r\nServer: x\r\n\r\n").unwrap();
    });
    let out = call(port, &[], "hello").expect_code(1).expect_stdout("");
    let out = out.expect_stderr("HTTP/1.1 400 Bad").expect_stderr("\nhint: ");
    assert!(!out.stderr.contains('\x1b') && !out.stderr.contains("Server"), "{}", out.stderr);
}

#[test]
fn our_plain_server_behind_our_tls_client_is_recognized_on_both_sides() {
    let mut server = ncat(&["-l", "-v", "127.0.0.1", "0"]);
    let client = caller(server.port(), &[]);
    server.wait_stderr("Connection from");
    server.send("220 hello\n");
    let out = client.wait().expect_code(1);
    out.expect_stderr("\"220 hello\"").expect_stderr("leave --ssl out");
    let out = server.wait().expect_code(0).expect_stderr("listen with --ssl");
    assert!(out.stdout.starts_with(&[0x16, 3]), "{:?}", out.text());
}

#[test]
fn a_tls_server_behind_our_plain_client_is_recognized_and_its_data_delivered() {
    let certs = Certs::new();
    let cert = certs.any();
    let (_server, port) = s_server(&cert, &[]);
    // OpenSSL says nothing about a line of text, but an alert about a bad ClientHello.
    let bad = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    let out = run(&["127.0.0.1", &port.to_string()], bad).expect_code(0);
    let warning = one_warning(&out);
    assert!(warning.contains("TLS") && warning.contains("--ssl"), "{warning}");
    assert!(out.stdout.starts_with(&[0x15, 3]), "{:?}", out.stdout);
    assert_eq!(out.stdout.len(), 7, "one alert: {:?}", out.stdout);
}

#[test]
fn a_plain_caller_of_our_tls_server_is_quoted() {
    let (server, port) = listener(&[]);
    let mut client = raw_client(port);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let out = server.wait().expect_code(1).expect_stdout("");
    out.expect_stderr("does not speak TLS")
        .expect_stderr("\"GET / HTTP/1.0\"")
        .expect_stderr("\nhint: ");
}

#[test]
fn our_plain_client_at_our_tls_server_learns_what_is_wrong() {
    let (server, port) = listener(&[]);
    let out = run(&["127.0.0.1", &port.to_string()], "hello\n").expect_code(0);
    assert!(one_warning(&out).contains("--ssl"), "{}", out.stderr);
    server.wait().expect_code(1).expect_stderr("\"hello\"");
}

#[test]
fn garbage_does_not_end_a_server_that_keeps_open() {
    let (mut server, port) = listener(&["-k"]);
    for garbage in [&b"hello\r\n"[..], &[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9], &[0xff; 100_000], b""] {
        let mut client = raw_client(port);
        // It may hang up before it has heard everything.
        let _ = client.write_all(garbage);
        let _ = client.shutdown(Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    }
    call(port, &["--ssl-insecure", "--send-only"], "good").expect_code(0);
    server.wait_stdout("good");
    assert!(!server.has_ended());
    assert!(server.stderr().contains("\"hello\""), "{}", server.stderr());
    in_words(&server.stderr());
}

// ---- certificates that are judged ----

/// Certificates with something wrong for a caller of localhost, and what has to be said of each.
fn wrong_ones(certs: &Certs) -> Vec<(Cert, Vec<&'static str>)> {
    let ca = certs.authority("Some-CA", None);
    let usage = ["keyUsage=digitalSignature"];
    vec![
        (certs.leaf("unknown", &ca, HERE), vec!["CN=Some-CA", "authority"]),
        (certs.alone("alone", HERE), vec!["self-signed"]),
        (certs.make("localhost", EC, None, &usage), vec!["self-signed"]),
        (certs.authority("localhost-CA", None), vec!["self-signed", "localhost-CA, not localhost"]),
        (certs.dated("expired", &ca, "20200101", "20200201"), vec!["expired on 2020-02-01"]),
        (certs.dated("unborn", &ca, "20900101", "20900201"), vec!["not valid before 2090-01-01"]),
        (certs.leaf("other", &ca, "DNS:a.example"), vec!["is for a.example, not localhost"]),
        (certs.alone("two", "DNS:a.example"), vec!["self-signed", "a.example, not localhost"]),
        (certs.alone("ip", "IP:127.0.0.1"), vec!["self-signed", "127.0.0.1, not localhost"]),
        (
            certs.make("rsa", "rsa:2048", None, &[&format!("subjectAltName={HERE}")]),
            vec!["self-signed"],
        ),
    ]
}

/// Our client, calling localhost by name.
fn call_by_name(port: u16, args: &[&str], input: &str) -> Output {
    run(&[&["--ssl", "localhost", &port.to_string()], args].concat(), input)
}

#[test]
fn what_does_not_verify_gets_one_warning_with_its_reason_and_fingerprint() {
    let certs = Certs::new();
    for (cert, reasons) in wrong_ones(&certs) {
        let (server, port) = s_server(&cert, &[]);
        let out = call_by_name(port, &[], "secret\n").expect_code(0).expect_stdout("");
        let warning = one_warning(&out);
        for reason in reasons.into_iter().chain([certs.fingerprint(&cert).as_str()]) {
            assert!(warning.contains(reason), "{reason}: {warning}");
        }
        in_words(warning);
        server.wait_stdout("secret\n");
    }
}

#[test]
fn what_does_not_verify_is_refused_with_its_reason_by_ssl_verify() {
    let certs = Certs::new();
    for (cert, reasons) in wrong_ones(&certs) {
        let (server, port) = s_server(&cert, &[]);
        let out =
            call_by_name(port, &["--ssl-verify"], "secret\n").expect_code(1).expect_stdout("");
        for reason in reasons {
            assert!(out.stderr.contains(reason), "{reason}: {}", out.stderr);
        }
        assert!(out.stderr.contains("\nhint: "), "{}", out.stderr);
        in_words(&out.stderr);
        server.wait_stderr("SSL alert number");
        assert!(!String::from_utf8_lossy(&server.stdout()).contains("secret"), "it was sent");
    }
}

#[test]
fn with_v_the_warning_stays_one_line() {
    let certs = Certs::new();
    let (_server, port) = s_server(&certs.any(), &[]);
    let out = call_by_name(port, &["-v"], "").expect_code(0);
    let warnings = out.stderr.lines().filter(|line| line.contains("warning")).count();
    assert_eq!(warnings, 1, "{}", out.stderr);
    out.expect_stderr("TLS 1.3").expect_stderr("not verified");
}

#[test]
fn an_old_certificate_of_version_1_is_warned_about_and_accepted() {
    // `openssl x509 -req -signkey`, as many a how-to has it, makes X.509 v1: --ssl connects
    // whatever the certificate, as nmap's ncat does.
    let certs = Certs::new();
    let cert = Cert { pem: certs.path("v1.pem"), key: certs.path("v1.key") };
    certs.openssl(&format!(
        "req -new -config req.conf -newkey {EC} -noenc -subj /CN=localhost -keyout {} -out v1.csr",
        cert.key
    ));
    certs.openssl(&format!("x509 -req -in v1.csr -signkey {} -out {}", cert.key, cert.pem));
    for version in ["-tls1_2", "-tls1_3"] {
        let (server, port) = s_server(&cert, &[version]);
        let out = call_by_name(port, &[], "hello\n");
        in_words(&out.stderr);
        let out = out.expect_code(0);
        assert!(one_warning(&out).contains("self-signed"), "{}", out.stderr);
        server.wait_stdout("hello\n");
        call_by_name(port, &["--ssl-insecure"], "").expect_code(0);
        call_by_name(port, &["--ssl-pin", &certs.fingerprint(&cert)], "").expect_code(0);
        call_by_name(port, &["--ssl-trustfile", &cert.pem], "").expect_code(0);
    }
}

#[test]
fn a_certificate_with_an_unknown_critical_extension_is_warned_about_and_accepted() {
    let certs = Certs::new();
    let unknown = ["1.2.3.4=critical,ASN1:NULL", "subjectAltName=DNS:localhost"];
    let cert = certs.make("critical", EC, None, &unknown);
    let (server, port) = s_server(&cert, &[]);
    let out = call_by_name(port, &[], "hello\n");
    in_words(&out.stderr);
    let out = out.expect_code(0);
    assert!(one_warning(&out).contains(&certs.fingerprint(&cert)), "{}", out.stderr);
    server.wait_stdout("hello\n");
    call_by_name(port, &["--ssl-insecure"], "").expect_code(0);
    let out = call_by_name(port, &["--ssl-verify"], "").expect_code(1);
    in_words(&out.expect_stderr("critical").stderr);
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_refused_in_words() {
    let certs = Certs::new();
    let (ca, one) = (certs.authority("CA", None), ["basicConstraints=critical,CA:TRUE"]);
    let cert = certs.leaf("leaf", &ca, HERE);
    let (_server, port) = s_server(&cert, &[]);
    for key in [EC, "rsa:2048"] {
        let twin = certs.make("CA", key, None, &one);
        let out = call(port, &["--ssl-trustfile", &twin.pem], "").expect_code(1);
        in_words(&out.stderr);
    }
}

#[test]
fn ssl_insecure_is_silent_about_anything() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    for cert in
        [certs.alone("two", "DNS:a.example"), certs.dated("expired", &ca, "20200101", "20200201")]
    {
        let (server, port) = s_server(&cert, &[]);
        let out = call_by_name(port, &["--ssl-insecure"], "hello\n").expect_code(0);
        assert_eq!(out.stderr, "");
        server.wait_stdout("hello\n");
    }
}

#[test]
fn a_trust_file_with_the_authority_verifies_names_and_addresses() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let cert = certs.leaf("leaf", &ca, "DNS:localhost,DNS:*.wild.example,IP:127.0.0.1,IP:::1");
    let (_server, port) = s_server(&cert, &[]);
    let accepted = |args: &[&str]| {
        let out = call(port, &[&["--ssl-verify", "--ssl-trustfile", &ca.pem], args].concat(), "");
        assert_eq!(out.expect_code(0).stderr, "", "{args:?}");
    };
    let refused = |args: &[&str], reason: &str| {
        let out = call(port, &[&["--ssl-trustfile", &ca.pem], args].concat(), "secret");
        let out = out.expect_code(1).expect_stderr(reason);
        in_words(&out.stderr);
    };
    accepted(&[]);
    for name in ["localhost", "LocalHost", "a.wild.example", "::1"] {
        accepted(&["--ssl-servername", name]);
    }
    assert_eq!(call_by_name(port, &["--ssl-trustfile", &ca.pem], "").expect_code(0).stderr, "");
    for name in ["wild.example", "a.b.wild.example", "local", "127.0.0.2", "leaf"] {
        refused(&["--ssl-servername", name], &format!(", not {name}"));
    }
}

#[test]
fn a_trust_file_refuses_what_its_authorities_have_not_signed() {
    let certs = Certs::new();
    let (ca, other) = (certs.authority("CA", None), certs.authority("Other", None));
    let expired = certs.dated("expired", &ca, "20200101", "20200201");
    for (cert, trusted, reason) in [
        (certs.leaf("leaf", &ca, HERE), &other, "CN=CA is not an authority"),
        (certs.alone("alone", HERE), &other, "self-signed"),
        (expired.clone(), &ca, "expired on 2020-02-01"),
        (expired.clone(), &expired, "expired on 2020-02-01"),
        (certs.leaf("misnamed", &ca, "DNS:a.example"), &ca, "is for a.example, not 127.0.0.1"),
    ] {
        let (server, port) = s_server(&cert, &[]);
        let out = call(port, &["--ssl-trustfile", &trusted.pem], "secret\n");
        let out = out.expect_code(1).expect_stdout("").expect_stderr(reason);
        in_words(&out.stderr);
        server.wait_stderr("SSL alert number");
        assert!(!String::from_utf8_lossy(&server.stdout()).contains("secret"), "it was sent");
    }
}

#[test]
fn the_very_certificate_in_the_trust_file_is_trusted_and_no_other() {
    let certs = Certs::new();
    let usage = ["keyUsage=digitalSignature"];
    for cert in [
        certs.alone("localhost", HERE),
        // Only the common name says whose it is.
        certs.make("127.0.0.1", EC, None, &usage),
        certs.make("mine", EC, None, &["basicConstraints=CA:TRUE", "subjectAltName=IP:127.0.0.1"]),
    ] {
        let (_server, port) = s_server(&cert, &[]);
        let verify = ["--ssl-verify", "--ssl-trustfile"];
        let out = call(port, &[&verify[..], &[&cert.pem]].concat(), "").expect_code(0);
        assert_eq!(out.stderr, "");
        // The same names, another key.
        let twin = certs.make("twin", EC, None, &["subjectAltName=IP:127.0.0.1"]);
        call(port, &[&verify[..], &[&twin.pem]].concat(), "").expect_code(1);
        let both = certs.together("both.pem", &[&twin.pem, &cert.pem]);
        call(port, &[&verify[..], &[&both]].concat(), "").expect_code(0);
        // It is trusted for its own names only.
        let args = ["--ssl-trustfile", &cert.pem, "--ssl-servername", "a.example"];
        call(port, &args, "").expect_code(1).expect_stderr("not a.example");
    }
}

#[test]
fn a_common_name_counts_only_for_the_very_certificate_in_the_trust_file() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let cert = certs.make("localhost", EC, Some(&ca), &["keyUsage=digitalSignature"]);
    let (_server, port) = s_server(&cert, &[]);
    let out = call_by_name(port, &["--ssl-trustfile", &ca.pem], "").expect_code(1);
    in_words(&out.expect_stderr("common name").stderr);
    call_by_name(port, &["--ssl-trustfile", &cert.pem], "").expect_code(0);
}

#[test]
fn an_intermediate_authority_has_to_be_sent() {
    let certs = Certs::new();
    let root = certs.authority("Root", None);
    let middle = certs.authority("Middle", Some(&root));
    let cert = certs.leaf("leaf", &middle, HERE);
    let trust = ["--ssl-trustfile", &root.pem];
    let (_server, port) = s_server(&cert, &["-cert_chain", &middle.pem]);
    assert_eq!(call(port, &trust, "").expect_code(0).stderr, "");
    let (_server, port) = s_server(&cert, &[]);
    call(port, &trust, "").expect_code(1).expect_stderr("CN=Middle is not an authority");
    // Ours sends what is behind its certificate.
    let chain = certs.together("chain.pem", &[&cert.pem, &middle.pem]);
    let (server, port) = listener(&["--ssl-cert", &chain, "--ssl-key", &cert.key]);
    let client = s_client(port, &["-CAfile", &root.pem, "-verify_return_error"]);
    client.finish().expect_code(0).expect_stderr("depth=2 CN = Root");
    server.finish().expect_code(0);
}

#[test]
fn a_pin_is_the_hash_of_the_certificate_or_of_its_key_however_written() {
    let certs = Certs::new();
    let cert = certs.any();
    let (_server, port) = s_server(&cert, &[]);
    let colons = certs.fingerprint(&cert);
    let hex = colons.replace(':', "");
    let key = certs.key_hash(&cert);
    let whole = shell(&format!(
        "openssl x509 -in {} -outform der | openssl dgst -sha256 -binary | openssl enc -base64",
        cert.pem
    ));
    let whole = whole.finish().text().trim().to_owned();
    let sha256 = format!("sha256//{key}");
    for pin in [&colons, &hex, &colons.to_lowercase(), &hex.to_lowercase(), &key, &whole, &sha256] {
        let out = call(port, &["--ssl-pin", pin], "").expect_code(0);
        assert_eq!(out.stderr, "", "{pin}");
    }
    let wrong = "00".repeat(32);
    call(port, &["--ssl-pin", &wrong, "--ssl-pin", &hex], "").expect_code(0);
    // A pin says who it is: no name is needed, no authority.
    call(port, &["--ssl-pin", &hex, "--ssl-servername", "a.example"], "").expect_code(0);
}

#[test]
fn a_pin_that_does_not_match_is_an_error_and_nothing_is_sent() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let cert = certs.leaf("leaf", &ca, HERE);
    let (server, port) = s_server(&cert, &[]);
    let pin = certs.fingerprint(&ca);
    for more in [&[][..], &["--ssl-trustfile", &ca.pem]] {
        let out = call(port, &[&["--ssl-pin", &pin], more].concat(), "secret\n");
        let out = out.expect_code(1).expect_stderr("--ssl-pin");
        out.expect_stderr(&certs.fingerprint(&cert));
    }
    server.wait_stderr("SSL alert number");
    assert!(!String::from_utf8_lossy(&server.stdout()).contains("secret"), "it was sent");
}

#[test]
fn ssl_servername_is_what_is_asked_for_and_what_is_verified() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let (one, two) = (certs.leaf("one", &ca, HERE), certs.leaf("two", &ca, "DNS:b.example"));
    let virtual_host = ["-servername", "b.example", "-cert2", &two.pem, "-key2", &two.key];
    let (_server, port) = s_server(&one, &virtual_host);
    let trust = ["--ssl-trustfile", &ca.pem];
    call_by_name(port, &trust, "").expect_code(0);
    call_by_name(port, &[&trust[..], &["--ssl-servername", "b.example"]].concat(), "")
        .expect_code(0);
    let two = certs.fingerprint(&two);
    call_by_name(port, &["--ssl-pin", &two, "--ssl-servername", "b.example"], "").expect_code(0);
    call_by_name(port, &["--ssl-pin", &two], "").expect_code(1);
    // An address is no host name: nothing is asked for, and the first certificate comes.
    call(port, &trust, "").expect_code(0);
}

#[test]
fn a_server_that_does_not_know_the_name_is_said_so() {
    let certs = Certs::new();
    let cert = certs.any();
    let args = ["-servername", "a.example", "-servername_fatal", "-cert2", &cert.pem];
    let (_server, port) = s_server(&cert, &[&args[..], &["-key2", &cert.key]].concat());
    let args = ["--ssl-servername", "b.example"];
    let out = call(port, &args, "").expect_code(1).expect_stderr("does not know the name");
    out.expect_stderr("--ssl-servername");
}

#[test]
fn a_certificate_written_by_cert_out_verifies_on_all_names_of_this_machine() {
    let certs = Certs::new();
    for (listen, hosts) in [
        ("127.0.0.1", &["127.0.0.1", "localhost"][..]),
        ("::1", &["::1"]),
        ("localhost", &["localhost"]),
    ] {
        if listen == "::1" && TcpListener::bind("[::1]:0").is_err() {
            assert!(std::env::var_os("CI").is_none(), "there is no IPv6 here");
            continue;
        }
        let file = certs.path("out.pem");
        let args = ["-l", "-k", "-v", "--ssl", "--ssl-cert-out", &file, listen, "0"];
        let server = ncat(&args);
        let port = server.port().to_string();
        for host in hosts {
            let args = ["--ssl-verify", "--ssl-trustfile", &file, host, &port];
            assert_eq!(run(&args, "").expect_code(0).stderr, "", "{host}");
        }
        for name in ["localhost", "127.0.0.1", "::1"] {
            let args = ["--ssl-trustfile", &file, "--ssl-servername", name, hosts[0], &port];
            run(&args, "").expect_code(0);
        }
        let args = ["--ssl-trustfile", &file, "--ssl-servername", "a.example", hosts[0], &port];
        run(&args, "").expect_code(1).expect_stderr("not a.example");
        if have("curl") && listen == "127.0.0.1" {
            // It is good enough for others too: curl verifies, and then finds no HTTP.
            let url = format!("https://{listen}:{port}/");
            let args = ["-s", "-m", "5", "--cacert", &file, "-o", "/dev/null", &url];
            let curl = start("curl", &args);
            server.wait_stdout("GET / HTTP/1.1");
            drop(curl);
        }
    }
}

#[test]
fn a_certificate_made_on_the_spot_is_ecdsa_and_for_the_host_given_too() {
    let certs = Certs::new();
    let file = certs.path("out.pem");
    let server = ncat(&["-lkv", "--ssl", "--ssl-cert-out", &file, "127.0.0.2", "0"]);
    let port = server.port().to_string();
    let text = String::from_utf8(certs.openssl(&format!("x509 -in {file} -noout -text"))).unwrap();
    for part in [
        "ASN1 OID: prime256v1",
        "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:127.0.0.2",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let args = ["--ssl-verify", "--ssl-trustfile", &file, "127.0.0.2", &port];
    assert_eq!(run(&args, "").expect_code(0).stderr, "");
    assert!(server.stderr().contains("SHA-256"), "{}", server.stderr());
    // OpenSSL agrees about the names, and that nothing is wrong with it.
    for check in [["-verify_ip", "127.0.0.2"], ["-verify_hostname", "localhost"]] {
        let place = format!("127.0.0.2:{port}");
        let args = ["s_client", "-connect", &place, "-CAfile", &file, "-x509_strict"];
        let args = [&args[..], &["-verify_return_error"], &check].concat();
        run_other("openssl", &args, "").expect_code(0);
    }
}

#[test]
fn our_server_reads_keys_and_certificates_in_every_usual_form() {
    let certs = Certs::new();
    let names = format!("subjectAltName={HERE}");
    let rsa = certs.make("rsa", "rsa:2048", None, &[&names]);
    let ec = certs.make("ec", EC, None, &[&names]);
    let ed = certs.make("ed", "ed25519", None, &[&names]);
    let (pkcs1, sec1) = (certs.path("pkcs1.key"), certs.path("sec1.key"));
    certs.openssl(&format!("rsa -traditional -in {} -out {pkcs1}", rsa.key));
    certs.openssl(&format!("ec -in {} -out {sec1}", ec.key));
    let head =
        |file: &str| std::fs::read_to_string(file).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(head(&pkcs1), "-----BEGIN RSA PRIVATE KEY-----");
    assert_eq!(head(&sec1), "-----BEGIN EC PRIVATE KEY-----");
    assert_eq!(head(&ec.key), "-----BEGIN PRIVATE KEY-----");
    let first = certs.together("first.pem", &[&ec.key, &ec.pem]);
    let last = certs.together("last.pem", &[&ec.pem, &ec.key]);
    // As `openssl ecparam -genkey` writes it.
    let parameters = String::from_utf8(certs.openssl("ecparam -name prime256v1")).unwrap();
    let parameters = parameters + &std::fs::read_to_string(&sec1).unwrap();
    let parameters = certs.file("parameters.key", parameters);
    // As `openssl x509 -text` and `openssl pkcs12` write it.
    let chatter = String::from_utf8(certs.openssl(&format!("x509 -text -in {}", ec.pem))).unwrap();
    let chatter = certs.file("chatter.pem", chatter.replace('\n', "\r\n"));
    for (cert, args) in [
        (&rsa, vec!["--ssl-cert", &rsa.pem, "--ssl-key", &rsa.key]),
        (&rsa, vec!["--ssl-cert", &rsa.pem, "--ssl-key", &pkcs1]),
        (&ec, vec!["--ssl-cert", &ec.pem, "--ssl-key", &ec.key]),
        (&ec, vec!["--ssl-cert", &ec.pem, "--ssl-key", &sec1]),
        (&ec, vec!["--ssl-cert", &ec.pem, "--ssl-key", &parameters]),
        (&ec, vec!["--ssl-cert", &chatter, "--ssl-key", &ec.key]),
        (&ec, vec!["--ssl-cert", &first]),
        (&ec, vec!["--ssl-cert", &last]),
        (&ed, vec!["--ssl-cert", &ed.pem, "--ssl-key", &ed.key]),
    ] {
        let (server, port) = listener(&args);
        let client = s_client(port, &["-CAfile", &cert.pem, "-verify_return_error"]);
        client.finish().expect_code(0);
        server.finish().expect_code(0).expect_stderr(&certs.fingerprint(cert));
    }
}

#[test]
fn one_pem_file_serves_the_server_and_its_caller() {
    let certs = Certs::new();
    let cert = certs.alone("localhost", "IP:127.0.0.1");
    let both = certs.together("both.pem", &[&cert.key, &cert.pem]);
    let (server, port) = listener(&["--ssl-cert", &both]);
    let out = call(port, &["--ssl-verify", "--ssl-trustfile", &both], "hello").expect_code(0);
    assert_eq!(out.stderr, "");
    server.wait().expect_code(0).expect_stdout("hello");
}

#[test]
fn keys_and_certificates_that_cannot_be_used_are_refused_with_exit_2() {
    let certs = Certs::new();
    let (cert, other) = (certs.alone("one", HERE), certs.alone("two", HERE));
    let locked = certs.path("locked.key");
    certs.openssl(&format!("pkey -in {} -out {locked} -aes256 -passout pass:x", cert.key));
    let (nothing, missing) = (certs.file("nothing.pem", "hello\n"), certs.path("missing.pem"));
    let bad =
        certs.file("bad.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    for (args, words) in [
        (["--ssl-cert", &cert.pem, "--ssl-key", &other.key], "key"),
        (["--ssl-cert", &cert.pem, "--ssl-key", &locked], "encrypted"),
        (["--ssl-cert", &cert.pem, "--ssl-key", &cert.pem], "private key"),
        (["--ssl-cert", &cert.pem, "--ssl-key", &missing], "no such file"),
        (["--ssl-cert", &missing, "--ssl-key", &cert.key], "missing.pem"),
        (["--ssl-cert", &nothing, "--ssl-key", &cert.key], "no certificate"),
        (["--ssl-cert", &bad, "--ssl-key", &cert.key], "certificate"),
    ] {
        let listening = ["-l", "127.0.0.1", "0", "--ssl"];
        let out = run(&[&listening[..], &args].concat(), "").expect_code(2).expect_stderr(words);
        in_words(&out.stderr);
    }
    let nowhere = certs.path("no/where.pem");
    for args in [
        ["--ssl-cert-out", &nowhere],
        ["--ssl-client-ca", &missing],
        ["--ssl-client-ca", &nothing],
        ["--ssl-client-ca", &bad],
    ] {
        let listening = ["-l", "127.0.0.1", "0", "--ssl"];
        let out = run(&[&listening[..], &args].concat(), "").expect_code(2).expect_stderr(args[1]);
        in_words(&out.stderr);
    }
    for file in [&missing, &nothing, &bad] {
        let out = call(free_port(), &["--ssl-trustfile", file], "").expect_code(2);
        assert!(out.stderr.contains(file.as_str()), "{}", out.stderr);
        in_words(&out.stderr);
    }
}

// ---- certificates of callers ----

#[test]
fn our_client_shows_its_certificate_to_a_server_that_wants_one() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let (one, me) = (certs.leaf("one", &ca, HERE), certs.leaf("me", &ca, "DNS:me.example"));
    let both = certs.together("both.pem", &[&me.pem, &me.key]);
    for version in ["-tls1_2", "-tls1_3"] {
        let want = ["-Verify", "1", "-CAfile", &ca.pem, "-verify_return_error", version];
        for shown in [&["--ssl-cert", &me.pem, "--ssl-key", &me.key][..], &["--ssl-cert", &both]] {
            let (server, port) = s_server(&one, &want);
            call(port, &[&["--ssl-insecure"], shown].concat(), "hello\n").expect_code(0);
            server.wait_stdout("hello\n");
            server.wait_stderr("CN = me");
        }
        // With TLS 1.3 the refusal comes when our side has begun to talk, sooner or later.
        for _ in 0..8 {
            let (_server, port) = s_server(&one, &want);
            let out = call(port, &["--ssl-insecure"], "hello\n").expect_code(1);
            in_words(&out.stderr);
            let out = out.expect_stderr("refused");
            if version == "-tls1_3" {
                out.expect_stderr("wants a certificate from us").expect_stderr("--ssl-cert");
            }
        }
    }
}

#[test]
fn our_server_refuses_callers_without_a_certificate_of_its_authorities() {
    let certs = Certs::new();
    let (ca, other) = (certs.authority("CA", None), certs.authority("Other", None));
    let me = certs.leaf("me", &ca, "DNS:me.example");
    let stranger = certs.leaf("stranger", &other, "DNS:me.example");
    let late = certs.dated("late", &ca, "20200101", "20200201");
    let alone = certs.make("alone", EC, None, &["basicConstraints=CA:TRUE"]);
    for version in ["1.2", "1.3"] {
        let args = ["--ssl-client-ca", &ca.pem, "--ssl-max", version];
        let (server, port) = listener(&args);
        let shown = ["--ssl-cert", &me.pem, "--ssl-key", &me.key];
        call(port, &[&["--ssl-insecure"], &shown[..]].concat(), "hello").expect_code(0);
        server.wait().expect_code(0).expect_stdout("hello");
        for (shown, words) in [
            (&[][..], "no certificate"),
            (&["--ssl-cert", &stranger.pem, "--ssl-key", &stranger.key], "authority"),
            (&["--ssl-cert", &late.pem, "--ssl-key", &late.key], "expired"),
            (&["--ssl-cert", &alone.pem, "--ssl-key", &alone.key], "certificate"),
        ] {
            let (server, port) = listener(&args);
            let out = call(port, &[&["--ssl-insecure"], shown].concat(), "secret").expect_code(1);
            in_words(&out.stderr);
            let out = server.wait().expect_code(1).expect_stdout("");
            let out = out.expect_stderr(words);
            in_words(&out.stderr);
            // These are for callers; a server is told that they have no effect.
            assert!(!out.stderr.contains("--ssl-trustfile"), "{}", out.stderr);
        }
    }
    // The others come in.
    let (server, port) = listener(&["-k", "--ssl-client-ca", &ca.pem]);
    s_client(port, &[]).finish();
    let mut client = s_client(port, &["-quiet", "-cert", &me.pem, "-key", &me.key]);
    client.send("hello\n");
    server.wait_stdout("hello\n");
    client.finish().expect_code(0);
}

// ---- versions, ciphers, protocols ----

#[test]
fn versions_are_kept_to_by_our_client() {
    let certs = Certs::new();
    let cert = certs.any();
    for (server, option, version) in [
        ("-tls1_2", "--ssl-max", "1.2"),
        ("-tls1_3", "--ssl-min", "1.3"),
        ("-no_tls1_1", "--ssl-max", "1.2"),
        ("-no_tls1_1", "--ssl-min", "1.3"),
    ] {
        let (_server, port) = s_server(&cert, &[server]);
        let out = call(port, &["-v", "--ssl-insecure", option, version], "").expect_code(0);
        out.expect_stderr(&format!("TLS {version}"));
    }
    for (server, option, version) in [
        (&["-tls1_2"][..], "--ssl-min", "1.3"),
        (&["-tls1_3"], "--ssl-max", "1.2"),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "--ssl-min", "1.2"),
    ] {
        let (_server, port) = s_server(&cert, server);
        let out = call(port, &[option, version], "secret").expect_code(1);
        let out = out.expect_stderr("TLS version").expect_stderr("--ssl-max");
        in_words(&out.stderr);
    }
}

#[test]
fn versions_are_kept_to_by_our_server() {
    for (option, version, client) in [
        ("--ssl-max", "1.2", "-tls1_2"),
        ("--ssl-min", "1.3", "-tls1_3"),
        ("--ssl-max", "1.2", "-quiet"),
    ] {
        let (server, port) = listener(&[option, version]);
        let out = s_client(port, &[client]).finish().expect_code(0);
        if client != "-quiet" {
            assert!(
                out.text().contains(&format!("New, TLSv{version}, Cipher is")),
                "{}",
                out.text()
            );
        }
        server.finish().expect_code(0);
    }
    for (option, version, client) in
        [("--ssl-max", "1.2", "-tls1_3"), ("--ssl-min", "1.3", "-tls1_2")]
    {
        let (server, port) = listener(&[option, version]);
        let out = s_client(port, &[client]).finish();
        assert!(out.code() != 0 && out.stderr.contains("alert protocol version"), "{}", out.stderr);
        let out = server.finish().expect_code(1);
        in_words(&out.stderr);
        // What the person can change about it.
        assert!(out.stderr.contains(option), "{}", out.stderr);
    }
}

#[test]
fn a_caller_with_tls_1_1_is_refused_in_words() {
    let (server, port) = listener(&[]);
    let out = s_client(port, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).finish();
    assert!(out.code() != 0 && out.stderr.contains("SSL alert number"), "{}", out.stderr);
    in_words(&server.finish().expect_code(1).expect_stderr("TLS").stderr);
}

#[test]
fn ciphers_are_chosen_by_name_and_by_group() {
    let certs = Certs::new();
    let (_server, port) = s_server(&certs.any(), &[]);
    for (list, more, suite) in [
        ("TLS_AES_128_GCM_SHA256", "1.3", "TLS_AES_128_GCM_SHA256"),
        ("CHACHA20", "1.3", "TLS_CHACHA20_POLY1305_SHA256"),
        ("HIGH:!AES256:!CHACHA20", "1.3", "TLS_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        ("ECDHE+CHACHA20:@STRENGTH", "1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ] {
        let args = ["-v", "--ssl-insecure", "--ssl-max", more, "--ssl-ciphers", list];
        let out = call(port, &args, "").expect_code(0);
        assert!(out.stderr.contains(suite), "{list}: {}", out.stderr);
    }
    for (list, suite) in [
        ("CHACHA20", "TLS_CHACHA20_POLY1305_SHA256"),
        ("AES128:!TLSv1.3", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ] {
        let (server, port) = listener(&["--ssl-ciphers", list]);
        let out = s_client(port, &[]).finish().expect_code(0).text();
        assert!(out.contains(&format!("Cipher is {suite}")), "{list}: {out}");
        server.finish().expect_code(0);
    }
}

#[test]
fn ciphers_that_leave_nothing_are_refused_with_the_list_of_what_there_is() {
    let nobody = free_port().to_string();
    for list in ["RC4", "ALL:!ALL", "nonsense", ""] {
        for mode in [&["127.0.0.1", &nobody][..], &["-l", "127.0.0.1", "0"]] {
            let out = run(&[mode, &["--ssl-ciphers", list]].concat(), "").expect_code(2);
            let out = out.expect_stderr("TLS_AES_256_GCM_SHA384");
            out.expect_stderr("ECDHE-RSA-CHACHA20-POLY1305").expect_stderr(&format!("\"{list}\""));
        }
    }
    let only =
        ["127.0.0.1", &nobody, "--ssl-max", "1.2", "--ssl-ciphers", "TLS_AES_128_GCM_SHA256"];
    run(&only, "").expect_code(2).expect_stderr("TLS 1.2");
}

#[test]
fn peers_without_a_common_cipher_say_so() {
    let certs = Certs::new();
    let args = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    let (_server, port) = s_server(&certs.any(), &args);
    let out = call(port, &["--ssl-ciphers", "CHACHA20"], "").expect_code(1);
    in_words(&out.expect_stderr("cipher").stderr);
    let (server, port) = listener(&["--ssl-ciphers", "AES128", "--ssl-max", "1.2"]);
    s_client(port, &["-cipher", "CHACHA20"]).finish();
    let out = server.finish().expect_code(1).expect_stderr("cipher suites in common");
    in_words(&out.stderr);
}

#[test]
fn our_client_agrees_on_an_application_protocol() {
    let certs = Certs::new();
    let cert = certs.any();
    let (server, port) = s_server(&cert, &["-alpn", "http/1.1,smtp"]);
    let out = call(port, &["-v", "--ssl-insecure", "--ssl-alpn", "h2,smtp"], "").expect_code(0);
    out.expect_stderr(", smtp");
    server.wait_stdout("ALPN protocols selected: smtp");
    let out = call(port, &["--ssl-insecure", "--ssl-alpn", "h2"], "secret").expect_code(1);
    in_words(&out.expect_stderr("--ssl-alpn").stderr);
    // A server that knows nothing of them is no error.
    let (_server, port) = s_server(&cert, &[]);
    call(port, &["--ssl-insecure", "--ssl-alpn", "h2"], "").expect_code(0);
}

#[test]
fn our_server_agrees_on_an_application_protocol() {
    for (offered, chosen) in
        [("http/1.1", "http/1.1"), ("http/1.1,h2", "h2"), ("x,http/1.1", "http/1.1")]
    {
        let (server, port) = listener(&["--ssl-alpn", "h2,http/1.1"]);
        let out = s_client(port, &["-alpn", offered]).finish().expect_code(0).text();
        assert!(out.contains(&format!("ALPN protocol: {chosen}\n")), "{offered}: {out}");
        server.finish().expect_code(0);
    }
    let (server, port) = listener(&["--ssl-alpn", "h2,http/1.1"]);
    let out = s_client(port, &["-alpn", "smtp"]).finish();
    assert!(out.stderr.contains("alert no application protocol"), "{}", out.stderr);
    in_words(&server.finish().expect_code(1).expect_stderr("--ssl-alpn").stderr);
    // A caller that asks for none is let in.
    let (server, port) = listener(&["--ssl-alpn", "h2"]);
    s_client(port, &[]).finish().expect_code(0);
    server.finish().expect_code(0);
    // Ours and ours.
    let (server, port) = listener(&["--ssl-alpn", "a,b"]);
    let out = call(port, &["-v", "--ssl-insecure", "--tls-alpn", "b"], "").expect_code(0);
    out.expect_stderr(", b\n");
    server.finish().expect_code(0);
}

#[test]
fn a_group_that_was_not_guessed_costs_a_round_and_no_more() {
    let certs = Certs::new();
    let (_server, port) = s_server(&certs.any(), &["-groups", "P-384"]);
    call(port, &["-v", "--ssl-insecure"], "").expect_code(0).expect_stderr("P-384");
    let (server, port) = listener(&[]);
    let out = s_client(port, &["-groups", "P-521:P-256"]).finish().expect_code(0).text();
    assert!(out.contains("Server Temp Key: ECDH, prime256v1"), "{out}");
    server.finish().expect_code(0);
}

#[test]
fn new_keys_in_the_middle_are_nothing_special() {
    let (mut server, port) = listener(&[]);
    let place = format!("127.0.0.1:{port}");
    let mut client = start("openssl", &["s_client", "-no_ign_eof", "-connect", &place]);
    // OpenSSL's commands: K wants new keys from both sides, k gives its own.
    for (round, command) in ["K\n", "k\n"].into_iter().enumerate() {
        let (question, answer) = (format!("question {round}\n"), format!("answer {round}\n"));
        client.send(&question);
        server.wait_stdout(&question);
        client.send(command);
        client.wait_stderr(&"KEYUPDATE\n".repeat(round + 1));
        server.send(&answer);
        client.wait_stdout(&answer);
        client.send("more\n");
        server.wait_stdout(&format!("{question}more\n"));
    }
    client.finish().expect_code(0);
    server.finish().expect_code(0);
}

// ---- what can be asked about a connection ----

#[test]
fn ssl_info_tells_the_facts_and_with_z_on_standard_output() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let cert = certs.leaf("leaf", &ca, HERE);
    let (server, port) = s_server(&cert, &["-cert_chain", &ca.pem, "-alpn", "h2"]);
    let probe = ["-z", "--ssl-info", "--ssl-trustfile", &ca.pem, "--ssl-alpn", "h2"];
    let out = call(port, &probe, "").expect_code(0);
    assert_eq!(out.stderr, "");
    let text = out.text();
    let hash = |base64: &str| {
        let line =
            format!("echo {base64} | openssl enc -d -base64 | od -An -v -tx1 | tr -d ' \\n'");
        shell(&line).finish().expect_code(0).text().to_uppercase()
    };
    let key = hash(&certs.key_hash(&cert));
    for fact in [
        "TLS 1.3",
        "TLS_AES_256_GCM_SHA384",
        "X25519",
        "h2",
        "CN=leaf",
        "CN=CA",
        "localhost",
        "127.0.0.1",
        "days left",
        "yes",
        "not stapled",
        &certs.fingerprint(&cert),
        &certs.fingerprint(&ca),
    ] {
        assert!(text.contains(fact), "{fact}:\n{text}");
    }
    assert!(text.replace(':', "").contains(&key), "{key}:\n{text}");
    // Without -z there is a conversation, and the facts stay out of its data.
    let args = ["--ssl-info", "--ssl-insecure"];
    let out = call(port, &args, "hello\n").expect_code(0).expect_stdout("");
    out.expect_stderr(&certs.fingerprint(&cert)).expect_stderr("not checked");
    server.wait_stdout("hello\n");
    let out = call(port, &["-z", "--ssl-info"], "").expect_code(0);
    assert!(out.text().contains("CN=CA is not an authority"), "{}", out.text());
    call(port, &["-z", "--ssl-info", "--ssl-verify"], "").expect_code(1);
}

#[test]
fn ssl_info_json_is_json_with_the_same_facts() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let cert = certs.dated("leaf", &ca, "20200101", "20991231");
    let (_server, port) = s_server(&cert, &["-cert_chain", &ca.pem]);
    let probe = ["-z", "--ssl-info=json", "--ssl-trustfile", &ca.pem];
    let json = call(port, &probe, "").expect_code(0).text();
    run_other("python3", &["-m", "json.tool"], json.as_str()).expect_code(0);
    let facts = "import json, sys\n\
        d = json.load(sys.stdin); c = d['chain'][0]\n\
        print(d['server'], d['protocol'], d['suite'], d['alpn'], d['verified'], d['why_not'])\n\
        print(len(d['chain']), c['subject'], c['issuer'], c['names'], c['days_left'] > 20000)\n\
        print(c['not_before'], c['not_after'], c['sha256'], d['chain'][1]['sha256'])\n";
    let got = run_other("python3", &["-c", facts], json.as_str()).expect_code(0).text();
    let expected = format!(
        "127.0.0.1 TLS 1.3 TLS_AES_256_GCM_SHA384 None True None\n\
         2 CN=leaf CN=CA ['localhost', '127.0.0.1'] True\n\
         2020-01-01 2099-12-31 {} {}\n",
        certs.fingerprint(&cert),
        certs.fingerprint(&ca)
    );
    assert_eq!(got, expected);
    let json = call(port, &["-z", "--ssl-info=json"], "").expect_code(0).text();
    let why = "import json, sys; d = json.load(sys.stdin); print(d['verified'], d['why_not'])";
    let got = run_other("python3", &["-c", why], json).expect_code(0).text();
    assert!(got.starts_with("False ") && got.contains("authority"), "{got}");
}

#[test]
fn what_a_certificate_says_cannot_act_on_a_terminal() {
    let certs = Certs::new();
    let cert = Cert { pem: certs.path("evil.pem"), key: certs.path("evil.key") };
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-config", "req.conf", "-newkey", "ed25519", "-noenc", "-utf8"]);
    command.args(["-subj", "/CN=\u{1b}[2Jevil\u{202e}\"", "-addext", "keyUsage=digitalSignature"]);
    command.args(["-keyout", &cert.key, "-out", &cert.pem]).current_dir(certs.dir.path());
    start_command(command).finish().expect_code(0);
    let (_server, port) = s_server(&cert, &[]);
    for args in [&["-v"][..], &["--ssl-info"], &["--ssl-info=json"], &["-z", "--ssl-info"]] {
        let out = call(port, args, "").expect_code(0);
        let all = out.text() + &out.stderr;
        assert!(all.contains("evil") && !all.contains(['\u{1b}', '\u{202e}']), "{all:?}");
    }
    let json = call(port, &["-z", "--ssl-info=json"], "").expect_code(0).text();
    run_other("python3", &["-m", "json.tool"], json).expect_code(0);
}

#[test]
fn sslkeylogfile_gets_the_secrets_of_both_versions_and_both_sides() {
    let certs = Certs::new();
    for (version, labels) in [
        (
            "1.3",
            &[
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "SERVER_TRAFFIC_SECRET_0",
            ][..],
        ),
        ("1.2", &["CLIENT_RANDOM"]),
    ] {
        let (theirs, ours) = (certs.path("server.log"), certs.path("client.log"));
        let _ = (std::fs::remove_file(&theirs), std::fs::remove_file(&ours));
        let server = shell(&format!(
            "SSLKEYLOGFILE={theirs} exec $NCAT -l -v --ssl --ssl-max {version} 127.0.0.1 0"
        ));
        let line = format!(
            "SSLKEYLOGFILE={ours} exec $NCAT --ssl --ssl-insecure 127.0.0.1 {}",
            server.port()
        );
        shell(&line).finish().expect_code(0);
        server.finish().expect_code(0);
        let lines = |file: &str| {
            let text = std::fs::read_to_string(file).unwrap();
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let log = lines(&ours);
        for label in labels {
            let is_secret = |line: &&String| {
                let words: Vec<_> = line.split(' ').collect();
                words[0] == *label
                    && words.len() == 3
                    && words[1].len() == 64
                    && words[1..].iter().all(|w| w.bytes().all(|b| b.is_ascii_hexdigit()))
            };
            assert_eq!(log.iter().filter(is_secret).count(), 1, "{label}: {log:?}");
        }
        assert_eq!(log, lines(&theirs));
    }
}

#[test]
fn a_key_log_is_written_only_when_asked_for() {
    let certs = Certs::new();
    let (_server, port) = s_server(&certs.any(), &[]);
    let log = certs.path("nobody.log");
    call(port, &["--ssl-insecure"], "").expect_code(0);
    let line =
        format!("SSLKEYLOGFILE= $NCAT --ssl --ssl-insecure 127.0.0.1 {port} && ! test -e {log}");
    shell(&line).finish().expect_code(0);
}

#[test]
fn tls_is_another_spelling_of_ssl_in_every_option() {
    let certs = Certs::new();
    let ca = certs.authority("CA", None);
    let (one, me) = (certs.leaf("one", &ca, HERE), certs.leaf("me", &ca, "DNS:me.example"));
    let out = certs.path("out.pem");
    let server = ncat(&[
        "-l",
        "-v",
        "--tls",
        "--tls-cert",
        &one.pem,
        "--tls-key",
        &one.key,
        "--tls-client-ca",
        &ca.pem,
        "--tls-cert-out",
        &out,
        "--tls-ciphers",
        "AES128",
        "--tls-min",
        "1.3",
        "--tls-alpn",
        "a",
        "127.0.0.1",
        "0",
    ]);
    let port = server.port().to_string();
    let pin = certs.fingerprint(&one);
    let args = [
        "--tls",
        "--tls-verify",
        "--tls-trustfile",
        &ca.pem,
        "--tls-pin",
        &pin,
        "--tls-servername",
        "localhost",
        "--tls-cert",
        &me.pem,
        "--tls-key",
        &me.key,
        "--tls-max=1.3",
        "--tls-alpn=a",
        "--tls-info",
        "127.0.0.1",
        &port,
    ];
    let client = run(&args, "hello").expect_code(0);
    client.expect_stderr("TLS_AES_128_GCM_SHA256");
    server.wait().expect_code(0).expect_stdout("hello");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), std::fs::read_to_string(&one.pem).unwrap());
    let (server, port) = listener(&["--tls-ciphers", "CHACHA20"]);
    run(&["--tls-insecure", &format!("tls://127.0.0.1:{port}")], "x").expect_code(0);
    server.wait().expect_code(0).expect_stdout("x");
}
