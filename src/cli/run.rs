use std::path::PathBuf;

use super::execute::{Consent, Output, Start, start};
use super::load::{Loaded, compile_now, folder_of, load};
use super::{Failure, Surroundings};
use crate::compile::drift;

#[derive(Debug, clap::Args)]
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
        start(surroundings, Start { cloud, graph, plan_text, folder }, &self.consent, &self.output).await
    }
}
