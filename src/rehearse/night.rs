//! One night: a compiled plan driven to its end over a simulated cloud, on a runtime of its own whose clock is paused.
//! The same setup gives the same night on every machine, event by event.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::RehearseError;
use super::machine::{CommandHabits, Machine};
use crate::cloud::Inventory;
use crate::cloud::sim::{Counts, Faults, Habits, Log, Scene, Seen, Sim, What};
use crate::compile::{Graph, compile};
use crate::event::{Event, RunId, Update};
use crate::journal::{Claim, Journal, JournalError, Memory, RunSummary};
use crate::plan::Plan;
use crate::run::{Begin, Clock, Ended, Setup, drive};

/// The longest night. Every wait of a run has its own bound, and a plan's timeouts are at most days; what goes on for
/// longer goes on for ever.
const NIGHT_MAX: Duration = Duration::from_secs(60 * 24 * 3600);
/// Events and readings of progress in one night at the most: more than the largest graph has, and the only bound on a
/// run that goes round without its clock moving.
const UPDATES_MAX: u64 = 50_000_000;
/// An append with its fsync.
const FSYNC_MS: [u64; 2] = [1, 8];

/// What a night begins with. Cheap to clone: nights that differ in their seed share the rest.
#[derive(Debug, Clone)]
pub struct NightSetup {
    pub plan: Arc<Plan>,
    /// The cloud as it is when the night begins.
    pub inventory: Arc<Inventory>,
    /// The plan compiled against that.
    pub graph: Arc<Graph>,
    /// The cloud's name.
    pub cloud: String,
    /// Decides everything that is left to chance.
    pub seed: u64,
    pub faults: Faults,
    pub habits: Habits,
    pub commands: CommandHabits,
    pub kill: Option<Kill>,
    /// Whether [`Night::seen`] is kept.
    pub record: bool,
}

impl NightSetup {
    /// A night in which nothing goes wrong, seed 1.
    ///
    /// # Errors
    /// When the plan cannot be compiled against this cloud. Blockers are in the graph.
    pub fn new(plan: Plan, inventory: Inventory, cloud: &str) -> Result<Self, RehearseError> {
        let graph = compile(&plan, &inventory, cloud)?;
        Ok(Self {
            plan: Arc::new(plan),
            inventory: Arc::new(inventory),
            graph: Arc::new(graph),
            cloud: cloud.to_owned(),
            seed: 1,
            faults: Faults::none(),
            habits: Habits::default(),
            commands: CommandHabits::default(),
            kill: None,
            record: false,
        })
    }

    /// Named by its seed, so that the same night has the same events, and no real run is ever named so.
    pub fn run_id(&self) -> RunId {
        RunId(format!("rehearsal-{}", self.seed))
    }
}

/// The process dies at an append, as of `kill -9`, and is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// From 1.
    pub append: u64,
    pub when: KillWhen,
    /// Until somebody says `furlough resume`.
    pub pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillWhen {
    /// Nothing of the append is on disk.
    Before,
    /// All of it is, and nothing that follows from it has been done.
    After,
}

/// What became of a night.
#[derive(Debug, Clone)]
pub struct Night {
    /// Everything the run's journal holds.
    pub events: Vec<Event>,
    pub ended: Ended,
    /// Everything that happened, where it was recorded.
    pub seen: Vec<Seen>,
    /// Virtual time, from the first event to the last.
    pub took: Duration,
    pub counts: Counts,
    /// Appends to the journal: where a [`Kill`] could be.
    pub appends: u64,
}

/// Runs one night to its end.
///
/// # Errors
/// [`RehearseError::Blocked`] before anything is begun; everything else is a mistake of furlough's own, which a report
/// of the seed makes findable.
pub fn night(setup: &NightSetup, show: &mut (dyn FnMut(&Update) + Send)) -> Result<Night, RehearseError> {
    if !setup.graph.blockers.is_empty() {
        return Err(RehearseError::Blocked { blockers: setup.graph.blockers.len() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| RehearseError::NoRuntime { cause: error.to_string() })?;
    runtime.block_on(Box::pin(through(setup, show)))
}

async fn through(setup: &NightSetup, show: &mut (dyn FnMut(&Update) + Send)) -> Result<Night, RehearseError> {
    let from = Instant::now();
    let epoch = setup.inventory.read_at;
    let log = if setup.record { Log::recording() } else { Log::off() };
    let scene = Scene {
        name: setup.cloud.clone(),
        inventory: Inventory::clone(&setup.inventory),
        epoch,
        seed: setup.seed,
        habits: setup.habits.clone(),
        faults: setup.faults.clone(),
    };
    let sim = Sim::new(scene, log.clone());
    let machine = Arc::new(Machine::new(&sim, &setup.commands, &setup.plan));
    let disk = Arc::new(Disk::new(&sim, setup.kill));
    let clock = Clock::starting_at(epoch);
    let run = setup.run_id();
    let hosts: Vec<String> = setup.graph.hosts.iter().map(|host| host.name.clone()).collect();
    let process = |text: &str| log.push_with(sim.now_ms(), || What::Process { text: text.to_owned() });
    let too_many = Notify::new();
    let mut updates = 0_u64;
    let mut counted = |update: &Update| {
        updates += 1;
        if updates >= UPDATES_MAX {
            too_many.notify_one();
        }
        show(update);
    };
    let mut begin = Begin::New { graph: Box::new(Graph::clone(&setup.graph)), plan_text: None, folder: PathBuf::new() };
    let ended = loop {
        let _claim = disk.claim(&run, &setup.cloud, &hosts).await?;
        let one = Setup {
            run: run.clone(),
            cloud: Arc::clone(&sim) as _,
            journal: Arc::clone(&disk) as _,
            commands: Arc::clone(&machine) as _,
            clock: clock.clone(),
        };
        // The wish to stop is never sent: a night ends, or is killed.
        let (_stop, stopped) = watch::channel(None);
        let ended = tokio::select! {
            biased;
            ended = Box::pin(drive(one, begin, stopped, &mut counted)) => Some(ended?),
            () = disk.died.notified() => None,
            () = too_many.notified() => return Err(RehearseError::Endless { seed: setup.seed }),
            () = tokio::time::sleep(NIGHT_MAX) => return Err(RehearseError::Endless { seed: setup.seed }),
        };
        if let Some(ended) = ended {
            process("ended");
            break ended;
        }
        process("killed");
        tokio::time::sleep(setup.kill.map_or(Duration::ZERO, |kill| kill.pause)).await;
        process("resumed");
        begin = match disk.memory.read(&run).await {
            Ok(events) => Begin::Resume { events },
            // Killed before its first event: it never began.
            Err(JournalError::NoSuchRun { .. }) => {
                Begin::New { graph: Box::new(Graph::clone(&setup.graph)), plan_text: None, folder: PathBuf::new() }
            }
            Err(error) => return Err(error.into()),
        };
    };
    Ok(Night {
        events: disk.memory.take(&run),
        ended,
        seen: log.take(),
        took: from.elapsed(),
        counts: sim.counts(),
        appends: disk.appends.load(Ordering::Relaxed),
    })
}

/// The journal of a night: in memory, as slow as a disk, and with the process's death in it.
struct Disk {
    memory: Memory,
    sim: Arc<Sim>,
    kill: Option<Kill>,
    appends: AtomicU64,
    durable: AtomicU64,
    died: Notify,
}

impl Disk {
    fn new(sim: &Arc<Sim>, kill: Option<Kill>) -> Self {
        Self {
            memory: Memory::new(),
            sim: Arc::clone(sim),
            kill,
            appends: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            died: Notify::new(),
        }
    }
}

#[async_trait]
impl Journal for Disk {
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError> {
        self.memory.claim(run, cloud, hosts).await
    }

    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError> {
        self.memory.release(run, host).await
    }

    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError> {
        let append = self.appends.fetch_add(1, Ordering::Relaxed) + 1;
        let kill = self.kill.filter(|kill| kill.append == append).map(|kill| kill.when);
        // An fsync is not instant: what else may happen meanwhile, happens.
        tokio::time::sleep(Duration::from_millis(self.sim.next_draw("fsync").between(FSYNC_MS))).await;
        if kill == Some(KillWhen::Before) {
            self.died.notify_one();
            return std::future::pending().await;
        }
        let count = events.len() as u64;
        self.memory.append(run, events).await?;
        let durable = self.durable.fetch_add(count, Ordering::Relaxed) + count;
        self.sim.log().push_with(self.sim.now_ms(), || What::Durable { events: durable });
        if kill == Some(KillWhen::After) {
            self.died.notify_one();
            return std::future::pending().await;
        }
        Ok(())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError> {
        self.memory.read(run).await
    }

    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError> {
        self.memory.read_after(run, seq).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.memory.runs().await
    }
}
