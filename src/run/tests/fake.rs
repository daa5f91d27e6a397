//! A cloud of state machines over virtual time, for this room's tests alone: small, but honest about what Nova shows
//! while a server moves. It keeps what it was asked, and complains about what must never be asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::record;
use crate::cloud::fixture::{host, server, service};
use crate::cloud::{
    Accepted, Ask, Capabilities, Cloud, CloudError, CloudErrorKind, ComputeService, Inventory, LiveProgress,
    Microversion, Migration, MigrationKind, MigrationQuery, MigrationStatus, PowerState, Reading, Refusal, Server,
    ServerQuery, ServerStatus, ServiceStatus,
};
use crate::event::{Event, EventKind, Intent, Output};
use crate::plan::Limits;
use crate::run::commands::{CommandError, CommandSpec, CommandState, Commands};

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Refused(Refusal),
    /// Taken, and the answer lost.
    LostAfter,
    /// Lost before it arrived.
    LostBefore,
    /// 202, and then nova finds that it cannot be done.
    FailsLater,
    /// 202, and its bytes never become fewer.
    Stalls,
}

/// A change that comes by itself.
#[derive(Debug, Clone)]
enum Change {
    Live(u64, LivePhase),
    Cold(u64, u8),
    Confirmed(u64),
    Power { server: String, on: bool },
    Arrives { server: String, host: String },
}

#[derive(Debug, Clone, Copy)]
enum LivePhase {
    Scheduled { works: bool },
    Prepared,
    Switched,
    Completed,
    Cancelled,
}

pub(super) struct World {
    pub services: BTreeMap<String, ComputeService>,
    pub servers: BTreeMap<String, Server>,
    pub migrations: BTreeMap<u64, Migration>,
    due: Vec<(Instant, u64, Change)>,
    order: u64,
    /// By the words of [`name`], in the order of the requests.
    pub fates: HashMap<String, VecDeque<Fate>>,
    /// Servers that come to a host this long after it is disabled.
    pub arrivals: Vec<(String, String, u64)>,
    stalled: Vec<u64>,
    faults: HashMap<String, String>,
    /// Requests that were sent, whatever became of them; and those that nova took.
    pub sent: Vec<String>,
    pub taken: Vec<String>,
    pub wrongs: Vec<String>,
    pub limits: Limits,
    /// Exit codes to come; 0 when there are none.
    pub exit_codes: VecDeque<i32>,
    commands: HashMap<String, (Instant, i32)>,
    /// What the journal holds.
    pub durable: Vec<Event>,
    before: HashMap<u64, ServerStatus>,
    /// Readings fail.
    pub down: bool,
    /// Instance actions are forbidden.
    pub no_actions: bool,
}

pub(super) struct Fake {
    world: Mutex<World>,
    epoch: Timestamp,
    from: Instant,
}

/// `live s1`, `disable h1`: how a fate or an entry of the log is told.
fn name(ask: &Ask) -> String {
    match ask {
        Ask::DisableService { host, .. } => format!("disable {host}"),
        Ask::EnableService { host, .. } => format!("enable {host}"),
        Ask::LiveMigrate { server, .. } => format!("live {server}"),
        Ask::ColdMigrate { server, .. } => format!("cold {server}"),
        Ask::ConfirmResize { server } => format!("confirm {server}"),
        Ask::RevertResize { server } => format!("revert {server}"),
        Ask::Stop { server } => format!("stop {server}"),
        Ask::Start { server } => format!("start {server}"),
        Ask::AbortMigration { server, .. } => format!("abort {server}"),
    }
}

fn name_of_intent(intent: &Intent) -> String {
    match intent {
        Intent::Disable { host, .. } => format!("disable {host}"),
        Intent::Enable { host, .. } => format!("enable {host}"),
        Intent::Live { server, .. } => format!("live {}", server.id),
        Intent::Cold { server, .. } => format!("cold {}", server.id),
        Intent::Confirm { server, .. } => format!("confirm {}", server.id),
        Intent::Abort { server, .. } => format!("abort {}", server.id),
        Intent::Stop { server } => format!("stop {}", server.id),
        Intent::Start { server } => format!("start {}", server.id),
        Intent::Command { key, .. } => format!("command {key}"),
    }
}

impl Fake {
    /// Hosts by name, and servers with the host they are on.
    pub(super) fn new(hosts: &[&str], servers: &[(&str, &str)], limits: Limits) -> Arc<Self> {
        let epoch: Timestamp = "2026-03-01T02:00:00Z".parse().unwrap();
        let world = World {
            services: hosts.iter().map(|&host| (host.to_owned(), service(host))).collect(),
            servers: BTreeMap::new(),
            migrations: BTreeMap::new(),
            due: Vec::new(),
            order: 0,
            fates: HashMap::new(),
            arrivals: Vec::new(),
            stalled: Vec::new(),
            faults: HashMap::new(),
            sent: Vec::new(),
            taken: Vec::new(),
            wrongs: Vec::new(),
            limits,
            exit_codes: VecDeque::new(),
            commands: HashMap::new(),
            durable: Vec::new(),
            before: HashMap::new(),
            down: false,
            no_actions: false,
        };
        let fake = Self { world: Mutex::new(world), epoch, from: Instant::now() };
        for (id, on) in servers {
            let row = Server { updated_at: Some(epoch), ..server(id, on) };
            fake.world().servers.insert((*id).to_owned(), row);
        }
        Arc::new(fake)
    }

    /// As it is now.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap();
        let now = Instant::now();
        // Every nova-compute reports every ten seconds.
        let beat = self.epoch + SignedDuration::from_secs((now.duration_since(self.from).as_secs() / 10 * 10) as i64);
        for service in world.services.values_mut() {
            service.updated_at = Some(beat);
        }
        while let Some(at) = world.next_due(now) {
            let (due, _, change) = world.due.remove(at);
            let when = self.epoch + SignedDuration::try_from(due.duration_since(self.from)).unwrap();
            world.change(change, due, when);
        }
        world
    }

    pub(super) fn fate(&self, what: &str, fates: &[Fate]) {
        self.world().fates.insert(what.to_owned(), fates.iter().copied().collect());
    }

    fn now(&self) -> Timestamp {
        let now = self.epoch + SignedDuration::try_from(self.from.elapsed()).unwrap();
        // The Date header has seconds.
        Timestamp::from_second(now.as_second()).unwrap()
    }

    async fn wire() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn read(&self) -> Result<MutexGuard<'_, World>, CloudError> {
        Self::wire().await;
        let world = self.world();
        if world.down {
            let kind = CloudErrorKind::Unreachable { cause: "connection refused".to_owned() };
            return Err(CloudError { call: "GET".to_owned(), request_id: None, kind });
        }
        Ok(world)
    }
}

impl World {
    fn next_due(&self, now: Instant) -> Option<usize> {
        let due = self.due.iter().enumerate().filter(|(_, (at, _, _))| *at <= now);
        due.min_by_key(|(_, (at, order, _))| (*at, *order)).map(|(index, _)| index)
    }

    fn later(&mut self, from: Instant, after_ms: u64, change: Change) {
        self.order += 1;
        self.due.push((from + Duration::from_millis(after_ms), self.order, change));
    }

    fn touch(&mut self, server: &str, when: Timestamp, touch: impl FnOnce(&mut Server)) {
        let row = self.servers.get_mut(server).unwrap();
        touch(row);
        row.updated_at = Some(when);
    }

    fn mark(&mut self, id: u64, when: Timestamp, status: MigrationStatus) -> Migration {
        let record = self.migrations.get_mut(&id).unwrap();
        record.status = status;
        record.updated_at = Some(when);
        record.clone()
    }

    fn destination(&self, source: &str) -> Option<String> {
        let usable = |service: &&ComputeService| service.status == ServiceStatus::Enabled && service.host != source;
        self.services.values().find(usable).map(|service| service.host.clone())
    }

    fn change(&mut self, change: Change, due: Instant, when: Timestamp) {
        match change {
            Change::Live(id, phase) => self.live(id, phase, due, when),
            Change::Cold(id, phase) => self.cold(id, phase, due, when),
            Change::Confirmed(id) => {
                let record = self.mark(id, when, MigrationStatus::Confirmed);
                let status = self.before[&id].clone();
                self.touch(&record.server, when, |row| row.status = status);
            }
            Change::Power { server, on } => self.touch(&server, when, |row| {
                row.task_state = None;
                row.status = if on { ServerStatus::Active } else { ServerStatus::Shutoff };
                row.power_state = if on { PowerState::Running } else { PowerState::Shutdown };
            }),
            Change::Arrives { server: id, host } => {
                let row = Server { updated_at: Some(when), ..server(&id, &host) };
                self.servers.insert(id, row);
            }
        }
    }

    fn live(&mut self, id: u64, phase: LivePhase, due: Instant, when: Timestamp) {
        let record = self.migrations[&id].clone();
        let (server, source) = (record.server.clone(), record.source_host.clone().unwrap());
        let idle = |row: &mut Server| {
            row.task_state = None;
            row.status = ServerStatus::Active;
        };
        match phase {
            LivePhase::Scheduled { works } => {
                let to = self.destination(&source).filter(|_| works);
                let Some(to) = to else {
                    // The server is at rest before its record says so.
                    self.touch(&server, when, idle);
                    self.mark(id, when, MigrationStatus::Error);
                    return;
                };
                self.migrations.get_mut(&id).unwrap().dest_host = Some(to);
                self.mark(id, when, MigrationStatus::Queued);
                self.next_of(&source, due, when);
            }
            LivePhase::Prepared if record.status == MigrationStatus::Preparing => {
                self.mark(id, when, MigrationStatus::Running);
                if !self.stalled.contains(&id) {
                    self.later(due, 8_000, Change::Live(id, LivePhase::Switched));
                }
            }
            LivePhase::Switched if record.status == MigrationStatus::Running => {
                self.touch(&server, when, |row| {
                    idle(row);
                    row.host.clone_from(&record.dest_host);
                });
                self.later(due, 500, Change::Live(id, LivePhase::Completed));
            }
            LivePhase::Completed => {
                self.mark(id, when, MigrationStatus::Completed);
                self.next_of(&source, due, when);
            }
            LivePhase::Cancelled if !record.status.is_terminal() => {
                self.touch(&server, when, idle);
                self.mark(id, when, MigrationStatus::Cancelled);
                self.next_of(&source, due, when);
            }
            _ => {}
        }
    }

    /// One live migration at a time of each source (`max_concurrent_live_migrations`); the others wait in its queue.
    fn next_of(&mut self, source: &str, due: Instant, when: Timestamp) {
        let own = |record: &&Migration| record.source_host.as_deref() == Some(source);
        let busy = |record: &Migration| matches!(record.status, MigrationStatus::Preparing | MigrationStatus::Running);
        if self.migrations.values().filter(own).any(busy) {
            return;
        }
        let next = self.migrations.values().filter(own).find(|record| record.status == MigrationStatus::Queued);
        if let Some(id) = next.map(|record| record.id) {
            self.mark(id, when, MigrationStatus::Preparing);
            self.later(due, 700, Change::Live(id, LivePhase::Prepared));
        }
    }

    fn cold(&mut self, id: u64, phase: u8, due: Instant, when: Timestamp) {
        let record = self.migrations[&id].clone();
        let server = record.server.clone();
        match phase {
            0 => {
                let Some(to) = self.destination(record.source_host.as_deref().unwrap()) else {
                    let status = self.before[&id].clone();
                    self.mark(id, when, MigrationStatus::Error);
                    self.touch(&server, when, |row| (row.status, row.task_state) = (status, None));
                    return;
                };
                self.migrations.get_mut(&id).unwrap().dest_host = Some(to);
                self.mark(id, when, MigrationStatus::Migrating);
                self.touch(&server, when, |row| row.task_state = Some("resize_migrating".to_owned()));
                self.later(due, 4_000, Change::Cold(id, 1));
            }
            1 => {
                self.mark(id, when, MigrationStatus::PostMigrating);
                self.touch(&server, when, |row| {
                    row.task_state = Some("resize_finish".to_owned());
                    row.host.clone_from(&record.dest_host);
                });
                self.later(due, 2_000, Change::Cold(id, 2));
            }
            2 => {
                // `finished` is written just before the server's own state.
                self.mark(id, when, MigrationStatus::Finished);
                self.later(due, 300, Change::Cold(id, 3));
            }
            _ => self.touch(&server, when, |row| (row.status, row.task_state) = (ServerStatus::VerifyResize, None)),
        }
    }

    fn fault(&mut self, request_id: &str) {
        self.faults.insert(request_id.to_owned(), "No valid host was found.".to_owned());
    }

    /// What must never be asked of a cloud.
    fn complain(&mut self, ask: &Ask) {
        let what = name(ask);
        let intents = |event: &&Event| match &event.kind {
            EventKind::StepIntended { intent, .. } => name_of_intent(intent) == what,
            _ => false,
        };
        let intended = self.durable.iter().filter(intents).count();
        let sent = self.sent.iter().filter(|sent| **sent == what).count();
        if sent > intended {
            self.wrongs.push(format!("{what} was sent {sent} times and durably intended {intended} times"));
        }
        if let Ask::LiveMigrate { server, .. } | Ask::ColdMigrate { server, .. } | Ask::Stop { server } = ask {
            let row = self.servers[server].clone();
            let on = row.host.clone().unwrap();
            let service = self.services[&on].clone();
            if service.status != ServiceStatus::Disabled {
                self.wrongs.push(format!("{what} while {on} is enabled"));
            }
            let under_way = |record: &&Migration| !record.status.is_terminal() && record.server == *server;
            if row.task_state.is_some() || self.migrations.values().any(|record| under_way(&record)) {
                self.wrongs.push(format!("{what} while it is under way already"));
            }
        }
    }

    fn complain_of_limits(&mut self) {
        let held = |record: &&Migration| {
            !record.status.is_terminal()
                && record.status != MigrationStatus::Finished
                && record.status != MigrationStatus::Confirming
        };
        let all = self.migrations.values().filter(held).count();
        if all > self.limits.cloud as usize {
            self.wrongs.push(format!("{all} migrations in the cloud"));
        }
        for host in self.services.keys() {
            let own = |record: &&Migration| record.source_host.as_ref() == Some(host);
            let count = self.migrations.values().filter(held).filter(own).count();
            if count > (self.limits.source + self.limits.queue_ahead) as usize {
                self.wrongs.push(format!("{count} migrations away from {host}"));
            }
        }
    }

    /// Nova takes a request, or refuses it.
    fn take(&mut self, ask: &Ask, fate: Option<Fate>, now: Instant, when: Timestamp) -> Result<(), Refusal> {
        if let Some(server) = ask.server() {
            let Some(row) = self.servers.get(server) else { return Err(Refusal::NotFound) };
            if row.task_state.is_some() && !matches!(ask, Ask::AbortMigration { .. }) {
                return Err(Refusal::Busy);
            }
        }
        let works = fate != Some(Fate::FailsLater);
        match ask {
            Ask::DisableService { host, reason, .. } => {
                let service = self.services.get_mut(host).ok_or(Refusal::NotFound)?;
                service.status = ServiceStatus::Disabled;
                service.disabled_reason = Some(reason.clone());
                let arrivals = std::mem::take(&mut self.arrivals);
                for (server, on, after_s) in arrivals {
                    if on == *host {
                        self.later(now, after_s * 1000, Change::Arrives { server, host: on });
                    } else {
                        self.arrivals.push((server, on, after_s));
                    }
                }
            }
            Ask::EnableService { host, .. } => {
                let service = self.services.get_mut(host).ok_or(Refusal::NotFound)?;
                service.status = ServiceStatus::Enabled;
                service.disabled_reason = None;
            }
            Ask::LiveMigrate { server, .. } => {
                if self.servers[server].status != ServerStatus::Active {
                    return Err(Refusal::WrongState);
                }
                let id = self.new_record(server, MigrationKind::Live, MigrationStatus::Accepted, when);
                self.touch(server, when, |row| {
                    row.status = ServerStatus::Migrating;
                    row.task_state = Some("migrating".to_owned());
                });
                if fate == Some(Fate::Stalls) {
                    self.stalled.push(id);
                }
                if !works {
                    self.fault(&format!("req-{}", self.sent.len()));
                }
                self.later(now, 500, Change::Live(id, LivePhase::Scheduled { works }));
            }
            Ask::ColdMigrate { server, .. } => {
                let status = self.servers[server].status.clone();
                if !matches!(status, ServerStatus::Active | ServerStatus::Shutoff) {
                    return Err(Refusal::WrongState);
                }
                let id = self.new_record(server, MigrationKind::Cold, MigrationStatus::PreMigrating, when);
                self.before.insert(id, status);
                self.touch(server, when, |row| {
                    row.status = ServerStatus::Resize;
                    row.task_state = Some("resize_prep".to_owned());
                });
                self.later(now, 1_000, Change::Cold(id, 0));
            }
            Ask::ConfirmResize { server } => {
                let own = |record: &&Migration| record.server == *server && record.status == MigrationStatus::Finished;
                let id = self.migrations.values().find(own).map(|record| record.id).ok_or(Refusal::Other)?;
                self.mark(id, when, MigrationStatus::Confirming);
                self.later(now, 1_500, Change::Confirmed(id));
            }
            Ask::Stop { server } | Ask::Start { server } => {
                let on = matches!(ask, Ask::Start { .. });
                let needs = if on { ServerStatus::Shutoff } else { ServerStatus::Active };
                if self.servers[server].status != needs {
                    return Err(Refusal::WrongState);
                }
                let task = if on { "powering-on" } else { "powering-off" };
                self.touch(server, when, |row| row.task_state = Some(task.to_owned()));
                self.later(now, 3_000, Change::Power { server: server.clone(), on });
            }
            Ask::AbortMigration { migration_id, .. } => {
                let record = self.migrations.get(migration_id).ok_or(Refusal::NotFound)?;
                if !matches!(record.status, MigrationStatus::Running | MigrationStatus::Queued) {
                    return Err(Refusal::WrongState);
                }
                self.later(now, 1_000, Change::Live(*migration_id, LivePhase::Cancelled));
            }
            Ask::RevertResize { .. } => return Err(Refusal::Other),
        }
        self.complain_of_limits();
        Ok(())
    }

    fn new_record(&mut self, server: &str, kind: MigrationKind, status: MigrationStatus, when: Timestamp) -> u64 {
        let id = 100 + self.migrations.len() as u64;
        let source_host = self.servers[server].host.clone();
        let (created_at, updated_at) = (Some(when), Some(when));
        let row =
            Migration { source_host, dest_host: None, created_at, updated_at, ..record(id, server, kind, status) };
        self.migrations.insert(id, row);
        id
    }
}

fn refused(call: &str, refusal: Refusal) -> CloudError {
    let kind = CloudErrorKind::Refused { status: 409, refusal, message: format!("{refusal:?}") };
    CloudError { call: call.to_owned(), request_id: None, kind }
}

fn lost(call: &str) -> CloudError {
    let kind = CloudErrorKind::Lost { cause: "connection reset".to_owned() };
    CloudError { call: call.to_owned(), request_id: None, kind }
}

#[async_trait]
impl Cloud for Fake {
    fn name(&self) -> &str {
        "lab"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { newest: Microversion::v2(96) }
    }

    fn requests_sent(&self) -> u64 {
        self.world().sent.len() as u64
    }

    async fn inventory(&self) -> Result<Inventory, CloudError> {
        let world = self.read().await?;
        let read_at = self.now();
        let hosts = world.services.iter();
        Ok(Inventory {
            read_at,
            capabilities: self.capabilities(),
            hosts: hosts.map(|(name, service)| crate::cloud::Host { service: service.clone(), ..host(name) }).collect(),
            servers: world.servers.values().cloned().collect(),
            groups: Vec::new(),
            aggregates: Vec::new(),
            migrations: world.migrations.values().filter(|record| !record.status.is_terminal()).cloned().collect(),
            gaps: Vec::new(),
        })
    }

    async fn services(&self, host: Option<&str>) -> Result<Vec<ComputeService>, CloudError> {
        let world = self.read().await?;
        Ok(world.services.values().filter(|row| host.is_none_or(|host| row.host == host)).cloned().collect())
    }

    async fn servers(&self, query: &ServerQuery) -> Result<Reading<Server>, CloudError> {
        let world = self.read().await?;
        let at = self.now();
        let asked = |row: &&Server| match query {
            ServerQuery::OnHost(host) => row.host.as_ref() == Some(host),
            ServerQuery::ChangedSince(since) => row.updated_at.is_some_and(|at| at >= *since),
        };
        Ok(Reading { rows: world.servers.values().filter(asked).cloned().collect(), at })
    }

    async fn server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        Ok(self.read().await?.servers.get(id).cloned())
    }

    async fn migrations(&self, query: &MigrationQuery) -> Result<Reading<Migration>, CloudError> {
        let world = self.read().await?;
        let at = self.now();
        let asked = |row: &&Migration| {
            let names = |host: &String| row.source_host.as_ref() == Some(host) || row.dest_host.as_ref() == Some(host);
            query.host.as_ref().is_none_or(names)
                && query.server.as_ref().is_none_or(|server| row.server == *server)
                && query.changed_since.is_none_or(|since| row.updated_at.is_some_and(|at| at >= since))
        };
        let mut rows: Vec<Migration> = world.migrations.values().rev().filter(asked).cloned().collect();
        rows.truncate(query.newest.map_or(usize::MAX, |newest| newest as usize));
        Ok(Reading { rows, at })
    }

    async fn live_progress(&self, server: &str) -> Result<Option<LiveProgress>, CloudError> {
        let world = self.read().await?;
        let own = |row: &&Migration| row.server == server && row.status == MigrationStatus::Running;
        Ok(world.migrations.values().find(own).map(|row| LiveProgress {
            migration_id: row.id,
            status: row.status.clone(),
            memory_total_bytes: Some(2 << 30),
            memory_remaining_bytes: Some(1 << 30),
            disk_total_bytes: None,
            disk_remaining_bytes: None,
        }))
    }

    async fn action_fault(&self, _server: &str, request_id: &str) -> Result<Option<String>, CloudError> {
        let world = self.read().await?;
        if world.no_actions {
            return Err(refused("GET os-instance-actions", Refusal::Forbidden));
        }
        Ok(world.faults.get(request_id).cloned())
    }

    async fn ask(&self, ask: &Ask) -> Result<Accepted, CloudError> {
        let what = name(ask);
        let (request_id, fate) = {
            let mut world = self.world();
            world.sent.push(what.clone());
            world.complain(ask);
            let fate = world.fates.get_mut(&what).and_then(VecDeque::pop_front);
            (format!("req-{}", world.sent.len()), fate)
        };
        Self::wire().await;
        match fate {
            Some(Fate::LostBefore) => {
                Self::wire().await;
                return Err(lost(&what));
            }
            Some(Fate::Refused(refusal)) => {
                Self::wire().await;
                return Err(refused(&what, refusal));
            }
            _ => {}
        }
        let when = self.epoch + SignedDuration::try_from(self.from.elapsed()).unwrap();
        let taken = {
            let mut world = self.world();
            let taken = world.take(ask, fate, Instant::now(), when);
            if taken.is_ok() {
                world.taken.push(what.clone());
            }
            taken
        };
        Self::wire().await;
        match (taken, fate) {
            (_, Some(Fate::LostAfter)) => Err(lost(&what)),
            (Err(refusal), _) => Err(refused(&what, refusal)),
            (Ok(()), _) => Ok(Accepted { request_id: Some(request_id) }),
        }
    }
}

/// The operator's machine, beside that cloud.
pub(super) struct Machine(pub Arc<Fake>);

#[async_trait]
impl Commands for Machine {
    async fn start(&self, spec: &CommandSpec) -> Result<(), CommandError> {
        Fake::wire().await;
        let mut world = self.0.world();
        if world.commands.contains_key(&spec.key) {
            return Err(CommandError::AlreadyStarted { key: spec.key.clone() });
        }
        let host = spec.env.iter().find(|(key, _)| key == "FURLOUGH_HOST").map(|(_, host)| host.clone()).unwrap();
        let runs = |row: &&Server| row.host.as_ref() == Some(&host) && row.status != ServerStatus::Shutoff;
        let owed = |record: &&Migration| {
            record.source_host.as_ref() == Some(&host) && record.status == MigrationStatus::Finished
        };
        let wrong = world.servers.values().find(runs).map(|row| row.id.clone());
        let wrong = wrong.or_else(|| world.migrations.values().find(owed).map(|record| record.server.clone()));
        if let Some(server) = wrong {
            world.wrongs.push(format!("{} runs on {host} while {server} is on it or owed to it", spec.argv.join(" ")));
        }
        let code = world.exit_codes.pop_front().unwrap_or(0);
        world.sent.push(format!("command {host} {}", spec.argv.join(" ")));
        world.taken.push(format!("command {host} {}", spec.argv.join(" ")));
        world.commands.insert(spec.key.clone(), (Instant::now() + Duration::from_secs(5), code));
        Ok(())
    }

    async fn state(&self, key: &str) -> Result<CommandState, CommandError> {
        let world = self.0.world();
        Ok(match world.commands.get(key) {
            None => CommandState::NeverStarted,
            Some((until, _)) if *until > Instant::now() => CommandState::Running,
            Some((_, code)) => CommandState::Exited(Output { exit_code: Some(*code), ..Output::default() }),
        })
    }

    async fn cancel(&self, _key: &str) -> Result<(), CommandError> {
        Ok(())
    }
}
