//! Faults on demand (`--fault WHEN=WHAT[xN][@P%][,seed=S]`): what a mock server does wrong, and
//! when, the same in SMTP, POP3 and IMAP, and the same in every run.
//!
//! The first rule that applies is taken. Counts (`x2`), chances (`@10%`) and rates (`421/3ps`)
//! are the server's, not a connection's: who comes back after a refusal comes on a new one.

// A length of time is no clock.
use core::time::Duration;
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

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

fn rule(spec: &str) -> Result<Rule, String> {
    let (when, what) = spec.split_once('=').ok_or_else(|| {
        format!("{spec:?} is no fault: it is WHEN=WHAT, as in rcpt=450x2 or data=drop")
    })?;
    let (when, argument) = match when.split_once('~') {
        None => (when, None),
        Some((when, pattern)) => {
            let re = Regex::new(pattern)
                .map_err(|e| format!("{pattern:?} is no regular expression: {e}"))?;
            (when, Some(re))
        }
    };
    let when = parse_when(when)?;
    if argument.is_some() && matches!(when, When::Accept | When::Greeting | When::Byte(_)) {
        return Err(format!("{spec:?}: only a command has an argument that ~ can match"));
    }
    let (what, seed) = match what.rsplit_once(",seed=") {
        None => (what, 0),
        Some((what, seed)) => (
            what,
            seed.parse().map_err(|_| format!("seed={seed} is no seed: it takes a whole number"))?,
        ),
    };
    let (what, chance) = match what.rsplit_once('@') {
        Some((before, percent)) if percent.ends_with('%') => (before, Some(parse_chance(percent)?)),
        Some(_) | None => (what, None),
    };
    let (what, times) = split_times(what);
    let (what, rate) = match what.rsplit_once('/').map(|(before, per)| (before, rate(per))) {
        Some((before, Some(rate))) => (before, Some(rate)),
        Some((_, None)) | None => (what, None),
    };
    let what = parse_what(what.trim_end())?;
    let state = Mutex::new(State { random: seed, ..State::default() });
    Ok(Rule { typed: spec.to_owned(), when, argument, what, times, chance, rate, state })
}

fn parse_when(typed: &str) -> Result<When, String> {
    let lower = typed.to_ascii_lowercase();
    if let Some(n) = lower.strip_prefix("byte:") {
        let n = n.parse().map_err(|_| format!("{typed:?}: byte: takes a number of octets"))?;
        return Ok(When::Byte(n));
    }
    match lower.as_str() {
        "accept" => Ok(When::Accept),
        "greeting" => Ok(When::Greeting),
        "any" => Ok(When::Any),
        other => [SMTP, POP3, IMAP]
            .into_iter()
            .flatten()
            .find(|name| **name == other)
            .map(|name| When::Command(name))
            .ok_or(format!(
                "{typed:?} is no place for a fault: it is accept, greeting, any, byte:N, dot, or a \
                 command such as rcpt, retr or fetch"
            )),
    }
}

/// `99.5%` as so many of a million.
fn parse_chance(typed: &str) -> Result<u64, String> {
    let wrong = || format!("@{typed} is no chance: it is a percentage from 0 to 100, as in @10%");
    let (whole, part) = match typed.trim_end_matches('%').split_once('.') {
        None => (typed.trim_end_matches('%'), ""),
        Some(parts) => parts,
    };
    if part.len() > 4 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<4}").parse().map_err(|_| wrong())?;
    let chance = whole.saturating_mul(10_000).saturating_add(part);
    if chance <= 1_000_000 { Ok(chance) } else { Err(wrong()) }
}

/// `3ps`
fn rate(typed: &str) -> Option<usize> {
    typed.strip_suffix("ps")?.parse().ok()
}

/// The count at the end: `450x2`, `dropx1`. At the end of somebody's own words it must stand by
/// itself: `450 come back later x2`.
fn split_times(what: &str) -> (&str, Option<u64>) {
    let Some((before, count)) = what.rsplit_once('x') else { return (what, None) };
    let own_words = before.contains(' ') || before.starts_with("inject:");
    let stands_alone = before.ends_with(' ');
    match count.parse() {
        Ok(times) if !own_words || stands_alone => (before.trim_end(), Some(times)),
        Ok(_) | Err(_) => (what, None),
    }
}

fn parse_what(typed: &str) -> Result<What, String> {
    let (name, value) = typed.split_once(':').unwrap_or((typed, ""));
    let duration = |typed: &str| {
        parse_duration(typed).ok_or_else(|| {
            format!("{typed:?} is no time: it is a number of seconds, or 200ms, 5s, 2m")
        })
    };
    match name.to_ascii_lowercase().as_str() {
        "delay" => return Ok(What::Act(Act::Delay(duration(value)?))),
        "slow" => {
            let number = value.to_ascii_lowercase();
            let number = number.strip_suffix("b/s").unwrap_or(&number);
            let rate = number.parse().ok().filter(|&rate: &u64| rate > 0);
            return rate.map(|rate| What::Act(Act::Slow(rate))).ok_or_else(|| {
                format!("{typed:?}: slow: takes octets a second, as in slow:100B/s")
            });
        }
        "inject" => return Ok(What::Inject(unescape(value))),
        "hang" if value.is_empty() => return Ok(What::Act(Act::Hang)),
        "drop" if value.is_empty() => return Ok(What::Act(Act::Drop)),
        "rst" if value.is_empty() => return Ok(What::Act(Act::Reset)),
        "truncate" if value.is_empty() => return Ok(What::Truncate),
        "garbage" if value.is_empty() => return Ok(What::Garbage),
        "starttls-fail" if value.is_empty() => return Ok(What::StartTlsFail),
        "no-final-dot" if value.is_empty() => return Ok(What::NoFinalDot),
        "wrong-tag" if value.is_empty() => return Ok(What::WrongTag),
        "lie-size" if value.is_empty() => return Ok(What::LieSize),
        _ => {}
    }
    let (code, text) = typed.split_once(' ').unwrap_or((typed, DEFAULT_TEXT));
    match code.parse() {
        Ok(code @ 200..=599) => Ok(What::Reply(words(code, text))),
        Ok(_) | Err(_) => Err(format!(
            "{typed:?} is no fault: it is a reply such as 450 or \"450 4.7.1 Greylisted\", delay:5s, \
             slow:100B/s, hang, drop, rst, truncate, garbage, starttls-fail, inject:TEXT, \
             no-final-dot, wrong-tag or lie-size"
        )),
    }
}

fn words(code: u16, text: &str) -> Words {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // A client of today expects an enhanced code (RFC 3463).
    let is_enhanced = text.split(' ').next().is_some_and(|first| {
        let mut parts = first.split('.');
        let digits = |part: Option<&str>| part.is_some_and(|part| part.parse::<u16>().is_ok());
        (digits(parts.next()), digits(parts.next()), digits(parts.next()), parts.next())
            == (true, true, true, None)
    });
    let text = match code / 100 {
        class @ (2 | 4 | 5) if !is_enhanced => format!("{class}.0.0 {text}"),
        _ => text,
    };
    Words { code, text }
}

/// `200ms`, `5s`, `2m`, or seconds.
fn parse_duration(typed: &str) -> Option<Duration> {
    let split = typed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(typed.len());
    let number: f64 = typed[..split].parse().ok()?;
    let seconds = match &typed[split..] {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// `\r`, `\n`, `\t`, `\\` and `\xNN` as what they stand for.
fn unescape(typed: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = typed.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let (byte, used) = match (first, after) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [b'\\', ..]) => (b'\\', 1),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok();
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => (byte, 3),
                    None => (b'\\', 0),
                }
            }
            (byte, _) => (*byte, 0),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    out
}

/// What an address asks for at this command: `rcpt550_5.1.1@…`, `mail451@…`, `data452@…`,
/// `delay3s@…`. The argument is an address, or for `data` and `dot` the first recipient.
fn asked_by_address(command: &str, address: &[u8]) -> Option<What> {
    let local = address.split(|&b| b == b'@').next()?;
    let local = std::str::from_utf8(local).ok()?.to_ascii_lowercase();
    if let Some(time) = local.strip_prefix("delay")
        && command == "rcpt"
    {
        return parse_duration(time).map(|time| What::Act(Act::Delay(time)));
    }
    let command = if command == "dot" { "data" } else { command };
    let asked = local.strip_prefix(command)?;
    let (code, enhanced) = asked.split_once('_').unwrap_or((asked, ""));
    let code = code.parse().ok().filter(|code| (400..600).contains(code))?;
    let text = format!("{enhanced} the address asked for it");
    Some(What::Reply(words(code, text.trim_start())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn faults(specs: &[&str]) -> Faults {
        Faults::parse(specs.iter().copied(), false).unwrap()
    }

    fn reply(code: u16, text: &str) -> Option<What> {
        Some(What::Reply(Words { code, text: text.into() }))
    }

    #[test]
    fn a_count_is_used_up_whoever_calls() {
        let greylist = faults(&["rcpt=450x2"]);
        let struck = reply(450, "4.0.0 fault on demand");
        assert_eq!(greylist.at(NOW, "mail", b"a@b"), None);
        assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), struck);
        assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), struck);
        assert_eq!(greylist.at(NOW, "rcpt", b"a@b"), None);
    }

    #[test]
    fn a_rule_can_ask_for_an_argument_and_words_of_its_own() {
        let faults = faults(&["rcpt~^bob@=550 5.1.1 No such user x2", "any=delay:200ms"]);
        assert_eq!(faults.at(NOW, "rcpt", b"bob@x"), reply(550, "5.1.1 No such user"));
        let delay = Some(What::Act(Act::Delay(Duration::from_millis(200))));
        assert_eq!(faults.at(NOW, "rcpt", b"eve@x"), delay);
        assert_eq!(faults.at(NOW, "fetch", b""), delay);
        assert_eq!(faults.at_greeting(NOW), None);
        let handshake = self::faults(&["starttls=drop"]);
        assert_eq!(handshake.at(NOW, "stls", b""), Some(What::Act(Act::Drop)));
    }

    #[test]
    fn a_chance_is_the_same_in_every_run_and_another_with_another_seed() {
        let run = |spec: &str| -> Vec<bool> {
            let faults = faults(&[spec]);
            (0..200).map(|_| faults.at(NOW, "data", b"").is_some()).collect()
        };
        let struck = run("data=drop@25%");
        assert_eq!(run("data=drop@25%"), struck);
        assert_ne!(run("data=drop@25%,seed=7"), struck);
        let count = struck.iter().filter(|&&struck| struck).count();
        assert!((30..70).contains(&count), "{count} of 200");
        assert!(run("data=drop@100%").iter().all(|&struck| struck));
        assert!(!run("data=drop@0%").iter().any(|&struck| struck));
    }

    #[test]
    fn a_rate_lets_so_many_through_each_second() {
        let faults = faults(&["mail=421/3ps"]);
        let at = |ms| faults.at(Duration::from_millis(ms), "mail", b"").is_some();
        let struck: Vec<bool> = [0, 100, 200, 300, 999, 1000, 1050, 1101].map(at).into();
        assert_eq!(struck, [false, false, false, true, true, false, true, false]);
    }

    #[test]
    fn octets_of_a_message_strike_where_they_were_asked_for() {
        let faults = faults(&["byte:100=rst"]);
        assert!(faults.watches_octets() && !self::faults(&["data=rst"]).watches_octets());
        assert_eq!(faults.at_octets(NOW, 0, 100), None);
        assert_eq!(faults.at_octets(NOW, 100, 300), Some((100, What::Act(Act::Reset))));
    }

    #[test]
    fn every_fault_can_be_said() {
        for (typed, what) in [
            ("delay:5s", What::Act(Act::Delay(Duration::from_secs(5)))),
            ("slow:100B/s", What::Act(Act::Slow(100))),
            ("hang", What::Act(Act::Hang)),
            ("dropx1", What::Act(Act::Drop)),
            ("rst", What::Act(Act::Reset)),
            ("truncate", What::Truncate),
            ("garbage", What::Garbage),
            ("starttls-fail", What::StartTlsFail),
            ("inject:250 hi\\r\\n\\x00x2", What::Inject(b"250 hi\r\n\0x2".to_vec())),
            ("no-final-dot", What::NoFinalDot),
            ("wrong-tag", What::WrongTag),
            ("lie-size", What::LieSize),
            ("354 go", What::Reply(Words { code: 354, text: "go".into() })),
        ] {
            let faults = faults(&[&format!("retr={typed}")]);
            assert_eq!(faults.at(NOW, "retr", b"1"), Some(what), "{typed}");
        }
    }

    #[test]
    fn an_address_asks_for_its_fault_where_that_is_allowed() {
        let faults = Faults::parse([], true).unwrap();
        let because = |enhanced: &str| format!("{enhanced} the address asked for it");
        let rcpt = faults.at(NOW, "rcpt", b"RCPT550_5.1.1@example.org");
        assert_eq!(rcpt, reply(550, &because("5.1.1")));
        assert_eq!(faults.at(NOW, "mail", b"mail451@x"), reply(451, &because("4.0.0")));
        assert_eq!(faults.at(NOW, "rcpt", b"mail451@x"), None);
        assert_eq!(faults.at(NOW, "dot", b"data452@x"), reply(452, &because("4.0.0")));
        let delay = Some(What::Act(Act::Delay(Duration::from_secs(3))));
        assert_eq!(faults.at(NOW, "rcpt", b"delay3s@x"), delay);
        assert_eq!(self::faults(&[]).at(NOW, "rcpt", b"rcpt550@x"), None);
    }

    #[test]
    fn what_can_never_strike_is_refused() {
        use Dialect::{Imap, Pop3, Smtp};
        for (dialect, typed, part) in [
            (Smtp, "retr=drop", "retr is no command of SMTP, which has ehlo, "),
            (Pop3, "rcpt=450", "rcpt is no command of POP3, which has user, "),
            (Imap, "dot=450", "dot is no command of IMAP, which has capability, "),
            (Pop3, "any=wrong-tag", "POP3 has no tags"),
            (Smtp, "any=no-final-dot", "it is for --pop3 and --imap"),
            (Smtp, "data=lie-size", "it is for --pop3 and --imap"),
            (Smtp, "accept=421", "accept takes delay, hang, drop or rst"),
            (Imap, "accept=slow:9B/s", "accept takes delay, hang, drop or rst"),
            (Imap, "login=starttls-fail", "at starttls only"),
            (Imap, "greeting=wrong-tag", "a greeting has no"),
            (Pop3, "byte:9=lie-size", "say it of a command"),
        ] {
            let why = faults(&["any=dropx1", typed]).fit(dialect).unwrap_err();
            assert!(why.starts_with(&format!("{typed:?}: ")) && why.contains(part), "{why}");
        }
        for (dialect, typed) in [
            (Smtp, "accept=delay:1s"),
            (Smtp, "byte:9=450"),
            (Smtp, "starttls=starttls-fail"),
            (Pop3, "starttls=starttls-fail"),
            (Pop3, "stls=inject:x"),
            (Pop3, "retr=no-final-dot"),
            (Imap, "any=wrong-tag"),
            (Imap, "fetch=lie-size"),
            (Imap, "greeting=421"),
        ] {
            assert_eq!(faults(&[typed]).fit(dialect), Ok(()), "{typed}");
        }
    }

    #[test]
    fn what_is_no_fault_is_said_to_be_none() {
        for (typed, part) in [
            ("rcpt", "WHEN=WHAT"),
            ("frob=450", "\"frob\" is no place"),
            ("rcpt=fly", "\"fly\" is no fault"),
            ("rcpt=99", "\"99\" is no fault"),
            ("rcpt~(=450", "no regular expression"),
            ("greeting~x=450", "only a command has an argument"),
            ("rcpt=450@200%", "@200%"),
            ("rcpt=450,seed=x", "seed=x"),
            ("byte:x=drop", "byte:"),
            ("data=delay:soon", "\"soon\" is no time"),
            ("data=slow:0", "octets a second"),
        ] {
            let why = Faults::parse([typed], false).unwrap_err();
            assert!(why.contains(part), "{typed}: {why}");
        }
    }
}
