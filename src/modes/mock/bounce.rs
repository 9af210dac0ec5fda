//! `--bounce`: what a mail system sends back when it cannot deliver what it has taken (RFC 3461,
//! 3462, 3464; 6533 where addresses are not ASCII).

use crate::proto::serving::Delivery;

/// What is sent back is the whole message up to here, and its header beyond.
const LONGEST: usize = 1024 * 1024;

/// The report about a message, to its sender; none where nobody is to be told: nobody sent it, or
/// no recipient's failure is to be told (`NOTIFY`).
///
/// `date` is now as a mail has it, `id` is the message's and makes the report's.
pub(super) fn report(delivery: &Delivery, host: &str, id: &str, date: &str) -> Option<Delivery> {
    if delivery.from.is_empty() {
        return None;
    }
    let failed: Vec<_> = delivery.to.iter().filter(|(_, said)| wants_failures(said)).collect();
    if failed.is_empty() {
        return None;
    }
    let names = failed.iter().map(|(address, _)| address).chain([&delivery.from]);
    let global = names.into_iter().any(|name| !name.is_ascii());
    let returned = returned(delivery);
    let mut boundary = format!("{id}/{host}");
    while memchr::memmem::find(&returned.content, boundary.as_bytes()).is_some() {
        boundary.push('-');
    }
    let status = if global { "message/global-delivery-status" } else { "message/delivery-status" };
    let mut head = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: <{}>\r\n\
         Subject: Undelivered mail is returned to its sender\r\nDate: {date}\r\n\
         Message-ID: <{id}.bounce@{host}>\r\nAuto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"{boundary}\"\r\n{}\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n{}\r\n\
         This is the mail system at {host}, a mock that was told to bounce (--bounce).\r\n\r\n\
         Your message was accepted, and could not be delivered to:\r\n\r\n",
        delivery.from,
        eight_bit(global || !returned.content.is_ascii()),
        eight_bit(global),
    );
    for (address, _) in &failed {
        head.push_str(&format!("    <{address}>\r\n"));
    }
    head.push_str(&format!(
        "\r\n--{boundary}\r\nContent-Type: {status}\r\n{}\r\nReporting-MTA: dns; {host}\r\n",
        eight_bit(global)
    ));
    if let Some(id) = value(&delivery.parameters, "ENVID") {
        head.push_str(&format!("Original-Envelope-Id: {id}\r\n"));
    }
    head.push_str(&format!(
        "Received-From-MTA: dns; {}\r\nArrival-Date: {date}\r\n",
        delivery.helo
    ));
    for (address, said) in &failed {
        let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
        head.push_str("\r\n");
        if let Some(original) = value(said, "ORCPT") {
            head.push_str(&format!("Original-Recipient: {original}\r\n"));
        }
        head.push_str(&format!(
            "Final-Recipient: {kind}; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 <{address}> is bounced, on demand\r\n\
             Last-Attempt-Date: {date}\r\n"
        ));
    }
    head.push_str(&format!(
        "\r\n--{boundary}\r\nContent-Type: {}\r\n{}\r\n",
        returned.media,
        eight_bit(!returned.content.is_ascii())
    ));
    let end: &[u8] = if returned.content.ends_with(b"\r\n") { b"" } else { b"\r\n" };
    let tail = format!("\r\n--{boundary}--\r\n");
    Some(Delivery {
        helo: host.to_owned(),
        with: "local",
        from: String::new(),
        to: vec![(delivery.from.clone(), Vec::new())],
        content: [head.as_bytes(), &returned.content, end, tail.as_bytes()].concat(),
        ..Delivery::default()
    })
}

fn eight_bit(is: bool) -> &'static str {
    if is { "Content-Transfer-Encoding: 8bit\r\n" } else { "" }
}

/// What comes with a report.
struct Returned {
    media: &'static str,
    content: Vec<u8>,
}

/// The message, or its header if that was asked for, or if it is long.
fn returned(delivery: &Delivery) -> Returned {
    let content = &delivery.content;
    let header = memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 2);
    let asked = value(&delivery.parameters, "RET");
    let header_alone =
        asked.is_some_and(|ret| ret.eq_ignore_ascii_case("HDRS")) || content.len() > LONGEST;
    let global = !content[..header].is_ascii();
    let (media, content) = match (header_alone, global) {
        (true, false) => ("text/rfc822-headers", &content[..header]),
        (true, true) => ("message/global-headers", &content[..header]),
        (false, false) => ("message/rfc822", &content[..]),
        (false, true) => ("message/global", &content[..]),
    };
    Returned { media, content: content.to_vec() }
}

/// A recipient's failure is told unless NOTIFY says otherwise (RFC 3461 §4.1).
fn wants_failures(parameters: &[String]) -> bool {
    value(parameters, "NOTIFY")
        .is_none_or(|notify| notify.split(',').any(|one| one.eq_ignore_ascii_case("FAILURE")))
}

fn value<'a>(parameters: &'a [String], name: &str) -> Option<&'a str> {
    let pairs = parameters.iter().filter_map(|one| one.split_once('='));
    pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};

    fn delivery(content: &[u8]) -> Delivery {
        Delivery {
            helo: "client.test".into(),
            from: "ann@a".into(),
            parameters: vec!["RET=FULL".into(), "ENVID=QQ314".into()],
            to: vec![
                ("bob@b".into(), vec!["ORCPT=rfc822;Bob@b".into()]),
                ("eve@e".into(), vec!["NOTIFY=NEVER".into()]),
                ("joe@j".into(), vec!["notify=delay,failure".into()]),
            ],
            content: content.to_vec(),
            ..Delivery::default()
        }
    }

    fn parts(report: &Delivery) -> Vec<(String, Vec<u8>)> {
        let message = MessageParser::default().parse(&report.content).unwrap();
        let media = |part: &mail_parser::MessagePart<'_>| {
            let media = part.content_type().unwrap();
            format!("{}/{}", media.c_type, media.subtype().unwrap_or_default())
        };
        message.parts.iter().map(|part| (media(part), part.contents().to_vec())).collect()
    }

    #[test]
    fn a_report_has_three_parts_and_goes_to_the_sender() {
        let report =
            report(&delivery(b"Subject: x\r\n\r\nbody"), "mock.test", "ABC", "today").unwrap();
        assert_eq!((report.from.as_str(), report.to), ("", vec![("ann@a".into(), vec![])]));
        let text = String::from_utf8(report.content.clone()).unwrap();
        let report = Delivery { to: Vec::new(), ..report };
        let parts = parts(&report);
        let media: Vec<_> = parts.iter().map(|(media, _)| media.as_str()).collect();
        assert_eq!(
            media,
            ["multipart/report", "text/plain", "message/delivery-status", "message/rfc822"]
        );
        let status = "Reporting-MTA: dns; mock.test\r\nOriginal-Envelope-Id: QQ314\r\n\
            Received-From-MTA: dns; client.test\r\nArrival-Date: today\r\n\r\n\
            Original-Recipient: rfc822;Bob@b\r\nFinal-Recipient: rfc822; bob@b\r\n\
            Action: failed\r\nStatus: 5.1.1\r\n\
            Diagnostic-Code: smtp; 550 5.1.1 <bob@b> is bounced, on demand\r\n\
            Last-Attempt-Date: today\r\n\r\nFinal-Recipient: rfc822; joe@j\r\n";
        assert!(text.contains(status), "{text}");
        assert!(text.contains("Subject: x\r\n\r\nbody\r\n\r\n--ABC/mock.test--\r\n"), "{text}");
        assert!(!text.contains("eve@e") && !text.contains("8bit"), "{text}");
    }

    #[test]
    fn nobody_is_told_of_what_nobody_sent_or_wants_to_hear() {
        let content = b"Subject: x\r\n\r\n";
        let null = Delivery { from: String::new(), ..delivery(content) };
        assert_eq!(report(&null, "m", "A", "today"), None);
        let mut never = delivery(content);
        never.to.retain(|(address, _)| address == "eve@e");
        assert_eq!(report(&never, "m", "A", "today"), None);
        never.to[0].1 = vec!["NOTIFY=SUCCESS".into()];
        assert_eq!(report(&never, "m", "A", "today"), None);
    }

    #[test]
    fn the_header_alone_goes_back_if_that_is_asked_for() {
        let mut asked = delivery("Subject: ü\r\n\r\nsecret --A/m\r\n".as_bytes());
        asked.parameters = vec!["RET=HDRS".into()];
        let text = String::from_utf8(report(&asked, "m", "A", "today").unwrap().content).unwrap();
        assert!(text.contains("message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"));
        assert!(!text.contains("secret"), "{text}");
        asked.parameters.clear();
        asked.to[0].0 = "jürg@b".into();
        let text = String::from_utf8(report(&asked, "m", "A", "today").unwrap().content).unwrap();
        assert!(text.contains("message/global-delivery-status") && text.contains("utf-8; jürg@b"));
        // What is sent back cannot end the report.
        assert!(
            text.ends_with("secret --A/m\r\n\r\n--A/m---\r\n") || text.ends_with("--A/m---\r\n"),
            "{text}"
        );
    }
}
