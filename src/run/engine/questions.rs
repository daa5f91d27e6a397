//! What the driver, the leftovers and the steps' contexts ask of the engine.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Node};
use crate::compile::{StepId, StepKind};
use crate::event::{Done, Ending, Intent, Outcome};
use crate::run::state::StepState;

impl Engine {
    /// A task is at work, or was when the process died.
    pub fn in_flight(&self) -> bool {
        self.busy > 0
    }

    /// A pause of [`Effect::Later`] is running and would be followed by another attempt.
    pub(super) fn paused(&self) -> bool {
        !self.closed && self.nodes.iter().any(|node| node.paused)
    }

    /// No new step is started any more.
    pub fn closed(&self) -> bool {
        self.closed
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How the run ends if nothing more happens.
    pub fn ending(&self) -> Ending {
        if self.nodes.iter().all(|node| node.state == StepState::Done) {
            Ending::Done
        } else if self.failed > 0 {
            Ending::Failed
        } else {
            Ending::Interrupted
        }
    }

    /// Steps that `resume` tries again.
    pub fn retryable(&self) -> Vec<StepId> {
        let again = |node: &&Node| matches!(node.state, StepState::Failed | StepState::Unknown);
        self.nodes.iter().filter(again).map(|node| node.step.id.clone()).collect()
    }

    /// The steps of one host, in graph order.
    pub fn on_host(&self, host: &str) -> impl Iterator<Item = &Node> {
        let own = self.host_index.get(host).map(|&host| self.hosts[host].steps()).unwrap_or_default();
        own.iter().map(|&at| &self.nodes[at])
    }

    /// Servers that a step of this run left on this host, as the last rung of their ladder.
    pub fn left_on(&self, host: &str) -> BTreeSet<String> {
        self.moved_to_end(host, &Done::Left)
    }

    /// Servers that this run stopped on this host, and that may stay there only while they are off.
    pub fn stopped_on(&self, host: &str) -> BTreeSet<String> {
        self.moved_to_end(host, &Done::Stopped)
    }

    fn moved_to_end(&self, host: &str, end: &Done) -> BTreeSet<String> {
        let ended = |node: &&Node| {
            node.state == StepState::Done && matches!(&node.outcome, Some(Outcome::Done(done)) if done == end)
        };
        self.on_host(host).filter(ended).filter_map(|node| node.server().map(str::to_owned)).collect()
    }

    /// How many move steps each server has on this host, over all graphs of the run.
    pub fn moved_from(&self, host: &str) -> BTreeMap<String, u32> {
        let mut times = BTreeMap::new();
        for node in self.on_host(host) {
            if let StepKind::Move { server, .. } = &node.step.kind {
                *times.entry(server.clone()).or_default() += 1;
            }
        }
        times
    }

    /// What the newest request to stop this server remembered, if this run made one.
    pub fn stopped(&self, host: &str, server: &str) -> Option<Intent> {
        let own = |node: &&Node| matches!(node.step.kind, StepKind::Move { .. }) && node.server() == Some(server);
        self.on_host(host).filter(own).filter_map(|node| node.remembered.clone()).last()
    }

    /// What the newest request to disable this host remembered, if this run made one.
    pub fn disabled(&self, host: &str) -> Option<Intent> {
        let own = |node: &&Node| matches!(node.step.kind, StepKind::Disable);
        self.on_host(host).filter(own).filter_map(|node| node.remembered.clone()).last()
    }
}
