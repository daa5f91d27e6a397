//! Graph → Events: the only room that changes a cloud.
//!
//! `engine` (with `state` and `admission`) is pure and decides; `driver` performs; `task` carries one attempt at a step,
//! whose kind is a file in `steps/`; `watch` reads for all of them; `commands` runs the operator's commands.
//!
//! Deliberately absent: HTTP, SQL, the terminal. A view never asks this room anything; it is handed events.

pub mod commands;
pub mod steps;

mod admission;
mod clock;
mod driver;
mod engine;
mod leftovers;
#[cfg(test)]
pub(crate) mod sabotage;
mod state;
mod task;
#[cfg(test)]
pub(in crate::run) mod tests;
mod watch;

pub use clock::Clock;
pub use driver::{Begin, Ended, RunError, Setup, Stop, drive};
pub use engine::{Effect, Engine, Node};
pub use leftovers::{leftovers, still_stopped};
#[cfg(test)]
pub(crate) use sabotage::Sabotage;
pub use state::{Illegal, StepState};
