//! The process dies at every append of its journal in turn, before it is on disk and after, and another goes on: the
//! end is the same, and nothing was asked twice that may have been taken.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::driver::{arrival, command_fails, falls_back, happy, lossy, stopped};
use super::night::told;
use super::stage::{Death, Mortal, Stage};
use crate::compile::{StepId, StepKind};
use crate::event::Ending;

/// A night, and whether the same requests lead to its end whenever it is cut.
type Scenario = (&'static str, fn() -> Stage, bool);

const SCENARIOS: [Scenario; 6] = [
    ("happy", happy, true),
    ("arrival", arrival, true),
    ("falls back", falls_back, true),
    ("lossy", lossy, true),
    ("stopped", stopped, true),
    // A resume tries the failed command again, so how often depends on when it was cut.
    ("command fails", command_fails, false),
];

fn scenario(name: &str) -> Scenario {
    SCENARIOS.into_iter().find(|(known, _, _)| *known == name).unwrap()
}

/// The scenarios in which this kind is cut. A new kind does not compile without a row.
fn cut_in(kind: &StepKind) -> &'static [&'static str] {
    match kind {
        StepKind::Disable => &["happy", "lossy"],
        StepKind::List => &["happy", "arrival"],
        StepKind::Move { .. } => &["happy", "falls back", "lossy", "stopped"],
        StepKind::Empty => &["happy", "arrival"],
        StepKind::Command { .. } => &["happy", "command fails"],
        StepKind::Wait { .. } => &["happy"],
        StepKind::Start { .. } => &["stopped", "command fails"],
        StepKind::Enable => &["happy", "lossy"],
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_step_is_cut_where_its_row_says() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, stage, _) in SCENARIOS {
        let stage = stage();
        let graph = stage.graph().await;
        let ended = stage.to_the_end().await;
        assert_ne!(ended.ending, Ending::Interrupted, "{name}");
        let began: Vec<StepId> = stage.outcomes().await.into_iter().map(|(step, _)| StepId(step)).collect();
        for step in &graph.steps {
            if cut_in(&step.kind).contains(&name) && began.contains(&step.id) {
                kinds.insert(kind_name(&step.kind));
            }
        }
    }
    for kind in ["disable", "list", "move", "empty", "command", "wait", "start", "enable"] {
        assert!(kinds.contains(kind), "{kind} is cut nowhere: {kinds:?}");
    }
}

fn kind_name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Disable => "disable",
        StepKind::List => "list",
        StepKind::Move { .. } => "move",
        StepKind::Empty => "empty",
        StepKind::Command { .. } => "command",
        StepKind::Wait { .. } => "wait",
        StepKind::Start { .. } => "start",
        StepKind::Enable => "enable",
    }
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

async fn cut_everywhere(name: &str) {
    let (_, build, alike) = scenario(name);
    let whole = build();
    let journal = Mortal::immortal(&whole.memory, &whole.fake);
    let ended = whole.process(&journal).await.unwrap();
    let appends = journal.appends.load(Ordering::SeqCst);
    assert_eq!(whole.wrongs(), Vec::<String>::new(), "{name}");
    assert!(appends > 10, "{name}: {appends}");
    for at in 1..=appends {
        for death in [Death::Before, Death::After] {
            // Taken up at once, and after everything in the cloud has come to rest.
            for pause_s in [0, 200] {
                let cut = format!("{name}, cut at append {at} of {appends} ({death:?}), resumed after {pause_s} s");
                let stage = build();
                let journal = Mortal::dying(&stage.memory, &stage.fake, at, death);
                let first = stage.process(&journal).await;
                tokio::time::sleep(Duration::from_secs(pause_s)).await;
                let second = match first {
                    // Cut somewhere else than where it is whole: the journal groups events as they come.
                    Some(ended) => ended,
                    None => stage.to_the_end().await,
                };
                let events: Vec<String> = stage.events().await.iter().map(told).collect();
                let told = || format!("{cut}\n{:#?}\n{}", stage.fake.world().sent, events.concat());
                assert_eq!(stage.wrongs(), Vec::<String>::new(), "{}", told());
                assert_eq!(second.ending, ended.ending, "{}", told());
                let kinds = |ended: &crate::run::Ended| -> Vec<_> {
                    ended.leftovers.iter().map(|left| (left.kind, left.host.clone())).collect()
                };
                assert_eq!(kinds(&second), kinds(&ended), "{}", told());
                assert_eq!(stage.state(), whole.state(), "{}", told());
                if alike {
                    let taken = (sorted(stage.fake.world().taken.clone()), sorted(whole.fake.world().taken.clone()));
                    assert_eq!(taken.0, taken.1, "{}", told());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_while_all_goes_well() {
    cut_everywhere("happy").await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_servers_arrive() {
    cut_everywhere("arrival").await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_methods_fail() {
    cut_everywhere("falls back").await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_answers_are_lost() {
    cut_everywhere("lossy").await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_servers_are_stopped_and_started() {
    cut_everywhere("stopped").await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_a_command_fails() {
    cut_everywhere("command fails").await;
}
