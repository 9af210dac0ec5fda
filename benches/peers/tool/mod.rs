//! The other roles of this program: what feeds, drains and loads the contenders. They are the same
//! for all contenders of a scenario.

mod callers;
pub(crate) mod datagram;
pub(crate) mod mail;
pub(crate) mod pattern;
mod room;
mod socket;
pub(crate) mod stream;

use crate::limit;

/// What went wrong, in words.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Plays the role that the first argument names.
pub(crate) fn play(args: &[String]) -> Outcome {
    let role = args.first().map_or("", String::as_str);
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match role {
        "fill" => stream::fill(&rest),
        "drain" => stream::drain(&rest),
        "send" => socket::send(&rest),
        "receive" => socket::receive(&rest),
        "answer" => socket::answer(&rest),
        "echo" => callers::echo(&rest),
        "knock" => callers::knock(&rest),
        "ping" => callers::ping(&rest),
        "stay" => callers::stay(&rest),
        "talk" => room::talk(&rest),
        "mail" => mail::serve(&rest),
        "datagrams-out" => datagram::write(&rest),
        "datagrams-in" => datagram::read(&rest),
        "answer-tls" => limit::tls::answer(&rest),
        "limit-splice-send" => limit::plain::splice_send(&rest),
        "limit-splice-receive" => limit::plain::splice_receive(&rest),
        "limit-sendfile" => limit::plain::sendfile(&rest),
        "limit-both" => limit::plain::both(&rest),
        "limit-relay" => limit::plain::relay(&rest),
        "limit-echo-relay" => limit::plain::echo_relay(&rest),
        "limit-tls-send" => limit::tls::send(&rest),
        "limit-tls-receive" => limit::tls::receive(&rest),
        "limit-accept" => limit::servers::accept(&rest),
        "limit-broker" => limit::servers::broker(&rest),
        "limit-spawn" => limit::servers::spawn(&rest),
        "limit-udp-send" => limit::servers::udp_send(&rest),
        "limit-udp-receive" => limit::servers::udp_receive(&rest),
        other => Err(format!("there is no role {other:?}").into()),
    }
}

/// The argument at `at`, as a number or a port.
pub(crate) fn number<T: std::str::FromStr>(args: &[&str], at: usize) -> Result<T, String> {
    let word = args.get(at).ok_or_else(|| format!("argument {at} is missing"))?;
    word.parse().map_err(|_| format!("{word:?} is not what argument {at} is to be"))
}
