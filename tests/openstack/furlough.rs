//! The furlough binary as an operator meets it: arguments in; output, exit code, and a process to kill.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What a finished furlough leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The exit code must be this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "furlough said\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A place for furlough to run in: its home, its journal, its `clouds.yaml`, nothing of this machine's user.
#[derive(Debug)]
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    /// With this text as `clouds.yaml`; the cloud in it is called `lab`.
    pub fn new(clouds: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        std::fs::write(dir.path().join("clouds.yaml"), clouds).expect("write clouds.yaml");
        Self { dir }
    }

    /// The working directory; relative paths in the arguments start here.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, such as a plan, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// Runs furlough to its end; kills it and panics when it takes longer than `limit`.
    #[track_caller]
    pub fn run(&self, args: &[&str], limit: Duration) -> Outcome {
        self.spawn(args).wait(limit)
    }

    /// Starts furlough and leaves it running.
    pub fn spawn(&self, args: &[&str]) -> Running {
        let output = TempDir::new_in(self.path()).expect("a directory for the output").keep();
        let file = |name: &str| File::create(output.join(name)).expect("a file for the output");
        let mut command = Command::new(env!("CARGO_BIN_EXE_furlough"));
        command.args(args).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env("OS_CLIENT_CONFIG_FILE", self.path().join("clouds.yaml")).env("OS_CLOUD", "lab");
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().expect("start furlough");
        Running { child, output, what: args.join(" ") }
    }
}

/// A furlough at work; killed with its owner.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: PathBuf,
    what: String,
}

impl Running {
    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.output.join(name)).unwrap_or_default()).into_owned()
    }

    /// None while it runs.
    pub fn finished(&mut self) -> Option<Outcome> {
        let status = self.child.try_wait().expect("ask for furlough's exit status")?;
        Some(Outcome { code: status.code(), stdout: self.stdout(), stderr: self.stderr() })
    }

    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Outcome {
        let begun = Instant::now();
        loop {
            if let Some(outcome) = self.finished() {
                return outcome;
            }
            assert!(
                begun.elapsed() < limit,
                "furlough {}: still running after {} s; it said\n{}\n{}",
                self.what,
                limit.as_secs(),
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9`: no goodbye, as a power cut.
    pub fn kill(mut self) -> Outcome {
        self.child.kill().expect("kill furlough");
        let status = self.child.wait().expect("wait for the killed furlough");
        Outcome { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &pid]).status().expect("run kill");
        assert!(status.success(), "furlough {} ({pid}) is gone", self.what);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // ended already: nothing to kill, and nothing to say
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
