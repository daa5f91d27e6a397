//! A cloud that refuses, stalls, breaks and forgets: what furlough makes of it, and what it leaves for a person.

use serde_json::Value;

use crate::maintenance::{Account, LIMIT, plan, wait_event, witness};
use crate::nova::text;
use crate::on_both_releases;
use crate::proxy::Fault;
use crate::scenario::{Scenario, Server};

on_both_releases!(
    refused_after_the_202_then_cold,
    refused_after_the_202_and_nothing_else_allowed,
    stalled_aborted_then_cold,
    a_cold_migration_that_lands_in_error,
    a_conflict_is_asked_again,
    a_token_that_is_revoked_and_one_that_expires,
    lost_answers_are_not_asked_twice,
);

/// The plan's maintenance, which leaves a trace.
const MAINTAIN: &str = "maintain: [{run: {command: [touch, maintained]}}]";

/// The leftover about this server.
#[track_caller]
fn leftover(account: &Account, id: &str) -> Value {
    let about = account.leftovers().into_iter().find(|left| left["server"][0] == id);
    about.unwrap_or_else(|| panic!("{id} is not named\n{}", account.report))
}

/// Failed, not maintained, still out of service, and all of it said.
#[track_caller]
fn held_back(lab: &Scenario<'_>, account: &Account, host: &str) {
    assert_eq!(account.ending(), "failed");
    assert!(!lab.desk.path().join("maintained").exists(), "maintenance began");
    let service = lab.nova.service(host);
    let reason = text(&service, "disabled_reason");
    let run = reason.strip_prefix("furlough ").and_then(|r| r.split_once(':')).map(|(run, _)| run);
    let run = run.unwrap_or_else(|| panic!("no run in {service}"));
    assert_eq!(service["status"], "disabled");
    assert!(account.report.contains(run), "{run}\n{}", account.report);
    let named = account.leftovers().iter().any(|left| left["kind"] == "host-disabled" && left["host"] == host);
    assert!(named, "{:?}", account.leftovers());
    assert_eq!(lab.services_set("enabled"), 0);
}

fn refused_after_the_202_then_cold(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("choosy", "cmp01").knob("live_fail", "check_dest")]).remove(0);
    let before = lab.condition(&id);
    let account = lab.run_plan(&plan(&["cmp01"], "  servers: [{ladder: [live, cold]}]"), 0);
    account.is_done();
    assert_eq!(account.moved("cmp01", &id), (lab.host(&id), "cold".to_owned()));
    assert_eq!(lab.condition(&id), before);
    let failed = account.all("step_settled").find(|s| s["outcome"].get("retryable").is_some()).expect("a failed try");
    assert!(text(&failed["outcome"]["retryable"], "fault").contains("lab fault"), "{failed}");
    assert_eq!(
        (lab.asked(&id, "os-migrateLive"), lab.asked(&id, "migrate"), lab.asked(&id, "confirmResize")),
        (1, 1, 1)
    );
    lab.in_service("cmp01");
}

fn refused_after_the_202_and_nothing_else_allowed(lab: &Scenario<'_>) {
    let ids = lab.boot(&[Server::new("choosy", "cmp02").knob("live_fail", "check_dest"), Server::new("easy", "cmp02")]);
    let account = lab.run_plan(&plan(&["cmp02"], &format!("  servers: [{{ladder: [live]}}]\n{MAINTAIN}")), 1);
    held_back(lab, &account, "cmp02");
    let left = leftover(&account, &ids[0]);
    assert!(left["kind"] == "server-not-moved" && left["server"][1] == "choosy", "{left}");
    assert!(text(&left, "what").contains("lab fault: destination"), "Nova's own words: {left}");
    assert!(account.report.contains("lab fault: destination"), "{}", account.report);
    assert_eq!(lab.nova.servers_on("cmp02"), [ids[0].clone()], "the other one moved all the same");
    assert_eq!(lab.condition(&ids[0]).status, "ACTIVE");

    // what was in the way is mended: the same run goes on
    lab.without_knob(&ids[0], "live_fail");
    lab.resume(0).is_done();
    lab.in_service("cmp02");
    assert!(lab.desk.path().join("maintained").exists());
    assert_eq!(lab.services_set("disabled"), 1);
}

fn stalled_aborted_then_cold(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("busy", "cmp03").knob("live_stuck", "1")]).remove(0);
    let rest = "  servers: [{ladder: [live, cold]}]\n  live: {stalled_after: 5s}";
    let (account, seen) = witness(lab.nova, || lab.run_plan(&plan(&["cmp03"], rest), 0));
    account.is_done();
    seen.within(1, 1);
    let statuses: Vec<Value> = lab.nova.migrations(&id).iter().map(|m| m["status"].clone()).collect();
    assert_eq!(statuses, ["confirmed", "cancelled"], "newest first");
    assert_eq!(account.moved("cmp03", &id), (lab.host(&id), "cold".to_owned()));
    assert_eq!(lab.proxy.count(|s| s.method == "DELETE"), 1);
    assert_eq!(lab.condition(&id).status, "ACTIVE");
    let abort = account.all("step_intended").find_map(|e| e["intent"].get("abort")).expect("an abort");
    assert!(text(abort, "why").contains("no progress"), "{abort}");
}

fn a_cold_migration_that_lands_in_error(lab: &Scenario<'_>) {
    let ids = lab.boot(&[
        Server::new("broken", "cmp04").knob("cold_fail", "dest"),
        Server::new("fine", "cmp05"),
        Server::new("never", "cmp06"),
    ]);
    let rest = format!(
        "  servers: [{{ladder: [cold]}}]\nwaves: {{max_hosts: 2}}\n{}",
        MAINTAIN.replace("touch, maintained", "touch, 'maintained-{{ host.name }}'")
    );
    let account = lab.run_plan(&plan(&["cmp04", "cmp05", "cmp06"], &rest), 1);
    held_back(lab, &account, "cmp04");
    let left = leftover(&account, &ids[0]);
    assert!(text(&left, "what").contains("ERROR") && text(&left, "what").contains("lab fault"), "{left}");
    assert_eq!(lab.condition(&ids[0]).status, "ERROR", "nobody resets it");
    assert_eq!(lab.asked(&ids[0], "migrate"), 1);
    assert_eq!(lab.asked(&ids[0], "confirmResize"), 0);
    let maintained = |host: &str| lab.desk.path().join(format!("maintained-{host}")).exists();
    // its wave is finished, and no further host is begun
    assert_eq!(["cmp04", "cmp05", "cmp06"].map(maintained), [false, true, false]);
    lab.in_service("cmp05");
    lab.in_service("cmp06");
    assert_eq!(lab.services_set("disabled"), 2);
    assert_eq!(lab.host(&ids[2]), "cmp06");
}

fn a_conflict_is_asked_again(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("web", "cmp07")]).remove(0);
    let busy = "Cannot 'os-migrateLive' instance while it is in task_state image_snapshot";
    lab.proxy.inject(1, "POST", "/action", "os-migrateLive", Fault::Say(409, busy.to_owned()));
    let account = lab.run_plan(&plan(&["cmp07"], "  servers: [{ladder: [live]}]"), 0);
    account.is_done();
    assert_eq!(lab.asked(&id, "os-migrateLive"), 2);
    assert_eq!(lab.nova.migrations(&id).len(), 1);
    assert_eq!(account.moved("cmp07", &id).1, "live");
}

fn a_token_that_is_revoked_and_one_that_expires(lab: &Scenario<'_>) {
    let tokens = |from: usize| {
        let mut tokens: Vec<String> = lab.proxy.seen().split_off(from).into_iter().filter_map(|s| s.token).collect();
        tokens.dedup();
        tokens
    };
    let ids = lab.boot(&[Server::new("one", "cmp08").knob("live_seconds", "9"), Server::new("two", "cmp08")]);
    let mut running = lab.start_plan(&plan(&["cmp08"], "  servers: [{ladder: [live]}]"));
    wait_event(&mut running, "a migration", |kind, _| kind == "move_seen");
    lab.revoke(&tokens(0).remove(0));
    let account = Account::of(running.wait(LIMIT).expect(0));
    account.is_done();
    assert_eq!(tokens(0).len(), 2, "one log-in in the middle");
    for id in &ids {
        assert_eq!((lab.asked(id, "os-migrateLive"), lab.nova.migrations(id).len()), (1, 1));
    }
    for leak in tokens(0) {
        assert!(!account.report.contains(&leak) && !format!("{:?}", account.events).contains(&leak));
    }

    // shorter than the run: furlough has to log in again, and nothing is lost by it
    lab.token_lifetime(8);
    let ids = lab.boot(&[Server::new("slow", "cmp09").knob("live_seconds", "12")]);
    let from = lab.proxy.seen().len();
    lab.run_plan(&plan(&["cmp09"], "  servers: [{ladder: [live]}]"), 0).is_done();
    assert!(tokens(from).len() >= 2, "no log-in in the middle");
    assert_eq!((lab.asked(&ids[0], "os-migrateLive"), lab.nova.migrations(&ids[0]).len()), (1, 1));
}

fn lost_answers_are_not_asked_twice(lab: &Scenario<'_>) {
    let ids = lab.boot(&[
        Server::new("live", "cmp10"),
        Server::new("cold", "cmp10").metadata("way", "cold"),
        Server::new("stop", "cmp10").metadata("way", "stop"),
    ]);
    let before = lab.conditions(&ids);
    for word in ["os-migrateLive", "\"migrate\"", "confirmResize", "os-stop", "os-start"] {
        lab.proxy.inject(1, "POST", "/action", word, Fault::DropAnswer);
    }
    for status in ["disabled", "enabled"] {
        lab.proxy.inject(1, "PUT", "/os-services/", &format!("\"status\":\"{status}\""), Fault::DropAnswer);
    }
    let rest = r#"
  servers:
    - where: server.metadata["way"] == "stop"
      ladder: [stop]
    - where: server.metadata["way"] == "cold"
      ladder: [cold]
    - ladder: [live]"#;
    let account = lab.run_plan(&plan(&["cmp10"], rest), 0);
    account.is_done();
    assert_eq!(lab.conditions(&ids), before);
    let lost = account.all("step_answered").filter(|e| e["answer"].get("lost").is_some()).count();
    assert_eq!(lost, 7, "{}", account.report);
    assert_eq!((lab.services_set("disabled"), lab.services_set("enabled")), (1, 1));
    let asked = [(0, "os-migrateLive"), (1, "migrate"), (1, "confirmResize"), (2, "os-stop"), (2, "os-start")];
    assert_eq!(asked.map(|(index, action)| lab.asked(&ids[index], action)), [1; 5]);
    assert_eq!(ids.iter().map(|id| lab.nova.migrations(id).len()).collect::<Vec<_>>(), [1, 1, 0]);
    lab.in_service("cmp10");
}
