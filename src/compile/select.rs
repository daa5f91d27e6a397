//! Which hosts a plan selects: entries add up in the order they are listed, each host once.

use std::collections::{BTreeMap, BTreeSet};

use super::CompileError;
use super::error::nearest;
use super::facts::host_facts_of;
use crate::cloud::{Host, Inventory, Server};
use crate::plan::{HostSelector, Pattern, Plan};

/// The selected hosts in the order they are taken out of service, and what is worth saying about the selection.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub hosts: Vec<&'a Host>,
    pub notes: Vec<String>,
}

pub(super) fn select<'a>(
    plan: &Plan,
    inventory: &'a Inventory,
    on_host: &BTreeMap<&str, Vec<&Server>>,
) -> Result<Selection<'a>, CompileError> {
    let mut known: Vec<&Host> = inventory.hosts.iter().collect();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    let mut notes = Vec::new();

    let mut excluded = BTreeSet::new();
    for entry in &plan.exclude {
        let matching = matching(entry, &known, inventory, on_host)?;
        if matching.is_empty() {
            notes.push(no_match(entry, &known, inventory).to_string());
        } else {
            notes.extend(unmatched(entry, &known).map(|pattern| name_error(entry, pattern, &known).to_string()));
        }
        excluded.extend(matching.into_iter().map(|host| host.name.as_str()));
    }

    let mut hosts = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in &plan.hosts {
        let matching = matching(entry, &known, inventory, on_host)?;
        if matching.is_empty() {
            return Err(no_match(entry, &known, inventory));
        }
        for pattern in unmatched(entry, &known) {
            // A name written out is meant; a glob may well be there for other clouds.
            if is_literal(pattern) {
                return Err(name_error(entry, pattern, &known));
            }
            notes.push(name_error(entry, pattern, &known).to_string());
        }
        for host in matching {
            if !excluded.contains(host.name.as_str()) && seen.insert(host.name.as_str()) {
                hosts.push(host);
            }
        }
    }
    if hosts.is_empty() { Err(CompileError::AllExcluded) } else { Ok(Selection { hosts, notes }) }
}

/// Hosts for which every given key of the entry matches, in the order of their names.
fn matching<'a>(
    entry: &HostSelector,
    known: &[&'a Host],
    inventory: &Inventory,
    on_host: &BTreeMap<&str, Vec<&Server>>,
) -> Result<Vec<&'a Host>, CompileError> {
    let mut hosts = Vec::new();
    for &host in known {
        let by_name = entry.name.is_empty() || entry.name.iter().any(|pattern| pattern.matches(&host.name));
        let by_aggregate = entry.aggregate.as_ref().is_none_or(|name| is_in_aggregate(host, name, inventory));
        let by_zone = entry.zone.as_ref().is_none_or(|zone| zone == host.zone());
        if !(by_name && by_aggregate && by_zone) {
            continue;
        }
        let by_condition = match &entry.when {
            None => true,
            Some(when) => {
                let servers = on_host.get(host.name.as_str()).map_or(0, Vec::len) as u64;
                when.holds(&host_facts_of(host, servers), None).map_err(|error| CompileError::Expression {
                    at: entry.at.clone(),
                    text: when.as_str().to_owned(),
                    subject: format!("host {}", host.name),
                    why: error.to_string(),
                })?
            }
        };
        if by_condition {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn is_in_aggregate(host: &Host, name: &str, inventory: &Inventory) -> bool {
    host.aggregates.iter().any(|aggregate| aggregate == name)
        || inventory.aggregates.iter().any(|aggregate| aggregate.name == name && aggregate.hosts.contains(&host.name))
}

/// Patterns of the entry that match no host's name at all.
fn unmatched<'e>(entry: &'e HostSelector, known: &'e [&Host]) -> impl Iterator<Item = &'e str> {
    let nowhere = |pattern: &&Pattern| !known.iter().any(|host| pattern.matches(&host.name));
    entry.name.iter().filter(nowhere).map(Pattern::as_str)
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '{', '\\'])
}

fn name_error(entry: &HostSelector, pattern: &str, known: &[&Host]) -> CompileError {
    CompileError::NoMatch {
        at: entry.at.clone(),
        what: format!("name `{pattern}`"),
        nearest: nearest(pattern, known.iter().map(|host| host.name.as_str())),
    }
}

/// The error for an entry without a host, about the key that is to blame where one alone is.
fn no_match(entry: &HostSelector, known: &[&Host], inventory: &Inventory) -> CompileError {
    if let Some(name) = &entry.aggregate
        && !inventory.aggregates.iter().any(|aggregate| aggregate.name == *name)
        && !known.iter().any(|host| host.aggregates.contains(name))
    {
        let names = inventory.aggregates.iter().map(|aggregate| aggregate.name.as_str());
        return CompileError::NoMatch {
            at: entry.at.clone(),
            what: format!("aggregate `{name}`"),
            nearest: nearest(name, names),
        };
    }
    if let Some(zone) = &entry.zone
        && !known.iter().any(|host| host.zone() == zone)
    {
        return CompileError::NoMatch {
            at: entry.at.clone(),
            what: format!("zone `{zone}`"),
            nearest: nearest(zone, known.iter().map(|host| host.zone())),
        };
    }
    if let Some(pattern) = unmatched(entry, known).next() {
        return name_error(entry, pattern, known);
    }
    CompileError::NoMatch { at: entry.at.clone(), what: describe(entry), nearest: None }
}

/// The entry in the words it was written with.
fn describe(entry: &HostSelector) -> String {
    let mut keys = Vec::new();
    if !entry.name.is_empty() {
        let names: Vec<&str> = entry.name.iter().map(Pattern::as_str).collect();
        keys.push(format!("name `{}`", names.join("`, `")));
    }
    keys.extend(entry.aggregate.iter().map(|name| format!("aggregate `{name}`")));
    keys.extend(entry.zone.iter().map(|zone| format!("zone `{zone}`")));
    keys.extend(entry.when.iter().map(|when| format!("`{}`", when.as_str())));
    if keys.is_empty() { "any host".to_owned() } else { keys.join(" with ") }
}
