//! One drawn night, through every death and every resume to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::told;
use crate::cloud::sim::{Faults, Habits, Log, Scene, Seen, Sim, What};
use crate::cloud::{ComputeService, Inventory, Server};
use crate::compile::Graph;
use crate::event::{Ending, Event, RunId, Update};
use crate::journal::{Claim, Journal, JournalError, Memory, RunSummary};
use crate::plan::Plan;
use crate::rehearse::invariants::{Story, Violation, check};
use crate::rehearse::machine::{CommandHabits, Machine};
use crate::run::{Begin, Clock, Ended, Setup, Stop, drive};

/// Processes of one run that are let end without success before nobody takes it up again.
const RESUMES: usize = 2;
/// Virtual time that no process of a night takes.
const NIGHT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Updates that no process shows.
const UPDATES_MAX: u64 = 2_000_000;
/// Between two attempts of an operator who has seen a run fail.
const OPERATOR_LOOKS: Duration = Duration::from_secs(600);

/// What happens at an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The process dies, and nothing of the append is on disk.
    Before,
    /// The process dies, and all of it is on disk.
    After,
    /// The disk is full from here on, and the process lives.
    Full,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Of its process, from 1.
    pub append: u64,
    pub when: When,
    /// Until the run is taken up again.
    pub pause_ms: u64,
}

/// Everything about a night.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub seed: u64,
    /// Nothing goes wrong but the process.
    pub calm: bool,
    pub plan: Arc<Plan>,
    pub inventory: Arc<Inventory>,
    pub graph: Arc<Graph>,
    pub faults: Faults,
    pub habits: Habits,
    pub commands: CommandHabits,
    /// One for each of the first processes.
    pub cuts: Vec<Cut>,
    /// When the operator stops one of the first processes, in milliseconds after it began.
    pub stops: Vec<(u64, Stop)>,
    pub secrets: Vec<String>,
}

/// What became of it.
pub(super) struct Played {
    pub events: Vec<Event>,
    pub seen: Vec<Seen>,
    pub ending: Option<Ending>,
    pub servers: Vec<Server>,
    pub services: Vec<ComputeService>,
    pub violations: Vec<Violation>,
}

impl Setting {
    pub(super) fn run_id(&self) -> RunId {
        RunId(format!("rehearsal-{}", self.seed))
    }

    /// The same night on every machine.
    pub(super) fn play(&self) -> Played {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut played = runtime.block_on(Box::pin(self.through()));
        let (graph, start) = (self.graph.as_ref(), self.inventory.as_ref());
        let (events, seen, secrets) = (&played.events, &played.seen, &self.secrets);
        played.violations.extend(check(&Story { graph, start, events, seen, secrets }));
        played
    }

    async fn through(&self) -> Played {
        let log = Log::recording();
        let scene = Scene {
            name: "lab".to_owned(),
            inventory: Inventory::clone(&self.inventory),
            epoch: self.inventory.read_at,
            seed: self.seed,
            habits: self.habits.clone(),
            faults: self.faults.clone(),
        };
        let sim = Sim::new(scene, log.clone());
        let machine = Arc::new(Machine::new(&sim, &self.commands, &self.plan));
        let disk = Arc::new(Disk::new(&sim));
        let clock = Clock::starting_at(self.inventory.read_at);
        let (mut ending, mut broken, mut tried) = (None, Vec::new(), 0);
        for process in 0.. {
            disk.cut_by(self.cuts.get(process).copied());
            let stop = self.stops.get(process).copied();
            match self.process(&sim, &machine, &disk, &clock, stop).await {
                Ok(Some(ended)) => {
                    disk.tell(&format!("ended: {:?}", ended.ending));
                    ending = Some(ended.ending);
                    let planned = self.cuts.len().max(self.stops.len()) > process + 1;
                    tried += usize::from(!planned && ended.journal_failed.is_none());
                    if ended.ending == Ending::Done || tried > RESUMES {
                        break;
                    }
                    tokio::time::sleep(OPERATOR_LOOKS).await;
                }
                Ok(None) => {
                    disk.tell("killed");
                    let pause_ms = self.cuts.get(process).map_or(0, |cut| cut.pause_ms);
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
                Err(text) => {
                    broken.push(Violation { at_ms: sim.now_ms(), invariant: 0, text });
                    break;
                }
            }
            disk.tell("taken up again");
        }
        // What is due by now has happened.
        let (servers, services) = (sim.servers(), sim.services());
        let mut seen = log.take();
        // The cloud catches up with time when it is looked at; what happens beside it is told at once.
        seen.sort_by_key(|seen| seen.at_ms);
        let events = disk.memory.read(&self.run_id()).await.unwrap_or_default();
        Played { events, seen, ending, servers, services, violations: broken }
    }

    /// One process; `None` when it died.
    async fn process(
        &self,
        sim: &Arc<Sim>,
        machine: &Arc<Machine>,
        disk: &Arc<Disk>,
        clock: &Clock,
        stop: Option<(u64, Stop)>,
    ) -> Result<Option<Ended>, String> {
        let run = self.run_id();
        let begin = match disk.memory.read(&run).await {
            Ok(events) if !events.is_empty() => Begin::Resume { events },
            _ => Begin::New { graph: Box::new(Graph::clone(&self.graph)), plan_text: None, folder: PathBuf::new() },
        };
        let hosts: Vec<String> = self.graph.hosts.iter().map(|host| host.name.clone()).collect();
        let _claim = disk.claim(&run, "lab", &hosts).await.map_err(|error| error.to_string())?;
        let setup = Setup {
            run,
            cloud: Arc::clone(sim) as _,
            journal: Arc::clone(disk) as _,
            commands: Arc::clone(machine) as _,
            clock: clock.clone(),
        };
        let (wish, stopped) = watch::channel(None);
        let operator = async {
            if let Some((after_ms, stop)) = stop {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                disk.tell(&format!("the operator says {stop:?}"));
                wish.send_replace(Some(stop));
            }
            std::future::pending::<()>().await;
        };
        let too_many = Notify::new();
        let mut updates = 0_u64;
        let mut show = |_: &Update| {
            updates += 1;
            if updates == UPDATES_MAX {
                too_many.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = disk.died.notified() => Ok(None),
            ended = Box::pin(drive(setup, begin, stopped, &mut show)) => ended.map(Some).map_err(|error| error.to_string()),
            () = operator => Ok(None),
            () = too_many.notified() => Err(format!("a process showed {UPDATES_MAX} updates and goes on")),
            () = tokio::time::sleep(NIGHT_MAX) => Err("a process goes on after thirty days".to_owned()),
        }
    }
}

impl Played {
    /// Everything that happened, a line each, in its order.
    pub(super) fn told(&self) -> String {
        told::lines(&self.seen, &self.events)
    }
}

/// A journal in memory, as slow as a disk, in which the process may die.
struct Disk {
    memory: Memory,
    sim: Arc<Sim>,
    cut: std::sync::Mutex<Option<Cut>>,
    /// Appends of this process.
    own: AtomicU64,
    durable: AtomicU64,
    died: Notify,
}

impl Disk {
    fn new(sim: &Arc<Sim>) -> Self {
        Self {
            memory: Memory::new(),
            sim: Arc::clone(sim),
            cut: std::sync::Mutex::default(),
            own: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            died: Notify::new(),
        }
    }

    fn cut_by(&self, cut: Option<Cut>) {
        *self.cut.lock().unwrap() = cut;
        self.own.store(0, Ordering::Relaxed);
    }

    fn tell(&self, text: &str) {
        self.sim.log().push(self.sim.now_ms(), What::Process { text: text.to_owned() });
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
        let own = self.own.fetch_add(1, Ordering::Relaxed) + 1;
        let cut = *self.cut.lock().unwrap();
        let now = cut.filter(|cut| cut.append == own).map(|cut| cut.when);
        // An fsync is not instant: what else may happen meanwhile, happens.
        tokio::time::sleep(Duration::from_millis(self.sim.next_draw("fsync").between([1, 8]))).await;
        if cut.is_some_and(|cut| cut.when == When::Full && cut.append <= own) {
            let (path, cause, remedy) = ("journal".to_owned(), "disk full".to_owned(), "make room".to_owned());
            return Err(JournalError::Write { path, cause, remedy });
        }
        if now == Some(When::Before) {
            self.died.notify_one();
            return std::future::pending().await;
        }
        let count = events.len() as u64;
        self.memory.append(run, events).await?;
        let durable = self.durable.fetch_add(count, Ordering::Relaxed) + count;
        self.sim.log().push(self.sim.now_ms(), What::Durable { events: durable });
        if now == Some(When::After) {
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
