//! The checker itself: a night told by hand that keeps every promise, and for each promise nights that break it and
//! nights that look as if they did.

mod tale;

use tale::{
    Line, REASON, Tale, asked, before, disabled, done, ended, failed, intended, live, moving, other, read, retryable,
    row, settled, started,
};

use crate::cloud::fixture::{in_state, server, service};
use crate::cloud::sim::{Question, Told, What};
use crate::cloud::{
    Ask, ComputeService, GroupPolicy, MigrationKind, MigrationStatus, Refusal, ServerGroup, ServerStatus, ServiceStatus,
};
use crate::compile::StepId;
use crate::event::{Answer, Done, Ending, EventKind, Intent, Leftover, LeftoverKind, Outcome};

fn leftover(kind: LeftoverKind, host: &str, server: Option<&str>) -> Leftover {
    let server = server.map(|id| (id.to_owned(), String::new()));
    Leftover { kind, host: host.to_owned(), server, what: "w".to_owned(), remedy: "r".to_owned() }
}

fn resumed(retry: &[&str]) -> Line {
    let retry = retry.iter().map(|id| StepId((*id).to_owned())).collect();
    Line::Event(EventKind::RunResumed { furlough: "0".to_owned(), retry })
}

#[test]
fn a_good_night_breaks_nothing() {
    Tale::good().breaks(&[]);
}

// 1

#[test]
fn asked_before_its_intent_is_on_disk() {
    Tale::good().moved_after("live:intend", "live:ask").breaks(&[1]);
    Tale::good().without("h1/enable:intend").breaks(&[1]);
    Tale::good().moved_after("h1/maintain/1-run:intend", "h1/maintain/1-run:began").breaks(&[1]);
}

#[test]
fn an_intent_is_good_for_one_request() {
    let lost = Line::Seen(What::Asked { ask: live("s1"), arrived: false, answer: Told::Lost });
    let looks = read(Question::Server { id: "s1".to_owned() });
    Tale::good().before("live:ask", vec![lost, looks]).breaks(&[1]);
}

#[test]
fn a_request_of_another_reason_or_host_is_not_the_one_intended() {
    let ask = Ask::LiveMigrate {
        server: "s1".to_owned(),
        host: Some("d2".to_owned()),
        block_migration: crate::cloud::BlockMigration::Auto,
    };
    Tale::good().instead("live:ask", asked(ask)).breaks(&[1]);
}

// 2

fn live_intent() -> Intent {
    Intent::Live { server: before("s1", "h1"), to: None, newest_migration: None }
}

#[test]
fn asked_again_while_the_first_may_have_been_taken() {
    let again = vec![intended("h1/move/s1", 1, live_intent()), asked(live("s1"))];
    Tale::good().after("live:answer", again).breaks(&[2]);
}

#[test]
fn two_records_at_once() {
    let second = vec![
        settled("h1/move/s1", 1, retryable(Some(0))),
        started("h1/move/s1", 2),
        intended("h1/move/s1", 2, live_intent()),
        read(Question::Server { id: "s1".to_owned() }),
        asked(live("s1")),
        moving(9, "s1", "h1", MigrationKind::Live, MigrationStatus::Accepted, ""),
        moving(9, "s1", "h1", MigrationKind::Live, MigrationStatus::Error, ""),
    ];
    let tale = Tale::good().after("live:answer", second);
    let told = tale.told();
    assert!(told.iter().any(|one| one.invariant == 2 && one.text.contains("[1, 9]")), "{told:?}");
}

#[test]
fn asked_again_after_a_lost_request_only_with_a_look_and_without_a_trace() {
    let lost = || Line::Seen(What::Asked { ask: live("s1"), arrived: false, answer: Told::Lost });
    let again = |looks: bool| {
        let mut lines = vec![
            started("h1/move/s1", 1),
            intended("h1/move/s1", 1, live_intent()),
            lost(),
            answered_lost(),
            settled("h1/move/s1", 1, retryable(Some(0))),
        ];
        if looks {
            lines.insert(4, read(Question::Server { id: "s1".to_owned() }));
        }
        lines
    };
    Tale::good().before("live:start", again(true)).breaks(&[]);
    Tale::good().before("live:start", again(false)).breaks(&[2]);
}

fn answered_lost() -> Line {
    tale::answered("h1/move/s1", 1, Answer::Lost { cause: "c".to_owned() })
}

#[test]
fn a_refused_request_may_be_followed_by_another() {
    let answer = Told::Refused { refusal: Refusal::Busy, message: "busy".to_owned() };
    let first = vec![
        started("h1/move/s1", 1),
        intended("h1/move/s1", 1, live_intent()),
        Line::Seen(What::Asked { ask: live("s1"), arrived: true, answer }),
        settled("h1/move/s1", 1, retryable(Some(15))),
    ];
    Tale::good().before("live:start", first).breaks(&[]);
}

#[test]
fn a_confirm_is_not_asked_twice() {
    let intent = Intent::Confirm { server: before("s2", "h2"), migration_id: 2 };
    let again = vec![intended("h2/move/s2", 1, intent), asked(Ask::ConfirmResize { server: "s2".to_owned() })];
    Tale::good().after("confirm:ask", again).breaks(&[2]);
}

// 3

/// Somebody's third server is moved by this run as well, while the others are.
fn others_copying(from: &str, ids: &[u64], status: &MigrationStatus) -> Vec<Line> {
    let mut lines = Vec::new();
    for id in ids {
        let server = format!("x{id}");
        let intent = Intent::Live { server: before(&server, from), to: None, newest_migration: None };
        lines.push(intended(&format!("{from}/move/{server}"), 1, intent));
        lines.push(asked(live(&server)));
        lines.push(moving(*id, &server, from, MigrationKind::Live, MigrationStatus::Accepted, ""));
        lines.push(moving(*id, &server, from, MigrationKind::Live, status.clone(), "d2"));
    }
    for id in ids {
        let server = format!("x{id}");
        lines.push(moving(*id, &server, from, MigrationKind::Live, MigrationStatus::Completed, "d2"));
        lines.push(settled(&format!("{from}/move/{server}"), 1, done()));
    }
    lines
}

#[test]
fn more_than_the_cloud_or_a_source_may_have() {
    let mut tale = Tale::good().after("live:running", others_copying("d1", &[11], &MigrationStatus::Running));
    tale.breaks(&[]);
    tale.graph.plan.drain.limits.cloud = 1;
    tale.breaks(&[3]);
    let mut tale = Tale::good().after("live:running", others_copying("h1", &[11], &MigrationStatus::Queued));
    tale.breaks(&[3]);
    tale.graph.plan.drain.limits.queue_ahead = 1;
    tale.breaks(&[]);
}

#[test]
fn more_than_a_destination_may_have() {
    let mut tale = Tale::good().after("live:running", others_copying("d2", &[11], &MigrationStatus::Running));
    tale.graph.plan.drain.limits.destination = Some(1);
    tale.breaks(&[]);
    let mut tale = Tale::good().after("live:accepted", others_copying("d1", &[11], &MigrationStatus::Running));
    tale = tale.instead("live:accepted", moving(1, "s1", "h1", MigrationKind::Live, MigrationStatus::Queued, "d2"));
    tale.graph.plan.drain.limits.destination = Some(1);
    tale.breaks(&[3]);
}

#[test]
fn a_migration_of_somebody_else_counts_for_nothing() {
    let theirs = vec![
        other("the owner moves x"),
        moving(50, "s3", "d1", MigrationKind::Live, MigrationStatus::Running, "d2"),
        moving(51, "s4", "d1", MigrationKind::Live, MigrationStatus::Running, "d2"),
        moving(50, "s3", "d1", MigrationKind::Live, MigrationStatus::Completed, "d2"),
        moving(51, "s4", "d1", MigrationKind::Live, MigrationStatus::Completed, "d2"),
    ];
    Tale::good().after("live:running", theirs).breaks(&[]);
}

#[test]
fn what_waits_for_its_confirm_copies_nothing() {
    let mut tale = Tale::good();
    tale.graph.plan.drain.limits.cloud = 1;
    let lines = others_copying("d1", &[11], &MigrationStatus::Running);
    let tale = Tale { graph: tale.graph.clone(), ..tale }.after("cold:finished", lines);
    tale.breaks(&[]);
}

// 4

#[test]
fn sent_to_a_host_that_is_out_of_service_or_being_emptied() {
    let to = |host| moving(1, "s1", "h1", MigrationKind::Live, MigrationStatus::Running, host);
    Tale::good().instead("live:running", to("h2")).breaks(&[4]);
    // In the wave to come, which has not begun.
    Tale::good().instead("live:running", to("h3")).breaks(&[]);
    let theirs =
        ComputeService { status: ServiceStatus::Disabled, disabled_reason: Some("dust".to_owned()), ..service("d1") };
    Tale::good().before("live:start", vec![Line::Seen(What::Service(theirs))]).breaks(&[4]);
}

#[test]
fn a_host_that_is_disabled_while_it_is_chosen_is_nobodys_fault() {
    let theirs =
        ComputeService { status: ServiceStatus::Disabled, disabled_reason: Some("dust".to_owned()), ..service("d1") };
    Tale::good()
        .after("live:running", vec![other("an admin disables d1"), Line::Seen(What::Service(theirs))])
        .breaks(&[]);
}

#[test]
fn sent_where_its_group_or_zone_forbids() {
    let group = |policy| ServerGroup {
        id: "g".to_owned(),
        name: "web".to_owned(),
        policy,
        max_server_per_host: 1,
        members: vec!["s1".to_owned(), "s3".to_owned()],
    };
    let mut tale = Tale::good();
    tale.start.groups = vec![group(GroupPolicy::AntiAffinity)];
    tale.breaks(&[4]);
    tale.start.groups = vec![group(GroupPolicy::SoftAntiAffinity)];
    tale.breaks(&[]);
    let mut pinned = server("s1", "h1");
    pinned.pinned_zone = Some("az2".to_owned());
    Tale::good().instead("live:migrating", row(pinned)).breaks(&[4]);
}

// 5

#[test]
fn moved_before_every_host_of_the_wave_is_disabled_and_read_back() {
    Tale::good().without("h2/disable:read").without("h2/enable:read").breaks(&[5]);
    Tale::good().without("h1/disable:row").breaks(&[5]);
    // The second wave's hosts have time.
    Tale::good().without("h3/disable:read").breaks(&[]);
}

#[test]
fn a_host_read_before_it_was_disabled_was_not_read_back() {
    Tale::good().moved_after("h2/disable:read", "h2/disable:intend").breaks(&[5]);
}

// 6

#[test]
fn maintained_while_a_server_is_on_it() {
    let arrived = vec![row(server("new", "h1"))];
    Tale::good().before("h1/empty:servers", arrived.clone()).breaks(&[6]);
    // After the last look nobody could know; but not within the time that late arrivals have.
    Tale::good().before("h1/maintain/1-run:began", arrived.clone()).breaks(&[]);
    let mut tale = Tale::good().before("h1/maintain/1-run:began", arrived);
    tale.graph.plan.drain.late_arrivals_s = 100_000;
    tale.breaks(&[6]);
}

#[test]
fn maintained_while_a_server_is_owed_to_it() {
    let waits = |server: &str, from| moving(77, server, from, MigrationKind::Resize, MigrationStatus::Finished, "d2");
    let theirs = |from| vec![other("an owner resizes s3"), waits("s3", from)];
    Tale::good().before("h1/empty:servers", theirs("h1")).breaks(&[6]);
    Tale::good().before("h1/empty:servers", theirs("d1")).breaks(&[]);
    Tale::good().before("h1/empty:servers", vec![other("of a server that is gone"), waits("gone", "h1")]).breaks(&[]);
}

#[test]
fn what_the_plan_leaves_may_stay() {
    let mut tale = Tale::good();
    let stays = in_state(server("s1", "h1"), ServerStatus::Shutoff);
    tale = tale.before("h1/empty:servers", vec![row(stays)]);
    let told = tale.told();
    assert!(told.iter().all(|one| one.invariant != 6), "its ladder ends in stop, and it is off: {told:?}");
    let runs = Tale::good().before("h1/empty:servers", vec![row(server("s1", "h1"))]).told();
    assert!(runs.iter().any(|one| one.invariant == 6), "{runs:?}");
}

// 7

#[test]
fn enabled_before_its_steps_are_done() {
    Tale::good().without("h1/maintain/1-run:settle").breaks(&[7, 10]);
    let tale = Tale::good().instead("h1/maintain/1-run:settle", settled("h1/maintain/1-run", 1, failed()));
    tale.breaks(&[7, 10, 12]);
}

#[test]
fn enabled_though_this_run_did_not_disable_it() {
    let intent = Intent::Enable {
        host: "d1".to_owned(),
        service_id: "service-of-d1".to_owned(),
        restore: crate::event::ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: None },
    };
    let ask = Ask::EnableService { host: "d1".to_owned(), service_id: "service-of-d1".to_owned() };
    Tale::good()
        .before("end", vec![intended("d1/enable", 1, intent), asked(ask), settled("d1/enable", 1, done())])
        .breaks(&[7]);
}

#[test]
fn one_that_was_disabled_before_stays_so() {
    let theirs =
        ComputeService { status: ServiceStatus::Disabled, disabled_reason: Some("dust".to_owned()), ..service("h3") };
    let mut tale = Tale::good().instead("h3:at first", Line::Seen(What::Service(theirs.clone())));
    tale.start.hosts.iter_mut().filter(|host| host.name == "h3").for_each(|host| host.service = theirs.clone());
    tale = tale.before("h3/disable:intend", vec![read(Question::Services { host: Some("h3".to_owned()) })]);
    tale.breaks(&[7]);
}

#[test]
fn given_back_otherwise_than_it_was() {
    let down = ComputeService { forced_down: Some(true), ..service("h1") };
    Tale::good().instead("h1/enable:row", Line::Seen(What::Service(down))).breaks(&[7]);
}

#[test]
fn enabled_over_somebody_elses_hold() {
    let theirs = ComputeService { disabled_reason: Some("bad disk".to_owned()), ..disabled("h1") };
    let held = vec![other("an admin takes h1"), Line::Seen(What::Service(theirs))];
    Tale::good().after("h1/maintain/1-run:settle", held.clone()).breaks(&[7]);
    // Too late to be read.
    let told = Tale::good().before("h1/enable:ask", held).told();
    assert!(told.is_empty(), "{told:?}");
}

// 8

#[test]
fn a_server_that_ends_off_or_unlocked() {
    let off = in_state(server("s1", "d1"), ServerStatus::Shutoff);
    Tale::good().instead("live:row", row(off.clone())).breaks(&[8]);
    let mut unlocked = server("s1", "d1");
    unlocked.locked = Some(true);
    Tale::good().instead("live:row", row(unlocked)).breaks(&[8]);
    // Its owner turned it off.
    Tale::good().before("end", vec![other("the owner stops s1"), row(off)]).breaks(&[]);
}

#[test]
fn what_was_stopped_is_asked_to_start() {
    let stop = Intent::Stop { server: before("s1", "h1") };
    let off = in_state(server("s1", "d1"), ServerStatus::Shutoff);
    let lines = vec![
        intended("h1/move/s1", 1, stop),
        asked(Ask::Stop { server: "s1".to_owned() }),
        row(off),
        read(Question::Server { id: "s1".to_owned() }),
        settled("h1/move/s1", 1, Outcome::Done(Done::Stopped)),
    ];
    let named = vec![leftover(LeftoverKind::ServerState, "h1", Some("s1"))];
    let tale = Tale::good().after("live:settle", lines);
    let tale = tale.instead("end", ended(Ending::Failed, named));
    tale.breaks(&[8]);
    let start = intended("h1/start/s1", 1, Intent::Start { server: before("s1", "h1") });
    tale.after("h1/start/s1:start", vec![start]).breaks(&[]);
}

// 9

#[test]
fn somebody_elses_resize_is_theirs() {
    let confirm = vec![
        moving(70, "s3", "d1", MigrationKind::Resize, MigrationStatus::Finished, "d2"),
        intended("d1/move/s3", 1, Intent::Confirm { server: before("s3", "d1"), migration_id: 70 }),
        asked(Ask::ConfirmResize { server: "s3".to_owned() }),
        moving(70, "s3", "d1", MigrationKind::Resize, MigrationStatus::Confirmed, "d2"),
        settled("d1/move/s3", 1, done()),
    ];
    Tale::good().before("end", confirm).breaks(&[9]);
}

#[test]
fn somebody_elses_migration_is_not_aborted() {
    let abort = |migration_id| {
        let why = "w".to_owned();
        let server = "s3".to_owned();
        let intent = Intent::Abort { server: before("s3", "d1"), migration_id, why, again: false };
        vec![
            moving(70, "s3", "d1", MigrationKind::Live, MigrationStatus::Running, "d2"),
            intended("d1/move/s3", 1, intent),
            asked(Ask::AbortMigration { server, migration_id }),
            settled("d1/move/s3", 1, done()),
        ]
    };
    Tale::good().before("end", abort(70)).breaks(&[9]);
}

// 10

#[test]
fn dependants_of_what_failed_never_begin() {
    let tale = Tale::good().instead("h1/empty:settle", settled("h1/empty", 1, failed()));
    tale.breaks(&[7, 10, 12]);
}

#[test]
fn nothing_else_is_stopped_by_a_failure() {
    // The second wave is never begun, and nothing has failed.
    let tale = Tale::good().until("h2/enable:settle").then("end", ended(Ending::Done, Vec::new()));
    tale.breaks(&[10]);
}

#[test]
fn a_run_that_holds_takes_no_further_host() {
    let named = vec![leftover(LeftoverKind::HostDisabled, "h2", None)];
    let held = Tale::good().until("h2/maintain/1-run:ended");
    let held = held.then("fails", settled("h2/maintain/1-run", 1, failed()));
    held.then("end", ended(Ending::Failed, named)).breaks(&[]);
}

#[test]
fn a_further_host_although_something_failed() {
    let tale = Tale::good().instead("h2/enable:settle", settled("h2/enable", 1, failed()));
    tale.breaks(&[10, 12]);
}

#[test]
fn what_is_in_flight_is_finished() {
    let named = vec![
        leftover(LeftoverKind::HostDisabled, "h1", None),
        leftover(LeftoverKind::HostDisabled, "h2", None),
        leftover(LeftoverKind::Unknown, "h1", Some("s1")),
        leftover(LeftoverKind::ServerNotMoved, "h2", Some("s2")),
    ];
    let cut = Tale::good().until("live:running").then("end", ended(Ending::Interrupted, named));
    cut.breaks(&[10]);
}

// 11

#[test]
fn a_command_that_succeeded_is_not_run_again() {
    let step = "h1/maintain/1-run";
    let key = "run/again".to_owned();
    let intent = Intent::Command { key: key.clone(), argv: Vec::new(), timeout_s: 1 };
    let began = What::Command { key, host: "h1".to_owned(), began: true, exit_code: None };
    let again = vec![resumed(&[]), started(step, 2), intended(step, 2, intent), Line::Seen(began)];
    Tale::good().after("h1/maintain/1-run:ended", again).breaks(&[11]);
}

#[test]
fn a_disable_that_was_taken_is_not_asked_again() {
    let again = |tale: Tale, name: &str| {
        let (_, ask) = tale.lines.iter().find(|(known, _)| known == "h1/disable:ask").cloned().unwrap();
        let (_, intent) = tale.lines.iter().find(|(known, _)| known == "h1/disable:intend").cloned().unwrap();
        tale.after(name, vec![resumed(&[]), intent, ask, settled("h1/disable", 1, done())])
    };
    again(Tale::good(), "h1/disable:row").breaks(&[11]);
    // Somebody had enabled it meanwhile.
    let theirs = vec![other("an admin enables h1"), Line::Seen(What::Service(service("h1")))];
    let tale = Tale::good().after("h1/list:settle", theirs);
    let shows = vec![Line::Seen(What::Service(disabled("h1"))), read(Question::Services { host: None })];
    again(tale, "h1/list:settle+1").before("live:start", shows).breaks(&[]);
}

#[test]
fn what_was_on_disk_stays_there() {
    let forgotten = Line::Seen(What::Durable { events: 3 });
    let told = Tale::good().before("end", vec![forgotten]).told();
    assert!(told.iter().any(|one| one.invariant == 11), "{told:?}");
}

// 12

#[test]
fn hosts_and_servers_that_are_left_are_named() {
    let named = |until: &str, host: Option<&str>, server: Option<&str>| {
        let mut leftovers = vec![leftover(LeftoverKind::StepFailed, "h2", None)];
        leftovers.extend(host.map(|host| leftover(LeftoverKind::HostDisabled, host, None)));
        leftovers.push(leftover(LeftoverKind::HostDisabled, "h2", None));
        leftovers.push(leftover(LeftoverKind::ServerNotMoved, "h2", Some("s2")));
        leftovers.extend(server.map(|id| leftover(LeftoverKind::ServerNotMoved, "h1", Some(id))));
        let tale = Tale::good().until(until);
        let stop = Line::Event(EventKind::Interrupted { by: "the operator".to_owned() });
        tale.then("stop", stop).then("end", ended(Ending::Interrupted, leftovers))
    };
    named("live:start", Some("h1"), Some("s1")).breaks(&[]);
    named("live:start", None, Some("s1")).breaks(&[12]);
    named("live:start", Some("h1"), None).breaks(&[12]);
    // Before anything was moved off it, it is where and how it began.
    named("h2/list:settle", Some("h1"), None).breaks(&[]);
}

#[test]
fn a_resize_that_is_not_confirmed_is_named() {
    let leftovers = |named: bool| {
        let mut all =
            vec![leftover(LeftoverKind::HostDisabled, "h1", None), leftover(LeftoverKind::HostDisabled, "h2", None)];
        if named {
            all.push(leftover(LeftoverKind::UnconfirmedResize, "h2", Some("s2")));
        }
        all
    };
    let unknown = Outcome::Unknown { reason: "r".to_owned(), remedy: "m".to_owned() };
    let tale = |named| {
        let tale = Tale::good().until("confirm:ask").then("gives up", settled("h2/move/s2", 1, unknown.clone()));
        let stop = Line::Event(EventKind::Interrupted { by: "the operator".to_owned() });
        tale.then("stop", stop).then("end", ended(Ending::Failed, leftovers(named)))
    };
    tale(true).breaks(&[]);
    tale(false).breaks(&[12]);
}

#[test]
fn a_step_that_failed_is_named() {
    let tale = Tale::good().instead("h3/enable:settle", settled("h3/enable", 1, failed()));
    tale.breaks(&[12]);
}

// 13

#[test]
fn a_host_of_another_run_is_left_alone() {
    let theirs =
        ComputeService { disabled_reason: Some("furlough 20260101-0000-aaaa: x".to_owned()), ..disabled("h2") };
    let held = vec![other("another run takes h2"), Line::Seen(What::Service(theirs))];
    let told = Tale::good().until("cold:settle").before("h2/list:read", held.clone()).told();
    assert!(told.is_empty(), "nobody has read it since: {told:?}");
    let seen = Tale::good().before("h2/list:read", held);
    let seen = seen.before("cold:intend", vec![read(Question::Services { host: None })]).told();
    assert!(seen.iter().any(|one| one.invariant == 13), "{seen:?}");
}

#[test]
fn a_disable_names_its_run() {
    let ask = |reason: &str| {
        asked(Ask::DisableService {
            host: "h3".to_owned(),
            service_id: "service-of-h3".to_owned(),
            reason: reason.to_owned(),
        })
    };
    let told = Tale::good().instead("h3/disable:ask", ask("kernel")).told();
    assert!(told.iter().any(|one| one.invariant == 13), "{told:?}");
    let told = Tale::good().instead("h3/disable:ask", ask("furlough other: kernel")).told();
    assert!(told.iter().any(|one| one.invariant == 13), "{told:?}");
    let told = Tale::good().instead("h3/disable:ask", ask(REASON)).told();
    assert!(told.is_empty(), "{told:?}");
}

// 14

#[test]
fn a_secret_in_an_event_is_found() {
    let mut tale = Tale::good();
    tale.secrets = vec!["hunter2-of-s1".to_owned()];
    tale.breaks(&[]);
    let text = "metadata: password=hunter2-of-s1".to_owned();
    tale.before("end", vec![Line::Event(EventKind::Noted { step: None, text })]).breaks(&[14]);
}
