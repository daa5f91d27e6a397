//! Promises about where servers go and how many at once.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Found, Now, World, leaves, moves, server_of, steps, tell, waves, words};
use super::{Story, Violation};
use crate::cloud::sim::{Told, What};
use crate::cloud::{Ask, GroupPolicy, Migration, MigrationKind, Server, ServiceStatus};
use crate::compile::StepId;
use crate::event::EventKind;

/// 3. "No limit … is exceeded at any instant, across resume." Counted from the records of this run's moves: a record
///    counts while its source has something to copy. `queue_ahead` more may wait behind live ones.
pub(super) fn within_limits(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(3);
    let limits = &story.graph.plan.drain.limits;
    let mut stopped_queueing = false;
    // What was begun before queueing was stopped may still come and wait.
    let mut begun: BTreeSet<&StepId> = BTreeSet::new();
    let mut old: BTreeSet<&str> = BTreeSet::new();
    let of_steps = steps(story);
    tell(story, |world, now| {
        let row = match now {
            Now::Event(event) => {
                match &event.kind {
                    EventKind::StepStarted { step, .. } => drop(begun.insert(step)),
                    EventKind::StepSettled { step, .. } => drop(begun.remove(step)),
                    EventKind::QueueingStopped { .. } if !stopped_queueing => {
                        stopped_queueing = true;
                        old = begun.iter().filter_map(|id| server_of(of_steps.get(*id)?)).collect();
                    }
                    _ => {}
                }
                return;
            }
            Now::Seen(seen) => match &seen.what {
                What::Migration(row) => row,
                // Its record may have come before it.
                What::Asked { ask, arrived: true, .. } => {
                    let own = |row: &&Migration| Some(row.server.as_str()) == ask.server();
                    match world.copying().filter(own).last() {
                        Some(row) => row,
                        None => return,
                    }
                }
                _ => return,
            },
        };
        let cloud = world.copying().count();
        if cloud > limits.cloud as usize {
            found.say(world.at_ms, format!("{cloud} migrations in the cloud, and its limit is {}", limits.cloud));
        }
        if let Some(source) = row.source_host.as_deref() {
            let from = || world.copying().filter(move |one| one.source_host.as_deref() == Some(source));
            let (count, cold) = (from().count(), from().filter(|one| one.kind != Some(MigrationKind::Live)).count());
            let allowed = limits.source as usize + limits.queue_ahead as usize;
            let new = from().filter(|one| !old.contains(one.server.as_str())).count();
            if count > allowed || cold > limits.source as usize {
                let text =
                    format!("{count} migrations ({cold} cold) away from {source}, and its limit is {}", limits.source);
                found.say(world.at_ms, format!("{text} and {} in the queue", limits.queue_ahead));
            }
            if stopped_queueing && new > limits.source as usize {
                found.say(world.at_ms, format!("{new} migrations away from {source} after queueing was stopped"));
            }
        }
        if let (Some(limit), Some(to)) = (limits.destination, row.dest_host.as_deref()) {
            let count = world.copying().filter(|one| one.dest_host.as_deref() == Some(to)).count();
            if count > limit as usize {
                found.say(world.at_ms, format!("{count} migrations towards {to}, and its limit is {limit}"));
            }
        }
    });
    found.list
}

/// 4. "No server is sent to a host that is out of service or whose wave has begun to be emptied, or that its group,
///    zone or traits forbid." Looked at when a request names a host, and when a record of this run first does.
pub(super) fn nowhere_forbidden(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(4);
    let waves = waves(story);
    let mut begun: BTreeSet<u32> = BTreeSet::new();
    let moves = moves(story);
    let mut given_back: BTreeSet<&str> = BTreeSet::new();
    let mut placed: BTreeMap<u64, &str> = BTreeMap::new();
    tell(story, |world, now| {
        let Now::Seen(seen) = now else { return };
        let (server, to, how) = match &seen.what {
            What::Asked { ask, arrived, answer } => {
                if *arrived {
                    begun.extend(leaves(world, ask, &moves).and_then(|host| waves.get(host)));
                }
                match ask {
                    Ask::DisableService { host, .. } if *arrived => {
                        given_back.remove(host.as_str());
                    }
                    Ask::EnableService { host, .. } if *arrived && !matches!(answer, Told::Refused { .. }) => {
                        given_back.insert(host);
                    }
                    _ => {}
                }
                match ask {
                    Ask::LiveMigrate { server, host: Some(host), .. }
                    | Ask::ColdMigrate { server, host: Some(host) } => (server.as_str(), host.as_str(), words(ask)),
                    _ => return,
                }
            }
            What::Migration(row) => {
                let Some(to) = row.dest_host.as_deref().filter(|_| world.ours.contains(&row.id)) else { return };
                if placed.insert(row.id, to).is_some() {
                    return;
                }
                (row.server.as_str(), to, format!("migration {}", row.id))
            }
            _ => return,
        };
        let mut wrong = |why: String| found.say(world.at_ms, format!("{how} sends {server} to {to}, {why}"));
        let disabled = world.service(to).is_none_or(|row| row.status != ServiceStatus::Enabled);
        // Nova's scheduler looks a moment before its choice is written down; somebody else may disable it between.
        if disabled && !world.touched_since(to, world.at_ms.saturating_sub(5_000)) {
            wrong("which is out of service".to_owned());
        }
        let theirs = given_back.contains(to) || world.touched_since(to, 0);
        if let Some(wave) = waves.get(to).filter(|wave| begun.contains(wave) && !theirs) {
            wrong(format!("whose wave {wave} is being emptied"));
        }
        if let Some(row) = world.server(server) {
            if let Some(zone) = forbidden_zone(row, to, world) {
                wrong(format!("which is not in its zone {zone}"));
            }
            if let Some(group) = forbidden_group(story, row, to, world) {
                wrong(format!("which its group {group} forbids"));
            }
        }
    });
    found.list
}

fn forbidden_zone<'a>(row: &'a Server, to: &str, world: &World<'_>) -> Option<&'a str> {
    let pinned = row.pinned_zone.as_deref()?;
    world.service(to).filter(|service| service.zone != pinned).map(|_| pinned)
}

/// A hard group whose other members make this host impossible.
fn forbidden_group<'a>(story: &Story<'a>, row: &Server, to: &str, world: &World<'_>) -> Option<&'a str> {
    let group = story.start.groups.iter().find(|group| group.members.contains(&row.id))?;
    let others = group.members.iter().filter(|id| **id != row.id).filter_map(|id| world.server(id));
    let there = others.filter(|other| other.host.as_deref() == Some(to)).count() as u64;
    let forbids = match group.policy {
        GroupPolicy::AntiAffinity => there >= group.max_server_per_host.max(1),
        GroupPolicy::Affinity => there == 0 && group.members.len() > 1,
        _ => false,
    };
    forbids.then_some(group.name.as_str())
}
