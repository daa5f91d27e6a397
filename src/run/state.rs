//! The one transition function of a step: live runs, recovery and checks of a journal all go through it.

use thiserror::Error;

use crate::compile::StepId;
use crate::event::{EventKind, Outcome};

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Not begun, or to be begun again.
    Waiting,
    /// Begun: nothing has been asked.
    Started,
    /// A request is durably intended: it may have left.
    Intended,
    /// It was answered, or its answer was lost; the outcome is not known yet.
    Asked,
    Done,
    /// Ended without success; everything it would have led to stays undone.
    Failed,
    /// Asked, and its outcome was never seen.
    Unknown,
}

impl StepState {
    /// A task is at work on it, or was when the process died.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Started | Self::Intended | Self::Asked)
    }

    pub fn ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Unknown)
    }
}

/// An event that cannot follow the state its step is in: a damaged journal, or a fault of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Illegal {
    #[error("{event} of step {step} cannot follow {state:?}")]
    Transition { step: StepId, state: StepState, event: &'static str },
    #[error("the graph has no step {0}")]
    NoSuchStep(StepId),
    #[error("attempt {found} of step {step} where {expected} is under way")]
    Attempt { step: StepId, expected: u32, found: u32 },
    #[error("{0}")]
    Order(&'static str),
}

/// What a step's state becomes by an event about it; `None` when that event cannot happen in that state.
pub fn next(state: StepState, event: &EventKind) -> Option<StepState> {
    use StepState::{Asked, Done, Failed, Intended, Started, Unknown, Waiting};
    let became = match (state, event) {
        (Waiting, EventKind::StepStarted { .. }) => Started,
        (Started | Asked, EventKind::StepIntended { .. }) => Intended,
        // A refusal of a request that was adopted after a crash is found by looking, so an answer may be missing.
        (Intended, EventKind::StepAnswered { .. }) => Asked,
        (Waiting, EventKind::PauseEnded { .. }) => state,
        (Intended | Asked, EventKind::MoveSeen { .. } | EventKind::MoveReleased { .. }) => state,
        (Started | Intended | Asked, EventKind::StepSettled { outcome, .. }) => match outcome {
            Outcome::Done(_) => Done,
            // Whether another attempt follows is the engine's to decide, and it decides alike on every replay.
            Outcome::Retryable { .. } => Waiting,
            Outcome::Failed { .. } => Failed,
            Outcome::Unknown { .. } => Unknown,
        },
        _ => return None,
    };
    Some(became)
}

/// The event's name, for messages.
pub fn name(event: &EventKind) -> &'static str {
    match event {
        EventKind::RunStarted { .. } => "run_started",
        EventKind::RunResumed { .. } => "run_resumed",
        EventKind::GraphExtended { .. } => "graph_extended",
        EventKind::StepStarted { .. } => "step_started",
        EventKind::StepIntended { .. } => "step_intended",
        EventKind::StepAnswered { .. } => "step_answered",
        EventKind::MoveSeen { .. } => "move_seen",
        EventKind::MoveReleased { .. } => "move_released",
        EventKind::PauseEnded { .. } => "pause_ended",
        EventKind::StepSettled { .. } => "step_settled",
        EventKind::QueueingStopped { .. } => "queueing_stopped",
        EventKind::Noted { .. } => "noted",
        EventKind::Interrupted { .. } => "interrupted",
        EventKind::RunEnded { .. } => "run_ended",
    }
}
