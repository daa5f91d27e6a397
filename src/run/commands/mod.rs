//! Operators' commands, run so that they outlive furlough: a command that reboots a host goes on when furlough is
//! killed, and a resume finds out what came of it instead of running it again.
//!
//! Deliberately absent: shells, standard input, a terminal for the command, and any retry. Credentials are kept from
//! commands, see [`Supervised`].

mod output;
mod record;
mod supervised;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use supervised::Supervised;
pub use supervisor::supervise;

use crate::event::Output;

/// Where commands are run. Every method may be called concurrently, and from any process.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Starts the command under this key. When it returns, a crash of anything but the machine leaves the command
    /// running and its outcome to be found.
    ///
    /// # Errors
    /// [`CommandError::AlreadyStarted`] for a key that was started before, whatever became of it. After
    /// [`CommandError::NotRun`] nothing was run, and the key may be started again.
    async fn start(&self, spec: &CommandSpec) -> Result<(), CommandError>;

    /// What is known of the key, also after a crash.
    async fn state(&self, key: &str) -> Result<CommandState, CommandError>;

    /// Asks it to end: TERM to its process group, and KILL after a grace. Returns at once; the state says when it has
    /// ended. Without effect on what has ended already.
    async fn cancel(&self, key: &str) -> Result<(), CommandError>;
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// Finds it again: unique among everything ever run from one directory of records.
    pub key: String,
    /// The program, looked up in `PATH` when it has no slash, and its arguments. Never a secret: `ps` shows them.
    pub argv: Vec<String>,
    pub timeout_s: u64,
    /// Added to the environment that furlough itself has, less its credentials. Never a secret: it is recorded.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    NeverStarted,
    Running,
    /// It ended by itself, or was cancelled, or could not be started: then, as in a shell, the exit code is 127 when
    /// there is no such program and 126 when it cannot be executed, and the text says so.
    Exited(Output),
    TimedOut(Output),
    /// It was started, and its supervisor is gone without a record of its end: the machine was rebooted, or somebody
    /// killed it. What the command did is not known; it may even be running still.
    Lost,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    #[error("command {key} was started before; it is not run twice")]
    AlreadyStarted { key: String },
    #[error("command {key} was never started")]
    NeverStarted { key: String },
    #[error("command {key} was not run: {cause}")]
    NotRun { key: String, cause: String },
    #[error("the record of command {key}, {path}: {cause}; see that its directory belongs to you and has room")]
    Record { key: String, path: String, cause: String },
}
