//! The file in which passwords of hosts are kept, `~/.netrc`, as ftp(1) and curl read it.

/// What it has for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) login: Option<String>,
    pub(super) password: Option<String>,
}

/// The entry for a host, and for a user there if one is asked for: the first that fits, else that
/// of `default`.
///
/// # Errors
/// What cannot be understood, as half a sentence with its line.
pub(super) fn find(text: &str, host: &str, user: Option<&str>) -> Result<Option<Entry>, String> {
    let mut tokens = Tokens { rest: text, line: 1 };
    let mut fallback = None;
    let mut current: Option<(Option<String>, Entry)> = None;
    loop {
        let token = tokens.next()?;
        let ends = matches!(token.as_deref(), None | Some("machine" | "default"));
        if ends && let Some((machine, entry)) = current.take() {
            let fits = match (user, &entry.login) {
                (Some(user), Some(login)) => user == login,
                (_, None) | (None, Some(_)) => true,
            };
            match machine {
                Some(machine) if machine.eq_ignore_ascii_case(host) && fits => {
                    return Ok(Some(entry));
                }
                None if fits => fallback = fallback.or(Some(entry)),
                Some(_) | None => {}
            }
        }
        let Some(token) = token else { return Ok(fallback) };
        let at = tokens.line;
        let value = |tokens: &mut Tokens<'_>| {
            tokens.next()?.ok_or_else(|| format!("line {at}: {token} has no value"))
        };
        match (token.as_str(), &mut current) {
            ("machine", _) => {
                let entry = Entry { login: None, password: None };
                current = Some((Some(value(&mut tokens)?), entry));
            }
            ("default", _) => current = Some((None, Entry { login: None, password: None })),
            ("login", Some((_, entry))) => entry.login = Some(value(&mut tokens)?),
            ("password", Some((_, entry))) => entry.password = Some(value(&mut tokens)?),
            ("account", Some(_)) => drop(value(&mut tokens)?),
            // Up to an empty line.
            ("macdef", _) => tokens.skip_macro(),
            (other, _) => {
                return Err(format!(
                    "line {at}: {other:?} is none of machine, default, login, password, account, \
                     macdef"
                ));
            }
        }
    }
}

/// Words, with quotes and backslashes.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            let trimmed = self.rest.trim_start();
            self.line += self.rest[..self.rest.len() - trimmed.len()].matches('\n').count();
            self.rest = trimmed;
            if !trimmed.starts_with('#') {
                break;
            }
            self.rest = &trimmed[trimmed.find('\n').unwrap_or(trimmed.len())..];
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (mut token, mut quoted, mut escaped) = (String::new(), false, false);
        let mut end = self.rest.len();
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => {
                    escaped = false;
                    token.push(c);
                }
                '\\' => escaped = true,
                '"' if at == 0 => quoted = true,
                '"' if quoted => {
                    quoted = false;
                    end = at + 1;
                    break;
                }
                '\n' if quoted => return Err(format!("line {}: a quote has no end", self.line)),
                c if c.is_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                c => token.push(c),
            }
        }
        if quoted {
            return Err(format!("line {}: a quote has no end", self.line));
        }
        self.rest = &self.rest[end..];
        Ok(Some(token))
    }

    fn skip_macro(&mut self) {
        let end = self.rest.find("\n\n").map_or(self.rest.len(), |at| at + 1);
        self.line += self.rest[..end].matches('\n').count();
        self.rest = &self.rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# passwords\nmachine mail.example login ann password \"a b\\\"c\"\n\
        machine MAIL.example\n\tlogin bob\n\tpassword b\\ c#d\nmacdef init\nmachine no login x\n\n\
        machine other account x password only\ndefault login anonymous password me@\n";

    fn found(host: &str, user: Option<&str>) -> Option<(Option<String>, Option<String>)> {
        find(FILE, host, user).unwrap().map(|entry| (entry.login, entry.password))
    }

    fn entry(login: Option<&str>, password: &str) -> Option<(Option<String>, Option<String>)> {
        Some((login.map(str::to_owned), Some(password.to_owned())))
    }

    #[test]
    fn the_first_entry_that_fits_is_taken() {
        assert_eq!(found("mail.example", None), entry(Some("ann"), "a b\"c"));
        assert_eq!(found("mail.example", Some("bob")), entry(Some("bob"), "b c#d"));
        assert_eq!(found("other", Some("ann")), entry(None, "only"));
        assert_eq!(found("no", None), entry(Some("anonymous"), "me@"));
        assert_eq!(found("mail.example", Some("eve")), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, why) in [
            ("machine a\nlogin", "line 2: login has no value"),
            ("machine a\n\nsecret x", "line 3: \"secret\" is none of"),
            ("login x", "line 1: \"login\" is none of"),
            ("machine a password \"x\n", "line 1: a quote has no end"),
        ] {
            let error = find(text, "a", None).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
