//! What a simulated cloud begins with: its rows, its clock, its seed, and the habits of its Nova.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::network::{NetworkError, NetworkHabits};
use crate::cloud::{Inventory, Microversion};

/// What a simulated cloud begins with.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The cloud's name, as plan and journal use it.
    pub name: String,
    /// Services, hypervisors, servers, groups, aggregates and unfinished migrations as they are at the start.
    pub inventory: Inventory,
    /// The cloud's wall clock at the start; its `Date` follows tokio's (paused) time from there.
    pub epoch: Timestamp,
    /// Everything that is drawn is drawn from it.
    pub seed: u64,
    pub habits: Habits,
    pub faults: Faults,
}

/// How this Nova is configured and how fast its wires are. Spans are drawn from, both ends included. The defaults are
/// Nova's own where Nova has one (conf/compute.py, conf/libvirt.py, conf/service.py).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habits {
    /// Outgoing live migrations of one source that run at once; the others are `queued`. 0 is no limit.
    pub max_concurrent_live_migrations: u32,
    /// Between two heartbeats of a nova-compute.
    pub report_interval_s: u64,
    /// A service without a heartbeat for longer than this is `down`.
    pub service_down_time_s: u64,
    /// How long a request or reading takes, half of it before Nova acts.
    pub request_ms: [u64; 2],
    /// How long a slow one takes.
    pub slow_ms: [u64; 2],
    /// How long an outage of the API lasts.
    pub outage_ms: [u64; 2],
    /// How far a stale reading lags.
    pub stale_ms: [u64; 2],
    /// One hand-over between Nova's services, and the saving of one row.
    pub rpc_ms: [u64; 2],
    /// The same where it lags.
    pub lag_ms: [u64; 2],
    /// Conductor and scheduler until a destination is chosen and checked.
    pub schedule_ms: [u64; 2],
    /// `preparing`: volumes and ports on the destination.
    pub prepare_ms: [u64; 2],
    /// From the guest's switch to the host in its row.
    pub post_ms: [u64; 2],
    /// A clean shutdown of a guest.
    pub shutdown_ms: [u64; 2],
    /// The start of a guest.
    pub start_ms: [u64; 2],
    /// The clean-up of a confirmed migration on its source.
    pub confirm_ms: [u64; 2],
    /// From the power-off of a rebooted host to the first heartbeat of its nova-compute.
    pub boot_ms: [u64; 2],
    /// Guests that ran when their host went down are started with it; otherwise they are SHUTOFF when it is back.
    pub resume_guests_state_on_host_boot: bool,
    /// Local disks are on shared storage (Ceph, NFS), and are not copied.
    pub shared_storage: bool,
    /// How fast a guest dirties its memory, drawn once for each; MiB/s.
    pub dirty_mib_per_s: [u64; 2],
    /// `live_migration_completion_timeout`, seconds per GiB; 0 is never.
    pub completion_timeout_s_per_gib: u64,
    /// `live_migration_permit_post_copy`.
    pub permit_post_copy: bool,
    /// Placement's allocation ratios; absent is the release's default.
    pub cpu_allocation_ratio: Option<f64>,
    pub ram_allocation_ratio: Option<f64>,
    pub disk_allocation_ratio: Option<f64>,
    /// The wires, and how copies share them.
    pub network: NetworkHabits,
    /// The rack of each host that is behind an uplink.
    pub rack_of_host: BTreeMap<String, String>,
    /// How much of its memory a guest has touched, drawn once for each; percent.
    pub memory_used_percent: [u64; 2],
    /// The newest microversion of the services behind the API, where something before them offers less than they could (a
    /// proxy, an operator's pin). Absent: they are as old as what they offer.
    pub behind: Option<Microversion>,
    /// The first id of migration records made from now on is above all those of the inventory and this.
    pub migration_ids_from: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            max_concurrent_live_migrations: 1,
            report_interval_s: 10,
            service_down_time_s: 60,
            request_ms: [40, 160],
            slow_ms: [3_000, 20_000],
            outage_ms: [2_000, 90_000],
            stale_ms: [200, 3_000],
            rpc_ms: [40, 200],
            lag_ms: [3_000, 60_000],
            schedule_ms: [200, 800],
            prepare_ms: [200, 1_500],
            post_ms: [200, 1_500],
            shutdown_ms: [2_000, 20_000],
            start_ms: [1_000, 5_000],
            confirm_ms: [300, 2_000],
            boot_ms: [120_000, 300_000],
            resume_guests_state_on_host_boot: false,
            shared_storage: true,
            dirty_mib_per_s: [0, 80],
            completion_timeout_s_per_gib: 800,
            permit_post_copy: false,
            cpu_allocation_ratio: None,
            ram_allocation_ratio: None,
            disk_allocation_ratio: None,
            network: NetworkHabits::default(),
            rack_of_host: BTreeMap::new(),
            memory_used_percent: [30, 95],
            behind: None,
            migration_ids_from: 0,
        }
    }
}

impl Habits {
    /// Whether the figures of the network are in their ranges; the others have none that matters.
    pub fn check(&self) -> Result<(), NetworkError> {
        self.network.check()
    }
}
