//! Performs what the engine decides and feeds back what came of it: one loop that numbers events, makes them durable in
//! groups, shows them, and starts tasks. Everything that is true of a run is true of its events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch as flag};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clock::Clock;
use super::commands::Commands;
use super::engine::{Effect, Engine};
use super::leftovers::leftovers;
use super::state::{Illegal, StepState};
use super::steps::{Asked, Context};
use super::task::{self, Message, Stopped, Task, Told};
use super::watch::Watch;
use crate::cloud::{Cloud, Server};
use crate::compile::{CompileError, Graph, HostPlan, ServerPlan, StepId, StepKind};
use crate::event::{EVENT_VERSION, Ending, Event, EventKind, Leftover, Outcome, RunId, Update};
use crate::journal::{Journal, JournalError};
use crate::plan::{Plan, Rung};

/// Messages that may wait for the driver: tasks wait for their own to be durable, so more would only hide a stall.
const INBOX: usize = 1024;
/// Events made durable in one transaction at the most, so that none waits for long.
const BATCH: usize = 4096;

/// What a run needs.
pub struct Setup {
    pub run: RunId,
    pub cloud: Arc<dyn Cloud>,
    pub journal: Arc<dyn Journal>,
    pub commands: Arc<dyn Commands>,
    pub clock: Clock,
}

/// Where a run begins.
pub enum Begin {
    New {
        graph: Box<Graph>,
        plan_text: Option<String>,
        folder: PathBuf,
    },
    /// From everything its journal holds.
    Resume {
        events: Vec<Event>,
    },
}

/// What the operator wants of a run under way, in the order of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Start nothing new, finish what is in flight.
    Finish,
    /// Wait for nothing more; what is in flight is adopted by a resume.
    Leave,
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub ending: Ending,
    pub leftovers: Vec<Leftover>,
    /// Steps that were in flight when the process stopped waiting for them.
    pub in_flight: Vec<StepId>,
    /// The journal could not be written: why, and what to do.
    pub journal_failed: Option<String>,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal of this run cannot be followed: {0}; it is damaged, or a newer furlough wrote it")]
    Illegal(#[from] Illegal),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("the journal of this run does not begin with its graph; it is damaged")]
    NoGraph,
    #[error("this run has ended: {0}")]
    Over(&'static str),
}

/// Executes a run to its end. Events are durable before `show` sees them; progress comes as it is.
pub async fn drive(
    setup: Setup,
    begin: Begin,
    stop: flag::Receiver<Option<Stop>>,
    show: &mut (dyn FnMut(&Update) + Send),
) -> Result<Ended, RunError> {
    let (out, inbox) = mpsc::channel(INBOX);
    let watch = Watch::new(Arc::clone(&setup.cloud));
    let (driver, first) = Driver::new(setup, begin, Arc::clone(&watch), out)?;
    let reading = tokio::spawn(async move { watch.run().await });
    let ended = driver.run(first, inbox, stop, show).await;
    reading.abort();
    ended
}

struct Driver {
    setup: Setup,
    watch: Arc<Watch>,
    engine: Engine,
    root: Graph,
    plan: Arc<Plan>,
    hosts: HashMap<String, HostPlan>,
    folder: PathBuf,
    seq: u64,
    disabled_at: HashMap<String, Timestamp>,
    interrupted: flag::Sender<bool>,
    out: mpsc::Sender<Message>,
    tasks: JoinSet<()>,
    pauses: JoinSet<StepId>,
    journal_failed: Option<String>,
    queueing_stopped: bool,
    /// Servers that the plan leaves where they are, by host: those of the root graph, then those of child graphs.
    left: BTreeMap<String, Vec<ServerPlan>>,
}

/// An event on its way into the journal, and who waits for it.
type Pending = (EventKind, Option<oneshot::Sender<Result<(), Stopped>>>);

impl Driver {
    fn new(
        setup: Setup,
        begin: Begin,
        watch: Arc<Watch>,
        out: mpsc::Sender<Message>,
    ) -> Result<(Self, EventKind), RunError> {
        let furlough = env!("CARGO_PKG_VERSION").to_owned();
        let can_withdraw = setup.cloud.capabilities().abort_queued();
        let (root, folder, past, first) = match begin {
            Begin::New { graph, plan_text, folder } => {
                let first = EventKind::RunStarted {
                    event_version: EVENT_VERSION,
                    furlough,
                    cloud: setup.cloud.name().to_owned(),
                    plan_text,
                    folder: folder.clone(),
                    graph: graph.clone(),
                };
                (*graph, folder, Vec::new(), Some(first))
            }
            Begin::Resume { events } => {
                let Some(EventKind::RunStarted { graph, folder, .. }) = events.first().map(|event| &event.kind) else {
                    return Err(RunError::NoGraph);
                };
                (graph.as_ref().clone(), folder.clone(), events, None)
            }
        };
        watch.queued_ahead(if can_withdraw { root.plan.drain.limits.queue_ahead } else { 0 });
        let mut driver = Self {
            engine: Engine::new(&root, can_withdraw)?,
            plan: Arc::new(root.plan.clone()),
            hosts: root.hosts.iter().map(|host| (host.name.clone(), host.clone())).collect(),
            root,
            folder,
            seq: 0,
            disabled_at: HashMap::new(),
            interrupted: flag::Sender::new(false),
            out,
            tasks: JoinSet::new(),
            pauses: JoinSet::new(),
            journal_failed: None,
            queueing_stopped: false,
            left: BTreeMap::new(),
            setup,
            watch,
        };
        let planned = driver.root.servers.clone();
        driver.learn_left(&planned);
        for event in &past {
            // Effects of the past have been carried out, or are found again by the resume.
            driver.engine.apply(&event.kind)?;
            driver.learn(event);
            driver.seq = event.seq;
        }
        let first = first.unwrap_or_else(|| EventKind::RunResumed {
            furlough: env!("CARGO_PKG_VERSION").to_owned(),
            retry: driver.engine.retryable(),
        });
        Ok((driver, first))
    }

    async fn run(
        mut self,
        first: EventKind,
        mut inbox: mpsc::Receiver<Message>,
        mut stop: flag::Receiver<Option<Stop>>,
        show: &mut (dyn FnMut(&Update) + Send),
    ) -> Result<Ended, RunError> {
        let mut trouble = self.watch.trouble();
        let mut cycles = self.watch.cycles();
        let mut pending: Vec<Pending> = vec![(first, None)];
        loop {
            self.commit(pending, show).await?;
            pending = Vec::new();
            // No task can record anything any more; what was asked is adopted by a resume.
            if self.journal_failed.is_some() {
                break;
            }
            if self.tasks.is_empty() && (self.pauses.is_empty() || self.engine.closed()) {
                break;
            }
            tokio::select! {
                biased;
                Ok(()) = stop.changed() => match *stop.borrow_and_update() {
                    Some(Stop::Leave) => return Ok(self.leave()),
                    Some(Stop::Finish) if !self.engine.closed() => {
                        self.interrupted.send_replace(true);
                        pending.push((EventKind::Interrupted { by: "the operator".to_owned() }, None));
                    }
                    _ => {}
                },
                Some(message) = inbox.recv() => {
                    self.take(message, &mut pending, show);
                    while pending.len() < BATCH && let Ok(message) = inbox.try_recv() {
                        self.take(message, &mut pending, show);
                    }
                }
                Some(_) = self.tasks.join_next() => {}
                Some(Ok(step)) = self.pauses.join_next() => {
                    pending.push((EventKind::PauseEnded { step }, None));
                }
                Ok(()) = cycles.changed() => self.check_queue(&mut pending),
                Ok(()) = trouble.changed() => {
                    let text = match &*trouble.borrow_and_update() {
                        Some(text) => format!("the cloud cannot be read: {text}; going on as soon as it can"),
                        None => "the cloud answers again".to_owned(),
                    };
                    pending.push((EventKind::Noted { step: None, text }, None));
                }
            }
        }
        self.end(show).await
    }

    fn take(&mut self, message: Message, pending: &mut Vec<Pending>, show: &mut (dyn FnMut(&Update) + Send)) {
        match message {
            Message::Record { kind, done } => pending.push((kind, Some(done))),
            Message::Progress(progress) => show(&Update::Progress(progress)),
            Message::Extend { host, servers, inventory, done } => {
                let in_the_way = self.extend(&host, &servers, &inventory, pending);
                // A task that no longer waits has been told to stop.
                let _gone = done.send(in_the_way);
            }
        }
    }

    /// Compiles what was found into a child graph; the outcome that stands in the way if it cannot be done.
    fn extend(
        &self,
        host: &str,
        servers: &[Server],
        inventory: &crate::cloud::Inventory,
        pending: &mut Vec<Pending>,
    ) -> Option<Outcome> {
        let known = self.engine.moved_from(host);
        let child = match crate::compile::extend(&self.root, host, servers, &known, inventory) {
            Ok(child) => child?,
            Err(error) => {
                let remedy = "move these servers by hand, then resume".to_owned();
                return Some(Outcome::Failed { reason: error.to_string(), fault: None, remedy, output: None });
            }
        };
        if let Some(blocker) = child.blockers.first() {
            let server = blocker.server.as_ref().map_or(host, |(_, name)| name);
            return Some(Outcome::Failed {
                reason: format!("{server}, which is on it now, is in the way: {}", blocker.cause),
                fault: None,
                remedy: blocker.remedy.clone(),
                output: None,
            });
        }
        pending.push((EventKind::GraphExtended { graph: Box::new(child) }, None));
        None
    }

    /// Applies, makes durable, shows, answers; then starts what follows. Repeats until nothing follows.
    async fn commit(
        &mut self,
        mut pending: Vec<Pending>,
        show: &mut (dyn FnMut(&Update) + Send),
    ) -> Result<(), RunError> {
        if self.journal_failed.is_some() {
            for (_, done) in pending {
                done.map(|done| done.send(Err(Stopped)));
            }
            return Ok(());
        }
        let mut events = Vec::new();
        let mut waiting = Vec::new();
        let mut effects = Vec::new();
        while !pending.is_empty() {
            let mut next = Vec::new();
            for (kind, done) in pending {
                let follows = self.engine.apply(&kind)?;
                self.seq += 1;
                let event = Event { seq: self.seq, at: self.setup.clock.now(), kind };
                self.learn(&event);
                events.push(event);
                waiting.extend(done);
                self.note_starts(&follows, &mut next);
                effects.extend(follows);
            }
            pending = next;
        }
        if events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.setup.journal.append(&self.setup.run, events.clone()).await {
            self.journal_failed = Some(error.to_string());
            self.interrupted.send_replace(true);
            for done in waiting {
                let _gone = done.send(Err(Stopped));
            }
            return Ok(());
        }
        for event in events {
            show(&Update::Event(event));
        }
        for done in waiting {
            let _gone = done.send(Ok(()));
        }
        for effect in effects {
            self.spawn(effect);
        }
        Ok(())
    }

    /// The `StepStarted` of each start belongs into the same transaction as what caused it.
    fn note_starts(&self, effects: &[Effect], pending: &mut Vec<Pending>) {
        for effect in effects {
            if let Effect::Start { step, attempt, rung } = effect {
                pending.push((EventKind::StepStarted { step: step.clone(), attempt: *attempt, rung: *rung }, None));
            }
        }
    }

    /// What later steps have to know of an event.
    fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StepSettled { step, outcome: Outcome::Done(_), .. } => {
                if let Some(node) = self.engine.node(step)
                    && matches!(node.step.kind, StepKind::Disable)
                {
                    self.disabled_at.insert(node.step.host.clone(), event.at);
                }
            }
            EventKind::QueueingStopped { .. } => {
                self.queueing_stopped = true;
                self.watch.queued_ahead(0);
            }
            EventKind::GraphExtended { graph } => self.learn_left(&graph.servers),
            _ => {}
        }
    }

    fn learn_left(&mut self, servers: &[ServerPlan]) {
        for server in servers.iter().filter(|server| server.ladder.first() == Some(&Rung::Leave)) {
            self.left.entry(server.host.clone()).or_default().push(server.clone());
        }
    }

    fn spawn(&mut self, effect: Effect) {
        let (step, attempt, rung, adopt) = match effect {
            Effect::Later { step, after_s } => {
                let clock = self.setup.clock.clone();
                self.pauses.spawn(async move {
                    clock.sleep(Duration::from_secs(after_s)).await;
                    step
                });
                return;
            }
            Effect::Start { step, attempt, rung } => (step, attempt, rung, None),
            Effect::Adopt { step, attempt, intent, answer } => {
                let rung = self.engine.node(&step).and_then(super::engine::Node::rung);
                (step, attempt, rung, Some(Asked { intent, answer, at: Instant::now() }))
            }
        };
        let Some(node) = self.engine.node(&step) else { return };
        let told = Told {
            made: adopt.as_ref().and_then(|_| task::made_by(&node.intents)),
            migration_id: node.migration_id,
            ..Told::default()
        };
        let host = node.step.host.clone();
        let server = match &node.step.kind {
            StepKind::Start { server } => self.engine.stopped(&host, server),
            _ => None,
        };
        let cx = Context {
            cloud: Arc::clone(&self.setup.cloud),
            watch: Arc::clone(&self.watch),
            commands: Arc::clone(&self.setup.commands),
            clock: self.setup.clock.clone(),
            run: self.setup.run.clone(),
            plan: Arc::clone(&self.plan),
            step: node.step.clone(),
            attempt,
            host: self.hosts.get(&host).cloned(),
            disabled_at: self.disabled_at.get(&host).copied(),
            disabled: self.engine.disabled(&host),
            stopped: server,
            only_gives_back: !self.engine.on_host(&host).any(|node| matches!(node.step.kind, StepKind::Disable)),
            may_stay: self.may_stay(&host),
            stopped_here: self.engine.stopped_on(&host),
            moved: self.engine.moved_from(&host),
            folder: self.folder.clone(),
            interrupted: self.interrupted.subscribe(),
        };
        let task = Task { cx, rung, adopt, out: self.out.clone(), told };
        self.tasks.spawn(task.run());
    }

    /// Servers that the host is empty with, whatever their state: those the plan or a step of this run leaves there.
    fn may_stay(&self, host: &str) -> BTreeSet<String> {
        let by_plan = self.left.get(host).into_iter().flatten().map(|server| server.id.clone());
        by_plan.chain(self.engine.left_on(host)).collect()
    }

    fn check_queue(&mut self, pending: &mut Vec<Pending>) {
        if self.queueing_stopped {
            return;
        }
        if let Some(host) = self.watch.source_above(self.plan.drain.limits.source) {
            pending.push((EventKind::QueueingStopped { host }, None));
        }
    }

    fn in_flight(&self) -> Vec<StepId> {
        let asked = |node: &&super::engine::Node| matches!(node.state, StepState::Intended | StepState::Asked);
        self.engine.nodes().iter().filter(asked).map(|node| node.step.id.clone()).collect()
    }

    /// The operator waits for nothing more.
    fn leave(self) -> Ended {
        Ended {
            ending: Ending::Interrupted,
            leftovers: leftovers(&self.engine, &self.root, &self.left, &self.setup.run),
            in_flight: self.in_flight(),
            journal_failed: self.journal_failed,
        }
    }

    async fn end(mut self, show: &mut (dyn FnMut(&Update) + Send)) -> Result<Ended, RunError> {
        let leftovers = leftovers(&self.engine, &self.root, &self.left, &self.setup.run);
        let ending = self.engine.ending();
        let requests = self.setup.cloud.requests_sent();
        let last = EventKind::RunEnded { ending, leftovers: leftovers.clone(), requests };
        self.commit(vec![(last, None)], show).await?;
        // A run whose end is not on disk is not over for anybody who asks the journal.
        let ending = if self.journal_failed.is_some() { Ending::Failed } else { ending };
        Ok(Ended { ending, leftovers, in_flight: self.in_flight(), journal_failed: self.journal_failed })
    }
}
