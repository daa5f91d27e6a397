//! Where a server may go: the filters that matter to a drain, placement's capacity, and the weigher that spreads.

use std::collections::BTreeSet;

use super::services::{HostState, Room};
use super::world::{HostId, ServerId, World};
use crate::cloud::{GroupPolicy, Hypervisor, Server};

/// Why a destination will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub event: &'static str,
    pub class: &'static str,
    pub text: String,
    /// Nova does not expect it: the server ends in ERROR.
    pub fatal: bool,
    /// It is the last of the hosts that were tried. The error is that there is no valid host; these words are the newest
    /// event's (conductor/tasks/live_migrate.py `_find_destination`).
    pub tried: bool,
}

impl Unfit {
    pub(super) fn no_valid_host() -> Self {
        Self {
            event: "conductor_live_migrate_instance",
            class: "NoValidHost",
            text: "No valid host was found. There are not enough hosts available.".to_owned(),
            fatal: false,
            tried: false,
        }
    }
}

impl World {
    /// The scheduler's choice: enabled and up, room, zone, aggregates, group; not the source, nor one tried before.
    pub(super) fn schedule(&self, server: ServerId, wanted: Option<HostId>, tried: &[HostId]) -> Option<HostId> {
        let source = self.host_of(server);
        let group = self.group_hosts(server);
        let fits = |id: &HostId| {
            Some(*id) != source
                && !tried.contains(id)
                && self.host_passes(*id, server)
                && group.passes(*id, &self.hosts[*id].name)
        };
        match wanted {
            Some(wanted) => Some(wanted).filter(fits),
            None => (0..self.hosts.len()).filter(fits).max_by(|a, b| self.weigh(*a, *b, &group)),
        }
    }

    fn host_passes(&self, id: HostId, server: ServerId) -> bool {
        let (host, row) = (&self.hosts[id], &self.servers[server].row.now);
        host.is_enabled()
            && host.is_up()
            && row.pinned_zone.as_ref().is_none_or(|zone| *zone == host.service.now.zone)
            && self.has_room(host, row)
            && self.aggregates_pass(host, row)
    }

    /// Placement: `(total - reserved) * allocation_ratio`. A figure that nobody shows does not limit.
    pub(super) fn has_room(&self, host: &HostState, row: &Server) -> bool {
        let need = Room::of(row);
        // Since Zed 4.0 and 1.0 for new providers, before 16.0 and 1.5 (conf/compute.py initial_*_allocation_ratio).
        let (cpu, ram) = if self.release.does(92) { (4.0, 1.0) } else { (16.0, 1.5) };
        let fits = |field: fn(&Hypervisor) -> Option<u64>, reserved: u64, claimed: u64, need: u64, ratio: f64| {
            total(host, field).is_none_or(|total| {
                need == 0 || claimed.saturating_add(need) as f64 <= total.saturating_sub(reserved) as f64 * ratio
            })
        };
        let habits = &self.habits;
        let (claimed, reserved) = (host.claimed, host.reserved);
        fits(|it| it.vcpus, reserved.vcpus, claimed.vcpus, need.vcpus, habits.cpu_allocation_ratio.unwrap_or(cpu))
            && fits(
                |it| it.memory_mib,
                reserved.memory_mib,
                claimed.memory_mib,
                need.memory_mib,
                habits.ram_allocation_ratio.unwrap_or(ram),
            )
            && fits(
                |it| it.disk_gib,
                reserved.disk_gib,
                claimed.disk_gib,
                need.disk_gib,
                habits.disk_allocation_ratio.unwrap_or(1.0),
            )
    }

    /// `AggregateInstanceExtraSpecsFilter`: unscoped keys and those of its own scope have to match the metadata of some
    /// aggregate of the host. A required trait counts where some aggregate names it at all; else nobody knows who has it.
    fn aggregates_pass(&self, host: &HostState, row: &Server) -> bool {
        let own = |key: &str| -> BTreeSet<&str> {
            let of_host = self.aggregates.iter().filter(|aggregate| host.aggregates.contains(&aggregate.name));
            let values = of_host.filter_map(|aggregate| aggregate.metadata.get(key));
            values.flat_map(|value| value.split(',')).map(str::trim).collect()
        };
        row.flavor.extra_specs.iter().all(|(key, wanted)| {
            if let Some(name) = key.strip_prefix("trait:") {
                let known = self.aggregates.iter().any(|it| it.metadata.contains_key(key));
                let has = own(key).contains("required");
                return match wanted.as_str() {
                    _ if !known => true,
                    "forbidden" => !has,
                    _ => has || name.is_empty(),
                };
            }
            let key = match key.split_once(':') {
                None => key.as_str(),
                Some(("aggregate_instance_extra_specs", key)) => key,
                Some(_) => return true,
            };
            own(key).iter().any(|value| extra_spec_matches(value, wanted))
        })
    }

    /// The hosts of a server's group, as its members' rows have them now: those on their way do not count yet.
    fn group_hosts(&self, server: ServerId) -> GroupHosts<'_> {
        let group = self.servers[server].group.and_then(|group| self.groups.get(group));
        let Some(group) = group else { return GroupHosts { policy: None, max: 0, hosts: Vec::new() } };
        let own = self.servers[server].row.now.id.as_str();
        let member = |id: &String| self.server_ids.get(id).map(|id| &self.servers[*id]);
        let others = group.members.iter().filter(|id| *id != own).filter_map(member);
        let hosts = others.filter(|slot| !slot.deleted).filter_map(|slot| slot.row.now.host.as_deref()).collect();
        GroupHosts { policy: Some(&group.policy), max: group.max_server_per_host.max(1), hosts }
    }

    /// What the destination itself checks from Xena on: members on it, and those on their way to it
    /// (compute/manager.py `_validate_instance_group_policy`).
    pub(super) fn breaks_group(&self, server: ServerId, dest: HostId) -> bool {
        let Some(group) = self.servers[server].group.and_then(|group| self.groups.get(group)) else { return false };
        if !self.release.late_group_check() {
            return false;
        }
        let here = |id: &ServerId| {
            *id != server
                && (self.host_of(*id) == Some(dest)
                    || self.moves.values().any(|own| own.server == *id && own.dest == Some(dest)))
        };
        let members = group.members.iter().filter_map(|id| self.server_ids.get(id)).filter(|id| here(id)).count();
        group.policy == GroupPolicy::AntiAffinity && members as u64 >= group.max_server_per_host.max(1)
    }

    /// The greater is the better: soft groups first, then free memory, then fewer servers, then the earlier name.
    fn weigh(&self, a: HostId, b: HostId, group: &GroupHosts<'_>) -> std::cmp::Ordering {
        let soft = |id: HostId| group.soft(&self.hosts[id].name);
        let free = |id: HostId| {
            let host = &self.hosts[id];
            total(host, |it| it.memory_mib).map(|total| {
                i128::from(total) - i128::from(host.reserved.memory_mib) - i128::from(host.claimed.memory_mib)
            })
        };
        let few = |id: HostId| std::cmp::Reverse(self.hosts[id].claimed.memory_mib);
        (soft(a), free(a), few(a), std::cmp::Reverse(a)).cmp(&(soft(b), free(b), few(b), std::cmp::Reverse(b)))
    }
}

struct GroupHosts<'a> {
    policy: Option<&'a GroupPolicy>,
    max: u64,
    /// One entry for each other member.
    hosts: Vec<&'a str>,
}

impl GroupHosts<'_> {
    /// `ServerGroupAffinityFilter` lets only hosts of the group pass once it has any, and the source is one of them;
    /// so a drain of such a group finds none.
    fn passes(&self, _id: HostId, name: &str) -> bool {
        let here = self.hosts.iter().filter(|host| **host == name).count() as u64;
        match self.policy {
            Some(GroupPolicy::AntiAffinity) => here < self.max,
            Some(GroupPolicy::Affinity) => here > 0,
            _ => true,
        }
    }

    fn soft(&self, name: &str) -> i64 {
        let here = self.hosts.iter().filter(|host| **host == name).count() as i64;
        match self.policy {
            Some(GroupPolicy::SoftAffinity) => here,
            Some(GroupPolicy::SoftAntiAffinity) => -here,
            _ => 0,
        }
    }
}

/// Unknown as soon as one hypervisor does not say.
pub(super) fn total(host: &HostState, field: impl Fn(&Hypervisor) -> Option<u64>) -> Option<u64> {
    if host.hypervisors.is_empty() {
        return None;
    }
    host.hypervisors.iter().map(field).try_fold(0_u64, |sum, value| Some(sum.saturating_add(value?)))
}

/// nova/scheduler/filters/extra_specs_ops.py `match`.
pub(super) fn extra_spec_matches(value: &str, wanted: &str) -> bool {
    let mut words = wanted.split_whitespace();
    let Some(op) = words.next() else { return value.is_empty() };
    let rest: Vec<&str> = words.collect();
    let first = rest.first().copied().unwrap_or_default();
    let numbers = || Some((value.parse::<f64>().ok()?, first.parse::<f64>().ok()?));
    match op {
        "<or>" => rest.iter().filter(|word| **word != "<or>").any(|word| *word == value),
        "<in>" => value.contains(first),
        "<all-in>" => rest.iter().all(|word| value.contains(word)),
        "=" | ">=" => numbers().is_some_and(|(a, b)| a >= b),
        "<=" => numbers().is_some_and(|(a, b)| a <= b),
        "==" => numbers().is_some_and(|(a, b)| a == b),
        "!=" => numbers().is_some_and(|(a, b)| a != b),
        "s==" => value == first,
        "s!=" => value != first,
        "s<" => value < first,
        "s<=" => value <= first,
        "s>" => value > first,
        "s>=" => value >= first,
        _ => value == wanted,
    }
}
