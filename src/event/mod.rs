//! What happened in a run: serialisable, numbered, versioned. The only thing that leaves the executor, and all that the
//! journal stores, the screen shows and the report says.
//!
//! Deliberately absent: the engine, the terminal, the database.

mod intent;
mod outcome;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use intent::{Intent, ServerBefore, ServiceBefore};
pub use outcome::{Answer, Done, Ending, Leftover, LeftoverKind, Outcome, Output};

use crate::compile::{Graph, StepId};
use crate::plan::Rung;

/// The format of events in journals and `--json`. A newer one is refused by name, an older one is read.
pub const EVENT_VERSION: u32 = 1;

/// The name of a run: its date, time (UTC) and four random hex digits, `20261123-1642-9f2c`, so that it can be read out
/// and typed at three in the morning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One transition. Lossless: every one is journalled, in this order, and none is ever re-sorted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1 within its run, without gaps.
    pub seq: u64,
    /// By this machine's clock.
    pub at: Timestamp,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Always the first. Holds all that a resume needs.
    RunStarted {
        event_version: u32,
        furlough: String,
        cloud: String,
        /// The plan as it was written, when it came from a file.
        plan_text: Option<String>,
        /// Where commands run: the plan file's folder.
        folder: std::path::PathBuf,
        graph: Box<Graph>,
    },
    /// Another process took the run up again. Failed steps named here are tried afresh.
    RunResumed { furlough: String, retry: Vec<StepId> },
    /// Something was found that the graph did not hold; its child does.
    GraphExtended { graph: Box<Graph> },
    /// An attempt at a step begins: nothing has been asked of the cloud yet.
    StepStarted { step: StepId, attempt: u32, rung: Option<Rung> },
    /// What has to be remembered before the next request of this attempt. Durable before that request leaves.
    StepIntended { step: StepId, attempt: u32, intent: Intent },
    /// What came back, or that nothing did.
    StepAnswered { step: StepId, attempt: u32, answer: Answer },
    /// Nova's record of the move was seen: from here on it is known which it is and where it goes.
    MoveSeen { step: StepId, attempt: u32, migration_id: u64, to: Option<String> },
    /// The source has nothing more of this move to copy: its slot is free, though its end is not proven yet.
    MoveReleased { step: StepId, attempt: u32 },
    /// The outcome of the attempt is known (or known to be unknowable).
    StepSettled { step: StepId, attempt: u32, outcome: Outcome },
    /// The pause before a step's next attempt is over: it may be started.
    PauseEnded { step: StepId },
    /// Nova was seen running more of our live migrations from this host at once than the plan's `source` limit: its own
    /// queue is wider, so nothing more is queued ahead in this run.
    QueueingStopped { host: String },
    /// Something worth a line that is no transition: a cloud that does not answer, a limit that was misjudged.
    Noted { step: Option<StepId>, text: String },
    /// Nothing new is started from here on.
    Interrupted { by: String },
    /// Always the last of a process that ended by itself.
    RunEnded { ending: Ending, leftovers: Vec<Leftover>, requests: u64 },
}

impl EventKind {
    /// The step it speaks of, and its attempt.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepIntended { step, .. }
            | Self::StepAnswered { step, .. }
            | Self::MoveSeen { step, .. }
            | Self::MoveReleased { step, .. }
            | Self::PauseEnded { step }
            | Self::StepSettled { step, .. } => Some(step),
            Self::Noted { step, .. } => step.as_ref(),
            Self::RunStarted { .. }
            | Self::QueueingStopped { .. }
            | Self::RunResumed { .. }
            | Self::GraphExtended { .. }
            | Self::Interrupted { .. }
            | Self::RunEnded { .. } => None,
        }
    }
}

/// How far a move is. Lossy: shown, never journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub step: StepId,
    pub server: String,
    pub server_name: String,
    /// Nova's word for where the migration stands (`queued`, `running` …).
    pub status: String,
    pub memory_total_bytes: Option<u64>,
    pub memory_remaining_bytes: Option<u64>,
    pub disk_total_bytes: Option<u64>,
    pub disk_remaining_bytes: Option<u64>,
}

/// What a view is handed.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    Event(Event),
    Progress(Progress),
}
