//! A private Dovecot as a peer: IMAP and POP3, plain with STARTTLS, and TLS from the first byte.

use super::{Running, arg, certified, file_in, free_port, have, start_command, wait_for_port};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The first message of ann's mailbox, the way a server hands it out.
pub const FIRST: &str = "Subject: first\r\n\r\nHello,\r\n.a dot\r\na1 OK {3}\r\n";
/// The other one.
pub const SECOND: &str = "Subject: second\r\n\r\nBye.\r\n";

/// A Dovecot of our own, with ann (secret) and two messages.
pub struct Dovecot {
    /// Its directory.
    pub dir: tempfile::TempDir,
    server: Option<Running>,
    /// At [`IMAP`] and so on.
    pub ports: [u16; 4],
}

impl Dovecot {
    /// Starts one; the test that drops it stops it. `None` where there is none.
    pub fn start() -> Option<Self> {
        Self::start_with("plain login cram-md5 scram-sha-1 scram-sha-256")
    }

    /// One that knows these ways to log in.
    pub fn start_with(mechanisms: &str) -> Option<Self> {
        if !have("dovecot") {
            return None;
        }
        // A short path: there are sockets below it.
        let dir = tempfile::Builder::new().prefix("dc").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        let here = dir.path().display();
        certified(&dir);
        for folder in ["", "/cur", "/new", "/tmp"] {
            let path = dir.path().join(format!("ann{folder}"));
            std::fs::create_dir(&path).unwrap();
            assert!(
                Command::new("chown")
                    .args(["nobody:nogroup", arg(&path)])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        for (name, text) in [("1", FIRST), ("2", SECOND)] {
            let path = file_in(&dir, &format!("ann/new/{name}.m"), text.replace("\r\n", "\n"));
            assert!(
                Command::new("chown")
                    .args(["nobody:nogroup", arg(&path)])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        file_in(&dir, "passwd", "ann:{PLAIN}secret\n");
        let ports = [(); 4].map(|()| free_port());
        let [imap, imaps, pop3, pop3s] = ports;
        let config = format!(
            "base_dir = {here}/run\nstate_dir = {here}/state\ninstance_name = {imap}\n\
             log_path = {here}/log\nprotocols = imap pop3\nlisten = 127.0.0.1\nssl = yes\n\
             ssl_cert = <{here}/cert.pem\nssl_key = <{here}/key.pem\n\
             auth_mechanisms = {mechanisms}\n\
             auth_failure_delay = 0\nmail_location = maildir:{here}/%u\nfirst_valid_uid = 1\n\
             passdb {{\ndriver = passwd-file\nargs = {here}/passwd\n}}\n\
             userdb {{\ndriver = static\nargs = uid=nobody gid=nogroup home={here}/%u\n}}\n\
             service imap-login {{\ninet_listener imap {{\nport = {imap}\n}}\n\
             inet_listener imaps {{\nport = {imaps}\n}}\n}}\n\
             service pop3-login {{\ninet_listener pop3 {{\nport = {pop3}\n}}\n\
             inet_listener pop3s {{\nport = {pop3s}\n}}\n}}\n\
             service auth {{\nuser = root\n}}\n\
             service anvil {{\nunix_listener anvil-auth-penalty {{\nmode = 0\n}}\n}}\n"
        );
        let config = file_in(&dir, "dovecot.conf", config);
        let mut command = Command::new("dovecot");
        command.args(["-F", "-c", arg(&config)]);
        let server = Some(start_command(command));
        for port in ports {
            wait_for_port(port);
        }
        Some(Self { dir, server, ports })
    }

    /// The certificate of its TLS.
    pub fn certificate(&self) -> String {
        self.dir.path().join("cert.pem").to_str().unwrap().to_owned()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal("TERM");
            server.wait();
        }
    }
}

/// A place in [`Dovecot::ports`].
pub const IMAP: usize = 0;
/// A place in [`Dovecot::ports`].
pub const IMAPS: usize = 1;
/// A place in [`Dovecot::ports`].
pub const POP3: usize = 2;
/// A place in [`Dovecot::ports`].
pub const POP3S: usize = 3;
