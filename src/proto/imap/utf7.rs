//! Mailbox names: UTF-7 as IMAP changed it (RFC 3501 §5.1.3).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const MUTF7: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// A name as text; what is no such name stays as it is.
pub fn decode(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((code, behind)) = after.split_once('-') else {
            out.push('&');
            rest = after;
            continue;
        };
        match code {
            "" => out.push('&'),
            code => match utf16(code) {
                Some(text) => out.push_str(&text),
                None => {
                    out.push('&');
                    out.push_str(code);
                    out.push('-');
                }
            },
        }
        rest = behind;
    }
    out + rest
}

fn utf16(code: &str) -> Option<String> {
    let octets = MUTF7.decode(code).ok()?;
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    String::from_utf16(&units.collect::<Vec<_>>()).ok().filter(|_| octets.len().is_multiple_of(2))
}

/// Text as a name.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    let mut beyond: Vec<u8> = Vec::new();
    let flush = |beyond: &mut Vec<u8>, out: &mut String| {
        if !beyond.is_empty() {
            out.push('&');
            out.push_str(&MUTF7.encode(&*beyond));
            out.push('-');
            beyond.clear();
        }
    };
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            flush(&mut beyond, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            beyond.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut beyond, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 3501, and more.
    #[test]
    fn names_become_text_and_back() {
        for (name, text) in [
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("INBOX", "INBOX"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("a&-b", "a&b"),
            ("&2D3eAA-", "😀"),
        ] {
            assert_eq!(decode(name), text);
            assert_eq!(encode(text), name);
        }
        for odd in ["&", "a&b", "&x-", "&!!-", "&2D0-"] {
            assert_eq!(decode(odd), odd);
        }
    }
}
