//! LIST and LSUB: which folders there are, by pattern (RFC 9051 §6.3.9, RFC 5258, RFC 6154).

use super::super::super::store::{INBOX, Listed};
use super::super::utf7;
use super::structure::string;
use super::words::{Parsed, Words};

/// No name of a folder is longer, so no pattern need be.
const MOST_PATTERN: usize = 1000;
/// Patterns in one command.
const MOST_PATTERNS: usize = 50;

/// What LIST asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Reference and pattern together.
    patterns: Vec<Vec<u8>>,
    /// Only the name of the root is asked for.
    root: bool,
    only_subscribed: bool,
    only_special: bool,
    tell_subscribed: bool,
    /// The items of STATUS that are wanted of each.
    pub(super) status: Option<Vec<String>>,
}

/// Reads the arguments of LIST, or of LSUB (which has no options).
///
/// # Errors
/// They are none.
pub(super) fn parse(words: &mut Words<'_>, lsub: bool) -> Parsed<Wanted> {
    let mut wanted = Wanted { only_subscribed: lsub, ..Wanted::default() };
    if !lsub && words.takes(b'(') {
        while !words.takes(b')') {
            match words.keyword()?.as_str() {
                "SUBSCRIBED" => (wanted.only_subscribed, wanted.tell_subscribed) = (true, true),
                "SPECIAL-USE" => wanted.only_special = true,
                "REMOTE" | "RECURSIVEMATCH" => {}
                _ => return Err("there is no such option of LIST"),
            }
            if !words.next_is(b')') {
                words.space()?;
            }
        }
        words.space()?;
    }
    let reference = words.astring()?;
    words.space()?;
    let pattern = |words: &mut Words<'_>| {
        let pattern = words.pattern()?;
        if reference.len() + pattern.len() > MOST_PATTERN {
            return Err("the pattern is too long");
        }
        Ok([&*reference, &*pattern].concat())
    };
    if !lsub && words.takes(b'(') {
        loop {
            wanted.patterns.push(pattern(words)?);
            if words.takes(b')') {
                break;
            }
            words.space()?;
            if wanted.patterns.len() >= MOST_PATTERNS {
                return Err("there are too many patterns");
            }
        }
    } else {
        wanted.patterns.push(pattern(words)?);
        wanted.root = wanted.patterns[0].len() == reference.len();
    }
    if !lsub && !words.is_over() {
        words.space()?;
        if words.keyword()? != "RETURN" {
            return Err("LIST takes RETURN here");
        }
        words.space()?;
        words.needs(b'(', "a list of options is missing")?;
        while !words.takes(b')') {
            match words.keyword()?.as_str() {
                "SUBSCRIBED" => wanted.tell_subscribed = true,
                "CHILDREN" | "SPECIAL-USE" => {}
                "STATUS" => {
                    words.space()?;
                    wanted.status = Some(parse_status(words)?);
                }
                _ => return Err("there is no such option of LIST"),
            }
            if !words.next_is(b')') {
                words.space()?;
            }
        }
    }
    Ok(wanted)
}

/// Reads the items of STATUS.
///
/// # Errors
/// They are none.
pub(super) fn parse_status(words: &mut Words<'_>) -> Parsed<Vec<String>> {
    words.needs(b'(', "a list of items is missing")?;
    let mut items = Vec::new();
    while !words.takes(b')') {
        let item = words.keyword()?;
        match item.as_str() {
            "MESSAGES" | "RECENT" | "UNSEEN" | "DELETED" | "UIDNEXT" | "UIDVALIDITY" | "SIZE" => {}
            _ => return Err("STATUS knows nothing of this name"),
        }
        if !items.contains(&item) {
            items.push(item);
        }
        if !words.next_is(b')') {
            words.space()?;
        }
    }
    Ok(items)
}

/// Writes the answer; the names of the folders that were told, for STATUS.
pub(super) fn write(
    wanted: &Wanted,
    folders: &[Listed],
    lsub: bool,
    utf8: bool,
    out: &mut Vec<u8>,
) -> Vec<String> {
    let command = if lsub { "LSUB" } else { "LIST" };
    if wanted.root {
        out.extend_from_slice(format!("* {command} (\\Noselect) \"/\" \"\"\r\n").as_bytes());
        return vec![];
    }
    let fits = |name: &str| {
        let encoded = utf7::encode(name);
        let is_inbox = name == INBOX;
        wanted.patterns.iter().any(|pattern| {
            matches(pattern, name.as_bytes(), is_inbox)
                || matches(pattern, encoded.as_bytes(), is_inbox)
        })
    };
    let mut told = Vec::new();
    for folder in folders {
        let name = folder.name.as_str();
        let is_above = |other: &Listed| {
            other.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
        };
        // A folder that is not subscribed stands for those below it that are, where they
        // themselves do not fit (RFC 3501 §6.3.9).
        let stands = lsub
            && !folder.subscribed
            && folders
                .iter()
                .any(|below| is_above(below) && below.subscribed && !fits(&below.name));
        let special = special_use(name).filter(|_| folder.selectable);
        if !fits(name)
            || wanted.only_subscribed && !folder.subscribed && !stands
            || wanted.only_special && special.is_none()
        {
            continue;
        }
        let mut attributes = Vec::new();
        if !folder.selectable || stands {
            attributes.push("\\Noselect");
        }
        if !lsub {
            let has_children = folders.iter().any(is_above);
            attributes.push(if has_children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        if wanted.tell_subscribed && folder.subscribed {
            attributes.push("\\Subscribed");
        }
        attributes.extend(special);
        out.extend_from_slice(format!("* {command} ({}) \"/\" ", attributes.join(" ")).as_bytes());
        write_name(name, utf8, out);
        out.extend_from_slice(b"\r\n");
        if folder.selectable {
            told.push(name.to_owned());
        }
    }
    told
}

/// What a folder is for, by its name (RFC 6154).
fn special_use(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "drafts" => "\\Drafts",
        "sent" | "sent messages" | "sent items" => "\\Sent",
        "junk" | "spam" => "\\Junk",
        "trash" | "deleted messages" | "deleted items" => "\\Trash",
        "archive" | "archives" => "\\Archive",
        _ => return None,
    })
}

/// A folder's name, in UTF-8 for those who asked for it.
pub(super) fn write_name(name: &str, utf8: bool, out: &mut Vec<u8>) {
    if !utf8 {
        return string(utf7::encode(name).as_bytes(), out);
    }
    out.push(b'"');
    for octet in name.bytes() {
        if b"\"\\".contains(&octet) {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out.push(b'"');
}

/// A name as a client writes it.
///
/// # Errors
/// It is none.
pub(super) fn read_name(octets: Vec<u8>, utf8: bool) -> Parsed<String> {
    let text = String::from_utf8(octets).map_err(|_| "the name is no text")?;
    let mut name = if utf8 { text } else { utf7::decode(&text) };
    if name.chars().any(char::is_control) {
        return Err("the name has control characters");
    }
    if name.is_empty() || name.len() > MOST_PATTERN {
        return Err("the name is empty, or too long");
    }
    let is_inbox = |top: &str| top.eq_ignore_ascii_case(INBOX);
    let top = name.split('/').next().unwrap_or_default().len();
    if is_inbox(&name[..top]) {
        name.replace_range(..top, INBOX);
    }
    Ok(name)
}

/// Does a name fit a pattern with `*` (anything) and `%` (anything but `/`)? All the ways in which
/// it may are tried at once, so that stars do not multiply.
fn matches(pattern: &[u8], name: &[u8], any_case: bool) -> bool {
    // Which beginnings of the pattern fit what has been seen of the name.
    let mut fit = vec![false; pattern.len() + 1];
    fit[0] = true;
    let skip_wild = |fit: &mut Vec<bool>| {
        for (n, octet) in pattern.iter().enumerate() {
            if fit[n] && b"*%".contains(octet) {
                fit[n + 1] = true;
            }
        }
    };
    skip_wild(&mut fit);
    for octet in name {
        let mut next = vec![false; pattern.len() + 1];
        for (n, wanted) in pattern.iter().enumerate().filter(|(n, _)| fit[*n]) {
            match wanted {
                b'*' => next[n] = true,
                b'%' => next[n] = next[n] || *octet != b'/',
                _ if wanted == octet || any_case && wanted.eq_ignore_ascii_case(octet) => {
                    next[n + 1] = true;
                }
                _ => {}
            }
        }
        fit = next;
        skip_wild(&mut fit);
    }
    fit[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::super::words::Command;
    use super::*;

    fn listed(arguments: &str, lsub: bool) -> Parsed<String> {
        let folder = |name: &str, selectable, subscribed| Listed {
            name: name.into(),
            selectable,
            subscribed,
        };
        let folders = [
            folder("INBOX", true, true),
            folder("Sent", true, false),
            folder("a", false, false),
            folder("a/b", true, true),
            folder("é\"", true, false),
        ];
        let command = Command::of(arguments);
        let mut words = Words::new(&command);
        let wanted = parse(&mut words, lsub)?;
        words.end()?;
        let mut out = Vec::new();
        write(&wanted, &folders, lsub, false, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn folders_are_listed_by_pattern() {
        let sent = "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\r\n";
        let b = "* LIST (\\HasNoChildren) \"/\" \"a/b\"\r\n";
        for (arguments, told) in [
            ("\"\" \"\"", "* LIST (\\Noselect) \"/\" \"\"\r\n"),
            ("\"\" inbox", "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n"),
            ("\"\" S%", sent),
            ("a/ %", b),
            ("\"\" (a/* \"Sent\")", &format!("{sent}{b}")),
            ("(SPECIAL-USE) \"\" *", sent),
            ("\"\" a RETURN (CHILDREN)", "* LIST (\\Noselect \\HasChildren) \"/\" \"a\"\r\n"),
            ("(SUBSCRIBED) \"\" a/%", "* LIST (\\HasNoChildren \\Subscribed) \"/\" \"a/b\"\r\n"),
            ("\"\" &AOk-*", "* LIST (\\HasNoChildren) \"/\" \"&AOk-\\\"\"\r\n"),
            ("\"\" nothing", ""),
        ] {
            assert_eq!(listed(arguments, false).unwrap(), told, "{arguments}");
        }
        let all = "* LSUB () \"/\" \"INBOX\"\r\n* LSUB (\\Noselect) \"/\" \"a\"\r\n";
        assert_eq!(listed("\"\" %", true).unwrap(), all);
        for arguments in ["", "\"\"", "(X) \"\" *", "\"\" * RETURN (X)", "\"\" (", "\"\" * X"] {
            assert!(listed(arguments, false).is_err(), "{arguments}");
        }
    }

    #[test]
    fn stars_do_not_multiply() {
        let pattern = "*a%".repeat(300);
        assert!(matches(pattern.as_bytes(), "a".repeat(900).as_bytes(), false));
        assert!(!matches(pattern.as_bytes(), "a".repeat(299).as_bytes(), false));
        assert!(!matches(b"%", b"a/b", false) && matches(b"*", b"a/b", false));
    }

    #[test]
    fn names_are_read() {
        let read = |name: &str, utf8| read_name(name.as_bytes().to_vec(), utf8);
        assert_eq!(read("inbox", false).unwrap(), "INBOX");
        assert_eq!(read("inBox/x", false).unwrap(), "INBOX/x");
        assert_eq!(read("&AOk-", false).unwrap(), "é");
        assert_eq!(read("&AOk-", true).unwrap(), "&AOk-");
        assert!(read("", false).is_err() && read("a\0", false).is_err());
        assert!(read_name(vec![0xff], true).is_err());
    }
}
