//! A plan tried out on a cloud that is not there: the real compiler and the real executor over the simulated cloud, in
//! virtual time, decided by a seed. Nothing is asked of any cloud and nothing is run on this machine.
//!
//! Deliberately absent: argv, files, the terminal, and any second opinion about what a run should do.

mod anonymous;
pub mod invariants;
pub mod made_up;
mod snapshot;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

pub use anonymous::anonymous;
pub use snapshot::{SNAPSHOT_VERSION, Snapshot, SnapshotError};
