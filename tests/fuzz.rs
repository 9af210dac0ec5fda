//! The bodies of the fuzz targets (`fuzz/`) on stable Rust: some thousand inputs each, made of what
//! the protocols say, damaged. The same in every run; `NCAT_FUZZ=n` runs n times as many.

#[path = "../fuzz/src/bodies.rs"]
#[allow(dead_code, unreachable_pub)] // it is the fuzzer's, too
mod bodies;

/// Inputs for each body.
const INPUTS: u64 = 1500;

/// What the protocols are made of.
const WORDS: &[&str] = &[
    "220 hi\r\n",
    "250-mail\r\n",
    "250 SIZE 100\r\n",
    "250-STARTTLS\r\n",
    "250-CHUNKING\r\n",
    "250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\r\n",
    "334 \r\n",
    "334 dGVzdA==\r\n",
    "235 ok\r\n",
    "354 go\r\n",
    "421 bye\r\n",
    "550 5.1.1 no\r\n",
    "EHLO x\r\n",
    "LHLO x\r\n",
    "MAIL FROM:<a@b>\r\n",
    "MAIL FROM:<a@b> SIZE=3 BODY=8BITMIME SMTPUTF8\r\n",
    "RCPT TO:<c@d>\r\n",
    "DATA\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "BDAT 3\r\n",
    "BDAT 5 LAST\r\n",
    "abc",
    "RSET\r\n",
    "STARTTLS\r\n",
    "QUIT\r\n",
    "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
    "AUTH LOGIN\r\n",
    "XCLIENT ADDR=1.2.3.4\r\n",
    "+OK hi\r\n",
    "-ERR no\r\n",
    "+ \r\n",
    "SASL PLAIN\r\n",
    "STLS\r\n",
    "1 120\r\n",
    "+OK 2 300\r\n",
    "1 abcdef\r\n",
    "* OK hi\r\n",
    "* PREAUTH hi\r\n",
    "* CAPABILITY IMAP4rev1 STARTTLS IDLE AUTH=PLAIN SASL-IR\r\n",
    "a1 OK\r\n",
    "f1 OK\r\n",
    "f2 OK\r\n",
    "f3 NO [TRYCREATE] x\r\n",
    "ncat1 OK\r\n",
    "* 3 EXISTS\r\n",
    "* SEARCH 1 2 3\r\n",
    "* 1 FETCH (FLAGS (\\Seen) RFC822.SIZE 5 BODY[] {5}\r\nhello)\r\n",
    "* LIST () \"/\" INBOX\r\n",
    "{4294967296}\r\n",
    "((((((",
    "\"",
    "\\",
    "* BYE\r\n",
    "+ idling\r\n",
    "\x05\x01\x00",
    "\x05\x01\x00\x03\x01a\x00\x19",
    "\x04\x01\x00\x19",
    "\x05\x00\x00\x01\x01\x01\x01\x01\x00\x19",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "r=rOprNGfwEbeRWgbNEkqOx,s=QSXCR+Q6sek8bf92,i=4096\n",
    "v=x\n",
    "n,,n=ann,r=abc\n",
    "include:b.test ",
    "redirect=%{d}.x ",
    "exp=%{ir}.y.z ",
    "a:%{s} mx ptr -all\n",
    "v=DMARC1; p=none; ",
    "a LOGIN ann secret\r\n",
    "b SELECT INBOX\r\n",
    "c FETCH 1:* (FLAGS BODY[])\r\n",
    "d UID STORE 1 +FLAGS (\\Deleted x)\r\n",
    "e SEARCH RETURN (SAVE) OR SEEN NOT SUBJECT x\r\n",
    "f APPEND INBOX (\\Seen) {3}\r\n",
    "g APPEND INBOX {3+}\r\n",
    "h EXPUNGE\r\n",
    "i IDLE\r\n",
    "DONE\r\n",
    "j LIST \"\" *\r\n",
    "k COPY 1:* INBOX\r\n",
    "l CREATE a/b\r\n",
    "BODY[1.2.HEADER.FIELDS (A)]<0.5>",
    "USER ann\r\n",
    "PASS secret\r\n",
    "STAT\r\n",
    "RETR 1\r\n",
    "TOP 1 0\r\n",
    "DELE 1\r\n",
    "UIDL\r\n",
    "From a@b Wed Nov 25 17:45:00 2026\n",
    ">From ",
    "ncat-index 1 7 9\n",
    "k word\n",
    "2 3 4 name\n",
    "end\n",
    "+ 9 3 4 name\n",
    "ncat-mbox 1 7\n",
    "m 2 0 5 6 7 00 S x\n",
    "a 0 46\n",
    "x 1,2\n",
    "f 2 - \n",
    "s 5 6 7\n",
    "- 2\n",
    "r cur/a\t.a/cur/a\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "rcpt=450x2@10%,seed=3\n",
    "\u{e9}",
    "\0",
    "\n",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![random.next().to_le_bytes()[0]];
    for _ in 0..random.below(24) {
        if random.below(8) == 0 {
            bytes.extend_from_slice(&random.next().to_le_bytes()[..random.below(8)]);
        } else {
            bytes.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
        }
    }
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.next().to_le_bytes()[0],
            1 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}

#[test]
fn no_machine_falls_over_what_a_stranger_says() {
    let times = std::env::var("NCAT_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    std::thread::scope(|scope| {
        for &(name, body) in bodies::ALL {
            scope.spawn(move || {
                for seed in 0..INPUTS * times {
                    let bytes = input(&mut Random(seed));
                    let fine = std::panic::catch_unwind(|| body(&bytes)).is_ok();
                    assert!(fine, "{name}, seed {seed}: {}", bytes.escape_ascii());
                }
            });
        }
    });
}

#[test]
fn every_body_has_a_target() {
    let manifest = std::fs::read_to_string("fuzz/Cargo.toml").unwrap();
    for (name, _) in bodies::ALL {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
        let target = std::fs::read_to_string(format!("fuzz/fuzz_targets/{name}.rs")).unwrap();
        assert!(target.contains(&format!("run(\"{name}\"")), "{target}");
    }
}
