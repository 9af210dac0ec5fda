//! The upgrades that are packets: PostgreSQL, MySQL and LDAP.

/// PostgreSQL's SSLRequest: a length, and 1234 and 5679.
pub(super) const POSTGRES: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// MySQL's SSLRequest, packet 1: protocol 4.1, TLS, secure authentication; 16 MiB; utf8mb4.
pub(super) const MYSQL: &[u8] = &[
    32, 0, 0, 1, 0x00, 0x8a, 0x00, 0x00, 0, 0, 0, 1, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// An ExtendedRequest, message 1, for StartTLS (RFC 4511 §4.14.1).
pub(super) const LDAP: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// What an answer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More has to come.
    Partial,
    /// TLS may begin behind so many octets.
    GoAhead(usize),
    /// There is no TLS here.
    NotOffered,
    /// No, in these words.
    Refused(Vec<u8>),
    /// It is no such answer; what was expected.
    Other(&'static str),
}

/// One octet: S or N; or an error from before there was TLS.
pub(super) fn postgres(answer: &[u8]) -> Verdict {
    match answer {
        [] => Verdict::Partial,
        [b'S', ..] => Verdict::GoAhead(1),
        [b'N', ..] => Verdict::NotOffered,
        [b'E', rest @ ..] => match rest {
            // A length, then fields; the words are in them, NULs between.
            [a, b, c, d, ..] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                match rest.get(4..length) {
                    Some(fields) => Verdict::Refused(fields.to_vec()),
                    None if rest.len() < length => Verdict::Partial,
                    None => Verdict::Other("an answer to SSLRequest (S or N)"),
                }
            }
            _ => Verdict::Partial,
        },
        _ => Verdict::Other("an answer to SSLRequest (S or N)"),
    }
}

/// The server's greeting: does it offer TLS?
pub(super) fn mysql(greeting: &[u8]) -> Verdict {
    const TLS: u16 = 0x0800;
    const EXPECTED: &str = "a greeting of MySQL's protocol 10";
    let [a, b, c, number, packet @ ..] = greeting else { return Verdict::Partial };
    let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    if *number != 0 || !(1..=4096).contains(&length) {
        return Verdict::Other(EXPECTED);
    }
    let Some(packet) = packet.get(..length) else { return Verdict::Partial };
    match packet[0] {
        // An error: its number, then words.
        0xff => return Verdict::Refused(packet.get(3..).unwrap_or_default().to_vec()),
        10 => {}
        _ => return Verdict::Other(EXPECTED),
    }
    let Some(end) = memchr::memchr(0, &packet[1..]) else { return Verdict::Other(EXPECTED) };
    // Thread, half of a nonce, and a zero come before what the server can.
    match packet.get(1 + end + 1 + 13..) {
        Some([low, high, ..]) if u16::from_le_bytes([*low, *high]) & TLS != 0 => {
            Verdict::GoAhead(4 + length)
        }
        Some([_, _, ..]) => Verdict::NotOffered,
        _ => Verdict::Other(EXPECTED),
    }
}

/// An ExtendedResponse to message 1 with its result code (RFC 4511 §4.12).
pub(super) fn ldap(answer: &[u8]) -> Verdict {
    const EXPECTED: &str = "an LDAP ExtendedResponse";
    let (message, whole) = match element(answer, 0x30) {
        Part::Whole(inside, length) => (inside, length),
        Part::Partial => return Verdict::Partial,
        Part::Other => return Verdict::Other(EXPECTED),
    };
    let Part::Whole(_, id) = element(message, 0x02) else { return Verdict::Other(EXPECTED) };
    let Part::Whole(response, _) = element(&message[id..], 0x78) else {
        return Verdict::Other(EXPECTED);
    };
    let Part::Whole(code, behind) = element(response, 0x0a) else {
        return Verdict::Other(EXPECTED);
    };
    if code == [0] {
        return Verdict::GoAhead(whole);
    }
    // matchedDN, then the words.
    let rest = &response[behind..];
    let words = match element(rest, 0x04) {
        Part::Whole(_, n) => element(&rest[n..], 0x04),
        Part::Partial | Part::Other => Part::Other,
    };
    let words = if let Part::Whole(words, _) = words { words } else { &[] };
    let code = code.first().copied().unwrap_or(0);
    Verdict::Refused([format!("result {code} ").as_bytes(), words].concat())
}

enum Part<'a> {
    /// Its content, and how long it is with its head.
    Whole(&'a [u8], usize),
    Partial,
    Other,
}

/// The BER element of this tag at the start.
fn element(bytes: &[u8], tag: u8) -> Part<'_> {
    let (length, head): (usize, usize) = match bytes {
        [] | [_] if bytes.first().is_none_or(|first| *first == tag) => return Part::Partial,
        [first, ..] if *first != tag => return Part::Other,
        [_, short @ 0..=0x7f, ..] => (usize::from(*short), 2),
        [_, 0x81, length, ..] => (usize::from(*length), 3),
        [_, 0x82, a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        [_, 0x84, a, b, c, d, ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, 6),
        [_, 0x81 | 0x82 | 0x84, ..] => return Part::Partial,
        _ => return Part::Other,
    };
    match bytes.get(head..head.saturating_add(length)) {
        Some(content) => Part::Whole(content, head + length),
        None => Part::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix of an answer is partial, and what stands behind it is not looked at.
    fn judge(answer: &[u8], verdict: impl Fn(&[u8]) -> Verdict) -> Verdict {
        let whole = verdict(answer);
        for n in 0..answer.len() {
            assert_eq!(verdict(&answer[..n]), Verdict::Partial, "{n} of {}", answer.len());
        }
        if let Verdict::GoAhead(n) = whole {
            assert_eq!(n, answer.len());
            assert_eq!(verdict(&[answer, b"more"].concat()), whole);
        }
        whole
    }

    #[test]
    fn postgres_says_one_letter() {
        assert_eq!(judge(b"S", postgres), Verdict::GoAhead(1));
        assert_eq!(judge(b"N", postgres), Verdict::NotOffered);
        let error = b"E\0\0\0\x0cSFATAL\0\0";
        assert_eq!(judge(error, postgres), Verdict::Refused(b"SFATAL\0\0".to_vec()));
        assert!(matches!(postgres(b"220 hi"), Verdict::Other(_)));
        assert!(matches!(postgres(b"E\0\0\0\0"), Verdict::Other(_)));
    }

    fn greeting(capabilities: u16) -> Vec<u8> {
        let mut packet = b"\x0a8.0.36\0\x01\0\0\x0012345678\0".to_vec();
        packet.extend(capabilities.to_le_bytes());
        packet.extend(b"\x2d\x02\0\0\0");
        let length = u8::try_from(packet.len()).unwrap();
        [&[length, 0, 0, 0], packet.as_slice()].concat()
    }

    #[test]
    fn mysql_greets_with_what_it_can() {
        let offered = greeting(0x0800);
        assert_eq!(judge(&offered, mysql), Verdict::GoAhead(offered.len()));
        assert_eq!(judge(&greeting(0xf7ff), mysql), Verdict::NotOffered);
        let error = b"\x0b\0\0\0\xff\x15\x04too many";
        assert_eq!(judge(error, mysql), Verdict::Refused(b"too many".to_vec()));
        for bad in [
            &b"220 hello\r\n"[..],
            &[1, 0, 0, 0, 9],
            &[2, 0, 0, 0, 10, b'x'],
            &[3, 0, 0, 0, 10, b'x', 0],
        ] {
            assert!(matches!(mysql(bad), Verdict::Other(_)), "{bad:?}");
        }
        assert_eq!(MYSQL.len(), 4 + 32);
    }

    #[test]
    fn ldap_answers_with_a_code() {
        assert_eq!(LDAP.len(), usize::from(LDAP[1]) + 2);
        let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
        assert_eq!(judge(yes, ldap), Verdict::GoAhead(yes.len()));
        let long = b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0";
        assert_eq!(judge(long, ldap), Verdict::GoAhead(long.len()));
        let no = b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x02\x04\0\x04\x02no";
        assert_eq!(judge(no, ldap), Verdict::Refused(b"result 2 no".to_vec()));
        for bad in
            [&b"220 hi"[..], b"\x30\x80\0\0", b"\x30\x03\x02\x01\x01", b"\x30\x03\x04\x01\x01"]
        {
            assert!(matches!(ldap(bad), Verdict::Other(_)), "{bad:?}");
        }
    }
}
