//! The content of a message after DATA: lines up to the one with a single dot (RFC 5321 §4.5.2).

/// How lines are treated on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// A dot at the start of a line is doubled, so that no line of a text ends the message. The
    /// line with a single dot still does.
    pub dot_stuff: bool,
    /// A CR without LF passes as it is; otherwise it ends a line.
    pub raw: bool,
}

/// Where in a line we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// A dot at the start is held back until we know whether it is alone.
    Dot,
    /// A dot and a CR.
    DotCr,
    Middle,
    /// A CR is held back until we know whether an LF follows.
    Cr,
}

/// Sends the content, line ends made CR LF, and notices its end.
#[derive(Debug)]
pub struct Content {
    style: Style,
    at: At,
}

impl Content {
    /// At the start of the first line.
    pub fn new(style: Style) -> Self {
        Self { style, at: At::Start }
    }

    /// Encodes `input` into `out`, up to the end of the content if that is in it. Returns how much
    /// was eaten, and whether the content is at its end.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut i = 0;
        while i < input.len() {
            let byte = input[i];
            match (self.at, byte) {
                (At::Start, b'.') => self.at = At::Dot,
                (At::Dot, b'\n') | (At::DotCr, b'\n') => {
                    out.extend_from_slice(b".\r\n");
                    return (i + 1, true);
                }
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, _) if !self.style.raw => {
                    // ".", CR: the CR ended the line.
                    out.extend_from_slice(b".\r\n");
                    return (i, true);
                }
                (At::Dot | At::DotCr, _) => {
                    if self.style.dot_stuff {
                        out.push(b'.');
                    }
                    out.push(b'.');
                    self.at = if self.at == At::Dot { At::Middle } else { At::Cr };
                    continue; // look at this byte again
                }
                (At::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.at = At::Start;
                }
                (At::Cr, _) => {
                    if self.style.raw {
                        out.push(b'\r');
                        self.at = At::Middle;
                    } else {
                        out.extend_from_slice(b"\r\n");
                        self.at = At::Start;
                    }
                    continue;
                }
                (At::Start | At::Middle, b'\r') => self.at = At::Cr,
                (At::Start | At::Middle, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.at = At::Start;
                }
                (At::Start | At::Middle, _) => {
                    let rest = &input[i..];
                    let n = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    out.extend_from_slice(&rest[..n]);
                    self.at = At::Middle;
                    i += n;
                    continue;
                }
            }
            i += 1;
        }
        (i, false)
    }

    /// The input has ended. True if that was behind a last line `.` without a line end, which
    /// counts as the end of the content, and was sent.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let alone = matches!(self.at, At::Dot | At::DotCr);
        if alone {
            out.extend_from_slice(b".\r\n");
        }
        alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(style: Style, input: &[u8], chunk: usize) -> (Vec<u8>, bool, usize) {
        let (mut content, mut out, mut eaten) = (Content::new(style), Vec::new(), 0);
        for piece in input.chunks(chunk) {
            let (n, done) = content.encode(piece, &mut out);
            eaten += n;
            if done {
                return (out, true, eaten);
            }
        }
        let done = content.finish(&mut out);
        (out, done, eaten)
    }

    const PLAIN: Style = Style { dot_stuff: false, raw: false };
    const STUFFED: Style = Style { dot_stuff: true, raw: false };
    const RAW: Style = Style { dot_stuff: false, raw: true };

    #[test]
    fn lines_end_in_crlf_and_a_lone_dot_is_the_end() {
        for (style, input, expected, left) in [
            (PLAIN, &b"a\nb\r\n.\nQUIT\n"[..], &b"a\r\nb\r\n.\r\n"[..], 5),
            (PLAIN, b".\r\nrest", b".\r\n", 4),
            (PLAIN, b"..\n.x\n.\n", b"..\r\n.x\r\n.\r\n", 0),
            (STUFFED, b"..\n.x\na.b\n.\n", b"...\r\n..x\r\na.b\r\n.\r\n", 0),
            (PLAIN, b"a\rb\n.\n", b"a\r\nb\r\n.\r\n", 0),
            (PLAIN, b"a\r\r\n.\n", b"a\r\n\r\n.\r\n", 0),
            (RAW, b"a\rb\n.\n", b"a\rb\r\n.\r\n", 0),
            (RAW, b".\rb\n.\r\n", b".\rb\r\n.\r\n", 0),
            (PLAIN, b"x\n\n\n.\n", b"x\r\n\r\n\r\n.\r\n", 0),
            (PLAIN, b"x\n.", b"x\r\n.\r\n", 0),
        ] {
            for chunk in 1..=input.len() {
                let (out, done, eaten) = encode(style, input, chunk);
                assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
                assert!(done);
                assert_eq!(input.len() - eaten, left, "{}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn without_the_dot_there_is_no_end() {
        for input in [&b""[..], b"a", b"a\n", b"a\n..", b"a.\n"] {
            for chunk in 1..=input.len().max(1) {
                assert!(!encode(PLAIN, input, chunk).1, "{}", input.escape_ascii());
            }
        }
    }
}
