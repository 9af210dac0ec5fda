//! The options of a mock mail server: `-l` with `--smtp`, `--lmtp`, `--pop3` or `--imap`.

use super::mail::{client_option, host_name, name};
use super::place::{is_number, quoted, usage};
use super::session::optional_time;
use super::tls::implies_tls;
use crate::cli::args::Args;
use crate::error::Error;
use crate::mailbox::{Form, Per, Place};
use crate::modes::mail::Protocol;
use crate::modes::mock::{Config, Keep, Smtp, Speaks};
use crate::proto::fault::{Dialect, Faults};
use crate::proto::sasl::{Mechanism, Secret};
use crate::proto::serving::{Accounts, Protection};
use crate::proto::smtp::server::BareNewline;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The most octets of a message when nobody says.
const MOST_OCTETS: u64 = 50 * 1024 * 1024;

/// Recipients of one message.
const MOST_RECIPIENTS: usize = 1000;

/// How long a caller may be silent (RFC 5321 §4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(300);

/// What a capability may be called that `--no-ext` hides.
const EXTENSIONS: &[&str] = &[
    "PIPELINING",
    "8BITMIME",
    "SMTPUTF8",
    "CHUNKING",
    "BINARYMIME",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "SIZE",
    "LIMITS",
    "STARTTLS",
    "AUTH",
];

/// The port when none is given: one that needs no privileges.
pub(super) fn port(args: &Args, protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Pop3 => 1110,
        Protocol::Imap => 1143,
        Protocol::Smtp if args.lmtp => 1024,
        Protocol::Smtp | Protocol::Upgrade(_) => 1025,
    }
}

/// The server that is asked for.
///
/// # Errors
/// What does not go together, what cannot be understood.
pub(super) fn config(args: &Args, protocol: Protocol, tls_at_once: bool) -> Result<Config, Error> {
    refuse_client_options(args, protocol)?;
    let protection = match (tls_at_once, args.no_starttls, args.require_tls) {
        (true, true, _) | (_, true, true) => {
            return Err(usage(
                "--no-starttls does not go together with --ssl or --require-tls: one hides TLS, \
                 the others demand it",
            ));
        }
        (true, false, _) => Protection::On,
        (false, true, false) => Protection::Never,
        (false, false, true) => Protection::Required,
        (false, false, false) => Protection::Offered,
    };
    if protection == Protection::Never && implies_tls(args) {
        return Err(usage("--no-starttls and TLS options do not go together"));
    }
    let speaks = speaks(args, protocol)?;
    let faults = Arc::new(faults(args, &speaks)?);
    Ok(Config {
        speaks,
        host: host(args)?,
        protection,
        accounts: Arc::new(accounts(args)?),
        without: Arc::new(without(args)?),
        most_octets: args.max_size.as_deref().map_or(Ok(MOST_OCTETS), size)?,
        faults,
        lint: args.lint,
        keep: Keep {
            memory: None,
            place: mailbox(args, protocol)?,
            json: args.output_format.as_deref() == Some("jsonl"),
            trace: !args.no_trace,
            bounce: args.bounce,
        },
        behind_proxy: args.accept_proxy,
        idle: optional_time("-i", args.idle_timeout.as_ref())?.unwrap_or(IDLE),
    })
}

/// A server to practise with: everybody may log in, and mail stays in memory.
///
/// # Errors
/// What a server to practise with does not have.
pub(super) fn practice(args: &Args, protocol: Protocol) -> Result<Config, Error> {
    if let Some((_, option, _)) = own(args).into_iter().find(|(given, _, has)| *given && !has) {
        return Err(usage(format!(
            "--practice and {option} do not go together: it is for a server of its own, -l"
        )));
    }
    let speaks = match protocol {
        Protocol::Smtp => Speaks::Smtp(Smtp {
            lmtp: args.lmtp,
            bare: BareNewline::Keep,
            most_recipients: MOST_RECIPIENTS,
            xclient: false,
        }),
        Protocol::Pop3 => Speaks::Pop3,
        Protocol::Imap => Speaks::Imap,
        Protocol::Upgrade(_) => {
            return Err(usage("--practice goes with --smtp, --pop3 or --imap"));
        }
    };
    let faults = Arc::new(faults(args, &speaks)?);
    Ok(Config {
        speaks,
        host: "practice.example".to_owned(),
        protection: if args.ssl { Protection::On } else { Protection::Offered },
        accounts: Arc::default(),
        without: Arc::new(without(args)?),
        most_octets: MOST_OCTETS,
        faults,
        lint: true,
        keep: Keep {
            json: false,
            trace: true,
            place: None,
            memory: Some(crate::modes::mock::practice::mailbox()),
            bounce: false,
        },
        behind_proxy: false,
        idle: IDLE,
    })
}

fn faults(args: &Args, speaks: &Speaks) -> Result<Faults, Error> {
    let dialect = match speaks {
        Speaks::Smtp(_) => Dialect::Smtp,
        Speaks::Pop3 => Dialect::Pop3,
        Speaks::Imap => Dialect::Imap,
    };
    let specs = args.fault.iter().map(String::as_str);
    Faults::parse(specs, args.fault_addresses)
        .and_then(|faults| faults.fit(dialect).map(|()| faults))
        .map_err(|why| usage(format!("--fault: {why}")))
}

fn speaks(args: &Args, protocol: Protocol) -> Result<Speaks, Error> {
    match protocol {
        Protocol::Smtp => {}
        Protocol::Pop3 => return Ok(Speaks::Pop3),
        Protocol::Imap => return Ok(Speaks::Imap),
        // Nobody listens for an upgrade alone.
        Protocol::Upgrade(_) => return Err(usage("--starttls and -l do not go together")),
    }
    Ok(Speaks::Smtp(Smtp {
        lmtp: args.lmtp,
        bare: match args.bare_newline.as_deref() {
            None | Some("keep") => BareNewline::Keep,
            Some("normalize") => BareNewline::Normalize,
            Some("reject") => BareNewline::Reject,
            Some(other) => {
                return Err(usage(format!(
                    "--bare-newline is keep, normalize or reject, not {}",
                    quoted(other)
                )));
            }
        },
        most_recipients: MOST_RECIPIENTS,
        xclient: args.accept_xclient,
    }))
}

/// Where mail is kept, and who has which of it.
fn mailbox(args: &Args, protocol: Protocol) -> Result<Option<Place>, Error> {
    let several = args.auth.len() > 1;
    let per = match args.mailbox_per.as_deref() {
        None if several => Per::User,
        None | Some("all") => Per::All,
        Some("user") => Per::User,
        Some("rcpt") => Per::Recipient,
        Some("domain") => Per::Domain,
        Some(other) => {
            return Err(usage(format!(
                "--mailbox-per is rcpt, domain, user or all, not {}",
                quoted(other)
            )));
        }
    };
    match &args.mailbox {
        Some(path) => place(path, per, args.mailbox_per.is_some()).map(Some),
        None if protocol != Protocol::Smtp => {
            Err(usage(format!("-l {} needs a mailbox: which mail is to be read?", name(protocol)))
                .hint("--mailbox DIR/, or --mailbox FILE.mbox"))
        }
        None if args.mailbox_per.is_some() => {
            Err(usage("--mailbox-per goes with --mailbox: in which directory?"))
        }
        None => Ok(None),
    }
}

/// A Maildir, or an mbox, which all must share; `said` if `per` was typed.
pub(super) fn place(path: &Path, per: Per, said: bool) -> Result<Place, Error> {
    let shown = path.display();
    let form = Form::of(path).map_err(|why| {
        usage(format!("--mailbox {shown}: {why}")).hint("a Maildir is a directory, an mbox a file")
    })?;
    match (form, per) {
        (Form::Maildir, _) => Ok(Place::new(path, per)),
        (Form::Mbox, Per::All) => Ok(Place::mbox(path)),
        (Form::Mbox, _) if said => Err(usage(format!(
            "--mailbox-per and --mailbox {shown} do not go together: that is an mbox, one file \
             for all"
        ))
        .hint("--mailbox DIR/ has a Maildir for each")),
        (Form::Mbox, _) => Err(usage(format!(
            "several --auth and --mailbox {shown} do not go together: each user has a mailbox, \
             and that is an mbox, one file for all"
        ))
        .hint("--mailbox-per all, or --mailbox DIR/")),
    }
}

fn host(args: &Args) -> Result<String, Error> {
    let host = args.helo.clone().unwrap_or_else(host_name);
    match host.is_empty() || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Err(usage(format!("--helo takes a host name, not {}", quoted(&host)))),
        false => Ok(host),
    }
}

fn accounts(args: &Args) -> Result<Accounts, Error> {
    let account = |typed: &String| match typed.split_once(':') {
        Some((user, password)) if !user.is_empty() && !user.chars().any(char::is_control) => {
            Ok((user.to_owned(), Secret::new(password)))
        }
        Some(_) | None => Err(usage(
            "--auth takes USER:PASS with -l: who may log in, and with what; without it everybody may",
        )),
    };
    let known = |typed: &str| {
        Mechanism::named(typed).ok_or_else(|| {
            let all = Mechanism::ALL.map(Mechanism::name).join(" ");
            usage(format!("--auth-mech does not know {}: there are {all}", quoted(typed)))
        })
    };
    let only = args.auth_mech.as_ref().map(|list| list.split(',').map(known).collect());
    Ok(Accounts {
        users: args.auth.iter().map(account).collect::<Result<_, _>>()?,
        only: only.transpose()?,
    })
}

fn without(args: &Args) -> Result<Vec<String>, Error> {
    let names = args.no_ext.iter().flat_map(|list| list.split(','));
    let known = |typed: &str| {
        let upper = typed.to_ascii_uppercase();
        match EXTENSIONS.contains(&upper.as_str()) {
            true => Ok(upper),
            false => Err(usage(format!(
                "--no-ext does not know {}: there are {}",
                quoted(typed),
                EXTENSIONS.join(" ")
            ))),
        }
    };
    names.map(known).collect()
}

/// `1000`, `64K`, `10M`, `1G`: octets.
fn size(typed: &str) -> Result<u64, Error> {
    let (number, unit) = match typed.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => typed.split_at(at),
        None => (typed, ""),
    };
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" => Some(1),
        "K" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        _ => None,
    };
    let octets = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit?));
    octets.filter(|&octets| octets > 0).ok_or_else(|| {
        usage(format!("--max-size takes octets, as in 10000, 64K or 10M, not {}", quoted(typed)))
    })
}

/// What calls, sends or reads, in a place where we are called.
fn refuse_client_options(args: &Args, protocol: Protocol) -> Result<(), Error> {
    let smtp = protocol == Protocol::Smtp;
    if let Some(option) = client_option(args) {
        return Err(usage(format!("{option} and -l do not go together: it is about calling")));
    }
    for (given, option) in [
        (args.udp, "-u"),
        (args.telnet, "-t"),
        (args.crlf, "-C"),
        (args.broker, "--broker"),
        (args.chat, "--chat"),
        (args.send_only, "--send-only"),
        (args.recv_only, "--recv-only"),
        (args.packets.is_some(), "-W"),
        (args.quit.is_some(), "-q"),
        (args.delay.is_some(), "-d"),
        (!args.proxy_type.is_empty(), "--proxy-type"),
        (!args.exec.is_empty() || !args.sh_exec.is_empty(), "a command"),
        (!args.lua_exec.is_empty(), "--lua-exec"),
    ] {
        if given {
            let helper = name(protocol);
            return Err(usage(format!("{option} and -l {helper} do not go together")));
        }
    }
    for (given, option) in [
        (args.lmtp, "--lmtp"),
        (args.bare_newline.is_some(), "--bare-newline"),
        (args.no_trace, "--no-trace"),
        (args.accept_xclient, "--accept-xclient"),
        (args.bounce, "--bounce"),
    ] {
        if given && !smtp {
            return Err(usage(format!("{option} goes with -l --smtp")));
        }
    }
    Ok(())
}

/// The options that only a mock server has: which are given, and which it has in practice too.
fn own(args: &Args) -> [(bool, &'static str, bool); 13] {
    [
        (args.no_starttls, "--no-starttls", false),
        (args.require_tls, "--require-tls", false),
        (!args.no_ext.is_empty(), "--no-ext", true),
        (args.bare_newline.is_some(), "--bare-newline", false),
        (args.no_trace, "--no-trace", false),
        (args.mailbox_per.is_some(), "--mailbox-per", false),
        (args.lint, "--lint", true),
        (args.max_size.is_some(), "--max-size", false),
        (!args.fault.is_empty(), "--fault", true),
        (args.fault_addresses, "--fault-addresses", true),
        (args.accept_xclient, "--accept-xclient", false),
        (args.bounce, "--bounce", false),
        (args.accept_proxy, "--accept-proxy", false),
    ]
}

/// Options of mock servers mean nothing elsewhere.
///
/// # Errors
/// One is given.
pub(super) fn only_with_mock(args: &Args) -> Result<(), Error> {
    match own(args).into_iter().find(|(given, ..)| *given) {
        None => Ok(()),
        Some((_, option, _)) => Err(usage(format!(
            "{option} goes with a mock mail server: -l with --smtp, --pop3 or --imap"
        ))),
    }
}

/// So many callers, or nobody for so long.
///
/// # Errors
/// No number, no time.
pub(super) fn accepting(args: &Args) -> Result<(Option<u64>, Option<Duration>), Error> {
    let accept = args.accept.as_deref().map(|typed| {
        typed.parse().ok().filter(|n| *n > 0 && is_number(typed)).ok_or_else(|| {
            usage(format!("--accept takes a number of callers, not {}", quoted(typed)))
        })
    });
    Ok((accept.transpose()?, optional_time("--accept-timeout", args.accept_timeout.as_ref())?))
}
