//! What must be true of a night, told from its events alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::{Graph, Step, StepId, StepKind};
use crate::event::{Done, EventKind, Outcome};
use crate::plan::{Limits, OnFailure, Rung};
use crate::run::engine::Engine;
use crate::run::state::StepState;

#[derive(Debug, Clone, PartialEq)]
enum Stands {
    Waiting,
    InFlight { rung: Option<Rung>, asked: bool },
    Done(Done),
    Failed,
}

#[derive(Debug, Clone)]
struct Known {
    step: Step,
    needs: Vec<StepId>,
    stands: Stands,
    attempt: u32,
    /// The newest attempt has given its slot back: also one whose outcome was never seen, and that is looked at again.
    released: bool,
    /// Its end was not seen: it may be under way.
    unseen: Option<Rung>,
    was_done: bool,
}

/// What must be true, told from the events alone.
pub(super) struct Oracle {
    steps: BTreeMap<StepId, Known>,
    limits: Limits,
    on_failure: OnFailure,
    closed: bool,
    /// Servers this run stopped and has not started again, by host and server.
    pub off: BTreeMap<(String, String), bool>,
    /// What this process has seen itself of each host; where a command was under way it need not look.
    looked: BTreeSet<(String, &'static str)>,
}

fn look_of(kind: &StepKind) -> Option<&'static str> {
    match kind {
        StepKind::Disable => Some("disable"),
        StepKind::List => Some("list"),
        StepKind::Empty => Some("empty"),
        _ => None,
    }
}

impl Oracle {
    pub(super) fn new(graph: &Graph) -> Self {
        let mut oracle = Self {
            steps: BTreeMap::new(),
            limits: graph.plan.drain.limits.clone(),
            on_failure: graph.plan.on_failure,
            closed: false,
            off: BTreeMap::new(),
            looked: BTreeSet::new(),
        };
        oracle.add(&graph.steps);
        oracle
    }

    fn add(&mut self, steps: &[Step]) {
        for step in steps {
            let known = Known {
                step: step.clone(),
                needs: step.needs.clone(),
                stands: Stands::Waiting,
                attempt: 0,
                released: false,
                unseen: None,
                was_done: false,
            };
            self.steps.insert(step.id.clone(), known);
        }
    }

    pub(super) fn sees(&mut self, event: &EventKind, engine: &Engine) -> Result<(), String> {
        match event {
            EventKind::GraphExtended { graph } => {
                self.add(&graph.steps);
                let below = &graph.parent.as_ref().unwrap().step;
                let below = self.steps.get_mut(below).unwrap();
                below.needs.extend(graph.steps.iter().map(|step| step.id.clone()));
            }
            EventKind::Interrupted { .. } => self.closed = true,
            EventKind::RunResumed { retry, .. } => self.resumed(retry, engine)?,
            EventKind::StepStarted { step, attempt, rung } => self.starts(step, *attempt, *rung)?,
            EventKind::StepIntended { step, .. } => {
                if let Stands::InFlight { asked, .. } = &mut self.steps.get_mut(step).unwrap().stands {
                    *asked = true;
                }
            }
            EventKind::MoveReleased { step, .. } => {
                self.steps.get_mut(step).unwrap().released = true;
            }
            EventKind::StepSettled { step, outcome, .. } => self.settled(step, outcome, engine)?,
            _ => {}
        }
        Ok(())
    }

    fn resumed(&mut self, retry: &[StepId], engine: &Engine) -> Result<(), String> {
        self.closed = false;
        let mut at_work = BTreeSet::new();
        for id in retry {
            let known = self.steps.get_mut(id).unwrap();
            if known.stands != Stands::Failed {
                return Err(format!("{id} is retried and has not failed"));
            }
            let asked = engine.node(id).unwrap().state == StepState::Asked;
            let rung = engine.node(id).unwrap().rung();
            known.stands = if asked { Stands::InFlight { rung, asked } } else { Stands::Waiting };
            known.unseen = None;
        }
        self.looked.clear();
        for known in self.in_flight() {
            if let (StepKind::Command { .. } | StepKind::Wait { .. }, Stands::InFlight { asked: true, .. }) =
                (&known.step.kind, &known.stands)
            {
                let looks = ["disable", "list", "empty"].map(|look| (known.step.host.clone(), look));
                at_work.extend(looks);
            }
        }
        self.looked.append(&mut at_work);
        for known in self.steps.values_mut() {
            if matches!(known.stands, Stands::InFlight { asked: false, .. }) {
                known.stands = Stands::Waiting;
            }
        }
        self.follow_restops(engine, true)
    }

    /// Going on with a host that was given up, the servers started on the way out are stopped anew and the host is
    /// seen empty anew; a resume looks at hosts anew; nothing else that is done is ever done again.
    fn follow_restops(&mut self, engine: &Engine, resumed: bool) -> Result<(), String> {
        for known in self.steps.values_mut() {
            let Stands::Done(done) = &known.stands else { continue };
            let waits = engine.node(&known.step.id).unwrap().state == StepState::Waiting;
            let may = matches!(known.step.kind, StepKind::Empty)
                || (resumed && matches!(known.step.kind, StepKind::Disable | StepKind::List))
                || matches!((&known.step.kind, done), (StepKind::Start { .. }, _))
                || matches!((&known.step.kind, done), (StepKind::Move { .. }, Done::Stopped));
            if waits && !may {
                return Err(format!("{} was done and waits again", known.step.id));
            }
            if waits {
                known.stands = Stands::Waiting;
            }
        }
        Ok(())
    }

    fn is_done(&self, id: &StepId) -> bool {
        matches!(self.steps[id].stands, Stands::Done(_))
    }

    fn in_flight(&self) -> impl Iterator<Item = &Known> {
        self.steps.values().filter(|known| matches!(known.stands, Stands::InFlight { .. }))
    }

    fn on_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Known> {
        self.steps.values().filter(move |known| known.step.host == host)
    }

    fn starts(&mut self, id: &StepId, attempt: u32, rung: Option<Rung>) -> Result<(), String> {
        let wrong = |why: String| Err(format!("{id} starts {why}"));
        if self.closed {
            return wrong("after the run was interrupted".to_owned());
        }
        let known = &self.steps[id];
        if !matches!(known.stands, Stands::Waiting) || attempt != known.attempt + 1 {
            return wrong(format!("its attempt {attempt} while {:?} in {}", known.stands, known.attempt));
        }
        let (host, wave) = (known.step.host.clone(), known.step.wave);
        let missing = known.needs.iter().find(|need| !self.is_done(need)).cloned();
        match &known.step.kind {
            StepKind::Start { .. } => {
                let given_up = || {
                    let mut others = self
                        .on_host(&host)
                        .filter(|known| !matches!(known.step.kind, StepKind::Start { .. } | StepKind::Enable));
                    others.all(|other| match other.stands {
                        Stands::Done(_) | Stands::Failed => true,
                        Stands::InFlight { .. } => false,
                        Stands::Waiting => self.hopeless(&other.step.id),
                    })
                };
                if missing.is_some() && !given_up() {
                    return wrong("on the way out of a host that still has a way in".to_owned());
                }
            }
            StepKind::Disable if known.was_done => {}
            StepKind::Disable => self.wave_begins(id, wave)?,
            _ if missing.is_some() => return wrong(format!("before {}", missing.unwrap())),
            _ => {}
        }
        match &known.step.kind {
            StepKind::Move { .. } => {
                let kept = |other: &&Known| other.step.wave == wave && matches!(other.step.kind, StepKind::Disable);
                if let Some(other) = self.steps.values().filter(kept).find(|other| !self.is_done(&other.step.id)) {
                    return wrong(format!("before {}", other.step.id));
                }
            }
            StepKind::Command { .. } | StepKind::Enable => {
                let enable = matches!(known.step.kind, StepKind::Enable);
                let must = |other: &&Known| {
                    (enable && other.step.id != *id)
                        || matches!(other.step.kind, StepKind::Move { .. } | StepKind::Empty)
                };
                if let Some(other) = self.on_host(&host).filter(must).find(|other| !self.is_done(&other.step.id)) {
                    return wrong(format!("before {} is done", other.step.id));
                }
                let runs_again = self.off.iter().find(|((on, _), off)| *on == host && !**off);
                if let (Some(((_, server), _)), false) = (runs_again, enable) {
                    return wrong(format!("while {server} runs on the host"));
                }
                let unseen =
                    ["disable", "list", "empty"].into_iter().find(|look| !self.looked.contains(&(host.clone(), *look)));
                if let (Some(look), false) = (unseen, enable) {
                    return wrong(format!("and this process has not done {look}"));
                }
            }
            _ => {}
        }
        let known = self.steps.get_mut(id).unwrap();
        known.attempt = attempt;
        known.stands = Stands::InFlight { rung, asked: false };
        known.released = false;
        self.within_limits().or_else(wrong)
    }

    fn wave_begins(&self, id: &StepId, wave: u32) -> Result<(), String> {
        for other in self.steps.values().filter(|other| other.step.wave < wave) {
            let over = match other.stands {
                Stands::Done(_) | Stands::Failed => true,
                Stands::InFlight { .. } => false,
                Stands::Waiting => self.hopeless(&other.step.id),
            };
            if !over {
                return Err(format!("{id} starts before {} is over", other.step.id));
            }
        }
        let failed = self.steps.values().any(|other| other.stands == Stands::Failed);
        if failed && wave > 1 && self.on_failure == OnFailure::Hold {
            return Err(format!("{id} starts although something has failed"));
        }
        Ok(())
    }

    fn within_limits(&self) -> Result<(), String> {
        let mut servers = Vec::new();
        let mut held = 0;
        let mut sources: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for known in self.steps.values() {
            let rung = match known.stands {
                Stands::InFlight { rung, .. } => rung,
                _ => known.unseen,
            };
            let (StepKind::Move { server, .. }, Some(rung)) = (&known.step.kind, rung) else { continue };
            if rung == Rung::Leave {
                continue;
            }
            if servers.contains(&server) {
                return Err(format!("a second move of {server}"));
            }
            servers.push(server);
            if known.released {
                continue;
            }
            held += 1;
            let at = sources.entry(&known.step.host).or_default();
            at.0 += u32::from(rung == Rung::Live);
            at.1 += u32::from(rung == Rung::Cold);
        }
        if held > self.limits.cloud {
            return Err(format!("move {held} in the cloud"));
        }
        for (host, (live, cold)) in sources {
            if cold > self.limits.source || live + cold > self.limits.source + self.limits.queue_ahead {
                return Err(format!("{live} live and {cold} cold at {host}"));
            }
        }
        Ok(())
    }

    fn settled(&mut self, id: &StepId, outcome: &Outcome, engine: &Engine) -> Result<(), String> {
        let known = self.steps.get_mut(id).unwrap();
        let host = known.step.host.clone();
        if let (Outcome::Unknown { .. }, Stands::InFlight { rung, .. }) = (outcome, &known.stands) {
            known.unseen = *rung;
        }
        known.stands = match outcome {
            Outcome::Done(done) => {
                known.was_done = true;
                self.looked.extend(look_of(&known.step.kind).map(|look| (host.clone(), look)));
                match (&known.step.kind, done) {
                    (StepKind::Move { server, .. }, Done::Stopped) => {
                        self.off.insert((host, server.clone()), true);
                    }
                    // Off by itself, or left running by the last rung.
                    (StepKind::Move { server, .. }, Done::Left) => {
                        self.off.remove(&(host, server.clone()));
                    }
                    (StepKind::Start { server }, _) => {
                        if let Some(off) = self.off.get_mut(&(host, server.clone())) {
                            *off = false;
                        }
                    }
                    _ => {}
                }
                Stands::Done(done.clone())
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } => Stands::Failed,
            Outcome::Retryable { .. } if engine.node(id).unwrap().state == StepState::Failed => Stands::Failed,
            Outcome::Retryable { .. } => Stands::Waiting,
        };
        self.follow_restops(engine, false)
    }

    /// Something it needs has failed for good. A disable asks for its wave, and a start always comes.
    fn hopeless(&self, id: &StepId) -> bool {
        let known = &self.steps[id];
        if matches!(known.step.kind, StepKind::Start { .. } | StepKind::Disable) {
            return false;
        }
        // A host that is gone on with may fail to be emptied although what came after that is done.
        let for_an_empty_host =
            matches!(known.step.kind, StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable);
        let is_lost = |other: &Known| {
            other.stands == Stands::Failed || (other.stands == Stands::Waiting && self.hopeless(&other.step.id))
        };
        let never_empty = self.on_host(&known.step.host).any(|other| {
            let looks = matches!(other.step.kind, StepKind::Disable | StepKind::List);
            let empties = looks || matches!(other.step.kind, StepKind::Move { .. } | StepKind::Empty);
            let awaited = if for_an_empty_host { empties } else { looks };
            awaited && other.step.id != *id && is_lost(other)
        });
        let wave_lost = matches!(known.step.kind, StepKind::Move { .. })
            && self.steps.values().any(|other| {
                matches!(other.step.kind, StepKind::Disable) && other.step.wave == known.step.wave && is_lost(other)
            });
        let awaits = for_an_empty_host || matches!(known.step.kind, StepKind::Move { .. });
        (awaits && never_empty)
            || wave_lost
            || self.has_no_room(known)
            || known.needs.iter().any(|need| {
                let stands = &self.steps[need].stands;
                *stands == Stands::Failed || (*stands == Stands::Waiting && self.hopeless(need))
            })
    }

    /// It waits for a slot that a move holds whose end was never seen.
    fn has_no_room(&self, known: &Known) -> bool {
        let StepKind::Move { server, .. } = &known.step.kind else { return false };
        let holds = |other: &&Known| other.unseen.is_some_and(|rung| rung != Rung::Leave);
        let mut held = 0;
        for other in self.steps.values().filter(holds) {
            let of_it = matches!(&other.step.kind, StepKind::Move { server: own, .. } if own == server);
            held += u32::from(!other.released);
            if of_it || (!other.released && (other.step.host == known.step.host || self.limits.destination.is_some())) {
                return true;
            }
        }
        held >= self.limits.cloud
    }

    /// Nothing happens any more.
    pub(super) fn at_the_end(&self, closed: bool) -> Result<(), String> {
        if let Some(known) = self.in_flight().next().filter(|_| !closed) {
            return Err(format!("{} is in flight and nobody is at it", known.step.id));
        }
        if closed {
            return Ok(());
        }
        let held =
            self.on_failure == OnFailure::Hold && self.steps.values().any(|known| known.stands == Stands::Failed);
        for known in self.steps.values().filter(|known| known.stands == Stands::Waiting) {
            let disable = self.on_host(&known.step.host).find(|known| matches!(known.step.kind, StepKind::Disable));
            let never_begun = disable.is_some_and(|disable| disable.attempt == 0);
            if !(self.hopeless(&known.step.id) || (held && never_begun)) {
                return Err(format!("{} waits for nothing", known.step.id));
            }
        }
        for ((host, server), off) in &self.off {
            let start = self.steps.get(&StepId(format!("{host}/start/{server}")));
            if *off && start.is_some_and(|start| start.stands != Stands::Failed) {
                return Err(format!("{server} was stopped on {host}, and nobody tried to start it"));
            }
        }
        Ok(())
    }
}
