//! What live and cold migration, stop and start have in common: the server before, which record is ours, what a refusal
//! means, and when a request without a trace never arrived.

use std::time::Duration;

use super::{Asked, Context, Trouble, Verdict};
use crate::cloud::{CloudErrorKind, Migration, MigrationKind, Refusal, Server, ServerStatus};
use crate::event::{Done, Outcome, ServerBefore};
use crate::run::watch::{Seen, Want};

/// A row older than this is read anew before its server is asked for anything.
pub(super) const ROW_MAX_AGE: Duration = Duration::from_secs(20);
/// Nova's API records a server action before it answers, so a request that shows no trace for this long never arrived
/// (an RPC may take 60 s, `rpc_response_timeout`).
pub(super) const NEVER_ARRIVED_AFTER_S: u64 = 75;
/// How long a server's row may lag behind its migration record, or the other way round (nova-compute saves one after
/// the other; real clouds show up to a minute).
pub(super) const GRACE_S: u64 = 120;
/// How long Nova may be at work on a server without a record of a move, before a person has to look: a shelve or a
/// snapshot of a large disk takes its time.
const BUSY_PATIENCE_S: u64 = 3600;
/// Before a server that another action keeps busy is asked again.
pub(super) const BUSY_AGAIN_S: u64 = 15;
/// Before a service that could not be reached or asked to wait is asked again.
pub(super) const UNREACHABLE_AGAIN_S: u64 = 20;

/// The record that a request made after `newest_migration` from this host has made: the one that was told to be it, or
/// else the first that it can have made, since what comes later is somebody else's.
pub fn own_migration<'a>(
    seen: &'a Seen,
    before: &ServerBefore,
    newest_migration: Option<u64>,
    kind: &MigrationKind,
) -> Option<&'a Migration> {
    if let Some(bound) = seen.bound.filter(|_| !seen.two_requests) {
        return record(seen, bound);
    }
    let mut can_be = seen.migrations.iter().map(AsRef::as_ref).filter(|record: &&Migration| {
        newest_migration.is_none_or(|newest| record.id > newest)
            && record.source_host.as_deref().is_none_or(|source| source == before.host)
            && record.kind.as_ref().is_none_or(|found| found == kind)
    });
    if seen.two_requests { can_be.next_back() } else { can_be.next() }
}

/// The record with this id.
pub fn record(seen: &Seen, id: u64) -> Option<&Migration> {
    seen.migrations.iter().map(AsRef::as_ref).find(|record: &&Migration| record.id == id)
}

/// The server needs nothing more: it is gone, or on another host and idle.
pub(super) fn already_away(row: Option<&Server>, host: &str) -> Option<Done> {
    let Some(row) = row else { return Some(Done::Gone) };
    match &row.host {
        // A shelved server that was offloaded is on no host at all.
        None if row.status == ServerStatus::ShelvedOffloaded => {
            Some(Done::Already { what: "it is shelved and on no host".to_owned() })
        }
        // One in ERROR may have been broken by the move itself: only a person can say that it is done.
        Some(now)
            if now != host
                && row.is_idle()
                && !matches!(row.status, ServerStatus::VerifyResize | ServerStatus::Error) =>
        {
            Some(Done::Already { what: format!("it is on {now} already") })
        }
        _ => None,
    }
}

/// Why this server cannot be asked now: to be tried again when another action keeps it busy, else by the next rung.
pub(super) fn not_now(row: &Server, allowed: &[ServerStatus]) -> Option<Outcome> {
    if let Some(task) = &row.task_state {
        let reason = format!("another action keeps it busy ({task})");
        return Some(Outcome::Retryable { reason, fault: None, again_after_s: Some(BUSY_AGAIN_S) });
    }
    if row.status == ServerStatus::Error {
        return Some(in_error(row));
    }
    if row.status == ServerStatus::VerifyResize {
        return Some(Outcome::Failed {
            reason: "a resize that this run did not make waits for its confirm or revert".to_owned(),
            fault: None,
            remedy: "let its owner confirm or revert it, then resume".to_owned(),
            output: None,
        });
    }
    if !allowed.contains(&row.status) {
        let reason = format!("it is {}, which this method cannot move", row.status);
        return Some(Outcome::Retryable { reason, fault: None, again_after_s: None });
    }
    None
}

/// What a refused request means for a server.
pub(super) fn refused(trouble: &Trouble) -> Option<Outcome> {
    let Trouble::Cloud(error) = trouble else { return None };
    let retry = |again_after_s| Some(Outcome::Retryable { reason: error.to_string(), fault: None, again_after_s });
    let fail = |remedy: &str| {
        Some(Outcome::Failed { reason: error.to_string(), fault: None, remedy: remedy.to_owned(), output: None })
    };
    match &error.kind {
        CloudErrorKind::Refused { refusal, .. } => match refusal {
            Refusal::Busy => retry(Some(BUSY_AGAIN_S)),
            Refusal::RateLimited => retry(Some(UNREACHABLE_AGAIN_S)),
            // Only looking tells whether the server is gone.
            Refusal::NotFound => None,
            Refusal::Forbidden => fail("use credentials with the admin role in their project, then resume"),
            Refusal::HostDown => fail("bring its nova-compute back, or fence the host and evacuate; then resume"),
            Refusal::WrongState | Refusal::Locked | Refusal::NoValidHost | Refusal::Other => retry(None),
        },
        CloudErrorKind::Lost { .. } => None,
        CloudErrorKind::Unreachable { .. } => retry(Some(UNREACHABLE_AGAIN_S)),
        CloudErrorKind::TooOld { .. } => retry(None),
        _ => fail("see `furlough hosts` for whether the cloud answers at all, then resume"),
    }
}

/// No record of ours is to be seen: what a row read after the request says.
pub(super) fn no_trace(asked: &Asked, seen: &Seen, before: &ServerBefore) -> Verdict {
    let row = match row_since(seen, asked.at) {
        Some(Row::Gone) => return Verdict::Settled(Outcome::Done(Done::Gone)),
        Some(Row::Here(row)) => row,
        None if asked.since_s() < 5 => return Verdict::Wait(Want::Migration),
        None => return Verdict::Wait(Want::Server),
    };
    if row.status == ServerStatus::Error {
        return Verdict::Settled(in_error(row));
    }
    let since_s = asked.since_s();
    if !row.is_idle() {
        if since_s < BUSY_PATIENCE_S {
            return Verdict::Wait(Want::Server);
        }
        return Verdict::Settled(contradiction(row, "nowhere to be seen"));
    }
    if since_s < NEVER_ARRIVED_AFTER_S {
        return Verdict::Wait(Want::Migration);
    }
    // Its owner may have stopped or paused it meanwhile; where it is and whether Nova is at work on it decide.
    match &row.host {
        Some(now) if *now == before.host => {}
        Some(now) if row.status != ServerStatus::VerifyResize => {
            let what = format!("it is on {now}, by a migration that nova shows no record of");
            return Verdict::Settled(Outcome::Done(Done::Already { what }));
        }
        _ => return Verdict::Settled(contradiction(row, "nowhere to be seen")),
    }
    let reason = if asked.accepted() {
        "nova accepted it, and then made no migration of it"
    } else {
        "the request left no trace in nova: it never arrived"
    };
    // A lost request that left no trace is worth the same again; one that was accepted came to nothing for a reason.
    let again_after_s = (!asked.accepted()).then_some(0);
    Verdict::Settled(Outcome::Retryable { reason: reason.to_owned(), fault: None, again_after_s })
}

/// A row known to be at least as new as some moment.
pub(super) enum Row<'a> {
    Here(&'a Server),
    Gone,
}

pub(super) fn row_since(seen: &Seen, moment: tokio::time::Instant) -> Option<Row<'_>> {
    if seen.server_as_of.is_none_or(|as_of| as_of < moment) {
        return None;
    }
    if seen.gone {
        return Some(Row::Gone);
    }
    seen.server.as_deref().map(Row::Here)
}

/// The server is in ERROR: nothing more is asked about it.
pub(super) fn in_error(row: &Server) -> Outcome {
    let on = row.host.as_deref().unwrap_or("no host");
    Outcome::Failed {
        reason: format!("it went to ERROR on {on}"),
        fault: row.fault.clone(),
        remedy: format!(
            "look at `openstack server event list {}` and the nova-compute logs; a hard reboot is Nova's documented way \
             back when its disks are whole; then resume",
            row.id
        ),
        output: None,
    }
}

/// The record says one thing and the server another for longer than they ever lag.
pub(super) fn contradiction(row: &Server, says: &str) -> Outcome {
    Outcome::Unknown {
        reason: format!(
            "its migration is {says}, yet it is {} on {}{}",
            row.status,
            row.host.as_deref().unwrap_or("no host"),
            row.task_state.as_deref().map(|task| format!(" with task {task}")).unwrap_or_default()
        ),
        remedy:
            "do not reset its state and do not reboot either host: its guest may run on the other one; find it with \
                 `virsh list` on both, then resume"
                .to_owned(),
    }
}

/// A deviation from how the server began that is no failure of the move but has to be said.
pub(super) fn status_changed(row: &Server, before: &ServerBefore) -> Option<String> {
    (row.status != before.status).then(|| format!("it is {} now and was {} before", row.status, before.status))
}

/// Seconds a move of this server may take.
pub(super) fn timeout_s(timeout: crate::plan::MoveTimeout, before: &ServerBefore) -> u64 {
    let gib = before.memory_mib.div_ceil(1024) + before.local_disk_gib;
    timeout.base_s.saturating_add(timeout.per_gib_s.saturating_mul(gib))
}

/// Adds Nova's own words to an outcome that has none.
pub(super) async fn explain(cx: &Context, asked: &Asked, server: &str, verdict: Verdict) -> Verdict {
    let (Verdict::Settled(mut outcome), Some(request_id)) = (verdict.clone(), asked.request_id()) else {
        return verdict;
    };
    if let Outcome::Retryable { fault, .. } | Outcome::Failed { fault, .. } = &mut outcome
        && fault.is_none()
    {
        // Words only: an outcome that is known does not become unknown because they cannot be read.
        match cx.cloud.action_fault(server, request_id).await {
            Ok(found) => *fault = found,
            Err(error) => tracing::debug!(server, %error, "nova's words about it could not be read"),
        }
    }
    Verdict::Settled(outcome)
}
