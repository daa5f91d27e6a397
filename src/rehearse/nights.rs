//! Many nights on all cores, told in the order of their seeds whichever ends first, and what they come to together.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::mpsc;

use super::night::{Night, NightSetup, night};
use crate::cloud::PowerState;
use crate::compile::{StepId, StepKind};
use crate::event::{Done, Ending, Event, EventKind, LeftoverKind, Outcome};

/// Nights that a core may be ahead of the one that is waited for: summaries are small, and this keeps them few.
const AHEAD: usize = 8;

/// How a night ended: nights that end alike are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    /// As a run ends, with the kinds of what was left over.
    Ended { ending: &'static str, exit_code: u8, leftovers: Vec<LeftoverKind> },
    /// It could not be run to an end: a mistake of furlough's own.
    Broken { error: String },
}

/// What is kept of one night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub seed: u64,
    pub became: Became,
    /// Virtual time.
    pub took_ms: u64,
    /// Waves whose hosts were all taken out of service.
    pub waves: u64,
    /// Servers that the run moved, live or cold.
    pub moves: u64,
    /// Changes and readings.
    pub requests: u64,
    /// Id and milliseconds of each server of the plan whose guest did not execute for a while.
    pub downtime_ms: Vec<(String, u64)>,
}

/// Runs `count` nights with the seeds from `first` on, and tells each in their order.
pub fn nights(setup: &NightSetup, first: u64, count: u64, each: &mut dyn FnMut(&Summary)) {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    nights_on(cores, setup, first, count, each);
}

/// The same on so many threads.
pub(super) fn nights_on(threads: usize, setup: &NightSetup, first: u64, count: u64, each: &mut dyn FnMut(&Summary)) {
    let threads = u64::try_from(threads).unwrap_or(1).clamp(1, count.max(1));
    std::thread::scope(|scope| {
        // Each thread has every n-th night, and they are taken from the threads in turn: in order, and with no more of
        // them waiting than the channels hold.
        let told: Vec<mpsc::Receiver<Summary>> = (0..threads)
            .map(|thread| {
                let (tell, told) = mpsc::sync_channel(AHEAD);
                scope.spawn(move || {
                    for at in (thread..count).step_by(usize::try_from(threads).unwrap_or(1)) {
                        let summary = one(setup, first.wrapping_add(at));
                        if tell.send(summary).is_err() {
                            break;
                        }
                    }
                });
                told
            })
            .collect();
        for from in told.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            // A thread that is gone has panicked, which the scope passes on.
            let Ok(summary) = from.recv() else { break };
            each(&summary);
        }
    });
}

fn one(setup: &NightSetup, seed: u64) -> Summary {
    let setup = NightSetup { seed, record: false, kills: Vec::new(), ..setup.clone() };
    match night(&setup, &mut |_| {}) {
        Ok(night) => summary(&setup, &night),
        Err(error) => Summary {
            seed,
            became: Became::Broken { error: error.to_string() },
            took_ms: 0,
            waves: 0,
            moves: 0,
            requests: 0,
            downtime_ms: Vec::new(),
        },
    }
}

/// What is kept of a night.
pub fn summary(setup: &NightSetup, night: &Night) -> Summary {
    let kinds: BTreeSet<LeftoverKind> = night.ended.leftovers.iter().map(|left| left.kind).collect();
    let ran = |server: &&crate::compile::ServerPlan| server.power_state == PowerState::Running;
    let downtime = setup.graph.servers.iter().filter(ran).filter_map(|server| {
        let down_ms = night.counts.downtime_ms.get(&server.id).copied()?;
        (down_ms > 0).then(|| (server.id.clone(), down_ms))
    });
    let mut downtime_ms: Vec<(String, u64)> = downtime.collect();
    // In a rolling run a server can be on several hosts of the plan, one after the other.
    downtime_ms.sort();
    downtime_ms.dedup();
    let moved = |event: &&Event| {
        matches!(&event.kind, EventKind::StepSettled { outcome: Outcome::Done(Done::Moved { .. }), .. })
    };
    let requests = night.counts.asked.values().chain(night.counts.read.values()).sum();
    Summary {
        seed: setup.seed,
        became: Became::Ended {
            ending: ending_word(night.ended.ending),
            exit_code: night.ended.ending.exit_code(),
            leftovers: kinds.into_iter().collect(),
        },
        took_ms: u64::try_from(night.took.as_millis()).unwrap_or(u64::MAX),
        waves: waves(setup, &night.events),
        moves: night.events.iter().filter(moved).count() as u64,
        requests,
        downtime_ms,
    }
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Failed => "failed",
        Ending::Interrupted => "interrupted",
        Ending::Paused => "paused",
        Ending::RolledBack => "rolled back",
    }
}

fn waves(setup: &NightSetup, events: &[Event]) -> u64 {
    let disables: BTreeMap<&StepId, u32> = setup
        .graph
        .steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Disable))
        .map(|step| (&step.id, step.wave))
        .collect();
    let mut left: BTreeMap<u32, BTreeSet<&StepId>> = BTreeMap::new();
    for (step, wave) in &disables {
        left.entry(*wave).or_default().insert(step);
    }
    for event in events {
        if let EventKind::StepSettled { step, outcome: Outcome::Done(_), .. } = &event.kind
            && let Some(wave) = disables.get(step)
            && let Some(own) = left.get_mut(wave)
        {
            own.remove(step);
        }
    }
    left.values().filter(|own| own.is_empty()).count() as u64
}

/// Many nights together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nights {
    pub nights: u64,
    took_ms: Vec<u64>,
    waves: Vec<u64>,
    moves: Vec<u64>,
    requests: Vec<u64>,
    /// Servers of the plan that ran when each night began.
    servers: u64,
    /// Milliseconds, and how many servers of how many nights were down for as long.
    downtime_ms: BTreeMap<u64, u64>,
    pub worst: Option<Worst>,
    /// Each kind of ending with its count and the first seed that shows it.
    pub endings: BTreeMap<Became, (u64, u64)>,
}

/// The server that was down the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worst {
    pub down_ms: u64,
    pub server: String,
    pub name: String,
    pub seed: u64,
}

/// The least, the middle, and what nine in ten stay within, and the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Spread {
    pub min: u64,
    pub median: u64,
    pub p90: u64,
    pub max: u64,
}

/// Of all servers of the plan that ran, in all nights; milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Downtime {
    pub median_ms: u64,
    pub p99_ms: u64,
    pub max_ms: u64,
}

impl Nights {
    /// Takes one night in.
    pub fn take(&mut self, setup: &NightSetup, summary: &Summary) {
        self.nights += 1;
        let kind = self.endings.entry(summary.became.clone()).or_insert((0, summary.seed));
        kind.0 += 1;
        if matches!(summary.became, Became::Broken { .. }) {
            return;
        }
        self.took_ms.push(summary.took_ms);
        self.waves.push(summary.waves);
        self.moves.push(summary.moves);
        self.requests.push(summary.requests);
        let ran = setup.graph.servers.iter().filter(|server| server.power_state == PowerState::Running);
        self.servers += ran.map(|server| server.id.as_str()).collect::<BTreeSet<_>>().len() as u64;
        for (server, down_ms) in &summary.downtime_ms {
            *self.downtime_ms.entry(*down_ms).or_default() += 1;
            if self.worst.as_ref().is_none_or(|worst| worst.down_ms < *down_ms) {
                let row = setup.graph.servers.iter().find(|row| row.id == *server);
                self.worst = Some(Worst {
                    down_ms: *down_ms,
                    server: server.clone(),
                    name: row.map(|row| row.name.clone()).unwrap_or_default(),
                    seed: summary.seed,
                });
            }
        }
    }

    pub fn took_ms(&self) -> Spread {
        spread(&self.took_ms)
    }

    pub fn waves(&self) -> Spread {
        spread(&self.waves)
    }

    pub fn moves(&self) -> Spread {
        spread(&self.moves)
    }

    pub fn requests(&self) -> Spread {
        spread(&self.requests)
    }

    /// By nearest rank, over servers that were never down as well.
    pub fn downtime(&self) -> Downtime {
        let down: u64 = self.downtime_ms.values().sum();
        let mut before = self.servers.saturating_sub(down);
        let ranks = [50, 99].map(|percent| (self.servers * percent).div_ceil(100).max(1));
        let mut found = [0, 0];
        for (down_ms, servers) in &self.downtime_ms {
            for (rank, found) in ranks.iter().zip(&mut found) {
                if before < *rank && *rank <= before + servers {
                    *found = *down_ms;
                }
            }
            before += servers;
        }
        let max_ms = self.downtime_ms.keys().next_back().copied().unwrap_or(0);
        Downtime { median_ms: found[0], p99_ms: found[1], max_ms }
    }
}

/// By nearest rank; all 0 of nothing.
fn spread(values: &[u64]) -> Spread {
    let mut values = values.to_vec();
    values.sort_unstable();
    let rank = |percent: usize| {
        let at = (values.len() * percent).div_ceil(100).max(1) - 1;
        values.get(at).copied().unwrap_or(0)
    };
    Spread { min: rank(0), median: rank(50), p90: rank(90), max: rank(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let rows = [
            (vec![], [0, 0, 0, 0]),
            (vec![7], [7, 7, 7, 7]),
            (vec![3, 1, 2], [1, 2, 3, 3]),
            ((1..=100).rev().collect(), [1, 50, 90, 100]),
        ];
        for (values, [min, median, p90, max]) in rows {
            assert_eq!(spread(&values), Spread { min, median, p90, max }, "{values:?}");
        }
    }

    #[test]
    fn servers_that_were_never_down_count() {
        let mut nights = Nights { servers: 200, ..Nights::default() };
        assert_eq!(nights.downtime(), Downtime::default());
        nights.downtime_ms = [(100, 40), (900, 3)].into();
        assert_eq!(nights.downtime(), Downtime { median_ms: 0, p99_ms: 900, max_ms: 900 });
        nights.downtime_ms = [(100, 199), (5_000, 1)].into();
        assert_eq!(nights.downtime(), Downtime { median_ms: 100, p99_ms: 100, max_ms: 5_000 });
    }
}
