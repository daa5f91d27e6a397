//! Which hosts, in which order, and what stands in the way of one.

use super::*;
use crate::cloud::Gap;
use crate::compile::{Blocker, BlockerCode, CompileError, Graph, compile};
use Rung::{Leave, Live, Stop};

const FIVE: [&str; 5] = ["cmp-1", "cmp-2", "cmp-3", "gpu-1", "gpu-2"];

fn names(graph: &Graph) -> Vec<&str> {
    graph.hosts.iter().map(|host| host.name.as_str()).collect()
}

/// The blockers of `cmp-1` of three hosts, with one server to be moved.
fn blockers(change: impl FnOnce(&mut Inventory)) -> Vec<Blocker> {
    let mut inventory = cloud(&["cmp-1", "cmp-2", "cmp-3"], vec![server("a", "cmp-1")]);
    change(&mut inventory);
    compile(&plan(&["cmp-1"], &[Live]), &inventory, "test").unwrap().blockers
}

fn codes(blockers: &[Blocker]) -> Vec<BlockerCode> {
    blockers.iter().map(|blocker| blocker.code).collect()
}

#[test]
fn entries_add_up_in_their_order_and_each_host_comes_once() {
    let mut both = plan(&["gpu-*"], &[Live]);
    both.hosts.push(by_name(1, &["*-1", "cmp-3"]));
    both.exclude.push(HostSelector { at: "exclude[0]".to_owned(), ..by_name(0, &["gpu-2"]) });
    let mut inventory = cloud(&FIVE, vec![]);
    inventory.hosts.reverse();
    assert_eq!(names(&compile(&both, &inventory, "test").unwrap()), ["gpu-1", "cmp-1", "cmp-3"]);
}

#[test]
fn every_key_of_an_entry_has_to_match() {
    let mut inventory = cloud(&FIVE, vec![server("a", "cmp-2")]);
    inventory.hosts[1].service.zone = "az2".to_owned();
    inventory.hosts[2].service.zone = "az2".to_owned();
    let mut keyed = plan(&["cmp-*"], &[Live]);
    keyed.hosts[0].zone = Some("az2".to_owned());
    keyed.hosts[0].aggregate = Some("rack-1".to_owned());
    assert_eq!(names(&compile(&keyed, &inventory, "test").unwrap()), ["cmp-2", "cmp-3"]);
    keyed.hosts[0].when = Some(Expr::parse("host.servers == 0", Scope::Host).unwrap());
    assert_eq!(names(&compile(&keyed, &inventory, "test").unwrap()), ["cmp-3"]);
}

#[test]
fn an_entry_without_a_host_names_the_nearest() {
    let inventory = cloud(&FIVE, vec![]);
    let with = |change: fn(&mut HostSelector)| {
        let mut wrong = plan(&["gpu-1"], &[Live]);
        let mut entry = HostSelector { at: "hosts[1]".to_owned(), ..by_name(1, &[]) };
        change(&mut entry);
        wrong.hosts.push(entry);
        compile(&wrong, &inventory, "test").unwrap_err().to_string()
    };
    let rows = [
        (with(|entry| entry.zone = Some("az11".to_owned())), "hosts[1]: zone `az11`", "`az1`"),
        (with(|entry| entry.aggregate = Some("rack1".to_owned())), "hosts[1]: aggregate `rack1`", "`rack-1`"),
        (with(|entry| entry.name = by_name(1, &["cmp1", "gpu-*"]).name), "hosts[1]: name `cmp1`", "`cmp-1`"),
        (with(|entry| entry.name = by_name(1, &["zzz*"]).name), "hosts[1]: name `zzz*` matches no host", ""),
        (
            with(|entry| entry.when = Some(Expr::parse("host.servers > 3", Scope::Host).unwrap())),
            "hosts[1]: `host.servers > 3` matches no host of this cloud",
            "",
        ),
    ];
    for (error, start, nearest) in rows {
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains(nearest), "{error}");
    }
}

#[test]
fn globs_and_exclusions_without_a_host_are_said() {
    let mut loose = plan(&["cmp-1", "arm-*"], &[Live]);
    loose.exclude.push(HostSelector { at: "exclude[0]".to_owned(), ..by_name(0, &["cmp-9"]) });
    loose.exclude.push(HostSelector { at: "exclude[1]".to_owned(), ..by_name(0, &["cmp-2", "cmp-8"]) });
    let graph = compile(&loose, &cloud(&FIVE, vec![]), "test").unwrap();
    let starts = ["exclude[0]: name `cmp-9`", "exclude[1]: name `cmp-8`", "hosts[0]: name `arm-*`"];
    assert_eq!(graph.gaps.len(), starts.len());
    for (gap, start) in graph.gaps.iter().zip(starts) {
        assert!(gap.starts_with(start), "{gap}");
    }
}

#[test]
fn a_plan_that_excludes_all_it_selects_is_an_error() {
    let mut none = plan(&["cmp-1"], &[Live]);
    none.exclude.push(by_name(0, &["cmp-*"]));
    assert_eq!(compile(&none, &cloud(&FIVE, vec![]), "test").unwrap_err(), CompileError::AllExcluded);
}

#[test]
fn a_condition_that_fails_names_entry_and_host() {
    let mut wrong = plan(&[], &[Live]);
    wrong.hosts[0].when = Some(Expr::parse("host.vcpus > 1", Scope::Host).unwrap());
    let mut inventory = cloud(&FIVE, vec![]);
    inventory.hosts[3].hypervisors[0].vcpus = None;
    let error = compile(&wrong, &inventory, "test").unwrap_err().to_string();
    assert!(error.starts_with("hosts[0]: `host.vcpus > 1`") && error.contains("host gpu-1"), "{error}");
}

#[test]
fn service_states_block() {
    assert_eq!(blockers(|_| {}), []);
    type Row = (fn(&mut Inventory), BlockerCode);
    let rows: [Row; 7] = [
        (|cloud| cloud.hosts[0].service.state = ServiceState::Down, BlockerCode::HostDown),
        (|cloud| cloud.hosts[0].service.forced_down = Some(true), BlockerCode::HostDown),
        (|cloud| cloud.hosts[0].service.state = ServiceState::Unknown, BlockerCode::NotVisible),
        (|cloud| cloud.hosts[0].service.status = ServiceStatus::Unknown, BlockerCode::NotVisible),
        (
            |cloud| {
                let host = Some("cmp-1".to_owned());
                cloud.gaps = vec![Gap { what: "servers".to_owned(), host, why: "cell down".to_owned() }];
            },
            BlockerCode::NotVisible,
        ),
        (
            |cloud| {
                cloud.hosts[0].service.status = ServiceStatus::Disabled;
                cloud.hosts[0].service.disabled_reason = Some("furlough 0198: kernel".to_owned());
            },
            BlockerCode::HeldByRun,
        ),
        (|cloud| cloud.hosts[0].hypervisors[0].kind = "ironic".to_owned(), BlockerCode::HypervisorUnsupported),
    ];
    for (change, code) in rows {
        let found = blockers(change);
        assert_eq!(found[0].code, code, "{found:?}");
        assert_eq!((found[0].host.as_str(), &found[0].server), ("cmp-1", &None));
    }
}

#[test]
fn a_host_that_someone_else_disabled_keeps_its_reason() {
    let mut inventory = cloud(&["cmp-1", "cmp-2"], vec![]);
    inventory.hosts[0].service.status = ServiceStatus::Disabled;
    inventory.hosts[0].service.disabled_reason = Some("fan broken".to_owned());
    let graph = compile(&plan(&["cmp-*"], &[Live]), &inventory, "test").unwrap();
    assert_eq!(graph.blockers, []);
    assert_eq!(graph.hosts[0].disabled_before.as_deref(), Some("fan broken"));
    assert_eq!(graph.hosts[1].disabled_before, None);
}

#[test]
fn migrations_of_others_block_the_hosts_they_touch() {
    use MigrationStatus::{Completed, Confirming, Finished, Running};
    let elsewhere = |status: ServerStatus, task: Option<&str>| Server {
        status,
        task_state: task.map(str::to_owned),
        ..server("b", "cmp-2")
    };
    let rows = [
        (Finished, "cmp-1", elsewhere(ServerStatus::VerifyResize, None), vec![BlockerCode::ForeignResize]),
        (Confirming, "cmp-1", elsewhere(ServerStatus::VerifyResize, None), vec![BlockerCode::ForeignResize]),
        (Running, "cmp-1", elsewhere(ServerStatus::Migrating, Some("migrating")), vec![BlockerCode::ForeignMigration]),
        (Completed, "cmp-1", elsewhere(ServerStatus::Active, None), vec![]),
        (Running, "cmp-3", elsewhere(ServerStatus::Migrating, Some("migrating")), vec![]),
        // A record that its server shows nothing of is a leftover.
        (Running, "cmp-1", elsewhere(ServerStatus::Active, None), vec![]),
        (Finished, "cmp-1", elsewhere(ServerStatus::Active, None), vec![]),
    ];
    for (status, from, moved, expected) in rows {
        let found = blockers(|cloud| {
            cloud.migrations = vec![migration(3, "b", status.clone(), from, "cmp-2")];
            cloud.servers.push(moved.clone());
        });
        assert_eq!(codes(&found), expected, "{status} from {from}, {}", moved.status);
    }
    // Towards the host, and of a server that the reading does not have.
    let found = blockers(|cloud| cloud.migrations = vec![migration(3, "b", Running, "cmp-2", "cmp-1")]);
    assert_eq!(codes(&found), [BlockerCode::ForeignMigration]);
    assert!(found[0].cause.contains("coming to it by migration 3"));
}

#[test]
fn a_wave_without_any_destination_says_so_once_for_each_host() {
    let servers = vec![server("a", "cmp-1"), server("b", "cmp-1"), server("c", "cmp-2")];
    let mut inventory = cloud(&["cmp-1", "cmp-2", "cmp-3"], servers);
    inventory.hosts[2].service.status = ServiceStatus::Disabled;
    let mut all = plan(&["cmp-[12]"], &[Live]);
    all.waves.max_hosts = Count::Percent(100);
    let graph = compile(&all, &inventory, "test").unwrap();
    assert_eq!(codes(&graph.blockers), [BlockerCode::NoDestination; 2]);
    assert!(graph.blockers[0].server.is_none() && graph.blockers[0].cause.starts_with("2 of its servers"));

    // Where every server stays, none is needed.
    for ladder in [[Leave], [Stop]] {
        all.drain.servers = vec![rule(0, None, &ladder)];
        assert_eq!(compile(&all, &inventory, "test").unwrap().blockers, []);
    }
    // One after another, each is the other's destination; unless they stay out.
    all.drain.servers = vec![rule(0, None, &[Live])];
    all.waves.max_hosts = Count::Hosts(1);
    assert_eq!(compile(&all, &inventory, "test").unwrap().blockers, []);
    all.finish = Finish::KeepDisabled;
    let graph = compile(&all, &inventory, "test").unwrap();
    assert_eq!(codes(&graph.blockers), [BlockerCode::NoDestination]);
    assert_eq!(graph.blockers[0].host, "cmp-2");
}

#[test]
fn only_hosts_that_the_scheduler_takes_are_destinations() {
    let unfit: [fn(&mut Host); 5] = [
        |host| host.service.status = ServiceStatus::Disabled,
        |host| host.service.status = ServiceStatus::Unknown,
        |host| host.service.state = ServiceState::Down,
        |host| host.service.forced_down = Some(true),
        |host| host.hypervisors[0].kind = "ironic".to_owned(),
    ];
    for change in unfit {
        let found = blockers(|cloud| {
            change(&mut cloud.hosts[1]);
            change(&mut cloud.hosts[2]);
        });
        assert_eq!(codes(&found), [BlockerCode::NoDestination]);
    }
}
