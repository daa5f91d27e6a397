//! Plan × Inventory → Graph: which hosts, in which waves, each server by which method, and every blocker.
//!
//! Deliberately absent: I/O, the clock, randomness, the journal. The same plan over the same reading gives the same
//! graph, byte for byte.

mod assemble;
mod check;
mod classify;
mod conditions;
mod drift;
mod enable;
mod error;
mod extend;
mod facts;
mod graph;
mod reason;
mod select;
mod steps;
mod survey;
mod waves;

#[cfg(test)]
mod tests;

pub use assemble::compile;
pub use check::{GraphError, MAX_NEEDS, MAX_STEPS};
pub use drift::drift;
pub use enable::compile_enable;
pub use error::CompileError;
pub use extend::{MAX_TIMES_PLANNED, extend};
pub use facts::{host_facts, host_facts_of, server_facts};
pub use graph::{
    Blocker, BlockerCode, Edge, GRAPH_VERSION, Graph, HostPlan, Phase, ServerPlan, Step, StepId, StepKind,
};
pub use reason::{disabled_reason, run_of_reason};
