//! What is understood, what is refused, and with which words.

use crate::cli::{Asked, Environment, parse};
use crate::modes::Job;
use std::ffi::OsString;

fn job(line: &str) -> Result<Job, String> {
    let words = std::iter::once("ncat").chain(line.split_whitespace()).map(OsString::from);
    match parse(words, &Environment::default()) {
        Ok(Asked::Job(job, _)) => Ok(*job),
        Ok(other) => panic!("{line}: {other:?}"),
        Err(error) => {
            assert_eq!(error.exit().0, 2, "{error}");
            Err(error.to_string())
        }
    }
}

fn shown(line: &str) -> String {
    job(line).map_or_else(|e| panic!("{line}: {e}"), |job| format!("{job:?}"))
}

#[test]
fn options_stand_anywhere_and_bundle_and_shorten() {
    for (line, part) in [
        ("host 25", "Tcp { host: \"host\", port: 25 }"),
        ("host -n 25", "numeric: true"),
        ("-nzvp80 host 25", "source_port: 80"),
        ("host:smtp", "port: 25 }"),
        ("[::1]:25", "host: \"::1\", port: 25"),
        ("::1", "host: \"::1\", port: 31337"),
        ("-- host 25", "port: 25"),
        ("-w 500ms host", "wait: Some(500ms)"),
        ("-w1.5 host", "wait: Some(1.5s)"),
        ("--wait=2 host", "wait: Some(2s)"),
        ("--wai 2 host", "wait: Some(2s)"),
        ("--send-o host 1", "receive: Discard"),
        ("-4 -6 host 1", "family: V6"),
        ("-6 -4 host 1", "family: V4"),
        ("-p 1 -p 2 host 1", "source_port: 2"),
        ("-q 1 host 1", "user_end: After(1s)"),
        ("-q -1 host 1", "user_end: Wait"),
        ("-q -1 --send-only host 1", "user_end: Leave"),
        ("2130706433 9", "host: \"2130706433\", port: 9"),
        ("--tls host 1", "verify: Tell"),
        ("--tls-verify host 1", "verify: Must"),
        ("--ssl-trustfile f host 1", "verify: Must"),
        ("--ssl-insecure host 1", "verify: Skip"),
        ("-U /run/x", "Unix(\"/run/x\")"),
        ("unix:/run/x", "Unix(\"/run/x\")"),
        ("unix-dgram:/run/x", "Unix(\"/run/x\"), protocol: Datagram"),
        ("unix-dgram:///run/x", "Unix(\"/run/x\"), protocol: Datagram"),
        ("vsock:2:70000", "Vsock { cid: 2, port: 70000 }"),
        ("vsock://2:1", "Vsock { cid: 2, port: 1 }"),
        ("vsock:2", "Vsock { cid: 2, port: 31337 }"),
        ("tls://host:1", "tls_later: false"),
        ("--smtp host", "port: 25 }"),
        ("--smtp host:465", "tls_later: false"),
        ("smtps://host", "port: 465 }"),
        ("submission://host", "starttls: true"),
        ("--smtp host:587", "starttls: true"),
        ("--smtp --ssl host:587", "starttls: false"),
        ("--smtp --ssl-trustfile f host", "tls_later: true"),
        ("--starttls=smtp host:25", "upgrade_only: true"),
        ("--starttls=imap host", "port: 143 }"),
        ("--starttls=postgres host", "port: 5432 }"),
        ("--starttls=ftp host 2121", "protocol: Upgrade(Ftp)"),
        ("--starttls=xmpp host", "server: (\"host\", 5222)"),
        ("--pop3 host", "port: 110 }"),
        ("--pop3 host:995", "tls_later: false"),
        ("pop3s://host", "port: 995 }"),
        ("pop3s://host:1", "tls_later: false"),
        ("--imap host", "port: 143 }"),
        ("--imap host 993", "tls_later: false"),
        ("--imap --starttls host", "starttls: true"),
        ("imaps://host", "port: 993 }"),
        ("imap://ann@host", "user: \"ann\""),
        ("--imap --auth ann --auth-mech login,plain host", "only: Some([Login, Plain])"),
    ] {
        let text = shown(line);
        assert!(text.contains(part), "{line}: {part}\n{text}");
    }
}

#[test]
fn listening_takes_a_port_an_address_or_both() {
    for (line, part) in [
        ("-l", "Everywhere(31337)"),
        ("-l 8080", "Everywhere(8080)"),
        ("-l -p 8080", "Everywhere(8080)"),
        ("-l :8080", "Everywhere(8080)"),
        ("-l 0", "Everywhere(0)"),
        ("-l localhost", "Host { host: \"localhost\", port: 31337 }"),
        ("-l localhost 80", "Host { host: \"localhost\", port: 80 }"),
        ("-l localhost:80", "Host { host: \"localhost\", port: 80 }"),
        ("-l -p 80 a", "Host { host: \"a\", port: 80 }"),
        ("-l unix:/x", "Unix(\"/x\")"),
        ("-l vsock::70000", "Vsock { cid: None, port: 70000 }"),
        ("-l vsock:3:1", "Vsock { cid: Some(3), port: 1 }"),
        ("-lk -m 5 1", "most: 5"),
        ("-l --ssl 1", "tls: Some("),
    ] {
        let text = shown(line);
        assert!(text.contains(part), "{line}: {part}\n{text}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_a_reason() {
    for (line, part) in [
        ("", "no host"),
        ("80", "of which host"),
        ("host 0", "port 0"),
        ("host 65536", "65535"),
        ("host -1", "not an option"),
        ("host 80x", "neither a port nor a service"),
        ("host:", "the port is missing"),
        ("host:1 2", "more than once"),
        ("a b c", "3 operands"),
        ("-l 123456", "65535"),
        ("-l -p 80 81", "more than once: \"81\" and -p 80"),
        ("-z host 80 81", "one port at a time"),
        ("--starttls imap host 1", "--starttls=imap takes its value with a ="),
        ("--ssl-info json host 1", "--ssl-info=json takes its value with a ="),
        ("-w localhost 80", "not \"localhost\""),
        ("-vz=1 host 1", "takes no value with a ="),
        ("-l -p 1 host 2", "more than once"),
        ("-l -z 1", "-z and -l"),
        ("-l -s 1.2.3.4 1", "-s and -l"),
        ("-U", "path"),
        ("-U /x 1", "do not go together"),
        ("-U /x --ssl", "not supported"),
        ("-U /x -p 1", "no ports"),
        ("-l -m abc -k 1", "-m takes a number"),
        ("-m 5 host 1", "-m goes with -l"),
        ("-p 0 host 1", "1 to 65535"),
        ("-p 4294967296 host 1", "1 to 65535"),
        ("-w 0 host", "between 1ms"),
        ("-w 0.5ms host", "between 1ms"),
        ("-i 100 host", "seconds or milliseconds"),
        ("-q x host", "between 1ms"),
        ("-i 5d host", "between 1ms"),
        ("-w", "-w, --wait TIME needs a value"),
        ("--nosuch host", "not an option"),
        ("--ss host", "one of several"),
        ("-Z host", "not an option"),
        ("--recv-only=1 host", "takes no value"),
        ("--ssl-min 1.1 host 1", "not have them"),
        ("--ssl-min 1.3 --ssl-max 1.2 host 1", "leave no version"),
        ("--ssl-pin xyz host 1", "SHA-256"),
        ("--ssl-insecure --ssl-verify host 1", "do not go together"),
        ("--ssl --starttls=smtp host 1", "TLS begins once"),
        ("--starttls host 1", "needs to know"),
        ("--starttls=gopher host 1", "it knows smtp lmtp"),
        ("--starttls=imap --smtp host 1", "do not go together"),
        ("--smtp imap://host", "--smtp and --imap do not go together"),
        ("--pop3 --imap host", "--pop3 and --imap do not go together"),
        ("--pop3 --helo x host", "it is about SMTP"),
        ("--pop3 --list host", "--list needs a login"),
        ("--pop3 --auth a --fetch 1 --top 1 --delete 1 host", "the rest would be lost"),
        ("--imap --auth a --search {5} host", "takes no literal"),
        ("-z --smtp --from a@b --to c@d host", "-z goes with a session"),
        ("--exit-zero --imap --auth a --list host", "--exit-zero goes with a session"),
        ("--mx a.example host 1", "--mx goes with --smtp"),
        ("--smtp --mx a.example host", "--mx: \"host\" is neither a port"),
        ("--smtp --mx a.example 1 2", "at most a port"),
        ("--smtp --mx 192.0.2.1", "is an address"),
        ("--smtp --mx a@b.example", "--mx: \"a@b.example\" is a mail address"),
        ("--smtp --dns-server 127.0.0.1 host", "--dns or --mx"),
        ("--pop3 --auth a --fetch 0 host", "--fetch \"0\": it takes 3 or 1,4-6"),
        ("--pop3 --auth a --search ALL host", "--search goes with --imap"),
        ("--pop3 --auth a --idle host", "--idle goes with --imap"),
        ("--imap --auth a --list --accept 1 host", "--accept goes with --idle"),
        ("--imap --auth a --idle --accept 0 host", "--accept takes a number"),
        ("--smtp --auth a --list host", "--list goes with --pop3 or --imap"),
        ("--pop3 --auth a --top 1 host", "--top goes with --fetch"),
        ("--imap --auth a --folder x host", "--folder goes with --list"),
        ("--fetch 1 host 1", "goes with --smtp, --pop3 or --imap"),
        ("--smtp --to a host", "is no address"),
        ("--smtp --to a@b host", "a message needs a sender"),
        ("--smtp --from a@b host", "needs somebody to send to"),
        ("--smtp --to a@b --from c@d --quit-after x host", "--quit-after is CONNECT"),
        ("--smtp --to a@b --from c@d --dsn-notify x host", "--dsn-notify is never"),
        ("--smtp --to a@b --from c@d --explain host", "--explain and --to"),
        ("--pop3 --to a@b --from c@d host", "a message and --pop3"),
        ("--imap --auth ann --auth-mech NTLM host", "does not know \"NTLM\""),
        ("--imap --auth-mech PLAIN host", "needs to know the user"),
        ("-l imap://host", "needs a mailbox"),
        ("--explain host 1", "goes with --smtp, --pop3 or --imap"),
        ("--auth-file f --smtp host", "needs to know the user"),
        ("smtp://ann:x@host", "NCAT_AUTH"),
        ("--auth x smtp://ann@host", "given twice"),
        ("--sctp udp://host:1", "do not go together"),
        ("--smtp udp://host:1", "do not go together"),
        ("--sctp unix-dgram:/x", "do not go together"),
        ("vsock:1:2:3", "a CID and a port"),
        ("vsock:", "needs the CID"),
        ("unix-dgram:", "missing"),
        ("unix-dgram:/x 1", "a path only"),
        ("-l --imap --lmtp 1025", "--lmtp goes with -l --smtp"),
        ("--netrc=x host 1", "--netrc goes with"),
        ("--announce host 1", "goes with -l"),
        ("--append-output host 1", "nothing to append"),
        ("--output-format dialog host 1", "goes with -o"),
        ("-o f --output-format x host 1", "raw, dialog, jsonl or hex"),
        ("-o f --redact host 1", "--redact goes with"),
        ("--safe-output x host 1", "auto, strict or off"),
        ("--completions nosh", "no completions"),
        ("-N --no-shutdown host 1", "-N and --no-shutdown"),
        ("--ssl-servername= host 1", "empty"),
        ("-e x -c y host 1", "one command"),
        ("-e x -e y host 1", "one command"),
        ("-4 -g 1,2,3,4,5,6,7,8,9 host 1", "8 hops at most"),
        ("-4 -g 1.1.1.1,,2.2.2.2 host 1", "missing between its commas"),
        ("-g 1.1.1.1 host 1", "IPv4 only"),
        ("-4 -g 1.1.1.1 -G 3 host 1", "4, 8, 12"),
        ("-4 -g 1.1.1.1 -G 32 host 1", "4, 8, 12"),
        ("--proxy a --proxy b host 1", "--proxy is given more than once"),
        ("--proxy a --proxy-type http --proxy-type http host 1", "--proxy-type is given more"),
        ("--proxy a --proxy-auth a:b --proxy-auth a:b host 1", "--proxy-auth is given more"),
        ("--proxy a --proxy-dns maybe host 1", "none, local, remote or both"),
        ("--proxy a,,b host 1", "missing between its commas"),
        ("--proxy a:99999 host 1", "--proxy: \"99999\" is not a port"),
        ("--proxy a:0 host 1", "--proxy: nobody"),
        ("--proxy [::1 host 1", "--proxy: \"[::1\" has a [ without its ]"),
        ("--proxy-type http host 1", "goes with --proxy"),
        ("--proxy a --proxy-type bogus host 1", "not \"bogus\""),
        ("--proxy a -l 1", "--proxy and -l"),
        ("-l --proxy-type socks9 1", "not \"socks9\""),
        ("-l --proxy-type HTTP 1", "not \"HTTP\""),
        ("-l --proxy-type http -t", "-t and a proxy server"),
        ("-l --proxy-type http -u", "-u and a proxy server"),
        ("-l --proxy-type http -c x", "a command and a proxy server"),
        ("-U /x --proxy a", "-U and --proxy"),
        ("-U /x --broker", "-U and --broker"),
        ("-U /x --chat", "-U and --chat"),
        ("-U /x -4 -g 1.1.1.1", "-U and -g"),
        ("-U /x -l -p 1", "-U and -p"),
        ("-l -U", "path"),
        ("--vsock 1 1 --proxy a", "--vsock and a proxy"),
        ("--vsock 1 1 --ssl", "--vsock and TLS"),
        ("--vsock --broker", "--vsock and --broker"),
        ("--vsock 1 1 -4 -g 1.1.1.1", "--vsock and -g"),
        ("--vsock abc", "not a CID"),
        ("--vsock 0", "not a CID"),
        ("--vsock 4294967296", "not a CID"),
        ("--vsock 1 4294967296", "not a vsock port"),
        ("--vsock -s abc 1", "not a CID"),
        ("-z -t host 1", "-z and -t"),
        ("-z -c x host 1", "-z and a command"),
        ("-k -u host 1", "-k and -u"),
        ("-lk -W 1 1", "counts the packets of one peer"),
        ("-k --sctp host 1", "-k and --sctp"),
        ("--broker -e x", "a command and --broker"),
        ("--chat -c x", "a command and --chat"),
        ("--allow a host 1", "--allow goes with -l"),
        ("--allowfile a host 1", "--allowfile goes with -l"),
        ("--deny a host 1", "--deny goes with -l"),
        ("--denyfile a host 1", "--denyfile goes with -l"),
        ("--lua-exec /no/such host 1", "cannot load the Lua script /no/such: no such file"),
        ("--lua-exec / host 1", "cannot load the Lua script /: is a directory"),
        ("-U /x -u -s", "needs a value"),
        ("-d 0 host 1", "-d takes a time"),
        ("-d 2147484s host 1", "-d takes a time"),
        ("-q -x host 1", "-q takes a time"),
        ("-x", "-x, --hex-dump FILE needs a value"),
    ] {
        let error = job(line).expect_err(line);
        assert!(error.contains(part), "{line}: {part}\n{error}");
    }
}

#[test]
fn a_pin_is_read_in_every_usual_spelling() {
    let hex = "AB".repeat(32);
    let colons = vec!["ab"; 32].join(":");
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode([0xab; 32]);
    for typed in [hex, colons, base64.clone(), format!("sha256//{base64}")] {
        assert_eq!(super::tls::pin(&typed), Ok([0xab; 32]), "{typed}");
    }
}

#[test]
fn a_password_of_the_environment_may_come_with_its_user() {
    for value in ["ann:se:cret", "se:cret"] {
        let environment = Environment { auth: Some(value.into()), ..Environment::default() };
        let words = ["ncat", "--smtp", "--auth", "ann", "host"].map(OsString::from);
        let asked = parse(words, &environment).unwrap();
        let text = format!("{asked:?}");
        assert!(text.contains("Known(***)") && !text.contains("cret"), "{text}");
    }
}

#[test]
fn what_only_a_mock_server_has_is_refused_elsewhere() {
    for option in [
        "--no-starttls",
        "--require-tls",
        "--no-ext SIZE",
        "--bare-newline reject",
        "--no-trace",
        "--mailbox-per rcpt",
        "--lint",
        "--max-size 1M",
        "--fault rcpt=450",
        "--fault-addresses",
        "--accept-xclient",
        "--bounce",
        "--accept-proxy",
    ] {
        let name = option.split(' ').next().unwrap();
        for line in ["host 25", "--smtp host", "-l 25"] {
            let error = job(&format!("{option} {line}")).unwrap_err();
            assert!(error.contains(&format!("{name} goes with a mock")), "{line}: {error}");
        }
        let practice = job(&format!("--smtp --practice {option}"));
        let has = ["--no-ext", "--lint", "--fault", "--fault-addresses"].contains(&name);
        assert_eq!(practice.is_ok(), has, "{option}: {practice:?}");
    }
}
