//! What readings show and hide.

use super::*;
use crate::cloud::{MigrationQuery, ServerQuery};

async fn changed(sim: &Sim, since: Timestamp) -> Vec<String> {
    let rows = Cloud::servers(sim, &ServerQuery::ChangedSince(since)).await.unwrap().rows;
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test(start_paused = true)]
async fn changes_since_is_second_granular_and_the_date_is_of_the_request() {
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![server("a", "h1"), server("b", "h1")]));
    tokio::time::sleep(Duration::from_millis(10_400)).await;
    let reading = Cloud::servers(&*sim, &ServerQuery::OnHost("h1".into())).await.unwrap();
    assert_eq!(reading.at.to_string(), "2026-03-01T02:00:10Z");
    assert_eq!(reading.rows.len(), 2);
    assert_eq!(changed(&sim, reading.at).await, Vec::<String>::new());
    sim.happen(Happening::Locks { server: "b".into() });
    assert_eq!(changed(&sim, reading.at).await, ["b"]);
    assert_eq!(changed(&sim, epoch()).await, ["a", "b"]);
    let at = row(&sim, "b").updated_at.unwrap();
    assert_eq!(at.subsec_nanosecond(), 0);
    assert_eq!(changed(&sim, at).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_record_is_not_among_the_changed_ones() {
    let sim = plain(NEWEST);
    sim.ask(&live("s1")).await.unwrap();
    let since = MigrationQuery { changed_since: Some(epoch()), ..MigrationQuery::default() };
    let all = MigrationQuery::default();
    let mut seen_alone = false;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let changed = Cloud::migrations(&*sim, &since).await.unwrap().rows;
        let rows = Cloud::migrations(&*sim, &all).await.unwrap().rows;
        seen_alone |= changed.is_empty() && rows.len() == 1;
        assert!(changed.iter().all(|row| row.updated_at.is_some()));
    }
    assert!(seen_alone, "updated_at is set by the first change only");
    pass(60).await;
    assert_eq!(Cloud::migrations(&*sim, &since).await.unwrap().rows.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn records_are_found_by_host_server_and_number() {
    let sim = start(scene(NEWEST, &["h1", "h2", "h3"], vec![server("a", "h1"), server("b", "h2")]));
    for (id, to) in [("a", "h2"), ("b", "h3"), ("a", "h1"), ("a", "h3")] {
        sim.ask(&live_to(id, to)).await.unwrap();
        pass(60).await;
    }
    let count = async |query: MigrationQuery| {
        let rows = Cloud::migrations(&*sim, &query).await.unwrap().rows;
        assert!(rows.is_sorted_by_key(|row| row.id));
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let none = MigrationQuery::default();
    assert_eq!(count(none.clone()).await, [1, 2, 3, 4]);
    assert_eq!(count(MigrationQuery { host: Some("h2".into()), ..none.clone() }).await, [1, 2, 3]);
    assert_eq!(count(MigrationQuery { server: Some("b".into()), ..none.clone() }).await, [2]);
    assert_eq!(count(MigrationQuery { newest: Some(2), ..none.clone() }).await, [3, 4]);
    let both = MigrationQuery { host: Some("h2".into()), newest: Some(1), ..none.clone() };
    assert_eq!(count(both).await, [3]);
    assert_eq!(count(MigrationQuery { server: Some("nobody".into()), ..none }).await, Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn an_old_release_hides_what_it_does_not_know() {
    let sim = plain(12);
    sim.ask(&live("s1")).await.unwrap();
    pass(2).await;
    assert_eq!(Cloud::migrations(&*sim, &MigrationQuery::default()).await.unwrap().rows[0].kind, None);
    assert_eq!(record(&sim, "s1").kind, Some(MigrationKind::Live));
    assert_eq!(sim.live_progress("s1").await.unwrap(), None);
    let abort = Ask::AbortMigration { server: "s1".into(), migration_id: 1 };
    let error = sim.ask(&abort).await.unwrap_err();
    assert!(matches!(error.kind, crate::cloud::CloudErrorKind::TooOld { .. }), "{error}");
    let error = sim.ask(&live_to("s1", "h2")).await.unwrap_err();
    assert!(error.to_string().contains("2.30"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn bytes_shrink_and_are_saved_every_five_seconds() {
    let mut big = server("s1", "h1");
    big.flavor.memory_mib = 60 * 1024;
    let mut it = scene(NEWEST, &["h1", "h2"], vec![big]);
    it.habits.memory_used_percent = [90, 90];
    it.habits.dirty_mib_per_s = [0, 0];
    let sim = start(it);
    sim.ask(&live("s1")).await.unwrap();
    assert_eq!(sim.live_progress("s1").await.unwrap(), None, "hidden while it is accepted");
    pass(10).await;
    let mut left = Vec::new();
    for _ in 0..4 {
        let now = sim.live_progress("s1").await.unwrap().unwrap();
        assert_eq!((now.migration_id, now.memory_total_bytes), (1, Some(60 << 30)));
        left.push(now.memory_remaining_bytes.unwrap());
        pass(3).await;
    }
    assert!(left.windows(2).all(|pair| pair[1] <= pair[0]), "{left:?}");
    left.dedup();
    assert!((2..4).contains(&left.len()), "{left:?}");
    pass(120).await;
    assert_eq!(sim.live_progress("s1").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn soft_deleted_guests_are_on_their_host_and_shelved_ones_are_not() {
    let hidden = Server { status: ServerStatus::SoftDeleted, vm_state: "soft-delete".into(), ..server("a", "h1") };
    let offloaded = Server {
        status: ServerStatus::ShelvedOffloaded,
        vm_state: "shelved_offloaded".into(),
        host: None,
        ..server("b", "h1")
    };
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![hidden, offloaded]));
    let on = Cloud::servers(&*sim, &ServerQuery::OnHost("h1".into())).await.unwrap().rows;
    assert_eq!(on.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a"]);
    let inventory = Cloud::inventory(&*sim).await.unwrap();
    assert_eq!(inventory.servers.len(), 1);
    assert!(sim.server("b").await.unwrap().is_some());
    assert!(sim.server("nobody").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_inventory_read_back_is_the_one_it_began_with() {
    let it = scene(NEWEST, &["h1", "h2"], vec![server("a", "h1"), stopped("b", "h2")]);
    let sim = start(it.clone());
    let mut read = Cloud::inventory(&*sim).await.unwrap();
    let mut began = it.inventory;
    for host in read.hosts.iter_mut().chain(&mut began.hosts) {
        host.service.updated_at = None;
        for hypervisor in &mut host.hypervisors {
            hypervisor.vcpus_used = None;
            hypervisor.memory_used_mib = None;
        }
    }
    assert_eq!(read, began);
}
