//! What becomes of one server, row by row.

use super::*;
use crate::compile::{Blocker, BlockerCode, ServerPlan, compile};
use Rung::{Cold, Leave, Live, Stop};

/// The fate of `server`, on `cmp-1` of three hosts.
fn fate_in(server: Server, ladder: &[Rung], change: impl FnOnce(&mut Inventory)) -> (ServerPlan, Vec<Blocker>) {
    let mut inventory = cloud(&["cmp-1", "cmp-2", "cmp-3"], vec![server]);
    change(&mut inventory);
    let graph = compile(&plan(&["cmp-1"], ladder), &inventory, "test").unwrap();
    (graph.servers[0].clone(), graph.blockers)
}

fn fate(server: Server, ladder: &[Rung]) -> (ServerPlan, Vec<Blocker>) {
    fate_in(server, ladder, |_| {})
}

#[test]
fn each_working_state_keeps_the_rungs_that_nova_allows() {
    let running = |status| Server { status, ..server("a", "cmp-1") };
    let rows = [
        (running(ServerStatus::Active), vec![Live, Cold, Stop]),
        (off("a", "cmp-1"), vec![Cold, Stop]),
        (Server { power_state: PowerState::Paused, ..running(ServerStatus::Paused) }, vec![Live]),
        (Server { power_state: PowerState::Shutdown, ..running(ServerStatus::Active) }, vec![Cold, Stop]),
        (Server { power_state: PowerState::Unknown, ..running(ServerStatus::Active) }, vec![Live, Cold, Stop]),
    ];
    for (server, expected) in rows {
        let (row, blockers) = fate(server.clone(), &[Live, Cold, Stop]);
        assert_eq!(row.ladder, expected, "{} {:?}", server.status, server.power_state);
        assert_eq!(blockers, []);
        for ruled_out in [Live, Cold, Stop].iter().filter(|rung| !expected.contains(rung)) {
            let (row, blockers) = fate(server.clone(), &[*ruled_out]);
            assert!(row.ladder.is_empty());
            assert_eq!(blockers[0].code, BlockerCode::ServerState, "{} {ruled_out:?}", server.status);
        }
    }
}

#[test]
fn each_other_state_blocks_or_stays() {
    use BlockerCode::{ForeignResize, NotVisible, ServerBusy, ServerState};
    let rows = [
        (ServerStatus::Suspended, ServerState, "resume"),
        (ServerStatus::Rescue, ServerState, "unrescue"),
        (ServerStatus::VerifyResize, ForeignResize, "confirm"),
        (ServerStatus::Shelved, ServerState, "offload"),
        (ServerStatus::ShelvedOffloaded, ServerBusy, "wait"),
        (ServerStatus::SoftDeleted, ServerState, "restore a"),
        (ServerStatus::Error, ServerState, "--state active a"),
        (ServerStatus::Build, ServerBusy, "wait"),
        (ServerStatus::Unknown, NotVisible, "cell"),
        (ServerStatus::HardReboot, ServerBusy, "wait"),
        (ServerStatus::Migrating, ServerBusy, "wait"),
        (ServerStatus::Password, ServerBusy, "wait"),
        (ServerStatus::Reboot, ServerBusy, "wait"),
        (ServerStatus::Rebuild, ServerBusy, "wait"),
        (ServerStatus::Resize, ServerBusy, "wait"),
        (ServerStatus::RevertResize, ServerBusy, "wait"),
        (ServerStatus::Other("FROZEN".to_owned()), ServerState, "newer"),
    ];
    for (status, code, remedy) in rows {
        let one = Server { status: status.clone(), ..server("a", "cmp-1") };
        let (row, blockers) = fate(one.clone(), &[Live, Cold, Stop]);
        assert!(row.ladder.is_empty(), "{status}");
        assert_eq!(blockers.len(), 1, "{status}");
        assert_eq!(blockers[0].code, code, "{status}");
        assert!(blockers[0].remedy.contains(remedy), "{status}: {}", blockers[0].remedy);
        assert!(blockers[0].cause.contains(status.as_str()), "{status}: {}", blockers[0].cause);

        let (row, blockers) = fate(one, &[Live, Leave]);
        assert_eq!((row.ladder, blockers), (vec![Leave], vec![]), "{status}");
        assert!(row.why.contains("it stays, because"), "{status}: {}", row.why);
    }
}

#[test]
fn an_error_repeats_what_nova_says() {
    let broken = Server { status: ServerStatus::Error, fault: Some("disk full".to_owned()), ..server("a", "cmp-1") };
    assert!(fate(broken, &[Live]).1[0].cause.contains("Nova says: disk full"));
}

#[test]
fn a_task_blocks_whatever_the_status_says() {
    for task in ["image_snapshot", "powering-off", "soft-deleting", "migrating"] {
        let (row, blockers) = fate(Server { task_state: Some(task.to_owned()), ..server("a", "cmp-1") }, &[Live]);
        assert!(row.ladder.is_empty());
        assert_eq!(blockers[0].code, BlockerCode::ServerBusy);
        assert!(blockers[0].cause.contains(task));
    }
}

#[test]
fn a_server_that_is_being_deleted_goes_by_itself() {
    let going = Server { task_state: Some("deleting".to_owned()), ..off("a", "cmp-1") };
    let (row, blockers) = fate(going, &[Live, Cold]);
    assert_eq!((row.ladder, blockers), (vec![Live, Cold], vec![]));
}

#[test]
fn someone_elses_live_migration_is_named() {
    let moving =
        Server { status: ServerStatus::Migrating, task_state: Some("migrating".to_owned()), ..server("a", "cmp-1") };
    let (_, blockers) = fate_in(moving, &[Live], |inventory| {
        let old = migration(6, "a", MigrationStatus::Queued, "cmp-1", "cmp-3");
        let newest = migration(7, "a", MigrationStatus::Running, "cmp-1", "cmp-2");
        let ended = migration(8, "a", MigrationStatus::Failed, "cmp-1", "cmp-3");
        inventory.migrations = vec![old.clone(), newest, ended, old];
    });
    assert_eq!(blockers.len(), 1);
    assert_eq!(blockers[0].code, BlockerCode::ForeignMigration);
    assert!(blockers[0].cause.contains("migration 7") && blockers[0].cause.contains("towards cmp-2"));
}

#[test]
fn locked_is_said_and_does_not_block() {
    let (row, blockers) = fate(Server { locked: Some(true), ..server("a", "cmp-1") }, &[Live]);
    assert_eq!((row.ladder, blockers), (vec![Live], vec![]));
    assert!(row.why.contains("locked"));
}

/// One row of the table of devices and settings: the newest 2.x, flavor extra specs, and what of the ladder remains.
#[test]
fn each_condition_rules_out_its_rungs_on_its_releases() {
    let all = vec![Live, Cold, Stop];
    type Row = (u16, &'static [(&'static str, &'static str)], Vec<Rung>);
    let rows: Vec<Row> = vec![
        (96, &[("accel:device_profile", "fpga")], vec![Stop]),
        (104, &[("hw:mem_encryption", "True")], vec![Cold, Stop]),
        (104, &[("hw:mem_encryption", "false")], all.clone()),
        (100, &[("hw:tpm_version", "2.0")], vec![]),
        (100, &[("hw:tpm_version", "2.0"), ("hw:tpm_secret_security", "host")], vec![]),
        (103, &[("hw:tpm_version", "2.0"), ("hw:tpm_secret_security", "host")], all.clone()),
        (103, &[("hw:tpm_version", "2.0"), ("hw:tpm_secret_security", "deployment")], vec![Cold, Stop]),
        (103, &[("hw:tpm_version", "2.0"), ("hw:tpm_secret_security", "user")], vec![]),
        (96, &[("pci_passthrough:alias", "a1:1")], vec![Cold, Stop]),
        (100, &[("pci_passthrough:alias", "a1:1")], all.clone()),
        (72, &[("hw:numa_nodes", "2")], vec![Cold, Stop]),
        (72, &[("hw:cpu_policy", "dedicated")], vec![Cold, Stop]),
        (72, &[("hw:cpu_policy", "shared")], all.clone()),
        (72, &[("hw:mem_page_size", "large")], vec![Cold, Stop]),
        (65, &[("hw:cpu_realtime", "yes")], vec![Cold, Stop]),
        (79, &[("hw:cpu_policy", "dedicated")], all.clone()),
        (79, &[("resources:VGPU", "1")], vec![Stop]),
        (87, &[("resources1:VGPU", "1")], vec![Cold, Stop]),
        (96, &[("resources_GPU:VGPU", "1")], all.clone()),
        (96, &[("resources:CUSTOM_VGPU", "1")], all),
    ];
    for (minor, specs, expected) in rows {
        let mut one = server("a", "cmp-1");
        one.flavor.extra_specs = specs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let (row, blockers) = fate_in(one, &[Live, Cold, Stop], |inventory| {
            inventory.capabilities.newest = Microversion::v2(minor);
        });
        assert_eq!(row.ladder, expected, "2.{minor} {specs:?}: {}", row.why);
        let codes: Vec<BlockerCode> = blockers.iter().map(|blocker| blocker.code).collect();
        let blocked = if expected.is_empty() { vec![BlockerCode::ServerHardware] } else { vec![] };
        assert_eq!(codes, blocked, "2.{minor} {specs:?}");
    }
}

#[test]
fn a_tpm_that_is_off_can_be_moved_cold() {
    let mut one = off("a", "cmp-1");
    one.flavor.extra_specs.insert("hw:tpm_version".to_owned(), "2.0".to_owned());
    assert_eq!(fate(one, &[Live, Cold, Stop]).0.ladder, [Cold, Stop]);
}

#[test]
fn image_properties_count_where_they_are_shown() {
    let mut one = server("a", "cmp-1");
    one.image_properties = Some(BTreeMap::from([("hw_mem_encryption".to_owned(), "true".to_owned())]));
    assert_eq!(fate(one, &[Live, Cold]).0.ladder, [Cold]);
}

#[test]
fn doubts_are_said_and_left_to_nova() {
    let old = |inventory: &mut Inventory| inventory.capabilities.newest = Microversion::v2(12);
    let mut drive = server("a", "cmp-1");
    drive.config_drive = true;
    drive.volumes = vec!["volume-1".to_owned()];
    drive.flavor.known = false;
    let (row, _) = fate_in(drive.clone(), &[Live], old);
    assert_eq!(row.ladder, [Live]);
    for word in ["config drive", "volumes", "flavor was deleted"] {
        assert!(row.why.contains(word), "{}", row.why);
    }
    assert!(!fate(drive, &[Live]).0.why.contains("config drive"));
}

#[test]
fn hypervisors_that_move_nothing_leave_stop_and_leave() {
    let lxc = |inventory: &mut Inventory| inventory.hosts[0].hypervisors[0].kind = "LXC".to_owned();
    assert_eq!(fate_in(server("a", "cmp-1"), &[Live, Cold, Stop], lxc).0.ladder, [Stop]);
    let (_, blockers) = fate_in(server("a", "cmp-1"), &[Live, Cold], lxc);
    assert_eq!(blockers[0].code, BlockerCode::HypervisorUnsupported);
}

#[test]
fn hard_affinity_of_any_size_cannot_move() {
    for members in [&["a"][..], &["a", "b"][..]] {
        let affine = |inventory: &mut Inventory| inventory.groups = vec![group(GroupPolicy::Affinity, members)];
        assert_eq!(fate_in(server("a", "cmp-1"), &[Live, Cold, Stop], affine).0.ladder, [Stop]);
        let (row, blockers) = fate_in(server("a", "cmp-1"), &[Live, Cold], affine);
        assert_eq!(row.group.as_deref(), Some("quorum"));
        assert_eq!(blockers[0].code, BlockerCode::ServerGroup);
        assert!(blockers[0].cause.contains("quorum"));
    }
    for policy in [GroupPolicy::SoftAffinity, GroupPolicy::SoftAntiAffinity] {
        let soft = |inventory: &mut Inventory| inventory.groups = vec![group(policy, &["a"])];
        assert_eq!(fate_in(server("a", "cmp-1"), &[Live], soft).0.ladder, [Live]);
    }
}

#[test]
fn hard_anti_affinity_needs_a_host_without_a_member() {
    let spread = |hosts: &'static [&'static str], per_host: u64| {
        move |inventory: &mut Inventory| {
            let mut members = vec!["a".to_owned()];
            for host in hosts {
                let id = format!("on-{host}");
                inventory.servers.push(server(&id, host));
                members.push(id);
            }
            let rules = group(GroupPolicy::AntiAffinity, &[]);
            inventory.groups = vec![ServerGroup { members, max_server_per_host: per_host, ..rules }];
        }
    };
    assert_eq!(fate_in(server("a", "cmp-1"), &[Live], spread(&["cmp-2"], 1)).0.ladder, [Live]);
    let (row, blockers) = fate_in(server("a", "cmp-1"), &[Live], spread(&["cmp-2", "cmp-3"], 1));
    assert!(row.ladder.is_empty());
    assert_eq!(blockers[0].code, BlockerCode::ServerGroup);
    assert_eq!(fate_in(server("a", "cmp-1"), &[Live], spread(&["cmp-2", "cmp-3"], 2)).0.ladder, [Live]);
}

#[test]
fn members_of_one_wave_share_the_room_that_is_left() {
    let mut inventory = cloud(&["cmp-1", "cmp-2", "cmp-3"], vec![server("a", "cmp-1"), server("b", "cmp-2")]);
    inventory.groups = vec![group(GroupPolicy::AntiAffinity, &["a", "b"])];
    let mut both = plan(&["cmp-[12]"], &[Live]);
    both.waves.max_hosts = Count::Hosts(2);
    let graph = compile(&both, &inventory, "test").unwrap();
    let ladders: Vec<&[Rung]> = graph.servers.iter().map(|server| &server.ladder[..]).collect();
    assert_eq!(ladders, [&[Live][..], &[]]);

    // One after another there is room: while cmp-1 is out, cmp-3 is free of members.
    both.waves.max_hosts = Count::Hosts(1);
    assert_eq!(compile(&both, &inventory, "test").unwrap().blockers, []);
}

#[test]
fn a_pinned_server_needs_a_host_in_its_zone() {
    let pinned = Server { pinned_zone: Some("az2".to_owned()), ..server("a", "cmp-1") };
    let (_, blockers) = fate(pinned.clone(), &[Live]);
    assert_eq!(blockers[0].code, BlockerCode::NoDestination);
    assert!(blockers[0].server.is_some() && blockers[0].cause.contains("az2"));
    let elsewhere = |inventory: &mut Inventory| inventory.hosts[2].service.zone = "az2".to_owned();
    assert_eq!(fate_in(pinned, &[Live], elsewhere).0.ladder, [Live]);
}

#[test]
fn the_first_rule_that_holds_decides() {
    let mut rules = plan(&["cmp-1"], &[Live]);
    rules.drain.servers = vec![
        rule(0, Some("server.flavor.name == 'm1.big'"), &[Cold]),
        rule(1, Some("server.project_id == 'project-1' && host.zone == 'az1'"), &[Stop]),
        rule(2, None, &[Leave]),
    ];
    let graph = compile(&rules, &cloud(&["cmp-1"], vec![server("a", "cmp-1")]), "test").unwrap();
    assert_eq!(graph.servers[0].ladder, [Stop]);
    assert!(graph.servers[0].why.starts_with("drain.servers[1] says stop"), "{}", graph.servers[0].why);
}

#[test]
fn nothing_after_leave_counts_and_no_rung_twice() {
    assert_eq!(fate(server("a", "cmp-1"), &[Live, Live, Leave, Cold]).0.ladder, [Live, Leave]);
    assert_eq!(fate(off("a", "cmp-1"), &[Live, Leave]).0.ladder, [Leave]);
}

#[test]
fn an_expression_that_fails_names_rule_and_server() {
    let mut rules = plan(&["cmp-1"], &[Live]);
    rules.drain.servers.insert(0, rule(0, Some("server.task_state > 'a'"), &[Cold]));
    let error = compile(&rules, &cloud(&["cmp-1"], vec![server("a", "cmp-1")]), "test").unwrap_err().to_string();
    assert!(error.starts_with("drain.servers[0]: `server.task_state > 'a'`"), "{error}");
    assert!(error.contains("server name-of-a (a) on cmp-1"), "{error}");
}
