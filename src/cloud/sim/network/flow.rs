//! One copy: its disks, then rounds of memory, each sending what the one before left dirty, until the rest fits into the
//! downtime. Between two changes of its rate it is a function of time alone.
//!
//! Deliberately absent: other copies, links.

use super::{Force, Guest, Outcome, Remaining};

/// Rounds that are foreseen. At a constant rate the next round is `dirty / rate` of the last, so this many are needed only
/// by a guest within some parts in ten thousand of one that never converges; foreseeing them takes a tenth of a millisecond.
const ROUNDS_FORESEEN: u32 = 10_000;
/// Volumes are kept in millionths of a byte: a rate in bytes/s times microseconds.
const PER_BYTE: u128 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Disk,
    /// A round of memory while the guest runs; `whole` is what it began with.
    Round {
        whole: u128,
        dirtied: u128,
        first: bool,
    },
    /// The guest is stopped.
    Last,
    /// The guest runs on the destination already.
    PostCopy,
    Copied,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// Bytes per second.
    pub(super) rate: u64,
    /// When its copying ends as things stand; when it is over, once it is copied.
    pub(super) due_ms: Option<u64>,
    max_downtime_us: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    /// What has to be copied at least once.
    used: u128,
    /// Bytes per second.
    dirty: u64,
    phase: Phase,
    /// Of the phase.
    left: u128,
    copied: u128,
    /// Until when all this is true.
    at_us: u64,
    stopped_us: Option<u64>,
}

impl Flow {
    pub(super) fn new(guest: &Guest, max_downtime_us: u64, now_us: u64) -> Self {
        let memory_bytes = guest.memory_mib.saturating_mul(1 << 20);
        let disk_bytes = guest.disk_gib.saturating_mul(1 << 30);
        // `as` saturates, and has NaN as 0.
        let used = u128::from((memory_bytes as f64 * guest.used.clamp(0.0, 1.0)) as u64) * PER_BYTE;
        Self {
            rate: 0,
            due_ms: None,
            max_downtime_us,
            memory_bytes,
            disk_bytes,
            used,
            dirty: (guest.dirty_mib_per_s * 1_048_576.0) as u64,
            phase: Phase::Disk,
            left: u128::from(disk_bytes) * PER_BYTE,
            copied: 0,
            at_us: now_us,
            stopped_us: None,
        }
    }

    /// Goes on to an instant at the present rate.
    pub(super) fn run(&mut self, until_us: u64) {
        while self.phase != Phase::Copied {
            let span_us = until_us.saturating_sub(self.at_us);
            match self.phase_us() {
                Some(needed_us) if needed_us <= span_us => self.finish_phase(needed_us),
                _ => return self.pass(span_us),
            }
        }
    }

    /// When it is copied, at the present rate.
    pub(super) fn copied_us(&self) -> Option<u64> {
        let mut ahead = *self;
        let mut fresh = false;
        for _ in 0..ROUNDS_FORESEEN {
            if ahead.phase == Phase::Copied {
                return Some(ahead.at_us);
            }
            let before = ahead.phase;
            ahead.finish_phase(ahead.phase_us()?);
            if let (Phase::Round { whole, .. }, Phase::Round { whole: next, .. }) = (before, ahead.phase) {
                // A whole round at this rate that did not make the next smaller: none will.
                if fresh && next >= whole {
                    return None;
                }
                fresh = true;
            }
        }
        None
    }

    /// False if it changes nothing.
    pub(super) fn force(&mut self, how: Force) -> bool {
        match (how, self.phase) {
            (_, Phase::Round { dirtied, .. }) => {
                self.left = (self.left + dirtied).min(self.used);
                self.phase = if how == Force::Pause { Phase::Last } else { Phase::PostCopy };
            }
            (Force::Pause, Phase::Disk) if self.stopped_us.is_none() => {}
            (Force::Pause | Force::PostCopy, Phase::Disk | Phase::Last | Phase::PostCopy | Phase::Copied) => {
                return false;
            }
        }
        if how == Force::Pause {
            self.stopped_us = Some(self.at_us);
        }
        true
    }

    pub(super) fn remaining(&self) -> Remaining {
        let left = u64::try_from(self.left / PER_BYTE).unwrap_or(u64::MAX);
        let (disk, memory) = match self.phase {
            Phase::Disk => (left, self.memory_bytes),
            // Unused pages go in proportion.
            Phase::Round { first: true, .. } if self.used > 0 => {
                let unused = u128::from(self.memory_bytes).saturating_sub(self.used / PER_BYTE);
                (0, left + u64::try_from(unused * (self.left / PER_BYTE) / (self.used / PER_BYTE).max(1)).unwrap_or(0))
            }
            Phase::Round { .. } | Phase::Last | Phase::PostCopy => (0, left),
            Phase::Copied => (0, 0),
        };
        Remaining {
            memory_total_bytes: self.memory_bytes,
            memory_remaining_bytes: memory,
            disk_total_bytes: self.disk_bytes,
            disk_remaining_bytes: disk,
        }
    }

    pub(super) fn outcome(&self, complete: bool) -> Outcome {
        Outcome {
            complete,
            stopped_at_ms: self.stopped_us.map(|us| us / 1000),
            downtime_ms: self.stopped_us.map_or(0, |us| (self.at_us - us).div_ceil(1000)),
            copied_bytes: u64::try_from(self.copied / PER_BYTE).unwrap_or(u64::MAX),
        }
    }

    /// How long the phase still takes at the present rate, if it ends at all.
    fn phase_us(&self) -> Option<u64> {
        match (self.left, self.rate) {
            (0, _) => Some(0),
            (_, 0) => None,
            (left, rate) => u64::try_from(left.div_ceil(rate.into())).ok(),
        }
    }

    fn pass(&mut self, span_us: u64) {
        let sent = (u128::from(self.rate) * u128::from(span_us)).min(self.left);
        self.left -= sent;
        self.copied += sent;
        if let Phase::Round { dirtied, .. } = &mut self.phase {
            *dirtied = (*dirtied + u128::from(self.dirty) * u128::from(span_us)).min(self.used);
        }
        self.at_us = self.at_us.saturating_add(span_us);
    }

    fn finish_phase(&mut self, span_us: u64) {
        self.pass(span_us);
        (self.phase, self.left) = match self.phase {
            Phase::Disk if self.stopped_us.is_some() => (Phase::Last, self.used),
            Phase::Disk => (Phase::Round { whole: self.used, dirtied: 0, first: true }, self.used),
            Phase::Round { dirtied, .. } => {
                if dirtied <= u128::from(self.rate) * u128::from(self.max_downtime_us) {
                    self.stopped_us = Some(self.at_us);
                    (Phase::Last, dirtied)
                } else {
                    (Phase::Round { whole: dirtied, dirtied: 0, first: false }, dirtied)
                }
            }
            Phase::Last | Phase::PostCopy | Phase::Copied => (Phase::Copied, 0),
        };
    }
}
