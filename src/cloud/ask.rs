//! Everything furlough can ask a cloud to change, as plain data.

use serde::{Deserialize, Serialize};

/// `block_migration` of a live migration. `Auto` needs 2.25; below it the back end falls back as documented there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlockMigration {
    /// Nova decides by looking at the storage of both hosts.
    #[default]
    Auto,
    /// Local disks are copied with the memory.
    Always,
    /// Disks are on shared storage and are not copied.
    Never,
}

/// One request that changes the cloud. Each variant is exactly one HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Takes a compute service out of scheduling. `service_id` is the id of the `os-services` row (a uuid from 2.53).
    DisableService {
        host: String,
        service_id: String,
        reason: String,
    },
    EnableService {
        host: String,
        service_id: String,
    },
    /// `host: None` leaves the choice to the scheduler. A host is only ever sent at 2.30 or newer, where the scheduler
    /// still validates it: below that it bypasses every filter, disabled hosts included (compute/api.py).
    LiveMigrate {
        server: String,
        host: Option<String>,
        block_migration: BlockMigration,
    },
    /// `host` needs 2.56.
    ColdMigrate {
        server: String,
        host: Option<String>,
    },
    ConfirmResize {
        server: String,
    },
    RevertResize {
        server: String,
    },
    Stop {
        server: String,
    },
    Start {
        server: String,
    },
    /// Needs 2.24 for a running migration and 2.65 for a queued one.
    AbortMigration {
        server: String,
        migration_id: u64,
    },
}

impl Ask {
    /// The server concerned, if it is about one.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::DisableService { .. } | Self::EnableService { .. } => None,
            Self::LiveMigrate { server, .. }
            | Self::ColdMigrate { server, .. }
            | Self::ConfirmResize { server }
            | Self::RevertResize { server }
            | Self::Stop { server }
            | Self::Start { server }
            | Self::AbortMigration { server, .. } => Some(server),
        }
    }
}

/// The cloud took the request. It proves nothing about the outcome: from 2.34 (live) and Ussuri (cold) even an
/// impossible move is accepted and fails later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// `x-compute-request-id`: for a server action it is the instance action's id, the only exact link to its fate.
    pub request_id: Option<String>,
}
