//! Days and times in UTC, as a person or a mail program reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The day, as `2026-11-24`.
pub fn date(time: SystemTime) -> String {
    let (year, month, day) = civil(since_1970(time).as_secs() / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `Tue Nov 24 12:00:00 2026`, as asctime(3) writes it.
pub fn asctime(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = since_1970(time).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{} {} {day:2} {:02}:{:02}:{:02} {year}",
        DAYS[usize::try_from(days % 7).unwrap_or(0)],
        MONTHS[usize::try_from(month - 1).unwrap_or(0)],
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Days since 1970-01-01 to year, month, day (H. Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_days_and_times() {
        for (seconds, day, time) in [
            (0, "1970-01-01", "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "2000-02-28", "Mon Feb 28 23:59:59 2000"),
            (951_782_400, "2000-02-29", "Tue Feb 29 00:00:00 2000"),
            (951_868_800, "2000-03-01", "Wed Mar  1 00:00:00 2000"),
            (1_709_164_800, "2024-02-29", "Thu Feb 29 00:00:00 2024"),
            (1_795_521_600, "2026-11-24", "Tue Nov 24 12:00:00 2026"),
            (4_107_542_400, "2100-03-01", "Mon Mar  1 00:00:00 2100"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!((date(at).as_str(), asctime(at).as_str()), (day, time));
        }
    }
}
