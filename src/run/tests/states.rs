//! The transition function and the engine take any event in any order: what cannot follow is an error, never a panic.

use proptest::prelude::*;

use super::night::{Stage, done, failed, intent, retryable, started};
use crate::compile::{Edge, Graph, StepId, StepKind};
use crate::event::{Answer, Done, Ending, EventKind, Outcome};
use crate::plan::{Finish, Limits, OnFailure, Rung};
use crate::run::engine::Engine;
use crate::run::state::{self, StepState};

fn stage() -> Stage {
    Stage {
        hosts: vec![2, 1],
        wave: 1,
        ladder: vec![Rung::Live, Rung::Cold, Rung::Stop],
        commands: 1,
        finish: Finish::Enable,
        on_failure: OnFailure::Continue,
        limits: Limits { cloud: 2, source: 1, destination: Some(1), queue_ahead: 1 },
    }
}

/// One event of every kind about this step.
fn about(step: &StepId, attempt: u32) -> Vec<EventKind> {
    let graph = stage().graph();
    let of = graph.step(step).unwrap_or(&graph.steps[0]);
    let settled = |outcome| EventKind::StepSettled { step: step.clone(), attempt, outcome };
    vec![
        EventKind::StepStarted { step: step.clone(), attempt, rung: None },
        EventKind::StepStarted { step: step.clone(), attempt, rung: Some(Rung::Live) },
        EventKind::StepStarted { step: step.clone(), attempt, rung: Some(Rung::Leave) },
        EventKind::StepIntended { step: step.clone(), attempt, intent: intent(of, None) },
        EventKind::StepAnswered { step: step.clone(), attempt, answer: Answer::Accepted { request_id: None } },
        EventKind::MoveSeen { step: step.clone(), attempt, migration_id: 1, to: Some("d1".to_owned()) },
        EventKind::MoveReleased { step: step.clone(), attempt },
        EventKind::PauseEnded { step: step.clone() },
        settled(Outcome::Done(done(&of.kind, None))),
        settled(Outcome::Done(Done::Started)),
        settled(retryable(None)),
        settled(retryable(Some(0))),
        settled(retryable(Some(9))),
        settled(failed()),
        settled(Outcome::Unknown { reason: String::new(), remedy: String::new() }),
    ]
}

fn event() -> impl Strategy<Value = EventKind> {
    let graph = stage().graph();
    let mut steps: Vec<StepId> = graph.steps.iter().map(|step| step.id.clone()).collect();
    steps.push(StepId("nowhere/disable".to_owned()));
    let one = (prop::sample::select(steps.clone()), 0..4_u32, any::<prop::sample::Index>()).prop_map(
        |(step, attempt, which)| {
            let all = about(&step, attempt);
            all[which.index(all.len())].clone()
        },
    );
    let resumed = prop::collection::vec(prop::sample::select(steps.clone()), 0..3)
        .prop_map(|retry| EventKind::RunResumed { furlough: String::new(), retry });
    let extended = (prop::sample::select(steps), any::<bool>(), 0..3_u32).prop_map(move |(step, parent, name)| {
        let mut child = Graph { parent: None, ..graph.clone() };
        child.steps.truncate(1);
        child.steps[0].id = StepId(format!("h0/move/new{name}"));
        child.steps[0].kind = StepKind::Move { server: format!("new{name}"), ladder: vec![Rung::Live] };
        child.steps[0].needs.clear();
        child.parent = parent.then_some(Edge { graph: String::new(), step });
        EventKind::GraphExtended { graph: Box::new(child) }
    });
    prop_oneof![
        20 => one,
        2 => resumed,
        1 => extended,
        1 => Just(EventKind::QueueingStopped { host: "h0".to_owned() }),
        1 => Just(EventKind::Interrupted { by: String::new() }),
        1 => Just(EventKind::Noted { step: None, text: String::new() }),
        1 => Just(EventKind::RunEnded { ending: Ending::Failed, leftovers: Vec::new(), requests: 0 }),
        1 => Just(started(stage().graph())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Legal or not: an engine that refused an event goes on counting right.
    #[test]
    fn any_events_in_any_order_never_panic(events in prop::collection::vec(event(), 0..80)) {
        let graph = stage().graph();
        let mut engine = Engine::new(&graph, true).unwrap();
        for event in &events {
            // What cannot follow is refused; the next event must still be taken or refused in its own right.
            let _refused = engine.apply(event);
            let _ending = (engine.ending(), engine.in_flight(), engine.retryable());
        }
    }
}

/// Every state × every event about a step; a row is what follows.
#[test]
fn transitions() {
    use StepState::{Asked, Done, Failed, Intended, Started, Unknown, Waiting};
    let step = StepId("h0/disable".to_owned());
    for from in [Waiting, Started, Intended, Asked, Done, Failed, Unknown] {
        for event in about(&step, 1) {
            let expected = match (&event, from) {
                (EventKind::StepStarted { .. }, Waiting) => Some(Started),
                (EventKind::StepIntended { .. }, Started | Asked) => Some(Intended),
                (EventKind::StepAnswered { .. }, Intended) => Some(Asked),
                (EventKind::PauseEnded { .. }, Waiting) => Some(Waiting),
                (EventKind::MoveSeen { .. } | EventKind::MoveReleased { .. }, Intended | Asked) => Some(from),
                (EventKind::StepSettled { outcome, .. }, Started | Intended | Asked) => Some(match outcome {
                    Outcome::Done(_) => Done,
                    Outcome::Retryable { .. } => Waiting,
                    Outcome::Failed { .. } => Failed,
                    Outcome::Unknown { .. } => Unknown,
                }),
                _ => None,
            };
            assert_eq!(state::next(from, &event), expected, "{from:?} {}", state::name(&event));
        }
    }
}

#[test]
fn what_is_not_about_a_step_is_no_transition_of_one() {
    for event in [
        EventKind::Noted { step: Some(StepId("h0/disable".to_owned())), text: String::new() },
        EventKind::Interrupted { by: String::new() },
        EventKind::QueueingStopped { host: String::new() },
    ] {
        assert_eq!(state::next(StepState::Started, &event), None);
    }
}

#[test]
fn an_illegal_event_names_step_state_and_event() {
    let graph = stage().graph();
    let mut engine = Engine::new(&graph, true).unwrap();
    engine.apply(&started(graph)).unwrap();
    let disable = StepId("h0/disable".to_owned());
    let answer = Answer::Accepted { request_id: None };
    let error = engine.apply(&EventKind::StepAnswered { step: disable.clone(), attempt: 1, answer }).unwrap_err();
    assert_eq!(error.to_string(), "step_answered of step h0/disable cannot follow Waiting");
    let error = engine.apply(&EventKind::StepStarted { step: disable, attempt: 3, rung: None }).unwrap_err();
    assert_eq!(error.to_string(), "attempt 3 of step h0/disable where 1 is under way");
    let nowhere = EventKind::StepStarted { step: StepId("x".to_owned()), attempt: 1, rung: None };
    assert_eq!(engine.apply(&nowhere).unwrap_err().to_string(), "the graph has no step x");
}
