//! Mock mail servers (`-l --smtp`, `--pop3`, `--imap`): a machine of `proto` for each caller, and
//! one place where messages are kept.

mod bounce;
mod caller;
mod keep;
pub mod practice;

use super::door::Armour;
use super::guests::Welcome;
use super::printer::Reading;
use super::talk::SafeOutput;
use crate::engine::tap::Tap;
use crate::mailbox::memory::Memory;
use crate::net::endpoint::Endpoint;
use crate::proto::fault::Faults;
use crate::proto::serving::{Accounts, Protection, Server, Serving};
use crate::proto::store::Stores;
use crate::proto::{imap, pop3, smtp};
use crate::report::Report;
use caller::Caller;
pub use keep::Keep;
use keep::Keeper;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is spoken.
#[derive(Debug, Clone, Copy)]
pub enum Speaks {
    /// SMTP, or LMTP.
    Smtp(Smtp),
    /// POP3.
    Pop3,
    /// IMAP.
    Imap,
}

/// What is peculiar to SMTP.
#[derive(Debug, Clone, Copy)]
pub struct Smtp {
    /// LMTP instead.
    pub lmtp: bool,
    /// What becomes of CR and LF that are no line end.
    pub bare: smtp::server::BareNewline,
    /// Recipients of one message.
    pub most_recipients: usize,
    /// Callers may say whom they speak for.
    pub xclient: bool,
}

/// What a mock server is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The protocol.
    pub speaks: Speaks,
    /// The name in the greeting.
    pub host: String,
    /// TLS.
    pub protection: Protection,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// Capabilities that are not announced.
    pub without: Arc<Vec<String>>,
    /// The most octets of a message.
    pub most_octets: u64,
    /// What is to go wrong.
    pub faults: Arc<Faults>,
    /// Say what a real server would punish, without the rest of the story.
    pub lint: bool,
    /// Where messages go.
    pub keep: Keep,
    /// A PROXY header comes before anything else (`--accept-proxy`).
    pub behind_proxy: bool,
    /// What silence costs the connection.
    pub idle: Duration,
}

/// A server that runs: what all its callers share.
pub(super) struct Mock<'a> {
    config: &'a Config,
    keeper: Mutex<Keeper>,
    /// For STARTTLS, and for callers whom a proxy introduces before TLS; none where TLS is on
    /// already, or never.
    armour: Option<Armour>,
    /// What a TLS handshake may take.
    handshake: Duration,
    start: Instant,
    report: &'a Report,
}

impl<'a> Mock<'a> {
    pub(super) fn new(
        config: &'a Config,
        armour: Option<Armour>,
        safe_output: SafeOutput,
        handshake: Duration,
        start: Instant,
        report: &'a Report,
    ) -> Self {
        let keeper = Mutex::new(Keeper::new(&config.keep, &config.host, safe_output));
        Self { config, keeper, armour, handshake, start, report }
    }

    /// Makes a conversation of each caller.
    pub(super) fn welcome(&'a self, tap: Tap) -> Welcome<'a, Caller<'a>> {
        let mut number = 0;
        Box::new(move |endpoint, caller, _, now| {
            number += 1;
            // A log that cannot be shared is none: the conversation goes on.
            let tap = tap.share().unwrap_or_default();
            Caller::visit(self, endpoint, caller, number, tap, now)
        })
    }

    /// How it goes with whoever reads standard output.
    pub(super) fn judge(&self, now: Instant) -> Reading {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).printer.judge(now)
    }

    /// Where its callers find their mail.
    fn stores(&self) -> Box<dyn Stores> {
        match (&self.config.keep.place, &self.config.keep.memory) {
            (Some(place), _) => Box::new(place.clone()),
            (None, Some(memory)) => Box::new(memory.clone()),
            // Nothing is kept, so there is nothing to be found.
            (None, None) => Box::new(Memory::default()),
        }
    }

    /// `client` is who calls, if a proxy in front of us says so.
    fn machine(
        &self,
        endpoint: &Endpoint,
        client: Option<SocketAddr>,
        number: u64,
    ) -> Box<dyn Server> {
        let address = client.or_else(|| endpoint.addresses().map(|(_, peer)| peer));
        let loopback = address.is_none_or(|address| address.ip().to_canonical().is_loopback());
        let serving = Serving {
            host: self.config.host.clone(),
            protection: self.config.protection,
            accounts: Arc::clone(&self.config.accounts),
            loopback,
            without: Arc::clone(&self.config.without),
            most_octets: self.config.most_octets,
            faults: Arc::clone(&self.config.faults),
            nonce: crate::sys::random_hex(),
            number,
            client,
        };
        match self.config.speaks {
            Speaks::Smtp(smtp) => Box::new(smtp::server::Server::new(smtp::server::Settings {
                serving,
                lmtp: smtp.lmtp,
                bare: smtp.bare,
                most_recipients: smtp.most_recipients,
                xclient: smtp.xclient,
            })),
            Speaks::Imap => Box::new(imap::server::new(serving, self.stores())),
            Speaks::Pop3 => Box::new(pop3::server::new(serving, self.stores())),
        }
    }
}
