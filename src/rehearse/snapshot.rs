//! One reading of a cloud in a file, so that it can be rehearsed on where that cloud cannot be reached.
//!
//! What Nova shows to an administrator and nothing else: no token, no password of furlough's. Names, metadata and faults
//! are as their owners wrote them; [`super::anonymous`] takes them out.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cloud::Inventory;

/// The format of snapshots. A newer one is refused by name, an older one is read.
pub const SNAPSHOT_VERSION: u32 = 1;

/// A reading of a cloud, with the name it goes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The format. First, and by a name nothing else begins with, so that the file says what it is.
    pub furlough_snapshot: u32,
    /// The version of furlough that wrote it.
    pub furlough: String,
    pub cloud: String,
    /// Names were replaced.
    pub anonymous: bool,
    pub inventory: Inventory,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    #[error("this snapshot has format {found}, and this furlough reads up to {SNAPSHOT_VERSION}; use a newer furlough")]
    Newer { found: u64 },
    #[error("it has no key `furlough_snapshot`, so it is no snapshot; `furlough snapshot -o FILE` makes one")]
    Foreign,
    #[error("{why}; was it edited or cut? `furlough snapshot -o FILE` makes a new one")]
    Damaged { why: String },
    #[error("the snapshot cannot be written as JSON: {why}")]
    Unwritable { why: String },
}

impl Snapshot {
    pub fn new(cloud: &str, inventory: Inventory) -> Self {
        Self {
            furlough_snapshot: SNAPSHOT_VERSION,
            furlough: env!("CARGO_PKG_VERSION").to_owned(),
            cloud: cloud.to_owned(),
            anonymous: false,
            inventory,
        }
    }

    /// The same cloud with other names.
    #[must_use]
    pub fn anonymous(self) -> Self {
        let inventory = super::anonymous::anonymous(&self.inventory);
        Self { cloud: "anonymous".to_owned(), anonymous: true, inventory, ..self }
    }

    /// JSON, ending with a newline.
    ///
    /// # Errors
    /// Only if a value has no JSON at all, which none of an inventory's is known to.
    pub fn write(&self) -> Result<String, SnapshotError> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| SnapshotError::Unwritable { why: error.to_string() })
    }

    /// Reads what [`Snapshot::write`] wrote.
    ///
    /// # Errors
    /// A newer format is refused by its number, before anything else of it is looked at.
    pub fn read(text: &str) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Head {
            furlough_snapshot: Option<u64>,
        }
        let damaged = |why: String| SnapshotError::Damaged { why };
        let head: Head = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let found = head.furlough_snapshot.ok_or(SnapshotError::Foreign)?;
        if found > u64::from(SNAPSHOT_VERSION) {
            return Err(SnapshotError::Newer { found });
        }
        let mut json = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| damaged(format!("{}: {}", error.path(), error.inner())))
    }
}
