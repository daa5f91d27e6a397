mod conformance;
mod crash;
mod damage;
mod samples;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use self::samples::{begun, everything, noted, run};
use super::{Journal, Memory, Sqlite};
use crate::event::Event;

macro_rules! conformance {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::conformance::$test(&super::Memory::new()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                let dir = tempfile::tempdir().unwrap();
                super::conformance::$test(&super::Sqlite::open(&dir.path().join("j.db")).unwrap()).await;
            })+
        }
    };
}

conformance!(
    keeps_everything,
    refuses_gaps,
    one_has_a_run,
    two_runs_never_hold_one_host,
    a_run_that_never_began_holds_nothing,
    summaries_follow_the_events,
);

/// A run's events, in chunks as they are appended.
fn chunks() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let one = prop_oneof![
        any::<String>().prop_map(|text| noted(0, &text).kind),
        (0..everything().len() - 1).prop_map(|index| everything().remove(index + 1).kind),
    ];
    prop::collection::vec(prop::collection::vec(one, 0..4), 1..8).prop_map(|chunks| {
        let mut seq = 1;
        let mut number = |kind| {
            seq += 1;
            samples::event(seq, kind)
        };
        let mut chunks: Vec<Vec<Event>> =
            chunks.into_iter().map(|chunk| chunk.into_iter().map(&mut number).collect()).collect();
        chunks.insert(0, vec![begun("p")]);
        chunks
    })
}

async fn kept(journal: &dyn Journal, chunks: &[Vec<Event>]) -> Vec<Event> {
    let id = run("r");
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    for chunk in chunks {
        journal.append(&id, chunk.clone()).await.unwrap();
    }
    journal.read(&id).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_appended_is_read(chunks in chunks()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.db");
        let all: Vec<Event> = chunks.concat();
        prop_assert_eq!(&runtime.block_on(kept(&Memory::new(), &chunks)), &all);
        let journal = Sqlite::open(&path).unwrap();
        prop_assert_eq!(&runtime.block_on(kept(&journal, &chunks)), &all);
        drop(journal);
        let journal = Sqlite::open_read_only(&path).unwrap();
        prop_assert_eq!(&runtime.block_on(journal.read(&run("r"))).unwrap(), &all);
    }
}

#[tokio::test]
async fn many_appends_share_a_commit() {
    const RUNS: u64 = 10;
    const TASKS: u64 = 100;
    const APPENDS: u64 = 5;
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Sqlite::open(&dir.path().join("j.db")).unwrap());
    let mut claims = Vec::new();
    let mut next = Vec::new();
    for number in 0..RUNS {
        let id = run(&format!("r{number}"));
        claims.push(journal.claim(&id, "lab", &[]).await.unwrap());
        journal.append(&id, vec![begun("p")]).await.unwrap();
        next.push(Arc::new(AtomicU64::new(2)));
    }
    let before = journal.commits();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let number = (task % RUNS) as usize;
        let (journal, next, id) = (Arc::clone(&journal), Arc::clone(&next[number]), run(&format!("r{number}")));
        tasks.spawn(async move {
            for _ in 0..APPENDS {
                // One thread, and an append is queued when it is first polled: the order is that of the numbers.
                let seq = next.fetch_add(1, Ordering::Relaxed);
                journal.append(&id, vec![noted(seq, "x")]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let commits = journal.commits() - before;
    assert!(commits * 5 < TASKS * APPENDS, "{commits} commits for {} appends", TASKS * APPENDS);
    for number in 0..RUNS {
        let events = journal.read(&run(&format!("r{number}"))).await.unwrap();
        assert_eq!(events.len() as u64, 1 + TASKS / RUNS * APPENDS);
    }
}

/// The names of all variants in a piece of JSON, as serde writes them: an object's only key, or a bare word.
fn words(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            words(value, into);
        }),
        serde_json::Value::Array(list) => list.iter().for_each(|value| words(value, into)),
        serde_json::Value::String(word) => {
            into.insert(word.clone());
        }
        _ => {}
    }
}

/// Never write this fixture anew: it is what furlough 0.1 wrote, and it has to be read for ever. A new variant gets a
/// line at its end.
#[tokio::test]
async fn events_of_version_1_open_for_ever() {
    let text = include_str!("../../../tests/fixtures/journal/v1.ndjson");
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let journal = Memory::new();
    let _claim = journal.claim(&run("r"), "lab", &[]).await.unwrap();
    journal.append(&run("r"), events.clone()).await.unwrap();
    // Nothing that is in the file gets lost on the way through.
    for (event, line) in events.iter().zip(text.lines()) {
        let (mut old, mut new) = (BTreeSet::new(), BTreeSet::new());
        words(&serde_json::from_str(line).unwrap(), &mut old);
        words(&serde_json::to_value(event).unwrap(), &mut new);
        assert!(old.is_subset(&new), "{:?}", old.difference(&new));
    }
    // And it holds all there is.
    let (mut there, mut all) = (BTreeSet::new(), BTreeSet::new());
    words(&serde_json::to_value(&events).unwrap(), &mut there);
    words(&serde_json::to_value(everything()).unwrap(), &mut all);
    assert!(all.is_subset(&there), "{:?}", all.difference(&there));
}
