//! What expressions and templates see of a host and of a server, filled from a reading.

use crate::cloud::{
    GroupPolicy, Host, Hypervisor, Inventory, PowerState, Server, ServerGroup, ServiceState, ServiceStatus,
};
use crate::plan::facts::{FlavorFacts, HostFacts, HypervisorFacts, ServerFacts, ServiceFacts};

/// The facts of a host as the reading has it.
pub fn host_facts(inventory: &Inventory, host: &Host) -> HostFacts {
    host_facts_of(host, inventory.servers_on(&host.name).count() as u64)
}

/// The facts of a host alone: for one whose service row was read again after the inventory was.
pub fn host_facts_of(host: &Host, servers: u64) -> HostFacts {
    let first = host.hypervisors.first();
    HostFacts {
        name: host.name.clone(),
        zone: host.zone().to_owned(),
        aggregates: host.aggregates.clone(),
        service: ServiceFacts {
            state: state_word(host.service.state).to_owned(),
            status: status_word(host.service.status).to_owned(),
            disabled_reason: host.service.disabled_reason.clone(),
            forced_down: host.service.forced_down,
        },
        hypervisor: HypervisorFacts {
            hostname: first.map(|hypervisor| hypervisor.hostname.clone()).unwrap_or_default(),
            kind: first.map(|hypervisor| hypervisor.kind.clone()).unwrap_or_default(),
            version: first.and_then(|hypervisor| hypervisor.version),
        },
        servers,
        vcpus: sum(host, |hypervisor| hypervisor.vcpus),
        vcpus_used: sum(host, |hypervisor| hypervisor.vcpus_used),
        memory_mib: sum(host, |hypervisor| hypervisor.memory_mib),
        memory_used_mib: sum(host, |hypervisor| hypervisor.memory_used_mib),
        disk_gib: sum(host, |hypervisor| hypervisor.disk_gib),
        disk_used_gib: sum(host, |hypervisor| hypervisor.disk_used_gib),
    }
}

/// The facts of a server. `group` is the server group it is in.
pub fn server_facts(server: &Server, group: Option<&ServerGroup>) -> ServerFacts {
    ServerFacts {
        id: server.id.clone(),
        name: server.name.clone(),
        project_id: server.project_id.clone(),
        status: server.status.as_str().to_owned(),
        task_state: server.task_state.clone(),
        power_state: power_word(server.power_state).to_owned(),
        zone: server.zone.clone(),
        metadata: server.metadata.clone(),
        tags: server.tags.clone(),
        locked: server.locked,
        config_drive: server.config_drive,
        boot_from_volume: server.image.is_none(),
        volumes: server.volumes.len() as u64,
        group_policy: group.map(|group| policy_word(&group.policy).to_owned()),
        flavor: FlavorFacts {
            name: server.flavor.name.clone(),
            vcpus: server.flavor.vcpus,
            memory_mib: server.flavor.memory_mib,
            disk_gib: server.flavor.root_gib,
            extra_specs: server.flavor.extra_specs.clone(),
        },
    }
}

/// Absent as soon as one hypervisor does not show it: a sum of what is shown would be too small in silence.
fn sum(host: &Host, field: impl Fn(&Hypervisor) -> Option<u64>) -> Option<u64> {
    if host.hypervisors.is_empty() {
        return None;
    }
    host.hypervisors.iter().map(field).try_fold(0_u64, |total, value| Some(total.saturating_add(value?)))
}

pub(super) fn state_word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Up => "up",
        ServiceState::Down => "down",
        ServiceState::Unknown => "unknown",
    }
}

pub(super) fn status_word(status: ServiceStatus) -> &'static str {
    match status {
        ServiceStatus::Enabled => "enabled",
        ServiceStatus::Disabled => "disabled",
        ServiceStatus::Unknown => "unknown",
    }
}

/// The words of nova/compute/power_state.py, except that its `pending` (0) goes by its constant's name.
pub(super) fn power_word(state: PowerState) -> &'static str {
    match state {
        PowerState::NoState => "nostate",
        PowerState::Running => "running",
        PowerState::Paused => "paused",
        PowerState::Shutdown => "shutdown",
        PowerState::Crashed => "crashed",
        PowerState::Suspended => "suspended",
        PowerState::Unknown => "unknown",
    }
}

fn policy_word(policy: &GroupPolicy) -> &str {
    match policy {
        GroupPolicy::Affinity => "affinity",
        GroupPolicy::AntiAffinity => "anti-affinity",
        GroupPolicy::SoftAffinity => "soft-affinity",
        GroupPolicy::SoftAntiAffinity => "soft-anti-affinity",
        GroupPolicy::Other(word) => word,
    }
}
