//! Hosts emptied, maintained and put back: what must come out when nothing goes wrong.

use std::time::Duration;

use crate::lab::Lab;
use crate::maintenance::{Account, LIMIT, plan, wait_event, witness};
use crate::nova::text;
use crate::on_both_releases;
use crate::proxy::Fault;
use crate::scenario::{Scenario, Server};

on_both_releases!(
    one_host_with_every_kind_of_server,
    every_host_wave_by_wave,
    a_host_disabled_beforehand_stays_so,
    a_server_that_arrives_during_the_drain,
    drained_and_given_back,
    old_microversions,
    a_storage_that_is_found_out_by_a_refusal,
);

fn one_host_with_every_kind_of_server(lab: &Scenario<'_>) {
    let apart = lab.group("apart", "anti-affinity");
    let rather_apart = lab.group("rather-apart", "soft-anti-affinity");
    let ids = lab.boot(&[
        Server::new("web", "cmp01"),
        Server::new("off", "cmp01").shutoff(),
        Server::new("frozen", "cmp01").paused(),
        Server::new("locked", "cmp01").locked(),
        Server::new("cold", "cmp01").metadata("way", "cold"),
        Server::new("stays", "cmp01").metadata("way", "stop"),
        Server::new("apart-1", "cmp01").group(&apart),
        Server::new("apart-2", "cmp02").group(&apart),
        Server::new("rather-1", "cmp01").group(&rather_apart),
        Server::new("rather-2", "cmp01").group(&rather_apart),
    ]);
    let before = lab.conditions(&ids);
    let plan = plan(
        &["cmp01"],
        r#"
  servers:
    - where: server.metadata["way"] == "stop"
      ladder: [stop]
    - where: server.status == "SHUTOFF" || server.metadata["way"] == "cold"
      ladder: [cold]
    - ladder: [live, cold]
  limits: {source: 1, destination: 2, queue_ahead: 0}
maintain:
  - run: {command: [sh, -c, "echo {{ host.name }} $FURLOUGH_HOST >> maintained; sleep 1"]}
verify:
  - wait: {until: host.service.state == "up", timeout: 1m}
  - run: {command: [sh, -c, "test -s maintained"]}"#,
    );
    let (account, seen) = witness(lab.nova, || lab.run_plan(&plan, 0));

    account.is_done();
    assert_eq!(lab.conditions(&ids), before);
    assert_eq!(std::fs::read_to_string(lab.desk.path().join("maintained")).unwrap(), "cmp01 cmp01\n");
    let here: Vec<String> = lab.nova.servers_on("cmp01");
    assert_eq!(here, [ids[5].clone()], "only the one that was stopped is where it was");
    assert_eq!((lab.asked(&ids[5], "os-stop"), lab.asked(&ids[5], "os-start")), (1, 1));
    assert_ne!(lab.host(&ids[6]), lab.host(&ids[7]), "anti-affinity");
    for (index, by) in [(0, "live"), (1, "cold"), (2, "live"), (3, "live"), (4, "cold"), (6, "live"), (8, "live")] {
        let moved = account.moved("cmp01", &ids[index]);
        assert_eq!(moved, (lab.host(&ids[index]), by.to_owned()));
        let newest = lab.nova.migrations(&ids[index]).remove(0);
        assert_eq!(text(&newest, "migration_type"), if by == "live" { "live-migration" } else { "migration" });
    }
    lab.in_service("cmp01");
    assert_eq!((lab.services_set("disabled"), lab.services_set("enabled")), (1, 1));
    seen.within(1, 2);
    assert_eq!(seen.disabled.into_iter().collect::<Vec<_>>(), ["cmp01"]);
    assert!(account.report.contains("back in service"), "{}", account.report);
}

fn every_host_wave_by_wave(lab: &Scenario<'_>) {
    let hosts = Lab::hosts();
    let servers: Vec<Server> = hosts.iter().map(|host| Server::new(&format!("on-{host}"), host)).collect();
    let ids = lab.boot(&servers);
    let before = lab.conditions(&ids);
    let plan = plan(
        &["\"cmp*\""],
        "  limits: {cloud: 20, source: 1, destination: 2, queue_ahead: 1}
waves: {max_hosts: 3, first: 1}
maintain: [{run: {command: [sh, -c, 'echo {{ host.name }} >> maintained']}}]",
    );
    let (account, seen) = witness(lab.nova, || lab.run_plan(&plan, 0));

    account.is_done();
    assert_eq!(lab.conditions(&ids), before);
    let started = account.all("run_started").next().expect("a beginning");
    let wave = |host: &str| {
        let of = started["graph"]["hosts"].as_array().into_iter().flatten().find(|h| h["name"] == host);
        of.and_then(|h| h["wave"].as_u64()).unwrap_or_else(|| panic!("{host} is in no wave"))
    };
    let sizes: Vec<usize> = (1..=5).map(|w| hosts.iter().filter(|host| wave(host) == w).count()).collect();
    assert_eq!(sizes, [1, 3, 3, 3, 2]);
    // Nova's own records, not furlough's: none of a wave went to another of it
    for migration in ids.iter().flat_map(|id| lab.nova.migrations(id)) {
        let (from, to) = (text(&migration, "source_compute"), text(&migration, "dest_compute"));
        assert_ne!(wave(from), wave(to), "{migration}");
        assert_eq!(migration["status"], "completed", "{migration}");
    }
    for host in &hosts {
        let service = text(&lab.nova.service(host), "id").to_owned();
        let set = |status: &str| lab.proxy.count(|s| s.path.contains(&service) && s.body["status"] == status);
        assert_eq!((set("disabled"), set("enabled")), (1, 1), "{host}");
        lab.in_service(host);
    }
    let maintained = std::fs::read_to_string(lab.desk.path().join("maintained")).unwrap();
    let mut maintained: Vec<&str> = maintained.lines().collect();
    maintained.sort_unstable();
    assert_eq!(maintained, hosts);
    seen.within(1, 2);
    assert_eq!((seen.most_disabled, seen.disabled.len()), (3, hosts.len()));
}

fn a_host_disabled_beforehand_stays_so(lab: &Scenario<'_>) {
    let ids = lab.boot(&[Server::new("web", "cmp03")]);
    lab.disable("cmp03", "disk 4 is dying");
    let account = lab.run_plan(&plan(&["cmp03"], "maintain: [{run: {command: ['true']}}]"), 0);
    account.is_done();
    assert_ne!(lab.host(&ids[0]), "cmp03");
    let service = lab.nova.service("cmp03");
    assert_eq!((text(&service, "status"), text(&service, "disabled_reason")), ("disabled", "disk 4 is dying"));
    assert_eq!(lab.services_set("disabled") + lab.services_set("enabled"), 0);
}

fn a_server_that_arrives_during_the_drain(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("web", "cmp04")]).remove(0);
    // between the plan's reading of the cloud and the disable there is time for Nova to place two more
    lab.proxy.inject(1, "PUT", "/os-services/", "disabled", Fault::Delay(Duration::from_secs(6)));
    let mut running = lab.start_plan(&plan(&["cmp04"], "  servers: [{ladder: [live]}]"));
    wait_event(&mut running, "the beginning", |kind, _| kind == "run_started");
    // the one is there when the servers are listed, if not before; the other is still being built then
    let early = lab.boot_later(&Server::new("early", "cmp04"));
    let late = lab.boot_later(&Server::new("late", "cmp04").knob("spawn_seconds", "14"));
    let account = Account::of(running.wait(LIMIT).expect(0));

    account.is_done();
    let children: Vec<String> = account.all("graph_extended").map(|e| e["graph"]["servers"].to_string()).collect();
    for id in [&early, &late] {
        let held = children.iter().filter(|child| child.contains(id.as_str())).count();
        assert_eq!(held, 1, "{id} in {children:?}");
    }
    for id in [&id, &early, &late] {
        lab.settled(id, "ACTIVE");
        assert_ne!(lab.host(id), "cmp04");
        assert_eq!(account.moved("cmp04", id), (lab.host(id), "live".to_owned()));
        assert_eq!(lab.asked(id, "os-migrateLive"), 1);
    }
    lab.in_service("cmp04");
}

fn drained_and_given_back(lab: &Scenario<'_>) {
    let ids = lab.boot(&[Server::new("web", "cmp05"), Server::new("stays", "cmp05")]);
    let account =
        Account::of(lab.desk.run(&["drain", "cmp05", "--yes", "--json", "--ladder", "stop"], LIMIT).expect(0));
    assert_eq!(account.ending(), "done", "{}", account.report);
    assert_eq!(lab.conditions(&ids).iter().map(|c| c.status.as_str()).collect::<Vec<_>>(), ["SHUTOFF", "SHUTOFF"]);
    let service = lab.nova.service("cmp05");
    let reason = text(&service, "disabled_reason");
    assert!(service["status"] == "disabled" && reason.starts_with("furlough "), "{service}");
    let kinds: Vec<String> = account.leftovers().iter().map(|l| text(l, "kind").to_owned()).collect();
    assert!(kinds.contains(&"host-disabled".to_owned()), "the host is named: {kinds:?}");

    let back = lab.desk.run(&["enable", "cmp05", "--yes", "--json"], LIMIT).expect(0);
    Account::of(back).is_done();
    lab.in_service("cmp05");
    for id in &ids {
        lab.settled(id, "ACTIVE");
        assert_eq!(lab.asked(id, "os-start"), 1);
        assert_eq!(lab.host(id), "cmp05");
    }
    // once more there is nothing to give back
    lab.desk.run(&["enable", "cmp05", "--yes"], LIMIT).expect(0);
    assert_eq!(lab.services_set("enabled"), 1);
}

/// The same Nova, as if it were older: every fallback is used against the real thing.
fn old_microversions(lab: &Scenario<'_>) {
    for (newest, host) in [("2.12", "cmp01"), ("2.30", "cmp02"), ("2.60", "cmp03")] {
        let ids = lab.boot(&[
            Server::new("web", host),
            Server::new("off", host).shutoff(),
            Server::new("frozen", host).paused(),
            Server::new("cold", host).metadata("way", "cold"),
            Server::new("stays", host).metadata("way", "stop"),
        ]);
        let before = lab.conditions(&ids);
        let from = lab.proxy.seen().len();
        lab.proxy.cap(newest);
        let plan = plan(
            &[host],
            r#"
  servers:
    - where: server.metadata["way"] == "stop"
      ladder: [stop]
    - where: server.status == "SHUTOFF" || server.metadata["way"] == "cold"
      ladder: [cold]
    - ladder: [live]
  limits: {source: 1, destination: 2}"#,
        );
        let (account, seen) = witness(lab.nova, || lab.run_plan(&plan, 0));
        account.is_done();
        seen.within(1, 2);
        assert_eq!(lab.conditions(&ids), before, "{newest}");
        assert_eq!(lab.nova.servers_on(host), [ids[4].clone()], "{newest}");
        for (id, by) in ids.iter().zip(["live", "cold", "live", "cold"]) {
            assert_eq!(account.moved(host, id), (lab.host(id), by.to_owned()), "{newest}");
        }
        lab.in_service(host);
        let minor = |version: &str| version.split_once('.').and_then(|(_, m)| m.parse::<u32>().ok()).unwrap_or(1);
        let asked = lab.proxy.seen().split_off(from);
        let above = asked.iter().find(|s| s.microversion.as_deref().is_some_and(|v| minor(v) > minor(newest)));
        assert!(above.is_none(), "above {newest}: {above:?}");
    }
}

/// Below 2.25 a live migration may take two requests, the first of them refused, and each leaves a record: the failed
/// one must not be taken for the end of the move while the second is on its way.
fn a_storage_that_is_found_out_by_a_refusal(lab: &Scenario<'_>) {
    let ids = lab.boot(&["one", "two"].map(|name| Server::new(name, "cmp06").knob("live_seconds", "4")));
    lab.proxy.cap("2.12");
    lab.proxy.inject(1, "POST", "/action", "\"block_migration\":true", Fault::Delay(Duration::from_secs(4)));
    let (account, seen) = witness(lab.nova, || lab.run_plan(&plan(&["cmp06"], "  servers: [{ladder: [live]}]"), 0));
    account.is_done();
    seen.within(1, 1);
    // Nova runs one at a time by itself, so furlough's own account has to show that it knew which record was its move
    for id in &ids {
        let step = format!("cmp06/move/{id}");
        let of = |kind: &str| {
            account.events.iter().filter(|e| e["kind"][kind]["step"] == step).filter_map(|e| e["seq"].as_u64()).max()
        };
        assert!(of("move_seen") < of("move_released"), "{step}: its slot was free before it had ended");
    }
    for id in &ids {
        let statuses: Vec<String> = lab.nova.migrations(id).iter().map(|m| text(m, "status").to_owned()).collect();
        assert_eq!((statuses, lab.asked(id, "os-migrateLive")), (vec!["completed".to_owned(), "error".to_owned()], 2));
    }
}
