//! Promises about hosts: when they count as out of service, when they may be maintained, how they are given back, and
//! whose they are.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{
    Found, Now, READING_LAGS_MS, Readings, World, graphs, is_move, leaves, may_stay, moves, steps, tell, told_no,
    waves, words,
};
use super::{Story, Violation};
use crate::cloud::sim::What;
use crate::cloud::{Ask, ComputeService, Migration, ServiceStatus};
use crate::compile::{Phase, StepId, StepKind, run_of_reason};
use crate::event::{EventKind, Intent, Outcome};

fn is_disabled(row: Option<&ComputeService>) -> bool {
    row.is_some_and(|row| row.status == ServiceStatus::Disabled)
}

/// 5. "Every host of a wave is disabled, and read back as disabled, before the first server of the wave moves."
pub(super) fn disabled_before_moved(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(5);
    let waves = waves(story);
    let mut readings = Readings::default();
    let mut disabled_since: BTreeMap<&str, u64> = BTreeMap::new();
    let mut begun: BTreeSet<u32> = BTreeSet::new();
    // A host without a server to move may be done, and given back, before the others of its wave are listed.
    let mut given_back: BTreeSet<&str> = BTreeSet::new();
    let moves = moves(story);
    tell(story, |world, now| {
        let Now::Seen(seen) = now else { return };
        readings.sees(seen);
        match &seen.what {
            What::Asked { ask: Ask::EnableService { host, .. }, .. } => drop(given_back.insert(host)),
            What::Service(row) if row.status == ServiceStatus::Disabled => {
                disabled_since.entry(&row.host).or_insert(world.at_ms);
            }
            What::Service(row) => drop(disabled_since.remove(row.host.as_str())),
            What::Asked { ask, .. } if is_move(ask) => {
                let Some(wave) = leaves(world, ask, &moves).and_then(|host| waves.get(host)) else { return };
                if !begun.insert(*wave) {
                    return;
                }
                for host in waves.iter().filter(|(_, of)| *of == wave).map(|(host, _)| *host) {
                    let since = disabled_since.get(host).copied();
                    let since = since.or_else(|| is_disabled(world.service(host)).then_some(0));
                    // Somebody enabled it after it had been read back: nobody could know.
                    let read = readings.service(host).unwrap_or(world.at_ms);
                    let theirs = world.touched_since(host, read.saturating_sub(READING_LAGS_MS));
                    match since {
                        None if !theirs && !given_back.contains(host) => {
                            let text =
                                format!("{} is the first of wave {wave}, and {host} is not disabled", words(ask));
                            found.say(world.at_ms, text);
                        }
                        Some(since) if readings.service(host).is_none_or(|read| read < since) => {
                            let text =
                                format!("{} is the first of wave {wave}, and {host} was not read back", words(ask));
                            found.say(world.at_ms, text);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    });
    found.list
}

/// 6. "The maintenance of a host never begins while a server that the plan does not leave there is on it or owed to it."
///    What came after the last reading that could have shown it is held against the run only within `late_arrivals`.
pub(super) fn empty_before_maintained(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(6);
    let maintains = maintenance_keys(story);
    let late_ms = story.graph.plan.drain.late_arrivals_s.saturating_mul(1000);
    let mut readings = Readings::default();
    let mut disabled_at: BTreeMap<&str, u64> = BTreeMap::new();
    // Since when each server is where it is in the state it is in, and each record between the hosts it names.
    let mut there: BTreeMap<&str, (Option<&str>, &str, u64)> = BTreeMap::new();
    let mut between: BTreeMap<u64, (Option<&str>, u64)> = BTreeMap::new();
    tell(story, |world, now| {
        let Now::Seen(seen) = now else { return };
        readings.sees(seen);
        match &seen.what {
            What::Server(row) => {
                let is = (row.host.as_deref(), row.status.as_str());
                if there.get(row.id.as_str()).is_none_or(|was| (was.0, was.1) != is) {
                    there.insert(&row.id, (is.0, is.1, world.at_ms));
                }
            }
            What::Migration(row) => {
                let to = row.dest_host.as_deref();
                if between.get(&row.id).is_none_or(|was| was.0 != to) {
                    between.insert(row.id, (to, world.at_ms));
                }
            }
            What::Asked { ask: Ask::DisableService { host, .. }, arrived: true, .. } => {
                disabled_at.entry(host).or_insert(world.at_ms);
            }
            What::Command { key, host, began: true, .. } if maintains.contains(key.as_str()) => {
                let late_until = disabled_at.get(host.as_str()).copied().unwrap_or(0).saturating_add(late_ms);
                let known = |came: u64, read: Option<u64>| {
                    came <= late_until || read.is_some_and(|read| came.saturating_add(READING_LAGS_MS) <= read)
                };
                for row in world.on_host(host).filter(|row| !may_stay(story, host, row)) {
                    let came = there.get(row.id.as_str()).map_or(0, |(_, _, since)| *since);
                    if known(came, readings.servers_on(host)) {
                        let text = format!("maintenance of {host} begins while {} is on it, {}", row.id, row.status);
                        found.say(world.at_ms, text);
                    }
                }
                for row in owed(world, host) {
                    let came = between.get(&row.id).map_or(0, |(_, since)| *since);
                    if known(came, readings.migrations_of(host)) {
                        let text = format!("maintenance of {host} begins while migration {} of {}", row.id, row.server);
                        found.say(world.at_ms, format!("{text} is {}", row.status));
                    }
                }
            }
            _ => {}
        }
    });
    found.list
}

/// Records that have not ended and of which this host is one end; a finished one is owed to its source alone.
fn owed<'w>(world: &'w World<'_>, host: &'w str) -> impl Iterator<Item = &'w Migration> {
    world.migrations.values().copied().filter(move |row| {
        let finished = row.status == crate::cloud::MigrationStatus::Finished;
        let ends = row.source_host.as_deref() == Some(host) || (!finished && row.dest_host.as_deref() == Some(host));
        let gone = world.server(&row.server).is_none();
        ends && !row.status.is_terminal() && !gone
    })
}

/// The keys of commands that maintain.
fn maintenance_keys<'a>(story: &Story<'a>) -> BTreeSet<&'a str> {
    let steps = steps(story);
    let key = |event: &'a crate::event::Event| match &event.kind {
        EventKind::StepIntended { step, intent: Intent::Command { key, .. }, .. } => {
            let kind = steps.get(step).map(|step| &step.kind);
            matches!(kind, Some(StepKind::Command { phase: Phase::Maintain, .. })).then_some(key.as_str())
        }
        _ => None,
    };
    story.events.iter().filter_map(key).collect()
}

/// What a host was like when this run took it out of service.
struct Held<'a> {
    before: &'a ComputeService,
    reason: &'a str,
}

/// 7. "A host is enabled only by the run that disabled it, only after its steps succeeded …, and to the exact status,
///    reason and forced_down it had. One that was disabled before stays so."
pub(super) fn given_back_exactly(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(7);
    let mut readings = Readings::default();
    let mut free: BTreeMap<&str, &ComputeService> = BTreeMap::new();
    let mut changed: BTreeMap<&str, u64> = BTreeMap::new();
    let mut free_since: BTreeMap<&str, u64> = BTreeMap::new();
    let mut held: BTreeMap<&str, Held<'_>> = BTreeMap::new();
    let mut stands: BTreeMap<&StepId, bool> = BTreeMap::new();
    let mut known: BTreeMap<&StepId, &str> = BTreeMap::new();
    let mut enabled: BTreeMap<&StepId, &str> = BTreeMap::new();
    for step in story.graph.steps.iter().filter(|step| !matches!(step.kind, StepKind::Enable)) {
        known.insert(&step.id, &step.host);
    }
    for host in &story.start.hosts {
        free.insert(&host.name, &host.service);
    }
    tell(story, |world, now| match now {
        Now::Event(event) => match &event.kind {
            EventKind::GraphExtended { graph } => {
                known.extend(graph.steps.iter().map(|step| (&step.id, step.host.as_str())));
            }
            EventKind::StepStarted { step, .. } => drop(stands.insert(step, false)),
            EventKind::StepIntended { step, intent: Intent::Enable { host, .. }, .. } => {
                enabled.insert(step, host);
            }
            EventKind::StepSettled { step, outcome, .. } => {
                let done = matches!(outcome, Outcome::Done(_));
                stands.insert(step, done);
                let Some(host) = enabled.get(step).filter(|_| done) else { return };
                let (Some(held), Some(row)) = (held.remove(*host), world.service(host)) else { return };
                let exact = |row: &ComputeService| (row.status, row.disabled_reason.clone(), row.forced_down);
                let theirs = changed.get(host).is_some_and(|at| world.touched_since(host, *at));
                if exact(row) != exact(held.before) && !theirs {
                    let text = format!("{host} is given back as {:?}, and was {:?}", exact(row), exact(held.before));
                    found.say(world.at_ms, text);
                }
            }
            _ => {}
        },
        Now::Seen(seen) => {
            readings.sees(seen);
            match &seen.what {
                What::Service(row) => {
                    let was = free.get(row.host.as_str());
                    let same = was.is_some_and(|was| {
                        was.status == row.status
                            && was.disabled_reason == row.disabled_reason
                            && was.forced_down == row.forced_down
                    });
                    if !same {
                        changed.insert(&row.host, world.at_ms);
                    }
                    let ours = held.get(row.host.as_str()).map(|held| held.reason);
                    if row.disabled_reason.as_deref() != ours || ours.is_none() {
                        let furlough = row.disabled_reason.as_deref().is_some_and(|text| run_of_reason(text).is_some());
                        if !furlough && free.insert(&row.host, row).is_none_or(|was| was.status != row.status) {
                            free_since.insert(&row.host, world.at_ms);
                        }
                    }
                }
                What::Asked { ask: Ask::DisableService { host, reason, .. }, arrived, .. } => {
                    let Some(before) = free.get(host.as_str()).copied() else { return };
                    let read = readings.service(host).unwrap_or(0).saturating_sub(READING_LAGS_MS);
                    let since = free_since.get(host.as_str()).copied().unwrap_or(0);
                    if before.status == ServiceStatus::Disabled && since <= read {
                        found.say(world.at_ms, format!("{host} was disabled before and is disabled by this run"));
                    }
                    if *arrived {
                        held.entry(host).or_insert(Held { before, reason });
                    }
                }
                What::Asked { ask: Ask::EnableService { host, .. }, .. } => {
                    let Some(own) = held.get(host.as_str()) else {
                        found.say(world.at_ms, format!("{host} is enabled, and this run did not disable it"));
                        return;
                    };
                    let read = readings.service(host).unwrap_or(0).saturating_sub(READING_LAGS_MS);
                    let since = changed.get(host.as_str()).copied().unwrap_or(0);
                    let now = world.service(host);
                    let theirs = now.is_some_and(|row| {
                        row.status == ServiceStatus::Disabled && row.disabled_reason.as_deref() != Some(own.reason)
                    });
                    if theirs && since <= read {
                        found.say(world.at_ms, format!("{host} is enabled while somebody else holds it"));
                    }
                    let open = known.iter().filter(|(_, of)| *of == host).map(|(step, _)| *step);
                    if let Some(step) = open.into_iter().find(|step| stands.get(step) != Some(&true)) {
                        found.say(world.at_ms, format!("{host} is enabled before {step} is done"));
                    }
                }
                _ => {}
            }
        }
    });
    found.list
}

/// 13. "Two runs never hold one host: … the run's id in the service's disabled reason." Every disable of the run carries
///     the one id, and nothing is asked about a host that shows another's.
pub(super) fn held_by_one_run(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(13);
    let mut run: Option<&str> = None;
    let mut readings = Readings::default();
    let mut since: BTreeMap<&str, u64> = BTreeMap::new();
    let in_plan: BTreeSet<&str> =
        graphs(story).into_iter().flat_map(|graph| &graph.hosts).map(|host| host.name.as_str()).collect();
    tell(story, |world, now| {
        let Now::Seen(seen) = now else { return };
        readings.sees(seen);
        let ask = match &seen.what {
            What::Service(row) => {
                let theirs = row.disabled_reason.as_deref().and_then(run_of_reason);
                if theirs.is_some() && theirs != run {
                    since.entry(&row.host).or_insert(world.at_ms);
                } else {
                    since.remove(row.host.as_str());
                }
                return;
            }
            What::Asked { ask, answer, .. } if !told_no(answer) || matches!(ask, Ask::DisableService { .. }) => ask,
            _ => return,
        };
        let host = match ask {
            Ask::DisableService { host, reason, .. } => {
                match (run_of_reason(reason), run) {
                    (None, _) => {
                        found.say(world.at_ms, format!("{host} is disabled with `{reason}`, which names no run"))
                    }
                    (Some(id), Some(own)) if id != own => {
                        found.say(world.at_ms, format!("{host} is disabled by {id}, and this run is {own}"));
                    }
                    (Some(id), _) => run = Some(id),
                }
                Some(host.as_str())
            }
            Ask::EnableService { host, .. } => Some(host.as_str()),
            _ if is_move(ask) => ask.server().and_then(|id| world.server(id)).and_then(|row| row.host.as_deref()),
            _ => None,
        };
        let Some(host) = host.filter(|host| in_plan.contains(host)) else { return };
        let Some(row) = world.service(host) else { return };
        let theirs = row.disabled_reason.as_deref().and_then(run_of_reason).filter(|id| Some(*id) != run);
        let read = readings.service(host).unwrap_or(0).saturating_sub(READING_LAGS_MS);
        if let Some(id) = theirs
            && since.get(host).copied().unwrap_or(0) <= read
        {
            found.say(world.at_ms, format!("{} is asked while run {id} holds {host}", words(ask)));
        }
    });
    found.list
}
