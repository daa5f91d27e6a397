use super::load::read_cloud;
use super::{Failure, Surroundings};
use crate::view;

#[derive(Debug, clap::Args)]
pub(super) struct Hosts {
    /// As JSON, with every service and hypervisor.
    #[arg(long)]
    json: bool,
}

impl Hosts {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let cloud = surroundings.connect(None).await?;
        let inventory = read_cloud(&cloud).await?;
        if self.json {
            super::print_json(&inventory.hosts)?;
        } else {
            super::print(&view::hosts(&inventory, surroundings.out_style()))?;
        }
        Ok(0)
    }
}
