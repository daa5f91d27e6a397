//! What is remembered before a request, so that after a crash success can be told from "never sent".

use serde::{Deserialize, Serialize};

use crate::cloud::{PowerState, Server, ServerStatus, ServiceStatus};

/// One request about to be made, with what its outcome will be judged against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    Disable {
        host: String,
        service_id: String,
        before: ServiceBefore,
        reason: String,
    },
    /// Gives back what [`Intent::Disable`] remembered.
    Enable {
        host: String,
        service_id: String,
        restore: ServiceBefore,
    },
    Live {
        server: ServerBefore,
        to: Option<String>,
        /// The newest migration id of this server before the request: ours is newer.
        newest_migration: Option<u64>,
    },
    Cold {
        server: ServerBefore,
        to: Option<String>,
        newest_migration: Option<u64>,
    },
    /// Confirms the cold migration with this id, which an earlier intent of the same attempt made.
    Confirm {
        server: ServerBefore,
        migration_id: u64,
    },
    /// Withdraws a live migration of ours.
    Abort {
        server: ServerBefore,
        migration_id: u64,
        why: String,
        /// It had not begun to copy, so it says nothing against live migration: the same rung is tried again.
        #[serde(default)]
        again: bool,
    },
    Stop {
        server: ServerBefore,
    },
    Start {
        server: ServerBefore,
    },
    /// Runs a command under a key that finds it again after a crash.
    Command {
        key: String,
        argv: Vec<String>,
        timeout_s: u64,
    },
}

/// A compute service as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBefore {
    pub status: ServiceStatus,
    pub reason: Option<String>,
    pub forced_down: Option<bool>,
}

/// A server as it was before anything was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBefore {
    pub id: String,
    pub name: String,
    pub host: String,
    pub status: ServerStatus,
    pub power_state: PowerState,
    pub locked: Option<bool>,
    pub memory_mib: u64,
    pub local_disk_gib: u64,
}

impl ServerBefore {
    /// What to remember of this server; `None` while it is on no host.
    pub fn of(server: &Server) -> Option<Self> {
        Some(Self {
            id: server.id.clone(),
            name: server.name.clone(),
            host: server.host.clone()?,
            status: server.status.clone(),
            power_state: server.power_state,
            locked: server.locked,
            memory_mib: server.flavor.memory_mib,
            local_disk_gib: server.local_disk_gib(),
        })
    }
}
