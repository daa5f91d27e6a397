//! SQLite's errors in an operator's words: what happened, and what to do about it.

use rusqlite::ErrorCode;

use crate::journal::JournalError;

/// Cause and remedy of a failure, without the file's name.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) remedy: String,
}

impl Failure {
    pub(super) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    pub(super) fn of_sqlite(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                Self::new("its disk is full", "make room on that file system, then `furlough resume` the run")
            }
            Some(ErrorCode::ReadOnly) => Self::new(
                format!("it is read-only ({error})"),
                "make the file and its directory writable for you, or choose another place for the journal",
            ),
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::AuthorizationForStatementDenied) => {
                Self::new(
                    format!("it cannot be opened ({error})"),
                    "see that it is a file, and that it and its directory belong to you",
                )
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::new(
                format!("it is damaged, or no journal at all ({error})"),
                "keep it with its -wal and -shm files, and put a copy from a backup in its place; \
                 the disabled reason of each host names the run that has it",
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::new(
                    format!("another process has kept it locked for {} s", super::BUSY_TIMEOUT.as_secs()),
                    "end what holds it (a sqlite3 shell, a backup), then `furlough resume` the run",
                )
            }
            Some(ErrorCode::SystemIoFailure) => Self::new(
                format!("its disk failed ({error})"),
                "look at the system's log for that disk, then `furlough resume` the run",
            ),
            _ => Self::new(error.to_string(), "this is not expected: keep the file, and report the message"),
        }
    }

    pub(super) fn of_io(what: &str, error: &std::io::Error) -> Self {
        let remedy = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "make room on that file system",
            std::io::ErrorKind::Unsupported => "choose a place for the journal on a local file system",
            _ => "see that its directory is one, and that both belong to you; or choose another place for the journal",
        };
        Self::new(format!("{what}: {error}"), remedy)
    }

    pub(super) fn open(self, path: &str) -> JournalError {
        JournalError::Open { path: path.to_owned(), cause: self.cause, remedy: self.remedy }
    }

    pub(super) fn write(self, path: &str) -> JournalError {
        JournalError::Write { path: path.to_owned(), cause: self.cause, remedy: self.remedy }
    }

    pub(super) fn read(self, path: &str) -> JournalError {
        JournalError::Read { path: path.to_owned(), cause: format!("{}; {}", self.cause, self.remedy) }
    }
}
