//! A night as text: what the cloud saw and what the run wrote down, a line each, in the order it happened.

use std::fmt::Write as _;

use crate::cloud::Ask;
use crate::cloud::sim::{Question, Seen, Told, What};
use crate::event::{Answer, Event, EventKind, Intent, Outcome};

pub(super) fn lines(seen: &[Seen], events: &[Event]) -> String {
    let mut text = String::new();
    let mut told = 0;
    for one in seen {
        let at_s = one.at_ms as f64 / 1000.0;
        if let What::Durable { events: until } = one.what {
            let until = usize::try_from(until).unwrap().min(events.len());
            for event in events.get(told..until).unwrap_or_default() {
                writeln!(text, "{at_s:>11.3}  {:>5}  {}", event.seq, of_event(&event.kind)).unwrap();
            }
            told = told.max(until);
        } else {
            writeln!(text, "{at_s:>11.3}         {}", of_cloud(&one.what)).unwrap();
        }
    }
    text
}

fn of_cloud(what: &What) -> String {
    match what {
        What::Asked { ask, arrived, answer } => {
            let answer = match answer {
                Told::Accepted { .. } => "accepted".to_owned(),
                Told::Refused { refusal, message } => format!("refused, {refusal:?}: {message}"),
                Told::Lost => "answer lost".to_owned(),
                Told::Unreachable => "unreachable".to_owned(),
            };
            format!("      ASKS {}: {answer}{}", of_ask(ask), if *arrived { "" } else { " (never arrived)" })
        }
        What::Read { what, answered } => {
            format!("      reads {}{}", of_question(what), if *answered { "" } else { ": not answered" })
        }
        What::Service(row) => {
            let why = row.disabled_reason.as_deref().unwrap_or("-");
            format!("          {} {:?} {:?} `{why}` forced_down={:?}", row.host, row.status, row.state, row.forced_down)
        }
        What::Server(row) => {
            let (on, task) = (row.host.as_deref().unwrap_or("nowhere"), row.task_state.as_deref().unwrap_or("idle"));
            let locked = if row.locked == Some(true) { ", locked" } else { "" };
            format!("          {} is {} on {on}, {task}, {:?}{locked}", row.id, row.status, row.power_state)
        }
        What::ServerGone { id } => format!("          {id} is gone"),
        What::Migration(row) => {
            let (from, to) = (row.source_host.as_deref().unwrap_or("?"), row.dest_host.as_deref().unwrap_or("?"));
            let kind = row.kind.as_ref().map_or_else(String::new, ToString::to_string);
            format!("          migration {} ({kind}) of {} {from} -> {to} is {}", row.id, row.server, row.status)
        }
        What::Guest { server, running } => {
            format!("          guest {server} {}", if *running { "runs" } else { "rests" })
        }
        What::Other { text } => format!("      OTHERS {text}"),
        What::Command { key, began: true, .. } => format!("      COMMAND {key} begins"),
        What::Command { key, exit_code, .. } => format!("      COMMAND {key} ends: {exit_code:?}"),
        What::Process { text } => format!("-- {text} --"),
        What::Durable { events } => format!("{events} events on disk"),
    }
}

fn of_ask(ask: &Ask) -> String {
    match ask {
        Ask::DisableService { host, reason, .. } => format!("disable {host} (`{reason}`)"),
        Ask::EnableService { host, .. } => format!("enable {host}"),
        Ask::LiveMigrate { server, host, .. } => format!("live {server} to {host:?}"),
        Ask::ColdMigrate { server, host } => format!("cold {server} to {host:?}"),
        Ask::ConfirmResize { server } => format!("confirm {server}"),
        Ask::RevertResize { server } => format!("revert {server}"),
        Ask::Stop { server } => format!("stop {server}"),
        Ask::Start { server } => format!("start {server}"),
        Ask::AbortMigration { server, migration_id } => format!("abort {migration_id} of {server}"),
    }
}

fn of_question(what: &Question) -> String {
    match what {
        Question::Services { host } => format!("services of {}", host.as_deref().unwrap_or("all")),
        other => format!("{other:?}"),
    }
}

fn of_event(kind: &EventKind) -> String {
    match kind {
        EventKind::RunStarted { graph, .. } => format!("run starts: {} steps", graph.steps.len()),
        EventKind::RunResumed { retry, .. } => {
            format!(
                "run resumes, trying again {}",
                retry.iter().map(|step| step.0.as_str()).collect::<Vec<_>>().join(" ")
            )
        }
        EventKind::GraphExtended { graph } => {
            let steps: Vec<&str> = graph.steps.iter().map(|step| step.id.0.as_str()).collect();
            format!("graph is extended by {}", steps.join(" "))
        }
        EventKind::StepStarted { step, attempt, rung } => match rung {
            Some(rung) => format!("{step} starts, attempt {attempt}, {rung:?}"),
            None => format!("{step} starts, attempt {attempt}"),
        },
        EventKind::StepIntended { step, intent, .. } => format!("{step} intends {}", of_intent(intent)),
        EventKind::StepAnswered { step, answer, .. } => match answer {
            Answer::Accepted { .. } => format!("{step} accepted"),
            Answer::Refused { message, .. } => format!("{step} refused: {message}"),
            Answer::Lost { cause } => format!("{step} lost: {cause}"),
        },
        EventKind::MoveSeen { step, migration_id, to, .. } => format!("{step} is migration {migration_id} to {to:?}"),
        EventKind::MoveReleased { step, .. } => format!("{step} gives its slot back"),
        EventKind::StepSettled { step, outcome, .. } => match outcome {
            Outcome::Done(done) => format!("{step} DONE {done:?}"),
            Outcome::Retryable { reason, fault, again_after_s } => {
                format!("{step} came to nothing: {reason} {fault:?} again after {again_after_s:?}")
            }
            Outcome::Failed { reason, fault, .. } => format!("{step} FAILED: {reason} {fault:?}"),
            Outcome::Unknown { reason, .. } => format!("{step} UNKNOWN: {reason}"),
        },
        EventKind::PauseEnded { step } => format!("{step} has paused long enough"),
        EventKind::QueueingStopped { host } => format!("no more queueing ahead: {host}"),
        EventKind::Noted { step, text } => {
            format!("note of {}: {text}", step.as_ref().map_or("the run", |step| &step.0))
        }
        EventKind::Interrupted { by } => format!("interrupted by {by}"),
        EventKind::RunEnded { ending, leftovers, requests } => {
            let mut text = format!("run ends {ending:?} after {requests} requests");
            for left in leftovers {
                let server = left.server.as_ref().map_or("", |(id, _)| id.as_str());
                write!(text, "\n{:>40} {:?} {} {server}: {}", "left:", left.kind, left.host, left.what).unwrap();
            }
            text
        }
    }
}

fn of_intent(intent: &Intent) -> String {
    match intent {
        Intent::Disable { host, .. } => format!("to disable {host}"),
        Intent::Enable { host, .. } => format!("to enable {host}"),
        Intent::Live { server, newest_migration, .. } => format!("live {}, newest {newest_migration:?}", server.id),
        Intent::Cold { server, newest_migration, .. } => format!("cold {}, newest {newest_migration:?}", server.id),
        Intent::Confirm { server, migration_id } => format!("to confirm {migration_id} of {}", server.id),
        Intent::Abort { server, migration_id, why, .. } => format!("to abort {migration_id} of {}: {why}", server.id),
        Intent::Stop { server } => format!("to stop {}", server.id),
        Intent::Start { server } => format!("to start {}", server.id),
        Intent::Command { key, .. } => format!("command {key}"),
    }
}
