//! A run over the fake cloud, whose journal may take the process with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::fake::{Fake, Machine};
use crate::cloud::Cloud as _;
use crate::compile::{Graph, compile};
use crate::event::{Event, EventKind, Outcome, RunId, Update};
use crate::journal::{Claim, Journal, JournalError, Memory, RunSummary};
use crate::plan::Plan;
use crate::run::{Begin, Clock, Ended, Setup, Stop, drive};

/// What happens at one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The process dies, and nothing of it is on disk.
    Before,
    /// The process dies, and all of it is on disk.
    After,
}

/// A journal that something happens to at the n-th append.
pub(super) struct Mortal {
    inner: Memory,
    fake: Arc<Fake>,
    pub appends: AtomicUsize,
    at: usize,
    death: Death,
    died: Notify,
}

impl Mortal {
    pub(super) fn immortal(inner: &Memory, fake: &Arc<Fake>) -> Arc<Self> {
        Self::dying(inner, fake, usize::MAX, Death::Before)
    }

    /// `at` counts from 1.
    pub(super) fn dying(inner: &Memory, fake: &Arc<Fake>, at: usize, death: Death) -> Arc<Self> {
        let (inner, fake) = (inner.clone(), Arc::clone(fake));
        Arc::new(Self { inner, fake, appends: AtomicUsize::new(0), at, death, died: Notify::new() })
    }
}

#[async_trait]
impl Journal for Mortal {
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError> {
        self.inner.claim(run, cloud, hosts).await
    }

    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError> {
        self.inner.release(run, host).await
    }

    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError> {
        let count = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        // An fsync is not instant: what else may happen meanwhile, happens.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        if count == self.at && self.death == Death::Before {
            self.died.notify_one();
            return std::future::pending().await;
        }
        self.inner.append(run, events.clone()).await?;
        self.fake.world().durable.extend(events);
        if count == self.at {
            self.died.notify_one();
            return std::future::pending().await;
        }
        Ok(())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError> {
        self.inner.read(run).await
    }

    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError> {
        self.inner.read_after(run, seq).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.runs().await
    }
}

pub(super) fn run_id() -> RunId {
    RunId("20260301-0200-9f2c".to_owned())
}

pub(super) struct Stage {
    pub fake: Arc<Fake>,
    pub memory: Memory,
    pub plan: Plan,
}

impl Stage {
    pub(super) fn new(fake: Arc<Fake>, plan: Plan) -> Self {
        Self { fake, memory: Memory::new(), plan }
    }

    pub(super) async fn graph(&self) -> Graph {
        let graph = compile(&self.plan, &self.fake.inventory().await.unwrap(), "lab").unwrap();
        assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
        graph
    }

    pub(super) async fn events(&self) -> Vec<Event> {
        self.memory.read(&run_id()).await.unwrap_or_default()
    }

    /// One process: begins the run, or goes on with it. `None` when it died.
    pub(super) async fn process(&self, journal: &Arc<Mortal>) -> Option<Ended> {
        let (_stop, stopped) = watch::channel(None);
        self.process_until(journal, stopped).await
    }

    pub(super) async fn process_until(
        &self,
        journal: &Arc<Mortal>,
        stopped: watch::Receiver<Option<Stop>>,
    ) -> Option<Ended> {
        let events = self.events().await;
        let begin = if events.is_empty() {
            let graph = Box::new(self.graph().await);
            Begin::New { graph, plan_text: None, folder: PathBuf::new() }
        } else {
            Begin::Resume { events }
        };
        let _claim = journal.claim(&run_id(), "lab", &[]).await.unwrap();
        let setup = Setup {
            run: run_id(),
            cloud: self.fake.clone(),
            journal: journal.clone(),
            commands: Arc::new(Machine(self.fake.clone())),
            clock: Clock::starting_at("2026-03-01T02:00:00Z".parse().unwrap()),
        };
        let mut show = |_: &Update| {};
        let night = std::time::Duration::from_secs(24 * 3600);
        tokio::select! {
            ended = drive(setup, begin, stopped, &mut show) => Some(ended.unwrap()),
            () = journal.died.notified() => None,
            () = tokio::time::sleep(night) => panic!("a day has passed: {:#?}", self.last().await),
        }
    }

    async fn last(&self) -> Vec<EventKind> {
        self.events().await.into_iter().rev().take(12).map(|event| event.kind).collect()
    }

    pub(super) async fn to_the_end(&self) -> Ended {
        self.process(&Mortal::immortal(&self.memory, &self.fake)).await.unwrap()
    }

    /// What became of each server and host.
    pub(super) fn state(&self) -> Vec<String> {
        let world = self.fake.world();
        let servers = world.servers.values().map(|row| {
            let on = row.host.as_deref().unwrap_or("-");
            format!("{} {} on {on} {:?}", row.id, row.status, row.task_state)
        });
        let services = world.services.values();
        servers.chain(services.map(|row| format!("{} {:?} {:?}", row.host, row.status, row.disabled_reason))).collect()
    }

    pub(super) fn wrongs(&self) -> Vec<String> {
        self.fake.world().wrongs.clone()
    }

    pub(super) async fn outcomes(&self) -> Vec<(String, Outcome)> {
        let settled = |event: Event| match event.kind {
            EventKind::StepSettled { step, outcome, .. } => Some((step.0, outcome)),
            _ => None,
        };
        self.events().await.into_iter().filter_map(settled).collect()
    }
}
