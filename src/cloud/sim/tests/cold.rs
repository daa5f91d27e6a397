//! Cold migration, confirm and revert as nova 33 showed them.

use super::*;

const UNTIL_VERIFY: [&str; 9] = [
    "ACTIVE - h1",
    "RESIZE resize_prep h1",
    "RESIZE resize_prep h1 pre-migrating",
    "RESIZE resize_prep h1 pre-migrating>h2",
    "RESIZE resize_prep h1 migrating>h2",
    "RESIZE resize_migrating h1 migrating>h2",
    "RESIZE resize_migrating h1 post-migrating>h2",
    "RESIZE resize_migrated h2 post-migrating>h2",
    "RESIZE resize_finish h2 post-migrating>h2",
];

/// `s1` waits for its confirm.
async fn migrated(sim: &Sim) {
    sim.ask(&cold("s1")).await.unwrap();
    pass(60).await;
}

/// `s1` has been migrated and reverted; the story of its revert.
async fn reverted(sim: &Sim) -> Vec<String> {
    migrated(sim).await;
    story(sim, "s1");
    sim.ask(&Ask::RevertResize { server: "s1".into() }).await.unwrap();
    pass(30).await;
    story(sim, "s1")
}

#[tokio::test(start_paused = true)]
async fn one_that_works_and_its_confirm() {
    let sim = plain(NEWEST);
    migrated(&sim).await;
    let told = story(&sim, "s1");
    assert_eq!(told[..9], UNTIL_VERIFY);
    assert_eq!(told[9..], ["RESIZE resize_finish h2 finished>h2", "VERIFY_RESIZE - h2 finished>h2"]);
    assert!(sim.is_running("s1"));
    assert!(sim.counts().downtime_ms["s1"] >= 1_000, "it was shut down meanwhile");

    assert_eq!(refusal(sim.ask(&live("s1")).await), Refusal::WrongState);
    sim.ask(&confirm("s1")).await.unwrap();
    let again = sim.ask(&confirm("s1")).await.unwrap_err();
    assert!(again.to_string().contains("Instance has not been resized."), "{again}");
    assert_eq!(again.refusal(), Some(Refusal::WrongState));
    pass(10).await;
    assert_eq!(
        story(&sim, "s1"),
        [" confirming>h2", " confirmed>h2", "ACTIVE - h2 confirmed>h2"],
        "the row says nothing of it until the end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_one_stays_stopped() {
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![stopped("s1", "h1")]));
    migrated(&sim).await;
    sim.ask(&confirm("s1")).await.unwrap();
    pass(10).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "SHUTOFF - h2 confirmed>h2");
    assert!(!sim.is_running("s1"));
}

#[tokio::test(start_paused = true)]
async fn a_revert_says_reverted_long_before_the_guest_is_back() {
    let sim = plain(NEWEST);
    let told = reverted(&sim).await;
    let end = [
        "REVERT_RESIZE resize_reverting h2 reverting>h2",
        "REVERT_RESIZE resize_reverting h2 reverted>h2",
        "REVERT_RESIZE resize_reverting h1 reverted>h2",
        "ACTIVE - h1 reverted>h2",
    ];
    assert_eq!(told[told.len() - 4..], end);
    assert!(sim.is_running("s1"));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_one_that_is_reverted_is_stopped_once_more() {
    // Seen of nova 26 (Zed): VERIFY_RESIZE, powering-off, on the source.
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![stopped("s1", "h1")]));
    let told = reverted(&sim).await;
    let end = [
        "REVERT_RESIZE resize_reverting h1 reverted>h2",
        "VERIFY_RESIZE powering-off h1 reverted>h2",
        "SHUTOFF - h1 reverted>h2",
    ];
    assert_eq!(told[told.len() - 3..], end);
    assert!(!sim.is_running("s1"));
}

#[tokio::test(start_paused = true)]
async fn failures_end_where_nova_leaves_them() {
    for (fate, end, runs) in [
        (Fate::NoValidHostLate, vec!["RESIZE resize_prep h1 error", "ACTIVE - h1 error"], true),
        (Fate::Fails, vec!["RESIZE resize_migrating h1 error>h2", "ACTIVE - h1 error>h2"], true),
        (
            Fate::ErrorsOnSource,
            vec!["RESIZE resize_migrating h1 error>h2", "ERROR resize_migrating h1 error>h2", "ERROR - h1 error>h2"],
            false,
        ),
        (
            Fate::ErrorsOnDest,
            vec!["ERROR resize_finish h2 post-migrating>h2", "ERROR resize_finish h2 error>h2", "ERROR - h2 error>h2"],
            false,
        ),
    ] {
        let sim = lab(NEWEST, AskKind::Cold, fate);
        let accepted = sim.ask(&cold("s1")).await.unwrap();
        pass(120).await;
        let told = story(&sim, "s1");
        assert_eq!(told[told.len() - end.len()..], end, "{fate:?}");
        assert_eq!(sim.is_running("s1"), runs, "{fate:?}");
        assert!(sim.action_fault("s1", &accepted.request_id.unwrap()).await.unwrap().is_some(), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn up_to_train_no_valid_host_is_the_answer() {
    let sim = lab(79, AskKind::Cold, Fate::NoValidHostLate);
    assert_eq!(refusal(sim.ask(&cold("s1")).await), Refusal::NoValidHost);
    pass(5).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h1 error");
}

#[tokio::test(start_paused = true)]
async fn confirm_with_a_dead_source_waits_for_it() {
    let sim = plain(NEWEST);
    migrated(&sim).await;
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(30_000) });
    sim.ask(&confirm("s1")).await.unwrap();
    pass(20).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Confirming);
    assert_eq!(row(&sim, "s1").status, ServerStatus::VerifyResize);
    pass(20).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Confirmed);
    assert_eq!(row(&sim, "s1").status, ServerStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_seen_as_down_is_refused_from_ussuri_and_victoria_on() {
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1"), server("s2", "h1")]));
    migrated(&sim).await;
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: None });
    pass(75).await;
    assert_eq!(refusal(sim.ask(&confirm("s1")).await), Refusal::HostDown);
    assert_eq!(refusal(sim.ask(&cold("s2")).await), Refusal::HostDown);
}

#[tokio::test(start_paused = true)]
async fn a_finished_one_of_the_inventory_can_be_confirmed() {
    let waiting = in_state(server("s1", "h2"), ServerStatus::VerifyResize);
    let mut it = scene(NEWEST, &["h1", "h2"], vec![waiting]);
    it.inventory.migrations = vec![Migration {
        status: MigrationStatus::Finished,
        dest_host: Some("h2".into()),
        ..fixture::record(41, "s1", "h1", MigrationKind::Resize)
    }];
    let sim = start(it);
    sim.ask(&confirm("s1")).await.unwrap();
    pass(10).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Confirmed);
    assert_eq!(row(&sim, "s1").status, ServerStatus::Active);
    sim.ask(&live("s1")).await.unwrap();
    pass(30).await;
    assert_eq!(record(&sim, "s1").id, 42);
}
