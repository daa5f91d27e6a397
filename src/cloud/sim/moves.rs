//! What live and cold migrations have in common: the migration as Nova has it in hand, its steps, its claims and its
//! end. A record is what Nova shows; a [`Move`] is what truly goes on.

use super::faults::Fate;
use super::network::Remaining;
use super::world::{HostId, ServerId, World};
use crate::cloud::{BlockMigration, MigrationKind, MigrationStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// With the conductor and the scheduler.
    Scheduling,
    /// Waiting for a slot of the source.
    Queued,
    Preparing,
    /// Bytes are copied.
    Copying,
    PostCopy,
    /// The guest is on the destination, its row is not yet.
    Switching,
    /// Cold: between two saves of Nova's; nothing can be cut.
    Saving,
    /// Cold: VERIFY_RESIZE.
    Finished,
    Confirming,
    Reverting,
    /// It has come to nothing, and rows follow.
    Failing,
}

/// What comes next. Each is ignored when the move has left the phase it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    // live, in their order
    LiveScheduled,
    LiveOffered,
    LivePrepare,
    LivePrepared,
    LiveHalfWay,
    LiveTimeout,
    LiveToPostCopy,
    LiveCopied,
    LiveHostSaved,
    LivePostTimeout,
    LiveCompleted,
    AbortArrives {
        server: ServerId,
        obeyed: bool,
        request: Option<String>,
    },
    // cold, in their order
    ColdScheduled,
    ColdClaimed,
    ColdMigrating,
    ColdPowerOff,
    ColdOff,
    ColdCopied,
    ColdHostSaved,
    ColdFinish,
    ColdStarted,
    ColdVerify,
    Confirmed,
    ConfirmedRow,
    Reverted,
    RevertedHost,
    RevertedRow,
    RevertedOff,
    // failures
    /// The record first, then the row, as it was before.
    Refused,
    /// Nova did not expect it: the record, then the row in ERROR.
    Fatal {
        text: String,
    },
    /// The row is idle first, then the record.
    RolledBack {
        status: MigrationStatus,
    },
    /// The row, after its record.
    IdleRow,
    RecordEnds {
        status: MigrationStatus,
    },
    /// The row says ERROR: the record follows; from there the task state does, or nothing is left.
    ErrorsOnDest {
        text: String,
    },
    ErrorRecord {
        text: String,
    },
    EndsOnDest,
    /// The record is `error` already: the row follows, with this fault.
    ErrorRow {
        text: String,
        idle: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Move {
    pub id: u64,
    pub server: ServerId,
    pub kind: MigrationKind,
    pub source: HostId,
    /// Where its room is claimed.
    pub dest: Option<HostId>,
    pub wanted: Option<HostId>,
    pub fate: Option<Fate>,
    /// Of the instance action.
    pub request: Option<String>,
    /// vm_state before, and whether the guest executed.
    pub vm_state: String,
    pub ran: bool,
    pub phase: Phase,
    pub disk_gib: u64,
    /// Withdrawn while it was prepared.
    pub withdrawn: bool,
    /// It holds a slot of its source.
    pub has_slot: bool,
    /// When its bytes were last looked at, and what was left.
    pub sampled: Option<(u64, Remaining)>,
    /// The network carries it.
    pub flows: bool,
    pub block: BlockMigration,
    /// Its owner confirms it after so long.
    pub confirm_after_ms: Option<u64>,
}

impl World {
    pub(super) fn step(&mut self, id: u64, step: Step) {
        if !self.moves.contains_key(&id) && !matches!(step, Step::AbortArrives { .. }) {
            return;
        }
        match step {
            Step::LiveScheduled => self.live_scheduled(id),
            Step::LiveOffered => self.live_offered(id),
            Step::LivePrepare => self.live_prepare(id),
            Step::LivePrepared => self.live_prepared(id),
            Step::LiveHalfWay => self.live_half_way(id),
            Step::LiveTimeout => self.live_timeout(id),
            Step::LiveToPostCopy => self.live_to_post_copy(id),
            Step::LiveCopied => self.live_copied(id),
            Step::LiveHostSaved => self.live_host_saved(id),
            Step::LivePostTimeout => self.live_post_timeout(id),
            Step::LiveCompleted => self.live_completed(id),
            Step::AbortArrives { server, obeyed, request } => {
                self.abort_arrives(id, server, obeyed, request.as_deref())
            }
            Step::ColdScheduled => self.cold_scheduled(id),
            Step::ColdClaimed => self.cold_claimed(id),
            Step::ColdMigrating => self.cold_migrating(id),
            Step::ColdPowerOff => self.cold_power_off(id),
            Step::ColdOff => self.cold_off(id),
            Step::ColdCopied => self.cold_copied(id),
            Step::ColdHostSaved => self.cold_host_saved(id),
            Step::ColdFinish => self.cold_finish(id),
            Step::ColdStarted => self.cold_started(id),
            Step::ColdVerify => self.cold_verify(id),
            Step::Confirmed => self.confirmed(id),
            Step::ConfirmedRow => self.confirmed_row(id),
            Step::Reverted => self.reverted(id),
            Step::RevertedHost => self.reverted_host(id),
            Step::RevertedRow => self.reverted_row(id),
            Step::RevertedOff => self.reverted_off(id),
            Step::Refused => self.refused(id),
            Step::Fatal { text } => self.fatal(id, &text),
            Step::RolledBack { status } => self.rolled_back(id, status),
            Step::IdleRow => self.idle_row(id),
            Step::RecordEnds { status } => self.record_ends(id, status),
            Step::ErrorsOnDest { text } => self.errors_on_dest(id, text),
            Step::ErrorRecord { text } => self.error_record(id, text),
            Step::EndsOnDest => self.ends_on_dest(id),
            Step::ErrorRow { text, idle } => self.error_row(id, &text, idle),
        }
    }

    pub(super) fn phase(&self, id: u64) -> Option<Phase> {
        self.moves.get(&id).map(|own| own.phase)
    }

    pub(super) fn set_phase(&mut self, id: u64, phase: Phase) {
        if let Some(own) = self.moves.get_mut(&id) {
            own.phase = phase;
        }
    }

    /// The server, source and destination of a move in hand.
    pub(super) fn ends(&self, id: u64) -> Option<(ServerId, HostId, Option<HostId>)> {
        self.moves.get(&id).map(|own| (own.server, own.source, own.dest))
    }

    pub(super) fn move_of(&self, server: ServerId) -> Option<u64> {
        self.servers[server].records.iter().rev().copied().find(|id| self.moves.contains_key(id))
    }

    /// Doubled allocations: the destination's room is taken while the source's still is.
    pub(super) fn claim(&mut self, id: u64, dest: HostId) {
        let Some(own) = self.moves.get_mut(&id) else { return };
        own.dest = Some(dest);
        self.hosts[dest].claim(&self.servers[own.server].row.now);
    }

    /// Nothing more will happen: one of both claims goes, and the slot.
    pub(super) fn close(&mut self, id: u64, keep: Keep) {
        self.end_flow(id);
        let Some(own) = self.moves.remove(&id) else { return };
        let row = &self.servers[own.server].row.now;
        match (keep, own.dest) {
            (Keep::Source, Some(dest)) => self.hosts[dest].release(row),
            (Keep::Dest, Some(_)) => self.hosts[own.source].release(row),
            (Keep::Neither, dest) => {
                self.hosts[own.source].release(row);
                if let Some(dest) = dest {
                    self.hosts[dest].release(row);
                }
            }
            (Keep::Both | Keep::Source | Keep::Dest, _) => {}
        }
        self.hosts[own.source].queue.retain(|queued| *queued != id);
        if own.has_slot {
            self.free_slot(own.source);
        }
    }

    // ---- failures -----------------------------------------------------------------------------------------------

    /// Scheduling or pre-checks failed: the record says so first, and a moment later the row is as before.
    fn refused(&mut self, id: u64) {
        let Some((server, ..)) = self.ends(id) else { return };
        self.mark(id, MigrationStatus::Error);
        let after = self.follows(server);
        self.step_after(after, id, Step::IdleRow);
    }

    /// Up to Ocata the task state is left behind (conductor/manager.py `_live_migrate`).
    fn fatal(&mut self, id: u64, text: &str) {
        let Some((server, ..)) = self.ends(id) else { return };
        self.mark(id, MigrationStatus::Error);
        if self.release.does(43) {
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorRow { text: text.to_owned(), idle: true });
            return;
        }
        self.edit(server, |row| {
            "error".clone_into(&mut row.vm_state);
            row.fault = Some(text.to_owned());
        });
        self.close(id, Keep::Source);
    }

    fn idle_row(&mut self, id: u64) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, vm_state) = (own.server, own.vm_state.clone());
        self.set(server, &vm_state, None);
        self.close(id, Keep::Source);
    }

    fn rolled_back(&mut self, id: u64, status: MigrationStatus) {
        let Some(own) = self.moves.get(&id) else { return };
        let (server, vm_state, source) = (own.server, own.vm_state.clone(), own.source);
        if self.waits_for(source, super::world::Due::Move(id, Step::RolledBack { status: status.clone() })) {
            return;
        }
        self.set(server, &vm_state, None);
        let after = self.follows(server);
        self.step_after(after, id, Step::RecordEnds { status });
    }

    fn record_ends(&mut self, id: u64, status: MigrationStatus) {
        self.mark(id, status);
        self.close(id, Keep::Source);
    }

    /// `finish_resize`: the row before the record, where the other failures have it the other way round.
    fn errors_on_dest(&mut self, id: u64, text: String) {
        let Some((server, ..)) = self.ends(id) else { return };
        self.edit(server, |row| {
            "error".clone_into(&mut row.vm_state);
            row.fault = Some(text.clone());
        });
        let after = self.rpc(server);
        self.step_after(after, id, Step::ErrorRecord { text });
    }

    fn error_record(&mut self, id: u64, text: String) {
        let Some((server, ..)) = self.ends(id) else { return };
        self.mark(id, MigrationStatus::Error);
        let after = self.rpc(server);
        self.step_after(after, id, Step::ErrorRow { text, idle: true });
    }

    /// Before 2023.1 the source only logs what its destination says (compute/manager.py `_post_live_migration`).
    fn ends_on_dest(&mut self, id: u64) {
        self.mark(id, if self.release.does(95) { MigrationStatus::Error } else { MigrationStatus::Completed });
        self.close(id, Keep::Dest);
    }

    fn error_row(&mut self, id: u64, text: &str, idle: bool) {
        let Some((server, source, dest)) = self.ends(id) else { return };
        // The power state stays what it was last said to be: nobody asks the hypervisor.
        self.edit(server, |row| {
            "error".clone_into(&mut row.vm_state);
            row.fault = Some(text.to_owned());
            if idle {
                row.task_state = None;
            }
        });
        if !idle {
            let after = self.rpc(server);
            self.step_after(after, id, Step::ErrorRow { text: text.to_owned(), idle: true });
            return;
        }
        let host = self.host_of(server);
        self.close(id, if host == dest && host != Some(source) { Keep::Dest } else { Keep::Source });
    }
}

/// Whose claim stays when a move is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Source,
    Dest,
    /// Nova forgot the move and never tidied up: the destination's room stays taken.
    Both,
    Neither,
}
