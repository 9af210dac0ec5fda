//! What is said in one round of the loop, by whomever.

use super::CHUNK;

/// Words in their order, and who is not to hear which of them.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) words: Vec<u8>,
    /// Where each that was said ends, and who said it.
    ends: Vec<(usize, Option<usize>)>,
}

impl Round {
    /// Words for everybody but one.
    pub(super) fn say(&mut self, words: &[u8], but: Option<usize>) {
        self.words.extend_from_slice(words);
        self.ends.push((self.words.len(), but));
    }

    /// What `key` is to hear, each by itself.
    pub(super) fn for_each(&self, key: usize) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        let heard = begins.zip(&self.ends).filter(move |(_, (_, by))| *by != Some(key));
        heard.map(|(begin, (end, _))| &self.words[begin..*end])
    }

    /// Appends what `key` is to hear: in a few pieces, however many have spoken.
    pub(super) fn for_one(&self, key: usize, queue: &mut Vec<u8>) {
        let (mut from, mut begin) = (0, 0);
        for &(end, by) in &self.ends {
            if by == Some(key) {
                queue.extend_from_slice(&self.words[from..begin]);
                from = end;
            }
            begin = end;
        }
        queue.extend_from_slice(&self.words[from..]);
    }

    /// Another round.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.words.shrink_to(CHUNK);
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_hears_himself() {
        let mut round = Round::default();
        for (words, by) in
            [("a", Some(1)), ("bb", Some(2)), ("c", None), ("d", Some(1)), ("e", Some(1))]
        {
            round.say(words.as_bytes(), by);
        }
        for (key, expected) in [(1, "bb c"), (2, "a c d e"), (3, "a bb c d e")] {
            let each: Vec<_> = round.for_each(key).collect();
            assert_eq!(each.join(&b' '), expected.as_bytes());
            let mut queue = b"-".to_vec();
            round.for_one(key, &mut queue);
            assert_eq!(queue, format!("-{expected}").replace(' ', "").as_bytes());
        }
        round.clear();
        assert_eq!(round.for_each(3).count(), 0);
    }
}
