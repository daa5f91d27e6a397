//! What came of a request, of a step and of a run.

use serde::{Deserialize, Serialize};

use crate::cloud::Refusal;
use crate::plan::Rung;

/// The immediate answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Taken; the outcome has yet to be seen.
    Accepted { request_id: Option<String> },
    /// Not taken: nothing was changed. `refusal` is absent when the request never reached the cloud.
    Refused { message: String, refusal: Option<Refusal> },
    /// Sent, and no answer came: it may have been taken.
    Lost { cause: String },
}

/// How an attempt at a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done(Done),
    /// This attempt failed and everything is as it was before it. With `again_after_s` the same is worth trying again
    /// after that pause; without it, only the next rung is.
    Retryable {
        reason: String,
        fault: Option<String>,
        #[serde(default)]
        again_after_s: Option<u64>,
    },
    /// It failed, and an operator has to look.
    Failed {
        reason: String,
        fault: Option<String>,
        remedy: String,
        output: Option<Output>,
    },
    /// It was asked and its outcome could not be seen within the bound; nothing more is sent about it.
    Unknown {
        reason: String,
        remedy: String,
    },
}

/// What success was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// The wanted state was there already: nothing was asked.
    Already { what: String },
    /// The service is disabled, or back as it was; the host is seen empty; the condition holds.
    Seen { what: String },
    /// The host was listed: the servers on it that the graph knew, and those it did not.
    Listed { servers: u32, new: u32 },
    /// The server is on another host, in the state it had.
    Moved { to: String, by: Rung, warning: Option<String> },
    /// The server is stopped and still on the host.
    Stopped,
    /// The server stays where it is, as the last rung of its ladder says.
    Left,
    /// The server runs again.
    Started,
    /// The server was deleted meanwhile.
    Gone,
    /// The command exited with 0.
    Ran { output: Output },
}

/// What a command wrote, stdout and stderr together, bounded: the first and the last part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub text: String,
    /// Bytes left out in the middle.
    pub cut_bytes: u64,
    /// `None` when it was killed.
    pub exit_code: Option<i32>,
}

/// How a run ended; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Done,
    /// Something failed or is unknown; the leftovers say what.
    Failed,
    /// Stopped by the operator; resume goes on.
    Interrupted,
    /// Waits for a person; resume goes on.
    Paused,
    RolledBack,
}

impl Ending {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::RolledBack => 4,
            Self::Paused => 5,
            Self::Interrupted => 130,
        }
    }
}

/// Something that is not as it should be at the end of a run, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    pub kind: LeftoverKind,
    pub host: String,
    /// Id and name.
    pub server: Option<(String, String)>,
    pub what: String,
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftoverKind {
    /// A host still out of service.
    HostDisabled,
    /// A server still on a host it was to leave.
    ServerNotMoved,
    /// A server not in the state it began with.
    ServerState,
    /// A resize that nobody confirmed.
    UnconfirmedResize,
    /// A request whose outcome was never seen.
    Unknown,
    /// A step that failed.
    StepFailed,
    /// A server that the plan leaves where it is.
    LeftByPlan,
}
