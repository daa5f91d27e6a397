//! The compiler itself: selection, waves, each server's fate, blockers, steps.

use std::collections::BTreeMap;

use super::facts::host_facts_of;
use super::select::select;
use super::steps::{HostWork, steps};
use super::survey::Survey;
use super::waves::waves;
use super::{Blocker, BlockerCode, CompileError, GRAPH_VERSION, Graph, HostPlan, ServerPlan};
use crate::cloud::{Gap, Host, Inventory, Server, ServiceStatus};
use crate::plan::Plan;
use crate::plan::facts::HostFacts;

/// Compiles a plan against a reading of a cloud. What stands in the way of a host or a server does not fail it: it is
/// in [`Graph::blockers`], all of it at once.
pub fn compile(plan: &Plan, inventory: &Inventory, cloud: &str) -> Result<Graph, CompileError> {
    let on_host = servers_by_host(inventory);
    let selection = select(plan, inventory, &on_host)?;
    let hosts: Vec<HostPlan> = selection
        .hosts
        .iter()
        .zip(waves(selection.hosts.len(), &plan.waves))
        .map(|(host, wave)| host_plan(host, wave))
        .collect();

    let facts: Vec<HostFacts> = selection
        .hosts
        .iter()
        .map(|host| host_facts_of(host, on_host.get(host.name.as_str()).map_or(0, Vec::len) as u64))
        .collect();

    let mut survey = Survey::new(plan, inventory, &hosts);
    let mut notes = selection.notes;
    let mut servers = Vec::new();
    let mut blockers = Vec::new();
    for ((host, row), facts) in selection.hosts.iter().zip(&hosts).zip(&facts) {
        blockers.extend(survey.host_blockers(host, &mut notes));
        let mut of_servers = Vec::new();
        for server in on_host.get(host.name.as_str()).into_iter().flatten() {
            let verdict = survey.judge(server, facts, row.wave)?;
            let (row, blocker) = survey.plan_server(server, &host.name, &verdict);
            servers.push(row);
            of_servers.extend(blocker);
        }
        blockers.extend(one_for_all(of_servers, host, survey.has_no_destination(row.wave), row.wave));
    }

    let mut rows: BTreeMap<&str, Vec<&ServerPlan>> = BTreeMap::new();
    for server in &servers {
        rows.entry(&server.host).or_default().push(server);
    }
    let work: Vec<HostWork<'_>> = hosts
        .iter()
        .zip(&facts)
        .map(|(host, facts)| HostWork { host, facts, servers: rows.remove(host.name.as_str()).unwrap_or_default() })
        .collect();
    let steps = steps(plan, &work)?;

    let mut gaps = gap_texts(inventory, &hosts);
    gaps.append(&mut notes);
    Ok(Graph { hosts, servers, steps, blockers, gaps, ..empty(plan.clone(), inventory, cloud) }.seal()?)
}

/// A graph of nothing, over a reading.
pub(super) fn empty(plan: Plan, inventory: &Inventory, cloud: &str) -> Graph {
    Graph {
        version: GRAPH_VERSION,
        id: String::new(),
        parent: None,
        plan,
        cloud: cloud.to_owned(),
        microversion: inventory.capabilities.newest,
        read_at: inventory.read_at,
        hosts: Vec::new(),
        servers: Vec::new(),
        steps: Vec::new(),
        blockers: Vec::new(),
        gaps: Vec::new(),
    }
}

pub(super) fn host_plan(host: &Host, wave: u32) -> HostPlan {
    let disabled = host.service.status == ServiceStatus::Disabled;
    HostPlan {
        name: host.name.clone(),
        wave,
        zone: host.zone().to_owned(),
        disabled_before: disabled.then(|| host.service.disabled_reason.clone().unwrap_or_default()),
    }
}

/// The servers of each host, in the order of name, then id, whatever order the reading has.
fn servers_by_host(inventory: &Inventory) -> BTreeMap<&str, Vec<&Server>> {
    let mut by_host: BTreeMap<&str, Vec<&Server>> = BTreeMap::new();
    for server in &inventory.servers {
        if let Some(host) = &server.host {
            by_host.entry(host).or_default().push(server);
        }
    }
    for servers in by_host.values_mut() {
        servers.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    }
    by_host
}

/// Where no host at all is left, one blocker says it for every server of the host.
fn one_for_all(blockers: Vec<Blocker>, host: &Host, nowhere: bool, wave: u32) -> Vec<Blocker> {
    if !nowhere {
        return blockers;
    }
    let (homeless, mut others): (Vec<Blocker>, Vec<Blocker>) =
        blockers.into_iter().partition(|blocker| blocker.code == BlockerCode::NoDestination);
    if let Some(first) = homeless.first() {
        others.push(Blocker {
            code: BlockerCode::NoDestination,
            host: host.name.clone(),
            server: None,
            cause: format!(
                "{} of its servers would have to move, and outside wave {wave} no host is left that is enabled and up",
                homeless.len()
            ),
            remedy: first.remedy.clone(),
        });
    }
    others
}

/// What could not be seen, in words: gaps of the whole cloud, and those of the hosts of the plan.
pub(super) fn gap_texts(inventory: &Inventory, hosts: &[HostPlan]) -> Vec<String> {
    let concerns = |gap: &&Gap| gap.host.as_ref().is_none_or(|name| hosts.iter().any(|host| host.name == *name));
    let text = |gap: &Gap| match &gap.host {
        Some(host) => format!("{} of {host}: {}", gap.what, gap.why),
        None => format!("{}: {}", gap.what, gap.why),
    };
    inventory.gaps.iter().filter(concerns).map(text).collect()
}
