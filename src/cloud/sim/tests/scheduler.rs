//! Where servers may go.

use super::super::scheduler::extra_spec_matches;
use super::*;
use crate::cloud::fixture::group;
use crate::cloud::{Aggregate, GroupPolicy};

async fn went(sim: &Sim, id: &str) -> Option<String> {
    sim.ask(&live(id)).await.unwrap();
    pass(120).await;
    let now = row(sim, id);
    assert!(now.is_idle(), "{now:?}");
    now.host.filter(|host| host != "h1")
}

#[tokio::test(start_paused = true)]
async fn disabled_and_down_hosts_are_never_chosen() {
    let sim = start(scene(NEWEST, &["h1", "h2", "h3"], vec![server("s1", "h1")]));
    sim.ask(&disable("h2")).await.unwrap();
    sim.happen(Happening::ForcedDown { host: "h3".into(), down: true });
    assert_eq!(went(&sim, "s1").await, None);
    // A chosen host is validated just the same from 2.30 on.
    sim.ask(&live_to("s1", "h2")).await.unwrap();
    pass(60).await;
    assert_eq!(record(&sim, "s1").status, MigrationStatus::Error);
    let unknown = sim.ask(&live_to("s1", "nosuch")).await.unwrap_err().to_string();
    assert!(unknown.contains("Compute host nosuch could not be found."), "{unknown}");
    sim.happen(Happening::ForcedDown { host: "h3".into(), down: false });
    assert_eq!(went(&sim, "s1").await.as_deref(), Some("h3"));
}

#[tokio::test(start_paused = true)]
async fn memory_limits_and_is_doubled_during_a_move() {
    let big = |id: &str, host: &str| {
        let mut row = server(id, host);
        row.flavor.memory_mib = 30 * 1024;
        row
    };
    // 64 GiB, 512 MiB kept: two of them fit, not three.
    let rows = vec![big("a", "h1"), big("b", "h1"), big("c", "h2")];
    let mut it = scene(NEWEST, &["h1", "h2"], rows);
    it.inventory.hosts[1].hypervisors[0].memory_used_mib = Some(30 * 1024 + 512);
    let sim = start(it);
    sim.ask(&cold("a")).await.unwrap();
    pass(60).await;
    assert_eq!(row(&sim, "a").status, ServerStatus::VerifyResize);
    assert_eq!(went(&sim, "b").await, None, "no room");
    // The other way round: h1 still holds what `a` may be reverted to.
    let used = Cloud::inventory(&*sim).await.unwrap().hosts[0].hypervisors[0].memory_used_mib;
    assert_eq!(used, Some(60 * 1024));
    sim.ask(&confirm("a")).await.unwrap();
    pass(10).await;
    sim.ask(&live("c")).await.unwrap();
    pass(120).await;
    assert_eq!(row(&sim, "c").host.as_deref(), Some("h1"));
}

#[tokio::test(start_paused = true)]
async fn pinned_zones_hold_even_where_they_are_not_shown() {
    let pinned = Server { pinned_zone: Some("az1".into()), ..server("s1", "h1") };
    let mut it = scene(79, &["h1", "h2", "h3"], vec![pinned]);
    for (host, zone) in it.inventory.hosts.iter_mut().zip(["az1", "az2", "az1"]) {
        host.service.zone = zone.into();
    }
    let sim = start(it);
    assert_eq!(sim.server("s1").await.unwrap().unwrap().pinned_zone, None, "2.96 shows it");
    assert_eq!(went(&sim, "s1").await.as_deref(), Some("h3"));
    assert_eq!(row(&sim, "s1").zone.as_deref(), Some("az1"));
}

#[tokio::test(start_paused = true)]
async fn extra_specs_are_matched_against_aggregates() {
    let mut picky = server("s1", "h1");
    picky.flavor.extra_specs =
        [("aggregate_instance_extra_specs:ssd", "true"), ("trait:CUSTOM_FAST", "required"), ("hw:x", "y")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let mut it = scene(NEWEST, &["h1", "h2", "h3", "h4"], vec![picky]);
    let aggregate = |name: &str, hosts: &[&str], key: &str, value: &str| Aggregate {
        name: name.into(),
        zone: None,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        metadata: [(key.to_owned(), value.to_owned())].into(),
    };
    it.inventory.aggregates = vec![
        aggregate("ssd", &["h1", "h2", "h4"], "ssd", "false, true"),
        aggregate("fast", &["h3", "h4"], "trait:CUSTOM_FAST", "required"),
    ];
    for host in &mut it.inventory.hosts {
        let of = it.inventory.aggregates.iter().filter(|aggregate| aggregate.hosts.contains(&host.name));
        host.aggregates = of.map(|aggregate| aggregate.name.clone()).collect();
    }
    assert_eq!(went(&start(it), "s1").await.as_deref(), Some("h4"));
}

#[test]
fn operators_of_extra_specs() {
    for (value, wanted, matches) in [
        ("true", "true", true),
        ("3", ">= 2", true),
        ("1", "= 2", false),
        ("2", "== 2.0", true),
        ("b", "<or> a <or> b", true),
        ("c", "<or> a <or> b", false),
        ("abc", "<in> b", true),
        ("a b", "<all-in> a c", false),
        ("x", "s== x", true),
        ("x", "s!= x", false),
        ("12311321", "<in> 11", true),
    ] {
        assert_eq!(extra_spec_matches(value, wanted), matches, "{value} {wanted}");
    }
}

#[tokio::test(start_paused = true)]
async fn anti_affinity_holds_and_affinity_cannot_be_drained() {
    let rows = vec![server("a", "h1"), server("b", "h2")];
    let mut it = scene(NEWEST, &["h1", "h2", "h3"], rows.clone());
    it.inventory.groups = vec![group(GroupPolicy::AntiAffinity, &["a", "b"])];
    assert_eq!(went(&start(it), "a").await.as_deref(), Some("h3"));
    let mut it = scene(NEWEST, &["h1", "h2", "h3"], vec![server("a", "h1"), server("b", "h1")]);
    it.inventory.groups = vec![group(GroupPolicy::Affinity, &["a", "b"])];
    assert_eq!(went(&start(it), "a").await, None);
}

#[tokio::test(start_paused = true)]
async fn two_of_a_group_that_race_for_one_host_end_badly() {
    // Release note bug-1821755: from Xena the destination checks once more, and the conductor does not expect it.
    let mut it = scene(NEWEST, &["h1", "h2", "h3"], vec![server("a", "h1"), server("b", "h2")]);
    it.inventory.groups = vec![group(GroupPolicy::AntiAffinity, &["a", "b"])];
    let sim = start(it.clone());
    sim.ask(&live("a")).await.unwrap();
    sim.ask(&live("b")).await.unwrap();
    pass(120).await;
    let on: Vec<_> = ["a", "b"].map(|id| (row(&sim, id).status, row(&sim, id).host.unwrap())).into();
    assert_eq!(on.iter().filter(|(status, _)| *status == ServerStatus::Error).count(), 1, "{on:?}");
    assert_ne!(on[0].1, on[1].1);
    // Before it, both arrive.
    it.inventory.capabilities.newest = Microversion::v2(79);
    let sim = start(it);
    sim.ask(&live("a")).await.unwrap();
    sim.ask(&live("b")).await.unwrap();
    pass(120).await;
    assert_eq!((row(&sim, "a").host.as_deref(), row(&sim, "b").host.as_deref()), (Some("h3"), Some("h3")));
}

#[tokio::test(start_paused = true)]
async fn load_is_spread() {
    let rows: Vec<Server> = (0..6).map(|n| server(&format!("s{n}"), "h1")).collect();
    let sim = start(scene(NEWEST, &["h1", "h2", "h3", "h4"], rows));
    for n in 0..6 {
        sim.ask(&live(&format!("s{n}"))).await.unwrap();
    }
    pass(300).await;
    let mut on: BTreeMap<String, u32> = BTreeMap::new();
    for row in sim.servers() {
        *on.entry(row.host.unwrap()).or_default() += 1;
    }
    assert_eq!(on, BTreeMap::from([("h2".into(), 2), ("h3".into(), 2), ("h4".into(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn an_older_hypervisor_is_passed_over() {
    let mut it = scene(NEWEST, &["h1", "h2", "h3"], vec![server("s1", "h1")]);
    it.inventory.hosts[1].hypervisors[0].version = Some(6_000_000);
    assert_eq!(went(&start(it), "s1").await.as_deref(), Some("h3"));
}
