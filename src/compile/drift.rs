//! What has become different between a compiled plan that was saved and the same plan compiled now.

use std::collections::{BTreeMap, BTreeSet};

use super::classify::words;
use super::{Blocker, Graph, HostPlan, ServerPlan};

/// One sentence for each difference that matters, in the order cloud, hosts, servers, blockers, gaps. Empty: the saved
/// graph is still what would be compiled.
pub fn drift(saved: &Graph, fresh: &Graph) -> Vec<String> {
    let mut said = Vec::new();
    if saved.plan != fresh.plan {
        said.push("the plan itself is a different one".to_owned());
    }
    if saved.cloud != fresh.cloud {
        said.push(format!("the cloud is {}, and was {}", fresh.cloud, saved.cloud));
    }
    if saved.microversion != fresh.microversion {
        said.push(format!("the cloud offers {} now, and {} then", fresh.microversion, saved.microversion));
    }
    hosts(saved, fresh, &mut said);
    servers(saved, fresh, &mut said);
    let known: BTreeSet<_> = saved.blockers.iter().map(blocker_key).collect();
    for blocker in fresh.blockers.iter().filter(|blocker| !known.contains(&blocker_key(blocker))) {
        let server = blocker.server.as_ref().map_or_else(String::new, |(id, name)| format!(", server {name} ({id})"));
        said.push(format!("new blocker on host {}{server}: {}", blocker.host, blocker.cause));
    }
    let known: BTreeSet<&String> = saved.gaps.iter().collect();
    said.extend(fresh.gaps.iter().filter(|gap| !known.contains(gap)).map(|gap| format!("newly not seen: {gap}")));
    said
}

/// Blockers are the same when they are about the same thing: their wording may carry times and counts.
fn blocker_key(blocker: &Blocker) -> (super::BlockerCode, &str, Option<&str>) {
    (blocker.code, &blocker.host, blocker.server.as_ref().map(|(id, _)| id.as_str()))
}

fn hosts(saved: &Graph, fresh: &Graph, said: &mut Vec<String>) {
    let before: BTreeMap<&str, &HostPlan> = saved.hosts.iter().map(|host| (host.name.as_str(), host)).collect();
    let now: BTreeMap<&str, &HostPlan> = fresh.hosts.iter().map(|host| (host.name.as_str(), host)).collect();
    for host in &saved.hosts {
        let name = &host.name;
        let Some(now) = now.get(name.as_str()) else {
            said.push(format!("host {name} is no longer selected"));
            continue;
        };
        if now.wave != host.wave {
            said.push(format!("host {name} is in wave {} now, and was in wave {}", now.wave, host.wave));
        }
        if now.zone != host.zone {
            said.push(format!("host {name} is in zone {} now, and was in zone {}", now.zone, host.zone));
        }
        match (&host.disabled_before, &now.disabled_before) {
            (None, Some(reason)) => said.push(format!("host {name} has been disabled{}", because(reason))),
            (Some(_), None) => said.push(format!("host {name} has been enabled")),
            (Some(then), Some(reason)) if then != reason => {
                said.push(format!("host {name} is disabled for another reason now{}", because(reason)));
            }
            _ => {}
        }
    }
    for host in fresh.hosts.iter().filter(|host| !before.contains_key(host.name.as_str())) {
        said.push(format!("host {} is selected now, in wave {}", host.name, host.wave));
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn servers(saved: &Graph, fresh: &Graph, said: &mut Vec<String>) {
    let before: BTreeSet<&str> = saved.servers.iter().map(|server| server.id.as_str()).collect();
    let now: BTreeMap<&str, &ServerPlan> = fresh.servers.iter().map(|server| (server.id.as_str(), server)).collect();
    for server in &saved.servers {
        let what = format!("server {} ({})", server.name, server.id);
        let Some(now) = now.get(server.id.as_str()) else {
            said.push(format!("{what} is no longer on host {}", server.host));
            continue;
        };
        if now.host != server.host {
            said.push(format!("{what} has moved from host {} to host {}", server.host, now.host));
        }
        if now.status != server.status {
            said.push(format!("{what} is {} now, and was {}", now.status, server.status));
        }
        if now.ladder != server.ladder {
            said.push(format!("{what} gets {} now, and would have got {}", fate(now), fate(server)));
        }
    }
    for server in fresh.servers.iter().filter(|server| !before.contains(server.id.as_str())) {
        said.push(format!("server {} ({}) is new on host {}: {}", server.name, server.id, server.host, fate(server)));
    }
}

fn fate(server: &ServerPlan) -> String {
    if server.ladder.is_empty() { "nothing (blocked)".to_owned() } else { words(&server.ladder) }
}
