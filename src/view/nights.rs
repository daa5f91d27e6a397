//! What became of a rehearsal, as text: one night as a run's report, many as the spread of what they came to.

use serde_json::json;

use super::progress::Tally;
use super::report::{Detail, body, leftover_word};
use super::text::{Align, Page, Style, Table, Tone, clean_json, count, duration, server_in_full, shell};
use crate::event::RunId;
use crate::rehearse::{Became, Nights, Spread};

/// What a rehearsal was of.
#[derive(Debug, Clone, Copy)]
pub struct Rehearsed<'a> {
    pub plan: &'a str,
    /// `a made-up cloud`, `prod.json`.
    pub cloud: &'a str,
    pub first_seed: u64,
    /// The command line that rehearses the same, less its seed and its nights.
    pub again: &'a [String],
}

/// What is true of every rehearsal, and has to be said of each.
const NOTHING: &str = "This was a rehearsal in virtual time: no cloud was asked anything, and no command was run.";

/// One night: the report of its run, that it was a rehearsal, and how to see it again.
pub fn rehearsed(run: &RunId, tally: &Tally, of: &Rehearsed<'_>, style: Style) -> String {
    let mut page = body(run, tally, Detail::Full, style);
    page.blank();
    page.wrapped("", Tone::Strong, NOTHING);
    page.command("The same again:  ", &replay(of, of.first_seed));
    if let Some(ended) = tally.ended() {
        let code = ended.ending.exit_code();
        page.line(Tone::Plain, &format!("Exit code {code}, as the run's would have been; so is what it says to do."));
    }
    page.finish()
}

/// Many nights: how long, how many moves and requests, how long servers were down, and how they ended.
pub fn nights(nights: &Nights, of: &Rehearsed<'_>, style: Style) -> String {
    use Align::{Left, Right};
    let mut page = Page::new(style);
    let number = usize::try_from(nights.nights).unwrap_or(usize::MAX);
    let last = of.first_seed.wrapping_add(nights.nights.saturating_sub(1));
    page.parts(&[
        (Tone::Strong, &count(number, "night")),
        (Tone::Plain, &format!(" of {} on cloud {}, seeds {} to {last}", of.plan, of.cloud, of.first_seed)),
    ]);
    page.blank();
    let columns = [
        ("OF A NIGHT", Left, 14),
        ("LEAST", Right, 6),
        ("MEDIAN", Right, 6),
        ("9 IN 10 WITHIN", Right, 14),
        ("MOST", Right, 6),
    ];
    let mut table = Table::new(&columns);
    let mut row = |name: &str, spread: Spread, words: &dyn Fn(u64) -> String| {
        let cells = [spread.min, spread.median, spread.p90, spread.max].map(|number| (Tone::Plain, words(number)));
        table.row(std::iter::once((Tone::Strong, name.to_owned())).chain(cells).collect());
    };
    row("duration", nights.took_ms(), &|ms| duration(ms.div_ceil(1000)));
    row("waves", nights.waves(), &|waves| waves.to_string());
    row("servers moved", nights.moves(), &|moves| moves.to_string());
    row("requests", nights.requests(), &|requests| requests.to_string());
    table.write(&mut page, 0);
    page.blank();
    downtime(nights, &mut page);
    page.blank();
    page.line(Tone::Plain, "How they ended, and a night of each kind to look at:");
    for (became, (times, seed)) in by_frequency(nights) {
        let (tone, words) = words(became);
        page.blank();
        page.parts(&[(Tone::Strong, &format!("  {times:>6}  ")), (tone, &words)]);
        page.command("          ", &replay(of, seed));
    }
    page.blank();
    page.wrapped("", Tone::Strong, NOTHING);
    page.finish()
}

fn downtime(nights: &Nights, page: &mut Page) {
    let down = nights.downtime();
    let text = match &nights.worst {
        None => "no server of the plan was down at any time".to_owned(),
        Some(worst) => format!(
            "median {}, 99 in 100 within {}, at the most {}: {} in the night of seed {}",
            milliseconds(down.median_ms),
            milliseconds(down.p99_ms),
            milliseconds(down.max_ms),
            server_in_full(&worst.name, &worst.server),
            worst.seed
        ),
    };
    page.wrapped("Downtime of a server:  ", Tone::Plain, &text);
}

/// The same for programs.
pub fn nights_json(nights: &Nights, of: &Rehearsed<'_>) -> String {
    let endings: Vec<_> = by_frequency(nights)
        .into_iter()
        .map(|(became, (times, seed))| {
            let mut row = match became {
                Became::Ended { ending, exit_code, leftovers } => {
                    json!({"ending": ending, "exit_code": exit_code, "leftovers": leftovers})
                }
                Became::Broken { error } => json!({"ending": "broken", "error": error}),
            };
            row["nights"] = json!(times);
            row["seed"] = json!(seed);
            row["command"] = json!(replay(of, seed));
            row
        })
        .collect();
    let worst = nights
        .worst
        .as_ref()
        .map(|worst| json!({"server": worst.server, "name": worst.name, "down_ms": worst.down_ms, "seed": worst.seed}));
    let value = json!({
        "plan": of.plan,
        "cloud": of.cloud,
        "rehearsal": true,
        "nights": nights.nights,
        "first_seed": of.first_seed,
        "took_ms": nights.took_ms(),
        "waves": nights.waves(),
        "moves": nights.moves(),
        "requests": nights.requests(),
        "downtime": nights.downtime(),
        "worst_downtime": worst,
        "endings": endings,
    });
    clean_json(format!("{value:#}\n"))
}

fn by_frequency(nights: &Nights) -> Vec<(&Became, (u64, u64))> {
    let mut endings: Vec<_> = nights.endings.iter().map(|(became, counted)| (became, *counted)).collect();
    endings.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    endings
}

fn words(became: &Became) -> (Tone, String) {
    match became {
        Became::Ended { ending, exit_code, leftovers } => {
            let tone = if *exit_code == 0 { Tone::Good } else { Tone::Bad };
            let left: Vec<&str> = leftovers.iter().map(|kind| leftover_word(*kind)).collect();
            (tone, if left.is_empty() { (*ending).to_owned() } else { format!("{ending}; left: {}", left.join(", ")) })
        }
        Became::Broken { error } => (Tone::Bad, format!("broken: {error}")),
    }
}

fn replay(of: &Rehearsed<'_>, seed: u64) -> String {
    format!("{} --seed {seed}", shell(of.again))
}

/// `0 s`, `340 ms`, `2.1 s`, `3 min 20 s`.
fn milliseconds(ms: u64) -> String {
    match ms {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => duration(ms / 1000),
    }
}

#[cfg(test)]
mod tests;
