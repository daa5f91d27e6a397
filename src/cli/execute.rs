//! What `run`, `resume`, `drain` and `enable` share: consent, views, signals, the end.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
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
    pub json: bool,
}

/// A graph ready to be executed.
pub(super) struct Start {
    pub cloud: Arc<Nova>,
    pub graph: Graph,
    pub plan_text: Option<String>,
    pub folder: PathBuf,
    /// Leases of runs that have ended, which pass to this one.
    pub inherits: Vec<(RunId, String)>,
}

/// Shows the graph, asks, executes it to its end.
pub(super) async fn start(
    surroundings: &Surroundings,
    start: Start,
    consent: &Consent,
    output: &Output,
) -> Result<u8, Failure> {
    let Start { cloud, graph, plan_text, folder, inherits } = start;
    if !graph.blockers.is_empty() {
        super::tell(&view::preview(&graph, surroundings.err_style()));
        return Err(Failure::blocked("blocked, and nothing was changed")
            .remedy("what stands in the way is at the top, each with what to do about it"));
    }
    if graph.steps.is_empty() {
        super::tell(&graph.gaps.iter().map(|gap| format!("{gap}\n")).collect::<String>());
        super::tell("nothing to do\n");
        // Somebody has put these hosts back by hand: a run that has ended must not hold them for ever.
        if !inherits.is_empty() {
            pass_on(&*surroundings.journal()?, &inherits).await?;
        }
        return Ok(0);
    }
    // What would stop the run is better known before somebody says yes.
    let journal = surroundings.journal()?;
    if !consent.yes {
        ask(surroundings, &graph)?;
    }
    let run = new_run_id();
    let hosts: Vec<String> = graph.hosts.iter().map(|host| host.name.clone()).collect();
    pass_on(&*journal, &inherits).await?;
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
    let mut signals = Signals::new()?;
    super::tell(&format!("run {run}, journalled in {}\n", surroundings.journal_path()?.display()));
    if surroundings.can_draw() {
        super::tell(&format!(
            "Ctrl-C starts nothing new and finishes what is in flight; a second one leaves that to `furlough resume {run}`\n"
        ));
    }
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
    let listening = tokio::spawn(async move { signals.pass_on(&stop).await });
    let mut show = |update: &Update| {
        // A closed pipe must not end a run; its journal has everything.
        let _closed = view.update(update);
    };
    let ended = drive(setup, begin, stopped, &mut show).await;
    listening.abort();
    let _closed = view.finish();
    let ended = ended?;
    if ended.journal_failed.is_none() {
        release(&*journal, &run, &hosts, &ended).await?;
    }
    finish(surroundings, &*journal, &run, &ended, output).await?;
    Ok(ended.ending.exit_code())
}

/// Ends the leases of runs that have ended.
async fn pass_on(journal: &dyn Journal, leases: &[(RunId, String)]) -> Result<(), Failure> {
    for (ended, host) in leases {
        journal.release(ended, host).await?;
        super::tell(&format!("run {ended} no longer holds {host}\n"));
    }
    Ok(())
}

pub(super) fn view_for(surroundings: &Surroundings, output: &Output) -> Box<dyn View + Send> {
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
    super::tell(&view::preview(graph, surroundings.err_style()));
    super::tell("\nType yes to begin: ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "yes" | "y") {
        return Ok(());
    }
    if !answer.ends_with('\n') {
        super::tell("\n");
    }
    Err(match read {
        Ok(_) => Failure::blocked("not begun: the answer was not yes; nothing was changed"),
        Err(error) => Failure::blocked(format!("not begun: the answer could not be read: {error}")),
    })
}

/// Ctrl-C and SIGTERM: the first starts nothing new, the second waits for nothing more. Nothing is printed here, which
/// would tear the bars apart: the view shows the first, and the end of the run the second.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::blocked(format!("signals cannot be listened to: {error}; not begun")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn pass_on(&mut self, stop: &watch::Sender<Option<Stop>>) {
        for wish in [Stop::Finish, Stop::Leave] {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            stop.send_replace(Some(wish));
        }
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
        let failure = Failure::failed(why).remedy(format!(
            "what was asked goes on in the cloud; when the journal can be written again, `furlough resume {run}` looks at it"
        ));
        super::tell(&failure.render());
        return Ok(());
    }
    let events: Vec<Event> = journal.read(run).await?;
    let style = if output.json { surroundings.err_style() } else { surroundings.out_style() };
    let report = view::report(run, &view::Tally::of(&events), view::Detail::Full, style);
    if output.json {
        super::tell(&report);
    } else {
        super::print(&report)?;
    }
    if !ended.in_flight.is_empty() {
        super::tell(&format!(
            "no longer waited for; it goes on in the cloud, and `furlough resume {run}` looks what became of it: {}\n",
            ended.in_flight.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(())
}

/// Date, time and four random hex digits.
fn new_run_id() -> RunId {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M");
    let random = uuid::Uuid::now_v7().simple().to_string();
    RunId(format!("{now}-{}", &random[random.len() - 4..]))
}
