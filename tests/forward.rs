//! `-l --forward`: callers are connected to a target, whatever the transports are.

mod tool;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use tool::{arg, dir, free_port, have, ncat, noise, run, run_other, same, serving};

#[test]
fn bytes_go_both_ways_and_an_end_is_passed_on() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("localhost:{}", target.local_addr().unwrap().port());
    let (server, port) = serving(&["-4", "--forward", &place]);
    let mut caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut far = tool::accept(&target);
    let much = noise(3_000_000);
    let (sent, answer) = (much.clone(), much.iter().rev().copied().collect::<Vec<_>>());
    let reply = answer.clone();
    let service = std::thread::spawn(move || {
        let mut heard = Vec::new();
        // Half-close: the answer comes after the end of the question.
        far.read_to_end(&mut heard).unwrap();
        far.write_all(&reply).unwrap();
        heard
    });
    let mut writer = caller.try_clone().unwrap();
    std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    caller.read_to_end(&mut got).unwrap();
    same(&got, &answer);
    same(&service.join().unwrap(), &much);
    server.finish().expect_code(0);
}

#[test]
fn tls_is_put_on_and_taken_off_and_a_unix_socket_is_as_good() {
    let dir = dir();
    let cert = dir.path().join("cert.pem");
    // Plain callers, a target under TLS.
    let (secure, tls_port) = serving(&["--ssl", "--ssl-cert-out", arg(&cert), "-k", "-c", "cat"]);
    let target = format!("tls://localhost:{tls_port}");
    let (_plain, port) =
        serving(&["-k", "-4", "--ssl-trustfile", arg(&cert), "--forward", &target]);
    let port = port.to_string();
    run(&["127.0.0.1", &port], "through TLS\n").expect_code(0).expect_stdout("through TLS\n");
    // Callers under TLS, over a Unix socket, to that.
    let socket = dir.path().join("socket");
    let place = format!("127.0.0.1:{port}");
    let unix = ncat(&["-l", "-v", "-k", "-U", arg(&socket), "--forward", &place]);
    unix.wait_stderr("Listening on");
    run(&["-U", arg(&socket)], "and back\n").expect_code(0).expect_stdout("and back\n");
    let target = format!("unix:{}", socket.display());
    let (_armoured, port) = serving(&["-k", "--ssl", "--forward", &target]);
    let port = port.to_string();
    let output = run(&["--ssl", "--ssl-insecure", "127.0.0.1", &port], "all the way\n");
    output.expect_code(0).expect_stdout("all the way\n");
    if have("socat") {
        let to = format!("OPENSSL:127.0.0.1:{port},verify=0");
        run_other("socat", &["-", &to], "socat\n").expect_code(0).expect_stdout("socat\n");
    }
    drop(secure);
}

#[test]
fn a_target_that_cannot_be_had_is_said_and_the_caller_is_left() {
    let place = format!("127.0.0.1:{}", free_port());
    let (server, port) = serving(&["--forward", &place]);
    run(&["127.0.0.1", &port.to_string()], "").expect_code(0).expect_stdout("");
    server.wait().expect_code(1).expect_stderr("connection refused");
    // With -k the next one is served.
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = target.local_addr().unwrap();
    drop(target);
    let (server, port) = serving(&["-k", "--forward", &place.to_string()]);
    run(&["127.0.0.1", &port.to_string()], "").expect_code(0);
    server.wait_stderr("cannot connect 127.0.0.1:");
    let target = TcpListener::bind(place).unwrap();
    let caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let far = tool::accept(&target);
    drop((caller, far));
}

#[test]
fn what_is_no_target_is_refused_with_a_reason() {
    for (target, says) in [
        ("smtp://mail.test:25", "hands nothing on"),
        ("mail.test", "needs a host and a port"),
        ("tls://mail.test", "needs a host and a port"),
        ("host:70000", "70000"),
    ] {
        run(&["-l", "--forward", target, "0"], "").expect_code(2).expect_stderr(says);
    }
    for other in [&["-u"][..], &["-c", "cat"], &["--chat"], &["--smtp"]] {
        let args = [&["-l", "--forward", "a:1"][..], other, &["0"]].concat();
        run(&args, "").expect_code(2).expect_stderr("--forward and");
    }
    run(&["--forward", "a:1", "b", "2"], "").expect_code(2).expect_stderr("goes with -l");
}
