//! Rows are saved: their times, statuses and indexes follow, the log has them, and what they were is kept for readings
//! that lag.

use super::What;
use super::rows::{self, Kept};
use super::world::{ServerId, World};
use crate::cloud::{Migration, MigrationKind, MigrationStatus, PowerState, Server};

impl World {
    /// Saves a row: its time, status and indexes follow.
    pub(super) fn edit(&mut self, server: ServerId, change: impl FnOnce(&mut Server)) {
        let (now_ms, stamp) = (self.now_ms, self.stamp(self.now_ms));
        let from = self.host_of(server);
        let slot = &mut self.servers[server];
        if self.stale_is_possible {
            slot.row.keep(now_ms);
        }
        let row = &mut slot.row.now;
        let before = row.updated_at;
        change(row);
        row.status = rows::status(&row.vm_state, row.task_state.as_deref());
        row.updated_at = Some(stamp);
        if before != Some(stamp) {
            if let Some(before) = before {
                self.server_changes.remove(&(before.as_second(), server));
            }
            self.server_changes.insert((stamp.as_second(), server));
        }
        let to = self.host_of(server);
        if from != to {
            if let Some(from) = from {
                self.hosts[from].servers.remove(&server);
                self.counts.moves += u64::from(to.is_some());
            }
            if let Some(to) = to {
                self.hosts[to].servers.insert(server);
                let zone = self.hosts[to].service.now.zone.clone();
                self.servers[server].row.now.zone = Some(zone);
            }
        }
        let slot = &self.servers[server];
        if !slot.deleted {
            self.log.push_with(now_ms, || What::Server(Box::new(slot.row.now.clone())));
        }
    }

    pub(super) fn set(&mut self, server: ServerId, vm_state: &str, task_state: Option<&str>) {
        self.edit(server, |row| {
            if row.vm_state != vm_state {
                vm_state.clone_into(&mut row.vm_state);
            }
            row.task_state = task_state.map(str::to_owned);
            if !matches!(vm_state, "error" | "deleted") {
                row.fault = None;
            }
        });
    }

    pub(super) fn task(&mut self, server: ServerId, task_state: Option<&str>) {
        self.edit(server, |row| row.task_state = task_state.map(str::to_owned));
    }

    /// The guest begins or ceases to execute.
    pub(super) fn guest(&mut self, server: ServerId, running: bool) {
        let now_ms = self.now_ms;
        let slot = &mut self.servers[server];
        if slot.running == running {
            return;
        }
        slot.running = running;
        if !running {
            slot.down_since_ms = Some(now_ms);
        } else if let Some(since) = slot.down_since_ms.take() {
            self.down_for(server, now_ms - since);
        }
        let id = &self.servers[server].row.now.id;
        self.log.push_with(now_ms, || What::Guest { server: id.clone(), running });
    }

    pub(super) fn down_for(&mut self, server: ServerId, ms: u64) {
        let slot = &self.servers[server];
        if slot.ran_at_start && ms > 0 {
            *self.counts.downtime_ms.entry(slot.row.now.id.clone()).or_default() += ms;
        }
    }

    /// What `power_state` would say.
    pub(super) fn power_word(running: bool) -> PowerState {
        if running { PowerState::Running } else { PowerState::Shutdown }
    }

    // ---- migration records --------------------------------------------------------------------------------------

    pub(super) fn index_record(&mut self, record: &Migration) {
        for host in [&record.source_host, &record.dest_host].into_iter().flatten() {
            if let Some(host) = self.host_ids.get(host) {
                self.hosts[*host].records.insert(record.id);
            }
        }
        if let Some(server) = self.server_ids.get(&record.server) {
            self.servers[*server].records.push(record.id);
        }
        if let Some(at) = record.updated_at {
            self.record_changes.insert((at.as_second(), record.id));
        }
    }

    pub(super) fn new_record(&mut self, server: ServerId, kind: MigrationKind, status: MigrationStatus) -> u64 {
        let id = self.next_record;
        self.next_record += 1;
        let row = &self.servers[server].row.now;
        let record = Migration {
            id,
            server: row.id.clone(),
            kind: Some(kind),
            status,
            source_host: row.host.clone(),
            dest_host: None,
            created_at: Some(self.stamp(self.now_ms)),
            // Set by the first change only (db/main/api.py, oslo.db TimestampMixin `onupdate`).
            updated_at: None,
        };
        self.index_record(&record);
        self.log.push_with(self.now_ms, || What::Migration(record.clone()));
        self.records.insert(id, Kept::new(record));
        id
    }

    pub(super) fn edit_record(&mut self, id: u64, change: impl FnOnce(&mut Migration)) {
        let (now_ms, stamp) = (self.now_ms, self.stamp(self.now_ms));
        let Some(kept) = self.records.get_mut(&id) else { return };
        if self.stale_is_possible {
            kept.keep(now_ms);
        }
        let record = &mut kept.now;
        let before = record.updated_at;
        change(record);
        record.updated_at = Some(stamp);
        if let Some(dest) = record.dest_host.as_ref().and_then(|dest| self.host_ids.get(dest)) {
            self.hosts[*dest].records.insert(id);
        }
        if before != Some(stamp) {
            if let Some(before) = before {
                self.record_changes.remove(&(before.as_second(), id));
            }
            self.record_changes.insert((stamp.as_second(), id));
        }
        self.log.push_with(now_ms, || What::Migration(record.clone()));
    }

    pub(super) fn mark(&mut self, id: u64, status: MigrationStatus) {
        self.edit_record(id, |record| record.status = status);
    }

    /// A deleted server's records are deleted with it (db/main/api.py `instance_destroy`).
    pub(super) fn drop_records(&mut self, server: ServerId) {
        for id in std::mem::take(&mut self.servers[server].records) {
            let Some(kept) = self.records.remove(&id) else { continue };
            if let Some(at) = kept.now.updated_at {
                self.record_changes.remove(&(at.as_second(), id));
            }
            for host in [&kept.now.source_host, &kept.now.dest_host].into_iter().flatten() {
                if let Some(host) = self.host_ids.get(host) {
                    self.hosts[*host].records.remove(&id);
                }
            }
        }
    }

    /// Nova's words about a failed action: `details` from 2.84, the last line of a traceback below.
    pub(super) fn say(&mut self, server: ServerId, request: Option<&str>, event: &str, class: &str, text: &str) {
        let Some(request) = request else { return };
        // Liberty and Mitaka have no events of the conductor's.
        if event.starts_with("conductor") && !self.release.has(26) {
            return;
        }
        let words = match self.release.has(84) {
            true => text.to_owned(),
            false => format!("{event}: nova.exception.{class}: {text}"),
        };
        self.said.insert((server, request.to_owned()), words);
    }
}
