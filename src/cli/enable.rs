use std::collections::BTreeMap;

use super::execute::{Consent, Output, Start, start};
use super::load::folder_of;
use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::compile::compile_enable;
use crate::journal::Journal as _;
use crate::run::still_stopped;

#[derive(Debug, clap::Args)]
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
        let mut held = Vec::new();
        for run in journal.runs().await?.into_iter().filter(|run| run.cloud == cloud.name()) {
            for host in self.hosts.iter().filter(|host| run.hosts.contains(host)) {
                if run.live || run.ending.is_none() {
                    return Err(Failure::blocked(format!("run {} holds {host} and has not ended", run.id))
                        .remedy(format!("`furlough resume {}` goes on with it", run.id)));
                }
                let events = journal.read(&run.id).await?;
                stopped.entry(host.clone()).or_default().extend(still_stopped(&events, host));
                held.push((run.id.clone(), host.clone()));
            }
        }
        let inventory = cloud.inventory().await?;
        let graph = compile_enable(&inventory, cloud.name(), &self.hosts, &stopped)?;
        let folder = folder_of(std::path::Path::new("."))?;
        // The leases of runs that have ended pass to this one.
        if graph.blockers.is_empty() {
            for (run, host) in held {
                journal.release(&run, &host).await?;
            }
        }
        drop(journal);
        start(surroundings, Start { cloud, graph, plan_text: None, folder }, &self.consent, &self.output).await
    }
}
