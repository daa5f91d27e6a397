//! The pure engine core: events in, effects out. No I/O, no clock, no randomness; live runs, recovery and rehearsal share
//! it, so a run that is replayed from its journal stands exactly where it stood.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::admission::Admission;
use super::state::{self, Illegal, StepState};
use crate::compile::{Graph, Step, StepId, StepKind};
use crate::event::{Answer, Done, Ending, EventKind, Intent, Outcome};
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
    was_done: bool,
    needs: Vec<usize>,
    dependants: Vec<usize>,
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
    by_host: HashMap<String, Vec<usize>>,
    /// Steps not over yet, by wave.
    open_in_wave: BTreeMap<u32, usize>,
    /// Indices of steps that might be startable; order is priority.
    candidates: BTreeSet<usize>,
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
            by_host: HashMap::new(),
            open_in_wave: BTreeMap::new(),
            candidates: BTreeSet::new(),
            admission: Admission::new(graph.plan.drain.limits.clone(), can_withdraw),
            on_failure: graph.plan.on_failure,
            busy: 0,
            failed: 0,
            closed: false,
            ended: false,
        };
        engine.add(&graph.steps)?;
        Ok(engine)
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
            self.by_host.entry(step.host.clone()).or_default().push(at);
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
        node.state = became;
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
                }
            }
            EventKind::MoveReleased { .. } => {
                node.released = true;
                self.admission.release(at);
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

    fn settle(&mut self, at: usize, outcome: &Outcome, effects: &mut Vec<Effect>) {
        self.busy = self.busy.saturating_sub(1);
        let node = &mut self.nodes[at];
        node.outcome = Some(outcome.clone());
        node.was_done |= node.state == StepState::Done;
        // A move whose end was not seen may still be under way in nova: it keeps its server and its slots.
        if let (StepKind::Move { server, .. }, false) = (&node.step.kind, node.state == StepState::Unknown) {
            self.admission.settled(at, server);
        }
        if let Outcome::Retryable { again_after_s, .. } = outcome {
            let same = again_after_s.filter(|_| self.may_try_again(at));
            if same.is_none() && !self.next_rung(at) {
                self.nodes[at].state = StepState::Failed;
            } else if self.nodes[at].blocked {
                // What it needs was given up while it was at work: nothing more follows.
                let (host, wave) = self.place(at);
                self.close(wave);
                self.look_around(&host, wave);
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
                    let (host, wave) = self.place(at);
                    self.look_around(&host, wave);
                }
                return;
            }
        }
        if self.was_on_the_way_out(at) && !self.host_is_given_up(&self.nodes[at].step.host) {
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
        let (host, wave) = self.place(at);
        self.close(wave);
        if self.nodes[at].state == StepState::Done {
            let dependants = self.nodes[at].dependants.clone();
            self.candidates.extend(dependants);
            self.candidates.extend(self.moves_of_what_is_looked_at(at));
        } else {
            self.failed += 1;
            self.block_dependants(at);
        }
        self.look_around(&host, wave);
    }

    /// The moves that a host's being disabled or listed lets begin without their needing it.
    fn moves_of_what_is_looked_at(&self, at: usize) -> Vec<usize> {
        let lists: Vec<usize> = match self.nodes[at].step.kind {
            StepKind::List => vec![at],
            StepKind::Disable => self.nodes[at].dependants.clone(),
            _ => return Vec::new(),
        };
        let done = lists.into_iter().filter(|&list| self.nodes[list].state == StepState::Done);
        let own = done.flat_map(|list| self.by_host.get(&self.nodes[list].step.host).into_iter().flatten().copied());
        own.filter(|&other| matches!(self.nodes[other].step.kind, StepKind::Move { .. })).collect()
    }

    fn place(&self, at: usize) -> (String, u32) {
        let step = &self.nodes[at].step;
        (step.host.clone(), step.wave)
    }

    /// What looks at more than its own needs (starts on the way out, what follows on an empty host, the next wave) is
    /// looked at again.
    fn look_around(&mut self, host: &str, wave: u32) {
        let own = self.by_host.get(host).into_iter().flatten().copied();
        let looks = own.filter(|&at| !matches!(self.nodes[at].step.kind, StepKind::Move { .. }));
        let looks: Vec<usize> = looks.collect();
        self.candidates.extend(looks);
        if self.open_in_wave.get(&wave).is_none_or(|&open| open == 0) {
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

    /// What waits for this step without needing it: what is done on an empty host, where steps in between may be done
    /// already, and the moves of hosts that are looked at anew or that a child graph added.
    fn wait_without_needing(&self, at: usize) -> Vec<usize> {
        let works =
            |kind: &StepKind| matches!(kind, StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable);
        let on = |at: usize| self.by_host.get(&self.nodes[at].step.host).into_iter().flatten().copied();
        let is = |at: usize, wanted: fn(&StepKind) -> bool| wanted(&self.nodes[at].step.kind);
        let moves = |kind: &StepKind| matches!(kind, StepKind::Move { .. });
        match self.nodes[at].step.kind {
            // Of the other hosts of its wave, only what is still to be moved.
            StepKind::Disable => {
                let lists = self.nodes[at].dependants.iter().copied();
                let elsewhere = lists.flat_map(on).filter(|&other| is(other, moves));
                elsewhere.chain(on(at).filter(|&other| is(other, works))).collect()
            }
            StepKind::List => on(at).filter(|&other| is(other, works) || is(other, moves)).collect(),
            StepKind::Move { .. } | StepKind::Empty => on(at).filter(|&other| is(other, works)).collect(),
            _ => Vec::new(),
        }
    }

    /// Marks everything that can never start now. Starts are exempt (what was stopped is started on every way out), and
    /// so are disables, which ask whether their wave may begin.
    fn block_dependants(&mut self, at: usize) {
        let mut hosts = BTreeSet::new();
        let mut todo = self.nodes[at].dependants.clone();
        todo.extend(self.wait_without_needing(at));
        while let Some(at) = todo.pop() {
            let node = &mut self.nodes[at];
            let exempt = matches!(node.step.kind, StepKind::Start { .. } | StepKind::Disable);
            if node.blocked || node.state.ended() || exempt {
                continue;
            }
            node.blocked = true;
            todo.extend_from_slice(&node.dependants);
            hosts.insert(node.step.host.clone());
            if !node.state.in_flight() {
                let wave = node.step.wave;
                self.close(wave);
            }
            todo.extend(self.wait_without_needing(at));
        }
        // Hosts of the same wave are given up together, and each has starts of its own.
        for host in hosts {
            let own = self.by_host.get(&host).into_iter().flatten().copied();
            let starts: Vec<usize> =
                own.filter(|&at| matches!(self.nodes[at].step.kind, StepKind::Start { .. })).collect();
            self.candidates.extend(starts);
        }
    }

    fn extend(&mut self, graph: &Graph) -> Result<(), Illegal> {
        let parent = graph.parent.as_ref().ok_or(Illegal::Order("a child graph names no parent"))?;
        let below = self.find(&parent.step)?;
        for at in self.add(&graph.steps)? {
            self.nodes[below].needs.push(at);
            self.nodes[at].dependants.push(below);
        }
        Ok(())
    }

    fn resume(&mut self, retry: &[StepId], effects: &mut Vec<Effect>) -> Result<(), Illegal> {
        self.closed = false;
        self.ended = false;
        for step in retry {
            let at = self.find(step)?;
            let node = &mut self.nodes[at];
            match node.state {
                StepState::Failed => {
                    node.state = StepState::Waiting;
                    (node.rung, node.tries) = (0, 0);
                }
                // It may have been accepted: it is looked at again, never asked again.
                StepState::Unknown if !node.intents.is_empty() => node.state = StepState::Asked,
                StepState::Unknown => node.state = StepState::Waiting,
                _ => return Err(Illegal::Order("only a step that failed or is unknown can be retried")),
            }
        }
        for node in &mut self.nodes {
            (node.starting, node.paused, node.blocked) = (false, false, false);
            if node.state == StepState::Started {
                node.state = StepState::Waiting;
            }
            #[cfg(test)]
            if crate::run::sabotage::on(crate::run::sabotage::Sabotage::ForgetsWhatItAsked) && node.state.in_flight() {
                node.state = StepState::Waiting;
            }
        }
        for at in 0..self.nodes.len() {
            if self.was_on_the_way_out(at) {
                self.take_in_again(at);
            }
        }
        self.look_again();
        self.recount();
        self.admission.clear();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.state.in_flight()) {
            if let (StepKind::Move { server, .. }, Some(rung)) = (&node.step.kind, node.rung()) {
                self.admission.take(at, server, &node.step.host, rung);
                if let Some(to) = &node.to {
                    self.admission.placed(at, to);
                }
                if node.released {
                    self.admission.release(at);
                }
            }
            if let Some(intent) = node.intents.last() {
                effects.push(Effect::Adopt {
                    step: node.step.id.clone(),
                    attempt: node.attempt,
                    intent: intent.clone(),
                    answer: node.answer.clone(),
                });
            }
        }
        Ok(())
    }

    /// A start that is done although what it waits for is not: its host was given up.
    fn was_on_the_way_out(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let in_order = self.needs_done(node) && self.host_is_emptied(&node.step.host);
        matches!(node.step.kind, StepKind::Start { .. }) && node.state == StepState::Done && !in_order
    }

    /// Going on with a host that was given up: this server is started again at the end, and if this run had stopped it,
    /// it is stopped anew, and the host seen empty anew. Answers what waits again.
    fn take_in_again(&mut self, start: usize) -> Vec<usize> {
        let node = &self.nodes[start];
        let own = self.by_host.get(&node.step.host).map(Vec::as_slice).unwrap_or_default();
        let done = |at: &usize| self.nodes[*at].state == StepState::Done;
        let stopped = |at: &usize| {
            let other = &self.nodes[*at];
            matches!(other.step.kind, StepKind::Move { .. })
                && other.server() == node.server()
                && matches!(other.outcome, Some(Outcome::Done(Done::Stopped)))
        };
        let empty = |at: &usize| matches!(self.nodes[*at].step.kind, StepKind::Empty);
        let mut again: Vec<usize> = own.iter().copied().filter(done).filter(stopped).collect();
        if !again.is_empty() {
            again.extend(own.iter().copied().filter(done).filter(empty));
        }
        again.push(start);
        for &at in &again {
            let node = &mut self.nodes[at];
            node.state = StepState::Waiting;
            (node.rung, node.tries, node.remembered) = (0, 0, None);
        }
        again
    }

    /// Hosts that are still to be worked on are looked at anew: since the last process looked, somebody may have enabled
    /// them and servers may have come. Where a command is under way, it is too late to look.
    fn look_again(&mut self) {
        let is = |at: &usize, wanted: fn(&StepKind) -> bool| wanted(&self.nodes[*at].step.kind);
        let done = |at: &usize| self.nodes[*at].state == StepState::Done;
        let works = |kind: &StepKind| matches!(kind, StepKind::Command { .. } | StepKind::Wait { .. });
        let open = |kind: &StepKind| !matches!(kind, StepKind::Start { .. } | StepKind::Enable);
        let looks = |kind: &StepKind| matches!(kind, StepKind::Disable | StepKind::List | StepKind::Empty);
        let mut again = Vec::new();
        for own in self.by_host.values() {
            let begun = own.iter().any(|at| is(at, |kind| matches!(kind, StepKind::Disable)) && done(at));
            let unfinished = own.iter().any(|at| is(at, open) && !done(at));
            let at_work = own.iter().any(|at| is(at, works) && self.nodes[*at].state.in_flight());
            if begun && unfinished && !at_work {
                again.extend(own.iter().copied().filter(|at| is(at, looks) && done(at)));
            }
        }
        for at in again {
            let node = &mut self.nodes[at];
            (node.state, node.tries) = (StepState::Waiting, 0);
        }
    }

    /// Counters and blocked marks anew, from the states.
    fn recount(&mut self) {
        self.failed = 0;
        self.busy = self.nodes.iter().filter(|node| node.state.in_flight()).count();
        self.open_in_wave.clear();
        self.candidates = (0..self.nodes.len()).collect();
        for node in &self.nodes {
            *self.open_in_wave.entry(node.step.wave).or_default() += usize::from(!node.state.ended());
        }
        let failed: Vec<usize> = (0..self.nodes.len())
            .filter(|&at| matches!(self.nodes[at].state, StepState::Failed | StepState::Unknown))
            .collect();
        self.failed = failed.len();
        for at in failed {
            self.block_dependants(at);
        }
    }

    /// Hands out everything that may start now.
    fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        self.hand_out(effects);
        while self.busy == 0 && self.give_up_what_has_no_room() {
            self.hand_out(effects);
        }
    }

    /// With nothing under way no slot becomes free any more: those that are taken belong to moves whose end was never
    /// seen, and what waits for them is not done in this process.
    fn give_up_what_has_no_room(&mut self) -> bool {
        if self.candidates.is_empty() || self.paused() {
            return false;
        }
        for at in std::mem::take(&mut self.candidates) {
            let (host, wave) = self.place(at);
            if std::mem::replace(&mut self.nodes[at].blocked, true) {
                continue;
            }
            self.close(wave);
            self.block_dependants(at);
            self.look_around(&host, wave);
        }
        true
    }

    fn hand_out(&mut self, effects: &mut Vec<Effect>) {
        let candidates: Vec<usize> = self.candidates.iter().copied().collect();
        for at in candidates {
            if !self.could_start(at) {
                // Whatever could change that puts it back among the candidates.
                self.candidates.remove(&at);
                continue;
            }
            let node = &mut self.nodes[at];
            let rung = node.ladder().get(node.rung).copied();
            if let (StepKind::Move { server, .. }, Some(rung)) = (&node.step.kind, rung) {
                if !self.admission.admits(server, &node.step.host, rung) {
                    continue;
                }
                self.admission.take(at, server, &node.step.host, rung);
            }
            node.starting = true;
            self.busy += 1;
            self.candidates.remove(&at);
            effects.push(Effect::Start { step: node.step.id.clone(), attempt: node.attempt + 1, rung });
        }
    }

    /// As far as other steps are concerned.
    fn could_start(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        if node.state != StepState::Waiting || node.starting || node.paused || node.blocked {
            return false;
        }
        #[cfg(test)]
        if crate::run::sabotage::on(crate::run::sabotage::Sabotage::EnablesEarly) && node.step.kind == StepKind::Enable
        {
            return self.host_is_emptied(&node.step.host);
        }
        match node.step.kind {
            StepKind::Disable => node.was_done || self.wave_may_begin(node.step.wave),
            StepKind::Start { .. } => {
                let host = &node.step.host;
                (self.needs_done(node) && self.host_is_emptied(host)) || self.host_is_given_up(host)
            }
            StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable => {
                self.needs_done(node) && self.host_is_emptied(&node.step.host) && !self.starts_on(&node.step.host)
            }
            StepKind::List => self.needs_done(node),
            StepKind::Move { .. } => self.needs_done(node) && self.host_is_looked_at(&node.step.host),
            StepKind::Empty => self.needs_done(node) && !self.starts_on(&node.step.host),
        }
    }

    fn needs_done(&self, node: &Node) -> bool {
        node.needs.iter().all(|&need| self.nodes[need].state == StepState::Done)
    }

    /// Nothing on this host has to leave it: once more than its needs, where a host that was given up is gone on with.
    fn host_is_emptied(&self, host: &str) -> bool {
        self.on_host(host).all(|node| match node.step.kind {
            StepKind::Move { .. } | StepKind::Empty => node.state == StepState::Done,
            _ => true,
        })
    }

    /// Listed, and every host of its wave read back as disabled: more than the needs of a move of a child graph, or of one
    /// that is done again.
    fn host_is_looked_at(&self, host: &str) -> bool {
        self.on_host(host).all(|node| match node.step.kind {
            StepKind::List => node.state == StepState::Done && self.needs_done(node),
            _ => true,
        })
    }

    /// A start of a server on this host is under way: before a resume, it may have been on the way out.
    fn starts_on(&self, host: &str) -> bool {
        self.on_host(host).any(|node| matches!(node.step.kind, StepKind::Start { .. }) && node.state.in_flight())
    }

    /// Every wave before is over, and the plan's policy lets failures be followed by more hosts.
    fn wave_may_begin(&self, wave: u32) -> bool {
        let earlier = self.open_in_wave.range(..wave).all(|(_, &open)| open == 0);
        #[cfg(test)]
        if crate::run::sabotage::on(crate::run::sabotage::Sabotage::HoldsNothing) {
            return earlier;
        }
        earlier && (self.failed == 0 || wave <= 1 || self.on_failure == OnFailure::Continue)
    }

    /// Something on this host has failed, and nothing but its starts and its enable is left that could still happen.
    fn host_is_given_up(&self, host: &str) -> bool {
        let own = self.by_host.get(host).map(Vec::as_slice).unwrap_or_default();
        let mut failed = false;
        for &at in own {
            let node = &self.nodes[at];
            if matches!(node.step.kind, StepKind::Start { .. } | StepKind::Enable) {
                continue;
            }
            if !node.over() {
                return false;
            }
            failed |= node.state != StepState::Done;
        }
        failed
    }

    /// A task is at work, or was when the process died.
    pub fn in_flight(&self) -> bool {
        self.busy > 0
    }

    /// A pause of [`Effect::Later`] is running and would be followed by another attempt.
    fn paused(&self) -> bool {
        !self.closed && self.nodes.iter().any(|node| node.paused)
    }

    /// No new step is started any more.
    pub fn closed(&self) -> bool {
        self.closed
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How the run ends if nothing more happens.
    pub fn ending(&self) -> Ending {
        if self.nodes.iter().all(|node| node.state == StepState::Done) {
            Ending::Done
        } else if self.failed > 0 {
            Ending::Failed
        } else {
            Ending::Interrupted
        }
    }

    /// Steps that `resume` tries again.
    pub fn retryable(&self) -> Vec<StepId> {
        let again = |node: &&Node| matches!(node.state, StepState::Failed | StepState::Unknown);
        self.nodes.iter().filter(again).map(|node| node.step.id.clone()).collect()
    }

    /// The steps of one host, in graph order.
    pub fn on_host(&self, host: &str) -> impl Iterator<Item = &Node> {
        self.by_host.get(host).into_iter().flatten().map(|&at| &self.nodes[at])
    }

    /// Servers that a step of this run left on this host, as the last rung of their ladder.
    pub fn left_on(&self, host: &str) -> BTreeSet<String> {
        self.moved_to_end(host, |node, done| *done == Done::Left && node.rung() != Some(Rung::Stop))
    }

    /// Servers that this run stopped on this host, or found off when it was to stop them, and that may stay there only
    /// while they are off.
    pub fn stopped_on(&self, host: &str) -> BTreeSet<String> {
        self.moved_to_end(host, |node, done| {
            *done == Done::Stopped || (*done == Done::Left && node.rung() == Some(Rung::Stop))
        })
    }

    fn moved_to_end(&self, host: &str, end: impl Fn(&Node, &Done) -> bool) -> BTreeSet<String> {
        let ended = |node: &&Node| {
            node.state == StepState::Done && matches!(&node.outcome, Some(Outcome::Done(done)) if end(node, done))
        };
        self.on_host(host).filter(ended).filter_map(|node| node.server().map(str::to_owned)).collect()
    }

    /// How many move steps each server has on this host, over all graphs of the run.
    pub fn moved_from(&self, host: &str) -> BTreeMap<String, u32> {
        let mut times = BTreeMap::new();
        for node in self.on_host(host) {
            if let StepKind::Move { server, .. } = &node.step.kind {
                *times.entry(server.clone()).or_default() += 1;
            }
        }
        times
    }

    /// What the newest request to stop this server remembered, if this run made one.
    pub fn stopped(&self, host: &str, server: &str) -> Option<Intent> {
        let own = |node: &&Node| matches!(node.step.kind, StepKind::Move { .. }) && node.server() == Some(server);
        self.on_host(host).filter(own).filter_map(|node| node.remembered.clone()).last()
    }

    /// What the newest request to disable this host remembered, if this run made one.
    pub fn disabled(&self, host: &str) -> Option<Intent> {
        let own = |node: &&Node| matches!(node.step.kind, StepKind::Disable);
        self.on_host(host).filter(own).filter_map(|node| node.remembered.clone()).last()
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
