//! One row for each thing Nova shows of a cold migration.

use std::time::Duration;

use super::*;
use crate::run::tests::{accepted, asked, before, plan, record, seen, server};

fn cold() -> Intent {
    Intent::Cold { server: before("s", "h1"), to: None, newest_migration: Some(10) }
}

fn confirm() -> Intent {
    Intent::Confirm { server: before("s", "h1"), migration_id: 11 }
}

fn row(status: ServerStatus, host: &str) -> Server {
    Server { status, ..server("s", host) }
}

fn busy(task: &str, host: &str) -> Server {
    Server { task_state: Some(task.to_owned()), ..row(ServerStatus::Resize, host) }
}

fn refused() -> Option<Answer> {
    Some(Answer::Refused { message: "Service is unavailable at this time.".to_owned(), refusal: None })
}

fn verdict(
    intent: Intent,
    answer: Option<Answer>,
    ago_s: u64,
    status: MigrationStatus,
    row: Server,
    still_s: u64,
) -> Verdict {
    let still = stands_still(&status).then(|| Instant::now() - Duration::from_secs(still_s));
    let seen = seen(row, vec![record(11, "s", MigrationKind::Cold, status)]);
    let asked = asked(intent.clone(), answer, ago_s);
    judge(&intent, &asked, &seen, still, plan(&[Rung::Cold]).drain.cold_timeout)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Wait(_) => "wait",
        Verdict::Then(Intent::Confirm { migration_id: 11, .. }) => "confirm",
        Verdict::Settled(Outcome::Done(Done::Moved { warning: None, .. })) => "moved",
        Verdict::Settled(Outcome::Done(Done::Moved { warning: Some(_), .. })) => "moved, warned",
        Verdict::Settled(Outcome::Retryable { again_after_s: Some(_), .. }) => "again",
        Verdict::Settled(Outcome::Retryable { again_after_s: None, .. }) => "next rung",
        Verdict::Settled(Outcome::Failed { .. }) => "failed",
        Verdict::Settled(Outcome::Unknown { .. }) => "unknown",
        _ => "something else",
    }
}

#[test]
fn the_way_of_a_cold_migration() {
    use MigrationStatus::{
        Confirmed, Confirming, Error, Finished, Migrating, PostMigrating, PreMigrating, Reverted, Reverting,
    };
    use ServerStatus::{Active, Shutoff, VerifyResize};
    let rows = [
        (PreMigrating, busy("resize_prep", "h1"), 0, "wait"),
        (Migrating, busy("resize_migrating", "h1"), 0, "wait"),
        // Already on the destination, and far from done.
        (PostMigrating, busy("resize_finish", "d1"), 0, "wait"),
        // The record is written just before the server's own state.
        (Finished, busy("resize_finish", "d1"), 0, "wait"),
        (Finished, busy("resize_finish", "d1"), moving::GRACE_S, "unknown"),
        (Finished, row(VerifyResize, "d1"), 0, "confirm"),
        // Confirmed by itself (resize_confirm_window), or by its owner.
        (Confirming, row(VerifyResize, "d1"), 0, "wait"),
        (Confirmed, row(VerifyResize, "d1"), 0, "wait"),
        (Confirmed, row(Active, "d1"), 0, "moved"),
        (Confirmed, row(Shutoff, "d1"), 0, "moved, warned"),
        (Confirmed, row(VerifyResize, "d1"), moving::GRACE_S, "unknown"),
        (Confirmed, row(Active, "h1"), moving::GRACE_S, "unknown"),
        // Reverted by somebody.
        (Reverting, row(ServerStatus::RevertResize, "d1"), 0, "wait"),
        (Reverted, busy("resize_reverting", "h1"), 0, "wait"),
        (Reverted, row(Active, "h1"), 0, "next rung"),
        // NoValidHost after the 202; ssh that does not work.
        (Error, row(Active, "h1"), 0, "next rung"),
        (Error, busy("resize_migrating", "h1"), 0, "wait"),
        (Error, row(ServerStatus::Error, "h1"), 0, "failed"),
        (Error, row(ServerStatus::Error, "d1"), 0, "failed"),
        // An error that leaves the record as it is.
        (Migrating, row(ServerStatus::Error, "h1"), 0, "failed"),
        (PostMigrating, row(ServerStatus::Error, "d1"), 0, "failed"),
    ];
    for (status, row, still_s, expected) in rows {
        let told = format!("{status}, {} {:?} on {:?}, {still_s} s", row.status, row.task_state, row.host);
        let found = verdict(cold(), accepted(), 30, status, row, still_s);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn a_cold_migration_that_does_not_end_is_unknown_and_never_asked_again() {
    let found = verdict(cold(), accepted(), 419, MigrationStatus::Migrating, busy("resize_migrating", "h1"), 0);
    assert_eq!(word(&found), "wait");
    let found = verdict(cold(), accepted(), 420, MigrationStatus::Migrating, busy("resize_migrating", "h1"), 0);
    assert_eq!(word(&found), "unknown");
}

#[test]
fn a_confirm() {
    use MigrationStatus::{Confirmed, Confirming, Finished, Reverted};
    use ServerStatus::{Active, VerifyResize};
    let lost = || Some(Answer::Lost { cause: "cut".to_owned() });
    let late = moving::NEVER_ARRIVED_AFTER_S;
    let rows = [
        (accepted(), 5, Confirming, VerifyResize, "d1", "wait"),
        (accepted(), 5, Confirmed, Active, "d1", "moved"),
        (lost(), 5, Confirmed, Active, "d1", "moved"),
        // Refused because it had been confirmed already.
        (refused(), 5, Confirmed, Active, "d1", "moved"),
        (refused(), 5, Confirming, VerifyResize, "d1", "wait"),
        // Refused, and it still waits: the source's nova-compute is down.
        (refused(), 5, Finished, VerifyResize, "d1", "failed"),
        (lost(), 5, Finished, VerifyResize, "d1", "wait"),
        (lost(), late, Finished, VerifyResize, "d1", "confirm"),
        (None, late, Finished, VerifyResize, "d1", "confirm"),
        // In the queue of a dead nova-compute: carried out when it comes back, so never asked twice.
        (accepted(), CONFIRM_PATIENCE_S - 1, Confirming, VerifyResize, "d1", "wait"),
        (accepted(), CONFIRM_PATIENCE_S, Confirming, VerifyResize, "d1", "unknown"),
        (accepted(), 5, Reverted, Active, "h1", "next rung"),
    ];
    for (answer, ago_s, status, server, host, expected) in rows {
        let told = format!("{answer:?} {ago_s} s ago, {status}, {server}");
        let found = verdict(confirm(), answer, ago_s, status, row(server, host), 0);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn only_the_resize_of_this_attempt_is_confirmed() {
    // A resize of somebody else's, newer than ours would be.
    let foreign = record(12, "s", MigrationKind::Resize, MigrationStatus::Finished);
    let asked = asked(cold(), accepted(), 100);
    let seen = seen(row(ServerStatus::VerifyResize, "d1"), vec![foreign]);
    let found = judge(&cold(), &asked, &seen, Some(Instant::now()), plan(&[Rung::Cold]).drain.cold_timeout);
    assert_eq!(word(&found), "unknown", "{found:?}");
}

#[test]
fn a_server_that_was_off_ends_off() {
    let off = ServerBefore { status: ServerStatus::Shutoff, ..before("s", "h1") };
    let found = confirmed(&row(ServerStatus::Shutoff, "d1"), &off, false);
    assert_eq!(word(&found), "moved", "{found:?}");
}
