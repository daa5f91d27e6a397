use std::sync::{Arc, Mutex};

use indicatif::TermLike;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::*;
use crate::compile::{Graph, Step};
use crate::event::{Done, Outcome};
use crate::plan::Rung;
use crate::view::fixture::{Night, PLAIN, any_events, graph, is_harmless, night, progress, started};

/// A terminal that remembers what was written to it. Moves of the cursor are not part of that.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<String>>);

impl Screen {
    fn write(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn height(&self) -> u16 {
        40
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(text)?;
        self.write("\n")
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.write(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        self.write("\n")
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn bars() -> (Bars, Screen) {
    let screen = Screen::default();
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 200);
    (Bars::on(target, PLAIN), screen)
}

fn show(bars: &mut Bars, events: &[Event]) {
    for event in events {
        bars.update(&Update::Event(event.clone())).unwrap();
    }
}

#[test]
fn failures_stay_on_the_screen_above_the_bars() {
    let (mut bars, screen) = bars();
    show(&mut bars, &night());
    assert!(bars.moves.is_empty());
    assert_eq!(bars.wave.message(), "wave 2 of 2: 1 held");
    assert_eq!(bars.run.message(), "hosts 1/2  servers 4/4  in flight 0  1 FAILED  3 blocked");
    assert_eq!((bars.run.position(), bars.run.length()), (13, Some(16)));
    bars.finish().unwrap();
    let text = screen.text();
    assert!(text.contains("FAILED after 3 s: the command exited with 255"), "{text}");
    assert!(is_harmless(&text), "{text:?}");
}

#[test]
fn a_migration_shows_how_far_it_is() {
    let (mut bars, _screen) = bars();
    show(&mut bars, &night()[..9]);
    bars.update(&Update::Progress(progress(2048))).unwrap();
    let shown = &bars.moves[0].bar;
    assert_eq!(shown.prefix(), "  cmp-07 web-3 (9f2c1a07…)         ");
    assert_eq!(shown.message(), "live → cmp-11  2 GiB of 8 GiB left");
    assert_eq!((shown.position(), shown.length()), (6 << 30, Some(8 << 30)));
}

/// A run with this many servers, all in flight.
fn crowd(servers: usize) -> Vec<Event> {
    let mut crowd = graph();
    let step = crowd.steps[2].clone();
    crowd.steps.extend((0..servers).map(|n| Step { id: StepId(format!("m{n}")), ..step.clone() }));
    let mut night = Night::default();
    let EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, .. } = started() else {
        unreachable!()
    };
    let graph: Box<Graph> = Box::new(crowd);
    night.push(0, EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, graph });
    for n in 0..servers {
        night.start(1, &format!("m{n}"), 1, Some(Rung::Live));
    }
    night.events
}

#[test]
fn there_are_never_too_many_bars() {
    let (mut bars, _screen) = bars();
    bars.catch_up(&crowd(MOST_MOVES + 37));
    assert_eq!((bars.moves.len(), bars.unseen.len()), (MOST_MOVES, 37));
    assert_eq!(bars.more.message(), "  and 37 migrations more in flight");
    let mut night = Night::default();
    night.settle(9, "m0", 1, Outcome::Done(Done::Gone)).settle(9, "m40", 1, Outcome::Done(Done::Gone));
    show(&mut bars, &night.events);
    assert_eq!((bars.moves.len(), bars.unseen.len()), (MOST_MOVES, 35));
}

#[test]
fn rates_are_smoothed_and_say_when_nothing_shrinks() {
    let mut rate = Rate::default();
    let mut left = 8_u64 << 30;
    for second in 0..20 {
        rate.take(Duration::from_secs(second), left);
        left -= 100 << 20;
    }
    assert_eq!(rate.words(1 << 30), ", 100 MiB/s, about 10 s");
    // One pass finds more to copy: the rate falls, and does not jump.
    rate.take(Duration::from_secs(20), left + (50 << 20));
    assert_eq!(rate.words(1 << 30), ", 90 MiB/s, about 11 s");
    for second in 21..60 {
        rate.take(Duration::from_secs(second), left);
    }
    assert_eq!(rate.words(left), ", not shrinking");
}

#[test]
fn odd_progress_is_no_reason_to_fail() {
    let mut row = MoveRow::default();
    let mut odd = progress(1);
    (odd.memory_total_bytes, odd.memory_remaining_bytes) = (Some(0), Some(u64::MAX));
    row.take(Duration::ZERO, &odd);
    assert_eq!(row.words(false), "running");
    (odd.memory_total_bytes, odd.disk_total_bytes) = (Some(u64::MAX), Some(u64::MAX));
    odd.memory_remaining_bytes = Some(u64::MAX);
    row.take(Duration::ZERO, &odd);
    assert!(row.words(false).ends_with("left"), "{}", row.words(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_events_are_drawn_safely(events in any_events()) {
        let (mut bars, screen) = bars();
        show(&mut bars, &events);
        bars.finish().unwrap();
        prop_assert!(is_harmless(&screen.text()), "{:?}", screen.text());
    }
}
