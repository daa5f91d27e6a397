//! That nothing of the originals is left, and everything else is.

use proptest::prelude::*;
use serde_json::Value;

use crate::cloud::Inventory;
use crate::compile::{Graph, StepKind, compile};
use crate::plan::{Plan, Rung};
use crate::rehearse::made_up::{Size, made_up};
use crate::rehearse::{SNAPSHOT_VERSION, Snapshot, SnapshotError};

/// Stands in every name that somebody gave, and in nothing of Nova's.
const MARK: &str = "Zq";

/// Keys whose values are Nova's words, sizes and times.
const NOVAS: [&str; 13] = [
    "read_at",
    "newest",
    "status",
    "state",
    "vm_state",
    "task_state",
    "power_state",
    "kind",
    "policy",
    "created_at",
    "updated_at",
    "version",
    "capabilities",
];

/// Marks every text but Nova's own words, wherever it stands: what is added to an inventory later is marked as well.
fn mark(value: &mut Value) {
    match value {
        Value::String(text) => text.push_str(MARK),
        Value::Array(values) => values.iter_mut().for_each(mark),
        Value::Object(map) => {
            for (key, value) in std::mem::take(map) {
                let mut value = value;
                let properties = matches!(key.as_str(), "metadata" | "extra_specs" | "image_properties");
                if properties && let Value::Object(own) = &mut value {
                    for (own_key, mut own_value) in std::mem::take(own) {
                        let decides = own_key.contains(':') || own_key.starts_with("hw_");
                        if !decides {
                            mark(&mut own_value);
                        }
                        own.insert(if decides { own_key } else { own_key + MARK }, own_value);
                    }
                } else if !NOVAS.contains(&key.as_str()) {
                    mark(&mut value);
                }
                map.insert(key, value);
            }
        }
        _ => {}
    }
}

fn marked(seed: u64, hosts: u32) -> Inventory {
    let plan = plan("[{name: '*'}]");
    let mut inventory = made_up(Size { hosts, servers_per_host: 6 }, seed, Some(&plan)).inventory;
    for (at, server) in inventory.servers.iter_mut().enumerate() {
        match at % 7 {
            0 => drop(server.metadata.insert(format!("owner-{}", seed % 5), format!("team {}", at % 3))),
            1 => server.tags.push(format!("tier-{}", at % 2)),
            2 => server.fault = Some(format!("no route to {}", server.name)),
            3 => drop(server.flavor.extra_specs.insert("accel:device_profile".to_owned(), "1".to_owned())),
            4 => drop(server.flavor.extra_specs.insert("hw:mem_encryption".to_owned(), "True".to_owned())),
            _ => {}
        }
    }
    inventory.hosts[0].service.disabled_reason = Some("furlough 20260101-0000-abcd: secret plan".to_owned());
    if let Some(host) = inventory.hosts.get_mut(1) {
        host.service.disabled_reason = Some("the landlord called".to_owned());
    }
    let gap = crate::cloud::Gap { what: "servers of cell one".to_owned(), host: None, why: "down".to_owned() };
    inventory.gaps.push(gap);
    let mut value = serde_json::to_value(&inventory).unwrap();
    mark(&mut value);
    serde_json::from_value(value).unwrap()
}

fn plan(hosts: &str) -> Plan {
    let text = format!(
        "furlough: 1\nname: all\nhosts: {hosts}\nwaves: {{max_hosts: 2}}\ndrain:\n  servers: [{{ladder: [live, cold]}}]\n"
    );
    crate::plan::parse("test", &text).unwrap()
}

/// Waves of hosts, states and ladders of servers, blockers, steps.
type Shape = (Vec<u32>, Vec<(String, Vec<Rung>)>, Vec<String>, Vec<String>);

/// What a graph does, without a name.
fn shape(graph: &Graph) -> Shape {
    let kind = |kind: &StepKind| match kind {
        StepKind::Move { ladder, .. } => format!("move {ladder:?}"),
        StepKind::Start { .. } => "start".to_owned(),
        other => format!("{other:?}"),
    };
    (
        graph.hosts.iter().map(|host| host.wave).collect(),
        graph.servers.iter().map(|server| (server.status.to_string(), server.ladder.clone())).collect(),
        graph.blockers.iter().map(|blocker| format!("{:?} {}", blocker.code, blocker.server.is_some())).collect(),
        graph.steps.iter().map(|step| format!("{} {} {}", step.wave, kind(&step.kind), step.needs.len())).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_the_originals_is_left_and_the_shape_is(seed: u64, hosts in 2_u32..30) {
        let original = marked(seed, hosts);
        let text = Snapshot::new("prodZq", original.clone()).write().unwrap();
        prop_assert!(text.matches(MARK).count() > 10);
        let snapshot = Snapshot::new("prodZq", original.clone()).anonymous();
        let text = snapshot.write().unwrap();
        prop_assert!(!text.contains(MARK), "{}", text.lines().find(|line| line.contains(MARK)).unwrap());
        prop_assert_eq!(&Snapshot::read(&text).unwrap(), &snapshot);
        let plan = plan("[{name: '*'}]");
        let one = compile(&plan, &original, "one").unwrap();
        let other = compile(&plan, &snapshot.inventory, "other").unwrap();
        prop_assert_eq!(shape(&one), shape(&other));
    }
}

#[test]
fn the_same_name_becomes_the_same_everywhere() {
    let original = marked(7, 12);
    let hidden = crate::rehearse::anonymous(&original);
    for (before, after) in original.servers.iter().zip(&hidden.servers) {
        let host = |inventory: &Inventory, name: &Option<String>| {
            inventory.hosts.iter().position(|host| Some(&host.name) == name.as_ref())
        };
        assert_eq!(host(&original, &before.host), host(&hidden, &after.host));
    }
    let members = |inventory: &Inventory| {
        let at = |id: &String| inventory.servers.iter().position(|server| server.id == *id).unwrap();
        inventory.groups.iter().map(|group| group.members.iter().map(at).collect()).collect::<Vec<Vec<usize>>>()
    };
    assert_eq!(members(&original), members(&hidden));
    assert!(!members(&hidden).is_empty());
}

#[test]
fn a_newer_snapshot_is_refused_by_name_and_what_is_none_is_told() {
    let text = Snapshot::new("prod", marked(1, 2)).write().unwrap();
    let newer = text.replacen(
        &format!("\"furlough_snapshot\": {SNAPSHOT_VERSION}"),
        &format!("\"furlough_snapshot\": {}, \"more\": 1", SNAPSHOT_VERSION + 1),
        1,
    );
    assert!(matches!(Snapshot::read(&newer), Err(SnapshotError::Newer { found: 2 })));
    assert!(matches!(Snapshot::read("{}"), Err(SnapshotError::Foreign)));
    assert!(matches!(Snapshot::read("[]"), Err(SnapshotError::Damaged { .. })));
    let cut = text.replacen("\"zone\"", "\"zoen\"", 1);
    let Err(SnapshotError::Damaged { why }) = Snapshot::read(&cut) else { panic!("read") };
    assert!(why.contains("inventory.hosts[0].service"), "{why}");
}
