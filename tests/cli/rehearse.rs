//! Snapshots of a cloud, and plans tried out where there is none.

use serde_json::Value;

use crate::desk::{Desk, regex_free, snapshot};
use crate::fake::Fake;

const PLAN: &str = "\
furlough: 1
name: reboot one
hosts: [{name: cmp-01}]
maintain:
  - run: {command: [./reboot.sh, \"{{ host.name }}\"], timeout: 10m}
  - wait: {until: host.service.state == \"up\", timeout: 20m}
";

fn lines(desk: &Desk, lines: &[&str]) -> String {
    lines.iter().map(|line| desk.furlough(line)).collect()
}

#[test]
fn a_snapshot_with_its_names_and_without() {
    let desk = Desk::with(Fake::start());
    desk.fake.as_ref().unwrap().state().together = vec!["web-1", "web-2"];
    desk.fake.as_ref().unwrap().state().hosts[1].reason = Some("bad memory".to_owned());
    let text = lines(
        &desk,
        &["snapshot -o prod.json", "snapshot --anonymous", "snapshot -o missing/prod.json", "snapshot --cloud member"],
    );
    snapshot!(desk, text);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(desk.folder().join("prod.json")).unwrap()).unwrap();
    assert_eq!((&kept["furlough_snapshot"], &kept["cloud"]), (&1.into(), &"prod".into()));
    assert_eq!(kept["inventory"]["servers"][0]["name"], "web-1");
    assert!(!text.contains("right"), "the password is in it");
}

#[test]
fn rehearsals_that_cannot_be() {
    let desk = Desk::new();
    desk.file("plan.yaml", PLAN);
    desk.file("mistakes.yaml", &PLAN.replace("hosts:", "hots:"));
    desk.file("wish.yaml", &PLAN.replace("name: cmp-01", "where: host.servers > 100000"));
    desk.file("newer.json", "{\"furlough_snapshot\": 99, \"inventory\": {\"hosts\": 7}}");
    desk.file("foreign.json", "{\"servers\": []}");
    desk.file("cut.json", "{\"furlough_snapshot\": 1, \"furlough\": \"0.1.0\", \"clo");
    desk.file("key.yaml", "chances:\n  live_stalls: 0.1\n  live_fials: 0.1\n");
    desk.file("type.yaml", "habits:\n  boot_ms: soon\n");
    desk.file("chance.yaml", "chances: {live_stalls: 0.1,\n  live_fails: 1.5}\n");
    desk.file("span.yaml", "commands:\n  took_s: [90, 20]\n");
    desk.file("script.yaml", "script:\n  - {on: ask, ask: live, fate: explodes}\n");
    desk.file("empty.yaml", "\n");
    desk.file("compiled.json", "{\"version\": 1}");
    let text = lines(
        &desk,
        &[
            "rehearse plan.yaml --nights 0",
            "rehearse plan.yaml --nights 100001",
            "rehearse plan.yaml --nights many",
            "rehearse plan.yaml --hosts 1",
            "rehearse plan.yaml --hosts 20000",
            "rehearse plan.yaml --servers-per-host 501",
            "rehearse plan.yaml --hosts 10000 --servers-per-host 500",
            "rehearse plan.yaml --hosts 5 --from newer.json",
            "rehearse mistakes.yaml",
            "rehearse wish.yaml",
            "rehearse missing.yaml",
            "rehearse compiled.json",
            "rehearse plan.yaml --from newer.json",
            "rehearse plan.yaml --from foreign.json",
            "rehearse plan.yaml --from cut.json",
            "rehearse plan.yaml --from missing.json",
            "rehearse plan.yaml --faults key.yaml",
            "rehearse plan.yaml --faults type.yaml",
            "rehearse plan.yaml --faults chance.yaml",
            "rehearse plan.yaml --faults span.yaml",
            "rehearse plan.yaml --faults script.yaml",
            "rehearse plan.yaml --faults empty.yaml",
            "rehearse plan.yaml --faults hard",
        ],
    );
    snapshot!(desk, text);
    assert!(!desk.folder().join("journal.db").exists(), "a rehearsal made a journal");
}

#[test]
fn one_night_and_many() {
    let desk = Desk::new();
    desk.file("plan.yaml", PLAN);
    desk.file("later.yaml", "chances: {host_never: 1.0}\nhabits: {boot_ms: [60000, 90000]}\n");
    let small = "--hosts 4 --servers-per-host 3";
    let text = lines(
        &desk,
        &[
            &format!("rehearse plan.yaml {small}"),
            &format!("rehearse plan.yaml {small} --faults later.yaml"),
            &format!("rehearse plan.yaml {small} --nights 6"),
            &format!("rehearse plan.yaml {small} --nights 6 --json"),
        ],
    );
    // Its times are a seed's, not the moment's: they are part of what is promised.
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(text);
    });
    assert!(!desk.folder().join("journal.db").exists(), "a rehearsal made a journal");
}

/// What a seed shows is the same however often and on however many cores it is asked for.
#[test]
fn a_night_as_json_is_the_same_each_time() {
    let desk = Desk::with(Fake::start());
    desk.file("plan.yaml", PLAN);
    desk.furlough("snapshot -o prod.json");
    let night =
        || desk.command("rehearse plan.yaml --from prod.json --seed 4 --faults typical --json").output().unwrap();
    let (one, other) = (night(), night());
    assert_eq!(one.status.code(), Some(0), "{}", String::from_utf8_lossy(&one.stderr));
    assert!(one.stdout == other.stdout && one.stderr == other.stderr, "two nights of one seed");
    let text = String::from_utf8(one.stdout).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().filter(|row| row["event"]["kind"]["run_ended"].is_object()).count(), 1);
    let said = String::from_utf8(one.stderr).unwrap();
    assert!(said.contains("on prod.json, cloud prod") && said.contains("no cloud was asked anything"), "{said}");
}
