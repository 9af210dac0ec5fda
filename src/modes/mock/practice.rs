//! Practice: a mock server in this very process, with a small mailbox that is ready (`--practice`).

use super::caller::Caller;
use super::{Config, Mock};
use crate::engine::reactor::Reactor;
use crate::engine::tap::Tap;
use crate::error::{Error, words};
use crate::mailbox::memory::Memory;
use crate::modes::listen::TlsServer;
use crate::modes::open;
use crate::modes::talk::SafeOutput;
use crate::net::bind::{self, Protocol};
use crate::net::endpoint::{Endpoint, Io};
use crate::net::trust::Parameters;
use crate::proto::store::{Flags, INBOX};
use crate::report::Report;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// What a TLS handshake with ourselves may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The messages that are there, and whether they have been seen.
const LETTERS: &[(&str, &str, bool)] = &[
    (
        INBOX,
        "From: Ann <ann@example.org>\r\nTo: you@practice.example\r\nSubject: Welcome\r\n\
         Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@practice.example>\r\n\r\n\
         Hello,\r\n\r\nthis mailbox is yours to try things on: nothing leaves this machine, and\r\n\
         all of it is gone when you leave.\r\n\r\nAnn\r\n",
        true,
    ),
    (
        INBOX,
        "From: Bob <bob@example.net>\r\nTo: you@practice.example\r\nSubject: Dots and quotes\r\n\
         Date: Tue, 24 Nov 2026 10:30:00 +0100\r\nMessage-ID: <2@practice.example>\r\n\r\n\
         A line with a single dot would be the end, so it is sent as two:\r\n.\r\n\
         From here on it goes on.\r\n",
        false,
    ),
    (
        INBOX,
        "From: =?utf-8?q?Z=C3=BCrich_Office?= <office@example.com>\r\nTo: you@practice.example\r\n\
         Subject: =?utf-8?q?Gr=C3=BCezi=2C_with_a_file?=\r\n\
         Date: Wed, 25 Nov 2026 17:45:00 +0100\r\nMessage-ID: <3@practice.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"part\"\r\n\r\n\
         --part\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BCezi!\r\n\
         --part\r\nContent-Type: text/csv; name=\"numbers.csv\"\r\n\
         Content-Disposition: attachment; filename=\"numbers.csv\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nb25lLDEKdHdvLDIK\r\n--part--\r\n",
        false,
    ),
    (
        "Archive",
        "From: you@practice.example\r\nTo: ann@example.org\r\nSubject: Last year\r\n\
         Date: Mon, 24 Nov 2025 09:00:00 +0000\r\nMessage-ID: <0@practice.example>\r\n\r\n\
         Kept for later.\r\n",
        true,
    ),
];

/// Its mailbox.
pub fn mailbox() -> Memory {
    let memory = Memory::default();
    for (n, (folder, text, seen)) in (0..).zip(LETTERS) {
        let flags = Flags { seen: *seen, ..Flags::default() };
        // The days of their Date fields; no name here is one that is refused.
        let received = 1_795_424_400 + n * 86_400;
        let _ = memory.add(folder, text.as_bytes(), &flags, received);
    }
    memory
}

/// Somebody to call, who answers in a thread of its own.
///
/// # Errors
/// Out of descriptors, or of threads.
pub(in crate::modes) fn call(config: Config) -> Result<Endpoint, Error> {
    let cannot = |e: std::io::Error| Error::machine(format!("cannot practise: {}", words(&e)));
    let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
    ours.set_nonblocking(true).map_err(cannot)?;
    theirs.set_nonblocking(true).map_err(cannot)?;
    let serve = move || {
        // What ends it is told to the one who talks with it.
        let _ = serve(&config, theirs);
    };
    thread::Builder::new().name("practice".to_owned()).spawn(serve).map_err(cannot)?;
    Ok(Endpoint::new(Io::Unix(mio::net::UnixStream::from_std(ours))))
}

fn serve(config: &Config, stream: UnixStream) -> Result<(), Error> {
    let cannot = |e: std::io::Error| Error::machine(format!("cannot practise: {}", words(&e)));
    let mut reactor = Reactor::new().map_err(cannot)?;
    let tls = TlsServer {
        parameters: Parameters::default(),
        host: Some("localhost".to_owned()),
        client_ca: None,
        certificate_out: None,
    };
    let armour = open::armour(&tls, Protocol::Stream, &Report::new(0, true))?;
    // What it notices is what one is to learn.
    let report = Report::new(1, true);
    let start = reactor.now();
    let mock = Mock::new(config, Some(armour), SafeOutput::Auto, HANDSHAKE, start, &report);
    let endpoint = Endpoint::new(Io::Unix(mio::net::UnixStream::from_std(stream)));
    let name = bind::Caller::Unix(Some("practice".into()));
    let mut caller = Caller::visit(&mock, endpoint, &name, 1, Tap::default(), start);
    // However it ends, the other side sees.
    let _ = crate::engine::run(&mut reactor, &mut caller, None);
    Ok(())
}
