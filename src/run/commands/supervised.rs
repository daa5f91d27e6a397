//! Each command below a supervisor of its own: furlough itself, started with a hidden subcommand.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::record::Record;
use super::{CommandError, CommandSpec, CommandState, Commands};

/// How long a supervisor may take to say that it has begun. Longer only means that the machine is busy: the lock it
/// holds keeps the key, so nothing is decided by this.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// Runs commands below supervisors.
///
/// A command has furlough's environment and what its [`CommandSpec`] adds, less every variable of OpenStack's that is
/// a credential: `OS_PASSWORD`, `OS_TOKEN`, `OS_APPLICATION_CREDENTIAL_SECRET` and whatever else begins with `OS_` and
/// ends in one of these words. What a command writes is journalled, and `env` is a command. `OS_CLOUD` stays, so a
/// command that needs the cloud finds its credentials where furlough did, in `clouds.yaml`.
#[derive(Debug, Clone)]
pub struct Supervised {
    dir: PathBuf,
    exe: PathBuf,
}

impl Supervised {
    /// Records go below `dir`, which is made when it is needed. `exe` is called as `exe __supervise <directory>` and
    /// has to hand that directory to [`supervise`](super::supervise); on Linux `/proc/self/exe` is this very program,
    /// even when its file has been replaced by a newer one meanwhile.
    pub fn new(dir: &Path, exe: &Path) -> io::Result<Self> {
        Ok(Self { dir: absolute(dir)?, exe: absolute(exe)? })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(Record) -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let record = Record::of(&self.dir, key);
        let path = record.dir.display().to_string();
        match tokio::task::spawn_blocking(move || work(record)).await {
            Ok(result) => result,
            Err(error) => Err(CommandError::Record { key: key.to_owned(), path, cause: error.to_string() }),
        }
    }
}

#[async_trait]
impl Commands for Supervised {
    async fn start(&self, spec: &CommandSpec) -> Result<(), CommandError> {
        let (exe, mut spec) = (self.exe.clone(), spec.clone());
        self.blocking(&spec.key.clone(), move |record| {
            spec.cwd = absolute(&spec.cwd).map_err(|error| record.error(&spec.key, &error))?;
            start(&record, &exe, &spec)
        })
        .await
    }

    async fn state(&self, key: &str) -> Result<CommandState, CommandError> {
        let name = key.to_owned();
        self.blocking(key, move |record| record.state().map_err(|error| record.error(&name, &error))).await
    }

    async fn cancel(&self, key: &str) -> Result<(), CommandError> {
        let name = key.to_owned();
        self.blocking(key, move |record| {
            let failed = |error| record.error(&name, &error);
            match record.state().map_err(failed)? {
                CommandState::NeverStarted => Err(CommandError::NeverStarted { key: name }),
                CommandState::Running => record.cancel().map_err(failed),
                CommandState::Exited(_) | CommandState::TimedOut(_) | CommandState::Lost => Ok(()),
            }
        })
        .await
    }
}

fn start(record: &Record, exe: &Path, spec: &CommandSpec) -> Result<(), CommandError> {
    let key = &spec.key;
    let failed = |error: io::Error| record.error(key, &error);
    let not_run = |cause: String| CommandError::NotRun { key: key.clone(), cause };
    if spec.argv.first().is_none_or(String::is_empty) {
        return Err(not_run("it names no program".to_owned()));
    }
    let Some(held) = record.take().map_err(failed)? else {
        return Err(CommandError::AlreadyStarted { key: key.clone() });
    };
    record.write_spec(spec).map_err(failed)?;
    let log = record.log().map_err(failed)?;
    let mut command = Command::new(exe);
    command.arg("__supervise").arg(&record.dir).current_dir(&record.dir);
    // The supervisor has the lock as its standard input: from here until it is gone there is no instant without.
    command.stdin(held).stdout(Stdio::null()).stderr(log);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_credential(name)) {
        command.env_remove(name);
    }
    let spawned = command.spawn();
    // Our own copy of the lock is in there.
    drop(command);
    let mut supervisor =
        spawned.map_err(|error| not_run(format!("its supervisor {} could not be started: {error}", exe.display())))?;
    let begun = wait_for_begin(record, &mut supervisor);
    // Otherwise it would stay a zombie for as long as we live. Should there be no thread to be had, it does.
    let _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || supervisor.wait());
    if begun.map_err(failed)? {
        return Ok(());
    }
    let log = record.read_log().map_err(failed)?;
    Err(not_run(format!("its supervisor ended before it began it: {log}")))
}

/// False when the supervisor is gone and has not begun: then nothing was run.
fn wait_for_begin(record: &Record, supervisor: &mut Child) -> io::Result<bool> {
    let started = Instant::now();
    while started.elapsed() < BEGIN_WITHIN {
        let gone = supervisor.try_wait()?.is_some();
        if record.has_begun()? {
            return Ok(true);
        }
        if gone {
            return Ok(false);
        }
        sleep(POLL);
    }
    Ok(true)
}

fn is_credential(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let words: [&[u8]; 4] = [b"PASSWORD", b"PASSCODE", b"TOKEN", b"SECRET"];
    name.starts_with(b"OS_") && words.iter().any(|word| name.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_names() {
        let known = ["OS_PASSWORD", "OS_TOKEN", "OS_APPLICATION_CREDENTIAL_SECRET", "OS_AUTH_TOKEN", "OS_PASSCODE"];
        assert!(known.iter().all(|name| is_credential(OsStr::new(name))));
        let others = ["OS_CLOUD", "OS_USERNAME", "PATH", "OS_TOKEN_ENDPOINT", "MY_PASSWORD", "OS_"];
        assert!(!others.iter().any(|name| is_credential(OsStr::new(name))));
    }
}
