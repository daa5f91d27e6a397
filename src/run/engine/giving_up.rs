//! What becomes of a host on which something failed for good: what can never start is marked, what was stopped is started
//! on every way out, and both are taken back where a run goes on with the host.

use std::collections::BTreeSet;

use super::Engine;
use crate::compile::StepKind;
use crate::event::{Done, Outcome};
use crate::run::state::StepState;

impl Engine {
    /// What waits for this step without needing it: what is done on an empty host, where steps in between may be done
    /// already, and the moves of hosts that are looked at anew or that a child graph added.
    fn wait_without_needing(&self, at: usize) -> Vec<usize> {
        let works =
            |kind: &StepKind| matches!(kind, StepKind::Command { .. } | StepKind::Wait { .. } | StepKind::Enable);
        let is = |at: usize, wanted: fn(&StepKind) -> bool| wanted(&self.nodes[at].step.kind);
        let moves = |kind: &StepKind| matches!(kind, StepKind::Move { .. });
        match self.nodes[at].step.kind {
            // Of the other hosts of its wave, only what is still to be moved.
            StepKind::Disable => {
                let lists = self.nodes[at].dependants.iter().copied();
                let elsewhere = lists.flat_map(|list| self.beside(list)).filter(|&other| is(other, moves));
                elsewhere.chain(self.beside(at).filter(|&other| is(other, works))).collect()
            }
            StepKind::List => self.beside(at).filter(|&other| is(other, works) || is(other, moves)).collect(),
            StepKind::Move { .. } | StepKind::Empty => self.beside(at).filter(|&other| is(other, works)).collect(),
            _ => Vec::new(),
        }
    }

    /// Marks everything that can never start now. Starts are exempt (what was stopped is started on every way out), and
    /// so are disables, which ask whether their wave may begin.
    pub(super) fn block_dependants(&mut self, at: usize) {
        let mut hosts = BTreeSet::new();
        let mut todo = self.nodes[at].dependants.clone();
        todo.extend(self.wait_without_needing(at));
        while let Some(at) = todo.pop() {
            let node = &mut self.nodes[at];
            let exempt = matches!(node.step.kind, StepKind::Start { .. } | StepKind::Disable);
            if node.blocked || node.state.ended() || exempt {
                continue;
            }
            node.blocked = true;
            self.hosts[node.host].forget();
            todo.extend_from_slice(&node.dependants);
            hosts.insert(node.host);
            if !node.state.in_flight() {
                let wave = node.step.wave;
                self.close(wave);
            }
            todo.extend(self.wait_without_needing(at));
        }
        // Hosts of the same wave are given up together, and each has starts of its own.
        for host in hosts {
            let own = self.hosts[host].steps().iter().copied();
            let starts: Vec<usize> =
                own.filter(|&at| matches!(self.nodes[at].step.kind, StepKind::Start { .. })).collect();
            self.candidates.extend(starts);
        }
    }

    /// With nothing under way no slot becomes free any more: those that are taken belong to moves whose end was never
    /// seen, and what waits for them is not done in this process.
    pub(super) fn give_up_what_has_no_room(&mut self) -> bool {
        if self.queues.is_empty() || self.paused() {
            return false;
        }
        for at in std::mem::take(&mut self.queues).into_values().flatten() {
            if !self.could_start(at) {
                continue;
            }
            self.nodes[at].blocked = true;
            self.hosts[self.nodes[at].host].forget();
            self.close(self.nodes[at].step.wave);
            self.block_dependants(at);
            self.look_around(at);
        }
        true
    }

    /// A start that is done although what it waits for is not: its host was given up.
    pub(super) fn was_on_the_way_out(&mut self, at: usize) -> bool {
        let node = &self.nodes[at];
        if !matches!(node.step.kind, StepKind::Start { .. }) || node.state != StepState::Done {
            return false;
        }
        let in_order = self.needs_done(node) && self.view(self.nodes[at].host).emptied;
        !in_order
    }

    /// Going on with a host that was given up: this server is started again at the end, and if this run had stopped it,
    /// it is stopped anew, and the host seen empty anew. Answers what waits again.
    pub(super) fn take_in_again(&mut self, start: usize) -> Vec<usize> {
        let node = &self.nodes[start];
        let own = self.hosts[node.host].steps();
        let done = |at: &usize| self.nodes[*at].state == StepState::Done;
        let stopped = |at: &usize| {
            let other = &self.nodes[*at];
            matches!(other.step.kind, StepKind::Move { .. })
                && other.server() == node.server()
                && matches!(other.outcome, Some(Outcome::Done(Done::Stopped)))
        };
        let empty = |at: &usize| matches!(self.nodes[*at].step.kind, StepKind::Empty);
        let mut again: Vec<usize> = own.iter().copied().filter(done).filter(stopped).collect();
        if !again.is_empty() {
            again.extend(own.iter().copied().filter(done).filter(empty));
        }
        again.push(start);
        for &at in &again {
            self.set_state(at, StepState::Waiting);
            let node = &mut self.nodes[at];
            (node.rung, node.tries, node.remembered) = (0, 0, None);
        }
        again
    }
}
