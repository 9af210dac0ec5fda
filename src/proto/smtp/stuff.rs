//! A message on its way out: line ends made CR LF, and dots doubled for DATA (RFC 5321 §4.5.2).

/// Encodes a message that is not typed: nothing in it is its end.
#[derive(Debug)]
pub struct Stuffer {
    /// Dots that begin a line are doubled: for DATA, not for BDAT.
    dots: bool,
    /// Line ends stay as they are.
    raw: bool,
    at_start: bool,
    after_cr: bool,
    /// A CR without LF, or in the middle of a line, was made a line end.
    bent: bool,
}

impl Stuffer {
    /// At the start of a message.
    pub fn new(dots: bool, raw: bool) -> Self {
        Self { dots, raw, at_start: true, after_cr: false, bent: false }
    }

    /// Was a CR without an LF made a line end?
    pub fn has_bent(&self) -> bool {
        self.bent
    }

    /// Appends the next piece.
    pub fn encode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if self.after_cr && !self.raw {
                self.after_cr = false;
                out.extend_from_slice(b"\r\n");
                self.at_start = true;
                if first == b'\n' {
                    rest = &rest[1..];
                } else {
                    self.bent = true;
                }
                continue;
            }
            if self.at_start && first == b'.' && self.dots {
                out.push(b'.');
            }
            self.at_start = false;
            let end = match self.raw {
                true => memchr::memchr(b'\n', rest),
                false => memchr::memchr2(b'\r', b'\n', rest),
            };
            let Some(end) = end else {
                out.extend_from_slice(rest);
                self.after_cr = rest.ends_with(b"\r");
                return;
            };
            let has_cr = if end > 0 { rest[end - 1] == b'\r' } else { self.after_cr };
            out.extend_from_slice(&rest[..end]);
            match rest[end] {
                b'\r' => self.after_cr = true,
                _ => {
                    out.extend_from_slice(if self.raw { b"\n" } else { b"\r\n" });
                    // Only what ends in CR LF is a line to the server.
                    self.at_start = !self.raw || has_cr;
                    self.after_cr = false;
                }
            }
            rest = &rest[end + 1..];
        }
    }

    /// The message has ended: its last line gets its end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.at_start || self.after_cr {
            out.extend_from_slice(b"\r\n");
            self.at_start = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(dots: bool, raw: bool, text: &[u8], chunk: usize) -> (String, bool) {
        let (mut stuffer, mut out) = (Stuffer::new(dots, raw), Vec::new());
        for piece in text.chunks(chunk) {
            stuffer.encode(piece, &mut out);
        }
        stuffer.finish(&mut out);
        (out.escape_ascii().to_string(), stuffer.has_bent())
    }

    #[test]
    fn lines_and_dots_come_out_right_however_they_are_cut() {
        for (dots, raw, text, expected, bent) in [
            (true, false, &b"a\n.b\r\n..\n.\nc"[..], &b"a\r\n..b\r\n...\r\n..\r\nc\r\n"[..], false),
            (false, false, b"a\n.b\r\n.\n", b"a\r\n.b\r\n.\r\n", false),
            (true, false, b"a\rb\r\r\nc\r", b"a\r\nb\r\n\r\nc\r\n", true),
            (true, false, b".", b"..\r\n", false),
            (true, false, b"", b"", false),
            (true, false, b"\n\n", b"\r\n\r\n", false),
            (true, true, b"a\rb\n.c\r\n.d\r\n", b"a\rb\n.c\r\n..d\r\n", false),
            (true, true, b"a\n.\n", b"a\n.\n\r\n", false),
        ] {
            for chunk in 1..=text.len().max(1) {
                let (out, has_bent) = encode(dots, raw, text, chunk);
                assert_eq!(out, expected.escape_ascii().to_string(), "{chunk}");
                assert_eq!(has_bent, bent, "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn nothing_in_a_message_is_its_end() {
        // A lone dot between every kind of line end that a server may believe in.
        for end in ["\n", "\r\n", "\r", "\n\r"] {
            let text = format!("x{end}.{end}MAIL FROM:<evil@x>{end}");
            for chunk in 1..text.len() {
                let (out, _) = encode(true, false, text.as_bytes(), chunk);
                assert!(!out.contains("\\r\\n.\\r\\n"), "{end:?}: {out}");
                assert!(!out.replace("\\r\\n", "").contains("\\n"), "{end:?}: {out}");
            }
        }
    }
}
