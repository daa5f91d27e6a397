//! Events made durable, and the leases that keep two runs off one host.
//!
//! Deliberately absent: what the events mean, and secrets: nothing that reaches this room ever holds one.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event::{Ending, Event, RunId};

/// Where events are kept. Implementations are shared by all tasks of a run.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Takes a run: from here until the returned guard is dropped (or this process dies) no other process can append
    /// to it. Its hosts are leased to it until [`Journal::release`].
    ///
    /// # Errors
    /// [`JournalError::RunHeld`] while another process has it, [`JournalError::HostHeld`] when an unfinished run holds
    /// one of the hosts.
    async fn claim(&self, run: &RunId, hosts: &[String]) -> Result<Claim, JournalError>;

    /// Ends the lease of one host.
    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError>;

    /// Makes these events durable, in this order, before it returns. Several callers' events share one transaction and
    /// one fsync. Sequence numbers that do not follow the last stored one are refused.
    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError>;

    /// Every event of a run, in order.
    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError>;

    /// Events of a run after this sequence number, for watching it from another process.
    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError>;

    /// All runs, newest first.
    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError>;
}

/// Proof that a run is ours; dropped, another process may take it.
pub struct Claim(#[expect(dead_code, reason = "held for its Drop")] Box<dyn Send + Sync>);

impl Claim {
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claim")
    }
}

/// A line of `furlough runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: RunId,
    pub plan: String,
    pub cloud: String,
    pub started_at: Timestamp,
    /// The last event's time.
    pub updated_at: Timestamp,
    /// `None` while it is under way, or when its process died.
    pub ending: Option<Ending>,
    /// A process has it claimed now.
    pub live: bool,
    /// Hosts still leased to it.
    pub hosts: Vec<String>,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("journal {path}: {cause}; {remedy}")]
    Open { path: String, cause: String, remedy: String },
    #[error("journal {path} could not be written: {cause}; nothing new is started until it can be: {remedy}")]
    Write { path: String, cause: String, remedy: String },
    #[error("journal {path} could not be read: {cause}")]
    Read { path: String, cause: String },
    #[error(
        "journal {path} was written by a newer furlough (format {found}, this one reads up to {known}); use that one"
    )]
    Newer { path: String, found: u32, known: u32 },
    #[error("no run {run} in {path}; `furlough runs` lists them")]
    NoSuchRun { run: String, path: String },
    #[error("{run} is being executed by another process; `furlough status {run}` shows it")]
    RunHeld { run: RunId },
    #[error("host {host} is held by run {run}, which has not ended; `furlough resume {run}` goes on with it")]
    HostHeld { host: String, run: RunId },
    #[error("event {found} of {run} does not follow {last}: another writer, or a damaged journal")]
    OutOfOrder { run: RunId, last: u64, found: u64 },
}
