//! A simulated Nova: its state machines, its lags and its faults, over virtual time and from one seed.
//!
//! Deliberately absent: HTTP, what this program does with any of it, threads, tasks, and a clock of its own.

mod api;
mod begin;
mod checks;
mod cold;
mod deaths;
mod fates;
mod faults;
mod live;
mod log;
mod moves;
pub mod network;
mod others;
mod power;
mod readings;
mod rng;
mod rows;
mod saving;
mod scene;
mod scheduler;
mod services;
mod world;

#[cfg(test)]
mod tests;

pub use faults::{AskKind, Chances, Fate, Faults, Happening, ReadFate, ReadKind, Scripted};
pub use log::{Log, Question, Seen, Told, What};
pub use rng::Draw;
pub use scene::{Habits, Scene};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Accepted, Ask, Capabilities, Cloud, CloudError, CloudErrorKind, ComputeService, Inventory, LiveProgress, Migration,
    MigrationQuery, Reading, Refusal, Server, ServerQuery,
};
use world::World;

/// What a night cost and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by kind (`live`, `disable` …), whatever became of them.
    pub asked: BTreeMap<&'static str, u64>,
    /// Readings by kind (`servers`, `migrations` …).
    pub read: BTreeMap<&'static str, u64>,
    /// Servers whose host changed, whoever moved them.
    pub moves: u64,
    /// How long each guest did not execute that did so at the start, milliseconds, the standstill at the end of a live
    /// migration included; without those at 0. One that is still off is counted up to now; a deleted one is not.
    pub downtime_ms: BTreeMap<String, u64>,
}

/// A simulated cloud. Cheap to share.
///
/// What is due is processed whenever somebody looks, so it needs no task of its own. It belongs to the runtime that it
/// was made in, which should be paused and have one thread: then the same scene and the same questions at the same
/// moments give the same answers.
pub struct Sim {
    name: String,
    capabilities: Capabilities,
    from: Instant,
    log: Log,
    world: Mutex<World>,
}

/// The word for a kind of request, in counts and streams.
fn word(ask: &Ask) -> &'static str {
    match ask {
        Ask::DisableService { .. } => "disable",
        Ask::EnableService { .. } => "enable",
        Ask::LiveMigrate { .. } => "live",
        Ask::ColdMigrate { .. } => "cold",
        Ask::ConfirmResize { .. } => "confirm",
        Ask::RevertResize { .. } => "revert",
        Ask::Stop { .. } => "stop",
        Ask::Start { .. } => "start",
        Ask::AbortMigration { .. } => "abort",
    }
}

fn call_of(question: &Question) -> (&'static str, ReadKind, &'static str) {
    match question {
        Question::Inventory => ("inventory", ReadKind::Inventory, "GET /os-services"),
        Question::Services { .. } => ("services", ReadKind::Services, "GET /os-services"),
        Question::Servers(_) => ("servers", ReadKind::Servers, "GET /servers/detail"),
        Question::Server { .. } => ("server", ReadKind::Server, "GET /servers/{id}"),
        Question::Migrations(_) => ("migrations", ReadKind::Migrations, "GET /os-migrations"),
        Question::LiveProgress { .. } => ("live_progress", ReadKind::LiveProgress, "GET /servers/{id}/migrations"),
        Question::ActionFault { .. } => {
            ("action_fault", ReadKind::ActionFault, "GET /servers/{id}/os-instance-actions/{request}")
        }
    }
}

/// Attempts of a reading, and of a request that finds no connection, as `cloud::nova::http` makes them; the wait before
/// the second, doubled each time, and the whole of what all of them take.
const ATTEMPTS: u32 = 5;
const BACKOFF_MS: u64 = 500;
const GIVES_UP_MS: [u64; 2] = [3_750, 7_500];
/// How long a 429 is waited out before it is taken for an answer: six times, as long as the service asks for.
const LIMITED_MS: [u64; 2] = [15_000, 60_000];
/// An inventory is one request, then five lists at once, some of several pages.
const INVENTORY_ROUNDS: u64 = 3;
const INVENTORY_REQUESTS: u64 = 6;
/// Servers are listed in pages of so many.
const PAGE: u64 = 200;

/// What a reading is answered with: the world, the moment its rows are of, and the cloud's clock when it was asked.
struct Moment<'a> {
    world: &'a mut World,
    rows_of_ms: u64,
    at: Timestamp,
}

impl Sim {
    /// Its clock starts now, in tokio's time.
    pub fn new(scene: Scene, log: Log) -> Arc<Self> {
        Arc::new(Self {
            name: scene.name.clone(),
            capabilities: scene.inventory.capabilities,
            from: Instant::now(),
            log: log.clone(),
            world: Mutex::new(World::new(scene, log)),
        })
    }

    /// The world as it is at this moment. A poisoned lock holds a world that some test's panic left behind.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.now_ms());
        world
    }

    /// Virtual milliseconds since the scene's epoch.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.from.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Every server as it truly is and not deleted, in the order of ids.
    pub fn servers(&self) -> Vec<Server> {
        let world = self.world();
        let mut rows: Vec<Server> =
            world.servers.iter().filter(|slot| !slot.deleted).map(|slot| slot.row.now.clone()).collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    /// Every compute service as it truly is, in the order of hosts.
    pub fn services(&self) -> Vec<ComputeService> {
        let world = self.world();
        world.read_services(None, world.now_ms)
    }

    /// Every migration record of servers that are not deleted, in the order of ids.
    pub fn migrations(&self) -> Vec<Migration> {
        self.world().records.values().map(|record| record.now.clone()).collect()
    }

    /// The guest of this server executes.
    pub fn is_running(&self, server: &str) -> bool {
        let world = self.world();
        world.server_ids.get(server).is_some_and(|server| world.servers[*server].running)
    }

    /// The next draw of a stream for things outside the cloud (commands, journal, clock), from the same seed.
    pub fn next_draw(&self, what: &str) -> Draw {
        self.world().draws.next(&["outside", what])
    }

    /// A maintenance command reboots a host: down for so long, or (`None`) as long as `Habits::boot_ms` and the chances
    /// of being late or never have it. A host that is not there is left alone.
    pub fn reboot(&self, host: &str, down_for: Option<Duration>) {
        let mut world = self.world();
        if let Some(host) = world.host_ids.get(host).copied() {
            world.reboot(host, down_for);
        }
    }

    /// Somebody else than the run does something, now.
    pub fn happen(&self, happening: Happening) {
        self.world().happens(happening);
    }

    pub fn counts(&self) -> Counts {
        let world = self.world();
        let mut counts = world.counts.clone();
        for slot in world.servers.iter().filter(|slot| slot.ran_at_start) {
            if let Some(since) = slot.down_since_ms {
                *counts.downtime_ms.entry(slot.row.now.id.clone()).or_default() += world.now_ms - since;
            }
        }
        counts
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Puts into the log what happens beside the cloud, now. First everything due in the cloud until now happens, so that
    /// the log stays in the order of time.
    pub fn note(&self, what: What) {
        self.note_with(|| what);
    }

    fn note_with(&self, what: impl FnOnce() -> What) {
        if self.log.is_recording() {
            let now_ms = self.world().now_ms;
            self.log.push(now_ms, what());
        }
    }

    /// Half of a request's time is its way there. Sleeping is tokio's, so that a paused runtime sleeps in virtual time.
    async fn way(ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn read<T>(
        &self,
        question: Question,
        answer: impl FnOnce(Moment<'_>) -> Result<T, CloudErrorKind> + Send,
    ) -> Result<T, CloudError> {
        let (word, kind, call) = call_of(&question);
        let mut fate = {
            let mut world = self.world();
            *world.counts.read.entry(word).or_default() += 1;
            world.reading_fate(kind)
        };
        let mut wait_ms = BACKOFF_MS;
        for _ in 1..ATTEMPTS {
            let pause = {
                let mut world = self.world();
                world.requests += 1;
                if fate != Some(ReadFate::Unreachable) && !world.is_out() {
                    break;
                }
                world.draws.next(&["backoff"]).between([wait_ms / 2, wait_ms])
            };
            Self::way(pause).await;
            wait_ms *= 2;
        }
        let (takes_ms, asked_at) = {
            let mut world = self.world();
            if world.is_out() {
                fate = Some(ReadFate::Unreachable);
            }
            let span = if fate == Some(ReadFate::Slow) { world.habits.slow_ms } else { world.habits.request_ms };
            let times = if kind == ReadKind::Inventory { INVENTORY_ROUNDS } else { 1 };
            let takes_ms = world.draws.next(&["reading-takes"]).between(span).saturating_mul(times);
            (takes_ms, world.stamp(world.now_ms))
        };
        Self::way(takes_ms / 2).await;
        let answered = {
            let mut world = self.world();
            let failed = match fate {
                Some(ReadFate::Unreachable) => {
                    Some(CloudErrorKind::Unreachable { cause: "503 Service Unavailable, 4 times".to_owned() })
                }
                Some(ReadFate::Unauthenticated) => Some(unauthenticated()),
                Some(ReadFate::Garbled) => {
                    Some(CloudErrorKind::Protocol { what: "expected value at line 1 column 1".to_owned() })
                }
                Some(ReadFate::Forbidden) => {
                    let message = "Policy doesn't allow it to be performed.".to_owned();
                    Some(CloudErrorKind::Refused { status: 403, refusal: Refusal::Forbidden, message })
                }
                Some(ReadFate::Slow | ReadFate::Stale) | None => None,
            };
            let now_ms = world.now_ms;
            self.log.push_with(now_ms, || What::Read { what: question, answered: failed.is_none() });
            match failed {
                Some(kind) => Err(kind),
                None => {
                    let lag_ms = match fate {
                        Some(ReadFate::Stale) => {
                            let span = world.habits.stale_ms;
                            world.draws.next(&["stale"]).between(span)
                        }
                        _ => 0,
                    };
                    let rows_of_ms = now_ms.saturating_sub(lag_ms);
                    answer(Moment { world: &mut world, rows_of_ms, at: asked_at })
                }
            }
        };
        Self::way(takes_ms - takes_ms / 2).await;
        answered.map_err(|kind| CloudError { call: call.to_owned(), request_id: None, kind })
    }

    /// What this release cannot do, as the back end for a real Nova refuses it before it sends anything.
    fn too_old(&self, ask: &Ask) -> Option<CloudErrorKind> {
        let can = self.capabilities;
        let (what, needs) = match ask {
            Ask::LiveMigrate { host: Some(_), .. } if !can.validated_live_host() => {
                ("a live migration to a chosen host", "2.30")
            }
            Ask::ColdMigrate { host: Some(_), .. } if !can.cold_host() => ("a cold migration to a chosen host", "2.56"),
            Ask::AbortMigration { .. } if !can.abort_running() => ("aborting a live migration", "2.24"),
            _ => return None,
        };
        Some(CloudErrorKind::TooOld { what, needs: needs.to_owned(), has: can.newest.to_string() })
    }
}

fn unauthenticated() -> CloudErrorKind {
    CloudErrorKind::Unauthenticated { message: "The request you have made requires authentication.".to_owned() }
}

/// The call as errors name it.
fn call_name(ask: &Ask) -> String {
    match ask {
        Ask::DisableService { service_id, .. } | Ask::EnableService { service_id, .. } => {
            format!("PUT /os-services/{service_id}")
        }
        Ask::AbortMigration { server, migration_id } => format!("DELETE /servers/{server}/migrations/{migration_id}"),
        _ => format!("POST /servers/{}/action {}", ask.server().unwrap_or_default(), word(ask)),
    }
}

#[cfg(test)]
impl Sim {
    /// The rows as they were when somebody last looked, without a clock: for after its runtime is gone.
    fn raw_world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts_of_the_end(&self) -> Counts {
        self.raw_world().counts.clone()
    }

    fn world_rows(&self) -> Vec<Server> {
        let world = self.raw_world();
        let here = world.servers.iter().filter(|slot| !slot.deleted);
        let by_id: BTreeMap<String, Server> =
            here.map(|slot| (slot.row.now.id.clone(), slot.row.now.clone())).collect();
        by_id.into_values().collect()
    }

    fn world_records(&self) -> Vec<Migration> {
        self.raw_world().records.values().map(|record| record.now.clone()).collect()
    }
}

#[async_trait]
impl Cloud for Sim {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn requests_sent(&self) -> u64 {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).requests
    }

    async fn inventory(&self) -> Result<Inventory, CloudError> {
        self.read(Question::Inventory, |moment| {
            let inventory = moment.world.read_inventory(moment.at, moment.rows_of_ms);
            moment.world.requests += INVENTORY_REQUESTS - 1 + inventory.servers.len() as u64 / PAGE;
            Ok(inventory)
        })
        .await
    }

    async fn services(&self, host: Option<&str>) -> Result<Vec<ComputeService>, CloudError> {
        let question = Question::Services { host: host.map(str::to_owned) };
        self.read(question, |moment| Ok(moment.world.read_services(host, moment.rows_of_ms))).await
    }

    async fn servers(&self, query: &ServerQuery) -> Result<Reading<Server>, CloudError> {
        self.read(Question::Servers(query.clone()), |moment| {
            let rows = moment.world.read_servers(query, moment.rows_of_ms);
            moment.world.requests += rows.len() as u64 / PAGE;
            Ok(Reading { rows, at: moment.at })
        })
        .await
    }

    async fn server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        let question = Question::Server { id: id.to_owned() };
        self.read(question, |moment| Ok(moment.world.read_server(id, moment.rows_of_ms))).await
    }

    async fn migrations(&self, query: &MigrationQuery) -> Result<Reading<Migration>, CloudError> {
        self.read(Question::Migrations(query.clone()), |moment| {
            Ok(Reading { rows: moment.world.read_migrations(query, moment.rows_of_ms), at: moment.at })
        })
        .await
    }

    async fn live_progress(&self, server: &str) -> Result<Option<LiveProgress>, CloudError> {
        if !self.capabilities.live_progress() {
            return Ok(None);
        }
        let question = Question::LiveProgress { server: server.to_owned() };
        self.read(question, |moment| Ok(moment.world.read_progress(server))).await
    }

    async fn action_fault(&self, server: &str, request_id: &str) -> Result<Option<String>, CloudError> {
        let question = Question::ActionFault { server: server.to_owned(), request_id: request_id.to_owned() };
        self.read(question, |moment| Ok(moment.world.read_fault(server, request_id))).await
    }

    /// Once it is sent it arrives, whether or not anybody still waits: a process that is killed takes no request back.
    async fn ask(&self, ask: &Ask) -> Result<Accepted, CloudError> {
        let error = |kind, request_id| CloudError { call: call_name(ask), request_id, kind };
        if let Some(kind) = self.too_old(ask) {
            return Err(error(kind, None));
        }
        let (ticket, takes_ms, failed) = {
            let mut world = self.world();
            *world.counts.asked.entry(word(ask)).or_default() += 1;
            let fate = world.request_fate(ask);
            world.requests += if fate == Some(Fate::Unreachable) { u64::from(ATTEMPTS) } else { 1 };
            let subject = ask.server().unwrap_or_default();
            let span = match fate {
                Some(Fate::Slow) => world.habits.slow_ms,
                Some(Fate::Unreachable) => GIVES_UP_MS,
                Some(Fate::RateLimited) => LIMITED_MS,
                _ => world.habits.request_ms,
            };
            let takes_ms = world.draws.next(&["request-takes", subject]).between(span).max(2);
            let failed = match fate {
                Some(Fate::Unreachable) => {
                    Some((Told::Unreachable, CloudErrorKind::Unreachable { cause: "connection refused".to_owned() }))
                }
                Some(Fate::Unauthenticated) => Some((Told::Unreachable, unauthenticated())),
                Some(Fate::LostBefore) => {
                    Some((Told::Lost, CloudErrorKind::Lost { cause: "connection reset by peer".to_owned() }))
                }
                _ => None,
            };
            let arrives_at_ms = world.now_ms.saturating_add(takes_ms / 2);
            let ticket = match failed {
                Some(_) => None,
                None => Some(world.ticket(ask.clone(), fate, arrives_at_ms)),
            };
            (ticket, takes_ms, failed)
        };
        Self::way(takes_ms / 2).await;
        if let Some((answer, kind)) = failed {
            let ask = ask.clone();
            self.note_with(|| What::Asked { ask, arrived: false, answer });
            Self::way(takes_ms - takes_ms / 2).await;
            return Err(error(kind, None));
        }
        let (answered, request_id) = {
            let mut world = self.world();
            let ticket = ticket.and_then(|ticket| world.tickets.remove(&ticket));
            let request_id = ticket.as_ref().map(|ticket| ticket.request_id.clone());
            (ticket.and_then(|ticket| ticket.answered), request_id)
        };
        let lost = || Err(CloudErrorKind::Lost { cause: "no answer".to_owned() });
        let (answer, more_ms) = answered.unwrap_or_else(|| (lost(), 0));
        Self::way((takes_ms - takes_ms / 2).saturating_add(more_ms)).await;
        match answer {
            Ok(()) => Ok(Accepted { request_id }),
            Err(kind) => Err(error(kind, request_id)),
        }
    }
}
