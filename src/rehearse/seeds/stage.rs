//! One drawn night, through every death and every resume to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::told;
use crate::cloud::sim::{Faults, Habits, Log, Scene, Seen, Sim};
use crate::cloud::{ComputeService, Inventory, Server};
use crate::compile::Graph;
use crate::event::{Ending, Event, RunId, Update};
use crate::journal::{Journal as _, Memory};
use crate::plan::Plan;
use crate::rehearse::disk::{Disk, Kill};
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
    pub cuts: Vec<Kill>,
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
        let disk = Arc::new(Disk::new(&sim, Memory::new()));
        let clock = Clock::starting_at(self.inventory.read_at);
        let (mut ending, mut broken, mut tried) = (None, Vec::new(), 0);
        for process in 0.. {
            disk.next_process(self.cuts.get(process).copied());
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
                    tokio::time::sleep(self.cuts.get(process).map_or(Duration::ZERO, |cut| cut.pause)).await;
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
