//! What challenges and credentials are written like (RFC 9110 §11), and Basic (RFC 7617).

use crate::proto::sasl::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A scheme, and what was said with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Scheme {
    /// In lower case.
    pub name: String,
    /// The one word that some schemes have in the place of parameters.
    pub word: Option<Vec<u8>>,
    /// Names in lower case, values without quotes; no name comes twice.
    params: Vec<(String, Vec<u8>)>,
}

impl Scheme {
    /// Reads a list of schemes.
    ///
    /// It ends at the first thing that is not understood; the scheme in which that is does not
    /// count, for half of what it asks is not what it asks.
    pub fn list(value: &[u8]) -> Vec<Self> {
        let mut list: Vec<Self> = Vec::new();
        let mut rest = Rest(value);
        loop {
            rest.skip(b" \t,");
            if rest.0.is_empty() {
                return list;
            }
            if rest.element(&mut list).is_none() {
                list.pop();
                return list;
            }
        }
    }

    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// Does the parameter say this word, in letters of any case?
    pub fn says(&self, name: &str, word: &str) -> bool {
        self.param(name).is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// The values are what a login is made of.
impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.params.iter().map(|(name, _)| name);
        f.debug_list().entry(&self.name).entries(names).finish()
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A parameter of the last scheme, or a new scheme with its word or its first parameter.
    fn element(&mut self, list: &mut Vec<Scheme>) -> Option<()> {
        let mut name = self.name()?;
        if self.0.first() != Some(&b'=') {
            let word = self.word().map(<[u8]>::to_vec);
            let is_complete = word.is_some() || self.is_at_end_of_element();
            list.push(Scheme { name, word, params: Vec::new() });
            if is_complete {
                return Some(());
            }
            name = self.name()?;
        }
        let scheme = list.last_mut()?;
        self.0 = self.0.strip_prefix(b"=")?;
        self.skip(b" \t");
        let value = self.value()?;
        self.skip(b" \t");
        if !self.is_at_end_of_element() || scheme.word.is_some() || scheme.param(&name).is_some() {
            return None;
        }
        scheme.params.push((name, value));
        Some(())
    }

    fn name(&mut self) -> Option<String> {
        let name = String::from_utf8_lossy(self.token()?).to_ascii_lowercase();
        self.skip(b" \t");
        Some(name)
    }

    fn is_at_end_of_element(&self) -> bool {
        matches!(self.0, [] | [b',', ..])
    }

    fn skip(&mut self, signs: &[u8]) {
        let n = self.0.iter().take_while(|b| signs.contains(b)).count();
        self.0 = &self.0[n..];
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let n = self.0.iter().take_while(|b| is_token(**b)).count();
        let (token, rest) = self.0.split_at_checked(n).filter(|_| n > 0)?;
        self.0 = rest;
        Some(token)
    }

    /// A token68, which is one only if nothing but a comma follows.
    fn word(&mut self) -> Option<&'a [u8]> {
        let is_word = |b: &&u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
        let n = self.0.iter().take_while(is_word).count();
        let padding = self.0[n..].iter().take_while(|b| **b == b'=').count();
        let (word, rest) = self.0.split_at(n + padding);
        let mut after = Rest(rest);
        after.skip(b" \t");
        if n == 0 || !after.is_at_end_of_element() {
            return None;
        }
        *self = after;
        Some(word)
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        if self.0.first() != Some(&b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        let mut bytes = self.0[1..].iter();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => value.push(*bytes.next()?),
                byte => value.push(*byte),
            }
        }
        self.0 = bytes.as_slice();
        Some(value)
    }
}

/// May it be in a token (RFC 9110 §5.6.2)?
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Appends `name="value"`, with a backslash where one is needed.
///
/// ncat leaves `"` as it is, so that a realm with one ends early.
pub fn quoted(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// The credentials of Basic.
pub fn basic(login: &Credentials) -> String {
    let pair = [login.user.as_bytes(), login.password.bytes()].join(&b':');
    format!("Basic {}", STANDARD.encode(pair))
}

/// A user name that cannot be sent in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLogin {
    /// It would end the header, or be cut by whoever reads it.
    Control,
    /// What follows the first colon is the password, for Basic and for Digest.
    Colon,
}

impl BadLogin {
    /// Checks a user name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(login: &Credentials) -> Result<(), Self> {
        match login.user.chars().find(|c| c.is_control() || *c == ':') {
            None => Ok(()),
            Some(':') => Err(BadLogin::Colon),
            Some(_) => Err(BadLogin::Control),
        }
    }
}

impl fmt::Display for BadLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadLogin::Control => "the user name has a control character in it",
            BadLogin::Colon => "the user name has a colon in it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::Secret;

    /// `scheme word name=value name=value; scheme`
    fn list(value: &str) -> String {
        let show = |scheme: &Scheme| {
            let mut text = scheme.name.clone();
            if let Some(word) = &scheme.word {
                text += &format!(" {}", word.escape_ascii());
            }
            for (name, value) in &scheme.params {
                text += &format!(" {name}={}", value.escape_ascii());
            }
            text
        };
        Scheme::list(value.as_bytes()).iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lists_of_schemes_are_read() {
        for (value, expected) in [
            ("", ""),
            (" , ,", ""),
            ("Basic", "basic"),
            ("Basic realm=\"a b\"", "basic realm=a b"),
            ("BASIC ReAlM=x", "basic realm=x"),
            ("NTLM, Basic realm=\"x\"", "ntlm; basic realm=x"),
            ("Negotiate ab+/==, NTLM", "negotiate ab+/==; ntlm"),
            ("Negotiate ab+/== ,Digest a=1", "negotiate ab+/==; digest a=1"),
            (
                "Digest a=1, b=\"2,3\",c = \"4\" ,, d=5,Basic e=6",
                r"digest a=1 b=2,3 c=4 d=5; basic e=6",
            ),
            (r#"Digest a="\"q\\\x", b="""#, r#"digest a=\"q\\x b="#),
            ("Digest\ta=1", "digest a=1"),
            ("Basic , Digest a=1", "basic; digest a=1"),
        ] {
            assert_eq!(list(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_list_ends_where_it_is_not_understood() {
        for (value, expected) in [
            ("Basic, Digest a=\"1", "basic"),
            ("Basic, Digest a=1, b=", "basic"),
            ("Basic, Digest a=1 b=2", "basic"),
            ("Basic, Digest a=1, a=2, b=3", "basic"),
            ("Basic, Digest a=\"1\"2", "basic"),
            ("Basic, Digest a=\"1\\", "basic"),
            ("Basic a=1, \"b\"", ""),
            ("Basic; a", ""),
            ("NTLM, Basic Digest a=1", "ntlm"),
            ("a=1, Basic", ""),
            ("Basic abc=, a=1", ""),
        ] {
            assert_eq!(list(value), expected, "{value:?}");
        }
    }

    #[test]
    fn quotes_and_backslashes_are_quoted() {
        let value = br#"r "q\"#;
        let mut out = b"Digest ".to_vec();
        quoted(&mut out, "realm", value);
        assert_eq!(out, br#"Digest realm="r \"q\\""#);
        assert_eq!(Scheme::list(&out)[0].param("realm"), Some(value.as_slice()));
    }

    /// The example of RFC 7617 §2, and the one of §2.1 with its pound sign.
    #[test]
    fn basic_is_as_the_rfc_has_it() {
        let login = |user: &str, password: &str| Credentials {
            user: user.into(),
            password: Secret::new(password),
        };
        let aladdin = login("Aladdin", "open sesame");
        assert_eq!(basic(&aladdin), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic(&login("test", "123\u{a3}")), "Basic dGVzdDoxMjPCow==");
    }

    #[test]
    fn a_user_name_that_would_break_the_header_is_refused() {
        let check = |user: &str| {
            BadLogin::check(&Credentials { user: user.into(), password: Secret::new("a:\r\n") })
        };
        assert_eq!(check("ann \"the\" \\ b\u{fc}cher"), Ok(()));
        for user in ["a\rb", "a\nb", "a\0", "a\tb", "\u{7f}", "\u{85}"] {
            assert_eq!(check(user), Err(BadLogin::Control), "{user:?}");
        }
        assert_eq!(check("a:b"), Err(BadLogin::Colon));
    }
}
