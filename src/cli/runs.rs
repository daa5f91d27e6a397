use super::{Failure, Surroundings};
use crate::journal::{Journal, RunSummary};
use crate::view;

#[derive(Debug, clap::Args)]
pub(super) struct Runs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Runs {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let runs = match surroundings.journal_path()?.exists() {
            true => surroundings.journal_to_read()?.runs().await?,
            false => Vec::new(),
        };
        if self.json {
            super::print_json(&runs)?;
        } else {
            super::print(&view::runs(&runs, surroundings.out_style()))?;
        }
        Ok(0)
    }
}

/// The run with this name or beginning of a name; without one, the newest that is wanted.
pub(super) async fn find(
    journal: &dyn Journal,
    name: Option<&str>,
    wanted: impl Fn(&RunSummary) -> bool,
) -> Result<RunSummary, Failure> {
    let runs = journal.runs().await?;
    let Some(name) = name else {
        let newest = runs.into_iter().find(wanted);
        return newest.ok_or_else(|| Failure::usage("there is no such run").remedy("`furlough runs` lists them all"));
    };
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
