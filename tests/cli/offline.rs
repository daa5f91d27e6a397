//! What needs no cloud.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::desk::{Desk, regex_free, shown, snapshot};

const SUBCOMMANDS: [&str; 13] = [
    "validate",
    "plan",
    "rehearse",
    "run",
    "resume",
    "status",
    "runs",
    "hosts",
    "snapshot",
    "drain",
    "enable",
    "schema",
    "completions",
];

fn head(text: &str, lines: usize) -> String {
    text.lines().take(lines).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_help() {
    let desk = Desk::new();
    let mut text = desk.furlough("--help") + &desk.furlough("drain -h");
    for subcommand in SUBCOMMANDS {
        text += &desk.furlough(&format!("help {subcommand}"));
    }
    snapshot!(desk, text);
}

#[test]
fn wrong_command_lines() {
    let desk = Desk::new();
    desk.file("plan.yaml", "furlough: 1\nhosts: [{name: cmp-01}]\n");
    let lines = [
        "",
        "drian",
        "hosts --jso",
        "drain",
        "drain cmp-01 --ladder love",
        "drain cmp-01 --ladder live,live",
        "drain cmp-01 --source 0",
        "drain cmp-01 --late-arrivals 30",
        "plan plan.yaml -o plan.yaml",
    ];
    snapshot!(desk, lines.map(|line| desk.furlough(line)).concat());
}

#[test]
fn validate() {
    let desk = Desk::new();
    desk.file("good.yaml", "furlough: 1\nname: reboot rack a\nhosts: [{name: cmp-01}]\n");
    desk.file("six-mistakes.yaml", include_str!("../plans/invalid/six-mistakes.yaml"));
    desk.file("empty.yaml", "");
    desk.file("object.json", "{\"furlough\": 1}");
    std::fs::write(desk.folder().join("binary"), [0xff, 0xfe, 0]).unwrap();
    std::fs::create_dir(desk.folder().join("folder")).unwrap();
    let lines = [
        "validate good.yaml",
        "validate six-mistakes.yaml",
        "validate good.yaml empty.yaml missing.yaml folder binary object.json good.yaml",
    ];
    let mut child = desk.command("validate -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"furlough: 1\nname: piped\nhosts: [{name: cmp-01}]\n").unwrap();
    let piped = shown("validate -", &child.wait_with_output().unwrap());
    snapshot!(desk, lines.map(|line| desk.furlough(line)).concat() + &piped);
}

#[test]
fn completions() {
    let desk = Desk::new();
    let of = |shell| {
        let script = desk.furlough(&format!("completions {shell}"));
        assert!(!script.contains("__supervise"), "{shell}");
        head(&script, 6)
    };
    snapshot!(desk, ["bash", "zsh", "fish"].map(of).concat() + &desk.furlough("completions tcsh"));
}

/// Editors read the file; what the program prints is the truth.
#[test]
fn the_schema_in_docs_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.schema.json");
    let desk = Desk::new();
    let printed = desk.command("schema").output().unwrap();
    assert!(printed.status.success());
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(
        kept == printed.stdout,
        "{} is out of date: `cargo run -- schema > docs/plan.schema.json` updates it",
        path.display()
    );
}

#[test]
fn without_a_cloud() {
    let desk = Desk::new();
    desk.file("plan.yaml", "furlough: 1\nname: reboot rack a\ncloud: prod\nhosts: [{name: cmp-01}]\n");
    let lines = ["hosts", "plan plan.yaml", "plan missing.yaml", "drain cmp-01 --yes", "enable cmp-01 --yes"];
    let mut text = lines.map(|line| desk.furlough(line)).concat();
    desk.file("clouds.yaml", "clouds: {prod: {auth: {auth_url: 'http://127.0.0.1:1'}}, test: {}}\n");
    for line in ["hosts", "hosts --cloud prd", "hosts --cloud prod", "hosts --cloud test"] {
        text += &desk.furlough(line);
    }
    snapshot!(desk, text);
}

#[test]
fn without_a_journal_and_with_a_wrong_one() {
    let desk = Desk::new();
    desk.file("text", "this is no database, but long enough to be taken for one at the first glance\n");
    std::fs::create_dir(desk.folder().join("folder")).unwrap();
    let lines = [
        "runs",
        "runs --json",
        "status",
        "status 2026",
        "resume",
        "resume 2026",
        "runs --journal text",
        "status --journal folder",
        "resume --journal text",
        "runs --journal text/journal.db",
    ];
    snapshot!(desk, lines.map(|line| desk.furlough(line)).concat());
    assert!(!desk.folder().join("journal.db").exists(), "looking made a journal");
}

/// `furlough schema | head`, and a standard error that is gone.
#[test]
fn closed_pipes_are_quiet() {
    let desk = Desk::new();
    desk.file("plan.yaml", "furlough: 1\nname: reboot rack a\nhosts: [{name: cmp-01}]\n");
    for (line, code) in [("schema", 0), ("completions zsh", 0), ("validate plan.yaml plan.yaml", 0), ("hosts", 2)] {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut child = desk.command(line).stdout(closed()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
        assert_eq!(said.is_empty(), code == 0, "{line}: {said}");
        let status = desk.command(line).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{line}");
    }
}
