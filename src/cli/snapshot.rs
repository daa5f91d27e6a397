use std::path::PathBuf;

use super::load::read_cloud;
use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::rehearse::{Snapshot, SnapshotError};

const HELP: &str = "\
What an administrator sees: hosts, servers, server groups, aggregates and unfinished migrations. No token and no \
password of furlough's is in it; names and metadata are as their owners wrote them. With --anonymous every name is \
replaced, the same by the same, in the same order; keys of metadata and tags are replaced as well, so a plan that \
selects by them, or by names, selects something else there.

Examples:
  furlough snapshot -o prod.json
  furlough rehearse reboot-rack-a.yaml --from prod.json
  furlough snapshot --anonymous -o shape.json           # to give away";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Snap {
    /// Write it to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace every name in it.
    #[arg(long)]
    anonymous: bool,
}

impl Snap {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let cloud = surroundings.connect(None).await?;
        let inventory = read_cloud(&cloud).await?;
        let mut snapshot = Snapshot::new(cloud.name(), inventory);
        if self.anonymous {
            snapshot = snapshot.anonymous();
        }
        let text = snapshot.write()?;
        match &self.output {
            None => super::print(&text)?,
            Some(path) => {
                let name = path.display();
                std::fs::write(path, text).map_err(|error| Failure::failed(format!("cannot write {name}: {error}")))?;
                super::tell(&format!("saved as {name}; `furlough rehearse PLAN --from {name}` rehearses on it\n"));
            }
        }
        for gap in &snapshot.inventory.gaps {
            super::tell(&format!("warning: not in the snapshot: {}: {}\n", gap.what, gap.why));
        }
        if self.anonymous {
            super::tell(
                "note: keys of metadata, tags and names are replaced: a plan that selects by them selects something else \
                 here\n",
            );
        }
        Ok(0)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Unwritable { .. } => Self::failed(error.to_string()),
            _ => Self::usage(error.to_string()),
        }
    }
}
