//! `-u --ssl` as a person has it; the layer below has tests of its own (`dtls_layer.rs`).

mod tool;

use ncat::net::dtls::{self, Dtls};
use ncat::net::trust::{Parameters, Trust, Verify};
use std::net::UdpSocket;
use tool::{Running, have, ncat, noise, now, start};

/// A server of ours, and its port.
fn server(more: &[&str]) -> (Running, String) {
    let server = ncat(&[&["-v", "-l", "-u", "--ssl", "127.0.0.1", "0"], more].concat());
    let port = server.port().to_string();
    (server, port)
}

const CALL: [&str; 5] = ["-u", "--ssl", "--ssl-insecure", "-w", "20"];

fn call(port: &str, more: &[&str]) -> Running {
    ncat(&[&CALL, more, &["127.0.0.1", port]].concat())
}

/// The first words of somebody.
fn say_hello(port: &str) -> UdpSocket {
    let trust = Trust { verify: Verify::Skip, file: None, pins: Vec::new() };
    let (config, _) = dtls::client(&trust, &Parameters::default()).unwrap();
    let caller = Dtls::client(&config, "127.0.0.1", now()).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    socket.send(caller.next_out().unwrap()).unwrap();
    socket
}

/// The same, of somebody who is heard and then says nothing more.
fn hello(port: &str) -> UdpSocket {
    let socket = say_hello(port);
    // The question for the cookie: it has been heard.
    socket.set_read_timeout(Some(tool::DEADLINE)).unwrap();
    let heard = socket.recv(&mut [0; 2048]);
    assert!(heard.is_ok(), "{heard:?}");
    socket
}

#[test]
fn both_sides_hear_each_other_and_the_end() {
    for version in ["1.2", "1.3"] {
        let (mut server, port) = server(&[]);
        let target = format!("dtls://127.0.0.1:{port}");
        let mut caller = ncat(&["-v", "--ssl-insecure", "--ssl-min", version, &target]);
        caller.send("question");
        server.wait_stdout("question");
        server.send("answer");
        caller.wait_stdout("answer");
        caller.end_input();
        let caller = caller.wait().expect_code(0);
        caller.expect_stderr(&format!("DTLS {version}"));
        server.wait().expect_code(0);
    }
}

#[test]
fn what_a_short_call_says_arrives() {
    // The caller has gone when the server looks: its machine then refuses what the server says.
    let bytes = noise(1000);
    for more in [&[][..], &["--send-only"], &["--ssl-min", "1.3"]] {
        for _ in 0..5 {
            let (server, port) = server(&[]);
            let mut caller = call(&port, more);
            caller.send_all(bytes.clone());
            caller.wait().expect_code(0);
            let server = server.wait().expect_code(0);
            tool::same(&server.stdout, &bytes);
        }
    }
    let (server, port) = server(&["-k"]);
    for n in 1..=5 {
        let mut caller = call(&port, &[]);
        caller.send_all(format!("line {n}\n"));
        caller.wait().expect_code(0);
        server.wait_stdout(&format!("line {n}\n"));
    }
}

#[test]
fn a_caller_that_leaves_holds_no_command_up() {
    // What it has not waited for is lost, which is said; with -q it has.
    for (command, more, code) in [("tr a-z A-Z", &[][..], 1), ("cat", &["-q", "300ms"], 0)] {
        let (server, port) = server(&["-c", command]);
        let mut caller = call(&port, more);
        caller.send_all("hello");
        let caller = caller.wait();
        if code == 0 {
            assert_eq!(caller.text(), "hello");
        }
        server.wait().expect_code(code);
    }
}

#[test]
fn a_server_for_one_is_not_used_up_by_somebody_who_may_not_exist() {
    for program in [&[][..], &["-c", "cat"]] {
        let (server, port) = server(program);
        // One whose machine then says that there is nobody, mostly; and one who keeps silent.
        let gone = say_hello(&port).local_addr().unwrap();
        server.wait_stderr(&gone.to_string());
        if program.is_empty() {
            let silent = hello(&port);
            server.wait_stderr(&format!("{}: the caller did not", silent.local_addr().unwrap()));
        }
        let mut caller = call(&port, &[]);
        caller.send("here");
        match program {
            [] => server.wait_stdout("here"),
            _ => caller.wait_stdout("here"),
        }
        caller.end_input();
        caller.wait().expect_code(0);
        server.wait().expect_code(0);
    }
}

#[test]
fn callers_who_may_not_exist_hold_no_place_for_long() {
    let (server, port) = server(&["-k", "-m", "2", "-c", "cat"]);
    let silent = [hello(&port), hello(&port)];
    server.wait_stderr("Listening on");
    // It asks again until there is room.
    let mut caller = call(&port, &[]);
    caller.send("here");
    caller.wait_stdout("here");
    caller.end_input();
    caller.wait().expect_code(0);
    drop(silent);
}

#[test]
fn many_are_served_at_once_each_by_a_command_of_its_own() {
    let (_server, port) = server(&["-k", "-c", "cat"]);
    let callers: Vec<_> = (0..6)
        .map(|i| {
            let mut caller = call(&port, &[]);
            caller.send(format!("I am {i}."));
            (i, caller)
        })
        .collect();
    for (i, mut caller) in callers {
        caller.wait_stdout(&format!("I am {i}."));
        caller.end_input();
        assert_eq!(caller.wait().expect_code(0).text(), format!("I am {i}."));
    }
}

#[test]
fn other_peoples_callers_are_served() {
    for (program, args) in [
        ("ncat", &["-u", "--ssl", "127.0.0.1"][..]),
        ("openssl", &["s_client", "-dtls1_2", "-quiet", "-connect"]),
    ] {
        if !have(program) {
            continue;
        }
        let (mut server, port) = server(&[]);
        let place = if program == "openssl" { format!("127.0.0.1:{port}") } else { port };
        let mut caller = start(program, &[args, &[place.as_str()]].concat());
        caller.send("from the caller\n");
        server.wait_stdout("from the caller\n");
        server.send("from the server\n");
        caller.wait_stdout("from the server\n");
        server.signal("TERM");
        server.wait().expect_code(143);
    }
}
