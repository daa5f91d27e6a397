//! Which process has a run: one empty file per run beside the journal, locked while somebody has it. They are left
//! there: unlinking one could let two processes lock two files of one name.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::event::RunId;
use crate::journal::lock;

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

    /// Takes a run, or `None` while somebody has it. Freed when the file is dropped.
    pub(super) fn take(&self, run: &RunId) -> io::Result<Option<File>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        lock::take(&self.dir.join(lock::file_name(&run.0)))
    }

    /// Whether a process (this one counts) has the run.
    pub(super) fn is_held(&self, run: &RunId) -> io::Result<bool> {
        lock::is_held(&self.dir.join(lock::file_name(&run.0)))
    }
}
