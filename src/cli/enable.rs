use std::collections::BTreeMap;

use super::execute::{Consent, Output, Start, start};
use super::load::{folder_of, name_by_hand, read_cloud};
use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::compile::compile_enable;
use crate::journal::Journal as _;
use crate::run::still_stopped;

const HELP: &str = "\
Each host gets the status and the reason that it had before, and servers that furlough stopped there are started \
first. A host that somebody else disabled is left alone.

Examples:
  furlough enable cmp-07
  furlough enable cmp-07 cmp-08 --yes";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Enable {
    /// Compute hosts that furlough took out of service.
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
}

impl Enable {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let cloud = surroundings.connect(None).await?;
        let journal = surroundings.journal()?;
        let mut stopped: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut inherits = Vec::new();
        for run in journal.runs().await?.into_iter().filter(|run| run.cloud == cloud.name()) {
            for host in self.hosts.iter().filter(|host| run.hosts.contains(host)) {
                let in_the_way = match (run.live, run.ending) {
                    (true, _) => Some(("is under way", "status", "shows it; end it first")),
                    (false, None) => Some(("has not ended", "resume", "goes on with it")),
                    (false, Some(_)) => None,
                };
                if let Some((why, command, what)) = in_the_way {
                    return Err(Failure::blocked(format!("run {} holds {host} and {why}", run.id))
                        .remedy(format!("`furlough {command} {}` {what}", run.id)));
                }
                let events = journal.read(&run.id).await?;
                stopped.entry(host.clone()).or_default().extend(still_stopped(&events, host));
                inherits.push((run.id.clone(), host.clone()));
            }
        }
        drop(journal);
        let inventory = read_cloud(&cloud).await?;
        let name = name_by_hand("enable", &self.hosts);
        let graph = compile_enable(&inventory, cloud.name(), &name, &self.hosts, &stopped)?;
        let folder = folder_of(std::path::Path::new("."))?;
        let ready = Start { cloud, graph, plan_text: None, folder, inherits };
        start(surroundings, ready, &self.consent, &self.output).await
    }
}
