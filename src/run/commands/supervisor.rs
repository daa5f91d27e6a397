//! The process that stands between furlough and a command: it waits for the command, bounds its time and its output,
//! and records how it ended.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, setsid, waitid};

use super::CommandSpec;
use super::output::Capture;
use super::record::{Exit, Record};

/// Between TERM and KILL: what a configuration tool needs to take its locks away.
const GRACE: Duration = Duration::from_secs(10);
/// How long to go on reading after the command has ended: a background process that it left behind may keep the pipe
/// open for ever. Such a process is left alone, but has to send its output elsewhere.
const DRAIN: Duration = Duration::from_secs(2);
/// How often to look, at first and later: quick commands should end quickly, and a wait of hours should cost nothing.
const POLL_FIRST: Duration = Duration::from_millis(2);
const POLL_LAST: Duration = Duration::from_millis(200);
/// A full disk may have room again; until then the outcome is only in this process.
const RECORD_TRIES: u32 = 60;
const RECORD_PAUSE: Duration = Duration::from_secs(5);

/// What the hidden subcommand `__supervise <directory>` does, in a process that [`Supervised`](super::Supervised)
/// started: its standard input is the command's lock. It ends when the command's end is recorded.
pub fn supervise(dir: &Path) -> ExitCode {
    supervise_with(dir, GRACE)
}

pub(super) fn supervise_with(dir: &Path, grace: Duration) -> ExitCode {
    // A session of its own, so that neither Ctrl-C in furlough's terminal nor the end of that terminal reaches it,
    // and a command that asks for a password there fails instead of waiting. It only fails for one that has its own.
    let _ = setsid();
    let record = Record { dir: dir.to_owned() };
    let result = record.spec().and_then(|spec| {
        record.begin()?;
        let exit = run(&record, &spec, grace);
        persist(&record, &exit)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its standard error is a file beside the record.
            eprintln!("{}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn persist(record: &Record, exit: &Exit) -> io::Result<()> {
    for _ in 1..RECORD_TRIES {
        match record.end(exit) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("the end could not be recorded: {error}"),
        }
        sleep(RECORD_PAUSE);
    }
    record.end(exit)
}

fn run(record: &Record, spec: &CommandSpec, grace: Duration) -> Exit {
    let (child, reader) = match spawn(spec) {
        Ok(spawned) => spawned,
        Err(error) => return not_started(spec, &error),
    };
    let output = Reading::of(reader);
    let mut command = Running { child, output };
    match command.watch(record, Duration::from_secs(spec.timeout_s), grace) {
        Ok(exit) => exit,
        Err(error) => {
            // Nothing that is known to happen; the command must not go on unwatched.
            let _ = kill_process_group(command.group(), Signal::KILL);
            command.exit(false, None, vec![format!("its supervisor failed and killed it: {error}")])
        }
    }
}

fn spawn(spec: &CommandSpec) -> io::Result<(Child, PipeReader)> {
    let (program, arguments) =
        spec.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&spec.cwd).process_group(0);
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    // One pipe for both keeps the order in which they were written.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // Dropped at the end with our ends of the pipe, so that the command's end is the end of the pipe.
    Ok((command.spawn()?, reader))
}

/// As a shell reports it.
fn not_started(spec: &CommandSpec, error: &io::Error) -> Exit {
    let program = spec.argv.first().map_or("", String::as_str);
    let missing = error.kind() == io::ErrorKind::NotFound;
    let note = if missing && !spec.cwd.is_dir() {
        format!("{program} could not be started: there is no directory {}", spec.cwd.display())
    } else {
        format!("{program} could not be started: {error}")
    };
    let output = Capture::default().output(Some(if missing { 127 } else { 126 }), &[note]);
    Exit { timed_out: false, output }
}

/// The pipe, read by a thread into bounded memory.
struct Reading {
    capture: Arc<Mutex<Capture>>,
    thread: JoinHandle<()>,
}

impl Reading {
    fn of(mut pipe: PipeReader) -> Self {
        let capture = Arc::new(Mutex::new(Capture::default()));
        let shared = Arc::clone(&capture);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => {
                        let mut capture = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        capture.push(buffer.get(..length).unwrap_or_default());
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        Self { capture, thread }
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Running {
    child: Child,
    output: Reading,
}

/// Why the wait for a command was over.
#[derive(PartialEq, Eq)]
enum End {
    Itself,
    Cancelled,
    TimedOut,
}

impl Running {
    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the command itself has ended. It is not reaped by this: as long as it is not, no other process group
    /// can get its number, and signals reach nobody else.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group()), options)?.is_some())
    }

    fn watch(&mut self, record: &Record, timeout: Duration, grace: Duration) -> io::Result<Exit> {
        let end = self.wait(record, timeout)?;
        if end != End::Itself {
            // The group may be gone already, which is as good.
            let _ = kill_process_group(self.group(), Signal::TERM);
            // Its children get the grace too: they have ended when nobody holds the pipe any more.
            wait_until(grace, || Ok(self.has_ended()? && self.output.has_ended()))?;
            let _ = kill_process_group(self.group(), Signal::KILL);
        }
        let status = self.child.wait()?;
        let mut notes = Vec::new();
        match (&end, status.signal()) {
            (End::TimedOut, _) => notes.push(format!("ended after its timeout of {} s", timeout.as_secs())),
            (End::Cancelled, _) => notes.push("cancelled".to_owned()),
            (End::Itself, Some(signal)) => notes.push(format!("killed by signal {signal}")),
            (End::Itself, None) => {}
        }
        Ok(self.exit(end == End::TimedOut, status.code(), notes))
    }

    fn wait(&self, record: &Record, timeout: Duration) -> io::Result<End> {
        let mut cancelled = false;
        let over = wait_until(timeout, || {
            if self.has_ended()? {
                return Ok(true);
            }
            cancelled = record.is_cancelled()?;
            Ok(cancelled)
        })?;
        Ok(match (over, cancelled) {
            (_, true) => End::Cancelled,
            (true, false) => End::Itself,
            (false, false) => End::TimedOut,
        })
    }

    fn exit(&self, timed_out: bool, code: Option<i32>, mut notes: Vec<String>) -> Exit {
        let drained = wait_until(DRAIN, || Ok(self.output.has_ended())).unwrap_or(false);
        if !drained {
            notes.push("it left a process behind that holds its output; what that writes is lost".to_owned());
        }
        let capture = self.output.capture.lock().unwrap_or_else(PoisonError::into_inner);
        Exit { timed_out, output: capture.output(code, &notes) }
    }
}

/// Looks until it holds (true) or the time is over (false).
fn wait_until(limit: Duration, mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let started = Instant::now();
    let mut pause = POLL_FIRST;
    loop {
        if holds()? {
            return Ok(true);
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(pause.min(left));
        pause = (pause * 2).min(POLL_LAST);
    }
}
