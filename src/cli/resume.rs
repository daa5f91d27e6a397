use super::execute::{Output, execute};
use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::event::{Ending, EventKind};
use crate::journal::Journal as _;
use crate::run::Begin;

#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// The run, or the beginning of its name; the newest that is not done when absent.
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Resume {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let journal = surroundings.journal()?;
        let unfinished = |run: &crate::journal::RunSummary| !run.live && run.ending != Some(Ending::Done);
        let run = super::runs::find(&*journal, self.run.as_deref(), unfinished).await?;
        if run.ending == Some(Ending::Done) {
            eprintln!("{} is done: there is nothing to resume", run.id);
            return Ok(0);
        }
        let events = journal.read(&run.id).await?;
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
