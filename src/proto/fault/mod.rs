//! Faults on demand (`--fault WHEN=WHAT[xN][@P%][,seed=S]`): what a mock server does wrong, and
//! when, the same in SMTP, POP3 and IMAP, and the same in every run.
//!
//! The first rule that applies is taken. Counts (`x2`), chances (`@10%`) and rates (`421/3ps`)
//! are the server's, not a connection's: who comes back after a refusal comes on a new one.

#[cfg(test)]
mod tests;
mod written;

// A length of time is no clock.
use core::time::Duration;
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use written::{asked_by_address, rule};

/// What is wrong when no text is given with a code.
const DEFAULT_TEXT: &str = "fault on demand";

/// The commands of SMTP and LMTP; `dot` is the end of the message.
const SMTP: &[&str] = &[
    "ehlo", "helo", "lhlo", "mail", "rcpt", "data", "bdat", "dot", "rset", "noop", "vrfy", "expn",
    "help", "auth", "starttls", "quit", "xclient",
];

/// The commands of POP3; `starttls` is another name for `stls`.
const POP3: &[&str] = &[
    "user", "pass", "apop", "auth", "capa", "stls", "starttls", "stat", "list", "retr", "dele",
    "top", "uidl", "utf8", "noop", "rset", "quit",
];

/// The commands of IMAP, `UID FETCH` and its kin by their second word.
const IMAP: &[&str] = &[
    "capability",
    "noop",
    "logout",
    "starttls",
    "authenticate",
    "login",
    "enable",
    "id",
    "select",
    "examine",
    "create",
    "delete",
    "rename",
    "subscribe",
    "unsubscribe",
    "list",
    "lsub",
    "status",
    "append",
    "check",
    "close",
    "unselect",
    "expunge",
    "search",
    "fetch",
    "store",
    "copy",
    "move",
    "idle",
    "namespace",
];

/// Whose faults they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SMTP and LMTP.
    Smtp,
    /// POP3.
    Pop3,
    /// IMAP.
    Imap,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Pop3 => "POP3",
            Self::Imap => "IMAP",
        }
    }

    fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Smtp => SMTP,
            Self::Pop3 => POP3,
            Self::Imap => IMAP,
        }
    }
}

/// Where a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// As soon as the caller is there, before TLS and before any word.
    Accept,
    /// Instead of the greeting, or before it.
    Greeting,
    /// At every command, and at the end of a message.
    Any,
    /// At this command, in lower case.
    Command(&'static str),
    /// When so many octets of a message have gone by.
    Byte(u64),
}

/// A fault that is the connection's, so that the mode does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Everything waits so long, then goes on.
    Delay(Duration),
    /// From here on what we say goes out at so many octets a second.
    Slow(u64),
    /// Nothing more is said, and nothing heard.
    Hang,
    /// What has been said goes out, then the connection is closed.
    Drop,
    /// The connection is reset.
    Reset,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This is said instead of doing what was asked.
    Reply(Words),
    /// The connection's part.
    Act(Act),
    /// A reply is cut in its middle, and the connection closed.
    Truncate,
    /// Instead of a reply come octets that are none.
    Garbage,
    /// After the go-ahead comes something that is no TLS.
    StartTlsFail,
    /// These octets come first; before a handshake, in the clear, they are an attack.
    Inject(Vec<u8>),
    /// A multi-line reply or a message lacks its end.
    NoFinalDot,
    /// The reply has a tag that was not asked for (IMAP).
    WrongTag,
    /// Sizes are told wrong.
    LieSize,
}

/// A reply that was asked for as a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// A reply code of SMTP, or the kind of a refusal: 4xx for now, 5xx for good.
    pub code: u16,
    /// What stands behind it, an enhanced code and what else was typed.
    pub text: String,
}

impl Words {
    /// Is it a refusal for now?
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }
}

#[derive(Debug)]
struct Rule {
    /// As it was typed, for a complaint.
    typed: String,
    when: When,
    /// The argument of the command must match.
    argument: Option<Regex>,
    what: What,
    /// So many times, then never again.
    times: Option<u64>,
    /// In so many of a million cases.
    chance: Option<u64>,
    /// Only what goes beyond so many in a second.
    rate: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    struck: u64,
    random: u64,
    recent: VecDeque<Duration>,
}

/// The rules of one server, with what they have done so far.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    /// Addresses such as `rcpt550_5.1.1@example.org` ask for faults too (`--fault-addresses`).
    by_address: bool,
}

impl Faults {
    /// Reads rules as they are typed.
    ///
    /// # Errors
    /// What is wrong, as half a sentence that quotes the part.
    pub fn parse<'a>(
        specs: impl IntoIterator<Item = &'a str>,
        by_address: bool,
    ) -> Result<Self, String> {
        let rules = specs.into_iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { rules, by_address })
    }

    /// Can all of it happen in this protocol? A fault that never strikes would be a test that
    /// passes for no reason.
    ///
    /// # Errors
    /// What cannot, and why, as half a sentence that quotes the rule.
    pub fn fit(&self, dialect: Dialect) -> Result<(), String> {
        self.rules.iter().try_for_each(|rule| {
            rule.misfit(dialect).map_or(Ok(()), |why| Err(format!("{:?}: {why}", rule.typed)))
        })
    }

    /// What goes wrong at this command (lower case), if anything does. A rule for any command
    /// applies too.
    pub fn at(&self, now: Duration, command: &str, argument: &[u8]) -> Option<What> {
        self.asked(command, argument).or_else(|| {
            self.strike(now, argument, |when| match when {
                When::Any => true,
                // What the others call STARTTLS is STLS in POP3.
                When::Command("starttls") => matches!(command, "starttls" | "stls"),
                When::Command(name) => *name == command,
                When::Accept | When::Greeting | When::Byte(_) => false,
            })
        })
    }

    /// What this address asks for at this command, where addresses may.
    pub fn asked(&self, command: &str, address: &[u8]) -> Option<What> {
        self.by_address.then(|| asked_by_address(command, address)).flatten()
    }

    /// What goes wrong as soon as somebody has called.
    pub fn at_accept(&self, now: Duration) -> Option<What> {
        self.strike(now, b"", |when| *when == When::Accept)
    }

    /// What goes wrong at the greeting.
    pub fn at_greeting(&self, now: Duration) -> Option<What> {
        self.strike(now, b"", |when| *when == When::Greeting)
    }

    /// Does anything go wrong by a count of octets, so that they have to be counted?
    pub fn watches_octets(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.when, When::Byte(_)))
    }

    /// What goes wrong between these counts of octets of a message, and at which.
    pub fn at_octets(&self, now: Duration, before: u64, after: u64) -> Option<(u64, What)> {
        let mut at = before;
        let what = self.strike(now, b"", |when| match when {
            When::Byte(n) => {
                at = *n;
                (before..after).contains(n)
            }
            When::Accept | When::Greeting | When::Any | When::Command(_) => false,
        })?;
        Some((at, what))
    }

    fn strike(
        &self,
        now: Duration,
        argument: &[u8],
        mut applies: impl FnMut(&When) -> bool,
    ) -> Option<What> {
        let hit = self.rules.iter().find(|rule| {
            let fits = rule.argument.as_ref().is_none_or(|re| re.is_match(argument));
            applies(&rule.when) && fits && rule.is_due(now)
        });
        hit.map(|rule| rule.what.clone())
    }
}

impl Rule {
    /// Why it can never strike in this protocol.
    fn misfit(&self, dialect: Dialect) -> Option<String> {
        use Dialect::{Imap, Smtp};
        let name = dialect.name();
        if let When::Command(command) = self.when
            && !dialect.commands().contains(&command)
        {
            let all = dialect.commands().join(", ");
            return Some(format!("{command} is no command of {name}, which has {all}"));
        }
        match (&self.what, &self.when) {
            (What::WrongTag, _) if dialect != Imap => {
                Some(format!("{name} has no tags: wrong-tag is for --imap"))
            }
            (What::NoFinalDot | What::LieSize, _) if dialect == Smtp => {
                Some("it spoils messages that a server sends: it is for --pop3 and --imap".into())
            }
            (What::Act(Act::Delay(_) | Act::Hang | Act::Drop | Act::Reset), When::Accept) => None,
            (_, When::Accept) => Some(
                "before the greeting nothing is said: accept takes delay, hang, drop or rst, and \
                 greeting the rest"
                    .into(),
            ),
            (What::StartTlsFail, When::Any | When::Command("starttls" | "stls")) => None,
            (What::StartTlsFail, _) => Some("starttls-fail happens at starttls only".into()),
            (What::NoFinalDot | What::LieSize | What::WrongTag, When::Greeting) => {
                Some("a greeting has no size, tag or final dot to be wrong".into())
            }
            (What::LieSize, When::Byte(_)) => {
                Some("the size has been told by then: say it of a command".into())
            }
            _ => None,
        }
    }

    /// It applies: is it its turn?
    fn is_due(&self, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.times.is_some_and(|times| state.struck >= times) {
            return false;
        }
        if let Some(rate) = self.rate {
            let second = Duration::from_secs(1);
            while state.recent.front().is_some_and(|&at| at + second <= now) {
                state.recent.pop_front();
            }
            if state.recent.len() < rate {
                state.recent.push_back(now);
                return false;
            }
        }
        if let Some(chance) = self.chance
            && next(&mut state.random) % 1_000_000 >= chance
        {
            return false;
        }
        state.struck += 1;
        true
    }
}

/// The next number of a sequence that looks random and is the same in every run (SplitMix64, S.
/// Vigna's public domain one).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
