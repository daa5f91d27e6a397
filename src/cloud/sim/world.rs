//! The rows of the cloud, their indexes, and what is due: everything that happens is an entry of one queue, processed in
//! order of time whenever somebody looks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::api::Answer;
use super::fates::Script;
use super::faults::{Chances, Fate, Happening};
use super::moves::{Move, Step};
use super::network::Network;
use super::rng::{Draw, Draws};
use super::rows::{self, Kept, Release};
use super::scene::{Habits, Scene};
use super::services::HostState;
use super::{Counts, Log, What};
use crate::cloud::{
    Aggregate, Ask, Capabilities, Gap, Migration, MigrationKind, MigrationStatus, PowerState, Server, ServerGroup,
};

/// An index of a host; of a server.
pub(super) type HostId = usize;
pub(super) type ServerId = usize;

/// Something that will happen at a moment.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// A request of the run reaches Nova.
    Request(u64),
    /// The conductor takes a move in hand, and makes its record.
    Begins(Box<Move>),
    Move(u64, Step),
    Power {
        server: ServerId,
        on: bool,
        phase: u8,
        /// Of the instance action.
        request: Option<String>,
    },
    Host(HostId, HostDue),
    Built {
        server: ServerId,
        host: HostId,
        done: bool,
    },
    Happens(Happening),
    /// Somebody, somewhere, does something.
    Others,
    /// Some nova-compute dies.
    ComputeDies,
    /// A guest found off after its host's reboot is said to be.
    FoundOff {
        server: ServerId,
        life: u32,
    },
    /// The owner of a foreign resize confirms it.
    OwnerConfirms(ServerId),
    Rebooted(ServerId),
    Deleted(ServerId),
    RecordsGo(ServerId),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum HostDue {
    /// Its nova-compute starts.
    Returns { life: u32 },
    /// Its last heartbeat is too long ago.
    TurnsDown { life: u32 },
}

/// A server, and what no row shows of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub row: Kept<Server>,
    /// The guest executes.
    pub running: bool,
    pub ran_at_start: bool,
    pub down_since_ms: Option<u64>,
    pub group: Option<usize>,
    pub records: Vec<u64>,
    pub deleted: bool,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Ticket {
    pub ask: Ask,
    pub fate: Option<Fate>,
    pub request_id: String,
    /// Once it arrived: the answer, and how much longer than its way back it takes.
    pub answered: Option<(Answer, u64)>,
}

pub(super) struct World {
    pub log: Log,
    pub epoch: Timestamp,
    pub now_ms: u64,
    pub habits: Habits,
    pub chances: Chances,
    pub script: Script,
    pub capabilities: Capabilities,
    pub release: Release,
    pub draws: Draws,
    pub counts: Counts,
    pub hosts: Vec<HostState>,
    pub host_ids: BTreeMap<String, HostId>,
    pub servers: Vec<Slot>,
    /// Looked up only, never walked: its order means nothing.
    pub server_ids: HashMap<String, ServerId>,
    /// Rows by the second of their last change.
    pub server_changes: BTreeSet<(i64, ServerId)>,
    pub records: BTreeMap<u64, Kept<Migration>>,
    /// Records by the second of their last change; one that never changed is not among them.
    pub record_changes: BTreeSet<(i64, u64)>,
    pub moves: BTreeMap<u64, Move>,
    pub groups: Vec<ServerGroup>,
    pub aggregates: Vec<Aggregate>,
    pub gaps: Vec<Gap>,
    pub network: Network,
    due: BTreeMap<(u64, u64), Due>,
    order: u64,
    pub tickets: BTreeMap<u64, Ticket>,
    next_ticket: u64,
    next_record: u64,
    /// Nova's words about failed actions, by server and request id.
    pub said: BTreeMap<(ServerId, String), String>,
    pub outage_until_ms: u64,
    stale_is_possible: bool,
    made: u64,
}

/// Habits out of their range (`Habits::check` tells which) are Nova's defaults, and said to be.
fn network(habits: &Habits, log: &Log) -> Network {
    let made = Network::new(&habits.network, &habits.rack_of_host);
    made.unwrap_or_else(|error| {
        tracing::warn!(%error, "the network is as by default");
        log.push_with(0, || What::Other { text: format!("{error}; the network is as by default") });
        Network::by_default(&habits.rack_of_host)
    })
}

impl World {
    pub(super) fn new(scene: Scene, log: Log) -> Self {
        let Scene { inventory, epoch, seed, habits, faults, .. } = scene;
        let draws = Draws::new(seed);
        let release = Release::new(inventory.capabilities, habits.behind, draws.fixed(&["release"]).chance(0.5));
        let script = Script::new(faults.script);
        let stale_is_possible = faults.chances.stale > 0.0 || script.reads_stale();
        let next_record =
            inventory.migrations.iter().map(|record| record.id).max().unwrap_or(0).max(habits.migration_ids_from) + 1;
        let network = network(&habits, &log);
        let mut world = Self {
            log,
            epoch,
            now_ms: 0,
            chances: faults.chances,
            capabilities: inventory.capabilities,
            release,
            draws,
            counts: Counts::default(),
            hosts: Vec::new(),
            host_ids: BTreeMap::new(),
            servers: Vec::new(),
            server_ids: HashMap::new(),
            server_changes: BTreeSet::new(),
            records: BTreeMap::new(),
            record_changes: BTreeSet::new(),
            moves: BTreeMap::new(),
            groups: inventory.groups,
            aggregates: inventory.aggregates,
            gaps: inventory.gaps,
            network,
            due: BTreeMap::new(),
            order: 0,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            next_record,
            said: BTreeMap::new(),
            outage_until_ms: 0,
            stale_is_possible,
            made: 0,
            habits,
            script,
        };
        world.populate(inventory.hosts, inventory.servers, inventory.migrations);
        for (at_ms, happening) in world.script.moments() {
            world.at(at_ms, Due::Happens(happening));
        }
        world.somebody_later();
        world.compute_dies_later();
        world
    }

    fn populate(&mut self, hosts: Vec<crate::cloud::Host>, servers: Vec<Server>, migrations: Vec<Migration>) {
        let mut hosts = hosts;
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        for host in hosts {
            let phase_ms = self.draws.fixed(&["heartbeat", &host.name]).between([0, self.beat_ms() - 1]);
            let id = self.hosts.len();
            self.host_ids.insert(host.name.clone(), id);
            let state = HostState::new(host, self.epoch, phase_ms, &self.habits);
            self.log.push_with(0, || What::Service(state.service.now.clone()));
            self.hosts.push(state);
        }
        for row in servers {
            self.add(row);
        }
        for (index, group) in self.groups.iter().enumerate() {
            for member in &group.members {
                if let Some(server) = self.server_ids.get(member) {
                    self.servers[*server].group = Some(index);
                }
            }
        }
        for host in &mut self.hosts {
            host.reserve();
        }
        let mut migrations = migrations;
        migrations.sort_by_key(|record| record.id);
        for record in migrations {
            self.log.push_with(0, || What::Migration(record.clone()));
            let id = record.id;
            self.index_record(&record);
            self.records.insert(id, Kept::new(record));
            self.take_up(id);
        }
    }

    /// A server comes into being: it takes its room.
    pub(super) fn add(&mut self, mut row: Server) -> ServerId {
        if rows::status(&row.vm_state, row.task_state.as_deref()) != row.status
            && let Some(vm_state) = rows::vm_state(&row.status)
        {
            row.vm_state = vm_state.to_owned();
        }
        let id = self.servers.len();
        let running = rows::runs(&row);
        self.log.push_with(self.now_ms, || What::Server(Box::new(row.clone())));
        self.server_ids.insert(row.id.clone(), id);
        if let Some(at) = row.updated_at {
            self.server_changes.insert((at.as_second(), id));
        }
        if let Some(host) = row.host.as_ref().and_then(|host| self.host_ids.get(host)).copied() {
            self.hosts[host].servers.insert(id);
            self.hosts[host].claim(&row);
        }
        self.servers.push(Slot {
            row: Kept::new(row),
            running,
            ran_at_start: running && self.now_ms == 0,
            down_since_ms: None,
            group: None,
            records: Vec::new(),
            deleted: false,
        });
        id
    }

    /// The wall clock at this moment.
    pub(super) fn wall(&self, at_ms: u64) -> Timestamp {
        let passed = SignedDuration::from_millis(i64::try_from(at_ms).unwrap_or(i64::MAX));
        self.epoch.checked_add(passed).unwrap_or(self.epoch)
    }

    /// The same as Nova's database keeps it, and as `Date` says it: in whole seconds.
    pub(super) fn stamp(&self, at_ms: u64) -> Timestamp {
        let wall = self.wall(at_ms);
        Timestamp::from_second(wall.as_second()).unwrap_or(wall)
    }

    pub(super) fn beat_ms(&self) -> u64 {
        self.habits.report_interval_s.max(1) * 1000
    }

    /// Draws how long something takes for one server.
    pub(super) fn span(&mut self, what: &str, server: ServerId, span: [u64; 2]) -> u64 {
        self.draw(what, server).between(span)
    }

    pub(super) fn draw(&mut self, what: &str, server: ServerId) -> Draw {
        self.draws.next(&[what, &self.servers[server].row.now.id])
    }

    /// One hand-over between two of Nova's services.
    pub(super) fn rpc(&mut self, server: ServerId) -> u64 {
        self.span("rpc", server, self.habits.rpc_ms)
    }

    pub(super) fn at(&mut self, at_ms: u64, due: Due) {
        self.order += 1;
        self.due.insert((at_ms, self.order), due);
    }

    /// Never at once: what is made to follow must not be able to follow for ever within one moment.
    pub(super) fn after(&mut self, ms: u64, due: Due) {
        self.at(self.now_ms.saturating_add(ms.max(1)), due);
    }

    pub(super) fn step_after(&mut self, ms: u64, id: u64, step: Step) {
        self.after(ms, Due::Move(id, step));
    }

    /// Everything up to this moment happens.
    pub(super) fn advance(&mut self, to_ms: u64) {
        loop {
            let due = self.due.first_key_value().map(|((at, _), _)| *at);
            let copied = self.network.next_end();
            match (due, copied) {
                (due, Some((at, flow))) if at <= to_ms && due.is_none_or(|due| at < due) => {
                    self.now_ms = self.now_ms.max(at);
                    self.copied(flow);
                }
                (Some(at), _) if at <= to_ms => {
                    self.now_ms = self.now_ms.max(at);
                    if let Some((_, due)) = self.due.pop_first() {
                        self.happen(due);
                    }
                }
                _ => break,
            }
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Request(ticket) => self.arrives(ticket),
            Due::Begins(own) => self.begins(*own),
            Due::Move(id, step) => self.step(id, step),
            Due::Power { server, on, phase, request } => self.power(server, on, phase, request),
            Due::Host(host, HostDue::Returns { life }) => self.compute_returns(host, life),
            Due::Host(host, HostDue::TurnsDown { life }) => self.turns_down(host, life),
            Due::Built { server, host, done } => self.built(server, host, done),
            Due::Happens(happening) => self.happens(happening),
            Due::Others => self.others(),
            Due::ComputeDies => self.some_compute_dies(),
            Due::FoundOff { server, life } => self.found_off(server, life),
            Due::OwnerConfirms(server) => self.owner_confirms(server),
            Due::Rebooted(server) => self.rebooted(server),
            Due::Deleted(server) => self.deleted(server),
            Due::RecordsGo(server) => self.drop_records(server),
        }
    }

    pub(super) fn ticket(&mut self, ask: Ask, fate: Option<Fate>, arrives_at_ms: u64) -> u64 {
        self.next_ticket += 1;
        let id = self.next_ticket;
        let request_id = self.request_id();
        self.tickets.insert(id, Ticket { ask, fate, request_id, answered: None });
        self.at(arrives_at_ms, Due::Request(id));
        id
    }

    pub(super) fn request_id(&mut self) -> String {
        format!("req-{}", self.uuid("request"))
    }

    /// An id as Nova makes them, from the seed.
    pub(super) fn uuid(&mut self, what: &str) -> String {
        self.made += 1;
        let high = self.draws.next(&["uuid", what]).between([0, u64::MAX - 1]);
        let low = self.draws.next(&["uuid", what]).between([0, u64::MAX - 1]);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    pub(super) fn host_of(&self, server: ServerId) -> Option<HostId> {
        self.servers[server].row.now.host.as_ref().and_then(|host| self.host_ids.get(host)).copied()
    }

    pub(super) fn other(&self, text: impl FnOnce() -> String) {
        self.log.push_with(self.now_ms, || What::Other { text: text() });
    }

    // ---- servers ------------------------------------------------------------------------------------------------

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

    fn index_record(&mut self, record: &Migration) {
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
        let words = match self.release.has(84) {
            true => text.to_owned(),
            false => format!("{event}: nova.exception.{class}: {text}"),
        };
        self.said.insert((server, request.to_owned()), words);
    }
}
