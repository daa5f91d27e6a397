//! Services and hosts that die, come back, are disabled, rebooted (chaos log of a real Nova).

use super::*;

async fn state(sim: &Sim, host: &str) -> ServiceState {
    Cloud::services(sim, Some(host)).await.unwrap()[0].state
}

async fn wait_running(sim: &Sim, id: &str) {
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if sim.migrations().iter().any(|m| m.server == id && m.status == MigrationStatus::Running) {
            return;
        }
    }
    panic!("{id} never ran");
}

#[tokio::test(start_paused = true)]
async fn a_dead_compute_is_up_for_a_while_and_back_at_once() {
    let sim = plain(NEWEST);
    pass(100).await;
    let before = Cloud::services(&*sim, Some("h1")).await.unwrap()[0].updated_at.unwrap();
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(120_000) });
    pass(45).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Up);
    pass(20).await;
    let row = Cloud::services(&*sim, Some("h1")).await.unwrap().remove(0);
    assert_eq!((row.state, row.updated_at), (ServiceState::Down, Some(before)));
    pass(60).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Up);
    assert_eq!(state(&sim, "h2").await, ServiceState::Up);
}

#[tokio::test(start_paused = true)]
async fn disabled_with_a_reason_and_given_back() {
    for minor in [NEWEST, 12] {
        let sim = plain(minor);
        sim.ask(&disable("h1")).await.unwrap();
        let row = Cloud::services(&*sim, Some("h1")).await.unwrap().remove(0);
        assert_eq!((row.status, row.disabled_reason.as_deref()), (ServiceStatus::Disabled, Some("furlough")));
        assert_eq!(row.state, ServiceState::Up, "disabled is not down");
        sim.ask(&Ask::EnableService { host: "h1".into(), service_id: "service-of-h1".into() }).await.unwrap();
        let row = Cloud::services(&*sim, Some("h1")).await.unwrap().remove(0);
        assert_eq!((row.status, row.disabled_reason), (ServiceStatus::Enabled, None));
        let unknown = Ask::EnableService { host: "nosuch".into(), service_id: "nosuch".into() };
        assert_eq!(refusal(sim.ask(&unknown).await), Refusal::NotFound);
        assert!(Cloud::services(&*sim, Some("nosuch")).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn source_killed_while_a_live_migration_runs_then_restarted() {
    let sim = lab(NEWEST, AskKind::Live, Fate::Stalls);
    sim.ask(&live("s1")).await.unwrap();
    wait_running(&sim, "s1").await;
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(200_000) });
    sim.ask(&Ask::AbortMigration { server: "s1".into(), migration_id: record(&sim, "s1").id }).await.unwrap();
    pass(190).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "MIGRATING migrating h1 running>h2", "the abort reaches nobody");
    pass(20).await;
    assert_eq!((row(&sim, "s1").status, record(&sim, "s1").status), (ServerStatus::Active, MigrationStatus::Error));
    assert_eq!(row(&sim, "s1").host.as_deref(), Some("h1"));
    assert!(sim.is_running("s1"));
}

#[tokio::test(start_paused = true)]
async fn a_queued_one_is_forgotten_when_its_source_is_killed() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("a", "h1"), server("b", "h1")]);
    it.faults.script = vec![Scripted::Ask { ask: AskKind::Live, of: Some("a".into()), nth: 1, fate: Fate::Stalls }];
    let sim = start(it);
    sim.ask(&live("a")).await.unwrap();
    wait_running(&sim, "a").await;
    sim.ask(&live("b")).await.unwrap();
    pass(5).await;
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(20_000) });
    pass(60).await;
    // `_reset_live_migration` looks for `running` only: the row is idle, the record is queued for ever.
    assert_eq!((row(&sim, "b").task_state, record(&sim, "b").status), (None, MigrationStatus::Queued));
    sim.ask(&live("b")).await.unwrap();
    pass(60).await;
    assert_eq!(row(&sim, "b").host.as_deref(), Some("h2"), "the slot is free again");
}

#[tokio::test(start_paused = true)]
async fn destination_killed_while_a_live_migration_runs() {
    let sim = plain(NEWEST);
    sim.ask(&live_to("s1", "h3")).await.unwrap();
    wait_running(&sim, "s1").await;
    sim.happen(Happening::ComputeDies { host: "h3".into(), back_after_ms: None });
    pass(100).await;
    let told = story(&sim, "s1");
    let end = ["MIGRATING migrating h1 error>h3", "ACTIVE - h3 error>h3", "ERROR - h3 error>h3"];
    assert_eq!(told[told.len() - 3..], end);
}

#[tokio::test(start_paused = true)]
async fn a_host_without_power_breaks_what_is_copied_to_it() {
    let sim = plain(NEWEST);
    sim.ask(&live_to("s1", "h3")).await.unwrap();
    wait_running(&sim, "s1").await;
    sim.happen(Happening::HostDies { host: "h3".into(), back_after_ms: None });
    pass(30).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h1 failed>h3");
    assert!(sim.is_running("s1"));
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_host_is_back_and_what_it_left_on_is_found_off() {
    let sim = plain(NEWEST);
    sim.reboot("h1", Some(Duration::from_secs(90)));
    sim.reboot("nosuch", None);
    assert!(!sim.is_running("s1"));
    assert_eq!(row(&sim, "s1").status, ServerStatus::Active, "nobody noticed yet");
    pass(80).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Down);
    pass(12).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Up);
    pass(600).await;
    assert_eq!(row(&sim, "s1").status, ServerStatus::Shutoff);
}

#[tokio::test(start_paused = true)]
async fn guests_that_are_resumed_run_again() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
    it.habits.resume_guests_state_on_host_boot = true;
    let sim = start(it);
    sim.reboot("h1", None);
    pass(301).await;
    assert!(sim.is_running("s1"));
    assert_eq!(row(&sim, "s1").status, ServerStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn some_hosts_are_late_and_some_never_return() {
    let mut it = scene(NEWEST, &["h1", "h2"], Vec::new());
    it.faults.chances.host_never = 1.0;
    let never = start(it.clone());
    never.reboot("h1", None);
    it.faults.chances.host_never = 0.0;
    it.faults.chances.host_late = 1.0;
    let late = start(it);
    late.reboot("h1", None);
    pass(355).await;
    assert_eq!(state(&late, "h1").await, ServiceState::Down);
    pass(4_000).await;
    assert_eq!(state(&late, "h1").await, ServiceState::Up);
    assert_eq!(state(&never, "h1").await, ServiceState::Down);
}

#[tokio::test(start_paused = true)]
async fn a_live_migration_from_a_host_that_is_down() {
    for minor in [NEWEST, 12] {
        let sim = plain(minor);
        sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: None });
        pass(75).await;
        let answer = sim.ask(&live("s1")).await;
        if minor == 12 {
            assert_eq!(refusal(answer), Refusal::HostDown);
        } else {
            answer.unwrap();
        }
        pass(10).await;
        assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h1 error");
    }
}

#[tokio::test(start_paused = true)]
async fn builds_land_after_a_disable() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
    it.faults.chances.late_arrival = 1.0;
    let sim = start(it);
    sim.ask(&disable("h1")).await.unwrap();
    let building = Cloud::inventory(&*sim).await.unwrap().servers;
    assert!(building.iter().any(|row| row.status == ServerStatus::Build && row.host.is_none()), "{building:?}");
    pass(90).await;
    let rows = Cloud::servers(&*sim, &crate::cloud::ServerQuery::OnHost("h1".into())).await.unwrap().rows;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.status == ServerStatus::Active && sim.is_running(&row.id)));
}

#[tokio::test(start_paused = true)]
async fn power_lost_while_the_compute_was_to_return_keeps_it_away() {
    let sim = plain(NEWEST);
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(30_000) });
    sim.reboot("h1", Some(Duration::from_secs(200)));
    pass(150).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Down);
    pass(60).await;
    assert_eq!(state(&sim, "h1").await, ServiceState::Up);
}

#[tokio::test(start_paused = true)]
async fn absurd_figures_do_no_harm() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1"), server("s2", "h1")]);
    for row in &mut it.inventory.servers {
        row.flavor.memory_mib = u64::MAX;
        row.flavor.vcpus = u64::MAX;
        row.flavor.root_gib = u64::MAX / 2;
        row.flavor.swap_mib = u64::MAX;
    }
    it.inventory.hosts[1].hypervisors.clear();
    it.habits.shared_storage = false;
    it.habits.report_interval_s = u64::MAX;
    it.habits.service_down_time_s = u64::MAX;
    it.habits.network.host_mbit = 0;
    it.faults.chances.others_per_hour = f64::NAN;
    it.faults.script = vec![Scripted::At { at_ms: u64::MAX, happens: Happening::Outage { for_ms: u64::MAX } }];
    let sim = start(it);
    sim.ask(&live("s1")).await.unwrap();
    sim.ask(&cold("s2")).await.unwrap();
    sim.happen(Happening::ComputeDies { host: "h2".into(), back_after_ms: Some(u64::MAX) });
    pass(100_000).await;
    Cloud::inventory(&*sim).await.unwrap();
    sim.happen(Happening::Outage { for_ms: u64::MAX });
    assert!(Cloud::inventory(&*sim).await.is_err());
    sim.counts();
}
