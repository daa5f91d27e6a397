//! A real OpenStack for the scenarios: started once for each release and test process, shared by scenarios that run
//! one after another, stopped when the process ends, however it ends.
//!
//! The scripts in `lab/` do the work and can be used by hand. State and logs are in `target/tmp/openstack-<release>`.
//! With `FURLOUGH_LAB_KEEP=1` the lab is left running for the next test process. Deliberately absent: installing
//! anything; without `lab/install.sh` a scenario fails and says so.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::nova::Nova;
use crate::scenario::Scenario;

/// Enough for waves, zones and groups; a fake host costs 62 MiB.
pub const HOSTS: usize = 12;

/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openstack/lab");

/// Which OpenStack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nova 34 from PyPI, microversion 2.104.
    Newest,
    /// Nova 26 (Zed) as in Debian 12, microversion 2.93.
    Zed,
}

impl Release {
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Zed => "zed",
        }
    }
}

/// The lab of each release, or why it did not start: then no further scenario waits for it in vain.
static LABS: [Mutex<Option<Result<Lab, String>>>; 2] = [const { Mutex::new(None) }; 2];

/// Runs `body` on the lab of `release`, alone; what it leaves behind is removed, also when it panics.
pub fn scenario(release: Release, body: impl FnOnce(&Scenario<'_>)) {
    let slot = match release {
        Release::Newest => &LABS[0],
        Release::Zed => &LABS[1],
    };
    // poisoned by a scenario that failed: its leftovers are removed all the same
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = slot.get_or_insert_with(|| Lab::start(release));
    let lab = lab.as_ref().unwrap_or_else(|e| panic!("the lab ({}) did not start: {e}", release.name()));
    let scenario = Scenario::begin(lab);
    body(&scenario);
}

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    pub release: Release,
    /// State and logs.
    pub dir: PathBuf,
    /// Nova through an administrator of project `demo`.
    pub nova: Nova,
    /// The `clouds` section of the lab's `clouds.yaml`.
    pub clouds: Value,
    /// Nothing of an earlier scenario is left.
    pub clean: Cell<bool>,
    /// Held while this process uses the lab; see [`stop_when_unlocked`].
    _lock: File,
}

impl Lab {
    fn start(release: Release) -> Result<Self, String> {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tmp.join(format!("openstack-{}", release.name()));
        let lock_path = tmp.join(format!("openstack-{}.lock", release.name()));
        let lock = File::create(&lock_path).map_err(|e| format!("{}: {e}", lock_path.display()))?;
        // another test process may be at work with this lab, or stopping it
        lock.lock().map_err(|e| format!("{}: {e}", lock_path.display()))?;
        if std::env::var_os("FURLOUGH_LAB_KEEP").is_none() {
            stop_when_unlocked(release, &dir, &lock_path)?;
        }
        script(release, &dir, "up.sh", &[], &[])?;
        script(release, &dir, "seed.sh", &["--only-infra"], &[])?;
        let path = dir.join("clouds.yaml");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file: Value = serde_yaml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let clouds = file["clouds"].clone();
        let nova = Nova::login(&clouds["lab-demo-admin"]["auth"]);
        Ok(Self { release, dir, nova, clouds, clean: Cell::new(false), _lock: lock })
    }

    /// Runs one of the lab's scripts; panics with its output when it fails.
    #[track_caller]
    pub fn script(&self, name: &str, args: &[&str], env: &[(&str, &str)]) {
        self.try_script(name, args, env).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Runs one of the lab's scripts and gives what it printed.
    pub fn try_script(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
        script(self.release, &self.dir, name, args, env)
    }

    /// The lab's hosts, `cmp01` and so on.
    pub fn hosts() -> Vec<String> {
        (1..=HOSTS).map(|i| format!("cmp{i:02}")).collect()
    }
}

/// A lab is to end with the process that uses it, however that ends, and a test process has no last word. So a
/// `flock` waits for the lock that the kernel takes from us when we are gone, and stops the lab then; a test process
/// that waits for the same lock either comes first, and keeps the lab, or finds it stopped.
fn stop_when_unlocked(release: Release, dir: &Path, lock: &Path) -> Result<(), String> {
    let mut command = Command::new("flock");
    command.arg(lock).arg(format!("{SCRIPTS}/down.sh")).arg("--wipe");
    command.env("LAB_RELEASE", release.name()).env("LAB_DIR", dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let waiting = command.spawn().map_err(|e| format!("flock (util-linux): {e}"))?;
    // it outlives us on purpose, so there is nobody to wait for it
    drop(waiting);
    Ok(())
}

pub fn script(release: Release, dir: &Path, name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
    let mut command = Command::new(format!("{SCRIPTS}/{name}"));
    command.args(args).stdin(Stdio::null());
    command.env("LAB_RELEASE", release.name()).env("LAB_DIR", dir).env("LAB_HOSTS", HOSTS.to_string());
    command.envs(env.iter().copied());
    let log = tempfile::tempfile().and_then(|f| Ok((f.try_clone()?, f.try_clone()?, f)));
    let (out, err, mut log) = log.map_err(|e| format!("{name}: no temporary file: {e}"))?;
    // a file and not a pipe: the lab's processes inherit it, and a pipe would never end
    let status = command.stdout(out).stderr(err).status().map_err(|e| format!("{name}: {e}"))?;
    let mut said = String::new();
    let read = std::io::Seek::rewind(&mut log).and_then(|()| std::io::Read::read_to_string(&mut log, &mut said));
    read.map_err(|e| format!("{name}: {status}; its output cannot be read: {e}"))?;
    if status.success() { Ok(said) } else { Err(format!("{name} {}: {status}\n{said}", args.join(" "))) }
}
