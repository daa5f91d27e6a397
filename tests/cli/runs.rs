//! Whole runs, and what is asked about them afterwards.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::desk::{Desk, regex_free, shown, snapshot};
use crate::fake::Fake;

fn plan(host: &str, script: &str) -> String {
    format!(
        "furlough: 1\nname: reboot one\nhosts: [{{name: {host}}}]\ndrain: {{late_arrivals: 0s}}\nmaintain:\n  \
         - run: {{command: [./{script}, \"{{{{ host.name }}}}\"], timeout: 1m}}\n"
    )
}

fn desk() -> Desk {
    let desk = Desk::with(Fake::start());
    desk.script("reboot.sh", "echo rebooting $1 >&2");
    desk.script("fail.sh", "echo no kernel for $1; exit 7");
    desk.file("plan.yaml", &plan("cmp-01", "reboot.sh"));
    // A host without servers: most of a run's time is waiting for them.
    desk.file("fail.yaml", &plan("cmp-04", "fail.sh"));
    desk
}

fn lines(desk: &Desk, lines: &[&str]) -> String {
    lines.iter().map(|line| desk.furlough(line)).collect()
}

#[test]
fn a_run_to_its_end() {
    let desk = desk();
    let text = lines(
        &desk,
        &[
            "run plan.yaml",
            "run plan.yaml --yes",
            "runs",
            "runs --json",
            "status",
            "resume",
            "resume 2",
            "status nope",
            "resume nope",
        ],
    );
    snapshot!(desk, text);
}

/// When it is run again a server has come to the host, and the cloud is no longer as the saved plan was compiled against.
#[test]
fn a_saved_plan_is_run_as_it_was_reviewed_or_not_at_all() {
    let desk = desk();
    desk.file("plan.yaml", &plan("cmp-04", "reboot.sh"));
    let text = lines(&desk, &["plan plan.yaml -o saved --format mermaid", "run saved --yes"]);
    desk.fake.as_ref().unwrap().state().servers[0].host = "cmp-04".to_owned();
    let again = desk.furlough("run saved --yes");
    snapshot!(desk, text + &again);
}

#[test]
fn a_run_as_json() {
    let desk = desk();
    desk.file("plan.yaml", &plan("cmp-04", "reboot.sh"));
    let output = desk.command("run plan.yaml --yes --json").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let kinds = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events = rows.filter(|row| row["type"] == "event");
        events.map(|row| row["event"]["kind"].as_object().unwrap().keys().next().unwrap().clone()).collect::<Vec<_>>()
    };
    let live = kinds(&output.stdout);
    assert_eq!((live.first().unwrap().as_str(), live.last().unwrap().as_str()), ("run_started", "run_ended"));
    let status = desk.command("status --json").output().unwrap();
    assert_eq!(kinds(&status.stdout), live, "the journal holds what was shown");
    // The report is for people: it is on standard error.
    assert!(String::from_utf8_lossy(&output.stderr).contains("everything is as the plan has it"));
}

#[test]
fn a_failed_run_and_the_ways_on() {
    let desk = desk();
    let text = lines(&desk, &["run fail.yaml --yes", "runs", "status", "hosts", "run fail.yaml --yes"]);
    desk.script("fail.sh", "echo fine now");
    let text = text + &lines(&desk, &["resume", "hosts"]);
    snapshot!(desk, text);
}

#[test]
fn a_drain_and_its_enable() {
    let desk = desk();
    let text = lines(
        &desk,
        &[
            "drain cmp-01 --late-arrivals 0s --yes",
            "drain cmp-01 --yes",
            "enable cmp-01",
            "enable cmp-01 --yes",
            "enable cmp-01 --yes",
            "runs",
        ],
    );
    snapshot!(desk, text);
    assert!(desk.fake.as_ref().unwrap().state().hosts.iter().all(|host| host.reason.is_none()));
}

/// What was left to do was for a host without servers, and it is in service again.
#[test]
fn a_run_whose_host_was_given_back_is_not_resumed() {
    let desk = desk();
    let text = lines(&desk, &["run fail.yaml --yes", "enable cmp-04 --yes"]);
    assert_eq!(text.matches("---- exit code 1\n").count(), 1, "{text}");
    assert_eq!(text.matches("---- exit code 0\n").count(), 1, "{text}");
    snapshot!(desk, desk.furlough("resume"));
}

/// Somebody has enabled the host past furlough: the run that left it behind lets go of it.
#[test]
fn a_host_that_was_enabled_by_hand_is_let_go() {
    let desk = desk();
    desk.furlough("run fail.yaml --yes");
    desk.fake.as_ref().unwrap().state().hosts[3].reason = None;
    desk.file("plan.yaml", &plan("cmp-04", "reboot.sh"));
    snapshot!(desk, lines(&desk, &["run plan.yaml --yes", "enable cmp-04", "resume", "run plan.yaml --yes"]));
}

#[test]
fn a_journal_that_cannot_be_made_is_found_before_anything_is_changed() {
    let desk = desk();
    desk.file("text", "no folder");
    snapshot!(desk, desk.furlough("run plan.yaml --yes --journal text/journal.db"));
    assert!(desk.fake.as_ref().unwrap().state().hosts.iter().all(|host| host.reason.is_none()));
}

/// While one process has a run, others keep away from it and its hosts; Ctrl-C lets it finish what it is at.
#[test]
fn one_process_at_a_time_and_ctrl_c() {
    let desk = desk();
    desk.script("wait.sh", "touch began; until [ -e go ]; do sleep 0.1; done");
    desk.file("plan.yaml", &plan("[cmp-03, cmp-04]", "wait.sh"));
    desk.fake.as_ref().unwrap().state().servers.truncate(2);
    let mut command = desk.command("run plan.yaml --yes");
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !desk.folder().join("began").exists() {
        assert!(Instant::now() < patience, "the run does not come to its command");
        sleep(Duration::from_millis(20));
    }
    let mut text = lines(&desk, &["runs", "status", "resume", "enable cmp-03 --yes", "run plan.yaml --yes"]);
    let pid = rustix::process::Pid::from_raw(run.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    while !desk.furlough("status").contains("interrupted") {
        assert!(Instant::now() < patience, "the run does not hear Ctrl-C");
    }
    desk.file("go", "");
    text += &shown("run plan.yaml --yes", &run.wait_with_output().unwrap());
    snapshot!(desk, text + &lines(&desk, &["resume", "hosts"]));
}
