//! One row for each thing Nova shows of a live migration.

use std::time::Duration;

use super::*;
use crate::cloud::{Microversion, Server};
use crate::run::tests::{accepted, asked, before, plan, record, seen, server};

const LOST: fn() -> Option<Answer> = || Some(Answer::Lost { cause: "cut".to_owned() });

fn intent() -> Intent {
    Intent::Live { server: before("s", "h1"), to: None, newest_migration: Some(10) }
}

/// Of one that had begun to copy, or (`again`) had not.
fn abort(again: bool) -> Intent {
    Intent::Abort { server: before("s", "h1"), migration_id: 11, why: "no progress".to_owned(), again }
}

fn ago(seconds: u64) -> Instant {
    Instant::now() - Duration::from_secs(seconds)
}

fn on(host: &str) -> Server {
    server("s", host)
}

fn busy(host: &str) -> Server {
    Server { status: ServerStatus::Migrating, task_state: Some("migrating".to_owned()), ..on(host) }
}

fn of(status: MigrationStatus) -> Vec<Migration> {
    vec![record(11, "s", MigrationKind::Live, status)]
}

/// Judged with everything on offer, nothing interrupted, terminal since this many seconds.
fn verdict(asked: &Asked, seen: &Seen, terminal_for_s: Option<u64>) -> Verdict {
    judged(asked, seen, terminal_for_s, false, 96)
}

fn judged(asked: &Asked, seen: &Seen, terminal_for_s: Option<u64>, interrupted: bool, minor: u16) -> Verdict {
    let plan = plan(&[Rung::Live]);
    let judging = Judging {
        options: &plan.drain.live,
        capabilities: Capabilities { newest: Microversion::v2(minor) },
        interrupted,
        terminal_at: terminal_for_s.map(ago),
    };
    judge(&intent(), asked, seen, &judging)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Wait(_) => "wait",
        Verdict::Pause(_) => "pause",
        Verdict::Then(Intent::Abort { .. }) => "abort",
        Verdict::Then(_) => "then",
        Verdict::Found { .. } => "found",
        Verdict::Settled(Outcome::Done(Done::Moved { warning: None, .. })) => "moved",
        Verdict::Settled(Outcome::Done(Done::Moved { warning: Some(_), .. })) => "moved, warned",
        Verdict::Settled(Outcome::Done(Done::Gone)) => "gone",
        Verdict::Settled(Outcome::Done(_)) => "done",
        Verdict::Settled(Outcome::Retryable { again_after_s: Some(_), .. }) => "again",
        Verdict::Settled(Outcome::Retryable { again_after_s: None, .. }) => "next rung",
        Verdict::Settled(Outcome::Failed { .. }) => "failed",
        Verdict::Settled(Outcome::Unknown { .. }) => "unknown",
    }
}

#[test]
fn a_terminal_record_is_judged_by_the_servers_own_row() {
    use MigrationStatus::{Cancelled, Completed, Error, Failed};
    let error = |host: &str| Server { status: ServerStatus::Error, ..on(host) };
    let rows = [
        (Completed, on("d1"), 0, "moved"),
        // Liberty to Newton: the record is first.
        (Completed, on("h1"), 0, "wait"),
        (Completed, busy("h1"), 0, "wait"),
        (Completed, busy("d1"), moving::GRACE_S - 1, "wait"),
        // The inversion: nobody touches it.
        (Completed, on("h1"), moving::GRACE_S, "unknown"),
        (Completed, busy("h1"), moving::GRACE_S, "unknown"),
        // Refused by the scheduler or a pre-check, after the 202.
        (Error, on("h1"), 0, "next rung"),
        (Failed, on("h1"), 0, "next rung"),
        (Cancelled, on("h1"), 0, "next rung"),
        // Rolled back, and not at rest yet.
        (Failed, busy("h1"), 0, "wait"),
        // Post-processing failed after the switch.
        (Error, on("d1"), 0, "moved, warned"),
        (Completed, Server { status: ServerStatus::Paused, ..on("d1") }, 0, "moved, warned"),
        // The destination died; the source died and the driver threw.
        (Error, error("d1"), 0, "failed"),
        (Error, error("h1"), 0, "failed"),
        (Completed, error("d1"), 0, "failed"),
    ];
    for (status, row, for_s, expected) in rows {
        let told = format!("{status} {for_s} s ago, {} on {:?} {:?}", row.status, row.host, row.task_state);
        let found = verdict(&asked(intent(), accepted(), 30), &seen(row, of(status)), Some(for_s));
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn a_row_read_before_the_record_ended_proves_nothing() {
    let mut old = seen(on("d1"), of(MigrationStatus::Completed));
    old.server_as_of = Some(ago(5));
    assert_eq!(verdict(&asked(intent(), accepted(), 30), &old, Some(4)), Verdict::Wait(Want::ServerAfter));
    // On the destination while the record still runs: the record decides.
    let early = seen(on("d1"), of(MigrationStatus::Running));
    assert_eq!(word(&verdict(&asked(intent(), accepted(), 30), &early, None)), "wait");
}

#[test]
fn below_2_25_a_failed_record_may_be_the_first_requests() {
    let late = moving::NEVER_ARRIVED_AFTER_S;
    let rows = [
        (LOST(), 5, 24, "wait"),
        (None, 5, 24, "wait"),
        (LOST(), late, 24, "next rung"),
        (accepted(), 5, 24, "next rung"),
        (LOST(), 5, 25, "next rung"),
    ];
    for (answer, since_s, minor, expected) in rows {
        let told = format!("{answer:?} {since_s} s ago at 2.{minor}");
        let failed = seen(on("h1"), of(MigrationStatus::Error));
        let found = judged(&asked(intent(), answer, since_s), &failed, Some(0), false, minor);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn a_deleted_server_is_gone_whatever_its_record_says() {
    let gone = Seen { server: None, gone: true, ..seen(on("h1"), of(MigrationStatus::Running)) };
    assert_eq!(word(&verdict(&asked(intent(), accepted(), 30), &gone, None)), "gone");
}

#[test]
fn without_a_trace() {
    let late = moving::NEVER_ARRIVED_AFTER_S;
    let stopped = Server { status: ServerStatus::Shutoff, ..on("h1") };
    let owed = Server { status: ServerStatus::VerifyResize, ..on("d1") };
    let rows = [
        (LOST(), on("h1"), 10, "wait"),
        (LOST(), on("h1"), late, "again"),
        (None, on("h1"), late, "again"),
        (accepted(), on("h1"), late, "next rung"),
        // Nova is at work on it: the record is on its way.
        (LOST(), busy("h1"), late, "wait"),
        (LOST(), busy("h1"), 3600, "unknown"),
        // Its owner stopped it meanwhile.
        (LOST(), stopped, late, "again"),
        (LOST(), on("d1"), late, "done"),
        (LOST(), owed, late, "unknown"),
        (LOST(), Server { status: ServerStatus::Error, ..on("h1") }, 10, "failed"),
    ];
    for (answer, row, since_s, expected) in rows {
        let told = format!("{answer:?} {since_s} s ago, {} on {:?}", row.status, row.host);
        let found = verdict(&asked(intent(), answer, since_s), &seen(row, Vec::new()), None);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn records_of_others_are_not_taken_for_ours() {
    let older = record(10, "s", MigrationKind::Live, MigrationStatus::Completed);
    let cold = record(12, "s", MigrationKind::Cold, MigrationStatus::Finished);
    let elsewhere = Migration {
        source_host: Some("h2".to_owned()),
        ..record(13, "s", MigrationKind::Live, MigrationStatus::Error)
    };
    let found = verdict(&asked(intent(), LOST(), 80), &seen(on("h1"), vec![older, cold, elsewhere]), None);
    assert_eq!(word(&found), "again", "{found:?}");
    // Below 2.23 records say nothing of their kind.
    let silent = Migration { kind: None, ..record(11, "s", MigrationKind::Live, MigrationStatus::Running) };
    assert_eq!(word(&verdict(&asked(intent(), LOST(), 80), &seen(busy("h1"), vec![silent]), None)), "wait");
}

#[test]
fn what_stalls_or_takes_too_long_is_withdrawn_unless_nothing_can_be_taken_back() {
    use MigrationStatus::{Accepted, Preparing, Queued, Running, RunningPostCopy};
    // (record, copying for, shrunk ago, microversion): stalled after 60 s, too long after 300 + 2 × 60.
    let rows = [
        (Running, 30, 5, 96, "wait"),
        (Running, 100, 61, 96, "abort"),
        (Running, 430, 5, 96, "abort"),
        (Running, 100, 61, 24, "abort"),
        (Running, 100, 61, 23, "wait"),
        (RunningPostCopy, 1000, 900, 96, "wait"),
        (Queued, 1000, 900, 96, "wait"),
        (Preparing, 1000, 900, 96, "wait"),
        (Accepted, 1000, 900, 96, "wait"),
    ];
    for (status, copying_s, shrunk_s, minor, expected) in rows {
        let mut seen = seen(busy("h1"), of(status.clone()));
        (seen.copying_since, seen.progress_at) = (Some(ago(copying_s)), Some(ago(shrunk_s)));
        let found = judged(&asked(intent(), accepted(), 1000), &seen, None, false, minor);
        assert_eq!(word(&found), expected, "{status} {copying_s} {shrunk_s} 2.{minor}: {found:?}");
    }
}

#[test]
fn a_stopped_run_withdraws_only_what_waits_in_novas_queue() {
    use MigrationStatus::{Accepted, Queued, Running};
    let rows = [(Queued, 65, "abort"), (Queued, 64, "wait"), (Running, 96, "wait"), (Accepted, 96, "wait")];
    for (status, minor, expected) in rows {
        let found = judged(&asked(intent(), accepted(), 9), &seen(busy("h1"), of(status.clone())), None, true, minor);
        assert_eq!(word(&found), expected, "{status} 2.{minor}");
    }
}

#[test]
fn an_abort_is_judged_by_what_becomes_of_the_migration() {
    use MigrationStatus::{Cancelled, Completed, Running};
    let refused = || Some(Answer::Refused { message: "in an invalid state".to_owned(), refusal: None });
    let rows = [
        // (again, answer, asked ago, record, row, expected)
        (false, accepted(), 5, Running, busy("h1"), "wait"),
        (false, accepted(), 5, Cancelled, on("h1"), "next rung"),
        (true, accepted(), 5, Cancelled, on("h1"), "again"),
        // The hypervisor ignored it, and was right to.
        (false, accepted(), 5, Completed, on("d1"), "moved"),
        (false, refused(), 5, Completed, on("d1"), "moved"),
        (false, refused(), 5, Running, busy("h1"), "wait"),
        // The source's nova-compute is dead: aborts are taken and do nothing.
        (false, accepted(), ABORT_PATIENCE_S, Running, busy("h1"), "unknown"),
        (false, refused(), ABORT_PATIENCE_S, Running, busy("h1"), "unknown"),
        // It may never have arrived, and asking twice harms nothing.
        (false, LOST(), moving::NEVER_ARRIVED_AFTER_S, Running, busy("h1"), "abort"),
        (false, None, moving::NEVER_ARRIVED_AFTER_S - 1, Running, busy("h1"), "wait"),
    ];
    for (again, answer, ago_s, status, row, expected) in rows {
        let told = format!("{again} {answer:?} {ago_s} s ago, {status}");
        let terminal = status.is_terminal().then_some(0);
        let found = verdict(&asked(abort(again), answer, ago_s), &seen(row, of(status)), terminal);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn aborts_are_not_asked_for_ever() {
    let mut seen = seen(busy("h1"), of(MigrationStatus::Running));
    seen.copying_since = Some(ago(420 + ABORT_AGAIN_FOR_S));
    assert_eq!(word(&verdict(&asked(abort(false), LOST(), ABORT_PATIENCE_S), &seen, None)), "unknown");
    // Progress after an abort is waited for, and its absence is not.
    (seen.copying_since, seen.progress_at) = (Some(ago(420)), Some(ago(10)));
    assert_eq!(word(&verdict(&asked(abort(false), accepted(), 500), &seen, None)), "wait");
    seen.progress_at = Some(ago(ABORT_PATIENCE_S));
    assert_eq!(word(&verdict(&asked(abort(false), accepted(), 500), &seen, None)), "unknown");
}
