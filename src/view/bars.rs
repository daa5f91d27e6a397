//! A run on a terminal: a bar for the run, a line for its wave, a bar for every migration in flight, and what a person
//! should see printed above them. It keeps up with a terminal that is resized: every line is cut to its width as it is
//! drawn.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::View;
use super::progress::{HostPhase, StepState, Tally};
use super::teller::{Level, Teller, subject};
use super::text::{Style, bytes, clean, count, duration, pad, rung};
use crate::compile::{StepId, StepKind};
use crate::event::{Event, EventKind, Progress, Update};

/// More than four a second is flicker, and work for whoever is connected over a slow line.
const DRAWS_A_SECOND: u8 = 4;
/// A night goes by in seconds, on a terminal that somebody looks at.
const DRAWS_A_REHEARSED_SECOND: u8 = 12;
/// As many migrations as fit on a small terminal beside what is printed above; the others are counted.
const MOST_MOVES: usize = 12;
/// Counting costs time in large runs: it may take this share of the process's.
const COUNTING_SHARE: u32 = 20;
/// Rates are smoothed over about this long, so that one pass of Nova's over the memory does not make them jump.
const SMOOTHING_S: f64 = 5.0;
/// At less than this a GiB takes a quarter of an hour, and the guest writes faster than that.
const LEAST_RATE: f64 = 1024.0 * 1024.0;
/// Two readings closer than this say nothing about a rate.
const LEAST_STEP_S: f64 = 0.2;
/// Together with host, time and bar this leaves, of 100 columns, about 40 for what is going on.
const SERVER_COLUMNS: usize = 26;

/// Shows a run as bars on stderr.
#[derive(Debug)]
pub struct Bars {
    multi: MultiProgress,
    run: ProgressBar,
    wave: ProgressBar,
    more: ProgressBar,
    moves: Vec<MoveBar>,
    /// In flight, without a bar for want of room.
    unseen: Vec<StepId>,
    teller: Teller,
    began: Instant,
    /// The time shown is that of the events: a rehearsal's clock is not this machine's.
    in_virtual_time: bool,
    counted: Option<Instant>,
    counting: Duration,
}

impl Bars {
    pub fn new(style: Style) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND), style)
    }

    /// For a run whose time goes by faster than this machine's: shows the time its events tell, and no rates.
    pub fn in_virtual_time(style: Style) -> Self {
        let bars = Self::on(ProgressDrawTarget::stderr_with_hz(DRAWS_A_REHEARSED_SECOND), style);
        bars.run.disable_steady_tick();
        bars.run.set_style(template(if style.color { VIRTUAL_RUN_IN_COLOR } else { VIRTUAL_RUN }));
        Self { in_virtual_time: true, ..bars }
    }

    fn on(target: ProgressDrawTarget, style: Style) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let run = multi.add(ProgressBar::new(1).with_style(run_style(style.color)));
        let line = || ProgressBar::new(0).with_style(template("{wide_msg}"));
        let (wave, more) = (multi.add(line()), multi.add(line()));
        // So that the time goes on while nothing happens.
        run.enable_steady_tick(Duration::from_secs(1));
        Self {
            multi,
            run,
            wave,
            more,
            moves: Vec::new(),
            unseen: Vec::new(),
            teller: Teller::new(style.color),
            began: Instant::now(),
            in_virtual_time: false,
            counted: None,
            counting: Duration::ZERO,
        }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        for line in self.teller.tell(event, Level::Notable) {
            self.multi.println(line)?;
        }
        match &event.kind {
            EventKind::StepStarted { step, .. } => self.begin(step),
            EventKind::StepSettled { step, .. } => self.end(step),
            _ => {}
        }
        if let Some(step) = event.kind.step() {
            self.redraw(step);
        }
        let last = matches!(event.kind, EventKind::RunEnded { .. });
        let due = |at: Instant| at.elapsed() >= self.counting * COUNTING_SHARE;
        if last || self.counted.is_none_or(due) {
            self.count();
        }
        Ok(())
    }

    fn begin(&mut self, step: &StepId) {
        let is_move =
            self.teller.tally.step(step).is_some_and(|tally| matches!(tally.step.kind, StepKind::Move { .. }));
        let known = self.moves.iter().any(|shown| shown.step == *step) || self.unseen.contains(step);
        if !is_move || known {
            return;
        }
        if self.moves.len() < MOST_MOVES {
            let bar = self.multi.insert_before(&self.more, ProgressBar::new(0).with_style(self.move_style(false)));
            self.moves.push(MoveBar { step: step.clone(), bar, row: MoveRow::default() });
        } else {
            self.unseen.push(step.clone());
        }
    }

    fn end(&mut self, step: &StepId) {
        self.unseen.retain(|unseen| unseen != step);
        let Some(at) = self.moves.iter().position(|shown| shown.step == *step) else { return };
        let ended = self.moves.remove(at);
        ended.bar.finish_and_clear();
        self.multi.remove(&ended.bar);
        if !self.unseen.is_empty() {
            let next = self.unseen.remove(0);
            self.begin(&next);
            self.redraw(&next);
        }
    }

    fn progress(&mut self, progress: &Progress) {
        // Without a time of their own, readings of progress tell no rate in virtual time.
        let at = if self.in_virtual_time { Duration::ZERO } else { self.began.elapsed() };
        let style = self.move_style(true);
        if let Some(shown) = self.moves.iter_mut().find(|shown| shown.step == progress.step) {
            shown.row.take(at, progress);
            if let Some((done, total)) = shown.row.copied {
                shown.bar.set_style(style);
                shown.bar.set_length(total);
                shown.bar.set_position(done);
            }
        }
        self.redraw(&progress.step);
    }

    fn redraw(&self, step: &StepId) {
        let tally = &self.teller.tally;
        let (Some(shown), Some(step)) = (self.moves.iter().find(|shown| shown.step == *step), tally.step(step)) else {
            return;
        };
        let host = pad(&clean(&step.step.host), self.teller.host_columns());
        shown.bar.set_prefix(format!("  {host} {}", pad(&subject(tally, &step.step), SERVER_COLUMNS)));
        let to = step.to.as_ref().map(|to| format!(" → {}", clean(to))).unwrap_or_default();
        shown.bar.set_message(format!("{}{to}  {}", step.rung.map_or("", rung), shown.row.words(step.released)));
    }

    fn move_style(&self, sized: bool) -> ProgressStyle {
        match (self.in_virtual_time, sized) {
            (true, true) => template("{prefix} [{bar:8}] {wide_msg}"),
            (true, false) => template("{prefix} {wide_msg}"),
            (false, sized) => move_style(sized),
        }
    }

    /// The lines that need the whole tally.
    fn count(&mut self) {
        let began = Instant::now();
        let steps = self.teller.tally.step_counts();
        let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // Nothing of nothing would be drawn as all of it.
        self.run.set_length(as_u64(steps.total.max(1)));
        self.run.set_position(as_u64(steps.done + steps.failed + steps.unknown));
        let passed = duration(self.teller.tally.elapsed_s());
        self.run.set_prefix(if self.in_virtual_time { passed } else { String::new() });
        self.run.set_message(run_words(&self.teller.tally));
        self.wave.set_message(wave_words(&self.teller.tally));
        self.more.set_message(match self.unseen.len() {
            0 => String::new(),
            unseen => format!("  and {} more in flight", count(unseen, "migration")),
        });
        self.counted = Some(Instant::now());
        self.counting = began.elapsed();
    }
}

impl View for Bars {
    fn catch_up(&mut self, past: &[Event]) {
        for event in past {
            self.teller.take(event);
        }
        let running: Vec<_> = self.teller.tally.steps().filter(|(_, state)| *state == StepState::Running).collect();
        let running: Vec<_> = running.into_iter().map(|(step, _)| step.step.id.clone()).collect();
        for step in running {
            self.begin(&step);
            self.redraw(&step);
        }
        self.count();
    }

    fn update(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::Event(event) => self.event(event),
            Update::Progress(progress) => {
                self.progress(progress);
                Ok(())
            }
        }
    }

    /// What was printed above the bars stays.
    fn finish(&mut self) -> io::Result<()> {
        self.run.disable_steady_tick();
        self.multi.clear()
    }
}

#[derive(Debug)]
struct MoveBar {
    step: StepId,
    bar: ProgressBar,
    row: MoveRow,
}

/// What is known of a migration in flight.
#[derive(Debug, Default)]
struct MoveRow {
    status: String,
    /// Bytes that need not be copied any more, and all of them.
    copied: Option<(u64, u64)>,
    rate: Rate,
}

impl MoveRow {
    fn take(&mut self, at: Duration, progress: &Progress) {
        self.status = clean(&progress.status).into_owned();
        let sum = |memory: Option<u64>, disk: Option<u64>| Some(memory?.saturating_add(disk.unwrap_or(0)));
        let total = sum(progress.memory_total_bytes, progress.disk_total_bytes);
        let left = sum(progress.memory_remaining_bytes, progress.disk_remaining_bytes);
        if let (Some(total), Some(left)) = (total.filter(|total| *total > 0), left) {
            self.rate.take(at, left);
            // Memory that is written to while it is copied can leave more to do than there was.
            self.copied = Some((total.saturating_sub(left), total));
        }
    }

    fn words(&self, released: bool) -> String {
        if released {
            return "copied, waiting to see it end".to_owned();
        }
        match self.copied {
            None => self.status.clone(),
            Some((done, total)) => {
                let left = total - done;
                // What nearly every migration is needs no words.
                let status = if self.status == "running" { String::new() } else { format!("{}  ", self.status) };
                format!("{status}{} of {} left{}", bytes(left), bytes(total), self.rate.words(left))
            }
        }
    }
}

/// Bytes a second by which what is left shrinks.
#[derive(Debug, Default)]
struct Rate {
    last: Option<(Duration, u64)>,
    per_s: Option<f64>,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
    fn take(&mut self, at: Duration, left: u64) {
        if let Some((before, was)) = self.last {
            let step_s = at.saturating_sub(before).as_secs_f64();
            if step_s < LEAST_STEP_S {
                return;
            }
            let now = (was as f64 - left as f64) / step_s;
            let weight = 1.0 - (-step_s / SMOOTHING_S).exp();
            self.per_s = Some(self.per_s.map_or(now, |old| old + weight * (now - old)));
        }
        self.last = Some((at, left));
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "casts from f64 saturate"
    )]
    fn words(&self, left: u64) -> String {
        match self.per_s {
            None => String::new(),
            Some(per_s) if per_s >= LEAST_RATE => {
                format!(", {}/s, about {}", bytes(per_s as u64), duration((left as f64 / per_s) as u64))
            }
            Some(_) if left == 0 => String::new(),
            Some(_) => ", not shrinking".to_owned(),
        }
    }
}

fn run_words(tally: &Tally) -> String {
    let servers = tally.server_counts();
    let hosts = tally.hosts();
    let back = hosts.iter().filter(|host| matches!(host.phase, HostPhase::BackInService | HostPhase::KeptOut)).count();
    let mut words = format!(
        "hosts {back}/{}  servers {}/{}  in flight {}",
        hosts.len(),
        servers.settled(),
        servers.total,
        servers.in_flight
    );
    let steps = tally.step_counts();
    for (number, word) in [(steps.failed, "FAILED"), (steps.unknown, "UNKNOWN"), (steps.blocked, "blocked")] {
        if number > 0 {
            // Writing to a String cannot fail.
            let _ = write!(words, "  {number} {word}");
        }
    }
    if tally.interrupted().is_some() {
        words.push_str("  interrupted: finishing what is in flight");
    }
    words
}

fn wave_words(tally: &Tally) -> String {
    let (wave, waves) = tally.wave();
    if wave == 0 {
        return format!("{} to do", count(usize::try_from(waves).unwrap_or(usize::MAX), "wave"));
    }
    let hosts = tally.hosts();
    let phases = HostPhase::ALL.iter().filter_map(|phase| {
        let hosts = hosts.iter().filter(|host| host.plan.wave == wave && host.phase == *phase).count();
        (hosts > 0).then(|| format!("{hosts} {}", phase.as_str()))
    });
    format!("wave {wave} of {waves}: {}", phases.collect::<Vec<_>>().join(", "))
}

fn template(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let took = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A line that cannot be drawn is drawn again.
        let _ = out.write_str(&duration(state.elapsed().as_secs()));
    };
    style.with_key("took", took).progress_chars("=> ")
}

const VIRTUAL_RUN: &str = "[{bar:24}] {percent:>3}%  {prefix} rehearsed  {wide_msg}";
const VIRTUAL_RUN_IN_COLOR: &str = "[{bar:24.green}] {percent:>3}%  {prefix} rehearsed  {wide_msg}";

fn run_style(color: bool) -> ProgressStyle {
    template(if color {
        "[{bar:24.green}] {percent:>3}%  {took}  {wide_msg}"
    } else {
        "[{bar:24}] {percent:>3}%  {took}  {wide_msg}"
    })
}

fn move_style(sized: bool) -> ProgressStyle {
    template(if sized { "{prefix} {took:>10} [{bar:8}] {wide_msg}" } else { "{prefix} {took:>10} {wide_msg}" })
}

#[cfg(test)]
mod tests;
