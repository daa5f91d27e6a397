//! Everybody else: owners, other admins, builds. They act through the same API and are refused by the same rules.

use super::faults::Happening;
use super::world::{Due, HostId, ServerId, World};
use super::{What, rows};
use crate::cloud::{Ask, BlockMigration, MigrationKind, PowerState, Server, ServiceState, ServiceStatus};

/// A build after its row was made, until it is on its host; and from there until it runs.
const CLAIM_MS: [u64; 2] = [500, 40_000];
const BUILD_MS: [u64; 2] = [2_000, 30_000];
/// From `deleting` to gone.
const DELETE_MS: [u64; 2] = [300, 5_000];
/// How long an owner waits before a resize is confirmed.
const CONFIRM_MS: [u64; 2] = [60_000, 3_600_000];
/// What others do: weights of a draw.
const ACTS: [(f64, Act); 10] = [
    (0.20, Act::Stop),
    (0.15, Act::Start),
    (0.12, Act::Delete),
    (0.15, Act::Arrive),
    (0.10, Act::Resize),
    (0.10, Act::Migrate),
    (0.12, Act::Reboot),
    (0.03, Act::Pause),
    (0.015, Act::Disable),
    (0.015, Act::Enable),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Stop,
    Start,
    Delete,
    Arrive,
    Resize,
    Migrate,
    Reboot,
    Pause,
    Disable,
    Enable,
}

impl World {
    pub(super) fn somebody_later(&mut self) {
        if let Some(after) = self.waiting_time("others", self.chances.others_per_hour) {
            self.after(after, Due::Others);
        }
    }

    /// Somebody does something to some server or host.
    pub(super) fn others(&mut self) {
        let act = super::fates::pick(self.draws.next(&["act"]), &ACTS);
        let which = self.draws.next(&["act-on"]);
        let candidate = |slot: &super::world::Slot| {
            let row = &slot.row.now;
            let state = row.vm_state.as_str();
            let fits = match act {
                Some(Act::Start) => state == "stopped",
                Some(Act::Delete | Act::Resize) => matches!(state, "active" | "stopped"),
                _ => state == "active",
            };
            fits && !slot.deleted && row.task_state.is_none() && row.host.is_some()
        };
        let servers: Vec<ServerId> = (0..self.servers.len()).filter(|id| candidate(&self.servers[*id])).collect();
        let server = servers.get(which.index(servers.len())).map(|id| self.servers[*id].row.now.id.clone());
        let host = self.hosts.get(which.index(self.hosts.len())).map(|host| host.name.clone());
        let happening = match (act, server, host) {
            (Some(Act::Stop), Some(server), _) => Some(Happening::Stops { server }),
            (Some(Act::Start), Some(server), _) => Some(Happening::Starts { server }),
            (Some(Act::Delete), Some(server), _) => Some(Happening::Deletes { server }),
            (Some(Act::Arrive), Some(like), _) => {
                self.schedule_like(&like).map(|host| Happening::Arrives { host, like })
            }
            (Some(Act::Resize), Some(server), _) => {
                let confirms = self.draws.next(&["confirms"]).chance(0.8);
                let after = self.draws.next(&["confirm-after"]).between(CONFIRM_MS);
                Some(Happening::Resizes { server, confirm_after_ms: confirms.then_some(after) })
            }
            (Some(Act::Migrate), Some(server), _) => Some(Happening::Migrates { server, to: None }),
            (Some(Act::Reboot), Some(server), _) => {
                self.reboots(&server);
                None
            }
            (Some(Act::Pause), Some(server), _) => Some(Happening::Pauses { server }),
            (Some(Act::Disable), _, Some(host)) => {
                Some(Happening::Disabled { host, reason: "AUTO: Connection to libvirt lost".to_owned() })
            }
            (Some(Act::Enable), _, Some(host)) => Some(Happening::Enabled { host }),
            _ => None,
        };
        if let Some(happening) = happening {
            self.happens(happening);
        }
        self.somebody_later();
    }

    /// A host that the scheduler would give to a new server like this one.
    fn schedule_like(&self, like: &str) -> Option<String> {
        let like = self.find(like)?;
        self.schedule(like, None, &[]).map(|host| self.hosts[host].name.clone())
    }

    pub(super) fn find(&self, of: &str) -> Option<ServerId> {
        let by_name = || self.servers.iter().position(|slot| !slot.deleted && slot.row.now.name == of);
        self.server_ids.get(of).copied().or_else(by_name).filter(|server| !self.servers[*server].deleted)
    }

    pub(super) fn happens(&mut self, happening: Happening) {
        self.other(|| format!("{happening:?}"));
        match happening {
            Happening::ComputeDies { host, back_after_ms } => self.on_host(&host, |world, host| {
                world.dies(host, false, back_after_ms);
            }),
            Happening::ComputeHangs { host } => self.on_host(&host, Self::hangs),
            Happening::ComputeReturns { host } => self.on_host(&host, |world, host| {
                let life = world.hosts[host].life;
                world.compute_returns(host, life);
            }),
            Happening::HostDies { host, back_after_ms } => self.on_host(&host, |world, host| {
                world.dies(host, true, back_after_ms);
            }),
            Happening::Disabled { host, reason } => self.on_host(&host, |world, host| {
                if world.hosts[host].is_enabled() {
                    world.edit_service(host, |row| {
                        row.status = ServiceStatus::Disabled;
                        row.disabled_reason = Some(reason);
                    });
                }
            }),
            Happening::Enabled { host } => self.on_host(&host, |world, host| {
                world.edit_service(host, |row| {
                    row.status = ServiceStatus::Enabled;
                    row.disabled_reason = None;
                });
            }),
            Happening::ForcedDown { host, down } => self.on_host(&host, |world, host| {
                let alive = world.hosts[host].alive;
                world.edit_service(host, |row| {
                    row.forced_down = Some(down);
                    row.state = if down || !alive { ServiceState::Down } else { ServiceState::Up };
                });
            }),
            Happening::Stops { server } => self.asks(&server, |server| Ask::Stop { server }),
            Happening::Starts { server } => self.asks(&server, |server| Ask::Start { server }),
            Happening::Migrates { server, to } => self.asks(&server, |server| Ask::LiveMigrate {
                server,
                host: to,
                block_migration: BlockMigration::Auto,
            }),
            Happening::Deletes { server } => {
                if let Some(server) = self.find(&server) {
                    // Whatever its task state is: delete ignores it (compute/api.py `delete`).
                    self.task(server, Some("deleting"));
                    let confirms_ms = self.confirm_before_delete(server);
                    let after = confirms_ms + self.span("delete", server, DELETE_MS);
                    self.after(after, Due::Deleted(server));
                }
            }
            Happening::Resizes { server, confirm_after_ms } => {
                if let Some(server) = self.find(&server)
                    && self.allows(server, "resize", &["active", "stopped"]).is_ok()
                {
                    let _ = self.cold(server, None, MigrationKind::Resize, confirm_after_ms, None, None);
                }
            }
            Happening::Pauses { server } => {
                if let Some(server) = self.find(&server)
                    && self.allows(server, "pause", &["active"]).is_ok()
                {
                    self.guest(server, false);
                    self.edit(server, |row| {
                        "paused".clone_into(&mut row.vm_state);
                        row.power_state = PowerState::Paused;
                    });
                }
            }
            Happening::Locks { server } => {
                if let Some(server) = self.find(&server) {
                    self.edit(server, |row| row.locked = Some(true));
                }
            }
            Happening::Arrives { host, like } => {
                let like = self.find(&like);
                self.on_host(&host, |world, host| {
                    if let Some(like) = like {
                        world.build(host, like);
                    }
                });
            }
            Happening::Outage { for_ms } => self.outage(for_ms),
        }
    }

    fn on_host(&mut self, name: &str, act: impl FnOnce(&mut Self, HostId)) {
        if let Some(host) = self.host_ids.get(name).copied() {
            act(self, host);
        }
    }

    fn asks(&mut self, server: &str, ask: impl FnOnce(String) -> Ask) {
        if let Some(server) = self.find(server) {
            let ask = ask(self.servers[server].row.now.id.clone());
            // Refused is refused: nobody hears of it.
            let _ = self.take(&ask, None, None);
        }
    }

    fn reboots(&mut self, server: &str) {
        let Some(server) = self.find(server) else { return };
        self.other(|| format!("the owner of {} reboots it", self.servers[server].row.now.name));
        self.guest(server, false);
        self.task(server, Some("rebooting_hard"));
        let after = self.span("start", server, self.habits.start_ms);
        self.after(after, Due::Rebooted(server));
    }

    pub(super) fn rebooted(&mut self, server: ServerId) {
        let slot = &self.servers[server];
        if slot.deleted || slot.row.now.task_state.as_deref() != Some("rebooting_hard") {
            return;
        }
        if let Some(host) = self.host_of(server)
            && self.waits_for(host, Due::Rebooted(server))
        {
            return;
        }
        self.guest(server, true);
        self.task(server, None);
    }

    pub(super) fn owner_confirms(&mut self, server: ServerId) {
        if !self.servers[server].deleted {
            let ask = Ask::ConfirmResize { server: self.servers[server].row.now.id.clone() };
            let _ = self.take(&ask, None, None);
        }
    }

    /// The row goes to DELETED, its records with it, and its room is free.
    pub(super) fn deleted(&mut self, server: ServerId) {
        if self.servers[server].deleted {
            return;
        }
        match self.move_of(server) {
            Some(id) => self.close(id, super::moves::Keep::Neither),
            None => {
                if let Some(host) = self.host_of(server) {
                    self.hosts[host].release(&self.servers[server].row.now);
                }
            }
        }
        if let Some(host) = self.host_of(server) {
            self.hosts[host].servers.remove(&server);
        }
        self.guest(server, false);
        let slot = &mut self.servers[server];
        slot.deleted = true;
        slot.down_since_ms = None;
        self.set(server, "deleted", None);
        // The row is saved as deleted before it is taken away, and its records with it.
        let after = self.rpc(server);
        self.after(after, Due::RecordsGo(server));
        let id = &self.servers[server].row.now.id;
        self.log.push_with(self.now_ms, || What::ServerGone { id: id.clone() });
    }

    // ---- builds -------------------------------------------------------------------------------------------------

    /// A new server like another one, scheduled to this host already.
    fn build(&mut self, host: HostId, like: ServerId) {
        let id = self.uuid("server");
        let stamp = self.stamp(self.now_ms);
        let row = Server {
            name: format!("new-{}", id.get(..8).unwrap_or_default()),
            id,
            status: rows::status("building", Some("scheduling")),
            vm_state: "building".to_owned(),
            task_state: Some("scheduling".to_owned()),
            power_state: PowerState::NoState,
            host: None,
            zone: None,
            pinned_zone: None,
            volumes: Vec::new(),
            locked: Some(false),
            fault: None,
            created_at: Some(stamp),
            updated_at: Some(stamp),
            ..self.servers[like].row.now.clone()
        };
        self.hosts[host].claim(&row);
        let server = self.add(row);
        let after = self.span("build", server, CLAIM_MS);
        self.after(after, Due::Built { server, host, done: false });
    }

    pub(super) fn built(&mut self, server: ServerId, host: HostId, done: bool) {
        if self.servers[server].deleted || self.waits_for(host, Due::Built { server, host, done }) {
            return;
        }
        if done {
            self.guest(server, true);
            self.edit(server, |row| {
                "active".clone_into(&mut row.vm_state);
                row.task_state = None;
                row.power_state = PowerState::Running;
            });
            return;
        }
        let name = self.hosts[host].name.clone();
        self.edit(server, |row| {
            row.host = Some(name);
            row.task_state = Some("spawning".to_owned());
        });
        let after = self.span("build", server, BUILD_MS);
        self.after(after, Due::Built { server, host, done: true });
    }
}
