//! What becomes of migrations when a nova-compute or a host dies, and when it is back (chaos log of a real Nova;
//! compute/manager.py `_init_instance`, `_reset_live_migration`).

use super::moves::{Keep, Move, Phase, Step};
use super::world::{HostId, World};
use crate::cloud::{MigrationKind, MigrationStatus, ServiceState};

impl World {
    /// The source's nova-compute dies: what it copies stands still, what it had queued is forgotten.
    pub(super) fn source_died(&mut self, host: HostId) {
        let own = |own: &&Move| own.source == host && own.phase == Phase::Copying;
        let copying: Vec<u64> = self.moves.values().filter(own).map(|own| own.id).collect();
        for id in copying {
            self.end_flow(id);
        }
    }

    /// A host lost power: what was being copied to it breaks, and a guest in post-copy is lost.
    pub(super) fn far_end_died(&mut self, host: HostId) {
        let towards = |own: &&Move| own.dest == Some(host) || (own.source == host && own.phase == Phase::PostCopy);
        let ids: Vec<u64> = self.moves.values().filter(towards).map(|own| own.id).collect();
        for id in ids {
            let Some(own) = self.moves.get(&id) else { continue };
            let (server, phase, live, source) = (own.server, own.phase, own.kind == MigrationKind::Live, own.source);
            match (live, phase) {
                (true, Phase::Copying) if self.hosts[source].alive => self.live_breaks(id),
                (true, Phase::PostCopy) => {
                    self.guest(server, false);
                    if self.hosts[source].alive {
                        self.set_phase(id, Phase::Failing);
                        self.mark(id, MigrationStatus::Error);
                        let text = "the guest was lost in post-copy".to_owned();
                        self.step_after(5_000, id, Step::ErrorRow { text, idle: true });
                    }
                }
                (false, Phase::Copying) if self.hosts[source].alive => {
                    self.cut_copy(id);
                    self.mark(id, MigrationStatus::Error);
                    let text = "Connection reset by peer while copying disks".to_owned();
                    self.step_after(2_000, id, Step::ErrorRow { text, idle: false });
                }
                _ => {}
            }
        }
    }

    /// `_init_instance` of a nova-compute that starts: a server found migrating becomes idle, its record `error` when
    /// that says `running`, and is forgotten in every other state (compute/manager.py `_reset_live_migration`).
    pub(super) fn source_returns(&mut self, host: HostId) {
        let ids: Vec<u64> = self.moves.values().filter(|own| own.source == host).map(|own| own.id).collect();
        self.hosts[host].queue.clear();
        for id in ids {
            let Some(own) = self.moves.get(&id) else { continue };
            let (server, live, phase) = (own.server, own.kind == MigrationKind::Live, own.phase);
            match (live, phase) {
                (true, Phase::Copying) => {
                    self.set_phase(id, Phase::Failing);
                    self.mark(id, MigrationStatus::Error);
                    let after = self.rpc(server);
                    self.step_after(after, id, Step::IdleRow);
                }
                (true, Phase::Queued | Phase::Preparing | Phase::PostCopy) => {
                    let vm_state = self.moves.get(&id).map(|own| own.vm_state.clone()).unwrap_or_default();
                    self.set(server, &vm_state, None);
                    self.close(id, Keep::Both);
                }
                (false, Phase::Copying) => self.cold_reset(id),
                _ => {}
            }
        }
    }

    /// Whether Nova thinks that a host's nova-compute is up.
    pub(super) fn is_up(&self, host: HostId) -> bool {
        self.hosts[host].service.now.state == ServiceState::Up
    }
}
