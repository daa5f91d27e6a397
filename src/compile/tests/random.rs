//! Properties of every graph, over random plans and clouds.

use std::collections::{BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::compile::{Graph, Step, StepKind, compile, drift};

const STATUSES: [&str; 20] = [
    "ACTIVE",
    "ACTIVE",
    "ACTIVE",
    "ACTIVE",
    "SHUTOFF",
    "SHUTOFF",
    "PAUSED",
    "SUSPENDED",
    "RESCUE",
    "VERIFY_RESIZE",
    "SHELVED",
    "SHELVED_OFFLOADED",
    "SOFT_DELETED",
    "ERROR",
    "BUILD",
    "MIGRATING",
    "UNKNOWN",
    "DELETED",
    "RESIZE",
    "NEW_WORD",
];
const SPECS: [&str; 6] = [
    "accel:device_profile",
    "hw:tpm_version",
    "pci_passthrough:alias",
    "hw:numa_nodes",
    "resources:VGPU",
    "quota:cpu_shares",
];
const MOVES: [&str; 6] = ["queued", "running", "finished", "confirming", "completed", "error"];
const MAX_HOSTS: usize = 7;

fn name(at: usize) -> String {
    format!("cmp-{at}")
}

fn any_host(at: usize) -> impl Strategy<Value = Host> {
    let states = select(vec![ServiceState::Up, ServiceState::Up, ServiceState::Up, ServiceState::Down]);
    let reasons = select(vec![None, None, None, Some("fan"), Some("furlough 01: x")]);
    (states, reasons, select(vec!["QEMU", "QEMU", "QEMU", "lxc", "ironic"])).prop_map(move |(state, reason, kind)| {
        let mut one = host(&name(at));
        one.service.state = state;
        one.service.disabled_reason = reason.map(str::to_owned);
        one.service.status = if reason.is_some() { ServiceStatus::Disabled } else { ServiceStatus::Enabled };
        one.hypervisors[0].kind = kind.to_owned();
        one
    })
}

fn any_server(at: usize, hosts: usize) -> impl Strategy<Value = Server> {
    let tasks = select(vec![None, None, None, None, Some("deleting"), Some("migrating"), Some("image_snapshot")]);
    let power = select(vec![PowerState::Running, PowerState::Running, PowerState::Shutdown, PowerState::Unknown]);
    let place = option::weighted(0.9, 0..hosts);
    let zone = option::weighted(0.1, select(vec!["az1", "az2"]));
    (select(&STATUSES[..]), tasks, power, place, subsequence(&SPECS[..], 0..2), zone).prop_map(
        move |(status, task, power_state, place, specs, zone)| {
            let mut one = server(&format!("s{at}"), "");
            one.status = ServerStatus::from(status.to_owned());
            one.task_state = task.map(str::to_owned);
            one.power_state = power_state;
            one.host = place.map(name);
            one.pinned_zone = zone.map(str::to_owned);
            one.flavor.extra_specs = specs.into_iter().map(|key| (key.to_owned(), "1".to_owned())).collect();
            one
        },
    )
}

fn any_cloud() -> impl Strategy<Value = Inventory> {
    (1..=MAX_HOSTS, 0..25_usize).prop_flat_map(|(hosts, servers)| {
        let migrations = vec((0..30_usize, select(&MOVES[..]), 0..hosts, 0..hosts), 0..4);
        let policies = select(vec![GroupPolicy::Affinity, GroupPolicy::AntiAffinity, GroupPolicy::SoftAffinity]);
        let groups = vec((policies, vec(0..30_usize, 1..6), 1..3_u64), 0..3);
        (
            (0..hosts).map(any_host).collect::<Vec<_>>(),
            (0..servers).map(|at| any_server(at, hosts)).collect::<Vec<_>>(),
            migrations,
            groups,
            select(vec![12, 25, 53, 72, 87, 96, 100, 104_u16]),
        )
            .prop_map(|(hosts, servers, migrations, groups, minor)| {
                let mut inventory = cloud(&[], servers);
                inventory.hosts = hosts;
                inventory.capabilities.newest = Microversion::v2(minor);
                inventory.migrations = (1_u64..)
                    .zip(migrations)
                    .map(|(id, (at, status, from, to))| {
                        migration(id, &format!("s{at}"), status.to_owned().into(), &name(from), &name(to))
                    })
                    .collect();
                inventory.groups = (1..)
                    .zip(groups)
                    .map(|(id, (policy, members, most))| ServerGroup {
                        id: format!("g{id}"),
                        members: members.into_iter().map(|at| format!("s{at}")).collect(),
                        max_server_per_host: most,
                        ..group(policy, &[])
                    })
                    .collect();
                inventory
            })
    })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let ladder = || subsequence(vec![Rung::Live, Rung::Cold, Rung::Stop, Rung::Leave], 1..=4).prop_shuffle();
    let count = || prop_oneof![(0..4_u32).prop_map(Count::Hosts), (0..120_u32).prop_map(Count::Percent)];
    let names = vec(select(vec!["*", "cmp-[0-3]", "cmp-?", "cmp-[13579]"]), 1..3);
    let finish = select(vec![Finish::Enable, Finish::KeepDisabled]);
    (names, ladder(), ladder(), count(), option::of(count()), finish, 0..3_usize).prop_map(
        |(names, gold, rest, max_hosts, first, finish, checks)| {
            let mut one = plan(&[], &rest);
            one.hosts = names.iter().enumerate().map(|(at, &name)| by_name(at, &["cmp-0", name])).collect();
            one.drain.servers.insert(0, rule(0, Some("server.id.startsWith('s1')"), &gold));
            one.waves = Waves { max_hosts, first };
            one.finish = finish;
            let until = Expr::parse("host.service.state == 'up'", Scope::Host).unwrap();
            one.verify = vec![crate::plan::Action::Wait(crate::plan::Wait { until, timeout_s: 1 }); checks];
            one
        },
    )
}

/// Everything a step waits for, directly or not.
fn ancestors<'a>(step: &'a Step, by_id: &HashMap<&str, &'a Step>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Step> = vec![step];
    while let Some(at) = open.pop() {
        for need in &at.needs {
            if found.insert(need.0.as_str()) {
                open.push(by_id[need.0.as_str()]);
            }
        }
    }
    found
}

fn caps(plan: &Plan, selected: usize) -> (usize, usize) {
    let size = |count: Count| match count {
        Count::Hosts(hosts) => (hosts as usize).max(1),
        Count::Percent(percent) => (selected * percent as usize / 100).max(1),
    };
    let most = size(plan.waves.max_hosts);
    (plan.waves.first.map_or(most, size), most)
}

fn check_waves(plan: &Plan, graph: &Graph) {
    let (first, most) = caps(plan, graph.hosts.len());
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for host in &graph.hosts {
        *sizes.entry(host.wave).or_default() += 1;
    }
    assert!(graph.hosts.is_sorted_by_key(|host| host.wave));
    assert_eq!(sizes.keys().copied().collect::<Vec<_>>(), (1..=sizes.len() as u32).collect::<Vec<_>>());
    for (wave, size) in &sizes {
        let cap = if *wave == 1 { first } else { most };
        assert!(*size <= cap, "wave {wave} has {size} of {cap}");
        assert!(*size == cap || *wave as usize == sizes.len(), "wave {wave} is not full");
    }
}

fn check_servers(inventory: &Inventory, graph: &Graph) {
    let selected: BTreeSet<&str> = graph.hosts.iter().map(|host| host.name.as_str()).collect();
    let mut listed: Vec<&str> = graph.servers.iter().map(|server| server.id.as_str()).collect();
    let mut there: Vec<&str> = inventory
        .servers
        .iter()
        .filter(|server| server.host.as_deref().is_some_and(|host| selected.contains(host)))
        .map(|server| server.id.as_str())
        .collect();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there);
    for server in graph.servers.iter().filter(|server| server.ladder.is_empty()) {
        let by_server = |id: &String| id == &server.id;
        let blocked = graph
            .blockers
            .iter()
            .any(|blocker| blocker.host == server.host && blocker.server.as_ref().is_none_or(|(id, _)| by_server(id)));
        assert!(blocked, "{} has no ladder and no blocker", server.id);
    }
    for blocker in &graph.blockers {
        assert!(selected.contains(blocker.host.as_str()));
        assert!(!blocker.cause.is_empty() && !blocker.remedy.is_empty() && !blocker.remedy.ends_with("say "));
    }
}

fn check_steps(graph: &Graph) {
    let by_id: HashMap<&str, &Step> = graph.steps.iter().map(|step| (step.id.0.as_str(), step)).collect();
    let of_wave = |wave: u32| graph.hosts.iter().filter(move |host| host.wave == wave);
    for step in &graph.steps {
        let before = ancestors(step, &by_id);
        for id in &before {
            assert!(by_id[id].wave <= step.wave, "{} needs {id} of a later wave", step.id);
        }
        if step.wave > 1 {
            for host in of_wave(step.wave - 1) {
                let last =
                    format!("{}/{}", host.name, if graph.plan.finish == Finish::Enable { "enable" } else { "empty" });
                assert!(before.contains(last.as_str()), "{} does not wait for {last}", step.id);
            }
        }
        if matches!(step.kind, StepKind::Move { .. } | StepKind::List) {
            for host in of_wave(step.wave) {
                assert!(before.contains(format!("{}/disable", host.name).as_str()), "{} moves too early", step.id);
            }
        }
        if matches!(step.kind, StepKind::Enable) {
            let mine = |other: &&Step| other.host == step.host && other.id != step.id;
            for other in graph.steps.iter().filter(mine) {
                assert!(before.contains(other.id.0.as_str()), "{} does not wait for {}", step.id, other.id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_graph_is_sound(plan in any_plan(), inventory in any_cloud()) {
        let graph = compile(&plan, &inventory, "test").unwrap();
        prop_assert_eq!(graph.check(), Ok(()));
        check_waves(&plan, &graph);
        check_servers(&inventory, &graph);
        check_steps(&graph);
    }

    #[test]
    fn compiling_is_deterministic_and_does_not_depend_on_the_order_of_rows(
        plan in any_plan(), inventory in any_cloud(),
    ) {
        let graph = compile(&plan, &inventory, "test").unwrap();
        let mut turned = inventory;
        turned.hosts.reverse();
        turned.servers.reverse();
        let again = compile(&plan, &turned, "test").unwrap();
        prop_assert_eq!(&graph.id, &again.id);
        prop_assert_eq!(drift(&graph, &again), Vec::<String>::new());
        prop_assert_eq!(Graph::read(&graph.write().unwrap()).unwrap(), graph);
    }
}
