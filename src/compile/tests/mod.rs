//! A small cloud to compile against, and the tests of the room by subject.

mod extend;
mod graph;
mod hosts;
mod random;
mod saved;
mod servers;

use std::collections::BTreeMap;

use crate::cloud::{
    Aggregate, BlockMigration, Capabilities, ComputeService, Flavor, GroupPolicy, Host, Hypervisor, Inventory,
    Microversion, Migration, MigrationKind, MigrationStatus, PowerState, Server, ServerGroup, ServerStatus,
    ServiceState, ServiceStatus,
};
use crate::plan::{
    Count, Destinations, Drain, Expr, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure, Pattern, Plan,
    Rung, Scope, ServerRule, Waves,
};

pub(super) fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        service: ComputeService {
            id: format!("service-of-{name}"),
            host: name.to_owned(),
            zone: "az1".to_owned(),
            status: ServiceStatus::Enabled,
            state: ServiceState::Up,
            disabled_reason: None,
            forced_down: Some(false),
            updated_at: None,
        },
        hypervisors: vec![Hypervisor {
            id: format!("hypervisor-of-{name}"),
            hostname: format!("{name}.example.net"),
            kind: "QEMU".to_owned(),
            version: Some(8_002_002),
            vcpus: Some(64),
            vcpus_used: Some(8),
            memory_mib: Some(262_144),
            memory_used_mib: Some(16_384),
            disk_gib: Some(2_000),
            disk_used_gib: Some(100),
        }],
        aggregates: vec!["rack-1".to_owned()],
    }
}

pub(super) fn server(id: &str, host: &str) -> Server {
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
            memory_mib: 4_096,
            root_gib: 20,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: BTreeMap::new(),
            known: true,
        },
        image: Some("image-1".to_owned()),
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

pub(super) fn off(id: &str, host: &str) -> Server {
    Server { status: ServerStatus::Shutoff, power_state: PowerState::Shutdown, ..server(id, host) }
}

pub(super) fn migration(id: u64, server: &str, status: MigrationStatus, from: &str, to: &str) -> Migration {
    Migration {
        id,
        server: server.to_owned(),
        kind: Some(MigrationKind::Live),
        status,
        source_host: Some(from.to_owned()),
        dest_host: Some(to.to_owned()),
        created_at: None,
        updated_at: None,
    }
}

pub(super) fn group(policy: GroupPolicy, members: &[&str]) -> ServerGroup {
    ServerGroup {
        id: "group-1".to_owned(),
        name: "quorum".to_owned(),
        policy,
        max_server_per_host: 1,
        members: members.iter().map(|&member| member.to_owned()).collect(),
    }
}

pub(super) fn cloud(hosts: &[&str], servers: Vec<Server>) -> Inventory {
    Inventory {
        read_at: "2026-03-01T02:00:00Z".parse().unwrap(),
        capabilities: Capabilities { newest: Microversion::v2(96) },
        hosts: hosts.iter().map(|&name| host(name)).collect(),
        servers,
        groups: Vec::new(),
        aggregates: vec![Aggregate {
            name: "rack-1".to_owned(),
            zone: None,
            hosts: hosts.iter().map(|&name| name.to_owned()).collect(),
            metadata: BTreeMap::new(),
        }],
        migrations: Vec::new(),
        gaps: Vec::new(),
    }
}

pub(super) fn by_name(index: usize, patterns: &[&str]) -> HostSelector {
    HostSelector {
        name: patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect(),
        aggregate: None,
        zone: None,
        when: None,
        at: format!("hosts[{index}]"),
    }
}

pub(super) fn rule(index: usize, when: Option<&str>, ladder: &[Rung]) -> ServerRule {
    ServerRule {
        when: when.map(|text| Expr::parse(text, Scope::Server).unwrap()),
        ladder: ladder.to_vec(),
        at: format!("drain.servers[{index}]"),
    }
}

/// Empties the hosts of these names, one after another, by this ladder.
pub(super) fn plan(patterns: &[&str], ladder: &[Rung]) -> Plan {
    let timeout = MoveTimeout { base_s: 300, per_gib_s: 60 };
    Plan {
        name: "kernel".to_owned(),
        cloud: None,
        hosts: vec![by_name(0, patterns)],
        exclude: Vec::new(),
        waves: Waves { max_hosts: Count::Hosts(1), first: None },
        drain: Drain {
            servers: vec![rule(0, None, ladder)],
            destinations: Destinations::Scheduler,
            limits: Limits { cloud: 10, source: 1, destination: None, queue_ahead: 0 },
            live: LiveOptions { block_migration: BlockMigration::Auto, stalled_after_s: 300, timeout },
            cold_timeout: timeout,
            power_timeout_s: 300,
            late_arrivals_s: 30,
        },
        maintain: Vec::new(),
        verify: Vec::new(),
        finish: Finish::Enable,
        on_failure: OnFailure::Hold,
    }
}
