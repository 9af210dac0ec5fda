//! TLS and DTLS as the calling side: what was asked for, ready to be started, and what came of it.

use super::tlsinfo::{self, Format};
use crate::error::Error;
use crate::net::dtls::layer::Layer;
use crate::net::dtls::{self, Dtls};
use crate::net::endpoint::Endpoint;
use crate::net::tls::{Failure, Tls};
use crate::net::trust::{self, Findings, Parameters, Trust, Unusable};
use crate::report::Report;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// TLS as the calling side.
#[derive(Debug, Clone)]
pub struct TlsClient {
    /// Whom to believe.
    pub trust: Trust,
    /// Versions, ciphers, our certificate.
    pub parameters: Parameters,
    /// What the certificate must be for.
    pub name: String,
    /// DTLS, for datagrams.
    pub datagrams: bool,
}

impl TlsClient {
    /// Makes the layer for one connection.
    ///
    /// # Errors
    /// Files and settings that cannot be used.
    pub fn prepare(&self) -> Result<ReadyTls, Error> {
        let unusable = |Unusable(why)| Error::machine(why);
        let (config, findings) = if self.datagrams {
            let (config, findings) =
                dtls::client(&self.trust, &self.parameters).map_err(unusable)?;
            (Config::Dtls(config), findings)
        } else {
            let (config, findings) =
                trust::client(&self.trust, &self.parameters).map_err(unusable)?;
            (Config::Tls(config), findings)
        };
        Ok(ReadyTls { config, findings, tls: self.clone() })
    }
}

#[derive(Clone)]
enum Config {
    Tls(Arc<trust::ClientConfig>),
    Dtls(Arc<dtls::ClientConfig>),
}

/// TLS that is ready to be started.
#[derive(Clone)]
pub struct ReadyTls {
    config: Config,
    findings: Findings,
    tls: TlsClient,
}

impl ReadyTls {
    /// Starts it on a connection.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn start(&self, endpoint: &mut Endpoint, now: Instant) -> Result<(), Failure> {
        match &self.config {
            Config::Tls(config) => {
                endpoint.start_tls(Tls::client(Arc::clone(config), &self.tls.name)?);
            }
            Config::Dtls(config) => {
                let dtls = Dtls::client(config, &self.tls.name, now)?;
                endpoint.start_dtls(Layer::new(dtls, now));
            }
        }
        Ok(())
    }

    /// Says what the handshake came to.
    pub fn announce(&self, endpoint: &Endpoint, report: &Report) {
        if let Some(agreed) = endpoint.agreed() {
            let verdict = self.findings.verdict();
            tlsinfo::announce(&agreed, &self.tls.name, &verdict, self.tls.trust.verify, report);
        }
    }

    /// One line for a person: `TLS 1.3, mail.example, verified`.
    pub fn summary(&self, endpoint: &Endpoint) -> String {
        let agreed = endpoint.agreed();
        let verdict = self.findings.verdict();
        agreed.map_or_else(String::new, |a| tlsinfo::summary(&a, &self.tls.name, &verdict))
    }

    /// All that `--ssl-info` tells.
    pub fn describe(&self, endpoint: &Endpoint, format: Format) -> String {
        let agreed = endpoint.agreed();
        let verdict = self.findings.verdict();
        agreed.map_or_else(String::new, |agreed| {
            tlsinfo::describe(format, &agreed, &self.tls.name, &verdict, SystemTime::now())
        })
    }
}

/// With `-z` there is no data on standard output, so a script finds the facts there.
pub(super) fn show_info(info: &str, probe: bool, report: &Report) {
    if probe {
        // A reader who has seen enough is no failure.
        let _ = io::stdout().write_all(info.as_bytes());
    } else {
        report.answer(format_args!("{}", info.trim_end_matches('\n')));
    }
}
