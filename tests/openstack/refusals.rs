//! What furlough refuses before it changes anything, and why.

use std::time::Duration;

use serde_json::json;

use crate::furlough::Outcome;
use crate::maintenance::{Account, LIMIT, plan, wait_event};
use crate::nova::text;
use crate::on_both_releases;
use crate::scenario::{Scenario, Server};

on_both_releases!(a_foreign_verify_resize, an_affinity_pair, a_compiled_plan_and_its_drift, two_runs_on_one_host,);

/// All of it, on whichever stream.
fn said(outcome: &Outcome) -> String {
    format!("{}{}", outcome.stdout, outcome.stderr)
}

fn a_foreign_verify_resize(lab: &Scenario<'_>) {
    let ids = lab.boot(&[Server::new("resized", "cmp01"), Server::new("web", "cmp02")]);
    lab.act(&ids[0], &json!({"migrate": {"host": "cmp02"}}));
    lab.settled(&ids[0], "VERIFY_RESIZE");
    // it is on cmp02 now, and cmp01 owes it a way back: neither may be taken
    for host in ["cmp02", "cmp01"] {
        lab.desk.write("plan.yaml", &plan(&[host], ""));
        for args in [&["plan", "plan.yaml"][..], &["run", "plan.yaml", "--yes"], &["drain", host, "--yes"]] {
            let refused = lab.desk.run(args, LIMIT).expect(3);
            assert!(said(&refused).contains("resized"), "{args:?}: {}", said(&refused));
        }
    }
    lab.nothing_changed();
    lab.settled(&ids[0], "VERIFY_RESIZE");
    lab.in_service("cmp01");
    lab.in_service("cmp02");
}

fn an_affinity_pair(lab: &Scenario<'_>) {
    let together = lab.group("together", "affinity");
    lab.boot(&[Server::new("pair-1", "cmp03").group(&together), Server::new("pair-2", "cmp03").group(&together)]);
    lab.desk.write("plan.yaml", &plan(&["cmp03"], ""));
    for args in [&["plan", "plan.yaml"][..], &["run", "plan.yaml", "--yes"], &["drain", "cmp03", "--yes"]] {
        let refused = said(&lab.desk.run(args, LIMIT).expect(3));
        for word in ["together", "pair-1", "pair-2", "affinity"] {
            assert!(refused.contains(word), "{args:?}: no {word} in {refused}");
        }
    }
    lab.nothing_changed();
    lab.in_service("cmp03");
}

fn a_compiled_plan_and_its_drift(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("web", "cmp04")]).remove(0);
    lab.desk.write("plan.yaml", &plan(&["cmp04"], "  servers: [{ladder: [live]}]"));
    lab.desk.run(&["plan", "plan.yaml", "-o", "compiled.json"], LIMIT).expect(0);
    lab.nothing_changed();

    let more = lab.boot(&[Server::new("newcomer", "cmp04")]).remove(0);
    let refused = said(&lab.desk.run(&["run", "compiled.json", "--yes"], LIMIT).expect(3));
    assert!(refused.contains("newcomer") && refused.contains("cmp04"), "{refused}");
    lab.nothing_changed();

    lab.delete(&more);
    let account = Account::of(lab.desk.run(&["run", "compiled.json", "--yes", "--json"], LIMIT).expect(0));
    account.is_done();
    assert_eq!(account.moved("cmp04", &id), (lab.host(&id), "live".to_owned()));
}

fn two_runs_on_one_host(lab: &Scenario<'_>) {
    let id = lab.boot(&[Server::new("web", "cmp05").knob("live_seconds", "14")]).remove(0);
    let mut first = lab.start_plan(&plan(&["cmp05"], "  servers: [{ladder: [live]}]"));
    wait_event(&mut first, "a migration", |kind, _| kind == "move_seen");
    let service = lab.nova.service("cmp05");
    let reason = text(&service, "disabled_reason");
    let run = reason.trim_start_matches("furlough ").split(':').next().unwrap_or_default();
    assert_eq!(run.len(), "20261123-1642-9f2c".len(), "{service}");

    let changes = lab.proxy.count(crate::proxy::Seen::changes);
    // the same journal, and one that has never heard of the first run: only the cloud tells
    for journal in [None, Some("--journal=other.db")] {
        for command in [&["run", "plan.yaml", "--yes"][..], &["drain", "cmp05", "--yes"], &["enable", "cmp05", "--yes"]]
        {
            if journal.is_some() && command[0] == "enable" {
                continue; // to give back what an unknown run took is what `enable` is for
            }
            let args: Vec<&str> = command.iter().copied().chain(journal).collect();
            let refused = said(&lab.desk.run(&args, Duration::from_secs(60)).expect(3));
            assert!(refused.contains(run), "{args:?}: no {run} in {refused}");
        }
    }
    assert!(first.finished().is_none(), "the first run was over before the second was tried");
    assert_eq!(lab.proxy.count(crate::proxy::Seen::changes), changes);
    Account::of(first.wait(LIMIT).expect(0)).is_done();
    assert_ne!(lab.host(&id), "cmp05");
    lab.in_service("cmp05");
}
