//! The compiled plan: immutable data with stable, readable step ids.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cloud::{Microversion, PowerState, ServerStatus};
use crate::plan::{Plan, Rung};

/// The format of a saved graph. A newer one is refused by name, an older one is read.
pub const GRAPH_VERSION: u32 = 1;

/// What a run is going to do. Never changed once compiled: what is found later becomes a child graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    pub version: u32,
    /// First 16 hex digits of the SHA-256 of everything else in here.
    pub id: String,
    /// The graph this one extends, and the step whose dependants wait for it.
    pub parent: Option<Edge>,
    pub plan: Plan,
    /// The name of the cloud and the newest microversion it offered.
    pub cloud: String,
    pub microversion: Microversion,
    /// The cloud's clock at the reading this was compiled from.
    pub read_at: Timestamp,
    /// In the order they are taken out of service.
    pub hosts: Vec<HostPlan>,
    pub servers: Vec<ServerPlan>,
    /// In an order in which every step stands after what it needs.
    pub steps: Vec<Step>,
    /// Why something cannot be done as planned. Not empty: nothing may be run.
    pub blockers: Vec<Blocker>,
    /// What the reading could not see, in words.
    pub gaps: Vec<String>,
}

/// A child graph hangs below one step of its parent: that step runs again once the child's steps have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub graph: String,
    pub step: StepId,
}

/// `cmp-07/move/9f2c…`: host, kind, and what tells two of a kind apart. Never an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A host that is taken out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    pub name: String,
    /// From 1.
    pub wave: u32,
    pub zone: String,
    /// It was disabled before the run, with this reason: it stays so afterwards.
    pub disabled_before: Option<String>,
}

/// A server on one of those hosts, what becomes of it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPlan {
    pub id: String,
    pub name: String,
    pub host: String,
    pub status: ServerStatus,
    pub power_state: PowerState,
    pub locked: Option<bool>,
    pub memory_mib: u64,
    /// Disk that is copied with it, when its storage is local.
    pub local_disk_gib: u64,
    /// The server group it is in, by name.
    pub group: Option<String>,
    /// The id of its group if that is a hard anti-affinity one: two members that move at once may be sent to one host, and
    /// Nova's late check then puts one into ERROR (bug 1821755), so they move one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// The rungs of the plan's ladder that can work, in order. Empty: blocked. `[Leave]`: it stays.
    pub ladder: Vec<Rung>,
    /// One sentence: which rule chose, and what was ruled out.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    pub host: String,
    pub wave: u32,
    pub kind: StepKind,
    /// Steps that have to be done before.
    pub needs: Vec<StepId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Takes the host's compute service out of scheduling and reads it back.
    Disable,
    /// Lists the host's servers again, now that none can be added by the scheduler; the difference becomes a child graph.
    List,
    /// Moves one server off the host (or stops it there) by the rungs of its ladder.
    Move { server: String, ladder: Vec<Rung> },
    /// The host is seen empty twice in a row.
    Empty,
    /// Runs a command of the operator's. `argv` is rendered.
    Command { phase: Phase, index: u32, argv: Vec<String>, timeout_s: u64 },
    /// Waits until an expression over the host's facts holds.
    Wait { phase: Phase, index: u32, until: crate::plan::Expr, timeout_s: u64 },
    /// Starts a server again that this run stopped.
    Start { server: String },
    /// Gives the host's compute service back exactly the state it had.
    Enable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Maintain,
    Verify,
}

/// Why a host or a server cannot be done as planned, found before anything moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub code: BlockerCode,
    pub host: String,
    /// Id and name.
    pub server: Option<(String, String)>,
    /// What is in the way, in one sentence.
    pub cause: String,
    /// What to do about it, in one sentence.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockerCode {
    /// The host's nova-compute is down or not seen.
    HostDown,
    /// A cell did not answer, so what is on the host is not known.
    NotVisible,
    /// Ironic and the like: nothing can be moved.
    HypervisorUnsupported,
    /// Another furlough run, or its remains, hold the host.
    HeldByRun,
    /// The host was disabled by someone else than furlough, so it is not furlough's to enable.
    NotHeld,
    /// The server's state allows none of the rungs.
    ServerState,
    /// A device or a setting of its flavor or image allows none of the rungs on this release.
    ServerHardware,
    /// Another action of the server is under way.
    ServerBusy,
    /// A resize or cold migration of someone else's waits for its confirm.
    ForeignResize,
    /// Its server group leaves it no host.
    ServerGroup,
    /// A migration of someone else's is under way.
    ForeignMigration,
    /// No destination is left.
    NoDestination,
}
