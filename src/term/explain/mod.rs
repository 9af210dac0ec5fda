//! What an SMTP reply means: the table behind `--explain`.
//!
//! RFC 5321 §4.2 (basic codes), 3463 and 5248 (enhanced codes), 2034, 3207, 4954, 7372, 7505.
//! The most precise row wins: words of the text, then a basic with an enhanced code, then the
//! enhanced code, then the basic code after a command, then the basic code, then its digits.

pub mod store;

use Then::{Change, End, Later, Next};

/// Which command the reply answers (what the session last sent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing was sent yet.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH, or an answer to its challenge.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The lone dot.
    EndOfData,
    /// BDAT with its bytes.
    Bdat,
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
    /// Any other command.
    Other,
}

/// Explains a reply in one line: what it means, who must act, what usually comes next.
///
/// The line has at most 130 characters and no full stop. The text is only searched, never
/// echoed. Returns `None` when the code is no SMTP code.
pub fn smtp(
    after: After,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: &str,
) -> Option<String> {
    // RFC 2034 §4: the classes agree. When they do not, clients go by the basic code.
    let enhanced = enhanced.filter(|(class, _, _)| u16::from(*class) == code / 100);
    in_words(code, text)
        .or_else(|| enhanced.and_then(|e| find(PAIRS, |key| *key == (code, e))))
        .or_else(|| enhanced.and_then(in_detail))
        .or_else(|| find(IN_CONTEXT, |(of, codes)| *of == after && codes.contains(&code)))
        .or_else(|| find(BASIC, |key| *key == code))
        .or_else(|| in_general(code, enhanced))
}

/// Reads the enhanced status code at the start of a reply text: "5.7.1 Relay access denied".
///
/// Whether its class agrees with the basic code is not looked at.
pub fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    let word = text.split(char::is_whitespace).next()?;
    let mut parts = word.split('.');
    let class = match parts.next()? {
        "2" => 2,
        "4" => 4,
        "5" => 5,
        _ => return None,
    };
    let (subject, detail) = (number(parts.next()?)?, number(parts.next()?)?);
    // A fourth part makes it an address, not a code.
    parts.next().is_none().then_some((class, subject, detail))
}

/// One to three digits without a leading zero (RFC 3463 §2).
fn number(part: &str) -> Option<u16> {
    let is_digits = part.bytes().all(|b| b.is_ascii_digit());
    let is_short = part.len() <= 3 && (part == "0" || !part.starts_with('0'));
    if is_digits && is_short { part.parse().ok() } else { None }
}

/// What follows a reply.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// What is usually typed now.
    Next(&'static str),
    /// Temporary: what to do later.
    Later(&'static str),
    /// Permanent: what must change, or who can change it.
    Change(&'static str),
    /// Nothing.
    End,
}

type Row<K> = (K, &'static str, Then);
type Words = ((u16, u16), &'static [&'static str]);
type Enhanced = (u8, u16, u16);

fn line(what: &str, then: Then) -> String {
    match then {
        Next(action) => format!("{what}; next: {action}"),
        Later(action) => format!("{what}; temporary: {action}"),
        Change(action) => format!("{what}; permanent: {action}"),
        End => what.to_owned(),
    }
}

fn find<K>(table: &[Row<K>], is_meant: impl Fn(&K) -> bool) -> Option<String> {
    table.iter().find(|row| is_meant(&row.0)).map(|row| line(row.1, row.2))
}

/// What a text says outright beats what its code suggests.
fn in_words(code: u16, text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    find(WORDS, |((first, last), words)| {
        (*first..=*last).contains(&code) && words.iter().any(|word| text.contains(word))
    })
}

/// The row of this enhanced code, or that of the other class with what this class asks for.
fn in_detail((class, subject, detail): Enhanced) -> Option<String> {
    let (other, then) = match class {
        4 => (5, LATER),
        5 => (4, CHANGE),
        _ => return None,
    };
    find(DETAILS, |key| *key == (class, subject, detail)).or_else(|| {
        let row = DETAILS.iter().find(|row| row.0 == (other, subject, detail))?;
        Some(line(row.1, then))
    })
}

/// What the first digit and the subject say about a code that no table knows.
fn in_general(code: u16, enhanced: Option<Enhanced>) -> Option<String> {
    let (verdict, then) = match code {
        200..=299 => ("accepted", End),
        300..=399 => ("the server waits for more", Next("what its text asks for")),
        400..=499 => ("refused for now", LATER),
        500..=599 => ("refused", CHANGE),
        _ => return None,
    };
    let subject = enhanced.and_then(|(_, subject, _)| SUBJECTS.get(usize::from(subject)));
    let about = match subject.or(SECOND_DIGITS.get(usize::from(code / 10 % 10))) {
        Some(&about) if !about.is_empty() => format!(", about {about}"),
        Some(_) | None => String::new(),
    };
    Some(line(&format!("{verdict}{about}"), then))
}

/// RFC 3463 §3, the second number of an enhanced code.
const SUBJECTS: &[&str] = &[
    "",
    "an address",
    "the mailbox of the recipient",
    "the mail system of the server",
    "the network or the route",
    "a command",
    "the content of the message",
    "security or policy",
];

/// RFC 5321 §4.2.1, the second digit of a basic code.
const SECOND_DIGITS: &[&str] =
    &["the syntax", "information asked for", "the connection", "", "", "the mail system"];

const LATER: Then = Later("try again later");
const SOON: Then = Later("send the same again in some minutes, from the same address");
const CHANGE: Then = Change("read the text, then change something");
const SENDER: Then = Change("check the address after MAIL FROM");
const RECIPIENT: Then = Change("check the address after RCPT TO");
const MECHANISM: Then = Change("pick another from the AUTH line of the EHLO reply");
const PASSWORD: Then = Change("check both; some providers want an app password or OAuth");
const ENCRYPT: Then = Change("STARTTLS, then EHLO and AUTH again");
const OWNER: Then = Change("the administrator of that server must act");
const DOMAIN: Then = Change("the administrator of the sender's domain must act");
const BASE64: Then = Change("send it as 7-bit text or base64");
const HELLO: Then = Next("EHLO your.host.name");
const HELLO_AS: Then = Next("EHLO with a full host name, or [192.0.2.1]");
const MAIL: Then = Next("MAIL FROM:<you@example.org>");
const RCPT: Then = Next("RCPT TO:<bob@example.org>");

/// First and last basic code with the words, in lower case. The two in base64 are the
/// challenges "Username:" and "Password:" of AUTH LOGIN.
#[rustfmt::skip] // one row, one line
const WORDS: &[Row<Words>] = &[
    (((334, 334), &["vxnlcm5hbwu6"]), "the server asks for the user name", Next("the name in base64")),
    (((334, 334), &["ugfzc3dvcmq6"]), "the server asks for the password", Next("the password in base64")),
    (((400, 499), &["greylist", "graylist"]), "greylisting: who comes back is let in", SOON),
    (((530, 530), &["starttls"]), "the server wants TLS first", Next("STARTTLS, then EHLO again")),
    (((530, 530), &["auth", "log in", "login"]), "the server wants a login first", Next("AUTH")),
    (((534, 534), &["application-specific"]), "the account needs an app password",
        Change("make one on the provider's pages and log in with it")),
    (((550, 554), &["relay access denied", "relaying denied", "relay denied", "unable to relay", "relay not permitted"]),
        "the server carries no mail to that domain for strangers", Change("log in, or ask an MX of that domain")),
    (((550, 554), &["blocked using", "block list", "blocklist", "blacklist", "spamhaus"]),
        "a block list says no", Change("the text tells which; ask there, or send through your provider")),
];

/// Enhanced codes that mean something of their own with one basic code.
#[rustfmt::skip] // one row, one line
const PAIRS: &[Row<(u16, Enhanced)>] = &[
    ((421, (4, 7, 0)), "the server closes: too many connections, too fast, or policy", LATER),
    ((451, (4, 7, 1)), "held back by policy, or a DNS look-up failed there", LATER),
    ((500, (5, 5, 2)), "not understood: a syntax error, or the line is too long", Change("check the command")),
    ((550, (5, 5, 0)), "refused without detail", Change("look at the text and at the server's log")),
    ((552, (5, 7, 0)), "blocked for security or policy", CHANGE),
    ((554, (5, 0, 0)), "refused without detail", Change("look at the text and at the server's log")),
];

/// Enhanced codes that say more than the basic code (RFC 3463 §3, IANA registry of RFC 5248).
/// A row answers for the other class too, unless that has its own.
#[rustfmt::skip] // one row, one line
const DETAILS: &[Row<Enhanced>] = &[
    ((5, 1, 1), "no such user at that domain", RECIPIENT),
    ((5, 1, 2), "the domain of the recipient does not exist or takes no mail", RECIPIENT),
    ((5, 1, 3), "the syntax of the recipient address is wrong", Change("write RCPT TO:<bob@example.org>")),
    ((5, 1, 4), "the address fits several mailboxes", RECIPIENT),
    ((5, 1, 6), "the mailbox has moved and left no new address", Change("ask the recipient for it")),
    ((5, 1, 7), "the syntax of the sender address is wrong", Change("write MAIL FROM:<you@example.org>")),
    ((5, 1, 8), "the domain of the sender does not exist or takes no mail", SENDER),
    ((5, 1, 10), "the domain of the recipient says that it takes no mail (null MX)", RECIPIENT),
    ((4, 2, 0), "the mailbox is not available now, perhaps greylisting", SOON),
    ((5, 2, 1), "the mailbox is disabled or takes no mail", Change("only its owner or administrator can open it")),
    ((4, 2, 2), "the mailbox is full", Later("the recipient must make room; try again later")),
    ((5, 2, 2), "the mailbox is full", Change("the recipient must make room")),
    ((5, 2, 3), "the message is too big for this mailbox", Change("send less, or a link")),
    ((5, 2, 4), "the mailing list could not be expanded", OWNER),
    ((4, 3, 0), "the server has a problem of its own", LATER),
    ((5, 3, 1), "the mail system of the server is full", OWNER),
    ((4, 3, 2), "the server is shutting down or takes no mail now", LATER),
    ((5, 3, 2), "the server takes no mail", Change("use another server, or ask its administrator")),
    ((5, 3, 4), "the message is too big for this server", Change("send less; EHLO tells the SIZE allowed")),
    ((5, 3, 5), "the server is not set up correctly", OWNER),
    ((5, 4, 1), "no answer from the next host, or (Microsoft) no such recipient", RECIPIENT),
    ((4, 4, 2), "the connection timed out or broke", LATER),
    ((4, 4, 3), "a directory or DNS server did not answer", LATER),
    ((5, 4, 4), "no route to the domain: no usable MX or address", RECIPIENT),
    ((4, 4, 5), "the server has too much to do", LATER),
    ((5, 4, 6), "the message goes round in a loop", OWNER),
    ((5, 4, 7), "the message waited too long and was given up", Change("send it again once the cause is gone")),
    ((4, 5, 3), "too many recipients", Later("send to the rest in another transaction")),
    ((5, 5, 6), "the line of the login is too long", Change("use another mechanism")),
    ((5, 6, 0), "the server does not like the content", Change("check header, MIME and line lengths")),
    ((5, 6, 1), "the server does not take this type of content", Change("send it as another type")),
    ((5, 6, 2), "the content needs a conversion that is forbidden", BASE64),
    ((5, 6, 3), "the content needs a conversion that the server cannot do", BASE64),
    ((5, 6, 7), "an address is not ASCII", Change("add SMTPUTF8 to MAIL FROM if offered, or write it in ASCII")),
    ((5, 6, 9), "the header is not ASCII and cannot go on like that", Change("write it in ASCII")),
    ((4, 7, 1), "held back by policy, often greylisting", SOON),
    ((5, 7, 1), "not allowed: relaying, or a policy", Change("read the text; log in, or ask the server's postmaster")),
    ((5, 7, 2), "you may not send to this mailing list", Change("ask the owner of the list")),
    ((5, 7, 4), "a security feature that was asked for is not supported", Change("do without, or use another server")),
    ((5, 7, 8), "wrong user name or password", PASSWORD),
    ((5, 7, 9), "this way to log in is too weak for the server", MECHANISM),
    ((5, 7, 10), "the server wants encryption first", ENCRYPT),
    ((5, 7, 11), "this way to log in needs encryption", ENCRYPT),
    ((4, 7, 12), "the server must learn the password for this mechanism", Later("log in once with PLAIN under TLS")),
    ((5, 7, 13), "the account is disabled", OWNER),
    ((5, 7, 14), "the login needs a trust that is missing", Change("read the text; it may want a login in the browser")),
    ((5, 7, 20), "no DKIM signature passed", DOMAIN),
    ((5, 7, 21), "no DKIM signature is one that the server accepts", DOMAIN),
    ((5, 7, 22), "no DKIM signature is by the domain in From", DOMAIN),
    ((5, 7, 23), "SPF failed: your address may not send for that domain", Change("send through the domain's server")),
    ((5, 7, 24), "SPF could not be evaluated: the record or its DNS is broken", DOMAIN),
    ((5, 7, 25), "your address has no matching reverse DNS", Change("set the PTR, or send through your provider")),
    ((5, 7, 26), "several checks failed (SPF, DKIM, DMARC)", Change("send through the server of the From domain")),
    ((5, 7, 27), "the domain of the sender says that it takes no mail (null MX)", SENDER),
    ((5, 7, 28), "too much mail from one source", Change("send less, and slower")),
    ((5, 7, 30), "the server cannot keep the promise of REQUIRETLS", Change("send without it, or elsewhere")),
];

/// Basic codes that mean something of their own after a command.
#[rustfmt::skip] // one row, one line
const IN_CONTEXT: &[Row<(After, &[u16])>] = &[
    ((After::Greeting, &[554]), "no mail service here, or not for your address", Change("QUIT; use another server")),
    ((After::Hello, &[250]), "the server greets you and lists what it can do",
        Next("MAIL FROM:<you@example.org>, or STARTTLS if the server offers it")),
    ((After::Hello, &[500, 502]), "the server does not know EHLO", Next("HELO your.host.name")),
    ((After::Hello, &[501, 504]), "the server does not like the name after EHLO", HELLO_AS),
    ((After::Hello, &[550]), "the server refuses the name, your address, or EHLO", Change("try HELO, or another name")),
    ((After::StartTls, &[220]), "the server is ready for TLS", Next("the TLS handshake, then EHLO again")),
    ((After::StartTls, &[454]), "the server cannot do TLS now", LATER),
    ((After::StartTls, &[500, 502]), "the server does not do STARTTLS here", Next("go on without TLS, or QUIT")),
    ((After::StartTls, &[501]), "the server wants no argument here", Next("STARTTLS alone on its line")),
    ((After::StartTls, &[503]), "not now: EHLO must come first, or TLS is on already", HELLO),
    ((After::Auth, &[454]), "the login service does not answer now", LATER),
    ((After::Auth, &[500, 502]), "the server does not do AUTH here", Change("look at EHLO; it may come after STARTTLS")),
    ((After::Auth, &[501]), "the answer was not base64, or * gave up", Next("AUTH again")),
    ((After::Auth, &[503]), "not now: no EHLO yet, or logged in already, or in a message", Next("EHLO, or MAIL FROM")),
    ((After::Auth, &[504]), "the server does not do this mechanism", MECHANISM),
    ((After::Mail, &[250]), "the sender is accepted", RCPT),
    ((After::Mail, &[501]), "the syntax of the sender address is wrong", MAIL),
    ((After::Mail, &[503]), "out of order: no EHLO yet, or a sender was given", Next("EHLO, or RSET to start over")),
    ((After::Mail, &[550, 553]), "the server refuses this sender", Change("check the address; log in if it is yours")),
    ((After::Mail, &[552]), "the size announced is over the limit", Change("send less; EHLO tells the SIZE allowed")),
    ((After::Rcpt, &[250]), "the recipient is accepted", Next("another RCPT TO, or DATA")),
    ((After::Rcpt, &[452]), "too many recipients, or no room", Later("send to the rest in another transaction")),
    ((After::Rcpt, &[501]), "the syntax of the recipient address is wrong", RCPT),
    ((After::Rcpt, &[503]), "out of order: no sender is accepted yet", MAIL),
    ((After::Rcpt, &[550]), "no such mailbox, or the server takes no mail for it", RECIPIENT),
    ((After::Rcpt, &[552]), "the mailbox is full, or too many recipients", Change("send to fewer; the owner must make room")),
    ((After::Data, &[503, 554]), "no recipient is accepted yet, or a policy", Next("MAIL FROM, RCPT TO, then DATA")),
    ((After::EndOfData, &[250]), "the server has taken responsibility for the message", Next("another MAIL FROM, or QUIT")),
    ((After::EndOfData, &[550, 554]), "the server refuses the message after reading it", CHANGE),
    ((After::Bdat, &[250]), "the piece is accepted, after LAST the message", Next("the next BDAT, or MAIL FROM, or QUIT")),
    ((After::Bdat, &[503]), "no recipient is accepted yet, or LAST was sent", Next("RSET to start over")),
    ((After::Rset, &[250]), "sender, recipients and message are forgotten", Next("another MAIL FROM, or QUIT")),
    ((After::Noop, &[250]), "the server is still there", End),
    ((After::Vrfy, &[250]), "the address exists", End),
    ((After::Vrfy, &[502]), "the server does not tell who exists", Next("RCPT TO, whose reply is what counts")),
    ((After::Vrfy, &[553]), "the name fits several users", Change("ask for the whole address")),
];

/// RFC 5321 §4.2.3, 3207, 4954, 7504.
#[rustfmt::skip] // one row, one line
const BASIC: &[Row<u16>] = &[
    (211, "system status or help", End),
    (214, "help for people", End),
    (220, "the server is ready", HELLO),
    (221, "the server says goodbye and closes", End),
    (235, "you are logged in", MAIL),
    (250, "done", End),
    (251, "not a user here, but the server will forward", Next("another RCPT TO, or DATA")),
    (252, "the server cannot tell whether the user exists, but takes the mail", Next("RCPT TO, or DATA")),
    (334, "the server waits for an answer", Next("the answer in base64, or * to give up")),
    (354, "go ahead", Next("type the headers, an empty line, the text, then a line with a single dot")),
    (421, "the server closes the connection: busy, stopping, or policy", LATER),
    (432, "the server must learn the password for this mechanism", Later("log in once with PLAIN under TLS")),
    (450, "not available now: the mailbox is busy, or a policy", Later("send the same again in some minutes")),
    (451, "the server has a problem of its own", LATER),
    (452, "the server has no room, or too many recipients", Later("try again later, or send to fewer")),
    (454, "the server cannot do that now: TLS, login or policy", LATER),
    (455, "the server cannot honour a parameter now", Later("try again later, or without it")),
    (500, "the server does not know the command, or the line is too long", Change("check the spelling")),
    (501, "an argument of the command is wrong", Change("check what follows the command")),
    (502, "the server does not do this command", Change("do without; EHLO lists what it does")),
    (503, "the commands are out of order", Next("EHLO, MAIL FROM, RCPT TO, DATA, in this order")),
    (504, "the server does not do this parameter", Change("leave it out, or pick another")),
    (521, "the server takes no mail", Change("QUIT; use another server")),
    (530, "the server wants TLS or a login first (the text tells which)", Next("STARTTLS or AUTH")),
    (534, "this way to log in is too weak for the server", MECHANISM),
    (535, "wrong user name or password", PASSWORD),
    (538, "this way to log in needs encryption", ENCRYPT),
    (550, "refused: no such mailbox, or a policy", CHANGE),
    (551, "not a user here, and the server will not forward", Change("use the address in the text, if any")),
    (552, "over a limit: the message is too big, or the mailbox full", Change("send less; the owner must make room")),
    (553, "the server does not allow this address", Change("check its spelling; log in if it is yours")),
    (554, "refused: the transaction failed, or a policy", CHANGE),
    (555, "the server does not know a parameter of MAIL or RCPT", Change("leave out what EHLO did not offer")),
    (556, "the domain of the recipient takes no mail", RECIPIENT),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [After; 15] = {
        use After::*;
        [
            Greeting, Hello, StartTls, Auth, Mail, Rcpt, Data, EndOfData, Bdat, Rset, Noop, Vrfy,
            Help, Quit, Other,
        ]
    };

    type Reply = (After, u16, Option<Enhanced>, &'static str);

    /// Each row of the tables: its reply, and the line it must give.
    fn rows() -> Vec<(Reply, String)> {
        let mut all = Vec::new();
        for (((first, last), words), what, then) in WORDS {
            for (code, word) in [first, last].iter().flat_map(|c| words.iter().map(|w| (**c, *w))) {
                all.push(((After::Other, code, None, word), line(what, *then)));
            }
        }
        for ((code, enhanced), what, then) in PAIRS {
            all.push(((After::Other, *code, Some(*enhanced), ""), line(what, *then)));
        }
        for (enhanced, what, then) in DETAILS {
            let code = u16::from(enhanced.0) * 100 + 50;
            all.push(((After::Other, code, Some(*enhanced), ""), line(what, *then)));
        }
        for ((after, codes), what, then) in IN_CONTEXT {
            all.extend(codes.iter().map(|code| ((*after, *code, None, ""), line(what, *then))));
        }
        for (code, what, then) in BASIC {
            all.push(((After::Other, *code, None, ""), line(what, *then)));
        }
        all
    }

    #[test]
    fn each_row_is_reached() {
        for ((after, code, enhanced, text), expected) in rows() {
            let said = smtp(after, code, enhanced, text);
            assert_eq!(said.as_deref(), Some(&*expected), "{after:?} {code} {enhanced:?} {text:?}");
        }
    }

    #[test]
    fn every_line_is_short_plain_and_agrees_with_its_class() {
        let mut lines: Vec<_> = rows().into_iter().map(|(reply, said)| (reply.1, said)).collect();
        for code in 0..1000 {
            for enhanced in (0..10).map(|subject| Some((5, subject, 999))).chain([None]) {
                let said = ALL.iter().map(|after| smtp(*after, code, enhanced, "any text"));
                lines.extend(said.flatten().map(|said| (code, said)));
            }
        }
        for ((_, subject, detail), ..) in DETAILS {
            for class in [4_u8, 5] {
                let code = u16::from(class) * 100 + 99;
                let said = smtp(After::Other, code, Some((class, *subject, *detail)), "");
                lines.push((code, said.expect("either class has a line")));
            }
        }
        for (code, said) in lines {
            assert!((200..600).contains(&code) && said.chars().count() <= 130, "{code} {said}");
            assert!(!said.ends_with('.') && !said.contains('\n'), "{code} {said}");
            let first = said.split(' ').next().unwrap_or_default();
            let is_name = first.bytes().all(|b| b.is_ascii_uppercase());
            assert!(is_name || first.starts_with(|c: char| c.is_lowercase()), "{code} {said}");
            assert!(!said.contains("; temporary: ") || code / 100 == 4, "{code} {said}");
            assert!(!said.contains("; permanent: ") || code / 100 == 5, "{code} {said}");
            assert!(said.contains("; temporary: ") || code / 100 != 4, "{code} {said}");
            assert!(said.contains("; ") || code / 100 == 2, "{code} {said}");
        }
    }

    #[test]
    fn every_basic_code_is_explained_after_every_command() {
        let codes = "211 214 220 221 235 250 251 252 334 354 421 432 450 451 452 454 455 500 501 \
                     502 503 504 521 530 534 535 538 550 551 552 553 554 555 556";
        for code in codes.split(' ').map(|code| code.parse().expect("a number")) {
            assert!(BASIC.iter().any(|row| row.0 == code), "{code}");
            for after in ALL {
                assert!(smtp(after, code, None, "").is_some(), "{after:?} {code}");
            }
        }
        for code in [0, 99, 100, 199, 600, 999, u16::MAX] {
            assert_eq!(smtp(After::Other, code, None, "hello"), None);
        }
    }

    /// A command with its reply, and below it the line that explains it.
    const TRANSCRIPT: &str = "\
Rcpt 450 4.2.0 Greylisted, see http://x
greylisting: who comes back is let in; temporary: send the same again in some minutes, from the same address
Rcpt 554 5.7.1 <b@c>: Relay access denied
the server carries no mail to that domain for strangers; permanent: log in, or ask an MX of that domain
Mail 530 5.7.0 Must issue a STARTTLS command first
the server wants TLS first; next: STARTTLS, then EHLO again
Mail 530 5.7.0 Authentication required
the server wants a login first; next: AUTH
Mail 503 5.5.1 send EHLO first
out of order: no EHLO yet, or a sender was given; next: EHLO, or RSET to start over
Mail 450 4.1.8 Domain not found
the domain of the sender does not exist or takes no mail; temporary: try again later
Rcpt 550 4.1.8 the classes differ
no such mailbox, or the server takes no mail for it; permanent: check the address after RCPT TO
EndOfData 250 2.0.0 queued, no greylist, no relay denied
the server has taken responsibility for the message; next: another MAIL FROM, or QUIT
Other 571 5.7.99 no
refused, about security or policy; permanent: read the text, then change something
Other 425 4.99.1 no
refused for now, about the connection; temporary: try again later
Other 590 no
refused; permanent: read the text, then change something";

    #[test]
    fn the_most_precise_row_wins() {
        let lines: Vec<_> = TRANSCRIPT.lines().collect();
        for pair in lines.chunks(2) {
            let [after, code, text] = *pair[0].splitn(3, ' ').collect::<Vec<_>>() else { panic!() };
            let after = ALL.iter().find(|it| format!("{it:?}") == after).expect("a command");
            let said = smtp(*after, code.parse().expect("a code"), enhanced(text), text);
            assert_eq!(said.as_deref(), Some(pair[1]), "{}", pair[0]);
        }
    }

    #[test]
    fn an_enhanced_code_is_read_only_at_the_start_and_whole() {
        assert_eq!(enhanced("5.7.1 Relay access denied"), Some((5, 7, 1)));
        assert_eq!(enhanced("2.0.0"), Some((2, 0, 0)));
        assert_eq!(enhanced("4.999.999\r\n"), Some((4, 999, 999)));
        let others = "| |5|5.7|5.7.|5..1|.7.1|a.b.c|1.7.1|3.7.1|6.7.1|5.1000.1|5.7.1000|5.7.1.2|\
                      5.7.1. x|5.7.1, x|5.+7.1|5.-7.1|5.07.1|5.7.00|55.7.1|05.7.1|5 .7.1|x 5.7.1|\
                      5.7.\u{661}|99999999999.1.1";
        for text in others.split('|') {
            assert_eq!(enhanced(text), None, "{text:?}");
        }
    }
}
