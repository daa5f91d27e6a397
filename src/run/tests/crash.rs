//! The process dies at every append of its journal in turn, before it is on disk and after, and another goes on: the
//! end is the same, and nothing was asked twice that may have been taken.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::driver::{arrival, command_fails, falls_back, lossy};
use super::night::told;
use super::stage::{Death, Mortal, Stage};

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

/// `alike`: the same requests lead to its end whenever it is cut.
async fn cut_everywhere(name: &str, build: fn() -> Stage, alike: bool) {
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
async fn cut_while_servers_arrive() {
    cut_everywhere("arrival", arrival, true).await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_methods_fail() {
    cut_everywhere("falls back", falls_back, true).await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_answers_are_lost() {
    cut_everywhere("lossy", lossy, true).await;
}

#[tokio::test(start_paused = true)]
async fn cut_while_a_command_fails() {
    // A resume tries the failed command again, so how often depends on when it was cut.
    cut_everywhere("command fails", command_fails, false).await;
}
