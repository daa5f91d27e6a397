//! What a cloud is to furlough: one reading of it ([`Inventory`]), the questions that can be asked of it, and the one
//! door ([`Cloud::ask`]) through which everything that changes it goes.
//!
//! Deliberately absent: HTTP, Keystone, retries, time, the terminal. The back ends (`nova`, `sim`) know this room; this
//! room knows none of them, nor anything else of ours.

mod ask;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod inventory;
pub mod nova;
mod release;
pub mod sim;

pub use ask::{Accepted, Ask, BlockMigration};
pub use error::{CloudError, CloudErrorKind, Refusal};
pub use inventory::{
    Aggregate, ComputeService, Flavor, Gap, GroupPolicy, Host, Hypervisor, Inventory, LiveProgress, Migration,
    MigrationKind, MigrationStatus, PowerState, Server, ServerGroup, ServerStatus, ServiceState, ServiceStatus,
};
pub use release::{Capabilities, Microversion};

use async_trait::async_trait;
use jiff::Timestamp;

/// Rows together with the cloud's own clock at the moment they were read.
///
/// `changes-since` compares with the database's timestamps, so the next question must use the cloud's clock and not
/// ours: `at` is the `Date` header of the answer (second-granular), or of its first page.
#[derive(Debug, Clone)]
pub struct Reading<T> {
    pub rows: Vec<T>,
    pub at: Timestamp,
}

/// Which servers to list. Rows are always checked against the question, because Nova drops filters silently for
/// callers without `is_admin` (api/openstack/compute/servers.py `remove_invalid_options`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerQuery {
    /// Everything on one compute host, SOFT_DELETED guests included: they still occupy it.
    OnHost(String),
    /// Every server of every project that changed at or after this instant of the cloud's clock, deleted ones
    /// included (their status is `DELETED`).
    ChangedSince(Timestamp),
}

/// Which migration records to list; absent fields do not filter. Rows are filtered again on arrival: Liberty and
/// Mitaka ignore `instance_uuid` (db/sqlalchemy/api.py), and below 2.59 there is neither paging nor `changes-since`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationQuery {
    /// Source *or* destination, as Nova's own filter has it.
    pub host: Option<String>,
    pub server: Option<String>,
    pub changed_since: Option<Timestamp>,
    /// Only the newest so many records (2.59; below it everything is read, and the rest dropped on arrival).
    pub newest: Option<u32>,
}

/// A cloud that can be read and asked. Every method may be called concurrently.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// The name the plan, the journal and the screen use (the clouds.yaml entry, or `envvars`).
    fn name(&self) -> &str;

    /// What this release can do, from the newest microversion it offers.
    fn capabilities(&self) -> Capabilities;

    /// Requests sent so far, authentication and retries included: the figure that the API manners are judged by.
    fn requests_sent(&self) -> u64;

    /// One reading of everything: services, hypervisors, aggregates, groups, servers and unfinished migrations. What
    /// could not be seen is in [`Inventory::gaps`], never left out in silence.
    async fn inventory(&self) -> Result<Inventory, CloudError>;

    /// The compute services, of one host or of all. An unknown host is an empty list (so answers Nova).
    async fn services(&self, host: Option<&str>) -> Result<Vec<ComputeService>, CloudError>;

    async fn servers(&self, query: &ServerQuery) -> Result<Reading<Server>, CloudError>;

    /// One server, or `None` once it is gone.
    async fn server(&self, id: &str) -> Result<Option<Server>, CloudError>;

    async fn migrations(&self, query: &MigrationQuery) -> Result<Reading<Migration>, CloudError>;

    /// Bytes of the live migration in progress of this server; `None` when Nova shows none, which is *not* proof that
    /// there is none (`accepted` and post-copy are hidden) nor that it ended.
    async fn live_progress(&self, server: &str) -> Result<Option<LiveProgress>, CloudError>;

    /// Why an accepted action failed, in Nova's own words: the newest errored event of the instance action with this
    /// request id. `None` where nothing is recorded.
    async fn action_fault(&self, server: &str, request_id: &str) -> Result<Option<String>, CloudError>;

    /// Changes something. It is sent at most once: an answer that was lost comes back as
    /// [`CloudErrorKind::Lost`] and has to be *observed*, never asked again.
    async fn ask(&self, ask: &Ask) -> Result<Accepted, CloudError>;
}
