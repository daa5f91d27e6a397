//! A saved graph: its id, what is refused, and what has become different since.

use super::*;
use crate::compile::{Graph, GraphError, Step, StepId, StepKind, compile, drift};
use Rung::{Cold, Live};

fn small() -> Graph {
    let servers = vec![server("a", "cmp-1"), server("b", "cmp-2")];
    let mut plan = plan(&["cmp-[12]"], &[Live]);
    // What the written graph below was compiled from.
    (plan.drain.live.stalled_after_s, plan.drain.late_arrivals_s) = (300, 30);
    compile(&plan, &cloud(&["cmp-1", "cmp-2", "cmp-3"], servers), "test").unwrap()
}

fn step(id: &str, needs: &[&str]) -> Step {
    let needs = needs.iter().map(|&need| StepId(need.to_owned())).collect();
    Step { id: StepId(id.to_owned()), host: "h".to_owned(), wave: 1, kind: StepKind::List, needs }
}

fn error_of(steps: Vec<Step>) -> String {
    Graph { steps, servers: Vec::new(), ..small() }.check().unwrap_err().to_string()
}

#[test]
fn a_graph_reads_back_as_it_was_written() {
    let graph = small();
    let text = graph.write().unwrap();
    assert_eq!(Graph::read(&text).unwrap(), graph);
    assert_eq!(graph.id.len(), 16);
    insta::assert_snapshot!(text);
}

#[test]
fn newer_edited_and_foreign_texts_are_refused() {
    let text = small().write().unwrap();
    let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_eq!(Graph::read(&newer).unwrap_err(), GraphError::Newer { found: 2 });
    // A newer format is named even where this version could not read the rest.
    assert_eq!(Graph::read("{\"version\": 9}").unwrap_err(), GraphError::Newer { found: 9 });
    let edited = text.replacen("\"live\"", "\"cold\"", 1);
    assert!(matches!(Graph::read(&edited), Err(GraphError::Altered { .. })));
    for foreign in ["", "[]", "{}", "{\"version\": 1}", "{\"version\": -1}", "hosts: []"] {
        assert!(matches!(Graph::read(foreign), Err(GraphError::Malformed(_))), "{foreign}");
    }
}

#[test]
fn unsound_steps_are_refused_by_name() {
    assert_eq!(error_of(vec![step("a", &[]), step("a", &[])]), "two steps are both called a");
    assert_eq!(error_of(vec![step("a", &["b"])]), "step a needs b, which is not in the graph");
    assert_eq!(error_of(vec![step("a", &["b"]), step("b", &[])]), "step a stands before b, which it needs");
    assert_eq!(error_of(vec![step("a", &["a"])]), "steps wait for each other in a circle: a → a");
    let round = vec![step("x", &[]), step("a", &["x", "c"]), step("b", &["a"]), step("c", &["b"]), step("d", &["c"])];
    assert_eq!(error_of(round), "steps wait for each other in a circle: a → b → c → a");
    let lost = Step { kind: StepKind::Start { server: "s".to_owned() }, ..step("a", &[]) };
    assert_eq!(error_of(vec![lost]), "step a is about server s, which the graph does not list");
}

#[test]
fn a_long_loop_is_printed_in_part() {
    let ring = |at: usize| step(&format!("s{at}"), &[&format!("s{}", (at + 99) % 100)]);
    let error = error_of((0..100).map(ring).collect());
    assert!(error.contains("… 80 more … → s0"), "{error}");
}

#[test]
fn too_many_steps_and_needs_are_refused() {
    let many = (0..=crate::compile::MAX_STEPS).map(|at| step(&at.to_string(), &[])).collect();
    assert_eq!(Graph { steps: many, ..small() }.check(), Err(GraphError::TooManySteps));
    let needy = step("a", &vec!["b"; crate::compile::MAX_NEEDS + 1]);
    assert_eq!(Graph { steps: vec![needy], ..small() }.check(), Err(GraphError::TooManyNeeds));

    let names: Vec<String> = (0..1500).map(|at| format!("h{at}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut at_once = plan(&["*"], &[Live]);
    at_once.waves.max_hosts = Count::Percent(100);
    let error = compile(&at_once, &cloud(&hosts, vec![]), "test").unwrap_err();
    assert_eq!(error, GraphError::TooManyNeeds.into());
}

#[test]
fn petgraph_has_the_steps_and_their_needs() {
    let graph = small();
    let nodes = graph.to_petgraph();
    assert_eq!(nodes.node_count(), graph.steps.len());
    assert_eq!(nodes.edge_count(), graph.steps.iter().map(|step| step.needs.len()).sum::<usize>());
    assert!(petgraph::algo::toposort(&nodes, None).is_ok());
}

#[test]
fn nothing_has_drifted_from_itself() {
    let mut later = small();
    later.read_at = "2026-03-02T02:00:00Z".parse().unwrap();
    later.id = "another".to_owned();
    assert_eq!(drift(&small(), &later), Vec::<String>::new());
}

#[test]
fn every_difference_is_a_sentence() {
    let before = cloud(
        &["cmp-1", "cmp-2", "cmp-3"],
        vec![server("a", "cmp-1"), server("b", "cmp-1"), server("c", "cmp-1"), server("d", "cmp-2")],
    );
    let mut now = cloud(
        &["cmp-2", "cmp-3", "cmp-4"],
        vec![server("b", "cmp-2"), off("c", "cmp-2"), server("e", "cmp-2"), server("d", "cmp-2")],
    );
    now.capabilities.newest = Microversion::v2(100);
    now.hosts[0].service.status = ServiceStatus::Disabled;
    now.hosts[0].service.disabled_reason = Some("fan broken".to_owned());
    now.hosts[1].service.state = ServiceState::Down;
    let wide = plan(&["cmp-*"], &[Live, Cold]);
    let saved = compile(&wide, &before, "test").unwrap();
    let fresh = compile(&wide, &now, "test").unwrap();
    insta::assert_snapshot!(drift(&saved, &fresh).join("\n"), @r"
    the cloud offers 2.100 now, and 2.96 then
    host cmp-1 is no longer selected
    host cmp-2 is in wave 1 now, and was in wave 2
    host cmp-2 has been disabled: fan broken
    host cmp-3 is in wave 2 now, and was in wave 3
    host cmp-4 is selected now, in wave 3
    server name-of-a (a) is no longer on host cmp-1
    server name-of-b (b) has moved from host cmp-1 to host cmp-2
    server name-of-c (c) has moved from host cmp-1 to host cmp-2
    server name-of-c (c) is SHUTOFF now, and was ACTIVE
    server name-of-c (c) gets cold now, and would have got live, then cold
    server name-of-e (e) is new on host cmp-2: live, then cold
    new blocker on host cmp-3: its nova-compute is down (last heartbeat 2026-03-01T02:00:00Z), and no server leaves such a host by migration
    ");
}
