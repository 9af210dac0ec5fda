//! Names of folders: which there can be, and how they lie within each other. Never a path.

use crate::proto::store::{INBOX, Listed, Refusal, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A folder's name as it is kept: INBOX is one in any case, and no level is empty.
pub(super) fn canonical(name: &str) -> Result<String> {
    if name.eq_ignore_ascii_case(INBOX) {
        return Ok(INBOX.to_owned());
    }
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.split('/').any(str::is_empty) {
        return Err(Refusal::BadName("a level of it is empty"));
    }
    if name.split('/').any(|level| level == "." || level == "..") {
        return Err(Refusal::BadName("it would lead elsewhere"));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::BadName("it has control characters"));
    }
    match name.split_once('/') {
        // Below INBOX it is the same, too.
        Some((first, rest)) if first.eq_ignore_ascii_case(INBOX) => Ok(format!("{INBOX}/{rest}")),
        _ => Ok(name.to_owned()),
    }
}

/// Those above it, the highest first. INBOX needs none of that.
pub(super) fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at]).filter(|above| *above != INBOX)
}

/// The part of `name` behind `top`, if it is that folder or lies below it.
pub(super) fn within<'a>(name: &'a str, top: &str) -> Option<&'a str> {
    name.strip_prefix(top).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Old and new names of all that a renaming touches; INBOX goes alone (RFC 9051 §6.3.6).
pub(super) fn moves<'a>(
    all: impl Iterator<Item = &'a str>,
    from: &str,
    to: &str,
) -> Result<Vec<(String, String)>> {
    let all: BTreeSet<&str> = all.collect();
    let mut moves = Vec::new();
    for name in &all {
        let Some(rest) = within(name, from).filter(|rest| rest.is_empty() || from != INBOX) else {
            continue;
        };
        moves.push(((*name).to_owned(), format!("{to}{rest}")));
    }
    if moves.is_empty() {
        return Err(Refusal::NoSuchFolder);
    }
    // One that is only there for those below it gives way to nobody either.
    if all.iter().any(|name| within(name, to).is_some()) {
        return Err(Refusal::Exists);
    }
    if within(to, from).is_some_and(|rest| !rest.is_empty()) && from != INBOX {
        return Err(Refusal::BadName("it would lie within itself"));
    }
    Ok(moves)
}

/// The list that a person sees: what there is, what must be there for it, and what is subscribed
/// to. INBOX first.
pub(super) fn listed<'a>(
    all: impl Iterator<Item = &'a str>,
    subscribed: &BTreeSet<String>,
) -> Vec<Listed> {
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    for name in all {
        for above in above(name) {
            names.entry(above.to_owned()).or_insert(false);
        }
        names.insert(name.to_owned(), true);
    }
    // Those who read mail again after a folder is gone still want to see it (RFC 3501 §6.3.9).
    for name in subscribed {
        names.entry(name.clone()).or_insert(false);
    }
    let mut list: Vec<_> = names
        .into_iter()
        .map(|(name, selectable)| {
            let subscribed = subscribed.contains(&name);
            Listed { name, selectable, subscribed }
        })
        .collect();
    list.sort_by_key(|listed| listed.name != INBOX);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renaming_takes_those_below_and_inbox_goes_alone() {
        let all = ["INBOX", "INBOX/x", "a", "a/b", "ab"];
        let moves = |from, to| moves(all.into_iter(), from, to);
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(moves("a", "c/d").unwrap(), [pair("a", "c/d"), pair("a/b", "c/d/b")]);
        assert_eq!(moves("INBOX", "INBOX/old").unwrap(), [pair("INBOX", "INBOX/old")]);
        assert_eq!(moves("q", "r"), Err(Refusal::NoSuchFolder));
        assert_eq!(moves("a", "ab"), Err(Refusal::Exists));
        assert!(matches!(moves("a", "a/c"), Err(Refusal::BadName(_))));
    }
}
