//! Conversations that go by a script (`--script`, `--expect`, `--send`), whoever called whom.

use super::door::{Armour, put_on};
use super::secure::ReadyTls;
use super::serve::{Visitor, Welcome};
use super::talk::{self, Peer, Role, Scene, Session};
use crate::engine::dialogue::{Dialogue, Outcome};
use crate::engine::farewell::Farewell;
use crate::engine::handshake::Handshake;
use crate::engine::manners::{Manners, UserEnd};
use crate::engine::tap::Tap;
use crate::engine::{Conversation, LOCAL, REMOTE, Status, Trouble, register_sides};
use crate::error::{Error, Exit};
use crate::net::buf::Buf;
use crate::net::endpoint::Endpoint;
use crate::proto::ProtocolError;
use crate::proto::script::Script;
use crate::proto::script::machine::{Event, Player};
use crate::report::Report;
use mio::Registry;
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

enum Phase {
    Handshake(Handshake),
    /// A handshake in the middle has until then.
    Playing(Box<Dialogue<Player>>, Option<Instant>),
    Parting(Farewell),
    Nowhere,
}

/// One run of a script with one peer.
pub(super) struct Run<'a> {
    phase: Phase,
    plan: &'a Plan,
    /// Who hears the peer, and the log; taken when the run begins.
    local: Option<Endpoint>,
    tap: Option<Tap>,
    early: Option<Buf>,
    session: Option<&'a Session>,
    name: String,
    report: &'a Report,
    start: Instant,
    how: Result<(), Trouble>,
    unmet: Option<Error>,
    totals: (u64, u64),
}

impl<'a> Run<'a> {
    fn new(
        endpoint: Endpoint,
        name: String,
        plan: &'a Plan,
        tap: Tap,
        report: &'a Report,
        now: Instant,
    ) -> Self {
        Self {
            phase: Phase::Handshake(Handshake::new(endpoint, now + plan.handshake, plan.handshake)),
            plan,
            local: None,
            tap: Some(tap),
            early: None,
            session: None,
            name,
            report,
            start: now,
            how: Ok(()),
            unmet: None,
            totals: (0, 0),
        }
    }

    /// The dialogue, from its first step.
    fn play(&mut self, peer: Endpoint) -> Phase {
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
        Phase::Playing(Box::new(dialogue), None)
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

    fn part(
        &mut self,
        dialogue: Dialogue<Player>,
        how: Result<(), Trouble>,
        now: Instant,
    ) -> Phase {
        self.totals = dialogue.totals();
        self.how = match how {
            Err(trouble @ Trouble::Protocol(ProtocolError::Unmet { .. })) => {
                let peer = Peer { name: &self.name, role: self.plan.role };
                self.unmet = talk::explain(trouble, peer).err();
                Ok(())
            }
            how => how,
        };
        let (endpoint, _, tap) = dialogue.into_parts();
        self.tap = Some(tap);
        Phase::Parting(Farewell::new(endpoint, now))
    }

    /// One round of the script; a status where there is nothing more to do in this one.
    fn playing(
        &mut self,
        mut dialogue: Box<Dialogue<Player>>,
        until: Option<Instant>,
        now: Instant,
    ) -> (Phase, Option<Status>) {
        let passed = (now - self.start).as_millis();
        dialogue.machine_mut().set_now(u64::try_from(passed).unwrap_or(u64::MAX));
        match dialogue.next(now) {
            Ok(Outcome::Event(Event::Reset)) => {
                dialogue.peer().reset_at_close();
                self.totals = dialogue.totals();
                (Phase::Nowhere, None)
            }
            Ok(Outcome::StartTls) => match self.start_tls(&mut dialogue, now) {
                Ok(()) => (Phase::Playing(dialogue, Some(now + self.plan.handshake)), None),
                Err(trouble) => (self.part(*dialogue, Err(trouble), now), None),
            },
            Ok(Outcome::Done) if dialogue.machine().is_over() => {
                (self.part(*dialogue, Ok(()), now), None)
            }
            Ok(Outcome::Waiting | Outcome::Done)
                if dialogue.peer().is_handshaking() && until.is_some_and(|until| until <= now) =>
            {
                let trouble = Trouble::Late("the TLS handshake", self.plan.handshake);
                (self.part(*dialogue, Err(trouble), now), None)
            }
            // The peer has ended, but the script goes on: it sleeps.
            Ok(Outcome::Waiting | Outcome::Done) => {
                (Phase::Playing(dialogue, until), Some(Status::Waiting))
            }
            Ok(Outcome::Runnable) => (Phase::Playing(dialogue, until), Some(Status::Runnable)),
            Err(trouble) => (self.part(*dialogue, Err(trouble), now), None),
        }
    }
}

impl Conversation for Run<'_> {
    fn endpoint(&mut self, side: usize) -> Option<&mut Endpoint> {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.endpoint(side),
            Phase::Playing(dialogue, _) => dialogue.side(side),
            Phase::Parting(farewell) => farewell.endpoint(side),
            Phase::Nowhere => None,
        }
    }

    fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        register_sides(self, &[LOCAL, REMOTE], registry, key)
    }

    fn drive(&mut self, now: Instant) -> Result<Status, Trouble> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Nowhere) {
                Phase::Handshake(mut handshake) => {
                    let status = handshake.drive(now)?;
                    if status != Status::Finished {
                        self.phase = Phase::Handshake(handshake);
                        return Ok(status);
                    }
                    if self.plan.role == Role::Server {
                        self.report.story(format_args!("Connection from {}.", self.name));
                    }
                    self.phase = self.play(handshake.into_peer());
                }
                Phase::Playing(dialogue, until) => {
                    let (phase, status) = self.playing(dialogue, until, now);
                    self.phase = phase;
                    if let Some(status) = status {
                        return Ok(status);
                    }
                }
                Phase::Parting(mut farewell) => {
                    let status = farewell.drive(now)?;
                    self.phase = Phase::Parting(farewell);
                    if status == Status::Finished {
                        std::mem::replace(&mut self.how, Ok(()))?;
                    }
                    return Ok(status);
                }
                Phase::Nowhere => return Ok(Status::Finished),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.deadline(),
            Phase::Playing(dialogue, until) => {
                let step = dialogue.machine().deadline();
                let step = step.map(|time| self.start + Duration::from_millis(time));
                [step, *until, dialogue.deadline()].into_iter().flatten().min()
            }
            Phase::Parting(farewell) => farewell.deadline(),
            Phase::Nowhere => None,
        }
    }
}

impl Visitor for Run<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn sent_and_received(&self) -> (u64, u64) {
        self.totals
    }

    fn failure(&mut self) -> Option<Error> {
        self.unmet.take()
    }

    fn push(&mut self, datagram: Vec<u8>) {
        if self.endpoint(REMOTE).is_some_and(|endpoint| endpoint.feed(&datagram)) {
            return;
        }
        if let Phase::Playing(dialogue, _) = &mut self.phase {
            dialogue.hear(&datagram);
        }
    }
}

/// Callers, each of whom meets the script from its beginning. What they say is not shown: it
/// would be anybody's.
pub(super) fn callers<'a>(plan: &'a Plan, tap: Tap, report: &'a Report) -> Welcome<'a, Run<'a>> {
    Box::new(move |endpoint, caller, first, now| {
        let tap = tap.share().unwrap_or_default();
        let mut run = Run::new(endpoint, caller.to_string(), plan, tap, report, now);
        run.early = first.map(|datagram| {
            let mut early = Buf::new(EARLY);
            early.append(&datagram);
            early
        });
        run
    })
}

/// Plays the script with one peer, and shows what it says on standard output.
///
/// # Errors
/// What has not come (exit 7), or what ended the conversation.
pub(super) fn one(
    scene: Scene<'_>,
    plan: &Plan,
    endpoint: Endpoint,
    early: Option<Buf>,
    tap: Tap,
) -> Result<Exit, Error> {
    let Scene { reactor, signals, session, peer, report } = scene;
    let start = reactor.now();
    let mut run = Run::new(endpoint, peer.name.to_owned(), plan, tap, report, start);
    run.local = Some(talk::stdio(&plan.manners)?);
    run.session = Some(session);
    run.early = early;
    let result = crate::engine::run(reactor, &mut run, signals);
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
