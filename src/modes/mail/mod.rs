//! A helped mail session: the machine keeps the order of things, the person does the talking.

mod helped;
pub mod trip;

use super::secure::ReadyTls;
use super::send::{Letter, Written};
use super::talk::{self, Scene, Session as Conduct};
use super::tlsinfo::Format;
use crate::engine::Trouble;
use crate::engine::dialogue::Dialogue;
use crate::engine::manners::{Manners, Receive};
use crate::engine::tap::Tap;
use crate::error::{Error, Exit, words};
use crate::mailbox::Place;
use crate::net::buf::Buf;
use crate::net::endpoint::{Endpoint, Io};
use crate::proto::content::Style;
use crate::proto::mbox::asctime;
use crate::proto::sasl::{self, Credentials, Mechanism, Secret};
use crate::proto::session::{self, Pace, Session, Worst};
use crate::proto::smtp::send::{Order, Reports, Sender, Stage};
use crate::proto::smtp::stuff::Stuffer;
use crate::proto::{ProtocolError, imap, pop3, smtp, starttls};
use crate::sys::fd::Shared;
use crate::sys::terminal::ask_secret;
use crate::term::safe::quote;
use helped::Helped;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server may be silent where nobody looks: it may take this long to think about a
/// message (RFC 5321 §4.5.3.2.6).
const SILENCE: Duration = Duration::from_secs(600);

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Sending and handing on (RFC 5321).
    Smtp,
    /// Fetching (RFC 1939).
    Pop3,
    /// Reading where it is (RFC 9051).
    Imap,
    /// Nothing but the way to TLS.
    Upgrade(starttls::Protocol),
}

/// Where the password comes from.
#[derive(Debug, Clone)]
pub enum Password {
    /// It is known.
    Known(Secret),
    /// The person is asked on the terminal, without echo.
    Ask,
}

/// Who logs in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Password,
    /// The mechanisms that may be used, if they were named (`--auth-mech`).
    pub only: Option<Vec<Mechanism>>,
}

/// What a helped session is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is spoken.
    pub protocol: Protocol,
    /// The server's host and port, as OAUTHBEARER wants to name them.
    pub server: (String, u16),
    /// Our name for EHLO.
    pub helo: String,
    /// Upgrade before the person's first line.
    pub starttls: bool,
    /// Log in before the person's first line.
    pub login: Option<Login>,
    /// Verification was asked for, so TLS is expected.
    pub verify: bool,
    /// Lines go out at once (`--no-wait`) or in groups (`--pipelining`); else as fits the input.
    pub pace: Option<Pace>,
    /// How content goes out.
    pub content: Style,
    /// Say what each reply means.
    pub explain: bool,
    /// Replies do not decide the exit status (`--exit-zero`).
    pub exit_zero: bool,
    /// Nobody types: a message is sent.
    pub sending: Option<Sending>,
    /// Nobody types: a mailbox is read.
    pub reading: Option<Reading>,
    /// What `reading` is to store.
    pub append: Option<PathBuf>,
    /// What is read goes there, not to standard output.
    pub capture: Option<Capture>,
    /// What is fetched is put there.
    pub mailbox: Option<Place>,
    /// No helped session: upgrade, then carry bytes (`--starttls=smtp` without `--smtp`).
    pub upgrade_only: bool,
}

/// A file that takes the place of standard output.
#[derive(Debug, Clone)]
pub struct Capture(pub Arc<File>);

impl Capture {
    fn endpoint(&self) -> Result<Endpoint, Error> {
        let shared = self.0.try_clone().and_then(|file| Shared::new(file.into()));
        let tx = shared.map_err(|e| Error::machine(format!("cannot keep it: {}", words(&e))))?;
        Ok(Endpoint::new(Io::Pair { rx: None, tx: Some(tx) }))
    }
}

/// What is read of a mailbox.
#[derive(Debug, Clone)]
pub enum Reading {
    /// By POP3.
    Pop3(pop3::fetch::Wish),
    /// By IMAP.
    Imap(imap::fetch::Wish),
}

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// What is in it.
    pub letter: Letter,
    /// Where to stop.
    pub stop: Stage,
    /// LMTP instead of SMTP.
    pub lmtp: bool,
    /// Reports about what becomes of it.
    pub reports: Reports,
    /// Whom we speak for, as XCLIENT says it.
    pub xclient: Vec<(String, String)>,
    /// Only these of its recipients are left.
    pub left: Option<Vec<String>>,
    /// It is written; see [`Config::prepare`].
    pub written: Option<Written>,
}

impl Config {
    /// Could all of it be said once more, to another server?
    pub fn is_replayable(&self) -> bool {
        let written = self.sending.as_ref().and_then(|sending| sending.written.as_ref());
        self.sending.is_some() && written.is_none_or(|written| !written.goes_on)
    }

    /// Reads all of the message, so that it can be said again.
    ///
    /// # Errors
    /// Standard input cannot be read, or has more than 50 MiB.
    pub(super) fn complete(&mut self) -> Result<(), Error> {
        match self.sending.as_mut().and_then(|sending| sending.written.as_mut()) {
            Some(written) => written.complete(),
            None => Ok(()),
        }
    }

    /// Remembers what is sent, to know it again; all of it is read for that.
    ///
    /// # Errors
    /// Standard input cannot be read, or has more than 50 MiB.
    pub(super) fn parcel(&mut self) -> Result<Option<trip::Parcel>, Error> {
        let Some(sending) = &mut self.sending else { return Ok(None) };
        let host = sending.letter.host.clone();
        let Some(written) = &mut sending.written else { return Ok(None) };
        written.complete()?;
        Ok(Some(trip::Parcel::of(written, &host, trip::now())))
    }

    /// Asks for what only the person knows and writes what is to be sent, before anybody is called.
    ///
    /// # Errors
    /// Nobody is there to be asked, or does not answer; the message cannot be written.
    pub fn prepare(mut self) -> Result<Self, Error> {
        if let Some(login) = &mut self.login
            && let Password::Ask = login.password
        {
            let user = quote(login.user.as_bytes(), 60);
            let secret = ask_secret(&format!("password for {user}: ")).map_err(|e| {
                let why = match e.raw_os_error() {
                    Some(libc::ENXIO | libc::ENOENT) => "there is no terminal".to_owned(),
                    _ => words(&e),
                };
                Error::machine(format!("cannot ask for the password of {user}: {why}"))
                    .hint("put it into NCAT_AUTH, or into a file for --auth-file")
            })?;
            login.password = Password::Known(Secret::new(secret));
        }
        if let (Some(Reading::Imap(wish)), Some(file)) = (&mut self.reading, &self.append) {
            let octets = std::fs::read(file).map_err(|e| {
                let file = file.display();
                Error::machine(format!("cannot read --append {file}: {}", words(&e)))
            })?;
            let (mut lines, mut message) = (Stuffer::new(false, self.content.raw), Vec::new());
            lines.encode(&octets, &mut message);
            lines.finish(&mut message);
            wish.append = Some(message);
        }
        if let Some(sending) = &mut self.sending
            && sending.stop == Stage::Data
        {
            sending.written = Some(sending.letter.write()?);
        }
        Ok(self)
    }
}

/// The line to the server.
pub struct Link {
    /// The connection.
    pub endpoint: Endpoint,
    /// What came behind a proxy's answer.
    pub early: Option<Buf>,
    /// TLS, on already or for an upgrade.
    pub tls: Option<ReadyTls>,
    /// TLS is on.
    pub secure: bool,
    /// The server is on this machine.
    pub loopback: bool,
    /// TLS, EHLO and the login have to be done by then,
    pub until: Instant,
    /// which is the end of so long a time.
    pub patience: Duration,
    /// `--ssl-info`, for when TLS is on.
    pub info: Option<Format>,
    /// It was only to be found out whether TLS can be had (`-z`).
    pub probe: bool,
}

/// Holds the session.
///
/// `later` gets the recipients of a message for whom it may be tried again.
///
/// # Errors
/// What ended it; what the server said has been shown.
pub fn run(
    scene: Scene<'_>,
    link: Link,
    mut config: Config,
    tap: Tap,
    later: &mut Vec<String>,
) -> Result<Exit, Error> {
    let (protocol, host) = (config.protocol, config.server.0.clone());
    let session = |session_config: session::Config| -> Box<dyn Session> {
        match protocol {
            Protocol::Smtp => Box::new(smtp::session::Session::new(session_config)),
            Protocol::Pop3 => Box::new(pop3::session::Session::new(session_config)),
            Protocol::Imap => Box::new(imap::session::Session::new(session_config)),
            Protocol::Upgrade(other) => {
                Box::new(starttls::Upgrade::new(other, &host, &session_config.helo))
            }
        }
    };
    if config.upgrade_only {
        return upgrade(scene, link, config, tap, session);
    }
    let login = config.login.as_ref().and_then(|login| match &login.password {
        Password::Known(password) => Some(sasl::Login {
            credentials: Credentials { user: login.user.clone(), password: password.clone() },
            only: login.only.clone(),
            nonce: crate::sys::random_hex(),
            host: config.server.0.clone(),
            port: config.server.1,
            binding: link.endpoint.binding().map(Vec::from),
        }),
        Password::Ask => None,
    });
    // A password crosses no open line, but for the one that leads nowhere.
    let must_upgrade = config.starttls || login.is_some() && !link.secure && !link.loopback;
    // It may be long: it is handed on, not copied.
    let written = config.sending.as_mut().and_then(|sending| sending.written.take());
    if let Some(sending) = &config.sending {
        let local = match &written {
            Some(Written { goes_on: true, .. }) => talk::stdio(&scene.session.manners)?,
            Some(_) | None => Endpoint::new(Io::Pair { rx: None, tx: None }),
        };
        let order = order(&config, sending, written, login, must_upgrade, &link);
        let machine = Box::new(Sender::new(order));
        return hold(scene, link, &config, tap, local, machine, later);
    }
    if let Some(reading) = &config.reading {
        let setup = session(session::Config {
            helo: config.helo.clone(),
            starttls: must_upgrade,
            secure: link.secure,
            login,
            pace: Pace::LockStep,
            content: config.content,
            setup_only: true,
            asks: false,
        });
        return read(scene, link, &config, tap, setup, reading);
    }
    let local = talk::stdio(&scene.session.manners)?;
    let pace = if local.is_typed() { Pace::Typed } else { Pace::LockStep };
    let machine = session(session::Config {
        helo: config.helo.clone(),
        starttls: must_upgrade,
        secure: link.secure,
        login,
        pace: config.pace.unwrap_or(pace),
        content: config.content,
        setup_only: false,
        asks: local.is_typed(),
    });
    if config.verify && !link.secure && !must_upgrade {
        scene.report.warning(format_args!(
            "nothing is verified before TLS begins: type STARTTLS, or use --starttls"
        ));
    }
    hold(scene, link, &config, tap, local, machine, later)
}

/// Logs in, and then reads the mailbox.
fn read(
    scene: Scene<'_>,
    link: Link,
    config: &Config,
    tap: Tap,
    setup: Box<dyn Session>,
    reading: &Reading,
) -> Result<Exit, Error> {
    let (peer, report, name) = (scene.peer, scene.report, scene.peer.name);
    let (until, patience, loopback) = (link.until, link.patience, link.loopback);
    let nobody = Endpoint::new(Io::Pair { rx: None, tx: None });
    let manners = Manners { send: false, receive: Receive::Discard, ..Manners::default() };
    let mut talk = Helped::new(link, config.protocol, name, report, |server| {
        Dialogue::new(nobody, server, setup, manners, tap)
    });
    if let Err(trouble) = crate::engine::run(scene.reactor, &mut talk, None) {
        return talk::explain(trouble, peer);
    }
    let tls = talk.tls.take();
    let (endpoint, early, tap) = talk.dialogue.into_parts();
    let date = asctime(crate::mailbox::now());
    let machine: Box<dyn Session> = match reading.clone() {
        Reading::Pop3(wish) => {
            Box::new(pop3::fetch::Fetch::new(pop3::fetch::Wish { date, ..wish }))
        }
        Reading::Imap(wish) => {
            Box::new(imap::fetch::Fetch::new(imap::fetch::Wish { date, ..wish }))
        }
    };
    // Standard input is nobody's, and its end means nothing.
    let manners = Manners { send: false, ..scene.session.manners.clone() };
    let local = match &config.capture {
        Some(capture) => capture.endpoint()?,
        None => talk::stdio(&manners)?,
    };
    let session = Conduct { manners, ..scene.session.clone() };
    let scene = Scene { session: &session, ..scene };
    let (info, early) = (None, Some(early));
    let link =
        Link { endpoint, early, tls, secure: true, loopback, until, patience, info, probe: false };
    hold(scene, link, config, tap, local, machine, &mut Vec::new())
}

/// What the machine that sends is told.
fn order(
    config: &Config,
    sending: &Sending,
    written: Option<Written>,
    login: Option<sasl::Login>,
    must_upgrade: bool,
    link: &Link,
) -> Order {
    // Where one stops before the message there is none.
    let nothing = Written { head: Vec::new(), goes_on: false, size: None };
    let Written { head, goes_on, size } = written.unwrap_or(nothing);
    Order {
        helo: config.helo.clone(),
        from: sending.letter.from.as_ref().map_or_else(String::new, |from| from.address.clone()),
        to: sending.left.clone().unwrap_or_else(|| sending.letter.recipients()),
        size,
        is_ascii: !goes_on && head.is_ascii(),
        head,
        raw: config.content.raw,
        must_upgrade,
        // To this machine nothing need be hidden from anybody on the way.
        stay_plain: link.loopback && !must_upgrade && sending.stop != Stage::StartTls,
        secure: link.secure,
        login,
        lmtp: sending.lmtp,
        stop: sending.stop,
        reports: sending.reports.clone(),
        xclient: sending.xclient.clone(),
    }
}

/// Between this end and the server.
fn hold(
    scene: Scene<'_>,
    link: Link,
    config: &Config,
    tap: Tap,
    local: Endpoint,
    machine: Box<dyn Session>,
    later: &mut Vec<String>,
) -> Result<Exit, Error> {
    let Scene { reactor, session, peer, report, .. } = scene;
    let typed = config.sending.is_none() && config.reading.is_none() && local.is_typed();
    let waits = matches!(&config.reading, Some(Reading::Imap(wish)) if wish.idle.is_some());
    let unattended = (config.sending.is_some() || config.reading.is_some()) && !waits;
    let silence = session.manners.idle.or(unattended.then_some(SILENCE));
    let manners = Manners { idle: silence, ..session.manners.clone() };
    let start = reactor.now();
    let veil = session.safe_output.veil(&local);
    let helped = Helped::new(link, config.protocol, peer.name, report, |server| {
        Dialogue::new(local, server, machine, manners, tap).veiled(veil)
    });
    let helped = helped.keeping(config.mailbox.as_ref());
    let mut talk = helped.for_a_person(config.explain, typed);
    let result = crate::engine::run(reactor, &mut talk, None);
    if let Some(error) = talk.broken.take() {
        return Err(error);
    }
    let totals = talk.dialogue.totals();
    let worst = talk.dialogue.machine().worst();
    *later = talk.dialogue.machine().for_later();
    let (endpoint, _, tap) = talk.dialogue.into_parts();
    let result = match result {
        // ncat's own end of a session is the server's end.
        Err(Trouble::Protocol(ProtocolError::Cut { waiting_for: "QUIT" | "LOGOUT" }))
            if config.exit_zero =>
        {
            Ok(())
        }
        other => other,
    };
    let result = match result {
        Ok(()) => {
            // The server has said goodbye, so it has everything: nothing is to be waited for.
            let mut endpoint = endpoint;
            let _ = endpoint.close_write().and_then(|_| endpoint.turn());
            Ok(Exit::DONE)
        }
        failed => talk::finish(reactor, None, failed, endpoint, peer),
    };
    if result.is_ok() {
        talk::report_totals(report, totals, start, reactor.now());
    }
    let exit = talk::with_log(result, &tap, report)?;
    if exit != Exit::DONE || config.exit_zero {
        return Ok(exit);
    }
    Ok(match worst {
        None => Exit::DONE,
        Some(Worst::Later) => Exit::LATER,
        Some(Worst::Refused) => Exit::REFUSED,
        Some(Worst::Login) => Exit::LOGIN,
    })
}

/// Speaks until TLS is on, with nobody at this end, then carries bytes as ever.
fn upgrade(
    scene: Scene<'_>,
    link: Link,
    config: Config,
    tap: Tap,
    machine: impl FnOnce(session::Config) -> Box<dyn Session>,
) -> Result<Exit, Error> {
    let (peer, report) = (scene.peer, scene.report);
    let machine = machine(session::Config {
        helo: config.helo,
        starttls: true,
        secure: false,
        login: None,
        pace: Pace::LockStep,
        content: config.content,
        setup_only: true,
        asks: false,
    });
    let nobody = Endpoint::new(Io::Pair { rx: None, tx: None });
    let manners = Manners { send: false, receive: Receive::Discard, ..Manners::default() };
    let mut talk = Helped::new(link, config.protocol, peer.name, report, |server| {
        Dialogue::new(nobody, server, machine, manners, tap)
    });
    let result = crate::engine::run(scene.reactor, &mut talk, None);
    let (endpoint, early, tap) = talk.dialogue.into_parts();
    match result {
        Ok(()) if talk.probe => talk::finish(scene.reactor, None, Ok(()), endpoint, peer),
        Ok(()) => talk::run(scene, endpoint, Some(early), tap),
        Err(trouble) => talk::explain(trouble, peer),
    }
}
