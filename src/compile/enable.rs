//! The graph that puts hosts back into service: starts what a run stopped on them and enables them.

use std::collections::BTreeMap;

use super::assemble::{empty, gap_texts, host_plan};
use super::error::nearest;
use super::steps::Steps;
use super::{Blocker, BlockerCode, CompileError, Graph, HostPlan, ServerPlan, StepKind, run_of_reason};
use crate::cloud::{Host, Inventory, PowerState, Server, ServerStatus, ServiceState, ServiceStatus};
use crate::plan::{
    Count, Destinations, Drain, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure, Pattern, Plan, Rung,
    ServerRule, TextError, Waves,
};

/// How long one start may take: Nova itself gives up on a boot's network after 300 s (`vif_plugging_timeout`), and the
/// request waits behind others.
const START_TIMEOUT_S: u64 = 600;

/// Puts `hosts` back into service, in a run of this name. `stopped` are the servers of each that a run stopped and left
/// there.
///
/// A host that someone else disabled blocks: it is theirs to enable. One that is enabled already gets no such step.
pub fn compile_enable(
    inventory: &Inventory,
    cloud: &str,
    name: &str,
    hosts: &[String],
    stopped: &BTreeMap<String, Vec<String>>,
) -> Result<Graph, CompileError> {
    let mut graph = empty(plan(name, hosts)?, inventory, cloud);
    let mut steps = Steps::default();
    for name in hosts {
        if graph.hosts.iter().any(|host| host.name == *name) {
            continue;
        }
        let host = inventory.host(name).ok_or_else(|| CompileError::UnknownHost {
            host: name.clone(),
            nearest: nearest(name, inventory.hosts.iter().map(|host| host.name.as_str())),
        })?;
        // What furlough disabled was enabled before, or the run would have left the other's reason in place.
        graph.hosts.push(HostPlan { disabled_before: None, ..host_plan(host, 1) });
        graph.blockers.extend(blocker(host));
        let mut needs = Vec::new();
        for id in stopped.get(name).into_iter().flatten() {
            match inventory.server(id).filter(|server| server.host.as_deref() == Some(name)) {
                Some(server) if server.status == ServerStatus::Shutoff && server.is_idle() => {
                    if graph.servers.iter().any(|row| row.id == *id) {
                        continue;
                    }
                    graph.servers.push(row(server, name));
                    let kind = StepKind::Start { server: id.clone() };
                    needs.push(steps.push(name, 1, &format!("start/{id}"), kind, Vec::new())?);
                }
                Some(server) if server.status == ServerStatus::Active => {}
                Some(server) => graph.gaps.push(format!(
                    "server {} ({id}) on {name} was stopped by furlough and is {} now: it is not started",
                    server.name, server.status
                )),
                None => graph.gaps.push(format!("server {id}, stopped by furlough on {name}, is no longer there")),
            }
        }
        if host.service.status == ServiceStatus::Enabled {
            graph.gaps.push(format!("host {name} is enabled already"));
        } else {
            steps.push(name, 1, "enable", StepKind::Enable, needs)?;
        }
    }
    graph.steps = steps.into_steps();
    graph.gaps.extend(gap_texts(inventory, &graph.hosts));
    Ok(graph.seal()?)
}

fn blocker(host: &Host) -> Option<Blocker> {
    let service = &host.service;
    let (code, cause, remedy) = if service.state == ServiceState::Unknown || service.status == ServiceStatus::Unknown {
        (
            BlockerCode::NotVisible,
            "the cell of its compute service does not answer".to_owned(),
            "bring the cell's database and message queue back, then try again".to_owned(),
        )
    } else if service.state == ServiceState::Down || service.forced_down == Some(true) {
        (
            BlockerCode::HostDown,
            "its nova-compute is down, so the scheduler would be given a host that cannot work".to_owned(),
            "bring nova-compute back, then try again".to_owned(),
        )
    } else if service.status == ServiceStatus::Disabled
        && service.disabled_reason.as_deref().and_then(run_of_reason).is_none()
    {
        let reason = service.disabled_reason.as_deref().unwrap_or("no reason given");
        (
            BlockerCode::NotHeld,
            format!("it was not furlough that disabled it ({reason})"),
            format!(
                "ask who did; to enable it all the same: openstack compute service set --enable {} nova-compute",
                host.name
            ),
        )
    } else {
        return None;
    };
    Some(Blocker { code, host: host.name.clone(), server: None, cause, remedy })
}

fn row(server: &Server, host: &str) -> ServerPlan {
    ServerPlan {
        id: server.id.clone(),
        name: server.name.clone(),
        host: host.to_owned(),
        status: server.status.clone(),
        power_state: PowerState::Shutdown,
        locked: server.locked,
        memory_mib: server.flavor.memory_mib,
        local_disk_gib: server.local_disk_gib(),
        group: None,
        apart: None,
        ladder: vec![Rung::Leave],
        why: "it was stopped by furlough and is started again".to_owned(),
    }
}

/// The plan that a graph carries in any case: these hosts, nothing moved.
fn plan(name: &str, hosts: &[String]) -> Result<Plan, CompileError> {
    let pattern = |name: &String| {
        Pattern::parse(name).map_err(|TextError { message, .. }| CompileError::Expression {
            at: "hosts[0].name".to_owned(),
            text: name.clone(),
            subject: format!("host {name}"),
            why: message,
        })
    };
    let one_at_a_time = MoveTimeout { base_s: START_TIMEOUT_S, per_gib_s: 0 };
    Ok(Plan {
        name: name.to_owned(),
        cloud: None,
        hosts: vec![HostSelector {
            name: hosts.iter().map(pattern).collect::<Result<_, _>>()?,
            aggregate: None,
            zone: None,
            when: None,
            at: "hosts[0]".to_owned(),
        }],
        exclude: Vec::new(),
        waves: Waves { max_hosts: Count::Percent(100), first: None },
        drain: Drain {
            servers: vec![ServerRule { when: None, ladder: vec![Rung::Leave], at: "drain.servers[0]".to_owned() }],
            destinations: Destinations::Scheduler,
            limits: Limits { cloud: 1, source: 1, destination: None, queue_ahead: 0 },
            live: LiveOptions {
                block_migration: crate::cloud::BlockMigration::Auto,
                stalled_after_s: START_TIMEOUT_S,
                timeout: one_at_a_time,
            },
            cold_timeout: one_at_a_time,
            power_timeout_s: START_TIMEOUT_S,
            late_arrivals_s: 0,
        },
        maintain: Vec::new(),
        verify: Vec::new(),
        finish: Finish::Enable,
        on_failure: OnFailure::Continue,
    })
}
