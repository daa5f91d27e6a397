use super::{Failure, Surroundings};
use crate::journal::{Journal as _, RunSummary};
use crate::view;

#[derive(Debug, clap::Args)]
pub(super) struct Runs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Runs {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let runs = match surroundings.journal_to_read()? {
            Some(journal) => journal.runs().await?,
            None => {
                super::tell(&format!("there is no journal at {} yet\n", surroundings.journal_path()?.display()));
                Vec::new()
            }
        };
        if self.json {
            super::print_json(&runs)?;
        } else {
            super::print(&view::runs(&runs, surroundings.out_style()))?;
        }
        Ok(0)
    }
}

/// The run with this name or beginning of a name.
pub(super) fn find(runs: Vec<RunSummary>, name: &str) -> Result<RunSummary, Failure> {
    let mut matching = runs.into_iter().filter(|run| run.id.0.starts_with(name));
    match (matching.next(), matching.next()) {
        (Some(run), None) => Ok(run),
        (Some(run), Some(_)) if run.id.0 == name => Ok(run),
        (Some(one), Some(other)) => {
            Err(Failure::usage(format!("`{name}` may be {} or {}", one.id, other.id)).remedy("say more of its name"))
        }
        _ => Err(Failure::usage(format!("there is no run `{name}`")).remedy("`furlough runs` lists them")),
    }
}
