//! Stopping a server on its host, starting it again, and leaving it alone.

#[cfg(test)]
mod tests;

use async_trait::async_trait;

use super::moving::{self, Row};
use super::{Asked, Context, Intended, Kind, Trouble, Undo, Verdict};
use crate::cloud::{Accepted, Ask, ServerStatus};
use crate::event::{Done, Intent, Outcome, ServerBefore};
use crate::run::watch::{Seen, Want};

/// A request that Nova accepted and that left the server idle in its old state for this long has come to nothing.
const CAME_TO_NOTHING_S: u64 = 20;

pub(super) struct Stop {
    server: String,
}

impl Stop {
    pub(super) fn new(server: &str) -> Self {
        Self { server: server.to_owned() }
    }
}

#[async_trait]
impl Kind for Stop {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        if let Some(done) = moving::already_away(row.as_deref(), &cx.step.host) {
            return Ok(Some(done));
        }
        let off = row.is_some_and(|row| row.status == ServerStatus::Shutoff && row.is_idle());
        // It was off before: it may stay, and nobody will start it.
        Ok(off.then_some(Done::Left))
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        let Some(row) = row else { return Ok(Intended::Settled(Outcome::Done(Done::Gone))) };
        if let Some(outcome) = moving::not_now(&row, &[ServerStatus::Active]) {
            return Ok(Intended::Settled(outcome));
        }
        Ok(match ServerBefore::of(&row) {
            Some(server) => Intended::Ask(Intent::Stop { server }),
            None => Intended::Settled(Outcome::Done(Done::Already { what: "it is on no host".to_owned() })),
        })
    }

    async fn act(&mut self, cx: &Context, _intent: &Intent) -> Result<Accepted, Trouble> {
        super::ask(cx, Ask::Stop { server: self.server.clone() }).await
    }

    fn refused(&self, _intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        moving::refused(trouble)
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let seen = cx.watch.seen(&self.server);
        let verdict = judge(asked, &seen, &ServerStatus::Shutoff, Done::Stopped, cx.plan.drain.power_timeout_s);
        Ok(moving::explain(cx, asked, &self.server, verdict).await)
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            Intent::Stop { server } => Undo::Ask(Intent::Start { server: server.clone() }),
            _ => Undo::Nothing,
        }
    }
}

/// Starts what this run stopped, and nothing else.
pub(super) struct Start {
    server: String,
}

impl Start {
    pub(super) fn new(server: &str) -> Self {
        Self { server: server.to_owned() }
    }
}

#[async_trait]
impl Kind for Start {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        #[cfg(test)]
        if crate::run::Sabotage::LeavesThemOff.is_on() {
            return Ok(Some(Done::Already { what: "it runs".to_owned() }));
        }
        if cx.stopped.is_none() && !cx.only_gives_back {
            return Ok(Some(Done::Already { what: "this run did not stop it".to_owned() }));
        }
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        Ok(match row {
            None => Some(Done::Gone),
            Some(row) if row.status == ServerStatus::Active && row.is_idle() => {
                Some(Done::Already { what: "it runs already".to_owned() })
            }
            Some(_) => None,
        })
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        let row = cx.watch.server(&self.server, moving::ROW_MAX_AGE).await?;
        let Some(row) = row else { return Ok(Intended::Settled(Outcome::Done(Done::Gone))) };
        if let Some(outcome) = moving::not_now(&row, &[ServerStatus::Shutoff]) {
            return Ok(Intended::Settled(match outcome {
                // A start has no next rung: whatever state it is in, a person has to look.
                Outcome::Retryable { reason, fault, again_after_s: None } => Outcome::Failed {
                    reason,
                    fault,
                    remedy: format!("start it by hand (`openstack server start {}`), then resume", self.server),
                    output: None,
                },
                other => other,
            }));
        }
        Ok(match ServerBefore::of(&row) {
            Some(server) => Intended::Ask(Intent::Start { server }),
            None => Intended::Settled(Outcome::Done(Done::Already { what: "it is on no host".to_owned() })),
        })
    }

    async fn act(&mut self, cx: &Context, _intent: &Intent) -> Result<Accepted, Trouble> {
        super::ask(cx, Ask::Start { server: self.server.clone() }).await
    }

    fn refused(&self, _intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        moving::refused(trouble)
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let seen = cx.watch.seen(&self.server);
        let verdict = judge(asked, &seen, &ServerStatus::Active, Done::Started, cx.plan.drain.power_timeout_s);
        Ok(moving::explain(cx, asked, &self.server, verdict).await)
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            Intent::Start { server } => Undo::Ask(Intent::Stop { server: server.clone() }),
            _ => Undo::Nothing,
        }
    }
}

/// Pure: what is seen, to what it means for a change of power.
fn judge(asked: &Asked, seen: &Seen, wanted: &ServerStatus, done: Done, timeout_s: u64) -> Verdict {
    let row = match moving::row_since(seen, asked.at) {
        None => return Verdict::Wait(Want::ServerAlone),
        Some(Row::Gone) => return Verdict::Settled(Outcome::Done(Done::Gone)),
        Some(Row::Here(row)) => row,
    };
    if row.status == ServerStatus::Error {
        return Verdict::Settled(moving::in_error(row));
    }
    if row.status == *wanted && row.is_idle() {
        return Verdict::Settled(Outcome::Done(done));
    }
    let patience_s = if asked.accepted() { CAME_TO_NOTHING_S } else { moving::NEVER_ARRIVED_AFTER_S };
    if row.is_idle() && asked.since_s() >= patience_s {
        return Verdict::Settled(Outcome::Retryable {
            reason: format!("it is still {} and idle {} s after the request", row.status, asked.since_s()),
            fault: None,
            again_after_s: (!asked.accepted()).then_some(0),
        });
    }
    if asked.since_s() < timeout_s {
        return Verdict::Wait(Want::ServerAlone);
    }
    Verdict::Settled(Outcome::Unknown {
        reason: format!(
            "it is still {} with task {} after {timeout_s} s",
            row.status,
            row.task_state.as_deref().unwrap_or("none")
        ),
        remedy: "its nova-compute carries the request out when it comes back: see that it does, then resume".to_owned(),
    })
}

/// The last rung: the server stays as it is.
pub(super) struct Leave;

#[async_trait]
impl Kind for Leave {
    async fn already(&mut self, _cx: &Context) -> Result<Option<Done>, Trouble> {
        Ok(Some(Done::Left))
    }

    async fn settle(&mut self, _cx: &Context, _asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        Ok(Verdict::Settled(Outcome::Done(Done::Left)))
    }
}
