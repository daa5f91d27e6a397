//! Events put into words, one line each: what [`super::Lines`] writes and [`super::Bars`] prints above its bars.

use super::progress::{StepTally, Tally};
use super::text::{Tone, clean, clock, count, date, duration, pad, rung, server, shell, width};
use crate::compile::{Graph, Step, StepId, StepKind};
use crate::event::{Answer, Done, Ending, Event, EventKind, Intent, Outcome, Output};

/// A host column wider than this would push what matters out of sight.
const HOST_COLUMNS: usize = 24;
/// Lines of a failed command's output that are shown; the journal has it all.
const OUTPUT_LINES: usize = 40;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Each request and answer.
    Detail,
    /// What began and what ended.
    Progress,
    /// What a person should see even where bars show the progress.
    Notable,
}

/// Puts events into words; keeps the tally that it needs to know what a step's id stands for.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) tally: Tally,
    color: bool,
    host_columns: usize,
    date: Option<String>,
}

/// What a line says, and how it is meant.
struct Told {
    level: Level,
    tone: Tone,
    text: String,
    output: Option<Output>,
}

impl Told {
    fn new(level: Level, tone: Tone, text: String) -> Self {
        Self { level, tone, text, output: None }
    }

    fn detail(text: String) -> Self {
        Self::new(Level::Detail, Tone::Dim, text)
    }
}

impl Teller {
    pub(super) fn new(color: bool) -> Self {
        Self { tally: Tally::default(), color, host_columns: 0, date: None }
    }

    /// As wide as the widest host's name, within reason.
    pub(super) fn host_columns(&self) -> usize {
        self.host_columns
    }

    /// Takes an event in without a word.
    pub(super) fn take(&mut self, event: &Event) {
        if let EventKind::RunStarted { graph, .. } | EventKind::GraphExtended { graph } = &event.kind {
            let widest = graph.hosts.iter().map(|host| width(&clean(&host.name))).max().unwrap_or(0);
            self.host_columns = self.host_columns.max(widest.min(HOST_COLUMNS));
        }
        self.tally.apply(event);
    }

    /// Takes an event in; its lines, without their ends, when it matters at least that much.
    pub(super) fn tell(&mut self, event: &Event, least: Level) -> Vec<String> {
        self.take(event);
        let step = event.kind.step().map(|id| (id, self.tally.step(id)));
        let told = match &step {
            Some((id, Some(step))) => Self::tell_step(event, id, step),
            _ => Self::tell_run(event),
        };
        if told.level < least {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let today = date(event.at);
        if self.date.as_ref() != Some(&today) {
            lines.push(format!("{} (UTC)", today));
            self.date = Some(today);
        }
        let (wave, host, subject) = match &step {
            Some((_, Some(step))) => {
                let host = pad(&clean(&step.step.host), self.host_columns);
                (format!("wave {}", step.step.wave), host, format!("{}  ", subject(&self.tally, &step.step)))
            }
            Some((id, None)) => ("run".to_owned(), " ".repeat(self.host_columns), format!("{}  ", clean(&id.0))),
            None => ("run".to_owned(), " ".repeat(self.host_columns), String::new()),
        };
        let text = told.tone.paint(clean(&told.text).trim_end(), self.color);
        lines.push(format!("{} {wave:<7}  {host}  {subject}{text}", clock(event.at)));
        lines.extend(told.output.iter().flat_map(|output| output_lines(output, "          | ")));
        lines
    }

    fn tell_step(event: &Event, id: &StepId, step: &StepTally) -> Told {
        let by = step.rung.map(|by| format!("{}  ", rung(by))).unwrap_or_default();
        match &event.kind {
            EventKind::StepStarted { attempt, .. } => {
                let again = if *attempt > 1 { format!("attempt {attempt} begins") } else { "begins".to_owned() };
                let long = matches!(step.step.kind, StepKind::Command { .. } | StepKind::Wait { .. });
                let level = if *attempt > 1 || long { Level::Progress } else { Level::Detail };
                Told::new(level, Tone::Plain, format!("{by}{again}"))
            }
            EventKind::StepIntended { intent, .. } => Told::detail(format!("{by}asks: {}", request(intent))),
            EventKind::StepAnswered { answer, .. } => told_answer(&by, answer),
            EventKind::MoveSeen { migration_id, to, .. } => {
                let method = step.rung.map_or("", rung);
                let to = to.as_ref().map(|to| format!(" → {to}")).unwrap_or_default();
                Told::new(Level::Progress, Tone::Plain, format!("{method}{to}  under way, migration {migration_id}"))
            }
            EventKind::MoveReleased { .. } => Told::detail(format!("{by}copied; its end is still to be seen")),
            EventKind::PauseEnded { .. } => Told::detail(format!("{by}may be tried again")),
            EventKind::StepSettled { outcome, attempt, .. } => told_outcome(&by, *attempt, step, outcome),
            EventKind::Noted { text, .. } => Told::new(Level::Notable, Tone::Warn, format!("note: {text}")),
            _ => Told::detail(id.to_string()),
        }
    }

    /// What concerns no step, or one that is not known.
    fn tell_run(event: &Event) -> Told {
        let (level, tone, text) = match &event.kind {
            EventKind::RunStarted { furlough, graph, cloud, .. } => {
                let text = format!("plan {} on {cloud}: {} (furlough {furlough})", graph.plan.name, contents(graph));
                (Level::Notable, Tone::Strong, text)
            }
            EventKind::RunResumed { furlough, retry } => {
                let retry = match retry.len() {
                    0 => String::new(),
                    steps => format!("; {} tried again", count(steps, "failed step")),
                };
                (Level::Notable, Tone::Strong, format!("resumed by furlough {furlough}{retry}"))
            }
            EventKind::GraphExtended { graph } => {
                let below = graph.parent.as_ref().map(|edge| format!(" below {}", edge.step)).unwrap_or_default();
                let servers = count(graph.servers.len(), "server");
                let text = format!("plan extended{below}: {servers}, {} more", count(graph.steps.len(), "step"));
                (Level::Notable, Tone::Warn, text)
            }
            EventKind::QueueingStopped { host } => {
                let text = format!(
                    "note: Nova runs more live migrations from {host} at once than the plan's limit, so none is queued \
                     ahead any more"
                );
                (Level::Notable, Tone::Warn, text)
            }
            EventKind::Interrupted { by } => {
                (Level::Notable, Tone::Warn, format!("interrupted by {by}: nothing new is begun"))
            }
            EventKind::RunEnded { ending, leftovers, requests } => {
                let tone = if *ending == Ending::Done { Tone::Good } else { Tone::Bad };
                let left = match leftovers.len() {
                    0 => "nothing left over".to_owned(),
                    leftovers => format!("{} left over", count(leftovers, "thing")),
                };
                let requests = usize::try_from(*requests).unwrap_or(usize::MAX);
                (Level::Notable, tone, format!("{}: {left}, {}", ending_words(*ending), count(requests, "request")))
            }
            EventKind::Noted { text, .. } => (Level::Notable, Tone::Warn, format!("note: {text}")),
            // The graph that holds the step is not known: a journal that was cut, or a damaged one.
            _ => (Level::Detail, Tone::Dim, "an event of a step that no known graph holds".to_owned()),
        };
        Told::new(level, tone, text)
    }
}

/// What a step is about, in a few words.
pub(super) fn subject(tally: &Tally, step: &Step) -> String {
    let name = |id: &str| server(tally.server_plan(id).map_or("", |plan| plan.name.as_str()), id);
    match &step.kind {
        StepKind::Move { server: id, .. } | StepKind::Start { server: id } => name(id),
        StepKind::Command { argv, .. } => format!("`{}`", shell(argv)),
        StepKind::Wait { until, .. } => format!("wait until {}", clean(until.as_str())),
        StepKind::Disable | StepKind::Enable => "compute service".to_owned(),
        StepKind::List => "servers".to_owned(),
        StepKind::Empty => "host".to_owned(),
    }
}

/// `2 hosts in 2 waves, 14 servers`.
pub(super) fn contents(graph: &Graph) -> String {
    let waves = graph.hosts.iter().map(|host| host.wave).max().unwrap_or(0);
    format!(
        "{} in {}, {}",
        count(graph.hosts.len(), "host"),
        count(usize::try_from(waves).unwrap_or(usize::MAX), "wave"),
        count(graph.servers.len(), "server")
    )
}

pub(super) fn ending_words(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Failed => "failed",
        Ending::Interrupted => "interrupted",
        Ending::Paused => "paused",
        Ending::RolledBack => "rolled back",
    }
}

fn request(intent: &Intent) -> String {
    let chosen = |to: &Option<String>| to.clone().unwrap_or_else(|| "a host of the scheduler's choice".to_owned());
    match intent {
        Intent::Disable { reason, .. } => format!("disable, reason \"{reason}\""),
        Intent::Enable { .. } => "give back the status it had".to_owned(),
        Intent::Live { to, .. } => format!("live migration to {}", chosen(to)),
        Intent::Cold { to, .. } => format!("cold migration to {}", chosen(to)),
        Intent::Confirm { migration_id, .. } => format!("confirm migration {migration_id}"),
        Intent::Abort { migration_id, why, .. } => format!("abort migration {migration_id}: {why}"),
        Intent::Stop { .. } => "stop".to_owned(),
        Intent::Start { .. } => "start".to_owned(),
        Intent::Command { key, timeout_s, .. } => format!("run under key {key}, up to {}", duration(*timeout_s)),
    }
}

fn told_answer(by: &str, answer: &Answer) -> Told {
    match answer {
        Answer::Accepted { request_id } => {
            let id = request_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
            Told::detail(format!("{by}accepted{id}"))
        }
        Answer::Refused { message, .. } => Told::new(Level::Progress, Tone::Warn, format!("{by}refused: {message}")),
        Answer::Lost { cause } => {
            let text = format!("{by}the answer was lost ({cause}); looking for what became of it");
            Told::new(Level::Notable, Tone::Warn, text)
        }
    }
}

fn told_outcome(by: &str, attempt: u32, step: &StepTally, outcome: &Outcome) -> Told {
    let took = duration(step.took_s().unwrap_or(0));
    let why = |reason: &str, fault: &Option<String>| match fault {
        Some(fault) => format!("{reason}; Nova says: {fault}"),
        None => reason.to_owned(),
    };
    match outcome {
        Outcome::Done(done) => Told::new(Level::Progress, Tone::Good, done_words(by, &took, done)),
        Outcome::Retryable { reason, fault, again_after_s: None } => {
            let text = format!("{by}attempt {attempt} failed after {took}: {}", why(reason, fault));
            Told::new(Level::Notable, Tone::Warn, text)
        }
        // Not a failure yet: a busy server, a host that is not empty.
        Outcome::Retryable { reason, fault, again_after_s: Some(pause_s) } => {
            let again = if *pause_s > 0 { format!("in {}", duration(*pause_s)) } else { "at once".to_owned() };
            let text = format!("{by}not done: {}; again {again} if it may be", why(reason, fault));
            Told::new(Level::Progress, Tone::Warn, text)
        }
        Outcome::Failed { reason, fault, remedy, output } => {
            let text = format!("{by}FAILED after {took}: {}; to do: {remedy}", why(reason, fault));
            Told { output: output.clone(), ..Told::new(Level::Notable, Tone::Bad, text) }
        }
        Outcome::Unknown { reason, remedy } => {
            let text = format!("{by}OUTCOME UNKNOWN after {took}: {reason}; to do: {remedy}");
            Told::new(Level::Notable, Tone::Bad, text)
        }
    }
}

fn done_words(by: &str, took: &str, done: &Done) -> String {
    match done {
        Done::Already { what } => format!("already so: {what}"),
        Done::Seen { what } => format!("{what} after {took}"),
        Done::Listed { servers, new: 0 } => format!("listed: {servers}, all of them in the plan"),
        Done::Listed { servers, new } => format!("listed: {servers}, of which {new} were not in the plan"),
        Done::Moved { to, by, warning } => {
            let warning = warning.as_ref().map(|warning| format!("; warning: {warning}")).unwrap_or_default();
            format!("{} → {to}  done in {took}{warning}", rung(*by))
        }
        Done::Stopped => format!("{by}stopped in {took}, still on the host"),
        Done::Left => format!("{by}stays where it is"),
        Done::Started => format!("runs again after {took}"),
        Done::Gone => format!("{by}was deleted meanwhile"),
        Done::Ran { .. } => format!("exit code 0 after {took}"),
    }
}

/// What a command wrote, safe and indented, the first lines and the last.
pub(super) fn output_lines(output: &Output, indent: &str) -> Vec<String> {
    let lines: Vec<&str> = output.text.lines().collect();
    let mut told = Vec::new();
    let exit = match output.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "killed".to_owned(),
    };
    told.push(format!("{indent}{exit}"));
    let half = OUTPUT_LINES / 2;
    for (index, line) in lines.iter().enumerate() {
        if index >= half && index + half < lines.len() {
            if index == half {
                told.push(format!("{indent}… {} …", count(lines.len() - 2 * half, "line")));
            }
            continue;
        }
        told.push(format!("{indent}{}", clean(line.trim_end())));
    }
    if output.cut_bytes > 0 {
        told.push(format!("{indent}({} bytes of it were not kept)", output.cut_bytes));
    }
    told
}
