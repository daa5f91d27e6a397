//! Rows of a small cloud for the tests of every room, as plain as they can be; whoever wants one otherwise changes it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Capabilities, ComputeService, Flavor, GroupPolicy, Host, Hypervisor, Inventory, Microversion, Migration,
    MigrationKind, MigrationStatus, PowerState, Server, ServerGroup, ServerStatus, ServiceState, ServiceStatus,
};

/// When each row was made, last changed and read.
pub(crate) fn epoch() -> Timestamp {
    "2026-03-01T02:00:00Z".parse().unwrap()
}

pub(crate) fn service(host: &str) -> ComputeService {
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

pub(crate) fn hypervisor(host: &str) -> Hypervisor {
    Hypervisor {
        id: format!("hypervisor-of-{host}"),
        hostname: format!("{host}.example.org"),
        kind: "QEMU".to_owned(),
        version: Some(8_002_002),
        vcpus: Some(64),
        vcpus_used: Some(0),
        memory_mib: Some(262_144),
        memory_used_mib: Some(512),
        disk_gib: Some(4_000),
        disk_used_gib: Some(0),
    }
}

pub(crate) fn host(name: &str) -> Host {
    let (service, hypervisors) = (service(name), vec![hypervisor(name)]);
    Host { name: name.to_owned(), service, hypervisors, aggregates: Vec::new() }
}

/// Runs, and was booted from a volume.
pub(crate) fn server(id: &str, on: &str) -> Server {
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

/// The same server with 4 GiB of memory and a disk of its own, made from an image.
pub(crate) fn with_disk(row: Server, root_gib: u64) -> Server {
    let flavor = Flavor { memory_mib: 4096, root_gib, ..row.flavor };
    Server { flavor, image: Some("image-1".to_owned()), ..row }
}

/// The same server in another state, as a row of Nova's shows it.
pub(crate) fn in_state(row: Server, status: ServerStatus) -> Server {
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

/// Just accepted, without a destination.
pub(crate) fn record(id: u64, server: &str, from: &str, kind: MigrationKind) -> Migration {
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

pub(crate) fn group(policy: GroupPolicy, members: &[&str]) -> ServerGroup {
    ServerGroup {
        id: "group-1".to_owned(),
        name: "quorum".to_owned(),
        policy,
        max_server_per_host: 1,
        members: members.iter().map(|&member| member.to_owned()).collect(),
    }
}

/// Microversion 2.96.
pub(crate) fn inventory(hosts: Vec<Host>, servers: Vec<Server>) -> Inventory {
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
