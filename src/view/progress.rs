//! [`Tally`]: the fold over events that every view of a run reads, so that no two of them count differently.
//!
//! It is total over what a journal can hold: events of unknown steps, resumes, crashes between any two events. What it
//! says of a step is what the step's last event said.

mod counts;

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

pub use counts::{ServerCounts, StepCounts};

use super::text::seconds_between;
use crate::compile::{Graph, HostPlan, Phase, ServerPlan, Step, StepId, StepKind};
use crate::event::{Done, Ending, Event, EventKind, Leftover, LeftoverKind, Outcome};
use crate::plan::{Finish, Rung};

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepState {
    /// Not begun, or between two attempts.
    Waiting,
    Running,
    Done,
    Failed,
    /// Asked, and its outcome could not be seen.
    Unknown,
    /// Something it needs failed: it will not begin unless that is tried again.
    Blocked,
}

/// One step with what became of it so far.
#[derive(Debug, Clone)]
pub struct StepTally {
    pub step: Step,
    /// The last attempt that began, from 1; 0 before the first.
    pub attempt: u32,
    pub rung: Option<Rung>,
    /// When the first attempt began.
    pub begun_at: Option<Timestamp>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    /// Of the last attempt that was settled.
    pub outcome: Option<Outcome>,
    pub migration_id: Option<u64>,
    /// Where the move under way goes, once Nova's record was seen.
    pub to: Option<String>,
    /// Nothing more is copied; only its end is still to be proven.
    pub released: bool,
    state: StepState,
}

impl StepTally {
    fn new(step: Step) -> Self {
        Self {
            step,
            attempt: 0,
            rung: None,
            begun_at: None,
            started_at: None,
            settled_at: None,
            outcome: None,
            migration_id: None,
            to: None,
            released: false,
            state: StepState::Waiting,
        }
    }

    /// How long the last attempt took, once it is settled.
    pub fn took_s(&self) -> Option<u64> {
        Some(seconds_between(self.started_at?, self.settled_at?))
    }

    /// Nothing can change its state but another attempt.
    fn is_bad(&self) -> bool {
        matches!(self.state, StepState::Failed | StepState::Unknown)
    }

    fn is_last_rung(&self) -> bool {
        match &self.step.kind {
            StepKind::Move { ladder, .. } => ladder.last().copied() == self.rung,
            _ => true,
        }
    }

    fn settle(&mut self, outcome: &Outcome, at: Timestamp) {
        self.state = match outcome {
            Outcome::Done(_) => StepState::Done,
            Outcome::Retryable { again_after_s: None, .. } if self.is_last_rung() => StepState::Failed,
            Outcome::Retryable { .. } => StepState::Waiting,
            Outcome::Failed { .. } => StepState::Failed,
            Outcome::Unknown { .. } => StepState::Unknown,
        };
        self.outcome = Some(outcome.clone());
        self.settled_at = Some(at);
    }
}

/// Where a server of the run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    Waiting,
    InFlight,
    /// `by` is absent when it was already elsewhere.
    Moved {
        to: Option<String>,
        by: Option<Rung>,
    },
    /// Stopped and still on the host.
    Stopped,
    /// Stopped by this run and running again.
    Restarted,
    /// Deleted by its owner meanwhile.
    Gone,
    /// Left where it is by the plan.
    Left,
    Failed,
    Unknown,
}

/// A host and a server on it: in a rolling run a server may be moved off several hosts.
type Place = (String, String);

/// A server of the run with the step that moves it.
#[derive(Debug, Clone)]
pub struct ServerTally<'a> {
    pub plan: &'a ServerPlan,
    pub state: ServerState,
    pub step: Option<&'a StepTally>,
}

/// Where a host of the run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPhase {
    Waiting,
    Draining,
    Empty,
    InMaintenance,
    Verifying,
    /// Stopped servers are started, the compute service is given back.
    Restoring,
    BackInService,
    /// Done, and left out of service as the plan has it.
    KeptOut,
    /// Something failed: it stays as it is until an operator has looked.
    Held,
}

impl HostPhase {
    /// In the order in which a host goes through them.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Draining,
        Self::Empty,
        Self::InMaintenance,
        Self::Verifying,
        Self::Restoring,
        Self::BackInService,
        Self::KeptOut,
        Self::Held,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Draining => "draining",
            Self::Empty => "empty",
            Self::InMaintenance => "in maintenance",
            Self::Verifying => "verifying",
            Self::Restoring => "restoring",
            Self::BackInService => "back in service",
            Self::KeptOut => "kept out of service",
            Self::Held => "held",
        }
    }

    /// Nothing more happens to it in this run.
    pub fn is_over(self) -> bool {
        matches!(self, Self::BackInService | Self::KeptOut | Self::Held)
    }
}

/// A host of the run with what became of it.
#[derive(Debug, Clone)]
pub struct HostTally<'a> {
    pub plan: &'a HostPlan,
    pub phase: HostPhase,
    /// When its compute service was disabled by this run.
    pub out_at: Option<Timestamp>,
    /// When it was given back.
    pub back_at: Option<Timestamp>,
    pub servers: ServerCounts,
}

/// What the first event said.
#[derive(Debug, Clone)]
pub struct RunHead {
    pub plan: String,
    pub cloud: String,
    pub graph: String,
    pub furlough: String,
    pub finish: Finish,
    pub started_at: Timestamp,
}

/// How the last process ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub at: Timestamp,
    pub ending: Ending,
    pub leftovers: Vec<Leftover>,
}

/// Everything a view shows of a run, from its events.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    head: Option<RunHead>,
    hosts: Vec<HostPlan>,
    servers: Vec<ServerPlan>,
    steps: Vec<StepTally>,
    index: HashMap<StepId, usize>,
    server_index: HashMap<Place, usize>,
    /// The newest row of a server, on whichever host.
    newest: HashMap<String, usize>,
    /// The step that moves a server off a host, and the one that starts it again there.
    moves: HashMap<Place, usize>,
    starts: HashMap<Place, usize>,
    /// A child graph's step → the step of its parent that runs again after it.
    below: HashMap<usize, usize>,
    updated_at: Option<Timestamp>,
    interrupted: Option<String>,
    ended: Option<Ended>,
    requests: u64,
    extensions: u32,
    resumes: u32,
}

impl Tally {
    /// The state after these events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut tally = Self::default();
        for event in events {
            tally.apply(event);
        }
        tally
    }

    /// Takes one event in. An event about a step that no graph of the run holds changes nothing but the time.
    pub fn apply(&mut self, event: &Event) {
        self.updated_at = Some(event.at);
        match &event.kind {
            EventKind::RunStarted { furlough, graph, cloud, .. } => {
                self.head = Some(RunHead {
                    plan: graph.plan.name.clone(),
                    cloud: cloud.clone(),
                    graph: graph.id.clone(),
                    furlough: furlough.clone(),
                    finish: graph.plan.finish,
                    started_at: event.at,
                });
                self.add(graph);
            }
            EventKind::RunResumed { retry, .. } => {
                self.resumes += 1;
                self.ended = None;
                self.interrupted = None;
                for id in retry {
                    self.change(id, |step| step.state = StepState::Waiting);
                }
            }
            EventKind::QueueingStopped { .. } => {}
            EventKind::GraphExtended { graph } => {
                self.extensions += 1;
                self.add(graph);
            }
            EventKind::StepStarted { step, attempt, rung } => self.change(step, |step| {
                step.state = StepState::Running;
                (step.attempt, step.rung) = (*attempt, *rung);
                step.begun_at.get_or_insert(event.at);
                step.started_at = Some(event.at);
                (step.settled_at, step.migration_id, step.to, step.released) = (None, None, None, false);
            }),
            EventKind::StepIntended { step, attempt, .. } | EventKind::StepAnswered { step, attempt, .. } => {
                self.change(step, |step| step.attempt = *attempt);
            }
            EventKind::MoveSeen { step, migration_id, to, .. } => self.change(step, |step| {
                step.migration_id = Some(*migration_id);
                step.to = to.clone().or(step.to.take());
            }),
            EventKind::MoveReleased { step, .. } => self.change(step, |step| step.released = true),
            EventKind::StepSettled { step, outcome, .. } => self.change(step, |step| step.settle(outcome, event.at)),
            EventKind::PauseEnded { .. } | EventKind::Noted { .. } => {}
            EventKind::Interrupted { by } => self.interrupted = Some(by.clone()),
            EventKind::RunEnded { ending, leftovers, requests } => {
                self.requests = self.requests.saturating_add(*requests);
                self.ended = Some(Ended { at: event.at, ending: *ending, leftovers: leftovers.clone() });
                self.close(*ending, leftovers);
            }
        }
    }

    fn change(&mut self, id: &StepId, change: impl FnOnce(&mut StepTally)) {
        if let Some(step) = self.index.get(id).and_then(|index| self.steps.get_mut(*index)) {
            change(step);
        }
    }

    fn add(&mut self, graph: &Graph) {
        for host in &graph.hosts {
            if !self.hosts.iter().any(|known| known.name == host.name) {
                self.hosts.push(host.clone());
            }
        }
        for server in &graph.servers {
            let place = (server.host.clone(), server.id.clone());
            let index = *self.server_index.entry(place).or_insert(self.servers.len());
            self.newest.insert(server.id.clone(), index);
            match self.servers.get_mut(index) {
                Some(known) => *known = server.clone(),
                None => self.servers.push(server.clone()),
            }
        }
        let parent = graph.parent.as_ref().and_then(|edge| self.index.get(&edge.step).copied());
        // The parent's step runs again once the child's steps have ended; what it said before is no longer the whole.
        if let Some(step) = parent.and_then(|parent| self.steps.get_mut(parent))
            && step.state == StepState::Done
        {
            step.state = StepState::Waiting;
        }
        for step in &graph.steps {
            let index = *self.index.entry(step.id.clone()).or_insert(self.steps.len());
            match self.steps.get_mut(index) {
                // A server that came back: its move begins afresh.
                Some(known) => *known = StepTally::new(step.clone()),
                None => self.steps.push(StepTally::new(step.clone())),
            }
            match &step.kind {
                StepKind::Move { server, .. } => {
                    let place = (step.host.clone(), server.clone());
                    // The start that followed an earlier stop says nothing about this move.
                    self.starts.remove(&place);
                    self.moves.insert(place, index);
                }
                StepKind::Start { server } => {
                    self.starts.insert((step.host.clone(), server.clone()), index);
                }
                _ => {}
            }
            if let Some(parent) = parent.filter(|parent| *parent != index) {
                self.below.insert(index, parent);
            }
        }
    }

    /// A step that was to be tried again and had no tries left says so only by not being tried. It has failed, unless
    /// the run was stopped before it could be and names no failure of it.
    fn close(&mut self, ending: Ending, leftovers: &[Leftover]) {
        let goes_on = matches!(ending, Ending::Interrupted | Ending::Paused);
        for step in &mut self.steps {
            let exhausted = step.state == StepState::Waiting
                && matches!(step.outcome, Some(Outcome::Retryable { .. }))
                && step.settled_at.is_some();
            if exhausted && (!goes_on || names_failure(leftovers, &step.step)) {
                step.state = StepState::Failed;
            }
        }
    }

    pub fn head(&self) -> Option<&RunHead> {
        self.head.as_ref()
    }

    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Who stopped it, until it is resumed.
    pub fn interrupted(&self) -> Option<&str> {
        self.interrupted.as_deref()
    }

    /// The last event's time.
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.updated_at
    }

    /// From the first event to the last.
    pub fn elapsed_s(&self) -> u64 {
        match (&self.head, self.updated_at) {
            (Some(head), Some(to)) => seconds_between(head.started_at, to),
            _ => 0,
        }
    }

    /// Requests sent, as far as the processes that ended could say.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Child graphs that were added.
    pub fn extensions(&self) -> u32 {
        self.extensions
    }

    pub fn resumes(&self) -> u32 {
        self.resumes
    }

    pub fn step(&self, id: &StepId) -> Option<&StepTally> {
        self.index.get(id).and_then(|index| self.steps.get(*index))
    }

    /// Every step of every graph, in their order, with its state.
    pub fn steps(&self) -> impl Iterator<Item = (&StepTally, StepState)> {
        let blocked = self.blocked();
        self.steps
            .iter()
            .enumerate()
            .map(move |(index, step)| (step, if blocked.contains(&index) { StepState::Blocked } else { step.state }))
    }

    pub fn server_plan(&self, id: &str) -> Option<&ServerPlan> {
        self.newest.get(id).and_then(|index| self.servers.get(*index))
    }

    /// Every server, in the order of the graphs.
    pub fn servers(&self) -> impl Iterator<Item = ServerTally<'_>> {
        self.servers.iter().map(|plan| {
            let place = (plan.host.clone(), plan.id.clone());
            let step = self.moves.get(&place).and_then(|index| self.steps.get(*index));
            ServerTally { plan, state: self.server_state(plan, step), step }
        })
    }

    fn server_state(&self, plan: &ServerPlan, step: Option<&StepTally>) -> ServerState {
        let place = (plan.host.clone(), plan.id.clone());
        let start = self.starts.get(&place).and_then(|index| self.steps.get(*index));
        let Some(step) = step else {
            if let Some(start) = start {
                return restarted(start);
            }
            let left = plan.ladder.contains(&Rung::Leave);
            return if left { ServerState::Left } else { ServerState::Waiting };
        };
        match (step.state, &step.outcome) {
            (StepState::Waiting | StepState::Blocked, _) => ServerState::Waiting,
            (StepState::Running, _) => ServerState::InFlight,
            (StepState::Failed, _) => ServerState::Failed,
            (StepState::Unknown, _) => ServerState::Unknown,
            (StepState::Done, Some(Outcome::Done(Done::Moved { to, by, .. }))) => {
                ServerState::Moved { to: Some(to.clone()), by: Some(*by) }
            }
            (StepState::Done, Some(Outcome::Done(Done::Stopped))) => start.map_or(ServerState::Stopped, restarted),
            (StepState::Done, Some(Outcome::Done(Done::Gone))) => ServerState::Gone,
            (StepState::Done, Some(Outcome::Done(Done::Left))) => ServerState::Left,
            (StepState::Done, _) => ServerState::Moved { to: None, by: None },
        }
    }

    pub fn step_counts(&self) -> StepCounts {
        let mut counts = StepCounts::default();
        for (_, state) in self.steps() {
            counts.add(state);
        }
        counts
    }

    pub fn server_counts(&self) -> ServerCounts {
        let mut counts = ServerCounts::default();
        for server in self.servers() {
            counts.add(&server.state);
        }
        counts
    }

    /// The last wave of which anything has begun, and how many there are.
    pub fn wave(&self) -> (u32, u32) {
        let begun = self.steps.iter().filter(|step| step.begun_at.is_some()).map(|step| step.step.wave);
        (begun.max().unwrap_or(0), self.hosts.iter().map(|host| host.wave).max().unwrap_or(0))
    }

    /// Every host, in the order in which they are taken out of service.
    pub fn hosts(&self) -> Vec<HostTally<'_>> {
        let mut servers: HashMap<&str, ServerCounts> = HashMap::new();
        for server in self.servers() {
            servers.entry(&server.plan.host).or_default().add(&server.state);
        }
        let mut steps: HashMap<&str, Vec<(&StepTally, StepState)>> = HashMap::new();
        for (step, state) in self.steps() {
            steps.entry(&step.step.host).or_default().push((step, state));
        }
        let tally = |plan| {
            let host: &HostPlan = plan;
            let steps = steps.get(host.name.as_str()).map_or(&[][..], Vec::as_slice);
            let when = |wanted: fn(&StepKind) -> bool| {
                let step = steps.iter().find(|(step, state)| wanted(&step.step.kind) && *state == StepState::Done);
                step.and_then(|(step, _)| step.settled_at)
            };
            HostTally {
                plan: host,
                phase: host_phase(steps),
                out_at: when(|kind| matches!(kind, StepKind::Disable)),
                back_at: when(|kind| matches!(kind, StepKind::Enable)),
                servers: servers.get(host.name.as_str()).copied().unwrap_or_default(),
            }
        };
        self.hosts.iter().map(tally).collect()
    }

    /// Steps that wait for something that failed, directly or not.
    fn blocked(&self) -> HashSet<usize> {
        let mut blocked = HashSet::new();
        let mut queue: Vec<usize> =
            self.steps.iter().enumerate().filter(|(_, step)| step.is_bad()).map(|(index, _)| index).collect();
        if queue.is_empty() {
            return blocked;
        }
        let mut dependants: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            for need in step.step.needs.iter().filter_map(|need| self.index.get(need)) {
                dependants.entry(*need).or_default().push(index);
            }
        }
        for (child, parent) in &self.below {
            dependants.entry(*child).or_default().push(*parent);
        }
        let mut seen: HashSet<usize> = queue.iter().copied().collect();
        while let Some(index) = queue.pop() {
            for dependant in dependants.get(&index).map_or(&[][..], Vec::as_slice) {
                if !seen.insert(*dependant) {
                    continue;
                }
                if self.steps.get(*dependant).is_some_and(|step| step.state == StepState::Waiting) {
                    blocked.insert(*dependant);
                }
                queue.push(*dependant);
            }
        }
        blocked
    }
}

/// A stopped server, by the step that starts it.
fn restarted(start: &StepTally) -> ServerState {
    match (start.state, &start.outcome) {
        (StepState::Done, Some(Outcome::Done(Done::Gone))) => ServerState::Gone,
        (StepState::Done, _) => ServerState::Restarted,
        (StepState::Failed, _) => ServerState::Failed,
        (StepState::Unknown, _) => ServerState::Unknown,
        (StepState::Waiting | StepState::Running | StepState::Blocked, _) => ServerState::Stopped,
    }
}

/// A leftover says that this step failed.
fn names_failure(leftovers: &[Leftover], step: &Step) -> bool {
    leftovers.iter().filter(|leftover| leftover.kind == LeftoverKind::StepFailed).any(|leftover| {
        match (&step.kind, &leftover.server) {
            (StepKind::Move { server, .. } | StepKind::Start { server }, Some((id, _))) => server == id,
            (StepKind::Move { .. } | StepKind::Start { .. }, None) | (_, Some(_)) => false,
            (_, None) => step.host == leftover.host,
        }
    })
}

/// The furthest that anything of the host has come, unless something failed and nothing of it can go on.
fn host_phase(steps: &[(&StepTally, StepState)]) -> HostPhase {
    let all_done = steps.iter().all(|(_, state)| *state == StepState::Done);
    let enabled =
        steps.iter().any(|(step, state)| matches!(step.step.kind, StepKind::Enable) && *state == StepState::Done);
    let failed = steps.iter().any(|(_, state)| matches!(state, StepState::Failed | StepState::Unknown));
    let going_on = steps.iter().any(|(_, state)| matches!(state, StepState::Running | StepState::Waiting));
    let begun = || steps.iter().filter(|(step, _)| step.begun_at.is_some());
    if begun().next().is_none() {
        return HostPhase::Waiting;
    }
    if enabled && (all_done || !going_on) {
        return HostPhase::BackInService;
    }
    if all_done {
        return HostPhase::KeptOut;
    }
    if failed && !going_on {
        return HostPhase::Held;
    }
    let phase = |(step, state): &(&StepTally, StepState)| match &step.step.kind {
        StepKind::Disable | StepKind::List | StepKind::Move { .. } => HostPhase::Draining,
        StepKind::Empty if *state == StepState::Done => HostPhase::Empty,
        StepKind::Empty => HostPhase::Draining,
        StepKind::Command { phase: Phase::Maintain, .. } | StepKind::Wait { phase: Phase::Maintain, .. } => {
            HostPhase::InMaintenance
        }
        StepKind::Command { .. } | StepKind::Wait { .. } => HostPhase::Verifying,
        StepKind::Start { .. } | StepKind::Enable => HostPhase::Restoring,
    };
    begun().map(phase).max().unwrap_or(HostPhase::Waiting)
}

#[cfg(test)]
mod tests;
