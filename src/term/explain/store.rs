//! What a reply of POP3 or IMAP means.
//!
//! RFC 1939 and 9051 (commands), 2449, 3206 and 5530 (codes in brackets). A code in brackets says
//! more than the command that it answers.

use super::Then::{self, Change, End, Later, Next};
use super::{CHANGE, line};

/// Explains a POP3 reply in one line: `command` is what it answers in upper case (`GREETING` for
/// none), `code` is the response code in brackets, in upper case.
pub fn pop3(command: &str, ok: bool, code: Option<&str>) -> Option<String> {
    let status = if ok { "+OK" } else { "-ERR" };
    find(code, POP3, command, status).or_else(|| general(ok))
}

/// Explains an IMAP reply in one line: `status` is OK, NO, BAD, PREAUTH or BYE; the rest as for
/// [`pop3`], the code without its arguments.
pub fn imap(command: &str, status: &str, code: Option<&str>) -> Option<String> {
    find(code, IMAP, command, status).or_else(|| match status {
        "BAD" => Some(line(
            "the server does not understand this command",
            Change("check its spelling, its arguments and the tag before it"),
        )),
        other => general(other == "OK"),
    })
}

fn general(ok: bool) -> Option<String> {
    Some(if ok { line("done", End) } else { line("refused", CHANGE) })
}

/// A command, a status, and what both together mean.
type Row = (&'static str, &'static str, &'static str, Then);

fn find(code: Option<&str>, table: &[Row], command: &str, status: &str) -> Option<String> {
    let of_code = CODES.iter().find(|(name, ..)| code == Some(*name)).map(|row| (row.1, row.2));
    let of_command = || {
        let is_meant = |row: &&Row| row.0 == command && row.1 == status;
        table.iter().find(is_meant).map(|row| (row.2, row.3))
    };
    of_code.or_else(of_command).map(|(what, then)| line(what, then))
}

const PASSWORD: Then =
    Change("check user and password; some providers want an app password or a token");

/// Codes in brackets, of both protocols.
const CODES: &[(&str, &str, Then)] = &[
    ("IN-USE", "somebody else has this mailbox open", Later("close it there, or wait")),
    ("LOGIN-DELAY", "logins come too fast for this server", Later("wait some minutes")),
    ("AUTH", "user or password is wrong", PASSWORD),
    ("SYS/TEMP", "the server has a fault", Later("try again later")),
    ("SYS/PERM", "the server has a fault that stays", Change("tell who runs it")),
    ("AUTHENTICATIONFAILED", "user or password is wrong", PASSWORD),
    ("AUTHORIZATIONFAILED", "logged in, but not allowed to act for this user", CHANGE),
    ("EXPIRED", "the password has expired", Change("set a new one with the provider")),
    ("UNAVAILABLE", "a part of the server does not work now", Later("try again later")),
    ("PRIVACYREQUIRED", "this needs TLS first", Change("STARTTLS, or --ssl on port 993")),
    ("CONTACTADMIN", "only who runs the server can help", Change("tell who runs it")),
    ("ALERT", "the server wants you to read its text", End),
    ("OVERQUOTA", "the mailbox is full", Change("delete something, or get more room")),
    ("TRYCREATE", "there is no such mailbox", Next("CREATE makes it, then do it again")),
    ("NONEXISTENT", "there is no such mailbox", Change("LIST \"\" \"*\" shows which there are")),
    ("ALREADYEXISTS", "this mailbox is there already", End),
    ("NOPERM", "you may not do this", Change("ask who runs the server")),
    ("INUSE", "something else holds this", Later("try again soon")),
    ("CANNOT", "the server can never do this", CHANGE),
    ("LIMIT", "a limit of the server is reached", Later("ask for less")),
    ("EXPUNGEISSUED", "another session has deleted messages", Next("NOOP brings you up to date")),
    ("CORRUPTION", "the server's data is damaged", Change("tell who runs it")),
    ("SERVERBUG", "the server has a fault", Later("try again, and tell who runs it")),
    ("CLIENTBUG", "the server takes this command for a mistake", Change("read its text")),
    ("READ-ONLY", "the mailbox is open, for reading only", Next("FETCH 1:* (FLAGS), SEARCH ALL")),
    ("READ-WRITE", "the mailbox is open", Next("FETCH 1:* (FLAGS), SEARCH ALL, or FETCH 1 BODY[]")),
    ("APPENDUID", "the message is stored, under the UID behind the code", End),
    ("COPYUID", "the messages are copied, under the UIDs behind the code", End),
];

const POP3: &[Row] = &[
    ("GREETING", "+OK", "the server is ready", Next("CAPA to see what it can, or USER NAME")),
    ("GREETING", "-ERR", "the server wants no callers now", Later("try again later")),
    ("CAPA", "+OK", "what the server can, up to the lone dot", Next("STLS if listed, then USER")),
    ("CAPA", "-ERR", "it lists nothing, and may still know USER and PASS", Next("USER NAME")),
    ("STLS", "+OK", "TLS begins now", Next("CAPA again, then USER NAME")),
    ("STLS", "-ERR", "no TLS here", Change("try port 995 with TLS from the first byte (--ssl)")),
    ("USER", "+OK", "the name is noted, whether it exists or not", Next("PASS PASSWORD")),
    ("USER", "-ERR", "no login this way", Change("TLS first (STLS), or AUTH")),
    ("PASS", "+OK", "logged in, and the mailbox is yours", Next("STAT, LIST, or RETR 1")),
    ("PASS", "-ERR", "wrong user or password, or a busy mailbox", PASSWORD),
    ("AUTH", "+OK", "logged in, and the mailbox is yours", Next("STAT, LIST, or RETR 1")),
    ("AUTH", "-ERR", "the login failed", PASSWORD),
    ("STAT", "+OK", "the number of messages, then their octets", Next("LIST, or RETR 1")),
    ("LIST", "+OK", "number and size (or id) of each, up to the lone dot", Next("RETR 1")),
    ("LISTONE", "+OK", "number and size (or id) of this message", Next("RETR with its number")),
    ("LISTONE", "-ERR", "there is no such message", Change("LIST shows which there are")),
    ("RETR", "+OK", "the message, up to the lone dot; it stays there", Next("DELE N, or QUIT")),
    ("RETR", "-ERR", "there is no such message", Change("LIST shows which there are")),
    ("TOP", "+OK", "header and first lines, up to the lone dot", Next("RETR N for all of it")),
    ("TOP", "-ERR", "no such message, or no TOP here", Change("LIST shows which there are")),
    ("DELE", "+OK", "marked; it goes when you QUIT", Next("RSET takes the mark back")),
    ("DELE", "-ERR", "there is no such message", Change("LIST shows which there are")),
    ("RSET", "+OK", "all marks of DELE are taken back", End),
    ("NOOP", "+OK", "the server is still there", End),
    ("QUIT", "+OK", "goodbye; what was marked is deleted", End),
    ("QUIT", "-ERR", "goodbye, but not all that was marked is deleted", End),
];

const IMAP: &[Row] = &[
    ("GREETING", "OK", "the server is ready", Next("a1 CAPABILITY, or a1 LOGIN USER PASSWORD")),
    ("GREETING", "PREAUTH", "you are logged in already", Next("a1 SELECT INBOX")),
    ("GREETING", "BYE", "the server hangs up: its text says why", Later("try again later")),
    ("CAPABILITY", "OK", "the * line above lists what the server can", Next("STARTTLS or LOGIN")),
    ("STARTTLS", "OK", "TLS begins now", Next("a2 CAPABILITY again, then LOGIN")),
    ("STARTTLS", "NO", "no TLS here", Change("try port 993 with TLS from the first byte (--ssl)")),
    ("LOGIN", "OK", "logged in", Next("a2 SELECT INBOX, or a2 LIST \"\" \"*\"")),
    ("LOGIN", "NO", "user or password is wrong", PASSWORD),
    ("AUTHENTICATE", "OK", "logged in", Next("a2 SELECT INBOX, or a2 LIST \"\" \"*\"")),
    ("AUTHENTICATE", "NO", "the login failed", PASSWORD),
    ("SELECT", "OK", "the mailbox is open; EXISTS counts its messages", Next("FETCH 1 BODY[]")),
    ("SELECT", "NO", "there is no such mailbox", Change("LIST \"\" \"*\" shows which there are")),
    ("APPEND", "OK", "the message is stored", End),
    ("APPEND", "NO", "the message was not stored", CHANGE),
    ("MESSAGES", "OK", "done; the * lines above are the answer", End),
    ("MESSAGES", "NO", "it could not be done, or only in part", CHANGE),
    ("IDLE", "OK", "the server no longer tells what arrives", End),
    ("LOGOUT", "OK", "goodbye", End),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_more_than_the_command_it_answers() {
        let pop3 = |command, ok, code| pop3(command, ok, code).unwrap();
        assert!(pop3("PASS", false, Some("IN-USE")).contains("has this mailbox open"));
        assert!(pop3("PASS", false, None).starts_with("wrong user"));
        assert!(pop3("XTND", false, None).starts_with("refused"));
        let imap = |command, status, code| imap(command, status, code).unwrap();
        assert!(imap("LOGIN", "NO", Some("UNAVAILABLE")).contains("temporary"));
        assert!(imap("LOGIN", "NO", Some("X-UNKNOWN")).contains("password is wrong"));
        assert!(imap("OTHER", "BAD", None).contains("tag"));
        assert_eq!(imap("OTHER", "OK", None), "done");
    }

    #[test]
    fn every_line_is_short_and_has_no_full_stop() {
        let codes = CODES.iter().map(|row| line(row.1, row.2));
        let rows = POP3.iter().chain(IMAP).map(|row| line(row.2, row.3));
        for text in codes.chain(rows) {
            assert!(text.chars().count() <= 130 && !text.ends_with('.'), "{text}");
        }
    }
}
