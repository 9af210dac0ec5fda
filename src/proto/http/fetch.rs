//! A request forwarded to its origin server, and the answer on its way back.
//!
//! The origin server is on the user side, the caller on the peer side. Bodies are as long as
//! Content-Length says, that of an answer alternatively up to its end.

use super::forward;
use super::head::{self, Reader, clipped};
use crate::proto::{Ports, ProtocolError};

/// How far the answer has come.
#[derive(Debug)]
enum Answer {
    /// Its head is next; that of a 1xx is none.
    Head(Reader),
    /// So many bytes of its body are missing.
    Sized(u64),
    /// Its body ends when the origin server hangs up.
    Endless,
}

/// The exchange, once the origin server is connected.
#[derive(Debug)]
pub(super) struct Fetch {
    /// The rewritten head, until it is sent.
    request: Vec<u8>,
    /// What is missing of the request's body.
    body_left: u64,
    /// The answer has no body, whatever its head says.
    is_head: bool,
    answer: Answer,
}

impl Fetch {
    /// With the rewritten head and the length of the body behind it.
    pub(super) fn new(method: &str, request: Vec<u8>, body: u64) -> Self {
        let answer = Answer::Head(Reader::default());
        Self { request, body_left: body, is_head: method == "HEAD", answer }
    }

    /// Carries what can be carried. True when the answer is complete.
    ///
    /// # Errors
    /// What the origin server says is no answer, or ends too early.
    pub(super) fn carry(&mut self, ports: &mut Ports<'_>) -> Result<bool, ProtocolError> {
        ports.to_user.push(&std::mem::take(&mut self.request));
        self.carry_request(ports);
        loop {
            match &mut self.answer {
                Answer::Head(reader) => match reader.read(&mut ports.user) {
                    Ok(Some(head)) => {
                        if let Some(answer) = self.answered(&head, ports)? {
                            self.answer = answer;
                        }
                    }
                    Ok(None) => {
                        head::status_line(reader.first_line(&ports.user))?;
                        if ports.user.eof {
                            return Err(ProtocolError::Cut {
                                waiting_for: "the end of the origin server's answer",
                            });
                        }
                        return Ok(false);
                    }
                    Err(limit) => return Err(limit.error(reader.first_line(&ports.user))),
                },
                Answer::Sized(left) => {
                    *left -= carry_body(ports, *left);
                    return match *left {
                        0 => Ok(true),
                        _ if ports.user.is_over() => Err(ProtocolError::Cut {
                            waiting_for: "the end of the origin server's answer",
                        }),
                        _ => Ok(false),
                    };
                }
                Answer::Endless => {
                    carry_body(ports, u64::MAX);
                    return Ok(ports.user.is_over());
                }
            }
        }
    }

    fn carry_request(&mut self, ports: &mut Ports<'_>) {
        let n = up_to(ports.peer.rest().len().min(ports.to_user.room()), self.body_left);
        ports.to_user.push(ports.peer.eat(n));
        self.body_left -= n as u64;
        // The caller breaks off: the origin server must not wait for the rest. After a whole
        // body nothing is closed, for some servers take that for the caller's leaving.
        if self.body_left > 0 && ports.peer.is_over() {
            ports.to_user.end();
        }
    }

    /// A head has come. What follows it, unless it was that of a 1xx: the caller speaks HTTP/1.0
    /// as far as we know, which has none (RFC 9110 §15.2).
    fn answered(
        &self,
        head: &[u8],
        ports: &mut Ports<'_>,
    ) -> Result<Option<Answer>, ProtocolError> {
        let (line, lines) = head::split_first_line(head);
        let Some((code, reason)) = head::status_line(line)? else {
            let expected = "an answer in HTTP/1 from the origin server";
            return Err(ProtocolError::Malformed { expected, got: clipped(line) });
        };
        let fields = head::fields(lines)?;
        let length = head::content_length(&fields)?;
        if (100..200).contains(&code) {
            return Ok(None);
        }
        let has_body = !self.is_head && !matches!(code, 204 | 304);
        // A request of HTTP/1.0 must not be answered like this (RFC 9112 §6.1). Passing the
        // chunks on without their header would hand the caller a broken document.
        if has_body && let Some(coding) = head::values(&fields, "Transfer-Encoding").next() {
            let expected = "an answer without Transfer-Encoding from the origin server";
            return Err(ProtocolError::Malformed { expected, got: clipped(coding) });
        }
        ports.to_peer.push(&forward::answer(code, reason, &fields)?);
        Ok(Some(match length {
            _ if !has_body => Answer::Sized(0),
            Some(length) => Answer::Sized(length),
            None => Answer::Endless,
        }))
    }
}

/// Hands on at most `left` bytes of an answer's body; says how many.
fn carry_body(ports: &mut Ports<'_>, left: u64) -> u64 {
    let n = up_to(ports.user.rest().len().min(ports.to_peer.room()), left);
    ports.to_peer.push(ports.user.eat(n));
    n as u64
}

fn up_to(n: usize, left: u64) -> usize {
    usize::try_from(left).map_or(n, |left| n.min(left))
}
