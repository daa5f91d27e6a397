//! One row for each thing Nova shows of a stop or a start.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::cloud::Server;
use crate::event::Answer;
use crate::run::tests::{accepted, asked, before, seen, server};

fn row(status: ServerStatus, task: Option<&str>) -> Server {
    Server { status, task_state: task.map(str::to_owned), ..server("s", "h1") }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Wait(Want::ServerAlone) => "wait",
        Verdict::Settled(Outcome::Done(Done::Stopped | Done::Started)) => "done",
        Verdict::Settled(Outcome::Done(Done::Gone)) => "gone",
        Verdict::Settled(Outcome::Retryable { again_after_s: Some(_), .. }) => "again",
        Verdict::Settled(Outcome::Retryable { again_after_s: None, .. }) => "next rung",
        Verdict::Settled(Outcome::Failed { .. }) => "failed",
        Verdict::Settled(Outcome::Unknown { .. }) => "unknown",
        _ => "something else",
    }
}

#[test]
fn a_stop_and_a_start() {
    use ServerStatus::{Active, Error, Shutoff};
    let lost = || Some(Answer::Lost { cause: "cut".to_owned() });
    let off = Some("powering-off");
    let on = Some("powering-on");
    let rows = [
        // (stop?, answer, asked ago, row, expected)
        (true, accepted(), 5, row(Active, off), "wait"),
        (true, accepted(), 5, row(Active, None), "wait"),
        (true, accepted(), 5, row(Shutoff, off), "wait"),
        (true, accepted(), 5, row(Shutoff, None), "done"),
        (true, lost(), 5, row(Shutoff, None), "done"),
        (true, accepted(), CAME_TO_NOTHING_S, row(Active, None), "next rung"),
        (true, lost(), CAME_TO_NOTHING_S, row(Active, None), "wait"),
        (true, lost(), moving::NEVER_ARRIVED_AFTER_S, row(Active, None), "again"),
        (true, None, moving::NEVER_ARRIVED_AFTER_S, row(Active, None), "again"),
        // In the queue of a dead nova-compute: carried out when it comes back.
        (true, accepted(), 299, row(Active, off), "wait"),
        (true, accepted(), 300, row(Active, off), "unknown"),
        (true, accepted(), 5, row(Error, None), "failed"),
        (false, accepted(), 5, row(Shutoff, on), "wait"),
        (false, accepted(), 5, row(Active, None), "done"),
        (false, accepted(), CAME_TO_NOTHING_S, row(Shutoff, None), "next rung"),
        (false, accepted(), 300, row(Shutoff, on), "unknown"),
        (false, accepted(), 5, row(Error, None), "failed"),
    ];
    for (stop, answer, ago_s, row, expected) in rows {
        let told = format!("stop {stop} {answer:?} {ago_s} s ago, {} {:?}", row.status, row.task_state);
        let server = before("s", "h1");
        let (intent, wanted, done) = match stop {
            true => (Intent::Stop { server }, Shutoff, Done::Stopped),
            false => (Intent::Start { server }, Active, Done::Started),
        };
        let found = judge(&asked(intent, answer, ago_s), &seen(row, Vec::new()), &wanted, done, 300);
        assert_eq!(word(&found), expected, "{told}: {found:?}");
    }
}

#[test]
fn a_row_from_before_the_request_proves_nothing() {
    let stop = || asked(Intent::Stop { server: before("s", "h1") }, accepted(), 5);
    let mut old = seen(row(ServerStatus::Shutoff, None), Vec::new());
    old.server_as_of = Some(Instant::now() - Duration::from_secs(6));
    assert_eq!(word(&judge(&stop(), &old, &ServerStatus::Shutoff, Done::Stopped, 300)), "wait");
    let gone = Seen { server: None, gone: true, ..seen(row(ServerStatus::Active, None), Vec::new()) };
    assert_eq!(word(&judge(&stop(), &gone, &ServerStatus::Shutoff, Done::Stopped, 300)), "gone");
}
