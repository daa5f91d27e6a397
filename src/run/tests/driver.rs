//! Whole runs over the fake cloud.

use super::fake::{Fake, Fate};
use super::plan;
use super::stage::{Death, Mortal, Stage};
use crate::cloud::{Migration, MigrationStatus, Refusal, ServerStatus, ServiceStatus};
use crate::event::{Done, Ending, EventKind, LeftoverKind, Outcome};
use crate::plan::{Action, Command, Count, Expr, Finish, OnFailure, Plan, Rung, Scope, Template, Wait};
use crate::run::Stop;

pub(super) fn run(argv: &str) -> Action {
    let argv = argv.split(' ').map(|word| Template::parse(word).unwrap()).collect();
    Action::Run(Command { argv, timeout_s: 60 })
}

pub(super) fn wait(until: &str) -> Action {
    Action::Wait(Wait { until: Expr::parse(until, Scope::Host).unwrap(), timeout_s: 60 })
}

pub(super) fn stage(plan: Plan, hosts: &[&str], servers: &[(&str, &str)]) -> Stage {
    let fake = Fake::new(hosts, servers, plan.drain.limits.clone());
    Stage::new(fake, plan)
}

pub(super) fn maintained(ladder: &[Rung]) -> Plan {
    let mut plan = plan(ladder);
    plan.maintain = vec![run("reboot"), wait("host.service.state == 'up'")];
    plan.verify = vec![run("check")];
    plan
}

/// Two hosts in two waves, one server running and one off, everything well.
pub(super) fn happy() -> Stage {
    let stage =
        stage(maintained(&[Rung::Live, Rung::Cold]), &["d1", "h1", "h2"], &[("s1", "h1"), ("s2", "h1"), ("s3", "h2")]);
    stage.fake.world().servers.get_mut("s2").unwrap().status = ServerStatus::Shutoff;
    stage
}

pub(super) fn arrival() -> Stage {
    let stage = stage(maintained(&[Rung::Live]), &["d1", "h1"], &[("s1", "h1")]);
    stage.fake.world().arrivals =
        vec![("early".to_owned(), "h1".to_owned(), 0), ("late".to_owned(), "h1".to_owned(), 6)];
    stage
}

pub(super) fn falls_back() -> Stage {
    let stage = stage(maintained(&[Rung::Live, Rung::Cold]), &["d1", "h1"], &[("s1", "h1"), ("s2", "h1")]);
    stage.fake.fate("live s1", &[Fate::FailsLater]);
    stage.fake.fate("live s2", &[Fate::Stalls]);
    stage
}

pub(super) fn lossy() -> Stage {
    let stage =
        stage(maintained(&[Rung::Live, Rung::Cold]), &["d1", "h1"], &[("s1", "h1"), ("s2", "h1"), ("s3", "h1")]);
    stage.fake.world().servers.get_mut("s3").unwrap().status = ServerStatus::Shutoff;
    stage.fake.fate("disable h1", &[Fate::LostAfter]);
    stage.fake.fate("live s1", &[Fate::LostAfter]);
    stage.fake.fate("live s2", &[Fate::LostBefore]);
    stage.fake.fate("cold s3", &[Fate::LostAfter]);
    stage.fake.fate("confirm s3", &[Fate::LostAfter]);
    stage.fake.fate("enable h1", &[Fate::LostBefore]);
    stage
}

pub(super) fn stopped() -> Stage {
    let stage = stage(maintained(&[Rung::Stop]), &["d1", "h1"], &[("s1", "h1"), ("s2", "h1")]);
    stage.fake.fate("stop s1", &[Fate::LostAfter]);
    stage.fake.fate("start s2", &[Fate::LostAfter]);
    stage
}

pub(super) fn command_fails() -> Stage {
    let mut plan = maintained(&[Rung::Stop]);
    plan.on_failure = OnFailure::Hold;
    let stage = stage(plan, &["d1", "h1", "h2"], &[("s1", "h1"), ("s2", "h2")]);
    stage.fake.world().exit_codes = [3; 9].into();
    stage
}

pub(super) fn home(stage: &Stage) {
    assert_eq!(stage.wrongs(), Vec::<String>::new());
    let world = stage.fake.world();
    for service in world.services.values() {
        assert_eq!((service.status, &service.disabled_reason), (ServiceStatus::Enabled, &None), "{}", service.host);
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_are_emptied_maintained_and_given_back_one_wave_after_another() {
    let stage = happy();
    let ended = stage.to_the_end().await;
    assert_eq!((ended.ending, ended.leftovers), (Ending::Done, Vec::new()));
    home(&stage);
    let world = stage.fake.world();
    assert_eq!(
        world.taken,
        [
            "disable h1",
            "live s1",
            "cold s2",
            "confirm s2",
            "command h1 reboot",
            "command h1 check",
            "enable h1",
            "disable h2",
            "live s3",
            "command h2 reboot",
            "command h2 check",
            "enable h2",
        ]
    );
    assert_eq!(world.servers["s2"].status, ServerStatus::Shutoff);
    assert_ne!(world.servers["s1"].host.as_deref(), Some("h1"));
}

#[tokio::test(start_paused = true)]
async fn servers_that_arrive_are_moved_too() {
    let stage = arrival();
    let ended = stage.to_the_end().await;
    assert_eq!((ended.ending, ended.leftovers), (Ending::Done, Vec::new()));
    home(&stage);
    let extended = stage.events().await.iter().filter(|e| matches!(e.kind, EventKind::GraphExtended { .. })).count();
    assert_eq!(extended, 2, "once by the listing, once by the look that found it not empty");
    for server in stage.fake.world().servers.values() {
        assert_eq!(server.host.as_deref(), Some("d1"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_rung_is_taken_when_one_fails() {
    let stage = falls_back();
    let ended = stage.to_the_end().await;
    assert_eq!((ended.ending, ended.leftovers), (Ending::Done, Vec::new()));
    home(&stage);
    let taken = stage.fake.world().taken.clone();
    assert_eq!(taken[1..7], ["live s1", "live s2", "abort s2", "cold s1", "cold s2", "confirm s1"].map(str::to_owned));
    let faults = stage.outcomes().await;
    let precheck = faults.iter().find(|(step, _)| step == "h1/move/s1").unwrap();
    let Outcome::Retryable { fault, .. } = &precheck.1 else { panic!("{precheck:?}") };
    assert_eq!(fault.as_deref(), Some("No valid host was found."), "nova's own words");
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_looked_for_and_only_what_never_arrived_is_asked_again() {
    let stage = lossy();
    let ended = stage.to_the_end().await;
    assert_eq!((ended.ending, ended.leftovers), (Ending::Done, Vec::new()));
    home(&stage);
    let mut sent = stage.fake.world().sent.clone();
    sent.sort();
    assert_eq!(
        sent,
        [
            "cold s3",
            "command h1 check",
            "command h1 reboot",
            "confirm s3",
            "disable h1",
            "enable h1",
            "enable h1",
            "live s1",
            "live s2",
            "live s2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_fails_holds_the_run_and_names_what_is_left() {
    let stage = command_fails();
    let ended = stage.to_the_end().await;
    assert_eq!(ended.ending, Ending::Failed);
    assert_eq!(stage.wrongs(), Vec::<String>::new());
    let kinds: Vec<_> = ended.leftovers.iter().map(|left| (left.kind, left.host.as_str())).collect();
    assert_eq!(kinds, [(LeftoverKind::StepFailed, "h1"), (LeftoverKind::HostDisabled, "h1")]);
    assert!(ended.leftovers[0].what.contains("`reboot` exited with 3"), "{}", ended.leftovers[0].what);
    {
        let world = stage.fake.world();
        assert_eq!(world.services["h1"].status, ServiceStatus::Disabled);
        assert_eq!(world.services["h2"].status, ServiceStatus::Enabled, "no further host is taken out");
        assert_eq!(world.servers["s1"].status, ServerStatus::Active, "started on the way out");
        assert!(!world.taken.contains(&"command h1 check".to_owned()));
    }
    // Mended and resumed: stopped anew, and only then maintained.
    stage.fake.world().exit_codes.clear();
    let ended = stage.to_the_end().await;
    assert_eq!((ended.ending, ended.leftovers), (Ending::Done, Vec::new()));
    home(&stage);
    let taken = &stage.fake.world().taken;
    assert_eq!(
        taken[3..10],
        ["start s1", "stop s1", "command h1 reboot", "command h1 check", "start s1", "enable h1", "disable h2"]
            .map(str::to_owned)
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_enabled_does_not_have_its_servers_stopped_again() {
    let stage = stopped();
    stage.fake.fate("enable h1", &[Fate::Refused(Refusal::Forbidden)]);
    assert_eq!(stage.to_the_end().await.ending, Ending::Failed);
    let before = stage.fake.world().taken.len();
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    assert_eq!(stage.fake.world().taken[before..], ["enable h1".to_owned()]);
    home(&stage);
}

#[tokio::test(start_paused = true)]
async fn hosts_of_others_stay_disabled() {
    let stage = happy();
    {
        let mut world = stage.fake.world();
        let service = world.services.get_mut("h1").unwrap();
        service.status = ServiceStatus::Disabled;
        service.disabled_reason = Some("bad memory".to_owned());
    }
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    let world = stage.fake.world();
    assert_eq!(world.services["h1"].disabled_reason.as_deref(), Some("bad memory"));
    assert!(!world.taken.iter().any(|what| what == "disable h1" || what == "enable h1"));
}

/// The request is slow, its answer lost, and the host shows it only after it was asked anew or given up.
#[tokio::test(start_paused = true)]
async fn a_disable_that_shows_late_is_still_given_back() {
    let stage = happy();
    stage.fake.fate("disable h1", &[Fate::LostBefore, Fate::LostBefore, Fate::LostBefore]);
    assert_eq!(stage.to_the_end().await.ending, Ending::Failed);
    let reason = stage.events().await.into_iter().find_map(|event| match event.kind {
        EventKind::StepIntended { intent: crate::event::Intent::Disable { reason, .. }, .. } => Some(reason),
        _ => None,
    });
    {
        let mut world = stage.fake.world();
        let service = world.services.get_mut("h1").unwrap();
        (service.status, service.disabled_reason) = (ServiceStatus::Disabled, reason);
    }
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_finishes_what_is_in_flight_and_goes_on_by_the_same_method() {
    let mut plan = maintained(&[Rung::Live, Rung::Cold]);
    plan.drain.limits.queue_ahead = 1;
    let stage = stage(plan, &["d1", "h1"], &[("s1", "h1"), ("s2", "h1"), ("s3", "h1")]);
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let fake = stage.fake.clone();
    let operator = tokio::spawn(async move {
        while fake.world().taken.len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        stop.send_replace(Some(Stop::Finish));
        stop
    });
    let journal = Mortal::immortal(&stage.memory, &stage.fake);
    let ended = stage.process_until(&journal, stopped).await.unwrap();
    operator.abort();
    assert_eq!(ended.ending, Ending::Interrupted, "{:?}", stage.outcomes().await);
    assert_eq!(ended.in_flight, Vec::new());
    assert_eq!(
        stage.fake.world().taken,
        ["disable h1", "live s1", "live s2", "abort s2"].map(str::to_owned),
        "what waits in nova's queue is withdrawn, what is copied is finished"
    );
    let named: Vec<_> = ended.leftovers.iter().map(|left| left.kind).collect();
    assert_eq!(named, [LeftoverKind::ServerNotMoved, LeftoverKind::ServerNotMoved, LeftoverKind::HostDisabled]);
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
    assert!(!stage.fake.world().taken.iter().any(|what| what.starts_with("cold")), "{:?}", stage.fake.world().taken);
}

#[tokio::test(start_paused = true)]
async fn what_left_novas_queue_since_the_last_reading_is_not_withdrawn() {
    let mut plan = maintained(&[Rung::Live]);
    plan.drain.limits.queue_ahead = 1;
    let stage = stage(plan, &["d1", "h1"], &[("s1", "h1"), ("s2", "h1"), ("s3", "h1")]);
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let fake = stage.fake.clone();
    tokio::spawn(async move {
        let copied = |record: &Migration| record.server == "s2" && record.status == MigrationStatus::Preparing;
        while !fake.world().migrations.values().any(copied) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        stop.send_replace(Some(Stop::Finish));
        std::future::pending::<()>().await;
    });
    let journal = Mortal::immortal(&stage.memory, &stage.fake);
    let ended = stage.process_until(&journal, stopped).await.unwrap();
    assert_eq!(ended.ending, Ending::Interrupted, "{:?}", stage.outcomes().await);
    assert_eq!(stage.fake.world().sent, ["disable h1", "live s1", "live s2"].map(str::to_owned));
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
}

#[tokio::test(start_paused = true)]
async fn a_second_wish_to_stop_waits_for_nothing() {
    let stage = happy();
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let fake = stage.fake.clone();
    tokio::spawn(async move {
        while !fake.world().taken.iter().any(|what| what == "live s1") {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        stop.send_replace(Some(Stop::Leave));
        std::future::pending::<()>().await;
    });
    let journal = Mortal::immortal(&stage.memory, &stage.fake);
    let ended = stage.process_until(&journal, stopped).await.unwrap();
    assert_eq!(ended.ending, Ending::Interrupted);
    assert_eq!(ended.in_flight.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), ["h1/move/s1"]);
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
    assert_eq!(stage.fake.world().taken.iter().filter(|what| *what == "live s1").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn several_hosts_at_once_keep_the_limits() {
    let mut plan = maintained(&[Rung::Live]);
    plan.waves.max_hosts = Count::Hosts(3);
    plan.finish = Finish::KeepDisabled;
    plan.drain.limits.cloud = 2;
    let servers: Vec<(String, String)> = (0..9).map(|at| (format!("s{at}"), format!("h{}", at % 3 + 1))).collect();
    let servers: Vec<(&str, &str)> = servers.iter().map(|(id, host)| (id.as_str(), host.as_str())).collect();
    let stage = stage(plan, &["d1", "h1", "h2", "h3"], &servers);
    let ended = stage.to_the_end().await;
    assert_eq!(ended.ending, Ending::Done);
    assert_eq!(stage.wrongs(), Vec::<String>::new());
    let moved = stage.outcomes().await;
    let moved = moved.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Done(Done::Moved { .. })));
    assert_eq!(moved.count(), 9);
}

#[tokio::test(start_paused = true)]
async fn stopped_while_the_cloud_cannot_be_read_nothing_has_failed() {
    let stage = happy();
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let fake = stage.fake.clone();
    let operator = tokio::spawn(async move {
        while !fake.world().taken.iter().any(|what| what == "disable h1") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        fake.world().down = true;
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        stop.send_replace(Some(Stop::Finish));
        tokio::time::sleep(std::time::Duration::from_secs(300)).await;
        fake.world().down = false;
        stop
    });
    let journal = Mortal::immortal(&stage.memory, &stage.fake);
    let ended = stage.process_until(&journal, stopped).await.unwrap();
    assert_eq!(ended.ending, Ending::Interrupted, "{:?}", stage.outcomes().await);
    operator.await.unwrap();
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_stays_silent_after_a_resume_ends_in_unknown_and_is_looked_at_by_the_next() {
    let stage = happy();
    let whole = stage.process(&Mortal::dying(&stage.memory, &stage.fake, 7, Death::After)).await;
    assert!(whole.is_none());
    let intended = stage.events().await.into_iter().filter(|event| {
        matches!(event.kind, EventKind::StepIntended { intent: crate::event::Intent::Live { .. }, .. })
    });
    assert_eq!(intended.count(), 1);
    stage.fake.world().down = true;
    let ended = stage.to_the_end().await;
    assert_eq!(ended.ending, Ending::Failed);
    assert!(ended.leftovers.iter().any(|left| left.kind == LeftoverKind::Unknown), "{:?}", ended.leftovers);
    stage.fake.world().down = false;
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
    assert_eq!(stage.fake.world().taken.iter().filter(|what| *what == "live s1").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_novas_words_the_next_rung_is_taken_all_the_same() {
    let stage = falls_back();
    stage.fake.world().no_actions = true;
    assert_eq!(stage.to_the_end().await.ending, Ending::Done);
    home(&stage);
}

/// The host of a wave that cannot be disabled gives up the whole wave, and with `continue` the next one begins.
#[tokio::test(start_paused = true)]
async fn a_wave_that_cannot_begin_is_followed_by_the_next() {
    let mut plan = maintained(&[Rung::Stop]);
    plan.on_failure = OnFailure::Continue;
    plan.waves.max_hosts = Count::Hosts(2);
    let stage = stage(plan, &["d1", "h1", "h2", "h3"], &[("s1", "h1"), ("s2", "h2"), ("s3", "h3")]);
    stage.fake.fate("disable h2", &[Fate::Refused(Refusal::Forbidden)]);
    let ended = stage.to_the_end().await;
    assert_eq!(ended.ending, Ending::Failed);
    assert_eq!(stage.wrongs(), Vec::<String>::new());
    let world = stage.fake.world();
    assert_eq!(
        world.taken,
        ["disable h1", "disable h3", "stop s3", "command h3 reboot", "command h3 check", "start s3", "enable h3"]
    );
    assert_eq!(world.services["h1"].status, ServiceStatus::Disabled);
    let named = ended.leftovers.iter().filter(|left| left.kind == LeftoverKind::HostDisabled);
    assert_eq!(named.map(|left| left.host.as_str()).collect::<Vec<_>>(), ["h1"]);
}
