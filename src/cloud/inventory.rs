//! One reading of a cloud, as plain data. Units: MiB and GiB as Nova counts them, times as the cloud's own UTC.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Capabilities;

/// Everything furlough knows about a cloud at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The cloud's clock when the reading began.
    pub read_at: Timestamp,
    pub capabilities: Capabilities,
    /// Compute hosts in the order of their names.
    pub hosts: Vec<Host>,
    /// Servers that occupy a host or may come to (BUILD); in the order of host, then name, then id.
    pub servers: Vec<Server>,
    pub groups: Vec<ServerGroup>,
    pub aggregates: Vec<Aggregate>,
    /// Migration records that are not terminal, `finished` (VERIFY_RESIZE) among them.
    pub migrations: Vec<Migration>,
    /// What this reading could not see. Not empty means that an absence proves nothing.
    pub gaps: Vec<Gap>,
}

impl Inventory {
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    pub fn server(&self, id: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// The servers whose `OS-EXT-SRV-ATTR:host` is this one.
    pub fn servers_on<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Server> {
        self.servers.iter().filter(move |server| server.host.as_deref() == Some(host))
    }
}

/// Something a reading could not see: a cell that is down, a service that answered 403.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing: `servers of cell …`, `server groups`.
    pub what: String,
    /// The host it concerns, when it concerns one.
    pub host: Option<String>,
    pub why: String,
}

/// A compute host: one nova-compute, by the name that `os-services` and `host=` use. Its hypervisors have names of
/// their own; only Ironic has more than one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub service: ComputeService,
    pub hypervisors: Vec<Hypervisor>,
    /// Names of the aggregates it is in.
    pub aggregates: Vec<String>,
}

impl Host {
    /// The availability zone, as `os-services` shows it.
    pub fn zone(&self) -> &str {
        &self.service.zone
    }
}

/// A row of `os-services` with binary `nova-compute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeService {
    /// An integer below 2.53, a uuid from there.
    pub id: String,
    pub host: String,
    pub zone: String,
    pub status: ServiceStatus,
    pub state: ServiceState,
    pub disabled_reason: Option<String>,
    /// `None` below 2.11.
    pub forced_down: Option<bool>,
    /// The last heartbeat, in the cloud's clock.
    pub updated_at: Option<Timestamp>,
}

/// What the operator wants of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    Enabled,
    Disabled,
    /// Its cell is down (2.69).
    Unknown,
}

/// What the heartbeat says. A service that died goes on being `up` for up to `service_down_time` (60 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    Up,
    Down,
    Unknown,
}

/// A row of `os-hypervisors/detail`. Capacity left the API with 2.88, so it is read below that; absent means not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypervisor {
    pub id: String,
    /// The name Placement knows it by.
    pub hostname: String,
    /// `QEMU`, `ironic`, …
    pub kind: String,
    pub version: Option<u64>,
    pub vcpus: Option<u64>,
    pub vcpus_used: Option<u64>,
    pub memory_mib: Option<u64>,
    pub memory_used_mib: Option<u64>,
    pub disk_gib: Option<u64>,
    pub disk_used_gib: Option<u64>,
}

/// A server (a row of `servers/detail`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    pub id: String,
    pub name: String,
    pub project_id: String,
    pub status: ServerStatus,
    /// `OS-EXT-STS:vm_state`, lower case as Nova has it (`active`, `stopped`, `resized` …).
    pub vm_state: String,
    /// `None` is idle. Many task states do not show in `status`.
    pub task_state: Option<String>,
    pub power_state: PowerState,
    /// `None` while it is scheduled, and once it is shelved-offloaded.
    pub host: Option<String>,
    /// The zone it is in now.
    pub zone: Option<String>,
    /// The zone it may not leave (2.96); `None` below that says nothing.
    pub pinned_zone: Option<String>,
    pub flavor: Flavor,
    /// `None` for boot from volume.
    pub image: Option<String>,
    /// `None` below 2.98, where they are not shown.
    pub image_properties: Option<BTreeMap<String, String>>,
    pub metadata: BTreeMap<String, String>,
    pub tags: Vec<String>,
    /// `None` below 2.9.
    pub locked: Option<bool>,
    pub config_drive: bool,
    /// Ids of attached volumes.
    pub volumes: Vec<String>,
    /// Shown only for ERROR and DELETED.
    pub fault: Option<String>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

impl Server {
    /// No action of Nova's is under way.
    pub fn is_idle(&self) -> bool {
        self.task_state.is_none()
    }

    /// Flavor disk, ephemeral included, in GiB; 0 for boot from volume with neither.
    pub fn local_disk_gib(&self) -> u64 {
        let root = if self.image.is_some() { self.flavor.root_gib } else { 0 };
        root + self.flavor.ephemeral_gib
    }
}

/// What a server was made with. Embedded from 2.47; below it is looked up and may be gone (all zero, `known: false`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flavor {
    pub name: String,
    pub vcpus: u64,
    pub memory_mib: u64,
    pub root_gib: u64,
    pub ephemeral_gib: u64,
    pub swap_mib: u64,
    pub extra_specs: BTreeMap<String, String>,
    /// False when the flavor was deleted and its size is therefore not known.
    pub known: bool,
}

/// `status` (api/openstack/common.py `_STATE_MAP`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ServerStatus {
    Active,
    Build,
    Deleted,
    Error,
    HardReboot,
    Migrating,
    Password,
    Paused,
    Reboot,
    Rebuild,
    Rescue,
    Resize,
    RevertResize,
    Shelved,
    ShelvedOffloaded,
    Shutoff,
    SoftDeleted,
    Suspended,
    Unknown,
    VerifyResize,
    /// A status this version of furlough does not know.
    Other(String),
}

/// `OS-EXT-STS:power_state` (nova/compute/power_state.py). Refreshed by tasks and every 600 s, so stale by design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    NoState,
    Running,
    Paused,
    Shutdown,
    Crashed,
    Suspended,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerGroup {
    pub id: String,
    pub name: String,
    pub policy: GroupPolicy,
    /// `rules.max_server_per_host` of anti-affinity (2.64), 1 where not shown.
    pub max_server_per_host: u64,
    /// Server ids.
    pub members: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupPolicy {
    Affinity,
    AntiAffinity,
    SoftAffinity,
    SoftAntiAffinity,
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    pub name: String,
    pub zone: Option<String>,
    pub hosts: Vec<String>,
    pub metadata: BTreeMap<String, String>,
}

/// A migration record (a row of `os-migrations`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Grows with time: the way to tell a newer record from an older one on every release.
    pub id: u64,
    pub server: String,
    /// `None` below 2.23, where records do not say.
    pub kind: Option<MigrationKind>,
    pub status: MigrationStatus,
    pub source_host: Option<String>,
    pub dest_host: Option<String>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MigrationKind {
    Live,
    Cold,
    Resize,
    Evacuation,
    Other(String),
}

/// Status of a migration record (nova/compute/manager.py, nova/conductor/tasks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MigrationStatus {
    Accepted,
    Queued,
    Preparing,
    Running,
    /// `running (post-copy)`: the guest already runs on the destination; nothing can be taken back.
    RunningPostCopy,
    PreMigrating,
    Migrating,
    PostMigrating,
    /// A cold migration waiting for its confirm or revert (VERIFY_RESIZE). Not terminal.
    Finished,
    Confirming,
    Confirmed,
    Reverting,
    Reverted,
    /// An evacuation that succeeded; becomes `completed` when the old host returns.
    Done,
    Completed,
    Failed,
    Error,
    Cancelled,
    Other(String),
}

impl MigrationStatus {
    /// Nothing more will happen, except that `error` may still turn into `failed`.
    pub fn is_terminal(&self) -> bool {
        use MigrationStatus::{Cancelled, Completed, Confirmed, Done, Error, Failed, Reverted};
        matches!(self, Completed | Failed | Error | Cancelled | Confirmed | Reverted | Done)
    }

    /// Terminal without success.
    pub fn is_failure(&self) -> bool {
        use MigrationStatus::{Cancelled, Error, Failed};
        matches!(self, Failed | Error | Cancelled)
    }

    /// Nova holds it behind another one; nothing is being copied yet.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Accepted | Self::Queued)
    }
}

/// Bytes of a live migration in progress (`GET /servers/{id}/migrations`). Absent when Nova shows none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveProgress {
    pub migration_id: u64,
    pub status: MigrationStatus,
    pub memory_total_bytes: Option<u64>,
    pub memory_remaining_bytes: Option<u64>,
    pub disk_total_bytes: Option<u64>,
    pub disk_remaining_bytes: Option<u64>,
}

macro_rules! words {
    ($type:ident, $($variant:ident = $word:literal),+ $(,)?) => {
        impl From<String> for $type {
            fn from(word: String) -> Self {
                match word.as_str() { $($word => Self::$variant,)+ _ => Self::Other(word) }
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                match value { $($type::$variant => $word.to_owned(),)+ $type::Other(word) => word }
            }
        }
        impl $type {
            /// Nova's own word for it.
            pub fn as_str(&self) -> &str {
                match self { $($type::$variant => $word,)+ $type::Other(word) => word }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    ServerStatus,
    Active = "ACTIVE",
    Build = "BUILD",
    Deleted = "DELETED",
    Error = "ERROR",
    HardReboot = "HARD_REBOOT",
    Migrating = "MIGRATING",
    Password = "PASSWORD",
    Paused = "PAUSED",
    Reboot = "REBOOT",
    Rebuild = "REBUILD",
    Rescue = "RESCUE",
    Resize = "RESIZE",
    RevertResize = "REVERT_RESIZE",
    Shelved = "SHELVED",
    ShelvedOffloaded = "SHELVED_OFFLOADED",
    Shutoff = "SHUTOFF",
    SoftDeleted = "SOFT_DELETED",
    Suspended = "SUSPENDED",
    Unknown = "UNKNOWN",
    VerifyResize = "VERIFY_RESIZE",
);
words!(MigrationKind, Live = "live-migration", Cold = "migration", Resize = "resize", Evacuation = "evacuation");
words!(
    MigrationStatus,
    Accepted = "accepted",
    Queued = "queued",
    Preparing = "preparing",
    Running = "running",
    RunningPostCopy = "running (post-copy)",
    PreMigrating = "pre-migrating",
    Migrating = "migrating",
    PostMigrating = "post-migrating",
    Finished = "finished",
    Confirming = "confirming",
    Confirmed = "confirmed",
    Reverting = "reverting",
    Reverted = "reverted",
    Done = "done",
    Completed = "completed",
    Failed = "failed",
    Error = "error",
    Cancelled = "cancelled",
);
