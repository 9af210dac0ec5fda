//! Where callers come in: accepting, turning away, pausing when we are out of descriptors.

use super::talk;
use crate::engine::reactor::Address;
use crate::engine::{HOUSE, Trouble};
use crate::error::{Error, words};
use crate::net::access::{Access, List};
use crate::net::bind::{Arrival, Caller, Listener};
use crate::net::dtls::layer::Layer;
use crate::net::dtls::{self, Dtls};
use crate::net::endpoint::Endpoint;
use crate::net::names::Family;
use crate::net::tls::{Failure, Tls};
use crate::net::trust::ServerConfig;
use crate::report::Report;
use mio::Registry;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The side of [`HOUSE`] on which signals arrive; listeners have the numbers from 0.
pub(super) const SIGNALS: usize = 1 << 16;

/// How long accepting pauses when we are out of descriptors, if nobody leaves before.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Who may call, as it was written: `--allow`, `--deny` and their files.
#[derive(Debug, Clone, Default)]
pub struct AccessLists {
    /// Specifications of who may.
    pub allow: Vec<String>,
    /// Specifications of who may not; they win.
    pub deny: Vec<String>,
    /// Files with more of the first kind.
    pub allow_files: Vec<PathBuf>,
    /// Files with more of the second kind.
    pub deny_files: Vec<PathBuf>,
}

impl AccessLists {
    /// Can they change while we run?
    pub(super) fn have_files(&self) -> bool {
        !self.allow_files.is_empty() || !self.deny_files.is_empty()
    }

    /// Reads and resolves them.
    ///
    /// # Errors
    /// The specification or file that cannot be understood.
    pub(super) fn load(&self, family: Family, numeric: bool) -> Result<Access, Error> {
        let list = |option: &str, specs: &[String], files: &[PathBuf]| {
            if specs.is_empty() && files.is_empty() {
                return Ok(None);
            }
            let mut list = List::default();
            for spec in specs {
                list.add(spec, family, numeric)
                    .map_err(|why| Error::usage(format!("--{option}: {why}")))?;
            }
            for file in files {
                let shown = file.display();
                let text = std::fs::read_to_string(file).map_err(|e| {
                    Error::machine(format!("cannot read --{option}file {shown}: {}", words(&e)))
                })?;
                list.add_file_text(&text, family, numeric)
                    .map_err(|why| Error::machine(format!("--{option}file {shown}: {why}")))?;
            }
            Ok(Some(list))
        };
        Ok(Access {
            allow: list("allow", &self.allow, &self.allow_files)?,
            deny: list("deny", &self.deny, &self.deny_files)?,
        })
    }
}

/// Callers that are taken in before those who are in get a turn.
const AT_ONCE: usize = 64;

/// Whoever takes callers in.
pub(super) trait Hall {
    /// How many are in.
    fn len(&self) -> usize;

    /// Takes one in, under the key that is returned. `first` is the datagram it came with.
    fn join(
        &mut self,
        endpoint: Endpoint,
        caller: &Caller,
        first: Option<Vec<u8>>,
        now: Instant,
    ) -> usize;

    /// One more datagram of one who is in.
    fn more(&mut self, key: usize, datagram: Vec<u8>);

    /// Registers what has to be.
    fn register(&mut self, key: usize, registry: &Registry) -> std::io::Result<()>;
}

/// The door.
pub(super) struct Door<'a> {
    listeners: Vec<Listener>,
    /// Somebody may wait.
    knocked: bool,
    /// Out of descriptors: not before then, unless somebody leaves.
    paused: Option<Instant>,
    names: HashMap<usize, Caller>,
    /// The same the other way round, for callers without a connection.
    keys: HashMap<Caller, usize>,
    warned: bool,
    /// So many may still come, if that is limited.
    left: Option<u64>,
    served: u64,
    most: usize,
    access: Access,
    tls: Option<Armour>,
    report: &'a Report,
}

impl<'a> Door<'a> {
    pub(super) fn new(
        listeners: Vec<Listener>,
        most: usize,
        access: Access,
        tls: Option<Armour>,
        report: &'a Report,
    ) -> Self {
        Self {
            listeners,
            knocked: true,
            paused: None,
            names: HashMap::new(),
            keys: HashMap::new(),
            warned: false,
            left: None,
            served: 0,
            most,
            access,
            tls,
            report,
        }
    }

    /// After so many callers nobody can call any more.
    pub(super) fn closing_after(self, callers: u64) -> Self {
        Self { left: Some(callers), ..self }
    }

    /// Nobody can call any more.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
        (self.knocked, self.paused, self.left) = (false, None, Some(0));
    }

    /// Can nobody call any more?
    pub(super) fn is_closed(&self) -> bool {
        self.left == Some(0)
    }

    /// How many have been let in.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// From now on these may call; those who are in stay.
    pub(super) fn change_access(&mut self, access: Access) {
        self.access = access;
    }

    /// A listener is ready.
    pub(super) fn knock(&mut self, at: Address) {
        self.knocked |= at.key == HOUSE && at.side != SIGNALS;
    }

    /// When [`Door::admit`] has to be called although nobody knocks.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.paused {
            None if self.knocked => Some(now),
            paused => paused,
        }
    }

    /// Lets in who waits.
    pub(super) fn admit(
        &mut self,
        hall: &mut impl Hall,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), Error> {
        match self.paused {
            Some(until) if until > now => return Ok(()),
            None if !self.knocked => return Ok(()),
            Some(_) | None => {}
        }
        self.knocked = false;
        self.paused = None;
        for i in 0..self.listeners.len() {
            for taken in 0.. {
                if taken == AT_ONCE {
                    self.knocked = true;
                    break;
                }
                if self.is_closed() {
                    self.close();
                    return Ok(());
                }
                match self.listeners[i].accept() {
                    Ok(None) => break,
                    Ok(Some(arrival)) => self.arrived(i, arrival, hall, registry, now)?,
                    // Those who are here stay; the rest waits in the kernel's queue.
                    Err(e) => {
                        self.pause(&e, now);
                        return Ok(());
                    }
                }
            }
        }
        if self.is_closed() {
            self.close();
        }
        Ok(())
    }

    fn pause(&mut self, e: &std::io::Error, now: Instant) {
        self.paused = Some(now + PAUSE);
        if !std::mem::replace(&mut self.warned, true) {
            let why = words(e);
            self.report.warning(format_args!("cannot accept more callers for now: {why}"));
        }
    }

    fn arrived(
        &mut self,
        listener: usize,
        arrival: Arrival,
        hall: &mut impl Hall,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), Error> {
        let caller = match &arrival {
            Arrival::Caller(_, caller) | Arrival::Datagram(_, caller) => caller.clone(),
        };
        let arrival = match (arrival, self.keys.get(&caller)) {
            (Arrival::Datagram(bytes, _), Some(&key)) => {
                hall.more(key, bytes);
                return Ok(());
            }
            (arrival, _) => arrival,
        };
        if !self.access.admits(caller.ip()) {
            not_allowed(self.report, &caller);
            return Ok(());
        }
        if hall.len() >= self.most {
            deny(self.report, self.most, &caller);
            return Ok(());
        }
        let (endpoint, first, strays) = match arrival {
            Arrival::Caller(endpoint, _) => (endpoint, None, Vec::new()),
            Arrival::Datagram(bytes, _) => match self.listeners[listener].beside(&caller) {
                Ok(Some((endpoint, strays))) => (endpoint, Some(bytes), strays),
                Ok(None) => return Ok(()),
                Err(e) => {
                    self.pause(&e, now);
                    return Ok(());
                }
            },
        };
        let mut endpoint = dress(endpoint, self.tls.as_ref(), now)?;
        let is_datagram = first.is_some();
        let first = first.filter(|datagram| !endpoint.feed(datagram));
        let key = hall.join(endpoint, &caller, first, now);
        self.served += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        if is_datagram {
            self.keys.insert(caller.clone(), key);
        }
        self.names.insert(key, caller);
        hall.register(key, registry)
            .map_err(|e| Error::machine(format!("cannot wait for a caller: {}", words(&e))))?;
        for stray in strays {
            self.arrived(listener, stray, hall, registry, now)?;
        }
        Ok(())
    }

    /// Who has this key?
    pub(super) fn name(&self, key: usize) -> Option<&Caller> {
        self.names.get(&key)
    }

    /// Somebody has left, and his name is free again.
    pub(super) fn goodbye(&mut self, key: usize) -> Option<Caller> {
        if self.paused.take().is_some() {
            // A descriptor is free again.
            self.knocked = true;
        }
        let caller = self.names.remove(&key)?;
        self.keys.remove(&caller);
        Some(caller)
    }
}

/// What callers are met with.
#[derive(Clone)]
pub(super) enum Armour {
    Tls(Arc<ServerConfig>),
    Dtls(Arc<dtls::ServerConfig>),
}

/// TLS for a caller, if it is wanted.
pub(super) fn dress(
    mut endpoint: Endpoint,
    armour: Option<&Armour>,
    now: Instant,
) -> Result<Endpoint, Error> {
    put_on(&mut endpoint, armour, now)?;
    Ok(endpoint)
}

/// The same in the middle of a conversation.
pub(super) fn put_on(
    endpoint: &mut Endpoint,
    armour: Option<&Armour>,
    now: Instant,
) -> Result<(), Error> {
    let unusable = |failure: Failure| Error::machine(failure.to_string());
    match armour {
        None => {}
        Some(Armour::Tls(config)) => {
            endpoint.start_tls(Tls::server(Arc::clone(config)).map_err(unusable)?);
        }
        Some(Armour::Dtls(config)) => {
            let dtls = Dtls::server(config, now).map_err(unusable)?;
            endpoint.start_dtls(Layer::new(dtls, now));
        }
    }
    Ok(())
}

/// Says that a caller is not on the list.
pub(super) fn not_allowed(report: &Report, caller: &Caller) {
    report.story(format_args!("New connection denied: not allowed; it was {caller}"));
}

/// Says that a caller was turned away.
pub(super) fn deny(report: &Report, most: usize, caller: &Caller) {
    report.story(format_args!(
        "New connection denied: connection limit reached ({most}); it was {caller}"
    ));
}

/// One caller's trouble is not ours: it is said with -v.
pub(super) fn complain(trouble: Trouble, name: &str, report: &Report) {
    let peer = talk::Peer { name, role: talk::Role::Server };
    if let Err(error) = talk::explain(trouble, peer) {
        let text = error.to_string();
        report.story(format_args!("{}", text.strip_prefix("ncat: ").unwrap_or(&text)));
    }
}
