//! Everything that is not as it should be at the end of a run, from its steps alone: each with what to do next.

use std::collections::BTreeMap;

use super::engine::{Engine, Node};
use super::state::StepState;
use crate::compile::{Graph, HostPlan, ServerPlan, StepKind};
use crate::event::{Answer, Done, Intent, Leftover, LeftoverKind, Outcome, RunId};

/// Names every leftover of a run, host by host in the order of the plan. `left` are the servers that the plan leaves where
/// they are, by host, those that child graphs found among them.
pub fn leftovers(
    engine: &Engine,
    graph: &Graph,
    left: &BTreeMap<String, Vec<ServerPlan>>,
    run: &RunId,
) -> Vec<Leftover> {
    #[cfg(test)]
    if crate::run::Sabotage::NamesNothing.is_on() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for host in &graph.hosts {
        let begun = engine.on_host(&host.name).any(|node| node.attempt > 0);
        if !begun {
            continue;
        }
        for server in left.get(&host.name).into_iter().flatten() {
            // One that is only there to be started again has its step to speak for it.
            if !has_start(engine, &host.name, &server.id) {
                found.push(Leftover {
                    kind: LeftoverKind::LeftByPlan,
                    host: host.name.clone(),
                    server: Some((server.id.clone(), server.name.clone())),
                    what: format!("it stays on {}: {}", host.name, server.why),
                    remedy: "nothing, if that is as intended".to_owned(),
                });
            }
        }
        for node in engine.on_host(&host.name) {
            found.extend(of_step(node, engine, run));
        }
        found.extend(out_of_service(host, engine, run));
    }
    found
}

fn of_step(node: &Node, engine: &Engine, run: &RunId) -> Option<Leftover> {
    let host = node.step.host.clone();
    let server = named(node);
    let of = |kind, what, remedy| Some(Leftover { kind, host: host.clone(), server: server.clone(), what, remedy });
    let resume = format!("`furlough resume {run}` looks at it again");
    if matches!(node.state, StepState::Intended | StepState::Asked) {
        return of(LeftoverKind::Unknown, "it was asked and its outcome has not been seen yet".to_owned(), resume);
    }
    match (&node.step.kind, node.state, &node.outcome) {
        (_, StepState::Unknown, Some(Outcome::Unknown { reason, remedy })) => {
            let confirm = matches!(node.intents.last(), Some(Intent::Confirm { .. }));
            let kind = if confirm { LeftoverKind::UnconfirmedResize } else { LeftoverKind::Unknown };
            of(kind, reason.clone(), remedy.clone())
        }
        (kind, StepState::Failed, Some(outcome)) => {
            let kind = match kind {
                StepKind::Move { .. } => LeftoverKind::ServerNotMoved,
                StepKind::Start { .. } => LeftoverKind::ServerState,
                _ => LeftoverKind::StepFailed,
            };
            let (what, remedy) = words(node, outcome, run);
            of(kind, what, remedy)
        }
        // It was to be tried again, and its host was given up before.
        (StepKind::Move { .. }, StepState::Waiting, Some(outcome @ Outcome::Failed { .. })) => {
            let (what, remedy) = words(node, outcome, run);
            of(LeftoverKind::ServerNotMoved, what, remedy)
        }
        (StepKind::Move { .. }, StepState::Waiting, _) if engine_has_begun(engine, &host) => {
            of(LeftoverKind::ServerNotMoved, format!("it is still on {host}"), resume)
        }
        (StepKind::Move { .. }, StepState::Done, Some(Outcome::Done(Done::Left))) => of(
            LeftoverKind::LeftByPlan,
            format!("it stays on {host}, the last rung of its ladder"),
            "nothing, if that is as intended".to_owned(),
        ),
        (
            StepKind::Move { .. },
            StepState::Done,
            Some(Outcome::Done(Done::Moved { to, warning: Some(warning), .. })),
        ) => of(
            LeftoverKind::ServerState,
            format!("it is on {to}, and {warning}"),
            "see whether that is as its owner wants it".to_owned(),
        ),
        // A plan that keeps the host out of service has no step that would start it.
        (StepKind::Move { server, .. }, StepState::Done, Some(Outcome::Done(Done::Stopped)))
            if !has_start(engine, &host, server) =>
        {
            of(
                LeftoverKind::ServerState,
                format!("this run stopped it, and it stays off while {host} is out of service"),
                format!("`furlough enable {host}` starts it, or `openstack server start {server}`"),
            )
        }
        (StepKind::Start { server }, StepState::Waiting, _) if engine.stopped(&host, server).is_some() => of(
            LeftoverKind::ServerState,
            "this run stopped it and has not started it again".to_owned(),
            format!("`furlough resume {run}`, or `openstack server start {server}`"),
        ),
        _ => None,
    }
}

fn has_start(engine: &Engine, host: &str, server: &str) -> bool {
    engine.on_host(host).any(|node| matches!(&node.step.kind, StepKind::Start { server: id } if id == server))
}

fn engine_has_begun(engine: &Engine, host: &str) -> bool {
    engine.on_host(host).any(|node| matches!(node.step.kind, StepKind::Disable) && node.was_done)
}

/// What happened, with Nova's words, and what to do.
fn words(node: &Node, outcome: &Outcome, run: &RunId) -> (String, String) {
    let resume = format!("mend it, then `furlough resume {run}`");
    match outcome {
        Outcome::Failed { reason, fault, remedy, .. } => {
            let what = format!("{}: {reason}{}", node.step.id, said(fault.as_ref()));
            (what, remedy.clone())
        }
        Outcome::Retryable { reason, fault, .. } => {
            let what = format!("every method of its ladder failed; the last: {reason}{}", said(fault.as_ref()));
            let what = if matches!(node.step.kind, StepKind::Move { .. }) {
                what
            } else {
                format!("{}: {reason}{}", node.step.id, said(fault.as_ref()))
            };
            (what, resume)
        }
        Outcome::Unknown { reason, remedy } => (reason.clone(), remedy.clone()),
        Outcome::Done(_) => (node.step.id.to_string(), resume),
    }
}

fn said(fault: Option<&String>) -> String {
    fault.map(|fault| format!(" (nova: {fault})")).unwrap_or_default()
}

fn named(node: &Node) -> Option<(String, String)> {
    let (StepKind::Move { server, .. } | StepKind::Start { server }) = &node.step.kind else { return None };
    let name = node.intents.iter().find_map(|intent| match intent {
        Intent::Live { server, .. }
        | Intent::Cold { server, .. }
        | Intent::Confirm { server, .. }
        | Intent::Abort { server, .. }
        | Intent::Stop { server }
        | Intent::Start { server } => Some(server.name.clone()),
        _ => None,
    });
    Some((server.clone(), name.unwrap_or_default()))
}

/// A host that this run disabled and has not given back.
fn out_of_service(host: &HostPlan, engine: &Engine, run: &RunId) -> Option<Leftover> {
    let disabled = engine.disabled(&host.name)?;
    let mut enables = engine.on_host(&host.name).filter(|node| matches!(node.step.kind, StepKind::Enable)).peekable();
    let by_plan = enables.peek().is_none();
    if enables.any(|node| node.state == StepState::Done) {
        return None;
    }
    let of_disable = engine.on_host(&host.name).find(|node| matches!(node.step.kind, StepKind::Disable))?;
    // Only a refusal proves that nothing was changed; a request that was lost may have been carried out.
    if of_disable.state == StepState::Failed && matches!(of_disable.answer, Some(Answer::Refused { .. })) {
        return None;
    }
    let Intent::Disable { reason, .. } = disabled else { return None };
    let name = &host.name;
    let (what, remedy) = if by_plan && engine.ending() == crate::event::Ending::Done {
        ("out of service, as the plan leaves it".to_owned(), format!("`furlough enable {name}` puts it back"))
    } else {
        (
            format!("out of service, disabled with `{reason}`"),
            format!("`furlough resume {run}` goes on with it; `furlough enable {name}` gives it back as it is"),
        )
    };
    Some(Leftover { kind: LeftoverKind::HostDisabled, host: name.clone(), server: None, what, remedy })
}

/// Servers that a run stopped on this host and has not started again, from its events.
pub fn still_stopped(events: &[crate::event::Event], host: &str) -> Vec<String> {
    use crate::event::EventKind;
    let mut asked: std::collections::HashMap<&crate::compile::StepId, &str> = std::collections::HashMap::new();
    let mut stopped: Vec<String> = Vec::new();
    for event in events {
        match &event.kind {
            EventKind::StepIntended { step, intent: Intent::Stop { server } | Intent::Start { server }, .. }
                if server.host == host =>
            {
                asked.insert(step, &server.id);
            }
            EventKind::StepSettled { step, outcome: Outcome::Done(done), .. } => {
                let Some(server) = asked.get(step) else { continue };
                match done {
                    Done::Stopped if !stopped.iter().any(|known| known == server) => stopped.push((*server).to_owned()),
                    Done::Started | Done::Gone => stopped.retain(|known| known != server),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    stopped
}
