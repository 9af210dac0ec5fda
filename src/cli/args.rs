//! The options, one struct. No behaviour: what they mean together is decided in `resolve`.

// These comments are the help text: what is in brackets there is a default or an address, no link
// and no tag.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use clap::{ArgAction, Parser};
use std::path::PathBuf;

const WHERE: &str = "Where";
const SERVE: &str = "Who serves";
const PROXY: &str = "Proxies";
const ENDS: &str = "When it ends";
const TLS: &str = "TLS";
const MAIL: &str = "Mail";
const SEND: &str = "Sending mail";
const READ: &str = "Reading mail";
const MOCK: &str = "Mock mail servers (-l with --smtp, --pop3 or --imap)";
const DNS: &str = "DNS";
const RECORD: &str = "What is recorded and said";

const ABOUT: &str = "\
Connects or listens over TCP, TLS and Unix sockets, and carries standard input and output.";

const TAIL: &str = "\
TARGET is host, host:port, [v6]:port, a path after unix: or unix-dgram:, vsock:cid:port, or a
URL: tcp:// tls:// udp:// dtls:// smtp:// submission:// smtps:// pop3:// pop3s:// imap://
imaps://. TIME is in seconds, or has a unit: 500ms, 2m, 1h.

  ncat example.org 80                     talk HTTP by hand
  ncat -l 8080 < page.txt                 answer one caller
  ncat --smtp --practice                  a lesson in SMTP, no server needed
  ncat -l --smtp 1025                     a mail server for a test
  ncat --ssl example.org:993              the same under TLS
  ncat --smtp --starttls mail.example     a mail dialogue, step by step
  ncat imaps://ann@mail.example --list    the mailboxes there
  ncat --dns example.org                  what the DNS says of a mail domain

The manual is ncat(1).";

/// What was typed.
#[derive(Debug, Default, Parser)]
#[command(
    name = "ncat",
    about = ABOUT,
    after_help = TAIL,
    override_usage = "ncat [options] TARGET [PORT]\n       ncat -l [options] [ADDRESS] [PORT]\n       ncat --dns [options] NAME [TYPE...]",
    disable_version_flag = true,
    disable_help_flag = true,
    args_override_self = true,
    infer_long_args = true,
    max_term_width = 100
)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Args {
    /// Host, host:port, path or URL; with -l an address to wait on
    #[arg(value_name = "TARGET", hide = true)]
    pub(super) operands: Vec<String>,

    /// IPv4 only
    #[arg(short = '4', long = "4", help_heading = WHERE, overrides_with = "v6")]
    pub(super) v4: bool,
    /// IPv6 only
    #[arg(short = '6', long = "6", help_heading = WHERE, overrides_with = "v4")]
    pub(super) v6: bool,
    /// Wait for a caller instead of calling
    #[arg(short, long, help_heading = WHERE)]
    pub(super) listen: bool,
    /// UDP instead of TCP; with -U Unix datagrams
    #[arg(short, long, help_heading = WHERE, overrides_with = "sctp")]
    pub(super) udp: bool,
    /// SCTP instead of TCP
    #[arg(long, help_heading = WHERE, overrides_with = "udp")]
    pub(super) sctp: bool,
    /// Sockets between virtual machines: TARGET is a CID
    #[arg(long, help_heading = WHERE)]
    pub(super) vsock: bool,
    /// Unix socket: TARGET is a path
    #[arg(short = 'U', long, help_heading = WHERE)]
    pub(super) unixsock: bool,
    /// Look no name up: numeric addresses only
    #[arg(short, long, help_heading = WHERE)]
    pub(super) nodns: bool,
    /// Call from this port; with -l wait on it
    #[arg(short = 'p', long, value_name = "PORT", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) source_port: Option<String>,
    /// Call from this address
    #[arg(short = 's', long, value_name = "ADDRESS", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) source: Option<String>,
    /// Call by way of these IPv4 hosts (loose source routing), at most 8
    #[arg(short = 'g', long = "g", value_name = "HOP[,HOP]", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) hops: Vec<String>,
    /// Pointer into the route: 4, 8, 12 ... 28 [4]
    #[arg(short = 'G', long = "G", value_name = "N", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) hop_pointer: Option<String>,
    /// Keep waiting for callers, many at once; when calling, keep sending after the peer's end
    #[arg(short, long, help_heading = WHERE)]
    pub(super) keep_open: bool,
    /// With -l: so many callers at once [100]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) max_conns: Option<String>,
    /// With -l: only these may call: addresses, ADDRESS/BITS, ranges like 10.0.0.1-5, names
    #[arg(long, value_name = "HOSTS", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) allow: Vec<String>,
    /// With -l: only those in this file may call
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) allowfile: Vec<PathBuf>,
    /// With -l: these may not call
    #[arg(long, value_name = "HOSTS", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) deny: Vec<String>,
    /// With -l: those in this file may not call
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) denyfile: Vec<PathBuf>,
    /// With -l: end after so many callers; with --idle: after so many messages
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) accept: Option<String>,
    /// With -l: end when nobody has been here for so long
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) accept_timeout: Option<String>,
    /// With -l: print "listening tcp ADDRESS:PORT" (or tls, unix) on standard output when ready
    #[arg(long, help_heading = WHERE)]
    pub(super) announce: bool,
    /// With -l: write the port to this file when ready
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = WHERE)]
    pub(super) port_file: Option<PathBuf>,

    /// Run this program (whole path, arguments behind it) for the peer
    #[arg(short = 'e', long, value_name = "COMMAND", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) exec: Vec<String>,
    /// Run this line by /bin/sh for the peer
    #[arg(short = 'c', long, value_name = "COMMAND", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) sh_exec: Vec<String>,

    /// Run this Lua script for the peer
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) lua_exec: Vec<PathBuf>,
    /// Say and expect what this script says, or a dialog that was recorded; then end
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) script: Option<PathBuf>,
    /// Expect what this regular expression matches; repeatable, in order with --send
    #[arg(long, value_name = "RE", allow_hyphen_values = true, action = ArgAction::Append, help_heading = SERVE)]
    pub(super) expect: Vec<String>,
    /// Send this text, with \r \n \t \0 \xNN in it; repeatable, in order with --expect
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, action = ArgAction::Append, help_heading = SERVE)]
    pub(super) send: Vec<String>,
    /// Both, in the order in which they were written.
    #[arg(skip)]
    pub(super) steps: Vec<super::resolve::script::Given>,
    /// With -l: a service that is built in: echo, discard, chargen, daytime, time, http=DIR (files)
    /// or http-dump (requests, shown)
    #[arg(long, value_name = "KIND", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) serve: Option<String>,
    /// With -l: connect each caller to this target: host:port, tls://host:port or unix:/path
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true, help_heading = SERVE)]
    pub(super) forward: Option<String>,
    /// Pass what each caller says to all the others; listens by itself
    #[arg(long, help_heading = SERVE)]
    pub(super) broker: bool,
    /// The same, with the speaker before each line
    #[arg(long, alias = "talk", help_heading = SERVE)]
    pub(super) chat: bool,

    /// Call through this proxy, HOST[:PORT] or a URL such as socks5h://; several, with commas
    #[arg(long, value_name = "PROXY", allow_hyphen_values = true, help_heading = PROXY)]
    pub(super) proxy: Vec<String>,
    /// What the proxy speaks: http, socks4 or socks5 [http]
    #[arg(long, value_name = "TYPE", allow_hyphen_values = true, help_heading = PROXY)]
    pub(super) proxy_type: Vec<String>,
    /// Log in to the proxy; or put it into NCAT_PROXY_AUTH
    #[arg(long, value_name = "USER:PASS", allow_hyphen_values = true, help_heading = PROXY)]
    pub(super) proxy_auth: Vec<String>,
    /// Who looks the target's name up: none, local, remote or both [remote]
    #[arg(long, value_name = "WHO", allow_hyphen_values = true, help_heading = PROXY)]
    pub(super) proxy_dns: Option<String>,
    /// Say first who calls whom, as HAProxy does: v1 or v2
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true, help_heading = PROXY)]
    pub(super) proxy_protocol: Option<String>,

    /// Give up when no conversation has started by then [10 for an address, 30 for the rest]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) wait: Option<String>,
    /// Hold each chunk back for so long
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) delay: Option<String>,
    /// End when nothing has moved for so long
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) idle_timeout: Option<String>,
    /// End so long after the end of the input; with a minus sign: never because of it
    #[arg(short, value_name = "TIME", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) quit: Option<String>,
    /// Try again, so many times: a call that fails, recipients who are refused for now [a pause of
    /// 1, 2, 4 ... 60 seconds]
    #[arg(long, value_name = "N[:TIME]", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) retry: Option<String>,
    /// Only find out whether somebody answers, and with --expect what
    #[arg(short = 'z', help_heading = ENDS)]
    pub(super) probe: bool,
    /// Only send; end with the input
    #[arg(long, help_heading = ENDS)]
    pub(super) send_only: bool,
    /// Only receive; do not read the input
    #[arg(long, help_heading = ENDS)]
    pub(super) recv_only: bool,
    /// End after so many packets of the peer's
    #[arg(short = 'W', value_name = "N", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) packets: Option<String>,
    /// End, and well, when the peer has said what this regular expression matches; 7 if it never does
    #[arg(long, value_name = "RE", allow_hyphen_values = true, help_heading = ENDS)]
    pub(super) quit_on: Option<String>,
    /// Tell the peer when the input ends: it is told anyway, and scripts for nc say so
    #[arg(short = 'N', help_heading = ENDS)]
    pub(super) tell_end: bool,
    /// Do not tell the peer when the input ends
    #[arg(long, help_heading = ENDS)]
    pub(super) no_shutdown: bool,

    /// TLS from the first byte
    #[arg(long, alias = "tls", help_heading = TLS)]
    pub(super) ssl: bool,
    /// Upgrade to TLS, then carry on; PROTO is smtp lmtp pop3 imap ftp nntp sieve ldap xmpp
    /// postgres mysql or irc, and a helper knows it
    #[arg(
        long,
        value_name = "PROTO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = TLS
    )]
    pub(super) starttls: Option<String>,
    /// The server's certificate must verify
    #[arg(long, alias = "tls-verify", help_heading = TLS)]
    pub(super) ssl_verify: bool,
    /// Trust the certificates in this PEM file, and verify
    #[arg(long, value_name = "FILE", alias = "tls-trustfile", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_trustfile: Option<PathBuf>,
    /// Accept this certificate or key and no other: SHA-256 in hex or base64; repeatable
    #[arg(long, value_name = "SHA256", alias = "tls-pin", action = ArgAction::Append, allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_pin: Vec<String>,
    /// Do not verify, and do not warn
    #[arg(long, alias = "tls-insecure", help_heading = TLS)]
    pub(super) ssl_insecure: bool,
    /// Ask for this server name, and verify it
    #[arg(long, value_name = "NAME", alias = "tls-servername", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_servername: Option<String>,
    /// Our certificate (PEM, chain behind it)
    #[arg(long, value_name = "FILE", alias = "tls-cert", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_cert: Option<PathBuf>,
    /// Its private key (PEM) [the certificate's file]
    #[arg(long, value_name = "FILE", alias = "tls-key", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_key: Option<PathBuf>,
    /// With -l: write our certificate to this file, for callers to trust
    #[arg(long, value_name = "FILE", alias = "tls-cert-out", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_cert_out: Option<PathBuf>,
    /// With -l: callers must show a certificate by one of these authorities (PEM)
    #[arg(long, value_name = "FILE", alias = "tls-client-ca", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_client_ca: Option<PathBuf>,
    /// Cipher suites, as an OpenSSL cipher string
    #[arg(long, value_name = "LIST", alias = "tls-ciphers", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_ciphers: Option<String>,
    /// Lowest version, 1.2 or 1.3 [1.2]
    #[arg(long, value_name = "VERSION", alias = "tls-min", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_min: Option<String>,
    /// Highest version, 1.2 or 1.3 [1.3]
    #[arg(long, value_name = "VERSION", alias = "tls-max", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_max: Option<String>,
    /// Application protocols, separated by commas
    #[arg(long, value_name = "LIST", alias = "tls-alpn", allow_hyphen_values = true, help_heading = TLS)]
    pub(super) ssl_alpn: Option<String>,
    /// Print what was agreed on and the certificates, as text or json; with -z, then exit
    #[arg(
        long,
        value_name = "FORMAT",
        alias = "tls-info",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        help_heading = TLS
    )]
    pub(super) ssl_info: Option<String>,

    /// Help to talk SMTP: port 25; 465 is TLS, 587 needs STARTTLS
    #[arg(long, help_heading = MAIL)]
    pub(super) smtp: bool,
    /// Help to talk POP3: port 110; 995 is TLS
    #[arg(long, help_heading = MAIL)]
    pub(super) pop3: bool,
    /// Help to talk IMAP: port 143; 993 is TLS
    #[arg(long, help_heading = MAIL)]
    pub(super) imap: bool,
    /// Log in; the password comes from NCAT_AUTH, --auth-file or a prompt; with -l: who may, USER:PASS
    #[arg(long, value_name = "USER[:PASS]", allow_hyphen_values = true, help_heading = MAIL)]
    pub(super) auth: Vec<String>,
    /// The password is the first line of this file (mode 0600)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = MAIL)]
    pub(super) auth_file: Option<PathBuf>,
    /// User and password come from a netrc file [~/.netrc]
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = MAIL
    )]
    pub(super) netrc: Option<PathBuf>,
    /// Log in by one of these mechanisms [the strongest for a password]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = MAIL)]
    pub(super) auth_mech: Option<String>,
    /// Call the mail exchangers of this domain, in order; a PORT may follow
    #[arg(long, value_name = "DOMAIN", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) mx: Option<String>,
    /// Send a message to these, instead of a session that is typed; repeatable
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) to: Vec<String>,
    /// The sender, "Name <address>" or an address; empty for none [the user of --auth]
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) from: Option<String>,
    /// More recipients
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) cc: Vec<String>,
    /// Recipients that the header does not name
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) bcc: Vec<String>,
    /// The subject
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) subject: Option<String>,
    /// One more header field; repeatable
    #[arg(long, value_name = "NAME: VALUE", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) header: Vec<String>,
    /// The text [standard input: a text, or a whole message]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) body: Option<String>,
    /// The text once more, as HTML
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) html: Option<PathBuf>,
    /// A file that goes with the message; repeatable
    #[arg(long, value_name = "FILE[;type=TYPE]", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) attach: Vec<String>,
    /// Stop after CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT or DATA [DATA]
    #[arg(long, value_name = "STAGE", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) quit_after: Option<String>,
    /// Speak LMTP instead of SMTP: port 24
    #[arg(long, help_heading = SEND)]
    pub(super) lmtp: bool,
    /// Ask for reports: never, or of success, failure and delay
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) dsn_notify: Option<String>,
    /// What reports have of the message: full or hdrs
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) dsn_ret: Option<String>,
    /// What reports are to be known by
    #[arg(long, value_name = "ID", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) dsn_envid: Option<String>,
    /// Say by XCLIENT whom we speak for: "NAME=mail.example ADDR=192.0.2.1"
    #[arg(long, value_name = "ATTRIBUTES", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) xclient: Option<String>,
    /// Then wait until it is in this mailbox, imap://USER@HOST/FOLDER or pop3://... [timeout=60]
    #[arg(long, value_name = "URL[,timeout=TIME]", allow_hyphen_values = true, help_heading = SEND)]
    pub(super) expect_in: Option<String>,
    /// Print a line for each message; with --imap and no --folder, for each mailbox
    #[arg(long, help_heading = READ)]
    pub(super) list: bool,
    /// Print these messages: 3 or 1,4-6 or 10- or all; several as mboxrd
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true, help_heading = READ)]
    pub(super) fetch: Option<String>,
    /// With --pop3 and --fetch: of each message the header and N lines
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = READ)]
    pub(super) top: Option<String>,
    /// Delete these messages, after all else
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true, help_heading = READ)]
    pub(super) delete: Option<String>,
    /// With --imap: store the message in this file
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = READ)]
    pub(super) append: Option<PathBuf>,
    /// With --imap: wait, and print a line for each message that arrives
    #[arg(long, help_heading = READ)]
    pub(super) idle: bool,
    /// With --imap: this mailbox [INBOX]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = READ)]
    pub(super) folder: Option<String>,
    /// With --imap: the messages that these keys of SEARCH find
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true, help_heading = READ)]
    pub(super) search: Option<String>,
    /// With --imap: give and take flags, +\Seen,-\Flagged, of those that are fetched or found
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true, help_heading = READ)]
    pub(super) flag: Option<String>,
    /// The name for our own EHLO [the host's name]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = MAIL)]
    pub(super) helo: Option<String>,
    /// Say what each reply means and what comes next
    #[arg(long, help_heading = MAIL)]
    pub(super) explain: bool,
    /// Send lines without waiting for the reply to the one before
    #[arg(long, help_heading = MAIL)]
    pub(super) no_wait: bool,
    /// Send lines in groups where the server offers PIPELINING
    #[arg(long, help_heading = MAIL)]
    pub(super) pipelining: bool,
    /// Double the dots that begin a line of the message
    #[arg(long, help_heading = MAIL)]
    pub(super) dot_stuff: bool,
    /// Send a CR that no LF follows as it is
    #[arg(long, help_heading = MAIL)]
    pub(super) raw: bool,
    /// Exit 0 whatever the server replies to what was typed
    #[arg(long, help_heading = MAIL)]
    pub(super) exit_zero: bool,
    /// Call a mock server in this very process: the whole lesson with no set-up
    #[arg(long, help_heading = MAIL)]
    pub(super) practice: bool,

    /// Keep mail in this Maildir, and find it there; when calling, put there what is fetched. A
    /// file, or a name that ends in .mbox, is an mbox
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) mailbox: Option<PathBuf>,
    /// A Maildir below it for each rcpt, domain or user, or one for all [all; user with several
    /// --auth]
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) mailbox_per: Option<String>,
    /// Offer no STARTTLS (STLS)
    #[arg(long, help_heading = MOCK)]
    pub(super) no_starttls: bool,
    /// Do nothing that matters before TLS
    #[arg(long, help_heading = MOCK)]
    pub(super) require_tls: bool,
    /// Do not offer this extension; repeatable, or with commas
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) no_ext: Vec<String>,
    /// The most octets of a message, as 64K or 10M [50M]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) max_size: Option<String>,
    /// What becomes of a bare CR or LF: keep, normalize or reject [keep]
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) bare_newline: Option<String>,
    /// Put no Return-Path and Received before the message
    #[arg(long, help_heading = MOCK)]
    pub(super) no_trace: bool,
    /// Say what a real server would hold against the caller
    #[arg(long, help_heading = MOCK)]
    pub(super) lint: bool,
    /// Go wrong, WHEN=WHAT[xN][@P%]: rcpt=450x2, data=drop, starttls=inject:TEXT; repeatable
    #[arg(long, value_name = "FAULT", allow_hyphen_values = true, help_heading = MOCK)]
    pub(super) fault: Vec<String>,
    /// Addresses may ask for faults: rcpt550_5.1.1@..., mail451@..., delay3s@...
    #[arg(long, help_heading = MOCK)]
    pub(super) fault_addresses: bool,
    /// Take every message, and send a report that it failed back to its sender instead
    #[arg(long, help_heading = MOCK)]
    pub(super) bounce: bool,
    /// Callers may say whom they speak for, by XCLIENT
    #[arg(long, help_heading = MOCK)]
    pub(super) accept_xclient: bool,
    /// Callers come by way of a proxy that says who they are (PROXY, v1 or v2)
    #[arg(long, help_heading = MOCK)]
    pub(super) accept_proxy: bool,

    /// Look NAME up: what concerns mail, or its records of each TYPE
    #[arg(long, help_heading = DNS)]
    pub(super) dns: bool,
    /// Ask this server, not those of the system
    #[arg(long, value_name = "ADDRESS[:PORT]", allow_hyphen_values = true, help_heading = DNS)]
    pub(super) dns_server: Option<String>,
    /// Evaluate SPF: may this address send mail for NAME?
    #[arg(long, value_name = "IP", allow_hyphen_values = true, help_heading = DNS)]
    pub(super) spf: Option<String>,
    /// Print one JSON object
    #[arg(long, help_heading = DNS)]
    pub(super) json: bool,

    /// Refuse what a telnet server wants to negotiate
    #[arg(short, long, help_heading = RECORD)]
    pub(super) telnet: bool,
    /// Send CR LF for LF
    #[arg(short = 'C', long, help_heading = RECORD)]
    pub(super) crlf: bool,
    /// Record the bytes of both directions
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true, help_heading = RECORD)]
    pub(super) output: Option<PathBuf>,
    /// Record them as a hex dump
    #[arg(short = 'x', long, value_name = "FILE", allow_hyphen_values = true, help_heading = RECORD)]
    pub(super) hex_dump: Option<PathBuf>,
    /// What -o writes: raw bytes, a dialog with times and speakers, the same as jsonl, or hex [raw]
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true, help_heading = RECORD)]
    pub(super) output_format: Option<String>,
    /// Mask logins in a dialog that is recorded
    #[arg(long, help_heading = RECORD)]
    pub(super) redact: bool,
    /// Append to the recordings
    #[arg(long, help_heading = RECORD)]
    pub(super) append_output: bool,
    /// On a terminal: auto shows escape sequences but for colours, strict shows all, off none [auto]
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, help_heading = RECORD)]
    pub(super) safe_output: Option<String>,
    /// Tell the story; twice: more
    #[arg(short, long, action = ArgAction::Count, help_heading = RECORD)]
    pub(super) verbose: u8,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = RECORD)]
    pub(super) help: Option<bool>,
    /// Print the version
    #[arg(long, help_heading = RECORD)]
    pub(super) version: bool,

    /// Print NCAT TEST: LISTEN for each socket that listens
    #[arg(long, hide = true)]
    pub(super) test: bool,
    /// Run this Lua script on standard input and output
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) lua_exec_internal: Option<PathBuf>,
    /// Print completions for a shell
    #[arg(long, value_name = "SHELL", hide = true)]
    pub(super) completions: Option<String>,
}
