//! Nights by the thousand, each from one number: drawn, run over the simulated cloud, and checked against every promise.
//!
//! A night that breaks one is told line by line, with the command that plays it again. `tests/soak N` plays more of them.

mod draw;
mod kinds;
mod stage;
mod teeth;
mod told;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use draw::draw;

/// Nights of a test run, when FURLOUGH_SEEDS does not say otherwise.
const NIGHTS: u64 = 2_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What is wrong with the night of this seed, told with everything that led to it.
fn wrong_with(seed: u64) -> Option<(String, String)> {
    let setting = draw(seed);
    let played = std::panic::catch_unwind(|| setting.play());
    let Ok(played) = played else { return Some(("it panics".to_owned(), String::new())) };
    let first = played.violations.first()?;
    Some((first.to_string(), played.told()))
}

/// Every seed from `from`, so many, on all cores; the ones that break a promise, in their order.
fn over(from: u64, nights: u64, wrong_with: impl Fn(u64) -> Option<String> + Sync) -> BTreeMap<u64, String> {
    let next = AtomicU64::new(from);
    let wrong = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + nights {
                        return;
                    }
                    if let Some(why) = wrong_with(seed) {
                        wrong.lock().unwrap().insert(seed, why);
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// `FURLOUGH_SEED=123 cargo test --lib seeds::one -- --nocapture`
#[test]
fn one() {
    let Some(seed) = number("FURLOUGH_SEED") else { return };
    let setting = draw(seed);
    let played = setting.play();
    println!("{}", played.told());
    println!(
        "seed {seed}: calm {}, cuts {:?}, stops {:?}, ended {:?}",
        setting.calm, setting.cuts, setting.stops, played.ending
    );
    for violation in &played.violations {
        println!("{violation}");
    }
    assert!(played.violations.is_empty(), "seed {seed} breaks {} promise(s)", played.violations.len());
}

#[test]
fn many() {
    let from = number("FURLOUGH_SEEDS_FROM").unwrap_or(1);
    let nights = number("FURLOUGH_SEEDS").unwrap_or(NIGHTS);
    let wrong = over(from, nights, |seed| wrong_with(seed).map(|(why, _)| why));
    for (seed, why) in &wrong {
        println!("{why}\n    FURLOUGH_SEED={seed} cargo test --lib seeds::one -- --nocapture");
    }
    if let Some(seed) = wrong.keys().next() {
        let told = wrong_with(*seed).map(|(_, told)| told).unwrap_or_default();
        panic!("{} of {nights} nights break a promise; the first, seed {seed}:\n{told}\n{}", wrong.len(), wrong[seed]);
    }
}

#[test]
fn every_kind_of_night_is_drawn() {
    let mut states = std::collections::BTreeSet::new();
    let mut rungs = std::collections::BTreeSet::new();
    let (mut calm, mut cut, mut steps) = (0, 0, 0);
    for seed in 1..=300 {
        let setting = draw(seed);
        calm += u32::from(setting.calm);
        cut += u32::from(!setting.cuts.is_empty());
        steps += setting.graph.steps.len();
        for row in &setting.graph.servers {
            states.insert(row.status.to_string());
            rungs.insert(format!("{:?}", row.ladder));
        }
    }
    assert!(calm > 30 && cut > 100 && steps > 3_000, "{calm} calm, {cut} cut, {steps} steps");
    for state in ["ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE", "SHELVED", "ERROR", "VERIFY_RESIZE"] {
        assert!(states.contains(state), "no server is {state}: {states:?}");
    }
    assert!(rungs.len() > 8, "{rungs:?}");
}
