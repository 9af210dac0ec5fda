//! What DTLS records tell without any key (RFC 6347 §4.1, RFC 9147 §4).
//!
//! `dimpl` decides; this only listens, for what it does not say: which suite and group were
//! agreed on, and the certificates behind the server's own. Nothing here is authenticated, and
//! none of it needs to be: a chain proves itself by its signatures, the rest is shown to people.

use std::collections::BTreeMap;

/// Length of a record's header.
const HEADER: usize = 13;

/// Length of the header of a handshake message, or of a piece of one.
const PIECE: usize = 12;

/// The largest Certificate message that is kept; more than any real chain needs.
const CHAIN_LIMIT: usize = 64 * 1024;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// Can this datagram be DTLS? Anything else is noise, and is best dropped before it is looked at.
pub(super) fn looks_like_dtls(datagram: &[u8]) -> bool {
    match datagram {
        [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 0xFE, 0xFD | 0xFF, ..] => datagram.len() >= HEADER,
        // The unified header of DTLS 1.3 (RFC 9147 §4).
        [first, ..] => first >> 5 == 1,
        [] => false,
    }
}

/// Does this datagram begin as the first one of a caller does: with a piece of a ClientHello?
pub fn is_client_hello(datagram: &[u8]) -> bool {
    pieces(datagram).next().is_some_and(|piece| piece.kind == CLIENT_HELLO)
}

/// A fatal alert (RFC 5246 §7.2) for a peer that has no keys yet.
pub(super) fn alert(description: u8) -> [u8; HEADER + 2] {
    // The sequence number is far ahead of what the handshake has used: no replay to the peer.
    [ALERT, 0xFE, 0xFD, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 2, description]
}

/// What a handshake has shown so far to anyone who listens.
#[derive(Default)]
pub(super) struct Overheard {
    /// IANA number of the cipher suite that the server chose.
    pub(super) suite: Option<u16>,
    /// IANA number of its key exchange group.
    pub(super) group: Option<u16>,
    /// Pieces of the Certificate message, by their offset.
    certificates: BTreeMap<usize, Vec<u8>>,
}

impl Overheard {
    /// Listens to a datagram that the server sent.
    pub(super) fn listen(&mut self, datagram: &[u8]) {
        for piece in pieces(datagram) {
            match (piece.kind, piece.offset) {
                (SERVER_HELLO, 0) => self.server_hello(piece.body),
                // An ECDHE key begins with: named curve (3), the group (RFC 8422 §5.4).
                (SERVER_KEY_EXCHANGE, 0) => {
                    if let [3, high, low, ..] = *piece.body {
                        self.group = Some(u16::from_be_bytes([high, low]));
                    }
                }
                (CERTIFICATE, offset) => self.certificate(offset, piece.body),
                _ => {}
            }
        }
    }

    fn server_hello(&mut self, body: &[u8]) {
        // Version, random and session come before the suite (RFC 5246 §7.4.1.3).
        let Some((start, rest)) = body.split_at_checked(34) else { return };
        if start[2..] == RETRY {
            return;
        }
        let Some((_, rest)) = sized(rest, 1) else { return };
        let Some((suite, rest)) = number(rest, 2) else { return };
        self.suite = u16::try_from(suite).ok();
        // Behind it the compression method, then extensions: DTLS 1.3 has its group there.
        let Some((mut extensions, _)) = rest.get(1..).and_then(|rest| sized(rest, 2)) else {
            return;
        };
        while let Some((kind, rest)) = number(extensions, 2) {
            let Some((data, rest)) = sized(rest, 2) else { return };
            extensions = rest;
            if let (51, [high, low, ..]) = (kind, data) {
                self.group = Some(u16::from_be_bytes([*high, *low]));
            }
        }
    }

    fn certificate(&mut self, offset: usize, piece: &[u8]) {
        let held: usize = self.certificates.values().map(Vec::len).sum();
        let known = self.certificates.get(&offset).map_or(0, Vec::len);
        if piece.len() > known && held + piece.len() <= CHAIN_LIMIT {
            self.certificates.insert(offset, piece.to_vec());
        }
    }

    /// The server's certificates, its own first; empty under DTLS 1.3, which hides them.
    /// They are kept no longer.
    pub(super) fn take_chain(&mut self) -> Vec<Vec<u8>> {
        let mut message = Vec::new();
        for (offset, piece) in std::mem::take(&mut self.certificates) {
            // Pieces may overlap when a retransmission was cut differently.
            let Some(new) = message.len().checked_sub(offset) else { break };
            message.extend_from_slice(piece.get(new..).unwrap_or_default());
        }
        let mut chain = Vec::new();
        let mut list = number(&message, 3).map_or(&[][..], |(_, list)| list);
        while let Some((certificate, rest)) = sized(list, 3) {
            chain.push(certificate.to_vec());
            list = rest;
        }
        chain
    }
}

/// One handshake message, or a piece of one.
struct Piece<'a> {
    kind: u8,
    offset: usize,
    body: &'a [u8],
}

/// The handshake messages of a datagram that are in the clear.
fn pieces(mut datagram: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let records = std::iter::from_fn(move || {
        let (header, rest) = datagram.split_at_checked(HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (fragment, rest) = rest.split_at_checked(length)?;
        datagram = rest;
        Some((header, fragment))
    });
    let clear =
        |(header, _): &(&[u8], &[u8])| matches!(header, [HANDSHAKE, 0xFE, 0xFD | 0xFF, 0, 0, ..]);
    records.filter(clear).flat_map(|(_, mut fragment)| {
        std::iter::from_fn(move || {
            let (header, rest) = fragment.split_at_checked(PIECE)?;
            let (offset, _) = number(&header[6..], 3)?;
            let (length, _) = number(&header[9..], 3)?;
            let (body, rest) = rest.split_at_checked(length)?;
            fragment = rest;
            Some(Piece { kind: header[0], offset, body })
        })
    })
}

/// A big-endian number of `width` bytes, and what follows it.
fn number(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(width)?;
    Some((number.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)), rest))
}

/// Bytes behind their length in `width` bytes, and what follows them.
fn sized(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes, width)?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in the clear with one piece of a handshake message.
    fn record(kind: u8, total: usize, offset: usize, body: &[u8]) -> Vec<u8> {
        let wide = |n: usize| n.to_be_bytes()[5..].to_vec();
        let piece = [&[kind][..], &wide(total), &[0, 0], &wide(offset), &wide(body.len()), body];
        let piece = piece.concat();
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0][..], &length, &piece].concat()
    }

    #[test]
    fn only_dtls_looks_like_dtls() {
        assert!(looks_like_dtls(&record(CLIENT_HELLO, 0, 0, b"")));
        assert!(looks_like_dtls(&alert(40)));
        assert!(looks_like_dtls(&[0x2F, 1, 2]));
        for noise in [&b""[..], b"hello", &[HANDSHAKE, 0xFE, 0xFD], &[22, 3, 1, 0, 0]] {
            assert!(!looks_like_dtls(noise), "{noise:?}");
        }
    }

    #[test]
    fn a_chain_is_put_together_from_pieces_in_any_order() {
        let message = [&[0, 0, 9][..], &[0, 0, 2, 7, 7], &[0, 0, 1, 8]].concat();
        let total = message.len();
        let whole = vec![vec![7, 7], vec![8]];
        for cut in 0..=total {
            let first = record(CERTIFICATE, total, 0, &message[..cut]);
            let second = record(CERTIFICATE, total, cut, &message[cut..]);
            let overlap = record(CERTIFICATE, total, cut / 2, &message[cut / 2..]);
            for order in [[&first, &second], [&second, &first], [&first, &overlap]] {
                let mut overheard = Overheard::default();
                order.iter().for_each(|datagram| overheard.listen(datagram));
                // Twice, as a retransmission would, and both in one datagram.
                overheard.listen(&order.map(Vec::as_slice).concat());
                assert_eq!(overheard.take_chain(), whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_chain_with_a_hole_ends_before_it() {
        let message = [&[0, 0, 9][..], &[0, 0, 2, 7, 7], &[0, 0, 1, 8]].concat();
        let mut overheard = Overheard::default();
        overheard.listen(&record(CERTIFICATE, message.len(), 0, &message[..9]));
        overheard.listen(&record(CERTIFICATE, message.len(), 11, &message[11..]));
        assert_eq!(overheard.take_chain(), [[7, 7]]);
    }

    #[test]
    fn a_flood_of_certificates_is_not_kept() {
        let mut overheard = Overheard::default();
        for offset in 0..100 {
            overheard.listen(&record(CERTIFICATE, 1 << 20, offset * 5000, &[0; 5000]));
        }
        let held: usize = overheard.certificates.values().map(Vec::len).sum();
        assert!(held <= CHAIN_LIMIT, "{held}");
    }

    #[test]
    fn every_prefix_of_every_message_is_survived() {
        let hello = |random: [u8; 32]| {
            let after = [0, 0x13, 1, 0, 0, 6, 0, 51, 0, 2, 0, 29];
            record(SERVER_HELLO, 0, 0, &[&[0xFE, 0xFD], &random[..], &after].concat())
        };
        for (random, seen) in [([7; 32], (Some(0x1301), Some(29))), (RETRY, (None, None))] {
            let hello = hello(random);
            let mut overheard = Overheard::default();
            for end in 0..=hello.len() {
                overheard.listen(&hello[..end]);
                is_client_hello(&hello[..end]);
                looks_like_dtls(&hello[..end]);
            }
            assert_eq!((overheard.suite, overheard.group), seen);
        }
    }
}
