//! The options that make a message.

use super::place::{quoted, usage};
use crate::cli::args::Args;
use crate::error::Error;
use crate::modes::mail::Sending;
use crate::modes::send::{Attachment, Letter, Mailbox};
use crate::proto::smtp::send::{Reports, Stage};

/// The longest address (RFC 5321 §4.5.3.1.3).
const LONGEST: usize = 256;

/// The message that is to be sent, if one is. `user` is who logs in, `host` is us.
///
/// # Errors
/// What is no address, no header field, no stage; what is missing.
pub(super) fn sending(
    args: &Args,
    user: Option<&str>,
    host: &str,
) -> Result<Option<Sending>, Error> {
    let stop = args.quit_after.as_deref().map(stage).transpose()?;
    let needs_nobody = stop.is_some_and(|stop| stop < Stage::Rcpt);
    let (to, cc, bcc) = (
        mailboxes("--to", &args.to)?,
        mailboxes("--cc", &args.cc)?,
        mailboxes("--bcc", &args.bcc)?,
    );
    if to.is_empty() && cc.is_empty() && bcc.is_empty() && !needs_nobody {
        for (given, option) in [
            (args.from.is_some(), "--from"),
            (args.subject.is_some(), "--subject"),
            (!args.header.is_empty(), "--header"),
            (args.body.is_some(), "--body"),
            (args.html.is_some(), "--html"),
            (!args.attach.is_empty(), "--attach"),
            (stop.is_some(), "--quit-after"),
            (args.lmtp, "--lmtp"),
            (args.dsn_notify.is_some(), "--dsn-notify"),
            (args.dsn_ret.is_some(), "--dsn-ret"),
            (args.dsn_envid.is_some(), "--dsn-envid"),
            (args.xclient.is_some(), "--xclient"),
        ] {
            if given {
                return Err(usage(format!("{option} needs somebody to send to"))
                    .hint("--to ADDRESS; without it you type the session yourself"));
            }
        }
        return Ok(None);
    }
    let from = match (args.from.as_deref(), user) {
        (Some("" | "<>"), _) => None,
        (Some(typed), _) => Some(mailbox("--from", typed)?),
        (None, Some(user)) if user.contains('@') => Some(mailbox("--auth", user)?),
        (None, _) if needs_nobody => None,
        (None, _) => {
            return Err(usage("a message needs a sender")
                .hint("--from ADDRESS; --from \"\" is the null sender of reports"));
        }
    };
    Ok(Some(Sending {
        letter: Letter {
            from,
            to,
            cc,
            bcc,
            subject: args.subject.as_deref().map(|s| text("--subject", s)).transpose()?,
            headers: args.header.iter().map(|h| header(h)).collect::<Result<_, _>>()?,
            body: args.body.clone(),
            html: args.html.clone(),
            attachments: args.attach.iter().map(|a| attachment(a)).collect::<Result<_, _>>()?,
            host: host.to_owned(),
        },
        stop: stop.unwrap_or(Stage::Data),
        lmtp: args.lmtp,
        reports: reports(args)?,
        xclient: args.xclient.as_deref().map_or(Ok(Vec::new()), xclient)?,
        left: None,
        written: None,
    }))
}

/// `NAME=mail.example ADDR=192.0.2.1`
fn xclient(typed: &str) -> Result<Vec<(String, String)>, Error> {
    let wrong = || {
        usage(format!(
            "--xclient takes attributes such as \"NAME=mail.example ADDR=192.0.2.1\", not {}",
            quoted(typed)
        ))
    };
    let words = typed.split_whitespace().map(|word| {
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        let name = name.to_ascii_uppercase();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase());
        // Postfix wants to be told that an address is one of IPv6.
        let value = match value.parse::<std::net::Ipv6Addr>() {
            Ok(address) if name == "ADDR" => format!("IPV6:{address}"),
            Ok(_) | Err(_) => value.to_owned(),
        };
        if is_name && !value.is_empty() { Ok((name, value)) } else { Err(wrong()) }
    });
    let all = words.collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(wrong()) } else { Ok(all) }
}

fn stage(typed: &str) -> Result<Stage, Error> {
    Ok(match typed.to_ascii_uppercase().as_str() {
        "CONNECT" | "BANNER" => Stage::Connect,
        "EHLO" | "HELO" | "LHLO" => Stage::Hello,
        "STARTTLS" | "TLS" => Stage::StartTls,
        "AUTH" => Stage::Auth,
        "MAIL" | "FROM" => Stage::Mail,
        "RCPT" | "TO" => Stage::Rcpt,
        "DATA" => Stage::Data,
        _ => {
            return Err(usage(format!(
                "--quit-after is CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT or DATA, not {}",
                quoted(typed)
            )));
        }
    })
}

fn reports(args: &Args) -> Result<Reports, Error> {
    let notify = args.dsn_notify.as_deref().map(str::to_ascii_uppercase);
    let may = |word: &str| matches!(word, "SUCCESS" | "FAILURE" | "DELAY");
    if let Some(words) = notify.as_deref().filter(|words| *words != "NEVER")
        && !words.split(',').all(may)
    {
        return Err(usage(format!(
            "--dsn-notify is never, or some of success,failure,delay, not {}",
            quoted(words)
        )));
    }
    let ret = args.dsn_ret.as_deref().map(str::to_ascii_uppercase);
    if let Some(other) = ret.as_deref().filter(|ret| !matches!(*ret, "FULL" | "HDRS")) {
        return Err(usage(format!("--dsn-ret is full or hdrs, not {}", quoted(other))));
    }
    let envid = args.dsn_envid.as_deref().map(|id| text("--dsn-envid", id)).transpose()?;
    if envid.as_ref().is_some_and(|id| id.is_empty() || id.len() > 100) {
        return Err(usage("--dsn-envid has 1 to 100 characters (RFC 3461)"));
    }
    Ok(Reports { notify, ret, envid })
}

/// Text for one line: what would end it could begin another header field, or another command.
fn text(option: &str, typed: &str) -> Result<String, Error> {
    match typed.chars().any(|c| matches!(c, '\r' | '\n' | '\0')) {
        true => Err(usage(format!("{option} is one line, and {} is not", quoted(typed)))),
        false => Ok(typed.to_owned()),
    }
}

fn header(typed: &str) -> Result<(String, String), Error> {
    let (name, value) = typed
        .split_once(':')
        .ok_or_else(|| usage(format!("--header is NAME: VALUE, not {}", quoted(typed))))?;
    let name = name.trim_end();
    if name.is_empty() || !name.bytes().all(|b| (33..=126).contains(&b)) {
        return Err(usage(format!("{} cannot be the name of a header field", quoted(name))));
    }
    let lower = name.to_ascii_lowercase();
    if lower == "bcc" {
        return Err(usage("--header Bcc would show to all whom it is to hide").hint("--bcc"));
    }
    if lower == "mime-version" || lower.starts_with("content-") {
        return Err(usage(format!(
            "--header {} is about the form of the message, which ncat decides",
            quoted(name)
        ))
        .hint("a whole message on standard input has the form that you give it"));
    }
    Ok((name.to_owned(), text("--header", value.trim())?))
}

/// `FILE`, `FILE;type=image/png`.
fn attachment(typed: &str) -> Result<Attachment, Error> {
    let (file, kind) = match typed.rsplit_once(";type=") {
        Some((file, kind)) if kind.contains('/') => (file, kind),
        _ => (typed, by_name(typed)),
    };
    if !kind.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(usage(format!("--attach: {} is no media type", quoted(kind))));
    }
    Ok(Attachment { file: file.into(), kind: kind.to_owned() })
}

/// The media type of files that people attach.
fn by_name(file: &str) -> &'static str {
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        "vcf" => "text/vcard",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "xml" => "application/xml",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "eml" => "message/rfc822",
        _ => "application/octet-stream",
    }
}

/// Lists with commas, and repeated; a comma inside quotes is none.
fn mailboxes(option: &str, typed: &[String]) -> Result<Vec<Mailbox>, Error> {
    let mut all = Vec::new();
    for list in typed {
        let (mut quote, mut start) = (false, 0);
        for (at, c) in list.char_indices() {
            match c {
                '"' => quote = !quote,
                ',' if !quote => {
                    all.push(mailbox(option, &list[start..at])?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        all.push(mailbox(option, &list[start..])?);
    }
    Ok(all)
}

/// `ann@a.example`, `<ann@a.example>`, `Ann <ann@a.example>`, `"Ann, A." <ann@a.example>`.
fn mailbox(option: &str, typed: &str) -> Result<Mailbox, Error> {
    let no = |why: &str| usage(format!("{option}: {} is no address: {why}", quoted(typed)));
    let trimmed = typed.trim();
    let (name, address) = match trimmed.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", trimmed),
    };
    if address.is_empty() {
        return Err(no("it is empty"));
    }
    // Any of these would end the command, or the address in it.
    let bad = |c: char| c.is_control() || c.is_whitespace() || "<>,;".contains(c);
    if address.chars().any(bad) || typed.chars().any(char::is_control) {
        return Err(no("it has a space or a sign that no address has"));
    }
    if address.len() > LONGEST {
        return Err(no("it has more than 256 bytes"));
    }
    let is_whole = address.rsplit_once('@').is_some_and(|(l, d)| !l.is_empty() && !d.is_empty());
    if !is_whole && !address.eq_ignore_ascii_case("postmaster") {
        return Err(no("it needs something before and behind an @"));
    }
    let name = (!name.is_empty()).then(|| name.to_owned());
    Ok(Mailbox { name, address: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(typed: &str) -> String {
        let all = mailboxes("--to", &[typed.to_owned()]);
        all.map_or_else(
            |e| e.to_string(),
            |all| {
                let one = |m: Mailbox| format!("{}|{}", m.name.unwrap_or_default(), m.address);
                all.into_iter().map(one).collect::<Vec<_>>().join(" ")
            },
        )
    }

    #[test]
    fn mailboxes_are_taken_apart() {
        for (typed, expected) in [
            ("a@b", "|a@b"),
            ("a@b, <c@d>", "|a@b |c@d"),
            ("Ann Äh <a@b>", "Ann Äh|a@b"),
            ("\"Ann, A.\" <a@b>,c@d", "Ann, A.|a@b |c@d"),
            ("postmaster", "|postmaster"),
            ("ü@ö.example", "|ü@ö.example"),
        ] {
            assert_eq!(shown(typed), expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_before_it_could_be_a_command() {
        for typed in [
            "",
            ",a@b",
            "a@b,",
            "a",
            "a@",
            "@b",
            "a b@c",
            "a@b\r\nDATA",
            "a@b>",
            "a<b@c",
            "<>",
            "a@b\0",
            "x\n <a@b>",
        ] {
            assert!(shown(typed).contains("is no address"), "{typed:?}: {}", shown(typed));
        }
        assert!(shown(&format!("{}@b", "a".repeat(256))).contains("256 bytes"));
    }

    #[test]
    fn a_header_field_has_a_name_and_one_line() {
        assert_eq!(header("X-A : b: c "), Ok(("X-A".to_owned(), "b: c".to_owned())));
        for typed in
            ["x", ": y", "X Y: z", "X: a\nBcc: evil", "X\u{e4}: a", "bcc: a", "Content-Type: x"]
        {
            assert!(header(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn the_type_of_a_file_is_told_or_guessed() {
        for (typed, file, kind) in [
            ("a.PDF", "a.PDF", "application/pdf"),
            ("a", "a", "application/octet-stream"),
            ("a;b.txt", "a;b.txt", "text/plain"),
            ("a.bin;type=image/png", "a.bin", "image/png"),
            ("a;type=x", "a;type=x", "application/octet-stream"),
        ] {
            let expected = Attachment { file: file.into(), kind: kind.to_owned() };
            assert_eq!(attachment(typed), Ok(expected), "{typed}");
        }
        // A line end made another field of the header of the part.
        assert!(attachment("a;type=text/plain\r\nX: y").is_err());
    }
}
