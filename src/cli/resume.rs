use super::execute::{Output, execute};
use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::event::{Ending, Event, EventKind, LeftoverKind};
use crate::journal::{Journal as _, JournalError, RunSummary};
use crate::run::Begin;

const HELP: &str = "\
What was in flight is looked up in the cloud first, and nothing is asked for twice. Steps that failed are tried \
again: mend what the report names, then resume.

Examples:
  furlough resume                           # the newest run that is not done
  furlough resume 20261123-1745-8401        # this one; the beginning of its name is enough";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Resume {
    /// The run, or the beginning of its name; the newest that is not done when absent.
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Resume {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        // Looking makes no journal.
        if surroundings.journal_to_read()?.is_none() {
            return Err(surroundings.no_journal()?);
        }
        let journal = surroundings.journal()?;
        let runs = journal.runs().await?;
        let run = match &self.run {
            Some(name) => Some(super::runs::find(runs, name)?),
            None => newest_unfinished(runs)?,
        };
        let Some(run) = run else {
            super::tell("every run in this journal is done: there is nothing to resume\n");
            return Ok(0);
        };
        if run.ending == Some(Ending::Done) {
            super::tell(&format!("{} is done: there is nothing to resume\n", run.id));
            return Ok(0);
        }
        let events = journal.read(&run.id).await?;
        if let Some(host) = given_back(&events, &run.hosts) {
            return Err(Failure::blocked(format!(
                "{} left {host} out of service, and it was given back since: what is left of its steps is for a \
                 host without servers",
                run.id
            ))
            .remedy("run the plan anew: that looks at the cloud as it is now"));
        }
        let Some(EventKind::RunStarted { graph, .. }) = events.first().map(|event| &event.kind) else {
            return Err(Failure::failed(format!(
                "the journal of {} does not begin with its graph: it is damaged",
                run.id
            )));
        };
        let hosts: Vec<String> = graph.hosts.iter().map(|host| host.name.clone()).collect();
        // The name `envvars` stands for the OS_* variables, which are no entry of a file.
        let of_run = Some(run.cloud.as_str()).filter(|name| *name != "envvars");
        let cloud = surroundings.connect(of_run).await?;
        if cloud.name() != run.cloud {
            return Err(Failure::usage(format!("{} is a run of cloud {}, not of {}", run.id, run.cloud, cloud.name()))
                .remedy(format!("say --cloud {}", run.cloud)));
        }
        let _claim = journal.claim(&run.id, &run.cloud, &hosts).await?;
        // Read again under the claim: another process may have gone on with it meanwhile.
        let events = journal.read(&run.id).await?;
        execute(surroundings, cloud, journal, run.id, Begin::Resume { events }, hosts, &self.output).await
    }
}

/// The newest run that is not done. While another process executes the only such run there is one, and it is not ours.
fn newest_unfinished(runs: Vec<RunSummary>) -> Result<Option<RunSummary>, Failure> {
    let (live, left): (Vec<_>, Vec<_>) =
        runs.into_iter().filter(|run| run.live || run.ending != Some(Ending::Done)).partition(|run| run.live);
    match (left.into_iter().next(), live.first()) {
        (None, Some(live)) => Err(JournalError::RunHeld { run: live.id.clone() }.into()),
        (newest, _) => Ok(newest),
    }
}

/// A host that the run left out of service at its end and that is no longer leased to it. Only an enable passes such a
/// lease on.
fn given_back<'a>(events: &'a [Event], leased: &[String]) -> Option<&'a str> {
    let Some(EventKind::RunEnded { leftovers, .. }) = events.last().map(|event| &event.kind) else { return None };
    let out = leftovers.iter().filter(|left| left.kind == LeftoverKind::HostDisabled);
    out.map(|left| left.host.as_str()).find(|host| !leased.iter().any(|leased| leased == host))
}
