//! The options of a helped mail session, and whose password it is.

use super::place::{quoted, usage};
use super::read::reading;
use super::send::sending;
use crate::cli::args::Args;
use crate::cli::{Environment, netrc, text};
use crate::error::{Error, words};
use crate::mailbox::{Per, Place};
use crate::modes::mail::{self, Protocol};
use crate::net::target::Scheme;
use crate::proto::content::Style;
use crate::proto::sasl::{Mechanism, Secret};
use crate::proto::session::Pace;
use crate::proto::starttls;
use crate::report::Report;
use std::io::{IsTerminal, stderr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What the helper speaks, if there is one: by an option, or by the scheme of the target.
pub(super) fn helper(args: &Args, scheme: Option<Scheme>) -> Result<Option<Protocol>, Error> {
    let by_scheme = match scheme {
        Some(Scheme::Smtp | Scheme::Submission | Scheme::Smtps) => Some(Protocol::Smtp),
        Some(Scheme::Pop3 | Scheme::Pop3s) => Some(Protocol::Pop3),
        Some(Scheme::Imap | Scheme::Imaps) => Some(Protocol::Imap),
        Some(Scheme::Tcp | Scheme::Tls | Scheme::Udp | Scheme::Dtls) | None => None,
    };
    let options = [
        args.smtp.then_some(Protocol::Smtp),
        args.pop3.then_some(Protocol::Pop3),
        args.imap.then_some(Protocol::Imap),
        by_scheme,
    ];
    let mut all = options.into_iter().flatten();
    let first = all.next();
    match all.find(|other| Some(*other) != first) {
        Some(other) => Err(usage(format!(
            "{} and {} do not go together: a session speaks one protocol",
            first.map_or("", name),
            name(other)
        ))),
        None => Ok(first),
    }
}

/// The option of a helper.
pub(super) fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "--smtp",
        Protocol::Pop3 => "--pop3",
        Protocol::Imap => "--imap",
        Protocol::Upgrade(_) => "--starttls",
    }
}

/// A protocol's port, and the one on which it speaks TLS from the first byte.
pub(super) fn ports(protocol: Protocol) -> (u16, u16) {
    match protocol {
        Protocol::Smtp => (25, 465),
        Protocol::Pop3 => (110, 995),
        Protocol::Imap => (143, 993),
        Protocol::Upgrade(starttls::Protocol::Lmtp) => (24, 24),
        Protocol::Upgrade(starttls::Protocol::Ftp) => (21, 990),
        Protocol::Upgrade(starttls::Protocol::Nntp) => (119, 563),
        Protocol::Upgrade(starttls::Protocol::Sieve) => (4190, 4190),
        Protocol::Upgrade(starttls::Protocol::Irc) => (6667, 6697),
        Protocol::Upgrade(starttls::Protocol::Xmpp) => (5222, 5223),
        Protocol::Upgrade(starttls::Protocol::Ldap) => (389, 636),
        Protocol::Upgrade(starttls::Protocol::Postgres) => (5432, 5432),
        Protocol::Upgrade(starttls::Protocol::Mysql) => (3306, 3306),
    }
}

/// Who logs in, and where the password is.
pub(super) fn login(
    args: &Args,
    environment: &Environment,
    url_user: Option<&str>,
    host: Option<&str>,
    report: &Report,
) -> Result<Option<mail::Login>, Error> {
    let kept = match &args.netrc {
        None => None,
        Some(file) => {
            let typed = args.auth.last().map(|auth| auth.split(':').next().unwrap_or_default());
            kept(file, environment, host.unwrap_or("localhost"), typed.or(url_user), report)?
        }
    };
    let kept_user = kept.as_ref().and_then(|entry| entry.login.as_deref());
    let (user, typed) = match (args.auth.last().map(String::as_str), url_user) {
        (None, None) if kept_user.is_some() => (kept_user.unwrap_or_default().to_owned(), None),
        (None, None) if args.auth_file.is_some() => {
            return Err(usage("--auth-file needs to know the user").hint("--auth USER"));
        }
        (None, None) if args.auth_mech.is_some() => {
            return Err(usage("--auth-mech needs to know the user").hint("--auth USER"));
        }
        (None, None) if args.netrc.is_some() => {
            return Err(usage("the netrc file has no user for this host").hint("--auth USER"));
        }
        (None, None) => return Ok(None),
        (None, Some(user)) => (user.to_owned(), None),
        (Some(_), Some(_)) => {
            return Err(usage("the user is given twice: in the URL, and with --auth"));
        }
        (Some(auth), None) => match auth.split_once(':') {
            Some((user, password)) => (user.to_owned(), Some(password.to_owned())),
            None => (auth.to_owned(), None),
        },
    };
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err(usage(
            "--auth takes USER or USER:PASS, and the user is missing or has a control character",
        ));
    }
    let password = if let Some(password) = typed {
        report.warning(format_args!(
            "a password on the command line shows in the list of processes: \
             NCAT_AUTH or --auth-file keep it to yourself"
        ));
        mail::Password::Known(Secret::new(password))
    } else if let Some(file) = &args.auth_file {
        mail::Password::Known(password_file(file)?)
    } else if let Some(value) = &environment.auth {
        let value = text(value)?;
        let prefix = format!("{user}:");
        let password = value.strip_prefix(&prefix).unwrap_or(value);
        mail::Password::Known(Secret::new(password))
    } else if let Some(password) = kept.and_then(|entry| entry.password) {
        mail::Password::Known(Secret::new(password))
    } else {
        mail::Password::Ask
    };
    Ok(Some(mail::Login { user, password, only: mechanisms(args)? }))
}

/// What a netrc file has for a host, and for a user there if one is known.
fn kept(
    file: &Path,
    environment: &Environment,
    host: &str,
    user: Option<&str>,
    report: &Report,
) -> Result<Option<netrc::Entry>, Error> {
    let home = || environment.home.as_ref().map(|home| home.join(".netrc"));
    let file = match file.as_os_str().is_empty() {
        false => file.to_owned(),
        true => home().ok_or_else(|| Error::machine("--netrc: HOME is not set, so which file?"))?,
    };
    let shown = file.display();
    let cannot =
        |e: std::io::Error| Error::machine(format!("cannot read --netrc {shown}: {}", words(&e)));
    let mode = std::fs::metadata(&file).map_err(cannot)?.permissions().mode();
    let text = std::fs::read_to_string(&file).map_err(cannot)?;
    let entry = netrc::find(&text, host, user)
        .map_err(|why| Error::machine(format!("--netrc {shown}, {why}")))?;
    if mode & 0o077 != 0 && entry.as_ref().is_some_and(|entry| entry.password.is_some()) {
        report.warning(format_args!(
            "{shown} can be read by others (mode {:04o}), and there is a password in it: chmod 600 \
             {shown}",
            mode & 0o7777
        ));
    }
    Ok(entry)
}

fn mechanisms(args: &Args) -> Result<Option<Vec<Mechanism>>, Error> {
    let Some(list) = &args.auth_mech else { return Ok(None) };
    let known = |typed: &str| {
        Mechanism::named(typed).ok_or_else(|| {
            let all = Mechanism::ALL.map(Mechanism::name).join(" ");
            usage(format!("--auth-mech does not know {}: there are {all}", quoted(typed)))
        })
    };
    list.split(',').map(known).collect::<Result<Vec<_>, _>>().map(Some)
}

pub(super) fn password_file(file: &Path) -> Result<Secret, Error> {
    let shown = file.display();
    let cannot = |e: std::io::Error| {
        Error::machine(format!("cannot read --auth-file {shown}: {}", words(&e)))
    };
    let mode = std::fs::metadata(file).map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::machine(format!(
            "--auth-file {shown} can be read by others (mode {:04o})",
            mode & 0o7777
        ))
        .hint(format!("chmod 600 {shown}")));
    }
    let all = std::fs::read(file).map_err(cannot)?;
    let line = all.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::machine(format!(
            "--auth-file {shown} has no password in its first line"
        )));
    }
    Ok(Secret::new(line))
}

pub(super) fn mail_config(
    args: &Args,
    protocol: Protocol,
    server: (String, u16),
    starttls: bool,
    login: Option<mail::Login>,
    report: &Report,
) -> Result<mail::Config, Error> {
    let pace = match (args.no_wait, args.pipelining) {
        (true, true) => {
            return Err(usage(
                "--no-wait and --pipelining do not go together: one asks the server, one does not",
            ));
        }
        (true, false) => Some(Pace::AtOnce),
        (false, true) => Some(Pace::Grouped),
        (false, false) => None,
    };
    let helo = args.helo.clone().unwrap_or_else(host_name);
    if helo.is_empty() || helo.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(usage(format!("--helo takes a host name, not {}", quoted(&helo))));
    }
    let user = login.as_ref().map(|login| login.user.as_str());
    let sending = sending(args, user, &helo)?;
    let reading = reading(args, protocol, login.is_some())?;
    if sending.is_some() {
        for (given, option) in [
            (pace.is_some(), "--no-wait or --pipelining"),
            (args.dot_stuff, "--dot-stuff"),
            (args.explain, "--explain"),
        ] {
            if given {
                return Err(usage(format!(
                    "{option} and --to do not go together: it is about a session that is typed"
                )));
            }
        }
    }
    if protocol != Protocol::Smtp {
        for (given, option) in [
            (args.helo.is_some(), "--helo"),
            (args.pipelining, "--pipelining"),
            (args.dot_stuff, "--dot-stuff"),
            (sending.is_some(), "a message"),
        ] {
            if given {
                let helper = name(protocol);
                return Err(usage(format!(
                    "{option} and {helper} do not go together: it is about SMTP"
                )));
            }
        }
    }
    if sending.is_some() || reading.is_some() {
        for (given, option) in [(args.probe, "-z"), (args.exit_zero, "--exit-zero")] {
            if given {
                return Err(usage(format!(
                    "{option} goes with a session that is typed, not with --to, --list or --fetch"
                )));
            }
        }
    }
    Ok(mail::Config {
        protocol,
        server,
        helo,
        starttls,
        login,
        verify: args.ssl_verify || !args.ssl_pin.is_empty(),
        pace,
        content: Style { dot_stuff: args.dot_stuff, raw: args.raw },
        explain: args.explain || report.is_telling() && stderr().is_terminal(),
        exit_zero: args.exit_zero,
        sending,
        reading,
        append: args.append.clone(),
        capture: None,
        mailbox: args.mailbox.as_deref().map(put_into).transpose()?,
        upgrade_only: false,
    })
}

/// Where what is fetched is put: one mailbox for all of it.
fn put_into(path: &Path) -> Result<Place, Error> {
    super::mock::place(path, Per::All, false)
}

/// A dialogue has two directions, however it was asked for.
///
/// # Errors
/// One of them is closed.
pub(super) fn both_ways(args: &Args, helper: Option<Protocol>) -> Result<(), Error> {
    let Some(helper) = helper.map(name) else { return Ok(()) };
    for (given, option) in [(args.send_only, "--send-only"), (args.recv_only, "--recv-only")] {
        if given {
            return Err(usage(format!(
                "{option} and {helper} do not go together: a dialogue needs both"
            )));
        }
    }
    Ok(())
}

/// This machine's name, as good as it knows it.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Options that mean nothing where no helper helps.
pub(super) fn only_with_helper(args: &Args, helper: Option<Protocol>) -> Result<(), Error> {
    if helper.is_some() {
        return Ok(());
    }
    let others = [
        (!args.auth.is_empty(), "--auth"),
        (args.auth_mech.is_some(), "--auth-mech"),
        (args.helo.is_some() && args.starttls.is_none(), "--helo"),
        (args.lmtp, "--lmtp"),
        (args.mailbox.is_some(), "--mailbox"),
        (args.accept.is_some() && !args.listen, "--accept"),
    ];
    match others.iter().find_map(|(given, option)| given.then_some(*option)).or(client_option(args))
    {
        Some(option) => Err(usage(format!(
            "{option} goes with --smtp, --pop3 or --imap: it is about a mail session"
        ))),
        None => Ok(()),
    }
}

/// The first option that was given and is about a mail session in which we call.
pub(super) fn client_option(args: &Args) -> Option<&'static str> {
    let options = [
        (args.auth_file.is_some(), "--auth-file"),
        (args.netrc.is_some(), "--netrc"),
        (args.explain, "--explain"),
        (args.no_wait, "--no-wait"),
        (args.pipelining, "--pipelining"),
        (args.dot_stuff, "--dot-stuff"),
        (args.raw, "--raw"),
        (args.exit_zero, "--exit-zero"),
        (args.mx.is_some(), "--mx"),
        (!args.to.is_empty(), "--to"),
        (args.from.is_some(), "--from"),
        (!args.cc.is_empty(), "--cc"),
        (!args.bcc.is_empty(), "--bcc"),
        (args.subject.is_some(), "--subject"),
        (!args.header.is_empty(), "--header"),
        (args.body.is_some(), "--body"),
        (args.html.is_some(), "--html"),
        (!args.attach.is_empty(), "--attach"),
        (args.quit_after.is_some(), "--quit-after"),
        (args.dsn_notify.is_some(), "--dsn-notify"),
        (args.dsn_ret.is_some(), "--dsn-ret"),
        (args.dsn_envid.is_some(), "--dsn-envid"),
        (args.xclient.is_some(), "--xclient"),
        (args.expect_in.is_some(), "--expect-in"),
        (args.list, "--list"),
        (args.fetch.is_some(), "--fetch"),
        (args.top.is_some(), "--top"),
        (args.delete.is_some(), "--delete"),
        (args.append.is_some(), "--append"),
        (args.idle, "--idle"),
        (args.folder.is_some(), "--folder"),
        (args.search.is_some(), "--search"),
        (args.flag.is_some(), "--flag"),
    ];
    options.into_iter().find_map(|(given, option)| given.then_some(option))
}
