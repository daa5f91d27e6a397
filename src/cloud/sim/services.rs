//! Hosts: their nova-compute, its heartbeats, what is claimed of them, how they die and come back.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::What;
use super::moves::Phase;
use super::rows::Kept;
use super::scene::Habits;
use super::world::{Due, HostDue, HostId, ServerId, World};
use crate::cloud::{ComputeService, Host, Hypervisor, Server, ServiceState, ServiceStatus};

/// What a server takes of a host: `VCPU`, `MEMORY_MB`, `DISK_GB`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub vcpus: u64,
    pub memory_mib: u64,
    pub disk_gib: u64,
}

impl Room {
    pub(super) fn of(row: &Server) -> Self {
        Self {
            vcpus: row.flavor.vcpus,
            memory_mib: row.flavor.memory_mib,
            disk_gib: row.local_disk_gib().saturating_add(row.flavor.swap_mib.div_ceil(1024)),
        }
    }
}

/// A compute host as it truly is.
#[derive(Debug)]
pub(super) struct HostState {
    pub name: String,
    pub service: Kept<ComputeService>,
    pub hypervisors: Vec<Hypervisor>,
    pub aggregates: Vec<String>,
    /// Its nova-compute runs.
    pub alive: bool,
    /// It does not run, and yet is not dead: what it was about goes on when it does.
    pub hung: bool,
    /// Counts the lives of its nova-compute: what was begun in one is not carried on in the next.
    pub life: u32,
    /// A heartbeat falls on this moment and every interval after it.
    phase_ms: u64,
    /// While it is not alive: its last heartbeat, which may be before the epoch.
    last_beat_ms: i64,
    /// Servers whose row names it.
    pub servers: BTreeSet<ServerId>,
    /// Migration records that name it as source or destination.
    pub records: BTreeSet<u64>,
    pub claimed: Room,
    pub reserved: Room,
    /// Live migrations that hold a slot of `max_concurrent_live_migrations`, and those behind them.
    pub slots_used: u32,
    pub queue: VecDeque<u64>,
    /// Messages for its nova-compute that wait for it to come back.
    pub waiting: Vec<Due>,
}

impl HostState {
    pub(super) fn new(host: Host, epoch: Timestamp, phase_ms: u64, habits: &Habits) -> Self {
        let down_ms = i64::try_from(habits.service_down_time_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let last = host.service.updated_at.map_or(i64::MIN / 2, |at| at.duration_since(epoch).as_millis() as i64);
        // One that was forced down may well be alive; one that is down otherwise has not been heard of for long.
        let silent = host.service.state == ServiceState::Down && host.service.forced_down != Some(true);
        Self {
            name: host.name,
            service: Kept::new(host.service),
            hypervisors: host.hypervisors,
            aggregates: host.aggregates,
            alive: !silent,
            hung: false,
            life: 0,
            phase_ms,
            last_beat_ms: last.min(down_ms.saturating_neg().saturating_sub(1000)),
            servers: BTreeSet::new(),
            records: BTreeSet::new(),
            claimed: Room::default(),
            reserved: Room::default(),
            slots_used: 0,
            queue: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    /// What the hypervisor says is used and no server of ours uses is kept from all of them.
    pub(super) fn reserve(&mut self) {
        let sum = |field: fn(&Hypervisor) -> Option<u64>| {
            self.hypervisors.iter().filter_map(field).fold(0_u64, u64::saturating_add)
        };
        self.reserved = Room {
            vcpus: sum(|it| it.vcpus_used).saturating_sub(self.claimed.vcpus),
            memory_mib: sum(|it| it.memory_used_mib).saturating_sub(self.claimed.memory_mib),
            disk_gib: sum(|it| it.disk_used_gib).saturating_sub(self.claimed.disk_gib),
        };
    }

    pub(super) fn claim(&mut self, row: &Server) {
        let room = Room::of(row);
        self.claimed.vcpus = self.claimed.vcpus.saturating_add(room.vcpus);
        self.claimed.memory_mib = self.claimed.memory_mib.saturating_add(room.memory_mib);
        self.claimed.disk_gib = self.claimed.disk_gib.saturating_add(room.disk_gib);
    }

    pub(super) fn release(&mut self, row: &Server) {
        let room = Room::of(row);
        self.claimed.vcpus = self.claimed.vcpus.saturating_sub(room.vcpus);
        self.claimed.memory_mib = self.claimed.memory_mib.saturating_sub(room.memory_mib);
        self.claimed.disk_gib = self.claimed.disk_gib.saturating_sub(room.disk_gib);
    }

    /// Milliseconds since the epoch of its last heartbeat at this moment.
    fn beat_at(&self, now_ms: u64, beat_ms: u64) -> i64 {
        if !self.alive {
            return self.last_beat_ms;
        }
        let (now, phase, beat) = (now_ms as i64, self.phase_ms as i64, beat_ms as i64);
        phase + (now - phase).div_euclid(beat) * beat
    }

    pub(super) fn is_up(&self) -> bool {
        self.service.now.state == ServiceState::Up
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.service.now.status == ServiceStatus::Enabled
    }
}

impl World {
    /// The row as it was then, with its heartbeat.
    pub(super) fn service_at(&self, host: HostId, at_ms: u64) -> ComputeService {
        let state = &self.hosts[host];
        let mut row = state.service.at(at_ms).clone();
        let beat = state.beat_at(at_ms, self.beat_ms());
        let passed = jiff::SignedDuration::from_millis(beat);
        let at = self.epoch.checked_add(passed).unwrap_or(self.epoch);
        // A row that begins without says so: some test's cloud has none.
        if row.updated_at.is_some() || self.now_ms > 0 {
            row.updated_at = Timestamp::from_second(at.as_second()).ok();
        }
        if !self.release.has(11) {
            row.forced_down = None;
        }
        row
    }

    pub(super) fn edit_service(&mut self, host: HostId, change: impl FnOnce(&mut ComputeService)) {
        let now_ms = self.now_ms;
        let state = &mut self.hosts[host];
        if self.stale_is_possible {
            state.service.keep(now_ms);
        }
        change(&mut state.service.now);
        let row = &self.hosts[host].service.now;
        self.log.push_with(now_ms, || What::Service(row.clone()));
    }

    /// Its nova-compute dies; nobody is told. With `power`, its guests die too.
    pub(super) fn dies(&mut self, host: HostId, power: bool, back_after_ms: Option<u64>) {
        if self.falls_silent(host) || std::mem::take(&mut self.hosts[host].hung) {
            self.source_died(host);
        } else if power || back_after_ms.is_some() {
            // Whenever it was to return before, it does not.
            self.hosts[host].life += 1;
        }
        if power {
            let servers: Vec<ServerId> = self.hosts[host].servers.iter().copied().collect();
            for server in servers {
                self.guest_dies(host, server);
            }
            self.far_end_died(host);
        }
        if let Some(after) = back_after_ms {
            let life = self.hosts[host].life;
            self.after(after, Due::Host(host, HostDue::Returns { life }));
        }
    }

    /// Its last heartbeat was its last, until it returns.
    fn falls_silent(&mut self, host: HostId) -> bool {
        let (now_ms, beat_ms) = (self.now_ms, self.beat_ms());
        let state = &mut self.hosts[host];
        if !state.alive {
            return false;
        }
        state.last_beat_ms = state.beat_at(now_ms, beat_ms);
        state.alive = false;
        state.life += 1;
        let down_ms = i64::try_from(self.habits.service_down_time_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let at =
            u64::try_from(state.last_beat_ms.saturating_add(down_ms).saturating_add(1)).unwrap_or(0).max(now_ms + 1);
        self.at(at, Due::Host(host, HostDue::TurnsDown));
        true
    }

    pub(super) fn hangs(&mut self, host: HostId) {
        if self.falls_silent(host) {
            self.hosts[host].hung = true;
        }
    }

    /// A guest on a host without power: a copy that already runs elsewhere goes on.
    fn guest_dies(&mut self, host: HostId, server: ServerId) {
        let elsewhere = self.moves.values().any(|own| {
            own.server == server && own.dest != Some(host) && matches!(own.phase, Phase::PostCopy | Phase::Switching)
        });
        if !elsewhere && self.servers[server].running {
            self.guest(server, false);
        }
    }

    pub(super) fn turns_down(&mut self, host: HostId) {
        let state = &self.hosts[host];
        let down_ms = self.habits.service_down_time_s.saturating_mul(1000);
        let since = (self.now_ms as i64).saturating_sub(state.last_beat_ms);
        let silent = u64::try_from(since).is_ok_and(|since| since > down_ms);
        if silent && !state.alive && state.is_up() {
            self.edit_service(host, |row| row.state = ServiceState::Down);
            self.other(|| format!("the nova-compute of {} is seen as down", self.hosts[host].name));
        }
    }

    /// Its nova-compute starts: `init_host` first, then the messages that waited.
    pub(super) fn compute_returns(&mut self, host: HostId, life: u32) {
        let now_ms = self.now_ms;
        let beat_ms = self.beat_ms();
        let state = &mut self.hosts[host];
        if state.alive || state.life != life {
            return;
        }
        state.alive = true;
        // It reports as soon as it starts, and from then on at its interval.
        state.phase_ms = now_ms % beat_ms;
        if state.service.now.forced_down != Some(true) && !state.is_up() {
            self.edit_service(host, |row| row.state = ServiceState::Up);
        }
        self.other(|| format!("the nova-compute of {} is back", self.hosts[host].name));
        if !std::mem::take(&mut self.hosts[host].hung) {
            self.source_returns(host);
            self.guests_after_boot(host);
        }
        for due in std::mem::take(&mut self.hosts[host].waiting) {
            let after = self.draws.next(&["waited", &self.hosts[host].name]).between(self.habits.rpc_ms);
            self.after(after, due);
        }
    }

    /// `resume_guests_state_on_host_boot` starts what ran; else the periodic check finds it off within ten minutes
    /// (compute/manager.py `_init_instance`, `_sync_power_states`).
    fn guests_after_boot(&mut self, host: HostId) {
        let servers: Vec<ServerId> = self.hosts[host].servers.iter().copied().collect();
        for server in servers {
            let slot = &self.servers[server];
            let row = &slot.row.now;
            if slot.running || row.vm_state != "active" || row.task_state.is_some() {
                continue;
            }
            if self.habits.resume_guests_state_on_host_boot {
                self.guest(server, true);
                self.other(|| format!("{} is started with its host", self.servers[server].row.now.name));
            } else {
                let after = self.span("found-off", server, [1_000, 600_000]);
                let life = self.hosts[host].life;
                self.after(after, Due::FoundOff { server, life });
            }
        }
    }

    pub(super) fn found_off(&mut self, server: ServerId, life: u32) {
        let slot = &self.servers[server];
        let row = &slot.row.now;
        let same = self.host_of(server).is_some_and(|host| self.hosts[host].life == life);
        if same && !slot.running && row.vm_state == "active" && row.task_state.is_none() {
            self.edit(server, |row| {
                "stopped".clone_into(&mut row.vm_state);
                row.power_state = Self::power_word(false);
            });
            self.other(|| format!("nova finds {} off", self.servers[server].row.now.name));
        }
    }

    /// A message for this host's nova-compute waits while that does not run.
    pub(super) fn waits_for(&mut self, host: HostId, due: Due) -> bool {
        if self.hosts[host].alive {
            return false;
        }
        self.hosts[host].waiting.push(due);
        true
    }

    pub(super) fn reboot(&mut self, host: HostId, down_for: Option<Duration>) {
        let name = self.hosts[host].name.clone();
        self.other(|| format!("{name} is rebooted"));
        let after_ms = match down_for {
            Some(down) => Some(u64::try_from(down.as_millis()).unwrap_or(u64::MAX)),
            None if self.draws.next(&["never", &name]).chance(self.chances.host_never) => None,
            None => {
                let boot_ms = self.draws.next(&["boot", &name]).between(self.habits.boot_ms);
                let late = self.draws.next(&["late", &name]).chance(self.chances.host_late);
                let times = if late { self.draws.next(&["times", &name]).between([3, 12]) } else { 1 };
                Some(boot_ms.saturating_mul(times))
            }
        };
        self.dies(host, true, after_ms);
    }

    pub(super) fn compute_dies_later(&mut self) {
        let rate = self.chances.compute_dies_per_hour * self.hosts.len() as f64;
        if let Some(after) = self.waiting_time("compute-dies", rate) {
            self.after(after, Due::ComputeDies);
        }
    }

    /// Milliseconds until the next of things that come at random, so many an hour.
    pub(super) fn waiting_time(&mut self, what: &str, per_hour: f64) -> Option<u64> {
        if per_hour <= 0.0 {
            return None;
        }
        let hours = -(1.0 - self.draws.next(&[what]).unit()).ln() / per_hour;
        Some((hours * 3_600_000.0).min(1e15) as u64)
    }

    pub(super) fn some_compute_dies(&mut self) {
        let host = self.draws.next(&["which-compute-dies"]).index(self.hosts.len());
        let never = self.draws.next(&["compute-never-returns"]).chance(self.chances.compute_never_returns);
        let back = self.draws.next(&["compute-returns"]).between(self.habits.boot_ms);
        if self.hosts[host].alive {
            self.other(|| format!("the nova-compute of {} dies", self.hosts[host].name));
            self.dies(host, false, (!never).then_some(back));
        }
        self.compute_dies_later();
    }
}
