//! What is under way when a scene begins, and what was decided before somebody disabled a host.

use super::faults::Happening;
use super::moves::{Move, Phase, Step};
use super::world::{HostId, ServerId, World};
use crate::cloud::{MigrationKind, MigrationStatus, ServerStatus};

impl World {
    /// A migration that is in hand when the scene begins goes on.
    pub(super) fn take_up(&mut self, id: u64) {
        use MigrationStatus as S;
        let Some(record) = self.records.get(&id).map(|record| record.now.clone()) else { return };
        let Some(server) = self.server_ids.get(&record.server).copied() else { return };
        let host = |name: &Option<String>| name.as_ref().and_then(|name| self.host_ids.get(name)).copied();
        let (Some(source), dest) = (host(&record.source_host), host(&record.dest_host)) else { return };
        let live = match &record.kind {
            Some(MigrationKind::Live) => true,
            Some(MigrationKind::Cold | MigrationKind::Resize) => false,
            Some(_) => return,
            None => matches!(record.status, S::Accepted | S::Queued | S::Preparing | S::Running | S::RunningPostCopy),
        };
        let row = &self.servers[server].row.now;
        let disk_gib = if self.habits.shared_storage { 0 } else { row.local_disk_gib() };
        let kind = record.kind.clone().unwrap_or(if live { MigrationKind::Live } else { MigrationKind::Cold });
        let mut own = Move { id, dest, disk_gib, ..self.new_move(server, kind, source, None) };
        let (phase, step) = match (&record.status, live) {
            (S::Accepted | S::PreMigrating, true) => (Phase::Scheduling, Some(Step::LiveScheduled)),
            (S::Queued, true) => (Phase::Scheduling, Some(Step::LiveOffered)),
            (S::Preparing | S::Running, true) => (Phase::Preparing, Some(Step::LivePrepared)),
            (S::RunningPostCopy, true) => (Phase::PostCopy, Some(Step::LiveCopied)),
            (S::PreMigrating, false) if dest.is_none() => (Phase::Scheduling, Some(Step::ColdScheduled)),
            (S::PreMigrating | S::Migrating, false) => (Phase::Saving, Some(Step::ColdMigrating)),
            (S::PostMigrating, false) => (Phase::Saving, Some(Step::ColdHostSaved)),
            (S::Finished, false) => (Phase::Finished, None),
            (S::Confirming, false) => (Phase::Confirming, Some(Step::Confirmed)),
            (S::Reverting, false) => (Phase::Reverting, Some(Step::Reverted)),
            _ => return,
        };
        if dest.is_none() && phase != Phase::Scheduling {
            return;
        }
        own.phase = phase;
        if own.vm_state == "resized" {
            own.vm_state = if own.ran { "active" } else { "stopped" }.to_owned();
        }
        if matches!(phase, Phase::Preparing | Phase::PostCopy) {
            own.has_slot = true;
            self.hosts[source].slots_used += 1;
        }
        // One of both ends has the server's own room already.
        let here = self.host_of(server);
        let row = &self.servers[server].row.now;
        for end in [Some(source), dest].into_iter().flatten().filter(|end| Some(*end) != here) {
            self.hosts[end].claim(row);
        }
        self.moves.insert(id, own);
        if let Some(step) = step {
            let after = self.rpc(server);
            self.step_after(after, id, step);
        }
    }

    /// A server that was scheduled here before anybody disabled the host.
    pub(super) fn late_arrival(&mut self, host: HostId) {
        let name = self.hosts[host].name.clone();
        let known: Vec<ServerId> =
            (0..self.servers.len()).filter(|id| self.servers[*id].row.now.status == ServerStatus::Active).collect();
        let Some(like) = known.get(self.draws.next(&["arrives-like", &name]).index(known.len())).copied() else {
            return;
        };
        let like = self.servers[like].row.now.id.clone();
        self.happens(Happening::Arrives { host: name, like });
    }
}
