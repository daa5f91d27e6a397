//! Rows of a small cloud, as plain as they can be; whoever wants one otherwise changes it.

use std::collections::BTreeMap;

use crate::cloud::{
    BlockMigration, Capabilities, ComputeService, Flavor, Host, Hypervisor, Inventory, Microversion, Migration,
    MigrationKind, MigrationStatus, PowerState, Server, ServerStatus, ServiceState, ServiceStatus,
};
use crate::plan::{
    Count, Destinations, Drain, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure, Pattern, Plan, Rung,
    ServerRule, Waves,
};

pub(in crate::rehearse) fn epoch() -> jiff::Timestamp {
    "2026-03-01T02:00:00Z".parse().unwrap()
}

pub(in crate::rehearse) fn service(host: &str) -> ComputeService {
    ComputeService {
        id: format!("service-of-{host}"),
        host: host.to_owned(),
        zone: "az1".to_owned(),
        status: ServiceStatus::Enabled,
        state: ServiceState::Up,
        disabled_reason: None,
        forced_down: Some(false),
        updated_at: Some(epoch()),
    }
}

pub(in crate::rehearse) fn host(name: &str) -> Host {
    let hypervisor = Hypervisor {
        id: format!("hypervisor-of-{name}"),
        hostname: format!("{name}.example.org"),
        kind: "QEMU".to_owned(),
        version: Some(8_002_002),
        vcpus: Some(64),
        vcpus_used: Some(0),
        memory_mib: Some(262_144),
        memory_used_mib: Some(512),
        disk_gib: Some(4_000),
        disk_used_gib: Some(0),
    };
    Host { name: name.to_owned(), service: service(name), hypervisors: vec![hypervisor], aggregates: Vec::new() }
}

pub(in crate::rehearse) fn server(id: &str, on: &str) -> Server {
    Server {
        id: id.to_owned(),
        name: format!("name-of-{id}"),
        project_id: "project-1".to_owned(),
        status: ServerStatus::Active,
        vm_state: "active".to_owned(),
        task_state: None,
        power_state: PowerState::Running,
        host: Some(on.to_owned()),
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
        created_at: Some(epoch()),
        updated_at: Some(epoch()),
    }
}

/// The same server in another state, as a row of Nova's shows it.
pub(in crate::rehearse) fn in_state(row: Server, status: ServerStatus) -> Server {
    let (vm_state, power_state) = match status {
        ServerStatus::Shutoff => ("stopped", PowerState::Shutdown),
        ServerStatus::Paused => ("paused", PowerState::Paused),
        ServerStatus::Suspended => ("suspended", PowerState::Shutdown),
        ServerStatus::Rescue => ("rescued", PowerState::Running),
        ServerStatus::VerifyResize => ("resized", PowerState::Running),
        ServerStatus::Error => ("error", PowerState::NoState),
        ServerStatus::Shelved => ("shelved", PowerState::Shutdown),
        _ => ("active", PowerState::Running),
    };
    Server { status, vm_state: vm_state.to_owned(), power_state, ..row }
}

pub(in crate::rehearse) fn record(id: u64, server: &str, from: &str, kind: MigrationKind) -> Migration {
    Migration {
        id,
        server: server.to_owned(),
        kind: Some(kind),
        status: MigrationStatus::Accepted,
        source_host: Some(from.to_owned()),
        dest_host: None,
        created_at: Some(epoch()),
        updated_at: Some(epoch()),
    }
}

pub(in crate::rehearse) fn inventory(hosts: Vec<Host>, servers: Vec<Server>) -> Inventory {
    Inventory {
        read_at: epoch(),
        capabilities: Capabilities { newest: Microversion::v2(96) },
        hosts,
        servers,
        groups: Vec::new(),
        aggregates: Vec::new(),
        migrations: Vec::new(),
        gaps: Vec::new(),
    }
}

/// Empties the hosts `h*`, so many at once, by this ladder.
pub(in crate::rehearse) fn plan(ladder: &[Rung], at_once: u32) -> Plan {
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
        waves: Waves { max_hosts: Count::Hosts(at_once), first: None },
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
