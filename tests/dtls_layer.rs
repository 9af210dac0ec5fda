//! The DTLS layer against other people's: OpenSSL, GnuTLS and Debian's ncat, over loopback.

mod tool;

use ncat::net::buf::Buf;
use ncat::net::dtls::{self, Arrival, ClientConfig, Dtls, LIMIT};
use ncat::net::tls::{Agreed, Failure};
use ncat::net::trust::{Findings, Parameters, Trust, Verify};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tool::{DEADLINE, Running, have, now, run_other, same, start, wait_until};

/// One side of ours: the layer, and a socket that blocks.
struct Line {
    dtls: Dtls,
    socket: UdpSocket,
    /// All datagrams that came, and whether the peer has closed.
    read: Vec<Vec<u8>>,
    closed: bool,
}

impl Line {
    fn call(port: u16, config: &Arc<ClientConfig>, name: &str) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let dtls = Dtls::client(config, name, now()).unwrap();
        Self { dtls, socket, read: Vec::new(), closed: false }
    }

    /// Waits for a caller on a port that `program` is told.
    fn answer(parameters: &Parameters, program: impl FnOnce(u16) -> Running) -> (Self, Running) {
        let (config, _) = dtls::server(parameters, None).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let running = program(socket.local_addr().unwrap().port());
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut datagram = [0; 65536];
        let (n, peer) = socket.recv_from(&mut datagram).unwrap();
        socket.connect(peer).unwrap();
        let mut dtls = Dtls::server(&config, now()).unwrap();
        dtls.arrived(&datagram[..n], now()).unwrap();
        (Self { dtls, socket, read: Vec::new(), closed: false }, running)
    }

    /// Sends what there is, waits for a datagram or a deadline, reads what came.
    fn turn(&mut self) -> Result<(), Failure> {
        self.send();
        let wait = self.dtls.deadline().map_or(DEADLINE, |at| at.saturating_duration_since(now()));
        // 0 would mean for ever.
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(100));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut datagram = [0; 65536];
        let result = match self.socket.recv(&mut datagram) {
            Ok(n) => self.dtls.arrived(&datagram[..n], now()),
            // Time, or nobody is there yet.
            Err(_) if self.dtls.deadline().is_some_and(|at| at <= now()) => {
                self.dtls.timeout(now())
            }
            Err(_) => Ok(()),
        };
        self.send();
        let mut buf = Buf::new(LIMIT);
        while let Some(arrival) = self.dtls.next_in(&mut buf) {
            match arrival {
                Arrival::Datagram(n) => {
                    self.read.push(buf.bytes().to_vec());
                    buf.consume(n);
                }
                Arrival::Closed => {
                    self.closed = true;
                    break;
                }
            }
        }
        result
    }

    fn send(&mut self) {
        while let Some(datagram) = self.dtls.next_out() {
            let _ = self.socket.send(datagram);
            self.dtls.sent();
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<(), Failure> {
        let begun = now();
        while !done(self) {
            assert!(begun.elapsed() < DEADLINE, "waited for {what}; read {:?}", self.read);
            self.turn()?;
        }
        Ok(())
    }

    #[track_caller]
    fn shake(&mut self) -> Result<Agreed, Failure> {
        self.until("the handshake", |line| !line.dtls.is_handshaking())?;
        Ok(self.dtls.agreed().unwrap().clone())
    }

    #[track_caller]
    fn write(&mut self, payload: &[u8]) {
        assert_eq!(self.dtls.write(payload), Ok(true));
        self.send();
    }

    /// Waits until so many bytes have come.
    #[track_caller]
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let held = |line: &Self| line.read.iter().map(Vec::len).sum::<usize>() >= n;
        self.until("its data", held).unwrap();
        self.read.concat()
    }

    #[track_caller]
    fn wait_for_close(&mut self) {
        self.until("its close_notify", |line| line.closed).unwrap();
    }

    fn close(&mut self) {
        assert!(self.dtls.close());
        self.send();
    }
}

/// Certificates of a small world, made with openssl.
struct Papers(tempfile::TempDir);

impl Papers {
    /// An authority (RSA, as many are), one below it, and a server's for localhost below that.
    fn new() -> Self {
        let papers = Self(tool::dir());
        let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext"];
        let rsa = ["-newkey", "rsa:2048", "-addext"];
        let (ca, leaf) = ("basicConstraints=critical,CA:TRUE", "basicConstraints=CA:FALSE");
        papers.make("root", None, &[&rsa[..], &[ca]].concat());
        papers.make("middle", Some("root"), &[&ec[..], &[ca]].concat());
        papers.make("server", Some("middle"), &[&ec[..], &[leaf]].concat());
        papers.make("rsa", None, &[&rsa[..], &[leaf]].concat());
        papers
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(Path::new(&self.path(name)).to_owned())
    }

    fn make(&self, name: &str, issuer: Option<&str>, more: &[&str]) {
        let (pem, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let subject = format!("/CN={name}");
        let args = ["req", "-x509", "-nodes", "-days", "2", "-subj", &subject, "-out", &pem];
        let names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", &key];
        let issuer = issuer.map(|issuer| ["pem", "key"].map(|end| format!("{issuer}.{end}")));
        let issuer = issuer.map(|files| files.map(|file| self.path(&file)));
        let by = issuer.as_ref().map(|[pem, key]| ["-CA", pem.as_str(), "-CAkey", key.as_str()]);
        let by = by.as_ref().map_or(&[][..], |by| &by[..]);
        run_other("openssl", &[&args[..], &names, by, more].concat(), "").expect_code(0);
    }
}

fn calling(verify: Verify, file: Option<PathBuf>) -> (Arc<ClientConfig>, Findings) {
    dtls::client(&Trust { verify, file, pins: Vec::new() }, &Parameters::default()).unwrap()
}

fn careless() -> Arc<ClientConfig> {
    calling(Verify::Skip, None).0
}

/// `openssl s_server` on a port of its choice.
fn s_server(papers: &Papers, name: &str, more: &[&str]) -> (Running, u16) {
    let (pem, key) = (papers.path(&format!("{name}.pem")), papers.path(&format!("{name}.key")));
    let args = ["s_server", "-dtls1_2", "-accept", "127.0.0.1:0", "-cert", &pem, "-key", &key];
    let server = start("openssl", &[&args[..], more].concat());
    let mut port = None;
    wait_until("its port", || {
        let said = String::from_utf8_lossy(&server.stdout()).into_owned();
        let place = said.split_once("ACCEPT 127.0.0.1:").and_then(|(_, at)| at.split_once('\n'));
        port = place.and_then(|(port, _)| port.parse().ok());
        port.is_some()
    });
    (server, port.unwrap())
}

#[test]
fn an_openssl_server_is_verified_up_to_its_authority() {
    if !have("openssl") {
        return;
    }
    let papers = Papers::new();
    let middle = papers.path("middle.pem");
    // With a cookie and without; the chain in one piece and in many.
    for more in [&["-listen"][..], &[], &["-listen", "-mtu", "300"]] {
        let more = [more, &["-cert_chain", &middle]].concat();
        let (mut server, port) = s_server(&papers, "server", &more);
        let (config, findings) = calling(Verify::Must, papers.file("root.pem"));
        let mut line = Line::call(port, &config, "localhost");
        let agreed = line.shake().unwrap();
        assert_eq!(agreed.version, "DTLS 1.2");
        assert_eq!(agreed.suite, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
        assert_eq!(agreed.group, "X25519");
        assert_eq!(agreed.chain.len(), 2);
        assert!(findings.verdict().verified);

        line.write(b"to the server\n");
        server.wait_stdout("to the server\n");
        server.send("to the caller\n");
        assert_eq!(line.bytes(14), b"to the caller\n");
        line.close();
        line.wait_for_close();
    }
}

#[test]
fn an_openssl_server_without_a_trusted_certificate_is_told_so() {
    if !have("openssl") {
        return;
    }
    let papers = Papers::new();
    let (server, port) = s_server(&papers, "server", &["-listen"]);
    let (config, findings) = calling(Verify::Must, papers.file("root.pem"));
    // The certificate between is missing, so it does not lead to the root.
    let failure = Line::call(port, &config, "localhost").shake().unwrap_err();
    let why = "the server's certificate is not accepted: \
               its issuer CN=middle is not an authority that is trusted here";
    assert_eq!(failure.why, why);
    assert!(!findings.verdict().verified);
    server.wait_stderr("alert bad certificate");
}

#[test]
fn an_openssl_server_with_an_rsa_certificate_is_refused_in_words() {
    if !have("openssl") {
        return;
    }
    let papers = Papers::new();
    let (_server, port) = s_server(&papers, "rsa", &["-listen"]);
    let failure = Line::call(port, &careless(), "localhost").shake().unwrap_err();
    let why = "the server refused DTLS: it accepts no cipher suite or group that we offer";
    assert_eq!(failure.why, why);
    assert!(failure.hint.unwrap().contains("not with RSA ones"), "{failure:?}");
}

#[test]
fn an_openssl_server_that_asks_for_our_certificate_gets_it() {
    if !have("openssl") {
        return;
    }
    let papers = Papers::new();
    let root = papers.path("root.pem");
    let ask = ["-listen", "-Verify", "2", "-verify_return_error", "-CAfile", &root];
    let parameters = Parameters {
        certificate: papers.file("middle.pem"),
        key: papers.file("middle.key"),
        ..Parameters::default()
    };
    let trust = Trust { verify: Verify::Skip, file: None, pins: Vec::new() };
    let (config, _) = dtls::client(&trust, &parameters).unwrap();
    let (server, port) = s_server(&papers, "server", &ask);
    let mut line = Line::call(port, &config, "localhost");
    line.shake().unwrap();
    line.write(b"known\n");
    server.wait_stdout("known\n");

    let (_server, port) = s_server(&papers, "server", &ask);
    let failure = Line::call(port, &careless(), "localhost").shake().unwrap_err();
    assert_eq!(failure.why, "the server refused DTLS: it does not know who signed our certificate");
}

#[test]
fn an_openssl_caller_is_served() {
    if !have("openssl") {
        return;
    }
    let papers = Papers::new();
    let middle = papers.path("middle.pem");
    let own = Parameters {
        certificate: papers.file("server.pem"),
        key: papers.file("server.key"),
        ..Parameters::default()
    };
    for (parameters, more) in [
        (&Parameters::default(), &[][..]),
        // -partial_chain: we cannot send the certificates between.
        (&own, &["-verify_return_error", "-partial_chain", "-CAfile", &middle]),
    ] {
        let (mut line, mut caller) = Line::answer(parameters, |port| {
            let place = format!("127.0.0.1:{port}");
            let args = ["s_client", "-dtls1_2", "-nocommands", "-connect", &place];
            start("openssl", &[&args[..], more].concat())
        });
        let agreed = line.shake().unwrap();
        assert_eq!(agreed.version, "DTLS 1.2");
        line.write(b"to the caller\n");
        caller.wait_stdout("to the caller\n");
        caller.send("to the server\n");
        assert_eq!(line.bytes(14), b"to the server\n");
        caller.end_input();
        line.wait_for_close();
        caller.wait().expect_code(0);
    }
}

#[test]
fn the_largest_datagrams_pass_to_openssl_and_back() {
    if !have("openssl") {
        return;
    }
    let (mut line, mut caller) = Line::answer(&Parameters::default(), |port| {
        let place = format!("127.0.0.1:{port}");
        start("openssl", &["s_client", "-dtls1_2", "-quiet", "-nocommands", "-connect", &place])
    });
    line.shake().unwrap();
    let noise = tool::noise(LIMIT);
    line.write(&noise);
    caller.wait_stdout_bytes(LIMIT);
    same(&caller.stdout(), &noise);
    caller.send(&noise);
    same(&line.bytes(LIMIT), &noise);
    line.close();
    caller.wait_stdout_end();
}

#[test]
fn debians_ncat_is_served() {
    if !have("ncat") {
        return;
    }
    let (mut line, mut caller) = Line::answer(&Parameters::default(), |port| {
        start("/usr/bin/ncat", &["-u", "--ssl", "127.0.0.1", &port.to_string()])
    });
    line.shake().unwrap();
    line.write(b"to the caller\n");
    caller.wait_stdout("to the caller\n");
    caller.send("to the server\n");
    assert_eq!(line.bytes(14), b"to the server\n");
    caller.send(tool::noise(5000));
    assert_eq!(line.bytes(5014).len(), 5014);
    line.close();
    caller.wait();
}

#[test]
fn gnutls_calls_and_answers() {
    if !have("gnutls-cli") || !have("openssl") {
        return;
    }
    let (mut line, mut caller) = Line::answer(&Parameters::default(), |port| {
        let args = ["--udp", "--insecure", "-p", &port.to_string(), "127.0.0.1"];
        start("gnutls-cli", &args)
    });
    line.shake().unwrap();
    line.write(b"to the caller\n");
    caller.wait_stdout("to the caller\n");
    caller.send("to the server\n");
    assert_eq!(line.bytes(14), b"to the server\n");
    caller.end_input();
    line.wait_for_close();

    let papers = Papers::new();
    let (pem, key) = (papers.path("server.pem"), papers.path("server.key"));
    // It cannot choose a port itself. Until it is there, what we send is refused and sent again.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = port.to_string();
    let args = ["--udp", "--echo", "--disable-client-cert", "--x509certfile", &pem];
    let server =
        start("gnutls-serv", &[&args[..], &["--x509keyfile", &key, "-p", &place]].concat());
    let mut line = Line::call(port, &careless(), "localhost");
    line.shake().unwrap();
    line.write(b"there and back\n");
    assert_eq!(line.bytes(15), b"there and back\n");
    drop(server);
}

#[test]
fn what_is_not_dtls_is_ignored_and_silence_has_a_deadline() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut line = Line::call(socket.local_addr().unwrap().port(), &careless(), "localhost");
    line.send();
    let mut hello = [0; 65536];
    let (n, caller) = socket.recv_from(&mut hello).unwrap();
    assert!(dtls::is_client_hello(&hello[..n]));
    socket.send_to(b"hello yourself", caller).unwrap();
    line.turn().unwrap();
    assert!(line.dtls.is_handshaking());
    assert!(line.dtls.deadline().unwrap() > now());
}
