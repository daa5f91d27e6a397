//! Events made durable, and the leases that keep two runs off one host.
//!
//! [`Sqlite`] is the real one, [`Memory`] the one for rehearsals and tests; one suite of tests holds both to the same
//! behaviour.
//!
//! Deliberately absent: what the events mean (only who began, ended and took up a run again is read out of them, for
//! [`RunSummary`]), retries (a failed append stops a run, see [`Journal::append`]), and secrets: nothing that reaches
//! this room ever holds one.

pub(crate) mod lock;
mod memory;
mod rules;
mod sqlite;
#[cfg(test)]
mod tests;

pub use memory::Memory;
pub use sqlite::Sqlite;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event::{Ending, Event, RunId};

/// Where events are kept. Implementations are shared by all tasks of a run.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Takes a run: from here until the returned guard is dropped (or this process dies) nobody else can append to it.
    /// These hosts of this cloud are leased to it until [`Journal::release`], also after its end: a host that stays
    /// out of service stays the run's. Claiming again (to resume) keeps the leases there are and adds the new ones;
    /// all hosts are leased or none.
    ///
    /// # Errors
    /// [`JournalError::RunHeld`] while somebody has it, [`JournalError::HostHeld`] when another run holds one of the
    /// hosts, be it alive, ended with the host out of service, or dead. Only a run that died before its first event
    /// loses its hosts to the next: it cannot have asked for anything.
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError>;

    /// Ends the lease of one host in the run's cloud. Without effect when the run does not hold it.
    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError>;

    /// Makes these events durable, in this order, all or none, before it returns. Several callers' events share one
    /// transaction and one fsync. The run must be claimed here; the first event is [`EventKind::RunStarted`]; sequence
    /// numbers that do not follow the last stored one are refused.
    ///
    /// # Errors
    /// After [`JournalError::Write`] every later write of this journal fails in the same way, until it is opened
    /// anew. Whether the events of the failed one are on disk is not known (a failed fsync does not say), so going on
    /// could leave a hole behind them, or ask the cloud for something whose intent is lost. The caller has to start
    /// nothing new, and a resume sorts out what is there.
    ///
    /// [`EventKind::RunStarted`]: crate::event::EventKind::RunStarted
    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError>;

    /// Every event of a run, in order.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`] for a run without events.
    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError>;

    /// Events of a run after this sequence number, for watching it from another process.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`] for a run without events.
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
    #[error("host {host} is held by run {run}, {cause}; {remedy}")]
    HostHeld { host: String, run: RunId, cause: String, remedy: String },
    #[error("event {found} of {run} does not follow {last}: another writer, or a damaged journal")]
    OutOfOrder { run: RunId, last: u64, found: u64 },
    #[error("event {seq} of {run} cannot stand there: a run begins with its first event, once")]
    Misplaced { run: RunId, seq: u64 },
    #[error("{run} is not claimed by this process, so nothing can be added to it")]
    NotClaimed { run: RunId },
}
