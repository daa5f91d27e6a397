//! Faults put in on purpose, one for each promise, so that the checker is seen to have teeth. Only tests have them: a
//! test turns one on for its own thread, and a hook of one line breaks the executor where its comment says.

use std::cell::Cell;

use super::steps::Trouble;
use crate::cloud::Accepted;
use crate::event::EventKind;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A request leaves without waiting for its intent to be on disk (`task`).
    AsksBeforeItIsOnDisk,
    /// What was lost is sent again at once (`task`).
    SendsLostAgain,
    /// Every move is admitted (`admission`).
    NoLimits,
    /// A live migration names the host that is being emptied (`live`).
    SendsToItsOwnHost,
    /// A disable is not read back (`disable`).
    DoesNotReadBack,
    /// A host is empty without a look at what is on it (`empty`).
    CallsItEmpty,
    /// A host is enabled as soon as it is empty (`engine`).
    EnablesEarly,
    /// What was stopped is said to run (`power`).
    LeavesThemOff,
    /// Somebody else's resize is confirmed (`cold`).
    ConfirmsTheirs,
    /// The next wave begins whatever failed (`engine`).
    HoldsNothing,
    /// A resume begins again what had been asked (`engine`).
    ForgetsWhatItAsked,
    /// No leftover is named (`leftovers`).
    NamesNothing,
    /// The reason of another run is not minded (`disable`).
    TakesTheirHost,
    /// A note tells a server's whole row (`task`).
    TellsTheRow,
}

impl Sabotage {
    /// In the order of the promises they break.
    pub(crate) const ALL: [Self; 14] = [
        Self::AsksBeforeItIsOnDisk,
        Self::SendsLostAgain,
        Self::NoLimits,
        Self::SendsToItsOwnHost,
        Self::DoesNotReadBack,
        Self::CallsItEmpty,
        Self::EnablesEarly,
        Self::LeavesThemOff,
        Self::ConfirmsTheirs,
        Self::HoldsNothing,
        Self::ForgetsWhatItAsked,
        Self::NamesNothing,
        Self::TakesTheirHost,
        Self::TellsTheRow,
    ];

    /// The promise it breaks.
    pub(crate) fn invariant(self) -> u8 {
        Self::ALL.iter().position(|one| *one == self).map_or(0, |at| u8::try_from(at + 1).unwrap())
    }

    /// Whether this thread's executor has this fault.
    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }
}

thread_local! {
    static ON: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Gives this thread's executor a fault, or takes it away.
pub(crate) fn set(which: Option<Sabotage>) {
    ON.set(which);
}

/// Whether this event is one that is not waited for.
pub(crate) fn hurries(event: &EventKind) -> bool {
    Sabotage::AsksBeforeItIsOnDisk.is_on() && matches!(event, EventKind::StepIntended { .. })
}

/// Whether this request is made a second time.
pub(crate) fn sends_again(answer: &Result<Accepted, Trouble>) -> bool {
    Sabotage::SendsLostAgain.is_on() && matches!(answer, Err(Trouble::Cloud(error)) if error.is_lost())
}
