//! Two sides, a clock that only the tests move, and a network that loses what it is told to.

#![allow(clippy::disallowed_methods, reason = "the clock needs a beginning")]

use super::super::trust::{self, Findings, Own, Parameters, Trust, Verdict, Verify};
use super::refusal::ONLY_EC;
use super::setup::{PATIENCE, UNPROVEN};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn trusting(verify: Verify) -> Trust {
    Trust { verify, file: None, pins: Vec::new() }
}

fn only(versions: Versions) -> Parameters {
    Parameters {
        only_tls12: versions == Versions::Only12,
        only_tls13: versions == Versions::Only13,
        ..Parameters::default()
    }
}

/// What a network may do to a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Lost,
    Twice,
    /// Comes after the next one.
    Late,
}

/// Two sides, a clock, and a network between them.
struct World {
    client: Dtls,
    server: Dtls,
    configs: (Arc<ClientConfig>, Arc<ServerConfig>),
    findings: Findings,
    own: Own,
    now: Instant,
    fate: Box<dyn FnMut(usize) -> Fate>,
    datagrams: usize,
    late: [Option<Vec<u8>>; 2],
}

impl World {
    fn new(versions: Versions) -> Self {
        Self::with(&trusting(Verify::Tell), &only(versions), &only(versions), "localhost")
    }

    fn with(trust: &Trust, calling: &Parameters, called: &Parameters, name: &str) -> Self {
        let now = Instant::now();
        let (calling, findings) = client(trust, calling).unwrap();
        let (called, own) = server(called, None).unwrap();
        Self {
            client: Dtls::client(&calling, name, now).unwrap(),
            server: Dtls::server(&called, now).unwrap(),
            configs: (calling, called),
            findings,
            own,
            now,
            fate: Box::new(|_| Fate::Passes),
            datagrams: 0,
            late: [None, None],
        }
    }

    /// The same two, who have never met.
    fn again(&mut self) {
        self.client = Dtls::client(&self.configs.0, "localhost", self.now).unwrap();
        self.server = Dtls::server(&self.configs.1, self.now).unwrap();
        self.late = [None, None];
    }

    /// Carries what there is, until there is nothing more.
    fn carry(&mut self) -> Result<(), Failure> {
        loop {
            let mut moved = false;
            for (i, late) in self.late.iter_mut().enumerate() {
                let (from, to) = match i {
                    0 => (&mut self.client, &mut self.server),
                    _ => (&mut self.server, &mut self.client),
                };
                let mut arriving = Vec::new();
                if let Some(datagram) = from.next_out() {
                    match (self.fate)(self.datagrams) {
                        Fate::Passes => arriving.push(datagram.to_vec()),
                        Fate::Lost => {}
                        Fate::Twice => arriving.extend([datagram.to_vec(), datagram.to_vec()]),
                        Fate::Late => *late = Some(datagram.to_vec()),
                    }
                    moved = true;
                    self.datagrams += 1;
                    from.sent();
                }
                if from.next_out().is_none() || !arriving.is_empty() {
                    arriving.extend(late.take());
                }
                for datagram in arriving {
                    moved = true;
                    to.arrived(&datagram, self.now)?;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Lets time pass to the next deadline, and says how much that was.
    fn wait(&mut self) -> Result<Duration, Failure> {
        let deadlines = [self.client.deadline(), self.server.deadline()];
        let next = deadlines.into_iter().flatten().min().expect("somebody waits");
        let passed = next.saturating_duration_since(self.now);
        self.now = self.now.max(next);
        self.client.timeout(self.now)?;
        self.server.timeout(self.now)?;
        Ok(passed)
    }

    /// Until both are through, and the time that took.
    fn shake(&mut self) -> Result<Duration, Failure> {
        let mut passed = Duration::ZERO;
        loop {
            self.carry()?;
            if !self.client.is_handshaking() && !self.server.is_handshaking() {
                return Ok(passed);
            }
            passed += self.wait()?;
        }
    }

    /// Everything that the server has read, and whether it was closed.
    fn read(&mut self) -> (Vec<Vec<u8>>, bool) {
        read(&mut self.server)
    }
}

/// xorshift64: the same numbers in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn read(dtls: &mut Dtls) -> (Vec<Vec<u8>>, bool) {
    let mut buf = Buf::new(LIMIT);
    let mut datagrams = Vec::new();
    loop {
        match dtls.next_in(&mut buf) {
            Some(Arrival::Datagram(n)) => {
                assert_eq!(buf.bytes().len(), n);
                datagrams.push(buf.bytes().to_vec());
                buf.consume(n);
            }
            Some(Arrival::Closed) => return (datagrams, true),
            None => return (datagrams, false),
        }
    }
}

const VERSIONS: [Versions; 2] = [Versions::Only12, Versions::Only13];

#[test]
fn both_sides_agree_and_datagrams_stay_whole() {
    for (versions, name) in VERSIONS.into_iter().zip(["DTLS 1.2", "DTLS 1.3"]) {
        let mut world = World::new(versions);
        assert_eq!(world.client.write(b"early"), Ok(false));
        assert_eq!(world.client.agreed(), None);
        assert!(!world.client.close());
        assert_eq!(world.shake(), Ok(Duration::ZERO));
        let agreed = world.client.agreed().cloned().unwrap();
        assert_eq!(agreed.version, name);
        assert_eq!(agreed.group, "X25519");
        assert_eq!(agreed.chain, [world.own.leaf().to_vec()]);
        let seen = world.server.agreed().cloned().unwrap();
        assert_eq!(seen, Agreed { chain: Vec::new(), ..agreed });
        assert_eq!((world.client.deadline(), world.server.deadline()), (None, None));

        let sent = [&b""[..], b"x", &[7; 1500], &[8; LIMIT], b"", b"end"];
        for payload in sent {
            assert_eq!(world.client.write(payload), Ok(true));
        }
        world.carry().unwrap();
        assert_eq!(world.read(), (sent.map(<[u8]>::to_vec).to_vec(), false));
        assert_eq!(world.server.write(b"back"), Ok(true));
        world.carry().unwrap();
        assert_eq!(read(&mut world.client), (vec![b"back".to_vec()], false));
    }
}

#[test]
fn a_server_of_both_versions_answers_callers_of_either() {
    for (versions, name) in VERSIONS.into_iter().zip(["DTLS 1.2", "DTLS 1.3"]) {
        let trust = trusting(Verify::Skip);
        let mut world = World::with(&trust, &only(versions), &Parameters::default(), "a");
        world.shake().unwrap();
        assert_eq!(world.server.agreed().unwrap().version, name);
    }
    // Told nothing, a caller speaks 1.2.
    let both = Parameters::default();
    let mut world = World::with(&trusting(Verify::Skip), &both, &both, "a");
    world.shake().unwrap();
    assert_eq!(world.server.agreed().unwrap().version, "DTLS 1.2");
    let suite = &world.client.agreed().unwrap().suite;
    assert_eq!(suite, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
}

#[test]
fn a_caller_has_to_bring_a_cookie_and_is_asked_only_when_it_calls() {
    for versions in [Versions::Only12, Versions::Only13, Versions::Both] {
        let mut world = World::new(versions);
        let hello = world.client.next_out().unwrap().to_vec();
        assert!(is_client_hello(&hello));
        world.server.arrived(&hello, world.now).unwrap();
        let cookie = world.server.next_out().unwrap().to_vec();
        assert!(cookie.len() < hello.len(), "it would be a weapon");
        world.server.sent();
        for _ in 0..UNPROVEN.as_secs() - 1 {
            assert_eq!(world.server.next_out(), None, "{versions:?}");
            world.now += SECOND;
            world.server.timeout(world.now).unwrap();
        }
        // Nor is it waited for as long as for somebody who is there.
        let failure = world.server.timeout(world.now + SECOND).unwrap_err();
        assert_eq!(failure.why, "the caller did not show that it is where it says");
        assert_eq!(world.server.next_out(), None, "{versions:?}");
    }
}

#[test]
fn the_handshake_survives_a_bad_network() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        for seed in 0..60u64 {
            world.again();
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            // More losses and the pauses between the attempts, each twice the one before,
            // may rightly take longer than our patience.
            let mut losses = 3;
            world.fate = Box::new(move |_| match random(&mut state) % 10 {
                0..=2 if losses > 0 => {
                    losses -= 1;
                    Fate::Lost
                }
                3 => Fate::Twice,
                4..=5 => Fate::Late,
                _ => Fate::Passes,
            });
            let shaken = world.shake();
            assert!(shaken.is_ok(), "{versions:?}, seed {seed}: {shaken:?}");
            // What was sent in that network may be lost; what is sent now is not.
            world.fate = Box::new(|_| Fate::Passes);
            world.carry().unwrap();
            read(&mut world.server);
            assert_eq!(world.client.write(b"now"), Ok(true));
            world.carry().unwrap();
            assert_eq!(world.read(), (vec![b"now".to_vec()], false), "seed {seed}");
        }
    }
}

#[test]
fn each_single_loss_is_made_good_by_the_timer() {
    for versions in VERSIONS {
        for lost in 0..12 {
            let mut world = World::new(versions);
            world.fate = Box::new(move |n| if n == lost { Fate::Lost } else { Fate::Passes });
            let passed = world.shake().unwrap();
            assert!(passed < 3 * SECOND, "{versions:?}: {passed:?} for datagram {lost}");
        }
    }
}

#[test]
fn silence_ends_in_words() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.fate = Box::new(|_| Fate::Lost);
        let begun = world.now;
        let failure = world.shake().unwrap_err();
        assert_eq!(failure.why, "the server does not answer");
        assert_eq!(failure.hint, Some("perhaps it does not speak DTLS on this port"));
        assert!(world.now - begun <= PATIENCE && world.datagrams >= 6, "{}", world.datagrams);
        assert_eq!(world.client.deadline(), None);
        // A failure is said once.
        assert_eq!(world.client.timeout(world.now + PATIENCE), Ok(()));
    }
}

/// Noise of all lengths, some of it dressed up as records.
fn noise() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x1234_5678_9ABC_DEF1u64;
    (0..3000usize).map(move |i| {
        let mut bytes: Vec<u8> =
            (0..i % 300).map(|_| random(&mut state).to_le_bytes()[0]).collect();
        let length = u16::try_from(bytes.len().saturating_sub(13)).unwrap().to_be_bytes();
        let kind = [20, 21, 22, 23, 24, 26][i % 6];
        let epoch = [0, 1, 2, 0xFF][i / 6 % 4];
        let dress = [kind, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, 9, length[0], length[1]];
        if bytes.len() > 13 && i % 3 > 0 {
            bytes[..13].copy_from_slice(&dress);
        }
        if i % 3 == 2 && bytes.len() > 25 {
            // A fatal alert, or a message of the handshake that is all there.
            let body = u8::try_from((bytes.len() - 25) % 256).unwrap();
            bytes[13] = [1, 2, 2, 3, 11, 14, 16, 20][i % 8];
            let rest = [0, 0, body, 0, [0, 1, 2, 9][i % 4], 0, 0, 0, 0, 0, body];
            bytes[14..25].copy_from_slice(&rest);
        }
        bytes
    })
}

#[test]
fn damage_may_end_a_handshake_but_nothing_else() {
    for versions in [Versions::Only12, Versions::Only13, Versions::Both] {
        let mut world = World::new(versions);
        for seed in 0..40 {
            world.again();
            let mut state = seed * 2 + 1;
            for _ in 0..40 {
                for upward in [true, false] {
                    let (from, to) = match upward {
                        true => (&mut world.client, &mut world.server),
                        false => (&mut world.server, &mut world.client),
                    };
                    let Some(datagram) = from.next_out() else { continue };
                    let mut damaged = datagram.to_vec();
                    from.sent();
                    for _ in 0..random(&mut state) % 4 {
                        let at = usize::try_from(random(&mut state)).unwrap() % damaged.len();
                        match random(&mut state) % 5 {
                            0 => damaged.truncate(at.max(1)),
                            1 => damaged[at] = 0xFF,
                            2 => damaged[at] = 0,
                            3 => damaged.extend_from_within(at..),
                            _ => damaged[at] ^= 1 << (random(&mut state) % 8),
                        }
                    }
                    let _ = to.arrived(&damaged, world.now);
                }
                let waits = world.client.deadline().or(world.server.deadline()).is_some();
                if waits && random(&mut state).is_multiple_of(4) {
                    let _ = world.wait();
                }
            }
        }
    }
}

#[test]
fn noise_before_the_call_does_not_keep_a_server_from_answering() {
    for versions in [Versions::Only12, Versions::Only13, Versions::Both] {
        let mut world = World::new(versions);
        for datagram in noise().filter(|datagram| !is_client_hello(datagram)) {
            assert_eq!(world.server.arrived(&datagram, world.now), Ok(()));
            assert_eq!(world.server.next_out(), None);
        }
        world.shake().unwrap();
    }
}

#[test]
fn noise_that_is_not_dtls_does_not_disturb_a_handshake() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        let noise: Vec<_> = noise().filter(|d| !records::looks_like_dtls(d)).collect();
        assert!(noise.len() > 500);
        for datagram in &noise {
            world.client.arrived(datagram, world.now).unwrap();
        }
        world.shake().unwrap();
    }
}

#[test]
fn noise_after_the_handshake_is_ignored() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        for datagram in noise() {
            for side in [&mut world.client, &mut world.server] {
                assert_eq!(side.arrived(&datagram, world.now), Ok(()), "{datagram:?}");
            }
        }
        world.carry().unwrap();
        assert_eq!(world.read(), (Vec::new(), false));
        for round in 0..50u8 {
            assert_eq!(world.client.write(&[round]), Ok(true));
            assert_eq!(world.server.write(&[round]), Ok(true));
            world.carry().unwrap();
            assert_eq!(world.read(), (vec![vec![round]], false));
            assert_eq!(read(&mut world.client), (vec![vec![round]], false));
        }
    }
}

#[test]
fn what_is_repeated_or_forged_is_delivered_once_or_never() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        world.client.write(b"once").unwrap();
        let datagram = world.client.next_out().unwrap().to_vec();
        for i in 0..datagram.len() {
            let mut forged = datagram.clone();
            forged[i] ^= 0x41;
            world.server.arrived(&forged, world.now).unwrap();
        }
        world.server.arrived(&datagram, world.now).unwrap();
        world.server.arrived(&datagram, world.now).unwrap();
        assert_eq!(world.read(), (vec![b"once".to_vec()], false));
    }
}

#[test]
fn datagrams_come_in_the_order_of_the_network() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        let mut sealed = Vec::new();
        for payload in [b"1", b"2", b"3"] {
            world.client.write(payload).unwrap();
            sealed.push(world.client.next_out().unwrap().to_vec());
            world.client.sent();
        }
        for i in [2, 0, 1] {
            world.server.arrived(&sealed[i], world.now).unwrap();
        }
        let order = [b"3", b"1", b"2"].map(|payload| payload.to_vec());
        assert_eq!(world.read(), (order.to_vec(), false));
    }
}

#[test]
fn one_byte_too_many_is_refused_with_the_limit_and_the_rest_goes_on() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        let failure = world.client.write(&[1; LIMIT + 1]).unwrap_err();
        let expected = "a datagram of 16385 bytes is too long: DTLS carries at most 16384 bytes";
        assert_eq!(failure.why, expected);
        assert_eq!(world.client.write(b"fine"), Ok(true));
        world.carry().unwrap();
        assert_eq!(world.read().0, [b"fine".to_vec()]);
    }
}

#[test]
fn a_socket_or_a_reader_that_is_slow_is_waited_for() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        let mut taken = 0;
        while world.client.write(&[3; 1000]).unwrap() {
            taken += 1;
        }
        assert!((60..70).contains(&taken), "{taken}");
        world.carry().unwrap();
        assert_eq!(world.client.write(&[3; 1000]), Ok(true));
        let mut large = 0;
        while world.server.has_room() {
            assert_eq!(world.client.write(&[4; LIMIT]), Ok(true));
            world.carry().unwrap();
            large += 1;
        }
        // No room in the buffer: the datagram waits, whole.
        let mut small = Buf::new(999);
        assert_eq!(world.server.next_in(&mut small), None);
        assert_eq!(world.read().0.len(), taken + 1 + large);
        assert!(world.server.has_room());
    }
}

#[test]
fn a_flood_of_nothing_fills_the_inbox_too() {
    let mut world = World::new(Versions::Only12);
    world.shake().unwrap();
    let mut sent = 0;
    while world.server.has_room() && sent < 100_000 {
        assert_eq!(world.client.write(b""), Ok(true));
        world.carry().unwrap();
        sent += 1;
    }
    assert_eq!(sent, RECEIVE_LIMIT / 8);
    assert_eq!(world.read().0.len(), sent);
}

#[test]
fn a_close_comes_after_what_was_written_before_it() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        world.client.write(b"last").unwrap();
        assert!(world.client.close());
        assert!(world.client.close());
        assert_eq!(world.client.write(b"no"), Err(closed()));
        world.carry().unwrap();
        assert_eq!(world.read(), (vec![b"last".to_vec()], true));
        assert!(world.server.close());
        world.carry().unwrap();
        assert_eq!(read(&mut world.client), (Vec::new(), true), "{versions:?}");
        assert_eq!((world.client.deadline(), world.server.deadline()), (None, None));
    }
}

#[test]
fn after_our_close_the_answer_still_arrives() {
    for versions in VERSIONS {
        let mut world = World::new(versions);
        world.shake().unwrap();
        // Sealed before the server hears of the close.
        world.server.write(b"answer").unwrap();
        world.client.close();
        world.carry().unwrap();
        assert_eq!(read(&mut world.client).0, [b"answer".to_vec()]);
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A certificate for `localhost` in files, with the kind of key that is asked for.
fn files(algorithm: &'static rcgen::SignatureAlgorithm) -> (tempfile::TempDir, Parameters) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let made = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let made = made.self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, secret) =
        (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, pem("CERTIFICATE", made.der())).unwrap();
    std::fs::write(&secret, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    let parameters =
        Parameters { certificate: Some(certificate), key: Some(secret), ..Parameters::default() };
    (directory, parameters)
}

#[test]
fn a_certificate_that_must_verify_and_does_not_ends_the_handshake() {
    for versions in VERSIONS {
        let (_files, called) = files(&rcgen::PKCS_ECDSA_P256_SHA256);
        let trust = trusting(Verify::Must);
        let mut world = World::with(&trust, &only(versions), &called, "localhost");
        let failure = world.shake().unwrap_err();
        let why = "the server's certificate is not accepted: it is self-signed";
        assert_eq!(failure, Failure { why: why.to_owned(), hint: Some(trust::REMEDY) });
        assert_eq!(world.findings.verdict().why.as_deref(), Some("it is self-signed"));
        assert!(world.server.is_handshaking());
        // 1.2 tells the server; under 1.3 an alert would have to be sealed.
        let told = world.client.next_out().map(<[u8]>::to_vec);
        world.client.sent();
        assert_eq!(world.client.next_out(), None);
        match versions {
            Versions::Only13 => assert_eq!(told, None),
            Versions::Only12 | Versions::Both => {
                let heard = world.server.arrived(&told.unwrap(), world.now).unwrap_err();
                let expected = "the caller refused DTLS: it does not like our certificate";
                assert_eq!(heard.why, expected);
            }
        }
        assert_eq!(world.client.write(b"x"), Err(closed()));
    }
}

#[test]
fn a_certificate_that_is_trusted_is_verified_and_its_name_is_looked_at() {
    for (algorithm, versions) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Versions::Only12),
        (&rcgen::PKCS_ECDSA_P256_SHA256, Versions::Only13),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Versions::Only12),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Versions::Only13),
    ] {
        let (_files, called) = files(algorithm);
        let trust = Trust { file: called.certificate.clone(), ..trusting(Verify::Must) };
        let mut world = World::with(&trust, &only(versions), &called, "localhost");
        world.shake().unwrap();
        let good = Verdict { verified: true, why: None, ocsp: false };
        assert_eq!(world.findings.verdict(), good);

        let mut world = World::with(&trust, &only(versions), &called, "example.org");
        let failure = world.shake().unwrap_err();
        assert!(failure.why.ends_with("it is for localhost, not example.org"), "{failure}");
    }
}

#[test]
fn a_certificate_that_is_only_told_about_does_not_stop_anything() {
    let (_files, called) = files(&rcgen::PKCS_ECDSA_P256_SHA256);
    for (verify, why) in [(Verify::Tell, Some("it is self-signed")), (Verify::Skip, None)] {
        let trust = trusting(verify);
        let mut world = World::with(&trust, &Parameters::default(), &called, "localhost");
        world.shake().unwrap();
        let verdict = world.findings.verdict();
        assert_eq!((verdict.verified, verdict.why.as_deref()), (false, why));
    }
}

#[test]
fn a_pin_accepts_its_certificate_and_no_other() {
    let (_files, called) = files(&rcgen::PKCS_ECDSA_P256_SHA256);
    let der = World::with(&trusting(Verify::Skip), &called, &called, "a").own.leaf().to_vec();
    let pin = crate::net::certificate::sha256(&der);
    for (pin, good) in [(pin, true), ([9; 32], false)] {
        let trust = Trust { pins: vec![pin], ..trusting(Verify::Tell) };
        let mut world = World::with(&trust, &Parameters::default(), &called, "elsewhere");
        assert_eq!(world.shake().is_ok(), good);
        assert_eq!(world.findings.verdict().verified, good);
    }
}

#[test]
fn a_key_that_is_not_ec_is_refused_with_what_to_use() {
    let (_files, parameters) = files(&rcgen::PKCS_ED25519);
    let error = server(&parameters, None).err().unwrap().0;
    let key = parameters.key.unwrap();
    assert!(error.starts_with(&format!("the key in {} cannot", key.display())), "{error}");
    assert!(error.contains("P-256 or P-384 here: make one with openssl ecparam"), "{error}");
    assert!(error.contains("leave --ssl-cert"), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (_a, mut parameters) = files(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (_b, other) = files(&rcgen::PKCS_ECDSA_P256_SHA256);
    parameters.key = other.key;
    let error = server(&parameters, None).err().unwrap().0;
    assert!(error.starts_with("our certificate and key cannot be used: "), "{error}");
}

#[test]
fn options_that_dtls_does_not_have_are_refused() {
    let alpn = Parameters { alpn: vec!["h2".to_owned()], ..Parameters::default() };
    let error = server(&alpn, None).err().unwrap().0;
    assert_eq!(error, "--ssl-alpn cannot be used with DTLS here");
    let rsa = Parameters { ciphers: Some("ECDHE+aRSA".to_owned()), ..Parameters::default() };
    let error = client(&trusting(Verify::Skip), &rsa).err().unwrap().0;
    assert!(error.starts_with("--ssl-ciphers leaves no cipher suite for DTLS"), "{error}");
    let config = client(&trusting(Verify::Skip), &Parameters::default()).unwrap().0;
    let failure = Dtls::client(&config, "not a name", Instant::now()).err().unwrap();
    assert_eq!(failure.why, "\"not a name\" cannot be the name of a TLS server");
}

#[test]
fn ciphers_are_those_that_were_asked_for() {
    let trust = trusting(Verify::Skip);
    let ciphers = |string: &str| Parameters {
        ciphers: Some(string.to_owned()),
        only_tls12: true,
        ..Parameters::default()
    };
    let both = Parameters::default();
    let mut world = World::with(&trust, &ciphers("AES256"), &both, "a");
    world.shake().unwrap();
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    assert_eq!(world.client.agreed().unwrap().suite, suite);

    let mut world = World::with(&trust, &ciphers("AES256"), &ciphers("CHACHA20"), "a");
    let failure = world.shake().unwrap_err();
    let why = "the caller and we have no way of DTLS in common: \
               no mutually acceptable cipher suite";
    assert_eq!(failure.why, why);
    let alert = world.server.next_out().unwrap().to_vec();
    let failure = world.client.arrived(&alert, world.now).unwrap_err();
    let why = "the server refused DTLS: it accepts no cipher suite or group that we offer";
    assert_eq!(failure, Failure { why: why.to_owned(), hint: Some(ONLY_EC) });
}
