//! Cold migration: the server is off while it moves, and the move is confirmed. Only a resize of our own is ever
//! confirmed: the record with the id that this attempt made.

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use tokio::time::Instant;

use super::moving::{self, Row};
use super::{Asked, Context, Intended, Kind, Trouble, Undo, Verdict};
use crate::cloud::{Accepted, Ask, Migration, MigrationKind, MigrationStatus, Server, ServerStatus};
use crate::event::{Answer, Done, Intent, Outcome, ServerBefore};
use crate::plan::Rung;
use crate::run::watch::{Seen, Want};

/// How long a confirm may take: it waits in the queue of the source's nova-compute, however long that hangs.
const CONFIRM_PATIENCE_S: u64 = 600;

/// How often a confirm whose answer is lost is asked again, 75 s apart: long enough for an API that is restarted.
const CONFIRMS: u32 = 12;

pub(super) struct Cold {
    server: String,
    terminal_at: Option<Instant>,
    /// Confirms asked in this process.
    confirms: u32,
}

impl Cold {
    pub(super) fn new(server: &str) -> Self {
        Self { server: server.to_owned(), terminal_at: None, confirms: 0 }
    }
}

#[async_trait]
impl Kind for Cold {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        Ok(moving::already_away(row.as_deref(), &cx.step.host))
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        let Some(row) = row else { return Ok(Intended::Settled(Outcome::Done(Done::Gone))) };
        #[cfg(test)]
        if crate::run::Sabotage::ConfirmsTheirs.is_on()
            && let (ServerStatus::VerifyResize, Some(server)) = (&row.status, ServerBefore::of(&row))
        {
            return Ok(Intended::Ask(Intent::Confirm { server, migration_id: 0 }));
        }
        if let Some(outcome) = moving::not_now(&row, &[ServerStatus::Active, ServerStatus::Shutoff]) {
            return Ok(Intended::Settled(outcome));
        }
        let Some(server) = ServerBefore::of(&row) else {
            return Ok(Intended::Settled(Outcome::Done(Done::Already { what: "it is on no host".to_owned() })));
        };
        let newest_migration = cx.watch.newest_migration(&self.server, &cx.step.host);
        Ok(Intended::Ask(Intent::Cold { server, to: None, newest_migration }))
    }

    async fn act(&mut self, cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        let ask = match intent {
            Intent::Cold { to, .. } => Ask::ColdMigrate { server: self.server.clone(), host: to.clone() },
            Intent::Confirm { server, .. } => Ask::ConfirmResize { server: server.id.clone() },
            other => return Err(super::unexpected(other)),
        };
        super::ask(cx, ask).await
    }

    fn refused(&self, intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        match intent {
            // Nova may have confirmed it by itself (resize_confirm_window): only looking tells.
            Intent::Confirm { .. } => None,
            _ => moving::refused(trouble),
        }
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let seen = cx.watch.seen(&self.server);
        if own(&asked.intent, &seen).is_some_and(|record| stands_still(&record.status)) {
            self.terminal_at.get_or_insert_with(Instant::now);
        } else {
            self.terminal_at = None;
        }
        let verdict = judge(&asked.intent, asked, &seen, self.terminal_at, cx.plan.drain.cold_timeout);
        let verdict = match verdict {
            Verdict::Then(Intent::Confirm { migration_id, .. }) if self.confirms >= CONFIRMS => {
                Verdict::Settled(Outcome::Unknown {
                    reason: format!("{CONFIRMS} confirms of migration {migration_id} were lost on their way"),
                    remedy: "see why nova's answers do not arrive, then resume: it waits for its confirm".to_owned(),
                })
            }
            other => other,
        };
        if matches!(verdict, Verdict::Then(_)) {
            self.confirms += 1;
            self.terminal_at = None;
        }
        Ok(moving::explain(cx, asked, &self.server, verdict).await)
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            // Until it is confirmed it could be reverted; the confirm follows within the same attempt.
            Intent::Cold { server, .. } | Intent::Confirm { server, .. } => {
                Undo::MoveBack { server: server.id.clone(), to: server.host.clone() }
            }
            _ => Undo::Nothing,
        }
    }
}

/// The record will not change by itself.
fn stands_still(status: &MigrationStatus) -> bool {
    status.is_terminal() || *status == MigrationStatus::Finished
}

fn own<'a>(intent: &Intent, seen: &'a Seen) -> Option<&'a Migration> {
    match intent {
        Intent::Cold { server, newest_migration, .. } => {
            moving::own_migration(seen, server, *newest_migration, &MigrationKind::Cold)
        }
        Intent::Confirm { migration_id, .. } => moving::record(seen, *migration_id),
        _ => None,
    }
}

/// Pure: what is seen, to what it means.
fn judge(
    intent: &Intent,
    asked: &Asked,
    seen: &Seen,
    still_since: Option<Instant>,
    timeout: crate::plan::MoveTimeout,
) -> Verdict {
    let (Intent::Cold { server: before, .. } | Intent::Confirm { server: before, .. }) = intent else {
        return Verdict::Pause(1000);
    };
    if seen.gone {
        return Verdict::Settled(Outcome::Done(Done::Gone));
    }
    let Some(record) = own(intent, seen) else { return moving::no_trace(asked, seen, before) };
    let Some(still_since) = still_since else {
        return under_way(intent, record, asked, seen, before, timeout);
    };
    let row = match moving::row_since(seen, still_since) {
        // The guest is off until it is confirmed: its row is not left to wait for others'.
        None => return Verdict::Wait(Want::ServerNow),
        Some(Row::Gone) => return Verdict::Settled(Outcome::Done(Done::Gone)),
        Some(Row::Here(row)) => row,
    };
    if row.status == ServerStatus::Error {
        return Verdict::Settled(moving::in_error(row));
    }
    let lagging = still_since.elapsed().as_secs() < moving::GRACE_S;
    match record.status {
        MigrationStatus::Finished => finished(intent, record, asked, row, before, lagging),
        MigrationStatus::Confirmed => confirmed(row, before, lagging),
        MigrationStatus::Reverted if row.is_idle() => Verdict::Settled(Outcome::Retryable {
            reason: "somebody reverted it".to_owned(),
            fault: None,
            again_after_s: None,
        }),
        _ if row.is_idle() && row.host.as_deref() == Some(&before.host) && record.status.is_failure() => {
            let reason = format!("the cold migration ended as {}", record.status);
            Verdict::Settled(Outcome::Retryable { reason, fault: None, again_after_s: None })
        }
        _ if lagging => Verdict::Wait(Want::ServerNow),
        _ => Verdict::Settled(moving::contradiction(row, record.status.as_str())),
    }
}

fn under_way(
    intent: &Intent,
    record: &Migration,
    asked: &Asked,
    seen: &Seen,
    before: &ServerBefore,
    timeout: crate::plan::MoveTimeout,
) -> Verdict {
    let since_s = asked.since_s();
    if matches!(intent, Intent::Confirm { .. }) {
        if since_s < CONFIRM_PATIENCE_S {
            return Verdict::Wait(Want::Migration);
        }
        return Verdict::Settled(Outcome::Unknown {
            reason: format!("migration {} has been {} for {since_s} s", record.id, record.status),
            remedy: format!(
                "{}'s nova-compute has to carry out the confirm: bring it back, then resume; never confirm a second time",
                before.host
            ),
        });
    }
    // A server that went to ERROR does not always take its record along.
    if let Some(Row::Here(row)) = moving::row_since(seen, asked.at)
        && row.status == ServerStatus::Error
    {
        return Verdict::Settled(moving::in_error(row));
    }
    let timeout_s = moving::timeout_s(timeout, before);
    if since_s < timeout_s {
        // Every fourth of its time the row is read besides, for the error that leaves the record as it is.
        let look =
            since_s >= timeout_s / 4 && seen.server_as_of.is_none_or(|at| at.elapsed().as_secs() > timeout_s / 4);
        return Verdict::Wait(if look { Want::Server } else { Want::Migration });
    }
    Verdict::Settled(Outcome::Unknown {
        reason: format!("its cold migration is still {} after {since_s} s, and nova cannot abort one", record.status),
        remedy: "see that it ends (`openstack server migration list`), then resume: it is adopted where it stands"
            .to_owned(),
    })
}

/// VERIFY_RESIZE: ours to confirm.
fn finished(
    intent: &Intent,
    record: &Migration,
    asked: &Asked,
    row: &Server,
    before: &ServerBefore,
    lagging: bool,
) -> Verdict {
    let ready = row.status == ServerStatus::VerifyResize && row.is_idle();
    match intent {
        Intent::Cold { .. } if ready => {
            Verdict::Then(Intent::Confirm { server: before.clone(), migration_id: record.id })
        }
        Intent::Confirm { .. } if ready => match &asked.answer {
            Some(Answer::Refused { message, .. }) => Verdict::Settled(Outcome::Failed {
                reason: format!("nova refused to confirm migration {}", record.id),
                fault: Some(message.clone()),
                remedy: format!("see that {}'s nova-compute is up, then resume", before.host),
                output: None,
            }),
            // Lost on its way, or taken over: without a trace it never arrived, and a confirm can be asked again.
            _ if asked.since_s() >= moving::NEVER_ARRIVED_AFTER_S => {
                Verdict::Then(Intent::Confirm { server: before.clone(), migration_id: record.id })
            }
            _ => Verdict::Wait(Want::Migration),
        },
        _ if lagging => Verdict::Wait(Want::ServerNow),
        _ => Verdict::Settled(moving::contradiction(row, record.status.as_str())),
    }
}

fn confirmed(row: &Server, before: &ServerBefore, lagging: bool) -> Verdict {
    let away = row.host.as_deref().filter(|host| *host != before.host);
    match away {
        Some(to) if row.is_idle() && row.status != ServerStatus::VerifyResize => {
            let warning = moving::status_changed(row, before);
            Verdict::Settled(Outcome::Done(Done::Moved { to: to.to_owned(), by: Rung::Cold, warning }))
        }
        _ if lagging => Verdict::Wait(Want::ServerNow),
        _ => Verdict::Settled(moving::contradiction(row, "confirmed")),
    }
}
