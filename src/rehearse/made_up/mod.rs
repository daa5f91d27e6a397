//! A cloud that nobody has: hosts in racks and zones, servers of the usual sizes and in the usual states, room for a
//! wave. The same size, seed and plan give the same cloud on every machine.
//!
//! What a plan names is made to be there (`wishes`), so that any plan can be tried out where no OpenStack was ever seen;
//! what was made for the plan's sake is said. Deliberately absent: everything that would keep the plan from being run;
//! a server for whose state the plan has no method is made a plain one, which is said too.

mod names;
mod servers;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};

use crate::cloud::{
    Aggregate, Capabilities, ComputeService, Host, Hypervisor, Inventory, Microversion, PowerState, Server,
    ServerStatus, ServiceState, ServiceStatus,
};
use crate::compile::compile;
use crate::plan::Plan;

/// One host alone could be emptied onto none; above ten thousand even a reading takes minutes, and no Nova cell is as
/// large.
pub const HOSTS: RangeInclusive<u32> = 2..=10_000;
/// A host may be empty; more guests than this no hypervisor carries.
pub const SERVERS_PER_HOST: RangeInclusive<u32> = 0..=500;
/// In the whole cloud: a rehearsal holds all of them in memory, some KiB each, and once more for each core.
pub const SERVERS_MAX: u64 = 200_000;

/// 2025.2 (nova rest_api_version_history.rst).
const NEWEST: Microversion = Microversion::v2(100);
/// Hypervisor version 8.2.2, as Ubuntu 24.04 has QEMU.
const QEMU: u64 = 8_002_002;
/// When made-up clouds are read: a Thursday night.
const READ_AT_S: i64 = 1_767_304_800;
/// The share of a host that is used at most: the servers of one host in four fit on the others.
const USED_PERCENT: u64 = 60;
/// `reserved_host_memory_mb` of nova/conf/compute.py.
const RESERVED_MIB: u64 = 512;
/// Memory of hosts as they are sold, GiB.
const MEMORY_GIB: [u64; 13] = [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];
/// Threads of hosts as they are sold.
const THREADS: [u64; 9] = [16, 32, 48, 64, 96, 128, 192, 256, 384];
/// Nova's default `initial_cpu_allocation_ratio` is 4 (nova/conf/compute.py): half of it is filled at most.
const GUESTS_PER_THREAD: u64 = 2;
/// Times the compiler is asked what of a made-up cloud stands in the plan's way.
const FITTINGS: u32 = 3;

/// How large a made-up cloud is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Within [`HOSTS`].
    pub hosts: u32,
    /// On average, within [`SERVERS_PER_HOST`].
    pub servers_per_host: u32,
}

/// A cloud, and what has to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeUp {
    pub inventory: Inventory,
    pub said: Vec<String>,
}

/// A host before it has servers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Draft {
    name: String,
    zone: String,
    aggregates: Vec<String>,
}

/// The dice: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `sides`, which is not 0.
    fn below(&mut self, sides: u64) -> u64 {
        u64::try_from((u128::from(self.roll()) * u128::from(sides)) >> 64).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Looks like a uuid of version 4.
    fn uuid(&mut self) -> String {
        let (high, low) = (self.roll(), self.roll());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }
}

/// Makes a cloud of this size in which the plan, if there is one, can be run.
pub fn made_up(size: Size, seed: u64, plan: Option<&Plan>) -> MadeUp {
    let mut dice = Dice(seed);
    let read_at = Timestamp::from_second(READ_AT_S).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut said = Vec::new();
    let drafts = wishes::hosts(size, plan, &mut said);
    let drawn = servers::servers(&drafts, size.servers_per_host, read_at, plan, &mut dice, &mut said);
    let hosts = hosts(&drafts, &drawn.servers, read_at, &mut dice);
    let mut inventory = Inventory {
        read_at,
        capabilities: Capabilities { newest: NEWEST },
        aggregates: aggregates(&drafts),
        hosts,
        servers: drawn.servers,
        groups: drawn.groups,
        migrations: Vec::new(),
        gaps: Vec::new(),
    };
    inventory.servers.sort_by(|one, other| (&one.host, &one.name, &one.id).cmp(&(&other.host, &other.name, &other.id)));
    if let Some(plan) = plan {
        let plain = fit(&mut inventory, plan);
        if plain > 0 {
            said.push(format!(
                "{plain} of its servers were made plain running ones, because the plan has no method for what they were"
            ));
        }
    }
    let racks = inventory.aggregates.iter().filter(|aggregate| aggregate.zone.is_none()).count();
    let zones: BTreeSet<&str> = inventory.hosts.iter().map(Host::zone).collect();
    said.insert(
        0,
        format!(
            "the cloud is made up: {} hosts and {} servers, {} and {}",
            inventory.hosts.len(),
            inventory.servers.len(),
            counted(zones.len(), "zone"),
            counted(racks, "aggregate"),
        ),
    );
    MadeUp { inventory, said }
}

fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn hosts(drafts: &[Draft], servers: &[Server], read_at: Timestamp, dice: &mut Dice) -> Vec<Host> {
    let mut on: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for server in servers {
        let own = on.entry(server.host.as_deref().unwrap_or_default()).or_default();
        own.0 += server.flavor.vcpus;
        own.1 += server.flavor.memory_mib;
        own.2 += server.local_disk_gib();
    }
    let used = drafts.iter().map(|draft| on.get(draft.name.as_str()).copied().unwrap_or_default());
    let used: Vec<(u64, u64, u64)> = used.map(|(vcpus, mib, gib)| (vcpus, mib + RESERVED_MIB, gib)).collect();
    let most = used
        .iter()
        .fold((0, 0, 0), |most: (u64, u64, u64), one| (most.0.max(one.0), most.1.max(one.1), most.2.max(one.2)));
    // All hosts are alike, as those that were bought together are.
    let threads = at_least(&THREADS, most.0.div_ceil(GUESTS_PER_THREAD));
    let memory_mib = at_least(&MEMORY_GIB, (most.1 * 100).div_ceil(USED_PERCENT).div_ceil(1024)) * 1024;
    let disk_gib = (most.2 * 100).div_ceil(USED_PERCENT).div_ceil(1000).max(1) * 1000;
    let row = |(draft, used): (&Draft, (u64, u64, u64))| {
        // Within the last report_interval.
        let ago_ms = i64::try_from(dice.below(10_000)).unwrap_or(0);
        Host {
            name: draft.name.clone(),
            service: ComputeService {
                id: dice.uuid(),
                host: draft.name.clone(),
                zone: draft.zone.clone(),
                status: ServiceStatus::Enabled,
                state: ServiceState::Up,
                disabled_reason: None,
                forced_down: Some(false),
                updated_at: Some(read_at - SignedDuration::from_millis(ago_ms)),
            },
            hypervisors: vec![Hypervisor {
                id: dice.uuid(),
                hostname: format!("{}.example.net", draft.name),
                kind: "QEMU".to_owned(),
                version: Some(QEMU),
                vcpus: Some(threads),
                vcpus_used: Some(used.0),
                memory_mib: Some(memory_mib),
                memory_used_mib: Some(used.1),
                disk_gib: Some(disk_gib),
                disk_used_gib: Some(used.2),
            }],
            aggregates: draft.aggregates.clone(),
        }
    };
    drafts.iter().zip(used).map(row).collect()
}

/// The smallest size on sale that is enough, or what is needed where none is.
fn at_least(sizes: &[u64], needed: u64) -> u64 {
    sizes.iter().copied().find(|size| *size >= needed).unwrap_or(needed)
}

/// Racks and whatever the plan names; a zone is an aggregate of its own, as Nova has it.
fn aggregates(drafts: &[Draft]) -> Vec<Aggregate> {
    let names: BTreeSet<&String> = drafts.iter().flat_map(|draft| &draft.aggregates).collect();
    let mut rows: Vec<Aggregate> = names
        .into_iter()
        .map(|name| {
            let members = drafts.iter().filter(|draft| draft.aggregates.contains(name));
            let zone = drafts.iter().find(|draft| draft.aggregates.contains(name) && draft.zone == *name);
            Aggregate {
                name: name.clone(),
                zone: zone.map(|draft| draft.zone.clone()),
                hosts: members.map(|draft| draft.name.clone()).collect(),
                metadata: zone.map(|draft| ("availability_zone".to_owned(), draft.zone.clone())).into_iter().collect(),
            }
        })
        .collect();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    rows
}

/// Makes plain what the compiler says cannot be done with; how many servers that were.
fn fit(inventory: &mut Inventory, plan: &Plan) -> usize {
    let mut plain = BTreeSet::new();
    for _ in 0..FITTINGS {
        // What cannot be compiled at all is the caller's to find and to say.
        let Ok(graph) = compile(plan, inventory, "made-up") else { break };
        let stuck: BTreeSet<String> =
            graph.blockers.into_iter().filter_map(|blocker| blocker.server.map(|(id, _)| id)).collect();
        if stuck.is_empty() {
            break;
        }
        for server in inventory.servers.iter_mut().filter(|server| stuck.contains(&server.id)) {
            server.status = ServerStatus::Active;
            server.vm_state = "active".to_owned();
            server.power_state = PowerState::Running;
            server.pinned_zone = None;
            server.flavor.extra_specs.clear();
        }
        for group in &mut inventory.groups {
            group.members.retain(|member| !stuck.contains(member));
        }
        plain.extend(stuck);
    }
    inventory.groups.retain(|group| group.members.len() > 1);
    plain.len()
}
