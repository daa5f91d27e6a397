//! The journal of a night: in memory, as slow as a disk, full or with the process's death in it where it is told so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::cloud::sim::{Sim, What};
use crate::event::{Event, RunId};
use crate::journal::{Claim, Journal, JournalError, Memory, RunSummary};

/// An append with its fsync.
const FSYNC_MS: [u64; 2] = [1, 8];

/// What ends a process at an append, before somebody takes the run up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Of its process, from 1.
    pub append: u64,
    pub when: KillWhen,
    /// Until somebody says `furlough resume`.
    pub pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillWhen {
    /// It dies as of `kill -9`, and nothing of the append is on disk.
    Before,
    /// It dies; all of the append is on disk, and nothing that follows from it has been done.
    After,
    /// The disk is full from here on; the process lives, and ends as one whose journal failed.
    Full,
}

pub(super) struct Disk {
    pub memory: Memory,
    sim: Arc<Sim>,
    /// Of the process there is now.
    kill: Mutex<Option<Kill>>,
    /// Appends of the process there is now.
    own: AtomicU64,
    /// Appends of those before it.
    before: AtomicU64,
    durable: AtomicU64,
    /// Told when the process dies.
    pub died: Notify,
}

impl Disk {
    pub(super) fn new(sim: &Arc<Sim>, memory: Memory) -> Self {
        Self {
            memory,
            sim: Arc::clone(sim),
            kill: Mutex::default(),
            own: AtomicU64::new(0),
            before: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            died: Notify::new(),
        }
    }

    /// A process begins, and this is what ends it.
    pub(super) fn next_process(&self, kill: Option<Kill>) {
        *self.kill.lock().unwrap_or_else(PoisonError::into_inner) = kill;
        self.before.fetch_add(self.own.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Appends so far, of all processes.
    pub(super) fn appends(&self) -> u64 {
        self.before.load(Ordering::Relaxed) + self.own.load(Ordering::Relaxed)
    }

    /// Says in the night's log what became of a process.
    pub(super) fn tell(&self, text: &str) {
        self.sim.log().push_with(self.sim.now_ms(), || What::Process { text: text.to_owned() });
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Journal for Disk {
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError> {
        self.memory.claim(run, cloud, hosts).await
    }

    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError> {
        self.memory.release(run, host).await
    }

    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError> {
        let own = self.own.fetch_add(1, Ordering::Relaxed) + 1;
        let kill = *self.kill.lock().unwrap_or_else(PoisonError::into_inner);
        let now = kill.filter(|kill| kill.append == own).map(|kill| kill.when);
        // An fsync is not instant: what else may happen meanwhile, happens.
        tokio::time::sleep(Duration::from_millis(self.sim.next_draw("fsync").between(FSYNC_MS))).await;
        if kill.is_some_and(|kill| kill.when == KillWhen::Full && kill.append <= own) {
            let (path, cause, remedy) = ("journal".to_owned(), "disk full".to_owned(), "make room".to_owned());
            return Err(JournalError::Write { path, cause, remedy });
        }
        if now == Some(KillWhen::Before) {
            return self.die().await;
        }
        let count = events.len() as u64;
        self.memory.append(run, events).await?;
        let durable = self.durable.fetch_add(count, Ordering::Relaxed) + count;
        self.sim.log().push_with(self.sim.now_ms(), || What::Durable { events: durable });
        if now == Some(KillWhen::After) {
            return self.die().await;
        }
        Ok(())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError> {
        self.memory.read(run).await
    }

    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError> {
        self.memory.read_after(run, seq).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.memory.runs().await
    }
}
