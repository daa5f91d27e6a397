//! A furlough that is killed or stopped in the middle, and goes on: the same end as without it, and nothing done twice.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::furlough::Running;
use crate::maintenance::{Account, LIMIT, events, plan, wait_event, witness};
use crate::nova::{text, wait_until};
use crate::on_both_releases;
use crate::proxy::Fault;
use crate::scenario::{Scenario, Server};

on_both_releases!(killed_and_resumed, stopped_once, stopped_twice);

/// Three servers by three methods, and a command that takes a while and leaves a line each time it is run.
const REST: &str = r#"
  servers:
    - where: server.metadata["way"] == "stop"
      ladder: [stop]
    - where: server.metadata["way"] == "cold"
      ladder: [cold]
    - ladder: [live]
  limits: {source: 1, destination: 2}
maintain: [{run: {command: [sh, -c, "echo begun >> maintained; sleep 3; echo over >> maintained"]}}]"#;

/// The moment at which the process dies.
struct Moment {
    name: &'static str,
    host: &'static str,
    wanted: fn(&str, &Value) -> bool,
    /// Words of the one request that reaches Nova only 3 s after furlough has sent it, so that the moment does not pass.
    slow: Option<[&'static str; 3]>,
}

fn is_intent(kind: &str, body: &Value, intent: &str) -> bool {
    kind == "step_intended" && body["intent"].get(intent).is_some()
}

fn killed_and_resumed(lab: &Scenario<'_>) {
    let moments = [
        Moment {
            name: "the request is on its way and not yet in Nova",
            host: "cmp01",
            wanted: |kind, body| is_intent(kind, body, "live"),
            slow: Some(["POST", "/action", "os-migrateLive"]),
        },
        Moment { name: "a migration copies", host: "cmp02", wanted: |kind, _| kind == "move_seen", slow: None },
        Moment {
            name: "a cold migration waits to be confirmed",
            host: "cmp03",
            wanted: |kind, body| is_intent(kind, body, "confirm"),
            slow: None,
        },
        Moment {
            name: "the command is running",
            host: "cmp04",
            wanted: |kind, body| kind == "step_answered" && text(body, "step").contains("/maintain/"),
            slow: None,
        },
        Moment {
            name: "the host is being given back",
            host: "cmp05",
            wanted: |kind, body| is_intent(kind, body, "enable"),
            slow: Some(["PUT", "/os-services", "enabled"]),
        },
    ];
    for moment in &moments {
        eprintln!("killed when {}", moment.name);
        killed_at(lab, moment);
    }
}

fn killed_at(lab: &Scenario<'_>, moment: &Moment) {
    let host = moment.host;
    let ids = lab.boot(&[
        Server::new("live", host).knob("live_seconds", "4"),
        Server::new("cold", host).metadata("way", "cold"),
        Server::new("stop", host).metadata("way", "stop"),
    ]);
    let before = lab.conditions(&ids);
    let (disabled, enabled) = (lab.services_set("disabled"), lab.services_set("enabled"));
    if let Some([method, path, body]) = moment.slow {
        lab.proxy.inject(1, method, path, body, Fault::Delay(Duration::from_secs(3)));
    }
    let (account, seen) = witness(lab.nova, || {
        let mut running = lab.start_plan(&plan(&[host], REST));
        wait_event(&mut running, moment.name, moment.wanted);
        running.kill();
        lab.resume(0)
    });

    account.is_done();
    assert_eq!(lab.conditions(&ids), before);
    assert_eq!(lab.nova.servers_on(host), [ids[2].clone()]);
    lab.in_service(host);
    seen.within(1, 2);
    let asked = [(0, "os-migrateLive"), (1, "migrate"), (1, "confirmResize"), (2, "os-stop"), (2, "os-start")];
    assert_eq!(asked.map(|(index, action)| lab.asked(&ids[index], action)), [1; 5], "{}", account.report);
    assert_eq!(ids.iter().map(|id| lab.nova.migrations(id).len()).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!((lab.services_set("disabled"), lab.services_set("enabled")), (disabled + 1, enabled + 1));
    let maintained = lab.desk.path().join("maintained");
    assert_eq!(std::fs::read_to_string(&maintained).unwrap(), "begun\nover\n", "the command ran once");
    std::fs::remove_file(maintained).unwrap();
    let resumed = account.all("run_resumed").count();
    assert_eq!(resumed, 1);
}

/// One that copies, one queued behind it in Nova, one not asked for yet.
fn three_in_a_row(lab: &Scenario<'_>, host: &str, seconds: &str) -> (Vec<String>, Running) {
    let servers = ["one", "two", "three"].map(|name| Server::new(name, host).knob("live_seconds", seconds));
    let ids = lab.boot(&servers);
    let rest = "  servers: [{ladder: [live, cold]}]\n  limits: {source: 1, destination: 2, queue_ahead: 1}";
    let running = lab.start_plan(&plan(&[host], rest));
    let statuses = || {
        let newest = |id: &String| lab.nova.migrations(id).first().map(|m| text(m, "status").to_owned());
        let mut now: Vec<String> = ids.iter().filter_map(newest).collect();
        now.sort();
        now
    };
    let both = || (statuses() == ["queued", "running"]).then_some(());
    wait_until("one runs and one is queued", LIMIT, both, || {
        format!("{:?}\n{}\n{}", statuses(), running.stdout(), running.stderr())
    });
    (ids, running)
}

fn stopped_once(lab: &Scenario<'_>) {
    let (ids, running) = three_in_a_row(lab, "cmp06", "8");
    running.interrupt();
    let account = Account::of(running.wait(LIMIT).expect(130));
    assert_eq!(account.ending(), "interrupted", "{}", account.report);
    assert!(account.report.contains("furlough resume"), "{}", account.report);
    let moves = |status: &str| {
        let of = |id: &&String| lab.nova.migrations(id).first().is_some_and(|m| m["status"] == status);
        ids.iter().filter(of).count()
    };
    assert_eq!((moves("completed"), moves("cancelled")), (1, 1), "what ran is finished, what waited is withdrawn");
    assert_eq!(ids.iter().map(|id| lab.asked(id, "os-migrateLive")).sum::<usize>(), 2, "nothing new was begun");
    assert_eq!(lab.nova.servers_on("cmp06").len(), 2);
    assert_eq!(lab.nova.service("cmp06")["status"], "disabled");
    assert!(account.leftovers().iter().any(|left| left["kind"] == "host-disabled"));

    let account = lab.resume(0);
    account.is_done();
    assert!(lab.nova.servers_on("cmp06").is_empty());
    for id in &ids {
        assert_eq!(lab.condition(id).status, "ACTIVE");
        assert_eq!(lab.asked(id, "migrate"), 0, "a server is not shut down because a run was stopped");
    }
    assert_eq!(ids.iter().map(|id| lab.asked(id, "os-migrateLive")).sum::<usize>(), 4);
    lab.in_service("cmp06");
}

fn stopped_twice(lab: &Scenario<'_>) {
    let (ids, running) = three_in_a_row(lab, "cmp07", "8");
    running.interrupt();
    std::thread::sleep(Duration::from_millis(500));
    running.interrupt();
    let begun = Instant::now();
    let left = running.wait(LIMIT).expect(130);
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for {:?}", begun.elapsed());
    assert!(!events(&left.stdout).is_empty() && left.stderr.contains("furlough resume"), "{}", left.stderr);
    assert!(!lab.nova.servers_on("cmp07").is_empty());

    let account = lab.resume(0);
    account.is_done();
    assert!(lab.nova.servers_on("cmp07").is_empty());
    for id in &ids {
        assert_eq!(lab.condition(id).status, "ACTIVE");
        assert_eq!(lab.asked(id, "migrate"), 0);
        let completed = lab.nova.migrations(id).iter().filter(|m| m["status"] == "completed").count();
        assert_eq!(completed, 1, "{id}");
    }
    lab.in_service("cmp07");
}
