//! rustls alone, on blocking sockets.

use crate::tool::{Outcome, number};

use rustix::pipe::fcntl_setpipe_size;
use rustix::stdio::{stdin, stdout};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

/// 64 KiB are as fast as 256 KiB here, and the default limit of rustls is made for them.
const CHUNK: usize = 64 * 1024;

/// Of a pipe.
const BIG: usize = 1024 * 1024;

/// `PORT SUITE`: standard input to a server.
pub(crate) fn send(args: &[&str]) -> Outcome {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    let mut tls = shake_hands(&client(args.get(1).copied())?, &mut socket)?;
    // A file has no size to set.
    let _ = fcntl_setpipe_size(stdin(), BIG);
    let mut buf = vec![0; CHUNK];
    loop {
        let n = rustix::io::read(stdin(), &mut buf[..])?;
        if n == 0 {
            tls.send_close_notify();
        }
        let mut rest = &buf[..n];
        while !rest.is_empty() {
            let taken = tls.writer().write(rest)?;
            rest = &rest[taken..];
            flush(&mut tls, &mut socket)?;
        }
        flush(&mut tls, &mut socket)?;
        if n == 0 {
            break;
        }
    }
    socket.shutdown(Shutdown::Write)?;
    std::io::copy(&mut socket, &mut std::io::sink())?;
    Ok(())
}

/// The settings of a client that takes any certificate.
pub(crate) fn client(suite: Option<&str>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client's handshake.
pub(crate) fn shake_hands(
    config: &Arc<ClientConfig>,
    socket: &mut TcpStream,
) -> Result<ClientConnection, Box<dyn std::error::Error>> {
    let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    Ok(tls)
}

fn flush(tls: &mut ClientConnection, socket: &mut TcpStream) -> std::io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// `PORT CERT KEY SUITE`: a client's bytes to standard output.
pub(crate) fn receive(args: &[&str]) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    let config = server(args, provider(args.get(3).copied()))?;
    let mut socket = listener.accept()?.0;
    let mut tls = ServerConnection::new(config)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    // rustls asks for 4 KiB at a time.
    let mut socket = BufReader::with_capacity(4 * CHUNK, socket);
    // /dev/null and files have no size to set.
    let _ = fcntl_setpipe_size(stdout(), BIG);
    let mut buf = vec![0; 4 * CHUNK];
    let (mut held, mut ended) = (0, false);
    while !ended {
        match tls.reader().read(&mut buf[held..]) {
            Ok(0) => ended = true,
            Ok(n) => held += n,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                tls.read_tls(&mut socket)?;
                tls.process_new_packets()?;
            }
            Err(e) => return Err(e.into()),
        }
        // All that one read of the socket gave goes out at once.
        if ended || held == buf.len() || socket.buffer().is_empty() {
            let mut rest = &buf[..held];
            while !rest.is_empty() {
                rest = &rest[rustix::io::write(stdout(), rest)?..];
            }
            held = 0;
        }
    }
    Ok(())
}

/// `PORT CERT KEY`: answers each caller's line with the same line, and hangs up.
pub(crate) fn answer(args: &[&str]) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number::<u16>(args, 0)?))?;
    let config = server(args, provider(None))?;
    for caller in listener.incoming() {
        // A caller who goes away early is the caller's business.
        let _ = answer_one(Arc::clone(&config), caller?);
    }
    Ok(())
}

fn answer_one(config: Arc<ServerConfig>, mut socket: TcpStream) -> Outcome {
    let mut tls = ServerConnection::new(config)?;
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let mut line = Vec::new();
    BufReader::new(&mut stream).read_until(b'\n', &mut line)?;
    stream.write_all(&line)?;
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut socket)?;
    }
    socket.shutdown(Shutdown::Write)?;
    std::io::copy(&mut socket, &mut std::io::sink())?;
    Ok(())
}

fn server(
    args: &[&str],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let [_, cert, key, ..] = args else { return Err("PORT CERT KEY are wanted".into()) };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(cert)?],
            PrivateKeyDer::from_pem_file(key)?,
        )?;
    Ok(Arc::new(config))
}

/// The provider, with one suite if one is named.
fn provider(suite: Option<&str>) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if let Some(suite) = suite {
        provider.cipher_suites.retain(|known| {
            let name = format!("{:?}", known.suite());
            name.trim_start_matches("TLS13_") == suite.trim_start_matches("TLS_")
        });
    }
    Arc::new(provider)
}

/// Every certificate is good: what is measured is the transfer.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
