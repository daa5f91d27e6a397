use super::{Failure, Surroundings};

#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self, _surroundings: &Surroundings) -> Result<u8, Failure> {
        let text = serde_json::to_string_pretty(&crate::plan::schema())
            .map_err(|error| Failure::failed(format!("the schema cannot be written: {error}")))?;
        super::print(&format!("{text}\n"))?;
        Ok(0)
    }
}
