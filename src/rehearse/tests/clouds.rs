//! Made-up clouds: any plan can be run there, and the same is made up every time.

use proptest::prelude::*;

use crate::cloud::Inventory;
use crate::compile::{Graph, compile};
use crate::plan::Plan;
use crate::rehearse::made_up::{MadeUp, Size, made_up};

const USUAL: Size = Size { hosts: 40, servers_per_host: 20 };

fn plan(text: &str) -> Plan {
    crate::plan::parse("test", &format!("furlough: 1\nname: test\n{text}")).unwrap()
}

fn graph(plan: &Plan, made: &MadeUp) -> Graph {
    let graph = compile(plan, &made.inventory, "made-up").unwrap();
    assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
    graph
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.hosts.iter().map(|host| host.name.as_str()).collect()
}

#[test]
fn every_playbook_can_be_run_on_a_cloud_made_up_for_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let plan = crate::plan::parse("playbook", &std::fs::read_to_string(&path).unwrap()).unwrap();
        for size in [Size { hosts: 3, servers_per_host: 1 }, USUAL, Size { hosts: 130, servers_per_host: 7 }] {
            let made = made_up(size, 1, Some(&plan));
            assert!(!graph(&plan, &made).steps.is_empty(), "{}", path.display());
            assert_eq!(made.inventory.hosts.len(), size.hosts as usize);
        }
    }
}

#[test]
fn what_a_plan_names_is_there() {
    let rows: [(&str, &[&str]); 9] = [
        ("hosts: [{name: node7}]", &["node7"]),
        ("hosts: [{name: [db1, db2]}, {name: cmp-03}]", &["db1", "db2", "cmp-03"]),
        ("hosts: [{name: 'gpu-[0-2]'}]", &["gpu-0", "gpu-1", "gpu-2"]),
        (
            "hosts: [{name: '{x,y}-0?'}]",
            &["x-00", "x-01", "x-02", "x-03", "x-04", "y-00", "y-01", "y-02", "y-03", "y-04"],
        ),
        (
            "hosts: [{aggregate: gold, name: cmp-1?}]",
            &["cmp-10", "cmp-11", "cmp-12", "cmp-13", "cmp-14", "cmp-15", "cmp-16", "cmp-17", "cmp-18", "cmp-19"],
        ),
        (
            "hosts: [{zone: berlin, name: 'b*'}]",
            &["b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b09", "b10"],
        ),
        (
            "hosts: [{aggregate: rack-a, zone: mars}]",
            &["cmp-01", "cmp-02", "cmp-03", "cmp-04", "cmp-05", "cmp-06", "cmp-07", "cmp-08", "cmp-09", "cmp-10"],
        ),
        ("hosts: [{name: '[!a-y]1'}]", &["01", "11", "21", "31", "41", "51", "61", "71", "81", "91"]),
        ("hosts: [{name: 'cmp-0[12]'}]\nexclude: [{name: cmp-02}, {aggregate: old}]", &["cmp-01"]),
    ];
    for (text, expected) in rows {
        let plan = plan(text);
        let made = made_up(USUAL, 1, Some(&plan));
        assert_eq!(names(&graph(&plan, &made)), expected, "{text}");
        assert_eq!(made.inventory.hosts.len(), 40, "{text}");
    }
}

#[test]
fn servers_have_what_the_rules_ask_for_and_are_plain_where_there_is_no_method() {
    let plan = plan(
        "hosts: [{name: '*'}]\ndrain:\n  servers:\n    - where: server.metadata[\"evacuation\"] == \"stop\" || 'pet' in \
         server.tags\n      ladder: [stop]\n    - ladder: [live]\n",
    );
    let made = made_up(USUAL, 3, Some(&plan));
    let graph = graph(&plan, &made);
    let stopped = graph.servers.iter().filter(|server| server.why.contains("drain.servers[0]")).count();
    assert!((20..200).contains(&stopped), "{stopped}");
    let said = made.said.join("\n");
    for words in ["metadata evacuation=stop", "tag pet", "made plain", "40 hosts and 800 servers, 2 zones and"] {
        assert!(said.contains(words), "{words} in {said}");
    }
}

#[test]
fn a_host_is_never_more_than_half_full_and_its_rows_add_up() {
    let made = made_up(USUAL, 5, None);
    for host in &made.inventory.hosts {
        let row = &host.hypervisors[0];
        let own: u64 = made.inventory.servers_on(&host.name).map(|server| server.flavor.memory_mib).sum();
        assert_eq!(row.memory_used_mib, Some(own + 512));
        assert!(row.memory_used_mib.unwrap() * 10 <= row.memory_mib.unwrap() * 6, "{row:?}");
        assert!(row.vcpus_used.unwrap() <= row.vcpus.unwrap() * 2, "{row:?}");
        for name in &host.aggregates {
            let aggregate = made.inventory.aggregates.iter().find(|aggregate| aggregate.name == *name).unwrap();
            assert!(aggregate.hosts.contains(&host.name));
        }
    }
    let count = |test: fn(&crate::cloud::Server) -> bool| made.inventory.servers.iter().filter(|row| test(row)).count();
    assert!((30..120).contains(&count(|row| row.status == crate::cloud::ServerStatus::Shutoff)));
    assert!(count(|row| row.status == crate::cloud::ServerStatus::Paused) > 0);
    assert!(count(|row| row.locked == Some(true)) > 0);
    assert!((250..400).contains(&count(|row| row.image.is_none())));
    assert!(made.inventory.groups.len() > 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_size_and_seed_make_a_sound_cloud(seed: u64, hosts in 2_u32..60, per_host in 0_u32..12) {
        let plan = plan("hosts: [{name: '*'}]\nwaves: {max_hosts: 1}\n");
        let made = made_up(Size { hosts, servers_per_host: per_host }, seed, Some(&plan));
        prop_assert_eq!(&made, &made_up(Size { hosts, servers_per_host: per_host }, seed, Some(&plan)));
        let Inventory { hosts: rows, servers, .. } = &made.inventory;
        prop_assert_eq!(servers.len(), (hosts * per_host) as usize);
        prop_assert!(rows.windows(2).all(|two| two[0].name < two[1].name));
        let graph = compile(&plan, &made.inventory, "made-up").unwrap();
        prop_assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
    }

    /// A glob that a plan may have makes names that it matches, or none.
    #[test]
    fn any_glob_is_survived(text in "[a-c*?,{}!\\[\\]\\\\0-9-]{1,12}") {
        if crate::plan::Pattern::parse(&text).is_ok() {
            let quoted = serde_json::to_string(&text).unwrap();
            let plan = plan(&format!("hosts: [{{name: {quoted}}}]\n"));
            let made = made_up(Size { hosts: 4, servers_per_host: 1 }, 1, Some(&plan));
            prop_assert!(made.inventory.hosts.len() >= 4);
        }
    }
}
