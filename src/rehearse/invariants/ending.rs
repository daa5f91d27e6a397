//! Promises about how a run leaves the cloud, and that it says so.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Found, Now, World, rungs, server_of, steps, tell};
use super::{Story, Violation};
use crate::cloud::sim::{Told, What};
use crate::cloud::{Ask, PowerState, Server, ServerStatus, ServiceStatus};
use crate::compile::{StepId, StepKind};
use crate::event::{Ending, EventKind, Leftover, LeftoverKind, Outcome};
use crate::plan::{Finish, Rung};

/// The last thing the run said of itself.
struct End<'a> {
    ending: Ending,
    leftovers: &'a [Leftover],
}

impl<'a> End<'a> {
    fn of(story: &Story<'a>) -> Option<Self> {
        story.events.last().and_then(|event| match &event.kind {
            EventKind::RunEnded { ending, leftovers, .. } => Some(Self { ending: *ending, leftovers }),
            _ => None,
        })
    }

    fn names(&self, server: &str) -> bool {
        self.leftovers.iter().any(|left| left.server.as_ref().is_some_and(|(id, _)| id == server))
    }

    fn names_host(&self, host: &str, kind: Option<LeftoverKind>) -> bool {
        self.leftovers.iter().any(|left| left.host == host && kind.is_none_or(|kind| left.kind == kind))
    }
}

/// The truth when the run ended for the last time, and what was gathered on the way.
#[derive(Default)]
struct Last<'a> {
    servers: BTreeMap<&'a str, &'a Server>,
    disabled: BTreeMap<&'a str, Option<&'a str>>,
    touched: BTreeSet<&'a str>,
    /// Moves of this run that have not ended, and cold ones that wait for their confirm: server, id, status.
    open: Vec<(&'a str, u64, String)>,
    /// Stops of this run that nova took in, and whether a start was asked after them.
    stopped: BTreeMap<&'a str, bool>,
    /// Reasons this run gave its hosts.
    reasons: BTreeMap<&'a str, &'a str>,
    /// What each step's last attempt came to.
    outcomes: BTreeMap<&'a StepId, bool>,
    /// Hosts of which a server was to be moved.
    moving: BTreeSet<&'a str>,
    at_ms: u64,
}

fn last<'a>(story: &Story<'a>) -> Last<'a> {
    let mut last = Last::default();
    let of_steps = steps(story);
    tell(story, |world, now| match now {
        Now::Seen(seen) => match &seen.what {
            What::Asked { ask, arrived: true, answer } if !matches!(answer, Told::Refused { .. }) => match ask {
                Ask::Stop { server } => drop(last.stopped.insert(server, false)),
                Ask::DisableService { host, reason, .. } => drop(last.reasons.insert(host, reason)),
                _ => {}
            },
            _ => {}
        },
        Now::Event(event) => match &event.kind {
            EventKind::StepIntended { intent: crate::event::Intent::Start { server }, .. } => {
                if let Some(started) = last.stopped.get_mut(server.id.as_str()) {
                    *started = true;
                }
            }
            EventKind::StepStarted { step, .. } => {
                let moves = of_steps.get(step).filter(|step| matches!(step.kind, StepKind::Move { .. }));
                last.moving.extend(moves.map(|step| step.host.as_str()));
            }
            EventKind::StepSettled { step, outcome, .. } => {
                last.outcomes.insert(step, matches!(outcome, Outcome::Done(_)));
            }
            EventKind::RunEnded { .. } => stands(&mut last, world),
            _ => {}
        },
    });
    last
}

fn stands<'a>(last: &mut Last<'a>, world: &World<'a>) {
    last.at_ms = world.at_ms;
    last.servers = world.servers.clone();
    last.touched = world.touched.keys().copied().collect();
    last.open = world.unfinished().map(|row| (row.server.as_str(), row.id, row.status.to_string())).collect();
    let disabled = world.services.values().filter(|row| row.status == ServiceStatus::Disabled);
    last.disabled = disabled.map(|row| (row.host.as_str(), row.disabled_reason.as_deref())).collect();
}

/// On, off or paused; `None` for anything else.
fn power(row: &Server) -> Option<PowerState> {
    match row.status {
        ServerStatus::Active => Some(PowerState::Running),
        ServerStatus::Shutoff => Some(PowerState::Shutdown),
        ServerStatus::Paused => Some(PowerState::Paused),
        _ => None,
    }
}

/// 8. "A server ends in the power state, and with the lock, it began with. What furlough stopped it starts, on every way
///    out." One that could not be is named; one that was stopped has at least been asked to start, unless the operator
///    stopped the run or the plan keeps the host out of service.
pub(super) fn power_and_lock(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(8);
    let Some(end) = End::of(story) else { return found.list };
    let last = last(story);
    let keeps = story.graph.plan.finish == Finish::KeepDisabled;
    for before in &story.start.servers {
        let Some(row) = last.servers.get(before.id.as_str()) else { continue };
        if last.touched.contains(before.id.as_str()) {
            continue;
        }
        let (was, is) = (power(before), power(row));
        let turned = was.is_some() && is.is_some() && was != is;
        if turned && !end.names(&before.id) {
            found.say(
                last.at_ms,
                format!("{} was {} and is {}, and nothing says so", row.id, before.status, row.status),
            );
        }
        if before.locked != row.locked {
            found.say(last.at_ms, format!("the lock of {} was {:?} and is {:?}", row.id, before.locked, row.locked));
        }
        let off = was == Some(PowerState::Running) && is == Some(PowerState::Shutdown);
        let given_up = end.ending != Ending::Interrupted && !keeps;
        if off && given_up && last.stopped.get(before.id.as_str()) == Some(&false) {
            found.say(last.at_ms, format!("{} was stopped by this run, and was never asked to start", row.id));
        }
    }
    found.list
}

/// 12. "At the end every leftover is named: hosts still disabled, servers not where or how they began, unconfirmed
///     resizes, …, errors."
pub(super) fn leftovers_are_named(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(12);
    let Some(end) = End::of(story) else { return found.list };
    let last = last(story);
    let of_steps = steps(story);
    for (host, reason) in &last.reasons {
        let still = last.disabled.get(host).is_some_and(|now| *now == Some(*reason));
        if !still {
            continue;
        }
        if !end.names_host(host, Some(LeftoverKind::HostDisabled)) {
            found.say(last.at_ms, format!("{host} is still disabled by this run, and no leftover says so"));
        }
        for row in last.servers.values().filter(|row| row.host.as_deref() == Some(*host)) {
            let rungs = rungs(story, host, &row.id);
            // Where and how it began it may be named or not, until servers of its host are moved: then one that is
            // still there has been left, unless its own step is done (it was stopped and started, or was off).
            let own = |step: &StepId| of_steps.get(step).is_some_and(|step| server_of(step) == Some(row.id.as_str()));
            let handled = last.outcomes.iter().any(|(step, done)| *done && own(step));
            let was = story.start.server(&row.id);
            let as_it_was = was.is_some_and(|was| was.status == row.status && was.host == row.host);
            let back = as_it_was && (!last.moving.contains(host) || (rungs.contains(&Rung::Stop) && handled));
            if !rungs.is_empty() && !back && !end.names(&row.id) && !last.touched.contains(row.id.as_str()) {
                found.say(
                    last.at_ms,
                    format!("{} is still on {host}, {}, and no leftover names it", row.id, row.status),
                );
            }
        }
    }
    for (server, id, status) in &last.open {
        if !end.names(server) && last.servers.contains_key(server) {
            found.say(last.at_ms, format!("migration {id} of {server} is {status}, and no leftover names it"));
        }
    }
    for before in &story.start.servers {
        let Some(row) = last.servers.get(before.id.as_str()) else { continue };
        let broken = row.status == ServerStatus::Error && before.status != ServerStatus::Error;
        if broken && !end.names(&row.id) && !last.touched.contains(row.id.as_str()) {
            found.say(last.at_ms, format!("{} is in ERROR, and no leftover names it", row.id));
        }
    }
    for (id, _) in last.outcomes.iter().filter(|(_, done)| !**done) {
        let Some(step) = of_steps.get(id) else { continue };
        if !end.names_host(&step.host, None) {
            found.say(last.at_ms, format!("{id} did not succeed, and no leftover is about {}", step.host));
        }
    }
    found.list
}
