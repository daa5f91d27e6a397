//! What reads a cloud and changes nothing.

use std::path::Path;

use crate::desk::{Desk, regex_free, snapshot};
use crate::fake::Fake;

const PLAN: &str = "\
furlough: 1
name: reboot one
hosts: [{name: cmp-01}]
drain: {late_arrivals: 0s}
maintain:
  - run: {command: [./reboot.sh, \"{{ host.name }}\"], timeout: 1m}
";

#[test]
fn hosts() {
    let desk = Desk::with(Fake::start());
    desk.fake.as_ref().unwrap().state().hosts[1].reason = Some("bad memory, ask the hardware team".to_owned());
    snapshot!(desk, desk.furlough("hosts") + &desk.furlough("hosts --json"));
}

#[test]
fn clouds_that_refuse() {
    let desk = Desk::with(Fake::start());
    let lines = [
        "hosts --cloud wrong",
        "hosts --cloud member",
        "hosts --cloud prods",
        "drain cmp-09",
        "enable cmp-9",
        "drain cmp-01",
    ];
    snapshot!(desk, lines.map(|line| desk.furlough(line)).concat());
}

#[test]
fn a_plan_in_every_format() {
    let desk = Desk::with(Fake::start());
    desk.file("plan.yaml", PLAN);
    let lines = [
        "plan plan.yaml",
        "plan plan.yaml --format dot",
        "plan plan.yaml --format mermaid",
        "plan plan.yaml --format json",
        "plan plan.yaml -o saved --color never",
        "validate saved",
        "plan saved",
        "plan plan.yaml -o missing/saved --format mermaid",
    ];
    snapshot!(desk, lines.map(|line| desk.furlough(line)).concat());
}

#[test]
fn what_stands_in_the_way() {
    let desk = Desk::with(Fake::start());
    desk.file("plan.yaml", &PLAN.replace("cmp-01", "\"*\""));
    {
        let mut state = desk.fake.as_ref().unwrap().state();
        state.hosts[1].up = false;
        state.servers[2].status = "ERROR";
        state.together = vec!["web-1", "web-2"];
    }
    let text = desk.furlough("plan plan.yaml -o saved") + &desk.furlough("run plan.yaml --yes");
    snapshot!(desk, text);
    assert!(!desk.folder().join("journal.db").exists(), "a run that cannot begin made a journal");
}

/// A playbook that no longer compiles is no playbook.
#[test]
fn every_playbook_compiles() {
    let desk = Desk::with(Fake::start());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let mut compiled = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let output = desk.command("plan --format json").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {said}", path.display());
        let graph: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!graph["steps"].as_array().unwrap().is_empty(), "{}", path.display());
        compiled += 1;
    }
    assert!(compiled >= 3);
}
