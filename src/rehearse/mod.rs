//! A plan tried out on a cloud that is not there: the real compiler and the real executor over the simulated cloud, in
//! virtual time, decided by a seed. Nothing is asked of any cloud and nothing is run on this machine.
//!
//! Deliberately absent: argv, files, the terminal, and any second opinion about what a run should do.

mod anonymous;
mod conditions;
mod disk;
pub mod invariants;
mod machine;
pub mod made_up;
mod night;
mod nights;
mod snapshot;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

pub use anonymous::anonymous;
pub use conditions::{Conditions, ConditionsError};
pub use disk::{Kill, KillWhen};
pub use machine::{CommandHabits, assumed};
pub use night::{Night, NightSetup, night};
pub use nights::{Became, Downtime, Nights, Spread, Summary, Worst, nights, summary};
pub use snapshot::{SNAPSHOT_VERSION, Snapshot, SnapshotError};

use thiserror::Error;

use crate::compile::CompileError;
use crate::journal::JournalError;
use crate::run::RunError;

/// Why a night has no end to tell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RehearseError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("blocked: {blockers} things stand in the plan's way, so there is nothing to rehearse")]
    Blocked { blockers: usize },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the night of seed {seed} does not end; that is a mistake of furlough's, please report it with the plan")]
    Endless { seed: u64 },
    #[error("no runtime can be made: {cause}")]
    NoRuntime { cause: String },
}
