//! What is added to a running graph, and the graph that puts hosts back.

use super::*;
use crate::compile::{BlockerCode, CompileError, Graph, MAX_TIMES_PLANNED, StepKind, compile, compile_enable, extend};
use Rung::{Cold, Leave, Live, Stop};

fn parent(ladder: &[Rung]) -> (Graph, Inventory) {
    let inventory = cloud(&["cmp-1", "cmp-2"], vec![server("a", "cmp-1")]);
    (compile(&plan(&["cmp-1"], ladder), &inventory, "test").unwrap(), inventory)
}

fn ids(graph: &Graph) -> Vec<&str> {
    graph.steps.iter().map(|step| step.id.0.as_str()).collect()
}

#[test]
fn new_servers_become_a_child_below_empty() {
    let (parent, inventory) = parent(&[Live, Cold]);
    let found = [server("z", "cmp-1"), off("b", "cmp-1"), server("z", "cmp-1")];
    let child = extend(&parent, "cmp-1", &found, &BTreeMap::new(), &inventory).unwrap().unwrap();
    assert_eq!(ids(&child), ["cmp-1/move/b", "cmp-1/move/z"]);
    assert!(child.steps.iter().all(|step| step.needs.is_empty() && step.wave == 1));
    let edge = child.parent.clone().unwrap();
    assert_eq!((edge.graph, edge.step.0.as_str()), (parent.id.clone(), "cmp-1/empty"));
    assert_ne!(child.id, parent.id);
    assert_eq!(child.servers[0].ladder, [Cold]);
    assert_eq!(Graph::read(&child.write().unwrap()).unwrap(), child);
}

#[test]
fn nothing_found_is_no_child() {
    let (parent, inventory) = parent(&[Live]);
    assert_eq!(extend(&parent, "cmp-1", &[], &BTreeMap::new(), &inventory).unwrap(), None);
}

#[test]
fn a_server_that_came_back_gets_a_name_of_its_own_until_it_is_too_often() {
    let (parent, inventory) = parent(&[Live]);
    let again = |times: u32| {
        let known = BTreeMap::from([("a".to_owned(), times)]);
        extend(&parent, "cmp-1", &[server("a", "cmp-1")], &known, &inventory).unwrap().unwrap()
    };
    assert_eq!(ids(&again(1)), ["cmp-1/move/a/2"]);
    assert_eq!(ids(&again(2)), ["cmp-1/move/a/3"]);
    let too_often = again(MAX_TIMES_PLANNED);
    assert!(too_often.steps.is_empty());
    assert_eq!(too_often.blockers[0].code, BlockerCode::ForeignMigration);
}

#[test]
fn what_is_found_late_is_never_stopped() {
    let late = |ladder: &[Rung], found: Server| {
        let (parent, inventory) = parent(ladder);
        extend(&parent, "cmp-1", &[found], &BTreeMap::new(), &inventory).unwrap().unwrap()
    };
    assert_eq!(late(&[Live, Stop, Leave], server("b", "cmp-1")).servers[0].ladder, [Live]);
    let blocked = late(&[Stop], server("b", "cmp-1"));
    assert!(blocked.steps.is_empty());
    assert!(blocked.blockers[0].cause.contains("no step that would start it again"));
    assert_eq!(late(&[Stop], off("b", "cmp-1")).servers[0].ladder, [Stop]);
    assert!(late(&[Leave], server("b", "cmp-1")).steps.is_empty());
}

#[test]
fn a_child_is_judged_like_any_other_and_only_where_the_parent_empties() {
    let (parent, inventory) = parent(&[Live]);
    let broken = Server { status: ServerStatus::Error, ..server("b", "cmp-1") };
    let child = extend(&parent, "cmp-1", &[broken], &BTreeMap::new(), &inventory).unwrap().unwrap();
    assert_eq!(child.blockers[0].code, BlockerCode::ServerState);
    let error = extend(&parent, "cmp-2", &[], &BTreeMap::new(), &inventory).unwrap_err();
    assert!(matches!(error, CompileError::NotInGraph { .. }), "{error}");
}

fn held(names: &[&str], servers: Vec<Server>) -> Inventory {
    let mut inventory = cloud(names, servers);
    for host in &mut inventory.hosts {
        host.service.status = ServiceStatus::Disabled;
        host.service.disabled_reason = Some("furlough 0198: kernel".to_owned());
    }
    inventory
}

#[test]
fn enabling_starts_what_was_stopped_first() {
    let servers = vec![off("a", "cmp-1"), server("b", "cmp-1"), off("c", "cmp-2")];
    let inventory = held(&["cmp-1", "cmp-2"], servers);
    let stopped = BTreeMap::from([("cmp-1".to_owned(), ["a", "b", "c", "gone"].map(str::to_owned).to_vec())]);
    let hosts = ["cmp-1".to_owned(), "cmp-1".to_owned()];
    let graph = compile_enable(&inventory, "test", "enable", &hosts, &stopped).unwrap();
    assert_eq!(ids(&graph), ["cmp-1/start/a", "cmp-1/enable"]);
    assert_eq!(graph.steps[1].needs, [graph.steps[0].id.clone()]);
    assert!(matches!(graph.steps[1].kind, StepKind::Enable));
    assert_eq!(graph.hosts[0].disabled_before, None);
    assert_eq!(graph.blockers, []);
    assert_eq!(graph.gaps.len(), 2, "{:?}", graph.gaps);
    assert_eq!(Graph::read(&graph.write().unwrap()).unwrap(), graph);
}

#[test]
fn only_furloughs_own_hosts_are_enabled() {
    let mut inventory = held(&["cmp-1", "cmp-2", "cmp-3", "cmp-4"], vec![]);
    inventory.hosts[0].service.disabled_reason = Some("fan broken".to_owned());
    inventory.hosts[1].service.state = ServiceState::Down;
    inventory.hosts[2].service.status = ServiceStatus::Enabled;
    let hosts: Vec<String> = inventory.hosts.iter().map(|host| host.name.clone()).collect();
    let graph = compile_enable(&inventory, "test", "enable", &hosts, &BTreeMap::new()).unwrap();
    let codes: Vec<(&str, BlockerCode)> =
        graph.blockers.iter().map(|blocker| (blocker.host.as_str(), blocker.code)).collect();
    assert_eq!(codes, [("cmp-1", BlockerCode::NotHeld), ("cmp-2", BlockerCode::HostDown)]);
    assert!(graph.blockers[0].cause.contains("fan broken"));
    assert_eq!(ids(&graph), ["cmp-1/enable", "cmp-2/enable", "cmp-4/enable"]);
    assert_eq!(graph.gaps, ["host cmp-3 is enabled already"]);

    let error = compile_enable(&inventory, "test", "enable", &["cmp1".to_owned()], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "no compute host is named cmp1; the nearest name there is `cmp-1`");
}
