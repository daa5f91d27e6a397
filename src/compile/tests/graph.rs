//! Steps, their names and edges.

use super::*;
use crate::compile::{Graph, StepId, compile};
use crate::plan::{Action, Command, Template, Wait};
use Rung::{Leave, Live, Stop};

fn step(id: &str) -> StepId {
    StepId(id.to_owned())
}

fn needs<'a>(graph: &'a Graph, id: &str) -> Vec<&'a str> {
    let found = graph.step(&step(id)).unwrap_or_else(|| panic!("no step {id}"));
    found.needs.iter().map(|need| need.0.as_str()).collect()
}

fn full() -> (Plan, Inventory) {
    let mut full = plan(&["cmp-[12]"], &[Live, Stop]);
    full.drain.servers.insert(0, rule(0, Some("server.name == 'name-of-stays'"), &[Leave]));
    let run = |text: &str| {
        let argv = ["reboot", text].map(|text| Template::parse(text).unwrap()).to_vec();
        Action::Run(Command { argv, timeout_s: 60 })
    };
    let up = Wait { until: Expr::parse("host.service.state == 'up'", Scope::Host).unwrap(), timeout_s: 900 };
    full.maintain = vec![run("{{ host.name }}"), Action::Wait(up)];
    full.verify = vec![run("{{ host.hypervisor.hostname }}")];
    let servers = vec![server("a", "cmp-1"), off("b", "cmp-1"), server("stays", "cmp-1"), server("c", "cmp-2")];
    (full, cloud(&["cmp-1", "cmp-2", "cmp-3"], servers))
}

#[test]
fn a_host_goes_out_and_comes_back_in_this_order() {
    let (full, inventory) = full();
    let graph = compile(&full, &inventory, "test").unwrap();
    insta::assert_snapshot!(listing(&graph), @r"
    1 cmp-1/disable <-
    1 cmp-1/list <- cmp-1/disable
    1 cmp-1/move/a <- cmp-1/list
    1 cmp-1/move/b <- cmp-1/list
    1 cmp-1/empty <- cmp-1/list cmp-1/move/a cmp-1/move/b
    1 cmp-1/maintain/1-run <- cmp-1/empty
    1 cmp-1/maintain/2-wait <- cmp-1/maintain/1-run
    1 cmp-1/verify/1-run <- cmp-1/maintain/2-wait
    1 cmp-1/start/a <- cmp-1/verify/1-run
    1 cmp-1/enable <- cmp-1/verify/1-run cmp-1/start/a
    2 cmp-2/disable <- cmp-1/enable
    2 cmp-2/list <- cmp-2/disable
    2 cmp-2/move/c <- cmp-2/list
    2 cmp-2/empty <- cmp-2/list cmp-2/move/c
    2 cmp-2/maintain/1-run <- cmp-2/empty
    2 cmp-2/maintain/2-wait <- cmp-2/maintain/1-run
    2 cmp-2/verify/1-run <- cmp-2/maintain/2-wait
    2 cmp-2/start/c <- cmp-2/verify/1-run
    2 cmp-2/enable <- cmp-2/verify/1-run cmp-2/start/c
    ");
}

fn listing(graph: &Graph) -> String {
    let line = |step: &crate::compile::Step| {
        let needs: Vec<&str> = step.needs.iter().map(|need| need.0.as_str()).collect();
        format!("{} {} <- {}", step.wave, step.id, needs.join(" ")).trim_end().to_owned()
    };
    graph.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_listing_of_a_wave_waits_for_every_disable_of_it() {
    let (mut full, inventory) = full();
    full.waves.max_hosts = Count::Hosts(2);
    let graph = compile(&full, &inventory, "test").unwrap();
    for host in ["cmp-1", "cmp-2"] {
        assert_eq!(needs(&graph, &format!("{host}/list")), ["cmp-1/disable", "cmp-2/disable"]);
        assert!(needs(&graph, &format!("{host}/disable")).is_empty());
    }
}

#[test]
fn a_host_that_is_kept_disabled_ends_with_its_last_check() {
    let (mut full, inventory) = full();
    full.finish = Finish::KeepDisabled;
    let graph = compile(&full, &inventory, "test").unwrap();
    assert_eq!(needs(&graph, "cmp-2/disable"), ["cmp-1/verify/1-run"]);
    assert!(!graph.steps.iter().any(|step| step.id.0.ends_with("enable") || step.id.0.contains("/start/")));
    full.verify.clear();
    full.maintain.clear();
    assert_eq!(needs(&compile(&full, &inventory, "test").unwrap(), "cmp-2/disable"), ["cmp-1/empty"]);
}

#[test]
fn commands_are_rendered_for_each_host_and_must_name_a_program() {
    let (mut full, inventory) = full();
    let graph = compile(&full, &inventory, "test").unwrap();
    let crate::compile::StepKind::Command { argv, timeout_s: 60, .. } =
        &graph.step(&step("cmp-2/verify/1-run")).unwrap().kind
    else {
        panic!("not a command")
    };
    assert_eq!(argv, &["reboot", "cmp-2.example.org"]);

    let argv = vec![Template::parse("{{ host.service.forced_down or '' }}").unwrap()];
    full.verify = vec![Action::Run(Command { argv, timeout_s: 60 })];
    let error = compile(&full, &inventory, "test").unwrap_err().to_string();
    assert!(error.starts_with("verify[0]:") && error.contains("host cmp-1: it gives no program"), "{error}");
}

#[test]
fn blocked_and_staying_servers_have_no_step() {
    let mut inventory = cloud(&["cmp-1", "cmp-2"], vec![server("a", "cmp-1"), server("b", "cmp-1")]);
    inventory.servers[0].status = ServerStatus::Error;
    let mut mixed = plan(&["cmp-1"], &[Live]);
    mixed.drain.servers.insert(0, rule(0, Some("server.id == 'b'"), &[Leave]));
    let graph = compile(&mixed, &inventory, "test").unwrap();
    assert_eq!(needs(&graph, "cmp-1/empty"), ["cmp-1/list"]);
    assert_eq!(graph.servers.len(), 2);
}

#[test]
fn the_gaps_of_the_reading_that_concern_the_plan_are_in_the_graph() {
    use crate::cloud::Gap;
    let mut inventory = cloud(&["cmp-1", "cmp-2"], vec![]);
    let gap = |host: Option<&str>| Gap { what: "x".to_owned(), host: host.map(str::to_owned), why: "403".to_owned() };
    inventory.gaps = vec![gap(None), gap(Some("cmp-1")), gap(Some("cmp-2"))];
    let graph = compile(&plan(&["cmp-1"], &[Live]), &inventory, "test").unwrap();
    assert_eq!(graph.gaps, ["x: 403", "x of cmp-1: 403"]);
}
