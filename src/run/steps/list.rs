//! Lists a host's servers again, now that the scheduler can add none, and remembers which migration records exist, so
//! that ours can be told from them. What is new becomes a child graph.

use async_trait::async_trait;

use super::{Asked, Context, Kind, Trouble, Verdict};
use crate::cloud::{MigrationQuery, Server, ServerQuery, ServerStatus};
use crate::event::{Done, Outcome};

pub(super) struct List;

#[async_trait]
impl Kind for List {
    async fn settle(&mut self, cx: &Context, _asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let host = &cx.step.host;
        let rows = cx.cloud.servers(&ServerQuery::OnHost(host.clone())).await?;
        let query = MigrationQuery { host: Some(host.clone()), newest: Some(1), ..MigrationQuery::default() };
        let newest = cx.cloud.migrations(&query).await?.rows.iter().map(|record| record.id).max();
        cx.watch.prime(host, &rows.rows, rows.at, newest);
        let count = rows.rows.len();
        let new: Vec<Server> = rows.rows.into_iter().filter(|row| is_new(cx, row)).collect();
        let done = Outcome::Done(Done::Listed {
            servers: u32::try_from(count).unwrap_or(u32::MAX),
            new: u32::try_from(new.len()).unwrap_or(u32::MAX),
        });
        if new.is_empty() {
            return Ok(Verdict::Settled(done));
        }
        Ok(Verdict::Found { servers: new, then: done })
    }
}

/// On the host, at rest, and in no graph of the run. One that is still being built or is leaving is left to the empty
/// step, which waits for it.
pub(super) fn is_new(cx: &Context, row: &Server) -> bool {
    let passing = !row.is_idle() || matches!(row.status, ServerStatus::Build | ServerStatus::Deleted);
    !passing && !cx.moved.contains_key(&row.id) && !cx.may_stay.contains(&row.id) && !cx.stopped_here.contains(&row.id)
}
