//! Where a run stands when another process takes it up.

use super::{Effect, Engine};
use crate::compile::{StepId, StepKind};
use crate::run::state::{Illegal, StepState};

impl Engine {
    /// Another process takes the run up.
    pub(super) fn resume(&mut self, retry: &[StepId], effects: &mut Vec<Effect>) -> Result<(), Illegal> {
        self.closed = false;
        self.ended = false;
        for step in retry {
            let at = self.find(step)?;
            let node = &mut self.nodes[at];
            match node.state {
                StepState::Failed => {
                    (node.rung, node.tries) = (0, 0);
                    self.set_state(at, StepState::Waiting);
                }
                // It may have been accepted: it is looked at again, never asked again.
                StepState::Unknown if !node.intents.is_empty() => self.set_state(at, StepState::Asked),
                StepState::Unknown => self.set_state(at, StepState::Waiting),
                _ => return Err(Illegal::Order("only a step that failed or is unknown can be retried")),
            }
        }
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            (node.starting, node.paused, node.blocked) = (false, false, false);
            #[cfg(test)]
            if crate::run::Sabotage::ForgetsWhatItAsked.is_on() && node.state.in_flight() {
                node.state = StepState::Started;
            }
            let state = if node.state == StepState::Started { StepState::Waiting } else { node.state };
            self.set_state(at, state);
        }
        for at in 0..self.nodes.len() {
            if self.was_on_the_way_out(at) {
                self.take_in_again(at);
            }
        }
        self.look_again();
        self.recount();
        self.admission.clear();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.state.in_flight()) {
            if let (StepKind::Move { server, .. }, Some(rung)) = (&node.step.kind, node.rung()) {
                self.admission.take(at, server, &node.step.host, rung);
                if let Some(to) = &node.to {
                    self.admission.placed(at, to);
                }
                if node.released {
                    self.admission.release(at);
                }
            }
            if let Some(intent) = node.intents.last() {
                effects.push(Effect::Adopt {
                    step: node.step.id.clone(),
                    attempt: node.attempt,
                    intent: intent.clone(),
                    answer: node.answer.clone(),
                });
            }
        }
        Ok(())
    }

    /// Hosts that are still to be worked on are looked at anew: since the last process looked, somebody may have enabled
    /// them and servers may have come. Where a command is under way, it is too late to look.
    fn look_again(&mut self) {
        let is = |at: &usize, wanted: fn(&StepKind) -> bool| wanted(&self.nodes[*at].step.kind);
        let done = |at: &usize| self.nodes[*at].state == StepState::Done;
        let works = |kind: &StepKind| matches!(kind, StepKind::Command { .. } | StepKind::Wait { .. });
        let open = |kind: &StepKind| !matches!(kind, StepKind::Start { .. } | StepKind::Enable);
        let looks = |kind: &StepKind| matches!(kind, StepKind::Disable | StepKind::List | StepKind::Empty);
        let mut again = Vec::new();
        for host in &self.hosts {
            let own = host.steps();
            let begun = own.iter().any(|at| is(at, |kind| matches!(kind, StepKind::Disable)) && done(at));
            let unfinished = own.iter().any(|at| is(at, open) && !done(at));
            let at_work = own.iter().any(|at| is(at, works) && self.nodes[*at].state.in_flight());
            if begun && unfinished && !at_work {
                again.extend(own.iter().copied().filter(|at| is(at, looks) && done(at)));
            }
        }
        for at in again {
            self.set_state(at, StepState::Waiting);
            self.nodes[at].tries = 0;
        }
    }

    /// Counters and blocked marks anew, from the states.
    fn recount(&mut self) {
        self.failed = 0;
        self.busy = self.nodes.iter().filter(|node| node.state.in_flight()).count();
        self.open_in_wave.clear();
        self.candidates = (0..self.nodes.len()).collect();
        self.queues.clear();
        self.room = true;
        for node in &self.nodes {
            *self.open_in_wave.entry(node.step.wave).or_default() += usize::from(!node.state.ended());
        }
        let failed: Vec<usize> = (0..self.nodes.len())
            .filter(|&at| matches!(self.nodes[at].state, StepState::Failed | StepState::Unknown))
            .collect();
        self.failed = failed.len();
        for at in failed {
            self.block_dependants(at);
        }
    }
}
