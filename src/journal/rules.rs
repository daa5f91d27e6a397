//! What every journal holds to, whatever it is kept in.

use jiff::Timestamp;

use super::JournalError;
use crate::event::{Ending, Event, EventKind, RunId};

/// Refuses events that do not follow `last` (0 for a run without events), or a beginning anywhere but at the beginning.
pub(super) fn check_order(run: &RunId, last: u64, events: &[Event]) -> Result<(), JournalError> {
    let mut last = last;
    for event in events {
        if last.checked_add(1) != Some(event.seq) {
            return Err(JournalError::OutOfOrder { run: run.clone(), last, found: event.seq });
        }
        if (event.seq == 1) != matches!(event.kind, EventKind::RunStarted { .. }) {
            return Err(JournalError::Misplaced { run: run.clone(), seq: event.seq });
        }
        last = event.seq;
    }
    Ok(())
}

/// What one event changes in the summary of its run.
#[derive(Debug)]
pub(super) enum Mark<'a> {
    Begun { plan: &'a str, cloud: &'a str, event_version: u32, at: Timestamp },
    Resumed,
    Ended(Ending),
    Nothing,
}

impl<'a> Mark<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        match &event.kind {
            EventKind::RunStarted { event_version, cloud, graph, .. } => {
                Self::Begun { plan: &graph.plan.name, cloud, event_version: *event_version, at: event.at }
            }
            EventKind::RunResumed { .. } => Self::Resumed,
            EventKind::RunEnded { ending, .. } => Self::Ended(*ending),
            EventKind::GraphExtended { .. }
            | EventKind::QueueingStopped { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepIntended { .. }
            | EventKind::StepAnswered { .. }
            | EventKind::MoveSeen { .. }
            | EventKind::MoveReleased { .. }
            | EventKind::PauseEnded { .. }
            | EventKind::StepSettled { .. }
            | EventKind::Noted { .. }
            | EventKind::Interrupted { .. } => Self::Nothing,
        }
    }
}

/// Who holds a host that another run wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) run: &'a RunId,
    /// A process has it claimed now.
    pub(super) live: bool,
    /// It has events. Without any it cannot have asked a cloud for anything.
    pub(super) begun: bool,
    pub(super) ending: Option<Ending>,
}

impl Holder<'_> {
    /// `None` when its lease may be taken over: it died between its claim and its first event, so there is nothing to
    /// resume, and nothing it can have done to the host.
    pub(super) fn refuses(&self, host: &str) -> Option<JournalError> {
        let run = self.run;
        let resume = format!("`furlough resume {run}` goes on with it");
        let (cause, remedy) = match (self.live, self.begun, self.ending) {
            (true, _, _) => ("which is under way", format!("`furlough status {run}` shows it")),
            (false, false, _) => return None,
            (false, true, None) => ("whose process died before it ended", resume),
            (false, true, Some(Ending::Done | Ending::RolledBack)) => {
                ("which ended and left it out of service", format!("`furlough enable {host}` puts it back"))
            }
            (false, true, Some(Ending::Failed | Ending::Interrupted | Ending::Paused)) => {
                ("which is not finished", resume)
            }
        };
        Some(JournalError::HostHeld { host: host.to_owned(), run: run.clone(), cause: cause.to_owned(), remedy })
    }
}
