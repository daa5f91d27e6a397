//! What the steps in flight look at, read for all of them at once: migration records by `changes-since`, server rows
//! likewise and only when some step needs them, bytes of the migrations that take long.
//!
//! Deliberately absent: what any of it means. A step judges what it sees; this only sees.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cloud::{Cloud, CloudError, LiveProgress, Migration, MigrationQuery, MigrationStatus, Server, ServerQuery};

/// The shortest pause between two readings: Nova itself writes progress only every 5 s, and a migration under a second
/// is not worth a request.
const PACE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a freed slot should not stay unused for longer.
const PACE_MAX: Duration = Duration::from_secs(5);
/// The pause until a first migration has ended: it is scheduled, checked on both hosts and then copied.
const PACE_FIRST: Duration = Duration::from_secs(3);
/// The pause until a second one has: only then is known how far apart they are.
const PACE_SECOND: Duration = Duration::from_millis(1500);
/// What becomes of the pause when more migrations of one source ended within it than were queued there: then it was idle.
const PACE_SHORTER: f64 = 0.85;
/// How far a `changes-since` reaches back behind the last reading: timestamps are second-granular, and several API
/// servers' clocks differ a little.
const OVERLAP: SignedDuration = SignedDuration::from_secs(5);
/// How long a server row may be wanted before it is read for that alone; within it, wants are served together.
const BATCH_WANTS: Duration = Duration::from_secs(20);
/// A migration running for longer than this has its bytes read.
const PROGRESS_AFTER: Duration = Duration::from_secs(6);
/// Nova writes the bytes every 5 s (nova/virt/libvirt/migration.py).
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Byte readings in one cycle, so that hundreds of migrations do not become hundreds of requests at once.
const PROGRESS_AT_ONCE: usize = 16;
/// The pause after a reading that failed, doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Its migration record to change.
    Migration,
    /// A fresh row of its server, read together with others' when that is soon.
    Server,
    /// The same, once its migration record has ended and is not read again.
    ServerAfter,
    /// A fresh row of its server at the next reading.
    ServerNow,
    /// The same, for what makes no migration record: stops and starts.
    ServerAlone,
}

/// What is known of a server.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub server: Option<Arc<Server>>,
    /// It was deleted.
    pub gone: bool,
    /// The row above is as it was at this moment or later.
    pub server_as_of: Option<Instant>,
    /// Oldest first.
    pub migrations: Vec<Arc<Migration>>,
    /// The record that was told to be this attempt's.
    pub bound: Option<u64>,
    /// A move may take two requests, of which the first leaves a failed record (below 2.25).
    pub two_requests: bool,
    pub progress: Option<LiveProgress>,
    /// The newest migration was first seen copying at this moment.
    pub copying_since: Option<Instant>,
    /// The bytes left were last seen shrinking at this moment.
    pub progress_at: Option<Instant>,
}

/// Shared by all steps of a run.
pub struct Watch {
    cloud: Arc<dyn Cloud>,
    state: Mutex<State>,
    /// Counts readings, for the driver.
    cycles: watch::Sender<u64>,
    /// Wakes the steps after each reading, in the order in which they began to wait: a `watch` wakes its receivers in an
    /// order drawn by the runtime, and a rehearsal has to replay exactly.
    turned: Notify,
    followed: Notify,
    /// The next reading need not wait for the pause to be over.
    hurry: Notify,
    /// The words of the last failure, while readings fail.
    trouble: watch::Sender<Option<String>>,
    /// Only one reading of server rows at a time.
    syncing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    follows: HashMap<String, Follow>,
    servers: HashMap<String, Row>,
    servers_synced: Option<Synced>,
    migrations: HashMap<String, BTreeMap<u64, Arc<Migration>>>,
    migrations_synced: Option<Synced>,
    high_water: HashMap<String, u64>,
    progress: HashMap<String, Copying>,
    pace: Pace,
}

#[derive(Clone, Copy)]
struct Synced {
    /// The cloud's clock.
    at: Timestamp,
    as_of: Instant,
}

struct Row {
    server: Option<Arc<Server>>,
    as_of: Instant,
}

struct Follow {
    source: String,
    followers: u32,
    want: Want,
    wanted_since: Instant,
    bound: Option<u64>,
}

struct Copying {
    migration_id: u64,
    since: Instant,
    read_at: Option<Instant>,
    progress: Option<LiveProgress>,
    remaining_bytes: Option<u64>,
    shrunk_at: Instant,
}

/// How long a migration usually takes here, learnt from the ones that end.
#[derive(Default)]
struct Pace {
    usual: Option<Duration>,
    /// How many migrations wait in Nova's queue behind each source's running ones.
    queued: u32,
    /// When each source last had a migration end. Its first one says nothing: it began with being scheduled.
    since: HashMap<String, Instant>,
}

impl Pace {
    fn ended(&mut self, source: &str, count: u32, now: Instant) {
        let Some(since) = self.since.insert(source.to_owned(), now) else { return };
        let each = now.duration_since(since) / count.max(1);
        self.usual = Some(match self.usual {
            None => each,
            // They may have ended long before this reading, so the time since the one before says too much of each.
            Some(usual) if count > self.queued.max(1) => usual.mul_f64(PACE_SHORTER),
            Some(usual) => usual.mul_f64(0.7) + each.mul_f64(0.3),
        });
    }

    /// With more than one queued, a source stays busy for longer than one of them takes: half of one is left for the
    /// answer to travel and the next to be asked.
    fn pause(&self) -> Duration {
        let unknown = if self.since.is_empty() { PACE_FIRST } else { PACE_SECOND };
        let busy = (f64::from(self.queued) - 0.5).max(1.0);
        self.usual.map_or(unknown, |usual| usual.mul_f64(busy).clamp(PACE_MIN, PACE_MAX))
    }
}

/// While it lives, its server is read.
pub struct Following {
    watch: Arc<Watch>,
    server: String,
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        if let Some(follow) = state.follows.get_mut(&self.server) {
            follow.followers -= 1;
            if follow.followers == 0 {
                state.follows.remove(&self.server);
            }
        }
    }
}

impl Watch {
    pub fn new(cloud: Arc<dyn Cloud>) -> Arc<Self> {
        Arc::new(Self {
            cloud,
            state: Mutex::default(),
            cycles: watch::Sender::new(0),
            turned: Notify::new(),
            followed: Notify::new(),
            hurry: Notify::new(),
            trouble: watch::Sender::new(None),
            syncing: tokio::sync::Mutex::default(),
        })
    }

    /// Live migrations that wait in Nova's queue behind each source's running ones: as long as they last, no source is idle.
    pub fn queued_ahead(&self, queued: u32) {
        self.lock().pace.queued = queued;
    }

    /// A poisoned lock still holds readings that are at worst incomplete, and the next reading mends them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has just been read of a host: its servers, and the newest migration id that names it.
    pub fn prime(&self, host: &str, servers: &[Server], at: Timestamp, newest_migration: Option<u64>) {
        let now = Instant::now();
        let mut state = self.lock();
        for server in servers {
            state.servers.insert(server.id.clone(), Row { server: Some(Arc::new(server.clone())), as_of: now });
        }
        state.servers_synced.get_or_insert(Synced { at, as_of: now });
        state.migrations_synced.get_or_insert(Synced { at, as_of: now });
        if let Some(newest) = newest_migration {
            state.high_water.insert(host.to_owned(), newest);
        }
    }

    /// Every migration of this server made from now on has a greater id than this.
    pub fn newest_migration(&self, server: &str, host: &str) -> Option<u64> {
        let state = self.lock();
        let own = state.migrations.get(server).and_then(|own| own.keys().next_back()).copied();
        own.max(state.high_water.get(host).copied())
    }

    /// Reads this server from now on, until the guard is dropped.
    pub fn follow(self: &Arc<Self>, server: &str, source: &str) -> Following {
        let now = Instant::now();
        {
            let mut state = self.lock();
            let follow = state.follows.entry(server.to_owned()).or_insert_with(|| Follow {
                source: source.to_owned(),
                followers: 0,
                want: Want::Migration,
                wanted_since: now,
                bound: None,
            });
            follow.followers += 1;
        }
        self.followed.notify_one();
        Following { watch: Arc::clone(self), server: server.to_owned() }
    }

    /// This record is the one of the attempt that follows this server: later ones are somebody else's.
    pub fn bind(&self, server: &str, migration_id: Option<u64>) {
        if let Some(follow) = self.lock().follows.get_mut(server) {
            follow.bound = migration_id;
        }
    }

    /// Says what this server's step waits for and returns after the next reading.
    pub async fn next(&self, server: &str, want: Want) {
        // It counts from here on, polled or not.
        let turned = self.turned.notified();
        {
            let mut state = self.lock();
            if let Some(follow) = state.follows.get_mut(server)
                && follow.want != want
            {
                follow.want = want;
                follow.wanted_since = Instant::now();
                // Nothing else is waited for: a pause would only keep the last ones waiting.
                if want >= Want::Server && state.follows.values().all(|follow| follow.want >= Want::Server) {
                    self.hurry.notify_one();
                }
            }
        }
        turned.await;
    }

    /// The records are as they were at this moment or later.
    pub fn migrations_as_of(&self) -> Option<Instant> {
        self.lock().migrations_synced.map(|synced| synced.as_of)
    }

    /// The next reading comes without a pause.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    pub fn seen(&self, server: &str) -> Seen {
        let state = self.lock();
        let synced = state.servers_synced.map(|synced| synced.as_of);
        let row = state.servers.get(server);
        let copying = state.progress.get(server);
        Seen {
            server: row.and_then(|row| row.server.clone()),
            gone: row.is_some_and(|row| row.server.is_none()),
            server_as_of: row.map(|row| synced.map_or(row.as_of, |synced| synced.max(row.as_of))),
            migrations: state.migrations.get(server).map(|own| own.values().cloned().collect()).unwrap_or_default(),
            bound: state.follows.get(server).and_then(|follow| follow.bound),
            two_requests: !self.cloud.capabilities().block_migration_auto(),
            progress: copying.and_then(|copying| copying.progress.clone()),
            copying_since: copying.map(|copying| copying.since),
            progress_at: copying.filter(|copying| copying.progress.is_some()).map(|copying| copying.shrunk_at),
        }
    }

    /// A row of this server no older than `max_age`; `None` once it is gone.
    pub async fn server(&self, server: &str, max_age: Duration) -> Result<Option<Arc<Server>>, CloudError> {
        let fresh = |seen: &Seen| seen.server_as_of.is_some_and(|as_of| as_of.elapsed() <= max_age);
        let seen = self.seen(server);
        if fresh(&seen) {
            return Ok(seen.server);
        }
        let _one = self.syncing.lock().await;
        // Another step may have read it meanwhile.
        let seen = self.seen(server);
        if fresh(&seen) {
            return Ok(seen.server);
        }
        if seen.server_as_of.is_none() {
            // Nothing of it is known in this process: its records too, or an old one would be taken for ours.
            self.adopt(server).await?;
            return Ok(self.seen(server).server);
        }
        self.sync_servers().await?;
        Ok(self.seen(server).server)
    }

    /// Reads a server of which nothing is known yet, and its migrations: in a run that was resumed or only gives hosts
    /// back, no list has been read by this process. From then on changes are asked for.
    pub async fn adopt(&self, server: &str) -> Result<(), CloudError> {
        let now = Instant::now();
        let query = MigrationQuery { server: Some(server.to_owned()), ..MigrationQuery::default() };
        // First, for its clock: what changes after this instant is read by `changes-since`.
        let records = self.cloud.migrations(&query).await?;
        let row = self.cloud.server(server).await?;
        let mut state = self.lock();
        state.servers.insert(server.to_owned(), Row { server: row.map(Arc::new), as_of: now });
        state.servers_synced.get_or_insert(Synced { at: records.at, as_of: now });
        state.migrations_synced.get_or_insert(Synced { at: records.at, as_of: now });
        state.merge(records.rows, now);
        Ok(())
    }

    /// Readings fail, in the cloud's words; `None` while they succeed.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    pub fn cycles(&self) -> watch::Receiver<u64> {
        self.cycles.subscribe()
    }

    /// A source from which more than `limit` followed servers are being copied at once.
    pub fn source_above(&self, limit: u32) -> Option<String> {
        let state = self.lock();
        let mut copying: BTreeMap<&str, u32> = BTreeMap::new();
        for (server, follow) in &state.follows {
            let newest = state.migrations.get(server).and_then(|own| own.values().next_back());
            let is_copying =
                newest.is_some_and(|m| matches!(m.status, MigrationStatus::Running | MigrationStatus::RunningPostCopy));
            if is_copying {
                *copying.entry(&follow.source).or_default() += 1;
            }
        }
        copying.into_iter().find(|(_, count)| *count > limit).map(|(source, _)| source.to_owned())
    }

    /// Reads for as long as anything is followed; ends when it is dropped.
    pub async fn run(&self) {
        let mut retry = RETRY_MIN;
        loop {
            if self.lock().follows.is_empty() {
                self.followed.notified().await;
                continue;
            }
            let pause = self.lock().pace.pause();
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
            }
            match self.cycle().await {
                Ok(()) => {
                    retry = RETRY_MIN;
                    self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                }
                Err(error) => {
                    self.trouble.send_replace(Some(error.to_string()));
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
            self.cycles.send_modify(|count| *count += 1);
            self.turned.notify_waiters();
        }
    }

    async fn cycle(&self) -> Result<(), CloudError> {
        for query in self.migration_queries() {
            let now = Instant::now();
            let records = self.cloud.migrations(&query).await?;
            let mut state = self.lock();
            state.merge(records.rows, now);
            state.migrations_synced = Some(Synced { at: records.at, as_of: now });
        }
        if self.lock().servers_are_due() {
            let _one = self.syncing.lock().await;
            self.sync_servers().await?;
        }
        let due = self.lock().progress_due();
        for server in due {
            let progress = self.cloud.live_progress(&server).await?;
            self.lock().progressed(&server, progress);
        }
        Ok(())
    }

    fn migration_queries(&self) -> Vec<MigrationQuery> {
        let state = self.lock();
        // Stops and starts make no migration records, and one that has ended does not change: only servers are read.
        let settled = |server: &String| {
            let newest = state.migrations.get(server).and_then(|own| own.values().next_back());
            newest.is_none_or(|record| record.status.is_terminal())
        };
        let only_servers = |(server, follow): (&String, &Follow)| match follow.want {
            Want::ServerAlone | Want::ServerAfter => true,
            Want::ServerNow => settled(server),
            Want::Migration | Want::Server => false,
        };
        if state.follows.iter().all(only_servers) {
            return Vec::new();
        }
        if self.cloud.capabilities().migrations_changed_since() {
            let since = state.migrations_synced.map(|synced| synced.at - OVERLAP);
            return vec![MigrationQuery { changed_since: since, ..MigrationQuery::default() }];
        }
        let mut hosts: Vec<&String> = state.follows.values().map(|follow| &follow.source).collect();
        hosts.sort();
        hosts.dedup();
        hosts.into_iter().map(|host| MigrationQuery { host: Some(host.clone()), ..MigrationQuery::default() }).collect()
    }

    async fn sync_servers(&self) -> Result<(), CloudError> {
        let since = self.lock().servers_synced.map(|synced| synced.at - OVERLAP);
        let Some(since) = since else { return Ok(()) };
        let now = Instant::now();
        let rows = self.cloud.servers(&ServerQuery::ChangedSince(since)).await?;
        let mut state = self.lock();
        for server in rows.rows {
            let gone = server.status == crate::cloud::ServerStatus::Deleted;
            let id = server.id.clone();
            state.servers.insert(id, Row { server: (!gone).then(|| Arc::new(server)), as_of: now });
        }
        state.servers_synced = Some(Synced { at: rows.at, as_of: now });
        Ok(())
    }
}

impl State {
    fn merge(&mut self, rows: Vec<Migration>, now: Instant) {
        let mut ended: BTreeMap<String, u32> = BTreeMap::new();
        for row in rows {
            let follow = self.follows.get(&row.server);
            if follow.is_none() && !self.migrations.contains_key(&row.server) && !self.servers.contains_key(&row.server)
            {
                continue;
            }
            let copying = matches!(row.status, MigrationStatus::Running | MigrationStatus::RunningPostCopy);
            if copying && self.progress.get(&row.server).is_none_or(|copying| copying.migration_id < row.id) {
                self.progress.insert(
                    row.server.clone(),
                    Copying {
                        migration_id: row.id,
                        since: now,
                        read_at: None,
                        progress: None,
                        remaining_bytes: None,
                        shrunk_at: now,
                    },
                );
            }
            let own = self.migrations.entry(row.server.clone()).or_default();
            let row = Arc::new(row);
            let before = own.insert(row.id, Arc::clone(&row));
            // One that had ended before this run looked says nothing of how long they take now.
            let ours = |follow: &Follow| self.high_water.get(&follow.source).is_some_and(|newest| row.id > *newest);
            if row.status.is_terminal()
                && let Some(follow) = follow
                && before.map_or_else(|| ours(follow), |before| !before.status.is_terminal())
            {
                *ended.entry(follow.source.clone()).or_default() += 1;
            }
        }
        for (source, count) in ended {
            self.pace.ended(&source, count, now);
        }
    }

    fn servers_are_due(&self) -> bool {
        let wants = self.follows.values().filter(|follow| follow.want >= Want::Server);
        let mut some = false;
        for follow in wants {
            some = true;
            if follow.want >= Want::ServerNow || follow.wanted_since.elapsed() >= BATCH_WANTS {
                return true;
            }
        }
        some && self.follows.values().all(|follow| follow.want >= Want::Server)
    }

    fn progress_due(&self) -> Vec<String> {
        let now = Instant::now();
        // What is followed is a few; what was ever copied in a long run is all of it.
        let due = |server: &String| {
            let copying = self.progress.get(server)?;
            let newest = self.migrations.get(server).and_then(|own| own.values().next_back());
            let still = newest.is_some_and(|m| m.id == copying.migration_id && m.status == MigrationStatus::Running);
            let long = now.duration_since(copying.since) >= PROGRESS_AFTER;
            let again = copying.read_at.is_none_or(|read_at| now.duration_since(read_at) >= PROGRESS_EVERY);
            (still && long && again).then(|| (copying.read_at, server.clone()))
        };
        let mut due: Vec<_> = self.follows.keys().filter_map(due).collect();
        due.sort();
        due.into_iter().take(PROGRESS_AT_ONCE).map(|(_, server)| server).collect()
    }

    fn progressed(&mut self, server: &str, progress: Option<LiveProgress>) {
        let Some(copying) = self.progress.get_mut(server) else { return };
        let now = Instant::now();
        copying.read_at = Some(now);
        let Some(progress) = progress.filter(|progress| progress.migration_id == copying.migration_id) else { return };
        let sum = |a: Option<u64>, b: Option<u64>| a.map(|a| a.saturating_add(b.unwrap_or(0)));
        let remaining = sum(progress.memory_remaining_bytes, progress.disk_remaining_bytes);
        // Dirty pages make it grow again; only a new low counts.
        if let Some(remaining) = remaining
            && copying.remaining_bytes.is_none_or(|least| remaining < least)
        {
            copying.remaining_bytes = Some(remaining);
            copying.shrunk_at = now;
        }
        copying.progress = Some(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_as_long_as_migrations_are_apart_and_shorter_once_a_source_was_idle() {
        let mut pace = Pace { queued: 1, ..Pace::default() };
        let begun = Instant::now();
        let at = |s: f64| begun + Duration::from_secs_f64(s);
        assert_eq!(pace.pause(), PACE_FIRST);
        pace.ended("h1", 1, at(4.0));
        assert_eq!(pace.pause(), PACE_SECOND, "the first one began with being scheduled");
        pace.ended("h1", 1, at(6.0));
        assert_eq!(pace.pause(), Duration::from_secs(2));
        pace.ended("h1", 2, at(10.0));
        assert_eq!(pace.pause(), Duration::from_millis(1700));
        pace.queued = 2;
        assert_eq!(pace.pause(), Duration::from_millis(2550), "two stand behind the running one");
        pace.ended("h1", 2, at(13.4));
        assert_eq!(pace.pause(), Duration::from_millis(2550), "two ended, and the third was under way");
        pace.ended("h1", 1, at(70.0));
        assert_eq!(pace.pause(), PACE_MAX);
    }
}
