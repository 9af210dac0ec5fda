//! `-t`: what a telnet server asks for is refused, and nobody sees it, however it is cut.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use tool::{DEADLINE, Running, ncat, same};

/// Text around what a telnet server says first: DO TERMINAL-TYPE, WILL ECHO, a subnegotiation
/// with a doubled 255 in it, NOP, and a byte 255 of the text.
const TALK: &[u8] =
    b"lo\xff\xfd\x18gi\xff\xfb\x01\xff\xfa\x18\x01\xff\xffx\xff\xf0n\xff\xf1: \xff\xff.\n";
/// What a person sees of it.
const TEXT: &[u8] = b"login: \xff.\n";
/// WONT TERMINAL-TYPE, DONT ECHO.
const REFUSALS: &[u8] = b"\xff\xfc\x18\xff\xfe\x01";

/// Says it a byte at a time, and gives what comes back until the end.
fn telnet_caller(port: u16) -> Vec<u8> {
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    caller.set_nodelay(true).unwrap();
    caller.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut heard = vec![0; REFUSALS.len()];
    let mut refused = 0;
    for byte in TALK {
        caller.write_all(&[*byte]).unwrap();
        // Each refusal comes before the next byte is sent, so every cut is a cut.
        if matches!(byte, b'\x18' | b'\x01') && refused < REFUSALS.len() {
            caller.read_exact(&mut heard[refused..refused + 3]).unwrap();
            refused += 3;
        }
    }
    caller.shutdown(Shutdown::Write).unwrap();
    caller.read_to_end(&mut heard).unwrap();
    heard
}

fn listener(options: &[&str]) -> (Running, u16) {
    let server = ncat(&[&["-v", "-4", "-l", "-t"], options, &["127.0.0.1", "0"]].concat());
    let port = server.port();
    (server, port)
}

#[test]
fn a_caller_is_refused_in_place() {
    let (server, port) = listener(&[]);
    same(&telnet_caller(port), REFUSALS);
    same(&server.finish().expect_code(0).stdout, TEXT);
}

#[test]
fn callers_around_one_input_are_refused_each_for_itself() {
    let (server, port) = listener(&["-k"]);
    let mut first = TcpStream::connect(("127.0.0.1", port)).unwrap();
    first.set_read_timeout(Some(DEADLINE)).unwrap();
    first.write_all(b"one\xff").unwrap();
    server.wait_stdout("one");
    // The other's stream must not end the command that the first has begun.
    same(&telnet_caller(port), REFUSALS);
    first.write_all(b"\xfb\x03two").unwrap();
    let mut answer = [0; 3];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\xff\xfe\x03");
    server.wait_stdout("two");
    let mut server = server;
    server.send(b"x\xffy");
    let mut heard = [0; 4];
    first.read_exact(&mut heard).unwrap();
    assert_eq!(heard, *b"x\xff\xffy", "a byte 255 of ours is doubled");
    drop(first);
    server.signal("TERM");
    same(&server.wait().expect_code(143).stdout, &[b"one", TEXT, b"two"].concat());
}

#[test]
fn a_command_never_sees_it() {
    let (server, port) = listener(&["-c", "cat >&2; echo bye"]);
    let heard = telnet_caller(port);
    same(&heard, &[REFUSALS, b"bye\n"].concat());
    let output = server.finish().expect_code(0);
    assert!(output.stderr.contains("login: "), "the command saw the text: {}", output.stderr);
}

#[test]
fn under_tls_the_refusals_are_under_tls_too() {
    let mut server = ncat(&["-v", "-4", "-l", "--ssl", "127.0.0.1", "0"]);
    let port = server.port();
    let mut client = ncat(&["-t", "--ssl-insecure", "127.0.0.1", &port.to_string()]);
    server.send(TALK);
    server.wait_stdout_bytes(REFUSALS.len());
    same(&server.stdout(), REFUSALS);
    client.send(b"\xff");
    server.wait_stdout_bytes(REFUSALS.len() + 2);
    server.end_input();
    client.wait_stdout_end();
    same(&client.finish().expect_code(0).stdout, TEXT);
    same(&server.finish().expect_code(0).stdout, &[REFUSALS, b"\xff\xff"].concat());
}
