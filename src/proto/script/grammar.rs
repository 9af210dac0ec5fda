//! Scripts, one step a line.

use super::{Piece, Script, Step, What};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::HashMap;

/// What a pattern may grow to when it is compiled.
const PATTERN: usize = 1024 * 1024;

const ALLOWED: &str =
    "send, expect, sleep, timeout, starttls, close, rst, label, goto, repeat or end";

/// Steps of a script that is being read.
#[derive(Debug, Default)]
pub struct Builder {
    steps: Vec<Step>,
    labels: HashMap<String, usize>,
    /// Steps that jump to a label that may come later: the step, the label, where it stands.
    jumps: Vec<(usize, String, String)>,
    /// Loops that are open: the step that enters, and where it stands.
    open: Vec<(usize, String)>,
    loops: usize,
}

/// Reads a whole script; `name` is what complaints call it.
///
/// # Errors
/// The line that cannot be understood, and what may stand there.
pub fn parse(text: &str, name: &str) -> Result<Script, String> {
    let mut builder = Builder::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let place = format!("{name}, line {number}");
            builder.line(line, &format!("line {number}"), &place)?;
        }
    }
    builder.finish()
}

impl Builder {
    /// One more step as it stands in a file; `place` is where, for complaints.
    ///
    /// # Errors
    /// Why it cannot be understood.
    fn line(&mut self, line: &str, number: &str, place: &str) -> Result<(), String> {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let text = format!("{number}: {line}");
        let bad = |wanted: &str| format!("{place}: \"{line}\": {wanted}");
        let what = match word {
            "send" => {
                let (pieces, rest) = quoted(rest).map_err(|why| bad(&why))?;
                nothing_behind(rest).map_err(|why| bad(&why))?;
                What::Send(pieces)
            }
            "expect" => {
                let (source, rest) = slashed(rest)
                    .ok_or_else(|| bad("expect takes a pattern between slashes: expect /RE/"))?;
                nothing_behind(rest).map_err(|why| bad(&why))?;
                What::Expect(pattern(&source).map_err(|why| bad(&why))?)
            }
            "sleep" | "timeout" => {
                let time = time(rest).ok_or_else(|| {
                    bad(&format!("{word} takes a time with its unit: {word} 200ms, 5s, 1m"))
                })?;
                if word == "sleep" { What::Sleep(time) } else { What::Timeout(time) }
            }
            "starttls" | "close" | "rst" | "end" => {
                nothing_behind(rest).map_err(|why| bad(&why))?;
                match word {
                    "starttls" => What::StartTls,
                    "close" => What::Close,
                    "rst" => What::Reset,
                    _ => {
                        let (start, _) =
                            self.open.pop().ok_or_else(|| bad("there is no repeat to end here"))?;
                        let here = self.steps.len();
                        let What::Enter { slot, end, .. } = &mut self.steps[start].what else {
                            return Err(bad("there is no repeat to end here"));
                        };
                        *end = here + 1;
                        What::Again { slot: *slot, start: start + 1 }
                    }
                }
            }
            "label" | "goto" => {
                let label = rest.split(char::is_whitespace).next().unwrap_or_default();
                if label.is_empty() || label != rest {
                    return Err(bad(&format!("{word} takes one name")));
                }
                if word == "label" {
                    return match self.labels.insert(label.to_owned(), self.steps.len()) {
                        None => Ok(()),
                        Some(_) => Err(bad("there is such a label already")),
                    };
                }
                self.jumps.push((
                    self.steps.len(),
                    label.to_owned(),
                    bad("there is no such label"),
                ));
                What::Jump(0)
            }
            "repeat" => {
                let times = rest.parse().map_err(|_| bad("repeat takes a number of times"))?;
                self.open.push((self.steps.len(), bad("it has no end")));
                self.loops += 1;
                What::Enter { slot: self.loops - 1, times, end: 0 }
            }
            _ => return Err(bad(&format!("{word} is no step: there is {ALLOWED}"))),
        };
        self.steps.push(Step { what, text });
        Ok(())
    }

    /// Something that has to come, as an option has it.
    ///
    /// # Errors
    /// Why the pattern cannot be understood.
    pub fn expect(&mut self, source: &str) -> Result<(), String> {
        let what = What::Expect(pattern(source)?);
        self.steps.push(Step { what, text: format!("--expect '{source}'") });
        Ok(())
    }

    /// Something to send, as an option has it.
    ///
    /// # Errors
    /// The escape that is none.
    pub fn send(&mut self, text: &str) -> Result<(), String> {
        let (pieces, _) = pieces(text, None)?;
        self.steps.push(Step { what: What::Send(pieces), text: format!("--send '{text}'") });
        Ok(())
    }

    /// The script.
    ///
    /// # Errors
    /// A jump that leads nowhere, a loop without an end.
    pub fn finish(mut self) -> Result<Script, String> {
        if let Some((_, why)) = self.open.pop() {
            return Err(why);
        }
        for (at, label, why) in std::mem::take(&mut self.jumps) {
            self.steps[at].what = What::Jump(*self.labels.get(&label).ok_or(why)?);
        }
        Ok(Script { steps: self.steps.into(), loops: self.loops })
    }
}

/// What a person may write as a pattern: `^` and `$` are at lines, and everything is bytes.
///
/// # Errors
/// Why it is none.
pub fn pattern(source: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(source)
        .unicode(false)
        .multi_line(true)
        .crlf(true)
        .size_limit(PATTERN)
        .build();
    built.map_err(|e| {
        let why = e.to_string();
        format!("no regular expression: {}", why.lines().last().unwrap_or(&why).trim())
    })
}

/// `/RE/`, in which `\/` is a slash, and what is behind it.
fn slashed(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('/')?;
    let mut source = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '/' => return Some((source, &inner[at + 1..])),
            '\\' => match chars.next()?.1 {
                '/' => source.push('/'),
                other => source.extend(['\\', other]),
            },
            c => source.push(c),
        }
    }
    None
}

fn quoted(text: &str) -> Result<(Vec<Piece>, &str), String> {
    let inner = text.strip_prefix('"').ok_or("send takes a text in quotes: send \"hi\\r\\n\"")?;
    pieces(inner, Some('"'))
}

/// Bytes and groups up to `end`, and what is behind that.
fn pieces(text: &str, end: Option<char>) -> Result<(Vec<Piece>, &str), String> {
    let (mut all, mut bytes) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let Some(c) = rest.chars().next() else {
            if end.is_some() {
                return Err("the text has no quote at its end".to_owned());
            }
            break;
        };
        rest = &rest[c.len_utf8()..];
        match c {
            c if Some(c) == end => break,
            '\\' => rest = escape(rest, &mut bytes)?,
            '$' if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                all.push(Piece::Bytes(std::mem::take(&mut bytes)));
                all.push(Piece::Group(usize::from(rest.as_bytes()[0] - b'0')));
                rest = &rest[1..];
            }
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    all.push(Piece::Bytes(bytes));
    Ok((all, rest))
}

/// What follows a backslash; gives back what is behind it.
fn escape<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    const KNOWN: &str = "there is \\r \\n \\t \\0 \\xNN \\\\ \\\" and \\$";
    let Some(c) = rest.chars().next() else {
        return Err(format!("nothing follows the backslash at the end: {KNOWN}"));
    };
    bytes.push(match c {
        'r' => b'\r',
        'n' => b'\n',
        't' => b'\t',
        '0' => 0,
        '\\' | '"' | '$' => c as u8,
        'x' => {
            let digits = rest.get(1..3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or("\\x takes two hexadecimal digits")?);
            return Ok(&rest[3..]);
        }
        other => return Err(format!("\\{other} is no escape: {KNOWN}")),
    });
    Ok(&rest[1..])
}

fn nothing_behind(rest: &str) -> Result<(), String> {
    match rest.trim() {
        "" => Ok(()),
        comment if comment.starts_with('#') => Ok(()),
        other => Err(format!("nothing but a comment may follow, not {other}")),
    }
}

/// Milliseconds.
fn time(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().ok()?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // Later than any day that matters would overflow the clock.
    let time = number.checked_mul(unit).filter(|&time| time < 1 << 40)?;
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_understood() {
        let script = parse(
            "# a comment\nlabel top\n send \"a\\x41$1\\$2\\\"\\\\\\0\\r\\n\" # one more\n\
             expect /^a\\/b (\\S+)/\nsleep 200ms\ntimeout 5s\nrepeat 3\ngoto top\nend\nstarttls\n\
             close\nrst\n",
            "s",
        )
        .unwrap();
        assert!(script.upgrades());
        let What::Send(pieces) = &script.steps[0].what else { panic!("{script:?}") };
        let bytes = |b: &[u8]| Piece::Bytes(b.to_vec());
        assert_eq!(*pieces, [bytes(b"aA"), Piece::Group(1), bytes(b"$2\"\\\0\r\n")]);
        let What::Expect(regex) = &script.steps[1].what else { panic!("{script:?}") };
        assert!(regex.is_match(b"x\na/b \xff"));
        assert_eq!(script.steps[1].text, "line 4: expect /^a\\/b (\\S+)/");
        assert!(matches!(script.steps[4].what, What::Enter { slot: 0, times: 3, end: 7 }));
        assert!(matches!(script.steps[6].what, What::Again { slot: 0, start: 5 }));
    }

    #[test]
    fn a_complaint_names_the_line_what_was_typed_and_what_is_allowed() {
        for (text, wanted) in [
            ("\nsay hi", "f, line 2: \"say hi\": say is no step: there is send, expect"),
            ("send hi", "f, line 1: \"send hi\": send takes a text in quotes"),
            ("send \"hi", "no quote at its end"),
            ("send \"\\q\"", "\\q is no escape: there is \\r"),
            ("send \"\\x4\"", "two hexadecimal digits"),
            ("send \"\\x\u{e9}\u{e9}\"", "two hexadecimal digits"),
            ("send \"a\" b", "nothing but a comment may follow, not b"),
            ("expect hi", "between slashes"),
            ("expect /hi", "between slashes"),
            ("expect /(/", "no regular expression"),
            ("expect /(a{999}){999}/", "no regular expression"),
            ("sleep 5", "a time with its unit"),
            ("timeout 99999999999999h", "a time with its unit"),
            ("goto x", "there is no such label"),
            ("label a\nlabel a", "f, line 2: \"label a\": there is such a label already"),
            ("label a b", "label takes one name"),
            ("repeat x", "repeat takes a number"),
            ("repeat 2\nclose", "f, line 1: \"repeat 2\": it has no end"),
            ("end", "there is no repeat to end here"),
            ("close now", "nothing but a comment"),
        ] {
            let why = parse(text, "f").unwrap_err();
            assert!(why.contains(wanted), "{text:?}: {why}");
        }
    }
}
