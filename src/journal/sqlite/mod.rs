//! The journal in one SQLite file: write-ahead log with `synchronous=FULL`, so that what was acknowledged survives the
//! power cut, and an operator or auditor can look into it with `sqlite3`.
//!
//! Several processes share one file, each with one writer. Deliberately absent: network file systems (SQLite's log
//! needs shared memory, and the run's locks a kernel that has both processes), deletion of old runs.

mod failure;
mod locks;
mod open;
mod writer;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use self::failure::Failure;
use self::locks::Locks;
use self::writer::{Job, QUEUE, Task, Writer, ending_of};
use super::{Claim, Journal, JournalError, RunSummary};
use crate::event::{EVENT_VERSION, Event, RunId};

/// How long to wait for another process's transaction. Ours last milliseconds; a backup or a shell that holds the file
/// longer than this has to be ended by somebody.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A journal in a file.
pub struct Sqlite {
    path: String,
    locks: Locks,
    /// Reading never waits for the writer: the log lets both go on.
    reader: Arc<Mutex<Connection>>,
    /// `None` when it was opened for reading.
    writer: Option<Handle>,
    /// Runs that this process has.
    claimed: Arc<Mutex<BTreeSet<RunId>>>,
    commits: Arc<AtomicU64>,
}

struct Handle {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the journal for writing. Missing directories (0700) and the file (0600) are made; one of an older format
    /// is brought up to date.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_limited(path, None)
    }

    /// With a most number of pages, for what a full disk does.
    pub(super) fn open_limited(path: &Path, max_pages: Option<u32>) -> Result<Self, JournalError> {
        let connection = open::for_writing(path)?;
        let name = path.display().to_string();
        if let Some(max_pages) = max_pages {
            connection
                .pragma_update_and_check(None, "max_page_count", max_pages, |_| Ok(()))
                .map_err(|error| Failure::of_sqlite(&error).open(&name))?;
        }
        let mut journal = Self::around(path, open::for_reading(path)?);
        let writer = Writer {
            connection,
            path: name.clone(),
            locks: journal.locks.clone(),
            commits: Arc::clone(&journal.commits),
        };
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|error| Failure::of_io("its writer could not be started", &error).open(&name))?;
        journal.writer = Some(Handle { jobs, thread });
        Ok(journal)
    }

    /// Opens a journal that exists, to look at it; everything that writes is refused. Permission to write is not
    /// needed, except to bring an older format up to date.
    pub fn open_read_only(path: &Path) -> Result<Self, JournalError> {
        if !path.exists() {
            let remedy = "there is none until a plan has been run";
            return Err(Failure::new("there is no such file", remedy).open(&path.display().to_string()));
        }
        let connection = open::for_reading(path)?;
        if open::is_current(&connection, path)? {
            return Ok(Self::around(path, connection));
        }
        drop(connection);
        drop(open::for_writing(path)?);
        Ok(Self::around(path, open::for_reading(path)?))
    }

    fn around(path: &Path, reader: Connection) -> Self {
        Self {
            path: path.display().to_string(),
            locks: Locks::beside(path),
            reader: Arc::new(Mutex::new(reader)),
            writer: None,
            claimed: Arc::default(),
            commits: Arc::default(),
        }
    }

    /// How many transactions this journal has committed since it was opened: far fewer than appends under load.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    async fn write(&self, task: Task) -> Result<(), JournalError> {
        let Some(writer) = &self.writer else {
            return Err(Failure::new("it was opened for reading", "open it for writing").write(&self.path));
        };
        let gone = || Failure::new("its writer has ended", "`furlough resume` the run").write(&self.path);
        let (answer, answered) = oneshot::channel();
        writer.jobs.send(Job { task, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Runs blocking work where it does not hold up the other tasks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(JournalError::Read { path: self.path.clone(), cause: error.to_string() }),
        }
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Result<T, JournalError>, rusqlite::Error> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reader, path) = (Arc::clone(&self.reader), self.path.clone());
        self.blocking(move || {
            let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| Failure::of_sqlite(&error).read(&path))?
        })
        .await
    }
}

impl Drop for Sqlite {
    /// Waits for what is queued to be written (at most [`QUEUE`] appends), so that the file can be opened again at once.
    fn drop(&mut self) {
        if let Some(Handle { jobs, thread }) = self.writer.take() {
            drop(jobs);
            // A panic of the writer has already failed everyone who waited for it.
            let _ = thread.join();
        }
    }
}

/// Frees the run when dropped; the kernel does so when the process dies.
struct Guard {
    run: RunId,
    claimed: Arc<Mutex<BTreeSet<RunId>>>,
    _lock: File,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

#[async_trait]
impl Journal for Sqlite {
    async fn claim(&self, run: &RunId, cloud: &str, hosts: &[String]) -> Result<Claim, JournalError> {
        // The lock comes before the leases: a lease whose run is not locked is then that of a dead process.
        let (locks, id, path) = (self.locks.clone(), run.clone(), self.path.clone());
        let lock = self
            .blocking(move || locks.take(&id).map_err(|error| Failure::of_io("its locks", &error).open(&path)))
            .await?
            .ok_or_else(|| JournalError::RunHeld { run: run.clone() })?;
        self.write(Task::Lease { run: run.clone(), cloud: cloud.to_owned(), hosts: hosts.to_vec() }).await?;
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone());
        Ok(Claim::new(Guard { run: run.clone(), claimed: Arc::clone(&self.claimed), _lock: lock }))
    }

    async fn release(&self, run: &RunId, host: &str) -> Result<(), JournalError> {
        self.write(Task::Release { run: run.clone(), host: host.to_owned() }).await
    }

    async fn append(&self, run: &RunId, events: Vec<Event>) -> Result<(), JournalError> {
        if !self.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(run) {
            return Err(JournalError::NotClaimed { run: run.clone() });
        }
        let kinds: Result<Vec<String>, _> = events.iter().map(|event| serde_json::to_string(&event.kind)).collect();
        let kinds = kinds.map_err(|error| {
            Failure::new(format!("an event is not JSON ({error})"), "report the message").write(&self.path)
        })?;
        self.write(Task::Append { run: run.clone(), events, kinds }).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Event>, JournalError> {
        self.read_after(run, 0).await
    }

    async fn read_after(&self, run: &RunId, seq: u64) -> Result<Vec<Event>, JournalError> {
        let (run, path) = (run.clone(), self.path.clone());
        self.query(move |connection| {
            let version: Option<u32> = connection
                .prepare_cached("SELECT event_version FROM runs WHERE id = ?1")?
                .query_row([&run.0], |row| row.get(0))
                .optional()?;
            match version {
                None => return Ok(Err(JournalError::NoSuchRun { run: run.0, path })),
                Some(found) if found > EVENT_VERSION => {
                    return Ok(Err(JournalError::Newer { path, found, known: EVENT_VERSION }));
                }
                Some(_) => {}
            }
            let after = i64::try_from(seq).unwrap_or(i64::MAX);
            let mut select = connection
                .prepare_cached("SELECT seq, at, kind FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq")?;
            let mut rows = select.query(params![run.0, after])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                match event_of(row)? {
                    Ok(event) => events.push(event),
                    Err((seq, error)) => {
                        let cause = format!("event {seq} of {run}: {error}");
                        return Ok(Err(JournalError::Read { path, cause }));
                    }
                }
            }
            Ok(Ok(events))
        })
        .await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        let (locks, path) = (self.locks.clone(), self.path.clone());
        self.query(move |connection| {
            let mut hosts = connection.prepare_cached("SELECT host FROM leases WHERE run = ?1 ORDER BY host")?;
            let mut select = connection.prepare_cached(
                "SELECT id, plan, cloud, started_at, updated_at, ending FROM runs ORDER BY number DESC",
            )?;
            let mut rows = select.query([])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id = RunId(row.get(0)?);
                let times = (row.get::<_, String>(3)?.parse::<Timestamp>(), row.get::<_, String>(4)?.parse());
                let (Ok(started_at), Ok(updated_at)) = times else {
                    return Ok(Err(JournalError::Read { path, cause: format!("the times of run {id} are damaged") }));
                };
                let live = match locks.is_held(&id) {
                    Ok(live) => live,
                    Err(error) => return Ok(Err(Failure::of_io("its locks", &error).read(&path))),
                };
                runs.push(RunSummary {
                    plan: row.get(1)?,
                    cloud: row.get(2)?,
                    started_at,
                    updated_at,
                    ending: row.get::<_, Option<String>>(5)?.as_deref().and_then(ending_of),
                    live,
                    hosts: hosts.query_map([&id.0], |row| row.get(0))?.collect::<Result<_, _>>()?,
                    id,
                });
            }
            Ok(Ok(runs))
        })
        .await
    }
}

/// A row of `events`, or why it is none.
fn event_of(row: &Row<'_>) -> Result<Result<Event, (i64, String)>, rusqlite::Error> {
    let seq: i64 = row.get(0)?;
    let (at, kind): (String, String) = (row.get(1)?, row.get(2)?);
    let event = || -> Result<Event, String> {
        Ok(Event {
            seq: u64::try_from(seq).map_err(|error| error.to_string())?,
            at: at.parse().map_err(|error: jiff::Error| error.to_string())?,
            kind: serde_json::from_str(&kind).map_err(|error| error.to_string())?,
        })
    };
    Ok(event().map_err(|error| (seq, error)))
}
