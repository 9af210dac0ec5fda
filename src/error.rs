//! What a person is told when something fails, and the exit status that goes with it.

use std::fmt;
use std::io;

/// How the process ends when all went well, or as well as the peer let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Exit = Exit(0);
    /// The network or the peer failed.
    pub const NETWORK: Exit = Exit(1);
    /// The command line or this machine is wrong.
    pub const MACHINE: Exit = Exit(2);
    /// The DNS has no such name, or no such record.
    pub const ABSENT: Exit = Exit(3);
    /// What a script expected has not come.
    pub const UNMET: Exit = Exit(7);
    /// A peer refused for good: 5xx, -ERR, NO.
    pub const REFUSED: Exit = Exit(69);
    /// A peer refused for now: 4xx.
    pub const LATER: Exit = Exit(75);
    /// A peer refused the login.
    pub const LOGIN: Exit = Exit(77);

    /// Ended by a signal that was caught (listen mode): 128 + N, as a shell says it.
    pub fn signal(number: i32) -> Exit {
        Exit(u8::try_from(128 + number).unwrap_or(u8::MAX))
    }
}

/// Whose fault it is. Decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The command line.
    Usage,
    /// This machine: a file, a full disk, an address that is in use.
    Machine,
    /// The network, or a peer that broke the rules.
    Network,
    /// A peer that understood and said no.
    Peer(Exit),
    /// A name of which nobody knows the address, now at least.
    Name,
    /// A peer that may have done it, or not.
    Doubt,
}

/// What we were doing, why it failed, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    blame: Blame,
    what: String,
    hint: Option<String>,
}

impl Error {
    /// The command line is wrong (exit 2).
    pub fn usage(what: impl Into<String>) -> Self {
        Self { blame: Blame::Usage, what: what.into(), hint: None }
    }

    /// This machine is wrong (exit 2).
    pub fn machine(what: impl Into<String>) -> Self {
        Self { blame: Blame::Machine, what: what.into(), hint: None }
    }

    /// The network or the peer failed (exit 1).
    pub fn network(what: impl Into<String>) -> Self {
        Self { blame: Blame::Network, what: what.into(), hint: None }
    }

    /// The peer said no; the status says how.
    pub fn refused(exit: Exit, what: impl Into<String>) -> Self {
        Self { blame: Blame::Peer(exit), what: what.into(), hint: None }
    }

    /// Nobody knows the address of a name (exit 2).
    pub fn unknown(what: impl Into<String>) -> Self {
        Self { blame: Blame::Name, what: what.into(), hint: None }
    }

    /// It may have been done, or not: try later, and mind that it may be twice then (exit 75).
    pub fn in_doubt(what: impl Into<String>) -> Self {
        Self { blame: Blame::Doubt, what: what.into(), hint: None }
    }

    /// May another host be asked instead?
    pub fn is_for_another(&self) -> bool {
        matches!(self.blame, Blame::Network | Blame::Peer(Exit::LATER))
    }

    /// May it be otherwise in a while?
    pub fn may_pass(&self) -> bool {
        matches!(self.blame, Blame::Network | Blame::Name | Blame::Peer(Exit::LATER))
    }

    /// Adds what to do. Only when we are fairly sure: a wrong hint costs more than none.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the option that it is about before it.
    #[must_use]
    pub fn about(self, option: &str) -> Self {
        Self { what: format!("{option}: {}", self.what), ..self }
    }

    /// The same words, as a failure of the network: for a refusal that is not the peer's, but that
    /// of somebody on the way.
    #[must_use]
    pub fn on_the_way(self) -> Self {
        Self { blame: Blame::Network, ..self }
    }

    /// The exit status that goes with it.
    pub fn exit(&self) -> Exit {
        match self.blame {
            Blame::Usage | Blame::Machine | Blame::Name => Exit::MACHINE,
            Blame::Network => Exit::NETWORK,
            Blame::Peer(exit) => exit,
            Blame::Doubt => Exit::LATER,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ncat: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The system's words for an error: `connection refused`, never `(os error 111)`.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.rfind(" (os error ") {
        Some(at) => &text[..at],
        None => &text,
    };
    // "No such file" becomes "no such file", but "SCTP not there" stays.
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_lose_their_number_and_their_capital() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::other("TLS is odd")), "TLS is odd");
    }

    #[test]
    fn blame_decides_the_status() {
        assert_eq!(Error::usage("x").exit(), Exit(2));
        assert_eq!(Error::machine("x").exit(), Exit(2));
        assert_eq!(Error::network("x").exit(), Exit(1));
        assert_eq!(Error::refused(Exit::LOGIN, "x").exit(), Exit(77));
        assert_eq!(Exit::signal(15), Exit(143));
        // What may have been done must not be done again elsewhere.
        let doubt = Error::in_doubt("x");
        assert!(doubt.exit() == Exit(75) && !doubt.is_for_another());
        assert!(Error::refused(Exit::LATER, "x").is_for_another());
        assert!(Error::unknown("x").may_pass() && Error::unknown("x").exit() == Exit(2));
        assert!(!Error::machine("x").may_pass() && !doubt.may_pass());
        assert!(!Error::refused(Exit::REFUSED, "x").is_for_another());
    }

    #[test]
    fn a_hint_has_a_line_of_its_own() {
        let error = Error::usage("-p needs a port").hint("try -p 25");
        assert_eq!(error.to_string(), "ncat: -p needs a port\nhint: try -p 25");
    }
}
