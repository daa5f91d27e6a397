//! Live migration as nova 33 and Liberty showed it (chaos log of a real Nova, microversions 2.104 and 2.12).

use super::*;

#[tokio::test(start_paused = true)]
async fn one_that_works_changes_the_host_before_its_record_is_completed() {
    let sim = plain(NEWEST);
    let accepted = sim.ask(&live("s1")).await.unwrap();
    assert!(accepted.request_id.is_some_and(|id| id.starts_with("req-")));
    pass(60).await;
    assert_eq!(
        story(&sim, "s1"),
        [
            "ACTIVE - h1",
            "MIGRATING migrating h1",
            "MIGRATING migrating h1 accepted",
            "MIGRATING migrating h1 accepted>h2",
            "MIGRATING migrating h1 queued>h2",
            "MIGRATING migrating h1 preparing>h2",
            "MIGRATING migrating h1 running>h2",
            "ACTIVE - h2 running>h2",
            "ACTIVE - h2 completed>h2",
        ]
    );
    assert!(sim.is_running("s1"));
    assert_eq!(sim.counts().moves, 1);
    assert!(sim.counts().downtime_ms["s1"] <= 500);
}

#[tokio::test(start_paused = true)]
async fn up_to_newton_completed_may_come_before_the_host() {
    let sim = plain(38);
    sim.ask(&live("s1")).await.unwrap();
    pass(60).await;
    let story = story(&sim, "s1");
    assert_eq!(story[story.len() - 2..], ["MIGRATING migrating h1 completed>h2", "ACTIVE - h2 completed>h2"]);
}

#[tokio::test(start_paused = true)]
async fn liberty_begins_with_pre_migrating_and_answers_when_the_host_is_chosen() {
    let sim = plain(12);
    let asked = sim.now_ms();
    sim.ask(&live("s1")).await.unwrap();
    assert!(sim.now_ms() - asked >= Habits::default().schedule_ms[0]);
    pass(60).await;
    let story = story(&sim, "s1");
    assert_eq!(story[2], "MIGRATING migrating h1 pre-migrating", "{story:?}");
    assert_eq!(story.last().unwrap(), "ACTIVE - h2 completed>h2");
}

#[tokio::test(start_paused = true)]
async fn pre_checks_fail_after_the_202_and_leave_the_server_alone() {
    let sim = lab(NEWEST, AskKind::Live, Fate::PrecheckFails);
    let accepted = sim.ask(&live("s1")).await.unwrap();
    pass(10).await;
    assert_eq!(
        story(&sim, "s1"),
        [
            "ACTIVE - h1",
            "MIGRATING migrating h1",
            "MIGRATING migrating h1 accepted",
            "MIGRATING migrating h1 error",
            "ACTIVE - h1 error",
        ]
    );
    let words = sim.action_fault("s1", &accepted.request_id.unwrap()).await.unwrap().unwrap();
    assert!(words.contains("pre-check"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn below_2_34_pre_checks_and_no_valid_host_are_refused_with_400() {
    let sim = lab(30, AskKind::Live, Fate::PrecheckFails);
    // Each host refuses in its own words, and in the end there is none (observed on nova 34 at 2.12 and 2.33).
    assert_eq!(refusal(sim.ask(&live("s1")).await), Refusal::NoValidHost);
    pass(10).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h1 error");
    let sim = lab(12, AskKind::Live, Fate::NoValidHostLate);
    assert_eq!(refusal(sim.ask(&live("s1")).await), Refusal::NoValidHost);
}

#[tokio::test(start_paused = true)]
async fn halfway_failures_end_as_the_release_has_it_and_the_row_first() {
    for (minor, ends) in [(NEWEST, "failed"), (79, "error")] {
        let sim = lab(minor, AskKind::Live, Fate::Fails);
        sim.ask(&live("s1")).await.unwrap();
        pass(60).await;
        let story = story(&sim, "s1");
        let expected = ["ACTIVE - h1 running>h2".to_owned(), format!("ACTIVE - h1 {ends}>h2")];
        assert_eq!(story[story.len() - 2..], expected, "{story:?}");
        assert!(sim.is_running("s1"));
        assert_eq!(row(&sim, "s1").host.as_deref(), Some("h1"));
    }
}

#[tokio::test(start_paused = true)]
async fn some_failures_end_in_error_on_either_side() {
    let sim = lab(NEWEST, AskKind::Live, Fate::ErrorsOnSource);
    sim.ask(&live("s1")).await.unwrap();
    pass(60).await;
    let told = story(&sim, "s1");
    assert_eq!(told[told.len() - 2..], ["MIGRATING migrating h1 error>h2", "ERROR - h1 error>h2"]);
    assert!(row(&sim, "s1").fault.is_some());

    let sim = lab(NEWEST, AskKind::Live, Fate::ErrorsOnDest);
    sim.ask(&live("s1")).await.unwrap();
    pass(60).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ERROR - h2 error>h2");
}

#[tokio::test(start_paused = true)]
async fn one_slot_a_source_and_the_others_are_queued() {
    let servers = ["a", "b", "c"].map(|id| server(id, "h1"));
    let sim = start(scene(NEWEST, &["h1", "h2"], servers.to_vec()));
    for id in ["a", "b", "c"] {
        sim.ask(&live(id)).await.unwrap();
    }
    let mut most = 0;
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let busy = |m: &&Migration| matches!(m.status, MigrationStatus::Preparing | MigrationStatus::Running);
        most = most.max(sim.migrations().iter().filter(busy).count());
    }
    assert_eq!(most, 1);
    assert!(sim.migrations().iter().all(|record| record.status == MigrationStatus::Completed));
    let story = story(&sim, "c");
    assert!(story.contains(&"MIGRATING migrating h1 queued>h2".to_owned()), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn no_limit_of_slots_when_it_is_0() {
    let mut all = scene(NEWEST, &["h1", "h2"], ["a", "b", "c"].map(|id| server(id, "h1")).to_vec());
    all.habits.max_concurrent_live_migrations = 0;
    let sim = start(all);
    for id in ["a", "b", "c"] {
        sim.ask(&live(id)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(sim.migrations().iter().all(|record| record.status == MigrationStatus::Running), "{:?}", sim.migrations());
}

async fn running(sim: &Sim, id: &str) -> u64 {
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(found) = sim.migrations().iter().find(|record| record.server == id)
            && found.status == MigrationStatus::Running
        {
            return found.id;
        }
    }
    panic!("{id} never ran");
}

fn abort(id: &str, migration_id: u64) -> Ask {
    Ask::AbortMigration { server: id.to_owned(), migration_id }
}

#[tokio::test(start_paused = true)]
async fn a_running_one_is_aborted_the_row_first() {
    let sim = lab(NEWEST, AskKind::Live, Fate::Stalls);
    sim.ask(&live("s1")).await.unwrap();
    let id = running(&sim, "s1").await;
    pass(300).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Running, "it never converges");
    assert_eq!(refusal(sim.ask(&abort("s1", 999)).await), Refusal::NotFound);
    sim.ask(&abort("s1", id)).await.unwrap();
    pass(5).await;
    let told = story(&sim, "s1");
    assert_eq!(told[told.len() - 2..], ["ACTIVE - h1 running>h2", "ACTIVE - h1 cancelled>h2"]);
    // nova's words: "is in an invalid state for 'abort live migration'"
    assert_eq!(refusal(sim.ask(&abort("s1", id)).await), Refusal::Other);
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_the_hypervisor_does_not_obey_ends_on_the_destination() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
    it.faults.script = vec![Scripted::Ask { ask: AskKind::Abort, of: None, nth: 1, fate: Fate::Ignored }];
    let sim = start(it);
    sim.ask(&live("s1")).await.unwrap();
    let id = running(&sim, "s1").await;
    sim.ask(&abort("s1", id)).await.unwrap();
    pass(60).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h2 completed>h2");
}

#[tokio::test(start_paused = true)]
async fn a_queued_one_is_withdrawn_from_2_65_on_only() {
    for (minor, taken) in [(65, true), (64, false)] {
        let mut it = scene(minor, &["h1", "h2"], vec![server("a", "h1"), server("b", "h1")]);
        it.faults.script = vec![Scripted::Ask { ask: AskKind::Live, of: Some("a".into()), nth: 1, fate: Fate::Stalls }];
        let sim = start(it);
        sim.ask(&live("a")).await.unwrap();
        running(&sim, "a").await;
        sim.ask(&live("b")).await.unwrap();
        pass(5).await;
        let waiting = record(&sim, "b");
        assert_eq!(waiting.status, MigrationStatus::Queued);
        let answer = sim.ask(&abort("b", waiting.id)).await;
        if taken {
            answer.unwrap();
            pass(5).await;
            assert_eq!(story(&sim, "b").last().unwrap(), "ACTIVE - h1 cancelled>h2");
        } else {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("is queued. Cannot abort live migration"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn post_copy_is_hidden_and_cannot_be_taken_back() {
    let sim = lab(NEWEST, AskKind::Live, Fate::PostCopy);
    sim.ask(&live("s1")).await.unwrap();
    let id = running(&sim, "s1").await;
    assert!(sim.live_progress("s1").await.unwrap().is_some());
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if record(&sim, "s1").status == MigrationStatus::RunningPostCopy {
            break;
        }
    }
    assert_eq!(record(&sim, "s1").status, MigrationStatus::RunningPostCopy);
    assert_eq!(sim.live_progress("s1").await.unwrap(), None);
    assert_eq!(refusal(sim.ask(&abort("s1", id)).await), Refusal::Other);
    pass(60).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE - h2 completed>h2");
}

#[tokio::test(start_paused = true)]
async fn a_second_request_is_busy_and_other_states_are_refused() {
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1"), stopped("s2", "h1")]));
    sim.ask(&live("s1")).await.unwrap();
    for again in [live("s1"), cold("s1"), stop("s1")] {
        assert_eq!(refusal(sim.ask(&again).await), Refusal::Busy, "{again:?}");
    }
    assert_eq!(refusal(sim.ask(&confirm("s1")).await), Refusal::WrongState);
    let error = sim.ask(&live("s2")).await.unwrap_err();
    assert!(
        error.to_string().contains("Cannot 'os-migrateLive' instance s2 while it is in vm_state stopped"),
        "{error}"
    );
    assert_eq!(refusal(sim.ask(&live("nobody")).await), Refusal::NotFound);
}

#[tokio::test(start_paused = true)]
async fn nova_gives_up_what_takes_longer_than_its_completion_timeout() {
    let sim = lab(NEWEST, AskKind::Live, Fate::Stalls);
    sim.ask(&live("s1")).await.unwrap();
    // 800 s for each of 4 GiB
    pass(3_190).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Running);
    pass(20).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn deleted_by_its_owner_it_is_gone_and_its_records_too() {
    let sim = lab(NEWEST, AskKind::Live, Fate::Stalls);
    sim.ask(&live("s1")).await.unwrap();
    running(&sim, "s1").await;
    sim.happen(Happening::Deletes { server: "name-of-s1".into() });
    pass(10).await;
    let told = story(&sim, "s1");
    assert_eq!(told[told.len() - 2..], ["ACTIVE deleting h1 running>h2", "gone"]);
    assert_eq!(sim.migrations(), []);
    assert_eq!(sim.server("s1").await.unwrap(), None);
    let query = crate::cloud::ServerQuery::ChangedSince(epoch());
    let changed = Cloud::servers(&*sim, &query).await.unwrap().rows;
    assert_eq!(changed.iter().map(|row| &row.status).collect::<Vec<_>>(), [&ServerStatus::Deleted]);
}

#[tokio::test(start_paused = true)]
async fn storage_decides_about_block_migration() {
    for (shared, block, works) in [
        (true, BlockMigration::Always, false),
        (true, BlockMigration::Never, true),
        (false, BlockMigration::Never, false),
        (false, BlockMigration::Always, true),
        (false, BlockMigration::Auto, true),
    ] {
        let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
        it.habits.shared_storage = shared;
        let sim = start(it);
        let ask = Ask::LiveMigrate { server: "s1".into(), host: None, block_migration: block };
        sim.ask(&ask).await.unwrap();
        pass(120).await;
        assert_eq!(row(&sim, "s1").host.as_deref() == Some("h2"), works, "{shared} {block:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_inversion_leaves_its_server_migrating_on_the_source() {
    let sim = lab(NEWEST, AskKind::Live, Fate::Inverts);
    sim.ask(&live("s1")).await.unwrap();
    pass(600).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "MIGRATING migrating h1 completed>h2");
}

#[tokio::test(start_paused = true)]
async fn a_record_may_lag_behind_its_row() {
    let mut it = scene(NEWEST, &["h1", "h2"], vec![server("s1", "h1")]);
    it.faults.chances.lags = 1.0;
    it.habits.lag_ms = [50_000, 50_000];
    let sim = start(it);
    sim.ask(&live("s1")).await.unwrap();
    pass(40).await;
    assert_eq!((row(&sim, "s1").host.as_deref(), record(&sim, "s1").status), (Some("h2"), MigrationStatus::Running));
    pass(30).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn flavors_that_a_release_never_moves_live() {
    let with = |minor: u16, key: &str, value: &str| {
        let mut picky = server("s1", "h1");
        picky.flavor.extra_specs.insert(key.to_owned(), value.to_owned());
        start(scene(minor, &["h1", "h2"], vec![picky]))
    };
    // nova-facts: SEV refused from Train, vTPM from Victoria to 2025.2, by the API.
    for (minor, key, value, refused) in [
        (88, "hw:tpm_version", "2.0", true),
        (79, "hw:tpm_version", "2.0", false),
        (96, "hw:mem_encryption", "true", true),
        (72, "hw:mem_encryption", "true", false),
    ] {
        let answer = with(minor, key, value).ask(&live("s1")).await;
        assert_eq!(answer.is_err(), refused, "2.{minor} {key}");
    }
    // NUMA in Stein and PCI devices from Train to 2024.2 fail their pre-checks; before and after they move.
    for (minor, key, value, moves) in [
        (65, "hw:cpu_policy", "dedicated", true),
        (72, "hw:cpu_policy", "dedicated", false),
        (79, "hw:cpu_policy", "dedicated", true),
        (96, "pci_passthrough:alias", "gpu:1", false),
        (100, "pci_passthrough:alias", "gpu:1", true),
    ] {
        let sim = with(minor, key, value);
        sim.ask(&live("s1")).await.unwrap();
        pass(60).await;
        assert_eq!(row(&sim, "s1").host.as_deref() == Some("h2"), moves, "2.{minor} {key}");
    }
}
