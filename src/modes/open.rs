//! Opening the door: sockets, the certificate, and the word that we are ready.

use super::door::Armour;
use super::listen::{Config, Place, TlsServer};
use crate::error::{Error, words};
use crate::net::bind::{Listener, Protocol, is_other_file};
use crate::net::dtls;
use crate::net::names::{self, Family};
use crate::net::trust::{self, Unusable};
use crate::report::Report;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

/// TLS or DTLS, ready for callers.
///
/// # Errors
/// A certificate or a key that is of no use, or cannot be written where it should.
pub(super) fn armour(
    tls: &TlsServer,
    protocol: Protocol,
    report: &Report,
) -> Result<Armour, Error> {
    let host = tls.host.as_deref();
    let unusable = |unusable: Unusable| Error::machine(unusable.0);
    let (armour, own) = if protocol == Protocol::Datagram {
        let (config, own) = dtls::server(&tls.parameters, host).map_err(unusable)?;
        (Armour::Dtls(config), own)
    } else {
        let made = trust::server(&tls.parameters, host, tls.client_ca.as_deref());
        let (config, own) = made.map_err(unusable)?;
        (Armour::Tls(config), own)
    };
    if own.ephemeral {
        report.story(format_args!("made a certificate for this run (ECDSA P-256)"));
    }
    report.story(format_args!("our certificate: SHA-256 {}", own.fingerprint()));
    if let Some(file) = &tls.certificate_out {
        std::fs::write(file, own.pem()).map_err(|e| {
            let file = file.display();
            Error::machine(format!("cannot write --ssl-cert-out {file}: {}", words(&e)))
        })?;
    }
    Ok(armour)
}

/// The sockets that a caller can reach, bound and listening.
///
/// # Errors
/// The place that cannot be had, and why.
pub(super) fn bind(config: &Config) -> Result<Vec<Listener>, Error> {
    let busy = |place: String, e: io::Error| {
        let error = Error::machine(format!("cannot listen on {place}: {}", words(&e)));
        let hint = match e.raw_os_error() {
            Some(libc::EACCES) => "ports below 1024 need privileges: try one above, -l 8080",
            Some(libc::EADDRINUSE) => match &config.place {
                Place::Unix(path) if is_other_file(path) => {
                    "the file is there and is no socket: take another path, or remove it"
                }
                Place::Unix(_)
                | Place::Vsock { .. }
                | Place::Host { .. }
                | Place::Loopback(_)
                | Place::Everywhere(_) => "somebody listens there already",
            },
            Some(libc::EADDRNOTAVAIL) => "this is no address of this machine",
            _ => return error,
        };
        error.hint(hint)
    };
    match &config.place {
        Place::Vsock { cid, port } => {
            let name = format!("{}:{port}", cid.unwrap_or(u32::MAX));
            Ok(vec![Listener::vsock(*cid, *port).map_err(|e| busy(name, e))?])
        }
        Place::Unix(path) => {
            let listener = Listener::unix(config.protocol, path)
                .map_err(|e| busy(path.display().to_string(), e))?;
            Ok(vec![listener])
        }
        Place::Host { host, port } => {
            let addresses =
                names::resolve(host, *port, config.family, config.numeric).map_err(|why| {
                    Error::machine(format!("cannot find the address of {host}: {why}"))
                })?;
            let address = addresses[0];
            Ok(vec![
                Listener::inet(config.protocol, address)
                    .map_err(|e| busy(address.to_string(), e))?,
            ])
        }
        Place::Everywhere(port) | Place::Loopback(port) => match config.family {
            Family::Any => {
                let all = match matches!(config.place, Place::Loopback(_)) {
                    true => Listener::loopback(config.protocol, *port),
                    false => Listener::everywhere(config.protocol, *port),
                };
                all.map_err(|(address, e)| busy(address.to_string(), e))
            }
            Family::V4 | Family::V6 => {
                let here = matches!(config.place, Place::Loopback(_));
                let all = match (here, config.family == Family::V4) {
                    (true, true) => "127.0.0.1",
                    (true, false) => "::1",
                    (false, true) => "0.0.0.0",
                    (false, false) => "::",
                };
                let address =
                    names::literal(all, *port).unwrap_or(SocketAddr::from(([0; 4], *port)));
                Ok(vec![
                    Listener::inet(config.protocol, address)
                        .map_err(|e| busy(address.to_string(), e))?,
                ])
            }
        },
    }
}

/// Everybody who wants to know that we are ready is told, now that it is true.
///
/// # Errors
/// Standard output or the port file cannot be written.
pub(super) fn tell(config: &Config, listeners: &[Listener], report: &Report) -> Result<(), Error> {
    for listener in listeners {
        report.story(format_args!("Listening on {listener}"));
    }
    if config.test {
        for _ in listeners {
            report.answer(format_args!("NCAT TEST: LISTEN"));
        }
    }
    if config.announce {
        let kind = match (
            &config.place,
            config.protocol,
            config.tls.as_ref().filter(|_| config.is_tls_at_once()),
        ) {
            (Place::Unix(_), Protocol::Stream | Protocol::Sctp, _) => "unix",
            (Place::Unix(_), Protocol::Datagram, _) => "unix-dgram",
            (Place::Vsock { .. }, ..) => "vsock",
            (_, Protocol::Stream, Some(_)) => "tls",
            (_, Protocol::Stream, None) => "tcp",
            (_, Protocol::Datagram, Some(_)) => "dtls",
            (_, Protocol::Datagram, None) => "udp",
            (_, Protocol::Sctp, _) => "sctp",
        };
        let lines: String = listeners.iter().map(|l| format!("listening {kind} {l}\n")).collect();
        let mut out = io::stdout();
        out.write_all(lines.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| Error::machine(format!("cannot write standard output: {}", words(&e))))?;
    }
    if let (Some(file), Some(port)) = (&config.port_file, listeners[0].port()) {
        write_whole(file, &format!("{port}\n")).map_err(|e| {
            Error::machine(format!("cannot write --port-file {}: {}", file.display(), words(&e)))
        })?;
    }
    Ok(())
}

/// Whoever waits for the file never sees half of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}
