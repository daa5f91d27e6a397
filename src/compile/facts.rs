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

#[cfg(test)]
mod tests {
    use super::super::tests::{cloud, group, host, server};
    use super::*;

    #[test]
    fn a_host_in_its_own_words() {
        let inventory = cloud(&["cmp-1", "cmp-2"], vec![server("a", "cmp-1"), server("b", "cmp-2")]);
        let facts = host_facts(&inventory, &inventory.hosts[0]);
        assert_eq!((facts.name.as_str(), facts.zone.as_str(), facts.servers), ("cmp-1", "az1", 1));
        assert_eq!((facts.service.state.as_str(), facts.service.status.as_str()), ("up", "enabled"));
        assert_eq!(facts.hypervisor.hostname, "cmp-1.example.org");
        assert_eq!((facts.vcpus, facts.memory_used_mib), (Some(64), Some(512)));
    }

    #[test]
    fn capacity_adds_up_and_is_absent_as_soon_as_a_part_is() {
        let mut two = host("cmp-1");
        two.hypervisors.push(two.hypervisors[0].clone());
        assert_eq!(host_facts_of(&two, 0).vcpus, Some(128));
        two.hypervisors[1].vcpus = None;
        assert_eq!(host_facts_of(&two, 0).vcpus, None);
        two.hypervisors.clear();
        let bare = host_facts_of(&two, 0);
        assert_eq!((bare.vcpus, bare.hypervisor.kind.as_str()), (None, ""));
    }

    #[test]
    fn a_server_in_novas_words() {
        let mut one = server("a", "cmp-1");
        one.volumes = vec!["volume-1".to_owned()];
        one.image = None;
        let facts = server_facts(&one, Some(&group(GroupPolicy::SoftAntiAffinity, &["a"])));
        assert_eq!((facts.status.as_str(), facts.power_state.as_str()), ("ACTIVE", "running"));
        assert_eq!(facts.group_policy.as_deref(), Some("soft-anti-affinity"));
        assert_eq!((facts.boot_from_volume, facts.volumes, facts.flavor.disk_gib), (true, 1, 20));
        assert_eq!(server_facts(&one, None).group_policy, None);
    }
}
