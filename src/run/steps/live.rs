//! Live migration: the server goes on running. Withdrawn when it stalls, takes too long, or still waits in Nova's queue
//! when the operator stops the run.

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use tokio::time::Instant;

use super::moving::{self, Row};
use super::{Asked, Context, Intended, Kind, Trouble, Undo, Verdict};
use crate::cloud::{
    Accepted, Ask, BlockMigration, Capabilities, Migration, MigrationKind, MigrationStatus, ServerStatus,
};
use crate::event::{Answer, Done, Intent, Outcome, ServerBefore};
use crate::plan::{LiveOptions, Rung};
use crate::run::watch::{Seen, Want};

/// How long an abort may take to show. Nova sends it to the source's nova-compute, which may be dead or ignore it.
const ABORT_PATIENCE_S: u64 = 180;
/// How long after its time was up the abort of a migration is asked again when its answer is lost: long enough for an
/// API that is restarted.
const ABORT_AGAIN_FOR_S: u64 = 900;

/// How long a migration that cannot be withdrawn (waiting for a slot below 2.65, or in post-copy) is watched: longer than
/// any that will still end by itself.
const OBSERVE_FOR_S: u64 = 86_400;

pub(super) struct Live {
    server: String,
    /// When the record was first seen terminal: the row has to be read after that.
    terminal_at: Option<Instant>,
    /// The migration this attempt made, for judging what an abort of it led to.
    made: Option<Intent>,
}

/// What a look is judged by besides what it sees.
struct Judging<'a> {
    options: &'a LiveOptions,
    capabilities: Capabilities,
    interrupted: bool,
    terminal_at: Option<Instant>,
}

impl Live {
    pub(super) fn new(server: &str) -> Self {
        Self { server: server.to_owned(), terminal_at: None, made: None }
    }
}

#[async_trait]
impl Kind for Live {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        Ok(moving::already_away(row.as_deref(), &cx.step.host))
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        let Some(row) = row else { return Ok(Intended::Settled(Outcome::Done(Done::Gone))) };
        if let Some(outcome) = moving::not_now(&row, &[ServerStatus::Active, ServerStatus::Paused]) {
            return Ok(Intended::Settled(outcome));
        }
        let Some(server) = ServerBefore::of(&row) else {
            return Ok(Intended::Settled(Outcome::Done(Done::Already { what: "it is on no host".to_owned() })));
        };
        let newest_migration = cx.watch.newest_migration(&self.server, &cx.step.host);
        #[cfg(test)]
        if crate::run::Sabotage::SendsToItsOwnHost.is_on() {
            let to = Some(cx.step.host.clone());
            return Ok(Intended::Ask(Intent::Live { server, to, newest_migration }));
        }
        Ok(Intended::Ask(Intent::Live { server, to: None, newest_migration }))
    }

    async fn act(&mut self, cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        let ask = match intent {
            Intent::Abort { server, migration_id, .. } => {
                Ask::AbortMigration { server: server.id.clone(), migration_id: *migration_id }
            }
            Intent::Live { to, .. } => Ask::LiveMigrate {
                server: self.server.clone(),
                host: to.clone(),
                block_migration: cx.plan.drain.live.block_migration,
            },
            other => return Err(super::unexpected(other)),
        };
        super::ask(cx, ask).await
    }

    fn refused(&self, intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        match intent {
            // It may have just ended, and how it ended is what counts.
            Intent::Abort { .. } => None,
            _ => moving::refused(trouble),
        }
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        if matches!(asked.intent, Intent::Live { .. }) {
            self.made = Some(asked.intent.clone());
        }
        let seen = cx.watch.seen(&self.server);
        let made = self.made.clone().unwrap_or_else(|| asked.intent.clone());
        if let Some(record) = own(&made, &seen)
            && record.status.is_terminal()
        {
            self.terminal_at.get_or_insert_with(Instant::now);
        }
        let judging = Judging {
            options: &cx.plan.drain.live,
            capabilities: cx.cloud.capabilities(),
            interrupted: cx.interrupted(),
            terminal_at: self.terminal_at,
        };
        let verdict = judge(&made, asked, &seen, &judging);
        Ok(moving::explain(cx, asked, &self.server, verdict).await)
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            Intent::Live { server, .. } => Undo::MoveBack { server: server.id.clone(), to: server.host.clone() },
            _ => Undo::Nothing,
        }
    }
}

fn own<'a>(made: &Intent, seen: &'a Seen) -> Option<&'a Migration> {
    match made {
        Intent::Live { server, newest_migration, .. } => {
            moving::own_migration(seen, server, *newest_migration, &MigrationKind::Live)
        }
        Intent::Abort { migration_id, .. } => moving::record(seen, *migration_id),
        _ => None,
    }
}

/// Pure: what is seen, to what it means.
fn judge(made: &Intent, asked: &Asked, seen: &Seen, judging: &Judging<'_>) -> Verdict {
    let (Intent::Live { server: before, .. } | Intent::Abort { server: before, .. }) = made else {
        return Verdict::Pause(1000);
    };
    if seen.gone {
        return Verdict::Settled(Outcome::Done(Done::Gone));
    }
    let Some(record) = own(made, seen) else { return moving::no_trace(asked, seen, before) };
    if record.status.is_terminal() {
        return ended(record, asked, before, seen, judging);
    }
    if let Intent::Abort { .. } = &asked.intent {
        return withdrawing(record, asked, before, seen, judging);
    }
    match reason_to_withdraw(record, asked, before, seen, judging) {
        Some(why) if withdrawable(record, judging.capabilities) => {
            let again = record.status == MigrationStatus::Queued;
            Verdict::Then(Intent::Abort { server: before.clone(), migration_id: record.id, why, again })
        }
        _ if asked.since_s() >= OBSERVE_FOR_S => Verdict::Settled(Outcome::Unknown {
            reason: format!("migration {} is still {} after a day", record.id, record.status),
            remedy: "see why nova neither ends it nor lets it be aborted, then resume".to_owned(),
        }),
        _ => Verdict::Wait(Want::Migration),
    }
}

/// The record is terminal; the server's own row, read after that, decides.
fn ended(record: &Migration, asked: &Asked, before: &ServerBefore, seen: &Seen, judging: &Judging<'_>) -> Verdict {
    let Some(terminal_at) = judging.terminal_at else { return Verdict::Wait(Want::ServerAfter) };
    let row = match moving::row_since(seen, terminal_at) {
        // After a failure the next rung waits for it.
        None if record.status.is_failure() => return Verdict::Wait(Want::ServerNow),
        None => return Verdict::Wait(Want::ServerAfter),
        Some(Row::Gone) => return Verdict::Settled(Outcome::Done(Done::Gone)),
        Some(Row::Here(row)) => row,
    };
    if row.status == ServerStatus::Error {
        return Verdict::Settled(moving::in_error(row));
    }
    let lagging = terminal_at.elapsed().as_secs() < moving::GRACE_S;
    let away = row.host.as_deref().filter(|host| *host != before.host);
    match (row.is_idle(), away) {
        (true, Some(to)) => {
            let late = record.status.is_failure().then(|| format!("its migration record says {}", record.status));
            let warning = late.or_else(|| moving::status_changed(row, before));
            Verdict::Settled(Outcome::Done(Done::Moved { to: to.to_owned(), by: Rung::Live, warning }))
        }
        (true, None) if record.status.is_failure() && a_second_may_come(asked, judging) => {
            Verdict::Wait(Want::Migration)
        }
        (true, None) if record.status.is_failure() => {
            let reason = format!("the live migration ended as {}", record.status);
            // A server must not be moved cold only because a run was stopped while it waited in Nova's queue.
            let withdrawn = record.status == MigrationStatus::Cancelled
                && matches!(asked.intent, Intent::Abort { again: true, .. });
            Verdict::Settled(Outcome::Retryable { reason, fault: None, again_after_s: withdrawn.then_some(0) })
        }
        _ if lagging => Verdict::Wait(Want::ServerNow),
        _ => Verdict::Settled(moving::contradiction(row, record.status.as_str())),
    }
}

/// Below 2.25 a move may take two requests, of which the first leaves a failed record: while the second one, whose answer
/// was lost, can still make its own, that is not the end of the move.
fn a_second_may_come(asked: &Asked, judging: &Judging<'_>) -> bool {
    let lost = !matches!(asked.answer, Some(Answer::Accepted { .. } | Answer::Refused { .. }));
    let two = judging.options.block_migration == BlockMigration::Auto && !judging.capabilities.block_migration_auto();
    lost && two && matches!(asked.intent, Intent::Live { .. }) && asked.since_s() < moving::NEVER_ARRIVED_AFTER_S
}

/// An abort was asked and the migration goes on.
fn withdrawing(
    record: &Migration,
    asked: &Asked,
    before: &ServerBefore,
    seen: &Seen,
    judging: &Judging<'_>,
) -> Verdict {
    let Intent::Abort { why, .. } = &asked.intent else { return Verdict::Wait(Want::Migration) };
    // An abort can be asked twice: one that was taken already only has the second refused.
    let lost = !matches!(asked.answer, Some(Answer::Accepted { .. } | Answer::Refused { .. }));
    let again_for_s = moving::timeout_s(judging.options.timeout, before).saturating_add(ABORT_AGAIN_FOR_S);
    let in_time = seen.copying_since.is_none_or(|since| since.elapsed().as_secs() < again_for_s);
    if lost && in_time && withdrawable(record, judging.capabilities) && asked.since_s() >= moving::NEVER_ARRIVED_AFTER_S
    {
        return Verdict::Then(asked.intent.clone());
    }
    if asked.since_s() < ABORT_PATIENCE_S {
        return Verdict::Wait(Want::Migration);
    }
    let moving_still = seen.progress_at.is_some_and(|at| at > asked.at && at.elapsed().as_secs() < ABORT_PATIENCE_S);
    if moving_still {
        return Verdict::Wait(Want::Migration);
    }
    let answer = match &asked.answer {
        Some(Answer::Refused { message, .. }) => format!("refused: {message}"),
        Some(Answer::Lost { .. }) | None => "lost on its way".to_owned(),
        Some(Answer::Accepted { .. }) => "accepted, and nothing came of it".to_owned(),
    };
    Verdict::Settled(Outcome::Unknown {
        reason: format!("{why}; the abort was {answer}, and migration {} is still {}", record.id, record.status),
        remedy:
            "the source's or destination's nova-compute may be dead: bring it back, see that the migration ends, then \
                 resume"
                .to_owned(),
    })
}

fn withdrawable(record: &Migration, capabilities: Capabilities) -> bool {
    match record.status {
        MigrationStatus::Running => capabilities.abort_running(),
        MigrationStatus::Queued | MigrationStatus::Preparing => capabilities.abort_queued(),
        _ => false,
    }
}

fn reason_to_withdraw(
    record: &Migration,
    asked: &Asked,
    before: &ServerBefore,
    seen: &Seen,
    judging: &Judging<'_>,
) -> Option<String> {
    // A record seen again after a refused abort is left alone: it is ending.
    if asked.answer.as_ref().is_some_and(|answer| matches!(answer, Answer::Refused { .. })) {
        return None;
    }
    if judging.interrupted && record.status == MigrationStatus::Queued {
        return Some("the run was stopped while it waited in nova's queue".to_owned());
    }
    let since = seen.copying_since?;
    if record.status != MigrationStatus::Running {
        return None;
    }
    let stalled_after_s = judging.options.stalled_after_s;
    if seen.progress_at.is_some_and(|at| at.elapsed().as_secs() >= stalled_after_s) {
        return Some(format!("no progress for {stalled_after_s} s"));
    }
    let timeout_s = moving::timeout_s(judging.options.timeout, before);
    (since.elapsed().as_secs() >= timeout_s).then(|| format!("not done within {timeout_s} s"))
}
