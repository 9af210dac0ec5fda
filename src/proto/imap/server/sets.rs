//! Sets of messages (RFC 9051 §9, sequence-set): `1,3:5,7:*`, or `$` for what was last found.

use super::words::{Parsed, Words};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Number(u32),
    /// `*`
    Last,
}

/// A set as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    Ranges(Ranges),
    /// `$` (RFC 5182)
    Saved,
}

/// Ranges of which some may end with the last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(End, End)>);

/// Numbers: ranges in order that neither touch nor overlap, so that a hostile set costs no more
/// than a plain one to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbers(Vec<(u32, u32)>);

impl Set {
    pub(super) fn parse(words: &mut Words<'_>) -> Parsed<Self> {
        const WRONG: &str = "a set of messages is malformed";
        let text = words.set_text();
        if text == b"$" {
            return Ok(Self::Saved);
        }
        let end = |word: &[u8]| match word {
            b"*" => Some(End::Last),
            digits => {
                let text = std::str::from_utf8(digits).ok()?;
                let is_number = text.bytes().all(|b| b.is_ascii_digit());
                text.parse().ok().filter(|n| is_number && *n > 0).map(End::Number)
            }
        };
        let range = |word: &[u8]| match memchr::memchr(b':', word) {
            None => end(word).map(|end| (end, end)),
            Some(at) => Some((end(&word[..at])?, end(&word[at + 1..])?)),
        };
        let ranges: Option<Vec<_>> = text.split(|&b| b == b',').map(range).collect();
        ranges.map(|ranges| Self::Ranges(Ranges(ranges))).ok_or(WRONG)
    }
}

impl Ranges {
    /// What it comes to where the last number is this one.
    pub(super) fn resolve(&self, last: u32) -> Numbers {
        let number = |end: End| match end {
            End::Number(n) => n,
            End::Last => last,
        };
        let ranges = self.0.iter().map(|&(a, b)| {
            let (a, b) = (number(a), number(b));
            (a.min(b), a.max(b))
        });
        Numbers::of_ranges(ranges.collect())
    }

    /// The greatest number that is said outright, in a range without `*`.
    pub(super) fn greatest(&self) -> u32 {
        let greatest = self.0.iter().map(|range| match range {
            (End::Number(a), End::Number(b)) => (*a).max(*b),
            (End::Last, _) | (_, End::Last) => 0,
        });
        greatest.max().unwrap_or(0)
    }
}

impl Numbers {
    fn of_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// These numbers, in any order.
    pub(super) fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        Self::of_ranges(numbers.into_iter().map(|n| (n, n)).collect())
    }

    pub(super) fn contains(&self, n: u32) -> bool {
        let at = self.0.partition_point(|range| range.1 < n);
        self.0.get(at).is_some_and(|range| range.0 <= n)
    }

    /// Where in a list in order the numbers of this set are.
    pub(super) fn find(&self, count: usize, number: impl Fn(usize) -> u32) -> Vec<usize> {
        let mut found = Vec::new();
        for &(first, last) in &self.0 {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = usize::midpoint(low, high);
                if number(middle) < first { low = middle + 1 } else { high = middle }
            }
            found.extend((low..count).take_while(|&at| number(at) <= last));
        }
        found
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a set is written: `1,3:5`.
    pub(super) fn text(&self) -> String {
        let ranges = self.0.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}:{last}"),
        });
        ranges.collect::<Vec<_>>().join(",")
    }
}

/// Numbers in their order, as a set is written; for COPYUID, where the order counts.
pub(super) fn in_order(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for n in numbers {
        match ranges.last_mut() {
            Some(range) if range.1.checked_add(1) == Some(n) => range.1 = n,
            Some(_) | None => ranges.push((n, n)),
        }
    }
    // No two of them touch, so they are printed as they are.
    Numbers(ranges).text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Numbers> {
        match Set::parse(&mut Words::new(text.as_bytes())).ok()? {
            Set::Ranges(ranges) => Some(ranges.resolve(9)),
            Set::Saved => None,
        }
    }

    #[test]
    fn ranges_are_merged_and_may_be_said_backwards() {
        for (text, set) in [
            ("1", "1"),
            ("*", "9"),
            ("5:*", "5:9"),
            ("12:*", "9:12"),
            ("*:4,1", "1,4:9"),
            ("3:1,2,4", "1:4"),
            ("4294967295,1:2", "1:2,4294967295"),
        ] {
            assert_eq!(parsed(text).unwrap().text(), set, "{text}");
        }
        for wrong in ["", "0", "1,", ",1", "1:", "1:2:3", "4294967296", "1,$", "**"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!(Set::parse(&mut Words::new(b"$")), Ok(Set::Saved));
        assert_eq!(in_order([4, 5, 6, 1, 3]), "4:6,1,3");
    }

    #[test]
    fn a_huge_set_costs_little() {
        let text = (1..12_000).map(|n| (n * 2).to_string()).collect::<Vec<_>>().join(",");
        let set = parsed(&text).unwrap();
        let count = (1..=1_000_000).filter(|&n| set.contains(n)).count();
        assert_eq!(count, 11_999);
        assert!(!parsed("1:4294967295").unwrap().is_empty());
        let found = |text: &str| parsed(text).unwrap().find(4, |at| [2, 5, 8, 11][at]);
        assert_eq!(found("1,5:8,11:4294967295"), [1, 2, 3]);
        assert!(found("3,6:7,12").is_empty());
    }
}
