//! The command line: one file per subcommand. The only room that knows argv, home, environment and terminal.
//!
//! Deliberately absent: anything that decides. A subcommand reads, calls the rooms, and shows what they say.

mod completions;
mod drain;
mod enable;
mod environment;
mod execute;
mod failure;
mod hosts;
mod load;
mod plan;
mod rehearse;
mod resume;
mod run;
mod runs;
mod schema;
mod snapshot;
mod status;
mod validate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use environment::Surroundings;
use failure::Failure;

/// Takes OpenStack hypervisors out of service and puts them back without dropping a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "furlough", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; what is left is named
  2  the plan or the command line is wrong
  3  blocked before anything was changed
  4  rolled back
  5  paused or waiting; `furlough resume` goes on
  130  interrupted; `furlough resume` goes on";

/// Below the options of a subcommand's own.
const GLOBAL: &str = "Global options";

/// Options of every subcommand.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// The entry of clouds.yaml to use, instead of the plan's and of OS_CLOUD.
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL)]
    cloud: Option<String>,
    /// Where runs are journalled [default: furlough/journal.db in the user's state directory].
    #[arg(long, global = true, value_name = "FILE", env = "FURLOUGH_JOURNAL", help_heading = GLOBAL)]
    journal: Option<PathBuf>,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set or TERM is dumb.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = GLOBAL)]
    color: Color,
    /// Log every request to the cloud to standard error (FURLOUGH_LOG sets a filter instead).
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a plan without asking any cloud.
    Validate(validate::Validate),
    /// Show what a plan would do to the cloud as it is now, blockers first.
    Plan(plan::Plan),
    /// Try a plan out on a simulated cloud, in virtual time: nothing is asked of any cloud.
    Rehearse(rehearse::Rehearse),
    /// Execute a plan, or a compiled plan.
    Run(run::Run),
    /// Go on with a run that was interrupted, failed, or whose process died.
    Resume(resume::Resume),
    /// Show where a run stands.
    Status(status::Status),
    /// List the runs in the journal.
    Runs(runs::Runs),
    /// List the compute hosts of the cloud.
    Hosts(hosts::Hosts),
    /// Save one reading of the cloud, to rehearse on.
    Snapshot(snapshot::Snap),
    /// Take hosts out of service now and empty them, without a plan file.
    Drain(drain::Drain),
    /// Put hosts that furlough took out of service back, exactly as they were.
    Enable(enable::Enable),
    /// Print the JSON Schema of the plan document.
    Schema(schema::Schema),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

/// Everything `main` does.
pub fn main() -> ExitCode {
    if let Some(folder) = supervised() {
        return crate::run::commands::supervise(&folder);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; everything else is a wrong command line.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _unwritable = error.print();
            return ExitCode::from(code);
        }
    };
    let surroundings = Surroundings::of_process(arguments.global);
    let done = surroundings.start_log().and_then(|()| dispatch(arguments.command, &surroundings));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure.render());
            ExitCode::from(failure.code)
        }
    }
}

/// The folder of the one command of a run that this process is to carry: furlough starts itself so, and nobody else
/// need know, so it is in no help and no completion.
fn supervised() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|first| first == "__supervise");
    arguments.next().filter(|_| asked).map(PathBuf::from)
}

fn dispatch(command: Command, surroundings: &Surroundings) -> Result<u8, Failure> {
    match command {
        Command::Validate(command) => command.execute(surroundings),
        Command::Schema(command) => command.execute(surroundings),
        Command::Completions(command) => command.execute(surroundings, &mut Arguments::command()),
        Command::Rehearse(command) => command.execute(surroundings),
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
            runtime.block_on(async {
                match command {
                    Command::Plan(command) => command.execute(surroundings).await,
                    Command::Run(command) => command.execute(surroundings).await,
                    Command::Resume(command) => command.execute(surroundings).await,
                    Command::Status(command) => command.execute(surroundings).await,
                    Command::Runs(command) => command.execute(surroundings).await,
                    Command::Hosts(command) => command.execute(surroundings).await,
                    Command::Snapshot(command) => command.execute(surroundings).await,
                    Command::Drain(command) => command.execute(surroundings).await,
                    Command::Enable(command) => command.execute(surroundings).await,
                    _ => Ok(2),
                }
            })
        }
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What became of writing to standard output. A reader that has seen enough (`furlough plan … | head`) is no failure.
fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error. With that gone there is nobody to tell: the exit code and the journal still say it, and
/// `eprint!` would end a run in the middle with a panic.
fn tell(text: &str) {
    let _unwritable = std::io::stderr().lock().write_all(text.as_bytes());
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    print(&format!("{text}\n"))
}
