//! The one thread that writes: it takes whatever is waiting, makes one transaction of it, and lets everyone go after
//! one fsync. While that fsync runs the next batch gathers, so the more there is to do the more each fsync carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::locks::Locks;
use crate::event::{Ending, Event, RunId};
use crate::journal::JournalError;
use crate::journal::rules::{Holder, Mark, check_order};

/// Writes that may wait. A run has at most a few hundred steps under way, each waiting for one append, so this is only
/// reached when the disk stands still; callers then wait for room.
pub(super) const QUEUE: usize = 1024;

/// Something to be written, and who waits for it.
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) answer: oneshot::Sender<Result<(), JournalError>>,
}

pub(super) enum Task {
    /// Events with their kinds as JSON, which was made outside so that the writer only writes.
    Append {
        run: RunId,
        events: Vec<Event>,
        kinds: Vec<String>,
    },
    Lease {
        run: RunId,
        cloud: String,
        hosts: Vec<String>,
    },
    Release {
        run: RunId,
        host: String,
    },
}

/// What a task comes to: the outer error is the database's and takes the whole transaction with it, the inner one is a
/// refusal of this task alone, which has then written nothing.
type Performed = Result<Result<(), JournalError>, rusqlite::Error>;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: String,
    pub(super) locks: Locks,
    /// Transactions that were committed.
    pub(super) commits: Arc<AtomicU64>,
}

impl Writer {
    /// Runs until the last sender is gone. After a failure nothing is tried again, see [`crate::journal::Journal::append`].
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut failed: Option<Failure> = None;
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < QUEUE
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            let results = match &failed {
                Some(failure) => Err(failure.clone()),
                None => self.commit(&batch).map_err(|error| Failure::of_sqlite(&error)),
            };
            match results {
                Ok(results) => {
                    for (job, result) in batch.into_iter().zip(results) {
                        // Whoever no longer waits has been cancelled; what was written stays.
                        let _ = job.answer.send(result);
                    }
                }
                Err(failure) => {
                    for job in batch {
                        let _ = job.answer.send(Err(failure.clone().write(&self.path)));
                    }
                    failed = Some(failure);
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Result<(), JournalError>>, rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(match &job.task {
                Task::Append { run, events, kinds } => append(&transaction, run, events, kinds)?,
                Task::Lease { run, cloud, hosts } => lease(&transaction, &self.locks, &self.path, run, cloud, hosts)?,
                Task::Release { run, host } => release(&transaction, run, host)?,
            });
        }
        transaction.commit()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(results)
    }
}

fn append(transaction: &Transaction<'_>, run: &RunId, events: &[Event], kinds: &[String]) -> Performed {
    let last: Option<i64> = transaction
        .prepare_cached("SELECT max(seq) FROM events WHERE run = ?1")?
        .query_one([&run.0], |row| row.get(0))?;
    let last = last.and_then(|last| u64::try_from(last).ok()).unwrap_or(0);
    if let Err(refusal) = check_order(run, last, events) {
        return Ok(Err(refusal));
    }
    let mut insert = transaction.prepare_cached("INSERT INTO events (run, seq, at, kind) VALUES (?1, ?2, ?3, ?4)")?;
    for (event, kind) in events.iter().zip(kinds) {
        // It follows the last stored one, which was an i64.
        let seq = i64::try_from(event.seq).unwrap_or(i64::MAX);
        insert.execute(params![run.0, seq, event.at.to_string(), kind])?;
        mark(transaction, run, event)?;
    }
    if let Some(event) = events.last() {
        transaction
            .prepare_cached("UPDATE runs SET updated_at = ?2 WHERE id = ?1")?
            .execute(params![run.0, event.at.to_string()])?;
    }
    Ok(Ok(()))
}

/// Keeps the row in `runs` true to the events.
fn mark(transaction: &Transaction<'_>, run: &RunId, event: &Event) -> Result<(), rusqlite::Error> {
    let ending = match Mark::of(event) {
        Mark::Begun { plan, cloud, event_version, at } => {
            let row = params![run.0, plan, cloud, event_version, at.to_string()];
            transaction
                .prepare_cached(
                    "INSERT INTO runs (id, plan, cloud, event_version, started_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                )?
                .execute(row)?;
            return Ok(());
        }
        Mark::Nothing => return Ok(()),
        Mark::Resumed => None,
        Mark::Ended(ending) => Some(ending_word(ending)),
    };
    transaction.prepare_cached("UPDATE runs SET ending = ?2 WHERE id = ?1")?.execute(params![run.0, ending])?;
    Ok(())
}

fn lease(
    transaction: &Transaction<'_>,
    locks: &Locks,
    path: &str,
    run: &RunId,
    cloud: &str,
    hosts: &[String],
) -> Performed {
    for host in hosts {
        let row = transaction
            .prepare_cached(
                "SELECT leases.run, runs.id IS NOT NULL, runs.ending
                 FROM leases LEFT JOIN runs ON runs.id = leases.run
                 WHERE leases.cloud = ?1 AND leases.host = ?2 AND leases.run <> ?3",
            )?
            .query_row(params![cloud, host, run.0], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<String>>(2)?))
            })
            .optional()?;
        let Some((holder, begun, ending)) = row else { continue };
        let holder = RunId(holder);
        let live = match locks.is_held(&holder) {
            Ok(live) => live,
            Err(error) => return Ok(Err(Failure::of_io("its locks", &error).open(path))),
        };
        let ending = ending.as_deref().and_then(ending_of);
        if let Some(refusal) = (Holder { run: &holder, live, begun, ending }).refuses(host) {
            return Ok(Err(refusal));
        }
    }
    for host in hosts {
        transaction
            .prepare_cached(
                "INSERT INTO leases (cloud, host, run) VALUES (?1, ?2, ?3)
                 ON CONFLICT (cloud, host) DO UPDATE SET run = excluded.run",
            )?
            .execute(params![cloud, host, run.0])?;
    }
    Ok(Ok(()))
}

fn release(transaction: &Transaction<'_>, run: &RunId, host: &str) -> Performed {
    transaction.prepare_cached("DELETE FROM leases WHERE run = ?1 AND host = ?2")?.execute(params![run.0, host])?;
    Ok(Ok(()))
}

/// As in the events' JSON.
fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Failed => "failed",
        Ending::Interrupted => "interrupted",
        Ending::Paused => "paused",
        Ending::RolledBack => "rolled_back",
    }
}

pub(super) fn ending_of(word: &str) -> Option<Ending> {
    [Ending::Done, Ending::Failed, Ending::Interrupted, Ending::Paused, Ending::RolledBack]
        .into_iter()
        .find(|ending| ending_word(*ending) == word)
}
