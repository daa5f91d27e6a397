//! Stop and start, and what each server state allows (chaos log: "what each server state allows").

use super::*;

#[tokio::test(start_paused = true)]
async fn stop_and_start() {
    let sim = plain(NEWEST);
    sim.ask(&stop("s1")).await.unwrap();
    pass(60).await;
    sim.ask(&Ask::Start { server: "s1".into() }).await.unwrap();
    pass(60).await;
    assert_eq!(
        story(&sim, "s1"),
        ["ACTIVE - h1", "ACTIVE powering-off h1", "SHUTOFF - h1", "SHUTOFF powering-on h1", "ACTIVE - h1"]
    );
    let down_ms = sim.counts().downtime_ms["s1"];
    assert!((40_000..70_000).contains(&down_ms), "{down_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_on_a_dead_host_is_done_once_it_is_back() {
    let sim = plain(NEWEST);
    sim.happen(Happening::ComputeDies { host: "h1".into(), back_after_ms: Some(100_000) });
    sim.ask(&stop("s1")).await.unwrap();
    pass(95).await;
    assert_eq!(story(&sim, "s1").last().unwrap(), "ACTIVE powering-off h1");
    assert!(sim.is_running("s1"));
    pass(60).await;
    assert_eq!(row(&sim, "s1").status, ServerStatus::Shutoff);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_stop_is_idle_again_and_as_before() {
    let sim = lab(NEWEST, AskKind::Stop, Fate::Ignored);
    sim.ask(&stop("s1")).await.unwrap();
    pass(60).await;
    assert_eq!(story(&sim, "s1"), ["ACTIVE - h1", "ACTIVE powering-off h1", "ACTIVE - h1"]);
}

#[tokio::test(start_paused = true)]
async fn what_each_state_allows() {
    let asks = |id: &str| [live(id), cold(id), stop(id), Ask::Start { server: id.into() }, confirm(id)];
    for (status, vm_state, allowed) in [
        (ServerStatus::Active, "active", [true, true, true, false, false]),
        (ServerStatus::Shutoff, "stopped", [false, true, false, true, false]),
        (ServerStatus::Paused, "paused", [true, false, false, false, false]),
        (ServerStatus::Suspended, "suspended", [false; 5]),
        (ServerStatus::VerifyResize, "resized", [false, false, false, false, true]),
        (ServerStatus::Rescue, "rescued", [false; 5]),
        (ServerStatus::ShelvedOffloaded, "shelved_offloaded", [false; 5]),
        (ServerStatus::Error, "error", [false, false, true, false, false]),
        (ServerStatus::SoftDeleted, "soft-delete", [false; 5]),
        (ServerStatus::Build, "building", [false; 5]),
    ] {
        let both = asks("s1").into_iter().zip(allowed).flat_map(|(ask, is)| [NEWEST, 93].map(|v| (ask.clone(), is, v)));
        for (ask, allowed, minor) in both {
            let row = Server { status: status.clone(), vm_state: vm_state.into(), ..server("s1", "h1") };
            let mut it = scene(minor, &["h1", "h2"], vec![row]);
            if status == ServerStatus::VerifyResize {
                let own = fixture::record(1, "s1", "h2", MigrationKind::Cold);
                let (status, dest_host) = (MigrationStatus::Finished, Some("h1".to_owned()));
                it.inventory.migrations = vec![Migration { status, dest_host, ..own }];
            }
            let sim = start(it);
            match sim.ask(&ask).await {
                Ok(_) => assert!(allowed, "{status}: {ask:?}"),
                Err(error) => {
                    assert!(!allowed, "{status}: {ask:?}: {error}");
                    assert_eq!(error.refusal(), Some(Refusal::WrongState), "{error}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_admin_passes_a_lock_and_a_paused_server_stays_paused() {
    let locked = Server { locked: Some(true), ..server("s1", "h1") };
    let paused = Server {
        status: ServerStatus::Paused,
        vm_state: "paused".into(),
        power_state: PowerState::Paused,
        ..server("s2", "h1")
    };
    let sim = start(scene(NEWEST, &["h1", "h2"], vec![locked, paused]));
    sim.ask(&live("s1")).await.unwrap();
    sim.ask(&live("s2")).await.unwrap();
    pass(60).await;
    assert_eq!((row(&sim, "s1").host.as_deref(), row(&sim, "s1").locked), (Some("h2"), Some(true)));
    let paused = row(&sim, "s2");
    assert_eq!(
        (paused.host.as_deref(), paused.status, paused.power_state),
        (Some("h2"), ServerStatus::Paused, PowerState::Paused)
    );
    assert!(!sim.is_running("s2"));
}
