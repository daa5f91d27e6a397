//! Which process has a run: a lock of the operating system's on one empty file per run, which the kernel frees when
//! the process ends, however it ends. A row in the database would outlive a killed process and need guessing.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::event::RunId;

/// Looking whether a run is live takes its lock for an instant, so one refusal does not yet mean that it is held.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The directory of lock files beside a journal.
#[derive(Debug, Clone)]
pub(super) struct Locks {
    dir: PathBuf,
}

impl Locks {
    pub(super) fn beside(journal: &Path) -> Self {
        let mut dir = journal.as_os_str().to_owned();
        dir.push(".lock.d");
        Self { dir: dir.into() }
    }

    /// Takes the lock of a run, or `None` while somebody has it. Freed when the file is dropped.
    pub(super) fn take(&self, run: &RunId) -> io::Result<Option<File>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(file_name(run));
        let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(path)?;
        for attempt in 1..=TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if attempt < TRIES => sleep(BETWEEN_TRIES),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        Ok(None)
    }

    /// Whether a process (this one counts) has the run.
    pub(super) fn is_held(&self, run: &RunId) -> io::Result<bool> {
        let file = match File::open(self.dir.join(file_name(run))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Shared, so that two who look do not see each other.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The run's name with everything but ASCII letters, digits and `-` written as `%xx`, so that what an operator types
/// after `resume` cannot name a file elsewhere.
fn file_name(run: &RunId) -> String {
    let mut name = String::with_capacity(run.0.len());
    for byte in run.0.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_the_directory() {
        assert_eq!(file_name(&RunId("20261123-1642-9f2c".into())), "20261123-1642-9f2c");
        assert_eq!(file_name(&RunId("../a".into())), "%2e%2e%2fa");
        assert_eq!(file_name(&RunId(String::new())), "");
    }

    #[test]
    fn a_lock_is_held_once_and_freed_by_dropping() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::beside(&dir.path().join("j"));
        let run = RunId("r".into());
        assert!(!locks.is_held(&run).unwrap());
        let held = locks.take(&run).unwrap().unwrap();
        assert!(locks.is_held(&run).unwrap());
        assert!(locks.take(&run).unwrap().is_none());
        drop(held);
        assert!(!locks.is_held(&run).unwrap());
        assert!(locks.take(&run).unwrap().is_some());
    }
}
