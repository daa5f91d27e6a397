//! What became of a run, as text: [`report`] for its end, [`status`] while it goes on. Both read the same [`Tally`] as
//! the live views. What a person has to do stands last, next to the prompt.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Style;
use super::progress::{HostPhase, HostTally, ServerCounts, ServerState, StepState, StepTally, Tally};
use super::teller::{ending_words, output_lines, subject};
use super::text::{
    Align, Page, Table, Tone, clean, clock, count, duration, moment, rung, seconds_between, server, server_in_full,
};
use crate::event::{Ending, Leftover, LeftoverKind, Outcome, RunId};

/// Rows of what is under way; more than this is not read, and `--json` has them all.
const MOST_UNDER_WAY: usize = 40;

/// How much a report holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Hosts, and what is left to do.
    #[default]
    Short,
    /// Every server as well: from where, to where, how and how long.
    Full,
}

/// What was done in a run, what is left over, and how to go on.
pub fn report(run: &RunId, tally: &Tally, detail: Detail, style: Style) -> String {
    let mut page = body(run, tally, detail, style);
    go_on(run, tally.ended().map(|ended| ended.ending), &mut page);
    page.finish()
}

/// What was done in a run and what is left over.
pub(super) fn body(run: &RunId, tally: &Tally, detail: Detail, style: Style) -> Page {
    let mut page = Page::new(style);
    let ended = tally.ended();
    match ended.map(|ended| ended.ending) {
        Some(ending) => {
            let leftovers = ended.map_or(&[][..], |ended| ended.leftovers.as_slice());
            heading(run, ending_tone(ending), &ending_line(ending, leftovers), &mut page);
        }
        None => heading(run, Tone::Warn, "has not ended", &mut page),
    }
    facts(tally, tally.updated_at(), &mut page);
    hosts(tally, tally.updated_at(), &mut page);
    if detail == Detail::Full {
        servers(tally, &mut page);
    }
    summary("Servers", &server_words(&tally.server_counts()), &mut page);
    failures(tally, &mut page);
    leftovers(ended.map_or(&[][..], |ended| ended.leftovers.as_slice()), &mut page);
    page
}

/// How a run stands at the moment `now`. `live` says whether a process has it; `None` when that cannot be known.
pub fn status(run: &RunId, tally: &Tally, live: Option<bool>, now: Timestamp, style: Style) -> String {
    let mut page = Page::new(style);
    let ending = tally.ended().map(|ended| ended.ending);
    let (tone, word) = match (ending, live) {
        (Some(ending), _) => (ending_tone(ending), ending_words(ending)),
        (None, Some(false)) => (Tone::Bad, "has no process: it ended without a word"),
        (None, _) if tally.interrupted().is_some() => (Tone::Warn, "interrupted, finishing what is in flight"),
        (None, _) => (Tone::Good, "under way"),
    };
    heading(run, tone, word, &mut page);
    facts(tally, Some(if ending.is_some() { tally.updated_at().unwrap_or(now) } else { now }), &mut page);
    if let (None, Some(at)) = (ending, tally.updated_at()) {
        page.line(Tone::Dim, &format!("last event {} ago", duration(seconds_between(at, now))));
    }
    let (wave, waves) = tally.wave();
    let steps = tally.step_counts();
    page.blank();
    page.parts(&[(Tone::Strong, "Wave     "), (Tone::Plain, &format!("{wave} of {waves}"))]);
    let all = tally.hosts();
    let phases = HostPhase::ALL.iter().filter_map(|phase| {
        let hosts = all.iter().filter(|host| host.phase == *phase).count();
        (hosts > 0).then(|| format!("{hosts} {}", phase.as_str()))
    });
    page.wrapped("Hosts    ", Tone::Plain, &format!("{}: {}", all.len(), phases.collect::<Vec<_>>().join(", ")));
    let words = server_words(&tally.server_counts());
    page.wrapped("Servers  ", Tone::Plain, &words);
    let others = [
        (steps.running, "running"),
        (steps.waiting, "waiting"),
        (steps.failed, "FAILED"),
        (steps.unknown, "UNKNOWN"),
        (steps.blocked, "blocked by what failed"),
    ];
    let others = others.iter().filter(|(steps, _)| *steps > 0).map(|(steps, word)| format!(", {steps} {word}"));
    let steps = format!("{} of {} done{}", steps.done, steps.total, others.collect::<String>());
    page.wrapped("Steps    ", Tone::Plain, &steps);
    under_way(tally, now, &mut page);
    failures(tally, &mut page);
    leftovers(tally.ended().map_or(&[][..], |ended| ended.leftovers.as_slice()), &mut page);
    if ending.is_some() || live == Some(false) {
        go_on(run, ending, &mut page);
    }
    page.finish()
}

/// `failed: 3 things to see to`.
fn ending_line(ending: Ending, leftovers: &[Leftover]) -> String {
    match leftovers.iter().filter(|leftover| leftover.kind != LeftoverKind::LeftByPlan).count() {
        0 => ending_words(ending).to_owned(),
        things => format!("{}: {} to see to", ending_words(ending), count(things, "thing")),
    }
}

fn ending_tone(ending: Ending) -> Tone {
    match ending {
        Ending::Done => Tone::Good,
        Ending::Failed => Tone::Bad,
        Ending::Interrupted | Ending::Paused | Ending::RolledBack => Tone::Warn,
    }
}

fn heading(run: &RunId, tone: Tone, word: &str, page: &mut Page) {
    page.parts(&[(Tone::Strong, &format!("Run {run}")), (Tone::Plain, "  "), (tone, word)]);
}

fn facts(tally: &Tally, until: Option<Timestamp>, page: &mut Page) {
    let Some(head) = tally.head() else {
        page.line(Tone::Warn, "Its first event is missing: what it was to do is not known.");
        return;
    };
    let (plan, cloud) = (clean(&head.plan), clean(&head.cloud));
    page.line(
        Tone::Plain,
        &format!("plan {plan} on cloud {cloud}, graph {}, furlough {}", clean(&head.graph), clean(&head.furlough)),
    );
    let until = until.unwrap_or(head.started_at);
    let mut line = format!(
        "{} to {} ({})",
        moment(head.started_at),
        moment(until),
        duration(seconds_between(head.started_at, until))
    );
    if tally.requests() > 0 {
        line.push_str(&format!(", {} requests", tally.requests()));
    }
    for (times, word) in [(tally.resumes(), "resumed"), (tally.extensions(), "plan extended")] {
        match times {
            0 => {}
            1 => line.push_str(&format!(", {word} once")),
            times => line.push_str(&format!(", {word} {times} times")),
        }
    }
    page.wrapped("", Tone::Plain, &line);
}

fn hosts(tally: &Tally, until: Option<Timestamp>, page: &mut Page) {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("HOST", Left, 12),
        ("WAVE", Right, 4),
        ("STATE", Left, 15),
        ("OUT OF SERVICE", Left, 15),
        ("SERVERS", Left, 0),
    ]);
    for host in tally.hosts() {
        table.row(vec![
            (Tone::Strong, host.plan.name.clone()),
            (Tone::Plain, host.plan.wave.to_string()),
            host_state(&host),
            (Tone::Plain, out_of_service(&host, until)),
            (Tone::Plain, server_words(&host.servers)),
        ]);
    }
    if !table.is_empty() {
        page.blank();
        table.write(page, 0);
    }
}

fn host_state(host: &HostTally<'_>) -> (Tone, String) {
    let tone = match host.phase {
        HostPhase::BackInService | HostPhase::KeptOut => Tone::Good,
        HostPhase::Held => Tone::Bad,
        _ => Tone::Plain,
    };
    let word = match (host.phase, &host.plan.disabled_before) {
        (HostPhase::BackInService, Some(_)) => "disabled, as before",
        (phase, _) => phase.as_str(),
    };
    (tone, word.to_owned())
}

fn out_of_service(host: &HostTally<'_>, until: Option<Timestamp>) -> String {
    match (host.out_at, host.back_at, until) {
        (Some(out), Some(back), _) => duration(seconds_between(out, back)),
        (Some(out), None, Some(_)) => format!("since {}", clock(out)),
        _ => String::new(),
    }
}

fn servers(tally: &Tally, page: &mut Page) {
    use Align::{Left, Right};
    let columns = [
        ("SERVER", Left, 16),
        ("HOST BEFORE", Left, 11),
        ("HOST NOW", Left, 11),
        ("WHAT", Left, 8),
        ("TRIES", Right, 5),
        ("TOOK", Right, 8),
    ];
    let mut table = Table::new(&columns);
    for entry in tally.servers() {
        let (tone, what) = server_state(&entry.state);
        let now = match &entry.state {
            ServerState::Moved { to: Some(to), .. } => to.clone(),
            ServerState::Moved { to: None, .. } => "elsewhere".to_owned(),
            ServerState::Gone => String::new(),
            ServerState::InFlight | ServerState::Unknown | ServerState::Failed => "?".to_owned(),
            _ => entry.plan.host.clone(),
        };
        let attempts = entry.step.map_or(0, |step| step.attempt);
        let took = entry.step.and_then(|step| Some(seconds_between(step.begun_at?, step.settled_at?)));
        table.row(vec![
            (Tone::Plain, server(&entry.plan.name, &entry.plan.id)),
            (Tone::Plain, entry.plan.host.clone()),
            (Tone::Plain, now),
            (tone, what),
            (Tone::Plain, if attempts > 0 { attempts.to_string() } else { String::new() }),
            (Tone::Plain, took.map(duration).unwrap_or_default()),
        ]);
    }
    if !table.is_empty() {
        page.blank();
        table.write(page, 0);
    }
}

fn server_state(state: &ServerState) -> (Tone, String) {
    let (tone, word) = match state {
        ServerState::Waiting => (Tone::Plain, "not begun"),
        ServerState::InFlight => (Tone::Plain, "in flight"),
        ServerState::Moved { by: Some(by), .. } => (Tone::Good, rung(*by)),
        ServerState::Moved { by: None, .. } => (Tone::Good, "was elsewhere already"),
        ServerState::Stopped => (Tone::Warn, "stopped"),
        ServerState::Restarted => (Tone::Good, "stopped, started again"),
        ServerState::Gone => (Tone::Plain, "deleted meanwhile"),
        ServerState::Left => (Tone::Plain, "left by the plan"),
        ServerState::Failed => (Tone::Bad, "FAILED"),
        ServerState::Unknown => (Tone::Bad, "OUTCOME UNKNOWN"),
    };
    (tone, word.to_owned())
}

/// `3 moved live, 1 left in place`.
fn server_words(counts: &ServerCounts) -> String {
    let words = [
        (counts.failed, "FAILED"),
        (counts.unknown, "UNKNOWN"),
        (counts.live, "moved live"),
        (counts.cold, "moved cold"),
        (counts.already, "elsewhere already"),
        (counts.restarted, "stopped and started again"),
        (counts.stopped, "stopped"),
        (counts.gone, "deleted meanwhile"),
        (counts.left, "left by the plan"),
        (counts.in_flight, "in flight"),
        (counts.waiting, "not begun"),
    ];
    let words: Vec<_> = words.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn summary(word: &str, text: &str, page: &mut Page) {
    page.blank();
    page.wrapped(&format!("{word}  "), Tone::Plain, text);
}

fn under_way(tally: &Tally, now: Timestamp, page: &mut Page) {
    use Align::{Left, Right};
    let running: Vec<_> = tally.steps().filter(|(_, state)| *state == StepState::Running).collect();
    if running.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        ("HOST", Left, 12),
        ("UNDER WAY", Left, 16),
        ("METHOD", Left, 6),
        ("TO", Left, 12),
        ("FOR", Right, 8),
    ]);
    for (step, _) in running.iter().take(MOST_UNDER_WAY) {
        table.row(vec![
            (Tone::Strong, step.step.host.clone()),
            (Tone::Plain, subject(tally, &step.step)),
            (Tone::Plain, step.rung.map_or("", rung).to_owned()),
            (Tone::Plain, step.to.clone().unwrap_or_default()),
            (Tone::Plain, step.started_at.map(|at| duration(seconds_between(at, now))).unwrap_or_default()),
        ]);
    }
    page.blank();
    table.write(page, 0);
    if running.len() > MOST_UNDER_WAY {
        page.line(Tone::Plain, &format!("and {} more", running.len() - MOST_UNDER_WAY));
    }
}

fn failures(tally: &Tally, page: &mut Page) {
    let failed: Vec<_> =
        tally.steps().filter(|(_, state)| matches!(state, StepState::Failed | StepState::Unknown)).collect();
    if failed.is_empty() {
        return;
    }
    page.blank();
    page.line(Tone::Bad, "What failed:");
    for (step, state) in failed {
        failure(tally, step, state, page);
    }
}

fn failure(tally: &Tally, step: &StepTally, state: StepState, page: &mut Page) {
    let word = if state == StepState::Unknown { "OUTCOME UNKNOWN" } else { "FAILED" };
    let took = step.took_s().map(|took| format!(" after {}", duration(took))).unwrap_or_default();
    let method = step.rung.map(|method| format!("  {}", rung(method))).unwrap_or_default();
    page.blank();
    page.parts(&[
        (Tone::Plain, "  "),
        (Tone::Strong, &step.step.host),
        (Tone::Plain, &format!("  {}{method}  ", subject(tally, &step.step))),
        (Tone::Bad, word),
        (Tone::Plain, &took),
    ]);
    match &step.outcome {
        Some(Outcome::Failed { reason, fault, remedy, output }) => {
            page.wrapped("    why     ", Tone::Plain, reason);
            if let Some(fault) = fault {
                page.wrapped("    Nova    ", Tone::Plain, fault);
            }
            page.wrapped("    to do   ", Tone::Plain, remedy);
            for line in output.iter().flat_map(|output| output_lines(output, "    | ")) {
                page.line(Tone::Dim, &line);
            }
        }
        Some(Outcome::Retryable { reason, fault, .. }) => {
            page.wrapped("    why     ", Tone::Plain, &format!("every method was tried; the last one: {reason}"));
            if let Some(fault) = fault {
                page.wrapped("    Nova    ", Tone::Plain, fault);
            }
        }
        Some(Outcome::Unknown { reason, remedy }) => {
            page.wrapped("    why     ", Tone::Plain, reason);
            page.wrapped("    to do   ", Tone::Plain, remedy);
        }
        Some(Outcome::Done(_)) | None => {}
    }
}

fn leftovers(leftovers: &[Leftover], page: &mut Page) {
    let (by_plan, to_do): (Vec<_>, Vec<_>) =
        leftovers.iter().partition(|leftover| leftover.kind == LeftoverKind::LeftByPlan);
    let groups = [(by_plan, Tone::Plain, "Left where they are, as the plan has it:"), (to_do, Tone::Bad, "To see to:")];
    for (leftovers, tone, title) in groups {
        let mut hosts: BTreeMap<&str, Vec<&Leftover>> = BTreeMap::new();
        for leftover in leftovers {
            hosts.entry(&leftover.host).or_default().push(leftover);
        }
        if !hosts.is_empty() {
            page.blank();
            page.line(tone, title);
        }
        for leftover in hosts.into_values().flatten() {
            page.parts(&[
                (Tone::Plain, "  "),
                (Tone::Strong, &leftover.host),
                (Tone::Dim, &format!("  {}", leftover_word(leftover.kind))),
            ]);
            if let Some((id, name)) = &leftover.server {
                page.wrapped("    server  ", Tone::Plain, &server_in_full(name, id));
            }
            page.wrapped("    what    ", Tone::Plain, &leftover.what);
            if leftover.kind != LeftoverKind::LeftByPlan {
                page.wrapped("    to do   ", Tone::Plain, &leftover.remedy);
            }
        }
    }
}

/// The same word as in JSON.
pub(super) fn leftover_word(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::HostDisabled => "host-disabled",
        LeftoverKind::ServerNotMoved => "server-not-moved",
        LeftoverKind::ServerState => "server-state",
        LeftoverKind::UnconfirmedResize => "unconfirmed-resize",
        LeftoverKind::Unknown => "unknown",
        LeftoverKind::StepFailed => "step-failed",
        LeftoverKind::LeftByPlan => "left-by-plan",
    }
}

fn go_on(run: &RunId, ending: Option<Ending>, page: &mut Page) {
    page.blank();
    if !matches!(ending, Some(Ending::Done | Ending::RolledBack)) {
        page.parts(&[(Tone::Plain, "To go on:  "), (Tone::Strong, &format!("furlough resume {run}"))]);
    }
    if let Some(ending) = ending {
        let meaning = match ending {
            Ending::Done => "everything is as the plan has it",
            Ending::Failed => "something failed or its outcome is unknown; all of it is named above",
            Ending::Interrupted => "interrupted; nothing is in flight, and nothing is forgotten",
            Ending::Paused => "it waits for a person",
            Ending::RolledBack => "what could be undone was undone; what could not is named above",
        };
        page.wrapped(&format!("Exit code {}:  ", ending.exit_code()), Tone::Plain, meaning);
    }
}

#[cfg(test)]
mod tests;
