//! Plan × Inventory → Graph: which hosts, in which waves, each server by which method, and every blocker.
//!
//! Deliberately absent: I/O, the clock, randomness, the journal. The same plan over the same reading gives the same
//! graph, byte for byte.

mod graph;

pub use graph::{
    Blocker, BlockerCode, Edge, GRAPH_VERSION, Graph, HostPlan, Phase, ServerPlan, Step, StepId, StepKind,
};
