//! Promises about requests: their intents are on disk before them, none is made on a guess, none twice.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Found, Now, READING_LAGS_MS, is_for, tell, told_no, words};
use super::{Story, Violation};
use crate::cloud::sim::{Question, Told, What};
use crate::cloud::{Ask, MigrationStatus, ServerStatus};
use crate::compile::StepId;
use crate::event::{EventKind, Intent, Outcome};

/// An intent that is on disk and that no request has been made of.
struct Open<'a> {
    step: &'a StepId,
    intent: &'a Intent,
}

/// 1. "Nothing is asked of the cloud before its intent is durable." Each durable intent is good for one request, as
///    long as its attempt has not been settled.
pub(super) fn durable_before_asked(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(1);
    let mut open: Vec<Open<'_>> = Vec::new();
    tell(story, |world, now| match now {
        Now::Event(event) => match &event.kind {
            EventKind::StepIntended { step, intent, .. } => open.push(Open { step, intent }),
            EventKind::StepSettled { step, .. } => open.retain(|one| one.step != step),
            _ => {}
        },
        Now::Seen(seen) => match &seen.what {
            What::Asked { ask, .. } => match open.iter().position(|one| is_for(one.intent, ask)) {
                Some(at) => drop(open.swap_remove(at)),
                None => found.say(world.at_ms, format!("{} is asked, and no intent of it is on disk", words(ask))),
            },
            What::Command { key, host, began: true, .. } => {
                let of = |one: &Open<'_>| matches!(one.intent, Intent::Command { key: own, .. } if own == key);
                match open.iter().position(of) {
                    Some(at) => drop(open.swap_remove(at)),
                    None => found.say(world.at_ms, format!("{key} begins for {host}, and no intent of it is on disk")),
                }
            }
            _ => {}
        },
    });
    found.list
}

/// The newest request about a server that may have been taken in.
struct Sent<'a> {
    ask: &'a Ask,
    at_ms: u64,
    step: Option<(&'a StepId, u32)>,
    /// Its attempt is settled, on disk, by an outcome that was seen.
    ended: bool,
    /// Something was read of the cloud's servers or migrations since.
    looked: bool,
    /// Nova took it in, whatever the run was told.
    taken: bool,
}

/// 2. "Never two migrations of one server at once; never a second request for one that may have been accepted."
pub(super) fn one_at_a_time(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(2);
    let mut sent: BTreeMap<&str, Sent<'_>> = BTreeMap::new();
    let mut intents: Vec<(&StepId, u32, &Intent)> = Vec::new();
    tell(story, |world, now| match now {
        Now::Event(event) => match &event.kind {
            EventKind::StepIntended { step, attempt, intent } => intents.push((step, *attempt, intent)),
            EventKind::StepSettled { step, attempt, outcome } => {
                intents.retain(|(of, _, _)| *of != step);
                if !matches!(outcome, Outcome::Unknown { .. }) {
                    for one in sent.values_mut().filter(|one| one.step == Some((step, *attempt))) {
                        one.ended = true;
                    }
                }
            }
            _ => {}
        },
        Now::Seen(seen) => match &seen.what {
            What::Migration(row) if world.ours.contains(&row.id) => {
                let own: Vec<u64> =
                    world.unfinished().filter(|one| one.server == row.server).map(|one| one.id).collect();
                if own.len() > 1 {
                    found.say(world.at_ms, format!("migrations {own:?} of {} are under way at once", row.server));
                }
            }
            What::Read { what, answered: true } if looks_at_moves(what) => {
                for one in sent.values_mut() {
                    one.looked = true;
                }
            }
            What::Asked { ask, arrived, answer } => {
                let Some(server) = ask.server().filter(|_| !matches!(ask, Ask::AbortMigration { .. })) else { return };
                let of = intents.iter().rev().find(|(_, _, intent)| is_for(intent, ask));
                let step = of.map(|(step, attempt, _)| (*step, *attempt));
                if let Some(before) = sent.get(server) {
                    second(before, ask, step, world, server, &mut found);
                }
                if told_no(answer) {
                    return;
                }
                let taken = *arrived;
                let (at_ms, ended, looked) = (world.at_ms, false, false);
                sent.insert(server, Sent { ask, at_ms, step, ended, looked, taken });
            }
            _ => {}
        },
    });
    found.list
}

fn looks_at_moves(what: &Question) -> bool {
    matches!(what, Question::Inventory | Question::Servers(_) | Question::Server { .. } | Question::Migrations(_))
}

/// Another request about a server that was asked something before.
fn second(
    before: &Sent<'_>,
    ask: &Ask,
    step: Option<(&StepId, u32)>,
    world: &super::story::World<'_>,
    server: &str,
    found: &mut Found,
) {
    let (first, then) = (words(before.ask), words(ask));
    let confirms = matches!((before.ask, ask), (Ask::ColdMigrate { .. }, Ask::ConfirmResize { .. }));
    if confirms && before.step == step {
        return;
    }
    // A start follows a stop whose end is to be seen, whatever became of the step that asked for it.
    let off = world.server(server).is_some_and(|row| row.status == ServerStatus::Shutoff && row.task_state.is_none());
    let starts = matches!((before.ask, ask), (Ask::Stop { .. }, Ask::Start { .. })) && off && before.looked;
    if starts {
        return;
    }
    // The same request of the same attempt again: only for one that truly left no trace, and only after a look.
    let again = before.ask == ask && before.step == step && step.is_some();
    if !before.ended && (!again || before.taken) {
        let at_s = before.at_ms as f64 / 1000.0;
        found.say(world.at_ms, format!("{then} is asked while {first} of {at_s} s may have been accepted"));
        return;
    }
    if !before.looked {
        found.say(world.at_ms, format!("{then} is asked after {first}, and nothing was looked at between"));
    }
    if let Some(row) = world.unfinished().find(|row| row.server == server) {
        let mine = matches!(ask, Ask::ConfirmResize { .. }) && row.status == MigrationStatus::Finished;
        if !mine {
            found.say(world.at_ms, format!("{then} is asked while migration {} of it is {}", row.id, row.status));
        }
    }
}

/// 9. "No guest is confirmed, reverted, reset or evacuated on a guess. … Someone else's VERIFY_RESIZE is theirs." The
///    record that waits must have been made by this run, and so must one that is aborted.
pub(super) fn never_on_a_guess(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(9);
    tell(story, |world, now| {
        let Now::Seen(seen) = now else { return };
        let What::Asked { ask, .. } = &seen.what else { return };
        match ask {
            Ask::ConfirmResize { server } | Ask::RevertResize { server } => {
                let own = |id: &&u64| world.migrations.get(id).is_some_and(|row| row.server == *server);
                let newest = world
                    .migrations
                    .values()
                    .rev()
                    .find(|row| row.server == *server && row.status == MigrationStatus::Finished);
                match newest {
                    Some(row) if !world.ours.contains(&row.id) => {
                        found.say(
                            world.at_ms,
                            format!("{} is asked of migration {}, which is not its own", words(ask), row.id),
                        );
                    }
                    None if !world.ours.iter().any(|id| own(&id)) => {
                        found.say(world.at_ms, format!("{} is asked, and this run never moved it", words(ask)));
                    }
                    _ => {}
                }
            }
            Ask::AbortMigration { server, migration_id } if !world.ours.contains(migration_id) => {
                found.say(world.at_ms, format!("migration {migration_id} of {server} is aborted and is not its own"));
            }
            _ => {}
        }
    });
    found.list
}

/// 11. "Kill at any instant, then resume: … no request sent twice, nothing lost." What one night alone can show: no
///     command is run again that succeeded, no request that Nova took in is repeated while its effect stands, and what
///     was once on disk stays there.
pub(super) fn nothing_twice_across_a_kill(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(11);
    let mut durable = 0;
    let mut ran: BTreeMap<&str, &StepId> = BTreeMap::new();
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    let mut succeeded: BTreeSet<&StepId> = BTreeSet::new();
    // What each host's service was last asked to be, by a request that was taken in.
    let mut asked_of: BTreeMap<&str, bool> = BTreeMap::new();
    let mut asked_at: BTreeMap<&str, u64> = BTreeMap::new();
    tell(story, |world, now| match now {
        Now::Event(event) => {
            if let EventKind::StepIntended { step, intent: Intent::Command { key, .. }, .. } = &event.kind {
                ran.insert(key, step);
            }
        }
        Now::Seen(seen) => match &seen.what {
            What::Durable { events } => {
                if *events < durable {
                    found.say(world.at_ms, format!("{durable} events were on disk, and {events} are"));
                }
                durable = *events;
            }
            What::Command { key, host, began: true, .. } => {
                if !keys.insert(key) {
                    found.say(world.at_ms, format!("{key} is begun a second time for {host}"));
                }
                if let Some(step) = ran.get(key.as_str()).filter(|step| succeeded.contains(*step)) {
                    found.say(world.at_ms, format!("{step} is run again although it succeeded"));
                }
            }
            What::Command { key, began: false, exit_code: Some(0), .. } => {
                if let Some(step) = ran.get(key.as_str()) {
                    succeeded.insert(*step);
                }
            }
            What::Service(row) if world.touched_since(&row.host, world.at_ms) => {
                asked_of.remove(row.host.as_str());
            }
            What::Asked { ask, arrived: true, answer } if !matches!(answer, Told::Refused { .. }) => {
                let (host, enables) = match ask {
                    Ask::DisableService { host, .. } => (host.as_str(), false),
                    Ask::EnableService { host, .. } => (host.as_str(), true),
                    _ => return,
                };
                // A process that has just begun may be shown a row from before: the same is asked for, and harms nothing.
                let stale = asked_at.insert(host, world.at_ms).is_some_and(|at| world.at_ms < at + READING_LAGS_MS);
                if asked_of.insert(host, enables) == Some(enables) && !stale {
                    found.say(world.at_ms, format!("{} is asked again, and nova had taken it in", words(ask)));
                }
            }
            _ => {}
        },
    });
    if durable != story.events.len() as u64 {
        let at_ms = story.seen.last().map_or(0, |seen| seen.at_ms);
        found.say(at_ms, format!("{durable} events are on disk, and the run told of {}", story.events.len()));
    }
    found.list
}
