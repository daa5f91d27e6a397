//! What is found on a host once it is out of service becomes a child graph: the parent is never changed.

use std::collections::BTreeMap;

use super::assemble::empty;
use super::classify::{Obstacle, Verdict, word};
use super::facts::host_facts_of;
use super::steps::{Steps, push_move, step_id};
use super::survey::Survey;
use super::{BlockerCode, CompileError, Edge, Graph};
use crate::cloud::{Inventory, Server, ServerStatus};
use crate::plan::Rung;

/// A server that comes back to a host this often is sent there by something else, which a further move would not end.
pub const MAX_TIMES_PLANNED: u32 = 3;

/// The child graph for servers found on `host` that no step of the run accounts for, or `None` when there are none.
///
/// `servers` are those rows alone: neither servers that stay, were stopped there, nor ones whose move has yet to end.
/// `known` says how often the run has planned each server before: one that came back gets a step id of its own,
/// `H/move/<id>/2`. `parent` is the graph that takes the host out of service: the child hangs below its `H/empty`.
///
/// The parent's `H/enable` cannot wait for a start of the child's, so nothing found here is ever stopped.
pub fn extend(
    parent: &Graph,
    host: &str,
    servers: &[Server],
    known: &BTreeMap<String, u32>,
    inventory: &Inventory,
) -> Result<Option<Graph>, CompileError> {
    let not_in_graph = || CompileError::NotInGraph { graph: parent.id.clone(), host: host.to_owned() };
    let below = parent.step(&step_id(host, "empty")).ok_or_else(not_in_graph)?;
    let of_host =
        inventory.host(host).ok_or_else(|| CompileError::UnknownHost { host: host.to_owned(), nearest: None })?;
    let mut arrived: Vec<&Server> = servers.iter().collect();
    arrived.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    arrived.dedup_by(|one, other| one.id == other.id);
    if arrived.is_empty() {
        return Ok(None);
    }

    let facts = host_facts_of(of_host, inventory.servers_on(host).count() as u64);
    let mut survey = Survey::new(&parent.plan, inventory, &parent.hosts);
    let mut child = empty(parent.plan.clone(), inventory, &parent.cloud);
    child.parent = Some(Edge { graph: parent.id.clone(), step: below.id.clone() });
    let mut steps = Steps::default();
    for server in arrived {
        let times = known.get(&server.id).copied().unwrap_or(0);
        let verdict = if times >= MAX_TIMES_PLANNED {
            keeps_coming(host, times)
        } else {
            without_stop(server, survey.judge(server, &facts, below.wave)?)
        };
        let (row, blocker) = survey.plan_server(server, host, &verdict);
        let again = (times > 0).then(|| times.saturating_add(1));
        push_move(&mut steps, &row, below.wave, again, Vec::new())?;
        child.servers.push(row);
        child.blockers.extend(blocker);
    }
    child.steps = steps.into_steps();
    Ok(Some(child.seal()?))
}

/// Cuts the ladder before `stop`, except for a server that is off: there is nothing to stop or to start.
fn without_stop(server: &Server, verdict: Verdict) -> Verdict {
    let Some(place) = verdict.ladder.iter().position(|&rung| rung == Rung::Stop) else { return verdict };
    if server.status == ServerStatus::Shutoff {
        return verdict;
    }
    let ladder: Vec<Rung> = verdict.ladder.iter().copied().take(place).collect();
    let cause = "it was found after the host was taken out of service, and is not stopped because the run has no step \
                 that would start it again";
    let why = format!("{}; {} is ruled out: {cause}", verdict.why, word(Rung::Stop));
    let obstacle = ladder.is_empty().then(|| Obstacle {
        code: BlockerCode::ServerState,
        cause: cause.to_owned(),
        remedy: "move it or stop it by hand, then resume the run".to_owned(),
    });
    Verdict { ladder, why, obstacle }
}

fn keeps_coming(host: &str, times: u32) -> Verdict {
    let cause = format!("it was moved off {host} {times} times in this run and is there again");
    let remedy = "find out what brings it back (a forced move, another tool), end that, then resume the run".to_owned();
    let obstacle = Obstacle { code: BlockerCode::ForeignMigration, cause: cause.clone(), remedy };
    Verdict { ladder: Vec::new(), why: cause, obstacle: Some(obstacle) }
}
