//! The fourteen promises of a run, each as a predicate over what the cloud saw and what was on disk when.
//!
//! Written from the promises and from the log alone: nothing here is shared with `run`, so a fault of the one is not
//! repeated by the other. What `compile` says (waves, ladders, needs) is taken as given.
//!
//! Deliberately absent: the engine, its states, its admission; anything that would have to be true of a run that was
//! not looked at to its end (the comparison with the same night without a kill is the caller's, who has both).

mod asking;
mod ending;
mod hosts;
mod placing;
mod secrets;
mod steps;
mod story;

#[cfg(test)]
mod tests;

use crate::cloud::Inventory;
use crate::cloud::sim::Seen;
use crate::compile::Graph;
use crate::event::Event;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// When it showed, in virtual milliseconds since the scene's epoch.
    pub at_ms: u64,
    /// Its number, 1 to 14.
    pub invariant: u8,
    /// What happened, with the names of what it happened to.
    pub text: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>11.3} s  invariant {}: {}", self.at_ms as f64 / 1000.0, self.invariant, self.text)
    }
}

/// All that is known of a night.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a> {
    /// What the plan was compiled to.
    pub graph: &'a Graph,
    /// The cloud before the first request.
    pub start: &'a Inventory,
    /// Every event of the run, of all its processes.
    pub events: &'a [Event],
    /// What happened, in its order.
    pub seen: &'a [Seen],
    /// Texts that must be nowhere in what the run leaves.
    pub secrets: &'a [String],
}

/// Everything that was not as promised, in the order of time.
pub fn check(story: &Story<'_>) -> Vec<Violation> {
    let promises: [fn(&Story<'_>) -> Vec<Violation>; 14] = [
        asking::durable_before_asked,
        asking::one_at_a_time,
        placing::within_limits,
        placing::nowhere_forbidden,
        hosts::disabled_before_moved,
        hosts::empty_before_maintained,
        hosts::given_back_exactly,
        ending::power_and_lock,
        asking::never_on_a_guess,
        steps::failures_stop_their_dependants,
        asking::nothing_twice_across_a_kill,
        ending::leftovers_are_named,
        hosts::held_by_one_run,
        secrets::nowhere,
    ];
    let mut violations: Vec<Violation> = promises.iter().flat_map(|promise| promise(story)).collect();
    violations.sort();
    violations.dedup();
    violations
}
