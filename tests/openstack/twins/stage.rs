//! The two stages: the lab, and a simulator that begins with what was read of the lab.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use furlough::cloud::sim::network::NetworkHabits;
use furlough::cloud::sim::{Faults, Habits, Happening, Log, Scene, Scripted, Sim, What};
use furlough::cloud::{Cloud, Inventory, Microversion};

use super::compare::State;
use super::play::{Cast, Stage, Story, play};
use super::script::Script;
use crate::lab::{self, Release};
use crate::nova::HTTP;

/// A real OpenStack.
pub struct Real {
    pub cloud: Arc<dyn Cloud>,
    pub release: Release,
    pub dir: PathBuf,
    /// Of Nova, for what the owner does.
    pub url: String,
    pub token: String,
}

#[async_trait]
impl Stage for Real {
    fn cloud(&self) -> &Arc<dyn Cloud> {
        &self.cloud
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(50)
    }

    async fn compute(&self, act: &'static str, host: &str) {
        let heartbeat = async || self.cloud.services(Some(host)).await.expect("the service").remove(0).updated_at;
        let before = heartbeat().await;
        let (release, dir, name) = (self.release, self.dir.clone(), host.to_owned());
        let done = tokio::task::spawn_blocking(move || lab::script(release, &dir, "compute.sh", &[act, &name], &[]));
        done.await.expect("compute.sh").unwrap_or_else(|e| panic!("{e}"));
        // until then "up" may be what the old process said last
        while act == "start" && heartbeat().await == before {
            tokio::time::sleep(self.pause()).await;
        }
    }

    async fn delete(&self, server: &str) {
        let request = HTTP.delete(format!("{}/servers/{server}", self.url)).header("X-Auth-Token", &self.token);
        let status = request.send().await.expect("Nova answers").status();
        assert_eq!(status.as_u16(), 204, "DELETE {server}");
    }
}

struct Simulated {
    cloud: Arc<dyn Cloud>,
    sim: Arc<Sim>,
}

#[async_trait]
impl Stage for Simulated {
    fn cloud(&self) -> &Arc<dyn Cloud> {
        &self.cloud
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(20)
    }

    async fn compute(&self, act: &'static str, host: &str) {
        let host = host.to_owned();
        self.sim.happen(match act {
            "kill" => Happening::ComputeDies { host, back_after_ms: None },
            "pause" => Happening::ComputeHangs { host },
            _ => Happening::ComputeReturns { host },
        });
    }

    async fn delete(&self, server: &str) {
        self.sim.happen(Happening::Deletes { server: server.to_owned() });
    }
}

/// How the lab's Nova is configured (`lab/mkconf.sh`), and about as fast as it is.
fn habits(script: &Script, behind: Microversion) -> Habits {
    Habits {
        report_interval_s: 3,
        service_down_time_s: 12,
        request_ms: [20, 40],
        rpc_ms: [40, 80],
        schedule_ms: [100, 200],
        prepare_ms: [40, 80],
        post_ms: [40, 80],
        shutdown_ms: [20, 40],
        start_ms: [20, 40],
        confirm_ms: [20, 40],
        shared_storage: false,
        dirty_mib_per_s: [0, 0],
        memory_used_percent: [100, 100],
        cpu_allocation_ratio: Some(4.0),
        ram_allocation_ratio: Some(1.0),
        // m1.tiny: 512 MiB, and a disk of 1 GiB
        network: NetworkHabits { host_mbit: 13_400 / script.copy_s.max(1), beta_ms: 20, ..NetworkHabits::default() },
        behind: Some(behind),
        ..Habits::default()
    }
}

/// Plays the script on a simulator that begins as the lab was: what was seen, and what was.
pub fn simulate(script: &Script, cast: &Cast, inventory: &Inventory, behind: Microversion) -> (Story, Vec<Vec<State>>) {
    let mut inventory = inventory.clone();
    inventory.servers.retain(|row| cast.servers.contains(&row.id));
    inventory.migrations.retain(|record| cast.servers.contains(&record.server));
    let fate = script.fate.map(|(ask, fate)| Scripted::Ask { ask, of: Some(cast.servers[0].clone()), nth: 1, fate });
    let faults = Faults { script: fate.into_iter().collect(), ..Faults::none() };
    let epoch = inventory.read_at;
    let habits = habits(script, behind);
    let scene = Scene { name: "twin".to_owned(), inventory, epoch, seed: 7, habits, faults };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let sim = Sim::new(scene, Log::recording());
        let stage = Simulated { cloud: Arc::<Sim>::clone(&sim), sim };
        let story = play(&stage, script, cast).await;
        let log = stage.sim.log().take();
        let states = cast.servers.iter().map(|id| {
            let (mut row, mut records) = ("gone".to_owned(), std::collections::BTreeMap::new());
            let mut states: Vec<State> = Vec::new();
            for seen in &log {
                match &seen.what {
                    What::Server(now) if now.id == *id => {
                        row = cast.server_line(Some(now.as_ref()).filter(|row| row.status.as_str() != "DELETED"))
                    }
                    What::ServerGone { id: gone } if gone == id => {
                        "gone".clone_into(&mut row);
                        // its records go a moment later, which no entry tells
                        let record = records.last_key_value().map_or("-", |(_, line): (_, &String)| line.as_str());
                        states.push(State { from_ms: seen.at_ms, server: row.clone(), record: record.to_owned() });
                        records.clear();
                    }
                    What::Migration(now) if now.server == *id => {
                        records.insert(now.id, cast.record_line(Some(now)));
                    }
                    _ => continue,
                }
                let record = records.last_key_value().map_or("-", |(_, line)| line.as_str()).to_owned();
                if states.last().is_none_or(|last| last.server != row || last.record != record) {
                    states.push(State { from_ms: seen.at_ms, server: row.clone(), record });
                }
            }
            states
        });
        (story, states.collect())
    })
}
