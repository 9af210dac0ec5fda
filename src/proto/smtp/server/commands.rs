//! The commands, one by one.

use super::address::{Wrong, check, path};
use super::content::{Content, has_bare, lint, normalized};
use super::{BareNewline, Hello, Server, State};
use crate::proto::Ports;
use crate::proto::fault::{Act, What};
use crate::proto::sasl::server::offered;
use crate::proto::serving::{Delivery, Event, Protection};
use crate::proto::store::Refusal;

/// More octets in one chunk than anybody means: the caller is left.
const ABSURD: u64 = 1 << 40;

/// A message on its way.
#[derive(Debug, Default)]
pub(super) struct Letter {
    from: String,
    parameters: Vec<String>,
    may_be_eight_bit: bool,
    is_binary: bool,
    smtputf8: bool,
    pub(super) to: Vec<(String, Vec<String>)>,
    /// What has come by BDAT.
    pub(super) chunks: Option<Content>,
}

/// A command and its argument.
pub(super) fn split(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches([' ', '\t']);
    let at = line.find([' ', '\t']).unwrap_or(line.len());
    (&line[..at], line[at..].trim_matches([' ', '\t']))
}

/// The address in the argument of MAIL or RCPT, for rules about it; else the argument itself.
pub(super) fn address_of(argument: &str) -> &str {
    let Some((_, rest)) = argument.split_once(':') else { return argument };
    path(rest).map_or(argument, |path| path.address)
}

impl Server {
    /// Does what a line says.
    pub(super) fn execute(&mut self, line: &str, ports: &mut Ports<'_>) {
        let (verb, argument) = split(line);
        let verb = verb.to_ascii_uppercase();
        let verb = verb.as_str();
        if self.refuses_all && verb != "QUIT" {
            return self.reply(ports, 503, "5.5.1 There is no service here: say QUIT");
        }
        if self.must_upgrade()
            && !matches!(verb, "EHLO" | "HELO" | "LHLO" | "NOOP" | "QUIT" | "STARTTLS")
        {
            return self.reply(ports, 530, "5.7.0 Say STARTTLS first");
        }
        match verb {
            "EHLO" | "HELO" | "LHLO" => self.hello(verb, argument, ports),
            "STARTTLS" => self.starttls(argument, ports),
            "AUTH" => self.auth(argument, ports),
            "MAIL" => self.mail(argument, ports),
            "RCPT" => self.rcpt(argument, ports),
            "DATA" => self.begin_data(argument, ports),
            "BDAT" => self.bdat(argument, ports),
            "RSET" if argument.is_empty() => {
                self.letter = None;
                self.reply(ports, 250, "2.0.0 Ok");
            }
            "NOOP" => self.reply(ports, 250, "2.0.0 Ok"),
            "QUIT" if argument.is_empty() => {
                let bye = format!("2.0.0 {} says good-bye", self.serving().host);
                self.reply(ports, 221, &bye);
                self.state = State::Ending;
            }
            "RSET" | "QUIT" => {
                self.reply(ports, 501, &format!("5.5.4 {verb} takes no argument"));
            }
            "VRFY" if argument.is_empty() => self.reply(ports, 501, "5.5.4 VRFY takes an address"),
            "VRFY" => self.reply(ports, 252, "2.1.5 Every address is taken here: send and see"),
            "EXPN" => self.reply(ports, 502, "5.5.1 There are no lists here"),
            "HELP" => self.reply(
                ports,
                214,
                "2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY AUTH STARTTLS QUIT (RFC 5321)",
            ),
            "XCLIENT" if self.settings.xclient => self.xclient(argument, ports),
            _ => self.reply(ports, 500, "5.5.2 There is no such command"),
        }
        if !ports.peer.rest().is_empty() && !self.may_be_followed(verb) {
            self.blame(
                "it went on without waiting for a reply that decides (RFC 2920 section 3.1)",
            );
        }
    }

    /// May something stand behind this command before it is answered?
    fn may_be_followed(&self, verb: &str) -> bool {
        let pipelining = self.hello.as_ref().is_some_and(|hello| hello.extended)
            && !self.serving().hides("PIPELINING");
        // A chunk follows its command, and its reply decides nothing.
        verb == "BDAT" || (pipelining && matches!(verb, "MAIL" | "RCPT" | "RSET"))
    }

    fn must_upgrade(&self) -> bool {
        self.serving().protection == Protection::Required && !self.protected
    }

    fn offers_starttls(&self) -> bool {
        let wanted =
            matches!(self.serving().protection, Protection::Offered | Protection::Required);
        wanted && !self.protected && !self.serving().hides("STARTTLS")
    }

    fn hello(&mut self, verb: &str, name: &str, ports: &mut Ports<'_>) {
        if self.settings.lmtp != (verb == "LHLO") {
            let want = if self.settings.lmtp { "LHLO, this is LMTP" } else { "EHLO" };
            return self.reply(ports, 500, &format!("5.5.1 Say {want}"));
        }
        if name.is_empty() {
            return self.reply(ports, 501, &format!("5.5.4 {verb} takes your host name"));
        }
        if name.chars().any(|c| c.is_control() || c == ' ') || name.len() > 255 {
            return self.reply(ports, 501, "5.5.4 This is no host name");
        }
        let extended = verb != "HELO";
        self.letter = None;
        self.unnamed_since_tls = false;
        self.hello = Some(Hello { name: name.to_owned(), extended });
        let host = &self.serving().host;
        let mut lines = vec![match extended {
            true => format!("{host} greets {name}"),
            false => host.clone(),
        }];
        if extended {
            lines.extend(self.offers());
        }
        self.reply(ports, 250, &lines.join("\n"));
    }

    /// What EHLO announces.
    fn offers(&self) -> Vec<String> {
        let serving = self.serving();
        let mut offers = Vec::new();
        let mut offer = |name: &str, line: String| {
            if !serving.hides(name) {
                offers.push(line);
            }
        };
        for name in ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN"] {
            // RFC 3030 §3: binary content needs chunks.
            if name != "BINARYMIME" || !serving.hides("CHUNKING") {
                offer(name, name.to_owned());
            }
        }
        offer("ENHANCEDSTATUSCODES", "ENHANCEDSTATUSCODES".to_owned());
        offer("SIZE", format!("SIZE {}", serving.most_octets));
        offer("LIMITS", format!("LIMITS RCPTMAX={}", self.settings.most_recipients));
        if self.offers_starttls() {
            offer("STARTTLS", "STARTTLS".to_owned());
        }
        let mechanisms = match self.must_upgrade() {
            true => Vec::new(),
            false => offered(serving, self.protected),
        };
        if !mechanisms.is_empty() && self.login.is_none() {
            let names: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            offer("AUTH", format!("AUTH {}", names.join(" ")));
        }
        if self.settings.xclient {
            offer(
                "XCLIENT",
                "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT".to_owned(),
            );
        }
        offers
    }

    fn starttls(&mut self, argument: &str, ports: &mut Ports<'_>) {
        if self.protected {
            return self.reply(ports, 503, "5.5.1 TLS is on already");
        }
        if !self.offers_starttls() {
            return self.reply(ports, 502, "5.5.1 There is no STARTTLS here");
        }
        if !argument.is_empty() {
            return self.reply(ports, 501, "5.5.4 STARTTLS takes no argument");
        }
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return self.reply(ports, 503, "5.5.1 Say EHLO first");
        }
        match self.twist.take() {
            Some(What::StartTlsFail) => {
                self.reply(ports, 220, "2.0.0 Go ahead");
                ports.to_peer.push(b"\x00\xff this is no TLS\r\n");
                self.strike(Act::Drop);
            }
            Some(What::Inject(octets)) => {
                self.reply(ports, 220, "2.0.0 Go ahead");
                ports.to_peer.push(&octets);
                self.upgrades = true;
            }
            twist @ (Some(_) | None) => {
                let goes_on = twist.is_none();
                self.twist = twist;
                self.reply(ports, 220, "2.0.0 Go ahead");
                self.upgrades = goes_on;
            }
        }
    }

    /// What every parameter means, or why it is none. `Err` holds the reply.
    fn parameters(
        &self,
        rest: &str,
        letter: Option<&mut Letter>,
    ) -> Result<Vec<String>, (u16, String)> {
        let mut letter = letter;
        let mut all = Vec::new();
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        for word in rest.split([' ', '\t']).filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let name = name.to_ascii_uppercase();
            let upper = value.to_ascii_uppercase();
            let unknown = || (555, format!("5.5.4 {name} is not known here"));
            let wrong = || (501, format!("5.5.4 {name} cannot have this value"));
            // It may come to stand in a header.
            if value.chars().any(char::is_control) {
                return Err(wrong());
            }
            let needs = |extension: &str| match self.serving().hides(extension) || !extended {
                true => Err(unknown()),
                false => Ok(()),
            };
            match (&mut letter, name.as_str()) {
                (Some(_), "SIZE") => {
                    needs("SIZE")?;
                    let size: u64 = value.parse().map_err(|_| wrong())?;
                    if size > self.serving().most_octets {
                        let most = self.serving().most_octets;
                        return Err((552, format!("5.3.4 The most here is {most} octets")));
                    }
                }
                (Some(letter), "BODY") => {
                    match upper.as_str() {
                        "7BIT" | "8BITMIME" => needs("8BITMIME")?,
                        "BINARYMIME" => needs("BINARYMIME").and(needs("CHUNKING"))?,
                        _ => return Err(wrong()),
                    }
                    letter.may_be_eight_bit = upper != "7BIT";
                    letter.is_binary = upper == "BINARYMIME";
                }
                (Some(_), "SMTPUTF8") if value.is_empty() => needs("SMTPUTF8")?,
                (Some(_), "RET") => {
                    needs("DSN")?;
                    matches!(upper.as_str(), "FULL" | "HDRS").then_some(()).ok_or_else(wrong)?;
                }
                (Some(_), "ENVID") if !value.is_empty() => needs("DSN")?,
                (Some(_), "AUTH") if !value.is_empty() => needs("AUTH")?,
                (None, "NOTIFY") => {
                    needs("DSN")?;
                    let known = |word: &str| matches!(word, "SUCCESS" | "FAILURE" | "DELAY");
                    (upper == "NEVER" || upper.split(',').all(known))
                        .then_some(())
                        .ok_or_else(wrong)?;
                }
                (None, "ORCPT") => {
                    needs("DSN")?;
                    value.contains(';').then_some(()).ok_or_else(wrong)?;
                }
                (Some(_) | None, _) => return Err(unknown()),
            }
            all.push(word.to_owned());
        }
        Ok(all)
    }

    fn mail(&mut self, argument: &str, ports: &mut Ports<'_>) {
        if self.hello.is_none() {
            if self.unnamed_since_tls {
                self.blame("no EHLO after STARTTLS (RFC 3207 section 4.2)");
            }
            let hello = if self.settings.lmtp { "LHLO" } else { "EHLO" };
            return self.reply(ports, 503, &format!("5.5.1 Say {hello} first"));
        }
        if self.letter.is_some() {
            return self.reply(ports, 503, "5.5.1 There is a sender already: RSET forgets it");
        }
        if self.login.is_none() && !self.serving().accounts.users.is_empty() {
            return self.reply(ports, 530, "5.7.0 Log in first");
        }
        let Some(rest) = after(argument, "FROM:") else {
            return self.reply(ports, 501, "5.5.4 It is MAIL FROM:<address>");
        };
        let Some(path) = path(rest) else {
            return self.reply(ports, 501, "5.1.7 This is no address: it is MAIL FROM:<address>");
        };
        let mut letter = Letter { from: path.address.to_owned(), ..Letter::default() };
        letter.smtputf8 = path.rest.split([' ', '\t']).any(|w| w.eq_ignore_ascii_case("SMTPUTF8"));
        // What the extension allows, the parameter allows.
        letter.may_be_eight_bit = letter.smtputf8;
        match self.parameters(path.rest, Some(&mut letter)) {
            Ok(parameters) => letter.parameters = parameters,
            Err((code, text)) => return self.reply(ports, code, &text),
        }
        let checked = match path.address {
            "" => Ok(None),
            address => check(address, letter.smtputf8),
        };
        match checked {
            Ok(lint) => {
                for lint in path.lint.into_iter().chain(lint) {
                    self.blame(lint);
                }
                self.letter = Some(letter);
                self.reply(ports, 250, &format!("2.1.0 <{}> is the sender", path.address));
            }
            Err(wrong) => self.no_address(wrong, "5.1.7", ports),
        }
    }

    fn no_address(&mut self, wrong: Wrong, code: &str, ports: &mut Ports<'_>) {
        match wrong {
            Wrong::Syntax => self.reply(ports, 501, &format!("{code} This is no address")),
            Wrong::NotAscii => {
                self.reply(ports, 553, "5.6.7 An address that is not ASCII needs SMTPUTF8");
            }
        }
    }

    fn rcpt(&mut self, argument: &str, ports: &mut Ports<'_>) {
        let Some(letter) = &self.letter else {
            return self.reply(ports, 503, "5.5.1 Say MAIL first");
        };
        if letter.chunks.is_some() {
            return self.reply(ports, 503, "5.5.1 The message has begun already");
        }
        let Some(rest) = after(argument, "TO:") else {
            return self.reply(ports, 501, "5.5.4 It is RCPT TO:<address>");
        };
        let Some(path) = path(rest) else {
            return self.reply(ports, 501, "5.1.3 This is no address: it is RCPT TO:<address>");
        };
        let parameters = match self.parameters(path.rest, None) {
            Ok(parameters) => parameters,
            Err((code, text)) => return self.reply(ports, code, &text),
        };
        match check(path.address, letter.smtputf8) {
            Err(wrong) => self.no_address(wrong, "5.1.3", ports),
            Ok(_) if letter.to.len() >= self.settings.most_recipients => {
                let most = self.settings.most_recipients;
                self.reply(ports, 452, &format!("4.5.3 The most here are {most} recipients"));
            }
            Ok(lint) => {
                for lint in path.lint.into_iter().chain(lint) {
                    self.blame(lint);
                }
                if let Some(letter) = &mut self.letter {
                    letter.to.push((path.address.to_owned(), parameters));
                }
                self.reply(ports, 250, &format!("2.1.5 <{}> is a recipient", path.address));
            }
        }
    }

    fn begin_data(&mut self, argument: &str, ports: &mut Ports<'_>) {
        let Some(letter) = &self.letter else {
            return self.reply(ports, 503, "5.5.1 Say MAIL first");
        };
        if letter.to.is_empty() {
            // RFC 5321 §3.3 allows both; this one says more.
            return self.reply(ports, 554, "5.5.1 There is no valid recipient");
        }
        if letter.chunks.is_some() {
            return self.reply(ports, 503, "5.5.1 The message has begun by BDAT");
        }
        if letter.is_binary {
            return self.reply(ports, 503, "5.5.1 BODY=BINARYMIME goes by BDAT");
        }
        if !argument.is_empty() {
            return self.reply(ports, 501, "5.5.4 DATA takes no argument");
        }
        self.state = State::Data(Content::new(self.serving().most_octets));
        self.reply(ports, 354, "Go ahead; a line with a single dot is the end");
    }

    fn bdat(&mut self, argument: &str, ports: &mut Ports<'_>) {
        let Some((size, last)) = chunk(argument) else {
            return self.reply(ports, 501, "5.5.4 It is BDAT OCTETS or BDAT OCTETS LAST");
        };
        if size > ABSURD {
            self.reply(ports, 552, "5.3.4 Nobody sends so much at once, good-bye");
            self.state = State::Ending;
            return;
        }
        // The octets come whatever we say: they are eaten, not read as commands (RFC 3030 §2).
        self.state = State::Chunk { left: size, last, content: None };
        if self.serving().hides("CHUNKING") {
            return self.reply(ports, 502, "5.5.1 There is no CHUNKING here");
        }
        let most = self.serving().most_octets;
        let Some(letter) = &mut self.letter else {
            return self.reply(ports, 503, "5.5.1 Say MAIL first");
        };
        if letter.to.is_empty() {
            return self.reply(ports, 554, "5.5.1 There is no valid recipient");
        }
        let content = letter.chunks.take().unwrap_or_else(|| Content::new(most));
        self.state = State::Chunk { left: size, last, content: Some(content) };
    }

    /// A message is there whole.
    pub(super) fn finish(&mut self, content: Content, struck: bool, ports: &mut Ports<'_>) {
        let Some(letter) = self.letter.take() else { return };
        if !struck {
            self.letter = Some(letter);
            let fault = self.fault("dot", "");
            match fault {
                Some(What::Reply(words)) => {
                    let replies = if self.settings.lmtp { self.recipients() } else { 1 };
                    self.letter = None;
                    for _ in 0..replies {
                        self.words(ports, &words);
                    }
                }
                Some(What::Act(act)) => {
                    if self.strike(act) {
                        self.state = State::Finished(content, true);
                    }
                }
                twist @ (Some(_) | None) => {
                    if twist.is_some() {
                        self.twist = twist;
                    }
                    self.finish(content, true, ports);
                }
            }
            return;
        }
        let refusal = if content.is_too_long() {
            let (most, total) = (self.serving().most_octets, content.total());
            Some((552, format!("5.3.4 {total} octets: the most here is {most}")))
        } else {
            None
        };
        let mut octets = content.into_octets();
        let bare = match self.settings.bare {
            BareNewline::Keep => (false, false),
            BareNewline::Normalize | BareNewline::Reject => has_bare(&octets),
        };
        let refusal = refusal.or_else(|| {
            let rejects = self.settings.bare == BareNewline::Reject && bare != (false, false);
            rejects.then(|| (550, "5.6.0 There is a CR or LF that is no line end".to_owned()))
        });
        if let Some((code, text)) = refusal {
            let replies = if self.settings.lmtp { letter.to.len() } else { 1 };
            for _ in 0..replies {
                self.reply(ports, code, &text);
            }
            return;
        }
        for lint in lint(&octets, letter.may_be_eight_bit) {
            self.blame(lint);
        }
        if bare != (false, false) {
            octets = normalized(&octets);
        }
        let with = self.with(letter.smtputf8);
        let hello = self.hello.as_ref().map(|hello| hello.name.clone());
        self.news.push_back(Event::Message(Box::new(Delivery {
            helo: hello.unwrap_or_default(),
            with,
            login: self.login.clone(),
            from: letter.from,
            parameters: letter.parameters,
            to: letter.to,
            client: self.client.clone(),
            content: octets,
            lint: std::mem::take(&mut self.lint),
        })));
        self.state = State::Storing;
    }

    fn recipients(&self) -> usize {
        self.letter.as_ref().map_or(0, |letter| letter.to.len())
    }

    /// The protocol, as RFC 3848 and RFC 6531 name it.
    fn with(&self, smtputf8: bool) -> &'static str {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match (self.settings.lmtp, smtputf8, self.protected, self.login.is_some()) {
            (false, ..) if !extended => "SMTP",
            (false, false, false, false) => "ESMTP",
            (false, false, true, false) => "ESMTPS",
            (false, false, false, true) => "ESMTPA",
            (false, false, true, true) => "ESMTPSA",
            (false, true, false, false) => "UTF8SMTP",
            (false, true, true, false) => "UTF8SMTPS",
            (false, true, false, true) => "UTF8SMTPA",
            (false, true, true, true) => "UTF8SMTPSA",
            (true, false, false, false) => "LMTP",
            (true, false, true, false) => "LMTPS",
            (true, false, false, true) => "LMTPA",
            (true, false, true, true) => "LMTPSA",
            (true, true, false, false) => "UTF8LMTP",
            (true, true, true, false) => "UTF8LMTPS",
            (true, true, false, true) => "UTF8LMTPA",
            (true, true, true, true) => "UTF8LMTPSA",
        }
    }

    /// The mode has kept it, or not.
    pub(super) fn stored(&mut self, outcome: Vec<Result<String, Refusal>>, ports: &mut Ports<'_>) {
        if self.settings.lmtp {
            // Each recipient has a reply of its own (RFC 2033 §4.2).
            for one in &outcome {
                self.reply_stored(one, ports);
            }
            return;
        }
        let refused = outcome.iter().find(|one| one.is_err());
        if let Some(told) = refused.or(outcome.first()) {
            self.reply_stored(told, ports);
        }
    }

    fn reply_stored(&mut self, one: &Result<String, Refusal>, ports: &mut Ports<'_>) {
        match one {
            Ok(id) => self.reply(ports, 250, &format!("2.0.0 Ok: queued as {id}")),
            Err(Refusal::Full) => self.reply(ports, 452, "4.3.1 The disk is full"),
            Err(Refusal::NoSuchFolder | Refusal::BadName(_)) => {
                self.reply(ports, 550, "5.1.1 There is no mailbox for this address");
            }
            Err(Refusal::InUse) => {
                self.reply(ports, 451, "4.2.0 Another program has locked the mailbox");
            }
            Err(
                Refusal::Exists
                | Refusal::ReadOnly
                | Refusal::Gone
                | Refusal::Limit(_)
                | Refusal::Broken(_),
            ) => self.reply(ports, 451, "4.3.0 The message could not be kept"),
        }
    }

    /// Postfix's XCLIENT: a proxy in front of us says whom it speaks for.
    fn xclient(&mut self, argument: &str, ports: &mut Ports<'_>) {
        if self.letter.is_some() {
            return self.reply(ports, 503, "5.5.1 There is a message on its way");
        }
        let (mut address, mut name) = self.client.clone().unwrap_or_default();
        for word in argument.split([' ', '\t']).filter(|word| !word.is_empty()) {
            let Some((attribute, value)) = word.split_once('=') else {
                return self.reply(ports, 501, "5.5.4 It is XCLIENT ATTRIBUTE=VALUE");
            };
            let Some(value) = from_xtext(value) else {
                return self.reply(ports, 501, "5.5.4 This value is no xtext (RFC 1891)");
            };
            let is_known = !matches!(value.as_str(), "[UNAVAILABLE]" | "[TEMPUNAVAIL]");
            match attribute.to_ascii_uppercase().as_str() {
                "NAME" => name = is_known.then_some(value),
                "ADDR" if is_known => address = value,
                "LOGIN" if is_known => self.login = Some((value, "XCLIENT")),
                "ADDR" | "LOGIN" | "PORT" | "PROTO" | "HELO" | "DESTADDR" | "DESTPORT" => {}
                _ => return self.reply(ports, 501, "5.5.4 There is no such attribute"),
            }
        }
        self.client = Some((address, name));
        self.hello = None;
        let greeting = format!("{} ESMTP ncat, a mock server", self.serving().host);
        self.reply(ports, 220, &greeting);
    }
}

/// The argument of BDAT: octets (no number is too large to be one), and whether they are the last.
pub(super) fn chunk(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let size = words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") && words.next().is_none() => true,
        Some(_) => return None,
    };
    Some((size.parse().unwrap_or(u64::MAX), last))
}

/// What stands behind `FROM:` or `TO:`, in any case.
fn after<'a>(argument: &'a str, word: &str) -> Option<&'a str> {
    let head = argument.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &argument[word.len()..])
}

/// `a+2Bb` is `a+b` (RFC 3461 §4); controls are nobody's.
fn from_xtext(value: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'+', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                after
            }
            (b'+', _) => return None,
            (byte, after) => {
                out.push(*byte);
                after
            }
        };
    }
    String::from_utf8(out).ok().filter(|value| !value.chars().any(char::is_control))
}
