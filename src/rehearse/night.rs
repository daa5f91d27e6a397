//! One night: a compiled plan driven to its end over a simulated cloud, on a runtime of its own whose clock is paused.
//! The same setup gives the same night on every machine, event by event.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::RehearseError;
use super::disk::{Disk, Kill};
use super::machine::{CommandHabits, Machine};
use crate::cloud::Inventory;
use crate::cloud::sim::{Counts, Faults, Habits, Log, Scene, Seen, Sim};
use crate::compile::{Graph, compile};
use crate::event::{Event, RunId, Update};
use crate::journal::{Journal, JournalError, Memory};
use crate::plan::Plan;
use crate::run::{Begin, Clock, Ended, Setup, drive};

/// The longest night. Every wait of a run has its own bound, and a plan's timeouts are at most days; what goes on for
/// longer goes on for ever.
const NIGHT_MAX: Duration = Duration::from_secs(60 * 24 * 3600);
/// Events and readings of progress in one night at the most: more than the largest graph has, and the only bound on a
/// run that goes round without its clock moving.
const UPDATES_MAX: u64 = 50_000_000;

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
    /// One for each of the first processes; the last one lives to its end.
    pub kills: Vec<Kill>,
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
            kills: Vec::new(),
            record: false,
        })
    }

    /// Named by its seed, so that the same night has the same events, and no real run is ever named so.
    pub fn run_id(&self) -> RunId {
        RunId(format!("rehearsal-{}", self.seed))
    }
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
    let disk = Arc::new(Disk::new(&sim, Memory::new()));
    let clock = Clock::starting_at(epoch);
    let run = setup.run_id();
    let hosts: Vec<String> = setup.graph.hosts.iter().map(|host| host.name.clone()).collect();
    let mut kills = setup.kills.iter();
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
        let kill = kills.next().copied();
        disk.next_process(kill);
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
        match ended {
            Some(ended) if ended.journal_failed.is_none() || kill.is_none() => {
                disk.tell("ended");
                break ended;
            }
            Some(_) => disk.tell("ended without its journal"),
            None => disk.tell("killed"),
        }
        tokio::time::sleep(kill.map_or(Duration::ZERO, |kill| kill.pause)).await;
        disk.tell("resumed");
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
        appends: disk.appends(),
    })
}
