use std::path::PathBuf;

use super::execute::{Consent, Output, Start, start};
use super::load::{Loaded, compile_now, folder_of, load};
use super::{Failure, Surroundings};
use crate::compile::drift;

const HELP: &str = "\
A plan is compiled against the cloud as it is now, shown, and executed once you have typed yes. A compiled plan \
is executed only while the cloud is still as it was compiled against. The plan's own commands run on this \
machine, in the folder the plan is in.

Every step is journalled before it takes effect. Ctrl-C starts nothing new and finishes what is in flight; a \
second Ctrl-C waits for nothing more. `furlough resume` goes on after either, and after a crash.

The report (with --json the events) goes to standard output, everything else to standard error.

Examples:
  furlough run reboot-rack-a.yaml                       # show it, ask, do it
  furlough run --yes reboot-rack-a.yaml                 # without asking, as from cron
  furlough run tonight.json                             # what `furlough plan -o` saved, or nothing
  furlough run --yes --json reboot-rack-a.yaml > events.ndjson";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Run {
    /// The plan, or a compiled plan of `furlough plan -o FILE`; `-` is standard input.
    #[arg(value_name = "PLAN|COMPILED")]
    plan: PathBuf,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
}

impl Run {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let folder = folder_of(&self.plan)?;
        let (cloud, graph, plan_text) = match load(&self.plan)? {
            Loaded::Plan { plan, text } => {
                let (cloud, graph) = compile_now(surroundings, &plan).await?;
                (cloud, graph, Some(text))
            }
            Loaded::Compiled(saved) => {
                let (cloud, fresh) = compile_now(surroundings, &saved.plan).await?;
                let differences = drift(&saved, &fresh);
                if !differences.is_empty() {
                    let list: String = differences.iter().map(|line| format!("\n  - {line}")).collect();
                    return Err(Failure::blocked(format!(
                        "the cloud is no longer as {} was compiled against:{list}",
                        self.plan.display()
                    ))
                    .remedy("compile the plan again, read it, and run that"));
                }
                (cloud, *saved, None)
            }
        };
        start(
            surroundings,
            Start { cloud, graph, plan_text, folder, inherits: Vec::new() },
            &self.consent,
            &self.output,
        )
        .await
    }
}
