//! What goes wrong by script and by seed.

use super::*;
use crate::cloud::sim::{Chances, ReadFate, ReadKind, Seen, Told};
use crate::cloud::{CloudErrorKind, MigrationQuery};

fn asked(seen: &[Seen]) -> Vec<(bool, Told)> {
    let asked = seen.iter().filter_map(|seen| match &seen.what {
        What::Asked { arrived, answer, .. } => Some((*arrived, answer.clone())),
        _ => None,
    });
    asked.collect()
}

#[tokio::test(start_paused = true)]
async fn answers_are_lost_before_and_after_they_arrive() {
    let sim = lab(NEWEST, AskKind::Stop, Fate::LostAfter);
    assert!(sim.ask(&stop("s1")).await.unwrap_err().is_lost());
    assert_eq!(asked(&sim.log().take()), [(true, Told::Lost)]);
    pass(60).await;
    assert_eq!(row(&sim, "s1").status, ServerStatus::Shutoff);

    let sim = lab(NEWEST, AskKind::Stop, Fate::LostBefore);
    assert!(sim.ask(&stop("s1")).await.unwrap_err().is_lost());
    assert_eq!(asked(&sim.log().take()), [(false, Told::Lost)]);
    pass(60).await;
    assert_eq!(row(&sim, "s1").status, ServerStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_arrives_though_nobody_waits_for_its_answer() {
    let sim = plain(NEWEST);
    let ask = stop("s1");
    let cut = tokio::time::timeout(Duration::from_millis(5), sim.ask(&ask)).await;
    assert!(cut.is_err(), "the process was killed meanwhile");
    pass(60).await;
    assert_eq!(row(&sim, "s1").status, ServerStatus::Shutoff);
    assert_eq!(asked(&sim.log().take()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_can_be_ordered_and_changes_nothing() {
    for (fate, expected) in [
        (Fate::Forbidden, Refusal::Forbidden),
        (Fate::NotFound, Refusal::NotFound),
        (Fate::Busy, Refusal::Busy),
        (Fate::WrongState, Refusal::WrongState),
        (Fate::Locked, Refusal::Locked),
        (Fate::NoValidHost, Refusal::NoValidHost),
        (Fate::HostDown, Refusal::HostDown),
        (Fate::RateLimited, Refusal::RateLimited),
        (Fate::Refused, Refusal::Other),
    ] {
        let sim = lab(NEWEST, AskKind::Live, fate);
        assert_eq!(refusal(sim.ask(&live("s1")).await), expected);
        pass(60).await;
        assert_eq!(story(&sim, "s1"), ["ACTIVE - h1"]);
        sim.ask(&live("s1")).await.unwrap();
    }
    for (fate, told) in [(Fate::Unreachable, "could not be reached"), (Fate::Unauthenticated, "not authenticated")] {
        let sim = lab(NEWEST, AskKind::Live, fate);
        let error = sim.ask(&live("s1")).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!(asked(&sim.log().take()), [(false, Told::Unreachable)]);
    }
}

#[tokio::test(start_paused = true)]
async fn readings_fail_are_slow_and_are_stale() {
    let read = |nth, fate| Scripted::Read { read: ReadKind::Server, nth, times: 1, fate };
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
    it.habits.stale_ms = [3_000, 3_000];
    it.faults.script = vec![
        read(1, ReadFate::Unreachable),
        read(2, ReadFate::Garbled),
        read(3, ReadFate::Unauthenticated),
        read(4, ReadFate::Stale),
        read(6, ReadFate::Slow),
    ];
    let sim = start(it);
    let kinds = [
        sim.server("s1").await.unwrap_err().kind,
        sim.server("s1").await.unwrap_err().kind,
        sim.server("s1").await.unwrap_err().kind,
    ];
    assert!(matches!(kinds[0], CloudErrorKind::Unreachable { .. }));
    assert!(matches!(kinds[1], CloudErrorKind::Protocol { .. }));
    assert!(matches!(kinds[2], CloudErrorKind::Unauthenticated { .. }));
    pass(10).await;
    sim.happen(Happening::Locks { server: "s1".into() });
    assert_eq!(sim.server("s1").await.unwrap().unwrap().locked, Some(false), "as it was 3 s ago");
    assert_eq!(sim.server("s1").await.unwrap().unwrap().locked, Some(true));
    let before = sim.now_ms();
    sim.server("s1").await.unwrap();
    assert!(sim.now_ms() - before >= Habits::default().slow_ms[0]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends() {
    let sim = plain(NEWEST);
    sim.happen(Happening::Outage { for_ms: 30_000 });
    pass(20).await;
    assert!(Cloud::migrations(&*sim, &MigrationQuery::default()).await.is_err());
    pass(20).await;
    assert!(Cloud::migrations(&*sim, &MigrationQuery::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn things_happen_at_a_moment_and_after_a_request() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1"), server("s2", "h2")]);
    it.faults.script = vec![
        Scripted::At { at_ms: 30_000, happens: Happening::Disabled { host: "h2".into(), reason: "bad disk".into() } },
        Scripted::After {
            ask: AskKind::Disable,
            of: Some("h1".into()),
            nth: 1,
            after_ms: 5_000,
            happens: Happening::Enabled { host: "h1".into() },
        },
    ];
    let sim = start(it);
    sim.ask(&disable("h1")).await.unwrap();
    assert_eq!(sim.services()[0].status, ServiceStatus::Disabled);
    pass(6).await;
    assert_eq!(sim.services()[0].status, ServiceStatus::Enabled);
    assert_eq!(sim.services()[1].status, ServiceStatus::Enabled);
    pass(25).await;
    assert_eq!(sim.services()[1].disabled_reason.as_deref(), Some("bad disk"));
}

#[tokio::test(start_paused = true)]
async fn owners_do_as_they_please() {
    let rows = vec![server("a", "h1"), server("b", "h1"), server("c", "h1"), server("d", "h1")];
    let sim = start(scene(NEWEST, &["h1", "h2"], rows));
    sim.happen(Happening::Stops { server: "a".into() });
    sim.happen(Happening::Resizes { server: "b".into(), confirm_after_ms: None });
    sim.happen(Happening::Resizes { server: "c".into(), confirm_after_ms: Some(10_000) });
    sim.happen(Happening::Migrates { server: "d".into(), to: Some("h2".into()) });
    pass(120).await;
    assert_eq!(row(&sim, "a").status, ServerStatus::Shutoff);
    assert_eq!(
        (row(&sim, "b").status, record(&sim, "b").kind),
        (ServerStatus::VerifyResize, Some(MigrationKind::Resize))
    );
    assert_eq!((row(&sim, "c").status, record(&sim, "c").status), (ServerStatus::Active, MigrationStatus::Confirmed));
    assert_eq!(row(&sim, "d").host.as_deref(), Some("h2"));
    sim.happen(Happening::Starts { server: "a".into() });
    sim.happen(Happening::Pauses { server: "d".into() });
    pass(60).await;
    assert_eq!(row(&sim, "a").status, ServerStatus::Active);
    assert_eq!(row(&sim, "d").status, ServerStatus::Paused);
}

#[test]
fn a_yaml_file_is_read_and_what_is_unknown_is_refused() {
    let text = "
chances: {lost_after: 0.5, others_per_hour: 12}
script:
  - {on: ask, ask: live, of: web-1, nth: 2, fate: lost_after}
  - {on: read, read: servers, times: 3, fate: unreachable}
  - {on: at, at_ms: 60000, happens: {what: compute_dies, host: h1, back_after_ms: 1000}}
  - {on: after, ask: disable, after_ms: 5, happens: {what: arrives, host: h1, like: web-1}}
";
    let faults: Faults = serde_yaml::from_str(text).unwrap();
    assert_eq!(faults.chances, Chances { lost_after: 0.5, others_per_hour: 12.0, ..Chances::default() });
    assert_eq!(faults.script.len(), 4);
    let again: Faults = serde_yaml::from_str(&serde_yaml::to_string(&faults).unwrap()).unwrap();
    assert_eq!(again, faults);
    for wrong in [
        "chances: {lost: 1}",
        "script: [{on: ask, ask: live, fate: lost_after, nht: 2}]",
        "script: [{on: at, at_ms: 1, happens: {what: compute_dies, hosts: h1}}]",
        "scripts: []",
    ] {
        assert!(serde_yaml::from_str::<Faults>(wrong).is_err(), "{wrong}");
    }
    let habits: Habits = serde_yaml::from_str("max_concurrent_live_migrations: 3").unwrap();
    assert_eq!(habits, Habits { max_concurrent_live_migrations: 3, ..Habits::default() });
    assert!(serde_yaml::from_str::<Habits>("max_concurrent: 3").is_err());
}
