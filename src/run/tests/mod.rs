//! What the room holds to: the pure parts against slow oracles and random nights, the whole of it over a small cloud
//! made of state machines, killed at every append of its journal.

mod admission;
mod crash;
mod driver;
mod fake;
mod night;
mod oracle;
mod random;
mod stage;
mod states;

use tokio::time::Instant;

use super::steps::Asked;
use super::watch::Seen;
pub(in crate::run) use crate::cloud::fixture::server;
use crate::cloud::{Migration, MigrationKind, MigrationStatus, Server, fixture};
use crate::event::{Answer, Intent, ServerBefore};
use crate::plan::{Plan, Rung};

pub(in crate::run) fn before(id: &str, host: &str) -> ServerBefore {
    ServerBefore::of(&server(id, host)).unwrap()
}

pub(in crate::run) fn record(id: u64, server: &str, kind: MigrationKind, status: MigrationStatus) -> Migration {
    Migration { status, dest_host: Some("d1".to_owned()), ..fixture::record(id, server, "h1", kind) }
}

/// Asked `ago_s` seconds ago.
pub(in crate::run) fn asked(intent: Intent, answer: Option<Answer>, ago_s: u64) -> Asked {
    let at = Instant::now() - std::time::Duration::from_secs(ago_s);
    Asked { intent, answer, at }
}

pub(in crate::run) fn accepted() -> Option<Answer> {
    Some(Answer::Accepted { request_id: Some("req-1".to_owned()) })
}

/// A row read after all that the judge is told of, and these records.
pub(in crate::run) fn seen(row: Server, migrations: Vec<Migration>) -> Seen {
    Seen {
        server: Some(std::sync::Arc::new(row)),
        server_as_of: Some(Instant::now() + std::time::Duration::from_secs(1)),
        migrations: migrations.into_iter().map(std::sync::Arc::new).collect(),
        ..Seen::default()
    }
}

/// Empties the hosts `h*` one after another by this ladder.
pub(in crate::run) fn plan(ladder: &[Rung]) -> Plan {
    crate::plan::fixture::plan(&["h*"], ladder)
}
