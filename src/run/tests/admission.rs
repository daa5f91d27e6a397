//! Slots against an oracle that keeps nothing but the list of moves and counts them anew at each question.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::plan::{Limits, Rung};
use crate::run::admission::Admission;

fn admits(admission: &Admission, server: &str, source: &str, rung: Rung) -> bool {
    admission.is_free(server) && admission.has_room(source, rung)
}

const HOSTS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
struct Move {
    server: String,
    source: &'static str,
    rung: Rung,
    to: Option<&'static str>,
    released: bool,
}

#[derive(Debug, Clone)]
enum Op {
    /// Asks, and takes if it may.
    Begin {
        server: u8,
        source: usize,
        rung: Rung,
    },
    Placed {
        which: usize,
        to: usize,
    },
    Release {
        which: usize,
    },
    Settle {
        which: usize,
    },
    /// As after a resume: everything is given back, and what is in flight taken anew.
    Again,
    StopQueueing,
}

fn op() -> impl Strategy<Value = Op> {
    let rung = prop_oneof![4 => Just(Rung::Live), 2 => Just(Rung::Cold), 1 => Just(Rung::Stop), 1 => Just(Rung::Leave)];
    prop_oneof![
        6 => (0..8_u8, 0..3_usize, rung).prop_map(|(server, source, rung)| Op::Begin { server, source, rung }),
        3 => (any::<usize>(), 0..3_usize).prop_map(|(which, to)| Op::Placed { which, to }),
        2 => any::<usize>().prop_map(|which| Op::Release { which }),
        3 => any::<usize>().prop_map(|which| Op::Settle { which }),
        1 => Just(Op::Again),
        1 => Just(Op::StopQueueing),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..6_u32, 1..4_u32, proptest::option::of(1..4_u32), 0..3_u32)
        .prop_map(|(cloud, source, destination, queue_ahead)| Limits { cloud, source, destination, queue_ahead })
}

/// Whether the moves, all together, keep within the limits.
fn within(limits: &Limits, queue_ahead: u32, moves: &BTreeMap<usize, Move>) -> Result<(), String> {
    let mut servers = BTreeMap::new();
    for one in moves.values().filter(|one| one.rung != Rung::Leave) {
        if servers.insert(&one.server, ()).is_some() {
            return Err(format!("{} twice", one.server));
        }
    }
    let held: Vec<&Move> = moves.values().filter(|one| one.rung != Rung::Leave && !one.released).collect();
    if held.len() > limits.cloud as usize {
        return Err(format!("{} in the cloud", held.len()));
    }
    let copies: Vec<&&Move> = held.iter().filter(|one| one.rung != Rung::Stop).collect();
    for host in HOSTS {
        let live = copies.iter().filter(|one| one.source == host && one.rung == Rung::Live).count();
        let cold = copies.iter().filter(|one| one.source == host && one.rung == Rung::Cold).count();
        // What is queued behind running ones is live, and of those that run no more than `source` are anything.
        if cold > limits.source as usize || live + cold > (limits.source + queue_ahead) as usize {
            return Err(format!("{live} live and {cold} cold at {host}"));
        }
        if let Some(limit) = limits.destination {
            let unplaced = copies.iter().filter(|one| one.to.is_none()).count();
            let there = copies.iter().filter(|one| one.to == Some(host)).count();
            if there + unplaced > limit as usize {
                return Err(format!("{there} to {host}, and {unplaced} that might go there"));
            }
        }
    }
    Ok(())
}

/// The slots as `moves` says they are taken.
fn retake(admission: &mut Admission, moves: &BTreeMap<usize, Move>) {
    admission.clear();
    for (&key, one) in moves {
        admission.take(key, &one.server, one.source, one.rung);
        if let Some(to) = one.to {
            admission.placed(key, to);
        }
        if one.released {
            admission.release(key);
        }
    }
}

fn key_of(moves: &BTreeMap<usize, Move>, which: usize) -> Option<usize> {
    moves.keys().nth(which.checked_rem(moves.len())?).copied()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn limits_hold_at_every_instant(
        limits in limits(),
        can_withdraw in any::<bool>(),
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut admission = Admission::new(limits.clone(), can_withdraw);
        let queue_ahead = if can_withdraw { limits.queue_ahead } else { 0 };
        let mut queueing = queue_ahead;
        let mut moves: BTreeMap<usize, Move> = BTreeMap::new();
        for (key, op) in ops.into_iter().enumerate() {
            match op {
                Op::Begin { server, source, rung } => {
                    let server = format!("s{server}");
                    let one = Move { server: server.clone(), source: HOSTS[source], rung, to: None, released: false };
                    let mut with = moves.clone();
                    with.insert(key, one);
                    let admits = admits(&admission, &server, HOSTS[source], rung);
                    let busy = moves.values().any(|one| one.server == server && one.rung != Rung::Leave);
                    if admits {
                        prop_assert!(!busy, "{server} twice");
                        if rung == Rung::Leave || rung == Rung::Stop {
                            // Copies nothing: nothing about copies can become worse.
                            let held = with.values().filter(|one| one.rung != Rung::Leave && !one.released).count();
                            prop_assert!(rung == Rung::Leave || held <= limits.cloud as usize);
                        } else {
                            prop_assert_eq!(within(&limits, queue_ahead, &with), Ok(()));
                        }
                        admission.take(key, &server, HOSTS[source], rung);
                        moves = with;
                    } else if !busy {
                        // Not stricter than it says: it is refused only if it could exceed something.
                        let strict = Limits { queue_ahead: 0, ..limits.clone() };
                        let behind_cold = moves
                            .values()
                            .any(|one| one.rung == Rung::Cold && !one.released && one.source == HOSTS[source]);
                        let ahead = if rung == Rung::Live && !behind_cold { queueing } else { 0 };
                        prop_assert!(within(&strict, ahead, &with).is_err(), "{server} {rung:?} refused for nothing");
                    }
                }
                Op::Placed { which, to } => {
                    if let Some(key) = key_of(&moves, which) {
                        admission.placed(key, HOSTS[to]);
                        let one = moves.get_mut(&key).unwrap();
                        if one.to.is_none() && !one.released && matches!(one.rung, Rung::Live | Rung::Cold) {
                            one.to = Some(HOSTS[to]);
                        }
                    }
                }
                Op::Release { which } => {
                    if let Some(key) = key_of(&moves, which) {
                        admission.release(key);
                        moves.get_mut(&key).unwrap().released = true;
                    }
                }
                Op::Settle { which } => {
                    if let Some(key) = key_of(&moves, which) {
                        let one = moves.remove(&key).unwrap();
                        admission.settled(key, &one.server);
                    }
                }
                Op::Again => retake(&mut admission, &moves),
                Op::StopQueueing => {
                    admission.stop_queueing();
                    queueing = 0;
                }
            }
        }
        // Given back, everything is as at the beginning: as many may begin as the limits say, and no more.
        for (key, one) in std::mem::take(&mut moves) {
            admission.settled(key, &one.server);
        }
        let mut count = 0;
        while admits(&admission, &format!("n{count}"), &format!("x{count}"), Rung::Cold) {
            admission.take(10_000 + count, &format!("n{count}"), &format!("x{count}"), Rung::Cold);
            count += 1;
            prop_assert!(count <= limits.cloud as usize);
        }
        prop_assert_eq!(count, limits.cloud.min(limits.destination.unwrap_or(u32::MAX)) as usize);
    }
}

#[test]
fn the_widest_limits_are_no_overflow() {
    let limits = Limits { cloud: u32::MAX, source: u32::MAX, destination: Some(u32::MAX), queue_ahead: u32::MAX };
    let admission = Admission::new(limits, true);
    assert!(admits(&admission, "s", "h", Rung::Live));
}

#[test]
fn a_step_that_leaves_a_server_gives_nothing_back_that_another_took() {
    let limits = Limits { cloud: 9, source: 9, destination: None, queue_ahead: 0 };
    let mut admission = Admission::new(limits, false);
    admission.take(1, "s", "h", Rung::Leave);
    admission.take(2, "s", "h", Rung::Live);
    admission.settled(1, "s");
    assert!(!admits(&admission, "s", "h", Rung::Cold), "it is being moved by step 2");
}

#[test]
fn only_live_migrations_queue_and_only_behind_live_ones() {
    let limits = Limits { cloud: 9, source: 1, destination: None, queue_ahead: 1 };
    let mut admission = Admission::new(limits, true);
    admission.take(1, "s1", "h", Rung::Live);
    assert!(admits(&admission, "s2", "h", Rung::Live));
    assert!(!admits(&admission, "s2", "h", Rung::Cold));
    admission.take(2, "s2", "h", Rung::Live);
    assert!(!admits(&admission, "s3", "h", Rung::Live));
    admission.release(1);
    admission.release(2);
    admission.take(3, "s3", "h", Rung::Cold);
    assert!(!admits(&admission, "s4", "h", Rung::Live), "nova does not queue it behind a cold one");
}
