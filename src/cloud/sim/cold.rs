//! Cold migration and resize: `pre-migrating → migrating → post-migrating → finished`, VERIFY_RESIZE, and then confirm or
//! revert (compute/manager.py `prep_resize`, `resize_instance`, `finish_resize`). Each hand-over is a message to one
//! nova-compute, and waits while that one is dead.

use super::faults::Fate;
use super::live::RPC_TIMEOUT_MS;
use super::moves::{Keep, Phase, Step};
use super::network::Guest;
use super::scheduler::Unfit;
use super::world::{Due, HostId, ServerId, World};
use crate::cloud::MigrationStatus;

/// `[scheduler] max_attempts`: the hosts that are tried.
const ATTEMPTS: usize = 3;

impl World {
    pub(super) fn decide_cold(
        &mut self,
        server: ServerId,
        wanted: Option<HostId>,
        fate: Option<Fate>,
    ) -> (Result<HostId, Unfit>, u64) {
        let took_ms = self.span("schedule", server, self.habits.schedule_ms);
        let none = || Unfit { event: "conductor_migrate_server", ..Unfit::no_valid_host() };
        if fate == Some(Fate::NoValidHostLate) {
            return (Err(none()), took_ms);
        }
        let mut tried: Vec<HostId> = Vec::new();
        while tried.len() < ATTEMPTS {
            let Some(dest) = self.schedule(server, wanted, &tried) else { break };
            if !self.breaks_group(server, dest) {
                return (Ok(dest), took_ms);
            }
            // The destination's late check sends it on to the next of the alternates.
            tried.push(dest);
        }
        (Err(none()), took_ms)
    }

    pub(super) fn cold_scheduled(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, wanted, fate, request) = (own.server, own.wanted, own.fate, own.request.clone());
        let (result, took_ms) = self.decide_cold(server, wanted, fate);
        self.cold_decided(id, result, took_ms, request.as_deref());
    }

    pub(super) fn cold_decided(&mut self, id: u64, result: Result<HostId, Unfit>, took_ms: u64, request: Option<&str>) {
        let Some((server, ..)) = self.ends(id) else { return };
        match result {
            Ok(dest) => {
                self.claim(id, dest);
                self.step_after(took_ms, id, Step::ColdClaimed);
            }
            Err(unfit) => {
                self.say(server, request, unfit.event, unfit.class, &unfit.text);
                self.set_phase(id, Phase::Failing);
                self.step_after(took_ms, id, Step::Refused);
            }
        }
    }

    /// `prep_resize` on the destination.
    pub(super) fn cold_claimed(&mut self, id: u64) {
        let Some((server, _, Some(dest))) = self.ends(id) else { return };
        if self.waits_for(dest, Due::Move(id, Step::ColdClaimed)) {
            return;
        }
        let name = self.hosts[dest].name.clone();
        self.edit_record(id, |record| record.dest_host = Some(name));
        self.set_phase(id, Phase::Saving);
        let after = self.rpc(server);
        self.step_after(after, id, Step::ColdMigrating);
    }

    /// `resize_instance` on the source.
    pub(super) fn cold_migrating(&mut self, id: u64) {
        let Some((server, source, _)) = self.ends(id) else { return };
        if self.waits_for(source, Due::Move(id, Step::ColdMigrating)) {
            return;
        }
        self.mark(id, MigrationStatus::Migrating);
        let after = self.rpc(server);
        self.step_after(after, id, Step::ColdPowerOff);
    }

    pub(super) fn cold_power_off(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, fate, request, ran) = (own.server, own.source, own.fate, own.request.clone(), own.ran);
        if self.waits_for(source, Due::Move(id, Step::ColdPowerOff)) {
            return;
        }
        self.task(server, Some("resize_migrating"));
        if fate == Some(Fate::Fails) {
            // Found out before the guest is touched: `InstanceFaultRollback` puts everything back.
            let text = "Resize error: not able to execute ssh command: Unexpected error while running command.";
            self.say(server, request.as_deref(), "compute_resize_instance", "ResizeError", text);
            self.set_phase(id, Phase::Failing);
            let after = self.rpc(server);
            self.step_after(after, id, Step::Refused);
            return;
        }
        self.set_phase(id, Phase::Copying);
        let shutdown_ms = if ran { self.span("shutdown", server, self.habits.shutdown_ms) } else { 1 };
        self.step_after(shutdown_ms, id, Step::ColdOff);
    }

    /// The guest is off; its disks are copied.
    pub(super) fn cold_off(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Copying) {
            return;
        }
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, fate, request) = (own.server, own.source, own.fate, own.request.clone());
        let (Some(dest), disk_gib) = (own.dest, own.disk_gib) else { return };
        if !self.hosts[source].alive {
            return;
        }
        self.guest(server, false);
        if fate == Some(Fate::ErrorsOnSource) {
            let text = "Unexpected error while running command.\nCommand: cp --sparse=always";
            self.say(server, request.as_deref(), "compute_resize_instance", "ProcessExecutionError", text);
            self.set_phase(id, Phase::Failing);
            self.mark(id, MigrationStatus::Error);
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorRow { text: text.to_owned(), idle: false });
            return;
        }
        if disk_gib > 0 {
            self.begin_flow(id, source, dest, Guest { memory_mib: 0, used: 0.0, dirty_mib_per_s: 0.0, disk_gib });
        } else {
            let after = self.rpc(server);
            self.step_after(after, id, Step::ColdCopied);
        }
    }

    pub(super) fn cold_copied(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Copying) {
            return;
        }
        let Some((server, source, _)) = self.ends(id) else { return };
        if !self.hosts[source].alive {
            return;
        }
        self.set_phase(id, Phase::Saving);
        self.mark(id, MigrationStatus::PostMigrating);
        let after = self.rpc(server);
        self.step_after(after, id, Step::ColdHostSaved);
    }

    /// The host is the destination's long before the move has succeeded.
    pub(super) fn cold_host_saved(&mut self, id: u64) {
        let Some((server, source, Some(dest))) = self.ends(id) else { return };
        if self.waits_for(source, Due::Move(id, Step::ColdHostSaved)) {
            return;
        }
        let name = self.hosts[dest].name.clone();
        self.edit(server, |row| {
            row.host = Some(name);
            row.task_state = Some("resize_migrated".to_owned());
        });
        let after = self.rpc(server);
        self.step_after(after, id, Step::ColdFinish);
    }

    /// `finish_resize` on the destination.
    pub(super) fn cold_finish(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, fate, request, ran) = (own.server, own.fate, own.request.clone(), own.ran);
        let Some(dest) = own.dest else { return };
        if self.waits_for(dest, Due::Move(id, Step::ColdFinish)) {
            return;
        }
        self.task(server, Some("resize_finish"));
        if fate == Some(Fate::ErrorsOnDest) {
            let text = "internal error: process exited while connecting to monitor".to_owned();
            self.say(server, request.as_deref(), "compute_finish_resize", "libvirtError", &text);
            self.set_phase(id, Phase::Failing);
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorsOnDest { text });
            return;
        }
        let start_ms = if ran { self.span("start", server, self.habits.start_ms) } else { self.rpc(server) };
        self.step_after(start_ms, id, Step::ColdStarted);
    }

    /// `finished` is written just before the row becomes VERIFY_RESIZE.
    pub(super) fn cold_started(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, ran) = (own.server, own.ran);
        let Some(dest) = own.dest else { return };
        if self.waits_for(dest, Due::Move(id, Step::ColdStarted)) {
            return;
        }
        if ran {
            self.guest(server, true);
        }
        self.mark(id, MigrationStatus::Finished);
        let after = self.follows(server);
        self.step_after(after, id, Step::ColdVerify);
    }

    pub(super) fn cold_verify(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, confirm_after_ms) = (own.server, own.confirm_after_ms);
        let running = self.servers[server].running;
        self.set_phase(id, Phase::Finished);
        self.edit(server, |row| {
            "resized".clone_into(&mut row.vm_state);
            row.task_state = None;
            row.power_state = Self::power_word(running);
        });
        if let Some(after) = confirm_after_ms {
            self.after(after, Due::OwnerConfirms(server));
        }
    }

    /// The source's nova-compute dies in the middle of a copy: when it is back, the server is as before, and the record
    /// is forgotten (compute/manager.py `_init_instance`, RESIZE_MIGRATING).
    pub(super) fn cold_reset(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, vm_state, ran) = (own.server, own.vm_state.clone(), own.ran);
        self.set(server, &vm_state, None);
        if ran {
            self.guest(server, true);
        }
        self.close(id, Keep::Both);
    }

    // ---- confirm and revert -------------------------------------------------------------------------------------

    pub(super) fn begin_confirm(&mut self, id: u64, fate: Option<Fate>, request: Option<String>) {
        let Some(own) = self.moves.get_mut(&id) else { return };
        own.phase = Phase::Confirming;
        own.fate = fate;
        own.request = request;
        let server = own.server;
        // The API writes the record and no task state: VERIFY_RESIZE stays what it is until it is done.
        self.mark(id, MigrationStatus::Confirming);
        let after = self.rpc(server) + self.span("confirm", server, self.habits.confirm_ms);
        self.step_after(after, id, Step::Confirmed);
    }

    /// What is deleted in VERIFY_RESIZE is confirmed first, without `confirming` (compute/api.py
    /// `_confirm_resize_on_deleting`). How long that takes.
    pub(super) fn confirm_before_delete(&mut self, server: ServerId) -> u64 {
        let finished = self.move_of(server).filter(|id| self.phase(*id) == Some(Phase::Finished));
        let source_runs = finished.and_then(|id| self.ends(id)).is_some_and(|(_, source, _)| self.hosts[source].alive);
        let Some(id) = finished.filter(|_| source_runs) else { return 0 };
        self.set_phase(id, Phase::Confirming);
        if let Some(own) = self.moves.get_mut(&id) {
            (own.fate, own.request) = (None, None);
        }
        let takes_ms = self.rpc(server) + self.span("confirm", server, self.habits.confirm_ms);
        self.step_after(takes_ms, id, Step::Confirmed);
        // Record and row follow one another.
        takes_ms + self.habits.rpc_ms[1] + 1
    }

    pub(super) fn confirmed(&mut self, id: u64) {
        if self.phase(id) != Some(Phase::Confirming) {
            return;
        }
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, fate, request) = (own.server, own.source, own.fate, own.request.clone());
        if self.waits_for(source, Due::Move(id, Step::Confirmed)) {
            return;
        }
        if fate == Some(Fate::Fails) {
            let text = "Unexpected error while running command.\nCommand: rm -rf".to_owned();
            self.say(server, request.as_deref(), "compute_confirm_resize", "ProcessExecutionError", &text);
            self.set_phase(id, Phase::Failing);
            self.mark(id, MigrationStatus::Error);
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorRow { text, idle: true });
            return;
        }
        self.mark(id, MigrationStatus::Confirmed);
        let after = self.follows(server);
        self.step_after(after, id, Step::ConfirmedRow);
    }

    pub(super) fn confirmed_row(&mut self, id: u64) {
        let Some((server, ..)) = self.ends(id) else { return };
        let running = self.servers[server].running;
        self.set(server, if running { "active" } else { "stopped" }, None);
        self.close(id, Keep::Dest);
    }

    pub(super) fn begin_revert(&mut self, id: u64, request: Option<String>) {
        let Some(own) = self.moves.get_mut(&id) else { return };
        own.phase = Phase::Reverting;
        own.request = request;
        let server = own.server;
        self.mark(id, MigrationStatus::Reverting);
        self.task(server, Some("resize_reverting"));
        let after = self.rpc(server);
        self.step_after(after, id, Step::Reverted);
    }

    /// `revert_resize` on the destination: the record says `reverted` long before the guest is back.
    pub(super) fn reverted(&mut self, id: u64) {
        let Some((server, _, Some(dest))) = self.ends(id) else { return };
        if self.waits_for(dest, Due::Move(id, Step::Reverted)) {
            return;
        }
        self.guest(server, false);
        self.mark(id, MigrationStatus::Reverted);
        let after = self.rpc(server);
        self.step_after(after, id, Step::RevertedHost);
    }

    pub(super) fn reverted_host(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, ran) = (own.server, own.source, own.ran);
        if self.waits_for(source, Due::Move(id, Step::RevertedHost)) {
            return;
        }
        let name = self.hosts[source].name.clone();
        self.edit(server, |row| row.host = Some(name));
        let after = if ran { self.span("start", server, self.habits.start_ms) } else { self.rpc(server) };
        self.step_after(after, id, Step::RevertedRow);
    }

    pub(super) fn reverted_row(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, source, ran) = (own.server, own.source, own.ran);
        if self.waits_for(source, Due::Move(id, Step::RevertedRow)) {
            return;
        }
        if !ran {
            // What was stopped is stopped once more, still in VERIFY_RESIZE (compute/manager.py `_finish_revert_resize`).
            self.task(server, Some("powering-off"));
            let after = self.rpc(server);
            self.step_after(after, id, Step::RevertedOff);
            return;
        }
        self.guest(server, true);
        self.edit(server, |row| {
            "active".clone_into(&mut row.vm_state);
            row.task_state = None;
            row.power_state = Self::power_word(true);
        });
        self.close(id, Keep::Source);
    }

    pub(super) fn reverted_off(&mut self, id: u64) {
        let Some((server, source, _)) = self.ends(id) else { return };
        if self.waits_for(source, Due::Move(id, Step::RevertedOff)) {
            return;
        }
        self.edit(server, |row| {
            "stopped".clone_into(&mut row.vm_state);
            row.task_state = None;
            row.power_state = Self::power_word(false);
        });
        self.close(id, Keep::Source);
    }

    /// How much longer a request takes when the API itself waits for this.
    pub(super) fn waits_ms(took_ms: u64) -> u64 {
        took_ms.min(RPC_TIMEOUT_MS)
    }
}
