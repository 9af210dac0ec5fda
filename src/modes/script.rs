//! Conversations that go by a script (`--script`, `--expect`, `--send`), whoever called whom.

use super::door::{Armour, put_on};
use super::guests::Welcome;
use super::secure::ReadyTls;
use super::talk::{self, Peer, Role, Scene, Session};
use super::visit::{Business, Turn, Visit};
use crate::engine::Trouble;
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::manners::{Manners, UserEnd};
use crate::engine::tap::Tap;
use crate::error::{Error, Exit};
use crate::net::buf::Buf;
use crate::net::endpoint::Endpoint;
use crate::proto::ProtocolError;
use crate::proto::script::Script;
use crate::proto::script::machine::{Event, Player};
use crate::report::Report;
use std::io;
use std::time::{Duration, Instant};

/// What a datagram's or an early byte's buffer holds.
const EARLY: usize = 64 * 1024;

/// TLS for the step `starttls`.
#[derive(Clone)]
pub(super) enum Upgrade {
    Client(Box<ReadyTls>),
    Server(Armour),
    /// No step asks for it.
    None,
}

/// How each conversation goes.
pub(super) struct Plan {
    pub(super) script: Script,
    pub(super) manners: Manners,
    pub(super) upgrade: Upgrade,
    /// What a TLS handshake may take.
    pub(super) handshake: Duration,
    pub(super) role: Role,
}

impl Plan {
    pub(super) fn of(
        script: &Script,
        session: &Session,
        upgrade: Upgrade,
        handshake: Duration,
        role: Role,
    ) -> Self {
        // Standard input is not read: what is said stands in the script.
        let manners = Manners { send: false, user_end: UserEnd::Wait, ..session.manners.clone() };
        Self { script: script.clone(), manners, upgrade, handshake, role }
    }
}

/// One run of a script with one peer.
pub(super) struct Run<'a> {
    /// A handshake in the middle has until then.
    playing: Option<(Box<Dialogue<Player>>, Option<Instant>)>,
    plan: &'a Plan,
    /// Who hears the peer, and the log; taken when the run begins.
    local: Option<Endpoint>,
    tap: Option<Tap>,
    early: Option<Buf>,
    session: Option<&'a Session>,
    name: String,
    report: &'a Report,
    start: Instant,
    unmet: Option<Error>,
    totals: (u64, u64),
}

impl<'a> Run<'a> {
    fn new(name: String, plan: &'a Plan, tap: Tap, report: &'a Report, now: Instant) -> Self {
        Self {
            playing: None,
            plan,
            local: None,
            tap: Some(tap),
            early: None,
            session: None,
            name,
            report,
            start: now,
            unmet: None,
            totals: (0, 0),
        }
    }

    /// The dialogue, from its first step.
    fn play(&mut self, peer: Endpoint) -> Box<Dialogue<Player>> {
        let (plan, tap) = (self.plan, self.tap.take().unwrap_or_default());
        let (player, manners) = (Player::new(plan.script.clone()), plan.manners.clone());
        let dialogue = match self.local.take() {
            Some(local) => {
                let veil = self.session.and_then(|session| session.safe_output.veil(&local));
                Dialogue::new(local, peer, player, manners, tap).veiled(veil).forgiving()
            }
            None => Dialogue::unattended(peer, player, manners, tap),
        };
        let dialogue = match self.early.take() {
            Some(early) => dialogue.starting_with(early),
            None => dialogue,
        };
        Box::new(dialogue)
    }

    fn start_tls(&self, dialogue: &mut Dialogue<Player>, now: Instant) -> Result<(), Trouble> {
        match &self.plan.upgrade {
            Upgrade::Client(tls) => tls
                .start(dialogue.peer(), now)
                .map_err(|failure| Trouble::Peer(io::Error::other(failure))),
            Upgrade::Server(armour) => put_on(dialogue.peer(), Some(armour), now)
                .map_err(|e| Trouble::Peer(io::Error::other(e.to_string()))),
            // Whoever resolves the options sees to it that there is one.
            Upgrade::None => Err(Trouble::Peer(io::Error::other("there is no TLS to start"))),
        }
    }

    fn part(&mut self, dialogue: Dialogue<Player>, how: Result<(), Trouble>) -> Turn {
        self.totals = dialogue.totals();
        let how = match how {
            Err(trouble @ Trouble::Protocol(ProtocolError::Unmet { .. })) => {
                let peer = Peer { name: &self.name, role: self.plan.role };
                self.unmet = talk::explain(trouble, peer).err();
                Ok(())
            }
            how => how,
        };
        let (endpoint, _, tap) = dialogue.into_parts();
        self.tap = Some(tap);
        Turn::Part(endpoint, how)
    }
}

impl Business for Run<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, peer: Endpoint, _: Instant) -> Turn {
        if self.plan.role == Role::Server {
            self.report.story(format_args!("Connection from {}.", self.name));
        }
        self.playing = Some((self.play(peer), None));
        Turn::Runnable
    }

    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        self.playing.as_mut().and_then(|(dialogue, _)| dialogue.side(side))
    }

    fn drive(&mut self, now: Instant) -> Turn {
        let Some((mut dialogue, mut until)) = self.playing.take() else { return Turn::Gone };
        loop {
            let passed = (now - self.start).as_millis();
            dialogue.machine_mut().set_now(u64::try_from(passed).unwrap_or(u64::MAX));
            let turn = match dialogue.next(now) {
                Ok(Outcome::Event(Event::Reset)) => {
                    dialogue.peer().reset_when_closed();
                    self.totals = dialogue.totals();
                    return Turn::Gone;
                }
                Ok(Outcome::StartTls) => match self.start_tls(&mut dialogue, now) {
                    Ok(()) => {
                        until = Some(now + self.plan.handshake);
                        continue;
                    }
                    Err(trouble) => return self.part(*dialogue, Err(trouble)),
                },
                Ok(Outcome::Done) if dialogue.machine().is_over() => {
                    return self.part(*dialogue, Ok(()));
                }
                Ok(Outcome::Waiting | Outcome::Done)
                    if dialogue.peer().is_handshaking()
                        && until.is_some_and(|until| until <= now) =>
                {
                    let trouble = Trouble::Late("the TLS handshake", self.plan.handshake);
                    return self.part(*dialogue, Err(trouble));
                }
                // The peer has ended, but the script goes on: it sleeps.
                Ok(Outcome::Waiting | Outcome::Done) => Turn::Waiting,
                Ok(Outcome::Runnable) => Turn::Runnable,
                Err(trouble) => return self.part(*dialogue, Err(trouble)),
            };
            self.playing = Some((dialogue, until));
            return turn;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let (dialogue, until) = self.playing.as_ref()?;
        let step = dialogue.machine().deadline();
        let step = step.map(|time| self.start + Duration::from_millis(time));
        [step, *until, dialogue.deadline()].into_iter().flatten().min()
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.unmet.take()
    }

    fn push(&mut self, datagram: Vec<u8>) {
        if let Some((dialogue, _)) = &mut self.playing {
            dialogue.hear(&datagram);
        }
    }
}

/// Callers, each of whom meets the script from its beginning. What they say is not shown: it
/// would be anybody's.
pub(super) fn callers<'a>(plan: &'a Plan, tap: Tap, report: &'a Report) -> Welcome<'a, Run<'a>> {
    Box::new(move |endpoint, caller, first, now| {
        let tap = tap.share().unwrap_or_default();
        let mut run = Run::new(caller.to_string(), plan, tap, report, now);
        run.early = first.map(|datagram| {
            let mut early = Buf::new(EARLY);
            early.append(&datagram);
            early
        });
        Visit::new(endpoint, plan.handshake, run)
    })
}

/// Plays the script with one peer, and shows what it says on standard output, if it `is_shown`.
///
/// # Errors
/// What has not come (exit 7), or what ended the conversation.
pub(super) fn one(
    scene: Scene<'_>,
    plan: &Plan,
    endpoint: Endpoint,
    early: Option<Buf>,
    tap: Tap,
    is_shown: bool,
) -> Result<Exit, Error> {
    let Scene { reactor, signals, session, peer, report } = scene;
    let start = reactor.now();
    let mut run = Run::new(peer.name.to_owned(), plan, tap, report, start);
    run.local = is_shown.then(|| talk::stdio(&plan.manners)).transpose()?;
    run.session = Some(session);
    run.early = early;
    let mut visit = Visit::new(endpoint, plan.handshake, run);
    let result = crate::engine::run(reactor, &mut visit, signals);
    let run = visit.business();
    let result = match (run.unmet.take(), result) {
        (Some(unmet), _) => Err(unmet),
        (None, Ok(())) => {
            talk::report_totals(report, run.totals, start, reactor.now());
            Ok(Exit::DONE)
        }
        (None, Err(trouble)) => talk::explain(trouble, peer),
    };
    talk::with_log(result, run.tap.as_ref().unwrap_or(&Tap::default()), report)
}
