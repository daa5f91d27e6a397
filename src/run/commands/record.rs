//! What is on disk of one command. Each file is written whole or not at all, and only by whoever holds the lock:
//!
//! | file | |
//! |---|---|
//! | `lock` | locked from before the supervisor is spawned until it is gone; handed on to it, so without a gap |
//! | `spec.json` | what to run |
//! | `began` | from here on the command may have run |
//! | `cancel` | somebody wants it to end (this one by anybody) |
//! | `exit.json` | how it ended |
//! | `supervisor.log` | what the supervisor had to complain of |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CommandError, CommandSpec, CommandState};
use crate::event::Output;
use crate::journal::lock;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exit {
    pub(super) timed_out: bool,
    pub(super) output: Output,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) dir: PathBuf,
}

impl Record {
    pub(super) fn of(all: &Path, key: &str) -> Self {
        Self { dir: all.join(lock::file_name(key)) }
    }

    /// Takes it for a start: `None` when it is being started, runs, or has run.
    pub(super) fn take(&self) -> io::Result<Option<File>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let Some(held) = lock::take(&self.path("lock"))? else { return Ok(None) };
        if self.has_begun()? || self.path("exit.json").try_exists()? {
            return Ok(None);
        }
        // Of a start that came to nothing.
        match fs::remove_file(self.path("cancel")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Some(held)),
        }
    }

    pub(super) fn write_spec(&self, spec: &CommandSpec) -> io::Result<()> {
        self.write("spec.json", &serde_json::to_vec(spec)?)
    }

    pub(super) fn spec(&self) -> io::Result<CommandSpec> {
        Ok(serde_json::from_slice(&fs::read(self.path("spec.json"))?)?)
    }

    pub(super) fn begin(&self) -> io::Result<()> {
        self.write("began", b"")
    }

    pub(super) fn has_begun(&self) -> io::Result<bool> {
        self.path("began").try_exists()
    }

    pub(super) fn end(&self, exit: &Exit) -> io::Result<()> {
        self.write("exit.json", &serde_json::to_vec(exit)?)
    }

    pub(super) fn cancel(&self) -> io::Result<()> {
        self.create("cancel").map(drop)
    }

    pub(super) fn is_cancelled(&self) -> io::Result<bool> {
        self.path("cancel").try_exists()
    }

    pub(super) fn log(&self) -> io::Result<File> {
        self.create("supervisor.log")
    }

    pub(super) fn read_log(&self) -> io::Result<String> {
        fs::read(self.path("supervisor.log")).map(|log| String::from_utf8_lossy(&log).trim().to_owned())
    }

    pub(super) fn state(&self) -> io::Result<CommandState> {
        if let Some(exit) = self.exit()? {
            return Ok(exit);
        }
        if lock::is_held(&self.path("lock"))? {
            return Ok(CommandState::Running);
        }
        // Its end may have been recorded between the two looks.
        match self.exit()? {
            Some(exit) => Ok(exit),
            None if self.has_begun()? => Ok(CommandState::Lost),
            None => Ok(CommandState::NeverStarted),
        }
    }

    pub(super) fn error(&self, key: &str, error: &io::Error) -> CommandError {
        CommandError::Record { key: key.to_owned(), path: self.dir.display().to_string(), cause: error.to_string() }
    }

    fn exit(&self) -> io::Result<Option<CommandState>> {
        let json = match fs::read(self.path("exit.json")) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Exit { timed_out, output } = serde_json::from_slice(&json)?;
        Ok(Some(if timed_out { CommandState::TimedOut(output) } else { CommandState::Exited(output) }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.tmp");
        let mut file = self.create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(self.path(&temporary), self.path(name))?;
        File::open(&self.dir)?.sync_all()
    }
}
