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
