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
use crate::cloud::{
    Accepted, Ask, BlockMigration, Capabilities, Cloud, CloudError, ComputeService, Flavor, Host, Hypervisor,
    Inventory, Microversion, Migration, MigrationKind, MigrationStatus, PowerState, Refusal, Server, ServerStatus,
    ServiceState, ServiceStatus,
};

const NEWEST: u16 = 104;

fn epoch() -> Timestamp {
    "2026-03-01T02:00:00Z".parse().unwrap()
}

fn host(name: &str) -> Host {
    let service = ComputeService {
        id: format!("id-{name}"),
        host: name.to_owned(),
        zone: "nova".to_owned(),
        status: ServiceStatus::Enabled,
        state: ServiceState::Up,
        disabled_reason: None,
        forced_down: Some(false),
        updated_at: Some(epoch()),
    };
    let hypervisor = Hypervisor {
        id: format!("hv-{name}"),
        hostname: name.to_owned(),
        kind: "QEMU".to_owned(),
        version: Some(8_002_000),
        vcpus: Some(32),
        vcpus_used: Some(0),
        memory_mib: Some(64 * 1024),
        memory_used_mib: Some(512),
        disk_gib: None,
        disk_used_gib: None,
    };
    Host { name: name.to_owned(), service, hypervisors: vec![hypervisor], aggregates: Vec::new() }
}

fn server(id: &str, host: &str) -> Server {
    Server {
        id: id.to_owned(),
        name: format!("name-of-{id}"),
        project_id: "p".to_owned(),
        status: ServerStatus::Active,
        vm_state: "active".to_owned(),
        task_state: None,
        power_state: PowerState::Running,
        host: Some(host.to_owned()),
        zone: Some("nova".to_owned()),
        pinned_zone: None,
        flavor: Flavor {
            name: "m1".to_owned(),
            vcpus: 2,
            memory_mib: 4096,
            root_gib: 10,
            known: true,
            ..Flavor::default()
        },
        image: Some("image".to_owned()),
        image_properties: None,
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        locked: Some(false),
        config_drive: false,
        volumes: Vec::new(),
        fault: None,
        created_at: Some(epoch()),
        updated_at: Some(epoch()),
    }
}

fn stopped(id: &str, host: &str) -> Server {
    let off = server(id, host);
    Server { status: ServerStatus::Shutoff, vm_state: "stopped".to_owned(), power_state: PowerState::Shutdown, ..off }
}

fn scene(minor: u16, hosts: &[&str], servers: Vec<Server>) -> Scene {
    let inventory = Inventory {
        read_at: epoch(),
        capabilities: Capabilities { newest: Microversion::v2(minor) },
        hosts: hosts.iter().map(|name| host(name)).collect(),
        servers,
        groups: Vec::new(),
        aggregates: Vec::new(),
        migrations: Vec::new(),
        gaps: Vec::new(),
    };
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
    let (service_id, reason) = (format!("id-{host}"), "furlough".to_owned());
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
