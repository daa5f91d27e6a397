//! The vocabulary of expressions and templates: what `host` and `server` mean in a plan. `compile` fills these from an
//! inventory. A field that the cloud does not show is null: it equals nothing but null, and an order or a sum of it
//! is an error that names it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// `host` in expressions (`where`, `until`) and templates.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HostFacts {
    pub name: String,
    pub zone: String,
    pub aggregates: Vec<String>,
    pub service: ServiceFacts,
    pub hypervisor: HypervisorFacts,
    /// Servers on it now.
    pub servers: u64,
    pub vcpus: Option<u64>,
    pub vcpus_used: Option<u64>,
    pub memory_mib: Option<u64>,
    pub memory_used_mib: Option<u64>,
    pub disk_gib: Option<u64>,
    pub disk_used_gib: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ServiceFacts {
    /// `up`, `down` or `unknown`.
    pub state: String,
    /// `enabled`, `disabled` or `unknown`.
    pub status: String,
    pub disabled_reason: Option<String>,
    pub forced_down: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HypervisorFacts {
    pub hostname: String,
    /// `QEMU`, `ironic` …
    pub kind: String,
    pub version: Option<u64>,
}

/// `server` in expressions of `drain.servers`; `host` there is the host it is on.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ServerFacts {
    pub id: String,
    pub name: String,
    pub project_id: String,
    /// `ACTIVE`, `SHUTOFF` …
    pub status: String,
    pub task_state: Option<String>,
    pub power_state: String,
    pub zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub tags: Vec<String>,
    pub locked: Option<bool>,
    pub config_drive: bool,
    pub boot_from_volume: bool,
    pub volumes: u64,
    /// The policy of its server group, null when in none.
    pub group_policy: Option<String>,
    pub flavor: FlavorFacts,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FlavorFacts {
    pub name: String,
    pub vcpus: u64,
    pub memory_mib: u64,
    pub disk_gib: u64,
    pub extra_specs: BTreeMap<String, String>,
}

impl HostFacts {
    /// A host of which everything is known, to try templates on.
    pub(super) fn sample() -> Self {
        Self {
            name: "cmp-01".to_owned(),
            zone: "nova".to_owned(),
            aggregates: vec!["rack-a".to_owned()],
            service: ServiceFacts {
                state: "up".to_owned(),
                status: "enabled".to_owned(),
                disabled_reason: Some("maintenance".to_owned()),
                forced_down: Some(false),
            },
            hypervisor: HypervisorFacts {
                hostname: "cmp-01.example.org".to_owned(),
                kind: "QEMU".to_owned(),
                version: Some(8_002_002),
            },
            servers: 12,
            vcpus: Some(64),
            vcpus_used: Some(40),
            memory_mib: Some(262_144),
            memory_used_mib: Some(131_072),
            disk_gib: Some(2_000),
            disk_used_gib: Some(500),
        }
    }
}
