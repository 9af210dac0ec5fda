//! How a fault is written: on the command line, and in an address.

use super::{Act, DEFAULT_TEXT, IMAP, POP3, Rule, SMTP, State, What, When, Words};
// A length of time is no clock.
use crate::proto::script::grammar;
use core::time::Duration;
use std::sync::Mutex;

pub(super) fn rule(spec: &str) -> Result<Rule, String> {
    let (when, what) = spec.split_once('=').ok_or_else(|| {
        format!("{spec:?} is no fault: it is WHEN=WHAT, as in rcpt=450x2 or data=drop")
    })?;
    let (when, argument) = match when.split_once('~') {
        None => (when, None),
        Some((when, pattern)) => {
            let re = grammar::pattern(pattern).map_err(|why| format!("{pattern:?}: {why}"))?;
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
pub(super) fn asked_by_address(command: &str, address: &[u8]) -> Option<What> {
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
