//! What the room holds to: the pure parts against slow oracles and random nights, the whole of it over a small cloud
//! made of state machines, killed at every append of its journal.

mod admission;
mod crash;
mod driver;
mod fake;
mod night;
mod oracle;
mod random;
mod stage;
mod states;

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::steps::Asked;
use super::watch::Seen;
use crate::cloud::{
    BlockMigration, ComputeService, Flavor, Migration, MigrationKind, MigrationStatus, PowerState, Server,
    ServerStatus, ServiceState, ServiceStatus,
};
use crate::event::{Answer, Intent, ServerBefore};
use crate::plan::{
    Count, Destinations, Drain, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure, Pattern, Plan, Rung,
    ServerRule, Waves,
};

pub(in crate::run) fn service(host: &str) -> ComputeService {
    ComputeService {
        id: format!("service-of-{host}"),
        host: host.to_owned(),
        zone: "az1".to_owned(),
        status: ServiceStatus::Enabled,
        state: ServiceState::Up,
        disabled_reason: None,
        forced_down: Some(false),
        updated_at: None,
    }
}

pub(in crate::run) fn server(id: &str, host: &str) -> Server {
    Server {
        id: id.to_owned(),
        name: format!("name-of-{id}"),
        project_id: "project-1".to_owned(),
        status: ServerStatus::Active,
        vm_state: "active".to_owned(),
        task_state: None,
        power_state: PowerState::Running,
        host: Some(host.to_owned()),
        zone: Some("az1".to_owned()),
        pinned_zone: None,
        flavor: Flavor {
            name: "m1.small".to_owned(),
            vcpus: 2,
            memory_mib: 2048,
            root_gib: 0,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: BTreeMap::new(),
            known: true,
        },
        image: None,
        image_properties: None,
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        locked: Some(false),
        config_drive: false,
        volumes: Vec::new(),
        fault: None,
        created_at: None,
        updated_at: None,
    }
}

pub(in crate::run) fn before(id: &str, host: &str) -> ServerBefore {
    ServerBefore::of(&server(id, host)).unwrap()
}

pub(in crate::run) fn record(id: u64, server: &str, kind: MigrationKind, status: MigrationStatus) -> Migration {
    Migration {
        id,
        server: server.to_owned(),
        kind: Some(kind),
        status,
        source_host: Some("h1".to_owned()),
        dest_host: Some("d1".to_owned()),
        created_at: None,
        updated_at: None,
    }
}

/// Asked `ago_s` seconds ago.
pub(in crate::run) fn asked(intent: Intent, answer: Option<Answer>, ago_s: u64) -> Asked {
    let at = Instant::now() - std::time::Duration::from_secs(ago_s);
    Asked { intent, answer, at }
}

pub(in crate::run) fn accepted() -> Option<Answer> {
    Some(Answer::Accepted { request_id: Some("req-1".to_owned()) })
}

/// A row read after all that the judge is told of, and these records.
pub(in crate::run) fn seen(row: Server, migrations: Vec<Migration>) -> Seen {
    Seen {
        server: Some(std::sync::Arc::new(row)),
        server_as_of: Some(Instant::now() + std::time::Duration::from_secs(1)),
        migrations: migrations.into_iter().map(std::sync::Arc::new).collect(),
        ..Seen::default()
    }
}

/// Empties the hosts `h*` one after another by this ladder.
pub(in crate::run) fn plan(ladder: &[Rung]) -> Plan {
    let timeout = MoveTimeout { base_s: 300, per_gib_s: 60 };
    Plan {
        name: "kernel".to_owned(),
        cloud: None,
        hosts: vec![HostSelector {
            name: vec![Pattern::parse("h*").unwrap()],
            aggregate: None,
            zone: None,
            when: None,
            at: "hosts[0]".to_owned(),
        }],
        exclude: Vec::new(),
        waves: Waves { max_hosts: Count::Hosts(1), first: None },
        drain: Drain {
            servers: vec![ServerRule { when: None, ladder: ladder.to_vec(), at: "drain.servers[0]".to_owned() }],
            destinations: Destinations::Scheduler,
            limits: Limits { cloud: 10, source: 1, destination: None, queue_ahead: 0 },
            live: LiveOptions { block_migration: BlockMigration::Auto, stalled_after_s: 60, timeout },
            cold_timeout: timeout,
            power_timeout_s: 300,
            late_arrivals_s: 10,
        },
        maintain: Vec::new(),
        verify: Vec::new(),
        finish: Finish::Enable,
        on_failure: OnFailure::Hold,
    }
}
