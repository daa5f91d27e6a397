//! The pure engine core: events in, effects out. No I/O, no clock, no randomness; live runs, recovery and rehearsal share
//! it, so a run that is replayed from its journal stands exactly where it stood.
//!
//! What may start is decided in `dispatch`, what becomes of a host that failed in `giving_up`, where a resume stands in
//! `resume`; `questions` are what the rest of the room asks.

mod dispatch;
mod giving_up;
mod questions;
mod resume;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::dispatch::Host;
use super::admission::Admission;
use super::state::{self, Illegal, StepState};
use crate::compile::{Graph, Step, StepId, StepKind};
use crate::event::{Answer, EventKind, Intent, Outcome};
use crate::plan::{OnFailure, Rung};

/// How often the same rung of a ladder is tried when the cloud was merely busy or a request was lost on its way.
const TRIES_PER_RUNG: u32 = 5;
/// How often a step without a ladder is tried.
const TRIES_PER_STEP: u32 = 3;
/// How often a host is emptied of servers that arrive while it is disabled, before that is called a fault.
const ROUNDS_TO_EMPTY: u32 = 10;

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Begin this attempt; a `StepStarted` event says so.
    Start { step: StepId, attempt: u32, rung: Option<Rung> },
    /// Find out what became of the request that was intended last, by looking.
    Adopt { step: StepId, attempt: u32, intent: Intent, answer: Option<Answer> },
    /// Apply a `PauseEnded` after this pause.
    Later { step: StepId, after_s: u64 },
}

/// A step and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub step: Step,
    pub state: StepState,
    /// Of the attempt under way, or of the last one; 0 before the first.
    pub attempt: u32,
    /// Index into the ladder of a move.
    rung: usize,
    tries: u32,
    /// An attempt was handed to the driver and its `StepStarted` has not come back.
    starting: bool,
    /// Waits for its `PauseEnded`.
    paused: bool,
    /// Something it needs has failed for good, or it found no room among moves whose end was never seen.
    pub blocked: bool,
    /// It was done once, in this process or an earlier one.
    pub was_done: bool,
    needs: Vec<usize>,
    dependants: Vec<usize>,
    /// Index of its host.
    host: usize,
    /// Requests intended in this attempt, oldest first.
    pub intents: Vec<Intent>,
    /// To the newest of them.
    pub answer: Option<Answer>,
    /// The newest intent to disable or to stop, of whichever attempt: what it remembered is given back, also when a
    /// later attempt found the wanted state there already.
    remembered: Option<Intent>,
    pub migration_id: Option<u64>,
    to: Option<String>,
    released: bool,
    /// Of the last attempt that settled.
    pub outcome: Option<Outcome>,
}

impl Node {
    fn ladder(&self) -> &[Rung] {
        match &self.step.kind {
            StepKind::Move { ladder, .. } => ladder,
            _ => &[],
        }
    }

    /// The rung of the attempt under way, or of the next one.
    pub fn rung(&self) -> Option<Rung> {
        self.ladder().get(self.rung).copied()
    }

    fn server(&self) -> Option<&str> {
        match &self.step.kind {
            StepKind::Move { server, .. } | StepKind::Start { server } => Some(server),
            _ => None,
        }
    }

    /// Nothing more will happen to it in this process.
    fn over(&self) -> bool {
        self.state.ended() || (self.blocked && !self.state.in_flight())
    }
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct Engine {
    nodes: Vec<Node>,
    index: HashMap<StepId, usize>,
    hosts: Vec<Host>,
    host_index: HashMap<String, usize>,
    /// Steps not over yet, by wave.
    open_in_wave: BTreeMap<u32, usize>,
    /// Disables that are not done, by wave.
    undisabled: BTreeMap<u32, usize>,
    /// Indices of steps that might be startable; order is priority.
    candidates: BTreeSet<usize>,
    /// Moves that only wait for room, by host and by the rung they would take.
    queues: BTreeMap<(usize, Rung), BTreeSet<usize>>,
    /// Room may have become free since the queues were looked through.
    room: bool,
    admission: Admission,
    on_failure: OnFailure,
    /// Steps handed out or in flight.
    busy: usize,
    failed: usize,
    closed: bool,
    ended: bool,
}

impl Engine {
    /// Before its first event, which must be applied next.
    pub fn new(graph: &Graph, can_withdraw: bool) -> Result<Self, Illegal> {
        let mut engine = Self {
            nodes: Vec::with_capacity(graph.steps.len()),
            index: HashMap::with_capacity(graph.steps.len()),
            hosts: Vec::new(),
            host_index: HashMap::new(),
            open_in_wave: BTreeMap::new(),
            undisabled: BTreeMap::new(),
            candidates: BTreeSet::new(),
            queues: BTreeMap::new(),
            room: true,
            admission: Admission::new(graph.plan.drain.limits.clone(), can_withdraw),
            on_failure: graph.plan.on_failure,
            busy: 0,
            failed: 0,
            closed: false,
            ended: false,
        };
        engine.keep_apart(graph);
        engine.add(&graph.steps)?;
        Ok(engine)
    }

    fn keep_apart(&mut self, graph: &Graph) {
        for server in &graph.servers {
            if let Some(group) = &server.apart {
                self.admission.keep_apart(&server.id, group);
            }
        }
    }

    fn add(&mut self, steps: &[Step]) -> Result<Vec<usize>, Illegal> {
        let mut added = Vec::with_capacity(steps.len());
        for step in steps {
            let at = self.nodes.len();
            if self.index.insert(step.id.clone(), at).is_some() {
                return Err(Illegal::Order("two steps of the graph have the same id"));
            }
            let mut needs = Vec::with_capacity(step.needs.len());
            for need in &step.needs {
                let need = self.find(need)?;
                needs.push(need);
                self.nodes[need].dependants.push(at);
            }
            let host = *self.host_index.entry(step.host.clone()).or_insert(self.hosts.len());
            if host == self.hosts.len() {
                self.hosts.push(Host::default());
            }
            self.hosts[host].add(at);
            if matches!(step.kind, StepKind::Disable) {
                *self.undisabled.entry(step.wave).or_default() += 1;
            }
            *self.open_in_wave.entry(step.wave).or_default() += 1;
            self.nodes.push(Node {
                step: step.clone(),
                state: StepState::Waiting,
                attempt: 0,
                rung: 0,
                tries: 0,
                starting: false,
                paused: false,
                blocked: false,
                was_done: false,
                needs,
                dependants: Vec::new(),
                host,
                intents: Vec::new(),
                answer: None,
                remembered: None,
                migration_id: None,
                to: None,
                released: false,
                outcome: None,
            });
            self.candidates.insert(at);
            added.push(at);
        }
        Ok(added)
    }

    fn find(&self, step: &StepId) -> Result<usize, Illegal> {
        self.index.get(step).copied().ok_or_else(|| Illegal::NoSuchStep(step.clone()))
    }

    /// Every step, in graph order, child graphs last.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, step: &StepId) -> Option<&Node> {
        self.index.get(step).map(|&at| &self.nodes[at])
    }

    /// Takes one event in and says what follows from it.
    pub fn apply(&mut self, event: &EventKind) -> Result<Vec<Effect>, Illegal> {
        let mut effects = Vec::new();
        match event {
            EventKind::RunStarted { .. } => {}
            EventKind::RunResumed { retry, .. } => self.resume(retry, &mut effects)?,
            EventKind::GraphExtended { graph } => self.extend(graph)?,
            EventKind::QueueingStopped { .. } => self.admission.stop_queueing(),
            EventKind::Noted { .. } => {}
            EventKind::Interrupted { .. } => self.closed = true,
            EventKind::RunEnded { .. } => {
                self.ended = true;
                self.closed = true;
            }
            EventKind::StepStarted { step, .. }
            | EventKind::StepIntended { step, .. }
            | EventKind::StepAnswered { step, .. }
            | EventKind::MoveSeen { step, .. }
            | EventKind::MoveReleased { step, .. }
            | EventKind::PauseEnded { step }
            | EventKind::StepSettled { step, .. } => {
                let at = self.find(step)?;
                self.advance(at, event, &mut effects)?;
            }
        }
        self.dispatch(&mut effects);
        Ok(effects)
    }

    fn advance(&mut self, at: usize, event: &EventKind, effects: &mut Vec<Effect>) -> Result<(), Illegal> {
        let node = &mut self.nodes[at];
        let illegal =
            || Illegal::Transition { step: node.step.id.clone(), state: node.state, event: state::name(event) };
        let became = state::next(node.state, event).ok_or_else(illegal)?;
        let expected = if matches!(event, EventKind::StepStarted { .. }) { node.attempt + 1 } else { node.attempt };
        if let Some(found) = attempt_of(event)
            && found != expected
        {
            return Err(Illegal::Attempt { step: node.step.id.clone(), expected, found });
        }
        self.set_state(at, became);
        let node = &mut self.nodes[at];
        match event {
            EventKind::StepStarted { attempt, rung, .. } => {
                if !node.starting {
                    self.busy += 1;
                }
                (node.starting, node.paused) = (false, false);
                node.attempt = *attempt;
                node.tries += 1;
                node.intents.clear();
                node.answer = None;
                (node.migration_id, node.to, node.released) = (None, None, false);
                if let (StepKind::Move { server, .. }, Some(rung)) = (&node.step.kind, rung) {
                    // Already taken when it was handed out; on a replay it is taken here.
                    self.admission.take(at, server, &node.step.host, *rung);
                }
                self.candidates.remove(&at);
            }
            EventKind::StepIntended { intent, .. } => {
                if matches!(intent, Intent::Disable { .. } | Intent::Stop { .. }) {
                    node.remembered = Some(intent.clone());
                }
                node.intents.push(intent.clone());
                node.answer = None;
            }
            EventKind::StepAnswered { answer, .. } => node.answer = Some(answer.clone()),
            EventKind::MoveSeen { migration_id, to, .. } => {
                node.migration_id = Some(*migration_id);
                if let Some(to) = to {
                    node.to = Some(to.clone());
                    self.admission.placed(at, to);
                    self.room = true;
                }
            }
            EventKind::MoveReleased { .. } => {
                node.released = true;
                self.admission.release(at);
                self.room = true;
            }
            EventKind::PauseEnded { .. } => {
                node.paused = false;
                self.candidates.insert(at);
            }
            EventKind::StepSettled { outcome, .. } => self.settle(at, outcome, effects),
            _ => {}
        }
        Ok(())
    }

    /// The one place where a step's state changes: what is remembered of its host and wave follows.
    fn set_state(&mut self, at: usize, state: StepState) {
        let node = &mut self.nodes[at];
        let was = std::mem::replace(&mut node.state, state);
        self.hosts[node.host].forget();
        if matches!(node.step.kind, StepKind::Disable) && (was == StepState::Done) != (state == StepState::Done) {
            let undisabled = self.undisabled.entry(node.step.wave).or_default();
            *undisabled = if state == StepState::Done { undisabled.saturating_sub(1) } else { *undisabled + 1 };
        }
    }

    fn settle(&mut self, at: usize, outcome: &Outcome, effects: &mut Vec<Effect>) {
        self.busy = self.busy.saturating_sub(1);
        let node = &mut self.nodes[at];
        node.outcome = Some(outcome.clone());
        node.was_done |= node.state == StepState::Done;
        // A move whose end was not seen may still be under way in nova: it keeps its server and its slots.
        if let (StepKind::Move { server, .. }, false) = (&node.step.kind, node.state == StepState::Unknown) {
            self.admission.settled(at, server);
            self.room = true;
        }
        if let Outcome::Retryable { again_after_s, .. } = outcome {
            let same = again_after_s.filter(|_| self.may_try_again(at));
            if same.is_none() && !self.next_rung(at) {
                self.set_state(at, StepState::Failed);
            } else if self.nodes[at].blocked {
                // What it needs was given up while it was at work: nothing more follows.
                self.close(self.nodes[at].step.wave);
                self.look_around(at);
                return;
            } else {
                let node = &mut self.nodes[at];
                if let Some(after_s) = same.filter(|after_s| *after_s > 0) {
                    node.paused = true;
                    effects.push(Effect::Later { step: node.step.id.clone(), after_s });
                }
                self.candidates.insert(at);
                // What follows on an empty host waits while a start is under way there.
                if matches!(self.nodes[at].step.kind, StepKind::Start { .. }) {
                    self.look_around(at);
                }
                return;
            }
        }
        if self.was_on_the_way_out(at) && !self.view(self.nodes[at].host).lost {
            for at in self.take_in_again(at) {
                let wave = self.nodes[at].step.wave;
                // The start itself has not been counted out.
                if !matches!(self.nodes[at].step.kind, StepKind::Start { .. }) {
                    *self.open_in_wave.entry(wave).or_default() += 1;
                }
                self.candidates.insert(at);
            }
            return;
        }
        self.over(at);
    }

    fn may_try_again(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let tries = match node.step.kind {
            StepKind::Move { .. } => TRIES_PER_RUNG,
            StepKind::Empty => ROUNDS_TO_EMPTY,
            _ => TRIES_PER_STEP,
        };
        node.tries < tries
    }

    fn next_rung(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        if node.rung + 1 >= node.ladder().len() {
            return false;
        }
        node.rung += 1;
        node.tries = 0;
        true
    }

    /// A step has ended: what waits for it may start, or never will.
    fn over(&mut self, at: usize) {
        self.close(self.nodes[at].step.wave);
        if self.nodes[at].state == StepState::Done {
            let dependants = self.nodes[at].dependants.clone();
            self.candidates.extend(dependants);
            self.candidates.extend(self.moves_of_what_is_looked_at(at));
        } else {
            self.failed += 1;
            self.block_dependants(at);
        }
        self.look_around(at);
    }

    /// The moves that a host's being disabled or listed lets begin without their needing it.
    fn moves_of_what_is_looked_at(&self, at: usize) -> Vec<usize> {
        let lists: Vec<usize> = match self.nodes[at].step.kind {
            StepKind::List => vec![at],
            StepKind::Disable => self.nodes[at].dependants.clone(),
            _ => return Vec::new(),
        };
        let done = lists.into_iter().filter(|&list| self.nodes[list].state == StepState::Done);
        let own = done.flat_map(|list| self.beside(list));
        own.filter(|&other| matches!(self.nodes[other].step.kind, StepKind::Move { .. })).collect()
    }

    /// The steps of the same host, itself among them.
    fn beside(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        self.hosts[self.nodes[at].host].steps().iter().copied()
    }

    /// What looks at more than its own needs (starts on the way out, what follows on an empty host, the next wave) is
    /// looked at again.
    fn look_around(&mut self, at: usize) {
        let looks: Vec<usize> =
            self.beside(at).filter(|&other| !matches!(self.nodes[other].step.kind, StepKind::Move { .. })).collect();
        self.candidates.extend(looks);
        if self.open_in_wave.get(&self.nodes[at].step.wave).is_none_or(|&open| open == 0) {
            let disables =
                self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.step.kind, StepKind::Disable));
            let disables: Vec<usize> = disables.map(|(at, _)| at).collect();
            self.candidates.extend(disables);
        }
    }

    fn close(&mut self, wave: u32) {
        if let Some(open) = self.open_in_wave.get_mut(&wave) {
            *open = open.saturating_sub(1);
        }
    }

    fn extend(&mut self, graph: &Graph) -> Result<(), Illegal> {
        let parent = graph.parent.as_ref().ok_or(Illegal::Order("a child graph names no parent"))?;
        let below = self.find(&parent.step)?;
        self.keep_apart(graph);
        for at in self.add(&graph.steps)? {
            self.nodes[below].needs.push(at);
            self.nodes[at].dependants.push(below);
        }
        Ok(())
    }
}

fn attempt_of(event: &EventKind) -> Option<u32> {
    match event {
        EventKind::StepStarted { attempt, .. }
        | EventKind::StepIntended { attempt, .. }
        | EventKind::StepAnswered { attempt, .. }
        | EventKind::MoveSeen { attempt, .. }
        | EventKind::MoveReleased { attempt, .. }
        | EventKind::StepSettled { attempt, .. } => Some(*attempt),
        _ => None,
    }
}
