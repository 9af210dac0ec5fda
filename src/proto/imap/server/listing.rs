//! LIST with all its options, and LSUB (RFC 9051 §6.3.9, RFC 5258, 5819, 6154; RFC 3501 §6.3.9).

use super::names::{Names, is_inbox};
use super::out::Out;
use super::words::{Parsed, Words};
use crate::proto::store::{INBOX, Listed, Result, Status, Store};
use std::collections::BTreeMap;

/// Octets of all patterns of one LIST, so that matching has a bound.
const LONGEST_PATTERNS: usize = 4096;

/// A LIST, as it was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    patterns: Vec<String>,
    /// The hierarchy is asked for: `LIST "" ""`.
    asks_delimiter: bool,
    only_subscribed: bool,
    only_special: bool,
    recursive: bool,
    tells_subscribed: bool,
    status: Option<Vec<StatusItem>>,
    is_lsub: bool,
}

/// What STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    AppendLimit,
}

impl StatusItem {
    pub(super) fn parse(words: &mut Words<'_>) -> Parsed<Self> {
        Ok(match words.keyword()?.as_str() {
            "MESSAGES" => Self::Messages,
            "RECENT" => Self::Recent,
            "UIDNEXT" => Self::UidNext,
            "UIDVALIDITY" => Self::UidValidity,
            "UNSEEN" => Self::Unseen,
            "DELETED" => Self::Deleted,
            "SIZE" => Self::Size,
            "APPENDLIMIT" => Self::AppendLimit,
            _ => return Err("there is no such item of STATUS"),
        })
    }
}

/// `* STATUS` of a mailbox.
pub(super) fn tell_status(
    name: &str,
    status: &Status,
    items: &[StatusItem],
    most_octets: u64,
    names: Names,
    out: &mut Out,
) {
    out.text("* STATUS ");
    names.write(name, out);
    let item = |item: &StatusItem| match item {
        StatusItem::Messages => format!("MESSAGES {}", status.messages),
        StatusItem::Recent => format!("RECENT {}", status.recent),
        StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next),
        StatusItem::UidValidity => format!("UIDVALIDITY {}", status.uid_validity),
        StatusItem::Unseen => format!("UNSEEN {}", status.unseen),
        StatusItem::Deleted => format!("DELETED {}", status.deleted),
        StatusItem::Size => format!("SIZE {}", status.size),
        StatusItem::AppendLimit => format!("APPENDLIMIT {most_octets}"),
    };
    let items: Vec<String> = items.iter().map(item).collect();
    out.text(&format!(" ({})\r\n", items.join(" ")));
}

impl Listing {
    /// Reads what follows LIST or LSUB.
    pub(super) fn parse(words: &mut Words<'_>, names: Names, is_lsub: bool) -> Parsed<Self> {
        let mut listing = Self { is_lsub, only_subscribed: is_lsub, ..Self::default() };
        words.space()?;
        if words.peek() == Some(b'(') && !is_lsub {
            let options = words.list(Words::keyword)?;
            for option in &options {
                match option.as_str() {
                    "SUBSCRIBED" => {
                        (listing.only_subscribed, listing.tells_subscribed) = (true, true);
                    }
                    // There are none.
                    "REMOTE" => {}
                    "RECURSIVEMATCH" => listing.recursive = true,
                    "SPECIAL-USE" => listing.only_special = true,
                    _ => return Err("there is no such option of LIST"),
                }
            }
            if listing.recursive && !listing.only_subscribed && !listing.only_special {
                return Err("RECURSIVEMATCH takes another option");
            }
            words.space()?;
        }
        let reference = names.read(&words.astring()?);
        words.space()?;
        let mut patterns = match words.peek() {
            Some(b'(') if !is_lsub => words.list(Words::pattern)?,
            Some(_) | None => vec![words.pattern()?],
        };
        listing.asks_delimiter = patterns.len() == 1 && patterns[0].is_empty() && !is_lsub;
        patterns.retain(|pattern| !pattern.is_empty());
        let pattern =
            |pattern: &std::borrow::Cow<'_, [u8]>| format!("{reference}{}", names.read(pattern));
        listing.patterns = patterns.iter().map(pattern).collect();
        if listing.patterns.iter().map(String::len).sum::<usize>() > LONGEST_PATTERNS {
            return Err("the patterns are too long");
        }
        if !is_lsub && words.peek() == Some(b' ') {
            words.space()?;
            if !words.eat_word("RETURN") {
                return Err("RETURN is missing");
            }
            words.space()?;
            words.list(|words| {
                match words.keyword()?.as_str() {
                    "SUBSCRIBED" => listing.tells_subscribed = true,
                    // They are told anyway.
                    "CHILDREN" | "SPECIAL-USE" => {}
                    "STATUS" => {
                        words.space()?;
                        listing.status = Some(words.list(StatusItem::parse)?);
                    }
                    _ => return Err("there is no such option of RETURN"),
                }
                Ok(())
            })?;
        }
        words.end()?;
        Ok(listing)
    }

    /// Tells what was asked for.
    pub(super) fn tell(
        &self,
        store: &mut dyn Store,
        most_octets: u64,
        names: Names,
        out: &mut Out,
    ) -> Result<()> {
        if self.asks_delimiter {
            out.text("* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Ok(());
        }
        let tree = Tree::of(store.folders()?);
        for (name, node) in &tree.0 {
            if !self.patterns.iter().any(|pattern| matches_name(pattern, name)) {
                continue;
            }
            let is_subscribed = node.listed.as_ref().is_some_and(|listed| listed.subscribed);
            let special = special_use(name);
            // One that is not there is for those who ask what they have subscribed to.
            let is_there =
                node.has_children || node.listed.as_ref().is_some_and(|listed| listed.selectable);
            let chosen = (if self.only_subscribed { is_subscribed } else { is_there })
                && (!self.only_special || special.is_some());
            // LSUB's `%` stops above what is subscribed (RFC 3501 §6.3.9).
            let below = node.subscribed_below
                && self.only_subscribed
                && (self.recursive
                    || self.is_lsub && self.patterns.iter().any(|p| p.ends_with('%')));
            if !chosen && !below {
                continue;
            }
            self.line(name, node, chosen, below, names, out);
            if let Some(items) = &self.status
                && node.listed.as_ref().is_some_and(|listed| listed.selectable)
                // It may be gone by now, and is not told then (RFC 5819 §2).
                && let Ok(status) = store.status(name)
            {
                tell_status(name, &status, items, most_octets, names, out);
            }
        }
        Ok(())
    }

    fn line(
        &self,
        name: &str,
        node: &Node,
        chosen: bool,
        below: bool,
        names: Names,
        out: &mut Out,
    ) {
        let mut attributes = Vec::new();
        let selectable = node.listed.as_ref().is_some_and(|listed| listed.selectable);
        if self.is_lsub {
            // It says that the name is not subscribed to, and nothing else (RFC 3501 §6.3.9).
            if !chosen {
                attributes.push("\\Noselect");
            }
        } else {
            if self.tells_subscribed && node.listed.as_ref().is_some_and(|l| l.subscribed) {
                attributes.push("\\Subscribed");
            }
            if !selectable {
                attributes.extend(["\\NonExistent", "\\Noselect"]);
            }
            attributes.push(if node.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
            attributes.extend(special_use(name));
        }
        let verb = if self.is_lsub { "LSUB" } else { "LIST" };
        out.text(&format!("* {verb} ({}) \"/\" ", attributes.join(" ")));
        names.write(name, out);
        if below && self.recursive {
            out.text(" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
        }
        out.text("\r\n");
    }
}

/// What a folder of this name is for (RFC 6154).
pub(super) fn special_use(name: &str) -> Option<&'static str> {
    let uses = [
        ("Drafts", "\\Drafts"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
        ("Junk", "\\Junk"),
        ("Archive", "\\Archive"),
    ];
    uses.iter().find(|(other, _)| *other == name).map(|(_, special)| *special)
}

#[derive(Debug, Default)]
struct Node {
    /// `None` if it is only there for those below it.
    listed: Option<Listed>,
    has_children: bool,
    subscribed_below: bool,
}

/// Folders by their names, with those above them.
struct Tree(BTreeMap<String, Node>);

impl Tree {
    fn of(folders: Vec<Listed>) -> Self {
        let mut tree: BTreeMap<String, Node> = BTreeMap::new();
        for folder in folders {
            let subscribed = folder.subscribed;
            for (at, _) in folder.name.match_indices('/') {
                let above = tree.entry(folder.name[..at].to_owned()).or_default();
                // Somebody may have subscribed to what is not there.
                above.has_children |= folder.selectable;
                above.subscribed_below |= subscribed;
            }
            let name = folder.name.clone();
            tree.entry(name).or_default().listed = Some(folder);
        }
        Self(tree)
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    if is_inbox(name) {
        // INBOX is the same in any case.
        return matches(pattern.to_ascii_uppercase().as_bytes(), INBOX.as_bytes());
    }
    matches(pattern.as_bytes(), name.as_bytes())
}

/// `*` is anything, `%` anything within a level. The time is the product of the lengths, whatever
/// the pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Which prefixes of the name the pattern up to here can be.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for &wanted in pattern {
        match wanted {
            b'*' | b'%' => {
                for at in 0..name.len() {
                    reached[at + 1] |= reached[at] && (wanted == b'*' || name[at] != b'/');
                }
            }
            byte => {
                for at in (0..name.len()).rev() {
                    reached[at + 1] = reached[at] && name[at] == byte;
                }
                reached[0] = false;
            }
        }
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_cross_levels_and_percents_do_not() {
        for (pattern, name, is_match) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("%/%", "a/b", true),
            ("a*c", "a/b/c", true),
            ("a%c", "abc", true),
            ("inb%", "INBOX", true),
            ("INBOX", "INBOX", true),
            ("A", "a", false),
            ("", "a", false),
            ("a", "ab", false),
            ("*b", "ab", true),
        ] {
            assert_eq!(matches_name(pattern, name), is_match, "{pattern} {name}");
        }
    }

    /// A pattern that takes a matcher with backtracking for ever.
    #[test]
    fn many_stars_take_no_longer_than_others() {
        let pattern = "*a%".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
