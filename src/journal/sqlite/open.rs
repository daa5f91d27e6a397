//! Opening the file: making it, checking that it is ours, bringing an older one up to date.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::BUSY_TIMEOUT;
use super::failure::Failure;
use crate::journal::JournalError;

/// Step `n` brings format `n` to `n + 1`; format 0 is an empty file. A step, once released, is never changed.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// The format that this version writes.
const KNOWN: u32 = STEPS.len() as u32;

/// Between two attempts at what SQLite refuses without waiting itself.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn for_writing(path: &Path) -> Result<Connection, JournalError> {
    let name = path.display().to_string();
    create(path).map_err(|error| Failure::of_io("it cannot be made", &error).open(&name))?;
    let mut connection = connect(path).map_err(|error| Failure::of_sqlite(&error).open(&name))?;
    // Before anything is changed: a stranger's database, or a newer one, is left as it is.
    version(&connection, path)?;
    prepare(&connection).map_err(|error| Failure::of_sqlite(&error).open(&name))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// SQLite itself falls back to reading where the file cannot be written.
pub(super) fn for_reading(path: &Path) -> Result<Connection, JournalError> {
    let open = || -> Result<Connection, rusqlite::Error> {
        let connection = connect(path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    open().map_err(|error| Failure::of_sqlite(&error).open(&path.display().to_string()))
}

/// False when it has to be brought up to date first.
pub(super) fn is_current(connection: &Connection, path: &Path) -> Result<bool, JournalError> {
    Ok(version(connection, path)? == KNOWN)
}

/// Makes the file with its directories, for its owner only: plans and the names of servers are nobody else's.
fn create(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // SQLite syncs the entries of its log files, not that of the database.
        Ok(_) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    // Without SQLITE_OPEN_URI: a path is a path, whatever characters it has.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    let started = Instant::now();
    // Two processes that open a new file at once collide here, and SQLite does not wait.
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(_) => break,
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && started.elapsed() < BUSY_TIMEOUT =>
            {
                sleep(RETRY_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Only macOS knows the difference: there a plain fsync leaves the data in the drive's cache.
    connection.pragma_update(None, "fullfsync", true)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let failed = |error: rusqlite::Error| Failure::of_sqlite(&error).open(&path.display().to_string());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Read again inside the transaction: another process may have been quicker.
    let found = version(&transaction, path)?;
    for step in STEPS.iter().skip(found as usize) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    if found < KNOWN {
        transaction.execute("UPDATE meta SET schema_version = ?1", [KNOWN]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// The format of the file; 0 when it is empty.
fn version(connection: &Connection, path: &Path) -> Result<u32, JournalError> {
    let name = path.display().to_string();
    let read = || -> Result<Option<u32>, rusqlite::Error> {
        let count = "SELECT count(*), count(CASE name WHEN 'meta' THEN 1 END) FROM sqlite_schema WHERE type = 'table'";
        match connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))? {
            (0_u32, _) => Ok(Some(0)),
            (_, 0_u32) => Ok(None),
            _ => connection.query_row("SELECT schema_version FROM meta", [], |row| row.get(0)).map(Some),
        }
    };
    match read() {
        Ok(Some(found)) if found <= KNOWN => Ok(found),
        Ok(Some(found)) => Err(JournalError::Newer { path: name, found, known: KNOWN }),
        Ok(None) => {
            let remedy = "choose another place for the journal";
            Err(Failure::new("it is another program's database", remedy).open(&name))
        }
        Err(error) => Err(Failure::of_sqlite(&error).open(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let connection = for_writing(&dir.path().join("j.db")).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        // SQLite numbers them: 2 is FULL.
        let synchronous: u32 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2);
    }
}
