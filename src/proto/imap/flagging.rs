//! Flags that are to be given and taken.

/// Flags that messages get or lose, each as it is written (RFC 9051 §2.3.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flagging {
    /// They get these.
    pub add: Vec<String>,
    /// They lose these.
    pub remove: Vec<String>,
}

impl Flagging {
    /// Reads `+\\Seen,-\Flagged,$Label`; without a sign a flag is added.
    ///
    /// # Errors
    /// Half a sentence about what is no flag.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let mut flagging = Self::default();
        for word in typed.split(',') {
            let (list, flag) = match word.strip_prefix('-') {
                Some(flag) => (&mut flagging.remove, flag),
                None => (&mut flagging.add, word.strip_prefix('+').unwrap_or(word)),
            };
            let is_atom = |atom: &str| {
                let ok = |c: char| c.is_ascii_graphic() && !"(){%*\"\\]".contains(c);
                !atom.is_empty() && atom.chars().all(ok)
            };
            let system = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
            let known = system.iter().find(|known| known.eq_ignore_ascii_case(flag));
            match known {
                Some(known) => list.push((*known).to_owned()),
                None if is_atom(flag) => list.push(flag.to_owned()),
                None => {
                    return Err(format!(
                        "{word:?} is no flag: there are {} and keywords such as $Forwarded",
                        system.join(" ")
                    ));
                }
            }
        }
        Ok(flagging)
    }

    /// What STORE says of them.
    pub(super) fn stores(&self) -> Vec<String> {
        let store =
            |sign: char, flags: &[String]| format!("{sign}FLAGS.SILENT ({})", flags.join(" "));
        let lists = [('+', &self.add), ('-', &self.remove)];
        lists.iter().filter(|(_, l)| !l.is_empty()).map(|(sign, l)| store(*sign, l)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_with_their_signs() {
        let flagging = Flagging::parse("+\\seen,-\\FLAGGED,$Work,-later").unwrap();
        assert_eq!(flagging.add, ["\\Seen", "$Work"]);
        assert_eq!(flagging.remove, ["\\Flagged", "later"]);
        let stores = ["+FLAGS.SILENT (\\Seen $Work)", "-FLAGS.SILENT (\\Flagged later)"];
        assert_eq!(flagging.stores(), stores);
        for wrong in ["", "\\Sean", "a b", "a(", "+", "x,,y", "\u{e9}"] {
            assert!(Flagging::parse(wrong).is_err(), "{wrong}");
        }
    }
}
