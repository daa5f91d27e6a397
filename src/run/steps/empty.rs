//! A host is empty when two readings in a row show no server on it that the plan does not leave there, none being built
//! or moved towards it, and no resize away from it that still waits for its confirm.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::disable::service;
use super::{Asked, Context, Kind, Trouble, Verdict};
use crate::cloud::{Migration, MigrationQuery, MigrationStatus, Server, ServerQuery, ServerStatus, ServiceStatus};
use crate::event::{Done, Outcome};

/// Between the two readings. What may still be on its way when a host is disabled is covered by the plan's
/// `late_arrivals`; this only keeps one reading that was taken at a bad moment from deciding alone.
const BETWEEN: Duration = Duration::from_millis(500);
/// Between looks at a host that is not empty yet.
const LOOK_AGAIN_MS: u64 = 3_000;
/// How long a server may be under way on or towards the host before a person has to look.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The newest records of a host that are looked through. A foreign resize that has waited for its confirm while this
/// many newer moves of the host were made was in the inventory already, and blocked the plan.
const RECORDS: u32 = 500;

#[derive(Default)]
pub(super) struct Empty {
    since: Option<Instant>,
    first: Option<Instant>,
}

#[async_trait]
impl Kind for Empty {
    async fn settle(&mut self, cx: &Context, _asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if let Some(first) = self.first
            && let Some(pause) = too_early(cx, first)
        {
            return Ok(Verdict::Pause(pause));
        }
        let host = cx.step.host.clone();
        let rows = cx.cloud.servers(&ServerQuery::OnHost(host.clone())).await?.rows;
        let query = MigrationQuery { host: Some(host.clone()), newest: Some(RECORDS), ..MigrationQuery::default() };
        let records = cx.cloud.migrations(&query).await?.rows;
        let verdict = match what_is_left(cx, rows, &records) {
            Left::Nothing if self.first.is_none() => {
                self.first = Some(Instant::now());
                Verdict::Pause(u64::try_from(BETWEEN.as_millis()).unwrap_or(LOOK_AGAIN_MS))
            }
            Left::Nothing => self.still_ours(cx).await?,
            Left::Passing(what) if since.elapsed() < PATIENCE => {
                self.first = None;
                tracing::debug!(host, what, "not empty yet");
                Verdict::Pause(LOOK_AGAIN_MS)
            }
            Left::Passing(what) => Verdict::Settled(failed(
                format!("{what}, for an hour"),
                "see why it does not come to rest, then resume".to_owned(),
            )),
            Left::Servers(servers) => {
                self.first = None;
                let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).take(5).collect();
                let reason = format!("{} server(s) on it that no step has moved: {}", servers.len(), names.join(", "));
                let then = Outcome::Retryable { reason, fault: None, again_after_s: Some(0) };
                Verdict::Found { servers, then }
            }
            Left::Owed { server, record } => Verdict::Settled(failed(
                format!("a resize of server {server} away from it (migration {record}) waits for its confirm"),
                "let its owner confirm or revert it while this host is up, then resume".to_owned(),
            )),
        };
        Ok(verdict)
    }
}

impl Empty {
    /// Empty twice; the maintenance begins only if the host is also still out of service.
    async fn still_ours(&self, cx: &Context) -> Result<Verdict, Trouble> {
        let disabled = service(cx).await?.is_some_and(|service| service.status == ServiceStatus::Disabled);
        if disabled {
            return Ok(Verdict::Settled(Outcome::Done(Done::Seen { what: "empty on two readings".to_owned() })));
        }
        Ok(Verdict::Settled(failed(
            "somebody enabled it again while it was being emptied".to_owned(),
            format!("ask who; disable {} again and resume", cx.step.host),
        )))
    }
}

enum Left {
    Nothing,
    /// Something that ends by itself.
    Passing(String),
    Servers(Vec<Server>),
    Owed {
        server: String,
        record: u64,
    },
}

/// Milliseconds to wait before the second reading may be made.
fn too_early(cx: &Context, first: Instant) -> Option<u64> {
    let between = BETWEEN.saturating_sub(first.elapsed());
    let late = cx.disabled_at.map_or(Duration::ZERO, |at| {
        let passed = cx.clock.now().duration_since(at).as_secs();
        Duration::from_secs(cx.plan.drain.late_arrivals_s.saturating_sub(u64::try_from(passed).unwrap_or(0)))
    });
    let pause = between.max(late);
    (!pause.is_zero()).then(|| u64::try_from(pause.as_millis()).unwrap_or(LOOK_AGAIN_MS).max(1))
}

fn what_is_left(cx: &Context, rows: Vec<Server>, records: &[Migration]) -> Left {
    #[cfg(test)]
    if crate::run::Sabotage::CallsItEmpty.is_on() {
        return Left::Nothing;
    }
    let host = cx.step.host.as_str();
    let mut here = Vec::new();
    for row in rows.into_iter().filter(|row| row.status != ServerStatus::Deleted) {
        let off = row.status == ServerStatus::Shutoff;
        let stays = cx.may_stay.contains(&row.id) || (off && cx.stopped_here.contains(&row.id));
        if let Some(task) = &row.task_state
            && !(stays && task == "powering-off")
        {
            return Left::Passing(format!("server {} is on it with task {task}", row.name));
        }
        if row.status == ServerStatus::Build {
            return Left::Passing(format!("server {} is being built on it", row.name));
        }
        if !stays {
            here.push(row);
        }
    }
    if !here.is_empty() {
        return Left::Servers(here);
    }
    for record in records.iter().filter(|record| !record.status.is_terminal()) {
        if record.status == MigrationStatus::Finished && record.source_host.as_deref() == Some(host) {
            return Left::Owed { server: record.server.clone(), record: record.id };
        }
        let towards = record.dest_host.as_deref() == Some(host) && record.status != MigrationStatus::Finished;
        if towards {
            return Left::Passing(format!("server {} is being moved to it ({})", record.server, record.status));
        }
        if record.source_host.as_deref() == Some(host) {
            return Left::Passing(format!("server {} is still being moved off it ({})", record.server, record.status));
        }
    }
    Left::Nothing
}

fn failed(reason: String, remedy: String) -> Outcome {
    Outcome::Failed { reason, fault: None, remedy, output: None }
}
