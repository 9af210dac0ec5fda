//! The options of TLS, and what they imply.

use super::mail::name;
use super::place::{quoted, usage};
use crate::cli::Environment;
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::mail::Protocol;
use crate::modes::tlsinfo::Format;
use crate::net::target::Scheme;
use crate::net::trust::{Parameters, Trust, Verify};
use crate::proto::starttls;
use base64::Engine as _;
use std::net::IpAddr;

/// What `--starttls` knows.
pub(super) fn named(typed: &str) -> Option<Protocol> {
    match typed {
        "smtp" => Some(Protocol::Smtp),
        "pop3" => Some(Protocol::Pop3),
        "imap" => Some(Protocol::Imap),
        other => starttls::Protocol::ALL
            .into_iter()
            .find(|(name, _)| *name == other)
            .map(|(_, protocol)| Protocol::Upgrade(protocol)),
    }
}

/// Does any option say "TLS", and not "TLS later"?
pub(super) fn implies_tls(args: &Args) -> bool {
    args.ssl
        || args.ssl_verify
        || args.ssl_trustfile.is_some()
        || !args.ssl_pin.is_empty()
        || args.ssl_insecure
        || args.ssl_servername.is_some()
        || args.ssl_cert.is_some()
        || args.ssl_key.is_some()
        || args.ssl_cert_out.is_some()
        || args.ssl_client_ca.is_some()
        || args.ssl_ciphers.is_some()
        || args.ssl_min.is_some()
        || args.ssl_max.is_some()
        || args.ssl_alpn.is_some()
        || args.ssl_info.is_some()
}

pub(super) fn parameters(args: &Args, environment: &Environment) -> Result<Parameters, Error> {
    let version = |option: &str, typed: Option<&String>| match typed.map(String::as_str) {
        None => Ok(None),
        Some("1.2" | "TLSv1.2" | "tls1.2") => Ok(Some(12)),
        Some("1.3" | "TLSv1.3" | "tls1.3") => Ok(Some(13)),
        Some(other) => {
            let error = usage(format!("{option} is 1.2 or 1.3, not {}", quoted(other)));
            Err(match other {
                "1.0" | "1.1" | "1" => {
                    error.hint("versions before 1.2 are broken, and ncat does not have them")
                }
                _ => error,
            })
        }
    };
    let (min, max) = (
        version("--ssl-min", args.ssl_min.as_ref())?.unwrap_or(12),
        version("--ssl-max", args.ssl_max.as_ref())?.unwrap_or(13),
    );
    if min > max {
        return Err(usage("--ssl-min 1.3 and --ssl-max 1.2 leave no version of TLS"));
    }
    if args.ssl_servername.as_deref() == Some("") {
        return Err(usage("--ssl-servername takes a name, and this one is empty"));
    }
    let alpn: Vec<_> = args
        .ssl_alpn
        .iter()
        .flat_map(|list| list.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    if alpn.iter().any(|p| p.is_empty() || p.len() > 255) {
        return Err(usage("--ssl-alpn takes names of 1 to 255 bytes, separated by commas"));
    }
    Ok(Parameters {
        ciphers: args.ssl_ciphers.clone(),
        only_tls13: min == 13,
        only_tls12: max == 12,
        alpn,
        certificate: args.ssl_cert.clone(),
        key: args.ssl_key.clone(),
        key_log: environment.key_log,
    })
}

/// 32 octets in hex (colons allowed) or base64, as browsers, OpenSSL and curl print them.
pub(super) fn pin(typed: &str) -> Result<[u8; 32], Error> {
    let bare = typed.strip_prefix("sha256//").or(typed.strip_prefix("sha256/")).unwrap_or(typed);
    let hex: String = bare.chars().filter(|c| *c != ':').collect();
    let octets = if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        (0..64).step_by(2).filter_map(|i| u8::from_str_radix(&hex[i..i + 2], 16).ok()).collect()
    } else {
        base64::engine::general_purpose::STANDARD.decode(bare).unwrap_or_default()
    };
    octets.try_into().map_err(|_| {
        usage(format!("--ssl-pin takes a SHA-256 in hex or base64, not {}", quoted(typed)))
            .hint("ncat -z --ssl-info HOST:PORT prints those of a server")
    })
}

pub(super) fn tls_info(args: &Args) -> Result<Option<Format>, Error> {
    match args.ssl_info.as_deref() {
        None => Ok(None),
        Some("text") => Ok(Some(Format::Text)),
        Some("json") => Ok(Some(Format::Json)),
        Some(other) => Err(usage(format!("--ssl-info is text or json, not {}", quoted(other)))),
    }
}

/// In which protocol TLS is to start by STARTTLS, before the person's first line.
pub(super) fn starttls(
    args: &Args,
    helper: Option<Protocol>,
    port: u16,
    scheme: Option<Scheme>,
) -> Result<Option<Protocol>, Error> {
    let Some(typed) = args.starttls.as_deref() else {
        // Submission without TLS would be a password in the clear (RFC 8314 §3.3).
        let submission =
            scheme == Some(Scheme::Submission) || port == 587 && scheme != Some(Scheme::Smtps);
        return Ok(helper.filter(|p| *p == Protocol::Smtp && submission && !args.ssl));
    };
    let secure = [Scheme::Tls, Scheme::Smtps, Scheme::Pop3s, Scheme::Imaps];
    if args.ssl || scheme.is_some_and(|scheme| secure.contains(&scheme)) {
        return Err(usage("--starttls and --ssl do not go together: TLS begins once"));
    }
    let protocol = match (typed, helper) {
        ("", Some(helper)) => helper,
        ("", None) => {
            return Err(usage("--starttls needs to know the protocol")
                .hint("--starttls=smtp, or --smtp with it; also pop3, imap, ftp and others"));
        }
        (typed, _) => named(typed).ok_or_else(|| {
            usage(format!("--starttls does not know the protocol {}", quoted(typed)))
                .hint("it knows smtp lmtp pop3 imap ftp nntp sieve ldap xmpp postgres mysql irc")
        })?,
    };
    match helper {
        Some(helper) if helper != protocol => {
            let helper = name(helper);
            Err(usage(format!("--starttls={typed} and {helper} do not go together")))
        }
        _ => Ok(Some(protocol)),
    }
}

pub(super) fn trust(args: &Args, login: bool) -> Result<Trust, Error> {
    let pins = args.ssl_pin.iter().map(|typed| pin(typed)).collect::<Result<Vec<_>, _>>()?;
    let strict = args.ssl_verify || args.ssl_trustfile.is_some();
    if args.ssl_insecure && (strict || !pins.is_empty()) {
        let other = match (args.ssl_verify, args.ssl_trustfile.is_some()) {
            (true, _) => "--ssl-verify",
            (_, true) => "--ssl-trustfile",
            (false, false) => "--ssl-pin",
        };
        return Err(usage(format!("--ssl-insecure and {other} do not go together")));
    }
    let verify = match (args.ssl_insecure, strict || login) {
        (true, _) => Verify::Skip,
        (_, true) => Verify::Must,
        (false, false) => Verify::Tell,
    };
    Ok(Trust { verify, file: args.ssl_trustfile.clone(), pins })
}

pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
