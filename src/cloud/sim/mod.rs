//! A simulated Nova: its state machines, its lags and its faults, over virtual time and from one seed.
//!
//! Deliberately absent: HTTP, what this program does with any of it, threads, tasks, and a clock of its own.

mod faults;
mod log;
pub mod network;
mod rng;
mod scene;

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
use rng::Draws;

/// What a night cost and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by kind (`live`, `disable` …), whatever became of them.
    pub asked: BTreeMap<&'static str, u64>,
    /// Readings by kind (`servers`, `migrations` …).
    pub read: BTreeMap<&'static str, u64>,
    /// Servers whose host changed, whoever moved them.
    pub moves: u64,
    /// How long each guest did not execute that did so at the start; milliseconds, without those at 0.
    pub downtime_ms: BTreeMap<String, u64>,
}

/// A simulated cloud. Cheap to share.
pub struct Sim {
    name: String,
    capabilities: Capabilities,
    epoch: Timestamp,
    from: Instant,
    log: Log,
    world: Mutex<World>,
}

struct World {
    scene: Scene,
    draws: Draws,
    counts: Counts,
}

impl Sim {
    /// Its clock starts now, in tokio's time.
    pub fn new(scene: Scene, log: Log) -> Arc<Self> {
        let draws = Draws::new(scene.seed);
        Arc::new(Self {
            name: scene.name.clone(),
            capabilities: scene.inventory.capabilities,
            epoch: scene.epoch,
            from: Instant::now(),
            log,
            world: Mutex::new(World { scene, draws, counts: Counts::default() }),
        })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual milliseconds since the scene's epoch.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.from.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Every server as it truly is, in the order of ids.
    pub fn servers(&self) -> Vec<Server> {
        self.world().scene.inventory.servers.clone()
    }

    /// Every compute service as it truly is, in the order of hosts.
    pub fn services(&self) -> Vec<ComputeService> {
        self.world().scene.inventory.hosts.iter().map(|host| host.service.clone()).collect()
    }

    /// Every migration record, in the order of ids.
    pub fn migrations(&self) -> Vec<Migration> {
        self.world().scene.inventory.migrations.clone()
    }

    /// The next draw of a stream for things outside the cloud (commands, journal, clock), from the same seed.
    pub fn next_draw(&self, what: &str) -> Draw {
        self.world().draws.next(&["outside", what])
    }

    /// A maintenance command reboots a host: down for so long, or (`None`) as long as `Habits::boot_ms` and the chances
    /// of being late or never have it.
    pub fn reboot(&self, _host: &str, _down_for: Option<Duration>) {}

    pub fn counts(&self) -> Counts {
        self.world().counts.clone()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    fn reading<T>(&self, rows: Vec<T>) -> Reading<T> {
        Reading { rows, at: self.epoch }
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
        let counts = &self.world().counts;
        counts.asked.values().chain(counts.read.values()).sum()
    }

    async fn inventory(&self) -> Result<Inventory, CloudError> {
        Ok(self.world().scene.inventory.clone())
    }

    async fn services(&self, host: Option<&str>) -> Result<Vec<ComputeService>, CloudError> {
        Ok(self.services().into_iter().filter(|row| host.is_none_or(|host| row.host == host)).collect())
    }

    async fn servers(&self, _query: &ServerQuery) -> Result<Reading<Server>, CloudError> {
        Ok(self.reading(self.servers()))
    }

    async fn server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        Ok(self.servers().into_iter().find(|row| row.id == id))
    }

    async fn migrations(&self, _query: &MigrationQuery) -> Result<Reading<Migration>, CloudError> {
        Ok(self.reading(self.migrations()))
    }

    async fn live_progress(&self, _server: &str) -> Result<Option<LiveProgress>, CloudError> {
        Ok(None)
    }

    async fn action_fault(&self, _server: &str, _request_id: &str) -> Result<Option<String>, CloudError> {
        Ok(None)
    }

    async fn ask(&self, ask: &Ask) -> Result<Accepted, CloudError> {
        Err(CloudError {
            call: format!("{ask:?}"),
            request_id: None,
            kind: CloudErrorKind::Refused {
                status: 501,
                refusal: Refusal::Other,
                message: "not simulated yet".to_owned(),
            },
        })
    }
}
