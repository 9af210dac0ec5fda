//! Proxies with the programs of others: theirs call through ours, and ours through theirs.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;
use tool::{
    DEADLINE, NCAT, Running, accept, arg, dir, file_in, free_port, have, noise, run, run_other,
    same, serving, start, start_command, wait_for_port,
};

/// Python's HTTP server: it gives back what it was sent, and to a GET the path.
fn origin() -> (Running, u16) {
    let script = "
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.say(self.path.encode())
    def do_POST(self):
        self.say(self.rfile.read(int(self.headers['Content-Length'])))
    def say(self, body):
        self.send_response(200)
        self.send_header('Content-Length', len(body))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
";
    let running = start("python3", &["-c", script]);
    running.wait_stdout("\n");
    let port = String::from_utf8(running.stdout()).unwrap().trim().parse().unwrap();
    (running, port)
}

/// A proxy of ours, and how curl names it.
fn ours(options: &str) -> (Running, u16) {
    let options: Vec<_> = options.split(' ').filter(|option| !option.is_empty()).collect();
    serving(&[&["-k", "--proxy-type"], &options[..]].concat())
}

#[test]
fn curl_goes_through_ours_and_only_with_the_right_login() {
    if !have("curl") || !have("python3") {
        return;
    }
    let (_origin, to) = origin();
    let (dir, body) = (dir(), noise(300_000));
    let data = format!("@{}", arg(&file_in(&dir, "body", &body)));
    // What is ours, and how curl calls it.
    let cases = [
        ("http", "http", ""),
        ("http", "http", "--proxytunnel"),
        ("http --ssl", "https", "--proxy-insecure"),
        ("http --ssl", "https", "--proxy-insecure --proxytunnel"),
        ("http --proxy-auth ann:secret", "http", "--proxy-basic"),
        ("http --proxy-auth ann:secret", "http", "--proxy-digest"),
        ("http --proxy-auth ann:secret", "http", "--proxy-anyauth"),
        ("http --proxy-auth ann:secret", "http", "--proxytunnel --proxy-basic"),
        ("http --proxy-auth ann:secret", "http", "--proxytunnel --proxy-digest"),
        ("http --proxy-auth ann:secret", "http", "--proxytunnel --proxy-anyauth"),
        ("socks4", "socks4", ""),
        ("socks4", "socks4a", ""),
        ("socks5", "socks5", ""),
        ("socks5", "socks5h", ""),
        ("socks5 --proxy-auth ann:secret", "socks5", ""),
        ("socks5 --proxy-auth ann:secret", "socks5h", ""),
    ];
    for (options, scheme, more) in cases {
        let (_proxy, port) = ours(options);
        // Where the proxy looks it up, the name has an address that nobody answers at.
        let host = if matches!(scheme, "socks4" | "socks5") { "127.0.0.1" } else { "localhost" };
        let curl = |login: &str| {
            let (url, proxy) =
                (format!("http://{host}:{to}/"), format!("{scheme}://127.0.0.1:{port}"));
            let args = ["-q", "-sS", "-f", "-m", "20", "--noproxy", "", "-x", &proxy, &url];
            let more: Vec<_> = more.split(' ').filter(|option| !option.is_empty()).collect();
            let login = ["--proxy-user", login, "--data-binary", &data];
            run_other("curl", &[&args[..], &more, &login].concat(), "")
        };
        let output = curl("ann:secret");
        assert_eq!(output.code(), 0, "{options}, {scheme} {more}: {}", output.stderr);
        same(&output.stdout, &body);
        if options.contains("--proxy-auth") {
            let output = curl("ann:wrong").expect_stdout("");
            assert_ne!(output.code(), 0, "{options}, {scheme} {more}");
        }
    }
}

#[test]
fn curl_speaks_tls_inside_a_tunnel_of_ours() {
    if !have("curl") {
        return;
    }
    let says = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello'";
    let (_origin, to) = serving(&["-k", "--ssl", "-c", says]);
    for (kind, scheme) in
        [("http", "http"), ("socks4", "socks4"), ("socks4", "socks4a"), ("socks5", "socks5h")]
    {
        let (_proxy, port) = ours(kind);
        let (url, proxy) =
            (format!("https://127.0.0.1:{to}/"), format!("{scheme}://127.0.0.1:{port}"));
        let args = ["-q", "-sS", "-k", "-m", "20", "--noproxy", "", "-x", &proxy, &url];
        run_other("curl", &args, "").expect_code(0).expect_stdout("hello");
    }
}

/// A login that curl made by Digest, as an eavesdropper has it.
fn digest_of_curl(port: u16, url: &str) -> String {
    let proxy = format!("http://127.0.0.1:{port}");
    let args = ["-q", "-sSv", "-f", "-m", "20", "--noproxy", "", "-x", &proxy];
    let login = ["--proxy-digest", "--proxy-user", "ann:secret", url];
    let output = run_other("curl", &[&args[..], &login].concat(), "").expect_code(0);
    let mut lines = output.stderr.lines();
    let line = lines.find_map(|line| line.strip_prefix("> Proxy-Authorization: Digest "));
    line.unwrap_or_else(|| panic!("no login in {}", output.stderr)).to_owned()
}

#[test]
fn a_digest_that_was_overheard_is_good_for_nothing() {
    if !have("curl") || !have("python3") {
        return;
    }
    let (_origin, to) = origin();
    let (_proxy, port) = ours("http --proxy-auth ann:secret");
    let url = format!("http://127.0.0.1:{to}/");
    let digest = digest_of_curl(port, &url);
    let request = format!("GET {url} HTTP/1.0\r\nProxy-Authorization: Digest {digest}\r\n\r\n");
    let mut thief = TcpStream::connect(("127.0.0.1", port)).unwrap();
    thief.set_read_timeout(Some(DEADLINE)).unwrap();
    thief.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    thief.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.0 407 "), "{reply}");
}

#[test]
fn python_fetches_tunnels_and_logs_in_through_ours() {
    if !have("python3") {
        return;
    }
    let (_origin, to) = origin();
    let (_open, open) = ours("http");
    let (_locked, locked) = ours("http --proxy-auth ann:secret");
    let script = "
import http.client, sys, urllib.request
to, open_port, locked_port = map(int, sys.argv[1:])
def said(connection, *request):
    connection.request(*request)
    return connection.getresponse().read()
tunnel = http.client.HTTPConnection('127.0.0.1', open_port, timeout=20)
tunnel.set_tunnel('localhost', to)
body = bytes(range(256)) * 1000
for _ in range(3):
    assert said(tunnel, 'POST', '/', body) == body
    assert said(tunnel, 'GET', '/a?b') == b'/a?b'
fetch = http.client.HTTPConnection('127.0.0.1', open_port, timeout=20)
assert said(fetch, 'GET', 'http://localhost:%d/a?b' % to) == b'/a?b'
assert said(fetch, 'POST', 'http://localhost:%d/' % to, body) == body
proxy = urllib.request.ProxyHandler({'http': 'http://127.0.0.1:%d' % locked_port})
passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, 'http://127.0.0.1:%d' % locked_port, 'ann', 'secret')
passwords.add_password(None, 'http://127.0.0.1:%d' % to, 'ann', 'secret')
for login in urllib.request.ProxyBasicAuthHandler, urllib.request.ProxyDigestAuthHandler:
    opener = urllib.request.build_opener(proxy, login(passwords))
    assert opener.open('http://127.0.0.1:%d/x' % to, timeout=20).read() == b'/x', login
";
    let ports = [to, open, locked].map(|port| port.to_string());
    let args = ["-c", script, &ports[0], &ports[1], &ports[2]];
    run_other("python3", &args, "").expect_code(0).expect_stdout("");
}

/// Debian's ncat as a proxy for `ann:secret`.
fn debians() -> (Running, u16) {
    let port = free_port();
    let text = port.to_string();
    let options = ["-l", "-k", "--proxy-type", "http", "--proxy-auth", "ann:secret"];
    let mut command = Command::new("ncat");
    command.args(options).args(["127.0.0.1", &text]).env_remove("NCAT_PROXY_AUTH");
    let running = start_command(command);
    wait_for_port(port);
    (running, port)
}

/// OpenSSH, server and client, for whoever runs the test.
struct Ssh(tempfile::TempDir);

impl Ssh {
    fn new() -> Self {
        // What sshd wants of root; elsewhere systemd makes it.
        let _ = std::fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        let dir = dir();
        let at = arg(dir.path());
        let key = format!("{at}/key");
        let args = ["-q", "-t", "ed25519", "-N", "", "-f", &key];
        run_other("ssh-keygen", &args, "").expect_code(0);
        let server = format!(
            "HostKey {key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n"
        );
        let client = format!(
            "IdentityFile {key}\nIdentitiesOnly yes\nStrictHostKeyChecking no\nBatchMode yes\n\
             UserKnownHostsFile /dev/null\nControlPath none\n"
        );
        file_in(&dir, "server", server);
        file_in(&dir, "client", client);
        Self(dir)
    }

    /// The command line of a server that speaks on its standard input and output.
    fn server(&self) -> String {
        format!("/usr/sbin/sshd -i -f {}/server", arg(self.0.path()))
    }

    fn client(&self, proxy_command: &str, more: &[&str]) -> Running {
        let config = format!("{}/client", arg(self.0.path()));
        let proxy_command = format!("ProxyCommand={proxy_command}");
        start("ssh", &[&["-F", &config, "-o", &proxy_command], more].concat())
    }

    /// A proxy that speaks SOCKS. This is `-D` seen from the other end, with a port that is free.
    fn proxy(&self) -> (Running, u16) {
        let running = self.client(&self.server(), &["-N", "-R", "127.0.0.1:0", "nowhere"]);
        running.wait_stderr(" for remote forward");
        let said = running.stderr();
        let (_, after) = said.split_once("Allocated port ").unwrap();
        let port = after.split(' ').next().unwrap().parse().unwrap();
        (running, port)
    }
}

#[test]
fn our_client_goes_through_the_proxies_of_others_alone_and_in_chains() {
    if !have("ncat") || !have("sshd") {
        return;
    }
    let ssh = Ssh::new();
    let (_debian, debian) = debians();
    let (_ssh, ssh) = ssh.proxy();
    let (_http, http) = ours("http --proxy-auth ann:secret");
    let (_socks, socks) = ours("socks5 --proxy-auth ann:secret");
    let [debian, http] = [debian, http].map(|port| format!("http://127.0.0.1:{port}"));
    let [ssh5, socks] = [ssh, socks].map(|port| format!("socks5://127.0.0.1:{port}"));
    let ssh4 = format!("socks4://127.0.0.1:{ssh}");
    let login = "ann:secret";
    let (sent, answer) = (noise(200_000), noise(100_000));
    for (chain, login, host) in [
        (vec![&debian], Some(login), "127.0.0.1"),
        (vec![&ssh5], None, "localhost"),
        (vec![&ssh4], None, "localhost"),
        (vec![&ssh4, &ssh5, &ssh4], None, "127.0.0.1"),
        // A refusal in the middle is answered over a new connection from the start.
        (vec![&ssh5, &debian], Some(login), "127.0.0.1"),
        (vec![&debian, &ssh5], Some(login), "127.0.0.1"),
        (vec![&http, &debian, &socks, &ssh5, &http], Some(login), "localhost"),
    ] {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = target.local_addr().unwrap().port().to_string();
        let chain: Vec<_> = chain.into_iter().map(String::as_str).collect();
        let chain = chain.join(",");
        let mut args = vec!["-w", "20", "--proxy", &chain, host, &to];
        args.extend(login.into_iter().flat_map(|login| ["--proxy-auth", login]));
        let mut client = tool::ncat(&args);
        client.send(&sent[..1]);
        let mut end = accept(&target);
        std::thread::scope(|scope| {
            scope.spawn(|| client.send(&sent[1..]));
            let mut heard = vec![0; sent.len()];
            end.read_exact(&mut heard).unwrap();
            same(&heard, &sent);
        });
        // Debian's ends a tunnel when one side ends: the input stays open.
        end.write_all(&answer).unwrap();
        drop(end);
        let output = client.wait();
        assert_eq!(output.code(), 0, "{chain}: {}", output.stderr);
        same(&output.stdout, &answer);
    }
}

#[test]
fn ssh_goes_through_ours_to_a_server_that_ours_starts() {
    if !have("sshd") {
        return;
    }
    let ssh = Ssh::new();
    let (_server, to) = serving(&["-k", "-e", &ssh.server()]);
    let to = to.to_string();
    let sent = noise(1_000_000);
    for kind in ["http", "socks4", "socks5"] {
        let (_proxy, port) = ours(kind);
        let command = format!("{NCAT} --proxy-type {kind} --proxy 127.0.0.1:{port} %h %p");
        let remote = "cat; exit 7";
        let mut client = ssh.client(&command, &["-p", &to, "localhost", remote]);
        client.send_all(&sent[..]);
        same(&client.wait().expect_code(7).stdout, &sent);
    }
}

#[test]
fn twenty_megabytes_survive_a_half_close_each_way() {
    let (dir, up, down) = (dir(), noise(20 << 20), noise(21 << 20));
    let (_up, _down) = (file_in(&dir, "up", &up), file_in(&dir, "down", &down));
    // The answer begins when all of the question has come, and its end is told by its end.
    let judge = format!("cd {} && cmp - up && cat down", arg(dir.path()));
    for (kind, host) in [("http", "127.0.0.1"), ("socks4", "localhost"), ("socks5", "127.0.0.1")] {
        let (_proxy, port) = ours(kind);
        let proxy = format!("{kind}://127.0.0.1:{port}");
        for tls in [&[][..], &["--ssl"]] {
            let (target, to) = serving(&[tls, &["-c", &judge]].concat());
            let args = ["--proxy", &proxy, host, &to.to_string()];
            let output = run(&[&args[..], tls].concat(), &up[..]);
            assert_eq!(output.code(), 0, "{kind} {tls:?}: {}", output.stderr);
            same(&output.stdout, &down);
            target.finish().expect_code(0);
        }
    }
}

#[test]
fn a_target_that_ends_first_still_hears_the_caller() {
    let sent = noise(20 << 20);
    for kind in ["http", "socks4", "socks5"] {
        let (_proxy, port) = ours(kind);
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = target.local_addr().unwrap();
        let [high, low] = at.port().to_be_bytes();
        // A request, and how long the whole reply is.
        let (request, length) = match kind {
            "http" => (format!("CONNECT {at} HTTP/1.0\r\n\r\n").into_bytes(), 19),
            "socks4" => (vec![4, 1, high, low, 127, 0, 0, 1, 0], 8),
            _ => (vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low], 12),
        };
        let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        caller.set_read_timeout(Some(DEADLINE)).unwrap();
        caller.write_all(&request).unwrap();
        let mut end = accept(&target);
        end.write_all(b"bye").unwrap();
        end.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).unwrap();
        assert_eq!((&heard[length..], heard.len()), (&b"bye"[..], length + 3), "{kind}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                caller.write_all(&sent).unwrap();
                caller.shutdown(Shutdown::Write).unwrap();
            });
            let mut heard = Vec::new();
            end.read_to_end(&mut heard).unwrap();
            same(&heard, &sent);
        });
    }
}
