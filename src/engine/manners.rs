//! How a conversation behaves at its ends: what ncat's options say about EOF and time.

use super::{Status, Trouble};
use std::time::{Duration, Instant};

/// What to do with bytes from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// Hand them to the person.
    Deliver,
    /// Read them, so that the peer is not held up, and drop them (`--send-only`).
    Discard,
}

/// What the end of standard input means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserEnd {
    /// The peer may still answer: it goes on until the peer ends.
    Wait,
    /// Nothing is left to wait for (`--send-only`).
    Leave,
    /// The peer has so long (`-q`).
    After(Duration),
}

/// What the end of the peer's stream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEnd {
    /// What standard input has ready is still sent, then it is over.
    Leave,
    /// Sending goes on until standard input ends (`-k`, `--send-only`).
    KeepSending,
}

/// The manners of one conversation.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Is standard input read at all? (not with `--recv-only`)
    pub send: bool,
    /// What becomes of the peer's bytes.
    pub receive: Receive,
    /// Is the end of standard input passed on to the peer? (not with `--no-shutdown`)
    pub half_close: bool,
    /// What the end of standard input means.
    pub user_end: UserEnd,
    /// What the end of the peer's stream means.
    pub peer_end: PeerEnd,
    /// The longest silence (`-i`).
    pub idle: Option<Duration>,
    /// How long each chunk is held back (`-d`).
    pub delay: Option<Duration>,
    /// So many packets of the peer's are enough (`-W`).
    pub packets: Option<u64>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            send: true,
            receive: Receive::Deliver,
            half_close: true,
            user_end: UserEnd::Wait,
            peer_end: PeerEnd::Leave,
            idle: None,
            delay: None,
            packets: None,
        }
    }
}

/// How long a peer that has ended its stream may leave our last words unread.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What a conversation knows of itself after moving what it could.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Something moved since the last time.
    pub moved: bool,
    /// Standard input has ended.
    pub user_ended: bool,
    /// ... and the peer has all of it, and knows.
    pub up_done: bool,
    /// Nothing from standard input is in our hands, and it has nothing ready.
    pub up_silent: bool,
    /// The peer's stream has ended, and all of it is delivered.
    pub down_done: bool,
}

/// The clock of a conversation: when it is over, and when it has lasted too long.
#[derive(Debug)]
pub struct Patience {
    manners: Manners,
    touched: Option<Instant>,
    user_ended: Option<Instant>,
    peer_ended: bool,
}

impl Patience {
    /// Starts with the first [`Patience::judge`].
    pub fn new(manners: Manners) -> Self {
        Self { manners, touched: None, user_ended: None, peer_ended: false }
    }

    /// What it goes by.
    pub fn manners(&self) -> &Manners {
        &self.manners
    }

    /// Is it over?
    ///
    /// # Errors
    /// [`Trouble::Idle`] and [`Trouble::Quit`].
    pub fn judge(&mut self, now: Instant, facts: Facts) -> Result<Status, Trouble> {
        if facts.moved || self.touched.is_none() {
            self.touched = Some(now);
        }
        if facts.user_ended && self.user_ended.is_none() {
            self.user_ended = Some(now);
        }
        self.peer_ended = facts.down_done;
        let silent_for = self.touched.map_or(Duration::ZERO, |touched| now - touched);
        let up_over = match self.manners.peer_end {
            PeerEnd::Leave => facts.up_silent || silent_for >= LAST_WORDS,
            PeerEnd::KeepSending => false,
        };
        if facts.down_done && (facts.up_done || up_over) {
            return Ok(Status::Finished);
        }
        match (self.manners.user_end, self.user_ended) {
            (UserEnd::Leave, Some(_)) if facts.up_done => return Ok(Status::Finished),
            (UserEnd::After(time), Some(ended)) if ended + time <= now => {
                return Err(Trouble::Quit(time));
            }
            _ => {}
        }
        match self.manners.idle {
            Some(idle) if silent_for >= idle => Err(Trouble::Idle(idle)),
            _ => Ok(Status::Waiting),
        }
    }

    /// When to judge again although nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        let idle = self.manners.idle.and_then(|idle| Some(self.touched? + idle));
        let quit = match (self.manners.user_end, self.user_ended) {
            (UserEnd::After(time), Some(ended)) => Some(ended + time),
            _ => None,
        };
        let last = match self.manners.peer_end {
            PeerEnd::Leave if self.peer_ended => self.touched.map(|touched| touched + LAST_WORDS),
            PeerEnd::Leave | PeerEnd::KeepSending => None,
        };
        idle.into_iter().chain(quit).chain(last).min()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const OPEN: Facts = Facts {
        moved: false,
        user_ended: false,
        up_done: false,
        up_silent: true,
        down_done: false,
    };

    fn judge(manners: Manners, facts: Facts, later: Duration) -> Result<Status, Trouble> {
        let mut patience = Patience::new(manners);
        let start = Instant::now();
        patience.judge(start, facts)?;
        patience.judge(start + later, facts)
    }

    #[test]
    fn the_peer_s_end_is_the_end_unless_sending_goes_on() {
        let ended = Facts { down_done: true, ..OPEN };
        let now = Duration::ZERO;
        assert!(matches!(judge(Manners::default(), ended, now), Ok(Status::Finished)));
        let keep = Manners { peer_end: PeerEnd::KeepSending, ..Manners::default() };
        assert!(matches!(judge(keep.clone(), ended, now), Ok(Status::Waiting)));
        let both = Facts { user_ended: true, up_done: true, ..ended };
        assert!(matches!(judge(keep, both, now), Ok(Status::Finished)));
    }

    #[test]
    fn last_words_are_sent_but_not_for_ever() {
        let busy = Facts { down_done: true, up_silent: false, ..OPEN };
        assert!(matches!(judge(Manners::default(), busy, Duration::ZERO), Ok(Status::Waiting)));
        assert!(matches!(judge(Manners::default(), busy, LAST_WORDS), Ok(Status::Finished)));
    }

    #[test]
    fn the_end_of_input_waits_leaves_or_counts() {
        let ended = Facts { user_ended: true, up_done: true, ..OPEN };
        let second = Duration::from_secs(1);
        assert!(matches!(judge(Manners::default(), ended, second), Ok(Status::Waiting)));
        let leave = Manners { user_end: UserEnd::Leave, ..Manners::default() };
        assert!(matches!(judge(leave, ended, Duration::ZERO), Ok(Status::Finished)));
        let after = Manners { user_end: UserEnd::After(second), ..Manners::default() };
        assert!(matches!(judge(after.clone(), ended, second / 2), Ok(Status::Waiting)));
        assert!(matches!(judge(after, ended, second), Err(Trouble::Quit(t)) if t == second));
    }

    #[test]
    fn silence_has_a_limit() {
        let second = Duration::from_secs(1);
        let idle = Manners { idle: Some(second), ..Manners::default() };
        assert!(matches!(judge(idle.clone(), OPEN, second / 2), Ok(Status::Waiting)));
        assert!(matches!(judge(idle.clone(), OPEN, second), Err(Trouble::Idle(t)) if t == second));
        let moving = Facts { moved: true, ..OPEN };
        assert!(matches!(judge(idle, moving, second), Ok(Status::Waiting)));
    }
}
