use super::{Failure, Surroundings};
use crate::journal::Journal as _;
use crate::view;

#[derive(Debug, clap::Args)]
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
        if !surroundings.journal_path()?.exists() {
            return Err(Failure::usage("there is no journal yet, so there are no runs")
                .remedy("`furlough run PLAN` makes one; --journal names another"));
        }
        let journal = surroundings.journal_to_read()?;
        let run = super::runs::find(&*journal, self.run.as_deref(), |_| true).await?;
        let events = journal.read(&run.id).await?;
        if self.json {
            let mut out = view::Ndjson::new(std::io::stdout());
            for event in events {
                view::View::update(&mut out, &crate::event::Update::Event(event))?;
            }
            view::View::finish(&mut out)?;
        } else {
            let tally = view::Tally::of(&events);
            let now = jiff::Timestamp::now();
            super::print(&view::status(&run.id, &tally, Some(run.live), now, surroundings.out_style()))?;
        }
        Ok(0)
    }
}
