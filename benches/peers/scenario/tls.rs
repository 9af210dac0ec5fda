//! Bytes under TLS 1.3.

use super::Kind::{Limit, Ours, Peer, Tuned};
use super::{Contender, Scenario, contender};
use crate::shape::Shape;
use crate::shape::transfer::{From, To, Transfer};
use crate::target::Target;
use crate::target::Versus::{BestPeer, Itself, Limit as TheLimit, Named};

pub(super) fn all() -> Vec<Scenario> {
    vec![aes(), chacha(), file_to_file()]
}

/// The contenders with one suite: those that use OpenSSL learn it from a file of settings, since
/// not all have an option for it.
macro_rules! contenders {
    ($suite:literal) => {
        vec![
            contender(
                Ours,
                "ours",
                concat!(
                    "ours -l --recv-only --ssl --ssl-cert {cert} --ssl-key {key} --ssl-ciphers ",
                    $suite,
                    " 127.0.0.1 {port}"
                ),
                concat!(
                    "ours --send-only --ssl --ssl-insecure --ssl-ciphers ",
                    $suite,
                    " 127.0.0.1 {port}"
                ),
            ),
            contender(
                Peer,
                "ncat",
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf ncat -l --recv-only --ssl --ssl-cert {cert} --ssl-key {key} \
                     127.0.0.1 {port}"
                ),
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf ncat --send-only --ssl 127.0.0.1 {port}"
                ),
            ),
            contender(
                Peer,
                "socat",
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf socat -u OPENSSL-LISTEN:{port},reuseaddr,bind=127.0.0.1,cert={pem},verify=0 \
                     STDOUT"
                ),
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf socat -u STDIN OPENSSL:127.0.0.1:{port},verify=0"
                ),
            ),
            contender(
                Tuned,
                "socat -b131072",
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf socat -b131072 -u \
                     OPENSSL-LISTEN:{port},reuseaddr,bind=127.0.0.1,cert={pem},verify=0 STDOUT"
                ),
                concat!(
                    "OPENSSL_CONF={dir}/",
                    $suite,
                    ".cnf socat -b131072 -u STDIN OPENSSL:127.0.0.1:{port},verify=0"
                ),
            ),
            contender(
                Peer,
                "openssl",
                concat!(
                    "openssl s_server -quiet -naccept 1 -accept 127.0.0.1:{port} -cert {cert} \
                     -key {key} -ciphersuites ",
                    $suite
                ),
                concat!(
                    "openssl s_client -quiet -no_ign_eof -nocommands -connect 127.0.0.1:{port} -ciphersuites ",
                    $suite
                ),
            ),
        ]
    };
}

/// rustls alone, on both sides or on one.
fn limit(suite: &'static str) -> Contender {
    let (server, client) = match suite {
        "AES" => (
            "tool:limit-tls-receive {port} {cert} {key} TLS_AES_128_GCM_SHA256",
            "tool:limit-tls-send {port} TLS_AES_128_GCM_SHA256",
        ),
        _ => (
            "tool:limit-tls-receive {port} {cert} {key} TLS_CHACHA20_POLY1305_SHA256",
            "tool:limit-tls-send {port} TLS_CHACHA20_POLY1305_SHA256",
        ),
    };
    contender(Limit, "limit: rustls alone", server, client)
}

/// It has no server that writes to standard output, so it sends to the limit's.
fn gnutls() -> Contender {
    contender(
        Tuned,
        "gnutls-cli to rustls",
        "tool:limit-tls-receive {port} {cert} {key} TLS_AES_128_GCM_SHA256",
        "gnutls-cli --insecure --logfile=/dev/null --priority=NORMAL:-CIPHER-ALL:+AES-128-GCM \
         -p {port} 127.0.0.1",
    )
}

fn transfer(from: From, to: To) -> Shape {
    Shape::Transfer(Transfer { bytes: 1 << 29, from, to, both: false })
}

fn aes() -> Scenario {
    let mut contenders = contenders!("TLS_AES_128_GCM_SHA256");
    contenders.push(gnutls());
    contenders.push(limit("AES"));
    // Not TLS, but the same pipe: what the encryption costs.
    contenders.push(contender(
        Ours,
        "ours, without TLS",
        "ours -l --recv-only 127.0.0.1 {port}",
        "ours --send-only 127.0.0.1 {port}",
    ));
    Scenario {
        name: "tls-aes-pipe-null",
        title: "TLS 1.3 with AES-128-GCM, from a pipe to /dev/null",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::Pipe, To::Null),
        contenders,
        targets: vec![
            Target::value(BestPeer, 2.5),
            Target::value(Named("socat -b131072"), 1.8),
            Target::value(Named("openssl"), 3.3),
            Target::value(Named("ncat"), 3.0),
            Target::value(TheLimit, 0.6),
            Target::value(Named("ours, without TLS"), 0.55),
            Target::memory(Itself, 5.2),
            Target::memory(Named("socat"), 0.5),
            Target::memory(Named("ncat"), 0.45),
        ],
    }
}

fn chacha() -> Scenario {
    let mut contenders = contenders!("TLS_CHACHA20_POLY1305_SHA256");
    contenders.push(limit("ChaCha"));
    Scenario {
        name: "tls-chacha-pipe-null",
        title: "TLS 1.3 with ChaCha20-Poly1305, from a pipe to /dev/null",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::Pipe, To::Null),
        contenders,
        targets: vec![Target::value(BestPeer, 1.0), Target::value(TheLimit, 0.6)],
    }
}

fn file_to_file() -> Scenario {
    let mut contenders = contenders!("TLS_AES_128_GCM_SHA256");
    contenders.push(gnutls());
    contenders.push(limit("AES"));
    Scenario {
        name: "tls-file-file",
        title: "TLS 1.3 with AES-128-GCM, from a file to a new file",
        unit: "GB/s",
        cpu_unit: "s/GB",
        shape: transfer(From::File, To::File),
        contenders,
        targets: vec![Target::value(BestPeer, 1.8)],
    }
}
