//! The one clock all waiting goes through. Sleeping is tokio's, so that a paused runtime sleeps in virtual time; the
//! wall clock is either the machine's or starts at a given instant and follows tokio's time.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's.
    Real,
    /// Starts at `epoch` and advances with tokio's time, paused or not: a rehearsal replays exactly.
    Virtual { epoch: Timestamp, from: Instant },
}

impl Clock {
    /// A virtual clock that shows `epoch` now.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self::Virtual { epoch, from: Instant::now() }
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Real => Timestamp::now(),
            Self::Virtual { epoch, from } => {
                let passed = jiff::SignedDuration::try_from(from.elapsed()).unwrap_or_default();
                epoch.checked_add(passed).unwrap_or(*epoch)
            }
        }
    }

    /// For measuring how long something takes; unlike [`Clock::now`] it never goes back.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    pub async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}
