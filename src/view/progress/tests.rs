use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::event::{Leftover, LeftoverKind};
use crate::view::fixture::{DB_1, Night, OLD, WEB_3, any_events, child, ended, night, put_back, seen, started};

fn state(tally: &Tally, id: &str) -> StepState {
    tally.steps().find(|(step, _)| step.step.id.0 == id).unwrap().1
}

fn phase(tally: &Tally, host: &str) -> HostPhase {
    tally.hosts().iter().find(|entry| entry.plan.name == host).unwrap().phase
}

fn failed() -> Outcome {
    Outcome::Failed { reason: "no".into(), fault: None, remedy: "look".into(), output: None }
}

fn retryable(again_after_s: Option<u64>) -> Outcome {
    Outcome::Retryable { reason: "not this time".into(), fault: None, again_after_s }
}

/// As [`started`], for a graph that only puts a host back.
fn putting_back() -> EventKind {
    match started() {
        EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, .. } => {
            EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, graph: Box::new(put_back()) }
        }
        other => other,
    }
}

#[test]
fn a_whole_night_is_counted() {
    let tally = Tally::of(&night());
    let servers = tally.server_counts();
    assert_eq!((servers.total, servers.cold, servers.stopped, servers.left), (4, 2, 1, 1));
    let steps = tally.step_counts();
    assert_eq!((steps.total, steps.done, steps.failed, steps.blocked, steps.waiting), (16, 12, 1, 3, 0));
    assert_eq!((phase(&tally, "cmp-07"), phase(&tally, "cmp-08")), (HostPhase::BackInService, HostPhase::Held));
    assert_eq!((tally.wave(), tally.elapsed_s(), tally.requests()), ((2, 2), 404, 214));
}

#[test]
fn a_host_goes_through_its_phases() {
    let mut tally = Tally::default();
    let mut phases = Vec::new();
    for event in &night() {
        tally.apply(event);
        let now = phase(&tally, "cmp-07");
        if phases.last() != Some(&now) {
            phases.push(now);
        }
    }
    use HostPhase::{BackInService, Draining, Empty, InMaintenance, Restoring, Verifying, Waiting};
    assert_eq!(phases, [Waiting, Draining, Empty, InMaintenance, Verifying, Restoring, BackInService]);
}

#[test]
fn what_waits_for_a_failed_step_is_blocked_until_it_is_tried_again() {
    let mut night = Night::default();
    night.push(0, started()).start(1, "cmp-07/disable", 1, None).settle(2, "cmp-07/disable", 1, failed());
    let mut tally = Tally::of(&night.events);
    assert_eq!(state(&tally, &format!("cmp-07/move/{WEB_3}")), StepState::Blocked);
    assert_eq!(state(&tally, "cmp-08/disable"), StepState::Blocked);
    assert_eq!(phase(&tally, "cmp-07"), HostPhase::Held);
    assert_eq!(phase(&tally, "cmp-08"), HostPhase::Waiting);

    let retry = vec![StepId("cmp-07/disable".into())];
    night.push(3, EventKind::RunResumed { furlough: "0.1.0".into(), retry });
    tally.apply(night.events.last().unwrap());
    assert_eq!(tally.step_counts().waiting, 16);
}

#[test]
fn a_ladder_without_another_rung_has_failed() {
    let step = format!("cmp-07/move/{WEB_3}");
    let mut night = Night::default();
    night.push(0, started()).start(1, &step, 1, Some(Rung::Live)).settle(2, &step, 1, retryable(None));
    assert_eq!(state(&Tally::of(&night.events), &step), StepState::Waiting);
    night.start(3, &step, 2, Some(Rung::Cold)).settle(4, &step, 2, retryable(None));
    let tally = Tally::of(&night.events);
    assert_eq!((state(&tally, &step), tally.server_counts().failed), (StepState::Failed, 1));
    assert_eq!(state(&tally, "cmp-07/empty"), StepState::Blocked);
}

#[test]
fn a_step_without_tries_left_has_failed_once_the_run_says_so() {
    let step = format!("cmp-07/move/{WEB_3}");
    let mut night = Night::default();
    night.push(0, started()).start(1, &step, 1, Some(Rung::Cold)).settle(2, &step, 1, retryable(Some(30)));
    assert_eq!(state(&Tally::of(&night.events), &step), StepState::Waiting);

    let with = |ending| {
        let mut events = night.events.clone();
        events.push(Event { kind: ended(ending), ..events[0].clone() });
        Tally::of(&events)
    };
    assert_eq!(state(&with(Ending::Failed), &step), StepState::Failed);
    // It was stopped between two attempts: nothing has failed yet.
    assert_eq!(state(&with(Ending::Interrupted), &step), StepState::Waiting);

    let named = Leftover {
        kind: LeftoverKind::StepFailed,
        host: "cmp-07".into(),
        server: Some((WEB_3.into(), "web-3".into())),
        what: "every method failed".into(),
        remedy: "look".into(),
    };
    night.push(3, EventKind::RunEnded { ending: Ending::Paused, leftovers: vec![named], requests: 1 });
    assert_eq!(state(&Tally::of(&night.events), &step), StepState::Failed);
}

#[test]
fn a_server_that_ends_on_the_last_rung_is_left() {
    let step = format!("cmp-07/move/{WEB_3}");
    let mut night = Night::default();
    night.push(0, started()).done(1, &step, Done::Left);
    assert_eq!(Tally::of(&night.events).server_counts().left, 2);
}

#[test]
fn servers_of_an_earlier_run_are_started_again() {
    let mut night = Night::default();
    night.push(0, putting_back());
    assert_eq!(Tally::of(&night.events).server_counts().stopped, 1);
    night.done(1, &format!("cmp-08/start/{OLD}"), Done::Started).done(4, "cmp-08/enable", seen("enabled"));
    let tally = Tally::of(&night.events);
    assert_eq!((tally.server_counts().restarted, phase(&tally, "cmp-08")), (1, HostPhase::BackInService));
}

#[test]
fn a_child_graph_adds_up_and_holds_what_waits_for_its_parent() {
    let mut night = Night::default();
    night.push(0, started()).done(1, "cmp-07/disable", seen("disabled"));
    night.done(3, "cmp-07/list", Done::Listed { servers: 2, new: 1 });
    night.push(6, EventKind::GraphExtended { graph: Box::new(child()) });
    let tally = Tally::of(&night.events);
    assert_eq!((tally.step_counts().total, tally.server_counts().total, tally.hosts().len()), (17, 5, 2));
    assert_eq!(state(&tally, "cmp-07/list"), StepState::Waiting);

    let new = child().steps[0].id.0.clone();
    night.start(7, &new, 1, Some(Rung::Live)).settle(8, &new, 1, failed());
    let tally = Tally::of(&night.events);
    assert_eq!(state(&tally, "cmp-07/list"), StepState::Blocked);
    assert_eq!(state(&tally, "cmp-07/empty"), StepState::Blocked);
}

#[test]
fn a_server_that_was_stopped_counts_once() {
    let (stop, start) = (format!("cmp-08/move/{OLD}"), format!("cmp-08/start/{OLD}"));
    let mut night = Night::default();
    night.push(0, started()).done(1, &stop, Done::Stopped);
    assert_eq!(Tally::of(&night.events).server_counts().stopped, 1);
    night.done(4, &start, Done::Started);
    let counts = Tally::of(&night.events).server_counts();
    assert_eq!((counts.stopped, counts.restarted), (0, 1));
}

#[test]
fn a_crash_leaves_what_was_in_flight_in_flight() {
    let step = format!("cmp-07/move/{DB_1}");
    let mut night = Night::default();
    night.push(0, started()).start(1, &step, 1, Some(Rung::Cold));
    night.push(60, EventKind::RunResumed { furlough: "0.1.0".into(), retry: Vec::new() });
    let tally = Tally::of(&night.events);
    assert_eq!((tally.server_counts().in_flight, tally.resumes(), tally.ended().is_some()), (1, 1, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_always_add_up(events in any_events()) {
        let mut tally = Tally::default();
        for event in &events {
            tally.apply(event);
        }
        let steps = tally.step_counts();
        let parts = [steps.waiting, steps.running, steps.done, steps.failed, steps.unknown, steps.blocked];
        prop_assert_eq!(parts.iter().sum::<usize>(), steps.total);
        prop_assert_eq!(tally.steps().count(), steps.total);
        let c = tally.server_counts();
        let ends = [c.live, c.cold, c.already, c.stopped, c.restarted, c.gone, c.left, c.failed, c.unknown];
        prop_assert_eq!(ends.iter().sum::<usize>(), c.settled());
        prop_assert_eq!(c.settled() + c.waiting + c.in_flight, c.total);
        let of_hosts: usize = tally.hosts().iter().map(|host| host.servers.total).sum();
        prop_assert!(of_hosts <= c.total);
        if steps.failed + steps.unknown == 0 {
            prop_assert_eq!(steps.blocked, 0);
        }
    }
}
