//! Flags and dates, as they are said and written (RFC 9051 §2.3.2, §9).

use super::words::{Parsed, Words};
use crate::proto::store::{Flags, Message};
use mail_parser::DateTime;

/// The flags that a message can have by our word.
pub(super) const SYSTEM: &str = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";

/// Keywords of a message: more are a mistake, or worse.
pub(super) const MOST_KEYWORDS: usize = 100;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Flags as they are written, without parentheses; `\Recent` if the session may still hear of it.
pub(super) fn text(message: &Message, with_recent: bool) -> String {
    let flags = &message.flags;
    let system = [
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.seen, "\\Seen"),
        (flags.draft, "\\Draft"),
        (message.recent && with_recent, "\\Recent"),
    ];
    let mut all: Vec<&str> = system.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    all.extend(flags.keywords.iter().map(String::as_str));
    all.join(" ")
}

/// Flags from their names. `\Recent` is nobody's to set, and passed over (RFC 3501 §2.3.2).
pub(super) fn parse(names: &[String]) -> Parsed<Flags> {
    let mut flags = Flags::default();
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "\\answered" => flags.answered = true,
            "\\flagged" => flags.flagged = true,
            "\\deleted" => flags.deleted = true,
            "\\seen" => flags.seen = true,
            "\\draft" => flags.draft = true,
            "\\recent" => {}
            other if other.starts_with('\\') => return Err("there is no such flag"),
            _ => add_keyword(&mut flags, name),
        }
    }
    match flags.keywords.len() {
        0..=MOST_KEYWORDS => Ok(flags),
        _ => Err("there are too many keywords"),
    }
}

fn add_keyword(flags: &mut Flags, name: &str) {
    if !has_keyword(flags, name) {
        flags.keywords.push(name.to_owned());
    }
}

/// Keywords are the same in any case.
pub(super) fn has_keyword(flags: &Flags, name: &str) -> bool {
    flags.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name))
}

/// What a STORE does to flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    Add,
    Remove,
}

impl Change {
    pub(super) fn apply(self, flags: &Flags, with: &Flags) -> Flags {
        let one = |has: bool, named: bool| match self {
            Self::Set => named,
            Self::Add => has || named,
            Self::Remove => has && !named,
        };
        let mut changed = Flags {
            seen: one(flags.seen, with.seen),
            answered: one(flags.answered, with.answered),
            flagged: one(flags.flagged, with.flagged),
            deleted: one(flags.deleted, with.deleted),
            draft: one(flags.draft, with.draft),
            keywords: match self {
                Self::Set => Vec::new(),
                Self::Add | Self::Remove => flags.keywords.clone(),
            },
        };
        match self {
            Self::Set | Self::Add => {
                for name in &with.keywords {
                    add_keyword(&mut changed, name);
                }
            }
            Self::Remove => changed.keywords.retain(|name| !has_keyword(with, name)),
        }
        changed
    }
}

/// `24-Nov-2026 12:00:00 +0000`, the day in two columns.
pub(super) fn internal_date(seconds: u64) -> String {
    let t = DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0).min(253_402_300_799));
    let month = MONTHS[usize::from(t.month.clamp(1, 12)) - 1];
    format!("{:2}-{month}-{:04} {:02}:{:02}:{:02} +0000", t.day, t.year, t.hour, t.minute, t.second)
}

/// A quoted date and time: seconds since 1970. What was before is 1970.
pub(super) fn date_time(words: &mut Words<'_>) -> Parsed<u64> {
    const WRONG: &str = "a date and time is malformed";
    let string = words.string().map_err(|_| WRONG)?;
    let text = std::str::from_utf8(&string).map_err(|_| WRONG)?.trim_start();
    let mut parts = text.split(' ');
    let (Some(day), Some(time), Some(zone), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(WRONG);
    };
    let (year, month, day) = civil(day).ok_or(WRONG)?;
    let mut clock = time.split(':').map(|part| digits(part, 2));
    let (Some(Some(hour)), Some(Some(minute)), Some(Some(second)), None) =
        (clock.next(), clock.next(), clock.next(), clock.next())
    else {
        return Err(WRONG);
    };
    let before = zone.starts_with('-');
    let zone = zone.strip_prefix(['+', '-']).filter(|zone| zone.len() == 4 && zone.is_ascii());
    let zone = zone.ok_or(WRONG)?;
    let (hours, minutes) =
        (digits(&zone[..2], 2).ok_or(WRONG)?, digits(&zone[2..], 2).ok_or(WRONG)?);
    if hour > 23 || minute > 59 || second > 60 || minutes > 59 {
        return Err(WRONG);
    }
    let seconds = day_number(year, month, day) * 86_400
        + i64::from(hour) * 3600
        + i64::from(minute) * 60
        + i64::from(second);
    let offset = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    let seconds = if before { seconds + offset } else { seconds - offset };
    Ok(u64::try_from(seconds).unwrap_or(0))
}

/// A date: its day since 1970.
pub(super) fn date(words: &mut Words<'_>) -> Parsed<i64> {
    const WRONG: &str = "a date is malformed: it is 1-Jan-2026";
    let string = words.astring().map_err(|_| WRONG)?;
    let text = std::str::from_utf8(&string).map_err(|_| WRONG)?;
    let (year, month, day) = civil(text.trim()).ok_or(WRONG)?;
    Ok(day_number(year, month, day))
}

fn digits(text: &str, most: usize) -> Option<u16> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}

/// `1-Jan-2026`
fn civil(text: &str) -> Option<(u16, u8, u8)> {
    let mut parts = text.split('-');
    let day = digits(parts.next()?, 2)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))? + 1;
    let year = digits(parts.next()?, 4)?;
    let is_day = parts.next().is_none() && (1..=31).contains(&day);
    Some((year, u8::try_from(month).ok()?, u8::try_from(day).ok()?)).filter(|_| is_day)
}

/// Days since 1970.
pub(super) fn day_number(year: u16, month: u8, day: u8) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    // H. Hinnant's `days_from_civil`.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        for (text, seconds) in [
            ("\" 1-Jan-1970 00:00:00 +0000\"", 0),
            ("\"24-Nov-2026 13:00:00 +0100\"", 1_795_521_600),
            ("\"24-nov-2026 06:30:00 -0530\"", 1_795_521_600),
            ("\"29-Feb-2024 00:00:00 +0000\"", 1_709_164_800),
            ("\"01-Jan-1950 00:00:00 +0000\"", 0),
        ] {
            assert_eq!(date_time(&mut Words::new(text.as_bytes())), Ok(seconds), "{text}");
        }
        for wrong in [
            "24-Nov-2026",
            "\"24-Nov-2026\"",
            "\"24-Foo-2026 13:00:00 +0100\"",
            "\"24-Nov-2026 24:00:00 +0100\"",
            "\"24-Nov-2026 13:00 +0100\"",
            "\"24-Nov-2026 13:00:00 0100\"",
            "\"24-Nov-2026 13:00:00 +01\u{e9}\"",
            "\"0-Nov-2026 13:00:00 +0100\"",
        ] {
            assert!(date_time(&mut Words::new(wrong.as_bytes())).is_err(), "{wrong}");
        }
        assert_eq!(internal_date(1_795_521_600), "24-Nov-2026 12:00:00 +0000");
        assert_eq!(internal_date(0), " 1-Jan-1970 00:00:00 +0000");
        assert!(internal_date(u64::MAX).len() > 20);
        assert_eq!(date(&mut Words::new(b"\"2-Jan-1970\"")), Ok(1));
        assert_eq!(date(&mut Words::new(b"1-Mar-2000")), Ok(11_017));
    }

    #[test]
    fn flags_are_set_added_and_removed() {
        let flags = |names: &str| {
            parse(&names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
        };
        let there = flags("\\Seen $Done \\recent");
        for (change, with, left) in [
            (Change::Set, "\\Draft a A", "\\Draft a"),
            (Change::Add, "\\DELETED $done b", "\\Deleted \\Seen $Done b"),
            (Change::Remove, "\\seen $DONE c", ""),
        ] {
            let flags = change.apply(&there, &flags(with));
            let message = Message { uid: 1, size: 0, flags, received: 0, recent: true };
            assert_eq!(text(&message, false), left);
        }
        assert!(parse(&["\\Foo".to_owned()]).is_err());
    }
}
