//! How many steps and servers are where.

use super::{ServerState, StepState};
use crate::plan::Rung;

/// Steps by state; they add up to `total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepCounts {
    pub total: usize,
    pub waiting: usize,
    pub running: usize,
    pub done: usize,
    pub failed: usize,
    pub unknown: usize,
    pub blocked: usize,
}

impl StepCounts {
    pub(super) fn add(&mut self, state: StepState) {
        self.total += 1;
        let counter = match state {
            StepState::Waiting => &mut self.waiting,
            StepState::Running => &mut self.running,
            StepState::Done => &mut self.done,
            StepState::Failed => &mut self.failed,
            StepState::Unknown => &mut self.unknown,
            StepState::Blocked => &mut self.blocked,
        };
        *counter += 1;
    }
}

/// Servers by state; they add up to `total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerCounts {
    pub total: usize,
    pub waiting: usize,
    pub in_flight: usize,
    pub live: usize,
    pub cold: usize,
    /// Found on another host already.
    pub already: usize,
    pub stopped: usize,
    pub restarted: usize,
    pub gone: usize,
    pub left: usize,
    pub failed: usize,
    pub unknown: usize,
}

impl ServerCounts {
    /// Those that are off their host.
    pub fn moved(&self) -> usize {
        self.live + self.cold + self.already
    }

    /// Those to which nothing more happens, whether well or not.
    pub fn settled(&self) -> usize {
        self.total - self.waiting - self.in_flight
    }

    pub(super) fn add(&mut self, state: &ServerState) {
        self.total += 1;
        let counter = match state {
            ServerState::Waiting => &mut self.waiting,
            ServerState::InFlight => &mut self.in_flight,
            ServerState::Moved { by: Some(Rung::Live), .. } => &mut self.live,
            ServerState::Moved { by: Some(Rung::Cold), .. } => &mut self.cold,
            ServerState::Moved { .. } => &mut self.already,
            ServerState::Stopped => &mut self.stopped,
            ServerState::Restarted => &mut self.restarted,
            ServerState::Gone => &mut self.gone,
            ServerState::Left => &mut self.left,
            ServerState::Failed => &mut self.failed,
            ServerState::Unknown => &mut self.unknown,
        };
        *counter += 1;
    }
}
