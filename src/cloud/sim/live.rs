//! Live migration: `accepted → queued → preparing → running (→ post-copy) → completed`, and every way it fails. The order
//! in which row and record change is Nova's (compute/manager.py, conductor/tasks/live_migrate.py), release by release.

use super::checks::Decision;
use super::faults::Fate;
use super::moves::{Keep, Phase, Step};
use super::network::{Force, Guest};
use super::world::{Due, HostId, ServerId, World};
use crate::cloud::{MigrationKind, MigrationStatus};

/// `rpc_response_timeout` (conf/rpc): how long one of Nova's services waits for another that is dead.
pub(super) const RPC_TIMEOUT_MS: u64 = 60_000;
/// `live_migration_progress_timeout` up to Newton, seconds.
const PROGRESS_TIMEOUT_MS: u64 = 150_000;
/// A guest that dirties its memory faster than any link copies it.
const NEVER_CONVERGES_MIB_PER_S: f64 = 1_000_000.0;
/// Before a switch to post-copy is tried again that came while disks were copied.
const POST_COPY_AGAIN_MS: u64 = 2_000;
const ABORT_EVENT: &str = "compute_live_migration_abort";
/// Bytes a second that a forecast reckons with, to choose a moment well within a copy; MiB.
const FORECAST_MIB_PER_S: u64 = 1_000;

impl World {
    /// The conductor begins, below 2.34 while the API waits for it.
    pub(super) fn live_scheduled(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, wanted, fate, request) = (own.server, own.wanted, own.fate, own.request.clone());
        let block = own.block;
        let decision = self.decide_live(server, wanted, block, fate);
        self.live_decided(id, decision, request.as_deref());
    }

    pub(super) fn live_decided(&mut self, id: u64, decision: Decision, request: Option<&str>) {
        let Some((server, ..)) = self.ends(id) else { return };
        match decision.result {
            Ok(dest) => {
                self.claim(id, dest);
                self.step_after(decision.took_ms, id, Step::LiveOffered);
            }
            Err(unfit) => {
                self.say(server, request, unfit.event, unfit.class, &unfit.text);
                self.set_phase(id, Phase::Failing);
                let step = if unfit.fatal { Step::Fatal { text: unfit.text } } else { Step::Refused };
                self.step_after(decision.took_ms, id, step);
            }
        }
    }

    /// The record names its destination, and the source's nova-compute has it in its queue.
    pub(super) fn live_offered(&mut self, id: u64) {
        let Some((server, source, dest)) = self.ends(id) else { return };
        if self.records.get(&id).is_some_and(|record| record.now.dest_host.is_none()) {
            let dest = dest.map(|dest| self.hosts[dest].name.clone());
            self.edit_record(id, |record| record.dest_host = dest);
            let after = self.rpc(server);
            self.step_after(after, id, Step::LiveOffered);
            return;
        }
        if self.waits_for(source, Due::Move(id, Step::LiveOffered)) {
            return;
        }
        self.set_phase(id, Phase::Queued);
        self.mark(id, MigrationStatus::Queued);
        let slots = self.habits.max_concurrent_live_migrations;
        if slots == 0 || self.hosts[source].slots_used < slots {
            self.take_slot(id, source);
        } else {
            self.hosts[source].queue.push_back(id);
        }
    }

    fn take_slot(&mut self, id: u64, source: HostId) {
        let Some(own) = self.moves.get_mut(&id) else { return };
        own.has_slot = true;
        let server = own.server;
        self.hosts[source].slots_used += 1;
        let after = self.rpc(server) / 2;
        self.step_after(after, id, Step::LivePrepare);
    }

    pub(super) fn free_slot(&mut self, source: HostId) {
        let host = &mut self.hosts[source];
        host.slots_used = host.slots_used.saturating_sub(1);
        if let Some(next) = host.queue.pop_front() {
            self.take_slot(next, source);
        }
    }

    pub(super) fn live_prepare(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Queued) {
            return;
        }
        let Some((server, source, dest)) = self.ends(id) else { return };
        if !self.hosts[source].alive {
            return;
        }
        self.set_phase(id, Phase::Preparing);
        self.mark(id, MigrationStatus::Preparing);
        let dead = dest.is_some_and(|dest| !self.hosts[dest].alive);
        let prepare_ms = self.span("prepare", server, self.habits.prepare_ms);
        self.step_after(if dead { RPC_TIMEOUT_MS } else { prepare_ms }, id, Step::LivePrepared);
    }

    pub(super) fn live_prepared(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Preparing) {
            return;
        }
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, fate, request) = (own.server, own.source, own.fate, own.request.clone());
        let (Some(dest), withdrawn, disk_gib) = (own.dest, own.withdrawn, own.disk_gib) else { return };
        if withdrawn {
            self.set_phase(id, Phase::Failing);
            self.rollback(id, MigrationStatus::Cancelled);
            return;
        }
        if !self.hosts[dest].alive || fate == Some(Fate::FailsPreparing) {
            let text = format!("Binding failed for port of instance on host {}", self.hosts[dest].name);
            self.say(server, request.as_deref(), "compute_pre_live_migration", "PortBindingFailed", &text);
            self.set_phase(id, Phase::Failing);
            // `error` first, `failed` once it is cleaned up: a terminal status may change once.
            self.mark(id, MigrationStatus::Error);
            self.rollback(id, self.failed());
            return;
        }
        self.set_phase(id, Phase::Copying);
        self.mark(id, MigrationStatus::Running);
        self.begin_copy(id, server, source, dest, disk_gib, fate);
    }

    /// A rollback's status: `error` up to Ussuri, `failed` from Victoria.
    pub(super) fn failed(&self) -> MigrationStatus {
        if self.release.is_victoria() { MigrationStatus::Failed } else { MigrationStatus::Error }
    }

    fn rollback(&mut self, id: u64, status: MigrationStatus) {
        let Some((server, ..)) = self.ends(id) else { return };
        let after = self.rpc(server);
        self.step_after(after, id, Step::RolledBack { status });
    }

    fn begin_copy(&mut self, id: u64, server: ServerId, from: HostId, to: HostId, disk_gib: u64, fate: Option<Fate>) {
        let row = &self.servers[server].row.now;
        let memory_mib = row.flavor.memory_mib;
        let dirty = self.draws.fixed(&["dirty", &row.id]).between(self.habits.dirty_mib_per_s);
        let running = self.servers[server].running;
        let dirty_mib_per_s = match fate {
            Some(Fate::Stalls) => NEVER_CONVERGES_MIB_PER_S,
            _ if !running => 0.0,
            _ => dirty as f64,
        };
        let percent = self.draws.fixed(&["used", &row.id]).between(self.habits.memory_used_percent);
        let used = percent as f64 / 100.0;
        self.begin_flow(id, from, to, Guest { memory_mib, used, dirty_mib_per_s, disk_gib });
        let mib = memory_mib.saturating_add(disk_gib.saturating_mul(1024));
        let forecast_ms = mib.saturating_mul(1000) / FORECAST_MIB_PER_S;
        let within = [forecast_ms / 10, forecast_ms];
        if matches!(fate, Some(Fate::Fails | Fate::ErrorsOnSource)) {
            let after = self.span("half-way", server, within);
            self.step_after(after, id, Step::LiveHalfWay);
        }
        if fate == Some(Fate::PostCopy) {
            self.step_after(forecast_ms / 2, id, Step::LiveToPostCopy);
        }
        let timeout_ms = self.completion_timeout_ms(memory_mib, disk_gib);
        if let Some(timeout_ms) = timeout_ms {
            self.step_after(timeout_ms, id, Step::LiveTimeout);
        }
        if self.release.does(39) || fate != Some(Fate::Stalls) {
            return;
        }
        self.step_after(PROGRESS_TIMEOUT_MS, id, Step::LiveTimeout);
    }

    /// `live_migration_completion_timeout` counts at least 2 GiB of memory, and of disk where disk is copied.
    fn completion_timeout_ms(&self, memory_mib: u64, disk_gib: u64) -> Option<u64> {
        let gib = (memory_mib / 1024).max(2) + if disk_gib > 0 { disk_gib.max(2) } else { 0 };
        let per_gib = self.habits.completion_timeout_s_per_gib;
        (per_gib > 0).then(|| per_gib.saturating_mul(gib).saturating_mul(1000))
    }

    pub(super) fn live_half_way(&mut self, id: u64) {
        if self.phase(id) == Some(Phase::Copying) {
            self.live_breaks(id);
        }
    }

    /// The hypervisor gives up a copy.
    pub(super) fn live_breaks(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, fate) = (own.server, own.source, own.fate);
        if self.hosts[source].hung && self.waits_for(source, Due::Move(id, Step::LiveHalfWay)) {
            return;
        }
        self.cut_copy(id);
        // No event tells of it: `compute_live_migration` was over when the migration was queued.
        let text = "internal error: qemu unexpectedly closed the monitor".to_owned();
        if fate == Some(Fate::ErrorsOnSource) {
            self.mark(id, MigrationStatus::Error);
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorRow { text, idle: true });
        } else {
            self.rollback(id, self.failed());
        }
    }

    pub(super) fn begin_flow(&mut self, id: u64, from: HostId, to: HostId, guest: Guest) {
        let now_ms = self.now_ms;
        let (from, to) = (&self.hosts[from].name, &self.hosts[to].name);
        if let Err(error) = self.network.begin(id, from, to, guest, now_ms) {
            tracing::error!(%error, "a copy began twice");
        }
        if let Some(own) = self.moves.get_mut(&id) {
            own.flows = true;
        }
    }

    /// How long its guest stood still counts, whatever became of the copy.
    pub(super) fn end_flow(&mut self, id: u64) {
        let Some(own) = self.moves.get_mut(&id) else { return };
        if !std::mem::take(&mut own.flows) {
            return;
        }
        let (server, live) = (own.server, own.kind == MigrationKind::Live);
        if let Some(outcome) = self.network.end(id, self.now_ms)
            && live
            && self.servers[server].running
        {
            self.down_for(server, outcome.downtime_ms);
        }
    }

    pub(super) fn cut_copy(&mut self, id: u64) {
        self.end_flow(id);
        self.set_phase(id, Phase::Failing);
    }

    pub(super) fn live_timeout(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Copying) {
            return;
        }
        let Some((server, source, _)) = self.ends(id) else { return };
        if !self.hosts[source].alive {
            return;
        }
        self.other(|| format!("nova gives up the migration of {}", self.servers[server].row.now.name));
        self.cut_copy(id);
        self.rollback(id, MigrationStatus::Cancelled);
    }

    pub(super) fn live_to_post_copy(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Copying) {
            return;
        }
        if !self.network.force(id, Force::PostCopy, self.now_ms) {
            self.step_after(POST_COPY_AGAIN_MS, id, Step::LiveToPostCopy);
            return;
        }
        self.set_phase(id, Phase::PostCopy);
        self.mark(id, MigrationStatus::RunningPostCopy);
    }

    /// The network says that everything is there.
    pub(super) fn copied(&mut self, id: u64) {
        self.end_flow(id);
        // Nobody's: it must not stay the next end for ever.
        self.network.end(id, self.now_ms);
        let Some(own) = self.moves.get(&id) else { return };
        match (&own.kind, own.phase, own.fate) {
            (MigrationKind::Live, Phase::Copying, Some(Fate::Stalls)) => {}
            (MigrationKind::Live, Phase::Copying, Some(Fate::Fails | Fate::ErrorsOnSource)) => self.live_breaks(id),
            (MigrationKind::Live, Phase::Copying | Phase::PostCopy, _) => self.live_copied(id),
            (_, Phase::Copying, _) => self.step(id, Step::ColdCopied),
            _ => {}
        }
    }

    /// The guest is on the destination; the source tells its nova-compute, which saves the row.
    pub(super) fn live_copied(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        if !matches!(own.phase, Phase::Copying | Phase::PostCopy) {
            return;
        }
        let (server, source, inverts) = (own.server, own.source, own.fate == Some(Fate::Inverts));
        let Some(dest) = own.dest else { return };
        // The copy itself is the hypervisor's, and goes on without its nova-compute.
        if self.hosts[source].hung && self.waits_for(source, Due::Move(id, Step::LiveCopied)) {
            return;
        }
        if inverts {
            self.mark(id, MigrationStatus::Completed);
            self.close(id, Keep::Both);
            return;
        }
        self.set_phase(id, Phase::Switching);
        let post_ms = self.span("post", server, self.habits.post_ms);
        if !self.hosts[dest].alive {
            self.step_after(RPC_TIMEOUT_MS, id, Step::LivePostTimeout);
            self.hosts[dest].waiting.push(Due::Move(id, Step::LiveHostSaved));
            return;
        }
        self.step_after(post_ms, id, Step::LiveHostSaved);
        if !self.release.host_before_completed() {
            // Newton and older only cast to the destination: the record may be first.
            let after = self.rpc(server);
            self.step_after(after + post_ms / 2, id, Step::LiveCompleted);
        }
    }

    pub(super) fn live_host_saved(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Switching) {
            return;
        }
        let Some(own) = self.moves.get(&id) else { return };
        let (server, fate, vm_state, request) = (own.server, own.fate, own.vm_state.clone(), own.request.clone());
        let Some(dest) = own.dest else { return };
        if self.waits_for(dest, Due::Move(id, Step::LiveHostSaved)) {
            self.step_after(RPC_TIMEOUT_MS, id, Step::LivePostTimeout);
            return;
        }
        let name = self.hosts[dest].name.clone();
        if fate == Some(Fate::ErrorsOnDest) {
            let text = "Timed out waiting for a reply from neutron".to_owned();
            self.say(server, request.as_deref(), "compute_post_live_migration_at_destination", "Timeout", &text);
            // One save, and the source hears of it (`post_live_migration_at_destination`, its `finally`).
            self.edit(server, |row| {
                row.host = Some(name);
                row.task_state = None;
                "error".clone_into(&mut row.vm_state);
                row.fault = Some(text);
            });
            self.set_phase(id, Phase::Failing);
            let after = self.rpc(server);
            self.step_after(after, id, Step::EndsOnDest);
            return;
        }
        let running = self.servers[server].running;
        self.edit(server, |row| {
            row.host = Some(name);
            row.task_state = None;
            row.vm_state = vm_state;
            row.power_state = if running { Self::power_word(true) } else { row.power_state };
        });
        let completed = self.records.get(&id).is_some_and(|record| record.now.status == MigrationStatus::Completed);
        if completed {
            self.close(id, Keep::Dest);
        } else if self.release.host_before_completed() {
            let after = self.follows(server);
            self.step_after(after, id, Step::LiveCompleted);
        }
    }

    /// The destination's nova-compute did not answer: the source writes the host itself, and gives up (from 2023.1; before,
    /// the record is completed all the same, and the row left on the source until the destination is back).
    pub(super) fn live_post_timeout(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Switching) {
            return;
        }
        let Some((server, source, dest)) = self.ends(id) else { return };
        let Some(dest) = dest else { return };
        let on_dest = self.host_of(server) == Some(dest);
        let completed = self.records.get(&id).is_some_and(|record| record.now.status == MigrationStatus::Completed);
        if self.hosts[dest].alive || on_dest || completed || !self.hosts[source].alive {
            return;
        }
        if !self.release.does(95) {
            // Only logged (`_post_live_migration`); the destination does its part when it is back.
            self.mark(id, MigrationStatus::Completed);
            return;
        }
        let text = "Timed out waiting for a reply to message ID".to_owned();
        let request = self.moves.get(&id).and_then(|own| own.request.clone());
        let event = "compute_post_live_migration_at_destination";
        self.say(server, request.as_deref(), event, "MessagingTimeout", &text);
        self.set_phase(id, Phase::Failing);
        self.mark(id, MigrationStatus::Error);
        let name = self.hosts[dest].name.clone();
        self.edit(server, |row| {
            row.host = Some(name);
            row.task_state = None;
        });
        self.step_after(60, id, Step::ErrorRow { text, idle: true });
    }

    pub(super) fn live_completed(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Switching) {
            return;
        }
        let Some((server, source, dest)) = self.ends(id) else { return };
        if self.waits_for(source, Due::Move(id, Step::LiveCompleted)) {
            return;
        }
        self.mark(id, MigrationStatus::Completed);
        if self.host_of(server) == dest {
            self.close(id, Keep::Dest);
        }
    }

    // ---- withdrawn ----------------------------------------------------------------------------------------------

    pub(super) fn abort_arrives(&mut self, id: u64, server: ServerId, obeyed: bool, request: Option<&str>) {
        let request = request.map(str::to_owned);
        let Some((_, source, _)) = self.ends(id) else {
            self.abort_fails(id, server, request.as_deref());
            return;
        };
        let step = Step::AbortArrives { server, obeyed, request: request.clone() };
        if self.waits_for(source, Due::Move(id, step)) {
            return;
        }
        match self.phase(id) {
            Some(Phase::Queued) => {
                self.set_phase(id, Phase::Failing);
                self.mark(id, MigrationStatus::Cancelled);
                let after = self.rpc(server);
                self.step_after(after, id, Step::IdleRow);
                self.hosts[source].queue.retain(|queued| *queued != id);
            }
            Some(Phase::Preparing) => {
                if let Some(own) = self.moves.get_mut(&id) {
                    own.withdrawn = true;
                }
            }
            Some(Phase::Copying) if obeyed => {
                self.cut_copy(id);
                self.rollback(id, MigrationStatus::Cancelled);
            }
            Some(Phase::Copying) => {
                let text = "internal error: the migration job was not aborted";
                self.say(server, request.as_deref(), ABORT_EVENT, "libvirtError", text);
            }
            _ => self.abort_fails(id, server, request.as_deref()),
        }
    }

    /// It is over, or on the destination already (compute/manager.py `live_migration_abort`).
    fn abort_fails(&mut self, id: u64, server: ServerId, request: Option<&str>) {
        let status = self.records.get(&id).map(|record| record.now.status.to_string()).unwrap_or_default();
        let instance = &self.servers[server].row.now.id;
        let text = format!(
            "Migration {id} state of instance {instance} is {status}. Cannot abort live migration while the migration is \
             in this state."
        );
        self.say(server, request, ABORT_EVENT, "InvalidMigrationState", &text);
    }
}
