//! A small cloud, and how its rows changed, told as the chaos log of a real Nova tells it.

mod cold;
mod faults;
mod hosts;
mod live;
mod night;
mod observed;
mod power;
mod readings;
mod scheduler;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{AskKind, Fate, Faults, Habits, Happening, Log, Scene, Scripted, Sim, What};
use crate::cloud::fixture::{self, epoch, in_state, with_disk};
use crate::cloud::{
    Accepted, Ask, BlockMigration, Capabilities, Cloud, CloudError, Flavor, Host, Hypervisor, Inventory, Microversion,
    Migration, MigrationKind, MigrationStatus, PowerState, Refusal, Server, ServerStatus, ServiceState, ServiceStatus,
};

const NEWEST: u16 = 104;

/// 64 GiB of memory, and no word of its disk.
fn host(name: &str) -> Host {
    let (vcpus, memory_mib) = (Some(32), Some(64 * 1024));
    let hypervisor = Hypervisor { vcpus, memory_mib, disk_gib: None, disk_used_gib: None, ..fixture::hypervisor(name) };
    Host { hypervisors: vec![hypervisor], ..fixture::host(name) }
}

fn server(id: &str, host: &str) -> Server {
    with_disk(fixture::server(id, host), 10)
}

fn stopped(id: &str, host: &str) -> Server {
    in_state(server(id, host), ServerStatus::Shutoff)
}

fn scene(minor: u16, hosts: &[&str], servers: Vec<Server>) -> Scene {
    let hosts = hosts.iter().map(|name| host(name)).collect();
    let capabilities = Capabilities { newest: Microversion::v2(minor) };
    let inventory = Inventory { capabilities, ..fixture::inventory(hosts, servers) };
    let (habits, faults) = (Habits::default(), Faults::none());
    Scene { name: "lab".to_owned(), inventory, epoch: epoch(), seed: 7, habits, faults }
}

fn start(scene: Scene) -> Arc<Sim> {
    Sim::new(scene, Log::recording())
}

/// A cloud of three hosts with this one server on the first, and one fate for the first request about it.
fn lab(minor: u16, ask: AskKind, fate: Fate) -> Arc<Sim> {
    let mut scene = scene(minor, &["h1", "h2", "h3"], vec![server("s1", "h1")]);
    scene.faults.script = vec![Scripted::Ask { ask, of: None, nth: 1, fate }];
    start(scene)
}

fn plain(minor: u16) -> Arc<Sim> {
    start(scene(minor, &["h1", "h2", "h3"], vec![server("s1", "h1")]))
}

fn live(id: &str) -> Ask {
    Ask::LiveMigrate { server: id.to_owned(), host: None, block_migration: BlockMigration::Auto }
}

fn live_to(id: &str, host: &str) -> Ask {
    Ask::LiveMigrate { server: id.to_owned(), host: Some(host.to_owned()), block_migration: BlockMigration::Auto }
}

fn cold(id: &str) -> Ask {
    Ask::ColdMigrate { server: id.to_owned(), host: None }
}

fn confirm(id: &str) -> Ask {
    Ask::ConfirmResize { server: id.to_owned() }
}

fn stop(id: &str) -> Ask {
    Ask::Stop { server: id.to_owned() }
}

fn disable(host: &str) -> Ask {
    let (service_id, reason) = (format!("service-of-{host}"), "furlough".to_owned());
    Ask::DisableService { host: host.to_owned(), service_id, reason }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn refusal(answer: Result<Accepted, CloudError>) -> Refusal {
    let error = answer.unwrap_err();
    error.refusal().unwrap_or_else(|| panic!("{error}"))
}

fn row(sim: &Sim, id: &str) -> Server {
    sim.servers().into_iter().find(|row| row.id == id).unwrap_or_else(|| panic!("{id} is gone"))
}

fn record(sim: &Sim, id: &str) -> Migration {
    sim.migrations().into_iter().rfind(|row| row.server == id).unwrap_or_else(|| panic!("{id} has no record"))
}

/// `MIGRATING migrating h1 accepted`: each change of a server's row and of its records, newest record first.
fn story(sim: &Sim, id: &str) -> Vec<String> {
    let mut row = String::new();
    let mut records: BTreeMap<u64, String> = BTreeMap::new();
    let mut told: Vec<String> = Vec::new();
    sim.servers();
    for seen in sim.log().take() {
        match seen.what {
            What::Server(now) if now.id == id => {
                let (task, host) = (now.task_state.as_deref().unwrap_or("-"), now.host.as_deref().unwrap_or("-"));
                row = format!("{} {task} {host}", now.status);
            }
            What::ServerGone { id: gone } if gone == id => {
                row = "gone".to_owned();
                records.clear();
            }
            What::Migration(now) if now.server == id => {
                let dest = now.dest_host.map(|dest| format!(">{dest}")).unwrap_or_default();
                records.insert(now.id, format!(" {}{dest}", now.status));
            }
            _ => continue,
        }
        let line = format!("{row}{}", records.values().rev().cloned().collect::<String>());
        if told.last() != Some(&line) {
            told.push(line);
        }
    }
    told
}
