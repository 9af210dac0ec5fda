//! Sets of messages: `1,4:6,9:*` and `$` (RFC 9051 §9 sequence-set, RFC 5182).

use super::words::Parsed;

/// As a client names messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    /// What the last search saved.
    Saved,
    /// Ranges, in order and apart, of which an end at `*` is `u32::MAX` and marked.
    Ranges(Vec<(End, End)>),
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A number.
    At(u32),
    /// `*`: the last there is.
    Last,
}

impl Set {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn parse(text: &[u8]) -> Parsed<Self> {
        if text == b"$" {
            return Ok(Self::Saved);
        }
        let wrong = "this is no set of messages: it is numbers and ranges such as 1,4:6,9:*";
        let end = |text: &[u8]| {
            if text == b"*" {
                return Some(End::Last);
            }
            let text = std::str::from_utf8(text).ok()?;
            let n: u32 = text.parse().ok()?;
            (n > 0 && !text.starts_with('+')).then_some(End::At(n))
        };
        let range = |text: &[u8]| match memchr::memchr(b':', text) {
            None => end(text).map(|at| (at, at)),
            Some(colon) => Some((end(&text[..colon])?, end(&text[colon + 1..])?)),
        };
        let ranges: Option<Vec<_>> = text.split(|b| *b == b',').map(range).collect();
        ranges.map(Self::Ranges).ok_or(wrong)
    }

    /// Which of these (growing) numbers belong to it, by their place. `last` is what `*` is.
    /// `saved` are the places that the last search saved.
    pub(super) fn pick(&self, numbers: &[u32], saved: &[usize]) -> Vec<usize> {
        let ranges = match self {
            Self::Saved => return saved.to_vec(),
            Self::Ranges(ranges) => ranges,
        };
        let Some(&last) = numbers.last() else { return vec![] };
        let value = |end: &End| match end {
            End::At(n) => *n,
            End::Last => last,
        };
        let mut bounds: Vec<(u32, u32)> = ranges
            .iter()
            .map(|(from, to)| (value(from), value(to)))
            .map(|(from, to)| (from.min(to), from.max(to)))
            .collect();
        bounds.sort_unstable();
        let mut picked = Vec::new();
        let mut next = 0;
        for (from, to) in bounds {
            next = next.max(numbers.partition_point(|n| *n < from));
            while numbers.get(next).is_some_and(|n| *n <= to) {
                picked.push(next);
                next += 1;
            }
        }
        picked
    }

    /// Does it name a message that is not among the first `count`?
    pub(super) fn reaches_past(&self, count: usize) -> bool {
        let past = |end: &End| match end {
            End::At(n) => usize::try_from(*n).is_ok_and(|n| n > count),
            End::Last => count == 0,
        };
        match self {
            Self::Saved => false,
            Self::Ranges(ranges) => ranges.iter().any(|(from, to)| past(from) || past(to)),
        }
    }
}

/// Growing numbers as a set, runs as ranges.
pub(super) fn written(numbers: &[u32]) -> String {
    let mut out = String::new();
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let mut last = first;
        let mut n = 1;
        while rest.get(n).is_some_and(|next| last.checked_add(1) == Some(*next)) {
            last = rest[n];
            n += 1;
        }
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&first.to_string());
        if last > first {
            out.push_str(&format!(":{last}"));
        }
        rest = &rest[n..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_pick_what_is_there_once_and_in_order() {
        let uids = [3, 5, 6, 9];
        for (text, places) in [
            ("5", &[1][..]),
            ("*", &[3]),
            ("9,3:5", &[0, 1, 3]),
            ("6:1", &[0, 1, 2]),
            ("1:4294967295", &[0, 1, 2, 3]),
            ("100:*", &[3]),
            ("4,7", &[]),
            ("3:6,5:9,5", &[0, 1, 2, 3]),
            ("$", &[2]),
        ] {
            assert_eq!(Set::parse(text.as_bytes()).unwrap().pick(&uids, &[2]), places, "{text}");
        }
        assert!(Set::parse(b"1:*").unwrap().pick(&[], &[]).is_empty());
        assert!(Set::parse(b"5").unwrap().reaches_past(4));
        assert!(!Set::parse(b"1:*").unwrap().reaches_past(1));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "0", "1,", "1:", "4294967296", "+1", "1:2:3", "a", "1,$", "-1"] {
            assert!(Set::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_million_ranges_are_picked_in_no_time() {
        let many: Vec<String> = (0..1_000_000).map(|n| format!("{}:*", n % 7 + 1)).collect();
        let set = Set::parse(many.join(",").as_bytes()).unwrap();
        assert_eq!(set.pick(&(1..=100_000).collect::<Vec<_>>(), &[]).len(), 100_000);
    }

    #[test]
    fn numbers_are_written_in_runs() {
        assert_eq!(written(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(written(&[u32::MAX]), "4294967295");
        assert_eq!(written(&[]), "");
    }
}
