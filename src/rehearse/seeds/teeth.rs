//! The checker has teeth: for each promise the executor is broken in one place, and within two hundred nights the checker
//! says so, by the number of that promise.

use super::draw::draw;
use super::over;
use crate::run::sabotage::{self, Sabotage};

/// Nights within which a fault has to be found.
const NIGHTS: u64 = 200;

/// The first night in which the broken executor is caught at what it is broken at.
fn caught(which: Sabotage) -> Option<u64> {
    sabotage::set(Some(which));
    let breaks = |seed: &u64| {
        let violations = draw(*seed).play().violations;
        violations.iter().any(|violation| violation.invariant == which.invariant())
    };
    let found = (1..=NIGHTS).find(breaks);
    sabotage::set(None);
    found
}

#[test]
fn every_promise_broken_on_purpose_is_caught() {
    let missed = over(0, Sabotage::ALL.len() as u64, |at| {
        let which = Sabotage::ALL[usize::try_from(at).unwrap()];
        let found = caught(which);
        println!("{which:?} breaks {} first in night {found:?}", which.invariant());
        found.is_none().then(|| format!("{which:?} is not caught as {}", which.invariant()))
    });
    assert!(missed.is_empty(), "{:#?}", missed.values());
}
