//! `--starttls` in every protocol: the same server, in Python, for OpenSSL's s_client and for us.

mod tool;

use std::process::Command;
use tool::{Running, arg, certified, dir, file_in, have, run, run_other, start_command};

/// A server that speaks a protocol up to TLS, then says a line under TLS, and parts.
const SERVER: &str = r#"
import socket, ssl, sys
protocol, cert, key, how = sys.argv[1:]
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
conn, _ = listener.accept()
conn.settimeout(30)
file = conn.makefile('rwb', buffering=0)
def lines(greeting, answers):
    conn.sendall(greeting)
    while True:
        line = file.readline()
        if not line: sys.exit(0)
        answer = answers[line.split()[0].upper()]
        conn.sendall(answer[0] if isinstance(answer, tuple) else answer)
        if isinstance(answer, tuple): return
def read(n):
    got = b''
    while len(got) < n: got += conn.recv(n - len(got))
    return got
def until(end):
    got = b''
    while not got.rstrip().endswith(end): got += conn.recv(1)
    return got
no = how == 'refuse'
more = b'evil' if how == 'inject' else b''
if protocol == 'lmtp':
    lines(b'220 hi\r\n', {b'LHLO': b'250-hi\r\n250 STARTTLS\r\n',
        b'STARTTLS': b'454 no\r\n' if no else (b'220 go\r\n' + more,)})
elif protocol == 'ftp':
    lines(b'220-Welcome\r\n220 hi\r\n', {b'FEAT': b'211-x\r\n AUTH TLS\r\n211 end\r\n',
        b'AUTH': b'534 no\r\n' if no else (b'234 go\r\n' + more,)})
elif protocol == 'nntp':
    lines(b'200 hi\r\n', {b'CAPABILITIES': b'101 x\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n',
        b'STARTTLS': b'580 no\r\n' if no else (b'382 go\r\n' + more,)})
elif protocol == 'sieve':
    lines(b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK "hi"\r\n',
        {b'STARTTLS': b'NO "no"\r\n' if no else (b'OK "go"\r\n' + more,)})
elif protocol == 'irc':
    # s_client wants no notice before its answer; servers send some.
    lines(b'' if how == 'once' else b':x NOTICE * :hi\r\n', {b'STARTTLS': b':x 691 * :no\r\n' if no else (b':x 670 * :go\r\n' + more,)})
elif protocol == 'xmpp':
    until(b"version='1.0'>")
    tls = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    conn.sendall(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'>"
        b"<stream:features>" + tls + b"</stream:features>")
    until(b'>')
    conn.sendall(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>" if no
        else b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + more)
elif protocol == 'ldap':
    head = read(2)
    read(head[1])
    conn.sendall(b'\x30\x0c\x02\x01\x01\x78\x07\x0a\x01' + (b'\x02' if no else b'\0') + b'\x04\0\x04\0' + more)
elif protocol == 'postgres':
    assert read(8) == b'\0\0\0\x08\x04\xd2\x16\x2f'
    conn.sendall(b'N' if no else b'S' + more)
elif protocol == 'mysql':
    able = b'\xff\xf7' if no else b'\xff\xff'
    packet = b'\x0a8.0.36\0\x01\0\0\x0012345678\0' + able + b'\x2d\x02\0' + able + b'\x15' + bytes(10) + b'123456789012\0'
    conn.sendall(bytes([len(packet), 0, 0, 0]) + packet + more)
    if not no: assert read(36)[4:8][1] & 8
if no:
    conn.recv(1)
    sys.exit(0)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
secure = context.wrap_socket(conn, server_side=True)
secure.sendall(b'under TLS\n')
if how == 'talk':
    assert secure.recv(100) == b'heard\n'
try: secure.unwrap().close()
except OSError: pass
"#;

struct Peer {
    server: Running,
    place: String,
}

fn serve(dir: &tempfile::TempDir, protocol: &str, how: &str) -> Peer {
    let script = file_in(dir, "server.py", SERVER);
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let mut command = Command::new("python3");
    command.args([arg(&script), protocol, arg(&cert), arg(&key), how]);
    let server = start_command(command);
    server.wait_stdout("\n");
    let port = String::from_utf8(server.stdout()).unwrap();
    Peer { server, place: format!("localhost:{}", port.trim()) }
}

/// A directory with a certificate, if there is what it takes.
fn ready() -> Option<tempfile::TempDir> {
    if !have("python3") || !have("openssl") {
        return None;
    }
    let dir = dir();
    certified(&dir);
    Some(dir)
}

const PROTOCOLS: [&str; 9] =
    ["lmtp", "ftp", "nntp", "sieve", "irc", "xmpp", "ldap", "postgres", "mysql"];

#[test]
fn every_protocol_is_upgraded_and_carries_bytes_afterwards() {
    let Some(dir) = ready() else { return };
    let trust = dir.path().join("cert.pem");
    for protocol in PROTOCOLS {
        let option = format!("--starttls={protocol}");
        let peer = serve(&dir, protocol, "talk");
        let args = ["-4", &option, "--ssl-trustfile", arg(&trust), &peer.place];
        run(&args, "heard\n").expect_code(0).expect_stdout("under TLS\n").expect_stderr("");
        peer.server.finish().expect_code(0);

        let peer = serve(&dir, protocol, "once");
        let args = ["-4", "-z", &option, "--ssl-trustfile", arg(&trust), &peer.place];
        run(&args, "").expect_code(0).expect_stdout("").expect_stderr("");

        // The server is one that others understand, so that it is no mirror of ourselves.
        let peer = serve(&dir, protocol, "once");
        let words = ["s_client", "-4", "-quiet", "-connect", &peer.place, "-starttls", protocol];
        let output = run_other("openssl", &words, "");
        assert!(output.text().contains("under TLS"), "{protocol}: {output:?}");
    }
}

#[test]
fn a_refusal_and_what_comes_before_the_handshake_end_it() {
    let Some(dir) = ready() else { return };
    for protocol in PROTOCOLS {
        let option = format!("--starttls={protocol}");
        let peer = serve(&dir, protocol, "refuse");
        let output = run(&["-4", &option, "--ssl-insecure", "-w", "5", &peer.place], "secret");
        let told = output.stderr.contains("refused TLS") || output.stderr.contains("not offer TLS");
        assert!(told && output.stdout.is_empty(), "{protocol}: {output:?}");
        assert!([1, 69, 75].contains(&output.code()), "{protocol}: {output:?}");

        let peer = serve(&dir, protocol, "inject");
        let output = run(&["-4", &option, "--ssl-insecure", "-w", "5", &peer.place], "secret");
        let output = output.expect_code(1).expect_stderr("before the handshake");
        assert_eq!(output.stdout, b"", "{protocol}");
    }
}
