//! The plan as plain data, after parsing: every duration in seconds, every expression checked, every default filled in.
//!
//! It is serialised whole into compiled plans and journals, so that a run can go on without the file it came from.

use serde::{Deserialize, Serialize};

use super::{Expr, Pattern, Template};
use crate::cloud::BlockMigration;

/// A maintenance plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    /// An entry of clouds.yaml; `None` leaves the choice to the command line and the environment.
    pub cloud: Option<String>,
    /// Entries add up; never empty.
    pub hosts: Vec<HostSelector>,
    pub exclude: Vec<HostSelector>,
    pub waves: Waves,
    pub drain: Drain,
    pub maintain: Vec<Action>,
    pub verify: Vec<Action>,
    pub finish: Finish,
    pub on_failure: OnFailure,
}

/// Hosts for which *every* given key matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSelector {
    /// Globs over host names; empty means any.
    pub name: Vec<Pattern>,
    pub aggregate: Option<String>,
    pub zone: Option<String>,
    /// Over host facts.
    pub when: Option<Expr>,
    /// Where the entry stands in the document, for messages: `hosts[1]`.
    pub at: String,
}

/// How many hosts are out of service together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waves {
    pub max_hosts: Count,
    /// The size of the first wave (the canary), when it differs.
    pub first: Option<Count>,
}

/// A number of hosts, or a share of those selected (rounded down, at least 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    Hosts(u32),
    Percent(u32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// The first rule whose condition holds decides; the last one has no condition.
    pub servers: Vec<ServerRule>,
    pub destinations: Destinations,
    pub limits: Limits,
    pub live: LiveOptions,
    /// How long one cold migration may take.
    pub cold_timeout: MoveTimeout,
    /// How long one stop or start of a server may take.
    pub power_timeout_s: u64,
    /// How long after a host was disabled a build or move already on its way may still land: it is not called empty
    /// before that.
    pub late_arrivals_s: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRule {
    /// Over server and host facts.
    pub when: Option<Expr>,
    /// Methods in the order they are tried; never empty.
    pub ladder: Vec<Rung>,
    /// `drain.servers[1]`.
    pub at: String,
}

/// One method of emptying a host of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Live migration: the server goes on running.
    Live,
    /// Cold migration, confirmed: the server is off while it moves.
    Cold,
    /// Stopped, left on the host, started again afterwards.
    Stop,
    /// Stays as it is, named in the plan and in the report.
    Leave,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destinations {
    /// Nova's scheduler chooses.
    #[default]
    Scheduler,
}

/// Migrations under way at once. They hold at every instant, across resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// In the whole cloud, by this run.
    pub cloud: u32,
    /// Copying away from one host.
    pub source: u32,
    /// Towards one host; `None` is no limit. With the scheduler choosing, a request is only sent when no destination
    /// it might choose could exceed this.
    pub destination: Option<u32>,
    /// Live migrations held in Nova's own queue behind each source's running ones, where the release can withdraw them
    /// (2.65), so that Nova is never idle between two. 0 turns it off; with 2 one reading serves two short migrations.
    pub queue_ahead: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOptions {
    pub block_migration: BlockMigration,
    /// Without progress for this long, a live migration is aborted and the next rung is tried.
    pub stalled_after_s: u64,
    pub timeout: MoveTimeout,
}

/// `base_s + per_gib_s × GiB of memory (and of local disk where it is copied)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveTimeout {
    pub base_s: u64,
    pub per_gib_s: u64,
}

/// One entry of `maintain` or `verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Run(Command),
    Wait(Wait),
}

/// A command on the operator's machine: an argument list, never a shell string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Never empty; each is a template over host facts.
    pub argv: Vec<Template>,
    pub timeout_s: u64,
}

/// Waits until an expression over host facts holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    pub until: Expr,
    pub timeout_s: u64,
}

/// What becomes of a host after its last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// Enabled again, exactly as it was before.
    #[default]
    Enable,
    /// Left out of service, with the run's reason; `furlough enable` puts it back.
    KeepDisabled,
}

/// What a failed step does to the rest of the run. Its own dependants never start, and what is in flight is finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// No further host is taken out of service; those already out are finished.
    #[default]
    Hold,
    /// Every other host goes on.
    Continue,
}
