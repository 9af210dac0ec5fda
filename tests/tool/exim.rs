//! A private Exim as a peer: STARTTLS, a login, CHUNKING, and a recipient that it refuses.

use super::{Running, arg, certified, file_in, free_port, have, start_command, wait_for_port};
use super::{are_root, dir, wait_until};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// An Exim of our own, where ann (secret) may log in and nobody@ is unknown.
pub struct Exim {
    /// Its directory.
    pub dir: tempfile::TempDir,
    server: Option<Running>,
    /// Where it listens.
    pub port: u16,
}

impl Exim {
    /// Starts one; the test that drops it stops it. `None` where there is none.
    pub fn start() -> Option<Self> {
        if !have("exim4") || !are_root("exim4") {
            return None;
        }
        let dir = dir();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        let here = dir.path().display();
        certified(&dir);
        let mut owned = vec![dir.path().join("key.pem")];
        for name in ["spool", "logs"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            owned.push(path);
        }
        for path in owned {
            let status = Command::new("chown").args(["nobody:nogroup", arg(&path)]).status();
            assert!(status.unwrap().success());
        }
        let port = free_port();
        // It keeps what it takes: what is in its queue is what came, octet for octet.
        let config = format!(
            "primary_hostname = exim.test\nspool_directory = {here}/spool\n\
             log_file_path = {here}/logs/%s\npid_file_path = {here}/spool/pid\n\
             local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port}\nexim_user = nobody\n\
             exim_group = nogroup\nqueue_only = true\nkeep_environment =\nhost_lookup =\n\
             acl_smtp_rcpt = recipient\nacl_smtp_data = accept\nchunking_advertise_hosts = *\n\
             tls_advertise_hosts = *\ntls_certificate = {here}/cert.pem\n\
             tls_privatekey = {here}/key.pem\n\
             begin acl\nrecipient:\n  deny local_parts = nobody\n       message = no such user\n  \
             accept\n\
             begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  \
             server_prompts = :\n  server_set_id = $auth2\n  \
             server_condition = ${{if and{{{{eq{{$auth2}}{{ann}}}}{{eq{{$auth3}}{{secret}}}}}}}}\n"
        );
        let config = file_in(&dir, "exim.conf", config);
        let mut command = Command::new("exim4");
        command.args(["-C", arg(&config), "-bdf"]);
        let server = Some(start_command(command));
        wait_for_port(port);
        Some(Self { dir, server, port })
    }

    /// The certificate of its TLS.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Waits for a message with this text, and gives its body as the queue holds it, and what the
    /// queue says of it.
    pub fn queued(&self, text: &str) -> (Vec<u8>, String) {
        let input = self.dir.path().join("spool/input");
        let mut found = None;
        wait_until(&format!("a message with {text:?}"), || {
            let files = std::fs::read_dir(&input).into_iter().flatten().flatten();
            found = files.map(|entry| entry.path()).find_map(|path| {
                let name = path.to_str()?.strip_suffix("-D")?;
                let header = std::fs::read_to_string(format!("{name}-H")).ok()?;
                let content = std::fs::read(&path).ok()?;
                // Before it stands the name of the file.
                let at = content.iter().position(|&b| b == b'\n')? + 1;
                header.contains(text).then(|| (content[at..].to_vec(), header))
            });
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal("TERM");
            server.wait();
        }
    }
}
