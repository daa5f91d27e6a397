//! Tables that belong to no run: the runs of a journal, the hosts of a cloud.

use std::collections::BTreeMap;

use super::Style;
use super::teller::ending_words;
use super::text::{Align, Page, Table, Tone, count, moment};
use crate::cloud::{Host, Inventory, Server, ServiceState, ServiceStatus};
use crate::compile::run_of_reason;
use crate::event::Ending;
use crate::journal::RunSummary;

/// A run's id has to be typed again: it is never cut.
const RUN_COLUMNS: usize = 18;
/// Disabled reasons hold whole sentences; their beginning tells them apart.
const REASON_CHARS: usize = 40;

/// `furlough runs`: newest first, as the journal gives them.
pub fn runs(runs: &[RunSummary], style: Style) -> String {
    use Align::Left;
    let mut page = Page::new(style);
    if runs.is_empty() {
        page.line(Tone::Plain, "This journal holds no runs.");
        return page.finish();
    }
    let columns = [
        ("RUN", Left, RUN_COLUMNS),
        ("PLAN", Left, 8),
        ("CLOUD", Left, 5),
        ("STARTED", Left, 16),
        ("LAST EVENT", Left, 16),
        ("STATE", Left, 11),
        ("HOLDS", Left, 0),
    ];
    let mut table = Table::new(&columns);
    for run in runs {
        let state = match (run.ending, run.live) {
            (_, true) => (Tone::Good, "under way".to_owned()),
            (Some(Ending::Done), false) => (Tone::Plain, "done".to_owned()),
            (Some(ending), false) => (Tone::Warn, ending_words(ending).to_owned()),
            (None, false) => (Tone::Bad, "no process".to_owned()),
        };
        // Dates are of the same length, so that they are cut last.
        let short = |at| moment(at).chars().take(16).collect::<String>();
        table.row(vec![
            (Tone::Strong, run.id.to_string()),
            (Tone::Plain, run.plan.clone()),
            (Tone::Plain, run.cloud.clone()),
            (Tone::Plain, short(run.started_at)),
            (Tone::Plain, short(run.updated_at)),
            state,
            (Tone::Plain, run.hosts.join(" ")),
        ]);
    }
    table.write(&mut page, 0);
    if runs.iter().any(|run| run.ending != Some(Ending::Done) && !run.live) {
        page.blank();
        page.line(Tone::Plain, "Times are UTC. `furlough resume RUN` goes on with one that is not done.");
    } else {
        page.blank();
        page.line(Tone::Plain, "Times are UTC.");
    }
    page.finish()
}

/// `furlough hosts`: the compute hosts of one reading.
pub fn hosts(inventory: &Inventory, style: Style) -> String {
    use Align::{Left, Right};
    let mut page = Page::new(style);
    let columns = [
        ("HOST", Left, 12),
        ("ZONE", Left, 4),
        ("SERVICE", Left, 14),
        ("SERVERS", Left, 10),
        ("MEMORY GiB", Right, 10),
        ("AGGREGATES", Left, 0),
        ("DISABLED BECAUSE", Left, RUN_COLUMNS + 4),
    ];
    let mut servers: BTreeMap<&str, Vec<&Server>> = BTreeMap::new();
    for server in &inventory.servers {
        servers.entry(server.host.as_deref().unwrap_or_default()).or_default().push(server);
    }
    let mut table = Table::new(&columns);
    for host in &inventory.hosts {
        let servers = servers.get(host.name.as_str()).map_or(&[][..], Vec::as_slice);
        table.row(vec![
            (Tone::Strong, host.name.clone()),
            (Tone::Plain, host.zone().to_owned()),
            service(host),
            (Tone::Plain, by_status(servers)),
            (Tone::Plain, memory(host, servers)),
            (Tone::Plain, host.aggregates.join(" ")),
            reason(host),
        ]);
    }
    if table.is_empty() {
        page.line(Tone::Plain, "This cloud shows no compute hosts.");
    } else {
        table.write(&mut page, 0);
        page.blank();
        let on_hosts = inventory.servers.iter().filter(|server| server.host.is_some()).count();
        let (hosts, servers) = (count(inventory.hosts.len(), "host"), count(on_hosts, "server"));
        page.line(Tone::Plain, &format!("{hosts}, {servers}, as they were at {}", moment(inventory.read_at)));
    }
    if !inventory.gaps.is_empty() {
        page.blank();
        page.line(Tone::Warn, "What could not be seen (what is missing there is not known):");
    }
    for gap in &inventory.gaps {
        let host = gap.host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
        page.wrapped("  - ", Tone::Plain, &format!("{}{host}: {}", gap.what, gap.why));
    }
    page.finish()
}

/// Status and state in one: `enabled, up`.
fn service(host: &Host) -> (Tone, String) {
    let status = match host.service.status {
        ServiceStatus::Enabled => "enabled",
        ServiceStatus::Disabled => "disabled",
        ServiceStatus::Unknown => "unknown",
    };
    let state = match host.service.state {
        ServiceState::Up => "up",
        ServiceState::Down => "DOWN",
        ServiceState::Unknown => "unknown",
    };
    let forced = if host.service.forced_down == Some(true) { ", forced down" } else { "" };
    let tone = match (host.service.status, host.service.state) {
        (ServiceStatus::Enabled, ServiceState::Up) => Tone::Plain,
        (_, ServiceState::Down) => Tone::Bad,
        _ => Tone::Warn,
    };
    (tone, format!("{status}, {state}{forced}"))
}

/// `12 ACTIVE, 1 ERROR`, the most frequent first.
fn by_status(servers: &[&Server]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for server in servers {
        *counts.entry(server.status.as_str()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, servers)| std::cmp::Reverse(*servers));
    counts.iter().map(|(status, servers)| format!("{servers} {status}")).collect::<Vec<_>>().join(", ")
}

/// Used and total. Hypervisors show neither from 2.88 on; then what the flavors of its servers add up to.
fn memory(host: &Host, servers: &[&Server]) -> String {
    let sum = |part: fn(&crate::cloud::Hypervisor) -> Option<u64>| {
        host.hypervisors.iter().map(part).try_fold(0_u64, |sum, part| Some(sum.saturating_add(part?)))
    };
    let known = (sum(|hypervisor| hypervisor.memory_used_mib), sum(|hypervisor| hypervisor.memory_mib));
    match known {
        (Some(used), Some(total)) if !host.hypervisors.is_empty() => format!("{} of {}", gib(used), gib(total)),
        _ => gib(servers.iter().fold(0_u64, |sum, server| sum.saturating_add(server.flavor.memory_mib))),
    }
}

/// Whole GiB: what a host has is known no better.
fn gib(mib: u64) -> String {
    mib.saturating_add(512).div_euclid(1024).to_string()
}

/// Why it is disabled; a hold of furlough's own is named by its run.
fn reason(host: &Host) -> (Tone, String) {
    let reason = host.service.disabled_reason.as_deref().unwrap_or_default();
    match run_of_reason(reason) {
        Some(run) => (Tone::Strong, format!("run {run}")),
        None => {
            let mut short: String = reason.chars().take(REASON_CHARS).collect();
            if reason.chars().nth(REASON_CHARS).is_some() {
                short.push('…');
            }
            (Tone::Plain, short)
        }
    }
}

#[cfg(test)]
mod tests;
