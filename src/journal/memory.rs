//! A journal that ends with its process: for rehearsals and tests. Clones share what they hold, like processes that
//! share a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::rules::{Holder, Mark, check_order};
use super::{Claim, Journal, JournalError, RunSummary};
use crate::event::{Event, RunId};

/// What stands for a path in messages.
const PLACE: &str = "in memory";

#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// In the order in which they began.
    runs: Vec<Run>,
    claimed: BTreeSet<RunId>,
    /// Cloud and host to the run that holds it.
    leases: BTreeMap<(String, String), RunId>,
}

#[derive(Debug)]
struct Run {
    id: RunId,
    events: Vec<Event>,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was stored of a run, taken out of the journal.
    pub fn take(&self, run: &RunId) -> Vec<Event> {
        let mut state = self.state();
        let at = state.runs.iter().position(|known| known.id == *run);
        at.map_or_else(Vec::new, |at| state.runs.remove(at).events)
    }

    /// A panic of another task leaves the state whole (each change is one statement), so poison says nothing here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn run(&self, id: &RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == *id)
    }

    fn events(&self, id: &RunId) -> Result<&[Event], JournalError> {
        match self.run(id) {
            Some(run) => Ok(&run.events),
            None => Err(JournalError::NoSuchRun { run: id.0.clone(), path: PLACE.to_owned() }),
        }
    }

    fn summary(&self, run: &Run) -> Option<RunSummary> {
        let last = run.events.last()?;
        let Mark::Begun { plan, cloud, at, .. } = Mark::of(run.events.first()?) else { return None };
        let ending = run.events.iter().fold(None, |ending, event| match Mark::of(event) {
            Mark::Ended(ending) => Some(ending),
            Mark::Begun { .. } | Mark::Resumed => None,
            Mark::Nothing => ending,
        });
        let held = self.leases.iter().filter(|(_, holder)| **holder == run.id);
        Some(RunSummary {
            id: run.id.clone(),
            plan: plan.to_owned(),
            cloud: cloud.to_owned(),
            started_at: at,
            updated_at: last.at,
            ending,
            live: self.claimed.contains(&run.id),
            hosts: held.map(|((_, host), _)| host.clone()).collect(),
        })
    }

    /// The refusal of the run that holds this host, if another one does.
    fn held(&self, run: &RunId, cloud: &str, host: &str) -> Option<JournalError> {
        let holder = self.leases.get(&(cloud.to_owned(), host.to_owned())).filter(|holder| *holder != run)?;
        let summary = self.run(holder).and_then(|run| self.summary(run));
        let live = self.claimed.contains(holder);
        let ending = summary.as_ref().and_then(|summary| summary.ending);
        Holder { run: holder, live, begun: summary.is_some(), ending }.refuses(host)
    }
}

struct Guard {
    journal: Memory,
    run: RunId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.journal.state().claimed.remove(&self.run);
    }
}

#[async_trait]
impl Journal for Memory {
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError> {
        let mut state = self.state();
        if state.claimed.contains(run) {
            return Err(JournalError::RunHeld { run: run.clone() });
        }
        if let Some(refusal) = hosts.iter().find_map(|host| state.held(run, cloud, host)) {
            return Err(refusal);
        }
        for host in hosts {
            state.leases.insert((cloud.to_owned(), host.clone()), run.clone());
        }
        state.claimed.insert(run.clone());
        Ok(Claim::new(Guard { journal: self.clone(), run: run.clone() }))
    }

    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError> {
        self.state().leases.retain(|(_, leased), holder| !(leased == host && holder == run));
        Ok(())
    }

    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError> {
        let mut state = self.state();
        if !state.claimed.contains(run) {
            return Err(JournalError::NotClaimed { run: run.clone() });
        }
        let last = state.run(run).and_then(|run| run.events.last()).map_or(0, |event| event.seq);
        check_order(run, last, &events)?;
        match state.runs.iter_mut().find(|known| known.id == *run) {
            Some(known) => known.events.extend(events),
            None if events.is_empty() => {}
            None => state.runs.push(Run { id: run.clone(), events }),
        }
        Ok(())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError> {
        self.state().events(run).map(<[Event]>::to_vec)
    }

    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError> {
        let state = self.state();
        Ok(state.events(run)?.iter().filter(|event| event.seq > seq).cloned().collect())
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        let state = self.state();
        Ok(state.runs.iter().rev().filter_map(|run| state.summary(run)).collect())
    }
}
