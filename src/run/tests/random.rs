//! Random nights: what is promised of a run, of its replay and of its resume, after any of its events.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::night::{Choices, Night, Stage, standing};
use crate::plan::{Finish, Limits, OnFailure, Rung};
use crate::run::engine::Engine;

/// The same nights on every machine; PROPTEST_CASES and PROPTEST_RNG_SEED look further.
fn nights() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 300;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(20_261_123);
    }
    config
}

fn stage() -> impl Strategy<Value = Stage> {
    let ladder = prop_oneof![
        Just(vec![Rung::Live]),
        Just(vec![Rung::Live, Rung::Cold]),
        Just(vec![Rung::Live, Rung::Cold, Rung::Stop]),
        Just(vec![Rung::Stop]),
        Just(vec![Rung::Cold, Rung::Leave]),
        Just(vec![Rung::Stop, Rung::Leave]),
    ];
    let limits = (1..5_u32, 1..3_u32, proptest::option::of(1..3_u32), 0..3_u32)
        .prop_map(|(cloud, source, destination, queue_ahead)| Limits { cloud, source, destination, queue_ahead });
    (
        prop::collection::vec(0..4_u8, 1..4),
        1..3_u32,
        ladder,
        0..3_u8,
        prop_oneof![3 => Just(Finish::Enable), 1 => Just(Finish::KeepDisabled)],
        prop_oneof![Just(OnFailure::Hold), Just(OnFailure::Continue)],
        limits,
    )
        .prop_map(|(hosts, wave, ladder, commands, finish, on_failure, limits)| Stage {
            hosts,
            wave,
            ladder,
            commands,
            finish,
            on_failure,
            limits,
        })
}

/// Mostly well, sometimes badly: half of all chances are zero.
fn chances() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), 0..=255_u8], 0..300)
}

/// Resumes until everything is done, all going well now.
fn brought_home(night: Night) -> Result<(), String> {
    let mut night = night;
    for _ in 0..4 {
        let mut well = Choices::new(Vec::new());
        night.play_out(&mut well)?;
        if night.all_done() {
            return Ok(());
        }
        night = Night::resumed(&night.graph, &night.events)?;
    }
    Err(format!("not done after four resumes: {:?}", night.stood.last()))
}

proptest! {
    #![proptest_config(nights())]

    #[test]
    fn a_night_keeps_what_is_promised_and_can_be_brought_home(stage in stage(), chances in chances()) {
        let mut choices = Choices::new(chances);
        let mut night = Night::begin(&stage).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        // Resumed with what chance is left, and then with luck.
        let mut night = Night::resumed(&night.graph, &night.events).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        brought_home(night).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_replay_stands_where_the_night_stood_after_every_event(stage in stage(), chances in chances()) {
        let mut choices = Choices::new(chances);
        let mut night = Night::begin(&stage).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        let mut night = Night::resumed(&night.graph, &night.events).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        let mut engine = Engine::new(&night.graph, true).unwrap();
        for (event, stood) in night.events.iter().zip(&night.stood) {
            engine.apply(event).map_err(|illegal| TestCaseError::fail(format!("{event:?}: {illegal}")))?;
            prop_assert_eq!(&standing(&engine), stood, "after {:?}", event);
        }
    }

    #[test]
    fn killed_after_any_event_a_night_is_brought_home(stage in stage(), chances in chances(), at in any::<prop::sample::Index>()) {
        let mut choices = Choices::new(chances);
        let mut night = Night::begin(&stage).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        let prefix = &night.events[..=at.index(night.events.len())];
        let mut night = Night::resumed(&night.graph, prefix).map_err(TestCaseError::fail)?;
        night.play_out(&mut choices).map_err(TestCaseError::fail)?;
        brought_home(night).map_err(TestCaseError::fail)?;
    }
}
