//! The promise about failures: what they stop, and what they do not.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Found, Now, World, server_of, tell};
use super::{Story, Violation};
use crate::compile::{Step, StepId, StepKind};
use crate::event::{Ending, EventKind, Outcome};
use crate::plan::OnFailure;

/// Where a step stands, told from what is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Waiting,
    InFlight {
        asked: bool,
    },
    Done,
    /// Failed or unknown: an end.
    Failed,
    /// An attempt came to nothing; whether another follows is not told.
    MayTryAgain,
}

#[derive(Default)]
struct Run<'a> {
    steps: BTreeMap<&'a StepId, &'a Step>,
    needs: BTreeMap<&'a StepId, Vec<&'a StepId>>,
    stands: BTreeMap<&'a StepId, Stands>,
    begun: BTreeSet<&'a str>,
    /// Moves whose end was not seen: they keep their slots, and what waits for those is given up.
    unknown: BTreeSet<&'a StepId>,
    closed: bool,
}

impl<'a> Run<'a> {
    fn add(&mut self, steps: &'a [Step]) {
        for step in steps {
            self.steps.insert(&step.id, step);
            self.needs.insert(&step.id, step.needs.iter().collect());
        }
    }

    fn stands(&self, step: &StepId) -> Stands {
        self.stands.get(step).copied().unwrap_or(Stands::Waiting)
    }

    fn missing(&self, step: &StepId) -> Option<&'a StepId> {
        self.needs.get(step).into_iter().flatten().copied().find(|need| self.stands(need) != Stands::Done)
    }

    fn failed(&self) -> impl Iterator<Item = &'a StepId> + '_ {
        self.stands.iter().filter(|(_, stands)| **stands == Stands::Failed).map(|(step, _)| *step)
    }

    fn over(&self, step: &StepId) -> bool {
        match self.stands(step) {
            Stands::Done | Stands::Failed | Stands::MayTryAgain => true,
            Stands::InFlight { .. } => false,
            Stands::Waiting => self.never(step),
        }
    }

    /// Something that has to come before it has ended without success, so it can never begin.
    fn never(&self, id: &StepId) -> bool {
        let Some(step) = self.steps.get(id) else { return false };
        if matches!(step.kind, StepKind::Start { .. } | StepKind::Disable) {
            return false;
        }
        if matches!(step.kind, StepKind::Move { .. }) && !self.unknown.is_empty() {
            return true;
        }
        let bad = |of: &StepId| matches!(self.stands(of), Stands::Failed | Stands::MayTryAgain);
        // What was found on a host needs no step, and is not gone on with where the look at it failed.
        let looks = |other: &&Step| {
            other.host == step.host && matches!(other.kind, StepKind::Disable | StepKind::List) && bad(&other.id)
        };
        if matches!(step.kind, StepKind::Move { .. }) && self.steps.values().copied().any(|other| looks(&other)) {
            return true;
        }
        // Also behind steps that are done: a host that is gone on with is looked at anew, and that may fail.
        let mut needs = self.needs.get(id).into_iter().flatten();
        if needs.any(|need| bad(need) || (!matches!(self.stands(need), Stands::InFlight { .. }) && self.never(need))) {
            return true;
        }
        // Commands, waits and the enable of a host want it empty, whatever stands between.
        let wants_empty = matches!(step.kind, StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable);
        let empties =
            |other: &&&Step| other.host == step.host && matches!(other.kind, StepKind::Move { .. } | StepKind::Empty);
        wants_empty && self.steps.values().filter(empties).any(|other| bad(&other.id))
    }
}

/// 10. "A failed step stops its dependants and nothing else; new hosts stop when the plan's failure limit is reached;
///     what is in flight is finished, not cut."
pub(super) fn failures_stop_their_dependants(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(10);
    let mut run = Run::default();
    run.add(&story.graph.steps);
    let hold = story.graph.plan.on_failure == OnFailure::Hold;
    tell(story, |world, now| {
        let Now::Event(event) = now else { return };
        match &event.kind {
            EventKind::GraphExtended { graph } => {
                run.add(&graph.steps);
                if let Some(edge) = &graph.parent {
                    run.needs.entry(&edge.step).or_default().extend(graph.steps.iter().map(|step| &step.id));
                }
            }
            EventKind::RunResumed { retry, .. } => {
                run.closed = false;
                for step in retry {
                    run.stands.insert(step, Stands::Waiting);
                }
                let unasked = |stands: &Stands| *stands == Stands::InFlight { asked: false };
                run.stands.values_mut().filter(|stands| unasked(stands)).for_each(|stands| *stands = Stands::Waiting);
            }
            EventKind::Interrupted { .. } => run.closed = true,
            EventKind::StepStarted { step, .. } => {
                began(&run, step, hold, world, &mut found);
                run.stands.insert(step, Stands::InFlight { asked: false });
                if let Some(step) = run.steps.get(step) {
                    run.begun.insert(&step.host);
                }
            }
            EventKind::StepIntended { step, .. } => {
                run.stands.insert(step, Stands::InFlight { asked: true });
            }
            EventKind::StepSettled { step, outcome, .. } => {
                let stands = match outcome {
                    Outcome::Done(_) => Stands::Done,
                    Outcome::Retryable { .. } => Stands::MayTryAgain,
                    Outcome::Failed { .. } | Outcome::Unknown { .. } => Stands::Failed,
                };
                run.stands.insert(step, stands);
                let moves = run.steps.get(step).is_some_and(|step| matches!(step.kind, StepKind::Move { .. }));
                if moves && matches!(outcome, Outcome::Unknown { .. }) {
                    run.unknown.insert(step);
                } else {
                    run.unknown.remove(step);
                }
            }
            EventKind::RunEnded { ending, .. } => ended(&run, *ending, hold, world, &mut found),
            _ => {}
        }
    });
    found.list
}

fn began(run: &Run<'_>, id: &StepId, hold: bool, world: &World<'_>, found: &mut Found) {
    let Some(step) = run.steps.get(id) else { return };
    if run.closed {
        found.say(world.at_ms, format!("{id} begins after the run was stopped"));
    }
    match step.kind {
        StepKind::Start { .. } => {}
        // Looked at anew before it is gone on with: it is out of service already.
        StepKind::Disable if run.begun.contains(step.host.as_str()) => {}
        StepKind::Disable => {
            let earlier = run.steps.values().filter(|other| other.wave < step.wave);
            if let Some(other) = earlier.clone().find(|other| !run.over(&other.id)) {
                // A start that nothing waits for any more is looked at by the promise about power.
                let start = matches!(other.kind, StepKind::Start { .. }) || !run.begun.contains(other.host.as_str());
                if !start {
                    found.say(world.at_ms, format!("{id} begins before {} is over", other.id));
                }
            }
            let failed = run.failed().next().filter(|_| hold && step.wave > 1);
            if let Some(failed) = failed {
                found.say(world.at_ms, format!("{id} begins although {failed} has failed"));
            }
        }
        _ => {
            if let Some(need) = run.missing(id) {
                found.say(world.at_ms, format!("{id} begins before {need} is done"));
            }
        }
    }
}

fn ended(run: &Run<'_>, ending: Ending, hold: bool, world: &World<'_>, found: &mut Found) {
    for (id, stands) in &run.stands {
        if *stands == (Stands::InFlight { asked: true }) {
            found.say(world.at_ms, format!("the run ends while {id} is in flight"));
        }
    }
    // What nova still copies for this run has a step that says so.
    for row in world.copying() {
        let about = run.steps.values().filter(|step| server_of(step) == Some(row.server.as_str()));
        if about.clone().all(|step| run.stands(&step.id) == Stands::Done) {
            found.say(
                world.at_ms,
                format!("the run ends while migration {} of {} is {}", row.id, row.server, row.status),
            );
        }
    }
    if run.closed || ending == Ending::Interrupted {
        return;
    }
    let something = run.stands.values().any(|stands| matches!(stands, Stands::Failed | Stands::MayTryAgain));
    for (id, step) in &run.steps {
        if run.stands(id) != Stands::Waiting || run.never(id) {
            continue;
        }
        // Its host was never begun, because the run holds.
        let held = hold && something && !run.begun.contains(step.host.as_str());
        if !held {
            found.say(world.at_ms, format!("the run ends, and {id} was never begun though nothing stops it"));
        }
    }
}
