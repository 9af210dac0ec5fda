//! SMTP (RFC 5321), as far as a helped session needs it.

pub mod send;
pub mod server;
pub mod session;
pub mod stuff;

use super::reply::Reply;

/// What a command line asks for; it decides what its reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// No command: the server speaks first.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954), or an answer to its challenge.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The line with a single dot.
    EndOfData,
    /// BDAT (RFC 3030): how many octets follow.
    Bdat(u64),
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY or EXPN.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

impl Verb {
    /// What a command line, without its line end, asks for.
    pub fn of(line: &[u8]) -> Self {
        let mut words = line.split(|&b| b == b' ' || b == b'\t').filter(|w| !w.is_empty());
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        match first.as_slice() {
            b"EHLO" | b"HELO" | b"LHLO" => Verb::Hello,
            b"STARTTLS" => Verb::StartTls,
            b"AUTH" => Verb::Auth,
            b"MAIL" => Verb::Mail,
            b"RCPT" => Verb::Rcpt,
            b"DATA" => Verb::Data,
            b"BDAT" => {
                let size = words.next().and_then(|w| std::str::from_utf8(w).ok()?.parse().ok());
                // Without a size the server refuses it, and nothing follows.
                size.map_or(Verb::Other, Verb::Bdat)
            }
            b"RSET" => Verb::Rset,
            b"NOOP" => Verb::Noop,
            b"VRFY" | b"EXPN" => Verb::Vrfy,
            b"HELP" => Verb::Help,
            b"QUIT" => Verb::Quit,
            _ => Verb::Other,
        }
    }

    /// The reply to it, for "the server hung up before ...".
    fn awaited(self) -> &'static str {
        match self {
            Verb::Greeting => "its greeting",
            Verb::Hello => "its reply to EHLO",
            Verb::StartTls => "its reply to STARTTLS",
            Verb::Auth => "its reply to AUTH",
            Verb::Mail => "its reply to MAIL",
            Verb::Rcpt => "its reply to RCPT",
            Verb::Data => "its reply to DATA",
            Verb::EndOfData => {
                "its reply to the end of the message: it is unknown whether it took it"
            }
            Verb::Bdat(_) => "its reply to BDAT",
            Verb::Quit => "its reply to QUIT",
            Verb::Rset | Verb::Noop | Verb::Vrfy | Verb::Help | Verb::Other => {
                "its reply to the last command"
            }
        }
    }

    /// May the next command follow at once where PIPELINING is offered (RFC 2920 §3.1)?
    fn may_be_followed(self) -> bool {
        matches!(self, Verb::Mail | Verb::Rcpt | Verb::Rset)
    }
}

/// What the latest EHLO reply offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// STARTTLS.
    pub starttls: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// The mechanisms of AUTH.
    pub auth: Vec<String>,
    /// SIZE (RFC 1870): the longest message in octets, 0 where that is not said.
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// The attributes of XCLIENT (Postfix's).
    pub xclient: Vec<String>,
}

impl Offers {
    /// Reads a reply to EHLO.
    pub fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = String::from_utf8_lossy(line);
            // "AUTH=PLAIN LOGIN" is how some servers spoke before RFC 2554.
            let mut words = line.split([' ', '=']);
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "STARTTLS" => offers.starttls = true,
                "PIPELINING" => offers.pipelining = true,
                "SIZE" => offers.size = Some(words.next().map_or(0, |n| n.parse().unwrap_or(0))),
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "CHUNKING" => offers.chunking = true,
                "DSN" => offers.dsn = true,
                "XCLIENT" => offers.xclient.extend(words.map(str::to_ascii_uppercase)),
                "AUTH" => offers.auth.extend(words.map(str::to_ascii_uppercase)),
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_in_any_case() {
        for (line, verb) in [
            ("ehlo me", Verb::Hello),
            ("MAIL FROM: <a@b>", Verb::Mail),
            ("bdat 12 LAST", Verb::Bdat(12)),
            ("BDAT x", Verb::Other),
            ("  data", Verb::Data),
            ("", Verb::Other),
            ("STARTTLS", Verb::StartTls),
            ("expn list", Verb::Vrfy),
        ] {
            assert_eq!(Verb::of(line.as_bytes()), verb, "{line:?}");
        }
    }

    #[test]
    fn the_first_line_of_a_reply_to_ehlo_offers_nothing() {
        let lines = ["STARTTLS is my name", "SIZE 100", "auth LOGIN PLAIN", "PIPELINING"];
        let reply =
            Reply { code: 250, lines: lines.iter().map(|l| l.as_bytes().to_vec()).collect() };
        let offers = Offers::read(&reply);
        let auth = vec!["LOGIN".to_owned(), "PLAIN".to_owned()];
        let expected = Offers { pipelining: true, auth, size: Some(100), ..Offers::default() };
        assert_eq!(offers, expected);
    }
}
