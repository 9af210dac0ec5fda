//! Messages by number: `3`, `1,4-6`, `10-`, `all`.

use super::ProtocolError;
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// Messages that are dealt with at most: a server may claim to have any number of them.
pub const MOST: usize = 1_000_000;

/// A choice of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u32>>);

impl Numbers {
    /// Every message.
    pub fn all() -> Self {
        Self(vec![1..=u32::MAX])
    }

    /// Reads it.
    ///
    /// # Errors
    /// Half a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::all());
        }
        let number = |word: &str| {
            let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            word.parse().ok().filter(|n: &u32| is_number && *n > 0)
        };
        let range = |word: &str| match word.split_once('-') {
            None => number(word).map(|n| n..=n),
            Some((first, "")) => number(first).map(|n| n..=u32::MAX),
            Some((first, last)) => Some(number(first)?..=number(last)?).filter(|r| !r.is_empty()),
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or_else(|| "it takes 3 or 1,4-6 or 10- or all".to_owned())
    }

    /// The numbers among the first `count`, in the order in which they were asked for; those that
    /// were named and are not there are kept, for the server to refuse.
    ///
    /// # Errors
    /// There are more than a million.
    pub fn pick(&self, count: u32) -> Result<Vec<u32>, ProtocolError> {
        let (mut all, mut known) = (Vec::new(), HashSet::new());
        for range in &self.0 {
            let (first, last) = (*range.start(), *range.end());
            let open = last == u32::MAX && first != u32::MAX;
            // A range with both ends that reaches past the last message is cut there.
            let last = if open || first != last { last.min(count) } else { last };
            if usize::try_from(last.saturating_sub(first)).is_ok_and(|more| more >= MOST) {
                return Err(too_many(count));
            }
            for n in first..=last {
                if known.insert(n) {
                    all.push(n);
                }
                if all.len() > MOST {
                    return Err(too_many(count));
                }
            }
        }
        Ok(all)
    }

    /// Is it one message, whatever there is?
    pub fn is_one(&self) -> bool {
        matches!(self.0.as_slice(), [range] if range.start() == range.end())
    }
}

/// That many messages are no mailbox.
pub fn too_many(count: u32) -> ProtocolError {
    let got = count.to_string().into_bytes();
    ProtocolError::Malformed { expected: "at most 1000000 messages at once", got }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_picked_once_and_in_order() {
        for (text, count, picked) in [
            ("all", 3, &[1, 2, 3][..]),
            ("ALL", 0, &[]),
            ("2", 3, &[2]),
            ("9", 3, &[9]),
            ("3,1-2,2", 3, &[3, 1, 2]),
            ("2-", 4, &[2, 3, 4]),
            ("2-9", 4, &[2, 3, 4]),
            ("9-", 4, &[]),
        ] {
            assert_eq!(Numbers::parse(text).unwrap().pick(count).unwrap(), picked, "{text}");
        }
        // A server may claim anything; what is asked for by its number is not affected.
        assert!(Numbers::parse("all").unwrap().pick(u32::MAX).is_err());
        assert_eq!(Numbers::parse("7").unwrap().pick(u32::MAX).unwrap(), [7]);
        assert!(Numbers::parse("4").unwrap().is_one() && !Numbers::parse("1-2").unwrap().is_one());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "0", "a", "1,", "-3", "3-2", "+1", "1--2", "4294967296", "1 2"] {
            assert!(Numbers::parse(text).is_err(), "{text:?}");
        }
    }
}
