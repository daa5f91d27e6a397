//! The lab itself, put to the test: what the scenarios build on must hold without furlough.

use std::time::Duration;

use serde_json::json;

use crate::lab::{self, Release};
use crate::nova::{self, host_of, text, wait_until};
use crate::on_both_releases;
use crate::proxy::{Fault, Seen};
use crate::scenario::{Scenario, Server};

on_both_releases!(
    a_server_live_migrates,
    servers_are_as_ordered,
    faults_reach_the_driver,
    a_killed_host_goes_down_and_comes_back,
    the_proxy_remembers_loses_and_answers,
    a_revoked_token_and_an_expired_one_are_refused,
    the_control_plane_can_fail,
    the_binary_runs,
);

fn a_server_live_migrates(lab: &Scenario<'_>) {
    let ids = lab.boot(&["cmp01", "cmp02", "cmp03"].map(|host| Server::new(&format!("on-{host}"), host)));
    lab.nova.live_migrate(&ids[0], Some("cmp04"));
    let migration = lab.nova.wait_migration(&ids[0], &["completed", "error", "failed"]);
    assert_eq!(migration["status"], "completed", "{migration}");
    assert_eq!(host_of(&lab.settled(&ids[0], "ACTIVE")), "cmp04");
    assert!(lab.nova.servers_on("cmp01").is_empty());
    assert_eq!(lab.nova.servers_on("cmp02"), [ids[1].as_str()]);
    assert_eq!(lab.nova.servers_on("cmp03"), [ids[2].as_str()]);
}

fn servers_are_as_ordered(lab: &Scenario<'_>) {
    let group = lab.group("apart", "anti-affinity");
    let ids = lab.boot(&[
        Server::new("plain", "cmp01"),
        Server::new("off", "cmp01").shutoff(),
        Server::new("paused", "cmp02").paused(),
        Server::new("locked", "cmp02").locked(),
        Server::new("one", "cmp03").group(&group),
        Server::new("two", "cmp04").group(&group),
    ]);
    let servers: Vec<_> = ids.iter().map(|id| lab.nova.server(id)).collect();
    let statuses: Vec<&str> = servers.iter().map(|s| text(s, "status")).collect();
    assert_eq!(statuses, ["ACTIVE", "SHUTOFF", "PAUSED", "ACTIVE", "ACTIVE", "ACTIVE"]);
    let locked: Vec<bool> = servers.iter().map(|s| s["locked"] == true).collect();
    assert_eq!(locked, [false, false, false, true, false, false]);
    // anti-affinity is real: the second is refused on the first one's host
    lab.nova.live_migrate(&ids[5], Some("cmp03"));
    assert_eq!(lab.nova.wait_migration(&ids[5], &["error", "completed"])["status"], "error");
    assert_eq!(host_of(&lab.settled(&ids[5], "ACTIVE")), "cmp04");
}

fn faults_reach_the_driver(lab: &Scenario<'_>) {
    let ids = lab.boot(&[
        Server::new("refused", "cmp01").knob("live_fail", "check_dest"),
        Server::new("stuck", "cmp02").knob("live_stuck", "1"),
        Server::new("broken", "cmp03"),
    ]);
    lab.faults(&json!({"broken": {"cold_fail": "dest"}}));
    let asked = lab.nova.live_migrate(&ids[0], Some("cmp04"));
    lab.nova.live_migrate(&ids[1], Some("cmp05"));
    lab.act(&ids[2], &json!({"migrate": {"host": "cmp06"}}));

    assert_eq!(lab.nova.wait_migration(&ids[0], &["error", "completed"])["status"], "error");
    assert_eq!(host_of(&lab.settled(&ids[0], "ACTIVE")), "cmp01");
    // the reason is nowhere but in the instance action
    let request = asked.request_id.expect("a request id");
    let action = lab.nova.get(&format!("/servers/{}/os-instance-actions/{request}", ids[0]));
    assert!(action.to_string().contains("lab fault: destination cmp04 refuses"), "{action}");

    let broken = lab.nova.wait_server(&ids[2], "ERROR", |s| s["status"] == "ERROR");
    assert_eq!(host_of(&broken), "cmp06");

    let running = lab.nova.wait_migration(&ids[1], &["running"]);
    std::thread::sleep(Duration::from_secs(3)); // beyond the 1 s an undisturbed one takes
    assert_eq!(lab.nova.migrations(&ids[1])[0]["status"], "running");
    lab.nova.ok("DELETE", &format!("/servers/{}/migrations/{}", ids[1], running["id"]), None);
    lab.nova.wait_migration(&ids[1], &["cancelled"]);
    assert_eq!(host_of(&lab.settled(&ids[1], "ACTIVE")), "cmp02");
}

fn a_killed_host_goes_down_and_comes_back(lab: &Scenario<'_>) {
    let ids = lab.boot(&[Server::new("survivor", "cmp07")]);
    lab.compute("kill", "cmp07");
    lab.compute("pause", "cmp08");
    let down = lab.nova.wait_service("cmp07", "down", None);
    lab.nova.wait_service("cmp08", "down", None);
    lab.compute("start", "cmp07");
    lab.compute("resume", "cmp08");
    lab.nova.wait_service("cmp07", "up", Some(&down));
    lab.nova.wait_service("cmp08", "up", None);
    // its guest outlived its nova-compute
    lab.nova.live_migrate(&ids[0], Some("cmp08"));
    assert_eq!(lab.nova.wait_migration(&ids[0], &["completed", "error"])["status"], "completed");
}

fn the_proxy_remembers_loses_and_answers(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("target", "cmp01")]).remove(0);
    let token = lab.nova.new_token();
    let action = format!("{}/v2.1/servers/{id}/action", lab.proxy.url());
    let send = |body: &serde_json::Value| nova::request("POST", &action, Some(&token), Some("2.60"), Some(body));
    let is_stop = |s: &Seen| s.is_action("os-stop");

    lab.proxy.inject(1, "POST", "/action", "os-stop", Fault::Answer(409));
    assert_eq!(send(&json!({"os-stop": null})).expect("an answer").status, 409);
    lab.proxy.inject(1, "POST", "/action", "os-stop", Fault::DropRequest);
    send(&json!({"os-stop": null})).expect_err("the connection is cut");
    assert_eq!(text(&lab.nova.server(&id), "status"), "ACTIVE", "Nova saw neither");

    lab.proxy.inject(1, "POST", "/action", "os-stop", Fault::DropAnswer);
    send(&json!({"os-stop": null})).expect_err("the answer is lost");
    lab.settled(&id, "SHUTOFF");

    lab.proxy.inject(1, "POST", "/action", "os-start", Fault::Delay(Duration::from_secs(2)));
    let begun = std::time::Instant::now();
    assert_eq!(send(&json!({"os-start": null})).expect("an answer").status, 202);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    lab.settled(&id, "ACTIVE");

    let stops: Vec<Seen> = lab.proxy.seen().into_iter().filter(is_stop).collect();
    assert_eq!(stops.iter().map(|s| s.status).collect::<Vec<_>>(), [Some(409), None, None]);
    assert!(stops.iter().all(|s| s.microversion.as_deref() == Some("2.60") && s.token.as_ref() == Some(&token)));
    assert!(stops.is_sorted_by_key(|s| s.at));
    assert_eq!(lab.proxy.count(Seen::changes), 4);

    // the links in Nova's answers lead through the proxy
    let root = nova::request("GET", &format!("{}/", lab.proxy.url()), None, None, None).expect("a version document");
    assert!(root.body.to_string().contains(&lab.proxy.url()), "{}", root.body);
}

fn a_revoked_token_and_an_expired_one_are_refused(lab: &Scenario<'_>) {
    let services = format!("{}/os-services", lab.nova.url);
    let status = |token: &str| nova::request("GET", &services, Some(token), None, None).expect("an answer").status;
    let refused = |token: &str| (status(token) == 401).then_some(());

    let token = lab.nova.new_token();
    assert_eq!(status(&token), 200);
    lab.revoke(&token);
    wait_until("a revoked token is refused", Duration::from_secs(30), || refused(&token), || "it still works".into());

    lab.token_lifetime(10);
    let token = lab.nova.new_token();
    assert_eq!(status(&token), 200);
    wait_until("a token expires", Duration::from_secs(30), || refused(&token), || "it still works".into());
}

fn the_control_plane_can_fail(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("waiting", "cmp01")]).remove(0);
    lab.service("kill", "nova-api");
    let url = format!("{}/", lab.nova.url);
    nova::request("GET", &url, None, None, None).expect_err("nova-api is dead");
    lab.services_up();
    lab.service("pause", "conductor");
    lab.nova.live_migrate(&id, Some("cmp02"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(host_of(&lab.nova.server(&id)), "cmp01", "nobody conducts");
    lab.service("resume", "conductor");
    assert_eq!(lab.nova.wait_migration(&id, &["completed", "error"])["status"], "completed");
}

fn the_binary_runs(lab: &Scenario<'_>) {
    let note = lab.desk.write("note", "kept");
    let limit = Duration::from_secs(60);
    lab.desk.run(&["--version"], limit).expect(0);
    let running = lab.desk.spawn(&["--version"]);
    running.interrupt();
    running.wait(limit);
    let killed = lab.desk.spawn(&["--version"]).kill();
    assert!(matches!(killed.code, None | Some(0)), "{killed:?}");
    assert_eq!(std::fs::read_to_string(note).unwrap(), "kept");
}

/// Not through `on_both_releases`: it needs two scenarios, one after the other.
#[test]
fn what_a_scenario_leaves_is_gone() {
    lab::scenario(Release::Newest, |lab| {
        let ids = lab.boot(&[
            Server::new("stuck", "cmp01").knob("live_stuck", "1"),
            Server::new("resized", "cmp02"),
            Server::new("orphan", "cmp03"),
        ]);
        lab.group("left", "affinity");
        lab.nova.live_migrate(&ids[0], None);
        lab.act(&ids[1], &json!({"migrate": null}));
        lab.nova.wait_migration(&ids[0], &["running"]);
        lab.settled(&ids[1], "VERIFY_RESIZE");
        lab.disable("cmp04", "left behind");
        assert_eq!(lab.nova.update_service("cmp05", &json!({"forced_down": true})).status, 200);
        lab.compute("kill", "cmp03");
        lab.compute("pause", "cmp06");
    });
    lab::scenario(Release::Newest, |lab| {
        assert_eq!(lab.nova.servers(), [] as [serde_json::Value; 0]);
        for service in lab.nova.services() {
            let as_made = service["status"] == "enabled" && service["state"] == "up" && service["forced_down"] == false;
            assert!(as_made && service["disabled_reason"].is_null(), "{service}");
        }
        // the only slot for live migrations from cmp01 is free again
        let id = lab.boot(&[Server::new("next", "cmp01")]).remove(0);
        lab.nova.live_migrate(&id, Some("cmp02"));
        assert_eq!(lab.nova.wait_migration(&id, &["completed", "error"])["status"], "completed");
    });
}
