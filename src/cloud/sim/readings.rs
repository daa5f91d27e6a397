//! What readings show: the rows of now or of a while ago, filtered and hidden as this release and
//! `cloud::nova::readings` do it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::moves::Phase;
use super::rows::{shown, shown_record};
use super::world::{ServerId, World};
use crate::cloud::{
    ComputeService, Host, Hypervisor, Inventory, LiveProgress, Migration, MigrationKind, MigrationQuery, Server,
    ServerQuery, ServerStatus,
};

/// Nova writes the bytes every 5 s (virt/libvirt/migration.py `save_stats`).
const SAVE_STATS_MS: u64 = 5_000;

impl World {
    pub(super) fn read_services(&self, host: Option<&str>, at_ms: u64) -> Vec<ComputeService> {
        match host {
            Some(name) => self.host_ids.get(name).map(|host| self.service_at(*host, at_ms)).into_iter().collect(),
            None => (0..self.hosts.len()).map(|host| self.service_at(host, at_ms)).collect(),
        }
    }

    /// Servers whose row changed in this second or later, as rows are now.
    fn changed_from(&self, second: i64) -> impl Iterator<Item = ServerId> + '_ {
        self.server_changes.range((second, 0)..).map(|(_, server)| *server)
    }

    pub(super) fn read_servers(&self, query: &ServerQuery, at_ms: u64) -> Vec<Server> {
        let mut rows: Vec<Server> = match query {
            ServerQuery::OnHost(name) => {
                let Some(host) = self.host_ids.get(name) else { return Vec::new() };
                let mut here: BTreeSet<ServerId> = self.hosts[*host].servers.clone();
                if at_ms < self.now_ms {
                    here.extend(self.changed_from(self.stamp(at_ms).as_second()));
                }
                let as_of = here.iter().map(|server| self.servers[*server].row.at(at_ms));
                let on_it = as_of.filter(|row| row.host.as_ref() == Some(name) && row.status != ServerStatus::Deleted);
                on_it.map(|row| shown(row, self.release)).collect()
            }
            ServerQuery::ChangedSince(since) => {
                let as_of = self.changed_from(since.as_second()).map(|server| self.servers[server].row.at(at_ms));
                let changed = as_of.filter(|row| row.updated_at.is_some_and(|at| at >= *since));
                changed.map(|row| shown(row, self.release)).collect()
            }
        };
        rows.sort_by(|a, b| (&a.host, &a.name, &a.id).cmp(&(&b.host, &b.name, &b.id)));
        rows
    }

    pub(super) fn read_server(&self, id: &str, at_ms: u64) -> Option<Server> {
        let row = self.servers[*self.server_ids.get(id)?].row.at(at_ms);
        (row.status != ServerStatus::Deleted).then(|| shown(row, self.release))
    }

    /// From 2.59 Nova itself compares `updated_at`, which a fresh record does not have.
    pub(super) fn read_migrations(&self, query: &MigrationQuery, at_ms: u64) -> Vec<Migration> {
        let stamp = self.stamp(at_ms);
        let now = at_ms >= self.now_ms;
        let strict = self.release.has(59);
        let asked = |row: &Migration| {
            let is_on = |host: &String| row.source_host.as_ref() == Some(host) || row.dest_host.as_ref() == Some(host);
            let changed = |since: Timestamp| match (row.updated_at, strict) {
                (Some(at), _) => at >= since,
                (None, true) => false,
                (None, false) => row.created_at.is_none_or(|at| at >= since),
            };
            query.host.as_ref().is_none_or(is_on)
                && query.server.as_ref().is_none_or(|server| row.server == *server)
                && query.changed_since.is_none_or(changed)
                && (now || row.created_at.is_none_or(|at| at <= stamp))
        };
        let newest = query.newest.map_or(usize::MAX, |newest| newest as usize);
        let row = |id: &u64| self.records.get(id).map(|kept| kept.at(at_ms)).filter(|row| asked(row));
        // The shortest list that holds them all; from the newest, so that few are looked at when few are wanted.
        let mut rows: Vec<Migration> = if let Some(server) = &query.server {
            let own = self.server_ids.get(server).map(|server| &self.servers[*server].records);
            let own = own.map(Vec::as_slice).unwrap_or_default();
            own.iter().rev().filter_map(row).take(newest).map(|row| shown_record(row, self.release)).collect()
        } else if let (Some(since), true) = (query.changed_since, strict) {
            let ids: BTreeSet<u64> = self.record_changes.range((since.as_second(), 0)..).map(|(_, id)| *id).collect();
            ids.iter().rev().filter_map(row).take(newest).map(|row| shown_record(row, self.release)).collect()
        } else if let Some(host) = &query.host {
            let Some(host) = self.host_ids.get(host) else { return Vec::new() };
            let ids = self.hosts[*host].records.iter();
            ids.rev().filter_map(row).take(newest).map(|row| shown_record(row, self.release)).collect()
        } else {
            let ids = self.records.keys();
            ids.rev().filter_map(row).take(newest).map(|row| shown_record(row, self.release)).collect()
        };
        rows.reverse();
        rows
    }

    /// Hidden while `accepted` and in post-copy, and once it is over (db/main/api.py
    /// `migration_get_in_progress_by_instance`).
    pub(super) fn read_progress(&mut self, server: &str) -> Option<LiveProgress> {
        if !self.release.has(23) {
            return None;
        }
        let server = *self.server_ids.get(server)?;
        let id = self.move_of(server)?;
        let own = self.moves.get(&id)?;
        let status = self.records.get(&id)?.now.status.clone();
        let (phase, sampled) = (own.phase, own.sampled);
        if own.kind != MigrationKind::Live
            || !matches!(phase, Phase::Queued | Phase::Preparing | Phase::Copying | Phase::Switching)
            || status.is_terminal()
        {
            return None;
        }
        let nothing = LiveProgress {
            migration_id: id,
            status,
            memory_total_bytes: None,
            memory_remaining_bytes: None,
            disk_total_bytes: None,
            disk_remaining_bytes: None,
        };
        if !matches!(phase, Phase::Copying | Phase::Switching) {
            return Some(nothing);
        }
        let now_ms = self.now_ms;
        let bytes = match sampled {
            // Once the copy is over the network has forgotten it, and Nova shows what was saved last.
            Some((at_ms, bytes)) if now_ms < at_ms + SAVE_STATS_MS || phase == Phase::Switching => bytes,
            _ => match self.network.progress(id, now_ms) {
                Some(bytes) => bytes,
                None => return Some(nothing),
            },
        };
        if let Some(own) = self.moves.get_mut(&id)
            && own.sampled.is_none_or(|(at_ms, _)| now_ms >= at_ms + SAVE_STATS_MS)
        {
            own.sampled = Some((now_ms, bytes));
        }
        Some(LiveProgress {
            memory_total_bytes: Some(bytes.memory_total_bytes),
            memory_remaining_bytes: Some(bytes.memory_remaining_bytes),
            disk_total_bytes: Some(bytes.disk_total_bytes),
            disk_remaining_bytes: Some(bytes.disk_remaining_bytes),
            ..nothing
        })
    }

    pub(super) fn read_fault(&self, server: &str, request_id: &str) -> Option<String> {
        let server = *self.server_ids.get(server)?;
        // Actions of deleted servers are readable from 2.21.
        if self.servers[server].deleted && !self.release.has(21) {
            return None;
        }
        self.said.get(&(server, request_id.to_owned())).cloned()
    }

    pub(super) fn read_inventory(&self, read_at: Timestamp, at_ms: u64) -> Inventory {
        let hosts = (0..self.hosts.len()).map(|id| {
            let host = &self.hosts[id];
            Host {
                name: host.name.clone(),
                service: self.service_at(id, at_ms),
                hypervisors: host.hypervisors.iter().map(|it| self.hypervisor(id, it)).collect(),
                aggregates: host.aggregates.clone(),
            }
        });
        let occupies = |row: &&Server| {
            let on_its_way = row.status == ServerStatus::Build || row.task_state.is_some();
            row.status != ServerStatus::Deleted && (row.host.is_some() || on_its_way)
        };
        let as_of = self.servers.iter().map(|slot| slot.row.at(at_ms)).filter(occupies);
        let mut servers: Vec<Server> = as_of.map(|row| shown(row, self.release)).collect();
        servers.sort_by(|a, b| (&a.host, &a.name, &a.id).cmp(&(&b.host, &b.name, &b.id)));
        let unfinished = |row: &&Migration| !row.status.is_terminal();
        let records = self.records.values().map(|record| record.at(at_ms)).filter(unfinished);
        Inventory {
            read_at,
            capabilities: self.capabilities,
            hosts: hosts.collect(),
            servers,
            groups: self.groups.clone(),
            aggregates: self.aggregates.clone(),
            migrations: records.map(|row| shown_record(row, self.release)).collect(),
            gaps: self.gaps.clone(),
        }
    }

    /// Used figures follow the claims where there is one hypervisor and it shows any.
    fn hypervisor(&self, host: usize, row: &Hypervisor) -> Hypervisor {
        let host = &self.hosts[host];
        if host.hypervisors.len() != 1 {
            return row.clone();
        }
        let now = |shown: Option<u64>, reserved: u64, claimed: u64| shown.map(|_| reserved.saturating_add(claimed));
        let (kept, taken) = (host.reserved, host.claimed);
        Hypervisor {
            vcpus_used: now(row.vcpus_used, kept.vcpus, taken.vcpus),
            memory_used_mib: now(row.memory_used_mib, kept.memory_mib, taken.memory_mib),
            disk_used_gib: now(row.disk_used_gib, kept.disk_gib, taken.disk_gib),
            ..row.clone()
        }
    }
}
