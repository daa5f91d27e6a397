use super::{Failure, Surroundings};
use crate::event::Update;
use crate::journal::Journal as _;
use crate::view::{self, View as _};

const HELP: &str = "\
Reads the journal only, also while the run goes on.

Examples:
  furlough status                           # the newest run
  furlough status 20261123-1745-8401
  furlough status --json | jq .event.kind   # everything that happened";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Status {
    /// The run, or the beginning of its name; the newest when absent.
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Every event as a line of JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let Some(journal) = surroundings.journal_to_read()? else { return Err(surroundings.no_journal()?) };
        let runs = journal.runs().await?;
        let run = match &self.run {
            Some(name) => super::runs::find(runs, name)?,
            None => runs.into_iter().next().ok_or_else(|| Failure::usage("this journal holds no runs"))?,
        };
        let events = journal.read(&run.id).await?;
        if self.json {
            let mut out = view::Ndjson::new(std::io::stdout());
            let show = |event| out.update(&Update::Event(event));
            super::written(events.into_iter().try_for_each(show).and_then(|()| out.finish()))?;
        } else {
            let tally = view::Tally::of(&events);
            let now = jiff::Timestamp::now();
            super::print(&view::status(&run.id, &tally, Some(run.live), now, surroundings.out_style()))?;
        }
        Ok(0)
    }
}
