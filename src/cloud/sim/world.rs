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
use crate::cloud::{Aggregate, Ask, Capabilities, Gap, Migration, PowerState, Server, ServerGroup};

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
    TurnsDown,
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
    /// Sent so far, each page and each attempt of its own.
    pub requests: u64,
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
    pub next_record: u64,
    /// Nova's words about failed actions, by server and request id.
    pub said: BTreeMap<(ServerId, String), String>,
    pub outage_until_ms: u64,
    pub stale_is_possible: bool,
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
            requests: 0,
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
        if running != (row.power_state == PowerState::Running) {
            self.log.push_with(self.now_ms, || What::Guest { server: row.id.clone(), running });
        }
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
        // A million seconds is a service that never reports.
        self.habits.report_interval_s.clamp(1, 1_000_000) * 1000
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

    /// From the save of a row to that of its record, or the other way round.
    pub(super) fn follows(&mut self, server: ServerId) -> u64 {
        let chance = self.chances.lags;
        let span = if self.draw("lags", server).chance(chance) { self.habits.lag_ms } else { self.habits.rpc_ms };
        self.span("follows", server, span)
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
            Due::Host(host, HostDue::TurnsDown) => self.turns_down(host),
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
}
