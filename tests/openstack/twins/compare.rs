//! What the lab showed against what the simulator did.
//!
//! A row and its record are two readings, one after the other, so what was read together need never have been true
//! together. Hence readings are laid one by one onto the simulator's states, each onto the first one from the last on
//! that has its line: if there is any way to lay them, this finds one.

use std::fmt::Write as _;

use super::play::{Of, Read, Story};
use super::script::Script;

/// How a server and its newest record were, from a moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub from_ms: u64,
    pub server: String,
    pub record: String,
}

/// What differs, for people; nothing when the twins are alike.
pub fn differences(script: &Script, real: &Story, simulated: &Story, states: &[Vec<State>]) -> Option<String> {
    let mut text = String::new();
    if real.stuck != simulated.stuck {
        let _ = writeln!(text, "  lab: {:?}\n  simulator: {:?}", real.stuck, simulated.stuck);
    }
    if real.answers != simulated.answers {
        let most = real.answers.len().max(simulated.answers.len());
        for i in 0..most {
            let (a, b) =
                (real.answers.get(i).map_or("", String::as_str), simulated.answers.get(i).map_or("", String::as_str));
            let _ = writeln!(text, "  {} {a:<70} | {b}", if a == b { ' ' } else { '!' });
        }
    }
    for (server, states) in states.iter().enumerate() {
        for (who, story, complete) in [("lab", real, true), ("simulator's own readings", simulated, false)] {
            let reads = &story.reads[server];
            let laid = lay(reads, states);
            let missed = if complete { missed(script, reads, states, &laid) } else { Vec::new() };
            if laid.fits.is_none() && missed.is_empty() {
                continue;
            }
            let _ = writeln!(text, "  server {server}, {who}:");
            if let Some(read) = laid.fits.map(|at| &reads[at]) {
                let _ =
                    writeln!(text, "    no place for `{}` at {} ms after the states marked `=`", read.line, read.at_ms);
            }
            for (state, why) in &missed {
                let _ = writeln!(text, "    never seen: {} | {} ({why})", state.server, state.record);
            }
            side_by_side(&mut text, reads, states, &laid);
        }
    }
    (!text.is_empty()).then_some(text)
}

struct Laid {
    /// The reading that has no place.
    fits: Option<usize>,
    visited: Vec<bool>,
}

fn lay(reads: &[Read], states: &[State]) -> Laid {
    let mut laid = Laid { fits: None, visited: vec![false; states.len()] };
    let mut from = 0;
    for (index, read) in reads.iter().enumerate() {
        let is = |state: &State| match read.of {
            Of::Server => state.server == read.line,
            Of::Record => state.record == read.line,
        };
        match states.iter().skip(from).position(is) {
            Some(steps) => {
                from += steps;
                laid.visited[from] = true;
            }
            None => {
                laid.fits = Some(index);
                break;
            }
        }
    }
    laid
}

/// States that last longer than twice the longest time between two looks, and were not seen.
fn missed<'a>(script: &Script, reads: &[Read], states: &'a [State], laid: &Laid) -> Vec<(&'a State, String)> {
    let rows: Vec<u64> = reads.iter().filter(|read| read.of == Of::Server).map(|read| read.at_ms).collect();
    let gap_ms = rows.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(u64::MAX / 4);
    let mut missed = Vec::new();
    for (index, state) in states.iter().enumerate() {
        let Some(next) = states.get(index + 1) else { continue };
        let lasts_ms = next.from_ms - state.from_ms;
        let line = format!("{} | {}", state.server, state.record);
        let excused = script.may_miss.iter().any(|(start, _)| line.starts_with(start));
        if lasts_ms > 2 * gap_ms && !laid.visited[index] && !excused {
            missed.push((state, format!("lasts {lasts_ms} ms, looked at every {gap_ms} ms")));
        }
    }
    missed
}

fn side_by_side(text: &mut String, reads: &[Read], states: &[State], laid: &Laid) {
    let left: Vec<String> = states
        .iter()
        .zip(&laid.visited)
        .map(|(s, v)| format!("{} {:>6} {} | {}", if *v { '=' } else { ' ' }, s.from_ms, s.server, s.record))
        .collect();
    let (mut row, mut record, mut right) = ("", "", Vec::<String>::new());
    let mut last = String::new();
    for read in reads {
        match read.of {
            Of::Server => row = &read.line,
            Of::Record => record = &read.line,
        }
        let line = format!("{row} | {record}");
        if line != last {
            right.push(format!("{:>6} {line}", read.at_ms));
            last = line;
        }
    }
    let _ = writeln!(text, "    {:<78}   read", "simulator (`=`: seen)");
    for i in 0..left.len().max(right.len()) {
        let (a, b) = (left.get(i).map_or("", String::as_str), right.get(i).map_or("", String::as_str));
        let _ = writeln!(text, "    {a:<78}   {b}");
    }
}
