//! What `run`, `resume`, `drain` and `enable` share: consent, views, signals, the end.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::cloud::nova::Nova;
use crate::compile::Graph;
use crate::event::{Event, LeftoverKind, RunId, Update};
use crate::journal::{Journal, Sqlite};
use crate::run::{Begin, Clock, Ended, Setup, Stop, drive};
use crate::view::{self, View};

#[derive(Debug, clap::Args)]
pub(super) struct Consent {
    /// Do not ask before the first change.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Print every event as a line of JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// A graph ready to be executed.
pub(super) struct Start {
    pub cloud: Arc<Nova>,
    pub graph: Graph,
    pub plan_text: Option<String>,
    pub folder: PathBuf,
}

/// Shows the graph, asks, executes it to its end.
pub(super) async fn start(
    surroundings: &Surroundings,
    start: Start,
    consent: &Consent,
    output: &Output,
) -> Result<u8, Failure> {
    let Start { cloud, graph, plan_text, folder } = start;
    if !graph.blockers.is_empty() {
        eprint!("{}", view::preview(&graph, surroundings.err_style()));
        return Ok(3);
    }
    if graph.steps.is_empty() {
        eprint!("{}", view::preview(&graph, surroundings.err_style()));
        eprintln!("nothing to do");
        return Ok(0);
    }
    if !consent.yes {
        ask(surroundings, &graph)?;
    }
    let journal = surroundings.journal()?;
    let run = new_run_id();
    let hosts: Vec<String> = graph.hosts.iter().map(|host| host.name.clone()).collect();
    let _claim = journal.claim(&run, cloud.name(), &hosts).await?;
    let begin = Begin::New { graph: Box::new(graph), plan_text, folder };
    execute(surroundings, cloud, journal, run, begin, hosts, output).await
}

/// Executes a run that is claimed, from its beginning or from where it stands.
pub(super) async fn execute(
    surroundings: &Surroundings,
    cloud: Arc<Nova>,
    journal: Arc<Sqlite>,
    run: RunId,
    begin: Begin,
    hosts: Vec<String>,
    output: &Output,
) -> Result<u8, Failure> {
    let mut view = view_for(surroundings, output);
    if let Begin::Resume { events } = &begin {
        view.catch_up(events);
    }
    let setup = Setup {
        run: run.clone(),
        cloud: cloud.clone(),
        journal: journal.clone(),
        commands: Arc::new(surroundings.commands()?),
        clock: Clock::Real,
    };
    let (stop, stopped) = watch::channel(None);
    let signals = tokio::spawn(listen(stop, run.clone()));
    let mut show = |update: &Update| {
        // A closed pipe must not end a run; its journal has everything.
        let _closed = view.update(update);
    };
    let ended = drive(setup, begin, stopped, &mut show).await;
    signals.abort();
    let _closed = view.finish();
    let ended = ended?;
    if ended.journal_failed.is_none() {
        release(&*journal, &run, &hosts, &ended).await?;
    }
    finish(surroundings, &*journal, &run, &ended, output).await?;
    Ok(ended.ending.exit_code())
}

fn view_for(surroundings: &Surroundings, output: &Output) -> Box<dyn View + Send> {
    if output.json {
        return Box::new(view::Ndjson::new(std::io::stdout()));
    }
    if surroundings.can_draw() {
        return Box::new(view::Bars::new(surroundings.err_style()));
    }
    Box::new(view::Lines::new(std::io::stderr(), surroundings.err_style()))
}

/// Asks the person at the terminal; without one, `--yes` is the only consent.
fn ask(surroundings: &Surroundings, graph: &Graph) -> Result<(), Failure> {
    if !surroundings.can_ask() {
        return Err(Failure::usage("there is no terminal to ask on, and nothing was changed")
            .remedy("say --yes to go on without asking"));
    }
    eprint!("{}", view::preview(graph, surroundings.err_style()));
    eprint!("\nType yes to begin: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "yes" | "y") {
        return Ok(());
    }
    Err(Failure::blocked("not begun: the answer was not yes; nothing was changed"))
}

/// The first Ctrl-C (or SIGTERM) starts nothing new, the second waits for nothing more.
async fn listen(stop: watch::Sender<Option<Stop>>, run: RunId) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!(
            "warning: signals cannot be listened to; Ctrl-C ends furlough at once, and `furlough resume {run}` goes on"
        );
        return;
    };
    for (wish, words) in [
        (Stop::Finish, "stopping: nothing new is started, what is in flight is finished; again to stop waiting for it"),
        (Stop::Leave, "no longer waiting; what is in flight goes on in the cloud"),
    ] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("\n{words}");
        stop.send_replace(Some(wish));
    }
}

/// Gives up the leases of hosts that are no longer out of service.
async fn release(journal: &dyn Journal, run: &RunId, hosts: &[String], ended: &Ended) -> Result<(), Failure> {
    for host in hosts {
        let kept =
            ended.leftovers.iter().any(|left| left.host == *host && !matches!(left.kind, LeftoverKind::LeftByPlan));
        let in_flight = ended.in_flight.iter().any(|step| step.0.starts_with(&format!("{host}/")));
        if !kept && !in_flight {
            journal.release(run, host).await?;
        }
    }
    Ok(())
}

/// Says how it ended, from the same events the journal holds.
async fn finish(
    surroundings: &Surroundings,
    journal: &dyn Journal,
    run: &RunId,
    ended: &Ended,
    output: &Output,
) -> Result<(), Failure> {
    if let Some(why) = &ended.journal_failed {
        eprintln!("error: {why}");
        eprintln!(
            "what was asked goes on in the cloud; when the journal can be written again, `furlough resume {run}` looks at it"
        );
        return Ok(());
    }
    let events: Vec<Event> = journal.read(run).await?;
    let report = view::report(run, &view::Tally::of(&events), view::Detail::Full, surroundings.out_style());
    if output.json {
        eprint!("{report}");
        return Ok(());
    }
    super::print(&report)
}

/// Date, time and four random hex digits.
fn new_run_id() -> RunId {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M");
    let random = uuid::Uuid::now_v7().simple().to_string();
    RunId(format!("{now}-{}", &random[random.len() - 4..]))
}
