//! What may start now, and in which order.
//!
//! A step is looked at again only when something that it looks at has changed (`candidates`). Moves that lack nothing but
//! room wait in a queue for each host and rung, of which only the first is asked about: with hundreds of moves waiting, an
//! event costs as much as there are queues.

use super::{Effect, Engine, Node};
use crate::compile::StepKind;
use crate::plan::{OnFailure, Rung};
use crate::run::state::StepState;

/// The steps of a host.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    steps: Vec<usize>,
    /// Worked out when it is asked for, and forgotten when a step of the host changes.
    view: Option<View>,
}

impl Host {
    pub(super) fn add(&mut self, at: usize) {
        self.steps.push(at);
        self.view = None;
    }

    /// In graph order.
    pub(super) fn steps(&self) -> &[usize] {
        &self.steps
    }

    pub(super) fn forget(&mut self) {
        self.view = None;
    }
}

/// What steps of a host ask about all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Its servers are listed.
    pub listed: bool,
    /// Nothing on it has to leave it: once more than the needs of what follows, where a host that was given up is gone on
    /// with.
    pub emptied: bool,
    /// A start of a server is under way on it: before a resume, it may have been on the way out.
    pub starts: bool,
    /// Something on it has failed or never can be done: it is going to be given up.
    pub lost: bool,
    /// Something on it has failed, and nothing but its starts and its enable is left that could still happen.
    pub given_up: bool,
}

impl Engine {
    pub(super) fn view(&mut self, host: usize) -> View {
        if let Some(view) = self.hosts[host].view {
            return view;
        }
        let (mut failed, mut over) = (false, true);
        let mut view = View { listed: true, emptied: true, starts: false, lost: false, given_up: false };
        for &at in &self.hosts[host].steps {
            let node = &self.nodes[at];
            let done = node.state == StepState::Done;
            match node.step.kind {
                StepKind::List => view.listed &= done,
                StepKind::Move { .. } | StepKind::Empty => view.emptied &= done,
                StepKind::Start { .. } => view.starts |= node.state.in_flight(),
                _ => {}
            }
            if !matches!(node.step.kind, StepKind::Start { .. } | StepKind::Enable) {
                over &= node.over();
                failed |= !done;
                view.lost |= node.blocked || (node.state.ended() && !done);
            }
        }
        view.given_up = over && failed;
        self.hosts[host].view = Some(view);
        view
    }

    /// Hands out everything that may start now.
    pub(super) fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        self.hand_out(effects);
        while self.busy == 0 && self.give_up_what_has_no_room() {
            self.hand_out(effects);
        }
    }

    fn hand_out(&mut self, effects: &mut Vec<Effect>) {
        // Whatever could change what a candidate that may not start looks at puts it back among them.
        for at in std::mem::take(&mut self.candidates) {
            if !self.could_start(at) {
                continue;
            }
            let node = &self.nodes[at];
            match (&node.step.kind, node.rung()) {
                (StepKind::Move { .. }, Some(rung)) => {
                    self.queues.entry((node.host, rung)).or_default().insert(at);
                    self.room = true;
                }
                (_, rung) => self.start(at, rung, effects),
            }
        }
        while self.room
            && let Some((at, rung)) = self.first_with_room()
        {
            let node = &self.nodes[at];
            if let StepKind::Move { server, .. } = &node.step.kind {
                self.admission.take(at, server, &node.step.host, rung);
            }
            self.leave_queue(at, rung);
            self.start(at, Some(rung), effects);
        }
        self.room = false;
    }

    fn start(&mut self, at: usize, rung: Option<Rung>, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[at];
        node.starting = true;
        self.busy += 1;
        effects.push(Effect::Start { step: node.step.id.clone(), attempt: node.attempt + 1, rung });
    }

    /// The first move in graph order that waits for room and has it.
    fn first_with_room(&mut self) -> Option<(usize, Rung)> {
        let mut first: Option<(usize, Rung)> = None;
        let keys: Vec<(usize, Rung)> = self.queues.keys().copied().collect();
        for key in keys {
            let mut after = None;
            while let Some(at) = self.next_in_queue(key, after) {
                if first.is_some_and(|(best, _)| best < at) {
                    break;
                }
                if self.nodes[at].rung() != Some(key.1) || !self.could_start(at) {
                    self.leave_queue(at, key.1);
                    continue;
                }
                if !self.admission.has_room(&self.nodes[at].step.host, key.1) {
                    break;
                }
                // Another step may be moving the same server.
                if self.nodes[at].server().is_some_and(|server| self.admission.is_free(server)) {
                    first = Some((at, key.1));
                    break;
                }
                after = Some(at);
            }
        }
        first
    }

    fn next_in_queue(&self, key: (usize, Rung), after: Option<usize>) -> Option<usize> {
        self.queues.get(&key)?.range(after.map_or(0, |at| at + 1)..).next().copied()
    }

    fn leave_queue(&mut self, at: usize, rung: Rung) {
        let key = (self.nodes[at].host, rung);
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.remove(&at);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
    }

    /// As far as other steps are concerned.
    pub(super) fn could_start(&mut self, at: usize) -> bool {
        let node = &self.nodes[at];
        if node.state != StepState::Waiting || node.starting || node.paused || node.blocked {
            return false;
        }
        let (host, wave) = (node.host, node.step.wave);
        #[cfg(test)]
        if crate::run::Sabotage::EnablesEarly.is_on() && node.step.kind == StepKind::Enable {
            return self.view(host).emptied;
        }
        match node.step.kind {
            StepKind::Disable => node.was_done || self.wave_may_begin(wave),
            StepKind::Start { .. } => {
                let needs_done = self.needs_done(node);
                let view = self.view(host);
                (needs_done && view.emptied) || view.given_up
            }
            StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable => {
                let view = self.view(host);
                view.emptied && !view.starts && self.needs_done(&self.nodes[at])
            }
            StepKind::List => self.needs_done(node),
            // Listed, and every host of its wave read back as disabled: more than the needs of a move of a child graph, or
            // of one that is done again.
            StepKind::Move { .. } => {
                let disabled = self.undisabled.get(&wave).is_none_or(|&open| open == 0);
                disabled && self.view(host).listed && self.needs_done(&self.nodes[at])
            }
            StepKind::Empty => !self.view(host).starts && self.needs_done(&self.nodes[at]),
        }
    }

    pub(super) fn needs_done(&self, node: &Node) -> bool {
        node.needs.iter().all(|&need| self.nodes[need].state == StepState::Done)
    }

    /// Every wave before is over, and the plan's policy lets failures be followed by more hosts.
    fn wave_may_begin(&self, wave: u32) -> bool {
        let earlier = self.open_in_wave.range(..wave).all(|(_, &open)| open == 0);
        #[cfg(test)]
        if crate::run::Sabotage::HoldsNothing.is_on() {
            return earlier;
        }
        earlier && (self.failed == 0 || wave <= 1 || self.on_failure == OnFailure::Continue)
    }
}
