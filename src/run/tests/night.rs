//! A night played by a model of the driver: it answers the engine's effects with any outcome a step may have, and an
//! oracle that knows nothing of the engine watches the events.

use std::collections::BTreeMap;

use super::oracle::Oracle;
use super::{before, plan, server};
use crate::cloud::ServiceStatus;
use crate::cloud::fixture::{host, inventory};
use crate::compile::{Edge, Graph, Step, StepId, StepKind, compile};
use crate::event::{Answer, Done, Event, EventKind, Intent, Outcome, Output, ServiceBefore};
use crate::plan::{Action, Command, Count, Finish, Limits, OnFailure, Rung, Template, Waves};
use crate::run::engine::{Effect, Engine};
use crate::run::state::StepState;

/// What a night is played on.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// Servers on each host.
    pub hosts: Vec<u8>,
    pub wave: u32,
    pub ladder: Vec<Rung>,
    pub commands: u8,
    pub finish: Finish,
    pub on_failure: OnFailure,
    pub limits: Limits,
}

impl Stage {
    pub(super) fn graph(&self) -> Graph {
        let mut plan = plan(&self.ladder);
        plan.waves = Waves { max_hosts: Count::Hosts(self.wave), first: None };
        plan.drain.limits = self.limits.clone();
        plan.finish = self.finish;
        plan.on_failure = self.on_failure;
        let argv = vec![Template::parse("true").unwrap()];
        plan.maintain = vec![Action::Run(Command { argv, timeout_s: 60 }); usize::from(self.commands)];
        let mut servers = Vec::new();
        for (index, &count) in self.hosts.iter().enumerate() {
            servers.extend((0..count).map(|at| server(&format!("s{index}{at}"), &format!("h{index}"))));
        }
        let names = (0..self.hosts.len()).map(|index| format!("h{index}")).chain(["d1".to_owned()]);
        let inventory = inventory(names.map(|name| host(&name)).collect(), servers);
        let graph = compile(&plan, &inventory, "lab").unwrap();
        assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
        graph
    }
}

/// Where chance comes from; exhausted, everything goes well.
pub(super) struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into_iter())
    }

    fn next(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }

    fn of(&mut self, count: usize) -> usize {
        usize::from(self.next()) % count.max(1)
    }
}

/// An attempt under way, as its task knows it.
#[derive(Debug, Clone)]
struct Open {
    attempt: u32,
    rung: Option<Rung>,
    intents: u32,
    answered: bool,
    seen: bool,
    released: bool,
}

pub(super) struct Night {
    pub graph: Graph,
    pub events: Vec<EventKind>,
    /// How the engine stood after each event.
    pub stood: Vec<Vec<Standing>>,
    engine: Engine,
    oracle: Oracle,
    open: BTreeMap<StepId, Open>,
    pauses: Vec<StepId>,
    children: u32,
}

pub(super) type Standing = (StepId, StepState, u32, Option<Rung>);

pub(super) fn standing(engine: &Engine) -> Vec<Standing> {
    engine.nodes().iter().map(|node| (node.step.id.clone(), node.state, node.attempt, node.rung())).collect()
}

impl Night {
    pub(super) fn begin(stage: &Stage) -> Result<Self, String> {
        let graph = stage.graph();
        let mut night = Self::on(graph.clone());
        night.apply(started(graph))?;
        Ok(night)
    }

    fn on(graph: Graph) -> Self {
        Self {
            engine: Engine::new(&graph, true).unwrap(),
            oracle: Oracle::new(&graph),
            graph,
            events: Vec::new(),
            stood: Vec::new(),
            open: BTreeMap::new(),
            pauses: Vec::new(),
            children: 0,
        }
    }

    /// A process that finds these events in the journal and takes the run up.
    pub(super) fn resumed(graph: &Graph, events: &[EventKind]) -> Result<Self, String> {
        let mut night = Self::on(graph.clone());
        for event in events {
            night.engine.apply(event).map_err(|illegal| format!("replay of {event:?}: {illegal}"))?;
            let seen = night.oracle.sees(event, &night.engine);
            night.children += u32::from(matches!(event, EventKind::GraphExtended { .. }));
            night.events.push(event.clone());
            seen.map_err(|why| format!("replay: {}", night.told_after(&why)))?;
            night.stood.push(standing(&night.engine));
        }
        let retry = night.engine.retryable();
        night.apply(EventKind::RunResumed { furlough: "0".to_owned(), retry })?;
        Ok(night)
    }

    fn apply(&mut self, kind: EventKind) -> Result<(), String> {
        let mut todo = vec![kind];
        let mut effects = Vec::new();
        while !todo.is_empty() {
            let mut next = Vec::new();
            for kind in todo {
                let follows = self.engine.apply(&kind).map_err(|illegal| format!("{kind:?}: {illegal}"))?;
                let seen = self.oracle.sees(&kind, &self.engine);
                self.events.push(kind);
                seen.map_err(|why| self.told_after(&why))?;
                self.stood.push(standing(&self.engine));
                next.extend(follows.iter().filter_map(start_of));
                effects.extend(follows);
            }
            todo = next;
        }
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            let (step, open) = match effect {
                Effect::Later { step, .. } => {
                    self.pauses.push(step);
                    continue;
                }
                Effect::Start { step, attempt, rung } => {
                    (step, Open { attempt, rung, intents: 0, answered: false, seen: false, released: false })
                }
                Effect::Adopt { step, attempt, answer, .. } => {
                    let node = self.engine.node(&step).unwrap();
                    let intents = u32::try_from(node.intents.len()).unwrap();
                    let answered = answer.is_some();
                    (step.clone(), Open { attempt, rung: node.rung(), intents, answered, seen: false, released: false })
                }
            };
            if self.open.insert(step.clone(), open).is_some() {
                return Err(format!("{step} is handed out twice"));
            }
        }
        Ok(())
    }

    /// Something happens; false when nothing can any more.
    pub(super) fn go_on(&mut self, choices: &mut Choices) -> Result<bool, String> {
        if self.open.is_empty() && (self.pauses.is_empty() || self.engine.closed()) {
            return Ok(false);
        }
        if choices.next() > 252 && !self.engine.closed() {
            self.apply(EventKind::Interrupted { by: "test".to_owned() })?;
            return Ok(true);
        }
        let which = choices.of(self.open.len() + self.pauses.len());
        if which >= self.open.len() {
            let step = self.pauses.remove(which - self.open.len());
            self.apply(EventKind::PauseEnded { step })?;
            return Ok(true);
        }
        let step = self.open.keys().nth(which).unwrap().clone();
        self.attempt(&step, choices)?;
        Ok(true)
    }

    pub(super) fn play_out(&mut self, choices: &mut Choices) -> Result<(), String> {
        while self.go_on(choices)? {
            if self.events.len() > 5_000 {
                return Err("it never ends".to_owned());
            }
        }
        let closed = self.engine.closed();
        self.oracle.at_the_end(closed).map_err(|why| self.told_after(&why))
    }

    fn told_after(&self, why: &str) -> String {
        format!("{why}, after\n{}", self.events.iter().map(line).collect::<String>())
    }

    pub(super) fn all_done(&self) -> bool {
        self.engine.nodes().iter().all(|node| node.state == StepState::Done)
    }

    /// One message of the task of this attempt.
    fn attempt(&mut self, id: &StepId, choices: &mut Choices) -> Result<(), String> {
        let mut open = self.open.remove(id).unwrap();
        let step = self.engine.node(id).unwrap().step.clone();
        let (attempt, chance) = (open.attempt, choices.next());
        let settled = |outcome| EventKind::StepSettled { step: id.clone(), attempt, outcome };
        let looks = matches!(step.kind, StepKind::List | StepKind::Empty | StepKind::Wait { .. });
        if looks {
            if matches!(step.kind, StepKind::Empty) && chance % 8 == 6 && self.children < 3 {
                self.children += 1;
                let child = self.child(&step);
                self.apply(child)?;
                return self.apply(settled(retryable(Some(0))));
            }
            let outcome = if chance % 8 == 7 { failed() } else { Outcome::Done(done(&step.kind, None)) };
            return self.apply(settled(outcome));
        }
        if open.intents == 0 {
            if let StepKind::Start { server } = &step.kind
                && self.oracle.off.get(&(step.host.clone(), server.clone())) != Some(&true)
            {
                return self.apply(settled(Outcome::Done(already(&step.kind))));
            }
            if chance % 8 == 6 {
                return self.apply(settled(Outcome::Done(already(&step.kind))));
            }
            if chance % 8 == 7 {
                return self.apply(settled(retryable(Some(u64::from(chance % 16)))));
            }
            open.intents = 1;
            let intent = intent(&step, open.rung);
            self.open.insert(id.clone(), open);
            return self.apply(EventKind::StepIntended { step: id.clone(), attempt, intent });
        }
        if !open.answered {
            open.answered = true;
            let answer = match chance % 4 {
                3 => Answer::Lost { cause: "cut".to_owned() },
                _ => Answer::Accepted { request_id: None },
            };
            self.open.insert(id.clone(), open);
            return self.apply(EventKind::StepAnswered { step: id.clone(), attempt, answer });
        }
        let copies = matches!(open.rung, Some(Rung::Live | Rung::Cold));
        if copies && !open.seen {
            open.seen = true;
            self.open.insert(id.clone(), open);
            let to = (chance % 2 == 0).then(|| "d1".to_owned());
            return self.apply(EventKind::MoveSeen { step: id.clone(), attempt, migration_id: 1, to });
        }
        if copies && !open.released && chance % 4 != 3 {
            open.released = true;
            self.open.insert(id.clone(), open);
            return self.apply(EventKind::MoveReleased { step: id.clone(), attempt });
        }
        if copies && chance % 16 == 15 && open.intents < 4 {
            open.intents += 1;
            open.answered = false;
            self.open.insert(id.clone(), open);
            let intent = Intent::Confirm { server: before("s", &step.host), migration_id: 1 };
            return self.apply(EventKind::StepIntended { step: id.clone(), attempt, intent });
        }
        let outcome = match chance % 16 {
            10 => retryable(None),
            11 => retryable(Some(0)),
            12 => retryable(Some(5)),
            13 => failed(),
            14 => Outcome::Unknown { reason: "r".to_owned(), remedy: "m".to_owned() },
            _ => Outcome::Done(done(&step.kind, open.rung)),
        };
        self.apply(settled(outcome))
    }

    /// A server was found on the host of this `empty`.
    fn child(&self, below: &Step) -> EventKind {
        let id = format!("new{}", self.children);
        let step = Step {
            id: StepId(format!("{}/move/{id}", below.host)),
            host: below.host.clone(),
            wave: below.wave,
            kind: StepKind::Move { server: id, ladder: vec![Rung::Live, Rung::Cold] },
            needs: Vec::new(),
        };
        let parent = Some(Edge { graph: self.graph.id.clone(), step: below.id.clone() });
        let graph = Graph { parent, steps: vec![step], ..self.graph.clone() };
        EventKind::GraphExtended { graph: Box::new(graph) }
    }
}

/// One line for an event, for messages.
fn line(event: &EventKind) -> String {
    match event {
        EventKind::StepSettled { step, outcome, .. } => format!("{step} {outcome:?}\n"),
        EventKind::RunResumed { retry, .. } => format!("resumed {retry:?}\n"),
        other => format!("{} {}\n", other.step().map_or("", |step| &step.0), crate::run::state::name(other)),
    }
}

pub(super) fn told(event: &Event) -> String {
    format!("{} {}", event.at, line(&event.kind))
}

pub(super) fn started(graph: Graph) -> EventKind {
    EventKind::RunStarted {
        event_version: 1,
        furlough: "0".to_owned(),
        cloud: "lab".to_owned(),
        plan_text: None,
        folder: std::path::PathBuf::new(),
        graph: Box::new(graph),
    }
}

fn start_of(effect: &Effect) -> Option<EventKind> {
    match effect {
        Effect::Start { step, attempt, rung } => {
            Some(EventKind::StepStarted { step: step.clone(), attempt: *attempt, rung: *rung })
        }
        Effect::Adopt { .. } | Effect::Later { .. } => None,
    }
}

pub(super) fn retryable(again_after_s: Option<u64>) -> Outcome {
    Outcome::Retryable { reason: "r".to_owned(), fault: None, again_after_s }
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { reason: "r".to_owned(), fault: None, remedy: "m".to_owned(), output: None }
}

fn already(kind: &StepKind) -> Done {
    match kind {
        StepKind::Move { .. } => Done::Left,
        _ => Done::Already { what: "w".to_owned() },
    }
}

pub(super) fn done(kind: &StepKind, rung: Option<Rung>) -> Done {
    match (kind, rung) {
        (StepKind::Move { .. }, Some(Rung::Stop)) => Done::Stopped,
        (StepKind::Move { .. }, Some(Rung::Leave)) => Done::Left,
        (StepKind::Move { .. }, _) => Done::Moved { to: "d1".to_owned(), by: Rung::Live, warning: None },
        (StepKind::Start { .. }, _) => Done::Started,
        (StepKind::Command { .. }, _) => Done::Ran { output: Output::default() },
        (StepKind::List, _) => Done::Listed { servers: 0, new: 0 },
        (StepKind::Disable | StepKind::Enable | StepKind::Empty | StepKind::Wait { .. }, _) => {
            Done::Seen { what: "w".to_owned() }
        }
    }
}

pub(super) fn intent(step: &Step, rung: Option<Rung>) -> Intent {
    let restore = ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: None };
    let (host, service_id) = (step.host.clone(), "1".to_owned());
    match &step.kind {
        StepKind::Move { server, .. } => {
            let server = before(server, &step.host);
            match rung {
                Some(Rung::Cold) => Intent::Cold { server, to: None, newest_migration: None },
                Some(Rung::Stop) => Intent::Stop { server },
                _ => Intent::Live { server, to: None, newest_migration: None },
            }
        }
        StepKind::Start { server } => Intent::Start { server: before(server, &step.host) },
        StepKind::Disable => Intent::Disable { host, service_id, before: restore, reason: "r".to_owned() },
        StepKind::Enable => Intent::Enable { host, service_id, restore },
        StepKind::Command { .. } | StepKind::List | StepKind::Empty | StepKind::Wait { .. } => {
            Intent::Command { key: "k".to_owned(), argv: Vec::new(), timeout_s: 1 }
        }
    }
}
