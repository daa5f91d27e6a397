//! A night told again, entry by entry: the cloud as it truly was, which records this run's requests made, and what was
//! on disk. Every promise listens to the same telling and keeps what it needs beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Story, Violation};
use crate::cloud::sim::{Question, Seen, Told, What};
use crate::cloud::{Ask, ComputeService, Migration, MigrationKind, MigrationStatus, Server, ServerQuery, ServerStatus};
use crate::compile::{Graph, Step, StepId, StepKind};
use crate::event::{Event, EventKind, Intent};
use crate::plan::Rung;

/// What is told: an entry of the log, or an event that has just become durable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Now<'a> {
    Seen(&'a Seen),
    Event(&'a Event),
}

/// The truth so far.
#[derive(Debug, Default)]
pub(super) struct World<'a> {
    pub at_ms: u64,
    pub services: BTreeMap<&'a str, &'a ComputeService>,
    pub servers: BTreeMap<&'a str, &'a Server>,
    pub migrations: BTreeMap<u64, &'a Migration>,
    /// Records that requests of this run made.
    pub ours: BTreeSet<u64>,
    /// Servers and hosts that somebody else changed, and when last.
    pub touched: BTreeMap<&'a str, u64>,
    /// Requests for a move that were taken in and whose record has not been seen yet.
    expected: Vec<(&'a str, MigrationKind)>,
    /// Records nobody has claimed yet, with when they came.
    unclaimed: Vec<(u64, u64)>,
    /// An `Other` at this moment speaks of the rows that change with it.
    other_at: Option<u64>,
}

impl<'a> World<'a> {
    fn begin(story: &Story<'a>) -> Self {
        let mut world = Self::default();
        for host in &story.start.hosts {
            world.services.insert(&host.name, &host.service);
        }
        for server in &story.start.servers {
            world.servers.insert(&server.id, server);
        }
        for record in &story.start.migrations {
            world.migrations.insert(record.id, record);
        }
        world
    }

    fn sees(&mut self, seen: &'a Seen) {
        self.at_ms = seen.at_ms;
        match &seen.what {
            What::Service(row) => {
                self.touch(&row.host);
                self.services.insert(&row.host, row);
            }
            What::Server(row) => {
                self.touch(&row.id);
                self.servers.insert(&row.id, row);
            }
            What::ServerGone { id } => {
                self.servers.remove(id.as_str());
                // Its records are deleted with it (nova/db/main/api.py `instance_destroy`).
                self.migrations.retain(|_, row| row.server != *id);
            }
            What::Migration(row) => self.record(row),
            What::Asked { ask, arrived: true, answer } if !matches!(answer, Told::Refused { .. }) => self.claim(ask),
            What::Other { text } => self.other(text),
            _ => {}
        }
    }

    /// Whatever it names is somebody else's doing from now on, and so are the rows that change with it.
    fn other(&mut self, text: &str) {
        self.other_at = Some(self.at_ms);
        let hosts = self.services.keys().filter(|host| text.contains(**host)).copied();
        let named =
            |row: &&Server| text.contains(row.id.as_str()) || (!row.name.is_empty() && text.contains(&row.name));
        let servers = self.servers.values().copied().filter(named).map(|row| row.id.as_str());
        let named: Vec<&'a str> = hosts.chain(servers).collect();
        self.touched.extend(named.into_iter().map(|what| (what, self.at_ms)));
    }

    fn touch(&mut self, what: &'a str) {
        if self.other_at == Some(self.at_ms) {
            self.touched.insert(what, self.at_ms);
        }
    }

    fn record(&mut self, row: &'a Migration) {
        if self.migrations.insert(row.id, row).is_some() {
            return;
        }
        let expected = |(server, kind): &(&str, MigrationKind)| {
            *server == row.server && row.kind.as_ref().is_none_or(|found| found == kind)
        };
        match self.expected.iter().position(expected) {
            Some(at) => {
                self.expected.remove(at);
                self.ours.insert(row.id);
            }
            None => self.unclaimed.push((row.id, self.at_ms)),
        }
    }

    /// A request that was taken in makes a record: the one that came with it, or the next of this server.
    fn claim(&mut self, ask: &'a Ask) {
        let (server, kind) = match ask {
            Ask::LiveMigrate { server, .. } => (server.as_str(), MigrationKind::Live),
            Ask::ColdMigrate { server, .. } => (server.as_str(), MigrationKind::Cold),
            _ => return,
        };
        let now = self.at_ms;
        self.unclaimed.retain(|(_, at_ms)| *at_ms == now);
        let fits = |(id, _): &(u64, u64)| {
            self.migrations
                .get(id)
                .is_some_and(|row| row.server == server && row.kind.as_ref().is_none_or(|found| *found == kind))
        };
        match self.unclaimed.iter().position(fits) {
            Some(at) => {
                let (id, _) = self.unclaimed.remove(at);
                self.ours.insert(id);
            }
            None => self.expected.push((server, kind)),
        }
    }

    /// Records of this run that have not ended; a cold migration that waits for its confirm has not.
    pub fn unfinished(&self) -> impl Iterator<Item = &'a Migration> + '_ {
        self.ours.iter().filter_map(|id| self.migrations.get(id).copied()).filter(|row| !row.status.is_terminal())
    }

    /// Records of this run whose source still has something to copy, or will have.
    pub fn copying(&self) -> impl Iterator<Item = &'a Migration> + '_ {
        let still = [MigrationStatus::Finished, MigrationStatus::Confirming, MigrationStatus::Reverting];
        self.unfinished().filter(move |row| !still.contains(&row.status))
    }

    pub fn server(&self, id: &str) -> Option<&'a Server> {
        self.servers.get(id).copied()
    }

    pub fn service(&self, host: &str) -> Option<&'a ComputeService> {
        self.services.get(host).copied()
    }

    /// Servers that are truly on this host, deleted ones aside.
    pub fn on_host<'w>(&'w self, host: &'w str) -> impl Iterator<Item = &'a Server> + 'w {
        let here = move |row: &&Server| row.host.as_deref() == Some(host) && row.status != ServerStatus::Deleted;
        self.servers.values().copied().filter(here)
    }

    /// Somebody else changed this server or host at or after this moment.
    pub fn touched_since(&self, what: &str, at_ms: u64) -> bool {
        self.touched.get(what).is_some_and(|at| *at >= at_ms)
    }
}

/// How far a reading may lag behind the truth (`Habits::stale_ms` and an answer's way): what is younger than this when
/// it is read cannot be held against the run.
pub(super) const READING_LAGS_MS: u64 = 5_000;

/// When each thing was last read, answered.
#[derive(Debug, Default)]
pub(super) struct Readings<'a> {
    services: BTreeMap<Option<&'a str>, u64>,
    servers: BTreeMap<Option<&'a str>, u64>,
    migrations: BTreeMap<Option<&'a str>, u64>,
}

impl<'a> Readings<'a> {
    pub fn sees(&mut self, seen: &'a Seen) {
        let What::Read { what, answered: true } = &seen.what else { return };
        let at_ms = seen.at_ms;
        match what {
            // Servers found elsewhere are compiled with it; nobody looks there for what is on this host.
            Question::Inventory => drop(self.services.insert(None, at_ms)),
            Question::Services { host } => drop(self.services.insert(host.as_deref(), at_ms)),
            Question::Servers(ServerQuery::OnHost(host)) => drop(self.servers.insert(Some(host), at_ms)),
            Question::Migrations(query) if query.changed_since.is_none() && query.server.is_none() => {
                self.migrations.insert(query.host.as_deref(), at_ms);
            }
            _ => {}
        }
    }

    pub fn service(&self, host: &str) -> Option<u64> {
        newest(&self.services, host)
    }

    pub fn servers_on(&self, host: &str) -> Option<u64> {
        newest(&self.servers, host)
    }

    pub fn migrations_of(&self, host: &str) -> Option<u64> {
        newest(&self.migrations, host)
    }
}

fn newest(readings: &BTreeMap<Option<&str>, u64>, host: &str) -> Option<u64> {
    readings.get(&Some(host)).copied().max(readings.get(&None).copied())
}

/// Tells the night from its beginning; every row is in the world when its entry is told.
pub(super) fn tell<'a>(story: &Story<'a>, mut listen: impl FnMut(&World<'a>, Now<'a>)) {
    let mut world = World::begin(story);
    let mut told = 0;
    for seen in story.seen {
        world.sees(seen);
        listen(&world, Now::Seen(seen));
        if let What::Durable { events } = seen.what {
            let until = usize::try_from(events).unwrap_or(usize::MAX).min(story.events.len());
            for event in story.events.get(told..until).unwrap_or_default() {
                listen(&world, Now::Event(event));
            }
            told = told.max(until);
        }
    }
}

/// The request that an intent is for; `None` for a command, which is not asked of the cloud.
pub(super) fn is_for(intent: &Intent, ask: &Ask) -> bool {
    match (intent, ask) {
        (
            Intent::Disable { host, service_id, reason, .. },
            Ask::DisableService { host: asked, service_id: id, reason: why },
        ) => host == asked && service_id == id && reason == why,
        (Intent::Enable { host, service_id, .. }, Ask::EnableService { host: asked, service_id: id }) => {
            host == asked && service_id == id
        }
        (Intent::Live { server, to, .. }, Ask::LiveMigrate { server: asked, host, .. })
        | (Intent::Cold { server, to, .. }, Ask::ColdMigrate { server: asked, host }) => {
            server.id == *asked && to == host
        }
        (Intent::Confirm { server, .. }, Ask::ConfirmResize { server: asked })
        | (Intent::Stop { server }, Ask::Stop { server: asked })
        | (Intent::Start { server }, Ask::Start { server: asked }) => server.id == *asked,
        (Intent::Abort { server, migration_id, .. }, Ask::AbortMigration { server: asked, migration_id: record }) => {
            server.id == *asked && migration_id == record
        }
        _ => false,
    }
}

/// A request in a few words: `live s1`.
pub(super) fn words(ask: &Ask) -> String {
    match ask {
        Ask::DisableService { host, .. } => format!("disable {host}"),
        Ask::EnableService { host, .. } => format!("enable {host}"),
        Ask::LiveMigrate { server, .. } => format!("live {server}"),
        Ask::ColdMigrate { server, .. } => format!("cold {server}"),
        Ask::ConfirmResize { server } => format!("confirm {server}"),
        Ask::RevertResize { server } => format!("revert {server}"),
        Ask::Stop { server } => format!("stop {server}"),
        Ask::Start { server } => format!("start {server}"),
        Ask::AbortMigration { server, migration_id } => format!("abort {migration_id} of {server}"),
    }
}

/// The run was told that nothing was changed.
pub(super) fn told_no(answer: &Told) -> bool {
    matches!(answer, Told::Refused { .. } | Told::Unreachable)
}

/// The root graph and every child of it.
pub(super) fn graphs<'a>(story: &Story<'a>) -> Vec<&'a Graph> {
    let children = story.events.iter().filter_map(|event| match &event.kind {
        EventKind::GraphExtended { graph } => Some(graph.as_ref()),
        _ => None,
    });
    std::iter::once(story.graph).chain(children).collect()
}

/// Every step of the run, by its id.
pub(super) fn steps<'a>(story: &Story<'a>) -> BTreeMap<&'a StepId, &'a Step> {
    graphs(story).into_iter().flat_map(|graph| &graph.steps).map(|step| (&step.id, step)).collect()
}

/// The rungs that any graph gives this server on this host.
pub(super) fn rungs(story: &Story<'_>, host: &str, server: &str) -> Vec<Rung> {
    let of = graphs(story).into_iter().flat_map(|graph| &graph.servers);
    of.filter(|row| row.host == host && row.id == server).flat_map(|row| row.ladder.iter().copied()).collect()
}

/// Whether the plan leaves this server on this host while it is maintained, as it is now.
pub(super) fn may_stay(story: &Story<'_>, host: &str, row: &Server) -> bool {
    let rungs = rungs(story, host, &row.id);
    let off = row.status == ServerStatus::Shutoff;
    rungs.contains(&Rung::Leave) || (off && rungs.contains(&Rung::Stop))
}

/// The wave of each host that the plan takes out of service.
pub(super) fn waves<'a>(story: &Story<'a>) -> BTreeMap<&'a str, u32> {
    story.graph.hosts.iter().map(|host| (host.name.as_str(), host.wave)).collect()
}

pub(super) fn is_move(ask: &Ask) -> bool {
    matches!(ask, Ask::LiveMigrate { .. } | Ask::ColdMigrate { .. } | Ask::Stop { .. })
}

/// The servers that any graph moves, each with the host it leaves.
pub(super) fn moves<'a>(story: &Story<'a>) -> BTreeSet<(&'a str, &'a str)> {
    let moves = steps(story).into_values().filter(|step| matches!(step.kind, StepKind::Move { .. }));
    moves.filter_map(|step| Some((step.host.as_str(), server_of(step)?))).collect()
}

/// The host that a server is asked to leave: none where somebody moved it after it was read, since it was asked for as of
/// the host it had been on.
pub(super) fn leaves<'w>(world: &'w World<'_>, ask: &Ask, moves: &BTreeSet<(&str, &str)>) -> Option<&'w str> {
    let id = ask.server().filter(|_| is_move(ask))?;
    let from = world.server(id).and_then(|row| row.host.as_deref())?;
    moves.contains(&(from, id)).then_some(from)
}

/// The server that a step is about.
pub(super) fn server_of(step: &Step) -> Option<&str> {
    match &step.kind {
        StepKind::Move { server, .. } | StepKind::Start { server } => Some(server),
        _ => None,
    }
}

/// What a promise has found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    invariant: u8,
    pub list: Vec<Violation>,
}

impl Found {
    pub fn of(invariant: u8) -> Self {
        Self { invariant, list: Vec::new() }
    }

    pub fn say(&mut self, at_ms: u64, text: String) {
        // The same thing told by many entries is one thing.
        if self.list.iter().any(|known| known.text == text) {
            return;
        }
        self.list.push(Violation { at_ms, invariant: self.invariant, text });
    }
}
