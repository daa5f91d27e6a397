use super::{Failure, Surroundings};

const HELP: &str = "\
Examples:
  furlough schema > plan.schema.json        # then, as the first line of a plan, for editors:
  # yaml-language-server: $schema=plan.schema.json";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self, _surroundings: &Surroundings) -> Result<u8, Failure> {
        let text = serde_json::to_string_pretty(&crate::plan::schema())
            .map_err(|error| Failure::failed(format!("the schema cannot be written: {error}")))?;
        super::print(&format!("{text}\n"))?;
        Ok(0)
    }
}
