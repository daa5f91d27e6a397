//! What a release of Nova can do, told by the newest microversion it offers (nova rest_api_version_history.rst).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A compute API microversion, `2.53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Microversion {
    pub major: u16,
    pub minor: u16,
}

impl Microversion {
    /// The microversion `2.minor`.
    pub const fn v2(minor: u16) -> Self {
        Self { major: 2, minor }
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Microversion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not a microversion such as 2.53");
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(Self { major, minor }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Microversion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Microversion> for String {
    fn from(version: Microversion) -> Self {
        version.to_string()
    }
}

/// What this cloud can do. Each question names the microversion and release that brought the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The newest compute microversion on offer.
    pub newest: Microversion,
}

impl Capabilities {
    fn has(self, minor: u16) -> bool {
        self.newest >= Microversion::v2(minor)
    }

    /// `block_migration: auto` (2.25, Mitaka).
    pub fn block_migration_auto(self) -> bool {
        self.has(25)
    }

    /// A live migration to a chosen host is validated by the scheduler (2.30, Newton).
    pub fn validated_live_host(self) -> bool {
        self.has(30)
    }

    /// Pre-check failures of a live migration arrive after the 202 (2.34, Newton).
    pub fn live_is_asynchronous(self) -> bool {
        self.has(34)
    }

    /// Cold migration to a chosen host (2.56, Queens).
    pub fn cold_host(self) -> bool {
        self.has(56)
    }

    /// Bytes of a live migration in progress (2.23, Mitaka).
    pub fn live_progress(self) -> bool {
        self.has(23)
    }

    /// A running live migration can be aborted (2.24, Mitaka).
    pub fn abort_running(self) -> bool {
        self.has(24)
    }

    /// A queued live migration can be withdrawn (2.65, Rocky).
    pub fn abort_queued(self) -> bool {
        self.has(65)
    }

    /// Migration records can be listed by `changes-since` and in pages (2.59, Queens).
    pub fn migrations_changed_since(self) -> bool {
        self.has(59)
    }

    /// Migration records say whether they are live or cold (2.23, Mitaka).
    pub fn migration_kind(self) -> bool {
        self.has(23)
    }

    /// The zone a server is pinned to is visible (2.96, 2024.1).
    pub fn pinned_zone(self) -> bool {
        self.has(96)
    }
}
