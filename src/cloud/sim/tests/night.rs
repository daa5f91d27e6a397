//! A long night: the same seed gives the same night, nothing leaks, and it costs next to nothing.

use std::collections::BTreeSet;

use super::*;
use crate::cloud::sim::Seen;
use crate::cloud::{MigrationQuery, ServerQuery};

/// Drains the first hosts one after the other as clumsily as can be: asks, looks every few seconds, asks again.
async fn drain(sim: &Sim, hosts: usize, hours: u64) {
    for host in 0..hours {
        let name = format!("h{:03}", host as usize % hosts);
        let _ = sim.ask(&disable(&name)).await;
        let rows = Cloud::servers(sim, &ServerQuery::OnHost(name.clone())).await.map(|it| it.rows).unwrap_or_default();
        for row in &rows {
            let ask = if row.status == ServerStatus::Shutoff { cold(&row.id) } else { live(&row.id) };
            let _ = sim.ask(&ask).await;
        }
        let mut since = epoch();
        for _ in 0..300 {
            pass(5).await;
            let query = MigrationQuery { changed_since: Some(since), ..MigrationQuery::default() };
            if let Ok(records) = Cloud::migrations(sim, &query).await {
                for done in records.rows.iter().filter(|record| record.status == MigrationStatus::Finished) {
                    let _ = sim.ask(&confirm(&done.server)).await;
                }
                since = records.at - jiff::SignedDuration::from_secs(5);
            }
            let _ = Cloud::servers(sim, &ServerQuery::ChangedSince(since)).await;
        }
        let left = Cloud::servers(sim, &ServerQuery::OnHost(name.clone())).await.map(|it| it.rows).unwrap_or_default();
        if left.is_empty() {
            sim.reboot(&name, None);
        }
        pass(400).await;
        let _ = sim.ask(&Ask::EnableService { host: name.clone(), service_id: format!("service-of-{name}") }).await;
    }
}

fn big(seed: u64, hosts: usize, servers: usize, faults: Faults) -> Scene {
    let names: Vec<String> = (0..hosts).map(|n| format!("h{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row = |n: usize| {
        let id = format!("{n:08}-0000-4000-8000-000000000000");
        let on = names[n % hosts];
        Server {
            flavor: Flavor { memory_mib: 1024, ..server("", "").flavor },
            ..if n.is_multiple_of(9) { stopped(&id, on) } else { server(&id, on) }
        }
    };
    Scene { seed, faults, ..scene(NEWEST, &names, (0..servers).map(row).collect()) }
}

async fn night(seed: u64) -> (Vec<Seen>, Arc<Sim>) {
    let sim = start(big(seed, 12, 120, Faults::harsh()));
    drain(&sim, 12, 6).await;
    pass(20_000).await;
    sim.servers();
    (sim.log().take(), sim)
}

fn on_a_paused_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

#[test]
fn the_same_seed_gives_the_same_night_and_another_seed_another() {
    let (one, _) = on_a_paused_runtime(night(1));
    let (same, _) = on_a_paused_runtime(night(1));
    let (other, _) = on_a_paused_runtime(night(2));
    assert!(one.len() > 1_000, "{}", one.len());
    assert!(one == same);
    assert!(one != other);
    assert!(one.is_sorted_by_key(|seen| seen.at_ms));
}

/// What the log says of rows, taken together, is what the cloud is in the end.
#[test]
fn the_log_holds_every_change_of_every_row() {
    for seed in 0..6 {
        let (seen, sim) = on_a_paused_runtime(night(seed));
        let mut servers: BTreeMap<String, Server> = BTreeMap::new();
        let mut records: BTreeMap<u64, Migration> = BTreeMap::new();
        let mut guests: BTreeMap<String, bool> = BTreeMap::new();
        for seen in seen {
            match seen.what {
                What::Server(row) => {
                    guests.entry(row.id.clone()).or_insert(row.power_state == PowerState::Running);
                    servers.insert(row.id.clone(), *row);
                }
                What::ServerGone { id } => {
                    servers.remove(&id);
                    records.retain(|_, record| record.server != id);
                }
                What::Migration(record) => {
                    records.insert(record.id, record);
                }
                What::Guest { server, running } => {
                    assert_ne!(guests.insert(server.clone(), running), Some(running), "{server} seed {seed}");
                }
                _ => {}
            }
        }
        on_a_paused_runtime(async {
            assert!(servers.into_values().eq(sim.world_rows()), "seed {seed}");
            assert!(records.into_values().eq(sim.world_records()), "seed {seed}");
        });
    }
}

/// Claims are what rows and unfinished migrations hold, no more and no less: nothing leaks over a harsh night.
#[test]
fn no_room_leaks() {
    for seed in 10..16 {
        let (_, sim) = on_a_paused_runtime(night(seed));
        let world = sim.raw_world();
        let mut held: Vec<u64> = vec![0; world.hosts.len()];
        let mut owed: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (id, slot) in world.servers.iter().enumerate().filter(|(_, slot)| !slot.deleted) {
            owed.extend(world.host_of(id).map(|host| (host, id)));
            assert!(slot.row.now.status != ServerStatus::Build || slot.row.now.host.is_some() || world.now_ms > 0);
        }
        for own in world.moves.values() {
            owed.insert((own.source, own.server));
            owed.extend(own.dest.map(|dest| (dest, own.server)));
        }
        for (host, server) in owed {
            held[host] += world.servers[server].row.now.flavor.memory_mib;
        }
        for (host, held) in world.hosts.iter().zip(held) {
            // What Nova forgets when a nova-compute dies stays taken: that is the only way to be above.
            assert!(
                host.claimed.memory_mib >= held,
                "seed {seed}: {} claims {} of {held}",
                host.name,
                host.claimed.memory_mib
            );
            let forgotten = host.claimed.memory_mib - held;
            assert!(forgotten <= 4 * 1024, "seed {seed}: {} keeps {forgotten} MiB too many", host.name);
        }
    }
}

/// 100 hosts, 2,000 servers, ten hours. A debug build is many times slower; this only guards against a change of order.
#[test]
fn a_night_of_two_thousand_servers_is_cheap() {
    let began = std::time::Instant::now();
    let counts = on_a_paused_runtime(async {
        let sim = Sim::new(big(3, 100, 2_000, Faults::typical()), Log::off());
        drain(&sim, 100, 18).await;
        sim.counts()
    });
    assert!(counts.moves > 250, "{counts:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// 100 hosts are emptied one after the other in ten hours, 20 servers each, looked at every 5 s.
#[test]
#[ignore = "a measurement, which wants a release build"]
fn what_a_night_costs() {
    let scene = big(4, 100, 2_000, Faults::typical());
    let began = std::time::Instant::now();
    let (sim, reads) = on_a_paused_runtime(async {
        let sim = Sim::new(scene, Log::off());
        let mut since = epoch();
        let mut reads = 0;
        for host in 0..100 {
            let name = format!("h{host:03}");
            let _ = sim.ask(&disable(&name)).await;
            for row in Cloud::servers(&*sim, &ServerQuery::OnHost(name.clone())).await.map_or(Vec::new(), |it| it.rows)
            {
                let ask = if row.status == ServerStatus::Shutoff { cold(&row.id) } else { live(&row.id) };
                let _ = sim.ask(&ask).await;
            }
            for _ in 0..70 {
                pass(5).await;
                reads += 1;
                let query = MigrationQuery { changed_since: Some(since), ..MigrationQuery::default() };
                if let Ok(records) = Cloud::migrations(&*sim, &query).await {
                    let finished = |record: &&Migration| record.status == MigrationStatus::Finished;
                    for done in records.rows.iter().filter(finished) {
                        let _ = sim.ask(&confirm(&done.server)).await;
                    }
                    since = records.at - jiff::SignedDuration::from_secs(5);
                }
                let _ = Cloud::servers(&*sim, &ServerQuery::ChangedSince(since)).await;
            }
            let _ = sim.ask(&Ask::EnableService { host: name.clone(), service_id: format!("service-of-{name}") }).await;
        }
        (Arc::clone(&sim), reads)
    });
    let counts = sim.counts_of_the_end();
    println!("{} moves, {reads} rounds of readings, {:?}", counts.moves, began.elapsed());
    assert!(counts.moves > 1_800, "{}", counts.moves);
}
